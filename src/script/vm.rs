//! The Lua VM: what a script finds in it, and what it may use up.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::state::{GcIncParams, GcMode};
use mlua::{Function, HookTriggers, Lua, LuaOptions, LuaString, StdLib, Table, Value, VmState};

use super::api;
use super::core::Core;
use super::errors::{self, Fault, place};
use super::pattern::{self, Halt, Search};
use super::sandbox;
use super::tasks;
use super::text::nearest;
use crate::ipc::script::ErrorMode;

/// The largest file of a script.
const MAX_SOURCE: u64 = 4 << 20;

/// How many instructions run between looks at the clock.
const STRIDE: u32 = 1000;

/// How many looks there are between those that see where the script is.
const LOOKS: u32 = 16;

/// The globals of Lua that stay; what is not here is taken away.
pub(super) const GLOBALS: &[&str] = &[
    "_G",
    "assert",
    "bit",
    "coroutine",
    "error",
    "getmetatable",
    "ipairs",
    "math",
    "next",
    "os",
    "pairs",
    "pcall",
    "print",
    "rawget",
    "rawset",
    "select",
    "setmetatable",
    "string",
    "table",
    "tonumber",
    "tostring",
    "type",
    "unpack",
];

/// The members that stay of the libraries that do not stay whole.
pub(super) const MEMBERS: &[(&str, &[&str])] = &[
    (
        "coroutine",
        &["create", "resume", "running", "status", "wrap", "yield"],
    ),
    ("os", &["clock", "date", "difftime", "time"]),
    (
        "string",
        &[
            "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep",
            "reverse", "sub", "upper",
        ],
    ),
    ("table", &["concat", "insert", "maxn", "remove", "sort"]),
];

/// A fresh VM without anything of ours. The compiler is never on: its loops would not be stopped
/// by the clock.
pub(super) fn bare() -> mlua::Result<Lua> {
    let libraries = StdLib::TABLE | StdLib::OS | StdLib::STRING | StdLib::MATH | StdLib::BIT;
    let lua = Lua::new_with(libraries, LuaOptions::new())?;
    let globals = lua.globals();
    keep(&globals, GLOBALS)?;
    for (library, members) in MEMBERS {
        keep(&globals.raw_get(*library)?, members)?;
    }
    Ok(lua)
}

fn keep(table: &Table, names: &[&str]) -> mlua::Result<()> {
    let mut doomed = Vec::new();
    for pair in table.pairs::<Value, Value>() {
        let (key, _) = pair?;
        let kept = match &key {
            Value::String(name) => names.iter().any(|kept| name.as_bytes() == kept.as_bytes()),
            _ => false,
        };
        if !kept {
            doomed.push(key);
        }
    }
    for key in doomed {
        table.raw_set(key, Value::Nil)?;
    }
    Ok(())
}

/// Puts the API, the prelude and the limits into a VM.
pub(super) fn furnish(lua: &Lua, core: &Rc<Core>) -> mlua::Result<()> {
    let rows = api::register(lua, core)?;
    equip(lua, core)?;
    tasks::furnish(lua, core, rows)
}

/// Puts what every script of ours has into a VM: `require`, the prelude and the limits.
pub(super) fn equip(lua: &Lua, core: &Rc<Core>) -> mlua::Result<()> {
    let globals = lua.globals();
    globals.raw_set("require", require(lua, core)?)?;
    let traceback =
        lua.create_function(|lua, message: Option<String>| lua.traceback(message.as_deref(), 1))?;
    globals.raw_set("debug", lua.create_table_from([("traceback", traceback)])?)?;

    let host = lua.create_table()?;
    let console = Rc::clone(core);
    host.raw_set(
        "print",
        lua.create_function(move |_, line: LuaString| {
            console.print(&line.as_bytes());
            Ok(())
        })?,
    )?;
    host.raw_set("strict", core.run.errors == ErrorMode::Strict)?;
    let catcher = Rc::clone(core);
    host.raw_set(
        "caught",
        lua.create_function(move |lua, value: Value| {
            let again = |stop: mlua::Error| Ok((true, Thrown::Value(Value::Error(Box::new(stop)))));
            let stop = catcher.stop.borrow().clone();
            if let Some(stop) = stop {
                return again(stop);
            }
            let thrown = match value {
                // It is to end the task, unless the script wants otherwise.
                Value::Error(error) if errors::is_end(&error) => Thrown::Value(Value::Error(error)),
                Value::Error(error) => Thrown::Text(text_of(&error)),
                other => Thrown::Value(other),
            };
            if thrown.is_of_memory() {
                return again(stopped(&catcher, memory_error(lua, &catcher)));
            }
            Ok((false, thrown))
        })?,
    )?;
    let strict = Rc::clone(core);
    host.raw_set(
        "unknown_global",
        lua.create_function(move |lua, name: String| -> mlua::Result<()> {
            if name == "CRASH_SOURCE" {
                return Ok(());
            }
            let names = api::CONSTANTS.iter().map(|constant| constant.name);
            let fault = Fault::fatal(format!("there is no constant {name}"));
            let fault = match nearest(&name, names) {
                Some(near) => fault.hint(format!("is it {near} that is meant?")),
                None => fault.hint("in strict mode upper-case globals must exist; set it first"),
            };
            let error = fault.raise(lua, "global");
            Err(stopped(&strict, error))
        })?,
    )?;
    host.raw_set("vet", vet(lua, core)?)?;
    lua.load(include_str!("../../lua/prelude.lua"))
        .set_name("=[moonport]")
        .call::<()>(host)?;

    let clock = Rc::clone(core);
    lua.set_global_hook(
        HookTriggers::new().every_nth_instruction(STRIDE),
        move |lua, _| watch(lua, &clock),
    )?;
    let memory = core.limits().memory;
    core.collect.set(memory / 2);
    lua.set_memory_limit(memory)?;
    Ok(())
}

