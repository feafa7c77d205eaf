use std::fmt;

use data_encoding::BASE32_NOPAD;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::Zeroizing;

/// What two strangers share before they know each other's keys: 1 to 31 bytes.
///
/// It is wiped when dropped, compared in constant time, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

/// Why bytes are not a [`Secret`]. It does not say what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecretError {
    /// Nothing at all.
    #[error("the secret is empty; it has 1 to {} bytes", Secret::MAX_LEN)]
    Empty,
    /// More than the 31 bytes that a12 programs can take.
    #[error("the secret is too long; it has 1 to {} bytes", Secret::MAX_LEN)]
    TooLong,
    /// The peers' programs end a secret at the first zero byte.
    #[error("the secret has a zero byte, which other programs cannot take")]
    ZeroByte,
}

impl Secret {
    /// The longest secret, in bytes: what Arcan's programs read.
    pub const MAX_LEN: usize = 31;

    /// Takes bytes that are a secret.
    pub fn parse(bytes: &[u8]) -> Result<Self, SecretError> {
        match bytes.len() {
            0 => Err(SecretError::Empty),
            1..=Self::MAX_LEN if bytes.contains(&0) => Err(SecretError::ZeroByte),
            1..=Self::MAX_LEN => Ok(Self(Zeroizing::new(bytes.to_vec()))),
            _ => Err(SecretError::TooLong),
        }
    }

    /// A secret of 130 bits that people can type: 26 characters of lower-case base32, made from
    /// 17 random bytes.
    pub fn generate(random: &[u8; 17]) -> Self {
        let mut text = Zeroizing::new(BASE32_NOPAD.encode(random));
        text.truncate(26);
        text.make_ascii_lowercase();
        Self(Zeroizing::new(text.as_bytes().to_vec()))
    }

    /// The bytes, for key derivation and for showing a generated secret once.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// As a sequence of bytes, straight from where they are: no copy is made that is not wiped.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.reveal().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bytes)
    }
}

/// Takes the bytes of a secret one by one, into a buffer that never has to grow.
struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the 1 to {} bytes of a secret", Secret::MAX_LEN)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Secret, A::Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(Secret::MAX_LEN));
        while let Some(byte) = seq.next_element::<u8>()? {
            if bytes.len() == Secret::MAX_LEN {
                return Err(A::Error::custom(SecretError::TooLong));
            }
            bytes.push(byte);
        }
        Secret::parse(&bytes).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_1_to_31_bytes() {
        assert_eq!(Secret::parse(b""), Err(SecretError::Empty));
        assert!(Secret::parse(&[b'a'; 31]).is_ok());
        assert_eq!(Secret::parse(&[b'a'; 32]), Err(SecretError::TooLong));
        assert_eq!(Secret::parse(b"a\0b"), Err(SecretError::ZeroByte));
    }

    #[test]
    fn generated_secrets_are_26_typable_characters() {
        let secret = Secret::generate(&[0xa5; 17]);
        assert_eq!(secret.reveal().len(), 26);
        assert!(secret.reveal().iter().all(u8::is_ascii_alphanumeric));
    }

    #[test]
    fn encoded_it_is_a_sequence_of_bytes_and_nothing_else_is_taken() {
        let secret = Secret::parse(b"moon").unwrap();
        let text = serde_json::to_string(&secret).unwrap();
        assert_eq!(text, "[109,111,111,110]");
        assert_eq!(serde_json::from_str::<Secret>(&text).unwrap(), secret);
        let long = serde_json::to_string(&[b'a'; 32]).unwrap();
        for wrong in ["[]", "[0]", "[109,0]", "[256]", &long] {
            assert!(serde_json::from_str::<Secret>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn i8_a_secret_is_not_in_its_debug_text() {
        let secret = Secret::parse(b"canary").unwrap();
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
