//! Host and script.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use identity::{Name, PublicKey, Secret};
use serde::{Deserialize, Serialize};

use super::{
    Asked, Carries, ConnectOptions, Denied, EvaluationId, Exec, ListenerId, Options, Outcome, Said,
    Scheme, SessionId,
};
use crate::wire::zmtp;

/// What the host says to a script process.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToScript {
    /// The first message: what to run.
    Run(Run),
    /// The first message to a process that is to take another one's place: load this, and wait.
    Prepare(Run),
    /// To the process that has that place: stop, and answer with [`FromScript::Yielded`].
    Yield(u32),
    /// Go on after [`ToScript::Yield`]: nobody takes your place.
    Resume,
    /// A piece of what the one before had in `moonport.state`.
    State(#[serde(with = "serde_bytes")] Vec<u8>),
    /// The state is complete: take it, and answer with [`FromScript::Ready`].
    TakeOver,
    /// After [`ToScript::Yield`]: the new one is ready. Hand over what is left, and say
    /// [`FromScript::Left`].
    Leave,
    /// You are the one now.
    Begin,
    /// The listener is up. Its descriptor: the data link.
    Listening {
        /// Which one.
        listener: ListenerId,
        /// The addresses it listens on.
        addresses: Vec<SocketAddr>,
    },
    /// To a new process of a script whose old one died: sessions live on. The descriptor: a data
    /// link on which they are announced.
    Adopt {
        /// A number for the link, counted down from the highest: it has no listener any more.
        listener: ListenerId,
        /// Those that the host knows of; others are not to be believed.
        survivors: Vec<Peer>,
    },
    /// The listener has ended or could not be made; nothing follows for it.
    Ended {
        /// Which one.
        listener: ListenerId,
        /// At most 31 bytes.
        last_words: String,
    },
    /// A peer has proved its key: decide with [`FromScript::Decide`].
    Request(Request),
    /// A connection is gone, or was not made; it is tried again.
    Disconnected {
        /// Which one.
        connection: ListenerId,
        /// Why.
        why: String,
        /// After how long.
        retry: Duration,
    },
    /// Something went wrong on the listener that does not end it, rate-limited.
    Failure {
        /// Which one.
        listener: ListenerId,
        /// What.
        message: String,
    },
    /// A window of the listener's name has changed.
    Window {
        /// Which listener.
        listener: ListenerId,
        /// What happened.
        event: WindowEvent,
        /// How many keys it still admits.
        left: u32,
        /// Its number.
        window: u64,
        /// What it is called.
        label: Option<String>,
    },
    /// The windows of the listener's name, as they are now; told before the events that made them
    /// so.
    Windows {
        /// Which listener.
        listener: ListenerId,
        /// All of them, in the order in which they were opened.
        windows: Vec<WindowStatus>,
    },
    /// What became of [`FromScript::Keys`]; more of a list follows, or nothing.
    Keys {
        /// The script's number for what it asked.
        call: u32,
        /// The next of the keys that were asked for, or why it was not done.
        answer: Result<Vec<KeyStatus>, String>,
        /// Another part follows.
        more: bool,
    },
    /// End: run the shutdown entry point, then exit.
    Stop,
    /// Evaluate something, and answer with [`FromScript::Evaluated`] when that is done.
    Evaluate {
        /// The host's number for it.
        evaluation: EvaluationId,
        /// What.
        asked: Asked,
    },
    /// Nobody waits for this any more: answer at once.
    Cancel(EvaluationId),
}

/// Who a client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Which session it has.
    pub session: SessionId,
    /// The name for which it was let in.
    pub name: Name,
    /// Its key, proved; `None`: it has none.
    pub key: Option<PublicKey>,
    /// Where it comes from.
    pub endpoint: SocketAddr,
}

/// What to run, and with what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// The script: the file, or `NAME/NAME.lua` of an appl directory.
    pub program: std::path::PathBuf,
    /// The appl's name, the prefix of its entry points.
    pub appl: String,
    /// Whether it is an appl directory, whose entry point `NAME` must exist.
    pub directory: bool,
    /// The words after `--`.
    pub arguments: Vec<String>,
    /// Where its state is kept; made by the host.
    pub state: std::path::PathBuf,
    /// Where its temporary files go; made by the host.
    pub temporary: std::path::PathBuf,
    /// What an uncaught error does.
    pub errors: ErrorMode,
    /// What it may use up.
    pub limits: Limits,
    /// Refuse to run it unless every action that the sandbox denies is denied.
    pub require_sandbox: bool,
    /// What it may ask of the host beyond what every script may.
    pub permissions: Permissions,
}

/// What scripts may ask of the host because whoever runs it allows that; usually nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Permissions {
    /// The programs that may be started, by their absolute paths.
    pub programs: Vec<std::path::PathBuf>,
    /// The names whose keys may be administered.
    pub keys: Names,
}

