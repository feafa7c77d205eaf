use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pair::*;
use super::puppet::*;
use crate::wire::a12::control::{Control, Rekey};
use crate::wire::a12::event::{External, Record, SegmentKind, Target};
use crate::wire::a12::packet::Kind;
use crate::wire::a12::{
    Answer, Ask, Command, Event, Listener, ListenerConfig, Ratchet, Role, Rounds, SecretId,
};
use crate::wire::{Error, Input, Refusal, Violation};

fn register() -> External {
    External::Register {
        title: "hello".into(),
        kind: SegmentKind(3),
        guid: [0; 2],
    }
}

fn server() -> (End, Instant) {
    let now = Instant::now();
    let listener = Setup::default().listener(now, Seeded::new(1));
    (End::new(Box::new(listener), secret_key(SERVER_KEY), 2), now)
}

#[test]
fn a_source_is_admitted_when_it_registers() {
    for rounds in [Rounds::One, Rounds::Two] {
        let mut pair = Setup {
            rounds,
            ..Setup::default()
        }
        .pair();
        pair.drive();
        let role = Some(Role::Sink);
        assert_eq!(pair.client.events, [Event::Established { role }]);
        assert_eq!(pair.server.events, []);
        pair.client_says(Command::External {
            channel: 0,
            event: register(),
        });
        pair.drive();
        pair.assert_well();
        assert_eq!(
            pair.server.events,
            [
                Event::Admitted { role: Role::Source },
                Event::External {
                    channel: 0,
                    event: register()
                }
            ]
        );
        assert_eq!(pair.client.events.last(), Some(&Event::Proved));
        assert!(matches!(
            pair.server.asked[..],
            [
                Ask::Claim { secret: SecretId(7), rounds: told, .. },
                Ask::Proof(_),
                Ask::Proof(_)
            ] if told == rounds
        ));
    }
}

#[test]
fn a_sink_is_admitted_by_what_it_orders() {
    let mut pair = Setup {
        client: Role::Sink,
        server: Role::Source,
        ..Setup::default()
    }
    .pair();
    pair.drive();
    pair.client_says(Command::Target {
        channel: 0,
        event: Target::Activate,
    });
    pair.drive();
    pair.server_says(Command::External {
        channel: 0,
        event: register(),
    });
    pair.drive();
    pair.assert_well();
    let (channel, event) = (0, Target::Activate);
    assert_eq!(
        pair.server.events,
        [
            Event::Admitted { role: Role::Sink },
            Event::Target { channel, event }
        ]
    );
    let event = register();
    assert_eq!(
        pair.client.events.last(),
        Some(&Event::External { channel, event })
    );
}

#[test]
fn a_control_packet_is_a_proof_too() {
    let mut pair = Setup {
        client: Role::Sink,
        server: Role::Source,
        ..Setup::default()
    }
    .pair();
    pair.drive();
    pair.client_says(Command::Open {
        cookie: 5,
        kind: SegmentKind(16),
    });
    pair.drive();
    pair.assert_well();
    assert_eq!(pair.server.asked.len(), 2, "a claim, and a proof at once");
    assert_eq!(
        pair.server.events,
        [
            Event::Admitted { role: Role::Sink },
            Event::NewChannel {
                channel: 1,
                kind: SegmentKind(16),
                cookie: 5
            }
        ]
    );
}

#[test]
fn a_probe_learns_the_role_and_goes() {
    for rounds in [Rounds::One, Rounds::Two] {
        let mut pair = Setup {
            rounds,
            client: Role::Probe,
            ..Setup::default()
        }
        .pair();
        pair.drive();
        let role = Some(Role::Sink);
        assert_eq!(pair.client.events, [Event::Established { role }]);
        pair.server.give(pair.now, Input::Eof);
        pair.client.give(pair.now, Input::Eof);
        pair.assert_well();
        assert_eq!(pair.server.events, []);
        assert_eq!(pair.server.machine.room(), 0);
    }
}

