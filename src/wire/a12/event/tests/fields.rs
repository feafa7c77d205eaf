//! Our types from the fields that the vectors name.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::wire::a12::event::*;

struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn get<T: DeserializeOwned>(&self, name: &str) -> T {
        let value = self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("no field {name}"));
        serde_json::from_value(value.clone()).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn flag(&self, name: &str) -> bool {
        self.get::<i64>(name) != 0
    }

    fn text(&self) -> Text {
        Text {
            text: self.get("data"),
            multipart: self.flag("multipart"),
        }
    }
}

/// The record with these fields; `None`: of a kind without a type.
pub(super) fn record(body: &str, fields: &Value) -> Option<Record> {
    let fields = Fields(fields);
    match body {
        "analog" | "digital" | "translated" | "touch" | "eyes" | "status" => {
            Some(Record::Io(io(body, &fields)))
        }
        "target" => target(&fields).map(Record::Target),
        _ => external(body, &fields).map(Record::External),
    }
}

fn io(body: &str, f: &Fields<'_>) -> Io {
    Io {
        kind: f.get("kind"),
        device_kind: f.get("devkind"),
        label: f.get("label"),
        flags: f.get("flags"),
        device: f.get("devid"),
        sub: f.get("subid"),
        destination: f.get("dst"),
        pts: f.get("pts"),
        data: match body {
            "analog" => IoData::Analog {
                relative: f.flag("gotrel"),
                samples: f.get::<Vec<i16>>("axisval")[..f.get("nvalues")].to_vec(),
                active: f.flag("active"),
            },
            "digital" => IoData::Digital {
                active: f.flag("active"),
            },
            "translated" => IoData::Translated {
                utf8: f.get("utf8"),
                active: f.flag("active"),
                scancode: f.get("scancode"),
                keysym: f.get("keysym"),
                modifiers: f.get("modifiers"),
            },
            "touch" => IoData::Touch {
                active: f.flag("active"),
                x: f.get("x"),
                y: f.get("y"),
                pressure: f.get("pressure"),
                size: f.get("size"),
                tilt: [f.get("tilt_x"), f.get("tilt_y")],
                tool: f.get("tool"),
            },
            "eyes" => IoData::Eyes {
                head: f.get("head_pos"),
                angle: f.get("head_ang"),
                gaze1: [f.get("gaze_x1"), f.get("gaze_y1")],
                gaze2: [f.get("gaze_x2"), f.get("gaze_y2")],
                blink: [f.flag("blink_left"), f.flag("blink_right")],
                present: f.flag("present"),
            },
            _ => IoData::Status {
                action: f.get("action"),
                device_kind: f.get("status_devkind"),
                reference: f.get("devref"),
                domain: f.get("domain"),
            },
        },
    }
}

fn target(f: &Fields<'_>) -> Option<Target> {
    let u: [u32; 8] = f.get("ioev");
    let i = u.map(u32::cast_signed);
    let r = u.map(f32::from_bits);
    let letters = u.map(|slot| {
        let text = slot.to_le_bytes();
        let text = text[..3].split(|&byte| byte == 0).next().unwrap();
        String::from_utf8(text.to_vec()).unwrap_or_default()
    });
    let message: String = f.get("message");
    let transfer = || BinaryTransfer {
        size: u64::from(u[2]) << 32 | u64::from(u[1]),
        namespace: u[3],
        flags: u[4],
        name: message.clone(),
    };
    Some(match f.get::<u32>("kind") {
        1 => Target::Exit,
        2 => Target::FrameSkip(i[0]),
        3 => Target::StepFrame {
            count: i[0],
            source: u[1],
            counter: u[2],
        },
        4 => Target::CoreOption {
            index: f.get("code"),
            value: message,
        },
        5 => Target::Store(u[3]),
        6 => Target::Restore(u[3]),
        7 => Target::BinaryIn(transfer()),
        8 => Target::BinaryOut(transfer()),
        9 => Target::Reset(i[0]),
        10 => Target::Pause,
        11 => Target::Unpause,
        12 => Target::SeekTime {
            relative: i[0] != 0,
            seconds: r[1],
        },
        13 if i[0] == 0 => Target::SeekContent(SeekContent::Absolute {
            y: r[1],
            x: r[2],
            zoom: r[3],
        }),
        13 => Target::SeekContent(SeekContent::Relative {
            y: i[1],
            x: i[2],
            zoom: r[3],
        }),
        14 => Target::DisplayHint(DisplayHint {
            width: i[0],
            height: i[1],
            flags: i[2],
            subpixel: i[3],
            density: r[4],
            cell: [i[5], i[6]],
            token: u[7],
        }),
        16 => Target::StreamSet(i[0]),
        17 => Target::Attenuate(r[0]),
        18 => Target::AudioDelay {
            audio: i[0],
            video: i[1],
        },
        20 => Target::RequestFailed(u[0]),
        23 => Target::GraphMode {
            slot: u[0],
            rgb: [r[1], r[2], r[3]],
        },
        24 => Target::Message(Text {
            text: message,
            multipart: i[0] != 0,
        }),
        25 => Target::FontHint {
            present: i[1] != 0,
            size: r[2],
            hinting: i[3],
            append: i[4] != 0,
        },
        26 => Target::GeoHint {
            latitude: r[0],
            longitude: r[1],
            elevation: r[2],
            codes: [letters[3].clone(), letters[4].clone(), letters[5].clone()],
            timezone: i[6],
        },
        27 => Target::OutputHint {
            max: [i[0], i[1]],
            rate: i[2],
            min: [i[3], i[4]],
            id: i[5],
            vrr: [r[6], r[7]],
        },
        28 => Target::Activate,
        30 => Target::AnchorHint {
            at: [i[0], i[1], i[2]],
            source: u[3],
            parent: u[4],
            external: i[5] != 0,
        },
        _ => return None,
    })
}

