//! `moonport window`: counted, timed permissions to learn unknown keys.

use std::path::Path;
use std::time::Duration;

use data_encoding::BASE64;
use identity::{Name, Secret};
use keystore::{Change, OpenWindow, Origin, Window, WindowEnd, WindowId};
use serde::Serialize;

use super::admin::Admin;
use super::args::{self, Open};
use super::exit::{Exit, Failure, OrExit};
use super::output::{Output, count, tell};
use super::{duration, key, qr, rooms, secret};

pub(super) async fn run(
    command: args::Window,
    state: &Path,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        args::Window::Open(open) => opened(open, state, out).await?,
        args::Window::List(json) => {
            let windows = Admin::open(state)?.windows().await?;
            list(&windows, json.json, out)?;
        }
        args::Window::Close { window, yes, json } => {
            let mut admin = Admin::open(state)?;
            let windows = admin.windows().await?;
            let window = named(&window, &windows)?;
            let question = format!(
                "close window {} of {}, which has let in {} of {}?",
                window.id,
                window.name,
                window.enrolled.len(),
                window.count
            );
            if !yes {
                key::agreed(&question).await?;
            }
            let close = Change::CloseWindow {
                window: window.id,
                why: WindowEnd::Closed,
            };
            admin.apply(vec![close], false).await?;
            match json.json {
                true => out.json(&serde_json::json!({ "window": window.id.to_string() }))?,
                false => out.line(format_args!(
                    "window {} of {} is closed",
                    window.id, window.name
                ))?,
            }
        }
    }
    Ok(Exit::Done)
}

async fn opened(open: Open, state: &Path, out: &Output) -> Result<(), Failure> {
    let (secret, human) = match secret::read(&open.secret).await? {
        Some(secret) => (secret, true),
        None => (secret::generate()?, false),
    };
    if human {
        tell(
            "moonport: a secret that a person made up can be guessed by whoever records one \
             connection; say no secret to have one made up that cannot",
        );
    }
    let mut admin = Admin::open(state)?;
    let lasts = duration::text(open.lasts);
    let window = admin
        .open_window(wanted(
            open.name,
            secret.clone(),
            human,
            open.count,
            open.lasts,
        )?)
        .await?;
    // A secret that somebody brought along is not repeated.
    let text = (!human).then(|| String::from_utf8_lossy(secret.reveal()));
    if open.json {
        return out.json(&Shown {
            secret: text.as_deref(),
            ..Shown::of(&window)
        });
    }
    let keys = count(window.count, "key");
    out.line(format_args!(
        "window {} of {} is open for {keys} and {lasts}",
        window.id, window.name
    ))?;
    if let Some(text) = &text {
        out.line(format_args!("secret: {text}"))?;
        out.line("on the other machine: moonport connect HOST --ask-secret")?;
    }
    match open.qr {
        true => out.line(qr::code(secret.reveal())?),
        false => Ok(()),
    }
}

/// A window to be opened, with a random number.
pub(super) fn wanted(
    name: Name,
    secret: Secret,
    human: bool,
    count: u32,
    lasts: Duration,
) -> Result<OpenWindow, Failure> {
    Ok(OpenWindow {
        id: WindowId(getrandom::u64().or_exit(Exit::Failed)?),
        name,
        secret,
        human,
        count,
        lasts_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
        origin: Origin::Admin,
        label: None,
    })
}

/// Which window is meant: its number or the beginning of it, or a name that has one open window.
fn named<'a>(text: &str, windows: &'a [Window]) -> Result<&'a Window, Failure> {
    let open: Vec<_> = windows
        .iter()
        .filter(|window| window.ended.is_none())
        .collect();
    let by_name = open.iter().filter(|window| window.name.as_str() == text);
    let by_number = open
        .iter()
        .filter(|window| window.id.to_string().starts_with(text));
    let mut found: Vec<&Window> = by_name.copied().collect();
    if found.is_empty() && !text.is_empty() {
        found = by_number.copied().collect();
    }
    match found.as_slice() {
        [window] => Ok(window),
        [] => Err(Failure::because(
            Exit::Usage,
            format_args!("no open window {text:?}; `moonport window list` shows them"),
        )),
        several => {
            let ids: Vec<_> = several.iter().map(|window| window.id.to_string()).collect();
            Err(Failure::because(
                Exit::Usage,
                format_args!(
                    "{text:?} may mean {} windows, say which: {}",
                    ids.len(),
                    ids.join(", ")
                ),
            ))
        }
    }
}

