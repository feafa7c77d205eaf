//! I6: what was acknowledged survives kill -9; what was not is there whole or not at all.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::faults::fast_folder;
use super::history::{Expected, History, carry_out, inspect};
use super::*;

const DIR: &str = "KEYSTORE_CRASH_DIR";
const SEED: &str = "KEYSTORE_CRASH_SEED";
const BEGIN: &str = "KEYSTORE_CRASH_BEGIN";

fn number(variable: &str) -> u64 {
    std::env::var(variable).unwrap().parse().unwrap()
}

/// Not a test of its own: what the tests below kill.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let directory = open_directory(dir.as_ref());
    let mut history = History::new(number(SEED));
    let begin = number(BEGIN);
    (0..begin).for_each(|_| drop(history.step()));
    let mut store = Sled::open(&directory, history.present().0).unwrap();
    let mut out = io::stdout();
    for n in begin.. {
        let step = history.step();
        carry_out(&mut store, step.now, &step.deed).unwrap();
        let told = writeln!(out, "ack {}", n + 1).and_then(|()| out.flush());
        if told.is_err() {
            return;
        }
    }
}

fn spawn(state: &Path, seed: u64, begin: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["tests::crash::child", "--exact", "--nocapture"])
        .env(DIR, state)
        .env(SEED, seed.to_string())
        .env(BEGIN, begin.to_string())
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
fn i6_a_kill_while_it_begins_leaves_a_store_that_opens() {
    let mut random = Random::from_env();
    for _ in 0..40 {
        let dir = fast_folder();
        let mut child = spawn(&dir.path().join("state"), 1, 0);
        wait(random.below(12_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut store = sled(&dir, at(0));
        store.apply(at(DAY), &ADMIN, &[accept(99, "door")]).unwrap();
    }
}

#[test]
fn i6_acknowledged_changes_survive_kill_9() {
    let mut random = Random::from_env();
    let done: usize = (0..20).map(|_| ten_kills(&mut random)).sum();
    println!("{done} steps");
    assert!(done > 400, "only {done} steps, so little was tried");
}

/// Kills a child again and again that goes on with one history; gives how far it came.
fn ten_kills(random: &mut Random) -> usize {
    let dir = fast_folder();
    let state = dir.path().join("state");
    let seed = random.next();
    let mut history = History::new(seed);
    let mut expected = Expected::new(&history);
    let mut done = 0;
    for round in 0..10 {
        let mut child = spawn(&state, seed, done);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acknowledged = |line: &str| line.rsplit_once("ack ")?.1.parse::<usize>().ok();
        // Every third is killed while it opens the store, or soon after.
        let mut wanted = match round % 3 {
            0 => 0,
            _ => random.below(12),
        };
        while wanted > 0 {
            let line = lines.next().expect("the child has ended by itself");
            if let Some(ack) = acknowledged(&line.unwrap()) {
                done = ack;
                wanted -= 1;
            }
        }
        wait(random.below(if round % 3 == 0 { 30_000 } else { 3_000 }));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines {
            done = acknowledged(&line.unwrap()).unwrap_or(done);
        }
        while expected.len() <= done {
            expected.push(&history.step());
        }
        done = inspect(&open_directory(&state), &mut expected, done)
            .unwrap_or_else(|error| panic!("seed {seed}, kill {round}: {error}"));
    }
    done
}
