//! One admitted peer between its protocol machine and the data link: which segments it has, what
//! waits for credit, whose credit is due.
//!
//! No sockets and no clock, so that it can be tested by itself.

mod adoption;
mod dialects;
mod program;
mod segment;
mod serve;

use std::collections::{BTreeMap, VecDeque};

use dialects::Taken;
pub(super) use program::Program;
use segment::{Segment, UNKNOWN};

use super::link::{Epoch, Outbox};
use super::machine::{Command, Event};
use crate::ipc::link::{self, Assembly, CREDIT, Ends, FromScript, ToScript, Weight};
use crate::ipc::{Carries, SegmentId, SessionId};
use crate::wire::a12::event::{SegmentKind, Target};
use crate::wire::zmtp;

/// How many of the script's messages may wait in all: what its credit comes to on all channels,
/// and one to open and close each.
const MAX_WAITING: usize = (CREDIT as usize + 2) * 256;

/// How many messages a peer's task may have in its inbox: what may wait, and as many that hand back
/// credit.
pub(super) const MAX_UNREAD: usize = 2 * MAX_WAITING;

/// See the module.
#[derive(Debug)]
pub(super) struct Session {
    id: SessionId,
    carries: Carries,
    /// The connection comes from us.
    dialled: bool,
    /// The script that has been told of this session, and what for.
    epoch: Option<Epoch>,
    /// The script that is there, as this session has been told.
    linked: Option<Epoch>,
    /// Since then each script has handed over to the next all that it had; what they have said counts.
    since: Option<Epoch>,
    /// What the last script has given back for the next one.
    returned: Vec<ToScript>,
    /// How many bytes have been said or given back that no credit was paid for.
    surplus: usize,
    stage: Stage,
    segments: BTreeMap<u8, Segment>,
    /// What the client has said and the script has no room for yet.
    backlog: VecDeque<ToScript>,
    /// What the script has said and the client has no room for yet.
    waiting: VecDeque<(Epoch, FromScript)>,
    /// At which byte of the stream to the client an event of a channel is out.
    marks: VecDeque<(u64, u8)>,
    /// Open commands that the machine has not answered, with the segment that asked.
    opening: VecDeque<Opening>,
    /// The script's message of which not all pieces have come.
    assembly: Assembly,
    last_words: String,
    /// The client's stream is complete, and how.
    finished: Option<bool>,
    /// The script has had so many bytes of a message, and not its end.
    begun: Option<usize>,
    /// A script has gone with a request that it has not answered.
    abandoned: bool,
    /// The backlog waits for room in the outbox, not for credit.
    held_up: bool,
    /// What talks with the client in the script's place.
    program: Option<Program>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The script has not decided; what it says already waits.
    Undecided,
    /// Events flow.
    Accepted,
    /// The connection is over; the script gets what is left.
    Over,
}

/// The script has more under way than it has credit for: it is broken or hostile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overrun;

/// What the machine is to do next for the script.
#[derive(Debug, PartialEq)]
pub(super) enum Next {
    /// This; and once its bytes are out, credit for the channel is due.
    Event(u8, Command),
    /// This.
    Do(Command),
    /// These, and then the session ends.
    Last(Vec<Command>),
}

impl Session {
    /// A peer has proved its key; the script has not decided.
    pub(super) fn new(id: SessionId, carries: Carries, script: &Outbox) -> Self {
        Self {
            id,
            carries,
            dialled: false,
            epoch: script.epoch(),
            linked: script.epoch(),
            since: script.epoch(),
            returned: Vec::new(),
            surplus: 0,
            stage: Stage::Undecided,
            segments: BTreeMap::from([(PRIMARY, Segment::new(UNKNOWN))]),
            backlog: VecDeque::new(),
            waiting: VecDeque::new(),
            marks: VecDeque::new(),
            opening: VecDeque::new(),
            assembly: Assembly::default(),
            begun: None,
            abandoned: false,
            last_words: String::new(),
            finished: None,
            held_up: false,
            program: None,
        }
    }

