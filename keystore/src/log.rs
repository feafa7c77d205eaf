//! The one file that names sled: its log, and what it takes to rely on it.
//!
//! * Its data is in one file, `db`, which is never replaced. sled writes it through one
//!   descriptor and waits with `sync_file_range`, which neither empties the device's cache nor
//!   writes the file's new length; [`Log::write`] therefore ends with `fdatasync` through a
//!   descriptor of ours, which covers the file whoever wrote it.
//! * Values above an eighth of a megabyte go to files in `blobs/` that sled never syncs. Our rows
//!   are so small that a page of sixteen stays far below.
//! * It panics on some damage, so nothing of it is called but through [`contain`].
//! * No thread of its own flushes in the background; with one, concurrent flushes can wait for
//!   each other for ever.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use sled::{Batch, Config, Db};

use crate::StoreError;
use crate::rows::{FORMAT, FORMAT_ROW, SUMMARY_ROW, Summary, Writes, damaged, decoded, encoded};

/// An open log.
#[derive(Debug)]
pub(crate) struct Log {
    /// `None` only while it is dropped.
    db: Option<Db>,
    data: File,
    /// Up to where the file's blocks are allocated, and how long it was then.
    room: (u64, u64),
}

/// What was in it: the summary, unless it is new, and all rows it speaks of.
pub(crate) type Contents = (Option<Summary>, Vec<(Vec<u8>, Vec<u8>)>);

impl Log {
    /// Opens what is in a folder, or begins, and reads all of it.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Contents), StoreError> {
        tidy(folder)?;
        let db = contain(|| {
            Config::new()
                .path(folder)
                .flush_every_ms(None)
                .cache_capacity(CACHE)
                .open()
        })?;
        let mut contents = Vec::new();
        contain(|| {
            for row in db.iter() {
                let (key, value) = row?;
                contents.push((key.to_vec(), value.to_vec()));
            }
            Ok(())
        })?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join("db"))?;
        Ok((
            Self {
                db: Some(db),
                data,
                room: (0, 0),
            },
            check(contents)?,
        ))
    }

    /// Writes rows and the summary that then holds, all or nothing, durable when this returns.
    /// After an error nobody knows what will be found.
    pub(crate) fn write(&self, summary: &mut Summary, writes: Writes) -> Result<(), StoreError> {
        let Some(db) = &self.db else {
            return Err(damaged("it is closed"));
        };
        let mut next = Summary {
            commit: summary.commit + 1,
            ..*summary
        };
        contain(|| {
            let mut batch = Batch::default();
            for (key, value) in writes {
                if let Some(old) = db.get(&key)? {
                    next.toggle(&key, &old);
                }
                match value {
                    Some(value) => {
                        next.toggle(&key, &value);
                        batch.insert(key, value);
                    }
                    None => batch.remove(key),
                }
            }
            let bytes = |error: StoreError| sled::Error::Unsupported(error.to_string());
            if let Some(format) = encoded(Some(&FORMAT)).map_err(bytes)? {
                batch.insert(FORMAT_ROW, format);
            }
            if let Some(summary) = encoded(Some(&next)).map_err(bytes)? {
                batch.insert(SUMMARY_ROW, summary);
            }
            db.apply_batch(batch)?;
            db.flush()
        })?;
        fdatasync(&self.data).map_err(io::Error::from)?;
        *summary = next;
        Ok(())
    }

    /// Makes it look as if another version had written it.
    #[cfg(test)]
    pub(crate) fn set_format(&self, format: u32) {
        let db = self.db.as_ref().unwrap();
        db.insert(FORMAT_ROW, encoded(Some(&format)).unwrap().unwrap())
            .unwrap();
        db.flush().unwrap();
    }

    /// Makes the next write fail when sled has done its part.
    #[cfg(test)]
    pub(crate) fn break_sync(&mut self, not_a_file: File) {
        self.data = not_a_file;
        self.room = (u64::MAX, 0);
    }

    /// Allocates blocks for the next write of so many rows, so that a full disk is met before
    /// anything is written.
    pub(crate) fn reserve(&mut self, rows: usize) -> io::Result<()> {
        let need = ROOM + ROOM_PER_ROW * rows as u64;
        let len = self.data.metadata()?.len();
        let (end, then) = self.room;
        // When sled has cut the file, what lay beyond its end is gone.
        if len >= then && len + need <= end {
            return Ok(());
        }
        match fallocate(&self.data, FallocateFlags::KEEP_SIZE, len, 2 * need) {
            Ok(()) => self.room = (len + 2 * need, len),
            // A file system that cannot: a full disk is then met while writing.
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let db = self.db.take();
        // It writes what is left, which after an error can fail again; all that was acknowledged
        // is on the disk.
        let _ = contain(|| {
            drop(db);
            Ok(())
        });
    }
}

/// Copies a log's files to a new folder.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        let to = to.join(file.file_name());
        if file.file_type()?.is_dir() {
            copy(&file.path(), &to)?;
        } else {
            fs::copy(file.path(), to)?;
        }
    }
    Ok(())
}

/// Removes the snapshots that were still being written when a process was killed: sled would take
/// the newest file of that kind for a good one, and give up. It can do without any.
fn tidy(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        let unfinished = file
            .file_name()
            .to_str()
            .is_some_and(|name| name.ends_with(".generating"));
        if unfinished {
            fs::remove_file(file.path())?;
        }
    }
    Ok(())
}

fn check(contents: Vec<(Vec<u8>, Vec<u8>)>) -> Result<Contents, StoreError> {
    if contents.is_empty() {
        return Ok((None, Vec::new()));
    }
    let (own, rows): (Vec<_>, Vec<_>) = contents
        .into_iter()
        .partition(|(key, _)| key == FORMAT_ROW || key == SUMMARY_ROW);
    let own = |wanted: &[u8]| {
        own.iter()
            .find(|(key, _)| key == wanted)
            .map(|(_, value)| value)
    };
    let found: u32 = own(FORMAT_ROW)
        .and_then(|value| decoded(value))
        .ok_or_else(|| damaged("the row that says its format is missing"))?;
    if found != FORMAT {
        return Err(StoreError::Format {
            found,
            known: FORMAT,
        });
    }
    let summary: Summary = own(SUMMARY_ROW)
        .and_then(|value| decoded(value))
        .ok_or_else(|| damaged("the row that sums it up is missing"))?;
    let mut sum = Summary {
        rows: [0; 32],
        ..summary
    };
    rows.iter().for_each(|(key, value)| sum.toggle(key, value));
    if sum != summary {
        return Err(damaged("some rows are missing, or older than others"));
    }
    Ok((Some(summary), rows))
}

/// Calls sled. A panic of it is an error like any other.
fn contain<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => Err(StoreError::Io(error)),
        Ok(Err(error)) => Err(StoreError::Damaged(error.to_string().trim().to_owned())),
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Err(damaged(
                text.and_then(|text| text.lines().next())
                    .unwrap_or("its log is unreadable"),
            ))
        }
    }
}

/// For sled's cache of pages, bytes; the state is in memory anyway.
const CACHE: u64 = 16 << 20;

/// More than sled writes at once besides the rows: two segments.
const ROOM: u64 = 1 << 20;

/// More than sled writes for a row: its page, when it is split, and the pages above.
const ROOM_PER_ROW: u64 = 16 << 10;
