use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use data_encoding::{BASE64, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;

use crate::z85;

/// An X25519 public key: the canonical encoding of a point outside the small subgroups.
///
/// Two encodings of one point would be two identities for one peer, and a point of low order
/// makes every shared secret zero (RFC 7748, section 6.1), so neither can be held in this type.
/// Comparison takes constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "[u8; 32]", into = "[u8; 32]")]
pub struct PublicKey([u8; 32]);

/// Why bytes or text are not a [`PublicKey`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("a public key is 32 bytes: 44 characters of base64, 64 of hex or 40 of Z85")]
    Length,
    /// As long as one of the spellings, and yet not that.
    #[error(
        "a public key is written in base64 (44 characters), hex (64 characters) or Z85 (40 characters)"
    )]
    Encoding,
    /// Not below 2^255 - 19, or with the unused top bit set.
    #[error("this is a second spelling of another public key; it is not accepted")]
    NonCanonical,
    /// Every shared secret with it would be zero.
    #[error("this public key is of low order: anybody can compute its shared secrets")]
    LowOrder,
}

impl PublicKey {
    /// Takes the 32 bytes of a key, little-endian, as they stand on the wire.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| KeyError::Length)?;
        if !is_canonical(&bytes) {
            return Err(KeyError::NonCanonical);
        }
        if LOW_ORDER.iter().any(|low| low == &bytes) {
            return Err(KeyError::LowOrder);
        }
        Ok(Self(bytes))
    }

    /// The 32 bytes of the key.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// What people compare to be sure that two keys are the same.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = blake3::derive_key("moonport 2026 public key fingerprint", &self.0);
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        Fingerprint(short)
    }
}

/// Whether the little-endian number is below 2^255 - 19.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = bytes;
    *high < 0x7f || (*high == 0x7f && (*low < 0xed || middle.iter().any(|&byte| byte != 0xff)))
}

/// Base64, hex or Z85, told apart by their lengths.
impl FromStr for PublicKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        let bytes = match text.len() {
            z85::LENGTH => {
                let bytes = z85::decode(text).ok_or(KeyError::Encoding)?;
                return Self::parse(&*bytes);
            }
            64 => HEXLOWER_PERMISSIVE.decode(text.as_bytes()),
            43 | 44 => BASE64.decode(format!("{text:=<44}").as_bytes()),
            _ => return Err(KeyError::Length),
        };
        Self::parse(&bytes.map_err(|_| KeyError::Encoding)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl TryFrom<[u8; 32]> for PublicKey {
    type Error = KeyError;

    fn try_from(bytes: [u8; 32]) -> Result<Self, KeyError> {
        Self::parse(&bytes)
    }
}

impl From<PublicKey> for [u8; 32] {
    fn from(key: PublicKey) -> Self {
        key.0
    }
}

/// 128 bits of a key's hash, for people: twelve words, or groups of hex digits.
///
/// The words are those of BIP-39 (English), so the last one carries a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// The twelve words, separated by blanks.
    pub fn words(&self) -> String {
        match bip39::Mnemonic::from_entropy(&self.0) {
            Ok(words) => words.to_string(),
            // Sixteen bytes are a length that BIP-39 knows.
            Err(_) => self.to_string(),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, pair) in self.0.chunks(2).enumerate() {
            if i > 0 {
                f.write_str("-")?;
            }
            for byte in pair {
                write!(f, "{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// The canonical encodings of all points whose order divides eight, on the curve and its twist.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    {
        let mut minus_one = [0xff; 32];
        minus_one[0] = 0xec;
        minus_one[31] = 0x7f;
        minus_one
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn low_order_points_are_refused() {
        for low in LOW_ORDER {
            assert_eq!(PublicKey::parse(&low), Err(KeyError::LowOrder));
        }
    }

    #[test]
    fn a_second_spelling_is_refused() {
        let mut nine = [0; 32];
        nine[0] = 9;
        assert!(PublicKey::parse(&nine).is_ok());
        let mut nine_plus_p = [0xff; 32];
        nine_plus_p[0] = 0xf6;
        nine_plus_p[31] = 0x7f;
        assert_eq!(PublicKey::parse(&nine_plus_p), Err(KeyError::NonCanonical));
        nine[31] |= 0x80;
        assert_eq!(PublicKey::parse(&nine), Err(KeyError::NonCanonical));
    }

    #[test]
    fn the_largest_canonical_number_but_one_is_a_key() {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xeb;
        bytes[31] = 0x7f;
        assert!(PublicKey::parse(&bytes).is_ok());
    }

    #[test]
    fn a_fingerprint_has_twelve_words() {
        let key = PublicKey::parse(&[7; 32]).unwrap();
        assert_eq!(key.fingerprint().words().split(' ').count(), 12);
        assert_eq!(key.fingerprint().to_string().len(), 39);
    }

    proptest! {
        #[test]
        fn text_and_back(bytes: [u8; 32]) {
            if let Ok(key) = PublicKey::parse(&bytes) {
                prop_assert_eq!(key.to_string().parse::<PublicKey>(), Ok(key));
                prop_assert_eq!(z85::encode(&bytes).parse::<PublicKey>(), Ok(key));
            }
        }

        #[test]
        fn any_text_gives_a_key_or_an_error(text in ".{0,70}") {
            let _ = text.parse::<PublicKey>();
        }
    }
}