#[test]
fn i1_nothing_is_sent_under_session_keys_before_the_host_has_verified_the_proof() {
    for (rounds, hellos) in [(Rounds::One, 153), (Rounds::Two, 306)] {
        let (mut end, now) = server();
        let mut puppet = Puppet::challenged(&mut end, now, rounds, 1);
        assert_eq!(end.sent.len(), hellos);
        end.holds = true;
        let proof = puppet.event(0, Record::External(register()));
        assert_eq!(end.feed(now, &proof, || 50).len(), 11, "what exceeds 153");
        assert_eq!((end.sent.len(), end.events.len()), (hellos, 0));

        let more = end.answer(&end.asked.last().unwrap().clone());
        assert!(matches!(more, Answer::More));
        end.give(now, Input::Answer(more));
        assert!(end.feed(now, &proof[153..], || 50).is_empty());
        assert_eq!((end.sent.len(), end.events.len()), (hellos, 0));

        let session = end.answer(&end.asked.last().unwrap().clone());
        end.takes = false;
        end.give(now, Input::Answer(session));
        assert_eq!(end.events, [Event::Admitted { role: Role::Source }]);
        // The ratchet is the first thing under session keys, and the script has not even decided.
        assert!(matches!(
            puppet.controls(&end)[..],
            [Control::Rekey(Rekey::Ratchet { .. })]
        ));
        assert_eq!(end.machine.room(), 0);
        end.give(now, Input::Command(Command::Accept));
        assert_eq!(end.events.len(), 2);
        assert_eq!(end.error, None);
    }
}

#[test]
fn i1_keys_that_do_not_fit_the_proof_admit_nobody() {
    let (mut end, now) = server();
    let mut puppet = Puppet::challenged(&mut end, now, Rounds::Two, 1);
    end.holds = true;
    let proof = puppet.control(0, &Control::Ping(0));
    end.feed(now, &proof, || 999);
    end.give(now, Input::Answer(Answer::Session(initial("others"))));
    assert!(matches!(end.error, Some(Error::Proto(_))));
    assert_eq!((end.sent.len(), end.events.len()), (306, 0));
}

/// What a peer sees that is not let in, whatever the reason.
fn refused(bytes: &[Vec<u8>], accepts: bool) -> (usize, Option<Error>) {
    let (mut end, now) = server();
    end.accepts = accepts;
    for bytes in bytes {
        end.feed(now, bytes, || 999);
    }
    assert_eq!(end.events, []);
    assert_eq!(end.machine.room(), 0);
    (end.sent.len(), end.error)
}

#[test]
fn i3_a_refused_first_packet_is_answered_by_silence() {
    let mut weak = client_hello(1, 1);
    weak[21..53].fill(0);
    let mut weak_ephemeral = weak;
    weak_ephemeral[20] = 2;
    let mut other_command = client_hello(1, 1);
    other_command[17] = 7;
    let mut flipped = first("SETECASTRONOMY", &client_hello(1, 1));
    flipped[100] ^= 1;
    let secret = "SETECASTRONOMY";
    let rows = [
        (first("wrong", &client_hello(1, 1)), Violation::FirstPacket),
        (flipped, Violation::FirstPacket),
        (vec![0; 153], Violation::FirstPacket),
        (first(secret, &client_hello(1, 2)), Violation::Role(2)),
        (first(secret, &client_hello(1, 5)), Violation::Role(5)),
        (first(secret, &client_hello(0, 1)), Violation::Mode(0)),
        (first(secret, &client_hello(3, 1)), Violation::Mode(3)),
        (first(secret, &weak), Violation::Key),
        (first(secret, &weak_ephemeral), Violation::Key),
        (first(secret, &other_command), Violation::Command(7)),
    ];
    for (packet, violation) in rows {
        assert_eq!(refused(&[packet], true), (0, proto(violation)));
    }
    let claim = first(secret, &client_hello(1, 1));
    let access = Some(Error::Access(Refusal::NotAccepted));
    assert_eq!(refused(&[claim], false), (0, access));
}

