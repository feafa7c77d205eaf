//! How the program ends.

use std::fmt;
use std::process::ExitCode;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// A script or a test failed, or the other side did; a check found something; no host runs; or somebody who was asked said no.
    Failed = 1,
    /// The command line or the configuration makes no sense, or names what is not there.
    Usage = 2,
    /// The keystore cannot be used, or does not take the change.
    Keystore = 3,
    /// Refused by the other side, or the other side is not trusted.
    Refused = 4,
    /// The other side cannot be reached.
    Network = 5,
    /// Interrupted.
    Interrupted = 130,
}

impl Exit {
    const ALL: [Self; 7] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Keystore,
        Self::Refused,
        Self::Network,
        Self::Interrupted,
    ];

    /// The number.
    pub(super) fn code(self) -> u8 {
        self as u8
    }

    fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => {
                "a script, a test or the other side failed, a check found something, no host runs, or the answer was no"
            }
            Self::Usage => {
                "the command line or the configuration is wrong, or names what is not there"
            }
            Self::Keystore => "the keystore cannot be used, or does not take the change",
            Self::Refused => "refused by the other side, or the other side is not trusted",
            Self::Network => "the other side cannot be reached",
            Self::Interrupted => "interrupted",
        }
    }

    /// All of them, for `--help` and the manual.
    pub(super) fn table() -> String {
        let rows = Self::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
        format!("Exit codes:\n{}", rows.join("\n"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command was not done: one line for people, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    /// `None`: there is nothing to tell.
    error: Option<anyhow::Error>,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: Some(error.into()),
        }
    }

    /// An end before everything was done that nobody needs to be told about.
    pub(super) fn silent(exit: Exit) -> Self {
        Self { exit, error: None }
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_silent(&self) -> bool {
        self.error.is_none()
    }

    /// A failure that is told in words.
    pub(super) fn because(exit: Exit, why: impl fmt::Display) -> Self {
        Self::new(exit, anyhow::Error::msg(why.to_string()))
    }
}

impl fmt::Display for Failure {
    /// The whole chain in one line. Errors that repeat their cause are common; it is told once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = String::new();
        for cause in self.error.iter().flat_map(anyhow::Error::chain) {
            let cause = without_numbers(cause.to_string());
            if !line.ends_with(&cause) {
                let colon = if line.is_empty() { "" } else { ": " };
                line = format!("{line}{colon}{cause}");
            }
        }
        line.retain(|c| !c.is_control());
        f.write_str(&line)
    }
}

/// What the system says, without the number that says the same.
fn without_numbers(mut text: String) -> String {
    while let Some((start, rest)) = text.split_once(" (os error ") {
        let Some((number, rest)) = rest.split_once(')') else {
            break;
        };
        if number.is_empty() || !number.chars().all(|c| c.is_ascii_digit()) {
            break;
        }
        text = format!("{start}{rest}");
    }
    text
}

/// Gives an error its exit code and its place.
pub(super) trait OrExit<T> {
    /// Ends with this code.
    fn or_exit(self, exit: Exit) -> Result<T, Failure>;

    /// Ends with this code, and says what was being done.
    fn or_exit_with<C: fmt::Display + Send + Sync + 'static>(
        self,
        exit: Exit,
        doing: impl FnOnce() -> C,
    ) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> OrExit<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error))
    }

    fn or_exit_with<C: fmt::Display + Send + Sync + 'static>(
        self,
        exit: Exit,
        doing: impl FnOnce() -> C,
    ) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(exit, error.into().context(doing())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_whatever_was_in_it() {
        let inner = std::io::Error::other("first\nsecond\u{1b}[31m");
        let failure = Err::<(), _>(inner)
            .or_exit_with(Exit::Network, || "cannot reach it")
            .unwrap_err();
        assert_eq!(failure.to_string(), "cannot reach it: firstsecond[31m");
        assert_eq!(failure.exit.code(), 5);
    }

    #[test]
    fn a_cause_is_told_once_and_in_words() {
        let system = || std::io::Error::from_raw_os_error(13);
        let twice = anyhow::Error::new(system()).context(format!("cannot open x: {}", system()));
        let failure = Failure::new(Exit::Keystore, twice);
        assert_eq!(failure.to_string(), "cannot open x: Permission denied");
        let odd = Failure::because(Exit::Failed, "what (os error x) and (os error");
        assert_eq!(odd.to_string(), "what (os error x) and (os error");
    }

    #[test]
    fn every_code_is_told() {
        let table = Exit::table();
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md");
        let document = std::fs::read_to_string(document).unwrap();
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(document.contains(&row), "docs/operations.md lacks: {row}");
            assert!(table.contains(&format!("{:>3}  ", exit.code())));
        }
    }
}
