//! Listeners.

use identity::{Name, Secret};
use mlua::{MultiValue, Table, Value};

use super::{Arg, Call, Entry, Form, Ret, Ty, arg, entry, form, opt, ret};
use super::{messages, streams, windows};
use crate::ipc::script::{FromScript, NewWindow, Wanted};
use crate::ipc::{self, ListenerId, Scheme};
use crate::script::errors::{Fault, place};
use crate::script::text::nearest;
use crate::script::vids::{Object, Vid};

const LISTENER: &[Ret] = &[ret("vid", "the listener, or BADID if there are too many")];
const NAME: Arg = arg("name", Ty::Text);
const CALLBACK: Arg = opt("callback", Ty::Callback, "");

const NET_LISTEN: &[Form] = &[
    form(&[CALLBACK], LISTENER),
    form(&[NAME, CALLBACK], LISTENER),
    form(&[NAME, arg("interface", Ty::Text), CALLBACK], LISTENER),
    form(
        &[
            NAME,
            opt("interface", Ty::Text, "all"),
            opt("port", Ty::Number, "0"),
            CALLBACK,
        ],
        LISTENER,
    ),
];

const MOONPORT_LISTEN: &[Form] = &[
    form(&[arg("options", Ty::Table), CALLBACK], LISTENER),
    form(&[arg("options", Ty::Table)], LISTENER),
];

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        needs_callback: true,
        ..entry(
            "net_listen",
            NET_LISTEN,
            net_listen,
            "Listens for clients. `name` ([A-Za-z0-9_-]{1,30}, else `default`) is the scope in which a client's key must be accepted; it is no address. `interface` is `[scheme://]` and an address, an interface's name or nothing for all; port 0 is the protocol's own (6680 for a12). Each client that has proved its key comes as a `segment_request`, which accept_target in the callback takes; returning without it turns the client away. Deleting the vid closes the listening socket; clients stay. In a task no callback is needed: moonport.segment(vid):accept() waits for clients.",
            "No callback, a bad name or a port that is not 0..65535 is fatal. An address that cannot be had is told as `terminated`.",
        )
    },
    entry(
        "moonport.listen",
        MOONPORT_LISTEN,
        moonport_listen,
        "net_listen with named options; see listen_options. The callback is the second argument or the option `callback`.",
        "An unknown option is a Lua error that names the nearest one; the rest is as for net_listen.",
    ),
];

/// The options of `moonport.listen`: name, type in LuaLS notation, what it is.
pub(super) const OPTIONS: &[(&str, &str, &str)] = &[
    (
        "name",
        "string?",
        "the scope in which keys are accepted; `default`",
    ),
    (
        "protocol",
        "string?",
        "`a12` (the default), `zmtp` or `curvecp`",
    ),
    ("interface", "string?", "address or interface; all"),
    ("port", "number?", "0..65535; 0 is the protocol's own"),
    (
        "secret",
        "string?",
        "required of every client; with `window`, of unknown keys only",
    ),
    (
        "window",
        "listen_window?",
        "lets unknown keys in that know the secret",
    ),
    (
        "options",
        "zmtp_options|curvecp_options?",
        "of the protocol; a12 has none",
    ),
    ("callback", "callback?", "if it is not the second argument"),
];

/// The fields of the option `window`.
pub(super) const WINDOW: &[(&str, &str, &str)] = &[
    ("count", "number", "how many keys it lets in"),
    ("for_s", "number?", "how long, in seconds; ten minutes"),
    (
        "secret",
        "string?",
        "its secret, if `secret` is for everybody",
    ),
    (
        "without_secret",
        "boolean?",
        "there is none: lets in whoever comes; for protocols whose clients have no field for one",
    ),
];

fn net_listen(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let callback = call.values.iter().rev().find(|value| value.is_function());
    let text = |at| match call.value(at) {
        Some(Value::Function(_)) => Ok(None),
        _ => call.string(at),
    };
    let vid = listen(
        call,
        &text(0)?.unwrap_or_else(|| "default".to_owned()),
        text(1)?.unwrap_or_default(),
        call.number(2),
        ipc::Options::Usual,
        callback.cloned(),
    )?;
    call.answer(vid.number())
}

