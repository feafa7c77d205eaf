//! ZeroMQ's protocol, ZMTP 3.0 and 3.1 (ZeroMQ RFC 23 and 37), with the mechanism CURVE (RFC 25 and
//! 26).

mod metadata;
mod socket;

pub use metadata::{METADATA, Metadata};
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
    /// Server: a peer that has no key (mechanism NULL or PLAIN); its metadata as they came.
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
    /// No.
    Refused(Refusal),
}

/// What this side wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take the peer.
    Accept,
    /// Send a message of these parts.
    Send(Vec<Vec<u8>>),
    /// End it.
    Close,
}

/// What the peer did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It has sent a message of these parts.
    Message(Vec<Vec<u8>>),
}
