//! What an admin says and asks of keys.

use std::process::Stdio;

use data_encoding::HEXLOWER;
use serde_json::Value;
use tempfile::TempDir;

use crate::hello::HELLO;
use crate::host::{Moonport, moonport};
use crate::key::{ANNA, BERT, CLEO};

/// A state directory without a host.
struct Store(TempDir);

impl Store {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let state = self.0.path().join("state");
        let mut command = moonport(&state, words);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap();
        (code, text(output.stdout), text(output.stderr))
    }

    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let (code, said, errors) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {errors}");
        said
    }

    #[track_caller]
    fn json(&self, words: &[&str]) -> Value {
        let words = [words, &["--json"]].concat();
        serde_json::from_str(&self.done(&words)).unwrap()
    }

    /// It has to fail with this code, in one line, and say this.
    #[track_caller]
    fn fails(&self, words: &[&str], code: i32, say: &str) {
        let (found, _, errors) = self.run(words);
        assert_eq!(found, code, "{words:?}: {errors}");
        assert!(errors.contains(say), "{words:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{words:?}: {errors}");
    }
}

#[test]
fn all_that_is_said_of_a_key_is_shown() {
    let store = Store::new();
    let key = ANNA.public().to_string();
    let hex = HEXLOWER.encode(ANNA.public().as_bytes());
    let words = [
        "key",
        "accept",
        &hex,
        "--scope",
        "hello,chat",
        "--label",
        "laptop",
    ];
    let more = ["--comment", "hers since May", "--expires", "2100-01-31"];
    store.done(&[&words[..], &more].concat());
    let shown = store.json(&["key", "show", "laptop"]);
    assert_eq!(shown["key"], key);
    assert_eq!(shown["scopes"], serde_json::json!(["chat", "hello"]));
    assert_eq!(shown["comment"], "hers since May");
    assert_eq!(shown["expires_ms"], 4_105_036_800_000_u64);
    assert_eq!(
        (&shown["state"], &shown["how"]),
        (&"accepted".into(), &"named".into())
    );
    assert!(shown["added_by"].as_str().unwrap().starts_with("user "));
    assert_eq!(shown["words"].as_str().unwrap().split(' ').count(), 12);

    let text = store.done(&["key", "show", &key[..6]]);
    assert!(text.contains("2100-01-31T00:00:00Z"), "{text}");
    let row = store.done(&["key", "list"]);
    assert!(row.contains(&key[..8]) && !row.contains(&key), "{row}");
    assert!(
        row.contains("laptop") && row.contains("chat,hello"),
        "{row}"
    );
    assert!(store.done(&["key", "list", "--full"]).contains(&key));

    store.done(&["key", "label", "laptop", "--none"]);
    store.done(&["key", "comment", &key, "his now"]);
    store.done(&["key", "expire", &key, "never"]);
    store.done(&["key", "scope", "remove", &key, "chat", "--yes"]);
    let shown = store.json(&["key", "show", &key]);
    assert_eq!(
        (&shown["label"], &shown["expires_ms"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(shown["comment"], "his now");
    assert_eq!(shown["scopes"], serde_json::json!(["hello"]));
}

#[test]
fn lists_are_narrowed_and_ordered() {
    let store = Store::new();
    for (who, label) in [(ANNA, "b"), (BERT, "a"), (CLEO, "c")] {
        let key = who.public().to_string();
        store.done(&["key", "accept", &key, "--scope", "hello", "--label", label]);
    }
    let labels = |words: &[&str]| {
        let keys = store.json(&[&["key", "list"], words].concat());
        let label = |key: &Value| key["label"].as_str().unwrap().to_owned();
        keys.as_array()
            .unwrap()
            .iter()
            .map(label)
            .collect::<Vec<_>>()
    };
    assert_eq!(labels(&[]), ["b", "a", "c"]);
    assert_eq!(labels(&["--sort", "label"]), ["a", "b", "c"]);
    assert_eq!(labels(&["--sort", "label", "--reverse"]), ["c", "b", "a"]);
    store.done(&["key", "disable", "a", "c"]);
    assert_eq!(labels(&["--state", "disabled"]), ["a", "c"]);
    assert_eq!(labels(&["--label", "b"]), ["b"]);
    assert!(labels(&["--unseen-for", "90d"]).is_empty());
    assert!(labels(&["--expired"]).is_empty());
}

#[test]
fn what_does_not_fit_is_told_with_what_would() {
    let store = Store::new();
    let key = ANNA.public().to_string();
    store.done(&["key", "accept", &key, "--scope", "*"]);
    let remove = ["key", "scope", "remove", &key, "hello", "--yes"];
    store.fails(&remove, 3, "only because it is for *");
    let past = ["key", "expire", &key, "2020-01-01"];
    store.fails(&past, 2, "moonport key revoke");
    store.done(&["key", "revoke", &key, "--yes"]);
    let enable = ["key", "enable", &key];
    store.fails(&enable, 3, "moonport key accept");
    let add = ["key", "scope", "add", &key, "hello"];
    store.fails(&add, 3, "moonport key accept");
    store.done(&["key", "ban", &key, "--yes"]);
    let accept = ["key", "accept", &key, "--scope", "hello"];
    store.fails(&accept, 3, "moonport key unban");
    store.done(&["key", "unban", &key]);
    store.done(&accept);
    let again = store.done(&["key", "accept", &key, "--scope", "hello"]);
    assert!(again.contains("already"), "{again}");
    store.fails(
        &["key", "show", &BERT.public().to_string()],
        2,
        "is not known",
    );
    let sessions = store.json(&["key", "sessions"]);
    assert_eq!(sessions, serde_json::json!([]));
}

#[test]
fn an_expired_key_that_is_accepted_again_is_told_as_such() {
    let store = Store::new();
    let key = ANNA.public().to_string();
    let accept = ["key", "accept", &key, "--scope", "hello"];
    store.done(&accept);
    store.done(&["key", "disable", &key]);
    let (_, _, errors) = store.run(&accept);
    assert!(errors.contains("stays disabled"), "{errors}");
}

#[test]
fn a_fingerprint_needs_no_keystore() {
    let store = Store::new();
    let key = ANNA.public().to_string();
    let shown = store.json(&["key", "fingerprint", &key]);
    assert_eq!(
        shown["fingerprint"],
        ANNA.public().fingerprint().to_string()
    );
    let drawn = store.done(&["key", "qr", &key]);
    assert!(drawn.lines().count() > 10);
    store.fails(&["key", "fingerprint", "nobody"], 2, "nobody");
    assert!(!store.0.path().join("state").exists());
    store.done(&["key", "accept", &key, "--scope", "*", "--label", "laptop"]);
    let known = store.json(&["key", "fingerprint", "laptop"]);
    assert_eq!(known["key"], key);
}

#[test]
fn who_is_in_is_listed_by_key_and_name() {
    let host = Moonport::new().script("hello", HELLO).start();
    for who in [ANNA, BERT] {
        host.key_accept("hello", who);
    }
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");
    let all = host.json(["key", "sessions", "--json"]);
    assert_eq!(all.as_array().unwrap().len(), 2);
    let key = ANNA.public().to_string();
    let hers = host.json(["key", "sessions", &key, "--json"]);
    let hers = hers.as_array().unwrap();
    assert_eq!((hers.len(), &hers[0]["key"]), (1, &key.into()));
    let none = host.json(["key", "sessions", "--name", "other", "--json"]);
    assert_eq!(none, serde_json::json!([]));
    let row = host.admin(["key", "sessions"]);
    assert!(row.contains("127.") && row.contains("hello"), "{row}");
}