#[test]
fn i3_after_the_ephemeral_round_refusals_are_silent_too() {
    let send = |packet: &dyn Fn(&mut Puppet) -> Vec<u8>, accepts| {
        let (mut end, now) = server();
        let mut puppet = Puppet::second(&mut end, now, 1);
        end.accepts = accepts;
        let packet = packet(&mut puppet);
        end.feed(now, &packet, || 999);
        assert_eq!((end.sent.len(), end.events.len()), (153, 0));
        end.error
    };
    type Packet = Box<dyn Fn(&mut Puppet) -> Vec<u8>>;
    let hello = |mode, role| -> Packet {
        Box::new(move |puppet| puppet.seal(Kind::Control, &client_hello(mode, role)))
    };
    let rows: [(Packet, Violation); 7] = [
        (hello(2, 1), Violation::Rounds),
        (hello(0, 1), Violation::Mode(0)),
        (hello(1, 2), Violation::Role(2)),
        (
            Box::new(|puppet| puppet.control(0, &Control::Ping(1))),
            Violation::Command(7),
        ),
        (
            Box::new(|puppet| puppet.event(0, Record::External(register()))),
            Violation::PacketType(2),
        ),
        (
            // As much of it as is looked at does not verify.
            Box::new(|puppet| puppet.data(Kind::Video, 0, &[0; 200])),
            Violation::Tag,
        ),
        (
            Box::new(|puppet| {
                let mut packet = puppet.seal(Kind::Control, &client_hello(1, 1));
                packet[60] ^= 1;
                packet
            }),
            Violation::Tag,
        ),
    ];
    for (packet, violation) in rows {
        assert_eq!(send(&packet, true), proto(violation));
    }
    assert_eq!(
        send(&hello(1, 1), false),
        Some(Error::Access(Refusal::NotAccepted))
    );
}

#[test]
fn i3_a_bad_proof_is_refused_in_silence() {
    type Packet = Box<dyn Fn(&mut Puppet) -> Vec<u8>>;
    let rows: [Packet; 4] = [
        Box::new(|puppet| puppet.seal(Kind::Control, &client_hello(1, 1))),
        Box::new(|puppet| puppet.data(Kind::Binary, 0, &[0; 200])),
        Box::new(|puppet| {
            puppet.control(0, &Control::Ping(0));
            puppet.control(0, &Control::Ping(0))
        }),
        Box::new(|_| vec![7; 164]),
    ];
    for packet in rows {
        let (mut end, now) = server();
        let mut puppet = Puppet::challenged(&mut end, now, Rounds::Two, 1);
        let packet = packet(&mut puppet);
        end.feed(now, &packet, || 999);
        assert_eq!(end.error, Some(Error::Access(Refusal::NotAccepted)));
        assert_eq!((end.sent.len(), end.events.len()), (306, 0));
    }
}

#[test]
fn every_current_secret_is_tried() {
    let secrets = [
        "one", "two", "three", "four", "five", "six", "seven", "eight",
    ];
    let config = Arc::new(ListenerConfig {
        role: Role::Sink,
        candidates: (10..).map(SecretId).zip(secrets.map(initial)).collect(),
        handshake: HANDSHAKE,
        ratchet: Ratchet {
            at_once: true,
            every_bytes: 0,
        },
    });
    for (number, secret) in (10..).zip(secrets) {
        let now = Instant::now();
        let listener = Listener::new(config.clone(), now, Seeded::new(1));
        let mut end = End::new(Box::new(listener), secret_key(SERVER_KEY), 2);
        end.feed(now, &first(secret, &client_hello(1, 1)), || 999);
        assert!(matches!(
            end.asked[..],
            [Ask::Claim { secret: SecretId(found), .. }] if found == number
        ));
    }
}

