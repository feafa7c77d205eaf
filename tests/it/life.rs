//! How a host begins and ends.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use keystore::{Change, Keystore, Scope};
use moonport::wire::crypto::SecretKey;
use rustix::process::{Signal, geteuid};

use crate::hello::HELLO;
use crate::host::Moonport;
use crate::key::ANNA;
use crate::process::{PATIENCE, Watched};

#[test]
fn sigterm_ends_everything_in_order() {
    let script = format!("{HELLO}\nfunction hello_shutdown() print('shutting down') end");
    let mut host = Moonport::new().script("hello", &script).start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let children: Vec<_> = host
        .process
        .children()
        .into_iter()
        .map(Watched::new)
        .collect();
    assert_eq!(children.len(), 2, "a script and a frameserver");
    host.process.signal(Signal::TERM);
    host.process.expect("shutting down");
    let ended = host.process.wait();
    assert_eq!(ended.code, 0, "{}", ended.text());
    assert!(children.iter().all(|child| child.is_gone_within(PATIENCE)));
    let anna = anna.wait();
    assert_eq!(anna.code, 0, "the client was not told: {}", anna.text());
}

#[test]
fn i6_an_acknowledged_key_survives_a_kill() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let host = host.kill().start();
    assert_eq!(host.keys(), [ANNA.public()]);
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn a_long_list_of_keys_is_told_whole() {
    let place = Moonport::new().script("hello", HELLO);
    let now = keystore::Now {
        wall_ms: 1,
        boot_ms: 1,
        boot: [0; 16],
    };
    {
        let directory = keystore::Directory::open(&place.place().state()).unwrap();
        let mut store = keystore::Sled::open(&directory, now).unwrap();
        let accept = |number: u32| {
            let key = *blake3::hash(&number.to_le_bytes()).as_bytes();
            let key = SecretKey::from_bytes(key).public().unwrap();
            Change::Accept {
                key,
                scope: Scope::Any,
                label: Some(format!("machine number {number}")),
                imported: false,
            }
        };
        let all: Vec<_> = (0..3000).map(accept).collect();
        store.apply(now, &keystore::Actor::Host, &all).unwrap();
    }
    let host = place.start();
    assert_eq!(host.keys().len(), 3000);
    host.stop();
}

#[test]
fn a_syntax_error_names_its_line() {
    let ended = Moonport::new().script("broken", "\n\nif then").run();
    assert_eq!(ended.code, 1);
    assert!(ended.text().contains("broken.lua:3"), "{}", ended.text());
}

#[test]
fn a_script_that_is_not_there_is_named() {
    let ended = Moonport::new().option("nothing-here.lua").run();
    assert_ne!(ended.code, 0);
    let text = ended.text();
    assert!(
        text.contains("nothing-here.lua") && text.contains("No such file"),
        "{text}"
    );
}

#[test]
fn a_second_host_names_the_first() {
    let host = Moonport::new().script("hello", HELLO).start();
    let ended = host.again().wait();
    assert_ne!(ended.code, 0);
    let pid = host.process.pid().to_string();
    assert!(ended.text().contains(&pid), "{}", ended.text());
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn a_keystore_that_belongs_to_somebody_else_is_not_used() {
    // Only root can give a folder away.
    if !geteuid().is_root() {
        return;
    }
    let moonport = Moonport::new().script("hello", HELLO).start().kill();
    let given = Command::new("chown")
        .arg("-R")
        .arg("65534")
        .arg(moonport.place().state())
        .status();
    assert!(given.unwrap().success());
    let ended = moonport.run();
    assert_ne!(ended.code, 0);
    let text = ended.text();
    assert!(
        text.contains("65534") || text.contains("own"),
        "it says whose: {text}"
    );
}

#[test]
fn a_keystore_is_nobody_elses_to_read() {
    let host = Moonport::new().script("hello", HELLO).start();
    let state = host.place().state();
    let mode = fs::metadata(&state).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
}
