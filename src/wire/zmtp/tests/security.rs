//! What libzmq's own tests of security try at a server, and what it is lenient about.

use identity::z85;

use super::super::rig::{End, RawClient, RawServer, Sealed, frame, raw_greeting, talk, told};
use super::super::{ListenerConfig, Metadata, Socket, SocketType};
use super::{client, initiator, listener, server};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Field, Violation};

fn joined() -> (End, Sealed) {
    let mut end = server(SocketType::Dealer);
    let session = RawClient::new().join(&mut end, SocketType::Dealer, 1);
    (end, session)
}

#[test]
fn with_valid_credentials_messages_of_two_parts_go_both_ways() {
    let (mut one, mut other) = (server(SocketType::Dealer), client(SocketType::Dealer));
    talk(&mut one, &mut other);
    other.send(&[b"12345678ABCDEFGH12345678abcdefgh", b"second"]);
    talk(&mut one, &mut other);
    one.send(&[b"12345678ABCDEFGH12345678abcdefgh", b"second"]);
    talk(&mut one, &mut other);
    assert_eq!(one.messages(), other.messages());
    assert_eq!(one.messages()[0].len(), 2);
}

#[test]
fn with_a_large_identity_ready_is_a_long_frame() {
    let mut socket = Socket::new(SocketType::Dealer);
    socket.identity = vec![b'x'; 254];
    let mut one = listener(ListenerConfig::new(socket));
    let mut peer = RawClient::new();
    peer.begin(&mut one, 1);
    one.read(&frame(4, &peer.initiate(1, &told(SocketType::Dealer))));
    assert_eq!(one.said()[0], 6);

    let mut socket = Socket::new(SocketType::Dealer);
    socket.identity = vec![b'x'; 254];
    let (mut one, mut other) = (server(SocketType::Router), initiator(socket));
    talk(&mut one, &mut other);
    let super::super::Event::Ready(Metadata { identity, .. }) = &one.events[0] else {
        panic!("{:?}", one.events)
    };
    assert_eq!(identity.len(), 254);
}

#[test]
fn keys_of_zeros_are_refused() {
    let zeros = z85::decode(&"0".repeat(40)).unwrap();
    let mut hello = RawClient::new().hello(1);
    hello[80..112].copy_from_slice(&zeros[..]);
    let mut end = server(SocketType::Dealer);
    end.read(&raw_greeting(b"CURVE"));
    end.read(&frame(4, &hello));
    assert_eq!(end.error, Some(Error::Proto(Violation::Key)));

    // The secret of zeros: nobody has vouched with the key that is claimed.
    let mut peer = RawClient::new();
    let mut end = server(SocketType::Dealer);
    peer.begin(&mut end, 1);
    peer.long = SecretKey::from_bytes([0; 32]);
    end.room.knows = false;
    end.read(&frame(4, &peer.initiate(1, &told(SocketType::Dealer))));
    assert!(matches!(end.error, Some(Error::Access(_))));
}

#[test]
fn clients_without_a_key_are_closed_and_nobody_is_asked() {
    for mechanism in [&b"NULL"[..], b"PLAIN"] {
        let mut end = server(SocketType::Dealer);
        end.said();
        end.read(&raw_greeting(mechanism));
        assert_eq!(end.error, Some(Error::Proto(Violation::Mechanism)));
        assert!(end.asked.is_empty() && end.said().is_empty());
    }
}

#[test]
fn an_unauthenticated_message_is_not_delivered() {
    let mut end = server(SocketType::Dealer);
    end.read(b"\x01\0\x08\0sneaky\0");
    let malformed = Violation::Malformed(Field::Greeting);
    assert_eq!(end.error, Some(Error::Proto(malformed)));
    assert!(end.events.is_empty());
}

#[test]
fn a_client_of_3_0_with_the_smallest_numbers_and_no_metadata_is_served() {
    let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
    peer.begin(&mut end, 0);
    let initiate = peer.initiate(1, &[]);
    assert_eq!(initiate.len(), 257);
    end.read(&frame(4, &initiate));
    assert!(end.is_ready());
    let mut peer = RawClient::new();
    let mut end = server(SocketType::Dealer);
    peer.begin(&mut end, 0);
    end.read(&frame(4, &peer.initiate(0, &[])));
    assert!(end.is_ready());
}

