//! What a script has: its listeners and segments, what waits to be told to it, and what it has
//! said. No Lua here.

mod endings;
mod flags;
mod host;
mod inbound;
mod inbox;
mod joined;
mod leaving;
mod listeners;
mod permitted;
mod queue;
mod requests;
mod segments;
mod streams;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;

use inbox::Inbox;
pub(super) use inbox::Over;
pub(super) use joined::{Joined, MAX_WHOLE, Whole};
pub(super) use permitted::NoProgram;
pub(super) use requests::{Ask, NotNow};
pub(super) use streams::{Reader, Want};

use super::status::Status;
use super::vids::{Full, Object, Queued, Segment, Vid};
use crate::ipc::link;
use crate::ipc::script::{FromScript, Peer, WindowStatus};
use crate::ipc::{ListenerId, SegmentId, SessionId};
use crate::wire::a12::event::SegmentKind;
use crate::wire::zmtp::SocketType;

/// The most vids of a script; Arcan has a bound of this order.
const MAX_OBJECTS: usize = 65_000;

/// The most vids that have ended and that the script has not deleted; the oldest are forgotten.
const MAX_DEAD: usize = 10_000;

/// As much may wait to be told to the host before a script has to let it be told.
const MAX_SAID: usize = 10_000;

/// With so much waiting to be told to the script, it makes itself nothing more to hear.
const MAX_QUEUED: usize = 10_000;

/// So many deletions are remembered, to tell of a vid that is used afterwards.
const MAX_DELETED: usize = 1000;

/// The most listeners of a script.
const MAX_LISTENERS: usize = 256;

/// What a script has said, in order, to be sent.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To the host.
    pub host: Vec<FromScript>,
    /// To frameservers, by the listener whose data link it goes over.
    pub link: Vec<(ListenerId, link::FromScript)>,
}

/// Who gets what comes for a segment.
#[derive(Debug, Clone, Copy)]
enum Route {
    Vid(Vid),
    /// Deleted before the other end of this link knew it: to be closed at the first sign of life.
    Doomed(ListenerId),
}

/// A channel that has been asked for; no vid: it is not wanted any more.
#[derive(Debug)]
struct Opening {
    link: ListenerId,
    session: SessionId,
    parent: SegmentId,
    cookie: u32,
    vid: Option<Vid>,
}

/// A segment that has survived its script.
#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) vid: Vid,
    segment: SegmentId,
    link: ListenerId,
    pub(super) kind: SegmentKind,
    pub(super) title: String,
    pub(super) guid: [u64; 2],
    pub(super) parent: Option<Vid>,
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unsent {
    /// There is no such peer any more.
    Gone,
    /// As many wait for the peer as may.
    Full,
    /// Something else goes over this segment.
    NoMessages,
    /// Our stream has been finished.
    Finished,
    /// A program writes it.
    Served,
    /// Our socket does not send.
    OneWay(SocketType),
    /// It has too many bytes.
    TooLarge { bytes: usize, most: u32 },
}

impl From<Full> for Unsent {
    fn from(Full: Full) -> Self {
        Self::Full
    }
}

/// There is no such vid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoSuch;

/// What a script has.
#[derive(Debug)]
pub(super) struct World {
    objects: HashMap<Vid, Object>,
    /// Subsegments, by parent.
    children: HashMap<Vid, Vec<Vid>>,
    /// What has ended, in that order; some of it may be deleted.
    dead: VecDeque<Vid>,
    /// Where vids were deleted, lately: `file:line`.
    deleted: VecDeque<(Vid, String)>,
    next_vid: u32,
    next_listener: u32,
    next_request: u32,
    listeners: HashMap<ListenerId, Vid>,
    /// What was asked for with moonport.connect.
    connections: HashMap<ListenerId, Vid>,
    /// The windows of their names, as the host has told them.
    windows: HashMap<ListenerId, Vec<WindowStatus>>,
    routes: HashMap<SegmentId, Route>,
    opening: Vec<Opening>,
    queue: VecDeque<Queued>,
    /// Of what tasks listen to.
    inboxes: HashMap<Vid, Inbox>,
    pending: Option<requests::Pending>,
    adopting: Vec<Adoption>,
    /// Calls that the host has not answered.
    wishes: BTreeSet<Vid>,
    /// The sessions that the host knows of on links that were there before this process.
    survivors: BTreeMap<ListenerId, BTreeMap<SessionId, Rc<Peer>>>,
    /// Subsegments whose parent has died; they follow at the next tick.
    orphans: Vec<Vid>,
    owed: BTreeMap<SegmentId, (ListenerId, u32)>,
    random: fn(&mut [u8]),
    pub(super) outbox: Outbox,
}

impl World {
    pub(super) fn new(random: fn(&mut [u8])) -> Self {
        let mut base = [0; 2];
        random(&mut base);
        Self {
            objects: HashMap::new(),
            children: HashMap::new(),
            dead: VecDeque::new(),
            deleted: VecDeque::new(),
            next_vid: 256 + u32::from(u16::from_le_bytes(base)) % 32_768,
            next_listener: 1,
            next_request: 1,
            listeners: HashMap::new(),
            connections: HashMap::new(),
            windows: HashMap::new(),
            routes: HashMap::new(),
            opening: Vec::new(),
            queue: VecDeque::new(),
            inboxes: HashMap::new(),
            pending: None,
            adopting: Vec::new(),
            wishes: BTreeSet::new(),
            survivors: BTreeMap::new(),
            orphans: Vec::new(),
            owed: BTreeMap::new(),
            random,
            outbox: Outbox::default(),
        }
    }

    pub(super) fn object(&self, vid: Vid) -> Option<&Object> {
        self.objects.get(&vid)
    }

    /// The segment, if it is one and alive.
    pub(super) fn segment(&self, vid: Vid) -> Option<&Segment> {
        match self.objects.get(&vid) {
            Some(Object::Segment(segment)) => Some(segment),
            _ => None,
        }
    }

    pub(super) fn segment_mut(&mut self, vid: Vid) -> Option<&mut Segment> {
        match self.objects.get_mut(&vid) {
            Some(Object::Segment(segment)) => Some(segment),
            _ => None,
        }
    }

    /// What to call a vid in reports.
    pub(super) fn label(&self, vid: Vid) -> String {
        match self.objects.get(&vid) {
            Some(Object::Listener(listener)) => {
                format!("listener \"{}\" ({})", listener.name, listener.place)
            }
            Some(Object::Segment(segment)) => segment.label.clone(),
            Some(Object::Call { label, .. }) => label.clone(),
            Some(Object::Dead { label, .. }) => format!("{label}, which has ended"),
            None => format!("vid {}", vid.number()),
        }
    }

    fn cookie(&self) -> u32 {
        let mut bytes = [0; 4];
        (self.random)(&mut bytes);
        u32::from_le_bytes(bytes).max(1)
    }

    fn add(&mut self, object: Object) -> Option<Vid> {
        if self.objects.len() >= MAX_OBJECTS {
            return None;
        }
        let vid = Vid::new(self.next_vid);
        self.next_vid = self.next_vid.checked_add(1)?;
        self.objects.insert(vid, object);
        Some(vid)
    }

    fn tell(&mut self, vid: Vid, status: Status) {
        self.queue.push_back(Queued {
            vid,
            status,
            cost: 0,
        });
    }
}

#[cfg(test)]
mod tests;
