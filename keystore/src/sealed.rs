//! Things on disk that only a passphrase opens.
//!
//! ```text
//!  0  magic    "moonseal"
//!  8  version  1
//!  9  memory   u32, KiB      ┐ little-endian; what argon2id is run with
//! 13  passes   u32           │
//! 17  lanes    u32           ┘
//! 21  salt     16 bytes
//! 37  nonce    24 bytes
//! 61  sealed   XChaCha20-Poly1305, tag last; associated data: bytes 0 to 60, then the purpose
//! ```
//!
//! Whatever can be known to be wrong is refused before argon2 is run, and a forged header cannot
//! make it run for long.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// What a person knows that opens what is sealed: 1 to 1024 bytes.
///
/// It is wiped when dropped and never printed.
#[derive(Clone)]
pub struct Passphrase(Zeroizing<Vec<u8>>);

/// Why bytes are not a [`Passphrase`]. It does not say what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PassphraseError {
    /// Nothing at all.
    #[error("the passphrase is empty; it has 1 to {} bytes", Passphrase::MAX_LEN)]
    Empty,
    /// More than anybody remembers.
    #[error(
        "the passphrase is too long; it has 1 to {} bytes",
        Passphrase::MAX_LEN
    )]
    TooLong,
}

impl Passphrase {
    /// The longest passphrase, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Takes bytes that are a passphrase; any bytes are.
    pub fn parse(bytes: &[u8]) -> Result<Self, PassphraseError> {
        match bytes.len() {
            0 => Err(PassphraseError::Empty),
            1..=Self::MAX_LEN => Ok(Self(Zeroizing::new(bytes.to_vec()))),
            _ => Err(PassphraseError::TooLong),
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(***)")
    }
}

/// As a sequence of bytes, straight from where they are: no copy is made that is not wiped.
impl Serialize for Passphrase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Passphrase {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Bytes)
    }
}

/// Takes the bytes of a passphrase one by one, into a buffer that never has to grow.
struct Bytes;

impl<'de> Visitor<'de> for Bytes {
    type Value = Passphrase;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the 1 to {} bytes of a passphrase", Passphrase::MAX_LEN)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Passphrase, A::Error> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(Passphrase::MAX_LEN));
        while let Some(byte) = seq.next_element::<u8>()? {
            if bytes.len() == Passphrase::MAX_LEN {
                return Err(A::Error::custom(PassphraseError::TooLong));
            }
            bytes.push(byte);
        }
        Passphrase::parse(&bytes).map_err(A::Error::custom)
    }
}

/// What it costs to try one passphrase: the parameters of argon2id (RFC 9106), within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kdf {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Kdf {
    /// For somebody who waits: 64 MiB, three passes, one lane; a fraction of a second.
    pub const INTERACTIVE: Self = Self {
        memory_kib: 64 * 1024,
        passes: 3,
        lanes: 1,
    };

    /// The most memory, in KiB.
    pub const MAX_MEMORY_KIB: u32 = 1024 * 1024;

    /// The most passes.
    pub const MAX_PASSES: u32 = 16;

    /// The most lanes.
    pub const MAX_LANES: u32 = 16;

    /// Takes parameters that argon2id allows and that exhaust nobody; `None`: these do not.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let good = (1..=Self::MAX_LANES).contains(&lanes)
            && (1..=Self::MAX_PASSES).contains(&passes)
            && (8 * lanes..=Self::MAX_MEMORY_KIB).contains(&memory_kib);
        good.then_some(Self {
            memory_kib,
            passes,
            lanes,
        })
    }

    /// The key that a passphrase gives; `None`: there is not so much memory.
    fn derive(self, passphrase: &Passphrase, salt: &[u8; SALT]) -> Option<Zeroizing<[u8; KEY]>> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY)).ok()?;
        let mut memory = Memory(Vec::new());
        memory.0.try_reserve_exact(params.block_count()).ok()?;
        memory.0.resize(params.block_count(), Block::new());
        let mut key = Zeroizing::new([0; KEY]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(&passphrase.0, salt, &mut *key, &mut memory.0)
            .ok()?;
        Some(key)
    }
}

