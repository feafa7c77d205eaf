//! I2: a window never admits more than its count, never after its deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::*;

#[test]
fn i2_a_race_admits_no_more_than_the_count() {
    let dir = TempDir::new().unwrap();
    let store = Mutex::new(sled(&dir, at(0)));
    store
        .lock()
        .unwrap()
        .apply(at(0), &ADMIN, &[open(7, 5)])
        .unwrap();
    let admitted = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, admitted) = (&store, &admitted);
            scope.spawn(move || {
                for n in 0..4 {
                    let n = thread * 4 + n;
                    if store
                        .lock()
                        .unwrap()
                        .apply(at(1), &ADMIN, &[enrol(7, n)])
                        .is_ok()
                    {
                        admitted.lock().unwrap().insert(n);
                    }
                }
            });
        }
    });
    let admitted = admitted.into_inner().unwrap();
    assert_eq!(admitted.len(), 5);
    drop(store);
    let store = sled(&dir, at(2));
    let known: BTreeSet<_> = (0..32).filter(|n| is_known(&store, at(2), *n)).collect();
    assert_eq!(known, admitted);
    assert_eq!(left(&store, at(2), 7), 0);
}

#[test]
fn i2_a_group_admits_no_more_than_the_count() {
    let mut store = Memory::new();
    store.apply(at(0), &ADMIN, &[open(7, 3)]).unwrap();
    let changes: Vec<_> = (0..10).map(|n| [enrol(7, n)]).collect();
    let groups: Vec<&[Change]> = changes.iter().map(|change| change.as_slice()).collect();
    let results = store.apply_each(at(1), &super::groups(&groups)).unwrap();
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
}

#[test]
fn i2_a_deadline_passes_by_either_clock_and_across_boots() {
    let fresh = || {
        let mut store = Memory::new();
        store.apply(at(0), &ADMIN, &[open(7, 5)]).unwrap();
        store
    };
    let lasts = 10 * MINUTE;
    let wall_late = Now {
        wall_ms: at(lasts).wall_ms,
        ..at(1)
    };
    let boot_late = Now {
        boot_ms: at(lasts).boot_ms,
        ..at(1)
    };
    let boot_back = Now {
        boot_ms: 0,
        ..at(1)
    };
    let next_boot = |wall| Now {
        wall_ms: at(wall).wall_ms,
        boot_ms: 1,
        boot: [2; 16],
    };
    for (now, admits) in [
        (at(lasts - 1), true),
        (wall_late, false),
        (boot_late, false),
        (boot_back, false),
        (next_boot(lasts - 1), true),
        (next_boot(lasts), false),
        (
            Now {
                wall_ms: at(0).wall_ms - 1,
                ..at(1)
            },
            false,
        ),
    ] {
        let mut store = fresh();
        assert_eq!(left(&store, now, 7) > 0, admits, "{now:?}");
        assert_eq!(
            store.apply(now, &ADMIN, &[enrol(7, 1)]).is_ok(),
            admits,
            "{now:?}"
        );
    }
}

#[test]
fn i2_a_clock_set_back_opens_nothing_again() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    store
        .apply(at(0), &ADMIN, &[open(7, 5), open(8, 5)])
        .unwrap();
    store.apply(at(5 * MINUTE), &ADMIN, &[enrol(7, 1)]).unwrap();
    assert!(store.apply(at(4 * MINUTE), &ADMIN, &[enrol(7, 2)]).is_err());
    drop(store);
    // After another boot there is only the wall clock, and what the store has seen of it.
    let then = |ms| Now {
        boot_ms: 1,
        boot: [2; 16],
        ..at(ms)
    };
    let mut store = sled(&dir, then(4 * MINUTE));
    assert_eq!(left(&store, then(4 * MINUTE), 7), 0);
    assert!(
        store
            .apply(then(4 * MINUTE), &ADMIN, &[enrol(7, 2)])
            .is_err()
    );
    store
        .apply(then(5 * MINUTE), &ADMIN, &[enrol(7, 2)])
        .unwrap();
    // Seen to be over, once, is over.
    assert!(
        store
            .apply(then(10 * MINUTE), &ADMIN, &[enrol(7, 3)])
            .is_err()
    );
    drop(store);
    let mut store = sled(&dir, then(6 * MINUTE));
    for id in [7, 8] {
        assert!(
            store
                .apply(then(6 * MINUTE), &ADMIN, &[enrol(id, 4)])
                .is_err()
        );
    }
}