/// Some names, or all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// Those that there are, and those that there will be.
    pub all: bool,
    /// These.
    pub some: Vec<Name>,
}

impl Names {
    /// Whether this is one of them.
    pub fn have(&self, name: &Name) -> bool {
        self.all || self.some.contains(name)
    }
}

/// What a script may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// A callback that takes longer is reported.
    pub warn: Duration,
    /// A callback that takes longer is stopped.
    pub stop: Duration,
    /// Bytes of Lua memory.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            warn: Duration::from_millis(50),
            stop: Duration::from_secs(2),
            memory: 256 << 20,
        }
    }
}

/// What an uncaught error in a script does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ErrorMode {
    /// It ends what it happened in: that segment, that request, nothing for a clock pulse.
    #[default]
    Isolate,
    /// As in Arcan: it ends the program, and some errors cannot be caught.
    Classic,
    /// It ends the program; so does an unknown upper-case global.
    Strict,
}

/// A proved peer that the script may take or turn away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// On which listener.
    pub listener: ListenerId,
    /// The session it will be.
    pub session: SessionId,
    /// Who it is; `None`: it has no key, and the listener takes such.
    pub key: Option<PublicKey>,
    /// The names its key is accepted for, comma-separated.
    pub tags: String,
    /// Where it comes from.
    pub endpoint: SocketAddr,
    /// Whether its key came in by a window just now.
    pub new: bool,
    /// What goes over its segment.
    pub carries: Carries,
    /// Its key is not known, and the listener takes such.
    pub anonymous: bool,
    /// What it speaks.
    pub scheme: Scheme,
    /// What a peer of ZeroMQ's tells of itself.
    pub zmtp: Option<Box<zmtp::Metadata>>,
}

/// What happened to a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowEvent {
    /// It is open.
    Opened,
    /// An earlier one with the same secret goes on.
    Resumed,
    /// It let a key in.
    Enrolled,
    /// It has let in as many as it may.
    Spent,
    /// Its time is over.
    Expired,
    /// Somebody closed it.
    Closed,
    /// Too many guesses at its secret.
    Guessed,
    /// It could not be opened or closed as the script asked.
    Failed,
}

/// A window of a listener's name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowStatus {
    /// Its number.
    pub window: u64,
    /// What it is called.
    pub label: Option<String>,
    /// How many keys it still admits.
    pub left: u32,
    /// How many it has let in.
    pub enrolled: u32,
    /// It has not ended.
    pub open: bool,
    /// When its time is over, wall clock, ms since 1970.
    pub ends_ms: u64,
}

/// A key of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// The key.
    pub key: PublicKey,
    /// What people call it.
    pub label: Option<String>,
    /// `accepted`, `disabled`, `revoked` or `banned`.
    pub standing: String,
    /// From when on it is not accepted any more, wall clock, ms since 1970.
    pub expires_ms: Option<u64>,
    /// It is accepted for other names, too.
    pub elsewhere: bool,
}

/// How many [`KeyWish`]es of a script may wait for their answers.
pub const MOST_WISHES: usize = 64;

/// What a script wants of the keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyWish {
    /// Those that are accepted for a name, also if they are disabled or have expired.
    List(Name),
    /// Accept a key for a name.
    Accept {
        /// Whose.
        key: PublicKey,
        /// Where.
        name: Name,
        /// What to call it; `None` leaves an earlier label.
        label: Option<String>,
    },
    /// Accept a key no longer.
    Revoke {
        /// Which.
        key: PublicKey,
        /// For this name alone; `None`: nowhere.
        name: Option<Name>,
    },
    /// Let a key in never again.
    Ban {
        /// Which.
        key: PublicKey,
    },
    /// Accept a key until then.
    Expire {
        /// Which.
        key: PublicKey,
        /// Wall clock, ms since 1970; `None`: for ever.
        at_ms: Option<u64>,
    },
    /// Call a key something.
    Label {
        /// Which.
        key: PublicKey,
        /// What; `None`: nothing.
        label: Option<String>,
    },
}

