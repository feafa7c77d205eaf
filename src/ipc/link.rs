//! Frameserver and script: the data link, past the host.
//!
//! Either side sends batches. Credit keeps a slow end's queue its own: each side may have
//! [`CREDIT`] events of a segment under way that the other has not handed back. Frames count as
//! events.

use serde::{Deserialize, Serialize};

use super::SegmentId;
use crate::wire::a12::event::{External, Io, SegmentKind, Target};

/// How many events of one segment may be under way in one direction: the length of Arcan's client
/// event queue.
pub const CREDIT: u32 = 127;

/// What a frameserver says to the script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToScript {
    /// The client says something.
    Event {
        /// On which segment.
        segment: SegmentId,
        /// What.
        event: External,
    },
    /// The size or kind of the picture has changed; sent before the first frame.
    Resized {
        /// On which segment.
        segment: SegmentId,
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
        /// The origin is the lower left corner.
        origin_ll: bool,
        /// The content is text.
        text: bool,
    },
    /// A frame has come; only where [`FromScript::Flags`] asked for it.
    Frame {
        /// On which segment.
        segment: SegmentId,
        /// Its number, as the client counts.
        number: u32,
        /// Where the changed region begins: x and y, pixels.
        at: [u16; 2],
        /// Width and height of the changed region, pixels.
        region: [u16; 2],
    },
    /// The channel asked for with [`FromScript::Open`].
    Opened {
        /// The new segment.
        segment: SegmentId,
        /// The number from the request.
        cookie: u32,
    },
    /// [`FromScript::Open`] failed: no channel is free.
    OpenFailed {
        /// The segment that asked.
        parent: SegmentId,
        /// The number from the request.
        cookie: u32,
    },
    /// So many of the script's events for this segment have been taken.
    Credit {
        /// On which segment.
        segment: SegmentId,
        /// How many.
        events: u32,
    },
    /// The segment is gone; nothing follows for it.
    Terminated {
        /// Which one.
        segment: SegmentId,
        /// At most 31 bytes, may be empty.
        last_words: String,
    },
    /// To a new script process: this segment lives, with what it registered as.
    Adopt {
        /// Which one.
        segment: SegmentId,
        /// Its kind.
        kind: SegmentKind,
        /// Its title.
        title: String,
        /// Its identity.
        guid: [u64; 2],
    },
}

/// What a script says to the frameserver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromScript {
    /// Say this to the client.
    Target {
        /// On which segment.
        segment: SegmentId,
        /// What.
        event: Target,
    },
    /// Input for the client.
    Input {
        /// On which segment.
        segment: SegmentId,
        /// What.
        input: Io,
    },
    /// Accept the client's request for another segment.
    Open {
        /// The segment that asked.
        parent: SegmentId,
        /// The number from the request.
        cookie: u32,
        /// What was asked for.
        kind: SegmentKind,
    },
    /// So many of the client's events on this segment have been dispatched.
    Credit {
        /// On which segment.
        segment: SegmentId,
        /// How many.
        events: u32,
    },
    /// How this segment is dealt with from here on. A new segment, and an adopted one, begins with
    /// neither.
    Flags {
        /// Which one.
        segment: SegmentId,
        /// Tell of each frame.
        verbose: bool,
        /// Close it when another script process takes over, instead of announcing it.
        block_adopt: bool,
    },
    /// Close it: the primary segment ends the session.
    Close {
        /// Which one.
        segment: SegmentId,
        /// Said to the peer before closing, if it can be.
        last_words: String,
    },
}
