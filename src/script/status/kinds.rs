//! Which kinds of status there are, and their fields: the one table that the shim, the LuaLS
//! definitions and the reference are made from.

/// One kind of status.
#[derive(Debug)]
pub(in crate::script) struct Kind {
    /// The field `kind`.
    pub(in crate::script) name: &'static str,
    /// When it comes.
    pub(in crate::script) doc: &'static str,
    /// Its other fields, in the order of the row.
    pub(in crate::script) fields: &'static [Field],
}

/// One field of a status table.
#[derive(Debug)]
pub(in crate::script) struct Field {
    /// Its name.
    pub(in crate::script) name: &'static str,
    /// A second name for it, as documentation and code of Arcan differ.
    pub(in crate::script) also: Option<&'static str>,
    /// Its type, in LuaLS notation; `?` where it may be absent.
    pub(in crate::script) ty: &'static str,
    /// What it says.
    pub(in crate::script) doc: &'static str,
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
pub(in crate::script) enum Id {
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
    Exited,
    Keys,
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
pub(in crate::script) static KINDS: [Kind; 30] = [
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
        doc: "A connection of moonport.connect is gone, or could not be made; it is tried again by itself. What was under way is lost. Messages that have waited stay; of a stream nothing does, and the next `connected` begins another.",
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
                "at most 77 bytes of text, none if they were cut inside a character; of a message of parts, the first one, of any size and content",
            ),
            MULTIPART,
            FRAME,
            f("parts", "string[]?", "all parts of a message of parts"),
            f(
                "text",
                "string?",
                "with the last status of a text, `multipart` false: the whole of it, up to 65536 bytes",
            ),
            f(
                "note",
                "string?",
                "why there is no `text`, where there should be",
            ),
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
        name: "exited",
        doc: "The program of moonport.exec has ended, and its client has what it said. What the client says from here on is for the script.",
        fields: &[
            f(
                "failed",
                "boolean",
                "it did not end with code 0; without code and signal: it was not started, and the log says why",
            ),
            f("code", "number?", "its exit code"),
            f("signal", "number?", "the signal that has ended it"),
        ],
    },
    Kind {
        name: "keys",
        doc: "To a callback of moonport.keys, as its only argument: what was asked for is done, or why it is not.",
        fields: &[
            f("ok", "boolean", "it is done, and on the disk"),
            f("message", "string?", "why it is not done"),
            f(
                "keys",
                "key_state[]?",
                "those that moonport.keys.list was asked for",
            ),
        ],
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

/// The names of all fields of all kinds.
pub(in crate::script) fn fields() -> impl Iterator<Item = &'static str> {
    KINDS
        .iter()
        .flat_map(|kind| kind.fields)
        .map(|field| field.name)
}
