//! Moments, as people write and read them: `30d`, `2027-01-31`, `2027-01-31T18:00:00Z`, `never`.

use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::duration;

/// Until when something is to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// For ever.
    Never,
    /// For so long from now on.
    In(Duration),
    /// Until this moment: wall clock, ms since 1970.
    At(u64),
}

/// Since when, or until when, something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// So long before now.
    Ago(Duration),
    /// At this moment: wall clock, ms since 1970.
    At(u64),
}

/// Why a text is no [`When`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a time is a date (2026-11-21), a date and time (2026-11-21T10:30Z), or so long ago: 90s, 10m, 2h, 1d"
)]
pub(super) struct WhenError;

impl When {
    /// Wall clock, ms since 1970.
    pub(super) fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(time) => {
                now_ms.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
            }
        }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        if !digits(text)
            && let Ok(time) = duration::parse(text)
        {
            return Ok(Self::Ago(time));
        }
        parse(text).map(Self::At).ok_or(WhenError)
    }
}

/// Why a text is no [`Until`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "a time is a duration from now on (90s, 10m, 2h, 30d), a date (2027-01-31), \
     a date and time (2027-01-31T18:00:00Z), or never"
)]
pub(super) struct MomentError;

impl Until {
    /// As the keystore has it: wall clock, ms since 1970; `None`: for ever.
    pub(super) fn at_ms(self, now_ms: u64) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::In(time) => {
                let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
                Some(now_ms.saturating_add(ms))
            }
            Self::At(ms) => Some(ms),
        }
    }
}

impl FromStr for Until {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        if text == "never" {
            return Ok(Self::Never);
        }
        // A number alone is as likely meant as a year.
        if !digits(text)
            && let Ok(time) = duration::parse(text)
        {
            return Ok(Self::In(time));
        }
        parse(text).map(Self::At).ok_or(MomentError)
    }
}

/// A date (its beginning, UTC), or a date and time of RFC 3339, as ms since 1970.
fn parse(text: &str) -> Option<u64> {
    let (date, time) = match text.split_once(['T', 't', ' ']) {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let days = days(year, month, day)?;
    let seconds = match time {
        None => 0,
        Some(time) => seconds(time)?,
    };
    let ms = (days * DAY + seconds).checked_mul(1000)?;
    u64::try_from(ms).ok()
}

/// `HH:MM` or `HH:MM:SS`, perhaps with a fraction, and `Z` or an offset, as seconds of the day in
/// UTC.
fn seconds(text: &str) -> Option<i64> {
    let (clock, offset) = match text.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let at = text.rfind(['+', '-'])?;
            let (clock, offset) = text.split_at_checked(at)?;
            let (sign, offset) = match offset.strip_prefix('-') {
                Some(offset) => (-1, offset),
                None => (1, offset.strip_prefix('+')?),
            };
            let [hours, minutes] = numbers(offset, ':', [2, 2])?;
            let offset = (hours < 24 && minutes < 60).then_some(hours * HOUR + minutes * MINUTE)?;
            (clock, sign * offset)
        }
    };
    let clock = match clock.split_once('.') {
        // What is less than a second makes no difference to anybody.
        Some((clock, rest)) if !rest.is_empty() && digits(rest) => clock,
        Some(_) => return None,
        None => clock,
    };
    let [hour, minute, second] = match clock.len() {
        5 => numbers(clock, ':', [2, 2]).map(|[hour, minute]| [hour, minute, 0])?,
        _ => numbers(clock, ':', [2, 2, 2])?,
    };
    (hour < 24 && minute < 60 && second < 60)
        .then_some(hour * HOUR + minute * MINUTE + second - offset)
}

