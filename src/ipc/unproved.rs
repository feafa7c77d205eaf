//! How many strangers a listener holds.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many connections of a listener may have proved nothing, written `START:RATE:FULL`.
///
/// Up to START nobody is disturbed. From there on each newcomer pushes one of them out with a
/// chance that grows evenly from RATE per cent to certainty at FULL, and there are never more than
/// FULL. The newcomer itself comes in: who is pushed out is chosen by what it has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unproved {
    start: u32,
    rate: u32,
    full: u32,
}

/// Why a text is no [`Unproved`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UnprovedError {
    /// It has another form.
    #[error("not three numbers as in 256:30:512 (START:RATE:FULL)")]
    Form,
    /// The numbers do not go together.
    #[error(
        "START must be at least 1, RATE at most 100 (per cent), and FULL between START and {}",
        Unproved::MOST
    )]
    Range,
}

impl Unproved {
    /// The highest FULL; each takes a descriptor.
    pub const MOST: u32 = 16_384;

    /// What is usual.
    pub const USUAL: Self = Self {
        start: 256,
        rate: 30,
        full: 512,
    };

    /// Exactly so many, and nobody is pushed out before.
    pub fn at_most(full: u32) -> Self {
        let full = full.clamp(1, Self::MOST);
        Self {
            start: full,
            rate: 100,
            full,
        }
    }

    /// From so many on somebody may be pushed out.
    pub fn start(self) -> u32 {
        self.start
    }

    /// The chance of it there, in per cent.
    pub fn rate(self) -> u32 {
        self.rate
    }

    /// There are never more.
    pub fn full(self) -> u32 {
        self.full
    }
}

impl FromStr for Unproved {
    type Err = UnprovedError;

    fn from_str(text: &str) -> Result<Self, UnprovedError> {
        let mut numbers = text.split(':').map(|number| {
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            number.parse().ok().filter(|_| digits)
        });
        let mut next = || numbers.next().flatten().ok_or(UnprovedError::Form);
        let (start, rate, full) = (next()?, next()?, next()?);
        if numbers.next().is_some() {
            return Err(UnprovedError::Form);
        }
        if start < 1 || rate > 100 || full < start || full > Self::MOST {
            return Err(UnprovedError::Range);
        }
        Ok(Self { start, rate, full })
    }
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.start, self.rate, self.full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        for text in ["256:30:512", "1:0:1", "10:100:16384"] {
            assert_eq!(text.parse::<Unproved>().unwrap().to_string(), text);
        }
        assert_eq!(Ok(Unproved::USUAL), "256:30:512".parse());
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in [
            "", "512", "1:2", "1:2:3:4", "a:b:c", "+1:2:3", "-1:2:3", "1::3",
        ] {
            assert_eq!(text.parse::<Unproved>(), Err(UnprovedError::Form), "{text}");
        }
        for text in ["0:30:512", "512:30:256", "1:101:2", "1:30:16385"] {
            assert_eq!(
                text.parse::<Unproved>(),
                Err(UnprovedError::Range),
                "{text}"
            );
        }
    }
}
