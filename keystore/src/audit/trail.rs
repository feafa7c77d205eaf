//! Where the next record goes.
//!
//! One wait for the disk is enough for a change and its record, since the record rides along as a
//! row of the store (the *outbox*) and is then written to the file without waiting. When the file
//! is made durable, the rows can go. A row is never there without those before it that the file
//! may still lose, so that a loss of power leaves no gap.
//!
//! A file that cannot be written (a full disk) does not stop a change: its record is in the outbox,
//! and is written to the file later. Once the outbox is full, changes fail before they happen.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Event, Happened, Head, Record, Written, file_name, scan};
use crate::directory::{check, private, sync_directory};
use crate::rows::{self, Writes, damaged};
use crate::{Actor, StoreError};

/// An open log.
#[derive(Debug)]
pub(crate) struct Trail {
    folder: PathBuf,
    number: u32,
    file: File,
    /// The last record.
    head: Head,
    /// Records that the file may lose, in order.
    pending: VecDeque<Written>,
    /// Up to which record they stand in the file, and where that ends.
    written: (u64, u64),
    /// How long the file was when it was last made durable.
    durable_len: u64,
    /// What the store holds.
    stored: Stored,
    /// How often a disk was waited for.
    #[cfg(test)]
    pub(crate) waits: u32,
}

/// What of the log the store holds as rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    head: Head,
    /// The first and the last record in its outbox.
    rows: Option<(u64, u64)>,
}

/// What the store held of the log when it was opened.
#[derive(Debug)]
pub(crate) struct Outbox {
    /// The last record when it was last written to.
    pub(crate) head: Head,
    /// Lines, by the numbers of their rows.
    pub(crate) lines: Vec<(u64, String)>,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            head: Head::START,
            lines: Vec::new(),
        }
    }
}

impl Outbox {
    /// The records, each with the head before it.
    pub(super) fn records(&self) -> Result<Vec<(Head, Written)>, String> {
        let mut records: Vec<(Head, Written)> = Vec::new();
        for (seq, text) in &self.lines {
            let unfit = || format!("does not go with row {seq} of the keystore");
            let record = Record::parse(text.as_bytes()).map_err(|_| unfit())?;
            let before = record.before();
            let follows = records.last().is_none_or(|(_, last)| last.head == before);
            if record.seq != *seq || !follows {
                return Err(unfit());
            }
            let text = text.clone();
            records.push((
                before,
                Written {
                    head: record.head(),
                    text,
                },
            ));
        }
        match records.last() {
            Some((_, last)) if last.head != self.head => {
                Err("does not go with the head that the keystore notes".to_owned())
            }
            _ => Ok(records),
        }
    }
}

/// Records that go with the next write of the store, and the rows that they are in it.
#[derive(Debug)]
pub(crate) struct Staged {
    head: Head,
    lines: Vec<Written>,
    stored: Stored,
    pub(crate) rows: Writes,
}

impl Trail {
    /// Whether what is there goes with what the store holds; nothing is touched.
    pub(crate) fn rehearse(folder: &Path, outbox: &Outbox) -> Result<(), StoreError> {
        match begins_anew(folder)? {
            true => Ok(()),
            false => scan::scan(folder, outbox).map(drop),
        }
    }

    /// Opens what is there, cuts a torn tail, and writes what is missing from the outbox. What does
    /// not go with the store is told, and then nothing was touched.
    pub(crate) fn open(folder: PathBuf, outbox: &Outbox, at_ms: u64) -> Result<Self, StoreError> {
        let anew = begins_anew(&folder)?;
        let mut found = match anew {
            false => scan::scan(&folder, outbox)?,
            true => scan::Found {
                file: super::numbers(&folder)?.pop(),
                len: 0,
                head: outbox.head,
                missing: Vec::new(),
            },
        };
        if anew {
            let record = Happened {
                at_ms,
                by: Actor::Host,
                epoch: None,
                event: Event::BeganAnew,
            };
            found.missing.push(record.after(found.head)?);
        }
        let file = match found.file {
            Some(number) => open(&folder, number)?,
            None => create(&folder, FIRST)?,
        };
        if file.metadata()?.len() > found.len {
            file.set_len(found.len)?;
        }
        let rows = outbox.lines.first().zip(outbox.lines.last());
        let mut trail = Self {
            folder,
            number: found.file.unwrap_or(FIRST),
            file,
            head: found.missing.last().map_or(found.head, |last| last.head),
            pending: found.missing.into(),
            written: (found.head.seq, found.len),
            durable_len: found.len,
            stored: Stored {
                head: outbox.head,
                rows: rows.map(|((first, _), (last, _))| (*first, *last)),
            },
            #[cfg(test)]
            waits: 0,
        };
        // What is read may have been written by a process that was killed before it waited.
        trail.append().and_then(|()| trail.wait())?;
        sync_directory(&trail.folder)?;
        match fs::remove_file(trail.folder.join(BEGIN_ANEW)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(trail),
        }
    }

    /// The last record.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// Whether the store holds more or less of the log than it has to.
    pub(crate) fn is_untidy(&self) -> bool {
        self.stored
            != Stored {
                head: self.head,
                rows: None,
            }
    }

