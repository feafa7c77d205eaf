//! What a vid stands for.

use std::collections::VecDeque;
use std::rc::Rc;

use identity::Name;

use super::picture::Picture;
use super::status::Status;
use super::world::{Joined, Reader};
use crate::ipc::link::{self, Assembly, CREDIT, Ends, FromScript, PIECE};
use crate::ipc::script::{KeyStatus, Peer};
use crate::ipc::{Carries, ListenerId, SegmentId};
use crate::wire::a12::event::{Io, SegmentKind, Target};

/// The number by which a script holds a listener or segment; never used twice by a script process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Vid(u32);

impl Vid {
    /// No vid.
    pub(super) const BAD: Self = Self(0);
    /// Arcan's canvas; nothing here.
    pub(super) const WORLD: f64 = -1.0;

    /// The n-th vid of a VM with this base.
    pub(super) fn new(number: u32) -> Self {
        Self(number)
    }

    /// What a script gave as a vid; a number that cannot be one becomes [`Vid::BAD`].
    pub(super) fn from_lua(number: f64) -> Self {
        let id = number as u32;
        if f64::from(id) == number {
            Self(id)
        } else {
            Self::BAD
        }
    }

    /// As scripts see it.
    pub(super) fn number(self) -> u32 {
        self.0
    }
}

/// What a vid stands for.
#[derive(Debug)]
pub(super) enum Object {
    /// What net_listen made.
    Listener(Listener),
    /// A window or stream of a client.
    Segment(Box<Segment>),
    /// What was asked of the host; its answer is told as to a vid.
    Call {
        /// What to call it.
        label: String,
        /// What has come of the answer.
        keys: Vec<KeyStatus>,
    },
    /// What is left of either after `terminated`.
    Dead {
        /// The segment it belonged to.
        parent: Option<Vid>,
        /// Whose it was.
        peer: Option<Rc<Peer>>,
        /// What to call it.
        label: String,
    },
}

/// What net_listen made.
#[derive(Debug)]
pub(super) struct Listener {
    /// Its number in messages to the host.
    pub(super) id: ListenerId,
    /// The scope in which keys are accepted.
    pub(super) name: Name,
    /// Whether its clients have a field for a secret.
    pub(super) has_secrets: bool,
    /// Where the script made it: `file:line`.
    pub(super) place: String,
    /// Its token.
    pub(super) cookie: u32,
}

/// A window or stream of a client.
#[derive(Debug)]
pub(super) struct Segment {
    /// Whose data link carries it.
    pub(super) link: ListenerId,
    /// Where it is on that link.
    pub(super) address: Address,
    /// The segment that asked for it.
    pub(super) parent: Option<Vid>,
    /// Whose it is; `None`: of a connection that the script has made.
    pub(super) peer: Option<Rc<Peer>>,
    /// Its token.
    pub(super) cookie: u32,
    /// What to call it in reports.
    pub(super) label: String,
    /// How far its beginning has come.
    pub(super) stage: Stage,
    /// suspend_target before activation: ACTIVATE waits for resume_target.
    pub(super) hold: bool,
    /// suspend_target after activation: what waits for resume_target.
    pub(super) held: Option<VecDeque<Queued>>,
    /// What the script has set with target_flags.
    pub(super) flags: Flags,
    /// What the script is told of the picture.
    pub(super) picture: Picture,
    /// What goes over it.
    pub(super) carries: Carries,
    /// The client's message of which not all pieces have come.
    pub(super) assembly: Assembly,
    /// The request of a replier's client that has been dispatched and not been answered.
    pub(super) unanswered: Option<Vec<Vec<u8>>>,
    /// The client's text of which not all messages have come.
    pub(super) joined: Joined,
    /// What has come of its stream, for a stream object; `None`: there is none.
    pub(super) reader: Option<Reader>,
    /// Its stream is complete.
    pub(super) finished: bool,
    /// A program talks with it.
    pub(super) served: bool,
    /// What goes to the client.
    pub(super) out: Outgoing,
    /// What the client's events cost that have come and are not dispatched.
    pub(super) waiting: u32,
    /// Input the client does not want: device kinds and data types, as bits.
    pub(super) masked: (u32, u32),
    /// Text cell, pixels.
    pub(super) cell: (u8, u8),
}

/// What target_flags has set and the frameserver has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Flags {
    /// Frames are told.
    pub(super) verbose: bool,
    /// Closed when another script process takes over.
    pub(super) block_adopt: bool,
}

/// Where a segment is on its data link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Address {
    /// A client that the script has accepted; nothing has come from it yet.
    Expected(SegmentId),
    /// A channel that has been asked for.
    Asked,
    /// Here.
    Open(SegmentId),
    /// The other end has forgotten it.
    Gone,
}