/// Numbers of these lengths with a character between them.
fn numbers<const N: usize>(text: &str, between: char, lengths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(between);
    let mut found = [0; N];
    for (place, length) in found.iter_mut().zip(lengths) {
        let part = parts.next()?;
        if part.len() != length || !digits(part) {
            return None;
        }
        *place = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, if there is such a date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    // Counted in years that begin in March, the leap day is the last one.
    let (shifted, month_from_march) = match month {
        1 | 2 => (year - 1, month + 9),
        3..=12 => (year, month - 3),
        _ => return None,
    };
    let leaps = shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400);
    let before = (153 * month_from_march + 2) / 5;
    let days = shifted * 365 + leaps + before + day - 1 - TO_1970;
    // A day that the month does not have is another date.
    (date(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of so many days since 1970-01-01.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + TO_1970;
    let era = days.div_euclid(ERA);
    let of_era = days.rem_euclid(ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (year + era * 400 + next, month, day)
}

/// A moment, ms since 1970, as RFC 3339 has it, in UTC.
pub(super) fn text(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let of_day = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (of_day / HOUR, of_day % HOUR / MINUTE, of_day % MINUTE);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// How far away a moment is: `in 9 min`, `3 days ago`.
pub(super) fn distance(ms: u64, now_ms: u64) -> String {
    match ms.checked_sub(now_ms) {
        Some(ahead) if ahead > 0 => {
            format!("in {}", duration::text(Duration::from_millis(ahead)))
        }
        _ => format!(
            "{} ago",
            duration::text(Duration::from_millis(now_ms.saturating_sub(ms)))
        ),
    }
}

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Days in four hundred years.
const ERA: i64 = 146_097;

/// From the first of March of the year 0 to 1970-01-01, in days.
const TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Option<u64> {
        match text.parse() {
            Ok(Until::At(ms)) => Some(ms / 1000),
            _ => None,
        }
    }

    #[test]
    fn moments_as_people_write_them() {
        assert_eq!(at("1970-01-01"), Some(0));
        assert_eq!(at("2000-02-29"), Some(951_782_400));
        assert_eq!(at("2027-01-31"), Some(1_801_353_600));
        assert_eq!(at("2027-01-31T18:00:00Z"), Some(1_801_418_400));
        assert_eq!(at("2027-01-31T20:00:00.5+02:00"), Some(1_801_418_400));
        assert_eq!(at("2027-01-31t13:30:00-04:30"), Some(1_801_418_400));
        assert_eq!(at("2027-01-31 18:00Z"), Some(1_801_418_400));
        let hours = Duration::from_secs(7200);
        assert_eq!("2h".parse(), Ok(When::Ago(hours)));
        assert_eq!(When::Ago(hours).at_ms(7_200_005), 5);
        assert_eq!("1970-01-02".parse(), Ok(When::At(86_400_000)));
        assert_eq!("1970".parse::<When>(), Err(WhenError));
        assert_eq!("never".parse(), Ok(Until::Never));
        let month = Duration::from_secs(30 * 86400);
        assert_eq!("30d".parse(), Ok(Until::In(month)));
        assert_eq!(Until::In(month).at_ms(5), Some(30 * 86_400_000 + 5));
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for wrong in [
            "",
            "soon",
            "2027",
            "2027-1-31",
            "2027-02-29",
            "2027-13-01",
            "2027-00-10",
            "1969-12-31",
            "2027-01-31T",
            "2027-01-31T18:00:00",
            "2027-01-31T24:00:00Z",
            "2027-01-31T18:60:00Z",
            "2027-01-31T18:00:00.Z",
            "2027-01-31T18:00:00+25:00",
            "+027-01-31",
        ] {
            assert_eq!(wrong.parse::<Until>(), Err(MomentError), "{wrong}");
        }
    }

    #[test]
    fn moments_as_people_read_them() {
        assert_eq!(text(1_801_418_400_999), "2027-01-31T18:00:00Z");
        assert_eq!(distance(120_000, 0), "in 2 min");
        assert_eq!(distance(0, 3 * 86_400_000), "3 days ago");
    }

    proptest! {
        #[test]
        fn a_moment_is_read_as_it_is_written(seconds in 0_u64..253_402_300_800) {
            let text = text(seconds * 1000);
            prop_assert_eq!(text.parse(), Ok(Until::At(seconds * 1000)));
        }
    }
}
