//! A store of format 1, as the first version wrote it, is brought to the format of this one.

use std::fs;
use std::path::Path;

use super::faults::{Fault, fast_folder, long, run};
use super::*;
use crate::rows;
use crate::state::{KeyRow, Row};

/// When the last thing was done to it.
fn then() -> Now {
    at(6000)
}

/// A copy of what the first version left behind.
pub(crate) fn fixture(state: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    log::copy(&from, state).unwrap();
    // Version control keeps neither modes nor empty folders.
    fs::create_dir_all(state.join("store/blobs")).unwrap();
    let mut folders = vec![state.to_owned()];
    while let Some(folder) = folders.pop() {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
                fs::set_permissions(path, mode).unwrap();
            }
        }
    }
}

fn added(ms: u64, how: How) -> Added {
    let (at_ms, by) = (at(ms).wall_ms, Actor::Host);
    Added { at_ms, how, by }
}

/// What was in it.
pub(crate) fn what_was_in_it() -> Seen {
    let entry = |n: u64, scopes: &[&str], label: Option<&str>, added| Entry {
        key: key(n),
        standing: Standing::Accepted,
        scopes: scopes
            .iter()
            .map(|scope| Scope::Name(name(scope)))
            .collect(),
        label: label.map(Into::into),
        comment: None,
        added,
        expires_ms: None,
        seen: None,
    };
    let by = |id| How::Window(WindowId(id));
    let entries = vec![
        Entry {
            scopes: [Scope::Any].into(),
            ..entry(2, &[], Some("Ada's laptop"), added(0, How::Named))
        },
        entry(3, &["door", "gate"], None, added(0, How::Named)),
        entry(
            4,
            &["door", "hall"],
            Some("came by a window"),
            added(2000, by(7)),
        ),
        entry(6, &["gate"], None, added(4000, by(8))),
        entry(10, &["door"], None, added(5000, by(9))),
    ];
    let window = |id, count, ms, enrolled: &[u64]| Window {
        id: WindowId(id),
        name: name("door"),
        label: None,
        by: Actor::Host,
        origin: Origin::Admin,
        human: false,
        count,
        enrolled: enrolled.iter().map(|n| *key(*n).as_bytes()).collect(),
        guesses: 0,
        opened: at(ms),
        lasts_ms: 10 * MINUTE,
        ended: None,
    };
    let gate = Window {
        name: name("gate"),
        origin: Origin::Script,
        human: true,
        guesses: 17,
        ..window(8, 2, 1000, &[6])
    };
    let closed = Window {
        ended: Some((WindowEnd::Closed, at(5000))),
        ..window(9, 5, 5000, &[10])
    };
    let windows = vec![
        (
            window(7, 3, 1000, &[4, 5]),
            Some(secret("secret of window 7")),
        ),
        (gate, Some(secret("made up"))),
        (closed, Some(secret("secret of window 9"))),
    ];
    (entries, windows)
}

fn db(state: &Path, folder: &str) -> Vec<u8> {
    fs::read(state.join(folder).join("db")).unwrap()
}

#[test]
fn a_store_of_format_1_is_upgraded_and_kept() {
    let dir = fast_folder();
    let state = dir.path().join("state");
    fixture(&state);
    let before = db(&state, "store");
    let mut store = sled(&dir, then());
    assert_eq!(seen(&store, then()), what_was_in_it());
    let kept = store.upgraded().unwrap().to_owned();
    assert_eq!(kept, state.join("store.format-1"));
    assert!(db(&state, "store.format-1") == before);

    // What it forbade is forbidden, and what it counted is counted.
    assert_eq!(store.settle(then()).unwrap(), Epoch(16));
    let barred = store.apply(then(), &ADMIN, &[enrol(7, 1)]);
    assert!(matches!(barred, Err(ApplyError::WindowShut)));
    store.apply(then(), &ADMIN, &[enrol(7, 11)]).unwrap();
    let spent = store.apply(then(), &ADMIN, &[enrol(7, 12)]);
    assert!(matches!(spent, Err(ApplyError::WindowShut)));
    drop(store);
    let store = sled(&dir, then());
    assert_eq!(store.upgraded(), None);
    assert!(is_known(&store, then(), 11));
    drop(store);

    // And back: what was kept is a store.
    fs::remove_dir_all(state.join("store")).unwrap();
    fs::rename(&kept, state.join("store")).unwrap();
    fs::remove_file(state.join("acknowledged")).unwrap();
    // The log knows what is undone by that, and says so unless it is moved away.
    let told = Sled::open(&state_directory(&dir), then()).unwrap_err();
    assert!(told.to_string().contains("audit"), "{told}");
    fs::remove_dir_all(state.join("audit")).unwrap();
    let store = sled(&dir, then());
    assert!(store.upgraded().is_some() && !is_known(&store, then(), 11));
}

