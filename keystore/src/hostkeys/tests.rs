use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use data_encoding::BASE64;
use tempfile::TempDir;

use super::*;
use crate::tests::directory::{mode, set_mode};
use crate::tests::{Random, name, open_directory, state_directory};

const DAY: u64 = 86_400_000;
const NOW: u64 = 1_700_000_000_000;

fn keys(dir: &TempDir) -> HostKeys {
    cheap(&state_directory(dir))
}

/// With as little work for a passphrase as argon2id allows.
fn cheap(directory: &Directory) -> HostKeys {
    HostKeys {
        kdf: Kdf::new(8, 1, 1).unwrap(),
        ..HostKeys::new(directory).unwrap()
    }
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::parse(text.as_bytes()).unwrap()
}

fn tag() -> Name {
    name("default")
}

fn done(keys: &HostKeys, now: u64, change: HostKeyChange) -> Ring<HostKey> {
    keys.change(&tag(), now, change, false).unwrap().1
}

fn refused(keys: &HostKeys, now: u64, change: HostKeyChange) -> HostKeyError {
    let before = fs::read(keys.path(&tag())).ok();
    let error = keys.change(&tag(), now, change, false).unwrap_err();
    assert_eq!(fs::read(keys.path(&tag())).ok(), before);
    let text = error.to_string();
    assert!(!text.contains('\n') && !text.contains("canary"), "{text}");
    error
}

fn new(seal: Option<&str>) -> HostKeyChange {
    HostKeyChange::New {
        seal: seal.map(passphrase),
        private: None,
    }
}

fn rotate(by: Option<&str>) -> HostKeyChange {
    HostKeyChange::Rotate {
        overlap_ms: DAY,
        passphrase: by.map(passphrase),
    }
}

fn retire(by: Option<&str>) -> HostKeyChange {
    HostKeyChange::Retire {
        passphrase: by.map(passphrase),
    }
}

fn seal(by: &str) -> HostKeyChange {
    HostKeyChange::Seal {
        passphrase: passphrase(by),
    }
}

fn unseal(by: &str) -> HostKeyChange {
    HostKeyChange::Unseal {
        passphrase: passphrase(by),
    }
}

fn unsealed(keys: &HostKeys) -> Ring<HostKey> {
    match keys.read(&tag()).unwrap().unwrap() {
        Stored::Unsealed(ring) => ring,
        Stored::Sealed(_) => panic!("it is sealed"),
    }
}

fn opened(keys: &HostKeys, by: &str) -> Result<Ring<HostKey>, HostKeyError> {
    match keys.read(&tag())?.unwrap() {
        Stored::Sealed(sealed) => sealed.unseal(&passphrase(by)),
        Stored::Unsealed(_) => panic!("it is not sealed"),
    }
}

/// Everything of a ring, private keys too.
fn all(ring: &Ring<HostKey>) -> (Ring<PublicKey>, Vec<u8>) {
    (ring.public(), ring.private().to_vec())
}

#[test]
fn a_host_key_is_made_once_for_each_tag() {
    let dir = TempDir::new().unwrap();
    let first = done(&keys(&dir), NOW, new(None));
    let keys = keys(&dir);
    assert_eq!(all(&unsealed(&keys)), all(&first));
    assert_eq!(mode(&keys.path(&tag())), 0o600);
    let (other, _) = keys.change(&name("other"), NOW, new(None), false).unwrap();
    assert_ne!(other.ring.current, first.current.public());
    assert!(matches!(
        refused(&keys, NOW, new(None)),
        HostKeyError::Exists(_)
    ));
}

#[test]
fn all_tags_are_listed_sealed_or_not_and_what_is_half_written_is_not() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    assert!(keys.list().unwrap().is_empty());
    let mut made = Vec::new();
    for (tag, seal) in [("b", Some("moon")), ("a", None)] {
        let (listed, _) = keys.change(&name(tag), NOW, new(seal), false).unwrap();
        made.insert(0, listed);
    }
    fs::write(keys.folder.join("c.new"), "half").unwrap();
    assert_eq!(keys.list().unwrap(), made);
    assert_eq!(made[0].tag, name("a"));
    assert!(!made[0].sealed && made[1].sealed);
}

