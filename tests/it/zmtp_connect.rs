//! `moonport connect zmtp://…` against servers of libzmq.

use std::path::PathBuf;

use data_encoding::BASE64;
use serde_json::Value;

use crate::host::{Place, REFUSED, UNREACHABLE, moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::process::Process;
use crate::zeromq::{ANYBODY, ZeroMq};

const USAGE: i32 = 2;

/// Somebody at a terminal, and a place for a server.
struct Scene {
    place: Place,
    who: Key,
}

impl Scene {
    fn new(who: Key) -> Self {
        Self {
            place: Place::new(),
            who,
        }
    }

    fn state(&self) -> PathBuf {
        self.place.folder().join("client")
    }

    /// Where a server with this key is.
    fn url(&self, key: Key) -> String {
        let z85 = identity::z85::encode(key.public().as_bytes());
        let encoded: String = z85.bytes().map(|byte| format!("%{byte:02X}")).collect();
        format!("zmtp://{encoded}@{}", self.place.at())
    }

    fn connect(&self, to: &str, options: &[&str]) -> Process {
        let own = BASE64.encode(&self.who.private());
        let own = self.place.file("identity", &own);
        let mut command = moonport(&self.state(), ["connect", to, "--identity", &own]);
        Process::start(command.args(options))
    }
}

/// Each line of input, and then its end.
fn all(mut client: Process, lines: &[&str]) -> (i32, Vec<String>) {
    for line in lines {
        client.say(line);
    }
    client.close_input();
    let ended = client.wait();
    (ended.code, ended.lines)
}

fn came(line: &str) -> Value {
    serde_json::from_str::<Value>(line).unwrap()["came"].clone()
}

#[test]
fn a_line_is_a_message_and_an_answer_is_a_line() {
    let Some(zeromq) = ZeroMq::find() else { return };
    for (theirs, ours) in [
        ("ROUTER", "dealer"),
        ("DEALER", "dealer"),
        ("REP", "req"),
        ("ROUTER", "req"),
        ("PAIR", "pair"),
        ("ROUTER", "router"),
    ] {
        let scene = Scene::new(ANNA);
        let at = scene.place.at();
        let _server = zeromq.server(theirs, &at, BERT, &[ANNA], true);
        let client = scene.connect(&scene.url(BERT), &["--socket-type", ours]);
        let (code, lines) = all(client, &["one", "two"]);
        assert_eq!(
            (code, lines),
            (0, vec!["one".into(), "two".into()]),
            "{ours}"
        );
    }
}

#[test]
fn programs_send_and_hear_any_parts() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let mut server = zeromq.server("ROUTER", &scene.place.at(), BERT, &[ANNA], true);
    let options = ["--parts", "--json", "--identity-name", "anna"];
    let client = scene.connect(&scene.url(BERT), &options);
    let message = r#"["a","",{"hex":"00ff"}]"#;
    let (code, lines) = all(client, &[message]);
    assert_eq!((code, lines), (0, vec![message.to_owned()]));
    let line = server.expect("came");
    let whole: Value = serde_json::from_str(&line).unwrap();
    let expected = serde_json::json!(["anna", "a", "", {"hex": "00ff"}]);
    assert_eq!(whole["came"], expected);
    assert_eq!(whole["of"]["Socket-Type"], "DEALER");
}

#[test]
fn everything_is_sent_before_it_leaves() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let lines: Vec<_> = (0..2000).map(|number| format!("line {number}")).collect();
    let lines: Vec<_> = lines.iter().map(String::as_str).collect();
    for (theirs, ours) in [("PULL", "push"), ("XSUB", "pub"), ("XSUB", "xpub")] {
        let scene = Scene::new(ANNA);
        let at = scene.place.at();
        let mut server = zeromq.server(theirs, &at, BERT, ANYBODY, false);
        if theirs == "XSUB" {
            server.say(r#"["\u0001line"]"#);
        }
        let client = scene.connect(&scene.url(BERT), &["--socket-type", ours]);
        let (code, _) = all(client, &lines);
        assert_eq!(code, 0, "{ours}");
        for line in &lines {
            assert_eq!(came(&server.expect("came")), serde_json::json!([line]));
        }
    }
}