#[test]
fn i2_settling_notes_the_clock_while_a_window_is_open() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    store.apply(at(0), &ADMIN, &[open(7, 5)]).unwrap();
    store.settle(at(9 * MINUTE)).unwrap();
    drop(store);
    let store = sled(&dir, at(MINUTE));
    assert_eq!(store.highest_wall_ms(), at(9 * MINUTE).wall_ms);
    assert_eq!(left(&store, at(MINUTE), 7), 0);
}

/// The rules said once more, as plainly as they can be.
#[derive(Default)]
struct Model {
    highest: u64,
    windows: BTreeMap<u64, Plain>,
    known: BTreeSet<u64>,
}

struct Plain {
    count: usize,
    opened: Now,
    let_in: BTreeSet<u64>,
    barred: BTreeSet<u64>,
    ended: bool,
}

const LASTS: u64 = 10 * MINUTE;

impl Model {
    fn see(&mut self, now: Now) {
        self.highest = self.highest.max(now.wall_ms);
        for window in self.windows.values_mut() {
            let by_wall = self.highest - window.opened.wall_ms >= LASTS;
            let by_boot =
                now.boot == window.opened.boot && now.boot_ms - window.opened.boot_ms >= LASTS;
            window.ended |= by_wall || by_boot;
        }
    }

    /// Whether the key may come in.
    fn enrol(&mut self, now: Now, id: u64, key: u64) -> bool {
        if self.known.contains(&key) {
            return true;
        }
        let window = self.windows.get_mut(&id).unwrap();
        if window.ended || now.wall_ms < self.highest || window.barred.contains(&key) {
            return false;
        }
        window.let_in.insert(key);
        window.barred.insert(key);
        window.ended = window.let_in.len() == window.count;
        self.known.insert(key);
        true
    }
}

