//! Z85: how ZeroMQ's programs write keys. Five characters stand for four bytes, most significant
//! first (ZeroMQ RFC 32). Here it is for 32 bytes only.

use zeroize::Zeroizing;

/// How many characters 32 bytes are.
pub const LENGTH: usize = 40;

const ALPHABET: &[u8; 85] =
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";

/// The 40 characters for 32 bytes. They may be a private key, so they are wiped.
pub fn encode(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(LENGTH));
    for four in bytes.as_chunks::<4>().0 {
        let number = u32::from_be_bytes(*four);
        for place in [85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1] {
            let digit = (number / place % 85) as usize;
            text.extend(ALPHABET.get(digit).map(|&c| char::from(c)));
        }
    }
    text
}

/// The 32 bytes that 40 characters stand for; `None` if these are no such characters.
pub fn decode(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let (groups, rest) = text.as_bytes().as_chunks::<5>();
    if text.len() != LENGTH || !rest.is_empty() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (four, five) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(groups) {
        let mut number: u32 = 0;
        for c in five {
            let digit = ALPHABET.iter().position(|known| known == c)?;
            // Five digits can say more than four bytes hold.
            number = number.checked_mul(85)?.checked_add(digit as u32)?;
        }
        *four = number.to_be_bytes();
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_the_rfc() {
        // Its eight bytes, four times.
        let eight = [0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b];
        let bytes: [u8; 32] = eight.repeat(4).try_into().unwrap();
        assert_eq!(*encode(&bytes), "HelloWorld".repeat(4));
        assert_eq!(*decode(&"HelloWorld".repeat(4)).unwrap(), bytes);
    }

    #[test]
    fn what_stands_for_no_32_bytes_is_refused() {
        let zeros = "0".repeat(LENGTH);
        assert!(decode(&zeros).is_some());
        for wrong in [
            "",
            &zeros[1..],
            &format!("{zeros}00000"),
            &format!("{} ", &zeros[1..]),
            &format!("ü{}", &zeros[2..]),
            // The largest group is "%nSc0".
            &format!("%nSc1{}", &zeros[5..]),
            &format!("#####{}", &zeros[5..]),
        ] {
            assert!(decode(wrong).is_none(), "{wrong}");
        }
        assert!(decode(&format!("%nSc0{}", &zeros[5..])).is_some());
    }

    proptest! {
        #[test]
        fn bytes_and_back(bytes: [u8; 32]) {
            let text = encode(&bytes);
            prop_assert_eq!(text.len(), LENGTH);
            prop_assert_eq!(*decode(&text).unwrap(), bytes);
        }

        #[test]
        fn text_that_is_taken_is_the_only_spelling(text in "[!-~]{40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(&*encode(&bytes), &text);
            }
        }
    }
}
