//! What a script has: its listeners and segments, what waits to be told to it, and what it has
//! said. No Lua here.

mod endings;
mod flags;
mod inbound;
mod permitted;
mod requests;
mod streams;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use identity::{Name, PublicKey, Secret};

pub(super) use permitted::NoProgram;
pub(super) use requests::{Ask, NotNow};
pub(super) use streams::{Reader, Want};

use super::picture::Picture;
use super::status::{self, Status};
use super::vids::{
    Address, Flags, Full, Listener, Object, Outgoing, Queued, Say, Segment, Stage, Vid,
};
use crate::ipc::link;
use crate::ipc::link::Assembly;
use crate::ipc::script::{Connect, FromScript, Listen, Wanted, WindowStatus};
use crate::ipc::{Carries, ConnectOptions, ListenerId, Options, Scheme, SegmentId, SessionId};
use crate::wire::a12::event::{SegmentKind, Target};
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
    pending: Option<requests::Pending>,
    adopting: Vec<Adoption>,
    /// Calls that the host has not answered.
    wishes: BTreeSet<Vid>,
    /// The sessions that the host knows of on links that were there before this process.
    survivors: BTreeMap<ListenerId, BTreeSet<SessionId>>,
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

    // ---- listeners

    /// Asks the host for a listener.
    pub(super) fn listen(
        &mut self,
        name: Name,
        interface: String,
        port: u16,
        options: Options,
        place: String,
    ) -> Option<Vid> {
        if self.listeners.len() >= MAX_LISTENERS || self.outbox.host.len() >= MAX_SAID {
            return None;
        }
        let id = ListenerId(self.next_listener);
        let vid = self.add(Object::Listener(Listener {
            id,
            name: name.clone(),
            has_secrets: Scheme::of(&interface).0.is_ok_and(Scheme::has_secrets),
            place: place.clone(),
            cookie: self.cookie(),
        }))?;
        self.next_listener += 1;
        self.listeners.insert(id, vid);
        self.outbox.host.push(FromScript::Listen(Listen {
            listener: id,
            name,
            interface,
            port,
            options,
            place,
        }));
        self.tell(vid, Status::Preroll(status::NETWORK_SERVER));
        Some(vid)
    }

    /// Sets the listener's secret; `num:secret` with a mistake in it is told as a `failure`.
    pub(super) fn secret(&mut self, vid: Vid, text: &[u8]) -> Result<(), String> {
        let Some(Object::Listener(Listener {
            id, has_secrets, ..
        })) = self.objects.get(&vid)
        else {
            return Err("secret: this is no listener".to_owned());
        };
        if !has_secrets {
            return Err("secret: clients of this protocol have no field for one".to_owned());
        }
        if self.outbox.host.len() >= MAX_SAID || self.queue.len() >= MAX_QUEUED {
            return Err("secret: too many in one call".to_owned());
        }
        match parse_secret(text) {
            Ok((count, secret)) => {
                self.outbox.host.push(FromScript::Secret(Wanted {
                    listener: *id,
                    secret,
                    required: true,
                    count,
                    seconds: None,
                }));
                Ok(())
            }
            Err(message) => {
                self.tell(vid, Status::Failure(message.clone()));
                Err(message)
            }
        }
    }

    /// The windows of a listener's name.
    pub(super) fn windows(&self, listener: ListenerId) -> &[WindowStatus] {
        self.windows.get(&listener).map_or(&[], Vec::as_slice)
    }

    // ---- connections

    /// Asks the host for a connection to a server.
    pub(super) fn connect(
        &mut self,
        (host, port): (String, u16),
        server: PublicKey,
        options: ConnectOptions,
        place: String,
    ) -> Option<Vid> {
        if self.connections.len() >= MAX_LISTENERS || self.outbox.host.len() >= MAX_SAID {
            return None;
        }
        let id = ListenerId(self.next_listener);
        let label = format!("connection to {host}:{port} ({place})");
        let carries = options.carries();
        let kind = status::foreign(carries).unwrap_or(status::MESSAGES);
        let mut segment = Segment {
            carries,
            stage: Stage::Active(kind),
            ..self.blank(id, Address::Asked, label)
        };
        segment.out.pause();
        let vid = self.new_segment(segment)?;
        self.next_listener += 1;
        self.connections.insert(id, vid);
        self.outbox.host.push(FromScript::Connect(Connect {
            connection: id,
            host,
            port,
            server,
            options,
            place,
        }));
        Some(vid)
    }

    // ---- segments

    fn new_segment(&mut self, segment: Segment) -> Option<Vid> {
        self.add(Object::Segment(Box::new(segment)))
    }

    fn blank(&self, link: ListenerId, address: Address, label: String) -> Segment {
        Segment {
            link,
            address,
            parent: None,
            cookie: self.cookie(),
            label,
            stage: Stage::Silent,
            hold: false,
            held: None,
            flags: Flags::default(),
            picture: Picture::default(),
            carries: Carries::Events,
            assembly: Assembly::default(),
            reader: None,
            finished: false,
            served: false,
            out: Outgoing::new(),
            waiting: 0,
            masked: (0, 0),
            cell: (0, 0),
        }
    }

    /// Says something to a client that may be refused when its queue is full.
    pub(super) fn say(&mut self, vid: Vid, say: Say) -> Result<(), Full> {
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

    /// Says something that must not be lost; a client that has stopped reading is ended.
    pub(super) fn insist(&mut self, vid: Vid, say: Say) {
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
    pub(super) fn send(&mut self, vid: Vid, parts: Vec<Vec<u8>>) -> Result<(), Unsent> {
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
        if let Address::Open(id) = address {
            let said = now.into_iter().map(|say| (link, say.to(id)));
            self.outbox.link.extend(said);
        }
        Ok(())
    }

    /// A peer without events of Arcan's is there as soon as the script has taken it.
    pub(super) fn greet(&mut self, vid: Vid) {
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
    pub(super) fn prerolled(&mut self, vid: Vid) {
        if let Some(segment) = self.segment_mut(vid)
            && segment.address != Address::Gone
            && let Stage::Registered(kind) = segment.stage
        {
            segment.stage = Stage::Prerolled(kind);
            self.activate(vid);
        }
    }

    fn activate(&mut self, vid: Vid) {
        if let Some(segment) = self.segment_mut(vid)
            && let Stage::Prerolled(kind) = segment.stage
            && !segment.hold
        {
            segment.stage = Stage::Active(kind);
            self.insist(vid, Say::Target(Target::Activate));
        }
    }

    /// Holds back ACTIVATE, or pauses the client and, unless `soft`, its events.
    pub(super) fn suspend(&mut self, vid: Vid, soft: bool) {
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
    pub(super) fn resume(&mut self, vid: Vid, soft: bool) {
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
    fn release(&mut self, vid: Vid) {
        if let Some(segment) = self.segment_mut(vid)
            && let Some(held) = segment.held.take()
        {
            for entry in held.into_iter().rev() {
                self.queue.push_front(entry);
            }
        }
    }

    // ---- the queue

    /// The next status to dispatch.
    pub(super) fn next(&mut self) -> Option<Queued> {
        loop {
            let mut entry = self.queue.pop_front()?;
            let Some(object) = self.objects.get_mut(&entry.vid) else {
                self.discard(&entry);
                continue;
            };
            let Object::Segment(segment) = object else {
                if matches!(object, Object::Dead { .. }) {
                    self.discard(&entry);
                    continue;
                }
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
                (Status::Eof { .. } | Status::Disconnected { .. }, Some(reader)) => reader.end(),
                // What was not read of the stream before is of no stream any more.
                (Status::Connected, Some(reader)) => reader.begin(),
                _ => false,
            };
            if entry.cost > 0 {
                segment.waiting = segment.waiting.saturating_sub(entry.cost);
                if let Some(id) = segment.address.segment().filter(|_| !kept) {
                    let link = segment.link;
                    self.owe(id, link, entry.cost);
                }
            }
            if shown {
                return Some(entry);
            }
        }
    }

    /// A status that nobody is there for any more.
    fn discard(&mut self, entry: &Queued) {
        if let Status::Peer { request, .. } = &entry.status {
            self.outbox.host.push(FromScript::Decide {
                session: request.session,
                accept: false,
            });
        }
    }

    fn owe(&mut self, segment: SegmentId, link: ListenerId, cost: u32) {
        let (_, owed) = self.owed.entry(segment).or_insert((link, 0));
        *owed = owed.saturating_add(cost);
    }

    /// Hands back the credit of what has been dispatched.
    pub(super) fn pay(&mut self) {
        for (segment, (link, events)) in std::mem::take(&mut self.owed) {
            if self.routes.contains_key(&segment) {
                self.outbox
                    .link
                    .push((link, link::FromScript::Credit { segment, events }));
            }
        }
    }

    /// Whether a status waits that can be dispatched, or an adoption.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.adopting.is_empty()
    }

    /// Whether something waits for the next tick.
    pub(super) fn waits_for_tick(&self) -> bool {
        !self.orphans.is_empty()
    }

    /// What has survived, primary segments first.
    pub(super) fn adoptions(&mut self) -> Vec<Adoption> {
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
    pub(super) fn adopt(&mut self, adoption: Adoption) {
        let Adoption {
            vid,
            kind,
            title,
            guid,
            ..
        } = adoption;
        self.insist(vid, Say::Target(Target::Reset(2)));
        self.queue.push_front(Queued {
            vid,
            status: Status::Registered { kind, title, guid },
            cost: 0,
        });
    }
}

/// Takes `num:secret` apart; the error is for the script and does not have the secret in it.
fn parse_secret(text: &[u8]) -> Result<(u32, Secret), String> {
    let colon = text
        .iter()
        .position(|&b| b == b':')
        .ok_or("secret: want num:secret")?;
    let (number, secret) = (text.get(..colon), text.get(colon + 1..));
    let count = number
        .and_then(|number| std::str::from_utf8(number).ok())
        .filter(|number| number.bytes().all(|b| b.is_ascii_digit()))
        .and_then(|number| number.parse().ok())
        .ok_or("secret: num is not a number")?;
    let secret = Secret::parse(secret.unwrap_or_default()).map_err(|error| error.to_string())?;
    Ok((count, secret))
}

#[cfg(test)]
mod tests;
