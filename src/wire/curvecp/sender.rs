//! The stream that we send: cut into blocks, each sent until it has come.
//!
//! A block keeps its place and length; each time it is sent it gets a new number. The peer says which
//! number has come, and up to where it has everything. Packets that are overtaken are dropped by the
//! peer, so what was sent before a number that has come, and has not come itself, is lost.

use std::collections::VecDeque;
use std::time::Instant;

use super::message::{Block, End, Message, Received, largest_block};
use super::pace::{MOST, Pace};
use super::packet::MESSAGE;

/// As many bytes wait or are under way at most.
pub(super) const BUFFER: usize = 131_072;

pub(super) struct Sender {
    /// What is in no block yet.
    waiting: VecDeque<u8>,
    blocks: VecDeque<Sent>,
    /// How many bytes are in blocks.
    held: usize,
    /// How many blocks are under way, and how many are to be sent again.
    flying: usize,
    lost: usize,
    /// Where the next block begins.
    position: u64,
    /// The last number.
    id: u32,
    /// How the application has ended the stream, and whether a block says so.
    end: Option<End>,
    told: bool,
    pace: Pace,
    /// Since when an acknowledgement is waited for.
    since: Option<Instant>,
    ping: Ping,
}

/// A block that has been sent.
struct Sent {
    position: u64,
    bytes: Vec<u8>,
    end: Option<End>,
    id: u32,
    at: Instant,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Flying,
    /// It is to be sent again.
    Lost,
    /// It has come, and the peer lacks something before it.
    Come,
    /// It need not be kept for itself.
    Acknowledged,
}

/// An empty block that says nothing but that we are there.
#[derive(Default)]
struct Ping {
    due: Option<Instant>,
    last: Option<(u32, Instant)>,
}

impl Sent {
    /// Where the peer must have come to; an end counts as a byte.
    fn until(&self) -> u64 {
        let length = self.bytes.len() as u64 + u64::from(self.end.is_some());
        self.position.saturating_add(length)
    }
}

impl Sender {
    /// With a time for an empty block if there is nothing else to send by then.
    pub(super) fn new(ping: Option<Instant>) -> Self {
        Self {
            waiting: VecDeque::new(),
            blocks: VecDeque::new(),
            held: 0,
            flying: 0,
            lost: 0,
            position: 0,
            id: 0,
            end: None,
            told: false,
            pace: Pace::new(),
            since: None,
            ping: Ping {
                due: ping,
                last: None,
            },
        }
    }

    /// How many more bytes are taken now.
    pub(super) fn room(&self) -> usize {
        match self.end {
            None => BUFFER.saturating_sub(self.waiting.len() + self.held),
            Some(_) => 0,
        }
    }

