//! What happened, for those who have to answer for it.
//!
//! Every change that is applied and every [`Note`](crate::Note) is a [`Record`]: one line of JSON in
//! `audit/` of the state directory, chained to the line before it by a hash. No record holds a
//! secret: an [`Event`] has no place for one.
//!
//! ```text
//!   event   what happened, without secrets        text   how its words are written
//!   record  one line of JSON, and its hash
//!   trail   where the next record goes: the file, and rows of the store until the file is durable
//!   scan    what of the files a store that is opened builds on
//!   reader  the files as anybody may read them, beside a running host, too
//! ```
//!
//! docs/audit.md says what the lines look like.

mod event;
mod reader;
mod record;
mod scan;
mod text;
mod trail;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use event::Event;
pub use reader::{Line, Reader};
pub(crate) use record::Happened;
use record::Written;
pub use record::{Fault, Hash, Record, Verifier};
pub(crate) use trail::{Outbox, Trail};

/// The last record of a chain: what to note elsewhere, to know later that nothing before it was
/// changed or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its number; the first record is 1. Zero: there is none yet.
    pub seq: u64,
    /// Its hash; all zeros where there is none yet.
    pub hash: Hash,
}

impl Head {
    /// Before the first record.
    pub const START: Self = Self {
        seq: 0,
        hash: Hash::ZERO,
    };
}

/// The records of a store that keeps nothing: the last ones.
#[derive(Debug)]
pub(crate) struct Ring {
    head: Head,
    lines: VecDeque<String>,
}

impl Ring {
    pub(crate) fn add(&mut self, happened: Happened) -> Result<(), crate::StoreError> {
        let written = happened.after(self.head)?;
        self.head = written.head;
        if self.lines.len() == RING {
            self.lines.pop_front();
        }
        self.lines.push_back(written.text);
        Ok(())
    }

    pub(crate) fn head(&self) -> Head {
        self.head
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            head: Head::START,
            lines: VecDeque::new(),
        }
    }
}

/// Where the files are.
fn folder(state: &Path) -> PathBuf {
    state.join(FOLDER)
}

/// The name of a file; as a text they sort as their numbers do.
fn file_name(number: u32) -> String {
    format!("{number:08}.jsonl")
}

/// The numbers of the files, in order.
fn numbers(folder: &Path) -> std::io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let name = file?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl"));
        let number = number.filter(|digits| digits.len() == 8);
        numbers.extend(number.and_then(|digits| digits.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

pub(crate) const FOLDER: &str = "audit";

/// How many records a [`Ring`] holds.
const RING: usize = 1000;

/// From how many bytes on a file is followed by the next one.
const ROTATE: u64 = if cfg!(test) { 16 << 10 } else { 16 << 20 };

/// The longest line, in bytes; ours are far shorter.
const MAX_LINE: u64 = 64 << 10;
