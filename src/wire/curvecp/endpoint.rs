//! The server's side of one UDP socket, for all its clients.
//!
//! It tells what datagrams are for, asks the key room about those of strangers, and answers nothing
//! that is wrong. A stranger costs a place in a table of fixed size: rows by address, columns by port,
//! and rows take turns. So who sends much, from one address or one port, is in its own way only.

// Addresses alone: no socket can be had from there.
use core::net::{IpAddr, SocketAddr};
use std::collections::{HashMap, HashSet};
use std::fmt;

use identity::PublicKey;
use rand_core::CryptoRng;

use super::packet::{ClientPacket, Extension, Hello};
use super::tunnel::{Accepted, Tunnel};
use super::{Answer, Ask};
use crate::wire::Whole;

const ROWS: usize = 64;
const COLUMNS: usize = 8;

/// How a server is set up.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    /// Tells servers apart that share an address.
    pub extension: Extension,
    /// As many connections at most; further clients are not answered, and try again.
    pub connections: usize,
    /// As many questions are with the key room at once, of either kind.
    pub questions: usize,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            extension: Extension::default(),
            connections: 100,
            questions: 32,
        }
    }
}

/// A question that is with the key room. It is answered once, with [`Answer::Refused`] if there is
/// nobody to answer it.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// The client's short-term key (C′).
    pub client: PublicKey,
    /// Where it is.
    pub from: SocketAddr,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hello,
    Initiate,
}

/// What comes of an answer.
#[derive(Debug)]
pub enum Outcome {
    /// Nothing; the client learns nothing either.
    Nothing,
    /// Send this.
    Transmit(SocketAddr, Box<Whole<200>>),
    /// A client has been let in. Its datagrams are from now on for whoever holds this, until
    /// [`Endpoint::close`].
    Open(Box<Accepted>),
}

/// One socket, many clients.
pub struct Endpoint<R> {
    config: EndpointConfig,
    rng: R,
    /// Keeps strangers from choosing whom they share a place with.
    key: [u8; 32],
    rows: [[Option<Stranger>; COLUMNS]; ROWS],
    /// How many places are taken.
    waiting: usize,
    /// Whose turn it is: row, and column by row.
    turn: usize,
    turns: [usize; ROWS],
    /// How many Hellos are with the key room.
    hellos: usize,
    /// The Initiates that are with the key room.
    pending: HashMap<PublicKey, Pending>,
    open: HashSet<PublicKey>,
}

/// A datagram that has not been asked about.
struct Stranger {
    from: SocketAddr,
    client: PublicKey,
    packet: Packet,
}

enum Packet {
    Hello(Box<Whole<{ Hello::SIZE }>>),
    Initiate(Vec<u8>),
}

impl Packet {
    fn kind(&self) -> Kind {
        match self {
            Self::Hello(_) => Kind::Hello,
            Self::Initiate(_) => Kind::Initiate,
        }
    }
}

/// An Initiate that has been asked about.
struct Pending {
    from: SocketAddr,
    packet: Vec<u8>,
    /// What has come from the same client since.
    next: Option<Vec<u8>>,
}

impl<R: CryptoRng> Endpoint<R> {
    /// A server without clients.
    pub fn new(config: EndpointConfig, mut rng: R) -> Self {
        let mut key = [0; 32];
        rng.fill_bytes(&mut key);
        Self {
            config,
            rng,
            key,
            rows: [const { [const { None }; COLUMNS] }; ROWS],
            waiting: 0,
            turn: 0,
            turns: [0; ROWS],
            hellos: 0,
            pending: HashMap::new(),
            open: HashSet::new(),
        }
    }

