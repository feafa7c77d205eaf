//! Our own: lines of JSON, each an object for one accepted key or one server. Nothing in them is
//! secret.
//!
//! ```text
//! {"kind":"accepted","v":1,"key":"…","scopes":["hello"],"label":"anna","state":"accepted"}
//! {"kind":"server","v":1,"tag":"home","keys":["…"],"addresses":["home.example:6680"]}
//! ```

use std::collections::BTreeSet;

use identity::{Name, PublicKey};
use serde::{Deserialize, Serialize};

use super::folder::File;
use super::{
    A12_PORT, Error, Flaw, Folder, Imported, ImportedScope, Inbound, MAX_COMMENT, MAX_LABEL,
    Outbound, State, add, address, is_clean,
};

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Accepted(Accepted),
    Server(Server),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Accepted {
    v: u32,
    key: Key,
    scopes: Vec<ImportedScope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    added_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_ms: Option<u64>,
    /// Whoever leaves it out must not be taken to mean "let in".
    state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    how: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Server {
    v: u32,
    tag: Name,
    keys: Vec<Key>,
    addresses: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    added_ms: Option<u64>,
}

/// A key as text.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Key(PublicKey);

impl TryFrom<String> for Key {
    type Error = identity::KeyError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.0.to_string()
    }
}

/// What every version says.
#[derive(Deserialize)]
struct Versioned {
    v: u32,
}

/// Reads lines from a file.
pub(super) fn parse(folder: &Folder) -> Result<Imported, Error> {
    let Some(file) = folder.single() else {
        return Err(Error {
            at: folder.place(),
            flaw: Flaw::Form("a file with lines of JSON is wanted, and this is a directory"),
        });
    };
    let mut imported = Imported::default();
    let mut tags = BTreeSet::new();
    for (number, line) in file.lines()? {
        if line.trim().is_empty() {
            continue;
        }
        let entry = read(line).map_err(|flaw| file.flaw(number, flaw))?;
        match entry {
            Line::Accepted(entry) => imported.inbound.push(inbound(entry, file, number)?),
            Line::Server(entry) if !tags.insert(entry.tag.clone()) => {
                return Err(file.flaw(number, Flaw::Form("a second server of the same tag")));
            }
            Line::Server(entry) => imported.outbound.push(outbound(entry, file, number)?),
        }
    }
    Ok(imported)
}

fn read(line: &str) -> Result<Line, Flaw> {
    if line.len() > LINE {
        return Err(Flaw::TooLarge("16 KiB in a line"));
    }
    // The place in the line is not worth its words.
    let why = |error: serde_json::Error| {
        let text = error.to_string();
        let end = text.find(" at line ").unwrap_or(text.len());
        Flaw::Json(text.get(..end).unwrap_or_default().to_owned())
    };
    // First, since another version may have other fields.
    let Versioned { v } = serde_json::from_str(line).map_err(why)?;
    if v != VERSION {
        return Err(Flaw::Form(
            "of another version than 1: another program wrote it",
        ));
    }
    serde_json::from_str(line).map_err(why)
}

fn inbound(entry: Accepted, file: &File, number: usize) -> Result<Inbound, Error> {
    let texts = [
        (&entry.label, MAX_LABEL),
        (&entry.comment, MAX_COMMENT),
        (&entry.how, MAX_LABEL),
    ];
    check(&texts, file, number)?;
    Ok(Inbound {
        key: entry.key.0,
        scopes: entry.scopes,
        state: entry.state,
        label: entry.label,
        comment: entry.comment,
        added_ms: entry.added_ms,
        expires_ms: entry.expires_ms,
        how: entry.how,
        from: file.at(number),
    })
}

fn outbound(entry: Server, file: &File, number: usize) -> Result<Outbound, Error> {
    check(
        &[(&entry.label, MAX_LABEL), (&entry.comment, MAX_COMMENT)],
        file,
        number,
    )?;
    let mut server = Outbound {
        label: entry.label,
        comment: entry.comment,
        added_ms: entry.added_ms,
        ..Outbound::new(entry.tag, file.at(number))
    };
    for key in entry.keys {
        add(&mut server.keys, key.0);
    }
    for text in &entry.addresses {
        let flaw = Flaw::Form("no address: HOST, HOST:PORT or [V6]:PORT");
        let address = address(text, Some(A12_PORT)).ok_or_else(|| file.flaw(number, flaw))?;
        add(&mut server.addresses, address);
    }
    Ok(server)
}

fn check(texts: &[(&Option<String>, usize)], file: &File, number: usize) -> Result<(), Error> {
    let clean = |(text, longest): &(&Option<String>, usize)| {
        text.as_deref().is_none_or(|text| is_clean(text, *longest))
    };
    match texts.iter().all(clean) {
        true => Ok(()),
        false => Err(file.flaw(
            number,
            Flaw::Form(
                "a label or a comment is empty, too long (128 and 512 bytes), or has blanks around \
                 it or control characters in it",
            ),
        )),
    }
}

/// Writes lines. Private keys are not written.
pub fn write(inbound: &[Inbound], outbound: &[Outbound]) -> String {
    let accepted = inbound.iter().map(|entry| {
        Line::Accepted(Accepted {
            v: VERSION,
            key: Key(entry.key),
            scopes: entry.scopes.clone(),
            label: entry.label.clone(),
            comment: entry.comment.clone(),
            added_ms: entry.added_ms,
            expires_ms: entry.expires_ms,
            state: entry.state,
            how: entry.how.clone(),
        })
    });
    let servers = outbound.iter().map(|server| {
        Line::Server(Server {
            v: VERSION,
            tag: server.tag.clone(),
            keys: server.keys.iter().copied().map(Key).collect(),
            addresses: server.addresses.clone(),
            label: server.label.clone(),
            comment: server.comment.clone(),
            added_ms: server.added_ms,
        })
    });
    // Such values have no way to fail.
    let line = |line: Line| serde_json::to_string(&line).ok();
    let lines = accepted.chain(servers).filter_map(line);
    lines.map(|line| line + "\n").collect()
}

const VERSION: u32 = 1;

/// The longest line, in bytes.
const LINE: usize = 16 * 1024;

#[cfg(test)]
mod tests;
