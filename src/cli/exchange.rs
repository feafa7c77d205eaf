//! `moonport key import` and `export`, and `key host import`: keys from other programs' files, and
//! into them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use identity::{Name, PublicKey};
use keystore::{Change, Entry, HostKeyChange, How, PrivateKey, Scope, Standing};
use serde::Serialize;

use super::admin::Admin;
use super::args::{HostKeyImport, KeyExport, KeyFormat, KeyImport};
use super::exit::{Exit, Failure, OrExit};
use super::output::{Output, printable, tell};
use super::passphrase::{self, FLAGS};
use super::{named, rooms};
use crate::formats::{
    self, Format, Imported, ImportedScope, Inbound, Private, State, Take, Where, arcan, curvecp,
    folder::Folder, jsonl, zeromq,
};

/// Takes over those who may connect to us.
pub(super) async fn import(args: KeyImport, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let (format, found) = read(&args.path, args.format, false)?;
    for server in &found.outbound {
        let why = "it is a server; `moonport server import` takes it";
        pass(&server.from, &format!("@{}: {why}", server.tag));
    }
    let mut admin = Admin::open(state)?;
    let known = admin.keys().await?;
    let mut plan = Plan::default();
    for entry in &found.inbound {
        let old = known.iter().find(|known| known.key == entry.key);
        match changes(entry, old, &args.scope) {
            Ok(changes) if changes.is_empty() => plan.same.push(entry.key),
            Ok(changes) => {
                plan.taken.push(entry.key);
                plan.changes.push(changes);
            }
            Err(why) => {
                pass(&entry.from, &format!("{}: {why}", entry.key));
                plan.passed.push(entry.key);
            }
        }
    }
    // All of it is tried before any of it is done.
    let portions = portions(std::mem::take(&mut plan.changes));
    for rehearse in [true, false] {
        if rehearse || !args.dry_run {
            for portion in &portions {
                admin.apply(portion.clone(), rehearse).await?;
            }
        }
    }
    if args.json.json {
        let keys = |keys: &[PublicKey]| keys.iter().map(PublicKey::to_string).collect();
        out.json(&Told {
            format: format.name(),
            dry_run: args.dry_run,
            taken: keys(&plan.taken),
            same: keys(&plan.same),
            passed_over: keys(&plan.passed),
        })?;
        return Ok(Exit::Done);
    }
    let would = if args.dry_run { "would be " } else { "" };
    for key in &plan.taken {
        out.line(format_args!("{key} {would}taken over"))?;
    }
    out.line(format_args!(
        "{} {would}taken over from {format}, {} known already, {} passed over",
        plan.taken.len(),
        plan.same.len(),
        plan.passed.len() + found.skipped.len(),
    ))?;
    Ok(Exit::Done)
}

/// Takes over private keys to listen with.
pub(super) async fn import_host(
    args: HostKeyImport,
    state: &Path,
    out: &Output,
) -> Result<Exit, Failure> {
    let (format, found) = read(&args.path, args.format, true)?;
    if found.private.is_empty() {
        let why = format_args!("{}: there is no key to listen with", args.path.display());
        return Err(Failure::because(Exit::Usage, why));
    }
    let keys: Vec<PrivateKey> = found
        .private
        .iter()
        .map(fitting)
        .collect::<Result<_, _>>()?;
    let one = keys.len() == 1;
    let place = args.passphrase.place();
    let seal = match args.seal || place.is_some() {
        true => Some(passphrase::new(place.as_ref(), FLAGS).await?),
        false => None,
    };
    let mut admin = Admin::open(state)?;
    for (own, private) in found.private.iter().zip(keys) {
        let tag = match (&args.tag, one) {
            (Some(tag), true) => tag.clone(),
            (Some(_), false) => {
                let why =
                    "there are several keys in it, so they keep their own tags; leave TAG out";
                return Err(Failure::because(Exit::Usage, why));
            }
            (None, _) => own.tag.clone(),
        };
        let change = HostKeyChange::New {
            seal: seal.clone(),
            private: Some(private),
        };
        let listed = admin
            .change_host_key(tag.clone(), change, args.how.dry_run)
            .await?;
        let done = if args.how.dry_run { "would be" } else { "is" };
        out.line(format_args!(
            "host key {tag} {done} {} from {format}",
            listed.ring.current
        ))?;
    }
    Ok(Exit::Done)
}

