use std::time::Duration;

use super::*;
use crate::ipc::script::ErrorMode;
use clap::CommandFactory;
use clap::error::ErrorKind;

fn parse(line: &str) -> Result<Command, ErrorKind> {
    match Cli::try_parse_from(line.split_whitespace()) {
        Ok(cli) => Ok(cli.command),
        Err(error) => Err(error.kind()),
    }
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn scripts_and_their_words_are_told_apart() {
    let Ok(Command::Run(run)) = parse("moonport run a.lua b.lua -- 6680 --x") else {
        panic!("no run");
    };
    assert_eq!(run.scripts.len(), 2);
    assert_eq!(run.arguments, ["6680", "--x"]);
    assert_eq!(run.sandbox, Sandbox::BestEffort);
    assert_eq!(ErrorMode::from(run.errors), ErrorMode::Isolate);
    assert_eq!(run.handler_warn, Duration::from_millis(50));
    assert_eq!(run.handler_limit, Duration::from_secs(2));
    assert_eq!(run.memory, 256 << 20);
    assert!(parse("moonport run a.lua --memory 64M --handler-limit 500ms").is_ok());
    for wrong in [
        "--memory 64",
        "--memory 3M",
        "--memory 1T",
        "--handler-limit 0ms",
    ] {
        assert!(
            parse(&format!("moonport run a.lua {wrong}")).is_err(),
            "{wrong}"
        );
    }
    for wrong in ["0.0.0.0:9464", "9464", "localhost"] {
        assert!(
            parse(&format!("moonport run a.lua --metrics {wrong}")).is_err(),
            "{wrong}"
        );
    }
    // The configuration file may name the scripts.
    assert!(parse("moonport run").is_ok());
    assert!(parse("moonport run a.lua --errors=loud").is_err());
}

#[test]
fn a_secret_comes_from_one_place_and_never_from_the_command_line() {
    assert!(parse("moonport connect host --secret-fd 3").is_ok());
    assert_eq!(
        parse("moonport connect host --secret-fd 3 --ask-secret").unwrap_err(),
        ErrorKind::ArgumentConflict
    );
    assert_eq!(
        parse("moonport connect host --secret sekrit").unwrap_err(),
        ErrorKind::UnknownArgument
    );
    assert_eq!(
        parse("moonport window open hello --generate --secret-file f").unwrap_err(),
        ErrorKind::ArgumentConflict
    );
}

#[test]
fn a_key_is_accepted_only_where_somebody_says() {
    assert_eq!(
        parse("moonport key accept KEY").unwrap_err(),
        ErrorKind::MissingRequiredArgument
    );
    let Ok(Command::Key(Key::Accept(accept))) =
        parse("moonport key accept KEY --scope a,b --scope *")
    else {
        panic!("no accept");
    };
    let names = accept.scope.iter().map(Scope::as_str);
    assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "*"]);
    assert!(parse("moonport key accept KEY --scope a:b").is_err());
}

#[test]
fn a_label_is_given_or_taken_away() {
    assert!(parse("moonport key label KEY laptop").is_ok());
    assert!(parse("moonport key label KEY --none").is_ok());
    assert_eq!(
        parse("moonport key label KEY").unwrap_err(),
        ErrorKind::MissingRequiredArgument
    );
    assert_eq!(
        parse("moonport key label KEY laptop --none").unwrap_err(),
        ErrorKind::ArgumentConflict
    );
}

#[test]
fn an_invitation_is_no_word_of_the_command_line_and_says_everything() {
    assert!(parse("moonport connect --ask-invite").is_ok());
    assert!(parse("moonport connect --invite-file - --tag home").is_ok());
    for line in [
        "moonport connect host --ask-invite",
        "moonport connect --ask-invite --ask-secret",
        "moonport connect --ask-invite --invite-fd 3",
        "moonport connect --ask-invite --server-key KEY",
    ] {
        assert_eq!(
            parse(line).unwrap_err(),
            ErrorKind::ArgumentConflict,
            "{line}"
        );
    }
    assert_eq!(
        parse("moonport connect").unwrap_err(),
        ErrorKind::MissingRequiredArgument
    );
    assert!(parse("moonport connect moonport://enrol?host=h#s").is_err());
}

#[test]
fn windows_are_counted_and_timed() {
    let Ok(Command::Window(Window::Open(open))) = parse("moonport window open hello") else {
        panic!("no window");
    };
    assert_eq!((open.count, open.lasts), (1, Duration::from_secs(600)));
    assert!(parse("moonport window open hello --count 0").is_err());
    assert!(parse("moonport window open hello --for 0").is_err());
    assert!(parse("moonport window open hello --without-secret --json").is_ok());
    for secret in [
        "--generate",
        "--ask-secret",
        "--secret-fd 3",
        "--qr",
        "--host h",
    ] {
        let line = format!("moonport window open hello --without-secret {secret}");
        assert_eq!(parse(&line).unwrap_err(), ErrorKind::ArgumentConflict);
    }
    assert!(parse("moonport window open *").is_err());
}

#[test]
fn a_host_key_is_shown_alone_or_changed() {
    for line in [
        "moonport key host",
        "moonport key host --json",
        "moonport --state-dir /x key host --qr",
        "moonport key host --state-dir /x list",
        "moonport key host list --json --state-dir /x",
        "moonport key host rotate other --overlap 1d --dry-run --passphrase-fd 3",
        "moonport key host new x --seal",
        "moonport key host reseal --passphrase-file a --new-passphrase-file b",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
    }
    for line in [
        "moonport key host --qr --json",
        "moonport key host new",
        "moonport key host seal --passphrase sekrit",
        "moonport key host seal --passphrase-fd 3 --passphrase-file x",
        "moonport run a.lua --passphrase sekrit",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn global_flags_go_anywhere() {
    let cli = |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap();
    let before = cli("moonport --state-dir /x status --json")
        .global
        .state_dir;
    let after = cli("moonport status --json --state-dir /x")
        .global
        .state_dir;
    assert_eq!(before, after);
}
