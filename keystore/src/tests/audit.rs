//! What can be read of what happened, whatever becomes of the files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use identity::Reference;
use proptest::prelude::*;

use super::rules::assembled;
use super::*;
use crate::audit::{Event, Fault, Happened, Head, Outbox, Reader, Record, Trail, Verifier};

/// All records of a state directory, every one of them checked.
fn records(state: &Path) -> Result<Vec<Record>, (PathBuf, u64, Fault)> {
    let mut reader = Reader::new(state);
    let mut verifier = Verifier::default();
    let mut records = Vec::new();
    while let Some(line) = reader.next_line().unwrap() {
        let record = verifier.check(&line.bytes);
        records.push(record.map_err(|fault| (line.file, line.number, fault))?);
    }
    Ok(records)
}

/// Every epoch has its records and there are no others.
#[track_caller]
pub(super) fn is_complete(state: &Path, store: &mut dyn Keystore) {
    let Epoch(epoch) = store.settle(at(0)).unwrap();
    let records = records(state).unwrap();
    let mut epochs: Vec<_> = records.iter().filter_map(|record| record.epoch).collect();
    epochs.dedup();
    // A store that was upgraded has changes that were made before there was a log.
    let first = epochs.first().map_or(epoch + 1, |first| first.0);
    assert_eq!(epochs, (first..=epoch).map(Epoch).collect::<Vec<_>>());
    let head = records.last().map_or(Head::START, Record::head);
    assert_eq!(store.audit_head(), Some(head));
}

pub(super) fn refused(key_number: u64) -> Note {
    Note::Refused {
        name: name("door"),
        key: Some(key(key_number)),
        from: "[::1]:7".parse().unwrap(),
        reason: Reason::UnknownKey,
        reference: Some(Reference::of(&key_number.to_le_bytes())),
    }
}

fn admitted(key_number: u64, window: Option<u64>) -> Note {
    Note::Admitted {
        name: name("door"),
        key: key(key_number),
        from: "127.0.0.1:7".parse().unwrap(),
        window: window.map(WindowId),
        session: 3,
    }
}

/// A file as the log has them.
fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// The files and their bytes.
fn files(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<_> = fs::read_dir(state.join("audit"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    paths.sort();
    let with_bytes = |path: PathBuf| {
        let bytes = fs::read(&path).unwrap();
        (path, bytes)
    };
    paths.into_iter().map(with_bytes).collect()
}

#[derive(Debug, Clone)]
enum Step {
    Accept(u8),
    Remove(u8),
    Open(u8),
    Enrol(u8, u8),
    Note(u8),
    Later(u16),
    Settle,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..6u8).prop_map(Step::Accept),
        2 => (0..6u8).prop_map(Step::Remove),
        2 => (0..3u8).prop_map(Step::Open),
        2 => ((0..3u8), (0..6u8)).prop_map(|(window, key)| Step::Enrol(window, key)),
        4 => (0..6u8).prop_map(Step::Note),
        1 => (0..400u16).prop_map(Step::Later),
        1 => Just(Step::Settle),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The store in memory makes the same lines, so it says what is to be there.
    #[test]
    fn whatever_is_done_in_whatever_order_makes_one_unbroken_chain(
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let dir = TempDir::new().unwrap();
        let state = dir.path().join("state");
        let mut memory = Memory::new();
        let mut store = Some(sled(&dir, at(0)));
        let mut now = at(0);
        for step in steps {
            let changes = match step {
                Step::Accept(key) => vec![accept(key.into(), "door"), accept(key.into(), "gate")],
                Step::Remove(key) => vec![remove(key.into())],
                Step::Open(id) => vec![open(id.into(), 2)],
                Step::Enrol(id, key) => vec![enrol(id.into(), key.into())],
                Step::Note(key) => {
                    store.as_mut().unwrap().note(now, refused(key.into())).unwrap();
                    memory.note(now, refused(key.into())).unwrap();
                    continue;
                }
                Step::Later(seconds) => {
                    now = at(now.wall_ms - at(0).wall_ms + u64::from(seconds) * 1000);
                    continue;
                }
                Step::Settle => {
                    store.as_mut().unwrap().settle(now).unwrap();
                    memory.settle(now).unwrap();
                    continue;
                }
                Step::Reopen => {
                    drop(store.take());
                    store = Some(sled(&dir, now));
                    memory.settle(now).unwrap();
                    continue;
                }
            };
            let by = Actor::Script("a \"quoted\" one".into());
            let done = store.as_mut().unwrap().apply(now, &by, &changes).is_ok();
            prop_assert_eq!(memory.apply(now, &by, &changes).is_ok(), done);
        }
        let written: Vec<u8> = files(&state).into_iter().flat_map(|(_, bytes)| bytes).collect();
        let expected: String = memory.audit().map(|line| format!("{line}\n")).collect();
        prop_assert_eq!(String::from_utf8(written).unwrap(), expected);
        is_complete(&state, store.as_mut().unwrap());
    }
}

/// A store with a few records of many kinds, made durable, and the head of its chain.
fn some(dir: &TempDir) -> (PathBuf, Head) {
    let mut store = sled(dir, at(0));
    store
        .apply(at(0), &ADMIN, &[accept(1, "door"), open(7, 1)])
        .unwrap();
    store.apply(at(1), &Actor::Host, &[enrol(7, 5)]).unwrap();
    store.note(at(1), admitted(5, Some(7))).unwrap();
    store.note(at(2), refused(9)).unwrap();
    store.apply(at(3), &ADMIN, &[remove(1)]).unwrap();
    store.settle(at(3)).unwrap();
    (dir.path().join("state"), store.audit_head().unwrap())
}

#[test]
fn every_flipped_bit_is_found() {
    let dir = TempDir::new().unwrap();
    let (state, head) = some(&dir);
    let mut random = Random::from_env();
    for (path, good) in files(&state) {
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << random.below(8);
            fs::write(&path, &bytes).unwrap();
            let found = records(&state);
            let same = found.is_ok_and(|all| all.last().map(Record::head) == Some(head));
            assert!(!same, "byte {place} of {}", path.display());
        }
        fs::write(&path, &good).unwrap();
    }
    assert_eq!(
        records(&state).unwrap().last().map(Record::head),
        Some(head)
    );
}

