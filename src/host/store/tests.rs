//! What the host hears of a store that cannot always be heard.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use identity::{Name, Secret};
use keystore::{Denied, Memory, Scope, Told, Window, WindowId};

use super::*;

/// What a store that is elsewhere would be: it can be out of reach.
#[derive(Default)]
struct Elsewhere {
    store: Mutex<Memory>,
    gone: AtomicBool,
    watchers: Mutex<Vec<(mpsc::Sender<Told>, Wake)>>,
}

impl Elsewhere {
    fn store(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.store.lock().unwrap()
    }

    /// Nobody who watches is told any more.
    fn break_off(&self) {
        self.gone.store(true, Ordering::Relaxed);
        for (told, wake) in self.watchers.lock().unwrap().drain(..) {
            drop(told);
            wake();
        }
    }

    fn come_back(&self) {
        self.gone.store(false, Ordering::Relaxed);
    }

    /// Somebody accepts a key, here or on another host.
    fn accept(&self, key: PublicKey) {
        let (key, scope) = (key, Scope::Any);
        let (label, imported) = (None, false);
        let change = Change::Accept {
            key,
            scope,
            label,
            imported,
        };
        let by = Actor::User(0);
        let epoch = self
            .store()
            .apply(Clock::new().now(), &by, std::slice::from_ref(&change))
            .unwrap();
        for (told, wake) in &*self.watchers.lock().unwrap() {
            let (by, change) = (by.clone(), change.clone());
            told.send(Told { epoch, by, change }).unwrap();
            wake();
        }
    }
}

struct Handle(Arc<Elsewhere>);

impl Keystore for Handle {
    fn lookup(
        &self,
        now: Now,
        name: &Name,
        key: &PublicKey,
    ) -> Result<Result<Entry, Denied>, StoreError> {
        self.0.store().lookup(now, name, key)
    }

    fn entry(&self, key: &PublicKey) -> Result<Option<Entry>, StoreError> {
        self.0.store().entry(key)
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        self.0.store().entries()
    }

    fn windows(&self, now: Now) -> Result<Vec<Window>, StoreError> {
        self.0.store().windows(now)
    }

    fn window_secret(&self, id: WindowId) -> Result<Option<Secret>, StoreError> {
        self.0.store().window_secret(id)
    }

    fn highest_wall_ms(&self) -> u64 {
        self.0.store().highest_wall_ms()
    }

    fn apply_each(
        &mut self,
        now: Now,
        groups: &[Group<'_>],
    ) -> Result<Vec<Result<Epoch, ApplyError>>, StoreError> {
        self.0.store().apply_each(now, groups)
    }

    fn settle(&mut self, now: Now) -> Result<Epoch, StoreError> {
        self.0.store().settle(now)
    }

    fn note(&mut self, now: Now, note: Note) -> Result<(), StoreError> {
        self.0.store().note(now, note)
    }

    fn rehearse(
        &mut self,
        now: Now,
        by: &Actor,
        changes: &[Change],
    ) -> Result<Vec<(PublicKey, Option<Entry>)>, ApplyError> {
        self.0.store().rehearse(now, by, changes)
    }

    fn snapshot(&mut self, now: Now, folder: &Path) -> Result<Epoch, StoreError> {
        self.0.store().snapshot(now, folder)
    }

    fn watch(&mut self, wake: Wake) -> Watch {
        let (sender, told) = mpsc::channel();
        if !self.0.gone.load(Ordering::Relaxed) {
            self.0.watchers.lock().unwrap().push((sender, wake));
        }
        Watch::new(told)
    }
}

/// What a host would hear.
type Heard = Vec<News>;

/// A store, the thread's half of it, and how often it was to be looked at.
fn keeper(
    grace: Duration,
) -> (
    Arc<Elsewhere>,
    impl FnMut() -> Vec<&'static str>,
    Arc<AtomicUsize>,
) {
    let elsewhere: Arc<Elsewhere> = Arc::default();
    let looks: Arc<AtomicUsize> = Arc::default();
    let counted = Arc::clone(&looks);
    let look = move || counted.fetch_add(1, Ordering::Relaxed) < usize::MAX;
    let hear = |news| -> Then<Heard> { Box::new(move |heard: &mut Heard| heard.push(news)) };
    let store = Box::new(Handle(Arc::clone(&elsewhere)));
    let mut keeper = Keeper::new(store, Clock::new(), hear, look, grace);
    let listen = move || {
        let mut heard = Heard::new();
        for then in keeper.work(vec![Job::Look]) {
            then(&mut heard);
        }
        heard
            .iter()
            .map(|news| match news {
                News::Changed { entries, .. } => match entries.as_slice() {
                    [(_, Some(_))] => "accepted",
                    _ => "changed",
                },
                News::Unheard => "unheard",
                News::Blind => "blind",
            })
            .collect()
    };
    (elsewhere, listen, looks)
}

fn key(n: u8) -> PublicKey {
    PublicKey::parse(&[n; 32]).unwrap()
}

#[test]
fn what_others_change_is_heard() {
    let (elsewhere, mut listen, looks) = keeper(Duration::MAX);
    assert!(listen().is_empty());
    elsewhere.accept(key(7));
    assert_eq!(looks.load(Ordering::Relaxed), 1, "it is to look");
    assert_eq!(listen(), ["accepted"]);
    assert!(listen().is_empty());
}

#[test]
fn a_store_that_is_heard_again_is_looked_at_anew() {
    let (elsewhere, mut listen, looks) = keeper(Duration::MAX);
    elsewhere.break_off();
    assert_eq!(looks.load(Ordering::Relaxed), 1, "it is to look");
    elsewhere.accept(key(7));
    // Within the grace what is known counts.
    assert!(listen().is_empty() && listen().is_empty());
    elsewhere.come_back();
    assert!(listen().is_empty(), "it asks to be told again");
    elsewhere.accept(key(8));
    assert_eq!(listen(), ["unheard", "accepted"]);
    elsewhere.accept(key(9));
    assert_eq!(listen(), ["accepted"]);
}

#[test]
fn a_store_that_is_unheard_for_too_long_counts_for_nothing_until_it_is_back() {
    let (elsewhere, mut listen, _) = keeper(Duration::ZERO);
    elsewhere.break_off();
    assert_eq!(listen(), ["blind"]);
    assert_eq!(listen(), ["blind"], "as long as it lasts");
    elsewhere.come_back();
    listen();
    assert_eq!(listen(), ["unheard"]);
    assert!(listen().is_empty());
}
