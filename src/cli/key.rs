//! `moonport key`: the keys that are accepted, and the host's own.

use std::path::Path;
use std::time::Duration;

use identity::PublicKey;
use keystore::{Change, Entry, How, Scope};
use serde::Serialize;

use super::admin::Admin;
use super::args::{self, Json, Key};
use super::exit::{Exit, Failure};
use super::output::{Output, count, printable};
use super::{connect, duration, exchange, hostkeys, named, qr, rooms, terminal};

pub(super) async fn run(command: Key, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let command = match command {
        Key::Own { identity, shown } => {
            let key = connect::own_key(state, identity.as_deref())?;
            return show(key, &shown, out);
        }
        Key::Host(host) => return hostkeys::run(host, state, out).await,
        Key::Import(args) => return exchange::import(args, state, out).await,
        Key::Export(args) => return exchange::export(args, state, out).await,
        command => command,
    };
    let mut admin = Admin::open(state)?;
    match command {
        Key::List { scope, json } => {
            let mut keys = admin.keys().await?;
            keys.retain(|entry| is_shown(entry, scope.as_ref()));
            list(&keys, &json, out)?;
        }
        Key::Accept {
            key,
            scope,
            label,
            json,
        } => {
            let key = named::key(&key, &admin.keys().await?)?;
            let accept = Change::Accept {
                key,
                scope: scope.clone(),
                label,
                imported: false,
            };
            admin.apply(vec![accept], false).await?;
            match json.json {
                true => out.json(&Changed {
                    key,
                    sessions: None,
                })?,
                false => out.line(format_args!("{key} is accepted for {}", scope_text(&scope)))?,
            }
        }
        Key::Remove { key, yes, json } => {
            let keys = admin.keys().await?;
            let key = named::key(&key, &keys)?;
            let Some(entry) = keys.iter().find(|entry| entry.key == key) else {
                return Err(Failure::because(
                    Exit::Usage,
                    format_args!("{key} is not accepted anywhere, so there is nothing to remove"),
                ));
            };
            let question = format!("remove {}, and end its sessions?", describe(entry));
            if !yes {
                agreed(&question).await?;
            }
            let ended = admin.apply(vec![Change::Remove { key }], false).await?;
            let sessions = u32::try_from(ended.len()).unwrap_or(u32::MAX);
            match json.json {
                true => out.json(&Changed {
                    key,
                    sessions: Some(sessions),
                })?,
                false => {
                    let sessions = count(sessions, "session");
                    out.line(format_args!("{key} is removed, and {sessions} ended"))?;
                }
            }
        }
        Key::Host(_) | Key::Own { .. } | Key::Import(_) | Key::Export(_) => {}
    }
    Ok(Exit::Done)
}

/// Prints a key of ours, for others to compare or to accept.
pub(super) fn show(key: PublicKey, how: &args::OurKey, out: &Output) -> Result<Exit, Failure> {
    match how.json.json {
        true => out.json(&OurKey::of(key))?,
        false => {
            out.line(key)?;
            out.line(format_args!("fingerprint: {}", key.fingerprint()))?;
            out.line(format_args!("words: {}", key.fingerprint().words()))?;
        }
    }
    if how.qr {
        out.line(qr::code(key.to_string().as_bytes())?)?;
    }
    Ok(Exit::Done)
}

/// Asks before something is destroyed; where nobody can be asked, `--yes` must be said.
pub(super) async fn agreed(question: &str) -> Result<(), Failure> {
    match terminal::yes(question).await {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::because(Exit::Failed, "nothing was changed")),
        None => Err(Failure::because(
            Exit::Usage,
            format_args!(
                "no terminal to ask on; say --yes if you mean to {}",
                question.trim_end_matches('?')
            ),
        )),
    }
}

fn is_shown(entry: &Entry, scope: Option<&Scope>) -> bool {
    match scope {
        None => true,
        Some(Scope::Any) => entry.scopes.contains(&Scope::Any),
        Some(Scope::Name(name)) => entry.scopes.iter().any(|scope| scope.covers(name)),
    }
}

