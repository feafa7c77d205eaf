use std::time::Instant;

use super::pair::*;
use super::puppet::*;
use crate::wire::a12::control::{Control, Rekey};
use crate::wire::a12::event::{External, Record, Target};
use crate::wire::a12::{Ask, Command, Event, Ratchet, Role, Rounds};
use crate::wire::{Error, Input, Refusal, Violation};

fn ident(number: u32) -> External {
    External::Ident(number.to_string())
}

fn listener(at_once: bool, every_bytes: u64) -> (End, Instant) {
    let now = Instant::now();
    let ratchet = Ratchet {
        at_once,
        every_bytes,
    };
    let setup = Setup {
        ratchet,
        ..Setup::default()
    };
    let listener = setup.listener(now, Seeded::new(1));
    (End::new(Box::new(listener), secret_key(SERVER_KEY), 2), now)
}

fn initiator() -> (End, Instant) {
    let now = Instant::now();
    let setup = Setup {
        rounds: Rounds::One,
        ..Setup::default()
    };
    let initiator = setup.initiator(now, Seeded::new(1));
    (
        End::new(Box::new(initiator), secret_key(CLIENT_KEY), 2),
        now,
    )
}

fn is_ratchet(control: &Control) -> bool {
    matches!(control, Control::Rekey(Rekey::Ratchet { .. }))
}

fn say(end: &mut End, now: Instant) {
    let (channel, event) = (0, Target::Activate);
    end.give(now, Input::Command(Command::Target { channel, event }));
}

#[test]
fn hundreds_of_ratchets_lose_nothing() {
    for (seed, rounds) in [(1, Rounds::One), (2, Rounds::Two)] {
        let mut pair = Setup {
            rounds,
            seed,
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 1,
            },
            ..Setup::default()
        }
        .pair();
        pair.drive();
        for number in 0..300 {
            pair.client_says(Command::External {
                channel: 0,
                event: ident(number),
            });
            if number > 0 {
                pair.server_says(Command::Target {
                    channel: 0,
                    event: Target::Store(number),
                });
                pair.server_says(Command::Target {
                    channel: 0,
                    event: Target::FrameSkip(number as i32),
                });
            }
            if number % 3 == 0 {
                pair.drive();
            }
        }
        pair.drive();
        pair.assert_well();
        let said: Vec<_> = (0..300)
            .map(|number| Event::External {
                channel: 0,
                event: ident(number),
            })
            .collect();
        assert_eq!(pair.server.events[1..], said);
        assert_eq!(pair.client.events.len(), 2 + 299);
        let ratchets = pair
            .client
            .asked
            .iter()
            .filter(|ask| matches!(ask, Ask::Ratchet(_)))
            .count();
        assert_eq!(ratchets, 1, "later ones do not involve the static key");
    }
}

#[test]
fn a_listener_ratchets_again_when_it_has_the_token_and_has_said_enough() {
    let (mut end, now) = listener(true, 300);
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    let controls = puppet.controls(&end);
    assert_eq!(controls.len(), 1);
    assert!(is_ratchet(&controls[0]));
    // Without the token it goes on under the keys it has.
    for _ in 0..10 {
        say(&mut end, now);
    }
    assert_eq!(puppet.controls(&end), []);
    // It comes back, and more than enough has been said.
    end.feed(now, &puppet.rekey(0x44), || 999);
    assert!(is_ratchet(&puppet.controls(&end)[0]));
    end.feed(now, &puppet.rekey(0x45), || 999);
    assert_eq!(puppet.controls(&end), []);
    // 139 bytes each.
    say(&mut end, now);
    say(&mut end, now);
    assert_eq!(puppet.controls(&end), []);
    say(&mut end, now);
    let controls = puppet.controls(&end);
    assert!(is_ratchet(controls.last().unwrap()));
    assert_eq!(end.error, None);
}

#[test]
fn without_a_limit_there_is_no_second_ratchet() {
    let (mut end, now) = listener(true, 0);
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    puppet.seen(&end);
    end.feed(now, &puppet.rekey(0x44), || 999);
    for _ in 0..100 {
        say(&mut end, now);
    }
    assert_eq!(puppet.controls(&end), []);
}

