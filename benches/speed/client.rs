//! A client of a12 that waits where it stands.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use moonport::wire::a12::event::{External, SegmentKind, Target, Text};
use moonport::wire::a12::keyroom::{self, Claim};
use moonport::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Input, Output, Protocol};
use rand_core::SeedableRng;

/// The private key of the client of this number.
pub(crate) fn secret(number: usize) -> SecretKey {
    let name = format!("client {number}");
    SecretKey::from_bytes(*blake3::hash(name.as_bytes()).as_bytes())
}

/// One that a script has accepted.
pub(crate) struct Client {
    stream: TcpStream,
    machine: Initiator<ChaCha20Rng>,
}

impl Client {
    /// Connects as Arcan's do, in two rounds, proves its key, and waits until the script has taken it.
    pub(crate) fn enter(at: SocketAddr, number: usize) -> Self {
        let own = secret(number);
        let config = InitiatorConfig {
            role: Role::Source,
            initial: StageKeys::public(),
            public: own.public().unwrap(),
            rounds: Rounds::Two,
            handshake: Duration::from_secs(60),
        };
        let stream = TcpStream::connect(at).unwrap();
        stream.set_nodelay(true).unwrap();
        // Nothing here is secret.
        let rng = ChaCha20Rng::seed_from_u64(number as u64);
        let mut client = Self {
            stream,
            machine: Initiator::new(config, Instant::now(), rng),
        };
        client.until_activated(&own);
        client
    }

    fn until_activated(&mut self, own: &SecretKey) {
        let mut out = Vec::new();
        let mut bytes = [0; 4096];
        loop {
            let input = match self.machine.poll(&mut out) {
                Output::Transmit => continue,
                Output::Ask(Ask::Server(hello)) => {
                    let claim = Claim::parse(&hello).unwrap();
                    Input::Answer(Answer::Session(claim.session(own)))
                }
                Output::Ask(Ask::Ratchet(rekey)) => {
                    Input::Answer(Answer::Ratchet(keyroom::ratchet(own, &rekey).unwrap()))
                }
                Output::Ask(_) => panic!("a client was asked what a host is asked"),
                Output::Event(Event::Established { .. }) => Input::Command(Command::External {
                    channel: 0,
                    event: External::Register {
                        title: "bench".into(),
                        kind: SegmentKind::APPLICATION,
                        guid: [0; 2],
                    },
                }),
                Output::Event(Event::Target {
                    event: Target::Activate,
                    ..
                }) => break,
                Output::Event(_) => continue,
                Output::Idle(_) => {
                    self.stream.write_all(&out).unwrap();
                    out.clear();
                    let room = self.machine.room().min(bytes.len());
                    let read = self.stream.read(&mut bytes[..room]).unwrap();
                    assert_ne!(read, 0, "a client was refused");
                    Input::Bytes(&bytes[..read])
                }
            };
            self.machine.handle(Instant::now(), input).unwrap();
        }
        self.stream.write_all(&out).unwrap();
    }

    /// The packets of a message, said so often.
    pub(crate) fn seal(&mut self, text: &str, count: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for _ in 0..count {
            let event = External::Message(Text {
                text: text.into(),
                multipart: false,
            });
            let say = Input::Command(Command::External { channel: 0, event });
            self.machine.handle(Instant::now(), say).unwrap();
            while !matches!(self.machine.poll(&mut out), Output::Idle(_)) {}
        }
        out
    }

    /// Sends them.
    pub(crate) fn send(&mut self, packets: &[u8]) {
        self.stream.write_all(packets).unwrap();
    }
}
