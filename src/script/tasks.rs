//! Tasks and timers: what `lua/task.lua`, which does most of it, needs of the host side.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Function, Lua, Table, Thread, UserData, Value};

use super::core::Core;
use super::engine::Site;
use super::errors::{Ended, Fault, place};
use super::vids::{Object, Vid};
use super::world::{Over, World};
use crate::ipc::EvaluationId;

/// The most timers of a script; each that waits for a time has one.
const MAX_TIMERS: usize = 10_000;

/// The longest time, in milliseconds: a year.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0 * 1000.0;

/// What the engine and the functions of the API know of tasks.
pub(super) struct Tasks {
    half: OnceCell<Half>,
    /// What the running code belongs to, and whether it is a task.
    owner: Cell<Option<Vid>>,
    inside: Cell<bool>,
    /// Something is to be run: looking costs nothing, as it is done after each callback.
    busy: Cell<bool>,
    /// When this turn began. Times are counted from there.
    now: Cell<Instant>,
    timers: RefCell<Timers>,
    /// Vids to which no task can listen any more.
    unheld: Rc<RefCell<Vec<Vid>>>,
}

/// What is in `lua/task.lua`.
struct Half {
    take: Function,
    hear: Function,
    fire: Function,
    finish: Function,
    evaluate: Function,
    cancel: Function,
    waits: Table,
}

/// Something to run: a coroutine or a function.
pub(super) struct Work {
    pub(super) run: Value,
    /// What it belongs to.
    pub(super) vid: Option<Vid>,
    /// Where it was started or set: `file:line`.
    pub(super) place: String,
    /// Whether it is an evaluation, and which.
    pub(super) evaluation: Option<EvaluationId>,
}

impl Tasks {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            half: OnceCell::new(),
            owner: Cell::new(None),
            inside: Cell::new(false),
            busy: Cell::new(false),
            now: Cell::new(now),
            timers: RefCell::default(),
            unheld: Rc::default(),
        }
    }

    /// Who waits for which vid, and what tells them.
    pub(super) fn ears(&self) -> mlua::Result<(Table, Function)> {
        let half = self.half.get();
        half.map(|half| (half.waits.clone(), half.hear.clone()))
            .ok_or_else(|| mlua::Error::runtime("there are no tasks"))
    }

    /// Code of the script begins to run.
    pub(super) fn enter(&self, site: &Site) {
        self.owner.set(match site {
            Site::Callback { vid, .. } => Some(*vid),
            Site::Task { vid, .. } | Site::Evaluation(vid) => *vid,
            _ => None,
        });
        let inside = matches!(site, Site::Task { .. } | Site::Evaluation(_));
        self.inside.set(inside);
    }

    /// It has returned.
    pub(super) fn leave(&self) {
        self.owner.set(None);
        self.inside.set(false);
    }

    /// Whether a task runs.
    pub(super) fn is_inside(&self) -> bool {
        self.inside.get()
    }

    pub(super) fn begin_turn(&self, now: Instant) {
        self.now.set(now);
    }

    /// Vids to which no task can listen any more, since the last time.
    pub(super) fn unheld(&self) -> Vec<Vid> {
        self.unheld.take()
    }

    /// What is to be run next.
    pub(super) fn take(&self) -> Option<Work> {
        if !self.is_busy() {
            return None;
        }
        let half = self.half.get()?;
        let (run, vid, place, evaluation) = half
            .take
            .call::<(Value, Option<u32>, Option<String>, Option<f64>)>(())
            .ok()?;
        self.busy.set(!run.is_nil());
        self.is_busy().then(|| Work {
            run,
            vid: vid.map(Vid::new),
            place: place.unwrap_or_default(),
            evaluation: evaluation.map(|number| EvaluationId(number as u64)),
        })
    }

    /// Whether something is to be run.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.get()
    }

    /// A timer's time has come.
    pub(super) fn fire(&self, timer: u64) {
        if let Some(half) = self.half.get() {
            // It puts something into a table, for which there may be no memory.
            let _ = half.fire.call::<()>(timer as f64);
        }
    }

    /// A task has ended: nobody listens to what it alone has listened to.
    pub(super) fn finish(&self, task: &Thread) {
        if let Some(half) = self.half.get() {
            let _ = half.finish.call::<()>(task);
        }
    }

    /// Begins a task that evaluates this.
    pub(super) fn evaluate(&self, chunk: Function, which: EvaluationId) -> mlua::Result<Thread> {
        let half = self.half.get();
        let half = half.ok_or_else(|| mlua::Error::runtime("there are no tasks"))?;
        half.evaluate.call((chunk, which.0 as f64))
    }

    /// Ends a task that waits, or is about to run.
    pub(super) fn cancel(&self, task: &Thread) {
        if let Some(half) = self.half.get() {
            let _ = half.cancel.call::<()>(task);
        }
    }

    /// Those who wait for this vid wait in vain.
    pub(super) fn tell_deleted(&self, vid: Vid) -> mlua::Result<()> {
        match self.half.get() {
            Some(half) => half.hear.call((vid.number(), "deleted")),
            None => Ok(()),
        }
    }

    /// The timers that are due.
    pub(super) fn due(&self, now: Instant) -> Vec<u64> {
        self.timers.borrow_mut().due(now)
    }

    /// When the first timer is due.
    pub(super) fn first_timer(&self) -> Option<Instant> {
        let timers = self.timers.borrow();
        timers.queue.keys().next().map(|(at, _)| *at)
    }
}

