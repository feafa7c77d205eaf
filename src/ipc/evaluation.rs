//! What an admin has a running script do, and what comes of it.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::script::Report;

/// One of a host's evaluations; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct EvaluationId(pub u64);

/// What a script is to evaluate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// The values of this expression, or what this chunk returns.
    Chunk(Chunk),
    /// The names in this table, `a.b`; empty: those of the globals.
    Names(String),
}

impl Asked {
    /// Whether it is too long to be evaluated.
    pub fn is_too_long(&self) -> bool {
        let (Self::Chunk(Chunk(text)) | Self::Names(text)) = self;
        text.len() > MOST_CHUNK
    }
}

/// A piece of Lua. There may be secrets in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct Chunk(pub String);

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.0.len())
    }
}

/// The most bytes of a chunk: it fits into one message.
pub const MOST_CHUNK: usize = 32 * 1024;

/// As many evaluations of a script are under way at once.
pub const MOST_EVALUATIONS: usize = 8;

/// What is said while something is evaluated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// Printed: whole lines, with their ends.
    Printed(String),
    /// Something that the author of the script should know.
    Reported(Report),
}

impl Said {
    /// What it uses up of [`MOST_SAID`].
    pub fn cost(&self) -> usize {
        match self {
            Self::Printed(text) => text.len() + OVERHEAD,
            Self::Reported(report) => {
                let details = report.details().map(|(_, text)| text.len());
                report.message.len() + details.sum::<usize>() + REPORT
            }
        }
    }
}

/// As much may be said in one evaluation, by [`Said::cost`].
pub const MOST_SAID: usize = 512 * 1024;

/// Each message costs something, however little it says; reports so much that they are few, as in the
/// log.
const OVERHEAD: usize = 64;
const REPORT: usize = 4096;

/// What comes of an evaluation: its values, each as it is shown, or names; or why there are none.
pub type Outcome = Result<Vec<String>, Report>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::admin::ToHost;
    use crate::ipc::script::{Severity, ToScript};
    use crate::ipc::socket::encode;

    #[test]
    fn what_is_evaluated_is_not_in_what_is_said_of_it() {
        let asked = Asked::Chunk(Chunk("canary".into()));
        assert_eq!(format!("{asked:?}"), "Chunk(Chunk(6 bytes))");
    }

    #[test]
    fn what_is_not_too_long_fits_into_a_message() {
        let asked = Asked::Chunk(Chunk("x".repeat(MOST_CHUNK)));
        assert!(!asked.is_too_long());
        assert!(Asked::Names("x".repeat(MOST_CHUNK + 1)).is_too_long());
        let script = "s".repeat(255);
        let request = ToHost::Evaluate {
            script,
            asked: asked.clone(),
        };
        assert!(encode(&request).is_some());
        let evaluation = EvaluationId(u64::MAX);
        assert!(encode(&ToScript::Evaluate { evaluation, asked }).is_some());
    }

    #[test]
    fn everything_that_is_said_costs_something() {
        let report = Report::new(Severity::Warning, "");
        assert_eq!(Said::Printed(String::new()).cost(), OVERHEAD);
        assert_eq!(Said::Reported(report).cost(), REPORT);
    }
}