/// A private key, which has to be that of the public key beside it.
fn fitting(own: &Private) -> Result<PrivateKey, Failure> {
    let private = PrivateKey::new(*own.secret.reveal());
    match (own.public, private.public()) {
        (Some(said), own_public) if own_public != Some(said) => {
            let at = printable(&own.from.to_string());
            let why = format_args!(
                "{at}: the secret key is not that of the public key beside it, {said}; whoever knows \
                 that one could not connect, so nothing is taken over"
            );
            Err(Failure::because(Exit::Usage, why))
        }
        _ => Ok(private),
    }
}

/// Writes those who may connect to us.
pub(super) async fn export(args: KeyExport, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let known = Admin::open(state)?.keys().await?;
    let chosen: Result<BTreeSet<_>, Failure> = args
        .keys
        .iter()
        .map(|text| Ok(*named::key(text, &known)?.as_bytes()))
        .collect();
    let chosen = chosen?;
    let entries: Vec<Inbound> = known
        .iter()
        .filter(|entry| chosen.is_empty() || chosen.contains(entry.key.as_bytes()))
        .map(written)
        .collect();
    let Some(path) = &args.output else {
        return match args.format {
            KeyFormat::Jsonl => out
                .raw(jsonl::write(&entries, &[]).as_bytes())
                .map(|()| Exit::Done),
            _ => Err(Failure::because(
                Exit::Usage,
                "this format is a directory; say where with --output",
            )),
        };
    };
    match args.format {
        KeyFormat::Jsonl => write_new(path, &jsonl::write(&entries, &[]))?,
        KeyFormat::Arcan => {
            let files = arcan::write(&entries, &[], &[]);
            files.write(path).or_exit(Exit::Failed)?;
            for left in &files.left_out {
                tell(format_args!("moonport: left out {}", printable(left)));
            }
        }
        KeyFormat::Zeromq | KeyFormat::Curvecp => {
            make_folder(path)?;
            for entry in accepted(&entries) {
                let name = path.join(file_name(entry));
                match args.format {
                    KeyFormat::Zeromq => {
                        let (label, comment) = (entry.label.as_deref(), entry.comment.as_deref());
                        let text = zeromq::write_public(&entry.key, label, comment);
                        write_new(&name.with_extension("key"), &text)?;
                    }
                    _ => curvecp::write(&entry.key, None)
                        .write(&name)
                        .or_exit(Exit::Failed)?,
                }
            }
        }
    }
    Ok(Exit::Done)
}

fn read(path: &Path, format: Option<Format>, private: bool) -> Result<(Format, Imported), Failure> {
    let folder = Folder::read(path).or_exit(Exit::Usage)?;
    let format = match format {
        Some(format) => format,
        None => formats::guess(&folder).or_exit(Exit::Usage)?,
    };
    let take = Take {
        private,
        servers: false,
    };
    let found = formats::parse(format, &folder, take).or_exit(Exit::Usage)?;
    for skipped in &found.skipped {
        pass(&skipped.at, &skipped.why);
    }
    Ok((format, found))
}

/// What an import comes to.
#[derive(Default)]
struct Plan {
    /// Those of each key.
    changes: Vec<Vec<Change>>,
    taken: Vec<PublicKey>,
    same: Vec<PublicKey>,
    passed: Vec<PublicKey>,
}

