use serde::{Deserialize, Serialize};

/// What a segment shows (SEGID).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentKind(pub u32);

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $kind:ident = $number:literal, $name:literal;)*) => {
        impl SegmentKind {
            $($(#[doc = $doc])+ pub const $kind: Self = Self($number);)*

            /// What scripts call it; empty for a number without a name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                    _ => "",
                }
            }
        }
    };
}

kinds! {
    /// Nothing in particular.
    UNKNOWN = 0, "unknown";
    /// Another display engine.
    LIGHTWEIGHT_ARCAN = 1, "lightweight arcan";
    /// A listener.
    NETWORK_SERVER = 2, "network-server";
    /// An outbound connection.
    NETWORK_CLIENT = 3, "network-client";
    /// A player of media.
    MEDIA = 4, "multimedia";
    /// A terminal emulator.
    TERMINAL = 5, "terminal";
    /// Another desktop.
    REMOTING = 6, "remoting";
    /// It takes pictures and sound.
    ENCODER = 7, "encoder";
    /// It measures something.
    SENSOR = 8, "sensor";
    /// A game.
    GAME = 9, "game";
    /// An ordinary program.
    APPLICATION = 10, "application";
    /// A browser.
    BROWSER = 11, "browser";
    /// A virtual machine.
    VM = 12, "vm";
    /// Both eyes of a head-mounted display, side by side.
    HMD_SIDE_BY_SIDE = 13, "hmd-sbs-lr";
    /// The left eye of a head-mounted display.
    HMD_LEFT = 14, "hmd-l";
    /// The right eye of a head-mounted display.
    HMD_RIGHT = 15, "hmd-r";
    /// A short-lived window of another.
    POPUP = 16, "popup";
    /// An icon.
    ICON = 17, "icon";
    /// A title bar.
    TITLEBAR = 18, "titlebar";
    /// A cursor.
    CURSOR = 19, "cursor";
    /// What helps to use another segment.
    ACCESSIBILITY = 20, "accessibility";
    /// A clipboard that the source fills.
    CLIPBOARD = 21, "clipboard";
    /// A clipboard that the sink fills.
    CLIPBOARD_PASTE = 22, "clipboard-paste";
    /// A part of a window.
    WIDGET = 23, "widget";
    /// A text interface.
    TUI = 24, "tui";
    /// Something without a picture.
    SERVICE = 25, "service";
    /// X11 clients.
    BRIDGE_X11 = 26, "bridge-x11";
    /// Wayland clients.
    BRIDGE_WAYLAND = 27, "bridge-wayland";
    /// A connection meant for another process.
    HANDOVER = 28, "handover";
    /// Sound only.
    AUDIO = 29, "audio";
    /// It makes segments for others.
    BRIDGE_ALLOCATOR = 30, "bridge-allocator";
    /// What watches a display engine; it has no name in scripts.
    MONITOR = 254, "";
    /// What debugs another segment.
    DEBUG = 255, "debug";
}
