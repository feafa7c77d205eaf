//! What the host is told of strangers: seldom, and only what is new.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::driver;
use super::hub::Shared;
use crate::ipc::frameserver::{FromFrameserver, Strangers};

/// From something new to its being told, so that it is not told more often.
const EVERY: Duration = Duration::from_secs(1);

/// What is counted, and what the host knows of it.
#[derive(Debug, Default)]
pub(super) struct Tally {
    dropped: Cell<u64>,
    refused: Cell<u64>,
    /// What the host was told last.
    told: Strangers,
    /// How often a source had come to be shut out then.
    shut_outs: u64,
    /// When the host is told next, if anything is new.
    next: Option<Instant>,
}

impl Tally {
    /// A stranger has made room.
    pub(super) fn dropped(&self) {
        self.dropped.set(self.dropped.get() + 1);
    }

    /// A connection from a source that is shut out was closed.
    pub(super) fn refused(&self) {
        self.refused.set(self.refused.get() + 1);
    }

    /// Sees whether anything may be new; it costs next to nothing.
    pub(super) fn look(&mut self, shared: &Shared) {
        if self.next.is_none() && self.is_new(shared) {
            self.next = Some(driver::now() + EVERY);
        }
    }

    fn is_new(&self, shared: &Shared) -> bool {
        let told = &self.told;
        // Whoever is shut out is let in again some time, by itself.
        told.shut_out > 0
            || told.dropped != self.dropped.get()
            || told.refused != self.refused.get()
            || told.unproved != count(shared.peers.borrow().unproved.len())
            || self.shut_outs != shared.door.borrow().shut_outs()
    }

    /// Waits until the host is to be told. Cancel-safe.
    pub(super) async fn due(&self) {
        driver::at(self.next).await;
    }

    /// Tells the host, if something is new.
    pub(super) fn tell(&mut self, shared: &Shared) {
        self.next = None;
        let door = shared.door.borrow();
        let now = Strangers {
            unproved: count(shared.peers.borrow().unproved.len()),
            dropped: self.dropped.get(),
            shut_out: count(door.shut(driver::now())),
            refused: self.refused.get(),
        };
        self.shut_outs = door.shut_outs();
        if now != self.told {
            self.told = now;
            shared.host.push(FromFrameserver::Strangers(now));
        }
    }
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
