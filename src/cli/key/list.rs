//! Keys and sessions in rows.

use std::cmp::Reverse;

use keystore::{Entry, How, Scope, Standing};
use serde::Serialize;

use super::change::Session;
use super::words::scopes;
use super::{in_base64, now_ms};
use crate::cli::admin::Admin;
use crate::cli::args::{ListKeys, Sessions, Sort};
use crate::cli::exit::Failure;
use crate::cli::output::{Output, printable};
use crate::cli::{moment, named};

/// Prints those that are wanted, in the order that is.
pub(super) fn list(mut keys: Vec<Entry>, wanted: &ListKeys, out: &Output) -> Result<(), Failure> {
    let now_ms = now_ms();
    let short = shortest(&keys);
    let all = keys.len();
    keys.retain(|entry| is_wanted(entry, wanted, now_ms));
    sort(&mut keys, wanted.sort);
    if wanted.reverse {
        keys.reverse();
    }
    if wanted.json.json {
        let keys: Vec<_> = keys.iter().map(|entry| Shown::of(entry, now_ms)).collect();
        return out.json(&keys);
    }
    if keys.is_empty() && out.terminal {
        return out.line(match all {
            0 => "no keys are known; `moonport key accept` and `moonport window open` let some in",
            _ => "no key is like that; `moonport key list` shows all",
        });
    }
    let rows: Vec<_> = keys
        .iter()
        .map(|entry| {
            let key = entry.key.to_string();
            [
                match wanted.full {
                    true => key,
                    false => key.chars().take(short).collect(),
                },
                printable(entry.label.as_deref().unwrap_or_default()),
                state(entry, now_ms).into(),
                scopes(entry),
                format!(
                    "{}, {}",
                    moment::distance(entry.added.at_ms, now_ms),
                    how(entry)
                ),
                entry
                    .expires_ms
                    .map_or_else(|| "-".into(), |end| moment::distance(end, now_ms)),
                entry.seen.map_or_else(
                    || "never".into(),
                    |seen| moment::distance(seen.at_ms, now_ms),
                ),
            ]
        })
        .collect();
    let titles = [
        "KEY",
        "LABEL",
        "STATE",
        "ACCEPTED FOR",
        "ADDED",
        "EXPIRES",
        "LAST SEEN",
    ];
    out.table(titles, &rows)
}

/// How many characters of base64 tell the keys apart.
pub(super) fn shortest(keys: &[Entry]) -> usize {
    let mut texts: Vec<_> = keys.iter().map(|entry| entry.key.to_string()).collect();
    texts.sort();
    let alike = |pair: &[String]| match pair {
        [one, other] => one
            .bytes()
            .zip(other.bytes())
            .take_while(|(a, b)| a == b)
            .count(),
        _ => 0,
    };
    let most = texts.windows(2).map(alike).max().unwrap_or_default();
    SHORT.max(most + 1)
}

fn is_wanted(entry: &Entry, wanted: &ListKeys, now_ms: u64) -> bool {
    let scope = match &wanted.scope {
        None => true,
        Some(Scope::Any) => entry.scopes.contains(&Scope::Any),
        Some(Scope::Name(name)) => entry.scopes.iter().any(|scope| scope.covers(name)),
    };
    let state = wanted
        .state
        .is_none_or(|state| Standing::from(state) == entry.standing);
    let label = wanted.label.as_deref().is_none_or(|text| {
        let label = entry.label.as_deref().unwrap_or_default();
        label.contains(text)
    });
    let unseen = wanted.unseen_for.is_none_or(|time| {
        let last = entry.seen.map_or(entry.added.at_ms, |seen| seen.at_ms);
        u128::from(now_ms.saturating_sub(last)) >= time.as_millis()
    });
    scope && state && label && unseen && (!wanted.expired || is_over(entry, now_ms))
}

fn is_over(entry: &Entry, now_ms: u64) -> bool {
    entry.expires_ms.is_some_and(|end| end <= now_ms)
}

/// One word for where a key stands now.
pub(super) fn state(entry: &Entry, now_ms: u64) -> &'static str {
    match entry.standing {
        Standing::Accepted if is_over(entry, now_ms) => "expired",
        standing => standing.describe(),
    }
}

