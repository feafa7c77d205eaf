//! Rows as bytes: what README.md calls the format.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use identity::PublicKey;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::audit::Outbox;
use crate::state::{Row, State};
use crate::{StoreError, Window, WindowId};

/// The number of the format.
pub(crate) const FORMAT: u32 = 2;

/// The key of the row that holds [`FORMAT`].
pub(crate) const FORMAT_ROW: &[u8] = b"0";

/// The key of the row that holds the [`Summary`].
pub(crate) const SUMMARY_ROW: &[u8] = b"1";

/// Rows by their bytes, and what they become.
pub(crate) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// What a store says of itself. It is written with every group of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Counts the groups of rows that were written.
    pub(crate) commit: u64,
    pub(crate) epoch: u64,
    pub(crate) highest_wall_ms: u64,
    /// The hashes of all other rows, exclusive-ored: whatever was lost or mixed up, it shows.
    pub(crate) rows: [u8; 32],
}

/// What hashes rows; to set it up takes as long as to hash one.
static ROW: LazyLock<blake3::Hasher> =
    LazyLock::new(|| blake3::Hasher::new_derive_key("moonport 2026 keystore row"));

impl Summary {
    /// Takes a row in, or out if it is in.
    pub(crate) fn toggle(&mut self, key: &[u8], value: &[u8]) {
        let mut hasher = ROW.clone();
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(key);
        hasher.update(value);
        let hash = hasher.finalize();
        self.rows
            .iter_mut()
            .zip(hash.as_bytes())
            .for_each(|(to, from)| *to ^= from);
    }
}

/// A sealed secret, as it stands in its row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    /// The name of its key file.
    pub(crate) opening: String,
    pub(crate) sealed: Vec<u8>,
}

/// The key of the row that holds the head of the audit log.
pub(crate) const HEAD_ROW: &[u8] = b"A";

// In this order windows come before what hangs on them.
const RECORD: u8 = b'A';
pub(crate) const KEY: u8 = b'K';
pub(crate) const WINDOW: u8 = b'W';
const SECRET: u8 = b'X';
const ENROLLED: u8 = b'Y';
const BARRED: u8 = b'Z';

/// A row's bytes, and what they become.
type Write = (Vec<u8>, Option<Vec<u8>>);

/// The bytes of a row; of a secret there are none, see [`encode_sealed`].
pub(crate) fn encode(row: &Row) -> Result<Option<Write>, StoreError> {
    Ok(Some(match row {
        Row::Key(key, new) => (row_key(KEY, &[key.as_bytes()]), encoded(new.as_ref())?),
        Row::Window(id, new) => (
            row_key(WINDOW, &[&id.0.to_be_bytes()]),
            encoded(new.as_ref())?,
        ),
        Row::Enrolled(id, key, new) => (
            row_key(ENROLLED, &[&id.0.to_be_bytes(), key.as_bytes()]),
            present(*new),
        ),
        Row::Barred(id, key, new) => (
            row_key(BARRED, &[&id.0.to_be_bytes(), key.as_bytes()]),
            present(*new),
        ),
        Row::Secret(..) => return Ok(None),
    }))
}

/// The bytes of a window's secret's row.
pub(crate) fn encode_sealed(id: WindowId, sealed: Option<&Sealed>) -> Result<Write, StoreError> {
    Ok((row_key(SECRET, &[&id.0.to_be_bytes()]), encoded(sealed)?))
}

/// The key of the row of a record that the audit log's file may lose.
pub(crate) fn record_key(seq: u64) -> Vec<u8> {
    row_key(RECORD, &[&seq.to_be_bytes()])
}

/// The state that rows make, the sealed secrets, and what there is of the audit log.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    pub(crate) state: State,
    pub(crate) secrets: BTreeMap<WindowId, Sealed>,
    pub(crate) outbox: Outbox,
}

impl Assembly {
    /// The next row; they come in the order of their keys.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        if key.first() == Some(&RECORD) {
            return take_record(key, value, &mut self.outbox)
                .ok_or_else(|| damaged("a row is not what was written"));
        }
        let row = decode(key, value, &mut self.secrets)
            .ok_or_else(|| damaged("a row is not what was written"))?;
        let hangs_on_something = match &row {
            None | Some(Row::Key(..) | Row::Window(..) | Row::Secret(..)) => true,
            Some(Row::Enrolled(id, ..) | Row::Barred(id, ..)) => self.state.window(*id).is_some(),
        };
        if !hangs_on_something {
            return Err(damaged("a row belongs to one that is missing"));
        }
        row.map(|row| self.state.set(row));
        Ok(())
    }
}

fn take_record(key: &[u8], value: &[u8], outbox: &mut Outbox) -> Option<()> {
    if key == HEAD_ROW {
        outbox.head = decoded(value)?;
    } else {
        let (_, seq) = key.split_first()?;
        let seq = u64::from_be_bytes(seq.try_into().ok()?);
        let line = std::str::from_utf8(value).ok()?;
        outbox.lines.push((seq, line.to_owned()));
    }
    Some(())
}

/// `None`: no row of ours. `Some(None)`: a sealed secret.
pub(crate) fn decode(
    key: &[u8],
    value: &[u8],
    secrets: &mut BTreeMap<WindowId, Sealed>,
) -> Option<Option<Row>> {
    let (tag, rest) = key.split_first()?;
    let window_id = |bytes: &[u8]| Some(WindowId(u64::from_be_bytes(bytes.try_into().ok()?)));
    let public_key = |bytes| PublicKey::parse(bytes).ok();
    Some(Some(match *tag {
        KEY => Row::Key(public_key(rest)?, Some(decoded(value)?)),
        WINDOW => {
            let (id, window) = (window_id(rest)?, decoded::<Window>(value)?);
            // What is done to it is done under the number that it has in itself.
            let window = Some(window).filter(|window| window.id == id)?;
            Row::Window(id, Some(window))
        }
        SECRET => {
            secrets.insert(window_id(rest)?, decoded(value)?);
            return Some(None);
        }
        ENROLLED | BARRED => {
            let (id, key) = rest.split_at_checked(8)?;
            let (id, key) = (window_id(id)?, public_key(key)?);
            if *tag == ENROLLED {
                Row::Enrolled(id, key, true)
            } else {
                Row::Barred(id, key, true)
            }
        }
        _ => return None,
    }))
}

/// The bytes of a value.
pub(crate) fn encoded<T: Serialize>(value: Option<&T>) -> Result<Option<Vec<u8>>, StoreError> {
    let encode = |value| postcard::to_stdvec(value).map_err(|error| damaged(&error.to_string()));
    value.map(encode).transpose()
}

/// The value of bytes, all of them.
pub(crate) fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

pub(crate) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(what.to_owned())
}

fn present(new: bool) -> Option<Vec<u8>> {
    new.then(Vec::new)
}

fn row_key(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = vec![tag];
    parts.iter().for_each(|part| key.extend_from_slice(part));
    key
}
