//! A lock-down cannot be taken back, so these tests run themselves again as children, which lock
//! themselves down and then try what is denied.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketType};

use super::*;
use crate::ipc::{SendError, Socket};

/// Says to a child what it is to try.
const CHILD: &str = "MOONPORT_TEST_SANDBOX";

#[test]
fn every_action_that_the_report_lists_as_denied_is_denied() {
    for what in ["frameserver", "script"] {
        let told = run_child(what);
        for action in &ACTIONS {
            assert!(
                told.contains(&format!("\n{}: denied", action.name)),
                "{what}: {} went through:\n{told}",
                action.name
            );
        }
        for name in ["shared flags", "handing over", "blocking close"] {
            assert!(
                told.contains(&format!("\n{name}: denied")),
                "{what}: {told}"
            );
        }
        assert!(told.contains("\nworks on"), "{what}: {told}");
    }
}

#[test]
fn a_script_has_its_own_folders_and_no_socket_of_this_machine() {
    let told = run_child("script");
    let outcome = |name: &str| {
        let mut lines = told.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(what, _)| *what == name);
        found.map(|(_, outcome)| outcome.to_owned())
    };
    for name in [
        "reading the program",
        "writing state",
        "renaming state",
        "listing state",
        "the local time",
    ] {
        assert_eq!(outcome(name).as_deref(), Some("done"), "{name}:\n{told}");
    }
    for name in [
        "writing the program",
        "reading another script's files",
        "reading the keystore",
        "reading /etc/passwd",
        "reading its own memory",
        "a link in state",
        "a socket in state",
        "a local socket",
        "the host's control socket",
        "a control socket it holds already",
        "a thread",
        "a signal to its group",
        "memory made executable later",
        "being traceable again",
    ] {
        assert_eq!(outcome(name).as_deref(), Some("denied"), "{name}:\n{told}");
    }
}

#[test]
fn landlock_alone_denies_what_the_report_says() {
    let told = run_child("landlock");
    for line in told.lines().filter(|line| line.starts_with("claimed ")) {
        let name = line.trim_start_matches("claimed ");
        assert!(
            told.contains(&format!("\n{name}: denied")),
            "{name} went through:\n{told}"
        );
    }
}

#[test]
fn a_complaint_names_what_nothing_denies() {
    let complaint = |policy: &Policy, landlock, filtered: bool| {
        let layers = Layers {
            limits: false,
            landlock,
            seccomp: filtered.then_some(policy.calls),
        };
        let report: Vec<_> = ACTIONS
            .iter()
            .map(|action| action.denied(&layers))
            .collect();
        complaint(&report)
    };
    let frameserver = Policy::frameserver();
    let told = complaint(&frameserver, Some(ABI::V4), false).unwrap();
    assert!(
        told.contains("denies: socket, fastopen, fork, kill, mmap exec;"),
        "{told}"
    );
    assert_eq!(complaint(&frameserver, None, true), None);
    // Only Landlock tells a script's own files from others.
    let script = Policy::script("/".into(), Vec::new(), 1 << 30);
    let told = complaint(&script, None, true).unwrap();
    assert!(told.contains("denies: open;"), "{told}");
    assert_eq!(complaint(&script, Some(ABI::V1), true), None);
}

/// Not a test of its own: what the children do.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    // Made before the door closes.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let house = House::new();
    let mut attempts = attempts(address);
    let policy = match what.as_str() {
        "script" => {
            let policy = house.policy();
            attempts.extend(house.attempts());
            policy
        }
        _ => Policy::frameserver(),
    };
    let report = if what == "landlock" {
        let _ = rustix::thread::set_no_new_privs(true);
        let layers = Layers {
            limits: false,
            landlock: restrict(&policy),
            seccomp: None,
        };
        let denied = |action: &Action| action.denied(&layers);
        ACTIONS.iter().map(denied).collect()
    } else {
        Lockdown::begin(policy).seal()
    };
    println!();
    for denied in report.iter().filter(|denied| denied.layer.is_some()) {
        println!("claimed {}", denied.action);
    }
    for (name, attempt) in attempts {
        match attempt() {
            Ok(()) => println!("{name}: done"),
            Err(error) if denial(&error) => println!("{name}: denied"),
            Err(error) => println!("{name}: {error}"),
        }
    }
    // What the loop lives from must go on.
    if what != "script" {
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    let large = vec![1_u8; 40 << 20];
    let now = std::time::Instant::now();
    println!("works on {} {}", large.len(), now.elapsed().as_nanos());
}

