use proptest::prelude::*;

use super::*;

fn keys() -> StageKeys {
    let secret = identity::Secret::parse(b"SETECASTRONOMY").unwrap();
    StageKeys::initial(&secret)
}

fn pair() -> (Direction, Opener) {
    let direction = || Direction::server(&keys(), [5; 8], 41);
    (direction(), Opener::new(direction()))
}

fn data(length: usize) -> Vec<u8> {
    let announced = u16::try_from(length).unwrap().to_le_bytes();
    let mut body = vec![3, 1, 0, 0, 0, announced[0], announced[1]];
    body.extend((0..length).map(|at| at as u8));
    body
}

#[test]
fn the_first_packet_is_its_own_kind() {
    let mut packet = Vec::new();
    Direction::first(&keys(), [1; 8]).seal_first([1; 8], &[9; CONTROL], &mut packet);
    let packet: [u8; CONTROL_PACKET] = packet.try_into().unwrap();
    assert_eq!(first_nonce(&packet), [1; 8]);
    assert!(bool::from(first_tag(&keys(), &packet)));
    let body = Direction::first(&keys(), [1; 8]).open_first(packet);
    assert_eq!(body, Ok([9; CONTROL]));
    // Another nonce is another packet.
    let mut moved = packet;
    moved[8] ^= 1;
    assert!(!bool::from(first_tag(&keys(), &moved)));
}

#[test]
fn kinds_and_lengths_come_back() {
    let (mut direction, mut opener) = pair();
    let mut out = Vec::new();
    direction.seal(Kind::Control, &[&[1; 100], &[2; 28]], &mut out);
    direction.seal(Kind::Event, &[&[3; EVENT]], &mut out);
    for length in [0, 1, 300, 65_535] {
        direction.seal(Kind::Binary, &[&data(length)], &mut out);
    }
    assert_eq!(out.len(), 153 + 164 + 4 * 32 + 65_836);
    opener.push(&out);
    assert!(matches!(opener.next(), Ok(Some(Packet::Control(body))) if body[99..101] == [1, 2]));
    assert_eq!(opener.last_seen(), 41);
    assert_eq!(opener.next(), Ok(Some(Packet::Event(&[3; EVENT]))));
    for length in [0, 1, 300, 65_535] {
        let Ok(Some(Packet::Data(piece))) = opener.next() else {
            panic!("a data packet of {length} bytes");
        };
        assert_eq!(
            (piece.kind, piece.channel, piece.stream),
            (Kind::Binary, 3, 1)
        );
        assert_eq!(piece.bytes, &data(length)[7..]);
    }
    assert_eq!(opener.next(), Ok(None));
    assert!(opener.is_between_packets());
    assert_eq!(opener.last_seen(), 46);
}

#[test]
fn a_packet_stays_unseen_until_its_last_byte() {
    let (mut direction, mut opener) = pair();
    let mut out = Vec::new();
    direction.seal(Kind::Video, &[&data(1000)], &mut out);
    for byte in &out[..out.len() - 1] {
        opener.push(std::slice::from_ref(byte));
        assert_eq!(opener.next(), Ok(None));
        assert!(!opener.is_between_packets());
    }
    opener.push(&out[out.len() - 1..]);
    assert!(matches!(opener.next(), Ok(Some(_))));
}

#[test]
fn a_ratchet_changes_the_keys_and_not_the_numbers() {
    let (mut direction, mut opener) = pair();
    let ratchet = RatchetKeys {
        mac: [1; 32],
        cipher: [2; 32],
    };
    let mut out = Vec::new();
    direction.seal(Kind::Event, &[&[3; EVENT]], &mut out);
    direction.ratchet(&ratchet, [6; 8]);
    direction.seal(Kind::Event, &[&[4; EVENT]], &mut out);
    // Both came in one read.
    opener.push(&out);
    assert_eq!(opener.next(), Ok(Some(Packet::Event(&[3; EVENT]))));
    opener.ratchet(&ratchet, [6; 8]);
    assert_eq!(opener.next(), Ok(Some(Packet::Event(&[4; EVENT]))));
    assert_eq!(opener.last_seen(), 42);
}

#[test]
fn a_wrong_length_ends_in_a_wrong_tag() {
    let (mut direction, mut opener) = pair();
    let mut out = Vec::new();
    direction.seal(Kind::Video, &[&data(1000)], &mut out);
    out[HEADER + 5] ^= 2;
    out.resize(2000, 0);
    opener.push(&out);
    assert_eq!(opener.next(), Err(Violation::Tag));
}

proptest! {
    #[test]
    fn i9_any_split_gives_the_same_packets(
        lengths in prop::collection::vec(0..2000_usize, 1..10),
        cuts in prop::collection::vec(1..3000_usize, 1..20),
    ) {
        let (mut direction, mut opener) = pair();
        let mut out = Vec::new();
        for length in &lengths {
            direction.seal(Kind::Audio, &[&data(*length)], &mut out);
        }
        let mut seen = Vec::new();
        let (mut rest, mut cuts) = (&out[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            opener.push(head);
            while let Some(packet) = opener.next().unwrap() {
                let Packet::Data(piece) = packet else { panic!("sound") };
                seen.push(piece.bytes.len());
            }
            rest = tail;
        }
        prop_assert_eq!(seen, lengths);
    }
}

#[test]
fn an_idle_peer_keeps_little_memory() {
    let (mut direction, mut opener) = pair();
    let mut out = Vec::new();
    direction.seal(Kind::Binary, &[&data(65_535)], &mut out);
    direction.seal(Kind::Event, &[&[3; EVENT]], &mut out);
    opener.push(&out);
    while let Ok(Some(_)) = opener.next() {}
    assert!(opener.is_between_packets());
    assert!(opener.buffer.capacity() <= IDLE);
}