fn listen(
    call: &Call<'_>,
    name: &str,
    interface: String,
    port: Option<f64>,
    options: ipc::Options,
    callback: Option<Value>,
) -> Result<Vid, Fault> {
    let name = Name::parse(name).map_err(|error| {
        Fault::fatal(error.to_string())
            .hint("a name is 1 to 30 letters, digits, '_' or '-'; it is the scope of accepted keys, not an address")
    })?;
    let number = port.unwrap_or_default();
    let port = number as u16;
    if f64::from(port) != number {
        return Err(Fault::fatal(format!("{number} is not a port"))
            .hint("ports are 1..65535; 0 or nil is the protocol's own"));
    }
    if interface.len() > 255 {
        return Err(Fault::fatal("the interface is longer than 255 bytes"));
    }
    let place = place(call.lua).unwrap_or_else(|| call.core.run.appl.clone());
    let vid = call
        .core
        .world
        .borrow_mut()
        .listen(name, interface, port, options, place);
    let Some(vid) = vid else {
        call.core.warn("net_listen: too many listeners or vids");
        return Ok(Vid::BAD);
    };
    if let Some(Value::Function(callback)) = callback {
        call.core.set_handler(vid, Some(callback))?;
    }
    Ok(vid)
}

/// A table of options whose every key is known.
pub(super) struct Options<'a> {
    table: &'a Table,
    what: &'static str,
}

