//! What waits to be told to the script.

use super::{Adoption, World};
use crate::ipc::link;
use crate::ipc::script::FromScript;
use crate::ipc::{Carries, ListenerId, SegmentId};
use crate::script::status::Status;
use crate::script::vids::{Object, Queued, Say, Stage, Vid};
use crate::wire::a12::event::Target;
use crate::wire::zmtp::SocketType;

impl World {
    /// The next status to dispatch.
    pub(in crate::script) fn next(&mut self) -> Option<Queued> {
        loop {
            let entry = self.queue.pop_front()?;
            if !self.objects.contains_key(&entry.vid) {
                self.discard(&entry);
                continue;
            }
            let Some(mut entry) = self.sort_in(entry) else {
                continue;
            };
            let Some(object) = self.objects.get_mut(&entry.vid) else {
                continue;
            };
            let Object::Segment(segment) = object else {
                if matches!(object, Object::Dead { .. }) {
                    self.discard(&entry);
                    continue;
                }
                self.was_heard(entry.vid);
                return Some(entry);
            };
            if let Some(held) = &mut segment.held {
                let last = matches!(entry.status, Status::Terminated(_));
                held.push_back(entry);
                if last {
                    let vid = held.back().map_or(Vid::BAD, |entry| entry.vid);
                    self.release(vid);
                }
                continue;
            }
            let shown = match &entry.status {
                Status::Resized(_) => {
                    let status = segment.picture.turn();
                    status.map(|status| entry.status = status).is_some()
                }
                Status::Frame(_) => segment.flags.verbose && segment.picture.is_shown(),
                _ => true,
            };
            // What a stream object has too much of is paid for when it is read.
            let kept = match (&mut entry.status, &mut segment.reader) {
                (Status::Data(data), Some(reader)) => reader.take(data.take()),
                (Status::Eof { failed }, Some(reader)) => reader.end(*failed),
                (Status::Disconnected { .. }, Some(reader)) => reader.end(true),
                // What was not read of the stream before is of no stream any more.
                (Status::Connected, Some(reader)) => reader.begin(),
                _ => false,
            };
            if let (Status::Parts(parts), true) = (&entry.status, is_replier(segment.carries)) {
                segment.unanswered = Some(parts.clone());
            }
            if entry.cost > 0 {
                segment.waiting = segment.waiting.saturating_sub(entry.cost);
                if let Some(id) = segment.address.segment().filter(|_| !kept) {
                    let link = segment.link;
                    self.owe(id, link, entry.cost);
                }
            }
            if shown {
                self.was_heard(entry.vid);
                return Some(entry);
            }
            self.was_passed(entry.vid);
        }
    }

    /// A status that nobody is there for any more.
    pub(super) fn discard(&mut self, entry: &Queued) {
        if let Status::Peer { request, .. } = &entry.status {
            self.outbox.host.push(FromScript::Decide {
                session: request.session,
                accept: false,
            });
        }
    }

    pub(super) fn owe(&mut self, segment: SegmentId, link: ListenerId, cost: u32) {
        let (_, owed) = self.owed.entry(segment).or_insert((link, 0));
        *owed = owed.saturating_add(cost);
    }

    /// Hands back the credit of what has been dispatched.
    pub(in crate::script) fn pay(&mut self) {
        for (segment, (link, events)) in std::mem::take(&mut self.owed) {
            if self.routes.contains_key(&segment) {
                self.outbox
                    .link
                    .push((link, link::FromScript::Credit { segment, events }));
            }
        }
    }

    /// Whether a status waits that can be dispatched, or an adoption.
    pub(in crate::script) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.adopting.is_empty()
    }

    /// Whether something waits for the next tick.
    pub(in crate::script) fn waits_for_tick(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// What has survived, primary segments first.
    pub(in crate::script) fn adoptions(&mut self) -> Vec<Adoption> {
        let mut all = std::mem::take(&mut self.adopting);
        all.sort_by_key(|adoption| adoption.segment.channel != 0);
        for adoption in &mut all {
            if adoption.segment.channel != 0 {
                let primary = SegmentId {
                    channel: 0,
                    ..adoption.segment
                };
                adoption.parent = self.route(adoption.link, primary);
                if let Some(segment) = self.segment_mut(adoption.vid) {
                    segment.parent = adoption.parent;
                }
                if let Some(parent) = adoption.parent {
                    self.children.entry(parent).or_default().push(adoption.vid);
                }
            }
        }
        all
    }

    /// NAME_adopt said true: it goes on, without a handler as yet.
    pub(in crate::script) fn adopt(&mut self, adoption: Adoption) {
        let Adoption {
            vid,
            kind,
            title,
            guid,
            ..
        } = adoption;
        let stage = self.segment(vid).map(|segment| segment.stage);
        let mut told = Vec::new();
        match stage {
            // It has not said yet what it is.
            None | Some(Stage::Silent) => return,
            Some(Stage::Registered(kind)) => told.push(Status::Preroll(kind)),
            Some(_) => self.insist(vid, Say::Target(Target::Reset(2))),
        }
        told.push(Status::Registered { kind, title, guid });
        for status in told {
            self.queue.push_front(Queued {
                vid,
                status,
                cost: 0,
            });
        }
    }
}

/// Whether a client waits for the answer to each of its messages.
fn is_replier(carries: Carries) -> bool {
    let Carries::Messages { socket, .. } = carries else {
        return false;
    };
    socket == SocketType::Rep
}