#[test]
fn what_was_cut_off_is_found_by_who_knows_the_head() {
    let dir = TempDir::new().unwrap();
    let (state, head) = some(&dir);
    for (path, good) in files(&state) {
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            let found = records(&state);
            assert!(
                found.is_ok_and(|all| all.iter().all(|record| record.head() != head)),
                "cut after {len}: what is left is whole, and is not all"
            );
        }
    }
}

#[test]
fn records_that_were_left_out_or_moved_are_found_where_they_are_missing() {
    let dir = TempDir::new().unwrap();
    let (state, _) = some(&dir);
    let (path, good) = files(&state).remove(0);
    let lines: Vec<_> = good.split_inclusive(|byte| *byte == b'\n').collect();
    let without: Vec<u8> = [&lines[..2], &lines[3..]].concat().concat();
    fs::write(&path, without).unwrap();
    let (file, line, fault) = records(&state).unwrap_err();
    let gap = Fault::Gap {
        expected: 3,
        found: 4,
    };
    assert_eq!((file, line, fault), (path.clone(), 3, gap));
    // Earlier records can be kept elsewhere.
    fs::write(&path, lines[2..].concat()).unwrap();
    assert_eq!(records(&state).unwrap()[0].seq, 3);
    fs::write(&path, [lines[1], lines[0]].concat()).unwrap();
    assert!(records(&state).is_err());
}

fn happened(event: Event) -> Happened {
    Happened {
        at_ms: 1,
        by: ADMIN,
        epoch: matches!(event, Event::Remove { .. }).then_some(Epoch(1)),
        event,
    }
}

fn refusals(name: &str, count: u64) -> Event {
    Event::RefusedMore {
        name: super::name(name),
        count,
    }
}

/// What the rows of a store come to.
#[derive(Default)]
struct Rows(std::collections::BTreeMap<Vec<u8>, Vec<u8>>);

