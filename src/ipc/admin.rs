//! Admin and host, over the owner-only control socket.

use std::time::Duration;

use identity::{Name, PublicKey, Secret};
use keystore::{Entry, Scope, Window, WindowId};
use serde::{Deserialize, Serialize};

/// What an admin asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToHost {
    /// All accepted keys.
    Keys,
    /// Accept a key within a scope.
    Accept {
        /// Whose.
        key: PublicKey,
        /// Where.
        scope: Scope,
        /// What to call it.
        label: Option<String>,
    },
    /// Forget a key and end its sessions.
    Remove(PublicKey),
    /// Open a window.
    OpenWindow {
        /// For which name.
        name: Name,
        /// The secret that verifies into it.
        secret: Secret,
        /// For how many keys.
        count: u32,
        /// For how long.
        lasts: Duration,
        /// Whether a person made the secret up, so that guesses are counted.
        human: bool,
    },
    /// All windows.
    Windows,
    /// Close a window.
    CloseWindow(WindowId),
    /// The host's own public key.
    HostKey,
    /// What runs.
    Status,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromHost {
    /// Done, and durable.
    Done,
    /// To [`ToHost::Keys`]: one part of them. Parts follow until an empty one.
    Keys(Vec<Entry>),
    /// To [`ToHost::Remove`]: gone, and so many sessions with it.
    Removed {
        /// How many sessions were ended.
        sessions: u32,
    },
    /// To [`ToHost::OpenWindow`].
    Window(Window),
    /// To [`ToHost::Windows`]: one part of them. Parts follow until an empty one.
    Windows(Vec<Window>),
    /// To [`ToHost::HostKey`].
    HostKey(PublicKey),
    /// To [`ToHost::Status`].
    Status(Status),
    /// It could not be done, and why.
    Failed(String),
}

/// What runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The host's process.
    pub pid: u32,
    /// Its listeners.
    pub listeners: Vec<ListenerStatus>,
    /// How many sessions are up.
    pub sessions: u32,
}

/// One listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub addresses: Vec<std::net::SocketAddr>,
    /// Whether its frameserver accepts connections.
    pub ready: bool,
    /// The script that made it.
    pub script: String,
    /// What its sandbox denies.
    pub sandbox: Vec<super::Denied>,
    /// How many sessions it has.
    pub sessions: u32,
}
