//! Clients of ZeroMQ: libzmq itself, in a Python process that does what it is told.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use data_encoding::BASE64;
use identity::z85;
use serde_json::{Value, json};

use crate::host::Host;
use crate::key::Key;
use crate::process::Process;
use crate::repository::root;

/// Where a libzmq comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Libzmq {
    /// 4.3.4: Debian's package python3-zmq.
    Debian,
    /// 4.3.5: the wheel of pyzmq.
    Wheel,
}

impl Libzmq {
    fn python(self) -> PathBuf {
        match self {
            Self::Debian => PathBuf::from("/usr/bin/python3"),
            Self::Wheel => match std::env::var_os("MOONPORT_PYTHON") {
                Some(python) => PathBuf::from(python),
                None => root().join(".venv/bin/python"),
            },
        }
    }
}

/// A process with sockets of libzmq, which have names. It is killed when this is dropped.
pub(crate) struct Zmq {
    process: Process,
    asked: u32,
}

impl Zmq {
    /// Starts it; says aloud why there is none.
    pub(crate) fn find(which: Libzmq) -> Option<Self> {
        let python = which.python();
        let needs = Command::new(&python)
            .args(["-c", "import zmq; assert zmq.has('curve')"])
            .output();
        if !needs.is_ok_and(|output| output.status.success()) {
            // Past the test harness, which keeps what a passing test prints.
            let python = python.display();
            let _ = writeln!(
                std::io::stderr(),
                "\nskipped: {python} has no libzmq; see tests/run"
            );
            return None;
        }
        let helper = root().join("tests/it/zmq_peer.py");
        let process = Process::start(Command::new(python).args(["-B", "-u"]).arg(helper));
        Some(Self { process, asked: 0 })
    }

    /// Tells it to do something, waits until it is done, and gives what came of it.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: Value) -> Value {
        match self.attempt(command) {
            Ok(result) => result,
            Err(error) => self.process.fail(&error),
        }
    }

    #[track_caller]
    fn attempt(&mut self, mut command: Value) -> Result<Value, String> {
        self.asked += 1;
        command["re"] = self.asked.into();
        self.process.say(&command.to_string());
        let line = self.process.expect(&format!("{{\"re\": {},", self.asked));
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        match answer.get("error") {
            Some(error) => Err(format!("{command}: {error}")),
            None => Ok(answer["result"].take()),
        }
    }

    /// Connects a socket to a host's first listener, or as `more` has it otherwise.
    #[track_caller]
    pub(crate) fn connect(&mut self, name: &str, kind: &str, who: Key, host: &Host, more: Value) {
        let mut command = credentials(who, host);
        let parts = [
            json!({"do": "connect", "name": name, "type": kind, "to": at(host, 0)}),
            more,
        ];
        for part in parts {
            for (key, value) in part.as_object().unwrap() {
                command[key] = value.clone();
            }
        }
        self.ask(command);
    }

    /// As `connect`, and what happens to the connection is seen.
    #[track_caller]
    pub(crate) fn monitored(&mut self, name: &str, who: Key, host: &Host) {
        let watched = json!({"monitor": true, "options": {"RECONNECT_IVL": 1}});
        self.connect(name, "dealer", who, host, watched);
    }

    #[track_caller]
    pub(crate) fn send(&mut self, name: &str, parts: Value) {
        self.ask(json!({"do": "send", "name": name, "parts": parts}));
    }

    #[track_caller]
    pub(crate) fn recv(&mut self, name: &str) -> Value {
        self.ask(json!({"do": "recv", "name": name}))
    }

    #[track_caller]
    pub(crate) fn close(&mut self, name: &str) {
        self.ask(json!({"do": "close", "name": name}));
    }

    /// Sends a message to a script that answers with the same.
    #[track_caller]
    pub(crate) fn echo(&mut self, name: &str, parts: Value) {
        self.send(name, parts.clone());
        assert_eq!(self.recv(name), parts);
    }

    /// Waits until the client is told that it is refused, for good.
    #[track_caller]
    pub(crate) fn refused(&mut self, name: &str) {
        let until = "HANDSHAKE_FAILED_AUTH";
        let events = self.ask(json!({"do": "events", "name": name, "until": until}));
        let events = events.as_array().unwrap();
        assert_eq!(events.last().unwrap(), &json!([until, 400]), "{events:?}");
        let entered = |event: &&Value| event[0] == "HANDSHAKE_SUCCEEDED";
        assert_eq!(events.iter().filter(entered).count(), 0, "{events:?}");
    }

    /// Waits until the handshake has failed, or the other side has hung up.
    #[track_caller]
    pub(crate) fn turned_away(&mut self, name: &str) -> Value {
        self.ask(json!({"do": "failed", "name": name}))
    }

    /// What has happened to the connection by now, and has not been looked at.
    #[track_caller]
    pub(crate) fn seen(&mut self, name: &str) -> Vec<String> {
        let seen = self.ask(json!({"do": "seen", "name": name}));
        serde_json::from_value(seen).unwrap()
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }
}

/// A host's listener, counted from its first one, as libzmq is told it.
pub(crate) fn at(host: &Host, listener: u16) -> String {
    let place = host.place();
    format!("tcp://{}:{}", place.address, place.port + listener)
}

/// The keys that somebody needs to talk to a host.
pub(crate) fn credentials(who: Key, host: &Host) -> Value {
    let server = BASE64.decode(host.place().host_key().as_bytes()).unwrap();
    let z85 = |key: &[u8]| z85::encode(key.try_into().unwrap()).to_string();
    json!({
        "server": z85(&server),
        "public": z85(who.public().as_bytes()),
        "secret": z85(&who.private()),
    })
}

/// Makes of each of these functions a test with each libzmq.
macro_rules! with_each_libzmq {
    ($($name:ident),* $(,)?) => {
        mod libzmq_4_3_4 {
            $(#[test] fn $name() {
                let zmq = crate::zmq::Zmq::find(crate::zmq::Libzmq::Debian);
                if let Some(zmq) = zmq { super::$name(zmq) }
            })*
        }
        mod libzmq_4_3_5 {
            $(#[test] fn $name() {
                let zmq = crate::zmq::Zmq::find(crate::zmq::Libzmq::Wheel);
                if let Some(zmq) = zmq { super::$name(zmq) }
            })*
        }
    };
}
pub(crate) use with_each_libzmq;
