//! Runs the tests in `lua/tests`: each plays host, frameserver and clock to an [`Engine`].

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mlua::{Lua, Table, UserData, UserDataMethods, Value};

use super::{Console, Engine};
use crate::ipc::ListenerId;
use crate::ipc::script::{ErrorMode, FromScript, Limits, Names, Permissions, Run};

/// Keeps what a script prints and what is reported about it.
#[derive(Clone, Default)]
struct Tape(Rc<RefCell<(Vec<String>, String)>>);

impl Console for Tape {
    fn print(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.0.borrow_mut().0.push(line);
    }
}

/// One script, and all that is around it.
struct Stage {
    folder: tempfile::TempDir,
    run: Run,
    tape: Tape,
    engine: Engine,
    now: Instant,
    host: Vec<String>,
    link: Vec<String>,
}

/// Not random, never the same twice.
fn counter(bytes: &mut [u8]) {
    thread_local!(static NEXT: RefCell<u32> = const { RefCell::new(0) });
    for byte in bytes {
        NEXT.with_borrow_mut(|next| {
            *next = next.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (*next >> 24) as u8;
        });
    }
}

impl Stage {
    fn new(source: &str, options: Option<&Table>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let option = |key: &str| options.and_then(|o| o.raw_get::<Option<Value>>(key).unwrap());
        let directory = option("directory").is_some();
        let files = folder.path().join("show");
        std::fs::create_dir(&files).unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        std::fs::create_dir(folder.path().join("temporary")).unwrap();
        std::fs::write(files.join("show.lua"), source).unwrap();
        if let Some(Value::Table(more)) = option("files") {
            for pair in more.pairs::<String, mlua::LuaString>() {
                let (name, text) = pair.unwrap();
                let path = files.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text.as_bytes()).unwrap();
            }
        }
        if let Some(Value::Table(links)) = option("links") {
            for pair in links.pairs::<String, String>() {
                let (name, to) = pair.unwrap();
                std::os::unix::fs::symlink(to, files.join(name)).unwrap();
            }
        }
        let text = |value: Option<Value>| value.and_then(|v| v.to_string().ok());
        let mut limits = Limits::default();
        if let Some(ms) = option("stop_ms").and_then(|ms| ms.as_integer()) {
            limits.stop = Duration::from_millis(ms as u64);
        }
        // A busy machine must not write "took ... ms" into what tests look at.
        limits.warn = Duration::from_secs(3600);
        if let Some(mib) = option("memory_mib").and_then(|mib| mib.as_integer()) {
            limits.memory = (mib as usize) << 20;
        }
        let run = Run {
            program: files.join(text(option("program")).unwrap_or_else(|| "show.lua".into())),
            appl: text(option("appl")).unwrap_or_else(|| "show".into()),
            directory,
            arguments: vec!["one".into(), "two".into()],
            state: folder.path().join("state"),
            temporary: folder.path().join("temporary"),
            errors: match text(option("mode")).as_deref() {
                Some("classic") => ErrorMode::Classic,
                Some("strict") => ErrorMode::Strict,
                _ => ErrorMode::Isolate,
            },
            limits,
            require_sandbox: false,
            permissions: Permissions {
                programs: vec!["/bin/cat".into()],
                keys: Names {
                    all: false,
                    some: ["demo", "lamp"]
                        .map(|name| identity::Name::parse(name).unwrap())
                        .into(),
                },
            },
        };
        let now = Instant::now();
        let tape = Tape::default();
        let engine = Self::engine(&run, &tape, now);
        let mut stage = Self {
            folder,
            run,
            tape,
            engine,
            now,
            host: Vec::new(),
            link: Vec::new(),
        };
        stage.engine.start();
        stage.drain();
        stage
    }

    fn engine(run: &Run, tape: &Tape, now: Instant) -> Engine {
        Engine::new(run.clone(), Box::new(tape.clone()), counter, now).unwrap()
    }

    fn drain(&mut self) {
        let outbox = self.engine.take_outbox();
        for message in &outbox.host {
            match message {
                FromScript::Report(report) => {
                    let err = &mut self.tape.0.borrow_mut().1;
                    err.push_str(&format!("{report}\n"));
                }
                other => self.host.push(serde_json::to_string(other).unwrap()),
            }
        }
        for (ListenerId(listener), message) in &outbox.link {
            let message = serde_json::to_string(message).unwrap();
            self.link.push(format!("{listener} {message}"));
        }
    }
}

