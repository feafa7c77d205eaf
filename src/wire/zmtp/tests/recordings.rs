//! The recordings of libzmq, byte for byte from their keys, for both ends.

use std::path::Path;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::super::greeting::{Greeting, Mechanism};
use super::super::handshake::{CLIENT_NONCE, SERVER_NONCE};
use super::super::keyroom::{COOKIE_NONCE, Host};
use super::super::rig::{Dice, End, Sealed, frame};
use super::super::{Command, Heartbeat, ListenerConfig, Socket};
use super::listener;
use crate::wire::cookie::Jar;
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;
use crate::wire::{Error, Refusal, Violation};

struct Recording(Value);

/// One of its connections.
struct Connection<'a> {
    recording: &'a Recording,
    events: &'a [Value],
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn secret(value: &Value) -> SecretKey {
    SecretKey::from_bytes(array(&hex(value)))
}

impl Recording {
    fn load(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/zmtp");
        let text = std::fs::read_to_string(folder.join(name).with_extension("json")).unwrap();
        Self(serde_json::from_str(&text).unwrap())
    }

    fn connections(&self) -> impl Iterator<Item = Connection<'_>> {
        let connections = self.0["connections"].as_array().unwrap();
        connections.iter().map(|events| Connection {
            recording: self,
            events: events.as_array().unwrap(),
        })
    }

    /// How one side was set up.
    fn socket(&self, side: &str) -> Socket {
        let side = &self.0[side];
        let mut socket = Socket::new(side["type"].as_str().unwrap().parse().unwrap());
        socket.identity = side["id"].as_str().unwrap_or_default().as_bytes().to_vec();
        for property in side["meta"].as_array().into_iter().flatten() {
            let (name, value) = property.as_str().unwrap().split_once(':').unwrap();
            let value = value.as_bytes().to_vec();
            socket.properties.push((name.to_owned(), value));
        }
        if let Some([interval, ttl, timeout]) = side["hb"].as_array().map(Vec::as_slice) {
            let ms = |value: &Value| Duration::from_millis(value.as_u64().unwrap());
            socket.heartbeat = Some(Heartbeat {
                interval: ms(interval),
                timeout: ms(timeout),
                ttl: ms(ttl),
            });
        }
        socket
    }
}

