//! A listener and a client, each a whole frameserver but for the lock-down, with hosts and scripts
//! that are played.

use std::collections::VecDeque;
use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use socket2::{Domain, Socket as Raw, Type};
use tokio::task::{JoinHandle, LocalSet};

use crate::frameserver::hub::{Gone, Hub};
use crate::ipc::frameserver::{Ended, FromFrameserver, Listen, Speaks, ToFrameserver};
use crate::ipc::link::{Ends, FromScript, ToScript};
use crate::ipc::{AsyncSocket, ConnectionId, Received, SegmentId, SessionId, Socket, Unproved};
use crate::wire::cookie::Jar;
use crate::wire::crypto::SecretKey;
use crate::wire::curvecp::{Answer, Ask, Extension, keyroom};
use crate::wire::{self, Refusal, Violation};

const EXTENSION: Extension = Extension([3; 16]);

/// Runs a test; a minute is for ever.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new()
        .block_on(&runtime, async {
            tokio::time::timeout(Duration::from_secs(60), test).await
        })
        .expect("the test hangs");
}

/// A frameserver, and what is around it.
struct Front {
    host: AsyncSocket<ToFrameserver, FromFrameserver>,
    link: AsyncSocket<Vec<FromScript>, Vec<ToScript>>,
    heard: VecDeque<ToScript>,
    served: JoinHandle<Result<(), Gone>>,
}

impl Front {
    fn new(speaks: Speaks, handshake: Duration, sockets: Vec<OwnedFd>) -> Self {
        let (host, control) = Socket::pair().unwrap();
        let (script, data) = Socket::<Vec<FromScript>, Vec<ToScript>>::pair().unwrap();
        let listen = Listen {
            speaks,
            handshake,
            unproved: Unproved::at_most(64),
            penalties: false,
            require_sandbox: false,
        };
        let fds = std::iter::once(data.into_fd()).chain(sockets).collect();
        let hub = Hub::new(listen, fds).unwrap();
        let control = AsyncSocket::new(control).unwrap();
        Self {
            host: AsyncSocket::new(host).unwrap(),
            link: AsyncSocket::new(script).unwrap(),
            heard: VecDeque::new(),
            served: tokio::task::spawn_local(async move { hub.serve(&control).await }),
        }
    }

    async fn say(&self, message: ToFrameserver, fds: Vec<OwnedFd>) {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.host.send(&message, &fds).await.unwrap();
    }

    /// What it says to the host.
    async fn says(&mut self) -> FromFrameserver {
        loop {
            match self.host.recv().await.unwrap() {
                Received::Message(FromFrameserver::Strangers(_), _) => {}
                Received::Message(message, _) => return message,
                Received::Closed => panic!("the frameserver is gone"),
            }
        }
    }

    async fn asks(&mut self) -> (ConnectionId, Ask) {
        match self.says().await {
            FromFrameserver::Ask {
                connection,
                ask: wire::Ask::CurveCp(ask),
                ..
            } => (connection, ask),
            other => panic!("{other:?}"),
        }
    }

    async fn answer(
        &self,
        connection: ConnectionId,
        answer: Answer,
        session: Option<SessionId>,
        fds: Vec<OwnedFd>,
    ) {
        let answer = ToFrameserver::Answer {
            connection,
            answer: answer.into(),
            session,
        };
        self.say(answer, fds).await;
    }

