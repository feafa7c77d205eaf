//! The key room: the one thread that holds the host's private key. Whole handshake messages go in,
//! answers come out; the queue in front of it is bounded and fair to every frameserver.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc;
use std::thread;

use identity::PublicKey;

use super::store::Then;
use crate::wire::a12::Rounds;
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::crypto::SecretKey;

/// A claim to be challenged, and what to do with the challenge.
pub(super) struct Work<H> {
    pub(super) claim: Claim,
    pub(super) rounds: Rounds,
    pub(super) nonce: [u8; 8],
    pub(super) then: Box<dyn FnOnce(Pending) -> Then<H> + Send>,
}

/// The way to the key room. `Q` names whose queue a claim stands in.
pub(super) struct KeyRoom<Q, H> {
    public: PublicKey,
    work: mpsc::Sender<Work<H>>,
    waiting: BTreeMap<Q, VecDeque<Work<H>>>,
    /// Whose turn it was last.
    last: Option<Q>,
    /// How many claims the thread has.
    busy: usize,
}

impl<Q: Ord + Copy, H: 'static> KeyRoom<Q, H> {
    /// Starts the thread; it ends, and the key is wiped, when this handle is dropped.
    pub(super) fn start(
        key: SecretKey,
        public: PublicKey,
        deliver: impl Fn(Then<H>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (work, queue) = mpsc::channel::<Work<H>>();
        thread::Builder::new()
            .name("key room".into())
            .spawn(move || {
                while let Ok(work) = queue.recv() {
                    let pending = work.claim.challenge(&key, work.rounds, work.nonce);
                    deliver((work.then)(pending));
                }
            })?;
        Ok(Self {
            public,
            work,
            waiting: BTreeMap::new(),
            last: None,
            busy: 0,
        })
    }

    /// The host's public key.
    pub(super) fn public(&self) -> PublicKey {
        self.public
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
                if self.work.send(work).is_err() {
                    tracing::error!("the key room has ended; nobody can be let in");
                }
            }
            if claims.is_empty() {
                self.waiting.remove(&queue);
            }
        }
    }
}

/// Claims that the thread has at once: enough that it never waits for the host's thread, few enough
/// that a newcomer's turn comes soon.
const PIPELINE: usize = 4;
