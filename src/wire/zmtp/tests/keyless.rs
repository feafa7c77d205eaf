//! Peers without a key, where they are let in.

use super::super::rig::{End, RawClient, frame, frames, raw_greeting, told};
use super::super::{Ask, Event, ListenerConfig, Socket, SocketType};
use super::listener;
use crate::wire::{Error, Field, Violation};

fn open(kind: SocketType) -> End {
    let mut config = ListenerConfig::new(Socket::new(kind));
    config.keyless = true;
    listener(config)
}

#[test]
fn the_mechanism_is_the_peers() {
    for mechanism in [&b"NULL"[..], b"PLAIN", b"CURVE"] {
        let mut end = open(SocketType::Router);
        // As much as libzmq needs to go on.
        assert_eq!(end.said().len(), 12);
        let theirs = raw_greeting(mechanism);
        end.read(&theirs[..32]);
        assert_eq!(end.said(), theirs[12..]);
        end.read(&theirs[32..]);
        assert_eq!((end.error, end.said().len()), (None, 0));
    }
    let mut end = open(SocketType::Router);
    end.read(&raw_greeting(b"GSSAPI"));
    assert_eq!(end.error, Some(Error::Proto(Violation::Mechanism)));
}

#[test]
fn a_peer_by_null_is_asked_about_and_served() {
    let mut end = open(SocketType::Router);
    end.read(&raw_greeting(b"NULL"));
    end.said();
    let ready = [&b"\x05READY"[..], &told(SocketType::Dealer)].concat();
    end.read(&frame(4, &ready));
    assert_eq!(end.asked, [Ask::Keyless(told(SocketType::Dealer))]);
    let ours = [&b"\x05READY"[..], &told(SocketType::Router)].concat();
    assert_eq!(end.said(), frame(4, &ours));
    end.read(b"\x01\x05hello\0\x05there");
    assert_eq!(end.messages(), [[b"hello", b"there"]]);
    end.read(b"\x04\x0a\x04PING\0\0abc");
    end.send(&[b"a", b""]);
    assert_eq!(end.said(), b"\x04\x08\x04PONGabc\x01\x01a\0\0");
}

#[test]
fn a_peer_by_null_that_is_refused_is_told_so() {
    let mut end = open(SocketType::Router);
    end.room.knows = false;
    end.read(&raw_greeting(b"NULL"));
    end.said();
    end.read(&frame(4, b"\x05READY"));
    assert!(matches!(end.error, Some(Error::Access(_))));
    assert_eq!(end.machine.farewell(), b"\x04\x0a\x05ERROR\x03400");
}

#[test]
fn a_peer_by_plain_claims_a_name_and_proves_nothing() {
    let mut end = open(SocketType::Router);
    end.read(&raw_greeting(b"PLAIN"));
    end.said();
    end.read(&frame(4, b"\x05HELLO\x05admin\x06secret"));
    assert_eq!(end.said(), b"\x04\x08\x07WELCOME");
    let initiate = [&b"\x08INITIATE"[..], &told(SocketType::Dealer)].concat();
    end.read(&frame(4, &initiate));
    let Event::Ready(metadata) = &end.events[0] else {
        panic!("{:?}", end.events)
    };
    let claimed = ("Username".to_owned(), b"admin".to_vec());
    assert_eq!(metadata.properties, [claimed]);
    assert_eq!(frames(&end.said())[0].body[..6], *b"\x05READY");
    end.read(b"\0\x02hi");
    assert_eq!(end.messages(), [[b"hi"]]);
}

#[test]
fn a_malformed_name_or_password_is_refused() {
    for body in [
        &b"\x05HELLO"[..],
        b"\x05HELLO\x05adm",
        b"\x05HELLO\0\x01",
        b"\x05HELLO\0\0x",
    ] {
        let mut end = open(SocketType::Router);
        end.read(&raw_greeting(b"PLAIN"));
        end.read(&frame(4, body));
        let malformed = Violation::Malformed(Field::Hello);
        assert_eq!(end.error, Some(Error::Proto(malformed)), "{body:?}");
    }
}

#[test]
fn bad_metadata_and_other_commands_are_refused() {
    for (body, violation) in [
        (&b"\x05READY\x01"[..], Violation::Malformed(Field::Metadata)),
        (b"\x05HELLO", Violation::Unexpected),
        (
            b"\x05READY\x0bSocket-Type\0\0\0\x03SUB",
            Violation::SocketType,
        ),
    ] {
        let mut end = open(SocketType::Router);
        end.read(&raw_greeting(b"NULL"));
        end.said();
        end.read(&frame(4, body));
        assert_eq!(end.error, Some(Error::Proto(violation)));
        assert_eq!((end.said().len(), end.machine.farewell()), (0, &b""[..]));
    }
}

#[test]
fn a_peer_with_a_key_has_to_prove_it_there_too() {
    let mut end = open(SocketType::Router);
    let mut session = RawClient::new().join(&mut end, SocketType::Dealer, 1);
    end.read(&session.framed(0, b"sealed"));
    assert_eq!(end.messages(), [[b"sealed"]]);
    end.read(b"\0\x02hi");
    assert_eq!(end.error, Some(Error::Proto(Violation::Unexpected)));
}
