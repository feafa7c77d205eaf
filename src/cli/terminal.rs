//! What is asked of the person at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks for a yes; anything else is a no. `None`: nobody can be asked.
///
/// The terminal itself is asked, since standard input may carry something else. Whoever waits can
/// give up waiting.
pub(super) async fn yes(question: &str) -> Option<bool> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let question = format!("{question} [y/N] ");
    aside(move || {
        let mut terminal = open().ok()?;
        terminal.write_all(question.as_bytes()).ok()?;
        let mut answer = String::new();
        BufReader::new((&terminal).take(LONGEST))
            .read_line(&mut answer)
            .ok()?;
        if !answer.ends_with('\n') {
            // The end of the input leaves the cursor where it is.
            terminal.write_all(b"\n").ok()?;
        }
        Some(is_yes(&answer))
    })
    .await
    .ok()?
}

/// Asks for a line that is not shown. Whatever ends the waiting leaves the terminal as it was.
pub(super) async fn hidden(question: impl Into<String>) -> io::Result<Zeroizing<String>> {
    let _before = Before::look()?;
    let question = question.into();
    tokio::select! {
        line = aside(move || rpassword::prompt_password(question)) => line?.map(Zeroizing::new),
        _ = tokio::signal::ctrl_c() => Err(ErrorKind::Interrupted.into()),
    }
}

/// Does what waits for the terminal on a thread, so that signals are heard meanwhile.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

fn open() -> io::Result<File> {
    File::options().read(true).write(true).open("/dev/tty")
}

/// How the terminal was set; it is again when this is dropped.
struct Before {
    terminal: File,
    settings: Termios,
}

impl Before {
    fn look() -> io::Result<Self> {
        let terminal = open()?;
        let settings = tcgetattr(&terminal)?;
        Ok(Self { terminal, settings })
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        // The terminal may be gone.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.settings);
    }
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
