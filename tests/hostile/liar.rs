//! The frameserver that lies.

use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use moonport::ipc::frameserver::{
    Candidate, Ended, FromFrameserver, Listen, Speaks, Strangers, ToFrameserver,
};
use moonport::ipc::{ConnectionId, Denied, Received, RecvError, SessionId, Socket};
use moonport::wire::a12::control::{Control, Header, Hello, Mode};
use moonport::wire::a12::event::{External, SegmentKind};
use moonport::wire::a12::keyroom::{self, Claim};
use moonport::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Listener, ListenerConfig, Ratchet,
    Role, Rounds,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{self, Input, Output, Protocol, Violation, Whole};
use rand_core::SeedableRng;

use super::KEY;

type Own = Socket<FromFrameserver, ToFrameserver>;

/// The secret that everybody has to know.
fn candidate(listen: &Listen) -> &Candidate {
    match &listen.speaks {
        Speaks::A12 { secrets, .. } => &secrets[0],
        Speaks::Zmtp { .. }
        | Speaks::ZmtpClient { .. }
        | Speaks::CurveCp { .. }
        | Speaks::CurveCpClient { .. } => panic!("another protocol"),
    }
}

/// Tells a lie, and lives until the host ends it.
pub(crate) fn main(lie: &str) {
    let stdin = rustix::io::dup(rustix::stdio::stdin()).unwrap();
    let host = Liar {
        socket: Own::from_fd(stdin),
    };
    let (listen, _kept) = host.listen();
    let secret = candidate(&listen).id;
    let claim = || Ask::Claim {
        secret,
        rounds: Rounds::One,
        hello: hello(),
    };
    if lie != "keeps-session" {
        host.says(&FromFrameserver::Ready(report()));
    }
    match lie {
        "claims-twice" => (0..2).for_each(|_| host.asks(1, claim())),
        "proof-first" => host.asks(1, Ask::Proof(vec![0; 153])),
        "initiator-asks" => host.asks(1, Ask::Server(hello())),
        "foreign-gone" => host.says(&FromFrameserver::Gone {
            session: SessionId(1),
            why: Ended::Peer,
        }),
        "ready-twice" => host.says(&FromFrameserver::Ready(report())),
        "too-many" => (0..100_000).for_each(|number| host.asks(number, claim())),
        "counts-too-many" => host.counts(listen.unproved.full() + 1, 0),
        "counts-backwards" => [7, 6]
            .map(|refused| host.counts(0, refused))
            .into_iter()
            .collect(),
        "counts-all-the-time" => (0..20_000).for_each(|refused| host.counts(1, refused)),
        "garbage" => host.raw(&[0xff; 40]),
        "oversize" => host.raw(&vec![0; 100 * 1024]),
        "keeps-session" => host.comes_in_itself(&listen),
        "descriptors" => {
            // More than the host could hold, if it kept them.
            let zero = std::fs::File::open("/dev/zero").unwrap();
            for number in 0..4000 {
                let message = closed(number);
                host.sends(&message, &[zero.as_fd(); 8]);
            }
        }
        "strangers-closed" => (0..20_000).for_each(|number| host.says(&closed(number))),
        "claims-victim" => {
            // Right so far, but for the proof, which it cannot make.
            host.asks(1, claim());
            host.hears(|told| matches!(told, ToFrameserver::Answer { .. }));
            host.asks(1, Ask::Proof(vec![9; 164]));
            let refused = host.hears(|told| matches!(told, ToFrameserver::Answer { .. }));
            let answer = |told: &ToFrameserver| {
                matches!(
                    told,
                    ToFrameserver::Answer {
                        answer: wire::Answer::Refused(_) | wire::Answer::A12(Answer::More),
                        ..
                    }
                )
            };
            assert!(answer(&refused), "{refused:?}");
        }
        other => panic!("no lie is called {other}"),
    }
    let _ = writeln!(std::io::stderr(), "the lie is told");
    // It hears, and does nothing about it.
    loop {
        host.hears(|_| false);
    }
}

struct Liar {
    socket: Own,
}

