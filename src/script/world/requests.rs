//! Requests: what may be accepted while a callback runs, and what is answered when it returns.

use std::rc::Rc;

use super::{Opening, Route, World};
use crate::ipc::link;
use crate::ipc::script::{FromScript, Peer};
use crate::ipc::{Carries, ListenerId, SegmentId};
use crate::script::status::segkind;
use crate::script::vids::{Address, Object, Say, Segment, Vid};
use crate::wire::a12::event::{SegmentKind, Target};

/// The request that the running callback may accept.
#[derive(Debug)]
pub(super) struct Pending {
    source: Vid,
    ask: Ask,
    pub(super) accepted: Option<Vid>,
    /// A task that has to do with it has failed.
    failed: bool,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(in crate::script) enum Ask {
    /// A proved peer, by a listener.
    Peer {
        listener: ListenerId,
        carries: Carries,
        peer: Rc<Peer>,
    },
    /// One more segment, by a segment.
    Channel {
        link: ListenerId,
        parent: SegmentId,
        cookie: u32,
        kind: SegmentKind,
    },
}

/// Why accept_target was out of place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::script) enum NotNow {
    /// No request is pending.
    NoRequest,
    /// It has been accepted already.
    Twice,
}

impl World {
    /// The callback of a request is about to run.
    pub(in crate::script) fn offer(&mut self, source: Vid, ask: Ask) {
        self.pending = Some(Pending {
            source,
            ask,
            accepted: None,
            failed: false,
        });
    }

    /// accept_target: the new vid, or none if it cannot be had.
    pub(in crate::script) fn accept(&mut self) -> Result<Option<(Vid, u32)>, NotNow> {
        let pending = self.pending.as_ref().ok_or(NotNow::NoRequest)?;
        if pending.accepted.is_some() {
            return Err(NotNow::Twice);
        }
        let source = pending.source;
        let segment = match (self.objects.get(&source), &pending.ask) {
            (
                Some(Object::Listener(_)),
                Ask::Peer {
                    listener,
                    carries,
                    peer,
                },
            ) => {
                let id = SegmentId {
                    session: peer.session,
                    channel: 0,
                };
                let label = format!("client of \"{}\" from {}", peer.name, peer.endpoint);
                Segment {
                    carries: *carries,
                    peer: Some(Rc::clone(peer)),
                    ..self.blank(*listener, Address::Expected(id), label)
                }
            }
            (Some(Object::Segment(parent)), Ask::Channel { link, kind, .. }) => {
                let label = format!("{} of {}", segkind(*kind), parent.label);
                Segment {
                    parent: Some(source),
                    peer: parent.peer.clone(),
                    ..self.blank(*link, Address::Asked, label)
                }
            }
            _ => return Ok(None),
        };
        let (cookie, address) = (segment.cookie, segment.address);
        let Some(vid) = self.new_segment(segment) else {
            return Ok(None);
        };
        if let Some(id) = address.segment() {
            self.routes.insert(id, Route::Vid(vid));
        }
        if let Some(pending) = &mut self.pending {
            pending.accepted = Some(vid);
            if let Ask::Channel { .. } = pending.ask {
                self.children.entry(source).or_default().push(vid);
            }
        }
        Ok(Some((vid, cookie)))
    }

    /// Whether the running callback was called with a request of this vid that is not accepted yet.
    pub(in crate::script) fn asks(&self, vid: Vid) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.source == vid && pending.accepted.is_none())
    }

    /// What belongs to this vid has failed: a request of its own that is being decided is denied,
    /// and so is one for which it was accepted. Says whether that is all there is to be done.
    pub(in crate::script) fn deny(&mut self, vid: Vid) -> bool {
        let Some(pending) = &mut self.pending else {
            return false;
        };
        let (asks, accepted) = (pending.source == vid, pending.accepted == Some(vid));
        pending.failed |= asks || accepted;
        accepted || (asks && self.segment(vid).is_none())
    }

    /// The callback of a request has returned, well or not: answers the request. Gives back what
    /// was accepted and is denied after all.
    pub(in crate::script) fn settle(&mut self, well: bool) -> Option<Vid> {
        let pending = self.pending.take()?;
        let vid = pending.accepted.filter(|vid| self.segment(*vid).is_some());
        let accept = vid.filter(|_| well && !pending.failed);
        match pending.ask {
            Ask::Peer { listener, peer, .. } => {
                let session = peer.session;
                // A listener that the same callback has deleted turns away whoever is not decided
                // on, so the decision comes first.
                let host = &mut self.outbox.host;
                let ended = host
                    .iter()
                    .position(|said| matches!(said, FromScript::Unlisten(id) if *id == listener));
                let decision = FromScript::Decide {
                    session,
                    accept: accept.is_some(),
                };
                host.insert(ended.unwrap_or(host.len()), decision);
                match accept {
                    Some(vid) => self.greet(vid),
                    None => drop(self.routes.remove(&SegmentId {
                        session,
                        channel: 0,
                    })),
                }
            }
            Ask::Channel {
                link,
                parent,
                cookie,
                kind,
            } => match accept {
                Some(vid) => {
                    self.opening.push(Opening {
                        link,
                        session: parent.session,
                        parent,
                        cookie,
                        vid: Some(vid),
                    });
                    self.outbox.link.push((
                        link,
                        link::FromScript::Open {
                            parent,
                            cookie,
                            kind,
                        },
                    ));
                }
                None => self.insist(pending.source, Say::Target(Target::RequestFailed(cookie))),
            },
        }
        let denied = vid.filter(|_| accept.is_none())?;
        self.objects.remove(&denied);
        self.close_inbox(denied);
        self.leave_parent(denied, Some(pending.source));
        Some(denied)
    }
}
