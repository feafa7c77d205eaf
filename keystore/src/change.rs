use identity::{Name, PublicKey, Secret};
use serde::{Deserialize, Serialize};

use crate::{Origin, Scope, WindowEnd, WindowId};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// Accept a key within a scope, beside those it already has.
    Accept {
        /// Whose.
        key: PublicKey,
        /// Where.
        scope: Scope,
        /// What to call it; `None` leaves an earlier label.
        label: Option<String>,
    },
    /// Forget a key. No window that is open now lets it in again.
    Remove {
        /// Whose.
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
    /// Who opened it.
    pub origin: Origin,
}
