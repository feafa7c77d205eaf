//! Both sides for tests and for the fuzzer: machines with a key room behind them, and peers made by
//! hand, which can do wrong.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    dead_code,
    reason = "a test or a fuzzer is told by a panic"
)]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::PublicKey;
use rand_core::{CryptoRng, Rng, SeedableRng, TryCryptoRng, TryRng};

use super::frame::{Frame, Frames, write_header};
use super::handshake::{
    CLIENT_NONCE, HELLO_NONCE, Hello, INITIATE, INITIATE_NONCE, Initiate, READY, READY_NONCE,
    SERVER_NONCE, VOUCH_NONCE, Vouched, WELCOME_NONCE, Welcome, nonce, public_key, sized,
};
use super::keyroom::{self, COOKIE_NONCE, Host};
use super::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Listener, ListenerConfig, Socket,
    SocketType,
};
use crate::wire::cookie::Jar;
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;
use crate::wire::{Error, Input, Output, Protocol, Refusal, Whole};

pub(super) type Machine =
    dyn Protocol<Ask = Ask, Answer = Answer, Command = Command, Event = Event>;

pub(super) fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

pub(super) fn public(byte: u8) -> PublicKey {
    secret(byte).public().unwrap()
}

/// The server's long-term key, and the client's.
pub(super) const SERVER: u8 = 0x51;
pub(super) const CLIENT: u8 = 0xc1;

/// Random bytes that begin as was said.
pub(super) struct Dice {
    first: VecDeque<u8>,
    then: ChaCha8Rng,
}

impl Dice {
    pub(super) fn new(first: &[u8]) -> Self {
        Self {
            first: first.iter().copied().collect(),
            then: ChaCha8Rng::from_seed([3; 32]),
        }
    }
}

impl TryRng for Dice {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.then.next_u32())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.then.next_u64())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.then.fill_bytes(bytes);
        let length = bytes.len().min(self.first.len());
        for (to, from) in bytes.iter_mut().zip(self.first.drain(..length)) {
            *to = from;
        }
        Ok(())
    }
}

impl TryCryptoRng for Dice {}

/// The key room, and who decides behind it.
pub(super) struct Room {
    pub(super) hosts: Vec<Host>,
    pub(super) own: SecretKey,
    pub(super) server: PublicKey,
    pub(super) jar: Jar,
    pub(super) rng: Dice,
    pub(super) vouch_nonce: [u8; 16],
    /// Whether the client's key is known.
    pub(super) knows: bool,
}

impl Room {
    pub(super) fn new(now: Instant) -> Self {
        let mut rng = Dice::new(&[]);
        Self {
            hosts: vec![Host::new(secret(SERVER)).unwrap()],
            own: secret(CLIENT),
            server: public(SERVER),
            jar: Jar::new(*COOKIE_NONCE, now, &mut rng),
            rng,
            vouch_nonce: [0x17; 16],
            knows: true,
        }
    }

    pub(super) fn answer(&mut self, now: Instant, ask: &Ask) -> Answer {
        let Self {
            hosts, jar, rng, ..
        } = self;
        match ask {
            Ask::Hello(hello) => match keyroom::welcome(hello, hosts, jar, now, rng) {
                Ok(welcome) => Answer::Welcome(Box::new(welcome)),
                Err(violation) => Answer::Refused(Refusal::Broken(violation)),
            },
            Ask::Initiate(body) => match keyroom::initiate(body, hosts, jar, now, rng) {
                Ok(proved) if self.knows => Answer::Session(proved.session),
                Ok(_) => Answer::Refused(Refusal::NotAccepted),
                Err(violation) => Answer::Refused(Refusal::Broken(violation)),
            },
            Ask::Keyless(_) if self.knows => Answer::Keyless,
            Ask::Keyless(_) => Answer::Refused(Refusal::NotAccepted),
            Ask::Vouch { client, server } => Answer::Vouch {
                key: self.own.public().unwrap(),
                vouch: Box::new(keyroom::vouch(
                    &self.own,
                    client,
                    server,
                    &self.server,
                    self.vouch_nonce,
                )),
            },
        }
    }
}

/// A machine, and all that it has said.
pub(super) struct End {
    pub(super) machine: Box<Machine>,
    pub(super) room: Room,
    /// Whether a client that is ready is taken.
    pub(super) takes: bool,
    pub(super) now: Instant,
    pub(super) asked: Vec<Ask>,
    pub(super) events: Vec<Event>,
    pub(super) sent: Vec<u8>,
    pub(super) error: Option<Error>,
    pub(super) deadline: Option<Instant>,
    is_listener: bool,
}

