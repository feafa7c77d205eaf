//! What the frameservers say, over their data links.
//!
//! A frameserver faces the network and may be in hostile hands: what it says about segments that
//! are not on its own link, or beyond its credit, is ignored.

use super::{Adoption, MAX_QUEUED, Opening, Route, Whole, World};
use crate::ipc::link::{self, Assembly, Ends, TooLarge};
use crate::ipc::script::FromScript;
use crate::ipc::{Carries, ListenerId, SegmentId};
use crate::script::status::{self, Frame, Resized, Status, is_network};
use crate::script::text::cut;
use crate::script::vids::{Address, Flags, Object, Queued, Segment, Stage, Vid};
use crate::wire::a12::event::External;

/// The most bytes of last words.
const LAST_WORDS: usize = 31;

/// The most segments that are offered for adoption at once.
const MAX_ADOPTIONS: usize = 4096;

impl World {
    /// The other end of a connection is not there any more.
    pub(super) fn lose(&mut self, vid: Vid) {
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        segment.out.pause();
        segment.assembly = Assembly::default();
        if let Carries::Stream { writable } = &mut segment.carries {
            // Nothing of a stream is for the next one.
            segment.out.discard();
            (*writable, segment.finished) = (true, false);
        }
        if let Some(id) = std::mem::replace(&mut segment.address, Address::Asked).segment() {
            self.routes.remove(&id);
            self.owed.remove(&id);
        }
    }

    /// A connection is up.
    fn connected(&mut self, link: ListenerId, id: SegmentId) {
        let Some(&vid) = self.connections.get(&link) else {
            // It was deleted before it was up.
            let last_words = String::new();
            let close = link::FromScript::Close {
                segment: id,
                last_words,
            };
            return self.outbox.link.push((link, close));
        };
        self.lose(vid);
        if self.routes.contains_key(&id) {
            return;
        }
        self.routes.insert(id, Route::Vid(vid));
        if let Some(segment) = self.segment_mut(vid) {
            segment.address = Address::Open(id);
            // What the old one has not been told was on its way may still be in the queue.
            segment.waiting = 0;
            for say in segment.out.restart() {
                self.outbox.link.push((link, say.to(id)));
            }
        }
        self.tell(vid, Status::Connected);
    }

    /// Takes what a frameserver says over the data link of this listener.
    pub(in crate::script) fn link(&mut self, link: ListenerId, message: link::ToScript) {
        use link::ToScript as From;
        match message {
            From::Held => {}
            From::Event { segment, event } => self.event(link, segment, event),
            From::Resized {
                segment,
                width,
                height,
                origin_ll,
                text,
            } => {
                let size = Resized {
                    width,
                    height,
                    origin_ll,
                    text,
                };
                self.resized(link, segment, size);
            }
            From::Piece {
                segment,
                bytes,
                ends,
            } => self.piece(link, segment, bytes, ends),
            From::Connected { segment } => self.connected(link, segment),
            From::Finished { segment, failed } => self.finished(link, segment, failed),
            From::Unsent { segment } => {
                if let Some(vid) = self.route(link, segment)
                    && self.queue.len() < MAX_QUEUED
                {
                    let why = "not sent: it is not this socket's turn".to_owned();
                    self.tell(vid, Status::Failure(why));
                }
            }
            From::Frame {
                segment,
                number,
                at,
                region,
            } => {
                let frame = Frame { number, at, region };
                self.frame(link, segment, frame);
            }
            From::Opened { segment, cookie } => self.opened(link, segment, cookie),
            From::OpenFailed { parent, cookie } => self.open_failed(link, parent, cookie),
            From::Credit { segment, events } => {
                if let Some(vid) = self.sign_of_life(link, segment)
                    && let Some(known) = self.segment_mut(vid)
                {
                    for say in known.out.credit(events) {
                        self.outbox.link.push((link, say.to(segment)));
                    }
                    self.drained(vid);
                }
            }
            From::Served { segment } => self.served(link, segment),
            From::Exited { segment, exit } => self.exited(link, segment, exit),
            From::Terminated {
                segment,
                last_words,
            } => self.terminated(link, segment, &last_words),
            From::Adopt {
                segment,
                kind,
                title,
                guid,
                carries,
                registered,
                active,
            } => {
                let known = self.survivors.get(&link);
                let Some(peer) = known.and_then(|known| known.get(&segment.session)).cloned()
                else {
                    return;
                };
                if self.adopting.len() >= MAX_ADOPTIONS
                    || self.routes.contains_key(&segment)
                    || is_network(kind)
                {
                    return;
                }
                let label = format!("adopted client \"{title}\"");
                let kind = status::foreign(carries).unwrap_or(kind);
                let object = Segment {
                    stage: match (registered, active) {
                        (_, true) => Stage::Active(kind),
                        (true, false) => Stage::Registered(kind),
                        (false, false) => Stage::Silent,
                    },
                    carries,
                    peer: Some(peer),
                    ..self.blank(link, Address::Open(segment), label)
                };
                if let Some(vid) = self.new_segment(object) {
                    self.routes.insert(segment, Route::Vid(vid));
                    self.adopting.push(Adoption {
                        vid,
                        segment,
                        link,
                        kind,
                        title,
                        guid,
                        parent: None,
                    });
                }
            }
        }
    }

