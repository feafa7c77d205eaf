//! Each row of the table of states: what an end does with what comes next.

use super::super::rig::{End, RawClient, RawServer, frame, frames, public, raw_greeting, told};
use super::super::{Event, SocketType};
use super::{client, server};
use crate::wire::{Error, Field, Input, Refusal, Violation};

/// It closes without a word.
#[track_caller]
fn closes(end: &mut End, violation: Violation) {
    assert_eq!(end.error, Some(Error::Proto(violation)));
    assert_eq!(end.said(), b"");
    assert_eq!(end.machine.farewell(), b"");
    assert_eq!(end.machine.room(), 0);
    assert!(end.events.is_empty(), "{:?}", end.events);
}

/// A server that waits for HELLO.
fn waits_for_hello() -> End {
    let mut end = server(SocketType::Dealer);
    end.read(&raw_greeting(b"CURVE"));
    end.said();
    end
}

/// A server that waits for INITIATE, and its client.
fn waits_for_initiate() -> (End, RawClient) {
    let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
    peer.begin(&mut end, 1);
    (end, peer)
}

#[test]
fn server_waiting_for_hello_answers_a_valid_one_by_welcome() {
    let mut end = waits_for_hello();
    end.read(&frame(4, &RawClient::new().hello(1)));
    let said = frames(&end.said());
    assert_eq!((said[0].flags, said[0].body.len()), (4, 168));
    assert_eq!(said[0].body[..8], *b"\x07WELCOME");
    assert_eq!(said.len(), 1);
}

#[test]
fn server_waiting_for_hello_closes_at_a_wrong_name() {
    for body in [&b"\x05HELLX"[..], b"\x08INITIATE", b"\x07MESSAGE", b""] {
        let mut end = waits_for_hello();
        end.read(&frame(4, body));
        closes(&mut end, Violation::Unexpected);
    }
    let mut end = waits_for_hello();
    let mut hello = RawClient::new().hello(1);
    hello[5] = b'X';
    end.read(&frame(4, &hello));
    closes(&mut end, Violation::Unexpected);
}

#[test]
fn server_waiting_for_hello_closes_at_a_wrong_size_or_version() {
    let hello = RawClient::new().hello(1);
    let mut version = hello.clone();
    version[6] = 2;
    let long = [&hello[..], b"x"].concat();
    for body in [&b"\x05HELLO"[..], &hello[..199], &long, &version] {
        let mut end = waits_for_hello();
        end.read(&frame(4, body));
        closes(&mut end, Violation::Malformed(Field::Hello));
    }
}

#[test]
fn server_waiting_for_hello_closes_at_a_box_that_does_not_open() {
    let mut end = waits_for_hello();
    let mut peer = RawClient::new();
    peer.server = public(0x99);
    end.read(&frame(4, &peer.hello(1)));
    closes(&mut end, Violation::Forged);
}

#[test]
fn server_waiting_for_initiate_closes_at_another_name() {
    let hello = RawClient::new().hello(1);
    for body in [&hello[..], b"\x07MESSAGE", b"\x05READY", b"\x08INITIATX"] {
        let (mut end, _) = waits_for_initiate();
        end.read(&frame(4, body));
        closes(&mut end, Violation::Unexpected);
    }
}

#[test]
fn server_waiting_for_initiate_closes_at_a_size_below_257() {
    let (mut end, peer) = waits_for_initiate();
    let body = peer.initiate(1, &[]);
    end.read(&frame(4, &body[..256]));
    closes(&mut end, Violation::Malformed(Field::Initiate));
}

#[test]
fn server_waiting_for_initiate_closes_at_a_cookie_box_or_vouch_that_does_not_open() {
    for at in [30, 110, 150] {
        let (mut end, peer) = waits_for_initiate();
        let mut body = peer.initiate(1, &told(SocketType::Router));
        body[at] ^= 1;
        end.read(&frame(4, &body));
        closes(&mut end, Violation::Forged);
    }
}

#[test]
fn server_waiting_for_initiate_closes_at_a_vouch_for_another_short_term_key() {
    let (mut end, mut peer) = waits_for_initiate();
    peer.vouched_short = public(0x99);
    end.read(&frame(4, &peer.initiate(1, &told(SocketType::Router))));
    closes(&mut end, Violation::Vouch);
}

