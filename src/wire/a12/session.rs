//! What both ends do once the session's keys are in force.

use identity::PublicKey;
use rand_core::CryptoRng;

use super::control::{Control, Header, Rekey};
use super::event::{self, Received, Record};
use super::handshake::public_key;
use super::line::Line;
use super::packet::{Direction, Kind, Opener, Packet};
use super::peer::{Command, Event, Outbox};
use super::streams::{Complete, Streams};
use super::{Answer, Ask, RatchetKeys, Role};
use crate::wire::Whole;
use crate::wire::{Error, Input, Violation};

/// An authenticated connection.
pub(super) struct Session {
    role: Role,
    opener: Opener,
    line: Line,
    streams: Streams,
    /// Whether the peer has shown that it holds its key.
    proved: bool,
    /// A REKEY of the peer whose keys only the key room can compute.
    awaited: Option<(PublicKey, [u8; 8])>,
    /// Nothing more comes in or goes out.
    ended: bool,
}

impl Session {
    pub(super) fn new(role: Role, inbound: Direction, line: Line, proved: bool) -> Self {
        Self {
            role,
            opener: Opener::new(inbound),
            line,
            streams: Streams::new(),
            proved,
            awaited: None,
            ended: false,
        }
    }

    pub(super) fn room(&self) -> usize {
        if self.ended || self.awaited.is_some() {
            0
        } else {
            self.opener.room()
        }
    }

