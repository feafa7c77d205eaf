//! A key directory that a server or client works from: its private key, and nonces that never come
//! again.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand_core::CryptoRng;
use rustix::fs::{FlockOperation, fcntl_lock};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::wire::crypto::SecretKey;
use crate::wire::curvecp::safenonce::safenonce;

/// As many nonces a server takes from the directory at once, as the reference does.
pub(super) const MANY: u64 = 1 << 20;

/// An opened key directory.
pub(super) struct KeyDir {
    folder: PathBuf,
    pub(super) secret: SecretKey,
    /// As many nonces are taken from it at once.
    reserved: u64,
    nonces: Option<Nonces>,
}

/// What nonces are made of.
struct Nonces {
    key: Zeroizing<[u8; 32]>,
    /// The counters that are ours.
    counters: Range<u64>,
}

/// What of a key directory cannot be used.
#[derive(Debug, Error)]
#[error("{}: {why}", path.display())]
pub(super) struct KeyDirError {
    path: PathBuf,
    why: io::Error,
}

impl KeyDir {
    /// Reads the private key; the files for nonces are looked at when the first one is needed, and
    /// so many `reserved` at once.
    pub(super) fn open(folder: &Path, reserved: u64) -> Result<Self, KeyDirError> {
        let folder = folder.join(".expertsonly");
        let secret = read::<32>(&folder.join("secretkey"))?;
        Ok(Self {
            secret: SecretKey::from_bytes(*secret),
            folder,
            reserved: reserved.max(1),
            nonces: None,
        })
    }

    /// A nonce that nobody with this directory has had.
    pub(super) fn nonce<R: CryptoRng>(&mut self, rng: &mut R) -> Result<[u8; 16], KeyDirError> {
        let mut nonces = match self.nonces.take() {
            Some(nonces) => nonces,
            None => Nonces {
                key: read(&self.folder.join("noncekey"))?,
                counters: 0..0,
            },
        };
        let counter = match nonces.counters.next() {
            Some(counter) => counter,
            None => {
                nonces.counters = self.reserve()?;
                // At least one has been reserved.
                nonces.counters.next().unwrap_or_default()
            }
        };
        let mut random = [0; 8];
        rng.fill_bytes(&mut random);
        let nonce = safenonce(&nonces.key, counter, random);
        self.nonces = Some(nonces);
        Ok(nonce)
    }

    /// Advances the counter, on disk before any of it is used.
    fn reserve(&self) -> Result<Range<u64>, KeyDirError> {
        let path = self.folder.join("lock");
        let lock = open(&path)?;
        fcntl_lock(&lock, FlockOperation::LockExclusive).map_err(|why| at(&path, why.into()))?;
        let path = self.folder.join("noncecounter");
        let file = open(&path)?;
        let advance = || {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, 0)?;
            let first = u64::from_le_bytes(bytes);
            let next = first
                .checked_add(self.reserved)
                .ok_or_else(|| io::Error::other("all nonces are used up: make a new directory"))?;
            file.write_all_at(&next.to_le_bytes(), 0)?;
            file.sync_all()?;
            Ok(first..next)
        };
        advance().map_err(|why| at(&path, why))
    }
}

fn open(path: &Path) -> Result<File, KeyDirError> {
    let file = OpenOptions::new().read(true).write(true).open(path);
    file.map_err(|why| at(path, why))
}

/// The beginning of a file, which must have as many bytes.
fn read<const N: usize>(path: &Path) -> Result<Zeroizing<[u8; N]>, KeyDirError> {
    let mut bytes = Zeroizing::new([0; N]);
    let file = File::open(path).map_err(|why| at(path, why))?;
    match file.read_exact_at(bytes.as_mut(), 0) {
        Ok(()) => Ok(bytes),
        Err(_) => Err(at(
            path,
            io::Error::other(format!("it must have {N} bytes")),
        )),
    }
}

fn at(path: &Path, why: io::Error) -> KeyDirError {
    KeyDirError {
        path: path.to_owned(),
        why,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join(".expertsonly");
        fs::create_dir(&inside).unwrap();
        fs::write(inside.join("secretkey"), [7; 32]).unwrap();
        fs::write(inside.join("noncekey"), [9; 32]).unwrap();
        fs::write(inside.join("noncecounter"), 5_u64.to_le_bytes()).unwrap();
        fs::write(inside.join("lock"), [0]).unwrap();
        folder
    }

    fn counter(folder: &tempfile::TempDir) -> u64 {
        let bytes = fs::read(folder.path().join(".expertsonly/noncecounter")).unwrap();
        u64::from_le_bytes(bytes.try_into().unwrap())
    }

    #[test]
    fn the_counter_is_on_disk_before_a_nonce_is_used() {
        let (folder, mut rng) = (folder(), ChaCha20Rng::from_seed([1; 32]));
        let mut keys = KeyDir::open(folder.path(), MANY).unwrap();
        assert_eq!(counter(&folder), 5);
        let first = keys.nonce(&mut rng).unwrap();
        assert_eq!(counter(&folder), 5 + MANY);
        let mut again = KeyDir::open(folder.path(), MANY).unwrap();
        let mut seen = HashSet::from([first]);
        for _ in 0..100 {
            assert!(seen.insert(keys.nonce(&mut rng).unwrap()));
            assert!(seen.insert(again.nonce(&mut rng).unwrap()));
        }
        assert_eq!(counter(&folder), 5 + 2 * MANY);
    }

    #[test]
    fn nonces_begin_with_the_counter_that_was_on_disk() {
        let (folder, seed) = (folder(), [1; 32]);
        let mut keys = KeyDir::open(folder.path(), MANY).unwrap();
        let nonce = keys.nonce(&mut ChaCha20Rng::from_seed(seed)).unwrap();
        let mut random = [0; 8];
        rand_core::Rng::fill_bytes(&mut ChaCha20Rng::from_seed(seed), &mut random);
        assert_eq!(nonce, safenonce(&[9; 32], 5, random));
    }

    #[test]
    fn what_is_missing_or_used_up_is_named() {
        let (folder, mut rng) = (folder(), ChaCha20Rng::from_seed([1; 32]));
        let mut keys = KeyDir::open(folder.path(), MANY).unwrap();
        let path = folder.path().join(".expertsonly/noncecounter");
        fs::write(&path, u64::MAX.to_le_bytes()).unwrap();
        let error = keys.nonce(&mut rng).unwrap_err().to_string();
        assert!(error.contains("used up"), "{error}");
        fs::remove_file(&path).unwrap();
        assert!(keys.nonce(&mut rng).is_err());
        fs::write(folder.path().join(".expertsonly/secretkey"), [1; 31]).unwrap();
        let error = KeyDir::open(folder.path(), MANY).err().unwrap().to_string();
        assert!(
            error.contains("secretkey: it must have 32 bytes"),
            "{error}"
        );
    }
}
