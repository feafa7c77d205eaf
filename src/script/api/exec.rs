//! Programs that talk with clients.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use mlua::{LuaString, MultiValue, Table, Value};

use super::net::Options;
use super::{Call, Entry, Ty, arg, entry, form, opt, ret};
use crate::ipc::{Carries, Framing};
use crate::script::errors::Fault;
use crate::script::world::NoProgram;

pub(super) const ENTRIES: &[Entry] = &[entry(
    "moonport.exec",
    &[form(
        &[
            arg("vid", Ty::Vid),
            arg("argv", Ty::Table),
            opt("options", Ty::Table, "none"),
        ],
        &[ret(
            "boolean",
            "whether it was asked for; false: the client has gone",
        )],
    )],
    exec,
    "Starts a program that talks with a client in the script's place: what the client says is its standard input, and what it writes goes to the client. `argv` is its absolute path and its arguments; see exec_options. It comes to an end with the client; if it ends before that, `exited` tells how. Where it is called in the callback of the client's `segment_request`, with what accept_target gave, the program hears the client from its first word on.",
    "A program that `moonport run --allow-exec` does not name, a vid that is no client's first segment, a client with which a program talks, and more than 256 programs at once: a Lua error.",
)];

/// The options of `moonport.exec`: name, type in LuaLS notation, what it is.
pub(super) const OPTIONS: &[(&str, &str, &str)] = &[(
    "framing",
    "string?",
    "zmtp: `line` (the default), each message is a line; or `length`, each part stands behind its length, four bytes, the highest first, with the highest bit set if another part follows",
)];

/// The most words of a command, and bytes in all of them.
const WORDS: usize = 256;
const BYTES: usize = 32 * 1024;

fn exec(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let argv = match call.table(1) {
        Some(table) => words(table)?,
        None => Vec::new(),
    };
    let program = argv
        .first()
        .ok_or_else(|| Fault::plain("argv is empty: its first word is the program"))?;
    let path = Path::new(OsStr::from_bytes(program));
    if !call
        .core
        .run
        .permissions
        .programs
        .iter()
        .any(|own| own.as_os_str() == path.as_os_str())
    {
        let shown = String::from_utf8_lossy(program);
        let fault = Fault::plain(format!("{shown} may not be started by scripts"));
        return Err(match path.is_absolute() {
            true => fault.hint(format!("`moonport run --allow-exec {shown}` lets it")),
            false => fault.hint("give its absolute path, as --allow-exec does"),
        });
    }
    let vid = call.vid(0);
    let framing = framing(call)?;
    let done = call.core.world.borrow_mut().exec(vid, argv, framing);
    match done {
        Ok(()) => call.answer(true),
        Err(NoProgram::Gone) => call.answer(false),
        Err(NoProgram::NoClient) => Err(Fault::plain("this is no client that came by a listener")
            .hint("give what accept_target returns for a segment_request of a listener")),
        Err(NoProgram::Served) => Err(Fault::plain("a program talks with this client already")
            .hint("wait until `exited` is told")),
        Err(NoProgram::Finished) => Err(super::streams::finished()),
        Err(NoProgram::TooMany) => Err(Fault::plain("too many programs at once")),
    }
}

fn words(table: &Table) -> Result<Vec<Vec<u8>>, Fault> {
    let words: Result<Vec<LuaString>, _> = table.sequence_values().collect();
    let words = words.map_err(|_| Fault::plain("the words of argv must be strings"))?;
    let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    let bytes: usize = words.iter().map(Vec::len).sum();
    if words.len() > WORDS || bytes > BYTES {
        let most = format!("argv has at most {WORDS} words and {BYTES} bytes");
        return Err(Fault::plain(most));
    }
    match words.iter().any(|word| word.contains(&0)) {
        true => Err(Fault::plain("a word of argv has a byte 0 in it")),
        false => Ok(words),
    }
}

fn framing(call: &Call<'_>) -> Result<Framing, Fault> {
    let Some(table) = call.table(2) else {
        return Ok(Framing::default());
    };
    let options = Options::new(table, "moonport.exec", OPTIONS)?;
    if let Value::Nil = table.raw_get::<Value>("framing")? {
        return Ok(Framing::default());
    }
    let world = call.core.world.borrow();
    let carries = world.segment(call.vid(0)).map(|segment| segment.carries);
    if !matches!(carries, None | Some(Carries::Messages { .. })) {
        return Err(Fault::plain("framing is for clients of zmtp"));
    }
    match options.string("framing")?.as_deref() {
        Some("line") => Ok(Framing::Lines),
        Some("length") => Ok(Framing::Lengths),
        _ => Err(Fault::plain("framing is \"line\" or \"length\"")),
    }
}
