//! Whose word a configuration file is: it decides what runs, so nobody but us and root may write it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use thiserror::Error;

/// Why a file is not read.
#[derive(Debug, Error)]
pub(super) enum ReadError {
    /// The system says no.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a pipe, a device.
    #[error("this is no file")]
    NoFile,
    /// It belongs to somebody else.
    #[error("it belongs to user {0}, who could have it say anything; it has to be yours or root's")]
    Foreign(u32),
    /// Somebody else may write it.
    #[error("others may write it (mode {0:04o}); `chmod go-w` takes that away")]
    Writable(u32),
    /// It is larger than any can be.
    #[error("it is larger than {} KiB", MAX_SIZE >> 10)]
    TooLarge,
    /// It is no text.
    #[error("byte {0} is no UTF-8")]
    NoText(usize),
}

/// Reads a file if it can be trusted.
pub(super) fn read(path: &Path) -> Result<String, ReadError> {
    // What is opened is what is looked at; a pipe is not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = File::from(file);
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(ReadError::NoFile);
    }
    let us = rustix::process::geteuid().as_raw();
    if ![0, us].contains(&about.uid()) {
        return Err(ReadError::Foreign(about.uid()));
    }
    if about.mode() & 0o022 != 0 {
        return Err(ReadError::Writable(about.mode() & 0o7777));
    }
    let mut bytes = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_SIZE) {
        return Err(ReadError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| ReadError::NoText(error.utf8_error().valid_up_to()))
}

/// Bytes.
const MAX_SIZE: u64 = 64 << 10;