#[test]
fn a_peer_that_ratchets_out_of_turn_is_cut_off() {
    // The listener has the token from the beginning.
    let (mut end, now) = listener(false, 0);
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    end.feed(now, &puppet.rekey(0x44), || 999);
    assert_eq!(end.error, proto(Violation::Rekey));

    // It has it again once it came back.
    let (mut end, now) = listener(true, 0);
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    puppet.seen(&end);
    end.feed(now, &puppet.rekey(0x44), || 999);
    assert_eq!(end.error, None);
    end.feed(now, &puppet.rekey(0x45), || 999);
    assert_eq!(end.error, proto(Violation::Rekey));
}

#[test]
fn odd_rekeys_are_refused() {
    let signing = Rekey::Signing {
        key: [1; 32],
        signature: [2; 64],
    };
    for rekey in [signing, Rekey::Other(2)] {
        let (mut end, now) = listener(true, 0);
        let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
        puppet.seen(&end);
        let packet = puppet.control(0, &Control::Rekey(rekey));
        end.feed(now, &packet, || 999);
        assert_eq!(end.error, proto(Violation::Rekey));
    }
    let (mut end, now) = listener(true, 0);
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    puppet.seen(&end);
    let packet = puppet.control(0, &Control::Rekey(Rekey::Ratchet { key: [0; 32] }));
    end.feed(now, &packet, || 999);
    assert_eq!(end.error, proto(Violation::Key));
}

#[test]
fn an_initiator_asks_the_key_room_once_and_returns_the_token_at_once() {
    let (mut end, now) = initiator();
    let mut puppet = Puppet::server(&mut end, now, Role::Sink);
    // A REKEY, and more under the new keys in the same segment.
    let mut bytes = puppet.rekey(0x44);
    bytes.extend(puppet.event(0, Record::Target(Target::Activate)));
    assert!(end.feed(now, &bytes, || 999).is_empty());
    assert!(matches!(end.asked[..], [Ask::Server(_), Ask::Ratchet(_)]));
    let controls = puppet.controls(&end);
    assert!(matches!(&controls[..], [control] if is_ratchet(control)));

    let bytes = puppet.rekey(0x45);
    assert!(end.feed(now, &bytes, || 999).is_empty());
    assert_eq!(end.asked.len(), 2);
    let controls = puppet.controls(&end);
    assert!(matches!(&controls[..], [control] if is_ratchet(control)));
    assert_eq!(end.error, None);
    assert_eq!(end.events.len(), 3);
}

#[test]
fn while_the_key_room_computes_a_ratchet_nothing_is_taken() {
    let (mut end, now) = initiator();
    let mut puppet = Puppet::server(&mut end, now, Role::Sink);
    end.holds = true;
    let mut bytes = puppet.rekey(0x44);
    bytes.extend(puppet.event(0, Record::Target(Target::Activate)));
    assert!(end.feed(now, &bytes, || 999).is_empty());
    assert_eq!(end.machine.room(), 0);
    assert_eq!(end.events.len(), 2, "what comes after it waits");
    assert_eq!(puppet.controls(&end), []);
    let answer = end.answer(&end.asked.last().unwrap().clone());
    end.give(now, Input::Answer(answer));
    assert_eq!(end.events.len(), 3);

    let (mut end, now) = initiator();
    let mut puppet = Puppet::server(&mut end, now, Role::Sink);
    end.holds = true;
    end.feed(now, &puppet.rekey(0x44), || 999);
    let refused = crate::wire::a12::Answer::Refused(Refusal::NotAccepted);
    end.give(now, Input::Answer(refused));
    assert_eq!(end.error, Some(Error::Access(Refusal::NotAccepted)));
    assert_eq!(puppet.controls(&end), []);
}

#[test]
fn what_was_recorded_before_a_ratchet_is_closed_to_who_learns_the_static_keys_later() {
    let (mut end, now) = listener(true, 0);
    let mut puppet = Puppet::client(&mut end, now, Rounds::Two, Role::Source);
    let before = puppet.read;
    puppet.seen(&end);
    end.feed(now, &puppet.rekey(0x44), || 999);
    say(&mut end, now);
    assert_eq!(puppet.seen(&end).len(), 1);
    // The session's keys, which the static keys give away, open the REKEY and nothing after it.
    let mut eavesdropper = Puppet::client(&mut listener(true, 0).0, now, Rounds::Two, Role::Source);
    eavesdropper.inbound.push(&end.sent[before..]);
    assert!(matches!(eavesdropper.inbound.next(), Ok(Some(_))));
    assert!(eavesdropper.inbound.next().is_err());
}
