//! Changes of keys: rehearsed, asked about, made, told.

use identity::PublicKey;
use keystore::{Change, Entry, Standing};
use serde::Serialize;

use super::words::{self, Words};
use super::{agreed, called, now_ms};
use crate::cli::admin::Admin;
use crate::cli::args::{Accept, Changing};
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment::{self, Until};
use crate::cli::named;
use crate::cli::output::{Output, count, tell};
use crate::ipc::admin::SessionStatus;

/// How changes are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making {
    how: Changing,
    asks: Asks,
}

/// When somebody is asked first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asks {
    Never,
    Always,
    IfSessionsEnd,
}

impl Making {
    /// `yes`: nobody is to be asked.
    pub(super) fn new(how: Changing, yes: bool, asks: Asks) -> Self {
        let asks = if yes { Asks::Never } else { asks };
        Self { how, asks }
    }
}

/// All that `key accept` says.
pub(super) fn accept(accept: Accept, known: &[Entry]) -> Result<Vec<Change>, Failure> {
    let key = named::key(&accept.key, known)?;
    let mut label = accept.label;
    let mut changes: Vec<_> = accept
        .scope
        .into_iter()
        .map(|scope| Change::Accept {
            key,
            scope,
            label: label.take(),
            imported: false,
        })
        .collect();
    if accept.comment.is_some() {
        let comment = accept.comment;
        changes.push(Change::Comment { key, comment });
    }
    match accept.expires {
        Some(until) => {
            let at_ms = end(until)?;
            changes.push(Change::Expire { key, at_ms });
        }
        None => remind(&key, known),
    }
    Ok(changes)
}

/// An earlier word about a key that still keeps it out is easily overlooked.
fn remind(key: &PublicKey, known: &[Entry]) {
    let Some(entry) = known.iter().find(|entry| entry.key == *key) else {
        return;
    };
    let standing = entry.standing;
    if standing == Standing::Disabled {
        tell(format_args!(
            "moonport: {} stays disabled; `moonport key enable` ends that",
            called(entry)
        ));
    }
    let over = |end: &u64| *end <= now_ms() && standing != Standing::Revoked;
    if let Some(end) = entry.expires_ms.filter(over) {
        tell(format_args!(
            "moonport: {} has expired at {}; give --expires to let it in again",
            called(entry),
            moment::text(end)
        ));
    }
}

/// When it is over; not in the past, which is more likely a slip.
pub(super) fn end(until: Until) -> Result<Option<u64>, Failure> {
    let now_ms = now_ms();
    match until.at_ms(now_ms) {
        Some(end) if end <= now_ms => Err(Failure::because(
            Exit::Usage,
            format_args!(
                "{} is over; to let a key in no longer, `moonport key disable` or `moonport key revoke` it",
                moment::text(end)
            ),
        )),
        end => Ok(end),
    }
}

/// Makes changes, all of them or none, and says what has become of whom.
pub(super) async fn make(
    admin: &mut Admin,
    known: &[Entry],
    changes: Vec<Change>,
    making: Making,
    out: &Output,
) -> Result<(), Failure> {
    let mut told = Vec::with_capacity(changes.len());
    for change in &changes {
        told.push(Told {
            who: who(change, known),
            change: change.clone(),
            words: words::of(change, known)?,
        });
    }
    let dry = making.how.dry_run;
    let rehearsed = match dry || making.asks != Asks::Never {
        true => Some(admin.apply(changes.clone(), true).await?),
        false => None,
    };
    let ended = match rehearsed {
        Some(would_end) if dry => would_end,
        would_end => {
            let would_end = would_end.unwrap_or_default();
            let asks = match making.asks {
                Asks::Never => false,
                Asks::Always => true,
                Asks::IfSessionsEnd => !would_end.is_empty(),
            };
            if asks {
                agreed(&question(&told, &would_end)).await?;
            }
            admin.apply(changes, false).await?
        }
    };
    match making.how.json {
        true => out.json(&Made::of(&told, &ended, dry)),
        false => say(&told, &ended, dry, out),
    }
}

/// A change, and its words.
struct Told {
    who: String,
    change: Change,
    words: Words,
}

