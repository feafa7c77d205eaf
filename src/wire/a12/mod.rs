//! a12, the network protocol of Arcan: version 0.17 of July 2025.
//!
//! [`Listener`] and [`Initiator`] are the two ends. Neither holds a static private key: what needs
//! one they [`Ask`], and [`keyroom`] is what answers. A listener has no session keys before the
//! key room has verified, with the peer's next packet, that the peer holds the key it claims; so
//! there is nothing that it could send too early.
//!
//! From the inside out: `cipher` (a keystream), `packet` (one direction: keystream, MAC, numbers),
//! [`control`] and [`event`] (what is in the packets), `handshake`, `line` and `streams` (what both
//! ends send and receive), `session`, and the two ends.

mod cipher;
pub mod control;
pub mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handshake;
mod initiator;
pub mod keyroom;
mod keys;
mod line;
mod listener;
#[doc(hidden)]
pub mod measured;
#[cfg(any(test, fuzzing))]
mod null;
mod packet;
mod peer;
mod session;
mod streams;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod vectors;

pub use initiator::{Initiator, InitiatorConfig};
pub use keys::{RatchetKeys, StageKeys};
pub use listener::{Listener, ListenerConfig, Ratchet};
pub use peer::{Command, Event};

use identity::PublicKey;
use serde::{Deserialize, Serialize};

use super::{Refusal, Whole};

/// What a side shows or wants to see; it is independent of who connected to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Role {
    /// Has a window to show.
    Source = 1,
    /// Shows the window of a source.
    Sink = 2,
    /// Only wants to know what the other side is.
    Probe = 3,
    /// Keeps applications and brings sources and sinks together.
    Directory = 4,
}

/// Which of the listener's current secrets; chosen by the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretId(pub u32);

/// How many handshake rounds the peer made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounds {
    /// The key was in the first packet.
    One,
    /// Ephemeral keys were exchanged first, so that an eavesdropper does not see the key.
    Two,
}

impl Rounds {
    /// The sequence number of the peer's first packet after the handshake.
    pub fn proof_sequence(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
        }
    }
}

/// A control packet's body, whole: what the key room takes.
pub type ControlBody = Whole<128>;

/// What only the holder of a static private key can answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// Listener: a HELLO of mode 1 came in; the peer claims the key in it.
    Claim {
        /// The secret under which its first packet verified.
        secret: SecretId,
        /// Whether ephemeral keys went before.
        rounds: Rounds,
        /// The HELLO.
        hello: ControlBody,
    },
    /// Listener: the peer's next bytes: a whole control packet (153 bytes), or as much as an event
    /// packet has (164), still sealed.
    Proof(Vec<u8>),
    /// Initiator: the server's HELLO of mode 1.
    Server(ControlBody),
    /// Initiator: the server's first REKEY, which still involves our static key.
    Ratchet(ControlBody),
}

/// What the key room says to an [`Ask`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// To a claim: prove it, under this key of ours and this nonce.
    Challenge {
        /// The host's public key.
        host: PublicKey,
        /// The nonce of the session's key stage, chosen by the host.
        nonce: [u8; 8],
    },
    /// To a proof of 153 bytes: it is the beginning of an event packet, give 164.
    More,
    /// To a proof, or to the server's HELLO: admitted, and these are the session's keys.
    Session(StageKeys),
    /// To a ratchet: the keys of the inbound direction from here on.
    Ratchet(RatchetKeys),
    /// No.
    Refused(Refusal),
}
