//! The listening end of the handshake.
//!
//! ```text
//! First ──ephemeral HELLO──► Second            at most once
//!   └─────────HELLO──────────┴──► Claiming     the key room is asked
//!                                    │ challenge: our HELLO goes out under the old keys
//!                              Provisional     there are no session keys here
//!                                    │ the peer's next packet, still sealed
//!                                 Proving      the key room is asked
//!                                    │ session keys
//!                                Admitted      the script is asked
//!                                    │ accepted
//!                                  Open
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::{PublicKey, Reference};
use rand_core::CryptoRng;
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::control::{Hello, Mode};
use super::handshake::{Inbox, fresh_key, fresh_nonce, hello, hello_body, public_key};
use super::line::{Line, Turn};
use super::packet::{CONTROL, CONTROL_PACKET, Direction, Kind, first_nonce, first_tag};
use super::peer::{Command, Event, Outbox};
use super::session::Session;
use super::{Answer, Ask, Role, Rounds, SecretId, StageKeys};
use crate::wire::Whole;
use crate::wire::{Error, Input, Output, Protocol, Violation};

/// How a listener treats its peers.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Our role.
    pub role: Role,
    /// The secrets that a first packet is tried against.
    pub candidates: Vec<(SecretId, StageKeys)>,
    /// From the first byte to the proof, whatever happens in between.
    pub handshake: Duration,
    /// When to ratchet.
    pub ratchet: Ratchet,
}

/// When a listener ratchets the keys, which gives forward secrecy.
#[derive(Debug, Clone, Copy)]
pub struct Ratchet {
    /// Directly after the proof.
    pub at_once: bool,
    /// Again after so many outbound body bytes; 0: never.
    pub every_bytes: u64,
}

/// The listening end: it waits for a first packet and admits who proves a key.
///
/// Until the key room has verified a proof it holds no session key, sends nothing that a session
/// key would be needed for, and keeps at most one packet of the peer.
pub struct Listener<R> {
    config: Arc<ListenerConfig>,
    rng: R,
    deadline: Instant,
    reference: Option<Reference>,
    outbox: Outbox,
    state: State,
}

impl<R: CryptoRng> Listener<R> {
    /// A connection has been accepted.
    pub fn new(config: Arc<ListenerConfig>, now: Instant, rng: R) -> Self {
        Self {
            deadline: now + config.handshake,
            config,
            rng,
            reference: None,
            outbox: Outbox::default(),
            state: State::First(Inbox::new()),
        }
    }

    /// What both sides can call this attempt, once the first packet is whole.
    pub fn reference(&self) -> Option<Reference> {
        self.reference
    }

    /// When the peer must have proved its key; `None` once it has.
    fn deadline(&self) -> Option<Instant> {
        self.state.is_handshake().then_some(self.deadline)
    }

    fn step(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(Error::Proto(Violation::Deadline));
        }
        // In place: this is where a connection spends its life.
        if let State::Open(session) = &mut self.state {
            return session.handle(input, &mut self.rng, &mut self.outbox);
        }
        let state = std::mem::replace(&mut self.state, State::Ended);
        let mut context = Context {
            config: &self.config,
            rng: &mut self.rng,
            reference: &mut self.reference,
            out: &mut self.outbox,
        };
        self.state = state.next(input, &mut context)?;
        Ok(())
    }
}

impl<R: CryptoRng> Protocol for Listener<R> {
    type Ask = Ask;
    type Answer = Answer;
    type Command = Command;
    type Event = Event;

    fn room(&self) -> usize {
        if self.outbox.is_full() {
            return 0;
        }
        match &self.state {
            State::First(inbox) => inbox.room(),
            State::Second(second) => second.inbox.room(),
            State::Provisional(provisional) => provisional.inbox.room(),
            State::Open(session) => session.room(),
            State::Claiming(_)
            | State::Proving(_)
            | State::Admitted(_)
            | State::Ended
            | State::Failed(_) => 0,
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

impl<R> fmt::Debug for Listener<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("state", &self.state.name())
            .finish_non_exhaustive()
    }
}

/// What a transition may use.
struct Context<'a, R> {
    config: &'a ListenerConfig,
    rng: &'a mut R,
    reference: &'a mut Option<Reference>,
    out: &'a mut Outbox,
}

