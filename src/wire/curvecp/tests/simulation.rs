//! Both ends over a network that is not kind.

use super::super::connection::{Closed, Event};
use super::super::*;
use super::world::*;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn finished(length: usize) -> Application {
    Application::new(bytes(length), Some(End::Success))
}

#[track_caller]
fn all_comes(world: &mut World, time: Duration) {
    let over = world.until(time, World::is_over);
    assert!(
        over,
        "after {time:?}: {:?}",
        world.at_client.application.events
    );
    let (client, server) = (&world.at_client.application, &world.at_server.application);
    assert!(client.read == server.writes && server.read == client.writes);
}

#[test]
fn every_byte_comes_in_order_over_a_bad_network() {
    for seed in 0..60 {
        let weather = Weather {
            loss: seed % 21,
            twice: seed % 7,
            late: seed % 11,
            delay: Duration::from_millis(seed % 40) + Duration::from_micros(50),
        };
        let sizes = [
            0, 1, 511, 513, 1024, 1025, 40_000, 131_072, 131_073, 300_000,
        ];
        let size = |at: u64| sizes[at as usize % sizes.len()];
        let mut world = World::new(
            seed,
            weather,
            finished(size(seed)),
            finished(size(seed / 3)),
        );
        all_comes(&mut world, 10 * MINUTE);
        assert_eq!(world.proved, [world.own.public().unwrap()]);
    }
}

#[test]
fn much_comes_quickly() {
    let length = 10_000_000;
    let mut world = World::new(1, Weather::CALM, finished(length), finished(0));
    // Round trips of 0.2 ms: as fast as the window lets it be.
    all_comes(&mut world, Duration::from_secs(1));
}

#[test]
fn a_long_path_is_filled() {
    let weather = Weather {
        delay: Duration::from_millis(50),
        ..Weather::CALM
    };
    let mut world = World::new(1, weather, finished(0), finished(5_000_000));
    all_comes(&mut world, Duration::from_secs(10));
}

#[test]
fn losses_do_not_stop_the_stream() {
    let weather = Weather {
        loss: 5,
        delay: Duration::from_millis(5),
        ..Weather::CALM
    };
    let mut world = World::new(1, weather, finished(1_000_000), finished(0));
    all_comes(&mut world, Duration::from_secs(10));
}

#[test]
fn a_failure_arrives_behind_the_bytes() {
    for seed in 0..20 {
        let weather = Weather {
            loss: seed,
            ..Weather::CALM
        };
        let client = Application::new(bytes(5000), Some(End::Failure));
        let mut world = World::new(seed, weather, client, finished(10));
        all_comes(&mut world, MINUTE);
        assert!(world.at_server.application.saw(&Event::Failed));
        assert!(world.at_client.application.saw(&Event::Eof));
    }
}

#[test]
fn a_connection_outlives_the_keys_of_cookies_in_silence() {
    let quiet = || Application::new(bytes(100), None);
    let mut world = World::new(3, Weather::CALM, quiet(), quiet());
    world.run(4 * MINUTE);
    for end in [&mut world.at_client, &mut world.at_server] {
        end.application.writes = bytes(10_000);
        end.application.end = Some(End::Success);
    }
    all_comes(&mut world, MINUTE);
}

#[test]
fn two_that_are_quiet_and_alive_stay_connected() {
    let quiet = || Application::new(bytes(100), None);
    let mut world = World::new(3, Weather::CALM, quiet(), quiet());
    world.run(60 * MINUTE);
    let before = world.sent();
    world.run(60 * MINUTE);
    assert!(world.at_client.application.events.is_empty());
    assert!(world.sent() - before < 200, "{}", world.sent() - before);
}

#[test]
fn a_peer_that_is_gone_is_noticed() {
    let quiet = || Application::new(bytes(100), None);
    let mut world = World::new(3, Weather::CALM, quiet(), quiet());
    world.run(MINUTE);
    world.here = address("203.0.113.9:999");
    world.at_client = Party::new(quiet());
    world.run(IDLE + MINUTE);
    let closed = Event::Closed(Closed::Idle);
    assert_eq!(world.at_server.application.events, [closed]);
}

#[test]
fn a_server_that_lets_nobody_in_leaves_the_client_unanswered() {
    let mut world = World::new(3, Weather::CALM, finished(10), finished(10));
    world.accepts = false;
    world.run(2 * MINUTE);
    let closed = Event::Closed(Closed::Unanswered);
    assert_eq!(world.at_client.application.events, [closed]);
    assert!(world.proved.is_empty());
}

#[test]
fn a_connection_ends_a_while_after_its_streams() {
    let mut world = World::new(3, Weather::CALM, finished(10), finished(10));
    all_comes(&mut world, MINUTE);
    let sent = world.sent();
    world.run(2 * MINUTE);
    assert_eq!(world.sent(), sent, "there is nothing more to say");
    for end in [&world.at_client, &world.at_server] {
        assert_eq!(
            end.application.events.last(),
            Some(&Event::Closed(Closed::Done))
        );
    }
}

#[test]
fn a_stalled_application_holds_the_peer_back() {
    let mut server = finished(0);
    server.reads = false;
    let mut world = World::new(3, Weather::CALM, finished(1_000_000), server);
    world.run(2 * MINUTE);
    let written = world.at_client.application.written;
    assert!(written <= 2 * 131_072, "{written}");
    assert!(world.at_server.application.read.is_empty());
    world.at_server.application.reads = true;
    all_comes(&mut world, MINUTE);
}

#[test]
fn answers_follow_a_client_to_another_address() {
    let mut world = World::new(3, Weather::CALM, finished(300_000), finished(300_000));
    world.until(MINUTE, |world| {
        world.at_server.application.read.len() > 50_000
    });
    world.here = address("203.0.113.9:999");
    all_comes(&mut world, MINUTE);
    let server = world.at_server.connection.as_ref().unwrap();
    assert_eq!(server.to(), world.here);
}

#[test]
fn a_recorded_packet_from_elsewhere_moves_nothing() {
    let mut world = World::new(3, Weather::CALM, finished(10_000), finished(10_000));
    all_comes(&mut world, MINUTE);
    for packet in world.heard.clone() {
        world.arrive(address("203.0.113.9:999"), &packet);
    }
    world.work();
    let server = world.at_server.connection.as_ref().unwrap();
    assert_eq!(server.to(), world.here);
    assert_eq!(world.proved.len(), 1);
}

#[test]
fn a_recorded_handshake_opens_nothing_when_the_connection_is_over() {
    let mut world = World::new(3, Weather::CALM, finished(10), finished(10));
    all_comes(&mut world, MINUTE);
    let client = PublicKey::parse(&world.heard[1][40..72]).unwrap();
    world.endpoint.close(&client);
    for _ in 0..5 {
        for packet in world.heard.clone() {
            world.arrive(address(CLIENT), &packet);
            world.work();
        }
        world.run(MINUTE / 2);
    }
    assert_eq!(world.endpoint.connections(), 0);
    assert_eq!(world.proved.len(), 1);
}

#[test]
fn nobody_answers() {
    let weather = Weather {
        loss: 100,
        ..Weather::CALM
    };
    let mut world = World::new(3, weather, finished(1), finished(1));
    let start = world.now;
    world.until(3 * MINUTE, |world| world.failed.is_some());
    assert_eq!(world.failed, Some(ClientError::NoAnswer));
    assert_eq!(world.sent(), 8);
    let took = (world.now - start).as_secs_f64();
    assert!((49.2..98.6).contains(&took), "{took}");
}
