//! Segments: accepting, messages, hints, life and death.

use mlua::{MultiValue, Value};

use super::{Arg, Call, Entry, NOTHING, Ret, Ty, arg, entry, form, opt, ret};
use crate::ipc::Carries;
use crate::ipc::script::{Report, Severity};
use crate::script::errors::{self, Fault};
use crate::script::text::{MESSAGE, cut, parts};
use crate::script::vids::{Full, Object, Say, Vid};
use crate::script::world::{MAX_WHOLE, NoSuch, NotNow};
use crate::wire::a12::event::{DisplayHint, SeekContent, Target, Text};

const VID: Arg = arg("vid", Ty::Vid);
const MAX_SIZE: f64 = 8192.0;

const ACCEPTED: &[Ret] = &[
    ret("vid", "the new segment, or BADID"),
    ret("number", "its audio id, always 0"),
    ret("number", "its cookie"),
];
const LEFT: &[Ret] = &[ret(
    "number",
    "0; -1: not sent; else how many bytes did not fit the client's queue",
)];
const CELL: &[Ret] = &[
    ret("number", "width of the client's text cell, pixels, or 0"),
    ret("number", "its height, or 0"),
];
const TRUE: &[Ret] = &[ret("boolean", "whether it was sent")];

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "accept_target",
        &[
            form(&[opt("callback", Ty::Callback, "")], ACCEPTED),
            form(
                &[
                    opt("width", Ty::Number, ""),
                    opt("height", Ty::Number, ""),
                    opt("callback", Ty::Callback, ""),
                ],
                ACCEPTED,
            ),
        ],
        accept_target,
        "Accepts the request that the running callback was called with. The client is taken when that callback returns; if it fails, the request is refused all the same. The size is for display servers and has no effect here.",
        "Outside a `segment_request` callback, or a second time in one, it is fatal. After delete_image of the asker it returns BADID.",
    ),
    entry(
        "message_target",
        &[
            form(&[VID, arg("text", Ty::Text)], LEFT),
            form(&[arg("text", Ty::Text), VID], LEFT),
        ],
        message_target,
        "Sends text to a client, in as many messages as it needs, which status.text has whole at the other end; up to 65536 bytes go as a whole or not at all, of a longer text goes what fits the client's queue. To a client with a stream, as moonport.write. To a listener, `num:secret` sets the secret that every client needs, and lets `num` unknown keys in that know it; a mistake in it comes back as `failure`.",
        "Text that is not UTF-8, and vids that are no live segment: -1.",
    ),
    entry(
        "target_displayhint",
        &[form(
            &[
                VID,
                arg("width", Ty::Number),
                arg("height", Ty::Number),
                opt("flags", Ty::Number, "TD_HINT_IGNORE"),
                opt("ref", Ty::Any, ""),
            ],
            CELL,
        )],
        target_displayhint,
        "Tells a client how large it is shown and how. 0, 0: only the flags have changed. Many clients draw nothing before the first one: send it in `preroll`. `ref` is WORLDID, another segment's vid, or a table with `ppcm`, `subpixel_layout`, `width`, `height`, `refresh`, `min_width`, `min_height`.",
        "A vid that is no live segment, or a negative size, is fatal. Sizes above 8192 are cut.",
    ),
    entry(
        "target_updatehandler",
        &[form(&[VID, opt("callback", Ty::Callback, "nil")], NOTHING)],
        target_updatehandler,
        "Replaces a vid's callback; what is queued goes to the new one. Without a callback events are dropped and requests refused.",
        "A vid that is no live listener or segment is fatal.",
    ),
    entry(
        "target_parent",
        &[form(&[VID], &[ret("vid", "the parent, or BADID")])],
        target_parent,
        "The segment that a subsegment belongs to; it may be dead. Clients have no parent.",
        "Any number is taken.",
    ),
    entry(
        "reset_target",
        &[form(&[VID, opt("hard", Ty::Flag, "false")], NOTHING)],
        reset_target,
        "Asks a client to start over, gently or hard.",
        "A vid that is no live segment gets a warning.",
    ),
    entry(
        "suspend_target",
        &[form(&[VID, opt("soft", Ty::Flag, "false")], NOTHING)],
        suspend_target,
        "Before a client is activated (in `preroll`): holds it back until resume_target. Later: asks it to pause and, unless `soft`, keeps its events until resume_target.",
        "A vid that is no live segment gets a warning.",
    ),
    entry(
        "resume_target",
        &[form(&[VID, opt("soft", Ty::Flag, "false")], NOTHING)],
        resume_target,
        "Undoes suspend_target.",
        "A vid that is no live segment gets a warning.",
    ),
    entry(
        "stepframe_target",
        &[
            form(
                &[
                    VID,
                    opt("count", Ty::Number, "1"),
                    opt("id", Ty::Number, "0"),
                ],
                TRUE,
            ),
            form(
                &[VID, arg("count", Ty::Number), arg("sync", Ty::Flag)],
                TRUE,
            ),
        ],
        stepframe_target,
        "Sends a clock tick.",
        "A vid that does not exist is fatal.",
    ),
    entry(
        "target_seek",
        &[form(
            &[
                VID,
                arg("value", Ty::Number),
                opt("relative", Ty::Flag, "true"),
                opt("time", Ty::Flag, "true"),
                opt("x", Ty::Number, "0"),
                opt("zoom", Ty::Number, "0"),
            ],
            NOTHING,
        )],
        target_seek,
        "Asks a client to seek: in time, `value` seconds; in content, `value` down and `x` right, steps if relative, else 0..1.",
        "Vids that are no live segment are ignored.",
    ),
    entry(
        "target_coreopt",
        &[form(
            &[VID, arg("slot", Ty::Number), arg("value", Ty::Text)],
            NOTHING,
        )],
        target_coreopt,
        "Sets an option that the client has announced with `coreopt`; the value has at most 77 bytes.",
        "Vids that are no live segment are ignored.",
    ),
    entry(
        "target_graphmode",
        &[form(
            &[
                VID,
                arg("group", Ty::Number),
                opt("r", Ty::Number, "0"),
                opt("g", Ty::Number, "0"),
                opt("b", Ty::Number, "0"),
            ],
            NOTHING,
        )],
        target_graphmode,
        "Sets a colour of the client's palette, 0..255 each; group 0 applies what was set.",
        "Vids that are no live segment are ignored.",
    ),
    entry(
        "target_fonthint",
        &[form(
            &[
                VID,
                arg("size_mm", Ty::Number),
                arg("hinting", Ty::Number),
                opt("append", Ty::Flag, "false"),
            ],
            &[
                ret("boolean", "whether it was sent"),
                ret("number", "width of the client's text cell, or 0"),
                ret("number", "its height, or 0"),
            ],
        )],
        target_fonthint,
        "Tells a client the size of text in millimetres (not positive: unchanged) and the strength of hinting (-1: unchanged). Font files cannot be sent.",
        "A vid that is no live segment is fatal.",
    ),
    entry(
        "delete_image",
        &[form(&[VID], NOTHING)],
        delete_image,
        "Ends what the vid stands for and forgets it; its callback is not called any more. A segment is closed, its subsegments follow. A listener stops listening, its clients stay.",
        "A vid that does not exist is fatal: `if valid_vid(v) then delete_image(v) end`.",
    ),
    entry(
        "valid_vid",
        &[form(
            &[opt("vid", Ty::Vid, "nil"), opt("type", Ty::Number, "any")],
            &[ret("boolean", "whether it exists and is of the type")],
        )],
        valid_vid,
        "Whether a vid exists; with TYPE_FRAMESERVER, whether it is alive.",
        "Anything but a number is a Lua error.",
    ),
];