    /// The script has asked for it.
    pub(super) fn dialled(id: SessionId, carries: Carries, script: &Outbox) -> Self {
        Self {
            stage: Stage::Accepted,
            dialled: true,
            ..Self::new(id, carries, script)
        }
    }

    /// The script has taken it.
    pub(super) fn accept(&mut self, script: &Outbox) {
        self.stage = Stage::Accepted;
        // It may have been taken by a script that has gone since; the next one then adopts it.
        if self.epoch != self.linked && self.linked == script.epoch() {
            // Decided by another script than the one that has spoken already.
            self.epoch = script.epoch();
            self.since = self.epoch;
            self.waiting.clear();
            self.assembly = Assembly::default();
            for known in self.segments.values_mut() {
                known.changes_hands();
                known.active = false;
            }
        }
    }

    /// The script's link has come or gone; what that one is told and says follows.
    pub(super) fn linked(&mut self, epoch: Option<Epoch>) {
        self.linked = epoch;
    }

    /// Which one it is.
    pub(super) fn id(&self) -> SessionId {
        self.id
    }

    /// Whether this says that a server has taken a connection of ours.
    pub(super) fn is_taken_by(&self, event: &Event) -> bool {
        self.dialled && matches!(event, Event::Zmtp(zmtp::Event::Ready(_)))
    }

    /// Whether the client may say more: all it has said is on its way to the script.
    pub(super) fn is_caught_up(&self, script: &Outbox) -> bool {
        self.backlog.is_empty() && (script.epoch().is_some() || self.program.is_some())
    }

    /// Whether it waits for [`Outbox::relieved`].
    pub(super) fn is_held_up(&self) -> bool {
        self.held_up
    }

    /// The client has done something.
    pub(super) fn event(&mut self, event: impl Into<Event>) {
        match event.into() {
            Event::A12(event) => self.event_a12(event),
            Event::Zmtp(event) => self.event_zmtp(event),
            Event::Up => {
                let segment = self.segment(PRIMARY);
                self.backlog.push_back(ToScript::Connected { segment });
            }
            Event::Data(bytes) => {
                let segment = self.segment(PRIMARY);
                // What waits goes together: credit is for pieces, however small.
                if let Some(ToScript::Piece { bytes: last, .. }) = self.backlog.back_mut()
                    && last.len() + bytes.len() <= link::PIECE
                {
                    return last.extend(bytes);
                }
                let piece = |(bytes, _)| ToScript::Piece {
                    segment,
                    bytes,
                    ends: Ends::Nothing,
                };
                self.backlog.extend(link::pieces(vec![bytes]).map(piece));
            }
            Event::Finished { failed } => {
                self.finished = Some(failed);
                let segment = self.segment(PRIMARY);
                self.backlog
                    .push_back(ToScript::Finished { segment, failed });
            }
        }
    }

