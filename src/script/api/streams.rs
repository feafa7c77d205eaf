//! Streams of bytes, and the servers of CurveCP that have them.

use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use mlua::{Function, MultiValue, Table};

use super::net::Options;
use super::{Arg, Call, Entry, NOTHING, Ty, arg, entry, form, opt, ret};
use crate::ipc::CurveCpOptions;
use crate::script::errors::Fault;
use crate::script::world::{Unsent, Want};
use crate::wire::curvecp::Extension;

const VID: Arg = arg("vid", Ty::Vid);

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "moonport.write",
        &[form(
            &[VID, arg("bytes", Ty::Text)],
            &[ret(
                "number|false",
                "how many bytes were taken, from the front; false: none",
            )],
        )],
        write,
        "Writes bytes, any of them, to a client with a stream, as those of CurveCP, or to a server that has one. A mebibyte waits for it at most: where less was taken than was given, `drain` tells when there is room again. False, too, if it has gone.",
        "A vid that is no such client, or a stream that has been finished: a Lua error.",
    ),
    entry(
        "moonport.finish",
        &[form(&[VID, opt("failed", Ty::Flag, "false")], NOTHING)],
        finish,
        "Our stream is complete: the client sees its end once it has all that was written. `failed` says that it ends since something went wrong. The client's stream goes on until its `eof`.",
        "A vid that is no client with a stream, or a second time: a Lua error. One that has gone is ignored.",
    ),
    entry(
        "moonport.read",
        &[
            form(
                &[VID, opt("most", Ty::Number, "all")],
                &[ret(
                    "string?",
                    "bytes, none if nothing has come; nil: nothing follows",
                )],
            ),
            form(
                &[VID, arg("what", Ty::Text)],
                &[ret(
                    "string?",
                    "a line, without its end; nil: none has come",
                )],
            ),
        ],
        read,
        "Reads what has come of a client's stream since moonport.stream was called for it: so many bytes at most, or a `line`. It never waits. What is left when the stream ends is the last line; a line of more than 256 KiB comes in pieces.",
        "A number below 0, or another text than `line`: a Lua error. Nil if the client has gone, or has no stream object.",
    ),
    entry(
        "moonport.stream",
        &[form(&[VID], &[ret("stream", "the object")])],
        stream,
        "An object for a client's stream. From then on `data` only tells that something has come; it is kept until it is read, and a client whose bytes nobody reads is slowed down.",
        "A vid that is no client with a stream: a Lua error.",
    ),
];

/// What is in a stream object.
pub(super) const STREAM: &[(&str, &str, &str)] = &[
    ("vid", "vid", "the client"),
    (
        "read",
        "fun(self: stream, most?: number|\"line\"): string?",
        "as moonport.read",
    ),
    (
        "lines",
        "fun(self: stream): fun(): string?",
        "each line that has come, as `for line in s:lines() do`",
    ),
    (
        "write",
        "fun(self: stream, bytes: string): number|false",
        "as moonport.write",
    ),
    (
        "finish",
        "fun(self: stream, failed?: boolean)",
        "as moonport.finish",
    ),
    (
        "close",
        "fun(self: stream)",
        "ends the client, as delete_image, if it lives; what was written still arrives",
    ),
];

/// The options of `moonport.listen` for CurveCP: name, type in LuaLS notation, what it is.
pub(super) const CURVECP: &[(&str, &str, &str)] = &[
    (
        "server_name",
        "string?",
        "the name that clients have to ask for, dotted; the listener's",
    ),
    (
        "extension",
        "string?",
        "tells servers apart that share an address: 32 hex digits; zeros",
    ),
    (
        "idle_s",
        "number?",
        "after so many seconds without a packet a client is gone; 300",
    ),
    (
        "anonymous",
        "boolean?",
        "lets unknown keys in, too, without enrolling them",
    ),
];

/// Reads the options of a CurveCP server.
pub(super) fn curvecp(table: &Table) -> Result<CurveCpOptions, Fault> {
    let options = Options::new(table, "options of a curvecp listener", CURVECP)?;
    let mut curvecp = CurveCpOptions::default();
    if let Some(name) = options.string("server_name")? {
        let parsed = name.parse();
        let parsed = parsed.map_err(|error| Fault::plain(format!("server_name: {error}")))?;
        curvecp.server_name = Some(parsed);
    }
    if let Some(extension) = extension(&options, "extension")? {
        curvecp.extension = extension;
    }
    if let Some(idle) = idle(&options)? {
        curvecp.idle = idle;
    }
    curvecp.anonymous = options.flag("anonymous")?.unwrap_or_default();
    Ok(curvecp)
}