    /// Changes the keys of our direction.
    pub(super) fn ratchet<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        self.line.ratchet(rng, &mut out.bytes)
    }

    pub(super) fn handle<R: CryptoRng>(
        &mut self,
        input: Input<'_, Answer, Command>,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Error> {
        match input {
            Input::Timeout => Ok(()),
            Input::Bytes(bytes) if bytes.len() <= self.room() => {
                self.opener.push(bytes);
                self.run(rng, out).map_err(Error::Proto)
            }
            Input::Eof if self.ended || self.awaited.is_some() => Ok(()),
            Input::Eof if self.opener.is_between_packets() => {
                self.ended = true;
                Ok(())
            }
            Input::Eof => Err(Error::Proto(Violation::Truncated)),
            Input::Answer(answer) => self.answer(answer, rng, out),
            Input::Command(_) if self.ended => Ok(()),
            Input::Command(command) => self.command(command, rng, out).map_err(Error::Proto),
            Input::Bytes(_) => Err(Error::Proto(Violation::OutOfTurn)),
        }
    }

    /// Deals with all packets that have come as a whole.
    fn run<R: CryptoRng>(&mut self, rng: &mut R, out: &mut Outbox) -> Result<(), Violation> {
        while !self.ended && self.awaited.is_none() {
            let Some(packet) = self.opener.next()? else {
                return Ok(());
            };
            if !self.proved {
                self.proved = true;
                out.event(Event::Proved);
            }
            match packet {
                Packet::Control(&body) => {
                    self.line.last_seen = self.opener.last_seen();
                    self.control(&body, rng, out)?;
                }
                Packet::Event(&body) => {
                    self.line.last_seen = self.opener.last_seen();
                    self.event(&body, out);
                }
                Packet::Data(data) => {
                    let (kind, channel, bytes) = (data.kind, data.channel, data.bytes.len());
                    self.line.last_seen = self.opener.last_seen();
                    // Transfers are declined, and sound cannot work: both are dropped.
                    if kind == Kind::Video {
                        let complete = self.streams.data(channel, bytes);
                        self.acknowledge(channel, complete, rng, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn control<R: CryptoRng>(
        &mut self,
        body: &[u8; 128],
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let (
            Header {
                entropy, channel, ..
            },
            control,
        ) = Control::parse(body);
        match control {
            Control::Hello(_) => return Err(Violation::Command(control.number())),
            Control::Rekey(Rekey::Ratchet { key }) => {
                let key = public_key(&key)?;
                match self.line.peer_ratchets(&key)? {
                    Some(keys) => self.ratcheted(key, entropy, &keys, rng, out)?,
                    None => {
                        self.awaited = Some((key, entropy));
                        out.ask(Ask::Ratchet(Whole(*body)));
                    }
                }
            }
            Control::Rekey(_) => return Err(Violation::Rekey),
            Control::Shutdown { text } => out.event(Event::Goodbye { text }),
            Control::NewChannel {
                channel,
                kind,
                cookie,
                ..
            } if self.role == Role::Source && channel != 0 => {
                self.streams.open(channel);
                out.event(Event::NewChannel {
                    channel,
                    kind,
                    cookie,
                });
            }
            Control::VideoFrame(frame)
                if self.role == Role::Sink && self.streams.is_open(channel) =>
            {
                if self.streams.declines(&frame) {
                    self.cancel(channel, frame.stream, UNDECODABLE, VIDEO, rng, out)?;
                }
                let complete = self.streams.begin(channel, &frame);
                self.acknowledge(channel, complete, rng, out)?;
            }
            Control::BinaryStream(stream) => {
                self.cancel(channel, stream.stream, UNWANTED, BINARY, rng, out)?;
            }
            // Ours are not to be acknowledged, a directory we are not, and the rest is unknown.
            _ => {}
        }
        Ok(())
    }

    fn event(&mut self, body: &[u8; 139], out: &mut Outbox) {
        let event::Packet { channel, event, .. } =
            event::Packet::<Received>::parse(body, self.role);
        if !self.streams.is_open(channel) {
            return;
        }
        match event {
            Received::External(event) => out.event(Event::External { channel, event }),
            Received::Target(event) => out.event(Event::Target { channel, event }),
            Received::Io(input) => out.event(Event::Input { channel, input }),
            Received::Dropped(_) => {}
        }
    }

    /// Sources count on every frame's acknowledgement, in order.
    fn acknowledge<R: CryptoRng>(
        &mut self,
        channel: u8,
        complete: Option<Complete>,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let Some(Complete { stream, shown }) = complete else {
            return Ok(());
        };
        self.line
            .control(channel, &Control::Ping(stream), rng, &mut out.bytes)?;
        if let Some(event) = shown {
            out.event(event);
        }
        Ok(())
    }

    fn cancel<R: CryptoRng>(
        &mut self,
        channel: u8,
        stream: u32,
        reason: u8,
        kind: u8,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        let control = Control::CancelStream {
            stream,
            reason,
            kind,
        };
        self.line.control(channel, &control, rng, &mut out.bytes)
    }

    fn answer<R: CryptoRng>(
        &mut self,
        answer: Answer,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Error> {
        match (answer, self.awaited.take()) {
            (Answer::Ratchet(keys), Some((key, nonce))) => self
                .ratcheted(key, nonce, &keys, rng, out)
                .and_then(|()| self.run(rng, out))
                .map_err(Error::Proto),
            (Answer::Refused(refusal), Some(_)) => Err(Error::Access(refusal)),
            _ => Err(Error::Proto(Violation::OutOfTurn)),
        }
    }

    /// The peer's direction goes on under these keys.
    fn ratcheted<R: CryptoRng>(
        &mut self,
        peer: PublicKey,
        nonce: [u8; 8],
        keys: &RatchetKeys,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        self.opener.ratchet(keys, nonce);
        self.line.take_token(peer, rng, &mut out.bytes)
    }

    /// What is said on a channel that is not open is dropped.
    fn command<R: CryptoRng>(
        &mut self,
        command: Command,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        match (self.role, command) {
            (Role::Source, Command::External { channel, event }) => {
                self.say(channel, Record::External(event), rng, out)
            }
            (Role::Sink, Command::Target { channel, event }) => {
                self.say(channel, Record::Target(event), rng, out)
            }
            (Role::Sink, Command::Input { channel, input }) => {
                self.say(channel, Record::Io(input), rng, out)
            }
            (Role::Sink, Command::Open { cookie, kind }) => {
                let channel = self.streams.open_unused();
                out.event(Event::Opened { channel, cookie });
                let Some(channel) = channel else {
                    return Ok(());
                };
                let control = Control::NewChannel {
                    channel,
                    kind,
                    direction: 0,
                    cookie,
                };
                self.line.control(0, &control, rng, &mut out.bytes)
            }
            (Role::Sink, Command::Close { channel }) => {
                self.streams.close(channel);
                Ok(())
            }
            (_, Command::Shutdown { text }) => {
                let control = Control::Shutdown { text };
                self.line.control(0, &control, rng, &mut out.bytes)?;
                self.ended = true;
                Ok(())
            }
            _ => Err(Violation::OutOfTurn),
        }
    }

    fn say<R: CryptoRng>(
        &mut self,
        channel: u8,
        event: Record,
        rng: &mut R,
        out: &mut Outbox,
    ) -> Result<(), Violation> {
        if self.streams.is_open(channel) {
            self.line.event(channel, event, rng, &mut out.bytes)?;
        }
        Ok(())
    }
}

const UNWANTED: u8 = 0;
const UNDECODABLE: u8 = 1;
const VIDEO: u8 = 0;
const BINARY: u8 = 2;