    /// The script has said something.
    pub(super) fn said(&mut self, epoch: Epoch, message: FromScript) -> Result<(), Overrun> {
        let current = self.epoch == Some(epoch);
        let message = match message {
            FromScript::Rest(message) => {
                self.surplus(message.weight())?;
                match *message {
                    FromScript::Credit { .. } | FromScript::Flags { .. } => return Ok(()),
                    message => {
                        self.notice(&message);
                        return self.wait(epoch, message);
                    }
                }
            }
            FromScript::Back(message) => {
                self.surplus(message.weight())?;
                if current && segment_of(&message).is_some() {
                    self.returned.push(*message);
                }
                return Ok(());
            }
            message => message,
        };
        match &message {
            FromScript::Credit { segment, events } => {
                if current && let Some(known) = self.segments.get_mut(&segment.channel) {
                    known.to_script = known.to_script.saturating_sub(*events);
                }
                return Ok(());
            }
            FromScript::Flags {
                segment,
                verbose,
                block_adopt,
            } => {
                if current && let Some(known) = self.segments.get_mut(&segment.channel) {
                    known.verbose = *verbose;
                    known.block_adopt = *block_adopt;
                }
                return Ok(());
            }
            FromScript::Target { segment, .. }
            | FromScript::Input { segment, .. }
            | FromScript::Piece { segment, .. } => {
                let Some(known) = self.segments.get_mut(&segment.channel) else {
                    return Ok(());
                };
                if current {
                    known.from_script += 1;
                    if known.from_script > CREDIT {
                        return Err(Overrun);
                    }
                }
            }
            FromScript::Close { segment, .. } if self.stage == Stage::Over => {
                self.forget(segment.channel);
            }
            FromScript::Open { .. }
            | FromScript::Close { .. }
            | FromScript::Finish { .. }
            | FromScript::Hold
            | FromScript::Resume
            | FromScript::Rest(_)
            | FromScript::Back(_)
            | FromScript::Done => {}
        }
        self.notice(&message);
        self.wait(epoch, message)
    }

    fn wait(&mut self, epoch: Epoch, message: FromScript) -> Result<(), Overrun> {
        if self.stage == Stage::Over {
            return Ok(());
        }
        if self.waiting.len() >= MAX_WAITING {
            return Err(Overrun);
        }
        self.waiting.push_back((epoch, message));
        Ok(())
    }

    /// Counts what no credit is paid for.
    fn surplus(&mut self, bytes: usize) -> Result<(), Overrun> {
        if self.waiting.is_empty() && self.returned.is_empty() {
            self.surplus = 0;
        }
        let most = match self.carries {
            Carries::Messages { most, .. } => usize::try_from(most).unwrap_or(usize::MAX),
            Carries::Events | Carries::Stream { .. } => 0,
        };
        self.surplus = self.surplus.saturating_add(bytes);
        match self.surplus > MAX_SURPLUS.saturating_add(most) {
            true => Err(Overrun),
            false => Ok(()),
        }
    }

    /// Whether the client has been told to begin.
    fn notice(&mut self, message: &FromScript) {
        if let FromScript::Target {
            segment,
            event: Target::Activate,
        } = message
            && let Some(known) = self.segments.get_mut(&segment.channel)
        {
            known.active = true;
        }
    }

    /// What a script of this time has said counts.
    fn heeds(&self, by: Epoch) -> bool {
        self.since.is_some_and(|since| by >= since)
    }

    /// Whether the script wants the session to end.
    pub(super) fn is_leaving(&self) -> bool {
        self.waiting.iter().any(|(_, message)| {
            matches!(message, FromScript::Close { segment, .. } if segment.channel == PRIMARY)
        })
    }

    /// What the script wants done next; nothing before it has taken the client.
    pub(super) fn next(&mut self, script: &Outbox) -> Result<Option<Next>, Overrun> {
        if std::mem::take(&mut self.abandoned) {
            let abandon = Command::Zmtp(zmtp::Command::Abandon);
            return Ok(Some(Next::Do(abandon)));
        }
        while self.stage == Stage::Accepted {
            let Some((epoch, message)) = self.waiting.pop_front() else {
                break;
            };
            let Some(SegmentId { channel, .. }) = about(&message) else {
                continue;
            };
            if !self.segments.contains_key(&channel) {
                continue;
            }
            let current = self.epoch == Some(epoch);
            let next = match self.carries {
                Carries::Events => self.next_a12(epoch, channel, message),
                Carries::Messages { most, .. } => {
                    self.next_message(self.heeds(epoch), most, message)?
                }
                Carries::Stream { .. } => self.next_bytes(message),
            };
            match next {
                Taken::Next(next) => return Ok(Some(next)),
                Taken::Event(command) if current => {
                    return Ok(Some(Next::Event(channel, command)));
                }
                Taken::Event(command) => return Ok(Some(Next::Do(command))),
                Taken::Nothing => {}
                // What makes no bytes for the client is done with.
                Taken::Part if current => self.hand_back(channel, 1, script),
                Taken::Part => {}
            }
        }
        Ok(self.next_of_program().map(Next::Do))
    }

