//! What both ends say to the code around them, and how it waits to be taken.

use std::collections::VecDeque;
use std::time::Instant;

use super::Ask;
use super::metadata::Metadata;
use crate::wire::Output;

/// A message: its parts.
pub type Message = Vec<Vec<u8>>;

/// What this side wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Listener: the peer has been taken, and is told so.
    Accept,
    /// Send a message. PUB and XPUB leave it out for a peer that has not subscribed to it.
    Send(Message),
    /// SUB and XSUB: subscribe to messages that begin so.
    Subscribe(Vec<u8>),
    /// SUB and XSUB: take back one such subscription.
    Cancel(Vec<u8>),
    /// REP: the request that the application has is not going to be answered; the next one comes.
    Abandon,
    /// Nothing more is said or taken; the connection is to be closed after what is then polled. A
    /// listener that has not accepted the peer fails by this, and has a farewell.
    Close,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The handshake is done, and this is what the peer tells of itself. A listener's peer waits for
    /// [`Command::Accept`].
    Ready(Metadata),
    /// A message came in.
    Message(Message),
    /// XPUB: the peer has subscribed.
    Subscribed {
        /// To what begins so.
        topic: Vec<u8>,
        /// It had not before.
        first: bool,
    },
    /// XPUB: the peer has taken back a subscription.
    Cancelled {
        /// To what begins so.
        topic: Vec<u8>,
        /// It has no other to the same.
        last: bool,
    },
    /// A message was not sent: sockets of our type do not send, or it is not their turn.
    Unsent(Message),
}

/// What is to be polled.
#[derive(Default)]
pub(super) struct Outbox {
    /// For the peer.
    pub(super) bytes: Vec<u8>,
    said: VecDeque<Output<Ask, Event>>,
    /// How many bytes of messages there are among it.
    held: usize,
}

impl Outbox {
    pub(super) fn ask(&mut self, ask: Ask) {
        self.said.push_back(Output::Ask(ask));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.held = self.held.saturating_add(held(&event));
        self.said.push_back(Output::Event(event));
    }

    /// Whether there is so much that the peer has to wait until some has been taken.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > FULL_BYTES || self.held > FULL_BYTES || self.said.len() > FULL_SAID
    }

    /// After a failure nothing more goes out; what the peer did before it stays true.
    pub(super) fn fail(&mut self) {
        self.bytes = Vec::new();
        self.said.retain(|said| matches!(said, Output::Event(_)));
    }

    pub(super) fn poll(
        &mut self,
        out: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Output<Ask, Event> {
        if !self.bytes.is_empty() {
            if out.is_empty() {
                std::mem::swap(out, &mut self.bytes);
            } else {
                out.append(&mut self.bytes);
            }
            return Output::Transmit;
        }
        let said = self.said.pop_front().unwrap_or(Output::Idle(deadline));
        if let Output::Event(event) = &said {
            self.held = self.held.saturating_sub(held(event));
        }
        said
    }
}

fn held(event: &Event) -> usize {
    match event {
        Event::Message(message) | Event::Unsent(message) => message.iter().map(Vec::len).sum(),
        _ => 0,
    }
}

/// More than one read of the peer's bytes can cause, unless they are the end of a large message.
const FULL_BYTES: usize = 256 * 1024;
const FULL_SAID: usize = 1024;
