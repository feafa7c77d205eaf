//! A frameserver that lies. It holds all that one of ours holds, and may say anything that its socket
//! can carry, in any order. Nobody is in afterwards who has not proved a key, no slot is spent on
//! anybody else, and what belongs to another listener is as it was.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::{Name, PublicKey, Secret};
use keystore::{
    Actor, Change, Directory, Farewell, HostKeyChange, HostKeys, Keystore, Memory, OpenWindow,
    Origin, Scope, Window, WindowId,
};
use rand_core::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use super::child::{Child, Did};
use super::fronts::Front;
use super::roll::{Session, Stage};
use super::store::News;
use super::windows::Required;
use super::{Clock, Event, FrontId, Host, Keys, Options, ScriptId};
use crate::ipc::frameserver::{Candidate, Ended, FromFrameserver, ToFrameserver};
use crate::ipc::script::{ErrorMode, Limits};
use crate::ipc::{ConnectionId, Denied, ListenerId, SessionId, Unproved};
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
const COUNT: u32 = 3;

const SCRIPT: ScriptId = ScriptId(0);

/// An honest client, and the half of a frameserver that serves it.
struct Peer {
    key: PublicKey,
    private: SecretKey,
    client: Initiator<ChaCha8Rng>,
    server: Listener<ChaCha8Rng>,
    /// What the client has sent and the server has had no room for.
    on_its_way: Vec<u8>,
}

struct World {
    rng: ChaCha8Rng,
    host: Host,
    events: mpsc::Receiver<Event>,
    name: Name,
    window: WindowId,
    /// Accepted; nobody here has its private key.
    victim: PublicKey,
    /// A listener that behaves, and its session.
    other: SessionId,
    /// The one that lies: its number, what it is told, and its death.
    front: FrontId,
    told: mpsc::Receiver<(ToFrameserver, Vec<std::os::fd::OwnedFd>)>,
    killed: oneshot::Receiver<()>,
    secret: SecretId,
    fronts: u32,
    peers: BTreeMap<u64, Peer>,
    /// On whose behalf a connection has claimed last.
    claims: BTreeMap<ConnectionId, u64>,
    /// What peers have really asked, whatever became of it.
    asked: Vec<(u64, Ask)>,
    /// How often the holder of a key has answered a challenge.
    proofs: HashMap<PublicKey, usize>,
    admitted: HashMap<PublicKey, usize>,
    seen: u64,
    deaths: usize,
}

impl World {
    fn new(seed: u64, state: &std::path::Path) -> Self {
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
        let directory = Directory::open(&state.join("keys")).unwrap();
        let kept = HostKeys::new(&directory).unwrap();
        let tag = Name::parse("default").unwrap();
        let key = HostKeyChange::New {
            seal: None,
            private: None,
        };
        let (_, ring) = kept.change(&tag, now.wall_ms, key, false).unwrap();
        let keys = Keys {
            kept,
            tag,
            ring,
            client: None,
        };
        let options = Options {
            programs: Vec::new(),
            arguments: Vec::new(),
            state: state.into(),
            errors: ErrorMode::Isolate,
            limits: Limits::default(),
            handshake: Duration::from_secs(10),
            unproved: Unproved::at_most(16),
            watch: false,
            penalties: true,
            reach: Vec::new(),
            permissions: Default::default(),
            undecided: 64,
            sessions: 64,
            window: Duration::from_secs(600),
            require_sandbox: true,
            drain: Duration::ZERO,
            metrics: None,
            handed: super::Handed::default(),
        };
        let (host, events) = Host::start(options, Box::new(store), keys).unwrap();
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
    fn start_front(&mut self) {
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

    fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.rng.next_u32() as usize % len)
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.next_u32().is_multiple_of(one_in)
    }

    fn says(&mut self, message: FromFrameserver) {
        self.host.front_did(self.front, Did::Said(message));
        self.look();
    }

    fn asks(&mut self, connection: ConnectionId, ask: impl Into<crate::wire::Ask>) {
        self.says(FromFrameserver::Ask {
            connection,
            source: source(),
            reference: None,
            ask: ask.into(),
        });
    }

