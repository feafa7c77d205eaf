//! What the questions of a frameserver's peers come to: the steps of an admission, done.

use std::os::fd::OwnedFd;

use identity::{Name, PublicKey};
use keystore::{
    Actor, ApplyError, Change, Entry, How, Keystore, Note, Now, Reason, Scope, Standing, StoreError,
};

use super::admit::{Admitted, Effect, Table};
use super::keyroom::Room;
use super::roll::{Session, Stage};
use super::store::Then;
use super::way::{self, Way};
use super::{FrontId, Host};
use crate::ipc::frameserver::ToFrameserver;
use crate::ipc::script::{Request, ToScript};
use crate::ipc::{ConnectionId, SessionId};
use crate::wire::Answer;
use crate::wire::a12::keyroom::Claim;
use crate::wire::a12::{Rounds, SecretId};
use crate::wire::{Ask, Refusal};

impl Host {
    /// Does what the admission of a connection needs next.
    pub(super) fn perform(&mut self, id: FrontId, connection: ConnectionId, effect: Effect) {
        match effect {
            Effect::Lookup { key, secret } => {
                if let Some(front) = self.fronts.get(&id) {
                    self.counts.claim(front.scheme);
                }
                self.look_up(id, connection, key, secret);
            }
            Effect::Challenge { claim, rounds, way } => {
                self.challenge(id, connection, claim, rounds, way);
            }
            Effect::Keyless => self.keyless(id, connection),
            Effect::Welcome(ask) => self.welcome(id, connection, ask),
            Effect::Prove(ask) => self.prove(id, connection, ask),
            // A newcomer is known by when it came as one who knows the key of then.
            Effect::Commit {
                key,
                way: Way::Window(_),
                host,
                ..
            } if !self.is_to_last(host) => {
                tracing::warn!(%key, "not enrolled, since the host key is rotated just now");
                self.committed(id, connection, Err(Reason::NotProved));
            }
            Effect::Commit {
                key, way, secret, ..
            } => self.commit(id, connection, key, way, secret),
            Effect::Answer(answer) => self.answer(id, connection, answer, None),
            Effect::Refuse(refused, refusal) => {
                self.answer(id, connection, Answer::Refused(refusal), None);
                self.note_refusal(id, refused);
            }
            Effect::Kill(why) => self.kill_front(id, why),
        }
    }

    fn answer(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        answer: Answer,
        session: Option<(SessionId, Option<OwnedFd>)>,
    ) {
        if let Some(front) = self.fronts.get_mut(&id) {
            let (session, socket) = session.unzip();
            let message = ToFrameserver::Answer {
                connection,
                answer,
                session,
            };
            front.tell_with(message, socket.flatten().into_iter().collect());
        }
    }

    fn look_up(&mut self, id: FrontId, connection: ConnectionId, key: PublicKey, secret: SecretId) {
        let Some(front) = self.fronts.get(&id) else {
            return;
        };
        let name = front.name.clone();
        let anonymous = front.takes_anonymous();
        // A secret that has been replaced meanwhile is good for nothing.
        let secret = front.uses.get(&secret).copied();
        let blind = self.blind;
        self.store.read(move |keystore, now| {
            let way = way::or_anonymous(keystore, now, &name, &key, secret, anonymous);
            Box::new(move |host: &mut Self| {
                let way = match way {
                    Ok(_) if blind => Err(Reason::Keystore),
                    Ok(way) => way,
                    Err(error) => Err(not_looked_up(&error)),
                };
                let effect = host
                    .fronts
                    .get_mut(&id)
                    .and_then(|front| front.table.looked_up(connection, way));
                if let Some(effect) = effect {
                    host.perform(id, connection, effect);
                }
            })
        });
    }

    fn challenge(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        claim: Claim,
        rounds: Rounds,
        way: Way,
    ) {
        let mut nonce = [0; 8];
        if let Err(error) = getrandom::fill(&mut nonce) {
            tracing::error!("no random numbers: {error}");
            let refused = Answer::Refused(Refusal::NotAccepted);
            return self.answer(id, connection, refused, None);
        }
        let accepted_ms = match way {
            Way::Known { added_ms } => Some(added_ms),
            Way::Window(_) | Way::Anonymous => None,
        };
        self.in_keyroom(id, connection, move |room| {
            let (public, pending) = room.challenge(claim, rounds, nonce, accepted_ms);
            move |table: &mut Table| table.challenged(connection, public, nonce, pending)
        });
    }

    fn welcome(&mut self, id: FrontId, connection: ConnectionId, ask: Ask) {
        let Some(front) = self.fronts.get(&id) else {
            return;
        };
        let options = front.options.clone();
        self.in_keyroom(id, connection, move |room| {
            let answer = room.welcome(ask, &options);
            move |table: &mut Table| table.welcomed(connection, answer)
        });
    }