/// What argon2 works in; what stands there at the end gives the key.
struct Memory(Vec<Block>);

impl Drop for Memory {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(Zeroize::zeroize);
    }
}

/// Why nothing was sealed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// The system has no random numbers.
    #[error("no random numbers: {0}")]
    Random(getrandom::Error),
    /// There is too little memory for argon2.
    #[error("there is too little memory to use a passphrase")]
    Memory,
}

/// Why something sealed was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnsealError {
    /// Nobody can tell which.
    #[error("the passphrase is wrong, or what it opens was changed")]
    WrongOrTampered,
    /// It was never written so.
    #[error("it is damaged; restore it from a backup")]
    Damaged,
    /// Another version of the program wrote it.
    #[error(
        "it is sealed in format {found}, but this program knows format {VERSION}: use the program that wrote it"
    )]
    Format {
        /// The number in it.
        found: u8,
    },
    /// It asks for more work than any of ours does.
    #[error(
        "opening it would take more memory or time than is allowed, so it is not by this program"
    )]
    Excessive,
    /// There is too little memory for argon2.
    #[error("there is too little memory to use a passphrase")]
    Memory,
}

/// Seals bytes. The purpose says what they are; they cannot be opened as anything else.
pub fn seal(
    passphrase: &Passphrase,
    kdf: Kdf,
    purpose: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let mut random = [0; SALT + NONCE];
    getrandom::fill(&mut random).map_err(SealError::Random)?;
    seal_with(&random, passphrase, kdf, purpose, plaintext)
}

/// With salt and nonce given.
fn seal_with(
    random: &[u8; SALT + NONCE],
    passphrase: &Passphrase,
    kdf: Kdf,
    purpose: &[u8],
    plaintext: &[u8],
) -> Result<Vec<u8>, SealError> {
    let header = Header::new(kdf, random);
    let mut sealed = header.bytes.to_vec();
    let key = header.key(passphrase).ok_or(SealError::Memory)?;
    let aad = [&header.bytes, purpose].concat();
    let payload = Payload {
        msg: plaintext,
        aad: &aad,
    };
    // It fails for more than 256 GiB only.
    let body = cipher(&key).encrypt(&header.nonce, payload);
    sealed.extend(body.map_err(|_| SealError::Memory)?);
    Ok(sealed)
}

/// Opens what was sealed for this purpose.
pub fn open(
    passphrase: &Passphrase,
    purpose: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
    let (header, body) = Header::parse(sealed)?;
    let key = header.key(passphrase).ok_or(UnsealError::Memory)?;
    let aad = [&header.bytes, purpose].concat();
    let payload = Payload {
        msg: body,
        aad: &aad,
    };
    let plaintext = cipher(&key).decrypt(&header.nonce, payload);
    plaintext
        .map(Zeroizing::new)
        .map_err(|_| UnsealError::WrongOrTampered)
}

/// Whether bytes look sealed, so that a passphrase is worth asking for. It costs nothing.
pub fn check(sealed: &[u8]) -> Result<(), UnsealError> {
    Header::parse(sealed).map(drop)
}

/// For a fuzzer: whether the parameters in front are quick.
#[cfg(any(test, fuzzing))]
pub(crate) fn is_cheap(sealed: &[u8]) -> bool {
    Header::parse(sealed).is_ok_and(|(header, _)| {
        header.kdf.memory_kib <= 64 && header.kdf.passes <= 2 && header.kdf.lanes <= 2
    })
}

/// For a fuzzer: sealed by the quickest parameters, and always alike.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed_cheaply(passphrase: &Passphrase, purpose: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let kdf = Kdf {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };
    seal_with(&[7; SALT + NONCE], passphrase, kdf, purpose, plaintext).unwrap_or_default()
}

/// How much longer something is when it is sealed, in bytes.
pub const OVERHEAD: usize = HEADER + TAG;

struct Header {
    /// As they stand in front.
    bytes: [u8; HEADER],
    kdf: Kdf,
    salt: [u8; SALT],
    nonce: XNonce,
}

