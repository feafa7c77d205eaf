//! The engine: messages and time go in, callbacks run, messages come out.

mod clock;
mod errors;
mod evaluations;
mod tasks;

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use mlua::{Function, Lua, MultiValue, Table, Value};

use clock::{Clock, MAX_BEHIND, TICK};
use evaluations::Evaluation;

use super::core::{Console, Core, Ending};
use super::state;
use super::status::{self, Status};
use super::vids::{Queued, Vid};
use super::vm;
use super::watchdog::Running;
use super::world::Outbox;
use crate::ipc::link;
use crate::ipc::script::{FromScript, Report, Run, Severity, ToScript};
use crate::ipc::{EvaluationId, ListenerId};

/// How many statuses are dispatched before messages are taken again, and credit is handed back: a
/// part of the credit of one segment, so that more of it is on its way meanwhile.
const BATCH: usize = 128;

/// How many batches are dispatched at most before another process takes over.
const SETTLING: u32 = 5000;

/// What a script process runs: one script in one VM.
pub struct Engine {
    lua: Lua,
    core: Rc<Core>,
    /// The globals as the script finds them.
    given: Table,
    /// A function per kind of status.
    shim: Vec<Function>,
    clock: Clock,
    running: Arc<Running>,
    evaluations: BTreeMap<EvaluationId, Evaluation>,
    exit: Option<u8>,
}

/// What was running when an error happened, for the report and for what follows.
#[derive(Debug, Clone)]
pub(super) enum Site {
    Load,
    Entry(String),
    Pulse(String),
    Callback {
        vid: Vid,
        kind: &'static str,
    },
    Hook(String),
    /// `starting`: it begins as the script does.
    Task {
        vid: Option<Vid>,
        place: String,
        starting: bool,
    },
    Timer(String),
    /// Somebody at a prompt wants it; with what it has waited for last.
    Evaluation(Option<Vid>),
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load => f.write_str("loading the script"),
            Self::Entry(name) | Self::Pulse(name) | Self::Hook(name) => write!(f, "{name}()"),
            Self::Callback { vid, kind } => {
                write!(f, "the callback of vid {}, on {kind}", vid.number())
            }
            Self::Task { place, .. } => write!(f, "the task started at {place}"),
            Self::Timer(place) => write!(f, "the timer set at {place}"),
            Self::Evaluation(_) => f.write_str("an evaluation at a prompt"),
        }
    }
}

/// Whether a call went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    Well,
    /// It failed; this has been dealt with and the script goes on.
    Wrong,
}

impl Engine {
    /// A VM with everything in it but the script.
    pub fn new(
        run: Run,
        console: Box<dyn Console>,
        random: fn(&mut [u8]),
        now: Instant,
    ) -> Result<Self, mlua::Error> {
        let lua = vm::bare()?;
        let handlers = lua.create_table()?;
        let core = Rc::new(Core::new(run, console, random, handlers.clone()));
        core.tasks.begin_turn(now);
        vm::furnish(&lua, &core)?;
        let (waits, hear) = core.tasks.ears()?;
        let shim = lua
            .load(status::shim())
            .set_name("=[moonport]")
            .call::<Vec<Function>>((handlers, waits, hear))?;
        let moonport = lua.globals().raw_get::<Table>("moonport")?;
        moonport.raw_set("state", lua.create_table()?)?;
        let given = lua.create_table()?;
        for pair in lua.globals().pairs::<Value, Value>() {
            let (name, value) = pair?;
            given.raw_set(name, value)?;
        }
        Ok(Self {
            lua,
            core,
            given,
            shim,
            clock: Clock {
                next: now + TICK,
                ticks: 0,
            },
            running: Arc::default(),
            evaluations: BTreeMap::new(),
            exit: None,
        })
    }

    /// What it runs, for another thread to look at.
    pub(super) fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Loads the script and calls its entry point.
    pub fn start(&mut self) {
        if self.load() == Went::Well {
            self.run_tasks(true);
        }
        if self.exit.is_none() {
            self.core
                .world
                .borrow_mut()
                .outbox
                .host
                .push(FromScript::Started);
        }
    }

