//! What is printed on standard output.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::Color;
use super::exit::{Exit, Failure, OrExit};

/// Standard output. A reader that has gone away ends the command quietly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Whether to use colour.
    pub(super) color: bool,
    /// Whether somebody looks at it.
    pub(super) terminal: bool,
}

impl Output {
    pub(super) fn new(color: Color) -> Self {
        let terminal = io::stdout().is_terminal();
        Self {
            color: wanted(color, terminal),
            terminal,
        }
    }

    /// One line.
    pub(super) fn line(&self, line: impl fmt::Display) -> Result<(), Failure> {
        self.raw(format!("{line}\n").as_bytes())
    }

    /// A value, for programs.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(serde_json::to_string_pretty(value).or_exit(Exit::Failed)?)
    }

    /// Bytes as they are.
    pub(super) fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                Err(Failure::silent(Exit::Done))
            }
            done => done.or_exit_with(Exit::Failed, || "cannot write to standard output"),
        }
    }

    /// Columns under their titles; nothing at all if there are no rows.
    pub(super) fn table<const N: usize>(
        &self,
        titles: [&str; N],
        rows: &[[String; N]],
    ) -> Result<(), Failure> {
        self.raw(table(titles, rows).as_bytes())
    }
}

/// Tells people a line, on standard error. Where nobody reads that, nothing can be told, which is no
/// reason to fail (or, as `eprintln!` would, to panic).
pub(super) fn tell(line: impl fmt::Display) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// Whether to use colour on a stream.
pub(super) fn wanted(color: Color, terminal: bool) -> bool {
    let no_color = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => terminal && !no_color(),
    }
}

fn table<const N: usize>(titles: [&str; N], rows: &[[String; N]]) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        return text;
    }
    let mut widths = titles.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let titles = titles.map(str::to_owned);
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `1 session`, `2 sessions`.
pub(super) fn count(number: u32, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

/// Text of somebody else's, made harmless for a terminal: control characters are spelled out.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => safe.push(c),
            c if c.is_control() || is_bidi(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

/// Characters that make what follows appear elsewhere.
fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".into(), "x".into()], ["länger".into(), String::new()]];
        let text = table(["KEY", "LABEL"], &rows);
        assert_eq!(text, "KEY     LABEL\na       x\nlänger\n");
        assert_eq!(table(["KEY"], &[]), "");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2].map(|n| count(n, "key")),
            ["0 keys", "1 key", "2 keys"]
        );
    }

    #[test]
    fn a_terminal_is_told_no_commands() {
        assert_eq!(printable("a\tü\u{1b}[2J"), "a\tü\\u{1b}[2J");
        assert_eq!(printable("\u{202e}x\r\n"), "\\u{202e}x\\u{d}\\u{a}");
    }

    #[test]
    fn colour_is_for_terminals_unless_somebody_says_otherwise() {
        assert!(wanted(Color::Always, false));
        assert!(!wanted(Color::Never, true));
        assert!(!wanted(Color::Auto, false));
    }
}
