use super::{
    BinaryState, Content, External, LabelHint, Record, SegmentKind, SegmentRequest, Text, Viewport,
};
use crate::wire::codec;

type Reader<'a> = codec::Reader<'a, { Record::SIZE }>;
type Writer = codec::Writer<{ Record::SIZE }>;

/// `None`: a kind that is unknown or must not come from a peer. BUFFERSTREAM (4) makes a display
/// wait for a descriptor, PRIVDROP (20) clears its mark for remote windows, NETSTATE (22) is
/// between a display and its own network process.
pub(super) fn parse(r: &Reader<'_>) -> Option<External> {
    Some(match r.u32::<0>() {
        MESSAGE => match std::str::from_utf8(r.terminated::<16, 78>()) {
            Ok(_) => External::Message(message(r)),
            Err(_) => External::Fragment {
                bytes: r.terminated::<16, 78>().to_vec(),
                multipart: r.bool::<94>(),
            },
        },
        COREOPT => External::CoreOption {
            index: r.u8::<16>(),
            kind: r.u8::<17>(),
            text: r.text::<18, 77>(),
        },
        IDENT => External::Ident(message(r).text),
        FAILURE => External::Failure,
        FRAMESTATUS => External::FrameStatus {
            number: r.u32::<16>(),
            pts: r.u64::<24>(),
            acquired: r.u64::<32>(),
            hint: r.f32::<40>(),
        },
        STREAMINFO => External::StreamInfo {
            id: r.u8::<16>(),
            kind: r.u8::<17>(),
            language: r.text::<18, 4>(),
        },
        STREAMSTATUS => External::StreamStatus {
            time: r.text::<16, 9>(),
            limit: r.text::<25, 9>(),
            completion: r.f32::<36>(),
            streaming: r.bool::<40>(),
            frame: r.u32::<44>(),
            identifier: r.u32::<48>(),
        },
        STATESIZE => External::StateSize {
            size: r.u32::<16>(),
            kind: r.u32::<20>(),
        },
        FLUSHAUD => External::FlushAudio,
        SEGREQ => External::SegmentRequest(SegmentRequest {
            id: r.u32::<16>(),
            width: r.u16::<20>(),
            height: r.u16::<22>(),
            x: r.i16::<24>(),
            y: r.i16::<26>(),
            direction: r.u8::<28>(),
            hints: r.u8::<29>(),
            kind: SegmentKind(r.u32::<32>()),
        }),
        CURSORHINT => External::CursorHint(message(r).text),
        VIEWPORT => External::Viewport(viewport(r)),
        CONTENT => External::Content(Content {
            x_pos: r.f32::<16>(),
            x_size: r.f32::<20>(),
            y_pos: r.f32::<24>(),
            y_size: r.f32::<28>(),
            width: r.f32::<32>(),
            height: r.f32::<36>(),
            cell: r.bytes::<40, 2>(),
            min: [r.u32::<44>(), r.u32::<48>()],
            max: [r.u32::<52>(), r.u32::<56>()],
        }),
        LABELHINT => External::LabelHint(LabelHint {
            label: r.text::<16, 16>(),
            initial: r.u16::<32>(),
            description: r.text::<34, 53>(),
            symbol: r.text::<87, 5>(),
            subv: r.u16::<92>(),
            datatype: r.u8::<94>(),
            modifiers: r.u16::<96>(),
        }),
        REGISTER => External::Register {
            title: r.text::<16, 64>(),
            kind: SegmentKind(r.u32::<80>()),
            guid: [r.u64::<88>(), r.u64::<96>()],
        },
        ALERT => External::Alert(message(r)),
        CLOCKREQ => External::ClockRequest {
            rate: r.u32::<16>(),
            dynamic: r.u8::<20>(),
            once: r.bool::<21>(),
            id: r.u32::<24>(),
        },
        BCHUNKSTATE => External::BinaryState(BinaryState {
            size: r.u64::<16>(),
            input: r.bool::<24>(),
            hint: r.u8::<25>(),
            stream: r.bool::<26>(),
            extensions: r.text::<27, 68>(),
            identifier: r.u32::<96>(),
        }),
        INPUTMASK => External::InputMask {
            device: r.u32::<16>(),
            types: r.u32::<20>(),
        },
        _ => return None,
    })
}

fn message(r: &Reader<'_>) -> Text {
    Text {
        text: r.text::<16, 78>(),
        multipart: r.bool::<94>(),
    }
}

fn viewport(r: &Reader<'_>) -> Viewport {
    Viewport {
        x: r.i32::<16>(),
        y: r.i32::<20>(),
        width: r.u32::<24>(),
        height: r.u32::<28>(),
        parent: r.u32::<32>(),
        border: r.bytes::<36, 4>(),
        edge: r.u8::<40>(),
        order: r.i8::<41>(),
        embedded: r.u8::<42>(),
        invisible: r.bool::<43>(),
        focus: r.bool::<44>(),
        anchor_edge: r.bool::<45>(),
        anchor_pos: r.bool::<46>(),
        ext_id: r.u32::<48>(),
        frame: r.u64::<104>(),
    }
}

