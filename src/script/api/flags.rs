//! target_flags and its two short forms.

use mlua::MultiValue;

use super::segment::live_or_warn;
use super::{Arg, Call, Entry, NOTHING, Ty, arg, entry, form, opt};
use crate::script::errors::Fault;
use crate::script::picture::Limit;
use crate::script::vids::{Flags, Vid};

const VID: Arg = arg("vid", Ty::Vid);

pub(super) const VERBOSE: f64 = 3.0;
pub(super) const LIMITSIZE: f64 = 11.0;
pub(super) const BLOCKADOPT: f64 = 13.0;
pub(super) const DRAINQUEUE: f64 = 14.0;

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "target_flags",
        &[
            form(
                &[VID, arg("flag", Ty::Number), opt("on", Ty::Flag, "true")],
                NOTHING,
            ),
            form(
                &[
                    VID,
                    arg("flag", Ty::Number),
                    arg("max_width", Ty::Number),
                    arg("max_height", Ty::Number),
                ],
                NOTHING,
            ),
        ],
        target_flags,
        "Sets how a segment is dealt with. TARGET_VERBOSE: its frames come as `frame`. TARGET_BLOCKADOPT: it is closed, not offered to NAME_adopt, when the script starts again. TARGET_LIMITSIZE with `max_width` and `max_height` (pixels; 0: any), or with false: no `resized` and `frame` of a larger picture, but one `failure` for each size that is withheld. Arcan's other flags are taken and have no effect. An adopted segment begins without any.",
        "An unknown flag is fatal, and so is TARGET_LIMITSIZE without a size, or a negative one; a vid that is no live segment gets a warning.",
    ),
    entry(
        "target_verbose",
        &[form(&[VID, opt("on", Ty::Flag, "true")], NOTHING)],
        target_verbose,
        "The same as target_flags with TARGET_VERBOSE.",
        "A vid that is no live segment gets a warning.",
    ),
    entry(
        "target_synchronous",
        &[form(&[VID, opt("on", Ty::Flag, "true")], NOTHING)],
        target_synchronous,
        "The same as target_flags with TARGET_SYNCHRONOUS: no effect.",
        "A vid that is no live segment gets a warning.",
    ),
];

fn target_flags(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let flag = call.number(1).unwrap_or_default();
    if !(1.0..=DRAINQUEUE).contains(&flag) || flag.fract() != 0.0 {
        return Err(Fault::fatal(format!("{flag} is no TARGET_ flag")));
    }
    let limit = if flag == LIMITSIZE {
        Some(limit(call)?)
    } else {
        None
    };
    if let Some(vid) = live_or_warn(call, "target_flags") {
        match limit {
            Some(limit) => call.core.world.borrow_mut().limit(vid, limit),
            None => set(call, vid, flag, call.flag(2, true)),
        }
    }
    call.answer(())
}

fn target_verbose(call: &Call<'_>) -> Result<MultiValue, Fault> {
    if let Some(vid) = live_or_warn(call, "target_verbose") {
        set(call, vid, VERBOSE, call.flag(1, true));
    }
    call.answer(())
}

fn target_synchronous(call: &Call<'_>) -> Result<MultiValue, Fault> {
    live_or_warn(call, "target_synchronous");
    call.answer(())
}

fn set(call: &Call<'_>, vid: Vid, flag: f64, on: bool) {
    let mut world = call.core.world.borrow_mut();
    let Some(segment) = world.segment(vid) else {
        return;
    };
    let mut flags: Flags = segment.flags;
    if flag == VERBOSE {
        flags.verbose = on;
    } else if flag == BLOCKADOPT {
        flags.block_adopt = on;
    }
    world.set_flags(vid, flags);
}

/// The limit of TARGET_LIMITSIZE.
fn limit(call: &Call<'_>) -> Result<Limit, Fault> {
    let side = |at| match call.number(at) {
        Some(pixels) if pixels >= 0.0 => Ok(pixels as u32),
        Some(pixels) => Err(Fault::fatal(format!("{pixels} is not a size in pixels"))),
        None => Err(Fault::fatal("TARGET_LIMITSIZE needs a size")
            .hint("give the largest width and height, or false for no limit")),
    };
    if call.form == 0 && !call.flag(2, true) {
        return Ok(Limit::default());
    }
    let (width, height) = (side(2)?, side(3)?);
    Ok(Limit { width, height })
}
