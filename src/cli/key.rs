//! `moonport key`: the keys that are known, and the host's own.

mod change;
mod list;
mod show;
mod words;

use std::path::Path;

use identity::{PublicKey, z85};
use keystore::{Change, Entry};
use serde::Serialize;

use super::admin::Admin;
use super::args::{Ending, Key, Keys, OurKey, Scopes, Text};
use super::exit::{Exit, Failure};
use super::output::{Output, printable};
use super::{connect, exchange, hostkeys, named, qr, rooms, terminal};
use change::{Asks, Making};

pub(super) async fn run(command: Key, state: &Path, out: &Output) -> Result<Exit, Failure> {
    match command {
        Key::Own { identity, shown } => {
            let key = connect::own_key(state, identity.as_deref())?;
            return show(key, &shown, out);
        }
        Key::Host(host) => return hostkeys::run(host, state, out).await,
        Key::Import(args) => return exchange::import(args, state, out).await,
        Key::Export(args) => return exchange::export(args, state, out).await,
        Key::Fingerprint(wanted) => {
            let key = anybodys(&wanted.key, state).await?;
            return show(key, &wanted.shown, out);
        }
        Key::Qr { key } => {
            let key = anybodys(&key, state).await?;
            out.line(qr::code(key.to_string().as_bytes())?)?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let mut admin = Admin::open(state)?;
    match command {
        Key::List(wanted) => list::list(admin.keys().await?, &wanted, out)?,
        Key::Show(wanted) => show::show(&mut admin, &wanted, out).await?,
        Key::Sessions(wanted) => list::sessions(&mut admin, &wanted, out).await?,
        other => {
            let known = admin.keys().await?;
            if let Some((changes, making)) = changes(other, &known)? {
                change::make(&mut admin, &known, changes, making, out).await?;
            }
        }
    }
    Ok(Exit::Done)
}

/// What a command changes, and how; `None`: it changes nothing.
fn changes(command: Key, known: &[Entry]) -> Result<Option<(Vec<Change>, Making)>, Failure> {
    let ending = |ending: Ending, asks| Making::new(ending.how, ending.yes, asks);
    Ok(Some(match command {
        Key::Accept(accept) => {
            let making = Making::new(accept.how, true, Asks::Never);
            (change::accept(accept, known)?, making)
        }
        Key::Label(Text { key, text, how, .. }) => {
            let (key, label) = (named::key(&key, known)?, text);
            let change = Change::Label { key, label };
            (vec![change], Making::new(how, true, Asks::Never))
        }
        Key::Comment(Text { key, text, how, .. }) => {
            let (key, comment) = (named::key(&key, known)?, text);
            let change = Change::Comment { key, comment };
            (vec![change], Making::new(how, true, Asks::Never))
        }
        Key::Scope(Scopes::Add { key, names, how }) => {
            let key = named::key(&key, known)?;
            let changes = names.into_iter().map(|scope| Change::Accept {
                key,
                scope,
                label: None,
                imported: false,
            });
            // Whoever is not known, or not trusted any more, is accepted by the other command.
            words::standing(&key, known)?;
            (changes.collect(), Making::new(how, true, Asks::Never))
        }
        Key::Scope(Scopes::Remove {
            key,
            names,
            ending: how,
        }) => {
            let key = named::key(&key, known)?;
            let changes = names.into_iter();
            let changes = changes.map(|scope| Change::Unscope { key, scope });
            (changes.collect(), ending(how, Asks::Always))
        }
        Key::Expire(expire) => {
            let key = named::key(&expire.key, known)?;
            let at_ms = change::end(expire.until)?;
            let change = Change::Expire { key, at_ms };
            (vec![change], Making::new(expire.how, true, Asks::Never))
        }
        Key::Disable(it) => (
            each(&it.keys, known, |key| Change::Disable { key })?,
            ending(it.ending, Asks::IfSessionsEnd),
        ),
        Key::Enable(Keys { keys, how }) => (
            each(&keys, known, |key| Change::Enable { key })?,
            Making::new(how, true, Asks::Never),
        ),
        Key::Revoke(it) => (
            each(&it.keys, known, |key| Change::Revoke { key })?,
            ending(it.ending, Asks::Always),
        ),
        Key::Ban(it) => (
            each(&it.keys, known, |key| Change::Ban { key })?,
            ending(it.ending, Asks::Always),
        ),
        Key::Unban(Keys { keys, how }) => (
            each(&keys, known, |key| Change::Unban { key })?,
            Making::new(how, true, Asks::Never),
        ),
        Key::Remove(it) => (
            each(&it.keys, known, |key| Change::Remove { key })?,
            ending(it.ending, Asks::Always),
        ),
        Key::List(_)
        | Key::Show(_)
        | Key::Sessions(_)
        | Key::Fingerprint(_)
        | Key::Qr { .. }
        | Key::Host(_)
        | Key::Import(_)
        | Key::Export(_)
        | Key::Own { .. } => return Ok(None),
    }))
}

/// One change of each key that is named; one that is named twice is changed once.
fn each(
    texts: &[String],
    known: &[Entry],
    change: impl Fn(PublicKey) -> Change,
) -> Result<Vec<Change>, Failure> {
    let mut keys: Vec<PublicKey> = Vec::new();
    for text in texts {
        let key = named::key(text, known)?;
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    Ok(keys.into_iter().map(change).collect())
}

/// Any key at all. The keystore is asked only where the text is no whole key, and there is one.
async fn anybodys(text: &str, state: &Path) -> Result<PublicKey, Failure> {
    match named::key(text, &[]) {
        Err(_) if state.exists() && text != "-" => {
            named::key(text, &Admin::open(state)?.keys().await?)
        }
        found => found,
    }
}

/// Prints a key for others to compare or to accept.
pub(super) fn show(key: PublicKey, how: &OurKey, out: &Output) -> Result<Exit, Failure> {
    match how.json.json {
        true => out.json(&Alone::of(key))?,
        false => {
            out.line(key)?;
            out.line(format_args!("fingerprint: {}", key.fingerprint()))?;
            out.line(format_args!("words: {}", key.fingerprint().words()))?;
            out.line(format_args!("in Z85, for ZeroMQ: {}", in_z85(key)))?;
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

/// A key as people know it: the key, and its label if it has one.
pub(super) fn called(entry: &Entry) -> String {
    match &entry.label {
        Some(label) => format!("{} ({})", entry.key, printable(label)),
        None => entry.key.to_string(),
    }
}

fn now_ms() -> u64 {
    rooms::now().wall_ms
}

/// A key, for programs.
#[derive(Serialize)]
struct Alone {
    #[serde(serialize_with = "in_base64")]
    key: PublicKey,
    fingerprint: String,
    words: String,
    z85: String,
}

impl Alone {
    fn of(key: PublicKey) -> Self {
        Self {
            key,
            fingerprint: key.fingerprint().to_string(),
            words: key.fingerprint().words(),
            z85: in_z85(key),
        }
    }
}

/// A key as ZeroMQ's programs write it.
pub(super) fn in_z85(key: PublicKey) -> String {
    z85::encode(key.as_bytes()).to_string()
}

pub(super) fn in_base64<S: serde::Serializer>(
    key: &PublicKey,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

/// An entry for the tests of these rooms.
#[cfg(test)]
fn example(byte: u8, scopes: &[&str], standing: keystore::Standing) -> Entry {
    use identity::Name;
    use keystore::{Actor, Added, How, Scope};
    let scope = |text: &&str| match *text {
        "*" => Scope::Any,
        name => Scope::Name(Name::parse(name).unwrap()),
    };
    Entry {
        key: PublicKey::parse(&[byte; 32]).unwrap(),
        scopes: scopes.iter().map(scope).collect(),
        standing,
        label: Some("lap\u{1b}top".into()),
        comment: None,
        added: Added {
            at_ms: 12,
            how: How::Named,
            by: Actor::User(4_000_000_000),
        },
        expires_ms: None,
        seen: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystore::Standing;

    #[test]
    fn a_label_cannot_command_a_terminal() {
        let entry = example(7, &["*"], Standing::Accepted);
        assert!(!called(&entry).contains('\u{1b}'));
    }

    #[test]
    fn a_key_that_is_named_twice_is_changed_once() {
        let entry = example(7, &["*"], Standing::Accepted);
        let texts = [entry.key.to_string(), entry.key.to_string()];
        let changes = each(&texts, &[entry], |key| Change::Revoke { key }).unwrap();
        assert_eq!(changes.len(), 1);
    }
}