impl Header {
    fn new(kdf: Kdf, random: &[u8; SALT + NONCE]) -> Self {
        let mut bytes = [0; HEADER];
        let fields = MAGIC
            .into_iter()
            .chain([VERSION])
            .chain(kdf.memory_kib.to_le_bytes())
            .chain(kdf.passes.to_le_bytes())
            .chain(kdf.lanes.to_le_bytes())
            .chain(*random);
        bytes
            .iter_mut()
            .zip(fields)
            .for_each(|(to, from)| *to = from);
        let (salt, nonce) = split(random);
        Self {
            bytes,
            kdf,
            salt,
            nonce,
        }
    }

    /// The cheap check: nothing secret is touched, nothing slow is done.
    fn parse(sealed: &[u8]) -> Result<(Self, &[u8]), UnsealError> {
        let (magic, rest) = take::<8>(sealed).ok_or(UnsealError::Damaged)?;
        if magic != MAGIC {
            return Err(UnsealError::Damaged);
        }
        let ([version], rest) = take(rest).ok_or(UnsealError::Damaged)?;
        if version != VERSION {
            return Err(UnsealError::Format { found: version });
        }
        let mut numbers = [0; 3];
        let mut rest = rest;
        for number in &mut numbers {
            let (bytes, after) = take(rest).ok_or(UnsealError::Damaged)?;
            (*number, rest) = (u32::from_le_bytes(bytes), after);
        }
        let (random, body) = take(rest).ok_or(UnsealError::Damaged)?;
        if body.len() < TAG {
            return Err(UnsealError::Damaged);
        }
        let [memory, passes, lanes] = numbers;
        let kdf = Kdf::new(memory, passes, lanes).ok_or(UnsealError::Excessive)?;
        Ok((Self::new(kdf, &random), body))
    }

    fn key(&self, passphrase: &Passphrase) -> Option<Zeroizing<[u8; KEY]>> {
        self.kdf.derive(passphrase, &self.salt)
    }
}

fn split(random: &[u8; SALT + NONCE]) -> ([u8; SALT], XNonce) {
    let (mut salt, mut nonce) = ([0; SALT], [0; NONCE]);
    let mut bytes = random.iter().copied();
    salt.iter_mut()
        .zip(&mut bytes)
        .for_each(|(to, from)| *to = from);
    nonce
        .iter_mut()
        .zip(&mut bytes)
        .for_each(|(to, from)| *to = from);
    (salt, nonce.into())
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    let (first, rest) = bytes.split_first_chunk()?;
    Some((*first, rest))
}

