//! The five packets (section 3 of the protocol text): what stands in the clear, and where the box is.
//!
//! The extension of the side that a packet goes to comes first, right behind the magic.

use std::fmt;

use identity::PublicKey;
use serde::{Deserialize, Serialize};

use crate::wire::codec::{Reader, Writer};
use crate::wire::cookie::COOKIE;

/// The longest message in an Initiate.
pub const INITIATE_MESSAGE: usize = 640;

/// The longest message in any other packet.
pub const MESSAGE: usize = 1088;

/// The longest packet, in bytes.
pub const PACKET: usize = InitiateHead::SIZE + InitiateHead::INSIDE + INITIATE_MESSAGE + 16;

/// Tells sides apart that share an address.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Extension(pub [u8; 16]);

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extension({:032x})", u128::from_be_bytes(self.0))
    }
}

/// Whether this is the length of a message: 16 to `longest` bytes, in steps of 16.
pub fn is_message_length(length: usize, longest: usize) -> bool {
    (16..=longest).contains(&length) && length.is_multiple_of(16)
}

/// Client: asks for a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The server's extension.
    pub to: Extension,
    /// The client's extension.
    pub from: Extension,
    /// The client's short-term key (C′).
    pub client: PublicKey,
    /// The number in the nonce.
    pub nonce: u64,
    /// From C′ to S: 64 zeros.
    pub boxed: [u8; 80],
}

impl Hello {
    /// The length of the packet.
    pub const SIZE: usize = 224;
    /// What the nonce begins with.
    pub const PREFIX: &'static [u8; 16] = b"CurveCP-client-H";
    const MAGIC: &'static [u8; 8] = b"QvnQ5XlH";

    /// Reads a packet.
    pub fn parse(packet: &[u8; Self::SIZE]) -> Option<Self> {
        let layout = Reader::new(packet);
        Some(Self {
            to: Extension(layout.bytes::<8, 16>()),
            from: Extension(layout.bytes::<24, 16>()),
            client: PublicKey::parse(&layout.bytes::<40, 32>()).ok()?,
            nonce: layout.u64::<136>(),
            boxed: layout.bytes::<144, 80>(),
        })
        .filter(|_| layout.bytes::<0, 8>() == *Self::MAGIC)
    }

    /// Writes a packet.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 8>(Self::MAGIC)
            .bytes::<8, 16>(&self.to.0)
            .bytes::<24, 16>(&self.from.0)
            .bytes::<40, 32>(self.client.as_bytes())
            .u64::<136>(self.nonce)
            .bytes::<144, 80>(&self.boxed);
        layout.finish()
    }
}

/// Server: gives a cookie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// The client's extension.
    pub to: Extension,
    /// The server's extension.
    pub from: Extension,
    /// The rest of the nonce.
    pub nonce: [u8; 16],
    /// From S to C′: the server's short-term key (S′), then the cookie.
    pub boxed: [u8; 144],
}

impl Cookie {
    /// The length of the packet.
    pub const SIZE: usize = 200;
    /// What the nonce begins with.
    pub const PREFIX: &'static [u8; 8] = b"CurveCPK";
    const MAGIC: &'static [u8; 8] = b"RL3aNMXK";

    /// Reads a packet.
    pub fn parse(packet: &[u8; Self::SIZE]) -> Option<Self> {
        let layout = Reader::new(packet);
        (layout.bytes::<0, 8>() == *Self::MAGIC).then(|| Self {
            to: Extension(layout.bytes::<8, 16>()),
            from: Extension(layout.bytes::<24, 16>()),
            nonce: layout.bytes::<40, 16>(),
            boxed: layout.bytes::<56, 144>(),
        })
    }

    /// Writes a packet.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 8>(Self::MAGIC)
            .bytes::<8, 16>(&self.to.0)
            .bytes::<24, 16>(&self.from.0)
            .bytes::<40, 16>(&self.nonce)
            .bytes::<56, 144>(&self.boxed);
        layout.finish()
    }
}

/// Client: brings the cookie back, proves its long-term key, and carries a message. What stands
/// before the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitiateHead {
    /// The server's extension.
    pub to: Extension,
    /// The client's extension.
    pub from: Extension,
    /// The client's short-term key (C′).
    pub client: PublicKey,
    /// The cookie as it came.
    pub cookie: [u8; COOKIE],
    /// The number in the nonce.
    pub nonce: u64,
}

impl InitiateHead {
    /// Where the box begins. It is from C′ to S′.
    pub const SIZE: usize = 176;
    /// What is in the box before the message: C, a vouch of 64 bytes, the server's name.
    pub const INSIDE: usize = 32 + 64 + 256;
    /// What the nonce begins with.
    pub const PREFIX: &'static [u8; 16] = b"CurveCP-client-I";
    const MAGIC: &'static [u8; 8] = b"QvnQ5XlI";

