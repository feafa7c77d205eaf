//! How a ring is written.
//!
//! ```text
//! moonport host key 1
//! current PUBLIC SINCE
//! previous PUBLIC ROTATED UNTIL          only during a rotation
//! unsealed PRIVATE                       or: sealed BYTES
//! ```
//!
//! Keys and bytes are in base64, times in ms since 1970 (`-`: not known). PRIVATE is the current
//! private key, with the previous one behind it if there is one. BYTES is the same [`sealed`],
//! bound to the tag and to the lines above, which anybody may read and nobody can change. There is
//! one way to write a ring; whatever is spelled otherwise is refused. A file with nothing but a
//! private key in base64, as it was once written, is read too.

use std::fmt::Write as _;

use data_encoding::BASE64;
use identity::{Name, PublicKey};
use zeroize::Zeroizing;

use super::{HostKey, Previous, Ring};
use crate::sealed::{self, Kdf, Passphrase, SealError};

/// Whether a file is one that this program cannot read, but another version can.
pub(super) fn is_of_another_version(bytes: &[u8]) -> bool {
    bytes.starts_with(TITLE) && !bytes.starts_with(FIRST_LINE)
}

/// The private part of a file.
pub(super) enum Kept {
    Old(Ring<HostKey>),
    Unsealed(Zeroizing<Vec<u8>>),
    Sealed(Vec<u8>),
}

/// Takes a file apart; `None`: it is none of ours, or not spelled as we do.
pub(super) fn parse(bytes: &[u8]) -> Option<(Option<Ring<PublicKey>>, Kept)> {
    if !bytes.starts_with(FIRST_LINE) {
        let private = Zeroizing::new(BASE64.decode(bytes.trim_ascii()).ok()?);
        let private = Zeroizing::new(<[u8; 32]>::try_from(private.as_slice()).ok()?);
        let ring = Ring {
            current: HostKey::new(private)?,
            since_ms: None,
            previous: None,
        };
        return Some((None, Kept::Old(ring)));
    }
    let text = std::str::from_utf8(bytes.get(FIRST_LINE.len()..)?).ok()?;
    let mut lines = text.lines().peekable();
    let mut words = lines.next()?.strip_prefix("current ")?.split(' ');
    let current = words.next()?.parse().ok()?;
    let since_ms = match words.next()? {
        "-" => None,
        number => Some(number.parse().ok()?),
    };
    let mut previous = None;
    if let Some(line) = lines.next_if(|line| line.starts_with("previous ")) {
        let mut words = line.split(' ').skip(1);
        previous = Some(Previous {
            key: words.next()?.parse().ok()?,
            rotated_ms: words.next()?.parse().ok()?,
            until_ms: words.next()?.parse().ok()?,
        });
    }
    let public = Ring {
        current,
        since_ms,
        previous,
    };
    let (how, coded) = lines.next()?.split_once(' ')?;
    let decoded = Zeroizing::new(BASE64.decode(coded.as_bytes()).ok()?);
    let kept = match how {
        "unsealed" => Kept::Unsealed(decoded),
        "sealed" => Kept::Sealed(decoded.to_vec()),
        _ => return None,
    };
    // Base64 is decoded strictly, so it has one spelling; so must have everything else.
    let respelled = Zeroizing::new(format!("{}{how} {coded}\n", head(&public)));
    (respelled.as_bytes() == bytes).then_some((Some(public), kept))
}

/// Writes a ring down.
pub(super) fn render(
    tag: &Name,
    ring: &Ring<HostKey>,
    seal: Option<(&Passphrase, Kdf)>,
) -> Result<Zeroizing<String>, SealError> {
    let public = ring.public();
    let private = ring.private();
    // Of the final size, so that no copy is left behind.
    let mut text = Zeroizing::new(String::with_capacity(512));
    text.push_str(&head(&public));
    let (how, bytes) = match seal {
        None => ("unsealed ", private),
        Some((passphrase, kdf)) => {
            let purpose = purpose(tag, &public);
            let bytes = sealed::seal(passphrase, kdf, &purpose, &private)?;
            ("sealed ", Zeroizing::new(bytes))
        }
    };
    text.push_str(how);
    BASE64.encode_append(&bytes, &mut text);
    text.push('\n');
    Ok(text)
}

/// The lines that anybody may read.
fn head(public: &Ring<PublicKey>) -> String {
    let mut text = String::from_utf8_lossy(FIRST_LINE).into_owned();
    // Writing to a string cannot fail.
    let _ = match public.since_ms {
        Some(since) => writeln!(text, "current {} {since}", public.current),
        None => writeln!(text, "current {} -", public.current),
    };
    if let Some(previous) = &public.previous {
        let Previous {
            key,
            rotated_ms,
            until_ms,
        } = previous;
        let _ = writeln!(text, "previous {key} {rotated_ms} {until_ms}");
    }
    text
}

/// What sealed keys are bound to.
pub(super) fn purpose(tag: &Name, public: &Ring<PublicKey>) -> Vec<u8> {
    format!("moonport host key\n{tag}\n{}", head(public)).into_bytes()
}

const TITLE: &[u8] = b"moonport host key ";
const FIRST_LINE: &[u8] = b"moonport host key 1\n";

/// The longest file that is read, in bytes; none of ours is half as long.
pub(super) const LONGEST: u64 = 1024;
