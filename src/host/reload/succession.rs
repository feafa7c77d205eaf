//! The new process of a script takes the old one's place.

use std::collections::{BTreeMap, BTreeSet};

use super::Reload;
use crate::host::roll::Stage;
use crate::host::windows::News;
use crate::host::{FrontId, Host, ScriptId};
use crate::ipc::admin::{FromHost, Reloaded};
use crate::ipc::script::{FromScript, Peer, ToScript, WindowEvent};
use crate::ipc::{ListenerId, SessionId};
use crate::wire::a12::StageKeys;

impl Host {
    /// The new process takes the old one's place.
    pub(super) fn replace(&mut self, id: ScriptId) {
        let Some(script) = self.scripts.get_mut(&id) else {
            return;
        };
        let Some(reload) = script.reload.take() else {
            return;
        };
        let mut reload = *reload;
        self.end_evaluations(id, "the script was loaded again before it was done");
        let kept = self.kept(id, &reload);
        let Some(script) = self.scripts.get_mut(&id) else {
            return;
        };
        std::mem::swap(&mut script.child, &mut reload.child);
        script.generation = reload.generation;
        script.sandbox = std::mem::take(&mut reload.sandbox);

        self.disconnect_all(id, reload.left);
        let mut done = Reloaded {
            kept: 0,
            opened: 0,
            closed: 0,
            sessions: 0,
            failures: Vec::new(),
        };
        let mut renamed = BTreeMap::new();
        for (front, counted) in self.fronts_of(id).into_iter().zip((0..=u32::MAX).rev()) {
            let now = kept.iter().find(|(_, it)| **it == front).map(|(id, _)| *id);
            if let Some(it) = self.fronts.get_mut(&front)
                && let Some(now) = now
            {
                done.kept += 1;
                renamed.extend(it.listener.map(|old| (old, now)));
                it.listener = Some(now);
                it.listed = Vec::new();
            } else {
                let listened = self
                    .fronts
                    .get(&front)
                    .is_some_and(|it| it.listener.is_some());
                done.closed += u32::from(listened);
                self.stop_listening(front);
            }
            done.sessions += self.hand_over(id, front, now, counted, &reload.ended);
        }
        self.do_said(id, &kept, &mut reload, &mut done);
        self.tell_waiting(id, &renamed, &mut reload);
        self.tell_lists();
        if let Some(script) = self.scripts.get_mut(&id) {
            script.tell(ToScript::Begin);
        }
        let Reloaded {
            kept,
            opened,
            closed,
            sessions,
            ..
        } = done;
        let script = self.script_name(id);
        tracing::info!(script, kept, opened, closed, sessions, "loaded again");
        if let Some(reply) = reload.reply.take() {
            reply.send(FromHost::Reloaded(done));
        }
        self.once_more(id);
    }

    /// Gives the new process the sessions of a frameserver, and the listener if it goes on. How many
    /// there were.
    fn hand_over(
        &mut self,
        id: ScriptId,
        front: FrontId,
        listener: Option<ListenerId>,
        counted: u32,
        ended: &[(FrontId, Peer)],
    ) -> u32 {
        let Some(it) = self.fronts.get(&front).filter(|it| it.is_ready()) else {
            return 0;
        };
        let addresses = it.addresses.clone();
        let taken = self
            .sessions
            .iter()
            .filter(|(_, session)| session.front == front && session.stage == Stage::Taken);
        let mut survivors: Vec<_> = taken.map(|(id, it)| it.peer(id)).collect();
        let count = u32::try_from(survivors.len()).unwrap_or(u32::MAX);
        // They are gone, and have something left to say.
        let gone = ended.iter().filter(|(of, _)| *of == front);
        survivors.extend(gone.map(|(_, peer)| peer.clone()));
        if survivors.is_empty() && listener.is_none() {
            return 0;
        }
        let number = listener.unwrap_or(ListenerId(counted));
        self.relink(front, id, number, survivors);
        if let (Some(listener), Some(script)) = (listener, self.scripts.get_mut(&id)) {
            script.tell(ToScript::Listening {
                listener,
                addresses,
            });
        }
        count
    }