enum State {
    First(Inbox),
    Second(Box<Second>),
    Claiming(Box<Claiming>),
    Provisional(Provisional),
    Proving(Provisional),
    Admitted(Box<Admitted>),
    Open(Box<Session>),
    /// The peer has gone, and nothing was wrong with that.
    Ended,
    Failed(Error),
}

impl State {
    fn is_handshake(&self) -> bool {
        matches!(
            self,
            Self::First(_)
                | Self::Second(_)
                | Self::Claiming(_)
                | Self::Provisional(_)
                | Self::Proving(_)
        )
    }

    fn next<R: CryptoRng>(
        self,
        input: Input<'_, Answer, Command>,
        context: &mut Context<'_, R>,
    ) -> Result<Self, Error> {
        match (self, input) {
            (state, Input::Timeout | Input::Bytes([])) => Ok(state),
            (Self::First(mut inbox), Input::Bytes(bytes)) => {
                if inbox.take(bytes).map_err(Error::Proto)? {
                    let packet = inbox.control();
                    *context.reference = Some(Reference::of(&packet));
                    Wire::first(packet, &context.config.candidates)
                        .and_then(|(wire, body)| wire.hello(body, Rounds::One, context))
                        .map_err(Error::Proto)
                } else {
                    Ok(Self::First(inbox))
                }
            }
            (Self::Second(mut second), Input::Bytes(bytes)) => {
                if second.inbox.take(bytes).map_err(Error::Proto)? {
                    second.open(context).map_err(Error::Proto)
                } else {
                    Ok(Self::Second(second))
                }
            }
            (Self::Provisional(provisional), Input::Bytes(_))
                if !speaks(context.config.role, provisional.role) =>
            {
                Err(Error::Proto(Violation::Role(provisional.role as u8)))
            }
            (Self::Provisional(mut provisional), Input::Bytes(bytes)) => {
                if provisional.inbox.take(bytes).map_err(Error::Proto)? {
                    let packet = provisional.inbox.packet().to_vec();
                    context.out.ask(Ask::Proof(packet));
                    Ok(Self::Proving(provisional))
                } else {
                    Ok(Self::Provisional(provisional))
                }
            }
            (Self::Claiming(claiming), Input::Answer(answer)) => claiming.answer(answer, context),
            (Self::Proving(provisional), Input::Answer(answer)) => {
                provisional.answer(answer, context)
            }
            (Self::Admitted(admitted), Input::Command(Command::Accept)) => admitted.open(context),
            // Nobody was there, or a probe, or a client that does not want our key.
            (Self::First(inbox) | Self::Provisional(Provisional { inbox, .. }), Input::Eof)
                if inbox.is_empty() =>
            {
                Ok(Self::Ended)
            }
            (Self::First(_) | Self::Second(_) | Self::Provisional(_), Input::Eof) => {
                Err(Error::Proto(Violation::Truncated))
            }
            (
                Self::Claiming(_) | Self::Proving(_) | Self::Admitted(_) | Self::Ended,
                Input::Eof,
            ) => Ok(Self::Ended),
            (Self::Ended, Input::Answer(_) | Input::Command(_)) => Ok(Self::Ended),
            (_, Input::Bytes(_) | Input::Answer(_) | Input::Command(_) | Input::Eof) => {
                Err(Error::Proto(Violation::OutOfTurn))
            }
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::First(_) => "first",
            Self::Second(_) => "second",
            Self::Claiming(_) => "claiming",
            Self::Provisional(_) => "provisional",
            Self::Proving(_) => "proving",
            Self::Admitted(_) => "admitted",
            Self::Open(_) => "open",
            Self::Ended => "ended",
            Self::Failed(_) => "failed",
        }
    }
}

