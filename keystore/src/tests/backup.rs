//! Backups: all of it comes back, or nothing is taken.

use std::fs::{self, File};
use std::io::Cursor;

use super::*;
use crate::backup::{self, BackupError, Manifest};
use crate::sealed::{Kdf, Passphrase, UnsealError};

fn cheap() -> Kdf {
    Kdf::new(8, 1, 1).unwrap()
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::parse(text.as_bytes()).unwrap()
}

fn manifest() -> Manifest {
    Manifest {
        made_ms: 7,
        version: "0".into(),
        epoch: 4,
        keys: 3,
    }
}

/// A backup of a store with three keys, a window and a host key.
fn made(dir: &TempDir) -> Vec<u8> {
    let directory = state_directory(dir);
    let mut store = Sled::open(&directory, at(0)).unwrap();
    let changes = [accept(1, "door"), accept(2, "*"), open(7, 2), enrol(7, 3)];
    store.apply(at(0), &ADMIN, &changes).unwrap();
    let client = directory.path().join("client/servers");
    fs::create_dir_all(&client).unwrap();
    fs::write(client.join("home.toml"), "x".repeat(200_000)).unwrap();
    fs::write(directory.path().join("lock.other"), "not ours").unwrap();
    let folder = dir.path().join("snapshot");
    store.snapshot(at(1), &folder).unwrap();
    let mut file = Vec::new();
    let manifest = manifest();
    backup::write(&folder, &manifest, &passphrase("hen"), cheap(), &mut file).unwrap();
    file
}

fn unpack(file: &[u8], words: &str, dir: &TempDir) -> Result<Manifest, BackupError> {
    let folder = dir.path().join("state");
    let _ = fs::remove_dir_all(&folder);
    let builder = &mut fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(builder, 0o700)
        .create(&folder)
        .unwrap();
    backup::read(Cursor::new(file), &passphrase(words), &folder)
}

#[test]
fn everything_comes_back_but_the_windows() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = made(&from);
    assert_eq!(
        backup::manifest(Cursor::new(&file), &passphrase("hen")).unwrap(),
        manifest()
    );
    assert_eq!(unpack(&file, "hen", &to).unwrap(), manifest());
    let store = sled(&to, at(2));
    let keys: Vec<_> = store
        .entries()
        .unwrap()
        .iter()
        .map(|entry| entry.key)
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(is_known(&store, at(2), 1) && is_known(&store, at(2), 3));
    assert_eq!(
        left(&store, at(2), 7),
        0,
        "i2: a window that may have been spent since"
    );
    let state = to.path().join("state");
    assert_eq!(
        fs::read(state.join("client/servers/home.toml"))
            .unwrap()
            .len(),
        200_000
    );
    assert!(!state.join("lock.other").exists());
}

#[test]
fn a_wrong_passphrase_opens_nothing() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = made(&from);
    let error = unpack(&file, "cock", &to).unwrap_err();
    assert!(
        matches!(error, BackupError::Unseal(UnsealError::WrongOrTampered)),
        "{error}"
    );
}

#[test]
fn a_backup_that_was_cut_or_changed_anywhere_is_told() {
    let (from, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = made(&from);
    let mut random = Random::from_env();
    for _ in 0..60 {
        let at = random.below(file.len() as u64) as usize;
        assert!(unpack(&file[..at], "hen", &to).is_err(), "cut at {at}");
        let mut changed = file.clone();
        changed[at] ^= 1 << random.below(8);
        // What argon2 is told to do is bounded, but a byte of it may still make it slow.
        if !(17..30).contains(&at) {
            assert!(unpack(&changed, "hen", &to).is_err(), "changed at {at}");
        }
    }
    let longer = [file.as_slice(), b"x"].concat();
    assert!(unpack(&longer, "hen", &to).is_err(), "something follows");
    // Whole pieces are missing.
    let piece = 64 * 1024 + 16;
    assert!(unpack(&file[..file.len() - piece], "hen", &to).is_err());
}

#[test]
fn what_is_no_backup_is_called_so_before_a_passphrase_is_asked_for() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("x");
    for (bytes, what) in [
        (&b""[..], "no backup"),
        (b"#!/bin/sh\n", "no backup"),
        (b"moonback\x02", "format 2"),
        (b"moonback\x01\xff\xff\xff\xff", "cut short"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = backup::check(File::open(&path).unwrap()).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}
