use std::collections::BTreeSet;

use identity::{Name, PublicKey};
use serde::{Deserialize, Serialize};

use crate::WindowId;

/// A known key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The key.
    pub key: PublicKey,
    /// Where it is accepted.
    pub scopes: BTreeSet<Scope>,
    /// What people call it.
    pub label: Option<String>,
    /// When it was added, wall clock, ms since 1970.
    pub added_ms: u64,
    /// The window it came in by; `None`: an admin accepted it.
    pub window: Option<WindowId>,
}

impl Entry {
    /// The longest label, in bytes.
    pub const MAX_LABEL: usize = 128;
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
}
