//! Connections that scripts make.

use identity::{KeyError, PublicKey};
use mlua::{MultiValue, Table, Value};

use super::net::Options;
use super::{Call, Entry, Ty, arg, entry, form, messages, ret, streams};
use crate::ipc::{ConnectOptions, CurveCpClientOptions};
use crate::script::errors::{self, Fault};
use crate::script::vids::Vid;
use crate::wire::curvecp::{IDLE, ServerName};
use crate::wire::zmtp::SocketType;

pub(super) const ENTRIES: &[Entry] = &[entry(
    "moonport.connect",
    &[
        form(
            &[arg("options", Ty::Table), arg("callback", Ty::Callback)],
            &[ret("vid", "the connection, or BADID if there are too many")],
        ),
        form(
            &[arg("options", Ty::Table)],
            &[ret("vid", "the connection, or BADID if there are too many")],
        ),
    ],
    connect,
    "Connects to a server of ZeroMQ's with CURVE, or of CurveCP; see connect_options. The vid is there at once and hears `connected`, `disconnected` (it is tried again by itself) and `terminated` (over, refused, or not to be had); from ZeroMQ's `message`, from CurveCP's `data`, `eof` and `drain`. moonport.send sends messages; what is sent before it is up waits. moonport.write writes to a stream, which begins with `connected`: before that it takes nothing, and each `connected` is another stream. delete_image ends it. `moonport run --allow-connect` says what may be reached; the server knows us by the host key with the tag `client`.",
    "An address that is none and unknown options are Lua errors. What may not be reached is told as `terminated`.",
)];

/// The options of `moonport.connect`: name, type in LuaLS notation, what it is.
pub(super) const CONNECT: &[(&str, &str, &str)] = &[
    (
        "address",
        "string",
        "`zmtp://KEY@HOST:PORT` or `curvecp://KEY@HOST:PORT/NAME`; KEY is the server's, in any spelling of keys",
    ),
    (
        "key",
        "string?",
        "the server's key, if it does not stand in the address",
    ),
    (
        "options",
        "zmtp_options|curvecp_client_options?",
        "of our socket, whose default type is `dealer`; or of the CurveCP server",
    ),
    ("callback", "callback?", "if it is not the second argument"),
];

/// The options of `moonport.connect` for CurveCP: name, type in LuaLS notation, what it is.
pub(super) const CURVECP: &[(&str, &str, &str)] = &[
    (
        "server_name",
        "string?",
        "the name by which the server goes, dotted, if it does not stand in the address; none",
    ),
    (
        "extension",
        "string?",
        "the server's extension: 32 hex digits; zeros",
    ),
    (
        "own_extension",
        "string?",
        "ours: 32 hex digits; what is in /etc/curvecpextension, else zeros",
    ),
    (
        "idle_s",
        "number?",
        "after so many seconds without a packet the connection is gone; 300",
    ),
];

/// What an address says.
struct Address<'a> {
    /// What follows the scheme and the key: host, port and what stands behind.
    place: &'a str,
    key: PublicKey,
}

fn wrong(what: &str) -> Fault {
    Fault::plain(format!("address: {what}")).hint(
        "address = \"zmtp://HOST:PORT\" or \"curvecp://HOST:PORT/NAME\", \
         key = the server's key, base64, hex or Z85",
    )
}

/// Takes `[KEY@]REST` apart.
fn address(text: &str, key: Option<String>) -> Result<Address<'_>, Fault> {
    // There may be an @ in a key.
    let (own, place) = match text.rsplit_once('@') {
        Some((own, place)) => (Some(own.to_owned()), place),
        None => (None, text),
    };
    let key = match (own, key) {
        (Some(_), Some(_)) => return Err(wrong("the key is given twice")),
        (own, key) => own.or(key).ok_or_else(|| wrong("there is no key"))?,
    };
    let key = key.parse();
    let key = key.map_err(|error: KeyError| wrong(&error.to_string()))?;
    Ok(Address { place, key })
}

/// Takes `HOST:PORT` apart.
fn target(place: &str) -> Result<(String, u16), Fault> {
    let (host, port) = place
        .rsplit_once(':')
        .ok_or_else(|| wrong("there is no port"))?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').unwrap_or_default(),
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0);
    match port {
        _ if host.is_empty() || host.len() > 255 => Err(wrong("there is no host")),
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(wrong("the port is none")),
    }
}

fn zmtp(own: &Table) -> Result<ConnectOptions, Fault> {
    let untold = own.raw_get::<Value>("socket_type")?.is_nil();
    let mut zmtp = messages::zmtp(own)?;
    if untold {
        zmtp.socket.kind = SocketType::Dealer;
    }
    Ok(ConnectOptions::Zmtp(Box::new(zmtp)))
}

fn curvecp(own: &Table, name: Option<&str>) -> Result<ConnectOptions, Fault> {
    let options = Options::new(own, "options of a connection to curvecp", CURVECP)?;
    let told = options.string("server_name")?;
    let name = match (name.filter(|name| !name.is_empty()), told) {
        (Some(_), Some(_)) => return Err(wrong("the server's name is given twice")),
        (Some(name), None) => name.to_owned(),
        (None, told) => told.unwrap_or_default(),
    };
    let server_name: ServerName = match name.parse() {
        Ok(parsed) => parsed,
        Err(error) => return Err(wrong(&format!("the server's name {name:?}: {error}"))),
    };
    Ok(ConnectOptions::CurveCp(Box::new(CurveCpClientOptions {
        server_name,
        extension: streams::extension(&options, "extension")?.unwrap_or_default(),
        own_extension: streams::extension(&options, "own_extension")?,
        idle: streams::idle(&options)?.unwrap_or(IDLE),
    })))
}

fn connect(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let Some(table) = call.table(0) else {
        return Err(Fault::plain("want a table of options"));
    };
    let options = Options::new(table, "moonport.connect", CONNECT)?;
    let callback = match (call.function(1), table.raw_get("callback")?) {
        (Some(_), Value::Function(_)) => {
            return Err(Fault::plain("the callback is given twice"));
        }
        (Some(given), _) | (None, Value::Function(given)) => Some(given),
        (None, Value::Nil) if call.core.tasks.is_inside() => None,
        (None, _) => {
            return Err(Fault::fatal("no callback was given")
                .hint("moonport.connect({address = ...}, function(source, status) ... end)"));
        }
    };
    let text = options.string("address")?.unwrap_or_default();
    let key = options.string("key")?;
    let nothing = call.lua.create_table()?;
    let own = options.table("options")?.unwrap_or(nothing);
    let (Address { place, key }, speaks) = if let Some(rest) = text.strip_prefix("zmtp://") {
        (address(rest, key)?, zmtp(&own)?)
    } else if let Some(rest) = text.strip_prefix("curvecp://") {
        let Address { place, key } = address(rest, key)?;
        let (place, name) = match place.split_once('/') {
            Some((place, name)) => (place, Some(name)),
            None => (place, None),
        };
        (Address { place, key }, curvecp(&own, name)?)
    } else {
        return Err(wrong("it does not begin with zmtp:// or curvecp://"));
    };
    let target = target(place)?;
    let place = errors::place(call.lua).unwrap_or_else(|| call.core.run.appl.clone());
    let mut world = call.core.world.borrow_mut();
    let vid = world.connect(target, key, speaks, place);
    drop(world);
    let Some(vid) = vid else {
        call.core
            .warn("moonport.connect: too many connections or vids");
        return call.answer(Vid::BAD.number());
    };
    call.core.set_handler(vid, callback)?;
    call.answer(vid.number())
}
