//! The API table as text: stubs for LuaLS, and the reference in markdown.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::constants::Constantly;
use super::{CONSTANTS, Entry, Form, Ty, entries};
use super::{messages, net, signature, streams, tasks, windows};
use crate::script::status::KINDS;

/// Tables that go in or come out: class, title, fields.
const TABLES: [(&str, &str, Fields); 10] = [
    (
        "listen_window",
        "Option window of moonport.listen",
        net::WINDOW,
    ),
    ("listen_options", "Options of moonport.listen", net::OPTIONS),
    (
        "connect_options",
        "Options of moonport.connect",
        messages::CONNECT,
    ),
    (
        "zmtp_options",
        "The option `options` of moonport.listen for ZeroMQ",
        messages::ZMTP,
    ),
    (
        "curvecp_options",
        "The option `options` of moonport.listen for CurveCP",
        streams::CURVECP,
    ),
    ("stream", "What moonport.stream gives", streams::STREAM),
    ("segment", "What moonport.segment gives", tasks::SEGMENT),
    (
        "window_options",
        "Options of moonport.window",
        windows::OPTIONS,
    ),
    ("window", "What moonport.window gives", windows::WINDOW),
    (
        "window_state",
        "What moonport.windows gives",
        windows::STATE,
    ),
];

/// Name, type in LuaLS notation, what it is.
type Fields = &'static [(&'static str, &'static str, &'static str)];

/// Definitions of all functions, constants and status tables for the Lua language server.
pub fn stubs() -> String {
    let mut out = String::from(
        "---@meta\n-- Written from the API table by a test; do not edit.\n\n\
         ---@alias vid number a listener or segment; BADID is none\n\n",
    );
    for kind in &KINDS {
        let _ = writeln!(out, "--- {}", kind.doc);
        let _ = writeln!(
            out,
            "---@class status_{0}\n---@field kind \"{0}\"",
            kind.name
        );
        for field in kind.fields {
            for name in std::iter::once(field.name).chain(field.also) {
                let _ = writeln!(out, "---@field {}", luals_field(name, field.ty, field.doc));
            }
        }
        out.push('\n');
    }
    let union: Vec<_> = KINDS
        .iter()
        .map(|kind| format!("status_{}", kind.name))
        .collect();
    let _ = writeln!(out, "---@alias status {}", union.join("|"));
    out.push_str("---@alias callback fun(source: vid, status: status)\n\n");
    for (class, _, fields) in TABLES {
        let _ = writeln!(out, "---@class {class}");
        for (name, ty, doc) in fields {
            let _ = writeln!(out, "---@field {}", luals_field(name, ty, doc));
        }
        out.push('\n');
    }
    for constant in CONSTANTS {
        let _ = writeln!(
            out,
            "--- {}\n{} = {}",
            constant.doc,
            constant.name,
            literal(&constant.value)
        );
    }
    out.push_str("--- the appl's name\nAPPLID = \"\"\n\n");
    let tables: BTreeSet<_> = entries()
        .filter_map(|entry| entry.name.rsplit_once('.'))
        .map(|(table, _)| table)
        .collect();
    for table in tables {
        let _ = writeln!(out, "{table} = {{}}");
    }
    out.push_str("--- null, as moonport.json has it\nmoonport.json.null = nil\n");
    let classes: BTreeSet<_> = entries()
        .filter_map(|entry| entry.name.split_once(':'))
        .map(|(class, _)| class)
        .collect();
    for class in classes {
        let _ = writeln!(out, "\n---@class {class}\nlocal {class} = {{}}");
    }
    for entry in entries() {
        out.push('\n');
        stub(&mut out, entry);
    }
    out
}

/// `name? type doc`.
fn luals_field(name: &str, ty: &str, doc: &str) -> String {
    match ty.strip_suffix('?') {
        Some(ty) => format!("{name}? {ty} {doc}"),
        None => format!("{name} {ty} {doc}"),
    }
}

fn literal(value: &Constantly) -> String {
    match value {
        Constantly::Number(number) => number.to_string(),
        Constantly::Text(text) => format!("{text:?}"),
    }
}

fn luals_type(entry: &Entry, name: &str, ty: Ty) -> &'static str {
    match (entry.name, name) {
        ("moonport.listen", "options") => "listen_options",
        ("moonport.window", "options") => "window_options",
        _ => ty.luals(),
    }
}

