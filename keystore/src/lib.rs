//! Who is known.
//!
//! A [`Keystore`] has three verbs. [`lookup`](Keystore::lookup) says where a key stands within a
//! name; [`apply`](Keystore::apply) makes changes, all of them or none, durable when it returns;
//! [`watch`](Keystore::watch) tells what has been changed. Everything an admin, a script or a
//! window does is a [`Change`].
//!
//! ```text
//!   change  window  entry      the words: plain values
//!          rules               what a change does to a state: pure, the same for every backend
//!          state               the state as rows; a change is a list of rows and what they become
//!     memory     sled_store    keep the rows: for a while, or for good
//!                audit         what happened: a chain of records, in files beside the rows
//!              format1 folder   what an earlier version wrote; where the log is, whole or not at all
//!                 seal         window secrets on disk, readable while their key file exists
//!               directory      the state directory: its lock, key files
//!               hostkeys       the host's own keys, in that directory
//!               sealed         what only a passphrase opens
//! ```
//!
//! A store keeps its whole state in memory and reads the disk only when it is opened, so a lookup
//! never waits for a disk. README.md says what is on the disk.

pub mod audit;
pub mod backup;
mod change;
mod directory;
mod entry;
mod folder;
mod format1;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hostkeys;
mod log;
mod memory;
mod note;
mod rows;
mod rules;
mod seal;
pub mod sealed;
mod sled_store;
mod state;
mod window;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::mpsc;

use identity::{Name, PublicKey, Secret};
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use change::{Actor, Change, Group, OpenWindow};
pub use directory::{Directory, OpenError};
pub use entry::{Added, Denied, Entry, How, Scope, Seen, Standing};
pub use hostkeys::{
    HostKey, HostKeyChange, HostKeyError, HostKeys, Listed, Previous, PrivateKey, Ring, SealedRing,
    Stored,
};
pub use memory::Memory;
pub use note::{Farewell, HostKeyDeed, Note, Reason};
pub use sled_store::Sled;
pub use window::{Origin, Window, WindowEnd, WindowId};

/// Keeps who is known.
///
/// Time is an argument: [`Now`] carries both clocks. The wall clock must be read in the order of
/// the calls, best by the thread that makes them: a time before one already seen shuts all
/// windows.
///
/// A write of which nobody knows what became shuts the store: every later call gives
/// [`StoreError::Shut`] until it is opened again. What that one call was to change may then be there
/// or not; whatever was acknowledged before is there. A disk that is full is normally met before the
/// write, and a store elsewhere may be out of reach; then nothing has happened, and later calls may
/// succeed.
pub trait Keystore: Send {
    /// The entry of a key if it is accepted for the name at this time, or why it is not. Unknown
    /// keys take as long as known ones.
    fn lookup(
        &self,
        now: Now,
        name: &Name,
        key: &PublicKey,
    ) -> Result<Result<Entry, Denied>, StoreError>;

    /// What is known of a key, accepted or not.
    fn entry(&self, key: &PublicKey) -> Result<Option<Entry>, StoreError>;

    /// All entries, in a stable order.
    fn entries(&self) -> Result<Vec<Entry>, StoreError>;

    /// All windows that still have first-packet keys: open ones, and ended ones for a day. One
    /// whose time is over is shown as ended, noted by [`settle`](Self::settle) or not.
    fn windows(&self, now: Now) -> Result<Vec<Window>, StoreError>;

    /// The secret of a window, while the store keeps it.
    fn window_secret(&self, id: WindowId) -> Result<Option<Secret>, StoreError>;

    /// The highest wall clock time ever seen, ms since 1970; for [`Window::left`].
    fn highest_wall_ms(&self) -> u64;

    /// Makes all of the changes or none; they are durable when this returns. The rules are checked
    /// again here, against what the store holds now. Changes that change nothing cost no write and
    /// leave the epoch as it is.
    fn apply(&mut self, now: Now, by: &Actor, changes: &[Change]) -> Result<Epoch, ApplyError> {
        match self.apply_each(now, &[Group { by, changes }])?.pop() {
            Some(result) => result,
            None => self.settle(now).map_err(ApplyError::Store),
        }
    }