fn list(keys: &[Entry], json: &Json, out: &Output) -> Result<(), Failure> {
    if json.json {
        let keys: Vec<_> = keys.iter().map(Shown::of).collect();
        return out.json(&keys);
    }
    if keys.is_empty() && out.terminal {
        return out.line(
            "no keys are accepted; `moonport key accept` and `moonport window open` let some in",
        );
    }
    let now = rooms::now().wall_ms;
    let rows: Vec<_> = keys
        .iter()
        .map(|entry| {
            let age = Duration::from_millis(now.saturating_sub(entry.added.at_ms));
            [
                entry.key.to_string(),
                scopes(entry).join(","),
                format!("{} ago", duration::text(age)),
                printable(entry.label.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    out.table(["KEY", "ACCEPTED FOR", "ADDED", "LABEL"], &rows)
}

fn describe(entry: &Entry) -> String {
    let label = match &entry.label {
        Some(label) => format!(" ({})", printable(label)),
        None => String::new(),
    };
    format!(
        "{}{label}, accepted for {}",
        entry.key,
        scopes(entry).join(", ")
    )
}

fn scopes(entry: &Entry) -> Vec<&str> {
    entry.scopes.iter().map(scope_text).collect()
}

fn scope_text(scope: &Scope) -> &str {
    match scope {
        Scope::Any => "*",
        Scope::Name(name) => name.as_str(),
    }
}

/// An accepted key, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(serialize_with = "in_base64")]
    key: PublicKey,
    fingerprint: String,
    scopes: Vec<&'a str>,
    label: Option<&'a str>,
    added_ms: u64,
    window: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(entry: &'a Entry) -> Self {
        Self {
            key: entry.key,
            fingerprint: entry.key.fingerprint().to_string(),
            scopes: scopes(entry),
            label: entry.label.as_deref(),
            added_ms: entry.added.at_ms,
            window: match entry.added.how {
                How::Window(window) => Some(window.to_string()),
                How::Named | How::Imported => None,
            },
        }
    }
}

/// What was done to a key, for programs.
#[derive(Serialize)]
struct Changed {
    #[serde(serialize_with = "in_base64")]
    key: PublicKey,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u32>,
}

/// A key of ours, for programs.
#[derive(Serialize)]
struct OurKey {
    #[serde(serialize_with = "in_base64")]
    key: PublicKey,
    fingerprint: String,
    words: String,
}

impl OurKey {
    fn of(key: PublicKey) -> Self {
        Self {
            key,
            fingerprint: key.fingerprint().to_string(),
            words: key.fingerprint().words(),
        }
    }
}

pub(super) fn in_base64<S: serde::Serializer>(
    key: &PublicKey,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use identity::Name;
    use keystore::{Actor, Added, Standing};
    use std::collections::BTreeSet;

    fn entry(scopes: &[&str]) -> Entry {
        let scope = |text: &&str| match *text {
            "*" => Scope::Any,
            name => Scope::Name(Name::parse(name).unwrap()),
        };
        Entry {
            key: PublicKey::parse(&[7; 32]).unwrap(),
            scopes: scopes.iter().map(scope).collect::<BTreeSet<_>>(),
            standing: Standing::Accepted,
            label: Some("lap\u{1b}top".into()),
            comment: None,
            added: Added {
                at_ms: 12,
                how: How::Named,
                by: Actor::User(1000),
            },
            expires_ms: None,
            seen: None,
        }
    }

    #[test]
    fn a_list_for_a_name_shows_all_that_are_accepted_there() {
        let hello = Scope::Name(Name::parse("hello").unwrap());
        assert!(is_shown(&entry(&["hello", "x"]), Some(&hello)));
        assert!(is_shown(&entry(&["*"]), Some(&hello)));
        assert!(!is_shown(&entry(&["x"]), Some(&hello)));
        assert!(is_shown(&entry(&["x"]), None));
        assert!(!is_shown(&entry(&["hello"]), Some(&Scope::Any)));
    }

    #[test]
    fn programs_get_keys_in_base64() {
        let entry = entry(&["*", "hello"]);
        let json = serde_json::to_value(Shown::of(&entry)).unwrap();
        assert_eq!(json["key"], entry.key.to_string());
        assert_eq!(json["scopes"], serde_json::json!(["*", "hello"]));
        assert_eq!(json["label"], "lap\u{1b}top");
    }

    #[test]
    fn a_label_cannot_command_a_terminal() {
        assert!(!describe(&entry(&["*"])).contains('\u{1b}'));
    }
}
