//! The documents: what they point at is there, and what they tell people to type works.

use std::fs;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::examples::example;
use crate::host::{Moonport, Place, moonport};
use crate::key::{ANNA, BERT};
use crate::process::Process;
use crate::repository::{File, files, root};

/// A fenced block of a document.
struct Block<'a> {
    /// What stands behind the fence: a language, and perhaps how it is run.
    info: &'a str,
    text: String,
    place: String,
    /// What `<!-- not run: … -->` right before it says.
    excuse: Option<&'a str>,
}

/// How tests treat a block; CONTRIBUTING.md has the same for people.
#[derive(Debug, PartialEq, Eq)]
enum Kind<'a> {
    /// In an empty folder.
    Shell,
    /// Beside a host that runs the script of this name.
    Admin(&'a str),
    /// As a script of this name.
    Script(&'a str),
    /// Compared with the example of this function, which the script engine's tests run.
    Example(&'a str),
    /// Each line is read.
    Json,
    /// Nothing that could be run.
    Shown,
    /// Says why not.
    Excused,
}

impl<'a> Block<'a> {
    fn kind(&self) -> Option<Kind<'a>> {
        let words: Vec<_> = self.info.split(' ').collect();
        let kind = match *words {
            ["sh", "run"] => Kind::Shell,
            ["sh", "host", name] => Kind::Admin(name),
            ["lua", "run", name] => Kind::Script(name),
            ["lua", "example", name] => Kind::Example(name),
            ["json"] => Kind::Json,
            ["text"] => Kind::Shown,
            _ => return self.excuse.map(|_| Kind::Excused),
        };
        // Who says that a block is not run must not have it run.
        self.excuse.is_none().then_some(kind)
    }
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
    // Those of Keep a Changelog, in its order, each once in a version.
    let heads = [
        "Added",
        "Changed",
        "Deprecated",
        "Removed",
        "Fixed",
        "Security",
    ];
    for version in changelog.split("\n## ").skip(1) {
        let found = version.lines().filter_map(|line| line.strip_prefix("### "));
        let places: Vec<_> = found
            .map(|head| heads.iter().position(|other| *other == head))
            .collect();
        assert!(
            places.is_sorted_by(|a, b| a.is_some() && a < b),
            "{version}"
        );
    }
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

/// Whoever writes a block says how it is run, or why it is not.
#[test]
fn every_block_is_run_or_says_why_not() {
    let mut silent = Vec::new();
    for file in documents() {
        let blocks = blocks(&file.path, &file.text);
        let blocks = blocks.iter().filter(|block| block.kind().is_none());
        silent.extend(blocks.map(|block| format!("{}: ```{}", block.place, block.info)));
    }
    assert!(
        silent.is_empty(),
        "\n{}\n\nBlocks are run as `sh run`, `sh host NAME`, `lua run NAME` or `lua example NAME`; `json` is read, \
         `text` is shown. Before any other stands `<!-- not run: WHY -->`; see CONTRIBUTING.md.\n",
        silent.join("\n")
    );
}

/// ` ```lua run NAME `: comes up under this name, and ends in order.
#[test]
fn scripts_in_documents_run() {
    for file in documents() {
        for block in blocks(&file.path, &file.text) {
            if let Some(Kind::Script(name)) = block.kind() {
                host_of(name, &block).start().stop();
            }
        }
    }
}

/// ` ```lua example NAME `: what is read is what is run.
#[test]
fn examples_of_the_api_in_documents_are_those_that_are_run() {
    for file in documents() {
        for block in blocks(&file.path, &file.text) {
            if let Some(Kind::Example(name)) = block.kind() {
                let path = root().join(format!("docs/examples-of-api/{name}.lua"));
                let text = fs::read_to_string(path).unwrap();
                assert_eq!(block.text, text.trim_end(), "{}", block.place);
            }
        }
    }
}

#[test]
fn lines_of_json_in_documents_are_json() {
    for file in documents() {
        for block in blocks(&file.path, &file.text) {
            if block.kind() == Some(Kind::Json) {
                for line in block.text.lines() {
                    let read = serde_json::from_str::<serde_json::Value>(line);
                    assert!(read.is_ok(), "{}: {line}", block.place);
                }
            }
        }
    }
}

/// ` ```sh run `: every line succeeds, in an empty folder.
#[test]
fn shell_blocks_in_documents_run() {
    let mut failed = Vec::new();
    for file in documents() {
        for block in blocks(&file.path, &file.text) {
            if block.kind() == Some(Kind::Shell) {
                failed.extend(shell(&block, &block.text, &Place::new()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// ` ```sh host NAME `: every line succeeds beside a host that runs this script, of the same document
/// or of `examples/`. The keys of `laptop` and `phone` are accepted for the name; KEY and HOSTKEY are the
/// laptop's and the host's.
#[test]
fn shell_blocks_for_admins_run_beside_a_host() {
    let mut failed = Vec::new();
    for file in documents() {
        let blocks = blocks(&file.path, &file.text);
        for block in &blocks {
            let Some(Kind::Admin(name)) = block.kind() else {
                continue;
            };
            let script = blocks
                .iter()
                .find(|other| other.kind() == Some(Kind::Script(name)));
            let host = match script {
                Some(script) => host_of(name, script),
                None => example(name),
            };
            let host = host.start();
            for (who, label) in [(ANNA, "laptop"), (BERT, "phone")] {
                let key = who.public().to_string();
                host.admin(["key", "accept", &key, "--scope", name, "--label", label]);
            }
            let place = host.place();
            let text = words(&block.text, |word| match word {
                "KEY" => ANNA.public().to_string(),
                "HOSTKEY" => place.host_key(),
                other => other.to_owned(),
            });
            let text = text.replace("127.0.0.1", &place.at());
            failed.extend(shell(block, &text, place));
            host.stop();
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// A host for a script in a document, at an address and port of its own.
#[track_caller]
fn host_of(name: &str, block: &Block<'_>) -> Moonport {
    let moonport = Moonport::new();
    let Place { address, port, .. } = moonport.place();
    let ports = ["6680", "5555", "10000"];
    let theirs = ports.into_iter().find(|port| block.text.contains(port));
    let theirs = theirs.filter(|_| block.text.contains("127.0.0.1"));
    let Some(theirs) = theirs else {
        panic!("{}: no listener on 127.0.0.1 and {ports:?}", block.place);
    };
    let script = block.text.replace("127.0.0.1", &address.to_string());
    let script = script.replace(theirs, &port.to_string());
    moonport.script(name, &script)
}

/// Runs lines of a block, where `moonport` uses the state of this place; says how that failed.
fn shell(block: &Block<'_>, text: &str, place: &Place) -> Option<String> {
    let folder = place.folder().join("shell");
    let tools = place.folder().join("tools");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&tools).unwrap();
    let state = place.state();
    let program = env!("CARGO_BIN_EXE_moonport");
    let moonport = tools.join("moonport");
    // A block that says another place plays another machine.
    let script = format!(
        "#!/bin/sh\n[ -n \"${{XDG_STATE_HOME:-}}\" ] || set -- --state-dir '{}' \"$@\"\nexec '{program}' \"$@\"\n",
        state.display()
    );
    fs::write(&moonport, script).unwrap();
    fs::set_permissions(&moonport, Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-euc", text]).env("PATH", path);
    shell.env("HOME", place.folder()).current_dir(folder);
    shell.env_remove("XDG_STATE_HOME");
    let mut shell = Process::start(&mut shell);
    shell.close_input();
    let ended = shell.wait();
    (ended.code != 0).then(|| {
        format!(
            "{}: exit code {}:\n{}",
            block.place,
            ended.code,
            ended.text()
        )
    })
}

/// A text with some of its words replaced.
fn words(text: &str, word: impl Fn(&str) -> String) -> String {
    let between = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let mut out = String::new();
    for piece in text.split_inclusive(between) {
        let bare = piece.trim_end_matches(between);
        out.push_str(&word(bare));
        out.push_str(&piece[bare.len()..]);
    }
    out
}

pub(crate) fn documents() -> Vec<File> {
    files("", &[".md"])
}

/// The fenced blocks of a document.
fn blocks<'a>(path: &str, text: &'a str) -> Vec<Block<'a>> {
    let mut blocks = Vec::new();
    let mut excuse = None;
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
                excuse: excuse.take(),
            });
        } else if !line.trim().is_empty() {
            let why = line.trim().strip_prefix("<!-- not run: ");
            let why = why.and_then(|why| why.strip_suffix(" -->"));
            excuse = why.filter(|why| !why.is_empty());
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
pub(crate) fn links(text: &str) -> Vec<(usize, &str)> {
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
