//! I8: what is on the disk does not tell a window's secret, and after its time nothing does.

use std::fs;
use std::path::Path;

use super::*;

const CANARY: &str = "canary-and-coal-mine-31-bytes..";

fn canary(id: u64) -> Change {
    Change::OpenWindow(OpenWindow {
        secret: secret(CANARY),
        ..window(id, 2)
    })
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut all = Vec::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            all.extend(files(&file.path()));
        } else {
            all.push(file.path());
        }
    }
    all
}

fn mentions(folder: &Path, needle: &[u8]) -> bool {
    let contains = |bytes: Vec<u8>| bytes.windows(needle.len()).any(|window| window == needle);
    files(folder)
        .into_iter()
        .any(|file| contains(fs::read(file).unwrap()))
}

#[test]
fn i8_a_window_secret_is_in_no_file() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    store
        .apply(at(0), &ADMIN, &[canary(1), accept(1, "needle")])
        .unwrap();
    let state = dir.path().join("state");
    assert!(
        mentions(&state, b"needle"),
        "the search finds what is there"
    );
    for _ in 0..2 {
        assert!(!mentions(&state, &CANARY.as_bytes()[..8]));
        store.apply(at(1), &ADMIN, &[enrol(1, 5)]).unwrap();
        drop(store);
        store = sled(&dir, at(1));
        assert_eq!(
            store.window_secret(WindowId(1)).unwrap(),
            Some(secret(CANARY))
        );
    }
    let debug = format!("{store:?}");
    assert!(!debug.contains(&CANARY[..8]));
}

#[test]
fn i8_a_forgotten_window_takes_its_secret_with_it() {
    let dir = TempDir::new().unwrap();
    let keys = dir.path().join("state/windowkeys");
    let mut store = sled(&dir, at(0));
    store
        .apply(at(0), &ADMIN, &[canary(1), open(2, 1)])
        .unwrap();
    assert_eq!(files(&keys).len(), 2);
    store.apply(at(1), &ADMIN, &[close(1)]).unwrap();
    assert_eq!(files(&keys).len(), 2);
    store.settle(at(1 + DAY)).unwrap();
    let mut names = files(&keys);
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(
        names
            .remove(0)
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("0000000000000002-")
    );
    // Opened anew under the same number, the key is another.
    store.apply(at(1 + DAY), &ADMIN, &[open(3, 1)]).unwrap();
    let first = files(&keys);
    store.apply(at(1 + DAY), &ADMIN, &[open(3, 2)]).unwrap();
    assert_ne!(files(&keys), first);
    assert_eq!(files(&keys).len(), first.len());
}

#[test]
fn i8_without_its_key_file_a_window_is_gone() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    store
        .apply(
            at(0),
            &ADMIN,
            &[canary(1), open(2, 2), enrol(1, 5), enrol(2, 6)],
        )
        .unwrap();
    drop(store);
    let keys = dir.path().join("state/windowkeys");
    fs::remove_file(keys.join("0000000000000001-4")).unwrap();
    fs::write(keys.join("left-over"), b"half a key").unwrap();
    let mut store = sled(&dir, at(1));
    assert_eq!(find(&store, at(1), 1), None);
    assert_eq!(store.window_secret(WindowId(1)).unwrap(), None);
    assert!(store.apply(at(1), &ADMIN, &[enrol(1, 7)]).is_err());
    assert!(is_known(&store, at(1), 5) && is_known(&store, at(1), 6));
    assert_eq!(left(&store, at(1), 2), 1);
    assert_eq!(files(&keys).len(), 1);
}

#[test]
fn i8_a_sealed_secret_opens_under_its_own_key_for_its_own_window_only() {
    let sealed = seal::seal(&[1; 32], b"one", &secret("s")).unwrap();
    assert_eq!(
        sealed.len(),
        seal::seal(&[2; 32], b"", &secret(CANARY)).unwrap().len()
    );
    assert_eq!(seal::open(&[1; 32], b"one", &sealed), Some(secret("s")));
    assert_eq!(seal::open(&[1; 32], b"two", &sealed), None);
    assert_eq!(seal::open(&[2; 32], b"one", &sealed), None);
    assert_eq!(seal::open(&[1; 32], b"one", &sealed[1..]), None);
}

#[test]
fn i6_no_page_is_so_large_that_it_leaves_the_synced_file() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    let label = Some("x".repeat(Entry::MAX_LABEL));
    let changes: Vec<_> = (0..2_000)
        .flat_map(|n| {
            let scope = Scope::Name(name(&format!("{n:030}")));
            let wide = Change::Accept {
                key: key(20_000 + n / Entry::MAX_SCOPES as u64),
                scope,
                label: label.clone(),
                imported: false,
            };
            let said = Change::Comment {
                key: key(20_000 + n / Entry::MAX_SCOPES as u64),
                comment: Some("y".repeat(Entry::MAX_COMMENT)),
            };
            let many = Change::Accept {
                key: key(n),
                scope: Scope::Any,
                label: label.clone(),
                imported: false,
            };
            [wide, said, many, enrol(7, 10_000 + n)]
        })
        .collect();
    store.apply(at(0), &ADMIN, &[open(7, 5_000)]).unwrap();
    store.apply(at(0), &ADMIN, &changes).unwrap();
    changes
        .iter()
        .filter(|c| matches!(c, Change::Accept { .. }))
        .take(500)
        .for_each(|change| {
            let Change::Accept { key, .. } = change else {
                return;
            };
            let _ = store.apply(at(0), &ADMIN, &[Change::Remove { key: *key }]);
        });
    assert_eq!(
        files(&dir.path().join("state/store/blobs")),
        Vec::<std::path::PathBuf>::new()
    );
    drop(store);
    let store = sled(&dir, at(0));
    assert_eq!(find(&store, at(0), 7).unwrap().enrolled.len(), 2_000);
}