/// libzmq does not look.
#[test]
fn server_waiting_for_initiate_closes_at_a_vouch_for_another_server() {
    let (mut end, mut peer) = waits_for_initiate();
    peer.vouched = public(0x99);
    end.read(&frame(4, &peer.initiate(1, &told(SocketType::Router))));
    closes(&mut end, Violation::Vouch);
}

#[test]
fn i1_server_that_has_a_valid_initiate_says_nothing_before_it_is_told() {
    let (mut end, peer) = waits_for_initiate();
    end.takes = false;
    end.read(&frame(4, &peer.initiate(1, &told(SocketType::Router))));
    assert!(end.is_ready());
    assert_eq!(end.said(), b"");
    assert_eq!(end.machine.room(), 0);
    assert_eq!(end.deadline, None);
    end.command(super::super::Command::Accept);
    let said = frames(&end.said());
    assert_eq!(said[0].body[..6], *b"\x05READY");
}

#[test]
fn server_closes_at_bad_metadata_or_a_socket_type_that_does_not_fit() {
    let bad = Violation::Malformed(Field::Metadata);
    let cases = [
        (told(SocketType::Push), Violation::SocketType),
        (
            b"\x0bSocket-Type\0\0\0\x03FOO".to_vec(),
            Violation::SocketType,
        ),
        (b"\x01".to_vec(), bad),
        (b"\x01a\0\0\0\x02x".to_vec(), bad),
    ];
    for (metadata, violation) in cases {
        let (mut end, peer) = waits_for_initiate();
        end.read(&frame(4, &peer.initiate(1, &metadata)));
        closes(&mut end, violation);
    }
}

#[test]
fn server_whose_key_room_agrees_sends_ready() {
    let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
    let mut session = peer.join(&mut end, SocketType::Router, 1);
    end.read(&session.framed(0, b"hi"));
    assert_eq!(end.messages(), [[b"hi"]]);
    end.send(&[b"there"]);
    assert_eq!(session.open(&end.said()), [(0, b"there".to_vec())]);
}

#[test]
fn server_whose_key_room_refuses_has_error_400_for_a_farewell() {
    let (mut end, peer) = waits_for_initiate();
    end.room.knows = false;
    end.read(&frame(4, &peer.initiate(1, &told(SocketType::Router))));
    assert_eq!(end.error, Some(Error::Access(Refusal::NotAccepted)));
    assert_eq!(end.said(), b"");
    assert_eq!(end.machine.farewell(), b"\x04\x0a\x05ERROR\x03400");
    assert!(end.events.is_empty());
}

#[test]
fn i3_server_whose_script_refuses_has_the_same_farewell() {
    let (mut end, peer) = waits_for_initiate();
    end.takes = false;
    end.read(&frame(4, &peer.initiate(1, &told(SocketType::Router))));
    let farewell = b"\x04\x0a\x05ERROR\x03400";
    assert_eq!(end.machine.farewell(), farewell);
    end.command(super::super::Command::Close);
    assert_eq!(end.error, Some(Error::Access(Refusal::TurnedAway)));
    assert_eq!(end.machine.farewell(), farewell);
    assert_eq!(end.said(), b"");
}

/// It is not read before READY has gone out, and good then.
#[test]
fn server_that_waits_for_an_answer_takes_no_frame() {
    let (mut end, peer) = waits_for_initiate();
    end.takes = false;
    let initiate = frame(4, &peer.initiate(1, &told(SocketType::Router)));
    let glued = [initiate, peer.session(1).framed(0, b"early")].concat();
    end.read(&glued);
    assert_eq!(end.messages().len(), 0);
    end.give(Input::Bytes(b"x"));
    assert_eq!(end.error, Some(Error::Proto(Violation::OutOfTurn)));
}

#[test]
fn client_answers_a_valid_welcome_by_initiate() {
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    let hello = peer.begin(&mut end, 1);
    end.read(&frame(4, &peer.welcome(&hello)));
    let said = frames(&end.said());
    assert_eq!(said.len(), 1);
    assert_eq!(peer.initiate(&said[0].body), told(SocketType::Dealer));
}

