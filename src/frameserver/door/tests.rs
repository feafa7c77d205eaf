use proptest::prelude::*;

use super::*;

fn v4(number: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(0x0a00_0000 + number).into())
}

fn door() -> (Door, Instant) {
    (Door::new(Unproved::USUAL, true), Instant::now())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_few_slips_cost_nothing_and_many_shut_a_source_out() {
    let (mut door, now) = door();
    for _ in 0..3 {
        door.offended(now, v4(1));
        assert!(!door.is_shut(now, v4(1)));
    }
    door.offended(now, v4(1));
    assert!(door.is_shut(now, v4(1)));
    assert!(!door.is_shut(now, v4(2)), "somebody else");
    assert!(door.is_shut(now + 19 * SECOND, v4(1)));
    assert!(!door.is_shut(now + 20 * SECOND, v4(1)), "paid");
}

#[test]
fn sources_that_are_shut_out_are_counted_until_they_have_paid() {
    let (mut door, now) = door();
    for number in 1..=3 {
        (0..number + 2).for_each(|_| door.offended(now, v4(number)));
    }
    assert_eq!((door.shut(now), door.shut_outs()), (2, 2));
    assert_eq!(door.shut(now + 20 * SECOND), 1);
    assert_eq!(door.shut(now + 25 * SECOND), 0);
    assert_eq!(door.shut_outs(), 2);
}

#[test]
fn slips_that_are_far_apart_add_up_to_nothing() {
    let (mut door, mut now) = door();
    for _ in 0..1000 {
        door.offended(now, v4(1));
        assert!(!door.is_shut(now, v4(1)));
        now += COST;
    }
}

#[test]
fn i10_nobody_is_shut_out_for_longer_than_a_minute_and_then_starts_afresh() {
    let (mut door, start) = door();
    let flood = |door: &mut Door, from: u32, to: u32| {
        for tenth in from * 10..to * 10 {
            door.offended(start + tenth * SECOND / 10, v4(1));
        }
    };
    flood(&mut door, 0, 60);
    assert!(door.is_shut(start + 59 * SECOND, v4(1)));
    let over = start + LONGEST + SECOND;
    assert!(!door.is_shut(over, v4(1)));
    // Whatever an attacker at the same address does now, for some seconds it does not count.
    flood(&mut door, 61, 65);
    assert!(!door.is_shut(start + 65 * SECOND, v4(1)));
    flood(&mut door, 66, 70);
    assert!(door.is_shut(start + 70 * SECOND, v4(1)), "only a respite");
}

#[test]
fn a_proof_lifts_what_its_source_owes_and_speaks_for_it() {
    let (mut door, now) = door();
    (0..9).for_each(|_| door.offended(now, v4(1)));
    assert!(door.is_shut(now, v4(1)));
    door.proved(now, v4(1));
    (0..9).for_each(|_| door.offended(now, v4(1)));
    assert!(!door.is_shut(now, v4(1)) && door.is_good(now, v4(1)));
    let later = now + GOOD_FOR;
    assert!(!door.is_good(later, v4(1)));
    (0..9).for_each(|_| door.offended(later, v4(1)));
    assert!(door.is_shut(later, v4(1)));
}

#[test]
fn a_source_is_an_address_or_a_network_of_64_bits() {
    let of = |text: &str| Network::of(text.parse().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:2"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
}

#[test]
fn the_address_that_forwarders_share_owes_nothing() {
    let (mut door, now) = door();
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let source = Network::of(address.parse().unwrap());
        (0..9).for_each(|_| door.offended(now, source));
        assert!(!door.is_shut(now, source), "{address}");
    }
    let other = Network::of("127.0.0.2".parse().unwrap());
    (0..9).for_each(|_| door.offended(now, other));
    assert!(door.is_shut(now, other));
}

#[test]
fn penalties_can_be_switched_off() {
    let now = Instant::now();
    let mut door = Door::new(Unproved::USUAL, false);
    (0..99).for_each(|_| door.offended(now, v4(1)));
    assert!(!door.is_shut(now, v4(1)));
}

#[test]
fn i7_what_is_known_of_sources_is_bounded_and_the_oldest_goes() {
    let (mut door, now) = door();
    let many = u32::try_from(SOURCES).unwrap();
    for number in 0..many + 5 {
        (0..4).for_each(|_| door.offended(now, v4(number)));
    }
    assert_eq!(door.owing.known.len(), SOURCES);
    assert_eq!(door.owing.order.len(), SOURCES);
    assert!(!door.is_shut(now, v4(4)) && door.is_shut(now, v4(5)));
    // A flood of offences takes nothing from those that are good.
    door.proved(now, v4(0));
    for number in 10_000..10_000 + 2 * many {
        door.offended(now, v4(number));
    }
    assert!(door.is_good(now, v4(0)));
}

#[test]
fn room_gets_scarce_evenly() {
    let door = Door::new("100:20:200".parse().unwrap(), true);
    let scarce = |held| {
        let dice = (0..1000).map(|n| n * (u32::MAX / 1000));
        dice.filter(|dice| door.room(held, *dice) == Room::Scarce)
            .count()
    };
    assert_eq!([0, 99].map(scarce), [0, 0]);
    let close = |held, expected: usize| scarce(held).abs_diff(expected) < 5;
    assert!(close(100, 200) && close(150, 600) && close(199, 992));
    assert_eq!(door.room(200, u32::MAX), Room::None);
    let sudden = Door::new(Unproved::at_most(3), true);
    assert_eq!(sudden.room(2, 0), Room::Enough);
    assert_eq!(sudden.room(3, 0), Room::None);
}

#[test]
fn rests_grow_and_begin_anew() {
    let mut rests = Rests::default();
    let told: Vec<u128> = (0..7).map(|_| rests.rest().as_millis()).collect();
    assert_eq!(told, [50, 100, 200, 400, 800, 1000, 1000]);
    rests.over();
    assert_eq!(rests.rest(), Rests::SHORTEST);
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait(u64),
    Offend(u32),
    Prove(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..20_000_u64).prop_map(Step::Wait),
        8 => (0..4_u32).prop_map(Step::Offend),
        1 => (0..4_u32).prop_map(Step::Prove),
    ]
}

