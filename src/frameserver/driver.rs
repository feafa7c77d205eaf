//! One peer: its socket, its protocol machine, and what the others have to say about it.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use identity::Reference;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc::Receiver;

use super::accept::Standing;
use super::door::Network;
use super::end::{self, End};
use super::hub::{PORTION, Shared};
use super::link::Epoch;
use super::machine::{self, Command, Machine};
use super::pipes::{self, Pipes};
use super::session::{Next, Overrun, Session};
use crate::ipc::frameserver::{Ended, FromFrameserver};
use crate::ipc::link::FromScript;
use crate::ipc::{ConnectionId, Exit, Framing, SessionId};
use crate::wire::{Answer, Ask, Error, Input, Output, Protocol, Refusal};

/// While so many bytes wait for a client, nothing more is taken from it or for it.
const MAX_OUT: usize = 64 * 1024;

/// A refused peer is told at a multiple of this after its last bytes, whatever it is refused for, so
/// that the time does not say what was wrong, nor how long the key room took to find it out.
const REFUSAL: Duration = Duration::from_millis(100);

/// How long a client that is told goodbye has to take it.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a peer's task is told by the hub.
#[derive(Debug)]
pub(super) enum ToPeer {
    /// The key room's answer to its question.
    Answer(Box<Answer>),
    /// The same, and that it is a session from here on.
    Session(SessionId, Box<Answer>),
    /// The script has decided.
    Decision(bool),
    /// The script says something.
    Script(Epoch, Box<FromScript>),
    /// The script's link has come or gone, or is listened to again. Whatever is said after this is
    /// for the script of that time.
    Linked(Option<Epoch>),
    /// A program talks with it from here on.
    Program(Framing, Box<Pipes>),
    /// The program has ended.
    ProgramEnded(Exit),
    /// End, for this reason.
    End(Ended),
}

/// A peer's place in the tables of the hub. Dropping it gives the place up, and tells the host if
/// that has not been done; so it happens however the peer's task ends.
#[derive(Debug)]
pub(super) struct Ticket {
    shared: Rc<Shared>,
    connection: ConnectionId,
    source: SocketAddr,
    /// What the peer can call this attempt.
    reference: Option<Reference>,
    session: Option<SessionId>,
    told: bool,
}

impl Ticket {
    pub(super) fn new(shared: Rc<Shared>, connection: ConnectionId, source: SocketAddr) -> Self {
        shared.peers.borrow_mut().live += 1;
        Self {
            shared,
            connection,
            source,
            reference: None,
            session: None,
            told: false,
        }
    }

    /// That of a peer that is a session from the beginning.
    pub(super) fn admitted(
        shared: Rc<Shared>,
        connection: ConnectionId,
        source: SocketAddr,
        session: SessionId,
    ) -> Self {
        let mut ticket = Self::new(shared, connection, source);
        ticket.session = Some(session);
        ticket
    }

    /// Tells the host, once.
    pub(super) fn tell(&mut self, why: Ended) {
        if !std::mem::replace(&mut self.told, true) {
            self.shared.host.push(match self.session {
                Some(session) => FromFrameserver::Gone { session, why },
                None => FromFrameserver::Closed {
                    connection: self.connection,
                    source: self.source,
                    reference: self.reference,
                    why,
                },
            });
        }
    }

    /// Looks through what has not been read: an answer may have crossed the end, and then the hub
    /// and the host know the connection as a session already.
    fn catch_up(&mut self, inbox: &mut Receiver<ToPeer>) {
        while let Ok(told) = inbox.try_recv() {
            if let ToPeer::Session(id, _) = told {
                self.session = Some(id);
            }
        }
    }

    /// What has happened counts for its source: a proof for it, a bad end before one against it.
    fn counts(&self, good: bool) {
        let (source, now) = (Network::of(self.source.ip()), now());
        let mut door = self.shared.door.borrow_mut();
        if good {
            door.proved(now, source);
        } else {
            door.offended(now, source);
        }
    }

    fn advance(&self, standing: Standing) {
        let mut peers = self.shared.peers.borrow_mut();
        peers.unproved.advance(self.connection, standing);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.tell(Ended::Broken);
        let mut peers = self.shared.peers.borrow_mut();
        peers.live -= 1;
        match self.session {
            Some(session) => {
                peers.sessions.remove(&session);
                self.counts(true);
            }
            None => drop(peers.unproved.remove(self.connection)),
        }
        self.shared.ended.notify_one();
    }
}