/// Reads an extension.
pub(super) fn extension(options: &Options<'_>, key: &str) -> Result<Option<Extension>, Fault> {
    let Some(hex) = options.text(key)? else {
        return Ok(None);
    };
    let bytes = HEXLOWER_PERMISSIVE.decode(&hex).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    match bytes {
        Some(bytes) => Ok(Some(Extension(bytes))),
        None => Err(Fault::plain(format!("{key} must be 32 hex digits"))),
    }
}

/// Reads `idle_s`.
pub(super) fn idle(options: &Options<'_>) -> Result<Option<Duration>, Fault> {
    let seconds = options.whole("idle_s", 1)?;
    Ok(seconds.map(|seconds| Duration::from_secs(seconds.min(LONGEST).into())))
}

/// A year is for ever.
const LONGEST: u32 = 365 * 24 * 60 * 60;

fn write(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let bytes = call.text(1)?.unwrap_or_default();
    let taken = call.core.world.borrow_mut().write(call.vid(0), &bytes);
    match taken {
        Ok(0) if !bytes.is_empty() => call.answer(false),
        Ok(taken) => call.answer(taken),
        Err(Unsent::Gone) => call.answer(false),
        Err(Unsent::Finished) => Err(finished()),
        Err(Unsent::Served) => Err(served()),
        Err(_) => Err(no_stream()),
    }
}

fn finish(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let failed = call.flag(1, false);
    let done = call.core.world.borrow_mut().finish(call.vid(0), failed);
    match done {
        Ok(()) | Err(Unsent::Gone) => call.answer(()),
        Err(Unsent::Finished) => Err(finished()),
        Err(Unsent::Served) => Err(served()),
        Err(_) => Err(no_stream()),
    }
}

fn read(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let want = match (call.form, call.value(1)) {
        (0, None) => Want::Bytes(usize::MAX),
        (0, Some(_)) => {
            let most = call.number(1).unwrap_or_default();
            if most.is_nan() || most < 0.0 {
                return Err(Fault::plain(format!("{most} is not a number of bytes")));
            }
            Want::Bytes(most as usize)
        }
        _ => match call.text(1)?.as_deref() {
            Some(b"line") => Want::Line,
            _ => {
                return Err(Fault::plain(
                    "what is read is a number of bytes, or \"line\"",
                ));
            }
        },
    };
    let read = call.core.world.borrow_mut().read(call.vid(0), want);
    let read = read.map(|read| call.lua.create_string(read)).transpose()?;
    call.answer(read)
}

fn stream(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let vid = call.vid(0);
    if !call.core.world.borrow_mut().keep(vid) {
        return Err(no_stream());
    }
    let new = match call.lua.named_registry_value::<Option<Function>>(CLASS)? {
        Some(new) => new,
        None => {
            let class = call.lua.load(OBJECT).set_name("=[moonport]");
            let new: Function = class.call(())?;
            call.lua.set_named_registry_value(CLASS, &new)?;
            new
        }
    };
    call.answer(new.call::<Table>(vid.number())?)
}

/// What makes stream objects, once it has been made itself.
const CLASS: &str = "moonport.stream";

const OBJECT: &str = r#"
local read, write, finish = moonport.read, moonport.write, moonport.finish
local valid, delete, alive = valid_vid, delete_image, TYPE_FRAMESERVER
local Stream = {}
Stream.__index = Stream
function Stream:read(most)
	return read(self.vid, most)
end
function Stream:lines()
	return function()
		return read(self.vid, "line")
	end
end
function Stream:write(bytes)
	return write(self.vid, bytes)
end
function Stream:finish(failed)
	return finish(self.vid, failed)
end
function Stream:close()
	if valid(self.vid, alive) then
		delete(self.vid)
	end
end
return function(vid)
	return setmetatable({ vid = vid }, Stream)
end
"#;

pub(super) fn finished() -> Fault {
    Fault::plain("this stream has been finished").hint("write before moonport.finish")
}

pub(super) fn served() -> Fault {
    Fault::plain("a program writes this stream").hint("`exited` tells when it has ended")
}

fn no_stream() -> Fault {
    Fault::plain("this is no client with a stream")
        .hint("a client of curvecp is one; message_target and moonport.send are for others")
}
