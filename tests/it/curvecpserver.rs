//! CurveCP without a host: `curvecpserver` and `connect curvecp://…`, with the reference programs on
//! the other side where they are installed, and with a client of our own that does what they do not.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use data_encoding::HEXLOWER;
use moonport::wire::crypto::SecretKey;
use tempfile::TempDir;

use crate::curveclient::{EXTENSION, NAME, Raw, key_directory, public, reference};
use crate::process::{PATIENCE, Process, Watched};

/// Answers at once, and lives on.
const READY: [&str; 3] = [
    "sh",
    "-c",
    r"printf '\001ready-0123456789' >&9; exec sleep 1000",
];

/// A folder with a key directory.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        key_directory(&folder.path().join("key"));
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Our server, once it serves, and where.
    pub(crate) fn serve(&self, options: &[&str], program: &[&str]) -> (Process, SocketAddr) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
        command.current_dir(self.0.path()).arg("curvecpserver");
        command.arg("-v").args(options);
        command.args([NAME, "key", "127.0.0.1", "0", EXTENSION]);
        let mut server = Process::start(command.args(program));
        let line = server.expect("serving on");
        let at = line.rsplit(' ').next().unwrap().parse().unwrap();
        (server, at)
    }

    /// The reference's server, which may take a moment to be there.
    pub(crate) fn serve_by_reference(&self, program: &[&str]) -> (Process, SocketAddr) {
        let at = UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let port = at.port().to_string();
        let mut command = Command::new("curvecpserver");
        command.current_dir(self.0.path());
        command.args(["-Q", NAME, "key", "127.0.0.1", &port, EXTENSION]);
        (Process::start(command.args(program)), at)
    }

    /// The reference's client, with a shell behind its curvecpmessage.
    pub(crate) fn reference(&self, to: SocketAddr, script: &str) -> Process {
        let mut command = Command::new("curvecpclient");
        let key = HEXLOWER.encode(public().as_bytes());
        let port = to.port().to_string();
        command.current_dir(self.0.path());
        command.args([NAME, &key, "127.0.0.1", &port, EXTENSION]);
        Process::start(command.args(["curvecpmessage", "-c", "sh", "-c", script]))
    }

    /// Either client, `ours` or the reference's, with a program behind it.
    pub(crate) fn client(&self, ours: bool, options: &[&str], to: SocketAddr) -> Command {
        let mut command = Command::new(match ours {
            true => env!("CARGO_BIN_EXE_moonport"),
            false => "curvecpclient",
        });
        if ours {
            command.arg("curvecpclient");
        }
        let key = HEXLOWER.encode(public().as_bytes());
        command.current_dir(self.0.path()).args(options);
        let (ip, port) = (to.ip().to_string(), to.port().to_string());
        command.args([NAME, &key, &ip, &port, EXTENSION]);
        command
    }

    /// Either server.
    pub(crate) fn serve_by(&self, ours: bool, program: &[&str]) -> (Process, SocketAddr) {
        match ours {
            true => self.serve(&[], program),
            false => self.serve_by_reference(program),
        }
    }

    pub(crate) fn connect(&self, to: SocketAddr) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
        let key = HEXLOWER.encode(public().as_bytes());
        command.current_dir(self.0.path()).args([
            "connect",
            "--state-dir",
            "state",
            "--extension",
            EXTENSION,
        ]);
        command.arg(format!("curvecp://{key}@{to}/{NAME}"));
        command
    }

    /// A file of so many bytes, none of which follow from others.
    pub(crate) fn big(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        fs::write(self.path("big"), &bytes).unwrap();
        bytes
    }
}

fn let_in(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.ends_with("let in")).count()
}

#[test]
fn only_who_knows_key_name_and_extension_is_let_in() {
    let place = Place::new();
    let (server, at) = place.serve(&[], &READY);
    let raw = Raw::new(at, 7);
    let stranger = SecretKey::from_bytes([0x36; 32]).public().unwrap();
    // Packets are taken in their order, so the first answer would be to one of these.
    raw.hello(stranger, NAME, EXTENSION);
    raw.hello(public(), NAME, &"00".repeat(16));
    let mut wrong = raw.hello(public(), "this.Machine.name", EXTENSION);
    let mut wrong = raw.cookie(&mut wrong);
    raw.send(&mut wrong, &[0; 16]);
    let (_, answer) = raw.enter();
    assert_eq!(answer, b"ready-0123456789");
    let ended = server.terminate();
    assert_eq!((ended.code, let_in(&ended.lines)), (0, 1), "{ended:?}");
}