/// Serves one peer until it ends.
pub(super) async fn drive(mut stream: TcpStream, ticket: Ticket, mut inbox: Receiver<ToPeer>) {
    let mut seed = [0; 32];
    if getrandom::fill(&mut seed).is_err() {
        return;
    }
    let Some(mut peer) = Peer::new(ticket, seed) else {
        return;
    };
    let end = peer.serve(&mut stream, &mut inbox).await;
    // Boxed, so that nobody's task has room for an end all the time.
    Box::pin(peer.finish(stream, &mut inbox, end)).await;
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        match error {
            Error::Proto(violation) => Ended::Violation(violation),
            Error::Access(refusal) => Ended::Refused(refusal),
            // A machine that wants more has room for it and does not fail.
            Error::Again { .. } => Ended::Broken,
        }
        .into()
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // It has closed without reading all that was sent, as a client does that is in a hurry.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ended::Peer,
            _ => Ended::Broken,
        }
        .into()
    }
}

#[derive(Debug)]
struct Peer {
    machine: Machine,
    shared: Rc<Shared>,
    ticket: Ticket,
    /// `None` before the proof.
    session: Option<Session>,
    /// Those of a program in its script's place.
    pipes: Option<Pipes>,
    out: Outgoing,
    deadline: Option<Instant>,
    /// When the peer's last bytes came in.
    heard: Instant,
}

impl Peer {
    fn new(ticket: Ticket, seed: [u8; 32]) -> Option<Self> {
        let shared = Rc::clone(&ticket.shared);
        let now = now();
        let config = shared.config.borrow();
        let machine = Machine::new(&config, now, seed)?;
        let dialled = ticket
            .session
            .map(|id| Session::dialled(id, config.carries(), &shared.script));
        drop(config);
        let mut peer = Self {
            machine,
            session: dialled,
            pipes: None,
            shared,
            ticket,
            out: Outgoing::default(),
            deadline: None,
            heard: now,
        };
        peer.drain(true);
        Some(peer)
    }

