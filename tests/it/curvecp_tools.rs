//! `curvecpclient`, `curvecpserver` and `connect` with the reference programs, in each direction.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::curveclient::{EXTENSION, NAME, reference};
use crate::curvecpserver::Place;
use crate::process::{Ended, PATIENCE, Process, Watched};

/// Ours with ours, and each with the reference's: client, server.
const PAIRS: [(bool, bool); 3] = [(true, true), (true, false), (false, true)];

const MESSAGES: [&str; 4] = ["curvecpmessage", "-c", "sh", "-c"];

/// A client with these words of a shell behind curvecpmessage: they write to 7 and read from 6.
fn shell(place: &Place, ours: bool, options: &[&str], to: SocketAddr, words: &str) -> Process {
    let mut command = place.client(ours, options, to);
    Process::start(command.args(MESSAGES).arg(words))
}

/// Waits until this holds.
fn until(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn well(ended: &Ended) -> &Ended {
    assert_eq!(ended.code, 0, "{}", ended.text());
    ended
}

#[test]
fn programs_talk_and_the_exit_code_is_theirs() {
    if !reference() {
        return;
    }
    for (ours, server) in PAIRS {
        let place = Place::new();
        let (_server, at) = place.serve_by(server, &["curvecpmessage", "cat"]);
        let words = "echo hello >&7; exec 7>&-; cat <&6; exit 7";
        let ended = shell(&place, ours, &[], at, words).wait();
        assert_eq!((ended.code, ended.text().as_str()), (7, "hello"));
    }
}

#[test]
fn a_key_directory_is_proved_and_gives_one_nonce() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let script = r#"echo "$REMOTEPK""#;
    let (_server, at) = place.serve_by(true, &["curvecpmessage", "sh", "-c", script]);
    let words = "exec 7>&-; cat <&6";
    let known = shell(&place, true, &["-c", "key"], at, words).wait();
    let own = fs::read(place.path("key/publickey")).unwrap();
    let own = data_encoding::HEXLOWER.encode(&own);
    assert_eq!(well(&known).text(), own);
    let unknown = shell(&place, true, &[], at, words).wait();
    assert_ne!(well(&unknown).text(), own);
    assert_eq!(unknown.text().len(), 64);
    let counter = fs::read(place.path("key/.expertsonly/noncecounter")).unwrap();
    let counter = u64::from_le_bytes(counter.try_into().unwrap());
    // The server has taken 2^20, before or after.
    assert_eq!(counter, (1 << 20) + 1);
}

#[test]
fn megabytes_come_whole_by_each_pair_of_client_and_server() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(1_000_000);
    // All at once: their senders spend most of the time waiting.
    let mut running = Vec::new();
    for (index, (ours, server)) in PAIRS.into_iter().enumerate() {
        let (down, up, echo) = (
            format!("down{index}"),
            format!("up{index}"),
            format!("echo{index}"),
        );
        let serve = |program: &[&str]| place.serve_by(server, program);
        let (kept, at) = serve(&["curvecpmessage", "cat", "big"]);
        let words = format!("exec 7>&-; cat <&6 >{down}");
        running.push((kept, shell(&place, ours, &[], at, &words), down));
        let (kept, at) = serve(&["curvecpmessage", "sh", "-c", &format!("cat >{up}")]);
        let words = "cat big >&7; exec 7>&-; cat <&6";
        running.push((kept, shell(&place, ours, &[], at, words), up));
        let (kept, at) = serve(&["curvecpmessage", "cat"]);
        // Not more than fits on the way: see docs/protocol/curvecp-tools.md.
        let words = format!("head -c 100000 big >&7 & exec 7>&-; cat <&6 >{echo}");
        running.push((kept, shell(&place, ours, &[], at, &words), echo));
    }
    for (_kept, client, file) in running {
        well(&client.wait());
        let came = fs::read(place.path(&file)).unwrap();
        let echoed = file.starts_with("echo") && came == big[..100_000];
        assert!(echoed || came == big, "{file}: {}", came.len());
    }
}

