//! The greeting (RFC 37, section "Greeting"): 64 bytes each way, sent without waiting.

use super::super::codec::{Reader, Writer};
use crate::wire::{Field, Violation};

/// How many bytes a greeting has.
pub const GREETING: usize = 64;

/// How many bytes of ours go out before the peer's mechanism is known, if ours follows it.
pub const OPENING: usize = 12;

/// Where the mechanism ends.
const NAMED: usize = 32;

/// A security mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// Keys on both sides (RFC 25 and 26).
    Curve,
    /// Nothing (RFC 23).
    Null,
    /// A user name and a password in the clear (RFC 24).
    Plain,
}

impl Mechanism {
    fn name(self) -> [u8; 20] {
        let mut field = Writer::<20>::new();
        field.terminated::<0, 20>(match self {
            Self::Curve => b"CURVE",
            Self::Null => b"NULL",
            Self::Plain => b"PLAIN",
        });
        field.finish()
    }

    /// All 20 bytes have to be right.
    fn parse(name: [u8; 20]) -> Option<Self> {
        [Self::Curve, Self::Null, Self::Plain]
            .into_iter()
            .find(|mechanism| mechanism.name() == name)
    }
}

/// What a peer understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// ZMTP 3.0: subscriptions are messages.
    V30,
    /// ZMTP 3.1 and later: subscriptions are commands.
    V31,
}

/// What there is to know of a peer's greeting. Padding, filler and as-server are not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Greeting {
    /// What the peer understands.
    pub dialect: Dialect,
    /// Its mechanism.
    pub mechanism: Mechanism,
}

impl Greeting {
    /// Our greeting. libzmq tells the length of its identity in the padding, and so do we.
    pub fn write(mechanism: Mechanism, identity: usize) -> [u8; GREETING] {
        let padding = u64::try_from(identity).map_or(u64::MAX, |length| length.saturating_add(1));
        let mut greeting = Writer::new();
        greeting
            .u8::<0>(0xff)
            .bytes::<1, 8>(&padding.to_be_bytes())
            .u8::<9>(0x7f)
            .u8::<10>(3)
            .u8::<11>(1)
            .bytes::<12, 20>(&mechanism.name());
        greeting.finish()
    }
}

/// A peer's greeting as it comes in.
#[derive(Debug, Clone, Copy)]
pub struct Inbox {
    bytes: [u8; GREETING],
    have: usize,
}

impl Inbox {
    /// Nothing is there yet.
    pub fn new() -> Self {
        Self {
            bytes: [0; GREETING],
            have: 0,
        }
    }

    /// How many bytes are missing.
    pub fn room(&self) -> usize {
        GREETING - self.have
    }

    /// Whether nothing has come in.
    pub fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// Takes bytes off the front of `input`. What is wrong is told as soon as it is there, so that
    /// something else than ZMTP is not waited for.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<(), Violation> {
        let (bytes, rest) = input.split_at(self.room().min(input.len()));
        for (to, from) in self.bytes.iter_mut().skip(self.have).zip(bytes) {
            *to = *from;
        }
        self.have += bytes.len();
        *input = rest;
        let greeting = Reader::new(&self.bytes);
        let wrong = self.have > 0 && greeting.u8::<0>() != 0xff
            || self.have > 9 && greeting.u8::<9>() & 1 == 0
            || self.have > 10 && greeting.u8::<10>() < 3;
        if wrong {
            return Err(Violation::Malformed(Field::Greeting));
        }
        if self.have >= NAMED && self.mechanism().is_none() {
            return Err(Violation::Mechanism);
        }
        Ok(())
    }

    /// The peer's mechanism, as soon as that is there.
    pub fn mechanism(&self) -> Option<Mechanism> {
        let name = Reader::new(&self.bytes).bytes::<12, 20>();
        Mechanism::parse(name).filter(|_| self.have >= NAMED)
    }

    /// The greeting, once it is whole.
    pub fn greeting(&self) -> Option<Greeting> {
        let bytes = Reader::new(&self.bytes);
        let dialect = match (bytes.u8::<10>(), bytes.u8::<11>()) {
            (3, 0) => Dialect::V30,
            _ => Dialect::V31,
        };
        let mechanism = self.mechanism().filter(|_| self.room() == 0)?;
        Some(Greeting { dialect, mechanism })
    }
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Greeting>, Violation> {
        let mut inbox = Inbox::new();
        inbox.take(&mut { bytes })?;
        Ok(inbox.greeting())
    }

    #[test]
    fn a_greeting_reads_as_it_was_written() {
        for mechanism in [Mechanism::Curve, Mechanism::Null, Mechanism::Plain] {
            let bytes = Greeting::write(mechanism, 3);
            let dialect = Dialect::V31;
            assert_eq!(read(&bytes), Ok(Some(Greeting { dialect, mechanism })));
            assert_eq!(read(&bytes[..63]), Ok(None));
        }
    }

    #[test]
    fn padding_filler_as_server_and_later_versions_are_taken() {
        for (at, value) in [
            (1, 9),
            (8, 0xff),
            (9, 1),
            (10, 4),
            (11, 2),
            (32, 1),
            (63, 7),
        ] {
            let mut bytes = Greeting::write(Mechanism::Curve, 0);
            bytes[at] = value;
            assert!(read(&bytes).unwrap().is_some(), "{at}");
        }
    }

    #[test]
    fn only_the_minor_version_0_is_the_older_dialect() {
        let mut bytes = Greeting::write(Mechanism::Curve, 0);
        bytes[11] = 0;
        assert_eq!(read(&bytes).unwrap().unwrap().dialect, Dialect::V30);
        bytes[10] = 4;
        assert_eq!(read(&bytes).unwrap().unwrap().dialect, Dialect::V31);
    }

    #[test]
    fn older_protocols_and_others_are_refused_at_their_first_wrong_byte() {
        let malformed = Err(Violation::Malformed(Field::Greeting));
        assert_eq!(read(b"\x01"), malformed);
        assert_eq!(read(b"G"), malformed);
        assert_eq!(read(b"\xff\0\0\0\0\0\0\0\x01\x7e"), malformed);
        assert_eq!(read(b"\xff\0\0\0\0\0\0\0\x01\x7f\x01"), malformed);
    }

    #[test]
    fn all_bytes_of_the_mechanism_have_to_be_right() {
        for name in [&b"CURVEX"[..], b"curve", b"GSSAPI", b""] {
            let mut bytes = Greeting::write(Mechanism::Curve, 0);
            bytes[12..32].fill(0);
            bytes[12..12 + name.len()].copy_from_slice(name);
            assert_eq!(read(&bytes[..32]), Err(Violation::Mechanism));
        }
        let mut bytes = Greeting::write(Mechanism::Curve, 0);
        bytes[31] = 1;
        assert_eq!(read(&bytes), Err(Violation::Mechanism));
    }
}