/// Where a script lives, and what lies beside it.
struct House {
    folder: tempfile::TempDir,
    control: std::os::unix::net::UnixListener,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for own in ["program", "state", "temporary", "other"] {
            let own = folder.path().join(own);
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("file"), "words").unwrap();
        }
        std::fs::write(folder.path().join("keystore"), "keys").unwrap();
        let control = std::os::unix::net::UnixListener::bind(folder.path().join("control.sock"));
        Self {
            folder,
            control: control.unwrap(),
        }
    }

    fn policy(&self) -> Policy {
        let at = |path: &str| self.folder.path().join(path);
        Policy::script(at("program"), vec![at("state"), at("temporary")], 1 << 30)
    }

    /// What a script may do, and what somebody would try who has broken out of its VM.
    fn attempts(self) -> Vec<(&'static str, Attempt)> {
        use std::fs;
        use std::os::unix::net::{UnixListener, UnixStream};
        let root = self.folder.path().to_owned();
        let at = move |path: &str| root.join(path);
        let control = at("control.sock");
        // As if one had been left open, not connected to anything.
        let (spare, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let to = rustix::net::SocketAddrUnix::new(&control).unwrap();
        let group = rustix::process::getpgrp();
        let paths = [
            "program/file",
            "state/file",
            "state/new",
            "state",
            "other/file",
            "keystore",
            "state/link",
            "state/socket",
        ];
        let [program, file, new, state, others, keystore, link, socket] = paths.map(at);
        let writing = (file.clone(), program.clone());
        let renaming = (file, new);
        vec![
            (
                "reading the program",
                Box::new(move || fs::read(program).map(drop)) as Attempt,
            ),
            ("writing state", Box::new(move || fs::write(writing.0, "x"))),
            (
                "writing the program",
                Box::new(move || fs::write(writing.1, "x")),
            ),
            (
                "renaming state",
                Box::new(move || fs::rename(renaming.0, renaming.1)),
            ),
            (
                "listing state",
                Box::new(move || fs::read_dir(state).map(Iterator::count).map(drop)),
            ),
            (
                "the local time",
                Box::new(|| match fs::read("/etc/localtime") {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }),
            ),
            (
                "reading another script's files",
                Box::new(move || fs::read(others).map(drop)),
            ),
            (
                "reading the keystore",
                Box::new(move || fs::read(keystore).map(drop)),
            ),
            (
                "reading /etc/passwd",
                Box::new(|| fs::read("/etc/passwd").map(drop)),
            ),
            (
                "reading its own memory",
                Box::new(|| fs::File::open("/proc/self/mem").map(drop)),
            ),
            (
                "a link in state",
                Box::new(move || std::os::unix::fs::symlink("/etc/passwd", link)),
            ),
            (
                "a socket in state",
                Box::new(move || UnixListener::bind(socket).map(drop)),
            ),
            ("a local socket", Box::new(|| UnixStream::pair().map(drop))),
            (
                "the host's control socket",
                Box::new(move || {
                    // It is there, and somebody listens, to the end of this.
                    let _listening = (&self.control, &self.folder);
                    UnixStream::connect(control).map(drop)
                }),
            ),
            (
                "a control socket it holds already",
                Box::new(move || {
                    let _open = other;
                    let sent = rustix::net::sendto(&spare, b"x", SendFlags::empty(), &to);
                    match (sent, rustix::net::connect(&spare, &to)) {
                        (Err(error), Err(_)) => Err(error.into()),
                        _ => Ok(()),
                    }
                }),
            ),
            (
                "a thread",
                Box::new(|| std::thread::Builder::new().spawn(|| ()).map(drop)),
            ),
            (
                "a signal to its group",
                Box::new(move || Ok(rustix::process::test_kill_process_group(group)?)),
            ),
            ("memory made executable later", Box::new(make_executable)),
            (
                "being traceable again",
                Box::new(|| {
                    let yes = DumpableBehavior::Dumpable;
                    Ok(rustix::process::set_dumpable_behavior(yes)?)
                }),
            ),
        ]
    }
}