#[test]
fn the_end_of_a_stream_is_seen_at_the_other_side_however_it_ends() {
    if !reference() {
        return;
    }
    let place = Place::new();
    // The reference says nothing of a program's exit code; its stream ends well.
    let (_server, at) = place.serve_by(false, &["curvecpmessage", "sh", "-c", "echo x; exit 3"]);
    let mut connect = place.connect(at);
    let ended = connect.stdin(Stdio::null()).output().unwrap();
    assert!(
        ended.status.success() && ended.stdout == b"x\n",
        "{ended:?}"
    );
    // Whose input cannot be read says so to the program at the other end, as an end.
    let (_server, at) = place.serve_by(false, &["curvecpmessage", "sh", "-c", "cat >&2; echo y"]);
    let folder = fs::File::open(place.path("")).unwrap();
    let ended = place.connect(at).stdin(folder).output().unwrap();
    assert_eq!(ended.stdout, b"y\n", "{ended:?}");
}

#[test]
fn an_application_that_fails_at_the_server_ends_its_stream_and_that_is_all_a_client_sees() {
    if !reference() {
        return;
    }
    let place = Place::new();
    for failure in ["echo x; exit 1", "echo x; kill -9 $$"] {
        for server in [true, false] {
            let program = ["curvecpmessage", "sh", "-c", failure];
            let (_server, at) = place.serve_by(server, &program);
            for ours in [true, false] {
                let ended = shell(&place, ours, &[], at, "exec 7>&-; cat <&6").wait();
                assert_eq!(well(&ended).text(), "x", "{failure} {server} {ours}");
            }
            let ended = place.connect(at).stdin(Stdio::null()).output().unwrap();
            assert!(ended.status.success(), "{failure} {server} {ended:?}");
            assert_eq!(ended.stdout, b"x\n");
        }
    }
}

#[test]
fn an_application_that_fails_at_the_client_gives_the_exit_code_and_an_end_to_the_server() {
    if !reference() {
        return;
    }
    let place = Place::new();
    for server in [true, false] {
        let (_server, at) = place.serve_by(server, &["curvecpmessage", "sh", "-c", "cat >came"]);
        for ours in [true, false] {
            for (failure, code) in [("exit 3", 3), ("kill -9 $$", 111)] {
                let words = format!("echo {failure}{ours} >&7; {failure}");
                let ended = shell(&place, ours, &[], at, &words).wait();
                assert_eq!(ended.code, code, "{server} {ours} {}", ended.text());
                // Its program has ended, so it has seen the end of what came.
                let came = fs::read_to_string(place.path("came")).unwrap();
                assert!(came.ends_with(&format!("{ours}\n")), "{came}");
            }
        }
    }
}

#[test]
fn a_program_that_is_killed_at_the_client_is_told_by_the_exit_code() {
    if !reference() {
        return;
    }
    let place = Place::new();
    for server in [true, false] {
        let (_server, at) = place.serve_by(server, &["curvecpmessage", "cat"]);
        for ours in [true, false] {
            let ended = shell(&place, ours, &[], at, "kill -9 $PPID").wait();
            assert_eq!(ended.code, 111, "{server} {ours} {}", ended.text());
        }
    }
}

#[test]
fn a_program_that_fails_at_the_server_says_nothing_and_gives_its_place_to_the_next() {
    if !reference() {
        return;
    }
    let script = "test -e second && exec curvecpmessage cat; touch second; kill -9 $$";
    for server in [true, false] {
        for ours in [true, false] {
            let place = Place::new();
            let (_server, at) = match server {
                true => place.serve(&["-c1"], &["sh", "-c", script]),
                false => place.serve_by_reference(&["sh", "-c", script]),
            };
            let words = "echo hello >&7; exec 7>&-; cat <&6";
            let first = shell(&place, ours, &[], at, words);
            until(|| place.path("second").exists());
            let second = shell(&place, ours, &[], at, words).wait();
            assert_eq!(well(&second).text(), "hello");
            // Nobody has told it, so it goes on to wait.
            assert!(!Watched::new(first.pid()).is_gone_within(Duration::ZERO));
        }
    }
}

