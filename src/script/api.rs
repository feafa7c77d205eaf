//! The API: one table of functions, from which come the functions themselves with the checks of
//! their arguments, the stubs for LuaLS, and the reference.
//!
//! A row is an [`Entry`]; the rows stand beside the code that they name, by theme.

mod administer;
mod connect;
mod constants;
mod exec;
mod flags;
mod input;
mod json;
mod keys;
mod library;
mod messages;
mod net;
mod peer;
mod process;
mod reference;
mod segment;
mod streams;
mod tasks;
mod util;
mod windows;

use std::rc::Rc;

use mlua::{Function, IntoLuaMulti, Lua, MultiValue, Table, Value};

pub(super) use constants::CONSTANTS;
pub(super) use reference::VALUES;
pub use reference::{Page, reference, stubs};

use super::core::Core;
use super::errors::Fault;
use super::vids::Vid;
use crate::ipc::script::ErrorMode;

/// One function of the API.
pub(super) struct Entry {
    /// Its global name, or `table.name`, or `table.table.name`.
    pub(super) name: &'static str,
    /// The ways to call it; the first one that fits is taken.
    pub(super) forms: &'static [Form],
    /// What it does.
    pub(super) doc: &'static str,
    /// What bad input gets, beyond a Lua error for arguments of a wrong type.
    pub(super) bad: &'static str,
    /// Without a function among the arguments it is a fatal error, not a Lua error. A task needs
    /// none: it can wait for what comes.
    needs_callback: bool,
    /// What scripts see of it is made in `lua/task.lua`, around this function, which looks at the
    /// arguments. That of a method, `class:name`, is given the vid first.
    inner: bool,
    run: Body,
}

/// One way to call a function.
pub(super) struct Form {
    pub(super) args: &'static [Arg],
    pub(super) returns: &'static [Ret],
}

/// One argument.
pub(super) struct Arg {
    pub(super) name: &'static str,
    pub(super) ty: Ty,
    /// What it is when it is absent or nil; `None`: it must be there.
    pub(super) default: Option<&'static str>,
}

/// One result.
pub(super) struct Ret {
    /// In LuaLS notation.
    pub(super) ty: &'static str,
    pub(super) name: &'static str,
}

/// What an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ty {
    /// A vid: a number, never text that looks like one.
    Vid,
    /// A number.
    Number,
    /// Text; numbers are taken too.
    Text,
    /// A boolean; numbers are taken too.
    Flag,
    /// A table.
    Table,
    /// A callback for the events of a vid.
    Callback,
    /// A function.
    Function,
    /// Anything.
    Any,
}

impl Ty {
    fn fits(self, value: &Value) -> bool {
        match self {
            Self::Vid | Self::Number => matches!(value, Value::Integer(_) | Value::Number(_)),
            Self::Text => matches!(
                value,
                Value::String(_) | Value::Integer(_) | Value::Number(_)
            ),
            Self::Flag => matches!(
                value,
                Value::Boolean(_) | Value::Integer(_) | Value::Number(_)
            ),
            Self::Table => matches!(value, Value::Table(_)),
            Self::Callback | Self::Function => matches!(value, Value::Function(_)),
            Self::Any => true,
        }
    }

    /// As error messages call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Vid | Self::Number => "number",
            Self::Text => "string",
            Self::Flag => "boolean",
            Self::Table => "table",
            Self::Callback | Self::Function => "function",
            Self::Any => "value",
        }
    }

    /// In LuaLS notation.
    fn luals(self) -> &'static str {
        match self {
            Self::Vid => "vid",
            Self::Callback => "callback",
            Self::Any => "any",
            other => other.word(),
        }
    }
}

