//! From secrets to keys: sections 4.1 and 4.8 of the protocol text.

use std::fmt;

use identity::Secret;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::wire::crypto::SharedSecret;

/// The three keys of one stage: a MAC key for both directions and a cipher key for each.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct StageKeys {
    pub(crate) mac: [u8; 32],
    pub(crate) client: [u8; 32],
    pub(crate) server: [u8; 32],
}

impl StageKeys {
    /// The keys of the first packets, from the shared secret.
    pub fn initial(secret: &Secret) -> Self {
        Self::derive(&[secret.reveal()])
    }

    /// The keys of the first packets where nobody has agreed on a secret: they are derived from a
    /// constant of the protocol that everybody knows.
    pub fn public() -> Self {
        Self::derive(&[b"SETECASTRONOMY"])
    }

    /// The keys of a later stage, from the two sides' keys and the server's nonce.
    pub(super) fn agreed(shared: &SharedSecret, nonce: [u8; 8]) -> Self {
        Self::derive(&[shared.as_bytes(), &nonce])
    }

    /// Whether these are the same keys; it takes the same time if they are not.
    pub fn is(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.mac.ct_eq(&other.mac).into()
    }

    fn derive(material: &[&[u8]]) -> Self {
        let mut kdf = blake3::Hasher::new_derive_key(STAGE_CONTEXT);
        for part in material {
            kdf.update(part);
        }
        // Each key also goes into the derivation of the next.
        let mac = *kdf.finalize().as_bytes();
        let client = *kdf.update(&mac).finalize().as_bytes();
        let server = *kdf.update(&client).finalize().as_bytes();
        kdf.zeroize();
        Self {
            mac,
            client,
            server,
        }
    }
}

impl fmt::Debug for StageKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StageKeys(***)")
    }
}

/// The keys of one direction after a ratchet.
#[derive(Clone, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct RatchetKeys {
    pub(crate) mac: [u8; 32],
    pub(crate) cipher: [u8; 32],
}

impl RatchetKeys {
    /// The protocol takes the raw result as the cipher's key.
    pub(super) fn agreed(shared: &SharedSecret) -> Self {
        Self {
            mac: blake3::derive_key(RATCHET_CONTEXT, shared.as_bytes()),
            cipher: *shared.as_bytes(),
        }
    }
}

impl fmt::Debug for RatchetKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RatchetKeys(***)")
    }
}

const STAGE_CONTEXT: &str = "arcan-a12 init-packet";
const RATCHET_CONTEXT: &str = "arcan-a12 rekey";

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER;

    #[test]
    fn the_default_secret_gives_the_published_keys() {
        let keys = StageKeys::public();
        assert_eq!(
            HEXLOWER.encode(&keys.mac),
            "566df13dee25156ba610d2b4dac80da85bd36b6a50f7c343ea83463b77d273fd"
        );
        assert_eq!(
            HEXLOWER.encode(&keys.client),
            "e3ec27798354ff2250f802ea1776131381888758d580d30f6061e1ab2ec27b21"
        );
        assert_eq!(
            HEXLOWER.encode(&keys.server),
            "ff43ca708e0463d61f98612646928304a711e97cfc6218bd1920b532b6755cf9"
        );
    }

    #[test]
    fn i8_keys_are_not_in_their_debug_text() {
        let keys = StageKeys::public();
        assert_eq!(format!("{keys:?}"), "StageKeys(***)");
    }
}
