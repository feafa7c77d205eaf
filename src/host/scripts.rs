//! Which scripts run.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::child::{Child, Did, how};
use super::metrics::ScriptCounts;
use super::reload::Reload;
use super::{Event, Host, HostError, Program, ScriptId};
use crate::ipc::script::{FromScript, Report, Run, Severity, ToScript};
use crate::ipc::{Denied, ListenerId};
use crate::script;

/// A script, through all restarts of its process.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) program: Program,
    pub(super) child: Child<ToScript>,
    /// Which of its processes that is, and how many there were.
    pub(super) generation: Generation,
    pub(super) generations: Generation,
    /// Another process is about to take its place.
    pub(super) reload: Option<Box<Reload>>,
    /// And another one after that.
    pub(super) again: bool,
    /// What its process has said that it is denied.
    pub(super) sandbox: Vec<Denied>,
    /// When its process was started again, lately.
    restarts: VecDeque<Instant>,
    /// What it wanted to end with, if it has said so.
    exit: Option<Exit>,
    /// Its process has been loaded, and has asked for what it asks for then.
    loaded: bool,
    pub(super) counts: ScriptCounts,
}

/// Which of a script's processes.
pub(super) type Generation = u64;

#[derive(Debug)]
struct Exit {
    code: u8,
    silent: bool,
}

impl Script {
    /// The script as its author named it.
    pub(super) fn name(&self) -> &str {
        &self.program.appl
    }

    /// What its sandbox denies; empty before its process has said so.
    pub(super) fn sandbox(&self) -> &[Denied] {
        &self.sandbox
    }

    /// One whose process a test plays.
    #[cfg(test)]
    pub(super) fn played(program: Program, child: Child<ToScript>) -> Self {
        Self {
            program,
            child,
            generation: 0,
            generations: 0,
            reload: None,
            again: false,
            sandbox: Vec::new(),
            restarts: VecDeque::new(),
            exit: None,
            loaded: true,
            counts: ScriptCounts::default(),
        }
    }

    /// Its process of the moment.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// It has been loaded, and has asked for the listeners that it makes then.
    pub(super) fn is_loaded(&self) -> bool {
        self.loaded
    }

    pub(super) fn tell(&mut self, message: ToScript) {
        self.tell_with(message, Vec::new());
    }

    pub(super) fn tell_with(&mut self, message: ToScript, descriptors: Vec<OwnedFd>) {
        match &mut self.reload {
            // Who is to hear it is not known yet.
            Some(reload) if reload.holds() => reload.hold(message, descriptors),
            _ => self.child.tell_with(message, descriptors),
        }
    }
}

impl Host {
    pub(super) fn start_scripts(&mut self) -> Result<(), HostError> {
        for (number, program) in (0..).zip(self.options.programs.clone()) {
            let id = ScriptId(number);
            // What an earlier run has left there is of no use to anybody; there may be nothing.
            drop(std::fs::remove_dir_all(folder(
                &self.options.state,
                TEMPORARY,
                &program.appl,
            )));
            let child = self.spawn_script(id, 0, &program, ToScript::Run)?;
            let script = Script {
                program,
                child,
                generation: 0,
                generations: 0,
                reload: None,
                again: false,
                sandbox: Vec::new(),
                restarts: VecDeque::new(),
                exit: None,
                loaded: false,
                counts: ScriptCounts::default(),
            };
            self.scripts.insert(id, script);
        }
        Ok(())
    }

    /// Starts a process and tells it what to run, and how.
    pub(super) fn spawn_script(
        &self,
        id: ScriptId,
        generation: Generation,
        program: &Program,
        how: fn(Run) -> ToScript,
    ) -> Result<Child<ToScript>, HostError> {
        let own = |kind: &str| own_folder(&self.options.state, kind, &program.appl);
        let run = Run {
            program: program.file.clone(),
            appl: program.appl.clone(),
            directory: program.directory,
            arguments: self.options.arguments.clone(),
            state: own(STATE)?,
            temporary: own(TEMPORARY)?,
            errors: self.options.errors,
            limits: self.options.limits,
            require_sandbox: self.options.require_sandbox,
            permissions: self.options.permissions.clone(),
        };
        let events = self.events.clone();
        let child = Child::spawn(script::ROLE, move |did| {
            let events = events.clone();
            // The host is gone if nobody hears this.
            async move { drop(events.send(Event::Script(id, generation, did)).await) }
        });
        let mut child = child.map_err(|error| HostError::Io {
            what: format!("cannot start a process for {}", program.file.display()),
            error,
        })?;
        tracing::debug!(pid = child.pid(), script = %program.file.display(), "script process");
        child.tell(how(run));
        Ok(child)
    }

