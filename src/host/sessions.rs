//! Sessions come and go. Whatever is changed in the store, by whomever, comes here as [`News`], and
//! so does time; the roll says who has to go, and here they are sent.

use std::collections::BTreeSet;

use identity::PublicKey;
use keystore::{Entry, Farewell, Note};
use tokio::time::{Duration, Instant};

use super::control::Reply;
use super::roll::{Dropped, Session, Stage};
use super::store::News;
use super::{FrontId, Host, ScriptId};
use crate::ipc::SessionId;
use crate::ipc::admin::{FromHost, SessionStatus};
use crate::ipc::frameserver::{Ended, ToFrameserver};

/// Somebody who waits until the sessions are gone that a change has ended.
#[derive(Debug)]
pub(super) struct Revocation {
    left: BTreeSet<SessionId>,
    ended: Vec<SessionStatus>,
    deadline: Instant,
    reply: Reply,
}

impl Host {
    /// The script has decided.
    pub(super) fn decide(&mut self, script: ScriptId, id: SessionId, accept: bool) {
        let Some(session) = self.sessions.get(id) else {
            // It left before the script could decide; a script that took it is told by its
            // frameserver. One that makes numbers up gains nothing.
            return;
        };
        if session.script != script || session.stage == Stage::Taken {
            return self.kill_script(script, "it decided on what was not its to decide");
        }
        if session.stage != Stage::Undecided {
            return;
        }
        let (front, key) = (session.front, session.key);
        let key = key.map(tracing::field::display);
        tracing::info!(key, session = id.0, accepted = accept, "decided");
        if let Some(stage) = self.sessions.stage(id) {
            *stage = match accept {
                true => Stage::Taken,
                false => Stage::Ending(Farewell::Script),
            };
        }
        self.exec_decided(id, accept);
        if let Some(front) = self.fronts.get_mut(&front) {
            front.undecided = front.undecided.saturating_sub(1);
            front.tell(ToFrameserver::Decision {
                session: id,
                accept,
            });
        }
    }

    /// A frameserver says that a session has ended.
    pub(super) fn session_gone(&mut self, front: FrontId, id: SessionId, why: &Ended) {
        match self.sessions.get(id) {
            Some(session) if session.front == front => {}
            _ => return self.kill_front(front, "it ended a session that is not its own"),
        }
        let why = match why {
            Ended::Told | Ended::Refused(_) => Farewell::Script,
            Ended::Peer | Ended::Violation(_) | Ended::Broken | Ended::Crowded => Farewell::Peer,
        };
        self.forget_session(id, why);
    }

    /// A session is not any more; `why`, unless something else was going to end it.
    pub(super) fn forget_session(&mut self, id: SessionId, why: Farewell) {
        let Some(session) = self.sessions.leave(id) else {
            return;
        };
        if session.stage == Stage::Undecided
            && let Some(front) = self.fronts.get_mut(&session.front)
        {
            front.undecided = front.undecided.saturating_sub(1);
        }
        let why = match session.stage {
            Stage::Ending(why) => why,
            Stage::Undecided | Stage::Taken => why,
        };
        if session.stage == Stage::Taken {
            self.left_meanwhile(id, &session);
        }
        self.programs.client_gone(id, why);
        let shown = session.key.map(tracing::field::display);
        tracing::info!(key = shown, session = id.0, "session ended");
        self.counts.end();
        if let Some(key) = session.key {
            self.store.note(Note::Left {
                name: session.name,
                key,
                session: id.0,
                why,
            });
        }
        for revocation in &mut self.revocations {
            revocation.left.remove(&id);
        }
        self.settle_revocations();
    }

