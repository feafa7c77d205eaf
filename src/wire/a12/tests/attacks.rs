use std::time::Instant;

use proptest::prelude::*;

use super::pair::*;
use super::puppet::*;
use crate::wire::a12::control::{Control, VideoFrame};
use crate::wire::a12::event::{External, Record, Target};
use crate::wire::a12::packet::Kind;
use crate::wire::a12::{Command, Event, Role, Rounds};
use crate::wire::{Error, Input, Violation};

fn server() -> (End, Instant) {
    let now = Instant::now();
    let listener = Setup::default().listener(now, Seeded::new(1));
    (End::new(Box::new(listener), secret_key(SERVER_KEY), 2), now)
}

fn client(rounds: Rounds) -> (End, Instant) {
    let now = Instant::now();
    let initiator = Setup {
        rounds,
        ..Setup::default()
    }
    .initiator(now, Seeded::new(1));
    let mut end = End::new(Box::new(initiator), secret_key(CLIENT_KEY), 2);
    end.give(now, Input::Timeout);
    (end, now)
}

fn open() -> (End, Puppet, Instant) {
    let (mut end, now) = server();
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    puppet.seen(&end);
    (end, puppet, now)
}

fn ident(text: &str) -> Record {
    Record::External(External::Ident(text.into()))
}

#[test]
fn a_peers_own_packets_played_back_are_refused() {
    // Before the proof both directions have the same MAC key and empty MACs.
    for rounds in [Rounds::One, Rounds::Two] {
        let (mut end, now) = client(rounds);
        let own = end.sent.clone();
        end.feed(now, &own, || 999);
        assert!(matches!(end.error, Some(Error::Proto(_))));
        assert_eq!(end.sent, own);
    }
    // In a session the initiator's first packet carries the next number of its own direction.
    let (mut end, now) = client(Rounds::One);
    let puppet = Puppet::server(&mut end, now, Role::Sink);
    let event = External::Ident("mirror".into());
    end.give(now, Input::Command(Command::External { channel: 0, event }));
    let own = end.sent[puppet.read..].to_vec();
    end.feed(now, &own, || 999);
    assert!(matches!(end.error, Some(Error::Proto(_))));
    assert!(
        !end.events
            .iter()
            .any(|event| matches!(event, Event::Target { .. } | Event::Proved))
    );
}

#[test]
fn a_reflected_packet_whose_tag_verifies_fails_by_its_number() {
    // A tag covers the ciphertext only, so it verifies; the cipher keys differ, so the number is
    // noise, whatever the type has become.
    let mut numbers = 0;
    // One in 256 becomes an event packet; there is one in this range.
    for seed in 1200..1300_u64 {
        let (mut end, now) = client(Rounds::One);
        let puppet = Puppet::server_saying(&mut end, now, Role::Sink, seed.to_le_bytes());
        let event = External::Ident("mirror".into());
        end.give(now, Input::Command(Command::External { channel: 0, event }));
        let own = end.sent[puppet.read..].to_vec();
        end.feed(now, &own, || 999);
        assert_eq!(end.events.len(), 1, "only that it is established");
        numbers += usize::from(end.error == proto(Violation::Sequence));
    }
    assert!(numbers > 0);
}

#[test]
fn a_replayed_packet_is_refused() {
    let (mut end, mut puppet, now) = open();
    let packet = puppet.event(0, ident("once"));
    end.feed(now, &packet, || 999);
    let events = end.events.len();
    end.feed(now, &packet, || 999);
    assert!(matches!(end.error, Some(Error::Proto(_))));
    assert_eq!(end.events.len(), events);
}

#[test]
fn a_replayed_connection_proves_nothing() {
    let (mut end, now) = server();
    let mut puppet = Puppet::challenged(&mut end, now, Rounds::One, 1);
    let hello = first("SETECASTRONOMY", &client_hello(1, 1));
    let proof = puppet.event(0, ident("recorded"));
    end.feed(now, &proof, || 999);
    assert_eq!(end.error, None);

    // The same bytes again: the host chooses another nonce.
    let listener = Setup::default().listener(now, Seeded::new(1));
    let mut end = End::new(Box::new(listener), secret_key(SERVER_KEY), 3);
    end.feed(now, &[hello, proof].concat(), || 999);
    assert!(matches!(end.error, Some(Error::Access(_))));
    assert_eq!(end.events, []);
}

#[test]
fn a_jump_in_the_numbers_is_refused() {
    for jump in [1, 2, 1 << 40] {
        let (mut end, mut puppet, now) = open();
        puppet.outbound.skip(jump);
        let packet = puppet.event(0, ident("later"));
        end.feed(now, &packet, || 999);
        assert_eq!(end.error, proto(Violation::Sequence));
    }
}