/// V3: the vid must be a live segment.
fn live(call: &Call<'_>) -> Result<Vid, Fault> {
    let vid = call.vid(0);
    let world = call.core.world.borrow();
    match world.object(vid) {
        Some(Object::Segment(_)) => Ok(vid),
        Some(Object::Listener(_)) => Err(Fault::fatal(format!(
            "vid {} is a listener, not a client",
            vid.number()
        ))
        .hint("a client is the vid that accept_target returns, and the first argument of its callback")),
        Some(Object::Dead { .. }) => Err(Fault::fatal(format!("vid {} has ended", vid.number()))
            .hint("ask valid_vid(v, TYPE_FRAMESERVER) first")),
        Some(Object::Call { .. }) | None => Err(missing(call)),
    }
}

/// V2's complaint.
pub(super) fn missing(call: &Call<'_>) -> Fault {
    let number = call.number(0).unwrap_or_default();
    match call.core.world.borrow().deletion(call.vid(0)) {
        Some(place) => Fault::fatal(format!("vid {number} was deleted at {place}"))
            .hint("forget a vid when it is deleted, or ask valid_vid(v) first"),
        None => Fault::fatal(format!("vid {number} does not exist"))
            .hint("it was deleted or never made; ask valid_vid(v) first"),
    }
}

