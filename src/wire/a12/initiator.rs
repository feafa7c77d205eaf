//! The connecting end of the handshake.

use std::fmt;
use std::time::{Duration, Instant};

use identity::{PublicKey, Reference};
use rand_core::CryptoRng;

use super::control::Mode;
use super::handshake::{Inbox, fresh_key, fresh_nonce, hello, hello_body, public_key};
use super::line::{Line, Turn};
use super::packet::{CONTROL, Direction, Kind};
use super::peer::{Command, Event, Outbox};
use super::session::Session;
use super::{Answer, Ask, Role, Rounds, StageKeys};
use crate::wire::Whole;
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Input, Output, Protocol, Violation};

/// How an initiator goes about it.
#[derive(Debug, Clone)]
pub struct InitiatorConfig {
    /// Our role.
    pub role: Role,
    /// The keys derived from the secret.
    pub initial: StageKeys,
    /// Our public key; the private one is in the key room.
    pub public: PublicKey,
    /// Whether ephemeral keys go first.
    pub rounds: Rounds,
    /// From the start to the server's HELLO.
    pub handshake: Duration,
}

/// The connecting end.
pub struct Initiator<R> {
    config: InitiatorConfig,
    rng: R,
    deadline: Instant,
    reference: Reference,
    outbox: Outbox,
    state: State,
}

impl<R: CryptoRng> Initiator<R> {
    /// The connection has been made.
    pub fn new(config: InitiatorConfig, now: Instant, mut rng: R) -> Self {
        let mut outbox = Outbox::default();
        let state = match start(&config, &mut rng, &mut outbox) {
            Ok(state) => state,
            Err(violation) => State::Failed(Error::Proto(violation)),
        };
        Self {
            deadline: now + config.handshake,
            config,
            rng,
            reference: Reference::of(&outbox.bytes),
            outbox,
            state,
        }
    }

    /// What both sides can call this attempt: of the first packet, which is made by now.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// When the server must have answered; `None` once it has.
    fn deadline(&self) -> Option<Instant> {
        self.state.is_handshake().then_some(self.deadline)
    }

    fn step(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(Error::Proto(Violation::Deadline));
        }
        if let State::Open(session) = &mut self.state {
            return session.handle(input, &mut self.rng, &mut self.outbox);
        }
        let state = std::mem::replace(&mut self.state, State::Ended);
        let mut context = Context {
            config: &self.config,
            rng: &mut self.rng,
            out: &mut self.outbox,
        };
        self.state = state.next(input, &mut context)?;
        Ok(())
    }
}

impl<R: CryptoRng> Protocol for Initiator<R> {
    type Ask = Ask;
    type Answer = Answer;
    type Command = Command;
    type Event = Event;

    fn room(&self) -> usize {
        if self.outbox.is_full() {
            return 0;
        }
        match &self.state {
            State::Ephemeral(_, wire) | State::Static(wire) => wire.inbox.room(),
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

impl<R> fmt::Debug for Initiator<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initiator")
            .field("state", &self.state.name())
            .finish_non_exhaustive()
    }
}

/// What a transition may use.
struct Context<'a, R> {
    config: &'a InitiatorConfig,
    rng: &'a mut R,
    out: &'a mut Outbox,
}

enum State {
    /// Our ephemeral key has gone out.
    Ephemeral(SecretKey, Box<Wire>),
    /// Our real key has gone out.
    Static(Box<Wire>),
    /// The server's key is there, and the key room is to say whether it is the right one.
    Asking(Asking),
    Open(Box<Session>),
    Ended,
    Failed(Error),
}

impl State {
    fn is_handshake(&self) -> bool {
        matches!(
            self,
            Self::Ephemeral(..) | Self::Static(_) | Self::Asking(_)
        )
    }