    fn load(&mut self) -> Went {
        let run = &self.core.run;
        let appl = run.appl.clone();
        let path = run.program.clone();
        let name = path
            .file_name()
            .map_or_else(|| appl.clone(), |name| name.to_string_lossy().into_owned());
        let directory = run.directory;
        let loaded = vm::load(&self.lua, &path, &name);
        let ran = loaded.and_then(|chunk| self.timed(&Site::Load, || chunk.call::<()>(())));
        if let Err(error) = ran {
            return self.failed(&Site::Load, &error);
        }
        let entry = [appl.as_str(), "main"]
            .into_iter()
            .find_map(|name| Some((name.to_owned(), self.global(name)?)));
        match entry {
            Some((name, function)) if name == appl || !directory => {
                let arguments = self
                    .lua
                    .create_sequence_from(self.core.run.arguments.iter().map(String::as_str));
                let site = Site::Entry(name);
                self.call(&site, |_| function.call::<()>(arguments?)).1
            }
            _ if directory => {
                let error = mlua::Error::runtime(format!(
                    "{name} has no function {appl}(), where an appl begins"
                ));
                self.failed(&Site::Load, &error)
            }
            _ => Went::Well,
        }
    }

    /// Whether its program wants to end.
    pub(super) fn is_ending(&self) -> bool {
        self.core.ending.borrow().is_some()
    }

    /// Takes what another process of the script had in `moonport.state`, and says whether it is
    /// ready to take that one's place.
    pub(super) fn take_over(&mut self, saved: &[u8]) {
        if let Err(error) = state::restore(&self.lua, saved) {
            let site = Site::Entry("moonport.state".to_owned());
            self.failed(&site, &mlua::Error::runtime(error));
            return;
        }
        if let Some(function) = self.entry("_reload") {
            let site = Site::Entry(format!("{}_reload", self.core.run.appl));
            if self.call(&site, |_| function.call::<()>(())).1 == Went::Wrong {
                return;
            }
        }
        let mut world = self.core.world.borrow_mut();
        world.outbox.host.push(FromScript::Ready);
    }

    /// From now on time passes for it.
    pub(super) fn begin(&mut self, now: Instant) {
        self.clock.next = now + TICK;
    }

    /// Tells the program what only it can be told: what has come from those who are gone. Then, what
    /// it has for the next process.
    pub(super) fn settle(&mut self) -> Result<Vec<u8>, String> {
        // What a task has been given already, it hears.
        for _ in 0..SETTLING {
            if self.exit.is_some() || !self.core.tasks.is_busy() {
                break;
            }
            self.run_tasks(false);
        }
        let aside = self.core.world.borrow_mut().set_aside();
        for _ in 0..SETTLING {
            if self.exit.is_some() || self.core.world.borrow().is_through() {
                break;
            }
            self.dispatch();
        }
        let mut world = self.core.world.borrow_mut();
        world.put_back(aside);
        world.pay();
        drop(world);
        match self.is_ending() {
            true => Err("the program has ended".to_owned()),
            false => state::save(&self.lua),
        }
    }

    /// Leaves everything to the next process.
    pub(super) fn leave_behind(&mut self) {
        self.core.world.borrow_mut().leave_behind();
    }

    /// Takes what the host says.
    pub fn host(&mut self, message: ToScript) {
        match message {
            ToScript::Stop => {
                self.core.ending.borrow_mut().get_or_insert(Ending {
                    code: 0,
                    silent: false,
                    message: String::new(),
                });
            }
            ToScript::Evaluate { evaluation, asked } => self.evaluate(evaluation, asked),
            ToScript::Cancel(evaluation) => self.cancel(evaluation),
            other => self.core.world.borrow_mut().host(other),
        }
    }

    /// Takes what a frameserver says over the data link of this listener.
    pub fn link(&mut self, link: ListenerId, message: link::ToScript) {
        self.core.world.borrow_mut().link(link, message);
    }

    /// The data link of this listener is closed.
    pub fn link_closed(&mut self, link: ListenerId) {
        self.core.world.borrow_mut().link_closed(link);
    }

    /// One turn of the main loop: ticks, then what is queued.
    pub fn turn(&mut self, now: Instant) {
        if self.exit.is_some() {
            return;
        }
        self.core.tasks.begin_turn(now);
        for vid in self.core.tasks.unheld() {
            self.core.world.borrow_mut().unattend(vid);
        }
        self.tick(now);
        self.timers(now);
        self.run_tasks(false);
        self.adoptions();
        self.dispatch();
        self.core.world.borrow_mut().pay();
        let idle = self.core.world.borrow().is_idle();
        if self.exit.is_none() && idle {
            let ending = self.core.ending.borrow_mut().take();
            if let Some(ending) = ending {
                self.land(ending);
            }
        }
    }

