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
mod evaluation;
pub mod frameserver;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod link;
mod listener;
mod program;
pub mod script;
mod socket;
mod unproved;

pub use evaluation::{
    Asked, Chunk, EvaluationId, MOST_CHUNK, MOST_EVALUATIONS, MOST_SAID, Outcome, Said,
};
pub use listener::Listener;
pub use program::{Exec, Exit, Framing, MOST_PROGRAMS};
pub use socket::{AsyncSocket, Received, RecvError, SendError, Socket, keep_from_children};
pub use unproved::{Unproved, UnprovedError};

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::wire::{curvecp, zmtp};

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

    /// The protocol that an interface names, as scripts write it, and the rest of it; a scheme that
    /// is none of them is given back as it is.
    pub fn of(interface: &str) -> (Result<Self, &str>, &str) {
        match interface.split_once("://") {
            Some((name, place)) => (Self::named(name).ok_or(name), place),
            None => (Ok(Self::A12), interface),
        }
    }

    /// As it stands in an address.
    pub fn name(self) -> &'static str {
        match self {
            Self::A12 => "a12",
            Self::Zmtp => "zmtp",
            Self::CurveCp => "curvecp",
        }
    }

    /// Whether its clients have a field for a shared secret.
    pub fn has_secrets(self) -> bool {
        self == Self::A12
    }

    /// The port where none is said; `None`: it has to be said.
    pub fn port(self) -> Option<u16> {
        match self {
            Self::A12 => Some(6680),
            Self::Zmtp | Self::CurveCp => None,
        }
    }
}

/// What a script wants of a protocol, beyond a name and a place.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Options {
    /// What is usual.
    #[default]
    Usual,
    /// For ZeroMQ.
    Zmtp(Box<ZmtpOptions>),
    /// For CurveCP.
    CurveCp(Box<CurveCpOptions>),
}

impl Options {
    /// Those of a ZeroMQ socket; what is usual, if they are another protocol's.
    pub fn zmtp(&self) -> Cow<'_, ZmtpOptions> {
        match self {
            Self::Zmtp(options) => Cow::Borrowed(options),
            _ => Cow::Owned(ZmtpOptions::default()),
        }
    }

    /// Those of CurveCP; what is usual, if they are another protocol's.
    pub fn curvecp(&self) -> Cow<'_, CurveCpOptions> {
        match self {
            Self::CurveCp(options) => Cow::Borrowed(options),
            _ => Cow::Owned(CurveCpOptions::default()),
        }
    }
}

/// What a script wants of a CurveCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurveCpOptions {
    /// The name that clients have to ask for; `None`: the listener's.
    pub server_name: Option<curvecp::ServerName>,
    /// Tells servers apart that share an address.
    pub extension: curvecp::Extension,
    /// After so long without a packet a connection is over.
    pub idle: Duration,
    /// Lets unknown keys in, too, without enrolling them.
    pub anonymous: bool,
}

impl Default for CurveCpOptions {
    fn default() -> Self {
        Self {
            server_name: None,
            extension: curvecp::Extension::default(),
            idle: curvecp::IDLE,
            anonymous: false,
        }
    }
}

/// What a script wants of a connection that it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectOptions {
    /// To a server of ZeroMQ's.
    Zmtp(Box<ZmtpOptions>),
    /// To one of CurveCP's.
    CurveCp(Box<CurveCpClientOptions>),
}

impl ConnectOptions {
    /// What goes over its segment.
    pub fn carries(&self) -> Carries {
        match self {
            Self::Zmtp(options) => options.carries(),
            Self::CurveCp(_) => Carries::Stream { writable: true },
        }
    }
}

/// What a script wants of a connection to a CurveCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurveCpClientOptions {
    /// The name by which the server goes.
    pub server_name: curvecp::ServerName,
    /// The server's extension.
    pub extension: curvecp::Extension,
    /// Our own; `None`: this machine's.
    pub own_extension: Option<curvecp::Extension>,
    /// After so long without a packet the connection is over.
    pub idle: Duration,
}

/// What a script wants of a ZeroMQ socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZmtpOptions {
    /// Our socket.
    pub socket: zmtp::Socket,
    /// Takes peers without a key, too; only where nobody else can come.
    pub keyless: bool,
    /// How many messages may wait for one peer.
    pub high_water: u32,
}

impl ZmtpOptions {
    /// What goes over a segment of such a socket.
    pub fn carries(&self) -> Carries {
        Carries::Messages {
            socket: self.socket.kind,
            most: u32::try_from(self.socket.max_message).unwrap_or(u32::MAX),
            high_water: self.high_water,
        }
    }
}

impl Default for ZmtpOptions {
    fn default() -> Self {
        Self {
            socket: zmtp::Socket::new(zmtp::SocketType::Router),
            keyless: false,
            high_water: 1000,
        }
    }
}

/// What goes over a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carries {
    /// Events of Arcan's.
    Events,
    /// Messages of parts.
    Messages {
        /// What our socket is for.
        socket: zmtp::SocketType,
        /// The largest message, all parts together, in bytes.
        most: u32,
        /// How many messages may wait for the peer.
        high_water: u32,
    },
    /// Bytes, and the end of them, in each direction.
    Stream {
        /// Our direction has not ended.
        writable: bool,
    },
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
