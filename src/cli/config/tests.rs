use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::cli::args::{Command, Sandbox};

fn wrong(text: &str) -> String {
    parse(text, &Cli::command()).unwrap_err().to_string()
}

/// A command line beside a file with this text.
fn with(text: &str, line: &str) -> Result<Line, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moonport.toml");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let line = format!("moonport --config {} {line}", path.display());
    let words = line.split_whitespace().map(OsString::from).collect();
    command_line(words).map_err(|stop| match stop {
        Stop::Line(error) => error.to_string(),
        Stop::File(failure) => failure.to_string(),
    })
}

fn run_of(line: Line) -> crate::cli::args::Run {
    match line.cli.command {
        Command::Run(run) => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_mistake_is_told_where_it_is_and_with_what_was_meant() {
    for (text, told) in [
        (
            "[run]\nhander-warn = \"1s\"",
            "2:1: there is no key \"hander-warn\"; did you mean handler-warn?",
        ),
        (
            "\n  meory = \"1G\"",
            "2:3: there is no key \"meory\"; did you mean memory, below [run]?",
        ),
        ("memory = \"1G\"", "1:1: memory belongs below [run]"),
        (
            "[run]\nlog = \"info\"",
            "2:1: log belongs above [run]: it is for every command",
        ),
        (
            "secret = \"x\"",
            "1:1: there is no key \"secret\"; `moonport config --default` shows all keys",
        ),
        ("config = \"x\"", "1:1: there is no key \"config\""),
        (
            "[connect]\nx = 1",
            "1:2: there is no table [connect]; there is only [run]",
        ),
        (
            "[run]\nhandler-warn = 50",
            "2:16: handler-warn takes a string, in quotes; this is of type integer",
        ),
        (
            "[run]\nhandler-warn = \"50x\"",
            "2:16: handler-warn: a duration is",
        ),
        (
            "[run]\nerrors = \"loud\"",
            "2:10: errors: it is one of isolate, classic, strict",
        ),
        (
            "[run]\nscripts = \"a.lua\"",
            "2:11: scripts takes an array of strings",
        ),
        (
            "[run]\nscripts = [\"a.lua\",\n  7]",
            "3:3: scripts takes an array of strings",
        ),
        (
            "[run]\nscripts = [\"~/a.lua\"]",
            "2:12: scripts: ~ is for shells",
        ),
        (
            "[run]\nmetrics = \"0.0.0.0:1\"",
            "2:11: metrics: 0.0.0.0:1 can be reached from elsewhere",
        ),
        (
            "[run]\npassphrase-file = \"x\"\npassphrase-fd = 3",
            "3:1: passphrase-file and passphrase-fd exclude each other",
        ),
        ("log = \"ü\" x", "1:11: "),
    ] {
        let found = wrong(text);
        assert!(found.starts_with(told), "{text}\n  {found}\n  {told}");
    }
    let twice = wrong("log = \"info\"\nlog = \"warn\"\n");
    assert!(twice.starts_with("2:1: duplicate key"), "{twice}");
}

#[test]
fn a_flag_wins_and_what_neither_says_stays() {
    let text = "[run]\nscripts = [\"/a.lua\"]\nsandbox = \"require\"\nmemory = \"64M\"\n\
                arguments = [\"6680\"]\nallow-connect = [\"db:5432\", \"*\"]\n";
    let run = run_of(with(text, "run").unwrap());
    assert_eq!(run.scripts, [PathBuf::from("/a.lua")]);
    assert_eq!(run.arguments, ["6680"]);
    assert_eq!((run.sandbox, run.memory), (Sandbox::Require, 64 << 20));
    assert_eq!(run.allow_connect.len(), 2);
    assert_eq!(run.handler_limit.as_secs(), 2);
    let line = "run b.lua --memory 1G --allow-connect x --sandbox best-effort -- 1 2";
    let run = run_of(with(text, line).unwrap());
    assert_eq!(run.scripts, [PathBuf::from("b.lua")]);
    assert_eq!(run.arguments, ["1", "2"]);
    assert_eq!((run.sandbox, run.memory), (Sandbox::BestEffort, 1 << 30));
    assert_eq!(run.allow_connect.len(), 1);
}

#[test]
fn a_flag_pushes_out_what_it_excludes() {
    let text = "[run]\nscripts = [\"a.lua\"]\npassphrase-file = \"sealed\"\n";
    let run = run_of(with(text, "run --passphrase-fd 3").unwrap());
    assert_eq!(run.passphrase.passphrase_file, None);
    assert_eq!(run.passphrase.passphrase_fd, Some(3));
    let run = run_of(with(text, "run").unwrap());
    let file = run.passphrase.passphrase_file.unwrap();
    assert!(file.is_absolute() && file.ends_with("sealed"), "{file:?}");
}

#[test]
fn paths_begin_at_the_file_and_what_is_for_all_is_for_all() {
    let line = with("state-dir = \"state\"\nlog = \"debug\"", "status").unwrap();
    let state = line.cli.global.state_dir.unwrap();
    assert!(state.is_absolute() && state.ends_with("state"), "{state:?}");
    assert_eq!(line.cli.global.log.as_deref(), Some("debug"));
    let line = with("state-dir = \"state\"", "status --state-dir x").unwrap();
    assert_eq!(line.cli.global.state_dir, Some("x".into()));
}

#[test]
fn a_file_that_others_can_write_or_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("moonport.toml");
    std::fs::write(&path, "").unwrap();
    for (mode, good) in [(0o600, true), (0o644, true), (0o664, false), (0o602, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let read = File::read(&path).map_err(|failure| failure.to_string());
        assert_eq!(read.is_ok(), good, "{mode:o}: {read:?}");
        if let Err(why) = read {
            assert!(why.contains("chmod go-w"), "{why}");
        }
    }
    for wrong in [
        folder.path(),
        &folder.path().join("nothing"),
        Path::new("/dev/null"),
    ] {
        let failure = File::read(wrong).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, "#".repeat(100_000)).unwrap();
    assert!(
        File::read(&path)
            .unwrap_err()
            .to_string()
            .contains("larger")
    );
    std::fs::write(&path, b"log = \"\xff\"").unwrap();
    assert!(
        File::read(&path)
            .unwrap_err()
            .to_string()
            .contains("byte 7")
    );
}

#[test]
fn none_is_no_file() {
    let words = ["moonport", "--config", "none", "status"].map(OsString::from);
    let Ok(line) = command_line(words.into()) else {
        panic!("refused");
    };
    assert!(line.said.file.is_none());
}

#[test]
fn every_flag_is_a_key_that_the_printed_file_has_and_reads() {
    let text = shown::documented();
    let bare: String = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if key.starts_with(|c: char| c.is_ascii_lowercase()) => key,
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let whole = DeTable::parse(&bare).unwrap();
    let command = Cli::command();
    let run = whole
        .get_ref()
        .get(RUN)
        .unwrap()
        .get_ref()
        .as_table()
        .unwrap();
    let mut count = 0;
    for key in keys(&command) {
        let table = match key.table {
            Table::Global => whole.get_ref(),
            Table::Run => run,
        };
        let value = table
            .get(key.name())
            .unwrap_or_else(|| panic!("{} is missing", key.name()));
        if !key.arg.get_default_values().is_empty() {
            assert!(key.read(value).is_ok(), "{}", key.name());
        }
        assert!(
            key.arg.get_help().is_some(),
            "{} is not explained",
            key.name()
        );
        count += 1;
    }
    assert_eq!(count, whole.get_ref().len() - 1 + run.len());
    let flags = command
        .find_subcommand(RUN)
        .unwrap()
        .get_arguments()
        .count();
    assert_eq!(run.len(), flags, "a flag of `run` is no key");
    // As it is, nothing in it is in force.
    assert_eq!(parse(&text, &command), Ok(Vec::new()));
    assert!(text.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn no_key_holds_a_secret() {
    let command = Cli::command();
    for key in keys(&command) {
        let name = key.name();
        for word in ["secret", "passphrase", "password", "token"] {
            let held_elsewhere = name.ends_with("-file") || name.ends_with("-fd");
            assert!(!name.contains(word) || held_elsewhere, "{name}");
        }
    }
}
