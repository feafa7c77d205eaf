//! What a fuzzer calls: see `fuzz/` and `docs/fuzzing.md`. Each target takes any bytes, and panics
//! if something does not hold.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fuzzer is told by a panic"
)]

use std::collections::BTreeMap;

use crate::hostkeys;
use crate::rows::{Assembly, decode, decoded, encode};
use crate::sealed::{self, Passphrase};
use crate::{Actor, Change, Keystore, Memory, Now, seal};

/// A target.
pub type Target = fn(&[u8]);

/// All of them, under the names of their folders in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 3] =
    [("rows", rows), ("sealed", sealed), ("hostkeys", hostkeys)];

/// Rows as they are on the disk, and changes to what they say. Each part begins with its length:
/// the key and the value of a row, and so on; behind a part of no bytes a change in each.
pub fn rows(data: &[u8]) {
    let mut rest = data;
    let mut rows = Vec::new();
    while let Some(key) = part(&mut rest).filter(|key| !key.is_empty()) {
        let Some(value) = part(&mut rest) else { break };
        rows.push((key.to_vec(), value.to_vec()));
    }
    for (key, value) in &rows {
        if let Some(Some(row)) = decode(key, value, &mut BTreeMap::new()) {
            let (again, value) = encode(&row).unwrap().unwrap();
            assert_eq!(again, *key);
            let reread = decode(&again, &value.unwrap(), &mut BTreeMap::new());
            assert_eq!(reread, Some(Some(row)));
        }
    }
    let mut assembly = Assembly::default();
    for (key, value) in &rows {
        if assembly.add(key, value).is_err() {
            return;
        }
    }
    let now = Now {
        wall_ms: 1_750_000_000_000,
        boot_ms: 1_000_000,
        boot: [1; 16],
    };
    let mut store = Memory::with(assembly.state);
    let by = Actor::User(0);
    while let Some(change) = part(&mut rest) {
        let Some(change) = decoded::<Change>(change) else {
            continue;
        };
        // What time alone does is done, whatever becomes of the change.
        store.settle(now).unwrap();
        let before = store.state().clone();
        let rehearsed = store.rehearse(now, &by, std::slice::from_ref(&change));
        assert_eq!(*store.state(), before, "a rehearsal changes something");
        match store.apply(now, &by, &[change]) {
            Ok(_) => assert!(rehearsed.is_ok()),
            Err(_) => {
                assert!(rehearsed.is_err());
                assert_eq!(*store.state(), before, "half a change");
            }
        }
    }
    for window in store.windows(now).unwrap() {
        for entry in store.entries().unwrap() {
            let found = store.lookup(now, &window.name, &entry.key).unwrap();
            assert!(found.is_err() || found == Ok(entry));
        }
        window.left(now, store.highest_wall_ms());
    }
}

/// What a passphrase opens, and a window's sealed secret.
pub fn sealed(data: &[u8]) {
    let passphrase = Passphrase::parse(b"moon").unwrap();
    if sealed::check(data).is_ok() && sealed::is_cheap(data) {
        // It is sealed by nobody.
        sealed::open(&passphrase, b"", data).unwrap_err();
    }
    assert!(seal::open(&[1; seal::KEY_LEN], b"", data).is_none());
    let flip = usize::from(data.first().copied().unwrap_or_default());
    let mut bytes = sealed::sealed_cheaply(&passphrase, b"fuzzing", data);
    assert_eq!(
        *sealed::open(&passphrase, b"fuzzing", &bytes).unwrap(),
        data
    );
    sealed::open(&passphrase, b"other", &bytes).unwrap_err();
    // But in the parameters, which may become slow ones.
    let at = 21 + flip % (bytes.len() - 21);
    bytes[at] ^= 1;
    sealed::open(&passphrase, b"fuzzing", &bytes).unwrap_err();
}

/// The file of a host's own keys.
pub fn hostkeys(data: &[u8]) {
    hostkeys::fuzzing::file(data);
}

/// The next part, after its length of one byte.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first()?;
    let (part, after) = after.split_at_checked(usize::from(*length))?;
    *rest = after;
    Some(part)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs a target over its folder: what fuzzing began with, and what it has found.
    #[track_caller]
    fn holds(name: &str) {
        let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let mut inputs = 0;
        for file in folder.join(name).read_dir().unwrap() {
            let path = file.unwrap().path();
            // Shown if the test fails.
            println!("{}", path.display());
            target(&std::fs::read(path).unwrap());
            inputs += 1;
        }
        assert!(inputs > 0);
    }

    #[test]
    fn rows_and_changes_meet_their_corpus() {
        holds("rows");
    }

    #[test]
    fn what_is_sealed_meets_its_corpus() {
        holds("sealed");
    }

    #[test]
    fn host_key_files_meet_their_corpus() {
        holds("hostkeys");
    }
}
