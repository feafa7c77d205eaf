//! Files that are not what was written, and disks that are full.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use super::*;

/// A store of thirty changes, and everything that was seen on the way.
fn thirty(dir: &TempDir) -> Vec<Seen> {
    let mut store = sled(dir, at(0));
    let mut all = vec![seen(&store, at(0))];
    for n in 0..30 {
        let change = match n % 3 {
            0 => accept(n, "door"),
            1 => open(n, 2),
            _ => enrol(n - 1, n),
        };
        store.apply(at(n), &ADMIN, &[change]).unwrap();
        all.push(seen(&store, at(30)));
    }
    all
}

/// Opens a damaged store: it says so and touches nothing, or holds one of the states.
fn open_damaged(state: &Path, states: &[Seen]) -> Option<usize> {
    let before = fs::read(state.join("store/db")).unwrap();
    match Sled::open(&open_directory(state), at(30)) {
        Ok(store) => {
            let now = seen(&store, at(30));
            Some(
                states
                    .iter()
                    .rposition(|then| *then == now)
                    .expect("a state that never was"),
            )
        }
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            assert!(
                fs::read(state.join("store/db")).unwrap() == before,
                "it was touched"
            );
            None
        }
    }
}

#[test]
fn i6_a_torn_or_damaged_file_is_told_or_left_out_whole() {
    let dir = TempDir::new().unwrap();
    let states = thirty(&dir);
    let good = fs::read(dir.path().join("state/store/db")).unwrap();
    let used = good.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    let mut random = Random::from_env();
    let (mut whole, mut prior, mut told) = (0, 0, 0);
    for round in 0..120 {
        let copy = TempDir::new().unwrap();
        let state = copy.path().join("state");
        fs::create_dir(&state).unwrap();
        log::copy(&dir.path().join("state/store"), &state.join("store")).unwrap();
        log::copy(
            &dir.path().join("state/windowkeys"),
            &state.join("windowkeys"),
        )
        .unwrap();
        for path in [state.clone(), state.join("store"), state.join("windowkeys")] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        // Without the note of what was acknowledged, an earlier state cannot be known to be one.
        let noted = round % 2 == 0;
        if noted {
            fs::copy(
                dir.path().join("state/acknowledged"),
                state.join("acknowledged"),
            )
            .unwrap();
        }
        let mut bytes = good.clone();
        let place = random.below(used) as usize;
        match random.below(4) {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 1 << random.below(8),
            2 => bytes[place..].fill(0),
            _ => bytes[place..used as usize]
                .iter_mut()
                .for_each(|b| *b = random.next() as u8),
        }
        fs::write(state.join("store/db"), &bytes).unwrap();
        match open_damaged(&state, &states) {
            Some(30) => whole += 1,
            Some(_) if noted => panic!("an acknowledged change was lost in silence"),
            Some(_) => prior += 1,
            None => told += 1,
        }
    }
    println!("whole {whole}, prior {prior}, told {told}");
    assert!(told > 0);
}

/// A power loss keeps any of the sectors of a write that nobody has waited for yet.
#[test]
fn i6_a_write_that_was_torn_is_there_whole_or_not_at_all() {
    const SECTOR: usize = 512;
    let dir = TempDir::new().unwrap();
    let db = dir.path().join("state/store/db");
    let mut random = Random::from_env();
    let mut store = sled(&dir, at(0));
    for n in 0..200 {
        let scopes = (0..random.below(40)).map(|scope| accept(n, &format!("{scope:030}")));
        store
            .apply(at(0), &ADMIN, &scopes.collect::<Vec<_>>())
            .unwrap();
    }
    let (mut whole, mut not_at_all) = (0, 0);
    for round in 0..60 {
        let copy = TempDir::new().unwrap();
        let state = copy.path().join("state");
        let (old, before) = (fs::read(&db).unwrap(), seen(&store, at(0)));
        log::copy(&dir.path().join("state"), &state).unwrap();
        for path in [state.clone(), state.join("store"), state.join("windowkeys")] {
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        }
        let rows = 1 + random.below(60);
        let changes: Vec<_> = (0..rows)
            .map(|n| accept(1000 + round * 60 + n, "door"))
            .collect();
        store.apply(at(0), &ADMIN, &changes).unwrap();
        let (new, after) = (fs::read(&db).unwrap(), seen(&store, at(0)));

        // Beyond the old end there were zeros.
        let mut torn = old.clone();
        torn.resize(new.len().max(old.len()), 0);
        let keep = random.below(4);
        for (torn, new) in torn.chunks_mut(SECTOR).zip(new.chunks(SECTOR)) {
            if keep == 3 || (keep > 0 && random.below(2) == 0) {
                torn.copy_from_slice(new);
            }
        }
        fs::write(state.join("store/db"), &torn).unwrap();
        let found = seen(&Sled::open(&open_directory(&state), at(0)).unwrap(), at(0));
        assert!(found == before || found == after, "round {round}");
        if found == after {
            whole += 1
        } else {
            not_at_all += 1
        }
    }
    assert!(
        whole > 0 && not_at_all > 0,
        "{whole} whole, {not_at_all} not at all"
    );
}

