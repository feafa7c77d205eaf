//! A real host, whose first frameserver lies.
//!
//! A host starts its children from the program that it is itself. Here that is this test, which is
//! a host if it is told so, a script process like any other, and one frameserver that lies as the
//! file `lie` in the host's folder says. Whoever finds the file takes it away, so that the other
//! frameserver is honest; it has to go on, and nobody has to come in who has not proved a key.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect fails on the spot"
)]

#[path = "../it/crowd.rs"]
#[expect(dead_code, reason = "only its honest clients are of use here")]
mod crowd;
mod liar;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use moonport::wire::crypto::SecretKey;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Says to this program that it is a command line.
const COMMAND: &str = "MOONPORT_TEST_COMMAND";

/// Accepted. The liar has it too, as if its holder were one with it.
const KEY: [u8; 32] = [7; 32];

const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let role = std::env::args().next().unwrap_or_default();
    if role == moonport::frameserver::ROLE {
        match fs::rename("lie", "told") {
            Ok(()) => liar::main(&fs::read_to_string("told").unwrap()),
            Err(_) => return moonport::frameserver::main(),
        }
        return ExitCode::SUCCESS;
    }
    if role == moonport::script::ROLE {
        return moonport::script::main();
    }
    if std::env::var_os(COMMAND).is_some() {
        return moonport::cli::main();
    }
    tests()
}

/// Each lie, what it leads to in the host's log, and whether the liar dies of it.
const LIES: [(&str, &str); 11] = [
    ("claims-twice", "it claimed twice for one connection"),
    ("proof-first", "it sent a proof without a claim"),
    ("initiator-asks", "it asked what only a client asks"),
    ("foreign-gone", "it ended a session that is not its own"),
    ("ready-twice", "it was ready twice"),
    ("too-many", "it holds more connections than it may"),
    (
        "counts-too-many",
        "it counts more strangers than it may hold",
    ),
    ("counts-backwards", "it counts backwards"),
    ("garbage", "a frameserver sent garbage"),
    ("oversize", "a frameserver sent garbage"),
    ("keeps-session", "it did not end a session when told to"),
];

/// Lies that lead to nothing.
const IGNORED: [&str; 4] = [
    "descriptors",
    "strangers-closed",
    "claims-victim",
    "counts-all-the-time",
];

/// As the test harness would have it, which cannot be used in a program with other roles.
fn tests() -> ExitCode {
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let mut tests: Vec<(String, Box<dyn FnOnce() + std::panic::UnwindSafe>)> = Vec::new();
    for (lie, log) in LIES {
        let test = move || a_lie_is_the_end_of_the_liar(lie, log);
        tests.push((format!("i1_{lie}_is_the_end_of_the_liar"), Box::new(test)));
    }
    for lie in IGNORED {
        let test = move || a_lie_leads_to_nothing(lie);
        tests.push((format!("i1_{lie}_leads_to_nothing"), Box::new(test)));
    }
    let wanted = |name: &str| filter.as_ref().is_none_or(|filter| name.contains(filter));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in tests.into_iter().filter(|(name, _)| wanted(name)) {
        let done = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if done { "ok" } else { "FAILED" });
        *(if done { &mut passed } else { &mut failed }) += 1;
    }
    let how = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {how}. {passed} passed; {failed} failed; 0 ignored");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn a_lie_is_the_end_of_the_liar(lie: &str, log: &str) {
    let mut host = Host::start(lie);
    if lie == "keeps-session" {
        host.expect("came\tsegment_request");
        // It is acknowledged, although the liar does not confirm it.
        host.command(&["key", "remove", &public(), "--yes"]);
    }
    host.expect(log);
    host.expect("ended\tframeserver died");
    if lie == "keeps-session" {
        assert_eq!(
            host.sessions(),
            0,
            "i5: a session of a key that was removed"
        );
        host.accept();
    }
    host.stands();
}

fn a_lie_leads_to_nothing(lie: &str) {
    let mut host = Host::start(lie);
    host.expect("the lie is told");
    host.stands();
}

