//! What a test starts a host with whose other processes it plays.

use std::path::Path;
use std::time::Duration;

use identity::Name;
use keystore::{Directory, HostKeyChange, HostKeys};

use super::{Handed, Keys, Options};
use crate::ipc::Unproved;
use crate::ipc::script::{ErrorMode, Limits, Permissions};

/// For a folder of its own.
pub(super) fn options(state: &Path) -> Options {
    Options {
        programs: Vec::new(),
        arguments: Vec::new(),
        state: state.into(),
        errors: ErrorMode::Isolate,
        limits: Limits::default(),
        handshake: Duration::from_secs(10),
        unproved: Unproved::at_most(16),
        watch: false,
        penalties: true,
        undecided: 64,
        sessions: 64,
        window: Duration::from_secs(600),
        reach: Vec::new(),
        permissions: Permissions::default(),
        require_sandbox: true,
        drain: Duration::ZERO,
        metrics: None,
        handed: Handed::default(),
    }
}

/// A new host key in that folder.
pub(super) fn keys(state: &Path) -> Keys {
    let directory = Directory::open(&state.join("keys")).unwrap();
    let kept = HostKeys::new(&directory).unwrap();
    let tag = Name::parse("default").unwrap();
    let new = HostKeyChange::New {
        seal: None,
        private: None,
    };
    let (_, ring) = kept.change(&tag, 0, new, false).unwrap();
    Keys {
        kept,
        tag,
        ring,
        client: None,
    }
}
