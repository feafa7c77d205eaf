//! Frameserver and script: the data link, past the host.
//!
//! Either side sends batches. Credit keeps a slow end's queue its own: the script may have
//! [`CREDIT`] events of a segment under way that have not been handed back, and a client as many as
//! [`credit`] says. Frames count as events, and so do pieces of the script's messages. A client's
//! message costs by its size, whatever it was cut into, and goes whole once it has begun: [`cost`].

use serde::{Deserialize, Serialize};

use super::{Carries, Exit, SegmentId};
use crate::wire::a12::event::{External, Io, SegmentKind, Target};

/// How many events of one segment the script may have under way: the length of Arcan's client event
/// queue.
pub const CREDIT: u32 = 127;

/// As much credit a client has for events: they go on while the script is at those before them.
const CREDIT_OF_EVENTS: u32 = 512;

/// As much credit a segment has on which messages come from the client: small ones come by the
/// thousand.
const CREDIT_OF_MESSAGES: u32 = 1024;

/// So many bytes of a client's message cost as much as an event.
const BYTES: usize = 4096;

/// How much a client may have under way to the script.
pub const fn credit(carries: Carries) -> u32 {
    match carries {
        Carries::Events => CREDIT_OF_EVENTS,
        Carries::Stream { .. } => CREDIT,
        Carries::Messages { .. } => CREDIT_OF_MESSAGES,
    }
}

/// What a client's message of so many bytes costs, with [`PART`] for each part.
pub fn cost(bytes: usize) -> u32 {
    1 + u32::try_from(bytes / BYTES).unwrap_or(u32::MAX - 1)
}

/// The largest piece of a message that goes at once, in bytes: with what is around it, it fits one
/// message between processes.
pub const PIECE: usize = 60 * 1024;

/// How many messages from the front of a queue go at once: as many as fit one message between
/// processes, and one at least.
pub fn batch<'a, M: Weight + 'a>(queue: impl IntoIterator<Item = &'a M>) -> usize {
    let mut left = BATCH;
    let fits = |message: &&M| {
        let weight = message.weight();
        let fits = weight <= left;
        left = left.saturating_sub(weight);
        fits
    };
    queue.into_iter().take_while(fits).count().max(1)
}

/// As many bytes may go at once.
const BATCH: usize = 63 * 1024;

/// How many bytes a message takes at most.
pub trait Weight {
    /// So many.
    fn weight(&self) -> usize;
}

impl Weight for ToScript {
    fn weight(&self) -> usize {
        match self {
            Self::Piece { bytes, .. } => bytes.len() + AROUND,
            _ => EVENT,
        }
    }
}

impl Weight for FromScript {
    fn weight(&self) -> usize {
        match self {
            Self::Piece { bytes, .. } => bytes.len() + AROUND,
            Self::Rest(message) => message.weight(),
            Self::Back(message) => message.weight(),
            _ => EVENT,
        }
    }
}

/// What is around the bytes of a piece.
const AROUND: usize = 32;

/// The largest event.
const EVENT: usize = 400;

/// What ends with a piece of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ends {
    /// Nothing: the part goes on.
    Nothing,
    /// One of its parts.
    Part,
    /// The message, with its last part.
    Message,
}

/// A message in pieces.
pub fn pieces(parts: Vec<Vec<u8>>) -> impl Iterator<Item = (Vec<u8>, Ends)> {
    let last = parts.len().saturating_sub(1);
    parts.into_iter().enumerate().flat_map(move |(at, part)| {
        let end = if at == last {
            Ends::Message
        } else {
            Ends::Part
        };
        let (mut part, mut done) = (Some(part), 0);
        std::iter::from_fn(move || {
            let rest = part.as_ref()?.get(done..)?;
            match rest.split_at_checked(PIECE) {
                Some((piece, more)) if !more.is_empty() => {
                    done += PIECE;
                    Some((piece.to_vec(), Ends::Nothing))
                }
                _ if done > 0 => {
                    let last = rest.to_vec();
                    part = None;
                    Some((last, end))
                }
                _ => part.take().map(|whole| (whole, end)),
            }
        })
    })
}

/// A message that is put together again.
#[derive(Debug, Default)]
pub struct Assembly {
    parts: Vec<Vec<u8>>,
    part: Vec<u8>,
    bytes: usize,
}

/// A message grows larger than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge;

