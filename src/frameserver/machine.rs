//! One peer's protocol machine, whichever protocol it speaks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use identity::{PublicKey, Reference};
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
    Zmtp {
        config: Arc<zmtp::ListenerConfig>,
        high_water: u32,
    },
    ZmtpClient {
        config: zmtp::InitiatorConfig,
        high_water: u32,
    },
    /// Comes in datagrams, and has no machine here.
    CurveCp {
        extension: curvecp::Extension,
        idle: Duration,
    },
    /// The same, from us.
    CurveCpClient(Arc<Server>),
}

/// A server of CurveCP.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) key: PublicKey,
    pub(super) name: curvecp::ServerName,
    pub(super) extension: curvecp::Extension,
    pub(super) own: curvecp::Extension,
    pub(super) idle: Duration,
    /// So long it has to take us.
    pub(super) handshake: Duration,
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
            Speaks::Zmtp {
                socket,
                keyless,
                high_water,
            } => Ok(Self::Zmtp {
                config: Arc::new(zmtp::ListenerConfig {
                    socket: Arc::new(*socket),
                    keyless,
                    handshake,
                }),
                high_water,
            }),
            Speaks::ZmtpClient {
                server,
                socket,
                high_water,
            } => Ok(Self::ZmtpClient {
                config: zmtp::InitiatorConfig {
                    server,
                    socket: Arc::new(*socket),
                    handshake,
                },
                high_water,
            }),
            Speaks::CurveCp { extension, idle } => Ok(Self::CurveCp { extension, idle }),
            Speaks::CurveCpClient {
                server,
                name,
                extension,
                own,
                idle,
            } => Ok(Self::CurveCpClient(Arc::new(Server {
                key: server,
                name: *name,
                extension,
                own,
                idle,
                handshake,
            }))),
        }
    }

    /// Whether connections come from us.
    pub(super) fn is_client(&self) -> bool {
        matches!(self, Self::ZmtpClient { .. } | Self::CurveCpClient(_))
    }

    /// What goes over the segments of peers.
    pub(super) fn carries(&self) -> Carries {
        match self {
            Self::A12(_) => Carries::Events,
            Self::Zmtp { config, high_water } => messages(&config.socket, *high_water),
            Self::ZmtpClient { config, high_water } => messages(&config.socket, *high_water),
            Self::CurveCp { .. } | Self::CurveCpClient(_) => Carries::Stream { writable: true },
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
                Ok(())
            }
            Self::Zmtp { .. }
            | Self::ZmtpClient { .. }
            | Self::CurveCp { .. }
            | Self::CurveCpClient(_) => Err(Rules),
        }
    }
}

