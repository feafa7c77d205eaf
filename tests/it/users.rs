//! What people meet who do something wrong, or at once, or not to the end.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::hello::HELLO;
use crate::host::{Moonport, Place, REFUSED, moonport};
use crate::key::{ANNA, BERT, EVE};
use crate::process::Process;

/// Runs a command to its end.
fn run<const N: usize>(state: &Path, words: [&str; N]) -> Output {
    moonport(state, words)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// The one line that a command failed with, and its exit code.
#[track_caller]
fn failure<const N: usize>(state: &Path, words: [&str; N]) -> (i32, String) {
    let output = run(state, words);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{words:?} says\n{text}");
    assert!(output.stdout.is_empty(), "{words:?}");
    let line = text.trim_end().strip_prefix("moonport: ");
    let line = line.unwrap_or_else(|| panic!("{words:?} says {text}"));
    (output.status.code().unwrap(), line.to_owned())
}

#[track_caller]
fn json<const N: usize>(state: &Path, words: [&str; N]) -> Value {
    serde_json::from_slice(&run(state, words).stdout).unwrap()
}

#[test]
fn what_is_not_there_is_named_in_one_line() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let appl = folder.path().join("appl");
    fs::create_dir(&appl).unwrap();
    let (code, line) = failure(&state, ["run", "nothing.lua"]);
    assert_eq!(
        (code, &*line),
        (2, "nothing.lua: No such file or directory")
    );
    let (code, line) = failure(&state, ["run", appl.to_str().unwrap()]);
    assert!(code == 2 && line.contains("appl.lua"), "{code} {line}");
    let (code, line) = failure(&state, ["connect", "@nobody"]);
    assert!(code == 2 && line.contains("@nobody"), "{code} {line}");
    let (code, line) = failure(&state, ["window", "close", "hello"]);
    assert!(code == 2 && line.contains("\"hello\""), "{code} {line}");
    let (code, line) = failure(&state, ["key", "remove", "anna", "--yes"]);
    assert!(code == 2 && line.contains("\"anna\""), "{code} {line}");
    let (code, line) = failure(&state, ["status"]);
    assert!(code == 1 && line.contains("moonport run"), "{code} {line}");
}

#[test]
fn scripts_of_one_name_are_refused_since_they_would_share_their_files() {
    let folder = TempDir::new().unwrap();
    for place in ["one", "two"] {
        fs::create_dir(folder.path().join(place)).unwrap();
        fs::write(folder.path().join(place).join("same.lua"), "").unwrap();
    }
    let [one, two] = ["one", "two"].map(|place| folder.path().join(place).join("same.lua"));
    let state = folder.path().join("state");
    let words = ["run", one.to_str().unwrap(), two.to_str().unwrap()];
    let (code, line) = failure(&state, words);
    assert!(code == 2 && line.contains("two/same.lua"), "{code} {line}");
}

#[test]
fn a_state_directory_that_is_too_deep_is_told_before_anything_is_made() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("x.lua");
    fs::write(&script, "").unwrap();
    let state = folder.path().join("deep".repeat(30));
    let (code, line) = failure(&state, ["run", script.to_str().unwrap()]);
    assert!(code == 2 && line.contains("--state-dir"), "{code} {line}");
    assert!(!state.exists());
}

#[test]
fn a_state_directory_that_cannot_be_used_is_named_in_one_line() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for state in [&file, &file.join("x")] {
        let (code, line) = failure(state, ["key", "list"]);
        assert_eq!(code, 3);
        assert!(line.contains(file.to_str().unwrap()), "{line}");
        assert_eq!(line.matches("ot a directory").count(), 1, "{line}");
    }
}

#[test]
fn an_empty_word_removes_no_key() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let key = ANNA.public().to_string();
    run(&state, ["key", "accept", &key, "--scope", "hello"]);
    let (code, line) = failure(&state, ["key", "remove", "", "--yes"]);
    assert!(code == 2 && line.contains("empty"), "{code} {line}");
    let keys = json(&state, ["key", "list", "--json"]);
    assert_eq!(keys[0]["key"], key);
}

#[test]
fn commands_without_a_host_wait_for_each_other() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let keys = [ANNA, BERT, EVE].map(|who| who.public().to_string());
    let accepting = keys.each_ref().map(|key| {
        let words = ["key", "accept", key, "--scope", "hello"];
        Process::start(&mut moonport(&state, words))
    });
    for accepting in accepting {
        let ended = accepting.wait();
        assert_eq!(ended.code, 0, "{}", ended.text());
    }
    let accepted = json(&state, ["key", "list", "--json"]);
    assert_eq!(accepted.as_array().unwrap().len(), keys.len());
}

#[test]
fn our_own_key_is_shown_and_can_be_accepted_beforehand() {
    let host = Moonport::new().script("hello", HELLO).start();
    let client = host.place().folder().join("client");
    let own = json(&client, ["key", "own", "--json"]);
    let own = own["key"].as_str().unwrap();
    let shown = String::from_utf8(run(&client, ["key", "own"]).stdout).unwrap();
    assert_eq!(shown.lines().next(), Some(own));
    host.admin(["key", "accept", own, "--scope", "hello"]);

    let (address, host_key) = (host.place().at(), host.place().host_key());
    let words = ["connect", &address, "--server-key", &host_key];
    Process::start(&mut moonport(&client, words)).expect("welcome");
}

