use std::collections::BTreeSet;
use std::fmt;

use identity::Name;
use serde::{Deserialize, Serialize};

use crate::{Actor, Now};

/// A window: a counted, timed permission to learn unknown keys for a name by a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Its number.
    pub id: WindowId,
    /// For which name.
    pub name: Name,
    /// What people call it.
    pub label: Option<String>,
    /// Who opened it.
    pub by: Actor,
    /// What its secret is good for.
    pub origin: Origin,
    /// Whether a person made the secret up.
    pub human: bool,
    /// How many keys it was opened for.
    pub count: u32,
    /// The keys it has let in.
    pub enrolled: BTreeSet<[u8; 32]>,
    /// Guesses so far.
    pub guesses: u32,
    /// When it was opened, by both clocks.
    pub opened: Now,
    /// How long it is open, ms; it ends by whichever clock gets there first.
    pub lasts_ms: u64,
    /// Why it has ended, if it has.
    pub ended: Option<(WindowEnd, Now)>,
}

impl Window {
    /// How many guesses at a secret that a person made up end the window.
    pub const MAX_GUESSES: u32 = 200;

    /// How many windows of one name may be open at once.
    pub const MAX_OPEN: usize = 16;

    /// How many ended windows of one name are kept: those that ended last.
    pub const MAX_ENDED: usize = 32;

    /// How long an ended window is kept, with its secret, for the keys it has let in, ms.
    pub const KEPT_MS: u64 = 24 * 60 * 60 * 1000;

    /// How many keys it still admits at this time, given the highest wall clock time ever seen.
    ///
    /// Below that time it admits none, nor before the time since boot at which it was opened:
    /// somebody has set a clock back.
    pub fn left(&self, now: Now, highest_wall_ms: u64) -> u32 {
        let set_back = now.wall_ms < highest_wall_ms.max(self.opened.wall_ms)
            || (now.boot == self.opened.boot && now.boot_ms < self.opened.boot_ms);
        if self.ended.is_some() || set_back || self.is_over(now, highest_wall_ms) {
            return 0;
        }
        let taken = u32::try_from(self.enrolled.len()).unwrap_or(u32::MAX);
        self.count.saturating_sub(taken)
    }

    /// Whether its time is over, by the wall clock (the highest time seen counts as passed) or,
    /// within the boot in which it was opened, by the time since boot.
    pub(crate) fn is_over(&self, now: Now, highest_wall_ms: u64) -> bool {
        passed_ms(self.opened, now, highest_wall_ms) >= self.lasts_ms
    }

    /// When its time is over, if nothing happens before.
    pub(crate) fn deadline(&self) -> Now {
        Now {
            wall_ms: self.opened.wall_ms.saturating_add(self.lasts_ms),
            boot_ms: self.opened.boot_ms.saturating_add(self.lasts_ms),
            boot: self.opened.boot,
        }
    }

    /// Whether it ended so long ago that nothing of it is kept.
    pub(crate) fn is_forgotten(&self, now: Now, highest_wall_ms: u64) -> bool {
        let passed_ms = |(_, ended)| passed_ms(ended, now, highest_wall_ms);
        self.ended
            .map(passed_ms)
            .is_some_and(|ms| ms >= Self::KEPT_MS)
    }
}

/// How long ago that was, ms, by the clock that says more.
fn passed_ms(then: Now, now: Now, highest_wall_ms: u64) -> u64 {
    let wall = now
        .wall_ms
        .max(highest_wall_ms)
        .saturating_sub(then.wall_ms);
    if now.boot != then.boot {
        return wall;
    }
    wall.max(now.boot_ms.saturating_sub(then.boot_ms))
}

/// What a window's secret is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// A script's `num:secret`: its secret is required of everybody.
    Script,
    /// An admin, or `window=` of `moonport.listen`: its secret is for unknown keys only.
    Admin,
    /// The same, for protocols whose clients have no field for a secret: whoever comes by one of
    /// these is let in, and nobody else. The secret that it has is never shown.
    WithoutSecret,
}

/// Why a window has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowEnd {
    /// It has let in as many as it may.
    Spent,
    /// Its time is over.
    Expired,
    /// Somebody closed it.
    Closed,
    /// A later one took its place.
    Replaced,
    /// Too many guesses at a secret that a person made up.
    Guessed,
}

/// A window's number: random, so that it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WindowId(pub u64);

/// Sixteen hex digits.
impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
