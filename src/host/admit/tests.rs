//! A table and a frameserver that says whatever it likes, against a model of what it may.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rand_core::SeedableRng;

use super::*;
use crate::wire::a12::event::{External, SegmentKind};
use crate::wire::a12::{
    Answer, Ask, Command, ControlBody, Event, Initiator, InitiatorConfig, Listener, ListenerConfig,
    Ratchet, Role, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{self, Input, Output, Protocol, Whole};

/// How many connections the frameserver was told to hold; the table bears twice as many.
const UNPROVED: u32 = 2;
const LIMIT: usize = 4;

/// A question as it comes from the frameserver.
fn asked(table: &mut Table, connection: u64, claim: u16, ask: Ask) -> Effect {
    let source = SocketAddr::from(([192, 0, 2, 1], claim));
    table.ask(ConnectionId(connection), source, None, ask)
}

fn claim_of(hello: ControlBody) -> Ask {
    Ask::Claim {
        secret: SecretId(1),
        rounds: Rounds::One,
        hello,
    }
}

fn proof_of(packet: Vec<u8>) -> Ask {
    Ask::Proof(packet)
}

fn is_more(answer: &wire::Answer) -> bool {
    matches!(answer, wire::Answer::A12(Answer::More))
}

fn is_challenge(answer: &wire::Answer) -> bool {
    matches!(answer, wire::Answer::A12(Answer::Challenge { .. }))
}

fn host() -> SecretKey {
    SecretKey::from_bytes([99; 32])
}

/// A client that has its key: what it claims by, and what it proves it by.
struct Client {
    key: PublicKey,
    hello: ControlBody,
    nonce: [u8; 8],
    event: Vec<u8>,
    control: Vec<u8>,
}

impl Client {
    fn new(number: u8) -> Self {
        let nonce = [number; 8];
        let register = Command::External {
            channel: 0,
            event: External::Register {
                title: "honest".into(),
                kind: SegmentKind(10),
                guid: [0; 2],
            },
        };
        let text = "goodbye".into();
        let (hello, event) = speak(number, nonce, register);
        let (_, control) = speak(number, nonce, Command::Shutdown { text });
        assert_eq!((event.len(), control.len()), (164, 153));
        Self {
            key: private(number).public().unwrap(),
            hello,
            nonce,
            event,
            control,
        }
    }

    fn pending(&self) -> Pending {
        let claim = Claim::parse(&self.hello).unwrap();
        claim.challenge(&host(), Rounds::One, self.nonce)
    }
}

fn private(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

/// A whole handshake: the HELLO, and the first packet after it.
fn speak(number: u8, nonce: [u8; 8], first: Command) -> (ControlBody, Vec<u8>) {
    let (now, handshake) = (Instant::now(), Duration::from_secs(60));
    let config = InitiatorConfig {
        role: Role::Source,
        initial: StageKeys::public(),
        public: private(number).public().unwrap(),
        rounds: Rounds::One,
        handshake,
    };
    let listener = ListenerConfig {
        role: Role::Sink,
        candidates: vec![(SecretId(1), StageKeys::public())],
        handshake,
        ratchet: Ratchet {
            at_once: true,
            every_bytes: 0,
        },
    };
    let rng = || ChaCha8Rng::seed_from_u64(number.into());
    let mut client = Initiator::new(config, now, rng());
    let mut server = Listener::new(Arc::new(listener), now, rng());
    let mut bytes = Vec::new();
    while matches!(client.poll(&mut bytes), Output::Transmit) {}
    while !bytes.is_empty() {
        let rest = bytes.split_off(server.room().min(bytes.len()));
        server.handle(now, Input::Bytes(&bytes)).unwrap();
        bytes = rest;
    }
    let Output::Ask(Ask::Claim { hello, .. }) = server.poll(&mut bytes) else {
        panic!("no claim");
    };
    let challenge = Answer::Challenge {
        host: host().public().unwrap(),
        nonce,
    };
    server.handle(now, Input::Answer(challenge)).unwrap();
    while matches!(server.poll(&mut bytes), Output::Transmit) {}
    while !bytes.is_empty() {
        let rest = bytes.split_off(client.room().min(bytes.len()));
        client.handle(now, Input::Bytes(&bytes)).unwrap();
        bytes = rest;
    }
    let Output::Ask(Ask::Server(reply)) = client.poll(&mut bytes) else {
        panic!("no answer");
    };
    let keys = Claim::parse(&reply).unwrap().session(&private(number));
    client
        .handle(now, Input::Answer(Answer::Session(keys)))
        .unwrap();
    let established = client.poll(&mut bytes);
    assert!(matches!(
        established,
        Output::Event(Event::Established { .. })
    ));
    client.handle(now, Input::Command(first)).unwrap();
    while matches!(client.poll(&mut bytes), Output::Transmit) {}
    (hello, bytes)
}

/// What a frameserver says, or what comes back of what is done for it.
#[derive(Debug, Clone)]
enum Op {
    Claim { connection: u64, who: usize },
    Proof { connection: u64, packet: Packet },
    Foreign { connection: u64, ratchet: bool },
    Closed(u64),
    Back { which: usize, good: bool },
}

#[derive(Debug, Clone)]
enum Packet {
    /// What the client sends that has claimed there.
    Event,
    Control,
    /// The beginning of an event.
    Half,
    /// What another one sends.
    Of(usize),
    Noise(Vec<u8>),
}

const CLIENTS: usize = 3;
/// A HELLO that claims nothing.
const NOBODY: usize = CLIENTS;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let connection = || 0..6_u64;
    let packet = prop_oneof![
        4 => Just(Packet::Event),
        3 => Just(Packet::Control),
        2 => Just(Packet::Half),
        1 => (0..CLIENTS).prop_map(Packet::Of),
        1 => prop_oneof![
            proptest::collection::vec(any::<u8>(), 153),
            proptest::collection::vec(any::<u8>(), 164),
            proptest::collection::vec(any::<u8>(), 0..400),
        ].prop_map(Packet::Noise),
    ];
    let op = prop_oneof![
        6 => (connection(), 0..=NOBODY).prop_map(|(connection, who)| Op::Claim { connection, who }),
        6 => (connection(), packet).prop_map(|(connection, packet)| Op::Proof { connection, packet }),
        1 => (connection(), any::<bool>())
            .prop_map(|(connection, ratchet)| Op::Foreign { connection, ratchet }),
        3 => connection().prop_map(Op::Closed),
        12 => (any::<prop::sample::Index>(), prop::bool::weighted(0.9))
            .prop_map(|(which, good)| Op::Back { which: which.index(64), good }),
    ];
    proptest::collection::vec(op, 1..160)
}

/// Where a claim stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Lookup,
    Challenge,
    Proof { more: bool },
    Commit,
    Refused,
    Leaving,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// No two claims have the same.
    claim: u16,
    who: usize,
    at: At,
}

