//! The commands of the CURVE handshake (RFC 26, section "Connection Handshake"): where in them
//! things stand. Every integer is big-endian.

use identity::PublicKey;

use super::metadata::METADATA;
use crate::wire::codec::{Reader, Writer};
use crate::wire::cookie::COOKIE;
use crate::wire::{Field, Violation, Whole};

pub(super) const HELLO: &[u8; 6] = b"\x05HELLO";
pub(super) const WELCOME: &[u8; 8] = b"\x07WELCOME";
pub(super) const INITIATE: &[u8; 9] = b"\x08INITIATE";
pub(super) const READY: &[u8; 6] = b"\x05READY";
pub(super) const ERROR: &[u8; 6] = b"\x05ERROR";
pub(super) const MESSAGE: &[u8; 8] = b"\x07MESSAGE";

/// The first bytes of nonces, by what is sealed.
pub(super) const HELLO_NONCE: &[u8; 16] = b"CurveZMQHELLO---";
pub(super) const WELCOME_NONCE: &[u8; 8] = b"WELCOME-";
pub(super) const INITIATE_NONCE: &[u8; 16] = b"CurveZMQINITIATE";
pub(super) const VOUCH_NONCE: &[u8; 8] = b"VOUCH---";
pub(super) const READY_NONCE: &[u8; 16] = b"CurveZMQREADY---";
pub(super) const CLIENT_NONCE: &[u8; 16] = b"CurveZMQMESSAGEC";
pub(super) const SERVER_NONCE: &[u8; 16] = b"CurveZMQMESSAGES";

/// The first bytes of the nonces of cookies.
pub const COOKIE_NONCE: &[u8; 8] = b"COOKIE--";

/// Bytes of an INITIATE without metadata.
pub(super) const SHORTEST_INITIATE: usize = 257;
/// Bytes of the longest one that is taken.
pub(super) const LONGEST_INITIATE: usize = SHORTEST_INITIATE + METADATA;
/// Bytes of a READY without metadata.
pub(super) const SHORTEST_READY: usize = 30;
/// Bytes of the longest one that is taken.
pub(super) const LONGEST_READY: usize = SHORTEST_READY + METADATA;

/// What follows a command's name.
pub(super) fn content<'a>(body: &'a [u8], name: &[u8]) -> Result<&'a [u8], Violation> {
    body.strip_prefix(name).ok_or(Violation::Unexpected)
}

/// A nonce of both of its parts.
pub(super) fn nonce<const A: usize, const B: usize>(first: &[u8; A], last: &[u8; B]) -> [u8; 24] {
    const { assert!(A + B == 24, "a nonce has 24 bytes") };
    let mut nonce = [0; 24];
    for (to, from) in nonce.iter_mut().zip(first.iter().chain(last)) {
        *to = *from;
    }
    nonce
}

/// A client's HELLO.
#[derive(Debug)]
pub(super) struct Hello {
    /// C′.
    pub(super) client: PublicKey,
    pub(super) number: [u8; 8],
    pub(super) boxed: [u8; 80],
}

impl Hello {
    pub(super) fn parse(body: &Whole<200>) -> Result<Self, Violation> {
        let layout = Reader::new(&body.0);
        if &layout.bytes::<0, 6>() != HELLO {
            return Err(Violation::Unexpected);
        }
        if layout.bytes::<6, 2>() != [1, 0] {
            return Err(Violation::Malformed(Field::Hello));
        }
        Ok(Self {
            client: public_key(&layout.bytes::<80, 32>())?,
            number: layout.bytes::<112, 8>(),
            boxed: layout.bytes::<120, 80>(),
        })
    }

    pub(super) fn write(&self) -> [u8; 200] {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 6>(HELLO)
            .u8::<6>(1)
            .bytes::<80, 32>(self.client.as_bytes())
            .bytes::<112, 8>(&self.number)
            .bytes::<120, 80>(&self.boxed);
        layout.finish()
    }
}

/// A server's WELCOME.
#[derive(Debug)]
pub(super) struct Welcome {
    pub(super) nonce: [u8; 16],
    /// S′ and the cookie.
    pub(super) boxed: [u8; 144],
}

impl Welcome {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Violation> {
        content(body, WELCOME)?;
        let body = body
            .try_into()
            .map_err(|_| Violation::Malformed(Field::Welcome))?;
        let layout = Reader::<168>::new(body);
        Ok(Self {
            nonce: layout.bytes::<8, 16>(),
            boxed: layout.bytes::<24, 144>(),
        })
    }

    pub(super) fn write(&self) -> Whole<168> {
        let mut layout = Writer::new();
        layout
            .bytes::<0, 8>(WELCOME)
            .bytes::<8, 16>(&self.nonce)
            .bytes::<24, 144>(&self.boxed);
        Whole(layout.finish())
    }
}

/// A client's INITIATE.
#[derive(Debug)]
pub(super) struct Initiate<'a> {
    pub(super) cookie: &'a [u8; COOKIE],
    pub(super) number: [u8; 8],
    /// C, the vouch and the metadata.
    pub(super) boxed: &'a [u8],
}

impl<'a> Initiate<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Violation> {
        let malformed = Violation::Malformed(Field::Initiate);
        let rest = content(body, INITIATE)?;
        if !(SHORTEST_INITIATE..=LONGEST_INITIATE).contains(&body.len()) {
            return Err(malformed);
        }
        let (cookie, rest) = rest.split_first_chunk().ok_or(malformed)?;
        let (number, boxed) = rest.split_first_chunk().ok_or(malformed)?;
        Ok(Self {
            cookie,
            number: *number,
            boxed,
        })
    }
}

/// What is in the box of an INITIATE.
#[derive(Debug)]
pub(super) struct Vouched<'a> {
    /// C, as it stands there.
    pub(super) client: &'a [u8; 32],
    pub(super) nonce: &'a [u8; 16],
    /// C′ and S.
    pub(super) vouch: &'a [u8; 80],
    pub(super) metadata: &'a [u8],
}

impl<'a> Vouched<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        let (client, rest) = text.split_first_chunk()?;
        let (nonce, rest) = rest.split_first_chunk()?;
        let (vouch, metadata) = rest.split_first_chunk()?;
        Some(Self {
            client,
            nonce,
            vouch,
            metadata,
        })
    }
}

/// A key as it stands on the wire.
pub(super) fn public_key(bytes: &[u8; 32]) -> Result<PublicKey, Violation> {
    PublicKey::parse(bytes).map_err(|_| Violation::Key)
}

/// What has a known size.
pub(super) fn sized<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut sized = [0; N];
    for (to, from) in sized.iter_mut().zip(bytes) {
        *to = *from;
    }
    sized
}
