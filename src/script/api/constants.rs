//! The constants that scripts see.

use mlua::{IntoLua, Lua, Value};

use super::flags;

/// One constant.
pub(in crate::script) struct Constant {
    pub(in crate::script) name: &'static str,
    pub(in crate::script) value: Constantly,
    pub(in crate::script) doc: &'static str,
}

/// Its value.
#[derive(Debug, Clone)]
pub(in crate::script) enum Constantly {
    Number(f64),
    Text(&'static str),
}

impl IntoLua for Constantly {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Number(number) => number.into_lua(lua),
            Self::Text(text) => text.into_lua(lua),
        }
    }
}

const fn n(name: &'static str, value: f64, doc: &'static str) -> Constant {
    Constant {
        name,
        value: Constantly::Number(value),
        doc,
    }
}

const fn t(name: &'static str, value: &'static str, doc: &'static str) -> Constant {
    Constant {
        name,
        value: Constantly::Text(value),
        doc,
    }
}

/// All constants; `APPLID` and `CLOCK` are set beside them.
pub(in crate::script) const CONSTANTS: &[Constant] = &[
    n("BADID", 0.0, "no vid"),
    n("WORLDID", -1.0, "the canvas; there is none here"),
    n(
        "TYPE_FRAMESERVER",
        3.0,
        "for valid_vid: a live listener or segment",
    ),
    n("TYPE_3DOBJECT", 6.0, "for valid_vid: never here"),
    n("EXIT_SUCCESS", 0.0, "for shutdown"),
    n("EXIT_FAILURE", 1.0, "for shutdown"),
    n(
        "EXIT_SILENT",
        256.0,
        "for shutdown: clients are not told to exit",
    ),
    n("CLOCKRATE", 25.0, "milliseconds per tick"),
    n("CLOCK", 0.0, "the current tick"),
    n("DISCOVER_PASSIVE", 1.0, "way to discover"),
    n("DISCOVER_SWEEP", 2.0, "way to discover"),
    n("DISCOVER_BROADCAST", 3.0, "way to discover"),
    n("DISCOVER_DIRECTORY", 4.0, "way to discover"),
    n("DISCOVER_TEST", 8.0, "way to discover"),
    n("TRUST_KNOWN", 11.0, "trust when discovering"),
    n("TRUST_PERMIT_UNKNOWN", 12.0, "trust when discovering"),
    n("TRUST_TRANSITIVE", 13.0, "trust when discovering"),
    n(
        "TARGET_SYNCHRONOUS",
        1.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_NOALPHA",
        2.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_VERBOSE",
        flags::VERBOSE,
        "flag of target_flags: tell of frames",
    ),
    n(
        "TARGET_VSTORE_SYNCH",
        4.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_AUTOCLOCK",
        5.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_NOBUFFERPASS",
        6.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_ALLOWCM",
        7.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_ALLOWHDR",
        8.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_ALLOWINPUT",
        9.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_ALLOWGPU",
        10.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_LIMITSIZE",
        flags::LIMITSIZE,
        "flag of target_flags: no larger pictures",
    ),
    n(
        "TARGET_SYNCHSIZE",
        12.0,
        "flag of target_flags; taken, without effect",
    ),
    n(
        "TARGET_BLOCKADOPT",
        flags::BLOCKADOPT,
        "flag of target_flags: close it when the script starts again",
    ),
    n(
        "TARGET_DRAINQUEUE",
        flags::DRAINQUEUE,
        "flag of target_flags; taken, without effect",
    ),
    n("TARGET_ALLOWLODEF", 0.0, "no flag: target_flags refuses it"),
    n(
        "TARGET_ALLOWVECTOR",
        0.0,
        "no flag: target_flags refuses it",
    ),
    n(
        "TD_HINT_CONTINUED",
        1.0,
        "target_displayhint: a resize by hand goes on",
    ),
    n("TD_HINT_INVISIBLE", 2.0, "target_displayhint: not seen"),
    n(
        "TD_HINT_UNFOCUSED",
        4.0,
        "target_displayhint: without focus",
    ),
    n("TD_HINT_MAXIMIZED", 8.0, "target_displayhint: maximized"),
    n("TD_HINT_FULLSCREEN", 16.0, "target_displayhint: fullscreen"),
    n("TD_HINT_DETACHED", 32.0, "target_displayhint: detached"),
    n(
        "TD_HINT_IGNORE",
        128.0,
        "target_displayhint: flags stay as they are",
    ),
    n("SEEK_RELATIVE", 1.0, "target_seek: from where it is"),
    n("SEEK_ABSOLUTE", 0.0, "target_seek: to a place"),
    n("SEEK_TIME", 1.0, "target_seek: in time"),
    n("SEEK_SPACE", 0.0, "target_seek: in content"),
    n("APPL_TEMP_RESOURCE", 1.0, "namespace: temporary files"),
    n("APPL_RESOURCE", 2.0, "namespace: the script's folder"),
    n("SHARED_RESOURCE", 4.0, "namespace: shared files"),
    n("APPL_STATE_RESOURCE", 8.0, "namespace: state"),
    n("SYS_APPL_RESOURCE", 16.0, "namespace: all scripts"),
    n("SYS_FONT_RESOURCE", 128.0, "namespace: fonts"),
    n("SYS_SCRIPT_RESOURCE", 2048.0, "namespace: system scripts"),
    n(
        "ALL_RESOURCES",
        4103.0,
        "namespaces: temporary, script, shared, user",
    ),
    n("FORMAT_PNG", 0.0, "picture format"),
    n("FORMAT_PNG_FLIP", 1.0, "picture format"),
    n("FORMAT_RAW8", 2.0, "picture format"),
    n("FORMAT_RAW24", 3.0, "picture format"),
    n("FORMAT_RAW32", 4.0, "picture format"),
    n("MAX_TARGETW", 8192.0, "the widest segment, pixels"),
    n("MAX_TARGETH", 8192.0, "the highest segment, pixels"),
    n("LAUNCH_EXTERNAL", 0.0, "way to launch"),
    n("LAUNCH_INTERNAL", 1.0, "way to launch"),
    n("DEVICE_INDIRECT", 1.0, "kind of device"),
    n("DEVICE_DIRECT", 2.0, "kind of device"),
    n("DEVICE_LOST", 3.0, "kind of device"),
    n("ANCHORHINT_SEGMENT", 10.0, "kind of anchor hint"),
    n("ANCHORHINT_EXTERNAL", 11.0, "kind of anchor hint"),
    n("ANCHORHINT_PROXY", 12.0, "kind of anchor hint"),
    n("ANCHORHINT_PROXY_EXTERNAL", 13.0, "kind of anchor hint"),
    n("MOUSE_BTNLEFT", 1.0, "mouse button"),
    n("MOUSE_BTNMIDDLE", 2.0, "mouse button"),
    n("MOUSE_BTNRIGHT", 3.0, "mouse button"),
    n(
        "API_VERSION_MAJOR",
        0.0,
        "version of Arcan's API that this one follows",
    ),
    n(
        "API_VERSION_MINOR",
        13.0,
        "version of Arcan's API that this one follows",
    ),
    t(
        "API_ENGINE_BUILD",
        concat!("moonport-", env!("CARGO_PKG_VERSION")),
        "which program runs the script",
    ),
    t("FRAMESERVER_MODES", "net", "kinds of frameserver there are"),
    n("DEBUGLEVEL", 0.0, "debug level"),
    n("VRESW", 1024.0, "width of the imagined canvas, pixels"),
    n("VRESH", 768.0, "height of the imagined canvas, pixels"),
    n("HPPCM", 38.4, "its density, pixels per centimetre"),
    n("VPPCM", 38.4, "its density, pixels per centimetre"),
    n("FONT_PT_SZ", 0.352_778, "millimetres per point"),
];
