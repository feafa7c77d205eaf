//! What the check has found, and how it is told.

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::walk::At;
use crate::cli::output::printable;

/// What a finding is about; its name is for comments, filters and editors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rule {
    Syntax,
    UndefinedGlobal,
    UnknownConstant,
    UnknownMember,
    UnknownKind,
    NeedsDisplay,
    BadCall,
    UnknownOption,
    EntryPoint,
    MissingFile,
}

impl Rule {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::UndefinedGlobal => "undefined-global",
            Self::UnknownConstant => "unknown-constant",
            Self::UnknownMember => "unknown-member",
            Self::UnknownKind => "unknown-kind",
            Self::NeedsDisplay => "needs-display",
            Self::BadCall => "bad-call",
            Self::UnknownOption => "unknown-option",
            Self::EntryPoint => "entry-point",
            Self::MissingFile => "missing-file",
        }
    }
}

/// Something that is wrong, or looks so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: PathBuf,
    pub(super) at: At,
    pub(super) rule: Rule,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Finding {
    /// For people: the place, what is wrong, the line with a caret, what to do.
    pub(super) fn text(&self, line: &str, color: bool) -> String {
        let paint = |code: &str, text: &str| match color {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let At {
            line: number,
            column,
            length,
        } = self.at;
        let place = format!("{}:{number}:{column}:", self.path.display());
        let mut text = format!(
            "{} {} [{}]\n",
            paint("1", &printable(&place)),
            printable(&self.message),
            paint("33", self.rule.name())
        );
        // A tab takes one place, so that the caret is below its word.
        let shown = printable(line).replace('\t', " ");
        let before = line.chars().take(column.saturating_sub(1));
        let before = printable(&before.collect::<String>()).chars().count();
        let left = shown.chars().count().saturating_sub(before).max(1);
        let caret = format!("^{}", "~".repeat(length.min(left).saturating_sub(1)));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "    {shown}\n    {}{}",
            " ".repeat(before),
            paint("32", &caret)
        );
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "    {}", printable(hint));
        }
        text
    }

    /// For programs.
    pub(super) fn value(&self) -> Value {
        json!({
            "file": self.path.display().to_string(),
            "line": self.at.line,
            "column": self.at.column,
            "rule": self.rule.name(),
            "message": self.message,
            "hint": self.hint,
        })
    }
}
