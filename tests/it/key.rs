//! Keys of people in tests: a name makes one.

use identity::PublicKey;
use moonport::wire::crypto::SecretKey;

/// Somebody's key.
#[derive(Clone, Copy)]
pub(crate) struct Key(pub(crate) &'static str);

impl Key {
    pub(crate) fn private(self) -> [u8; 32] {
        *blake3::hash(self.0.as_bytes()).as_bytes()
    }

    pub(crate) fn public(self) -> PublicKey {
        SecretKey::from_bytes(self.private()).public().unwrap()
    }
}

/// People who appear in many tests. Nobody is accepted anywhere until a test says so.
pub(crate) const ANNA: Key = Key("anna");
pub(crate) const BERT: Key = Key("bert");
pub(crate) const CLEO: Key = Key("cleo");
/// Means no good, and nobody lets her in.
pub(crate) const EVE: Key = Key("eve");