fn messages(socket: &zmtp::Socket, high_water: u32) -> Carries {
    Carries::Messages {
        socket: socket.kind,
        most: u32::try_from(socket.max_message).unwrap_or(u32::MAX),
        high_water,
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
    Zmtp(Box<zmtp::Listener>),
    ZmtpClient(Box<zmtp::Initiator>),
}

/// What a peer is told to do.
#[derive(Debug, PartialEq)]
pub(super) enum Command {
    A12(a12::Command),
    Zmtp(zmtp::Command),
    /// The next bytes of our stream.
    Write(Vec<u8>),
    /// Our stream is complete.
    Finish {
        failed: bool,
    },
    /// Finish, and take no more.
    Close,
}

/// What a peer did.
#[derive(Debug)]
pub(super) enum Event {
    A12(a12::Event),
    Zmtp(zmtp::Event),
    /// A server has taken us.
    Up,
    /// The next bytes of its stream.
    Data(Vec<u8>),
    /// Its stream is complete.
    Finished {
        failed: bool,
    },
}

impl From<a12::Event> for Event {
    fn from(event: a12::Event) -> Self {
        Self::A12(event)
    }
}

impl Machine {
    /// The machine of a peer that has just connected; `None` where nobody does.
    pub(super) fn new(config: &Config, now: Instant, seed: [u8; 32]) -> Option<Self> {
        Some(match config {
            Config::A12(config) => {
                let random = ChaCha20Rng::from_seed(seed);
                let machine = a12::Listener::new(Arc::clone(config), now, random);
                Self::A12(Box::new(machine))
            }
            Config::Zmtp { config, .. } => {
                Self::Zmtp(Box::new(zmtp::Listener::new(Arc::clone(config), now)))
            }
            Config::ZmtpClient { config, .. } => {
                let mut random = ChaCha20Rng::from_seed(seed);
                let machine = zmtp::Initiator::new(config.clone(), now, &mut random);
                Self::ZmtpClient(Box::new(machine))
            }
            Config::CurveCp { .. } | Config::CurveCpClient(_) => return None,
        })
    }

    /// What the peer can call this attempt.
    pub(super) fn reference(&self) -> Option<Reference> {
        match self {
            Self::A12(machine) => machine.reference(),
            Self::Zmtp(_) | Self::ZmtpClient(_) => None,
        }
    }

    /// What tells the machine that the script has taken the peer.
    pub(super) fn accept(&self) -> Command {
        match self {
            Self::A12(_) => Command::A12(a12::Command::Accept),
            Self::Zmtp(_) | Self::ZmtpClient(_) => Command::Zmtp(zmtp::Command::Accept),
        }
    }

    /// How far a stranger has come that is sent something.
    pub(super) fn standing_when_answered(&self) -> Standing {
        match self {
            // Who knows no secret is sent nothing.
            Self::A12(_) => Standing::Answered,
            // Everybody is greeted.
            Self::Zmtp(_) | Self::ZmtpClient(_) => Standing::Silent,
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
        Ask::Zmtp(_) | Ask::CurveCp(_) => Standing::Silent,
    }
}

/// How far a stranger has come that is answered so.
pub(super) fn standing_after(answer: &Answer) -> Option<Standing> {
    match answer {
        Answer::A12(a12::Answer::Challenge { .. }) => Some(Standing::Challenged),
        Answer::Zmtp(zmtp::Answer::Welcome(_)) => Some(Standing::Answered),
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
            Self::Zmtp(machine) => machine.room(),
            Self::ZmtpClient(machine) => machine.room(),
        }
    }

    fn handle(&mut self, now: Instant, input: Input<'_, Answer, Command>) -> Result<(), Error> {
        match self {
            Self::A12(machine) => {
                let input = translated(input, |command| match command {
                    Command::A12(command) => Ok(command),
                    _ => Err(OUT_OF_TURN),
                })?;
                machine.handle(now, input)
            }
            Self::Zmtp(machine) => machine.handle(now, translated(input, of_zmtp)?),
            Self::ZmtpClient(machine) => machine.handle(now, translated(input, of_zmtp)?),
        }
    }

    fn poll(&mut self, out: &mut Vec<u8>) -> Output<Ask, Event> {
        match self {
            Self::A12(machine) => wrapped(machine.poll(out), Event::A12),
            Self::Zmtp(machine) => wrapped(machine.poll(out), Event::Zmtp),
            Self::ZmtpClient(machine) => wrapped(machine.poll(out), Event::Zmtp),
        }
    }

    fn farewell(&self) -> &'static [u8] {
        match self {
            Self::A12(machine) => machine.farewell(),
            Self::Zmtp(machine) => machine.farewell(),
            Self::ZmtpClient(machine) => machine.farewell(),
        }
    }
}

fn of_zmtp(command: Command) -> Result<zmtp::Command, Error> {
    match command {
        Command::Zmtp(command) => Ok(command),
        _ => Err(OUT_OF_TURN),
    }
}

/// An input for one protocol's machine.
fn translated<'a, A: TryFrom<Answer, Error = Error>, C>(
    input: Input<'a, Answer, Command>,
    command: impl FnOnce(Command) -> Result<C, Error>,
) -> Result<Input<'a, A, C>, Error> {
    Ok(match input {
        Input::Bytes(bytes) => Input::Bytes(bytes),
        Input::Eof => Input::Eof,
        Input::Timeout => Input::Timeout,
        Input::Answer(answer) => Input::Answer(answer.try_into()?),
        Input::Command(ours) => Input::Command(command(ours)?),
    })
}

/// The output of one protocol's machine.
fn wrapped<A: Into<Ask>, E>(output: Output<A, E>, event: fn(E) -> Event) -> Output<Ask, Event> {
    match output {
        Output::Transmit => Output::Transmit,
        Output::Ask(ask) => Output::Ask(ask.into()),
        Output::Event(happened) => Output::Event(event(happened)),
        Output::Idle(deadline) => Output::Idle(deadline),
    }
}
