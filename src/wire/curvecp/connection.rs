//! A byte stream in each direction over a tunnel, from the first message to a while after the last.

use core::net::SocketAddr;
use std::fmt;
use std::time::{Duration, Instant};

use super::message::End;
use super::stream::{Read, Start, Stream};
use super::tunnel::Tunnel;

/// So long a server is asked in vain; its cookie is not good for longer.
const UNANSWERED: Duration = Duration::from_secs(60);
/// So long we go on to acknowledge what a peer repeats that has not heard that it can go.
const LINGER: Duration = Duration::from_secs(60);
/// The most that is handed out at once, in bytes.
const PIECE: usize = 65_536;

/// After so long without a packet from the peer, a connection is over.
pub const IDLE: Duration = Duration::from_secs(300);

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next bytes of the peer's stream, no more than there was credit for.
    Data(Vec<u8>),
    /// The peer's stream is complete.
    Eof,
    /// The peer's stream ends here since something went wrong at its side.
    Failed,
    /// The peer has all that was written, and knows that it is all.
    Sent,
    /// The connection is over, and nothing more comes out of it.
    Closed(Closed),
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Both streams have come to their end.
    Done,
    /// Nothing has come from the peer for too long.
    Idle,
    /// A server has never answered.
    Unanswered,
}

/// What to do next.
#[derive(Debug)]
pub enum Output {
    /// A packet was appended: send it there.
    Transmit(SocketAddr),
    /// Something has happened.
    Event(Event),
    /// Nothing more for now; come back then at the latest. `None` when it is over.
    Idle(Option<Instant>),
}

/// One end of a connection with byte streams.
///
/// After every call of another method, call [`poll`](Self::poll) until it says [`Output::Idle`].
/// There is no input for time: `poll` is told it.
pub struct Connection {
    tunnel: Tunnel,
    stream: Stream,
    idle: Duration,
    /// How many bytes the application still takes.
    credit: usize,
    state: State,
    /// Whether the application knows that everything was sent.
    told_sent: bool,
    heard: Instant,
    scratch: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Open,
    /// Both streams have come to their end.
    Lingering(Instant),
    Closing(Closed),
    Closed,
}

impl Connection {
    /// A server's end: [`Start::Silent`], and the client's first messages are to be given to
    /// [`deliver`](Self::deliver). Or a client's.
    pub fn new(tunnel: Tunnel, start: Start, idle: Duration, now: Instant) -> Self {
        let mut stream = Stream::new(start, now);
        if tunnel.is_client() {
            stream.outlast();
        }
        Self {
            tunnel,
            stream,
            idle,
            credit: 0,
            state: State::Open,
            told_sent: false,
            heard: now,
            scratch: Vec::new(),
        }
    }

    /// Takes a packet, which is opened where it lies. Whatever is wrong with it, it is ignored.
    pub fn receive(&mut self, now: Instant, from: SocketAddr, packet: &mut [u8]) {
        if matches!(self.state, State::Closing(_) | State::Closed) {
            return;
        }
        if let Some(message) = self.tunnel.open(from, packet) {
            self.heard = now;
            self.stream.receive(now, message);
        }
    }

    /// Takes a message that came with the handshake.
    pub fn deliver(&mut self, now: Instant, message: &[u8]) {
        self.stream.receive(now, message);
    }

    /// The application takes so many bytes more. Without credit, what comes is not acknowledged.
    pub fn credit(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_add(bytes);
    }

    /// How many bytes can be written now, 131072 at most.
    pub fn room(&self) -> usize {
        self.stream.room()
    }

    /// Takes bytes to be sent; gives how many, which is less than all if there was less room.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.stream.write(bytes)
    }

    /// Our stream is complete.
    pub fn finish(&mut self) {
        self.stream.end(End::Success);
    }

    /// Our stream ends since something went wrong.
    pub fn fail(&mut self) {
        self.stream.end(End::Failure);
    }

    /// Whether the peer has been heard: a server takes us then.
    pub fn is_confirmed(&self) -> bool {
        self.tunnel.is_confirmed()
    }

    /// Where packets go to.
    pub fn to(&self) -> SocketAddr {
        self.tunnel.to()
    }

    /// Takes the next output; a packet to send is appended to `out`.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<u8>) -> Output {
        self.look(now);
        match self.state {
            State::Closing(why) => {
                self.state = State::Closed;
                return Output::Event(Event::Closed(why));
            }
            State::Closed => return Output::Idle(None),
            State::Open | State::Lingering(_) => {}
        }
        if let Some(event) = self.event() {
            return Output::Event(event);
        }
        let largest = self.tunnel.room();
        self.scratch.clear();
        if self.stream.transmit(now, largest, &mut self.scratch)
            && self.tunnel.seal(&self.scratch, out)
        {
            return Output::Transmit(self.tunnel.to());
        }
        let question = self.question().filter(|at| *at > now);
        let others = [self.stream.deadline(now, largest), question];
        Output::Idle(Some(
            others.into_iter().flatten().fold(self.end(), Instant::min),
        ))
    }

    fn event(&mut self) -> Option<Event> {
        match self.stream.read(self.credit.min(PIECE)) {
            Some(Read::Data(bytes)) => {
                self.credit -= bytes.len();
                return Some(Event::Data(bytes));
            }
            Some(Read::End(End::Success)) => return Some(Event::Eof),
            Some(Read::End(End::Failure)) => return Some(Event::Failed),
            None => {}
        }
        if self.stream.is_sent() && !self.told_sent {
            self.told_sent = true;
            return Some(Event::Sent);
        }
        None
    }

    /// Looks what is overdue.
    fn look(&mut self, now: Instant) {
        if matches!(self.state, State::Open) && self.stream.is_done() {
            self.stream.shrink();
            self.state = State::Lingering(now + LINGER);
        }
        if matches!(self.state, State::Open | State::Lingering(_)) && now >= self.end() {
            self.state = State::Closing(match self.state {
                State::Lingering(_) => Closed::Done,
                _ if !self.tunnel.is_confirmed() => Closed::Unanswered,
                _ => Closed::Idle,
            });
            return;
        }
        self.stream.look(now);
        // A peer that lives answers this, if it had nothing to say of its own.
        if self.question().is_some_and(|at| now >= at) {
            self.stream.ping(now);
        }
    }

    /// When a silent peer is asked whether it is there.
    fn question(&self) -> Option<Instant> {
        let asks = matches!(self.state, State::Open) && self.tunnel.is_confirmed();
        asks.then(|| self.heard + self.idle / 2)
    }

    /// When it is over if nothing comes from the peer.
    fn end(&self) -> Instant {
        match self.state {
            State::Lingering(until) => until,
            _ if !self.tunnel.is_confirmed() => self.heard + self.idle.min(UNANSWERED),
            // It may have gone, and only its last acknowledgement was lost.
            _ if self.stream.is_ending() => self.heard + self.idle.min(LINGER),
            _ => self.heard + self.idle,
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("tunnel", &self.tunnel)
            .finish_non_exhaustive()
    }
}
