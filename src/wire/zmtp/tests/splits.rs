//! I9: however the bytes come, the same happens.

use proptest::prelude::*;

use super::super::rig::{End, RawClient, RawServer, frame, told};
use super::super::{ListenerConfig, Socket, SocketType};
use super::{client, listener, server};

/// A client's whole stream, and what a listener says to it.
fn stream(kind: SocketType, messages: &[(u8, Vec<u8>)]) -> (Vec<u8>, End) {
    let (mut end, mut peer) = (server(kind), RawClient::new());
    let mut stream = super::super::rig::raw_greeting(b"CURVE").to_vec();
    let mut fed = 0;
    stream.extend(frame(4, &peer.hello(1)));
    end.read(&stream);
    fed += stream.len();
    let said = end.sent.clone();
    peer.welcome(&said[66..]);
    stream.extend(frame(4, &peer.initiate(2, &told(SocketType::Xsub))));
    let mut session = peer.session(2);
    for (flags, payload) in messages {
        stream.extend(session.framed(*flags, payload));
    }
    end.read(&stream[fed..]);
    (stream, end)
}

fn assert_same(one: &End, other: &End) {
    assert_eq!(one.events, other.events);
    assert_eq!(one.asked, other.asked);
    assert_eq!(one.error, other.error);
    assert_eq!(one.sent, other.sent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn i9_a_listener_sees_the_same_in_any_portions(
        messages in prop::collection::vec((0..4u8, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
        portions in prop::collection::vec(1..400usize, 1..30),
    ) {
        let (stream, whole) = stream(SocketType::Xpub, &messages);
        let mut parts = server(SocketType::Xpub);
        let mut portion = portions.iter().copied().cycle();
        parts.read_by(&stream, &mut || portion.next().unwrap());
        assert_same(&whole, &parts);
        let mut bytes = server(SocketType::Xpub);
        bytes.read_by(&stream, &mut || 1);
        assert_same(&whole, &bytes);
    }

    #[test]
    fn i9_an_initiator_sees_the_same_in_any_portions(
        messages in prop::collection::vec((0..4u8, prop::collection::vec(any::<u8>(), 0..300)), 0..12),
        portions in prop::collection::vec(1..400usize, 1..30),
    ) {
        let (mut whole, mut peer) = (client(SocketType::Dealer), RawServer::new());
        let mut stream = super::super::rig::raw_greeting(b"CURVE").to_vec();
        whole.read(&stream);
        let fed = stream.len();
        let hello = whole.sent[66..].to_vec();
        stream.extend(frame(4, &peer.welcome(&hello)));
        stream.extend(frame(4, &peer.ready(1, &told(SocketType::Dealer))));
        let mut session = peer.session(1);
        for (flags, payload) in &messages {
            stream.extend(session.framed(*flags, payload));
        }
        whole.read(&stream[fed..]);
        let mut parts = client(SocketType::Dealer);
        let mut portion = portions.iter().copied().cycle();
        parts.read_by(&stream, &mut || portion.next().unwrap());
        assert_same(&whole, &parts);
    }

    #[test]
    fn i9_any_bytes_give_a_clean_error_or_none(
        head in prop::sample::select(vec![&b""[..], b"CURVE", b"NULL", b"PLAIN"]),
        bytes in prop::collection::vec(any::<u8>(), 0..700),
    ) {
        let mut stream = match head {
            b"" => Vec::new(),
            _ => super::super::rig::raw_greeting(head).to_vec(),
        };
        stream.extend(bytes);
        for keyless in [false, true] {
            let setup = || {
                let mut config = ListenerConfig::new(Socket::new(SocketType::Router));
                config.keyless = keyless;
                listener(config)
            };
            let (mut whole, mut parts) = (setup(), setup());
            whole.read(&stream);
            parts.read_by(&stream, &mut || 1);
            prop_assert_eq!(&whole.events, &parts.events);
            prop_assert_eq!(whole.error, parts.error);
        }
        let (mut whole, mut parts) = (client(SocketType::Router), client(SocketType::Router));
        whole.read(&stream);
        parts.read_by(&stream, &mut || 1);
        prop_assert_eq!(whole.error, parts.error);
        prop_assert!(whole.events.is_empty());
    }
}

/// What a peer may well say, and what it should not.
fn payload() -> impl Strategy<Value = Vec<u8>> {
    let known = [
        &b"\x04PING\0\x05abc"[..],
        b"\x04PONG",
        b"\x09SUBSCRIBEA",
        b"\x06CANCELA",
        b"\x01A",
        b"\0A",
        b"",
        b"Apple",
        b"\x05ERROR\x03400",
    ];
    prop_oneof![
        prop::sample::select(known.map(<[u8]>::to_vec).to_vec()),
        prop::collection::vec(any::<u8>(), 0..700),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn i9_sockets_of_all_types_hold_whatever_a_known_peer_says(
        how in 0..32u8,
        seed: u8,
        kind in prop::option::of(prop::sample::select(&SocketType::ALL[..])),
        chunks in prop::collection::vec((prop_oneof![3 => 0..4u8, 1 => any::<u8>()], payload()), 0..16),
    ) {
        let mut data = vec![how, seed];
        let metadata = kind.map(told).unwrap_or_default();
        for (how, chunk) in [(0, metadata)].iter().chain(&chunks) {
            data.push(*how);
            data.extend_from_slice(&u16::try_from(chunk.len()).unwrap().to_be_bytes());
            data.extend_from_slice(chunk);
        }
        let now = std::time::Instant::now();
        super::super::fuzzing::server(now, &data);
        super::super::fuzzing::client(now, &data);
    }
}
