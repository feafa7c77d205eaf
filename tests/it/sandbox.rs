//! The frameserver's walls, seen from outside, and what people are told of them.

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

fn of(host: &Host, file: &str) -> std::io::Result<String> {
    let front = host.child("moonport-frameserver");
    fs::read_to_string(format!("/proc/{front}/{file}"))
}

#[test]
fn a_frameserver_has_no_rights_left() {
    let host = Moonport::new().script("hello", HELLO).start();
    let status = of(&host, "status").unwrap();
    assert_eq!(line(&status, "NoNewPrivs:"), "1");
    assert_eq!(line(&status, "Seccomp:"), "2", "2 is a filter");
    assert_eq!(line(&status, "Threads:"), "1");
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(&status, capabilities).trim_start_matches('0'), "");
    }
    let limits = of(&host, "limits").unwrap();
    for (limit, most) in [("Max core file size", "0"), ("Max processes", "0")] {
        let values = line(&limits, limit);
        let values: Vec<_> = values.split_whitespace().take(2).collect();
        assert_eq!(values, [most, most], "{limit}");
    }
    // Standard error is a pipe here.
    assert!(line(&limits, "Max file size").starts_with("0 "), "{limits}");
    host.stop();
}

#[test]
fn i8_a_frameserver_has_no_environment_and_nothing_that_it_was_not_given() {
    // Without the mark that it is to be closed: whoever is started from now on gets it.
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("left open by a careless parent");
    let careless = fs::File::create(&file).unwrap();
    let careless = rustix::io::dup(&careless).unwrap();
    let host = Moonport::new().script("hello", HELLO).start();
    drop(careless);
    let front = host.child("moonport-frameserver");
    let Ok(environment) = of(&host, "environ") else {
        // Nobody but root may look into it.
        host.stop();
        return;
    };
    assert_eq!(environment, "");
    let mut kinds = Vec::new();
    for descriptor in fs::read_dir(format!("/proc/{front}/fd")).unwrap() {
        let target = fs::read_link(descriptor.unwrap().path()).unwrap();
        let target = target.display().to_string();
        kinds.push(target.split('[').next().unwrap().to_owned());
    }
    kinds.sort();
    kinds.dedup();
    // What it waits with is anonymous; standard error is the pipe.
    let own = ["/dev/null", "anon_inode:", "pipe:", "socket:"];
    assert_eq!(kinds, own);
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
    let listener = &host.status()["listeners"][0];
    let denied = listener["sandbox"].as_array().unwrap();
    assert!(denied.len() >= 25 && denied.iter().all(|denied| denied["layer"].is_string()));
    host.stop();
}

#[test]
fn the_doctor_finds_nothing_wrong_where_a_host_runs() {
    let host = Moonport::new().script("hello", HELLO).start();
    let (code, findings) = findings(host.place());
    assert_eq!(code, 0, "{findings:?}");
    let (level, found) = &findings["frameserver"];
    assert_eq!(level, "ok", "{found}");
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
