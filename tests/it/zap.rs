//! `moonport zap`: servers of libzmq that ask the keystore.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use keystore::Directory;
use serde_json::{Value, json};

use crate::host::{Moonport, Place, moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::process::Process;
use crate::repository::root;
use crate::zeromq::{ZeroMq, hex};

/// The server's key.
const SERVER: Key = Key("server");

/// The handler that people are told to use.
fn handler(place: &Place) -> String {
    let text = fs::read_to_string(root().join("docs/zap.md")).unwrap();
    let (_, rest) = text.split_once("```python\n").unwrap();
    let (code, _) = rest.split_once("```").unwrap();
    place.file("handler.py", code)
}

/// Runs a command that has to succeed.
#[track_caller]
fn done(place: &Place, words: &[&str]) -> String {
    let ended = Process::start(&mut moonport(&place.state(), words)).wait();
    assert_eq!(ended.code, 0, "{words:?}: {}", ended.text());
    ended.text()
}

/// Answers for `lab`, by a socket in the file system.
#[track_caller]
fn zap(place: &Place) -> (Process, String) {
    let endpoint = format!("ipc://{}", place.folder().join("zap.sock").display());
    let words = ["zap", "--name", "lab", "--bind", &endpoint];
    let mut zap = Process::start(&mut moonport(&place.state(), words));
    zap.expect("answering for lab");
    (zap, endpoint)
}

fn accept(place: &Place, who: Key, more: &[&str]) {
    let key = who.public().to_string();
    let words = [&["key", "accept", &key], more].concat();
    done(place, &words);
}

fn request(number: &str, who: Key) -> Value {
    let key = hex(who.public().as_bytes());
    json!(["1.0", number, "", "127.0.0.1", "", "CURVE", {"hex": key}])
}

/// The status and the user id of a reply.
fn told(reply: &Value) -> (&str, &str) {
    (reply[2].as_str().unwrap(), reply[4].as_str().unwrap())
}

const REFUSED: &str = "refused";

/// What a client goes through, with and without a host.
fn a_day(zeromq: &ZeroMq, place: &Place) {
    let (_zap, endpoint) = zap(place);
    let at = format!("{}:{}", place.address, place.port + 1);
    let mut server = zeromq.bridged(&at, SERVER, &endpoint, &handler(place));
    let comes = |who: Key| zeromq.client(&at, SERVER, who, who.0);

    accept(place, ANNA, &["--scope", "lab,chat", "--label", "laptop"]);
    accept(place, BERT, &["--scope", "chat"]);
    assert_eq!(comes(ANNA), json!({"reply": ["anna"]}));
    let seen: Value = serde_json::from_str(&server.expect("came")).unwrap();
    assert_eq!(seen["of"]["User-Id"], "laptop");
    assert_eq!(seen["of"]["X-Key"], ANNA.public().to_string());
    assert_eq!(seen["of"]["X-Tags"], "chat,lab");
    // Accepted elsewhere, and not known at all.
    assert_eq!(comes(BERT), json!({ REFUSED: 400 }));
    assert_eq!(comes(CLEO), json!({ REFUSED: 400 }));

    // A window lets one in, whoever it is; a ban outweighs it.
    done(place, &["key", "ban", &EVE.public().to_string(), "--yes"]);
    let opened = done(place, &["window", "open", "lab", "--without-secret"]);
    assert!(opened.contains("whoever comes"), "{opened}");
    assert!(!opened.contains("secret:"), "{opened}");
    let listed = done(place, &["window", "list"]);
    assert!(listed.contains("without a secret"), "{listed}");
    assert_eq!(comes(EVE), json!({ REFUSED: 400 }));
    assert_eq!(comes(CLEO), json!({"reply": ["cleo"]}));
    assert_eq!(comes(BERT), json!({ REFUSED: 400 }));
    // It is known from then on, and until somebody says otherwise.
    assert_eq!(comes(CLEO), json!({"reply": ["cleo"]}));
    done(
        place,
        &["key", "revoke", &CLEO.public().to_string(), "--yes"],
    );
    assert_eq!(comes(CLEO), json!({ REFUSED: 400 }));
    done(place, &["key", "disable", "laptop", "--yes"]);
    assert_eq!(comes(ANNA), json!({ REFUSED: 400 }));

    let shown = done(place, &["key", "show", "laptop"]);
    assert!(shown.contains("from 127.0.0.1:0"), "{shown}");
    let audit = done(place, &["audit", "show"]);
    for part in [
        "admitted",
        "to another program's session",
        "came just now by window",
        "banned",
        "revoked",
    ] {
        assert!(audit.contains(part), "no {part:?} in\n{audit}");
    }
    done(place, &["audit", "verify"]);
}

#[test]
fn a_server_of_libzmq_asks_the_keystore_by_the_documents_handler() {
    let Some(zeromq) = ZeroMq::find() else { return };
    a_day(&zeromq, &Place::new());
}

#[test]
fn beside_a_host_the_host_is_asked() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let host = Moonport::new()
        .script(
            "hello",
            "net_listen('hello', ADDRESS, PORT, function() end)",
        )
        .start();
    a_day(&zeromq, host.place());
    host.stop();
}

