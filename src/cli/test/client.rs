//! A client in memory: it speaks a12 as `moonport connect` does, with bytes as arguments.

use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use identity::{PublicKey, Secret};
use rand_core::SeedableRng;

use crate::cli::connect::text::{Joined, split};
use crate::ipc::{ConnectionId, ListenerId};
use crate::wire::a12::event::{External, SegmentKind, SegmentRequest, Target, Text};
use crate::wire::a12::keyroom::{self, Claim};
use crate::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Input, Output, Protocol};

/// How long the server may take to answer.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Client {
    /// Where it has connected to.
    pub(super) listener: ListenerId,
    pub(super) connection: ConnectionId,
    machine: Initiator<ChaCha20Rng>,
    key: SecretKey,
    public: PublicKey,
    title: String,
    established: bool,
    /// What it wants to say once it may.
    waiting: Vec<Command>,
    /// Bytes for the server, and bytes of its own that it has not taken.
    pub(super) out: Vec<u8>,
    unread: Vec<u8>,
    joined: Joined,
    heard: Vec<(String, String)>,
    over: Option<String>,
    requests: u32,
}

impl Client {
    /// It has connected; all that is random follows from the seed.
    pub(super) fn new(
        place: (ListenerId, ConnectionId),
        (key, public): (SecretKey, PublicKey),
        secret: Option<&Secret>,
        title: String,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let config = InitiatorConfig {
            role: Role::Source,
            initial: secret.map_or_else(StageKeys::public, StageKeys::initial),
            public,
            rounds: Rounds::Two,
            handshake: HANDSHAKE,
        };
        let mut client = Self {
            listener: place.0,
            connection: place.1,
            machine: Initiator::new(config, now, ChaCha20Rng::from_seed(seed)),
            key,
            public,
            title,
            established: false,
            waiting: Vec::new(),
            out: Vec::new(),
            unread: Vec::new(),
            joined: Joined::default(),
            heard: Vec::new(),
            over: None,
            requests: 0,
        };
        client.drain(now);
        client
    }

    /// Its public key.
    pub(super) fn public(&self) -> PublicKey {
        self.public
    }

    /// Says something, at once or as soon as it may.
    pub(super) fn say(&mut self, now: Instant, kind: &str, text: &str) -> Result<(), String> {
        if let Some(why) = &self.over {
            return Err(format!("the connection is over: {why}"));
        }
        let events = match kind {
            "message" => split(text).into_iter().map(External::Message).collect(),
            "alert" => split(text).into_iter().map(External::Alert).collect(),
            "ident" => vec![External::Ident(text.to_owned())],
            "registered" => vec![self.register(text.to_owned(), SegmentKind::APPLICATION)],
            "segment_request" => {
                self.requests += 1;
                let mut kinds = (0..=255).map(SegmentKind);
                let found = kinds.find(|kind| !text.is_empty() && kind.name() == text);
                vec![External::SegmentRequest(SegmentRequest {
                    id: self.requests,
                    width: 640,
                    height: 480,
                    x: 0,
                    y: 0,
                    direction: 0,
                    hints: 0,
                    kind: found.ok_or_else(|| format!("there is no kind of segment {text:?}"))?,
                })]
            }
            other => {
                return Err(format!(
                    "a client here says message, alert, ident, registered or segment_request, not {other}"
                ));
            }
        };
        for event in events {
            let command = Command::External { channel: 0, event };
            if self.established {
                self.give(now, Input::Command(command));
            } else {
                self.waiting.push(command);
            }
        }
        Ok(())
    }

