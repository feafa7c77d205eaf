//! Values as people read them, and the names that there are. Nothing of the script runs for that:
//! metamethods are not called.

use std::cmp::Ordering;
use std::fmt::Write;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::text::cut;
use super::words::KEYWORDS;

/// The most bytes of one value, and of all together: they fit into one message.
const MOST: usize = 8 * 1024;
const MOST_IN_ALL: usize = 40 * 1024;

/// The most bytes of a string within a table.
const MOST_WITHIN: usize = 200;

/// As many entries of a table are shown; of more than this many it is not said how many there are.
const ENTRIES: usize = 50;
const COUNTED: usize = 10_000;

/// How many levels of tables are shown.
const LEVELS: usize = 2;

/// Up to so many characters a table stands on one line.
const LINE: usize = 72;

/// As many names are told, each of at most so many bytes: they fit into one message.
const NAMES: usize = 900;
const NAME: usize = 64;

/// Each of some values.
pub(super) fn values(lua: &Lua, values: &MultiValue) -> Vec<String> {
    let mut shown = Vec::new();
    let mut left = MOST_IN_ALL;
    for value in values {
        let mut text = String::new();
        show(lua, value, 0, &mut text);
        if text.len() > MOST {
            let bytes = text.len();
            text.truncate(cut(&text, MOST).len());
            let _ = write!(text, "… ({bytes} bytes in all)");
        }
        // Many that are short cost something, too.
        match left.checked_sub(text.len() + 8) {
            Some(rest) => left = rest,
            None => {
                shown.push(format!("… {} more values", values.len() - shown.len()));
                break;
            }
        }
        shown.push(text);
    }
    shown
}

fn show(lua: &Lua, value: &Value, level: usize, out: &mut String) {
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Nil => write!(out, "nil"),
        Value::Boolean(flag) => write!(out, "{flag}"),
        Value::Integer(number) => write!(out, "{number}"),
        Value::Number(number) => match lua.coerce_string(Value::Number(*number)) {
            Ok(Some(text)) => write!(out, "{}", text.to_string_lossy()),
            _ => write!(out, "{number}"),
        },
        Value::String(text) => {
            quote(text, if level == 0 { MOST } else { MOST_WITHIN }, out);
            Ok(())
        }
        Value::Table(table) => {
            show_table(lua, table, level, out);
            Ok(())
        }
        Value::Function(function) => {
            let info = function.info();
            let place = info.short_src.zip(info.line_defined);
            match place.filter(|(file, _)| !file.starts_with('[')) {
                Some((file, line)) => write!(out, "function: {file}:{line}"),
                None => write!(out, "function: built in"),
            }
        }
        Value::Error(error) => write!(out, "error: {error}"),
        other => write!(out, "{}", other.type_name()),
    };
}

/// As it would be written in a program.
fn quote(text: &LuaString, most: usize, out: &mut String) {
    let bytes = text.as_bytes();
    out.push('"');
    for chunk in bytes.get(..most).unwrap_or(&bytes).utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_ascii_control() => escape(c as u8, out),
                c => out.push(c),
            }
        }
        for byte in chunk.invalid() {
            escape(*byte, out);
        }
    }
    out.push('"');
    if bytes.len() > most {
        let _ = write!(out, "… ({} bytes)", bytes.len());
    }
}

fn escape(byte: u8, out: &mut String) {
    let _ = write!(out, "\\{byte:03}");
}

fn show_table(lua: &Lua, table: &Table, level: usize, out: &mut String) {
    let pairs = table.pairs::<Value, Value>();
    let mut pairs: Vec<_> = pairs.take(COUNTED + 1).filter_map(Result::ok).collect();
    if pairs.is_empty() {
        return out.push_str("{}");
    }
    if level >= LEVELS {
        return out.push_str("{…}");
    }
    pairs.sort_by(|(a, _), (b, _)| order(a, b));
    let mut entries = Vec::new();
    let mut next = 1.0;
    for (key, value) in pairs.iter().take(ENTRIES) {
        let mut entry = String::new();
        match number(key) {
            // As in a list.
            Some(number) if number == next => next += 1.0,
            _ => {
                show_key(lua, key, &mut entry);
                entry.push_str(" = ");
            }
        }
        show(lua, value, level + 1, &mut entry);
        entries.push(entry);
    }
    match pairs.len().checked_sub(ENTRIES) {
        None | Some(0) => {}
        Some(_) if pairs.len() > COUNTED => entries.push(format!("… over {COUNTED} in all")),
        Some(more) => entries.push(format!("… {more} more")),
    }
    let line = entries.join(", ");
    if level > 0 || line.chars().count() <= LINE {
        let _ = write!(out, "{{ {line} }}");
    } else {
        let _ = write!(out, "{{\n  {},\n}}", entries.join(",\n  "));
    }
}

fn show_key(lua: &Lua, key: &Value, out: &mut String) {
    match key {
        Value::String(name) if is_name(&name.as_bytes()) => out.push_str(&name.to_string_lossy()),
        other => {
            out.push('[');
            // A table as a key is not looked into.
            show(lua, other, LEVELS, out);
            out.push(']');
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        _ => None,
    }
}

/// Numbers, then strings, then the others.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Integer(_) | Value::Number(_) => 0,
        Value::String(_) => 1,
        _ => 2,
    };
    match (a, b) {
        (Value::String(a), Value::String(b)) => a.as_bytes().cmp(&b.as_bytes()),
        _ => match (number(a), number(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => rank(a).cmp(&rank(b)),
        },
    }
}

/// Whether a key can be written as a name.
fn is_name(key: &[u8]) -> bool {
    let word = |c: &u8| c.is_ascii_alphanumeric() || *c == b'_';
    let keyword = || KEYWORDS.iter().any(|word| word.as_bytes() == key);
    key.iter().all(word) && key.first().is_some_and(|c| !c.is_ascii_digit()) && !keyword()
}

