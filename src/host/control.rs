//! What an admin may ask, over a socket that is its owner's alone.

use std::io;
use std::path::{Path, PathBuf};

use keystore::{Actor, Change, Epoch, Keystore, Now, StoreError};
use serde::Serialize;
use tokio::sync::mpsc;

use super::doorman::Caller;
use super::{Event, Host};
use crate::ipc::admin::{FromHost, ListenerStatus, ScriptStatus, Status, ToHost};
use crate::ipc::{AsyncSocket, Listener, Received, Said, SendError, Socket};

/// Where the control socket of a state directory is.
pub fn socket_path(state: &Path) -> PathBuf {
    state.join("control.sock")
}

/// Serves admins until the host's loop is gone.
pub(super) fn serve(socket: &Path, events: mpsc::Sender<Event>) -> io::Result<()> {
    let listener = Listener::bind(socket)?;
    tokio::task::spawn_local(async move {
        loop {
            match listener.accept().await {
                Ok((connection, user)) => {
                    let by = Actor::User(user);
                    tokio::task::spawn_local(serve_one(connection, by, events.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept on the control socket: {error}");
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    });
    Ok(())
}

/// One admin: a question, its answer, the next question.
async fn serve_one(connection: Socket<FromHost, ToHost>, by: Actor, events: mpsc::Sender<Event>) {
    let Ok(connection) = AsyncSocket::new(connection) else {
        return;
    };
    while let Ok(Received::Message(request, _)) = connection.recv().await {
        let (reply, mut answers) = Reply::new();
        if events
            .send(Event::Admin(by.clone(), request, reply))
            .await
            .is_err()
        {
            return;
        }
        let mut answered = false;
        while !answered {
            let answer = tokio::select! {
                answer = answers.recv() => answer,
                // Whoever goes, or asks something else, does not wait for the answer.
                _ = connection.recv() => return,
            };
            let answer = answer.unwrap_or_else(|| FromHost::Failed("the host is ending".into()));
            answered = !matches!(answer, FromHost::Said(_));
            for part in parts(answer) {
                let sent = match connection.send(&part, &[]).await {
                    Err(SendError::TooLarge) => {
                        let failed = "the answer is too large to be told".to_owned();
                        connection.send(&FromHost::Failed(failed), &[]).await
                    }
                    sent => sent,
                };
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

/// Lists go in parts, the last of which is empty: a message does not hold every list.
fn parts(answer: FromHost) -> Vec<FromHost> {
    match answer {
        FromHost::Keys(entries) => split(entries).map(FromHost::Keys).collect(),
        FromHost::Windows(windows) => split(windows).map(FromHost::Windows).collect(),
        FromHost::Applied(ended) => split(ended).map(FromHost::Applied).collect(),
        FromHost::Sessions(sessions) => split(sessions).map(FromHost::Sessions).collect(),
        FromHost::Metrics(lines) => split(lines).map(FromHost::Metrics).collect(),
        FromHost::Status(status) => of_status(status),
        other => vec![other],
    }
}

/// What runs, in parts: each has the head, and some of the listeners or of the scripts.
fn of_status(status: Status) -> Vec<FromHost> {
    let Status {
        listeners, scripts, ..
    } = status;
    let part = |listeners, scripts| {
        FromHost::Status(Status {
            listeners,
            scripts,
            ..status
        })
    };
    let listeners = split(listeners).filter(|some| !some.is_empty());
    let scripts = split(scripts);
    listeners
        .map(|some| part(some, Vec::new()))
        .chain(scripts.map(|some| part(Vec::new(), some)))
        .collect()
}

/// Portions of about [`PART`] bytes, and an empty one.
fn split<T: Serialize>(items: Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut parts = vec![Vec::new()];
    let mut size = 0;
    for item in items {
        let more = postcard::to_allocvec(&item).map_or(PART, |bytes| bytes.len());
        if size + more > PART && size > 0 {
            parts.push(Vec::new());
            size = 0;
        }
        size += more;
        if let Some(part) = parts.last_mut() {
            part.push(item);
        }
    }
    parts
        .into_iter()
        .filter(|part| !part.is_empty())
        .chain([Vec::new()])
}

/// How many bytes of a list go into one message: well below what it holds.
const PART: usize = 32 * 1024;

/// Where the answer to an admin's question goes.
#[derive(Debug)]
pub(super) struct Reply(mpsc::UnboundedSender<FromHost>);

impl Reply {
    /// One, and what comes of it.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<FromHost>) {
        let (answers, heard) = mpsc::unbounded_channel();
        (Self(answers), heard)
    }

    /// Answers. Whoever does not wait any more is told nothing.
    pub(super) fn send(self, answer: FromHost) {
        drop(self.0.send(answer));
    }

    /// Says something before the answer. Whoever calls this sees to it that it is not too much.
    pub(super) fn say(&self, said: Said) {
        drop(self.0.send(FromHost::Said(said)));
    }

    /// Whether nobody waits any more.
    pub(super) fn is_unheard(&self) -> bool {
        self.0.is_closed()
    }
}

impl Host {
    /// Does what an admin asks. One who does not wait for the answer gets none.
    pub(super) fn admin(&mut self, by: Actor, request: ToHost, reply: Reply) {
        match request {
            ToHost::Keys => self.store.read(|keystore, _| {
                let entries = keystore.entries().map_err(|error| error.to_string());
                Box::new(move |_| reply.send(answer(entries, FromHost::Keys)))
            }),
            ToHost::Apply {
                changes,
                rehearse: true,
            } => self.store.work(move |keystore, now| {
                let then = keystore.rehearse(now, &by, &changes);
                let then = then.map_err(|error| error.to_string());
                Box::new(move |host: &mut Self| {
                    let now = host.clock.now();
                    let ends = then.map(|entries| host.sessions.would_go(&entries, now));
                    reply.send(answer(ends, FromHost::Applied));
                })
            }),
            ToHost::Apply { changes, .. } => {
                let keys: Vec<_> = changes.iter().filter_map(Change::key).copied().collect();
                let windows = changes.iter().any(|change| change.key().is_none());
                self.store.apply(by, changes, move |done, _, _| {
                    let done = done.map_err(|error| error.to_string());
                    Box::new(move |host: &mut Self| match done {
                        // The frameservers hear of a secret before the admin does: whoever is
                        // given it may use it at once.
                        Ok(_) if windows => {
                            host.after_windows(move |host| host.acknowledge(&keys, reply));
                        }
                        Ok(_) => host.acknowledge(&keys, reply),
                        Err(error) => reply.send(FromHost::Failed(error)),
                    })
                });
            }
            ToHost::Windows => {
                self.store.read(move |keystore, now| {
                    let windows = keystore.windows(now).map_err(|error| error.to_string());
                    Box::new(move |_| reply.send(answer(windows, FromHost::Windows)))
                });
            }
            ToHost::Sessions => {
                let sessions = self.sessions.iter();
                let all = sessions.map(|(id, session)| session.status(id));
                reply.send(FromHost::Sessions(all.collect()));
            }
            ToHost::Snapshot(folder) => self.store.work(move |keystore, now| {
                let done = snapshot(keystore, now, &folder).map_err(|error| error.to_string());
                Box::new(move |_| reply.send(answer(done, |answer| answer)))
            }),
            ToHost::HostKey => reply.send(FromHost::HostKey(self.keyroom.current())),
            ToHost::HostKeys => self.list_host_keys(reply),
            ToHost::ChangeHostKey {
                tag,
                change,
                rehearsal,
            } => self.change_host_key(by, tag, change, rehearsal, reply),
            ToHost::Status => self.store.read(|keystore, _| {
                let highest = keystore.highest_wall_ms();
                Box::new(move |host: &mut Self| {
                    reply.send(FromHost::Status(host.status(highest)));
                })
            }),
            ToHost::Metrics => self.tell_metrics(reply),
            ToHost::End(wish) => self.told_to_end(wish, reply),
            ToHost::Admit { name, key, from } => {
                self.admit_caller(Caller { name, key, from }, reply);
            }
            ToHost::Reload(script) => self.reload_asked(&script, reply),
            ToHost::Evaluate { script, asked } => self.evaluate(&by, &script, asked, reply),
            ToHost::AuditHead => self.store.read(|keystore, _| {
                let head = keystore.audit_head();
                Box::new(move |_| reply.send(FromHost::AuditHead(head)))
            }),
        }
    }

    fn status(&self, highest_wall_ms: u64) -> Status {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let listeners = self
            .fronts
            .iter()
            .filter(|(_, front)| front.listener.is_some());
        Status {
            pid: std::process::id(),
            ending: self.ending.is_begun(),
            listeners: listeners
                .map(|(id, front)| ListenerStatus {
                    name: front.name.clone(),
                    addresses: front.addresses.clone(),
                    ready: front.is_ready(),
                    script: self
                        .scripts
                        .get(&front.script)
                        .map(|script| script.name().to_owned())
                        .unwrap_or_default(),
                    sandbox: front.sandbox.clone(),
                    sessions: count(
                        self.sessions
                            .iter()
                            .filter(|(_, session)| session.front == *id)
                            .count(),
                    ),
                    strangers: front.strangers.told(),
                    unproved_limit: self.options.unproved.full(),
                })
                .collect(),
            scripts: self
                .scripts
                .values()
                .map(|script| ScriptStatus {
                    name: script.name().to_owned(),
                    sandbox: script.sandbox().to_vec(),
                })
                .collect(),
            sessions: count(self.sessions.len()),
            highest_wall_ms,
        }
    }
}

/// Copies what goes into a backup.
pub fn snapshot(
    keystore: &mut dyn Keystore,
    now: Now,
    folder: &Path,
) -> Result<FromHost, StoreError> {
    let Epoch(epoch) = keystore.snapshot(now, folder)?;
    let keys = u64::try_from(keystore.entries()?.len()).unwrap_or(u64::MAX);
    Ok(FromHost::Snapshot { epoch, keys })
}

pub(super) fn answer<T>(result: Result<T, String>, good: impl FnOnce(T) -> FromHost) -> FromHost {
    match result {
        Ok(value) => good(value),
        Err(error) => FromHost::Failed(error),
    }
}

/// How long to wait when the control socket does not work.
const BACK_OFF: std::time::Duration = std::time::Duration::from_millis(100);
