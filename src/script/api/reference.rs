//! The API table as text: stubs for LuaLS, and the pages of the reference in markdown.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::constants::Constantly;
use super::{CONSTANTS, Entry, Form, Ty, entries, signature};
use super::{
    administer, connect, exec, flags, input, json, keys, library, messages, net, peer, segment,
    streams, tasks, windows,
};
use crate::script::status::KINDS;

/// Tables that go in or come out: class, title, fields.
const TABLES: [(&str, &str, Fields); 14] = [
    (
        "listen_window",
        "Option window of moonport.listen",
        net::WINDOW,
    ),
    ("listen_options", "Options of moonport.listen", net::OPTIONS),
    (
        "connect_options",
        "Options of moonport.connect",
        connect::CONNECT,
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
    (
        "curvecp_client_options",
        "The option `options` of moonport.connect for CurveCP",
        connect::CURVECP,
    ),
    ("stream", "What moonport.stream gives", streams::STREAM),
    ("segment", "What moonport.segment gives", tasks::SEGMENT),
    ("peer", "What moonport.peer gives", peer::PEER),
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
    ("exec_options", "Options of moonport.exec", exec::OPTIONS),
    (
        "key_state",
        "What is in `keys` of a status of kind `keys`",
        administer::KEY_STATE,
    ),
];

/// Name, type in LuaLS notation, what it is.
type Fields = &'static [(&'static str, &'static str, &'static str)];

/// What there is in our tables that is no function: name, type and value in LuaLS notation, what it is.
pub(in crate::script) const VALUES: [(&str, &str, &str, &str); 2] = [
    (
        "moonport.json.null",
        "any",
        "nil",
        "null, as moonport.json has it",
    ),
    (
        "moonport.state",
        "table",
        "{}",
        "What goes from a running program to the one that takes its place: numbers, strings, booleans, and tables \
         of them. While a program is loaded it is empty; docs/reload.md says more.",
    ),
];

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
    for (name, ty, value, doc) in VALUES {
        let _ = writeln!(out, "--- {doc}\n---@type {ty}\n{name} = {value}");
    }
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
        (of_keys, "callback") if of_keys.starts_with("moonport.keys.") => {
            "fun(status: status_keys)"
        }
        ("moonport.listen", "options") => "listen_options",
        ("moonport.window", "options") => "window_options",
        ("moonport.exec", "options") => "exec_options",
        ("moonport.exec", "argv") => "string[]",
        ("moonport.connect", "options") => "connect_options",
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

/// A page of the reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its file, without `.md`.
    pub file: &'static str,
    /// Markdown.
    pub text: String,
}

/// What a page is about, and which rows of the tables stand on it.
struct Theme {
    file: &'static str,
    title: &'static str,
    about: &'static str,
    entries: &'static [&'static [Entry]],
    /// Classes of [`TABLES`].
    tables: &'static [&'static str],
}

const THEMES: [Theme; 9] = [
    Theme {
        file: "listening",
        title: "Listening",
        about: "A listener lets clients in at one address, by one protocol, for one name.",
        entries: &[net::ENTRIES],
        tables: &["listen_options", "listen_window"],
    },
    Theme {
        file: "windows",
        title: "Windows",
        about: "A window lets so many unknown keys in, for so long, by a secret. [Keys](../keys.md#windows) says what \
                they are for, and how they are opened from the command line.",
        entries: &[windows::ENTRIES],
        tables: &["window_options", "window", "window_state"],
    },
    Theme {
        file: "segments",
        title: "Segments",
        about: "A segment is a client that was accepted, or something more that it has asked for. Its vid stands \
                for it.",
        entries: &[
            segment::ENTRIES,
            peer::ENTRIES,
            flags::ENTRIES,
            input::ENTRIES,
        ],
        tables: &["peer"],
    },
    Theme {
        file: "tasks",
        title: "Tasks and timers",
        about: "Tasks wait for what callbacks are told; [Writing scripts](../scripting.md) says how. What is written \
                `segment:` and `timer:` is called with a colon, on what moonport.segment, moonport.after and \
                moonport.every give.",
        entries: &[tasks::ENTRIES],
        tables: &["segment"],
    },
    Theme {
        file: "messages",
        title: "Messages",
        about: "Messages of parts, as ZeroMQ's clients send them, and connections to servers; \
                [ZeroMQ](../protocol/zmtp.md) has the rest. Text for clients of a12 is sent by \
                [message_target](segments.md#message_target).",
        entries: &[connect::ENTRIES, messages::ENTRIES],
        tables: &["connect_options", "zmtp_options"],
    },
    Theme {
        file: "streams",
        title: "Streams",
        about: "Bytes in both directions, as CurveCP's clients have them; [CurveCP](../protocol/curvecp.md) has the \
                rest.",
        entries: &[streams::ENTRIES],
        tables: &["curvecp_options", "curvecp_client_options", "stream"],
    },
    Theme {
        file: "permitted",
        title: "What the host allows",
        about: "Programs for clients, and the keys of some names: only where whoever runs the host has allowed it. \
                [Programs](../exec.md) and [Keys](../keys.md) say how.",
        entries: &[exec::ENTRIES, administer::ENTRIES],
        tables: &["exec_options", "key_state"],
    },
    Theme {
        file: "library",
        title: "A small library",
        about: "JSON, hashes, encodings. `moonport.json.null` is JSON's null.",
        entries: &[json::ENTRIES, library::ENTRIES],
        tables: &[],
    },
    Theme {
        file: "state",
        title: "State",
        about: "Texts by keys, kept from one run of a script to the next. What goes from a running program to the one that \
                takes its place is in the table `moonport.state`, which needs no function: \
                [Loading a script again](../reload.md#moonportstate).",
        entries: &[keys::ENTRIES],
        tables: &[],
    },
];

