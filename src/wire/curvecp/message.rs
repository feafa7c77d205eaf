//! The messages that make a byte stream (section 7 of the protocol text).

use crate::wire::codec::{Reader, Writer};

/// The longest block of a stream in one message, in bytes.
pub const BLOCK: usize = 1024;

/// What stands before padding and block.
const HEAD: usize = 48;

/// The lengths that messages are written in.
const LENGTHS: [usize; 4] = [192, 320, 576, 1088];

const SUCCESS: u16 = 2048;
const FAILURE: u16 = 4096;

/// How a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is complete.
    Success,
    /// Something went wrong at the side that sent it.
    Failure,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// Its number; 0 for one that is not to be acknowledged.
    pub id: u32,
    /// The number of a message that has come; 0 for none.
    pub acknowledges: u32,
    /// What has come of the other stream.
    pub received: Received,
    /// A part of this stream; `None` if it is malformed, which spoils nothing before it.
    pub block: Option<Block<'a>>,
}

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Where it begins.
    pub position: u64,
    /// At most [`BLOCK`] bytes.
    pub bytes: &'a [u8],
    /// Whether the stream ends behind it.
    pub end: Option<End>,
}

/// Which bytes of a stream have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Received {
    /// How many without a gap from the first, and one more if the stream has ended there.
    pub whole: u64,
    /// Then five times how many are missing, and how many behind those have come.
    pub islands: [(u32, u16); 5],
}

impl Received {
    /// The ranges that are not empty: first byte, and the one behind the last.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut end = self.whole;
        let islands = self.islands.into_iter().map(move |(gap, length)| {
            let begin = end.saturating_add(gap.into());
            end = begin.saturating_add(length.into());
            (begin, end)
        });
        std::iter::once((0, self.whole))
            .chain(islands)
            .filter(|(begin, end)| begin < end)
    }
}

impl<'a> Message<'a> {
    /// Reads a message; `None` if it is too short to be one.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let (head, rest) = message.split_first_chunk::<HEAD>()?;
        let layout = Reader::new(head);
        Some(Self {
            id: layout.u32::<0>(),
            acknowledges: layout.u32::<4>(),
            received: Received {
                whole: layout.u64::<8>(),
                islands: [
                    (layout.u32::<16>(), layout.u16::<20>()),
                    (layout.u16::<22>().into(), layout.u16::<24>()),
                    (layout.u16::<26>().into(), layout.u16::<28>()),
                    (layout.u16::<30>().into(), layout.u16::<32>()),
                    (layout.u16::<34>().into(), layout.u16::<36>()),
                ],
            },
            block: Block::parse(layout.u64::<40>(), layout.u16::<38>(), rest),
        })
    }

    /// Appends the message, in the shortest of the lengths 192, 320, 576 and 1088 that fits.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut layout = Writer::<HEAD>::new();
        let [a, b, c, d, e] = self.received.islands;
        layout
            .u32::<0>(self.id)
            .u32::<4>(self.acknowledges)
            .u64::<8>(self.received.whole)
            .u32::<16>(a.0)
            .u16::<20>(a.1)
            .u16::<22>(small(b.0))
            .u16::<24>(b.1)
            .u16::<26>(small(c.0))
            .u16::<28>(c.1)
            .u16::<30>(small(d.0))
            .u16::<32>(d.1)
            .u16::<34>(small(e.0))
            .u16::<36>(e.1);
        let mut block: &[u8] = &[];
        if let Some(this) = self.block {
            block = this.bytes.get(..BLOCK).unwrap_or(this.bytes);
            layout.u16::<38>(block.len() as u16 | flags(this.end));
            layout.u64::<40>(this.position);
        }
        out.extend_from_slice(&layout.finish());
        let length = length(block.len());
        let padding = length.saturating_sub(HEAD + block.len());
        out.resize(out.len() + padding, 0);
        out.extend_from_slice(block);
    }
}

impl<'a> Block<'a> {
    fn parse(position: u64, field: u16, rest: &'a [u8]) -> Option<Self> {
        let length = usize::from(field & !(SUCCESS | FAILURE));
        if length > BLOCK {
            return None;
        }
        let (_, bytes) = rest.split_at(rest.len().checked_sub(length)?);
        let end = if field & FAILURE != 0 {
            Some(End::Failure)
        } else {
            (field & SUCCESS != 0).then_some(End::Success)
        };
        Some(Self {
            position,
            bytes,
            end,
        })
    }
}

/// How long a message with such a block is.
fn length(block: usize) -> usize {
    let fits = LENGTHS.into_iter().find(|&length| block + 64 <= length);
    fits.unwrap_or(HEAD + block)
}

/// The longest block for which a message of at most so many bytes has room.
pub fn largest_block(message: usize) -> usize {
    let fits = LENGTHS.into_iter().rfind(|&length| length <= message);
    fits.map_or(0, |length| length - 64)
}

fn flags(end: Option<End>) -> u16 {
    match end {
        None => 0,
        Some(End::Success) => SUCCESS,
        Some(End::Failure) => FAILURE,
    }
}

fn small(gap: u32) -> u16 {
    u16::try_from(gap).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_block_is_192_bytes() {
        let message = Message {
            id: 1,
            acknowledges: 0,
            received: Received::default(),
            block: Some(Block {
                position: 0,
                bytes: &[],
                end: None,
            }),
        };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let mut expected = [0; 192];
        expected[0] = 1;
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_block_past_the_end_spoils_only_itself() {
        let mut bytes = [0; 64];
        bytes[8] = 7;
        for (length, good) in [(0, true), (16, true), (17, false), (1025, false)] {
            bytes[38..40].copy_from_slice(&u16::to_le_bytes(length));
            let message = Message::parse(&bytes).unwrap();
            assert_eq!(message.received.whole, 7);
            assert_eq!(message.block.is_some(), good, "{length}");
        }
        assert_eq!(Message::parse(&bytes[..47]), None);
    }

    #[test]
    fn empty_ranges_are_none() {
        let received = Received {
            whole: 0,
            islands: [(5, 2), (0, 0), (3, 1), (0, 0), (0, 0)],
        };
        let ranges: Vec<_> = received.ranges().collect();
        assert_eq!(ranges, [(5, 7), (10, 11)]);
    }

    proptest! {
        #[test]
        fn messages_come_back(
            id: u32, acknowledges: u32, whole: u64, first: (u32, u16),
            others: [(u16, u16); 4], position: u64, length in 0..=BLOCK, end in 0..3,
        ) {
            let [b, c, d, e] = others.map(|(gap, length)| (u32::from(gap), length));
            let data: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let message = Message {
                id,
                acknowledges,
                received: Received { whole, islands: [first, b, c, d, e] },
                block: Some(Block {
                    position,
                    bytes: &data,
                    end: [None, Some(End::Success), Some(End::Failure)][end as usize],
                }),
            };
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            prop_assert!(LENGTHS.contains(&bytes.len()));
            prop_assert_eq!(Message::parse(&bytes), Some(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(message) = Message::parse(&bytes) {
                message.received.ranges().for_each(|(begin, end)| assert!(begin < end));
            }
        }
    }
}
