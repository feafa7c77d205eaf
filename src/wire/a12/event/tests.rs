mod canonical;
mod fields;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use self::canonical::Layout;
use super::packet::checksum;
use super::*;
use crate::wire::a12::Role;
use crate::wire::a12::vectors::{self, Hex};

static LAYOUT: LazyLock<Layout> = LazyLock::new(Layout::load);

/// What is in the layout, and refused: it is unknown to a network, or only means something on one
/// machine.
const REFUSED: [(&str, &[&str]); 2] = [
    ("external", &["bufferstream", "privdrop", "netstate"]),
    (
        "target",
        &[
            "setiodev",
            "newsegment",
            "buffer_fail",
            "device_node",
            "devicestate",
        ],
    ),
];

/// The vectors with one record of every kind.
#[derive(Deserialize)]
struct Examples {
    events: Vec<Example>,
}

#[derive(Deserialize)]
struct Example {
    name: String,
    /// What the body is called in the LAYOUT.
    body: String,
    fields: Value,
    packed: Hex,
}

impl Example {
    fn record(&self) -> &[u8; Record::SIZE] {
        self.packed.0.last_chunk().unwrap()
    }
}

#[test]
fn the_examples_read_as_their_fields_say() {
    let examples: Examples = vectors::data("a12-events-vectors");
    assert_eq!(examples.events.len(), 62);
    for example in &examples.events {
        let expected = fields::record(&example.body, &example.fields);
        assert_eq!(
            Record::parse(example.record()).ok(),
            expected,
            "{}",
            example.name
        );
    }
}

#[test]
fn the_examples_are_written_as_the_reference_packs_them() {
    let examples: Examples = vectors::data("a12-events-vectors");
    for example in &examples.events {
        let Some(event) = fields::record(&example.body, &example.fields) else {
            continue;
        };
        // What the types do not carry has a value in the examples: see `canonical`.
        let expected = LAYOUT.canonical(example.record());
        assert_eq!(
            Hex(event.encode().to_vec()),
            Hex(expected.to_vec()),
            "{}",
            example.name
        );
        if example.name.starts_with("example_") {
            assert_eq!(&event.encode(), example.record(), "{}", example.name);
        }
    }
}

#[test]
fn the_refused_examples_are_those_that_must_not_cross() {
    let examples: Examples = vectors::data("a12-events-vectors");
    for example in &examples.events {
        let (category, kind) = LAYOUT.name(example.record());
        let refused = REFUSED
            .iter()
            .any(|(c, kinds)| *c == category && kinds.contains(&kind.as_str()));
        assert_eq!(
            Record::parse(example.record()).is_err(),
            refused,
            "{}",
            example.name
        );
    }
}

#[test]
fn every_number_is_known_or_refused() {
    for (category, refused) in REFUSED {
        for (kind, number) in LAYOUT.kinds(category) {
            let mut record = [0; Record::SIZE];
            record[..4].copy_from_slice(&number.to_le_bytes());
            record[120] = LAYOUT.category(category);
            assert_eq!(
                Record::parse(&record).is_err(),
                refused.contains(&kind.as_str()),
                "{category} {kind}"
            );
        }
    }
}

#[test]
fn the_protocol_text_says_which_kinds_are_taken() {
    let text = include_str!("../../../../docs/protocol/a12.md");
    for (category, role) in [("external", Role::Sink), ("target", Role::Source)] {
        for (kind, number) in LAYOUT.kinds(category) {
            let mut record = [0; Record::SIZE];
            record[..4].copy_from_slice(&number.to_le_bytes());
            record[120] = LAYOUT.category(category);
            let mut body = [0; 139];
            body[9..11].copy_from_slice(&checksum(&record).to_le_bytes());
            body[11..].copy_from_slice(&record);
            let dropped = matches!(Packet::parse(&body, role).event, Received::Dropped(_));

            let row = format!("| {number} | {} |", kind.to_uppercase());
            let row = text.lines().find(|line| line.starts_with(&row));
            let row = row.unwrap_or_else(|| panic!("no row for {category} {kind}"));
            assert_eq!(row.contains("**no**"), dropped, "{row}");
        }
    }
}

#[test]
fn segment_kinds_have_the_numbers_of_the_layout() {
    for (name, number) in LAYOUT.kinds("segment") {
        let named = !SegmentKind(number).name().is_empty();
        assert_eq!(named, name != "monitor", "{name}");
    }
    assert_eq!(SegmentKind::LIGHTWEIGHT_ARCAN.name(), "lightweight arcan");
    assert_eq!(SegmentKind::TUI, SegmentKind(24));
    assert_eq!(SegmentKind(1000).name(), "");
}

