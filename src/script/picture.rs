//! The picture of a segment as its script is to see it: sizes in order with the frames, and nothing
//! of what is larger than the script wants.

use std::collections::VecDeque;
use std::fmt;

use super::status::{Resized, Status};

/// The largest picture that a script wants, pixels; 0: any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Limit {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Limit {
    fn fits(self, size: Resized) -> bool {
        let fits = |limit, side| limit == 0 || u32::from(side) <= limit;
        fits(self.width, size.width) && fits(self.height, size.height)
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.width, self.height) {
            (0, height) => write!(f, "any x {height}"),
            (width, 0) => write!(f, "{width} x any"),
            (width, height) => write!(f, "{width} x {height}"),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// The sizes that wait, one for each `resized` in the queue.
    waiting: VecDeque<Resized>,
    /// A frame has come after the last of them, so another size must not take its place.
    framed: bool,
    /// What is in force where the script is.
    size: Option<Resized>,
    limit: Limit,
    withheld: bool,
}

impl Picture {
    /// A size has come; whether it needs a `resized` of its own. Sizes cost no credit, so of several
    /// without a frame between them only the last is kept.
    pub(super) fn resized(&mut self, size: Resized) -> bool {
        let framed = std::mem::take(&mut self.framed);
        match self.waiting.back_mut().filter(|_| !framed) {
            Some(last) => {
                *last = size;
                false
            }
            None => {
                self.waiting.push_back(size);
                true
            }
        }
    }

    /// A frame has come.
    pub(super) fn framed(&mut self) {
        self.framed = true;
    }

    /// The size that waits longest.
    pub(super) fn waits(&self) -> Option<Resized> {
        self.waiting.front().copied()
    }

    /// It is the turn of the next size: what the script is told.
    pub(super) fn turn(&mut self) -> Option<Status> {
        let size = self.waiting.pop_front()?;
        self.size = Some(size);
        self.withheld = !self.limit.fits(size);
        Some(if self.withheld {
            self.failure(size)
        } else {
            Status::Resized(size)
        })
    }

    /// Whether frames are shown now: there is a size, and it is within the limit.
    pub(super) fn is_shown(&self) -> bool {
        self.size.is_some() && !self.withheld
    }

    /// The script sets another limit: what it is to be told about the size that it knows.
    pub(super) fn limit(&mut self, limit: Limit) -> Option<Status> {
        self.limit = limit;
        let size = self.size?;
        if limit.fits(size) {
            // If another size waits, that one is the news; until then nothing is shown.
            let again = self.withheld && self.waiting.is_empty();
            (again && self.resized(size)).then_some(Status::Resized(size))
        } else {
            let news = !std::mem::replace(&mut self.withheld, true);
            news.then(|| self.failure(size))
        }
    }

    fn failure(&self, size: Resized) -> Status {
        Status::Failure(format!(
            "withheld: {} x {} is larger than {}",
            size.width, size.height, self.limit
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u16) -> Resized {
        Resized {
            width,
            height: 10,
            origin_ll: false,
            text: false,
        }
    }

    fn limit(width: u32) -> Limit {
        Limit { width, height: 0 }
    }

    /// A width, or what was withheld.
    fn said(status: Option<Status>) -> String {
        match status {
            Some(Status::Resized(size)) => size.width.to_string(),
            Some(Status::Failure(text)) => text,
            _ => String::new(),
        }
    }

    #[test]
    fn of_sizes_that_wait_the_last_counts_but_not_across_a_frame() {
        let mut picture = Picture::default();
        assert!(!picture.is_shown());
        let told = [1, 2].map(|width| picture.resized(size(width)));
        picture.framed();
        let more = [3, 4].map(|width| picture.resized(size(width)));
        assert_eq!((told, more), ([true, false], [true, false]));
        assert_eq!(said(picture.turn()), "2");
        assert!(picture.is_shown());
        assert_eq!(said(picture.turn()), "4");
        assert!(picture.turn().is_none());
    }

    #[test]
    fn what_is_too_large_is_withheld_until_it_is_not() {
        let mut picture = Picture::default();
        assert!(picture.limit(limit(20)).is_none());
        picture.resized(size(21));
        let withheld = "withheld: 21 x 10 is larger than 20 x any";
        assert_eq!(said(picture.turn()), withheld);
        assert!(!picture.is_shown());
        picture.resized(size(20));
        assert_eq!(said(picture.turn()), "20");
        assert!(picture.is_shown());
    }

    #[test]
    fn another_limit_is_about_the_size_that_the_script_knows() {
        let mut picture = Picture::default();
        picture.resized(size(30));
        picture.turn();
        assert_eq!(
            said(picture.limit(limit(20))),
            "withheld: 30 x 10 is larger than 20 x any"
        );
        assert!(picture.limit(limit(10)).is_none(), "not withheld twice");
        assert!(!picture.is_shown());
        assert_eq!(said(picture.limit(Limit::default())), "30");
        assert!(picture.limit(limit(30)).is_none(), "not announced twice");
        assert!(!picture.is_shown(), "before its turn");
        assert_eq!(said(picture.turn()), "30");
        assert!(picture.is_shown());
    }

    #[test]
    fn a_limit_that_is_lifted_does_not_announce_an_old_size_before_a_new_one() {
        let mut picture = Picture::default();
        picture.limit(limit(20));
        picture.resized(size(30));
        picture.turn();
        picture.resized(size(40));
        assert!(picture.limit(limit(50)).is_none());
        assert!(!picture.is_shown());
        assert_eq!(said(picture.turn()), "40");
    }
}