fn list(windows: &[Window], json: bool, out: &Output) -> Result<(), Failure> {
    if json {
        return out.json(&windows.iter().map(Shown::of).collect::<Vec<_>>());
    }
    if windows.is_empty() && out.terminal {
        return out.line("no windows are open; `moonport window open NAME` opens one");
    }
    let rows: Vec<_> = windows
        .iter()
        .map(|window| {
            let shown = Shown::of(window);
            let state = match (shown.state, shown.ends_in_ms) {
                ("open", Some(ms)) => {
                    format!("open, {} left", duration::text(Duration::from_millis(ms)))
                }
                (state, _) => state.to_owned(),
            };
            let admitted = format!("{} of {}", window.enrolled.len(), window.count);
            [
                shown.window,
                window.name.to_string(),
                admitted,
                state,
                shown.origin.to_owned(),
            ]
        })
        .collect();
    out.table(["WINDOW", "NAME", "ADMITTED", "STATE", "OPENED BY"], &rows)
}

/// A window, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    window: String,
    name: &'a str,
    state: &'static str,
    origin: &'static str,
    count: u32,
    left: u32,
    enrolled: Vec<String>,
    guesses: u32,
    ends_in_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(window: &'a Window) -> Self {
        let now = rooms::now();
        let passed = now.wall_ms.saturating_sub(window.opened.wall_ms);
        let Window {
            id: WindowId(_), ..
        } = window;
        Self {
            window: window.id.to_string(),
            name: window.name.as_str(),
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
            },
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
            secret: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Name;
    use std::collections::BTreeSet;

    fn window(id: u64, name: &str, ended: Option<WindowEnd>) -> Window {
        let now = rooms::now();
        Window {
            label: None,
            by: keystore::Actor::User(1000),
            id: WindowId(id),
            name: Name::parse(name).unwrap(),
            origin: Origin::Admin,
            human: false,
            count: 2,
            enrolled: BTreeSet::from([[7; 32]]),
            guesses: 0,
            opened: now,
            lasts_ms: 600_000,
            ended: ended.map(|why| (why, now)),
        }
    }

    #[test]
    fn a_window_is_known_by_its_number_or_its_name() {
        let windows = [
            window(0xabcd_0000_0000_0001, "hello", None),
            window(0xabce_0000_0000_0002, "chat", None),
            window(0xabcf_0000_0000_0003, "chat", Some(WindowEnd::Spent)),
        ];
        assert_eq!(named("hello", &windows).unwrap().id, windows[0].id);
        assert_eq!(named("chat", &windows).unwrap().id, windows[1].id);
        assert_eq!(named("abcd", &windows).unwrap().id, windows[0].id);
        assert!(
            named("abc", &windows)
                .unwrap_err()
                .to_string()
                .contains("2 windows")
        );
        assert!(named("abcf", &windows).is_err(), "it has ended");
        assert!(named("", &windows).is_err());
    }

    #[test]
    fn programs_see_what_is_left() {
        let open = window(1, "hello", None);
        let json = serde_json::to_value(Shown::of(&open)).unwrap();
        assert_eq!(json["window"], "0000000000000001");
        assert_eq!((&json["state"], &json["left"]), (&"open".into(), &1.into()));
        assert!(json["ends_in_ms"].as_u64().unwrap() <= 600_000);
        assert!(json.get("secret").is_none());
        let spent = window(1, "hello", Some(WindowEnd::Spent));
        let json = serde_json::to_value(Shown::of(&spent)).unwrap();
        assert_eq!(
            (&json["state"], &json["left"]),
            (&"spent".into(), &0.into())
        );
    }
}
