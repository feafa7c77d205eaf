//! What every backend does. A backend that can be opened again is, between the steps.

use super::*;

/// A store, and how to open it again.
trait Bench {
    fn store(&mut self) -> &mut dyn Keystore;
    fn reopen(&mut self);
}

struct InMemory(Memory);

impl Bench for InMemory {
    fn store(&mut self) -> &mut dyn Keystore {
        &mut self.0
    }
    fn reopen(&mut self) {}
}

struct OnDisk(TempDir, Option<Sled>);

impl Bench for OnDisk {
    fn store(&mut self) -> &mut dyn Keystore {
        self.1.as_mut().unwrap()
    }
    fn reopen(&mut self) {
        drop(self.1.take());
        self.1 = Some(sled(&self.0, at(0)));
    }
}

macro_rules! contract {
    ($($test:ident)*) => {
        mod memory {
            $(#[test] fn $test() { super::$test(&mut super::InMemory(super::Memory::new())) })*
        }
        mod sled {
            $(#[test] fn $test() {
                let dir = super::TempDir::new().unwrap();
                let store = super::sled(&dir, super::at(0));
                super::$test(&mut super::OnDisk(dir, Some(store)))
            })*
        }
    };
}

contract! {
    a_key_is_known_where_it_is_accepted
    a_label_stays_until_another_is_given
    a_label_that_cannot_be_shown_is_refused
    entries_have_a_stable_order
    a_removed_key_is_known_nowhere
    changes_are_made_all_or_none
    groups_are_independent_of_each_other
    a_change_that_changes_nothing_leaves_the_epoch
    watchers_are_told_everything_in_order
    a_window_lets_in_as_many_as_it_says
    a_known_key_spends_nothing
    i5_a_removed_key_does_not_come_back_by_a_window_that_was_open
    i5_a_removed_key_does_not_come_back_by_the_window_it_came_by
    a_window_opened_after_a_removal_lets_the_key_in
    a_window_that_is_over_is_shut
    an_ended_window_is_kept_for_a_day
    two_open_windows_of_a_name_do_not_share_a_secret
    opening_a_window_again_replaces_it
    guesses_end_a_window_whose_secret_a_person_made_up
    a_window_is_found_by_name_and_secret
    unknown_keys_and_windows_are_named_so
    no_window_can_be_opened_behind_the_clock
}

fn a_key_is_known_where_it_is_accepted(bench: &mut dyn Bench) {
    let known = |store: &dyn Keystore, scope, n| {
        store.lookup(at(0), &name(scope), &key(n)).unwrap().is_ok()
    };
    bench
        .store()
        .apply(
            at(0),
            &ADMIN,
            &[accept(1, "door"), accept(2, "*"), accept(1, "gate")],
        )
        .unwrap();
    for _ in 0..2 {
        let store = bench.store();
        assert!(known(store, "door", 1) && known(store, "gate", 1) && !known(store, "hall", 1));
        assert!(known(store, "door", 2) && known(store, "hall", 2));
        assert!(!known(store, "door", 3));
        let entry = store
            .lookup(at(0), &name("door"), &key(1))
            .unwrap()
            .unwrap();
        let scopes = [Scope::Name(name("door")), Scope::Name(name("gate"))];
        assert_eq!(entry.scopes, scopes.into());
        assert_eq!(
            (entry.added, entry.label),
            (
                Added {
                    at_ms: at(0).wall_ms,
                    how: How::Named,
                    by: ADMIN
                },
                None
            )
        );
        bench.reopen();
    }
}

fn a_label_stays_until_another_is_given(bench: &mut dyn Bench) {
    let labelled = |label: Option<&str>| {
        let scope = Scope::Name(name("door"));
        Change::Accept {
            key: key(1),
            scope,
            label: label.map(Into::into),
            imported: false,
        }
    };
    for (given, then) in [
        (None, None),
        (Some("a"), Some("a")),
        (None, Some("a")),
        (Some("b"), Some("b")),
    ] {
        bench
            .store()
            .apply(at(0), &ADMIN, &[labelled(given)])
            .unwrap();
        bench.reopen();
        let entry = bench.store().entries().unwrap().remove(0);
        assert_eq!(entry.label.as_deref(), then);
    }
}

