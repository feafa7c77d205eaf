//! The packets of one connection after the handshake: messages in boxes, numbered, from one address
//! to another. Messages can be lost, never doubled, changed or turned around.

use core::net::SocketAddr;
use std::fmt;

use identity::PublicKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::keyroom::{Inside, numbered};
use super::name::ServerName;
use super::packet::{
    ClientHead, Extension, INITIATE_MESSAGE, InitiateHead, MESSAGE, ServerHead, is_message_length,
};
use crate::wire::Whole;
use crate::wire::cookie::COOKIE;
use crate::wire::nacl::{BoxKey, PrefixedKey};

/// One end of a connection.
pub struct Tunnel {
    side: Side,
    /// The client's short-term key (C′).
    client: PublicKey,
    own: Extension,
    peer: Extension,
    to: SocketAddr,
    /// The number of the last packet sent.
    sent: u64,
    /// The greatest number received.
    received: Option<u64>,
    outbound: PrefixedKey,
    inbound: PrefixedKey,
}

enum Side {
    Server {
        /// Opens the Initiates that a client sends before it has heard us.
        initiates: PrefixedKey,
    },
    Client {
        /// Until the server has been heard.
        introduction: Option<Box<Introduction>>,
    },
}

/// What every Initiate of a client says.
struct Introduction {
    cookie: [u8; COOKIE],
    /// C, vouch, name.
    inside: Zeroizing<Vec<u8>>,
    key: PrefixedKey,
}

/// What a client has been given when it can introduce itself.
pub(super) struct Introducing<'a> {
    pub(super) to: SocketAddr,
    pub(super) own: Extension,
    pub(super) peer: Extension,
    /// The number of the last packet sent.
    pub(super) sent: u64,
    pub(super) client: PublicKey,
    pub(super) session: &'a BoxKey,
    pub(super) cookie: [u8; COOKIE],
    pub(super) key: PublicKey,
    pub(super) vouch: &'a Whole<64>,
    pub(super) name: &'a ServerName,
}

/// A client that has been let in.
#[derive(Debug)]
pub struct Accepted {
    /// Its long-term key (C).
    pub key: PublicKey,
    /// The way to it.
    pub tunnel: Tunnel,
    /// Its first message, and another one if it came before there was an answer.
    pub messages: Vec<Vec<u8>>,
}

impl Tunnel {
    /// The server's end, from an Initiate that the key room has found good.
    pub(super) fn server<R: CryptoRng>(
        packet: &[u8],
        from: SocketAddr,
        session: &BoxKey,
        rng: &mut R,
    ) -> Option<Accepted> {
        let head = InitiateHead::parse(packet)?;
        let boxed = packet.get(InitiateHead::SIZE..)?;
        let nonce = numbered(InitiateHead::PREFIX, head.nonce);
        let opened = session.open(&nonce, boxed).ok()?;
        let inside = Inside::parse(&opened)?;
        Some(Accepted {
            key: PublicKey::parse(inside.key).ok()?,
            messages: vec![inside.message.to_vec()],
            tunnel: Self {
                side: Side::Server {
                    initiates: session.prefixed(InitiateHead::PREFIX),
                },
                client: head.client,
                own: head.to,
                peer: head.from,
                to: from,
                sent: first_number(rng),
                received: Some(head.nonce),
                outbound: session.prefixed(ServerHead::PREFIX),
                inbound: session.prefixed(ClientHead::PREFIX),
            },
        })
    }

    /// The client's end.
    pub(super) fn client(with: Introducing<'_>) -> Self {
        let mut inside = Zeroizing::new(with.key.as_bytes().to_vec());
        inside.extend_from_slice(&with.vouch.0);
        inside.extend_from_slice(with.name.as_bytes());
        Self {
            side: Side::Client {
                introduction: Some(Box::new(Introduction {
                    cookie: with.cookie,
                    inside,
                    key: with.session.prefixed(InitiateHead::PREFIX),
                })),
            },
            client: with.client,
            own: with.own,
            peer: with.peer,
            to: with.to,
            sent: with.sent,
            received: None,
            outbound: with.session.prefixed(ClientHead::PREFIX),
            inbound: with.session.prefixed(ServerHead::PREFIX),
        }
    }

    /// The client's short-term key (C′), by which its packets are known.
    pub fn short_term_key(&self) -> &PublicKey {
        &self.client
    }