#[test]
fn a_subscriber_hears_its_topics_and_stays() {
    let Some(zeromq) = ZeroMq::find() else { return };
    for ours in ["sub", "xsub"] {
        let scene = Scene::new(ANNA);
        let mut server = zeromq.server("XPUB", &scene.place.at(), BERT, &[ANNA], false);
        let options = [
            "--socket-type",
            ours,
            "--subscribe",
            "a",
            "--subscribe",
            "b",
        ];
        let mut client = scene.connect(&scene.url(BERT), &options);
        client.close_input();
        server.expect("\\u0001a");
        server.expect("\\u0001b");
        for line in [r#"["apple"]"#, r#"["cherry"]"#, r#"["b","anana"]"#] {
            server.say(line);
        }
        client.expect("apple");
        assert_eq!(client.expect(""), "b\tanana");
        client.signal(rustix::process::Signal::INT);
        assert_eq!(client.wait().code, 130);
    }
}

#[test]
fn what_is_pulled_is_printed() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let mut server = zeromq.server("PUSH", &scene.place.at(), BERT, &[ANNA], false);
    let mut client = scene.connect(&scene.url(BERT), &["--socket-type", "pull", "--once"]);
    server.say(r#"["x","y\nz"]"#);
    assert_eq!(client.expect("x"), "x\ty\\u{a}z");
    drop(server);
    let ended = client.wait();
    assert_eq!(ended.code, 1, "{}", ended.text());
}

#[test]
fn a_replier_answers_line_by_line() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let mut server = zeromq.server("REQ", &scene.place.at(), BERT, &[ANNA], false);
    let mut client = scene.connect(&scene.url(BERT), &["--socket-type", "rep"]);
    client.say("first answer");
    client.say("second answer");
    client.close_input();
    server.say(r#"["first"]"#);
    client.expect("first");
    assert_eq!(came(&server.expect("came"))[0], "first answer");
    server.say(r#"["second"]"#);
    client.expect("second");
    assert_eq!(came(&server.expect("came"))[0], "second answer");
    assert_eq!(client.wait().code, 0);
}

#[test]
fn a_server_that_comes_back_is_found_again() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let at = scene.place.at();
    let mut client = scene.connect(&scene.url(BERT), &["--heartbeat=1s", "--stay"]);
    client.expect("trying again");
    for word in ["one", "two"] {
        let server = zeromq.server("ROUTER", &at, BERT, &[ANNA], true);
        client.say(word);
        client.expect(word);
        drop(server);
        client.expect("trying again");
    }
    client.signal(rustix::process::Signal::INT);
    assert_eq!(client.wait().code, 130);
}

#[test]
fn a_refusal_is_final_and_says_which_key_to_accept() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(EVE);
    let _server = zeromq.server("ROUTER", &scene.place.at(), BERT, &[ANNA], true);
    let (code, lines) = all(scene.connect(&scene.url(BERT), &[]), &["let me in"]);
    assert_eq!(code, REFUSED);
    let own = EVE.public();
    let z85 = identity::z85::encode(own.as_bytes());
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&own.to_string()), "{lines:?}");
    assert!(lines[0].contains(&z85.to_string()), "{lines:?}");
}