impl Assembly {
    /// The pieces of what is not whole yet.
    pub fn leave(&mut self) -> impl Iterator<Item = (Vec<u8>, Ends)> + use<> {
        let Self { parts, part, .. } = std::mem::take(self);
        let cut = |part: Vec<u8>, last: Ends| {
            let pieces = part.len().div_ceil(PIECE).max(1);
            (0..pieces).map(move |at| {
                let from = part.get(at * PIECE..).unwrap_or_default();
                let end = if at + 1 == pieces {
                    last
                } else {
                    Ends::Nothing
                };
                (from.get(..PIECE).unwrap_or(from).to_vec(), end)
            })
        };
        let whole = parts
            .into_iter()
            .flat_map(move |part| cut(part, Ends::Part));
        whole.chain(
            (!part.is_empty())
                .then(|| cut(part, Ends::Nothing))
                .into_iter()
                .flatten(),
        )
    }

    /// Takes the next piece of a message of at most `most` bytes; with the last one, gives the
    /// message.
    pub fn take(
        &mut self,
        piece: Vec<u8>,
        ends: Ends,
        most: usize,
    ) -> Result<Option<Vec<Vec<u8>>>, TooLarge> {
        self.bytes += piece.len();
        if self.bytes + self.parts.len() * PART > most.saturating_add(LEEWAY) {
            return Err(TooLarge);
        }
        if self.part.is_empty() {
            self.part = piece;
        } else {
            self.part.extend_from_slice(&piece);
        }
        if ends != Ends::Nothing {
            self.parts.push(std::mem::take(&mut self.part));
        }
        if ends != Ends::Message {
            return Ok(None);
        }
        self.bytes = 0;
        Ok(Some(std::mem::take(&mut self.parts)))
    }
}

/// What a part costs beside its bytes; and so many are not counted.
pub const PART: usize = size_of::<Vec<u8>>();
const LEEWAY: usize = 64 * PART;

/// What a frameserver says to the script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToScript {
    /// The client says something.
    Event {
        /// On which segment.
        segment: SegmentId,
        /// What.
        event: External,
    },
    /// A piece of a message from the client, all of which costs credit with the last one; or of its
    /// stream, which counts as an event.
    Piece {
        /// On which segment.
        segment: SegmentId,
        /// At most [`PIECE`] bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// What ends with it.
        ends: Ends,
    },
    /// A connection that the script has asked for is up, as this segment.
    Connected {
        /// The segment.
        segment: SegmentId,
    },
    /// The client's stream is complete; nothing of it follows.
    Finished {
        /// On which segment.
        segment: SegmentId,
        /// Something went wrong at its side.
        failed: bool,
    },
    /// A message of the script's was not sent: it is not our socket's turn.
    Unsent {
        /// On which segment.
        segment: SegmentId,
    },
    /// The size or kind of the picture has changed; sent before the first frame.
    Resized {
        /// On which segment.
        segment: SegmentId,
        /// Pixels.
        width: u16,
        /// Pixels.
        height: u16,
        /// The origin is the lower left corner.
        origin_ll: bool,
        /// The content is text.
        text: bool,
    },
    /// A frame has come; only where [`FromScript::Flags`] asked for it.
    Frame {
        /// On which segment.
        segment: SegmentId,
        /// Its number, as the client counts.
        number: u32,
        /// Where the changed region begins: x and y, pixels.
        at: [u16; 2],
        /// Width and height of the changed region, pixels.
        region: [u16; 2],
    },
    /// The channel asked for with [`FromScript::Open`].
    Opened {
        /// The new segment.
        segment: SegmentId,
        /// The number from the request.
        cookie: u32,
    },
    /// [`FromScript::Open`] failed: no channel is free.
    OpenFailed {
        /// The segment that asked.
        parent: SegmentId,
        /// The number from the request.
        cookie: u32,
    },
    /// So many of the script's events for this segment have been taken.
    Credit {
        /// On which segment.
        segment: SegmentId,
        /// How many.
        events: u32,
    },
    /// The segment is gone; nothing follows for it.
    Terminated {
        /// Which one.
        segment: SegmentId,
        /// At most 31 bytes, may be empty.
        last_words: String,
    },
    /// To a new script process: this segment lives, with what it registered as.
    Adopt {
        /// Which one.
        segment: SegmentId,
        /// Its kind.
        kind: SegmentKind,
        /// Its title.
        title: String,
        /// Its identity.
        guid: [u64; 2],
        /// What goes over it.
        carries: Carries,
        /// The client has said what it is.
        registered: bool,
        /// It has been told to begin.
        active: bool,
    },
    /// To [`FromScript::Hold`]: nothing that the clients do follows. To [`FromScript::Done`]: all of
    /// it has been read.
    Held,
    /// To a new script process, after [`Adopt`](Self::Adopt): a program talks with this client.
    Served {
        /// On which segment.
        segment: SegmentId,
    },
    /// The program that talked with the client has ended, and the client has what it said. What
    /// else the client says is for the script again.
    Exited {
        /// On which segment.
        segment: SegmentId,
        /// How.
        exit: Exit,
    },
}

