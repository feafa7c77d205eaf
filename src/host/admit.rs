//! Admission: claim, challenge, proof, one durable step.
//!
//! [`Table`] holds the requests of one frameserver's connections and says what is to be done next;
//! it does nothing itself. For each connection the order of steps is fixed, each happens once, and a
//! request out of order is the frameserver's fault, which costs it its life:
//!
//! ```text
//! Claim ──► Lookup ──► Challenge ──► Answer ─┐
//!                                            ▼
//!           Session ◄── Commit ◄──────── Proof (once more after "more")
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;

use identity::{Name, PublicKey};
use keystore::{Keystore, Now, StoreError, WindowId};

use crate::ipc::ConnectionId;
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::a12::{Answer, Ask, Rounds, SecretId, StageKeys};
use crate::wire::{Error, Refusal};

/// How a key may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is accepted for the name.
    Known {
        /// Since when, ms since 1970.
        added_ms: u64,
    },
    /// By this window, which spends a slot.
    Window(WindowId),
}

/// What is to be done next for a connection.
#[derive(Debug)]
pub(super) enum Effect {
    /// Look up which way the key may come in, then [`Table::looked_up`].
    Lookup {
        /// The key that is claimed.
        key: PublicKey,
        /// The secret that verified.
        secret: SecretId,
    },
    /// Have the key room compute a challenge, then [`Table::challenged`].
    Challenge {
        /// The claim.
        claim: Claim,
        /// Its rounds.
        rounds: Rounds,
        /// Which way the key may come in.
        way: Way,
    },
    /// The proof is good: check everything again and make it durable, then [`Table::committed`].
    Commit {
        /// The key that is proved.
        key: PublicKey,
        /// Which way it came in.
        way: Way,
        /// The secret that verified.
        secret: SecretId,
        /// The host's key that it was answered by.
        host: PublicKey,
    },
    /// Send this to the frameserver.
    Answer(Answer),
    /// The frameserver broke the rules: end it.
    Kill(&'static str),
}

/// A peer whose admission is durable.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Who it is.
    pub(super) key: PublicKey,
    /// Which way it came in.
    pub(super) way: Way,
    /// Where it comes from.
    pub(super) source: SocketAddr,
    /// The session's keys, released only now.
    pub(super) keys: StageKeys,
}

/// What a connection waits for.
#[derive(Debug)]
enum Stage {
    Lookup {
        claim: Claim,
        rounds: Rounds,
    },
    Challenge {
        key: PublicKey,
        way: Way,
    },
    Proof {
        key: PublicKey,
        way: Way,
        host: PublicKey,
        pending: Pending,
        /// The first attempt was the beginning of an event packet.
        more: bool,
    },
    Commit {
        key: PublicKey,
        way: Way,
        keys: StageKeys,
    },
    /// Refused; its frameserver has yet to close it.
    Refused,
    /// Closed while something was being done for it. It keeps its place until that comes back, so
    /// that what is done for one claim can never be taken as done for another, and so that no more
    /// is under way than there are places.
    Leaving,
}

impl Stage {
    /// Something is being done that comes back.
    fn is_under_way(&self) -> bool {
        match self {
            Self::Lookup { .. } | Self::Challenge { .. } | Self::Commit { .. } | Self::Leaving => {
                true
            }
            Self::Proof { .. } | Self::Refused => false,
        }
    }
}

#[derive(Debug)]
struct Request {
    source: SocketAddr,
    secret: SecretId,
    stage: Stage,
}

/// The requests of one frameserver's connections.
#[derive(Debug)]
pub(super) struct Table {
    limit: usize,
    requests: HashMap<ConnectionId, Request>,
}

impl Table {
    /// A table for a frameserver that was told to hold so many connections at once. One that has
    /// given a place to a newcomer may be late in saying so, hence the margin.
    pub(super) fn new(unproved: u32) -> Self {
        let limit = usize::try_from(unproved).unwrap_or(usize::MAX);
        Self {
            limit: limit.saturating_mul(2),
            requests: HashMap::new(),
        }
    }

    /// The frameserver forwards a question.
    pub(super) fn ask(&mut self, connection: ConnectionId, source: SocketAddr, ask: Ask) -> Effect {
        match ask {
            Ask::Claim {
                secret,
                rounds,
                hello,
            } => {
                if self.requests.contains_key(&connection) {
                    return Effect::Kill("it claimed twice for one connection");
                }
                if self.requests.len() >= self.limit {
                    return Effect::Kill("it holds more connections than it may");
                }
                let (stage, effect) = match Claim::parse(&hello) {
                    Ok(claim) => {
                        let key = *claim.key();
                        (
                            Stage::Lookup { claim, rounds },
                            Effect::Lookup { key, secret },
                        )
                    }
                    Err(_) => (Stage::Refused, refused()),
                };
                let request = Request {
                    source,
                    secret,
                    stage,
                };
                self.requests.insert(connection, request);
                effect
            }
            Ask::Proof(packet) => self.proof(connection, &packet),
            Ask::Server(_) | Ask::Ratchet(_) => {
                Effect::Kill("it asked what only an initiator asks")
            }
        }
    }