/// Something that is done for a claim.
#[derive(Debug, Clone, Copy)]
struct Job {
    connection: u64,
    claim: u16,
    who: usize,
    what: At,
}

struct Model<'a> {
    clients: &'a [Client],
    table: Table,
    places: BTreeMap<u64, Place>,
    jobs: Vec<Job>,
    claims: u16,
    admitted: usize,
    /// Answers that came for somebody who had gone.
    late: usize,
    killed: usize,
}

impl<'a> Model<'a> {
    fn new(clients: &'a [Client]) -> Self {
        Self {
            clients,
            table: Table::new(Scheme::A12, UNPROVED),
            places: BTreeMap::new(),
            jobs: Vec::new(),
            claims: 0,
            admitted: 0,
            late: 0,
            killed: 0,
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Claim { connection, who } => self.claim(connection, who),
            Op::Proof { connection, packet } => self.proof(connection, packet),
            Op::Foreign {
                connection,
                ratchet,
            } => {
                let ask = match ratchet {
                    true => Ask::Ratchet(Whole([1; 128])),
                    false => Ask::Server(self.clients[0].hello),
                };
                let effect = asked(&mut self.table, connection, 0, ask);
                self.is_killed(&effect);
            }
            Op::Closed(connection) => self.closed(connection),
            Op::Back { which, good } if !self.jobs.is_empty() => {
                let job = self.jobs.swap_remove(which % self.jobs.len());
                self.back(job, good);
            }
            Op::Back { .. } => {}
        }
        assert!(self.jobs.len() <= LIMIT, "too much is under way");
        assert_eq!(self.table.requests.len(), self.places.len());
        assert!(self.places.len() <= LIMIT, "too much is held");
    }

