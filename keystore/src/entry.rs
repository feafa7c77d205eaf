use core::net::SocketAddr;
use std::collections::BTreeSet;

use identity::{Name, PublicKey};
use serde::{Deserialize, Serialize};

use crate::{Actor, Now, WindowId};

/// A known key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key.
    pub key: PublicKey,
    /// Whether it is accepted at all.
    pub standing: Standing,
    /// Where it is accepted, while it is.
    pub scopes: BTreeSet<Scope>,
    /// What people call it.
    pub label: Option<String>,
    /// What people say about it.
    pub comment: Option<String>,
    /// How it came in.
    pub added: Added,
    /// From when on it is not accepted any more, wall clock, ms since 1970.
    pub expires_ms: Option<u64>,
    /// When it was here last; may lag behind by some seconds after a crash.
    pub seen: Option<Seen>,
}

impl Entry {
    /// The longest label, in bytes.
    pub const MAX_LABEL: usize = 128;

    /// The longest comment, in bytes.
    pub const MAX_COMMENT: usize = 512;

    /// The most scopes of one key.
    pub const MAX_SCOPES: usize = 64;

    /// Whether the key is accepted for the name at this time, given the highest wall clock time
    /// ever seen: a clock that was set back brings no key back.
    pub fn allows(&self, name: &Name, now: Now, highest_wall_ms: u64) -> Result<(), Denied> {
        let scopes = self.scopes.iter();
        may_enter(
            self.standing,
            self.expires_ms,
            scopes.map(|scope| scope.covers(name)),
            now.wall_ms.max(highest_wall_ms),
        )
    }
}

/// The one rule that says whether a known key is accepted.
pub(crate) fn may_enter(
    standing: Standing,
    expires_ms: Option<u64>,
    covers: impl Iterator<Item = bool>,
    latest_wall_ms: u64,
) -> Result<(), Denied> {
    match standing {
        Standing::Accepted => {}
        Standing::Disabled => return Err(Denied::Disabled),
        Standing::Revoked => return Err(Denied::Revoked),
        Standing::Banned => return Err(Denied::Banned),
    }
    if expires_ms.is_some_and(|end| end <= latest_wall_ms) {
        return Err(Denied::Expired);
    }
    // All of them are looked at, whichever it is.
    match covers.fold(false, |any, covers| any | covers) {
        true => Ok(()),
        false => Err(Denied::OutOfScope),
    }
}

/// Whether a key is accepted at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// Yes.
    Accepted,
    /// Not for the time being; it keeps its scopes.
    Disabled,
    /// Not any more. A window that opens later may let it in again.
    Revoked,
    /// Never: no window lets it in.
    Banned,
}

impl Standing {
    /// One word for people and programs.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
        }
    }
}

/// Why a key is not accepted for a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Denied {
    /// Nobody knows it.
    Unknown,
    /// It is accepted for other names only.
    OutOfScope,
    /// It is disabled.
    Disabled,
    /// It was revoked.
    Revoked,
    /// It is banned.
    Banned,
    /// Its time is over.
    Expired,
}

impl Denied {
    /// A few words for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::OutOfScope => "accepted for other names only",
            Self::Disabled => "disabled",
            Self::Revoked => "revoked",
            Self::Banned => "banned",
            Self::Expired => "expired",
        }
    }
}

/// How a key came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Added {
    /// When, wall clock, ms since 1970.
    pub at_ms: u64,
    /// By which way.
    pub how: How,
    /// By whom; for a window, by whoever opened it.
    pub by: Actor,
}

/// By which way a key came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// Somebody named it.
    Named,
    /// It was in a file that somebody imported.
    Imported,
    /// It knew a window's secret.
    Window(WindowId),
}

/// When a key was here last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// When it was admitted, wall clock, ms since 1970.
    pub at_ms: u64,
    /// Where it came from.
    pub from: SocketAddr,
}

/// Where a key is accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// For every name, written `*`.
    Any,
    /// For one name.
    Name(Name),
}

impl Scope {
    /// Whether a key with this scope is accepted for the name.
    pub fn covers(&self, name: &Name) -> bool {
        match self {
            Self::Any => true,
            Self::Name(own) => own == name,
        }
    }

    /// `*` or the name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Any => "*",
            Self::Name(name) => name.as_str(),
        }
    }
}
