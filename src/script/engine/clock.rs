//! The logical clock of a script, and its pulses.

use std::time::{Duration, Instant};

use super::{Engine, Site, Went};

/// One tick.
pub(super) const TICK: Duration = Duration::from_millis(25);

/// Further behind than this, ticks are dropped.
pub(super) const MAX_BEHIND: u32 = 100;

/// The logical clock.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) next: Instant,
    pub(super) ticks: u64,
}

impl Engine {
    /// The ticks that are due.
    pub(super) fn tick(&mut self, now: Instant) {
        let Some(late) = now.checked_duration_since(self.clock.next) else {
            return;
        };
        let due = late.as_millis() / TICK.as_millis() + 1;
        let due = match u32::try_from(due) {
            Ok(due) if due <= MAX_BEHIND => {
                self.clock.next += TICK * due;
                due
            }
            _ => {
                self.clock.next = now + TICK;
                1
            }
        };
        self.core.world.borrow_mut().tick();
        if self.entry("_clock_pulse_batch").is_some() {
            self.advance(due);
            self.pulse("_clock_pulse_batch", due);
            return;
        }
        for done in 1..=due {
            self.advance(1);
            if self.pulse("_clock_pulse", 1) == Went::Wrong || self.exit.is_some() {
                // One that fails or hangs would do it again at once.
                self.advance(due - done);
                return;
            }
        }
    }

    fn advance(&mut self, ticks: u32) {
        self.clock.ticks += u64::from(ticks);
        // Setting a number in a table that has the key cannot fail.
        let _ = self.lua.globals().raw_set("CLOCK", self.clock.ticks as f64);
    }

    fn pulse(&mut self, suffix: &str, ticks: u32) -> Went {
        let Some(function) = self.entry(suffix) else {
            return Went::Well;
        };
        let site = Site::Pulse(format!("{}{suffix}", self.core.run.appl));
        let clock = self.clock.ticks as f64;
        self.call(&site, |_| function.call::<()>((clock, ticks))).1
    }
}
