use std::fmt;

use identity::{Name, PublicKey, Secret};
use serde::{Deserialize, Serialize};

use crate::{Origin, Scope, WindowEnd, WindowId};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Accept a key within a scope, beside those it already has. A revoked key starts anew; a
    /// disabled one stays so; a banned one is refused.
    Accept {
        /// Whose.
        key: PublicKey,
        /// Where.
        scope: Scope,
        /// What to call it; `None` leaves an earlier label.
        label: Option<String>,
        /// It was in a file.
        imported: bool,
    },
    /// Accept a key within this scope no longer.
    Unscope {
        /// Whose.
        key: PublicKey,
        /// Where not.
        scope: Scope,
    },
    /// Call a key something else.
    Label {
        /// Which.
        key: PublicKey,
        /// What; `None`: nothing.
        label: Option<String>,
    },
    /// Say something else about a key.
    Comment {
        /// Which.
        key: PublicKey,
        /// What; `None`: nothing.
        comment: Option<String>,
    },
    /// Accept a key until then.
    Expire {
        /// Which.
        key: PublicKey,
        /// Wall clock, ms since 1970; `None`: for ever.
        at_ms: Option<u64>,
    },
    /// Accept a key nowhere for the time being.
    Disable {
        /// Which.
        key: PublicKey,
    },
    /// Accept a disabled key again, where it was accepted before.
    Enable {
        /// Which.
        key: PublicKey,
    },
    /// Accept a key nowhere any more, and remember that. No window that is open now lets it in
    /// again.
    Revoke {
        /// Which.
        key: PublicKey,
    },
    /// Let a key in never again, by any window, known or not.
    Ban {
        /// Which.
        key: PublicKey,
    },
    /// Lift a ban: the key is then a revoked one.
    Unban {
        /// Which.
        key: PublicKey,
    },
    /// Forget a key. No window that is open now lets it in again.
    Remove {
        /// Which.
        key: PublicKey,
    },
    /// Open a window, or replace what this id held.
    OpenWindow(OpenWindow),
    /// Let a key in by a window: spends a slot and accepts the key for the window's name. A key
    /// that is already accepted for it spends nothing, whether the window is open or has ended.
    Enrol {
        /// Which window.
        window: WindowId,
        /// Whose key.
        key: PublicKey,
    },
    /// End a window before its time. One that has already ended stays as it is.
    CloseWindow {
        /// Which one.
        window: WindowId,
        /// Why.
        why: WindowEnd,
    },
    /// Count guesses at the secrets of the windows of a name. A window whose secret a person made
    /// up ends at [`Window::MAX_GUESSES`](crate::Window::MAX_GUESSES).
    Guesses {
        /// Which window.
        window: WindowId,
        /// How many more.
        more: u32,
    },
}

impl Change {
    /// The key that it is about, if it is about one.
    pub fn key(&self) -> Option<&PublicKey> {
        match self {
            Self::Accept { key, .. }
            | Self::Unscope { key, .. }
            | Self::Label { key, .. }
            | Self::Comment { key, .. }
            | Self::Expire { key, .. }
            | Self::Disable { key }
            | Self::Enable { key }
            | Self::Revoke { key }
            | Self::Ban { key }
            | Self::Unban { key }
            | Self::Remove { key }
            | Self::Enrol { key, .. } => Some(key),
            Self::OpenWindow(_) | Self::CloseWindow { .. } | Self::Guesses { .. } => None,
        }
    }
}

/// Who makes changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Actor {
    /// A user of this machine, by number.
    User(u32),
    /// A script, by its name.
    Script(String),
    /// The host itself, for a peer that has proved its key, or because time has passed.
    Host,
}

/// `user 1000`, `script chat`, `host`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(number) => write!(f, "user {number}"),
            Self::Script(name) => write!(f, "script {name}"),
            Self::Host => f.write_str("host"),
        }
    }
}

/// Changes that are made together or not at all, and who makes them.
#[derive(Debug, Clone, Copy)]
pub struct Group<'a> {
    /// Who.
    pub by: &'a Actor,
    /// What.
    pub changes: &'a [Change],
}

/// How to open a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenWindow {
    /// Chosen by the host at random, never used twice.
    pub id: WindowId,
    /// For which name.
    pub name: Name,
    /// The secret that verifies into it. Two open windows of a name may not share one: close the
    /// other in the same call ([`WindowEnd::Replaced`]) to put this in its place.
    pub secret: Secret,
    /// Whether a person made the secret up, so that guesses are counted.
    pub human: bool,
    /// How many keys it lets in.
    pub count: u32,
    /// How long it is open, ms.
    pub lasts_ms: u64,
    /// What its secret is good for.
    pub origin: Origin,
    /// What people call it.
    pub label: Option<String>,
}
