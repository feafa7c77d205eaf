//! A peer that says anything, in well-sealed packets: its strings are in the test's hands.

use super::pair::{CLIENT_KEY, End, SERVER_KEY, initial, secret_key};
use crate::wire::Input;
use crate::wire::a12::control::{Control, Header, Mode, Rekey};
use crate::wire::a12::event::{self, Record};
use crate::wire::a12::handshake::{hello_body, public_key};
use crate::wire::a12::packet::{Direction, Kind, Opener, Packet};
use crate::wire::a12::{RatchetKeys, Role, Rounds, StageKeys};
use crate::wire::crypto::SecretKey;
use identity::PublicKey;
use std::time::Instant;

/// What the machine has sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Seen {
    Control(Header, Control),
    Event {
        last_seen: u64,
        channel: u8,
        event: Record,
    },
}

pub(crate) struct Puppet {
    pub(crate) outbound: Direction,
    pub(crate) inbound: Opener,
    /// How much of what the machine sent has been read.
    pub(crate) read: usize,
    pub(crate) own: SecretKey,
    pub(crate) peer: PublicKey,
}

pub(crate) const NONCE: [u8; 8] = [9; 8];

/// A first packet.
pub(crate) fn first(secret: &str, body: &[u8; 128]) -> Vec<u8> {
    let mut packet = Vec::new();
    Direction::first(&initial(secret), NONCE).seal_first(NONCE, body, &mut packet);
    packet
}

/// A client's HELLO.
pub(crate) fn client_hello(mode: u8, role: u8) -> [u8; 128] {
    let key = match mode {
        2 => EPHEMERAL_KEY,
        _ => CLIENT_KEY,
    };
    let public = secret_key(key).public().unwrap();
    let mut body = hello_body(Mode::from(mode), &public, Role::Source, 0, [1; 8]);
    body[54] = role;
    body
}

impl Puppet {
    /// After the ephemeral round with a listener.
    pub(crate) fn second(end: &mut End, now: Instant, role: u8) -> Self {
        let first = first("SETECASTRONOMY", &client_hello(2, role));
        assert!(end.feed(now, &first, || 999).is_empty());
        let mut inbound = Direction::server(&initial("SETECASTRONOMY"), NONCE, 0);
        let reply = inbound
            .open_control(end.sent[..].try_into().unwrap())
            .unwrap();
        let (header, Control::Hello(hello)) = Control::parse(&reply) else {
            panic!("a HELLO is answered by one");
        };
        assert_eq!(hello.mode, Mode::Ephemeral);
        let peer = public_key(&hello.key).unwrap();
        let keys = StageKeys::agreed(&secret_key(EPHEMERAL_KEY).agree(&peer), header.entropy);
        Self {
            outbound: Direction::client(&keys, header.entropy, 1),
            inbound: Opener::new(Direction::server(&keys, header.entropy, 1)),
            read: 153,
            own: secret_key(CLIENT_KEY),
            peer,
        }
    }

    /// A client that has seen the listener's real key, and has not proved its own.
    pub(crate) fn challenged(end: &mut End, now: Instant, rounds: Rounds, role: u8) -> Self {
        let hello = client_hello(1, role);
        let mut puppet = match rounds {
            Rounds::One => {
                let packet = first("SETECASTRONOMY", &hello);
                assert!(end.feed(now, &packet, || 999).is_empty());
                let keys = initial("SETECASTRONOMY");
                Self {
                    outbound: Direction::client(&keys, NONCE, 1),
                    inbound: Opener::new(Direction::server(&keys, NONCE, 0)),
                    read: 0,
                    own: secret_key(CLIENT_KEY),
                    peer: secret_key(SERVER_KEY).public().unwrap(),
                }
            }
            Rounds::Two => {
                let mut puppet = Self::second(end, now, role);
                let packet = puppet.seal(Kind::Control, &hello);
                assert!(end.feed(now, &packet, || 999).is_empty());
                puppet
            }
        };
        let seen = puppet.seen(end);
        let [Seen::Control(header, Control::Hello(hello))] = &seen[..] else {
            panic!("a HELLO is answered by one, not by {seen:?}");
        };
        puppet.peer = public_key(&hello.key).unwrap();
        puppet.enter(header.entropy, true);
        puppet
    }

    /// A client that has been let in and knows what the listener has sent.
    pub(crate) fn client(end: &mut End, now: Instant, rounds: Rounds, role: Role) -> Self {
        let mut puppet = Self::challenged(end, now, rounds, role as u8);
        let proof = puppet.control(0, &Control::Ping(0));
        assert!(end.feed(now, &proof, || 999).is_empty());
        assert_eq!(end.error, None);
        puppet
    }

    /// The server of an initiator that makes one round.
    pub(crate) fn server(end: &mut End, now: Instant, role: Role) -> Self {
        Self::server_saying(end, now, role, NONCE)
    }