    fn prove(&mut self, id: FrontId, connection: ConnectionId, ask: Ask) {
        let Some(front) = self.fronts.get(&id) else {
            return;
        };
        let (options, name) = (front.options.clone(), front.name.clone());
        self.in_keyroom(id, connection, move |room| {
            let proved = room.prove(ask, &options, &name);
            move |table: &mut Table| table.proved(connection, proved)
        });
    }

    /// Has something done in the key room for a connection, and goes on with its admission.
    fn in_keyroom<D>(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        work: impl FnOnce(&mut Room) -> D + Send + 'static,
    ) where
        D: FnOnce(&mut Table) -> Option<Effect> + Send + 'static,
    {
        let work = move |room: &mut Room| -> Then<Self> {
            let done = work(room);
            Box::new(move |host: &mut Self| {
                host.keyroom.done();
                let effect = host.fronts.get_mut(&id);
                let effect = effect.and_then(|front| done(&mut front.table));
                if let Some(effect) = effect {
                    host.perform(id, connection, effect);
                }
            })
        };
        self.keyroom.submit(id, Box::new(work));
    }

    /// The one durable step: everything is checked again on the store thread, and what has to be
    /// written is on disk before anybody hears of it.
    fn commit(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        key: PublicKey,
        way: Way,
        secret: SecretId,
    ) {
        let Some(front) = self.fronts.get(&id) else {
            return;
        };
        let good_for = front.uses.get(&secret).copied();
        if good_for.is_none() {
            return self.committed(id, connection, Err(Reason::WrongSecret));
        }
        if self.blind {
            return self.committed(id, connection, Err(Reason::Keystore));
        }
        if let Err(reason) = self.has_room_for(id, &key) {
            return self.committed(id, connection, Err(reason));
        }
        let name = front.name.clone();
        let anonymous = front.takes_anonymous();
        match way {
            Way::Known { .. } | Way::Anonymous => self.store.read(move |keystore, now| {
                let found = way::or_anonymous(keystore, now, &name, &key, good_for, anonymous);
                let entry = match found {
                    Ok(Ok(Way::Known { .. })) => read_entry(keystore, now, &name, &key).map(Some),
                    Ok(Ok(Way::Anonymous)) if way == Way::Anonymous => Ok(None),
                    // It was accepted when it claimed.
                    Ok(Ok(Way::Window(_) | Way::Anonymous)) => Err(Reason::UnknownKey),
                    Ok(Err(reason)) => Err(reason),
                    Err(error) => Err(not_looked_up(&error)),
                };
                Box::new(move |host: &mut Self| {
                    // A secret may have been replaced while the store looked.
                    let entry = entry.and_then(|entry| match host.takes_secret(id, secret) {
                        true => Ok(entry),
                        false => Err(Reason::WrongSecret),
                    });
                    host.committed(id, connection, entry);
                })
            }),
            Way::Window(window) => {
                let enrol = Change::Enrol { window, key };
                self.store
                    .apply(Actor::Host, vec![enrol], move |done, keystore, now| {
                        let entry = match done {
                            Ok(_) => read_entry(keystore, now, &name, &key).map(Some),
                            Err(error) => {
                                tracing::warn!(%key, "not enrolled: {error}");
                                Err(not_enrolled(&error))
                            }
                        };
                        Box::new(move |host: &mut Self| host.committed(id, connection, entry))
                    });
            }
        }
    }

    /// A peer without a key comes in where the listener takes such, from this machine only.
    fn keyless(&mut self, id: FrontId, connection: ConnectionId) {
        let room = self.has_room(id);
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let options = front.options.zmtp();
        let fits = front
            .table
            .keyless(connection)
            .is_some_and(|(metadata, source)| {
                options.keyless && source.ip().is_loopback() && options.socket.takes(metadata)
            });
        let accepted = match fits {
            true => room,
            false => Err(Reason::Protocol),
        };
        match front.table.committed(connection, accepted) {
            Some(Ok(admitted)) => self.admit(id, connection, admitted, None),
            Some(Err(effect)) => self.perform(id, connection, effect),
            None => {}
        }
    }

    /// The store has looked; an entry is there, unless the peer stays unknown.
    fn committed(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        entry: Result<Option<Entry>, Reason>,
    ) {
        // What the store found good is turned away if the listener was closed, or filled up,
        // while it looked.
        let entry = entry.and_then(|entry| {
            let room = match &entry {
                Some(entry) => self.has_room_for(id, &entry.key),
                None => self.has_room(id),
            };
            room.map(|()| entry)
        });
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let accepted = entry.as_ref().map(drop).map_err(|reason| *reason);
        match (front.table.committed(connection, accepted), entry) {
            (Some(Ok(admitted)), Ok(entry)) => self.admit(id, connection, admitted, entry.as_ref()),
            (Some(Err(effect)), _) => self.perform(id, connection, effect),
            // It left before it could be let in.
            (None, _) | (Some(Ok(_)), Err(_)) => {}
        }
    }