#[test]
fn client_that_gets_error_is_refused_for_good() {
    let errors = [
        &b"\x05ERROR\x03400"[..],
        b"\x05ERROR\x03500",
        b"\x05ERROR\0",
        b"\x05ERROR\x02no",
    ];
    for error in errors {
        let refused = Some(Error::Access(Refusal::NotAccepted));
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        peer.begin(&mut end, 1);
        end.read(&frame(4, error));
        assert_eq!(end.error, refused);
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        peer.vouched(&mut end, 1);
        end.read(&frame(4, error));
        assert_eq!(end.error, refused);
        assert_eq!(end.machine.farewell(), b"");
    }
    for error in [&b"\x05ERROR"[..], b"\x05ERROR\x03no"] {
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        peer.begin(&mut end, 1);
        end.read(&frame(4, error));
        closes(&mut end, Violation::Malformed(Field::Error));
    }
}

#[test]
fn client_in_the_handshake_closes_at_another_name() {
    for body in [&b"\x05HELLO"[..], b"\x07MESSAGE", b"\x07WELCOMX"] {
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        peer.begin(&mut end, 1);
        end.read(&frame(4, body));
        closes(&mut end, Violation::Unexpected);
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        peer.vouched(&mut end, 1);
        end.read(&frame(4, body));
        closes(&mut end, Violation::Unexpected);
    }
}

#[test]
fn client_closes_at_a_welcome_of_another_size_or_that_does_not_open() {
    for (size, change, violation) in [
        (167, 0, Violation::Malformed(Field::Welcome)),
        (169, 0, Violation::Malformed(Field::Welcome)),
        (168, 1, Violation::Forged),
    ] {
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        let hello = peer.begin(&mut end, 1);
        let mut body = peer.welcome(&hello);
        body.resize(size, 0);
        body[100] ^= change;
        end.read(&frame(4, &body));
        closes(&mut end, violation);
    }
}

#[test]
fn client_that_gets_a_valid_ready_is_ready() {
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    let mut session = peer.join(&mut end, SocketType::Router, 1);
    assert!(end.is_ready());
    end.send(&[b"hi"]);
    assert_eq!(session.open(&end.said()), [(0, b"hi".to_vec())]);
    end.read(&session.framed(0, b"there"));
    assert_eq!(end.messages(), [[b"there"]]);
}

#[test]
fn client_takes_a_message_in_the_same_segment_as_ready() {
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    peer.vouched(&mut end, 1);
    let ready = frame(4, &peer.ready(1, &told(SocketType::Router)));
    let message = peer.session(1).framed(0, b"at once");
    end.read(&[ready, message].concat());
    assert_eq!(end.messages(), [[b"at once"]]);
}

#[test]
fn client_closes_at_a_ready_that_is_short_forged_or_does_not_fit() {
    let make = |peer: &RawServer| peer.ready(1, &told(SocketType::Router));
    type Change = fn(&RawServer, Vec<u8>) -> Vec<u8>;
    let cases: [(Change, Violation); 4] = [
        (
            |_, ready| ready[..29].to_vec(),
            Violation::Malformed(Field::Ready),
        ),
        (
            |_, mut ready| {
                ready[20] ^= 1;
                ready
            },
            Violation::Forged,
        ),
        (
            |peer, _| peer.ready(1, b"\x09"),
            Violation::Malformed(Field::Metadata),
        ),
        (
            |peer, _| peer.ready(1, &told(SocketType::Pull)),
            Violation::SocketType,
        ),
    ];
    for (change, violation) in cases {
        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        peer.vouched(&mut end, 1);
        let ready = change(&peer, make(&peer));
        end.read(&frame(4, &ready));
        closes(&mut end, violation);
    }
}