/// The vid, if it is a live segment; a warning if not.
pub(super) fn live_or_warn(call: &Call<'_>, function: &str) -> Option<Vid> {
    let vid = call.vid(0);
    let alive = call.core.world.borrow().segment(vid).is_some();
    if !alive {
        call.core.warn(&format!(
            "{function}: vid {} is no live segment, nothing was done",
            vid.number()
        ));
    }
    alive.then_some(vid)
}

/// Sends one event; false if the client's queue is full or there is no client.
fn say(call: &Call<'_>, vid: Vid, event: Target) -> bool {
    let mut world = call.core.world.borrow_mut();
    world.segment(vid).is_some() && world.say(vid, Say::Target(event)).is_ok()
}

fn accept_target(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let callback = call.function(if call.form == 0 { 0 } else { 2 });
    let accepted = call.core.world.borrow_mut().accept();
    match accepted {
        Ok(Some((vid, cookie))) => {
            call.core.set_handler(vid, callback)?;
            call.answer((vid.number(), 0, cookie))
        }
        Ok(None) => {
            call.core
                .warn("accept_target: the asker is gone, or there are too many vids");
            call.answer((Vid::BAD.number(), 0, 0))
        }
        Err(NotNow::NoRequest) => Err(Fault::fatal("there is no request to accept").hint(
            "call it in the callback that got `segment_request`, before that returns; to decide later, accept now and delete later",
        )),
        Err(NotNow::Twice) => Err(Fault::fatal("this request has been accepted already")
            .hint("one accept_target per segment_request")),
    }
}

pub(super) fn message_target(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let (vid, text) = match call.form {
        0 => (call.vid(0), call.text(1)?),
        _ => (call.vid(1), call.text(0)?),
    };
    let left = send_text(call, vid, &text.unwrap_or_default());
    call.answer(left)
}

/// What message_target returns.
pub(super) fn send_text(call: &Call<'_>, vid: Vid, text: &[u8]) -> i64 {
    let mut world = call.core.world.borrow_mut();
    if let Some(Object::Listener(_)) = world.object(vid) {
        let Err(mistake) = world.secret(vid, text) else {
            return 0;
        };
        drop(world);
        // A script need not look at `failure`; whoever wrote it should hear of a slip all the same.
        let place = errors::place(call.lua).unwrap_or_else(|| call.core.run.appl.clone());
        let mut report = Report::new(Severity::Warning, format!("{place}: {mistake}"));
        report.follows = Some("no secret was set".to_owned());
        report.hint = Some("give \"num:secret\", with 1 to 31 bytes of secret".to_owned());
        call.core.report(report);
        return -1;
    }
    if world
        .segment(vid)
        .is_some_and(|segment| matches!(segment.carries, Carries::Stream { .. }))
    {
        return match world.write(vid, text) {
            Ok(taken) => i64::try_from(text.len() - taken).unwrap_or(i64::MAX),
            Err(_) => -1,
        };
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return -1;
    };
    if world.segment(vid).is_none() {
        return -1;
    }
    if text.len() <= MAX_WHOLE {
        let mut left = text.len();
        let messages = parts(text).map(|part| {
            left -= part.len();
            Target::Message(Text {
                text: part.to_owned(),
                multipart: left > 0,
            })
        });
        let messages = messages.collect();
        return match world.tell_whole(vid, messages) {
            Ok(()) => 0,
            Err(Full) => i64::try_from(text.len()).unwrap_or(i64::MAX),
        };
    }
    let mut left = text.len();
    for part in parts(text) {
        let message = Target::Message(Text {
            text: part.to_owned(),
            multipart: part.len() < left,
        });
        if world.say(vid, Say::Target(message)).is_err() {
            break;
        }
        left -= part.len();
    }
    i64::try_from(left).unwrap_or(i64::MAX)
}