/// Both directions under the keys that come before the session's.
struct Wire {
    secret: SecretId,
    inbound: Direction,
    outbound: Direction,
}

impl Wire {
    /// Opens the first packet. All secrets are tried, and how long that takes tells nobody which
    /// one it was.
    fn first(
        packet: [u8; CONTROL_PACKET],
        candidates: &[(SecretId, StageKeys)],
    ) -> Result<(Self, [u8; CONTROL]), Violation> {
        let mut found = u32::MAX;
        for (at, (_, keys)) in (0..).zip(candidates) {
            let fits = first_tag(keys, &packet) & found.ct_eq(&u32::MAX);
            found = u32::conditional_select(&found, &at, fits);
        }
        let (secret, keys) = usize::try_from(found)
            .ok()
            .and_then(|at| candidates.get(at))
            .ok_or(Violation::FirstPacket)?;
        let nonce = first_nonce(&packet);
        let mut inbound = Direction::first(keys, nonce);
        let body = inbound.open_first(packet)?;
        let wire = Self {
            secret: *secret,
            inbound,
            outbound: Direction::server(keys, nonce, 0),
        };
        Ok((wire, body))
    }

    /// A HELLO has come in, which is the first one if there has been one round.
    fn hello<R: CryptoRng>(
        self,
        body: [u8; CONTROL],
        rounds: Rounds,
        context: &mut Context<'_, R>,
    ) -> Result<State, Violation> {
        let (_, hello, role) = hello(&body, context.config.role)?;
        match (hello.mode, rounds) {
            (Mode::Ephemeral, Rounds::One) => self.ephemeral(&hello, context),
            (Mode::Ephemeral, Rounds::Two) => Err(Violation::Rounds),
            (Mode::Static, _) => {
                let peer = public_key(&hello.key)?;
                context.out.ask(Ask::Claim {
                    secret: self.secret,
                    rounds,
                    hello: Whole(body),
                });
                Ok(State::Claiming(Box::new(Claiming {
                    outbound: self.outbound,
                    peer,
                    role: role.unwrap_or_else(|| counterpart(context.config.role)),
                    rounds,
                })))
            }
            (Mode::Other(mode), _) => Err(Violation::Mode(mode)),
        }
    }

    /// Hides what follows from an eavesdropper who knows the secret.
    fn ephemeral<R: CryptoRng>(
        mut self,
        hello: &Hello,
        context: &mut Context<'_, R>,
    ) -> Result<State, Violation> {
        let peer = public_key(&hello.key)?;
        let (own, public) = fresh_key(context.rng)?;
        let nonce = fresh_nonce(context.rng);
        let last_seen = self.inbound.last();
        let role = context.config.role;
        let reply = hello_body(Mode::Ephemeral, &public, role, last_seen, nonce);
        self.outbound
            .seal(Kind::Control, &[&reply], &mut context.out.bytes);
        let keys = StageKeys::agreed(&own.agree(&peer), nonce);
        Ok(State::Second(Box::new(Second {
            wire: Self {
                secret: self.secret,
                inbound: Direction::client(&keys, nonce, self.inbound.sequence()),
                outbound: Direction::server(&keys, nonce, self.outbound.sequence()),
            },
            inbox: Inbox::new(),
        })))
    }
}

/// Ephemeral keys are in force.
struct Second {
    wire: Wire,
    inbox: Inbox,
}

impl Second {
    fn open<R: CryptoRng>(self, context: &mut Context<'_, R>) -> Result<State, Violation> {
        let Self { mut wire, inbox } = self;
        let body = wire.inbound.open_control(inbox.control())?;
        wire.hello(body, Rounds::Two, context)
    }
}

/// The peer has claimed a key, and the key room is to say whether it may prove it.
struct Claiming {
    outbound: Direction,
    peer: PublicKey,
    role: Role,
    rounds: Rounds,
}

