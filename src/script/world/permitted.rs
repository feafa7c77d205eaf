//! What a script may ask for only where whoever runs the host allows it: programs for its clients,
//! and keys.

use super::{MAX_SAID, Unsent, World};
use crate::ipc::script::{FromScript, KeyStatus, KeyWish, MOST_WISHES};
use crate::ipc::{Carries, Exec, Exit, Framing, ListenerId, MOST_PROGRAMS, SegmentId};
use crate::script::status::Status;
use crate::script::vids::{Object, Vid};

/// Why no program is started for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::script) enum NoProgram {
    /// There is no such client any more.
    Gone,
    /// It is not the first segment of somebody who came by a listener.
    NoClient,
    /// A program talks with it already.
    Served,
    /// Our stream has been finished.
    Finished,
    /// As many run as may.
    TooMany,
}

/// As much is asked of the host as may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::script) struct TooMany;

impl World {
    /// Asks for a program that talks with a client from then on.
    pub(in crate::script) fn exec(
        &mut self,
        vid: Vid,
        argv: Vec<Vec<u8>>,
        framing: Framing,
    ) -> Result<(), NoProgram> {
        let served = |object: &&Object| matches!(object, Object::Segment(it) if it.served);
        let running = self.objects.values().filter(served).count();
        let full = running >= MOST_PROGRAMS || self.outbox.host.len() >= MAX_SAID;
        let segment = match self.objects.get_mut(&vid) {
            Some(Object::Segment(segment)) => segment,
            Some(Object::Listener(_) | Object::Call { .. }) => return Err(NoProgram::NoClient),
            Some(Object::Dead { .. }) | None => return Err(NoProgram::Gone),
        };
        if segment.parent.is_some() || self.connections.contains_key(&segment.link) {
            return Err(NoProgram::NoClient);
        }
        let id = segment.address.segment().ok_or(NoProgram::Gone)?;
        if segment.carries == (Carries::Stream { writable: false }) {
            return Err(NoProgram::Finished);
        }
        if segment.served {
            return Err(NoProgram::Served);
        }
        if full {
            return Err(NoProgram::TooMany);
        }
        segment.served = true;
        self.outbox.host.push(FromScript::Exec(Exec {
            session: id.session,
            argv,
            framing,
        }));
        Ok(())
    }

    /// Whether the script's own bytes would get in between those of a program.
    pub(super) fn is_served_stream(&self, vid: Vid) -> Result<(), Unsent> {
        match self.segment(vid) {
            Some(it) if it.served && matches!(it.carries, Carries::Stream { .. }) => {
                Err(Unsent::Served)
            }
            _ => Ok(()),
        }
    }

    /// A program talks with a client that the script has adopted.
    pub(super) fn served(&mut self, link: ListenerId, id: SegmentId) {
        if let Some(vid) = self.route(link, id)
            && let Some(segment) = self.segment_mut(vid)
        {
            segment.served = true;
        }
    }

    /// A program has ended.
    pub(super) fn exited(&mut self, link: ListenerId, id: SegmentId, exit: Exit) {
        let Some(vid) = self.route(link, id) else {
            return;
        };
        // Once for each that was asked for; a frameserver that says so again is not believed.
        let Some(segment) = self.segment_mut(vid).filter(|segment| segment.served) else {
            return;
        };
        segment.served = false;
        // Its end was that of our stream.
        if let (Carries::Stream { writable }, true) =
            (&mut segment.carries, exit != Exit::NotStarted)
        {
            *writable = false;
        }
        self.tell(vid, Status::Exited(exit));
    }

    /// Asks something of the keys; gives the number by which the answer is known.
    pub(in crate::script) fn wish(&mut self, wish: KeyWish, label: String) -> Result<Vid, TooMany> {
        if self.wishes.len() >= MOST_WISHES || self.outbox.host.len() >= MAX_SAID {
            return Err(TooMany);
        }
        let keys = Vec::new();
        let vid = self.add(Object::Call { label, keys }).ok_or(TooMany)?;
        self.wishes.insert(vid);
        let call = vid.number();
        self.outbox.host.push(FromScript::Keys { call, wish });
        Ok(vid)
    }

    /// The host has answered, in whole or in part.
    pub(super) fn keys(&mut self, call: u32, answer: Result<Vec<KeyStatus>, String>, more: bool) {
        let vid = Vid::new(call);
        let Some(Object::Call { keys, .. }) = self.objects.get_mut(&vid) else {
            return;
        };
        let answer = answer.map(|part| {
            keys.extend(part);
            match more {
                true => Vec::new(),
                false => std::mem::take(keys),
            }
        });
        if !more {
            self.wishes.remove(&vid);
            self.tell(vid, Status::Keys(answer));
        }
    }

    /// The answer has been heard.
    pub(in crate::script) fn answered(&mut self, vid: Vid) {
        if let Some(Object::Call { .. }) = self.objects.get(&vid) {
            self.objects.remove(&vid);
        }
    }
}