    /// What it has heard since the last time.
    pub(super) fn hear(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.heard)
    }

    /// Why its connection is over.
    pub(super) fn over(&self) -> Option<&str> {
        self.over.as_deref()
    }

    /// Its connection is over.
    pub(super) fn end(&mut self, why: &str) {
        self.over.get_or_insert_with(|| why.to_owned());
        self.out.clear();
    }

    /// Bytes of the server.
    pub(super) fn bytes(&mut self, now: Instant, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        while self.over.is_none() && !self.unread.is_empty() {
            let room = self.machine.room().min(self.unread.len());
            if room == 0 {
                return;
            }
            let portion: Vec<u8> = self.unread.drain(..room).collect();
            self.give(now, Input::Bytes(&portion));
        }
    }

    fn register(&self, title: String, kind: SegmentKind) -> External {
        External::Register {
            title,
            kind,
            guid: [0; 2],
        }
    }

    fn give(&mut self, now: Instant, input: Input<'_, Answer, Command>) {
        if let Err(error) = self.machine.handle(now, input) {
            self.end(&error.to_string());
        }
        self.drain(now);
    }

    fn drain(&mut self, now: Instant) {
        loop {
            match self.machine.poll(&mut self.out) {
                Output::Transmit => {}
                Output::Ask(ask) => match self.answer(ask) {
                    Ok(answer) => {
                        if let Err(error) = self.machine.handle(now, Input::Answer(answer)) {
                            self.end(&error.to_string());
                        }
                    }
                    Err(error) => return self.end(&error.to_string()),
                },
                Output::Event(event) => self.event(now, event),
                Output::Idle(_) => return,
            }
        }
    }

    /// What the key room of a client says; every server will do.
    fn answer(&self, ask: Ask) -> Result<Answer, Error> {
        match ask {
            Ask::Server(hello) => {
                let claim = Claim::parse(&hello).map_err(Error::Proto)?;
                Ok(Answer::Session(claim.session(&self.key)))
            }
            Ask::Ratchet(rekey) => keyroom::ratchet(&self.key, &rekey)
                .map(Answer::Ratchet)
                .map_err(Error::Proto),
            Ask::Claim { .. } | Ask::Proof(_) => {
                Err(Error::Proto(crate::wire::Violation::OutOfTurn))
            }
        }
    }

    fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Established { .. } => {
                self.established = true;
                let event = self.register(self.title.clone(), SegmentKind::APPLICATION);
                let first = Command::External { channel: 0, event };
                for command in std::iter::once(first).chain(std::mem::take(&mut self.waiting)) {
                    self.command(now, command);
                }
            }
            Event::NewChannel { channel, kind, .. } => {
                self.note("segment", kind.name().to_owned());
                let event = self.register(self.title.clone(), kind);
                self.command(now, Command::External { channel, event });
            }
            Event::Target { channel: 0, event } => self.target(&event),
            Event::Target { channel, event } => {
                self.note(&format!("{}@{channel}", word(&event)), shown(&event));
            }
            Event::Input { input, .. } => self.note("input", format!("{input:?}")),
            Event::Goodbye { text } => self.note("goodbye", text),
            Event::Proved
            | Event::Admitted { .. }
            | Event::External { .. }
            | Event::Frame { .. }
            | Event::Opened { .. } => {}
        }
    }

    fn target(&mut self, event: &Target) {
        match event {
            Target::Message(part) => {
                if let Some(message) = self.joined.push(part) {
                    self.note("message", message);
                }
            }
            other => self.note(&word(other), shown(other)),
        }
    }

    fn note(&mut self, kind: &str, text: String) {
        self.heard.push((kind.to_owned(), text));
    }

    /// Within a drain, which takes what comes of it.
    fn command(&mut self, now: Instant, command: Command) {
        if let Err(error) = self.machine.handle(now, Input::Command(command)) {
            self.end(&error.to_string());
        }
    }
}

/// What an event is called: `displayhint`.
fn word(event: &Target) -> String {
    let shown = format!("{event:?}");
    let name = shown.split(|c: char| !c.is_ascii_alphanumeric()).next();
    name.unwrap_or_default().to_ascii_lowercase()
}

/// What is in an event.
fn shown(event: &Target) -> String {
    match event {
        Target::Message(Text { text, .. }) => text.clone(),
        other => format!("{other:?}"),
    }
}
