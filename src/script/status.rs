//! The status table that a callback gets: which kinds there are, and what is in them.
//!
//! A status crosses into Lua as a row of plain values; [`shim`] writes the Lua functions that make
//! the tables from the rows. Fields here, values in `status/row.rs`, in the same order.

mod row;

pub(super) use row::window_id;

use std::fmt::Write;

use crate::ipc::Carries;
use crate::ipc::script::{Request, WindowEvent};
use crate::wire::a12::event::{External, SegmentKind};

/// What a callback is told.
#[derive(Debug, Clone)]
pub(super) enum Status {
    /// The last chance to set something up before the client runs.
    Preroll(SegmentKind),
    /// What a segment is.
    Registered {
        kind: SegmentKind,
        title: String,
        guid: [u64; 2],
    },
    /// Over; nothing follows.
    Terminated(String),
    /// Where the client runs.
    Privdrop,
    /// A peer has proved its key.
    Peer {
        request: Box<Request>,
        id: u32,
        /// The listener's cookie.
        parent: u32,
    },
    /// Something did not work.
    Failure(String),
    /// A window of the listener's name has changed.
    Window {
        event: WindowEvent,
        left: u32,
        window: u64,
        label: Option<String>,
    },
    /// The picture's size.
    Resized(Resized),
    /// A frame has come.
    Frame(Frame),
    /// A connection that the script has asked for is up.
    Connected,
    /// It is gone, or was not made, and is tried again after so many ms.
    Disconnected { why: String, retry_ms: f64 },
    /// The client has sent a message of these parts.
    Parts(Vec<Vec<u8>>),
    /// The next bytes of the client's stream; `None`: they are for its stream object.
    Data(Option<Vec<u8>>),
    /// The client's stream is complete.
    Eof { failed: bool },
    /// What could not be written can be now.
    Drain,
    /// What the client says.
    Said {
        event: External,
        /// The segment's cookie.
        cookie: u32,
    },
}

/// The size and kind of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resized {
    pub(super) width: u16,
    pub(super) height: u16,
    pub(super) origin_ll: bool,
    pub(super) text: bool,
}

/// A frame, without its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// As the client counts.
    pub(super) number: u32,
    /// Where the changed region begins: x and y, pixels.
    pub(super) at: [u16; 2],
    /// Width and height of the changed region, pixels.
    pub(super) region: [u16; 2],
}

/// One kind of status.
#[derive(Debug)]
pub(super) struct Kind {
    /// The field `kind`.
    pub(super) name: &'static str,
    /// When it comes.
    pub(super) doc: &'static str,
    /// Its other fields, in the order of the row.
    pub(super) fields: &'static [Field],
}

/// One field of a status table.
#[derive(Debug)]
pub(super) struct Field {
    /// Its name.
    pub(super) name: &'static str,
    /// A second name for it, as documentation and code of Arcan differ.
    pub(super) also: Option<&'static str>,
    /// Its type, in LuaLS notation; `?` where it may be absent.
    pub(super) ty: &'static str,
    /// What it says.
    pub(super) doc: &'static str,
}

const fn f(name: &'static str, ty: &'static str, doc: &'static str) -> Field {
    Field {
        name,
        also: None,
        ty,
        doc,
    }
}

const fn also(
    name: &'static str,
    also: &'static str,
    ty: &'static str,
    doc: &'static str,
) -> Field {
    Field {
        name,
        also: Some(also),
        ty,
        doc,
    }
}

const SEGKIND: Field = f(
    "segkind",
    "string",
    "what the segment is: `application`, `tui`, `network-server`, …",
);
const FRAME: Field = f(
    "frame",
    "number",
    "the client's frame that the event belongs to, or 0",
);
const AUDIO: Field = f("source_audio", "number", "audio id; always 0 here");
const MULTIPART: Field = f(
    "multipart",
    "boolean",
    "the text goes on in the next status of this kind",
);