impl Connection<'_> {
    /// The command of this name.
    fn command(&self, name: &str) -> &Value {
        let mut all = self.events.iter();
        all.find(|event| event["command"] == *name)
            .unwrap_or(&Value::Null)
    }

    /// The direction in which the client of CURVE speaks.
    fn client(&self) -> &str {
        let client = &self.recording.0["curve_client_direction"];
        client.as_str().unwrap_or("c2s")
    }

    fn listener(&self) -> End {
        let mut config = ListenerConfig::new(self.recording.socket("server"));
        config.keyless = self.events.iter().any(|event| event["mechanism"] == "NULL");
        let mut end = listener(config);
        let long = secret(&self.recording.0["server_longterm_sk"]);
        end.room.hosts = vec![Host::new(long).unwrap()];
        let welcome = self.command("WELCOME");
        if !welcome.is_null() {
            let cookie = hex(&welcome["cookie_nonce24"])[8..].to_vec();
            let key = hex(&welcome["cookie_key"]);
            end.room.jar = Jar::new(*COOKIE_NONCE, end.now, &mut Dice::new(&key));
            let nonce = hex(&welcome["nonce24"])[8..].to_vec();
            let short = hex(&welcome["server_transient_sk"]);
            end.room.rng = Dice::new(&[short, cookie, nonce].concat());
        }
        end
    }

    fn initiator(&self) -> End {
        let server = self.recording.0["client"]["serverkey"].as_str();
        let server = match server {
            Some(text) => text.parse().unwrap(),
            None => secret(&self.recording.0["server_longterm_sk"])
                .public()
                .unwrap(),
        };
        let socket = self.recording.socket("client");
        let short = hex(&self.command("HELLO")["client_transient_sk"]);
        let mut end = End::initiator(server, socket, Instant::now(), &mut Dice::new(&short));
        end.room.server = server;
        end.room.own = secret(&self.recording.0["client_longterm_sk"]);
        let initiate = self.command("INITIATE");
        if !initiate.is_null() {
            end.room.vouch_nonce = array(&hex(&initiate["vouch_nonce24"])[8..]);
        }
        end
    }

    /// The bytes of a frame. Of the largest ones only the ends were written down; their box is made
    /// again, and has the right authenticator.
    fn bytes(&self, event: &Value) -> Vec<u8> {
        if !event["hex"].is_null() {
            return hex(&event["hex"]);
        }
        let short = secret(&self.command("HELLO")["client_transient_sk"]);
        let server = secret(&self.command("WELCOME")["server_transient_sk"]);
        let (own, other) = match event["dir"] == *self.client() {
            true => (CLIENT_NONCE, SERVER_NONCE),
            false => (SERVER_NONCE, CLIENT_NONCE),
        };
        let mut sealed = Sealed {
            key: BoxKey::between(&short, &server.public().unwrap()),
            own,
            other,
            number: 0,
        };
        let number = event["nonce_u64"].as_u64().unwrap();
        let bytes = frame(0, &sealed.message_at(number, 0, &payload(event)));
        let body = hex(&event["body_first_64_hex"]);
        assert_eq!(bytes[9..73], body);
        assert!(bytes.ends_with(&hex(&event["body_last_16_hex"])));
        assert!(bytes.starts_with(&hex(&event["frame_header_hex"])));
        bytes
    }

    /// Lets the end hear all that the other side has said, and compares what it says itself. What
    /// only an application or time can cause is caused when it is due.
    fn replay(&self, end: &mut End, direction: &str) {
        let (mut parts, mut expected) = (Vec::new(), Vec::new());
        for event in self.events {
            if event["kind"] == "tcp-close" {
                continue;
            }
            if event["dir"] != *direction {
                end.read(&self.bytes(event));
                continue;
            }
            if event["command"] == "ERROR" {
                let farewell = end.machine.farewell();
                assert_eq!(farewell[1..], hex(&event["hex"])[1..]);
                assert_eq!(end.error, Some(Error::Access(Refusal::NotAccepted)));
                continue;
            }
            if event["command"] == "MESSAGE" {
                let payload = payload(event);
                match (event["inner_flags"].as_u64().unwrap(), &payload[..]) {
                    (2, [9, rest @ ..]) => end.command(Command::Subscribe(rest[9..].to_vec())),
                    (2, [6, rest @ ..]) => end.command(Command::Cancel(rest[6..].to_vec())),
                    (2, [4, b'P', b'I', ..]) => end.wait(),
                    (2, _) => {}
                    (flags, _) => {
                        parts.push(payload);
                        if flags == 0 {
                            self.say(end, std::mem::take(&mut parts));
                        } else {
                            expected.append(&mut self.bytes(event));
                            continue;
                        }
                    }
                }
            }
            expected.append(&mut self.bytes(event));
            let rest = end.sent.split_off(expected.len().min(end.sent.len()));
            assert_eq!(end.said(), expected, "{event}");
            (end.sent, expected) = (rest, Vec::new());
        }
        assert_eq!(end.said(), b"");
    }

    /// The application's message; what belongs to the envelope is not its own.
    fn say(&self, end: &mut End, mut parts: Vec<Vec<u8>>) {
        let kind = self.recording.0["client"]["type"].as_str().unwrap();
        if kind == "REQ" {
            parts.remove(0);
        }
        match (kind, &parts[0][..]) {
            ("SUB", [1, topic @ ..]) => end.command(Command::Subscribe(topic.to_vec())),
            ("SUB", [0, topic @ ..]) => end.command(Command::Cancel(topic.to_vec())),
            _ => end.command(Command::Send(parts)),
        }
    }
}

fn payload(event: &Value) -> Vec<u8> {
    match event["payload_len"].as_u64() {
        Some(100_000) => (0..100_000u32).map(|at| (at % 251) as u8).collect(),
        _ => hex(&event["payload_hex"]),
    }
}

