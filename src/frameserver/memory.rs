//! A frameserver without a process, sockets and a clock: what tests of scripts talk through.
//!
//! Machines and sessions are those of the real one; bytes, answers, decisions and the time are
//! arguments, and what it would send is [`Said`].

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::link::Outbox;
use super::machine::{Config, Event, Machine};
use super::session::{Next, Overrun, Session, about};
use crate::ipc::frameserver::{Candidate, Ended, Speaks};
use crate::ipc::link::{FromScript, ToScript};
use crate::ipc::{ConnectionId, SessionId};
use crate::wire::{Answer, Ask, Error, Input, Output, Protocol, Refusal};

/// A frameserver in memory, with one script at the other end of its data link.
#[derive(Debug)]
pub struct Memory {
    config: Config,
    script: Outbox,
    peers: BTreeMap<ConnectionId, Peer>,
    next: u64,
    said: VecDeque<Said>,
}

/// What a frameserver says to others than the script.
#[derive(Debug)]
pub enum Said {
    /// To the host: a question for the key room.
    Ask {
        /// Who asks.
        connection: ConnectionId,
        /// What.
        ask: Ask,
    },
    /// To the peer.
    Bytes {
        /// Which one.
        connection: ConnectionId,
        /// What.
        bytes: Vec<u8>,
    },
    /// To both: the connection is over.
    Closed {
        /// Which one.
        connection: ConnectionId,
        /// Why.
        why: Ended,
    },
}

/// Such a listener cannot be had in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unheard;

#[derive(Debug)]
struct Peer {
    machine: Machine,
    session: Option<Session>,
    out: Vec<u8>,
    /// How many bytes have gone out.
    written: u64,
    deadline: Option<Instant>,
    /// Only what the script has not had yet is left.
    over: bool,
}

impl Memory {
    /// A listener; `handshake` is how long a handshake may take.
    pub fn new(speaks: Speaks, handshake: Duration) -> Result<Self, Unheard> {
        let script = Outbox::default();
        script.begin();
        Ok(Self {
            config: Config::new(speaks, handshake).map_err(|_| Unheard)?,
            script,
            peers: BTreeMap::new(),
            next: 0,
            said: VecDeque::new(),
        })
    }

    /// The current secrets have changed.
    pub fn secrets(&mut self, secrets: Vec<Candidate>) -> Result<(), Unheard> {
        self.config.replace_secrets(secrets).map_err(|_| Unheard)
    }

    /// Somebody connects; `None` where nobody can.
    pub fn connect(&mut self, now: Instant, seed: [u8; 32]) -> Option<ConnectionId> {
        let machine = Machine::new(&self.config, now, seed)?;
        let connection = ConnectionId(self.next);
        self.next += 1;
        let peer = Peer {
            machine,
            session: None,
            out: Vec::new(),
            written: 0,
            deadline: None,
            over: false,
        };
        self.peers.insert(connection, peer);
        Some(connection)
    }

    /// Bytes of a peer; how many of them were taken. None: it has to wait, or nobody listens.
    pub fn bytes(&mut self, now: Instant, connection: ConnectionId, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while let Some(peer) = self.peers.get(&connection)
            && let room = peer.room(&self.script)
            && room > 0
            && let Some(rest) = bytes.get(taken..)
            && !rest.is_empty()
        {
            let portion = rest.get(..room).unwrap_or(rest);
            taken += portion.len();
            self.give(now, connection, Input::Bytes(portion));
        }
        taken
    }

    /// A peer has ended its stream.
    pub fn eof(&mut self, now: Instant, connection: ConnectionId) {
        self.give(now, connection, Input::Eof);
        self.end(connection, Ended::Peer);
    }

    /// What the key room says; with what admits comes the session that the peer has become.
    pub fn answer(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        answer: Answer,
        session: Option<SessionId>,
    ) {
        let carries = self.config.carries();
        if let Some(id) = session
            && let Some(peer) = self.peers.get_mut(&connection)
        {
            peer.session = Some(Session::new(id, carries, &self.script));
        }
        self.give(now, connection, Input::Answer(answer));
    }

    /// The script has decided.
    pub fn decide(&mut self, now: Instant, session: SessionId, accept: bool) {
        let Some(connection) = self.connection(session) else {
            return;
        };
        if !accept {
            return self.end(connection, Ended::Refused(Refusal::TurnedAway));
        }
        if let Some(peer) = self.peers.get_mut(&connection) {
            if let Some(session) = &mut peer.session {
                session.accept(&self.script);
            }
            let accept = peer.machine.accept();
            self.give(now, connection, Input::Command(accept));
        }
    }

