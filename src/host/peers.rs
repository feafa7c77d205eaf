//! What the questions of a frameserver's peers come to: the steps of an admission, done.

use identity::{Name, PublicKey};
use keystore::{Change, Entry, Keystore, Now, Scope, StoreError};

use super::admit::{self, Admitted, Effect, Way};
use super::keyroom::Work;
use super::sessions::{Session, Stage};
use super::{FrontId, Host};
use crate::ipc::frameserver::ToFrameserver;
use crate::ipc::script::{Request, ToScript};
use crate::ipc::{ConnectionId, SessionId};
use crate::wire::Refusal;
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::a12::{Answer, Rounds, SecretId};

impl Host {
    /// Does what the admission of a connection needs next.
    pub(super) fn perform(&mut self, id: FrontId, connection: ConnectionId, effect: Effect) {
        match effect {
            Effect::Lookup { key, secret } => self.look_up(id, connection, key, secret),
            Effect::Challenge { claim, rounds, way } => {
                self.challenge(id, connection, claim, rounds, way);
            }
            // A newcomer is known by when it came as one who knows the key of then.
            Effect::Commit {
                key,
                way: Way::Window(_),
                host,
                ..
            } if !self.is_to_last(host) => {
                tracing::warn!(%key, "not enrolled, since the host key is rotated just now");
                self.committed(id, connection, None);
            }
            Effect::Commit {
                key, way, secret, ..
            } => self.commit(id, connection, key, way, secret),
            Effect::Answer(answer) => self.answer(id, connection, answer, None),
            Effect::Kill(why) => self.kill_front(id, why),
        }
    }

    fn answer(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        answer: Answer,
        session: Option<SessionId>,
    ) {
        if let Some(front) = self.fronts.get_mut(&id) {
            front.tell(ToFrameserver::Answer {
                connection,
                answer,
                session,
            });
        }
    }

    fn look_up(&mut self, id: FrontId, connection: ConnectionId, key: PublicKey, secret: SecretId) {
        let Some(front) = self.fronts.get(&id) else {
            return;
        };
        let name = front.name.clone();
        // A secret that has been replaced meanwhile is good for nothing.
        let secret = front.uses.get(&secret).copied();
        self.store.read(move |keystore, now| {
            let way = admit::which_way(keystore, now, &name, &key, secret);
            Box::new(move |host: &mut Self| {
                let way = way.unwrap_or_else(|error| {
                    tracing::error!("cannot look a key up: {error}");
                    None
                });
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
        let work = Work {
            claim,
            rounds,
            nonce,
            accepted_ms: match way {
                Way::Known { added_ms } => Some(added_ms),
                Way::Window(_) => None,
            },
            then: Box::new(move |public: PublicKey, pending: Pending| {
                Box::new(move |host: &mut Self| {
                    host.keyroom.done();
                    let effect = host.fronts.get_mut(&id).and_then(|front| {
                        front.table.challenged(connection, public, nonce, pending)
                    });
                    if let Some(effect) = effect {
                        host.perform(id, connection, effect);
                    }
                })
            }),
        };
        self.keyroom.submit(id, work);
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
        if good_for.is_none() || !self.has_room(id, &key) {
            return self.committed(id, connection, None);
        }
        let name = front.name.clone();
        match way {
            Way::Known { .. } => self.store.read(move |keystore, now| {
                let entry = match admit::which_way(keystore, now, &name, &key, good_for) {
                    Ok(Some(Way::Known { .. })) => read_entry(keystore, now, &name, &key),
                    Ok(_) => None,
                    Err(error) => {
                        tracing::error!("cannot look a key up: {error}");
                        None
                    }
                };
                Box::new(move |host: &mut Self| {
                    // A secret may have been replaced while the store looked.
                    let entry = entry.filter(|_| host.takes_secret(id, secret));
                    host.committed(id, connection, entry);
                })
            }),
            Way::Window(window) => {
                let enrol = Change::Enrol { window, key };
                self.store.apply(vec![enrol], move |done, keystore, now| {
                    let entry = match done {
                        Ok(_) => read_entry(keystore, now, &name, &key),
                        Err(error) => {
                            tracing::warn!(%key, "not enrolled: {error}");
                            None
                        }
                    };
                    Box::new(move |host: &mut Self| {
                        host.committed(id, connection, entry);
                        host.read_windows();
                    })
                });
            }
        }
    }

    fn committed(&mut self, id: FrontId, connection: ConnectionId, entry: Option<Entry>) {
        // What the store found good is turned away if the listener was closed, or filled up,
        // while it looked.
        let entry = entry.filter(|entry| self.has_room(id, &entry.key));
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        match (front.table.committed(connection, entry.is_some()), entry) {
            (Some(Ok(admitted)), Some(entry)) => self.admit(id, connection, admitted, &entry),
            (Some(Err(effect)), _) => self.perform(id, connection, effect),
            // It left before it could be let in.
            (None, _) | (Some(Ok(_)), None) => {}
        }
    }

    fn takes_secret(&self, id: FrontId, secret: SecretId) -> bool {
        let front = self.fronts.get(&id);
        front.is_some_and(|front| front.uses.contains_key(&secret))
    }

    /// Whether one more session of this key can be borne: no key, and no crowd, takes it all.
    fn has_room(&self, id: FrontId, key: &PublicKey) -> bool {
        let Some(front) = self.fronts.get(&id) else {
            return false;
        };
        let sessions = || self.sessions.values();
        front.listener.is_some()
            && front.undecided < self.options.undecided
            && sessions().filter(|session| session.front == id).count() < self.options.sessions
            && sessions().filter(|session| session.key == *key).count() < MAX_PER_KEY
    }

    /// Registers the session; only then are its keys released and its script asked.
    fn admit(&mut self, id: FrontId, connection: ConnectionId, peer: Admitted, entry: &Entry) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let (Some(listener), script) = (front.listener, front.script) else {
            return;
        };
        self.next_session += 1;
        let session = SessionId(self.next_session);
        let window = match peer.way {
            Way::Window(window) => Some(window),
            Way::Known { .. } => None,
        };
        let new = window.is_some() && entry.window == window;
        tracing::info!(
            name = %front.name, key = %peer.key, source = %peer.source, session = session.0, new,
            "authenticated"
        );
        front.undecided += 1;
        self.sessions.insert(
            session,
            Session {
                front: id,
                script,
                key: peer.key,
                stage: Stage::Undecided,
            },
        );
        self.answer(id, connection, Answer::Session(peer.keys), Some(session));
        if let Some(script) = self.scripts.get_mut(&script) {
            script.tell(ToScript::Request(Request {
                listener,
                session,
                key: peer.key,
                tags: tags(entry),
                endpoint: peer.source,
                new,
            }));
        }
    }
}

fn read_entry(keystore: &dyn Keystore, now: Now, name: &Name, key: &PublicKey) -> Option<Entry> {
    let entry: Result<_, StoreError> = keystore.lookup(now, name, key);
    entry.unwrap_or_else(|error| {
        tracing::error!("cannot look a key up: {error}");
        None
    })
}

/// The names that a key is accepted for, as Arcan writes them.
fn tags(entry: &Entry) -> String {
    let scopes: Vec<&str> = entry
        .scopes
        .iter()
        .map(|scope| match scope {
            Scope::Any => "*",
            Scope::Name(name) => name.as_str(),
        })
        .collect();
    scopes.join(",")
}

/// How many sessions one key may have, on all listeners together.
const MAX_PER_KEY: usize = 256;