    /// What the script hears next.
    async fn tells(&mut self) -> ToScript {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match self.link.recv().await.unwrap() {
                Received::Message(batch, _) => self.heard.extend(batch),
                Received::Closed => panic!("the frameserver is gone"),
            }
        }
    }

    /// The next so many bytes of the stream, which the script pays for.
    async fn reads(&mut self, length: usize) -> Vec<u8> {
        let mut read = Vec::new();
        while read.len() < length {
            match self.tells().await {
                ToScript::Piece { segment, bytes, .. } => {
                    read.extend(bytes);
                    let events = 1;
                    self.write(FromScript::Credit { segment, events }).await;
                }
                ToScript::Credit { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        read
    }

    /// What it hears next beside credit.
    async fn hears(&mut self) -> ToScript {
        loop {
            match self.tells().await {
                ToScript::Credit { .. } => {}
                other => return other,
            }
        }
    }

    async fn write(&self, message: FromScript) {
        self.link.send(&vec![message], &[]).await.unwrap();
    }
}

fn piece(segment: SegmentId, bytes: &[u8]) -> FromScript {
    FromScript::Piece {
        segment,
        bytes: bytes.to_vec(),
        ends: Ends::Nothing,
    }
}

fn finish(segment: SegmentId, failed: bool) -> FromScript {
    FromScript::Finish { segment, failed }
}

/// A listener, a client, and the key rooms of both.
struct Scene {
    listener: Front,
    client: Front,
    address: SocketAddr,
    host: SecretKey,
    own: SecretKey,
    jar: Jar,
    rng: ChaCha20Rng,
}

const THEIRS: SegmentId = SegmentId {
    session: SessionId(7),
    channel: 0,
};
const OURS: SegmentId = SegmentId {
    session: SessionId(9),
    channel: 0,
};

fn socket(at: &str, shared: bool) -> Raw {
    let at: SocketAddr = at.parse().unwrap();
    let socket = Raw::new(Domain::for_address(at), Type::DGRAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.set_reuse_port(shared).unwrap();
    socket.bind(&at.into()).unwrap();
    socket
}

impl Scene {
    fn new(handshake: Duration) -> Self {
        let strangers = socket("127.0.0.1:0", true);
        let address = strangers.local_addr().unwrap().as_socket().unwrap();
        let host = SecretKey::from_bytes([5; 32]);
        let mut rng = ChaCha20Rng::from_seed([6; 32]);
        let idle = Duration::from_secs(300);
        let listens = Speaks::CurveCp {
            extension: EXTENSION,
            idle,
        };
        let connects = Speaks::CurveCpClient {
            server: host.public().unwrap(),
            name: Box::new("box".parse().unwrap()),
            extension: EXTENSION,
            own: Extension([4; 16]),
            idle,
        };
        Self {
            listener: Front::new(listens, handshake, vec![strangers.into()]),
            client: Front::new(connects, handshake, Vec::new()),
            address,
            host,
            own: SecretKey::from_bytes([2; 32]),
            jar: Jar::new(keyroom::COOKIES, Instant::now(), &mut rng),
            rng,
        }
    }

    /// The client dials, and its key room vouches for it. From where it comes.
    async fn dial(&mut self) -> SocketAddr {
        let dialled = socket("127.0.0.1:0", false);
        dialled.connect(&self.address.into()).unwrap();
        let from = dialled.local_addr().unwrap().as_socket().unwrap();
        let session = OURS.session;
        let connected = ToFrameserver::Connected(session);
        self.client.say(connected, vec![dialled.into()]).await;
        from
    }

    async fn cookie(&mut self) {
        let (connection, ask) = self.listener.asks().await;
        let Ask::Hello(hello) = ask else {
            panic!("{ask:?}");
        };
        let (now, hosts) = (Instant::now(), [&self.host]);
        let (jar, rng) = (&mut self.jar, &mut self.rng);
        let cookie = keyroom::cookie(&hello, EXTENSION, &hosts, jar, now, rng).unwrap();
        let answer = Answer::Cookie(Box::new(cookie));
        let none = Vec::new();
        self.listener.answer(connection, answer, None, none).await;
    }

    async fn vouch(&mut self) {
        let (connection, ask) = self.client.asks().await;
        assert_eq!(connection, ConnectionId(OURS.session.0));
        let Ask::Vouch { client, server } = ask else {
            panic!("{ask:?}");
        };
        assert_eq!(server, self.host.public().unwrap());
        let answer = Answer::Vouch {
            key: self.own.public().unwrap(),
            vouch: Box::new(keyroom::vouch(&self.own, &client, &server, [1; 16])),
        };
        let none = Vec::new();
        self.client.answer(connection, answer, None, none).await;
    }

    /// The listener's next Initiate, and what its key room makes of it.
    async fn initiate(&mut self) -> (ConnectionId, Answer) {
        let (connection, ask) = self.listener.asks().await;
        let Ask::Initiate(packet) = ask else {
            panic!("{ask:?}");
        };
        let (now, name) = (Instant::now(), "box".parse().unwrap());
        let (jar, rng) = (&mut self.jar, &mut self.rng);
        let proved = keyroom::initiate(&packet, &[&self.host], &name, jar, now, rng).unwrap();
        assert_eq!(proved.key, self.own.public().unwrap());
        (connection, Answer::Session(proved.session))
    }

    /// Both are connected, and the listener's host has not heard its script.
    async fn admitted(&mut self) {
        let from = self.dial().await;
        self.cookie().await;
        self.vouch().await;
        let (connection, answer) = self.initiate().await;
        let own = socket(&self.address.to_string(), true);
        own.connect(&from.into()).unwrap();
        let session = Some(THEIRS.session);
        let own = vec![own.into()];
        self.listener.answer(connection, answer, session, own).await;
    }

    async fn connected(&mut self) {
        self.admitted().await;
        let decision = ToFrameserver::Decision {
            session: THEIRS.session,
            accept: true,
        };
        self.listener.say(decision, Vec::new()).await;
        let up = self.client.says().await;
        assert!(matches!(up, FromFrameserver::Up(id) if id == OURS.session));
        let connected = ToScript::Connected { segment: OURS };
        assert_eq!(self.client.tells().await, connected);
    }
}

const LONG: Duration = Duration::from_secs(30);

fn gone(message: &FromFrameserver) -> (SessionId, Ended) {
    match message {
        FromFrameserver::Gone { session, why } => (*session, *why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_go_both_ways_and_both_ends_hear_how_the_streams_end() {
    run(async {
        let mut scene = Scene::new(LONG);
        scene.connected().await;
        let Scene {
            listener, client, ..
        } = &mut scene;
        client.write(piece(OURS, b"hello")).await;
        assert_eq!(listener.reads(5).await, b"hello");
        let big: Vec<u8> = (0..50_000).map(|at| at as u8).collect();
        for _ in 0..4 {
            listener.write(piece(THEIRS, &big)).await;
        }
        assert_eq!(client.reads(200_000).await, big.repeat(4));
        client.write(finish(OURS, false)).await;
        listener.write(finish(THEIRS, true)).await;
        for (front, segment, failed) in [(client, OURS, true), (listener, THEIRS, false)] {
            let finished = ToScript::Finished { segment, failed };
            assert_eq!(front.hears().await, finished);
            let last_words = String::new();
            let terminated = ToScript::Terminated {
                segment,
                last_words,
            };
            assert_eq!(front.hears().await, terminated);
            let ended = gone(&front.says().await);
            assert_eq!(ended, (segment.session, Ended::Peer));
        }
        // The client's only work is done, the listener's is not.
        let stop = || ToFrameserver::StopListening;
        scene.client.say(stop(), Vec::new()).await;
        assert!(scene.client.served.await.unwrap().is_ok());
        assert!(!scene.listener.served.is_finished());
        scene.listener.say(stop(), Vec::new()).await;
        assert!(scene.listener.served.await.unwrap().is_ok());
    });
}

#[test]
fn i1_a_client_is_sent_nothing_before_the_script_has_taken_it() {
    run(async {
        let mut scene = Scene::new(LONG);
        scene.admitted().await;
        let decision = ToFrameserver::Decision {
            session: THEIRS.session,
            accept: false,
        };
        scene.listener.say(decision, Vec::new()).await;
        let turned_away = Ended::Refused(Refusal::TurnedAway);
        let ended = gone(&scene.listener.says().await);
        assert_eq!(ended, (THEIRS.session, turned_away));
        // It has not been told that it was up.
        let drop = ToFrameserver::Drop(OURS.session);
        scene.client.say(drop, Vec::new()).await;
        let ended = gone(&scene.client.says().await);
        assert_eq!(ended, (OURS.session, Ended::Told));
    });
}

#[test]
fn a_server_that_says_nothing_is_given_up_in_time() {
    run(async {
        let mut scene = Scene::new(Duration::from_millis(100));
        scene.dial().await;
        let ended = gone(&scene.client.says().await);
        let late = Ended::Violation(Violation::Deadline);
        assert_eq!(ended, (OURS.session, late));
    });
}

#[test]
fn a_client_whose_key_room_refuses_ends_and_so_does_one_that_is_told_to() {
    run(async {
        let mut scene = Scene::new(LONG);
        scene.dial().await;
        scene.cookie().await;
        let (connection, _) = scene.client.asks().await;
        let refused = Refusal::NotAccepted;
        let (answer, none) = (Answer::Refused(refused), Vec::new());
        scene.client.answer(connection, answer, None, none).await;
        let ended = gone(&scene.client.says().await);
        assert_eq!(ended, (OURS.session, Ended::Refused(refused)));
        scene.dial().await;
        let drop = ToFrameserver::Drop(OURS.session);
        scene.client.say(drop, Vec::new()).await;
        let ended = gone(&scene.client.says().await);
        assert_eq!(ended, (OURS.session, Ended::Told));
    });
}

#[test]
fn what_the_script_has_written_arrives_though_it_closes_at_once() {
    run(async {
        let mut scene = Scene::new(LONG);
        scene.connected().await;
        let Scene {
            listener, client, ..
        } = &mut scene;
        client.write(piece(OURS, &[7; 40_000])).await;
        let last_words = String::new();
        let segment = OURS;
        let close = FromScript::Close {
            segment,
            last_words,
        };
        client.write(close).await;
        assert_eq!(listener.reads(40_000).await, [7; 40_000]);
        let failed = false;
        let segment = THEIRS;
        let finished = ToScript::Finished { segment, failed };
        assert_eq!(listener.hears().await, finished);
        listener.write(finish(THEIRS, false)).await;
        let ended = gone(&client.says().await);
        assert_eq!(ended, (OURS.session, Ended::Told));
    });
}

#[test]
fn a_host_that_breaks_the_rules_is_not_served() {
    run(async {
        // A session without a socket for it.
        let mut scene = Scene::new(LONG);
        scene.dial().await;
        scene.cookie().await;
        scene.vouch().await;
        let (connection, answer) = scene.initiate().await;
        let (session, none) = (Some(THEIRS.session), Vec::new());
        scene
            .listener
            .answer(connection, answer, session, none)
            .await;
        let served = scene.listener.served.await.unwrap();
        assert!(matches!(served, Err(Gone::Rules)));
        // A connection without one.
        let session = ToFrameserver::Connected(OURS.session);
        scene.client.say(session, Vec::new()).await;
        let served = scene.client.served.await.unwrap();
        assert!(matches!(served, Err(Gone::Rules)));
        // An answer to nobody.
        let scene = Scene::new(LONG);
        let answer = Answer::Refused(Refusal::NotAccepted);
        let (nobody, none) = (ConnectionId(99), Vec::new());
        scene.listener.answer(nobody, answer, None, none).await;
        let served = scene.listener.served.await.unwrap();
        assert!(matches!(served, Err(Gone::Rules)));
    });
}

#[test]
fn a_client_is_let_in_whose_listener_has_gone_in_the_meantime() {
    run(async {
        let mut scene = Scene::new(LONG);
        scene.connected().await;
        let stop = ToFrameserver::StopListening;
        scene.listener.say(stop, Vec::new()).await;
        let Scene {
            listener, client, ..
        } = &mut scene;
        client.write(piece(OURS, b"still")).await;
        assert_eq!(listener.reads(5).await, b"still");
    });
}
