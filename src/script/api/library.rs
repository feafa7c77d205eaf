//! Small functions that scripts need all the time: hashes, encodings, random bytes.

use data_encoding::{BASE32, BASE64, Encoding};
use mlua::{MultiValue, Value};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::util::random_bytes;
use super::{Arg, Call, Entry, Form, Ret, Ty, arg, entry, form, opt, ret};
use crate::script::errors::Fault;

const BYTES: Arg = arg("bytes", Ty::Text);
const HASH: &[Form] = &[form(
    &[BYTES, opt("raw", Ty::Flag, "false")],
    &[ret("string", "64 hex digits; raw: 32 bytes")],
)];
const ENCODED: &[Form] = &[form(&[BYTES], &[ret("string", "the text")])];
const DECODED: &[Form] = &[form(&[arg("text", Ty::Text)], DECODED_BYTES)];
const DECODED_BYTES: &[Ret] = &[ret("string?", "the bytes, or nil if it is none")];

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "moonport.sha256",
        HASH,
        |call| hash(call, |bytes| Sha256::digest(bytes).into()),
        "The SHA-256 of bytes.",
        "",
    ),
    entry(
        "moonport.blake3",
        HASH,
        |call| hash(call, |bytes| blake3::hash(bytes).into()),
        "The BLAKE3 hash of bytes.",
        "",
    ),
    entry(
        "moonport.base64.encode",
        ENCODED,
        |call| encode(call, &BASE64),
        "Bytes as base64, with padding (RFC 4648, section 4).",
        "",
    ),
    entry(
        "moonport.base64.decode",
        DECODED,
        |call| decode(call, &BASE64),
        "The bytes of base64.",
        "Text that is not base64, or not padded: nil.",
    ),
    entry(
        "moonport.base32.encode",
        ENCODED,
        |call| encode(call, &BASE32),
        "Bytes as base32, with padding (RFC 4648, section 6).",
        "",
    ),
    entry(
        "moonport.base32.decode",
        DECODED,
        |call| decode(call, &BASE32),
        "The bytes of base32.",
        "Text that is not base32, in lower case, or not padded: nil.",
    ),
    entry(
        "moonport.equal",
        &[form(
            &[arg("a", Ty::Text), arg("b", Ty::Text)],
            &[ret("boolean", "whether they are the same")],
        )],
        equal,
        "Compares bytes; how long that takes says nothing of where they differ. For secrets.",
        "",
    ),
    entry(
        "moonport.random",
        &[form(
            &[arg("count", Ty::Number)],
            &[ret("string", "the bytes")],
        )],
        random_bytes,
        "Bytes that nobody can predict.",
        "A count outside 0..1048576 is a Lua error.",
    ),
];

fn hash(call: &Call<'_>, hash: fn(&[u8]) -> [u8; 32]) -> Result<MultiValue, Fault> {
    let hash = hash(&call.text(0)?.unwrap_or_default());
    if call.flag(1, false) {
        return call.answer(call.lua.create_string(hash)?);
    }
    call.answer(data_encoding::HEXLOWER.encode(&hash))
}

pub(super) fn encode(call: &Call<'_>, encoding: &Encoding) -> Result<MultiValue, Fault> {
    call.answer(encoding.encode(&call.text(0)?.unwrap_or_default()))
}

pub(super) fn decode(call: &Call<'_>, encoding: &Encoding) -> Result<MultiValue, Fault> {
    match encoding.decode(&call.text(0)?.unwrap_or_default()) {
        Ok(bytes) => call.answer(call.lua.create_string(bytes)?),
        Err(_) => call.answer(Value::Nil),
    }
}

fn equal(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let (a, b) = (
        call.text(0)?.unwrap_or_default(),
        call.text(1)?.unwrap_or_default(),
    );
    call.answer(bool::from(a.ct_eq(&b)))
}
