use thiserror::Error;

use super::{External, Io, Target, external, io, target};
use crate::wire::a12::Role;
use crate::wire::codec::{Reader, Writer};

/// The body of an event packet: 139 bytes.
///
/// To send, it carries a [`Record`]; what comes in carries what the border let through.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet<E> {
    /// The sequence number of the newest packet that its sender has received; informative.
    pub last_seen: u64,
    /// Which channel.
    pub channel: u8,
    /// What.
    pub event: E,
}

/// An event that crossed the border, or did not.
#[derive(Debug, Clone, PartialEq)]
pub enum Received {
    /// A source says something to us, a sink.
    External(External),
    /// A sink says something to us, a source.
    Target(Target),
    /// A sink sends input to us, a source.
    Io(Io),
    /// Not for us: to be skipped. It is no reason to close.
    Dropped(Unwanted),
}

/// One event of any category: 128 bytes.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// What a source says.
    External(External),
    /// What a sink says.
    Target(Target),
    /// Input.
    Io(Io),
}

/// Why an event is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unwanted {
    /// The checksum is that of another version's layout.
    #[error("an event with a wrong checksum")]
    Checksum,
    /// This category of events is not taken by a side of our role.
    #[error("an event of category {0}, which this side does not take")]
    Category(u8),
    /// This kind is unknown, or must not come from another machine.
    #[error("an event of category {category} and kind {kind}, which is not taken from a peer")]
    Kind {
        /// Which category.
        category: u8,
        /// The number within it.
        kind: u32,
    },
    /// The body contradicts itself.
    #[error("an event of category {category} and kind {kind} that makes no sense")]
    Malformed {
        /// Which category.
        category: u8,
        /// The number within it.
        kind: u32,
    },
}

impl Packet<Received> {
    /// Reads what came in, at the border of a side with the role `us`: a sink takes what sources
    /// say, a source takes input and what sinks say, and nobody takes anything else.
    pub fn parse(body: &[u8; SIZE], us: Role) -> Self {
        let layout = Reader::new(body);
        let record = layout.bytes::<11, { Record::SIZE }>();
        let event = if layout.u16::<9>() == checksum(&record) {
            admit(&record, us).unwrap_or_else(Received::Dropped)
        } else {
            Received::Dropped(Unwanted::Checksum)
        };
        Self {
            last_seen: layout.u64::<0>(),
            channel: layout.u8::<8>(),
            event,
        }
    }
}

impl Packet<Record> {
    /// The body as it is sent.
    pub fn encode(&self) -> [u8; SIZE] {
        let record = self.event.encode();
        let mut layout = Writer::new();
        layout
            .u64::<0>(self.last_seen)
            .u8::<8>(self.channel)
            .u16::<9>(checksum(&record))
            .bytes::<11, { Record::SIZE }>(&record);
        layout.finish()
    }
}

/// The border. What must never come from a peer has no type, so most of it falls out of
/// [`Record::parse`]; what is left is whether it goes with our role.
fn admit(record: &[u8; Record::SIZE], us: Role) -> Result<Received, Unwanted> {
    let category = Reader::new(record).u8::<120>();
    match (us, category) {
        (Role::Sink, EXTERNAL) | (Role::Source, TARGET | IO) => {}
        _ => return Err(Unwanted::Category(category)),
    }
    match Record::parse(record)? {
        Record::External(event) => Ok(Received::External(event)),
        Record::Io(input) => Ok(Received::Io(input)),
        // These announce transfers, and a source makes none.
        Record::Target(
            Target::Store(_) | Target::Restore(_) | Target::BinaryIn(_) | Target::BinaryOut(_),
        ) => Err(Unwanted::Kind {
            category,
            kind: Reader::new(record).u32::<0>(),
        }),
        Record::Target(event) => Ok(Received::Target(event)),
    }
}

impl Record {
    /// How many bytes a record has.
    pub const SIZE: usize = 128;

    /// Reads a record of any of the three categories. What is missing from the types is refused:
    /// it is unknown, or means something on one machine only.
    pub fn parse(record: &[u8; Self::SIZE]) -> Result<Self, Unwanted> {
        let layout = Reader::new(record);
        let (category, kind) = (layout.u8::<120>(), layout.u32::<0>());
        let unknown = Unwanted::Kind { category, kind };
        match category {
            EXTERNAL => external::parse(&layout).map(Self::External).ok_or(unknown),
            TARGET => target::parse(&layout).map(Self::Target).ok_or(unknown),
            IO => io::parse(&layout)
                .map(Self::Io)
                .ok_or(Unwanted::Malformed { category, kind }),
            _ => Err(Unwanted::Category(category)),
        }
    }

    /// The record as it is sent.
    pub fn encode(&self) -> [u8; Self::SIZE] {
        let mut layout = Writer::new();
        match self {
            Self::External(event) => {
                external::encode(event, &mut layout);
                layout.u8::<120>(EXTERNAL);
            }
            Self::Target(event) => {
                target::encode(event, &mut layout);
                layout.u8::<120>(TARGET);
            }
            Self::Io(input) => {
                io::encode(input, &mut layout);
                layout.u8::<120>(IO);
            }
        }
        layout.finish()
    }
}

/// Marks the layout's version more than it checks anything: only the last bytes have influence.
pub(in crate::wire::a12) fn checksum(record: &[u8; Record::SIZE]) -> u16 {
    let sum = record
        .iter()
        .fold(0_u16, |sum, &byte| (sum >> 1).wrapping_add(u16::from(byte)));
    sum ^ VERSION
}

/// Size of an event packet's body.
const SIZE: usize = 139;

/// Version 0.17.
const VERSION: u16 = 17;

const IO: u8 = 2;
const TARGET: u8 = 16;
const EXTERNAL: u8 = 64;
