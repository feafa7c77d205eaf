//! What an admin may ask, over a socket that is its owner's alone.

use std::io;
use std::path::{Path, PathBuf};

use keystore::{ApplyError, Change, Origin, Scope};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use super::{Event, Host};
use crate::ipc::admin::{FromHost, ListenerStatus, Status, ToHost};
use crate::ipc::{AsyncSocket, Listener, Received, SendError, Socket};

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
                Ok(connection) => {
                    tokio::task::spawn_local(serve_one(connection, events.clone()));
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
async fn serve_one(connection: Socket<FromHost, ToHost>, events: mpsc::Sender<Event>) {
    let Ok(connection) = AsyncSocket::new(connection) else {
        return;
    };
    while let Ok(Received::Message(request, _)) = connection.recv().await {
        let (reply, answer) = oneshot::channel();
        if events.send(Event::Admin(request, reply)).await.is_err() {
            return;
        }
        let answer = answer
            .await
            .unwrap_or_else(|_| FromHost::Failed("the host is ending".into()));
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

/// Lists go in parts, the last of which is empty: a message does not hold every list.
fn parts(answer: FromHost) -> Vec<FromHost> {
    match answer {
        FromHost::Keys(entries) => split(entries).map(FromHost::Keys).collect(),
        FromHost::Windows(windows) => split(windows).map(FromHost::Windows).collect(),
        other => vec![other],
    }
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

type Reply = oneshot::Sender<FromHost>;

impl Host {
    /// Does what an admin asks. One who does not wait for the answer gets none.
    pub(super) fn admin(&mut self, request: ToHost, reply: Reply) {
        match request {
            ToHost::Keys => self.store.read(|keystore, _| {
                let entries = keystore.entries().map_err(|error| error.to_string());
                Box::new(move |_| drop(reply.send(answer(entries, FromHost::Keys))))
            }),
            ToHost::Accept { key, scope, label } => {
                let name = match &scope {
                    Scope::Any => "*".to_owned(),
                    Scope::Name(name) => name.to_string(),
                };
                self.change(Change::Accept { key, scope, label }, reply, move |_| {
                    tracing::info!(%key, name, "key accepted by an admin");
                    FromHost::Done
                });
            }
            ToHost::Remove(key) => self.revoke(key, reply),
            ToHost::OpenWindow {
                name,
                secret,
                count,
                lasts,
                human,
            } => match self.new_window(name, secret, count, lasts, Origin::Admin, human) {
                Ok(open) => {
                    let id = open.id;
                    let change = vec![Change::OpenWindow(open)];
                    self.store.apply(change, move |done, keystore, now| {
                        let window = done.map_err(|error| error.to_string()).and_then(|_| {
                            let windows = keystore.windows(now).map_err(|e| e.to_string())?;
                            let opened = windows.into_iter().find(|window| window.id == id);
                            opened.ok_or_else(|| ApplyError::NoSuchWindow.to_string())
                        });
                        Box::new(move |host: &mut Self| {
                            // The frameservers hear of the secret before the admin does: whoever
                            // is given it may use it at once.
                            host.after_windows(move || {
                                drop(reply.send(answer(window, FromHost::Window)));
                            });
                        })
                    });
                }
                Err(error) => drop(reply.send(FromHost::Failed(error))),
            },
            ToHost::Windows => {
                self.store.read(move |keystore, now| {
                    let windows = keystore.windows(now).map_err(|error| error.to_string());
                    Box::new(move |_| drop(reply.send(answer(windows, FromHost::Windows))))
                });
            }
            ToHost::CloseWindow(window) => {
                let why = keystore::WindowEnd::Closed;
                self.change(Change::CloseWindow { window, why }, reply, |host| {
                    host.read_windows();
                    FromHost::Done
                });
            }
            ToHost::HostKey => drop(reply.send(FromHost::HostKey(self.keyroom.public()))),
            ToHost::Status => self.store.read(|keystore, _| {
                let highest = keystore.highest_wall_ms();
                Box::new(move |host: &mut Self| {
                    drop(reply.send(FromHost::Status(host.status(highest))));
                })
            }),
        }
    }

    /// Makes one change, and answers when it is durable.
    fn change(
        &mut self,
        change: Change,
        reply: Reply,
        done: impl FnOnce(&mut Self) -> FromHost + Send + 'static,
    ) {
        self.store.apply(vec![change], move |result, _, _| {
            let failed = result
                .err()
                .map(|error| FromHost::Failed(error.to_string()));
            Box::new(move |host: &mut Self| {
                let answer = failed.unwrap_or_else(|| done(host));
                drop(reply.send(answer));
            })
        });
    }

    fn status(&self, highest_wall_ms: u64) -> Status {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let listeners = self
            .fronts
            .iter()
            .filter(|(_, front)| front.listener.is_some());
        Status {
            pid: std::process::id(),
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
                            .values()
                            .filter(|session| session.front == *id)
                            .count(),
                    ),
                })
                .collect(),
            sessions: count(self.sessions.len()),
            highest_wall_ms,
        }
    }
}

fn answer<T>(result: Result<T, String>, good: impl FnOnce(T) -> FromHost) -> FromHost {
    match result {
        Ok(value) => good(value),
        Err(error) => FromHost::Failed(error),
    }
}

/// How long to wait when the control socket does not work.
const BACK_OFF: std::time::Duration = std::time::Duration::from_millis(100);
