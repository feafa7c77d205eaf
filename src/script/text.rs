//! Cutting, filtering and comparing texts.

/// The most bytes of text in one message event.
pub(super) const MESSAGE: usize = 77;

/// The first at most `max` bytes of a text that end at a character border.
pub(super) fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
}

/// The text in parts of at most [`MESSAGE`] bytes, cut at character borders.
pub(super) fn parts(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let part = cut(text, MESSAGE);
        text = text.get(part.len()..)?;
        (!part.is_empty()).then_some(part)
    })
}

/// The text without control characters, which could command the terminal it is printed on.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

/// The text with every character that is not allowed replaced by `?`.
pub(super) fn masked(text: &str, allowed: impl Fn(char) -> bool) -> String {
    text.chars()
        .map(|c| if allowed(c) { c } else { '?' })
        .collect()
}

/// The candidate that the word was probably meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = 1 + word.chars().count().min(60) / 4;
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance of the first 64 characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for (y, pair) in b.iter().zip(row.windows(2)) {
            let [above_left, above] = pair else { continue };
            let left = next.last().copied().unwrap_or_default();
            let swap = above_left + usize::from(x != *y);
            next.push(swap.min(above + 1).min(left + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_nearest_name_is_found_or_none() {
        let names = ["interface", "port", "secret"];
        assert_eq!(nearest("inteface", names), Some("interface"));
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("banana", names), None);
    }

    #[test]
    fn three_byte_characters_go_25_to_a_part() {
        let text = "€".repeat(60);
        let lengths: Vec<_> = parts(&text).map(str::len).collect();
        assert_eq!(lengths, [75, 75, 30]);
    }

    proptest! {
        #[test]
        fn parts_are_short_whole_and_complete(text in ".{0,400}") {
            let joined: String = parts(&text).inspect(|part| assert!(part.len() <= MESSAGE && !part.is_empty())).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
