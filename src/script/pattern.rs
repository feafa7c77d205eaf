//! How long a Lua pattern will take.
//!
//! The VM's own matcher cannot be interrupted, and a short pattern can keep it busy for years. So a
//! call that might take long is first run here, where every step counts: the same matching, without
//! its results. What is through here in time is through there in less.

/// Why no answer was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// The pattern is not one; the VM says what is wrong with it.
    Malformed,
    /// It was told to give up.
    GivenUp,
}

/// What is done with a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    /// The text itself is looked for.
    Plain,
    /// The first match is looked for.
    First,
    /// All matches, one behind the other, are looked for; `^` is an anchor.
    All,
    /// All matches are looked for; `^` is a character.
    Each,
}

/// Nested this deep the VM gives up, too.
const MAX_DEPTH: u32 = 200;

const MAX_CAPTURES: usize = 32;

/// So many steps are made between questions whether to go on.
const STRIDE: u64 = 100_000;

/// Does the work of a search from `start`; `goes_on` is asked from time to time.
pub(super) fn work(
    text: &[u8],
    pattern: &[u8],
    start: usize,
    search: Search,
    goes_on: impl FnMut() -> bool,
) -> Result<(), Halt> {
    let mut matcher = Matcher {
        text,
        pattern,
        captures: Vec::new(),
        depth: 0,
        left: STRIDE,
        goes_on,
    };
    match search {
        Search::Plain => matcher.plain(start),
        Search::First | Search::All | Search::Each => matcher.search(start, search),
    }
}

#[derive(Debug, Clone, Copy)]
enum Capture {
    Open(usize),
    Position,
    Closed(usize, usize),
}

struct Matcher<'a, F> {
    text: &'a [u8],
    pattern: &'a [u8],
    captures: Vec<Capture>,
    depth: u32,
    left: u64,
    goes_on: F,
}

