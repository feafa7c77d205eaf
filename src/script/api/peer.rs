//! Who a client is.

use mlua::{MultiValue, Value};

use super::{Call, Entry, Ty, arg, entry, form, ret};
use crate::script::errors::Fault;

pub(super) const ENTRIES: &[Entry] = &[entry(
    "moonport.peer",
    &[form(
        &[arg("vid", Ty::Vid)],
        &[ret("peer?", "nil: it is no client that came by a listener")],
    )],
    peer,
    "Who the client is that has this segment. It is known of clients that are adopted, too, and `session` is the same number then: by it, what a program keeps of a client in moonport.state is found again.",
    "",
)];

/// What `moonport.peer` gives: name, type in LuaLS notation, what it is.
pub(super) const PEER: &[(&str, &str, &str)] = &[
    (
        "session",
        "number",
        "the host's number for the connection, as in `moonport key sessions`; no other one has it",
    ),
    ("name", "string", "the name for which it was let in"),
    (
        "key",
        "string?",
        "its public key, base64; proved; nil: the listener takes clients without one",
    ),
    ("endpoint", "string", "its address and port"),
];

fn peer(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let known = call.core.world.borrow().peer(call.vid(0));
    let Some(peer) = known else {
        return call.answer(Value::Nil);
    };
    let table = call.lua.create_table()?;
    table.raw_set("session", peer.session.0 as f64)?;
    table.raw_set("name", peer.name.as_str())?;
    table.raw_set("key", peer.key.map(|key| key.to_string()))?;
    table.raw_set("endpoint", peer.endpoint.to_string())?;
    call.answer(table)
}