    /// The script says something over the data link.
    pub fn script(&mut self, now: Instant, message: FromScript) {
        let about = about(&message).and_then(|about| self.connection(about.session));
        let (Some(connection), Some(epoch)) = (about, self.script.epoch()) else {
            return;
        };
        let Some(peer) = self.peers.get_mut(&connection) else {
            return;
        };
        let said = match &mut peer.session {
            Some(session) => session.said(epoch, message),
            None => Ok(()),
        };
        match said {
            Ok(()) => self.turn(now, connection),
            Err(Overrun) => self.end(connection, Ended::Told),
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        let late = |peer: &Peer| peer.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<_> = self.peers.iter().filter(|(_, peer)| late(peer)).collect();
        let late: Vec<_> = late
            .into_iter()
            .map(|(&connection, _)| connection)
            .collect();
        for connection in late {
            self.give(now, connection, Input::Timeout);
        }
    }

    /// Ends what is no session yet: the listener is closed.
    pub fn stop_listening(&mut self) {
        let strangers = self.peers.iter().filter(|(_, peer)| peer.session.is_none());
        let strangers: Vec<_> = strangers.map(|(&connection, _)| connection).collect();
        for connection in strangers {
            self.end(connection, Ended::Told);
        }
    }

    /// What it says next to others than the script.
    pub fn said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// All that it has for the script.
    pub fn to_script(&mut self) -> Vec<ToScript> {
        self.script.take()
    }

    fn connection(&self, session: SessionId) -> Option<ConnectionId> {
        let of = |peer: &Peer| peer.session.as_ref().map(Session::id) == Some(session);
        let found = self.peers.iter().find(|(_, peer)| of(peer));
        found.map(|(&connection, _)| connection)
    }

    fn give(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        input: Input<'_, Answer, super::machine::Command>,
    ) {
        let Some(peer) = self.peers.get_mut(&connection).filter(|peer| !peer.over) else {
            return;
        };
        match peer.input(now, input, connection, &mut self.said) {
            Ok(()) => self.turn(now, connection),
            Err(why) => self.end(connection, why),
        }
    }

    /// Does what can be done without waiting.
    fn turn(&mut self, now: Instant, connection: ConnectionId) {
        let Some(peer) = self.peers.get_mut(&connection) else {
            return;
        };
        let ended = if peer.over {
            let session = peer.session.as_mut();
            let more = session.is_some_and(|session| session.linger(&self.script));
            if !more {
                self.peers.remove(&connection);
            }
            None
        } else {
            peer.turn(now, connection, &self.script, &mut self.said)
                .err()
        };
        if let Some(why) = ended {
            self.end(connection, why);
        }
    }

    /// The connection is over; the script gets what it has not had.
    fn end(&mut self, connection: ConnectionId, why: Ended) {
        let Some(peer) = self.peers.get_mut(&connection).filter(|peer| !peer.over) else {
            return;
        };
        peer.over = true;
        if !peer.out.is_empty() && peer.session.is_some() {
            let bytes = std::mem::take(&mut peer.out);
            self.said.push_back(Said::Bytes { connection, bytes });
        }
        self.said.push_back(Said::Closed { connection, why });
        let session = peer.session.as_mut();
        if !session.is_some_and(|session| session.end(&self.script)) {
            self.peers.remove(&connection);
        }
    }
}

impl Peer {
    fn room(&self, script: &Outbox) -> usize {
        let caught_up = |session: &Session| session.is_caught_up(script);
        if self.over || !self.session.as_ref().is_none_or(caught_up) {
            return 0;
        }
        self.machine.room()
    }

    /// Gives the machine one input and takes what comes out of it.
    fn input(
        &mut self,
        now: Instant,
        input: Input<'_, Answer, super::machine::Command>,
        connection: ConnectionId,
        said: &mut VecDeque<Said>,
    ) -> Result<(), Ended> {
        let done = self.machine.handle(now, input);
        loop {
            match self.machine.poll(&mut self.out) {
                Output::Transmit => {}
                Output::Ask(ask) if done.is_ok() => said.push_back(Said::Ask { connection, ask }),
                Output::Ask(_) => {}
                Output::Event(event) => self.event(event),
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    break;
                }
            }
        }
        done.map_err(|error| match error {
            Error::Proto(violation) => Ended::Violation(violation),
            Error::Access(refusal) => Ended::Refused(refusal),
            Error::Again { .. } => Ended::Broken,
        })
    }

    fn event(&mut self, event: Event) {
        if let Some(session) = &mut self.session {
            session.event(event);
        }
    }

    fn turn(
        &mut self,
        now: Instant,
        connection: ConnectionId,
        script: &Outbox,
        said: &mut VecDeque<Said>,
    ) -> Result<(), Ended> {
        while let Some(session) = &mut self.session {
            session.forward(script);
            let next = session.next(script).map_err(|Overrun| Ended::Told)?;
            let (commands, last) = match next {
                None => break,
                Some(Next::Event(channel, command)) => {
                    self.input(now, Input::Command(command), connection, said)?;
                    let at = self.written + self.out.len() as u64;
                    if let Some(session) = &mut self.session {
                        session.mark(at, channel);
                    }
                    continue;
                }
                Some(Next::Do(command)) => (vec![command], false),
                Some(Next::Last(commands)) => (commands, true),
            };
            for command in commands {
                self.input(now, Input::Command(command), connection, said)?;
            }
            if last {
                return Err(Ended::Told);
            }
        }
        if !self.out.is_empty() {
            let bytes = std::mem::take(&mut self.out);
            self.written += bytes.len() as u64;
            said.push_back(Said::Bytes { connection, bytes });
            if let Some(session) = &mut self.session {
                session.written(self.written, script);
            }
        }
        Ok(())
    }
}
