//! What sockets do with messages.

use super::super::rig::{End, RawClient, RawServer, Sealed, frame, talk};
use super::super::{Command, Event, Socket, SocketType};
use super::{client, initiator, server};

const MORE: u8 = 1;
const COMMAND: u8 = 2;

fn pair(ours: SocketType, theirs: SocketType) -> (End, End) {
    let (mut one, mut other) = (server(ours), client(theirs));
    talk(&mut one, &mut other);
    (one, other)
}

/// A listener of this type, and a client of the other that is made by hand.
fn joined(ours: SocketType, theirs: SocketType) -> (End, Sealed) {
    let mut end = server(ours);
    let session = RawClient::new().join(&mut end, theirs, 1);
    (end, session)
}

#[test]
fn all_types_that_go_together_shake_hands_and_no_others() {
    for ours in SocketType::ALL {
        for theirs in SocketType::ALL {
            let (one, other) = pair(ours, theirs);
            let fits = ours.goes_with(theirs);
            assert_eq!(one.is_ready(), fits, "{theirs} to {ours}");
            assert_eq!(other.is_ready(), fits, "{theirs} to {ours}");
        }
    }
}

#[test]
fn all_types_that_may_send_are_heard_by_all_that_they_go_with() {
    use SocketType::*;
    for ours in SocketType::ALL {
        for theirs in SocketType::ALL
            .into_iter()
            .filter(|kind| kind.goes_with(ours))
        {
            let (mut one, mut other) = pair(ours, theirs);
            if theirs == Sub {
                other.command(Command::Subscribe(b"to".to_vec()));
            }
            if theirs == Xsub {
                other.send(&[b"\x01to"]);
            }
            talk(&mut one, &mut other);
            one.send(&[b"topic", b"rest"]);
            talk(&mut one, &mut other);
            let silent = matches!(ours, Pull | Sub | Rep);
            // Without an empty part, a replier sees no request; an asker drops what it did not ask.
            let deaf = matches!((ours, theirs), (Dealer, Rep) | (Router, Rep) | (_, Req));
            let heard = usize::from(!silent && !deaf && ours != Xsub);
            let shown = matches!((ours, theirs), (Xsub, Xpub)) || heard == 1;
            assert_eq!(
                other.messages().len(),
                usize::from(shown),
                "{ours} to {theirs}"
            );
            assert_eq!((one.error, other.error), (None, None));
        }
    }
}

#[test]
fn a_request_has_an_empty_part_before_it_and_so_has_its_reply() {
    let (mut end, mut session) = joined(SocketType::Rep, SocketType::Req);
    end.read(&session.framed(MORE, b""));
    end.read(&session.framed(0, b"hello"));
    assert_eq!(end.messages(), [[b"hello"]]);
    end.send(&[b"world"]);
    let reply = [(MORE, vec![]), (0, b"world".to_vec())];
    assert_eq!(session.open(&end.said()), reply);
}

#[test]
fn a_replier_puts_the_whole_envelope_back() {
    let (mut end, mut session) = joined(SocketType::Rep, SocketType::Dealer);
    for (flags, part) in [(1, &b"a"[..]), (1, b"b"), (1, b""), (1, b"x"), (0, b"")] {
        end.read(&session.framed(flags, part));
    }
    assert_eq!(end.messages(), [[&b"x"[..], b""]]);
    end.send(&[b"y"]);
    let reply: Vec<_> = session.open(&end.said());
    let parts: Vec<_> = reply.iter().map(|(_, part)| part.as_slice()).collect();
    assert_eq!(parts, [&b"a"[..], b"b", b"", b"y"]);
}

#[test]
fn a_replier_takes_one_request_at_a_time() {
    let (mut end, mut session) = joined(SocketType::Rep, SocketType::Dealer);
    for number in 0..3 {
        end.read(&session.framed(MORE, &[b'a' + number]));
        end.read(&session.framed(MORE, b""));
        end.read(&session.framed(0, &[number]));
    }
    for number in 0..3 {
        assert_eq!(end.messages().last().unwrap(), &[[number]]);
        assert_eq!(end.messages().len(), usize::from(number) + 1);
        end.send(&[b"reply"]);
        let reply = session.open(&end.said());
        assert_eq!(reply[0], (MORE, vec![b'a' + number]));
    }
    // Nothing is left to reply to.
    end.send(&[b"late"]);
    assert_eq!(end.said(), b"");
    assert!(matches!(end.events.last(), Some(Event::Unsent(_))));
}