fn a_label_that_cannot_be_shown_is_refused(bench: &mut dyn Bench) {
    for label in ["\x1b[2J".to_owned(), "x".repeat(Entry::MAX_LABEL + 1)] {
        let change = Change::Accept {
            key: key(1),
            scope: Scope::Any,
            label: Some(label),
            imported: false,
        };
        assert!(matches!(
            bench.store().apply(at(0), &ADMIN, &[change]),
            Err(ApplyError::Label)
        ));
    }
    assert!(bench.store().entries().unwrap().is_empty());
}

fn entries_have_a_stable_order(bench: &mut dyn Bench) {
    for n in [5, 3, 9, 1] {
        bench
            .store()
            .apply(at(n), &ADMIN, &[accept(n, "door")])
            .unwrap();
    }
    let before = bench.store().entries().unwrap();
    bench.reopen();
    assert_eq!(bench.store().entries().unwrap(), before);
    assert_eq!(before.len(), 4);
}

fn a_removed_key_is_known_nowhere(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(
            at(0),
            &ADMIN,
            &[accept(1, "door"), accept(1, "*"), accept(2, "door")],
        )
        .unwrap();
    bench.store().apply(at(1), &ADMIN, &[remove(1)]).unwrap();
    bench.reopen();
    let store = bench.store();
    assert!(!is_known(store, at(1), 1) && is_known(store, at(1), 2));
    assert_eq!(store.entries().unwrap().len(), 1);
}

fn changes_are_made_all_or_none(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(at(0), &ADMIN, &[accept(1, "door"), open(7, 3)])
        .unwrap();
    let before = seen(bench.store(), at(0));
    let watch = bench.store().watch(Box::new(|| ()));
    let changes = [
        accept(2, "door"),
        remove(1),
        enrol(7, 5),
        close(7),
        enrol(7, 6),
    ];
    assert!(matches!(
        bench.store().apply(at(0), &ADMIN, &changes),
        Err(ApplyError::WindowShut)
    ));
    assert_eq!(seen(bench.store(), at(0)), before);
    assert_eq!(told(&watch), []);
    bench.reopen();
    assert_eq!(seen(bench.store(), at(0)), before);
}

fn groups_are_independent_of_each_other(bench: &mut dyn Bench) {
    let groups: [&[Change]; 4] = [
        &[accept(1, "door")],
        &[accept(2, "door"), remove(9)],
        &[remove(1)],
        &[accept(3, "door")],
    ];
    let results = bench
        .store()
        .apply_each(at(0), &super::groups(&groups))
        .unwrap();
    let epochs: Vec<_> = results
        .into_iter()
        .map(|r| r.ok().map(|Epoch(n)| n))
        .collect();
    assert_eq!(epochs, [Some(1), None, Some(2), Some(3)]);
    bench.reopen();
    let store = bench.store();
    assert_eq!(store.entries().unwrap().len(), 1);
    assert!(is_known(store, at(0), 3));
}

fn a_change_that_changes_nothing_leaves_the_epoch(bench: &mut dyn Bench) {
    let first = bench
        .store()
        .apply(at(0), &ADMIN, &[accept(1, "door"), open(7, 1), close(7)])
        .unwrap();
    assert_eq!(first, Epoch(3));
    let watch = bench.store().watch(Box::new(|| ()));
    for change in [accept(1, "door"), close(7), enrol(7, 1)] {
        assert_eq!(
            bench.store().apply(at(1), &ADMIN, &[change]).unwrap(),
            first
        );
    }
    assert_eq!(bench.store().apply(at(1), &ADMIN, &[]).unwrap(), first);
    assert_eq!(told(&watch), []);
    bench.reopen();
    assert_eq!(
        bench
            .store()
            .apply(at(2), &ADMIN, &[accept(2, "door")])
            .unwrap(),
        Epoch(4)
    );
}

