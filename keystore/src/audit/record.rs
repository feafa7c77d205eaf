use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{Event, Head, text};
use crate::rows::damaged;
use crate::{Actor, Epoch, StoreError};

/// The hash of a record: BLAKE3, written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash([u8; 32]);

/// Text that is no [`Hash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a hash is 64 characters, of 0 to 9 and a to f")]
pub struct HashError;

impl Hash {
    /// What the first record is chained to.
    pub const ZERO: Self = Self([0; 32]);

    fn of(bytes: &[u8]) -> Self {
        Self(blake3::derive_key("moonport 2026 audit record", bytes))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        let bytes = HEXLOWER.decode(text.as_bytes()).map_err(|_| HashError)?;
        bytes.try_into().map(Self).map_err(|_| HashError)
    }
}

impl TryFrom<String> for Hash {
    type Error = HashError;

    fn try_from(text: String) -> Result<Self, HashError> {
        text.parse()
    }
}

impl From<Hash> for String {
    fn from(hash: Hash) -> Self {
        hash.to_string()
    }
}

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    v: u32,
    /// Its number; they have no gaps.
    pub seq: u64,
    /// When, wall clock, ms since 1970.
    pub at_ms: u64,
    /// The hash of the record before it.
    pub prev: Hash,
    /// Who did it.
    #[serde(with = "text")]
    pub by: Actor,
    /// The store's epoch after it, if it is a change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// Its own hash, over all that stands before it in its line.
    #[serde(skip_serializing)]
    pub hash: Hash,
}

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Fault {
    /// It is none.
    #[error("it is not a record: {0}")]
    Form(String),
    /// Another version of the program wrote it.
    #[error("it is of version {0}, which this program does not know")]
    Version(u32),
    /// Its bytes are not those that were written.
    #[error("it was changed: its hash is not that of its bytes")]
    Changed,
    /// It does not follow the one before it.
    #[error("it does not follow the record before it: it is record {found}, not {expected}")]
    Gap {
        /// The number it should have.
        expected: u64,
        /// The number it has.
        found: u64,
    },
    /// It follows another record than the one before it.
    #[error("the record before it is not the one that it was chained to")]
    Unchained,
}

impl Record {
    /// Reads a line, its end left out, and checks its own hash.
    pub fn parse(line: &[u8]) -> Result<Self, Fault> {
        let form = |why: &str| Fault::Form(why.to_owned());
        let end = line.len().saturating_sub(TAIL);
        let (body, tail) = line
            .split_at_checked(end)
            .filter(|(_, tail)| tail.starts_with(HASH.as_bytes()))
            .ok_or_else(|| form("it does not end with a hash"))?;
        if tail != tail_of(Hash::of(body)).as_bytes() {
            return Err(Fault::Changed);
        }
        #[derive(Deserialize)]
        struct Version {
            v: u32,
        }
        let wrong = |error: serde_json::Error| form(&error.to_string());
        match serde_json::from_slice::<Version>(line).map_err(wrong)?.v {
            VERSION => serde_json::from_slice(line).map_err(wrong),
            other => Err(Fault::Version(other)),
        }
    }

    /// The head of a chain that ends with it.
    pub fn head(&self) -> Head {
        Head {
            seq: self.seq,
            hash: self.hash,
        }
    }

    /// The head of the chain that it was added to.
    pub(super) fn before(&self) -> Head {
        Head {
            seq: self.seq.saturating_sub(1),
            hash: self.prev,
        }
    }
}

/// Something that is to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct Happened {
    pub(crate) at_ms: u64,
    pub(crate) by: Actor,
    /// `None`: it is no change.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) event: Event,
}

/// A record as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    /// The head of the chain with it.
    pub(crate) head: Head,
    /// The line, its end left out.
    pub(crate) text: String,
}

impl Happened {
    /// The record of it that follows this head.
    pub(crate) fn after(self, head: Head) -> Result<Written, StoreError> {
        let seq = head.seq + 1;
        let record = Record {
            v: VERSION,
            seq,
            at_ms: self.at_ms,
            prev: head.hash,
            by: self.by,
            epoch: self.epoch,
            event: self.event,
            hash: Hash::ZERO,
        };
        let mut text =
            serde_json::to_string(&record).map_err(|error| damaged(&error.to_string()))?;
        text.pop();
        let hash = Hash::of(text.as_bytes());
        text.push_str(&tail_of(hash));
        Ok(Written {
            head: Head { seq, hash },
            text,
        })
    }
}

/// Follows a chain, record by record. It may begin anywhere: earlier files can be kept elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Verifier {
    /// What comes before the first record, and the last one so far.
    chain: Option<(Head, Head)>,
}

impl Verifier {
    /// Reads the next line and checks that it follows.
    pub fn check(&mut self, line: &[u8]) -> Result<Record, Fault> {
        let record = Record::parse(line)?;
        let before = record.before();
        let first = match self.chain {
            None if record.seq == 0 || (record.seq == 1 && before != Head::START) => {
                return Err(Fault::Unchained);
            }
            None => before,
            Some((_, last)) if last.seq != before.seq => {
                return Err(Fault::Gap {
                    expected: last.seq + 1,
                    found: record.seq,
                });
            }
            Some((_, last)) if last != before => return Err(Fault::Unchained),
            Some((first, _)) => first,
        };
        self.chain = Some((first, record.head()));
        Ok(record)
    }

    /// The last record so far.
    pub fn head(&self) -> Option<Head> {
        self.chain.map(|(_, last)| last)
    }

    /// What the first record was chained to: [`Head::START`], unless earlier files are elsewhere.
    pub fn base(&self) -> Option<Head> {
        self.chain.map(|(first, _)| first)
    }

    /// How many records there were.
    pub fn records(&self) -> u64 {
        self.chain
            .map_or(0, |(first, last)| last.seq.saturating_sub(first.seq))
    }
}

fn tail_of(hash: Hash) -> String {
    format!("{HASH}{hash}\"}}")
}

const VERSION: u32 = 1;

/// What stands between a record's bytes and their hash.
const HASH: &str = ",\"hash\":\"";

/// How long a line is from there on.
const TAIL: usize = HASH.len() + 64 + 2;