    /// Does what the new process has said while it was loaded.
    fn do_said(
        &mut self,
        id: ScriptId,
        kept: &BTreeMap<ListenerId, FrontId>,
        reload: &mut Reload,
        done: &mut Reloaded,
    ) {
        let said = std::mem::take(&mut reload.said);
        let mut same = BTreeMap::new();
        for (listener, front) in kept {
            let wanted = said.iter().filter_map(|said| match said {
                FromScript::Secret(wanted) if wanted.listener == *listener => Some(wanted),
                _ => None,
            });
            let required = wanted.filter(|wanted| wanted.required);
            let in_force = self.fronts.get(front).and_then(|it| it.required.as_ref());
            let stays = in_force.is_some_and(|in_force| {
                let mut required = required.peekable();
                required.peek().is_some()
                    && required
                        .all(|it| in_force.candidate.keys.is(&StageKeys::initial(&it.secret)))
            });
            same.insert(*listener, stays);
            if let Some(front) = self.fronts.get_mut(front) {
                front.named_required = stays;
                front.named_window = false;
            }
        }
        for message in said {
            match message {
                FromScript::Listen(listen) if kept.contains_key(&listen.listener) => {}
                FromScript::Listen(listen) => {
                    let place = match reload.places.remove(&listen.listener) {
                        Some(place) => Ok(place),
                        None => self.bind(&listen),
                    };
                    match place {
                        Ok(place) => {
                            done.opened += 1;
                            self.listen_on(id, listen, place);
                        }
                        Err(why) => {
                            let failure = format!("{}: cannot listen: {why}", listen.place);
                            tracing::error!(name = %listen.name, "{failure}");
                            self.tell_ended(id, listen.listener, &why);
                            done.failures.push(failure);
                        }
                    }
                }
                // It is in force, and its window goes on.
                FromScript::Secret(wanted)
                    if wanted.required && same.get(&wanted.listener) == Some(&true) =>
                {
                    self.resumed(id, wanted.listener);
                }
                message => self.script_said(id, message),
            }
        }
    }

    /// Tells a script that the window of its listener's required secret goes on, if it has one.
    fn resumed(&mut self, id: ScriptId, listener: ListenerId) {
        let front = self
            .fronts
            .values()
            .find(|front| front.script == id && front.listener == Some(listener));
        let Some((name, window)) = front.and_then(|front| {
            let window = front.required.as_ref()?.window?;
            Some((front.name.clone(), window))
        }) else {
            return;
        };
        let listed = self.windows.list(&name);
        let left = listed.iter().find(|it| it.window == window.0);
        let news = News {
            event: WindowEvent::Resumed,
            left: left.map_or(0, |it| it.left),
            window,
            name,
            label: None,
        };
        if let Some(script) = self.scripts.get_mut(&id) {
            script.tell(news.told_to(listener));
        }
    }

    /// Tells the new process what the old one has not dispatched, and what has come since.
    fn tell_waiting(
        &mut self,
        id: ScriptId,
        renamed: &BTreeMap<ListenerId, ListenerId>,
        reload: &mut Reload,
    ) {
        let back = std::mem::take(&mut reload.back);
        let held = std::mem::take(&mut reload.held);
        let all = back.into_iter().chain(held.into_iter().map(|held| held.0));
        let mut asked = BTreeSet::new();
        for message in all {
            let Some(message) = for_heir(message, renamed) else {
                continue;
            };
            if let ToScript::Request(request) = &message {
                let session = self.sessions.get(request.session);
                let waits =
                    session.is_some_and(|it| it.script == id && it.stage == Stage::Undecided);
                if !waits || !asked.insert(request.session) {
                    continue;
                }
            }
            if let Some(script) = self.scripts.get_mut(&id) {
                script.tell(message);
            }
        }
        // Nobody is left who could decide on the others.
        let lost: BTreeSet<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, it)| it.script == id && it.stage == Stage::Undecided)
            .map(|(session, _)| session)
            .filter(|session| !asked.contains(session))
            .collect();
        for session in lost {
            self.decide(id, session, false);
        }
    }
}

/// What the new process of a script is told of what was for the old one.
fn for_heir(message: ToScript, renamed: &BTreeMap<ListenerId, ListenerId>) -> Option<ToScript> {
    let now = |listener: &ListenerId| renamed.get(listener).copied();
    Some(match message {
        ToScript::Request(mut request) => {
            request.listener = now(&request.listener)?;
            ToScript::Request(request)
        }
        ToScript::Failure { listener, message } => ToScript::Failure {
            listener: now(&listener)?,
            message,
        },
        ToScript::Window {
            listener,
            event,
            left,
            window,
            label,
        } => ToScript::Window {
            listener: now(&listener)?,
            event,
            left,
            window,
            label,
        },
        // It is told of what is there, and has none of what else there was.
        _ => return None,
    })
}