impl End {
    fn new(machine: Box<Machine>, now: Instant, is_listener: bool) -> Self {
        let mut end = Self {
            machine,
            room: Room::new(now),
            takes: true,
            now,
            asked: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            error: None,
            deadline: None,
            is_listener,
        };
        end.give(Input::Timeout);
        end
    }

    pub(super) fn listener(config: ListenerConfig, now: Instant) -> Self {
        Self::new(Box::new(Listener::new(Arc::new(config), now)), now, true)
    }

    pub(super) fn initiator(
        server: PublicKey,
        socket: Socket,
        now: Instant,
        rng: &mut impl CryptoRng,
    ) -> Self {
        let config = InitiatorConfig {
            server,
            socket: Arc::new(socket),
            handshake: Duration::from_secs(10),
        };
        let machine = Initiator::new(config, now, rng);
        Self::new(Box::new(machine), now, false)
    }

    /// Gives one input, and answers what comes of it.
    pub(super) fn give(&mut self, input: Input<'_, Answer, Command>) {
        let mut result = self.machine.handle(self.now, input);
        loop {
            if let Err(error) = result {
                assert!(!matches!(error, Error::Again { .. }), "to be kept inside");
                self.error.get_or_insert(error);
            }
            result = Ok(());
            match self.machine.poll(&mut self.sent) {
                Output::Transmit => {}
                Output::Ask(ask) => {
                    assert_eq!(self.machine.room(), 0, "it asks, and does not wait");
                    let answer = self.room.answer(self.now, &ask);
                    self.asked.push(ask);
                    result = self.machine.handle(self.now, Input::Answer(answer));
                }
                Output::Event(event) => {
                    let ready = matches!(event, Event::Ready(_));
                    self.events.push(event);
                    if ready && self.takes && self.is_listener {
                        result = self
                            .machine
                            .handle(self.now, Input::Command(Command::Accept));
                    }
                }
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return;
                }
            }
        }
    }

    /// Gives bytes as they come, whatever room there is.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        self.read_by(bytes, &mut || usize::MAX);
    }

    /// The same, in portions; what there is no room for is left.
    pub(super) fn read_by(&mut self, mut bytes: &[u8], portion: &mut dyn FnMut() -> usize) {
        while self.error.is_none() && self.machine.room() > 0 && !bytes.is_empty() {
            let length = portion().max(1).min(self.machine.room()).min(bytes.len());
            let (now, later) = bytes.split_at(length);
            self.give(Input::Bytes(now));
            bytes = later;
        }
    }

    pub(super) fn command(&mut self, command: Command) {
        self.give(Input::Command(command));
    }

    pub(super) fn send(&mut self, parts: &[&[u8]]) {
        let message = parts.iter().map(|part| part.to_vec()).collect();
        self.command(Command::Send(message));
    }

    /// What it has said since the last time.
    pub(super) fn said(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }

    /// The messages that came in.
    pub(super) fn messages(&self) -> Vec<Vec<&[u8]>> {
        let messages = self.events.iter().filter_map(|event| match event {
            Event::Message(parts) => Some(parts.iter().map(Vec::as_slice).collect()),
            _ => None,
        });
        messages.collect()
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.events.first(), Some(Event::Ready(_)))
    }

    /// Waits until its deadline, and tells it so.
    pub(super) fn wait(&mut self) {
        self.now = self.deadline.unwrap();
        self.give(Input::Timeout);
    }
}

/// Lets two machines talk until they have nothing to say.
pub(super) fn talk(one: &mut End, other: &mut End) {
    loop {
        let (there, back) = (one.said(), other.said());
        if there.is_empty() && back.is_empty() {
            return;
        }
        other.read(&there);
        one.read(&back);
    }
}

/// A frame.
pub(super) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_header(flags, body.len(), &mut out);
    out.extend_from_slice(body);
    out
}

/// All frames of a stream.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let (mut frames, mut seen) = (Frames::new(), Vec::new());
    while !bytes.is_empty() {
        seen.extend(frames.take(&mut bytes, usize::MAX).unwrap());
    }
    assert!(frames.is_between(), "half a frame is sent");
    seen
}

/// What a socket of this type tells of itself.
pub(super) fn told(kind: SocketType) -> Vec<u8> {
    Socket::new(kind).metadata()
}

/// MESSAGE, made and read by hand.
pub(super) struct Sealed {
    pub(super) key: BoxKey,
    pub(super) own: &'static [u8; 16],
    pub(super) other: &'static [u8; 16],
    pub(super) number: u64,
}

