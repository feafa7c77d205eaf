//! Admin and host, over the owner-only control socket.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use identity::{Name, PublicKey};
use keystore::audit::Head;
use keystore::{Change, Entry, HostKeyChange, Listed, Reason, Window};
use serde::{Deserialize, Serialize};

use super::frameserver::Strangers;
use super::{Asked, Outcome, Said};

/// What an admin asks.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToHost {
    /// All known keys.
    Keys,
    /// Make changes, all of them or none.
    Apply {
        /// Which.
        changes: Vec<Change>,
        /// Only say what would come of it.
        rehearse: bool,
    },
    /// All windows.
    Windows,
    /// Who is in.
    Sessions,
    /// Copy what goes into a backup to a new folder.
    Snapshot(PathBuf),
    /// The host's own public key.
    HostKey,
    /// The last record of the audit log.
    AuditHead,
    /// What runs.
    Status,
    /// Have a new process take the place of the script with this name.
    Reload(String),
    /// What has been counted.
    Metrics,
    /// End.
    End(Ending),
    /// The host's own keys under all tags.
    HostKeys,
    /// Change the host's own keys under a tag.
    ChangeHostKey {
        /// Which tag.
        tag: Name,
        /// How.
        change: HostKeyChange,
        /// Do all of it but the writing.
        rehearsal: bool,
    },
    /// A key has been proved to somebody else's server: let it in as a listener would.
    Admit {
        /// What the server is for.
        name: Name,
        /// The key.
        key: PublicKey,
        /// Where it comes from.
        from: SocketAddr,
    },
    /// Have a script evaluate something. Who closes the connection cancels it.
    Evaluate {
        /// The script's name.
        script: String,
        /// What.
        asked: Asked,
    },
}

/// How a host is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// It takes nobody in any more, and scripts are told.
    InOrder {
        /// How long sessions have before that to end by themselves; `None`: as the host was told
        /// when it was started.
        drain: Option<Duration>,
    },
    /// Whatever runs is killed.
    AtOnce,
}

/// What the host answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromHost {
    /// To [`ToHost::Keys`]: one part of them. Parts follow until an empty one.
    Keys(Vec<Entry>),
    /// To [`ToHost::Apply`]: done and durable, and these sessions have ended by it; or, rehearsed,
    /// would. Parts follow until an empty one.
    Applied(Vec<SessionStatus>),
    /// To [`ToHost::Sessions`]: one part of them. Parts follow until an empty one.
    Sessions(Vec<SessionStatus>),
    /// To [`ToHost::Windows`]: one part of them. Parts follow until an empty one.
    Windows(Vec<Window>),
    /// To [`ToHost::HostKey`].
    HostKey(PublicKey),
    /// To [`ToHost::AuditHead`]; `None`: it keeps no log.
    AuditHead(Option<Head>),
    /// To [`ToHost::Status`]: some of the listeners, or of the scripts. Parts follow until one has
    /// neither.
    Status(Status),
    /// To [`ToHost::Metrics`]: some of the lines. Parts follow until an empty one.
    Metrics(Vec<String>),
    /// To [`ToHost::End`]: the end has begun, with so many sessions. The connection is closed when
    /// the host is gone.
    Ending {
        /// How many.
        sessions: u32,
    },
    /// To [`ToHost::Snapshot`]: done.
    Snapshot {
        /// The store's epoch in it.
        epoch: u64,
        /// How many keys are in it.
        keys: u64,
    },
    /// It could not be done, and why.
    Failed(String),
    /// To [`ToHost::Reload`]: done.
    Reloaded(Reloaded),
    /// To [`ToHost::HostKeys`].
    HostKeys(Vec<Listed>),
    /// To [`ToHost::ChangeHostKey`]: what there is now.
    HostKeyChanged(Listed),
    /// To [`ToHost::Admit`]: what is known of the key, or why it is not let in.
    Admission(Result<Entry, Reason>),
    /// To [`ToHost::Evaluate`]: what is said meanwhile. Another answer follows.
    Said(Said),
    /// To [`ToHost::Evaluate`]: what has come of it.
    Evaluated(Outcome),
}

/// What has become of a script that was loaded again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// How many listeners went on.
    pub kept: u32,
    /// How many are new.
    pub opened: u32,
    /// How many were closed.
    pub closed: u32,
    /// How many sessions the new program was offered.
    pub sessions: u32,
    /// What did not work all the same.
    pub failures: Vec<String>,
}

/// A session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionStatus {
    /// The host's number for it.
    pub session: u64,
    /// The name of its listener.
    pub name: Name,
    /// Whose it is; `None`: a peer without a key.
    pub key: Option<PublicKey>,
    /// Where it comes from.
    pub from: SocketAddr,
    /// Since when, wall clock, ms since 1970.
    pub since_ms: u64,
}

/// What runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The host's process.
    pub pid: u32,
    /// Whether it has been told to end.
    pub ending: bool,
    /// Its listeners.
    pub listeners: Vec<ListenerStatus>,
    /// Its scripts.
    pub scripts: Vec<ScriptStatus>,
    /// How many sessions are up.
    pub sessions: u32,
    /// The highest wall clock time that the keystore has seen, ms since 1970; below it windows are
    /// shut.
    pub highest_wall_ms: u64,
}

/// One script.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScriptStatus {
    /// Its name.
    pub name: String,
    /// What its sandbox denies; empty before its process has said so.
    pub sandbox: Vec<super::Denied>,
}

/// One listener.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its name.
    pub name: Name,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
    /// Whether its frameserver accepts connections.
    pub ready: bool,
    /// The script that made it.
    pub script: String,
    /// What its sandbox denies.
    pub sandbox: Vec<super::Denied>,
    /// How many sessions it has.
    pub sessions: u32,
    /// What its frameserver says of strangers.
    pub strangers: Strangers,
    /// How many connections may have proved nothing at once.
    pub unproved_limit: u32,
}