    fn proof(&mut self, connection: ConnectionId, packet: &[u8]) -> Effect {
        let Some(request) = self.requests.get_mut(&connection) else {
            return Effect::Kill("it sent a proof without a claim");
        };
        let Stage::Proof {
            key,
            way,
            host,
            pending,
            more,
        } = &mut request.stage
        else {
            return Effect::Kill("it sent a proof out of order");
        };
        let (key, way, host) = (*key, *way, *host);
        match pending.prove(packet) {
            Ok(keys) => {
                request.stage = Stage::Commit { key, way, keys };
                Effect::Commit {
                    key,
                    way,
                    secret: request.secret,
                    host,
                }
            }
            Err(Error::Again { .. }) if *more => Effect::Kill("it sent half a proof twice"),
            Err(Error::Again { .. }) => {
                *more = true;
                Effect::Answer(Answer::More)
            }
            Err(_) => {
                request.stage = Stage::Refused;
                refused()
            }
        }
    }

    /// The lookup is done. `None`: the connection has gone meanwhile.
    pub(super) fn looked_up(
        &mut self,
        connection: ConnectionId,
        way: Option<Way>,
    ) -> Option<Effect> {
        let request = self.come_back(connection)?;
        match (std::mem::replace(&mut request.stage, Stage::Refused), way) {
            (Stage::Lookup { claim, rounds }, Some(way)) => {
                let key = *claim.key();
                request.stage = Stage::Challenge { key, way };
                Some(Effect::Challenge { claim, rounds, way })
            }
            _ => Some(refused()),
        }
    }

    /// The challenge is computed. `None`: the connection has gone meanwhile.
    pub(super) fn challenged(
        &mut self,
        connection: ConnectionId,
        host: PublicKey,
        nonce: [u8; 8],
        pending: Pending,
    ) -> Option<Effect> {
        let request = self.come_back(connection)?;
        match std::mem::replace(&mut request.stage, Stage::Refused) {
            Stage::Challenge { key, way } => {
                request.stage = Stage::Proof {
                    key,
                    way,
                    host,
                    pending,
                    more: false,
                };
                Some(Effect::Answer(Answer::Challenge { host, nonce }))
            }
            _ => Some(refused()),
        }
    }

    /// The admission is durable, or refused after all. `None`: the connection has gone meanwhile.
    pub(super) fn committed(
        &mut self,
        connection: ConnectionId,
        accepted: bool,
    ) -> Option<Result<Admitted, Effect>> {
        self.come_back(connection)?;
        let request = self.requests.remove(&connection)?;
        Some(match request.stage {
            Stage::Commit { key, way, keys } if accepted => Ok(Admitted {
                key,
                way,
                source: request.source,
                keys,
            }),
            stage => {
                let stage = match stage {
                    Stage::Commit { .. } => Stage::Refused,
                    other => other,
                };
                self.requests
                    .insert(connection, Request { stage, ..request });
                Err(refused())
            }
        })
    }

    /// The connection is gone.
    pub(super) fn closed(&mut self, connection: ConnectionId) {
        if let Some(request) = self.requests.get_mut(&connection) {
            if request.stage.is_under_way() {
                request.stage = Stage::Leaving;
            } else {
                self.requests.remove(&connection);
            }
        }
    }

    /// What was done for a request has come back; gives the request if it is still wanted.
    fn come_back(&mut self, connection: ConnectionId) -> Option<&mut Request> {
        if let Some(Request {
            stage: Stage::Leaving,
            ..
        }) = self.requests.get(&connection)
        {
            self.requests.remove(&connection);
        }
        self.requests.get_mut(&connection)
    }
}

fn refused() -> Effect {
    Effect::Answer(Answer::Refused(Refusal::NotAccepted))
}

/// What a secret is good for that a peer's first packet verified under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Everybody has to know it; this window, if any, is open to unknown keys that do.
    Required(Option<WindowId>),
    /// It is for keys that this window may let in, and for those that it has.
    Window(WindowId),
}

/// Which way a key may come in for a name, if any, with what the store holds now.
pub(super) fn which_way(
    keystore: &dyn Keystore,
    now: Now,
    name: &Name,
    key: &PublicKey,
    secret: Option<Use>,
) -> Result<Option<Way>, StoreError> {
    let entry = keystore.lookup(now, name, key)?;
    let known = entry.map(|entry| Way::Known {
        added_ms: entry.added_ms,
    });
    let (window, required) = match secret {
        None => return Ok(None),
        Some(Use::Required(window)) => (window, true),
        Some(Use::Window(window)) => (Some(window), false),
    };
    if known.is_some() && required {
        return Ok(known);
    }
    let windows = keystore.windows(now)?;
    let Some(window) = windows
        .iter()
        .find(|candidate| Some(candidate.id) == window)
    else {
        return Ok(None);
    };
    let open = window.left(now, keystore.highest_wall_ms()) > 0;
    let own = window.enrolled.contains(key.as_bytes());
    Ok(match known {
        Some(known) if open || own => Some(known),
        None if open => Some(Way::Window(window.id)),
        _ => None,
    })
}
