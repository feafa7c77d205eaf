//! A connection and its protocol machine, driven together; the key room is answered on the spot.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::time::Instant;

use identity::{PublicKey, Reference};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::sleep_until;

use super::random::Random;
use crate::wire::a12::keyroom::{self, Claim};
use crate::wire::a12::{Answer, Ask, Command, Event, Initiator, InitiatorConfig};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Input, Output, Protocol, Violation};

/// The client's end of a connection to a host.
#[derive(Debug)]
pub(super) struct Link {
    stream: TcpStream,
    machine: Initiator<Random>,
    keys: Keys,
    events: VecDeque<Event>,
    /// What is to be sent.
    out: Vec<u8>,
    deadline: Option<Instant>,
    closing: Closing,
    /// What the machine or the other side has ended with; told after the events before it.
    end: Option<End>,
}

/// How far our own end is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closing {
    No,
    Wanted,
    Done,
}

/// Our private key, and what is expected of the server's.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) own: SecretKey,
    pub(super) expected: Expected,
    /// The key that the server claims, once it has.
    pub(super) server: Option<PublicKey>,
}

/// Which key a server may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// It does not matter.
    Anybody,
    /// Nothing is known: it is to be shown to somebody.
    Unknown,
    /// One of these.
    OneOf(Vec<PublicKey>),
}

/// Why there are no more events.
#[derive(Debug)]
pub(super) enum End {
    /// The other side has closed the connection.
    Closed,
    /// The other side claims a key of which nothing is known.
    Unknown(PublicKey),
    /// The other side claims another key than expected.
    Other(PublicKey),
    /// The protocol does not go on.
    Broken(Error),
    /// The connection broke.
    Io(io::Error),
}

impl Link {
    /// The connection has been made; the handshake begins with [`next`](Self::next).
    pub(super) fn new(
        stream: TcpStream,
        config: InitiatorConfig,
        random: Random,
        keys: Keys,
    ) -> Self {
        Self {
            stream,
            machine: Initiator::new(config, Instant::now(), random),
            keys,
            events: VecDeque::new(),
            out: Vec::new(),
            deadline: None,
            closing: Closing::No,
            end: None,
        }
    }

    /// The key that the server claims, once it has; [`Event::Proved`] says that it holds it.
    pub(super) fn server(&self) -> Option<PublicKey> {
        self.keys.server
    }

    /// What both sides can call this attempt.
    pub(super) fn reference(&self) -> Reference {
        self.machine.reference()
    }

    /// Wants something done. What is to be sent for it goes out with [`next`](Self::next).
    pub(super) fn command(&mut self, command: Command) {
        self.handle(Input::Command(command));
    }

    /// How many bytes wait to be sent.
    pub(super) fn waiting(&self) -> usize {
        self.out.len()
    }

    /// Nothing more will be wanted: once all is sent, our end of the stream is closed.
    pub(super) fn close(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::Wanted;
        }
    }

    /// Waits for the next event, and sends what is to be sent meanwhile. Cancel-safe. Not to be
    /// called again after an end.
    pub(super) async fn next(&mut self) -> Result<Event, End> {
        loop {
            self.drain();
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Some(end) = self.end.take() {
                return Err(end);
            }
            if self.closing == Closing::Wanted && self.out.is_empty() {
                self.closing = Closing::Done;
                // If that fails, the connection is gone, which reading finds out.
                let _ = self.stream.shutdown().await;
            }
            let room = self.machine.room();
            // What comes after our goodbye is read only to see the end of it.
            let listens = room > 0 || self.closing == Closing::Done;
            tokio::select! {
                ready = self.stream.readable(), if listens => match ready {
                    Ok(()) => self.read(room),
                    Err(error) => self.end = Some(End::Io(error)),
                },
                ready = self.stream.writable(), if !self.out.is_empty() => match ready {
                    Ok(()) => self.write(),
                    Err(error) => self.end = Some(End::Io(error)),
                },
                () = passed(self.deadline) => self.handle(Input::Timeout),
            }
        }
    }

    /// Takes all that the machine has.
    fn drain(&mut self) {
        loop {
            match self.machine.poll(&mut self.out) {
                Output::Transmit => {}
                Output::Event(event) => self.events.push_back(event),
                Output::Ask(ask) => match self.keys.answer(ask) {
                    Ok(answer) => self.handle(Input::Answer(answer)),
                    Err(end) => return self.end = Some(end),
                },
                Output::Idle(deadline) => return self.deadline = deadline,
            }
        }
    }

    fn handle(&mut self, input: Input<'_, Answer, Command>) {
        if let Err(error) = self.machine.handle(Instant::now(), input) {
            self.end.get_or_insert(End::Broken(error));
        }
    }

    fn read(&mut self, room: usize) {
        let wanted = if room == 0 { CHUNK } else { room.min(CHUNK) };
        let mut bytes = vec![0; wanted];
        match self.stream.try_read(&mut bytes) {
            Ok(0) => {
                // An end in the middle of something is an end all the same.
                self.end = Some(End::Closed);
                self.handle(Input::Eof);
            }
            Ok(_) if room == 0 => {}
            Ok(read) => self.handle(Input::Bytes(bytes.get(..read).unwrap_or_default())),
            Err(error) => self.end = ended(error),
        }
    }

    fn write(&mut self) {
        match self.stream.try_write(&self.out) {
            Ok(sent) => drop(self.out.drain(..sent)),
            // What the other side has said before it closed is still to be read.
            Err(error) if is_closed(&error) => self.out.clear(),
            Err(error) => self.end = ended(error),
        }
    }
}

impl Keys {
    /// What the key room of a client says.
    fn answer(&mut self, ask: Ask) -> Result<Answer, End> {
        let violation = |violation| End::Broken(Error::Proto(violation));
        match ask {
            Ask::Server(hello) => {
                let claim = Claim::parse(&hello).map_err(violation)?;
                let key = *claim.key();
                match &self.expected {
                    Expected::Anybody => self.server = Some(key),
                    Expected::Unknown => return Err(End::Unknown(key)),
                    Expected::OneOf(keys) if !keys.contains(&key) => return Err(End::Other(key)),
                    Expected::OneOf(_) => self.server = Some(key),
                }
                Ok(Answer::Session(claim.session(&self.own)))
            }
            Ask::Ratchet(rekey) => keyroom::ratchet(&self.own, &rekey)
                .map(Answer::Ratchet)
                .map_err(violation),
            Ask::Claim { .. } | Ask::Proof(_) => Err(violation(Violation::OutOfTurn)),
        }
    }
}

async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

fn ended(error: io::Error) -> Option<End> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::Interrupted => None,
        // What a server that refuses leaves behind, if it has not read everything.
        _ if is_closed(&error) => Some(End::Closed),
        _ => Some(End::Io(error)),
    }
}

fn is_closed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
    )
}

/// How much is read at once, in bytes.
const CHUNK: usize = 16 * 1024;
