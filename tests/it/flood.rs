//! A listener under siege by strangers, all at once, and the honest ones among them. The same on a
//! larger scale is measured by `benches/flood.rs`.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};

use crate::crowd::{self, Score};
use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::ANNA;
use crate::process::PATIENCE;

/// How many hold a connection half open.
const DRIPPING: u32 = 500;

/// How many addresses bad first packets come from.
const FLOODING: u32 = 40;

const HONEST: u32 = 30;

fn run(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, async {
        let done = tokio::time::timeout(PATIENCE, work).await;
        done.expect("it does not come to an end");
    });
}

fn address(host: &Host) -> SocketAddrV4 {
    SocketAddrV4::new(host.place().address, host.place().port)
}

#[test]
fn i7_i10_a_siege_keeps_no_honest_client_out_and_fills_no_memory() {
    let host = Moonport::new()
        .script("hello", HELLO)
        .option("--unproved=64:30:256")
        .start();
    host.key_accept("hello", ANNA);
    let to = address(&host);
    let front = host.child("moonport-frameserver");
    // Not the pages of the program itself: those are there once for all processes.
    let before = memory(front, "RssAnon:");
    let most = Cell::new(before);
    let score = Rc::new(Score::default());
    run(async {
        let mut attackers = JoinSet::new();
        let pause = Duration::from_millis(500);
        for number in 0..DRIPPING {
            let from = crowd::dripping_source(number);
            attackers.spawn_local(crowd::drip(to, from, pause, Rc::clone(&score)));
        }
        let pause = Duration::from_millis(20);
        for number in 0..FLOODING {
            let from = crowd::flooding_source(number);
            attackers.spawn_local(crowd::flood(to, from, pause, Rc::clone(&score)));
        }
        // It has begun when those that flood are shut out.
        while score.shut.get() < u64::from(FLOODING) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for number in 0..HONEST {
            let from = crowd::honest_source(number);
            let visit = crowd::visit(to, from, ANNA.private()).await;
            assert!(visit.is_ok(), "number {number} is kept out: {visit:?}");
            most.set(most.get().max(memory(front, "RssAnon:")));
        }
    });
    assert!(score.bad.get() > 0, "nothing was flooded: {score:?}");
    let most = most.get();
    // The formula of docs/hardening.md: a slab for each of FULL, one session at a time, and the tables.
    let allowed = before + 256 * 16 + 64 + 4096;
    assert!(most <= allowed, "{most} kB, where {allowed} are allowed");
    host.stop();
}

#[test]
fn i10_a_source_that_only_guesses_is_shut_out_and_nobody_else_is() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let to = address(&host);
    run(async {
        let score = Rc::new(Score::default());
        let mut attackers = JoinSet::new();
        let (guesser, pause) = (crowd::flooding_source(0), Duration::from_millis(10));
        attackers.spawn_local(crowd::flood(to, guesser, pause, Rc::clone(&score)));
        while score.shut.get() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Even somebody who is accepted waits, at that address.
        let same = crowd::visit(to, guesser, ANNA.private()).await;
        assert!(same.is_err(), "{same:?}");
        let other = crowd::visit(to, crowd::honest_source(0), ANNA.private()).await;
        assert!(other.is_ok(), "{other:?}");
        // An admin sees it. What is new is told within a second.
        let told = |what: &str| {
            let status = host.status();
            status["listeners"][0]["strangers"][what].as_u64().unwrap()
        };
        while told("shut_out") == 0 || told("refused") == 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((told("shut_out"), told("limit")), (1, 512));
    });
    let status = host.admin(["status"]);
    assert!(
        status.contains("SHUT OUT") && status.contains("1 source"),
        "{status}"
    );
    let said = host.process.terminate().text();
    let lines = said.lines().filter(|line| line.contains("shut out"));
    assert_eq!(lines.count(), 1, "{said}");
}

#[test]
fn i10_an_address_that_somebody_has_proved_a_key_from_is_not_shut_out() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let to = address(&host);
    run(async {
        let shared = crowd::flooding_source(1);
        let first = crowd::visit(to, shared, ANNA.private()).await;
        assert!(first.is_ok(), "{first:?}");
        let score = Rc::new(Score::default());
        let mut attackers = JoinSet::new();
        attackers.spawn_local(crowd::flood(to, shared, Duration::ZERO, Rc::clone(&score)));
        while score.bad.get() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let again = crowd::visit(to, shared, ANNA.private()).await;
        assert!(again.is_ok(), "{again:?}");
    });
    host.stop();
}

#[test]
fn penalties_are_for_who_wants_them() {
    let host = Moonport::new()
        .script("hello", HELLO)
        .option("--penalties=off")
        .start();
    host.key_accept("hello", ANNA);
    let to = address(&host);
    run(async {
        let shared = crowd::flooding_source(2);
        let score = Rc::new(Score::default());
        let mut attackers = JoinSet::new();
        attackers.spawn_local(crowd::flood(to, shared, Duration::ZERO, Rc::clone(&score)));
        while score.bad.get() < 8 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let visit = crowd::visit(to, shared, ANNA.private()).await;
        assert!(visit.is_ok(), "{visit:?}");
    });
    host.stop();
}

/// More connections come than the process may have descriptors: it neither spins nor dies, and those
/// who show something get in.
#[test]
fn i10_without_descriptors_it_rests_and_strangers_give_theirs_back() {
    let mut host = Moonport::new()
        .script("hello", HELLO)
        .descriptors(96)
        .start();
    host.key_accept("hello", ANNA);
    let to = address(&host);
    let front = host.child("moonport-frameserver");
    run(async {
        let score = Rc::new(Score::default());
        let mut idlers = JoinSet::new();
        let pause = Duration::from_secs(60);
        for number in 0..200 {
            let from = crowd::dripping_source(number);
            idlers.spawn_local(crowd::drip(to, from, pause, Rc::clone(&score)));
        }
        while score.dripping.get() < 150 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (start, used) = (Instant::now(), processor_time(front));
        let visit = crowd::visit(to, crowd::honest_source(0), ANNA.private()).await;
        assert!(visit.is_ok(), "{visit:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (wall, used) = (start.elapsed(), processor_time(front) - used);
        assert!(used < wall / 2, "{used:?} of the processor in {wall:?}");
    });
    let lines: BTreeSet<_> = host.process.children().into_iter().collect();
    assert!(lines.contains(&front), "it died");
    host.await_listeners(1);
    host.stop();
}

/// A figure of a process's memory, kB.
fn memory(process: u32, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How long a process has run on a processor.
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // Behind the name, which may have blanks in it: user and system time are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // There are a hundred for each second, whatever the kernel counts in.
    Duration::from_millis(ticks * 10)
}
