//! Boxes of NaCl: X25519, then XSalsa20 and Poly1305. CurveCP and ZeroMQ's CURVE are made of them.
//!
//! On the wire a box is the authenticator, 16 bytes, and then the ciphertext, as long as the text.

use std::fmt;

use identity::PublicKey;
use nacl::derived;
pub use nacl::{Forged, OVERHEAD, PrefixedKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::crypto::SecretKey;

/// The key of the boxes between two sides (`crypto_box_beforenm`), or of a secret box. It is wiped
/// when dropped and never printed.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct BoxKey([u8; 32]);

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
        PrefixedKey::new(&self.0, prefix)
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
