//! A script as text: its syntax, and what its comments say to the check.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use full_moon::ast::Ast;
use full_moon::{LuaVersion, parse_fallible};

use super::finding::{Finding, Rule};
use super::walk::{self, At, Facts};
use crate::script::words;

/// What a comment begins with that is for the check.
const MARK: &str = "-- moonport:";

/// A file of a script.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) lines: Vec<String>,
    /// What is in it, or where it is no Lua.
    pub(super) facts: Result<Facts, Box<Finding>>,
    /// Globals that a comment says are there.
    pub(super) globals: HashSet<String>,
    /// Lines in which nothing is to be found.
    ignored: HashSet<usize>,
}

impl Source {
    /// Reads a file's text. Nothing of it is run.
    pub(super) fn new(path: &Path, bytes: &[u8]) -> Self {
        let bytes = without_first_line(bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let facts = parse(&bytes, &text).map(|ast| walk::facts(&ast));
        let facts = facts.map_err(|(at, message)| {
            Box::new(Finding {
                path: path.to_owned(),
                at,
                rule: Rule::Syntax,
                message,
                hint: None,
            })
        });
        let (mut globals, mut ignored) = (HashSet::new(), HashSet::new());
        for (number, line) in (1..).zip(&lines) {
            let Some((before, words)) = line.split_once(MARK) else {
                continue;
            };
            let mut words = words.split_ascii_whitespace();
            match words.next() {
                Some("ignore") if before.trim().is_empty() => ignored.insert(number + 1),
                Some("ignore") => ignored.insert(number),
                Some("globals") => {
                    let names = words.map(|word| word.trim_matches(',').to_owned());
                    globals.extend(names);
                    true
                }
                _ => true,
            };
        }
        Self {
            path: path.to_owned(),
            lines,
            facts,
            globals,
            ignored,
        }
    }

    /// Whether findings in a line are wanted.
    pub(super) fn listens_to(&self, line: usize) -> bool {
        !self.ignored.contains(&line)
    }
}

/// A first line for the shell is none of Lua.
fn without_first_line(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|&byte| byte == b'\n');
    match first {
        Some(end) if bytes.starts_with(b"#") => bytes.get(end..).unwrap_or_default().to_vec(),
        None if bytes.starts_with(b"#") => Vec::new(),
        _ => bytes.to_vec(),
    }
}

/// The VM says whether it is Lua; the parser knows the column, and the rest.
fn parse(bytes: &[u8], text: &str) -> Result<Ast, (At, String)> {
    let known = words::syntax(bytes).err();
    // What is nested too deeply for the VM is not for the parser either, which has no limit.
    if let Some((line, message)) = &known
        && message.contains("too many")
    {
        let at = At {
            line: *line,
            column: 1,
            length: 1,
        };
        return Err((at, message.clone()));
    }
    // After the line in which the VM has given up there may be anything.
    let read = match &known {
        Some((line, _)) => {
            let ends = text.match_indices('\n').nth(line.saturating_sub(1));
            ends.map_or(text, |(end, _)| text.get(..end).unwrap_or(text))
        }
        None => text,
    };
    let parsed = parse_fallible(read, LuaVersion::lua51().with_luajit());
    let first = parsed.errors().first().map(|error| {
        let (start, end) = error.range();
        let at = At {
            line: start.line().max(1),
            column: start.character().max(1),
            length: end.bytes().saturating_sub(start.bytes()).clamp(1, 40),
        };
        (at, error.error_message().into_owned())
    });
    match (known, first) {
        (Some((line, message)), first) => {
            let at = first.map(|(at, _)| at).filter(|at| at.line == line);
            let at = at.or_else(|| near(text, line, &message));
            let start = At {
                line,
                column: 1,
                length: 1,
            };
            Err((at.unwrap_or(start), message))
        }
        (None, Some((at, message))) => Err((at, message)),
        (None, None) => Ok(parsed.into_ast()),
    }
}

/// Where the word stands that the VM stumbled over: `… near 'word'`.
fn near(text: &str, line: usize, message: &str) -> Option<At> {
    let (_, word) = message.rsplit_once(" near '")?;
    let word = word.strip_suffix('\'')?;
    let content = text.lines().nth(line.checked_sub(1)?)?;
    let before = content.get(..content.rfind(word)?)?;
    Some(At {
        line,
        column: before.chars().count() + 1,
        length: word.chars().count().max(1),
    })
}
