//! ZeroMQ's protocol, ZMTP 3.0 and 3.1 (ZeroMQ RFC 23 and 37), with the mechanism CURVE (RFC 25 and
//! 26), as libzmq speaks it; and where peers without a key are let in, NULL and PLAIN.
//!
//! [`Listener`] and [`Initiator`] are the two ends. Neither holds a static private key: what needs
//! one they [`Ask`], and [`keyroom`] is what answers.
//!
//! From the inside out: [`greeting`], [`frame`], [`command`], [`metadata`] and [`socket`] (what
//! things look like), `handshake`, `line` (one session's sealing), `pattern` and `subscriptions`
//! (what a socket of each type does with messages), `heartbeat`, `session`, and the two ends.

pub mod command;
pub mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod greeting;
mod handshake;
mod heartbeat;
mod initiator;
pub mod keyroom;
mod line;
mod listener;
pub mod metadata;
mod pattern;
mod peer;
#[cfg(any(test, fuzzing))]
mod rig;
mod session;
pub mod socket;
mod subscriptions;
#[cfg(test)]
mod tests;

pub use initiator::{Initiator, InitiatorConfig};
pub use listener::{Listener, ListenerConfig};
pub use metadata::Metadata;
pub use peer::{Command, Event, Message};
pub use socket::{Heartbeat, NoSocketType, Socket, SocketType};

use identity::PublicKey;
use serde::{Deserialize, Serialize};

use super::nacl::BoxKey;
use super::{Refusal, Whole};

/// What only the key room can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Server: a client's HELLO, the body of the command.
    Hello(Box<Whole<200>>),
    /// Server: its INITIATE, the body of the command.
    Initiate(Vec<u8>),
    /// Server: a peer that has no key (mechanism NULL or PLAIN); its metadata as they came. The user
    /// name that it claims by PLAIN is the last property, `Username`.
    Keyless(Vec<u8>),
    /// Client: what INITIATE vouches for.
    Vouch {
        /// The client's short-term key (C′).
        client: PublicKey,
        /// The server's short-term key (S′), from WELCOME.
        server: PublicKey,
    },
}

/// What the key room says to an [`Ask`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// To a HELLO: the body of WELCOME.
    Welcome(Box<Whole<168>>),
    /// To an INITIATE: admitted, and this is the key of the session's boxes (C′ and S′).
    Session(BoxKey),
    /// To a peer without a key: admitted.
    Keyless,
    /// To a vouch: the client's long-term key (C), then the nonce (16 bytes) and the box (80).
    Vouch {
        /// The client's long-term key.
        key: PublicKey,
        /// As it stands in INITIATE.
        vouch: Box<Whole<96>>,
    },
    /// No. The peer is told so, unless its handshake is [broken](Refusal::Broken).
    Refused(Refusal),
}
