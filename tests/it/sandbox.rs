//! The walls around a frameserver and a script, seen from outside, and what people are told of them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, Place, moonport};
use crate::process::{Ended, Process};

fn doctor(place: &Place, words: &[&str]) -> Ended {
    let words = [&["doctor"], words].concat();
    Process::start(&mut moonport(&place.state(), words)).wait()
}

/// What `doctor --json` found, by what it is about: level and words.
fn findings(place: &Place) -> (i32, BTreeMap<String, (String, String)>) {
    let ended = doctor(place, &["--json"]);
    let told: Value = serde_json::from_str(&ended.text()).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let finding = |finding: &Value| {
        let how = (text(&finding["level"]), text(&finding["found"]));
        (text(&finding["what"]), how)
    };
    let findings = told["findings"].as_array().unwrap().iter();
    (ended.code, findings.map(finding).collect())
}

/// A line of a file in `/proc`, after its title.
fn line(file: &str, title: &str) -> String {
    let found = file.lines().find_map(|line| line.strip_prefix(title));
    found
        .unwrap_or_else(|| panic!("no {title} in {file}"))
        .trim()
        .to_owned()
}

pub(crate) const FRAMESERVER: &str = "moonport-frameserver";
pub(crate) const SCRIPT: &str = "moonport-script";

fn of(host: &Host, role: &str, file: &str) -> std::io::Result<String> {
    let child = host.child(role);
    fs::read_to_string(format!("/proc/{child}/{file}"))
}

/// Whether this child has so many threads, and no rights.
fn has_no_rights(host: &Host, role: &str, threads: usize) {
    let tasks = fs::read_dir(format!("/proc/{}/task", host.child(role))).unwrap();
    let tasks: Vec<_> = tasks.map(|task| task.unwrap().path()).collect();
    assert_eq!(tasks.len(), threads, "{role}");
    for task in tasks {
        let status = fs::read_to_string(task.join("status")).unwrap();
        assert_eq!(line(&status, "NoNewPrivs:"), "1");
        assert_eq!(line(&status, "Seccomp:"), "2", "2 is a filter");
        for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(&status, capabilities).trim_start_matches('0'), "");
        }
    }
    let limits = of(host, role, "limits").unwrap();
    for (limit, most) in [("Max core file size", "0"), ("Max processes", "0")] {
        let values = line(&limits, limit);
        let values: Vec<_> = values.split_whitespace().take(2).collect();
        assert_eq!(values, [most, most], "{role}: {limit}");
    }
}

/// Whether it can write no file, either.
fn writes_nothing(host: &Host) {
    let limits = of(host, FRAMESERVER, "limits").unwrap();
    assert!(line(&limits, "Max file size").starts_with("0 "), "{limits}");
}

#[test]
fn a_frameserver_and_a_script_have_no_rights_left() {
    let host = Moonport::new().script("hello", HELLO).start();
    has_no_rights(&host, FRAMESERVER, 1);
    // A script keeps its state in files, and has a watchdog.
    has_no_rights(&host, SCRIPT, 2);
    writes_nothing(&host);
    host.stop();
}

/// A listener for datagrams.
const DATAGRAMS: &str = "net_listen('box', 'curvecp://' .. ADDRESS, PORT, function() end)";

/// A client for datagrams, of a server that is not there.
const DIALS: &str = "
moonport.connect({ address = 'curvecp://' .. ADDRESS .. ':' .. PORT, key = ('4b'):rep(32) },
    function(source, status) print('dials', status.kind) end)
";

#[test]
fn a_frameserver_for_datagrams_has_as_few_rights_as_one_for_streams() {
    let required = || Moonport::new().option("--sandbox=require");
    let denied = |host: &Host| host.status()["listeners"][0]["sandbox"].clone();
    let streams = required().script("hello", HELLO).start();
    let datagrams = required().script("box", DATAGRAMS).start();
    assert_eq!(denied(&streams), denied(&datagrams));
    let dials = required().option("--allow-connect=*");
    let dials = dials.option("--handshake-timeout=1s");
    let mut dials = dials.script("dials", DIALS).start_with(0);
    dials.process.expect("dials\tdisconnected");
    for host in [&datagrams, &dials] {
        has_no_rights(host, FRAMESERVER, 1);
        writes_nothing(host);
    }
}

