//! Heartbeats.

use std::time::Duration;

use super::super::rig::{End, RawClient, Sealed};
use super::super::{Heartbeat, ListenerConfig, Socket, SocketType};
use super::listener;
use crate::wire::{Error, Violation};

const SILENT: Option<Error> = Some(Error::Proto(Violation::Silent));

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn joined(heartbeat: Option<Heartbeat>) -> (End, Sealed) {
    let mut socket = Socket::new(SocketType::Dealer);
    socket.heartbeat = heartbeat;
    let mut end = listener(ListenerConfig::new(socket));
    let session = RawClient::new().join(&mut end, SocketType::Dealer, 1);
    (end, session)
}

const HEARTBEAT: Option<Heartbeat> = Some(Heartbeat {
    interval: Duration::from_millis(200),
    timeout: Duration::from_millis(500),
    ttl: Duration::from_millis(1000),
});

#[test]
fn a_ping_goes_out_every_interval() {
    let (mut end, mut session) = joined(HEARTBEAT);
    let start = end.now;
    for number in 1..5 {
        end.wait();
        assert_eq!(end.now - start, ms(200) * number);
        let ping = [(2, b"\x04PING\0\x0a".to_vec())];
        assert_eq!(session.open(&end.said()), ping);
        end.read(&session.framed(2, b"\x04PONG"));
    }
    assert_eq!(end.error, None);
}

#[test]
fn a_peer_that_does_not_answer_is_given_up() {
    let (mut end, _) = joined(HEARTBEAT);
    let start = end.now;
    while end.error.is_none() {
        end.wait();
    }
    assert_eq!(end.error, SILENT);
    assert_eq!(end.now - start, ms(700));
}

#[test]
fn any_traffic_is_a_sign_of_life() {
    let (mut end, mut session) = joined(HEARTBEAT);
    for _ in 0..20 {
        end.wait();
        end.read(&session.framed(0, b"busy"));
    }
    assert_eq!(end.error, None);
}

#[test]
fn a_ping_is_answered_without_heartbeats_of_our_own() {
    let (mut end, mut session) = joined(None);
    assert_eq!(end.deadline, None);
    end.read(&session.framed(2, b"\x04PING\0\0abc"));
    let long = [&b"\x04PING\0\0"[..], &[9; 63]].concat();
    end.read(&session.framed(2, &long));
    let pongs = session.open(&end.said());
    assert_eq!(pongs[0], (2, b"\x04PONGabc".to_vec()));
    assert_eq!(pongs[1], (2, [&b"\x04PONG"[..], &[9; 16]].concat()));
    assert_eq!(end.deadline, None);
}

#[test]
fn a_peer_that_outlives_its_own_word_is_given_up() {
    let (mut end, mut session) = joined(None);
    let start = end.now;
    end.read(&session.framed(2, b"\x04PING\0\x03"));
    end.wait();
    assert_eq!((end.error, end.now - start), (SILENT, ms(300)));
}

#[test]
fn one_later_frame_cancels_a_peers_word_until_its_next_ping() {
    let (mut end, mut session) = joined(None);
    end.read(&session.framed(2, b"\x04PING\0\x03"));
    end.read(&session.framed(0, b"alive"));
    assert_eq!(end.deadline, None);
    end.read(&session.framed(2, b"\x04PING\0\x03"));
    end.wait();
    assert_eq!(end.error, SILENT);
}
