//! Which records are meant.

use data_encoding::HEXLOWER;
use serde_json::Value;

use super::args::Wanted;
use crate::cli::rooms;

/// [`Wanted`], at this time.
#[derive(Debug)]
pub(super) struct Filter<'a> {
    wanted: &'a Wanted,
    since_ms: u64,
    until_ms: u64,
}

impl<'a> Filter<'a> {
    pub(super) fn new(wanted: &'a Wanted) -> Self {
        let now_ms = rooms::now().wall_ms;
        Self {
            wanted,
            since_ms: wanted.since.map_or(0, |when| when.at_ms(now_ms)),
            until_ms: wanted.until.map_or(u64::MAX, |when| when.at_ms(now_ms)),
        }
    }

    /// Whether a record is meant, by its fields as they stand in its line: they have the same names
    /// in every kind.
    pub(super) fn takes(&self, record: &Value) -> bool {
        let text = |field: &str| record.get(field).and_then(Value::as_str);
        let at_ms = record.get("at_ms").and_then(Value::as_u64).unwrap_or(0);
        let wanted = self.wanted;
        let fits = |wanted: Option<&str>, fit: &dyn Fn(&str) -> bool| wanted.is_none_or(fit);
        (self.since_ms..self.until_ms).contains(&at_ms)
            && fits(wanted.kind.as_deref(), &|kind| text("event") == Some(kind))
            && fits(wanted.name.as_ref().map(|name| name.as_str()), &|name| {
                [text("name"), text("scope")].contains(&Some(name))
            })
            && fits(wanted.window.as_deref(), &|window| {
                text("window").is_some_and(|id| id.starts_with(window))
            })
            && fits(wanted.key.as_deref(), &|key| {
                is_key(key, text("key"), text("label"))
            })
    }
}

fn is_key(wanted: &str, key: Option<&str>, label: Option<&str>) -> bool {
    let Some(key) = key else { return false };
    let hex = key
        .parse::<identity::PublicKey>()
        .map(|key| HEXLOWER.encode(key.as_bytes()))
        .unwrap_or_default();
    label == Some(wanted)
        || (!wanted.is_empty() && (key.starts_with(wanted) || hex.starts_with(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::moment::When;
    use serde_json::json;

    fn nothing() -> Wanted {
        Wanted {
            since: None,
            until: None,
            key: None,
            name: None,
            window: None,
            kind: None,
        }
    }

    #[test]
    fn records_are_chosen_by_what_is_in_them() {
        let key = identity::PublicKey::parse(&[9; 32]).unwrap();
        let record = json!({
            "at_ms": 5000, "event": "accept", "key": key.to_string(), "label": "laptop",
            "scope": "hello", "window": "00000000000000ab",
        });
        let takes = |wanted: Wanted| Filter::new(&wanted).takes(&record);
        let text = |text: &str| Some(text.to_owned());
        assert!(takes(nothing()));
        for (name, is) in [("hello", true), ("hell", false)] {
            assert_eq!(
                takes(Wanted {
                    name: Some(name.parse().unwrap()),
                    ..nothing()
                }),
                is
            );
        }
        for (word, is) in [
            ("laptop", true),
            ("lap", false),
            ("CQkJ", true),
            ("0909", true),
            ("", false),
        ] {
            assert_eq!(
                takes(Wanted {
                    key: text(word),
                    ..nothing()
                }),
                is,
                "{word}"
            );
        }
        for (word, is) in [("00000000000000ab", true), ("0000", true), ("ab", false)] {
            assert_eq!(
                takes(Wanted {
                    window: text(word),
                    ..nothing()
                }),
                is
            );
        }
        for (word, is) in [("accept", true), ("refused", false)] {
            assert_eq!(
                takes(Wanted {
                    kind: text(word),
                    ..nothing()
                }),
                is
            );
        }
        for (ms, since, until) in [(5000, true, false), (5001, false, true)] {
            assert_eq!(
                takes(Wanted {
                    since: Some(When::At(ms)),
                    ..nothing()
                }),
                since
            );
            assert_eq!(
                takes(Wanted {
                    until: Some(When::At(ms)),
                    ..nothing()
                }),
                until
            );
        }
    }
}