#[test]
fn the_checksum_is_that_of_the_reference() {
    let specified: vectors::Specified = vectors::data("a12-vectors");
    assert!(!specified.event_checksum.is_empty());
    for example in &specified.event_checksum {
        let packed = [
            &checksum(&example.event.array()).to_le_bytes()[..],
            &example.event.0,
        ]
        .concat();
        assert_eq!(Hex(packed), example.packed);
    }
    let examples: Examples = vectors::data("a12-events-vectors");
    for example in &examples.events {
        let (sum, record) = example.packed.0.split_at(2);
        assert_eq!(sum, checksum(record.try_into().unwrap()).to_le_bytes());
    }
}

/// In what the recorded event packets differ from what we make of them, and how often.
const DEVIATIONS: [(&str, &str, usize); 13] = [
    ("bstream_font", "descriptor slot", 1),
    ("events", "enqueue time", 1),
    ("events", "not a number", 1),
    ("events", "unused", 2),
    ("real_directory_sink_tunnel_inner", "enqueue time", 1),
    ("real_pull_terminal", "enqueue time", 3),
    ("real_pull_terminal", "frame number", 14),
    ("real_pull_terminal", "stale text", 15),
    ("real_push_actions", "descriptor slot", 1),
    ("real_push_actions", "enqueue time", 2),
    ("real_push_counter", "enqueue time", 1),
    // Refused: three EXTERNAL kinds and three TARGET kinds, and a checksum made wrong.
    ("events", "refused", 6),
    ("tolerance", "refused", 1),
];

#[test]
fn recorded_events_come_back_but_for_the_listed_deviations() {
    let mut seen = 0;
    for recording in vectors::recordings() {
        let mut found = BTreeMap::new();
        for packet in recording.packets.iter().filter(|packet| packet.kind == 2) {
            seen += 1;
            let body: &[u8; 139] = packet.body().try_into().unwrap();
            let record: &[u8; Record::SIZE] = body.last_chunk().unwrap();
            let at = format!("{} {}", recording.name, packet.n);

            let received = Packet::parse(body, taker(record));
            let Some(event) = record_of(received.event) else {
                *found.entry("refused").or_default() += 1;
                continue;
            };
            let sent = Packet {
                last_seen: received.last_seen,
                channel: received.channel,
                event,
            };
            let mut expected = *body;
            expected[11..].copy_from_slice(&LAYOUT.canonical(record));
            assert_eq!(Hex(sent.encode().to_vec()), Hex(expected.to_vec()), "{at}");
            for deviation in LAYOUT.deviations(record) {
                *found.entry(deviation).or_default() += 1;
            }
        }
        let listed: BTreeMap<_, _> = DEVIATIONS
            .iter()
            .filter(|(name, ..)| *name == recording.name)
            .map(|&(_, deviation, count)| (deviation, count))
            .collect();
        assert_eq!(found, listed, "{}", recording.name);
    }
    assert!(seen > 100, "only {seen} event packets");
}

#[test]
fn specified_events_come_back_but_for_a_descriptor() {
    let specified: vectors::Specified = vectors::data("a12-vectors");
    let mut found = Vec::new();
    for packet in specified.packets().filter(|packet| packet.kind == 2) {
        let plaintext = packet.plaintext().unwrap();
        let body: &[u8; 139] = plaintext.0.last_chunk().unwrap();
        let record: &[u8; Record::SIZE] = body.last_chunk().unwrap();
        let received = Packet::parse(body, taker(record));
        let sent = Packet {
            last_seen: received.last_seen,
            channel: received.channel,
            event: record_of(received.event).unwrap(),
        };
        let mut expected = *body;
        expected[11..].copy_from_slice(&LAYOUT.canonical(record));
        assert_eq!(Hex(sent.encode().to_vec()), Hex(expected.to_vec()));
        found.extend(LAYOUT.deviations(record));
    }
    assert_eq!(found, ["descriptor slot"]);
}

/// The role that takes such a record.
fn taker(record: &[u8; Record::SIZE]) -> Role {
    if record[120] == 64 {
        Role::Sink
    } else {
        Role::Source
    }
}

fn record_of(received: Received) -> Option<Record> {
    match received {
        Received::External(event) => Some(Record::External(event)),
        Received::Target(event) => Some(Record::Target(event)),
        Received::Io(input) => Some(Record::Io(input)),
        Received::Dropped(_) => None,
    }
}

fn sent(event: Record) -> [u8; 139] {
    Packet {
        last_seen: 7,
        channel: 3,
        event,
    }
    .encode()
}