/// Runs random steps with clocks that jump; `reopen` may give another store of the same contents.
fn walk(
    mut store: Box<dyn Keystore>,
    steps: u32,
    mut reopen: impl FnMut(Box<dyn Keystore>, Now) -> Box<dyn Keystore>,
) {
    let mut random = Random::from_env();
    let mut now = at(DAY);
    let mut model = Model {
        highest: now.wall_ms,
        ..Model::default()
    };
    let mut admitted = 0;
    for step in 0..steps {
        match random.below(12) {
            0..=3 => {}
            4..=7 => {
                let ms = random.below(MINUTE);
                now = Now {
                    wall_ms: now.wall_ms + ms,
                    boot_ms: now.boot_ms + ms,
                    ..now
                };
            }
            8 => now.boot_ms += random.below(12 * MINUTE),
            9 => now.wall_ms -= random.below(5 * MINUTE),
            10 => now.wall_ms += random.below(5 * MINUTE),
            _ => {
                now = Now {
                    boot_ms: random.below(MINUTE),
                    boot: u128::from(step).to_le_bytes(),
                    ..now
                }
            }
        }
        let (id, n) = (random.below(4), random.below(30));
        match random.below(40) {
            0..=1 => {
                let count = 1 + random.below(5) as u32;
                let opened = store.apply(now, &ADMIN, &[open(id, count)]).is_ok();
                model.see(now);
                assert_eq!(opened, now.wall_ms >= model.highest, "step {step}");
                if opened {
                    let (let_in, barred) = Default::default();
                    let window = Plain {
                        count: count as usize,
                        opened: now,
                        let_in,
                        barred,
                        ended: false,
                    };
                    model.windows.insert(id, window);
                }
            }
            2 if model.windows.contains_key(&id) => {
                let _ = store.apply(now, &ADMIN, &[close(id)]);
                model.see(now);
                model.windows.get_mut(&id).unwrap().ended = true;
            }
            3..=6 => {
                let removed = store.apply(now, &ADMIN, &[remove(n)]).is_ok();
                model.see(now);
                assert_eq!(removed, model.known.remove(&n), "step {step}");
                if removed {
                    model
                        .windows
                        .values_mut()
                        .for_each(|w| _ = w.barred.insert(n));
                }
            }
            7 => {
                store = reopen(store, now);
                let highest = store.highest_wall_ms();
                if model.windows.values().any(|window| !window.ended) {
                    assert!(highest + 1000 >= model.highest, "step {step}");
                }
                model.highest = highest;
                model.see(now);
            }
            _ if model.windows.contains_key(&id) => {
                let result = store.apply(now, &ADMIN, &[enrol(id, n)]);
                model.see(now);
                let kept = !matches!(result, Err(ApplyError::NoSuchWindow));
                let before = model.known.len();
                let may = kept && model.enrol(now, id, n);
                assert_eq!(result.is_ok(), may, "step {step}: {result:?}");
                admitted += model.known.len() - before;
            }
            _ => {}
        }
        for (id, window) in &model.windows {
            assert!(window.let_in.len() <= window.count);
            let open = !window.ended && now.wall_ms >= model.highest;
            let expected = if open {
                window.count - window.let_in.len()
            } else {
                0
            };
            // The boot clock is only noted by a change or a settling.
            let shown = left(&*store, now, *id) as usize;
            assert!(
                shown == expected || shown == 0,
                "step {step}: {shown} of {expected}"
            );
        }
        for n in 0..30 {
            assert_eq!(
                is_known(&*store, now, n),
                model.known.contains(&n),
                "step {step}: key {n}"
            );
        }
    }
    assert!(
        admitted > 50,
        "only {admitted} keys came in, so little was tried"
    );
}

#[test]
fn i2_ten_thousand_random_steps_in_memory() {
    walk(Box::new(Memory::new()), 10_000, |mut store, now| {
        store.settle(now).unwrap();
        store
    });
}

#[test]
fn i2_ten_thousand_random_steps_on_disk() {
    let dir = TempDir::new().unwrap();
    let first = sled(&dir, at(DAY));
    let mut reopenings = 0;
    walk(Box::new(first), 10_000, |mut store, now| {
        reopenings += 1;
        if reopenings % 8 > 0 {
            store.settle(now).unwrap();
            return store;
        }
        drop(store);
        Box::new(sled(&dir, now))
    });
}

#[test]
fn one_name_keeps_few_windows() {
    let mut store = Memory::new();
    let open = |id: u64| {
        let secret = secret(&format!("secret {id}"));
        Change::OpenWindow(OpenWindow {
            secret,
            ..window(id, 1)
        })
    };
    let close = |id: u64| Change::CloseWindow {
        window: WindowId(id),
        why: WindowEnd::Closed,
    };
    let open_ones = Window::MAX_OPEN as u64;
    for id in 0..open_ones {
        store.apply(at(id), &ADMIN, &[open(id)]).unwrap();
    }
    let more = store.apply(at(20), &ADMIN, &[open(99)]);
    assert!(matches!(more, Err(ApplyError::TooMany)), "{more:?}");
    // One that takes another's place fits; those that ended last are kept.
    for id in open_ones..200 {
        store
            .apply(at(100 + id), &ADMIN, &[close(id - 1), open(id)])
            .unwrap();
    }
    let windows = store.windows(at(400)).unwrap();
    let ended = windows
        .iter()
        .filter(|window| window.ended.is_some())
        .count();
    assert!(ended <= Window::MAX_ENDED + 1, "{ended} are kept");
    assert!(windows.iter().any(|window| window.id == WindowId(198)));
}