#[test]
fn flags_of_the_frames_of_a_handshake_are_not_looked_at() {
    for flags in [0, 1, 5, 0xf8] {
        let mut end = server(SocketType::Dealer);
        end.read(&raw_greeting(b"CURVE"));
        end.said();
        end.read(&frame(flags, &RawClient::new().hello(1)));
        assert_eq!((end.error, end.said().len()), (None, 170));
    }
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    let hello = peer.begin(&mut end, 1);
    end.read(&frame(0, &peer.welcome(&hello)));
    end.read(&frame(0, &peer.ready(1, &told(SocketType::Router))));
    assert!(end.is_ready());
}

#[test]
fn a_long_form_with_a_small_length_is_taken() {
    let mut end = server(SocketType::Dealer);
    end.read(&raw_greeting(b"CURVE"));
    end.said();
    end.read(b"\x06\0\0\0\0\0\0\0\xc8");
    end.read(&RawClient::new().hello(u64::MAX));
    assert_eq!((end.error, end.said().len()), (None, 170));
}

#[test]
fn a_missing_or_oddly_spelled_socket_type_is_taken() {
    for metadata in [&b""[..], b"\x0bsocket-type\0\0\0\x04PUSH", b"\0\0\0\0\x01x"] {
        let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
        peer.begin(&mut end, 1);
        end.read(&frame(4, &peer.initiate(1, metadata)));
        assert!(end.is_ready());
    }
}

#[test]
fn jumps_of_the_number_are_fine() {
    let (mut end, mut session) = joined();
    for number in [7, 8, 1 << 63, u64::MAX] {
        end.read(&frame(0, &session.message_at(number, 0, b"x")));
    }
    assert_eq!((end.messages().len(), end.error), (4, None));
}

#[test]
fn other_bits_inside_a_message_mean_nothing() {
    let (mut end, mut session) = joined();
    end.read(&session.framed(0xfc, b"plain"));
    assert_eq!(end.messages(), [[b"plain"]]);
}

/// Whoever sits on the way can change them, and must not glue messages together by it.
#[test]
fn the_outer_flags_of_a_message_say_nothing() {
    let (mut end, mut session) = joined();
    for flags in [0, 1, 4, 5] {
        end.read(&frame(flags, &session.message(0, b"x")));
    }
    assert_eq!(end.messages(), vec![[b"x"]; 4]);
}

#[test]
fn payloads_come_back_whatever_their_size() {
    let (mut one, mut other) = (server(SocketType::Pair), client(SocketType::Pair));
    talk(&mut one, &mut other);
    let big = vec![7; 300_000];
    let small = [1; 222];
    let message: [&[u8]; 4] = [b"", &big, &small, b""];
    one.send(&message);
    other.send(&message);
    talk(&mut one, &mut other);
    assert_eq!(one.messages(), [message]);
    assert_eq!(other.messages(), [message]);
}

#[test]
fn i7_messages_have_a_most_of_bytes_and_of_parts() {
    let mut socket = Socket::new(SocketType::Dealer);
    socket.max_message = 1000;
    socket.max_parts = 3;
    let setup = || {
        let mut end = listener(ListenerConfig::new(socket.clone()));
        let session = RawClient::new().join(&mut end, SocketType::Dealer, 1);
        (end, session)
    };
    let (mut end, mut session) = setup();
    end.read(&session.framed(1, &[0; 600]));
    end.read(&session.framed(0, &[0; 400]));
    end.read(&session.framed(0, &[0; 1000]));
    assert_eq!(end.messages().len(), 2);
    end.read(&session.framed(1, &[0; 600]));
    end.read(&session.framed(0, &[0; 401]));
    let bytes = Error::Proto(Violation::TooMany(Field::Bytes));
    assert_eq!(end.error, Some(bytes));

    let (mut end, mut session) = setup();
    // The length alone is enough.
    end.read(&session.framed(0, &[0; 1001])[..9]);
    assert_eq!(end.error, Some(bytes));

    let (mut end, mut session) = setup();
    for _ in 0..3 {
        end.read(&session.framed(1, b""));
    }
    assert_eq!(end.error, None);
    end.read(&session.framed(0, b""));
    let parts = Violation::TooMany(Field::Parts);
    assert_eq!(end.error, Some(Error::Proto(parts)));
}

#[test]
fn i8_neither_end_has_keys_in_its_debug_text() {
    let now = std::time::Instant::now();
    let config = ListenerConfig::new(Socket::new(SocketType::Rep));
    let one = super::super::Listener::new(config.into(), now);
    assert_eq!(format!("{one:?}"), "Listener { state: \"greeting\", .. }");
}
