//! One peer's protocol machine, whichever protocol it speaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use identity::Reference;
use rand_core::SeedableRng;

use super::accept::Standing;
use crate::ipc::Carries;
use crate::ipc::frameserver::{Candidate, Listen, Speaks};
use crate::wire::a12::{self, SecretId, StageKeys};
use crate::wire::{Answer, Ask, Error, Input, Output, Protocol, Violation, curvecp, zmtp};

/// After so many bytes to a client of a12 the keys are ratcheted again.
const RATCHET_EVERY: u64 = 1 << 20;

/// How new peers are spoken to.
#[derive(Debug, Clone)]
pub(super) enum Config {
    A12(Arc<a12::ListenerConfig>),
}

/// The host has said what it must not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules;

impl Config {
    /// From what the host says of the listener; `handshake` is how long a handshake may take.
    pub(super) fn new(speaks: Speaks, handshake: Duration) -> Result<Self, Rules> {
        match speaks {
            Speaks::A12 { role, secrets } => Ok(Self::A12(Arc::new(a12::ListenerConfig {
                role,
                candidates: candidates(secrets)?,
                handshake,
                ratchet: a12::Ratchet {
                    at_once: true,
                    every_bytes: RATCHET_EVERY,
                },
            }))),
            Speaks::Zmtp { .. } => Err(Rules),
        }
    }

    /// The current secrets have changed.
    pub(super) fn replace_secrets(&mut self, secrets: Vec<Candidate>) -> Result<(), Rules> {
        match self {
            Self::A12(config) => {
                *config = Arc::new(a12::ListenerConfig {
                    candidates: candidates(secrets)?,
                    ..a12::ListenerConfig::clone(config)
                });
            }
        }
        Ok(())
    }
}

fn candidates(secrets: Vec<Candidate>) -> Result<Vec<(SecretId, StageKeys)>, Rules> {
    if secrets.len() > Listen::MAX_SECRETS {
        return Err(Rules);
    }
    Ok(secrets
        .into_iter()
        .map(|candidate| (candidate.id, candidate.keys))
        .collect())
}

/// See the module.
#[derive(Debug)]
pub(super) enum Machine {
    A12(Box<a12::Listener<ChaCha20Rng>>),
}

/// What a peer is told to do.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    A12(a12::Command),
    Zmtp(zmtp::Command),
}

/// What a peer did.
#[derive(Debug)]
pub(super) enum Event {
    A12(a12::Event),
    Zmtp(zmtp::Event),
}

impl From<a12::Event> for Event {
    fn from(event: a12::Event) -> Self {
        Self::A12(event)
    }
}

impl Machine {
    /// The machine of a peer that has just connected.
    pub(super) fn new(config: &Config, now: Instant, seed: [u8; 32]) -> Self {
        match config {
            Config::A12(config) => {
                let random = ChaCha20Rng::from_seed(seed);
                let machine = a12::Listener::new(Arc::clone(config), now, random);
                Self::A12(Box::new(machine))
            }
        }
    }

    /// What the peer can call this attempt.
    pub(super) fn reference(&self) -> Option<Reference> {
        match self {
            Self::A12(machine) => machine.reference(),
        }
    }

    /// What goes over the session's segments.
    pub(super) fn carries(&self) -> Carries {
        match self {
            Self::A12(_) => Carries::Events,
        }
    }

    /// What tells the machine that the script has taken the peer.
    pub(super) fn accept(&self) -> Command {
        match self {
            Self::A12(_) => Command::A12(a12::Command::Accept),
        }
    }

    /// How far a stranger has come that is sent something.
    pub(super) fn standing_when_answered(&self) -> Standing {
        match self {
            // Who knows no secret is sent nothing.
            Self::A12(_) => Standing::Answered,
        }
    }
}

/// How far a stranger has come that asks this.
pub(super) fn standing_of(ask: &Ask) -> Standing {
    match ask {
        Ask::A12(a12::Ask::Proof(_))
        | Ask::Zmtp(zmtp::Ask::Initiate(_))
        | Ask::CurveCp(curvecp::Ask::Initiate(_)) => Standing::Proving,
        Ask::A12(_) => Standing::Claimed,
        Ask::Zmtp(_) | Ask::CurveCp(_) => Standing::Answered,
    }
}

/// How far a stranger has come that is answered so.
pub(super) fn standing_after(answer: &Answer) -> Option<Standing> {
    match answer {
        Answer::A12(a12::Answer::Challenge { .. }) => Some(Standing::Challenged),
        _ => None,
    }
}

/// A command for another protocol.
const OUT_OF_TURN: Error = Error::Proto(Violation::OutOfTurn);

impl Protocol for Machine {
    type Ask = Ask;
    type Answer = Answer;
    type Command = Command;
    type Event = Event;

    fn room(&self) -> usize {
        match self {
            Self::A12(machine) => machine.room(),
        }
    }

    fn handle(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        match self {
            Self::A12(machine) => {
                let input = match input {
                    Input::Bytes(bytes) => Input::Bytes(bytes),
                    Input::Eof => Input::Eof,
                    Input::Timeout => Input::Timeout,
                    Input::Answer(answer) => Input::Answer(answer.try_into()?),
                    Input::Command(Command::A12(command)) => Input::Command(command),
                    Input::Command(_) => return Err(OUT_OF_TURN),
                };
                machine.handle(now, input)
            }
        }
    }

    fn poll(&mut self, out: &mut Vec<u8>) -> Output<Ask, Event> {
        match self {
            Self::A12(machine) => match machine.poll(out) {
                Output::Transmit => Output::Transmit,
                Output::Ask(ask) => Output::Ask(ask.into()),
                Output::Event(event) => Output::Event(Event::A12(event)),
                Output::Idle(deadline) => Output::Idle(deadline),
            },
        }
    }

    fn farewell(&self) -> &'static [u8] {
        match self {
            Self::A12(machine) => machine.farewell(),
        }
    }
}
