//! A record in one line, for people.

use std::time::Duration;

use identity::PublicKey;
use keystore::audit::{Event, Record};
use keystore::{Farewell, Reason, WindowEnd};

use crate::cli::output::{count, printable};
use crate::cli::users::Users;
use crate::cli::{duration, moment};

/// When, who, what.
pub(super) fn line(record: &Record, users: &Users, color: bool) -> String {
    let text = printable(&what(&record.event, users));
    let text = match paint(&record.event) {
        Some(code) if color => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        _ => text,
    };
    let who = printable(&users.name(&record.by));
    format!("{}  {who}  {text}", moment::text(record.at_ms))
}

/// What happened, in a few words.
fn what(event: &Event, users: &Users) -> String {
    match event {
        Event::Accept {
            key,
            label,
            scope,
            imported,
        } => {
            let imported = if *imported { ", from a file" } else { "" };
            format!(
                "accepted {} for {}{imported}",
                named(key, label),
                scope.as_str()
            )
        }
        Event::Unscope { key, label, scope } => {
            format!(
                "accepts {} no longer for {}",
                named(key, label),
                scope.as_str()
            )
        }
        Event::Label {
            key,
            label: Some(label),
        } => format!("called {key} {label:?}"),
        Event::Label { key, label: None } => format!("took the label of {key} away"),
        Event::Comment {
            key,
            label,
            comment: Some(comment),
        } => {
            format!("said of {}: {comment:?}", named(key, label))
        }
        Event::Comment {
            key,
            label,
            comment: None,
        } => {
            format!("took the comment on {} away", named(key, label))
        }
        Event::Expire {
            key,
            label,
            expires_ms: Some(ms),
        } => {
            format!("lets {} expire at {}", named(key, label), moment::text(*ms))
        }
        Event::Expire {
            key,
            label,
            expires_ms: None,
        } => {
            format!("lets {} expire no more", named(key, label))
        }
        Event::Disable { key, label } => format!("disabled {}", named(key, label)),
        Event::Enable { key, label } => format!("enabled {}", named(key, label)),
        Event::Revoke { key, label } => format!("revoked {}", named(key, label)),
        Event::Ban { key, label } => format!("banned {}", named(key, label)),
        Event::Unban { key, label } => format!("lifted the ban on {}", named(key, label)),
        Event::Remove { key } => format!("removed {key}"),
        Event::WindowOpen {
            window,
            name,
            label,
            count: keys,
            lasts_ms,
            ..
        } => {
            let label = label
                .as_ref()
                .map(|label| format!(" ({label})"))
                .unwrap_or_default();
            let lasts = duration::text(Duration::from_millis(*lasts_ms));
            format!(
                "opened window {window}{label} of {name} for {} and {lasts}",
                count(*keys, "key")
            )
        }
        Event::Enrol {
            window,
            name,
            key,
            label,
            opened_by,
        } => format!(
            "let {} in for {name} by window {window}, which {} opened",
            named(key, label),
            users.name_of(opened_by)
        ),
        Event::WindowEnd { window, name, why } => {
            format!("window {window} of {name} {}", ended(*why))
        }
        Event::Guesses {
            window,
            name,
            guesses,
            ..
        } => format!("wrong guesses at window {window} of {name} so far: {guesses}"),
        Event::Started { pid, version } => format!("started: version {version}, process {pid}"),
        Event::Restored { made_ms } => format!("restored a backup of {}", moment::text(*made_ms)),
        Event::HostKey { tag, change, key } => {
            format!("changed host key {tag}, {key}: it is {}", change.describe())
        }
        Event::Admitted {
            name,
            key,
            label,
            source,
            session,
            window,
            opened_by,
            enrolled,
        } => {
            let how = match (window, opened_by) {
                (Some(window), Some(by)) => {
                    let when = if *enrolled { "just now" } else { "once" };
                    let by = users.name_of(by);
                    format!(", who came {when} by window {window} of {by}")
                }
                _ => String::new(),
            };
            let key = named(key, label);
            let session = match session {
                // Another program asked, by `moonport zap`.
                0 => "to another program's session".to_owned(),
                session => format!("as session {session}"),
            };
            format!("admitted {key} to {name} from {source} {session}{how}")
        }
        Event::Left {
            name,
            key,
            label,
            session,
            why,
        } => {
            format!(
                "session {session} of {} on {name} ended: {}",
                named(key, label),
                farewell(*why)
            )
        }
        Event::Refused {
            name,
            key,
            label,
            source,
            reason,
            reference,
        } => {
            let who = key
                .as_ref()
                .map_or_else(|| "somebody".to_owned(), |key| named(key, label));
            let reference = reference
                .map(|it| format!(" (reference {it})"))
                .unwrap_or_default();
            format!(
                "refused {who} at {name} from {source}: {}{reference}",
                short(*reason)
            )
        }
        Event::RefusedMore { name, count } => format!("refused {count} more at {name}"),
        Event::Unknown => {
            "did something that this program does not know: it is an older one".into()
        }
        Event::BeganAnew => "began anew: an admin said that the records before are gone".into(),
    }
}