impl Sealed {
    /// The body of a MESSAGE of this number.
    pub(super) fn message_at(&mut self, number: u64, flags: u8, payload: &[u8]) -> Vec<u8> {
        self.number = number;
        let mut body = b"\x07MESSAGE".to_vec();
        body.extend_from_slice(&number.to_be_bytes());
        let text = [&[flags][..], payload].concat();
        let nonce = nonce(self.own, &number.to_be_bytes());
        self.key.seal(&nonce, &text, &mut body);
        body
    }

    /// The next one.
    pub(super) fn message(&mut self, flags: u8, payload: &[u8]) -> Vec<u8> {
        self.message_at(self.number + 1, flags, payload)
    }

    /// The next one, in its frame.
    pub(super) fn framed(&mut self, flags: u8, payload: &[u8]) -> Vec<u8> {
        frame(0, &self.message(flags, payload))
    }

    /// What is in the frames of a stream: inner flags and payload.
    pub(super) fn open(&self, bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let opened = frames(bytes).into_iter().map(|frame| {
            assert!([0, 2].contains(&frame.flags), "an outer flag is set");
            assert_eq!(&frame.body[..8], b"\x07MESSAGE");
            let nonce = nonce::<16, 8>(self.other, &sized(&frame.body[8..16]));
            let text = self.key.open(&nonce, &frame.body[16..]).unwrap();
            (text[0], text[1..].to_vec())
        });
        opened.collect()
    }
}

/// A client made by hand.
pub(super) struct RawClient {
    pub(super) short: SecretKey,
    pub(super) long: SecretKey,
    /// The S that is in its configuration, and in its vouch.
    pub(super) server: PublicKey,
    pub(super) vouched: PublicKey,
    /// The C′ that it vouches for.
    pub(super) vouched_short: PublicKey,
    server_short: Option<PublicKey>,
    cookie: [u8; 96],
}

impl RawClient {
    pub(super) fn new() -> Self {
        Self {
            short: secret(0x1d),
            long: secret(CLIENT),
            server: public(SERVER),
            vouched: public(SERVER),
            vouched_short: public(0x1d),
            server_short: None,
            cookie: [0; 96],
        }
    }

    pub(super) fn hello(&self, number: u64) -> Vec<u8> {
        let number = number.to_be_bytes();
        let mut boxed = Vec::new();
        BoxKey::between(&self.short, &self.server).seal(
            &nonce(HELLO_NONCE, &number),
            &[0; 64],
            &mut boxed,
        );
        Hello {
            client: self.short.public().unwrap(),
            number,
            boxed: sized(&boxed),
        }
        .write()
        .to_vec()
    }

    pub(super) fn welcome(&mut self, body: &[u8]) {
        let welcome = Welcome::parse(body).unwrap();
        let key = BoxKey::between(&self.short, &self.server);
        let text = key
            .open(&nonce(WELCOME_NONCE, &welcome.nonce), &welcome.boxed)
            .unwrap();
        self.server_short = Some(PublicKey::parse(&text[..32]).unwrap());
        self.cookie = sized(&text[32..]);
    }

    pub(super) fn initiate(&self, number: u64, metadata: &[u8]) -> Vec<u8> {
        let number = number.to_be_bytes();
        let mut vouch = Vec::new();
        let pair = [
            &self.vouched_short.as_bytes()[..],
            &self.vouched.as_bytes()[..],
        ]
        .concat();
        BoxKey::between(&self.long, &self.server_short.unwrap()).seal(
            &nonce(VOUCH_NONCE, &[9; 16]),
            &pair,
            &mut vouch,
        );
        let long = self.long.public().unwrap();
        let text = [&long.as_bytes()[..], &[9; 16], &vouch, metadata].concat();
        let mut body = [&INITIATE[..], &self.cookie, &number].concat();
        let key = BoxKey::between(&self.short, &self.server_short.unwrap());
        key.seal(&nonce(INITIATE_NONCE, &number), &text, &mut body);
        body
    }

    /// After an INITIATE of this number.
    pub(super) fn session(&self, number: u64) -> Sealed {
        Sealed {
            key: BoxKey::between(&self.short, &self.server_short.unwrap()),
            own: CLIENT_NONCE,
            other: SERVER_NONCE,
            number,
        }
    }

    /// Greets, and goes on to WELCOME.
    pub(super) fn begin(&mut self, end: &mut End, minor: u8) {
        let mut greeting = raw_greeting(b"CURVE");
        greeting[11] = minor;
        end.read(&greeting);
        end.said();
        end.read(&frame(4, &self.hello(0)));
        let said = end.said();
        self.welcome(&frames(&said)[0].body);
    }