impl<'a> Options<'a> {
    pub(super) fn new(
        table: &'a Table,
        what: &'static str,
        known: &[(&'static str, &str, &str)],
    ) -> Result<Self, Fault> {
        for pair in table.pairs::<Value, Value>() {
            let (key, _) = pair?;
            let word = match &key {
                Value::String(word) => word.to_string_lossy(),
                other => other.type_name().to_owned(),
            };
            if key.is_string() && known.iter().any(|(name, ..)| *name == word) {
                continue;
            }
            let names: Vec<_> = known.iter().map(|(name, ..)| *name).collect();
            let hint = match nearest(&word, names.iter().copied()) {
                Some(near) => format!("is it {near} that is meant?"),
                None if names.is_empty() => format!("{what} has no options"),
                None => format!("{what} has {}", names.join(", ")),
            };
            return Err(Fault::plain(format!("unknown option {word} in {what}")).hint(hint));
        }
        Ok(Self { table, what })
    }

    fn wrong(&self, key: &str, want: &str, got: &Value) -> Fault {
        Fault::plain(format!(
            "{key} in {} must be a {want}, not a {}",
            self.what,
            got.type_name()
        ))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Vec<u8>>, Fault> {
        match self.table.raw_get(key)? {
            Value::Nil => Ok(None),
            Value::String(text) => Ok(Some(text.as_bytes().to_vec())),
            other => Err(self.wrong(key, "string", &other)),
        }
    }

    pub(super) fn string(&self, key: &str) -> Result<Option<String>, Fault> {
        let text = self.text(key)?.map(String::from_utf8).transpose();
        text.map_err(|_| Fault::plain(format!("{key} in {} is not valid UTF-8", self.what)))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<f64>, Fault> {
        match self.table.raw_get(key)? {
            Value::Nil => Ok(None),
            Value::Integer(number) => Ok(Some(number as f64)),
            Value::Number(number) => Ok(Some(number)),
            other => Err(self.wrong(key, "number", &other)),
        }
    }

    /// A whole number between bounds.
    pub(super) fn whole(&self, key: &str, least: u32) -> Result<Option<u32>, Fault> {
        let Some(number) = self.number(key)? else {
            return Ok(None);
        };
        let whole = number as u32;
        if f64::from(whole) != number || whole < least {
            let what = self.what;
            return Err(Fault::plain(format!(
                "{key} in {what} must be a whole number from {least} on, not {number}"
            )));
        }
        Ok(Some(whole))
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        match self.table.raw_get(key)? {
            Value::Nil => Ok(None),
            Value::Boolean(flag) => Ok(Some(flag)),
            other => Err(self.wrong(key, "boolean", &other)),
        }
    }

    pub(super) fn table(&self, key: &str) -> Result<Option<Table>, Fault> {
        match self.table.raw_get(key)? {
            Value::Nil => Ok(None),
            Value::Table(table) => Ok(Some(table)),
            other => Err(self.wrong(key, "table", &other)),
        }
    }

    pub(super) fn secret(&self) -> Result<Option<Secret>, Fault> {
        let secret = self.text("secret")?.map(|text| Secret::parse(&text));
        secret
            .transpose()
            .map_err(|error| Fault::plain(error.to_string()))
    }
}

fn moonport_listen(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let Some(table) = call.table(0) else {
        return Err(Fault::plain("want a table of options"));
    };
    let options = Options::new(table, "moonport.listen", OPTIONS)?;
    let callback = match (call.function(1), table.raw_get("callback")?) {
        (Some(given), Value::Nil) => Value::Function(given),
        (None, Value::Function(given)) => Value::Function(given),
        (Some(_), _) => return Err(Fault::plain("the callback is given twice")),
        (None, Value::Nil) if call.core.tasks.is_inside() => Value::Nil,
        (None, _) => {
            return Err(Fault::fatal("no callback was given")
                .hint("moonport.listen({name = ...}, function(source, status) ... end)"));
        }
    };
    let interface = options.string("interface")?.unwrap_or_default();
    let interface = match options.string("protocol")? {
        None => interface,
        Some(_) if interface.contains("://") => {
            return Err(Fault::plain(
                "the protocol is given twice, as protocol and in interface",
            ));
        }
        Some(scheme) => format!("{scheme}://{interface}"),
    };
    let scheme = Scheme::of(&interface).0.ok();
    let more = match (options.table("options")?, scheme) {
        (Some(table), Some(Scheme::Zmtp)) => ipc::Options::Zmtp(messages::zmtp(&table)?.into()),
        (Some(table), Some(Scheme::CurveCp)) => {
            ipc::Options::CurveCp(streams::curvecp(&table)?.into())
        }
        (Some(table), _) => {
            Options::new(&table, "options of moonport.listen", &[])?;
            ipc::Options::Usual
        }
        (None, _) => ipc::Options::Usual,
    };
    let name = options.string("name")?.unwrap_or_else(|| "default".into());
    let secret = options.secret()?;
    let window = match options.table("window")? {
        None => None,
        Some(table) => {
            let window = Options::new(&table, "window", WINDOW)?;
            let Some(count) = window.whole("count", 1)? else {
                return Err(Fault::plain("window has no count")
                    .hint("window = {count = how many keys it lets in, for_s = seconds}"));
            };
            let seconds = window.whole("for_s", 1)?.map(u64::from);
            let open = window.flag("without_secret")?.unwrap_or_default();
            Some((count, seconds, window.secret()?, open))
        }
    };
    let has_secrets = scheme.is_none_or(Scheme::has_secrets);
    let given = secret.is_some() || matches!(window, Some((_, _, Some(_), _)));
    if given && !has_secrets {
        return Err(without(scheme));
    }
    // A window with a secret of its own leaves `secret` to everybody else.
    let (required, window) = match (secret, window) {
        (secret, None) => (secret, None),
        (secret, Some((count, seconds, None, true))) if !has_secrets => {
            (secret, Some((count, seconds, None)))
        }
        (_, Some((_, _, _, true))) => {
            return Err(
                Fault::plain("without_secret does not go with a secret").hint(
                    "it is for protocols whose clients have no field for one, as zmtp and curvecp",
                ),
            );
        }
        (secret, Some((count, seconds, Some(own), false))) => {
            (secret, Some((count, seconds, Some(own))))
        }
        (Some(secret), Some((count, seconds, None, false))) => {
            (None, Some((count, seconds, Some(secret))))
        }
        (None, Some((_, _, None, false))) if has_secrets => {
            return Err(
                Fault::plain("a window needs a secret").hint("add secret = \"...\", 1 to 31 bytes")
            );
        }
        (None, Some((_, _, None, false))) => return Err(without(scheme)),
    };
    let port = options.number("port")?;
    let vid = listen(call, &name, interface, port, more, Some(callback))?;
    let mut world = call.core.world.borrow_mut();
    let listener = match world.object(vid) {
        Some(Object::Listener(listener)) => listener.id,
        _ => return call.answer(vid.number()),
    };
    let mut host = |message| world.outbox.host.push(message);
    match window {
        Some((count, seconds, None)) => {
            let (secret, number) = windows::made_up(call);
            host(FromScript::OpenWindow(NewWindow {
                listener,
                window: number,
                secret,
                human: false,
                without_secret: true,
                count,
                seconds,
                label: None,
            }));
        }
        Some((count, seconds, Some(secret))) => {
            tell(
                listener,
                required,
                Some((count, seconds, secret)),
                &mut host,
            );
        }
        None => tell(listener, required, None, &mut host),
    }
    drop(world);
    call.answer(vid.number())
}

fn without(scheme: Option<Scheme>) -> Fault {
    let name = scheme.map_or("this protocol", Scheme::name);
    Fault::plain(format!("clients of {name} have no field for a secret"))
        .hint("window = {count = N, without_secret = true} lets in the next N keys that come, whoever's they are")
}

fn tell(
    listener: ListenerId,
    required: Option<Secret>,
    window: Option<(u32, Option<u64>, Secret)>,
    host: &mut impl FnMut(FromScript),
) {
    if let Some(secret) = required {
        host(FromScript::Secret(Wanted {
            listener,
            secret,
            required: true,
            count: 0,
            seconds: None,
        }));
    }
    if let Some((count, seconds, secret)) = window {
        host(FromScript::Secret(Wanted {
            listener,
            secret,
            required: false,
            count,
            seconds,
        }));
    }
}
