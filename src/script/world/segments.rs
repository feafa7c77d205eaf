//! Segments: what is said to them, and how they begin and pause.

use std::rc::Rc;

use super::{Joined, Unsent, World};
use crate::ipc::link::Assembly;
use crate::ipc::script::Peer;
use crate::ipc::{Carries, ListenerId};
use crate::script::picture::Picture;
use crate::script::status::{self, Status};
use crate::script::vids::{Address, Flags, Full, Object, Outgoing, Say, Segment, Stage, Vid};
use crate::wire::a12::event::Target;

impl World {
    pub(super) fn new_segment(&mut self, segment: Segment) -> Option<Vid> {
        self.add(Object::Segment(Box::new(segment)))
    }

    pub(super) fn blank(&self, link: ListenerId, address: Address, label: String) -> Segment {
        Segment {
            link,
            address,
            parent: None,
            peer: None,
            cookie: self.cookie(),
            label,
            stage: Stage::Silent,
            hold: false,
            held: None,
            flags: Flags::default(),
            picture: Picture::default(),
            carries: Carries::Events,
            assembly: Assembly::default(),
            unanswered: None,
            joined: Joined::default(),
            reader: None,
            finished: false,
            served: false,
            out: Outgoing::new(),
            waiting: 0,
            masked: (0, 0),
            cell: (0, 0),
        }
    }

    /// Who the client is that has this segment.
    pub(in crate::script) fn peer(&self, vid: Vid) -> Option<Rc<Peer>> {
        match self.objects.get(&vid)? {
            Object::Segment(segment) => segment.peer.clone(),
            Object::Dead { peer, .. } => peer.clone(),
            Object::Listener(_) | Object::Call { .. } => None,
        }
    }

    /// Says something to a client that may be refused when its queue is full.
    pub(in crate::script) fn say(&mut self, vid: Vid, say: Say) -> Result<(), Full> {
        let Some(Object::Segment(segment)) = self.objects.get_mut(&vid) else {
            return Ok(());
        };
        if segment.carries != Carries::Events {
            return Ok(());
        }
        let open = matches!(segment.address, Address::Open(_));
        if let (Some(say), Address::Open(id)) = (segment.out.offer(open, say)?, segment.address) {
            self.outbox.link.push((segment.link, say.to(id)));
        }
        Ok(())
    }

    /// Says a text in messages, all of them or none.
    pub(in crate::script) fn tell_whole(
        &mut self,
        vid: Vid,
        messages: Vec<Target>,
    ) -> Result<(), Full> {
        let Some(Object::Segment(segment)) = self.objects.get_mut(&vid) else {
            return Ok(());
        };
        if segment.carries != Carries::Events {
            return Ok(());
        }
        let open = matches!(segment.address, Address::Open(_));
        let says = messages.into_iter().map(Say::Target).collect();
        let now = segment.out.text(open, says)?;
        if let Address::Open(id) = segment.address {
            let said = now.into_iter().map(|say| (segment.link, say.to(id)));
            self.outbox.link.extend(said);
        }
        Ok(())
    }

    /// Says something that must not be lost; a client that has stopped reading is ended.
    pub(in crate::script) fn insist(&mut self, vid: Vid, say: Say) {
        let Some(Object::Segment(segment)) = self.objects.get_mut(&vid) else {
            return;
        };
        if segment.carries != Carries::Events {
            return;
        }
        let open = matches!(segment.address, Address::Open(_));
        match segment.out.insist(open, say) {
            Ok(Some(say)) => {
                if let Address::Open(id) = segment.address {
                    self.outbox.link.push((segment.link, say.to(id)));
                }
            }
            Ok(None) => {}
            Err(Full) => self.end(vid, "client does not read"),
        }
    }

    /// Sends a message of parts to a peer that takes such.
    pub(in crate::script) fn send(&mut self, vid: Vid, parts: Vec<Vec<u8>>) -> Result<(), Unsent> {
        let Some(Object::Segment(segment)) = self.objects.get_mut(&vid) else {
            return Err(Unsent::Gone);
        };
        let Carries::Messages {
            socket,
            most,
            high_water,
        } = segment.carries
        else {
            return Err(Unsent::NoMessages);
        };
        if !socket.sends() {
            return Err(Unsent::OneWay(socket));
        }
        let bytes: usize = parts.iter().map(Vec::len).sum();
        if u32::try_from(bytes).map_or(true, |bytes| bytes > most) {
            return Err(Unsent::TooLarge { bytes, most });
        }
        let (link, address) = (segment.link, segment.address);
        if address == Address::Gone {
            return Err(Unsent::Gone);
        }
        let now = segment.out.message(parts, high_water)?;
        segment.unanswered = None;
        if let Address::Open(id) = address {
            let said = now.into_iter().map(|say| (link, say.to(id)));
            self.outbox.link.extend(said);
        }
        Ok(())
    }

    /// A peer without events of Arcan's is there as soon as the script has taken it.
    pub(in crate::script) fn greet(&mut self, vid: Vid) {
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        let (Some(kind), Address::Expected(id)) =
            (status::foreign(segment.carries), segment.address)
        else {
            return;
        };
        segment.address = Address::Open(id);
        segment.stage = Stage::Registered(kind);
        let flags = segment.flags;
        if flags != Flags::default() {
            let link = segment.link;
            self.send_flags(link, id, flags);
        }
        self.tell(
            vid,
            Status::Registered {
                kind,
                title: String::new(),
                guid: [0; 2],
            },
        );
        self.tell(vid, Status::Preroll(kind));
    }

    /// The `preroll` callback has returned.
    pub(in crate::script) fn prerolled(&mut self, vid: Vid) {
        if let Some(segment) = self.segment_mut(vid)
            && segment.address != Address::Gone
            && let Stage::Registered(kind) = segment.stage
        {
            segment.stage = Stage::Prerolled(kind);
            self.activate(vid);
        }
    }

    pub(super) fn activate(&mut self, vid: Vid) {
        if let Some(segment) = self.segment_mut(vid)
            && let Stage::Prerolled(kind) = segment.stage
            && !segment.hold
        {
            segment.stage = Stage::Active(kind);
            self.insist(vid, Say::Target(Target::Activate));
        }
    }

    /// Holds back ACTIVATE, or pauses the client and, unless `soft`, its events.
    pub(in crate::script) fn suspend(&mut self, vid: Vid, soft: bool) {
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        if !matches!(segment.stage, Stage::Active(_)) {
            segment.hold = true;
            return;
        }
        if !soft {
            segment.held.get_or_insert_default();
        }
        self.insist(vid, Say::Target(Target::Pause));
    }

    /// Undoes [`World::suspend`].
    pub(in crate::script) fn resume(&mut self, vid: Vid, soft: bool) {
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        if !matches!(segment.stage, Stage::Active(_)) {
            segment.hold = false;
            self.activate(vid);
            return;
        }
        if !soft {
            self.release(vid);
        }
        self.insist(vid, Say::Target(Target::Unpause));
    }

    /// Puts what a suspended segment's events have waited for before the rest.
    pub(super) fn release(&mut self, vid: Vid) {
        if let Some(segment) = self.segment_mut(vid)
            && let Some(held) = segment.held.take()
        {
            for entry in held.into_iter().rev() {
                self.queue.push_front(entry);
            }
            self.feed(vid);
        }
    }
}
