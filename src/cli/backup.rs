//! `moonport backup` and `moonport restore`: the whole keystore in one file that a passphrase opens.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use identity::PublicKey;
use keystore::backup::{self, BackupError, Manifest};
use keystore::sealed::Kdf;
use keystore::{Actor, Denied, Directory, Entry, Keystore, Note, Now, Sled};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use serde::Serialize;

use super::admin::Admin;
use super::args::{Backup, Restore};
use super::exit::{Exit, Failure, OrExit};
use super::key::agreed;
use super::output::{Output, count, printable};
use super::passphrase::{self, FLAGS};
use super::{moment, rooms};

/// Writes a backup; beside a host that runs, too.
pub(super) async fn backup(args: Backup, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let place = args.file.display().to_string();
    if args.file.exists() && !args.force {
        return Err(Failure::because(
            Exit::Usage,
            format_args!("{place} is there already; say --force to replace it"),
        ));
    }
    if !state.exists() {
        return Err(Failure::because(
            Exit::Keystore,
            format_args!("there is no keystore in {}", state.display()),
        ));
    }
    let passphrase = passphrase::new(args.passphrase.place().as_ref(), FLAGS).await?;
    let mut admin = Admin::open(state)?;
    let snapshot = Passing::beside(&state.join("snapshot"))?;
    let (epoch, keys) = admin.snapshot(&snapshot.path).await?;
    drop(admin);
    let manifest = Manifest {
        made_ms: rooms::now().wall_ms,
        version: env!("CARGO_PKG_VERSION").into(),
        epoch,
        keys,
    };
    // It appears whole or not at all.
    let new = Passing::beside(&args.file)?;
    let wrong = || format!("cannot write {place}");
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&new.path)
        .or_exit_with(Exit::Failed, wrong)?;
    let mut writer = BufWriter::new(file);
    backup::write(
        &snapshot.path,
        &manifest,
        &passphrase,
        Kdf::INTERACTIVE,
        &mut writer,
    )
    .or_exit_with(Exit::Failed, wrong)?;
    let file = writer.into_inner().map_err(io::IntoInnerError::into_error);
    file.and_then(|file| file.sync_all())
        .and_then(|()| fs::rename(&new.path, &args.file))
        .and_then(|()| sync_parent(&args.file))
        .or_exit_with(Exit::Failed, wrong)?;
    match args.json.json {
        true => out.json(&Shown::of(&manifest))?,
        false => out.line(format_args!(
            "{place} holds {} and the host's own; only the passphrase opens it",
            count_keys(keys)
        ))?,
    }
    Ok(Exit::Done)
}

/// Puts a backup in the place of the keystore. Until everything in it has been checked, nothing is
/// touched; what was there is kept beside.
pub(super) async fn restore(args: Restore, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let place = args.file.display().to_string();
    let wrong = || place.clone();
    let open = || {
        File::open(&args.file)
            .map(BufReader::new)
            .or_exit_with(Exit::Usage, wrong)
    };
    backup::check(open()?).map_err(|error| unfit(error, &place))?;
    let passphrase = passphrase::known(args.passphrase.place().as_ref()).await?;
    if let Some(parent) = state.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(parent);
        made.or_exit_with(Exit::Keystore, || parent.display().to_string())?;
    }
    // Held to the end, so that no host begins to work here meanwhile.
    let held = Directory::open(state).or_exit(Exit::Keystore)?;
    let new = Passing::beside(state)?;
    DirBuilder::new()
        .mode(0o700)
        .create(&new.path)
        .or_exit_with(Exit::Keystore, || new.path.display().to_string())?;
    let manifest =
        backup::read(open()?, &passphrase, &new.path).map_err(|error| unfit(error, &place))?;

    let now = rooms::now();
    let restored = known(&new.path, now, manifest.made_ms)?;
    // A store that cannot be read is what backups are for.
    let present = Sled::open(&held, now).map(|store| store.entries());
    let present = match present {
        Ok(Ok(entries)) => entries,
        Ok(Err(error)) | Err(error) => {
            super::output::tell(format_args!("moonport: what is there now: {error}"));
            Vec::new()
        }
    };
    let difference = Difference::between(&present, &restored, now);
    if !args.json.json {
        out.line(format_args!(
            "{place} was made {}, and holds {}",
            moment::distance(manifest.made_ms, now.wall_ms),
            count_keys(manifest.keys)
        ))?;
        difference.tell(out)?;
    }
    if args.dry_run {
        return told(&args, &manifest, &difference, None, out);
    }
    if !args.yes {
        agreed("put it in the place of the present keystore?").await?;
    }
    let kept = exchange(state, new, now).or_exit_with(Exit::Keystore, || {
        format!("cannot put it in the place of {}", state.display())
    })?;
    drop(held);
    told(&args, &manifest, &difference, Some(&kept), out)
}

fn told(
    args: &Restore,
    manifest: &Manifest,
    difference: &Difference,
    kept: Option<&Path>,
    out: &Output,
) -> Result<Exit, Failure> {
    if args.json.json {
        out.json(&Restored {
            backup: Shown::of(manifest),
            accepted_again: difference.again.iter().map(PublicKey::to_string).collect(),
            forgotten: difference.lost.iter().map(PublicKey::to_string).collect(),
            kept: kept.map(|kept| kept.display().to_string()),
        })?;
    } else if let Some(kept) = kept {
        out.line(format_args!(
            "restored; what was there before is kept in {}",
            kept.display()
        ))?;
        out.line("windows are not restored: open new ones")?;
    } else {
        out.line("nothing was changed")?;
    }
    Ok(Exit::Done)
}