    /// Runs until something ends it.
    async fn serve(&mut self, stream: &mut TcpStream, inbox: &mut Receiver<ToPeer>) -> End {
        let (mut reader, mut writer) = stream.split();
        let mut spent = 0;
        loop {
            let turn = match self.turn() {
                Ok(()) => self.step(&mut reader, &mut writer, inbox).await,
                Err(end) => Err(end),
            };
            match turn {
                Ok(bytes) => spent += bytes,
                Err(end) => return end,
            }
            if spent >= PORTION {
                spent = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for one thing and does it; how many bytes it was.
    async fn step(
        &mut self,
        reader: &mut ReadHalf<'_>,
        writer: &mut WriteHalf<'_>,
        inbox: &mut Receiver<ToPeer>,
    ) -> Result<usize, End> {
        let room = self.room();
        let held_up = self.session.as_ref().is_some_and(Session::is_held_up);
        let program = self.session.as_mut().and_then(Session::program);
        tokio::select! {
            () = at(self.deadline) => self.input(Input::Timeout).map(|()| 0),
            told = inbox.recv() => match told {
                Some(told) => self.told(told).map(|()| 0),
                None => Err(Ended::Told.into()),
            },
            () = self.shared.script.relieved(), if held_up => Ok(0),
            () = pipes::ready(self.pipes.as_ref(), program) => Ok(0),
            written = writer.write(self.out.rest()), if !self.out.rest().is_empty() => {
                let written = written?;
                self.out.advance(written);
                if let Some(session) = &mut self.session {
                    session.written(self.out.written, &self.shared.script);
                }
                Ok(written)
            }
            read = read(reader, &self.shared.scratch, room), if room > 0 => {
                let read = read?;
                self.heard = now();
                self.read(read)
            }
        }
    }

    /// How many bytes of the peer can be taken now.
    fn room(&self) -> usize {
        let stuck = self.out.rest().len() >= MAX_OUT
            || self
                .session
                .as_ref()
                .is_some_and(|session| !session.is_caught_up(&self.shared.script));
        if stuck { 0 } else { self.machine.room() }
    }

    fn read(&mut self, bytes: usize) -> Result<usize, End> {
        if bytes == 0 {
            self.input(Input::Eof)?;
            return Err(Ended::Peer.into());
        }
        let shared = Rc::clone(&self.shared);
        let scratch = shared.scratch.borrow();
        self.input(Input::Bytes(scratch.get(..bytes).unwrap_or_default()))?;
        Ok(bytes)
    }

    fn told(&mut self, message: ToPeer) -> Result<(), End> {
        match message {
            ToPeer::Answer(answer) => {
                if let Some(standing) = machine::standing_after(&answer) {
                    self.ticket.advance(standing);
                }
                self.input(Input::Answer(*answer))
            }
            ToPeer::Session(id, answer) => {
                self.ticket.session = Some(id);
                self.ticket.counts(true);
                let carries = self.shared.config.borrow().carries();
                self.session = Some(Session::new(id, carries, &self.shared.script));
                self.input(Input::Answer(*answer))
            }
            ToPeer::Decision(false) => Err(Ended::Refused(Refusal::TurnedAway).into()),
            ToPeer::Decision(true) => {
                if let Some(session) = &mut self.session {
                    session.accept(&self.shared.script);
                }
                self.input(Input::Command(self.machine.accept()))
            }
            ToPeer::Script(epoch, message) => match &mut self.session {
                Some(session) => Ok(session.said(epoch, *message)?),
                None => Ok(()),
            },
            ToPeer::Linked(epoch) => {
                if let Some(session) = &mut self.session {
                    session.linked(epoch);
                }
                Ok(())
            }
            ToPeer::Program(framing, pipes) => {
                if let Some(session) = &mut self.session {
                    session.serve(framing);
                    self.pipes = Some(*pipes);
                }
                Ok(())
            }
            ToPeer::ProgramEnded(exit) => {
                if let Some(session) = &mut self.session {
                    session.exited(exit);
                }
                Ok(())
            }
            ToPeer::End(why) => Err(why.into()),
        }
    }

    /// Does what can be done without waiting.
    fn turn(&mut self) -> Result<(), End> {
        while let Some(next) = self.next()? {
            match next {
                Next::Event(channel, command) => {
                    self.input(Input::Command(command))?;
                    let at = self.out.queued();
                    if let Some(session) = &mut self.session {
                        session.mark(at, channel);
                    }
                }
                Next::Do(command) => self.input(Input::Command(command))?,
                Next::Last(commands) => {
                    for command in commands {
                        self.input(Input::Command(command))?;
                    }
                    return Err(End {
                        why: Ended::Told,
                        polite: true,
                    });
                }
            }
        }
        Ok(())
    }

    /// Hands on to the script what has come for it; then, what the script wants done next, if there
    /// is room for it.
    fn next(&mut self) -> Result<Option<Next>, Overrun> {
        let Some(session) = &mut self.session else {
            return Ok(None);
        };
        session.forward(&self.shared.script);
        pipes::pump(&mut self.pipes, session.program());
        // One that is to end does so, even if it has stopped reading.
        if self.out.rest().len() >= MAX_OUT && !session.is_leaving() {
            return Ok(None);
        }
        let next = session.next(&self.shared.script)?;
        if next.is_none() {
            // Such as that the program is over.
            session.forward(&self.shared.script);
        }
        Ok(next)
    }

    /// Gives the machine one input and takes what comes out of it.
    fn input(&mut self, input: Input<'_, Answer, Command>) -> Result<(), End> {
        let result = self.machine.handle(now(), input);
        self.ticket.reference = self.machine.reference();
        self.drain(result.is_ok());
        Ok(result?)
    }

    /// Takes what comes out of the machine. What the peer did before it went wrong has happened,
    /// but then nothing is sent or asked any more.
    fn drain(&mut self, well: bool) {
        let mut nowhere = Vec::new();
        loop {
            let out = if well { self.out.end() } else { &mut nowhere };
            match self.machine.poll(out) {
                Output::Transmit if well && self.session.is_none() => {
                    self.ticket.advance(self.machine.standing_when_answered());
                }
                Output::Transmit => nowhere.clear(),
                Output::Ask(ask) if well => self.ask(ask),
                Output::Ask(_) => {}
                Output::Event(event) => {
                    if let Some(session) = &mut self.session {
                        if session.is_taken_by(&event) {
                            self.shared.host.push(FromFrameserver::Up(session.id()));
                        }
                        session.event(event);
                    }
                }
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    fn ask(&self, ask: Ask) {
        self.ticket.advance(machine::standing_of(&ask));
        self.shared.host.push(FromFrameserver::Ask {
            connection: self.ticket.connection,
            source: self.ticket.source,
            reference: self.ticket.reference,
            ask,
        });
    }

    /// Closes the connection, tells the host, and hands on to the script what it has not had room
    /// for yet.
    async fn finish(
        mut self,
        mut stream: TcpStream,
        inbox: &mut Receiver<ToPeer>,
        End { why, polite }: End,
    ) {
        if self.session.is_none() {
            self.ticket.catch_up(inbox);
        }
        if polite {
            let goodbye = tokio::time::timeout(GOODBYE, goodbye(&mut stream, self.out.rest()));
            tokio::select! {
                _ = goodbye => {}
                () = end::at_once(inbox) => {}
            }
        } else if self.session.is_some() {
            let _ = stream.try_write(self.out.rest());
        } else if matches!(why, Ended::Refused(_) | Ended::Violation(_)) {
            self.ticket.advance(Standing::Over);
            self.ticket.counts(false);
            tokio::select! {
                () = at(Some(refusal(self.heard, now()))) => {}
                () = end::at_once(inbox) => {}
            }
        }
        let farewell = match why {
            Ended::Refused(_) => self.machine.farewell(),
            _ => &[],
        };
        if !farewell.is_empty() {
            let goodbye = tokio::time::timeout(GOODBYE, goodbye(&mut stream, farewell));
            tokio::select! {
                _ = goodbye => {}
                () = end::at_once(inbox) => {}
            }
        }
        drop(stream);
        self.ticket.tell(why);
        if let Some(session) = self.session.take() {
            let pipes = self.pipes.take();
            end::hand_on(session, pipes, inbox, &self.shared.script).await;
        }
    }
}

/// When to tell a peer, last heard then, that it is refused, which is known now.
fn refusal(heard: Instant, now: Instant) -> Instant {
    let into = now.duration_since(heard).as_nanos() % REFUSAL.as_nanos();
    let into = Duration::from_nanos(into.try_into().unwrap_or(0));
    now + (REFUSAL - into)
}

/// What waits to be written to the peer.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them are written.
    done: usize,
    /// How many bytes were written since the beginning.
    written: u64,
}

impl Outgoing {
    /// Where to append.
    fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What is to be written next.
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    /// Where the stream will stand once all is written, in bytes since the beginning.
    fn queued(&self) -> u64 {
        self.written + self.rest().len() as u64
    }

    /// So many more bytes are written.
    fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        self.written += bytes as u64;
        if self.rest().is_empty() {
            self.done = 0;
            self.bytes.clear();
            // Most peers are idle most of the time, and there may be many.
            self.bytes.shrink_to(IDLE_OUT);
        } else if self.done >= MAX_OUT.max(self.rest().len()) {
            // One that always has something waiting would keep all that it ever had. What is moved is
            // less than what was written, or a large message would be moved again and again.
            self.bytes.drain(..self.done);
            self.done = 0;
        }
    }
}

/// How many bytes of memory for output an idle peer keeps.
const IDLE_OUT: usize = 1024;

/// Reads what there is, at most `room` bytes, to the beginning of `scratch`.
async fn read(
    reader: &mut ReadHalf<'_>,
    scratch: &RefCell<Vec<u8>>,
    room: usize,
) -> io::Result<usize> {
    std::future::poll_fn(|cx| {
        let mut scratch = scratch.borrow_mut();
        let room = room.min(scratch.len());
        let mut space = ReadBuf::new(scratch.get_mut(..room).unwrap_or_default());
        ready!(Pin::new(&mut *reader).poll_read(cx, &mut space))?;
        Poll::Ready(Ok(space.filled().len()))
    })
    .await
}

/// Writes the last bytes and waits until the peer has closed too: to close while it still sends
/// would make the system throw away what it has not read.
async fn goodbye(stream: &mut TcpStream, last: &[u8]) -> io::Result<()> {
    stream.write_all(last).await?;
    stream.shutdown().await?;
    loop {
        stream.readable().await?;
        match stream.try_read(&mut [0; 1024]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(_) | Err(_) => {}
        }
    }
}

/// Waits for a deadline; for ever, if there is none.
pub(super) async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[cfg(test)]
mod tests;
