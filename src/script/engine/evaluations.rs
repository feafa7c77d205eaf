//! What somebody at a prompt wants of the script. It runs as a task; an error in it ends it, and
//! nothing else.

use mlua::chunk::ChunkMode;
use mlua::{Function, MultiValue, Thread};

use super::{Engine, Site};
use crate::ipc::script::{FromScript, Report, Severity};
use crate::ipc::{Asked, Chunk, EvaluationId, Outcome};
use crate::script::core::bounded;
use crate::script::errors::Told;
use crate::script::heard::Heard;
use crate::script::vids::Vid;
use crate::script::{api, shown, vm};

/// One that has begun.
pub(super) struct Evaluation {
    task: Thread,
    heard: Heard,
}

impl Engine {
    /// Begins one.
    pub(super) fn evaluate(&mut self, which: EvaluationId, asked: Asked) {
        let chunk = match asked {
            Asked::Chunk(chunk) => chunk,
            Asked::Names(path) => {
                let names = shown::names(&self.lua, &path);
                return self.evaluated(which, Ok(names));
            }
        };
        let task = self.compile(&chunk);
        match task.and_then(|chunk| self.core.tasks.evaluate(chunk, which)) {
            Ok(task) => {
                let heard = Heard::default();
                self.evaluations.insert(which, Evaluation { task, heard });
            }
            Err(mlua::Error::SyntaxError { message, .. }) => {
                let report = Report::new(Severity::Error, message);
                self.evaluated(which, Err(bounded(report)));
            }
            Err(error) => {
                let report = self.wrong(&error);
                self.evaluated(which, Err(report));
            }
        }
    }

    /// What it is as an expression, or else as a chunk.
    fn compile(&self, Chunk(text): &Chunk) -> mlua::Result<Function> {
        let load = |text: &str| {
            let chunk = self.lua.load(text).set_mode(ChunkMode::Text);
            chunk.set_name("=repl").into_function()
        };
        // Not as a tail call, of which nothing is left to tell where an error was.
        let whole = format!("return (function(...) return ... end)({text}\n)");
        match load(&format!("return {text}")).and_then(|_| load(&whole)) {
            Ok(expression) => Ok(expression),
            Err(_) => load(text),
        }
    }

    /// Runs one until it waits or ends.
    pub(super) fn go_on(&mut self, which: EvaluationId, vid: Option<Vid>, task: &Thread) {
        let Some(evaluation) = self.evaluations.get_mut(&which) else {
            return;
        };
        let heard = std::mem::take(&mut evaluation.heard);
        *self.core.heard.borrow_mut() = Some(heard);
        let site = Site::Evaluation(vid);
        let done = self.watched(&site, || task.resume::<MultiValue>(()));
        let mut heard = self.core.heard.take().unwrap_or_default();
        for said in heard.take() {
            self.tell(FromScript::Said(which, said));
        }
        if task.is_resumable() {
            if let Some(evaluation) = self.evaluations.get_mut(&which) {
                evaluation.heard = heard;
            }
            return;
        }
        self.evaluations.remove(&which);
        self.core.tasks.finish(task);
        let outcome = match done {
            Ok(values) => Ok(shown::values(&self.lua, &values)),
            Err(error) => Err(self.wrong(&error)),
        };
        self.evaluated(which, outcome);
    }

    /// Nobody waits for it any more.
    pub(super) fn cancel(&mut self, which: EvaluationId) {
        if let Some(evaluation) = self.evaluations.remove(&which) {
            self.core.tasks.cancel(&evaluation.task);
            let report = Report::new(Severity::Error, "cancelled");
            self.evaluated(which, Err(report));
        }
    }

    /// What was wrong. It is for whoever is at the prompt alone: there may be secrets in it.
    fn wrong(&mut self, error: &mlua::Error) -> Report {
        let told = Told::new(error, api::entries().map(|entry| entry.name));
        let severity = match told.message.contains(vm::LATE) {
            true => Severity::Stopped,
            false => Severity::Error,
        };
        // As after an error in a callback.
        let full = told.memory && self.is_full();
        if full {
            self.exit = Some(1);
        }
        bounded(Report {
            severity,
            message: told.message,
            within: None,
            follows: full.then(|| "its memory stays full: the script is started again".to_owned()),
            hint: told.hint,
            traceback: told.traceback.filter(|it| is_telling(it)),
        })
    }

    fn evaluated(&mut self, which: EvaluationId, outcome: Outcome) {
        self.tell(FromScript::Evaluated(which, outcome));
    }

    fn tell(&self, message: FromScript) {
        self.core.world.borrow_mut().outbox.host.push(message);
    }
}

/// Whether more is on the stack than the place that the message names.
fn is_telling(traceback: &str) -> bool {
    let frames = traceback.lines().skip(1).map(str::trim_start);
    frames.filter(|frame| !frame.starts_with('[')).count() > 1
}
