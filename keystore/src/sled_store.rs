use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use identity::{Name, PublicKey, Secret};

use crate::audit::{self, Event, Happened, Head, Trail};
use crate::directory::{self, sync_directory};
use crate::folder;
use crate::log::{self, Found, Log, RawRow};
use crate::rows::{self, Assembly, Sealed, Summary, Writes, damaged};
use crate::state::{self, Row, State, Watchers};
use crate::{
    Actor, ApplyError, Change, Denied, Directory, Entry, Epoch, Group, Keystore, Note, Now,
    OpenError, Seen, StoreError, Wake, Watch, Window, WindowId, backup, format1, rules, seal,
};

/// The durable keystore, on sled.
#[derive(Debug)]
pub struct Sled {
    state: State,
    watchers: Watchers,
    disk: Disk,
}

impl Sled {
    /// Opens what the state directory holds, or begins.
    ///
    /// sled overwrites what it cannot read, so a copy is opened first. If that does not hold what
    /// was acknowledged, this fails and the store is as it was.
    pub fn open(directory: &Directory, now: Now) -> Result<Self, StoreError> {
        let open = || {
            let (disk, state) = Disk::open(directory, now)?;
            let watchers = Watchers::default();
            let mut store = Self {
                state,
                watchers,
                disk,
            };
            store.settle(now)?;
            Ok(store)
        };
        let place = directory.path().display();
        open().map_err(|error| match error {
            StoreError::Io(error) => at(place, &error),
            StoreError::Damaged(what) => StoreError::Damaged(format!("{place}: {what}")),
            other => other,
        })
    }

    /// What an earlier version had written has been brought to this one's format; this is the copy
    /// of it that was kept.
    pub fn upgraded(&self) -> Option<&Path> {
        self.disk.kept.as_deref()
    }

    /// Makes it look as if another version had written it.
    #[cfg(test)]
    pub(crate) fn set_format(&mut self, format: u32) {
        self.disk.log.set_format(format);
    }

    /// Its audit log.
    #[cfg(test)]
    pub(crate) fn trail(&mut self) -> &mut Trail {
        &mut self.disk.trail
    }

    /// Makes the next write fail when sled has done its part.
    #[cfg(test)]
    pub(crate) fn break_sync(&mut self, not_a_file: File) {
        self.disk.log.break_sync(not_a_file);
    }
}

impl Keystore for Sled {
    fn lookup(
        &self,
        now: Now,
        name: &Name,
        key: &PublicKey,
    ) -> Result<Result<Entry, Denied>, StoreError> {
        self.disk.usable()?;
        Ok(self.state.lookup(now, name, key))
    }

    fn entry(&self, key: &PublicKey) -> Result<Option<Entry>, StoreError> {
        self.disk.usable()?;
        Ok(self.state.entry(key))
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        self.disk.usable()?;
        Ok(self.state.entries())
    }

    fn windows(&self, now: Now) -> Result<Vec<Window>, StoreError> {
        self.disk.usable()?;
        Ok(self.state.windows(now))
    }

    fn window_secret(&self, id: WindowId) -> Result<Option<Secret>, StoreError> {
        self.disk.usable()?;
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
        self.disk.usable()?;
        let Self {
            state,
            watchers,
            disk,
        } = self;
        let asked_for = groups.is_empty();
        let results = state::run(state, watchers, now, groups, |state, staged| {
            let seen = if asked_for {
                state.unwritten()
            } else {
                Vec::new()
            };
            let clock = disk.is_clock_due(state, asked_for);
            let rows = staged.rows();
            if asked_for {
                disk.trail.sync()?;
            }
            let untidy = asked_for && disk.trail.is_untidy();
            if rows.is_empty() && seen.is_empty() && !clock && !untidy {
                return Ok(());
            }
            // A row that was set just now holds what was seen, too.
            let rows: Vec<Row> = seen.into_iter().chain(rows.iter().cloned()).collect();
            disk.keep(state, &rows, staged.happened(now))
        })?;
        if asked_for {
            state.written();
        }
        Ok(results)
    }

    fn settle(&mut self, now: Now) -> Result<Epoch, StoreError> {
        self.apply_each(now, &[])?;
        Ok(Epoch(self.state.epoch))
    }

