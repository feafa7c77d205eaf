//! What one peer has subscribed to: beginnings of messages, counted.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use crate::wire::{Field, Violation};

/// As many different topics are held for a peer,
const MOST: usize = 16 * 1024;
/// and as many bytes of them.
const MOST_BYTES: usize = 1 << 20;

/// Counted topics.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    topics: BTreeMap<Vec<u8>, u32>,
    bytes: usize,
}

impl Subscriptions {
    /// Counts one more; whether it is the first to this topic.
    pub(super) fn add(&mut self, topic: &[u8]) -> Result<bool, Violation> {
        let too_many = Violation::TooMany(Field::Subscriptions);
        if let Some(count) = self.topics.get_mut(topic) {
            *count = count.checked_add(1).ok_or(too_many)?;
            return Ok(false);
        }
        let bytes = self.bytes.saturating_add(topic.len());
        if self.topics.len() >= MOST || bytes > MOST_BYTES {
            return Err(too_many);
        }
        self.bytes = bytes;
        self.topics.insert(topic.to_vec(), 1);
        Ok(true)
    }

    /// Counts one less; whether it was the last to this topic. `None`: there was none.
    pub(super) fn cancel(&mut self, topic: &[u8]) -> Option<bool> {
        let Entry::Occupied(mut entry) = self.topics.entry(topic.to_vec()) else {
            return None;
        };
        *entry.get_mut() -= 1;
        let last = *entry.get() == 0;
        if last {
            entry.remove();
            self.bytes = self.bytes.saturating_sub(topic.len());
        }
        Some(last)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether some topic is the beginning of this.
    pub(super) fn matches(&self, mut subject: &[u8]) -> bool {
        // A topic that is a beginning of the subject is not after it, and everything that lies
        // between them begins with that topic, too. So does what the subject has in common with the
        // nearest topic before it.
        loop {
            let before = (Bound::Unbounded, Bound::Included(subject));
            let Some((nearest, _)) = self.topics.range::<[u8], _>(before).next_back() else {
                return false;
            };
            let pairs = nearest.iter().zip(subject);
            let common = pairs.take_while(|(one, other)| one == other).count();
            if common == nearest.len() {
                return true;
            }
            (subject, _) = subject.split_at(common);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn two_subscriptions_need_two_cancellations() {
        let mut topics = Subscriptions::default();
        assert_eq!(topics.add(b"a"), Ok(true));
        assert_eq!(topics.add(b"a"), Ok(false));
        assert_eq!(topics.cancel(b"a"), Some(false));
        assert!(topics.matches(b"ab"));
        assert_eq!(topics.cancel(b"a"), Some(true));
        assert!(!topics.matches(b"ab"));
        assert_eq!(topics.cancel(b"a"), None);
    }

    #[test]
    fn an_empty_topic_matches_everything() {
        let mut topics = Subscriptions::default();
        assert!(!topics.matches(b""));
        topics.add(b"").unwrap();
        assert!(topics.matches(b"") && topics.matches(b"x"));
    }

    #[test]
    fn i7_topics_are_bounded_in_number_and_size() {
        let mut topics = Subscriptions::default();
        for number in 0..MOST {
            topics.add(&number.to_be_bytes()).unwrap();
        }
        let too_many = Err(Violation::TooMany(Field::Subscriptions));
        assert_eq!(topics.add(b"one more"), too_many);
        assert_eq!(topics.add(&0usize.to_be_bytes()), Ok(false));
        let mut topics = Subscriptions::default();
        topics.add(&vec![1; MOST_BYTES]).unwrap();
        assert_eq!(topics.add(b"x"), too_many);
        topics.cancel(&vec![1; MOST_BYTES]);
        assert_eq!(topics.add(b"x"), Ok(true));
    }

    proptest! {
        #[test]
        fn a_topic_matches_what_begins_with_it(
            all in prop::collection::vec("[ab]{0,5}", 0..12),
            subject in "[ab]{0,8}",
        ) {
            let mut topics = Subscriptions::default();
            for topic in &all {
                topics.add(topic.as_bytes()).unwrap();
            }
            let expected = all.iter().any(|topic| subject.starts_with(topic));
            prop_assert_eq!(topics.matches(subject.as_bytes()), expected);
        }
    }
}
