//! How long, as people write it: `90`, `90s`, `10m`, `2h`, `1d`.

use std::time::Duration;

use thiserror::Error;

/// Why a text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a duration is a number of seconds, or a number with s, m, h or d: 90s, 10m, 2h, 1d")]
pub(super) struct DurationError;

/// Reads a duration; nothing is no duration.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let seconds = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m") => MINUTE,
        Some("h") => HOUR,
        Some("d") => DAY,
        _ => return Err(DurationError),
    };
    let number: u32 = digits.parse().map_err(|_| DurationError)?;
    match u64::from(number) * seconds {
        0 => Err(DurationError),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

/// Reads a duration that may be less than a second: `50ms`, or as [`parse`] has it.
pub(super) fn brief(text: &str) -> Result<Duration, DurationError> {
    match text.strip_suffix("ms") {
        Some(digits) => match digits.parse::<u32>() {
            Ok(0) | Err(_) => Err(DurationError),
            Ok(ms) => Ok(Duration::from_millis(ms.into())),
        },
        None => parse(text),
    }
}

/// Reads a duration, or `0` for none.
pub(super) fn or_none(text: &str) -> Result<Duration, DurationError> {
    match text {
        "0" | "0s" => Ok(Duration::ZERO),
        text => brief(text),
    }
}

/// The largest unit that fits, rounded down: `9 min`.
pub(super) fn text(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..MINUTE => format!("{seconds} s"),
        seconds @ MINUTE..HOUR => format!("{} min", seconds / MINUTE),
        seconds @ HOUR..DAY => format!("{} h", seconds / HOUR),
        seconds if seconds < 2 * DAY => "1 day".into(),
        seconds => format!("{} days", seconds / DAY),
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        assert_eq!(parse("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(parse("1d"), Ok(Duration::from_secs(86400)));
        for wrong in [
            "",
            "m",
            "0",
            "0m",
            "-1",
            "1.5h",
            "10 m",
            "10w",
            "99999999999",
            "10ms",
        ] {
            assert_eq!(parse(wrong), Err(DurationError), "{wrong}");
        }
    }

    #[test]
    fn some_durations_are_less_than_a_second() {
        assert_eq!(brief("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(brief("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(brief("0ms"), Err(DurationError));
    }

    #[test]
    fn none_is_said_as_zero_where_none_makes_sense() {
        assert_eq!(or_none("0"), Ok(Duration::ZERO));
        assert_eq!(or_none("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(or_none("0m"), Err(DurationError));
        assert_eq!(or_none(""), Err(DurationError));
    }

    #[test]
    fn durations_as_people_read_them() {
        let of = |seconds| text(Duration::from_secs(seconds));
        assert_eq!(of(0), "0 s");
        assert_eq!(of(599), "9 min");
        assert_eq!(of(7199), "1 h");
        assert_eq!(of(86400), "1 day");
        assert_eq!(of(3 * 86400), "3 days");
    }
}
