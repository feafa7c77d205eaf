//! The roll of those who are in: one rule says who has to go.
//!
//! A session lives as long as its key is accepted for its name. Nothing here does anything; what
//! has to be done is given back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use identity::{Name, PublicKey};
use keystore::{Denied, Entry, Farewell, Now};

use super::{FrontId, ScriptId};
use crate::ipc::SessionId;
use crate::ipc::admin::SessionStatus;
use crate::ipc::script::Peer;

/// A proved and admitted peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) front: FrontId,
    pub(super) script: ScriptId,
    pub(super) name: Name,
    /// `None`: it has none, and nobody asks for one there.
    pub(super) key: Option<PublicKey>,
    pub(super) from: SocketAddr,
    /// Wall clock, ms since 1970.
    pub(super) since_ms: u64,
    /// When its key expires.
    pub(super) expires_ms: Option<u64>,
    /// Its key need not be known, but must not be one that was said no to.
    pub(super) anonymous: bool,
    pub(super) stage: Stage,
}

/// What has been decided about a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The script has yet to say.
    Undecided,
    /// The script has taken it.
    Taken,
    /// It is being ended.
    Ending(Farewell),
}

impl Session {
    /// Whose it is, for the next process of its script.
    pub(super) fn peer(&self, session: SessionId) -> Peer {
        Peer {
            session,
            name: self.name.clone(),
            key: self.key,
            endpoint: self.from,
        }
    }

    pub(super) fn status(&self, id: SessionId) -> SessionStatus {
        SessionStatus {
            session: id.0,
            name: self.name.clone(),
            key: self.key,
            from: self.from,
            since_ms: self.since_ms,
        }
    }

    /// Whether it may go on if its key stands so.
    fn may_stay(&self, entry: Option<&Entry>, now: Now) -> bool {
        let stands = match entry {
            Some(entry) => entry.allows(&self.name, now, 0).map(drop),
            None => Err(Denied::Unknown),
        };
        match stands {
            Ok(()) => true,
            Err(Denied::Unknown | Denied::OutOfScope) => self.anonymous || self.key.is_none(),
            Err(_) => self.key.is_none(),
        }
    }
}

/// A session that is to be dropped, and what it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) id: SessionId,
    pub(super) front: FrontId,
    pub(super) undecided: bool,
}

/// Everybody who is in.
#[derive(Debug, Default)]
pub(super) struct Roll {
    sessions: BTreeMap<SessionId, Session>,
    /// When their keys expire.
    expiring: BTreeSet<(u64, SessionId)>,
}

impl Roll {
    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The script decides. `None`: there is no such session.
    pub(super) fn stage(&mut self, id: SessionId) -> Option<&mut Stage> {
        self.sessions.get_mut(&id).map(|session| &mut session.stage)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn enter(&mut self, id: SessionId, session: Session) {
        let end = session.expires_ms.map(|end| (end, id));
        self.expiring.extend(end);
        self.sessions.insert(id, session);
    }

    pub(super) fn leave(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        if let Some(end) = session.expires_ms {
            self.expiring.remove(&(end, id));
        }
        Some(session)
    }

    /// A key stands so now (`None`: it is not known): who has to go.
    pub(super) fn judge(
        &mut self,
        key: &PublicKey,
        entry: Option<&Entry>,
        now: Now,
    ) -> Vec<Dropped> {
        let end = entry.and_then(|entry| entry.expires_ms);
        for (id, session) in &mut self.sessions {
            if session.key == Some(*key) && session.expires_ms != end {
                if let Some(old) = session.expires_ms {
                    self.expiring.remove(&(old, *id));
                }
                self.expiring.extend(end.map(|end| (end, *id)));
                session.expires_ms = end;
            }
        }
        self.revoke(|session| session.key == Some(*key) && !session.may_stay(entry, now))
    }

    /// Time has passed: who has to go.
    pub(super) fn expire(&mut self, now: Now) -> Vec<Dropped> {
        let over = |end: u64| end <= now.wall_ms;
        if !self.expiring.first().is_some_and(|(end, _)| over(*end)) {
            return Vec::new();
        }
        self.expiring.retain(|(end, _)| !over(*end));
        self.revoke(|session| session.expires_ms.is_some_and(over))
    }

    /// When the next key expires that has a session, wall clock, ms since 1970.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.expiring.first().map(|(end, _)| *end)
    }

    /// These have to go because their keys are not accepted any more. One that is ending for
    /// another reason already is not waited for; from now on it is.
    pub(super) fn revoke(&mut self, meant: impl Fn(&Session) -> bool) -> Vec<Dropped> {
        let revoked = Stage::Ending(Farewell::Revoked);
        self.end(Farewell::Revoked, |session| {
            session.stage != revoked && meant(session)
        })
    }

    /// These have to go.
    pub(super) fn end(&mut self, why: Farewell, meant: impl Fn(&Session) -> bool) -> Vec<Dropped> {
        let mut dropped = Vec::new();
        for (&id, session) in &mut self.sessions {
            if meant(session) {
                let undecided = session.stage == Stage::Undecided;
                session.stage = Stage::Ending(why);
                dropped.push(Dropped {
                    id,
                    front: session.front,
                    undecided,
                });
            }
        }
        dropped
    }

    /// Those that are going because one of these keys is not accepted any more.
    pub(super) fn revoked(&self, keys: &[PublicKey]) -> Vec<SessionStatus> {
        let revoked = |session: &Session| {
            session.stage == Stage::Ending(Farewell::Revoked)
                && session.key.is_some_and(|key| keys.contains(&key))
        };
        self.statuses(revoked)
    }

    /// Those that would have to go if these keys stood so.
    pub(super) fn would_go(
        &self,
        entries: &[(PublicKey, Option<Entry>)],
        now: Now,
    ) -> Vec<SessionStatus> {
        self.statuses(|session| {
            let entry = entries.iter().find(|(key, _)| Some(*key) == session.key);
            entry.is_some_and(|(_, entry)| !session.may_stay(entry.as_ref(), now))
        })
    }

    fn statuses(&self, meant: impl Fn(&Session) -> bool) -> Vec<SessionStatus> {
        self.iter()
            .filter(|(_, session)| meant(session))
            .map(|(id, session)| session.status(id))
            .collect()
    }
}

#[cfg(test)]
mod tests;
