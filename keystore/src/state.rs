//! The state as rows, so that a change is a short list of rows and what they become, whichever
//! backend keeps them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;

use identity::{Name, PublicKey, Secret};
use serde::{Deserialize, Serialize};

use crate::{
    Actor, Added, ApplyError, Change, Denied, Entry, Epoch, Group, Now, Scope, Seen, Standing,
    StoreError, Told, Watch, Window, WindowEnd, WindowId, entry, rules,
};

/// One row, and what it becomes. Every row is small, whatever is done to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Row {
    Key(PublicKey, Option<KeyRow>),
    /// The window without the keys it has let in.
    Window(WindowId, Option<Window>),
    Secret(WindowId, Option<Secret>),
    /// The window has let this key in.
    Enrolled(WindowId, PublicKey, bool),
    /// The window does not let this key in: it was removed while the window was open.
    Barred(WindowId, PublicKey, bool),
}

/// What is known of a key; see [`Entry`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyRow {
    pub(crate) standing: Standing,
    pub(crate) scopes: BTreeSet<Scope>,
    pub(crate) label: Option<String>,
    pub(crate) comment: Option<String>,
    pub(crate) added: Added,
    pub(crate) expires_ms: Option<u64>,
    pub(crate) seen: Option<Seen>,
}

impl KeyRow {
    /// A key that has just come in, accepted nowhere yet.
    pub(crate) fn new(added: Added) -> Self {
        Self {
            standing: Standing::Accepted,
            scopes: BTreeSet::new(),
            label: None,
            comment: None,
            added,
            expires_ms: None,
            seen: None,
        }
    }
}

/// Everything a store knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    keys: BTreeMap<[u8; 32], (PublicKey, KeyRow)>,
    windows: BTreeMap<WindowId, Window>,
    secrets: BTreeMap<WindowId, Secret>,
    barred: BTreeMap<WindowId, BTreeSet<[u8; 32]>>,
    /// Keys that have been seen since their row was written.
    unwritten: BTreeSet<[u8; 32]>,
    pub(crate) epoch: u64,
    pub(crate) highest_wall_ms: u64,
}

/// Changes that have been made to a [`State`] and can still be taken back.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    rows: Vec<Row>,
    undo: Vec<Row>,
    epoch_before: u64,
    told: Vec<Told>,
    results: Vec<Result<Epoch, ApplyError>>,
}

impl State {
    pub(crate) fn lookup(&self, now: Now, name: &Name, key: &PublicKey) -> Result<Entry, Denied> {
        self.allows(now, name, key)?;
        self.entry(key).ok_or(Denied::Unknown)
    }

    /// Whether a key is accepted for a name.
    pub(crate) fn allows(&self, now: Now, name: &Name, key: &PublicKey) -> Result<(), Denied> {
        let row = self.key(key).ok_or(Denied::Unknown)?;
        entry::may_enter(
            row.standing,
            row.expires_ms,
            row.scopes.iter().map(|scope| scope.covers(name)),
            now.wall_ms.max(self.highest_wall_ms),
        )
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        let entry = |(key, row): &(PublicKey, KeyRow)| to_entry(*key, row.clone());
        self.keys.values().map(entry).collect()
    }

    pub(crate) fn entry(&self, key: &PublicKey) -> Option<Entry> {
        Some(to_entry(*key, self.key(key)?.clone()))
    }

    /// Notes when a key was here.
    pub(crate) fn see(&mut self, key: &PublicKey, seen: Seen) {
        if let Some((_, row)) = self.keys.get_mut(key.as_bytes()) {
            row.seen = Some(seen);
            self.unwritten.insert(*key.as_bytes());
        }
    }

    /// The rows that say so.
    pub(crate) fn unwritten(&self) -> Vec<Row> {
        let row = |bytes| {
            let (key, row) = self.keys.get(bytes)?;
            Some(Row::Key(*key, Some(row.clone())))
        };
        self.unwritten.iter().filter_map(row).collect()
    }

