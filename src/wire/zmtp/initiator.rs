//! The client's end.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::PublicKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::frame::{Frames, write_command};
use super::greeting::{self, Dialect, Greeting, Mechanism};
use super::handshake::{
    CLIENT_NONCE, ERROR, HELLO_NONCE, Hello, INITIATE, INITIATE_NONCE, LONGEST_READY, READY,
    READY_NONCE, SERVER_NONCE, SHORTEST_READY, WELCOME_NONCE, Welcome, content, nonce, public_key,
    sized,
};
use super::line::Line;
use super::metadata::Metadata;
use super::peer::{Command, Event, Outbox};
use super::session::Session;
use super::socket::Socket;
use super::{Answer, Ask};
use crate::wire::cookie::COOKIE;
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;
use crate::wire::{Error, Field, Input, Output, Protocol, Refusal, Violation, Whole};

/// How an initiator goes about it.
#[derive(Debug, Clone)]
pub struct InitiatorConfig {
    /// The server's long-term key (S).
    pub server: PublicKey,
    /// Our socket.
    pub socket: Arc<Socket>,
    /// From the connection to READY.
    pub handshake: Duration,
}

/// The client's end.
///
/// How it fails says whether to come again. [`Error::Access`]: the server has refused us, and will
/// again. [`Error::Proto`]: one side is wrong, and will be again; but with [`Violation::Deadline`] or
/// [`Violation::Silent`] the server, or the way to it, may be better later. The end of the stream
/// is no failure, whenever it comes: the server may have been restarted.
pub struct Initiator {
    config: InitiatorConfig,
    deadline: Instant,
    outbox: Outbox,
    state: State,
}

impl Initiator {
    /// The connection has been made.
    pub fn new<R: CryptoRng>(config: InitiatorConfig, now: Instant, rng: &mut R) -> Self {
        let mut outbox = Outbox::default();
        let ours = Greeting::write(Mechanism::Curve, config.socket.identity.len());
        outbox.bytes.extend_from_slice(&ours);
        let short = SecretKey::generate(rng);
        let state = match short.public() {
            Some(public) => State::Greeting(
                greeting::Inbox::new(),
                Short {
                    secret: short,
                    public,
                },
            ),
            None => State::Failed(Error::Proto(Violation::Key)),
        };
        Self {
            deadline: now + config.handshake,
            config,
            outbox,
            state,
        }
    }