impl Liar {
    fn listen(&self) -> (Listen, Vec<OwnedFd>) {
        loop {
            match self.socket.recv() {
                Ok(Received::Message(ToFrameserver::Listen(listen), fds)) => return (listen, fds),
                Err(RecvError::Empty) => thread::sleep(Duration::from_millis(1)),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until it is told something that is wanted; the end of the host is its own.
    fn hears(&self, wanted: impl Fn(&ToFrameserver) -> bool) -> ToFrameserver {
        loop {
            match self.socket.recv() {
                Ok(Received::Message(message, _)) if wanted(&message) => return message,
                Ok(Received::Message(..)) => {}
                Err(RecvError::Empty) => thread::sleep(Duration::from_millis(1)),
                Ok(Received::Closed) | Err(_) => std::process::exit(0),
            }
        }
    }

    fn sends(&self, message: &FromFrameserver, fds: &[std::os::fd::BorrowedFd<'_>]) {
        while let Err(error) = self.socket.send(message, fds) {
            match error {
                moonport::ipc::SendError::Full => thread::sleep(Duration::from_millis(1)),
                // The host has had enough.
                _ => return,
            }
        }
    }

    fn says(&self, message: &FromFrameserver) {
        self.sends(message, &[]);
    }

    fn counts(&self, unproved: u32, refused: u64) {
        self.says(&FromFrameserver::Strangers(Strangers {
            unproved,
            refused,
            // Now and then sources are shut out.
            shut_out: u32::from(refused.is_multiple_of(2)),
            ..Strangers::default()
        }));
    }

    fn asks(&self, connection: u64, ask: impl Into<wire::Ask>) {
        self.says(&FromFrameserver::Ask {
            connection: ConnectionId(connection),
            source: source(),
            reference: None,
            ask: ask.into(),
        });
    }

    fn raw(&self, bytes: &[u8]) {
        let flags = rustix::net::SendFlags::NOSIGNAL;
        rustix::net::send(&self.socket, bytes, flags).unwrap();
    }

    /// Is client and frameserver in one, with a key that is accepted: a session that is genuine.
    fn comes_in_itself(&self, listen: &Listen) {
        self.says(&FromFrameserver::Ready(report()));
        let (now, handshake) = (Instant::now(), Duration::from_secs(60));
        let key = SecretKey::from_bytes(KEY);
        let keys = candidate(listen).keys.clone();
        let initiator = InitiatorConfig {
            role: Role::Source,
            initial: keys.clone(),
            public: key.public().unwrap(),
            rounds: Rounds::One,
            handshake,
        };
        let listener = ListenerConfig {
            role: Role::Sink,
            candidates: vec![(candidate(listen).id, keys)],
            handshake,
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 0,
            },
        };
        let [client, server] = [1, 2].map(ChaCha20Rng::seed_from_u64);
        let mut client = Initiator::new(initiator, now, client);
        let mut server = Listener::new(Arc::new(listener), now, server);
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        loop {
            loop {
                let answer = match client.poll(&mut to_server) {
                    Output::Ask(Ask::Server(hello)) => {
                        Answer::Session(Claim::parse(&hello).unwrap().session(&key))
                    }
                    Output::Ask(Ask::Ratchet(rekey)) => {
                        Answer::Ratchet(keyroom::ratchet(&key, &rekey).unwrap())
                    }
                    Output::Event(Event::Established { .. }) => {
                        let event = External::Register {
                            title: "its own client".into(),
                            kind: SegmentKind(5),
                            guid: [0; 2],
                        };
                        let register = Command::External { channel: 0, event };
                        client.handle(now, Input::Command(register)).unwrap();
                        continue;
                    }
                    Output::Idle(_) => break,
                    _ => continue,
                };
                client.handle(now, Input::Answer(answer)).unwrap();
            }
            let room = server.room().min(to_server.len());
            let bytes: Vec<u8> = to_server.drain(..room).collect();
            if !bytes.is_empty() {
                server.handle(now, Input::Bytes(&bytes)).unwrap();
            }
            loop {
                match server.poll(&mut to_client) {
                    Output::Ask(ask) => {
                        self.asks(1, ask);
                        let told = self.hears(|told| matches!(told, ToFrameserver::Answer { .. }));
                        let ToFrameserver::Answer {
                            answer, session, ..
                        } = told
                        else {
                            return;
                        };
                        if session.is_some() {
                            return;
                        }
                        let answer = answer.try_into().unwrap();
                        server.handle(now, Input::Answer(answer)).unwrap();
                    }
                    Output::Idle(_) => break,
                    _ => {}
                }
            }
            let room = client.room().min(to_client.len());
            let bytes: Vec<u8> = to_client.drain(..room).collect();
            if !bytes.is_empty() {
                client.handle(now, Input::Bytes(&bytes)).unwrap();
            }
        }
    }
}

fn report() -> Vec<Denied> {
    vec![Denied {
        action: "open".into(),
        layer: Some("seccomp".into()),
    }]
}

fn closed(number: u64) -> FromFrameserver {
    FromFrameserver::Closed {
        connection: ConnectionId(number),
        source: source(),
        reference: None,
        why: Ended::Violation(Violation::FirstPacket),
    }
}

fn source() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 1))
}

/// A HELLO of mode 1 that claims the key that is accepted.
fn hello() -> Whole<128> {
    let key = SecretKey::from_bytes(KEY).public().unwrap();
    let hello = Control::Hello(Hello {
        mode: Mode::Static,
        key: *key.as_bytes(),
        role: Role::Source as u8,
        version: Hello::VERSION,
    });
    Whole(hello.encode(&Header::default()))
}