    fn next<R: CryptoRng>(
        self,
        input: Input<'_, Answer, Command>,
        context: &mut Context<'_, R>,
    ) -> Result<Self, Error> {
        match (self, input) {
            (state, Input::Timeout | Input::Bytes([])) => Ok(state),
            (Self::Ephemeral(own, mut wire), Input::Bytes(bytes)) => {
                if wire.inbox.take(bytes).map_err(Error::Proto)? {
                    wire.ephemeral(&own, context).map_err(Error::Proto)
                } else {
                    Ok(Self::Ephemeral(own, wire))
                }
            }
            (Self::Static(mut wire), Input::Bytes(bytes)) => {
                if wire.inbox.take(bytes).map_err(Error::Proto)? {
                    wire.server(context).map_err(Error::Proto)
                } else {
                    Ok(Self::Static(wire))
                }
            }
            (Self::Asking(asking), Input::Answer(answer)) => asking.answer(answer, context),
            // A server that refuses us says nothing.
            (Self::Ephemeral(..) | Self::Static(_), Input::Eof) => {
                Err(Error::Proto(Violation::Truncated))
            }
            (Self::Asking(_) | Self::Ended, Input::Eof) => Ok(Self::Ended),
            (Self::Ended, Input::Answer(_) | Input::Command(_)) => Ok(Self::Ended),
            (_, Input::Bytes(_) | Input::Answer(_) | Input::Command(_) | Input::Eof) => {
                Err(Error::Proto(Violation::OutOfTurn))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Ephemeral(..) => "ephemeral",
            Self::Static(_) => "static",
            Self::Asking(_) => "asking",
            Self::Open(_) => "open",
            Self::Ended => "ended",
            Self::Failed(_) => "failed",
        }
    }
}

/// Sends the first packet.
fn start<R: CryptoRng>(
    config: &InitiatorConfig,
    rng: &mut R,
    out: &mut Outbox,
) -> Result<State, Violation> {
    let nonce = fresh_nonce(rng);
    let mut wire = Box::new(Wire {
        inbound: Direction::server(&config.initial, nonce, 0),
        outbound: Direction::first(&config.initial, nonce),
        inbox: Inbox::new(),
    });
    match config.rounds {
        Rounds::One => {
            let body = hello_body(
                Mode::Static,
                &config.public,
                config.role,
                0,
                fresh_nonce(rng),
            );
            wire.outbound.seal_first(nonce, &body, &mut out.bytes);
            Ok(State::Static(wire))
        }
        Rounds::Two => {
            let (own, public) = fresh_key(rng)?;
            let body = hello_body(Mode::Ephemeral, &public, config.role, 0, fresh_nonce(rng));
            wire.outbound.seal_first(nonce, &body, &mut out.bytes);
            Ok(State::Ephemeral(own, wire))
        }
    }
}

/// Both directions before the session.
struct Wire {
    inbound: Direction,
    outbound: Direction,
    inbox: Inbox,
}

impl Wire {
    /// The server's ephemeral key is there.
    fn ephemeral<R: CryptoRng>(
        mut self: Box<Self>,
        own: &SecretKey,
        context: &mut Context<'_, R>,
    ) -> Result<State, Violation> {
        let role = context.config.role;
        let body = self.inbound.open_control(self.inbox.control())?;
        let (header, hello, _) = hello(&body, role)?;
        if hello.mode != Mode::Ephemeral {
            return Err(Violation::Mode(hello.mode.into()));
        }
        let nonce = header.entropy;
        let keys = StageKeys::agreed(&own.agree(&public_key(&hello.key)?), nonce);
        let mut next = Self {
            inbound: Direction::server(&keys, nonce, self.inbound.sequence()),
            outbound: Direction::client(&keys, nonce, self.outbound.sequence()),
            inbox: Inbox::new(),
        };
        let public = &context.config.public;
        let last_seen = self.inbound.last();
        let reply = hello_body(
            Mode::Static,
            public,
            role,
            last_seen,
            fresh_nonce(context.rng),
        );
        next.outbound
            .seal(Kind::Control, &[&reply], &mut context.out.bytes);
        Ok(State::Static(Box::new(next)))
    }

    /// The server's real key is there.
    fn server<R: CryptoRng>(
        mut self: Box<Self>,
        context: &mut Context<'_, R>,
    ) -> Result<State, Violation> {
        let body: [u8; CONTROL] = self.inbound.open_control(self.inbox.control())?;
        let (header, hello, role) = hello(&body, context.config.role)?;
        if hello.mode != Mode::Static {
            return Err(Violation::Mode(hello.mode.into()));
        }
        let key = public_key(&hello.key)?;
        context.out.ask(Ask::Server(Whole(body)));
        Ok(State::Asking(Asking {
            key,
            role,
            nonce: header.entropy,
            received: self.inbound.sequence(),
            sent: self.outbound.sequence(),
        }))
    }
}

struct Asking {
    key: PublicKey,
    role: Option<Role>,
    nonce: [u8; 8],
    /// The numbers of the next packets.
    received: u64,
    sent: u64,
}

impl Asking {
    fn answer<R>(self, answer: Answer, context: &mut Context<'_, R>) -> Result<State, Error> {
        let keys = match answer {
            Answer::Session(keys) => keys,
            Answer::Refused(refusal) => return Err(Error::Access(refusal)),
            _ => return Err(Error::Proto(Violation::OutOfTurn)),
        };
        let line = Line::new(
            Direction::client(&keys, self.nonce, self.sent),
            self.received.saturating_sub(1),
            Turn::Return,
            self.key,
        );
        let inbound = Direction::server(&keys, self.nonce, self.received);
        let session = Session::new(context.config.role, inbound, line, false);
        context.out.event(Event::Established { role: self.role });
        Ok(State::Open(Box::new(session)))
    }
}