impl Claiming {
    fn answer<R: CryptoRng>(
        mut self,
        answer: Answer,
        context: &mut Context<'_, R>,
    ) -> Result<State, Error> {
        let (host, nonce) = match answer {
            Answer::Challenge { host, nonce } => (host, nonce),
            other => return Err(unexpected(other)),
        };
        let role = context.config.role;
        let last_seen = self.rounds.proof_sequence() - 1;
        let reply = hello_body(Mode::Static, &host, role, last_seen, nonce);
        self.outbound
            .seal(Kind::Control, &[&reply], &mut context.out.bytes);
        Ok(State::Provisional(Provisional {
            inbox: Inbox::new(),
            peer: self.peer,
            role: self.role,
            rounds: self.rounds,
            nonce,
            sent: self.outbound.sequence(),
        }))
    }
}

/// The peer has been challenged. What it sends next cannot be read here.
struct Provisional {
    inbox: Inbox,
    peer: PublicKey,
    role: Role,
    rounds: Rounds,
    nonce: [u8; 8],
    /// The number of our next packet.
    sent: u64,
}

/// Whether a peer of that role has anything to say to ours after the handshake. The others only
/// look: they get their answer, and leave without a session.
fn speaks(ours: Role, theirs: Role) -> bool {
    match ours {
        Role::Sink => theirs == Role::Source,
        Role::Source => matches!(theirs, Role::Sink | Role::Directory),
        Role::Directory => theirs != Role::Probe,
        Role::Probe => false,
    }
}

impl Provisional {
    fn answer<R: CryptoRng>(
        mut self,
        answer: Answer,
        context: &mut Context<'_, R>,
    ) -> Result<State, Error> {
        match answer {
            Answer::More if self.inbox.packet().len() == CONTROL_PACKET => {
                self.inbox.want_event();
                Ok(State::Provisional(self))
            }
            Answer::Session(keys) => self.admit(&keys, context),
            other => Err(unexpected(other)),
        }
    }

    fn admit<R: CryptoRng>(
        self,
        keys: &StageKeys,
        context: &mut Context<'_, R>,
    ) -> Result<State, Error> {
        let number = self.rounds.proof_sequence();
        let inbound = || Direction::client(keys, self.nonce, number);
        // The key room has done the same; should it be wrong, nothing goes out.
        inbound().open(&mut self.inbox.packet().to_vec())?;
        let ratchet = context.config.ratchet;
        let line = Line::new(
            Direction::server(keys, self.nonce, self.sent),
            number,
            Turn::Every(ratchet.every_bytes),
            self.peer,
        );
        let mut session = Session::new(context.config.role, inbound(), line, true);
        if ratchet.at_once {
            session
                .ratchet(context.rng, context.out)
                .map_err(Error::Proto)?;
        }
        context.out.event(Event::Admitted { role: self.role });
        Ok(State::Admitted(Box::new(Admitted {
            session,
            proof: self.inbox,
        })))
    }
}

/// The proof was good; the script is to say whether it wants this client.
struct Admitted {
    session: Session,
    proof: Inbox,
}

impl Admitted {
    fn open<R: CryptoRng>(self, context: &mut Context<'_, R>) -> Result<State, Error> {
        let Self { mut session, proof } = self;
        let input = Input::Bytes(proof.packet());
        session.handle(input, context.rng, context.out)?;
        Ok(State::Open(Box::new(session)))
    }
}

fn unexpected(answer: Answer) -> Error {
    match answer {
        Answer::Refused(refusal) => Error::Access(refusal),
        _ => Error::Proto(Violation::OutOfTurn),
    }
}

/// What a peer is that does not say what it is: the other half of what we are.
fn counterpart(own: Role) -> Role {
    match own {
        Role::Source => Role::Sink,
        Role::Sink => Role::Source,
        Role::Probe | Role::Directory => Role::Probe,
    }
}

// What an unproved peer makes us hold, apart from the two HELLOs that go out: it does not depend
// on what the peer sends.
const _: () = assert!(size_of::<Listener<[u8; 64]>>() + size_of::<Second>() <= 6 * 1024);
const _: () = assert!(size_of::<Claiming>() <= size_of::<Second>());
