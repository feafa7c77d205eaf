//! Who decides.
//!
//! The host is the small trusted process: it holds the keystore and the host's private key, binds
//! sockets, starts the other processes, admits and revokes. It runs no Lua and reads no bytes of the
//! network but whole handshake messages of fixed size. Everything happens on one thread, in the
//! order in which it is reported; the store, the key room and changes of the host's keys have a thread each behind it.
//!
//! | room | what it decides |
//! | --- | --- |
//! | `admit` | which step of an admission is next |
//! | `way` | which way a key may come in, or why not |
//! | `fronts` | which frameservers run |
//! | `peers` | what the questions of their peers come to |
//! | `windows` | which secrets verify, and what scripts hear of their windows |
//! | `script_windows` | which windows scripts may open and close, and what they see of them |
//! | `roll` | who is in, and who has to go |
//! | `sessions` | how they come and go |
//! | `refusals` | what is remembered of those who are not |
//! | `strangers` | what is believed of a frameserver's count of strangers |
//! | `scripts` | which scripts run |
//! | `reload` | how another process takes a script's place |
//! | `watch` | when that is because its files have changed |
//! | `evaluations` | what admins have running scripts do |
//! | `exec`, `launch` | which programs run that scripts have started |
//! | `script_keys` | which keys scripts may change, and what they see of them |
//! | `control` | what an admin may ask |
//! | `ending` | how it ends |
//! | `handed` | which sockets a service manager has bound for it |
//! | `notify` | what a service manager hears |
//! | `metrics` | what is counted, and who is told |
//! | `doorman` | whom servers of other programs may let in |
//! | `hostkeys` | what is done to the host's keys |
//! | `probe` | what a sandbox denies on this system |
//! | `store`, `keyroom`, `child` | how work reaches the other threads and the children |

mod admit;
mod child;
mod clock;
pub mod control;
mod doorman;
mod ending;
mod evaluations;
mod exec;
mod fronts;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod handed;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod hostile_script;
mod hostkeys;
mod interface;
mod keyroom;
pub mod launch;
mod metrics;
mod notify;
mod outbound;
mod peers;
#[cfg(test)]
mod played;
mod probe;
mod program;
mod refusals;
mod reload;
mod roll;
mod script_keys;
mod script_windows;
mod scripts;
mod sessions;
#[cfg(test)]
mod simulation;
mod store;
mod strangers;
mod watch;
mod way;
mod windows;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use identity::{Name, PublicKey};
use keystore::{Actor, HostKey, HostKeys, Keystore, Note, Now, Reason, Ring, StoreError, WindowId};
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use clock::Clock;
pub use doorman::{Caller, Doorman, admit};
pub use handed::{Handed, HandedError};
pub use metrics::{Loopback, NoLoopback};
pub use probe::{ProbeError, probe_frameserver, probe_script};
pub use program::{Program, ProgramError};

use crate::ipc::Unproved;
use crate::ipc::admin::ToHost;
use crate::ipc::frameserver::FromFrameserver;
use crate::ipc::script::{ErrorMode, FromScript, Limits, Permissions};
use child::Did;
use fronts::Front;
use keyroom::KeyRoom;
pub use outbound::{NoReach, Reach, own_extension};
use roll::Roll;
use scripts::Script;
use store::{Store, Then};

/// How a host is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The scripts, each with a process, and a name, of its own: state is kept by it.
    pub programs: Vec<Program>,
    /// The words after `--`, given to every script.
    pub arguments: Vec<String>,
    /// Where the control socket and the scripts' own folders are.
    pub state: PathBuf,
    /// What an uncaught error in a script does.
    pub errors: ErrorMode,
    /// What a script may use up.
    pub limits: Limits,
    /// From an accepted connection to its proof, whatever happens in between.
    pub handshake: Duration,
    /// How many connections of a listener may have proved nothing yet.
    pub unproved: Unproved,
    /// Whether scripts are loaded again when their files change.
    pub watch: bool,
    /// Whether sources that have broken the rules too often are refused for a while.
    pub penalties: bool,
    /// How many proved clients of a listener may wait for the script's decision.
    pub undecided: usize,
    /// How many sessions a listener may have.
    pub sessions: usize,
    /// How long a window is open if nobody says.
    pub window: Duration,
    /// What scripts may connect to.
    pub reach: Vec<Reach>,
    /// What else scripts may ask for.
    pub permissions: Permissions,
    /// Refuse to run a script, and to listen, unless every action that the sandbox denies is denied.
    pub require_sandbox: bool,
    /// How long sessions have to end by themselves when the host is told to end.
    pub drain: Duration,
    /// Where numbers are told to whoever asks on this machine.
    pub metrics: Option<Loopback>,
    /// Sockets that are bound already.
    pub handed: Handed,
}