pub(super) fn encode(event: &External, w: &mut Writer) {
    match event {
        External::Message(text) => w
            .u32::<0>(MESSAGE)
            .text::<16, 78>(&text.text)
            .bool::<94>(text.multipart),
        External::Fragment { bytes, multipart } => w
            .u32::<0>(MESSAGE)
            .terminated::<16, 78>(bytes)
            .bool::<94>(*multipart),
        External::CoreOption { index, kind, text } => w
            .u32::<0>(COREOPT)
            .u8::<16>(*index)
            .u8::<17>(*kind)
            .text::<18, 77>(text),
        External::Ident(text) => w.u32::<0>(IDENT).text::<16, 78>(text),
        External::Failure => w.u32::<0>(FAILURE),
        External::FrameStatus {
            number,
            pts,
            acquired,
            hint,
        } => w
            .u32::<0>(FRAMESTATUS)
            .u32::<16>(*number)
            .u64::<24>(*pts)
            .u64::<32>(*acquired)
            .f32::<40>(*hint),
        External::StreamInfo { id, kind, language } => w
            .u32::<0>(STREAMINFO)
            .u8::<16>(*id)
            .u8::<17>(*kind)
            .text::<18, 4>(language),
        External::StreamStatus {
            time,
            limit,
            completion,
            streaming,
            frame,
            identifier,
        } => w
            .u32::<0>(STREAMSTATUS)
            .text::<16, 9>(time)
            .text::<25, 9>(limit)
            .f32::<36>(*completion)
            .bool::<40>(*streaming)
            .u32::<44>(*frame)
            .u32::<48>(*identifier),
        External::StateSize { size, kind } => {
            w.u32::<0>(STATESIZE).u32::<16>(*size).u32::<20>(*kind)
        }
        External::FlushAudio => w.u32::<0>(FLUSHAUD),
        External::SegmentRequest(request) => w
            .u32::<0>(SEGREQ)
            .u32::<16>(request.id)
            .u16::<20>(request.width)
            .u16::<22>(request.height)
            .i16::<24>(request.x)
            .i16::<26>(request.y)
            .u8::<28>(request.direction)
            .u8::<29>(request.hints)
            .u32::<32>(request.kind.0),
        External::CursorHint(text) => w.u32::<0>(CURSORHINT).text::<16, 78>(text),
        External::Viewport(viewport) => w
            .u32::<0>(VIEWPORT)
            .i32::<16>(viewport.x)
            .i32::<20>(viewport.y)
            .u32::<24>(viewport.width)
            .u32::<28>(viewport.height)
            .u32::<32>(viewport.parent)
            .bytes::<36, 4>(&viewport.border)
            .u8::<40>(viewport.edge)
            .i8::<41>(viewport.order)
            .u8::<42>(viewport.embedded)
            .bool::<43>(viewport.invisible)
            .bool::<44>(viewport.focus)
            .bool::<45>(viewport.anchor_edge)
            .bool::<46>(viewport.anchor_pos)
            .u32::<48>(viewport.ext_id)
            .u64::<104>(viewport.frame),
        External::Content(content) => {
            let ([min_width, min_height], [max_width, max_height]) = (content.min, content.max);
            w.u32::<0>(CONTENT)
                .f32::<16>(content.x_pos)
                .f32::<20>(content.x_size)
                .f32::<24>(content.y_pos)
                .f32::<28>(content.y_size)
                .f32::<32>(content.width)
                .f32::<36>(content.height)
                .bytes::<40, 2>(&content.cell)
                .u32::<44>(min_width)
                .u32::<48>(min_height)
                .u32::<52>(max_width)
                .u32::<56>(max_height)
        }
        External::LabelHint(hint) => w
            .u32::<0>(LABELHINT)
            .text::<16, 16>(&hint.label)
            .u16::<32>(hint.initial)
            .text::<34, 53>(&hint.description)
            .text::<87, 5>(&hint.symbol)
            .u16::<92>(hint.subv)
            .u8::<94>(hint.datatype)
            .u16::<96>(hint.modifiers),
        External::Register { title, kind, guid } => {
            let [low, high] = *guid;
            w.u32::<0>(REGISTER)
                .text::<16, 64>(title)
                .u32::<80>(kind.0)
                .u64::<88>(low)
                .u64::<96>(high)
        }
        External::Alert(text) => w
            .u32::<0>(ALERT)
            .text::<16, 78>(&text.text)
            .bool::<94>(text.multipart),
        External::ClockRequest {
            rate,
            dynamic,
            once,
            id,
        } => w
            .u32::<0>(CLOCKREQ)
            .u32::<16>(*rate)
            .u8::<20>(*dynamic)
            .bool::<21>(*once)
            .u32::<24>(*id),
        External::BinaryState(state) => w
            .u32::<0>(BCHUNKSTATE)
            .u64::<16>(state.size)
            .bool::<24>(state.input)
            .u8::<25>(state.hint)
            .bool::<26>(state.stream)
            .text::<27, 68>(&state.extensions)
            .u32::<96>(state.identifier),
        External::InputMask { device, types } => {
            w.u32::<0>(INPUTMASK).u32::<16>(*device).u32::<20>(*types)
        }
    };
}

const MESSAGE: u32 = 0;
const COREOPT: u32 = 1;
const IDENT: u32 = 2;
const FAILURE: u32 = 3;
const FRAMESTATUS: u32 = 5;
const STREAMINFO: u32 = 6;
const STREAMSTATUS: u32 = 7;
const STATESIZE: u32 = 8;
const FLUSHAUD: u32 = 9;
const SEGREQ: u32 = 10;
const CURSORHINT: u32 = 12;
const VIEWPORT: u32 = 13;
const CONTENT: u32 = 14;
const LABELHINT: u32 = 15;
const REGISTER: u32 = 16;
const ALERT: u32 = 17;
const CLOCKREQ: u32 = 18;
const BCHUNKSTATE: u32 = 19;
const INPUTMASK: u32 = 21;
