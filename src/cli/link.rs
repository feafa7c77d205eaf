//! A connection and its protocol machine, driven together; the machine's questions are answered on
//! the spot.

use std::collections::VecDeque;
use std::future::pending;
use std::io::{self, ErrorKind};
use std::time::Instant;

use identity::PublicKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::sleep_until;

use crate::wire::{Error, Input, Output, Protocol};

/// Who answers a machine's questions.
pub(super) trait KeyRoom {
    /// Whose.
    type Machine: Protocol;

    /// Answers, or ends the connection.
    fn answer(
        &mut self,
        ask: <Self::Machine as Protocol>::Ask,
    ) -> Result<<Self::Machine as Protocol>::Answer, End>;
}

type Event<K> = <<K as KeyRoom>::Machine as Protocol>::Event;
type Answer<K> = <<K as KeyRoom>::Machine as Protocol>::Answer;
type Command<K> = <<K as KeyRoom>::Machine as Protocol>::Command;

/// One end of a connection.
pub(super) struct Link<K: KeyRoom, S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    machine: K::Machine,
    keys: K,
    events: VecDeque<Event<K>>,
    /// What is read into.
    chunk: Vec<u8>,
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

impl<K: KeyRoom, S: AsyncRead + AsyncWrite> Link<K, S> {
    /// The connection has been made; what is to be said begins with [`next`](Self::next).
    pub(super) fn new(stream: S, machine: K::Machine, keys: K) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        Self {
            reader,
            writer,
            machine,
            keys,
            events: VecDeque::new(),
            chunk: vec![0; CHUNK],
            out: Vec::new(),
            deadline: None,
            closing: Closing::No,
            end: None,
        }
    }

    pub(super) fn machine(&self) -> &K::Machine {
        &self.machine
    }

    pub(super) fn keys(&self) -> &K {
        &self.keys
    }

    /// Wants something done. What is to be sent for it goes out with [`next`](Self::next).
    pub(super) fn command(&mut self, command: Command<K>) {
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
    pub(super) async fn next(&mut self) -> Result<Event<K>, End> {
        loop {
            if let Some(event) = self.step().await? {
                return Ok(event);
            }
        }
    }

    /// The next event, or `None` after something else has happened: the machine may think otherwise
    /// now. Like [`next`](Self::next) in all else.
    pub(super) async fn step(&mut self) -> Result<Option<Event<K>>, End> {
        self.drain();
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        if let Some(end) = self.end.take() {
            return Err(end);
        }
        if self.closing == Closing::Wanted && self.out.is_empty() {
            self.closing = Closing::Done;
            // If that fails, the connection is gone, which reading finds out.
            let _ = self.writer.shutdown().await;
        }
        let room = self.machine.room();
        // What comes after our goodbye is read only to see the end of it.
        let listens = room > 0 || self.closing == Closing::Done;
        let wanted = if room == 0 { CHUNK } else { room.min(CHUNK) };
        let chunk = self.chunk.get_mut(..wanted).unwrap_or_default();
        tokio::select! {
            read = self.reader.read(chunk), if listens => self.has_read(read, room),
            sent = self.writer.write(&self.out), if !self.out.is_empty() => self.has_sent(sent),
            () = passed(self.deadline) => self.handle(Input::Timeout),
        }
        Ok(None)
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

    fn handle(&mut self, input: Input<'_, Answer<K>, Command<K>>) {
        if let Err(error) = self.machine.handle(Instant::now(), input) {
            self.end.get_or_insert(End::Broken(error));
        }
    }

    fn has_read(&mut self, read: io::Result<usize>, room: usize) {
        match read {
            Ok(0) => {
                // An end in the middle of something is an end all the same.
                self.end = Some(End::Closed);
                self.handle(Input::Eof);
            }
            Ok(_) if room == 0 => {}
            Ok(read) => {
                let chunk = std::mem::take(&mut self.chunk);
                self.handle(Input::Bytes(chunk.get(..read).unwrap_or_default()));
                self.chunk = chunk;
            }
            Err(error) => self.end = ended(error),
        }
    }

    fn has_sent(&mut self, sent: io::Result<usize>) {
        match sent {
            Ok(sent) => drop(self.out.drain(..sent)),
            // What the other side has said before it closed is still to be read.
            Err(error) if is_closed(&error) => self.out.clear(),
            Err(error) => self.end = ended(error),
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
