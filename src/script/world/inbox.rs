//! What comes for a vid that tasks listen to: it is kept until one of them waits for it. As long as
//! it is kept its credit is, too, so the peer waits.

use std::collections::VecDeque;

use super::World;
use crate::script::status::Status;
use crate::script::vids::{Object, Queued, Vid};

/// So many statuses of a vid are kept that cost no credit; requests beyond are refused, others
/// dropped.
const MAX_KEPT: usize = 2048;

/// What has come for a vid and waits for a task.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    kept: VecDeque<Queued>,
    demand: Demand,
}

/// Whether a task waits for the next status.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Demand {
    #[default]
    Quiet,
    /// One does; nothing can be dispatched now.
    Waits,
    /// One does, and what was kept first is in the queue.
    Fed,
}

/// Why nothing more comes for a vid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::script) enum Over {
    Deleted,
    Terminated,
}

impl World {
    /// Tasks listen to this vid from now on.
    pub(in crate::script) fn attend(&mut self, vid: Vid) {
        if !matches!(self.objects.get(&vid), None | Some(Object::Dead { .. })) {
            let inbox = self.inboxes.entry(vid).or_default();
            // What a suspended segment keeps is older than what will come.
            if let Some(Object::Segment(segment)) = self.objects.get_mut(&vid)
                && let Some(held) = &mut segment.held
            {
                inbox.kept.append(held);
            }
        }
    }

    /// Nobody listens to it any more: what was kept goes to its callback.
    pub(in crate::script) fn unattend(&mut self, vid: Vid) {
        self.undemand(vid);
        if let Some(inbox) = self.inboxes.remove(&vid) {
            for entry in inbox.kept.into_iter().rev() {
                self.queue.push_front(entry);
            }
        }
    }

    /// Why nothing more comes for a vid, if so.
    pub(in crate::script) fn over(&self, vid: Vid) -> Option<Over> {
        match self.objects.get(&vid) {
            None => Some(Over::Deleted),
            Some(Object::Dead { .. }) => Some(Over::Terminated),
            Some(_) => None,
        }
    }

    /// A task waits for the next status.
    pub(in crate::script) fn demand(&mut self, vid: Vid) {
        if let Some(inbox) = self.inboxes.get_mut(&vid)
            && inbox.demand == Demand::Quiet
        {
            inbox.demand = Demand::Waits;
            self.feed(vid);
        }
    }

    /// No task waits for it any more.
    pub(in crate::script) fn undemand(&mut self, vid: Vid) {
        self.unfeed(vid);
        if let Some(inbox) = self.inboxes.get_mut(&vid) {
            inbox.demand = Demand::Quiet;
        }
    }

    /// Takes back what has been put into the queue for a task.
    pub(super) fn unfeed(&mut self, vid: Vid) {
        if let Some(inbox) = self.inboxes.get_mut(&vid)
            && inbox.demand == Demand::Fed
            && let Some(at) = self.queue.iter().position(|entry| entry.vid == vid)
            && let Some(entry) = self.queue.remove(at)
        {
            inbox.kept.push_front(entry);
            inbox.demand = Demand::Waits;
        }
    }

    /// Keeps a status that nobody waits for; gives back one that is to be dispatched.
    pub(super) fn sort_in(&mut self, entry: Queued) -> Option<Queued> {
        let vid = entry.vid;
        let Some(inbox) = self.inboxes.get_mut(&vid) else {
            return Some(entry);
        };
        let last = matches!(entry.status, Status::Terminated(_));
        let held = match self.objects.get_mut(&vid) {
            Some(Object::Segment(segment)) => {
                if last {
                    // The end is told even so.
                    segment.held = None;
                }
                segment.held.is_some()
            }
            _ => false,
        };
        match (inbox.demand, held) {
            (Demand::Fed, false) => return Some(entry),
            (Demand::Waits, false) if inbox.kept.is_empty() => return Some(entry),
            (Demand::Fed, true) => {
                inbox.kept.push_front(entry);
                inbox.demand = Demand::Waits;
                return None;
            }
            _ => {}
        }
        let first = matches!(entry.status, Status::Preroll(_));
        if entry.cost == 0 && !last && inbox.kept.len() >= MAX_KEPT {
            self.discard(&entry);
        } else {
            inbox.kept.push_back(entry);
        }
        if first {
            // A client must not wait for a task that may do something else for long.
            self.prerolled(vid);
        }
        self.feed(vid);
        None
    }

    /// A status is dispatched.
    pub(super) fn was_heard(&mut self, vid: Vid) {
        if let Some(inbox) = self.inboxes.get_mut(&vid) {
            inbox.demand = Demand::Quiet;
        }
    }

    /// A status was not shown: the next one is waited for.
    pub(super) fn was_passed(&mut self, vid: Vid) {
        if let Some(inbox) = self.inboxes.get_mut(&vid) {
            inbox.demand = Demand::Waits;
            self.feed(vid);
        }
    }

    /// Puts what was kept first into the queue, if it is waited for.
    pub(super) fn feed(&mut self, vid: Vid) {
        let held = matches!(self.objects.get(&vid), Some(Object::Segment(s)) if s.held.is_some());
        if let Some(inbox) = self.inboxes.get_mut(&vid)
            && inbox.demand == Demand::Waits
            && !held
            && let Some(entry) = inbox.kept.pop_front()
        {
            inbox.demand = Demand::Fed;
            self.queue.push_front(entry);
        }
    }

    /// The vid is gone, and with it what was kept.
    pub(super) fn close_inbox(&mut self, vid: Vid) {
        if let Some(inbox) = self.inboxes.remove(&vid) {
            for entry in &inbox.kept {
                self.discard(entry);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::ListenerId;
    use crate::script::vids::{Address, Stage};
    use crate::wire::a12::event::SegmentKind;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_tasks_do_statuses_come_in_order_and_none_is_lost(
            steps in prop::collection::vec(0_u8..10, 0..200),
        ) {
            let mut world = World::new(|bytes| bytes.fill(7));
            let mut segment = world.blank(ListenerId(1), Address::Asked, String::new());
            segment.stage = Stage::Active(SegmentKind(10));
            let vid = world.new_segment(segment).unwrap();
            let (mut said, mut heard) = (0, Vec::new());
            for step in steps {
                match step {
                    0 => world.attend(vid),
                    1 | 2 => world.demand(vid),
                    3 => world.undemand(vid),
                    4 => world.unattend(vid),
                    5 => world.suspend(vid, false),
                    6 => world.resume(vid, false),
                    8 => {
                        // Another process was to take over, and did not; a task gave up meanwhile.
                        let aside = world.set_aside();
                        world.undemand(vid);
                        world.put_back(aside);
                    }
                    7 => {
                        said += 1;
                        world.tell(vid, Status::Failure(said.to_string()));
                    }
                    _ => heard.extend(world.next()),
                }
            }
            world.unattend(vid);
            world.resume(vid, false);
            while let Some(entry) = world.next() {
                heard.push(entry);
            }
            let heard: Vec<_> = heard.iter().map(|entry| match &entry.status {
                Status::Failure(number) => number.parse().unwrap(),
                _ => 0,
            }).collect();
            prop_assert_eq!(heard, (1..=said).collect::<Vec<i32>>());
        }
    }
}
