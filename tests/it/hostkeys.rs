//! The host's own keys: sealed or not, rotated while it runs, never in the open.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Instant;

use chacha20::ChaCha8Rng;
use identity::{PublicKey, Secret};
use moonport::wire::a12::event::{External, SegmentKind};
use moonport::wire::a12::keyroom::{Claim, ratchet};
use moonport::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Input, Output as Said, Protocol};
use rand_core::SeedableRng;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::geteuid;
use serde_json::Value;
use tempfile::TempDir;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, Place, REFUSED, moonport};
use crate::key::{ANNA, BERT, EVE, Key};
use crate::process::{PATIENCE, Process};
use crate::users::on_a_terminal;

/// The exit code of what the keystore does not take.
const KEYSTORE: i32 = 3;

/// A passphrase that is found wherever it should not be.
const CANARY: &str = "canary bird passphrase";

/// Runs a command that nobody can be asked by; it has no terminal of its own.
fn run<'w>(state: &Path, words: impl IntoIterator<Item = &'w str>) -> Output {
    let mut command = std::process::Command::new("setsid");
    let inner = moonport(state, words);
    command
        .arg("-w")
        .arg(inner.get_program())
        .args(inner.get_args());
    command.stdin(Stdio::null()).output().unwrap()
}

#[track_caller]
fn failure<'w>(state: &Path, words: impl IntoIterator<Item = &'w str>) -> (i32, String) {
    let output = run(state, words);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (output.status.code().unwrap(), text)
}

