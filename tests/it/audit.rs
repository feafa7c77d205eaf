//! What an admin can find out afterwards, and be sure of.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use keystore::{Actor, Change, Directory, Keystore, Now, Scope, Sled};
use rustix::process::Signal;
use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Client, Host, Moonport, REFUSED, moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::process::Process;
use crate::repository::root;

/// Makes changes before a host is started, long ago.
fn prepare(state: &Path, changes: &[Change]) {
    let now = Now {
        wall_ms: 1_000_000,
        boot_ms: 1,
        boot: [0; 16],
    };
    let mut store = Sled::open(&Directory::open(state).unwrap(), now).unwrap();
    store
        .apply(now, &Actor::User(4_000_000_000), changes)
        .unwrap();
}

fn accept(who: Key, name: &str) -> Change {
    Change::Accept {
        key: who.public(),
        scope: Scope::Name(name.parse().unwrap()),
        label: Some(format!("{}s laptop", who.0)),
        imported: false,
    }
}

/// `audit follow --json`, from the first record on.
fn follow(host: &Host) -> Process {
    let state = host.place().state();
    let words = ["audit", "follow", "--json", "--limit", "1000"];
    Process::start(&mut moonport(&state, words))
}

/// The next record with this text in it.
#[track_caller]
fn next(follow: &mut Process, text: &str) -> Value {
    serde_json::from_str(&follow.expect(text)).unwrap()
}

/// Turned away, and shown this reference.
#[track_caller]
fn refused(client: Client<'_>) -> String {
    let ended = client.connect().wait();
    assert_eq!(ended.code, REFUSED, "{}", ended.text());
    let text = ended.text();
    let (_, rest) = text.split_once("`moonport explain ").unwrap();
    rest.split_once('`').unwrap().0.to_owned()
}