    #[track_caller]
    fn is_killed(&mut self, effect: &Effect) {
        assert!(matches!(effect, Effect::Kill(_)), "{effect:?}");
        self.killed += 1;
    }

    /// The one who claimed there is refused, and nobody else.
    #[track_caller]
    fn is_refused(&mut self, connection: u64, effect: &Effect) {
        let place = self.places.get_mut(&connection).unwrap();
        place.at = At::Refused;
        let Effect::Refuse(refused, _) = effect else {
            panic!("{effect:?}");
        };
        assert_eq!(refused.source.port(), place.claim);
        let key = self.clients.get(place.who).map(|client| client.key);
        assert_eq!(refused.key, key);
    }

    fn begin(&mut self, connection: u64, what: At) {
        let place = self.places.get_mut(&connection).unwrap();
        place.at = what;
        let (claim, who) = (place.claim, place.who);
        assert!(
            self.jobs.iter().all(|job| job.connection != connection),
            "two things at once for one connection"
        );
        self.jobs.push(Job {
            connection,
            claim,
            who,
            what,
        });
    }

    fn claim(&mut self, connection: u64, who: usize) {
        self.claims += 1;
        let claim = self.claims;
        let hello = match self.clients.get(who) {
            Some(client) => client.hello,
            None => Whole([0; 128]),
        };
        let effect = asked(&mut self.table, connection, claim, claim_of(hello));
        if self.places.contains_key(&connection) || self.places.len() >= LIMIT {
            return self.is_killed(&effect);
        }
        let at = At::Lookup;
        self.places.insert(connection, Place { claim, who, at });
        if who == NOBODY {
            return self.is_refused(connection, &effect);
        }
        self.begin(connection, At::Lookup);
        let Effect::Lookup { key, .. } = effect else {
            panic!("{effect:?}");
        };
        assert_eq!(key, self.clients[who].key);
    }

    fn proof(&mut self, connection: u64, packet: Packet) {
        let place = self.places.get(&connection).copied();
        let own = &self.clients[place.map_or(0, |place| place.who % CLIENTS)];
        let packet = match packet {
            Packet::Event => own.event.clone(),
            Packet::Control => own.control.clone(),
            Packet::Half => own.event[..153].to_vec(),
            Packet::Of(who) => self.clients[who].event.clone(),
            Packet::Noise(noise) => noise,
        };
        let is_right = packet == own.event || packet == own.control;
        let wants_more = matches!(own.pending().prove(&packet), Err(Error::Again { .. }));
        let effect = asked(&mut self.table, connection, 0, proof_of(packet));
        let Some(Place {
            claim,
            who,
            at: At::Proof { more },
        }) = place
        else {
            return self.is_killed(&effect);
        };
        if is_right {
            self.begin(connection, At::Commit);
            let Effect::Commit { key, way, .. } = effect else {
                panic!("a proof leads to {effect:?}");
            };
            assert_eq!((key, way), (self.clients[who].key, way_of(claim)));
        } else if wants_more && more {
            self.is_killed(&effect);
        } else if wants_more {
            self.places.get_mut(&connection).unwrap().at = At::Proof { more: true };
            assert!(matches!(&effect, Effect::Answer(answer) if is_more(answer)));
        } else {
            self.is_refused(connection, &effect);
        }
    }

