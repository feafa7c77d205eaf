//! What both ends do once the handshake is done.

use std::sync::Arc;
use std::time::Instant;

use super::Answer;
use super::command::Command as Wire;
use super::frame::{Frame, Frames};
use super::greeting::Dialect;
use super::heartbeat::Pulse;
use super::line::{Kind, Line};
use super::pattern::{Outgoing, Pattern};
use super::peer::{Command, Event, Message, Outbox};
use super::socket::Socket;
use crate::wire::{Field, Input, Violation};

/// A connection over which messages go.
pub(super) struct Session {
    socket: Arc<Socket>,
    dialect: Dialect,
    line: Line,
    pattern: Pattern,
    pulse: Pulse,
    frames: Frames,
    /// The parts of a message that is not whole, and how many bytes they have.
    parts: Message,
    size: usize,
    /// For what is put together before it is sealed.
    scratch: Vec<u8>,
}

impl Session {
    /// The handshake is done; what the socket subscribes to goes out.
    pub(super) fn new(
        socket: Arc<Socket>,
        dialect: Dialect,
        line: Line,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<Self, Violation> {
        let mut session = Self {
            pattern: Pattern::new(socket.kind),
            pulse: Pulse::new(socket.heartbeat, now),
            dialect,
            line,
            frames: Frames::new(),
            parts: Vec::new(),
            size: 0,
            scratch: Vec::new(),
            socket,
        };
        for topic in &Arc::clone(&session.socket).topics {
            session.subscribe(topic, out)?;
        }
        Ok(session)
    }

    pub(super) fn room(&self) -> usize {
        if self.pattern.is_full() { 0 } else { READ }
    }

    pub(super) fn may_send(&self) -> bool {
        self.pattern.may_send()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pulse.deadline()
    }

    /// Whether the session goes on.
    pub(super) fn handle(
        &mut self,
        now: Instant,
        input: Input<'_, Answer, Command>,
        out: &mut Outbox,
    ) -> Result<bool, Violation> {
        match input {
            Input::Bytes(bytes) => self.read(now, bytes, out).map(|()| true),
            Input::Command(command) => self.command_of_ours(command, out),
            Input::Timeout => self.timeout(now, out).map(|()| true),
            Input::Eof => self.end().map(|()| false),
            Input::Answer(_) => Err(Violation::OutOfTurn),
        }
    }

    /// The peer has ended its stream.
    fn end(&self) -> Result<(), Violation> {
        match self.frames.is_between() && self.parts.is_empty() {
            true => Ok(()),
            false => Err(Violation::Truncated),
        }
    }

    /// Bytes came in.
    pub(super) fn read(
        &mut self,
        now: Instant,
        mut bytes: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        while !bytes.is_empty() {
            let left = self.socket.max_message.saturating_sub(self.size);
            let most = left.max(COMMAND).saturating_add(self.line.overhead());
            let frame = self.frames.take(&mut bytes, most);
            if let Some(frame) = frame.map_err(|_| Violation::TooMany(Field::Bytes))? {
                self.frame(now, frame, out)?;
            }
        }
        Ok(())
    }

    fn frame(&mut self, now: Instant, frame: Frame, out: &mut Outbox) -> Result<(), Violation> {
        let (kind, body) = self.line.open(frame)?;
        self.pulse.heard();
        if kind == Kind::Command {
            return self.command(now, &body, out);
        }
        self.size = self.size.saturating_add(body.len());
        if self.size > self.socket.max_message {
            return Err(Violation::TooMany(Field::Bytes));
        }
        if self.parts.len() >= self.socket.max_parts {
            return Err(Violation::TooMany(Field::Parts));
        }
        self.parts.push(body);
        if kind == Kind::More {
            return Ok(());
        }
        self.size = 0;
        let message = std::mem::take(&mut self.parts);
        self.pattern.received(message, out)
    }

    fn command(&mut self, now: Instant, body: &[u8], out: &mut Outbox) -> Result<(), Violation> {
        match Wire::parse(body) {
            Some(Wire::Ping { ttl, context }) => {
                self.pulse.pinged(now, ttl);
                self.say(Wire::Pong { context }, out)
            }
            Some(Wire::Subscribe(topic)) => self.pattern.subscribed(topic, out),
            Some(Wire::Cancel(topic)) => {
                self.pattern.cancelled(topic, out);
                Ok(())
            }
            Some(Wire::Pong { .. }) | None => Ok(()),
        }
    }

    /// The deadline has passed.
    fn timeout(&mut self, now: Instant, out: &mut Outbox) -> Result<(), Violation> {
        if self.room() == 0 || out.is_full() {
            self.pulse.excuse(now);
        }
        match self.pulse.due(now)? {
            Some(ttl) => self.say(Wire::Ping { ttl, context: &[] }, out),
            None => Ok(()),
        }
    }

    /// Does what this side wants done in a session; whether it goes on.
    fn command_of_ours(&mut self, command: Command, out: &mut Outbox) -> Result<bool, Violation> {
        match command {
            Command::Send(message) => self.send(message, out)?,
            Command::Subscribe(topic) => self.subscribe(&topic, out)?,
            Command::Cancel(topic) => {
                if self.pattern.cancel(&topic) {
                    self.tell(Wire::Cancel(&topic), 0, &topic, out)?;
                }
            }
            Command::Abandon => self.pattern.abandon(out),
            Command::Accept => return Err(Violation::OutOfTurn),
            Command::Close => return Ok(false),
        }
        Ok(true)
    }

    fn send(&mut self, message: Message, out: &mut Outbox) -> Result<(), Violation> {
        if message.is_empty() {
            return Ok(());
        }
        match self.pattern.outgoing(message, out) {
            Outgoing::Send(before, message) => {
                let parts = before.iter().chain(&message);
                let last = before.len() + message.len() - 1;
                for (at, part) in parts.enumerate() {
                    let kind = if at < last { Kind::More } else { Kind::Last };
                    self.line.seal(kind, part, &mut out.bytes)?;
                }
            }
            Outgoing::Unwanted => {}
            Outgoing::OutOfTurn(message) => out.event(Event::Unsent(message)),
        }
        Ok(())
    }

    fn subscribe(&mut self, topic: &[u8], out: &mut Outbox) -> Result<(), Violation> {
        match self.pattern.subscribe(topic)? {
            true => self.tell(Wire::Subscribe(topic), 1, topic, out),
            false => Ok(()),
        }
    }

    /// Tells a publisher of a subscription, in its dialect.
    fn tell(
        &mut self,
        command: Wire<'_>,
        first: u8,
        topic: &[u8],
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        match self.dialect {
            Dialect::V31 => self.say(command, out),
            Dialect::V30 => {
                self.scratch.clear();
                self.scratch.push(first);
                self.scratch.extend_from_slice(topic);
                self.line.seal(Kind::Last, &self.scratch, &mut out.bytes)
            }
        }
    }

    fn say(&mut self, command: Wire<'_>, out: &mut Outbox) -> Result<(), Violation> {
        self.scratch.clear();
        command.write(&mut self.scratch);
        self.line.seal(Kind::Command, &self.scratch, &mut out.bytes)
    }
}

/// As many bytes are taken at once.
const READ: usize = 64 * 1024;

/// A command may have so many bytes, however small messages have to be.
const COMMAND: usize = 512;
