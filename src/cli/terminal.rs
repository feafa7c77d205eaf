//! What is asked of the person at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};

/// Asks for a yes; anything else is a no. `None`: nobody can be asked.
///
/// The terminal itself is asked, since standard input may carry something else.
pub(super) fn yes(question: &str) -> Option<bool> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let mut terminal = File::options()
        .read(true)
        .write(true)
        .open("/dev/tty")
        .ok()?;
    write!(terminal, "{question} [y/N] ").ok()?;
    let mut answer = String::new();
    BufReader::new(terminal.take(LONGEST))
        .read_line(&mut answer)
        .ok()?;
    Some(is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    let answer = answer.trim();
    answer.eq_ignore_ascii_case("y") || answer.eq_ignore_ascii_case("yes")
}

const LONGEST: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_is_the_default() {
        assert!(is_yes("y\n") && is_yes(" YES \n"));
        assert!(!is_yes("") && !is_yes("\n") && !is_yes("n\n") && !is_yes("yess\n"));
    }
}
