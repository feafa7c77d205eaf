//! libzmq, by pyzmq, where there is a Python that has it.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::key::Key;
use crate::process::Process;
use crate::repository::root;

/// A Python that has it.
pub(crate) struct ZeroMq {
    python: PathBuf,
}

/// Nobody is asked whether a key may come in.
pub(crate) const ANYBODY: &[Key] = &[];

impl ZeroMq {
    /// Finds it; says aloud why there is none.
    pub(crate) fn find() -> Option<Self> {
        let own = root().join(".venv/bin/python");
        let python = std::env::var_os("MOONPORT_PYTHON").map_or(own, PathBuf::from);
        let has = Command::new(&python).args(["-c", "import zmq"]).output();
        if has.is_ok_and(|output| output.status.success()) {
            return Some(Self { python });
        }
        // Past the test harness, which keeps what a passing test prints.
        let python = python.display();
        let _ = writeln!(std::io::stderr(), "\nskipped: {python} lacks pyzmq");
        None
    }

    fn run<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Process {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(root().join("tests/it/zeromq.py"));
        Process::start(command.args(words))
    }

    /// A CURVE server that lets these in, and sends back what comes if it is to.
    #[track_caller]
    pub(crate) fn server(
        &self,
        kind: &str,
        at: &str,
        key: Key,
        allowed: &[Key],
        echo: bool,
    ) -> Process {
        let allowed = allowed.iter().map(|key| hex(key.public().as_bytes()));
        let allowed = allowed.collect::<Vec<_>>().join(",");
        let echo = if echo { "echo" } else { "" };
        let mut server = self.run([
            "server",
            kind,
            &format!("tcp://{at}"),
            &hex(&key.private()),
            &allowed,
            echo,
        ]);
        server.expect("listening");
        server
    }

    /// A server without keys: its mechanism is NULL.
    #[track_caller]
    pub(crate) fn open_server(&self, kind: &str, at: &str) -> Process {
        let mut server = self.run(["server", kind, &format!("tcp://{at}"), "", ""]);
        server.expect("listening");
        server
    }

    /// A ROUTER with CURVE that sends back what comes, and whose ZAP handler is the one of a document.
    #[track_caller]
    pub(crate) fn bridged(&self, at: &str, key: Key, bridge: &str, document: &str) -> Process {
        let at = format!("tcp://{at}");
        let key = hex(&key.private());
        let words = ["server", "ROUTER", &at, &key, "", "echo", bridge, document];
        let mut server = self.run(words);
        server.expect("listening");
        server
    }

    /// What comes of a client that says a word.
    #[track_caller]
    pub(crate) fn client(&self, at: &str, server: Key, who: Key, word: &str) -> Value {
        let ended = self
            .run([
                "client",
                &format!("tcp://{at}"),
                &hex(server.public().as_bytes()),
                &hex(&who.private()),
                word,
            ])
            .wait();
        assert_eq!(ended.code, 0, "{}", ended.text());
        serde_json::from_str(ended.lines.last().unwrap()).unwrap()
    }

    /// What comes of requests to somebody who answers ZAP.
    #[track_caller]
    pub(crate) fn ask(&self, kind: &str, endpoint: &str, requests: &[Value]) -> Vec<Value> {
        let requests: Vec<_> = requests.iter().map(Value::to_string).collect();
        let words = ["ask", kind, endpoint].into_iter();
        let ended = self
            .run(words.chain(requests.iter().map(String::as_str)))
            .wait();
        assert_eq!(ended.code, 0, "{}", ended.text());
        let replies = ended.lines.iter();
        let reply = |line: &String| serde_json::from_str::<Value>(line).unwrap()["reply"].clone();
        replies.map(reply).collect()
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}
