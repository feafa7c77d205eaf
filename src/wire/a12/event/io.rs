use super::{Io, IoData, Record};
use crate::wire::codec;

type Reader<'a> = codec::Reader<'a, { Record::SIZE }>;
type Writer = codec::Writer<{ Record::SIZE }>;

/// `None`: an unknown data type, or a count of axis values outside 1 to 4.
pub(super) fn parse(r: &Reader<'_>) -> Option<Io> {
    let kind = r.u32::<0>();
    Some(Io {
        kind,
        device_kind: r.u32::<4>(),
        label: r.text::<12, 16>(),
        flags: r.u8::<28>(),
        device: r.u16::<30>(),
        sub: r.u16::<32>(),
        destination: r.u32::<36>(),
        pts: r.u64::<40>(),
        data: match (kind, r.u32::<8>()) {
            (STATUS, _) => IoData::Status {
                action: r.u8::<48>(),
                device_kind: r.u8::<49>(),
                reference: r.u16::<50>(),
                domain: r.u8::<52>(),
            },
            (_, ANALOG) => analog(r)?,
            (_, DIGITAL) => IoData::Digital {
                active: r.bool::<48>(),
            },
            (_, TRANSLATED) => IoData::Translated {
                utf8: r.text::<48, 5>(),
                active: r.bool::<53>(),
                scancode: r.u8::<54>(),
                keysym: r.u32::<56>(),
                modifiers: r.u16::<60>(),
            },
            (_, TOUCH) => IoData::Touch {
                active: r.bool::<48>(),
                x: r.i16::<50>(),
                y: r.i16::<52>(),
                pressure: r.f32::<56>(),
                size: r.f32::<60>(),
                tilt: [r.u16::<64>(), r.u16::<66>()],
                tool: r.u8::<68>(),
            },
            (_, EYES) => IoData::Eyes {
                head: [r.f32::<48>(), r.f32::<52>(), r.f32::<56>()],
                angle: [r.f32::<60>(), r.f32::<64>(), r.f32::<68>()],
                gaze1: [r.f32::<72>(), r.f32::<76>()],
                gaze2: [r.f32::<80>(), r.f32::<84>()],
                blink: [r.bool::<88>(), r.bool::<89>()],
                present: r.bool::<90>(),
            },
            _ => return None,
        },
    })
}

fn analog(r: &Reader<'_>) -> Option<IoData> {
    let values = [r.i16::<50>(), r.i16::<52>(), r.i16::<54>(), r.i16::<56>()];
    let samples = match usize::from(r.u8::<49>()) {
        0 => return None,
        count => values.get(..count)?.to_vec(),
    };
    Some(IoData::Analog {
        relative: r.bool::<48>(),
        samples,
        active: r.bool::<58>(),
    })
}

pub(super) fn encode(input: &Io, w: &mut Writer) {
    w.u32::<0>(input.kind)
        .u32::<4>(input.device_kind)
        .text::<12, 16>(&input.label)
        .u8::<28>(input.flags)
        .u16::<30>(input.device)
        .u16::<32>(input.sub)
        .u32::<36>(input.destination)
        .u64::<40>(input.pts);
    match &input.data {
        IoData::Analog {
            relative,
            samples,
            active,
        } => {
            let mut values = [0; 4];
            let mut count = 0;
            for (value, sample) in values.iter_mut().zip(samples) {
                *value = *sample;
                count += 1;
            }
            let [first, second, third, fourth] = values;
            w.u32::<8>(ANALOG)
                .bool::<48>(*relative)
                .u8::<49>(count)
                .i16::<50>(first)
                .i16::<52>(second)
                .i16::<54>(third)
                .i16::<56>(fourth)
                .bool::<58>(*active)
        }
        IoData::Digital { active } => w.u32::<8>(DIGITAL).bool::<48>(*active),
        IoData::Translated {
            utf8,
            active,
            scancode,
            keysym,
            modifiers,
        } => w
            .u32::<8>(TRANSLATED)
            .text::<48, 5>(utf8)
            .bool::<53>(*active)
            .u8::<54>(*scancode)
            .u32::<56>(*keysym)
            .u16::<60>(*modifiers),
        IoData::Touch {
            active,
            x,
            y,
            pressure,
            size,
            tilt: [tilt_x, tilt_y],
            tool,
        } => w
            .u32::<8>(TOUCH)
            .bool::<48>(*active)
            .i16::<50>(*x)
            .i16::<52>(*y)
            .f32::<56>(*pressure)
            .f32::<60>(*size)
            .u16::<64>(*tilt_x)
            .u16::<66>(*tilt_y)
            .u8::<68>(*tool),
        IoData::Eyes {
            head: [head_x, head_y, head_z],
            angle: [angle_x, angle_y, angle_z],
            gaze1: [gaze1_x, gaze1_y],
            gaze2: [gaze2_x, gaze2_y],
            blink: [left, right],
            present,
        } => w
            .u32::<8>(EYES)
            .f32::<48>(*head_x)
            .f32::<52>(*head_y)
            .f32::<56>(*head_z)
            .f32::<60>(*angle_x)
            .f32::<64>(*angle_y)
            .f32::<68>(*angle_z)
            .f32::<72>(*gaze1_x)
            .f32::<76>(*gaze1_y)
            .f32::<80>(*gaze2_x)
            .f32::<84>(*gaze2_y)
            .bool::<88>(*left)
            .bool::<89>(*right)
            .bool::<90>(*present),
        // This body is known by the kind, not by a data type.
        IoData::Status {
            action,
            device_kind,
            reference,
            domain,
        } => w
            .u32::<0>(STATUS)
            .u8::<48>(*action)
            .u8::<49>(*device_kind)
            .u16::<50>(*reference)
            .u8::<52>(*domain),
    };
}

/// The kind with a body of its own.
const STATUS: u32 = 3;

const ANALOG: u32 = 1;
const DIGITAL: u32 = 2;
const TRANSLATED: u32 = 4;
const TOUCH: u32 = 8;
const EYES: u32 = 16;