    pub(super) fn script_did(
        &mut self,
        id: ScriptId,
        generation: Generation,
        did: Did<FromScript>,
    ) {
        match self.scripts.get(&id) {
            Some(script) if script.generation == generation => {}
            Some(script) if script.awaits(generation) => return self.fresh_did(id, did),
            // It has been replaced.
            _ => return,
        }
        match did {
            Did::Said(message) => self.script_said(id, message),
            Did::Garbage => tracing::error!(script = id.0, "a script process sent garbage"),
            Did::Exited(status) => {
                tracing::debug!(script = id.0, how = how(status), "script process ended");
                self.script_exited(id);
            }
        }
    }

    pub(super) fn script_said(&mut self, id: ScriptId, message: FromScript) {
        match message {
            FromScript::Listen(listen) => self.listen(id, listen),
            FromScript::Connect(wanted) => self.connect(id, wanted),
            FromScript::Secret(wanted) => self.secret(id, wanted),
            FromScript::OpenWindow(wanted) => self.script_opens(id, wanted),
            FromScript::CloseWindow { listener, window } => {
                self.script_closes(id, listener, window);
            }
            FromScript::Exec(wanted) => self.exec(id, wanted),
            FromScript::EndProgram(session) => self.end_program(id, session),
            FromScript::Keys { call, wish } => self.script_wishes(id, call, wish),
            FromScript::Decide { session, accept } => self.decide(id, session, accept),
            FromScript::Unlisten(listener) => self.unlisten(id, listener),
            FromScript::Confined(sandbox) => {
                let open = sandbox.iter().filter(|denied| denied.layer.is_none());
                for denied in open {
                    let script = self.script_name(id);
                    tracing::warn!(script, "the sandbox does not deny {}", denied.action);
                }
                if let Some(script) = self.scripts.get_mut(&id) {
                    script.sandbox = sandbox;
                }
            }
            FromScript::Report(report) => {
                self.script_reports(id, &report);
                if let Some(script) = self.scripts.get_mut(&id) {
                    script.counts.report(report.severity);
                }
            }
            FromScript::Started => {
                tracing::info!(script = self.script_name(id), "running");
                if let Some(script) = self.scripts.get_mut(&id) {
                    script.loaded = true;
                }
            }
            FromScript::State(piece) => self.state_said(id, piece),
            FromScript::Yielded(number, done) => self.yielded(id, number, done),
            FromScript::Back(message) => self.given_back(id, *message),
            FromScript::Left => self.left(id),
            FromScript::Ready => self.kill_script(id, "nobody has asked whether it is ready"),
            FromScript::Said(evaluation, said) => self.evaluation_says(id, evaluation, said),
            FromScript::Evaluated(evaluation, outcome) => self.evaluated(id, evaluation, outcome),
            FromScript::Exit {
                code,
                silent,
                message,
            } => {
                if !message.is_empty() {
                    tracing::info!(script = self.script_name(id), code, message, "script ends");
                }
                if let Some(script) = self.scripts.get_mut(&id) {
                    script.exit = Some(Exit { code, silent });
                }
            }
        }
    }