    /// The data link is closed: all that it carried is gone.
    pub(in crate::script) fn link_closed(&mut self, link: ListenerId) {
        self.survivors.remove(&link);
        self.opening.retain(|opening| opening.link != link);
        self.routes
            .retain(|_, route| !matches!(route, Route::Doomed(by) if *by == link));
        let mut lost: Vec<Vid> = self
            .objects
            .iter()
            .filter(|(_, object)| matches!(object, Object::Segment(s) if s.link == link))
            .map(|(vid, _)| *vid)
            .collect();
        lost.sort();
        for vid in lost {
            self.gone(vid, "connection lost");
        }
    }

    /// The vid of a segment, if it is on this link.
    pub(super) fn route(&self, link: ListenerId, segment: SegmentId) -> Option<Vid> {
        match self.routes.get(&segment)? {
            Route::Vid(vid) => Some(*vid).filter(|vid| {
                self.segment(*vid)
                    .is_some_and(|segment| segment.link == link)
            }),
            Route::Doomed(_) => None,
        }
    }

    /// As [`World::route`]; and as the other end knows the segment, sends what waited for that.
    fn sign_of_life(&mut self, link: ListenerId, segment: SegmentId) -> Option<Vid> {
        if matches!(self.routes.get(&segment), Some(Route::Doomed(by)) if *by == link) {
            self.routes.remove(&segment);
            let last_words = String::new();
            self.outbox.link.push((
                link,
                link::FromScript::Close {
                    segment,
                    last_words,
                },
            ));
            return None;
        }
        let vid = self.route(link, segment)?;
        if let Some(Object::Segment(known)) = self.objects.get_mut(&vid)
            && matches!(known.address, Address::Expected(_))
        {
            known.address = Address::Open(segment);
            let (flags, early) = (known.flags, known.out.opened());
            if flags != Flags::default() {
                self.send_flags(link, segment, flags);
            }
            for say in early {
                self.outbox.link.push((link, say.to(segment)));
            }
        }
        Some(vid)
    }

    fn event(&mut self, link: ListenerId, id: SegmentId, event: External) {
        let Some(vid) = self.sign_of_life(link, id) else {
            return;
        };
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        if segment.waiting >= link::credit(segment.carries) {
            return;
        }
        let silent = segment.stage == Stage::Silent;
        match event {
            External::Register { kind, .. } if is_network(kind) => self.owe(id, link, 1),
            External::Register { title, kind, guid } => {
                segment.waiting += 1;
                // What it is does not change; what it is called may.
                let kind = match segment.stage {
                    Stage::Silent => {
                        segment.stage = Stage::Registered(kind);
                        kind
                    }
                    Stage::Registered(kind) | Stage::Prerolled(kind) | Stage::Active(kind) => kind,
                };
                let early = segment.picture.waits();
                self.queue.push_back(Queued {
                    vid,
                    status: Status::Registered { kind, title, guid },
                    cost: 1,
                });
                if silent {
                    self.tell(vid, Status::Preroll(kind));
                    self.tell(vid, Status::Privdrop);
                    if let Some(size) = early {
                        self.tell(vid, Status::Resized(size));
                    }
                }
            }
            // Before it has said what it is, and what scripts are never told.
            _ if silent => self.owe(id, link, 1),
            External::FrameStatus { .. }
            | External::FlushAudio
            | External::ClockRequest { .. }
            | External::CoreOption { kind: 4.., .. } => self.owe(id, link, 1),
            event => {
                match &event {
                    External::InputMask { device, types } => segment.masked = (*device, *types),
                    External::Content(content) => {
                        let [width, height] = content.cell;
                        segment.cell = (width, height);
                    }
                    _ => {}
                }
                let whole = match &event {
                    External::Message(text) if !text.multipart && segment.joined.begins() => {
                        Whole::Itself
                    }
                    External::Message(text) => {
                        segment.joined.push(text.text.as_bytes(), text.multipart)
                    }
                    External::Fragment { bytes, multipart } => {
                        segment.joined.push(bytes, *multipart)
                    }
                    _ => Whole::Part,
                };
                segment.waiting += 1;
                let cookie = segment.cookie;
                self.queue.push_back(Queued {
                    vid,
                    status: Status::Said {
                        event,
                        cookie,
                        whole,
                    },
                    cost: 1,
                });
            }
        }
    }

