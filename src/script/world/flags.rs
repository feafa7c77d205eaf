//! What a script sets about a segment with target_flags.

use super::World;
use crate::ipc::{ListenerId, SegmentId, link};
use crate::script::picture::Limit;
use crate::script::vids::{Address, Flags, Vid};

impl World {
    /// Sets a segment's flags; a frameserver that knows the segment is told what has changed.
    pub(in crate::script) fn set_flags(&mut self, vid: Vid, flags: Flags) {
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        let changed = std::mem::replace(&mut segment.flags, flags) != flags;
        if let (true, Address::Open(id), link) = (changed, segment.address, segment.link) {
            self.send_flags(link, id, flags);
        }
    }

    /// Sets the largest picture that the script wants of a segment.
    pub(in crate::script) fn limit(&mut self, vid: Vid, limit: Limit) {
        if let Some(segment) = self.segment_mut(vid)
            && let Some(status) = segment.picture.limit(limit)
        {
            self.tell(vid, status);
        }
    }

    pub(super) fn send_flags(&mut self, link: ListenerId, segment: SegmentId, flags: Flags) {
        let Flags {
            verbose,
            block_adopt,
        } = flags;
        let message = link::FromScript::Flags {
            segment,
            verbose,
            block_adopt,
        };
        // Flags cost no credit, so of several that wait only the last are kept.
        let waiting = self.outbox.link.iter_mut().rev().find(|(_, said)| {
            matches!(said, link::FromScript::Flags { segment: of, .. } if *of == segment)
        });
        match waiting {
            Some((_, said)) => *said = message,
            None => self.outbox.link.push((link, message)),
        }
    }
}
