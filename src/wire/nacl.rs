//! Boxes of NaCl: X25519, then XSalsa20 and Poly1305. CurveCP and ZeroMQ's CURVE are made of them.
//!
//! On the wire a box is the authenticator, 16 bytes, and then the ciphertext, as long as the text.

use std::fmt;

use identity::PublicKey;
use poly1305::universal_hash::UniversalHash;
use poly1305::{Block, Poly1305};
use salsa20::cipher::{KeyInit, KeyIvInit, StreamCipher, consts::U10};
use salsa20::{Salsa20, hsalsa};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::crypto::SecretKey;

/// How much longer a box is than its text, in bytes.
pub const OVERHEAD: usize = 16;

/// The key of the boxes between two sides (`crypto_box_beforenm`), or of a secret box. It is wiped
/// when dropped and never printed.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct BoxKey([u8; 32]);

/// A box that does not open: it was made with another key, for another nonce, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the box does not open")]
pub struct Forged;

impl BoxKey {
    /// The key of the boxes between the holder of `own` and the holder of `peer`.
    pub fn between(own: &SecretKey, peer: &PublicKey) -> Self {
        Self(derived(own.agree(peer).as_bytes(), &[0; 16]))
    }

    /// The key of a secret box.
    pub fn secret(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key of all nonces that begin with these 16 bytes and end with a number.
    pub fn prefixed(&self, prefix: &[u8; 16]) -> PrefixedKey {
        PrefixedKey(derived(&self.0, prefix))
    }

    /// Appends the box of a text.
    pub fn seal(&self, nonce: &[u8; 24], text: &[u8], out: &mut Vec<u8>) {
        let (prefix, number) = split(nonce);
        self.prefixed(&prefix).seal(number, text, out);
    }

    /// Opens a box.
    pub fn open(&self, nonce: &[u8; 24], boxed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Forged> {
        let (prefix, number) = split(nonce);
        let mut text = Zeroizing::new(boxed.to_vec());
        let opened = self.prefixed(&prefix).open(number, &mut text)?.len();
        let authenticator = text.len() - opened;
        text.drain(..authenticator);
        Ok(text)
    }
}

/// The key of a row of boxes whose nonces differ in their last 8 bytes only. It is wiped when
/// dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrefixedKey([u8; 32]);

impl PrefixedKey {
    /// Appends the box of a text.
    pub fn seal(&self, number: [u8; 8], text: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; OVERHEAD]);
        out.extend_from_slice(text);
        if let Some(boxed) = out.get_mut(start..) {
            self.seal_in_place(number, boxed);
        }
    }

    /// Makes a box of what begins with 16 bytes of room for the authenticator.
    pub fn seal_in_place(&self, number: [u8; 8], boxed: &mut [u8]) {
        let Some((authenticator, text)) = boxed.split_first_chunk_mut::<OVERHEAD>() else {
            return;
        };
        let (mut cipher, once) = self.start(number);
        cipher.apply_keystream(text);
        *authenticator = authenticated(once, text);
    }

    /// Opens a box where it lies, and gives the text in it. What does not open is left as it was.
    pub fn open<'a>(&self, number: [u8; 8], boxed: &'a mut [u8]) -> Result<&'a mut [u8], Forged> {
        let (authenticator, text) = boxed.split_first_chunk_mut::<OVERHEAD>().ok_or(Forged)?;
        let (mut cipher, once) = self.start(number);
        if !bool::from(authenticated(once, text).ct_eq(authenticator)) {
            return Err(Forged);
        }
        cipher.apply_keystream(text);
        Ok(text)
    }

    /// The keystream of the text, and the authenticator, whose key is the stream's beginning.
    fn start(&self, number: [u8; 8]) -> (Salsa20, Poly1305) {
        let mut cipher = Salsa20::new(&self.0.into(), &number.into());
        let mut key = Zeroizing::new([0; 32]);
        cipher.apply_keystream(key.as_mut());
        let once = Poly1305::new((&*key).into());
        (cipher, once)
    }
}

/// The authenticator of a ciphertext.
fn authenticated(mut once: Poly1305, text: &[u8]) -> [u8; OVERHEAD] {
    // Whole blocks together: `compute_unpadded` takes them one by one, which is slower.
    let (blocks, rest) = Block::slice_as_chunks(text);
    once.update(blocks);
    once.compute_unpadded(rest).into()
}

/// HSalsa20.
fn derived(key: &[u8; 32], input: &[u8; 16]) -> [u8; 32] {
    hsalsa::<U10>(key.into(), input.into()).into()
}

fn split(nonce: &[u8; 24]) -> ([u8; 16], [u8; 8]) {
    let (mut prefix, mut number) = ([0; 16], [0; 8]);
    for (to, from) in prefix.iter_mut().chain(&mut number).zip(nonce) {
        *to = *from;
    }
    (prefix, number)
}

impl fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxKey(***)")
    }
}

impl fmt::Debug for PrefixedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrefixedKey(***)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex<const N: usize>(text: &str) -> [u8; N] {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        bytes.try_into().unwrap()
    }

    /// "Cryptography in NaCl" (Bernstein, 2009), sections 2, 4 and 10.
    #[test]
    fn the_box_of_the_nacl_paper() {
        let alice = SecretKey::from_bytes(hex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let bob: [u8; 32] = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let key = BoxKey::between(&alice, &PublicKey::parse(&bob).unwrap());
        let nonce = hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37");
        let text: [u8; 131] = hex(concat!(
            "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffc",
            "e5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41db66cce314adb31",
            "0e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde",
            "048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f93776384864",
            "5e0705",
        ));
        let mut boxed = Vec::new();
        key.seal(&nonce, &text, &mut boxed);
        assert_eq!(
            boxed[..48],
            hex::<48>(concat!(
                "f3ffc7703f9400e52a7dfb4b3d3305d9",
                "8e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186a",
            ))
        );
        assert_eq!(*key.open(&nonce, &boxed).unwrap(), text);
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_and_only_so(
            key: [u8; 32], nonce: [u8; 24], text: Vec<u8>, at: usize, bit in 0..8u8,
        ) {
            let key = BoxKey::secret(key);
            let mut boxed = Vec::new();
            key.seal(&nonce, &text, &mut boxed);
            prop_assert_eq!(boxed.len(), text.len() + OVERHEAD);
            prop_assert_eq!(&*key.open(&nonce, &boxed).unwrap(), &text);

            let at = at % boxed.len();
            boxed[at] ^= 1u8 << bit;
            prop_assert_eq!(key.open(&nonce, &boxed), Err(Forged));
        }
    }

    #[test]
    fn what_is_shorter_than_its_authenticator_is_no_box() {
        let key = BoxKey::secret([1; 32]);
        for length in 0..OVERHEAD {
            assert_eq!(key.open(&[0; 24], &vec![0; length]), Err(Forged));
        }
    }

    #[test]
    fn i8_a_box_key_is_not_in_its_debug_text() {
        let key = BoxKey::secret([0xab; 32]);
        assert_eq!(format!("{key:?}"), "BoxKey(***)");
        assert_eq!(format!("{:?}", key.prefixed(&[1; 16])), "PrefixedKey(***)");
    }
}
