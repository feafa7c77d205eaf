//! How the host ends: nobody new is let in, sessions have some time to end by themselves, then the
//! scripts are told, and what has not ended in time is killed.

use std::time::Duration;

use tokio::time::Instant;

use super::Host;
use super::control::Reply;
use crate::ipc::admin::{Ending as Wish, FromHost};
use crate::ipc::script::ToScript;

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ending {
    /// It has not begun.
    #[default]
    No,
    /// Sessions may end by themselves until then.
    Draining(Instant),
    /// Whatever still runs then is killed.
    Stopping(Instant),
}

impl Ending {
    pub(super) fn is_begun(self) -> bool {
        self != Self::No
    }

    /// Whether scripts are ending.
    pub(super) fn is_stopping(self) -> bool {
        matches!(self, Self::Stopping(_))
    }
}

impl Host {
    /// A signal says that it is time to go.
    pub(super) fn signalled(&mut self) {
        if self.ending.is_begun() {
            tracing::warn!("told to stop twice: ending at once");
            return self.end_at_once();
        }
        self.end_in_order(self.options.drain);
    }

    /// An admin says so.
    pub(super) fn told_to_end(&mut self, wish: Wish, reply: Reply) {
        let sessions = u32::try_from(self.sessions.len()).unwrap_or(u32::MAX);
        reply.send(FromHost::Ending { sessions });
        match wish {
            Wish::AtOnce => {
                tracing::warn!("told to end at once");
                self.end_at_once();
            }
            Wish::InOrder { drain } => match self.ending {
                Ending::No => self.end_in_order(drain.unwrap_or(self.options.drain)),
                Ending::Draining(_) => {
                    if let Some(drain) = drain {
                        self.ending = Ending::Draining(Instant::now() + drain);
                    }
                }
                Ending::Stopping(_) => {}
            },
        }
    }

    fn end_in_order(&mut self, drain: Duration) {
        self.stop_reloads();
        if drain.is_zero() || self.sessions.len() == 0 {
            tracing::info!("ending");
            return self.stop();
        }
        let sessions = self.sessions.len();
        tracing::info!(
            sessions,
            "ending: nobody new is let in, and sessions have {drain:?}"
        );
        self.manager.stopping();
        self.ending = Ending::Draining(Instant::now() + drain);
        self.stop_all_listening();
    }

    /// Scripts are told, and what has not ended in time is killed.
    fn stop(&mut self) {
        self.begin_to_stop();
        for script in self.scripts.values_mut() {
            script.tell(ToScript::Stop);
        }
    }

    /// All that runs has some time from now on.
    pub(super) fn begin_to_stop(&mut self) {
        if !self.ending.is_stopping() {
            self.manager.stopping();
            self.ending = Ending::Stopping(Instant::now() + PATIENCE);
        }
    }

    /// Goes on with the end where it is time to.
    pub(super) fn go_on_ending(&mut self) {
        let now = Instant::now();
        match self.ending {
            Ending::Draining(_) if self.sessions.len() == 0 => {
                tracing::info!("all sessions have ended");
                self.stop();
            }
            Ending::Draining(deadline) if deadline <= now => {
                let left = self.sessions.len();
                tracing::info!(left, "ending; some sessions have not ended by themselves");
                self.stop();
            }
            Ending::Stopping(deadline) if deadline <= now => {
                tracing::warn!("some process did not end in time");
                self.end_at_once();
            }
            Ending::No | Ending::Draining(_) | Ending::Stopping(_) => {}
        }
    }

    fn end_at_once(&mut self) {
        self.begin_to_stop();
        self.scripts.clear();
        self.fronts.clear();
        self.outbound.clear();
        self.programs.clear();
    }
}

/// How long everything has to end by itself.
const PATIENCE: Duration = Duration::from_secs(5);
