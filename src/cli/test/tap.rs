//! What comes out: the Test Anything Protocol, version 14, or JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::cli::exit::Failure;
use crate::cli::output::{Output, printable};
use crate::ipc::script::Report;

/// How results are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Tap,
    Json,
}

/// What became of a test.
pub(super) struct Outcome<'a> {
    pub(super) file: &'a str,
    pub(super) name: &'a str,
    /// What the test itself has printed.
    pub(super) printed: Vec<String>,
    pub(super) failed: Option<&'a Report>,
}

/// Tells results as they come; in JSON, at the end.
pub(super) struct Writer<'a> {
    style: Style,
    out: &'a Output,
    done: usize,
    failed: usize,
    results: Vec<Value>,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(style: Style, total: usize, out: &'a Output) -> Result<Self, Failure> {
        if style == Style::Tap {
            out.line(format_args!("TAP version 14\n1..{total}"))?;
        }
        Ok(Self {
            style,
            out,
            done: 0,
            failed: 0,
            results: Vec::new(),
        })
    }

    pub(super) fn tell(&mut self, outcome: Outcome<'_>) -> Result<(), Failure> {
        self.done += 1;
        self.failed += usize::from(outcome.failed.is_some());
        match self.style {
            Style::Tap => self.out.raw(tap(self.done, &outcome).as_bytes()),
            Style::Json => {
                self.results.push(value(&outcome));
                Ok(())
            }
        }
    }

    /// The last words; how many have failed.
    pub(super) fn end(self) -> Result<usize, Failure> {
        let (passed, failed) = (self.done - self.failed, self.failed);
        match self.style {
            Style::Tap => self
                .out
                .line(format_args!("# {passed} passed, {failed} failed"))?,
            Style::Json => self.out.json(&json!({
                "tests": self.results,
                "passed": passed,
                "failed": failed,
            }))?,
        }
        Ok(failed)
    }
}

fn tap(number: usize, outcome: &Outcome<'_>) -> String {
    let mut text = String::new();
    for line in outcome.printed.iter().flat_map(|line| line.split('\n')) {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {}", printable(line));
    }
    let ok = if outcome.failed.is_some() {
        "not ok"
    } else {
        "ok"
    };
    // A `#` would begin a directive.
    let name = printable(outcome.name)
        .replace('\\', "\\\\")
        .replace('#', "\\#");
    let _ = writeln!(text, "{ok} {number} - {}: {name}", outcome.file);
    let Some(report) = outcome.failed else {
        return text;
    };
    let (place, message) = placed(&report.message);
    text.push_str("  ---\n");
    block(&mut text, "message", message);
    if let Some((file, line)) = place {
        let _ = writeln!(text, "  at:\n    file: {}\n    line: {line}", quoted(file));
    }
    for (name, words) in [("hint", &report.hint), ("traceback", &report.traceback)] {
        if let Some(words) = words {
            block(&mut text, name, words);
        }
    }
    text.push_str("  ...\n");
    text
}

/// A field of a YAML block, word for word.
fn block(text: &mut String, name: &str, words: &str) {
    let _ = writeln!(text, "  {name}: |-");
    for line in words.lines() {
        let _ = writeln!(text, "    {}", printable(line));
    }
}

fn quoted(words: &str) -> String {
    Value::from(words).to_string()
}

/// Takes `file:line: ` from the front of a message.
fn placed(message: &str) -> (Option<(&str, u32)>, &str) {
    let place = message.split_once(": ").and_then(|(place, rest)| {
        let (file, line) = place.rsplit_once(':')?;
        Some(((file, line.parse().ok()?), rest))
    });
    match place {
        Some((place, rest)) => (Some(place), rest),
        None => (None, message),
    }
}

fn value(outcome: &Outcome<'_>) -> Value {
    let mut value = json!({
        "file": outcome.file,
        "name": outcome.name,
        "ok": outcome.failed.is_none(),
        "printed": outcome.printed,
    });
    if let (Some(report), Some(fields)) = (outcome.failed, value.as_object_mut()) {
        let (place, message) = placed(&report.message);
        fields.insert("message".into(), message.into());
        fields.insert("line".into(), place.map(|(_, line)| line).into());
        fields.insert("hint".into(), report.hint.clone().into());
    }
    value
}