/// What a script says to the frameserver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromScript {
    /// Say this to the client.
    Target {
        /// On which segment.
        segment: SegmentId,
        /// What.
        event: Target,
    },
    /// Input for the client.
    Input {
        /// On which segment.
        segment: SegmentId,
        /// What.
        input: Io,
    },
    /// A piece of a message for the client, or of our stream. It counts as an event.
    Piece {
        /// On which segment.
        segment: SegmentId,
        /// At most [`PIECE`] bytes.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        /// What ends with it.
        ends: Ends,
    },
    /// The stream to the client is complete.
    Finish {
        /// On which segment.
        segment: SegmentId,
        /// Something went wrong at our side.
        failed: bool,
    },
    /// Accept the client's request for another segment.
    Open {
        /// The segment that asked.
        parent: SegmentId,
        /// The number from the request.
        cookie: u32,
        /// What was asked for.
        kind: SegmentKind,
    },
    /// So many of the client's events on this segment have been dispatched.
    Credit {
        /// On which segment.
        segment: SegmentId,
        /// How many.
        events: u32,
    },
    /// How this segment is dealt with from here on. A new segment, and an adopted one, begins with
    /// neither.
    Flags {
        /// Which one.
        segment: SegmentId,
        /// Tell of each frame.
        verbose: bool,
        /// Close it when another script process takes over, instead of announcing it.
        block_adopt: bool,
    },
    /// Close it: the primary segment ends the session.
    Close {
        /// Which one.
        segment: SegmentId,
        /// Said to the peer before closing, if it can be.
        last_words: String,
    },
    /// Of all clients: keep what they do until [`FromScript::Resume`], or for another process of
    /// the script.
    Hold,
    /// After [`FromScript::Hold`]: go on.
    Resume,
    /// After [`FromScript::Hold`]: this has been said before, and has waited for credit. It costs
    /// none.
    Rest(Box<Self>),
    /// After [`FromScript::Hold`]: this has come and was not dispatched. It is for the next process.
    Back(Box<ToScript>),
    /// After [`FromScript::Hold`]: all that was to be said and given back has been.
    Done,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_in_pieces_is_put_together_again(
            sizes in prop::collection::vec(prop_oneof![0..100usize, PIECE - 1..PIECE + 2, 0..3 * PIECE], 1..5),
        ) {
            let message: Vec<Vec<u8>> = (1..).zip(&sizes).map(|(n, &size)| vec![n; size]).collect();
            let most = sizes.iter().sum();
            let mut assembly = Assembly::default();
            // Nothing of one message is left for the next.
            for _ in 0..2 {
                let mut whole = None;
                for (piece, ends) in pieces(message.clone()) {
                    prop_assert!(piece.len() <= PIECE && whole.is_none());
                    whole = assembly.take(piece, ends, most).unwrap();
                }
                prop_assert_eq!(whole.as_ref(), Some(&message));
            }
        }
    }

    #[test]
    fn pieces_hold_no_more_memory_than_their_message() {
        let message = vec![vec![0; 10_000_000]; 2];
        let held: usize = pieces(message).map(|(piece, _)| piece.capacity()).sum();
        assert_eq!(held, 20_000_000);
    }

    #[test]
    fn a_batch_is_as_much_as_fits_and_never_nothing() {
        let segment = SegmentId {
            session: crate::ipc::SessionId(u64::MAX),
            channel: 255,
        };
        let piece = |size| ToScript::Piece {
            segment,
            bytes: vec![0; size],
            ends: Ends::Message,
        };
        let full = vec![piece(PIECE), piece(1), piece(PIECE)];
        assert_eq!(batch(&full), 2);
        assert_eq!(batch(&[piece(BATCH)]), 1);
        let small = vec![piece(64); 1000];
        assert_eq!(batch(&small), BATCH / (64 + AROUND));
        let sent = postcard::to_stdvec(&small[..batch(&small)].to_vec()).unwrap();
        assert!(sent.len() < 64 * 1024);
    }

    #[test]
    fn i7_a_message_without_end_is_given_up() {
        let endless = |piece: Vec<u8>, ends| {
            let mut assembly = Assembly::default();
            (0..10_000).position(|_| assembly.take(piece.clone(), ends, 4096).is_err())
        };
        assert!(endless(vec![0; 1000], Ends::Nothing).is_some_and(|taken| taken < 10));
        assert!(endless(Vec::new(), Ends::Part).is_some_and(|taken| taken < 300));
    }
}