    fn closed(&mut self, connection: u64) {
        let (key, refused) = self.table.closed(ConnectionId(connection));
        let place = self.places.get(&connection).copied();
        let who = place.and_then(|place| self.clients.get(place.who));
        assert_eq!(key, who.map(|client| client.key));
        assert_eq!(refused, place.is_some_and(|place| place.at == At::Refused));
        if self.jobs.iter().any(|job| job.connection == connection) {
            self.places.get_mut(&connection).unwrap().at = At::Leaving;
        } else {
            self.places.remove(&connection);
        }
    }

    /// Something that was done comes back.
    fn back(&mut self, job: Job, good: bool) {
        let Job {
            connection,
            claim,
            who,
            what,
        } = job;
        let id = ConnectionId(connection);
        let place = *self.places.get(&connection).expect("it keeps its place");
        assert_eq!(place.claim, claim, "it is taken as another claim's");
        let gone = place.at == At::Leaving;
        if gone {
            self.places.remove(&connection);
            self.late += 1;
        }
        let reason = Reason::Keystore;
        match what {
            At::Lookup => {
                let way = if good { Ok(way_of(claim)) } else { Err(reason) };
                match self.table.looked_up(id, way) {
                    None => assert!(gone, "an answer is lost"),
                    Some(_) if gone => panic!("somebody who has gone goes on"),
                    Some(effect) if !good => self.is_refused(connection, &effect),
                    Some(effect) => {
                        self.begin(connection, At::Challenge);
                        let Effect::Challenge { claim: of, way, .. } = effect else {
                            panic!("{effect:?}");
                        };
                        assert_eq!(*of.key(), self.clients[who].key);
                        assert_eq!(way, way_of(claim));
                    }
                }
            }
            At::Challenge => {
                let (client, host) = (&self.clients[who], host().public().unwrap());
                let (nonce, pending) = (client.nonce, client.pending());
                match self.table.challenged(id, host, nonce, pending) {
                    None => assert!(gone, "an answer is lost"),
                    Some(_) if gone => panic!("somebody who has gone goes on"),
                    Some(effect) => {
                        self.places.get_mut(&connection).unwrap().at = At::Proof { more: false };
                        assert!(matches!(&effect, Effect::Answer(answer) if is_challenge(answer)));
                    }
                }
            }
            _ => match self
                .table
                .committed(id, if good { Ok(()) } else { Err(reason) })
            {
                None => assert!(gone, "an answer is lost"),
                Some(_) if gone => panic!("somebody who has gone comes in"),
                Some(Err(effect)) => {
                    assert!(!good, "a commit is lost");
                    self.is_refused(connection, &effect);
                }
                Some(Ok(peer)) => {
                    assert!(good, "a refusal lets somebody in");
                    self.places.remove(&connection);
                    assert_eq!(peer.key, Some(self.clients[who].key));
                    let (way, from) = (Some(way_of(claim)), peer.source.port());
                    assert_eq!((peer.way, from), (way, claim));
                    self.admitted += 1;
                }
            },
        }
    }
}

/// Each claim has a way of its own, by which it is known again.
fn way_of(claim: u16) -> Way {
    Way::Known {
        added_ms: claim.into(),
    }
}

#[test]
fn i1_whatever_is_said_in_whatever_order_a_claim_takes_each_step_once() {
    let clients: Vec<_> = (1..=3).map(Client::new).collect();
    let (admitted, late, killed) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config {
        cases: 512,
        source_file: Some(file!()),
        ..Config::default()
    });
    let done = runner.run(&ops(), |ops| {
        let mut model = Model::new(&clients);
        ops.into_iter().for_each(|op| model.step(op));
        admitted.set(admitted.get() + model.admitted);
        late.set(late.get() + model.late);
        killed.set(killed.get() + model.killed);
        Ok(())
    });
    done.unwrap_or_else(|failure| panic!("{failure}"));
    let seen = (admitted.get(), late.get(), killed.get());
    assert!(
        seen.0 > 100 && seen.1 > 100 && seen.2 > 100,
        "it hardly happens: {seen:?}"
    );
}
