//! The stream that we receive: blocks in any order, bytes out in theirs.

use std::collections::BTreeMap;

use super::message::{Block, End};

/// As far ahead of the application blocks are taken.
pub(super) const WINDOW: usize = 131_072;

/// As many pieces behind a gap are kept apart.
const ISLANDS: usize = 512;

#[derive(Default)]
pub(super) struct Receiver {
    /// The byte at position p lies at p modulo [`WINDOW`]. Empty until it is needed.
    ring: Vec<u8>,
    /// Up to where the application has it.
    delivered: u64,
    /// Up to where it has come without a gap.
    whole: u64,
    /// What has come behind that: begin and end.
    islands: BTreeMap<u64, u64>,
    /// Where the stream ends, and how.
    total: Option<(u64, End)>,
    /// Whether the application knows of the end.
    told: bool,
}

impl Receiver {
    /// Takes a block. `false`: it is out of bounds, and nothing of it was taken.
    pub(super) fn store(&mut self, block: &Block<'_>) -> bool {
        let Some(end) = block.position.checked_add(block.bytes.len() as u64) else {
            return false;
        };
        if end > self.delivered.saturating_add(WINDOW as u64) || self.contradicts(block, end) {
            return false;
        }
        let begin = block.position.max(self.delivered);
        let known = (block.position.max(begin) - block.position).min(block.bytes.len() as u64);
        let bytes = block.bytes.get(known as usize..).unwrap_or_default();
        if !bytes.is_empty() {
            if begin > self.whole && self.islands.len() >= ISLANDS {
                return false;
            }
            self.copy_in(begin, bytes);
            self.mark(begin, end);
        }
        if let Some(how) = block.end {
            self.total.get_or_insert((end, how));
        }
        true
    }

    /// Whether the block goes past the stream's end, or puts it elsewhere.
    fn contradicts(&self, block: &Block<'_>, end: u64) -> bool {
        match (self.total, block.end) {
            (Some((total, _)), Some(_)) => end != total,
            (Some((total, _)), None) => end > total,
            (None, Some(_)) => {
                let last = self.islands.last_key_value().map(|(_, end)| *end);
                end < last.unwrap_or(self.whole)
            }
            (None, None) => false,
        }
    }

    fn copy_in(&mut self, begin: u64, bytes: &[u8]) {
        if self.ring.is_empty() {
            self.ring = vec![0; WINDOW];
        }
        let (front, back) = self.ring.split_at_mut(place(begin));
        let (first, second) = bytes.split_at(bytes.len().min(back.len()));
        for (part, from) in [(back, first), (front, second)] {
            if let Some(to) = part.get_mut(..from.len()) {
                to.copy_from_slice(from);
            }
        }
    }

    /// Remembers that these have come.
    fn mark(&mut self, mut begin: u64, mut end: u64) {
        // Whatever touches it becomes one with it.
        while let Some((&first, &last)) = self.islands.range(..=end).next_back() {
            if last < begin {
                break;
            }
            begin = begin.min(first);
            end = end.max(last);
            self.islands.remove(&first);
        }
        if begin <= self.whole {
            self.whole = self.whole.max(end);
        } else {
            self.islands.insert(begin, end);
        }
    }

    /// Takes at most so many bytes out.
    pub(super) fn read(&mut self, most: usize) -> Vec<u8> {
        let length = self.unread().min(most);
        let mut bytes = Vec::with_capacity(length);
        if let Some((front, back)) = self.ring.split_at_checked(place(self.delivered)) {
            let first = back.len().min(length);
            bytes.extend_from_slice(back.get(..first).unwrap_or_default());
            bytes.extend_from_slice(front.get(..length - first).unwrap_or_default());
        }
        self.delivered += bytes.len() as u64;
        bytes
    }

    /// The end of the stream, once, when everything before it has been read.
    pub(super) fn end(&mut self) -> Option<End> {
        match self.total {
            Some((total, how)) if total == self.delivered && !self.told => {
                self.told = true;
                Some(how)
            }
            _ => None,
        }
    }

    /// How many bytes can be read.
    pub(super) fn unread(&self) -> usize {
        (self.whole - self.delivered) as usize
    }

    /// How many bytes have come without a gap, and one more if the stream has ended there.
    pub(super) fn whole(&self) -> u64 {
        self.whole + u64::from(self.is_whole())
    }

    /// Whether all of the stream has come.
    pub(super) fn is_whole(&self) -> bool {
        self.total.is_some_and(|(total, _)| total == self.whole)
    }

    /// Whether something is known to be missing.
    pub(super) fn has_gap(&self) -> bool {
        !self.islands.is_empty() || self.total.is_some_and(|(total, _)| total != self.whole)
    }

    /// Whether the application has all of it, and its end.
    pub(super) fn is_done(&self) -> bool {
        self.told
    }

    /// Gives back what memory is not used.
    pub(super) fn shrink(&mut self) {
        if self.unread() == 0 && self.islands.is_empty() {
            self.ring = Vec::new();
        }
    }
}

/// Where in the ring a byte lies.
fn place(position: u64) -> usize {
    (position % WINDOW as u64) as usize
}
