//! Keys go from one program's files to another's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use data_encoding::BASE64;
use serde_json::Value;
use tempfile::TempDir;

use crate::hello::HELLO;
use crate::host::{Moonport, moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};

struct Store(TempDir);

impl Store {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, words: &[&str]) -> Output {
        moonport(&self.path("state"), words).output().unwrap()
    }

    #[track_caller]
    fn good(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}");
        String::from_utf8(output.stdout).unwrap() + &errors
    }

    fn keys(&self) -> Vec<Value> {
        let listed = self.run(&["key", "list", "--json"]).stdout;
        let listed: Value = serde_json::from_slice(&listed).unwrap();
        listed.as_array().unwrap().clone()
    }

    /// What is known of a key, without the times.
    fn known(&self) -> Vec<(String, Value, Value)> {
        let all = self.keys().into_iter().map(|entry| {
            (
                entry["key"].as_str().unwrap().to_owned(),
                entry["scopes"].clone(),
                entry["label"].clone(),
            )
        });
        all.collect()
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A keystore as Arcan has it: a friend, one for all, a server, and its own key.
fn arcan(folder: &Path) -> PathBuf {
    let store = folder.join("a12");
    let write = |name: &str, line: String| {
        let path = store.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, line).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(
        "accepted/abcdefgh",
        format!("default,lab {}\n", ANNA.public()),
    );
    write("accepted/bcdefghi", format!("* {}\n", BERT.public()));
    write(
        "accepted/cdefghij",
        format!("outbound-home {}\n", CLEO.public()),
    );
    write(
        "hostkeys/default",
        format!("127.0.0.1:6680 {}\n", BASE64.encode(&EVE.private())),
    );
    store
}

#[test]
fn arcans_keystore_is_taken_over_and_given_back() {
    let store = Store::new();
    let theirs = arcan(store.0.path());
    let told = store.good(&["key", "import", text(&theirs), "--dry-run"]);
    assert!(told.contains("2 would be taken over from arcan"), "{told}");
    assert!(store.keys().is_empty());
    let told = store.good(&["key", "import", text(&theirs)]);
    assert!(
        told.contains("@home") && told.contains("server import"),
        "{told}"
    );
    let mut scopes: Vec<_> = store
        .known()
        .into_iter()
        .map(|(key, scopes, _)| (key, scopes))
        .collect();
    scopes.sort_by_key(|(key, _)| *key != ANNA.public().to_string());
    assert_eq!(scopes[0].1, serde_json::json!(["default", "lab"]));
    assert_eq!(scopes[1].1, serde_json::json!(["*"]));
    // Nothing is new the second time.
    let told = store.good(&["key", "import", text(&theirs)]);
    assert!(
        told.contains("0 taken over from arcan, 2 known already"),
        "{told}"
    );

    let told = store.good(&["key", "host", "import", text(&theirs)]);
    assert!(told.contains("host key default is"), "{told}");
    let own: Value = serde_json::from_str(&store.good(&["key", "host", "--json"])).unwrap();
    assert_eq!(own["key"], EVE.public().to_string());
    let again = store.run(&["key", "host", "import", text(&theirs)]);
    assert_eq!(again.status.code(), Some(3));

    let ours = store.path("exported");
    store.good(&[
        "key",
        "export",
        "--format",
        "arcan",
        "--output",
        text(&ours),
    ]);
    let other = Store::new();
    other.good(&["key", "import", text(&ours)]);
    assert_eq!(other.known(), store.known());
}

#[test]
fn lines_of_json_carry_everything_public() {
    let store = Store::new();
    let accept = |key: &str, more: &[&str]| {
        store.good(&[&["key", "accept", key, "--scope", "lab"], more].concat());
    };
    accept(&ANNA.public().to_string(), &["--label", "anna"]);
    accept(&BERT.public().to_string(), &[]);
    let file = store.path("keys.jsonl");
    store.good(&["key", "export", "--output", text(&file)]);
    assert_eq!(
        store.good(&["key", "export"]),
        fs::read_to_string(&file).unwrap()
    );
    let other = Store::new();
    let told: Value =
        serde_json::from_str(&other.good(&["key", "import", text(&file), "--json"])).unwrap();
    assert_eq!(told["taken"].as_array().unwrap().len(), 2);
    assert_eq!(other.known(), store.known());
    // A key that is not accepted there is none here.
    let line = format!(
        "{{\"kind\":\"accepted\",\"v\":1,\"key\":\"{}\",\"scopes\":[],\"state\":\"banned\"}}\n",
        CLEO.public()
    );
    fs::write(&file, line).unwrap();
    other.good(&["key", "import", text(&file)]);
    let accepted = other.run(&[
        "key",
        "accept",
        &CLEO.public().to_string(),
        "--scope",
        "lab",
    ]);
    assert_eq!(accepted.status.code(), Some(3));
    // One wrong line, and nothing is taken.
    let good = format!(
        "{{\"kind\":\"accepted\",\"v\":1,\"key\":\"{}\",\"scopes\":[\"lab\"],\"state\":\"accepted\"}}",
        EVE.public()
    );
    fs::write(&file, format!("{good}\n{{\"kind\":\"accepted\"}}\n")).unwrap();
    let wrong = other.run(&["key", "import", text(&file)]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("keys.jsonl:2"));
    assert_eq!(other.keys().len(), 3);
}

#[test]
fn peers_of_wireguard_and_certificates_of_zeromq_need_a_name() {
    let store = Store::new();
    let file = store.path("wg0.conf");
    let conf = format!(
        "[Interface]\nPrivateKey = {}\n\n[Peer]\n# Name = anna\nPublicKey = {}\nAllowedIPs = 10.0.0.2/32\n",
        BASE64.encode(&EVE.private()),
        ANNA.public()
    );
    fs::write(&file, conf).unwrap();
    let told = store.good(&["key", "import", text(&file)]);
    assert!(told.contains("--scope"), "{told}");
    assert!(store.keys().is_empty());
    let told = store.good(&["key", "import", text(&file), "--scope", "lab"]);
    assert!(!told.contains(&BASE64.encode(&EVE.private())), "i8: {told}");
    assert_eq!(store.known()[0].2, "anna");
    for format in ["zeromq", "curvecp"] {
        let folder = store.path(format);
        store.good(&[
            "key",
            "export",
            "--format",
            format,
            "--output",
            text(&folder),
        ]);
        let one = fs::read_dir(&folder)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let other = Store::new();
        other.good(&["key", "import", text(&one), "--scope", "lab"]);
        assert_eq!(
            other.keys()[0]["key"],
            ANNA.public().to_string(),
            "{format}"
        );
    }
}

#[test]
fn a_key_that_is_imported_beside_a_running_host_is_let_in_at_once() {
    let host = Moonport::new().script("hello", HELLO).start();
    let file = host.place().folder().join("keys.jsonl");
    let line = format!(
        "{{\"kind\":\"accepted\",\"v\":1,\"key\":\"{}\",\"scopes\":[\"hello\"],\"state\":\"accepted\"}}\n",
        ANNA.public()
    );
    fs::write(&file, line).unwrap();
    host.client(ANNA).refused();
    host.admin(["key", "import", text(&file)]);
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn a_certificate_whose_two_keys_do_not_belong_together_is_no_host_key() {
    let z85 = |key: &[u8]| identity::z85::encode(key.try_into().unwrap()).to_string();
    let certificate = |public: Key, secret: Key| {
        let (public, secret) = (z85(public.public().as_bytes()), z85(&secret.private()));
        format!("curve\n    public-key = \"{public}\"\n    secret-key = \"{secret}\"\n")
    };
    let store = Store::new();
    let file = store.path("host.key_secret");
    fs::write(&file, certificate(ANNA, EVE)).unwrap();
    let wrong = store.run(&["key", "host", "import", text(&file)]);
    assert_eq!(wrong.status.code(), Some(2));
    let told = String::from_utf8_lossy(&wrong.stderr);
    assert!(told.contains("host.key_secret:2"), "{told}");
    assert!(told.contains(&ANNA.public().to_string()), "{told}");
    assert!(!told.contains(&z85(&EVE.private())), "i8: {told}");
    let listed = store.good(&["key", "host", "list", "--json"]);
    assert_eq!(listed.trim(), "[]");

    fs::write(&file, certificate(EVE, EVE)).unwrap();
    store.good(&["key", "host", "import", text(&file)]);
    let own = store.good(&["key", "host", "list"]);
    assert!(own.contains(&z85(EVE.public().as_bytes())), "{own}");
    let listed: Value =
        serde_json::from_str(&store.good(&["key", "host", "list", "--json"])).unwrap();
    let spelt = listed[0]["z85"].as_str().unwrap();
    assert_eq!(spelt, z85(EVE.public().as_bytes()));
    let alone = ["key", "fingerprint", &EVE.public().to_string()];
    let alone = store.good(&alone.map(|word| word));
    assert!(alone.contains(spelt), "{alone}");

    // The same of CurveCP's key directories.
    let folder = store.path("box");
    fs::create_dir_all(folder.join(".expertsonly")).unwrap();
    fs::write(folder.join("publickey"), ANNA.public().as_bytes()).unwrap();
    fs::write(folder.join(".expertsonly/secretkey"), EVE.private()).unwrap();
    let wrong = store.run(&["key", "host", "import", text(&folder)]);
    assert_eq!(wrong.status.code(), Some(2));
}
