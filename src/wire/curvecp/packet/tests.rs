use proptest::prelude::*;

use super::super::vectors::{Dir, captures};
use super::*;

#[test]
fn recorded_packets_are_read_and_written_the_same() {
    let mut seen = 0;
    for capture in captures() {
        for recorded in &capture.packets {
            let packet = &recorded.hex.0;
            let extension = capture.server_extension.extension();
            let (head, from, nonce) = match (recorded.dir, ClientPacket::parse(packet)) {
                (Dir::C2s, Some(ClientPacket::Hello(hello))) => {
                    (hello.encode().to_vec(), hello.to, Some(hello.nonce))
                }
                (Dir::C2s, Some(ClientPacket::Initiate(head))) => {
                    (head.encode().to_vec(), head.to, Some(head.nonce))
                }
                (Dir::C2s, Some(ClientPacket::Message(head))) => {
                    (head.encode().to_vec(), head.to, Some(head.nonce))
                }
                (Dir::S2c, None) if recorded.kind == "Cookie" => {
                    let cookie = Cookie::parse(packet.as_slice().try_into().unwrap()).unwrap();
                    (cookie.encode().to_vec(), cookie.from, None)
                }
                (Dir::S2c, None) => {
                    let head = ServerHead::parse(packet).unwrap();
                    (head.encode().to_vec(), head.from, Some(head.nonce))
                }
                other => panic!("{}: {other:?}", recorded.kind),
            };
            assert!(packet.starts_with(&head));
            assert_eq!(from, extension);
            assert_eq!(nonce, recorded.nonce_u64);
            seen += 1;
        }
    }
    assert!(seen > 200, "{seen}");
}

#[test]
fn only_whole_packets_are_read() {
    for capture in captures().take(2) {
        for recorded in &capture.packets {
            let packet = &recorded.hex.0;
            let is_packet = |bytes: &[u8]| match recorded.dir {
                Dir::C2s => ClientPacket::parse(bytes).is_some(),
                Dir::S2c => {
                    let cookie = bytes.try_into().ok().and_then(Cookie::parse);
                    cookie.is_some() || ServerHead::parse(bytes).is_some()
                }
            };
            assert!(is_packet(packet));
            assert!(!is_packet(&packet[..packet.len() - 1]));
            assert!(!is_packet(&[packet.as_slice(), &[0]].concat()));
            for at in 0..8 {
                let mut other = packet.clone();
                other[at] ^= 1;
                assert!(!is_packet(&other));
            }
        }
    }
}

#[test]
fn an_initiate_carries_16_to_640_bytes() {
    let packet = |length: usize| {
        let mut packet = captures().next().unwrap().packets[2].hex.0.clone();
        packet.resize(length, 0);
        ClientPacket::parse(&packet).is_some()
    };
    for (length, good) in [(544, false), (560, true), (1184, true), (1200, false)] {
        assert_eq!(packet(length), good, "{length}");
    }
    assert_eq!(PACKET, 1184);
}

#[test]
fn a_client_key_of_low_order_is_no_packet() {
    let capture = captures().next().unwrap();
    for recorded in capture
        .packets
        .iter()
        .filter(|packet| packet.dir == Dir::C2s)
    {
        let mut packet = recorded.hex.0.clone();
        packet[40..72].fill(0);
        assert_eq!(ClientPacket::parse(&packet), None);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_none(
        kind in prop::sample::select(vec![&b"QvnQ5XlH"[..], b"QvnQ5XlI", b"QvnQ5XlM", b"RL3aNMXM"]),
        rest in prop::collection::vec(any::<u8>(), 0..1300),
    ) {
        let packet = [kind, &rest].concat();
        if let Some(ClientPacket::Message(head)) = ClientPacket::parse(&packet) {
            prop_assert!(packet.starts_with(&head.encode()));
        }
        if let Some(head) = ServerHead::parse(&packet) {
            prop_assert!(packet.starts_with(&head.encode()));
        }
    }
}