    fn resized(&mut self, link: ListenerId, id: SegmentId, size: Resized) {
        let Some(vid) = self.sign_of_life(link, id) else {
            return;
        };
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        if segment.picture.resized(size) && segment.stage != Stage::Silent {
            self.tell(vid, Status::Resized(size));
        }
    }

    fn piece(&mut self, link: ListenerId, id: SegmentId, bytes: Vec<u8>, ends: Ends) {
        let Some(vid) = self.sign_of_life(link, id) else {
            return;
        };
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        if segment.waiting >= link::credit(segment.carries) {
            return;
        }
        let most = match segment.carries {
            Carries::Messages { most, .. } => most,
            Carries::Stream { .. } => return self.data(vid, bytes),
            Carries::Events => return,
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        match segment.assembly.take(bytes, ends, most) {
            Ok(Some(parts)) => {
                let cost = link::cost(parts.iter().map(|part| part.len() + link::PART).sum());
                segment.waiting += cost;
                self.queue.push_back(Queued {
                    vid,
                    status: Status::Parts(parts),
                    cost,
                });
            }
            Ok(None) => {}
            // A frameserver knows how large a message may be.
            Err(TooLarge) => self.end(vid, "message too large"),
        }
    }

    fn frame(&mut self, link: ListenerId, id: SegmentId, frame: Frame) {
        let Some(vid) = self.sign_of_life(link, id) else {
            return;
        };
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        if segment.waiting >= link::credit(segment.carries) {
            return;
        }
        if segment.stage == Stage::Silent {
            self.owe(id, link, 1);
            return;
        }
        segment.waiting += 1;
        segment.picture.framed();
        self.queue.push_back(Queued {
            vid,
            status: Status::Frame(frame),
            cost: 1,
        });
    }

    fn opened(&mut self, link: ListenerId, id: SegmentId, cookie: u32) {
        let wanted = |opening: &Opening| {
            opening.link == link && opening.session == id.session && opening.cookie == cookie
        };
        let Some(at) = self.opening.iter().position(wanted) else {
            return;
        };
        if self.routes.contains_key(&id) {
            return;
        }
        let opening = self.opening.remove(at);
        let vid = opening.vid.filter(|vid| self.segment(*vid).is_some());
        match vid {
            Some(vid) => {
                self.routes.insert(id, Route::Vid(vid));
                if let Some(segment) = self.segment_mut(vid) {
                    segment.address = Address::Expected(id);
                }
            }
            None => {
                self.routes.insert(id, Route::Doomed(link));
            }
        }
        self.sign_of_life(link, id);
    }

    fn open_failed(&mut self, link: ListenerId, parent: SegmentId, cookie: u32) {
        let wanted = |opening: &Opening| {
            opening.link == link && opening.parent == parent && opening.cookie == cookie
        };
        if let Some(at) = self.opening.iter().position(wanted)
            && let Some(vid) = self.opening.remove(at).vid
        {
            self.gone(vid, "no channel is free");
        }
    }

    fn terminated(&mut self, link: ListenerId, id: SegmentId, last_words: &str) {
        match self.routes.get(&id) {
            Some(Route::Doomed(by)) if *by == link => {
                self.routes.remove(&id);
            }
            Some(Route::Doomed(_)) | None => {}
            Some(Route::Vid(_)) => {
                if let Some(vid) = self.route(link, id) {
                    match self.connections.contains_key(&link) {
                        true if self.is_complete(vid) => {
                            self.connections.remove(&link);
                            self.outbox.host.push(FromScript::Unlisten(link));
                            self.gone(vid, last_words);
                        }
                        // The host says whether it is tried again.
                        true => self.lose(vid),
                        false => self.gone(vid, last_words),
                    }
                }
            }
        }
    }

    /// Whether both directions of its stream have come to their end.
    fn is_complete(&self, vid: Vid) -> bool {
        self.segment(vid).is_some_and(|segment| {
            segment.finished && segment.carries == Carries::Stream { writable: false }
        })
    }

    /// The other end has forgotten a segment.
    pub(super) fn gone(&mut self, vid: Vid, last_words: &str) {
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        let address = std::mem::replace(&mut segment.address, Address::Gone);
        if address == Address::Gone {
            return;
        }
        if let Some(id) = address.segment() {
            self.routes.remove(&id);
            self.owed.remove(&id);
        }
        self.tell(vid, Status::Terminated(words(last_words)));
    }
}

/// Last words, as many as are told.
pub(super) fn words(text: &str) -> String {
    cut(text.trim_end(), LAST_WORDS).to_owned()
}