    /// The same with this nonce.
    pub(crate) fn server_saying(end: &mut End, now: Instant, role: Role, session: [u8; 8]) -> Self {
        end.give(now, Input::Timeout);
        let keys = initial("SETECASTRONOMY");
        let nonce = end.sent[8..16].try_into().unwrap();
        let mut outbound = Direction::server(&keys, nonce, 0);
        let public = secret_key(SERVER_KEY).public().unwrap();
        let body = hello_body(Mode::Static, &public, role, 0, session);
        let mut reply = Vec::new();
        outbound.seal(Kind::Control, &[&body], &mut reply);
        assert!(end.feed(now, &reply, || 999).is_empty());
        let mut puppet = Self {
            outbound,
            inbound: Opener::new(Direction::client(&keys, nonce, 1)),
            read: end.sent.len(),
            own: secret_key(SERVER_KEY),
            peer: secret_key(CLIENT_KEY).public().unwrap(),
        };
        puppet.enter(session, false);
        puppet
    }

    /// Changes to the session's keys.
    fn enter(&mut self, nonce: [u8; 8], client: bool) {
        let keys = StageKeys::agreed(&self.own.agree(&self.peer), nonce);
        let (sent, received) = (self.outbound.sequence(), self.inbound.last_seen() + 1);
        let (to_server, to_client) = match client {
            true => (sent, received),
            false => (1, 1),
        };
        let to_server = Direction::client(&keys, nonce, to_server);
        let to_client = Direction::server(&keys, nonce, to_client);
        let (outbound, inbound) = match client {
            true => (to_server, to_client),
            false => (to_client, to_server),
        };
        self.outbound = outbound;
        self.inbound = Opener::new(inbound);
    }

    pub(crate) fn seal(&mut self, kind: Kind, body: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        self.outbound.seal(kind, &[body], &mut packet);
        packet
    }

    pub(crate) fn control(&mut self, channel: u8, control: &Control) -> Vec<u8> {
        let header = Header {
            channel,
            ..Header::default()
        };
        self.seal(Kind::Control, &control.encode(&header))
    }

    pub(crate) fn event(&mut self, channel: u8, event: Record) -> Vec<u8> {
        let packet = event::Packet {
            last_seen: 0,
            channel,
            event,
        };
        self.seal(Kind::Event, &packet.encode())
    }

    pub(crate) fn data(&mut self, kind: Kind, channel: u8, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(bytes.len()).unwrap().to_le_bytes();
        let body = [&[channel, 0xca, 0xba, 0xac, 0xba][..], &length, bytes].concat();
        self.seal(kind, &body)
    }

    /// Ratchets, whether it may or not.
    pub(crate) fn rekey(&mut self, own: u8) -> Vec<u8> {
        self.own = secret_key(own);
        let rekey = Control::Rekey(Rekey::Ratchet {
            key: *self.own.public().unwrap().as_bytes(),
        });
        let header = Header {
            entropy: [own; 8],
            ..Header::default()
        };
        let packet = self.seal(Kind::Control, &rekey.encode(&header));
        let keys = RatchetKeys::agreed(&self.own.agree(&self.peer));
        self.outbound.ratchet(&keys, header.entropy);
        packet
    }

    /// Opens what the machine has sent since the last time, following its ratchets.
    pub(crate) fn seen(&mut self, end: &End) -> Vec<Seen> {
        self.inbound.push(&end.sent[self.read..]);
        self.read = end.sent.len();
        let mut seen = Vec::new();
        loop {
            let item = match self.inbound.next().unwrap() {
                None => return seen,
                Some(Packet::Control(body)) => {
                    let (header, control) = Control::parse(body);
                    Seen::Control(header, control)
                }
                Some(Packet::Event(body)) => Seen::Event {
                    last_seen: u64::from_le_bytes(body[..8].try_into().unwrap()),
                    channel: body[8],
                    event: Record::parse(body[11..].try_into().unwrap()).unwrap(),
                },
                Some(Packet::Data(data)) => panic!("no data is sent: {data:?}"),
            };
            if let Seen::Control(header, Control::Rekey(Rekey::Ratchet { key })) = &item {
                self.peer = public_key(key).unwrap();
                let keys = RatchetKeys::agreed(&self.own.agree(&self.peer));
                self.inbound.ratchet(&keys, header.entropy);
            }
            seen.push(item);
        }
    }

    /// The same without headers and channels.
    pub(crate) fn controls(&mut self, end: &End) -> Vec<Control> {
        self.seen(end)
            .into_iter()
            .filter_map(|seen| match seen {
                Seen::Control(_, control) => Some(control),
                Seen::Event { .. } => None,
            })
            .collect()
    }
}

pub(crate) const EPHEMERAL_KEY: u8 = 0x33;
