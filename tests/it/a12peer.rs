//! The independent a12 peer, in Python, where it lies beside the checkout.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::host::Place;
use crate::key::Key;
use crate::process::Process;
use crate::repository::root;

/// The peer's program, ready to run.
pub(crate) struct Peer {
    python: PathBuf,
    folder: PathBuf,
}

/// What the peer reported.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) code: i32,
    pub(crate) lines: Vec<Value>,
}

impl Peer {
    /// Finds it; says aloud why there is none.
    pub(crate) fn find() -> Option<Self> {
        match Self::look() {
            Ok(peer) => Some(peer),
            Err(why) => {
                // Past the test harness, which keeps what a passing test prints.
                let _ = writeln!(std::io::stderr(), "\nskipped: {why}");
                None
            }
        }
    }

    fn look() -> Result<Self, String> {
        let folder = root().join("../shared/tools/a12peer");
        if !folder.is_dir() {
            return Err("no a12 peer beside the checkout".to_owned());
        }
        let own = root().join(".venv/bin/python");
        let python = std::env::var_os("MOONPORT_PYTHON").map_or(own, PathBuf::from);
        let needs = Command::new(&python)
            .args(["-c", "import blake3, nacl, zstandard"])
            .output();
        match needs {
            Ok(output) if output.status.success() => Ok(Self { python, folder }),
            _ => Err(format!(
                "{} lacks what the a12 peer needs; see tests/run",
                python.display()
            )),
        }
    }

    /// Connects as the holder of a key, and does as it is told.
    #[track_caller]
    pub(crate) fn connect(&self, to: &Place, key: Key, arguments: &[&str]) -> Report {
        self.run("connect", to, key, arguments)
    }

    #[track_caller]
    fn run(&self, mode: &str, to: &Place, key: Key, arguments: &[&str]) -> Report {
        let mut command = Command::new(&self.python);
        command.args(["-B", "-u", "-m", "a12peer", mode]);
        command.args([
            &to.address.to_string(),
            &to.port.to_string(),
            "--key",
            &HEXLOWER.encode(&key.private()),
        ]);
        let ended = Process::start(command.args(arguments).current_dir(&self.folder)).wait();
        let lines = ended
            .lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok());
        let report = Report {
            code: ended.code,
            lines: lines.collect(),
        };
        assert_ne!(report.code, 2, "{}", ended.text());
        report
    }

    /// Carries out an attack, and gives its verdict.
    #[track_caller]
    pub(crate) fn attack(&self, to: &Place, attack: &str, key: Key, arguments: &[&str]) -> Value {
        let arguments = [&["--attack", attack, "--wait", "0.5"], arguments].concat();
        let report = self.run("hostile", to, key, &arguments);
        let verdict = report.lines.last().cloned().unwrap_or_default();
        assert_eq!(report.code, 0, "{attack}: {verdict}");
        verdict
    }
}

impl Report {
    /// The lines that report this.
    pub(crate) fn all<'a>(&'a self, what: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["what"] == what)
    }

    /// The text of all messages that came.
    pub(crate) fn messages(&self) -> Vec<&str> {
        self.all("event")
            .filter(|event| event["name"] == "TARGET.MESSAGE")
            .filter_map(|event| event["fields"]["message"].as_str())
            .collect()
    }
}