    /// They have been written.
    pub(crate) fn written(&mut self) {
        self.unwritten.clear();
    }

    /// The windows that are kept at this time, with what time has done to them.
    pub(crate) fn windows(&self, now: Now) -> Vec<Window> {
        let mut windows: Vec<_> = self.windows.values().cloned().collect();
        for window in &mut windows {
            if window.ended.is_none() && window.is_over(now, self.highest_wall_ms) {
                window.ended = Some((WindowEnd::Expired, window.deadline()));
            }
        }
        windows.retain(|window| !window.is_forgotten(now, self.highest_wall_ms));
        windows
    }

    pub(crate) fn key(&self, key: &PublicKey) -> Option<&KeyRow> {
        self.keys.get(key.as_bytes()).map(|(_, row)| row)
    }

    pub(crate) fn all_windows(&self) -> impl Iterator<Item = &Window> {
        self.windows.values()
    }

    pub(crate) fn window(&self, id: WindowId) -> Option<&Window> {
        self.windows.get(&id)
    }

    pub(crate) fn secret(&self, id: WindowId) -> Option<&Secret> {
        self.secrets.get(&id)
    }

    pub(crate) fn barred(&self, id: WindowId) -> impl Iterator<Item = &[u8; 32]> {
        self.barred.get(&id).into_iter().flatten()
    }

    pub(crate) fn is_barred(&self, id: WindowId, key: &PublicKey) -> bool {
        self.barred
            .get(&id)
            .is_some_and(|keys| keys.contains(key.as_bytes()))
    }

    /// Sets a row and returns what it was.
    pub(crate) fn set(&mut self, row: Row) -> Row {
        match row {
            Row::Key(key, new) => {
                let bytes = *key.as_bytes();
                let old = match new {
                    Some(new) => self.keys.insert(bytes, (key, new)),
                    None => self.keys.remove(&bytes),
                };
                Row::Key(key, old.map(|(_, row)| row))
            }
            Row::Window(id, new) => {
                let mut old = self.windows.remove(&id);
                // The keys it has let in are rows of their own, and stay.
                let enrolled = old.as_mut().map(|old| std::mem::take(&mut old.enrolled));
                if let Some(mut new) = new {
                    new.enrolled = enrolled.unwrap_or_default();
                    self.windows.insert(id, new);
                }
                Row::Window(id, old)
            }
            Row::Secret(id, new) => {
                let old = match new {
                    Some(new) => self.secrets.insert(id, new),
                    None => self.secrets.remove(&id),
                };
                Row::Secret(id, old)
            }
            Row::Enrolled(id, key, new) => {
                let old = self.windows.get_mut(&id).is_some_and(|window| {
                    if new {
                        !window.enrolled.insert(*key.as_bytes())
                    } else {
                        window.enrolled.remove(key.as_bytes())
                    }
                });
                Row::Enrolled(id, key, old)
            }
            Row::Barred(id, key, new) => {
                let old = set_member(&mut self.barred, id, *key.as_bytes(), new);
                Row::Barred(id, key, old)
            }
        }
    }

