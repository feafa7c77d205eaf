//! The folder of the log: how it begins, how it is known to be what was left, and how it is kept
//! before an upgrade.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::directory::{self, sync_directory};
use crate::log::{self, Log};
use crate::rows::{Summary, Writes};
use crate::sled_store::{at, refused};
use crate::{Directory, StoreError};

/// The folder of the log. A new one appears whole, with its first rows, or not at all: sled would
/// give up on one that it had not finished.
pub(crate) fn place_of(directory: &Directory) -> Result<PathBuf, StoreError> {
    let place = directory.path().join("store");
    if !place.exists() {
        let new = directory.path().join("store.new");
        remove_all(&new)?;
        let new = directory.subdirectory("store.new").map_err(refused)?;
        let (mut log, _) = Log::open(&new, |_, _, _| Ok(()))?;
        begin(&mut log, &mut Summary::default())?;
        if !log.close() {
            return Err(StoreError::Io(io::Error::other("it cannot be begun")));
        }
        log::sync(&new)?;
        fs::rename(&new, &place)?;
        sync_directory(directory.path())?;
    }
    directory.subdirectory("store").map_err(refused)
}

/// The first rows of all.
pub(crate) fn begin(log: &mut Log, summary: &mut Summary) -> Result<(), StoreError> {
    log.reserve(0)?;
    log.write(summary, Writes::new())
}

/// Notes what the files of a log are that was closed and is on the disk.
pub(crate) fn note_closed(directory: &Path, store: &Path) -> Result<(), StoreError> {
    log::sync(store)?;
    let hash = hash_files(store)?;
    directory::write_private(&directory.join("closed"), &hash).map_err(refused)
}

/// Whether the files of a log are those that were there when it was closed; then sled finds nothing
/// in them that it would have to repair. This is good for once.
pub(crate) fn take_closed(directory: &Path, store: &Path) -> Result<bool, StoreError> {
    let note = directory.join("closed");
    let noted = match fs::read(&note) {
        Ok(noted) => noted,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    fs::remove_file(&note)?;
    sync_directory(directory)?;
    Ok(noted == hash_files(store)?)
}

fn hash_files(store: &Path) -> io::Result<[u8; 32]> {
    // Another format has another note: of that nothing may be opened in place.
    let mut hasher = blake3::Hasher::new_derive_key("moonport 2026 keystore closed, format 2");
    log::hash(store, &mut hasher)?;
    Ok(*hasher.finalize().as_bytes())
}

/// Copies a store of format 1, whole and durable, beside it. It is there for good, whatever becomes
/// of what is done next.
pub(crate) fn keep_copy(store: &Path, directory: &Path) -> Result<PathBuf, StoreError> {
    let place = directory.join("store.format-1");
    let new = directory.join("store.format-1.new");
    let copied = remove_all(&new)
        .and_then(|()| log::copy(store, &new))
        .and_then(|()| log::sync(&new))
        // One that is already there is of an upgrade that came to nothing.
        .and_then(|()| remove_all(&place))
        .and_then(|()| fs::rename(&new, &place))
        .and_then(|()| sync_directory(directory));
    copied.map_err(|error| at("cannot keep a copy of the earlier format", &error))?;
    Ok(place)
}

pub(crate) fn remove_all(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
