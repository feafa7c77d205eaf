//! What the engine and the functions of the API share.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use mlua::{Function, Table};

use super::heard::Heard;
use super::keys::Keys;
use super::tasks::Tasks;
use super::text::{cut, printable};
use super::vids::Vid;
use super::world::World;
use crate::ipc::script::{Limits, Report, Run, Severity};

/// Where a script's words go.
pub trait Console {
    /// What the script prints: one line, without its end.
    fn print(&self, line: &[u8]);
}

/// As many warnings of one turn are told, and as many errors; a script may warn in a loop.
const MAX_REPORTS: usize = 100;

/// The most bytes of one text of a report: all of them have to fit into one message.
const MAX_TEXT: usize = 8 * 1024;

/// What is to be told to the script's author at the end of the turn.
#[derive(Debug, Default)]
pub(super) struct Reports {
    told: Vec<Report>,
    untold: usize,
}

impl Reports {
    fn push(&mut self, report: Report) {
        let same = |told: &&Report| told.severity == report.severity;
        if self.told.iter().filter(same).count() < MAX_REPORTS {
            self.told.push(report);
        } else {
            self.untold += 1;
        }
    }

    /// All of them, and how many there were beyond.
    pub(super) fn take(&mut self) -> Vec<Report> {
        let mut told = std::mem::take(&mut self.told);
        let untold = std::mem::take(&mut self.untold);
        if untold > 0 {
            let message = format!("{untold} more warnings and errors at once are not shown");
            told.push(Report::new(Severity::Warning, message));
        }
        told
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
    pub(super) reports: RefCell<Reports>,
    /// What is said while something is evaluated.
    pub(super) heard: RefCell<Option<Heard>>,
    pub(super) random: fn(&mut [u8]),
    /// The callbacks, by vid.
    pub(super) handlers: Table,
    /// Read when first used.
    pub(super) keys: RefCell<Option<Keys>>,
    /// Set by shutdown(): the script ends when what is queued has been dispatched.
    pub(super) ending: RefCell<Option<Ending>>,
    pub(super) tasks: Tasks,
    /// An error that `pcall` does not catch.
    pub(super) stop: RefCell<Option<mlua::Error>>,
    /// When the running callback began.
    pub(super) since: Cell<Option<Instant>>,
    /// Where the script was lately: `file:line`. Some errors leave no trace of where they were.
    pub(super) seen: RefCell<Option<String>>,
    /// How often it has been looked at.
    pub(super) looks: Cell<u32>,
    /// With so much memory in use, what is unused is looked for.
    pub(super) collect: Cell<usize>,
}

impl Core {
    pub(super) fn new(
        run: Run,
        console: Box<dyn Console>,
        random: fn(&mut [u8]),
        handlers: Table,
    ) -> Self {
        Self {
            world: RefCell::new(World::new(random)),
            console,
            run,
            reports: RefCell::new(Reports::default()),
            heard: RefCell::new(None),
            random,
            handlers,
            keys: RefCell::new(None),
            ending: RefCell::new(None),
            stop: RefCell::new(None),
            since: Cell::new(None),
            seen: RefCell::new(None),
            looks: Cell::new(0),
            tasks: Tasks::new(Instant::now()),
            collect: Cell::new(0),
        }
    }

    /// Sets or removes the callback of a vid.
    pub(super) fn set_handler(&self, vid: Vid, handler: Option<Function>) -> mlua::Result<()> {
        self.handlers.raw_set(vid.number(), handler)
    }

    /// A vid is gone: it has no callback any more, and nobody waits for it.
    pub(super) fn forget(&self, vid: Vid) -> mlua::Result<()> {
        self.set_handler(vid, None)?;
        self.tasks.tell_deleted(vid)
    }

    /// What a script may use up.
    pub(super) fn limits(&self) -> &Limits {
        &self.run.limits
    }

    /// Tells the script's author that something was not done or not as meant.
    pub(super) fn warn(&self, text: &str) {
        self.report(Report::new(Severity::Warning, text));
    }

    /// Tells the script's author something.
    pub(super) fn report(&self, report: Report) {
        let report = bounded(report);
        if let Some(heard) = &mut *self.heard.borrow_mut() {
            heard.report(&report);
        }
        self.reports.borrow_mut().push(report);
    }

    /// Prints what the script prints: one line, without its end.
    pub(super) fn print(&self, line: &[u8]) {
        self.console.print(line);
        if let Some(heard) = &mut *self.heard.borrow_mut() {
            heard.print(line);
        }
    }
}

/// A report that fits into one message, and is harmless for a terminal.
pub(super) fn bounded(report: Report) -> Report {
    let text = |text: String| printable(cut(&text, MAX_TEXT));
    Report {
        severity: report.severity,
        message: text(report.message),
        within: report.within.map(text),
        follows: report.follows.map(text),
        hint: report.hint.map(text),
        traceback: report.traceback.map(text),
    }
}