fn sort(keys: &mut [Entry], by: Sort) {
    match by {
        Sort::Key => keys.sort_by_key(|entry| entry.key.to_string()),
        Sort::Label => keys.sort_by_key(|entry| (entry.label.is_none(), entry.label.clone())),
        Sort::Added => keys.sort_by_key(|entry| entry.added.at_ms),
        Sort::Seen => keys.sort_by_key(|entry| entry.seen.map(|seen| seen.at_ms)),
        // Nothing is less than something.
        Sort::Expires => keys.sort_by_key(|entry| Reverse(entry.expires_ms.map(Reverse))),
    }
}

/// By which way a key came in.
pub(super) fn how(entry: &Entry) -> String {
    match entry.added.how {
        How::Named => "named".into(),
        How::Imported => "imported".into(),
        How::Window(window) => {
            let number: String = window.to_string().chars().take(SHORT).collect();
            format!("window {number}")
        }
    }
}

/// Prints who is in.
pub(super) async fn sessions(
    admin: &mut Admin,
    wanted: &Sessions,
    out: &Output,
) -> Result<(), Failure> {
    let keys = admin.keys().await?;
    let key = match &wanted.key {
        Some(text) => Some(named::key(text, &keys)?),
        None => None,
    };
    let mut sessions = admin.sessions().await?;
    sessions.retain(|session| {
        key.is_none_or(|key| session.key == Some(key))
            && wanted
                .name
                .as_ref()
                .is_none_or(|name| session.name == *name)
    });
    if wanted.json.json {
        return out.json(&sessions.iter().map(Session::of).collect::<Vec<_>>());
    }
    if sessions.is_empty() && out.terminal {
        return out.line("nobody is in");
    }
    let (short, now_ms) = (shortest(&keys), now_ms());
    let rows: Vec<_> = sessions
        .iter()
        .map(|session| {
            let entry = keys.iter().find(|entry| Some(entry.key) == session.key);
            let label = entry.and_then(|entry| entry.label.as_deref());
            [
                session.session.to_string(),
                session.name.to_string(),
                match session.key {
                    Some(key) => key.to_string().chars().take(short).collect(),
                    None => "-".to_owned(),
                },
                printable(label.unwrap_or_default()),
                session.from.to_string(),
                moment::distance(session.since_ms, now_ms),
            ]
        })
        .collect();
    out.table(["SESSION", "NAME", "KEY", "LABEL", "FROM", "SINCE"], &rows)
}

/// A known key, for programs.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    #[serde(serialize_with = "in_base64")]
    key: identity::PublicKey,
    fingerprint: String,
    state: &'static str,
    scopes: Vec<&'a str>,
    label: Option<&'a str>,
    comment: Option<&'a str>,
    added_ms: u64,
    added_by: String,
    how: &'static str,
    window: Option<String>,
    expires_ms: Option<u64>,
    seen_ms: Option<u64>,
    seen_from: Option<String>,
}

impl<'a> Shown<'a> {
    pub(super) fn of(entry: &'a Entry, now_ms: u64) -> Self {
        let (how, window) = match entry.added.how {
            How::Named => ("named", None),
            How::Imported => ("imported", None),
            How::Window(window) => ("window", Some(window.to_string())),
        };
        Self {
            key: entry.key,
            fingerprint: entry.key.fingerprint().to_string(),
            state: state(entry, now_ms),
            scopes: entry.scopes.iter().map(Scope::as_str).collect(),
            label: entry.label.as_deref(),
            comment: entry.comment.as_deref(),
            added_ms: entry.added.at_ms,
            added_by: entry.added.by.to_string(),
            how,
            window,
            expires_ms: entry.expires_ms,
            seen_ms: entry.seen.map(|seen| seen.at_ms),
            seen_from: entry.seen.map(|seen| seen.from.to_string()),
        }
    }
}

