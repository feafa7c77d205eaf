//! CurveCP: an encrypted, authenticated transport over UDP.
//!
//! Neither end holds a long-term private key: what needs one they [`Ask`], and [`keyroom`] is what
//! answers.
//!
//! From the inside out: [`packet`] (what stands in datagrams), [`name`] (the server's), [`message`]
//! (what stands in packets where a byte stream is wanted); [`Tunnel`] (packets of one connection),
//! [`Stream`] (the bytes of one) and [`Connection`], which is both; [`Endpoint`] (all clients of a
//! server) and [`Client`] (one that has no connection yet).
//!
//! Who wants messages as they are, without a byte stream, takes the tunnel alone.

mod client;
mod connection;
mod endpoint;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod keyroom;
pub mod message;
pub mod name;
mod pace;
pub mod packet;
mod receiver;
pub mod safenonce;
mod sender;
mod stream;
#[cfg(test)]
mod tests;
mod tunnel;
#[cfg(test)]
pub(crate) mod vectors;

pub use client::{Client, ClientConfig, ClientError, ClientOutput};
pub use connection::{Closed, Connection, Event, IDLE, Output};
pub use endpoint::{Endpoint, EndpointConfig, Outcome, Question};
pub use message::End;
pub use name::{NameError, ServerName};
pub use packet::Extension;
pub use stream::{Read, Start, Stream};
pub use tunnel::{Accepted, Tunnel};

use identity::PublicKey;
use serde::{Deserialize, Serialize};

use super::nacl::BoxKey;
use super::{Refusal, Whole};

/// What only the key room can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Server: a client's Hello packet.
    Hello(Box<Whole<224>>),
    /// Server: an Initiate packet of a client that has no connection.
    Initiate(Vec<u8>),
    /// Client: what Initiate vouches for.
    Vouch {
        /// The client's short-term key (C′).
        client: PublicKey,
        /// The server's long-term key (S).
        server: PublicKey,
    },
}

/// What the key room says to an [`Ask`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// To a Hello: the Cookie packet.
    Cookie(Box<Whole<200>>),
    /// To an Initiate: admitted, and this is the key of the connection's boxes (C′ and S′).
    Session(BoxKey),
    /// To a vouch: the client's long-term key (C), then the nonce (16 bytes) and the box (48).
    Vouch {
        /// The client's long-term key.
        key: PublicKey,
        /// As it stands in Initiate.
        vouch: Box<Whole<64>>,
    },
    /// No.
    Refused(Refusal),
}
