//! The nonces of key directories: never the same twice, though a directory be copied or restored.
//!
//! A counter and 8 random bytes, enciphered as one block. Who receives one does not look inside.

/// 32 rounds of a cipher in the manner of TEA on two words of 64 bits.
pub fn safenonce(key: &[u8; 32], counter: u64, random: [u8; 8]) -> [u8; 16] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let [k0, k1, k2, k3] = words;
    let (mut v0, mut v1) = (counter, u64::from_le_bytes(random));
    let mut sum = 0_u64;
    for _ in 0..32 {
        sum = sum.wrapping_add(0x9e37_79b9_7f4a_7c15);
        v0 = v0.wrapping_add(
            (v1 << 7).wrapping_add(k0) ^ v1.wrapping_add(sum) ^ (v1 >> 12).wrapping_add(k1),
        );
        v1 = v1.wrapping_add(
            (v0 << 16).wrapping_add(k2) ^ v0.wrapping_add(sum) ^ (v0 >> 8).wrapping_add(k3),
        );
    }
    (u128::from(v1) << 64 | u128::from(v0)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::super::vectors::{Hex, data};
    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        noncekey: Hex,
        counter: u64,
        random8: Hex,
        nonce16: Hex,
    }

    #[test]
    fn nonces_are_those_of_the_reference() {
        let vectors: Vec<Vector> = data("safenonce");
        assert_eq!(vectors.len(), 14);
        for vector in vectors {
            let nonce = safenonce(
                &vector.noncekey.array(),
                vector.counter,
                vector.random8.array(),
            );
            assert_eq!(nonce, vector.nonce16.array());
        }
    }
}
