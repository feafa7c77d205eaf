//! What a script says while something is evaluated in it.

use crate::ipc::script::Report;
use crate::ipc::{MOST_SAID, Said};

use super::text::cut;

/// The most bytes of one message.
const PIECE: usize = 16 * 1024;

/// What stands in the place of what is too much.
const MORE: &str = "\n(more was said, and is not shown)\n";

/// What somebody hears of it who is not at its standard output.
#[derive(Debug)]
pub(super) struct Heard {
    said: Vec<Said>,
    /// How much may still be said, beside [`MORE`].
    left: usize,
    /// More was said.
    full: bool,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            said: Vec::new(),
            left: MOST_SAID - Said::Printed(MORE.to_owned()).cost(),
            full: false,
        }
    }
}

impl Heard {
    /// A line is printed.
    pub(super) fn print(&mut self, line: &[u8]) {
        // What follows would be too much.
        let line = line.get(..self.left).unwrap_or(line);
        let line = String::from_utf8_lossy(line) + "\n";
        let mut rest = line.as_ref();
        while !rest.is_empty() && !self.full {
            let piece = cut(rest, PIECE);
            rest = rest.get(piece.len()..).unwrap_or_default();
            self.add(piece);
        }
    }

    fn add(&mut self, piece: &str) {
        if let Some(Said::Printed(last)) = self.said.last_mut()
            && last.len() + piece.len() <= PIECE
            && let Some(left) = self.left.checked_sub(piece.len())
        {
            self.left = left;
            last.push_str(piece);
        } else {
            self.push(Said::Printed(piece.to_owned()));
        }
    }

    /// Something is reported.
    pub(super) fn report(&mut self, report: &Report) {
        self.push(Said::Reported(report.clone()));
    }

    fn push(&mut self, said: Said) {
        if self.full {
            return;
        }
        match self.left.checked_sub(said.cost()) {
            Some(left) => {
                self.left = left;
                self.said.push(said);
            }
            None => {
                self.full = true;
                self.said.push(Said::Printed(MORE.to_owned()));
            }
        }
    }

    /// What there is since the last time.
    pub(super) fn take(&mut self) -> Vec<Said> {
        std::mem::take(&mut self.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::script::Severity;
    use proptest::prelude::*;

    fn text(said: &[Said]) -> String {
        let texts = said.iter().map(|said| match said {
            Said::Printed(text) => text.clone(),
            Said::Reported(report) => format!("<{}>", report.message),
        });
        texts.collect()
    }

    #[test]
    fn lines_and_reports_keep_their_order() {
        let mut heard = Heard::default();
        heard.print(b"one");
        heard.print(b"");
        heard.report(&Report::new(Severity::Warning, "careful"));
        heard.print(b"t\xffo");
        assert_eq!(text(&heard.take()), "one\n\n<careful>t\u{fffd}o\n");
        assert!(heard.take().is_empty());
    }

    #[test]
    fn what_is_too_much_is_not_shown_and_that_is_said_once() {
        let mut heard = Heard::default();
        for _ in 0..3 {
            heard.print(&vec![b'x'; MOST_SAID]);
        }
        let text = text(&heard.take());
        assert!(text.starts_with("xxx") && text.ends_with(MORE), "{text}");
        assert_eq!(text.matches("more was said").count(), 1);
        heard.print(b"and more");
        assert!(heard.take().is_empty());
    }

    proptest! {
        #[test]
        fn nobody_says_more_than_he_may(lines in prop::collection::vec((0_usize..40_000, 0_u8..4), 0..200)) {
            let mut heard = Heard::default();
            let mut said = Vec::new();
            for (length, what) in lines {
                match what {
                    0 => heard.report(&Report::new(Severity::Warning, "x".repeat(length / 8))),
                    1 => said.extend(heard.take()),
                    _ => heard.print("ü".repeat(length / 2).as_bytes()),
                }
            }
            said.extend(heard.take());
            prop_assert!(said.iter().map(Said::cost).sum::<usize>() <= MOST_SAID);
            let largest = said.iter().map(Said::cost).max().unwrap_or(0);
            prop_assert!(largest < 32 * 1024);
        }
    }
}
