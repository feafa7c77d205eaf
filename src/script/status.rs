//! The status table that a callback gets: which kinds there are, and what is in them.
//!
//! A status crosses into Lua as a row of plain values; [`shim`] writes the Lua functions that make
//! the tables from the rows. Fields in `status/kinds.rs`, values in `status/row.rs`, in the same
//! order.

mod kinds;
mod row;

pub(super) use kinds::{Field, Id, KINDS, fields};
pub(super) use row::window_id;

use std::fmt::Write;

use super::world::Whole;
use crate::ipc::script::{KeyStatus, Request, WindowEvent};
use crate::ipc::{Carries, Exit};
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
    /// The program that talked with the client has ended.
    Exited(Exit),
    /// What became of what was asked of the keys.
    Keys(Result<Vec<KeyStatus>, String>),
    /// What the client says.
    Said {
        event: External,
        /// The segment's cookie.
        cookie: u32,
        /// The text that a message ends.
        whole: Whole,
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

/// The fields that are tables of four numbers in Lua, four values in the row.
fn is_quad(field: &Field) -> bool {
    field.ty == "number[]"
}

/// A Lua chunk that takes the table of handlers, the table of who waits for a vid, and what tells
/// them. It returns a function per kind, in the order of [`KINDS`]: given the vid and a row, it
/// tells the tasks that wait, and calls the handler, if there is one.
pub(super) fn shim() -> String {
    let mut lua = String::from("local handlers, waits, hear = ...\nreturn {\n");
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
            "function({})\nlocal handler, waited = handlers[vid], waits[vid]\n\
             if not handler and not waited then return end\nlocal status = {{ {table} }}\n\
             if waited then hear(vid, \"{}\", status) end\n\
             if handler then handler(vid, status) end\nend,",
            row.join(", "),
            kind.name
        );
    }
    lua.push_str("}\n");
    lua
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
