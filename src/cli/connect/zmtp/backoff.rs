//! How long to wait before the next attempt.

use std::time::Duration;

/// Twice as long each time, from 100 ms to 10 s.
#[derive(Debug)]
pub(super) struct Backoff {
    wait: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { wait: FIRST }
    }

    /// How long to wait now: what is due, less up to half of it by chance, so that clients who lost
    /// their server together do not come back together. `random` is any number.
    pub(super) fn next(&mut self, random: u32) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(LONGEST);
        let half = wait / 2;
        half + half.mul_f64(f64::from(random) / f64::from(u32::MAX))
    }
}

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..9).map(|_| backoff.next(u32::MAX).as_millis()).collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
    }

    #[test]
    fn chance_takes_half_of_a_wait_at_most() {
        for random in [0, 1, u32::MAX / 2, u32::MAX] {
            let mut backoff = Backoff::new();
            for due in [100, 200, 400] {
                let wait = backoff.next(random).as_millis();
                assert!((due / 2..=due).contains(&wait), "{random}: {wait} of {due}");
            }
        }
    }
}