/// What a script process says to the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum FromScript {
    /// Start a program for a client that the script has taken, or takes.
    Exec(Exec),
    /// End the program of a client, whom the script lets go.
    EndProgram(SessionId),
    /// Look keys up or change them, and answer with [`ToScript::Keys`].
    Keys {
        /// The script's number for it.
        call: u32,
        /// What is wanted.
        wish: KeyWish,
    },
    /// Make a listener.
    Listen(Listen),
    /// Make a connection, and make it again when it breaks.
    Connect(Connect),
    /// The listener's secret, or a window beside it.
    Secret(Wanted),
    /// Open a window for the listener's name.
    OpenWindow(NewWindow),
    /// Close a window of the listener's name.
    CloseWindow {
        /// Which listener.
        listener: ListenerId,
        /// The window's number.
        window: u64,
    },
    /// Take the peer, or turn it away.
    Decide {
        /// Which one.
        session: SessionId,
        /// Take it.
        accept: bool,
    },
    /// Close the listening socket; sessions stay. Or make this connection no more.
    Unlisten(ListenerId),
    /// It is locked down and about to load the script; says what the sandbox denies, and by which
    /// layer.
    Confined(Vec<Denied>),
    /// Something its author should know.
    Report(Report),
    /// The program has been loaded and its entry point has returned.
    Started,
    /// A piece of what is in `moonport.state`.
    State(#[serde(with = "serde_bytes")] Vec<u8>),
    /// To [`ToScript::Yield`] with this number: nothing runs, and the state has been told. Or why it
    /// cannot be; then it goes on.
    Yielded(u32, Result<(), String>),
    /// To [`ToScript::TakeOver`]: it is ready to be the one.
    Ready,
    /// This has come and was not dispatched.
    Back(Box<ToScript>),
    /// To [`ToScript::Leave`]: all has been handed over.
    Left,
    /// The script is done.
    Exit {
        /// The exit code wished for.
        code: u8,
        /// Clients are not told.
        silent: bool,
        /// Said on the way out, may be empty.
        message: String,
    },
    /// Something is said during an evaluation.
    Said(EvaluationId, Said),
    /// An evaluation has ended.
    Evaluated(EvaluationId, Outcome),
}

/// Something that the author of a script should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How bad it is.
    pub severity: Severity,
    /// What was wrong, with `file:line` before it where that is known.
    pub message: String,
    /// What ran when it happened.
    pub within: Option<String>,
    /// What follows from it.
    pub follows: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The calls that were under way, innermost first.
    pub traceback: Option<String>,
}

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Severity {
    /// It goes on.
    Warning,
    /// The same, and it took long.
    Slow,
    /// Something did not happen.
    Error,
    /// The same, since it took too long.
    Stopped,
}

impl Severity {
    /// Whether something did not happen.
    pub fn is_error(self) -> bool {
        matches!(self, Self::Error | Self::Stopped)
    }
}

impl Report {
    /// A report with nothing but its message.
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            within: None,
            follows: None,
            hint: None,
            traceback: None,
        }
    }

    /// What is known beyond the message, by name, in the order in which people want it.
    pub fn details(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("in", &self.within),
            ("so", &self.follows),
            ("hint", &self.hint),
            ("traceback", &self.traceback),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text.as_deref()?)))
    }
}

/// Several lines; all but the first are indented.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning | Severity::Slow => "warning",
            Severity::Error | Severity::Stopped => "error",
        };
        write!(f, "{severity}: {}", self.message.replace('\n', "\n  "))?;
        for (name, text) in self.details() {
            write!(f, "\n  {name}: {}", text.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

/// What to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// The script's number for it.
    pub listener: ListenerId,
    /// The scope in which keys are accepted.
    pub name: Name,
    /// `[scheme://](v4 | v6 | [v6] | ifname | "")`, as the script wrote it.
    pub interface: String,
    /// 0: the protocol's own.
    pub port: u16,
    /// What it wants of the protocol.
    pub options: Options,
    /// Where the script asked for it, for messages: `file:line`.
    pub place: String,
}

/// What to connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The script's number for it; no listener has it.
    pub connection: ListenerId,
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The server's key.
    pub server: PublicKey,
    /// What it speaks, and how.
    pub options: ConnectOptions,
    /// Where the script asked for it, for messages: `file:line`.
    pub place: String,
}

/// A secret that a script wants on a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// On which one.
    pub listener: ListenerId,
    /// The secret.
    pub secret: Secret,
    /// Required of everybody, in place of the one before (`num:secret`); otherwise it is for
    /// unknown keys only, and those that are known go on using the required one.
    pub required: bool,
    /// How many unknown keys it lets in; 0: none.
    pub count: u32,
    /// Seconds in which it does; `None`: the default.
    pub seconds: Option<u64>,
}

/// A window that a script opens beside the secrets that its listener takes already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewWindow {
    /// For whose name.
    pub listener: ListenerId,
    /// Its number, which the script has chosen at random; one that is taken is refused.
    pub window: u64,
    /// Its secret.
    pub secret: Secret,
    /// Whether a person made the secret up, so that guesses are counted.
    pub human: bool,
    /// Nobody has to know the secret: for protocols whose clients have no field for one.
    pub without_secret: bool,
    /// How many unknown keys it lets in.
    pub count: u32,
    /// Seconds in which it does; `None`: the default.
    pub seconds: Option<u64>,
    /// What to call it.
    pub label: Option<String>,
}