/// Why a host does not run.
#[derive(Debug, Error)]
pub enum HostError {
    /// What belongs into the state directory could not be made there.
    #[error("cannot make {}: {error}", path.display())]
    State {
        /// What was to be made.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The page with numbers could not be made.
    #[error("cannot tell numbers at {at}: {error}")]
    Metrics {
        /// Where.
        at: Loopback,
        /// What the system says.
        error: io::Error,
    },
    /// A thread or a process could not be started.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        error: io::Error,
    },
}

/// The host's keys: those that answer, and where they, and others, are kept.
#[derive(Debug)]
pub struct Keys {
    /// Where.
    pub kept: HostKeys,
    /// Under which tag those that answer are.
    pub tag: Name,
    /// Those that answer.
    pub ring: Ring<HostKey>,
    /// The one by which connections that scripts make are known to servers.
    pub client: Option<HostKey>,
}

/// Why a key may not come in for a name, if it knows the required secret, beside which this window
/// may be open: for the benchmark of its time.
#[doc(hidden)]
pub fn refusal(
    keystore: &dyn Keystore,
    now: Now,
    name: &Name,
    key: &PublicKey,
    window: Option<WindowId>,
) -> Result<Option<Reason>, StoreError> {
    let secret = Some(way::Use::Required(window));
    Ok(way::find(keystore, now, name, key, secret)?.err())
}

/// Runs the scripts until all of them have ended or a signal says so; returns the exit code.
pub fn run(options: Options, keystore: Box<dyn Keystore>, keys: Keys) -> Result<u8, HostError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| HostError::Io {
            what: "cannot start".into(),
            error,
        })?;
    let code = tokio::task::LocalSet::new().block_on(&runtime, async {
        let (host, events) = Host::start(options, keystore, keys)?;
        host.serve(events).await
    });
    // The threads end with the host's handles; nothing is left to wait for.
    runtime.shutdown_background();
    code
}

/// What the host hears.
enum Event {
    /// A thread has done its work.
    Then(Then<Host>),
    /// A frameserver did something.
    Front(FrontId, Did<FromFrameserver>),
    /// A script process did something.
    Script(ScriptId, scripts::Generation, Did<FromScript>),
    /// An outbound connection has been dialled.
    Dialled(FrontId, io::Result<std::os::fd::OwnedFd>),
    /// An admin asks.
    Admin(Actor, ToHost, control::Reply),
    /// A signal says that it is time to go.
    Stop,
}

/// One of the host's frameservers; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct FrontId(u32);

/// One of the host's scripts, through all restarts of its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct ScriptId(u32);

/// Everything the host knows.
struct Host {
    options: Options,
    store: Store<Self>,
    keyroom: KeyRoom<FrontId, Self>,
    hostkeys: hostkeys::Keeper<Self>,
    events: mpsc::Sender<Event>,
    scripts: BTreeMap<ScriptId, Script>,
    fronts: BTreeMap<FrontId, Front>,
    outbound: BTreeMap<FrontId, outbound::Outbound>,
    sessions: Roll,
    programs: exec::Programs,
    key_wishes: script_keys::Wishes,
    evaluations: evaluations::Evaluations,
    doorman: Doorman,
    /// The store cannot be heard of: nobody is let in.
    blind: bool,
    clock: Clock,
    windows: windows::Windows,
    revocations: Vec<sessions::Revocation>,
    /// Scripts that have ended, and when their clients are cut.
    leaving: Vec<(ScriptId, Instant)>,
    next_front: u32,
    next_session: u64,
    /// How far the end is.
    ending: ending::Ending,
    manager: notify::Manager,
    counts: metrics::Counts,
    /// The highest exit code of the scripts that have ended.
    code: u8,
}

