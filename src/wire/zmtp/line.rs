//! One session's frames: how a part of a message or a command is sealed into one, and opened.

use super::frame::{self, Frame, write_header};
use super::handshake::MESSAGE;
use crate::wire::nacl::{BoxKey, OVERHEAD, PrefixedKey};
use crate::wire::{Field, Violation};

/// What a MESSAGE has beside its payload: name, number, authenticator and flags.
const CURVE_OVERHEAD: usize = 33;

/// Bits of the flags that are inside a box.
const MORE: u8 = 1;
const COMMAND: u8 = 2;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A part of a message; others follow.
    More,
    /// The last part of a message.
    Last,
    Command,
}

/// Both directions of a session.
pub(super) enum Line {
    /// By MESSAGE (RFC 26).
    Curve(Box<Curve>),
    /// As frames are.
    Clear,
}

pub(super) struct Curve {
    inbound: PrefixedKey,
    /// The peer's last number.
    received: u64,
    outbound: PrefixedKey,
    /// Our last number.
    sent: u64,
}

impl Line {
    /// A session under this key. The prefixes are those of the nonces of each direction, and the
    /// numbers are the last ones of the handshake.
    pub(super) fn curve(
        key: &BoxKey,
        inbound: (&[u8; 16], u64),
        outbound: (&[u8; 16], u64),
    ) -> Self {
        Self::Curve(Box::new(Curve {
            inbound: key.prefixed(inbound.0),
            received: inbound.1,
            outbound: key.prefixed(outbound.0),
            sent: outbound.1,
        }))
    }

    /// How much longer a frame's body is than what is in it.
    pub(super) fn overhead(&self) -> usize {
        match self {
            Self::Curve(_) => CURVE_OVERHEAD,
            Self::Clear => 0,
        }
    }

    /// Opens a frame, where it lies.
    pub(super) fn open(&mut self, frame: Frame) -> Result<(Kind, Vec<u8>), Violation> {
        let Frame { flags, mut body } = frame;
        match self {
            Self::Curve(curve) => {
                let inner = curve.open(&mut body)?;
                body.drain(..CURVE_OVERHEAD.min(body.len()));
                Ok((kind(inner & COMMAND, inner & MORE), body))
            }
            Self::Clear => Ok((kind(flags & frame::COMMAND, flags & frame::MORE), body)),
        }
    }

    /// Appends a frame.
    pub(super) fn seal(
        &mut self,
        kind: Kind,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        match self {
            Self::Curve(curve) => curve.seal(kind, payload, out),
            Self::Clear => {
                let flags = match kind {
                    Kind::More => frame::MORE,
                    Kind::Last => 0,
                    Kind::Command => frame::COMMAND,
                };
                write_header(flags, payload.len(), out);
                out.extend_from_slice(payload);
                Ok(())
            }
        }
    }
}

impl Curve {
    /// Opens a MESSAGE; gives the flags that are in it. Those of the frame around it are anybody's,
    /// and are not looked at.
    fn open(&mut self, body: &mut [u8]) -> Result<u8, Violation> {
        let malformed = Violation::Malformed(Field::Message);
        let body = match body.split_first_chunk_mut() {
            Some((name, body)) if name == MESSAGE => body,
            _ => return Err(Violation::Unexpected),
        };
        if body.len() < CURVE_OVERHEAD - MESSAGE.len() {
            return Err(malformed);
        }
        let (number, boxed) = body.split_first_chunk_mut().ok_or(malformed)?;
        let value = u64::from_be_bytes(*number);
        if value <= self.received {
            return Err(Violation::Sequence);
        }
        let text = self
            .inbound
            .open(*number, boxed)
            .map_err(|_| Violation::Forged)?;
        self.received = value;
        text.first().copied().ok_or(malformed)
    }

    fn seal(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Violation> {
        self.sent = self.sent.checked_add(1).ok_or(Violation::Sequence)?;
        let number = self.sent.to_be_bytes();
        let length = payload.len() + CURVE_OVERHEAD;
        out.reserve(length + 9);
        write_header(0, length, out);
        out.extend_from_slice(MESSAGE);
        out.extend_from_slice(&number);
        let start = out.len();
        out.extend_from_slice(&[0; OVERHEAD]);
        out.push(match kind {
            Kind::More => MORE,
            Kind::Last => 0,
            Kind::Command => COMMAND,
        });
        out.extend_from_slice(payload);
        if let Some(boxed) = out.get_mut(start..) {
            self.outbound.seal_in_place(number, boxed);
        }
        Ok(())
    }
}

fn kind(command: u8, more: u8) -> Kind {
    match (command, more) {
        (0, 0) => Kind::Last,
        (0, _) => Kind::More,
        _ => Kind::Command,
    }
}

const _: () = assert!(MESSAGE.len() + 8 + OVERHEAD + 1 == CURVE_OVERHEAD);
