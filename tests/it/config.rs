//! The configuration file, from outside.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::hello::HELLO;
use crate::host::Moonport;
use crate::repository::{files, root};

/// The program with a home of its own.
fn moonport(home: &TempDir, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
    command.args(words).env_clear().env("HOME", home.path());
    command.output().unwrap()
}

fn write(home: &TempDir, text: &str) -> String {
    let folder = home.path().join(".config/moonport");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("moonport.toml");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_in_force_is_told_with_its_place() {
    let home = TempDir::new().unwrap();
    let none = moonport(&home, &["config", "--json"]);
    let none: Value = serde_json::from_slice(&none.stdout).unwrap();
    let path = write(&home, "log = \"warn\"\n\n[run]\nmemory = \"64M\"\n");
    let output = moonport(&home, &["config", "--json", "--log-format", "json"]);
    assert!(output.status.success(), "{}", said(&output));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    if !fs::exists("/etc/moonport/moonport.toml").unwrap() {
        assert_eq!(none["file"], Value::Null);
    }
    assert_eq!(json["file"], path.as_str());
    let of = |key: &str| {
        let keys = json["keys"].as_array().unwrap();
        keys.iter().find(|it| it["key"] == key).unwrap().clone()
    };
    let expected = [
        ("log", "warn", "file"),
        ("log-format", "json", "flag"),
        ("color", "auto", "default"),
        ("run.memory", "64M", "file"),
        ("run.handler-limit", "2s", "default"),
    ];
    for (key, value, from) in expected {
        assert_eq!(
            (&of(key)["value"], &of(key)["from"]),
            (&value.into(), &from.into()),
            "{key}"
        );
    }
    assert_eq!(of("run.memory")["line"], 4);
    let table = moonport(&home, &["config"]);
    let table = String::from_utf8(table.stdout).unwrap();
    let line = table
        .lines()
        .find(|line| line.starts_with("run.memory "))
        .unwrap();
    assert!(
        line.contains("\"64M\"") && line.ends_with("line 4"),
        "{line}"
    );
}

#[test]
fn a_wrong_file_stops_every_command_that_reads_it_and_no_other() {
    let home = TempDir::new().unwrap();
    let path = write(&home, "[run]\nhander-warn = \"1s\"\n");
    for words in [
        &["key", "list"][..],
        &["config"],
        &["run", "x.lua"],
        &["status"],
    ] {
        let output = moonport(&home, words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let told = format!(
            "moonport: {path}:2:1: there is no key \"hander-warn\"; did you mean handler-warn?\n"
        );
        assert_eq!(said(&output), told, "{words:?}");
    }
    for words in [
        &["config", "--default"][..],
        &["man"],
        &["stubs"],
        &["--help"],
    ] {
        assert!(moonport(&home, words).status.success(), "{words:?}");
    }
    let output = moonport(&home, &["--config", "none", "config"]);
    assert!(output.status.success(), "{}", said(&output));
    let output = moonport(&home, &["--config", "/nowhere.toml", "config"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_file_of_everybody_is_nobodys() {
    let home = TempDir::new().unwrap();
    let path = write(&home, "log = \"info\"\n");
    fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
    let output = moonport(&home, &["config"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("chmod go-w"), "{}", said(&output));
}

#[test]
fn the_file_in_docs_is_the_one_that_is_printed_and_holds() {
    let home = TempDir::new().unwrap();
    let printed = moonport(&home, &["config", "--default"]).stdout;
    let kept = fs::read_to_string(root().join("docs/moonport.toml")).unwrap();
    assert!(
        String::from_utf8(printed).unwrap() == kept,
        "flags have changed: `moonport config --default > docs/moonport.toml`"
    );
    let path = write(&home, &kept);
    let output = moonport(&home, &["config", "--config", &path]);
    assert!(output.status.success(), "{}", said(&output));
}

/// Every ```toml block of docs/operations.md is a file that holds.
#[test]
fn configurations_in_documents_hold() {
    let home = TempDir::new().unwrap();
    let mut count = 0;
    for file in files("docs", &["operations.md"]) {
        for block in file.text.split("```toml\n").skip(1) {
            let (text, _) = block.split_once("```").unwrap();
            write(&home, text);
            let output = moonport(&home, &["config"]);
            assert!(output.status.success(), "{}\n{text}", said(&output));
            count += 1;
        }
    }
    assert!(count > 0);
}

#[test]
fn a_host_runs_what_the_file_says() {
    let moonport = Moonport::new().written("hello", HELLO);
    let script = moonport.place().folder().join("hello.lua");
    let text = format!(
        "[run]\nscripts = [\"hello.lua\"]\nhandler-warn = \"70ms\"\n# {}\n",
        script.display()
    );
    let path = moonport.place().file("moonport.toml", &text);
    let host = moonport.option("--config").option(&path).start_with(1);
    assert_eq!(host.status()["scripts"][0]["name"], "hello");
    host.stop();
}

#[test]
fn without_a_script_there_is_nothing_to_run() {
    let home = TempDir::new().unwrap();
    let output = moonport(&home, &["run"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("`scripts` below [run]"),
        "{}",
        said(&output)
    );
}