type Body = fn(&Call<'_>) -> Result<MultiValue, Fault>;

const fn entry(
    name: &'static str,
    forms: &'static [Form],
    run: Body,
    doc: &'static str,
    bad: &'static str,
) -> Entry {
    Entry {
        name,
        forms,
        doc,
        bad,
        needs_callback: false,
        inner: false,
        run,
    }
}

/// A function that scripts get by way of `lua/task.lua`.
const fn inner(
    name: &'static str,
    forms: &'static [Form],
    run: Body,
    doc: &'static str,
    bad: &'static str,
) -> Entry {
    Entry {
        inner: true,
        ..entry(name, forms, run, doc, bad)
    }
}

const fn form(args: &'static [Arg], returns: &'static [Ret]) -> Form {
    Form { args, returns }
}

const fn arg(name: &'static str, ty: Ty) -> Arg {
    Arg {
        name,
        ty,
        default: None,
    }
}

const fn opt(name: &'static str, ty: Ty, default: &'static str) -> Arg {
    Arg {
        name,
        ty,
        default: Some(default),
    }
}

const fn ret(ty: &'static str, name: &'static str) -> Ret {
    Ret { ty, name }
}

const NOTHING: &[Ret] = &[];

/// All rows.
pub(super) fn entries() -> impl Iterator<Item = &'static Entry> {
    [
        net::ENTRIES,
        windows::ENTRIES,
        segment::ENTRIES,
        peer::ENTRIES,
        connect::ENTRIES,
        messages::ENTRIES,
        streams::ENTRIES,
        tasks::ENTRIES,
        exec::ENTRIES,
        administer::ENTRIES,
        flags::ENTRIES,
        input::ENTRIES,
        keys::ENTRIES,
        process::ENTRIES,
        util::ENTRIES,
        library::ENTRIES,
        json::ENTRIES,
    ]
    .into_iter()
    .flatten()
}

/// The names of all functions.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    entries().map(|entry| entry.name)
}

/// A call whose arguments fit one of the forms.
pub(super) struct Call<'a> {
    lua: &'a Lua,
    core: &'a Rc<Core>,
    /// The place of the form in [`Entry::forms`].
    form: usize,
    values: Vec<Value>,
}