/// What it takes to know a key as a file says; or why it is not taken over.
fn changes(
    entry: &Inbound,
    old: Option<&Entry>,
    scopes: &[Scope],
) -> Result<Vec<Change>, &'static str> {
    let key = entry.key;
    // What was decided here outweighs what was true elsewhere.
    match old.map(|old| old.standing) {
        Some(Standing::Banned) => return Err("it is banned here; `moonport key unban` lifts that"),
        Some(Standing::Revoked) if entry.state == State::Accepted => {
            return Err("it was revoked here; `moonport key accept` takes it in again");
        }
        _ => {}
    }
    let own = entry.scopes.iter().map(|scope| match scope {
        ImportedScope::Any => Scope::Any,
        ImportedScope::Name(name) => Scope::Name(name.clone()),
    });
    let mut wanted: BTreeSet<Scope> = own.collect();
    if wanted.is_empty() || entry.scopes.is_empty() {
        wanted.extend(scopes.iter().cloned());
    }
    let trusted = matches!(entry.state, State::Accepted | State::Disabled);
    if wanted.is_empty() && trusted {
        return Err("the file does not say for which name; say it with --scope");
    }
    let mut changes = Vec::new();
    if trusted {
        let missing = |scope: &&Scope| old.is_none_or(|old| !old.scopes.contains(*scope));
        for scope in wanted.iter().filter(missing) {
            let label = entry.label.clone();
            changes.push(Change::Accept {
                key,
                scope: scope.clone(),
                label: label.filter(|_| old.is_none_or(|old| old.label.is_none())),
                imported: true,
            });
        }
        if old.is_none() && entry.expires_ms.is_some() {
            let at_ms = entry.expires_ms;
            changes.push(Change::Expire { key, at_ms });
        }
        if entry.state == State::Disabled && old.is_none() {
            changes.push(Change::Disable { key });
        }
    } else if entry.state == State::Banned {
        changes.push(Change::Ban { key });
    } else if old.is_none() {
        changes.extend([Change::Ban { key }, Change::Unban { key }]);
    } else if old.is_some_and(|old| old.standing != Standing::Revoked) {
        changes.push(Change::Revoke { key });
    }
    if !changes.is_empty() && old.is_none_or(|old| old.comment.is_none()) {
        let comment = entry.comment.clone();
        changes.extend(comment.map(|comment| Change::Comment {
            key,
            comment: Some(comment),
        }));
    }
    Ok(changes)
}

/// As much as fits into one message each; what belongs to one key stays together.
fn portions(all: Vec<Vec<Change>>) -> Vec<Vec<Change>> {
    let mut portions: Vec<Vec<Change>> = vec![Vec::new()];
    for changes in all {
        match portions.last_mut() {
            Some(last) if last.is_empty() || last.len() + changes.len() <= PORTION => {
                last.extend(changes);
            }
            _ => portions.push(changes),
        }
    }
    portions.retain(|portion| !portion.is_empty());
    portions
}

/// An entry, as it is written for others.
fn written(entry: &Entry) -> Inbound {
    let scope = |scope: &Scope| match scope {
        Scope::Any => ImportedScope::Any,
        Scope::Name(name) => ImportedScope::Name(name.clone()),
    };
    let from = Where {
        file: "the keystore".into(),
        line: None,
    };
    Inbound {
        scopes: entry.scopes.iter().map(scope).collect(),
        state: match entry.standing {
            Standing::Accepted => State::Accepted,
            Standing::Disabled => State::Disabled,
            Standing::Revoked => State::Revoked,
            Standing::Banned => State::Banned,
        },
        label: entry.label.clone(),
        comment: entry.comment.clone(),
        added_ms: Some(entry.added.at_ms),
        expires_ms: entry.expires_ms,
        how: Some(
            match entry.added.how {
                How::Named => "named",
                How::Imported => "imported",
                How::Window(_) => "window",
            }
            .into(),
        ),
        ..Inbound::new(entry.key, from)
    }
}

/// Those that a format without words for anything else may name.
fn accepted(entries: &[Inbound]) -> impl Iterator<Item = &Inbound> {
    let now = rooms::now().wall_ms;
    entries.iter().filter(move |entry| {
        let good = entry.state == State::Accepted && entry.expires_ms.is_none_or(|end| end > now);
        if !good {
            tell(format_args!(
                "moonport: left out {}: it is not accepted",
                entry.key
            ));
        }
        good
    })
}

/// What its file is called: the label, if that can be a name, and the beginning of the key.
fn file_name(entry: &Inbound) -> String {
    let short: String = entry
        .key
        .as_bytes()
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let label = entry.label.as_deref().map(Name::parse);
    match label {
        Some(Ok(label)) => format!("{label}-{short}"),
        _ => short,
    }
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir(path).or_exit_with(Exit::Usage, || format!("cannot make {}", path.display()))
}

/// Writes a file that must not be there yet.
fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || {
        use std::io::Write;
        let mut file = fs::File::create_new(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().or_exit_with(Exit::Usage, || format!("cannot write {}", path.display()))
}

fn pass(at: &Where, why: &str) {
    let at = printable(&at.to_string());
    tell(format_args!(
        "moonport: passed over {at}: {}",
        printable(why)
    ));
}

/// What an import has done, for programs.
#[derive(Serialize)]
struct Told {
    format: &'static str,
    dry_run: bool,
    taken: Vec<String>,
    same: Vec<String>,
    passed_over: Vec<String>,
}

/// How many changes go into one message: each is at most some 600 bytes, and a message holds 64 KiB.
const PORTION: usize = 64;