    /// Makes records of what a write of the store is to hold. Nothing has happened yet.
    pub(crate) fn stage(
        &mut self,
        happened: impl IntoIterator<Item = Happened>,
    ) -> Result<Staged, StoreError> {
        if self.pending.len() > OUTBOX {
            self.sync()?;
        }
        let mut head = self.head;
        let mut lines = Vec::new();
        for happened in happened {
            let line = happened.after(head)?;
            head = line.head;
            lines.push(line);
        }
        let mut writes = Writes::new();
        let durable = self.durable();
        let (first, last) = self.stored.rows.unwrap_or((0, 0));
        for gone in first.max(1)..=last.min(durable) {
            writes.insert(rows::record_key(gone), None);
        }
        let all = self.pending.iter().chain(&lines);
        for line in all.clone().filter(|line| line.head.seq > last) {
            let text = line.text.clone().into_bytes();
            writes.insert(rows::record_key(line.head.seq), Some(text));
        }
        if head != self.stored.head {
            writes.insert(rows::HEAD_ROW.to_vec(), rows::encoded(Some(&head))?);
        }
        let kept = all.map(|line| line.head.seq);
        let rows = kept.clone().min().zip(kept.max());
        Ok(Staged {
            head,
            lines,
            stored: Stored { head, rows },
            rows: writes,
        })
    }

    /// The store has written them.
    pub(crate) fn committed(&mut self, staged: Staged) {
        self.head = staged.head;
        self.stored = staged.stored;
        self.pending.extend(staged.lines);
        // They are safe in the outbox; the next call tries again.
        let _ = self.append();
    }

    /// Records what changes nothing, without waiting for a disk.
    pub(crate) fn note(&mut self, happened: Happened) -> Result<(), StoreError> {
        if self.pending.len() > OUTBOX {
            self.sync()?;
        }
        let line = happened.after(self.head)?;
        self.head = line.head;
        self.pending.push_back(line);
        // It is tried again with the next one.
        let _ = self.append();
        Ok(())
    }

    /// Makes all records durable in the file.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        let synced = self.append().and_then(|()| match self.pending.is_empty() {
            true => Ok(()),
            false => self.wait(),
        });
        synced.map_err(|error| {
            let path = self.folder.join(file_name(self.number));
            let what = format!("cannot write {}: {error}", path.display());
            StoreError::Io(io::Error::new(error.kind(), what))
        })
    }

    /// Up to which record the file loses nothing.
    fn durable(&self) -> u64 {
        match self.pending.front() {
            Some(first) => first.head.seq.saturating_sub(1),
            None => self.head.seq,
        }
    }

    /// Writes what the file does not have yet.
    fn append(&mut self) -> io::Result<()> {
        if self.written.1 >= super::ROTATE {
            self.wait()?;
            self.file = create(&self.folder, self.number + 1)?;
            self.number += 1;
            (self.written.1, self.durable_len) = (0, 0);
        }
        let (seq, len) = self.written;
        let lines = self.pending.iter().filter(|line| line.head.seq > seq);
        let mut bytes = Vec::new();
        for line in lines {
            bytes.extend_from_slice(line.text.as_bytes());
            bytes.push(b'\n');
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all_at(&bytes, len) {
            // Half a line is no use to those who read.
            let _ = self.file.set_len(len);
            return Err(error);
        }
        self.written = (self.head.seq, len + bytes.len() as u64);
        Ok(())
    }

    /// Waits until what was written is durable. If that fails nobody knows what of it will be: it
    /// is written again.
    fn wait(&mut self) -> io::Result<()> {
        #[cfg(test)]
        {
            self.waits += 1;
        }
        let (seq, len) = self.written;
        if let Err(error) = self.file.sync_data() {
            self.written = (self.durable(), self.durable_len);
            return Err(error);
        }
        self.durable_len = len;
        self.pending.retain(|line| line.head.seq > seq);
        Ok(())
    }

    /// Makes the next writes to the file fail.
    #[cfg(test)]
    pub(crate) fn replace_file(&mut self, other: File) -> File {
        std::mem::replace(&mut self.file, other)
    }
}

/// Whether an admin has said that the files are gone, and they are; an empty one is what is left of
/// having begun before.
fn begins_anew(folder: &Path) -> io::Result<bool> {
    if !folder.join(BEGIN_ANEW).exists() {
        return Ok(false);
    }
    for number in super::numbers(folder)? {
        if fs::metadata(folder.join(file_name(number)))?.len() > 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

fn open(folder: &Path, number: u32) -> Result<File, StoreError> {
    let path = folder.join(file_name(number));
    let file = private(OpenOptions::new().read(true).write(true)).open(&path)?;
    check(&file, &path, false).map_err(|error| damaged(&error.to_string()))?;
    Ok(file)
}

/// A new file, whose name is durable.
fn create(folder: &Path, number: u32) -> io::Result<File> {
    let path = folder.join(file_name(number));
    let file = private(OpenOptions::new().read(true).write(true).create_new(true)).open(&path)?;
    match sync_directory(folder) {
        Ok(()) => Ok(file),
        Err(error) => {
            // It is tried again.
            let _ = fs::remove_file(&path);
            Err(error)
        }
    }
}

/// What an admin puts in place of the files to say that they are gone.
pub(super) const BEGIN_ANEW: &str = "begin-anew";

const FIRST: u32 = 1;

/// As many records may wait in the outbox before the file is made durable.
const OUTBOX: usize = 256;
