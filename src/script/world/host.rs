//! What the host says, and what of it is to be answered.

use std::rc::Rc;
use std::time::Duration;

use super::inbound::words;
use super::{Ask, World};
use crate::ipc::ListenerId;
use crate::ipc::script::{FromScript, Peer, Request, ToScript};
use crate::script::status::{NETWORK_SERVER, Status};
use crate::script::vids::{Object, Queued};
use crate::wire::a12::event::External;

impl World {
    /// Takes what the host says; what is for the engine is not for here.
    pub(in crate::script) fn host(&mut self, message: ToScript) {
        match message {
            ToScript::Run(_)
            | ToScript::Prepare(_)
            | ToScript::Yield(_)
            | ToScript::Resume
            | ToScript::State(_)
            | ToScript::TakeOver
            | ToScript::Leave
            | ToScript::Begin
            | ToScript::Stop
            | ToScript::Evaluate { .. }
            | ToScript::Cancel(_) => {}
            ToScript::Adopt {
                listener,
                survivors,
            } => {
                let survivors = survivors.into_iter();
                let survivors = survivors.map(|one| (one.session, Rc::new(one)));
                self.survivors.insert(listener, survivors.collect());
            }
            ToScript::Listening { listener, .. } => self.tell_listener(
                listener,
                Status::Registered {
                    kind: NETWORK_SERVER,
                    title: String::new(),
                    guid: [0; 2],
                },
            ),
            ToScript::Ended {
                listener,
                last_words,
            } if self.connections.contains_key(&listener) => {
                if let Some(vid) = self.connections.remove(&listener) {
                    self.gone(vid, &last_words);
                }
            }
            ToScript::Disconnected {
                connection,
                why,
                retry,
            } => self.disconnected(connection, why, retry),
            ToScript::Ended {
                listener,
                last_words,
            } => self.tell_listener(listener, Status::Terminated(words(&last_words))),
            ToScript::Request(request) => self.request(request),
            ToScript::Failure { listener, message } => {
                self.tell_listener(listener, Status::Failure(message));
            }
            ToScript::Window {
                listener,
                event,
                left,
                window,
                label,
            } => self.tell_listener(
                listener,
                Status::Window {
                    event,
                    left,
                    window,
                    label,
                },
            ),
            ToScript::Keys { call, answer, more } => self.keys(call, answer, more),
            ToScript::Windows { listener, windows } => {
                if self.listeners.contains_key(&listener) {
                    self.windows.insert(listener, windows);
                }
            }
        }
    }

    /// A connection is gone, or was not made.
    fn disconnected(&mut self, connection: ListenerId, why: String, retry: Duration) {
        let Some(&vid) = self.connections.get(&connection) else {
            return;
        };
        self.lose(vid);
        let retry_ms = retry.as_secs_f64() * 1000.0;
        self.tell(vid, Status::Disconnected { why, retry_ms });
    }

    fn tell_listener(&mut self, listener: ListenerId, status: Status) {
        if let Some(&vid) = self.listeners.get(&listener) {
            self.tell(vid, status);
        }
    }

    fn request(&mut self, request: Request) {
        let listener =
            self.listeners
                .get(&request.listener)
                .and_then(|vid| match self.objects.get(vid) {
                    Some(Object::Listener(listener)) => Some((*vid, listener.cookie)),
                    _ => None,
                });
        let Some((vid, parent)) = listener else {
            self.outbox.host.push(FromScript::Decide {
                session: request.session,
                accept: false,
            });
            return;
        };
        let id = self.next_request;
        self.next_request = self.next_request.wrapping_add(1).max(1);
        self.tell(
            vid,
            Status::Peer {
                request: Box::new(request),
                id,
                parent,
            },
        );
    }

    /// What a status asks for, if it can still be answered.
    pub(in crate::script) fn ask(&self, entry: &Queued) -> Option<Ask> {
        match &entry.status {
            Status::Peer { request, .. } => {
                let Object::Listener(listener) = self.objects.get(&entry.vid)? else {
                    return None;
                };
                let peer = Peer {
                    session: request.session,
                    name: listener.name.clone(),
                    key: request.key,
                    endpoint: request.endpoint,
                };
                Some(Ask::Peer {
                    listener: request.listener,
                    carries: request.carries,
                    peer: Rc::new(peer),
                })
            }
            Status::Said {
                event: External::SegmentRequest(request),
                ..
            } => {
                let segment = self.segment(entry.vid)?;
                Some(Ask::Channel {
                    link: segment.link,
                    parent: segment.address.segment()?,
                    cookie: request.id,
                    kind: request.kind,
                })
            }
            _ => None,
        }
    }
}
