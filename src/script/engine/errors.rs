//! What an error in a script does.

use mlua::Value;

use super::{Engine, Site, Went};
use crate::ipc::script::{ErrorMode, Report, Severity};
use crate::script::api;
use crate::script::core::Ending;
use crate::script::errors::Told;
use crate::script::vm;

impl Engine {
    /// Reports an error and does what the mode says.
    pub(super) fn failed(&mut self, site: &Site, error: &mlua::Error) -> Went {
        let told = Told::new(error, api::entries().map(|entry| entry.name));
        let starting = matches!(
            site,
            Site::Load | Site::Entry(_) | Site::Task { starting: true, .. }
        );
        let mode = self.core.run.errors;
        let what = self.describe(site);
        let mut ends = starting || mode != ErrorMode::Isolate;
        let mut text = told.message.clone();
        if (text == vm::NO_MEMORY || text == "stack overflow")
            && let Some(place) = &*self.core.seen.borrow()
        {
            text = format!("{place}: {text}");
        }
        if mode == ErrorMode::Classic && !starting {
            if !told.fatal
                && let Some(Value::String(words)) = self.rescue("_fatal", &text)
            {
                text = words.to_string_lossy();
            }
            ends = !matches!(
                self.rescue("_fatal_handover", &text),
                Some(Value::Boolean(true))
            );
        }
        // What cannot be used again is no script: another process begins anew, with its clients.
        let full = !ends && told.memory && self.is_full();
        let follows = if ends {
            "the script is ended"
        } else if full {
            "its memory stays full: the script is started again, and its clients are adopted"
        } else if mode == ErrorMode::Classic {
            "only this call is dropped, as NAME_fatal_handover asked"
        } else {
            self.isolate(site)
        };
        let severity = match text.contains(vm::LATE) {
            true => Severity::Stopped,
            false => Severity::Error,
        };
        self.core.report(Report {
            severity,
            message: text,
            within: Some(what),
            follows: Some(follows.to_owned()),
            hint: told.hint,
            traceback: told.traceback,
        });
        if ends {
            self.leave(Ending {
                code: 1,
                silent: false,
                message: String::new(),
            });
        } else if full {
            // Without a word to the host, as if it had crashed.
            self.exit = Some(1);
        }
        Went::Wrong
    }

    /// Asks an entry point about an error; errors in it are not looked at.
    fn rescue(&self, suffix: &str, text: &str) -> Option<Value> {
        let function = self.entry(suffix)?;
        let site = Site::Hook(format!("{}{suffix}", self.core.run.appl));
        self.timed(&site, || function.call::<Value>(text)).ok()
    }

    /// Whether memory is still full after everything unused is gone.
    pub(super) fn is_full(&self) -> bool {
        let collected = self.lua.gc_collect();
        let limit = self.core.limits().memory;
        collected.is_err() || self.lua.used_memory() > limit - limit / 8
    }

    /// Ends what an error happened in, and nothing else; says what that was.
    fn isolate(&self, site: &Site) -> &'static str {
        let (Site::Callback { vid, .. } | Site::Task { vid: Some(vid), .. }) = site else {
            return "the script goes on";
        };
        let mut world = self.core.world.borrow_mut();
        if world.deny(*vid) {
            return "this client is turned away; the script goes on";
        }
        if world.segment(*vid).is_some() {
            world.end(*vid, "script error");
            return "this segment is ended; the script goes on";
        }
        "the script goes on"
    }
}
