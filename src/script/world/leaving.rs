//! What one process of a script leaves to the next.

use std::collections::VecDeque;

use super::World;
use crate::ipc::link::{self, Ends, PIECE};
use crate::ipc::script::{FromScript, ToScript};
use crate::ipc::{Carries, ListenerId, SegmentId};
use crate::script::status::Status;
use crate::script::vids::{Address, Object, Queued, Vid};

impl World {
    /// Takes out of the queue what waits for those who will be there for the next process; the rest is
    /// for nobody but this one.
    pub(in crate::script) fn set_aside(&mut self) -> VecDeque<Queued> {
        // What was kept for a task before the rest came is not overtaken.
        for vid in self.attended() {
            self.unfeed(vid);
        }
        let (aside, queue) = std::mem::take(&mut self.queue)
            .into_iter()
            .partition(|entry| self.stays(entry.vid));
        self.queue = queue;
        aside
    }

    /// Puts back what was set aside.
    pub(in crate::script) fn put_back(&mut self, mut aside: VecDeque<Queued>) {
        aside.append(&mut self.queue);
        self.queue = aside;
        for vid in self.attended() {
            self.feed(vid);
        }
    }

    fn attended(&self) -> Vec<Vid> {
        self.inboxes.keys().copied().collect()
    }

    /// Whether nothing is in the queue.
    pub(in crate::script) fn is_through(&self) -> bool {
        self.queue.is_empty()
    }

    fn stays(&self, vid: Vid) -> bool {
        match self.objects.get(&vid) {
            Some(Object::Segment(segment)) => {
                segment.address != Address::Gone && !self.connections.contains_key(&segment.link)
            }
            Some(Object::Listener(_) | Object::Call { .. }) => true,
            Some(Object::Dead { .. }) | None => false,
        }
    }

    /// Says what has waited to be said, and gives back what was not dispatched.
    pub(in crate::script) fn leave_behind(&mut self) {
        self.owed.clear();
        // What tasks have not heard is as good as what no callback has.
        for vid in self.attended() {
            self.unattend(vid);
        }
        let mut vids: Vec<Vid> = self.objects.keys().copied().collect();
        vids.sort();
        for &vid in &vids {
            let Some(segment) = self.segment_mut(vid) else {
                continue;
            };
            let Some(id) = segment.address.segment() else {
                continue;
            };
            let link = segment.link;
            let rest: Vec<_> = segment.out.leave().collect();
            let held = segment.held.take();
            let read = segment.reader.take().map(super::Reader::leave);
            let writable = segment.carries == Carries::Stream { writable: true };
            // What talks with it answers it, too.
            let unanswered = segment.unanswered.take().filter(|_| !segment.served);
            for say in rest {
                let rest = link::FromScript::Rest(Box::new(say.to(id)));
                self.outbox.link.push((link, rest));
            }
            if self.connections.contains_key(&link) {
                // The next process makes its own. What was said goes out before.
                let last_words = String::new();
                let close = link::FromScript::Close {
                    segment: id,
                    last_words,
                };
                self.outbox.link.push((link, close));
                continue;
            }
            if let Some(parts) = unanswered {
                self.return_to(link, id, Status::Parts(parts));
            }
            if let Some((bytes, ended)) = read {
                for piece in bytes.chunks(PIECE) {
                    let (bytes, ends) = (piece.to_vec(), Ends::Nothing);
                    let piece = link::ToScript::Piece {
                        segment: id,
                        bytes,
                        ends,
                    };
                    self.give_back(link, piece);
                }
                // Whoever has read all of it, and finished its own, has nothing to do about the end.
                if let Some(failed) = ended.filter(|_| writable || !bytes.is_empty()) {
                    let finished = link::ToScript::Finished {
                        segment: id,
                        failed,
                    };
                    self.give_back(link, finished);
                }
            }
            for entry in held.unwrap_or_default() {
                self.return_to(link, id, entry.status);
            }
        }
        for entry in std::mem::take(&mut self.queue) {
            match self.objects.get(&entry.vid) {
                Some(Object::Segment(segment)) => {
                    if let Some(id) = segment.address.segment() {
                        self.return_to(segment.link, id, entry.status);
                    }
                }
                Some(Object::Listener(listener)) => {
                    let back = returned(listener.id, entry.status);
                    let back = back.map(|back| FromScript::Back(Box::new(back)));
                    self.outbox.host.extend(back);
                }
                Some(Object::Call { .. } | Object::Dead { .. }) | None => {}
            }
        }
        for vid in vids {
            if let Some(segment) = self.segment_mut(vid)
                && let Some(id) = segment.address.segment()
            {
                let link = segment.link;
                for (bytes, ends) in segment.assembly.leave() {
                    let piece = link::ToScript::Piece {
                        segment: id,
                        bytes,
                        ends,
                    };
                    self.give_back(link, piece);
                }
            }
        }
    }

    fn return_to(&mut self, link: ListenerId, segment: SegmentId, status: Status) {
        let message = match status {
            Status::Said { event, .. } => link::ToScript::Event { segment, event },
            Status::Parts(parts) => {
                for (bytes, ends) in link::pieces(parts) {
                    let piece = link::ToScript::Piece {
                        segment,
                        bytes,
                        ends,
                    };
                    self.give_back(link, piece);
                }
                return;
            }
            Status::Data(Some(bytes)) => link::ToScript::Piece {
                segment,
                bytes,
                ends: Ends::Nothing,
            },
            Status::Exited(exit) => link::ToScript::Exited { segment, exit },
            Status::Eof { failed } => link::ToScript::Finished { segment, failed },
            Status::Frame(frame) => link::ToScript::Frame {
                segment,
                number: frame.number,
                at: frame.at,
                region: frame.region,
            },
            Status::Failure(_) => link::ToScript::Unsent { segment },
            // What tells of a state: the next one is told of it as it is then.
            _ => return,
        };
        self.give_back(link, message);
    }

    fn give_back(&mut self, link: ListenerId, message: link::ToScript) {
        let back = link::FromScript::Back(Box::new(message));
        self.outbox.link.push((link, back));
    }
}

/// What the host has said of a listener, as it has said it.
fn returned(listener: ListenerId, status: Status) -> Option<ToScript> {
    Some(match status {
        Status::Peer { request, .. } => ToScript::Request(*request),
        Status::Failure(message) => ToScript::Failure { listener, message },
        Status::Window {
            event,
            left,
            window,
            label,
        } => ToScript::Window {
            listener,
            event,
            left,
            window,
            label,
        },
        _ => return None,
    })
}