proptest! {
    /// Whatever happens, in whatever order: nobody is out for longer than a minute at a stretch, and
    /// then has the respite to come in; nobody is out who has proved a key within the hour.
    #[test]
    fn i10_being_shut_out_has_an_end(steps in prop::collection::vec(step(), 1..300)) {
        let (mut door, mut now) = door();
        let mut shut_since = [None::<Instant>; 4];
        let mut open_until = [now; 4];
        let mut good_until = [now; 4];
        for step in steps {
            match step {
                Step::Wait(ms) => {
                    // Looked at often, so that no end is missed.
                    let until = now + Duration::from_millis(ms);
                    while now < until {
                        now = until.min(now + SECOND / 2);
                        for source in 0..4 {
                            watch(&door, now, source, &mut shut_since, &mut open_until)?;
                        }
                    }
                }
                Step::Offend(source) => door.offended(now, v4(source)),
                Step::Prove(source) => {
                    door.proved(now, v4(source));
                    good_until[source as usize] = now + GOOD_FOR;
                }
            }
            for (source, until) in good_until.iter().enumerate() {
                watch(&door, now, source, &mut shut_since, &mut open_until)?;
                let good = now < *until;
                prop_assert!(!good || !door.is_shut(now, v4(source as u32)));
            }
        }
    }
}

fn watch(
    door: &Door,
    now: Instant,
    source: usize,
    shut_since: &mut [Option<Instant>; 4],
    open_until: &mut [Instant; 4],
) -> Result<(), TestCaseError> {
    if door.is_shut(now, v4(source as u32)) {
        prop_assert!(now >= open_until[source], "no respite");
        let since = *shut_since[source].get_or_insert(now);
        prop_assert!(now - since < LONGEST, "shut out for ever");
    } else if shut_since[source].take().is_some() {
        // It was found open up to half a second late.
        open_until[source] = now + RESPITE - SECOND / 2;
    }
    Ok(())
}