    /// Reads what stands before the box of a whole packet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let message = packet.len().checked_sub(Self::SIZE + 16 + Self::INSIDE)?;
        if !is_message_length(message, INITIATE_MESSAGE) {
            return None;
        }
        let layout = Reader::<{ Self::SIZE }>::new(packet.first_chunk()?);
        Some(Self {
            to: Extension(layout.bytes::<8, 16>()),
            from: Extension(layout.bytes::<24, 16>()),
            client: PublicKey::parse(&layout.bytes::<40, 32>()).ok()?,
            cookie: layout.bytes::<72, COOKIE>(),
            nonce: layout.u64::<168>(),
        })
        .filter(|_| layout.bytes::<0, 8>() == *Self::MAGIC)
    }

    /// Writes it.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 8>(Self::MAGIC)
            .bytes::<8, 16>(&self.to.0)
            .bytes::<24, 16>(&self.from.0)
            .bytes::<40, 32>(self.client.as_bytes())
            .bytes::<72, COOKIE>(&self.cookie)
            .u64::<168>(self.nonce);
        layout.finish()
    }
}

/// Client: a message, after the server has been heard. What stands before the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHead {
    /// The server's extension.
    pub to: Extension,
    /// The client's extension.
    pub from: Extension,
    /// The client's short-term key (C′).
    pub client: PublicKey,
    /// The number in the nonce.
    pub nonce: u64,
}

impl ClientHead {
    /// Where the box begins. It is from C′ to S′.
    pub const SIZE: usize = 80;
    /// What the nonce begins with.
    pub const PREFIX: &'static [u8; 16] = b"CurveCP-client-M";
    const MAGIC: &'static [u8; 8] = b"QvnQ5XlM";

    /// Reads what stands before the box of a whole packet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let message = packet.len().checked_sub(Self::SIZE + 16)?;
        if !is_message_length(message, MESSAGE) {
            return None;
        }
        let layout = Reader::<{ Self::SIZE }>::new(packet.first_chunk()?);
        Some(Self {
            to: Extension(layout.bytes::<8, 16>()),
            from: Extension(layout.bytes::<24, 16>()),
            client: PublicKey::parse(&layout.bytes::<40, 32>()).ok()?,
            nonce: layout.u64::<72>(),
        })
        .filter(|_| layout.bytes::<0, 8>() == *Self::MAGIC)
    }

    /// Writes it.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 8>(Self::MAGIC)
            .bytes::<8, 16>(&self.to.0)
            .bytes::<24, 16>(&self.from.0)
            .bytes::<40, 32>(self.client.as_bytes())
            .u64::<72>(self.nonce);
        layout.finish()
    }
}

/// Server: a message. What stands before the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHead {
    /// The client's extension.
    pub to: Extension,
    /// The server's extension.
    pub from: Extension,
    /// The number in the nonce.
    pub nonce: u64,
}

impl ServerHead {
    /// Where the box begins. It is from S′ to C′.
    pub const SIZE: usize = 48;
    /// What the nonce begins with.
    pub const PREFIX: &'static [u8; 16] = b"CurveCP-server-M";
    const MAGIC: &'static [u8; 8] = b"RL3aNMXM";

    /// Reads what stands before the box of a whole packet.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let message = packet.len().checked_sub(Self::SIZE + 16)?;
        if !is_message_length(message, MESSAGE) {
            return None;
        }
        let layout = Reader::<{ Self::SIZE }>::new(packet.first_chunk()?);
        (layout.bytes::<0, 8>() == *Self::MAGIC).then(|| Self {
            to: Extension(layout.bytes::<8, 16>()),
            from: Extension(layout.bytes::<24, 16>()),
            nonce: layout.u64::<40>(),
        })
    }

    /// Writes it.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 8>(Self::MAGIC)
            .bytes::<8, 16>(&self.to.0)
            .bytes::<24, 16>(&self.from.0)
            .u64::<40>(self.nonce);
        layout.finish()
    }
}

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPacket {
    /// Asks for a cookie.
    Hello(Hello),
    /// Brings it back.
    Initiate(InitiateHead),
    /// Carries a message.
    Message(ClientHead),
}

impl ClientPacket {
    /// Tells packets apart; `None` for what a client does not send.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        match datagram.get(7)? {
            b'H' => Hello::parse(datagram.try_into().ok()?).map(Self::Hello),
            b'I' => InitiateHead::parse(datagram).map(Self::Initiate),
            b'M' => ClientHead::parse(datagram).map(Self::Message),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