/// The place of a kind in [`KINDS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Preroll,
    Registered,
    Terminated,
    Privdrop,
    SegmentRequest,
    Failure,
    Window,
    Connected,
    Disconnected,
    Resized,
    Frame,
    Viewport,
    ContentState,
    CursorHint,
    Message,
    Data,
    Eof,
    Drain,
    Alert,
    Ident,
    CoreOpt,
    BchunkState,
    StateSize,
    StreamInfo,
    StreamStatus,
    InputLabel,
    MaskInput,
    Unknown,
}

/// All kinds, in the order of [`Id`].
pub(super) static KINDS: [Kind; 28] = [
    Kind {
        name: "preroll",
        doc: "The last chance to send hints before the client runs; ACTIVATE goes out when the callback returns, unless it called suspend_target. On a listener it is only for information.",
        fields: &[SEGKIND, AUDIO],
    },
    Kind {
        name: "registered",
        doc: "What the segment is. May come again with a new title; the kind stays.",
        fields: &[
            SEGKIND,
            f("title", "string", "at most 63 bytes, chosen by the peer"),
            f(
                "guid",
                "string",
                "24 characters of base64, chosen by the peer, for remembering settings",
            ),
            FRAME,
        ],
    },
    Kind {
        name: "terminated",
        doc: "The segment or listener is gone; nothing follows for it. Its vid stays until delete_image.",
        fields: &[f(
            "last_words",
            "string",
            "why, at most 31 bytes, may be empty",
        )],
    },
    Kind {
        name: "privdrop",
        doc: "Where the client runs; follows preroll.",
        fields: &[
            f(
                "external",
                "boolean",
                "started outside of this host's reach; not told by the peer, so false",
            ),
            f("sandboxed", "boolean", "known to be sandboxed; false"),
            f("networked", "boolean", "comes over the network; true"),
        ],
    },
    Kind {
        name: "segment_request",
        doc: "On a listener: a peer has proved its key. On a segment: the client asks for another one. accept_target in this callback says yes; returning without it, or an error, says no.",
        fields: &[
            f(
                "segkind",
                "string",
                "what is asked for; `handover` on a listener",
            ),
            f("width", "number", "wanted pixels; 0 on a listener"),
            f("height", "number", "wanted pixels; 0 on a listener"),
            f("reqid", "number", "the asker's number for the request"),
            f("xofs", "number", "offset from the parent, pixels"),
            f("yofs", "number", "offset from the parent, pixels"),
            f(
                "parent",
                "number",
                "cookie (not vid) of the segment or listener that asks",
            ),
            f(
                "split",
                "string?",
                "`left`, `right`, `top`, `bottom`: split the parent, new segment on that side",
            ),
            f(
                "position",
                "string?",
                "`left`, `right`, `top`, `bottom`, `tab`, `embed`, `swallow`",
            ),
            FRAME,
            f(
                "a12_pubk",
                "string?",
                "listener: the peer's public key, base64; proved",
            ),
            f(
                "a12_tags",
                "string?",
                "listener: the names that the key is accepted for, comma-separated",
            ),
            f(
                "a12_endpoint",
                "string?",
                "listener: where the peer connects from",
            ),
            f(
                "a12_new",
                "boolean?",
                "listener: the key came in by a window just now",
            ),
            f(
                "protocol",
                "string?",
                "listener: what the peer speaks, `a12`, `zmtp` or `curvecp`",
            ),
            f(
                "anonymous",
                "boolean?",
                "listener: nobody knows the peer; it came in because the listener takes such",
            ),
            f(
                "zmtp_socket_type",
                "string?",
                "listener, ZeroMQ: the type of the peer's socket in lower case; not every peer says",
            ),
            f(
                "zmtp_identity",
                "string?",
                "listener, ZeroMQ: the identity that the peer has chosen, any bytes",
            ),
            f(
                "properties",
                "table<string, string>?",
                "listener, ZeroMQ: what else the peer tells of itself",
            ),
        ],
    },
    Kind {
        name: "failure",
        doc: "Something did not work; the segment or listener goes on.",
        fields: &[f("message", "string", "what; may be empty"), FRAME],
    },
    Kind {
        name: "window",
        doc: "A window for unknown keys of the listener's name has changed.",
        fields: &[
            f(
                "event",
                "string",
                "`opened`, `resumed`, `enrolled`, `spent`, `expired`, `closed`, `guessed`, or `failed`: not done, as the script asked; a `failure` says why",
            ),
            f("left", "number", "how many keys it still lets in"),
            f("id", "string", "its number, sixteen hex digits"),
            f("label", "string?", "what it is called"),
        ],
    },
    Kind {
        name: "connected",
        doc: "A connection of moonport.connect is up: the server has taken us.",
        fields: &[],
    },
    Kind {
        name: "disconnected",
        doc: "A connection of moonport.connect is gone, or could not be made; it is tried again by itself. What was under way is lost, what has waited stays.",
        fields: &[
            f("message", "string", "why"),
            f("retry_ms", "number", "when it is tried again, milliseconds"),
        ],
    },
    Kind {
        name: "resized",
        doc: "The picture's size or kind; before the first frame and at each change.",
        fields: &[
            f("width", "number", "pixels, 1..8192"),
            f("height", "number", "pixels, 1..8192"),
            also(
                "origo_ll",
                "mirrored",
                "boolean",
                "the origin is the lower left corner",
            ),
            f("tpack", "boolean", "the content is text"),
            AUDIO,
        ],
    },
    Kind {
        name: "frame",
        doc: "A frame has come; only with TARGET_VERBOSE, and after `resized`. Pixels are not decoded.",
        fields: &[
            f("pts", "number", "milliseconds; 0, as a12 does not say"),
            f("number", "number", "as the client counts"),
            f("x", "number", "left side of the changed region, pixels"),
            f("y", "number", "upper side of the changed region, pixels"),
            f("width", "number", "of the changed region, pixels"),
            f("height", "number", "of the changed region, pixels"),
        ],
    },
    Kind {
        name: "viewport",
        doc: "Where the segment wants to be.",
        fields: &[
            f("invisible", "boolean", "not to be seen"),
            f("focus", "boolean", "wants the focus"),
            f("anchor_edge", "boolean", "anchored to an edge"),
            f("anchor_pos", "boolean", "anchored to a position"),
            f("embedded", "boolean", "to be shown inside its parent"),
            f("scaled", "boolean", "embedded: may be scaled"),
            f(
                "hintfwd",
                "boolean",
                "embedded: wants hints about the presented size",
            ),
            f(
                "rel_order",
                "number",
                "stacking relative to the parent, -128..127",
            ),
            f("rel_x", "number", "pixels from the parent's upper left"),
            f("rel_y", "number", "pixels from the parent's upper left"),
            also("anchor_w", "anch_w", "number", "anchor region, pixels"),
            also("anchor_h", "anch_h", "number", "anchor region, pixels"),
            f(
                "edge",
                "number",
                "0 free, 1 UL, 2 UC, 3 UR, 4 CL, 5 C, 6 CR, 7 LL, 8 LC, 9 LR",
            ),
            f("ext_id", "number", "external id"),
            f("parent", "number", "cookie of the parent, 0 none"),
            f("border", "number[]", "top, left, right, bottom, pixels"),
            FRAME,
        ],
    },
    Kind {
        name: "content_state",
        doc: "What part of the content is seen.",
        fields: &[
            f("rel_x", "number", "0..1, negative: unknown"),
            f("rel_y", "number", "0..1, negative: unknown"),
            f("wnd_w", "number", "size of the whole"),
            f("wnd_h", "number", "size of the whole"),
            f("x_size", "number", "0..1"),
            f("y_size", "number", "0..1"),
            f("cell_w", "number", "text cell, pixels"),
            f("cell_h", "number", "text cell, pixels"),
            f("min_w", "number", "smallest useful size, pixels"),
            f("min_h", "number", "smallest useful size, pixels"),
            f("max_w", "number", "largest useful size, pixels"),
            f("max_h", "number", "largest useful size, pixels"),
            FRAME,
        ],
    },
    Kind {
        name: "cursorhint",
        doc: "The cursor's shape.",
        fields: &[
            f(
                "cursor",
                "string",
                "such as `default`, `hidden`, `zoom-in`, `input:x:y`",
            ),
            FRAME,
        ],
    },
    Kind {
        name: "message",
        doc: "Free text, or a message of parts.",
        fields: &[
            f(
                "message",
                "string",
                "at most 77 bytes of text; of a message of parts, the first one, of any size and content",
            ),
            MULTIPART,
            FRAME,
            f("parts", "string[]?", "all parts of a message of parts"),
        ],
    },
    Kind {
        name: "data",
        doc: "The next bytes of the client's stream, cut anywhere.",
        fields: &[f(
            "data",
            "string?",
            "any bytes; absent once moonport.stream was called: they are for its `read`",
        )],
    },
    Kind {
        name: "eof",
        doc: "The client's stream is complete. Ours goes on until moonport.finish; when both are, `terminated` follows.",
        fields: &[f(
            "failed",
            "boolean",
            "the client says that something went wrong at its side",
        )],
    },
    Kind {
        name: "drain",
        doc: "There is room again for what moonport.write did not take.",
        fields: &[],
    },
    Kind {
        name: "alert",
        doc: "Asks for attention.",
        fields: &[
            f("message", "string", "empty: look at me; a URI: open this"),
            MULTIPART,
            FRAME,
        ],
    },
    Kind {
        name: "ident",
        doc: "The content's identity has changed.",
        fields: &[f("message", "string", "what is shown now"), FRAME],
    },
    Kind {
        name: "coreopt",
        doc: "One of the client's options; target_coreopt sets it.",
        fields: &[
            f("slot", "number", "which option, 0..255"),
            f(
                "type",
                "string",
                "`key`, `description`, `value` (an allowed one) or `current`",
            ),
            f("argument", "string", "the key, description or value"),
            FRAME,
        ],
    },
    Kind {
        name: "bchunkstate",
        doc: "What the client can transfer, or wants to now.",
        fields: &[
            f("input", "boolean", "the client wants to read"),
            f(
                "hint",
                "boolean",
                "true: a standing capability; false: its user asks now",
            ),
            f("stream", "boolean", "need not be seekable"),
            f("wildcard", "boolean", "any type will do"),
            f("multipart", "boolean", "more follows"),
            f("cursor", "boolean", "goes with the cursor"),
            f("disable", "boolean", "withdrawn"),
            f("size", "number", "bytes, estimated"),
            f(
                "extensions",
                "string?",
                "separated by `;`; absent when withdrawn",
            ),
            FRAME,
        ],
    },
    Kind {
        name: "state_size",
        doc: "How large a saved state would be.",
        fields: &[
            f("state_size", "number", "bytes; 0: has no state to save"),
            f("typeid", "number", "what kind of state"),
            FRAME,
        ],
    },
    Kind {
        name: "streaminfo",
        doc: "A track that can be chosen.",
        fields: &[
            f("lang", "string", "three letters"),
            f("streamid", "number", "0..255"),
            f(
                "type",
                "string",
                "`audio`, `video`, `text`, `overlay` or `broken`",
            ),
            FRAME,
        ],
    },
    Kind {
        name: "streamstatus",
        doc: "Where a stream stands.",
        fields: &[
            f("ctime", "string", "position"),
            f("endtime", "string", "length"),
            f("completion", "number", "0..1, negative: error"),
            f("frameno", "number", "frame number"),
            f("streaming", "number", "1: live source, else 0"),
            FRAME,
        ],
    },
    Kind {
        name: "input_label",
        doc: "An input the client knows by name.",
        fields: &[
            f("labelhint", "string", "the name; empty: forget all names"),
            f("description", "string", "for people"),
            f(
                "datatype",
                "string",
                "`analog`, `digital`, `translated`, `touch` or `eyes`",
            ),
            f("initial", "number", "suggested keysym, or 0"),
            f("modifiers", "number", "suggested modifiers"),
            f("vsym", "string", "a character as icon"),
            FRAME,
        ],
    },
    Kind {
        name: "mask_input",
        doc: "The client wants no input of some kinds; target_input drops those.",
        fields: &[FRAME],
    },
    Kind {
        name: "unknown",
        doc: "An event that has no kind of its own.",
        fields: &[f("kind_num", "number", "its number"), FRAME],
    },
];