#[test]
fn nobody_is_let_in_twice_over_and_who_waits_gets_the_place() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let (_server, at) = place.serve(&["-c1"], &["curvecpmessage", "cat"]);
    let words = "echo first >&7; read line <&6; echo $line; read go; exec 7>&-; cat <&6";
    let mut first = shell(&place, true, &[], at, words);
    first.expect("first");
    let words = "echo second >&7; exec 7>&-; cat <&6";
    let mut second = shell(&place, false, &[], at, words);
    first.say("go");
    assert_eq!(first.wait().code, 0);
    second.expect("second");
    assert_eq!(second.wait().code, 0);
}

#[test]
fn another_key_name_or_extension_gets_nowhere() {
    let place = Place::new();
    let (server, at) = place.serve(&[], &["sh", "-c", "exec sleep 1000"]);
    let key = data_encoding::HEXLOWER.encode(crate::curveclient::public().as_bytes());
    let (ip, port) = (at.ip().to_string(), at.port().to_string());
    let other = "4b".repeat(32);
    let zeros = "0".repeat(32);
    let right = [NAME, key.as_str(), ip.as_str(), port.as_str(), EXTENSION];
    let mut running: Vec<Process> = [(0, "other.name"), (1, other.as_str()), (4, zeros.as_str())]
        .into_iter()
        .map(|(at, word)| {
            let mut words = right;
            words[at] = word;
            let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
            command.current_dir(place.path("")).arg("curvecpclient");
            command.args(words);
            let program = r"echo started; printf '\001%16s' x >&9; exec sleep 1000";
            Process::start(command.args(["sh", "-c", program]))
        })
        .collect();
    // It has the right key: its program runs, and hears nothing.
    running[0].expect("started");
    for client in running {
        client.signal(rustix::process::Signal::TERM);
        let ended = client.wait();
        assert_eq!(ended.code, 143, "{}", ended.text());
    }
    assert!(!server.terminate().text().contains("let in"));
}

#[test]
fn wrong_command_lines_end_as_with_the_references_client() {
    let place = Place::new();
    let key = "4b".repeat(32);
    let long = "x".repeat(64);
    let right = [NAME, &key, "127.0.0.1", "9", EXTENSION, "true"];
    let with = |at: usize, word| {
        let mut words = right;
        words[at] = word;
        words.to_vec()
    };
    let lines = [
        (100, vec![]),
        (100, vec!["-x"]),
        (100, vec!["-c"]),
        (100, right[..5].to_vec()),
        (100, with(0, &long)),
        (100, with(1, &key[1..])),
        (100, with(1, "")),
        (100, with(2, "127.0.0")),
        (100, with(2, "0127.0.0.1")),
        (100, with(3, "")),
        (100, with(3, "123456")),
        (100, with(4, &EXTENSION[1..])),
        (111, [&["-c", "nowhere"], &right[..]].concat()),
    ];
    let reference = reference();
    for (code, words) in lines {
        let run = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            let command = command.current_dir(place.path("")).args(words);
            let ended = command.stdin(Stdio::null()).output().unwrap();
            (ended.status.code(), ended.stderr.is_empty())
        };
        let ours = [&["curvecpclient"], &words[..]].concat();
        let ours = run(env!("CARGO_BIN_EXE_moonport"), &ours);
        assert_eq!(ours, (Some(code), false), "{words:?}");
        if reference {
            assert_eq!(run("curvecpclient", &words).0, Some(code), "{words:?}");
        }
    }
}
