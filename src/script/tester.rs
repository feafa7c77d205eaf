//! Scripts that test scripts: a VM with the limits of any other, in which a file of tests finds
//! scripts under test, their clients, and assertions.
//!
//! The words are in `lua/tester.lua`. What they do is done by a [`Stage`]: whoever plays host,
//! frameserver and clock.

use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{FromLuaMulti, Function, IntoLuaMulti, Lua, Table, Value};

use super::core::{Console, Core};
use super::errors::Told;
use super::vm;
use crate::ipc::script::{ErrorMode, Limits, Permissions, Report, Run, Severity};

/// What tests have the scripts under test, and their clients, do.
///
/// Each is called by its number. An error is told as one of the line of the test that asked.
pub trait Stage {
    /// Starts a script, with these words after `--`; its path is seen from the file of tests.
    fn load(&mut self, script: &str, words: Vec<String>) -> Result<u32, String>;
    /// Starts a script of this text, with these words after `--`.
    fn script(&mut self, source: &[u8], words: Vec<String>) -> Result<u32, String>;
    /// Lets this time pass for a script.
    fn advance(&mut self, script: u32, time: Duration) -> Result<(), String>;
    /// The interface and port of its listener with this name.
    fn listener(&mut self, script: u32, name: &str) -> Option<(String, u16)>;
    /// A client connects to its listener with this name.
    fn connect(&mut self, script: u32, name: &str, guest: Guest) -> Result<u32, String>;
    /// What it has printed since the last time.
    fn output(&mut self, script: u32) -> Vec<String>;
    /// What was reported of it since the last time.
    fn errors(&mut self, script: u32) -> Vec<String>;
    /// Its exit code, if it has ended.
    fn exit(&mut self, script: u32) -> Option<u8>;
    /// A client says something of this kind.
    fn say(&mut self, client: u32, kind: &str, text: &str) -> Result<(), String>;
    /// What a client has heard since the last time: of which kind, and what.
    fn hear(&mut self, client: u32) -> Vec<(String, String)>;
    /// Why its connection is over, if it is.
    fn closed(&mut self, client: u32) -> Option<String>;
    /// A client closes its connection.
    fn hang_up(&mut self, client: u32) -> Result<(), String>;
    /// Its public key, as `a12_pubk` has it.
    fn key(&mut self, client: u32) -> Option<String>;
}

/// A client that connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    /// What to call its key: the same again is the same key. `None`: a new one.
    pub key: Option<String>,
    /// Its key is accepted for the listener's name.
    pub known: bool,
    /// The secret that it knows; `None`: the protocol's own.
    pub secret: Option<Vec<u8>>,
    /// What it registers as.
    pub title: String,
}

/// A file of tests.
pub struct Tester {
    lua: Lua,
    core: Rc<Core>,
    tests: Vec<(String, Function)>,
}

/// How long a test may take in all, with what the scripts under test do: some handlers' limits.
const WHOLE: u32 = 15;

impl Tester {
    /// Loads a file of tests; what is wrong with it is told as of any script.
    pub fn new(
        file: &Path,
        limits: Limits,
        console: Box<dyn Console>,
        stage: Rc<RefCell<dyn Stage>>,
    ) -> Result<Self, Box<Report>> {
        Self::load(file, limits, console, stage).map_err(|error| report(&error))
    }

    fn load(
        file: &Path,
        limits: Limits,
        console: Box<dyn Console>,
        stage: Rc<RefCell<dyn Stage>>,
    ) -> mlua::Result<Self> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let run = Run {
            program: file.to_owned(),
            appl: file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            directory: false,
            arguments: Vec::new(),
            // Somewhere else: what it requires is beside it.
            state: "/".into(),
            temporary: "/".into(),
            errors: ErrorMode::Isolate,
            limits,
            require_sandbox: false,
            permissions: Permissions::default(),
        };
        let lua = vm::bare()?;
        let handlers = lua.create_table()?;
        // Nothing here needs numbers that cannot be guessed.
        let core = Rc::new(Core::new(run, console, |bytes| bytes.fill(0), handlers));
        vm::equip(&lua, &core)?;
        let registered: Rc<RefCell<Vec<(String, Function)>>> = Rc::default();
        let host = functions(&lua, &core, &stage)?;
        let register = Rc::clone(&registered);
        host.raw_set(
            "test",
            lua.create_function(move |_, test| {
                register.borrow_mut().push(test);
                Ok(())
            })?,
        )?;
        lua.load(include_str!("../../lua/tester.lua"))
            .set_name("=[moonport]")
            .call::<()>(host)?;
        let chunk = vm::load(&lua, file, &name)?;
        timed(&core, || chunk.call::<()>(()))?;
        let mut tests = registered.take();
        for pair in lua.globals().pairs::<Value, Value>() {
            if let (Value::String(name), Value::Function(test)) = pair?
                && name.as_bytes().starts_with(b"test_")
            {
                tests.push((name.to_string_lossy(), test));
            }
        }
        // As they stand in the file; globals are in no order.
        tests.sort_by_cached_key(|(name, test)| (test.info().line_defined, name.clone()));
        Ok(Self { lua, core, tests })
    }

    /// The names of its tests.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tests.iter().map(|(name, _)| name.as_str())
    }

    /// Runs the test at this place.
    pub fn run(&self, at: usize) -> Result<(), Box<Report>> {
        let Some((_, test)) = self.tests.get(at) else {
            return Ok(());
        };
        let done = timed(&self.core, || test.call::<()>(()));
        // What a test has left is not to be counted against the next one.
        let _ = self.lua.gc_collect();
        done.map_err(|error| report(&error))
    }
}

