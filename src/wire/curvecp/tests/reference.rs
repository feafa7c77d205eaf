//! What a sender and a receiver of the reference do that a peer must live with.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::super::message::{Block, Message, Received};
use super::super::*;
use super::world::bytes;

const MS: Duration = Duration::from_millis(1);

fn block(id: u32, position: u64, bytes: &[u8], end: Option<End>) -> Vec<u8> {
    let mut out = Vec::new();
    Message {
        id,
        acknowledges: 0,
        received: Received::default(),
        block: Some(Block {
            position,
            bytes,
            end,
        }),
    }
    .encode(&mut out);
    out
}

fn acknowledgement(id: u32, whole: u64) -> Vec<u8> {
    let mut out = Vec::new();
    Message {
        id: 0,
        acknowledges: id,
        received: Received {
            whole,
            ..Received::default()
        },
        block: None,
    }
    .encode(&mut out);
    out
}

/// What a stream says now: id, acknowledged id, range 1, position, length.
fn said(stream: &mut Stream, now: Instant) -> Vec<(u32, u32, u64, u64, usize)> {
    let mut all = Vec::new();
    loop {
        stream.look(now);
        let mut out = Vec::new();
        if !stream.transmit(now, 1088, &mut out) {
            return all;
        }
        let message = Message::parse(&out).unwrap();
        let block = message.block.unwrap();
        all.push((
            message.id,
            message.acknowledges,
            message.received.whole,
            block.position,
            block.bytes.len(),
        ));
    }
}

#[test]
fn an_idle_client_that_asks_for_ever_is_answered_each_time() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    for id in 1..5000 {
        stream.receive(now, &block(id, 0, b"", None));
        assert_eq!(said(&mut stream, now), [(0, id, 0, 0, 0)]);
        now += MS * 200;
    }
    stream.receive(now, &block(5000, 0, b"hello", Some(End::Success)));
    assert_eq!(stream.read(99), Some(Read::Data(b"hello".to_vec())));
    assert_eq!(stream.read(99), Some(Read::End(End::Success)));
    assert_eq!(said(&mut stream, now), [(0, 5000, 6, 0, 0)]);
}

#[test]
fn a_sender_that_sleeps_before_a_gap_is_woken() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.receive(now, &block(1, 0, b"abc", None));
    stream.receive(now, &block(3, 10, b"xyz", None));
    assert_eq!(stream.read(99), Some(Read::Data(b"abc".to_vec())));
    assert_eq!(said(&mut stream, now), [(0, 1, 3, 0, 0), (0, 3, 3, 0, 0)]);
    for _ in 0..100 {
        now += MS * 500;
        assert_eq!(said(&mut stream, now), [(0, 0, 3, 0, 0)]);
    }
    stream.receive(now, &block(4, 3, b"defghij", Some(End::Success)));
    assert_eq!(
        said(&mut stream, now),
        [],
        "the end is where something has come"
    );
    stream.receive(now, &block(5, 3, b"defghij", None));
    stream.receive(now, &block(6, 13, b"", Some(End::Success)));
    assert_eq!(stream.read(99), Some(Read::Data(b"defghijxyz".to_vec())));
    assert_eq!(said(&mut stream, now), [(0, 5, 14, 0, 0), (0, 6, 14, 0, 0)]);
    assert_eq!(said(&mut stream, now + MS * 100_000), []);
}

#[test]
fn a_sender_that_may_only_be_quiet_is_woken_less_and_less() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.receive(now, &block(1, 0, b"abc", None));
    stream.read(99);
    assert_eq!(said(&mut stream, now).len(), 1);
    let mut wakes = 0;
    for _ in 0..100_000 {
        now += MS * 100;
        wakes += said(&mut stream, now).len();
    }
    assert!((1..10).contains(&wakes), "{wakes}");
}

#[test]
fn a_sender_whose_answer_was_lost_is_woken() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.write(b"how are you?");
    stream.end(End::Success);
    assert_eq!(said(&mut stream, now).len(), 1);
    now += MS;
    stream.receive(now, &acknowledgement(1, 13));
    assert_eq!(said(&mut stream, now), []);
    for pause in [500, 1000, 2000] {
        now += MS * pause;
        assert_eq!(said(&mut stream, now), [(0, 0, 0, 0, 0)]);
    }
    stream.receive(now, &block(1, 0, b"well", Some(End::Success)));
    stream.read(99);
    assert_eq!(said(&mut stream, now), [(0, 1, 5, 0, 0)]);
    assert_eq!(said(&mut stream, now + MS * 100_000), []);
}

