//! A byte stream in each direction, in messages (section 7 of the protocol text).
//!
//! What comes is acknowledged at once, each number exactly once, as long as the application has taken
//! all that came before; while it has not, acknowledgements wait, and the peer with them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::message::{BLOCK, Block, End, Message, Received};
use super::receiver::Receiver;
use super::sender::Sender;

/// As many acknowledgements wait for the application; what comes then is not taken.
const ACKNOWLEDGEMENTS: usize = 256;

/// After so long without a block a sender of the reference may have fallen asleep.
const WAKE: Duration = Duration::from_millis(500);
/// While nothing is known to be missing, it is woken after twice as long each time, so often.
const WAKES: u32 = 7;

/// A peer of the reference does not look at what comes, acknowledgements included, while its
/// application takes no more; and one that echoes takes no more when it cannot write. So while a
/// peer has as much to send as fits, we are no further ahead of it than this.
const AHEAD: u64 = 131_072;
/// A peer that has sent nothing for so long has nothing to send.
const QUIET: Duration = Duration::from_secs(2);

/// When a client speaks first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// When there is data: all servers, and clients whose server waits for them anyway.
    Silent,
    /// With data, or without if there is none by then. 0 for a client of a server that speaks first.
    Within(Duration),
}

/// What has come of the peer's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// Bytes.
    Data(Vec<u8>),
    /// Nothing more comes.
    End(End),
}

/// Both streams of one connection, as one end sees them.
pub struct Stream {
    sender: Sender,
    receiver: Receiver,
    /// What has come and is not acknowledged yet.
    acknowledge: VecDeque<u32>,
    /// When a sender is woken that has stopped, and how often it has been.
    wake: Option<(Instant, u32)>,
    wake_now: bool,
    /// The peer has more to send than what has come, as far as is known then.
    busy: Option<Instant>,
    /// See [`outlast`](Self::outlast).
    outlasts: bool,
}

impl Stream {
    /// Two streams of which nothing has been sent.
    pub fn new(start: Start, now: Instant) -> Self {
        let ping = match start {
            Start::Silent => None,
            Start::Within(time) => Some(now + time),
        };
        Self {
            sender: Sender::new(ping),
            receiver: Receiver::default(),
            acknowledge: VecDeque::new(),
            wake: None,
            wake_now: false,
            busy: None,
            outlasts: false,
        }
    }

    /// A peer of the reference goes as soon as it has our stream and we have acknowledged the end of its
    /// own. If its last acknowledgement is lost, nobody repeats it, and we do not learn that it has
    /// everything. So the end of its stream is acknowledged only when ours has been. One side alone may
    /// do so, or both would wait: the client.
    pub(super) fn outlast(&mut self) {
        self.outlasts = true;
    }

    /// Whether the end of the peer's stream is not acknowledged yet.
    fn withholds(&self) -> bool {
        self.outlasts && self.sender.is_ending() && !self.sender.is_done()
    }

    /// How many bytes can be written now, 131072 at most.
    pub fn room(&self) -> usize {
        self.sender.room()
    }

