use super::{BinaryTransfer, DisplayHint, Record, SeekContent, Target, Text};
use crate::wire::codec;

type Reader<'a> = codec::Reader<'a, { Record::SIZE }>;
type Writer = codec::Writer<{ Record::SIZE }>;

/// `None`: a kind that is unknown or must not come from a peer. NEWSEGMENT (19) would make a
/// window and DEVICE_NODE (22) redirect the application; SETIODEV (15), BUFFER_FAIL (21) and
/// DEVICESTATE (29) concern a local display.
pub(super) fn parse(r: &Reader<'_>) -> Option<Target> {
    Some(match r.u32::<0>() {
        EXIT => Target::Exit,
        FRAMESKIP => Target::FrameSkip(r.i32::<{ slot(0) }>()),
        STEPFRAME => Target::StepFrame {
            count: r.i32::<{ slot(0) }>(),
            source: r.u32::<{ slot(1) }>(),
            counter: r.u32::<{ slot(2) }>(),
        },
        COREOPT => Target::CoreOption {
            index: r.i32::<36>(),
            value: r.text::<40, 78>(),
        },
        STORE => Target::Store(r.u32::<{ slot(3) }>()),
        RESTORE => Target::Restore(r.u32::<{ slot(3) }>()),
        BCHUNK_IN => Target::BinaryIn(transfer(r)),
        BCHUNK_OUT => Target::BinaryOut(transfer(r)),
        RESET => Target::Reset(r.i32::<{ slot(0) }>()),
        PAUSE => Target::Pause,
        UNPAUSE => Target::Unpause,
        SEEKTIME => Target::SeekTime {
            relative: r.i32::<{ slot(0) }>() != 0,
            seconds: r.f32::<{ slot(1) }>(),
        },
        SEEKCONTENT => Target::SeekContent(if r.i32::<{ slot(0) }>() == 0 {
            SeekContent::Absolute {
                y: r.f32::<{ slot(1) }>(),
                x: r.f32::<{ slot(2) }>(),
                zoom: r.f32::<{ slot(3) }>(),
            }
        } else {
            SeekContent::Relative {
                y: r.i32::<{ slot(1) }>(),
                x: r.i32::<{ slot(2) }>(),
                zoom: r.f32::<{ slot(3) }>(),
            }
        }),
        DISPLAYHINT => Target::DisplayHint(DisplayHint {
            width: r.i32::<{ slot(0) }>(),
            height: r.i32::<{ slot(1) }>(),
            flags: r.i32::<{ slot(2) }>(),
            subpixel: r.i32::<{ slot(3) }>(),
            density: r.f32::<{ slot(4) }>(),
            cell: [r.i32::<{ slot(5) }>(), r.i32::<{ slot(6) }>()],
            token: r.u32::<{ slot(7) }>(),
        }),
        STREAMSET => Target::StreamSet(r.i32::<{ slot(0) }>()),
        ATTENUATE => Target::Attenuate(r.f32::<{ slot(0) }>()),
        AUDDELAY => Target::AudioDelay {
            audio: r.i32::<{ slot(0) }>(),
            video: r.i32::<{ slot(1) }>(),
        },
        REQFAIL => Target::RequestFailed(r.u32::<{ slot(0) }>()),
        GRAPHMODE => Target::GraphMode {
            slot: r.u32::<{ slot(0) }>(),
            rgb: [
                r.f32::<{ slot(1) }>(),
                r.f32::<{ slot(2) }>(),
                r.f32::<{ slot(3) }>(),
            ],
        },
        MESSAGE => Target::Message(Text {
            text: r.text::<40, 78>(),
            multipart: r.i32::<{ slot(0) }>() != 0,
        }),
        FONTHINT => Target::FontHint {
            present: r.i32::<{ slot(1) }>() != 0,
            size: r.f32::<{ slot(2) }>(),
            hinting: r.i32::<{ slot(3) }>(),
            append: r.i32::<{ slot(4) }>() != 0,
        },
        GEOHINT => Target::GeoHint {
            latitude: r.f32::<{ slot(0) }>(),
            longitude: r.f32::<{ slot(1) }>(),
            elevation: r.f32::<{ slot(2) }>(),
            codes: [
                r.text::<{ slot(3) }, 4>(),
                r.text::<{ slot(4) }, 4>(),
                r.text::<{ slot(5) }, 4>(),
            ],
            timezone: r.i32::<{ slot(6) }>(),
        },
        OUTPUTHINT => Target::OutputHint {
            max: [r.i32::<{ slot(0) }>(), r.i32::<{ slot(1) }>()],
            rate: r.i32::<{ slot(2) }>(),
            min: [r.i32::<{ slot(3) }>(), r.i32::<{ slot(4) }>()],
            id: r.i32::<{ slot(5) }>(),
            vrr: [r.f32::<{ slot(6) }>(), r.f32::<{ slot(7) }>()],
        },
        ACTIVATE => Target::Activate,
        ANCHORHINT => Target::AnchorHint {
            at: [
                r.i32::<{ slot(0) }>(),
                r.i32::<{ slot(1) }>(),
                r.i32::<{ slot(2) }>(),
            ],
            source: r.u32::<{ slot(3) }>(),
            parent: r.u32::<{ slot(4) }>(),
            external: r.i32::<{ slot(5) }>() != 0,
        },
        _ => return None,
    })
}