#[test]
fn i7_an_unproved_listener_holds_a_fixed_amount() {
    let (mut end, now) = server();
    assert_eq!(end.machine.room(), 153);
    end.feed(now, &[0; 100], || 1);
    assert_eq!(end.machine.room(), 53);

    let (mut end, now) = server();
    end.holds = true;
    let mut puppet = Puppet::second(&mut end, now, 1);
    assert_eq!(end.machine.room(), 153);
    let hello = puppet.seal(Kind::Control, &client_hello(1, 1));
    assert!(end.feed(now, &hello, || 20).is_empty());
    assert_eq!(end.machine.room(), 0, "while the host thinks");
    let challenge = end.answer(&end.asked[0].clone());
    end.give(now, Input::Answer(challenge));
    assert_eq!(end.machine.room(), 153);
    end.feed(now, &[0; 153], || 153);
    assert_eq!(end.machine.room(), 0, "while the host thinks");
    end.give(now, Input::Answer(Answer::More));
    assert_eq!(end.machine.room(), 11);
    end.feed(now, &[0; 11], || 11);
    assert_eq!(end.machine.room(), 0);
    end.give(now, Input::Answer(Answer::More));
    assert_eq!(end.error, proto(Violation::OutOfTurn), "there is no more");
}

#[test]
fn i7_more_than_there_is_room_for_is_refused() {
    let (mut end, now) = server();
    end.give(now, Input::Bytes(&[0; 154]));
    assert_eq!(end.error, proto(Violation::OutOfTurn));

    let (mut end, now) = server();
    end.holds = true;
    end.feed(now, &first("SETECASTRONOMY", &client_hello(1, 1)), || 999);
    end.give(now, Input::Bytes(&[]));
    assert_eq!(end.error, None);
    end.give(now, Input::Bytes(&[0]));
    assert_eq!(end.error, proto(Violation::OutOfTurn));
}

#[test]
fn i7_a_handshake_has_an_absolute_deadline() {
    let (mut end, start) = server();
    end.give(start, Input::Timeout);
    assert_eq!(end.deadline, Some(start + HANDSHAKE));
    let packet = first("SETECASTRONOMY", &client_hello(2, 1));
    for (second, byte) in (0..).zip(&packet[..9]) {
        end.give(start + Duration::from_secs(second), Input::Bytes(&[*byte]));
        assert_eq!(end.deadline, Some(start + HANDSHAKE));
    }
    end.give(start + HANDSHAKE, Input::Timeout);
    assert_eq!(end.error, proto(Violation::Deadline));

    // It does not matter what comes when it has passed.
    let (mut end, start) = server();
    Puppet::challenged(&mut end, start, Rounds::Two, 1);
    assert_eq!(end.deadline, Some(start + HANDSHAKE));
    end.give(start + HANDSHAKE, Input::Bytes(&[0]));
    assert_eq!(end.error, proto(Violation::Deadline));

    // Who has proved its key has none.
    let (mut end, start) = server();
    Puppet::client(&mut end, start, Rounds::Two, Role::Source);
    assert_eq!(end.deadline, None);
    end.give(start + HANDSHAKE * 100, Input::Timeout);
    assert_eq!(end.error, None);
}

#[test]
fn the_initiator_does_not_wait_for_ever() {
    let now = Instant::now();
    let client = Setup::default().initiator(now, Seeded::new(1));
    let mut end = End::new(Box::new(client), secret_key(CLIENT_KEY), 2);
    end.give(now, Input::Timeout);
    assert_eq!(end.deadline, Some(now + HANDSHAKE));
    assert_eq!(end.sent.len(), 153);
    end.give(now + HANDSHAKE, Input::Timeout);
    assert_eq!(end.error, proto(Violation::Deadline));
}