    /// What the script has said since the last time.
    pub fn take_outbox(&mut self) -> Outbox {
        let mut outbox = std::mem::take(&mut self.core.world.borrow_mut().outbox);
        let reports = self.core.reports.borrow_mut().take();
        let reports = reports.into_iter().map(FromScript::Report);
        // It may have said good-bye already; nothing is heard after that.
        outbox.host.splice(..0, reports);
        outbox
    }

    /// The exit code, once the script has ended. If it has not told the host so, it is to be
    /// started again.
    pub fn exit(&self) -> Option<u8> {
        self.exit
    }

    /// When [`Engine::turn`] has something to do, if no message comes before.
    pub fn wake(&self, now: Instant) -> Instant {
        let world = self.core.world.borrow();
        if !world.is_idle() || self.core.ending.borrow().is_some() || self.core.tasks.is_busy() {
            return now;
        }
        let pulsed = ["_clock_pulse", "_clock_pulse_batch"]
            .iter()
            .any(|suffix| self.entry(suffix).is_some());
        let tick = if pulsed || world.waits_for_tick() {
            self.clock.next
        } else {
            // Nobody hears the ticks between; CLOCK only has to be right when somebody looks.
            self.clock.next + TICK * (MAX_BEHIND / 2)
        };
        let timer = self.core.tasks.first_timer();
        timer.map_or(tick, |timer| timer.min(tick))
    }

    // ---- what a turn does

    fn adoptions(&mut self) {
        let adoptions = self.core.world.borrow_mut().adoptions();
        let last = adoptions.len();
        for (at, adoption) in adoptions.into_iter().enumerate() {
            let vid = adoption.vid;
            let kept = self.entry("_adopt").is_some_and(|function| {
                let arguments = (
                    vid.number(),
                    status::segkind(adoption.kind),
                    adoption.title.as_str(),
                    adoption.parent.unwrap_or(Vid::BAD).number(),
                    at + 1 < last,
                );
                let site = Site::Hook(format!("{}_adopt", self.core.run.appl));
                let (answer, _) = self.call(&site, |_| function.call::<Value>(arguments));
                matches!(answer, Some(Value::Boolean(true)))
            });
            let mut world = self.core.world.borrow_mut();
            if kept {
                world.adopt(adoption);
            } else {
                // The script may have deleted it itself.
                let _ = world.delete(vid);
            }
            drop(world);
            if !kept {
                let _ = self.core.forget(vid);
            }
            self.run_tasks(false);
        }
    }

    fn dispatch(&mut self) {
        let mut dispatched = 0;
        while dispatched < BATCH && self.exit.is_none() {
            let entry = self.core.world.borrow_mut().next();
            let Some(entry) = entry else { break };
            dispatched += 1;
            self.deliver(&entry);
        }
        if dispatched > 0
            && let Some(function) = self.entry("_input_end")
        {
            let site = Site::Hook(format!("{}_input_end", self.core.run.appl));
            self.call(&site, |_| function.call::<()>(()));
        }
    }

    /// Calls the callback of a status, and does what belongs to it.
    fn deliver(&mut self, entry: &Queued) {
        let vid = entry.vid;
        let ask = self.core.world.borrow().ask(entry);
        let is_request = entry.status.id() == status::Id::SegmentRequest;
        match ask {
            Some(ask) => self.core.world.borrow_mut().offer(vid, ask),
            // Nobody is left who could be answered.
            None if is_request => return,
            None => {}
        }
        let last = matches!(entry.status, Status::Terminated(_));
        let answered = matches!(entry.status, Status::Keys(_));
        if last {
            self.core.world.borrow_mut().bury(vid);
        }
        let site = Site::Callback {
            vid,
            kind: status::KINDS
                .get(entry.status.id() as usize)
                .map_or("", |kind| kind.name),
        };
        let (_, went) = self.call(&site, |this| {
            let (id, row) = entry
                .status
                .row(&this.lua, Value::Number(vid.number().into()))?;
            match this.shim.get(id as usize) {
                Some(function) => function.call::<()>(MultiValue::from_vec(row)),
                None => Ok(()),
            }
        });
        // What a task does with a request, it does before that is answered.
        self.run_tasks(false);
        let mut world = self.core.world.borrow_mut();
        let denied = if is_request {
            world.settle(went == Went::Well)
        } else {
            None
        };
        // A client that is never activated stays silent for ever; a failed one has been ended.
        if matches!(entry.status, Status::Preroll(_)) {
            world.prerolled(vid);
        }
        if answered {
            world.answered(vid);
        }
        drop(world);
        for vid in denied.into_iter().chain((last || answered).then_some(vid)) {
            // Removing a key from a table cannot fail.
            let _ = self.core.forget(vid);
        }
        self.run_tasks(false);
    }