#[test]
fn a_key_of_the_first_version_is_read_and_can_be_rotated_and_sealed() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    let old = format!("{}\n", BASE64.encode(&[7; 32]));
    fs::write(keys.path(&tag()), old).unwrap();
    set_mode(&keys.path(&tag()), 0o600);
    let ring = unsealed(&keys);
    assert_eq!(ring.current.reveal(), &[7; 32]);
    assert_eq!((ring.since_ms, ring.previous.is_none()), (None, true));
    done(&keys, NOW, seal("moon"));
    assert_eq!(all(&opened(&keys, "moon").unwrap()), all(&ring));
    let rotated = done(&keys, NOW, rotate(Some("moon")));
    assert_eq!(rotated.previous.unwrap().key.reveal(), &[7; 32]);
}

#[test]
fn i8_a_host_key_that_others_can_read_is_refused() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    let made = done(&keys, NOW, new(None));
    let path = keys.path(&tag());
    for bits in [0o640, 0o604, 0o622] {
        set_mode(&path, bits);
        let error = keys.read(&tag()).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    set_mode(&path, 0o600);
    assert_eq!(all(&unsealed(&keys)), all(&made));
}

#[test]
fn i8_a_host_key_that_is_none_is_refused_and_neither_shown_nor_replaced() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    done(&keys, NOW, new(None));
    let path = keys.path(&tag());
    for contents in [
        &b""[..],
        b"canary",
        &[b'A'; 43],
        &[b'A'; 400],
        &[0xff; 44],
        b"moonport host key 1\ncanary\n",
        b"moonport host key 1\n",
        &[b'A'; 5000],
    ] {
        fs::write(&path, contents).unwrap();
        let error = refused(&keys, NOW, new(None));
        assert!(
            matches!(error, HostKeyError::Open(OpenError::Unfit { .. })),
            "{error}"
        );
    }
    fs::write(&path, "moonport host key 2\ncanary\n").unwrap();
    let error = refused(&keys, NOW, new(None));
    assert!(matches!(error, HostKeyError::Format { .. }), "{error}");
    fs::remove_file(&path).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    fs::write(&elsewhere, b"canary").unwrap();
    symlink(&elsewhere, &path).unwrap();
    let error = refused(&keys, NOW, new(None));
    assert!(
        matches!(error, HostKeyError::Open(OpenError::Io { .. })),
        "{error}"
    );
}

#[test]
fn i8_sealed_keys_are_not_on_the_disk_and_open_by_their_passphrase_only() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    done(&keys, NOW, new(Some("moon")));
    let ring = done(&keys, NOW + 5, rotate(Some("moon")));
    let stored = keys.read(&tag()).unwrap().unwrap();
    assert!(stored.is_sealed());
    assert_eq!(stored.public(), ring.public(), "without the passphrase");
    assert_eq!(all(&opened(&keys, "moon").unwrap()), all(&ring));
    let text = fs::read_to_string(keys.path(&tag())).unwrap();
    for private in ring.private().chunks(32) {
        assert!(!text.contains(&BASE64.encode(private)[..40]));
    }
    for error in [
        opened(&keys, "canary").unwrap_err(),
        refused(&keys, NOW, unseal("canary")),
        refused(&keys, NOW, retire(Some("canary"))),
        refused(&keys, NOW + DAY + 5, rotate(Some("canary"))),
    ] {
        let why = UnsealError::WrongOrTampered;
        assert!(
            matches!(error, HostKeyError::Unseal { why: it, .. } if it == why),
            "{error}"
        );
    }
}

#[test]
fn sealing_unsealing_and_a_new_passphrase_keep_the_keys() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    done(&keys, NOW, new(None));
    let ring = all(&done(&keys, NOW + 5, rotate(None)));
    assert_eq!(all(&done(&keys, NOW + 6, seal("moon"))), ring);
    assert_eq!(all(&opened(&keys, "moon").unwrap()), ring);
    let reseal = HostKeyChange::Reseal {
        passphrase: passphrase("moon"),
        new: passphrase("sun"),
    };
    assert_eq!(all(&done(&keys, NOW + 7, reseal)), ring);
    assert!(opened(&keys, "moon").is_err());
    assert_eq!(all(&opened(&keys, "sun").unwrap()), ring);
    assert_eq!(all(&done(&keys, NOW + 8, unseal("sun"))), ring);
    assert_eq!(all(&unsealed(&keys)), ring);
}

