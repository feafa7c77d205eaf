//! Host, store and peers in one thread, from a seed: messages are delayed and interleaved at random,
//! the host crashes and comes back with what the store holds, clocks jump. After every step nobody
//! may be in who should not be.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::{Name, PublicKey, Secret};
use keystore::{Actor, Change, Keystore, Memory, Now, OpenWindow, Origin, Reason, Scope, WindowId};
use rand_core::{Rng, SeedableRng};

use super::admit::{Effect, Table};
use super::way::{self, Use, Way};
use crate::ipc::{ConnectionId, Scheme};
use crate::wire::Whole;
use crate::wire::a12::control::{Control, Header, Hello, Mode};
use crate::wire::a12::event::{External, SegmentKind};
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::a12::{
    Answer, Ask, Command, ControlBody, Event, Initiator, InitiatorConfig, Listener, ListenerConfig,
    Ratchet, Role, Rounds, SecretId, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{Input, Output, Protocol};

/// What a peer is up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Intent {
    /// It holds the key that it claims and knows the window's secret.
    Honest,
    /// It claims a key that somebody else holds, and answers the challenge with noise.
    Liar,
    /// It claims its key, and leaves before it has proved it.
    Fickle,
}

struct Peer {
    intent: Intent,
    key: PublicKey,
    private: SecretKey,
    client: Initiator<ChaCha8Rng>,
    server: Listener<ChaCha8Rng>,
    to_server: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// The frameserver has sent a proof for it that is genuine.
    proved: bool,
    gone: bool,
}

/// Work that is under way inside the host.
enum Job {
    Lookup(PublicKey, SecretId),
    Compute(Claim, Rounds, [u8; 8]),
    Commit(PublicKey, Way),
}

enum Back {
    Way(Result<Way, Reason>),
    Challenge([u8; 8], Pending),
    Committed(Result<(), Reason>),
}

struct World {
    rng: ChaCha8Rng,
    start: Instant,
    now: Now,
    store: Memory,
    name: Name,
    window: WindowId,
    /// How many keys the window lets in: few, so that they are fought for, or more than come
    /// before its end.
    count: u32,
    host_key: SecretKey,
    table: Table,
    jobs: Vec<(ConnectionId, Job)>,
    backs: VecDeque<(ConnectionId, Back)>,
    peers: BTreeMap<ConnectionId, Peer>,
    sessions: BTreeSet<ConnectionId>,
    next: u64,
}

