//! Admission: claim, challenge, proof, one durable step.
//!
//! [`Table`] holds the requests of one frameserver's connections and says what is to be done next;
//! it does nothing itself. For each connection the order of steps is fixed, each happens once, and a
//! request out of order is the frameserver's fault, which costs it its life.
//!
//! In a12 a key is claimed first, and challenged only if it may come in:
//!
//! ```text
//! Claim ──► Lookup ──► Challenge ──► Answer ─┐
//!                                            ▼
//!           Session ◄── Commit ◄──────── Proof (once more after "more")
//! ```
//!
//! In the protocols with cookies the key is shown and proved at once:
//!
//! ```text
//! Hello ──► Welcome ──► Answer ─┐
//!                               ▼
//! Session ◄── Commit ◄── Lookup ◄── Prove ◄── Initiate
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;

use identity::{PublicKey, Reference};
use keystore::Reason;

use super::way::Way;
use crate::ipc::{ConnectionId, Scheme};
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::a12::{self, Rounds, SecretId};
use crate::wire::{Answer, Ask, Error, Refusal, Violation, curvecp, zmtp};

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
    /// A peer without a key: see whether the listener takes such, then [`Table::committed`].
    Keyless,
    /// Have the key room answer a client that has shown nothing, then [`Table::welcomed`].
    Welcome(Ask),
    /// Have the key room open what a client shows and proves its key by, then [`Table::proved`].
    Prove(Ask),
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
    /// Have the frameserver turn it away, which is told as much, and remember why.
    Refuse(Refused, Refusal),
    /// The frameserver broke the rules: end it.
    Kill(&'static str),
}

/// Somebody who is not let in, and why.
#[derive(Debug)]
pub(super) struct Refused {
    /// Who it says it is, if that is a key.
    pub(super) key: Option<PublicKey>,
    /// Where it comes from.
    pub(super) source: SocketAddr,
    /// What it can call this attempt.
    pub(super) reference: Option<Reference>,
    /// Why.
    pub(super) reason: Reason,
}

/// A key that is proved, and what follows once it is let in.
#[derive(Debug)]
pub(super) struct Proved {
    /// The key.
    pub(super) key: PublicKey,
    /// The host's key that it was answered by.
    pub(super) host: PublicKey,
    /// The session's keys.
    pub(super) answer: Answer,
    /// What a peer of ZeroMQ's tells of itself.
    pub(super) zmtp: Option<Box<zmtp::Metadata>>,
}

/// A peer whose admission is durable.
#[derive(Debug)]
pub(super) struct Admitted {
    /// Who it is, if it has a key.
    pub(super) key: Option<PublicKey>,
    /// Which way its key came in.
    pub(super) way: Option<Way>,
    /// Where it comes from.
    pub(super) source: SocketAddr,
    /// The session's keys, released only now.
    pub(super) answer: Answer,
    /// What a peer of ZeroMQ's tells of itself.
    pub(super) zmtp: Option<Box<zmtp::Metadata>>,
}

/// What a connection waits for.
#[derive(Debug)]
enum Stage {
    Lookup(Shown),
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
    /// A client is being answered that has shown nothing.
    Welcome,
    /// It has been, and may go on.
    Welcomed,
    /// What it proves its key by is being opened.
    Prove,
    Commit {
        key: Option<PublicKey>,
        way: Option<Way>,
        answer: Answer,
        zmtp: Option<Box<zmtp::Metadata>>,
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
            Self::Lookup(_)
            | Self::Challenge { .. }
            | Self::Welcome
            | Self::Prove
            | Self::Commit { .. }
            | Self::Leaving => true,
            Self::Proof { .. } | Self::Welcomed | Self::Refused => false,
        }
    }
}

/// What a peer has shown of its key when it is looked up.
#[derive(Debug)]
enum Shown {
    /// That it claims it.
    Claim { claim: Claim, rounds: Rounds },
    /// That it holds it.
    Proof(Proved),
}

#[derive(Debug)]
struct Request {
    source: SocketAddr,
    reference: Option<Reference>,
    key: Option<PublicKey>,
    secret: SecretId,
    stage: Stage,
}

/// The requests of one frameserver's connections.
#[derive(Debug)]
pub(super) struct Table {
    /// What its frameserver speaks.
    scheme: Scheme,
    limit: usize,
    requests: HashMap<ConnectionId, Request>,
}

impl Table {
    /// A table for a frameserver that was told to hold so many connections at once. One that has
    /// given a place to a newcomer may be late in saying so, hence the margin.
    pub(super) fn new(scheme: Scheme, unproved: u32) -> Self {
        let limit = usize::try_from(unproved).unwrap_or(usize::MAX);
        Self {
            scheme,
            limit: limit.saturating_mul(2),
            requests: HashMap::new(),
        }
    }