/// The keys of a keystore that was just unpacked, all of it checked. Its log says from now on that
/// it was restored.
fn known(folder: &Path, now: Now, made_ms: u64) -> Result<Vec<Entry>, Failure> {
    let directory = Directory::open(folder).or_exit(Exit::Keystore)?;
    let mut store = Sled::open(&directory, now).or_exit(Exit::Keystore)?;
    let by = Actor::User(rustix::process::geteuid().as_raw());
    store
        .note(now, Note::Restored { by, made_ms })
        .and_then(|()| store.settle(now))
        .or_exit(Exit::Keystore)?;
    store.entries().or_exit(Exit::Keystore)
}

/// Exchanges two folders, and gives where the old one then is. Scripts' own files stay where they
/// are: they are not the keystore's.
fn exchange(state: &Path, new: Passing, now: Now) -> io::Result<PathBuf> {
    let mut kept = state.as_os_str().to_owned();
    kept.push(format!(".before-{}", now.wall_ms));
    let kept = PathBuf::from(kept);
    match renameat_with(CWD, &new.path, CWD, state, RenameFlags::EXCHANGE) {
        // From here on, what stands there is the old one.
        Ok(()) => fs::rename(new.into_path(), &kept)?,
        // A file system that can only do one after the other.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::rename(state, &kept)?;
            fs::rename(&new.path, state)?;
        }
        Err(other) => return Err(other.into()),
    }
    for folder in ["appl", "temporary"] {
        match fs::rename(kept.join(folder), state.join(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync_parent(state)?;
    Ok(kept)
}

/// What a restoration means for those who are known.
#[derive(Debug, Default)]
struct Difference {
    /// Accepted in the backup, and not any more at present.
    again: Vec<PublicKey>,
    /// Accepted at present, and not in the backup.
    lost: Vec<PublicKey>,
    labels: BTreeMap<[u8; 32], String>,
}

impl Difference {
    fn between(present: &[Entry], restored: &[Entry], now: Now) -> Self {
        let accepted = |entries: &[Entry]| -> BTreeMap<[u8; 32], PublicKey> {
            let is = |entry: &&Entry| !matches!(standing(entry, now), Some(denied) if denied != Denied::OutOfScope);
            let entries = entries.iter().filter(is);
            entries
                .map(|entry| (*entry.key.as_bytes(), entry.key))
                .collect()
        };
        let (before, after) = (accepted(present), accepted(restored));
        let without = |these: &BTreeMap<_, PublicKey>, those: &BTreeMap<[u8; 32], _>| {
            let only = these.iter().filter(|(key, _)| !those.contains_key(*key));
            only.map(|(_, key)| *key).collect()
        };
        let labels = present.iter().chain(restored);
        Self {
            again: without(&after, &before),
            lost: without(&before, &after),
            labels: labels
                .filter_map(|entry| Some((*entry.key.as_bytes(), entry.label.clone()?)))
                .collect(),
        }
    }

    fn tell(&self, out: &Output) -> Result<(), Failure> {
        let parts = [
            ("would be accepted that are not accepted now", &self.again),
            ("are accepted now, and would not be known", &self.lost),
        ];
        for (what, keys) in parts {
            if keys.is_empty() {
                continue;
            }
            out.line(format_args!("{} {what}:", count_keys(keys.len() as u64)))?;
            for key in keys.iter().take(SHOWN) {
                let label = self.labels.get(key.as_bytes()).map(String::as_str);
                out.line(format_args!(
                    "  {key}  {}",
                    printable(label.unwrap_or_default())
                ))?;
            }
            if keys.len() > SHOWN {
                out.line(format_args!("  and {} more", keys.len() - SHOWN))?;
            }
        }
        Ok(())
    }
}

/// Why a key is accepted nowhere; `None`: it is.
fn standing(entry: &Entry, now: Now) -> Option<Denied> {
    // No name is asked for: a key that is in order is out of scope at worst.
    let name = identity::Name::parse("-").ok()?;
    match entry.scopes.is_empty() {
        true => Some(Denied::Unknown),
        false => entry.allows(&name, now, 0).err(),
    }
}

/// A path with a random end, at which there is nothing left when this is dropped.
struct Passing {
    path: PathBuf,
}

impl Passing {
    fn beside(path: &Path) -> Result<Self, Failure> {
        let number = getrandom::u32().or_exit(Exit::Failed)?;
        let mut path = path.as_os_str().to_owned();
        path.push(format!(".{number:08x}"));
        Ok(Self { path: path.into() })
    }

    /// Keeps what is there.
    fn into_path(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        // What is left may be in use by nobody; a later run does not need its name.
        let _ = match fs::symlink_metadata(&self.path) {
            Ok(meta) if meta.is_dir() => fs::remove_dir_all(&self.path),
            Ok(_) => fs::remove_file(&self.path),
            Err(error) => Err(error),
        };
    }
}

fn unfit(error: BackupError, place: &str) -> Failure {
    Failure::because(
        Exit::Keystore,
        format_args!("{place}: {error}; nothing was changed"),
    )
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn count_keys(keys: u64) -> String {
    count(u32::try_from(keys).unwrap_or(u32::MAX), "key")
}

/// A backup, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    made_ms: u64,
    version: &'a str,
    epoch: u64,
    keys: u64,
}

impl<'a> Shown<'a> {
    fn of(manifest: &'a Manifest) -> Self {
        Self {
            made_ms: manifest.made_ms,
            version: &manifest.version,
            epoch: manifest.epoch,
            keys: manifest.keys,
        }
    }
}

/// What a restoration has done, for programs.
#[derive(Serialize)]
struct Restored<'a> {
    backup: Shown<'a>,
    accepted_again: Vec<String>,
    forgotten: Vec<String>,
    /// Where the old keystore is; `None`: nothing was changed.
    kept: Option<String>,
}

/// How many keys of a kind are named.
const SHOWN: usize = 20;