impl UserData for Stage {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_method_mut("host", |_, stage, json: String| {
            let message = serde_json::from_str(&json).map_err(mlua::Error::external)?;
            stage.engine.host(message);
            Ok(())
        });
        methods.add_method_mut("link", |_, stage, (link, json): (u32, String)| {
            let message = serde_json::from_str(&json).map_err(mlua::Error::external)?;
            stage.engine.link(ListenerId(link), message);
            Ok(())
        });
        methods.add_method_mut("closed", |_, stage, link: u32| {
            stage.engine.link_closed(ListenerId(link));
            Ok(())
        });
        methods.add_method_mut("turn", |_, stage, ms: Option<u64>| {
            stage.now += Duration::from_millis(ms.unwrap_or(0));
            stage.engine.turn(stage.now);
            stage.drain();
            Ok(())
        });
        methods.add_method("sleeps", |_, stage, ()| {
            let wake = stage.engine.wake(stage.now);
            Ok(wake.saturating_duration_since(stage.now).as_millis() as u64)
        });
        methods.add_method_mut("said", |_, stage, ()| Ok(std::mem::take(&mut stage.host)));
        methods.add_method_mut("sent", |_, stage, ()| Ok(std::mem::take(&mut stage.link)));
        methods.add_method("out", |_, stage, ()| {
            Ok(std::mem::take(&mut stage.tape.0.borrow_mut().0))
        });
        methods.add_method("err", |_, stage, ()| {
            Ok(std::mem::take(&mut stage.tape.0.borrow_mut().1))
        });
        methods.add_method_mut("settle", |_, stage, ()| {
            let settled = stage.engine.settle();
            stage.drain();
            Ok(settled.err())
        });
        methods.add_method_mut("leave", |_, stage, ()| {
            stage.engine.leave_behind();
            stage.drain();
            Ok(())
        });
        methods.add_method("exit", |_, stage, ()| Ok(stage.engine.exit()));
        methods.add_method_mut("restart", |_, stage, ()| {
            stage.engine = Self::engine(&stage.run, &stage.tape, stage.now);
            stage.engine.start();
            stage.drain();
            Ok(())
        });
        methods.add_method("get", |lua, stage, name: String| {
            match stage.engine.globals().raw_get::<Value>(name)? {
                Value::String(text) => text.as_bytes().to_vec().as_slice().into_lua_text(lua),
                value @ (Value::Boolean(_) | Value::Integer(_) | Value::Number(_)) => Ok(value),
                _ => Ok(Value::Nil),
            }
        });
        methods.add_method("keys", |_, stage, ()| {
            let path = stage.folder.path().join("state/show.keys");
            Ok(std::fs::read_to_string(path).unwrap_or_default())
        });
    }
}

trait IntoLuaText {
    fn into_lua_text(self, lua: &Lua) -> mlua::Result<Value>;
}

impl IntoLuaText for &[u8] {
    fn into_lua_text(self, lua: &Lua) -> mlua::Result<Value> {
        lua.create_string(self).map(Value::String)
    }
}

/// Runs one file of tests.
fn run(file: &str) {
    assert!(tests(file, |_| true) > 0);
}

/// Runs one test of a file.
fn only(file: &str, name: &str) {
    assert_eq!(tests(file, |other| other == name), 1);
}

