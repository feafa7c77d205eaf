//! Keys of the names that a script may administer.

use identity::{KeyError, Name, PublicKey};
use mlua::{Function, MultiValue};

use super::{Arg, Call, Entry, NOTHING, Ty, arg, entry, form, opt};
use crate::ipc::script::KeyWish;
use crate::script::errors::{self, Fault};

const KEY: Arg = arg("key", Ty::Text);
const NAME: Arg = arg("name", Ty::Text);
const DONE: Arg = opt("callback", Ty::Callback, "none");

const BAD: &str = "A name that `moonport run --allow-keys` does not give, what is no key or name, and more than 64 calls that are not answered: a Lua error. What cannot be done is told to the callback.";

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "moonport.keys.list",
        &[form(&[NAME, arg("callback", Ty::Callback)], NOTHING)],
        list,
        "Tells the callback the keys that are accepted for a name, also disabled and expired ones, as `keys` of its status.",
        BAD,
    ),
    entry(
        "moonport.keys.accept",
        &[
            form(&[KEY, NAME, DONE], NOTHING),
            form(&[KEY, NAME, arg("label", Ty::Text), DONE], NOTHING),
        ],
        accept,
        "Accepts a key for a name, beside those for which it is accepted. Its callback is called, as those of all changes, with one argument, a status of kind `keys`, once that is on the disk.",
        BAD,
    ),
    entry(
        "moonport.keys.revoke",
        &[
            form(&[KEY, DONE], NOTHING),
            form(&[KEY, NAME, DONE], NOTHING),
        ],
        revoke,
        "Accepts a key no longer: for a name, or anywhere, which takes that all its names may be administered. Its clients are cut before the callback is called.",
        BAD,
    ),
    entry(
        "moonport.keys.ban",
        &[form(&[KEY, DONE], NOTHING)],
        ban,
        "Accepts a key nowhere, and lets no window bring it in again. All its names must be such that may be administered. Its clients are cut before the callback is called.",
        BAD,
    ),
    entry(
        "moonport.keys.expire",
        &[
            form(&[KEY, arg("at", Ty::Number), DONE], NOTHING),
            form(&[KEY, DONE], NOTHING),
        ],
        expire,
        "Accepts a key until then, seconds since 1970 as os.time() has them; without that, for ever. All its names must be such that may be administered.",
        BAD,
    ),
    entry(
        "moonport.keys.label",
        &[
            form(&[KEY, arg("label", Ty::Text), DONE], NOTHING),
            form(&[KEY, DONE], NOTHING),
        ],
        label,
        "Calls a key something, or nothing. All its names must be such that may be administered.",
        BAD,
    ),
];

/// What is in `keys` of the status, for each.
pub(super) const KEY_STATE: &[(&str, &str, &str)] = &[
    ("key", "string", "the key, base64"),
    ("label", "string?", "what it is called"),
    (
        "standing",
        "string",
        "`accepted`, or `disabled` for the time being",
    ),
    (
        "expires",
        "number?",
        "from when on it is not accepted, seconds since 1970",
    ),
    (
        "elsewhere",
        "boolean",
        "it is accepted for other names, too",
    ),
];

fn list(call: &Call<'_>) -> Result<MultiValue, Fault> {
    wish(call, KeyWish::List(name(call, 0)?), call.function(1))
}

fn accept(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let (key, name) = (key(call)?, name(call, 1)?);
    let label = match call.form {
        0 => None,
        _ => call.string(2)?,
    };
    wish(call, KeyWish::Accept { key, name, label }, last(call))
}

fn revoke(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let name = match call.form {
        0 => None,
        _ => Some(name(call, 1)?),
    };
    wish(
        call,
        KeyWish::Revoke {
            key: key(call)?,
            name,
        },
        last(call),
    )
}

fn ban(call: &Call<'_>) -> Result<MultiValue, Fault> {
    wish(call, KeyWish::Ban { key: key(call)? }, last(call))
}

fn expire(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let at_ms = match (call.form, call.number(1)) {
        (0, Some(at)) if at.is_finite() && at >= 0.0 => Some((at * 1000.0) as u64),
        (0, Some(at)) => return Err(Fault::plain(format!("{at} is no time"))),
        _ => None,
    };
    wish(
        call,
        KeyWish::Expire {
            key: key(call)?,
            at_ms,
        },
        last(call),
    )
}

fn label(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let label = match call.form {
        0 => call.string(1)?,
        _ => None,
    };
    wish(
        call,
        KeyWish::Label {
            key: key(call)?,
            label,
        },
        last(call),
    )
}

fn last(call: &Call<'_>) -> Option<Function> {
    (0..call.values.len())
        .rev()
        .find_map(|at| call.function(at))
}

fn key(call: &Call<'_>) -> Result<PublicKey, Fault> {
    let text = call.string(0)?.unwrap_or_default();
    text.parse()
        .map_err(|error: KeyError| Fault::plain(format!("key: {error}")))
}

/// A name that may be administered.
fn name(call: &Call<'_>, at: usize) -> Result<Name, Fault> {
    let text = call.string(at)?.unwrap_or_default();
    let name = Name::parse(&text).map_err(|error| Fault::plain(format!("name: {error}")))?;
    match call.core.run.permissions.keys.have(&name) {
        true => Ok(name),
        false => Err(not_allowed(name.as_str())),
    }
}

fn not_allowed(name: &str) -> Fault {
    Fault::plain(format!(
        "the keys of {name} are not for scripts to administer"
    ))
    .hint(format!("`moonport run --allow-keys {name}` lets them"))
}

fn wish(call: &Call<'_>, wish: KeyWish, callback: Option<Function>) -> Result<MultiValue, Fault> {
    let allowed = &call.core.run.permissions.keys;
    if !allowed.all && allowed.some.is_empty() {
        return Err(not_allowed("NAME"));
    }
    let place = errors::place(call.lua).unwrap_or_else(|| call.core.run.appl.clone());
    let asked = call
        .core
        .world
        .borrow_mut()
        .wish(wish, format!("moonport.keys ({place})"));
    let vid = asked.map_err(|_| {
        Fault::plain("too many calls at once that are not answered").hint("wait for callbacks")
    })?;
    if let Some(callback) = callback {
        let alone = call.lua.load(ALONE).set_name("=[moonport]");
        let alone: Function = alone.call(callback)?;
        call.core.set_handler(vid, Some(alone))?;
    }
    call.answer(())
}

/// The callback belongs to no vid.
const ALONE: &str = "local callback = ... return function(_, status) return callback(status) end";
