//! Two machines in memory, with a key room each and a pipe between them that cuts as it likes.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::Secret;
use rand_core::{Rng, TryCryptoRng, TryRng};

use crate::wire::a12::keyroom::{self, Claim, Pending};
use crate::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Listener, ListenerConfig, Ratchet,
    Role, Rounds, SecretId, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Input, Output, Protocol, Refusal, Violation};

pub(crate) type Machine =
    dyn Protocol<Ask = Ask, Answer = Answer, Command = Command, Event = Event>;

/// Random bytes from a seed; recorded keys and nonces first, if there are any.
pub(crate) struct Seeded {
    keys: VecDeque<[u8; 32]>,
    nonces: VecDeque<[u8; 8]>,
    stream: blake3::OutputReader,
}

impl Seeded {
    pub(crate) fn new(seed: u64) -> Self {
        Self::recorded([], []).seed(seed)
    }

    /// These for whoever asks for 32 and for 8 bytes.
    pub(crate) fn recorded(
        keys: impl IntoIterator<Item = [u8; 32]>,
        nonces: impl IntoIterator<Item = [u8; 8]>,
    ) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            nonces: nonces.into_iter().collect(),
            stream: blake3::Hasher::new().finalize_xof(),
        }
    }

    fn seed(mut self, seed: u64) -> Self {
        self.stream = blake3::Hasher::new()
            .update(&seed.to_le_bytes())
            .finalize_xof();
        self
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.next_u64() as usize % limit
    }
}

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        self.stream.fill(to);
        let recorded = match to.len() {
            32 => self.keys.pop_front().map(Vec::from),
            8 => self.nonces.pop_front().map(Vec::from),
            _ => None,
        };
        if let Some(recorded) = recorded {
            to.copy_from_slice(&recorded);
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}

/// One end with its key room.
pub(crate) struct End {
    pub(crate) machine: Box<Machine>,
    pub(crate) key: SecretKey,
    /// What the key room says to claims and to servers' keys.
    pub(crate) accepts: bool,
    /// Whether an admitted client is taken at once.
    pub(crate) takes: bool,
    /// Only to keep questions for the test to answer.
    pub(crate) holds: bool,
    pending: Option<Pending>,
    nonces: Seeded,
    pub(crate) asked: Vec<Ask>,
    pub(crate) events: Vec<Event>,
    /// All that it sent.
    pub(crate) sent: Vec<u8>,
    pub(crate) error: Option<Error>,
    pub(crate) deadline: Option<Instant>,
}

impl End {
    pub(crate) fn new(machine: Box<Machine>, key: SecretKey, seed: u64) -> Self {
        Self {
            machine,
            key,
            accepts: true,
            takes: true,
            holds: false,
            pending: None,
            nonces: Seeded::new(seed),
            asked: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            error: None,
            deadline: None,
        }
    }

    pub(crate) fn nonces(mut self, nonces: Seeded) -> Self {
        self.nonces = nonces;
        self
    }

    /// Gives one input and polls until nothing more comes, answering what is asked.
    pub(crate) fn give(&mut self, now: Instant, input: Input<'_, Answer, Command>) {
        let mut result = self.machine.handle(now, input);
        loop {
            if let Err(error) = result {
                self.error = Some(error);
            }
            match self.machine.poll(&mut self.sent) {
                Output::Transmit => {}
                Output::Ask(ask) => {
                    self.asked.push(ask.clone());
                    assert_eq!(self.machine.room(), 0, "a question has been asked");
                    if !self.holds {
                        let answer = self.answer(&ask);
                        result = self.machine.handle(now, Input::Answer(answer));
                    }
                }
                Output::Event(event) => {
                    let admitted = matches!(event, Event::Admitted { .. });
                    self.events.push(event);
                    if admitted && self.takes {
                        result = self.machine.handle(now, Input::Command(Command::Accept));
                    }
                }
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    /// Bytes in portions that the machine has room for; gives what it did not take.
    pub(crate) fn feed<'a>(
        &mut self,
        now: Instant,
        mut bytes: &'a [u8],
        mut portion: impl FnMut() -> usize,
    ) -> &'a [u8] {
        while !bytes.is_empty() {
            let room = self.machine.room().min(portion().max(1)).min(bytes.len());
            if room == 0 || self.error.is_some() {
                break;
            }
            let (now_given, rest) = bytes.split_at(room);
            self.give(now, Input::Bytes(now_given));
            bytes = rest;
        }
        bytes
    }

    /// What the host says.
    pub(crate) fn answer(&mut self, ask: &Ask) -> Answer {
        let refused = Answer::Refused(Refusal::NotAccepted);
        match ask {
            Ask::Claim { rounds, hello, .. } => match Claim::parse(hello) {
                Ok(claim) if self.accepts => {
                    let mut nonce = [0; 8];
                    self.nonces.fill_bytes(&mut nonce);
                    self.pending = Some(claim.challenge(&self.key, *rounds, nonce));
                    Answer::Challenge {
                        host: self.key.public().unwrap(),
                        nonce,
                    }
                }
                _ => refused,
            },
            Ask::Proof(packet) => {
                let pending = self.pending.as_ref().unwrap();
                match pending.prove(packet) {
                    Ok(keys) => Answer::Session(keys),
                    Err(Error::Again { need }) => {
                        assert_eq!(need, 164);
                        Answer::More
                    }
                    Err(_) => refused,
                }
            }
            Ask::Server(hello) => match Claim::parse(hello) {
                Ok(claim) if self.accepts => Answer::Session(claim.session(&self.key)),
                _ => refused,
            },
            Ask::Ratchet(rekey) => Answer::Ratchet(keyroom::ratchet(&self.key, rekey).unwrap()),
        }
    }
}

/// How a [`Pair`] is set up.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) rounds: Rounds,
    pub(crate) client: Role,
    pub(crate) server: Role,
    pub(crate) secrets: [&'static str; 2],
    pub(crate) ratchet: Ratchet,
    pub(crate) seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            rounds: Rounds::Two,
            client: Role::Source,
            server: Role::Sink,
            secrets: ["SETECASTRONOMY"; 2],
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 0,
            },
            seed: 1,
        }
    }
}

