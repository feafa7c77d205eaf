//! What frameservers say of strangers: for people to see, and never a reason to decide anything.

use std::time::Duration;

use tokio::time::Instant;

use super::{FrontId, Host};
use crate::ipc::frameserver::Strangers;

/// What the frameserver of one listener has said.
#[derive(Debug, Default)]
pub(super) struct Seen {
    told: Strangers,
    /// When the log has last said that sources are shut out.
    logged: Option<Instant>,
}

/// A count that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Impossible(&'static str);

impl Seen {
    /// What it said last.
    pub(super) fn told(&self) -> Strangers {
        self.told
    }

    /// Takes what it says where so many strangers may be held. Whether it is to be logged that
    /// sources are shut out: when that begins, and seldom.
    fn take(&mut self, now: Instant, limit: u32, told: Strangers) -> Result<bool, Impossible> {
        if told.unproved > limit {
            return Err(Impossible("it counts more strangers than it may hold"));
        }
        if told.shut_out > Strangers::SOURCES {
            return Err(Impossible("it shuts out more sources than it remembers"));
        }
        if told.dropped < self.told.dropped || told.refused < self.told.refused {
            return Err(Impossible("it counts backwards"));
        }
        let begins = self.told.shut_out == 0 && told.shut_out > 0;
        self.told = told;
        let lately = |last| now.duration_since(last) < LOGGED;
        if !begins || self.logged.is_some_and(lately) {
            return Ok(false);
        }
        self.logged = Some(now);
        Ok(true)
    }
}

impl Host {
    /// A frameserver says what has become of strangers.
    pub(super) fn strangers(&mut self, id: FrontId, told: Strangers) {
        let limit = self.options.unproved.full();
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        match front.strangers.take(Instant::now(), limit, told) {
            Ok(true) => tracing::warn!(
                name = %front.name, sources = told.shut_out,
                "sources are shut out for up to a minute: too many of their connections ended badly"
            ),
            Ok(false) => {}
            Err(Impossible(why)) => self.kill_front(id, why),
        }
    }
}

/// The log says of a listener at most so often that it shuts sources out.
const LOGGED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn told(unproved: u32, shut_out: u32, refused: u64) -> Strangers {
        Strangers {
            unproved,
            dropped: 0,
            shut_out,
            refused,
        }
    }

    #[test]
    fn the_log_hears_of_the_beginning_and_not_more_than_once_a_minute() {
        let (mut seen, start) = (Seen::default(), Instant::now());
        let steps = [
            (0, 0, false),
            (1, 1, true),
            (2, 5, false),
            (3, 0, false),
            (4, 1, false),
            (5, 0, false),
            (62, 2, true),
            (200, 3, false),
        ];
        for (at, shut_out, logged) in steps {
            let now = start + Duration::from_secs(at);
            let told = told(3, shut_out, at);
            assert_eq!(seen.take(now, 8, told), Ok(logged), "{at}");
            assert_eq!(seen.told(), told);
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_not_shown() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        let good = told(8, Strangers::SOURCES, 5);
        assert_eq!(seen.take(now, 8, good), Ok(true));
        let dropped = Strangers { dropped: 1, ..good };
        assert_eq!(seen.take(now, 8, dropped), Ok(false));
        for wrong in [
            told(9, 0, 5),
            told(0, Strangers::SOURCES + 1, 5),
            told(0, 0, 4),
            good,
        ] {
            assert!(seen.take(now, 8, wrong).is_err(), "{wrong:?}");
            assert_eq!(seen.told(), dropped);
        }
    }
}