impl<F: FnMut() -> bool> Matcher<'_, F> {
    fn step(&mut self, steps: usize) -> Result<(), Halt> {
        match self.left.checked_sub(steps as u64) {
            Some(left) => self.left = left,
            None if (self.goes_on)() => self.left = STRIDE,
            None => return Err(Halt::GivenUp),
        }
        Ok(())
    }

    fn plain(&mut self, start: usize) -> Result<(), Halt> {
        let text = self.text.get(start..).unwrap_or_default();
        for rest in text.windows(self.pattern.len().max(1)) {
            let same = rest.iter().zip(self.pattern).take_while(|(a, b)| a == b);
            let same = same.count();
            self.step(1 + same)?;
            if same == self.pattern.len() {
                break;
            }
        }
        Ok(())
    }

    fn search(&mut self, start: usize, search: Search) -> Result<(), Halt> {
        let anchored = search != Search::Each && self.pattern.first() == Some(&b'^');
        let begin = usize::from(anchored);
        let mut at = start;
        while at <= self.text.len() {
            self.captures.clear();
            self.depth = 0;
            self.step(1)?;
            let end = self.matches(at, begin)?;
            if anchored || (end.is_some() && search == Search::First) {
                break;
            }
            at = end.filter(|end| *end > at).unwrap_or(at + 1);
        }
        Ok(())
    }

    /// A byte of the pattern; behind its end there is a zero, which ends it, too.
    fn p(&self, at: usize) -> u8 {
        self.pattern.get(at).copied().unwrap_or_default()
    }

    /// Where the pattern from `p` on ends in the text, if it begins at `s`.
    fn matches(&mut self, s: usize, p: usize) -> Result<Option<usize>, Halt> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Halt::Malformed);
        }
        let end = self.item(s, p)?;
        self.depth -= 1;
        Ok(end)
    }

    fn item(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, Halt> {
        loop {
            self.step(1)?;
            match (self.p(p), self.p(p + 1)) {
                (0, _) => return Ok(Some(s)),
                (b'(', b')') => return self.begin(s, p + 2, Capture::Position),
                (b'(', _) => return self.begin(s, p + 1, Capture::Open(s)),
                (b')', _) => return self.finish(s, p + 1),
                (b'$', 0) => return Ok((s == self.text.len()).then_some(s)),
                (b'%', b'b') => match self.balance(s, p + 2)? {
                    Some(end) => (s, p) = (end, p + 4),
                    None => return Ok(None),
                },
                (b'%', b'f') => {
                    if self.p(p + 2) != b'[' {
                        return Err(Halt::Malformed);
                    }
                    let end = self.class_end(p + 2)?;
                    let before = s.checked_sub(1).and_then(|before| self.text.get(before));
                    let here = self.text.get(s);
                    let [before, here] = [before, here].map(|byte| byte.copied().unwrap_or(0));
                    if self.in_set(before, p + 2, end - 1) || !self.in_set(here, p + 2, end - 1) {
                        return Ok(None);
                    }
                    p = end;
                }
                (b'%', digit) if digit.is_ascii_digit() => match self.again(s, digit)? {
                    Some(end) => (s, p) = (end, p + 2),
                    None => return Ok(None),
                },
                _ => {
                    let end = self.class_end(p)?;
                    let one = self.one(s, p, end)?;
                    match self.p(end) {
                        b'?' => {
                            if one && let Some(end) = self.matches(s + 1, end + 1)? {
                                return Ok(Some(end));
                            }
                            p = end + 1;
                        }
                        b'*' => return self.most(s, p, end),
                        b'+' if one => return self.most(s + 1, p, end),
                        b'-' => return self.least(s, p, end),
                        b'+' => return Ok(None),
                        _ if one => (s, p) = (s + 1, end),
                        _ => return Ok(None),
                    }
                }
            }
        }
    }

    /// As many as there are, then fewer.
    fn most(&mut self, s: usize, p: usize, end: usize) -> Result<Option<usize>, Halt> {
        let mut count = 0;
        while self.one(s + count, p, end)? {
            count += 1;
        }
        for count in (0..=count).rev() {
            if let Some(end) = self.matches(s + count, end + 1)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// None, then more.
    fn least(&mut self, mut s: usize, p: usize, end: usize) -> Result<Option<usize>, Halt> {
        loop {
            if let Some(end) = self.matches(s, end + 1)? {
                return Ok(Some(end));
            }
            if !self.one(s, p, end)? {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn begin(&mut self, s: usize, p: usize, capture: Capture) -> Result<Option<usize>, Halt> {
        if self.captures.len() >= MAX_CAPTURES {
            return Err(Halt::Malformed);
        }
        self.captures.push(capture);
        let level = self.captures.len() - 1;
        let end = self.matches(s, p)?;
        if end.is_none() {
            self.captures.truncate(level);
        }
        Ok(end)
    }

    fn finish(&mut self, s: usize, p: usize) -> Result<Option<usize>, Halt> {
        let open = self.captures.iter().enumerate().rev();
        let mut open = open.filter_map(|(at, capture)| match capture {
            Capture::Open(start) => Some((at, *start)),
            _ => None,
        });
        let (level, start) = open.next().ok_or(Halt::Malformed)?;
        self.set(level, Capture::Closed(start, s));
        let end = self.matches(s, p)?;
        if end.is_none() {
            self.set(level, Capture::Open(start));
        }
        Ok(end)
    }

    fn set(&mut self, level: usize, capture: Capture) {
        if let Some(place) = self.captures.get_mut(level) {
            *place = capture;
        }
    }

    /// `%1`: what was captured, once more.
    fn again(&mut self, s: usize, digit: u8) -> Result<Option<usize>, Halt> {
        let level = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let Some(Capture::Closed(from, to)) = self.captures.get(level).copied() else {
            return Err(Halt::Malformed);
        };
        self.step((to - from) / 16)?;
        let captured = self.text.get(from..to).unwrap_or_default();
        let rest = self.text.get(s..).unwrap_or_default();
        Ok(rest.starts_with(captured).then_some(s + captured.len()))
    }

    /// `%bxy`.
    fn balance(&mut self, s: usize, p: usize) -> Result<Option<usize>, Halt> {
        let (open, close) = (self.p(p), self.p(p + 1));
        if open == 0 || close == 0 {
            return Err(Halt::Malformed);
        }
        if self.text.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1_usize;
        let mut at = s + 1;
        while let Some(&byte) = self.text.get(at) {
            self.step(1)?;
            at += 1;
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    /// Where the single-character class at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Halt> {
        match self.p(p) {
            b'%' if self.p(p + 1) == 0 => Err(Halt::Malformed),
            b'%' => Ok(p + 2),
            b'[' => {
                let mut at = p + 1 + usize::from(self.p(p + 1) == b'^');
                loop {
                    match self.p(at) {
                        0 => return Err(Halt::Malformed),
                        b'%' if self.p(at + 1) != 0 => at += 2,
                        _ => at += 1,
                    }
                    if self.p(at) == b']' {
                        return Ok(at + 1);
                    }
                }
            }
            _ => Ok(p + 1),
        }
    }

    /// Whether the character at `s` is of the class from `p` to `end`.
    fn one(&mut self, s: usize, p: usize, end: usize) -> Result<bool, Halt> {
        self.step(end - p)?;
        let Some(&byte) = self.text.get(s) else {
            return Ok(false);
        };
        Ok(match self.p(p) {
            b'.' => true,
            b'%' => is_of(byte, self.p(p + 1)),
            b'[' => self.in_set(byte, p, end - 1),
            other => byte == other,
        })
    }

    /// Whether a character is in the set from its `[` at `p` to its `]` at `end`.
    fn in_set(&self, byte: u8, p: usize, end: usize) -> bool {
        let negated = self.p(p + 1) == b'^';
        let mut at = p + 1 + usize::from(negated);
        while at < end {
            let here = self.p(at);
            if here == b'%' {
                if is_of(byte, self.p(at + 1)) {
                    return !negated;
                }
                at += 2;
            } else if self.p(at + 1) == b'-' && at + 2 < end {
                if (here..=self.p(at + 2)).contains(&byte) {
                    return !negated;
                }
                at += 3;
            } else {
                if here == byte {
                    return !negated;
                }
                at += 1;
            }
        }
        negated
    }
}

/// Whether a character is of the class `%class`.
fn is_of(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return byte == class,
    };
    is != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn first(text: &[u8], pattern: &[u8], steps: u64) -> (Result<Option<usize>, Halt>, bool) {
        let mut matcher = Matcher {
            text,
            pattern,
            captures: Vec::new(),
            depth: 0,
            left: steps,
            goes_on: || false,
        };
        let end = matcher.matches(0, 0);
        (end, matcher.left > 0)
    }

    proptest! {
        /// What it finds is what the VM finds, so its steps are the VM's.
        #[test]
        fn it_matches_what_the_vm_matches(
            text in "[a-c()\\]\\[ -]{0,12}",
            pattern in "[a-c()\\[\\]%^$*+?.bfsw1 -]{0,8}",
        ) {
            let lua = mlua::Lua::new();
            let find: mlua::Function = lua
                .load("return function(s, p) return pcall(string.find, s, '^' .. p) end")
                .eval()
                .unwrap();
            let (well, from, to) = find
                .call::<(bool, mlua::Value, Option<usize>)>((text.as_str(), pattern.as_str()))
                .unwrap();
            let (ours, _) = first(text.as_bytes(), pattern.as_bytes(), u64::MAX);
            match (well, ours) {
                // A capture that is left open is a mistake that only shows where it is given back.
                (false, ours) => prop_assert!(
                    ours == Err(Halt::Malformed) || pattern.contains('('), "{ours:?} {from:?}"
                ),
                (true, ours) => prop_assert_eq!(ours, Ok(to)),
            }
        }
    }

    #[test]
    fn what_would_take_for_ever_is_given_up() {
        let text = b"a".repeat(5000);
        let pattern = [b".-".repeat(12), b"b".to_vec()].concat();
        let mut asked = 0;
        let done = work(&text, &pattern, 0, Search::First, || {
            asked += 1;
            asked < 10
        });
        assert_eq!((done, asked), (Err(Halt::GivenUp), 10));
    }

    #[test]
    fn ordinary_work_is_done_without_asking() {
        let text = b"name = value, ".repeat(100);
        for search in [Search::First, Search::All, Search::Each, Search::Plain] {
            let done = work(&text, b"(%w+)%s*=%s*(%w+)", 0, search, || false);
            assert_eq!(done, Ok(()));
        }
    }
}
