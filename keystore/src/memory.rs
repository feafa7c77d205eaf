use std::sync::mpsc;

use identity::{Name, PublicKey, Secret};

use crate::state::{self, State, Watchers};
use crate::{ApplyError, Change, Entry, Epoch, Keystore, Now, StoreError, Window, WindowId};

/// A keystore that keeps nothing: for demonstrations and tests. Its rules are those of
/// [`Sled`](crate::Sled).
#[derive(Debug, Default)]
pub struct Memory {
    state: State,
    watchers: Watchers,
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Keystore for Memory {
    fn lookup(&self, _: Now, name: &Name, key: &PublicKey) -> Result<Option<Entry>, StoreError> {
        Ok(self.state.lookup(name, key))
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
        groups: &[&[Change]],
    ) -> Result<Vec<Result<Epoch, ApplyError>>, StoreError> {
        state::run(&mut self.state, &mut self.watchers, now, groups, |_, _| {
            Ok(())
        })
    }

    fn settle(&mut self, now: Now) -> Result<Epoch, StoreError> {
        self.apply_each(now, &[])?;
        Ok(Epoch(self.state.epoch))
    }

    fn watch(&mut self) -> mpsc::Receiver<(Epoch, Change)> {
        self.watchers.watch()
    }
}
