//! The server's end.
//!
//! ```text
//! Greeting ──CURVE──► Hello ──the key room: WELCOME──► Initiate ──the key room: session──┐
//!    ├──NULL────────────────────────────────► Ready ─────the host: keyless───────────────┤
//!    └──PLAIN──► PlainHello ──WELCOME──► PlainInitiate ──the host: keyless───────────────┤
//!                                                                                     Admitted
//!                                                                      accepted: READY goes out
//!                                                                                      Open
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::frame::{Frames, write_command};
use super::greeting::{self, Dialect, Greeting, Mechanism};
use super::handshake::{
    CLIENT_NONCE, HELLO, INITIATE, INITIATE_NONCE, Initiate, LONGEST_INITIATE, LONGEST_READY,
    READY, READY_NONCE, SERVER_NONCE, SHORTEST_INITIATE, Vouched, WELCOME, content, nonce,
};
use super::line::Line;
use super::metadata::{METADATA, Metadata, write_property};
use super::peer::{Command, Event, Outbox};
use super::session::Session;
use super::socket::Socket;
use super::{Answer, Ask};
use crate::wire::nacl::BoxKey;
use crate::wire::{Error, Field, Input, Output, Protocol, Refusal, Violation, Whole};

/// How a listener treats its peers.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Our socket.
    pub socket: Arc<Socket>,
    /// Whether peers without a key are let in, too, by the mechanisms NULL and PLAIN. The host is
    /// asked about each; nothing that such a peer says of itself is proved.
    pub keyless: bool,
    /// From the connection to the proof, whatever happens in between.
    pub handshake: Duration,
}

impl ListenerConfig {
    /// A listener that lets in who has a key, within 10 seconds.
    pub fn new(socket: Socket) -> Self {
        Self {
            socket: Arc::new(socket),
            keyless: false,
            handshake: Duration::from_secs(10),
        }
    }
}

/// The server's end: it waits for a client and admits who proves a key.
///
/// Until the key room has verified the proof it holds no session key and at most one command of the
/// peer; until [`Command::Accept`] nothing goes out that a session key would be needed for.
pub struct Listener {
    config: Arc<ListenerConfig>,
    deadline: Instant,
    outbox: Outbox,
    state: State,
}

impl Listener {
    /// A connection has been accepted.
    pub fn new(config: Arc<ListenerConfig>, now: Instant) -> Self {
        let mut outbox = Outbox::default();
        // The mechanism follows the peer's where there is more than one.
        let ours = Greeting::write(Mechanism::Curve, config.socket.identity.len());
        let length = match config.keyless {
            true => greeting::OPENING,
            false => greeting::GREETING,
        };
        outbox.bytes.extend(ours.iter().take(length));
        Self {
            deadline: now + config.handshake,
            config,
            outbox,
            state: State::Greeting(greeting::Inbox::new()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Open(session) => session.deadline(),
            State::Admitted(_) | State::Ended | State::Failed(_) => None,
            _ => Some(self.deadline),
        }
    }

    fn step(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        // In place: this is where a connection spends its life.
        if let State::Open(session) = &mut self.state {
            let goes_on = session.handle(now, input, &mut self.outbox);
            if !goes_on.map_err(Error::Proto)? {
                self.state = State::Ended;
            }
            return Ok(());
        }
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(Error::Proto(Violation::Deadline));
        }
        let state = std::mem::replace(&mut self.state, State::Ended);
        self.state = state.next(now, input, &self.config, &mut self.outbox)?;
        Ok(())
    }
}

impl Protocol for Listener {
    type Ask = Ask;
    type Answer = Answer;
    type Command = Command;
    type Event = Event;

    fn room(&self) -> usize {
        if self.outbox.is_full() {
            return 0;
        }
        match &self.state {
            State::Greeting(inbox) => inbox.room(),
            State::Awaiting(awaiting) => awaiting.frames.missing(awaiting.next.shortest()),
            State::Open(session) => session.room(),
            State::Asking(_) | State::Admitted(_) | State::Ended | State::Failed(_) => 0,
        }
    }

    fn handle(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        if let State::Failed(error) = self.state {
            return Err(error);
        }
        self.step(now, input).inspect_err(|&error| {
            self.outbox.fail();
            self.state = State::Failed(error);
        })
    }