#[test]
fn a_handshake_that_was_recorded_opens_nothing_again() {
    let place = Place::new();
    let (mut server, at) =
        place.serve(&[], &["sh", "-c", &READY[2].replace("exec sleep 1000", "")]);
    let raw = Raw::new(at, 7);
    let mut client = raw.hello(public(), NAME, EXTENSION);
    let mut tunnel = raw.cookie(&mut client);
    let initiate = raw.send(&mut tunnel, &[0; 16]);
    raw.receive(&mut tunnel);
    server.expect("the program is done");
    raw.socket.send_to(&initiate, at).unwrap();
    raw.enter();
    let ended = server.terminate();
    assert_eq!(let_in(&ended.lines), 2, "{ended:?}");
}

#[test]
fn the_program_is_told_who_the_client_is() {
    let place = Place::new();
    let script = r#"printf '\005%s%s       ' "$REMOTEPK" "$TCPREMOTEIP" >&9; exec sleep 1000"#;
    let (_server, at) = place.serve(&[], &["sh", "-c", script]);
    let raw = Raw::new(at, 7);
    let key = HEXLOWER.encode(raw.own.public().unwrap().as_bytes());
    let (_, answer) = raw.enter();
    assert_eq!(answer, format!("{key}127.0.0.1       ").as_bytes());
    let counter = fs::read(place.path("key/.expertsonly/noncecounter")).unwrap();
    assert_eq!(counter, (1_u64 << 20).to_le_bytes());
}

#[test]
fn a_program_that_breaks_the_format_loses_its_connection_alone() {
    let place = Place::new();
    let script = format!(
        "{}; printf '\\000' >&9; exec sleep 1000",
        READY[2].split(';').next().unwrap()
    );
    let (mut server, at) = place.serve(&["-c", "1"], &["sh", "-c", &script]);
    for own in [7, 8] {
        Raw::new(at, own).enter();
        server.expect("the program is done");
    }
    let children: Vec<_> = server.children().into_iter().map(Watched::new).collect();
    assert!(!children.is_empty());
    assert_eq!(server.terminate().code, 0);
    assert!(children.iter().all(|child| child.is_gone_within(PATIENCE)));
}

#[test]
fn a_program_that_fails_gives_its_place_to_the_next_client() {
    let place = Place::new();
    let say = READY[2].split(';').next().unwrap();
    for failure in ["exit 1", "kill -9 $$"] {
        let script = format!("{say}; {failure}");
        let (mut server, at) = place.serve(&["-c", "1"], &["sh", "-c", &script]);
        for own in [7, 8] {
            let (_, answer) = Raw::new(at, own).enter();
            assert_eq!(answer, b"ready-0123456789");
            server.expect("the program is done");
        }
        assert_eq!(server.terminate().code, 0);
    }
}

#[test]
fn a_server_whose_descriptors_8_and_9_are_taken_serves_all_the_same() {
    let place = Place::new();
    for taken in ["exec 8</dev/null;", "exec 9</dev/null;", ""] {
        // What it is started with is not what its programs get.
        let words = [NAME, "key", "127.0.0.1", "0", EXTENSION].join(" ");
        let serve = format!("{taken} exec \"$0\" curvecpserver -v {words} \"$@\"");
        let mut command = Command::new("sh");
        command.current_dir(place.path("")).args(["-c", &serve]);
        let mut server = Process::start(command.arg(env!("CARGO_BIN_EXE_moonport")).args(READY));
        let line = server.expect("serving on");
        let at = line.rsplit(' ').next().unwrap().parse().unwrap();
        for own in [7, 8] {
            assert_eq!(Raw::new(at, own).enter().1, b"ready-0123456789");
        }
    }
}

#[test]
fn a_client_that_is_gone_takes_its_program_with_it() {
    let place = Place::new();
    let (mut server, at) = place.serve(&["--idle", "1s"], &READY);
    Raw::new(at, 7).enter();
    let child = Watched::new(server.children()[0]);
    server.expect("nothing has come for too long");
    assert!(child.is_gone_within(PATIENCE));
}