    /// Logs what the author of a script should know.
    pub(super) fn script_reports(&self, id: ScriptId, report: &Report) {
        let script = self.script_name(id);
        let detail = |wanted: &str| {
            let found = report.details().find(|(name, _)| *name == wanted);
            found.map(|(_, text)| tracing::field::display(text))
        };
        let message = &report.message;
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    target: "moonport::script",
                    script,
                    "in" = detail("in"),
                    so = detail("so"),
                    hint = detail("hint"),
                    traceback = detail("traceback"),
                    "{message}"
                )
            };
        }
        match report.severity {
            Severity::Error | Severity::Stopped => log!(error),
            Severity::Warning | Severity::Slow => log!(warn),
        }
    }

    pub(super) fn script_named(&self, name: &str) -> Option<ScriptId> {
        let mut scripts = self.scripts.iter();
        let (id, _) = scripts.find(|(_, script)| script.name() == name)?;
        Some(*id)
    }

    pub(super) fn script_name(&self, id: ScriptId) -> &str {
        self.scripts.get(&id).map_or("", Script::name)
    }

    /// Ends a script process that broke the rules; it is started again like one that crashed.
    pub(super) fn kill_script(&mut self, id: ScriptId, why: &str) {
        tracing::error!(script = id.0, "a script process is ended: {why}");
        if let Some(script) = self.scripts.get_mut(&id) {
            script.child.kill();
        }
    }

    fn script_exited(&mut self, id: ScriptId) {
        self.end_evaluations(id, "the script's process has ended before it was done");
        if self.succeeds_dead(id) {
            return;
        }
        let Some(script) = self.scripts.get_mut(&id) else {
            return;
        };
        if let Some(exit) = script.exit.take() {
            self.code = self.code.max(exit.code);
            return self.remove_script(id, exit.silent);
        }
        if self.ending.is_stopping() {
            return self.remove_script(id, false);
        }
        let now = Instant::now();
        script
            .restarts
            .retain(|when| now.duration_since(*when) < RESTART_SPAN);
        if script.restarts.len() >= RESTARTS {
            let file = script.program.file.display();
            tracing::error!(
                "{file}: its process died {} times within {} s; it is not started again",
                RESTARTS + 1,
                RESTART_SPAN.as_secs(),
            );
            self.code = self.code.max(1);
            return self.remove_script(id, false);
        }
        script.restarts.push_back(now);
        script.counts.restart();
        script.generations += 1;
        let (program, generation) = (script.program.clone(), script.generations);
        tracing::warn!(
            "{}: its process died; starting it again",
            program.file.display()
        );
        match self.spawn_script(id, generation, &program, ToScript::Run) {
            Ok(child) => {
                if let Some(script) = self.scripts.get_mut(&id) {
                    script.child = child;
                    script.generation = generation;
                    script.sandbox.clear();
                }
                self.relink_fronts(id);
            }
            Err(error) => {
                tracing::error!("{error}");
                self.code = self.code.max(1);
                self.remove_script(id, false);
            }
        }
    }

    /// The script is done. It has said goodbye to its clients past the host; those that have not
    /// gone in time are cut, and all of them at once if it left in silence.
    fn remove_script(&mut self, id: ScriptId, silent: bool) {
        self.scripts.remove(&id);
        self.stop_fronts_of(id);
        let time = if silent { Duration::ZERO } else { FAREWELL };
        self.leaving.push((id, Instant::now() + time));
        if self.scripts.is_empty() {
            self.begin_to_stop();
        }
        self.cut_leaving();
    }

    /// Cuts the clients of scripts that have been gone for long enough.
    pub(super) fn cut_leaving(&mut self) {
        let now = Instant::now();
        for (script, deadline) in std::mem::take(&mut self.leaving) {
            if deadline <= now {
                self.end_sessions(keystore::Farewell::Script, |session| {
                    session.script == script
                });
            } else {
                self.leaving.push((script, deadline));
            }
        }
    }

    /// Ends the listener's script process' view of it.
    pub(super) fn tell_ended(&mut self, script: ScriptId, listener: ListenerId, why: &str) {
        if let Some(script) = self.scripts.get_mut(&script) {
            let mut last_words = why.to_owned();
            let mut end = last_words.len().min(MAX_LAST_WORDS);
            while !last_words.is_char_boundary(end) {
                end -= 1;
            }
            last_words.truncate(end);
            script.tell(ToScript::Ended {
                listener,
                last_words,
            });
        }
    }
}

fn folder(state: &Path, kind: &str, appl: &str) -> PathBuf {
    state.join(kind).join(appl)
}

/// Makes a script's own folder, which is nobody else's.
fn own_folder(state: &Path, kind: &str, appl: &str) -> Result<PathBuf, HostError> {
    use std::os::unix::fs::DirBuilderExt;
    let folder = folder(state, kind, appl);
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder);
    match made {
        Ok(()) => Ok(folder),
        Err(error) => Err(HostError::State {
            path: folder,
            error,
        }),
    }
}

/// Where scripts keep what is to stay, and what is not.
const STATE: &str = "appl";
const TEMPORARY: &str = "temporary";

/// How long clients have to take a script's last words.
const FAREWELL: Duration = Duration::from_secs(1);

/// As many restarts within this span are borne.
const RESTARTS: usize = 3;
const RESTART_SPAN: Duration = Duration::from_secs(10);

/// What Arcan's event has room for, in bytes.
const MAX_LAST_WORDS: usize = 31;