#[test]
fn a_host_may_come_and_go() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let host = Moonport::new().script(
        "hello",
        "net_listen('hello', ADDRESS, PORT, function() end)",
    );
    accept(host.place(), ANNA, &["--scope", "*"]);
    let (_zap, endpoint) = zap(host.place());
    let key = ANNA.public().to_string();
    let asked = || zeromq.ask("REQ", &endpoint, &[request("1", ANNA)]);
    assert_eq!(told(&asked()[0]), ("200", &*key));
    let host = host.start();
    assert_eq!(told(&asked()[0]), ("200", &*key));
    let _stopped = host.stop();
    assert_eq!(told(&asked()[0]), ("200", &*key));
}

#[test]
fn handlers_of_both_kinds_are_answered_in_order() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let place = Place::new();
    accept(&place, ANNA, &["--scope", "lab"]);
    let endpoint = format!("tcp://{}:{}", place.address, place.port);
    let words = ["zap", "--name", "lab", "--bind", &endpoint];
    let mut zap = Process::start(&mut moonport(&place.state(), words));
    zap.expect(&endpoint);
    for kind in ["REQ", "DEALER"] {
        let requests: Vec<_> = (0..100)
            .map(|number| {
                request(
                    &number.to_string(),
                    if number % 3 == 0 { ANNA } else { EVE },
                )
            })
            .collect();
        let replies = zeromq.ask(kind, &endpoint, &requests);
        for (number, reply) in replies.iter().enumerate() {
            let status = if number % 3 == 0 { "200" } else { "400" };
            assert_eq!(reply[0], "1.0");
            assert_eq!(reply[1], number.to_string());
            assert_eq!(told(reply).0, status, "{kind}");
        }
        assert_eq!(replies.len(), 100);
    }
    let key = BERT.public().to_string();
    let ended = zap.terminate();
    assert_eq!(ended.code, 0, "{key}: {}", ended.text());
}

#[test]
fn what_is_no_request_is_told_so_and_other_mechanisms_are_refused() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let place = Place::new();
    let (_zap, endpoint) = zap(&place);
    let replies = zeromq.ask(
        "DEALER",
        &endpoint,
        &[
            json!(["2.0", "1", "", "", "", "CURVE", "x"]),
            json!(["1.0", "2"]),
            json!(["1.0", "3", "", "", "", "CURVE", "short"]),
            json!(["1.0", "4", "", "", "", "PLAIN", "anna", "sekrit"]),
            json!(["1.0", "5", "", "", "", "NULL"]),
            request("6", EVE),
        ],
    );
    let told: Vec<_> = replies.iter().map(|it| (&it[1], told(it).0)).collect();
    let expected = ["500", "500", "500", "400", "400", "400"];
    for (number, (reply, status)) in told.iter().zip(expected).enumerate() {
        assert_eq!(*reply.0, (number + 1).to_string());
        assert_eq!(reply.1, status, "{number}");
    }
}

#[test]
fn a_keystore_that_somebody_holds_is_no_refusal() {
    let Some(zeromq) = ZeroMq::find() else { return };
    let place = Place::new();
    accept(&place, ANNA, &["--scope", "lab"]);
    let (_zap, endpoint) = zap(&place);
    let held = Directory::open(&place.state()).unwrap();
    let reply = zeromq.ask("REQ", &endpoint, &[request("1", ANNA)]);
    assert_eq!(told(&reply[0]).0, "300");
    drop(held);
    let reply = zeromq.ask("REQ", &endpoint, &[request("2", ANNA)]);
    assert_eq!(told(&reply[0]).0, "200");
}

#[test]
fn its_socket_is_its_owners_alone_and_goes_with_it() {
    let place = Place::new();
    let (zap, _) = zap(&place);
    let socket = place.folder().join("zap.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(zap.terminate().code, 0);
    assert!(!socket.exists());
}
