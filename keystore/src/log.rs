//! The one file that names sled: its log, and what it takes to rely on it.
//!
//! * Its data is in one file, `db`, which is never replaced. sled writes it through one
//!   descriptor and waits with `sync_file_range`, which neither empties the device's cache nor
//!   writes the file's new length; [`Log::write`] therefore ends with `fdatasync` through a
//!   descriptor of ours, which covers the file whoever wrote it.
//! * Values above an eighth of a megabyte go to files in `blobs/` that sled never syncs. Our rows
//!   are so small that a page of sixteen stays far below.
//! * It panics on some damage, so nothing of it is called but through [`contain`].
//! * It forgets to wake whoever waits for a write if that write fails when the last of those who
//!   filled its buffer leaves it (`exit_reservation`); hence the thread, and the limit to waiting.
//! * No thread of its own flushes in the background; with one, concurrent flushes can wait for
//!   each other for ever.

use std::fs::{self, DirBuilder, DirEntry, File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::DirBuilderExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use sled::{Batch, Config, Db};

use crate::directory::sync_directory;
use crate::rows::{FORMAT, FORMAT_ROW, SUMMARY_ROW, Summary, Writes, damaged, decoded, encoded};
use crate::{StoreError, format1};

/// An open log. A thread of its own does what sled does, so that a disk that does not answer, or a
/// lost wake-up of sled's, holds up nobody for ever.
#[derive(Debug)]
pub(crate) struct Log {
    thread: Thread,
    data: Arc<File>,
    /// Up to where the file's blocks are allocated, and how long it was then.
    room: (u64, u64),
    /// What is left in memory differs from what is on the disk, or nobody knows.
    unclean: AtomicBool,
}

/// The thread that sled runs in. Dropped, it is waited for.
#[derive(Debug)]
struct Thread {
    /// `None` once it is closed.
    jobs: Option<mpsc::Sender<Job>>,
    /// Ends when the thread does.
    end: Option<mpsc::Receiver<()>>,
}

/// What the thread does next.
type Job = Box<dyn FnOnce(&Db) + Send>;

/// What was found in it besides the rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Of this program, or of an earlier one that can be upgraded.
    pub(crate) format: u32,
    /// `None`: it is new.
    pub(crate) summary: Option<Summary>,
}

/// A row's key and value.
pub(crate) type RawRow = (Vec<u8>, Vec<u8>);

/// Some rows, in two pieces of memory: a million small ones that one thread gets and another frees
/// would take longer than all the rest.
#[derive(Default)]
struct Rows {
    bytes: Vec<u8>,
    /// The lengths of keys and values.
    lens: Vec<(usize, usize)>,
}

impl Rows {
    fn push(&mut self, key: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.lens.push((key.len(), value.len()));
    }

    fn rows(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.bytes.as_slice();
        self.lens.iter().map_while(move |(key, value)| {
            let (row, after) = rest.split_at_checked(key + value)?;
            rest = after;
            row.split_at_checked(*key)
        })
    }
}