#[test]
fn a_server_that_goes_when_it_is_done_has_said_before_that_it_has_all() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.outlast();
    stream.write(b"hello");
    stream.end(End::Success);
    assert_eq!(said(&mut stream, now).len(), 1);
    // What it says to that is lost, but not its own stream, which is delivered.
    now += MS;
    stream.receive(now, &block(7, 0, b"bye", Some(End::Success)));
    assert_eq!(stream.read(99), Some(Read::Data(b"bye".to_vec())));
    assert_eq!(stream.read(99), Some(Read::End(End::Success)));
    assert_eq!(said(&mut stream, now), []);
    now += MS * 1000;
    let again = said(&mut stream, now);
    assert!(matches!(again[..], [(_, 0, 0, 0, 5)]), "{again:?}");
    stream.receive(now, &acknowledgement(again[0].0, 6));
    assert!(stream.is_done());
    assert_eq!(said(&mut stream, now), [(0, 0, 4, 0, 0)]);
    // That was lost, too.
    stream.receive(now, &block(8, 0, b"bye", Some(End::Success)));
    assert_eq!(said(&mut stream, now), [(0, 8, 4, 0, 0)]);
}

#[test]
fn a_stalled_application_stops_acknowledgements() {
    let now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.receive(now, &block(1, 0, b"abc", None));
    stream.receive(now, &block(2, 3, b"def", None));
    assert_eq!(said(&mut stream, now), []);
    stream.read(3);
    assert_eq!(said(&mut stream, now), []);
    stream.read(3);
    assert_eq!(said(&mut stream, now), [(0, 1, 6, 0, 0), (0, 2, 6, 0, 0)]);
}

#[test]
fn a_block_beyond_the_window_is_not_taken() {
    let now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.receive(now, &block(1, 131_072, b"x", None));
    stream.receive(now, &block(2, u64::MAX, b"x", None));
    assert_eq!(said(&mut stream, now), []);
    stream.receive(now, &block(3, 131_071, b"x", None));
    assert_eq!(said(&mut stream, now), [(0, 3, 0, 0, 0)]);
}

#[test]
fn an_unanswered_block_is_repeated_under_new_numbers() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Within(Duration::ZERO), now);
    assert_eq!(stream.write(b"hello"), 5);
    let mut ids = BTreeSet::new();
    for _ in 0..600 {
        for (id, _, _, position, length) in said(&mut stream, now) {
            assert!(ids.insert(id) && id != 0);
            assert_eq!((position, length), (0, 5));
        }
        now += MS * 100;
    }
    // Two seconds apart at most, so that a peer that wakes up is not waited for.
    assert!((20..40).contains(&ids.len()), "{}", ids.len());
    stream.end(End::Success);
    stream.receive(now, &acknowledgement(*ids.last().unwrap(), 5));
    now += MS;
    let end = said(&mut stream, now);
    assert!(matches!(end[..], [(_, 0, 0, 5, 0)]), "{end:?}");
    stream.receive(now, &acknowledgement(end[0].0, 5));
    assert!(!stream.is_sent());
    stream.receive(now, &acknowledgement(0, 6));
    assert!(stream.is_sent());
}

#[test]
fn an_empty_block_is_not_repeated_when_it_has_come() {
    let now = Instant::now();
    let mut stream = Stream::new(Start::Within(Duration::ZERO), now);
    assert_eq!(said(&mut stream, now), [(1, 0, 0, 0, 0)]);
    stream.receive(now + MS, &acknowledgement(1, 0));
    assert_eq!(said(&mut stream, now + MS * 60_000), []);
}