#[test]
fn what_does_not_fit_what_is_there_is_refused() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    for change in [rotate(None), retire(None), seal("moon"), unseal("moon")] {
        let error = refused(&keys, NOW, change);
        assert!(matches!(error, HostKeyError::Missing(_)), "{error}");
    }
    done(&keys, NOW, new(None));
    for change in [rotate(Some("moon")), unseal("moon")] {
        let error = refused(&keys, NOW, change);
        assert!(matches!(error, HostKeyError::NotSealed(_)), "{error}");
    }
    let error = refused(&keys, NOW, retire(None));
    assert!(matches!(error, HostKeyError::NoPrevious(_)), "{error}");
    done(&keys, NOW, seal("moon"));
    let error = refused(&keys, NOW, seal("sun"));
    assert!(matches!(error, HostKeyError::Sealed(_)), "{error}");
    let error = refused(&keys, NOW, rotate(None));
    assert!(
        matches!(error, HostKeyError::PassphraseNeeded(_)),
        "{error}"
    );
}

#[test]
fn who_was_accepted_before_a_rotation_is_answered_by_the_previous_key_until_it_ends() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    let old = done(&keys, NOW - 5, new(None)).current.public();
    let mut ring = done(&keys, NOW, rotate(None)).public();
    let new = ring.current;
    assert_ne!(old, new);
    for (accepted, now, who) in [
        (None, NOW, new),
        (Some(NOW - 1), NOW, old),
        (Some(0), NOW + DAY - 1, old),
        (Some(NOW), NOW, old),
        (Some(NOW + 1), NOW + 2, new),
        (Some(NOW - 1), NOW + DAY, new),
        (Some(0), u64::MAX, new),
        // A clock that is set back ends nothing.
        (Some(0), NOW - DAY, old),
    ] {
        assert_eq!(ring.answering(accepted, now), &who, "{accepted:?} {now}");
    }
    ring.expire(NOW + DAY - 1);
    assert_eq!(ring.answering(Some(0), NOW), &old);
    ring.expire(NOW + DAY);
    assert_eq!(ring.answering(Some(0), NOW), &new, "it does not come back");
}

#[test]
fn one_rotation_at_a_time_and_a_retired_key_is_gone_from_the_disk() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    let first = done(&keys, NOW, new(None));
    done(&keys, NOW, rotate(None));
    let error = refused(&keys, NOW + DAY - 1, rotate(None));
    assert!(matches!(error, HostKeyError::Rotating(_)), "{error}");
    let second = done(&keys, NOW, retire(None));
    assert_eq!(all(&unsealed(&keys)), all(&second));
    assert_eq!(second.private().len(), 32);
    assert_ne!(second.current.public(), first.current.public());
    // The next may follow when the last one is over.
    done(&keys, NOW, rotate(None));
    let fourth = done(&keys, NOW + DAY, rotate(None));
    assert_eq!(fourth.private().len(), 64);
    // What is over is forgotten with whatever is done next.
    let sealed = done(&keys, NOW + 2 * DAY, seal("moon"));
    assert_eq!(sealed.private().len(), 32);
}

#[test]
fn a_rehearsal_checks_everything_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    let rehearse = |change| keys.change(&tag(), NOW, change, true);
    rehearse(new(None)).unwrap();
    assert!(keys.read(&tag()).unwrap().is_none());
    done(&keys, NOW, new(Some("moon")));
    let before = fs::read(keys.path(&tag())).unwrap();
    assert!(rehearse(rotate(Some("sun"))).is_err());
    let (listed, _) = rehearse(rotate(Some("moon"))).unwrap();
    assert!(listed.ring.is_rotating(NOW) && listed.sealed);
    assert!(!rehearse(unseal("moon")).unwrap().0.sealed);
    assert_eq!(fs::read(keys.path(&tag())).unwrap(), before);
}

/// Changes each byte of the file and hands what is read then to `check`.
fn each_byte_changed(
    keys: &HostKeys,
    mut check: impl FnMut(usize, Result<Option<Stored>, HostKeyError>),
) {
    let path = keys.path(&tag());
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        for changed in [whole[at] ^ 1, whole[at] ^ 0x20, b' ', b'\n', 0xff] {
            if changed != whole[at] {
                let mut bytes = whole.clone();
                bytes[at] = changed;
                fs::write(&path, bytes).unwrap();
                check(at, keys.read(&tag()));
            }
        }
        fs::write(&path, &whole[..at]).unwrap();
        check(at, keys.read(&tag()));
        let more = [&whole[..at], b" ", &whole[at..]].concat();
        fs::write(&path, more).unwrap();
        check(at, keys.read(&tag()));
    }
    fs::write(&path, [&whole[..], b"\n"].concat()).unwrap();
    check(whole.len(), keys.read(&tag()));
    fs::write(&path, whole).unwrap();
}

