//! Heartbeats of one connection: when to ask, and when to give up.

use std::time::{Duration, Instant};

use super::socket::Heartbeat;
use crate::wire::Violation;

/// The clocks of one connection.
#[derive(Debug)]
pub(super) struct Pulse {
    own: Option<Heartbeat>,
    /// When the next PING is due.
    next: Option<Instant>,
    /// By when the peer must be heard of, after a PING of ours.
    answer: Option<Instant>,
    /// By when it must be heard of, by its own word.
    alive: Option<Instant>,
}

impl Pulse {
    pub(super) fn new(own: Option<Heartbeat>, now: Instant) -> Self {
        let own = own.filter(|own| !own.interval.is_zero());
        Self {
            next: own.map(|own| now + own.interval),
            own,
            answer: None,
            alive: None,
        }
    }

    /// Something good came in.
    pub(super) fn heard(&mut self) {
        self.answer = None;
        self.alive = None;
    }

    /// A PING came in, which says for how many tenths of a second its sender can be taken for alive.
    pub(super) fn pinged(&mut self, now: Instant, ttl: u16) {
        if ttl > 0 {
            self.alive = Some(now + TENTH * u32::from(ttl));
        }
    }

    /// When to come back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let all = [self.next, self.answer, self.alive];
        all.into_iter().flatten().min()
    }

    /// The time has come: the ttl of the PING that is to go out, if one is.
    pub(super) fn due(&mut self, now: Instant) -> Result<Option<u16>, Violation> {
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        if over(self.answer) || over(self.alive) {
            return Err(Violation::Silent);
        }
        let Some(own) = self.own.filter(|_| over(self.next)) else {
            return Ok(None);
        };
        self.next = Some(now + own.interval);
        self.answer.get_or_insert(now + own.timeout);
        let tenths = own.ttl.as_millis() / TENTH.as_millis();
        Ok(Some(u16::try_from(tenths).unwrap_or(u16::MAX)))
    }

    /// We do not listen, so the peer cannot be blamed: it gets its time once more.
    pub(super) fn excuse(&mut self, now: Instant) {
        let again = self.own.map_or(SECOND, |own| own.timeout.max(TENTH));
        for until in [&mut self.answer, &mut self.alive].into_iter().flatten() {
            *until = (*until).max(now + again);
        }
    }
}

const TENTH: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
