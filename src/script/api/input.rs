//! Input for clients.

use mlua::{MultiValue, Table};

use super::segment::send_text;
use super::{Arg, Call, Entry, Form, Ret, Ty, arg, entry, form, ret};
use crate::script::errors::Fault;
use crate::script::text::cut;
use crate::script::vids::Say;
use crate::wire::a12::event::{Io, IoData};

const VID: Arg = arg("vid", Ty::Vid);
const EVENT: Arg = arg("event", Ty::Table);
const TEXT: Arg = arg("text", Ty::Text);
const SENT: &[Ret] = &[ret(
    "number",
    "1: sent, or not wanted by the client; 0: not sent",
)];
const LEFT: &[Ret] = &[ret("number", "as message_target")];

const FORMS: &[Form] = &[
    form(&[VID, EVENT], SENT),
    form(&[EVENT, VID], SENT),
    form(&[VID, TEXT], LEFT),
    form(&[TEXT, VID], LEFT),
];

const DOC: &str = "Sends input to a client: a table as Arcan's input events are, with `kind` (or a flag `analog`, `digital`, `touch`, `eyes`), `devid`, `subid` and the fields of the kind. With text it is message_target; this is how a listener gets its `num:secret`.";
const BAD: &str = "Vids that are no live segment, events of no known kind and full queues: 0, which is true in Lua.";

pub(super) const ENTRIES: &[Entry] = &[
    entry("target_input", FORMS, target_input, DOC, BAD),
    entry("input_target", FORMS, target_input, DOC, BAD),
];

fn target_input(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let (vid, other) = match call.form {
        0 | 2 => (call.vid(0), 1),
        _ => (call.vid(1), 0),
    };
    let Some(table) = call.table(other) else {
        let text = call.text(other)?.unwrap_or_default();
        return call.answer(send_text(call, vid, &text));
    };
    let Some(masked) = call
        .core
        .world
        .borrow()
        .segment(vid)
        .map(|segment| segment.masked)
    else {
        return call.answer(0);
    };
    let Some((input, datatype)) = parse(table)? else {
        call.core.warn(
            "target_input: the event is of no known kind, or analog without samples; not sent",
        );
        return call.answer(0);
    };
    if masked.0 & input.device_kind != 0 || masked.1 & datatype != 0 {
        return call.answer(1);
    }
    let sent = call.core.world.borrow_mut().say(vid, Say::Input(input));
    call.answer(i32::from(sent.is_ok()))
}

const MOUSE: u32 = 2;
const GAME: u32 = 4;

/// The event of an input table, and its data type as the bit of an input mask.
fn parse(table: &Table) -> mlua::Result<Option<(Io, u32)>> {
    let fields = Fields(table);
    let named: Option<String> = table.raw_get("kind")?;
    let mut kind = named.unwrap_or_default();
    for flag in ["eyes", "digital", "touch", "analog"] {
        if fields.flag(flag)? {
            flag.clone_into(&mut kind);
        }
    }
    let pointer = if fields.flag("mouse")? { MOUSE } else { GAME };
    let mut flags = u8::from(fields.flag("gesture")?);
    let (kind, device_kind, datatype, data) = match kind.as_str() {
        "analog" => {
            let samples: Vec<i16> = match table.raw_get::<Option<Table>>("samples")? {
                None => Vec::new(),
                Some(samples) => samples
                    .sequence_values::<f64>()
                    .take(4)
                    .map(|sample| Ok(sample? as i16))
                    .collect::<mlua::Result<_>>()?,
            };
            if samples.is_empty() {
                return Ok(None);
            }
            let leave = fields.flag("leave")?;
            flags |= u8::from(leave) << 2;
            let data = IoData::Analog {
                relative: fields.flag("relative")?,
                samples,
                active: !leave,
            };
            (1, pointer, 1, data)
        }
        "digital" if fields.flag("translated")? => {
            let utf8: Option<String> = table.raw_get("utf8")?;
            let data = IoData::Translated {
                utf8: cut(&utf8.unwrap_or_default(), 4).to_owned(),
                active: fields.flag("active")?,
                scancode: fields.number("number")? as u8,
                keysym: fields.number("keysym")? as u32,
                modifiers: fields.number("modifiers")? as u16,
            };
            (0, 1, 4, data)
        }
        "digital" => {
            let active = fields.flag("active")?;
            (0, pointer, 2, IoData::Digital { active })
        }
        "touch" => {
            let data = IoData::Touch {
                active: fields.flag("active")?,
                x: fields.number("x")? as i16,
                y: fields.number("y")? as i16,
                pressure: fields.number("pressure")? as f32,
                size: fields.number("size")? as f32,
                tilt: [0, 0],
                tool: 0,
            };
            (2, 8, 8, data)
        }
        "eyes" => {
            let data = IoData::Eyes {
                head: fields.floats(["head_x", "head_y", "head_z"])?,
                angle: fields.floats(["head_rx", "head_ry", "head_rz"])?,
                gaze1: fields.floats(["x1", "y1"])?,
                gaze2: fields.floats(["x2", "y2"])?,
                blink: [fields.flag("blink_left")?, fields.flag("blink_right")?],
                present: fields.flag("present")?,
            };
            (4, 32, 16, data)
        }
        _ => return Ok(None),
    };
    let label: Option<String> = table.raw_get("label")?;
    let input = Io {
        kind,
        device_kind,
        label: cut(&label.unwrap_or_default(), 15).to_owned(),
        flags,
        device: fields.number("devid")? as u16,
        sub: fields.number("subid")? as u16,
        destination: 0,
        pts: fields.number("pts")? as u64,
        data,
    };
    Ok(Some((input, datatype)))
}

struct Fields<'a>(&'a Table);

impl Fields<'_> {
    fn number(&self, key: &str) -> mlua::Result<f64> {
        Ok(self.0.raw_get::<Option<f64>>(key)?.unwrap_or_default())
    }

    /// A boolean, or a number that is not 0.
    fn flag(&self, key: &str) -> mlua::Result<bool> {
        Ok(match self.0.raw_get::<mlua::Value>(key)? {
            mlua::Value::Boolean(flag) => flag,
            mlua::Value::Integer(number) => number != 0,
            mlua::Value::Number(number) => number != 0.0,
            _ => false,
        })
    }

    fn floats<const N: usize>(&self, keys: [&str; N]) -> mlua::Result<[f32; N]> {
        let mut floats = [0.0; N];
        for (float, key) in floats.iter_mut().zip(keys) {
            *float = self.number(key)? as f32;
        }
        Ok(floats)
    }
}
