//! All that is known of one key.

use keystore::{Entry, How, Window, WindowId};
use serde::Serialize;

use super::change::Session;
use super::list::{Shown, state};
use super::now_ms;
use super::words::{entry, scopes};
use crate::cli::admin::Admin;
use crate::cli::args::OneKey;
use crate::cli::exit::Failure;
use crate::cli::output::{Output, printable};
use crate::cli::users::Users;
use crate::cli::{moment, named};
use crate::ipc::admin::SessionStatus;

pub(super) async fn show(admin: &mut Admin, wanted: &OneKey, out: &Output) -> Result<(), Failure> {
    let known = admin.keys().await?;
    let key = named::key(&wanted.key, &known)?;
    let entry = entry(&key, &known)?;
    let mut sessions = admin.sessions().await?;
    sessions.retain(|session| session.key == Some(key));
    if wanted.json.json {
        return out.json(&All {
            key: Shown::of(entry, now_ms()),
            words: key.fingerprint().words(),
            sessions: sessions.iter().map(Session::of).collect(),
        });
    }
    // Of a window that ended long ago only its number is known.
    let windows = admin.windows().await?;
    for (title, text) in rows(entry, &windows, &sessions, now_ms()) {
        out.line(format_args!("{title:<14}{text}"))?;
    }
    Ok(())
}

fn rows(
    entry: &Entry,
    windows: &[Window],
    sessions: &[SessionStatus],
    now_ms: u64,
) -> Vec<(&'static str, String)> {
    let fingerprint = entry.key.fingerprint();
    let moment = |ms| format!("{} ({})", moment::text(ms), moment::distance(ms, now_ms));
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    let mut rows = vec![
        ("key", entry.key.to_string()),
        ("fingerprint", fingerprint.to_string()),
        ("words", fingerprint.words()),
        ("label", or_none(entry.label.as_deref().map(printable))),
        ("comment", or_none(entry.comment.as_deref().map(printable))),
        ("state", state(entry, now_ms).into()),
        (
            "accepted for",
            match scopes(entry) {
                none if none.is_empty() => "-".into(),
                names => names,
            },
        ),
        ("added", moment(entry.added.at_ms)),
        ("by", added_by(entry, windows)),
        (
            "expires",
            entry.expires_ms.map_or_else(|| "never".into(), moment),
        ),
        (
            "last seen",
            entry.seen.map_or_else(
                || "never".into(),
                |seen| format!("{} from {}", moment(seen.at_ms), seen.from),
            ),
        ),
    ];
    for session in sessions {
        let SessionStatus {
            session,
            name,
            from,
            since_ms,
            ..
        } = session;
        let text = format!(
            "{session} of {name} from {from}, since {}",
            moment(*since_ms)
        );
        rows.push(("session", text));
    }
    rows
}

/// Who let a key in, and by what.
fn added_by(entry: &Entry, windows: &[Window]) -> String {
    let by = printable(&Users::of_this_machine().name(&entry.added.by));
    match entry.added.how {
        How::Named => format!("{by}, who named it"),
        How::Imported => format!("{by}, from a file"),
        How::Window(id) => format!("window {}, which {by} opened", window(id, windows)),
    }
}

fn window(id: WindowId, windows: &[Window]) -> String {
    let found = windows.iter().find(|window| window.id == id);
    match found.and_then(|window| window.label.as_deref()) {
        Some(label) => format!("{id} ({})", printable(label)),
        None => id.to_string(),
    }
}

/// All of it, for programs.
#[derive(Serialize)]
struct All<'a> {
    #[serde(flatten)]
    key: Shown<'a>,
    words: String,
    sessions: Vec<Session<'a>>,
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use keystore::{Actor, Added, Standing};

    #[test]
    fn a_key_says_by_which_window_it_came_and_who_opened_that() {
        let mut entry = example(7, &["hello"], Standing::Accepted);
        entry.added = Added {
            at_ms: 0,
            how: How::Window(WindowId(0xab)),
            by: Actor::Script("chat".into()),
        };
        let rows = rows(&entry, &[], &[], 60_000);
        let text = |title| &rows.iter().find(|row| row.0 == title).unwrap().1;
        assert_eq!(
            text("by"),
            "window 00000000000000ab, which script chat opened"
        );
        assert_eq!(text("added"), "1970-01-01T00:00:00Z (1 min ago)");
        assert_eq!(
            (&**text("expires"), &**text("last seen")),
            ("never", "never")
        );
        assert!(!text("label").contains('\u{1b}'));
    }
}
