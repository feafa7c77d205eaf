//! Door and slots under siege, from a seed: thousands that only hold connections open, a flood of
//! first packets that verify under nothing, and honest clients with the slow ways of a real network.

use chacha20::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};
use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::frameserver::accept::{Slots, Standing};
use crate::frameserver::driver::ToPeer;
use crate::ipc::ConnectionId;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Sends nothing that is of use, until the deadline.
    Idler,
    /// Sends a first packet that is wrong, which is answered by the next tick of the refusals.
    Flooder,
    /// Has come so far; goes on to the next standing.
    Honest(Standing),
}

struct Peer {
    kind: Kind,
    source: Network,
    /// When it does the next thing.
    next: u64,
    inbox: Receiver<ToPeer>,
}

struct Siege {
    rng: ChaCha8Rng,
    door: Door,
    slots: Slots,
    start: Instant,
    ms: u64,
    peers: BTreeMap<u64, Peer>,
    connections: u64,
    /// Honest connections: how many have come, and how many were let in.
    came: u32,
    let_in: u32,
    /// Idlers that are to connect, and when.
    waiting: Vec<(u64, Network)>,
    most: usize,
}

const FULL: usize = 128;

/// Scaled down with the number of slots from 512, and 5000 idlers, so that it is quick.
const IDLERS: u32 = 1250;

/// First packets for each millisecond.
const FLOOD: u32 = 1;

/// The addresses that they come from.
const FLOODERS: u32 = 64;

impl Siege {
    fn new(seed: u64) -> Self {
        let idlers = (0..IDLERS).map(|number| (u64::from(number) / 4, v4(1_000_000 + number)));
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            door: Door::new("64:30:128".parse().unwrap(), true),
            slots: Slots::default(),
            start: Instant::now(),
            ms: 0,
            peers: BTreeMap::new(),
            connections: 0,
            came: 0,
            let_in: 0,
            waiting: idlers.collect(),
            most: 0,
        }
    }

    fn below(&mut self, end: u32) -> u64 {
        u64::from(self.rng.next_u32() % end)
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn connect(&mut self, kind: Kind, source: Network) {
        let now = self.now();
        if self.door.is_shut(now, source) {
            return;
        }
        let room = self.door.room(self.slots.len(), self.rng.next_u32());
        let door = &self.door;
        if self
            .slots
            .make(room, |source| door.is_good(now, source))
            .is_some()
        {
            let closed = |(_, peer): &(&u64, &Peer)| peer.inbox.is_closed();
            let gone = *self.peers.iter().find(closed).unwrap().0;
            self.drop_peer(gone);
        }
        let (inbox, told) = channel(1);
        self.connections += 1;
        let id = ConnectionId(self.connections);
        self.slots.insert(id, source, inbox);
        self.most = self.most.max(self.slots.len());
        let next = self.ms
            + match kind {
                Kind::Idler => 10_000,
                Kind::Flooder => 1,
                // Its first packet follows at the heels of its connecting.
                Kind::Honest(_) => 1 + self.below(10),
            };
        let peer = Peer {
            kind,
            source,
            next,
            inbox: told,
        };
        self.peers.insert(id.0, peer);
    }

    fn drop_peer(&mut self, id: u64) {
        let peer = self.peers.remove(&id).unwrap();
        if peer.kind == Kind::Idler {
            let soon = self.ms + self.below(1000);
            self.waiting.push((soon, peer.source));
        }
    }

    fn step(&mut self) {
        let ms = self.ms;
        let ready: Vec<_> = self.waiting.extract_if(.., |(at, _)| *at <= ms).collect();
        for (_, source) in ready {
            self.connect(Kind::Idler, source);
        }
        for _ in 0..FLOOD {
            let flooder = v4(u32::try_from(self.below(FLOODERS)).unwrap());
            self.connect(Kind::Flooder, flooder);
        }
        if self.ms.is_multiple_of(10) {
            self.came += 1;
            let source = v4(2_000_000 + self.came);
            self.connect(Kind::Honest(Standing::Silent), source);
        }
        let due: Vec<u64> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.next <= self.ms)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.go_on(id);
        }
        self.ms += 1;
    }

    fn go_on(&mut self, id: u64) {
        let (round_trip, refusal) = (20 + self.below(180), 100 - self.ms % 100);
        let now = self.now();
        let peer = self.peers.get_mut(&id).unwrap();
        let connection = ConnectionId(id);
        let standing = match peer.kind {
            Kind::Flooder if self.slots.inbox(connection).is_some() => {
                self.door.offended(now, peer.source);
                peer.next = self.ms + refusal;
                Standing::Over
            }
            Kind::Honest(Standing::Silent) => {
                peer.next = self.ms + round_trip;
                Standing::Answered
            }
            Kind::Honest(Standing::Answered) => {
                peer.next = self.ms + 1;
                Standing::Claimed
            }
            Kind::Honest(Standing::Claimed) => {
                peer.next = self.ms + round_trip;
                Standing::Challenged
            }
            Kind::Honest(_) => {
                self.door.proved(now, peer.source);
                self.let_in += 1;
                self.slots.remove(connection);
                return self.drop_peer(id);
            }
            Kind::Idler | Kind::Flooder => {
                self.door.offended(now, peer.source);
                self.slots.remove(connection);
                return self.drop_peer(id);
            }
        };
        if let Kind::Honest(at) = &mut peer.kind {
            *at = standing;
        }
        self.slots.advance(connection, standing);
    }
}

fn v4(number: u32) -> Network {
    Network::of(Ipv4Addr::from_bits(0x0a00_0000 + number).into())
}

#[test]
fn i10_a_siege_keeps_no_honest_client_out() {
    for seed in 0..4 {
        let mut siege = Siege::new(seed);
        while siege.ms < 1500 {
            siege.step();
        }
        let honest = |peer: &&Peer| matches!(peer.kind, Kind::Honest(_));
        let under_way = siege.peers.values().filter(honest).count();
        let settled = siege.came - u32::try_from(under_way).unwrap();
        assert_eq!(siege.let_in, settled, "seed {seed}: somebody was kept out");
        assert!(settled > 100, "seed {seed}: it proves nothing");
        assert_eq!(siege.most, FULL, "seed {seed}: it was no siege");
        let shut = (0..FLOODERS).filter(|n| siege.door.is_shut(siege.now(), v4(*n)));
        assert!(shut.count() > 50, "seed {seed}: the flood is not shut out");
    }
}

/// At an address from which somebody floods, whoever tries again every two seconds has its turn.
#[test]
fn i10_who_shares_an_address_with_an_attacker_comes_in_within_its_time() {
    let (mut door, start) = (Door::new(Unproved::USUAL, true), Instant::now());
    let mut tried = Vec::new();
    for ms in 0..300_000 {
        let now = start + Duration::from_millis(ms);
        if !door.is_shut(now, v4(1)) {
            door.offended(now, v4(1));
        }
        if ms % 2000 == 0 && !door.is_shut(now, v4(1)) {
            tried.push(ms);
        }
    }
    let longest = tried.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(longest.unwrap() <= 66_000, "{tried:?}");
}
