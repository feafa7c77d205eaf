//! I6 on disks that fail and machines that lose their power. `faults.c` stands between a child and
//! its C library; sled and std call that for all they do to files.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use super::history::{Deed, Expected, History, carry_out, inspect};
use super::power::Journal;
use super::*;

const DIR: &str = "KEYSTORE_FAULTS_DIR";
const SEED: &str = "KEYSTORE_FAULTS_SEED";
const STEPS: &str = "KEYSTORE_FAULTS_STEPS";

/// All of what is otherwise a selection.
pub(crate) fn long() -> bool {
    std::env::var_os("KEYSTORE_LONG").is_some()
}

/// In memory if that can be: what is durable is for the journal to say.
pub(crate) fn fast_folder() -> TempDir {
    TempDir::new_in("/dev/shm").unwrap_or_else(|_| TempDir::new().unwrap())
}

/// The library to preload, compiled once.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/faults.c");
        let done = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&path, &source])
            .arg("-ldl")
            .status();
        assert!(done.expect("a C compiler is needed").success());
        (dir, path)
    });
    path
}

/// Not a test of its own: does what its history says, and says what it has done.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let number = |variable| std::env::var(variable).unwrap().parse::<u64>().unwrap();
    let say = |what: String| {
        let mut out = io::stdout().lock();
        out.write_all(what.as_bytes()).unwrap();
        out.flush().unwrap();
    };
    let mut history = History::new(number(SEED));
    let opened = Directory::open(Path::new(&dir))
        .map_err(|error| error.to_string())
        .and_then(|directory| {
            Sled::open(&directory, history.present().0).map_err(|error| error.to_string())
        });
    let mut store = match opened {
        Ok(store) => store,
        Err(error) => return say(format!("\nended {error}\n")),
    };
    say("\nack 0\n".into());
    for n in 1..=number(STEPS) {
        let step = history.step();
        let (now, before) = (step.now, seen(&store, step.now));
        // A store that has failed is shut, or nothing has happened and it goes on.
        let mut tries = 0;
        while let Err(error) = carry_out(&mut store, now, &step.deed) {
            assert!(!matches!(step.deed, Deed::Note(_)), "{error}");
            match store.entries() {
                Err(StoreError::Shut(_)) => return say(format!("\nended {error}\n")),
                other => drop(other.unwrap()),
            }
            assert_eq!(seen(&store, now), before, "something has happened: {error}");
            tries += 1;
            if tries == 2 {
                return say(format!("\nended {error}\n"));
            }
        }
        say(format!("\nack {n}\n"));
    }
    drop(store);
    say("\nended well\n".into());
}

/// What is to become of which call.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) kind: &'static str,
    pub(crate) call: usize,
    /// And of all after it.
    pub(crate) all: bool,
}

/// How a child fared.
pub(crate) struct Fared {
    acknowledged: Option<usize>,
    /// What it said at last, or that it was killed.
    pub(crate) end: String,
    pub(crate) journal: Journal,
}

/// Runs a child that is to make so many steps; an error if it does not come to an end.
pub(crate) fn run(
    state: &Path,
    seed: u64,
    steps: usize,
    fault: Option<Fault>,
) -> Result<Fared, String> {
    let folder = fast_folder();
    let journal = folder.path().join("journal");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "tests::faults::child",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DIR, state)
        .env(SEED, seed.to_string())
        .env(STEPS, steps.to_string())
        .env("LD_PRELOAD", library())
        .env("FAULTS_DIR", state)
        .env("FAULTS_JOURNAL", &journal)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(Fault { kind, call, all }) = fault {
        // To give up too early is to fail, too.
        command.env("KEYSTORE_LIMIT_MS", "500");
        command.env("FAULTS_KIND", kind);
        command.env("FAULTS_AT", call.to_string());
        if all {
            command.env("FAULTS_ALL", "1");
        }
    }
    let mut child = command.spawn().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let mut said = String::new();
        let read = out.read_to_string(&mut said);
        // The other end may have gone.
        let _ = done.send(read.map(|_| said));
    });
    let complaints = std::thread::spawn(move || {
        let mut said = String::new();
        err.read_to_string(&mut said)
            .map(|_| said)
            .unwrap_or_default()
    });
    let said = wait.recv_timeout(PATIENCE);
    if said.is_err() {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let complaints = complaints.join().unwrap();
    let said = said
        .map_err(|_| format!("it hangs; it said {complaints}"))?
        .unwrap();
    let last = |word: &str| {
        said.lines()
            .filter_map(|line| line.strip_prefix(word))
            .next_back()
    };
    if let Some(code) = status.code()
        && code != 0
    {
        return Err(format!("it broke down ({code}): {said} {complaints}"));
    }
    Ok(Fared {
        acknowledged: last("ack ").map(|n| n.parse().unwrap()),
        end: last("ended ").unwrap_or("killed").to_owned(),
        journal: Journal::read(&fs::read(&journal).unwrap(), state),
    })
}

/// More than any child needs, and less than for ever.
const PATIENCE: Duration = Duration::from_secs(30);

fn expectations(seed: u64, steps: usize) -> Expected {
    let mut history = History::new(seed);
    let mut expected = Expected::new(&history);
    (0..steps).for_each(|_| expected.push(&history.step()));
    expected
}