fn target_displayhint(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = live(call)?;
    let mut size = [0, 0];
    for (at, side) in size.iter_mut().enumerate() {
        let pixels = call.number(at + 1).unwrap_or_default();
        if pixels < 0.0 {
            return Err(Fault::fatal(format!("{pixels} is not a size in pixels")));
        }
        *side = pixels.min(MAX_SIZE) as i32;
    }
    let [width, height] = size;
    let mut hint = DisplayHint {
        width,
        height,
        flags: call.number(3).unwrap_or(128.0) as i32,
        subpixel: 0,
        density: 0.0,
        cell: [0, 0],
        token: 0,
    };
    let mut output = None;
    match call.value(4) {
        Some(Value::Table(about)) => {
            let number =
                |key| Ok::<f64, Fault>(about.raw_get::<Option<f64>>(key)?.unwrap_or_default());
            let density = number("ppcm")?;
            if density > 10.0 {
                hint.density = density as f32;
            } else if density != 0.0 {
                call.core
                    .warn("target_displayhint: ppcm is not above 10, ignored");
            }
            hint.subpixel = match about
                .raw_get::<Option<String>>("subpixel_layout")?
                .as_deref()
            {
                Some("hBGR") => 1,
                Some("vRGB") => 2,
                Some("vBGR") => 3,
                _ => 0,
            };
            let max = [number("width")? as i32, number("height")? as i32];
            if max.iter().all(|side| *side > 0) {
                let min = [number("min_width")? as i32, number("min_height")? as i32];
                output = Some((max, number("refresh")? as i32, min));
            }
        }
        Some(Value::Integer(_) | Value::Number(_)) => {
            let other = call.number(4).unwrap_or_default();
            if other == Vid::WORLD {
                hint.density = 38.4;
                output = Some(([1024, 768], 60, [32, 32]));
            } else {
                let world = call.core.world.borrow();
                match world.segment(Vid::from_lua(other)) {
                    Some(segment) => hint.token = segment.cookie,
                    None => call.core.warn(&format!(
                        "target_displayhint: ref {other} is no live segment, ignored"
                    )),
                }
            }
        }
        _ => {}
    }
    if let Some((max, rate, min)) = output {
        say(
            call,
            vid,
            Target::OutputHint {
                max,
                rate,
                min,
                id: 0,
                vrr: [0.0, 0.0],
            },
        );
    }
    say(call, vid, Target::DisplayHint(hint));
    call.answer(cell(call, vid))
}

fn cell(call: &Call<'_>, vid: Vid) -> (u8, u8) {
    let world = call.core.world.borrow();
    world.segment(vid).map_or((0, 0), |segment| segment.cell)
}

fn target_updatehandler(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = match call.core.world.borrow().object(call.vid(0)) {
        Some(Object::Listener(_)) => call.vid(0),
        _ => live(call)?,
    };
    call.core.set_handler(vid, call.function(1))?;
    call.answer(())
}

fn target_parent(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let world = call.core.world.borrow();
    let parent = match world.object(call.vid(0)) {
        Some(Object::Segment(segment)) => segment.parent,
        Some(Object::Dead { parent, .. }) => *parent,
        _ => None,
    };
    call.answer(parent.unwrap_or(Vid::BAD).number())
}

