use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, OFlags, flock};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// The state directory of one host: nobody else may look into it, and one host at a time works in
/// it. It is held until the last clone is gone.
///
/// ```text
/// lock           held by the host (flock), which has written its pid in it
/// hostkeys/TAG   static private keys, 0600
/// …              what the keystore keeps; see README.md
/// ```
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    _lock: Arc<File>,
}

/// Why a state directory, or a file in it, was not opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another host works in it.
    #[error("another host{} works in {}; end it first, or use another state directory", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Held {
        /// The state directory.
        path: PathBuf,
        /// The other host's process, if it has written it already.
        pid: Option<u32>,
    },
    /// It is somebody else's.
    #[error("{} belongs to user {owner}, not to user {me} who runs this; run as its owner, or chown it", path.display())]
    Foreign {
        /// What is somebody else's.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who we are.
        me: u32,
    },
    /// Others may look into it, or write.
    #[error("{} is open to others (mode {mode:04o}): what is in it may be known or changed; check it, then chmod {} it", path.display(), if *directory { "700" } else { "600" })]
    Exposed {
        /// What is open.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// Whether it is a directory.
        directory: bool,
    },
    /// It is not what should be there.
    #[error("{} is not {expected}; move it away, or restore it from a backup", path.display())]
    Unfit {
        /// What is wrong.
        path: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The system says no.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it cannot.
        source: io::Error,
    },
}

impl Directory {
    /// Opens the state directory, and makes it (mode 0700) if there is none.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        make_directory(path)?;
        let lock_path = path.join("lock");
        let lock = private(OpenOptions::new().read(true).write(true).create(true))
            .open(&lock_path)
            .map_err(failed("open", &lock_path))?;
        check(&lock, &lock_path, false)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let pid = holder(&lock);
                return Err(OpenError::Held {
                    path: path.into(),
                    pid,
                });
            }
            Err(error) => return Err(failed("lock", &lock_path)(error.into())),
        }
        let pid = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.write_all_at(pid.as_bytes(), 0))
            .map_err(failed("write", &lock_path))?;
        Ok(Self {
            path: path.into(),
            _lock: Arc::new(lock),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it, made on first use.
    pub(crate) fn subdirectory(&self, name: &str) -> Result<PathBuf, OpenError> {
        let path = self.path.join(name);
        make_directory(&path)?;
        Ok(path)
    }
}

/// A new file of 32 random bytes, durable when this returns.
pub(crate) fn make_key_file(path: &Path) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let key = random(path)?;
    write_private(path, &*key)?;
    Ok(key)
}

/// A file of 32 bytes, if there is one.
pub(crate) fn read_key_file(path: &Path) -> Result<Option<Zeroizing<[u8; 32]>>, OpenError> {
    let unfit = || OpenError::Unfit {
        path: path.into(),
        expected: "a key of 32 bytes",
    };
    read_private(path, 32)?
        .map(|mut bytes| into_key(std::mem::take(&mut *bytes)).ok_or_else(unfit))
        .transpose()
}

/// Makes what was done to the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn make_directory(path: &Path) -> Result<(), OpenError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_parent(path)?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(failed("make", path))?;
            sync_parent(path)?;
        }
        Err(error) => return Err(failed("make", path)(error)),
    }
    let flags = OFlags::DIRECTORY.bits();
    let directory = OpenOptions::new()
        .read(true)
        .custom_flags(flags.cast_signed())
        .open(path)
        .map_err(failed("open", path))?;
    check(&directory, path, true)
}

fn sync_parent(path: &Path) -> Result<(), OpenError> {
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    sync_directory(parent).map_err(failed("sync", parent))
}

/// Only its owner may do anything with it, and that is us.
fn check(file: &File, path: &Path, directory: bool) -> Result<(), OpenError> {
    let meta = file.metadata().map_err(failed("look at", path))?;
    let me = rustix::process::geteuid().as_raw();
    let mode = meta.mode() & 0o7777;
    if !directory && !meta.is_file() {
        return Err(OpenError::Unfit {
            path: path.into(),
            expected: "a file",
        });
    }
    if meta.uid() != me {
        return Err(OpenError::Foreign {
            path: path.into(),
            owner: meta.uid(),
            me,
        });
    }
    if mode & 0o077 != 0 {
        return Err(OpenError::Exposed {
            path: path.into(),
            mode,
            directory,
        });
    }
    Ok(())
}

fn holder(lock: &File) -> Option<u32> {
    let mut text = [0; 16];
    let len = lock.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..len)?)
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// The contents of a file that only we may read, if there is one.
pub(crate) fn read_private(
    path: &Path,
    at_most: u64,
) -> Result<Option<Zeroizing<Vec<u8>>>, OpenError> {
    let file = match private(OpenOptions::new().read(true)).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("open", path)(error)),
    };
    check(&file, path, false)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(512));
    file.take(at_most + 1)
        .read_to_end(&mut bytes)
        .map_err(failed("read", path))?;
    Ok(Some(bytes))
}

/// Makes a file appear whole and durable, or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let new = path.with_extension("new");
    let write = || {
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let written = write().map_err(failed("write", path));
    if written.is_err() {
        // What there is of it may be half a key; the first error is the one to tell.
        let _ = fs::remove_file(&new);
    }
    written?;
    sync_parent(path)
}

/// No symbolic links, nothing for others, nothing waits (a FIFO would).
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(flags.bits().cast_signed())
}

pub(crate) fn random(path: &Path) -> Result<Zeroizing<[u8; 32]>, OpenError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *key)
        .map_err(|error| failed("get random bytes for", path)(io::Error::other(error)))?;
    Ok(key)
}

fn into_key(mut bytes: Vec<u8>) -> Option<Zeroizing<[u8; 32]>> {
    let key = <[u8; 32]>::try_from(bytes.as_slice())
        .ok()
        .map(Zeroizing::new);
    bytes.zeroize();
    key
}

pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Io {
        action,
        path: path.into(),
        source,
    }
}