pub(crate) fn initial(secret: &str) -> StageKeys {
    StageKeys::initial(&Secret::parse(secret.as_bytes()).unwrap())
}

pub(crate) fn secret_key(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

impl Setup {
    pub(crate) fn listener(&self, now: Instant, rng: Seeded) -> Listener<Seeded> {
        let config = ListenerConfig {
            role: self.server,
            candidates: vec![(SecretId(7), initial(self.secrets[1]))],
            handshake: HANDSHAKE,
            ratchet: self.ratchet,
        };
        Listener::new(Arc::new(config), now, rng)
    }

    pub(crate) fn initiator(&self, now: Instant, rng: Seeded) -> Initiator<Seeded> {
        let config = InitiatorConfig {
            role: self.client,
            initial: initial(self.secrets[0]),
            public: secret_key(CLIENT_KEY).public().unwrap(),
            rounds: self.rounds,
            handshake: HANDSHAKE,
        };
        Initiator::new(config, now, rng)
    }

    pub(crate) fn pair(&self) -> Pair {
        let now = Instant::now();
        let client = self.initiator(now, Seeded::new(self.seed));
        let server = self.listener(now, Seeded::new(self.seed + 1));
        Pair {
            client: End::new(Box::new(client), secret_key(CLIENT_KEY), self.seed + 2),
            server: End::new(Box::new(server), secret_key(SERVER_KEY), self.seed + 3),
            now,
            cuts: Seeded::new(self.seed + 4),
            delivered: [0; 2],
        }
    }
}

/// An initiator and a listener.
pub(crate) struct Pair {
    pub(crate) client: End,
    pub(crate) server: End,
    pub(crate) now: Instant,
    cuts: Seeded,
    delivered: [usize; 2],
}

impl Pair {
    /// Moves bytes, in portions of any size, until nobody has anything to say.
    pub(crate) fn drive(&mut self) {
        self.client.give(self.now, Input::Timeout);
        self.server.give(self.now, Input::Timeout);
        loop {
            let before = self.delivered;
            let [c2s, s2c] = &mut self.delivered;
            deliver(
                &self.client,
                &mut self.server,
                c2s,
                self.now,
                &mut self.cuts,
            );
            deliver(
                &self.server,
                &mut self.client,
                s2c,
                self.now,
                &mut self.cuts,
            );
            if self.delivered == before {
                return;
            }
        }
    }

    pub(crate) fn client_says(&mut self, command: Command) {
        self.client.give(self.now, Input::Command(command));
    }

    pub(crate) fn server_says(&mut self, command: Command) {
        self.server.give(self.now, Input::Command(command));
    }

    #[track_caller]
    pub(crate) fn assert_well(&self) {
        assert_eq!((self.client.error, self.server.error), (None, None));
    }
}

fn deliver(from: &End, to: &mut End, done: &mut usize, now: Instant, cuts: &mut Seeded) {
    let bytes = &from.sent[*done..];
    let left = to.feed(now, bytes, || match cuts.below(4) {
        0 => 1 + cuts.below(8),
        1 => 1 + cuts.below(200),
        _ => 100_000,
    });
    *done += bytes.len() - left.len();
}

pub(crate) const CLIENT_KEY: u8 = 0x11;
pub(crate) const SERVER_KEY: u8 = 0x22;
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// A violation as the error that it is given as.
pub(crate) fn proto(violation: Violation) -> Option<Error> {
    Some(Error::Proto(violation))
}
