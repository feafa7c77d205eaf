//! All of a state directory's keystore in one file that a passphrase opens.
//!
//! ```text
//!  0  magic    "moonback"
//!  8  version  1
//!  9  length   of the next part, u32, little-endian
//! 13  opening  sealed by the passphrase (see `sealed`): a key, a nonce's beginning, the manifest
//!  …  body     a tar archive in pieces of 64 KiB, the last one not full, each sealed with
//!              XChaCha20-Poly1305 as STREAM has it (Hoang, Reyhanitabar, Rogaway, Vizár, 2015:
//!              the nonce ends in a counter and in whether this is the last)
//! ```
//!
//! Windows are not in it: one that has been used up since would let in more than its count.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path};

use aead_stream::{DecryptorBE32, EncryptorBE32, Nonce, StreamBE32};
use chacha20poly1305::XChaCha20Poly1305;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::directory::sync_directory;
use crate::log;
use crate::sealed::{self, Kdf, Passphrase, SealError, UnsealError};

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// When it was made, wall clock, ms since 1970.
    pub made_ms: u64,
    /// The version of the program that made it.
    pub version: String,
    /// How many changes the store had seen.
    pub epoch: u64,
    /// How many keys it knew.
    pub keys: u64,
}

/// Why there is no backup, or nothing was read from one.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The system says no.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The passphrase does not open it.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// It is something else.
    #[error("this is no backup of Moonport")]
    NotOne,
    /// Another version of the program wrote it.
    #[error("the backup has format {found}, but this program knows format {VERSION}")]
    Format {
        /// The number in it.
        found: u8,
    },
    /// It is not what was written, or not all of it.
    #[error("the backup is cut short or was changed")]
    Damaged,
}

/// What of a state directory goes into a backup.
const PARTS: [&str; 5] = ["store", "acknowledged", "hostkeys", "audit", "client"];

/// Copies what goes into a backup to a new folder. Nobody may write to it meanwhile.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    for part in PARTS {
        let (from, to) = (from.join(part), to.join(part));
        match fs::symlink_metadata(&from) {
            Ok(meta) if meta.is_dir() => log::copy(&from, &to)?,
            Ok(_) => drop(fs::copy(&from, &to)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes what is in a folder, which nobody changes meanwhile.
pub fn write(
    folder: &Path,
    manifest: &Manifest,
    passphrase: &Passphrase,
    kdf: Kdf,
    mut to: impl Write,
) -> Result<(), BackupError> {
    let mut opening = Opening {
        key: [0; KEY],
        nonce: [0; NONCE],
        manifest: manifest.clone(),
    };
    getrandom::fill(&mut opening.key).map_err(SealError::Random)?;
    getrandom::fill(&mut opening.nonce).map_err(SealError::Random)?;
    let plain = postcard::to_stdvec(&opening).map(Zeroizing::new);
    let plain = plain.map_err(io::Error::other)?;
    let sealed = sealed::seal(passphrase, kdf, PURPOSE, &plain)?;
    let length = u32::try_from(sealed.len()).map_err(io::Error::other)?;
    to.write_all(MAGIC)?;
    to.write_all(&[VERSION])?;
    to.write_all(&length.to_le_bytes())?;
    to.write_all(&sealed)?;

    let mut archive = tar::Builder::new(Sealer::new(&opening, to));
    archive.mode(tar::HeaderMode::Deterministic);
    archive.follow_symlinks(false);
    for part in PARTS {
        let path = folder.join(part);
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => archive.append_dir_all(part, &path)?,
            Ok(_) => archive.append_path_with_name(&path, part)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    archive.into_inner()?.finish()?;
    Ok(())
}

/// Reads what a backup is of, without reading it all.
pub fn manifest(mut from: impl Read, passphrase: &Passphrase) -> Result<Manifest, BackupError> {
    Ok(open(&mut from, passphrase)?.manifest.clone())
}

/// Whether it looks like a backup, so that a passphrase is worth asking for.
pub fn check(mut from: impl Read) -> Result<(), BackupError> {
    Ok(sealed::check(&sealed_opening(&mut from)?)?)
}

/// Puts what is in a backup into an empty folder, and makes it durable there. After an error the
/// folder holds some of it.
pub fn read(
    mut from: impl Read,
    passphrase: &Passphrase,
    folder: &Path,
) -> Result<Manifest, BackupError> {
    let opening = open(&mut from, passphrase)?;
    let mut archive = tar::Archive::new(Opener::new(&opening, from));
    for entry in archive.entries().map_err(damaged)? {
        let mut entry = entry.map_err(damaged)?;
        let path = entry.path().map_err(damaged)?.into_owned();
        let plain = |part| matches!(part, Component::Normal(_));
        let known = path
            .components()
            .next()
            .is_some_and(|first| PARTS.iter().any(|part| first.as_os_str() == *part));
        if !known || !path.components().all(plain) {
            return Err(BackupError::Damaged);
        }
        let place = folder.join(&path);
        let mode = match entry.header().entry_type() {
            tar::EntryType::Directory => {
                fs::create_dir(&place)?;
                0o700
            }
            tar::EntryType::Regular => {
                let mut file = File::create_new(&place)?;
                io::copy(&mut entry, &mut file).map_err(damaged)?;
                file.sync_all()?;
                0o600
            }
            _ => return Err(BackupError::Damaged),
        };
        fs::set_permissions(&place, fs::Permissions::from_mode(mode))?;
    }
    // What follows the archive's end still has to be what was written, up to the last piece.
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(damaged)?;
    if rest.from.read(&mut [0])? > 0 {
        return Err(BackupError::Damaged);
    }
    sync_all(folder)?;
    Ok(opening.manifest.clone())
}

fn sync_all(folder: &Path) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let file = file?;
        if file.file_type()?.is_dir() {
            sync_all(&file.path())?;
        }
    }
    sync_directory(folder)
}

/// What the body says of itself is checked before it is believed, so that an error in reading it
/// says that it is not what was written; unless it is one of the system's own.
fn damaged(error: io::Error) -> BackupError {
    match error.raw_os_error() {
        Some(_) => BackupError::Io(error),
        None => BackupError::Damaged,
    }
}

/// What the passphrase opens.
#[derive(Serialize, Deserialize)]
struct Opening {
    key: [u8; KEY],
    nonce: [u8; NONCE],
    manifest: Manifest,
}

impl Drop for Opening {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.key);
    }
}

