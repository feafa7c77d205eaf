//! Random histories of a store: what is done to it, and what is to be seen of it after each step.
//! A seed says all of it, so that a process and whoever watches it know the same.

use std::net::SocketAddr;

use super::*;

/// What is done at once.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Apply(Vec<Change>),
    Note(Note),
    Settle,
}

/// A store and what is done to it.
pub(crate) struct History {
    random: Random,
    expected: Memory,
    ms: u64,
    next_window: u64,
}

/// One step, and everything that can be seen after it.
pub(crate) struct Step {
    pub(crate) now: Now,
    pub(crate) deed: Deed,
    pub(crate) after: Seen,
}

impl History {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            expected: Memory::new(),
            ms: 0,
            next_window: 1,
        }
    }

    /// The time, and what is to be seen.
    pub(crate) fn present(&self) -> (Now, Seen) {
        (at(self.ms), seen(&self.expected, at(self.ms)))
    }

    /// The next step; changes that would be refused are not among them.
    pub(crate) fn step(&mut self) -> Step {
        self.ms += match self.random.below(60) {
            0 => 25 * 60 * MINUTE,
            1..5 => 4 * MINUTE,
            _ => self.random.below(2_500),
        };
        let now = at(self.ms);
        let deed = match self.random.below(12) {
            0 => Deed::Settle,
            1 | 2 => {
                let door = name("door");
                let from = SocketAddr::from(([127, 0, 0, 1], self.random.next() as u16));
                let (key, session) = (self.key(), self.random.next());
                let window = None;
                Deed::Note(Note::Admitted {
                    name: door,
                    key,
                    from,
                    window,
                    session,
                })
            }
            _ => Deed::Apply(self.changes(now)),
        };
        carry_out(&mut self.expected, now, &deed).unwrap();
        let after = seen(&self.expected, now);
        Step { now, deed, after }
    }

    fn key(&mut self) -> PublicKey {
        key(self.random.below(12))
    }

    fn changes(&mut self, now: Now) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let wanted = 1 + self.random.below(4) as usize;
        for _ in 0..40 {
            changes.push(self.change());
            if self.expected.rehearse(now, &ADMIN, &changes).is_err() {
                changes.pop();
            }
            if changes.len() == wanted {
                break;
            }
        }
        changes
    }

    fn change(&mut self) -> Change {
        let (key, which) = (self.key(), self.random.below(20));
        let places = ["door", "gate", "hall"];
        let place = name(places[self.random.below(3) as usize]);
        let text = Some(format!("said {}", self.random.below(99)));
        let (scope, label, comment) = (Scope::Name(place.clone()), text.clone(), text);
        let id = WindowId(self.next_window.saturating_sub(1 + self.random.below(4)));
        let more = self.random.below(90) as u32;
        match which {
            0..3 => Change::Accept {
                key,
                scope,
                label,
                imported: false,
            },
            3 => Change::Unscope { key, scope },
            4 => Change::Label { key, label },
            5 => Change::Comment { key, comment },
            6 => Change::Expire {
                key,
                at_ms: Some(at(self.ms + self.random.below(9 * MINUTE)).wall_ms),
            },
            7 => Change::Disable { key },
            8 => Change::Enable { key },
            9 => Change::Revoke { key },
            10 => Change::Ban { key },
            11 => Change::Unban { key },
            12 => Change::Remove { key },
            13 | 14 => {
                self.next_window += 1;
                Change::OpenWindow(OpenWindow {
                    name: place,
                    human: more.is_multiple_of(2),
                    label,
                    ..window(self.next_window - 1, 1 + more % 4)
                })
            }
            15 => Change::CloseWindow {
                window: id,
                why: WindowEnd::Closed,
            },
            16 => Change::Guesses { window: id, more },
            _ => Change::Enrol { window: id, key },
        }
    }
}

/// Does it to any store.
pub(crate) fn carry_out(store: &mut dyn Keystore, now: Now, deed: &Deed) -> Result<(), ApplyError> {
    match deed {
        Deed::Apply(changes) => store.apply(now, &ADMIN, changes).map(drop),
        Deed::Note(note) => Ok(store.note(now, note.clone())?),
        Deed::Settle => Ok(store.settle(now).map(drop)?),
    }
}