#[test]
fn what_was_overtaken_is_sent_again_at_once() {
    let now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.write(&bytes(3000));
    let first = said(&mut stream, now);
    assert_eq!(first.len(), 3);
    // The second one was lost.
    stream.receive(now + MS, &acknowledgement(1, 1024));
    stream.receive(now + MS, &acknowledgement(3, 1024));
    let again = said(&mut stream, now + MS);
    assert_eq!(again, [(4, 0, 0, 1024, 1024)]);
    stream.receive(now + MS * 2, &acknowledgement(4, 3000));
    stream.end(End::Success);
    assert_eq!(said(&mut stream, now + MS * 3), [(5, 0, 0, 3000, 0)]);
}

#[test]
fn no_more_is_under_way_or_buffered_than_the_reference_takes() {
    let mut now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    assert_eq!(stream.write(&bytes(500_000)), 131_072);
    assert_eq!(stream.room(), 0);
    let mut whole = 0;
    let mut most = 0;
    for _ in 0..100 {
        let sent = said(&mut stream, now);
        most = most.max(sent.len());
        now += MS;
        for (id, _, _, position, length) in sent {
            whole = whole.max(position + length as u64);
            stream.receive(now, &acknowledgement(id, whole));
        }
        stream.write(&bytes(500_000));
    }
    assert!((30..=128).contains(&most), "{most}");
}

#[test]
fn numbers_that_were_never_given_acknowledge_nothing() {
    let now = Instant::now();
    let mut stream = Stream::new(Start::Silent, now);
    stream.write(b"hello");
    assert_eq!(said(&mut stream, now).len(), 1);
    stream.receive(now, &acknowledgement(77, 0));
    stream.receive(now, &acknowledgement(u32::MAX, 0));
    assert_eq!(said(&mut stream, now), []);
    stream.receive(now, &acknowledgement(1, 5));
    stream.end(End::Failure);
    assert_eq!(said(&mut stream, now + MS).len(), 1);
}

proptest! {
    /// Blocks of one stream in any order, cut in any way, some twice.
    #[test]
    fn i9_any_order_of_blocks_gives_the_same_bytes(
        length in 1_usize..3000,
        cuts in prop::collection::vec((0_usize..3000, 1_usize..1024), 0..60),
        reads in 1_usize..5000,
    ) {
        let now = Instant::now();
        let data = bytes(length);
        let mut stream = Stream::new(Start::Silent, now);
        let mut come = vec![false; length];
        let mut acknowledged = BTreeSet::new();
        let mut read = Vec::new();
        let whole = (0..length).step_by(700).map(|at| (at, 700));
        for (id, (at, size)) in (1..).zip(cuts.into_iter().chain(whole)) {
            let begin = at.min(length);
            let end = (at + size).min(length);
            let how = (end == length).then_some(End::Success);
            stream.receive(now, &block(id, begin as u64, &data[begin..end], how));
            come[begin..end].fill(true);
            while let Some(Read::Data(bytes)) = stream.read(reads) {
                read.extend(bytes);
            }
            for (own, number, range, _, _) in said(&mut stream, now) {
                prop_assert_eq!(own, 0);
                prop_assert!(acknowledged.insert(number), "twice");
                let first = come.iter().position(|come| !come).unwrap_or(length + 1);
                prop_assert_eq!(range, first as u64, "what has not come");
            }
            prop_assert!(acknowledged.contains(&id));
        }
        prop_assert_eq!(read, data);
    }

    #[test]
    fn any_messages_leave_a_stream_sound(
        messages in prop::collection::vec(
            (any::<[u8; 48]>(), prop::collection::vec(any::<u8>(), 0..200), 0_u8..8), 0..40,
        ),
        written in 0_usize..3000,
    ) {
        let mut now = Instant::now();
        let mut stream = Stream::new(Start::Silent, now);
        stream.write(&bytes(written));
        for (mut head, rest, kind) in messages {
            // Small numbers meet something more often.
            if kind & 1 == 0 { head[1..4].fill(0); head[5..8].fill(0); }
            if kind & 2 == 0 { head[10..16].fill(0); head[42..48].fill(0); }
            if kind & 4 == 0 { head[39] &= 0x18; }
            stream.receive(now, &[&head[..], &rest].concat());
            stream.read(1000);
            said(&mut stream, now);
            now += MS * 10;
            prop_assert!(stream.deadline(now, 1088).is_none_or(|at| at + MS * 10 > now));
        }
    }
}