    fn poll(&mut self, out: &mut Vec<u8>) -> Output<Ask, Event> {
        let deadline = self.deadline();
        self.outbox.poll(out, deadline)
    }

    /// A peer that is refused is told so, or libzmq would come again at once, and for ever. One that
    /// breaks the protocol is told nothing.
    fn farewell(&self) -> &'static [u8] {
        match self.state {
            State::Admitted(_) | State::Failed(Error::Access(_)) => REFUSED,
            _ => &[],
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("state", &self.state.name())
            .finish_non_exhaustive()
    }
}

enum State {
    Greeting(greeting::Inbox),
    /// A command of the handshake is to come.
    Awaiting(Awaiting),
    /// The key room is to say what to do.
    Asking(Asking),
    /// The proof was good; the script is to say whether it wants this peer.
    Admitted(Admitted),
    Open(Box<Session>),
    /// It is over, and nothing was wrong with that.
    Ended,
    Failed(Error),
}

/// Which command is to come.
enum Next {
    Hello,
    Initiate,
    PlainHello,
    PlainInitiate { user: Vec<u8> },
    Ready,
}

struct Awaiting {
    next: Next,
    dialect: Dialect,
    frames: Frames,
}

/// What the key room was asked.
enum Asked {
    Welcome,
    Session { initiate: Vec<u8> },
    Keyless { metadata: Vec<u8> },
}

struct Asking {
    asked: Asked,
    dialect: Dialect,
}

/// How what follows is sealed.
enum Sealing {
    Curve {
        key: BoxKey,
        /// The number of the client's INITIATE.
        received: u64,
    },
    Clear,
}

struct Admitted {
    sealing: Sealing,
    dialect: Dialect,
}

impl State {
    fn next(
        self,
        now: Instant,
        input: Input<'_, Answer, Command>,
        config: &ListenerConfig,
        out: &mut Outbox,
    ) -> Result<Self, Error> {
        match (self, input) {
            (state, Input::Timeout | Input::Bytes([])) => Ok(state),
            (Self::Greeting(inbox), Input::Bytes(bytes)) => {
                greeted(inbox, bytes, config, out).map_err(Error::Proto)
            }
            (Self::Awaiting(awaiting), Input::Bytes(bytes)) => {
                awaiting.read(bytes, out).map_err(Error::Proto)
            }
            (Self::Asking(asking), Input::Answer(answer)) => asking.answer(answer, config, out),
            (Self::Admitted(admitted), Input::Command(Command::Accept)) => {
                admitted.open(now, config, out).map_err(Error::Proto)
            }
            (Self::Admitted(_), Input::Command(Command::Close)) => {
                Err(Error::Access(Refusal::TurnedAway))
            }
            (Self::Greeting(inbox), Input::Eof) if inbox.is_empty() => Ok(Self::Ended),
            (Self::Greeting(_) | Self::Awaiting(_), Input::Eof) => {
                Err(Error::Proto(Violation::Truncated))
            }
            (Self::Asking(_) | Self::Admitted(_) | Self::Ended, Input::Eof) => Ok(Self::Ended),
            (Self::Ended, Input::Answer(_) | Input::Command(_)) => Ok(Self::Ended),
            (_, Input::Command(Command::Close)) => Ok(Self::Ended),
            (_, Input::Bytes(_) | Input::Answer(_) | Input::Command(_) | Input::Eof) => {
                Err(Error::Proto(Violation::OutOfTurn))
            }
        }
    }

    fn await_next(next: Next, dialect: Dialect) -> Self {
        Self::Awaiting(Awaiting {
            next,
            dialect,
            frames: Frames::new(),
        })
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Greeting(_) => "greeting",
            Self::Awaiting(awaiting) => match awaiting.next {
                Next::Hello => "hello",
                Next::Initiate => "initiate",
                Next::PlainHello => "plain hello",
                Next::PlainInitiate { .. } => "plain initiate",
                Next::Ready => "ready",
            },
            Self::Asking(_) => "asking",
            Self::Admitted(_) => "admitted",
            Self::Open(_) => "open",
            Self::Ended => "ended",
            Self::Failed(_) => "failed",
        }
    }
}