    /// What time has done, then each group of changes, all of it or none.
    pub(crate) fn stage(&mut self, now: Now, groups: &[Group<'_>]) -> Staged {
        self.highest_wall_ms = self.highest_wall_ms.max(now.wall_ms);
        let mut staged = Staged {
            epoch_before: self.epoch,
            ..Staged::default()
        };
        for (rows, change) in rules::settle(self, now) {
            self.set_all(rows, &mut staged);
            if let Some(change) = change {
                self.epoch += 1;
                staged.told.push(Told {
                    epoch: Epoch(self.epoch),
                    by: Actor::Host,
                    change,
                });
            }
        }
        for group in groups {
            let result = self.stage_group(now, *group, &mut staged);
            staged.results.push(result);
        }
        staged
    }

    fn stage_group(
        &mut self,
        now: Now,
        Group { by, changes }: Group<'_>,
        staged: &mut Staged,
    ) -> Result<Epoch, ApplyError> {
        let (rows, told, epoch) = (staged.rows.len(), staged.told.len(), self.epoch);
        for change in changes {
            match rules::decide(self, now, by, change) {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => {
                    self.set_all(rows, staged);
                    self.epoch += 1;
                    staged.told.push(Told {
                        epoch: Epoch(self.epoch),
                        by: by.clone(),
                        change: change.clone(),
                    });
                }
                Err(error) => {
                    staged.rows.truncate(rows);
                    staged.told.truncate(told);
                    self.unset(staged.undo.split_off(rows));
                    self.epoch = epoch;
                    return Err(error);
                }
            }
        }
        Ok(Epoch(self.epoch))
    }

    /// What changes would come to.
    pub(crate) fn rehearse(
        &mut self,
        now: Now,
        by: &Actor,
        changes: &[Change],
    ) -> Result<Vec<(PublicKey, Option<Entry>)>, ApplyError> {
        let mut staged = self.stage(now, &[Group { by, changes }]);
        let keys: BTreeMap<_, _> = changes
            .iter()
            .filter_map(|change| Some((*change.key()?.as_bytes(), *change.key()?)))
            .collect();
        let then = keys.into_values().map(|key| (key, self.entry(&key)));
        let then = then.collect();
        let result = staged.results.pop();
        self.take_back(staged);
        match result {
            Some(Err(error)) => Err(error),
            _ => Ok(then),
        }
    }

    fn set_all(&mut self, rows: Vec<Row>, staged: &mut Staged) {
        for row in rows {
            staged.undo.push(self.set(row.clone()));
            staged.rows.push(row);
        }
    }

    fn unset(&mut self, undo: Vec<Row>) {
        for row in undo.into_iter().rev() {
            self.set(row);
        }
    }

    /// Takes back what was staged.
    pub(crate) fn take_back(&mut self, staged: Staged) {
        self.unset(staged.undo);
        self.epoch = staged.epoch_before;
    }
}

fn set_member<K: Ord, V: Ord>(
    sets: &mut BTreeMap<K, BTreeSet<V>>,
    of: K,
    member: V,
    new: bool,
) -> bool {
    if new {
        return !sets.entry(of).or_default().insert(member);
    }
    let Some(set) = sets.get_mut(&of) else {
        return false;
    };
    let old = set.remove(&member);
    if set.is_empty() {
        sets.remove(&of);
    }
    old
}

fn to_entry(key: PublicKey, row: KeyRow) -> Entry {
    let KeyRow {
        standing,
        scopes,
        label,
        comment,
        added,
        expires_ms,
        seen,
    } = row;
    Entry {
        key,
        standing,
        scopes,
        label,
        comment,
        added,
        expires_ms,
        seen,
    }
}

impl Staged {
    /// In the order in which they were set; a later one for the same row wins.
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }
}

/// Those who are told of every change.
#[derive(Debug, Default)]
pub(crate) struct Watchers(Vec<mpsc::Sender<Told>>);

impl Watchers {
    pub(crate) fn watch(&mut self) -> Watch {
        let (sender, receiver) = mpsc::channel();
        self.0.push(sender);
        Watch::new(receiver)
    }

    /// Tells what has become durable, and gives the results of the groups.
    pub(crate) fn tell(&mut self, staged: Staged) -> Vec<Result<Epoch, ApplyError>> {
        for told in staged.told {
            self.0.retain(|watcher| watcher.send(told.clone()).is_ok());
        }
        staged.results
    }
}

/// The shape every backend's `apply_each` and `settle` have: stage, keep, tell.
pub(crate) fn run(
    state: &mut State,
    watchers: &mut Watchers,
    now: Now,
    groups: &[Group<'_>],
    keep: impl FnOnce(&State, &[Row]) -> Result<(), StoreError>,
) -> Result<Vec<Result<Epoch, ApplyError>>, StoreError> {
    let staged = state.stage(now, groups);
    if let Err(error) = keep(state, staged.rows()) {
        state.take_back(staged);
        return Err(error);
    }
    Ok(watchers.tell(staged))
}