fn cipher(key: &[u8; KEY]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

const MAGIC: [u8; 8] = *b"moonseal";
const VERSION: u8 = 1;
const SALT: usize = 16;
const NONCE: usize = 24;
const KEY: usize = 32;
const TAG: usize = 16;
const HEADER: usize = MAGIC.len() + 1 + 3 * 4 + SALT + NONCE;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As little as argon2id allows.
    const CHEAP: Kdf = Kdf {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::parse(text.as_bytes()).unwrap()
    }

    fn sealed() -> Vec<u8> {
        seal(&passphrase("moon"), CHEAP, b"test", b"plain").unwrap()
    }

    fn opened(sealed: &[u8]) -> Result<Vec<u8>, UnsealError> {
        open(&passphrase("moon"), b"test", sealed).map(|plain| plain.to_vec())
    }

    #[test]
    fn a_passphrase_has_1_to_1024_bytes() {
        assert_eq!(Passphrase::parse(b"").unwrap_err(), PassphraseError::Empty);
        assert!(Passphrase::parse(&[0; 1024]).is_ok());
        assert_eq!(
            Passphrase::parse(&[0; 1025]).unwrap_err(),
            PassphraseError::TooLong
        );
    }

    #[test]
    fn i8_a_passphrase_is_not_in_its_debug_text() {
        assert_eq!(format!("{:?}", passphrase("canary")), "Passphrase(***)");
    }

    #[test]
    fn encoded_it_is_a_sequence_of_bytes_and_nothing_else_is_taken() {
        let bytes = postcard::to_allocvec(&passphrase("moon")).unwrap();
        assert_eq!(bytes, b"\x04moon");
        let back: Passphrase = postcard::from_bytes(&bytes).unwrap();
        assert_eq!(*back.0, b"moon");
        assert!(postcard::from_bytes::<Passphrase>(&[0]).is_err());
        let long = postcard::to_allocvec(&vec![1_u8; 1025]).unwrap();
        assert!(postcard::from_bytes::<Passphrase>(&long).is_err());
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_passphrase_for_its_purpose_only() {
        let sealed = sealed();
        assert_eq!(opened(&sealed).unwrap(), b"plain");
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert!(!sealed.windows(5).any(|bytes| bytes == b"plain"));
        for wrong in ["moo", "moon ", "Moon"] {
            let error = open(&passphrase(wrong), b"test", &sealed).unwrap_err();
            assert_eq!(error, UnsealError::WrongOrTampered);
        }
        let error = open(&passphrase("moon"), b"tes", &sealed).unwrap_err();
        assert_eq!(error, UnsealError::WrongOrTampered);
    }

    #[test]
    fn nothing_is_sealed_twice_in_the_same_way() {
        let (one, two) = (sealed(), sealed());
        let (one, two) = (
            Header::parse(&one).unwrap().0,
            Header::parse(&two).unwrap().0,
        );
        assert_ne!(one.salt, two.salt);
        assert_ne!(one.nonce, two.nonce);
    }

    #[test]
    fn the_format_is_this_one() {
        let random = std::array::from_fn(|i| u8::try_from(i).unwrap());
        let kdf = Kdf::new(32, 2, 1).unwrap();
        let sealed = seal_with(&random, &passphrase("moon"), kdf, b"test", b"plain").unwrap();
        let hex = data_encoding::HEXLOWER.encode(&sealed);
        assert_eq!(
            hex,
            "6d6f6f6e7365616c01200000000200000001000000000102030405060708090a0b0c0d0e0f\
             101112131415161718191a1b1c1d1e1f2021222324252627\
             21fa8dc71cd8489e6ebaf952216e310ab1f145c7a1"
        );
        assert_eq!(opened(&sealed).unwrap(), b"plain");
    }

    #[test]
    fn every_changed_bit_and_every_missing_byte_is_noticed() {
        let sealed = sealed();
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut changed = sealed.clone();
                changed[at] ^= 1 << bit;
                // What asks for more work than a test has time for is refused by the same code.
                let costs = Header::parse(&changed).is_ok_and(|(header, _)| {
                    header.kdf.memory_kib > 4096 || header.kdf.passes > 16
                });
                assert!(costs || opened(&changed).is_err(), "byte {at}, bit {bit}");
            }
            assert!(opened(&sealed[..at]).is_err(), "cut to {at}");
        }
        assert!(opened(&[&sealed[..], &[0]].concat()).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_before_any_work_is_done() {
        let sealed = sealed();
        let with = |at: usize, bytes: &[u8]| {
            let mut changed = sealed.clone();
            changed[at..at + bytes.len()].copy_from_slice(bytes);
            check(&changed)
        };
        assert_eq!(check(&sealed), Ok(()));
        assert_eq!(check(&sealed[..OVERHEAD - 1]), Err(UnsealError::Damaged));
        assert_eq!(with(0, b"x"), Err(UnsealError::Damaged));
        assert_eq!(with(8, &[2]), Err(UnsealError::Format { found: 2 }));
        let number = |at: usize, number: u32| with(at, &number.to_le_bytes());
        assert_eq!(number(9, Kdf::MAX_MEMORY_KIB), Ok(()));
        for (at, value) in [
            (9, 0),
            (9, 7),
            (9, Kdf::MAX_MEMORY_KIB + 1),
            (9, u32::MAX),
            (13, 0),
            (13, Kdf::MAX_PASSES + 1),
            (17, 0),
            (17, 2),
            (17, u32::MAX),
        ] {
            assert_eq!(
                number(at, value),
                Err(UnsealError::Excessive),
                "{at} {value}"
            );
        }
    }

    proptest! {
        #[test]
        fn i9_any_bytes_are_opened_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes);
            let mut header = sealed();
            header.truncate(9);
            header.extend(&bytes);
            let _ = check(&header);
        }
    }
}