    /// Takes as many bytes as there is room for.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        self.waiting.extend(bytes.get(..taken).unwrap_or_default());
        taken
    }

    /// Nothing more comes; the first end counts.
    pub(super) fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Whether a block has said that nothing more comes.
    pub(super) fn is_ending(&self) -> bool {
        self.told
    }

    /// Whether the peer has everything, the end included.
    pub(super) fn is_done(&self) -> bool {
        self.told && self.blocks.is_empty()
    }

    /// Whether something was sent of which the peer has not said that it has it.
    pub(super) fn is_waiting(&self) -> bool {
        !self.blocks.is_empty()
    }

    /// Sends an empty block then, if there is nothing else to send.
    pub(super) fn ping(&mut self, at: Instant) {
        self.ping.due.get_or_insert(at);
    }

    /// Where the next new block begins.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next message, for which there are so many bytes; while it is `held`, nothing new.
    pub(super) fn transmit(
        &mut self,
        now: Instant,
        largest: usize,
        held: bool,
    ) -> Option<Message<'_>> {
        if self.pace.next().is_some_and(|next| next > now) {
            return None;
        }
        if !self.wants(largest, held) {
            return self.transmit_ping(now);
        }
        let at = match self.first_lost() {
            Some(at) => at,
            None => self.cut(now, largest_block(largest)),
        };
        let id = self.next_id();
        self.pace.sent(now);
        self.since.get_or_insert(now);
        self.ping = Ping::default();
        self.flying += 1;
        let block = self.blocks.get_mut(at)?;
        block.id = id;
        block.at = now;
        block.state = State::Flying;
        Some(Message {
            id,
            acknowledges: 0,
            received: Received::default(),
            block: Some(Block {
                position: block.position,
                bytes: &block.bytes,
                end: block.end,
            }),
        })
    }

    /// Whether a block is to be sent, as far as the window goes.
    fn wants(&self, largest: usize, held: bool) -> bool {
        // Who has not heard the peer does not talk on.
        let unheard = largest < MESSAGE && self.flying > 0;
        !unheard && self.pace.has_room(self.flying) && (self.lost > 0 || (!held && self.has_new()))
    }

    fn has_new(&self) -> bool {
        let ends = self.end.is_some() && !self.told;
        (ends || !self.waiting.is_empty()) && self.blocks.len() < MOST
    }

    /// Takes the first of the lost ones.
    fn first_lost(&mut self) -> Option<usize> {
        if self.lost == 0 {
            return None;
        }
        let mut blocks = self.blocks.iter();
        let at = blocks.position(|block| block.state == State::Lost)?;
        self.lost -= 1;
        Some(at)
    }

    /// Makes a new block.
    fn cut(&mut self, now: Instant, largest: usize) -> usize {
        let length = self.waiting.len().min(largest);
        let mut bytes = Vec::with_capacity(length);
        let (front, back) = self.waiting.as_slices();
        let first = front.len().min(length);
        bytes.extend_from_slice(front.get(..first).unwrap_or_default());
        bytes.extend_from_slice(back.get(..length - first).unwrap_or_default());
        self.waiting.drain(..length);
        let end = self.end.filter(|_| self.waiting.is_empty());
        self.told = end.is_some();
        self.held += length;
        self.blocks.push_back(Sent {
            position: self.position,
            bytes,
            end,
            id: 0,
            at: now,
            state: State::Flying,
        });
        self.position = self.position.saturating_add(length as u64);
        self.blocks.len() - 1
    }

    fn transmit_ping(&mut self, now: Instant) -> Option<Message<'_>> {
        if self.ping.due? > now || !self.blocks.is_empty() || self.has_new() {
            return None;
        }
        if self.ping.last.is_some() {
            self.pace.timeout(now);
        }
        let id = self.next_id();
        self.ping = Ping {
            due: Some(now + self.pace.patience()),
            last: Some((id, now)),
        };
        Some(Message {
            id,
            acknowledges: 0,
            received: Received::default(),
            block: Some(Block {
                position: 0,
                bytes: &[],
                end: None,
            }),
        })
    }

    fn next_id(&mut self) -> u32 {
        self.id = self.id.wrapping_add(1).max(1);
        self.id
    }

    /// The peer says what it has. Numbers that were never given say nothing.
    pub(super) fn acknowledged(&mut self, now: Instant, id: u32, received: &Received) {
        let known = id != 0 && !is_before(self.id, id);
        let mut come = usize::from(known && self.arrived(now, id));
        for (begin, end) in received.ranges() {
            for block in &mut self.blocks {
                if block.position < begin || block.until() > end {
                    continue;
                }
                match block.state {
                    State::Flying => {
                        self.flying -= 1;
                        come += 1;
                    }
                    State::Lost => {
                        self.lost -= 1;
                        come += 1;
                    }
                    State::Come => {}
                    State::Acknowledged => continue,
                }
                block.state = State::Acknowledged;
            }
        }
        while let Some(block) = self
            .blocks
            .pop_front_if(|block| block.state == State::Acknowledged)
        {
            self.held -= block.bytes.len();
        }
        if known {
            self.overtaken(now, id);
        }
        if come > 0 {
            self.pace.acknowledged(come);
            self.since = Some(now);
        }
        if self.blocks.is_empty() {
            self.since = None;
        }
    }

    /// This number has come; says whether that is news of a block.
    fn arrived(&mut self, now: Instant, id: u32) -> bool {
        if let Some((_, at)) = self.ping.last.filter(|(ping, _)| *ping == id) {
            self.pace.sample(now.saturating_duration_since(at));
            self.pace.heard();
            self.ping = Ping::default();
            return false;
        }
        let Some(block) = self.blocks.iter_mut().find(|block| block.id == id) else {
            return false;
        };
        match block.state {
            State::Flying => self.flying -= 1,
            State::Lost => self.lost -= 1,
            State::Come | State::Acknowledged => return false,
        }
        block.state = State::Come;
        let took = now.saturating_duration_since(block.at);
        self.pace.sample(took);
        true
    }

    /// What was sent before the number that has come is lost.
    fn overtaken(&mut self, now: Instant, id: u32) {
        for block in &mut self.blocks {
            if block.state == State::Flying && is_before(block.id, id) {
                block.state = State::Lost;
                self.flying -= 1;
                self.lost += 1;
                self.pace.lost(now, block.at);
            }
        }
    }

    /// The peer has woken us: it may take again what it did not take before.
    pub(super) fn woken(&mut self, now: Instant) {
        self.pace.heard();
        self.look(now);
    }

    /// Looks whether an acknowledgement is overdue.
    pub(super) fn look(&mut self, now: Instant) {
        if self
            .since
            .is_some_and(|at| now >= at + self.pace.patience())
        {
            self.expire(now);
        }
    }

    /// Nobody knows what has come: all of it may be sent again, the first one first.
    fn expire(&mut self, now: Instant) {
        for (at, block) in self.blocks.iter_mut().enumerate() {
            let lost = match block.state {
                State::Flying => true,
                // The peer says that it has come, and does not have it.
                State::Come => at == 0,
                State::Lost | State::Acknowledged => false,
            };
            if lost {
                self.flying -= usize::from(block.state == State::Flying);
                self.lost += 1;
                block.state = State::Lost;
            }
        }
        self.pace.timeout(now);
        self.since = Some(now);
    }

    /// When there is something to do, whether or not anything comes from the peer.
    pub(super) fn deadline(&self, now: Instant, largest: usize, held: bool) -> Option<Instant> {
        let send = self
            .wants(largest, held)
            .then(|| self.pace.next().unwrap_or(now));
        let ping = self.ping.due.filter(|_| self.blocks.is_empty());
        let patience = self.since.map(|since| since + self.pace.patience());
        [send, ping, patience].into_iter().flatten().min()
    }

    /// Gives back what memory is not used.
    pub(super) fn shrink(&mut self) {
        self.waiting.shrink_to(0);
        self.blocks.shrink_to(0);
    }
}

/// Whether one number was given before another; they begin again after 2^32.
fn is_before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}
