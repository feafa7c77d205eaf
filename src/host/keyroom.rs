//! The key room: the one thread that uses the host's private keys. Whole handshake messages go in,
//! answers come out; the queue in front of it is bounded and fair to every frameserver.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use chacha20::ChaCha20Rng;
use identity::{Name, PublicKey};
use keystore::{HostKey, Ring};
use rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

use super::admit::Proved;
use super::clock::Clock;
use super::store::Then;
use crate::ipc::Options;
use crate::wire::a12::Rounds;
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::cookie::Jar;
use crate::wire::crypto::SecretKey;
use crate::wire::curvecp::{self, ServerName};
use crate::wire::{Answer, Ask, Field, Violation, zmtp};

/// Something to be done with the private keys, and what to do with what comes of it.
pub(super) type Work<H> = Box<dyn FnOnce(&mut Room) -> Then<H> + Send>;

enum Job<H> {
    Do(Work<H>),
    /// From now on these are the keys.
    Keys(Ring<HostKey>),
}

/// What the thread has. No private key, and no raw result of one, leaves it.
pub(super) struct Room {
    keys: Ring<HostKey>,
    /// The same keys, for the protocols that try each.
    hosts: Vec<zmtp::keyroom::Host>,
    secrets: Vec<SecretKey>,
    /// By which connections of scripts are known to servers.
    client: Option<SecretKey>,
    clock: Clock,
    random: ChaCha20Rng,
    zmtp: Jar,
    curvecp: Jar,
}

impl Room {
    fn new(keys: Ring<HostKey>, client: Option<HostKey>, clock: Clock) -> std::io::Result<Self> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(|error| std::io::Error::other(error.to_string()))?;
        let mut random = ChaCha20Rng::from_seed(*seed);
        let mut room = Self {
            keys,
            hosts: Vec::new(),
            secrets: Vec::new(),
            client: client.map(|key| SecretKey::from_bytes(*key.reveal())),
            clock,
            zmtp: Jar::new(*zmtp::keyroom::COOKIE_NONCE, Instant::now(), &mut random),
            curvecp: Jar::new(curvecp::keyroom::COOKIES, Instant::now(), &mut random),
            random,
        };
        room.see_keys();
        Ok(room)
    }

    fn replace(&mut self, keys: Ring<HostKey>) {
        self.keys = keys;
        self.see_keys();
    }

    fn see_keys(&mut self) {
        let previous = self.keys.previous.as_ref().map(|previous| &previous.key);
        let keys = std::iter::once(&self.keys.current).chain(previous);
        let keys: Vec<&HostKey> = keys.collect();
        let secrets = || {
            keys.iter()
                .map(|key| SecretKey::from_bytes(*key.reveal()))
                .filter(|secret| secret.public().is_some())
        };
        self.hosts = secrets().filter_map(zmtp::keyroom::Host::new).collect();
        self.secrets = secrets().collect();
    }

    /// A previous key whose time is over is not used any more.
    fn expire(&mut self) -> u64 {
        let now = self.clock.now().wall_ms;
        let had = self.keys.previous.is_some();
        self.keys.expire(now);
        if had && self.keys.previous.is_none() {
            self.see_keys();
        }
        now
    }

    /// Challenges the peer that makes this claim, by the key that it can know: since
    /// `accepted_ms`, ms since 1970, its own is accepted; `None`: it is not yet.
    pub(super) fn challenge(
        &mut self,
        claim: Claim,
        rounds: Rounds,
        nonce: [u8; 8],
        accepted_ms: Option<u64>,
    ) -> (PublicKey, Pending) {
        let now = self.expire();
        let key = self.keys.answering(accepted_ms, now);
        let secret = SecretKey::from_bytes(*key.reveal());
        (key.public(), claim.challenge(&secret, rounds, nonce))
    }

    /// Vouches towards a server for the short-term key of one of our connections; `None`: there is no
    /// key to do it with.
    pub(super) fn vouch(
        &mut self,
        client: &PublicKey,
        server_short: &PublicKey,
        server: &PublicKey,
    ) -> Option<Answer> {
        let own = self.client.as_ref()?;
        let mut nonce = [0; 16];
        self.random.fill_bytes(&mut nonce);
        let vouch = zmtp::keyroom::vouch(own, client, server_short, server, nonce);
        let answer = zmtp::Answer::Vouch {
            key: own.public()?,
            vouch: Box::new(vouch),
        };
        Some(answer.into())
    }

    /// The same in CurveCP: towards a server's long-term key.
    pub(super) fn vouch_curvecp(
        &mut self,
        client: &PublicKey,
        server: &PublicKey,
    ) -> Option<Answer> {
        let own = self.client.as_ref()?;
        let mut nonce = [0; 16];
        self.random.fill_bytes(&mut nonce);
        let vouch = curvecp::keyroom::vouch(own, client, server, nonce);
        let answer = curvecp::Answer::Vouch {
            key: own.public()?,
            vouch: Box::new(vouch),
        };
        Some(answer.into())
    }

    /// Answers a client that has shown nothing, in a protocol with cookies.
    pub(super) fn welcome(&mut self, ask: Ask, options: &Options) -> Result<Answer, Violation> {
        self.expire();
        let now = Instant::now();
        match ask {
            Ask::Zmtp(zmtp::Ask::Hello(hello)) => {
                let (jar, random) = (&mut self.zmtp, &mut self.random);
                let welcome = zmtp::keyroom::welcome(&hello, &self.hosts, jar, now, random)?;
                Ok(zmtp::Answer::Welcome(Box::new(welcome)).into())
            }
            Ask::CurveCp(curvecp::Ask::Hello(hello)) => {
                let extension = options.curvecp().extension;
                let secrets: Vec<&SecretKey> = self.secrets.iter().collect();
                let (jar, random) = (&mut self.curvecp, &mut self.random);
                let cookie =
                    curvecp::keyroom::cookie(&hello, extension, &secrets, jar, now, random)?;
                Ok(curvecp::Answer::Cookie(Box::new(cookie)).into())
            }
            _ => Err(Violation::OutOfTurn),
        }
    }

    /// Opens what a client proves its key by, in a protocol with cookies. `name` is the listener's.
    pub(super) fn prove(
        &mut self,
        ask: Ask,
        options: &Options,
        name: &Name,
    ) -> Result<Proved, Violation> {
        self.expire();
        let now = Instant::now();
        match (ask, options) {
            (Ask::Zmtp(zmtp::Ask::Initiate(initiate)), options) => {
                let (jar, random) = (&mut self.zmtp, &mut self.random);
                let proved = zmtp::keyroom::initiate(&initiate, &self.hosts, jar, now, random)?;
                if !options.zmtp().socket.takes(&proved.metadata) {
                    return Err(Violation::SocketType);
                }
                Ok(Proved {
                    key: proved.key,
                    host: proved.host,
                    answer: zmtp::Answer::Session(proved.session).into(),
                    zmtp: Some(Box::new(proved.metadata)),
                })
            }
            (Ask::CurveCp(curvecp::Ask::Initiate(initiate)), options) => {
                let no_name = Violation::Malformed(Field::Name);
                let server: ServerName = match &options.curvecp().server_name {
                    Some(server) => server.clone(),
                    None => name.as_str().parse().map_err(|_| no_name)?,
                };
                let secrets: Vec<&SecretKey> = self.secrets.iter().collect();
                let (jar, random) = (&mut self.curvecp, &mut self.random);
                let proved =
                    curvecp::keyroom::initiate(&initiate, &secrets, &server, jar, now, random)?;
                let host = self.hosts.get(proved.host).ok_or(Violation::Key)?;
                Ok(Proved {
                    key: proved.key,
                    host: host.public(),
                    answer: curvecp::Answer::Session(proved.session).into(),
                    zmtp: None,
                })
            }
            _ => Err(Violation::OutOfTurn),
        }
    }
}

