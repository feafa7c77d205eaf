//! What a service manager hears of the host, by `sd_notify(3)`: that it is ready, how it is, that
//! its loop turns, that scripts are loaded again, that it ends. Without `NOTIFY_SOCKET` in the environment nothing is said; the
//! host's children have no environment, and say nothing.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use super::Host;

/// What has been said, and when something is to be said again.
#[derive(Debug)]
pub(super) struct Manager {
    listens: bool,
    ready: bool,
    reloading: bool,
    status: String,
    status_due: Option<Instant>,
    /// How often it wants to hear that the loop turns, and when it next has to.
    watchdog: Option<(Duration, Instant)>,
}

impl Manager {
    pub(super) fn from_environment() -> Self {
        let every = sd_notify::watchdog_enabled().map(|patience| patience / 2);
        Self {
            listens: std::env::var_os("NOTIFY_SOCKET").is_some(),
            ready: false,
            reloading: false,
            status: String::new(),
            status_due: None,
            watchdog: every.map(|every| (every, Instant::now())),
        }
    }

    fn say(&self, states: &[NotifyState<'_>]) {
        if !self.listens {
            return;
        }
        if let Err(error) = sd_notify::notify(states) {
            tracing::debug!("cannot tell the service manager: {error}");
        }
    }

    /// Scripts are being loaded again, or all of that has been done.
    fn reloading(&mut self, reloading: bool) {
        if self.reloading == reloading || !self.ready {
            return;
        }
        self.reloading = reloading;
        match (reloading, NotifyState::monotonic_usec_now()) {
            (true, Ok(now)) => self.say(&[NotifyState::Reloading, now]),
            (true, Err(_)) => {}
            (false, _) => self.say(&[NotifyState::Ready]),
        }
    }

    /// The end begins.
    pub(super) fn stopping(&self) {
        self.say(&[NotifyState::Stopping]);
    }
}

impl Host {
    /// Says what is due.
    pub(super) fn tell_manager(&mut self) {
        let now = Instant::now();
        if !self.manager.ready && !self.ending.is_begun() && self.is_up() {
            self.manager.ready = true;
            self.manager.say(&[NotifyState::Ready]);
            // Whoever has waited for it looks at this next.
            self.manager.status_due = None;
            for name in self.options.handed.names() {
                if !self
                    .fronts
                    .values()
                    .any(|front| front.name.as_str() == name)
                {
                    tracing::warn!(name, "a socket was handed over that no script listens on");
                }
            }
        }
        if let Some((every, due)) = &mut self.manager.watchdog
            && *due <= now
        {
            *due = now + *every;
            self.manager.say(&[NotifyState::Watchdog]);
        }
        if self.manager.listens && self.manager.status_due.is_none_or(|due| due <= now) {
            let status = self.summary();
            if status != self.manager.status {
                self.manager.say(&[NotifyState::Status(&status)]);
                self.manager.status = status;
                self.manager.status_due = Some(now + STATUS);
            }
        }
    }

    /// Says that scripts are loaded again, as soon as they are.
    pub(super) fn tell_of_reloads(&mut self) {
        let reloading = self.scripts.values().any(|script| script.reload.is_some());
        if !self.ending.is_begun() {
            self.manager.reloading(reloading);
        }
    }

    /// Every script has been loaded, and what it asked for in doing so is there.
    fn is_up(&self) -> bool {
        let loaded = self.scripts.values().all(super::Script::is_loaded);
        let mut listening = self.fronts.values().filter(|it| it.listener.is_some());
        loaded && !self.scripts.is_empty() && listening.all(super::Front::is_ready)
    }

    /// How it is, in a line.
    fn summary(&self) -> String {
        let listening = self.fronts.values().filter(|it| it.listener.is_some());
        let ready = listening.filter(|it| it.is_ready()).count();
        let ending = match self.ending.is_begun() {
            true => "ending; ",
            false => "",
        };
        let sessions = self.sessions.len();
        let scripts = self.scripts.len();
        format!("{ending}scripts: {scripts}, listeners: {ready}, sessions: {sessions}")
    }
}

/// How long a line stands at least.
const STATUS: Duration = Duration::from_secs(2);
