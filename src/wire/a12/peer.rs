//! What both ends say to the code around them, and how it waits to be taken.

use std::collections::VecDeque;
use std::time::Instant;

use super::event::{External, Io, SegmentKind, Target};
use super::{Ask, Role};
use crate::wire::Output;

/// What this side wants done in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Listener: the client has been taken; its packets are taken from here on.
    Accept,
    /// Say this as a source.
    External {
        /// On which channel.
        channel: u8,
        /// What.
        event: External,
    },
    /// Say this as a sink.
    Target {
        /// On which channel.
        channel: u8,
        /// What.
        event: Target,
    },
    /// Send input as a sink.
    Input {
        /// On which channel.
        channel: u8,
        /// What.
        input: Io,
    },
    /// Sink: open a channel in answer to a segment request: one that was never used or, if there is
    /// none, the one closed longest ago.
    Open {
        /// The request's number.
        cookie: u32,
        /// What was asked for.
        kind: SegmentKind,
    },
    /// Sink: the channel is not used any more.
    Close {
        /// Which one.
        channel: u8,
    },
    /// Say goodbye; the connection is to be closed after what is then polled.
    Shutdown {
        /// Last words.
        text: String,
    },
}

/// What happened in a session.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Listener: the proof was good; the session's keys are in force.
    Admitted {
        /// The peer's role.
        role: Role,
    },
    /// Initiator: the server has answered and the session's keys are in force. It has not proved
    /// its key yet.
    Established {
        /// The server's role; `None`: it did not say.
        role: Option<Role>,
    },
    /// Initiator: the server's first packet has verified: it holds the key that it claims.
    Proved,
    /// The source says something.
    External {
        /// On which channel.
        channel: u8,
        /// What.
        event: External,
    },
    /// The sink says something.
    Target {
        /// On which channel.
        channel: u8,
        /// What.
        event: Target,
    },
    /// The sink sends input.
    Input {
        /// On which channel.
        channel: u8,
        /// What.
        input: Io,
    },
    /// A frame is complete and has been acknowledged; pictures are not decoded.
    Frame {
        /// On which channel.
        channel: u8,
        /// Surface width, pixels.
        width: u16,
        /// Surface height, pixels.
        height: u16,
        /// The origin is the lower left corner.
        origin_ll: bool,
        /// The content is text.
        text: bool,
        /// The frame's number on its channel, as the source counts.
        number: u32,
        /// Where the changed region begins: x and y, pixels.
        at: [u16; 2],
        /// Width and height of the changed region, pixels.
        region: [u16; 2],
    },
    /// Sink: the channel asked for with [`Command::Open`] is open; `None`: none is free.
    Opened {
        /// The new channel.
        channel: Option<u8>,
        /// The request's number.
        cookie: u32,
    },
    /// Source: the sink has opened a channel.
    NewChannel {
        /// Which one.
        channel: u8,
        /// What for.
        kind: SegmentKind,
        /// The number of our request, or one of the sink's.
        cookie: u32,
    },
    /// The peer says goodbye; it goes on until it closes.
    Goodbye {
        /// Its last words.
        text: String,
    },
}

/// What is to be polled.
#[derive(Default)]
pub(super) struct Outbox {
    /// For the peer.
    pub(super) bytes: Vec<u8>,
    said: VecDeque<Output<Ask, Event>>,
}

impl Outbox {
    pub(super) fn ask(&mut self, ask: Ask) {
        self.said.push_back(Output::Ask(ask));
    }

    pub(super) fn event(&mut self, event: Event) {
        self.said.push_back(Output::Event(event));
    }

    /// Whether there is so much that the peer has to wait until some has been taken.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > FULL_BYTES || self.said.len() > FULL_SAID
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
            out.append(&mut self.bytes);
            return Output::Transmit;
        }
        self.said.pop_front().unwrap_or(Output::Idle(deadline))
    }
}

/// More than one read of the peer's bytes can cause.
const FULL_BYTES: usize = 256 * 1024;
const FULL_SAID: usize = 1024;