#[test]
fn an_end_between_packets_is_clean_where_the_peer_may_stop() {
    // Nobody was there.
    let (mut end, now) = server();
    end.give(now, Input::Eof);
    assert_eq!(end.error, None);

    // A probe, or a client that does not want our key.
    for rounds in [Rounds::One, Rounds::Two] {
        let (mut end, now) = server();
        Puppet::challenged(&mut end, now, rounds, 1);
        end.give(now, Input::Eof);
        assert_eq!((end.error, end.machine.room()), (None, 0));
    }
}

#[test]
fn an_end_within_the_handshake_or_a_packet_is_not() {
    let (mut end, now) = server();
    end.feed(now, &[0], || 1);
    end.give(now, Input::Eof);
    assert_eq!(end.error, proto(Violation::Truncated));

    let (mut end, now) = server();
    Puppet::second(&mut end, now, 1);
    end.give(now, Input::Eof);
    assert_eq!(end.error, proto(Violation::Truncated));

    let (mut end, now) = server();
    Puppet::challenged(&mut end, now, Rounds::Two, 1);
    end.feed(now, &[0], || 1);
    end.give(now, Input::Eof);
    assert_eq!(end.error, proto(Violation::Truncated));

    let (mut end, now) = server();
    Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    end.feed(now, &[0], || 1);
    end.give(now, Input::Eof);
    assert_eq!(end.error, proto(Violation::Truncated));
}

#[test]
fn errors_are_sticky_and_silent() {
    let (mut end, now) = server();
    end.feed(now, &[0; 153], || 999);
    assert_eq!(end.error, proto(Violation::FirstPacket));
    for input in [
        Input::Timeout,
        Input::Eof,
        Input::Bytes(&[1]),
        Input::Command(Command::Accept),
        Input::Answer(Answer::More),
    ] {
        assert_eq!(
            end.machine.handle(now, input),
            Err(Error::Proto(Violation::FirstPacket))
        );
    }
    assert_eq!((end.sent.len(), end.deadline), (0, None));
}

#[test]
fn answers_and_commands_out_of_turn_are_bugs_of_ours() {
    let give = |input: Input<'_, Answer, Command>| {
        let (mut end, now) = server();
        end.give(now, input);
        end.error
    };
    let bug = proto(Violation::OutOfTurn);
    assert_eq!(give(Input::Answer(Answer::More)), bug);
    assert_eq!(give(Input::Command(Command::Accept)), bug);
    let keys = initial("SETECASTRONOMY");
    assert_eq!(give(Input::Answer(Answer::Session(keys.clone()))), bug);

    // Session keys before the proof has been seen.
    let (mut end, now) = server();
    Puppet::challenged(&mut end, now, Rounds::One, 1);
    end.give(now, Input::Answer(Answer::Session(keys)));
    assert_eq!((end.error, end.sent.len()), (bug, 153));
}

#[test]
fn an_initiator_refuses_what_does_not_answer_its_hello() {
    let now = Instant::now();
    let setup = Setup {
        rounds: Rounds::One,
        ..Setup::default()
    };
    let mut wrong_role = Setup {
        server: Role::Source,
        ..setup.clone()
    }
    .pair();
    wrong_role.drive();
    // The server has noticed first, and said nothing.
    assert_eq!(wrong_role.server.error, proto(Violation::Role(1)));
    wrong_role.client.give(now, Input::Eof);
    assert_eq!(wrong_role.client.error, proto(Violation::Truncated));

    let mut end = End::new(
        Box::new(setup.initiator(now, Seeded::new(1))),
        secret_key(CLIENT_KEY),
        2,
    );
    end.accepts = false;
    Puppet::server(&mut end, now, Role::Sink);
    assert_eq!(end.error, Some(Error::Access(Refusal::NotAccepted)));
    assert_eq!((end.sent.len(), end.events.len()), (153, 0));

    let mut end = End::new(
        Box::new(setup.initiator(now, Seeded::new(1))),
        secret_key(CLIENT_KEY),
        2,
    );
    Puppet::server(&mut end, now, Role::Source);
    assert_eq!(end.error, proto(Violation::Role(1)));
}