fn watchers_are_told_everything_in_order(bench: &mut dyn Bench) {
    let store = bench.store();
    let gone = store.watch(Box::new(|| ()));
    let watch = store.watch(Box::new(|| ()));
    drop(gone);
    let changes = [
        accept(1, "door"),
        open(7, 2),
        enrol(7, 2),
        enrol(7, 3),
        remove(2),
    ];
    store.apply(at(0), &ADMIN, &changes[..2]).unwrap();
    changes[2..].iter().for_each(|change| {
        store
            .apply(at(0), &ADMIN, std::slice::from_ref(change))
            .unwrap();
    });
    let as_told = |(epoch, change)| Told {
        epoch: Epoch(epoch),
        by: ADMIN,
        change,
    };
    let expected: Vec<_> = (1..).zip(changes).map(as_told).collect();
    assert_eq!(told(&watch), expected);
    store.apply(at(0), &ADMIN, &[open(8, 2)]).unwrap();
    store.settle(at(11 * MINUTE)).unwrap();
    let expired = Change::CloseWindow {
        window: WindowId(8),
        why: WindowEnd::Expired,
    };
    let by_time = Told {
        epoch: Epoch(7),
        by: Actor::Host,
        change: expired,
    };
    assert_eq!(told(&watch).pop(), Some(by_time));
}

fn a_window_lets_in_as_many_as_it_says(bench: &mut dyn Bench) {
    bench.store().apply(at(0), &ADMIN, &[open(7, 2)]).unwrap();
    for n in 1..=4 {
        let result = bench.store().apply(at(n), &ADMIN, &[enrol(7, n)]);
        assert_eq!(result.is_ok(), n <= 2);
        bench.reopen();
        assert_eq!(
            left(bench.store(), at(n), 7),
            2 - u32::try_from(n.min(2)).unwrap()
        );
    }
    let window = find(bench.store(), at(4), 7).unwrap();
    assert_eq!(window.ended, Some((WindowEnd::Spent, at(2))));
    assert_eq!(window.enrolled, [1, 2].map(|n| *key(n).as_bytes()).into());
    let entry = bench
        .store()
        .lookup(at(4), &name("door"), &key(1))
        .unwrap()
        .unwrap();
    let added = Added {
        at_ms: at(1).wall_ms,
        how: How::Window(WindowId(7)),
        by: ADMIN,
    };
    assert_eq!((entry.added, entry.label), (added, None));
    assert!(
        bench
            .store()
            .lookup(at(4), &name("gate"), &key(1))
            .unwrap()
            .is_err()
    );
}

fn a_known_key_spends_nothing(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(at(0), &ADMIN, &[open(7, 2), accept(5, "*"), enrol(7, 1)])
        .unwrap();
    let before = seen(bench.store(), at(0));
    for n in [1, 5, 1] {
        bench.store().apply(at(1), &ADMIN, &[enrol(7, n)]).unwrap();
        assert_eq!(left(bench.store(), at(1), 7), 1);
    }
    assert_eq!(seen(bench.store(), at(0)), before);
    // A reply that was lost is asked for again, ended window or not.
    bench.store().apply(at(2), &ADMIN, &[enrol(7, 2)]).unwrap();
    bench
        .store()
        .apply(at(3), &ADMIN, &[enrol(7, 1), enrol(7, 2)])
        .unwrap();
}

fn i5_a_removed_key_does_not_come_back_by_a_window_that_was_open(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(at(0), &ADMIN, &[accept(1, "gate"), open(7, 5)])
        .unwrap();
    bench.store().apply(at(1), &ADMIN, &[remove(1)]).unwrap();
    bench.reopen();
    let again = bench.store().apply(at(2), &ADMIN, &[enrol(7, 1)]);
    assert!(matches!(again, Err(ApplyError::WindowShut)));
    // An admin can change his mind.
    bench
        .store()
        .apply(at(3), &ADMIN, &[accept(1, "gate"), enrol(7, 1)])
        .unwrap();
}

fn i5_a_removed_key_does_not_come_back_by_the_window_it_came_by(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(at(0), &ADMIN, &[open(7, 2), enrol(7, 1), enrol(7, 2)])
        .unwrap();
    bench.store().apply(at(1), &ADMIN, &[remove(1)]).unwrap();
    bench.reopen();
    let again = bench.store().apply(at(2), &ADMIN, &[enrol(7, 1)]);
    assert!(matches!(again, Err(ApplyError::WindowShut)));
    assert!(!is_known(bench.store(), at(2), 1));
    bench.store().apply(at(2), &ADMIN, &[enrol(7, 2)]).unwrap();
}