    /// The frameserver forwards a question.
    pub(super) fn ask(
        &mut self,
        connection: ConnectionId,
        source: SocketAddr,
        reference: Option<Reference>,
        ask: impl Into<Ask>,
    ) -> Effect {
        let from = From { source, reference };
        match (self.scheme, ask.into()) {
            (Scheme::A12, Ask::A12(ask)) => self.ask_a12(connection, from, ask),
            (Scheme::Zmtp, Ask::Zmtp(ask)) => self.ask_zmtp(connection, from, ask),
            (Scheme::CurveCp, Ask::CurveCp(ask)) => self.ask_curvecp(connection, from, ask),
            (_, Ask::A12(_) | Ask::Zmtp(_) | Ask::CurveCp(_)) => {
                Effect::Kill("it asked for another protocol than its own")
            }
        }
    }

    fn ask_a12(&mut self, connection: ConnectionId, from: From, ask: a12::Ask) -> Effect {
        match ask {
            a12::Ask::Claim {
                secret,
                rounds,
                hello,
            } => {
                let request = match self.begin(connection, from, secret) {
                    Ok(request) => request,
                    Err(why) => return Effect::Kill(why),
                };
                match Claim::parse(&hello) {
                    Ok(claim) => {
                        let key = *claim.key();
                        request.key = Some(key);
                        request.stage = Stage::Lookup(Shown::Claim { claim, rounds });
                        Effect::Lookup { key, secret }
                    }
                    Err(violation) => request.break_off(violation),
                }
            }
            a12::Ask::Proof(packet) => self.proof(connection, &packet),
            a12::Ask::Server(_) | a12::Ask::Ratchet(_) => ASKS_AS_CLIENT,
        }
    }

    fn ask_zmtp(&mut self, connection: ConnectionId, from: From, ask: zmtp::Ask) -> Effect {
        match &ask {
            zmtp::Ask::Hello(_) => match self.begin(connection, from, NO_SECRET) {
                Ok(request) => {
                    request.stage = Stage::Welcome;
                    Effect::Welcome(ask.into())
                }
                Err(why) => Effect::Kill(why),
            },
            zmtp::Ask::Initiate(_) => match self.requests.get_mut(&connection) {
                Some(request) if matches!(request.stage, Stage::Welcomed) => {
                    request.stage = Stage::Prove;
                    Effect::Prove(ask.into())
                }
                _ => Effect::Kill("it sent a proof out of order"),
            },
            zmtp::Ask::Keyless(metadata) => match self.begin(connection, from, NO_SECRET) {
                Ok(request) => match zmtp::Metadata::parse(metadata) {
                    Ok(metadata) => {
                        request.stage = Stage::Commit {
                            key: None,
                            way: None,
                            answer: zmtp::Answer::Keyless.into(),
                            zmtp: Some(Box::new(metadata)),
                        };
                        Effect::Keyless
                    }
                    Err(violation) => request.break_off(violation),
                },
                Err(why) => Effect::Kill(why),
            },
            zmtp::Ask::Vouch { .. } => ASKS_AS_CLIENT,
        }
    }

    fn ask_curvecp(&mut self, connection: ConnectionId, from: From, ask: curvecp::Ask) -> Effect {
        let stage = match &ask {
            curvecp::Ask::Hello(_) => Stage::Welcome,
            curvecp::Ask::Initiate(_) => Stage::Prove,
            curvecp::Ask::Vouch { .. } => return ASKS_AS_CLIENT,
        };
        match self.begin(connection, from, NO_SECRET) {
            Ok(request) => {
                request.stage = stage;
                match request.stage {
                    Stage::Welcome => Effect::Welcome(ask.into()),
                    _ => Effect::Prove(ask.into()),
                }
            }
            Err(why) => Effect::Kill(why),
        }
    }