    /// The store has something new.
    pub(super) fn hear_store(&mut self, news: News) {
        match news {
            News::Changed { entries, windows } => {
                self.counts.write();
                self.judge(&entries);
                if windows {
                    self.read_windows();
                }
            }
            News::Unheard => {
                self.blind = false;
                self.judge_all();
                self.read_windows();
            }
            News::Blind => {
                tracing::error!("nobody is let in, and nobody stays, until the keystore is back");
                self.blind = true;
                let dropped = self.sessions.revoke(|_| true);
                self.send_away(dropped);
            }
        }
    }

    /// Ends the sessions that these keys may not have any more.
    pub(super) fn judge(&mut self, entries: &[(PublicKey, Option<Entry>)]) {
        let now = self.clock.now();
        for (key, entry) in entries {
            let dropped = self.sessions.judge(key, entry.as_ref(), now);
            self.send_away(dropped);
        }
    }

    /// Looks all keys up again whose sessions are live.
    fn judge_all(&mut self) {
        let keys: Vec<PublicKey> = self
            .sessions
            .iter()
            .filter_map(|(_, session)| session.key)
            .collect();
        self.store.read(move |keystore, _| {
            let mut entries = Vec::with_capacity(keys.len());
            for key in keys {
                // What cannot be looked up is not accepted.
                entries.push((key, keystore.entry(&key).unwrap_or_default()));
            }
            Box::new(move |host: &mut Self| host.judge(&entries))
        });
    }

    /// Ends the sessions whose keys have expired.
    pub(super) fn expire(&mut self) {
        let dropped = self.sessions.expire(self.clock.now());
        self.send_away(dropped);
    }

    /// When the next key expires that has a session.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let end = self.sessions.next_expiry_ms()?;
        let left_ms = end.saturating_sub(self.clock.now().wall_ms);
        // The wall clock may be set meanwhile, so that it is looked at now and then.
        Some(Instant::now() + Duration::from_millis(left_ms).min(LOOK))
    }

    /// Turns away or cuts the sessions that are meant.
    pub(super) fn end_sessions(&mut self, why: Farewell, meant: impl Fn(&Session) -> bool) {
        let dropped = self.sessions.end(why, meant);
        self.send_away(dropped);
    }

    fn send_away(&mut self, dropped: Vec<Dropped>) {
        for Dropped {
            id,
            front,
            undecided,
        } in dropped
        {
            if let Some(front) = self.fronts.get_mut(&front) {
                front.undecided = front.undecided.saturating_sub(usize::from(undecided));
                front.tell(ToFrameserver::Drop(id));
            }
        }
    }

    /// Acknowledges a change once the sessions of these keys are gone that it has ended.
    pub(super) fn acknowledge(&mut self, keys: &[PublicKey], reply: Reply) {
        let ended = self.sessions.revoked(keys);
        let left = ended.iter().map(|it| SessionId(it.session)).collect();
        self.revocations.push(Revocation {
            left,
            ended,
            deadline: Instant::now() + CONFIRMATION,
            reply,
        });
        self.settle_revocations();
    }

    /// Acknowledges revocations whose sessions are all gone.
    fn settle_revocations(&mut self) {
        for revocation in std::mem::take(&mut self.revocations) {
            if revocation.left.is_empty() {
                revocation.reply.send(FromHost::Applied(revocation.ended));
            } else {
                self.revocations.push(revocation);
            }
        }
    }

    /// A frameserver that does not confirm in time is ended, and its sessions with it.
    pub(super) fn overdue_revocations(&mut self) {
        let now = Instant::now();
        let overdue: Vec<SessionId> = self
            .revocations
            .iter()
            .filter(|revocation| revocation.deadline <= now)
            .flat_map(|revocation| revocation.left.iter().copied())
            .collect();
        for id in overdue {
            if let Some(front) = self.sessions.get(id).map(|session| session.front) {
                self.kill_front(front, "it did not end a session when told to");
            }
        }
    }
}

/// How long a frameserver has to confirm that it has ended a session.
const CONFIRMATION: Duration = Duration::from_secs(1);

/// How often the wall clock is looked at while an expiry is waited for.
const LOOK: Duration = Duration::from_secs(1);