    /// Anybody new who is in has proved a key that is his own.
    fn look(&mut self) {
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

    fn is_killed(&mut self) -> bool {
        !matches!(
            self.killed.try_recv(),
            Err(oneshot::error::TryRecvError::Empty)
        )
    }

    /// Waits until all that was begun has come back, and hands on what the frameserver is told.
    async fn settle(&mut self) {
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

    fn hears(&mut self, message: ToFrameserver) {
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
    fn connect(&mut self) {
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
    fn run_peer(&mut self, number: u64, pass_on: Option<ConnectionId>) {
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
    fn some_connection(&mut self) -> ConnectionId {
        let which = self.pick(self.claims.len() + 1).unwrap_or(0);
        let known = self.claims.keys().nth(which).copied();
        known.unwrap_or_else(|| ConnectionId(self.rng.next_u64() % 8))
    }

    fn lie(&mut self) {
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

    async fn check(&mut self) {
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

    async fn stored(&mut self) -> Vec<Window> {
        self.settle().await;
        let (say, said) = std::sync::mpsc::channel();
        self.host.store.read(move |keystore, now| {
            say.send(keystore.windows(now).unwrap()).unwrap();
            Box::new(|_| ())
        });
        self.settle().await;
        said.recv().unwrap()
    }

    async fn step(&mut self) {
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
fn talk(peer: &mut Peer, asks: &mut Vec<Ask>, proofs: &mut usize) {
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

fn whole_report() -> Vec<Denied> {
    vec![Denied {
        action: "open".into(),
        layer: Some("seccomp".into()),
    }]
}

fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn random_key(rng: &mut ChaCha8Rng) -> SecretKey {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    SecretKey::from_bytes(bytes)
}

/// A HELLO of mode 1 that claims a key.
fn hello(key: PublicKey) -> ControlBody {
    let hello = Control::Hello(Hello {
        mode: Mode::Static,
        key: *key.as_bytes(),
        role: Role::Source as u8,
        version: Hello::VERSION,
    });
    Whole(hello.encode(&Header::default()))
}

/// Runs a test in what a host needs around it.
fn with_world<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(World) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        test(World::new(seed, folder.path())).await;
    });
}

/// I1 and I2 over many seeds; a failure names its seed.
#[test]
fn i1_i2_whatever_a_frameserver_says_nobody_is_in_without_a_proof() {
    let (mut let_in, mut deaths) = (0, 0);
    for seed in 0..24 {
        with_world(seed, async |mut world| {
            eprintln!("seed {seed}");
            for _ in 0..120 {
                world.step().await;
            }
            world.settle().await;
            world.check().await;
            let_in += world.admitted.values().sum::<usize>();
            deaths += world.deaths;
        });
    }
    eprintln!("{let_in} were let in, {deaths} frameservers were ended");
    assert!(let_in > 40, "hardly anybody is let in: it proves nothing");
    assert!(deaths > 40, "hardly a lie is punished: it proves nothing");
}

/// What a frameserver must not say costs it its life, and nobody else anything.
#[test]
fn a_lie_costs_the_frameserver_its_life() {
    type Lie = fn(&mut World);
    let claim = |world: &World| Ask::Claim {
        secret: world.secret,
        rounds: Rounds::One,
        hello: hello(world.victim),
    };
    let lies: [(&str, Lie); 8] = [
        ("a claim twice", |world| {
            let twice = || Ask::Claim {
                secret: world.secret,
                rounds: Rounds::One,
                hello: hello(world.victim),
            };
            let twice = [twice(), twice()];
            twice
                .into_iter()
                .for_each(|claim| world.asks(ConnectionId(1), claim));
        }),
        ("a proof without a claim", |world| {
            world.asks(ConnectionId(1), Ask::Proof(vec![0; 153]));
        }),
        ("an initiator's question", |world| {
            world.asks(ConnectionId(1), Ask::Server(hello(world.victim)));
        }),
        ("a ratchet", |world| {
            world.asks(ConnectionId(1), Ask::Ratchet(Whole([0; 128])));
        }),
        ("the end of another's session", |world| {
            let (session, why) = (world.other, Ended::Peer);
            world.says(FromFrameserver::Gone { session, why });
        }),
        ("the end of a session that never was", |world| {
            let (session, why) = (SessionId(77), Ended::Peer);
            world.says(FromFrameserver::Gone { session, why });
        }),
        ("readiness twice", |world| {
            world.says(FromFrameserver::Ready(whole_report()));
            assert!(!world.is_killed());
            world.says(FromFrameserver::Ready(whole_report()));
        }),
        // Required here: what is not denied must not be served.
        ("an incomplete sandbox", |world| {
            let mut report = whole_report();
            report.push(Denied {
                action: "bpf".into(),
                layer: None,
            });
            world.says(FromFrameserver::Ready(report));
        }),
    ];
    for (what, lie) in lies {
        with_world(1, async |mut world| {
            lie(&mut world);
            assert!(world.is_killed(), "{what} is let pass");
            world.settle().await;
            world.check().await;
            assert!(world.admitted.is_empty());
        });
    }
    with_world(1, async |mut world| {
        for number in 0..=2 * u64::from(world.host.options.unproved.full()) {
            assert!(!world.is_killed(), "it may hold {number}");
            let claim = claim(&world);
            world.asks(ConnectionId(number), claim);
        }
        assert!(world.is_killed(), "it claims for more than it may hold");
    });
}

/// A listener that was required to be safe is not shown as ready before it is.
#[test]
fn an_incomplete_sandbox_is_never_ready_where_it_is_required() {
    with_world(1, async |mut world| {
        world.says(FromFrameserver::Ready(Vec::new()));
        assert!(world.is_killed());
        let front = &world.host.fronts[&world.front];
        assert!(!front.is_ready());
    });
}

/// Guesses that it makes up shut the window early; they never let anybody in.
#[test]
fn i2_guesses_that_are_made_up_only_shut_the_window() {
    with_world(1, async |mut world| {
        world.settle().await;
        for number in 0..300 {
            world.says(FromFrameserver::Closed {
                connection: ConnectionId(number),
                source: source(),
                reference: None,
                why: Ended::Violation(Violation::FirstPacket),
            });
        }
        let windows = world.stored().await;
        assert!(windows[0].ended.is_some() && windows[0].enrolled.is_empty());
        // Then only those come in that are accepted anyhow.
        (0..8).for_each(|_| world.connect());
        let windows = world.stored().await;
        assert!(windows[0].enrolled.is_empty());
    });
}

#[test]
fn i5_a_host_that_cannot_hear_its_store_lets_nobody_in_and_keeps_nobody() {
    with_world(1, async |mut world| {
        world.settle().await;
        world.host.hear_store(News::Blind);
        let other = world.host.sessions.get(world.other).map(|it| it.stage);
        assert_eq!(other, Some(Stage::Ending(Farewell::Revoked)));
        for _ in 0..30 {
            world.connect();
            world.settle().await;
        }
        assert!(world.admitted.is_empty(), "somebody came in unseen");
        world.host.hear_store(News::Unheard);
        for _ in 0..30 {
            world.connect();
            world.settle().await;
        }
        assert!(!world.admitted.is_empty(), "nobody comes in any more");
    });
}