/// Where everything stands that has no page of its own.
const REST: &str = "others";

/// Global functions that are called if a script defines them: what follows its name, what they are
/// given, when, and what becomes of what they return.
const ENTRY_POINTS: [(&str, &str, &str); 9] = [
    (
        "",
        "words",
        "once, when the file has been run, with the words after `--`; an appl in a folder must have it",
    ),
    (
        "_clock_pulse",
        "clock, 1",
        "every tick, 40 times a second; `clock` is `CLOCK`. After a stop of more than 100 ticks, once",
    ),
    (
        "_clock_pulse_batch",
        "clock, ticks",
        "in place of `_clock_pulse`: once for all the ticks that have passed",
    ),
    (
        "_adopt",
        "vid, segkind, title, parent, more",
        "for each segment that has outlived the script's last process; true keeps it, and target_updatehandler \
         gives it a callback; anything else closes it",
    ),
    (
        "_reload",
        "",
        "when this program is about to take a running one's place, before `_adopt`: the old one's values are in \
         `moonport.state`; an error leaves the old one running",
    ),
    (
        "_input_end",
        "",
        "after each turn in which callbacks were called",
    ),
    ("_shutdown", "{}", "last, before the script ends"),
    (
        "_fatal",
        "text",
        "in `--errors classic`, when an error ends the script; text that it returns is told in place of the error",
    ),
    (
        "_fatal_handover",
        "text",
        "in `--errors classic`, after that; true lets the script go on",
    ),
];

/// The reference in pages: functions by theme, status tables, constants, entry points. `example` is
/// asked for the example of each function, and for `entry_points`.
pub fn reference(example: impl Fn(&str) -> Option<String>) -> Vec<Page> {
    let themed: BTreeSet<_> = THEMES
        .iter()
        .flat_map(|theme| theme.entries.iter().copied().flatten())
        .map(|entry| entry.name)
        .collect();
    let classes: BTreeSet<_> = THEMES.iter().flat_map(|theme| theme.tables).collect();
    let mut pages: Vec<_> = THEMES
        .iter()
        .map(|theme| Page {
            file: theme.file,
            text: functions(
                theme.title,
                theme.about,
                theme.entries.iter().copied().flatten(),
                TABLES
                    .iter()
                    .filter(|table| theme.tables.contains(&table.0)),
                &example,
            ),
        })
        .collect();
    pages.push(Page {
        file: REST,
        text: functions(
            "Others",
            "The script itself, the time, bytes and chance, and what has no page of its own.",
            entries().filter(|entry| !themed.contains(entry.name)),
            TABLES.iter().filter(|table| !classes.contains(&table.0)),
            &example,
        ),
    });
    pages.push(Page {
        file: "entry-points",
        text: entry_points(&example),
    });
    pages.push(Page {
        file: "status",
        text: statuses(),
    });
    pages.push(Page {
        file: "constants",
        text: constants(),
    });
    pages
}

const MADE: &str = "<!-- Made by `moonport reference docs`. -->\n\n";

fn functions<'a>(
    title: &str,
    about: &str,
    entries: impl Iterator<Item = &'a Entry>,
    tables: impl Iterator<Item = &'a (&'a str, &'a str, Fields)>,
    example: impl Fn(&str) -> Option<String>,
) -> String {
    let mut out = format!("{MADE}# {title}\n\n{about}\n");
    for entry in entries {
        let name = entry.name.replace(':', ".");
        function(&mut out, entry, example(&name).map(|text| (name, text)));
    }
    for (class, title, fields) in tables {
        let _ = writeln!(out, "\n## {class}\n\n{title}.\n");
        out.push_str("| field | type | |\n| --- | --- | --- |\n");
        for (name, ty, doc) in *fields {
            let _ = writeln!(out, "| `{name}` | {} | {} |", linked(ty), cell(doc));
        }
    }
    out
}