impl Address {
    /// The segment's number, if it is known and the other end still knows it.
    pub(super) fn segment(self) -> Option<SegmentId> {
        match self {
            Self::Expected(segment) | Self::Open(segment) => Some(segment),
            Self::Asked | Self::Gone => None,
        }
    }
}

/// How far the beginning of a segment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has not said what it is.
    Silent,
    /// It has; `preroll` has not returned.
    Registered(SegmentKind),
    /// `preroll` has returned, ACTIVATE is held back.
    Prerolled(SegmentKind),
    /// ACTIVATE has been sent.
    Active(SegmentKind),
}

/// A status that waits for its callback.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) vid: Vid,
    pub(super) status: Status,
    /// So much credit is handed back when it is dispatched.
    pub(super) cost: u32,
}

/// What a script says to a client.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Say {
    /// An order.
    Target(Target),
    /// Input.
    Input(Io),
    /// A piece of a message or stream.
    Piece(Vec<u8>, Ends),
    /// Our stream is complete.
    Finish { failed: bool },
}

impl Say {
    pub(super) fn to(self, segment: SegmentId) -> FromScript {
        match self {
            Self::Target(event) => FromScript::Target { segment, event },
            Self::Input(input) => FromScript::Input { segment, input },
            Self::Piece(bytes, ends) => FromScript::Piece {
                segment,
                bytes,
                ends,
            },
            Self::Finish { failed } => FromScript::Finish { segment, failed },
        }
    }
}

