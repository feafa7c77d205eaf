//! Windows that scripts open and close by number, and what they see of those of their names.
//!
//! A script is told of the windows of the names that it listens on, without their secrets, and may
//! open and close windows of these names only.

use std::time::Duration;

use identity::Name;
use keystore::{Actor, Change, Keystore, Now, OpenWindow, Origin, WindowEnd, WindowId};

use super::windows::News;
use super::{FrontId, Host, ScriptId};
use crate::ipc::ListenerId;
use crate::ipc::script::{NewWindow, ToScript, WindowEvent};

impl Host {
    /// A script opens a window.
    pub(super) fn script_opens(&mut self, script: ScriptId, wanted: NewWindow) {
        let window = WindowId(wanted.window);
        let label = wanted.label.clone();
        let lasts = wanted
            .seconds
            .map_or(self.options.window, Duration::from_secs);
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        self.script_asks(
            script,
            wanted.listener,
            window,
            label,
            move |keystore, now, by, name| {
                let open = OpenWindow {
                    id: window,
                    name: name.clone(),
                    secret: wanted.secret,
                    human: wanted.human,
                    count: wanted.count,
                    lasts_ms,
                    origin: match wanted.without_secret {
                        true => Origin::WithoutSecret,
                        false => Origin::Admin,
                    },
                    label: wanted.label,
                };
                // A script chooses the number, and must not take one from another window.
                let windows = keystore.windows(now).map_err(|error| error.to_string())?;
                if windows.iter().any(|other| other.id == window) {
                    return Err("its number is taken".to_owned());
                }
                apply(keystore, now, by, Change::OpenWindow(open))
            },
        );
    }

    /// A script closes a window.
    pub(super) fn script_closes(&mut self, script: ScriptId, listener: ListenerId, window: u64) {
        let window = WindowId(window);
        self.script_asks(
            script,
            listener,
            window,
            None,
            move |keystore, now, by, name| {
                let windows = keystore.windows(now).map_err(|error| error.to_string())?;
                let found = windows.iter().find(|other| other.id == window);
                if found.is_none_or(|found| found.name != *name) {
                    return Err(format!("there is no window {window} of {name}"));
                }
                let why = WindowEnd::Closed;
                apply(keystore, now, by, Change::CloseWindow { window, why })
            },
        );
    }

    /// Has something done that a script asks, for the name that it listens on. If it is not done,
    /// the script is told.
    fn script_asks(
        &mut self,
        script: ScriptId,
        listener: ListenerId,
        window: WindowId,
        label: Option<String>,
        work: impl FnOnce(&mut dyn Keystore, Now, &Actor, &Name) -> Result<(), String> + Send + 'static,
    ) {
        let by = self.actor(script);
        let found = self
            .fronts
            .iter_mut()
            .find(|(_, front)| front.script == script && front.listener == Some(listener));
        // The listener has ended; its script will hear of that.
        let Some((&id, front)) = found else {
            return;
        };
        let failed = News {
            event: WindowEvent::Failed,
            left: 0,
            window,
            name: front.name.clone(),
            label,
        };
        if front.asked >= MAX_ASKED {
            return self.window_not_done(id, &failed, "too many windows are asked for at once");
        }
        front.asked += 1;
        let name = front.name.clone();
        self.store.work(move |keystore, now| {
            let done = work(keystore, now, &by, &name);
            Box::new(move |host: &mut Self| {
                if let Some(front) = host.fronts.get_mut(&id) {
                    front.asked = front.asked.saturating_sub(1);
                }
                // What has been done is seen, and told, like what anybody else does.
                if let Err(why) = done {
                    host.window_not_done(id, &failed, &why);
                }
            })
        });
    }

    fn window_not_done(&mut self, id: FrontId, failed: &News, why: &str) {
        if let Some(front) = self.fronts.get(&id)
            && let Some(listener) = front.listener
            && let Some(script) = self.scripts.get_mut(&front.script)
        {
            script.tell(failed.told_to(listener));
        }
        self.tell_failure(id, format!("no window: {why}"));
    }

    /// Tells scripts of the windows of their names, where that is not what they were told last.
    pub(super) fn tell_lists(&mut self) {
        for front in self.fronts.values_mut() {
            let Some(listener) = front.listener else {
                continue;
            };
            let windows = self.windows.list(&front.name);
            if windows == front.listed {
                continue;
            }
            front.listed.clone_from(&windows);
            if let Some(script) = self.scripts.get_mut(&front.script) {
                script.tell(ToScript::Windows { listener, windows });
            }
        }
    }
}

fn apply(keystore: &mut dyn Keystore, now: Now, by: &Actor, change: Change) -> Result<(), String> {
    let done = keystore.apply(now, by, &[change]);
    done.map(drop).map_err(|error| error.to_string())
}

/// How many windows a listener's script may ask for before the first answer: as many as can be open.
const MAX_ASKED: usize = keystore::Window::MAX_OPEN;