/// What `pcall` gives for an error.
enum Thrown {
    Text(String),
    Value(Value),
}

impl Thrown {
    /// Whether there was no memory. That is not for the script to catch: it would only try again.
    fn is_of_memory(&self) -> bool {
        match self {
            Self::Text(text) => text.ends_with(NO_MEMORY),
            Self::Value(Value::String(text)) => text.as_bytes() == NO_MEMORY.as_bytes(),
            Self::Value(_) => false,
        }
    }
}

/// What the VM says when its memory is used up.
pub(super) const NO_MEMORY: &str = "not enough memory";

impl mlua::IntoLua for Thrown {
    fn into_lua(self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Self::Text(text) => text.into_lua(lua),
            Self::Value(value) => Ok(value),
        }
    }
}

/// The text of an error of ours, as scripts get it.
fn text_of(error: &mlua::Error) -> String {
    match error {
        mlua::Error::CallbackError { cause, .. } => text_of(cause),
        mlua::Error::RuntimeError(message) => message.clone(),
        other => other.to_string(),
    }
}

/// From now on nothing of the running callback goes on, whatever it catches.
pub(super) fn stopped(core: &Core, error: mlua::Error) -> mlua::Error {
    core.stop.borrow_mut().get_or_insert(error).clone()
}

/// The error of a callback for which there was no memory.
fn memory_error(lua: &Lua, core: &Core) -> mlua::Error {
    let place = place(lua).or_else(|| core.seen.borrow().clone());
    mlua::Error::runtime(match place {
        Some(place) => format!("{place}: {NO_MEMORY}"),
        None => NO_MEMORY.to_owned(),
    })
}

/// Runs between the instructions of a script: stops a callback that has run for too long, and
/// every further stretch of it, so that it cannot go on from inside a `pcall`; and makes room.
fn watch(lua: &Lua, core: &Core) -> mlua::Result<VmState> {
    if let Some(stop) = &*core.stop.borrow() {
        return Err(stop.clone());
    }
    if is_late(core) {
        return Err(stopped(core, late(lua, core)));
    }
    let looks = core.looks.get().wrapping_add(1);
    core.looks.set(looks);
    if looks.is_multiple_of(LOOKS) {
        *core.seen.borrow_mut() = place(lua);
    }
    if lua.used_memory() > core.collect.get() {
        make_room(lua, core)?;
    }
    Ok(VmState::Continue)
}

/// Collects what is unused, and has the VM do so before memory runs out: by itself it waits until
/// memory in use has doubled.
fn make_room(lua: &Lua, core: &Core) -> mlua::Result<()> {
    *core.seen.borrow_mut() = place(lua);
    lua.gc_collect()?;
    let (used, limit) = (lua.used_memory(), core.limits().memory);
    let middle = used + limit.saturating_sub(used) / 2;
    core.collect.set(middle.max(limit / 2));
    let percent = (100 * middle / used.max(1)).clamp(101, 200);
    let pause = GcIncParams::default().pause(percent as i32);
    lua.gc_set_mode(GcMode::Incremental(pause));
    Ok(())
}

pub(super) fn is_late(core: &Core) -> bool {
    let since = core.since.get();
    since.is_some_and(|since| since.elapsed() > core.limits().stop)
}

/// How it begins what is told of a callback that was stopped.
pub(super) const LATE: &str = "it ran for more than ";

fn late(lua: &Lua, core: &Core) -> mlua::Error {
    let limit = core.limits().stop;
    Fault::fatal(format!("{LATE}{limit:?}"))
        .hint("do less per callback, and the rest in NAME_clock_pulse or a coroutine")
        .raise(lua, "stopped")
}