fn external(body: &str, f: &Fields<'_>) -> Option<External> {
    Some(match (f.get::<u32>("kind"), body) {
        (0, "message") => External::Message(f.text()),
        (1, "coreopt") => External::CoreOption {
            index: f.get("index"),
            kind: f.get("type"),
            text: f.get("data"),
        },
        (2, "message") => External::Ident(f.get("data")),
        (3, "") => External::Failure,
        (5, "framestatus") => External::FrameStatus {
            number: f.get("framenumber"),
            pts: f.get("pts"),
            acquired: f.get("acquired"),
            hint: f.get("fhint"),
        },
        (6, "streaminf") => External::StreamInfo {
            id: f.get("streamid"),
            kind: f.get("datakind"),
            language: f.get("langid"),
        },
        (7, "streamstat") => External::StreamStatus {
            time: f.get("timestr"),
            limit: f.get("timelim"),
            completion: f.get("completion"),
            streaming: f.flag("streaming"),
            frame: f.get("frameno"),
            identifier: f.get("identifier"),
        },
        (8, "stateinf") => External::StateSize {
            size: f.get("size"),
            kind: f.get("type"),
        },
        (9, "") => External::FlushAudio,
        (10, "segreq") => External::SegmentRequest(SegmentRequest {
            id: f.get("id"),
            width: f.get("width"),
            height: f.get("height"),
            x: f.get("xofs"),
            y: f.get("yofs"),
            direction: f.get("dir"),
            hints: f.get("hints"),
            kind: SegmentKind(f.get("segkind")),
        }),
        (12, "message") => External::CursorHint(f.get("data")),
        (13, "viewport") => External::Viewport(Viewport {
            x: f.get("x"),
            y: f.get("y"),
            width: f.get("w"),
            height: f.get("h"),
            parent: f.get("parent"),
            border: f.get("border"),
            edge: f.get("edge"),
            order: f.get("order"),
            embedded: f.get("embedded"),
            invisible: f.flag("invisible"),
            focus: f.flag("focus"),
            anchor_edge: f.flag("anchor_edge"),
            anchor_pos: f.flag("anchor_pos"),
            ext_id: f.get("ext_id"),
            frame: f.get("frame_id"),
        }),
        (14, "content") => External::Content(Content {
            x_pos: f.get("x_pos"),
            x_size: f.get("x_sz"),
            y_pos: f.get("y_pos"),
            y_size: f.get("y_sz"),
            width: f.get("width"),
            height: f.get("height"),
            cell: [f.get("cell_w"), f.get("cell_h")],
            min: [f.get("min_w"), f.get("min_h")],
            max: [f.get("max_w"), f.get("max_h")],
        }),
        (15, "labelhint") => External::LabelHint(LabelHint {
            label: f.get("label"),
            initial: f.get("initial"),
            description: f.get("descr"),
            symbol: f.get("vsym"),
            subv: f.get("subv"),
            datatype: f.get("idatatype"),
            modifiers: f.get("modifiers"),
        }),
        (16, "registr") => External::Register {
            title: f.get("title"),
            kind: SegmentKind(f.get("segkind")),
            guid: f.get("guid"),
        },
        (17, "message") => External::Alert(f.text()),
        (18, "clock") => External::ClockRequest {
            rate: f.get("rate"),
            dynamic: f.get("dynamic"),
            once: f.flag("once"),
            id: f.get("id"),
        },
        (19, "bchunk") => External::BinaryState(BinaryState {
            size: f.get("size_or_ns"),
            input: f.flag("input"),
            hint: f.get("hint"),
            stream: f.flag("stream"),
            extensions: f.get("extensions"),
            identifier: f.get("identifier"),
        }),
        (21, "inputmask") => External::InputMask {
            device: f.get("device"),
            types: f.get("types"),
        },
        _ => return None,
    })
}
