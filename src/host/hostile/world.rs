//! A host of whose frameservers one may say anything, and what has to hold in it.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::{Name, PublicKey, Secret};
use keystore::{Actor, Change, Keystore, Memory, OpenWindow, Origin, Scope, Window, WindowId};
use rand_core::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use crate::host::child::{Child, Did};
use crate::host::fronts::Front;
use crate::host::roll::{Session, Stage};
use crate::host::windows::Required;
use crate::host::{Clock, Event, FrontId, Host, ScriptId, played};
use crate::ipc::frameserver::{Candidate, Ended, FromFrameserver, ToFrameserver};
use crate::ipc::{ConnectionId, Denied, ListenerId, SessionId};
use crate::wire::Whole;
use crate::wire::a12::control::{Control, Header, Hello, Mode};
use crate::wire::a12::event::{External, SegmentKind};
use crate::wire::a12::keyroom::{self, Claim};
use crate::wire::a12::{
    Answer, Ask, Command, ControlBody, Event as PeerEvent, Initiator, InitiatorConfig, Listener,
    ListenerConfig, Ratchet, RatchetKeys, Role, Rounds, SecretId, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{Input, Output, Protocol, Refusal, Violation};

/// How many unknown keys the window lets in.
pub(super) const COUNT: u32 = 3;

pub(super) const SCRIPT: ScriptId = ScriptId(0);

/// An honest client, and the half of a frameserver that serves it.
pub(super) struct Peer {
    pub(super) key: PublicKey,
    pub(super) private: SecretKey,
    pub(super) client: Initiator<ChaCha8Rng>,
    pub(super) server: Listener<ChaCha8Rng>,
    /// What the client has sent and the server has had no room for.
    pub(super) on_its_way: Vec<u8>,
}

pub(super) struct World {
    pub(super) rng: ChaCha8Rng,
    pub(super) host: Host,
    pub(super) events: mpsc::Receiver<Event>,
    pub(super) name: Name,
    pub(super) window: WindowId,
    /// Accepted; nobody here has its private key.
    pub(super) victim: PublicKey,
    /// A listener that behaves, and its session.
    pub(super) other: SessionId,
    /// The one that lies: its number, what it is told, and its death.
    pub(super) front: FrontId,
    pub(super) told: mpsc::Receiver<(ToFrameserver, Vec<std::os::fd::OwnedFd>)>,
    pub(super) killed: oneshot::Receiver<()>,
    pub(super) secret: SecretId,
    pub(super) fronts: u32,
    pub(super) peers: BTreeMap<u64, Peer>,
    /// On whose behalf a connection has claimed last.
    pub(super) claims: BTreeMap<ConnectionId, u64>,
    /// What peers have really asked, whatever became of it.
    pub(super) asked: Vec<(u64, Ask)>,
    /// How often the holder of a key has answered a challenge.
    pub(super) proofs: HashMap<PublicKey, usize>,
    pub(super) admitted: HashMap<PublicKey, usize>,
    pub(super) seen: u64,
    pub(super) deaths: usize,
}

impl World {
    pub(super) fn new(seed: u64, state: &std::path::Path) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let name = Name::parse("lab").unwrap();
        let victim = random_key(&mut rng).public().unwrap();
        let window = WindowId(rng.next_u64());
        let mut store = Memory::new();
        let now = Clock::new().now();
        let accept = Change::Accept {
            key: victim,
            scope: Scope::Name(name.clone()),
            label: None,
            imported: false,
        };
        let open = Change::OpenWindow(OpenWindow {
            id: window,
            name: name.clone(),
            secret: Secret::parse(b"correct horse").unwrap(),
            human: true,
            count: COUNT,
            lasts_ms: 3_600_000,
            origin: Origin::Script,
            label: None,
        });
        store.apply(now, &Actor::Host, &[accept, open]).unwrap();
        let (host, events) =
            Host::start(played::options(state), Box::new(store), played::keys(state)).unwrap();
        let (_, told) = mpsc::channel(1);
        let (_, killed) = oneshot::channel();
        let mut world = Self {
            rng,
            host,
            events,
            name,
            window,
            victim,
            other: SessionId(1_000_000),
            front: FrontId(0),
            told,
            killed,
            secret: SecretId(0),
            fronts: 0,
            peers: BTreeMap::new(),
            claims: BTreeMap::new(),
            asked: Vec::new(),
            proofs: HashMap::new(),
            admitted: HashMap::new(),
            seen: 0,
            deaths: 0,
        };
        world.start_front();
        let behaved = Session {
            front: world.front,
            script: SCRIPT,
            name: world.name.clone(),
            key: Some(victim),
            from: source(),
            since_ms: 0,
            expires_ms: None,
            anonymous: false,
            stage: Stage::Taken,
        };
        world.host.sessions.enter(world.other, behaved);
        // Kept apart, so that its end would be seen.
        std::mem::forget(std::mem::replace(&mut world.told, mpsc::channel(1).1));
        world.start_front();
        world
    }

    /// Another frameserver, which has just been told to listen.
    pub(super) fn start_front(&mut self) {
        let (child, told, killed) = Child::played();
        self.fronts += 1;
        self.front = FrontId(self.fronts);
        self.secret = self.host.windows.new_secret();
        let required = Required {
            candidate: Candidate {
                id: self.secret,
                keys: StageKeys::public(),
            },
            window: Some(self.window),
        };
        let listener = ListenerId(self.fronts);
        let unproved = self.host.options.unproved;
        let front = Front::played(
            SCRIPT,
            listener,
            self.name.clone(),
            required,
            child,
            unproved,
        );
        self.host.fronts.insert(self.front, front);
        self.host.update_secrets();
        (self.told, self.killed) = (told, killed);
        self.peers.clear();
        self.claims.clear();
    }

    pub(super) fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.rng.next_u32() as usize % len)
    }

    pub(super) fn chance(&mut self, one_in: u32) -> bool {
        self.rng.next_u32().is_multiple_of(one_in)
    }

    pub(super) fn says(&mut self, message: FromFrameserver) {
        self.host.front_did(self.front, Did::Said(message));
        self.look();
    }

    pub(super) fn asks(&mut self, connection: ConnectionId, ask: impl Into<crate::wire::Ask>) {
        self.says(FromFrameserver::Ask {
            connection,
            source: source(),
            reference: None,
            ask: ask.into(),
        });
    }

    /// Anybody new who is in has proved a key that is his own.
    pub(super) fn look(&mut self) {
        let all = self.host.sessions.iter();
        let seen = self.seen;
        for (id, session) in all.filter(|(id, _)| id.0 > seen && *id != self.other) {
            self.seen = id.0;
            let key = session.key.expect("i1: somebody without a key is in");
            assert_ne!(key, self.victim, "i1: somebody else's key is in");
            let admitted = self.admitted.entry(key).or_default();
            *admitted += 1;
            let proofs = self.proofs.get(&key).copied().unwrap_or(0);
            assert!(*admitted <= proofs, "i1: a session without a proof");
        }
        let other = self.host.sessions.get(self.other);
        assert!(other.is_some(), "another listener's session is gone");
    }

    pub(super) fn is_killed(&mut self) -> bool {
        !matches!(
            self.killed.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        )
    }

    /// Waits until all that was begun has come back, and hands on what the frameserver is told.
    pub(super) async fn settle(&mut self) {
        loop {
            let (say, mut said) = oneshot::channel();
            self.host
                .store
                .read(move |_, _| Box::new(move |_| say.send(()).unwrap()));
            let mut others = 0;
            loop {
                let event = self.events.recv().await.unwrap();
                self.host.hear(event);
                self.look();
                if said.try_recv().is_ok() {
                    break;
                }
                others += 1;
            }
            while !self.host.keyroom.is_idle() {
                let event = self.events.recv().await.unwrap();
                self.host.hear(event);
                self.look();
                others += 1;
            }
            while let Ok((message, _)) = self.told.try_recv() {
                others += 1;
                self.hears(message);
            }
            if others == 0 {
                return;
            }
        }
    }

    pub(super) fn hears(&mut self, message: ToFrameserver) {
        let ToFrameserver::Answer {
            connection,
            answer,
            session,
        } = message
        else {
            return;
        };
        let proved = answer.admits();
        assert_eq!(proved, session.is_some(), "keys without a session");
        // It hands the answer to whoever's claim it was.
        if let Some(&number) = self.claims.get(&connection)
            && let Some(peer) = self.peers.get_mut(&number)
            && peer
                .server
                .handle(Instant::now(), Input::Answer(answer.try_into().unwrap()))
                .is_ok()
        {
            self.run_peer(number, Some(connection));
        }
    }

    /// An honest client comes; its claim is passed on under a number of the frameserver's choice.
    pub(super) fn connect(&mut self) {
        let private = random_key(&mut self.rng);
        let key = private.public().unwrap();
        let rounds = if self.chance(2) {
            Rounds::One
        } else {
            Rounds::Two
        };
        let [client, server] = [(); 2].map(|()| ChaCha8Rng::seed_from_u64(self.rng.next_u64()));
        let handshake = Duration::from_secs(60);
        let config = InitiatorConfig {
            role: Role::Source,
            initial: StageKeys::public(),
            public: key,
            rounds,
            handshake,
        };
        let listener = ListenerConfig {
            role: Role::Sink,
            candidates: vec![(self.secret, StageKeys::public())],
            handshake,
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 0,
            },
        };
        let peer = Peer {
            key,
            private,
            client: Initiator::new(config, Instant::now(), client),
            server: Listener::new(Arc::new(listener), Instant::now(), server),
            on_its_way: Vec::new(),
        };
        if self.chance(2) {
            let accept = Change::Accept {
                key,
                scope: Scope::Name(self.name.clone()),
                label: None,
                imported: false,
            };
            let store = &self.host.store;
            store.apply(Actor::Host, vec![accept], |_, _, _| Box::new(|_| ()));
        }
        let number = self.rng.next_u64();
        self.peers.insert(number, peer);
        let passed_on = (!self.chance(4)).then(|| ConnectionId(self.rng.next_u64()));
        self.run_peer(number, passed_on);
    }

    /// Lets a client and its half of the frameserver talk until one of them waits. What is asked is
    /// passed on under this number, if any, and remembered in any case.
    pub(super) fn run_peer(&mut self, number: u64, pass_on: Option<ConnectionId>) {
        let Some(peer) = self.peers.get_mut(&number) else {
            return;
        };
        let mut asks = Vec::new();
        let mut proofs = 0;
        talk(peer, &mut asks, &mut proofs);
        *self.proofs.entry(peer.key).or_default() += proofs;
        for ask in asks {
            self.asked.push((number, ask.clone()));
            if let Some(connection) = pass_on {
                if let Ask::Claim { .. } = ask {
                    self.claims.insert(connection, number);
                }
                self.asks(connection, ask);
            }
        }
    }

    /// A connection that it has spoken of, or one that it makes up.
    pub(super) fn some_connection(&mut self) -> ConnectionId {
        let which = self.pick(self.claims.len() + 1).unwrap_or(0);
        let known = self.claims.keys().nth(which).copied();
        known.unwrap_or_else(|| ConnectionId(self.rng.next_u64() % 8))
    }

    pub(super) fn lie(&mut self) {
        let connection = self.some_connection();
        match self.rng.next_u32() % 20 {
            // The victim's key is claimed.
            0..4 => {
                let hello = hello(self.victim);
                let (secret, rounds) = (self.secret, Rounds::One);
                self.asks(
                    connection,
                    Ask::Claim {
                        secret,
                        rounds,
                        hello,
                    },
                );
            }
            // What somebody has really sent, for another connection or once more.
            4..9 => {
                if let Some(which) = self.pick(self.asked.len()) {
                    let (number, ask) = self.asked[which].clone();
                    if let Ask::Claim { .. } = ask {
                        self.claims.insert(connection, number);
                    }
                    self.asks(connection, ask);
                }
            }
            9..11 => {
                let mut noise = vec![0; [153, 164, 20][self.pick(3).unwrap()]];
                self.rng.fill_bytes(&mut noise);
                self.asks(connection, Ask::Proof(noise));
            }
            11..13 => {
                let mut proofs = self.asked.iter().filter_map(|(_, ask)| match ask {
                    Ask::Proof(packet) => Some(packet.clone()),
                    _ => None,
                });
                if let Some(mut packet) = proofs.next_back() {
                    let bit = self.rng.next_u32() as usize % (packet.len() * 8);
                    packet[bit / 8] ^= 1 << (bit % 8);
                    self.asks(connection, Ask::Proof(packet));
                }
            }
            13..17 => {
                let why = match self.rng.next_u32() % 3 {
                    0 => Ended::Violation(Violation::FirstPacket),
                    1 => Ended::Refused(Refusal::NotAccepted),
                    _ => Ended::Peer,
                };
                self.says(FromFrameserver::Closed {
                    connection,
                    source: source(),
                    reference: None,
                    why,
                });
            }
            17 => {
                let all = self.host.sessions.iter().map(|(id, _)| id);
                let mut sessions: Vec<_> = all.collect();
                sessions.push(SessionId(0));
                let session = sessions[self.pick(sessions.len()).unwrap()];
                let why = Ended::Peer;
                self.says(FromFrameserver::Gone { session, why });
            }
            18 => self.says(FromFrameserver::Ready(whole_report())),
            _ => match self.rng.next_u32() % 3 {
                0 => self.says(FromFrameserver::Failed(
                    "\u{1b}[2J\nINFO authenticated".into(),
                )),
                1 => self.asks(connection, Ask::Server(hello(self.victim))),
                _ => self.asks(connection, Ask::Ratchet(Whole([1; 128]))),
            },
        }
    }

    pub(super) async fn check(&mut self) {
        let windows = self.stored().await;
        let window = windows
            .iter()
            .find(|window| window.id == self.window)
            .unwrap();
        assert!(
            window.enrolled.len() <= COUNT as usize,
            "i2: more than its count"
        );
        let proved = |key: &&[u8; 32]| {
            let mut proofs = self.proofs.iter();
            proofs.any(|(by, count)| by.as_bytes() == *key && *count > 0)
        };
        assert!(
            window.enrolled.iter().all(|key| proved(&key)),
            "i1: a key was enrolled that nobody has proved"
        );
    }

    pub(super) async fn stored(&mut self) -> Vec<Window> {
        self.settle().await;
        let (say, said) = std::sync::mpsc::channel();
        self.host.store.read(move |keystore, now| {
            say.send(keystore.windows(now).unwrap()).unwrap();
            Box::new(|_| ())
        });
        self.settle().await;
        said.recv().unwrap()
    }

    pub(super) async fn step(&mut self) {
        match self.rng.next_u32() % 8 {
            0..4 => self.connect(),
            4 => self.lie(),
            _ => self.settle().await,
        }
        // What was on its way when it was killed still comes; sometimes more, sometimes less.
        if self.is_killed() && self.chance(3) {
            self.deaths += 1;
            self.settle().await;
            let dead = self.front;
            self.host.front_did(dead, Did::Exited(None));
            let left = |session: &Session| session.front == dead;
            assert!(
                !self.host.sessions.iter().any(|(_, session)| left(session)),
                "i5: the dead keep sessions"
            );
            self.start_front();
        }
    }
}