/// Looks at what is there, and gives up on what does not come to an end.
fn look(state: PathBuf, mut expected: Expected, acknowledged: usize) -> Result<usize, String> {
    let (done, wait) = mpsc::channel();
    std::thread::spawn(move || {
        let found = inspect(&open_directory(&state), &mut expected, acknowledged);
        done.send(found)
    });
    wait.recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err("opening it hangs".into()))
}

/// One fault, and what is there afterwards.
fn try_fault(seed: u64, steps: usize, fault: Fault) -> Result<String, String> {
    let folder = fast_folder();
    let state = folder.path().join("state");
    let fared = run(&state, seed, steps, Some(fault))?;
    let acknowledged = fared.acknowledged.unwrap_or(0);
    look(state, expectations(seed, steps), acknowledged)?;
    Ok(fared.end)
}

fn all_faults(seed: u64, steps: usize, kinds: &[(&'static str, bool)], one_in: usize) {
    let folder = fast_folder();
    let whole = run(&folder.path().join("state"), seed, steps, None).unwrap();
    assert_eq!(whole.end, "well");
    let calls = whole.journal.calls();
    let mut ends = std::collections::BTreeMap::<_, u32>::new();
    for (n, (kind, all)) in kinds.iter().enumerate() {
        // The last ones are those of a store that is closed.
        for call in (1..=calls).filter(|call| (call + n + seed as usize).is_multiple_of(one_in)) {
            let (kind, all) = (*kind, *all);
            let fault = Fault { kind, call, all };
            let end = try_fault(seed, steps, fault)
                .unwrap_or_else(|error| panic!("seed {seed}, {fault:?} of {calls}: {error}"));
            let end = match end.as_str() {
                "well" | "killed" => end,
                told if told.contains("has not answered") => "gave up waiting".into(),
                _ => "told".into(),
            };
            *ends
                .entry(format!(
                    "{kind}{}: {end}",
                    if all { " for good" } else { "" }
                ))
                .or_default() += 1;
        }
    }
    println!("{calls} calls; {ends:?}");
}

#[test]
fn i6_a_disk_that_fails_at_any_call_loses_nothing() {
    let seed = Random::from_env().next() % 1_000;
    let kinds = [("eio", false), ("enospc", false), ("short", false)];
    all_faults(seed, 14, &kinds, if long() { 1 } else { 7 });
}

#[test]
fn i6_a_disk_that_is_full_or_dead_from_any_call_on_loses_nothing() {
    let seed = Random::from_env().next() % 1_000;
    let kinds = [("enospc", true), ("eio", true)];
    all_faults(seed, 14, &kinds, if long() { 1 } else { 7 });
}

#[test]
fn i6_a_process_that_ends_at_any_call_loses_nothing() {
    let seed = Random::from_env().next() % 1_000;
    all_faults(
        seed,
        14,
        &[("kill", false), ("torn", false)],
        if long() { 1 } else { 7 },
    );
}

#[test]
fn i6_a_disk_that_does_not_answer_is_given_up_and_loses_nothing() {
    let seed = Random::from_env().next() % 1_000;
    let folder = fast_folder();
    let whole = run(&folder.path().join("state"), seed, 14, None).unwrap();
    let (opened, calls) = (
        whole.journal.calls_until("ack 0"),
        whole.journal.calls_until("ended"),
    );
    let chosen = (opened + 1..calls).step_by(if long() { 1 } else { 12 });
    // The last ones are those of a store that is closed.
    for call in chosen.chain(calls.saturating_sub(6)..calls) {
        let (kind, all) = ("hang", false);
        let fault = Fault { kind, call, all };
        let end = try_fault(seed, 14, fault)
            .unwrap_or_else(|error| panic!("seed {seed}, {fault:?} of {calls}: {error}"));
        assert!(end == "well" || end.contains("has not answered"), "{end}");
    }
}

#[test]
fn i6_a_loss_of_power_at_any_moment_loses_nothing() {
    let mut random = Random::from_env();
    let (histories, cuts) = if long() { (60, 50) } else { (20, 10) };
    let mut found = [0_u32; 3];
    for _ in 0..histories {
        let (seed, steps) = (random.next(), 4 + random.below(16) as usize);
        let folder = fast_folder();
        let fared = run(&folder.path().join("state"), seed, steps, None).unwrap();
        assert_eq!(fared.end, "well");
        for _ in 0..cuts {
            let (moment, chance) = (random.below(fared.journal.len() as u64 + 1), random.next());
            let after = fast_folder();
            let state = after.path().join("state");
            let said = fared
                .journal
                .cut(moment as usize, &mut Random(chance), &state);
            let acknowledged = said.lines().filter_map(|line| line.strip_prefix("ack "));
            let acknowledged = acknowledged.map(|n| n.parse().unwrap()).max();
            let step = look(state, expectations(seed, steps), acknowledged.unwrap_or(0));
            let step = step.unwrap_or_else(|error| {
                panic!("history {seed} of {steps}, cut at {moment} with {chance}: {error}")
            });
            found[match acknowledged {
                None => 0,
                Some(n) if n == step => 1,
                Some(_) => 2,
            }] += 1;
        }
    }
    let [unborn, before, after] = found;
    println!("before the first {unborn}, as acknowledged {before}, one more {after}");
    assert!(before > 0);
}