    /// Like [`apply`](Self::apply) for several independent groups of changes, each all or nothing,
    /// with one wait for the disk. There are as many results as groups, in their order.
    fn apply_each(
        &mut self,
        now: Now,
        groups: &[Group<'_>],
    ) -> Result<Vec<Result<Epoch, ApplyError>>, StoreError>;

    /// Makes durable what time alone has done: windows past their deadline end (and are told as
    /// [`Change::CloseWindow`]), those that ended a day ago are forgotten with their secret, and
    /// the wall clock is noted while a window is open. `apply` does the same (the clock alone once
    /// a second at most); call this when nothing else happens, say every half minute.
    fn settle(&mut self, now: Now) -> Result<Epoch, StoreError>;

    /// Records something that changes nothing, such as a refusal. It is durable with the next
    /// change, or by [`settle`](Self::settle).
    fn note(&mut self, now: Now, note: Note) -> Result<(), StoreError>;

    /// The last record of its audit log, which holds every change and every note; `None`: it keeps
    /// none.
    fn audit_head(&self) -> Option<audit::Head> {
        None
    }

    /// What [`apply`](Self::apply) would come to; nothing is changed. Gives the keys that it would
    /// touch as they would then stand; `None`: forgotten.
    fn rehearse(
        &mut self,
        now: Now,
        by: &Actor,
        changes: &[Change],
    ) -> Result<Vec<(PublicKey, Option<Entry>)>, ApplyError>;

    /// Copies all that goes into a [`backup`] to a new folder, as it is between two changes.
    fn snapshot(&mut self, now: Now, folder: &Path) -> Result<Epoch, StoreError>;

    /// Everything applied from here on, by whomever, in order. Dropping it ends it. `wake` is
    /// called when there may be something that was not applied through this value.
    fn watch(&mut self, wake: Wake) -> Watch;

    /// The window of this name and secret, to resume it: an open one if there is one, otherwise
    /// the one opened last, which may have ended and then lets nobody else in. The secret is
    /// compared with every window's of the name, in constant time.
    fn find_window(
        &self,
        now: Now,
        name: &Name,
        secret: &Secret,
    ) -> Result<Option<Window>, StoreError> {
        let mut found: Option<Window> = None;
        for window in self.windows(now)? {
            if window.name != *name {
                continue;
            }
            let same = self
                .window_secret(window.id)?
                .is_some_and(|other| seal::same(&other, secret));
            let rank = |window: &Window| (window.ended.is_none(), window.opened.wall_ms);
            if same
                && found
                    .as_ref()
                    .is_none_or(|best| rank(best) <= rank(&window))
            {
                found = Some(window);
            }
        }
        Ok(found)
    }
}

/// Whether two secrets are the same, as windows are found by them: for the benchmark of its time.
#[doc(hidden)]
pub fn same_secret(a: &Secret, b: &Secret) -> bool {
    seal::same(a, b)
}

/// Counts the changes of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// A change that has become durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The store's epoch after it; each change has one of its own.
    pub epoch: Epoch,
    /// Who made it.
    pub by: Actor,
    /// What was changed.
    pub change: Change,
}

/// Wakes whoever watches.
pub type Wake = Box<dyn Fn() + Send>;

/// Tells what is applied to a store.
#[derive(Debug)]
pub struct Watch(mpsc::Receiver<Told>);

impl Watch {
    /// What comes out of the other end; when that is dropped the watch is lost.
    pub fn new(told: mpsc::Receiver<Told>) -> Self {
        Self(told)
    }

    /// The next change, if there is one by now; never waits.
    pub fn next(&self) -> Result<Option<Told>, WatchLost> {
        match self.0.try_recv() {
            Ok(told) => Ok(Some(told)),
            Err(mpsc::TryRecvError::Empty) => Ok(None),
            Err(mpsc::TryRecvError::Disconnected) => Err(WatchLost),
        }
    }
}

/// The store cannot say any more what is applied to it: what was read before may be out of date.
/// Another [`watch`](Keystore::watch) may succeed; until then nobody new should be let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the keystore does not tell any more what is changed")]
pub struct WatchLost;

/// Both clocks, read at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Now {
    /// Wall clock, ms since 1970.
    pub wall_ms: u64,
    /// Time since boot, suspend included, ms.
    pub boot_ms: u64,
    /// Which boot that was.
    pub boot: [u8; 16],
}

/// The store does not work.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The disk, or what is on it.
    #[error("the keystore cannot be used: {0}")]
    Io(#[from] io::Error),
    /// What is on the disk is not what was written.
    #[error("the keystore is damaged: {0}")]
    Damaged(String),
    /// Another version of the program wrote it.
    #[error(
        "the keystore has format {found}, but this program knows format {known}: use the program that wrote it"
    )]
    Format {
        /// The number in the store.
        found: u32,
        /// The number this program writes.
        known: u32,
    },
    /// What an earlier version wrote does not fit this one.
    #[error("the keystore cannot be brought to this program's format: {0}; nothing was touched")]
    Upgrade(String),
    /// An earlier call failed, so what the store holds is not known until it is opened again.
    #[error("the keystore is shut since it failed ({0}): start the host again")]
    Shut(String),
}

/// Why nothing was changed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The store does not work.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such key.
    #[error("no such key")]
    NoSuchKey,
    /// There is no such window.
    #[error("no such window")]
    NoSuchWindow,
    /// The window is spent, expired, closed or shut, or this key was removed while it was open.
    #[error("the window is not open")]
    WindowShut,
    /// Another open window of the name has this secret.
    #[error("another window of this name has the same secret")]
    SecretTaken,
    /// As many windows of the name are open as may be.
    #[error(
        "{} windows of this name are open: close one of them first",
        Window::MAX_OPEN
    )]
    TooMany,
    /// A window opened now would be shut.
    #[error(
        "the clock is {} s behind a time this keystore has already seen, so no window can be open: set the clock",
        .behind_ms.div_ceil(1000)
    )]
    ClockSetBack {
        /// How far behind, ms.
        behind_ms: u64,
    },
    /// The key stands in a way that this change does not fit.
    #[error("the key is {}", .0.describe())]
    Standing(Standing),
    /// The key is not accepted for that name, so it cannot be taken away.
    #[error("the key is not accepted for that name by itself")]
    NotScoped,
    /// The key has as many names as it may.
    #[error(
        "a key is accepted for at most {} names; use * for all",
        Entry::MAX_SCOPES
    )]
    TooManyScopes,
    /// What an admin has said of this key keeps it out of every window.
    #[error("no window lets this key in: it is {}", .0.describe())]
    NotWelcome(Denied),
    /// The comment cannot be shown or kept.
    #[error(
        "a comment has at most {} bytes and no control characters",
        Entry::MAX_COMMENT
    )]
    Comment,
    /// The label cannot be shown or kept.
    #[error(
        "a label has at most {} bytes and no control characters",
        Entry::MAX_LABEL
    )]
    Label,
}