#[test]
fn a_client_too_many_gets_in_once_there_is_room() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let (mut server, at) = place.serve(&["-c1"], &["curvecpmessage", "cat"]);
    let mut first = Process::start(&mut place.connect(at));
    assert!(first.answers("one"));
    let mut second = Process::start(place.connect(at).arg("--anonymous"));
    second.say("two");
    assert!(first.answers("three"));
    assert_eq!(first.wait().code, 0);
    second.expect("two");
    assert_eq!(second.wait().code, 0);
    server.expect("let in");
    server.expect("over");
    server.expect("let in");
}

#[test]
fn the_references_client_is_served() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(1_000_000);
    let (_server, at) = place.serve(&[], &["curvecpmessage", "cat"]);
    let echo = place
        .reference(at, "echo hello >&7; exec 7>&-; cat <&6")
        .wait();
    assert_eq!((echo.code, echo.text().as_str()), (0, "hello"));
    let (_server, at) = place.serve(&[], &["curvecpmessage", "cat", "big"]);
    let down = place.reference(at, "exec 7>&-; cat <&6 >down").wait();
    assert_eq!(down.code, 0, "{down:?}");
    assert!(fs::read(place.path("down")).unwrap() == big);
    let (_server, at) = place.serve(&[], &["curvecpmessage", "sh", "-c", "cat >up; echo done"]);
    let up = place
        .reference(at, "cat big >&7; exec 7>&-; cat <&6")
        .wait();
    assert_eq!((up.code, up.text().as_str()), (0, "done"));
    assert!(fs::read(place.path("up")).unwrap() == big);
}

#[test]
fn the_references_server_serves_us() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(1_000_000);
    let (_server, at) = place.serve_by_reference(&["curvecpmessage", "cat"]);
    let mut echo = Process::start(&mut place.connect(at));
    assert!(echo.answers("hello"));
    assert_eq!(echo.wait().code, 0);
    let (_server, at) = place.serve_by_reference(&["curvecpmessage", "cat", "big"]);
    let down = place.connect(at).stdin(Stdio::null()).output().unwrap();
    assert!(
        down.status.success() && down.stdout == big,
        "{}",
        down.stdout.len()
    );
    let (_server, at) =
        place.serve_by_reference(&["curvecpmessage", "sh", "-c", "cat >up; echo done"]);
    let input = fs::File::open(place.path("big")).unwrap();
    let up = place.connect(at).stdin(input).output().unwrap();
    assert!(up.status.success() && up.stdout == b"done\n", "{up:?}");
    assert!(fs::read(place.path("up")).unwrap() == big);
}

#[test]
fn wrong_command_lines_end_as_with_the_reference() {
    let place = Place::new();
    let long = "x".repeat(64);
    let right = [NAME, "key", "127.0.0.1", "0", EXTENSION, "true"];
    let with = |at: usize, word| {
        let mut words = right;
        words[at] = word;
        words.to_vec()
    };
    let odd = &EXTENSION[1..];
    let lines = [
        (100, vec![]),
        (100, vec!["-x"]),
        (100, vec!["-c"]),
        (100, [&["-c", "0"], &right[..]].concat()),
        (100, [&["-c", "65536"], &right[..]].concat()),
        (100, [&["-c5x"], &right[..]].concat()),
        (100, right[..5].to_vec()),
        (100, with(0, &long)),
        (100, with(2, "127.0.0")),
        (100, with(2, "0127.0.0.1")),
        (100, with(3, "")),
        (100, with(3, "123456")),
        (100, with(4, odd)),
        (111, with(1, "nowhere")),
        // Of no machine.
        (111, with(2, "192.0.2.1")),
    ];
    let reference = reference();
    for (code, words) in lines {
        let ours = [&["curvecpserver"], &words[..]].concat();
        let run = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            let command = command.current_dir(place.0.path()).args(words);
            let ended = command.stdin(Stdio::null()).output().unwrap();
            (ended.status.code(), ended.stderr.is_empty())
        };
        let ours = run(env!("CARGO_BIN_EXE_moonport"), &ours);
        assert_eq!(ours, (Some(code), false), "{words:?}");
        if reference {
            assert_eq!(run("curvecpserver", &words).0, Some(code), "{words:?}");
        }
    }
}
