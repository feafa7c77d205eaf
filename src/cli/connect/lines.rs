//! Standard input, line by line, read by a thread of its own.

use std::io::{self, BufRead, Read};
use std::thread;

use tokio::sync::mpsc;

use super::text::MESSAGE;

/// Starts reading; no more than one line is held ahead.
pub(super) fn stdin() -> mpsc::Receiver<String> {
    ahead(|| Lines::new(io::stdin().lock()))
}

/// What a thread of its own takes from these, one ahead.
pub(super) fn ahead<L: Iterator>(
    lines: impl FnOnce() -> L + Send + 'static,
) -> mpsc::Receiver<L::Item>
where
    L::Item: Send + 'static,
{
    let (said, there) = mpsc::channel(1);
    thread::spawn(move || {
        for line in lines() {
            if said.blocking_send(line).is_err() {
                return;
            }
        }
    });
    there
}

/// Lines without their ends. A line that is too long comes in pieces; what is no UTF-8 is replaced.
#[derive(Debug)]
struct Lines<R> {
    reader: R,
    /// The beginning of a character whose rest has not been read.
    rest: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn new(reader: R) -> Self {
        Self {
            reader,
            rest: Vec::new(),
        }
    }
}

impl<R: BufRead> Iterator for Lines<R> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut line = std::mem::take(&mut self.rest);
        let limit = MESSAGE - line.len();
        // A reader that fails has ended.
        let read = self
            .reader
            .by_ref()
            .take(limit as u64)
            .read_until(b'\n', &mut line);
        if read.is_err() || line.is_empty() {
            return None;
        }
        if line.ends_with(b"\n") {
            line.pop();
            if line.ends_with(b"\r") {
                line.pop();
            }
        } else if line.len() == MESSAGE {
            self.rest = line.split_off(unfinished(&line));
        }
        Some(String::from_utf8_lossy(&line).into_owned())
    }
}

/// Where the last character begins if it is cut off, else the end.
fn unfinished(bytes: &[u8]) -> usize {
    (1..=3.min(bytes.len()))
        .map(|back| bytes.len() - back)
        .find(|&at| {
            let tail = bytes.get(at..).unwrap_or_default();
            matches!(std::str::from_utf8(tail), Err(error) if error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> Vec<String> {
        Lines::new(text).collect()
    }

    #[test]
    fn lines_lose_their_ends() {
        assert_eq!(lines(b"a\n\nb\r\nc"), ["a", "", "b", "c"]);
        assert_eq!(lines(b""), [""; 0]);
    }

    #[test]
    fn what_is_no_utf8_is_replaced() {
        assert_eq!(lines(b"a\xffb\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_line_that_is_too_long_comes_in_pieces_of_whole_characters() {
        let long = format!("x{}\nend", "ü".repeat(MESSAGE));
        let pieces = lines(long.as_bytes());
        assert!(pieces.iter().all(|piece| piece.len() <= MESSAGE));
        assert!(!pieces.concat().contains('\u{fffd}'));
        assert_eq!(pieces.last().unwrap(), "end");
        assert_eq!(pieces.concat().len(), long.len() - 1);
    }
}