    fn takes_secret(&self, id: FrontId, secret: SecretId) -> bool {
        let front = self.fronts.get(&id);
        front.is_some_and(|front| front.uses.contains_key(&secret))
    }

    /// Whether one more session of this key can be borne: no key, and no crowd, takes it all.
    fn has_room_for(&self, id: FrontId, key: &PublicKey) -> Result<(), Reason> {
        self.has_room(id)?;
        let sessions = self.sessions.iter().map(|(_, session)| session);
        let own = sessions.filter(|session| session.key == Some(*key));
        match own.count() < MAX_PER_KEY {
            true => Ok(()),
            false => Err(Reason::TooMany),
        }
    }

    fn has_room(&self, id: FrontId) -> Result<(), Reason> {
        let listening = self.fronts.get(&id).filter(|it| it.listener.is_some());
        let Some(front) = listening.filter(|_| !self.ending.is_begun()) else {
            return Err(Reason::Closing);
        };
        let sessions = self.sessions.iter().map(|(_, session)| session);
        let room = front.undecided < self.options.undecided
            && sessions.filter(|session| session.front == id).count() < self.options.sessions;
        match room {
            true => Ok(()),
            false => Err(Reason::TooMany),
        }
    }

    /// Registers the session; only then are its keys released and its script asked.
    fn admit(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        peer: Admitted,
        entry: Option<&Entry>,
    ) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let (Some(listener), script) = (front.listener, front.script) else {
            return;
        };
        let socket = match front.socket_for(peer.source) {
            Ok(socket) => socket,
            Err(error) => {
                tracing::error!(source = %peer.source, "no socket for a client: {error}");
                let refused = Answer::Refused(Refusal::NotAccepted);
                return self.answer(id, connection, refused, None);
            }
        };
        self.next_session += 1;
        let session = SessionId(self.next_session);
        let anonymous = peer.way == Some(Way::Anonymous);
        let window = match peer.way {
            Some(Way::Window(window)) => Some(window),
            Some(Way::Known { .. } | Way::Anonymous) | None => None,
        };
        // A key that came in by this window before, and left, is not new.
        let is_added = |window| entry.is_some_and(|entry| entry.added.how == How::Window(window));
        let new = window.is_some_and(is_added);
        match &peer.key {
            Some(key) => tracing::info!(
                name = %front.name, %key, source = %peer.source, session = session.0, new,
                anonymous, "authenticated"
            ),
            None => tracing::info!(
                name = %front.name, source = %peer.source, session = session.0,
                "let in without a key"
            ),
        }
        front.undecided += 1;
        let (carries, scheme) = (front.carries(), front.scheme);
        self.counts.admission(scheme);
        let name = front.name.clone();
        self.sessions.enter(
            session,
            Session {
                front: id,
                script,
                name: name.clone(),
                key: peer.key,
                from: peer.source,
                since_ms: self.clock.now().wall_ms,
                expires_ms: entry.and_then(|entry| entry.expires_ms),
                anonymous,
                stage: Stage::Undecided,
            },
        );
        if let Some(key) = peer.key {
            self.store.note(Note::Admitted {
                name,
                key,
                from: peer.source,
                window: window.filter(|_| new),
                session: session.0,
            });
        }
        self.answer(id, connection, peer.answer, Some((session, socket)));
        if let Some(script) = self.scripts.get_mut(&script) {
            script.tell(ToScript::Request(Request {
                listener,
                session,
                key: peer.key,
                tags: entry.map(tags).unwrap_or_default(),
                endpoint: peer.source,
                new,
                carries,
                anonymous,
                scheme,
                zmtp: peer.zmtp,
            }));
        }
    }
}

fn read_entry(
    keystore: &dyn Keystore,
    now: Now,
    name: &Name,
    key: &PublicKey,
) -> Result<Entry, Reason> {
    match keystore.lookup(now, name, key) {
        Ok(entry) => entry.map_err(Reason::from),
        Err(error) => Err(not_looked_up(&error)),
    }
}

/// Why a window does not let a key in after all.
pub(super) fn not_enrolled(error: &ApplyError) -> Reason {
    match error {
        ApplyError::NotWelcome(denied) => (*denied).into(),
        ApplyError::Standing(Standing::Banned) => Reason::Banned,
        ApplyError::Store(_) => Reason::Keystore,
        _ => Reason::WindowShut,
    }
}

pub(super) fn not_looked_up(error: &StoreError) -> Reason {
    tracing::error!("cannot look a key up: {error}");
    Reason::Keystore
}

/// The names that a key is accepted for, as Arcan writes them.
fn tags(entry: &Entry) -> String {
    let scopes: Vec<&str> = entry.scopes.iter().map(Scope::as_str).collect();
    scopes.join(",")
}

/// How many sessions one key may have, on all listeners together.
const MAX_PER_KEY: usize = 256;