const WITH_SESSIONS: [&str; 10] = [
    "01-dealer-router",
    "02-req-rep",
    "03-push-pull",
    "04-sub-pub",
    "05-xsub-xpub",
    "07-heartbeat",
    "08-heartbeat-both",
    "13-client-binds",
    "15-no-zap",
    "18-large",
];

#[test]
fn our_server_says_what_libzmqs_server_said() {
    for name in WITH_SESSIONS {
        println!("{name}");
        let recording = Recording::load(name);
        for connection in recording.connections() {
            let client = connection.client();
            let mut end = connection.listener();
            connection.replay(&mut end, if client == "c2s" { "s2c" } else { "c2s" });
            assert_eq!(end.error, None);
        }
    }
}

#[test]
fn our_client_says_what_libzmqs_client_said() {
    for name in WITH_SESSIONS.into_iter().chain(["20-sub-to-zmtp30-pub"]) {
        println!("{name}");
        let recording = Recording::load(name);
        for connection in recording.connections() {
            let mut end = connection.initiator();
            connection.replay(&mut end, connection.client());
            assert_eq!(end.error, None);
        }
    }
}

#[test]
fn our_server_refuses_as_libzmqs_server_did() {
    let recording = Recording::load("09-zap-400");
    let connection = recording.connections().next().unwrap();
    let mut end = connection.listener();
    end.room.knows = false;
    connection.replay(&mut end, "s2c");
}

#[test]
fn our_client_is_refused_as_libzmqs_client_was() {
    let recording = Recording::load("09-zap-400");
    let connection = recording.connections().next().unwrap();
    let mut end = connection.initiator();
    connection.replay(&mut end, "c2s");
    assert_eq!(end.error, Some(Error::Access(Refusal::NotAccepted)));
}

#[test]
fn a_hello_for_another_server_is_closed_as_it_was() {
    let recording = Recording::load("12-wrong-server-key");
    for connection in recording.connections() {
        let mut end = connection.listener();
        connection.replay(&mut end, "s2c");
        assert_eq!(end.error, Some(Error::Proto(Violation::Forged)));
        let mut end = connection.initiator();
        connection.replay(&mut end, "c2s");
        assert_eq!(end.error, None);
    }
}

#[test]
fn socket_types_that_do_not_fit_are_closed_as_they_were() {
    let recording = Recording::load("16-type-mismatch");
    for connection in recording.connections() {
        let mut end = connection.listener();
        connection.replay(&mut end, "s2c");
        assert_eq!(end.error, Some(Error::Proto(Violation::SocketType)));
    }
}

#[test]
fn another_mechanism_is_closed_as_it_was() {
    let recording = Recording::load("17-null-to-curve");
    let connection = recording.connections().next().unwrap();
    let client = connection.events.iter().find(|event| event["dir"] == "c2s");
    let mut end = listener(ListenerConfig::new(recording.socket("server")));
    end.read(&hex(&client.unwrap()["hex"]));
    assert_eq!(end.error, Some(Error::Proto(Violation::Mechanism)));
    assert_eq!(end.machine.farewell(), b"");
}

#[test]
fn our_server_serves_null_as_libzmqs_server_did() {
    let recording = Recording::load("14-null");
    for connection in recording.connections() {
        let mut end = connection.listener();
        connection.replay(&mut end, "s2c");
        assert_eq!(end.error, None);
        assert_eq!(end.messages(), [[b"hello", b"there"]]);
    }
}

#[test]
fn greetings_are_those_of_libzmq() {
    for name in WITH_SESSIONS {
        let recording = Recording::load(name);
        for event in recording.connections().next().unwrap().events {
            if event["kind"] == "greeting" {
                let bytes = hex(&event["hex"]);
                let identity = usize::from(bytes[8]) - 1;
                assert_eq!(bytes, Greeting::write(Mechanism::Curve, identity));
            }
        }
    }
}