impl Rows {
    fn write(&mut self, trail: &mut Trail, happened: Vec<Happened>) {
        let staged = trail.stage(happened).unwrap();
        for (key, value) in &staged.rows {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
        trail.committed(staged);
    }

    fn outbox(&self) -> Outbox {
        let rows: Vec<_> = self.0.clone().into_iter().collect();
        assembled(&rows).unwrap().outbox
    }
}

#[test]
fn i6_a_file_torn_anywhere_behind_what_is_durable_is_made_whole() {
    let dir = TempDir::new().unwrap();
    let (folder, file) = (dir.path().to_owned(), dir.path().join("00000001.jsonl"));
    let mut rows = Rows::default();
    let mut trail = Trail::open(folder.clone(), &rows.outbox(), 0).unwrap();
    let removed = |n| happened(Event::Remove { key: key(n) });
    rows.write(&mut trail, vec![removed(1)]);
    trail.sync().unwrap();
    let durable = fs::read(&file).unwrap().len();
    trail.note(happened(refusals("door", 2))).unwrap();
    rows.write(&mut trail, vec![removed(3), removed(4)]);
    let good = fs::read(&file).unwrap();
    trail.note(happened(refusals("gate", 5))).unwrap();
    let more = fs::read(&file).unwrap();
    drop(trail);
    let mut random = Random::from_env();
    for len in durable..more.len() {
        for filler in [0, 1] {
            let mut torn = more[..len].to_vec();
            if filler == 1 {
                torn.resize_with(more.len(), || random.next() as u8);
            }
            fs::write(&file, &torn).unwrap();
            let trail = Trail::open(folder.clone(), &rows.outbox(), 0).unwrap();
            // The last note was not waited for.
            assert_eq!(fs::read(&file).unwrap(), good, "torn at {len}");
            assert_eq!(trail.head(), rows.outbox().head);
            assert!(trail.waits > 0, "what was found is made durable");
        }
    }
    // What is durable cannot be torn, so somebody has cut it.
    for len in 0..durable {
        fs::write(&file, &more[..len]).unwrap();
        let error = Trail::open(folder.clone(), &rows.outbox(), 0).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("begin-anew") && error.contains("nothing was touched"),
            "{error}"
        );
        assert_eq!(fs::read(&file).unwrap(), &more[..len], "it was touched");
    }
}

#[test]
fn one_wait_for_the_disk_is_enough_for_a_change_and_its_record() {
    let dir = TempDir::new().unwrap();
    let mut rows = Rows::default();
    let mut trail = Trail::open(dir.path().to_owned(), &rows.outbox(), 0).unwrap();
    for n in 0..200 {
        assert!(n > 20 || rows.outbox().lines.len() as u64 == n);
        rows.write(&mut trail, vec![happened(Event::Remove { key: key(n) })]);
    }
    // To open it is worth a wait, and a file that is full before the next one begins.
    let full = || fs::read_dir(dir.path()).unwrap().count() as u32;
    assert_eq!(trail.waits, full());
    for n in 200..2000 {
        rows.write(&mut trail, vec![happened(Event::Remove { key: key(n) })]);
        assert!(rows.outbox().lines.len() < 300);
    }
    assert!(trail.waits <= full() + 2000 / 256, "{}", trail.waits);
    trail.sync().unwrap();
    rows.write(&mut trail, vec![]);
    assert!(rows.outbox().lines.is_empty() && !trail.is_untidy());
}

#[test]
fn a_file_that_is_lost_is_told_and_the_log_goes_on_where_an_admin_says_so() {
    let dir = TempDir::new().unwrap();
    let (state, head) = some(&dir);
    for (path, _) in files(&state) {
        fs::remove_file(path).unwrap();
    }
    let opened = || Sled::open(&state_directory(&dir), at(4));
    let error = opened().unwrap_err().to_string();
    assert!(error.contains("ends with record 0, but 7 were"), "{error}");
    assert!(error.contains("begin-anew"), "{error}");
    assert!(files(&state).is_empty());
    fs::write(state.join("audit/begin-anew"), "").unwrap();
    // It has begun once, and was killed.
    private(&state.join("audit/00000001.jsonl"), b"");
    let mut store = opened().unwrap();
    store.apply(at(5), &ADMIN, &[accept(3, "door")]).unwrap();
    drop(store);
    drop(opened().unwrap());
    let records = records(&state).unwrap();
    assert_eq!(records[0].event, Event::BeganAnew);
    assert_eq!((records[0].seq, records[0].prev), (head.seq + 1, head.hash));
    assert_eq!(files(&state).len(), 1, "what was asked for is done");
}

#[test]
fn what_was_not_made_durable_in_the_file_is_not_lost_with_it() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let mut store = sled(&dir, at(0));
    store.note(at(0), refused(1)).unwrap();
    store.apply(at(0), &ADMIN, &[accept(1, "door")]).unwrap();
    drop(store);
    let (path, good) = files(&state).remove(0);
    fs::remove_file(&path).unwrap();
    is_complete(&state, &mut sled(&dir, at(0)));
    assert_eq!(fs::read(path).unwrap(), good);
}

