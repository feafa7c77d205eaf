//! The key/value store of an appl.

use mlua::{MultiValue, Value};

use super::{Arg, Call, Entry, Ret, Ty, arg, entry, form, opt, ret};
use crate::script::errors::Fault;
use crate::script::keys::Keys;

const TARGET: Arg = opt("target", Ty::Text, "none");
const CONFIG: Arg = opt("config", Ty::Text, "none");
const STORED: &[Ret] = &[ret("boolean", "whether it is stored, durably")];

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "store_key",
        &[
            form(
                &[arg("key", Ty::Text), arg("value", Ty::Text), TARGET, CONFIG],
                STORED,
            ),
            form(&[arg("pairs", Ty::Table), TARGET, CONFIG], STORED),
        ],
        store_key,
        "Stores text under a key, or many at once, for this appl. On return it is on the disk.",
        "A key is made of [A-Za-z0-9_+/=]; others get a warning and, one by one, false. There are no targets here: false.",
    ),
    entry(
        "get_key",
        &[form(
            &[arg("key", Ty::Text), TARGET, CONFIG],
            &[ret("string?", "the value, if there is one")],
        )],
        get_key,
        "What is stored under a key.",
        "A key that cannot be one gets a warning and nil.",
    ),
    entry(
        "match_keys",
        &[form(
            &[arg("pattern", Ty::Text), opt("domain", Ty::Number, "0")],
            &[ret("string[]", "`key=value` each, sorted")],
        )],
        match_keys,
        "All pairs whose key matches a pattern, in which % is any text and _ any character.",
        "A domain other than 0 is fatal.",
    ),
];

/// Works on the store; reads it first if nobody has.
fn with_keys<T>(call: &Call<'_>, work: impl FnOnce(&mut Keys) -> std::io::Result<T>) -> Option<T> {
    let mut keys = call.core.keys.borrow_mut();
    let run = &call.core.run;
    let opened = match keys.take() {
        Some(open) => Ok(open),
        None => Keys::open(&run.state, &run.appl),
    };
    let done = opened.and_then(|open| work(keys.insert(open)));
    match done {
        Ok(done) => Some(done),
        Err(error) => {
            call.core.warn(&format!(
                "the key store in {} cannot be used: {error}",
                run.state.display()
            ));
            None
        }
    }
}

/// The key, or a warning.
fn key(call: &Call<'_>, key: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(key);
    if Keys::allows(&text) {
        return Some(text.into_owned());
    }
    call.core.warn(&format!(
        "\"{text}\" cannot be a key; keys are made of letters, digits and _ + / ="
    ));
    None
}

fn store_key(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let target = if call.form == 0 { 2 } else { 1 };
    if call.value(target).is_some() {
        return call.answer(false);
    }
    let mut pairs = Vec::new();
    if let Some(table) = call.table(0) {
        for pair in table.pairs::<Value, Value>() {
            let (name, value) = pair?;
            let name = call.lua.coerce_string(name)?;
            let value = call.lua.coerce_string(value)?;
            match (name, value) {
                (Some(name), Some(value)) => {
                    if let Some(name) = key(call, &name.as_bytes()) {
                        pairs.push((name, value.as_bytes().to_vec()));
                    }
                }
                _ => call
                    .core
                    .warn("store_key: only text can be stored; a pair was skipped"),
            }
        }
    } else {
        let Some(name) = key(call, &call.text(0)?.unwrap_or_default()) else {
            return call.answer(false);
        };
        pairs.push((name, call.text(1)?.unwrap_or_default()));
    }
    let stored = with_keys(call, |keys| keys.set(pairs));
    call.answer(stored.is_some())
}

fn get_key(call: &Call<'_>) -> Result<MultiValue, Fault> {
    if call.value(1).is_some() {
        return call.answer(Value::Nil);
    }
    let Some(name) = key(call, &call.text(0)?.unwrap_or_default()) else {
        return call.answer(Value::Nil);
    };
    let found = with_keys(call, |keys| Ok(keys.get(&name).map(<[u8]>::to_vec))).flatten();
    match found {
        Some(value) => call.answer(call.lua.create_string(value)?),
        None => call.answer(Value::Nil),
    }
}

fn match_keys(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let domain = call.number(1).unwrap_or_default();
    if domain != 0.0 {
        return Err(Fault::fatal(format!("{domain} is no domain of keys")));
    }
    let pattern = call.text(0)?.unwrap_or_default();
    let pattern = String::from_utf8_lossy(&pattern);
    let found = with_keys(call, |keys| {
        let pair = |(key, value): (&str, &[u8])| [key.as_bytes(), b"=", value].concat();
        Ok(keys.like(&pattern).map(pair).collect::<Vec<_>>())
    });
    let table = call.lua.create_table()?;
    for pair in found.unwrap_or_default() {
        table.raw_push(call.lua.create_string(pair)?)?;
    }
    call.answer(table)
}