/// At least so many characters of a key or a window's number are shown.
pub(super) const SHORT: usize = 8;

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use crate::cli::args::{Cli, Command, Key};
    use clap::Parser;
    use keystore::Seen;

    fn wanted(flags: &str) -> ListKeys {
        let line = format!("moonport key list {flags}");
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Key(Key::List(wanted)) = cli.command else {
            panic!("no list");
        };
        wanted
    }

    fn is_shown(entry: &Entry, flags: &str) -> bool {
        is_wanted(entry, &wanted(flags), DAY)
    }

    const DAY: u64 = 86_400_000;

    #[test]
    fn a_list_for_a_name_shows_all_that_are_accepted_there() {
        let entry = |scopes: &[&str]| example(7, scopes, Standing::Accepted);
        assert!(is_shown(&entry(&["hello", "x"]), "--scope hello"));
        assert!(is_shown(&entry(&["*"]), "--scope hello"));
        assert!(!is_shown(&entry(&["x"]), "--scope hello"));
        assert!(is_shown(&entry(&["x"]), ""));
        assert!(!is_shown(&entry(&["hello"]), "--scope *"));
    }

    #[test]
    fn a_list_shows_what_is_wanted() {
        let mut entry = example(7, &["hello"], Standing::Disabled);
        assert!(is_shown(&entry, "--state disabled --label lap"));
        assert!(!is_shown(&entry, "--state accepted"));
        assert!(!is_shown(&entry, "--label phone"));
        assert!(!is_shown(&entry, "--expired"));
        entry.expires_ms = Some(DAY);
        assert!(is_shown(&entry, "--expired"));
        // Who was never here counts from when it was added.
        assert!(is_shown(&entry, "--unseen-for 12h"));
        assert!(!is_shown(&entry, "--unseen-for 1d"));
        let from = "192.0.2.1:9".parse().unwrap();
        entry.seen = Some(Seen {
            at_ms: DAY - 1,
            from,
        });
        assert!(!is_shown(&entry, "--unseen-for 12h"));
    }

    #[test]
    fn lists_have_an_order() {
        let entry = |byte, label: Option<&str>, expires_ms| Entry {
            label: label.map(Into::into),
            expires_ms,
            ..example(byte, &[], Standing::Accepted)
        };
        let mut keys = [
            entry(7, None, None),
            entry(8, Some("b"), Some(9)),
            entry(9, Some("a"), Some(3)),
        ];
        let mut order = |by| {
            sort(&mut keys, by);
            keys.each_ref().map(|entry| entry.key.as_bytes()[0])
        };
        assert_eq!(order(Sort::Label), [9, 8, 7]);
        assert_eq!(order(Sort::Key), [7, 8, 9]);
        assert_eq!(order(Sort::Expires), [9, 8, 7]);
    }

    #[test]
    fn a_short_key_is_nobody_elses() {
        let mut bytes = [7; 32];
        bytes[20] = 8;
        let other = Entry {
            key: identity::PublicKey::parse(&bytes).unwrap(),
            ..example(7, &[], Standing::Accepted)
        };
        let one = example(7, &[], Standing::Accepted);
        assert_eq!(shortest(std::slice::from_ref(&one)), SHORT);
        let short = shortest(&[one.clone(), other.clone()]);
        let [one, other] = [one, other].map(|entry| entry.key.to_string());
        assert_ne!(one[..short], other[..short]);
        assert_eq!(one[..short - 1], other[..short - 1]);
    }

    #[test]
    fn programs_get_keys_in_base64() {
        let entry = example(7, &["*", "hello"], Standing::Accepted);
        let json = serde_json::to_value(Shown::of(&entry, 0)).unwrap();
        assert_eq!(json["key"], entry.key.to_string());
        assert_eq!(json["scopes"], serde_json::json!(["*", "hello"]));
        assert_eq!(json["label"], "lap\u{1b}top");
        assert_eq!(json["state"], "accepted");
    }

    #[test]
    fn a_key_whose_time_is_over_is_told_as_such() {
        let mut entry = example(7, &["hello"], Standing::Accepted);
        entry.expires_ms = Some(5);
        assert_eq!(
            (state(&entry, 4), state(&entry, 5)),
            ("accepted", "expired")
        );
    }
}