/// Runs something under the time limit.
fn timed<T>(core: &Core, work: impl FnOnce() -> mlua::Result<T>) -> mlua::Result<T> {
    core.since.set(Some(Instant::now()));
    core.seen.borrow_mut().take();
    core.looks.set(0);
    let done = work();
    core.since.set(None);
    match core.stop.borrow_mut().take() {
        Some(stop) => Err(stop),
        None => done,
    }
}

fn report(error: &mlua::Error) -> Box<Report> {
    let told = Told::new(error, ["connect", "eq", "load", "ok", "raises"]);
    Box::new(Report {
        hint: told.hint,
        traceback: told.traceback,
        ..Report::new(Severity::Error, told.message)
    })
}

/// What makes functions of Lua of what a stage does.
struct Maker<'a> {
    lua: &'a Lua,
    core: &'a Rc<Core>,
    stage: &'a Rc<RefCell<dyn Stage>>,
    table: Table,
    /// When the running test began, and what of its time was the stage's.
    spent: Rc<Cell<(Option<Instant>, Duration)>>,
}

impl Maker<'_> {
    /// A function; the time that it takes is not the test's own, but there is a limit for both.
    fn make<A: FromLuaMulti, R: IntoLuaMulti>(
        &self,
        name: &str,
        act: impl Fn(&mut dyn Stage, A) -> R + 'static,
    ) -> mlua::Result<()> {
        let (core, stage) = (Rc::clone(self.core), Rc::clone(self.stage));
        let spent = Rc::clone(&self.spent);
        let function = self.lua.create_function(move |lua, args| {
            let begun = Instant::now();
            let done = act(&mut *stage.borrow_mut(), args);
            let (since, took) = (core.since.get(), begun.elapsed());
            // Another test than the last time begins with nothing spent.
            let (of, before) = spent.get();
            let shifted = since.map(|since| since + took);
            let before = if of == since { before } else { Duration::ZERO };
            core.since.set(shifted);
            spent.set((shifted, before + took));
            if before + took > core.limits().stop * WHOLE {
                let words = "what it had others do took too long; it is stopped";
                return Err(vm::stopped(&core, mlua::Error::runtime(words)));
            }
            done.into_lua_multi(lua)
        })?;
        self.table.raw_set(name, function)
    }
}

/// An answer, or nil and why there is none.
fn answer<T>(done: Result<T, String>) -> (Option<T>, Option<String>) {
    match done {
        Ok(value) => (Some(value), None),
        Err(words) => (None, Some(words)),
    }
}

fn functions(lua: &Lua, core: &Rc<Core>, stage: &Rc<RefCell<dyn Stage>>) -> mlua::Result<Table> {
    let maker = Maker {
        lua,
        core,
        stage,
        table: lua.create_table()?,
        spent: Rc::default(),
    };
    maker.make("load", |stage, (path, words): (String, Vec<String>)| {
        answer(stage.load(&path, words))
    })?;
    maker.make(
        "script",
        |stage, (source, words): (mlua::LuaString, Vec<String>)| {
            answer(stage.script(&source.as_bytes(), words))
        },
    )?;
    maker.make("advance", |stage, (script, ms): (u32, f64)| {
        let time = Duration::try_from_secs_f64(ms / 1000.0);
        let done = match time {
            Ok(time) if time <= MOST => stage.advance(script, time),
            _ => Err(format!(
                "advance takes milliseconds, at most {}, not {ms}",
                MOST.as_millis()
            )),
        };
        answer(done.map(|()| true))
    })?;
    maker.make("listener", |stage, (script, name): (u32, String)| {
        stage
            .listener(script, &name)
            .map_or((None, None), |(interface, port)| {
                (Some(interface), Some(port))
            })
    })?;
    type Connect = (
        u32,
        String,
        Option<String>,
        bool,
        Option<mlua::LuaString>,
        Option<String>,
    );
    maker.make(
        "connect",
        |stage, (script, name, key, known, secret, title): Connect| {
            let guest = Guest {
                key,
                known,
                secret: secret.map(|secret| secret.as_bytes().to_vec()),
                title: title.unwrap_or_else(|| "test".to_owned()),
            };
            answer(stage.connect(script, &name, guest))
        },
    )?;
    maker.make("output", |stage, script| stage.output(script))?;
    maker.make("errors", |stage, script| stage.errors(script))?;
    maker.make("exit", |stage, script| stage.exit(script))?;
    maker.make(
        "say",
        |stage, (client, kind, text): (u32, String, String)| {
            answer(stage.say(client, &kind, &text).map(|()| true))
        },
    )?;
    maker.make("hear", |stage, client| {
        let heard = stage.hear(client);
        heard
            .into_iter()
            .flat_map(|(kind, text)| [kind, text])
            .collect::<Vec<_>>()
    })?;
    maker.make("closed", |stage, client| stage.closed(client))?;
    maker.make("hang_up", |stage, client| {
        answer(stage.hang_up(client).map(|()| true))
    })?;
    maker.make("key", |stage, client| stage.key(client))?;
    Ok(maker.table)
}

/// The most time that may pass at once.
const MOST: Duration = Duration::from_secs(3600);