#[test]
fn an_older_store_under_a_newer_note_is_told() {
    let dir = TempDir::new().unwrap();
    drop(sled(&dir, at(0)));
    let backup = TempDir::new().unwrap();
    let (store, saved) = (dir.path().join("state/store"), backup.path().join("store"));
    log::copy(&store, &saved).unwrap();
    sled(&dir, at(0))
        .apply(at(0), &ADMIN, &[accept(1, "door")])
        .unwrap();
    fs::remove_dir_all(&store).unwrap();
    let opened = || Sled::open(&state_directory(&dir), at(0));
    let error = opened().unwrap_err().to_string();
    assert!(error.contains("holds 0 changes, but 1 "), "{error}");
    assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
    fs::remove_dir_all(&store).unwrap();
    log::copy(&saved, &store).unwrap();
    fs::set_permissions(&store, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(matches!(opened(), Err(StoreError::Damaged(_))));
    fs::remove_file(dir.path().join("state/acknowledged")).unwrap();
    assert!(opened().unwrap().entries().unwrap().is_empty());
}

#[test]
fn i6_a_snapshot_that_was_still_being_written_is_no_obstacle() {
    let dir = TempDir::new().unwrap();
    let states = thirty(&dir);
    let unfinished = dir
        .path()
        .join("state/store/snap.00000000FFFFFFFF.generating");
    fs::write(&unfinished, b"half").unwrap();
    assert_eq!(open_damaged(&dir.path().join("state"), &states), Some(30));
    assert!(!unfinished.exists());
}

#[test]
fn a_damaged_snapshot_is_told() {
    let dir = TempDir::new().unwrap();
    let states = thirty(&dir);
    drop(sled(&dir, at(30)));
    let store = dir.path().join("state/store");
    let mut damaged = 0;
    for file in fs::read_dir(&store).unwrap() {
        let path = file.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("snap.")
        {
            fs::write(&path, b"not what was written").unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
    assert_eq!(open_damaged(&dir.path().join("state"), &states), None);
}

#[test]
fn a_store_of_another_format_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    store.set_format(FORMAT_OF_ANOTHER);
    drop(store);
    let error = Sled::open(&state_directory(&dir), at(0)).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::Format {
                found: FORMAT_OF_ANOTHER,
                ..
            }
        ),
        "{error}"
    );
}

const FORMAT_OF_ANOTHER: u32 = 4_000_000_000;

#[test]
fn i6_a_store_that_failed_to_write_is_shut_until_it_is_opened_again() {
    let dir = TempDir::new().unwrap();
    let mut store = sled(&dir, at(0));
    store
        .apply(at(0), &ADMIN, &[accept(1, "door"), open(7, 2)])
        .unwrap();
    let (pipe, _) = rustix::pipe::pipe().unwrap();
    store.break_sync(pipe.into());
    let watch = store.watch(Box::new(|| ()));
    let error = store
        .apply(at(1), &ADMIN, &[accept(2, "door")])
        .unwrap_err();
    assert!(
        matches!(error, ApplyError::Store(StoreError::Io(_))),
        "{error}"
    );
    assert_eq!(told(&watch), []);
    assert!(matches!(
        store.apply(at(1), &ADMIN, &[]),
        Err(ApplyError::Store(StoreError::Shut(_)))
    ));
    assert!(matches!(store.entries(), Err(StoreError::Shut(_))));
    assert!(matches!(store.windows(at(1)), Err(StoreError::Shut(_))));
    assert!(matches!(
        store.window_secret(WindowId(7)),
        Err(StoreError::Shut(_))
    ));
    assert!(matches!(
        store.lookup(at(1), &name("door"), &key(1)),
        Err(StoreError::Shut(_))
    ));
    drop(store);
    let store = sled(&dir, at(2));
    assert!(is_known(&store, at(2), 1));
    assert_eq!(left(&store, at(2), 7), 2);
}

