//! The servers that `connect` knows, as an admin handles them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use data_encoding::BASE64;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::hello::HELLO;
use crate::host::{Moonport, moonport};
use crate::key::{ANNA, BERT, CLEO, EVE};

/// Somebody's machine.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn state(&self) -> std::path::PathBuf {
        self.0.path().join("state")
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        self.path(name)
    }

    /// Runs `moonport server`: exit code, standard output, standard error.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = moonport(&self.state(), ["server"])
            .args(words)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
        )
    }

    /// Runs it; it has to succeed.
    #[track_caller]
    fn done(&self, words: &[&str]) -> String {
        let (code, out, errors) = self.run(words);
        assert_eq!(code, 0, "{words:?}: {errors}");
        out
    }

    /// Runs it; it has to fail for something that was named wrongly, in one line.
    #[track_caller]
    fn wrong(&self, words: &[&str]) -> String {
        let (code, out, errors) = self.run(words);
        assert_eq!((code, &*out), (2, ""), "{words:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        errors
    }

    #[track_caller]
    fn list(&self) -> Value {
        serde_json::from_str(&self.done(&["list", "--json"])).unwrap()
    }

    fn tags(&self) -> Vec<String> {
        let list = self.list();
        let tag = |server: &Value| server["tag"].as_str().unwrap().to_owned();
        list.as_array().unwrap().iter().map(tag).collect()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_server_is_added_shown_renamed_and_removed() {
    let machine = Machine::new();
    let (anna, bert) = (ANNA.public().to_string(), BERT.public().to_string());
    assert_eq!(machine.list(), json!([]));
    let add = [
        "add",
        "home",
        "one.example",
        "--key",
        &anna,
        "--label",
        "the home",
    ];
    machine.done(&[&add[..], &["--dry-run"]].concat());
    assert_eq!(machine.list(), json!([]));
    assert!(!machine.state().exists());
    machine.done(&add);
    // A second key and a second address come to what is there.
    let z85 = identity::z85::encode(BERT.public().as_bytes());
    let key = format!("--key={}", *z85);
    machine.done(&["add", "@home", "[::1]:7000", &key, "--own-identity"]);
    let list = machine.list();
    assert_eq!(
        list[0]["addresses"],
        json!(["one.example:6680", "[::1]:7000"])
    );
    assert_eq!(list[0]["keys"], json!([anna, bert]));
    assert_eq!(list[0]["label"], "the home");
    assert!(list[0]["added_ms"].as_u64().unwrap() > 0);
    let own = list[0]["own_key"].as_str().unwrap();
    let client = machine.state().join("client");
    assert_eq!(mode(&client.join("identities/home")), 0o600);
    assert_eq!(mode(&client.join("servers/home.toml")), 0o600);

    let text = machine.done(&["show", "home"]);
    for part in [
        "[::1]:7000",
        &anna,
        &ANNA.public().fingerprint().words(),
        "the home",
        own,
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(machine.done(&["list"]).contains("one.example:6680 +1"));

    machine.done(&["rename", "home", "work", "--dry-run"]);
    assert_eq!(machine.tags(), ["home"]);
    machine.done(&["rename", "home", "work"]);
    let list = machine.list();
    assert_eq!(
        (&list[0]["tag"], &list[0]["own_key"]),
        (&json!("work"), &json!(own))
    );

    machine.done(&["add", "work", "new.example", "--key", &anna, "--replace"]);
    assert_eq!(machine.list()[0]["keys"], json!([anna]));
    assert_eq!(machine.list()[0]["addresses"], json!(["new.example:6680"]));

    machine.done(&["remove", "work", "--dry-run"]);
    assert_eq!(machine.tags(), ["work"]);
    assert!(machine.wrong(&["remove", "work"]).contains("--yes"));
    machine.done(&["remove", "@work", "--yes"]);
    assert_eq!(machine.list(), json!([]));
    assert!(!client.join("identities/work").exists());
}

#[test]
fn what_makes_no_server_is_told() {
    let machine = Machine::new();
    let anna = ANNA.public().to_string();
    assert!(machine.wrong(&["add", "home", "host"]).contains("--key"));
    assert!(
        machine
            .wrong(&["add", "home", "--key", &anna])
            .contains("address")
    );
    assert!(machine.wrong(&["show", "home"]).contains("@home"));
    assert!(machine.wrong(&["rename", "home", "work"]).contains("@home"));
    assert!(
        machine
            .wrong(&["remove", "home", "--yes"])
            .contains("@home")
    );
    let label = "x".repeat(129);
    let long = ["add", "home", "host", "--key", &anna, "--label", &label];
    assert!(machine.wrong(&long).contains("128 bytes"));
    let addresses: Vec<_> = (1..18).map(|port| format!("host:{port}")).collect();
    let mut many = vec!["add", "home", "--key", &anna];
    many.extend(addresses.iter().map(String::as_str));
    assert!(machine.wrong(&many).contains("17 addresses"));
    machine.done(&["add", "home", "host", "--key", &anna]);
    machine.done(&["add", "work", "host", "--key", &anna]);
    assert!(machine.wrong(&["rename", "home", "work"]).contains("@work"));
    assert_eq!(machine.tags(), ["home", "work"]);
}

#[test]
fn servers_that_were_written_by_an_older_moonport_are_known() {
    let machine = Machine::new();
    let anna = ANNA.public().to_string();
    let old = format!("address = \"host:7000\"\nkey = \"{anna}\"\n");
    let path = machine.file("state/client/servers/home.toml", &old);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let list = machine.list();
    assert_eq!(list[0]["addresses"], json!(["host:7000"]));
    assert_eq!(
        (&list[0]["keys"], &list[0]["added_ms"]),
        (&json!([anna]), &json!(null))
    );
}

#[test]
fn servers_are_managed_beside_a_host_and_connect_knows_them() {
    let host = Moonport::new().script("hello", HELLO).start();
    let state = host.place().state();
    let server = |words: &[&str]| {
        let output = moonport(&state, ["server"]).args(words).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        output.stdout
    };
    let own = moonport(&state, ["key", "host", "--json"])
        .output()
        .unwrap();
    let own: Value = serde_json::from_slice(&own.stdout).unwrap();
    let address = format!("{}:{}", host.place().address, host.place().port);
    let eve = EVE.public().to_string();
    // It is about to change its key: either will do.
    let keys = ["--key", &eve, "--key", own["key"].as_str().unwrap()];
    server(&[&["add", "here", &address, "--own-identity"], &keys[..]].concat());
    let shown: Value = serde_json::from_slice(&server(&["show", "here", "--json"])).unwrap();
    let accept = [
        "key",
        "accept",
        shown["own_key"].as_str().unwrap(),
        "--scope",
        "hello",
    ];
    assert!(moonport(&state, accept).output().unwrap().status.success());
    let connect = |tag| {
        let mut command = moonport(&state, ["connect", tag]);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let done = connect("@here");
    assert!(done.status.success(), "{done:?}");
    server(&["rename", "here", "there"]);
    assert!(connect("@there").status.success());
    assert_eq!(connect("@here").status.code(), Some(2));
    server(&["add", "there", &address, "--key", &eve, "--replace"]);
    assert_eq!(connect("@there").status.code(), Some(4));
}

/// A keystore of Arcan's with a server, somebody who is accepted, and a key to listen with.
fn arcan(machine: &Machine) -> String {
    let (anna, bert) = (ANNA.public(), BERT.public());
    machine.file("a12/accepted/abcdefgh", &format!("outbound-home {anna}\n"));
    machine.file("a12/accepted/bbcdefgh", &format!("default {bert}\n"));
    machine.file("a12/accepted/cbcdefgh", &format!("outbound-lost {bert}\n"));
    let own = BASE64.encode(&CLEO.private());
    machine.file(
        "a12/hostkeys/home",
        &format!("one.example {own}\n[::1]:7 {own}\n"),
    );
    machine.file("a12/hostkeys/default", &format!("127.0.0.1:6680 {own}\n"));
    machine.path("a12")
}

#[test]
fn servers_come_from_arcans_keystore() {
    let machine = Machine::new();
    let store = arcan(&machine);
    machine.done(&["import", &store, "--dry-run"]);
    assert_eq!(machine.list(), json!([]));
    let (code, out, told) = machine.run(&["import", &store]);
    assert_eq!(code, 0, "{told}");
    assert!(out.ends_with("1 server taken over, from arcan\n"), "{out}");
    for place in [
        "accepted/bbcdefgh:1",
        "accepted/cbcdefgh:1",
        "hostkeys/home",
        "hostkeys/default",
    ] {
        assert!(
            told.contains(&format!("passed over {store}/{place}")),
            "{place}: {told}"
        );
    }
    assert_eq!(
        machine.list()[0]["addresses"],
        json!(["one.example:6680", "[::1]:7"])
    );
    assert_eq!(machine.list()[0]["own_key"], json!(null));

    // What is known is left alone unless somebody says otherwise.
    let (_, out, told) = machine.run(&["import", &store, "--private"]);
    assert!(
        out.starts_with("0 servers") && told.contains("--replace"),
        "{out}{told}"
    );
    machine.done(&["import", &store, "--private", "--replace"]);
    let cleo = CLEO.public().to_string();
    assert_eq!(machine.list()[0]["own_key"], json!(cleo));
}

#[test]
fn what_is_exported_is_imported_elsewhere() {
    let (here, there) = (Machine::new(), Machine::new());
    here.done(&["import", &arcan(&here), "--private"]);
    let eve = EVE.public().to_string();
    here.done(&[
        "add",
        "work",
        "work.example",
        "--key",
        &eve,
        "--comment",
        "of \"eve\"",
    ]);

    let lines = there.path("lines");
    here.done(&["export", &lines]);
    assert_eq!(fs::read_to_string(&lines).unwrap(), here.done(&["export"]));
    there.done(&["import", &lines]);
    let mut list = here.list();
    list[0]["own_key"] = json!(null);
    assert_eq!(there.list(), list);
    assert_eq!(here.run(&["export", &lines]).0, 1, "it is there already");

    let third = Machine::new();
    let store = third.path("a12");
    here.done(&["export", &store, "--format", "arcan", "--private"]);
    for folder in ["", "accepted", "hostkeys"] {
        assert_eq!(mode(&Path::new(&store).join(folder)), 0o700);
    }
    third.done(&["import", &store, "--private"]);
    // The other server has no key of its own, and none has been made for everybody yet.
    assert_eq!(third.tags(), ["home"]);
    assert_eq!(third.list()[0]["own_key"], here.list()[0]["own_key"]);
    let plain = third.path("plain");
    here.done(&["export", &plain, "--format", "arcan"]);
    assert_eq!(
        fs::read_dir(format!("{plain}/hostkeys")).unwrap().count(),
        0
    );
    assert!(here.wrong(&["export", "--private"]).contains("jsonl"));
}

#[test]
fn servers_come_from_wireguards_peers() {
    let machine = Machine::new();
    let canary = "canary".repeat(7) + "a=";
    let config = format!(
        "[Interface]\nPrivateKey = {canary}\n\n[Peer]\n# Name = home\nPublicKey = {}\nPresharedKey = {canary}\n\
         Endpoint = home.example:51820\n\n[Peer]\n# roams\nPublicKey = {}\n",
        ANNA.public(),
        BERT.public(),
    );
    let path = machine.file("wg0.conf", &config);
    let (code, out, told) = machine.run(&["import", &path]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains(&format!("{path}:12: {}", BERT.public())),
        "{told}"
    );
    assert_eq!(machine.tags(), ["home"]);
    let all = format!("{out}{told}{}", machine.done(&["show", "home"]));
    assert!(!all.contains("canary"), "{all}");
}

#[test]
fn what_cannot_be_imported_is_named_with_its_line_and_changes_nothing() {
    let machine = Machine::new();
    let server = |tag: &str| {
        let fields = "\"addresses\":[\"host\"],\"kind\":\"server\",\"v\":1";
        format!(
            "{{\"tag\":\"{tag}\",\"keys\":[\"{}\"],{fields}}}\n",
            ANNA.public()
        )
    };
    let path = machine.file("lines", &format!("{}{}", server("home"), server("a b")));
    let told = machine.wrong(&["import", &path]);
    assert!(told.contains("lines:2: a name is made of"), "{told}");
    assert_eq!(machine.list(), json!([]));
    let path = machine.file("what", "hello\n");
    assert!(machine.wrong(&["import", &path]).contains("no format"));
    assert!(
        machine
            .wrong(&["import", &machine.path("nothing")])
            .contains("nothing: No such")
    );
    let path = machine.file("wg", "[Peer]\n");
    let told = machine.wrong(&["import", &path, "--format", "jsonl"]);
    assert!(told.contains("wg:1:"), "{told}");
}
