use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::channel;

use super::*;
use crate::frameserver::accept::Slots;
use crate::frameserver::door::Door;
use crate::frameserver::hub::{Peers, Questions};
use crate::frameserver::link::Outbox;
use crate::frameserver::machine::Config;
use crate::ipc::Unproved;
use crate::wire::Violation;
use crate::wire::a12::{self, ListenerConfig, Ratchet, Role};

fn shared() -> Rc<Shared> {
    let config = ListenerConfig {
        role: Role::Sink,
        candidates: Vec::new(),
        handshake: Duration::from_secs(30),
        ratchet: Ratchet {
            at_once: true,
            every_bytes: 1 << 20,
        },
    };
    Rc::new(Shared {
        host: Questions::default(),
        script: Outbox::default(),
        peers: RefCell::new(Peers {
            unproved: Slots::default(),
            sessions: HashMap::new(),
            live: 0,
        }),
        door: RefCell::new(Door::new(Unproved::at_most(1), true)),
        config: RefCell::new(Config::A12(Arc::new(config))),
        scratch: RefCell::new(Vec::new()),
        ended: Notify::new(),
    })
}

#[tokio::test]
async fn a_session_that_the_host_makes_as_the_connection_ends_is_given_back() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    for why in [Ended::Violation(Violation::Deadline), Ended::Broken] {
        let stream = TcpStream::connect(address).await.unwrap();
        let shared = shared();
        let ticket = Ticket::new(Rc::clone(&shared), ConnectionId(1), address);
        let peer = Peer::new(ticket, [0; 32]).unwrap();
        // What the hub does with the answer, while the peer's task has not looked yet.
        let session = SessionId(7);
        let (hub, mut inbox) = channel(1);
        hub.try_send(ToPeer::Session(session, Box::new(a12::Answer::More.into())))
            .unwrap();
        shared.peers.borrow_mut().sessions.insert(session, hub);
        peer.finish(stream, &mut inbox, why.into()).await;
        let told = shared.host.pop();
        assert!(
            matches!(told, Some(FromFrameserver::Gone { session: SessionId(7), why: gone }) if gone == why),
            "{told:?}"
        );
        assert!(shared.host.pop().is_none());
        let peers = shared.peers.borrow();
        assert_eq!((peers.sessions.len(), peers.live), (0, 0));
    }
}

#[test]
fn i10_output_that_never_runs_dry_keeps_nothing_that_is_written() {
    let mut out = Outgoing::default();
    let (mut put, mut got) = (0_u8, 0_u8);
    for _ in 0..1000 {
        for _ in 0..4096 {
            out.end().push(put);
            put = put.wrapping_add(1);
        }
        let written = out.rest().len().min(4095);
        for byte in &out.rest()[..written] {
            assert_eq!(*byte, got);
            got = got.wrapping_add(1);
        }
        out.advance(written);
        assert!(out.bytes.len() <= 2 * MAX_OUT);
    }
    assert_eq!((out.written, out.queued()), (1000 * 4095, 1000 * 4096));
}

#[test]
fn i10_a_large_message_is_not_moved_with_each_write() {
    let mut out = Outgoing::default();
    out.end().resize(100 * MAX_OUT, 0);
    let mut moved = 0;
    while !out.rest().is_empty() {
        out.advance(MAX_OUT / 4);
        if out.done == 0 {
            moved += out.rest().len();
        }
    }
    assert!(moved <= 100 * MAX_OUT, "{moved}");
}

#[test]
fn i3_a_refusal_is_told_at_the_next_multiple_whenever_it_is_known() {
    let heard = now();
    let after = |known: u64| {
        let told = refusal(heard, heard + Duration::from_micros(known));
        (told - heard).as_micros()
    };
    assert_eq!([0, 1, 99_999].map(after), [100_000; 3]);
    assert_eq!([100_000, 150_000, 199_999].map(after), [200_000; 3]);
    assert_eq!(after(7_000_001), 7_100_000);
}

#[test]
fn i10_a_task_is_no_larger_than_its_peer_needs() {
    fn of<A, B, C, F: Future>(_: impl Fn(A, B, C) -> F) -> usize {
        size_of::<F>()
    }
    let task = of(drive);
    assert!(
        task <= 2048,
        "{task} bytes, {} of them the peer's",
        size_of::<Peer>()
    );
}
