//! What a fuzzer calls: any bytes as a file of host keys.
#![expect(clippy::unwrap_used, reason = "a fuzzer is told by a panic")]

use identity::Name;

use super::Ring;
use super::format::{Kept, is_of_another_version, parse, render};
use crate::sealed;

/// A file; what is in it has one spelling, but for that of old.
pub(crate) fn file(bytes: &[u8]) {
    let Some((public, kept)) = parse(bytes) else {
        return;
    };
    assert!(!is_of_another_version(bytes));
    let tag = Name::parse("default").unwrap();
    match kept {
        Kept::Old(ring) => {
            assert!(public.is_none());
            let text = render(&tag, &ring, None).unwrap();
            let (again, _) = parse(text.as_bytes()).unwrap();
            assert_eq!(again, Some(ring.public()));
        }
        Kept::Unsealed(private) => {
            if let Some(mut ring) = Ring::join(public.clone().unwrap(), &private) {
                assert_eq!(ring.public(), public.unwrap());
                let text = render(&tag, &ring, None).unwrap();
                assert_eq!(text.as_bytes(), bytes, "two spellings");
                for now_ms in [0, 1_750_000_000_000, u64::MAX] {
                    ring.answering(Some(0), now_ms);
                    ring.expire(now_ms);
                }
            }
        }
        Kept::Sealed(bytes) => {
            assert!(public.is_some());
            let _ = sealed::check(&bytes);
        }
    }
}
