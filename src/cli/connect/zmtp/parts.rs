//! Lines and messages: a line of standard input is a message, and so is a line that is printed.

use std::io::{self, BufRead, Read};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::cli::connect::lines;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::output::printable;
use crate::wire::zmtp::Message;

/// The longest line, and the largest message, in bytes.
pub(super) const LONGEST: usize = 16 << 20;

/// The most parts of a message.
pub(super) const MOST: usize = 1024;

/// Standard input, which no connection owns.
#[derive(Debug)]
pub(super) struct Input {
    /// Lines are arrays of parts.
    parts: bool,
    state: State,
    /// What has been read, and waits to be sent.
    ahead: Option<Message>,
}

#[derive(Debug)]
enum State {
    /// Nobody has looked yet.
    Untouched,
    Open(mpsc::Receiver<Result<Message, Failure>>),
    Over,
}

impl Input {
    pub(super) fn new(parts: bool) -> Self {
        Self {
            parts,
            state: State::Untouched,
            ahead: None,
        }
    }

    /// Whether all has been read and taken.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over) && self.ahead.is_none()
    }

    /// Whether something is to be read: no more than one message is held.
    pub(super) fn wants(&self) -> bool {
        !matches!(self.state, State::Over) && self.ahead.is_none()
    }

    /// The message that has been read, if it may be sent.
    pub(super) fn take_if(&mut self, may: bool) -> Option<Message> {
        self.ahead.take_if(|_| may)
    }

    /// Reads the next message. What is no message is the end, too. Cancel-safe.
    pub(super) async fn read(&mut self) -> Result<(), Failure> {
        if let State::Untouched = self.state {
            let parts = self.parts;
            let lines = lines::ahead(move || Messages {
                reader: io::stdin().lock(),
                parts,
                number: 0,
            });
            self.state = State::Open(lines);
        }
        let next = match &mut self.state {
            State::Open(lines) => lines.recv().await.transpose(),
            State::Untouched | State::Over => Ok(None),
        };
        if !matches!(next, Ok(Some(_))) {
            self.state = State::Over;
        }
        self.ahead = next?;
        Ok(())
    }
}

/// Lines as messages.
struct Messages<R> {
    reader: R,
    parts: bool,
    /// Of the last line.
    number: u64,
}

impl<R: BufRead> Iterator for Messages<R> {
    type Item = Result<Message, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut line = Vec::new();
        let most = LONGEST as u64 + 2;
        let read = self.reader.by_ref().take(most).read_until(b'\n', &mut line);
        // A reader that fails has ended.
        if read.is_err() || line.is_empty() {
            return None;
        }
        self.number += 1;
        if line.pop_if(|last| *last == b'\n').is_some() {
            line.pop_if(|last| *last == b'\r');
        }
        let place = || format!("line {} of standard input", self.number);
        if line.len() > LONGEST {
            let most = LONGEST >> 20;
            let why = format!("{} is longer than {most} MiB", place());
            return Some(Err(Failure::because(Exit::Usage, why)));
        }
        Some(match self.parts {
            false => Ok(vec![line]),
            true => parse(&line).or_exit_with(Exit::Usage, place),
        })
    }
}

/// A part, for programs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Bytes(Hex),
}

/// What is no UTF-8.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Hex {
    hex: String,
}

fn parse(line: &[u8]) -> anyhow::Result<Message> {
    const FORM: &str = r#"no message: it is an array of parts, each a string or {"hex": "00ff"}"#;
    let parts: Vec<Part> = serde_json::from_slice(line).map_err(|_| anyhow::Error::msg(FORM))?;
    anyhow::ensure!(!parts.is_empty(), "a message has one part at least");
    anyhow::ensure!(parts.len() <= MOST, "a message has at most {MOST} parts");
    let bytes = |part| match part {
        Part::Text(text) => Ok(text.into_bytes()),
        Part::Bytes(Hex { hex }) => HEXLOWER_PERMISSIVE
            .decode(hex.as_bytes())
            .map_err(|_| anyhow::Error::msg(FORM)),
    };
    parts.into_iter().map(bytes).collect()
}

/// A message as one line: an array of parts for programs, else its parts with tabs in between, and
/// what would be more than a line spelled out.
pub(super) fn line(message: Message, json: bool) -> Result<String, Failure> {
    if !json {
        let parts = message.iter().map(|part| String::from_utf8_lossy(part));
        let parts: Vec<_> = parts.map(|part| printable(&part)).collect();
        return Ok(parts.join("\t"));
    }
    let parts = message
        .into_iter()
        .map(|part| match String::from_utf8(part) {
            Ok(text) => Part::Text(text),
            Err(other) => Part::Bytes(Hex {
                hex: HEXLOWER.encode(other.as_bytes()),
            }),
        });
    serde_json::to_string(&parts.collect::<Vec<_>>()).or_exit(Exit::Failed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn messages(text: &[u8], parts: bool) -> Vec<Result<Message, String>> {
        let messages = Messages {
            reader: text,
            parts,
            number: 0,
        };
        let told = |error: Failure| error.to_string();
        messages.map(|message| message.map_err(told)).collect()
    }

    #[test]
    fn a_line_is_a_message_of_one_part() {
        let read: Vec<_> = messages(b"a\n\nb\r\n\xff c", false)
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let expected: [&[u8]; 4] = [b"a", b"", b"b", b"\xff c"];
        assert_eq!(read, expected.map(|part| vec![part.to_vec()]));
    }

    #[test]
    fn an_array_is_a_message_of_its_parts() {
        let read = messages(b"[\"a\", \"\", {\"hex\": \"00fF\"}]\n", true);
        assert_eq!(read, [Ok(vec![b"a".to_vec(), vec![], vec![0, 0xff]])]);
    }

    #[test]
    fn what_is_no_message_is_told_with_its_line() {
        for wrong in [
            "a",
            "\"a\"",
            "[]",
            "[1]",
            "[{\"hex\": \"0\"}]",
            "[{\"hex\": \"00\", \"x\": 1}]",
        ] {
            let read = messages(format!("[\"\"]\n{wrong}\n").as_bytes(), true);
            let why = read[1].as_ref().unwrap_err();
            assert!(why.starts_with("line 2 of standard input: "), "{why}");
        }
    }

    #[test]
    fn i7_a_line_without_end_is_not_held() {
        let mut endless = messages(&vec![b'x'; LONGEST + 1], false);
        let why = endless.remove(0).unwrap_err();
        assert!(why.contains("longer than 16 MiB"), "{why}");
        assert!(messages(&vec![b'x'; LONGEST], false)[0].is_ok());
    }

    #[test]
    fn people_see_one_line_for_a_message() {
        let message = vec![b"a\nb".to_vec(), b"\x1b[2J\xff".to_vec()];
        let line = line(message, false).unwrap();
        assert_eq!(line, "a\\u{a}b\t\\u{1b}[2J\u{fffd}");
    }

    proptest! {
        #[test]
        fn what_is_printed_for_programs_can_be_sent(
            message in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5),
        ) {
            let line = line(message.clone(), true).unwrap();
            prop_assert!(!line.contains('\n'));
            prop_assert_eq!(messages(line.as_bytes(), true), vec![Ok(message)]);
        }
    }
}
