//! `moonport.state`: the plain table that goes from one process of a script to the next.

use std::fmt::Write;

use mlua::{Lua, LuaString, Table, Value};
use serde::{Deserialize, Serialize};

/// The most bytes of it.
pub(super) const MOST: usize = 1 << 20;

/// How deep tables may lie in tables.
const DEEPEST: usize = 32;

/// What may be in it.
#[derive(Debug, Serialize, Deserialize)]
enum Plain {
    Flag(bool),
    Number(f64),
    Text(#[serde(with = "serde_bytes")] Vec<u8>),
    Table(Vec<(Self, Self)>),
}

/// The bytes of `moonport.state`; or what is in it that cannot be handed over, and where.
pub(super) fn save(lua: &Lua) -> Result<Vec<u8>, String> {
    let table = state(lua)?;
    let mut path = "moonport.state".to_owned();
    let mut left = MOST;
    let plain = entries(&table, &mut path, 0, &mut left)?;
    let bytes = postcard::to_allocvec(&plain).map_err(|error| error.to_string())?;
    match bytes.len() > MOST {
        true => Err(too_large(&path)),
        false => Ok(bytes),
    }
}

/// Puts what was saved into `moonport.state`, over what is there.
pub(super) fn restore(lua: &Lua, bytes: &[u8]) -> Result<(), String> {
    let table = state(lua)?;
    let plain: Vec<(Plain, Plain)> =
        postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
    for (key, value) in plain {
        let set = key_and_value(lua, key, value).and_then(|(key, value)| table.raw_set(key, value));
        set.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The table, if the script has left it one.
pub(super) fn state(lua: &Lua) -> Result<Table, String> {
    let moonport = lua.globals().raw_get::<Table>("moonport");
    match moonport.and_then(|moonport| moonport.raw_get("state")) {
        Ok(Value::Table(table)) => Ok(table),
        Ok(other) => Err(format!(
            "moonport.state is a {}; it has to be a table",
            other.type_name()
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn too_large(path: &str) -> String {
    format!("{path} does not fit: moonport.state may have {MOST} bytes in all")
}

fn entries(
    table: &Table,
    path: &mut String,
    depth: usize,
    left: &mut usize,
) -> Result<Vec<(Plain, Plain)>, String> {
    if depth > DEEPEST {
        return Err(format!(
            "{path} lies deeper than {DEEPEST} tables, or contains itself"
        ));
    }
    if table.metatable().is_some() {
        return Err(format!(
            "{path} has a metatable, which cannot be handed over"
        ));
    }
    let mut found = Vec::new();
    // Without metamethods: nothing of the script runs here.
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair.map_err(|error| error.to_string())?;
        let length = path.len();
        name(path, &key);
        let key = plain(&key, path, None, left)?;
        let value = plain(&value, path, Some(depth), left)?;
        path.truncate(length);
        found.push((key, value));
    }
    Ok(found)
}

/// Adds a key to the way to a value, as one would write it.
fn name(path: &mut String, key: &Value) {
    let text = |text: &LuaString| text.to_string_lossy();
    let _ = match key {
        Value::String(key) => {
            let key: String = text(key).chars().take(60).collect();
            let word = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            match word && !key.starts_with(|c: char| c.is_ascii_digit()) && !key.is_empty() {
                true => write!(path, ".{key}"),
                false => write!(path, "[{key:?}]"),
            }
        }
        Value::Integer(number) => write!(path, "[{number}]"),
        Value::Number(number) => write!(path, "[{number}]"),
        Value::Boolean(flag) => write!(path, "[{flag}]"),
        other => write!(path, "[a {}]", other.type_name()),
    };
}

/// A value; `depth`: how deep its table lies, if it may be a table itself.
fn plain(
    value: &Value,
    path: &mut String,
    depth: Option<usize>,
    left: &mut usize,
) -> Result<Plain, String> {
    let size = match value {
        Value::String(text) => text.as_bytes().len() + 8,
        _ => 8,
    };
    *left = left.checked_sub(size).ok_or_else(|| too_large(path))?;
    Ok(match (value, depth) {
        (Value::Boolean(flag), _) => Plain::Flag(*flag),
        (Value::Integer(number), _) => Plain::Number(*number as f64),
        (Value::Number(number), _) => Plain::Number(*number),
        (Value::String(text), _) => Plain::Text(text.as_bytes().to_vec()),
        (Value::Table(table), Some(depth)) => Plain::Table(entries(table, path, depth + 1, left)?),
        (other, depth) => {
            let what = other.type_name();
            let key = if depth.is_none() { " as a key" } else { "" };
            return Err(format!(
                "{path} is a {what}{key}; only numbers, strings, booleans and tables of them can be handed over"
            ));
        }
    })
}

fn key_and_value(lua: &Lua, key: Plain, value: Plain) -> mlua::Result<(Value, Value)> {
    Ok((into_lua(lua, key)?, into_lua(lua, value)?))
}

fn into_lua(lua: &Lua, plain: Plain) -> mlua::Result<Value> {
    Ok(match plain {
        Plain::Flag(flag) => Value::Boolean(flag),
        Plain::Number(number) => Value::Number(number),
        Plain::Text(bytes) => Value::String(lua.create_string(bytes)?),
        Plain::Table(pairs) => {
            let table = lua.create_table()?;
            for (key, value) in pairs {
                let (key, value) = key_and_value(lua, key, value)?;
                table.raw_set(key, value)?;
            }
            Value::Table(table)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(program: &str) -> Lua {
        let lua = Lua::new();
        lua.load("moonport = { state = {} }").exec().unwrap();
        lua.load(program).exec().unwrap();
        lua
    }

    fn handed_over(from: &str, to: &str, shown: &str) -> String {
        let bytes = save(&vm(from)).unwrap();
        let heir = vm(to);
        restore(&heir, &bytes).unwrap();
        heir.load(format!("return tostring({shown})"))
            .eval()
            .unwrap()
    }

    #[test]
    fn what_is_plain_is_the_same_afterwards() {
        let from = r#"local s = moonport.state
            s.n, s.t, s.f, s[3], s["a b"] = 1.5, "x\0y", false, { 1, 2, { z = true } }, -0"#;
        let same = r#"(function(s) return s.n == 1.5 and s.t == "x\0y" and s.f == false
            and s[3][2] == 2 and s[3][3].z and s["a b"] == 0 end)(moonport.state)"#;
        assert_eq!(handed_over(from, "", same), "true");
    }

    #[test]
    fn what_the_new_program_has_set_itself_stays_unless_the_old_one_had_it_too() {
        let from = "moonport.state.count = 7";
        let to = "kept = moonport.state; kept.count, kept.new = 0, 1";
        assert_eq!(handed_over(from, to, "kept.count .. kept.new"), "71");
    }

    #[test]
    fn what_cannot_be_handed_over_is_told_with_the_way_to_it() {
        for (program, told) in [
            (
                "moonport.state.a = { b = { print } }",
                "moonport.state.a.b[1] is a function",
            ),
            (
                "moonport.state['a b'] = setmetatable({}, {})",
                "moonport.state[\"a b\"] has a metatable",
            ),
            (
                "moonport.state.x = {}; moonport.state.x.x = moonport.state.x",
                "contains itself",
            ),
            ("moonport.state[{}] = 1", "[a table] is a table as a key"),
            (
                "moonport.state.co = coroutine.create(print)",
                "moonport.state.co is a thread",
            ),
            (
                "moonport.state.s = ('x'):rep(2^20)",
                "moonport.state.s does not fit",
            ),
            ("moonport.state = 5", "moonport.state is a "),
        ] {
            let error = save(&vm(program)).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