#[test]
fn a_request_that_is_abandoned_makes_room_for_the_next() {
    let (mut end, mut session) = joined(SocketType::Rep, SocketType::Dealer);
    for number in 0..2 {
        end.read(&session.framed(MORE, b""));
        end.read(&session.framed(0, &[number]));
    }
    end.command(Command::Abandon);
    assert_eq!(end.messages(), [[[0]], [[1]]]);
    end.send(&[b"reply"]);
    assert_eq!(session.open(&end.said()).len(), 2);
    // There is none any more.
    end.command(Command::Abandon);
    end.send(&[b"late"]);
    assert!(matches!(end.events.last(), Some(Event::Unsent(_))));
}

#[test]
fn what_has_no_envelope_is_no_request() {
    let (mut end, mut session) = joined(SocketType::Rep, SocketType::Dealer);
    end.read(&session.framed(0, b"bare"));
    end.read(&session.framed(0, b""));
    assert_eq!(end.messages().len(), 0);
}

#[test]
fn i7_requests_that_wait_are_bounded() {
    let (mut end, mut session) = joined(SocketType::Rep, SocketType::Dealer);
    let mut taken = 0;
    while end.machine.room() > 0 && taken < 100 {
        let request = [session.framed(MORE, b""), session.framed(0, &[0; 60_000])];
        end.read(&request.concat());
        taken += 1;
    }
    assert!(taken < 10, "{taken}");
    end.send(&[b"reply"]);
    assert_eq!(end.messages().len(), 2);
}

#[test]
fn an_asker_waits_for_its_reply_and_drops_all_else() {
    let (mut end, mut session) = joined(SocketType::Req, SocketType::Router);
    end.read(&session.framed(MORE, b""));
    end.read(&session.framed(0, b"unasked"));
    end.send(&[b"hello"]);
    let request = [(MORE, vec![]), (0, b"hello".to_vec())];
    assert_eq!(session.open(&end.said()), request);
    end.send(&[b"and again"]);
    assert!(matches!(end.events.last(), Some(Event::Unsent(_))));
    end.read(&session.framed(0, b"bare"));
    assert_eq!(end.messages().len(), 0);
    end.read(&session.framed(MORE, b""));
    end.read(&session.framed(0, b"world"));
    assert_eq!(end.messages(), [[b"world"]]);
    end.send(&[b"next"]);
    assert_eq!(session.open(&end.said()).len(), 2);
}

#[test]
fn what_goes_one_way_does_not_go_the_other() {
    let (mut end, mut session) = joined(SocketType::Push, SocketType::Pull);
    end.read(&session.framed(0, b"wrong way"));
    assert_eq!(end.messages().len(), 0);
    let (mut end, _) = joined(SocketType::Pull, SocketType::Push);
    end.send(&[b"wrong way"]);
    assert_eq!(end.said(), b"");
    assert_eq!(end.events[1], Event::Unsent(vec![b"wrong way".to_vec()]));
}

#[test]
fn a_publisher_takes_subscriptions_in_both_forms_and_counts_them() {
    let (mut end, mut session) = joined(SocketType::Pub, SocketType::Sub);
    let steps: [(u8, &[u8], bool); 7] = [
        (0, b"", false),
        (COMMAND, b"\x09SUBSCRIBEA", true),
        (0, b"\x01A", true),
        (COMMAND, b"\x06CANCELA", true),
        (0, b"\0A", false),
        (0, b"\0A", false),
        (COMMAND, b"\x09SUBSCRIBE", true),
    ];
    for (flags, payload, wanted) in steps {
        end.read(&session.framed(flags, payload));
        end.send(&[b"Apple", b"rest"]);
        let said = session.open(&end.said());
        assert_eq!(!said.is_empty(), wanted, "{payload:?}");
    }
    // A publisher's application hears nothing of it.
    assert_eq!(end.events.len(), 1);
}

