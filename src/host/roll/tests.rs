//! Random lives of keys against an oracle that knows nothing of rows, windows and indices: after
//! every step exactly those are up who must be.

use std::collections::{BTreeMap, BTreeSet};

use chacha20::ChaCha8Rng;
use keystore::{Actor, Change, Keystore, Memory, OpenWindow, Origin, Scope, WindowId};
use rand_core::{Rng, SeedableRng};

use super::*;

const ADMIN: Actor = Actor::User(1000);
const KEYS: u64 = 10;
const NAMES: [&str; 3] = ["door", "gate", "hall"];

/// What the oracle thinks of a key.
#[derive(Debug, Clone, Default)]
struct Opinion {
    state: State,
    scopes: BTreeSet<&'static str>,
    until: Option<u64>,
    /// Windows that do not let it in, whatever their count.
    shut: BTreeSet<u64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    #[default]
    Nobody,
    Fine,
    Off,
    Gone,
    Never,
}

/// An open window of the oracle: for which name, how many more, until when.
#[derive(Debug, Clone)]
struct Gap {
    name: &'static str,
    left: u32,
    until: u64,
    came: BTreeSet<u64>,
}

struct World {
    rng: ChaCha8Rng,
    now_ms: u64,
    store: Memory,
    watch: keystore::Watch,
    roll: Roll,
    next: u64,
    opinions: BTreeMap<u64, Opinion>,
    gaps: BTreeMap<u64, Gap>,
    /// Who must be up, by the oracle.
    up: BTreeMap<u64, (u64, &'static str)>,
    /// How often a session was cut, so that the test proves something.
    cut: usize,
    entered: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut store = Memory::new();
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now_ms: 1_000_000,
            watch: store.watch(Box::new(|| ())),
            store,
            roll: Roll::default(),
            next: 0,
            opinions: BTreeMap::new(),
            gaps: BTreeMap::new(),
            up: BTreeMap::new(),
            cut: 0,
            entered: 0,
        }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.rng.next_u64() % end
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: self.now_ms,
            boot_ms: self.now_ms,
            boot: [1; 16],
        }
    }

    fn opinion(&mut self, key: u64) -> &mut Opinion {
        self.opinions.entry(key).or_default()
    }

    /// What an admin does, and what the oracle expects of it. `None`: an error.
    fn administer(&mut self) {
        let number = self.below(KEYS);
        let key = key(number);
        let name = NAMES[self.below(3) as usize];
        let (text, scope) = match self.below(4) {
            0 => ("*", Scope::Any),
            _ => (name, Scope::Name(Name::parse(name).unwrap())),
        };
        let later = self.now_ms + self.below(3_000);
        let what = self.below(12);
        let open: Vec<u64> = self.gaps.keys().copied().collect();
        let old = self.opinion(number).clone();
        let mut new = old.clone();
        let known = old.state != State::Nobody;
        let trusted = matches!(old.state, State::Fine | State::Off);
        let (change, good) = match what {
            0..4 => {
                if old.state == State::Gone || old.state == State::Nobody {
                    new.scopes.clear();
                    new.until = None;
                    new.state = State::Fine;
                }
                new.scopes.insert(text);
                new.shut.clear();
                let change = Change::Accept {
                    key,
                    scope,
                    label: None,
                    imported: false,
                };
                (change, old.state != State::Never)
            }
            4 => {
                new.scopes.remove(text);
                let meant = |id: &&u64| text == "*" || self.gaps[*id].name == text;
                new.shut.extend(open.iter().filter(meant));
                let good = known && old.scopes.contains(text);
                (Change::Unscope { key, scope }, good)
            }
            5 => {
                new.until = Some(later);
                let change = Change::Expire {
                    key,
                    at_ms: Some(later),
                };
                (change, trusted)
            }
            6 => {
                new.state = State::Off;
                (Change::Disable { key }, trusted)
            }
            7 => {
                new.state = State::Fine;
                (Change::Enable { key }, trusted)
            }
            8 => {
                if trusted {
                    new = gone(&old, State::Gone, &open);
                }
                (Change::Revoke { key }, trusted || old.state == State::Gone)
            }
            9 => {
                if old.state != State::Never {
                    new = gone(&old, State::Never, &open);
                }
                (Change::Ban { key }, true)
            }
            10 => {
                new.state = State::Gone;
                (Change::Unban { key }, old.state == State::Never)
            }
            _ => {
                new = gone(&old, State::Nobody, &open);
                (Change::Remove { key }, known)
            }
        };
        let done = self
            .store
            .apply(self.now(), &ADMIN, std::slice::from_ref(&change));
        assert_eq!(done.is_ok(), good, "{change:?} on {old:?}: {done:?}");
        if good {
            *self.opinion(number) = new;
        }
    }

    fn open_window(&mut self) {
        let id = self.next;
        self.next += 1;
        let name = NAMES[self.below(3) as usize];
        let count = self.below(3) as u32 + 1;
        let lasts_ms = self.below(4_000) + 1;
        let open = OpenWindow {
            id: WindowId(id),
            name: Name::parse(name).unwrap(),
            secret: identity::Secret::parse(id.to_string().as_bytes()).unwrap(),
            human: false,
            count,
            lasts_ms,
            origin: Origin::Admin,
            label: None,
        };
        let open = [Change::OpenWindow(open)];
        if self.store.apply(self.now(), &ADMIN, &open).is_ok() {
            let gap = Gap {
                name,
                left: count,
                until: self.now_ms + lasts_ms,
                came: BTreeSet::new(),
            };
            self.gaps.insert(id, gap);
        }
    }

    /// A key that is proved comes to a name, with a window's secret or without.
    fn connect(&mut self) {
        let number = self.below(KEYS);
        let key = key(number);
        let mut name = NAMES[self.below(3) as usize];
        let window = match self.below(3) {
            0 => {
                let ids: Vec<u64> = self.gaps.keys().copied().collect();
                let pick = self.below(ids.len().max(1) as u64) as usize;
                ids.get(pick).copied()
            }
            _ => None,
        };
        if let Some(id) = window {
            name = self.gaps[&id].name;
        }
        let parsed = Name::parse(name).unwrap();
        let now = self.now();
        if let Some(id) = window {
            let enrol = Change::Enrol {
                window: WindowId(id),
                key,
            };
            // A key that is accepted spends nothing.
            let _ = self.store.apply(now, &Actor::Host, &[enrol]);
        }
        let found = self.store.lookup(now, &parsed, &key).unwrap();
        let expected = self.may_enter(number, name, window);
        assert_eq!(found.is_ok(), expected, "{number} at {name}: {found:?}");
        if let Ok(entry) = found {
            self.entered += 1;
            let id = SessionId(self.next);
            self.up.insert(self.next, (number, name));
            self.next += 1;
            let session = Session {
                front: FrontId(1),
                script: ScriptId(1),
                name: parsed,
                key: Some(key),
                from: "127.0.0.1:1".parse().unwrap(),
                since_ms: self.now_ms,
                expires_ms: entry.expires_ms,
                anonymous: false,
                stage: Stage::Taken,
            };
            self.roll.enter(id, session);
        }
    }

    /// The oracle's word, and what follows from it.
    fn may_enter(&mut self, number: u64, name: &'static str, window: Option<u64>) -> bool {
        if self.is_accepted(number, name) {
            return true;
        }
        let now_ms = self.now_ms;
        let opinion = self.opinions.entry(number).or_default();
        let over = opinion.until.is_some_and(|end| end <= now_ms);
        let refused = matches!(opinion.state, State::Off | State::Never)
            || (opinion.state == State::Fine && over);
        let Some((id, gap)) = window.and_then(|id| Some((id, self.gaps.get_mut(&id)?))) else {
            return false;
        };
        let shut = gap.left == 0
            || gap.until <= now_ms
            || gap.came.contains(&number)
            || opinion.shut.contains(&id);
        if refused || shut {
            return false;
        }
        gap.left -= 1;
        gap.came.insert(number);
        if opinion.state != State::Fine {
            opinion.scopes.clear();
            opinion.until = None;
            opinion.state = State::Fine;
        }
        opinion.scopes.insert(name);
        opinion.shut.clear();
        true
    }

    fn is_accepted(&self, number: u64, name: &str) -> bool {
        self.opinions.get(&number).is_some_and(|opinion| {
            opinion.state == State::Fine
                && (opinion.scopes.contains("*") || opinion.scopes.contains(name))
                && opinion.until.is_none_or(|end| end > self.now_ms)
        })
    }

    /// Somebody leaves by itself.
    fn disconnect(&mut self) {
        let pick = self.below(self.up.len().max(1) as u64) as usize;
        if let Some((&id, _)) = self.up.iter().nth(pick) {
            self.up.remove(&id);
            self.roll.leave(SessionId(id)).unwrap();
        }
    }

    fn step(&mut self) {
        match self.below(16) {
            0..5 => self.administer(),
            5 => self.open_window(),
            6..14 => self.connect(),
            14 => self.disconnect(),
            _ => self.now_ms += self.below(700),
        }
        // Windows end; the oracle forgets those that nobody can use any more.
        self.store.settle(self.now()).unwrap();
        self.gaps
            .retain(|_, gap| gap.left > 0 && gap.until > self.now_ms);
        self.follow();
        self.check();
    }

    /// What the host does when the store has changed and time has passed.
    fn follow(&mut self) {
        let now = self.now();
        let mut dropped = Vec::new();
        while let Some(told) = self.watch.next().unwrap() {
            if let Some(key) = told.change.key() {
                let entry = self.store.entry(key).unwrap();
                dropped.extend(self.roll.judge(key, entry.as_ref(), now));
            }
        }
        dropped.extend(self.roll.expire(now));
        for Dropped { id, .. } in dropped {
            assert!(self.roll.leave(id).is_some(), "dropped twice");
            self.cut += 1;
        }
    }

    fn check(&mut self) {
        let up = std::mem::take(&mut self.up);
        self.up = up
            .into_iter()
            .filter(|(_, (number, name))| self.is_accepted(*number, name))
            .collect();
        let is: Vec<u64> = self.roll.iter().map(|(id, _)| id.0).collect();
        let must: Vec<u64> = self.up.keys().copied().collect();
        assert_eq!(is, must, "i5: who is up is not who must be");
        let next = self.roll.iter().filter_map(|(_, it)| it.expires_ms).min();
        assert_eq!(self.roll.next_expiry_ms(), next);
    }
}

/// A key whose trust has ended is let in by none of the windows that are open now.
fn gone(old: &Opinion, state: State, open: &[u64]) -> Opinion {
    let mut shut = old.shut.clone();
    shut.extend(open);
    Opinion {
        state,
        shut,
        ..Opinion::default()
    }
}

fn key(number: u64) -> PublicKey {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    PublicKey::parse(&bytes).unwrap()
}

#[test]
fn i5_exactly_those_are_up_who_must_be_through_a_hundred_thousand_steps() {
    let (mut cut, mut entered) = (0, 0);
    for seed in 0..20 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..5_000).for_each(|_| world.step());
            (world.cut, world.entered)
        });
        match run {
            Ok((more_cut, more_entered)) => {
                cut += more_cut;
                entered += more_entered;
            }
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(
        cut > 2_000 && entered > 5_000,
        "{cut} cut, {entered} entered"
    );
}