/// Bytes of a greeting came in.
fn greeted(
    mut inbox: greeting::Inbox,
    mut bytes: &[u8],
    config: &ListenerConfig,
    out: &mut Outbox,
) -> Result<State, Violation> {
    let before = inbox.mechanism();
    inbox.take(&mut bytes)?;
    let mechanism = inbox.mechanism();
    if mechanism.is_some_and(|mechanism| mechanism != Mechanism::Curve && !config.keyless) {
        return Err(Violation::Mechanism);
    }
    if let (None, Some(mechanism), true) = (before, mechanism, config.keyless) {
        let ours = Greeting::write(mechanism, config.socket.identity.len());
        out.bytes.extend(ours.iter().skip(greeting::OPENING));
    }
    let Some(Greeting { dialect, mechanism }) = inbox.greeting() else {
        return Ok(State::Greeting(inbox));
    };
    if !bytes.is_empty() {
        return Err(Violation::OutOfTurn);
    }
    let next = match mechanism {
        Mechanism::Curve => Next::Hello,
        Mechanism::Plain => Next::PlainHello,
        Mechanism::Null => Next::Ready,
    };
    Ok(State::await_next(next, dialect))
}

impl Next {
    /// The bytes of its shortest frame. What is shorter is wrong, so it does not matter if something
    /// was read that does not belong to it any more.
    fn shortest(&self) -> usize {
        match self {
            Self::Hello => 2 + 200,
            Self::Initiate => 9 + SHORTEST_INITIATE,
            Self::PlainHello => 2 + HELLO.len() + 2,
            Self::PlainInitiate { .. } => 2 + INITIATE.len(),
            Self::Ready => 2 + READY.len(),
        }
    }

    /// The bytes of its longest body.
    fn longest(&self) -> usize {
        match self {
            Self::Hello => 200,
            Self::Initiate => LONGEST_INITIATE,
            Self::PlainHello => HELLO.len() + 2 * 256,
            // There has to be room for the user name.
            Self::PlainInitiate { .. } => INITIATE.len() + METADATA - 512,
            Self::Ready => LONGEST_READY,
        }
    }

    fn field(&self) -> Field {
        match self {
            Self::Hello | Self::PlainHello => Field::Hello,
            Self::Initiate | Self::PlainInitiate { .. } => Field::Initiate,
            Self::Ready => Field::Ready,
        }
    }
}

impl Awaiting {
    /// Flags of frames are not looked at, as libzmq does not either.
    fn read(mut self, mut bytes: &[u8], out: &mut Outbox) -> Result<State, Violation> {
        let malformed = Violation::Malformed(self.next.field());
        let frame = self.frames.take(&mut bytes, self.next.longest());
        let Some(frame) = frame.map_err(|_| malformed)? else {
            return Ok(State::Awaiting(self));
        };
        let (body, dialect) = (frame.body, self.dialect);
        let (asked, ask) = match self.next {
            Next::Hello => {
                content(&body, HELLO)?;
                let hello = body.try_into().map_err(|_| malformed)?;
                (Asked::Welcome, Ask::Hello(Box::new(Whole(hello))))
            }
            Next::Initiate => {
                Initiate::parse(&body)?;
                let ask = Ask::Initiate(body.clone());
                (Asked::Session { initiate: body }, ask)
            }
            Next::PlainHello => {
                // There is a password in it.
                let body = Zeroizing::new(body);
                let user = plain_user(content(&body, HELLO)?).ok_or(malformed)?;
                write_command(WELCOME, b"", &mut out.bytes);
                let next = Next::PlainInitiate {
                    user: user.to_vec(),
                };
                return match bytes {
                    [] => Ok(State::await_next(next, dialect)),
                    _ => Err(Violation::OutOfTurn),
                };
            }
            Next::PlainInitiate { user } => {
                let mut metadata = content(&body, INITIATE)?.to_vec();
                Metadata::parse(&metadata)?;
                write_property(USER_NAME, &user, &mut metadata);
                keyless(metadata)
            }
            Next::Ready => {
                let metadata = content(&body, READY)?;
                Metadata::parse(metadata)?;
                keyless(metadata.to_vec())
            }
        };
        if !bytes.is_empty() {
            return Err(Violation::OutOfTurn);
        }
        out.ask(ask);
        Ok(State::Asking(Asking { asked, dialect }))
    }
}