const SECRET: SecretId = SecretId(1);
const LASTS_MS: u64 = 10_000;

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let count = if seed.is_multiple_of(2) { 3 } else { 1000 };
        let now = Now {
            wall_ms: 1_700_000_000_000,
            boot_ms: 5_000,
            boot: [1; 16],
        };
        let name = Name::parse("lab").unwrap();
        let window = WindowId(rng.next_u64());
        let mut store = Memory::new();
        let open = OpenWindow {
            id: window,
            name: name.clone(),
            secret: secret(),
            human: true,
            count,
            lasts_ms: LASTS_MS,
            origin: Origin::Script,
            label: None,
        };
        store
            .apply(now, &Actor::User(1000), &[Change::OpenWindow(open)])
            .unwrap();
        Self {
            host_key: random_key(&mut rng),
            rng,
            start: Instant::now(),
            now,
            store,
            name,
            window,
            count,
            table: Table::new(Scheme::A12, 64),
            jobs: Vec::new(),
            backs: VecDeque::new(),
            peers: BTreeMap::new(),
            sessions: BTreeSet::new(),
            next: 0,
        }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.rng.next_u32().is_multiple_of(one_in)
    }

    fn pick(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.rng.next_u32() as usize % len)
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_millis(self.now.boot_ms)
    }

    /// A client connects.
    fn connect(&mut self) {
        let intent = match self.rng.next_u32() % 4 {
            0 => Intent::Liar,
            1 => Intent::Fickle,
            _ => Intent::Honest,
        };
        let private = random_key(&mut self.rng);
        // A liar claims the key of somebody who may have been let in.
        let claimed = match self.pick(self.peers.len()) {
            Some(other) if intent == Intent::Liar => {
                self.peers.values().nth(other).map(|peer| peer.key)
            }
            _ => None,
        };
        let key = claimed.unwrap_or_else(|| private.public().unwrap());
        let rounds = if self.chance(2) {
            Rounds::One
        } else {
            Rounds::Two
        };
        let keys = StageKeys::initial(&secret());
        let [client, server] = [(); 2].map(|()| ChaCha8Rng::seed_from_u64(self.rng.next_u64()));
        let config = InitiatorConfig {
            role: Role::Source,
            initial: keys.clone(),
            public: key,
            rounds,
            handshake: Duration::from_secs(5),
        };
        let listener = ListenerConfig {
            role: Role::Sink,
            candidates: vec![(SECRET, keys)],
            handshake: Duration::from_secs(5),
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 0,
            },
        };
        self.next += 1;
        let peer = Peer {
            intent,
            key,
            private,
            client: Initiator::new(config, self.instant(), client),
            server: Listener::new(Arc::new(listener), self.instant(), server),
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            proved: false,
            gone: false,
        };
        self.peers.insert(ConnectionId(self.next), peer);
    }

    /// Lets one peer and its half of the frameserver go on for a bit.
    fn run_peer(&mut self, id: ConnectionId) {
        let now = self.instant();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let mut leaves = peer.gone;
        if !leaves {
            leaves = run_client(peer, now, &mut self.rng);
        }
        let mut asks = Vec::new();
        let room = peer.server.room().min(peer.to_server.len());
        if room > 0 {
            let bytes: Vec<u8> = peer.to_server.drain(..room).collect();
            leaves |= peer.server.handle(now, Input::Bytes(&bytes)).is_err();
        }
        leaves |= drain_server(peer, &mut asks);
        if leaves && asks.is_empty() {
            self.leave(id);
        }
        for ask in asks {
            let effect = self.table.ask(id, source(), None, ask);
            self.perform(id, effect);
        }
    }

    fn leave(&mut self, id: ConnectionId) {
        self.table.closed(id);
        self.sessions.remove(&id);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.gone = true;
        }
    }

    fn perform(&mut self, id: ConnectionId, effect: Effect) {
        match effect {
            Effect::Lookup { key, secret } => self.jobs.push((id, Job::Lookup(key, secret))),
            Effect::Challenge { claim, rounds, .. } => {
                let nonce = self.rng.next_u64().to_le_bytes();
                self.jobs.push((id, Job::Compute(claim, rounds, nonce)));
            }
            Effect::Commit { key, way, .. } => {
                let peer = &self.peers[&id];
                assert_eq!(peer.key, key, "i1: somebody else's key was proved");
                assert_ne!(peer.intent, Intent::Liar, "i1: a liar's proof was taken");
                self.jobs.push((id, Job::Commit(key, way)));
            }
            Effect::Answer(answer) => self.answer(id, answer.try_into().unwrap()),
            Effect::Refuse(_, refusal) => self.answer(id, Answer::Refused(refusal)),
            Effect::Keyless | Effect::Welcome(_) | Effect::Prove(_) => {
                panic!("no step of this protocol")
            }
            Effect::Kill(why) => panic!("an honest frameserver was to be killed: {why}"),
        }
    }

    fn answer(&mut self, id: ConnectionId, answer: Answer) {
        let now = self.instant();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if peer.gone {
            return;
        }
        if peer.server.handle(now, Input::Answer(answer)).is_err() {
            return self.leave(id);
        }
        self.run_peer(id);
    }

    /// The store and the key room work in order of their queues, but between each other in any.
    fn work(&mut self) {
        let Some(which) = self.pick(self.jobs.len()) else {
            return;
        };
        let is_store = |job: &Job| !matches!(job, Job::Compute(..));
        let wanted = is_store(&self.jobs[which].1);
        let first = self
            .jobs
            .iter()
            .position(|(_, job)| is_store(job) == wanted)
            .unwrap();
        let (id, job) = self.jobs.remove(first);
        let required = Some(Use::Required(Some(self.window)));
        let back = match job {
            Job::Lookup(key, secret) => {
                assert_eq!(secret, SECRET);
                let way = way::find(&self.store, self.now, &self.name, &key, required);
                Back::Way(way.unwrap())
            }
            Job::Compute(claim, rounds, nonce) => {
                Back::Challenge(nonce, claim.challenge(&self.host_key, rounds, nonce))
            }
            Job::Commit(key, Way::Known { .. }) => {
                let way = way::find(&self.store, self.now, &self.name, &key, required);
                let known = matches!(way.unwrap(), Ok(Way::Known { .. }));
                Back::Committed(if known {
                    Ok(())
                } else {
                    Err(Reason::UnknownKey)
                })
            }
            Job::Commit(_, Way::Anonymous) => unreachable!("nobody takes such here"),
            Job::Commit(key, Way::Window(window)) => {
                let enrol = [Change::Enrol { window, key }];
                let done = self.store.apply(self.now, &Actor::Host, &enrol);
                Back::Committed(done.map(drop).map_err(|_| Reason::WindowShut))
            }
        };
        self.backs.push_back((id, back));
    }

    fn come_back(&mut self) {
        let Some((id, back)) = self.backs.pop_front() else {
            return;
        };
        let host = self.host_key.public().unwrap();
        let effect = match back {
            Back::Way(way) => self.table.looked_up(id, way),
            Back::Challenge(nonce, pending) => self.table.challenged(id, host, nonce, pending),
            Back::Committed(good) => match self.table.committed(id, good) {
                None => None,
                Some(Err(effect)) => Some(effect),
                Some(Ok(admitted)) => {
                    assert_eq!(admitted.key, Some(self.peers[&id].key));
                    self.sessions.insert(id);
                    return self.answer(id, admitted.answer.try_into().unwrap());
                }
            },
        };
        if let Some(effect) = effect {
            self.perform(id, effect);
        }
    }

    /// The host is killed and started again: only the store is left.
    fn crash(&mut self) {
        self.table = Table::new(Scheme::A12, 64);
        self.jobs.clear();
        self.backs.clear();
        self.sessions.clear();
        self.peers.clear();
        if self.chance(2) {
            self.now.boot = [self.now.boot[0].wrapping_add(1); 16];
            self.now.boot_ms = 1_000;
        }
    }

    fn step(&mut self) {
        match self.rng.next_u32() % 100 {
            0..6 => self.connect(),
            6..60 => {
                if let Some(which) = self.pick(self.peers.len()) {
                    let id = *self.peers.keys().nth(which).unwrap();
                    self.run_peer(id);
                }
            }
            60..78 => self.work(),
            78..96 => self.come_back(),
            96 => {
                let ms = u64::from(self.rng.next_u32() % 3_000);
                self.now.wall_ms += ms;
                self.now.boot_ms += ms;
            }
            97 if self.chance(4) => {
                // Somebody sets the clock, either way.
                let jump = u64::from(self.rng.next_u32() % 120_000);
                self.now.wall_ms = (self.now.wall_ms + jump).saturating_sub(60_000);
            }
            98 if self.chance(8) => self.crash(),
            99 if self.chance(4) => {
                // An admin accepts a key that a peer holds.
                if let Some(which) = self.pick(self.peers.len()) {
                    let key = self.peers.values().nth(which).unwrap().key;
                    let scope = Scope::Name(self.name.clone());
                    let label = None;
                    self.store
                        .apply(
                            self.now,
                            &Actor::User(1000),
                            &[Change::Accept {
                                key,
                                scope,
                                label,
                                imported: false,
                            }],
                        )
                        .unwrap();
                }
            }
            _ => {}
        }
    }

    /// `enrolled` is how many keys the window had let in before the last step.
    fn check(&self, enrolled: &mut usize) {
        for id in &self.sessions {
            let peer = &self.peers[id];
            assert_eq!(
                peer.intent,
                Intent::Honest,
                "i1: a {:?} peer is in",
                peer.intent
            );
            assert!(peer.proved, "i1: a session without a proof");
            let known = self.store.lookup(self.now, &self.name, &peer.key).unwrap();
            assert!(known.is_ok(), "i1: a session of a key that is not accepted");
        }
        let windows = self.store.windows(self.now).unwrap();
        let Some(window) = windows.iter().find(|window| window.id == self.window) else {
            return;
        };
        assert!(
            window.enrolled.len() <= self.count as usize,
            "i2: more keys than the count"
        );
        if window.enrolled.len() > *enrolled {
            let opened = window.opened;
            let by_wall = self.now.wall_ms < opened.wall_ms + LASTS_MS;
            let by_boot =
                self.now.boot != opened.boot || self.now.boot_ms < opened.boot_ms + LASTS_MS;
            assert!(
                by_wall && by_boot,
                "i2: a key was let in after the deadline"
            );
        }
        *enrolled = window.enrolled.len();
    }
}