/// The way to the key room. `Q` names whose queue a claim stands in.
pub(super) struct KeyRoom<Q, H> {
    current: PublicKey,
    jobs: mpsc::Sender<Job<H>>,
    waiting: BTreeMap<Q, VecDeque<Work<H>>>,
    /// Whose turn it was last.
    last: Option<Q>,
    /// How many jobs the thread has.
    busy: usize,
}

impl<Q: Ord + Copy, H: 'static> KeyRoom<Q, H> {
    /// Starts the thread; it ends, and the keys are wiped, when this handle is dropped.
    pub(super) fn start(
        keys: Ring<HostKey>,
        client: Option<HostKey>,
        clock: Clock,
        deliver: impl Fn(Then<H>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let current = keys.current.public();
        let mut room = Room::new(keys, client, clock)?;
        thread::Builder::new()
            .name("key room".into())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    match job {
                        Job::Do(work) => deliver(work(&mut room)),
                        Job::Keys(others) => room.replace(others),
                    }
                }
            })?;
        Ok(Self {
            current,
            jobs,
            waiting: BTreeMap::new(),
            last: None,
            busy: 0,
        })
    }

    /// The host's current public key.
    pub(super) fn current(&self) -> PublicKey {
        self.current
    }

    /// Uses these keys for every claim that comes after this.
    pub(super) fn replace(&mut self, keys: Ring<HostKey>) {
        self.current = keys.current.public();
        self.jobs.send(Job::Keys(keys)).unwrap_or_else(gone);
    }

    /// Puts a claim into its queue, which the request table bounds: a place in it is free again
    /// only when its work has come back.
    pub(super) fn submit(&mut self, queue: Q, work: Work<H>) {
        self.waiting.entry(queue).or_default().push_back(work);
        self.feed();
    }

    /// One claim has come back.
    pub(super) fn done(&mut self) {
        self.busy = self.busy.saturating_sub(1);
        self.feed();
    }

    /// Forgets the claims of a frameserver that is gone.
    pub(super) fn forget(&mut self, queue: Q) {
        self.waiting.remove(&queue);
    }

    /// Nothing waits, and nothing is being computed.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        self.busy == 0 && self.waiting.is_empty()
    }

    /// Keeps the thread supplied, one claim of each queue in turn.
    fn feed(&mut self) {
        while self.busy < PIPELINE {
            let next = match self.last {
                Some(last) => self.waiting.keys().find(|queue| **queue > last),
                None => None,
            };
            let Some(queue) = next.or_else(|| self.waiting.keys().next()).copied() else {
                return;
            };
            self.last = Some(queue);
            let Some(claims) = self.waiting.get_mut(&queue) else {
                return;
            };
            if let Some(work) = claims.pop_front() {
                self.busy += 1;
                self.jobs.send(Job::Do(work)).unwrap_or_else(gone);
            }
            if claims.is_empty() {
                self.waiting.remove(&queue);
            }
        }
    }
}

fn gone<T>(_: mpsc::SendError<T>) {
    tracing::error!("the key room has ended; nobody can be let in");
}

/// Jobs that the thread has at once: enough that it never waits for the host's thread, few enough
/// that a newcomer's turn comes soon.
const PIPELINE: usize = 4;