fn open(from: &mut impl Read, passphrase: &Passphrase) -> Result<Opening, BackupError> {
    let sealed = sealed_opening(from)?;
    let plain = sealed::open(passphrase, PURPOSE, &sealed)?;
    postcard::from_bytes(&plain).map_err(|_| BackupError::Damaged)
}

fn sealed_opening(from: &mut impl Read) -> Result<Vec<u8>, BackupError> {
    let mut start = [0; MAGIC.len()];
    let mut version = [0];
    let mut length = [0; 4];
    from.read_exact(&mut start)
        .map_err(|_| BackupError::NotOne)?;
    if start != *MAGIC {
        return Err(BackupError::NotOne);
    }
    from.read_exact(&mut version).map_err(short)?;
    if version != [VERSION] {
        let [found] = version;
        return Err(BackupError::Format { found });
    }
    from.read_exact(&mut length).map_err(short)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > LONGEST_OPENING {
        return Err(BackupError::Damaged);
    }
    let mut sealed = vec![0; length];
    from.read_exact(&mut sealed).map_err(short)?;
    Ok(sealed)
}

fn short(error: io::Error) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged,
        _ => BackupError::Io(error),
    }
}

type Cipher = XChaCha20Poly1305;
type StreamNonce = Nonce<Cipher, StreamBE32<Cipher>>;

/// Seals what is written to it.
struct Sealer<W> {
    to: W,
    stream: EncryptorBE32<Cipher>,
    piece: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealer<W> {
    fn new(opening: &Opening, to: W) -> Self {
        let nonce = StreamNonce::from(opening.nonce);
        let stream = EncryptorBE32::new(&opening.key.into(), &nonce);
        Self {
            to,
            stream,
            piece: Zeroizing::new(Vec::with_capacity(PIECE)),
        }
    }

    /// Seals the last piece, so that it can be told that none is missing.
    fn finish(mut self) -> io::Result<()> {
        self.seal_full()?;
        let sealed = self.stream.encrypt_last(self.piece.as_slice());
        self.to.write_all(&sealed.map_err(not_sealed)?)?;
        self.to.flush()
    }

    /// Seals the piece if it is full. The last one never is.
    fn seal_full(&mut self) -> io::Result<()> {
        if self.piece.len() == PIECE {
            let sealed = self.stream.encrypt_next(self.piece.as_slice());
            self.to.write_all(&sealed.map_err(not_sealed)?)?;
            self.piece.clear();
        }
        Ok(())
    }
}

fn not_sealed(_: chacha20poly1305::Error) -> io::Error {
    io::Error::other("there is more than can be sealed")
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.seal_full()?;
        let room = PIECE - self.piece.len();
        let taken = bytes.get(..room).unwrap_or(bytes);
        self.piece.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what it reads. What comes out has been verified; its end is the end that was written.
struct Opener<R> {
    from: R,
    /// `None`: the last piece has been opened.
    stream: Option<DecryptorBE32<Cipher>>,
    piece: Zeroizing<Vec<u8>>,
    read: usize,
}

impl<R: Read> Opener<R> {
    fn new(opening: &Opening, from: R) -> Self {
        let nonce = StreamNonce::from(opening.nonce);
        let stream = DecryptorBE32::new(&opening.key.into(), &nonce);
        Self {
            from,
            stream: Some(stream),
            piece: Zeroizing::default(),
            read: 0,
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let Some(mut stream) = self.stream.take() else {
            return Ok(());
        };
        let mut sealed = Vec::with_capacity(PIECE + TAG + 1);
        let whole = (PIECE + TAG) as u64;
        self.from.by_ref().take(whole).read_to_end(&mut sealed)?;
        let wrong = |_| io::Error::other("a piece does not open");
        // The last piece is the one that is not full.
        self.piece = Zeroizing::new(match sealed.len() < PIECE + TAG {
            true => stream.decrypt_last(sealed.as_slice()).map_err(wrong)?,
            false => {
                let piece = stream.decrypt_next(sealed.as_slice()).map_err(wrong)?;
                self.stream = Some(stream);
                piece
            }
        });
        self.read = 0;
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.read == self.piece.len() && self.stream.is_some() {
            self.next_piece()?;
        }
        let mut rest = self.piece.get(self.read..).unwrap_or_default();
        let read = rest.read(to)?;
        self.read += read;
        Ok(read)
    }
}

const MAGIC: &[u8; 8] = b"moonback";
const VERSION: u8 = 1;
const PURPOSE: &[u8] = b"moonport backup";
const KEY: usize = 32;
const NONCE: usize = 19;
const TAG: usize = 16;
const PIECE: usize = 64 * 1024;
const LONGEST_OPENING: usize = 4096;