fn secret() -> Secret {
    Secret::parse(b"correct horse").unwrap()
}

fn source() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1))
}

fn random_key(rng: &mut ChaCha8Rng) -> SecretKey {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    SecretKey::from_bytes(bytes)
}

/// Runs the client's machine; says whether it leaves.
fn run_client(peer: &mut Peer, now: Instant, rng: &mut ChaCha8Rng) -> bool {
    let room = peer.client.room().min(peer.to_client.len());
    if room > 0 {
        let bytes: Vec<u8> = peer.to_client.drain(..room).collect();
        if peer.client.handle(now, Input::Bytes(&bytes)).is_err() {
            return true;
        }
    }
    let mut out = Vec::new();
    loop {
        match peer.client.poll(&mut out) {
            Output::Transmit => {}
            Output::Idle(_) => break,
            Output::Ask(Ask::Server(hello)) => {
                let keys = Claim::parse(&hello).unwrap().session(&peer.private);
                if peer
                    .client
                    .handle(now, Input::Answer(Answer::Session(keys)))
                    .is_err()
                {
                    return true;
                }
            }
            Output::Ask(Ask::Ratchet(rekey)) => {
                let keys = crate::wire::a12::keyroom::ratchet(&peer.private, &rekey).unwrap();
                if peer
                    .client
                    .handle(now, Input::Answer(Answer::Ratchet(keys)))
                    .is_err()
                {
                    return true;
                }
            }
            Output::Ask(_) => panic!("an initiator asked what a listener asks"),
            Output::Event(Event::Established { .. }) => match peer.intent {
                Intent::Fickle => return true,
                Intent::Liar => {
                    // It cannot make a packet that verifies, whatever it sends.
                    let mut noise = [0; 164];
                    rng.fill_bytes(&mut noise);
                    peer.to_server.extend(noise);
                    return false;
                }
                Intent::Honest => {
                    let register = Command::External {
                        channel: 0,
                        event: External::Register {
                            title: "simulated".into(),
                            kind: SegmentKind(10),
                            guid: [0; 2],
                        },
                    };
                    peer.client.handle(now, Input::Command(register)).unwrap();
                    peer.proved = true;
                }
            },
            Output::Event(_) => {}
        }
    }
    if peer.intent != Intent::Liar || !peer.proved {
        peer.to_server.extend(out);
    }
    false
}

