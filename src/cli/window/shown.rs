//! Windows in rows, and all about one.

use crate::cli::users::Users;
use std::time::Duration;

use data_encoding::BASE64;
use keystore::{Entry, How, Origin, Window, WindowEnd};
use serde::Serialize;

use super::now_ms;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, printable};
use crate::cli::{duration, moment, rooms};

pub(in crate::cli) fn list(windows: &[Window], json: bool, out: &Output) -> Result<(), Failure> {
    if json {
        return out.json(&windows.iter().map(Shown::of).collect::<Vec<_>>());
    }
    if windows.is_empty() && out.terminal {
        return out.line("no windows are open; `moonport window open NAME` opens one");
    }
    let users = Users::of_this_machine();
    let rows: Vec<_> = windows
        .iter()
        .map(|window| {
            [
                window.id.to_string(),
                window.name.to_string(),
                printable(window.label.as_deref().unwrap_or_default()),
                format!("{} of {}", window.enrolled.len(), window.count),
                state(window),
                printable(&users.name(&window.by)),
            ]
        })
        .collect();
    let titles = ["WINDOW", "NAME", "LABEL", "ADMITTED", "STATE", "OPENED BY"];
    out.table(titles, &rows)
}

pub(super) fn show(
    window: &Window,
    keys: &[Entry],
    json: bool,
    out: &Output,
) -> Result<(), Failure> {
    if json {
        let keys = enrolled(window, keys);
        return out.json(&All {
            window: Shown::of(window),
            keys: keys.iter().map(Enrolled::shown).collect(),
        });
    }
    for line in lines(window, keys) {
        out.line(line)?;
    }
    Ok(())
}

/// All about a window, for people.
pub(super) fn lines(window: &Window, keys: &[Entry]) -> Vec<String> {
    let now_ms = now_ms();
    let label = window
        .label
        .as_deref()
        .map_or_else(|| "-".into(), printable);
    let opened = window.opened.wall_ms;
    let users = Users::of_this_machine();
    let mut rows = vec![
        ("window", window.id.to_string()),
        ("name", window.name.to_string()),
        ("label", label),
        ("state", state(window)),
        (
            "opened",
            format!(
                "{} ({}) by {}",
                moment::text(opened),
                moment::distance(opened, now_ms),
                printable(&users.name(&window.by))
            ),
        ),
        ("guesses", guesses(window)),
        (
            "let in",
            format!("{} of {}", window.enrolled.len(), window.count),
        ),
    ];
    rows.extend(
        enrolled(window, keys)
            .iter()
            .map(|one| ("", one.text(now_ms))),
    );
    rows.iter()
        .map(|(title, text)| format!("{title:<9}{text}"))
        .collect()
}

/// The same as far as it does not change by itself.
pub(super) fn news(window: &Window, keys: &[Entry]) -> Vec<String> {
    let state = Shown::of(window).state;
    let mut news = vec![format!("{} is {state}", super::called(window))];
    if window.guesses > 0 {
        news.push(format!("guesses: {}", guesses(window)));
    }
    for one in enrolled(window, keys) {
        let label = one.entry.and_then(|entry| entry.label.as_deref());
        let label = label.map(|label| format!(" ({})", printable(label)));
        let when = one.at_ms.map(|ms| format!(", {}", moment::text(ms)));
        news.push(format!(
            "let in: {}{}{}",
            one.key,
            label.unwrap_or_default(),
            when.unwrap_or_default()
        ));
    }
    news
}

/// How many guesses there have been, and how many it bears.
fn guesses(window: &Window) -> String {
    match window.human {
        _ if window.origin == Origin::WithoutSecret => "not counted: it asks for no secret".into(),
        true => format!("{} of {}", window.guesses, Window::MAX_GUESSES),
        false => "not counted: its secret was made up, and cannot be guessed".into(),
    }
}

/// Whether it is open, for how long, or how it has ended.
pub(super) fn state(window: &Window) -> String {
    let shown = Shown::of(window);
    let by = match window.origin {
        Origin::WithoutSecret => " without a secret",
        Origin::Script | Origin::Admin => "",
    };
    match (shown.state, shown.ends_in_ms) {
        ("open", Some(ms)) => {
            let left = Duration::from_millis(ms);
            let seconds = left.as_secs();
            // The last hour is told to the second.
            match seconds {
                0..3600 => format!("open{by}, {}:{:02} left", seconds / 60, seconds % 60),
                _ => format!("open{by}, {} left", duration::text(left)),
            }
        }
        (state, _) => format!("{state}{by}"),
    }
}

/// A key that a window has let in.
struct Enrolled<'a> {
    key: String,
    /// `None`: it has been forgotten since.
    entry: Option<&'a Entry>,
    /// Wall clock, ms since 1970, unless somebody has accepted it anew since.
    at_ms: Option<u64>,
}

fn enrolled<'a>(window: &Window, keys: &'a [Entry]) -> Vec<Enrolled<'a>> {
    let mut all: Vec<_> = window
        .enrolled
        .iter()
        .map(|key| {
            let entry = keys.iter().find(|entry| entry.key.as_bytes() == key);
            let by_it = |entry: &&Entry| entry.added.how == How::Window(window.id);
            Enrolled {
                key: BASE64.encode(key),
                entry,
                at_ms: entry.filter(by_it).map(|entry| entry.added.at_ms),
            }
        })
        .collect();
    all.sort_by_key(|one| one.at_ms);
    all
}