fn a_window_opened_after_a_removal_lets_the_key_in(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(
            at(0),
            &ADMIN,
            &[accept(1, "door"), open(7, 2), remove(1), open(8, 2)],
        )
        .unwrap();
    bench.store().apply(at(1), &ADMIN, &[enrol(8, 1)]).unwrap();
    assert!(is_known(bench.store(), at(1), 1));
}

fn a_window_that_is_over_is_shut(bench: &mut dyn Bench) {
    bench.store().apply(at(0), &ADMIN, &[open(7, 5)]).unwrap();
    bench
        .store()
        .apply(at(10 * MINUTE - 1), &ADMIN, &[enrol(7, 1)])
        .unwrap();
    assert_eq!(left(bench.store(), at(10 * MINUTE - 1), 7), 4);
    assert_eq!(left(bench.store(), at(10 * MINUTE), 7), 0);
    let late = bench.store().apply(at(10 * MINUTE), &ADMIN, &[enrol(7, 2)]);
    assert!(matches!(late, Err(ApplyError::WindowShut)));
    let window = find(bench.store(), at(10 * MINUTE), 7).unwrap();
    assert_eq!(window.ended, Some((WindowEnd::Expired, at(10 * MINUTE))));
}

fn an_ended_window_is_kept_for_a_day(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(at(0), &ADMIN, &[open(7, 5), enrol(7, 1), close(7)])
        .unwrap();
    for ms in [0, DAY - 1] {
        bench.store().settle(at(ms)).unwrap();
        assert_eq!(
            bench.store().window_secret(WindowId(7)).unwrap(),
            Some(window(7, 5).secret)
        );
        assert_eq!(left(bench.store(), at(ms), 7), 0);
        assert_eq!(find(bench.store(), at(ms), 7).unwrap().enrolled.len(), 1);
    }
    assert_eq!(find(bench.store(), at(DAY), 7), None);
    bench.store().settle(at(DAY)).unwrap();
    bench.reopen();
    assert_eq!(bench.store().window_secret(WindowId(7)).unwrap(), None);
    assert!(matches!(
        bench.store().apply(at(DAY), &ADMIN, &[enrol(7, 1)]),
        Err(ApplyError::NoSuchWindow)
    ));
    assert!(is_known(bench.store(), at(DAY), 1));
}

fn two_open_windows_of_a_name_do_not_share_a_secret(bench: &mut dyn Bench) {
    let again = |id, scope: &str| {
        Change::OpenWindow(OpenWindow {
            name: name(scope),
            secret: secret("s"),
            ..window(id, 1)
        })
    };
    bench
        .store()
        .apply(at(0), &ADMIN, &[again(1, "door"), again(2, "gate")])
        .unwrap();
    bench.reopen();
    let taken = bench.store().apply(at(0), &ADMIN, &[again(3, "door")]);
    assert!(matches!(taken, Err(ApplyError::SecretTaken)));
    let replaced = Change::CloseWindow {
        window: WindowId(1),
        why: WindowEnd::Replaced,
    };
    bench
        .store()
        .apply(at(0), &ADMIN, &[replaced, again(3, "door")])
        .unwrap();
    bench
        .store()
        .apply(at(11 * MINUTE), &ADMIN, &[again(4, "door")])
        .unwrap();
}

fn opening_a_window_again_replaces_it(bench: &mut dyn Bench) {
    let store = bench.store();
    store
        .apply(
            at(0),
            &ADMIN,
            &[open(7, 1), accept(9, "gate"), remove(9), enrol(7, 1)],
        )
        .unwrap();
    let next = OpenWindow {
        secret: secret("another"),
        ..window(7, 2)
    };
    store
        .apply(at(1), &ADMIN, &[Change::OpenWindow(next)])
        .unwrap();
    bench.reopen();
    assert_eq!(left(bench.store(), at(1), 7), 2);
    assert_eq!(
        bench.store().window_secret(WindowId(7)).unwrap(),
        Some(secret("another"))
    );
    bench
        .store()
        .apply(at(1), &ADMIN, &[enrol(7, 2), enrol(7, 9)])
        .unwrap();
}

