//! Whatever is changed in whatever order.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::rows;
use crate::state::{Row, State};

fn any_change() -> impl Strategy<Value = Change> {
    let (key, id) = (0..6_u64, 0..3_u64);
    let scope = prop_oneof![Just("door"), Just("gate"), Just("*")];
    let label = proptest::option::of("[a-c\u{7}]{0,3}");
    let why = prop_oneof![Just(WindowEnd::Closed), Just(WindowEnd::Replaced)];
    prop_oneof![
        3 => (key.clone(), scope, label).prop_map(|(key, scope, label)| match accept(key, scope) {
            Change::Accept { key, scope, .. } => Change::Accept {
                key,
                scope,
                label,
                imported: false,
            },
            other => other,
        }),
        2 => key.clone().prop_map(remove),
        4 => (key.clone(), 0..9_u8).prop_map(|(key, what)| about(super::key(key), what)),
        3 => (id.clone(), 0..4_u32, any::<bool>(), 0..2_u64).prop_map(|(id, count, human, secret_of)| {
            let secret = secret(&format!("{secret_of}"));
            Change::OpenWindow(OpenWindow { human, secret, ..window(id, count) })
        }),
        5 => (id.clone(), key).prop_map(|(id, key)| enrol(id, key)),
        1 => (id.clone(), why).prop_map(|(id, why)| Change::CloseWindow { window: WindowId(id), why }),
        1 => (id, 0..150_u32).prop_map(|(id, more)| Change::Guesses { window: WindowId(id), more }),
    ]
}

/// What an admin may say of a key besides.
fn about(key: PublicKey, what: u8) -> Change {
    match what {
        0 => Change::Unscope {
            key,
            scope: Scope::Name(name("door")),
        },
        1 => Change::Comment {
            key,
            comment: Some("seen at the gate".into()),
        },
        2 => Change::Expire {
            key,
            at_ms: Some(at(20 * MINUTE).wall_ms),
        },
        3 => Change::Disable { key },
        4 => Change::Enable { key },
        5 => Change::Revoke { key },
        6 => Change::Ban { key },
        7 => Change::Unban { key },
        _ => Change::Label { key, label: None },
    }
}

/// Groups of changes, and how much later than the one before each comes, ms.
fn any_calls() -> impl Strategy<Value = Vec<(u64, Vec<Change>)>> {
    vec((0..3 * MINUTE, vec(any_change(), 0..5)), 0..20)
}

proptest! {
    #[test]
    fn what_is_staged_can_be_taken_back(calls in any_calls()) {
        let mut state = State::default();
        let mut now = at(0);
        for (later, changes) in calls {
            now = at(now.wall_ms - at(0).wall_ms + later);
            let mut tried = state.clone();
            let staged = tried.stage(now, &groups(&[&changes, &changes]));
            tried.take_back(staged);
            prop_assert_eq!(tried.highest_wall_ms, now.wall_ms);
            tried.highest_wall_ms = state.highest_wall_ms;
            prop_assert_eq!(&tried, &state);
            state.stage(now, &groups(&[&changes]));
        }
    }

    #[test]
    fn rows_are_all_there_is(calls in any_calls()) {
        // What the rows of every call add up to on a disk is the state.
        let (mut state, mut disk) = (State::default(), rows::Writes::new());
        let (mut now, mut secrets) = (at(0), Vec::new());
        for (later, changes) in calls {
            now = at(now.wall_ms - at(0).wall_ms + later);
            for row in state.stage(now, &groups(&[&changes])).rows() {
                match row {
                    Row::Secret(id, secret) => secrets.push((*id, secret.clone())),
                    row => disk.extend(rows::encode(row).unwrap()),
                }
            }
        }
        let rows: Vec<_> = disk.into_iter().filter_map(|(key, new)| Some((key, new?))).collect();
        let (mut read, _) = rows::assemble(&rows).unwrap();
        for (id, secret) in secrets {
            read.set(Row::Secret(id, secret));
        }
        (read.epoch, read.highest_wall_ms) = (state.epoch, state.highest_wall_ms);
        prop_assert_eq!(read, state);
    }

    #[test]
    fn i2_never_more_than_the_count_and_no_secret_twice(calls in any_calls()) {
        let mut store = Memory::new();
        let mut now = at(0);
        for (later, changes) in calls {
            now = at(now.wall_ms - at(0).wall_ms + later);
            let _ = store.apply(now, &ADMIN, &changes);
            let (_, windows) = seen(&store, now);
            for (i, (window, secret)) in windows.iter().enumerate() {
                prop_assert!(window.enrolled.len() <= window.count as usize);
                prop_assert!(secret.is_some());
                let open = |window: &Window| window.ended.is_none();
                let same = windows.iter().skip(i + 1).any(|(w, s)| s == secret && open(w));
                prop_assert!(!(same && open(window)));
            }
        }
    }

    #[test]
    fn who_watches_knows_as_much(calls in any_calls()) {
        let (mut store, mut copy) = (Memory::new(), Memory::new());
        let watch = store.watch(Box::new(|| ()));
        let mut now = at(0);
        let mut last = 0;
        for (later, changes) in calls {
            now = at(now.wall_ms - at(0).wall_ms + later);
            let _ = store.apply(now, &ADMIN, &changes);
            for Told { epoch: Epoch(epoch), by, change } in told(&watch) {
                prop_assert_eq!(epoch, last + 1);
                last = epoch;
                copy.apply(now, &by, &[change]).unwrap();
            }
            prop_assert_eq!(seen(&store, now), seen(&copy, now));
        }
    }

    #[test]
    fn i9_any_rows_give_a_state_or_an_error(rows in vec((vec(any::<u8>(), 0..80), vec(any::<u8>(), 0..40)), 0..4), tag in "[KWXYZ]") {
        let mut rows = rows;
        for (key, _) in &mut rows {
            key.insert(0, tag.as_bytes()[0]);
        }
        let _ = rows::assemble(&rows);
    }
}
