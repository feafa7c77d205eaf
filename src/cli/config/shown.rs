//! `moonport config`: what is in force, and all that could be.

use std::fmt::Write as _;

use clap::CommandFactory;
use serde::Serialize;
use serde_json::Value;

use super::{Key, Kind, RUN, Said, Table, keys, plain};
use crate::cli::args::{Cli, Config};
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, printable};

pub(in crate::cli) fn run(config: &Config, said: &Said, out: &Output) -> Result<Exit, Failure> {
    if config.default {
        return out.raw(documented().as_bytes()).map(|()| Exit::Done);
    }
    let command = Cli::command();
    let rows: Vec<_> = keys(&command).map(|key| InForce::of(&key, said)).collect();
    let file = said
        .file
        .as_ref()
        .map(|file| file.path.display().to_string());
    if config.json.json {
        return out
            .json(&serde_json::json!({ "file": file, "keys": rows }))
            .map(|()| Exit::Done);
    }
    match file {
        Some(file) => out.line(format_args!("file: {}", printable(&file)))?,
        None => out.line("file: none")?,
    }
    let row = |row: &InForce| {
        let value = match &row.value {
            Value::Null => "-".to_owned(),
            value => value.to_string(),
        };
        let from = match (row.from, row.line) {
            (From::File, Some(line)) => format!("line {line}"),
            (from, _) => from.as_str().to_owned(),
        };
        [row.key.clone(), printable(&value), from]
    };
    let rows: Vec<_> = rows.iter().map(row).collect();
    out.table(["KEY", "VALUE", "FROM"], &rows)?;
    Ok(Exit::Done)
}

/// A key and its value, for programs.
#[derive(Serialize)]
struct InForce {
    key: String,
    /// As in the file; null where nothing is said.
    value: Value,
    from: From,
    /// Of the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum From {
    Default,
    File,
    Flag,
}

impl From {
    fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Flag => "flag",
        }
    }
}

impl InForce {
    fn of(key: &Key<'_>, said: &Said) -> Self {
        let mut flags = said.flags.iter();
        let flag = flags.find(|(name, _)| key.table == Table::Global && name == key.name());
        let mut settings = said.file.iter().flat_map(|file| &file.settings);
        let set = settings.find(|it| it.table == key.table && it.key == key.name());
        let (value, from, line) = match (flag, set) {
            (Some((_, values)), _) => (Some(key.value(values)), From::Flag, None),
            (None, Some(set)) => (Some(key.value(&set.values)), From::File, Some(set.line)),
            (None, None) => (key.default(), From::Default, None),
        };
        Self {
            key: format!("{}{}", key.table, key.name()),
            value: value.unwrap_or_default(),
            from,
            line,
        }
    }
}

impl Key<'_> {
    /// The value that texts stand for, as the file has it.
    pub(super) fn value(&self, values: &[String]) -> Value {
        let one = |text: &String| match self.kind {
            Kind::Switch => (text == "true").into(),
            Kind::Number => text.parse::<u64>().map_or(Value::Null, Value::from),
            Kind::Text => text.as_str().into(),
        };
        match self.many {
            true => values.iter().map(one).collect(),
            false => values.last().map(one).unwrap_or_default(),
        }
    }

    /// What is in force where nothing is said; `None`: nothing.
    fn default(&self) -> Option<Value> {
        let values = self.arg.get_default_values().iter();
        let values: Vec<_> = values.map(|it| it.to_string_lossy().into_owned()).collect();
        match (values.is_empty(), self.kind, self.many) {
            (true, Kind::Switch, _) => Some(false.into()),
            (true, _, true) => Some(Value::Array(Vec::new())),
            (true, ..) => None,
            (false, ..) => Some(self.value(&values)),
        }
    }

    /// The line of a key, commented out: its default, or what is to stand there.
    fn line(&self) -> String {
        let value = self.default().unwrap_or_else(|| {
            let names = self.arg.get_value_names().unwrap_or_default();
            let name = names.first().map_or("VALUE", |name| name.as_str());
            match self.kind {
                Kind::Number => 0.into(),
                _ => name.into(),
            }
        });
        // What JSON writes of strings, numbers, booleans and arrays of them, TOML reads.
        format!("#{} = {value}", self.name())
    }
}

/// A file with every key, its default and what it is for; nothing in it is in force.
pub(super) fn documented() -> String {
    let mut text = String::new();
    comment(&mut text, HEAD);
    let command = Cli::command();
    let mut table = Table::Global;
    for key in keys(&command) {
        if key.table != table {
            table = key.table;
            let about = command.find_subcommand(RUN).and_then(|run| run.get_about());
            text.push('\n');
            comment(&mut text, &format!("moonport run: {}", plain(about)));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[{RUN}]");
        }
        text.push('\n');
        comment(&mut text, &plain(key.arg.get_help()));
        let values = match key.kind {
            Kind::Switch => Vec::new(),
            Kind::Number | Kind::Text => key.arg.get_possible_values(),
        };
        for value in values.iter().filter(|value| !value.is_hide_set()) {
            let help = plain(value.get_help());
            comment(&mut text, &format!("- {}: {help}", value.get_name()));
        }
        text.push_str(&key.line());
        text.push('\n');
    }
    text
}

/// Adds a text as a comment, in lines that are not too long.
fn comment(to: &mut String, text: &str) {
    for line in text.lines() {
        let mut width = 0;
        for word in line.split_whitespace() {
            let long = word.chars().count() + 1;
            if width == 0 || width + long > WIDTH {
                to.push_str(if width == 0 { "#" } else { "\n#" });
                width = 0;
            }
            to.push(' ');
            to.push_str(word);
            width += long;
        }
        to.push_str(if width == 0 { "#\n" } else { "\n" });
    }
}

const WIDTH: usize = 96;

const HEAD: &str = "\
The configuration of moonport, with every key there is: ~/.config/moonport/moonport.toml, or \
/etc/moonport/moonport.toml, or what --config names. Nothing here is in force: each key shows what \
holds without it, or in capitals what it would take.

Each key is a long flag, and the flag wins. Paths begin at the folder of this file. Only its owner, \
who is you or root, may be able to write it.";