/// The client takes no more: its queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// What goes to one segment: credit, and what waits.
#[derive(Debug)]
pub(super) struct Outgoing {
    credit: u32,
    /// Paid for, and kept until the other end knows the segment.
    early: VecDeque<Say>,
    /// Must not be lost, and waits for credit. Empty while there is credit.
    late: VecDeque<Say>,
    /// How many messages of text wait in `late`.
    texts: usize,
    /// How many messages of pieces wait in `late`, and how many bytes they have.
    messages: (u32, usize),
    /// The last piece that went out was not a message's end.
    cut: bool,
    /// More bytes were written than there was room for.
    overflown: bool,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            credit: CREDIT,
            early: VecDeque::new(),
            late: VecDeque::new(),
            texts: 0,
            messages: (0, 0),
            cut: false,
            overflown: false,
        }
    }

    /// Takes bytes of a stream, as many as there is room for; says how many, and what is to be sent
    /// now.
    pub(super) fn write(&mut self, bytes: &[u8]) -> (usize, Vec<Say>) {
        let taken = bytes.len().min(STREAM_HELD.saturating_sub(self.messages.1));
        self.overflown = taken < bytes.len();
        self.messages.1 += taken;
        let mut rest = bytes.get(..taken).unwrap_or_default();
        // Small ones that wait go together.
        if let Some(Say::Piece(last, _)) = self.late.back_mut() {
            let (now, later) = rest.split_at(rest.len().min(PIECE.saturating_sub(last.len())));
            last.extend_from_slice(now);
            rest = later;
        }
        let pieces = rest.chunks(PIECE);
        self.late
            .extend(pieces.map(|piece| Say::Piece(piece.to_vec(), Ends::Nothing)));
        (taken, self.credit(0))
    }

    /// Nothing more is written; what comes back is to be sent now.
    pub(super) fn finish(&mut self, failed: bool) -> Vec<Say> {
        self.overflown = false;
        self.late.push_back(Say::Finish { failed });
        self.credit(0)
    }

    /// Whether there is room again for what was not taken; says so once.
    pub(super) fn drained(&mut self) -> bool {
        let drained = self.overflown && self.messages.1 <= STREAM_HELD / 2;
        self.overflown &= !drained;
        drained
    }

    /// Takes a whole message, unless as many wait as may. What comes back is to be sent now.
    pub(super) fn message(
        &mut self,
        parts: Vec<Vec<u8>>,
        high_water: u32,
    ) -> Result<Vec<Say>, Full> {
        let bytes: usize = parts.iter().map(Vec::len).sum();
        let (count, held) = self.messages;
        if count >= high_water || (count > 0 && held.saturating_add(bytes) > MAX_HELD) {
            return Err(Full);
        }
        self.messages = (count + 1, held + bytes);
        let pieces = link::pieces(parts).map(|(bytes, ends)| Say::Piece(bytes, ends));
        self.late.extend(pieces);
        Ok(self.credit(0))
    }

    /// Takes what may be refused when there is no credit. What comes back is to be sent now.
    pub(super) fn offer(&mut self, open: bool, say: Say) -> Result<Option<Say>, Full> {
        self.credit = self.credit.checked_sub(1).ok_or(Full)?;
        if open {
            return Ok(Some(say));
        }
        self.early.push_back(say);
        Ok(None)
    }

    /// Takes a whole text, in messages, unless something waits already. What comes back is to be
    /// sent now.
    pub(super) fn text(&mut self, open: bool, parts: Vec<Say>) -> Result<Vec<Say>, Full> {
        if self.credit == 0 {
            return Err(Full);
        }
        let mut now = Vec::new();
        for part in parts {
            match self.offer(open, part.clone()) {
                Ok(say) => now.extend(say),
                Err(Full) => {
                    self.texts += 1;
                    self.late.push_back(part);
                }
            }
        }
        Ok(now)
    }

    /// Takes what must reach the client; fails when it has not read for so long that too much of
    /// that waits.
    pub(super) fn insist(&mut self, open: bool, say: Say) -> Result<Option<Say>, Full> {
        if self.credit > 0 {
            return self.offer(open, say);
        }
        if self.late.len() >= CREDIT as usize + self.texts {
            return Err(Full);
        }
        self.late.push_back(say);
        Ok(None)
    }

    /// The other end is new: it has taken nothing, and what waits is for it, but for the rest of a
    /// message whose beginning is lost. What comes back is to be sent.
    pub(super) fn restart(&mut self) -> Vec<Say> {
        self.early.clear();
        if std::mem::take(&mut self.cut) {
            while let Some(say) = self.late.pop_front() {
                self.count_out(&say);
                if matches!(say, Say::Piece(_, Ends::Message)) {
                    break;
                }
            }
        }
        self.credit = CREDIT;
        self.credit(0)
    }

    /// What waits is for nobody.
    pub(super) fn discard(&mut self) {
        self.early.clear();
        self.late.clear();
        self.messages = (0, 0);
        (self.cut, self.overflown) = (false, false);
    }

    /// Nothing goes out until there is another end again.
    pub(super) fn pause(&mut self) {
        self.credit = 0;
    }

    /// What has not gone out, in order.
    pub(super) fn leave(&mut self) -> impl Iterator<Item = Say> + use<> {
        self.messages = (0, 0);
        let early = std::mem::take(&mut self.early);
        early.into_iter().chain(std::mem::take(&mut self.late))
    }

    fn count_out(&mut self, say: &Say) {
        if let Say::Piece(bytes, ends) = say {
            let (count, held) = &mut self.messages;
            *held = held.saturating_sub(bytes.len());
            *count = count.saturating_sub(u32::from(*ends == Ends::Message));
        }
        if matches!(say, Say::Target(Target::Message(_))) {
            self.texts = self.texts.saturating_sub(1);
        }
    }

    /// The other end knows the segment now: what is to be sent.
    pub(super) fn opened(&mut self) -> VecDeque<Say> {
        std::mem::take(&mut self.early)
    }

    /// The other end has taken some: what is to be sent.
    pub(super) fn credit(&mut self, events: u32) -> Vec<Say> {
        self.credit = self.credit.saturating_add(events).min(CREDIT);
        let count = self.late.len().min(self.credit as usize);
        self.credit -= count as u32;
        let now: Vec<Say> = self.late.drain(..count).collect();
        for say in &now {
            self.count_out(say);
            if let Say::Piece(_, ends) = say {
                self.cut = *ends != Ends::Message;
            }
        }
        now
    }
}

/// So many bytes of a stream may wait for one peer, beside those that are under way.
const STREAM_HELD: usize = 1 << 20;

/// So many bytes of messages may wait for one peer, or one message that is larger.
const MAX_HELD: usize = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_runs_out_and_comes_back() {
        let mut out = Outgoing::new();
        let say = || Say::Target(Target::Pause);
        for _ in 0..CREDIT {
            assert_eq!(out.offer(true, say()), Ok(Some(say())));
        }
        assert_eq!(out.offer(true, say()), Err(Full));
        assert_eq!(out.insist(true, say()), Ok(None));
        assert_eq!(out.credit(3), [say()]);
        assert_eq!(out.offer(true, say()), Ok(Some(say())));
        assert_eq!(out.offer(true, say()), Ok(Some(say())));
        assert_eq!(out.offer(true, say()), Err(Full));
    }

    #[test]
    fn a_client_that_never_reads_does_not_make_us_hold_more() {
        let mut out = Outgoing::new();
        let taken = (0..10_000)
            .filter(|_| out.insist(false, Say::Target(Target::Pause)).is_ok())
            .count();
        assert_eq!(taken, 2 * CREDIT as usize);
    }

    #[test]
    fn numbers_that_are_no_vids() {
        for number in [-1.0, 0.5, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(Vid::from_lua(number), Vid::BAD);
        }
        assert_eq!(Vid::from_lua(300.0).number(), 300);
    }
}
