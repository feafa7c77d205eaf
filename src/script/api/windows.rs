//! Windows of a listener's name, opened and closed while it listens.

use std::time::{SystemTime, UNIX_EPOCH};

use identity::{Name, Secret};
use mlua::MultiValue;
use zeroize::Zeroizing;

use super::net::Options;
use super::{Arg, Call, Entry, Ty, arg, entry, form, ret};
use crate::ipc::ListenerId;
use crate::ipc::script::{FromScript, NewWindow};
use crate::script::errors::Fault;
use crate::script::status::window_id;
use crate::script::vids::{Object, Vid};

const LISTENER: Arg = arg("listener", Ty::Vid);

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "moonport.window",
        &[form(
            &[arg("options", Ty::Table)],
            &[ret(
                "window",
                "its number and, if it was made up, its secret",
            )],
        )],
        window,
        "Opens a window for the name of a listener; see window_options. Unknown keys that know its secret are let in, beside those that the listener takes already. What becomes of it is told to the listener as `window` with its `id`.",
        "No live listener and unknown options are Lua errors. A window that cannot be opened is told as `failed`.",
    ),
    entry(
        "moonport.windows",
        &[form(
            &[LISTENER],
            &[ret(
                "window_state[]",
                "in the order in which they were opened",
            )],
        )],
        windows,
        "The windows of a listener's name, whoever opened them: open ones, and ended ones for a day. Secrets are not told.",
        "A vid that is no live listener has none.",
    ),
    entry(
        "moonport.close_window",
        &[form(
            &[LISTENER, arg("id", Ty::Text)],
            &[ret("boolean", "whether it was asked for")],
        )],
        close_window,
        "Closes a window of a listener's name, whoever opened it. Those that it has let in stay. It is told as `closed`, unless it was closed before it was told as `opened`.",
        "A vid that is no live listener and an id that cannot be one: false. One that is no window of the name is told as `failed`.",
    ),
];

/// The options of `moonport.window`: name, type in LuaLS notation, what it is.
pub(super) const OPTIONS: &[(&str, &str, &str)] = &[
    ("listener", "vid", "for whose name"),
    (
        "secret",
        "string?",
        "1 to 31 bytes; one that nobody can guess is made up",
    ),
    ("count", "number?", "how many keys it lets in; 1"),
    ("for_s", "number?", "how long, in seconds; ten minutes"),
    ("label", "string?", "what to call it; at most 128 bytes"),
    (
        "without_secret",
        "boolean?",
        "nobody has to know a secret: for protocols whose clients have no field for one, as zmtp and curvecp",
    ),
];

/// What `moonport.window` gives.
pub(super) const WINDOW: &[(&str, &str, &str)] = &[
    ("id", "string", "its number, sixteen hex digits"),
    ("name", "string", "for which name it is"),
    ("secret", "string?", "if it was made up"),
];

/// What `moonport.windows` gives, for each.
pub(super) const STATE: &[(&str, &str, &str)] = &[
    ("id", "string", "its number, sixteen hex digits"),
    ("label", "string?", "what it is called"),
    ("open", "boolean", "it has not ended"),
    ("left", "number", "how many keys it still lets in"),
    ("enrolled", "number", "how many it has let in"),
    (
        "ends_in_s",
        "number",
        "seconds until its time is over; 0 if it has ended",
    ),
];

fn listener(call: &Call<'_>, vid: Vid) -> Option<(ListenerId, Name)> {
    match call.core.world.borrow().object(vid) {
        Some(Object::Listener(listener)) => Some((listener.id, listener.name.clone())),
        _ => None,
    }
}

fn window(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let Some(table) = call.table(0) else {
        return Err(Fault::plain("want a table of options"));
    };
    let options = Options::new(table, "moonport.window", OPTIONS)?;
    let vid = options.number("listener")?.map(Vid::from_lua);
    let Some((listener, name)) = vid.and_then(|vid| listener(call, vid)) else {
        return Err(Fault::plain("listener is no live listener")
            .hint("moonport.window({listener = what net_listen gave, count = 1})"));
    };
    let without_secret = options.flag("without_secret")?.unwrap_or_default();
    let brought = options.secret()?;
    let human = brought.is_some();
    if without_secret && human {
        return Err(Fault::plain("without_secret does not go with a secret"));
    }
    let (made_up, number) = made_up(call);
    let new = NewWindow {
        listener,
        window: number,
        secret: brought.unwrap_or(made_up),
        human,
        without_secret,
        count: options.whole("count", 1)?.unwrap_or(1),
        seconds: options.whole("for_s", 1)?.map(u64::from),
        label: options.string("label")?,
    };
    let given = call.lua.create_table()?;
    given.raw_set("id", window_id(new.window))?;
    given.raw_set("name", name.as_str())?;
    if !human && !without_secret {
        given.raw_set("secret", call.lua.create_string(new.secret.reveal())?)?;
    }
    tell(call, FromScript::OpenWindow(new));
    call.answer(given)
}

/// A secret that nobody can guess, and a number for a window.
pub(super) fn made_up(call: &Call<'_>) -> (Secret, u64) {
    let mut bytes = Zeroizing::new([0; 17]);
    (call.core.random)(&mut *bytes);
    let mut number = [0; 8];
    (call.core.random)(&mut number);
    (Secret::generate(&bytes), u64::from_le_bytes(number))
}

fn windows(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let list = call.lua.create_table()?;
    let Some((listener, _)) = listener(call, call.vid(0)) else {
        return call.answer(list);
    };
    let now_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis());
    for window in call.core.world.borrow().windows(listener) {
        let left_ms = match window.open {
            true => u128::from(window.ends_ms).saturating_sub(now_ms),
            false => 0,
        };
        let row = call.lua.create_table()?;
        row.raw_set("id", window_id(window.window))?;
        row.raw_set("label", window.label.as_deref())?;
        row.raw_set("open", window.open)?;
        row.raw_set("left", window.left)?;
        row.raw_set("enrolled", window.enrolled)?;
        row.raw_set("ends_in_s", left_ms as f64 / 1000.0)?;
        list.raw_push(row)?;
    }
    call.answer(list)
}

fn close_window(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let text = call.string(1)?.unwrap_or_default();
    let is_number = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u64::from_str_radix(&text, 16).ok().filter(|_| is_number);
    let Some(((listener, _), window)) = listener(call, call.vid(0)).zip(number) else {
        return call.answer(false);
    };
    tell(call, FromScript::CloseWindow { listener, window });
    call.answer(true)
}

fn tell(call: &Call<'_>, message: FromScript) {
    call.core.world.borrow_mut().outbox.host.push(message);
}