const FULL: &str = "KEYSTORE_FULL_DIR";

/// Not a test of its own: fills what there is, and finds everything again.
#[test]
fn full_child() {
    let Ok(dir) = std::env::var(FULL) else { return };
    let state = Path::new(&dir).join("state");
    let ballast = Path::new(&dir).join("ballast");
    let again = std::env::var("KEYSTORE_FULL_AGAIN").is_ok();
    if again {
        fs::write(&ballast, vec![1; 10 << 20]).unwrap();
    }
    let mut store = Sled::open(&Directory::open(&state).unwrap(), at(0)).unwrap();
    let mut known = 0;
    let error = loop {
        match store.apply(
            at(0),
            &ADMIN,
            &[accept(known, "door"), accept(known, "gate")],
        ) {
            Ok(_) => known += 1,
            Err(error) => break error,
        }
    };
    let ApplyError::Store(StoreError::Io(error)) = error else {
        panic!("{error}")
    };
    if again {
        // There was no room to begin with, so nothing has happened, and it still works.
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
        assert_eq!(store.entries().unwrap().len() as u64, known);
        assert!(
            store
                .apply(
                    at(0),
                    &ADMIN,
                    &[accept(known, "door"), accept(known, "gate")]
                )
                .is_err()
        );
        store.apply(at(0), &ADMIN, &[accept(0, "door")]).unwrap();
    } else {
        // It was met while writing.
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge, "{error}");
        assert!(matches!(store.entries(), Err(StoreError::Shut(_))));
    }
    drop(store);
    if again {
        fs::remove_file(&ballast).unwrap();
        let mut store = Sled::open(&Directory::open(&state).unwrap(), at(0)).unwrap();
        assert_eq!(store.entries().unwrap().len() as u64, known);
        store
            .apply(at(0), &ADMIN, &[accept(known, "door")])
            .unwrap();
    }
    println!("filled with {known} keys.");
}

/// Runs the test above behind a shell's words; gives what it says.
fn fill(words: &[&str], dir: &TempDir) -> String {
    let output = Command::new(words[0])
        .args(&words[1..])
        .arg(std::env::current_exe().unwrap())
        .args(["tests::damage::full_child", "--exact", "--nocapture"])
        .env(FULL, dir.path())
        .output();
    let Ok(output) = output else {
        return String::new();
    };
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn i6_a_file_that_may_not_grow_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let limit = "trap '' XFSZ; ulimit -f 8192; exec \"$0\" \"$@\"";
    let said = fill(&["sh", "-c", limit], &dir);
    let (_, known) = said
        .split_once("filled with ")
        .unwrap_or_else(|| panic!("{said}"));
    let known: u64 = known.split(' ').next().unwrap().parse().unwrap();
    let mut store = sled(&dir, at(0));
    let found = store.entries().unwrap();
    assert!(found.len() as u64 == known || found.len() as u64 == known + 1);
    assert!(found.iter().all(|entry| entry.scopes.len() == 2));
    store
        .apply(at(0), &ADMIN, &[accept(known + 1, "door")])
        .unwrap();
}

#[test]
fn i6_a_full_disk_loses_nothing() {
    let dir = TempDir::new().unwrap();
    let mount = "mount -t tmpfs -o size=16m,mode=700 tmpfs \"$KEYSTORE_FULL_DIR\" && echo mounted \
        && KEYSTORE_FULL_AGAIN=1 exec \"$0\" \"$@\"";
    let said = fill(&["unshare", "-m", "sh", "-c", mount], &dir);
    // Who may not mount has no small disk to fill.
    if said.contains("mounted") {
        assert!(said.contains("filled with "), "{said}");
    }
}
