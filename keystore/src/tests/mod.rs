//! What a user of the keystore notices, backend by backend.

mod backup;
mod contract;
mod crash;
mod damage;
pub(crate) mod directory;
mod rules;
mod secrets;
mod windows;

use identity::{Name, PublicKey, Secret};
use tempfile::TempDir;

use crate::*;

/// Who makes the changes of a test.
pub(crate) const ADMIN: Actor = Actor::User(1000);

pub(crate) const MINUTE: u64 = 60_000;
pub(crate) const DAY: u64 = Window::KEPT_MS;

/// A moment in the first boot, so long after the epoch that clocks can be set back.
pub(crate) fn at(ms: u64) -> Now {
    Now {
        wall_ms: 1_000_000_000 + ms,
        boot_ms: 50_000 + ms,
        boot: [1; 16],
    }
}

pub(crate) fn key(n: u64) -> PublicKey {
    let mut bytes = [9; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    PublicKey::parse(&bytes).unwrap()
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret {
    Secret::parse(text.as_bytes()).unwrap()
}

pub(crate) fn accept(key_number: u64, scope: &str) -> Change {
    let scope = if scope == "*" {
        Scope::Any
    } else {
        Scope::Name(name(scope))
    };
    Change::Accept {
        key: key(key_number),
        scope,
        label: None,
        imported: false,
    }
}

pub(crate) fn remove(key_number: u64) -> Change {
    Change::Remove {
        key: key(key_number),
    }
}

pub(crate) fn open(id: u64, count: u32) -> Change {
    Change::OpenWindow(window(id, count))
}

/// Ten minutes for the name `door`, with a secret of its own.
pub(crate) fn window(id: u64, count: u32) -> OpenWindow {
    OpenWindow {
        id: WindowId(id),
        name: name("door"),
        secret: secret(&format!("secret of window {id}")),
        human: false,
        count,
        lasts_ms: 10 * MINUTE,
        origin: Origin::Admin,
        label: None,
    }
}

pub(crate) fn enrol(id: u64, key_number: u64) -> Change {
    Change::Enrol {
        window: WindowId(id),
        key: key(key_number),
    }
}

pub(crate) fn close(id: u64) -> Change {
    Change::CloseWindow {
        window: WindowId(id),
        why: WindowEnd::Closed,
    }
}

pub(crate) fn is_known(store: &dyn Keystore, now: Now, key_number: u64) -> bool {
    store
        .lookup(now, &name("door"), &key(key_number))
        .unwrap()
        .is_ok()
}

pub(crate) fn find(store: &dyn Keystore, now: Now, id: u64) -> Option<Window> {
    store
        .windows(now)
        .unwrap()
        .into_iter()
        .find(|window| window.id == WindowId(id))
}

/// How many more the window lets in.
pub(crate) fn left(store: &dyn Keystore, now: Now, id: u64) -> u32 {
    find(store, now, id).map_or(0, |window| window.left(now, store.highest_wall_ms()))
}

/// What a watch tells.
pub(crate) fn told(watch: &Watch) -> Vec<Told> {
    std::iter::from_fn(|| watch.next().unwrap()).collect()
}

/// Groups of changes that an admin makes.
pub(crate) fn groups<'a>(changes: &[&'a [Change]]) -> Vec<Group<'a>> {
    let group = |changes: &&'a [Change]| Group {
        by: &ADMIN,
        changes,
    };
    changes.iter().map(group).collect()
}

/// Everything that can be seen of a store.
pub(crate) type Seen = (Vec<Entry>, Vec<(Window, Option<Secret>)>);

pub(crate) fn seen(store: &dyn Keystore, now: Now) -> Seen {
    let with_secret = |window: Window| {
        let secret = store.window_secret(window.id).unwrap();
        (window, secret)
    };
    let windows = store
        .windows(now)
        .unwrap()
        .into_iter()
        .map(with_secret)
        .collect();
    (store.entries().unwrap(), windows)
}

pub(crate) fn sled(dir: &TempDir, now: Now) -> Sled {
    Sled::open(&state_directory(dir), now).unwrap()
}

pub(crate) fn state_directory(dir: &TempDir) -> Directory {
    open_directory(&dir.path().join("state"))
}

/// Another test's child may still have our lock, or that of the test that started us, between its
/// fork and its exec.
pub(crate) fn open_directory(path: &Path) -> Directory {
    let ours = [std::process::id(), std::os::unix::process::parent_id()];
    loop {
        match Directory::open(path) {
            Err(OpenError::Held { pid: Some(pid), .. }) if ours.contains(&pid) => {
                std::thread::yield_now();
            }
            result => return result.unwrap(),
        }
    }
}

/// Small, and the same everywhere (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Says which one it is, so that a failure can be run again.
    pub(crate) fn from_env() -> Self {
        let seed = std::env::var("KEYSTORE_SEED")
            .ok()
            .and_then(|text| text.parse().ok());
        let seed = seed.unwrap_or_else(|| getrandom::u64().unwrap());
        println!("KEYSTORE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
