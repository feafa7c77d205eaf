//! What of the files a store that is opened builds on. Nothing is written here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Head, Outbox, Verifier, Written, file_name, numbers};
use crate::StoreError;

/// The end of the files.
#[derive(Debug)]
pub(super) struct Found {
    /// The number of the last file; `None`: there is none.
    pub(super) file: Option<u32>,
    /// How long it is without a torn tail.
    pub(super) len: u64,
    /// Its last record.
    pub(super) head: Head,
    /// Those of the outbox that are not in it.
    pub(super) missing: Vec<Written>,
}

/// A whole file, or the whole beginning of it.
struct Whole {
    number: u32,
    base: Head,
    /// Each, and whether it is a note.
    records: Vec<(Head, bool)>,
    len: u64,
    /// Something follows that is no record of the chain.
    torn: bool,
}

/// Reads the end of the files and compares it with what the store says.
///
/// What the store does not know is in a file that was made durable, so it has to be there as it
/// was; what it knows may be missing from the end, torn by the kill or the loss of power that the
/// store has survived; what comes after what it knows changes nothing in it.
pub(super) fn scan(folder: &Path, outbox: &Outbox) -> Result<Found, StoreError> {
    let told = |what: String| {
        StoreError::Damaged(format!(
            "the audit log in {} {what}; nothing was touched: restore it from a backup, or move its \
             files elsewhere and make an empty file '{}' there to go on without them",
            folder.display(),
            super::trail::BEGIN_ANEW,
        ))
    };
    let rows = outbox.records().map_err(&told)?;
    let synced = rows.first().map_or(outbox.head, |(before, _)| *before);
    let numbers = numbers(folder)?;
    let wholes = read_back(folder, &numbers, synced.seq)?;
    for (whole, next) in wholes.iter().zip(wholes.iter().skip(1)) {
        let end = whole.records.last().map(|(head, _)| *head);
        if whole.torn || end.unwrap_or(whole.base) != next.base {
            return Err(told(format!("is broken in {}", file_name(whole.number))));
        }
    }
    let base = wholes.first().map_or(Head::START, |whole| whole.base);
    let records: Vec<_> = wholes.iter().flat_map(|whole| &whole.records).collect();
    let head = records.last().map_or(base, |(head, _)| *head);
    let at = |seq: u64| match seq.checked_sub(base.seq) {
        Some(0) => Some(base),
        Some(index) => {
            let record = records.get(usize::try_from(index).ok()?.checked_sub(1)?);
            record.map(|(head, _)| *head)
        }
        None => None,
    };
    if head.seq < synced.seq {
        return Err(told(format!(
            "ends with record {}, but {} were written",
            head.seq, synced.seq
        )));
    }
    if at(synced.seq) != Some(synced) {
        return Err(told(format!("has another record {}", synced.seq)));
    }
    let mut missing = Vec::new();
    for (_, row) in rows {
        match at(row.head.seq) {
            None => missing.push(row),
            Some(same) if same == row.head => {}
            Some(_) => return Err(told(format!("has another record {}", row.head.seq))),
        }
    }
    let ahead = |(head, is_note): &&&(Head, bool)| head.seq > outbox.head.seq && !is_note;
    if let Some((head, _)) = records.iter().find(ahead) {
        return Err(told(format!(
            "tells of a change (record {}) that the keystore does not hold",
            head.seq
        )));
    }
    let last = wholes.last();
    Ok(Found {
        file: numbers.last().copied(),
        len: last.map_or(0, |whole| whole.len),
        head,
        missing,
    })
}

/// The last files, from the one on in which what comes after this record begins.
fn read_back(folder: &Path, numbers: &[u32], after: u64) -> io::Result<Vec<Whole>> {
    let mut wholes = Vec::new();
    let mut empty = Vec::new();
    for &number in numbers.iter().rev() {
        let path = folder.join(file_name(number));
        match read(&path, number)? {
            Some(whole) => {
                let begins_before = whole.base.seq <= after;
                wholes.push(whole);
                if begins_before {
                    break;
                }
            }
            // It was just begun, or all of it is torn.
            None => empty.push(number),
        }
    }
    wholes.reverse();
    // Only the last file can be an empty one.
    if let (Some(&number), Some(last)) = (empty.last(), numbers.last()) {
        let before = wholes.last();
        let end = before.map_or(Head::START, |whole| {
            whole.records.last().map_or(whole.base, |(head, _)| *head)
        });
        let whole = Whole {
            number,
            base: end,
            records: Vec::new(),
            len: 0,
            torn: number != *last || empty.len() > 1,
        };
        wholes.push(whole);
    }
    Ok(wholes)
}

/// `None`: it does not even begin with a record.
fn read(path: &PathBuf, number: u32) -> io::Result<Option<Whole>> {
    let bytes = fs::read(path)?;
    let mut verifier = Verifier::default();
    let mut records = Vec::new();
    let mut len = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let whole = line.strip_suffix(b"\n").map(|line| verifier.check(line));
        let Some(Ok(record)) = whole else { break };
        records.push((record.head(), record.epoch.is_none()));
        len += line.len();
    }
    Ok(verifier.base().map(|base| Whole {
        number,
        base,
        records,
        torn: len < bytes.len(),
        len: len as u64,
    }))
}
