//! The ciphers of NaCl's boxes: XSalsa20 and Poly1305 under one key, for one row of nonces.
//!
//! They stand in a crate of their own so that they are optimized in every build. What uses them is
//! tested beside programs that are, and goes by how long a packet takes.

use std::fmt;

use poly1305::universal_hash::UniversalHash;
use poly1305::{Block, Poly1305};
use salsa20::cipher::{KeyInit, KeyIvInit, StreamCipher, consts::U10};
use salsa20::{Salsa20, hsalsa};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// How much longer a box is than its text, in bytes.
pub const OVERHEAD: usize = 16;

/// A box that does not open: it was made with another key, for another nonce, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the box does not open")]
pub struct Forged;

/// The key of a row of boxes whose nonces differ in their last 8 bytes only. It is wiped when
/// dropped and never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrefixedKey([u8; 32]);

impl PrefixedKey {
    /// The key of all nonces that begin with these 16 bytes, of those that this key has.
    pub fn new(key: &[u8; 32], prefix: &[u8; 16]) -> Self {
        Self(derived(key, prefix))
    }

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
pub fn derived(key: &[u8; 32], input: &[u8; 16]) -> [u8; 32] {
    hsalsa::<U10>(key.into(), input.into()).into()
}

impl fmt::Debug for PrefixedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrefixedKey(***)")
    }
}
