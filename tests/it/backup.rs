//! Backups, as an admin makes and needs them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, moonport};
use crate::key::{ANNA, BERT, CLEO};

/// A passphrase in a file, and where a backup goes.
fn files(host: &Host) -> (String, PathBuf) {
    let folder = host.place().folder();
    let words = folder.join("passphrase");
    fs::write(&words, "correct horse\n").unwrap();
    (
        format!("--passphrase-file={}", words.display()),
        folder.join("all.moonback"),
    )
}

fn keys(state: &Path) -> usize {
    let listed = moonport(state, ["key", "list", "--json"]).output().unwrap();
    assert!(listed.status.success());
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    listed.as_array().unwrap().len()
}

#[test]
fn a_backup_of_a_running_host_brings_everything_back_elsewhere() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    host.key_accept("*", BERT);
    let own: Value = serde_json::from_str(&host.admin(["key", "host", "--json"])).unwrap();
    let (words, file) = files(&host);
    let path = file.to_str().unwrap();
    host.admin(["backup", path, &words]);
    // It changes nothing for those who are in, and a second one does not replace it by accident.
    host.client(ANNA).connect().expect("welcome");
    let again = moonport(&host.place().state(), ["backup", path, &words]);
    assert_eq!(run(again), (2, "is there already"));

    let elsewhere = host.place().folder().join("elsewhere");
    let restored = moonport(&elsewhere, ["restore", path, &words, "--yes", "--json"]);
    let told: Value = serde_json::from_slice(&output(restored)).unwrap();
    assert_eq!(told["backup"]["keys"], 2);
    assert_eq!(keys(&elsewhere), 2);
    let key = output(moonport(&elsewhere, ["key", "host", "--json"]));
    let key: Value = serde_json::from_slice(&key).unwrap();
    assert_eq!(key, own);
}

#[test]
fn what_cannot_be_restored_leaves_the_keystore_as_it_is() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let (words, file) = files(&host);
    let path = file.to_str().unwrap();
    host.admin(["backup", path, &words]);
    host.key_accept("hello", CLEO);
    let state = host.place().state();
    let restore = |words: &str| run(moonport(&state, ["restore", path, words, "--yes"]));
    assert_eq!(restore(&words), (3, "another host"));
    let place = host.kill();
    let wrong = place.place().folder().join("wrong");
    fs::write(&wrong, "incorrect horse").unwrap();
    let wrong = format!("--passphrase-file={}", wrong.display());
    assert_eq!(restore(&wrong), (3, "passphrase is wrong"));
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(restore(&words), (3, "cut short or was changed"));
    fs::write(&file, "something else").unwrap();
    assert_eq!(restore(&words), (3, "no backup"));
    assert_eq!(keys(&state), 2);
    let left: Vec<_> = fs::read_dir(state.parent().unwrap())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.starts_with("state."))
        .collect();
    assert!(left.is_empty(), "{left:?}");

    fs::write(&file, whole).unwrap();
    let dry = moonport(&state, ["restore", path, &words, "--dry-run"]);
    let dry = String::from_utf8(output(dry)).unwrap();
    assert!(dry.contains("would not be known"), "{dry}");
    assert!(dry.contains(&CLEO.public().to_string()), "{dry}");
    assert_eq!(keys(&state), 2);
    output(moonport(&state, ["restore", path, &words, "--yes"]));
    assert_eq!(keys(&state), 1);
    let log = String::from_utf8(output(moonport(&state, ["audit", "show"]))).unwrap();
    assert!(log.contains("restored a backup of"), "{log}");
    output(moonport(&state, ["audit", "verify"]));
    // And a host works with it.
    let host = place.start();
    host.client(ANNA).connect().expect("welcome");
    host.client(CLEO).refused();
}

#[test]
fn keys_that_were_revoked_since_are_shown_before_they_are_accepted_again() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let (words, file) = files(&host);
    let path = file.to_str().unwrap();
    host.admin(["backup", path, &words]);
    host.key_remove(ANNA);
    let state = host.place().state();
    let _place = host.kill();
    let dry = moonport(&state, ["restore", path, &words, "--dry-run"]);
    let dry = String::from_utf8(output(dry)).unwrap();
    assert!(dry.contains("not accepted now"), "{dry}");
    assert!(dry.contains(&ANNA.public().to_string()), "{dry}");
    // Nobody can be asked here.
    let asked = moonport(&state, ["restore", path, &words]);
    assert_eq!(run(asked), (2, "--yes"));
    assert_eq!(keys(&state), 0);
}

/// What a command prints that has to succeed.
#[track_caller]
fn output(mut command: std::process::Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    output.stdout
}

/// The exit code of a command that fails, and which of the texts its error holds.
#[track_caller]
fn run(mut command: std::process::Command) -> (i32, &'static str) {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let texts = [
        "is there already",
        "another host",
        "passphrase is wrong",
        "cut short or was changed",
        "no backup",
        "--yes",
    ];
    let found = texts.into_iter().find(|text| errors.contains(text));
    let found = found.unwrap_or_else(|| panic!("{command:?}: {errors}"));
    (output.status.code().unwrap(), found)
}
