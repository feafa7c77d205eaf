//! The events that a12 carries, as types; `docs/protocol/a12.md` has their layout.
//!
//! A source says [`External`], a sink says [`Target`] and sends input as [`Io`]. Descriptor slots
//! are not here: they are meaningless on the wire, sent as -1 and ignored on receipt.

mod external;
mod io;
mod packet;
mod segment;
mod target;
#[cfg(test)]
mod tests;

#[cfg(any(test, fuzzing))]
pub(super) use packet::checksum;
pub use packet::{Packet, Received, Record, Unwanted};
pub use segment::SegmentKind;

use serde::{Deserialize, Serialize};

/// What a source says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum External {
    /// Free text.
    Message(Text),
    /// A message whose bytes are no UTF-8 by themselves: some peers cut inside characters.
    Fragment {
        /// 1 to 77 bytes.
        bytes: Vec<u8>,
        /// More follows.
        multipart: bool,
    },
    /// One of the source's options.
    CoreOption {
        /// Option number.
        index: u8,
        /// 0 key name, 1 description, 2 an allowed value, 3 the current value, 4 forget.
        kind: u8,
        /// Key, description or value.
        text: String,
    },
    /// The content's identity.
    Ident(String),
    /// Something failed.
    Failure,
    /// Timing of a frame.
    FrameStatus {
        /// Frame counter.
        number: u32,
        /// Presentation time, ms.
        pts: u64,
        /// When it was made, ms.
        acquired: u64,
        /// A hint about the frame rate.
        hint: f32,
    },
    /// A track that can be chosen.
    StreamInfo {
        /// Number for STREAMSET.
        id: u8,
        /// 0 audio, 1 video, 2 text, 3 overlay.
        kind: u8,
        /// Three-letter language code.
        language: String,
    },
    /// Where a stream stands; also ends a streaming transfer.
    StreamStatus {
        /// Position, as text.
        time: String,
        /// Length, as text.
        limit: String,
        /// 0..1, negative on error.
        completion: f32,
        /// Live source.
        streaming: bool,
        /// Frame number.
        frame: u32,
        /// Transfer identifier.
        identifier: u32,
    },
    /// How large a saved state would be.
    StateSize {
        /// Bytes; 0 means no state.
        size: u32,
        /// What kind of state.
        kind: u32,
    },
    /// Drop audio that is still queued.
    FlushAudio,
    /// Asks for another segment.
    SegmentRequest(SegmentRequest),
    /// The cursor's shape.
    CursorHint(String),
    /// Where the segment wants to be.
    Viewport(Viewport),
    /// What part of the content is seen.
    Content(Content),
    /// An input label.
    LabelHint(LabelHint),
    /// What the segment is; the first event on every channel.
    Register {
        /// Title.
        title: String,
        /// What it shows; never changes.
        kind: SegmentKind,
        /// For remembering settings; zeros: none.
        guid: [u64; 2],
    },
    /// Asks for attention.
    Alert(Text),
    /// Asks for clock ticks.
    ClockRequest {
        /// Ticks, or display counter.
        rate: u32,
        /// 0 timer, 1 presentation, 2 vertical blank.
        dynamic: u8,
        /// Once only.
        once: bool,
        /// Given back in STEPFRAME.
        id: u32,
    },
    /// What can be transferred, or a transfer that is asked for.
    BinaryState(BinaryState),
    /// Devices and types whose input is not wanted, as bit masks.
    InputMask {
        /// Device kinds.
        device: u32,
        /// Data types.
        types: u32,
    },
}

/// A text that may go on in the next event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Text {
    /// At most 77 bytes.
    pub text: String,
    /// More follows.
    pub multipart: bool,
}

/// SEGREQ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRequest {
    /// The peer's own number, given back in the answer.
    pub id: u32,
    /// Wanted width, pixels.
    pub width: u16,
    /// Wanted height, pixels.
    pub height: u16,
    /// Offset from the parent.
    pub x: i16,
    /// Offset from the parent.
    pub y: i16,
    /// 0 none, 1–4 split, 5–8 attach, 9 tab, 10 embed, 11 swallow.
    pub direction: u8,
    /// Hints.
    pub hints: u8,
    /// Wanted kind.
    pub kind: SegmentKind,
}