fn run_child(what: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::child"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, what)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
    told
}

fn denial(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

type Attempt = Box<dyn FnOnce() -> io::Result<()>>;

/// One attempt for each action of the report, and for some that only seccomp can deny.
fn attempts(address: SocketAddr) -> Vec<(&'static str, Attempt)> {
    let socket = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let (to_connect, to_bind) = (socket().unwrap(), socket().unwrap());
    let (to_open, to_linger) = (socket().unwrap(), socket().unwrap());
    let (ours, theirs) = Socket::<u8, u8>::pair().unwrap();
    let parent = rustix::process::getppid().unwrap();
    vec![
        (
            "open",
            Box::new(|| std::fs::File::open("/dev/null").map(drop)) as Attempt,
        ),
        ("socket", Box::new(move || Ok(socket().map(drop)?))),
        (
            "connect",
            Box::new(move || Ok(rustix::net::connect(&to_connect, &address)?)),
        ),
        (
            "fastopen",
            Box::new(move || {
                let fast = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
                Ok(rustix::net::sendto(&to_open, b"x", fast, &address).map(drop)?)
            }),
        ),
        (
            "blocking close",
            Box::new(move || {
                let wait = Some(Duration::from_secs(1));
                Ok(rustix::net::sockopt::set_socket_linger(&to_linger, wait)?)
            }),
        ),
        (
            "shared flags",
            Box::new(|| {
                let stderr = io::stderr();
                let flags = rustix::fs::fcntl_getfl(&stderr)?;
                rustix::fs::fcntl_setfl(&stderr, flags)?;
                Ok(rustix::io::ioctl_fionbio(&stderr, false)?)
            }),
        ),
        (
            "handing over",
            Box::new(move || match ours.send(&1, &[theirs.as_fd()]) {
                Err(SendError::Io(error)) => Err(error),
                Err(other) => Err(io::Error::other(other)),
                Ok(()) => Ok(()),
            }),
        ),
        (
            "bind",
            Box::new(move || {
                let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                Ok(rustix::net::bind(&to_bind, &any)?)
            }),
        ),
        ("execve", Box::new(|| Err(Command::new("/bin/true").exec()))),
        ("fork", Box::new(fork)),
        ("ptrace", Box::new(move || ptrace(parent))),
        (
            "kill",
            Box::new(move || Ok(rustix::process::test_kill_process(parent)?)),
        ),
        ("process_vm_readv", Box::new(move || read_memory(parent))),
        ("mmap exec", Box::new(map_executable)),
    ]
}

fn checked(result: i64) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[expect(unsafe_code, reason = "there is no safe fork to try")]
fn fork() -> io::Result<()> {
    // SAFETY: a child, if there is one against expectation, ends at once without running
    // anything of the parent's.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(0);
        }
        checked(child.into())
    }
}

#[expect(unsafe_code, reason = "there is no safe ptrace to try")]
fn ptrace(parent: rustix::process::Pid) -> io::Result<()> {
    let pid = parent.as_raw_nonzero().get();
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: no memory is passed, and the parent survives being traced by a child that exits.
    checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) })
}

#[expect(unsafe_code, reason = "there is no safe process_vm_readv to try")]
fn read_memory(parent: rustix::process::Pid) -> io::Result<()> {
    let mut byte = 0_u8;
    let here = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let there = here;
    // SAFETY: the local vector names one writable byte that outlives the call.
    let read = unsafe {
        let pid = parent.as_raw_nonzero().get();
        libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0)
    };
    checked(read as i64)
}

#[expect(unsafe_code, reason = "there is no safe mmap to try")]
fn map_executable() -> io::Result<()> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_EXEC,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new anonymous mapping at an address of the kernel's choice harms nothing.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[expect(unsafe_code, reason = "there is no safe mprotect to try")]
fn make_executable() -> io::Result<()> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: only a new anonymous mapping is made, and it alone is changed.
    unsafe {
        let page = libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0);
        if page == libc::MAP_FAILED {
            return Err(io::Error::other("no page"));
        }
        checked(libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC).into())
    }
}
