//! A segment of a session as its frameserver knows it.

use crate::ipc::SegmentId;
use crate::ipc::link::ToScript;
use crate::wire::a12::event::SegmentKind;

/// See the module.
#[derive(Debug)]
pub(super) struct Segment {
    /// What it registered as.
    pub(super) kind: SegmentKind,
    /// It has said what it is.
    pub(super) registered: bool,
    pub(super) title: String,
    pub(super) guid: [u64; 2],
    pub(super) picture: Option<Picture>,
    /// How much of its credit the script has not handed back.
    pub(super) to_script: u32,
    /// How many of the script's events have not been handed back to it.
    pub(super) from_script: u32,
    /// The script is to be told of each frame.
    pub(super) verbose: bool,
    /// No other script is to have it.
    pub(super) block_adopt: bool,
    /// It has been told to begin.
    pub(super) active: bool,
}

impl Segment {
    pub(super) fn new(kind: SegmentKind) -> Self {
        Self {
            kind,
            registered: false,
            title: String::new(),
            guid: [0; 2],
            picture: None,
            to_script: 0,
            from_script: 0,
            verbose: false,
            block_adopt: false,
            active: false,
        }
    }

    /// Another script has it: nothing is under way to or from that one, and it has no wishes yet.
    pub(super) fn changes_hands(&mut self) {
        self.to_script = 0;
        self.from_script = 0;
        self.verbose = false;
        self.block_adopt = false;
    }
}

/// What is known of the pictures that come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picture {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) origin_ll: bool,
    pub(super) text: bool,
}

impl Picture {
    pub(super) fn resized(self, segment: SegmentId) -> ToScript {
        ToScript::Resized {
            segment,
            width: self.width,
            height: self.height,
            origin_ll: self.origin_ll,
            text: self.text,
        }
    }
}

/// What a segment shows before it has registered.
pub(super) const UNKNOWN: SegmentKind = SegmentKind(0);