#[test]
fn every_changed_byte_of_a_sealed_ring_is_noticed() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    done(&keys, NOW, new(Some("moon")));
    let ring = done(&keys, NOW + 5, rotate(Some("moon")));
    let moon = passphrase("moon");
    each_byte_changed(&keys, |at, read| match read {
        Err(_) => {}
        Ok(Some(Stored::Sealed(sealed))) => {
            assert!(sealed.unseal(&moon).is_err(), "byte {at}");
        }
        Ok(_) => panic!("byte {at}: it is not sealed any more"),
    });
    assert_eq!(all(&opened(&keys, "moon").unwrap()), all(&ring));
}

#[test]
fn a_sealed_ring_is_that_of_its_tag_only() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    keys.change(&name("other"), NOW, new(Some("moon")), false)
        .unwrap();
    fs::rename(keys.path(&name("other")), keys.path(&tag())).unwrap();
    assert!(opened(&keys, "moon").is_err());
}

#[test]
fn i9_a_changed_byte_of_an_unsealed_ring_never_makes_another_key() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    done(&keys, NOW, new(None));
    let public = done(&keys, NOW + 5, rotate(None)).public();
    let both = |ring: &Ring<PublicKey>| {
        let previous = ring.previous.as_ref().map(|previous| previous.key);
        (ring.current, previous)
    };
    each_byte_changed(&keys, |at, read| match read {
        Err(_) => {}
        Ok(Some(Stored::Unsealed(ring))) => {
            // Nothing vouches for the times, and five bits of a private key mean nothing.
            assert_eq!(both(&ring.public()), both(&public), "byte {at}");
        }
        Ok(_) => panic!("byte {at}: it is sealed now"),
    });
}

#[test]
fn i6_what_was_half_written_is_not_seen_and_is_written_again() {
    let dir = TempDir::new().unwrap();
    let keys = keys(&dir);
    let old = done(&keys, NOW, new(None));
    let before = fs::read(keys.path(&tag())).unwrap();
    done(&keys, NOW, rotate(None));
    let after = fs::read(keys.path(&tag())).unwrap();
    let half = keys.path(&tag()).with_extension("new");
    for length in 0..=after.len() {
        fs::write(keys.path(&tag()), &before).unwrap();
        fs::write(&half, &after[..length]).unwrap();
        assert_eq!(all(&unsealed(&keys)), all(&old));
        assert_eq!(keys.list().unwrap().len(), 1);
    }
    done(&keys, NOW, rotate(None));
    assert!(!half.exists());
}

const DIR: &str = "KEYSTORE_HOSTKEYS_DIR";

/// Not a test of its own: what the test below kills.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let keys = cheap(&open_directory(dir.as_ref()));
    let mut out = io::stdout();
    for i in 0.. {
        let change = match i % 4 {
            0 => rotate(None),
            1 => seal("moon"),
            2 => retire(Some("moon")),
            _ => unseal("moon"),
        };
        // What was killed may be done again.
        let Ok((listed, _)) = keys.change(&tag(), NOW, change, false) else {
            continue;
        };
        let said = writeln!(out, "ack {}", listed.ring.current).and_then(|()| out.flush());
        if said.is_err() {
            return;
        }
    }
}

#[test]
fn i6_a_kill_leaves_the_keys_of_before_or_after() {
    let dir = TempDir::new().unwrap();
    let first = done(&keys(&dir), NOW, new(None)).current.public();
    let mut random = Random::from_env();
    let mut last = first.to_string();
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "hostkeys::tests::child", "--nocapture"])
            .env(DIR, dir.path().join("state"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = lines.filter_map(|line| {
            let line = line.unwrap();
            line.split_once("ack ").map(|(_, key)| key.to_owned())
        });
        for _ in 0..=random.below(9) {
            last = acknowledged.next().unwrap();
        }
        // As far into the next change as it happens to be.
        let spins = random.below(200_000);
        (0..spins).for_each(|_| std::hint::spin_loop());
        child.kill().unwrap();
        child.wait().unwrap();
        last = acknowledged.last().unwrap_or(last);
        let keys = keys(&dir);
        let stored = keys.read(&tag()).unwrap().unwrap();
        let ring = match stored {
            Stored::Unsealed(ring) => ring,
            Stored::Sealed(sealed) => sealed.unseal(&passphrase("moon")).unwrap(),
        };
        // Only a rotation that was not acknowledged in time makes another key, beside the last.
        let ring = ring.public();
        let known: Vec<_> = std::iter::once(ring.current)
            .chain(ring.previous.map(|previous| previous.key))
            .map(|key| key.to_string())
            .collect();
        assert!(known.contains(&last), "round {round}: {last} is gone");
    }
}
