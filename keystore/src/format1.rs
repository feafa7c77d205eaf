//! Rows of format 1, and what they become. It knew keys, the names they are accepted for (in rows of
//! their own, tag `S`) and windows; of both it knew less than is known now.

use std::collections::{BTreeMap, BTreeSet};

use identity::{Name, PublicKey};
use serde::Deserialize;

use crate::log::RawRow;
use crate::rows::{self, KEY, WINDOW, Writes, damaged, decoded};
use crate::state::{KeyRow, Row};
use crate::{
    Actor, Added, Entry, How, Now, Origin, Scope, StoreError, Window, WindowEnd, WindowId,
};

/// The number of the format.
pub(crate) const FORMAT: u32 = 1;

const SCOPE: u8 = b'S';

#[derive(Deserialize)]
struct OldKey {
    label: Option<String>,
    added_ms: u64,
    window: Option<WindowId>,
}

#[derive(Deserialize)]
struct OldWindow {
    id: WindowId,
    name: Name,
    origin: Origin,
    human: bool,
    count: u32,
    enrolled: BTreeSet<[u8; 32]>,
    guesses: u32,
    opened: Now,
    lasts_ms: u64,
    ended: Option<(WindowEnd, Now)>,
}

/// What the rows become. Those that are not named stay as they are.
pub(crate) fn upgrade(rows: &[RawRow]) -> Result<Writes, StoreError> {
    let mut writes = Writes::new();
    let mut keys = BTreeMap::new();
    for (row_key, value) in rows {
        let unreadable = || damaged("a row of format 1 is not what was written");
        match row_key.split_first() {
            Some((&KEY, key)) => {
                let key = PublicKey::parse(key).map_err(|_| unreadable())?;
                let old = decoded(value).ok_or_else(unreadable)?;
                keys.insert(*key.as_bytes(), (key, key_row(old)));
            }
            Some((&SCOPE, rest)) => {
                let (key, scope) = rest.split_first_chunk().ok_or_else(unreadable)?;
                let scope = match std::str::from_utf8(scope).map_err(|_| unreadable())? {
                    "*" => Scope::Any,
                    name => Scope::Name(Name::parse(name).map_err(|_| unreadable())?),
                };
                // Rows of keys come first.
                let (_, row) = keys
                    .get_mut(key)
                    .ok_or_else(|| damaged("a row belongs to one that is missing"))?;
                row.scopes.insert(scope);
                writes.insert(row_key.clone(), None);
            }
            Some((&WINDOW, _)) => {
                let window = window(decoded(value).ok_or_else(unreadable)?);
                writes.extend(rows::encode(&Row::Window(window.id, Some(window)))?);
            }
            _ => {}
        }
    }
    for (key, row) in keys.into_values() {
        let scopes = row.scopes.len();
        if scopes > Entry::MAX_SCOPES {
            return Err(StoreError::Upgrade(format!(
                "the key {key} is accepted for {scopes} names, and now {} are the most: with the \
                 earlier program accept it for * or for fewer names",
                Entry::MAX_SCOPES
            )));
        }
        writes.extend(rows::encode(&Row::Key(key, Some(row)))?);
    }
    Ok(writes)
}

fn key_row(old: OldKey) -> KeyRow {
    let OldKey {
        label,
        added_ms,
        window,
    } = old;
    KeyRow {
        label,
        ..KeyRow::new(Added {
            at_ms: added_ms,
            how: window.map_or(How::Named, How::Window),
            by: NOBODY,
        })
    }
}

fn window(old: OldWindow) -> Window {
    let OldWindow {
        id,
        name,
        origin,
        human,
        count,
        enrolled,
        guesses,
        opened,
        lasts_ms,
        ended,
    } = old;
    Window {
        id,
        name,
        label: None,
        by: NOBODY,
        origin,
        human,
        count,
        enrolled,
        guesses,
        opened,
        lasts_ms,
        ended,
    }
}

/// Format 1 did not say who it was.
const NOBODY: Actor = Actor::Host;