fn reset_target(call: &Call<'_>) -> Result<MultiValue, Fault> {
    if let Some(vid) = live_or_warn(call, "reset_target") {
        say(call, vid, Target::Reset(i32::from(call.flag(1, false))));
    }
    call.answer(())
}

fn suspend_target(call: &Call<'_>) -> Result<MultiValue, Fault> {
    if let Some(vid) = live_or_warn(call, "suspend_target") {
        let soft = call.flag(1, false);
        call.core.world.borrow_mut().suspend(vid, soft);
    }
    call.answer(())
}

fn resume_target(call: &Call<'_>) -> Result<MultiValue, Fault> {
    if let Some(vid) = live_or_warn(call, "resume_target") {
        let soft = call.flag(1, false);
        call.core.world.borrow_mut().resume(vid, soft);
    }
    call.answer(())
}

fn stepframe_target(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = call.vid(0);
    if call.core.world.borrow().object(vid).is_none() {
        return Err(missing(call));
    }
    let sent = say(
        call,
        vid,
        Target::StepFrame {
            count: call.number(1).unwrap_or(1.0) as i32,
            source: call.number(2).unwrap_or_default() as u32,
            counter: 0,
        },
    );
    call.answer(sent)
}

fn target_seek(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let value = call.number(1).unwrap_or_default();
    let x = call.number(4).unwrap_or_default();
    let zoom = call.number(5).unwrap_or_default() as f32;
    let relative = call.flag(2, true);
    let event = if call.flag(3, true) {
        Target::SeekTime {
            relative,
            seconds: value as f32,
        }
    } else if relative {
        Target::SeekContent(SeekContent::Relative {
            y: value as i32,
            x: x as i32,
            zoom,
        })
    } else {
        Target::SeekContent(SeekContent::Absolute {
            y: value as f32,
            x: x as f32,
            zoom,
        })
    };
    say(call, call.vid(0), event);
    call.answer(())
}

fn target_coreopt(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let value = call.string(2)?.unwrap_or_default();
    let event = Target::CoreOption {
        index: call.number(1).unwrap_or_default() as i32,
        value: cut(&value, MESSAGE).to_owned(),
    };
    say(call, call.vid(0), event);
    call.answer(())
}

fn target_graphmode(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let colour = |at| call.number(at).unwrap_or_default() as f32;
    let event = Target::GraphMode {
        slot: call.number(1).unwrap_or_default() as u32,
        rgb: [colour(2), colour(3), colour(4)],
    };
    say(call, call.vid(0), event);
    call.answer(())
}

fn target_fonthint(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = live(call)?;
    let sent = say(
        call,
        vid,
        Target::FontHint {
            present: false,
            size: call.number(1).unwrap_or_default() as f32,
            hinting: call.number(2).unwrap_or(-1.0) as i32,
            append: call.flag(3, false),
        },
    );
    let (width, height) = cell(call, vid);
    call.answer((sent, width, height))
}

pub(super) fn delete_image(call: &Call<'_>) -> Result<MultiValue, Fault> {
    if call.number(0) == Some(Vid::WORLD) {
        return call.answer(());
    }
    let vid = call.vid(0);
    let deleted = call.core.world.borrow_mut().delete(vid);
    match deleted {
        Ok(()) => call.core.forget(vid)?,
        Err(NoSuch) => return Err(missing(call)),
    }
    if let Some(place) = errors::place(call.lua) {
        call.core.world.borrow_mut().remember_deletion(vid, place);
    }
    call.answer(())
}

fn valid_vid(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let world = call.core.world.borrow();
    let object = world.object(call.vid(0));
    let valid = match (object, call.number(1)) {
        (None, _) => call.value(1).is_none() && call.number(0) == Some(Vid::WORLD),
        (Some(_), None) => true,
        (Some(Object::Dead { .. }), Some(_)) => false,
        (Some(_), Some(kind)) => kind == 3.0,
    };
    call.answer(valid)
}