#[test]
fn types_that_must_not_appear_are_refused() {
    for kind in [0, 6, 7, 9, 255] {
        let (mut end, mut puppet, now) = open();
        let mut packet = Vec::new();
        puppet.outbound.seal_raw(kind, &[0; 128], &mut packet);
        end.feed(now, &packet, || 999);
        assert_eq!(end.error, proto(Violation::PacketType(kind)));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    for (at, video) in (0..164)
        .map(|at| (at, false))
        .chain((0..62).map(|at| (at, true)))
    {
        let (mut end, mut puppet, now) = open();
        let mut packet = match video {
            false => puppet.event(0, ident("hello")),
            true => puppet.data(Kind::Video, 0, &[0; 30]),
        };
        let more = puppet.data(Kind::Binary, 0, &[0; 65_535]);
        packet[at] ^= 0x10;
        let events = end.events.len();
        end.feed(now, &[packet, more].concat(), || 5000);
        assert!(matches!(end.error, Some(Error::Proto(_))), "at {at}");
        assert_eq!(end.events.len(), events);
    }
}

#[test]
fn an_empty_data_packet_is_verified_too() {
    let (mut end, mut puppet, now) = open();
    let mut packet = puppet.data(Kind::Video, 0, &[]);
    end.feed(now, &packet, || 999);
    assert_eq!(end.error, None);
    packet = puppet.data(Kind::Video, 0, &[]);
    packet[3] ^= 1;
    end.feed(now, &packet, || 999);
    assert_eq!(end.error, proto(Violation::Tag));
}

#[test]
fn what_came_before_a_failure_stays_true_and_nothing_is_sent_after_it() {
    let (mut end, mut puppet, now) = open();
    let frame = VideoFrame {
        stream: 1,
        format: 0,
        surface: [1, 1],
        at: [0, 0],
        region: [1, 1],
        flags: 0,
        length: 4,
        expanded: 4,
        commit: true,
    };
    let bytes = [
        puppet.event(0, ident("before")),
        puppet.control(0, &Control::VideoFrame(frame)),
        puppet.data(Kind::Video, 0, &[0; 4]),
        vec![0; 153],
    ]
    .concat();
    let (events, sent) = (end.events.len(), end.sent.len());
    end.feed(now, &bytes, || 9999);
    assert!(matches!(end.error, Some(Error::Proto(_))));
    assert_eq!((end.events.len(), end.sent.len()), (events + 2, sent));
}

#[test]
fn i11_secrets_tags_and_keys_are_compared_in_constant_time() {
    let packet = include_str!("../packet.rs");
    assert_eq!(packet.matches(".ct_eq(").count(), 2, "two kinds of tag");
    for (name, text) in [
        ("packet", packet),
        ("keys", include_str!("../keys.rs")),
        ("keyroom", include_str!("../keyroom.rs")),
        ("listener", include_str!("../listener.rs")),
        ("initiator", include_str!("../initiator.rs")),
        ("line", include_str!("../line.rs")),
        ("crypto", include_str!("../../crypto.rs")),
    ] {
        let code = text.split("#[cfg(test)]").next().unwrap();
        for line in code.lines() {
            let compares = line.contains("==") || line.contains("!=");
            let secret = ["tag", "mac", "key", "secret", "cipher", "nonce"]
                .iter()
                .any(|word| line.contains(word));
            assert!(!(compares && secret), "{name}: {line}");
        }
        let mut derives = "";
        for line in code.lines() {
            if line.starts_with("#[derive") {
                derives = line;
            } else if line.contains("struct") {
                let keys = ["StageKeys", "RatchetKeys", "SecretKey", "SharedSecret"];
                if keys
                    .iter()
                    .any(|key| line.contains(&format!("struct {key}")))
                {
                    assert!(!derives.contains("PartialEq"), "{name}: {line}");
                }
                derives = "";
            }
        }
    }
}

/// A listener in one of the states in which it takes bytes.
fn listener_in(state: usize) -> (End, Option<Puppet>, Instant) {
    let (mut end, now) = server();
    let puppet = match state {
        0 => None,
        1 => Some(Puppet::second(&mut end, now, 1)),
        2 => Some(Puppet::challenged(&mut end, now, Rounds::One, 1)),
        3 => Some(Puppet::challenged(&mut end, now, Rounds::Two, 1)),
        _ => Some(Puppet::client(&mut end, now, Rounds::Two, Role::Source)),
    };
    (end, puppet, now)
}

fn initiator_in(state: usize) -> (End, Option<Puppet>, Instant) {
    let rounds = match state {
        0 => Rounds::Two,
        _ => Rounds::One,
    };
    let (mut end, now) = client(rounds);
    let puppet = match state {
        0 | 1 => None,
        _ => Some(Puppet::server(&mut end, now, Role::Sink)),
    };
    (end, puppet, now)
}

/// One packet of a conversation.
#[derive(Debug, Clone)]
enum Said {
    Control(u8, [u8; 32]),
    Ident(String),
    Raw([u8; 32]),
    Data(u8, Vec<u8>),
    Frame(VideoFrame),
    Rekey(u8),
}

fn said() -> impl Strategy<Value = Said> {
    let byte = || any::<u8>();
    prop_oneof![
        (1..16_u8, any::<[u8; 32]>()).prop_map(|(command, body)| Said::Control(command, body)),
        "[a-z]{0,20}".prop_map(Said::Ident),
        any::<[u8; 32]>().prop_map(Said::Raw),
        (3..6_u8, prop::collection::vec(byte(), 0..400))
            .prop_map(|(kind, data)| { Said::Data(kind, data) }),
        (0..10_u8, 0..9_u16, 0..9_u16, 0..400_u32).prop_map(|(format, width, height, length)| {
            Said::Frame(VideoFrame {
                stream: 1,
                format,
                surface: [width, height],
                at: [0, 0],
                region: [width, height],
                flags: format & 1,
                length,
                expanded: length,
                commit: true,
            })
        }),
        (1..200_u8).prop_map(Said::Rekey),
    ]
}

impl Said {
    fn packet(&self, puppet: &mut Puppet) -> Vec<u8> {
        match self {
            Self::Control(command, bytes) => {
                let mut body = [0; 128];
                body[17] = *command;
                body[18..50].copy_from_slice(bytes);
                puppet.seal(Kind::Control, &body)
            }
            Self::Ident(text) => puppet.event(0, ident(text)),
            Self::Raw(bytes) => {
                let mut body = [0; 139];
                body[8] = bytes[0] & 1;
                body[9] = 17;
                for (at, byte) in (11..).zip(bytes) {
                    body[at] = *byte;
                }
                body[131] = [64, 16, 2, 0][usize::from(bytes[1] & 3)];
                puppet.seal(Kind::Event, &body)
            }
            Self::Data(kind, data) => {
                let kind = [Kind::Audio, Kind::Video, Kind::Binary][usize::from(kind - 3)];
                puppet.data(kind, 0, data)
            }
            Self::Frame(frame) => puppet.control(0, &Control::VideoFrame(*frame)),
            Self::Rekey(key) => puppet.rekey(*key),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn i9_any_split_of_the_same_bytes_gives_the_same_events(
        conversation in prop::collection::vec(said(), 0..20),
        cuts in prop::collection::vec(1..400_usize, 1..30),
        listens: bool,
    ) {
        let run = |cuts: &[usize]| {
            let (mut end, puppet, now) = match listens {
                true => listener_in(4),
                false => initiator_in(2),
            };
            let mut puppet = puppet.unwrap();
            puppet.seen(&end);
            let bytes: Vec<u8> = conversation
                .iter()
                .flat_map(|said| said.packet(&mut puppet))
                .collect();
            let mut cuts = cuts.iter().cycle();
            end.feed(now, &bytes, || *cuts.next().unwrap());
            (end.events, end.error)
        };
        prop_assert_eq!(run(&cuts), run(&[usize::MAX]));
    }

    #[test]
    fn i9_any_split_of_a_handshake_gives_the_same(seed: u64, rounds: bool) {
        let mut pair = Setup {
            rounds: if rounds { Rounds::Two } else { Rounds::One },
            seed: seed >> 8,
            ..Setup::default()
        }
        .pair();
        pair.drive();
        pair.client_says(Command::External {
            channel: 0,
            event: External::Failure,
        });
        pair.drive();
        pair.assert_well();
        prop_assert_eq!(pair.server.events.len(), 2);
        prop_assert_eq!(pair.client.events.len(), 2);
    }

    #[test]
    fn i9_any_bytes_give_a_clean_error_in_any_state(
        state in 0..5_usize,
        listens: bool,
        bytes in prop::collection::vec(any::<u8>(), 0..1000),
        portion in 1..400_usize,
    ) {
        let (mut end, _, now) = match listens {
            true => listener_in(state),
            false => initiator_in(state % 3),
        };
        let events = end.events.len();
        end.feed(now, &bytes, || portion);
        end.give(now, Input::Eof);
        prop_assert_eq!(end.events.len(), events);
        prop_assert!(bytes.is_empty() || end.error.is_some());
    }

    #[test]
    fn i9_any_sealed_packets_give_events_or_a_clean_error(
        conversation in prop::collection::vec(said(), 0..20),
        state in 1..5_usize,
    ) {
        let (mut end, puppet, now) = listener_in(state);
        let mut puppet = puppet.unwrap();
        for said in conversation {
            let packet = said.packet(&mut puppet);
            end.feed(now, &packet, || 999);
        }
        end.give(now, Input::Command(Command::Target {
            channel: 0,
            event: Target::Activate,
        }));
    }
}