fn guesses_end_a_window_whose_secret_a_person_made_up(bench: &mut dyn Bench) {
    let human = Change::OpenWindow(OpenWindow {
        human: true,
        ..window(1, 5)
    });
    bench
        .store()
        .apply(at(0), &ADMIN, &[human, open(2, 5)])
        .unwrap();
    let guess = |id, more| Change::Guesses {
        window: WindowId(id),
        more,
    };
    bench
        .store()
        .apply(at(1), &ADMIN, &[guess(1, 199), guess(2, 199)])
        .unwrap();
    bench.reopen();
    assert_eq!(left(bench.store(), at(1), 1), 5);
    bench
        .store()
        .apply(at(2), &ADMIN, &[guess(1, 1), guess(2, u32::MAX)])
        .unwrap();
    bench.reopen();
    let ended = find(bench.store(), at(2), 1).unwrap().ended;
    assert_eq!(ended, Some((WindowEnd::Guessed, at(2))));
    assert_eq!(left(bench.store(), at(2), 2), 5);
}

fn a_window_is_found_by_name_and_secret(bench: &mut dyn Bench) {
    let with = |id, text: &str| {
        Change::OpenWindow(OpenWindow {
            secret: secret(text),
            ..window(id, 2)
        })
    };
    bench
        .store()
        .apply(at(0), &ADMIN, &[with(1, "a"), with(2, "aa"), enrol(1, 1)])
        .unwrap();
    bench.reopen();
    let find = |store: &dyn Keystore, now, text| {
        store
            .find_window(now, &name("door"), &secret(text))
            .unwrap()
            .map(|window| window.id.0)
    };
    assert_eq!(find(bench.store(), at(1), "a"), Some(1));
    assert_eq!(find(bench.store(), at(1), "aa"), Some(2));
    assert_eq!(find(bench.store(), at(1), "aaa"), None);
    let elsewhere = bench
        .store()
        .find_window(at(1), &name("gate"), &secret("a"))
        .unwrap();
    assert_eq!(elsewhere, None);
    // One that has ended is found too, or a restart would open it anew; an open one comes first.
    bench.store().apply(at(2), &ADMIN, &[close(1)]).unwrap();
    assert_eq!(find(bench.store(), at(2), "a"), Some(1));
    bench.store().apply(at(2), &ADMIN, &[with(3, "a")]).unwrap();
    assert_eq!(find(bench.store(), at(2), "a"), Some(3));
    assert_eq!(find(bench.store(), at(DAY + DAY), "a"), None);
}

fn unknown_keys_and_windows_are_named_so(bench: &mut dyn Bench) {
    let store = bench.store();
    assert!(matches!(
        store.apply(at(0), &ADMIN, &[remove(1)]),
        Err(ApplyError::NoSuchKey)
    ));
    assert!(matches!(
        store.apply(at(0), &ADMIN, &[enrol(1, 1)]),
        Err(ApplyError::NoSuchWindow)
    ));
    assert!(matches!(
        store.apply(at(0), &ADMIN, &[close(1)]),
        Err(ApplyError::NoSuchWindow)
    ));
    let guess = Change::Guesses {
        window: WindowId(1),
        more: 1,
    };
    assert!(matches!(
        store.apply(at(0), &ADMIN, &[guess]),
        Err(ApplyError::NoSuchWindow)
    ));
}

fn no_window_can_be_opened_behind_the_clock(bench: &mut dyn Bench) {
    bench
        .store()
        .apply(at(MINUTE), &ADMIN, &[open(1, 1)])
        .unwrap();
    bench.reopen();
    let error = bench
        .store()
        .apply(at(0), &ADMIN, &[open(2, 1)])
        .unwrap_err();
    assert!(matches!(
        error,
        ApplyError::ClockSetBack { behind_ms: MINUTE }
    ));
    assert!(error.to_string().contains("60 s"));
    // Keys do not depend on the clock.
    bench
        .store()
        .apply(at(0), &ADMIN, &[accept(1, "door"), remove(1)])
        .unwrap();
}
