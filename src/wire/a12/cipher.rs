//! ChaCha with 8 rounds in its original layout: 64-bit block counter, 64-bit nonce.

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use zeroize::Zeroizing;

/// One direction's keystream. It never ends: the counter has 64 bits.
pub(super) struct Cipher {
    inner: ChaCha8,
    key: Zeroizing<[u8; 32]>,
    nonce: [u8; 8],
    /// The upper half of the block counter.
    epoch: u32,
    /// Bytes until the lower half runs over.
    left: u64,
}

impl Cipher {
    pub(super) fn new(key: &[u8; 32], nonce: [u8; 8]) -> Self {
        Self {
            inner: inner(key, 0, nonce),
            key: Zeroizing::new(*key),
            nonce,
            epoch: 0,
            left: EPOCH,
        }
    }

    /// Encrypts or decrypts the next bytes of the stream.
    pub(super) fn apply(&mut self, mut data: &mut [u8]) {
        #[cfg(any(test, fuzzing))]
        if super::null::is_on() {
            return;
        }
        loop {
            let now = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
            let (head, tail) = data.split_at_mut(now);
            // The checked form refuses the last block of an epoch, which is used here.
            self.inner.unchecked_apply_keystream(head);
            self.left -= now as u64;
            if self.left == 0 {
                self.epoch = self.epoch.wrapping_add(1);
                self.inner = inner(&self.key, self.epoch, self.nonce);
                self.left = EPOCH;
            }
            if tail.is_empty() {
                return;
            }
            data = tail;
        }
    }
}

/// The IETF layout has the counter's upper half as the first word of its nonce.
fn inner(key: &[u8; 32], epoch: u32, nonce: [u8; 8]) -> ChaCha8 {
    let mut iv = [0; 12];
    let (upper, rest) = iv.split_at_mut(4);
    upper.copy_from_slice(&epoch.to_le_bytes());
    rest.copy_from_slice(&nonce);
    ChaCha8::new(key.into(), &iv.into())
}

/// Bytes under one value of the counter's upper half: 2^32 blocks.
const EPOCH: u64 = 64 << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use chacha20::cipher::StreamCipherSeek;
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    /// One block, straight from the definition.
    fn block(key: &[u8; 32], counter: u64, nonce: [u8; 8]) -> [u8; 64] {
        let word = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
        let mut state = [0; 16];
        for (i, chunk) in b"expand 32-byte k"
            .chunks(4)
            .chain(key.chunks(4))
            .enumerate()
        {
            state[i] = word(chunk);
        }
        state[12] = counter as u32;
        state[13] = (counter >> 32) as u32;
        state[14] = word(&nonce[..4]);
        state[15] = word(&nonce[4..]);
        let mut work = state;
        let mut quarter = |a: usize, b: usize, c: usize, d: usize| {
            for (x, y, z, turn) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
                work[x] = work[x].wrapping_add(work[y]);
                work[z] = (work[z] ^ work[x]).rotate_left(turn);
            }
        };
        for _ in 0..4 {
            for i in 0..4 {
                quarter(i, 4 + i, 8 + i, 12 + i);
            }
            for i in 0..4 {
                quarter(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4);
            }
        }
        let mut out = [0; 64];
        for (i, chunk) in out.chunks_mut(4).enumerate() {
            chunk.copy_from_slice(&work[i].wrapping_add(state[i]).to_le_bytes());
        }
        out
    }

    fn sample() -> ([u8; 32], [u8; 8]) {
        (
            std::array::from_fn(|i| i as u8),
            std::array::from_fn(|i| i as u8),
        )
    }

    #[test]
    fn the_known_keystream_comes_out() {
        let (key, nonce) = sample();
        let mut stream = [0; 64];
        Cipher::new(&key, nonce).apply(&mut stream);
        assert_eq!(
            HEXLOWER.encode(&stream),
            "40e1aaea1c843baa28b18eb728fec05dce47b0e824bf9a5d3f1bb1aad13b37fb\
             bf0b0e146732c16380efeab70a1b6edff9acedc876b70d98b61f192290537973"
        );
        assert_eq!(stream, block(&key, 0, nonce));
    }

    #[test]
    fn the_counter_goes_on_past_32_bits() {
        let (key, nonce) = sample();
        for epoch in [0, 1] {
            let mut cipher = Cipher::new(&key, nonce);
            cipher.epoch = epoch;
            cipher.inner = inner(&key, epoch, nonce);
            let skipped = EPOCH - 20 * 64 - 7;
            cipher.inner.seek(skipped);
            cipher.left = EPOCH - skipped;

            let mut stream = vec![0; 7 + 40 * 64];
            let (head, tail) = stream.split_at_mut(100);
            cipher.apply(head);
            cipher.apply(tail);

            let first = (u64::from(epoch) << 32) + (1 << 32) - 21;
            let expected: Vec<u8> = (first..first + 41)
                .flat_map(|counter| block(&key, counter, nonce))
                .skip(57)
                .collect();
            assert_eq!(stream, expected);
        }
    }

    proptest! {
        #[test]
        fn i9_any_split_gives_the_same_stream(cuts in prop::collection::vec(0..300_usize, 0..8)) {
            let (key, nonce) = sample();
            let mut whole = vec![0; cuts.iter().sum()];
            Cipher::new(&key, nonce).apply(&mut whole);
            let mut parts = vec![0; whole.len()];
            let mut cipher = Cipher::new(&key, nonce);
            let mut rest = parts.as_mut_slice();
            for cut in cuts {
                let (head, tail) = rest.split_at_mut(cut);
                cipher.apply(head);
                rest = tail;
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