fn keyless(metadata: Vec<u8>) -> (Asked, Ask) {
    let ask = Ask::Keyless(metadata.clone());
    (Asked::Keyless { metadata }, ask)
}

/// The user name of a HELLO of PLAIN (RFC 24): name and password, each with 1 byte of length.
fn plain_user(content: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = content.split_first()?;
    let (user, rest) = rest.split_at_checked(length.into())?;
    let (&length, password) = rest.split_first()?;
    (password.len() == usize::from(length)).then_some(user)
}

impl Asking {
    fn answer(
        self,
        answer: Answer,
        config: &ListenerConfig,
        out: &mut Outbox,
    ) -> Result<State, Error> {
        let dialect = self.dialect;
        match (self.asked, answer) {
            (Asked::Welcome, Answer::Welcome(welcome)) => {
                write_command(&welcome.0, b"", &mut out.bytes);
                Ok(State::await_next(Next::Initiate, dialect))
            }
            (Asked::Session { initiate }, Answer::Session(key)) => {
                opened(&initiate, key).and_then(|(metadata, sealing)| {
                    admit(metadata, Admitted { sealing, dialect }, config, out)
                })
            }
            (Asked::Keyless { metadata }, Answer::Keyless) => {
                let sealing = Sealing::Clear;
                Metadata::parse(&metadata).and_then(|metadata| {
                    admit(metadata, Admitted { sealing, dialect }, config, out)
                })
            }
            (_, Answer::Refused(Refusal::Broken(violation))) => Err(violation),
            (_, Answer::Refused(refusal)) => return Err(Error::Access(refusal)),
            _ => Err(Violation::OutOfTurn),
        }
        .map_err(Error::Proto)
    }
}

/// What the client tells of itself in its INITIATE, which the key room has verified.
fn opened(initiate: &[u8], key: BoxKey) -> Result<(Metadata, Sealing), Violation> {
    let initiate = Initiate::parse(initiate)?;
    let text = key
        .open(&nonce(INITIATE_NONCE, &initiate.number), initiate.boxed)
        .map_err(|_| Violation::Forged)?;
    let vouched = Vouched::parse(&text).ok_or(Violation::Forged)?;
    let metadata = Metadata::parse(vouched.metadata)?;
    let received = u64::from_be_bytes(initiate.number);
    Ok((metadata, Sealing::Curve { key, received }))
}

fn admit(
    metadata: Metadata,
    admitted: Admitted,
    config: &ListenerConfig,
    out: &mut Outbox,
) -> Result<State, Violation> {
    if !config.socket.takes(&metadata) {
        return Err(Violation::SocketType);
    }
    out.event(Event::Ready(metadata));
    Ok(State::Admitted(admitted))
}

impl Admitted {
    fn open(
        self,
        now: Instant,
        config: &ListenerConfig,
        out: &mut Outbox,
    ) -> Result<State, Violation> {
        let metadata = config.socket.metadata();
        let line = match self.sealing {
            Sealing::Curve { key, received } => {
                let number = FIRST.to_be_bytes();
                let mut ready = number.to_vec();
                key.seal(&nonce(READY_NONCE, &number), &metadata, &mut ready);
                write_command(READY, &ready, &mut out.bytes);
                Line::curve(&key, (CLIENT_NONCE, received), (SERVER_NONCE, FIRST))
            }
            Sealing::Clear => {
                write_command(READY, &metadata, &mut out.bytes);
                Line::Clear
            }
        };
        let socket = Arc::clone(&config.socket);
        let session = Session::new(socket, self.dialect, line, now, out)?;
        Ok(State::Open(Box::new(session)))
    }
}

/// The number of our READY.
const FIRST: u64 = 1;

/// The property that a user name claimed by PLAIN becomes.
const USER_NAME: &[u8] = b"Username";

/// ERROR, with the status that libzmq takes as final.
const REFUSED: &[u8] = b"\x04\x0a\x05ERROR\x03400";

// What an unproved peer makes us hold, apart from one command of a few kB: it does not depend on
// what the peer sends.
const _: () = assert!(size_of::<Listener>() <= 512);
