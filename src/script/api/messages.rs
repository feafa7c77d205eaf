//! Messages of parts, and the sockets of ZeroMQ that carry them.

use std::time::Duration;

use mlua::{MultiValue, Table, Value};

use super::net::Options;
use super::{Call, Entry, Ty, arg, entry, form, opt, ret, streams};
use crate::ipc::ZmtpOptions;
use crate::script::errors::Fault;
use crate::script::world::Unsent;
use crate::wire::zmtp::{Heartbeat, NoSocketType};

pub(super) const ENTRIES: &[Entry] = &[entry(
    "moonport.send",
    &[
        form(
            &[arg("vid", Ty::Vid), arg("parts", Ty::Table)],
            &[ret("boolean", "whether it was sent")],
        ),
        form(
            &[
                arg("vid", Ty::Vid),
                arg("part", Ty::Text),
                opt("...", Ty::Text, "no more parts"),
            ],
            &[ret("boolean", "whether it was sent")],
        ),
    ],
    send,
    "Sends a message of parts, strings of any size and content, to a client that takes such, as those of ZeroMQ do. False: as many messages wait for it as its listener allows (`high_water`), or it has gone; the message is dropped.",
    "A vid that is no such client, a socket that does not send (`pull`, `sub`), a message without parts or larger than `max_message`: a Lua error.",
)];

/// The options of `moonport.listen` for a socket of ZeroMQ: name, type in LuaLS notation, what it is.
pub(super) const ZMTP: &[(&str, &str, &str)] = &[
    (
        "socket_type",
        "string?",
        "what our socket is for: `router` (the default), `rep`, `pull`, `pub`, `sub`, `push`, `pair`, `xpub`, `xsub`, `dealer` or `req`",
    ),
    ("identity", "string?", "what clients hear as our identity"),
    (
        "properties",
        "table<string, string>?",
        "what else clients hear of us; names that begin with `X-` are free",
    ),
    (
        "topics",
        "string[]?",
        "`sub` and `xsub`: beginnings of messages that are wanted; the default is all",
    ),
    (
        "heartbeat_ms",
        "number?",
        "how often a client is asked for a sign of life; never",
    ),
    (
        "heartbeat_timeout_ms",
        "number?",
        "how long it may then be silent; as heartbeat_ms",
    ),
    (
        "heartbeat_ttl_ms",
        "number?",
        "how long clients may wait for ours; not told",
    ),
    (
        "max_message",
        "number?",
        "the largest message, all parts together, in bytes; a mebibyte",
    ),
    ("max_parts", "number?", "the most parts of a message; 64"),
    (
        "high_water",
        "number?",
        "how many messages may wait for one client; 1000",
    ),
    (
        "keyless",
        "boolean?",
        "takes clients without a key, too; only on addresses of this machine",
    ),
];

/// The largest message that can be asked for, in bytes.
const MOST: u32 = 256 << 20;

/// Reads the options of a socket of ZeroMQ.
pub(super) fn zmtp(table: &Table) -> Result<ZmtpOptions, Fault> {
    let options = Options::new(table, "options of a zmtp listener", ZMTP)?;
    let mut zmtp = ZmtpOptions::default();
    if let Some(kind) = options.string("socket_type")? {
        zmtp.socket.kind = kind.parse().map_err(|error: NoSocketType| {
            Fault::plain(format!("socket_type: {kind} is {error}"))
        })?;
    }
    zmtp.socket.identity = options.text("identity")?.unwrap_or_default();
    if zmtp.socket.identity.len() > 255 {
        return Err(Fault::plain("identity has more than 255 bytes"));
    }
    if let Some(table) = options.table("properties")? {
        let mut bytes = 0;
        for pair in table.pairs::<Value, Value>() {
            let (Value::String(name), Value::String(value)) = pair? else {
                return Err(Fault::plain("properties are strings by names"));
            };
            let name = name.to_string_lossy();
            bytes += name.len() + value.as_bytes().len();
            if name.is_empty() || name.len() > 255 || bytes > 2048 {
                return Err(Fault::plain(
                    "a property's name has 1 to 255 bytes, and all of them together 2048",
                ));
            }
            zmtp.socket
                .properties
                .push((name, value.as_bytes().to_vec()));
        }
        zmtp.socket.properties.sort();
    }
    zmtp.socket.topics = match options.table("topics")? {
        None => vec![Vec::new()],
        Some(table) => {
            let topics: Result<Vec<mlua::LuaString>, _> = table.sequence_values().collect();
            let topics = topics?;
            topics
                .iter()
                .map(|topic| topic.as_bytes().to_vec())
                .collect()
        }
    };
    let bytes: usize = zmtp.socket.topics.iter().map(|topic| topic.len() + 8).sum();
    if bytes > 16 * 1024 {
        return Err(Fault::plain("topics have more than 16 KiB"));
    }
    let ms = |key| -> Result<Option<Duration>, Fault> {
        let ms = options.whole(key, 1)?;
        Ok(ms.map(|ms| Duration::from_millis(ms.into())))
    };
    let (timeout, ttl) = (ms("heartbeat_timeout_ms")?, ms("heartbeat_ttl_ms")?);
    zmtp.socket.heartbeat = ms("heartbeat_ms")?.map(|interval| Heartbeat {
        interval,
        timeout: timeout.unwrap_or(interval),
        ttl: ttl.unwrap_or_default(),
    });
    if let Some(bytes) = options.whole("max_message", 1)? {
        if bytes > MOST {
            return Err(Fault::plain(format!("max_message is at most {MOST} bytes")));
        }
        zmtp.socket.max_message = bytes as usize;
    }
    if let Some(parts) = options.whole("max_parts", 1)? {
        zmtp.socket.max_parts = parts as usize;
    }
    if let Some(messages) = options.whole("high_water", 1)? {
        zmtp.high_water = messages;
    }
    zmtp.keyless = options.flag("keyless")?.unwrap_or_default();
    Ok(zmtp)
}

pub(super) fn send(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let parts = match call.table(1) {
        Some(table) => {
            let parts: Result<Vec<mlua::LuaString>, _> = table.sequence_values().collect();
            let parts = parts.map_err(|_| Fault::plain("parts must be strings"))?;
            parts.iter().map(|part| part.as_bytes().to_vec()).collect()
        }
        None => {
            let mut parts = Vec::with_capacity(call.values.len());
            for at in 1..call.values.len() {
                let part = call.text(at)?;
                parts.push(part.ok_or_else(|| Fault::plain("parts must be strings"))?);
            }
            parts
        }
    };
    if parts.is_empty() {
        return Err(Fault::plain(
            "a message has at least one part; it may be empty",
        ));
    }
    let sent = call.core.world.borrow_mut().send(call.vid(0), parts);
    match sent {
        Ok(()) => call.answer(true),
        Err(Unsent::Gone | Unsent::Full) => call.answer(false),
        Err(Unsent::NoMessages) => Err(Fault::plain("this client takes no messages of parts")
            .hint("message_target sends it text, moonport.write bytes of a stream")),
        Err(Unsent::Finished) => Err(streams::finished()),
        Err(Unsent::Served) => Err(streams::served()),
        Err(Unsent::OneWay(socket)) => Err(Fault::plain(format!(
            "a socket of type {socket} does not send"
        ))),
        Err(Unsent::TooLarge { bytes, most }) => Err(Fault::plain(format!(
            "a message of {bytes} bytes is larger than the {most} that its listener allows"
        ))
        .hint("options = {max_message = ...} of moonport.listen")),
    }
}