/// The fields that are tables of four numbers in Lua, four values in the row.
fn is_quad(field: &Field) -> bool {
    field.ty == "number[]"
}

/// A Lua chunk that takes the table of handlers and returns a function per kind, in the order of
/// [`KINDS`]: given the vid and a row, it calls the handler, if there is one.
pub(super) fn shim() -> String {
    let mut lua = String::from("local handlers = ...\nreturn {\n");
    for kind in &KINDS {
        let mut row = vec!["vid".to_owned()];
        let mut table = format!("kind = \"{}\"", kind.name);
        for field in kind.fields {
            let value = if is_quad(field) {
                let names: Vec<_> = (1..=4).map(|i| format!("{}{i}", field.name)).collect();
                row.extend(names.iter().cloned());
                format!("{{ {} }}", names.join(", "))
            } else {
                row.push(format!("v_{}", field.name));
                format!("v_{}", field.name)
            };
            for name in std::iter::once(field.name).chain(field.also) {
                let _ = write!(table, ", {name} = {value}");
            }
        }
        let _ = writeln!(
            lua,
            "function({})\nlocal handler = handlers[vid]\nif handler then handler(vid, {{ {table} }}) end\nend,",
            row.join(", ")
        );
    }
    lua.push_str("}\n");
    lua
}

