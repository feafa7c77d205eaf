//! What of a record our types carry, worked out from the recorded layout of the reference rather
//! than from our code. The rest of a record is sent as zero:
//!
//! * EXTERNAL: `source`, and `frame_id` in all kinds but VIEWPORT;
//! * TARGET: slots that the kind does not use, `code` and `message` likewise, the time in
//!   DISPLAYHINT, the tokens in ACTIVATE; a descriptor slot is -1;
//! * bytes after a text's NUL, texts that are no UTF-8, numbers that are none;
//! * flags other than 0 are 1.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::wire::a12::event::Record;
use crate::wire::a12::vectors;

type Bytes = [u8; Record::SIZE];

#[derive(Debug, Deserialize)]
pub(super) struct Layout {
    groups: BTreeMap<String, BTreeMap<String, Place>>,
    kinds: BTreeMap<String, BTreeMap<String, u32>>,
    external_body_by_kind: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct Place {
    offset: usize,
    size: usize,
    #[serde(rename = "type")]
    kind: String,
}

/// What each slot of a TARGET kind holds: `v` value, `b` flag, `f` f32, `t` text, `d` descriptor;
/// and whether `code` and `message` mean something.
const SLOTS: [(&str, &str, bool, bool); 25] = [
    ("exit", "", false, false),
    ("frameskip", "v", false, false),
    ("stepframe", "vvv", false, false),
    ("coreopt", "", true, true),
    ("store", "d--v", false, false),
    ("restore", "d--v", false, false),
    ("bchunk_in", "dvvvv", false, true),
    ("bchunk_out", "dvvvv", false, true),
    ("reset", "v", false, false),
    ("pause", "", false, false),
    ("unpause", "", false, false),
    ("seektime", "bf", false, false),
    ("seekcontent", "bvvf", false, false),
    ("displayhint", "vvvvfvvv", false, false),
    ("streamset", "v", false, false),
    ("attenuate", "f", false, false),
    ("auddelay", "vv", false, false),
    ("reqfail", "v", false, false),
    ("graphmode", "vfff", false, false),
    ("message", "b", false, true),
    ("fonthint", "dbfvb", false, false),
    ("geohint", "ffftttv", false, false),
    ("outputhint", "vvvvvvff", false, false),
    ("activate", "", false, false),
    ("anchorhint", "vvvvvb", false, false),
];

/// Fields of one byte that are flags.
const FLAGS: [&str; 14] = [
    "multipart",
    "streaming",
    "invisible",
    "focus",
    "anchor_edge",
    "anchor_pos",
    "once",
    "input",
    "stream",
    "active",
    "gotrel",
    "blink_left",
    "blink_right",
    "present",
];

impl Layout {
    pub(super) fn load() -> Self {
        vectors::data("event_layout")
    }

    pub(super) fn kinds(&self, category: &str) -> Vec<(String, u32)> {
        let kinds = &self.kinds[category];
        kinds
            .iter()
            .map(|(name, number)| (name.clone(), *number))
            .collect()
    }

    pub(super) fn category(&self, name: &str) -> u8 {
        self.kinds["category"][name].try_into().unwrap()
    }

    /// Category and kind.
    pub(super) fn name(&self, record: &Bytes) -> (String, String) {
        let find = |table: &str, number: u32| {
            let found = self.kinds[table]
                .iter()
                .find(|(_, value)| **value == number);
            found.map(|(name, _)| name.clone()).unwrap_or_default()
        };
        let category = find("category", record[120].into());
        let kind = find(&category, number(record, 0));
        (category, kind)
    }

    /// The record with all that is not carried taken out.
    pub(super) fn canonical(&self, record: &Bytes) -> Bytes {
        let mut out = [0; Record::SIZE];
        out[120] = record[120];
        keep(record, &mut out, 0, 4, "u32");
        let (category, kind) = self.name(record);
        match category.as_str() {
            "external" => self.external(&kind, record, &mut out),
            "target" => target(&kind, record, &mut out),
            _ => self.io(&kind, record, &mut out),
        }
        out
    }

    fn external(&self, kind: &str, record: &Bytes, out: &mut Bytes) {
        if let Some(body) = self.external_body_by_kind.get(kind) {
            let flat = matches!(kind, "ident" | "cursorhint");
            for (name, place) in &self.groups[&format!("external.{body}")] {
                if !(flat && name == "multipart") {
                    place.keep(name, record, out);
                }
            }
        }
        if kind == "message" {
            // Characters may be cut: what has come is kept.
            keep(record, out, 16, 78, "bytes");
        }
        if kind == "viewport" {
            self.groups["external"]["frame_id"].keep("frame_id", record, out);
        }
    }