    /// The first question of a connection.
    fn begin(
        &mut self,
        connection: ConnectionId,
        from: From,
        secret: SecretId,
    ) -> Result<&mut Request, &'static str> {
        if self.requests.contains_key(&connection) {
            return Err("it claimed twice for one connection");
        }
        if self.requests.len() >= self.limit {
            return Err("it holds more connections than it may");
        }
        let request = Request {
            source: from.source,
            reference: from.reference,
            key: None,
            secret,
            stage: Stage::Refused,
        };
        Ok(self.requests.entry(connection).or_insert(request))
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
                let answer = a12::Answer::Session(keys).into();
                request.stage = Stage::Commit {
                    key: Some(key),
                    way: Some(way),
                    answer,
                    zmtp: None,
                };
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
                Effect::Answer(a12::Answer::More.into())
            }
            Err(_) => request.refuse(Reason::NotProved),
        }
    }

    /// The lookup is done. `None`: the connection has gone meanwhile.
    pub(super) fn looked_up(
        &mut self,
        connection: ConnectionId,
        way: Result<Way, Reason>,
    ) -> Option<Effect> {
        let request = self.come_back(connection)?;
        let stage = std::mem::replace(&mut request.stage, Stage::Refused);
        Some(match (stage, way) {
            (Stage::Lookup(Shown::Claim { claim, rounds }), Ok(way)) => {
                let key = *claim.key();
                request.stage = Stage::Challenge { key, way };
                Effect::Challenge { claim, rounds, way }
            }
            (Stage::Lookup(Shown::Proof(proved)), Ok(way)) => {
                let (key, host) = (proved.key, proved.host);
                request.stage = Stage::Commit {
                    key: Some(key),
                    way: Some(way),
                    answer: proved.answer,
                    zmtp: proved.zmtp,
                };
                Effect::Commit {
                    key,
                    way,
                    secret: request.secret,
                    host,
                }
            }
            (_, way) => request.refuse(way.err().unwrap_or(Reason::Protocol)),
        })
    }

    /// The key room has answered a client that has shown nothing. `None`: the connection has gone
    /// meanwhile.
    pub(super) fn welcomed(
        &mut self,
        connection: ConnectionId,
        answer: Result<Answer, Violation>,
    ) -> Option<Effect> {
        let keeps = self.scheme != Scheme::CurveCp;
        let request = self.come_back(connection)?;
        let effect = match answer {
            Ok(answer) => {
                request.stage = Stage::Welcomed;
                Effect::Answer(answer)
            }
            Err(violation) => request.break_off(violation),
        };
        // Without a stream there is nothing that a stranger's cookie could belong to.
        if !keeps {
            self.requests.remove(&connection);
        }
        Some(effect)
    }

    /// The key room has opened what a client proves its key by. `None`: the connection has gone
    /// meanwhile.
    pub(super) fn proved(
        &mut self,
        connection: ConnectionId,
        proved: Result<Proved, Violation>,
    ) -> Option<Effect> {
        let request = self.come_back(connection)?;
        Some(match proved {
            Ok(proved) => {
                let key = proved.key;
                request.key = Some(key);
                request.stage = Stage::Lookup(Shown::Proof(proved));
                Effect::Lookup {
                    key,
                    secret: request.secret,
                }
            }
            Err(violation) => request.break_off(violation),
        })
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
                let answer = a12::Answer::Challenge { host, nonce };
                Some(Effect::Answer(answer.into()))
            }
            _ => Some(request.refuse(Reason::Protocol)),
        }
    }

    /// The admission is durable, or refused after all. `None`: the connection has gone meanwhile.
    pub(super) fn committed(
        &mut self,
        connection: ConnectionId,
        accepted: Result<(), Reason>,
    ) -> Option<Result<Admitted, Effect>> {
        let request = self.come_back(connection)?;
        let source = request.source;
        let admitted = match (
            std::mem::replace(&mut request.stage, Stage::Refused),
            accepted,
        ) {
            (
                Stage::Commit {
                    key,
                    way,
                    answer,
                    zmtp,
                },
                Ok(()),
            ) => Admitted {
                key,
                way,
                source,
                answer,
                zmtp,
            },
            (_, accepted) => {
                let reason = accepted.err().unwrap_or(Reason::Protocol);
                return Some(Err(request.refuse(reason)));
            }
        };
        self.requests.remove(&connection);
        Some(Ok(admitted))
    }

    /// What a peer without a key, that waits to be let in, tells of itself, and where it comes from.
    pub(super) fn keyless(
        &self,
        connection: ConnectionId,
    ) -> Option<(&zmtp::Metadata, SocketAddr)> {
        let request = self.requests.get(&connection)?;
        match &request.stage {
            Stage::Commit {
                key: None,
                zmtp: Some(metadata),
                ..
            } => Some((metadata, request.source)),
            _ => None,
        }
    }

    /// The connection is gone. Gives the key that it claimed, if it did, and whether it had been
    /// refused before.
    pub(super) fn closed(&mut self, connection: ConnectionId) -> (Option<PublicKey>, bool) {
        let Some(request) = self.requests.get_mut(&connection) else {
            return (None, false);
        };
        let last = (request.key, matches!(request.stage, Stage::Refused));
        if request.stage.is_under_way() {
            request.stage = Stage::Leaving;
        } else {
            self.requests.remove(&connection);
        }
        last
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

impl Request {
    /// It is not let in.
    fn refuse(&mut self, reason: Reason) -> Effect {
        self.refused(reason, Refusal::NotAccepted)
    }

    /// Its handshake does not hold.
    fn break_off(&mut self, violation: Violation) -> Effect {
        self.refused(Reason::Protocol, Refusal::Broken(violation))
    }

    fn refused(&mut self, reason: Reason, refusal: Refusal) -> Effect {
        self.stage = Stage::Refused;
        let refused = Refused {
            key: self.key,
            source: self.source,
            reference: self.reference,
            reason,
        };
        Effect::Refuse(refused, refusal)
    }
}

/// Where a connection comes from, and what its peer can call this attempt.
#[derive(Debug, Clone, Copy)]
struct From {
    source: SocketAddr,
    reference: Option<Reference>,
}

/// What stands for the secret where a protocol has none.
pub(super) const NO_SECRET: SecretId = SecretId(0);

const ASKS_AS_CLIENT: Effect = Effect::Kill("it asked what only a client asks");

#[cfg(test)]
mod tests;
