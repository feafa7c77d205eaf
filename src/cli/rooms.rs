//! The other rooms, as far as the command line uses them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use identity::{Name, PublicKey};
use keystore::{Directory, HostKeyChange, HostKeys, Now, OpenError, Sled, StoreError, Stored};

use super::exit::{Exit, Failure, OrExit};
use super::passphrase::{self, Place};
use crate::host;
use crate::ipc::admin::{FromHost, ToHost};
use crate::ipc::script::{ErrorMode, Limits, Permissions};
use crate::ipc::{Socket, Unproved};

/// What `moonport run` was told.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) scripts: Vec<PathBuf>,
    pub(super) arguments: Vec<String>,
    pub(super) state: PathBuf,
    pub(super) errors: ErrorMode,
    pub(super) limits: Limits,
    pub(super) handshake: Duration,
    pub(super) unproved: Unproved,
    pub(super) watch: bool,
    pub(super) penalties: bool,
    pub(super) reach: Vec<host::Reach>,
    pub(super) permissions: Permissions,
    pub(super) require_sandbox: bool,
    /// How long sessions have to end by themselves.
    pub(super) drain: Duration,
    /// Where numbers are told.
    pub(super) metrics: Option<host::Loopback>,
    /// Where the host key's passphrase is.
    pub(super) passphrase: Option<Place>,
}

/// Runs a host; returns the scripts' exit code.
pub(super) fn run(run: Run) -> Result<u8, Failure> {
    let programs = programs(&run.scripts)?;
    let too_long = socket_path(&run.state)
        .as_os_str()
        .len()
        .saturating_sub(SOCKET_PATH);
    if too_long > 0 {
        return Err(Failure::because(
            Exit::Usage,
            format_args!(
                "{}: a socket cannot be made there, as its path is {too_long} bytes too long; give another --state-dir",
                run.state.display()
            ),
        ));
    }
    let handed = host::Handed::take().or_exit(Exit::Usage)?;
    let (directory, store) = open(&run.state)?;
    let mut keys = host_keys(&directory, run.passphrase.as_ref(), host_tag()?)?;
    if !run.reach.is_empty() {
        let own = host_keys(&directory, run.passphrase.as_ref(), client_tag()?)?;
        keys.client = Some(own.ring.current);
    }
    let options = host::Options {
        programs,
        arguments: run.arguments,
        state: run.state,
        errors: run.errors,
        limits: run.limits,
        handshake: run.handshake,
        unproved: run.unproved,
        watch: run.watch,
        penalties: run.penalties,
        undecided: UNDECIDED,
        sessions: SESSIONS,
        window: WINDOW,
        reach: run.reach,
        permissions: run.permissions,
        require_sandbox: run.require_sandbox,
        drain: run.drain,
        metrics: run.metrics,
        handed,
    };
    host::run(options, Box::new(store), keys).map_err(|error| {
        let exit = match error {
            host::HostError::State { .. } => Exit::Keystore,
            host::HostError::Metrics { .. } => Exit::Usage,
            host::HostError::Io { .. } => Exit::Failed,
        };
        Failure::new(exit, error)
    })
}

/// Finds the scripts. Each needs a name of its own, since its folders are called by it.
fn programs(scripts: &[PathBuf]) -> Result<Vec<host::Program>, Failure> {
    let mut found: Vec<host::Program> = Vec::new();
    for path in scripts {
        let program = host::Program::locate(path).or_exit(Exit::Usage)?;
        if found.iter().any(|other| other.appl == program.appl) {
            return Err(Failure::because(
                Exit::Usage,
                format_args!(
                    "{}: another script is called {}, too, and would keep its files in the same folder; rename one",
                    path.display(),
                    program.appl
                ),
            ));
        }
        found.push(program);
    }
    Ok(found)
}

/// How long the path of a Unix socket may be, in bytes.
const SOCKET_PATH: usize = 107;

/// How many proved clients of a listener may wait for the script's decision.
const UNDECIDED: usize = 64;

/// How many sessions a listener may have.
pub(super) const SESSIONS: usize = 4096;

/// How long a window is open if nobody says.
const WINDOW: Duration = Duration::from_secs(10 * 60);

pub(super) use host::control::{snapshot, socket_path};
pub(super) use host::{Caller, Doorman, admit};