    /// Whether a message may be sent now: the connection is ready, it is our turn (REQ and REP take
    /// turns), and the server wants any (PUB and XPUB: it has subscribed to something).
    pub fn may_send(&self) -> bool {
        matches!(&self.state, State::Open(session) if session.may_send())
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Open(session) => session.deadline(),
            State::Ended | State::Failed(_) => None,
            _ => Some(self.deadline),
        }
    }

    fn step(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        if let State::Open(session) = &mut self.state {
            let goes_on = match input {
                // A server that goes may leave half a message: no more than a lost one.
                Input::Eof => Ok(false),
                input => session.handle(now, input, &mut self.outbox),
            };
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

impl Protocol for Initiator {
    type Ask = Ask;
    type Answer = Answer;
    type Command = Command;
    type Event = Event;

    fn room(&self) -> usize {
        if self.outbox.is_full() {
            return 0;
        }
        match &self.state {
            State::Greeting(inbox, _) => inbox.room(),
            State::Greeted(greeted) => greeted.frames.missing(2 + 168),
            State::Vouched(vouched) => vouched.frames.missing(2 + SHORTEST_READY),
            State::Open(session) => session.room(),
            State::Asking(_) | State::Ended | State::Failed(_) => 0,
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
}

impl fmt::Debug for Initiator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator")
            .field("state", &self.state.name())
            .finish_non_exhaustive()
    }
}

enum State {
    Greeting(greeting::Inbox, Short),
    /// HELLO has gone out.
    Greeted(Greeted),
    /// WELCOME is there, and the key room is to vouch for us.
    Asking(Box<Asking>),
    /// INITIATE has gone out.
    Vouched(Vouched),
    Open(Box<Session>),
    Ended,
    Failed(Error),
}

/// Our short-term key (c′ and C′).
struct Short {
    secret: SecretKey,
    public: PublicKey,
}

struct Greeted {
    dialect: Dialect,
    short: Short,
    /// Of the boxes between C′ and S.
    key: BoxKey,
    frames: Frames,
}

struct Asking {
    dialect: Dialect,
    /// Of the boxes between C′ and S′.
    key: BoxKey,
    cookie: [u8; COOKIE],
}

struct Vouched {
    dialect: Dialect,
    key: BoxKey,
    frames: Frames,
}

impl State {
    fn next(
        self,
        now: Instant,
        input: Input<'_, Answer, Command>,
        config: &InitiatorConfig,
        out: &mut Outbox,
    ) -> Result<Self, Error> {
        match (self, input) {
            (_, Input::Eof | Input::Command(Command::Close)) => Ok(Self::Ended),
            (state, Input::Timeout | Input::Bytes([])) => Ok(state),
            (Self::Greeting(inbox, short), Input::Bytes(bytes)) => short
                .greeted(inbox, bytes, config, out)
                .map_err(Error::Proto),
            (Self::Greeted(greeted), Input::Bytes(bytes)) => greeted.read(bytes, out),
            (Self::Asking(asking), Input::Answer(answer)) => asking.answer(answer, config, out),
            (Self::Vouched(vouched), Input::Bytes(bytes)) => vouched.read(now, bytes, config, out),
            (Self::Ended, Input::Answer(_) | Input::Command(_)) => Ok(Self::Ended),
            (_, Input::Bytes(_) | Input::Answer(_) | Input::Command(_)) => {
                Err(Error::Proto(Violation::OutOfTurn))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Greeting(..) => "greeting",
            Self::Greeted(_) => "greeted",
            Self::Asking(_) => "asking",
            Self::Vouched(_) => "vouched",
            Self::Open(_) => "open",
            Self::Ended => "ended",
            Self::Failed(_) => "failed",
        }
    }
}

impl Short {
    fn greeted(
        self,
        mut inbox: greeting::Inbox,
        mut bytes: &[u8],
        config: &InitiatorConfig,
        out: &mut Outbox,
    ) -> Result<State, Violation> {
        inbox.take(&mut bytes)?;
        if inbox
            .mechanism()
            .is_some_and(|other| other != Mechanism::Curve)
        {
            return Err(Violation::Mechanism);
        }
        let Some(Greeting { dialect, .. }) = inbox.greeting() else {
            return Ok(State::Greeting(inbox, self));
        };
        if !bytes.is_empty() {
            return Err(Violation::OutOfTurn);
        }
        let key = BoxKey::between(&self.secret, &config.server);
        let number = HELLO_NUMBER.to_be_bytes();
        let mut boxed = Vec::with_capacity(80);
        key.seal(&nonce(HELLO_NONCE, &number), &[0; 64], &mut boxed);
        let hello = Hello {
            client: self.public,
            number,
            boxed: sized(&boxed),
        };
        write_command(&hello.write(), b"", &mut out.bytes);
        Ok(State::Greeted(Greeted {
            dialect,
            short: self,
            key,
            frames: Frames::new(),
        }))
    }
}

impl Greeted {
    fn read(mut self, mut bytes: &[u8], out: &mut Outbox) -> Result<State, Error> {
        let frame = self.frames.take(&mut bytes, LONGEST_READY);
        let Some(frame) = frame.map_err(|_| malformed(Field::Welcome))? else {
            return Ok(State::Greeted(self));
        };
        refused(&frame.body)?;
        self.welcome(&frame.body, bytes, out).map_err(Error::Proto)
    }

    fn welcome(self, body: &[u8], rest: &[u8], out: &mut Outbox) -> Result<State, Violation> {
        let welcome = Welcome::parse(body)?;
        let text = self
            .key
            .open(&nonce(WELCOME_NONCE, &welcome.nonce), &welcome.boxed)
            .map_err(|_| Violation::Forged)?;
        let (server, cookie) = text.split_first_chunk::<32>().ok_or(Violation::Forged)?;
        let server = public_key(server)?;
        if !rest.is_empty() {
            return Err(Violation::OutOfTurn);
        }
        out.ask(Ask::Vouch {
            client: self.short.public,
            server,
        });
        Ok(State::Asking(Box::new(Asking {
            dialect: self.dialect,
            key: BoxKey::between(&self.short.secret, &server),
            cookie: sized(cookie),
        })))
    }
}

impl Asking {
    fn answer(
        self,
        answer: Answer,
        config: &InitiatorConfig,
        out: &mut Outbox,
    ) -> Result<State, Error> {
        let (client, vouch): (PublicKey, Box<Whole<96>>) = match answer {
            Answer::Vouch { key, vouch } => (key, vouch),
            Answer::Refused(refusal) => return Err(Error::Access(refusal)),
            _ => return Err(Error::Proto(Violation::OutOfTurn)),
        };
        let metadata = config.socket.metadata();
        let mut text = Zeroizing::new(Vec::with_capacity(128 + metadata.len()));
        text.extend_from_slice(client.as_bytes());
        text.extend_from_slice(&vouch.0);
        text.extend_from_slice(&metadata);
        let number = INITIATE_NUMBER.to_be_bytes();
        let mut body = Vec::with_capacity(129 + text.len());
        body.extend_from_slice(INITIATE);
        body.extend_from_slice(&self.cookie);
        body.extend_from_slice(&number);
        let initiate = nonce(INITIATE_NONCE, &number);
        self.key.seal(&initiate, &text, &mut body);
        write_command(&body, b"", &mut out.bytes);
        Ok(State::Vouched(Vouched {
            dialect: self.dialect,
            key: self.key,
            frames: Frames::new(),
        }))
    }
}

impl Vouched {
    fn read(
        mut self,
        now: Instant,
        mut bytes: &[u8],
        config: &InitiatorConfig,
        out: &mut Outbox,
    ) -> Result<State, Error> {
        let frame = self.frames.take(&mut bytes, LONGEST_READY);
        let Some(frame) = frame.map_err(|_| malformed(Field::Ready))? else {
            return Ok(State::Vouched(self));
        };
        refused(&frame.body)?;
        self.ready(now, &frame.body, config, out)
            .and_then(|mut session| {
                session.read(now, bytes, out)?;
                Ok(State::Open(Box::new(session)))
            })
            .map_err(Error::Proto)
    }

    fn ready(
        self,
        now: Instant,
        body: &[u8],
        config: &InitiatorConfig,
        out: &mut Outbox,
    ) -> Result<Session, Violation> {
        let rest = content(body, READY)?;
        if body.len() < SHORTEST_READY {
            return Err(Violation::Malformed(Field::Ready));
        }
        let (number, boxed) = rest
            .split_first_chunk()
            .ok_or(Violation::Malformed(Field::Ready))?;
        let text = self
            .key
            .open(&nonce(READY_NONCE, number), boxed)
            .map_err(|_| Violation::Forged)?;
        let metadata = Metadata::parse(&text)?;
        if !config.socket.takes(&metadata) {
            return Err(Violation::SocketType);
        }
        let received = u64::from_be_bytes(*number);
        let line = Line::curve(
            &self.key,
            (SERVER_NONCE, received),
            (CLIENT_NONCE, INITIATE_NUMBER),
        );
        out.event(Event::Ready(metadata));
        let socket = Arc::clone(&config.socket);
        Session::new(socket, self.dialect, line, now, out)
    }
}

/// Whether the server says no: ERROR, with a reason that has 1 byte of length. It says nothing else
/// for any reason.
fn refused(body: &[u8]) -> Result<(), Error> {
    let Some(reason) = body.strip_prefix(ERROR) else {
        return Ok(());
    };
    match reason.split_first() {
        Some((&length, reason)) if usize::from(length) <= reason.len() => {
            Err(Error::Access(Refusal::NotAccepted))
        }
        _ => Err(malformed(Field::Error)),
    }
}

fn malformed(field: Field) -> Error {
    Error::Proto(Violation::Malformed(field))
}

/// The numbers of our commands.
const HELLO_NUMBER: u64 = 1;
const INITIATE_NUMBER: u64 = 2;