fn tests(file: &str, wanted: impl Fn(&str) -> bool) -> usize {
    let lua = Lua::new();
    let tests: Table = load(&lua, file);
    let mut failed = Vec::new();
    let mut ran = 0;
    for pair in tests.pairs::<String, mlua::Function>() {
        let (name, test) = pair.unwrap();
        if !wanted(&name) {
            continue;
        }
        ran += 1;
        if let Err(error) = test.call::<()>(()) {
            failed.push(format!("{name}: {error}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    ran
}

/// What a file of tests gives, in a VM that has stages.
fn load<T: mlua::FromLuaMulti>(lua: &Lua, file: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("lua/tests");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let stage = lua
        .create_function(|_, (source, options): (String, Option<Table>)| {
            Ok(Stage::new(&source, options.as_ref()))
        })
        .unwrap();
    lua.globals().raw_set("raw_stage", stage).unwrap();
    lua.load(read("stage.lua"))
        .set_name("@stage.lua")
        .exec()
        .unwrap();
    lua.load(read(file))
        .set_name(format!("@{file}"))
        .eval()
        .unwrap()
}

/// Every function of the API has an example that calls it and prints what it says.
#[test]
fn examples_of_the_api_do_what_they_say() {
    let lua = Lua::new();
    let run: mlua::Function = load(&lua, "examples.lua");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples-of-api");
    let mut wrong = Vec::new();
    for name in super::api::names().chain(["entry_points"]) {
        let file = folder.join(format!("{}.lua", name.replace(':', ".")));
        let ran = match std::fs::read_to_string(&file) {
            Ok(source) => run.call::<()>((name, source)).map_err(|e| e.to_string()),
            Err(_) => Err("there is no example".to_owned()),
        };
        wrong.extend(
            ran.err()
                .map(|error| format!("{}: {error}", file.display())),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn vm() {
    run("vm.lua");
}

#[test]
fn escapes() {
    run("escapes.lua");
}

#[test]
fn mistakes() {
    run("mistakes.lua");
}

#[test]
fn listen() {
    run("listen.lua");
}

#[test]
fn windows() {
    run("windows.lua");
}

#[test]
fn exec() {
    run("exec.lua");
}

#[test]
fn messages() {
    run("messages.lua");
}

#[test]
fn streams() {
    run("streams.lua");
}

#[test]
fn tasks() {
    run("tasks.lua");
}

#[test]
fn evaluations() {
    run("evaluations.lua");
}

#[test]
fn helpers() {
    run("helpers.lua");
}

#[test]
fn segments() {
    run("segments.lua");
}

#[test]
fn errors() {
    run("errors.lua");
}

#[test]
fn keys_and_clock() {
    run("keys_and_clock.lua");
}

#[test]
fn adoption() {
    run("adoption.lua");
}

#[test]
fn handover() {
    run("handover.lua");
}

#[test]
fn i1_a_frameserver_cannot_invent_survivors() {
    only("adoption.lua", "i1_a_frameserver_cannot_invent_survivors");
}

#[test]
fn i4_an_error_in_a_script_denies() {
    only("listen.lua", "i4_an_error_in_a_script_denies");
}

#[test]
fn i8_no_secret_in_reports() {
    only("listen.lua", "i8_no_secret_in_reports");
}

#[test]
fn i9_what_a_frameserver_says_of_others_is_ignored() {
    only(
        "segments.lua",
        "i9_what_a_frameserver_says_of_others_is_ignored",
    );
}

#[test]
fn i12_a_loop_that_never_ends_is_stopped() {
    only("vm.lua", "i12_a_loop_that_never_ends_is_stopped");
}

#[test]
fn i12_an_endless_loop_at_the_prompt_is_stopped() {
    only(
        "evaluations.lua",
        "i12_an_endless_loop_at_the_prompt_is_stopped",
    );
}

#[test]
fn i12_memory_has_an_end() {
    only("vm.lua", "i12_memory_has_an_end");
}
