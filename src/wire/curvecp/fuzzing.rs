//! What a fuzzer calls: any bytes in, and a panic if something does not hold.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a fuzzer is told by a panic"
)]

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::keyroom::{self, COOKIES};
use super::message::Message;
use super::packet::{ClientPacket, Cookie, InitiateHead, MESSAGE, ServerHead};
use super::tunnel::Introducing;
use super::{
    Answer, Ask, Connection, Endpoint, EndpointConfig, Extension, IDLE, Outcome, Output, Read,
    Start, Stream, Tunnel,
};
use crate::wire::cookie::Jar;
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;
use crate::wire::{Refusal, Whole};

const FROM: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4000);

/// A datagram: at a server's endpoint, in its key room, and at a client.
pub(crate) fn packets(now: Instant, data: &[u8]) {
    let parsed = ClientPacket::parse(data);
    let head = match &parsed {
        Some(ClientPacket::Hello(hello)) => Some(hello.encode().to_vec()),
        Some(ClientPacket::Initiate(head)) => Some(head.encode().to_vec()),
        Some(ClientPacket::Message(head)) => Some(head.encode().to_vec()),
        None => ServerHead::parse(data).map(|head| head.encode().to_vec()),
    };
    if let Some(head) = head {
        // A client's Hello has 64 bytes that mean nothing.
        let same = data.starts_with(&head) || matches!(parsed, Some(ClientPacket::Hello(_)));
        assert!(same, "it is written otherwise");
        assert!(data.len() <= super::packet::PACKET);
    }
    if let Some(cookie) = data.try_into().ok().and_then(Cookie::parse) {
        assert_eq!(cookie.encode(), data);
    }
    server(now, data);
    client(now, data);
}

/// No datagram proves a key that was not made with it.
fn server(now: Instant, data: &[u8]) {
    let mut rng = ChaCha8Rng::from_seed([1; 32]);
    let config = EndpointConfig {
        extension: parse_extension(data).unwrap_or_default(),
        ..EndpointConfig::default()
    };
    let extension = config.extension;
    let mut endpoint = Endpoint::new(config, ChaCha8Rng::from_seed([2; 32]));
    assert_eq!(endpoint.handle(FROM, data), None, "a stranger is known");
    let Some((question, ask)) = endpoint.poll() else {
        return;
    };
    assert_eq!(endpoint.poll(), None, "one datagram, two questions");
    let hosts = [&*OWN];
    let mut jar = Jar::new(COOKIES, now, &mut rng);
    let name = "a.b".parse().unwrap();
    match ask {
        Ask::Hello(hello) => {
            let cookie = keyroom::cookie(&hello, extension, &hosts, &mut jar, now, &mut rng);
            assert!(cookie.is_err(), "a box without the key");
        }
        Ask::Initiate(packet) => {
            let proved = keyroom::initiate(&packet, &hosts, &name, &mut jar, now, &mut rng);
            assert!(proved.is_err(), "a proof without the key");
        }
        Ask::Vouch { .. } => panic!("a server does not vouch"),
    }
    let refused = Answer::Refused(Refusal::NotAccepted);
    let outcome = endpoint.answer(question, refused);
    assert!(matches!(outcome, Outcome::Nothing));
}

/// Where the server's extension would be.
fn parse_extension(data: &[u8]) -> Option<Extension> {
    data.get(8..)?.first_chunk().copied().map(Extension)
}

/// A client, and a server's connection, take nothing that is not sealed for them.
fn client(now: Instant, data: &[u8]) {
    let mut tunnel = Tunnel::client(Introducing {
        to: FROM,
        own: parse_extension(data).unwrap_or_default(),
        peer: Extension::default(),
        sent: 7,
        client: OWN.public().unwrap(),
        session: &SESSION,
        cookie: [3; 96],
        key: OWN.public().unwrap(),
        vouch: &Whole([4; 64]),
        name: &"a.b".parse().unwrap(),
    });
    assert_eq!(tunnel.open(FROM, &mut data.to_vec()), None);
    let mut first = Vec::new();
    assert!(tunnel.seal(&[0; 192], &mut first));
    assert!(InitiateHead::parse(&first).is_some());
    let mut rng = ChaCha8Rng::from_seed([3; 32]);
    let accepted = Tunnel::server(&first, FROM, &SESSION, &mut rng).unwrap();
    let mut connection = Connection::new(accepted.tunnel, Start::Silent, IDLE, now);
    connection.receive(now, FROM, &mut data.to_vec());
    let output = connection.poll(now, &mut Vec::new());
    assert!(matches!(output, Output::Idle(Some(_))), "{output:?}");
}

static OWN: LazyLock<SecretKey> = LazyLock::new(|| SecretKey::from_bytes([0x22; 32]));
static SESSION: LazyLock<BoxKey> = LazyLock::new(|| BoxKey::secret([0x33; 32]));

/// Messages of a peer, each behind its length in units of 16 bytes; other first bytes are things
/// that happen at our side. The first byte of all says how the stream begins.
pub(crate) fn stream(now: Instant, data: &[u8]) {
    let Some((how, mut rest)) = data.split_first() else {
        return;
    };
    let start = match how & 1 {
        0 => Start::Silent,
        _ => Start::Within(Duration::ZERO),
    };
    let mut now = now;
    let mut seen = Seen {
        stream: Stream::new(start, now),
        come: BTreeMap::new(),
        most: 0,
    };
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match first {
            1..=68 => {
                let length = usize::from(first) * 16;
                let (message, after) = rest.split_at(length.min(rest.len()));
                rest = after;
                seen.receive(now, message);
            }
            69..=128 => drop(seen.stream.read(usize::from(first) * 8)),
            129..=192 => drop(seen.stream.write(&[first; 700])),
            193 => seen.stream.end(super::End::Success),
            194 => seen.stream.end(super::End::Failure),
            0 | 195.. => now += Duration::from_millis(4 * u64::from(first)),
        }
        if how & 2 != 0 {
            while let Some(Read::Data(_)) = seen.stream.read(usize::MAX) {}
        }
        seen.transmit(now);
    }
}

struct Seen {
    stream: Stream,
    /// How often each number has come without being acknowledged.
    come: BTreeMap<u32, usize>,
    /// No byte beyond this has come.
    most: u64,
}

impl Seen {
    fn receive(&mut self, now: Instant, message: &[u8]) {
        if let Some(message) = Message::parse(message)
            && let Some(block) = message.block
        {
            *self.come.entry(message.id).or_default() += 1;
            let end = block.position.saturating_add(block.bytes.len() as u64);
            self.most = self.most.max(end);
        }
        self.stream.receive(now, message);
    }

    fn transmit(&mut self, now: Instant) {
        for _ in 0..1000 {
            self.stream.look(now);
            let mut out = Vec::new();
            if !self.stream.transmit(now, MESSAGE, &mut out) {
                let next = self.stream.deadline(now, MESSAGE);
                assert!(next.is_none_or(|at| at > now), "a deadline has passed");
                assert!(self.stream.room() <= 131_072);
                return;
            }
            assert!([192, 320, 576, 1088].contains(&out.len()));
            let message = Message::parse(&out).unwrap();
            assert!(message.block.is_some());
            assert!(message.received.whole <= self.most.saturating_add(1));
            if message.acknowledges != 0 {
                let come = self.come.get_mut(&message.acknowledges);
                let left = come.and_then(|come| come.checked_sub(1).map(|less| *come = less));
                assert!(left.is_some(), "acknowledged without having come");
            }
        }
        panic!("it never stops");
    }
}