    /// Runs the shutdown entry point and ends.
    fn land(&mut self, ending: Ending) {
        if let Some(function) = self.entry("_shutdown") {
            let site = Site::Hook(format!("{}_shutdown", self.core.run.appl));
            let nothing = self.lua.create_table();
            self.call(&site, |_| function.call::<()>(nothing?));
        }
        if self.exit.is_none() {
            self.leave(ending);
        }
    }

    fn leave(&mut self, ending: Ending) {
        self.exit = Some(ending.code);
        let mut world = self.core.world.borrow_mut();
        if !ending.silent {
            world.say_goodbye();
        }
        world.outbox.host.push(FromScript::Exit {
            code: ending.code,
            silent: ending.silent,
            message: ending.message,
        });
    }

    // ---- calling into Lua

    /// A global function of the script, looked up now: it may be replaced at any time. One of ours
    /// may have the same name, and is none.
    fn global(&self, name: &str) -> Option<Function> {
        let found = self.lua.globals().raw_get::<Value>(name).ok()?;
        let Value::Function(function) = &found else {
            return None;
        };
        let ours = self.given.raw_get::<Value>(name).ok()?;
        (ours != found).then(|| function.clone())
    }

    /// An entry point of the appl.
    fn entry(&self, suffix: &str) -> Option<Function> {
        self.global(&format!("{}{suffix}", self.core.run.appl))
    }

    /// Runs something under the time limit.
    fn timed<T>(&self, site: &Site, work: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
        let begun = Instant::now();
        self.core.since.set(Some(begun));
        self.core.seen.borrow_mut().take();
        self.running.begin(begun, site);
        self.core.tasks.enter(site);
        let done = work();
        self.core.tasks.leave();
        self.running.end();
        self.core.since.set(None);
        // What must not be caught wins over whatever the script made of it.
        match self.core.stop.borrow_mut().take() {
            Some(stop) => Err(stop),
            None => done,
        }
    }

    /// Calls into the script and deals with an error.
    fn call<T>(
        &mut self,
        site: &Site,
        work: impl FnOnce(&Self) -> mlua::Result<T>,
    ) -> (Option<T>, Went) {
        match self.watched(site, || work(self)) {
            Ok(value) => (Some(value), Went::Well),
            Err(error) => (None, self.failed(site, &error)),
        }
    }

    /// Runs something under the time limit, and warns if it takes long.
    fn watched<T>(&self, site: &Site, work: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
        let begun = Instant::now();
        let done = self.timed(site, work)?;
        let took = begun.elapsed();
        let limits = self.core.limits();
        if took > limits.warn {
            let what = self.describe(site);
            let stop = limits.stop;
            let mut report = Report::new(
                Severity::Slow,
                format!("{what} took {} ms; others wait for it", took.as_millis()),
            );
            report.hint = Some(format!(
                "do less at once: after {stop:?} it is stopped (--handler-warn, --handler-limit)"
            ));
            self.core.report(report);
        }
        Ok(done)
    }

    fn describe(&self, site: &Site) -> String {
        match site {
            Site::Callback { vid, kind } => format!(
                "the callback of {}, on {kind}",
                self.core.world.borrow().label(*vid)
            ),
            Site::Task { vid: Some(vid), .. } => {
                format!("{site}, of {}", self.core.world.borrow().label(*vid))
            }
            other => other.to_string(),
        }
    }

    /// The VM's globals, for tests.
    #[cfg(test)]
    pub(super) fn globals(&self) -> Table {
        self.lua.globals()
    }
}