/// The names in a table, `a.b`; of an empty path, those of the globals.
pub(super) fn names(lua: &Lua, path: &str) -> Vec<String> {
    let mut table = lua.globals();
    for name in path.split('.').filter(|name| !name.is_empty()) {
        match table.raw_get(name) {
            Ok(Value::Table(inner)) => table = inner,
            _ => return Vec::new(),
        }
    }
    let keys = table.pairs::<Value, Value>().take(COUNTED);
    let names = keys.filter_map(|pair| match pair {
        Ok((Value::String(key), _)) if is_name(&key.as_bytes()) => Some(key.to_string_lossy()),
        _ => None,
    });
    let mut names: Vec<String> = names.filter(|name| name.len() <= NAME).collect();
    names.sort();
    names.truncate(NAMES);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(expression: &str) -> Vec<String> {
        let lua = Lua::new();
        let chunk = lua.load(format!("return {expression}"));
        values(&lua, &chunk.eval::<MultiValue>().unwrap())
    }

    #[test]
    fn values_are_shown_as_they_are_written() {
        for (value, text) in [
            ("nil", "nil"),
            ("true", "true"),
            ("12", "12"),
            ("0.1", "0.1"),
            ("2^53", "9007199254740992"),
            ("2^70", "1.1805916207174e+21"),
            ("1/0", "inf"),
            (
                r#""a\"b\\\n\t\0é\27[2J\255""#,
                r#""a\"b\\\n\t\000é\027[2J\255""#,
            ),
            ("print", "function: built in"),
            ("coroutine.create(print)", "thread"),
            ("{}", "{}"),
            ("{1, 'two', {3}}", r#"{ 1, "two", { 3 } }"#),
            (
                "{b = 1, a = {c = {}, d = {1}}, [10] = 0, ['x y'] = 2, ['end'] = 3, [true] = 4}",
                r#"{ [10] = 0, a = { c = {}, d = {…} }, b = 1, ["end"] = 3, ["x y"] = 2, [true] = 4 }"#,
            ),
            ("{nil, 2}", "{ [2] = 2 }"),
            ("{[{}] = 1}", "{ [{}] = 1 }"),
        ] {
            let lines = shown(value);
            let one_line: Vec<_> = lines
                .iter()
                .map(|it| it.replace("\n  ", " ").replace(",\n}", " }"))
                .collect();
            assert_eq!(one_line, [text], "{value}");
        }
        assert_eq!(shown("1, nil, 'x'"), ["1", "nil", "\"x\""]);
        assert_eq!(shown("(function() end)()"), Vec::<String>::new());
    }

    #[test]
    fn a_long_table_has_a_line_for_each_entry() {
        let text = shown("{first = ('x'):rep(40), second = ('y'):rep(40)}");
        let lines: Vec<_> = text[0].lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].starts_with("  first = \"xxx"), "{lines:?}");
        assert_eq!((lines[0], lines[3]), ("{", "}"));
    }

    #[test]
    fn a_function_is_shown_with_its_place() {
        let lua = Lua::new();
        let chunk = lua.load("\nreturn function() end").set_name("@echo.lua");
        let function = chunk.eval::<MultiValue>().unwrap();
        assert_eq!(values(&lua, &function), ["function: echo.lua:2"]);
    }

    #[test]
    fn what_is_too_much_is_cut_and_that_is_said() {
        let long = shown("('x'):rep(100000)");
        assert!(long[0].ends_with("bytes in all)"), "{}", &long[0][8000..]);
        let many = shown("(function() local t = {} for i = 1, 200 do t[i] = i end return t end)()");
        assert!(many[0].ends_with("… 150 more,\n}"), "{many:?}");
        let large =
            shown("(function() local t = {} for i = 1, 20000 do t[i] = i end return t end)()");
        assert!(large[0].contains("over 10000 in all"), "{large:?}");
        let values = shown(
            "unpack((function() local t = {} for i = 1, 7000 do t[i] = i end return t end)())",
        );
        let last = values.last().unwrap();
        assert_eq!(
            *last,
            format!("… {} more values", 7000 - (values.len() - 1))
        );
        let itself = shown("(function() local t = {} t.t = t return t end)()");
        assert_eq!(itself, ["{ t = { t = {…} } }"]);
    }

    #[test]
    fn nothing_of_the_script_runs() {
        let table = "setmetatable({a = 1}, {__index = error, __pairs = error, __tostring = error, __len = error})";
        assert_eq!(shown(table), ["{ a = 1 }"]);
    }

    #[test]
    fn names_are_those_of_the_table() {
        let lua = Lua::new();
        lua.load("a = {b = {one = 1, ['t wo'] = 2, [3] = 3}}; setmetatable(a, {__index = error})")
            .exec()
            .unwrap();
        assert_eq!(names(&lua, "a.b"), ["one"]);
        assert_eq!(names(&lua, "a"), ["b"]);
        assert!(names(&lua, "").contains(&"a".to_owned()));
        for path in ["a.c", "a.b.one", "x.y", "..", "a.b.c.d"] {
            let found = names(&lua, path);
            assert!(found.is_empty() || path == "..", "{path}: {found:?}");
        }
    }

    proptest! {
        #[test]
        fn any_string_reads_the_same_where_it_is_whole(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let lua = Lua::new();
            let text = lua.create_string(&bytes).unwrap();
            let shown = values(&lua, &MultiValue::from_iter([Value::String(text)]));
            let again: LuaString = lua.load(format!("return {}", shown[0])).eval().unwrap();
            prop_assert_eq!(&*again.as_bytes(), &bytes[..]);
        }
    }
}
