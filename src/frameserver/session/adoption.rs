//! How a session goes from one process of its script to the next.

use super::segment::Segment;
use super::{PRIMARY, Session, Stage};
use crate::frameserver::link::{Epoch, Outbox};
use crate::ipc::link::{Assembly, Ends, FromScript, ToScript};
use crate::ipc::{Carries, SegmentId};
use crate::wire::a12::event::External;
use crate::wire::zmtp;

impl Session {
    /// A new script has to learn what lives, but for what the old one did not want it to have.
    pub(super) fn adopted_by(&mut self, epoch: Epoch, script: &Outbox) {
        let whole = self.epoch.is_some_and(|old| script.succeeds(old));
        self.epoch = Some(epoch);
        self.marks.clear();
        let returned = std::mem::take(&mut self.returned);
        if whole {
            self.begun = None;
            // The script hears of what is there from what Adopt says.
            let news = |message: &ToScript| {
                !matches!(
                    message,
                    ToScript::Event {
                        event: External::Register { .. },
                        ..
                    }
                )
            };
            self.backlog.retain(news);
            for message in returned.into_iter().rev() {
                self.backlog.push_front(message);
            }
        } else {
            self.since = Some(epoch);
            self.assembly = Assembly::default();
        }
        let blocked: Vec<u8> = self
            .segments
            .iter()
            .filter_map(|(&channel, known)| known.block_adopt.then_some(channel))
            .collect();
        let passes_on = |channel| !blocked.contains(&PRIMARY) && !blocked.contains(&channel);
        for known in self.segments.values_mut() {
            known.changes_hands();
        }
        for (&channel, known) in &self.segments {
            if !passes_on(channel) {
                continue;
            }
            script.push(self.announcement(channel, known));
            if let Some(picture) = known.picture {
                script.push(picture.resized(self.segment(channel)));
            }
            if channel == PRIMARY && self.program.is_some() {
                script.push(ToScript::Served {
                    segment: self.segment(channel),
                });
            }
        }
        let is_end = |message: &ToScript| matches!(message, ToScript::Finished { .. });
        // Where ours is finished too, there is nothing to be done about it.
        if let Some(failed) = self.finished
            && self.to_carry() != (Carries::Stream { writable: false })
            && self.program.is_none()
            && passes_on(PRIMARY)
            && !self.backlog.iter().any(is_end)
        {
            let segment = SegmentId {
                session: self.id,
                channel: PRIMARY,
            };
            script.push(ToScript::Finished { segment, failed });
        }
        // The rest concerns the old script's wishes or what Adopt has said. A message of which the
        // old script has had the beginning is lost with it.
        let mut cut = self.begun.take().is_some();
        self.backlog.retain(|message| match message {
            ToScript::Event { segment, .. }
            | ToScript::Finished { segment, .. }
            | ToScript::Exited { segment, .. } => passes_on(segment.channel),
            ToScript::Frame { segment, .. } | ToScript::Unsent { segment } => {
                whole && passes_on(segment.channel)
            }
            ToScript::Terminated { .. } => self.stage == Stage::Over,
            ToScript::Piece { segment, ends, .. } => {
                let kept = !cut;
                cut &= *ends != Ends::Message;
                kept && passes_on(segment.channel)
            }
            _ => false,
        });
        // A replier's client would wait for ever, and so would its next requests.
        let waits = |message: &ToScript| matches!(message, ToScript::Piece { .. });
        self.abandoned = matches!(
            self.carries,
            Carries::Messages {
                socket: zmtp::SocketType::Rep,
                ..
            }
        ) && self.program.is_none()
            && !self.backlog.iter().any(waits)
            // Its answer is on its way.
            && !(whole && self.waiting.iter().any(|it| matches!(it.1, FromScript::Piece { .. })));
        // Before what the old script still wanted, and the primary one first.
        for &channel in blocked.iter().rev() {
            let close = FromScript::Close {
                segment: self.segment(channel),
                last_words: String::new(),
            };
            self.waiting.push_front((epoch, close));
        }
    }

    /// What goes over it once all is done that scripts have wanted so far.
    fn to_carry(&self) -> Carries {
        let finishes = |it: &FromScript| matches!(it, FromScript::Finish { .. });
        match self.carries {
            Carries::Stream { .. } if self.waiting.iter().any(|it| finishes(&it.1)) => {
                Carries::Stream { writable: false }
            }
            carries => carries,
        }
    }

    /// What tells a script of a segment that lives.
    pub(super) fn announcement(&self, channel: u8, known: &Segment) -> ToScript {
        let plain = self.carries != Carries::Events;
        ToScript::Adopt {
            segment: self.segment(channel),
            kind: known.kind,
            title: known.title.clone(),
            guid: known.guid,
            carries: self.to_carry(),
            registered: known.registered || plain,
            active: known.active || plain,
        }
    }
}