#[test]
fn a_reader_that_goes_away_harms_nobody() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    let mut status = moonport(&state, ["status"]);
    assert_eq!(status.stderr(closed()).status().unwrap().code(), Some(1));
    for words in [["stubs"].as_slice(), &["man"], &["key", "host"]] {
        let mut command = moonport(&state, words);
        let output = command.stdout(closed()).stderr(Stdio::piped());
        let output = output.spawn().unwrap().wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*errors), (Some(0), ""), "{words:?}");
    }
}

#[test]
fn a_host_outlives_who_reads_its_log() {
    let place = Place::new();
    let script = place.file(
        "hello.lua",
        "print('begun') function hello_shutdown() print('x') end",
    );
    let state = place.state();
    let mut host = moonport(&state, ["run", &script])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(host.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("running") {
        line.clear();
        assert_ne!(log.read_line(&mut line).unwrap(), 0, "it ended");
    }
    drop(log);
    for _ in 0..2 {
        // Each is worth a line in the log.
        assert!(run(&state, ["window", "open", "hello"]).status.success());
    }
    assert_eq!(json(&state, ["status", "--json"])["running"], true);
    end(&host, Signal::TERM);
    assert_eq!(host.wait().unwrap().code(), Some(0));
}

#[test]
fn a_demo_that_is_broken_off_leaves_nothing() {
    for signal in [
        Some(Signal::INT),
        Some(Signal::TERM),
        Some(Signal::HUP),
        None,
    ] {
        let folder = TempDir::new().unwrap();
        let mut demo = Command::new(env!("CARGO_BIN_EXE_moonport"))
            .arg("demo")
            .env("TMPDIR", folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(demo.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("listens") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "it ended");
        }
        let host = host_of(&demo);
        match signal {
            Some(signal) => end(&demo, signal),
            // Nobody looks any more.
            None => drop(lines),
        }
        let code = demo.wait().unwrap().code();
        let mut errors = String::new();
        demo.stderr.unwrap().read_to_string(&mut errors).unwrap();
        let wanted = Some(if signal.is_some() { 130 } else { 0 });
        assert_eq!((code, &*errors), (wanted, ""), "{signal:?}");
        assert!(!Path::new(&format!("/proc/{host}/exe")).exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// The first child of a process.
fn host_of(demo: &Child) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", demo.id());
    let children = fs::read_to_string(children).unwrap();
    let first = children.split_whitespace().next();
    first.unwrap().parse().unwrap()
}

fn end(process: &Child, signal: Signal) {
    kill_process(Pid::from_child(process), signal).unwrap();
}

/// Runs a command on a terminal of its own, where there is a program that has one.
pub(crate) fn on_a_terminal(command: &Command) -> Option<Process> {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_str().unwrap())
        .collect();
    let mut script = Command::new("script");
    if script.arg("--version").output().is_err() {
        println!("skipped: there is no `script` to make a terminal with");
        return None;
    }
    let mut script = Command::new("script");
    Some(Process::start(script.args([
        "-qec",
        &words.join(" "),
        "/dev/null",
    ])))
}

#[test]
fn an_unknown_server_is_shown_and_can_be_refused_or_interrupted() {
    let host = Moonport::new().script("hello", HELLO).start();
    let secret = host.window_open("hello", 1);
    let secret = host.place().file("secret", &secret);
    let client = host.place().folder().join("client");
    let address = host.place().at();
    let connect = ["connect", &address, "--secret-file", &secret, "--tag=there"];
    for (answer, code) in [("n\n", REFUSED), ("\u{3}", 130), ("y\n", 0)] {
        let Some(mut terminal) = on_a_terminal(&moonport(&client, connect)) else {
            return;
        };
        terminal.expect(&host.place().host_key());
        terminal.expect("moonport key host");
        terminal.types(answer);
        if code == 0 {
            terminal.expect("welcome");
            terminal.types("\u{4}");
        }
        let ended = terminal.wait();
        assert_eq!(ended.code, code, "{}", ended.text());
    }
    Process::start(&mut moonport(&client, ["connect", "@there"])).expect("welcome");
}

#[test]
fn what_somebody_says_no_to_is_not_done() {
    let folder = TempDir::new().unwrap();
    let state = folder.path().join("state");
    let key = ANNA.public().to_string();
    run(&state, ["key", "accept", &key, "--scope", "hello"]);
    let Some(mut terminal) = on_a_terminal(&moonport(&state, ["key", "remove", &key])) else {
        return;
    };
    terminal.say("n");
    terminal.expect("nothing was changed");
    assert_eq!(terminal.wait().code, 1);
    let keys = json(&state, ["key", "list", "--json"]);
    assert_eq!(keys[0]["key"], key);
    // Where nobody can be asked, nobody has agreed.
    let (code, line) = failure(&state, ["key", "remove", &key]);
    assert!(code == 2 && line.contains("--yes"), "{code} {line}");
}
