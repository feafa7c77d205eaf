//! What each protocol's machine says to the script, and what the script's messages are to it.

use super::segment::{Picture, Segment};
use super::{Epoch, Next, Opening, Overrun, PRIMARY, Session, segment_of};
use crate::frameserver::machine::Command;
use crate::ipc::Carries;
use crate::ipc::link::{self, FromScript, ToScript, TooLarge};
use crate::wire::a12::event::{External, Target};
use crate::wire::{a12, zmtp};

/// What becomes of one of the script's messages.
pub(super) enum Taken {
    /// It is done when the bytes that the machine makes of this are out.
    Event(Command),
    /// This is to be done, and it was no event.
    Next(Next),
    /// An event that comes to nothing by itself.
    Part,
    /// Nothing.
    Nothing,
}

impl Session {
    pub(super) fn event_zmtp(&mut self, event: zmtp::Event) {
        use zmtp::Event;
        match event {
            Event::Message(parts) => self.message(parts),
            // As an XPUB socket tells its application.
            Event::Subscribed { topic, .. } => self.message(vec![[&[1], &*topic].concat()]),
            Event::Cancelled { topic, .. } => self.message(vec![[&[0], &*topic].concat()]),
            Event::Unsent(_) => {
                let segment = self.segment(PRIMARY);
                self.backlog.push_back(ToScript::Unsent { segment });
            }
            Event::Ready(_) if self.dialled => {
                let segment = self.segment(PRIMARY);
                self.backlog.push_back(ToScript::Connected { segment });
            }
            // The host has told it to the script.
            Event::Ready(_) => {}
        }
    }

    fn message(&mut self, parts: Vec<Vec<u8>>) {
        let segment = self.segment(PRIMARY);
        let piece = |(bytes, ends)| ToScript::Piece {
            segment,
            bytes,
            ends,
        };
        self.backlog.extend(link::pieces(parts).map(piece));
    }

    pub(super) fn event_a12(&mut self, event: a12::Event) {
        use a12::Event;
        match event {
            Event::External { channel, event } => self.external(channel, event),
            Event::Frame {
                channel,
                width,
                height,
                origin_ll,
                text,
                number,
                at,
                region,
            } => {
                let segment = self.segment(channel);
                let frame = ToScript::Frame {
                    segment,
                    number,
                    at,
                    region,
                };
                let picture = Picture {
                    width,
                    height,
                    origin_ll,
                    text,
                };
                self.frame(channel, picture, frame);
            }
            Event::Opened { channel, cookie } => self.opened(channel, cookie),
            Event::Goodbye { text } => self.last_words = shortened(text),
            // What only sources and initiators hear; a listener is a sink.
            Event::Admitted { .. }
            | Event::Established { .. }
            | Event::Proved
            | Event::Target { .. }
            | Event::Input { .. }
            | Event::NewChannel { .. } => {}
        }
    }

    fn external(&mut self, channel: u8, event: External) {
        let Some(known) = self.segments.get_mut(&channel) else {
            return;
        };
        if let External::Register { title, kind, guid } = &event {
            known.title.clone_from(title);
            known.kind = *kind;
            known.registered = true;
            known.guid = *guid;
        }
        let segment = self.segment(channel);
        self.backlog.push_back(ToScript::Event { segment, event });
    }

    fn frame(&mut self, channel: u8, picture: Picture, frame: ToScript) {
        let segment = self.segment(channel);
        let Some(known) = self.segments.get_mut(&channel) else {
            return;
        };
        if known.picture != Some(picture) {
            known.picture = Some(picture);
            // The last size is all that matters of those that wait in a row.
            let resized = picture.resized(segment);
            match self.backlog.back_mut() {
                Some(last @ ToScript::Resized { .. }) if segment_of(last) == Some(segment) => {
                    *last = resized;
                }
                _ => self.backlog.push_back(resized),
            }
        }
        if known.verbose {
            self.backlog.push_back(frame);
        }
    }

    fn opened(&mut self, channel: Option<u8>, cookie: u32) {
        let asked = self.opening.iter().position(|open| open.cookie == cookie);
        let Some(opening) = asked.and_then(|at| self.opening.remove(at)) else {
            return;
        };
        let current = self.epoch == Some(opening.by);
        let parent = opening.parent;
        match channel {
            Some(channel) => {
                let known = Segment::new(opening.kind);
                let adopt = self.announcement(channel, &known);
                self.segments.insert(channel, known);
                let segment = self.segment(channel);
                self.backlog.push_back(match current {
                    true => ToScript::Opened { segment, cookie },
                    // Who has asked for it has gone.
                    false => adopt,
                });
            }
            None if current => {
                self.backlog
                    .push_back(ToScript::OpenFailed { parent, cookie });
            }
            None => {}
        }
    }