#[test]
fn a_key_of_format_1_with_more_names_than_may_be_is_told_and_nothing_is_touched() {
    let mut old: Vec<log::RawRow> = vec![(
        [b"K", key(1).as_bytes().as_slice()].concat(),
        postcard::to_stdvec(&(None::<String>, 1_u64, None::<WindowId>)).unwrap(),
    )];
    for n in 0..=Entry::MAX_SCOPES {
        let row = [
            b"S",
            key(1).as_bytes().as_slice(),
            format!("{n}").as_bytes(),
        ]
        .concat();
        old.push((row, Vec::new()));
    }
    let error = format1::upgrade(&old).unwrap_err().to_string();
    assert!(
        error.contains("65 names") && error.contains("64"),
        "{error}"
    );
    old.pop();
    let new = format1::upgrade(&old).unwrap();
    let row = Row::Key(
        key(1),
        Some(KeyRow {
            scopes: (0..Entry::MAX_SCOPES)
                .map(|n| Scope::Name(name(&n.to_string())))
                .collect(),
            ..KeyRow::new(Added {
                at_ms: 1,
                how: How::Named,
                by: Actor::Host,
            })
        }),
    );
    let (row, value) = rows::encode(&row).unwrap().unwrap();
    assert_eq!(new.get(&row), Some(&value));
    assert_eq!(new.values().filter(|value| value.is_none()).count(), 64);
}

/// What is there after an upgrade that was cut short; the copy is a store, too.
fn look(state: &Path) {
    let upgraded = |state: &Path| {
        let store = Sled::open(&open_directory(state), then()).unwrap();
        assert_eq!(seen(&store, then()), what_was_in_it());
        store.upgraded().is_some()
    };
    upgraded(state);
    assert!(!state.join("store.format-1.new").exists());
    let kept = fast_folder();
    let back = kept.path().join("state");
    fixture(&back);
    fs::remove_dir_all(back.join("store")).unwrap();
    log::copy(&state.join("store.format-1"), &back.join("store")).unwrap();
    assert!(upgraded(&back), "the copy is not of format 1");
}

#[test]
fn i6_an_upgrade_that_is_cut_short_leaves_the_one_format_or_the_other() {
    let dir = fast_folder();
    fixture(&dir.path().join("state"));
    let whole = run(&dir.path().join("state"), 0, 0, None).unwrap();
    assert_eq!(whole.end, "well");
    for kind in ["kill", "torn", "eio", "enospc", "short"] {
        let one_in = if long() { 1 } else { 4 };
        for call in (1..=whole.journal.calls()).filter(|call| call % one_in == 0) {
            let dir = fast_folder();
            let state = dir.path().join("state");
            fixture(&state);
            let all = false;
            let fault = Fault { kind, call, all };
            run(&state, 0, 0, Some(fault)).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
            look(&state);
        }
    }
}

#[test]
fn i6_an_upgrade_survives_a_loss_of_power() {
    let mut random = Random::from_env();
    let dir = fast_folder();
    let state = dir.path().join("state");
    fixture(&state);
    let before = power::Journal::of_what_is_there(&state);
    let whole = run(&state, 0, 0, None).unwrap();
    let journal = before.then(whole.journal);
    for _ in 0..if long() { 500 } else { 50 } {
        let (moment, chance) = (random.below(journal.len() as u64 + 1), random.next());
        let dir = fast_folder();
        let state = dir.path().join("state");
        println!("cut at {moment} with {chance}");
        journal.cut(moment as usize, &mut Random(chance), &state);
        look(&state);
    }
}