impl Call<'_> {
    fn value(&self, at: usize) -> Option<&Value> {
        self.values.get(at).filter(|value| !value.is_nil())
    }

    fn number(&self, at: usize) -> Option<f64> {
        match self.value(at)? {
            Value::Integer(number) => Some(*number as f64),
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    fn vid(&self, at: usize) -> Vid {
        self.number(at).map_or(Vid::BAD, Vid::from_lua)
    }

    fn text(&self, at: usize) -> Result<Option<Vec<u8>>, Fault> {
        match self.value(at) {
            None => Ok(None),
            Some(value) => Ok(self
                .lua
                .coerce_string(value.clone())?
                .map(|text| text.as_bytes().to_vec())),
        }
    }

    /// Text that must be UTF-8.
    fn string(&self, at: usize) -> Result<Option<String>, Fault> {
        match self.text(at)? {
            None => Ok(None),
            Some(text) => String::from_utf8(text)
                .map(Some)
                .map_err(|_| Fault::plain(format!("argument #{} is not valid UTF-8", at + 1))),
        }
    }

    fn flag(&self, at: usize, default: bool) -> bool {
        match self.value(at) {
            None => default,
            Some(Value::Boolean(flag)) => *flag,
            Some(_) => self.number(at).is_some_and(|number| number != 0.0),
        }
    }

    fn function(&self, at: usize) -> Option<Function> {
        match self.value(at)? {
            Value::Function(function) => Some(function.clone()),
            _ => None,
        }
    }

    fn table(&self, at: usize) -> Option<&Table> {
        match self.value(at)? {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    fn answer(&self, values: impl IntoLuaMulti) -> Result<MultiValue, Fault> {
        Ok(values.into_lua_multi(self.lua)?)
    }
}

/// Makes all functions and constants of the API in the VM; gives back those that are for
/// `lua/task.lua`.
pub(super) fn register(lua: &Lua, core: &Rc<Core>) -> mlua::Result<Table> {
    let globals = lua.globals();
    let inner = lua.create_table()?;
    for entry in entries() {
        let core = Rc::clone(core);
        let function = lua.create_function(move |lua, values: MultiValue| {
            call(lua, &core, entry, values.into_vec()).map_err(|fault| {
                let misuse = fault.fatal && core.run.errors == ErrorMode::Classic;
                let error = fault.raise(lua, entry.name);
                if misuse {
                    core.stop.borrow_mut().get_or_insert(error.clone());
                }
                error
            })
        })?;
        if entry.inner {
            inner.raw_set(entry.name, function)?;
            continue;
        }
        let (tables, name) = entry.name.rsplit_once('.').unwrap_or(("", entry.name));
        let mut place = globals.clone();
        for table in tables.split('.').filter(|table| !table.is_empty()) {
            place = match place.raw_get::<Option<Table>>(table)? {
                Some(table) => table,
                None => {
                    let new = lua.create_table()?;
                    place.raw_set(table, &new)?;
                    new
                }
            };
        }
        place.raw_set(name, function)?;
    }
    let json = globals
        .raw_get::<Table>("moonport")?
        .raw_get::<Table>("json")?;
    json.raw_set("null", json::null())?;
    for constant in CONSTANTS {
        globals.raw_set(constant.name, constant.value.clone())?;
    }
    globals.raw_set("APPLID", core.run.appl.as_str())?;
    Ok(inner)
}

fn call(
    lua: &Lua,
    core: &Rc<Core>,
    entry: &'static Entry,
    values: Vec<Value>,
) -> Result<MultiValue, Fault> {
    let given = if entry.name.contains(':') {
        values.get(1..).unwrap_or_default()
    } else {
        &values
    };
    if entry.needs_callback && !core.tasks.is_inside() && !values.iter().any(Value::is_function) {
        return Err(Fault::fatal("no callback was given")
            .hint(format!("the last argument is a function: {}", usage(entry))));
    }
    // Arguments beyond the last are ignored, as everywhere in Lua, if no form takes them.
    let form = [false, true].iter().find_map(|&lenient| {
        entry
            .forms
            .iter()
            .position(|form| mismatch(form, given, lenient).is_none())
    });
    match form {
        Some(form) => (entry.run)(&Call {
            lua,
            core,
            form,
            values,
        }),
        None => Err(misfit(entry, given)),
    }
}

/// The place of the first argument that does not fit the form.
fn mismatch(form: &Form, values: &[Value], lenient: bool) -> Option<usize> {
    let missing = |at: usize| values.get(at).is_none_or(Value::is_nil);
    let wrong = form.args.iter().enumerate().find(|(at, arg)| {
        if missing(*at) {
            arg.default.is_none()
        } else {
            values.get(*at).is_some_and(|value| !arg.ty.fits(value))
        }
    });
    if let Some((at, _)) = wrong {
        return Some(at);
    }
    let extra = (form.args.len()..values.len()).find(|at| !missing(*at));
    extra.filter(|_| !lenient)
}

/// Says what does not fit, by the form that fits best.
fn misfit(entry: &Entry, values: &[Value]) -> Fault {
    let best = entry
        .forms
        .iter()
        .rev()
        .filter_map(|form| Some((mismatch(form, values, true)?, form)))
        .max_by_key(|(at, form)| (*at, form.args.len() == values.len()));
    let Some((at, form)) = best else {
        return Fault::plain("bad arguments");
    };
    let got = match values.get(at) {
        None => "no value",
        Some(Value::Integer(_)) => "number",
        Some(value) => value.type_name(),
    };
    let (name, want) = form
        .args
        .get(at)
        .map_or(("", ""), |arg| (arg.name, arg.ty.word()));
    Fault::plain(format!(
        "bad argument #{} ({name}: {want} expected, got {got})",
        at + 1
    ))
    .hint(usage(entry))
}

/// The options that a function takes in a table, if it does: name, type, what it is.
pub(super) fn options(function: &str) -> Option<Fields> {
    match function {
        "moonport.connect" => Some(connect::CONNECT),
        "moonport.exec" => Some(exec::OPTIONS),
        "moonport.listen" => Some(net::OPTIONS),
        "moonport.window" => Some(windows::OPTIONS),
        _ => None,
    }
}

/// Name, type in LuaLS notation, what it is.
type Fields = &'static [(&'static str, &'static str, &'static str)];

/// The ways to call a function, for people.
pub(super) fn usage(entry: &Entry) -> String {
    let forms: Vec<_> = entry
        .forms
        .iter()
        .map(|form| format!("{}({})", entry.name, signature(form)))
        .collect();
    forms.join(" or ")
}

/// `a, b [, c = 1]`.
fn signature(form: &Form) -> String {
    let mut text = String::new();
    for (at, arg) in form.args.iter().enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        match arg.default {
            None => text.extend([comma, arg.name]),
            Some("") => text.extend(["[", comma, arg.name, "]"]),
            Some(default) => text.extend(["[", comma, arg.name, " = ", default, "]"]),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_documented_and_named_once() {
        let mut names = std::collections::HashSet::new();
        for entry in entries() {
            assert!(names.insert(entry.name), "{} twice", entry.name);
            assert!(entry.doc.ends_with('.'), "{}", entry.name);
            assert!(!entry.forms.is_empty(), "{}", entry.name);
        }
    }
}