    /// Takes bytes to be sent; gives how many, which is less than all if there was less room.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        self.sender.write(bytes)
    }

    /// Nothing more is written.
    pub fn end(&mut self, end: End) {
        self.sender.end(end);
    }

    /// Takes at most so many bytes of the peer's stream, or its end.
    pub fn read(&mut self, most: usize) -> Option<Read> {
        match self.receiver.end() {
            Some(end) => Some(Read::End(end)),
            None => {
                let bytes = self.receiver.read(most);
                (!bytes.is_empty()).then_some(Read::Data(bytes))
            }
        }
    }

    /// Takes a message. What is no message is ignored.
    pub fn receive(&mut self, now: Instant, message: &[u8]) {
        let Some(message) = Message::parse(message) else {
            return;
        };
        let waited = self.sender.is_waiting();
        self.sender
            .acknowledged(now, message.acknowledges, &message.received);
        if waited && !self.sender.is_waiting() {
            match self.receiver.is_whole() {
                // It may not be acknowledged yet.
                true => self.wake_now = self.outlasts && self.sender.is_done(),
                // What it answers may be lost.
                false => self.wake = Some((now + WAKE, 0)),
            }
        }
        match message.block {
            Some(block) if message.id != 0 => self.receive_block(now, message.id, &block),
            Some(block) if !block.bytes.is_empty() || block.end.is_some() => {
                self.store(now, &block);
            }
            // Nothing but what has come: it may be said to wake us.
            _ if message.acknowledges == 0 => self.sender.woken(now),
            _ => {}
        }
    }

    fn receive_block(&mut self, now: Instant, id: u32, block: &Block<'_>) {
        if self.acknowledge.len() >= ACKNOWLEDGEMENTS || !self.store(now, block) {
            return;
        }
        if block.end.is_none() || !self.withholds() {
            self.acknowledge.push_back(id);
        }
        // An empty one is only a question.
        if !block.bytes.is_empty() || block.end.is_some() {
            self.wake = (!self.receiver.is_whole()).then(|| (now + WAKE, 0));
        }
    }

    fn store(&mut self, now: Instant, block: &Block<'_>) -> bool {
        let before = self.receiver.whole();
        let stored = self.receiver.store(block);
        if self.receiver.whole() > before {
            // What is cut short is the last that there was.
            let busy = block.bytes.len() == BLOCK && !self.receiver.is_whole();
            self.busy = busy.then_some(now);
        }
        stored
    }

    /// Until when nothing new is sent, if the peer does not catch up before.
    fn held(&self) -> Option<Instant> {
        let ahead = self.sender.position().saturating_sub(self.receiver.whole());
        let busy = self.busy.filter(|_| ahead >= AHEAD)?;
        Some(busy + QUIET)
    }

    /// Appends the next message if there is one, of at most so many bytes.
    pub fn transmit(&mut self, now: Instant, largest: usize, out: &mut Vec<u8>) -> bool {
        let message = if let Some(id) = self.next_acknowledgement() {
            self.pure(id)
        } else if std::mem::take(&mut self.wake_now) {
            self.pure(0)
        } else if let Some(message) = {
            let held = self.held().is_some_and(|until| now < until);
            self.sender.transmit(now, largest, held)
        } {
            message
        } else {
            return false;
        };
        message.encode(out);
        true
    }

    fn next_acknowledgement(&mut self) -> Option<u32> {
        match self.receiver.unread() {
            0 => self.acknowledge.pop_front(),
            _ => None,
        }
    }

    /// A message that only says what has come.
    fn pure(&self, acknowledges: u32) -> Message<'static> {
        let withheld = self.receiver.is_whole() && self.withholds();
        let received = Received {
            whole: self.receiver.whole() - u64::from(withheld),
            ..Received::default()
        };
        Message {
            id: 0,
            acknowledges,
            received,
            block: None,
        }
    }

    /// Looks what is overdue.
    pub fn look(&mut self, now: Instant) {
        self.sender.look(now);
        let Some((_, times)) = self.wake.take_if(|(at, _)| now >= *at) else {
            return;
        };
        // The application is behind, not the peer.
        self.wake_now = self.receiver.unread() == 0 && self.acknowledge.is_empty();
        self.shrink();
        if self.receiver.has_gap() {
            self.wake = Some((now + WAKE, 0));
        } else if times < WAKES {
            self.wake = Some((now + WAKE * (2 << times), times + 1));
        }
    }

    /// Gives back what memory is not used.
    pub(super) fn shrink(&mut self) {
        self.receiver.shrink();
        self.sender.shrink();
    }

    /// When there is something to do though nothing comes from anywhere.
    pub fn deadline(&self, now: Instant, largest: usize) -> Option<Instant> {
        let ready = !self.acknowledge.is_empty() && self.receiver.unread() == 0 || self.wake_now;
        let held = self.held().filter(|until| now < *until);
        let deadlines = [
            ready.then_some(now),
            self.sender.deadline(now, largest, held.is_some()),
            self.wake.map(|(at, _)| at),
            held,
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Asks the peer, then, for a sign that it is there, unless there is something else to send.
    pub(super) fn ping(&mut self, at: Instant) {
        self.sender.ping(at);
    }

    /// Whether the peer has all that was written, and knows that it is all.
    pub fn is_sent(&self) -> bool {
        self.sender.is_done()
    }

    /// Whether both streams have said their end, whether or not everything has come.
    pub(super) fn is_ending(&self) -> bool {
        self.sender.is_ending() && self.receiver.is_whole()
    }

    /// Whether both streams have come to their end.
    pub fn is_done(&self) -> bool {
        self.sender.is_done() && self.receiver.is_done()
    }
}
