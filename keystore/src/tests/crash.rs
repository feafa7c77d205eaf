//! I6: what was acknowledged survives kill -9; what was not is there whole or not at all.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const DIR: &str = "KEYSTORE_CRASH_DIR";

/// The changes of the i-th call. Each of them changes something.
fn call(i: u64) -> (Now, Vec<Change>) {
    let human = |id| {
        Change::OpenWindow(OpenWindow {
            human: true,
            ..window(id, 2)
        })
    };
    let guess = |id| Change::Guesses {
        window: WindowId(id),
        more: 1,
    };
    let changes = match i % 6 {
        0 => vec![accept(i, "door"), accept(i, "gate"), accept(i + 1, "hall")],
        1 => vec![human(i)],
        2 => vec![enrol(i - 1, i), enrol(i - 1, i + 1)],
        3 => vec![
            accept(i, "*"),
            open(i, 9),
            guess(i),
            enrol(i, 1_000_000 + i),
        ],
        4 => vec![
            remove(i - 4),
            close(i - 1),
            enrol(i - 3, i - 2),
            accept(i, "door"),
        ],
        _ => vec![accept(i - 1, "gate")],
    };
    let effective = changes.into_iter().filter(|change| {
        // The window of two is spent by then, and its keys are known: this one changes nothing.
        !matches!(change, Change::Enrol { window, .. } if i % 6 == 4 && window.0 == i - 3)
    });
    (at(i * 1000), effective.collect())
}

/// How many calls a store has seen; it panics if one of them is there by half.
fn calls_in(store: &mut dyn Keystore) -> u64 {
    let Epoch(epoch) = store.settle(at(0)).unwrap();
    let (mut calls, mut after) = (0, 0);
    while after < epoch {
        after += call(calls).1.len() as u64;
        calls += 1;
    }
    assert_eq!(after, epoch, "call {calls} is there by half");
    calls
}

/// Not a test of its own: what the test below kills.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let directory = open_directory(dir.as_ref());
    let mut store = Sled::open(&directory, at(0)).unwrap();
    let mut out = io::stdout();
    for i in calls_in(&mut store).. {
        let (now, changes) = call(i);
        store.apply(now, &ADMIN, &changes).unwrap();
        if writeln!(out, "ack {}", i + 1)
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

#[test]
fn i6_a_kill_while_it_begins_leaves_a_store_that_opens() {
    let mut random = Random::from_env();
    for _ in 0..40 {
        let dir = TempDir::new().unwrap();
        let mut child = spawn(&dir.path().join("state"));
        wait(random.below(12_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut store = sled(&dir, at(0));
        let calls = calls_in(&mut store);
        store.apply(call(calls).0, &ADMIN, &call(calls).1).unwrap();
    }
}

fn spawn(state: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["tests::crash::child", "--exact", "--nocapture"])
        .env(DIR, state)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// To hit any moment of what a child does; nothing depends on how long it takes.
fn wait(micros: u64) {
    let then = Instant::now() + Duration::from_micros(micros);
    while Instant::now() < then {
        std::hint::spin_loop();
    }
}

#[test]
fn i6_acknowledged_changes_survive_kill_9() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let mut random = Random::from_env();
    let mut expected = Memory::new();
    let mut done = 0;
    for round in 0..60 {
        let mut child = spawn(&state);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acks = 0;
        let mut acknowledged = |line: &str| {
            let ack = line.rsplit_once("ack ").and_then(|(_, n)| n.parse().ok());
            done = ack.unwrap_or(done);
            acks += usize::from(ack.is_some());
            acks
        };
        // Every third is killed while it opens the store, or soon after.
        let wanted = if round % 3 == 0 {
            0
        } else {
            random.below(40) as usize
        };
        let mut seen_acks = 0;
        while seen_acks < wanted {
            let line = lines
                .next()
                .expect("the child has ended by itself")
                .unwrap();
            seen_acks = acknowledged(&line);
        }
        wait(random.below(if wanted == 0 { 40_000 } else { 3_000 }));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            acknowledged(&line.unwrap());
        }

        let mut store = Sled::open(&open_directory(&state), at(0)).unwrap();
        let calls = calls_in(&mut store);
        assert!(
            calls == done || calls == done + 1,
            "round {round}: {calls} for {done}"
        );
        for i in calls_in(&mut expected)..calls {
            let (now, changes) = call(i);
            expected.apply(now, &ADMIN, &changes).unwrap();
        }
        let now = call(calls).0;
        assert_eq!(seen(&store, now), seen(&expected, now), "round {round}");
        done = calls;
    }
    assert!(done > 100, "only {done} calls, so little was tried");
}
