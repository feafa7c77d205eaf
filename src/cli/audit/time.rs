//! Moments, as people write and read them: UTC, whatever the place.

use std::time::Duration;

use thiserror::Error;

use crate::cli::duration;

/// A moment that somebody names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Wall clock, ms since 1970.
    At(u64),
    /// So long before now.
    Ago(Duration),
}

/// Why a text is no moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a time is 2026-11-21, 2026-11-21T10:30 or 2026-11-21T10:30:15Z (UTC), or so long ago: 90s, 10m, 2h, 1d"
)]
pub(crate) struct TimeError;

impl When {
    /// Wall clock, ms since 1970.
    pub(super) fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(long) => {
                now_ms.saturating_sub(u64::try_from(long.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Reads a moment.
pub(super) fn parse(text: &str) -> Result<When, TimeError> {
    if let Ok(long) = duration::parse(text) {
        return Ok(When::Ago(long));
    }
    let text = text.trim_end_matches('Z');
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let [year, month, day] = numbers(date, '-').ok_or(TimeError)?;
    let [hour, minute, second] = match time.matches(':').count() {
        1 => numbers(time, ':').map(|[hour, minute]| [hour, minute, 0]),
        _ => numbers(time, ':'),
    }
    .ok_or(TimeError)?;
    let days = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day);
    if !days || hour > 23 || minute > 59 || second > 60 {
        return Err(TimeError);
    }
    let before: u64 = (1970..year).map(days_of_year).sum::<u64>()
        + (1..month).map(|month| days_of(year, month)).sum::<u64>();
    let seconds = (before + day - 1) * DAY + hour * 3600 + minute * 60 + second;
    Ok(When::At(seconds * 1000))
}

/// `2026-11-21 10:30:15Z`.
pub(super) fn text(ms: u64) -> String {
    let seconds = ms / 1000;
    let (mut days, rest) = (seconds / DAY, seconds % DAY);
    let mut year = 1970;
    // Times that nobody will see are not worth the wait.
    while days >= days_of_year(year) && year < 9999 {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let day = days + 1;
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

fn numbers<const N: usize>(text: &str, between: char) -> Option<[u64; N]> {
    let number = |digits: &str| {
        let short = (1..=4).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
        short.then(|| digits.parse().ok()).flatten()
    };
    let numbers: Option<Vec<u64>> = text.split(between).map(number).collect();
    numbers?.try_into().ok()
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

const DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn moments_as_people_write_them() {
        assert_eq!(parse("1970-01-01"), Ok(When::At(0)));
        assert_eq!(
            parse("2024-02-29T23:59:59Z"),
            Ok(When::At(1_709_251_199_000))
        );
        assert_eq!(parse("2026-11-21 10:30"), Ok(When::At(1_795_257_000_000)));
        assert_eq!(parse("2h"), Ok(When::Ago(Duration::from_secs(7200))));
        assert_eq!(When::Ago(Duration::from_secs(2)).ms(5000), 3000);
        for wrong in [
            "",
            "yesterday",
            "2026-11",
            "2026-13-01",
            "2026-02-29",
            "2026-11-21T24:00",
            "2026-11-21T10",
            "26-11-21x",
            "1969-01-01",
            "2026-11-21T1:2:3:4",
            "-1-1-1",
        ] {
            assert_eq!(parse(wrong), Err(TimeError), "{wrong}");
        }
    }

    #[test]
    fn moments_as_people_read_them() {
        assert_eq!(text(0), "1970-01-01 00:00:00Z");
        assert_eq!(text(951_782_400_999), "2000-02-29 00:00:00Z");
        assert!(!text(u64::MAX).is_empty());
    }

    proptest! {
        #[test]
        fn a_moment_is_read_as_it_is_written(seconds in 0..253_000_000_000u64) {
            prop_assert_eq!(parse(&text(seconds * 1000)), Ok(When::At(seconds * 1000)));
        }
    }
}