/// Runs the frameserver's machine; says whether the connection is over.
fn drain_server(peer: &mut Peer, asks: &mut Vec<Ask>) -> bool {
    let mut out = Vec::new();
    loop {
        match peer.server.poll(&mut out) {
            Output::Transmit | Output::Event(_) => {}
            Output::Ask(ask) => asks.push(ask),
            Output::Idle(_) => break,
        }
    }
    peer.to_client.extend(out);
    false
}

fn simulate(seed: u64, steps: u32) -> usize {
    let mut world = World::new(seed);
    let mut enrolled = 0;
    let mut most = 0;
    for _ in 0..steps {
        world.step();
        world.check(&mut enrolled);
        most = most.max(world.sessions.len());
    }
    most
}

/// I1 and I2 over many seeds; a failure names its seed.
#[test]
fn i1_i2_nobody_is_in_who_should_not_be() {
    let mut let_in = 0;
    for seed in 0..60 {
        let result = std::panic::catch_unwind(|| simulate(seed, 3_000));
        match result {
            Ok(most) => let_in += most,
            Err(panic) => {
                eprintln!("seed {seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    assert!(
        let_in > 60,
        "the simulation lets hardly anybody in: it proves nothing"
    );
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

/// A frameserver chooses its connections' numbers; using one again must not move what was computed
/// for one key under the name of another.
#[test]
fn i1_a_number_used_again_does_not_mix_two_claims() {
    let mut world = World::new(1);
    let mut table = Table::new(Scheme::A12, 8);
    let [own, other] = [(); 2].map(|()| random_key(&mut world.rng));
    let claim = |key: &SecretKey| {
        let hello = hello(key.public().unwrap());
        Ask::Claim {
            secret: SECRET,
            rounds: Rounds::One,
            hello,
        }
    };
    let connection = ConnectionId(7);
    table.ask(connection, source(), None, claim(&own));
    let Some(Effect::Challenge {
        claim: asked,
        rounds,
        ..
    }) = table.looked_up(connection, Ok(Way::Known { added_ms: 0 }))
    else {
        panic!("no challenge");
    };
    table.closed(connection);
    let again = table.ask(connection, source(), None, claim(&other));
    assert!(matches!(again, Effect::Kill(_)), "{again:?}");
    let pending = asked.challenge(&world.host_key, rounds, [7; 8]);
    let host = world.host_key.public().unwrap();
    assert!(
        table
            .challenged(connection, host, [7; 8], pending)
            .is_none()
    );
    // Now that nothing is under way any more, the number is free.
    let fresh = table.ask(connection, source(), None, claim(&other));
    assert!(matches!(fresh, Effect::Lookup { key, .. } if key == other.public().unwrap()));
}

/// What is under way for connections that have gone still takes its place.
#[test]
fn i7_claims_and_goodbyes_do_not_pile_up_work() {
    let mut table = Table::new(Scheme::A12, 1);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut ask = |number| {
        let key = random_key(&mut rng).public().unwrap();
        let claim = Ask::Claim {
            secret: SECRET,
            rounds: Rounds::One,
            hello: hello(key),
        };
        let effect = table.ask(ConnectionId(number), source(), None, claim);
        table.closed(ConnectionId(number));
        matches!(effect, Effect::Lookup { .. })
    };
    let looked_up = (0..100).filter(|number| ask(*number)).count();
    assert_eq!(looked_up, 2, "twice the places, and no more");
}

#[test]
fn i1_a_request_out_of_order_costs_the_frameserver_its_life() {
    let mut table = Table::new(Scheme::A12, 1);
    let proof = Ask::Proof(vec![0; 153]);
    let out_of_order = table.ask(ConnectionId(1), source(), None, proof);
    assert!(matches!(out_of_order, Effect::Kill(_)));
    let hello = Whole([0; 128]);
    let claim = || Ask::Claim {
        secret: SECRET,
        rounds: Rounds::One,
        hello,
    };
    // A key of zeros is no key: refused at once, and like everybody else.
    let refused = table.ask(ConnectionId(2), source(), None, claim());
    assert!(matches!(refused, Effect::Refuse(..)));
    assert!(matches!(
        table.ask(ConnectionId(2), source(), None, claim()),
        Effect::Kill(_)
    ));
    table.ask(ConnectionId(3), source(), None, claim());
    assert!(matches!(
        table.ask(ConnectionId(4), source(), None, claim()),
        Effect::Kill(_)
    ));
}