fn transfer(r: &Reader<'_>) -> BinaryTransfer {
    BinaryTransfer {
        // Two slots, the low half first.
        size: r.u64::<{ slot(1) }>(),
        namespace: r.u32::<{ slot(3) }>(),
        flags: r.u32::<{ slot(4) }>(),
        name: r.text::<40, 78>(),
    }
}

pub(super) fn encode(event: &Target, w: &mut Writer) {
    match event {
        Target::Exit => w.u32::<0>(EXIT),
        Target::FrameSkip(mode) => w.u32::<0>(FRAMESKIP).i32::<{ slot(0) }>(*mode),
        Target::StepFrame {
            count,
            source,
            counter,
        } => w
            .u32::<0>(STEPFRAME)
            .i32::<{ slot(0) }>(*count)
            .u32::<{ slot(1) }>(*source)
            .u32::<{ slot(2) }>(*counter),
        Target::CoreOption { index, value } => {
            w.u32::<0>(COREOPT).i32::<36>(*index).text::<40, 78>(value)
        }
        Target::Store(identifier) => w
            .u32::<0>(STORE)
            .i32::<{ slot(0) }>(NO_DESCRIPTOR)
            .u32::<{ slot(3) }>(*identifier),
        Target::Restore(identifier) => w
            .u32::<0>(RESTORE)
            .i32::<{ slot(0) }>(NO_DESCRIPTOR)
            .u32::<{ slot(3) }>(*identifier),
        Target::BinaryIn(transfer) => encode_transfer(transfer, w.u32::<0>(BCHUNK_IN)),
        Target::BinaryOut(transfer) => encode_transfer(transfer, w.u32::<0>(BCHUNK_OUT)),
        Target::Reset(level) => w.u32::<0>(RESET).i32::<{ slot(0) }>(*level),
        Target::Pause => w.u32::<0>(PAUSE),
        Target::Unpause => w.u32::<0>(UNPAUSE),
        Target::SeekTime { relative, seconds } => w
            .u32::<0>(SEEKTIME)
            .i32::<{ slot(0) }>((*relative).into())
            .f32::<{ slot(1) }>(*seconds),
        Target::SeekContent(SeekContent::Relative { y, x, zoom }) => w
            .u32::<0>(SEEKCONTENT)
            .i32::<{ slot(0) }>(1)
            .i32::<{ slot(1) }>(*y)
            .i32::<{ slot(2) }>(*x)
            .f32::<{ slot(3) }>(*zoom),
        Target::SeekContent(SeekContent::Absolute { y, x, zoom }) => w
            .u32::<0>(SEEKCONTENT)
            .f32::<{ slot(1) }>(*y)
            .f32::<{ slot(2) }>(*x)
            .f32::<{ slot(3) }>(*zoom),
        Target::DisplayHint(hint) => {
            let [cell_width, cell_height] = hint.cell;
            w.u32::<0>(DISPLAYHINT)
                .i32::<{ slot(0) }>(hint.width)
                .i32::<{ slot(1) }>(hint.height)
                .i32::<{ slot(2) }>(hint.flags)
                .i32::<{ slot(3) }>(hint.subpixel)
                .f32::<{ slot(4) }>(hint.density)
                .i32::<{ slot(5) }>(cell_width)
                .i32::<{ slot(6) }>(cell_height)
                .u32::<{ slot(7) }>(hint.token)
        }
        Target::StreamSet(id) => w.u32::<0>(STREAMSET).i32::<{ slot(0) }>(*id),
        Target::Attenuate(gain) => w.u32::<0>(ATTENUATE).f32::<{ slot(0) }>(*gain),
        Target::AudioDelay { audio, video } => w
            .u32::<0>(AUDDELAY)
            .i32::<{ slot(0) }>(*audio)
            .i32::<{ slot(1) }>(*video),
        Target::RequestFailed(id) => w.u32::<0>(REQFAIL).u32::<{ slot(0) }>(*id),
        Target::GraphMode { slot: group, rgb } => {
            let [red, green, blue] = *rgb;
            w.u32::<0>(GRAPHMODE)
                .u32::<{ slot(0) }>(*group)
                .f32::<{ slot(1) }>(red)
                .f32::<{ slot(2) }>(green)
                .f32::<{ slot(3) }>(blue)
        }
        Target::Message(text) => w
            .u32::<0>(MESSAGE)
            .i32::<{ slot(0) }>(text.multipart.into())
            .text::<40, 78>(&text.text),
        Target::FontHint {
            present,
            size,
            hinting,
            append,
        } => w
            .u32::<0>(FONTHINT)
            .i32::<{ slot(0) }>(NO_DESCRIPTOR)
            .i32::<{ slot(1) }>((*present).into())
            .f32::<{ slot(2) }>(*size)
            .i32::<{ slot(3) }>(*hinting)
            .i32::<{ slot(4) }>((*append).into()),
        Target::GeoHint {
            latitude,
            longitude,
            elevation,
            codes: [country, spoken, written],
            timezone,
        } => w
            .u32::<0>(GEOHINT)
            .f32::<{ slot(0) }>(*latitude)
            .f32::<{ slot(1) }>(*longitude)
            .f32::<{ slot(2) }>(*elevation)
            .text::<{ slot(3) }, 4>(country)
            .text::<{ slot(4) }, 4>(spoken)
            .text::<{ slot(5) }, 4>(written)
            .i32::<{ slot(6) }>(*timezone),
        Target::OutputHint {
            max: [max_width, max_height],
            rate,
            min: [min_width, min_height],
            id,
            vrr: [vrr_min, vrr_step],
        } => w
            .u32::<0>(OUTPUTHINT)
            .i32::<{ slot(0) }>(*max_width)
            .i32::<{ slot(1) }>(*max_height)
            .i32::<{ slot(2) }>(*rate)
            .i32::<{ slot(3) }>(*min_width)
            .i32::<{ slot(4) }>(*min_height)
            .i32::<{ slot(5) }>(*id)
            .f32::<{ slot(6) }>(*vrr_min)
            .f32::<{ slot(7) }>(*vrr_step),
        Target::Activate => w.u32::<0>(ACTIVATE),
        Target::AnchorHint {
            at: [x, y, z],
            source,
            parent,
            external,
        } => w
            .u32::<0>(ANCHORHINT)
            .i32::<{ slot(0) }>(*x)
            .i32::<{ slot(1) }>(*y)
            .i32::<{ slot(2) }>(*z)
            .u32::<{ slot(3) }>(*source)
            .u32::<{ slot(4) }>(*parent)
            .i32::<{ slot(5) }>((*external).into()),
    };
}

