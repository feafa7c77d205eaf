//! Lines and messages: a line goes out as one or more events, and comes back together.

use crate::wire::a12::event::Text;

/// How much of a text an event holds, in bytes.
const EVENT: usize = 77;

/// The longest message that is put together, in bytes; a longer one arrives as several.
pub(super) const MESSAGE: usize = 64 * 1024;

/// Cuts a line into events, at borders of characters.
pub(in crate::cli) fn split(line: &str) -> Vec<Text> {
    let mut parts = Vec::with_capacity(line.len() / EVENT + 1);
    let mut rest = line;
    loop {
        let (part, after) = rest.split_at(rest.floor_char_boundary(EVENT));
        parts.push(Text {
            text: part.to_owned(),
            multipart: !after.is_empty(),
        });
        if after.is_empty() {
            return parts;
        }
        rest = after;
    }
}

/// Puts a message together.
#[derive(Debug, Default)]
pub(in crate::cli) struct Joined {
    text: String,
}

impl Joined {
    /// Takes the next event; gives the message that it ends.
    pub(in crate::cli) fn push(&mut self, part: &Text) -> Option<String> {
        self.text.push_str(&part.text);
        let whole = !part.multipart || self.text.len() >= MESSAGE;
        whole.then(|| std::mem::take(&mut self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_line_is_cut_at_borders_of_characters() {
        assert_eq!(split("").len(), 1);
        assert_eq!(split(&"x".repeat(77)).len(), 1);
        assert_eq!(split(&"x".repeat(78)).len(), 2);
        let parts = split(&format!("{}ü", "x".repeat(76)));
        assert_eq!((parts[0].text.len(), parts[0].multipart), (76, true));
        assert_eq!((parts[1].text.as_str(), parts[1].multipart), ("ü", false));
    }

    #[test]
    fn a_message_without_end_is_cut() {
        let mut joined = Joined::default();
        let part = Text {
            text: "x".repeat(EVENT),
            multipart: true,
        };
        let message = (0..2000).find_map(|_| joined.push(&part)).unwrap();
        assert!(message.len() < MESSAGE + EVENT);
    }

    proptest! {
        #[test]
        fn what_is_cut_comes_together_again(line in "\\PC{0,400}") {
            let mut joined = Joined::default();
            let parts = split(&line);
            prop_assert!(parts.iter().all(|part| part.text.len() <= EVENT));
            let messages: Vec<_> = parts.iter().filter_map(|part| joined.push(part)).collect();
            prop_assert_eq!(messages, vec![line]);
        }
    }
}
