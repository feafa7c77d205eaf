//! A lock-down cannot be taken back, so these tests run themselves again as children, which lock
//! themselves down and then try what is denied.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;

use super::*;
use house::House;

mod attempts;
mod house;
mod walls;

/// Says to a child whose policy it is to try, and which of the layers.
const CHILD: &str = "MOONPORT_TEST_SANDBOX";

/// What a script does to files of its own; Landlock alone tells them from others.
const FILES: [&str; 2] = ["open", "read /proc"];

/// What the report has no line of its own for, and seccomp denies.
const BESIDE: [&str; 8] = [
    "blocking close",
    "shared flags",
    "handing over",
    "connecting to an abstract socket",
    "binding an abstract socket",
    "sending to an abstract socket",
    "sending to an address",
    "signals of a socket",
];

#[test]
fn every_action_that_the_report_lists_as_denied_is_denied() {
    for who in ["frameserver", "script"] {
        let told = run_child(who, "all");
        for action in &ACTIONS {
            if who == "script" && FILES.contains(&action.name) {
                // Nothing else can deny that.
                if landlock_version().is_some() {
                    nothing_of_it_is_done(&told, action.name);
                }
            } else {
                is_denied(&told, action.name);
            }
        }
        for name in BESIDE {
            is_denied(&told, name);
        }
        assert!(told.contains("works on"), "{who}: {told}");
        // Each is claimed by a layer that has a name.
        let claims = |layer: &str| told.matches(&format!(" by {layer}")).count();
        let filtered = if who == "script" { FILES.len() } else { 0 };
        assert_eq!(claims("seccomp"), ACTIONS.len() - filtered, "{who}: {told}");
    }
}

/// As where the kernel has no Landlock, or one that knows nothing of the network.
#[test]
fn seccomp_alone_denies_every_action_but_a_scripts_files() {
    for who in ["frameserver", "script"] {
        let told = run_child(who, "seccomp");
        for action in &ACTIONS {
            let name = action.name;
            let claimed = told.contains(&format!("claimed {name} by seccomp\n"));
            if who == "script" && FILES.contains(&name) {
                assert!(!claimed, "{who}: {name}: {told}");
                continue;
            }
            is_denied(&told, name);
            assert!(claimed, "{who}: {name}: {told}");
        }
        for name in BESIDE {
            is_denied(&told, name);
        }
        assert!(told.contains("works on"), "{who}: {told}");
    }
}

#[test]
fn landlock_alone_denies_what_the_report_says() {
    for who in ["frameserver", "script"] {
        let told = run_child(who, "landlock");
        for line in told.lines().filter(|line| line.starts_with("claimed ")) {
            let (name, _) = line
                .trim_start_matches("claimed ")
                .split_once(" by ")
                .unwrap();
            nothing_of_it_is_done(&told, name);
        }
    }
}

/// What is denied without any layer is not denied by one: so much has to go through that the tests
/// above say something.
#[test]
fn without_a_layer_most_of_it_goes_through() {
    let told = run_child("frameserver", "none");
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
        "connecting to an abstract socket",
        "binding an abstract socket",
        "sending to an abstract socket",
        "sending to an address",
        "signals of a socket",
    ] {
        let tried = tried(&told, name);
        assert!(tried.iter().any(|how| how != "denied"), "{name}: {told}");
    }
}

#[test]
fn a_script_has_its_own_folders_and_no_socket_of_this_machine() {
    if landlock_version().is_none() {
        println!("skipped: this kernel has no Landlock");
        return;
    }
    let told = run_child("script", "all");
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
        "being traceable again",
    ] {
        assert_eq!(outcome(name).as_deref(), Some("denied"), "{name}:\n{told}");
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

/// It was attempted and denied. An attempt with arguments that lead nowhere fails otherwise.
#[track_caller]
fn nothing_of_it_is_done(told: &str, name: &str) {
    let tried = tried(told, name);
    let denied = tried.iter().any(|how| how == "denied");
    let done = tried.iter().any(|how| how == "done");
    assert!(denied && !done, "{name} went through:\n{told}");
}

#[test]
fn a_complaint_names_what_nothing_denies() {
    let complaint = |policy: &Policy, landlock, filtered: bool| {
        let layers = Layers {
            limits: false,
            landlock,
            seccomp: filtered.then_some(policy.calls),
        };
        complaint(&layers.report())
    };
    let frameserver = Policy::frameserver(None);
    let told = complaint(&frameserver, Some(ABI::V4), false).unwrap();
    assert!(
        told.contains("denies: socket, fastopen, fork, kill, mmap exec, memfd, io_uring,"),
        "{told}"
    );
    assert_eq!(complaint(&frameserver, None, true), None);
    // Only Landlock tells a script's own files from others.
    let script = Policy::script("/".into(), Vec::new(), 1 << 30);
    let told = complaint(&script, None, true).unwrap();
    assert!(told.contains("denies: open, read /proc;"), "{told}");
    assert_eq!(complaint(&script, Some(ABI::V1), true), None);
}

/// Not a test of its own: what the children do.
#[test]
fn child() {
    let Ok(what) = std::env::var(CHILD) else {
        return;
    };
    let (who, layers) = what.split_once(' ').unwrap();
    // Made before the door closes.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let parent = rustix::process::getppid().unwrap();
    let house = House::new();
    let mut attempts = attempts::attempts(address);
    attempts.extend(walls::attempts(parent));
    attempts.extend(walls::bare());
    let policy = match who {
        "script" => {
            let policy = house.policy();
            attempts.extend(house.attempts());
            policy
        }
        _ => Policy::frameserver(None),
    };
    // What replaces this process comes last, where nothing denies it.
    let last = attempts.iter().position(|(name, _)| *name == "execve");
    let last = attempts.remove(last.unwrap());
    let mut alone = Layers {
        limits: false,
        landlock: None,
        seccomp: None,
    };
    let report = match layers {
        "all" => Lockdown::begin(policy).seal(),
        "landlock" => {
            let _ = rustix::thread::set_no_new_privs(true);
            alone.landlock = restrict(&policy);
            alone.report()
        }
        "seccomp" => {
            alone.seccomp = policy.calls.enforce().then_some(policy.calls);
            alone.report()
        }
        _ => alone.report(),
    };
    println!();
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
    if who == "frameserver" {
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
    }
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

fn run_child(who: &str, layers: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sandbox::tests::child"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{who} {layers}"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{who}, {layers}: {told}");
    told
}

fn denial(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES))
}

type Attempt = Box<dyn FnOnce() -> io::Result<()>>;
