//! How many blocks may be under way, and how close one may follow the other.
//!
//! Slow start, then one block more for each round trip and less at a loss; within a round trip blocks
//! are spread, in bursts as large as the clock is coarse. The reference goes by delay alone and
//! begins with one block a second, so what is done here is never slower, and backs off from a path
//! that is full all the same.

use std::time::{Duration, Instant};

/// As many blocks are under way at most.
pub(super) const MOST: usize = 128;

/// Before anything is known of the path.
const FIRST_WINDOW: f64 = 10.0;
const LEAST_WINDOW: f64 = 2.0;
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);
const LEAST_TIMEOUT: Duration = Duration::from_millis(50);
/// A peer whose application has stalled is asked as often as this.
const MOST_TIMEOUT: Duration = Duration::from_secs(2);
/// What was not sent in time is sent at once if it is not more than this late.
const BURST: Duration = Duration::from_millis(2);
/// What is left of the window after a loss.
const BACK: f64 = 0.7;

pub(super) struct Pace {
    window: f64,
    /// Up to here the window doubles with each round trip.
    threshold: f64,
    /// The average round trip, and how much it varies.
    round_trip: Option<(Duration, Duration)>,
    /// Timeouts in a row.
    timeouts: u32,
    /// When the next block may leave.
    next: Option<Instant>,
    /// Losses of what was sent before this have been counted.
    counted: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            window: FIRST_WINDOW,
            threshold: MOST as f64,
            round_trip: None,
            timeouts: 0,
            next: None,
            counted: None,
        }
    }

    /// Whether the window has room beside so many blocks under way.
    pub(super) fn has_room(&self, flying: usize) -> bool {
        flying < self.window as usize
    }

    /// When the next block may leave; `None`: at once.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    pub(super) fn sent(&mut self, now: Instant) {
        let Some((average, _)) = self.round_trip else {
            return;
        };
        // A little faster than the window goes round, or it would never be filled.
        let step = average.div_f64(self.window * 1.25);
        let late = now.checked_sub(BURST).unwrap_or(now);
        self.next = Some(self.next.map_or(now, |next| next.max(late)) + step);
    }

    /// A block was so long under way, there and back.
    pub(super) fn sample(&mut self, took: Duration) {
        self.round_trip = Some(match self.round_trip {
            None => (took, took / 2),
            Some((average, deviation)) => (
                (average * 7 + took) / 8,
                (deviation * 3 + average.abs_diff(took)) / 4,
            ),
        });
    }

    /// So many blocks have come.
    pub(super) fn acknowledged(&mut self, blocks: usize) {
        self.timeouts = 0;
        let blocks = blocks as f64;
        self.window += if self.window < self.threshold {
            blocks
        } else {
            blocks / self.window
        };
        self.window = self.window.min(MOST as f64);
    }

    /// The peer is there, even if nothing has come of it.
    pub(super) fn heard(&mut self) {
        self.timeouts = 0;
    }

    /// A block sent then was lost. All losses of one round trip count once.
    pub(super) fn lost(&mut self, now: Instant, sent: Instant) {
        if self.counted.is_some_and(|counted| sent <= counted) {
            return;
        }
        self.counted = Some(now);
        self.window = (self.window * BACK).max(LEAST_WINDOW);
        self.threshold = self.window;
    }

    /// Nothing was acknowledged for long.
    pub(super) fn timeout(&mut self, now: Instant) {
        if self.timeouts == 0 {
            self.threshold = (self.window * BACK).max(LEAST_WINDOW);
        }
        self.window = LEAST_WINDOW;
        self.timeouts = self.timeouts.saturating_add(1);
        self.counted = Some(now);
        self.next = None;
    }

    /// How long an acknowledgement is waited for.
    pub(super) fn patience(&self) -> Duration {
        let once = match self.round_trip {
            None => FIRST_TIMEOUT,
            Some((average, deviation)) => (average + deviation * 4).max(LEAST_TIMEOUT),
        };
        // A path may be slower than what is asked at most.
        let most = MOST_TIMEOUT.max(once);
        once.saturating_mul(1 << self.timeouts.min(8)).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_doubles_until_a_loss_and_then_grows_slowly() {
        let (mut pace, now) = (Pace::new(), Instant::now());
        pace.acknowledged(10);
        assert!(pace.has_room(19) && !pace.has_room(20));
        pace.acknowledged(1000);
        assert!(pace.has_room(127) && !pace.has_room(128));
        pace.lost(now, now);
        // The same round trip.
        pace.lost(now, now);
        assert!(pace.has_room(88) && !pace.has_room(90));
        pace.acknowledged(89);
        assert!(!pace.has_room(91));
    }

    #[test]
    fn timeouts_double_up_to_two_seconds() {
        let (mut pace, now) = (Pace::new(), Instant::now());
        assert_eq!(pace.patience(), FIRST_TIMEOUT);
        pace.sample(Duration::from_micros(100));
        let mut last = pace.patience();
        assert_eq!(last, LEAST_TIMEOUT);
        for _ in 0..40 {
            pace.timeout(now);
            assert!(pace.patience() >= last);
            last = pace.patience();
        }
        assert_eq!(last, MOST_TIMEOUT);
        assert!(pace.has_room(1) && !pace.has_room(2));
    }

    #[test]
    fn blocks_are_spread_over_a_round_trip() {
        let (mut pace, now) = (Pace::new(), Instant::now());
        pace.sample(Duration::from_secs(1));
        pace.sent(now);
        assert_eq!(pace.next(), Some(now + Duration::from_millis(80)));
        // What a late clock has missed is made up for, but not more.
        let late = now + Duration::from_secs(5);
        pace.sent(late);
        assert!(pace.next() < Some(late + Duration::from_millis(80)));
    }
}