    /// The whole handshake with a listener, as a socket of this type; READY has been read.
    pub(super) fn join(&mut self, end: &mut End, kind: SocketType, minor: u8) -> Sealed {
        self.begin(end, minor);
        end.read(&frame(4, &self.initiate(1, &told(kind))));
        assert_eq!(end.error, None);
        let said = end.said();
        let (ready, rest) = said.split_at(2 + usize::from(said[1]));
        assert_eq!(&ready[2..8], READY);
        end.sent = rest.to_vec();
        self.session(1)
    }
}

/// A server made by hand.
pub(super) struct RawServer {
    pub(super) long: SecretKey,
    pub(super) short: SecretKey,
    /// C′, of the HELLO.
    client: Option<PublicKey>,
}

impl RawServer {
    pub(super) fn new() -> Self {
        Self {
            long: secret(SERVER),
            short: secret(0x15),
            client: None,
        }
    }

    pub(super) fn welcome(&mut self, hello: &[u8]) -> Vec<u8> {
        let hello = Hello::parse(&Whole(hello.try_into().unwrap())).unwrap();
        let key = BoxKey::between(&self.long, &hello.client);
        let opened = key.open(&nonce(HELLO_NONCE, &hello.number), &hello.boxed);
        assert_eq!(**opened.unwrap(), [0; 64]);
        self.client = Some(hello.client);
        let short = self.short.public().unwrap();
        let text = [&short.as_bytes()[..], &[7; 96]].concat();
        let mut boxed = Vec::new();
        key.seal(&nonce(WELCOME_NONCE, &[8; 16]), &text, &mut boxed);
        Welcome {
            nonce: [8; 16],
            boxed: sized(&boxed),
        }
        .write()
        .0
        .to_vec()
    }

    /// The metadata of an INITIATE.
    pub(super) fn initiate(&self, body: &[u8]) -> Vec<u8> {
        let client = self.client.unwrap();
        let initiate = Initiate::parse(body).unwrap();
        assert_eq!(initiate.cookie, &[7; 96]);
        let key = BoxKey::between(&self.short, &client);
        let text = key
            .open(&nonce(INITIATE_NONCE, &initiate.number), initiate.boxed)
            .unwrap();
        let vouched = Vouched::parse(&text).unwrap();
        let long = public_key(vouched.client).unwrap();
        let vouch = BoxKey::between(&self.short, &long)
            .open(&nonce(VOUCH_NONCE, vouched.nonce), vouched.vouch)
            .unwrap();
        assert_eq!(vouch[..32], client.as_bytes()[..]);
        assert_eq!(vouch[32..], self.long.public().unwrap().as_bytes()[..]);
        vouched.metadata.to_vec()
    }

    pub(super) fn ready(&self, number: u64, metadata: &[u8]) -> Vec<u8> {
        let number = number.to_be_bytes();
        let mut body = [&READY[..], &number].concat();
        let key = BoxKey::between(&self.short, &self.client.unwrap());
        key.seal(&nonce(READY_NONCE, &number), metadata, &mut body);
        body
    }

    pub(super) fn session(&self, number: u64) -> Sealed {
        Sealed {
            key: BoxKey::between(&self.short, &self.client.unwrap()),
            own: SERVER_NONCE,
            other: CLIENT_NONCE,
            number,
        }
    }

    /// Greets, and takes HELLO.
    pub(super) fn begin(&mut self, end: &mut End, minor: u8) -> Vec<u8> {
        let mut greeting = raw_greeting(b"CURVE");
        greeting[11] = minor;
        end.said();
        end.read(&greeting);
        frames(&end.said())[0].body.clone()
    }

    /// Goes on to INITIATE.
    pub(super) fn vouched(&mut self, end: &mut End, minor: u8) {
        let hello = self.begin(end, minor);
        end.read(&frame(4, &self.welcome(&hello)));
        self.initiate(&frames(&end.said())[0].body);
    }

    /// The whole handshake with an initiator, as a socket of this type.
    pub(super) fn join(&mut self, end: &mut End, kind: SocketType, minor: u8) -> Sealed {
        self.vouched(end, minor);
        end.read(&frame(4, &self.ready(1, &told(kind))));
        assert_eq!(end.error, None);
        self.session(1)
    }
}

/// A greeting of 3.1 with this mechanism.
pub(super) fn raw_greeting(mechanism: &[u8]) -> [u8; 64] {
    let mut greeting = [0; 64];
    greeting[..12].copy_from_slice(b"\xff\0\0\0\0\0\0\0\0\x7f\x03\x01");
    greeting[12..12 + mechanism.len()].copy_from_slice(mechanism);
    greeting
}
