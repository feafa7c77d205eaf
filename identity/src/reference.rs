use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What a refused peer and the admin of the other side call one attempt: both can compute it from
/// the first packet, so nothing about the refusal has to cross the wire.
///
/// Forty bits: written as eight characters of base32 in two groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference([u8; 5]);

/// Text that is no [`Reference`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a reference is eight letters and digits, such as MFRG-GZDF")]
pub struct ReferenceError;

impl Reference {
    /// The reference of an attempt by its first packet, as it stood on the wire.
    pub fn of(first_packet: &[u8]) -> Self {
        let digest = blake3::derive_key("moonport 2026 reference of an attempt", first_packet);
        let mut short = [0; 5];
        short
            .iter_mut()
            .zip(digest)
            .for_each(|(to, from)| *to = from);
        Self(short)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = data_encoding::BASE32_NOPAD.encode(&self.0);
        let (first, second) = text.split_at_checked(4).unwrap_or((&text, ""));
        write!(f, "{first}-{second}")
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    /// Either case; the dash may be left out.
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let text: String = text
            .trim()
            .chars()
            .filter(|c| *c != '-')
            .map(|c| c.to_ascii_uppercase())
            .collect();
        let bytes = data_encoding::BASE32_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| ReferenceError)?;
        bytes.try_into().map(Self).map_err(|_| ReferenceError)
    }
}

impl Serialize for Reference {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_it_is_written_and_as_people_type_it() {
        let reference = Reference::of(b"a first packet");
        let text = reference.to_string();
        assert_eq!(text.len(), 9);
        assert_eq!(text.parse(), Ok(reference));
        assert_eq!(text.replace('-', "").to_lowercase().parse(), Ok(reference));
        assert_ne!(Reference::of(b"another"), reference);
        for wrong in ["", "MFRG", "MFRG-GZD1", "MFRG-GZDFA"] {
            assert_eq!(wrong.parse::<Reference>(), Err(ReferenceError), "{wrong}");
        }
    }
}