#[track_caller]
fn json<'w>(state: &Path, words: impl IntoIterator<Item = &'w str>) -> Value {
    let output = run(state, words);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The file with the host's keys.
fn file(place: &Place) -> PathBuf {
    place.state().join("hostkeys/default")
}

/// A place whose host key is sealed by [`CANARY`], and where a file with that is.
fn sealed() -> (Moonport, String, String) {
    let moonport = Moonport::new().script("hello", HELLO);
    let place = moonport.place();
    let passphrase = place.file("passphrase", &format!("{CANARY}\n"));
    let words = [
        "key",
        "host",
        "new",
        "default",
        "--seal",
        "--json",
        "--passphrase-file",
    ];
    let words = words.into_iter().chain([passphrase.as_str()]);
    let made = json(&place.state(), words);
    assert_eq!(made["sealed"], true);
    let key = made["key"].as_str().unwrap().to_owned();
    (moonport, passphrase, key)
}

fn is_up_with(host: &Host, key: &str) {
    assert_eq!(host.place().host_key(), key);
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn a_sealed_key_starts_a_host_by_a_file() {
    let (moonport, passphrase, key) = sealed();
    let host = moonport
        .option("--passphrase-file")
        .option(&passphrase)
        .start();
    is_up_with(&host, &key);
    host.stop();
}

#[test]
fn a_sealed_key_starts_a_host_by_a_descriptor_which_its_children_do_not_get() {
    let (moonport, passphrase, key) = sealed();
    let file = fs::File::open(&passphrase).unwrap();
    fcntl_setfd(&file, FdFlags::empty()).unwrap();
    let number = file.as_raw_fd().to_string();
    let host = moonport.option("--passphrase-fd").option(&number).start();
    fcntl_setfd(&file, FdFlags::CLOEXEC).unwrap();
    is_up_with(&host, &key);
    for child in host.process.children() {
        let Ok(open) = fs::read_dir(format!("/proc/{child}/fd")) else {
            // Only root may look into processes that are closed to others.
            assert!(!geteuid().is_root());
            continue;
        };
        for descriptor in open {
            let leads = fs::read_link(descriptor.unwrap().path()).unwrap_or_default();
            assert_ne!(leads, Path::new(&passphrase), "a child has it");
        }
    }
}

#[test]
fn a_sealed_key_starts_a_host_by_the_credential_of_systemd() {
    let (moonport, passphrase, key) = sealed();
    let folder = moonport.place().folder().join("credentials");
    fs::create_dir(&folder).unwrap();
    fs::copy(&passphrase, folder.join("moonport.passphrase")).unwrap();
    let folder = folder.to_str().unwrap().to_owned();
    let host = moonport.variable("CREDENTIALS_DIRECTORY", &folder).start();
    is_up_with(&host, &key);
}

#[test]
fn i8_a_passphrase_is_nowhere_to_be_seen() {
    let (moonport, passphrase, _) = sealed();
    let host = moonport
        .option("--log=trace")
        .option("--passphrase-file")
        .option(&passphrase)
        .start();
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
    // It goes over the control socket, too.
    host.admin(["key", "host", "rotate", "--passphrase-file", &passphrase]);
    let wrong = host.place().file("wrong", &format!("not the {CANARY}"));
    let words = [
        "key",
        "host",
        "retire",
        "--yes",
        "--passphrase-file",
        &wrong,
    ];
    let (code, told) = failure(&host.place().state(), words);
    assert_eq!(code, KEYSTORE, "{told}");
    assert!(!told.contains(CANARY), "{told}");
    for process in host.processes() {
        for what in ["cmdline", "environ"] {
            let bytes = fs::read(format!("/proc/{process}/{what}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains("canary"), "{what} of {process}: {text}");
        }
    }
    let said = host.process.terminate().text();
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn a_wrong_passphrase_is_told_in_one_line_and_changes_nothing() {
    let (moonport, _, _) = sealed();
    let place = moonport.place();
    let before = fs::read(file(place)).unwrap();
    let wrong = place.file("wrong", "something else");
    let script = place.folder().join("hello.lua");
    let script = script.to_str().unwrap();
    for words in [
        &["run", script][..],
        &["key", "host", "rotate"],
        &["key", "host", "unseal", "--yes"],
    ] {
        let words = words.iter().copied();
        let (code, told) = failure(&place.state(), words.chain(["--passphrase-file", &wrong]));
        assert_eq!(code, KEYSTORE);
        assert!(told.contains("passphrase is wrong"), "{told}");
        assert_eq!(fs::read(file(place)).unwrap(), before);
    }
}

#[test]
fn where_nobody_can_be_asked_the_ways_to_give_a_passphrase_are_named() {
    let (moonport, _, key) = sealed();
    let place = moonport.place();
    let script = place.folder().join("hello.lua");
    let (code, told) = failure(&place.state(), ["run", script.to_str().unwrap()]);
    assert_eq!(code, 2);
    for way in ["--passphrase-file", "--passphrase-fd", "credential"] {
        assert!(told.contains(way), "{told}");
    }
    // What is public needs none.
    assert_eq!(place.host_key(), key);
    let listed = json(&place.state(), ["key", "host", "list", "--json"]);
    assert_eq!(
        (&listed[0]["key"], &listed[0]["sealed"]),
        (&key.into(), &true.into())
    );
}

#[test]
fn an_unsealed_key_gives_a_notice_once_and_is_not_taken_for_a_sealed_one() {
    let host = Moonport::new().script("hello", HELLO).start();
    let passphrase = host.place().file("passphrase", CANARY);
    let key = host.place().host_key();
    let state = host.place().state();
    let before = fs::read(file(host.place())).unwrap();
    let moonport = host.kill();
    let host = moonport.start();
    assert_eq!(host.place().host_key(), key);
    assert_eq!(fs::read(file(host.place())).unwrap(), before);
    let script = host.place().folder().join("hello.lua");
    let ended = host.process.terminate();
    assert_eq!(ended.text().matches("is not sealed").count(), 1);
    let script = script.to_str().unwrap();
    let (code, told) = failure(&state, ["run", script, "--passphrase-file", &passphrase]);
    assert!(code == KEYSTORE && told.contains("not sealed"), "{told}");
}

#[test]
fn a_first_run_with_a_passphrase_seals_the_key_it_makes() {
    let moonport = Moonport::new().script("hello", HELLO);
    let passphrase = moonport.place().file("passphrase", CANARY);
    let host = moonport
        .option("--passphrase-file")
        .option(&passphrase)
        .start();
    let listed = json(&host.place().state(), ["key", "host", "list", "--json"]);
    assert_eq!(listed[0]["sealed"], true);
    assert!(!host.process.terminate().text().contains("is not sealed"));
}

#[test]
fn a_key_of_the_first_version_goes_on_working() {
    let moonport = Moonport::new().script("hello", HELLO);
    let place = moonport.place();
    // Makes the folders.
    place.host_key();
    let old = place.file(
        "old",
        &format!("{}\n", data_encoding::BASE64.encode(&EVE.private())),
    );
    fs::copy(old, file(place)).unwrap();
    let host = moonport.start();
    is_up_with(&host, &EVE.public().to_string());
}

/// Connects as somebody who expects this key.
fn connects(host: &Host, who: Key, key: &str) -> Process {
    host.client(who).server_key(key).connect()
}

#[test]
fn a_rotation_answers_those_who_know_the_old_key_by_it_and_newcomers_by_the_new_one() {
    let mut host = Moonport::new().script("hello", HELLO).start();
    let old = host.place().host_key();
    host.key_accept("hello", ANNA);
    let secret = host.window_open("hello", 1);
    connects(&host, ANNA, &old).expect("welcome");

    host.admin(["key", "host", "rotate", "--overlap", "30d"]);
    let log = host.admin(["audit", "show", "--kind", "host-key"]);
    assert!(
        log.contains("changed host key default") && log.contains("rotated"),
        "{log}"
    );
    host.process.expect("rotated");
    let new = host.place().host_key();
    assert_ne!(old, new);
    let listed = json(&host.place().state(), ["key", "host", "list", "--json"]);
    assert_eq!(listed[0]["previous"]["key"], old);
    let until = listed[0]["previous"]["answers_until_ms"].as_u64().unwrap();
    let rotated = listed[0]["previous"]["rotated_ms"].as_u64().unwrap();
    assert_eq!(until - rotated, 30 * 86_400_000);

    connects(&host, ANNA, &old).expect("welcome");
    let mut bert = host.client(BERT).secret(&secret).server_key(&new).connect();
    bert.expect("welcome");
    // He knows the new one, without the secret and for good.
    connects(&host, BERT, &new).expect("welcome");
    // A restart changes nothing.
    drop(bert);
    let host = host.kill().start();
    connects(&host, ANNA, &old).expect("welcome");
    connects(&host, BERT, &new).expect("welcome");

    host.admin(["key", "host", "retire", "--yes"]);
    let ended = connects(&host, ANNA, &old).wait();
    assert_eq!(ended.code, REFUSED, "{}", ended.text());
    assert!(ended.text().contains(&new), "{}", ended.text());
    connects(&host, ANNA, &new).expect("welcome");
    connects(&host, BERT, &new).expect("welcome");
    host.stop();
}

#[test]
fn an_overlap_ends_by_the_clock_without_a_restart() {
    let host = Moonport::new().script("hello", HELLO).start();
    let old = host.place().host_key();
    host.key_accept("hello", ANNA);
    host.admin(["key", "host", "rotate", "--overlap", "1s"]);
    let new = host.place().host_key();
    // How often she is let in meanwhile depends on how fast all this is.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut anna = connects(&host, ANNA, &old);
        if !anna.says("welcome") {
            assert_eq!(anna.wait().code, REFUSED);
            break;
        }
        assert!(Instant::now() < deadline, "the old key still answers");
    }
    connects(&host, ANNA, &new).expect("welcome");
    // The next rotation may follow.
    host.admin(["key", "host", "rotate"]);
    connects(&host, ANNA, &new).expect("welcome");
}

#[test]
fn sealing_and_unsealing_keep_the_keys_with_a_host_and_without() {
    let host = Moonport::new().script("hello", HELLO).start();
    let key = host.place().host_key();
    let [one, two] = ["one", "two"].map(|name| host.place().file(name, name));
    let state = host.place().state();
    let words = |words: &[&str]| {
        let words = ["key", "host"].iter().chain(words).copied();
        words
            .chain(["--json"])
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let seal = words(&["seal", "--passphrase-file", &one]);
    let reseal = words(&[
        "reseal",
        "--passphrase-file",
        &one,
        "--new-passphrase-file",
        &two,
    ]);
    let unseal = words(&["unseal", "--yes", "--passphrase-file", &two]);
    let each = || {
        for (words, sealed) in [(&seal, true), (&reseal, true), (&unseal, false)] {
            let rehearsal = words.iter().map(String::as_str).chain(["--dry-run"]);
            let before = fs::read(state.join("hostkeys/default")).unwrap();
            assert_eq!(json(&state, rehearsal)["dry_run"], true);
            assert_eq!(fs::read(state.join("hostkeys/default")).unwrap(), before);
            let done = json(&state, words.iter().map(String::as_str));
            assert_eq!(done["sealed"], sealed, "{words:?}");
            assert_eq!(done["key"], key);
        }
    };
    each();
    is_up_with(&host, &key);
    let _moonport = host.kill();
    each();
}

#[test]
fn what_cannot_be_undone_is_not_done_unasked() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    json(&state, ["key", "host", "--json"]);
    json(&state, ["key", "host", "rotate", "--json"]);
    let before = fs::read(state.join("hostkeys/default")).unwrap();
    let (code, told) = failure(&state, ["key", "host", "retire"]);
    assert!(code == 2 && told.contains("--yes"), "{told}");
    let (code, told) = failure(&state, ["key", "host", "rotate"]);
    assert!(code == KEYSTORE && told.contains("retire"), "{told}");
    let (code, told) = failure(&state, ["key", "host", "new", "default"]);
    assert!(code == KEYSTORE && told.contains("already"), "{told}");
    let (code, told) = failure(&state, ["key", "host", "retire", "nobody", "--yes"]);
    assert!(code == KEYSTORE && told.contains("no host key"), "{told}");
    assert_eq!(fs::read(state.join("hostkeys/default")).unwrap(), before);
}

#[test]
fn our_keys_can_be_shown_to_a_camera() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    for command in ["host", "own"] {
        let output = run(&state, ["key", command, "--qr"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains('█') || text.contains('▀'), "{text}");
        let plain = String::from_utf8(run(&state, ["key", command]).stdout).unwrap();
        assert!(text.starts_with(&plain));
    }
}

#[test]
fn a_passphrase_comes_by_a_pipe_too() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"moon\n").unwrap();
    drop(writer);
    let mut command = moonport(
        &state,
        ["key", "host", "new", "default", "--passphrase-fd", "0"],
    );
    let output = command.stdin(reader).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let listed = json(&state, ["key", "host", "list", "--json"]);
    assert_eq!(listed[0]["sealed"], true);
}

/// Connects as somebody, stops when the host has named its key, and goes on when `between` is done.
/// Returns the key, once the host has closed.
fn interrupted(host: &Host, who: Key, secret: &str, between: impl FnOnce()) -> PublicKey {
    let Place { address, port, .. } = host.place();
    let mut stream = TcpStream::connect((*address, *port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let config = InitiatorConfig {
        role: Role::Source,
        initial: StageKeys::initial(&Secret::parse(secret.as_bytes()).unwrap()),
        public: who.public(),
        rounds: Rounds::Two,
        handshake: PATIENCE,
    };
    let own = SecretKey::from_bytes(who.private());
    let now = Instant::now();
    let mut client = Initiator::new(config, now, ChaCha8Rng::seed_from_u64(7));
    let mut between = Some(between);
    let mut named = None;
    loop {
        let mut out = Vec::new();
        loop {
            let input = match client.poll(&mut out) {
                Said::Transmit => continue,
                Said::Idle(_) => break,
                Said::Ask(Ask::Server(hello)) => {
                    let claim = Claim::parse(&hello).unwrap();
                    named = Some(*claim.key());
                    between.take().unwrap()();
                    Input::Answer(Answer::Session(claim.session(&own)))
                }
                Said::Ask(Ask::Ratchet(rekey)) => {
                    Input::Answer(Answer::Ratchet(ratchet(&own, &rekey).unwrap()))
                }
                Said::Ask(other) => panic!("{other:?}"),
                Said::Event(Event::Established { .. }) => Input::Command(Command::External {
                    channel: 0,
                    event: External::Register {
                        title: "late".into(),
                        kind: SegmentKind(10),
                        guid: [0; 2],
                    },
                }),
                Said::Event(event) => panic!("it was let in: {event:?}"),
            };
            client.handle(now, input).unwrap();
        }
        stream.write_all(&out).unwrap();
        let mut bytes = vec![0; client.room().min(4096)];
        match stream.read(&mut bytes).unwrap() {
            0 => return named.unwrap(),
            read => client.handle(now, Input::Bytes(&bytes[..read])).unwrap(),
        }
    }
}

/// Being enrolled after the rotation would mean being answered by the new key from then on.
#[test]
fn a_newcomer_who_was_told_the_old_key_is_not_enrolled_after_the_rotation() {
    let host = Moonport::new().script("hello", HELLO).start();
    let old = host.place().host_key();
    let secret = host.window_open("hello", 1);
    let told = interrupted(&host, BERT, &secret, || {
        host.admin(["key", "host", "rotate"]);
    });
    assert_eq!(told.to_string(), old);
    assert!(host.keys().is_empty());
    // Nothing is spent: the second attempt is told the new key.
    host.client(BERT)
        .secret(&secret)
        .connect()
        .expect("welcome");
    host.client(BERT).connect().expect("welcome");
}

#[test]
fn a_new_passphrase_is_asked_for_twice_on_a_terminal() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    json(&state, ["key", "host", "--json"]);
    let seal = moonport(&state, ["key", "host", "seal"]);
    for (again, code) in [("sun", 2), ("moon", 0)] {
        let Some(mut terminal) = on_a_terminal(&seal) else {
            return;
        };
        // A line for each question, whenever that comes.
        terminal.types(&format!("moon\n{again}\n"));
        let told = if code == 0 { "is sealed" } else { "differ" };
        terminal.expect(told);
        assert_eq!(terminal.wait().code, code);
    }
    let unseal = moonport(&state, ["key", "host", "unseal", "--yes"]);
    let mut terminal = on_a_terminal(&unseal).unwrap();
    terminal.types("moon\n");
    terminal.expect("not sealed any more");
    assert_eq!(terminal.wait().code, 0);
}
