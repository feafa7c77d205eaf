//! The documents: what they point at is there, and what they tell people to type works.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::host::{Moonport, Place, moonport};
use crate::process::Process;
use crate::repository::{File, files, root};

/// A fenced block of a document.
struct Block<'a> {
    /// What stands behind the fence: a language, and perhaps `run`.
    info: &'a str,
    text: String,
    place: String,
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for file in documents() {
        let folder = root().join(&file.path);
        let folder = folder.parent().unwrap();
        for (number, target) in links(&file.text) {
            if target.starts_with("https://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = if path.is_empty() {
                root().join(&file.path)
            } else {
                folder.join(path)
            };
            if !path.exists() || (!heading.is_empty() && !has_heading(&path, heading)) {
                broken.push(format!("{}:{number}: {target} leads nowhere", file.path));
            }
        }
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn the_changelog_has_a_place_for_what_comes() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    assert!(changelog.contains("\n## [Unreleased]\n"));
}

#[test]
fn nothing_is_marked_as_unfinished() {
    // Put together here, so that this file is none of the places.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
    ];
    let endings = [".rs", ".md", ".lua", ".toml", "/run"];
    let mut found = Vec::new();
    for file in files("", &endings) {
        for (number, line) in (1..).zip(file.text.lines()) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.any(|word| marks.contains(&word)) {
                found.push(format!("{}:{number}: {}", file.path, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

/// The first thing that somebody new types.
#[test]
fn the_readme_begins_with_the_demo_and_the_demo_works() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let first = commands(&blocks("README.md", &readme)).next().unwrap();
    assert_eq!(first.1, "cargo run --release -- demo");
    let place = Place::new();
    let ended = Process::start(&mut moonport(&place.state(), ["demo"])).wait();
    assert_eq!(ended.code, 0, "{}", ended.text());
}

#[test]
fn commands_in_documents_exist() {
    for file in documents() {
        for (place, command) in commands(&blocks(&file.path, &file.text)) {
            let Some(words) = ours(&command) else {
                continue;
            };
            let words = words.take_while(|word| word.chars().all(|c| c.is_ascii_lowercase()));
            // Words that are no command are arguments of the last one that is.
            let words: Vec<_> = words.collect();
            let known = |count: usize| {
                let (command, options) = (&words[..count], flags(&command));
                let help = help(command);
                help.is_some_and(|help| options.iter().all(|flag| help.contains(flag)))
            };
            assert!(
                (1..=words.len()).any(known),
                "{place}: there is no such command: {command}"
            );
        }
    }
}

/// ` ```lua run NAME `: comes up under this name, and ends in order.
#[test]
fn scripts_in_documents_run() {
    for file in documents() {
        for block in blocks(&file.path, &file.text) {
            let Some(name) = block.info.strip_prefix("lua run ") else {
                continue;
            };
            let moonport = Moonport::new();
            let Place { address, port, .. } = moonport.place();
            let ports = ["6680", "5555"];
            let theirs = ports.into_iter().find(|port| block.text.contains(port));
            let theirs = theirs.filter(|_| block.text.contains("127.0.0.1"));
            let Some(theirs) = theirs else {
                panic!("{}: no listener on 127.0.0.1 and {ports:?}", block.place);
            };
            let script = block.text.replace("127.0.0.1", &address.to_string());
            let script = script.replace(theirs, &port.to_string());
            moonport.script(name, &script).start().stop();
        }
    }
}

/// Every example takes a port of this machine as its first word, so that it can be tried.
#[test]
fn examples_come_up_and_end_in_order() {
    let examples = files("examples", &[".lua"]);
    let is_test = |file: &File| file.path.starts_with("examples/tests/");
    for file in examples.into_iter().filter(|file| !is_test(file)) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port().to_string();
        drop(free);
        let moonport = Moonport::new().file(root().join(&file.path)).word(&port);
        moonport.start().stop();
    }
}

/// ` ```sh run `: every line succeeds, in an empty folder.
#[test]
fn shell_blocks_in_documents_run() {
    for file in documents() {
        let blocks = blocks(&file.path, &file.text);
        for block in blocks.iter().filter(|block| block.info == "sh run") {
            let place = Place::new();
            let binary = Path::new(env!("CARGO_BIN_EXE_moonport")).parent().unwrap();
            let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap());
            let mut shell = Command::new("sh");
            shell.args(["-euc", &block.text]).env("PATH", path);
            shell
                .env("XDG_STATE_HOME", place.state())
                .current_dir(place.folder());
            let ended = Process::start(&mut shell).wait();
            assert_eq!(ended.code, 0, "{}:\n{}", block.place, ended.text());
        }
    }
}

fn documents() -> Vec<File> {
    files("", &[".md"])
}

/// The fenced blocks of a document.
fn blocks<'a>(path: &str, text: &'a str) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            let inner = lines.by_ref().map(|(_, line)| line);
            let inner: Vec<_> = inner.take_while(|line| line.trim() != "```").collect();
            let place = format!("{path}:{number}");
            blocks.push(Block {
                info: info.trim(),
                text: inner.join("\n"),
                place,
            });
        }
    }
    blocks
}

/// The lines of all shell blocks, comments left out, with their places.
fn commands(blocks: &[Block<'_>]) -> impl Iterator<Item = (String, String)> {
    let shell = blocks
        .iter()
        .filter(|block| block.info.split(' ').next() == Some("sh"));
    shell
        .flat_map(|block| {
            let lines = block
                .text
                .lines()
                .map(|line| line.split(" #").next().unwrap_or_default());
            let lines =
                lines.filter(|line| !line.trim_start().starts_with('#') && !line.is_empty());
            lines.map(|line| (block.place.clone(), line.trim().to_owned()))
        })
        .collect::<Vec<_>>()
        .into_iter()
}

/// The words after `moonport`, or after what runs it from the checkout.
fn ours(command: &str) -> Option<impl Iterator<Item = &str>> {
    let rest = ["moonport ", "cargo run --release -- ", "cargo run -- "];
    let rest = rest.iter().find_map(|start| command.strip_prefix(start))?;
    Some(rest.split_whitespace())
}

/// The long options of a command.
fn flags(command: &str) -> Vec<&str> {
    let options = command
        .split(" -- ")
        .last()
        .unwrap_or_default()
        .split_whitespace();
    let options = options.filter(|word| word.starts_with("--") && word.len() > 2);
    options.filter_map(|word| word.split('=').next()).collect()
}

/// What `--help` of a command says, if there is one.
fn help(command: &[&str]) -> Option<String> {
    let binary = env!("CARGO_BIN_EXE_moonport");
    let output = Command::new(binary)
        .args(command)
        .arg("--help")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // A command that takes arguments would take an unknown word for one.
    let usage = format!("moonport {}", command.join(" "));
    (output.status.success() && text.contains(&usage)).then_some(text)
}

/// The targets of `[text](target)`, outside of fences, with their lines.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            let ends = line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            found.extend(ends.map(|target| (number, target)));
        }
    }
    found
}

/// Whether a document has the heading that an anchor names.
fn has_heading(path: &Path, anchor: &str) -> bool {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut headings = text.lines().filter(|line| line.starts_with('#'));
    headings.any(|heading| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c })
            .eq(anchor.chars())
    })
}