#[test]
fn a_file_of_yesterday_is_told() {
    let dir = TempDir::new().unwrap();
    let (state, _) = some(&dir);
    let (path, yesterday) = files(&state).remove(0);
    let mut store = sled(&dir, at(10));
    store.apply(at(10), &ADMIN, &[accept(2, "door")]).unwrap();
    store.settle(at(10)).unwrap();
    drop(store);
    let (_, today) = files(&state).remove(0);
    fs::write(&path, &yesterday).unwrap();
    let error = Sled::open(&state_directory(&dir), at(11)).unwrap_err();
    assert!(
        error.to_string().contains("ends with record 7, but 8"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), yesterday);
    // Of the same length, and with another history.
    let other = TempDir::new().unwrap();
    let (other_state, _) = some(&other);
    let mut store = sled(&other, at(10));
    store.apply(at(10), &ADMIN, &[accept(3, "door")]).unwrap();
    drop(store);
    fs::write(&path, &files(&other_state)[0].1).unwrap();
    let error = Sled::open(&state_directory(&dir), at(11)).unwrap_err();
    assert!(error.to_string().contains("another record 8"), "{error}");
    fs::write(&path, today).unwrap();
    is_complete(&state, &mut sled(&dir, at(11)));
}

#[test]
fn a_file_that_cannot_be_written_stops_changes_only_when_the_outbox_is_full() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let mut store = sled(&dir, at(0));
    store.apply(at(0), &ADMIN, &[accept(0, "door")]).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let file = store.trail().replace_file(full);
    let mut known = 1;
    let error = loop {
        match store.apply(at(0), &ADMIN, &[accept(known, "door")]) {
            Ok(_) => known += 1,
            Err(error) => break error,
        }
        store.note(at(0), refused(known)).unwrap_or_default();
    };
    let ApplyError::Store(StoreError::Io(error)) = error else {
        panic!("{error}")
    };
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
    assert!(error.to_string().contains("00000001.jsonl"), "{error}");
    assert!(known > 100);
    assert_eq!(
        store.entries().unwrap().len() as u64,
        known,
        "nothing happened"
    );
    assert!(store.note(at(0), refused(1)).is_err());
    drop(store.trail().replace_file(file));
    store
        .apply(at(0), &ADMIN, &[accept(known, "door")])
        .unwrap();
    is_complete(&state, &mut store);
    drop(store);
    is_complete(&state, &mut sled(&dir, at(0)));
}

#[test]
fn an_admission_says_which_window_it_came_by_and_who_opened_that() {
    let mut store = Memory::new();
    store
        .apply(at(0), &ADMIN, &[open(7, 1), accept(1, "door")])
        .unwrap();
    store.apply(at(1), &Actor::Host, &[enrol(7, 5)]).unwrap();
    for note in [admitted(5, Some(7)), admitted(5, None), admitted(1, None)] {
        store.note(at(2), note).unwrap();
    }
    let lines: Vec<_> = store
        .audit()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .collect();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    let expected = [
        "window-open",
        "accept",
        "enrol",
        "window-end",
        "admitted",
        "admitted",
        "admitted",
    ];
    assert_eq!(events, expected);
    assert_eq!(lines[2]["opened_by"], "user 1000");
    assert_eq!(lines[3]["why"], "spent");
    assert_eq!(lines[2]["epoch"], lines[3]["epoch"]);
    for (line, enrolled) in [(&lines[4], true), (&lines[5], false)] {
        assert_eq!(line["window"], "0000000000000007");
        assert_eq!(line["opened_by"], "user 1000");
        assert_eq!(line["enrolled"], enrolled);
    }
    assert!(lines[6].get("window").is_none());
    assert!(lines[0].get("secret").is_none());
}

#[test]
fn every_record_is_read_as_it_was_written() {
    let (key, label) = (key(1), Some("an \"odd\" näme".to_owned()));
    let (name, window) = (name("door"), WindowId(u64::MAX));
    let scope = Scope::Any;
    let events = [
        Event::Accept {
            key,
            label: label.clone(),
            scope: scope.clone(),
            imported: true,
        },
        Event::Unscope {
            key,
            label: None,
            scope,
        },
        Event::Label { key, label: None },
        Event::Comment {
            key,
            label: label.clone(),
            comment: label.clone(),
        },
        Event::Expire {
            key,
            label: None,
            expires_ms: Some(u64::MAX),
        },
        Event::Disable {
            key,
            label: label.clone(),
        },
        Event::Enable { key, label: None },
        Event::Revoke { key, label: None },
        Event::Ban { key, label: None },
        Event::Unban { key, label: None },
        Event::Remove { key },
        Event::WindowOpen {
            window,
            name: name.clone(),
            label: label.clone(),
            origin: Origin::Script,
            human: true,
            count: 3,
            lasts_ms: 9,
        },
        Event::Enrol {
            window,
            name: name.clone(),
            key,
            label: None,
            opened_by: "script chat".into(),
        },
        Event::WindowEnd {
            window,
            name: name.clone(),
            why: WindowEnd::Guessed,
        },
        Event::Guesses {
            window,
            name: name.clone(),
            more: 1,
            guesses: 2,
        },
        Event::Started {
            pid: 1,
            version: "1".into(),
        },
        Event::Restored { made_ms: 7 },
        Event::HostKey {
            tag: name.clone(),
            change: HostKeyDeed::Rotated,
            key,
        },
        Event::Admitted {
            name: name.clone(),
            key,
            label: None,
            source: "[fe80::1%2]:7".parse().unwrap(),
            session: u64::MAX,
            window: None,
            opened_by: None,
            enrolled: false,
        },
        Event::Left {
            name: name.clone(),
            key,
            label: None,
            session: 1,
            why: Farewell::Frameserver,
        },
        Event::Refused {
            name: name.clone(),
            key: None,
            label: None,
            source: "127.0.0.1:7".parse().unwrap(),
            reason: Reason::WrongSecret,
            reference: Some(Reference::of(b"x")),
        },
        Event::RefusedMore { name, count: 1 },
        Event::BeganAnew,
    ];
    let mut head = Head::START;
    let mut verifier = Verifier::default();
    for event in events {
        let written = happened(event.clone()).after(head).unwrap();
        let record = verifier.check(written.text.as_bytes()).unwrap();
        assert_eq!(
            (&record.event, &record.by),
            (&event, &ADMIN),
            "{}",
            written.text
        );
        head = written.head;
        assert_eq!(record.head(), head);
    }
}