/// A host in a folder of its own, with two listeners of one script.
struct Host {
    child: Child,
    folder: TempDir,
    lines: Receiver<String>,
    seen: Vec<String>,
    ports: [u16; 2],
}

impl Host {
    fn start(lie: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = [(); 2].map(|()| TcpListener::bind((ADDRESS, 0)).unwrap());
        let ports = [0, 1].map(|at: usize| free[at].local_addr().unwrap().port());
        drop(free);
        fs::write(folder.path().join("lie"), lie).unwrap();
        let script = folder.path().join("two.lua");
        let text = SCRIPT.replace("FIRST", &ports[0].to_string());
        fs::write(&script, text.replace("SECOND", &ports[1].to_string())).unwrap();
        command(
            folder.path(),
            &["key", "accept", &public(), "--scope", "lab"],
        );
        let mut run = program(folder.path(), &["run", script.to_str().unwrap()]);
        run.current_dir(folder.path());
        let mut child = run
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (say, lines) = channel();
        let from: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().unwrap()),
            Box::new(child.stderr.take().unwrap()),
        ];
        for from in from {
            let say = say.clone();
            thread::spawn(move || {
                let lines = BufReader::new(from).lines().map_while(Result::ok);
                // Nobody listens once the test has failed.
                lines.for_each(|line| drop(say.send(line)));
            });
        }
        Self {
            child,
            folder,
            lines,
            seen: Vec::new(),
            ports,
        }
    }

    /// Waits for a line with this text, wherever it stands among the others.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.seen.iter().any(|line| line.contains(text)) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(why) => panic!("no {text:?} ({why}):\n{}", self.seen.join("\n")),
            }
        }
    }

    fn command(&self, words: &[&str]) -> String {
        command(self.folder.path(), words)
    }

    fn accept(&self) {
        self.command(&["key", "accept", &public(), "--scope", "lab"]);
    }

    fn sessions(&self) -> u64 {
        let status = self.command(&["status", "--json"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["sessions"].as_u64().unwrap()
    }

    /// The honest listener serves, nobody is known who was not, nothing but honest proofs has ever
    /// come before the script, and the host ends in order.
    #[track_caller]
    fn stands(mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !self.ports.into_iter().any(visited) {
            assert!(Instant::now() < deadline, "nobody serves: {:#?}", self.seen);
        }
        let keys = self.command(&["key", "list", "--json"]);
        let keys: serde_json::Value = serde_json::from_str(&keys).unwrap();
        assert_eq!(keys.as_array().unwrap().len(), 1, "{keys}");
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {:#?}", self.seen);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 3, 2, 1);

const SCRIPT: &str = r#"
local function client(source, status)
    if status.kind == "registered" then
        message_target(source, "welcome")
    elseif status.kind == "message" then
        message_target(source, "you said " .. status.message)
    end
end
local function listener(source, status)
    if status.kind == "segment_request" then
        print("came", status.kind)
        accept_target(client)
    elseif status.kind == "terminated" then
        print("ended", status.last_words)
    end
end
net_listen("lab", "127.3.2.1", FIRST, listener)
net_listen("lab", "127.3.2.1", SECOND, listener)
"#;

fn public() -> String {
    SecretKey::from_bytes(KEY).public().unwrap().to_string()
}

/// Whether an honest client is served there.
fn visited(port: u16) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let to = SocketAddrV4::new(ADDRESS, port);
    let visit = crowd::visit(to, Ipv4Addr::new(127, 3, 3, 3), KEY);
    let patient = async { tokio::time::timeout(Duration::from_secs(5), visit).await };
    matches!(runtime.unwrap().block_on(patient), Ok(Ok(_)))
}

fn program(folder: &Path, words: &[&str]) -> Command {
    let own: PathBuf = std::env::current_exe().unwrap();
    let mut command = Command::new(own);
    command
        .args(words)
        .arg("--state-dir")
        .arg(folder.join("state"));
    command.env(COMMAND, "1").env_remove("RUST_LOG");
    command
}

#[track_caller]
fn command(folder: &Path, words: &[&str]) -> String {
    let output = program(folder, words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}