/// The names of all fields of all kinds.
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    KINDS
        .iter()
        .flat_map(|kind| kind.fields)
        .map(|field| field.name)
}

/// The names of segment kinds, by number.
pub(super) fn segkind(kind: SegmentKind) -> &'static str {
    match kind.0 {
        0 => "unknown",
        1 => "lightweight arcan",
        2 => "network-server",
        3 => "network-client",
        4 => "multimedia",
        5 => "terminal",
        6 => "remoting",
        7 => "encoder",
        8 => "sensor",
        9 => "game",
        10 => "application",
        11 => "browser",
        12 => "vm",
        13 => "hmd-sbs-lr",
        14 => "hmd-l",
        15 => "hmd-r",
        16 => "popup",
        17 => "icon",
        18 => "titlebar",
        19 => "cursor",
        20 => "accessibility",
        21 => "clipboard",
        22 => "clipboard-paste",
        23 => "widget",
        24 => "tui",
        25 => "service",
        26 => "bridge-x11",
        27 => "bridge-wayland",
        28 => "handover",
        29 => "audio",
        30 => "bridge-allocator",
        255 => "debug",
        0x6d73 => "messages",
        0x7374 => "stream",
        _ => "",
    }
}

/// Segment kinds that only the host side of a listener may have.
pub(super) fn is_network(kind: SegmentKind) -> bool {
    matches!(kind.0, 2 | 3)
}

/// What a listener registers as.
pub(super) const NETWORK_SERVER: SegmentKind = SegmentKind(2);

/// What a client without events of Arcan's is, that sends messages of parts. Not on the wire.
pub(super) const MESSAGES: SegmentKind = SegmentKind(0x6d73);

/// What a client is that sends and takes bytes. Not on the wire.
const STREAM: SegmentKind = SegmentKind(0x7374);

/// What a client without events of Arcan's is.
pub(super) fn foreign(carries: Carries) -> Option<SegmentKind> {
    match carries {
        Carries::Events => None,
        Carries::Messages { .. } => Some(MESSAGES),
        Carries::Stream { .. } => Some(STREAM),
    }
}

/// A peer that has become a client asks for this.
pub(super) const HANDOVER: SegmentKind = SegmentKind(28);

/// The wire's numbers of input data types.
pub(super) const DATATYPES: [(&str, u32); 5] = [
    ("analog", 1),
    ("digital", 2),
    ("translated", 4),
    ("touch", 8),
    ("eyes", 16),
];

#[cfg(test)]
mod tests;