impl Log {
    /// Opens what is in a folder, or begins, and reads all of it: `take` gets the rows that the
    /// summary speaks of, and their format, in the order of their keys. What they say counts only
    /// if this returns well.
    pub(crate) fn open(
        folder: &Path,
        mut take: impl FnMut(u32, &[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(Self, Found), StoreError> {
        tidy(folder)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        // One thread reads and the other decodes.
        let (rows, read) = mpsc::sync_channel(16);
        let (ending, end) = mpsc::channel();
        let place = folder.to_owned();
        thread::Builder::new().name("sled".into()).spawn(move || {
            let _ending = ending;
            let opened = open(&place, |some| rows.send(Ok(some)).is_ok());
            let db = match opened {
                Ok(db) => db,
                Err(error) => {
                    // Whoever waited may have given up.
                    let _ = rows.send(Err(error));
                    return;
                }
            };
            drop(rows);
            queue.into_iter().for_each(|job| job(&db));
            // It writes what is left, which after an error can fail again; all that was
            // acknowledged is on the disk.
            let _ = contain(|| {
                drop(db);
                Ok(())
            });
        })?;
        let thread = Thread {
            jobs: Some(jobs),
            end: Some(end),
        };
        let found = receive(read, &mut take)?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.join("db"))?;
        Ok((
            Self {
                thread,
                data: Arc::new(data),
                room: (0, 0),
                unclean: AtomicBool::new(false),
            },
            found,
        ))
    }

    /// Writes rows and the summary that then holds, all or nothing, durable when this returns.
    /// After an error nobody knows what will be found.
    pub(crate) fn write(&self, summary: &mut Summary, writes: Writes) -> Result<(), StoreError> {
        let data = Arc::clone(&self.data);
        let next = Summary {
            commit: summary.commit + 1,
            ..*summary
        };
        *summary = self.ask(move |db| {
            let next = put(db, next, writes)?;
            data.sync_data()?;
            Ok(next)
        })?;
        Ok(())
    }

    /// Has the thread do something, and waits for it, but not for ever.
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Db) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (done, wait) = mpsc::channel();
        let job: Job = Box::new(move |db| _ = done.send(job(db)));
        let given = self
            .thread
            .jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok());
        if !given {
            return Err(damaged("it is closed"));
        }
        let limit = limit();
        let result = wait
            .recv_timeout(limit)
            .unwrap_or_else(|_| Err(silent(limit)));
        if result.is_err() {
            self.unclean.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Ends its thread. Gives whether all that it held is on the disk.
    pub(crate) fn close(&mut self) -> bool {
        self.thread.close() && !self.unclean.load(Ordering::Relaxed)
    }

    /// Makes it look as if another version had written it.
    #[cfg(test)]
    pub(crate) fn set_format(&self, format: u32) {
        self.ask(move |db| {
            db.insert(FORMAT_ROW, encoded(Some(&format)).unwrap().unwrap())
                .unwrap();
            db.flush().unwrap();
            Err::<(), _>(damaged("by another version"))
        })
        .unwrap_err();
    }

    /// Makes the next write fail when sled has done its part.
    #[cfg(test)]
    pub(crate) fn break_sync(&mut self, not_a_file: File) {
        self.data = Arc::new(not_a_file);
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

impl Thread {
    /// Gives whether it has ended by now.
    fn close(&mut self) -> bool {
        drop(self.jobs.take());
        self.end.take().is_some_and(|end| {
            end.recv_timeout(limit()) == Err(mpsc::RecvTimeoutError::Disconnected)
        })
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes all rows, and says what else was found.
fn receive(
    read: mpsc::Receiver<Result<Rows, StoreError>>,
    take: &mut impl FnMut(u32, &[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<Found, StoreError> {
    let mut check = Check::default();
    loop {
        let some = match read.recv_timeout(OPENING) {
            Ok(some) => some?,
            Err(mpsc::RecvTimeoutError::Timeout) => return Err(silent(OPENING)),
            Err(mpsc::RecvTimeoutError::Disconnected) => return check.end(),
        };
        for (key, value) in some.rows() {
            if let Some(format) = check.see(key, value)? {
                take(format, key, value)?;
            }
        }
    }
}

/// Does something that waits for the disk, and waits for that, but not for ever.
pub(crate) fn within_limit(job: impl FnOnce() + Send + 'static) {
    let (ending, end) = mpsc::channel::<()>();
    let started = thread::Builder::new().spawn(move || {
        let _ending = ending;
        job();
    });
    if started.is_ok() {
        let _ = end.recv_timeout(limit());
    }
}

/// Opens sled's files and reads all rows, some at a time, until nobody wants any more.
fn open(folder: &Path, give: impl Fn(Rows) -> bool) -> Result<Db, StoreError> {
    let config = Config::new()
        .path(folder)
        .flush_every_ms(None)
        .cache_capacity(CACHE);
    let mut patience = 200;
    contain(|| {
        let db = loop {
            match config.open() {
                // Nobody works here but us; a child of ours may still hold it until it execs.
                Err(sled::Error::Io(error)) if is_locked(&error) && patience > 0 => {
                    patience -= 1;
                    thread::sleep(Duration::from_millis(10));
                }
                opened => break opened?,
            }
        };
        let mut some = Rows::default();
        for row in db.iter() {
            let (key, value) = row?;
            some.push(&key, &value);
            if some.lens.len() == AT_ONCE && !give(mem::take(&mut some)) {
                break;
            }
        }
        give(some);
        Ok(db)
    })
}

fn is_locked(error: &io::Error) -> bool {
    error.to_string().starts_with("could not acquire lock")
}

/// Writes rows, and the summary as it then is.
fn put(db: &Db, mut next: Summary, writes: Writes) -> Result<Summary, StoreError> {
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
        db.flush()?;
        Ok(next)
    })
}

/// The hash of all files of a folder, by their names.
pub(crate) fn hash(folder: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
    let files = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    let mut names: Vec<_> = files.iter().map(DirEntry::file_name).collect();
    names.sort();
    for name in names {
        let path = folder.join(&name);
        if path.is_dir() {
            hash(&path, hasher)?;
            continue;
        }
        let file = File::open(&path)?;
        let lens = [name.len() as u64, file.metadata()?.len()];
        lens.iter()
            .for_each(|len| _ = hasher.update(&len.to_le_bytes()));
        hasher.update(name.as_encoded_bytes());
        hasher.update_reader(file)?;
    }
    Ok(())
}

/// Copies a log's files to a new folder.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
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

/// Waits until all files of a folder are on the disk, and their names.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        if file.file_type()?.is_dir() {
            sync(&file.path())?;
        } else {
            File::open(file.path())?.sync_all()?;
        }
    }
    sync_directory(folder)
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

/// Looks at all rows, in the order of their keys, whether they are those that were written.
#[derive(Default)]
struct Check {
    format: Option<u32>,
    summary: Option<Summary>,
    /// What the summary should say.
    sum: Summary,
}

impl Check {
    /// The row's format, if it is one that the summary speaks of.
    fn see(&mut self, key: &[u8], value: &[u8]) -> Result<Option<u32>, StoreError> {
        if key == FORMAT_ROW {
            let format = decoded(value).ok_or_else(no_format)?;
            if !matches!(format, format1::FORMAT | FORMAT) {
                return Err(StoreError::Format {
                    found: format,
                    known: FORMAT,
                });
            }
            self.format = Some(format);
            return Ok(None);
        }
        if key == SUMMARY_ROW {
            self.summary = decoded(value);
            return Ok(None);
        }
        // The row of the format is the first of all.
        let format = self.format.ok_or_else(no_format)?;
        self.sum.toggle(key, value);
        Ok(Some(format))
    }

    fn end(self) -> Result<Found, StoreError> {
        let Some(format) = self.format else {
            return match self.summary {
                None => Ok(Found {
                    format: FORMAT,
                    summary: None,
                }),
                Some(_) => Err(no_format()),
            };
        };
        let summary = self
            .summary
            .ok_or_else(|| damaged("the row that sums it up is missing"))?;
        if summary.rows != self.sum.rows {
            return Err(damaged("some rows are missing, or older than others"));
        }
        Ok(Found {
            format,
            summary: Some(summary),
        })
    }
}

fn no_format() -> StoreError {
    damaged("the row that says its format is missing")
}

/// How many rows are handed over at once.
const AT_ONCE: usize = 512;

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

fn silent(after: Duration) -> StoreError {
    StoreError::Io(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("the disk has not answered for {} s", after.as_secs()),
    ))
}

/// How long a write may take. sled does not wake whoever waits for some of the writes that failed.
const LIMIT: Duration = Duration::from_secs(30);

#[cfg(not(test))]
fn limit() -> Duration {
    LIMIT
}

/// Tests that wait for it wait less.
#[cfg(test)]
fn limit() -> Duration {
    let ms = std::env::var("KEYSTORE_LIMIT_MS").ok();
    let ms = ms.and_then(|text| text.parse().ok());
    ms.map_or(LIMIT, Duration::from_millis)
}

/// How long a log may take to be opened, all of which is read.
const OPENING: Duration = Duration::from_secs(600);

/// For sled's cache of pages, bytes; the state is in memory anyway.
const CACHE: u64 = 16 << 20;

/// More than sled writes at once besides the rows: two segments.
const ROOM: u64 = 1 << 20;

/// More than sled writes for a row: its page, when it is split, and the pages above.
const ROOM_PER_ROW: u64 = 16 << 10;
