//! How listeners and segments end, from our side.

use super::{MAX_DEAD, MAX_DELETED, NoSuch, Route, World};
use crate::ipc::ListenerId;
use crate::ipc::link;
use crate::ipc::script::FromScript;
use crate::script::status::Status;
use crate::script::vids::{Address, Object, Segment, Vid};

impl World {
    /// delete_image: closes what it is and forgets it.
    pub(in crate::script) fn delete(&mut self, vid: Vid) -> Result<(), NoSuch> {
        let object = self.objects.remove(&vid).ok_or(NoSuch)?;
        self.close_inbox(vid);
        match object {
            Object::Listener(listener) => {
                self.listeners.remove(&listener.id);
                self.windows.remove(&listener.id);
                self.outbox.host.push(FromScript::Unlisten(listener.id));
            }
            Object::Segment(segment) => {
                if self.connections.remove(&segment.link).is_some() {
                    self.outbox.host.push(FromScript::Unlisten(segment.link));
                }
                self.adopting.retain(|adoption| adoption.vid != vid);
                self.end_program(segment.served, segment.address);
                self.close(vid, &segment, "");
                self.leave_parent(vid, segment.parent);
                self.orphan(vid);
            }
            Object::Call { .. } => drop(self.wishes.remove(&vid)),
            Object::Dead { .. } => {}
        }
        Ok(())
    }

    /// Remembers where in the script a vid was deleted.
    pub(in crate::script) fn remember_deletion(&mut self, vid: Vid, place: String) {
        if self.deleted.len() >= MAX_DELETED {
            self.deleted.pop_front();
        }
        self.deleted.push_back((vid, place));
    }

    /// Where in the script a vid was deleted, if that is remembered.
    pub(in crate::script) fn deletion(&self, vid: Vid) -> Option<&str> {
        let found = self.deleted.iter().rev().find(|(other, _)| *other == vid);
        found.map(|(_, place)| place.as_str())
    }

    /// Ends a segment from our side; its handler hears `terminated`.
    pub(in crate::script) fn end(&mut self, vid: Vid, why: &str) {
        let Some(Object::Segment(segment)) = self.objects.get_mut(&vid) else {
            return;
        };
        let address = std::mem::replace(&mut segment.address, Address::Gone);
        if address == Address::Gone {
            return;
        }
        let (link, served) = (segment.link, segment.served);
        self.end_program(served, address);
        self.close_address(vid, link, address, why);
        self.tell(vid, Status::Terminated(why.to_owned()));
    }

    /// Closes all clients, as the script ends.
    pub(in crate::script) fn say_goodbye(&mut self) {
        let primaries: Vec<(Vid, ListenerId, Address)> = self
            .objects
            .iter()
            .filter_map(|(vid, object)| match object {
                Object::Segment(segment) if segment.parent.is_none() => {
                    Some((*vid, segment.link, segment.address))
                }
                _ => None,
            })
            .collect();
        for (vid, link, address) in primaries {
            self.close_address(vid, link, address, "");
        }
    }

    /// What talks with a client that the script lets go is not waited for.
    fn end_program(&mut self, served: bool, address: Address) {
        if let Some(id) = address.segment().filter(|_| served) {
            self.outbox.host.push(FromScript::EndProgram(id.session));
        }
    }

    fn close(&mut self, vid: Vid, segment: &Segment, why: &str) {
        self.close_address(vid, segment.link, segment.address, why);
    }

    fn close_address(&mut self, vid: Vid, link: ListenerId, address: Address, why: &str) {
        let decided = self
            .pending
            .as_ref()
            .is_none_or(|pending| pending.accepted != Some(vid));
        match address {
            // If it is not decided yet, the decision will be no.
            Address::Expected(segment) if !decided => {
                self.routes.remove(&segment);
            }
            Address::Open(segment) | Address::Expected(segment) => {
                self.routes.remove(&segment);
                if let Address::Expected(_) = address {
                    // The other end may not know it yet; then it is told again.
                    self.routes.insert(segment, Route::Doomed(link));
                }
                let last_words = why.to_owned();
                self.outbox.link.push((
                    link,
                    link::FromScript::Close {
                        segment,
                        last_words,
                    },
                ));
            }
            Address::Asked => {
                for opening in &mut self.opening {
                    if opening.vid == Some(vid) {
                        opening.vid = None;
                    }
                }
            }
            Address::Gone => {}
        }
    }

    /// What is left after `terminated`.
    pub(in crate::script) fn bury(&mut self, vid: Vid) {
        let label = self.label(vid);
        if let Some(object) = self.objects.get_mut(&vid) {
            let (parent, peer) = match object {
                Object::Listener(listener) => {
                    self.listeners.remove(&listener.id);
                    self.windows.remove(&listener.id);
                    (None, None)
                }
                Object::Segment(segment) => (segment.parent, segment.peer.take()),
                Object::Call { .. } | Object::Dead { .. } => return,
            };
            *object = Object::Dead {
                parent,
                peer,
                label,
            };
            self.close_inbox(vid);
            self.leave_parent(vid, parent);
            self.orphan(vid);
            self.dead.push_back(vid);
            if self.dead.len() > MAX_DEAD
                && let Some(oldest) = self.dead.pop_front()
            {
                self.objects.remove(&oldest);
                self.inboxes.remove(&oldest);
            }
        }
    }

    /// A segment is gone before its parent.
    pub(super) fn leave_parent(&mut self, vid: Vid, parent: Option<Vid>) {
        if let Some(siblings) = parent.and_then(|parent| self.children.get_mut(&parent)) {
            siblings.retain(|sibling| *sibling != vid);
        }
    }

    pub(super) fn orphan(&mut self, parent: Vid) {
        self.orphans
            .extend(self.children.remove(&parent).unwrap_or_default());
    }

    /// A tick has passed: the subsegments of dead segments follow.
    pub(in crate::script) fn tick(&mut self) {
        for vid in std::mem::take(&mut self.orphans) {
            self.end(vid, "");
        }
    }
}