impl Enrolled<'_> {
    fn text(&self, now_ms: u64) -> String {
        let Some(entry) = self.entry else {
            return format!("{}, forgotten since", self.key);
        };
        let label = match &entry.label {
            Some(label) => format!(" ({})", printable(label)),
            None => String::new(),
        };
        let when = match self.at_ms {
            Some(ms) => format!(", {}", moment::distance(ms, now_ms)),
            None => String::new(),
        };
        format!("{}{label} {}{when}", self.key, entry.key.fingerprint())
    }

    fn shown(&self) -> EnrolledShown<'_> {
        EnrolledShown {
            key: &self.key,
            label: self.entry.and_then(|entry| entry.label.as_deref()),
            fingerprint: self.entry.map(|entry| entry.key.fingerprint().to_string()),
            at_ms: self.at_ms,
        }
    }
}

/// A window, for programs.
#[derive(Serialize)]
pub(in crate::cli) struct Shown<'a> {
    window: String,
    name: &'a str,
    label: Option<&'a str>,
    state: &'static str,
    origin: &'static str,
    opened_ms: u64,
    opened_by: String,
    count: u32,
    left: u32,
    enrolled: Vec<String>,
    guesses: u32,
    ends_in_ms: Option<u64>,
}

/// All about a window, for programs.
#[derive(Serialize)]
struct All<'a> {
    #[serde(flatten)]
    window: Shown<'a>,
    keys: Vec<EnrolledShown<'a>>,
}

#[derive(Serialize)]
struct EnrolledShown<'a> {
    key: &'a str,
    label: Option<&'a str>,
    fingerprint: Option<String>,
    at_ms: Option<u64>,
}

impl<'a> Shown<'a> {
    pub(in crate::cli) fn of(window: &'a Window) -> Self {
        let now = rooms::now();
        let passed = now.wall_ms.saturating_sub(window.opened.wall_ms);
        Self {
            window: window.id.to_string(),
            name: window.name.as_str(),
            label: window.label.as_deref(),
            state: match window.ended {
                None => "open",
                Some((WindowEnd::Spent, _)) => "spent",
                Some((WindowEnd::Expired, _)) => "expired",
                Some((WindowEnd::Closed, _)) => "closed",
                Some((WindowEnd::Replaced, _)) => "replaced",
                Some((WindowEnd::Guessed, _)) => "guessed",
            },
            origin: match window.origin {
                Origin::Script => "script",
                Origin::Admin => "admin",
                Origin::WithoutSecret => "without secret",
            },
            opened_ms: window.opened.wall_ms,
            opened_by: window.by.to_string(),
            count: window.count,
            left: match window.ended {
                None => window.left(now, 0),
                Some(_) => 0,
            },
            enrolled: window
                .enrolled
                .iter()
                .map(|key| BASE64.encode(key))
                .collect(),
            guesses: window.guesses,
            ends_in_ms: window
                .ended
                .is_none()
                .then(|| window.lasts_ms.saturating_sub(passed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use keystore::{Actor, Added, Standing};

    #[test]
    fn programs_see_what_is_left() {
        let open = example(1, "hello", None);
        let json = serde_json::to_value(Shown::of(&open)).unwrap();
        assert_eq!(json["window"], "0000000000000001");
        assert_eq!((&json["state"], &json["left"]), (&"open".into(), &1.into()));
        assert!(json["ends_in_ms"].as_u64().unwrap() <= 600_000);
        assert!(json.get("secret").is_none());
        let spent = example(1, "hello", Some(WindowEnd::Spent));
        let json = serde_json::to_value(Shown::of(&spent)).unwrap();
        assert_eq!(
            (&json["state"], &json["left"]),
            (&"spent".into(), &0.into())
        );
    }

    #[test]
    fn a_window_without_a_secret_is_told_apart() {
        let mut window = example(1, "hello", None);
        window.origin = Origin::WithoutSecret;
        assert!(state(&window).starts_with("open without a secret, "));
        assert!(
            lines(&window, &[])
                .join("\n")
                .contains("asks for no secret")
        );
        let json = serde_json::to_value(Shown::of(&window)).unwrap();
        assert_eq!(json["origin"], "without secret");
        window.ended = Some((WindowEnd::Spent, window.opened));
        assert_eq!(state(&window), "spent without a secret");
    }

    #[test]
    fn a_window_shows_who_came_in_and_when_and_who_opened_it() {
        let mut window = example(1, "hello", None);
        (window.human, window.guesses) = (true, 12);
        let key = identity::PublicKey::parse(&[7; 32]).unwrap();
        let entry = Entry {
            key,
            scopes: Default::default(),
            standing: Standing::Accepted,
            label: Some("laptop".into()),
            comment: None,
            added: Added {
                at_ms: now_ms(),
                how: How::Window(window.id),
                by: Actor::User(4_000_000_000),
            },
            expires_ms: None,
            seen: None,
        };
        let text = lines(&window, &[entry]).join("\n");
        for part in [
            "by user 4000000000",
            "12 of 200",
            "1 of 2",
            &format!("{key} (laptop) {}, 0 s ago", key.fingerprint()),
        ] {
            assert!(text.contains(part), "no {part:?} in\n{text}");
        }
        let text = lines(&window, &[]).join("\n");
        assert!(text.contains("forgotten since"), "{text}");
    }
}