#[test]
fn the_application_of_an_xpub_sees_subscriptions_and_messages() {
    let (mut end, mut session) = joined(SocketType::Xpub, SocketType::Xsub);
    for payload in [
        &b"\x01Z"[..],
        b"\x01Z",
        b"\0Z",
        b"\0Z",
        b"\0Z",
        b"plain upstream",
    ] {
        end.read(&session.framed(0, payload));
    }
    let topic = || b"Z".to_vec();
    let expected = [
        Event::Subscribed {
            topic: topic(),
            first: true,
        },
        Event::Subscribed {
            topic: topic(),
            first: false,
        },
        Event::Cancelled {
            topic: topic(),
            last: false,
        },
        Event::Cancelled {
            topic: topic(),
            last: true,
        },
        Event::Message(vec![b"plain upstream".to_vec()]),
    ];
    assert_eq!(end.events[1..], expected);
}

#[test]
fn a_subscriber_speaks_its_publishers_dialect() {
    let mut socket = Socket::new(SocketType::Sub);
    socket.topics = vec![b"A".to_vec(), Vec::new()];
    let expected = [
        [(0, &b"\x01A"[..]), (0, b"\x01"), (0, b"\0A")],
        [
            (COMMAND, b"\x09SUBSCRIBEA"),
            (COMMAND, b"\x09SUBSCRIBE"),
            (COMMAND, b"\x06CANCELA"),
        ],
    ];
    for (minor, expected) in (0..).zip(expected) {
        let (mut end, mut peer) = (initiator(socket.clone()), RawServer::new());
        let session = peer.join(&mut end, SocketType::Pub, minor);
        end.command(Command::Cancel(b"A".to_vec()));
        end.command(Command::Cancel(b"never".to_vec()));
        let said = session.open(&end.said());
        let said: Vec<_> = said
            .iter()
            .map(|(flags, body)| (*flags, &body[..]))
            .collect();
        assert_eq!(said, expected);
    }
}

#[test]
fn a_subscriber_hears_only_what_it_wants() {
    let (mut end, mut peer) = (client(SocketType::Sub), RawServer::new());
    let mut session = peer.join(&mut end, SocketType::Pub, 1);
    end.command(Command::Subscribe(b"A".to_vec()));
    for payload in [b"A1", b"B1"] {
        end.read(&session.framed(0, payload));
    }
    assert_eq!(end.messages(), [[b"A1"]]);
}

#[test]
fn commands_between_the_parts_of_a_message_do_not_disturb_it() {
    let (mut end, mut session) = joined(SocketType::Dealer, SocketType::Dealer);
    end.read(&session.framed(MORE, b"a"));
    end.read(&session.framed(COMMAND | MORE, b"\x04PING\0\0abc"));
    end.read(&session.framed(0, b"b"));
    assert_eq!(end.messages(), [[b"a", b"b"]]);
    assert_eq!(
        session.open(&end.said()),
        [(COMMAND, b"\x04PONGabc".to_vec())]
    );
}

#[test]
fn unknown_empty_and_malformed_commands_are_ignored() {
    let (mut end, mut session) = joined(SocketType::Dealer, SocketType::Dealer);
    for body in [
        &b""[..],
        b"\xffxy",
        b"\x04PING\0",
        b"\x07UNKNOWNx",
        b"\x09SUBSCRIBEA",
        b"\x05ERROR\x03400",
    ] {
        end.read(&session.framed(COMMAND, body));
    }
    end.read(&session.framed(0, b"still here"));
    assert_eq!(end.messages(), [[b"still here"]]);
    assert_eq!(end.said(), b"");
}

#[test]
fn the_end_inside_a_message_is_told_from_one_between_messages() {
    let (mut end, mut session) = joined(SocketType::Dealer, SocketType::Dealer);
    end.read(&session.framed(0, b"whole"));
    end.give(crate::wire::Input::Eof);
    assert_eq!((end.error, end.machine.room()), (None, 0));
    let (mut end, mut session) = joined(SocketType::Dealer, SocketType::Dealer);
    end.read(&frame(0, &session.message(0, b"cut"))[..20]);
    end.give(crate::wire::Input::Eof);
    let truncated = crate::wire::Error::Proto(crate::wire::Violation::Truncated);
    assert_eq!(end.error, Some(truncated));
}

#[test]
fn after_close_nothing_is_taken_or_said() {
    let (mut end, _) = joined(SocketType::Dealer, SocketType::Dealer);
    end.send(&[b"last"]);
    end.command(Command::Close);
    assert!(!end.said().is_empty());
    end.send(&[b"later"]);
    assert_eq!((end.said().len(), end.machine.room()), (0, 0));
    assert_eq!((end.error, end.machine.farewell()), (None, &b""[..]));
}