#[test]
fn what_cannot_be_reached_or_does_not_go_together_is_told_by_its_exit_code() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let once = |to: &str| all(scene.connect(to, &["--once"]), &[]);
    assert_eq!(once(&scene.url(BERT)).0, UNREACHABLE);
    // Another key than the server's: libzmq closes without a word.
    let server = zeromq.server("ROUTER", &scene.place.at(), BERT, ANYBODY, true);
    let (code, lines) = once(&scene.url(CLEO));
    assert_eq!(code, REFUSED, "{lines:?}");
    assert!(lines[0].contains("another key than"), "{lines:?}");
    drop(server);
    // Without CURVE it does the same.
    let _server = zeromq.open_server("ROUTER", &scene.place.at());
    let (code, lines) = once(&scene.url(BERT));
    assert_eq!(code, REFUSED, "{lines:?}");
    assert!(lines[0].contains("CURVE"), "{lines:?}");
}

#[test]
fn a_request_whose_server_dies_is_a_failure() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let mut server = zeromq.server("ROUTER", &scene.place.at(), BERT, ANYBODY, false);
    let mut client = scene.connect(&scene.url(BERT), &["--socket-type", "req", "--verbose"]);
    client.say("hello");
    client.close_input();
    client.expect("standard input has ended");
    server.expect("hello");
    drop(server);
    let ended = client.wait();
    assert_eq!(ended.code, 1, "{}", ended.text());
    assert!(
        ended.text().contains("before the reply"),
        "{}",
        ended.text()
    );
}

#[test]
fn a_server_is_remembered_and_found_by_its_tag_or_address() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let at = scene.place.at();
    let _server = zeromq.server("ROUTER", &at, BERT, &[ANNA], true);
    let unknown = format!("zmtp://{at}");
    let (code, lines) = all(scene.connect(&unknown, &[]), &[]);
    assert_eq!(code, USAGE);
    assert!(lines[0].contains("moonport server add"), "{lines:?}");
    let (code, lines) = all(scene.connect(&scene.url(BERT), &["--tag", "home"]), &["hi"]);
    assert_eq!(code, 0, "{lines:?}");
    for known in [unknown.as_str(), "zmtp://@home"] {
        assert_eq!(
            all(scene.connect(known, &[]), &["again"]),
            (0, vec!["again".to_owned()])
        );
    }
    // The first of its keys is an old one.
    let mut add = moonport(&scene.state(), ["server", "add", "both", &at]);
    for key in [CLEO, BERT] {
        add.args(["--key", &key.public().to_string()]);
    }
    assert_eq!(Process::start(&mut add).wait().code, 0);
    assert_eq!(
        all(scene.connect("zmtp://@both", &[]), &["third"]),
        (0, vec!["third".to_owned()])
    );
}

#[test]
fn what_makes_no_sense_is_told_before_anything_is_tried() {
    let scene = Scene::new(ANNA);
    let url = scene.url(BERT);
    for options in [
        &["--subscribe", "a"][..],
        &["--socket-type", "sub"],
        &["--socket-type", "push", "--identity-name", "x"],
        &["--socket-type", "stream"],
        &["--probe"],
        &["--one-round"],
        &[
            "--server-key",
            "0000000000000000000000000000000000000000000000000000000000000007",
        ],
    ] {
        let (code, lines) = all(scene.connect(&url, options), &[]);
        assert_eq!(code, USAGE, "{options:?}: {lines:?}");
    }
    for options in [&["--socket-type", "req"][..], &["--parts"], &["--json"]] {
        let (code, lines) = all(scene.connect(&scene.place.at(), options), &[]);
        assert_eq!(code, USAGE, "{options:?}: {lines:?}");
    }
}

#[test]
fn a_line_that_is_no_message_ends_it_after_those_before() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let scene = Scene::new(ANNA);
    let mut server = zeromq.server("PULL", &scene.place.at(), BERT, ANYBODY, false);
    let options = ["--socket-type", "push", "--parts"];
    let (code, lines) = all(
        scene.connect(&scene.url(BERT), &options),
        &[r#"["a"]"#, "b"],
    );
    assert_eq!(code, USAGE, "{lines:?}");
    assert!(lines[0].contains("line 2 of standard input"), "{lines:?}");
    assert_eq!(came(&server.expect("came"))[0], "a");
}
