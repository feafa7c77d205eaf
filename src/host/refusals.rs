//! Who was not let in: told to the log, to the script, and remembered for the admin.

use std::net::SocketAddr;
use std::time::Duration;

use identity::{PublicKey, Reference};
use keystore::{Note, Reason};
use tokio::time::Instant;

use super::admit::Refused;
use super::{FrontId, Host};
use crate::ipc::frameserver::Ended;
use crate::wire::{Refusal, Violation};

/// How many refusals of a listener are remembered one by one: whoever is refused without end must
/// not fill the disk.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
    remembered: u32,
    /// Those beyond.
    more: u64,
}

impl Refusals {
    /// Whether one more is remembered by itself.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        if self
            .since
            .is_none_or(|since| now.duration_since(since) >= SPAN)
        {
            self.since = Some(now);
            self.remembered = 0;
        }
        if self.remembered < PER_SPAN {
            self.remembered += 1;
            return true;
        }
        self.more = self.more.saturating_add(1);
        false
    }

    /// How many were not remembered one by one, once it is time to say so.
    pub(super) fn sum(&mut self, now: Instant) -> Option<u64> {
        let due = |since| now.duration_since(since) >= SPAN;
        (self.more > 0 && self.since.is_none_or(due)).then(|| std::mem::take(&mut self.more))
    }
}

impl Host {
    /// The host has refused somebody.
    pub(super) fn note_refusal(&mut self, id: FrontId, refused: Refused) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let Refused {
            key,
            source: from,
            reference,
            reason,
        } = refused;
        tracing::debug!(name = %front.name, %from, ?reason, "refused");
        self.counts.refusal(reason);
        if front.refusals.take(Instant::now()) {
            let name = front.name.clone();
            self.store.note(Note::Refused {
                name,
                key,
                from,
                reason,
                reference,
            });
        }
    }

    /// A connection has ended that was neither a session nor refused: a refusal, unless the peer
    /// left by itself.
    pub(super) fn note_end(
        &mut self,
        id: FrontId,
        key: Option<PublicKey>,
        source: SocketAddr,
        reference: Option<Reference>,
        why: &Ended,
    ) {
        let reason = match why {
            Ended::Violation(Violation::FirstPacket) => Reason::WrongSecret,
            Ended::Violation(Violation::Deadline) => Reason::TooSlow,
            Ended::Violation(_) => Reason::Protocol,
            Ended::Refused(Refusal::TurnedAway) => Reason::TurnedAway,
            Ended::Crowded => Reason::TooMany,
            Ended::Refused(Refusal::NotAccepted | Refusal::Broken(_))
            | Ended::Peer
            | Ended::Told
            | Ended::Broken => return,
        };
        self.note_refusal(
            id,
            Refused {
                key,
                source,
                reference,
                reason,
            },
        );
    }

    /// Remembers how many refusals were not remembered one by one.
    pub(super) fn sum_refusals(&mut self) {
        let now = Instant::now();
        for front in self.fronts.values_mut() {
            if let Some(count) = front.refusals.sum(now) {
                let name = front.name.clone();
                self.store.note(Note::RefusedMore { name, count });
            }
        }
        for note in self.doorman.sums() {
            self.store.note(note);
        }
    }
}

const SPAN: Duration = Duration::from_secs(10);
const PER_SPAN: u32 = 50;
