use std::io;
use std::path::Path;

use identity::{Name, PublicKey, Secret};

use crate::audit::{Event, Happened, Head, Ring};
use crate::state::{self, State, Watchers};
use crate::{
    Actor, ApplyError, Change, Denied, Entry, Epoch, Group, Keystore, Note, Now, Seen, StoreError,
    Wake, Watch, Window, WindowId,
};

/// A keystore that keeps nothing: for demonstrations and tests. Its rules are those of
/// [`Sled`](crate::Sled).
#[derive(Debug, Default)]
pub struct Memory {
    state: State,
    watchers: Watchers,
    audit: Ring,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The last thousand lines of its audit log.
    pub fn audit(&self) -> impl Iterator<Item = &str> {
        self.audit.lines()
    }

    /// One that has this in it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn with(state: State) -> Self {
        Self {
            state,
            ..Self::default()
        }
    }

    /// What is in it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn state(&self) -> &State {
        &self.state
    }
}

impl Keystore for Memory {
    fn lookup(
        &self,
        now: Now,
        name: &Name,
        key: &PublicKey,
    ) -> Result<Result<Entry, Denied>, StoreError> {
        Ok(self.state.lookup(now, name, key))
    }

    fn entry(&self, key: &PublicKey) -> Result<Option<Entry>, StoreError> {
        Ok(self.state.entry(key))
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.state.entries())
    }

    fn windows(&self, now: Now) -> Result<Vec<Window>, StoreError> {
        Ok(self.state.windows(now))
    }

    fn window_secret(&self, id: WindowId) -> Result<Option<Secret>, StoreError> {
        Ok(self.state.secret(id).cloned())
    }

    fn highest_wall_ms(&self) -> u64 {
        self.state.highest_wall_ms
    }

    fn apply_each(
        &mut self,
        now: Now,
        groups: &[Group<'_>],
    ) -> Result<Vec<Result<Epoch, ApplyError>>, StoreError> {
        let Self {
            state,
            watchers,
            audit,
        } = self;
        state::run(state, watchers, now, groups, |_, staged| {
            staged.happened(now).try_for_each(|it| audit.add(it))
        })
    }

    fn settle(&mut self, now: Now) -> Result<Epoch, StoreError> {
        self.apply_each(now, &[])?;
        Ok(Epoch(self.state.epoch))
    }

    fn note(&mut self, now: Now, note: Note) -> Result<(), StoreError> {
        if let Note::Admitted { key, from, .. } = note {
            let at_ms = now.wall_ms;
            self.state.see(&key, Seen { at_ms, from });
        }
        self.audit.add(Happened {
            at_ms: now.wall_ms,
            by: note.by(),
            epoch: None,
            event: Event::of_note(note, &self.state),
        })
    }

    fn rehearse(
        &mut self,
        now: Now,
        by: &Actor,
        changes: &[Change],
    ) -> Result<Vec<(PublicKey, Option<Entry>)>, ApplyError> {
        self.state.rehearse(now, by, changes)
    }

    fn audit_head(&self) -> Option<Head> {
        Some(self.audit.head())
    }

    fn snapshot(&mut self, _: Now, _: &Path) -> Result<Epoch, StoreError> {
        let why = "a keystore in memory has no files";
        Err(io::Error::new(io::ErrorKind::Unsupported, why).into())
    }

    // All that is applied goes through this value.
    fn watch(&mut self, _: Wake) -> Watch {
        self.watchers.watch()
    }
}
