//! A frameserver that lies. It holds all that one of ours holds, and may say anything that its socket
//! can carry, in any order. Nobody is in afterwards who has not proved a key, no slot is spent on
//! anybody else, and what belongs to another listener is as it was.

mod world;

use keystore::Farewell;

use super::roll::Stage;
use super::store::News;
use crate::ipc::frameserver::{Ended, FromFrameserver};
use crate::ipc::{ConnectionId, Denied, SessionId};
use crate::wire::Violation;
use crate::wire::Whole;
use crate::wire::a12::{Ask, Rounds};

use world::*;

/// I1 and I2 over many seeds; a failure names its seed.
#[test]
fn i1_i2_whatever_a_frameserver_says_nobody_is_in_without_a_proof() {
    let (mut let_in, mut deaths) = (0, 0);
    for seed in 0..24 {
        with_world(seed, async |mut world| {
            eprintln!("seed {seed}");
            for _ in 0..120 {
                world.step().await;
            }
            world.settle().await;
            world.check().await;
            let_in += world.admitted.values().sum::<usize>();
            deaths += world.deaths;
        });
    }
    eprintln!("{let_in} were let in, {deaths} frameservers were ended");
    assert!(let_in > 40, "hardly anybody is let in: it proves nothing");
    assert!(deaths > 40, "hardly a lie is punished: it proves nothing");
}

/// What a frameserver must not say costs it its life, and nobody else anything.
#[test]
fn a_lie_costs_the_frameserver_its_life() {
    type Lie = fn(&mut World);
    let claim = |world: &World| Ask::Claim {
        secret: world.secret,
        rounds: Rounds::One,
        hello: hello(world.victim),
    };
    let lies: [(&str, Lie); 8] = [
        ("a claim twice", |world| {
            let twice = || Ask::Claim {
                secret: world.secret,
                rounds: Rounds::One,
                hello: hello(world.victim),
            };
            let twice = [twice(), twice()];
            twice
                .into_iter()
                .for_each(|claim| world.asks(ConnectionId(1), claim));
        }),
        ("a proof without a claim", |world| {
            world.asks(ConnectionId(1), Ask::Proof(vec![0; 153]));
        }),
        ("an initiator's question", |world| {
            world.asks(ConnectionId(1), Ask::Server(hello(world.victim)));
        }),
        ("a ratchet", |world| {
            world.asks(ConnectionId(1), Ask::Ratchet(Whole([0; 128])));
        }),
        ("the end of another's session", |world| {
            let (session, why) = (world.other, Ended::Peer);
            world.says(FromFrameserver::Gone { session, why });
        }),
        ("the end of a session that never was", |world| {
            let (session, why) = (SessionId(77), Ended::Peer);
            world.says(FromFrameserver::Gone { session, why });
        }),
        ("readiness twice", |world| {
            world.says(FromFrameserver::Ready(whole_report()));
            assert!(!world.is_killed());
            world.says(FromFrameserver::Ready(whole_report()));
        }),
        // Required here: what is not denied must not be served.
        ("an incomplete sandbox", |world| {
            let mut report = whole_report();
            report.push(Denied {
                action: "bpf".into(),
                layer: None,
            });
            world.says(FromFrameserver::Ready(report));
        }),
    ];
    for (what, lie) in lies {
        with_world(1, async |mut world| {
            lie(&mut world);
            assert!(world.is_killed(), "{what} is let pass");
            world.settle().await;
            world.check().await;
            assert!(world.admitted.is_empty());
        });
    }
    with_world(1, async |mut world| {
        for number in 0..=2 * u64::from(world.host.options.unproved.full()) {
            assert!(!world.is_killed(), "it may hold {number}");
            let claim = claim(&world);
            world.asks(ConnectionId(number), claim);
        }
        assert!(world.is_killed(), "it claims for more than it may hold");
    });
}

/// A listener that was required to be safe is not shown as ready before it is.
#[test]
fn an_incomplete_sandbox_is_never_ready_where_it_is_required() {
    with_world(1, async |mut world| {
        world.says(FromFrameserver::Ready(Vec::new()));
        assert!(world.is_killed());
        let front = &world.host.fronts[&world.front];
        assert!(!front.is_ready());
    });
}

/// Guesses that it makes up shut the window early; they never let anybody in.
#[test]
fn i2_guesses_that_are_made_up_only_shut_the_window() {
    with_world(1, async |mut world| {
        world.settle().await;
        for number in 0..300 {
            world.says(FromFrameserver::Closed {
                connection: ConnectionId(number),
                source: source(),
                reference: None,
                why: Ended::Violation(Violation::FirstPacket),
            });
        }
        let windows = world.stored().await;
        assert!(windows[0].ended.is_some() && windows[0].enrolled.is_empty());
        // Then only those come in that are accepted anyhow.
        (0..8).for_each(|_| world.connect());
        let windows = world.stored().await;
        assert!(windows[0].enrolled.is_empty());
    });
}

#[test]
fn i5_a_host_that_cannot_hear_its_store_lets_nobody_in_and_keeps_nobody() {
    with_world(1, async |mut world| {
        world.settle().await;
        world.host.hear_store(News::Blind);
        let other = world.host.sessions.get(world.other).map(|it| it.stage);
        assert_eq!(other, Some(Stage::Ending(Farewell::Revoked)));
        for _ in 0..30 {
            world.connect();
            world.settle().await;
        }
        assert!(world.admitted.is_empty(), "somebody came in unseen");
        world.host.hear_store(News::Unheard);
        for _ in 0..30 {
            world.connect();
            world.settle().await;
        }
        assert!(!world.admitted.is_empty(), "nobody comes in any more");
    });
}

#[test]
fn who_proves_a_key_while_the_host_ends_is_refused_for_that() {
    with_world(1, async |mut world| {
        world.settle().await;
        world.host.signalled();
        for _ in 0..30 {
            world.connect();
            world.settle().await;
        }
        assert!(world.admitted.is_empty());
        let page = world.host.metrics(&[], None).join("\n");
        let refused = |reason: &str| {
            let wanted = format!("moonport_refusals_total{{reason=\"{reason}\"}} ");
            let line = page.lines().find_map(|line| line.strip_prefix(&wanted));
            line.unwrap().parse::<u32>().unwrap()
        };
        assert_eq!(refused("too-many"), 0);
        assert!(refused("closing") > 0);
    });
}
