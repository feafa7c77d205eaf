//! Running tasks, and the functions of timers.

use std::time::Instant;

use mlua::Value;

use super::{BATCH, Engine, Site};
use crate::script::errors;
use crate::script::tasks::Work;

impl Engine {
    /// Timers whose time has come.
    pub(super) fn timers(&mut self, now: Instant) {
        for timer in self.core.tasks.due(now) {
            self.core.tasks.fire(timer);
        }
    }

    /// Runs what tasks and timers have to do, each with a time limit of its own; `starting`: as
    /// part of the script's beginning.
    pub(super) fn run_tasks(&mut self, starting: bool) {
        for _ in 0..BATCH {
            if self.exit.is_some() {
                return;
            }
            let Some(work) = self.core.tasks.take() else {
                return;
            };
            let Work {
                run,
                vid,
                place,
                evaluation,
            } = work;
            match (run, evaluation) {
                (Value::Thread(task), Some(which)) => self.go_on(which, vid, &task),
                (Value::Thread(task), None) => {
                    let site = Site::Task {
                        vid,
                        place,
                        starting,
                    };
                    self.call(&site, |_| match task.resume::<()>(()) {
                        Err(error) if errors::is_end(&error) => Ok(()),
                        done => done,
                    });
                    if !task.is_resumable() {
                        self.core.tasks.finish(&task);
                    }
                }
                (Value::Function(function), _) => {
                    let site = Site::Timer(place);
                    self.call(&site, |_| function.call::<()>(()));
                }
                _ => {}
            }
        }
    }
}