    fn io(&self, kind: &str, record: &Bytes, out: &mut Bytes) {
        for (name, place) in &self.groups["io"] {
            place.keep(name, record, out);
        }
        // Then the body, which overlaps the union.
        let datatype = number(record, 8);
        let body = self.kinds["io_datatype"]
            .iter()
            .find(|(_, value)| **value == datatype);
        let body = match (kind, body) {
            ("status", _) => {
                out[8..12].fill(0);
                "status"
            }
            (_, Some((name, _))) => name,
            (_, None) => return,
        };
        for (name, place) in &self.groups[&format!("io.{body}")] {
            if name == "axisval" {
                let used = 2 * usize::from(record[49]);
                out[50..50 + used].copy_from_slice(&record[50..50 + used]);
            } else {
                place.keep(name, record, out);
            }
        }
    }

    /// In what the record differs from its canonical form.
    pub(super) fn deviations(&self, record: &Bytes) -> BTreeSet<&'static str> {
        let canonical = self.canonical(record);
        let (category, kind) = self.name(record);
        let different = (0..Record::SIZE).filter(|&at| canonical[at] != record[at]);
        different
            .map(|at| match (category.as_str(), kind.as_str(), at) {
                ("target", "fonthint", 4..8) => "descriptor slot",
                ("target", "seekcontent", 8..20) => "not a number",
                ("target", "displayhint", 40..48) => "enqueue time",
                ("target", "activate" | "stepframe", 4..36) => "unused",
                ("external", _, 104..112) => "frame number",
                ("external", "labelhint", 16..32 | 34..92) => "stale text",
                _ => "something else",
            })
            .collect()
    }
}

impl Place {
    fn keep(&self, name: &str, record: &Bytes, out: &mut Bytes) {
        let kind = match self.kind.as_str() {
            "union" => return,
            _ if FLAGS.contains(&name) => "flag",
            "array <3f" => {
                for number in 0..3 {
                    keep(record, out, self.offset + 4 * number, 4, "f32");
                }
                return;
            }
            kind => kind,
        };
        keep(record, out, self.offset, self.size, kind);
    }
}

fn target(kind: &str, record: &Bytes, out: &mut Bytes) {
    let Some((_, slots, code, message)) = SLOTS.iter().find(|(name, ..)| *name == kind) else {
        return;
    };
    let absolute = kind == "seekcontent" && number(record, 4) == 0;
    let slots = if absolute { "bfff" } else { slots };
    for (slot, holds) in slots.chars().enumerate() {
        let at = 4 + 4 * slot;
        match holds {
            'v' => keep(record, out, at, 4, "u32"),
            'f' => keep(record, out, at, 4, "f32"),
            't' => keep(record, out, at, 4, "text"),
            'b' => out[at] = (number(record, at) != 0).into(),
            'd' => out[at..at + 4].fill(0xff),
            _ => {}
        }
    }
    if *code {
        keep(record, out, 36, 4, "u32");
    }
    if *message {
        keep(record, out, 40, 78, "text");
    }
}

fn keep(record: &Bytes, out: &mut Bytes, at: usize, size: usize, kind: &str) {
    let (from, to) = (&record[at..at + size], &mut out[at..at + size]);
    to.fill(0);
    match kind {
        "text" => {
            let end = from.iter().position(|&byte| byte == 0).unwrap_or(size);
            let text = &from[..end.min(size - 1)];
            if std::str::from_utf8(text).is_ok() {
                to[..text.len()].copy_from_slice(text);
            }
        }
        "bytes" => {
            let end = from.iter().position(|&byte| byte == 0).unwrap_or(size);
            let text = &from[..end.min(size - 1)];
            to[..text.len()].copy_from_slice(text);
        }
        "flag" => to[0] = (from[0] != 0).into(),
        "f32" if !f32::from_le_bytes(from.try_into().unwrap()).is_finite() => {}
        _ => to.copy_from_slice(from),
    }
}

fn number(record: &Bytes, at: usize) -> u32 {
    u32::from_le_bytes(record[at..at + 4].try_into().unwrap())
}