fn stub(out: &mut String, entry: &Entry) {
    let _ = writeln!(out, "--- {}", entry.doc);
    if !entry.bad.is_empty() {
        let _ = writeln!(out, "---\n--- {}", entry.bad);
    }
    let Some((first, others)) = entry.forms.split_first() else {
        return;
    };
    for arg in first.args {
        let mark = if arg.default.is_some() { "?" } else { "" };
        let ty = luals_type(entry, arg.name, arg.ty);
        let default = match arg.default {
            None | Some("") => String::new(),
            Some(default) => format!(" default: {default}"),
        };
        let _ = writeln!(out, "---@param {}{mark} {ty}{default}", arg.name);
    }
    for ret in first.returns {
        let _ = writeln!(out, "---@return {} # {}", ret.ty, ret.name);
    }
    for form in others {
        let _ = writeln!(out, "---@overload {}", overload(entry, form));
    }
    let names: Vec<_> = first.args.iter().map(|arg| arg.name).collect();
    let _ = writeln!(out, "function {}({}) end", entry.name, names.join(", "));
}

fn overload(entry: &Entry, form: &Form) -> String {
    let args: Vec<_> = form
        .args
        .iter()
        .map(|arg| {
            let mark = if arg.default.is_some() { "?" } else { "" };
            format!(
                "{}{mark}: {}",
                arg.name,
                luals_type(entry, arg.name, arg.ty)
            )
        })
        .collect();
    let returns: Vec<_> = form.returns.iter().map(|ret| ret.ty).collect();
    let arrow = if returns.is_empty() { "" } else { ": " };
    format!("fun({}){arrow}{}", args.join(", "), returns.join(", "))
}

/// The reference of functions, status tables and constants, in markdown.
pub fn reference() -> String {
    let mut out = String::from("# Reference\n\n## Functions\n");
    let mut all: Vec<_> = entries().collect();
    all.sort_by_key(|entry| entry.name);
    for entry in all {
        let _ = write!(out, "\n### {}\n\n```lua\n", entry.name);
        for form in entry.forms {
            let _ = writeln!(out, "{}({})", entry.name, signature(form));
        }
        let _ = writeln!(out, "```\n\n{}", entry.doc);
        if let Some(form) = entry.forms.first().filter(|form| !form.returns.is_empty()) {
            out.push_str("\nReturns:\n\n");
            for ret in form.returns {
                let _ = writeln!(out, "* {}: {}", ret.ty, ret.name);
            }
        }
        if !entry.bad.is_empty() {
            let _ = writeln!(out, "\nBad input: {}", entry.bad);
        }
    }
    for (_, title, fields) in TABLES {
        let _ = writeln!(
            out,
            "\n### {title}\n\n| field | type | |\n| --- | --- | --- |"
        );
        for (name, ty, doc) in fields {
            let _ = writeln!(out, "| `{name}` | {ty} | {doc} |");
        }
    }
    out.push_str("\n## Status\n\nThe second argument of a callback; `kind` says which.\n");
    for kind in &KINDS {
        let _ = writeln!(out, "\n### status {}\n\n{}", kind.name, kind.doc);
        out.push_str("\n| field | type | |\n| --- | --- | --- |\n");
        for field in kind.fields {
            let names: Vec<_> = std::iter::once(field.name)
                .chain(field.also)
                .map(|name| format!("`{name}`"))
                .collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                names.join(", "),
                field.ty,
                field.doc
            );
        }
    }
    out.push_str("\n## Constants\n\n| name | value | |\n| --- | --- | --- |\n");
    for constant in CONSTANTS {
        let value = literal(&constant.value);
        let _ = writeln!(out, "| `{}` | {value} | {} |", constant.name, constant.doc);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stubs_in_the_tree_are_those_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/lua/moonport.d.lua");
        let want = stubs();
        if std::env::var_os("MOONPORT_WRITE_STUBS").is_some() {
            std::fs::write(path, &want).unwrap();
        }
        let have = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            have == want,
            "lua/moonport.d.lua is out of date: run this test with MOONPORT_WRITE_STUBS=1"
        );
    }

    #[test]
    fn the_stubs_are_lua() {
        mlua::Lua::new().load(stubs()).exec().unwrap();
    }

    #[test]
    fn the_reference_has_every_function_and_status() {
        let text = reference();
        for entry in entries() {
            assert!(text.contains(&format!("\n### {}\n", entry.name)));
        }
        for kind in &KINDS {
            assert!(text.contains(&format!("\n### status {}\n", kind.name)));
        }
    }
}
