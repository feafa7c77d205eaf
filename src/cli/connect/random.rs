//! Random numbers for the handshake.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

/// BLAKE3's output stream under a key from the system: unpredictable, and it cannot fail once it
/// is made.
pub(in super::super) struct Random(blake3::OutputReader);

impl Random {
    pub(in super::super) fn new() -> Result<Self, getrandom::Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *seed)?;
        Ok(Self(blake3::Hasher::new_keyed(&seed).finalize_xof()))
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    #[test]
    fn numbers_do_not_repeat() {
        let (mut a, mut b) = (Random::new().unwrap(), Random::new().unwrap());
        let numbers: std::collections::BTreeSet<_> = (0..100)
            .flat_map(|_| [a.next_u64(), b.next_u64()])
            .collect();
        assert_eq!(numbers.len(), 200);
    }
}