#[test]
fn both_when_ready_close_at_what_is_no_good_message() {
    type Make = fn(&mut super::super::rig::Sealed) -> Vec<u8>;
    let cases: [(Make, Violation); 9] = [
        (|_| b"\x05ERROR\x03400".to_vec(), Violation::Unexpected),
        (|_| RawClient::new().hello(1), Violation::Unexpected),
        (|_| b"\x05READY".to_vec(), Violation::Unexpected),
        (|_| Vec::new(), Violation::Unexpected),
        (
            |s| s.message(0, b"")[..32].to_vec(),
            Violation::Malformed(Field::Message),
        ),
        (|s| s.message_at(3, 0, b"again"), Violation::Sequence),
        (|s| s.message_at(0, 0, b"zero"), Violation::Sequence),
        (
            |s| {
                let mut body = s.message(0, b"changed");
                body[35] ^= 1;
                body
            },
            Violation::Forged,
        ),
        (
            |s| {
                let mut body = s.message(0, b"tag");
                body[16] ^= 1;
                body
            },
            Violation::Forged,
        ),
    ];
    for (make, violation) in cases {
        let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
        let mut session = peer.join(&mut end, SocketType::Router, 1);
        end.read(&frame(0, &session.message_at(3, 0, b"good")));
        end.read(&frame(0, &make(&mut session)));
        assert_eq!(end.error, Some(Error::Proto(violation)));
        assert_eq!((end.messages().len(), end.said().len()), (1, 0));

        let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
        let mut session = peer.join(&mut end, SocketType::Router, 1);
        end.read(&frame(0, &session.message_at(3, 0, b"good")));
        end.read(&frame(0, &make(&mut session)));
        assert_eq!(end.error, Some(Error::Proto(violation)));
        assert_eq!((end.messages().len(), end.said().len()), (1, 0));
    }
}

#[test]
fn the_number_of_initiate_and_of_ready_count_as_previous_ones() {
    let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
    let mut session = peer.join(&mut end, SocketType::Router, 1);
    end.read(&frame(0, &session.message_at(1, 0, b"")));
    assert_eq!(end.error, Some(Error::Proto(Violation::Sequence)));
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    let mut session = peer.join(&mut end, SocketType::Router, 1);
    end.read(&frame(0, &session.message_at(1, 0, b"")));
    assert_eq!(end.error, Some(Error::Proto(Violation::Sequence)));
}

#[test]
fn i7_a_handshake_has_an_absolute_deadline() {
    let (mut end, _) = waits_for_initiate();
    end.wait();
    closes(&mut end, Violation::Deadline);
    let mut end = server(SocketType::Dealer);
    end.said();
    end.wait();
    closes(&mut end, Violation::Deadline);
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    peer.vouched(&mut end, 1);
    end.wait();
    closes(&mut end, Violation::Deadline);
}

#[test]
fn i7_before_the_proof_no_more_is_read_than_one_command() {
    let mut end = server(SocketType::Dealer);
    assert_eq!(end.machine.room(), 64);
    end.read(&raw_greeting(b"CURVE"));
    assert_eq!(end.machine.room(), 202);
    let mut peer = RawClient::new();
    let (mut end, _) = (waits_for_hello(), ());
    end.read(&frame(4, &peer.hello(1)));
    peer.welcome(&frames(&end.said())[0].body);
    assert_eq!(end.machine.room(), 266);
    let mut head = vec![6];
    head.extend_from_slice(&(257u64 + 4096).to_be_bytes());
    end.read(&head);
    assert_eq!(end.machine.room(), 257 + 4096);
    // And not one byte more.
    let (mut end, _) = waits_for_initiate();
    head[8] += 1;
    end.read(&head);
    closes(&mut end, Violation::Malformed(Field::Initiate));
}

#[test]
fn the_end_of_the_stream_in_a_handshake_is_the_peers_fault_at_a_server_only() {
    let mut end = server(SocketType::Dealer);
    end.give(Input::Eof);
    assert_eq!(end.error, None);
    let (mut end, _) = waits_for_initiate();
    end.give(Input::Eof);
    closes(&mut end, Violation::Truncated);
    let (mut end, mut peer) = (client(SocketType::Dealer), RawServer::new());
    peer.vouched(&mut end, 1);
    end.read(b"\x04");
    end.give(Input::Eof);
    assert_eq!(end.error, None);
    assert_eq!(end.machine.room(), 0);
}

#[test]
fn an_error_stays() {
    let mut end = waits_for_hello();
    end.read(&frame(4, b"\x05HELLO"));
    let error = end.error.unwrap();
    for input in [Input::Bytes(b"x"), Input::Eof, Input::Timeout] {
        assert_eq!(end.machine.handle(end.now, input), Err(error));
    }
}

#[test]
fn what_is_there_before_an_error_is_told() {
    let (mut end, mut peer) = (server(SocketType::Dealer), RawClient::new());
    let mut session = peer.join(&mut end, SocketType::Router, 1);
    let both = [session.framed(0, b"good"), frame(0, b"bad")].concat();
    end.read(&both);
    assert_eq!(end.error, Some(Error::Proto(Violation::Unexpected)));
    assert!(matches!(end.events.last(), Some(Event::Message(_))));
}
