//! Commands that are given secrets: none of what they say, at any level of the log, has one in it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use data_encoding::BASE64;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, Place, moonport};
use crate::key::{ANNA, EVE};

/// Part of every secret here.
const CANARY: &str = "canary";

/// Runs a command that may fail or not; gives whether it was done, and all that it said, once it is
/// sure that no secret is in it.
#[track_caller]
fn said(state: &Path, words: &[&str]) -> (bool, String) {
    let words = words.iter().copied().chain(["--log=trace"]);
    let mut command = moonport(state, words);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(!said.contains(CANARY), "{command:?} says {said}");
    assert!(!said.contains("Q0FOQVJZ"), "{command:?} says {said}");
    (output.status.success(), said)
}

#[track_caller]
fn fails(state: &Path, words: &[&str]) -> String {
    let (done, said) = said(state, words);
    assert!(!done, "{words:?} is done: {said}");
    said
}

#[track_caller]
fn works(state: &Path, words: &[&str]) -> String {
    let (done, said) = said(state, words);
    assert!(done, "{words:?} fails: {said}");
    said
}

fn host() -> Host {
    Moonport::new().script("hello", HELLO).start()
}

#[test]
fn i8_secrets_of_windows_are_not_told_whatever_is_wrong_with_them() {
    let host = host();
    let state = host.place().state();
    let of = |name: &str, text: &str| host.place().file(name, text);
    let good = of("good", "canary-of-a-window");
    works(&state, &["window", "open", "hello", "--secret-file", &good]);
    // Two windows of a name do not share one.
    for dry in [&[][..], &["--dry-run"]] {
        let again = ["window", "open", "hello", "--secret-file", &good];
        fails(&state, &[&again, dry].concat());
    }
    let long = of("long", &"canary".repeat(6));
    let zero = of("zero", "canary\0canary");
    for wrong in [&long, &zero] {
        let words = ["window", "open", "other", "--secret-file", wrong];
        said(&state, &words);
    }
    fails(&state, &["window", "open", "third", "--secret-file", &long]);
    // Where others can read it, that is told, but not what they read.
    let open = of("open", "canary-for-all");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).unwrap();
    said(
        &state,
        &["window", "open", "fourth", "--secret-file", &open],
    );
    for json in [&[][..], &["--json"]] {
        works(&state, &[&["window", "list", "--all"], json].concat());
        works(&state, &[&["window", "show", "hello"], json].concat());
        works(&state, &[&["status"], json].concat());
    }
    host.stop();
}

#[test]
fn i8_secrets_that_a_client_is_given_are_not_told_whatever_is_wrong_with_them() {
    let host = host();
    host.key_accept("hello", ANNA);
    let (at, key) = (host.place().at(), host.place().host_key());
    let client = host.place().folder().join("client");
    let of = |name: &str, text: &str| host.place().file(name, text);
    let wrong = of("wrong", "canary-that-is-wrong");
    let identity = of("identity", &BASE64.encode(&ANNA.private()));
    let known = [
        "connect",
        &at,
        "--server-key",
        &key,
        "--identity",
        &identity,
    ];
    fails(&client, &[&known[..], &["--secret-file", &wrong]].concat());
    let long = of("long", &"canary".repeat(6));
    fails(&client, &[&known[..], &["--secret-file", &long]].concat());
    // A private key that is damaged.
    let damaged = of("damaged", &format!("canary{}", BASE64.encode(&[7; 28])));
    let words = ["connect", &at, "--server-key", &key, "--identity", &damaged];
    fails(&client, &words);
    let good = format!("moonport://enrol?host={at}&key={key}&name=hello");
    for (number, invite) in [
        format!("{good}#canary-that-is-wrong"),
        format!("{good}#{}", "canary".repeat(6)),
        format!("{good}&more=canary#canary"),
        "moonport://enrol?host=&key=x&name=hello#canary".to_owned(),
        "moonport://enrol?canary#canary".to_owned(),
        "moonport://enrol?#canary".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let file = of(&format!("invite{number}"), invite);
        fails(&client, &["connect", "--invite-file", &file]);
    }
    let ended = host.process.terminate();
    assert!(!ended.text().contains(CANARY), "{}", ended.text());
}

#[test]
fn i8_passphrases_and_private_keys_are_not_told_whatever_is_wrong_with_them() {
    let place = Place::new();
    let state = place.state();
    let of = |name: &str, text: &str| place.file(name, text);
    let (right, wrong) = (
        of("right", "canary, the right one"),
        of("wrong", "not that canary"),
    );
    let seal = [
        "key",
        "host",
        "new",
        "default",
        "--seal",
        "--passphrase-file",
        &right,
    ];
    works(&state, &seal);
    for words in [
        &["key", "host", "rotate"][..],
        &["key", "host", "unseal", "--yes"],
        &["key", "host", "retire", "--yes"],
    ] {
        fails(&state, &[words, &["--passphrase-file", &wrong]].concat());
    }
    let new = ["key", "host", "reseal", "--passphrase-file", &wrong];
    fails(
        &state,
        &[&new[..], &["--new-passphrase-file", &right]].concat(),
    );
    // Private keys of others, whole and damaged.
    let zeromq = |name: &str, secret: &str| {
        let public = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID";
        let text = format!(
            "metadata\ncurve\n    public-key = \"{public}\"\n    secret-key = \"{secret}\"\n"
        );
        of(name, &text)
    };
    let damaged = zeromq(
        "damaged.key_secret",
        "canary canary canary canary canary canar",
    );
    let short = zeromq("short.key_secret", "canary");
    for file in [&damaged, &short] {
        let words = [
            "key",
            "host",
            "import",
            file,
            "other",
            "--passphrase-file",
            &wrong,
        ];
        fails(&state, &[&words[..], &["--seal"]].concat());
        fails(&state, &["key", "host", "import", file, "another"]);
        said(&state, &["key", "import", file, "--scope", "hello"]);
    }
    // A backup, with the keys of a host in it.
    let file = place.folder().join("all.moonback");
    let file = file.to_str().unwrap();
    works(&state, &["backup", file, "--passphrase-file", &right]);
    fails(&state, &["backup", file, "--passphrase-file", &right]);
    let elsewhere = place.folder().join("elsewhere");
    let restore = ["restore", file, "--yes", "--passphrase-file"];
    fails(&elsewhere, &[&restore[..], &[&wrong]].concat());
    works(&elsewhere, &[&restore[..], &[&right]].concat());
    fails(&elsewhere, &[&restore[..], &[&of("empty", "")]].concat());
    works(&state, &["key", "host", "list"]);
    works(&state, &["key", "host", "--json"]);
    // The key that a client proves.
    let own = of("own", &BASE64.encode(&EVE.private()));
    let shown = works(&state, &["key", "own", "--identity", &own]);
    assert!(
        !shown.contains(&BASE64.encode(&EVE.private())[..20]),
        "{shown}"
    );
}