    /// The script closes a secondary segment.
    fn close(&mut self, channel: u8) {
        let segment = self.segment(channel);
        self.segments.remove(&channel);
        self.marks.retain(|mark| mark.1 != channel);
        self.forget(channel);
        self.backlog.push_back(ToScript::Terminated {
            segment,
            last_words: String::new(),
        });
    }

    /// What the script has not heard of a segment that it closes, it need not hear, and hands no
    /// credit back for; with the primary one go all.
    fn forget(&mut self, channel: u8) {
        self.backlog.retain(|message| {
            matches!(message, ToScript::Terminated { .. })
                || (channel != PRIMARY
                    && segment_of(message).is_none_or(|it| it.channel != channel))
        });
    }

    /// An event of the script's for this channel ends at this byte of the stream to the client.
    pub(super) fn mark(&mut self, at: u64, channel: u8) {
        self.marks.push_back((at, channel));
    }

    /// So many bytes of the stream to the client are out: hands credit back.
    pub(super) fn written(&mut self, bytes: u64, script: &Outbox) {
        let mut due: BTreeMap<u8, u32> = BTreeMap::new();
        while let Some((_, channel)) = self.marks.pop_front_if(|mark| mark.0 <= bytes) {
            *due.entry(channel).or_default() += 1;
        }
        for (channel, events) in due {
            self.hand_back(channel, events, script);
        }
    }

    fn hand_back(&mut self, channel: u8, events: u32, script: &Outbox) {
        let segment = self.segment(channel);
        if let Some(known) = self.segments.get_mut(&channel) {
            known.from_script = known.from_script.saturating_sub(events);
            script.push(ToScript::Credit { segment, events });
        }
    }

    /// Hands on to the script what there is room and credit for; to a new script, first what there
    /// is.
    pub(super) fn forward(&mut self, script: &Outbox) {
        self.held_up = false;
        self.feed();
        let Some(epoch) = script.epoch().filter(|_| self.stage != Stage::Undecided) else {
            return;
        };
        if script.is_held() {
            return;
        }
        if self.epoch != Some(epoch) {
            // The last words of the one before are on their way to here.
            if self.epoch.is_some_and(|old| script.succeeds(old)) && self.linked != Some(epoch) {
                return;
            }
            self.adopted_by(epoch, script);
        }
        let credit = link::credit(self.carries);
        while let Some(first) = self.backlog.front() {
            if self.is_for_program(first) {
                match self.feed() {
                    true => continue,
                    false => return,
                }
            }
            // A change of size costs no credit, so a client could go on for ever.
            if script.is_full() {
                self.held_up = true;
                return;
            }
            let Some(segment) = segment_of(first) else {
                self.backlog.pop_front();
                continue;
            };
            let costs = matches!(
                first,
                ToScript::Event { .. } | ToScript::Frame { .. } | ToScript::Piece { .. }
            );
            // A message that has begun goes whole.
            if costs
                && self.begun.is_none()
                && let Some(known) = self.segments.get(&segment.channel)
                && known.to_script >= credit
            {
                return;
            }
            if let Some(message) = self.backlog.pop_front() {
                let cost = self.cost(&message);
                if let Some(known) = self.segments.get_mut(&segment.channel) {
                    known.to_script = known.to_script.saturating_add(cost);
                }
                script.push(message);
            }
        }
    }

