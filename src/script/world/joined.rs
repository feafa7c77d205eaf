//! A client's text that comes in several messages, put together again.

/// The longest text that is put together, in bytes.
pub(in crate::script) const MAX_WHOLE: usize = 64 * 1024;

/// What has come of a text.
#[derive(Debug, Default)]
pub(in crate::script) struct Joined {
    bytes: Vec<u8>,
    /// It has become too long.
    over: bool,
}

/// What a message ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::script) enum Whole {
    /// Nothing: it goes on.
    Part,
    /// A text that is no longer than the message.
    Itself,
    /// This text.
    Text(String),
    /// A text that cannot be given, and why.
    Lost(&'static str),
}

impl Joined {
    /// Whether a message that comes now begins a text.
    pub(super) fn begins(&self) -> bool {
        self.bytes.is_empty() && !self.over
    }

    /// Takes the bytes of the next message, cut from the text anywhere.
    pub(super) fn push(&mut self, part: &[u8], multipart: bool) -> Whole {
        self.over |= self.bytes.len() + part.len() > MAX_WHOLE;
        if self.over {
            self.bytes = Vec::new();
        } else {
            self.bytes.extend_from_slice(part);
        }
        if multipart {
            return Whole::Part;
        }
        if std::mem::take(&mut self.over) {
            return Whole::Lost("longer than 65536 bytes");
        }
        match String::from_utf8(std::mem::take(&mut self.bytes)) {
            Ok(text) => Whole::Text(text),
            Err(_) => Whole::Lost("not UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Sends a text in parts of these sizes, the rest in one.
    fn sent(text: &[u8], sizes: &[usize]) -> Whole {
        let (mut joined, mut rest) = (Joined::default(), text);
        for size in sizes {
            let (part, after) = rest.split_at((*size).min(rest.len()));
            assert_eq!(joined.push(part, true), Whole::Part);
            rest = after;
        }
        joined.push(rest, false)
    }

    #[test]
    fn a_text_beyond_the_bound_is_not_kept_and_the_next_one_is_whole() {
        let mut joined = Joined::default();
        for _ in 0..2000 {
            joined.push(&[b'x'; 77], true);
        }
        assert!(joined.bytes.is_empty());
        let lost = joined.push(b"x", false);
        assert_eq!(lost, Whole::Lost("longer than 65536 bytes"));
        assert_eq!(joined.push(b"next", false), Whole::Text("next".into()));
    }

    #[test]
    fn bytes_that_are_no_text_are_none() {
        assert_eq!(sent(b"\xc3", &[]), Whole::Lost("not UTF-8"));
    }

    proptest! {
        #[test]
        fn i9_any_cut_of_a_text_gives_the_same_text(
            text in ".{0,300}",
            sizes in proptest::collection::vec(0_usize..80, 0..40),
        ) {
            prop_assert_eq!(sent(text.as_bytes(), &sizes), Whole::Text(text));
        }
    }
}