fn run<'a>(state: &Path, words: impl IntoIterator<Item = &'a str>) -> (i32, String, String) {
    let output = moonport(state, words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

/// The files of the log.
fn files(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join("audit")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn every_refusal_can_be_explained_by_the_reference_that_the_client_is_shown() {
    let [off, gone, bad, old] = ["off", "gone", "bad", "old"].map(Key);
    let key = |who: Key| who.public();
    let place = Moonport::new().script("hello", HELLO);
    let many = [off, gone, bad, old].map(|who| accept(who, "hello"));
    let mut changes = many.to_vec();
    changes.extend([
        accept(CLEO, "elsewhere"),
        Change::Disable { key: key(off) },
        Change::Revoke { key: key(gone) },
        Change::Ban { key: key(bad) },
        Change::Expire {
            key: key(old),
            at_ms: Some(2_000_000),
        },
    ]);
    prepare(&place.place().state(), &changes);
    let host = place.start();
    let state = host.place().state();
    let mut log = follow(&host);
    let secret = host.window_open("hello", 1);
    host.client(ANNA)
        .secret(&secret)
        .connect()
        .expect("welcome");

    let cases = [
        (
            host.client(EVE).secret("no secret"),
            "wrong-secret",
            None,
            "mistyped",
        ),
        (host.client(EVE), "unknown-key", Some(EVE), "key accept"),
        (host.client(CLEO), "out-of-scope", Some(CLEO), "other names"),
        (host.client(off), "disabled", Some(off), "key enable"),
        (host.client(gone), "revoked", Some(gone), "revoked this key"),
        (host.client(bad), "banned", Some(bad), "key unban"),
        (host.client(old), "expired", Some(old), "key expire"),
        (
            host.client(BERT).secret(&secret),
            "window-shut",
            Some(BERT),
            "window open",
        ),
    ];
    for (client, reason, who, words) in cases {
        let reference = refused(client);
        let record = next(&mut log, &reference);
        assert_eq!(record["event"], "refused");
        assert_eq!(record["reason"], reason);
        assert_eq!(record["name"], "hello");
        let key = who.map(|who| who.public().to_string());
        assert_eq!(record["key"].as_str(), key.as_deref(), "{reason}");

        // As somebody types it who was told it on the telephone.
        let typed = reference.replace('-', "").to_lowercase();
        let (code, told, _) = run(&state, ["explain", &typed]);
        assert_eq!(code, 0);
        assert!(told.contains(words), "{reason}: {told}");
        assert!(key.is_none_or(|key| told.contains(&key)), "{told}");
        assert!(told.contains(record["source"].as_str().unwrap()), "{told}");
        let (_, json, _) = run(&state, ["explain", &reference, "--json"]);
        let json: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json[0]["record"], record);
        assert!(json[0]["explanation"].as_str().unwrap().contains(words));
    }
    let (code, _, told) = run(&state, ["explain", "AAAA-AAAA"]);
    assert!(
        code == 2 && told.contains("no refusal with the reference"),
        "{told}"
    );
    let (_, told, _) = run(
        &state,
        ["audit", "show", "--kind", "refused", "--name", "hello"],
    );
    assert_eq!(told.lines().count(), 8, "{told}");
    assert!(
        told.contains("offs laptop") && !told.contains('\u{1b}'),
        "{told}"
    );
    let (_, told, _) = run(&state, ["audit", "show", "--until", "1d", "--kind", "ban"]);
    let key = bad.public();
    assert_eq!(
        told,
        format!("1970-01-01T00:16:40Z  user 4000000000  banned {key} (bads laptop)\n")
    );
    host.stop();
}

#[test]
fn who_came_and_went_is_seen_while_it_happens() {
    let host = Moonport::new().script("hello", HELLO).start();
    let mut log = follow(&host);
    let started = next(&mut log, "\"started\"");
    assert_eq!(started["pid"], host.process.pid());
    let me = format!("user {}", rustix::process::geteuid().as_raw());
    let secret = host.window_open("hello", 1);
    let opened = next(&mut log, "\"window-open\"");
    assert_eq!(
        (&opened["by"], &opened["count"]),
        (&me.as_str().into(), &1.into())
    );

    let mut anna = host.client(ANNA).secret(&secret).connect();
    let enrolled = next(&mut log, "\"enrol\"");
    assert_eq!(enrolled["opened_by"], me);
    assert_eq!(next(&mut log, "\"window-end\"")["why"], "spent");
    let admitted = next(&mut log, "\"admitted\"");
    for (field, value) in [
        ("key", ANNA.public().to_string().into()),
        ("window", opened["window"].clone()),
        ("opened_by", me.clone().into()),
        ("enrolled", Value::Bool(true)),
    ] {
        assert_eq!(admitted[field], value, "{field}");
    }
    anna.expect("welcome");
    host.key_remove(ANNA);
    let removed = next(&mut log, "\"remove\"");
    assert_eq!(removed["by"], me);
    let left = next(&mut log, "\"left\"");
    assert_eq!(
        (&left["why"], &left["session"]),
        (&"revoked".into(), &admitted["session"])
    );

    let (code, told, _) = run(&host.place().state(), ["audit", "verify"]);
    assert!(code == 0 && told.contains("goes with the host"), "{told}");
    host.stop();
    log.signal(Signal::INT);
    assert_eq!(log.wait().code, 130);
}

#[test]
fn what_was_tampered_with_is_found_in_its_place() {
    let place = Moonport::new().script("hello", HELLO);
    let host = place.start();
    let state = host.place().state();
    for who in [ANNA, BERT, CLEO] {
        host.key_accept("hello", who);
    }
    let verify = |more: &[&str]| run(&state, [&["audit", "verify"], more].concat());
    let (code, told, _) = verify(&["--json"]);
    let noted: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &noted["ok"], &noted["compared_with"]),
        (0, &true.into(), &"host".into())
    );
    let noted = noted["head"]["hash"].as_str().unwrap();
    let _place = host.stop();
    let (code, told, why) = verify(&["--head", noted]);
    assert!(
        code == 0 && told.contains("goes with the store"),
        "{told}{why}"
    );
    assert!(told.contains("that was noted is record"), "{told}");
    let (code, _, why) = verify(&["--head", &"0".repeat(64)]);
    assert!(code == 1 && why.contains("noted"), "{why}");

    let copy = state.join("copy.jsonl");
    let (code, _, _) = run(
        &state,
        ["audit", "export", "--output", copy.to_str().unwrap()],
    );
    assert_eq!(code, 0);
    let file = files(&state).remove(0);
    let good = fs::read_to_string(&file).unwrap();
    assert_eq!(fs::read_to_string(&copy).unwrap(), good);

    let lines: Vec<_> = good.lines().collect();
    let bert = lines
        .iter()
        .position(|line| line.contains(&BERT.public().to_string()))
        .unwrap();
    let place = format!("00000001.jsonl:{}: ", bert + 1);
    fs::write(
        &file,
        good.replace(&BERT.public().to_string(), &EVE.public().to_string()),
    )
    .unwrap();
    let (code, _, why) = verify(&[]);
    assert!(
        code == 1 && why.contains(&place) && why.contains("changed"),
        "{why}"
    );
    assert!(
        why.contains(&format!("the {bert} records before it are whole")),
        "{why}"
    );
    let (code, told, _) = verify(&["--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (code, &told["ok"], &told["broken"]["line"]),
        (1, &false.into(), &(bert + 1).into())
    );
    let (code, _, why) = run(&state, ["audit", "export"]);
    assert!(code == 1 && why.contains(&place), "{why}");

    // Whole in itself, and not all.
    let cut: String = lines[..lines.len() - 1]
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    fs::write(&file, cut).unwrap();
    let (code, _, why) = verify(&[]);
    assert!(
        code == 1 && why.contains("does not go with the keystore"),
        "{why}"
    );
    let (code, _, why) = verify(&[
        "--head",
        serde_json::from_str::<Value>(lines[lines.len() - 1]).unwrap()["hash"]
            .as_str()
            .unwrap(),
    ]);
    assert!(code == 1 && why.contains("none of the"), "{why}");
    fs::write(&file, good).unwrap();
    assert_eq!(verify(&[]).0, 0);
}

#[test]
fn i8_no_secret_is_in_the_audit_log() {
    let host = Moonport::new().script("hello", HELLO).start();
    let canary = host.place().file("canary", "canary-in-the-coal-mine");
    host.admin([
        "window",
        "open",
        "hello",
        "--count",
        "2",
        "--secret-file",
        &canary,
    ]);
    let generated = host.window_open("hello", 1);
    for (who, secret) in [(ANNA, "canary-in-the-coal-mine"), (BERT, &*generated)] {
        host.client(who).secret(secret).connect().expect("welcome");
    }
    host.client(EVE).secret(&generated).refused();
    host.client(EVE).secret("canary-that-is-wrong").refused();
    let mut log = follow(&host);
    next(&mut log, "wrong-secret");
    let state = host.place().state();
    let _place = host.stop();
    let text: String = files(&state)
        .iter()
        .map(|file| fs::read_to_string(file).unwrap())
        .collect();
    assert!(text.contains("window-open") && text.contains("\"human\":true"));
    for secret in ["canary", &generated, &generated[..13]] {
        assert!(!text.contains(secret), "{text}");
    }
}

/// The script of docs/audit.md says what `verify` says.
#[test]
fn twenty_lines_of_python_can_verify_it() {
    let document = fs::read_to_string(root().join("docs/audit.md")).unwrap();
    let (_, script) = document.split_once("```python\n").unwrap();
    let (script, _) = script.split_once("```").unwrap();
    assert!(script.lines().count() <= 20);
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    host.admin([
        "key",
        "accept",
        &BERT.public().to_string(),
        "--scope",
        "*",
        "--label",
        &"\"ü".repeat(40),
    ]);
    let state = host.place().state();
    let _place = host.stop();
    let (_, told, _) = run(&state, ["audit", "verify", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let python = |expected: i32| {
        let mut command = Command::new("python3");
        command
            .args(["-c", script])
            .arg(&state)
            .env("PYTHONPATH", root().join("tests/it"));
        let output = command.env("PYTHONDONTWRITEBYTECODE", "1").output().ok()?;
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(expected), "{text}");
        Some(text)
    };
    let Some(said) = python(0) else {
        println!("skipped: there is no python3");
        return;
    };
    let head = &told["head"];
    assert_eq!(
        said,
        format!("{} {}\n", head["seq"], head["hash"].as_str().unwrap())
    );
    let file = files(&state).remove(0);
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replacen("\"host\"", "\"tsoh\"", 1)).unwrap();
    assert!(python(1).unwrap().contains("00000001.jsonl:1: broken"));
}