/// Times, and who waits for them.
#[derive(Debug, Default)]
struct Timers {
    last: u64,
    /// With the pause between, of those that come again.
    queue: BTreeMap<(Instant, u64), Option<Duration>>,
    times: HashMap<u64, Instant>,
}

impl Timers {
    /// None: there are too many.
    fn add(&mut self, now: Instant, after: Duration, every: bool) -> Option<u64> {
        if self.queue.len() >= MAX_TIMERS {
            return None;
        }
        self.last += 1;
        self.put(now.checked_add(after)?, self.last, every.then_some(after));
        Some(self.last)
    }

    fn put(&mut self, at: Instant, timer: u64, every: Option<Duration>) {
        self.queue.insert((at, timer), every);
        self.times.insert(timer, at);
    }

    fn cancel(&mut self, timer: u64) {
        if let Some(at) = self.times.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    fn due(&mut self, now: Instant) -> Vec<u64> {
        let mut due = Vec::new();
        while let Some(entry) = self
            .queue
            .first_entry()
            .filter(|entry| entry.key().0 <= now)
        {
            let ((at, timer), every) = entry.remove_entry();
            self.times.remove(&timer);
            due.push(timer);
            if let Some(pause) = every {
                // What was missed is not made up for.
                let next = at.checked_add(pause).filter(|next| *next > now);
                if let Some(next) = next.or_else(|| now.checked_add(pause)) {
                    self.put(next, timer, every);
                }
            }
        }
        due
    }
}

/// Keeps a vid's inbox for as long as the script has its object.
struct Inbox {
    vid: Vid,
    unheld: Rc<RefCell<Vec<Vid>>>,
}

impl UserData for Inbox {}

impl Drop for Inbox {
    fn drop(&mut self) {
        // The VM collects at any time; nobody else holds this then.
        if let Ok(mut unheld) = self.unheld.try_borrow_mut() {
            unheld.push(self.vid);
        }
    }
}

/// Runs `lua/task.lua`. `rows` are the functions of the API that it makes others of.
pub(super) fn furnish(lua: &Lua, core: &Rc<Core>, rows: Table) -> mlua::Result<()> {
    let host = host(lua, core)?;
    host.raw_set("rows", rows)?;
    let (take, hear, fire, finish, evaluate, cancel, waits) = lua
        .load(include_str!("../../lua/task.lua"))
        .set_name("=[moonport]")
        .call(host)?;
    let half = Half {
        take,
        hear,
        fire,
        finish,
        evaluate,
        cancel,
        waits,
    };
    // There is none yet.
    let _ = core.tasks.half.set(half);
    Ok(())
}

/// The functions of the host side.
fn host(lua: &Lua, core: &Rc<Core>) -> mlua::Result<Table> {
    let host = lua.create_table()?;
    let own = Rc::clone(core);
    host.raw_set(
        "owner",
        lua.create_function(move |_, ()| Ok(own.tasks.owner.get().map(Vid::number)))?,
    )?;
    let own = Rc::clone(core);
    host.raw_set(
        "busy",
        lua.create_function(move |_, ()| {
            own.tasks.busy.set(true);
            Ok(())
        })?,
    )?;
    host.raw_set(
        "place",
        lua.create_function(|lua, ()| Ok(place(lua).unwrap_or_else(|| "the script".to_owned())))?,
    )?;
    host.raw_set(
        "fail",
        lua.create_function(
            |lua, (name, what, hint): (String, String, String)| -> mlua::Result<()> {
                Err(Fault::plain(what).hint(hint).raise(lua, &name))
            },
        )?,
    )?;
    host.raw_set(
        "ended",
        lua.create_function(|_, vid: u32| -> mlua::Result<()> {
            Err(mlua::Error::external(Ended(vid)))
        })?,
    )?;
    for (name, run) in [
        ("attend", World::attend as fn(&mut World, Vid)),
        ("unattend", World::unattend),
        ("demand", World::demand),
        ("undemand", World::undemand),
    ] {
        let own = Rc::clone(core);
        let function = lua.create_function(move |_, vid: u32| {
            run(&mut own.world.borrow_mut(), Vid::new(vid));
            Ok(())
        })?;
        host.raw_set(name, function)?;
    }
    let own = Rc::clone(core);
    host.raw_set(
        "keeper",
        lua.create_function(move |_, vid: u32| {
            let vid = Vid::new(vid);
            own.world.borrow_mut().attend(vid);
            Ok(Inbox {
                vid,
                unheld: Rc::clone(&own.tasks.unheld),
            })
        })?,
    )?;
    let own = Rc::clone(core);
    host.raw_set(
        "over",
        lua.create_function(move |_, vid: u32| {
            let over = own.world.borrow().over(Vid::new(vid));
            Ok(over.map(|over| match over {
                Over::Deleted => "deleted",
                Over::Terminated => "terminated",
            }))
        })?,
    )?;
    let own = Rc::clone(core);
    host.raw_set(
        "asks",
        lua.create_function(move |_, vid: u32| Ok(own.world.borrow().asks(Vid::new(vid))))?,
    )?;
    let own = Rc::clone(core);
    host.raw_set(
        "is_listener",
        lua.create_function(move |_, vid: u32| {
            let world = own.world.borrow();
            Ok(matches!(
                world.object(Vid::new(vid)),
                Some(Object::Listener(_))
            ))
        })?,
    )?;
    let own = Rc::clone(core);
    host.raw_set(
        "timer",
        lua.create_function(move |lua, (name, ms, every): (String, f64, bool)| {
            timer(&own, ms, every).map_err(|fault| fault.raise(lua, &name))
        })?,
    )?;
    let own = Rc::clone(core);
    host.raw_set(
        "cancel",
        lua.create_function(move |_, timer: f64| {
            own.tasks.timers.borrow_mut().cancel(timer as u64);
            Ok(())
        })?,
    )?;
    Ok(host)
}

fn timer(core: &Core, ms: f64, every: bool) -> Result<f64, Fault> {
    let least = if every { 1.0 } else { 0.0 };
    if !(least..=LONGEST).contains(&ms) {
        return Err(Fault::plain(format!("{ms} is not a time"))
            .hint(format!("give milliseconds, {least} to a year")));
    }
    let after = Duration::from_secs_f64(ms / 1000.0);
    let timer = core
        .tasks
        .timers
        .borrow_mut()
        .add(core.tasks.now.get(), after, every);
    timer.map(|timer| timer as f64).ok_or_else(|| {
        Fault::plain(format!("more than {MAX_TIMERS} timers at once"))
            .hint("cancel those that are not needed, or do more in one")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_due_in_order_and_none_is_made_up_for() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut timers = Timers::default();
        let every = timers.add(now, ms(10), true).unwrap();
        let once = timers.add(now, ms(5), false).unwrap();
        let never = timers.add(now, ms(1), false).unwrap();
        timers.cancel(never);
        assert!(timers.due(now + ms(4)).is_empty());
        assert_eq!(timers.due(now + ms(12)), [once, every]);
        assert!(timers.due(now + ms(19)).is_empty());
        assert_eq!(timers.due(now + ms(500)), [every]);
        timers.cancel(every);
        assert!(timers.due(now + ms(9000)).is_empty());
        assert!(timers.times.is_empty());
    }

    #[test]
    fn there_are_only_so_many_timers() {
        let (now, mut timers) = (Instant::now(), Timers::default());
        let count = (0..MAX_TIMERS + 5)
            .filter(|_| timers.add(now, Duration::ZERO, false).is_some())
            .count();
        assert_eq!(count, MAX_TIMERS);
    }
}
