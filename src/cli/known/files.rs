//! Small files that are nobody else's, and appear whole or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use zeroize::Zeroizing;

/// A file that nobody else can read.
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "others may read or write it: check it, then chmod 600 it",
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    file.take(LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a key; if another process is first, takes that one's.
pub(super) fn make_identity(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    match write_identity(path, &bytes, false) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read(path),
    }
}

/// Writes a private key.
pub(super) fn write_identity(path: &Path, bytes: &[u8; 32], replace: bool) -> io::Result<()> {
    // What it grew out of would not be wiped.
    let mut text = Zeroizing::new(String::with_capacity(45));
    BASE64.encode_append(bytes, &mut text);
    text.push('\n');
    write(path, text.as_bytes(), replace)
}

/// Makes a file appear whole and durable, or not at all.
pub(super) fn write(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(
        ".{:08x}",
        getrandom::u32().map_err(io::Error::other)?
    ));
    let new = PathBuf::from(new);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match replace {
            true => fs::rename(&new, path),
            // A link, unlike a rename, fails if the name is taken.
            false => fs::hard_link(&new, path),
        }
    })();
    if written.is_err() || !replace {
        // What matters is told already.
        let _ = fs::remove_file(&new);
    }
    written?;
    sync_parent(path)
}

/// Makes a folder, if it is not there.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Moves a file to a name that is not taken, durably.
pub(super) fn rename(old: &Path, new: &Path) -> io::Result<()> {
    // A link, unlike a rename, fails if the name is taken.
    fs::hard_link(old, new)?;
    sync_parent(new)?;
    remove(old)
}

/// Removes a file, durably.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    fs::remove_file(path)?;
    sync_parent(path)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// The longest of these files, in bytes: a server with all its addresses.
const LONGEST: usize = 16 * 1024;