/// VIEWPORT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Viewport {
    /// Offset from the parent's upper left.
    pub x: i32,
    /// Offset from the parent's upper left.
    pub y: i32,
    /// Anchor region.
    pub width: u32,
    /// Anchor region.
    pub height: u32,
    /// Window token, or 0.
    pub parent: u32,
    /// Top, left, right, bottom, pixels.
    pub border: [u8; 4],
    /// Anchor edge, 0..9.
    pub edge: u8,
    /// Stacking relative to the parent.
    pub order: i8,
    /// 0 no, 1 any, 2 keep the aspect, 3 hint the presented size.
    pub embedded: u8,
    /// Not to be seen.
    pub invisible: bool,
    /// Wants the focus.
    pub focus: bool,
    /// Anchored to the edge.
    pub anchor_edge: bool,
    /// Anchored to the position.
    pub anchor_pos: bool,
    /// External id.
    pub ext_id: u32,
    /// The frame that it belongs to, or 0.
    pub frame: u64,
}

/// CONTENT.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// 0..1, negative: axis off.
    pub x_pos: f32,
    /// 0..1.
    pub x_size: f32,
    /// 0..1, negative: axis off.
    pub y_pos: f32,
    /// 0..1.
    pub y_size: f32,
    /// Size of the whole.
    pub width: f32,
    /// Size of the whole.
    pub height: f32,
    /// Cell size, pixels.
    pub cell: [u8; 2],
    /// Smallest useful size.
    pub min: [u32; 2],
    /// Largest useful size.
    pub max: [u32; 2],
}

/// LABELHINT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelHint {
    /// `[A-Z0-9_]`; empty: forget all labels.
    pub label: String,
    /// Suggested keysym, or 0.
    pub initial: u16,
    /// For people; empty: forget this label.
    pub description: String,
    /// One character as an icon.
    pub symbol: String,
    /// Sub-value.
    pub subv: u16,
    /// Expected input data type.
    pub datatype: u8,
    /// Suggested modifiers.
    pub modifiers: u16,
}

/// BCHUNKSTATE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryState {
    /// Size estimate, or namespace.
    pub size: u64,
    /// The sender wants to read.
    pub input: bool,
    /// 1 immediate, 2 accepts everything, 4 multipart, 8 cursor attachment.
    pub hint: u8,
    /// Need not be seekable.
    pub stream: bool,
    /// `;`-separated extensions, or a name.
    pub extensions: String,
    /// Pairs with a transfer.
    pub identifier: u32,
}

/// What a sink says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// Close the window.
    Exit,
    /// Pacing.
    FrameSkip(i32),
    /// A clock tick.
    StepFrame {
        /// How many.
        count: i32,
        /// What ticked.
        source: u32,
        /// Display counter.
        counter: u32,
    },
    /// The user set an option.
    CoreOption {
        /// Option number.
        index: i32,
        /// Its value.
        value: String,
    },
    /// Save state.
    Store(u32),
    /// Load state.
    Restore(u32),
    /// Data to read.
    BinaryIn(BinaryTransfer),
    /// Data to write.
    BinaryOut(BinaryTransfer),
    /// Reset: 0 soft, 1 hard, 2 recover, 3 reconnected.
    Reset(i32),
    /// Pause.
    Pause,
    /// Go on.
    Unpause,
    /// Seek in time.
    SeekTime {
        /// Relative to now.
        relative: bool,
        /// Seconds.
        seconds: f32,
    },
    /// Seek in content.
    SeekContent(SeekContent),
    /// Size, visibility, density.
    DisplayHint(DisplayHint),
    /// Choose a track.
    StreamSet(i32),
    /// Volume.
    Attenuate(f32),
    /// Audio and video delay, ms.
    AudioDelay {
        /// Audio.
        audio: i32,
        /// Video.
        video: i32,
    },
    /// The request with this id is refused.
    RequestFailed(u32),
    /// A colour.
    GraphMode {
        /// Colour group; +256 background.
        slot: u32,
        /// 0..255.
        rgb: [f32; 3],
    },
    /// Text.
    Message(Text),
    /// Font.
    FontHint {
        /// A font follows.
        present: bool,
        /// Millimetres; not positive: unchanged.
        size: f32,
        /// -1 unchanged, 0 off … 16 strong.
        hinting: i32,
        /// Append to the chain.
        append: bool,
    },
    /// Place and language.
    GeoHint {
        /// Degrees.
        latitude: f32,
        /// Degrees.
        longitude: f32,
        /// Metres.
        elevation: f32,
        /// Three-letter codes: country, spoken, written language.
        codes: [String; 3],
        /// Timezone offset.
        timezone: i32,
    },
    /// What the output can do.
    OutputHint {
        /// Pixels.
        max: [i32; 2],
        /// Hz.
        rate: i32,
        /// Pixels.
        min: [i32; 2],
        /// Output.
        id: i32,
        /// Variable refresh: smallest, step.
        vrr: [f32; 2],
    },
    /// Preroll is over.
    Activate,
    /// Position feedback.
    AnchorHint {
        /// Position.
        at: [i32; 3],
        /// Source token.
        source: u32,
        /// Parent token.
        parent: u32,
        /// Tokens are external ids.
        external: bool,
    },
}