    /// Where packets go to. A server follows its client to another address; a client stays.
    pub fn to(&self) -> SocketAddr {
        self.to
    }

    /// Whether this is the client's end.
    pub(super) fn is_client(&self) -> bool {
        matches!(self.side, Side::Client { .. })
    }

    /// Whether the peer has been heard.
    pub fn is_confirmed(&self) -> bool {
        self.received.is_some()
    }

    /// The longest message that can be sent now, in bytes.
    pub fn room(&self) -> usize {
        match &self.side {
            Side::Client {
                introduction: Some(_),
            } => INITIATE_MESSAGE,
            _ => MESSAGE,
        }
    }

    /// Appends one packet with this message: 16 to [`room`](Self::room) bytes, in steps of 16. Says
    /// whether it did.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) -> bool {
        if !is_message_length(message.len(), self.room()) {
            return false;
        }
        let Some(nonce) = self.sent.checked_add(1) else {
            return false;
        };
        self.sent = nonce;
        let number = nonce.to_le_bytes();
        let (to, from, client) = (self.peer, self.own, self.client);
        match &self.side {
            Side::Server { .. } => {
                out.extend_from_slice(&ServerHead { to, from, nonce }.encode());
                self.outbound.seal(number, message, out);
            }
            Side::Client {
                introduction: Some(introduction),
            } => {
                let cookie = introduction.cookie;
                let head = InitiateHead {
                    to,
                    from,
                    client,
                    cookie,
                    nonce,
                };
                out.extend_from_slice(&head.encode());
                let inside = [&introduction.inside, message].concat();
                let inside = Zeroizing::new(inside);
                introduction.key.seal(number, &inside, out);
            }
            Side::Client { introduction: None } => {
                let head = ClientHead {
                    to,
                    from,
                    client,
                    nonce,
                };
                out.extend_from_slice(&head.encode());
                self.outbound.seal(number, message, out);
            }
        }
        true
    }

    /// Opens a packet where it lies, and gives the message in it. `None`: it is not from the peer, or
    /// it has been overtaken, or seen before.
    pub fn open<'a>(&mut self, from: SocketAddr, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        match self.side {
            Side::Server { .. } => self.open_at_server(from, packet),
            Side::Client { .. } => self.open_at_client(from, packet),
        }
    }

    fn open_at_server<'a>(&mut self, source: SocketAddr, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let Side::Server { initiates } = &self.side else {
            return None;
        };
        let (nonce, to, from, client, message) = if let Some(head) = ClientHead::parse(packet) {
            self.is_next(head.nonce).then_some(())?;
            let boxed = packet.get_mut(ClientHead::SIZE..)?;
            let message = self.inbound.open(head.nonce.to_le_bytes(), boxed).ok()?;
            (head.nonce, head.to, head.from, head.client, &*message)
        } else {
            let head = InitiateHead::parse(packet)?;
            self.is_next(head.nonce).then_some(())?;
            let boxed = packet.get_mut(InitiateHead::SIZE..)?;
            let opened = initiates.open(head.nonce.to_le_bytes(), boxed).ok()?;
            let message = Inside::parse(opened)?.message;
            (head.nonce, head.to, head.from, head.client, message)
        };
        if client != self.client || to != self.own {
            return None;
        }
        self.received = Some(nonce);
        self.to = source;
        self.peer = from;
        Some(message)
    }

    fn open_at_client<'a>(&mut self, from: SocketAddr, packet: &'a mut [u8]) -> Option<&'a [u8]> {
        let head = ServerHead::parse(packet)?;
        let expected = from == self.to && head.to == self.own && head.from == self.peer;
        if !expected || !self.is_next(head.nonce) {
            return None;
        }
        let boxed = packet.get_mut(ServerHead::SIZE..)?;
        let message = self.inbound.open(head.nonce.to_le_bytes(), boxed).ok()?;
        self.received = Some(head.nonce);
        self.side = Side::Client { introduction: None };
        Some(message)
    }

    /// Goes on behind this number.
    #[cfg(test)]
    pub(super) fn number(&mut self, last: u64) {
        self.sent = last;
    }

    fn is_next(&self, number: u64) -> bool {
        self.received.is_none_or(|last| number > last)
    }
}

/// Where numbers begin: anywhere below 2^48, so that they do not end within a connection.
pub(super) fn first_number<R: CryptoRng>(rng: &mut R) -> u64 {
    rng.next_u64() >> 16
}

impl fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tunnel")
            .field("client", &self.client)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}