fn encode_transfer<'a>(transfer: &BinaryTransfer, w: &'a mut Writer) -> &'a mut Writer {
    w.i32::<{ slot(0) }>(NO_DESCRIPTOR)
        .u64::<{ slot(1) }>(transfer.size)
        .u32::<{ slot(3) }>(transfer.namespace)
        .u32::<{ slot(4) }>(transfer.flags)
        .text::<40, 78>(&transfer.name)
}

/// Where the parameter with this number is; there are eight, of four bytes each.
const fn slot(number: usize) -> usize {
    4 + 4 * number
}

/// What stands in a slot that would hold a descriptor on one machine.
const NO_DESCRIPTOR: i32 = -1;

const EXIT: u32 = 1;
const FRAMESKIP: u32 = 2;
const STEPFRAME: u32 = 3;
const COREOPT: u32 = 4;
const STORE: u32 = 5;
const RESTORE: u32 = 6;
const BCHUNK_IN: u32 = 7;
const BCHUNK_OUT: u32 = 8;
const RESET: u32 = 9;
const PAUSE: u32 = 10;
const UNPAUSE: u32 = 11;
const SEEKTIME: u32 = 12;
const SEEKCONTENT: u32 = 13;
const DISPLAYHINT: u32 = 14;
const STREAMSET: u32 = 16;
const ATTENUATE: u32 = 17;
const AUDDELAY: u32 = 18;
const REQFAIL: u32 = 20;
const GRAPHMODE: u32 = 23;
const MESSAGE: u32 = 24;
const FONTHINT: u32 = 25;
const GEOHINT: u32 = 26;
const OUTPUTHINT: u32 = 27;
const ACTIVATE: u32 = 28;
const ANCHORHINT: u32 = 30;
