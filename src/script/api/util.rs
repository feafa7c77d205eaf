//! `util`.

use data_encoding::BASE64;
use mlua::MultiValue;

use super::library::{decode, encode};
use super::{Call, Entry, Ty, arg, entry, form, opt, ret};
use crate::script::errors::Fault;

/// The most random bytes at once.
const MAX_RANDOM: f64 = 1_048_576.0;

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "util.to_base64",
        &[form(&[arg("bytes", Ty::Text)], &[ret("string", "base64")])],
        |call| encode(call, &BASE64),
        "Bytes as base64.",
        "",
    ),
    entry(
        "util.from_base64",
        &[form(
            &[arg("text", Ty::Text)],
            &[ret("string?", "the bytes, or nil if it is not base64")],
        )],
        |call| decode(call, &BASE64),
        "The bytes of base64.",
        "Text that is not base64: nil.",
    ),
    entry(
        "util.hash",
        &[form(
            &[arg("bytes", Ty::Text), opt("method", Ty::Text, "\"djb\"")],
            &[ret("number", "32 bits")],
        )],
        hash,
        "A quick hash, for tables, not for security.",
        "A method other than `djb` is a Lua error.",
    ),
    entry(
        "util.random_interval",
        &[form(
            &[arg("low", Ty::Number), arg("high", Ty::Number)],
            &[ret("number", "a whole number from low, below high")],
        )],
        random_interval,
        "A whole number that nobody can predict.",
        "An empty interval, or bounds that are not whole, is a Lua error.",
    ),
    entry(
        "util.random_bytes",
        &[form(
            &[arg("count", Ty::Number)],
            &[ret("string", "the bytes")],
        )],
        random_bytes,
        "Bytes that nobody can predict.",
        "A count outside 0..1048576 is a Lua error.",
    ),
];

fn hash(call: &Call<'_>) -> Result<MultiValue, Fault> {
    match call.text(1)?.as_deref() {
        None | Some(b"djb") => {}
        Some(_) => return Err(Fault::plain("the method must be \"djb\"")),
    }
    let bytes = call.text(0)?.unwrap_or_default();
    let hash = bytes.iter().fold(5381_u32, |hash, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    });
    call.answer(hash)
}

fn random_interval(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let low = call.number(0).unwrap_or_default();
    let high = call.number(1).unwrap_or_default();
    let whole = |number: f64| number.fract() == 0.0 && number.abs() < 9.0e15;
    if !whole(low) || !whole(high) || high <= low {
        return Err(Fault::plain(format!(
            "there is no whole number from {low} below {high}"
        )));
    }
    let span = (high - low) as u64;
    // Numbers of the last, incomplete run of `span` would make some results likelier.
    let limit = u64::MAX - u64::MAX % span;
    let number = loop {
        let mut bytes = [0; 8];
        (call.core.random)(&mut bytes);
        let number = u64::from_le_bytes(bytes);
        if number < limit {
            break number % span;
        }
    };
    call.answer(low + number as f64)
}

pub(super) fn random_bytes(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let count = call.number(0).unwrap_or_default();
    if !(0.0..=MAX_RANDOM).contains(&count) {
        return Err(Fault::plain(format!(
            "{count} bytes cannot be had at once, 0 to {MAX_RANDOM} can"
        )));
    }
    let mut bytes = vec![0; count as usize];
    (call.core.random)(&mut bytes);
    call.answer(call.lua.create_string(bytes)?)
}
