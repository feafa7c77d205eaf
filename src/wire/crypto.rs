//! X25519 with the results that must not be used taken out.

use std::fmt;

use identity::PublicKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// An X25519 private key. It is wiped when dropped and never printed.
pub struct SecretKey(x25519_dalek::StaticSecret);

impl SecretKey {
    /// Takes 32 random or stored bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.into())
    }

    /// Makes a fresh key.
    pub fn generate<R: CryptoRng>(rng: &mut R) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rng.fill_bytes(bytes.as_mut());
        Self::from_bytes(*bytes)
    }

    /// The bytes, for storing them.
    pub fn reveal(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// Its public key; `None` for the one in 2^250 private keys whose public key is of low order.
    pub fn public(&self) -> Option<PublicKey> {
        PublicKey::parse(x25519_dalek::PublicKey::from(&self.0).as_bytes()).ok()
    }

    /// What only the holders of the two private keys can compute.
    ///
    /// It is never zero: a [`PublicKey`] is not of low order, and no clamped scalar is a multiple
    /// of the order of what is left (RFC 7748, sections 5 and 6.1).
    pub(crate) fn agree(&self, peer: &PublicKey) -> SharedSecret {
        let peer = x25519_dalek::PublicKey::from(*peer.as_bytes());
        SharedSecret(Zeroizing::new(self.0.diffie_hellman(&peer).to_bytes()))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(***)")
    }
}

/// A raw X25519 result: key material, and nothing that leaves the process.
pub(crate) struct SharedSecret(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// The 32 bytes, for a key derivation.
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7748_section_6_1() {
        let hex = |text: &str| -> [u8; 32] {
            data_encoding::HEXLOWER
                .decode(text.as_bytes())
                .unwrap()
                .try_into()
                .unwrap()
        };
        let alice = SecretKey::from_bytes(hex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let bob = SecretKey::from_bytes(hex(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        let ours = alice.agree(&bob.public().unwrap());
        let theirs = bob.agree(&alice.public().unwrap());
        assert_eq!(ours.as_bytes(), theirs.as_bytes());
        assert_eq!(
            ours.as_bytes(),
            &hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        );
        assert_eq!(
            bob.public().unwrap().as_bytes(),
            &hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        );
    }

    #[test]
    fn i8_a_private_key_is_not_in_its_debug_text() {
        let text = format!("{:?}", SecretKey::from_bytes([0xab; 32]));
        assert_eq!(text, "SecretKey(***)");
    }
}