/// Client and server exchange bytes until both wait.
pub(super) fn talk(peer: &mut Peer, asks: &mut Vec<Ask>, proofs: &mut usize) {
    let now = Instant::now();
    loop {
        loop {
            match peer.client.poll(&mut peer.on_its_way) {
                Output::Transmit => {}
                Output::Ask(Ask::Server(hello)) => {
                    let keys = Claim::parse(&hello).unwrap().session(&peer.private);
                    let answer = Input::Answer(Answer::Session(keys));
                    peer.client.handle(now, answer).unwrap();
                }
                Output::Ask(Ask::Ratchet(rekey)) => {
                    let keys: RatchetKeys = keyroom::ratchet(&peer.private, &rekey).unwrap();
                    let answer = Input::Answer(Answer::Ratchet(keys));
                    peer.client.handle(now, answer).unwrap();
                }
                Output::Ask(_) => panic!("an initiator asked what a listener asks"),
                Output::Event(PeerEvent::Established { .. }) => {
                    let event = External::Register {
                        title: "honest".into(),
                        kind: SegmentKind(10),
                        guid: [0; 2],
                    };
                    let register = Command::External { channel: 0, event };
                    peer.client.handle(now, Input::Command(register)).unwrap();
                    *proofs += 1;
                }
                Output::Event(_) => {}
                Output::Idle(_) => break,
            }
        }
        let mut quiet = true;
        let mut to_client = Vec::new();
        loop {
            match peer.server.poll(&mut to_client) {
                Output::Transmit | Output::Event(_) => {}
                Output::Ask(ask) => asks.push(ask),
                Output::Idle(_) => {
                    let room = peer.on_its_way.len().min(peer.server.room());
                    if room == 0 {
                        break;
                    }
                    let fit: Vec<u8> = peer.on_its_way.drain(..room).collect();
                    quiet = false;
                    if peer.server.handle(now, Input::Bytes(&fit)).is_err() {
                        return;
                    }
                }
            }
        }
        let mut rest = to_client.as_slice();
        while !rest.is_empty() {
            let (fit, later) = rest.split_at(rest.len().min(peer.client.room()));
            if fit.is_empty() || peer.client.handle(now, Input::Bytes(fit)).is_err() {
                return;
            }
            rest = later;
            quiet = false;
        }
        if quiet {
            return;
        }
    }
}

pub(super) fn whole_report() -> Vec<Denied> {
    vec![Denied {
        action: "open".into(),
        layer: Some("seccomp".into()),
    }]
}

pub(super) fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

pub(super) fn random_key(rng: &mut ChaCha8Rng) -> SecretKey {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    SecretKey::from_bytes(bytes)
}

/// A HELLO of mode 1 that claims a key.
pub(super) fn hello(key: PublicKey) -> ControlBody {
    let hello = Control::Hello(Hello {
        mode: Mode::Static,
        key: *key.as_bytes(),
        role: Role::Source as u8,
        version: Hello::VERSION,
    });
    Whole(hello.encode(&Header::default()))
}

/// Runs a test in what a host needs around it.
pub(super) fn with_world<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(World) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        test(World::new(seed, folder.path())).await;
    });
}