#[test]
fn i8_children_have_no_environment_and_nothing_that_they_were_not_given() {
    // Without the mark that it is to be closed: whoever is started from now on gets it.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("left open by a careless parent");
    let careless = fs::File::create(&file).unwrap();
    let careless = rustix::io::dup(&careless).unwrap();
    let host = Moonport::new().script("hello", HELLO).start();
    drop(careless);
    // What a frameserver waits with is anonymous; standard error is a pipe, and so is, here, what a
    // script prints to.
    let front = ["/dev/null", "anon_inode:", "pipe:", "socket:"].as_slice();
    let script = ["/dev/null", "pipe:", "socket:"].as_slice();
    for (role, own) in [(FRAMESERVER, front), (SCRIPT, script)] {
        let Ok(environment) = of(&host, role, "environ") else {
            // Nobody but root may look into it.
            host.stop();
            return;
        };
        assert_eq!(environment, "");
        let mut kinds = Vec::new();
        for descriptor in fs::read_dir(format!("/proc/{}/fd", host.child(role))).unwrap() {
            let target = fs::read_link(descriptor.unwrap().path()).unwrap();
            let target = target.display().to_string();
            kinds.push(target.split('[').next().unwrap().to_owned());
        }
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds, own, "{role}");
    }
    host.stop();
}

#[test]
fn people_are_told_which_layer_denies_what() {
    let host = Moonport::new()
        .script("hello", HELLO)
        .option("--sandbox=require")
        .start();
    let told = host.admin(["status"]);
    let seccomp = told.lines().find(|line| line.starts_with("seccomp "));
    let seccomp = seccomp.unwrap_or_else(|| panic!("{told}"));
    for action in [
        "hello",
        "open",
        "connect",
        "mmap exec",
        "io_uring",
        "ptrace",
    ] {
        assert!(seccomp.contains(action), "{action}: {told}");
    }
    assert!(told.contains(", script hello"), "{told}");
    let status = host.status();
    for of in ["listeners", "scripts"] {
        let denied = status[of][0]["sandbox"].as_array().unwrap();
        assert!(denied.len() >= 25 && denied.iter().all(|denied| denied["layer"].is_string()));
    }
    host.stop();
}

#[test]
fn the_doctor_finds_nothing_wrong_where_a_host_runs() {
    let host = Moonport::new().script("hello", HELLO).start();
    let (code, findings) = findings(host.place());
    assert_eq!(code, 0, "{findings:?}");
    for what in ["frameserver", "script"] {
        let (level, found) = &findings[what];
        assert_eq!(level, "ok", "{found}");
    }
    let (level, found) = &findings["keystore"];
    let holder = format!("process {} has it, and answers", host.process.pid());
    assert_eq!((level.as_str(), found), ("ok", &holder));
    assert_eq!(findings["clock"].0, "ok");
    assert!(findings.contains_key("kernel") && findings.contains_key("open files"));
    host.stop();
}

#[test]
fn the_doctor_opens_the_keystore_where_no_host_runs_and_makes_nothing() {
    let place = Place::new();
    let (code, before) = findings(&place);
    assert_eq!(code, 0, "{before:?}");
    assert!(before["state directory"].1.contains("not there yet"));
    assert!(!place.state().exists());
    place.host_key();
    let (code, after) = findings(&place);
    assert_eq!(code, 0, "{after:?}");
    assert!(after["keystore"].1.contains("holds 0 keys"), "{after:?}");
    assert_eq!(after["clock"].0, "ok");
}

#[test]
fn the_doctor_says_what_to_do_about_a_directory_that_is_open_to_others() {
    let place = Place::new();
    place.host_key();
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o755)).unwrap();
    let ended = doctor(&place, &[]);
    assert_eq!(ended.code, 1, "{}", ended.text());
    let told = ended.text();
    assert!(told.contains("problem  state directory: "), "{told}");
    assert!(told.contains("chmod 700"), "{told}");
    assert!(told.contains("ok       kernel: "), "{told}");
}
