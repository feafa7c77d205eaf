//! Sockets: their types, which of them go together, and how one of ours is set up.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::metadata::Metadata;

/// What a socket is for (RFC 28, 29, 30, 31).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SocketType {
    /// Asks, and waits for the reply.
    Req,
    /// Replies.
    Rep,
    /// Asks without waiting.
    Dealer,
    /// Talks to each peer by itself.
    Router,
    /// Hands out.
    Push,
    /// Takes what is handed out.
    Pull,
    /// Publishes.
    Pub,
    /// Subscribes.
    Sub,
    /// Publishes, and sees the subscriptions.
    Xpub,
    /// Subscribes by messages of its own.
    Xsub,
    /// Talks to one peer.
    Pair,
}

/// A word that is no socket type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "no socket type; they are: req, rep, dealer, router, push, pull, pub, sub, xpub, xsub, pair"
)]
pub struct NoSocketType;

impl SocketType {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Req,
        Self::Rep,
        Self::Dealer,
        Self::Router,
        Self::Push,
        Self::Pull,
        Self::Pub,
        Self::Sub,
        Self::Xpub,
        Self::Xsub,
        Self::Pair,
    ];

    /// As the wire has it, in upper case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Req => "REQ",
            Self::Rep => "REP",
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
            Self::Push => "PUSH",
            Self::Pull => "PULL",
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::Xpub => "XPUB",
            Self::Xsub => "XSUB",
            Self::Pair => "PAIR",
        }
    }

    /// Reads what the wire has.
    pub fn from_wire(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| kind.name().as_bytes() == name)
    }

    /// Whether sockets of these two types may talk to each other.
    pub fn goes_with(self, other: Self) -> bool {
        use SocketType::*;
        match self {
            Req => matches!(other, Rep | Router),
            Rep => matches!(other, Req | Dealer),
            Dealer => matches!(other, Rep | Dealer | Router),
            Router => matches!(other, Req | Dealer | Router),
            Push => other == Pull,
            Pull => other == Push,
            Pub | Xpub => matches!(other, Sub | Xsub),
            Sub | Xsub => matches!(other, Pub | Xpub),
            Pair => other == Pair,
        }
    }

    /// Whether a socket of this type sends messages of the application.
    pub fn sends(self) -> bool {
        !matches!(self, Self::Pull | Self::Sub)
    }

    /// Whether a socket of this type tells its identity.
    pub fn has_identity(self) -> bool {
        matches!(self, Self::Req | Self::Dealer | Self::Router)
    }
}

/// In lower case, as people write it.
impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name().to_ascii_lowercase())
    }
}

impl FromStr for SocketType {
    type Err = NoSocketType;

    fn from_str(text: &str) -> Result<Self, NoSocketType> {
        Self::from_wire(text.to_ascii_uppercase().as_bytes()).ok_or(NoSocketType)
    }
}

/// How one of our sockets is set up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// What it is for.
    pub kind: SocketType,
    /// Its identity, for peers that address their messages; told by REQ, DEALER and ROUTER.
    pub identity: Vec<u8>,
    /// What else the peer is told, for instance `X-…`. A name has at most 255 bytes.
    pub properties: Vec<(String, Vec<u8>)>,
    /// SUB and XSUB: what is subscribed to, by the beginning of messages.
    pub topics: Vec<Vec<u8>>,
    /// How it is found out that a peer is gone; `None`: only by the connection's end.
    pub heartbeat: Option<Heartbeat>,
    /// The largest message that is taken, all its parts together, in bytes.
    pub max_message: usize,
    /// The most parts that a message may have.
    pub max_parts: usize,
}

/// How it is found out that a peer is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// How often a PING goes out.
    pub interval: Duration,
    /// How long the peer may then be silent.
    pub timeout: Duration,
    /// How long the peer may take us for alive after a PING; it is told in tenths of a second. 0:
    /// it is not told.
    pub ttl: Duration,
}

impl Socket {
    /// A socket of this type, and otherwise as most are.
    pub fn new(kind: SocketType) -> Self {
        Self {
            kind,
            identity: Vec::new(),
            properties: Vec::new(),
            topics: Vec::new(),
            heartbeat: None,
            max_message: 1 << 20,
            max_parts: 64,
        }
    }

    /// What the peer is told of it.
    pub(super) fn metadata(&self) -> Vec<u8> {
        let mut out = Vec::new();
        Metadata {
            socket_type: Some(self.kind),
            identity: match self.kind.has_identity() {
                true => self.identity.clone(),
                false => Vec::new(),
            },
            properties: self.properties.clone(),
        }
        .write(&mut out);
        out
    }

    /// Whether the peer's socket goes with this one. A peer that does not say is believed to.
    pub fn takes(&self, peer: &Metadata) -> bool {
        peer.socket_type
            .is_none_or(|kind| self.kind.goes_with(kind))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_with_one_has_that_one_going_with_it() {
        let mut pairs = 0;
        for one in SocketType::ALL {
            for other in SocketType::ALL {
                assert_eq!(one.goes_with(other), other.goes_with(one));
                pairs += usize::from(one.goes_with(other));
            }
        }
        // REQ 2, REP 2, DEALER 3, ROUTER 3, PUSH, PULL, PAIR, and 4 times 2 that publish.
        assert_eq!(pairs, 21);
    }

    #[test]
    fn a_type_reads_as_it_is_written() {
        for kind in SocketType::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(SocketType::from_wire(kind.name().as_bytes()), Some(kind));
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, format!("\"{kind}\""));
        }
        assert_eq!("stream".parse::<SocketType>(), Err(NoSocketType));
        assert_eq!(SocketType::from_wire(b"req"), None);
    }
}