/// A key, and what it was called then.
pub(super) fn named(key: &PublicKey, label: &Option<String>) -> String {
    match label {
        Some(label) => format!("{key} ({label})"),
        None => key.to_string(),
    }
}

fn ended(why: WindowEnd) -> &'static str {
    match why {
        WindowEnd::Spent => "is spent: it has let in as many as it may",
        WindowEnd::Expired => "has expired",
        WindowEnd::Closed => "was closed",
        WindowEnd::Replaced => "was replaced by another one",
        WindowEnd::Guessed => "was shut, after too many wrong guesses",
    }
}

fn farewell(why: Farewell) -> &'static str {
    match why {
        Farewell::Peer => "it left, or its connection broke",
        Farewell::Script => "the script ended it",
        Farewell::Revoked => "its key is not accepted any more",
        Farewell::Frameserver => "its frameserver ended",
    }
}

/// A reason in a few words.
pub(super) fn short(reason: Reason) -> &'static str {
    match reason {
        Reason::WrongSecret => "wrong secret",
        Reason::Protocol => "not what the protocol says",
        Reason::TooSlow => "too slow",
        Reason::UnknownKey => "unknown key",
        Reason::OutOfScope => "accepted for other names only",
        Reason::Disabled => "disabled",
        Reason::Revoked => "revoked",
        Reason::Banned => "banned",
        Reason::Expired => "expired",
        Reason::WindowShut => "the window is shut",
        Reason::NotProved => "the key was not proved",
        Reason::TooMany => "too many sessions or connections",
        Reason::Closing => "the listener was closing, or the host ending",
        Reason::TurnedAway => "turned away by the script",
        Reason::Keystore => "the keystore does not work",
    }
}

/// The colour of what stands out.
fn paint(event: &Event) -> Option<u8> {
    match event {
        Event::Refused { .. } | Event::RefusedMore { .. } | Event::BeganAnew => Some(31),
        Event::Admitted { .. }
        | Event::Accept { .. }
        | Event::Enrol { .. }
        | Event::Enable { .. } => Some(32),
        Event::Disable { .. }
        | Event::Revoke { .. }
        | Event::Ban { .. }
        | Event::Remove { .. }
        | Event::Unscope { .. } => Some(33),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystore::{Actor, Change, Keystore, Memory, Note, Now, Scope};

    #[test]
    fn a_record_is_one_line_whatever_it_says_and_coloured_only_where_it_is_wanted() {
        let now = Now {
            wall_ms: 0,
            boot_ms: 0,
            boot: [0; 16],
        };
        let key = PublicKey::parse(&[9; 32]).unwrap();
        let name = identity::Name::parse("hello").unwrap();
        let mut store = Memory::new();
        let accept = Change::Accept {
            key,
            scope: Scope::Any,
            label: Some("a\u{202e}b".into()),
            imported: false,
        };
        let by = Actor::Script("\u{1b}[2J".into());
        store.apply(now, &by, &[accept]).unwrap();
        let refused = Note::Refused {
            name,
            key: Some(key),
            from: "[::1]:7".parse().unwrap(),
            reason: Reason::TurnedAway,
            reference: None,
        };
        store.note(now, refused).unwrap();
        let lines = |color| -> Vec<String> {
            let record = |text: &str| Record::parse(text.as_bytes()).unwrap();
            let users = Users::default();
            store
                .audit()
                .map(|text| line(&record(text), &users, color))
                .collect()
        };
        assert_eq!(
            lines(false),
            [
                format!(
                    "1970-01-01T00:00:00Z  script \\u{{1b}}[2J  accepted {key} (a\\u{{202e}}b) for *"
                ),
                format!(
                    "1970-01-01T00:00:00Z  host  refused {key} (a\\u{{202e}}b) at hello from [::1]:7: \
                     turned away by the script"
                ),
            ]
        );
        assert!(lines(true).iter().all(|line| line.ends_with("\u{1b}[0m")));
    }
}