    pub(super) fn next_a12(&mut self, by: Epoch, channel: u8, message: FromScript) -> Taken {
        Taken::Event(Command::A12(match message {
            FromScript::Target { event, .. } => a12::Command::Target { channel, event },
            FromScript::Input { input, .. } => a12::Command::Input { channel, input },
            FromScript::Open {
                parent,
                cookie,
                kind,
            } if self.heeds(by) => {
                self.opening.push_back(Opening {
                    by,
                    cookie,
                    parent,
                    kind,
                });
                let open = a12::Command::Open { cookie, kind };
                return Taken::Next(Next::Do(Command::A12(open)));
            }
            FromScript::Close { last_words, .. } if channel == PRIMARY => {
                self.forget(PRIMARY);
                let text = shortened(last_words);
                // On other channels nothing is said: Arcan's own sources take what comes for a
                // secondary window as meant for the primary one.
                let exit = a12::Command::Target {
                    channel,
                    event: Target::Exit,
                };
                let last = [exit, a12::Command::Shutdown { text }];
                return Taken::Next(Next::Last(last.map(Command::A12).into()));
            }
            FromScript::Close { .. } => {
                self.close(channel);
                let close = a12::Command::Close { channel };
                return Taken::Next(Next::Do(Command::A12(close)));
            }
            FromScript::Piece { .. } => return Taken::Part,
            FromScript::Open { .. }
            | FromScript::Finish { .. }
            | FromScript::Credit { .. }
            | FromScript::Flags { .. }
            | FromScript::Hold
            | FromScript::Resume
            | FromScript::Rest(_)
            | FromScript::Back(_)
            | FromScript::Done => return Taken::Nothing,
        }))
    }

    /// What another script has written before is of the same stream.
    pub(super) fn next_bytes(&mut self, message: FromScript) -> Taken {
        match message {
            FromScript::Piece { bytes, .. } => Taken::Event(Command::Write(bytes)),
            FromScript::Finish { failed, .. } => {
                self.carries = Carries::Stream { writable: false };
                Taken::Next(Next::Do(Command::Finish { failed }))
            }
            FromScript::Close { .. } => {
                self.forget(PRIMARY);
                Taken::Next(Next::Last(vec![Command::Close]))
            }
            FromScript::Target { .. } | FromScript::Input { .. } => Taken::Part,
            FromScript::Open { .. }
            | FromScript::Credit { .. }
            | FromScript::Flags { .. }
            | FromScript::Hold
            | FromScript::Resume
            | FromScript::Rest(_)
            | FromScript::Back(_)
            | FromScript::Done => Taken::Nothing,
        }
    }

    pub(super) fn next_message(
        &mut self,
        heeded: bool,
        most: u32,
        message: FromScript,
    ) -> Result<Taken, Overrun> {
        Ok(match message {
            FromScript::Piece { bytes, ends, .. } if heeded => {
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                match self.assembly.take(bytes, ends, most) {
                    Ok(Some(parts)) => Taken::Event(Command::Zmtp(zmtp::Command::Send(parts))),
                    Ok(None) => Taken::Part,
                    Err(TooLarge) => return Err(Overrun),
                }
            }
            FromScript::Close { .. } => {
                self.forget(PRIMARY);
                let close = Command::Zmtp(zmtp::Command::Close);
                Taken::Next(Next::Last(vec![close]))
            }
            FromScript::Target { .. } | FromScript::Input { .. } => Taken::Part,
            FromScript::Piece { .. }
            | FromScript::Finish { .. }
            | FromScript::Open { .. }
            | FromScript::Credit { .. }
            | FromScript::Flags { .. }
            | FromScript::Hold
            | FromScript::Resume
            | FromScript::Rest(_)
            | FromScript::Back(_)
            | FromScript::Done => Taken::Nothing,
        })
    }
}

/// The longest last words, in bytes.
const LAST_WORDS: usize = 31;

/// Cut to 31 bytes, at the end of a character.
fn shortened(mut text: String) -> String {
    let end = text.floor_char_boundary(LAST_WORDS);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_cut_at_the_end_of_a_character() {
        assert_eq!(shortened("x".repeat(40)).len(), 31);
        assert_eq!(shortened("ä".repeat(20)), "ä".repeat(15));
    }
}