/// BCHUNK_IN and BCHUNK_OUT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinaryTransfer {
    /// Bytes, or 0.
    pub size: u64,
    /// Namespace.
    pub namespace: u32,
    /// 1: parallel.
    pub flags: u32,
    /// Type or name.
    pub name: String,
}

/// SEEKCONTENT.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum SeekContent {
    /// By steps.
    Relative {
        /// Down.
        y: i32,
        /// Right.
        x: i32,
        /// Zoom step.
        zoom: f32,
    },
    /// To a place; -1 leaves an axis alone.
    Absolute {
        /// 0..1.
        y: f32,
        /// 0..1.
        x: f32,
        /// Zoom.
        zoom: f32,
    },
}

/// DISPLAYHINT.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DisplayHint {
    /// Pixels; 0: unchanged.
    pub width: i32,
    /// Pixels; 0: unchanged.
    pub height: i32,
    /// Complete state, unless 128 is set.
    pub flags: i32,
    /// Subpixel layout.
    pub subpixel: i32,
    /// Pixels per centimetre; not positive: unchanged.
    pub density: f32,
    /// Cell size, pixels; 0: unchanged.
    pub cell: [i32; 2],
    /// Segment token, or 0.
    pub token: u32,
}

/// Input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Io {
    /// 0 button, 1 axis motion, 2 touch, 3 status, 4 eyes.
    pub kind: u32,
    /// 1 keyboard, 2 mouse, 4 game device, 8 touch display, 16 LED, 32 eye tracker, 64 status.
    pub device_kind: u32,
    /// Label or gesture name.
    pub label: String,
    /// 1 gesture, 2 enter, 4 leave.
    pub flags: u8,
    /// Device number.
    pub device: u16,
    /// Button, axis or finger number.
    pub sub: u16,
    /// Sub-window token, or 0.
    pub destination: u32,
    /// ms, informational.
    pub pts: u64,
    /// What happened.
    pub data: IoData,
}

/// The body of an [`Io`], chosen by its data type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum IoData {
    /// An axis.
    Analog {
        /// The first value is relative.
        relative: bool,
        /// 1–4 values.
        samples: Vec<i16>,
        /// The pointer is in the window.
        active: bool,
    },
    /// A button.
    Digital {
        /// Pressed.
        active: bool,
    },
    /// A key.
    Translated {
        /// Text produced, up to 4 bytes.
        utf8: String,
        /// Pressed.
        active: bool,
        /// Device code.
        scancode: u8,
        /// Keysym.
        keysym: u32,
        /// Modifiers.
        modifiers: u16,
    },
    /// A finger.
    Touch {
        /// Down.
        active: bool,
        /// Surface pixels.
        x: i16,
        /// Surface pixels.
        y: i16,
        /// Pressure.
        pressure: f32,
        /// Size.
        size: f32,
        /// Tilt.
        tilt: [u16; 2],
        /// Tool.
        tool: u8,
    },
    /// Gaze.
    Eyes {
        /// Head position.
        head: [f32; 3],
        /// Head angle.
        angle: [f32; 3],
        /// First gaze point.
        gaze1: [f32; 2],
        /// Second gaze point.
        gaze2: [f32; 2],
        /// Blinking, left and right.
        blink: [bool; 2],
        /// Somebody is there.
        present: bool,
    },
    /// A device came or went.
    Status {
        /// 0 added, 1 removed, 2 blocked.
        action: u8,
        /// Device kind.
        device_kind: u8,
        /// Which device.
        reference: u16,
        /// Domain.
        domain: u8,
    },
}
