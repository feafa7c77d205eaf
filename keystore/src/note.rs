//! What happened that changes nothing: who was let in, who was not, and why.

use core::net::SocketAddr;

use identity::{Name, PublicKey, Reference};
use serde::{Deserialize, Serialize};

use crate::{Actor, Denied, WindowId};

/// Something to be remembered. It is written with the next change or some seconds later, so a
/// crash may take the last ones; nothing waits for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Note {
    /// A host has begun to work with this store.
    Started {
        /// Its process.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// A backup was put in the place of what was there.
    Restored {
        /// Who did it.
        by: Actor,
        /// When the backup was made, wall clock, ms since 1970.
        made_ms: u64,
    },
    /// One of the host's own keys was changed.
    HostKey {
        /// Who did it.
        by: Actor,
        /// Under which tag it is.
        tag: Name,
        /// What was done.
        change: HostKeyDeed,
        /// The current key after it.
        key: PublicKey,
    },
    /// A key was let in; its entry then says when it was seen last.
    Admitted {
        /// For which name.
        name: Name,
        /// Whose key.
        key: PublicKey,
        /// Where it came from.
        from: SocketAddr,
        /// The window that let it in just now.
        window: Option<WindowId>,
        /// The host's number for the session.
        session: u64,
    },
    /// A session has ended.
    Left {
        /// For which name.
        name: Name,
        /// Whose key.
        key: PublicKey,
        /// The host's number for the session.
        session: u64,
        /// Why.
        why: Farewell,
    },
    /// Somebody was refused.
    Refused {
        /// For which name.
        name: Name,
        /// The key, if one was claimed.
        key: Option<PublicKey>,
        /// Where it came from.
        from: SocketAddr,
        /// Why.
        reason: Reason,
        /// What the refused one can tell its admin, if its first packet was whole.
        reference: Option<Reference>,
    },
    /// So many more were refused than can be remembered one by one.
    RefusedMore {
        /// For which name.
        name: Name,
        /// How many.
        count: u64,
    },
}

impl Note {
    /// Whose doing it was.
    pub(crate) fn by(&self) -> Actor {
        match self {
            Self::Restored { by, .. } | Self::HostKey { by, .. } => by.clone(),
            Self::Started { .. }
            | Self::Admitted { .. }
            | Self::Left { .. }
            | Self::Refused { .. }
            | Self::RefusedMore { .. } => Actor::Host,
        }
    }
}

/// What was done to a host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostKeyDeed {
    /// Made.
    New,
    /// Taken over from elsewhere.
    Imported,
    /// Rotated: another key is the current one.
    Rotated,
    /// The previous key was forgotten.
    Retired,
    /// Sealed by a passphrase.
    Sealed,
    /// Kept unsealed from now on.
    Unsealed,
    /// Sealed by another passphrase.
    Resealed,
}

impl HostKeyDeed {
    /// A few words for people: what the key was then.
    pub fn describe(self) -> &'static str {
        match self {
            Self::New => "made",
            Self::Imported => "taken over",
            Self::Rotated => "rotated",
            Self::Retired => "rid of its previous key",
            Self::Sealed => "sealed",
            Self::Unsealed => "unsealed",
            Self::Resealed => "sealed by another passphrase",
        }
    }
}

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The first packet verifies under no secret that is in force.
    WrongSecret,
    /// What came is not what the protocol says.
    Protocol,
    /// The deadline passed before a key was proved.
    TooSlow,
    /// The key is not known, and no window was asked.
    UnknownKey,
    /// The key is accepted for other names only.
    OutOfScope,
    /// The key is disabled.
    Disabled,
    /// The key was revoked.
    Revoked,
    /// The key is banned.
    Banned,
    /// The key's time is over.
    Expired,
    /// The window that the secret belongs to is spent, closed, expired or shut, or does not let
    /// this key in.
    WindowShut,
    /// The key was claimed and not proved.
    NotProved,
    /// The key, or the listener, has as many sessions as it may.
    TooMany,
    /// The script did not take it.
    TurnedAway,
    /// The keystore does not work.
    Keystore,
    /// The listener was closed while it came in, or the host was ending.
    Closing,
}

impl From<Denied> for Reason {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unknown => Self::UnknownKey,
            Denied::OutOfScope => Self::OutOfScope,
            Denied::Disabled => Self::Disabled,
            Denied::Revoked => Self::Revoked,
            Denied::Banned => Self::Banned,
            Denied::Expired => Self::Expired,
        }
    }
}

/// Why a session has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Farewell {
    /// The peer left, or its connection broke.
    Peer,
    /// The script ended it.
    Script,
    /// Its key is not accepted any more.
    Revoked,
    /// Its frameserver ended.
    Frameserver,
}