fn function(out: &mut String, entry: &Entry, example: Option<(String, String)>) {
    let _ = writeln!(out, "\n## {}\n\n```text", entry.name);
    for form in entry.forms {
        let _ = writeln!(out, "{}({})", entry.name, signature(form));
    }
    let _ = writeln!(out, "```\n\n{}", entry.doc);
    let mut named = BTreeSet::new();
    let all = entry.forms.iter().flat_map(|form| form.args);
    let args: Vec<_> = all.filter(|arg| named.insert(arg.name)).collect();
    if !args.is_empty() {
        out.push_str("\n| argument | type | if absent |\n| --- | --- | --- |\n");
    }
    for arg in args {
        let absent = match arg.default {
            None => "",
            Some("") => "none",
            Some(default) => default,
        };
        let ty = linked(luals_type(entry, arg.name, arg.ty));
        let _ = writeln!(out, "| `{}` | {ty} | {} |", arg.name, cell(absent));
    }
    if let Some(form) = entry.forms.first().filter(|form| !form.returns.is_empty()) {
        out.push_str("\n| returns | |\n| --- | --- |\n");
        for ret in form.returns {
            let _ = writeln!(out, "| {} | {} |", linked(ret.ty), cell(ret.name));
        }
    }
    if !entry.bad.is_empty() {
        let _ = writeln!(out, "\n**Bad input.** {}", entry.bad);
    }
    shown(out, example);
}

/// The example of a function, as a block that tests compare with the file that they run.
fn shown(out: &mut String, example: Option<(String, String)>) {
    if let Some((name, example)) = example {
        let _ = writeln!(out, "\n```lua example {name}\n{}\n```", example.trim_end());
    }
}

fn entry_points(example: impl Fn(&str) -> Option<String>) -> String {
    let mut out = format!(
        "{MADE}# Entry points\n\nGlobal functions that are called if a script defines them. Their names begin with \
         the script's: that of its file or folder, NAME here. They are looked up each time, so a script may \
         replace them. A function of the API that has such a name, as in a script `get_key.lua`, is none.\n\n| function | is given | when |\n| --- | --- | --- |\n"
    );
    for (suffix, given, when) in ENTRY_POINTS {
        let _ = writeln!(out, "| `NAME{suffix}` | {given} | {when} |");
    }
    let name = "entry_points".to_owned();
    shown(&mut out, example(&name).map(|text| (name, text)));
    out
}

fn statuses() -> String {
    let mut out = format!(
        "{MADE}# Status kinds\n\nA callback is given a vid and a table; `kind` in it says what has happened, and which \
         other fields there are.\n"
    );
    for kind in &KINDS {
        let _ = writeln!(out, "\n## {}\n\n{}", kind.name, kind.doc);
        if !kind.fields.is_empty() {
            out.push_str("\n| field | type | |\n| --- | --- | --- |\n");
        }
        for field in kind.fields {
            let names: Vec<_> = std::iter::once(field.name)
                .chain(field.also)
                .map(|name| format!("`{name}`"))
                .collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} |",
                names.join(", "),
                cell(field.ty),
                cell(field.doc)
            );
        }
    }
    out
}

fn constants() -> String {
    let mut out = format!(
        "{MADE}# Constants\n\n`APPLID` is the script's name. The others are:\n\n| name | value | |\n| --- | --- | --- |\n"
    );
    for constant in CONSTANTS {
        let value = literal(&constant.value);
        let _ = writeln!(out, "| `{}` | {value} | {} |", constant.name, constant.doc);
    }
    out
}

/// A type for a cell of a table; one that is a table itself leads to its fields.
fn linked(ty: &str) -> String {
    let one = |ty: &str| {
        let class = ty.trim_end_matches("?").trim_end_matches("[]");
        match page_of(class) {
            Some(page) => format!("[{ty}]({page}.md#{class})"),
            None => ty.to_owned(),
        }
    };
    let all: Vec<_> = ty.split('|').map(one).collect();
    all.join("\\|")
}

/// The page on which the fields of a class stand.
fn page_of(class: &str) -> Option<&'static str> {
    let (class, _, _) = TABLES.iter().find(|table| table.0 == class)?;
    let theme = THEMES.iter().find(|theme| theme.tables.contains(class));
    Some(theme.map_or(REST, |theme| theme.file))
}

/// Text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
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

    /// The example of a function, as it lies in the tree.
    fn example(name: &str) -> Option<String> {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples-of-api");
        std::fs::read_to_string(format!("{docs}/{name}.lua")).ok()
    }

    #[test]
    fn the_reference_in_the_tree_is_that_of_the_table() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference");
        for page in reference(example) {
            let path = format!("{docs}/{}.md", page.file);
            let have = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                have == page.text,
                "docs/reference/{}.md is out of date: run `moonport reference docs`",
                page.file
            );
        }
    }

    #[test]
    fn the_reference_has_every_function_and_status_once() {
        let pages = reference(|_| None);
        let count = |name: &str, on_status: bool| {
            let pages = pages
                .iter()
                .filter(|page| (page.file == "status") == on_status);
            let lines = pages.flat_map(|page| page.text.lines());
            lines
                .filter(|line| line.strip_prefix("## ") == Some(name))
                .count()
        };
        for entry in entries() {
            assert_eq!(count(entry.name, false), 1, "{}", entry.name);
        }
        for kind in &KINDS {
            assert_eq!(count(kind.name, true), 1, "{}", kind.name);
        }
    }
}