/// The keystore, held until it is dropped. Where another command holds it, that is waited for; not
/// for a host, which holds it as long as it runs.
pub(super) fn open(state: &Path) -> Result<(Directory, Sled), Failure> {
    let deadline = Instant::now() + PATIENCE;
    let directory = loop {
        match Directory::open(state) {
            Err(OpenError::Held { .. }) if Instant::now() < deadline && !host_runs(state) => {
                std::thread::sleep(LOOK_AGAIN);
            }
            opened => break opened.or_exit(Exit::Keystore)?,
        }
    };
    let store = Sled::open(&directory, now())
        .map_err(|error: StoreError| Failure::new(Exit::Keystore, error))?;
    if let Some(kept) = store.upgraded() {
        tracing::info!(
            "the keystore has been brought to the format of this version; what was there before is \
             kept in {}",
            kept.display()
        );
    }
    Ok((directory, store))
}

/// Whether somebody answers at the control socket.
fn host_runs(state: &Path) -> bool {
    Socket::<ToHost, FromHost>::connect(&socket_path(state)).is_ok()
}

/// How long another command may take; all of them are short.
const PATIENCE: Duration = Duration::from_secs(3);

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The host's own keys, made on first use. Those that are sealed are opened; a passphrase for those
/// that are not is a sign that they are not the right ones.
fn host_keys(
    directory: &Directory,
    place: Option<&Place>,
    tag: Name,
) -> Result<host::Keys, Failure> {
    let kept = HostKeys::new(directory).or_exit(Exit::Keystore)?;
    let (ring, sealed) = match kept.read(&tag).or_exit(Exit::Keystore)? {
        Some(Stored::Sealed(sealed)) => {
            let passphrase = super::wait(passphrase::known(place))?;
            (sealed.unseal(&passphrase).or_exit(Exit::Keystore)?, true)
        }
        Some(Stored::Unsealed(_)) if place.is_some() => {
            return Err(Failure::because(
                Exit::Keystore,
                format_args!(
                    "a passphrase is given, but {} is not sealed; if it should be, \
                     `moonport key host seal` does it",
                    kept.path(&tag).display()
                ),
            ));
        }
        Some(Stored::Unsealed(ring)) => (ring, false),
        None => {
            let seal = match place {
                Some(place) => Some(passphrase::read(place)?),
                None => passphrase::credential()?,
            };
            let sealed = seal.is_some();
            let change = HostKeyChange::New {
                seal,
                private: None,
            };
            let made = kept.change(&tag, now().wall_ms, change, false);
            (made.or_exit(Exit::Keystore)?.1, sealed)
        }
    };
    if !sealed {
        tracing::info!(
            "the host key is not sealed: who can read {} can pretend to be this host; \
             `moonport key host seal` seals it",
            kept.path(&tag).display()
        );
    }
    Ok(host::Keys {
        kept,
        tag,
        ring,
        client: None,
    })
}

/// The host's own public key, made on first use.
pub(super) fn host_key(directory: &Directory) -> Result<PublicKey, Failure> {
    let kept = HostKeys::new(directory).or_exit(Exit::Keystore)?;
    let tag = host_tag()?;
    if let Some(stored) = kept.read(&tag).or_exit(Exit::Keystore)? {
        return Ok(stored.public().current);
    }
    let change = HostKeyChange::New {
        seal: None,
        private: None,
    };
    let made = kept.change(&tag, now().wall_ms, change, false);
    Ok(made.or_exit(Exit::Keystore)?.0.ring.current)
}

/// Which of its keys a host proves.
pub(super) fn host_tag() -> Result<Name, Failure> {
    Name::parse("default").or_exit(Exit::Failed)
}

/// By which of them connections that scripts make are known.
fn client_tag() -> Result<Name, Failure> {
    Name::parse("client").or_exit(Exit::Failed)
}

/// Both clocks.
pub(super) fn now() -> Now {
    host::Clock::new().now()
}

/// LuaLS definitions of what a script can call.
pub(super) fn stubs() -> String {
    crate::script::stubs()
}

/// The pages of the reference.
pub(super) fn reference(example: impl Fn(&str) -> Option<String>) -> Vec<crate::script::Page> {
    crate::script::reference(example)
}
