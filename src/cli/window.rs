//! `moonport window`: counted, timed permissions to learn unknown keys.

mod open;
mod shown;
mod watch;

use std::path::Path;

use keystore::{Change, Window, WindowEnd};

use super::admin::Admin;
use super::args::{self, CloseWindow};
use super::exit::{Exit, Failure};
use super::output::{Output, printable};
use super::{key, rooms};
pub(super) use open::wanted;
pub(super) use shown::{Shown, list};

pub(super) async fn run(
    command: args::Window,
    state: &Path,
    out: &Output,
) -> Result<Exit, Failure> {
    match command {
        args::Window::Open(open) => open::open(open, state, out).await?,
        args::Window::List(wanted) => {
            let mut windows = Admin::open(state)?.windows().await?;
            windows.retain(|window| wanted.all || window.ended.is_none());
            list(&windows, wanted.json, out)?;
        }
        args::Window::Show(wanted) if wanted.watch => {
            return watch::watch(&wanted.window, state, out).await;
        }
        args::Window::Show(wanted) => {
            let mut admin = Admin::open(state)?;
            let windows = admin.windows().await?;
            let window = named(&wanted.window, &windows)?;
            let keys = admin.keys().await?;
            shown::show(window, &keys, wanted.json, out)?;
        }
        args::Window::Close(wanted) => close(wanted, state, out).await?,
    }
    Ok(Exit::Done)
}

async fn close(wanted: CloseWindow, state: &Path, out: &Output) -> Result<(), Failure> {
    let mut admin = Admin::open(state)?;
    let windows = admin.windows().await?;
    let window = named(&wanted.window, &windows)?;
    let called = called(window);
    if window.ended.is_some() {
        return Err(Failure::because(
            Exit::Usage,
            format_args!(
                "no open window {:?}: {called} has ended",
                printable(&wanted.window)
            ),
        ));
    }
    let question = format!(
        "close {called}, which has let in {} of {}?",
        window.enrolled.len(),
        window.count
    );
    let dry = wanted.dry_run;
    if !dry && !wanted.yes {
        key::agreed(&question).await?;
    }
    let close = Change::CloseWindow {
        window: window.id,
        why: WindowEnd::Closed,
    };
    admin.apply(vec![close], dry).await?;
    match wanted.json {
        true => out.json(&serde_json::json!({ "window": window.id.to_string(), "dry_run": dry })),
        false if dry => {
            out.line(format_args!(
                "{called} would be closed; it has let in {} of {}",
                window.enrolled.len(),
                window.count
            ))?;
            out.line(UNCHANGED)
        }
        false => out.line(format_args!("{called} is closed")),
    }
}

/// The last line of a rehearsal.
const UNCHANGED: &str = "nothing was changed: --dry-run";

/// A window as people know it.
fn called(window: &Window) -> String {
    let label = match &window.label {
        Some(label) => format!(" ({})", printable(label)),
        None => String::new(),
    };
    format!("window {}{label} of {}", window.id, window.name)
}

/// Which window is meant: its label, a name, its number or the beginning of that. Open windows come
/// before those that have ended.
fn named<'a>(text: &str, windows: &'a [Window]) -> Result<&'a Window, Failure> {
    let by: [&dyn Fn(&Window) -> bool; 3] = [
        &|window| window.label.as_deref() == Some(text),
        &|window| window.name.as_str() == text,
        &|window| !text.is_empty() && window.id.to_string().starts_with(text),
    ];
    for is_open in [true, false] {
        for is_meant in by {
            let meant = |window: &&Window| window.ended.is_none() == is_open && is_meant(window);
            let found: Vec<&Window> = windows.iter().filter(meant).collect();
            match found.as_slice() {
                [] => {}
                [window] => return Ok(window),
                several => {
                    let ids: Vec<_> = several.iter().map(|window| window.id.to_string()).collect();
                    return Err(Failure::because(
                        Exit::Usage,
                        format_args!(
                            "{:?} may mean {} windows, say which: {}",
                            printable(text),
                            ids.len(),
                            ids.join(", ")
                        ),
                    ));
                }
            }
        }
    }
    Err(Failure::because(
        Exit::Usage,
        format_args!(
            "no window {:?}; `moonport window list --all` shows them",
            printable(text)
        ),
    ))
}

fn now_ms() -> u64 {
    rooms::now().wall_ms
}

/// A window for the tests of these rooms.
#[cfg(test)]
fn example(id: u64, name: &str, ended: Option<WindowEnd>) -> Window {
    use keystore::{Origin, WindowId};
    let now = rooms::now();
    Window {
        label: None,
        by: keystore::Actor::User(4_000_000_000),
        id: WindowId(id),
        name: identity::Name::parse(name).unwrap(),
        origin: Origin::Admin,
        human: false,
        count: 2,
        enrolled: [[7; 32]].into(),
        guesses: 0,
        opened: now,
        lasts_ms: 600_000,
        ended: ended.map(|why| (why, now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_known_by_its_number_its_label_or_its_name() {
        let mut windows = [
            example(0xabcd_0000_0000_0001, "hello", None),
            example(0xabce_0000_0000_0002, "chat", None),
            example(0xabcf_0000_0000_0003, "chat", Some(WindowEnd::Spent)),
        ];
        windows[1].label = Some("party".into());
        assert_eq!(named("hello", &windows).unwrap().id, windows[0].id);
        assert_eq!(named("chat", &windows).unwrap().id, windows[1].id);
        assert_eq!(named("party", &windows).unwrap().id, windows[1].id);
        assert_eq!(named("abcd", &windows).unwrap().id, windows[0].id);
        assert!(
            named("abc", &windows)
                .unwrap_err()
                .to_string()
                .contains("2 windows")
        );
        assert_eq!(named("abcf", &windows).unwrap().id, windows[2].id);
        assert!(named("", &windows).is_err());
        assert!(named("nothing", &windows).is_err());
    }
}