/// What a store that is opened again may hold.
pub(crate) struct Expected {
    /// What was seen after each step, and when; the first before any.
    states: Vec<(Now, Seen)>,
    /// The steps that made durable when keys were here.
    settled: Vec<usize>,
    /// What was found of that when the store was opened again last.
    found: Vec<Entry>,
}

impl Expected {
    pub(crate) fn new(history: &History) -> Self {
        Self {
            states: vec![history.present()],
            settled: vec![0],
            found: Vec::new(),
        }
    }

    /// One more step that was begun.
    pub(crate) fn push(&mut self, step: &Step) {
        if matches!(step.deed, Deed::Settle) {
            self.settled.push(self.states.len());
        }
        self.states.push((step.now, step.after.clone()));
    }

    /// How many steps are known.
    pub(crate) fn len(&self) -> usize {
        self.states.len() - 1
    }

    /// When that step was.
    pub(crate) fn now(&self, step: usize) -> Now {
        self.states[step].0
    }

    /// How many steps a store has seen of which so many were acknowledged: those, or one more. An
    /// error says what else it holds.
    pub(crate) fn steps_in(
        &mut self,
        store: &dyn Keystore,
        acknowledged: usize,
    ) -> Result<usize, String> {
        let mut found = Vec::new();
        for step in [acknowledged + 1, acknowledged] {
            let Some((now, state)) = self.states.get(step) else {
                continue;
            };
            let mut held = seen(store, *now);
            for window in &held.1 {
                let admitted = window.0.enrolled.len() as u64;
                if admitted > u64::from(window.0.count) {
                    return Err(format!("a window admitted too many: {window:?}"));
                }
            }
            // When a key was here may be known less well, by the steps since the last settling.
            let since = self.settled.iter().rfind(|n| **n <= acknowledged);
            let since = *since.unwrap_or(&0);
            let now_found = held.0.clone();
            for (entry, then) in held.0.iter_mut().zip(&state.0) {
                let states = self.states[since..=step].iter();
                let ever = states.map(|(_, state)| &state.0).chain([&self.found]);
                let mut ever = ever.flatten().filter(|other| other.key == entry.key);
                if ever.any(|other| other.seen == entry.seen) {
                    entry.seen = then.seen;
                }
            }
            if held == *state {
                self.found = now_found;
                return Ok(step);
            }
            let keys = held.0.iter().filter(|entry| !state.0.contains(entry));
            let windows = held.1.iter().filter(|window| !state.1.contains(window));
            found.push(format!(
                "not as after {step}: {:?} {:?}; {} keys and {} windows for {} and {}",
                keys.collect::<Vec<_>>(),
                windows.collect::<Vec<_>>(),
                held.0.len(),
                held.1.len(),
                state.0.len(),
                state.1.len()
            ));
        }
        Err(found.join("\n"))
    }
}

/// Looks at a store that was opened after something, and goes on with it.
pub(crate) fn inspect(
    directory: &Directory,
    expected: &mut Expected,
    acknowledged: usize,
) -> Result<usize, String> {
    let now = expected.now(acknowledged);
    let open = || Sled::open(directory, now).map_err(|error| format!("it does not open: {error}"));
    let store = open()?;
    let step = expected.steps_in(&store, acknowledged)?;
    drop(store);
    let mut store = open()?;
    if expected.steps_in(&store, acknowledged)? != step {
        return Err("opened again it holds something else".into());
    }
    let stranger = Change::Accept {
        key: key(1_000),
        scope: Scope::Any,
        label: None,
        imported: false,
    };
    let changed = store.apply(expected.now(step), &ADMIN, &[stranger, remove(1_000)]);
    changed.map_err(|error| format!("nothing can be changed: {error}"))?;
    audit::is_complete(directory.path(), &mut store);
    expected.steps_in(&store, acknowledged)
}