/// `vet(text, pattern, start, search)` returns once it is known that the VM's own search, which
/// nothing can stop, takes no longer than it may. `search` is 1: the text itself, 2: the first
/// match, 3: all matches, 4: each match for gmatch.
fn vet(lua: &Lua, core: &Rc<Core>) -> mlua::Result<Function> {
    let core = Rc::clone(core);
    lua.create_function(
        move |lua, (text, pattern, start, search): (LuaString, LuaString, f64, u8)| {
            let search = match search {
                1 => Search::Plain,
                2 => Search::First,
                3 => Search::All,
                _ => Search::Each,
            };
            let (text, pattern) = (text.as_bytes(), pattern.as_bytes());
            let start = match start {
                from_end if from_end < 0.0 => text.len().saturating_sub(-from_end as usize),
                start => (start as usize).saturating_sub(1).min(text.len()),
            };
            match pattern::work(&text, &pattern, start, search, || !is_late(&core)) {
                Ok(()) | Err(Halt::Malformed) => Ok(()),
                Err(Halt::GivenUp) => Err(stopped(&core, late(lua, &core))),
            }
        },
    )
}

/// Reads a Lua file as a chunk; never bytecode.
pub(super) fn load(lua: &Lua, path: &Path, name: &str) -> mlua::Result<Function> {
    let mut source = Vec::new();
    let mut file = File::open(path)
        .map_err(|error| mlua::Error::runtime(format!("{}: {error}", path.display())))?
        .take(MAX_SOURCE + 1);
    file.read_to_end(&mut source)
        .map_err(|error| mlua::Error::runtime(format!("{}: {error}", path.display())))?;
    if source.len() as u64 > MAX_SOURCE {
        return Err(mlua::Error::runtime(format!("{name} is larger than 4 MiB")));
    }
    if source.starts_with(b"\x1b") {
        return Err(mlua::Error::runtime(format!(
            "{name} is bytecode; only source text is run"
        )));
    }
    lua.load(without_first_line(&source))
        .set_mode(ChunkMode::Text)
        .set_name(format!("@{name}"))
        .into_function()
}

/// A source whose first line may be for the shell, as `lua` takes it.
pub(super) fn without_first_line(source: &[u8]) -> Vec<u8> {
    let comment: &[u8] = if source.starts_with(b"#") { b"--" } else { b"" };
    [comment, source].concat()
}

/// The folder of a script.
pub(super) fn folder(program: &Path) -> PathBuf {
    match program.parent() {
        Some(folder) if folder != Path::new("") => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// `require`: other files of the script's own folder, each run once.
fn require(lua: &Lua, core: &Rc<Core>) -> mlua::Result<Function> {
    let root = folder(&core.run.program);
    let alone = sandbox::readable(&core.run) == core.run.program;
    let loaded: RefCell<HashMap<String, Option<Value>>> = RefCell::default();
    lua.create_function(move |lua, name: String| {
        let known = loaded.borrow().get(&name).cloned();
        match known {
            Some(Some(value)) => return Ok(value),
            Some(None) => {
                return Err(Fault::plain(format!("{name} requires itself"))
                    .hint("move what both need into a third file")
                    .raise(lua, "require"));
            }
            None => {}
        }
        let parts: Vec<&str> = name.split('.').collect();
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
        if parts.iter().any(|part| part.is_empty() || !part.bytes().all(allowed)) {
            return Err(Fault::plain(format!("{name:?} is not the name of a module"))
                .hint("require \"a.b\" reads a/b.lua in the script's folder; there is nothing else to read")
                .raise(lua, "require"));
        }
        let file = format!("{}.lua", parts.join("/"));
        if alone {
            return Err(Fault::plain(format!(
                "{file} cannot be read: the host keeps its state in the script's folder, so the script reads only itself"
            ))
            .hint("move the script and what it requires into a folder of its own")
            .raise(lua, "require"));
        }
        let path = root.join(&file);
        let inside = path
            .canonicalize()
            .and_then(|path| Ok(path.starts_with(root.canonicalize()?)));
        match inside {
            Ok(true) => {}
            Ok(false) => {
                return Err(Fault::plain(format!("{file} leads out of the script's folder"))
                    .raise(lua, "require"));
            }
            Err(error) => {
                return Err(Fault::plain(format!("{}: {error}", path.display()))
                    .hint(format!("require reads {file} in the script's folder"))
                    .raise(lua, "require"));
            }
        }
        loaded.borrow_mut().insert(name.clone(), None);
        let value = load(lua, &path, &file).and_then(|chunk| chunk.call::<Value>(name.as_str()));
        match value {
            Ok(value) => {
                let value = if value.is_nil() { Value::Boolean(true) } else { value };
                loaded.borrow_mut().insert(name, Some(value.clone()));
                Ok(value)
            }
            Err(error) => {
                loaded.borrow_mut().remove(&name);
                Err(error)
            }
        }
    })
}
