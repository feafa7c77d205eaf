//! JSON (RFC 8259).

use std::collections::BTreeMap;
use std::fmt;

use mlua::{Lua, MultiValue, Table, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{Call, Entry, Ty, arg, entry, form, opt, ret};
use crate::script::errors::Fault;

/// The most arrays and objects inside each other.
const MAX_DEPTH: usize = 64;

/// The longest text, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// What marks a table as an array, in the registry of the VM.
const ARRAY: &str = "moonport.json.array";

pub(super) const ENTRIES: &[Entry] = &[
    entry(
        "moonport.json.encode",
        &[form(
            &[opt("value", Ty::Any, "nil")],
            &[ret("string", "the text, without spaces")],
        )],
        encode,
        "A value as JSON. A table with the keys 1 to n is an array; one whose keys are all strings is an object, its keys in order; an empty one is an object, unless moonport.json.array has marked it. moonport.json.null is null, and so is nil.",
        "Functions and the like, mixed keys, text that is not UTF-8, numbers that are not finite, more than 64 tables inside each other or 16 MiB of text: a Lua error that says where in the value.",
    ),
    entry(
        "moonport.json.decode",
        &[form(&[arg("text", Ty::Text)], &[ret("any", "the value")])],
        decode,
        "The value of JSON. Arrays come as moonport.json.array marks them, null as moonport.json.null, numbers as Lua has them: whole ones are exact up to 2^53. Of a key that comes twice the last value counts.",
        "Text that is not JSON, more than 64 arrays and objects inside each other or 16 MiB of text: a Lua error that says line and column.",
    ),
    entry(
        "moonport.json.array",
        &[form(
            &[opt("table", Ty::Table, "{}")],
            &[ret("table", "the same table")],
        )],
        array,
        "Marks a table as an array, so that it is one in JSON even if it is empty.",
        "A table that has a metatable: a Lua error.",
    ),
];

/// What JSON's null is in Lua.
pub(super) fn null() -> Value {
    Value::NULL
}

fn marks(lua: &Lua) -> mlua::Result<Table> {
    if let Some(marks) = lua.named_registry_value::<Option<Table>>(ARRAY)? {
        return Ok(marks);
    }
    let marks = lua.create_table_from([("__metatable", "array")])?;
    lua.set_named_registry_value(ARRAY, &marks)?;
    Ok(marks)
}

fn array(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let table = match call.table(0) {
        Some(table) => table.clone(),
        None => call.lua.create_table()?,
    };
    let marks = marks(call.lua)?;
    if table.metatable().is_some_and(|own| own != marks) {
        return Err(Fault::plain("this table has a metatable of its own"));
    }
    table.set_metatable(Some(marks))?;
    call.answer(table)
}

// ---- to JSON

fn encode(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let mut writer = Writer {
        out: Vec::new(),
        path: Vec::new(),
        marks: marks(call.lua)?,
    };
    writer.value(call.value(0).unwrap_or(&Value::Nil))?;
    call.answer(call.lua.create_string(writer.out)?)
}

struct Writer {
    out: Vec<u8>,
    /// Where in the value it is.
    path: Vec<String>,
    marks: Table,
}

impl Writer {
    fn value(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::Nil => self.put(b"null"),
            value if *value == null() => self.put(b"null"),
            Value::Boolean(true) => self.put(b"true"),
            Value::Boolean(false) => self.put(b"false"),
            Value::Integer(number) => self.put(number.to_string().as_bytes()),
            Value::Number(number) if !number.is_finite() => {
                Err(self.wrong(&format!("{number} is no number of JSON")))
            }
            Value::Number(number) if number.fract() == 0.0 && number.abs() < 1e15 => {
                self.put(format!("{number:.0}").as_bytes())
            }
            Value::Number(number) => self.put(number.to_string().as_bytes()),
            Value::String(text) => match text.to_str() {
                Ok(text) => self.text(&text),
                Err(_) => Err(self.wrong("this text is not UTF-8")),
            },
            Value::Table(table) => self.table(table),
            other => Err(self.wrong(&format!("a {} has no JSON", other.type_name()))),
        }
    }

    fn table(&mut self, table: &Table) -> Result<(), Fault> {
        if self.path.len() >= MAX_DEPTH {
            return Err(self.wrong("more than 64 tables inside each other"));
        }
        let count = table.raw_len();
        let marked = table.metatable().is_some_and(|own| own == self.marks);
        if marked || count > 0 {
            return self.array(table, count);
        }
        let mut members = BTreeMap::new();
        for pair in table.pairs::<Value, Value>() {
            let (Value::String(key), value) = pair? else {
                return Err(self.wrong("the keys are neither 1 to n nor all strings"));
            };
            members.insert(key.as_bytes().to_vec(), value);
        }
        self.put(b"{")?;
        for (at, (key, value)) in members.iter().enumerate() {
            if at > 0 {
                self.put(b",")?;
            }
            let Ok(key) = std::str::from_utf8(key) else {
                return Err(self.wrong("a key is not UTF-8"));
            };
            self.text(key)?;
            self.put(b":")?;
            self.path.push(format!(".{key}"));
            self.value(value)?;
            self.path.pop();
        }
        self.put(b"}")
    }

    fn array(&mut self, table: &Table, count: usize) -> Result<(), Fault> {
        let mut keys = 0;
        for pair in table.pairs::<Value, Value>() {
            pair?;
            keys += 1;
        }
        if keys != count {
            return Err(self.wrong("the keys are neither 1 to n nor all strings"));
        }
        self.put(b"[")?;
        for at in 1..=count {
            if at > 1 {
                self.put(b",")?;
            }
            self.path.push(format!("[{at}]"));
            self.value(&table.raw_get(at)?)?;
            self.path.pop();
        }
        self.put(b"]")
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        let text = serde_json::to_string(text).map_err(|error| self.wrong(&error.to_string()))?;
        self.put(text.as_bytes())
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if self.out.len() + bytes.len() > MAX_BYTES {
            return Err(self.wrong("more than 16 MiB of text"));
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn wrong(&self, what: &str) -> Fault {
        match self.path.as_slice() {
            [] => Fault::plain(what),
            path => Fault::plain(format!("at {}: {what}", path.concat())),
        }
    }
}

// ---- from JSON

fn decode(call: &Call<'_>) -> Result<MultiValue, Fault> {
    let text = call.text(0)?.unwrap_or_default();
    if text.len() > MAX_BYTES {
        return Err(Fault::plain("more than 16 MiB of text"));
    }
    let marks = marks(call.lua)?;
    let seed = Seed {
        lua: call.lua,
        marks: &marks,
        depth: 0,
    };
    let mut reader = serde_json::Deserializer::from_slice(&text);
    let value = seed.deserialize(&mut reader);
    match value.and_then(|value| reader.end().map(|()| value)) {
        Ok(value) => call.answer(value),
        Err(error) => Err(Fault::plain(error.to_string())),
    }
}

/// Makes Lua's values as they are read, so that what they take is within the script's limit.
#[derive(Clone, Copy)]
struct Seed<'a> {
    lua: &'a Lua,
    marks: &'a Table,
    depth: usize,
}

impl Seed<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(
                "more than 64 arrays and objects inside each other",
            ));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(null())
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Boolean(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        let text = self.lua.create_string(text).map_err(E::custom)?;
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let table = self.lua.create_table().map_err(A::Error::custom)?;
        while let Some(value) = values.next_element_seed(inner)? {
            table.raw_push(value).map_err(A::Error::custom)?;
        }
        let marks = Some(self.marks.clone());
        table.set_metatable(marks).map_err(A::Error::custom)?;
        Ok(Value::Table(table))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let table = self.lua.create_table().map_err(A::Error::custom)?;
        while let Some(key) = members.next_key::<String>()? {
            let value = members.next_value_seed(inner)?;
            table.raw_set(key, value).map_err(A::Error::custom)?;
        }
        Ok(Value::Table(table))
    }
}