#[test]
fn one_who_reads_along_sees_whole_lines_only_and_goes_from_file_to_file() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let mut reader = Reader::new(&state);
    assert_eq!(reader.next_line().unwrap(), None, "nothing is there yet");
    let mut store = sled(&dir, at(0));
    let mut verifier = Verifier::default();
    assert!(!reader.is_torn());
    for n in 0..200 {
        store.note(at(n), refused(n)).unwrap();
        let line = reader.next_line().unwrap().unwrap();
        verifier.check(&line.bytes).unwrap();
        assert_eq!(reader.next_line().unwrap(), None);
        assert!(!reader.is_torn());
    }
    assert_eq!(verifier.head(), store.audit_head());
    assert!(files(&state).len() > 2, "several files");
    drop(store);
    let (path, good) = files(&state).pop().unwrap();
    fs::write(&path, [&good[..], b"{\"v\":1,"].concat()).unwrap();
    assert_eq!(reader.next_line().unwrap(), None);
    assert!(reader.is_torn());
    // The host cuts it and goes on.
    let mut store = sled(&dir, at(0));
    store.note(at(0), refused(1)).unwrap();
    let line = reader.next_line().unwrap().unwrap();
    verifier.check(&line.bytes).unwrap();
    assert!(!reader.is_torn());
}

#[test]
fn what_a_later_version_records_is_followed_and_not_cut() {
    let dir = TempDir::new().unwrap();
    let mut rows = Rows::default();
    let folder = dir.path().to_owned();
    let mut trail = Trail::open(folder.clone(), &rows.outbox(), 0).unwrap();
    trail.note(happened(Event::Unknown)).unwrap();
    rows.write(&mut trail, vec![happened(Event::BeganAnew)]);
    let head = trail.head();
    drop(trail);
    let text = fs::read_to_string(folder.join("00000001.jsonl")).unwrap();
    assert!(text.contains("\"event\":\"unknown\""));
    let trail = Trail::open(folder, &rows.outbox(), 0).unwrap();
    assert_eq!(trail.head(), head);
    let later = "{\"event\":\"flew-away\",\"to\":[1]}";
    assert_eq!(
        serde_json::from_str::<Event>(later).unwrap(),
        Event::Unknown
    );
}

#[test]
fn i6_a_file_that_was_only_just_begun_is_gone_on_with() {
    let dir = TempDir::new().unwrap();
    let (state, head) = some(&dir);
    // Killed when it was made, and while its first line was written.
    for (number, torn) in [(2, &b""[..]), (3, b"{\"v\":1,\"se")] {
        private(&state.join(format!("audit/{number:08}.jsonl")), torn);
        let mut store = sled(&dir, at(number));
        store
            .apply(at(number), &ADMIN, &[accept(number, "hall")])
            .unwrap();
        is_complete(&state, &mut store);
    }
    assert_eq!(files(&state).len(), 3);
    assert_eq!(records(&state).unwrap().last().unwrap().seq, head.seq + 2);
    // It is no end that was cut off.
    let (last, _) = files(&state).pop().unwrap();
    fs::write(&last, b"").unwrap();
    let error = Sled::open(&state_directory(&dir), at(9)).unwrap_err();
    assert!(error.to_string().contains("nothing was touched"), "{error}");
}
