//! Channels, and the frames that come in on them (sections 6.3 and 7 of the protocol text).
//!
//! Pictures are not decoded: a frame's bytes are counted and dropped as they come, and nothing is
//! ever allocated for its announced size.

use std::collections::{BTreeMap, VecDeque};

use super::Event;
use super::control::VideoFrame;

/// The open channels and what is under way on each.
pub(super) struct Streams {
    channels: BTreeMap<u8, Option<Frame>>,
    /// What was open once, in the order of closing.
    closed: VecDeque<u8>,
    /// Whether the source knows that H.264 is not decoded here.
    h264_declined: bool,
}

/// A frame under way.
struct Frame {
    stream: u32,
    /// Bytes to come.
    left: u32,
    /// What it becomes; `None`: an unknown format, of which nothing is seen.
    shown: Option<Event>,
}

/// A complete frame: acknowledge it, then tell of it.
#[derive(Debug, PartialEq)]
pub(super) struct Complete {
    pub(super) stream: u32,
    pub(super) shown: Option<Event>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self {
            channels: BTreeMap::from([(0, None)]),
            closed: VecDeque::new(),
            h264_declined: false,
        }
    }

    pub(super) fn is_open(&self, channel: u8) -> bool {
        self.channels.contains_key(&channel)
    }

    /// Opens this channel, or begins it anew.
    pub(super) fn open(&mut self, channel: u8) {
        self.closed.retain(|closed| *closed != channel);
        self.channels.insert(channel, None);
    }

    /// Opens the lowest channel that was never used or, if there is none, the one closed longest
    /// ago: the source may not know yet that a channel is closed, and what it still says there
    /// must not be taken for a new segment's.
    pub(super) fn open_unused(&mut self) -> Option<u8> {
        let unused = |channel: &u8| !self.is_open(*channel) && !self.closed.contains(channel);
        let channel = (1..=u8::MAX)
            .find(unused)
            .or_else(|| self.closed.front().copied())?;
        self.open(channel);
        Some(channel)
    }

    /// Forgets a channel; the first is there as long as the session.
    pub(super) fn close(&mut self, channel: u8) {
        if channel != 0 && self.channels.remove(&channel).is_some() {
            self.closed.push_back(channel);
        }
    }

    /// Whether this is the first frame that the source has to be told about.
    pub(super) fn declines(&mut self, frame: &VideoFrame) -> bool {
        frame.format == H264 && !std::mem::replace(&mut self.h264_declined, true)
    }

    /// A frame is announced; an unfinished one on the same channel is given up.
    pub(super) fn begin(&mut self, channel: u8, frame: &VideoFrame) -> Option<Complete> {
        let place = self.channels.get_mut(&channel)?;
        let [width, height] = frame.surface;
        *place = is_sound(frame).then(|| Frame {
            stream: frame.stream,
            left: frame.length,
            shown: is_known(frame.format).then_some(Event::Frame {
                channel,
                width,
                height,
                origin_ll: frame.flags & ORIGIN_LL != 0,
                text: frame.format == TEXT,
                number: frame.stream,
                at: frame.at,
                region: frame.region,
            }),
        });
        complete(place)
    }

    /// Bytes of the frame under way, if there is one.
    pub(super) fn data(&mut self, channel: u8, bytes: usize) -> Option<Complete> {
        let place = self.channels.get_mut(&channel)?;
        if let Some(frame) = place {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            frame.left = frame.left.saturating_sub(bytes);
        }
        complete(place)
    }
}

fn complete(place: &mut Option<Frame>) -> Option<Complete> {
    place
        .take_if(|frame| frame.left == 0)
        .map(|frame| Complete {
            stream: frame.stream,
            shown: frame.shown,
        })
}

/// Whether the numbers agree with each other. One that does not is dropped without a word.
fn is_sound(frame: &VideoFrame) -> bool {
    let [[surface_width, surface_height], [x, y], [width, height]] =
        [frame.surface, frame.at, frame.region].map(|pair| pair.map(u64::from));
    let inside = x < surface_width
        && y < surface_height
        && x + width <= surface_width
        && y + height <= surface_height;
    let (length, expanded) = (u64::from(frame.length), u64::from(frame.expanded));
    let pixels = width * height;
    let fits = match frame.format {
        RGBA => length == pixels * 4,
        RGB => length == pixels * 3,
        RGB565 => length == pixels * 2,
        H264 | TEXT | DELTA | WHOLE => expanded <= pixels * 4 && length <= expanded + SLACK,
        _ => true,
    };
    inside && fits
}

fn is_known(format: u8) -> bool {
    matches!(format, RGBA | RGB | RGB565 | H264 | TEXT | DELTA | WHOLE)
}

const RGBA: u8 = 0;
const RGB: u8 = 1;
const RGB565: u8 = 2;
const H264: u8 = 5;
const TEXT: u8 = 7;
const DELTA: u8 = 8;
const WHOLE: u8 = 9;

/// How much longer than its content a compressed frame may be.
const SLACK: u64 = 24;
const ORIGIN_LL: u8 = 1;
