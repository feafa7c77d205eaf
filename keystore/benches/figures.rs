//! How fast the keystore is, beside what the disk it is on can do. Prints medians; judges nothing.
//!
//! `cargo bench -p keystore -- [lookup] [single] [grouped] [open]`; `KEYSTORE_BENCH_DIR` says on
//! which disk, `KEYSTORE_BENCH_KEYS` how many keys are many.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use identity::{Name, PublicKey};
use keystore::{Actor, Change, Directory, Group, Keystore, Memory, Now, Scope, Sled};
use tempfile::TempDir;

const ADMIN: Actor = Actor::User(1000);

const NOW: Now = Now {
    wall_ms: 1_000_000_000_000,
    boot_ms: 1_000_000,
    boot: [1; 16],
};

fn main() {
    if let Some(path) = std::env::var_os("KEYSTORE_BENCH_OPEN") {
        let before = resident();
        let began = Instant::now();
        let opened = store(Path::new(&path));
        let took = began.elapsed();
        println!(
            "{took:?}, {} MB resident, {} MB at most",
            (resident() - before) >> 10,
            memory("VmHWM:") >> 10
        );
        return drop(opened);
    }
    let asked: Vec<String> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let is_asked = |what: &str| asked.is_empty() || asked.iter().any(|asked| asked == what);
    let many = std::env::var("KEYSTORE_BENCH_KEYS").map_or(1_000_000, |n| n.parse().unwrap());
    if is_asked("lookup") {
        [10, 1_000, many].into_iter().for_each(lookup);
    }
    if is_asked("single") {
        (0..3).for_each(|_| single());
    }
    if is_asked("grouped") {
        [16, 256, 4096].into_iter().for_each(grouped);
    }
    if is_asked("open") {
        [1_000, many].into_iter().for_each(open);
    }
}

/// What this process has in memory, kB.
fn resident() -> u64 {
    memory("VmRSS:")
}

fn memory(what: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(what))
        .unwrap();
    line.trim().split(' ').next().unwrap().parse().unwrap()
}

fn folder() -> TempDir {
    let place = std::env::var_os("KEYSTORE_BENCH_DIR");
    place.map_or_else(TempDir::new, TempDir::new_in).unwrap()
}

fn store(folder: &Path) -> Sled {
    Sled::open(&Directory::open(&folder.join("state")).unwrap(), NOW).unwrap()
}

/// Keys look random.
fn key(n: u64) -> PublicKey {
    let mut bytes = [0; 32];
    for (i, part) in bytes.chunks_mut(8).enumerate() {
        let z = (n * 4 + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        part.copy_from_slice(&(z ^ (z >> 27)).to_le_bytes());
    }
    bytes[31] &= 0x3f;
    PublicKey::parse(&bytes).unwrap()
}

fn accept(n: u64) -> Change {
    Change::Accept {
        key: key(n),
        scope: Scope::Name(Name::parse("door").unwrap()),
        label: None,
        imported: false,
    }
}

fn fill(store: &mut dyn Keystore, keys: u64) {
    let mut next = 0;
    while next < keys {
        let end = keys.min(next + 10_000);
        let changes: Vec<Change> = (next..end).map(accept).collect();
        store.apply(NOW, &ADMIN, &changes).unwrap();
        next = end;
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Lookups of keys that are known, and of keys that are not, spread over all of them.
fn lookup(keys: u64) {
    let mut store = Memory::new();
    fill(&mut store, keys);
    let door = Name::parse("door").unwrap();
    for (what, from) in [("known", 0), ("unknown", keys)] {
        let mut times = Vec::new();
        for round in 0..101 {
            let asked: Vec<_> = (0..1000)
                .map(|i| key(from + (i * 7_919 + round * 104_729) % keys))
                .collect();
            let began = Instant::now();
            for key in &asked {
                black_box(store.lookup(NOW, &door, key).unwrap().is_ok());
            }
            times.push(began.elapsed() / 1000);
        }
        println!("lookup: {keys} keys, {what}: {:?}", median(times));
    }
}

/// Single durable changes, beside as many bytes appended and synced, by turns so that both meet the
/// same disk.
fn single() {
    const ROUNDS: usize = 400;
    let dir = folder();
    let mut store = store(dir.path());
    fill(&mut store, 1000);
    let mut raw = File::create(dir.path().join("raw")).unwrap();
    let (mut changes, mut writes) = (Vec::new(), Vec::new());
    let mut bytes = Vec::new();
    for n in 0..ROUNDS {
        let change = accept(1_000_000 + n as u64);
        let (before, began) = (given_out(), Instant::now());
        store.apply(NOW, &ADMIN, &[change]).unwrap();
        changes.push(began.elapsed());
        // As many bytes as the change took.
        bytes.resize((given_out() - before) as usize, 7);
        let began = Instant::now();
        raw.write_all(&bytes).unwrap();
        raw.sync_data().unwrap();
        writes.push(began.elapsed());
    }
    let total = |times: &[Duration]| ROUNDS as f64 / times.iter().sum::<Duration>().as_secs_f64();
    let (own, disk) = (total(&changes), total(&writes));
    println!(
        "single: {own:.0} changes/s (median {:?}), {disk:.0} appends of {} bytes/s (median {:?}): {:.0} %",
        median(changes),
        bytes.len(),
        median(writes),
        100.0 * own / disk
    );
}

/// How many bytes this process has given to be written.
fn given_out() -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.unwrap().parse().unwrap()
}

fn written(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

/// Independent changes that come together.
fn grouped(at_once: u64) {
    let dir = folder();
    let mut store = store(dir.path());
    fill(&mut store, 1000);
    let mut done = 0;
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(3) {
        let changes: Vec<[Change; 1]> = (0..at_once)
            .map(|n| [accept(1_000_000 + done + n)])
            .collect();
        let groups: Vec<_> = changes
            .iter()
            .map(|changes| Group {
                by: &ADMIN,
                changes,
            })
            .collect();
        for result in store.apply_each(NOW, &groups).unwrap() {
            result.unwrap();
        }
        done += at_once;
    }
    let rate = done as f64 / began.elapsed().as_secs_f64();
    println!("grouped: {at_once} at once: {rate:.0} changes/s");
}

/// Opening a store that was closed, and one that was not.
fn open(keys: u64) {
    let dir = folder();
    let mut filled = store(dir.path());
    let began = Instant::now();
    fill(&mut filled, keys);
    println!("open: {keys} keys written in {:?}", began.elapsed());
    let began = Instant::now();
    drop(filled);
    println!("open: {keys} keys: closed in {:?}", began.elapsed());
    println!(
        "open: {keys} keys: {} MB on the disk",
        written(&dir.path().join("state/store/db")) >> 20
    );
    for what in ["closed", "closed", "not closed"] {
        if what == "not closed" {
            fs::remove_file(dir.path().join("state/closed")).unwrap();
        }
        // A process of its own, so that its memory is its own.
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .env("KEYSTORE_BENCH_OPEN", dir.path())
            .output()
            .unwrap();
        print!(
            "open: {keys} keys, {what}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
    }
}
