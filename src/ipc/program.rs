//! Programs that scripts have started for their clients.

use serde::{Deserialize, Serialize};

use super::SessionId;

/// Start a program, which talks with a client from then on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// With which client.
    pub session: SessionId,
    /// The program, by its absolute path, and its arguments; no byte of them is 0.
    pub argv: Vec<Vec<u8>>,
    /// How messages are told apart.
    pub framing: Framing,
}

/// As many programs talk with the clients of one script at once.
pub const MOST_PROGRAMS: usize = 256;

/// How messages are told apart in what a program reads and writes. The bytes of a stream go as they
/// are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Framing {
    /// A line each; the parts of a message have a tab between them.
    #[default]
    Lines,
    /// Each part behind its length: four bytes, the highest first, of which the highest bit says
    /// that another part of the message follows.
    Lengths,
}

/// How a program has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// It was not even started.
    NotStarted,
}

impl Exit {
    /// Whether it was not code 0.
    pub fn is_failure(self) -> bool {
        self != Self::Code(0)
    }
}
