//! Whom to take in, and who has to go: a policy without sockets, clock or dice, so that any run of it
//! can be played again.
//!
//! Two things guard the slots for peers that have proved nothing. *Room*: from a number of them on,
//! newcomers push others out, by chance at first and then always. *Debts*: a source whose connections
//! end badly comes to owe seconds, which time pays back; one that owes too much is shut out, never
//! for longer than [`LONGEST`]. A source from which a key has been proved lately is spared both.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::ipc::Unproved;
use crate::ipc::frameserver::Strangers;

/// What a connection costs its source that ends in a violation or a refusal. It is the same for
/// whatever it was, so that being shut out does not tell one refusal from another.
const COST: Duration = Duration::from_secs(5);

/// Owing so much is free: anybody mistypes a secret.
const FREE: Duration = Duration::from_secs(15);

/// A source is shut out for so long at most, whatever its connections do meanwhile.
const LONGEST: Duration = Duration::from_secs(60);

/// So long after it has been shut out nothing is counted: whoever shares the address with an
/// attacker and tries now and then comes to its turn.
const RESPITE: Duration = Duration::from_secs(5);

/// How long a proof speaks for its source.
const GOOD_FOR: Duration = Duration::from_secs(60 * 60);

/// How many sources are remembered that owe, and as many that are good.
const SOURCES: usize = Strangers::SOURCES as usize;

/// What one user of the network usually has: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Network(IpAddr);

impl Network {
    pub(super) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << 64)).into(),
            v4 => v4,
        })
    }

    /// Whoever comes through a forwarder on this machine has this address: it says nothing about who
    /// it is.
    fn is_nobody(self) -> bool {
        self == Self::of(Ipv4Addr::LOCALHOST.into()) || self == Self::of(Ipv6Addr::LOCALHOST.into())
    }
}

/// Whether a newcomer finds room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// There is enough.
    Enough,
    /// There is some, but one that has not shown anything yet is to make more.
    Scarce,
    /// There is none: somebody has to go.
    None,
}

/// What is known of the sources, and how many strangers there may be.
#[derive(Debug)]
pub(super) struct Door {
    unproved: Unproved,
    penalties: bool,
    owing: Recent<Debt>,
    /// Until when they are spared.
    good: Recent<Instant>,
    /// How often a source has come to be shut out.
    shut_outs: u64,
}

/// What a source owes, as the time at which it is paid back.
#[derive(Debug, Clone, Copy)]
struct Debt {
    paid: Instant,
    /// Since when it is shut out; then it is until all is paid.
    shut: Option<Instant>,
}

impl Door {
    pub(super) fn new(unproved: Unproved, penalties: bool) -> Self {
        Self {
            unproved,
            penalties,
            owing: Recent::new(SOURCES),
            good: Recent::new(SOURCES),
            shut_outs: 0,
        }
    }

    /// Whether there is room where so many are held already; `dice` is any number.
    pub(super) fn room(&self, held: usize, dice: u32) -> Room {
        let held = u64::try_from(held).unwrap_or(u64::MAX);
        let [start, rate, full] = [
            self.unproved.start(),
            self.unproved.rate(),
            self.unproved.full(),
        ]
        .map(u64::from);
        if held >= full {
            return Room::None;
        }
        if held < start {
            return Room::Enough;
        }
        // In millionths: from the rate at START evenly to everything at FULL.
        let rate = rate * 10_000;
        let chance = rate + (1_000_000 - rate) * (held - start) / (full - start).max(1);
        if (u64::from(dice) * 1_000_000) >> 32 < chance {
            Room::Scarce
        } else {
            Room::Enough
        }
    }

    /// Whether nobody is taken in from there now.
    pub(super) fn is_shut(&self, now: Instant, source: Network) -> bool {
        let debt = self.owing.get(source);
        debt.is_some_and(|debt| debt.shut.is_some() && now < debt.paid)
    }

    /// How often a source has come to be shut out.
    pub(super) fn shut_outs(&self) -> u64 {
        self.shut_outs
    }

    /// How many sources are shut out. It looks at all of them.
    pub(super) fn shut(&self, now: Instant) -> usize {
        let is_shut = |debt: &&Debt| debt.shut.is_some() && now < debt.paid;
        self.owing.all().filter(is_shut).count()
    }

    /// Whether a key has been proved from there lately.
    pub(super) fn is_good(&self, now: Instant, source: Network) -> bool {
        self.good.get(source).is_some_and(|until| now < *until)
    }

    /// A connection from there has ended badly before it had proved a key.
    pub(super) fn offended(&mut self, now: Instant, source: Network) {
        if !self.penalties || source.is_nobody() || self.is_good(now, source) {
            return;
        }
        let debt = self.owing.get(source).copied();
        let mut debt = debt.unwrap_or(Debt {
            paid: now,
            shut: None,
        });
        if debt.shut.is_some() && now >= debt.paid {
            if now < debt.paid + RESPITE {
                return;
            }
            debt.shut = None;
        }
        debt.paid = debt.paid.max(now) + COST;
        if debt.paid > now + FREE && debt.shut.is_none() {
            debt.shut = Some(now);
            self.shut_outs += 1;
        }
        if let Some(since) = debt.shut {
            debt.paid = debt.paid.min(since + LONGEST);
        }
        self.owing.put(source, debt);
    }

    /// A key has been proved from there, or one that had been has left.
    pub(super) fn proved(&mut self, now: Instant, source: Network) {
        self.owing.remove(source);
        self.good.put(source, now + GOOD_FOR);
    }
}

/// What is known of so many sources, those that were heard of last.
#[derive(Debug)]
struct Recent<T> {
    most: usize,
    known: BTreeMap<Network, (u64, T)>,
    /// In the order in which they were put.
    order: BTreeMap<u64, Network>,
    next: u64,
}

impl<T> Recent<T> {
    fn new(most: usize) -> Self {
        Self {
            most,
            known: BTreeMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    fn get(&self, source: Network) -> Option<&T> {
        self.known.get(&source).map(|(_, known)| known)
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.known.values().map(|(_, known)| known)
    }

    /// The oldest makes room.
    fn put(&mut self, source: Network, what: T) {
        self.remove(source);
        if self.known.len() >= self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.known.remove(&oldest);
        }
        self.next += 1;
        self.order.insert(self.next, source);
        self.known.insert(source, (self.next, what));
    }

    fn remove(&mut self, source: Network) {
        if let Some((at, _)) = self.known.remove(&source) {
            self.order.remove(&at);
        }
    }
}

/// How long nothing is accepted after the system has run out of something: longer each time, until
/// something has been accepted.
#[derive(Debug, Default)]
pub(super) struct Rests {
    last: Option<Duration>,
}

impl Rests {
    const SHORTEST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(1);

    /// It has run out; rest so long.
    pub(super) fn rest(&mut self) -> Duration {
        let rest = self.last.map_or(Self::SHORTEST, |last| last * 2);
        *self.last.insert(rest.min(Self::LONGEST))
    }

    /// Something was accepted.
    pub(super) fn over(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
