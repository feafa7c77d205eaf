//! How far we go ahead of a peer that has more to send than fits.

use std::time::{Duration, Instant};

use super::super::message::{BLOCK, Block, Message, Received};
use super::super::packet::MESSAGE;
use super::super::{Start, Stream};

/// A stream with a peer that acknowledges all at once, and in between sends what it is told to.
struct Peer {
    stream: Stream,
    now: Instant,
    received: u64,
    sent: u64,
    id: u32,
}

impl Peer {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            stream: Stream::new(Start::Silent, now),
            now,
            received: 0,
            sent: 0,
            id: 0,
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.id += 1;
        let message = Message {
            id: self.id,
            acknowledges: 0,
            received: Received {
                whole: self.received,
                ..Received::default()
            },
            block: Some(Block {
                position: self.sent,
                bytes,
                end: None,
            }),
        };
        let mut out = Vec::new();
        message.encode(&mut out);
        self.sent += bytes.len() as u64;
        self.stream.receive(self.now, &out);
        while self.stream.read(usize::MAX).is_some() {}
    }

    /// Takes all that comes within so long; how much it was.
    fn take(&mut self, time: Duration) -> u64 {
        let (until, before) = (self.now + time, self.received);
        while self.received - before < 10_000_000 {
            while self.stream.write(&[7; 4096]) > 0 {}
            let mut out = Vec::new();
            self.stream.look(self.now);
            let sent = self.stream.transmit(self.now, MESSAGE, &mut out);
            if sent {
                self.acknowledge(&out);
            }
            let next = self.stream.deadline(self.now, MESSAGE);
            match next.filter(|next| *next <= until) {
                // Something passes with each packet.
                Some(next) => self.now = next.max(self.now + Duration::from_micros(20)),
                None if sent => {}
                None => break,
            }
        }
        self.now = until.max(self.now);
        self.received - before
    }
}

impl Peer {
    fn acknowledge(&mut self, message: &[u8]) {
        let message = Message::parse(message).unwrap();
        let length = message.block.map_or(0, |block| block.bytes.len() as u64);
        self.received += length;
        if message.id == 0 {
            return;
        }
        let answer = Message {
            id: 0,
            acknowledges: message.id,
            received: Received {
                whole: self.received,
                ..Received::default()
            },
            block: None,
        };
        let mut out = Vec::new();
        answer.encode(&mut out);
        self.stream.receive(self.now, &out);
    }
}

const SOON: Duration = Duration::from_millis(500);

#[test]
fn who_sends_nothing_holds_nothing_back() {
    assert!(Peer::new().take(SOON) > 1_000_000);
}

#[test]
fn we_are_not_far_ahead_of_a_peer_that_echoes_more_than_fits() {
    let mut peer = Peer::new();
    for _ in 0..50 {
        peer.send(&[1; BLOCK]);
        peer.take(SOON / 10);
        assert!(peer.received <= peer.sent + 131_072 + BLOCK as u64);
    }
    assert!(peer.received > 131_072);
}

#[test]
fn a_peer_that_has_no_more_to_send_or_goes_silent_holds_nothing_back() {
    let mut peer = Peer::new();
    peer.send(&[1; BLOCK]);
    assert!(peer.take(SOON) < 200_000);
    peer.send(&[1; 10]);
    assert!(peer.take(SOON) > 1_000_000);
    let mut silent = Peer::new();
    silent.send(&[1; BLOCK]);
    assert!(silent.take(SOON) < 200_000);
    assert!(silent.take(Duration::from_secs(3)) > 1_000_000);
}