#[test]
fn each_role_takes_only_what_is_meant_for_it() {
    let say = sent(Record::External(External::Ident("here".into())));
    let order = sent(Record::Target(Target::Activate));
    for (role, takes_say, takes_order) in [
        (Role::Sink, true, false),
        (Role::Source, false, true),
        (Role::Probe, false, false),
        (Role::Directory, false, false),
    ] {
        let taken = |body| !matches!(Packet::parse(body, role).event, Received::Dropped(_));
        assert_eq!(taken(&say), takes_say, "{role:?}");
        assert_eq!(taken(&order), takes_order, "{role:?}");
    }
}

#[test]
fn a_source_is_promised_no_transfers() {
    let body = sent(Record::Target(Target::Restore(1)));
    assert_eq!(
        Packet::parse(&body, Role::Source).event,
        Received::Dropped(Unwanted::Kind {
            category: 16,
            kind: 6
        })
    );
}

#[test]
fn a_wrong_checksum_drops_the_event_but_not_the_rest() {
    let mut body = sent(Record::Target(Target::Activate));
    assert_eq!(body[9..11], [17, 0]);
    body[9] ^= 1;
    let received = Packet::parse(&body, Role::Source);
    assert_eq!(received.event, Received::Dropped(Unwanted::Checksum));
    assert_eq!((received.last_seen, received.channel), (7, 3));
}

#[test]
fn descriptor_slots_are_minus_one() {
    for event in [
        Target::Store(1),
        Target::Restore(1),
        Target::FontHint {
            present: true,
            size: 3.5,
            hinting: 2,
            append: false,
        },
    ] {
        let record = Record::Target(event).encode();
        assert_eq!(record[4..8], [0xff; 4]);
    }
}

#[test]
fn an_axis_has_one_to_four_values() {
    let input = |samples| {
        Record::Io(Io {
            kind: 1,
            device_kind: 2,
            label: String::new(),
            flags: 0,
            device: 0,
            sub: 0,
            destination: 0,
            pts: 0,
            data: IoData::Analog {
                relative: true,
                samples,
                active: true,
            },
        })
    };
    for good in [vec![-1], vec![1, 2, 3, 4]] {
        let event = input(good);
        assert_eq!(Record::parse(&event.encode()), Ok(event));
    }
    for count in [0, 5, 255] {
        let mut record = input(vec![1]).encode();
        record[49] = count;
        assert_eq!(
            Record::parse(&record),
            Err(Unwanted::Malformed {
                category: 2,
                kind: 1
            })
        );
    }
    // A fifth has no place.
    assert_eq!(
        input(vec![1, 2, 3, 4, 5]).encode(),
        input(vec![1, 2, 3, 4]).encode()
    );
}

/// Records of a known category and, mostly, kind, with bodies of noise, small numbers or letters.
fn records() -> impl Strategy<Value = [u8; Record::SIZE]> {
    let byte = prop_oneof![
        Just(any::<u8>().boxed()),
        Just((0..4_u8).boxed()),
        Just(prop_oneof![9 => 0x20..0x7f_u8, 1 => Just(0)].boxed()),
    ];
    let body = byte.prop_flat_map(|byte| prop::collection::vec(byte, Record::SIZE));
    let category = prop::sample::select(vec![2_u8, 16, 64]);
    (body, category, 0..33_u8, 0..17_u8).prop_map(|(body, category, kind, datatype)| {
        let mut record: [u8; Record::SIZE] = body.try_into().unwrap();
        record[..4].copy_from_slice(&[kind, 0, 0, 0]);
        record[120] = category;
        if category == 2 {
            record[0] %= 5;
            record[8..12].copy_from_slice(&[datatype, 0, 0, 0]);
            record[49] %= 5;
        }
        record
    })
}

proptest! {
    #[test]
    fn what_is_read_is_written_so_that_it_reads_the_same(record in records()) {
        if let Ok(event) = Record::parse(&record) {
            let again = event.encode();
            prop_assert_eq!(Record::parse(&again), Ok(event.clone()));
            prop_assert_eq!(again, LAYOUT.canonical(&record));
        }
    }

    #[test]
    fn i9_any_bytes_give_an_event_or_a_reason(
        body: [u8; 139],
        role in prop::sample::select(vec![Role::Source, Role::Sink, Role::Probe, Role::Directory]),
    ) {
        let packet = Packet::parse(&body, role);
        prop_assert_eq!(packet.channel, body[8]);
    }

    #[test]
    fn i9_any_record_gives_an_event_or_a_reason(record: [u8; Record::SIZE]) {
        let _ = Record::parse(&record);
    }
}