    /// Takes a datagram. Gives the short-term key (C′) of the connection that it is for, which is to
    /// open it; everything else has been seen to.
    pub fn handle(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<PublicKey> {
        let (to, client, packet) = match ClientPacket::parse(datagram)? {
            ClientPacket::Message(head) => {
                return self.open.contains(&head.client).then_some(head.client);
            }
            ClientPacket::Initiate(head) if self.open.contains(&head.client) => {
                return Some(head.client);
            }
            ClientPacket::Initiate(head) => {
                let packet = Packet::Initiate(datagram.to_vec());
                (head.to, head.client, packet)
            }
            ClientPacket::Hello(hello) => {
                let packet = Box::new(Whole(datagram.try_into().ok()?));
                (hello.to, hello.client, Packet::Hello(packet))
            }
        };
        if to == self.config.extension {
            self.meet(Stranger {
                from,
                client,
                packet,
            });
        }
        None
    }

    /// Gives a stranger a place, if its place is free.
    fn meet(&mut self, stranger: Stranger) {
        if let Packet::Initiate(packet) = &stranger.packet {
            if let Some(pending) = self.pending.get_mut(&stranger.client) {
                if pending.from == stranger.from && pending.packet != *packet {
                    pending.next.get_or_insert_with(|| packet.clone());
                }
                return;
            }
            if self.is_full() {
                return;
            }
        }
        let (row, column) = self.place(stranger.from);
        let Some(place) = self.rows.get_mut(row).and_then(|row| row.get_mut(column)) else {
            return;
        };
        match place.as_ref().map(|other| other.packet.kind()) {
            None => self.waiting += 1,
            // Who has a cookie goes before who wants one.
            Some(Kind::Hello) if stranger.packet.kind() == Kind::Initiate => {}
            Some(_) => return,
        }
        *place = Some(stranger);
    }

    fn is_full(&self) -> bool {
        self.open.len() + self.pending.len() >= self.config.connections
    }

    fn place(&self, from: SocketAddr) -> (usize, usize) {
        // Whoever has one IPv6 address has its network.
        let network = match from.ip().to_canonical() {
            IpAddr::V4(ip) => u64::from(ip.to_bits()),
            IpAddr::V6(ip) => (ip.to_bits() >> 64) as u64,
        };
        let hash = |number: u64| {
            let hash = blake3::keyed_hash(&self.key, &number.to_le_bytes());
            usize::from(hash.as_bytes()[0])
        };
        (
            hash(network) % ROWS,
            hash(network ^ u64::from(from.port()).rotate_right(16)) % COLUMNS,
        )
    }

    /// The next question for the key room. Ask after every datagram and every answer.
    pub fn poll(&mut self) -> Option<(Question, Ask)> {
        if self.waiting == 0 {
            return None;
        }
        let hellos = self.hellos < self.config.questions;
        let initiates = self.pending.len() < self.config.questions && !self.is_full();
        let stranger = (0..ROWS).find_map(|_| {
            self.turn = (self.turn + 1) % ROWS;
            let row = self.rows.get_mut(self.turn)?;
            let turn = self.turns.get_mut(self.turn)?;
            (0..COLUMNS).find_map(|_| {
                *turn = (*turn + 1) % COLUMNS;
                row.get_mut(*turn)?
                    .take_if(|stranger| match stranger.packet {
                        Packet::Hello(_) => hellos,
                        // A second one from elsewhere waits for the answer to the first.
                        Packet::Initiate(_) => {
                            initiates && !self.pending.contains_key(&stranger.client)
                        }
                    })
            })
        })?;
        self.waiting -= 1;
        Some(self.ask(stranger))
    }

    fn ask(&mut self, stranger: Stranger) -> (Question, Ask) {
        let Stranger {
            from,
            client,
            packet,
        } = stranger;
        let kind = packet.kind();
        let ask = match packet {
            Packet::Hello(packet) => {
                self.hellos += 1;
                Ask::Hello(packet)
            }
            Packet::Initiate(packet) => {
                let pending = Pending {
                    from,
                    packet: packet.clone(),
                    next: None,
                };
                self.pending.insert(client, pending);
                Ask::Initiate(packet)
            }
        };
        let question = Question { client, from, kind };
        (question, ask)
    }

    /// Takes the answer to a question.
    pub fn answer(&mut self, question: Question, answer: Answer) -> Outcome {
        let Question { client, from, kind } = question;
        match kind {
            Kind::Hello => {
                self.hellos = self.hellos.saturating_sub(1);
                match answer {
                    Answer::Cookie(packet) => Outcome::Transmit(from, packet),
                    _ => Outcome::Nothing,
                }
            }
            Kind::Initiate => match (self.pending.remove(&client), answer) {
                (Some(pending), Answer::Session(session)) => {
                    let Pending { from, packet, next } = pending;
                    let Some(mut accepted) = Tunnel::server(&packet, from, &session, &mut self.rng)
                    else {
                        return Outcome::Nothing;
                    };
                    if let Some(mut next) = next {
                        let message = accepted.tunnel.open(from, &mut next);
                        accepted.messages.extend(message.map(<[u8]>::to_vec));
                    }
                    self.open.insert(client);
                    Outcome::Open(Box::new(accepted))
                }
                _ => Outcome::Nothing,
            },
        }
    }

    /// The connection of that client is over.
    pub fn close(&mut self, client: &PublicKey) {
        self.open.remove(client);
    }

    /// How many clients are let in.
    pub fn connections(&self) -> usize {
        self.open.len()
    }
}

impl<R> fmt::Debug for Endpoint<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("open", &self.open.len())
            .field("pending", &self.pending.len())
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

// What strangers make us hold: places, most of it in packets of 1200 bytes at most.
const _: () = assert!(ROWS * COLUMNS * size_of::<Option<Stranger>>() <= 64 * 1024);
