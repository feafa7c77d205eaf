//! Who is in.

use std::collections::BTreeSet;

use identity::PublicKey;
use keystore::Change;
use tokio::sync::oneshot;
use tokio::time::{Duration, Instant};

use super::{FrontId, Host, ScriptId};
use crate::ipc::SessionId;
use crate::ipc::admin::FromHost;
use crate::ipc::frameserver::ToFrameserver;

/// A proved and admitted peer.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) front: FrontId,
    pub(super) script: ScriptId,
    pub(super) key: PublicKey,
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
    Ending,
}

/// Sessions that a change has ended, and who waits for that.
#[derive(Debug)]
pub(super) struct Revocation {
    left: BTreeSet<SessionId>,
    ended: u32,
    deadline: Instant,
    reply: oneshot::Sender<FromHost>,
}

impl Host {
    /// The script has decided.
    pub(super) fn decide(&mut self, script: ScriptId, id: SessionId, accept: bool) {
        let Some(session) = self.sessions.get_mut(&id) else {
            // It left before the script could decide; a script that took it is told by its
            // frameserver. One that makes numbers up gains nothing.
            return;
        };
        if session.script != script || session.stage == Stage::Taken {
            return self.kill_script(script, "it decided on what was not its to decide");
        }
        if session.stage == Stage::Ending {
            return;
        }
        session.stage = if accept { Stage::Taken } else { Stage::Ending };
        let (front, key) = (session.front, session.key);
        tracing::info!(%key, session = id.0, accepted = accept, "decided");
        if let Some(front) = self.fronts.get_mut(&front) {
            front.undecided = front.undecided.saturating_sub(1);
            front.tell(ToFrameserver::Decision {
                session: id,
                accept,
            });
        }
    }

    /// A frameserver says that a session has ended.
    pub(super) fn session_gone(&mut self, front: FrontId, id: SessionId) {
        match self.sessions.get(&id) {
            Some(session) if session.front == front => {}
            _ => return self.kill_front(front, "it ended a session that is not its own"),
        }
        self.forget_session(id);
    }

    /// A session is not any more.
    pub(super) fn forget_session(&mut self, id: SessionId) {
        let Some(session) = self.sessions.remove(&id) else {
            return;
        };
        if session.stage == Stage::Undecided
            && let Some(front) = self.fronts.get_mut(&session.front)
        {
            front.undecided = front.undecided.saturating_sub(1);
        }
        tracing::info!(key = %session.key, session = id.0, "session ended");
        for revocation in &mut self.revocations {
            revocation.left.remove(&id);
        }
        self.settle_revocations();
    }

    /// Forgets a key: first on disk, then its sessions; only then is it acknowledged.
    pub(super) fn revoke(&mut self, key: PublicKey, reply: oneshot::Sender<FromHost>) {
        let change = Change::Remove { key };
        self.store.apply(vec![change], move |done, _, _| {
            let done = done.map(drop);
            Box::new(move |host: &mut Self| match done {
                Ok(()) => host.end_sessions_of(key, reply),
                Err(error) => drop(reply.send(FromHost::Failed(error.to_string()))),
            })
        });
    }

    fn end_sessions_of(&mut self, key: PublicKey, reply: oneshot::Sender<FromHost>) {
        tracing::info!(%key, "key removed");
        let mut left = BTreeSet::new();
        for (id, session) in &mut self.sessions {
            if session.key == key {
                if session.stage == Stage::Undecided
                    && let Some(front) = self.fronts.get_mut(&session.front)
                {
                    front.undecided = front.undecided.saturating_sub(1);
                }
                session.stage = Stage::Ending;
                left.insert(*id);
                if let Some(front) = self.fronts.get_mut(&session.front) {
                    front.tell(ToFrameserver::Drop(*id));
                }
            }
        }
        let ended = u32::try_from(left.len()).unwrap_or(u32::MAX);
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
                let sessions = revocation.ended;
                // An admin who did not wait is told nothing.
                drop(revocation.reply.send(FromHost::Removed { sessions }));
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
            if let Some(front) = self.sessions.get(&id).map(|session| session.front) {
                self.kill_front(front, "it did not end a session when told to");
            }
        }
    }
}

/// How long a frameserver has to confirm that it has ended a session.
const CONFIRMATION: Duration = Duration::from_secs(1);
