//! How the program ends.

use std::fmt;
use std::process::ExitCode;

/// What the exit code says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// Done.
    Done = 0,
    /// A script failed, or the other side did.
    Failed = 1,
    /// The command line makes no sense, or names what is not there.
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
            Self::Failed => "a script or the other side failed",
            Self::Usage => "the command line is wrong, or names what is not there",
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
    error: anyhow::Error,
}

impl Failure {
    pub(super) fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit,
            error: error.into(),
        }
    }

    /// A failure that is told in words.
    pub(super) fn because(exit: Exit, why: impl fmt::Display) -> Self {
        Self::new(exit, anyhow::Error::msg(why.to_string()))
    }
}

impl fmt::Display for Failure {
    /// The whole chain in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = format!("{:#}", self.error);
        line.retain(|c| !c.is_control());
        f.write_str(&line)
    }
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
    fn every_code_is_told() {
        let table = Exit::table();
        for exit in Exit::ALL {
            assert!(table.contains(&format!("{:>3}  ", exit.code())));
        }
    }
}
