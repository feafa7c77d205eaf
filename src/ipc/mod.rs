//! What the processes say to each other.
//!
//! ```text
//!   admin ── admin ──► host ◄── script ── script process
//!                       ▲                     ▲
//!                  frameserver               link   (past the host)
//!                       ▼                     ▼
//!                      frameserver process ◄──┘
//! ```
//!
//! Each arrow is a [`Socket`] whose two ends have the message enums of the module it is named
//! after; what one side cannot say, the other side's type cannot hold.

pub mod admin;
pub mod frameserver;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod link;
mod listener;
pub mod script;
mod socket;
mod unproved;

pub use listener::Listener;
pub use socket::{AsyncSocket, Received, RecvError, SendError, Socket, keep_from_children};
pub use unproved::{Unproved, UnprovedError};

use serde::{Deserialize, Serialize};

/// A protocol, by the scheme of its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scheme {
    /// `a12`: Arcan's.
    A12,
    /// `zmtp`: ZeroMQ's.
    Zmtp,
    /// `curvecp`.
    CurveCp,
}

impl Scheme {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::A12, Self::Zmtp, Self::CurveCp];

    /// The protocol of a scheme.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scheme| scheme.name() == name)
    }

    /// As it stands in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::A12 => "a12",
            Self::Zmtp => "zmtp",
            Self::CurveCp => "curvecp",
        }
    }

    /// The port where none is said; `None`: it has to be said.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::A12 => Some(6680),
            Self::Zmtp | Self::CurveCp => None,
        }
    }
}

/// A proved and admitted peer, as the host has registered it; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId(pub u64);

/// One of a script's listeners; chosen by the script process, never used twice by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ListenerId(pub u32);

/// One connection of a frameserver before it is a session; chosen by the frameserver, never used
/// twice by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId(pub u64);

/// One window or stream of a session. Channel 0 is the primary segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentId {
    /// Whose it is.
    pub session: SessionId,
    /// Which of its channels.
    pub channel: u8,
}

/// One action that a locked-down process should not be able to do, and what denies it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Denied {
    /// What is denied: `open`, `connect`, `execve`, …
    pub action: String,
    /// `seccomp`, `landlock`, `rlimit`; `None`: nothing denies it here.
    pub layer: Option<String>,
}