impl Host {
    fn start(
        options: Options,
        keystore: Box<dyn Keystore>,
        keys: Keys,
    ) -> Result<(Self, mpsc::Receiver<Event>), HostError> {
        let (events, heard) = mpsc::channel(EVENTS);
        let deliver = |events: mpsc::Sender<Event>| {
            // Nobody listens only when the host is gone.
            move |then| drop(events.blocking_send(Event::Then(then)))
        };
        let thread = |error| HostError::Io {
            what: "cannot start a thread".into(),
            error,
        };
        let clock = Clock::new();
        let hear = |news| -> Then<Self> { Box::new(move |host| host.hear_store(news)) };
        let store = Store::start(keystore, clock, deliver(events.clone()), hear).map_err(thread)?;
        store.note(Note::Started {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        });
        let keyroom = KeyRoom::start(keys.ring, keys.client, clock, deliver(events.clone()))
            .map_err(thread)?;
        let hostkeys = hostkeys::Keeper::start(keys.kept, keys.tag, clock, deliver(events.clone()))
            .map_err(thread)?;
        let socket = control::socket_path(&options.state);
        control::serve(&socket, events.clone()).map_err(|error| HostError::State {
            path: socket,
            error,
        })?;
        if let Some(at) = options.metrics {
            metrics::serve(at, events.clone()).map_err(|error| HostError::Metrics { at, error })?;
        }
        let mut host = Self {
            options,
            store,
            keyroom,
            hostkeys,
            events,
            scripts: BTreeMap::new(),
            fronts: BTreeMap::new(),
            outbound: BTreeMap::new(),
            sessions: Roll::default(),
            programs: exec::Programs::default(),
            key_wishes: script_keys::Wishes::default(),
            evaluations: evaluations::Evaluations::default(),
            doorman: Doorman::default(),
            blind: false,
            clock,
            windows: windows::Windows::default(),
            revocations: Vec::new(),
            leaving: Vec::new(),
            next_front: 0,
            next_session: 0,
            ending: ending::Ending::default(),
            manager: notify::Manager::from_environment(),
            counts: metrics::Counts::default(),
            code: 0,
        };
        host.read_windows();
        host.start_scripts()?;
        if host.options.watch {
            host.watch_programs()?;
        }
        Ok((host, heard))
    }

    async fn serve(mut self, mut events: mpsc::Receiver<Event>) -> Result<u8, HostError> {
        let signals = self.events.clone();
        let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
        let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
        let terminal = || std::fs::File::open("/dev/tty").is_ok();
        let had_terminal = terminal();
        tokio::task::spawn_local(async move {
            loop {
                let event = tokio::select! {
                    _ = interrupt.recv() => Event::Stop,
                    _ = terminate.recv() => Event::Stop,
                    _ = hangup.recv() => match had_terminal && !terminal() {
                        // It has been closed.
                        true => Event::Stop,
                        false => Event::Then(Box::new(Self::reload_all)),
                    },
                };
                if signals.send(event).await.is_err() {
                    return;
                }
            }
        });
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        while !self.is_done() {
            tokio::select! {
                Some(event) = events.recv() => self.hear(event),
                _ = tick.tick() => self.tick(),
                () = reached(self.next_expiry()) => self.expire(),
            }
            self.go_on_ending();
            self.tell_of_reloads();
        }
        Ok(self.code)
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Then(then) => then(self),
            Event::Front(front, did) if self.outbound.contains_key(&front) => {
                self.outbound_did(front, did);
            }
            Event::Front(front, did) => self.front_did(front, did),
            Event::Dialled(front, made) => self.dialled(front, made),
            Event::Script(script, generation, did) => self.script_did(script, generation, did),
            Event::Admin(by, request, reply) => self.admin(by, request, reply),
            Event::Stop => self.signalled(),
        }
    }

    /// What has to be looked at now and then.
    fn tick(&mut self) {
        self.watch_windows();
        self.overdue_revocations();
        self.sum_refusals();
        self.cut_leaving();
        self.overdue_reloads();
        self.cancel_unheard();
        self.tell_manager();
    }

    /// All scripts have ended, the frameservers have closed their peers' connections, and programs
    /// have ended with these.
    fn is_done(&self) -> bool {
        self.scripts.is_empty()
            && self.fronts.is_empty()
            && self.outbound.is_empty()
            && self.programs.is_empty()
    }
}

/// Waits for a moment, if there is one.
async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

fn no_signals(error: io::Error) -> HostError {
    HostError::Io {
        what: "cannot wait for signals".into(),
        error,
    }
}

/// Reports that may pile up before children are made to wait.
const EVENTS: usize = 1024;

/// How often windows are looked at for having expired.
const TICK: Duration = Duration::from_millis(200);