    /// What it costs to send this to the script; a message costs with its last piece.
    fn cost(&mut self, message: &ToScript) -> u32 {
        match message {
            ToScript::Event { .. } | ToScript::Frame { .. } => 1,
            ToScript::Piece { bytes, ends, .. } => {
                let Carries::Messages { .. } = self.carries else {
                    return 1;
                };
                let size = self.begun.take().unwrap_or(0) + bytes.len();
                match ends {
                    Ends::Nothing => self.begun = Some(size),
                    Ends::Part => self.begun = Some(size + link::PART),
                    Ends::Message => return link::cost(size + link::PART),
                }
                0
            }
            _ => 0,
        }
    }

    /// The connection is over: nothing follows but the rest of the backlog and the end of every
    /// segment. Whether the script is to hear of it at all.
    pub(super) fn end(&mut self, script: &Outbox) -> bool {
        self.waiting.clear();
        self.marks.clear();
        let accepted = self.stage == Stage::Accepted;
        self.stage = Stage::Over;
        let known = accepted && self.epoch.is_some_and(|epoch| is_told(epoch, script));
        if known {
            for &channel in self.segments.keys().rev() {
                self.backlog.push_back(ToScript::Terminated {
                    segment: SegmentId {
                        session: self.id,
                        channel,
                    },
                    last_words: self.last_words.clone(),
                });
            }
            self.forward(script);
        }
        known && !self.backlog.is_empty()
    }

    /// After [`end`](Self::end): hands on what there is credit for by now. Whether there is more.
    pub(super) fn linger(&mut self, script: &Outbox) -> bool {
        if !self.epoch.is_some_and(|epoch| is_told(epoch, script)) {
            return false;
        }
        self.forward(script);
        !self.backlog.is_empty()
    }

    fn segment(&self, channel: u8) -> SegmentId {
        SegmentId {
            session: self.id,
            channel,
        }
    }
}

/// Whether what a client of that script does is for the one that is there now, or will be.
fn is_told(epoch: Epoch, script: &Outbox) -> bool {
    script.epoch() == Some(epoch) || script.is_between() || script.succeeds(epoch)
}

/// A channel that a script has asked for.
#[derive(Debug)]
struct Opening {
    by: Epoch,
    cookie: u32,
    parent: SegmentId,
    kind: SegmentKind,
}

/// So many bytes may be said and given back without credit, beside one message.
const MAX_SURPLUS: usize = 16 << 20;

/// The segment that a message from the script is for, or that asked for it.
pub(super) fn about(message: &FromScript) -> Option<SegmentId> {
    Some(match message {
        FromScript::Target { segment, .. }
        | FromScript::Input { segment, .. }
        | FromScript::Piece { segment, .. }
        | FromScript::Finish { segment, .. }
        | FromScript::Open {
            parent: segment, ..
        }
        | FromScript::Credit { segment, .. }
        | FromScript::Flags { segment, .. }
        | FromScript::Close { segment, .. } => *segment,
        FromScript::Rest(message) => return about(message),
        FromScript::Back(message) => return segment_of(message),
        FromScript::Hold | FromScript::Resume | FromScript::Done => return None,
    })
}

fn segment_of(message: &ToScript) -> Option<SegmentId> {
    Some(match message {
        ToScript::Event { segment, .. }
        | ToScript::Piece { segment, .. }
        | ToScript::Finished { segment, .. }
        | ToScript::Unsent { segment }
        | ToScript::Connected { segment }
        | ToScript::Resized { segment, .. }
        | ToScript::Frame { segment, .. }
        | ToScript::Opened { segment, .. }
        | ToScript::OpenFailed {
            parent: segment, ..
        }
        | ToScript::Credit { segment, .. }
        | ToScript::Terminated { segment, .. }
        | ToScript::Served { segment }
        | ToScript::Exited { segment, .. }
        | ToScript::Adopt { segment, .. } => *segment,
        ToScript::Held => return None,
    })
}

/// The channel of the primary segment.
const PRIMARY: u8 = 0;

#[cfg(test)]
mod tests;
