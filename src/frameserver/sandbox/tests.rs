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

mod walls;

/// Says to a child which of the layers it is to try.
const CHILD: &str = "MOONPORT_TEST_SANDBOX";

#[test]
fn every_action_that_the_report_lists_as_denied_is_denied() {
    let told = run_child("all");
    for action in &ACTIONS {
        is_denied(&told, action.name);
    }
    for name in ["blocking close", "shared flags", "handing over"] {
        is_denied(&told, name);
    }
    assert!(told.contains("works on"), "{told}");
    // Each is claimed by a layer that has a name.
    let claims = |layer: &str| told.matches(&format!(" by {layer}")).count();
    assert_eq!(claims("seccomp"), ACTIONS.len(), "{told}");
}

/// As where the kernel has no Landlock, or one that knows nothing of the network.
#[test]
fn seccomp_alone_denies_every_action() {
    let told = run_child("seccomp");
    for action in &ACTIONS {
        is_denied(&told, action.name);
        assert!(
            told.contains(&format!("claimed {} by seccomp\n", action.name)),
            "{told}"
        );
    }
    assert!(told.contains("works on"), "{told}");
}

/// What is denied without any layer is not denied by one: so much has to go through that the tests
/// above say something.
#[test]
fn without_a_layer_most_of_it_goes_through() {
    let told = run_child("none");
    assert!(!told.contains("claimed "), "{told}");
    for name in [
        "open",
        "socket",
        "connect",
        "bind",
        "execve",
        "fork",
        "kill",
        "mmap exec",
        "read /proc",
        "memfd",
        "namespaces",
        "personality",
        "prctl",
        "prlimit",
        "ioctl",
    ] {
        let tried = tried(&told, name);
        assert!(tried.iter().any(|how| how != "denied"), "{name}: {told}");
    }
}

#[test]
fn landlock_alone_denies_what_the_report_says() {
    let told = run_child("landlock");
    for line in told.lines().filter(|line| line.starts_with("claimed ")) {
        let (name, _) = line
            .trim_start_matches("claimed ")
            .split_once(" by ")
            .unwrap();
        // An attempt with arguments that lead nowhere is not denied, but fails.
        let tried = tried(&told, name);
        let denied = tried.iter().any(|how| how == "denied");
        let done = tried.iter().any(|how| how == "done");
        assert!(denied && !done, "{name} went through:\n{told}");
    }
}

/// What came of each attempt at an action.
fn tried(told: &str, name: &str) -> Vec<String> {
    let start = format!("{name}: ");
    told.lines()
        .filter_map(|line| line.strip_prefix(&start).map(str::to_owned))
        .collect()
}

/// It was attempted, and each attempt was denied.
#[track_caller]
fn is_denied(told: &str, name: &str) {
    let tried = tried(told, name);
    let denied = !tried.is_empty() && tried.iter().all(|how| how == "denied");
    assert!(denied, "{name} went through:\n{told}");
}

#[test]
fn a_complaint_names_what_nothing_denies() {
    let report: Vec<Denied> = ACTIONS
        .iter()
        .map(|action| action.denied(false, Some(ABI::V4), false))
        .collect();
    let complaint = complaint(&report).unwrap();
    assert!(
        complaint.contains("denies: socket, fastopen, fork, kill, mmap exec, memfd, io_uring,"),
        "{complaint}"
    );
    let report: Vec<Denied> = ACTIONS
        .iter()
        .map(|action| action.denied(false, None, true))
        .collect();
    assert_eq!(super::complaint(&report), None);
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
    let parent = rustix::process::getppid().unwrap();
    let mut attempts = attempts(address);
    attempts.extend(walls::attempts(parent));
    // What replaces this process comes last, where nothing denies it.
    let last = attempts.iter().position(|(name, _)| *name == "execve");
    let last = attempts.remove(last.unwrap());
    let (abi, seccomp) = match what.as_str() {
        "landlock" => {
            let _ = rustix::thread::set_no_new_privs(true);
            (restrict(), false)
        }
        "seccomp" => (None, filter()),
        _ => (None, false),
    };
    let report = match what.as_str() {
        "all" => enter(),
        _ => ACTIONS
            .iter()
            .map(|action| action.denied(false, abi, seccomp))
            .collect(),
    };
    for Denied { action, layer } in report {
        if let Some(layer) = layer {
            println!("claimed {action} by {layer}");
        }
    }
    for (name, attempt) in attempts {
        match attempt() {
            Ok(()) => println!("{name}: done"),
            Err(error) if denial(&error) => println!("{name}: denied"),
            Err(error) => println!("{name}: {error}"),
        }
    }
    // What the loop lives from must go on.
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).unwrap();
    let large = vec![1_u8; 40 << 20];
    let now = std::time::Instant::now();
    println!("works on {} {}", large.len(), now.elapsed().as_nanos());
    match last.1() {
        Err(error) if denial(&error) => println!("execve: denied"),
        other => println!("execve: {other:?}"),
    }
}

fn run_child(what: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "frameserver::sandbox::tests::child"])
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
        (
            "execve",
            Box::new(|| {
                let done = ["-c", "echo execve: done"];
                Err(Command::new("/bin/sh").args(done).exec())
            }),
        ),
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
