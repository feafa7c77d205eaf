//! What the engine and the functions of the API share.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use mlua::{Function, Table};

use super::keys::Keys;
use super::vids::Vid;
use super::world::World;
use crate::ipc::script::Run;

/// Where a script's words go.
pub trait Console {
    /// What the script prints: one line, without its end.
    fn print(&self, line: &[u8]);
    /// Warnings and error reports; may have several lines.
    fn report(&self, text: &str);
}

/// What a script may use up.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A callback that takes longer is reported.
    pub warn: Duration,
    /// A callback that takes longer is stopped.
    pub stop: Duration,
    /// Bytes of Lua memory.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            warn: Duration::from_millis(50),
            stop: Duration::from_secs(2),
            memory: 256 << 20,
        }
    }
}

/// How a script ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ending {
    pub(super) code: u8,
    pub(super) silent: bool,
    pub(super) message: String,
}

/// What the engine and the functions of the API share.
pub(super) struct Core {
    pub(super) world: RefCell<World>,
    pub(super) console: Box<dyn Console>,
    pub(super) run: Run,
    pub(super) limits: Limits,
    pub(super) random: fn(&mut [u8]),
    /// The callbacks, by vid.
    pub(super) handlers: Table,
    /// Read when first used.
    pub(super) keys: RefCell<Option<Keys>>,
    /// Set by shutdown(): the script ends when what is queued has been dispatched.
    pub(super) ending: RefCell<Option<Ending>>,
    /// An error that `pcall` does not catch.
    pub(super) stop: RefCell<Option<mlua::Error>>,
    /// When the running callback began.
    pub(super) since: Cell<Option<Instant>>,
}

impl Core {
    /// Sets or removes the callback of a vid.
    pub(super) fn set_handler(&self, vid: Vid, handler: Option<Function>) -> mlua::Result<()> {
        self.handlers.raw_set(vid.number(), handler)
    }

    /// A warning, with the appl's name before it.
    pub(super) fn warn(&self, text: &str) {
        self.console
            .report(&format!("{}: warning: {text}", self.run.appl));
    }
}