    fn note(&mut self, now: Now, note: Note) -> Result<(), StoreError> {
        self.disk.usable()?;
        if let Note::Admitted { key, from, .. } = note {
            let at_ms = now.wall_ms;
            self.state.see(&key, Seen { at_ms, from });
        }
        self.disk.trail.note(Happened {
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
        self.disk.usable()?;
        self.state.rehearse(now, by, changes)
    }

    fn audit_head(&self) -> Option<Head> {
        Some(self.disk.trail.head())
    }

    fn snapshot(&mut self, now: Now, folder: &Path) -> Result<Epoch, StoreError> {
        let epoch = self.settle(now)?;
        // sled writes nothing by itself, so its files stay as they are.
        backup::copy(self.disk.directory.path(), folder)?;
        Ok(epoch)
    }

    // All that is applied goes through this value.
    fn watch(&mut self, _: Wake) -> Watch {
        self.watchers.watch()
    }
}

/// The rows on the disk.
#[derive(Debug)]
struct Disk {
    log: Log,
    /// Where its files are.
    store: PathBuf,
    summary: Summary,
    trail: Trail,
    /// The summary that was acknowledged last; written after it is durable and not waited for.
    acknowledged: File,
    window_keys: PathBuf,
    /// The key files of the kept windows.
    openings: BTreeMap<WindowId, String>,
    /// The copy of what was there before an upgrade.
    kept: Option<PathBuf>,
    /// Why it is shut.
    failed: Option<String>,
    /// Held as long as the files are.
    directory: Directory,
}

impl Disk {
    fn open(directory: &Directory, now: Now) -> Result<(Self, State), StoreError> {
        let store = folder::place_of(directory)?;
        let window_keys = directory.subdirectory("windowkeys").map_err(refused)?;
        let trail = directory.subdirectory(audit::FOLDER).map_err(refused)?;
        let acknowledged_path = directory.path().join("acknowledged");
        let acknowledged = read_acknowledged(&acknowledged_path)?;

        let mut kept = None;
        if File::open(store.join("db")).is_ok() && !folder::take_closed(directory.path(), &store)? {
            // What recovery reads and builds on must not be lost after it.
            log::sync(&store)?;
            let rehearsal = directory.path().join("rehearsal");
            folder::remove_all(&rehearsal)?;
            let rehearsed = log::copy(&store, &rehearsal)
                .map_err(|error| {
                    at(
                        "cannot make its copy, which takes as much room again",
                        &error,
                    )
                })
                .and_then(|()| open_log(&rehearsal, acknowledged))
                .and_then(|opened| {
                    Trail::rehearse(&trail, &opened.assembly.outbox)?;
                    match opened.found.format {
                        format1::FORMAT => format1::upgrade(&opened.old).map(|_| true),
                        _ => Ok(false),
                    }
                });
            folder::remove_all(&rehearsal)?;
            if rehearsed? {
                kept = Some(folder::keep_copy(&store, directory.path())?);
            }
        }
        let Opened {
            mut log,
            found: Found { format, summary },
            mut assembly,
            old,
        } = open_log(&store, acknowledged)?;
        let trail = Trail::open(trail, &assembly.outbox, now.wall_ms)?;
        let mut found = summary.unwrap_or_default();
        if summary.is_none() {
            folder::begin(&mut log, &mut found)?;
        }
        if format == format1::FORMAT {
            // With these rows goes the number of the format.
            let writes = format1::upgrade(&old)?;
            log.reserve(writes.len())?;
            let mut rows: Writes = old
                .into_iter()
                .map(|(key, value)| (key, Some(value)))
                .collect();
            rows.extend(writes.clone());
            for (key, value) in &rows {
                if let Some(value) = value {
                    assembly.add(key, value)?;
                }
            }
            log.write(&mut found, writes)?;
        }
        let Assembly {
            mut state,
            secrets: sealed,
            ..
        } = assembly;
        state.epoch = found.epoch;
        state.highest_wall_ms = found.highest_wall_ms;
        let openings = unseal(&mut state, sealed, &window_keys)?;

        // sled leaves these to chance: the names of its files, and one small file.
        File::open(store.join("conf"))?.sync_all()?;
        sync_directory(&store.join("blobs"))?;
        sync_directory(&store)?;
        let mut disk = Self {
            log,
            store,
            summary: found,
            trail,
            acknowledged: open_acknowledged(&acknowledged_path, &found)?,
            window_keys,
            openings,
            kept,
            failed: None,
            directory: directory.clone(),
        };
        disk.forget_key_files()?;

        // A window without its secret is of no use to anybody.
        let lost: Vec<_> = state
            .all_windows()
            .filter(|window| state.secret(window.id).is_none())
            .flat_map(|window| rules::forget(&state, window))
            .collect();
        if !lost.is_empty() {
            for row in &lost {
                state.set(row.clone());
            }
            disk.keep(&state, &lost, [])?;
        }
        Ok((disk, state))
    }

    fn usable(&self) -> Result<(), StoreError> {
        match &self.failed {
            Some(why) => Err(StoreError::Shut(why.clone())),
            None => Ok(()),
        }
    }

    /// Whether the clock is worth a write of its own. It shuts nothing but windows, and with many
    /// calls a second not each of them needs one.
    fn is_clock_due(&self, state: &State, asked_for: bool) -> bool {
        let ahead_ms = state
            .highest_wall_ms
            .saturating_sub(self.summary.highest_wall_ms);
        ahead_ms > if asked_for { 0 } else { CLOCK_MS }
            && state.all_windows().any(|window| window.ended.is_none())
    }

    /// Makes rows durable, and the records of what has made them, all of them or none.
    fn keep(
        &mut self,
        state: &State,
        rows: &[Row],
        happened: impl IntoIterator<Item = Happened>,
    ) -> Result<(), StoreError> {
        // Until the log is asked to write, nothing has happened, and the store stays usable.
        let mut openings = self.openings.clone();
        let mut staged = self.trail.stage(happened)?;
        let mut writes = self.encode(state, rows, &mut openings)?;
        writes.append(&mut staged.rows);
        self.log.reserve(writes.len())?;

        let State {
            epoch,
            highest_wall_ms,
            ..
        } = *state;
        let mut summary = Summary {
            epoch,
            highest_wall_ms,
            ..self.summary
        };
        if let Err(error) = self.log.write(&mut summary, writes) {
            self.failed = Some(error.to_string());
            return Err(error);
        }
        self.summary = summary;
        self.trail.committed(staged);
        // What follows cannot undo what is durable, so it cannot fail either: key files without a
        // window go at the next opening at the latest, and the note may lag behind.
        if openings != self.openings {
            self.openings = openings;
            let _ = self.forget_key_files();
        }
        let _ = write_acknowledged(&self.acknowledged, &summary);
        Ok(())
    }

    /// The rows as bytes. A secret's key file is made, and durable, before its row.
    fn encode(
        &self,
        state: &State,
        rows: &[Row],
        openings: &mut BTreeMap<WindowId, String>,
    ) -> Result<Writes, StoreError> {
        let mut writes = Writes::new();
        let mut secrets = BTreeMap::new();
        for row in rows {
            if let Row::Secret(id, secret) = row {
                secrets.insert(*id, secret.as_ref());
            } else {
                writes.extend(rows::encode(row)?);
            }
        }
        for (id, secret) in secrets {
            openings.remove(&id);
            let mut sealed = None;
            if let (Some(secret), Some(window)) = (secret, state.window(id)) {
                let opening = format!("{id}-{}", state.epoch);
                let path = self.window_keys.join(&opening);
                let key = directory::make_key_file(&path).map_err(refused)?;
                openings.insert(id, opening.clone());
                let bytes = seal::seal(&key, &seal::belongs_to(&window.name, &opening), secret)
                    .ok_or_else(|| io::Error::other("a window's secret cannot be sealed"))?;
                sealed = Some(Sealed {
                    opening,
                    sealed: bytes,
                });
            }
            writes.extend([rows::encode_sealed(id, sealed.as_ref())?]);
        }
        Ok(writes)
    }

    /// Removes the key files that belong to no window any more.
    fn forget_key_files(&self) -> io::Result<()> {
        let kept: BTreeSet<_> = self.openings.values().map(String::as_str).collect();
        let mut forgotten = false;
        for file in fs::read_dir(&self.window_keys)? {
            let file = file?;
            if file
                .file_name()
                .to_str()
                .is_none_or(|name| !kept.contains(name))
            {
                fs::remove_file(file.path())?;
                forgotten = true;
            }
        }
        if forgotten {
            sync_directory(&self.window_keys)
        } else {
            Ok(())
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if !self.log.close() || self.failed.is_some() {
            return;
        }
        let (directory, store) = (self.directory.clone(), self.store.clone());
        // The directory is held until that is done.
        log::within_limit(move || {
            // Without it the next opening takes longer, and that is all.
            let _ = folder::note_closed(directory.path(), &store);
        });
    }
}

/// How far the clock on the disk may lag behind what was seen while a window is open.
const CLOCK_MS: u64 = 1000;

/// What an opened log holds.
struct Opened {
    log: Log,
    found: Found,
    /// What its rows make.
    assembly: Assembly,
    /// Its rows instead, if they are of format 1.
    old: Vec<RawRow>,
}

/// Opens a log if it holds at least what was acknowledged.
fn open_log(folder: &Path, acknowledged: Option<Summary>) -> Result<Opened, StoreError> {
    let (mut assembly, mut old) = (Assembly::default(), Vec::new());
    let (log, contents) = Log::open(folder, |format, key, value| match format {
        format1::FORMAT => {
            old.push((key.to_vec(), value.to_vec()));
            Ok(())
        }
        _ => assembly.add(key, value),
    })?;
    let found = contents.summary.unwrap_or_default();
    match acknowledged {
        Some(least) if found.commit < least.commit => Err(StoreError::Damaged(format!(
            "it holds {} changes, but {} have been acknowledged; nothing was touched: restore it \
             from a backup, or remove the file 'acknowledged' in it to go on without",
            found.epoch, least.epoch,
        ))),
        Some(same) if found.commit == same.commit && found != same => {
            Err(damaged("it does not hold what has been acknowledged"))
        }
        _ => Ok(Opened {
            log,
            found: contents,
            assembly,
            old,
        }),
    }
}

/// Gives windows their secrets, and says which key files they need.
fn unseal(
    state: &mut State,
    sealed: BTreeMap<WindowId, Sealed>,
    window_keys: &Path,
) -> Result<BTreeMap<WindowId, String>, StoreError> {
    let mut openings = BTreeMap::new();
    for (id, Sealed { opening, sealed }) in sealed {
        let Some(name) = state.window(id).map(|window| window.name.clone()) else {
            return Err(damaged("a secret belongs to a window that is missing"));
        };
        let key = directory::read_key_file(&window_keys.join(&opening)).map_err(refused)?;
        let belongs = seal::belongs_to(&name, &opening);
        if let Some(secret) = key.and_then(|key| seal::open(&key, &belongs, &sealed)) {
            state.set(Row::Secret(id, Some(secret)));
            openings.insert(id, opening);
        }
    }
    Ok(openings)
}

/// `None`: there is none, or not a whole one; it is never waited for, so it says nothing then.
fn read_acknowledged(path: &Path) -> Result<Option<Summary>, StoreError> {
    let text = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let Some((check, rest)) = text.split_first_chunk::<CHECK_LEN>() else {
        return Ok(None);
    };
    let Ok((summary, rest_of_rest)) = postcard::take_from_bytes::<Summary>(rest) else {
        return Ok(None);
    };
    let len = rest.len() - rest_of_rest.len();
    let whole = rest
        .get(..len)
        .is_some_and(|bytes| checked(bytes) == *check);
    Ok(whole.then_some(summary))
}

fn open_acknowledged(path: &Path, summary: &Summary) -> Result<File, StoreError> {
    if !path.exists() {
        directory::write_private(path, b"").map_err(refused)?;
    }
    let file = OpenOptions::new().write(true).open(path)?;
    write_acknowledged(&file, summary)?;
    Ok(file)
}

/// One write to one page of the file: it is there or not.
fn write_acknowledged(file: &File, summary: &Summary) -> Result<(), StoreError> {
    let bytes = rows::encoded(Some(summary))?.unwrap_or_default();
    let all = [checked(&bytes).as_slice(), &bytes].concat();
    file.write_all_at(&all, 0)?;
    Ok(())
}

fn checked(bytes: &[u8]) -> [u8; CHECK_LEN] {
    let mut check = [0; CHECK_LEN];
    let hash = blake3::derive_key("moonport 2026 keystore acknowledged", bytes);
    check.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    check
}

const CHECK_LEN: usize = 16;

/// An error of the system, and what it is about.
pub(crate) fn at(what: impl Display, error: &io::Error) -> StoreError {
    StoreError::Io(io::Error::new(error.kind(), format!("{what}: {error}")))
}

pub(crate) fn refused(error: OpenError) -> StoreError {
    let kind = match &error {
        OpenError::Io { source, .. } => source.kind(),
        _ => io::ErrorKind::PermissionDenied,
    };
    StoreError::Io(io::Error::new(kind, error))
}