fn who(change: &Change, known: &[Entry]) -> String {
    let Some(key) = change.key() else {
        return String::new();
    };
    let entry = known.iter().find(|entry| entry.key == *key);
    entry.map_or_else(|| key.to_string(), called)
}

fn question(told: &[Told], would_end: &[SessionStatus]) -> String {
    let what: Vec<_> = told
        .iter()
        .map(|told| match &told.change {
            Change::Unscope { scope, .. } => {
                format!("take {} away from {}", scope.as_str(), told.who)
            }
            change => format!("{} {}", words::verb(change), told.who),
        })
        .collect();
    let sessions = match would_end.len() {
        0 => String::new(),
        number => {
            let number = u32::try_from(number).unwrap_or(u32::MAX);
            format!(", and end {}", count(number, "session"))
        }
    };
    format!("{}{sessions}?", what.join(", "))
}

fn say(told: &[Told], ended: &[SessionStatus], dry: bool, out: &Output) -> Result<(), Failure> {
    for Told { who, words, .. } in told {
        let becomes = &words.becomes;
        match (words.already, dry) {
            (true, _) => out.line(format_args!("{who} is {becomes} already"))?,
            (false, true) => out.line(format_args!("{who} would be {becomes}"))?,
            (false, false) => out.line(format_args!("{who} is {becomes}"))?,
        }
    }
    for session in ended {
        let SessionStatus {
            session,
            name,
            from,
            since_ms,
            ..
        } = session;
        let ends = if dry { "would end" } else { "has ended" };
        out.line(format_args!(
            "session {session} of {name} from {from}, since {}, {ends}",
            moment::text(*since_ms)
        ))?;
    }
    match dry {
        true => out.line("nothing was changed: --dry-run"),
        false => Ok(()),
    }
}

/// What was done, for programs.
#[derive(Serialize)]
struct Made<'a> {
    dry_run: bool,
    changes: Vec<One<'a>>,
    /// Those that have ended by it, or would.
    sessions: Vec<Session<'a>>,
}

#[derive(Serialize)]
struct One<'a> {
    key: String,
    change: &'static str,
    becomes: &'a str,
    already: bool,
}

/// A session, for programs.
#[derive(Serialize)]
pub(super) struct Session<'a> {
    session: u64,
    name: &'a str,
    /// `None`: a peer without a key.
    key: Option<String>,
    from: String,
    since_ms: u64,
}

impl<'a> Session<'a> {
    pub(super) fn of(status: &'a SessionStatus) -> Self {
        Self {
            session: status.session,
            name: status.name.as_str(),
            key: status.key.map(|key| key.to_string()),
            from: status.from.to_string(),
            since_ms: status.since_ms,
        }
    }
}

impl<'a> Made<'a> {
    fn of(told: &'a [Told], ended: &'a [SessionStatus], dry_run: bool) -> Self {
        let one = |told: &'a Told| One {
            key: told
                .change
                .key()
                .map(ToString::to_string)
                .unwrap_or_default(),
            change: words::verb(&told.change),
            becomes: &told.words.becomes,
            already: told.words.already,
        };
        Self {
            dry_run,
            changes: told.iter().map(one).collect(),
            sessions: ended.iter().map(Session::of).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use identity::Name;

    fn told(change: Change, known: &[Entry]) -> Told {
        Told {
            who: who(&change, known),
            words: words::of(&change, known).unwrap(),
            change,
        }
    }

    #[test]
    fn a_question_names_whom_and_what_ends() {
        let entry = example(7, &["hello"], Standing::Accepted);
        let key = entry.key;
        let session = SessionStatus {
            session: 3,
            name: Name::parse("hello").unwrap(),
            key: Some(key),
            from: "192.0.2.1:9".parse().unwrap(),
            since_ms: 0,
        };
        let told = told(Change::Revoke { key }, &[entry]);
        let text = question(&[told], &[session]);
        assert_eq!(
            text,
            format!("revoke {key} (lap\\u{{1b}}top), and end 1 session?")
        );
    }

    #[test]
    fn an_end_that_is_past_is_more_likely_a_slip() {
        assert!(end(Until::At(1)).is_err());
        assert_eq!(end(Until::Never).unwrap(), None);
        assert!(end("1d".parse().unwrap()).unwrap().is_some());
    }
}
