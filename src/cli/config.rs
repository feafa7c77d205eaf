//! The configuration file: flags, written down. Each key is the name of a long flag, and means what
//! the flag means; the keys, their types and their defaults come from the one definition of the
//! flags, so that there is nothing to keep in step.
//!
//! What the file says takes the place of a flag's default, so a flag wins over it.

mod shown;
mod trust;

use std::any::TypeId;
use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, ValueHint};
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::args::Cli;
use super::exit::{Exit, Failure, OrExit};
pub(super) use shown::run;

/// A command line that is not followed.
pub(super) enum Stop {
    /// It is wrong, or asks for help.
    Line(clap::Error),
    /// The file is wrong.
    File(Failure),
}

/// What a command line says, and what it leaves to the file.
pub(super) struct Line {
    pub(super) cli: Cli,
    pub(super) said: Said,
}

/// What was said beside the command itself, and where.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// The file, if there is one.
    file: Option<File>,
    /// Keys that the command line has flags for, and what these say.
    flags: Vec<(String, Vec<String>)>,
}

/// A configuration file that makes sense.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    settings: Vec<Setting>,
}

/// A key and what the file says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    table: Table,
    key: String,
    /// As the flag would take them.
    values: Vec<String>,
    /// Where it stands.
    line: usize,
}

/// Which flags a key is among.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Table {
    /// Those of every command: no table.
    Global,
    /// Those of `moonport run`: `[run]`.
    Run,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Switch,
    Number,
    Text,
}

/// A flag, as a key.
struct Key<'a> {
    table: Table,
    arg: &'a clap::Arg,
    kind: Kind,
    /// It takes an array.
    many: bool,
}

/// Why a text is no configuration; lines and columns begin at 1.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: {why}")]
pub(super) struct Wrong {
    line: usize,
    column: usize,
    why: String,
}

/// Reads the command line, and the file where the command takes anything from one.
pub(super) fn command_line(words: Vec<OsString>) -> Result<Line, Stop> {
    let said = Cli::command()
        .try_get_matches_from(&words)
        .map_err(Stop::Line)?;
    let (read, wanted) = {
        let cli = Cli::from_arg_matches(&said).map_err(Stop::Line)?;
        (cli.command.reads_config(), cli.global.config)
    };
    let file = match read {
        true => find(wanted.as_deref()).map_err(Stop::File)?,
        false => None,
    };
    let command = match &file {
        Some(file) => file.applied(Cli::command(), &said),
        None => Cli::command(),
    };
    let matches = command.try_get_matches_from(&words).map_err(Stop::Line)?;
    let cli = Cli::from_arg_matches(&matches).map_err(Stop::Line)?;
    let flags = flags(&Cli::command(), &said);
    Ok(Line {
        cli,
        said: Said { file, flags },
    })
}

/// The keys that every command has flags for, and that this one was given.
fn flags(command: &clap::Command, said: &ArgMatches) -> Vec<(String, Vec<String>)> {
    let given = |key: &Key<'_>| {
        let raw = said.get_raw(key.arg.get_id().as_str())?;
        let values = raw.map(|value| value.to_string_lossy().into_owned());
        Some((key.name().to_owned(), values.collect()))
    };
    keys(command)
        .filter(|key| key.table == Table::Global && is_said(said, key.arg))
        .filter_map(|key| given(&key))
        .collect()
}

fn is_said(said: &ArgMatches, arg: &clap::Arg) -> bool {
    said.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
}

/// The file that was asked for, or the first of the usual ones that is there.
fn find(wanted: Option<&Path>) -> Result<Option<File>, Failure> {
    match wanted {
        Some(path) if path.as_os_str() == NONE => Ok(None),
        Some(path) => File::read(path).map(Some),
        None => usual()
            .iter()
            .find(|path| path.symlink_metadata().is_ok())
            .map(|path| File::read(path))
            .transpose(),
    }
}

/// Where the file usually is.
fn usual() -> Vec<PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let own = folder("XDG_CONFIG_HOME").or_else(|| Some(folder("HOME")?.join(".config")));
    let own = own.map(|own| own.join("moonport/moonport.toml"));
    own.into_iter()
        .chain([PathBuf::from("/etc/moonport/moonport.toml")])
        .collect()
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let text = trust::read(path).or_exit_with(Exit::Usage, || path.display().to_string())?;
        let settings = parse(&text, &Cli::command()).map_err(|wrong| {
            Failure::because(Exit::Usage, format_args!("{}:{wrong}", path.display()))
        })?;
        Ok(Self {
            path: path.to_owned(),
            settings,
        })
    }

    /// The definition of the flags, with what the file says as their defaults, unless the command
    /// line says what excludes it.
    fn applied(&self, mut command: clap::Command, said: &ArgMatches) -> clap::Command {
        let run = said.subcommand_matches(RUN);
        let excluded = match (run, command.find_subcommand(RUN)) {
            (Some(said), Some(run)) => excluded(run, said),
            _ => Vec::new(),
        };
        for setting in &self.settings {
            let Some(id) = setting.key_of(&command).map(|key| key.arg.get_id().clone()) else {
                continue;
            };
            if setting.table == Table::Run && excluded.contains(&id) {
                continue;
            }
            let values = self.resolved(setting, &command);
            // Each stays in its place: the order of words is that of their definitions.
            let with = |command: clap::Command| {
                command.mut_args(|arg| match *arg.get_id() == id {
                    true => arg.default_values(values.clone()),
                    false => arg,
                })
            };
            command = match setting.table {
                Table::Global => with(command),
                Table::Run => command.mut_subcommand(RUN, with),
            };
        }
        command
    }

    /// The values of a setting; paths begin where the file is.
    fn resolved(&self, setting: &Setting, command: &clap::Command) -> Vec<OsString> {
        let path = setting.key_of(command).is_some_and(|key| key.is_path());
        let folder = self.path.parent().filter(|_| path);
        let values = setting.values.iter();
        values
            .map(|value| match folder {
                Some(folder) => folder.join(value).into_os_string(),
                None => value.into(),
            })
            .collect()
    }
}

/// The arguments of a command that what was said excludes.
fn excluded(command: &clap::Command, said: &ArgMatches) -> Vec<clap::Id> {
    let mut excluded = Vec::new();
    for arg in command.get_arguments().filter(|arg| is_said(said, arg)) {
        let conflicts = command.get_arg_conflicts_with(arg);
        excluded.extend(conflicts.iter().map(|arg| arg.get_id().clone()));
        for group in command.get_groups() {
            let members: Vec<_> = group.get_args().cloned().collect();
            if !group.clone().is_multiple() && members.contains(arg.get_id()) {
                excluded.extend(members);
            }
        }
    }
    excluded
}

impl Setting {
    fn key_of<'a>(&self, command: &'a clap::Command) -> Option<Key<'a>> {
        keys(command).find(|key| key.table == self.table && key.name() == self.key)
    }
}

/// All keys there are.
fn keys(command: &clap::Command) -> impl Iterator<Item = Key<'_>> {
    let run = command.find_subcommand(RUN);
    let run = run.into_iter().flat_map(clap::Command::get_arguments);
    let global = command.get_arguments().map(|arg| (Table::Global, arg));
    global
        .chain(run.map(|arg| (Table::Run, arg)))
        .filter(|(_, arg)| arg.get_id() != CONFIG && !arg.is_hide_set())
        .filter_map(|(table, arg)| Key::of(table, arg))
}

impl<'a> Key<'a> {
    fn of(table: Table, arg: &'a clap::Arg) -> Option<Self> {
        let parsed = arg.get_value_parser().type_id();
        let number = [
            TypeId::of::<u16>(),
            TypeId::of::<u32>(),
            TypeId::of::<u64>(),
        ];
        let kind = match arg.get_action() {
            ArgAction::SetTrue => Kind::Switch,
            ArgAction::Set | ArgAction::Append if number.iter().any(|it| parsed == *it) => {
                Kind::Number
            }
            ArgAction::Set | ArgAction::Append => Kind::Text,
            // Help, the version, and what only the command line can say.
            _ => return None,
        };
        Some(Self {
            table,
            arg,
            kind,
            many: matches!(arg.get_action(), ArgAction::Append),
        })
    }

    /// The long flag; words without a flag are called as in the definition.
    fn name(&self) -> &'a str {
        let id = self.arg.get_id().as_str();
        self.arg.get_long().unwrap_or(id)
    }

    fn is_path(&self) -> bool {
        matches!(
            self.arg.get_value_hint(),
            ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath
        )
    }

    /// What it takes, for people.
    fn takes(&self) -> &'static str {
        match (self.kind, self.many) {
            (Kind::Switch, _) => "true or false",
            (Kind::Number, false) => "a number",
            (Kind::Number, true) => "an array of numbers",
            (Kind::Text, false) => "a string, in quotes",
            (Kind::Text, true) => "an array of strings",
        }
    }

    /// Reads a value as the flag would; the place of what is wrong, and why.
    fn read(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, (Range<usize>, String)> {
        let wrong = |value: &Spanned<DeValue<'_>>| {
            let found = value.get_ref().type_str();
            let why = format!(
                "{} takes {}; this is of type {found}",
                self.name(),
                self.takes()
            );
            (value.span(), why)
        };
        let one = |value: &Spanned<DeValue<'_>>| {
            let text = match (self.kind, value.get_ref()) {
                (Kind::Switch, DeValue::Boolean(on)) => return Ok(on.to_string()),
                (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => {
                    number.as_str().trim_start_matches('+').to_owned()
                }
                (Kind::Text, DeValue::String(text)) => text.clone().into_owned(),
                _ => return Err(wrong(value)),
            };
            match self.check(&text) {
                Ok(()) => Ok(text),
                Err(why) => Err((value.span(), format!("{}: {why}", self.name()))),
            }
        };
        match (self.many, value.get_ref()) {
            (false, _) => Ok(vec![one(value)?]),
            (true, DeValue::Array(values)) => values.iter().map(one).collect(),
            (true, _) => Err(wrong(value)),
        }
    }

    /// Whether the flag takes this text.
    fn check(&self, text: &str) -> Result<(), String> {
        if self.is_path() && text.starts_with('~') {
            return Err("~ is for shells; write the whole path".into());
        }
        let arg = clap::Arg::new(VALUE)
            .long(VALUE)
            .action(ArgAction::Set)
            .value_parser(self.arg.get_value_parser().clone());
        let parsed = clap::Command::new(VALUE)
            .no_binary_name(true)
            .arg(arg)
            .try_get_matches_from([format!("--{VALUE}={text}")]);
        parsed.map(drop).map_err(|error| why(&error))
    }
}

/// Why a flag does not take a value, without the flag.
fn why(error: &clap::Error) -> String {
    if let Some(source) = std::error::Error::source(error) {
        return source.to_string();
    }
    match (error.kind(), error.get(ContextKind::ValidValue)) {
        (ErrorKind::InvalidValue, Some(ContextValue::Strings(valid))) if !valid.is_empty() => {
            format!("it is one of {}", valid.join(", "))
        }
        _ => "this is no value for it".into(),
    }
}

/// Reads a configuration.
fn parse(text: &str, command: &clap::Command) -> Result<Vec<Setting>, Wrong> {
    let whole = DeTable::parse(text).map_err(|error| {
        let why = error.message().trim().replace('\n', ", ");
        Wrong::at(text, error.span().unwrap_or_default(), why)
    })?;
    let mut settings = Vec::new();
    for (key, value) in whole.get_ref() {
        match value.get_ref() {
            DeValue::Table(table) if key.get_ref() == RUN => {
                for (key, value) in table {
                    settings.push(setting(text, command, Table::Run, key, value)?);
                }
            }
            _ => settings.push(setting(text, command, Table::Global, key, value)?),
        }
    }
    settings.sort_by_key(|setting| setting.line);
    exclusive(text, command, whole.get_ref())?;
    Ok(settings)
}

fn setting(
    text: &str,
    command: &clap::Command,
    table: Table,
    key: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<Setting, Wrong> {
    let name = key.get_ref().as_ref();
    let found = keys(command).find(|known| known.table == table && known.name() == name);
    let Some(found) = found else {
        return Err(Wrong::at(
            text,
            key.span(),
            unknown(command, table, name, value),
        ));
    };
    let values = found.read(value);
    let values = values.map_err(|(span, why)| Wrong::at(text, span, why))?;
    Ok(Setting {
        table,
        key: name.to_owned(),
        values,
        line: position(text, key.span().start).0,
    })
}

/// Refuses keys of which only one can be said.
fn exclusive(text: &str, command: &clap::Command, whole: &DeTable<'_>) -> Result<(), Wrong> {
    let run = whole.get(RUN).and_then(|run| run.get_ref().as_table());
    let (Some(run), Some(command)) = (run, command.find_subcommand(RUN)) else {
        return Ok(());
    };
    let id = |name: &str| {
        let mut all = command.get_arguments();
        let arg = all.find(|arg| arg.get_long() == Some(name))?;
        Some(arg.get_id().clone())
    };
    for group in command.get_groups() {
        if group.clone().is_multiple() {
            continue;
        }
        let members: Vec<_> = group.get_args().collect();
        let is_member = |name: &str| id(name).is_some_and(|id| members.contains(&&id));
        let said = run.keys().filter(|key| is_member(key.get_ref()));
        let mut said: Vec<_> = said.collect();
        said.sort_by_key(|key| key.span().start);
        if let [first, second, ..] = said.as_slice() {
            let why = format!(
                "{} and {} exclude each other",
                first.get_ref(),
                second.get_ref()
            );
            return Err(Wrong::at(text, second.span(), why));
        }
    }
    Ok(())
}

/// What is wrong with a key that there is not.
fn unknown(
    command: &clap::Command,
    table: Table,
    name: &str,
    value: &Spanned<DeValue<'_>>,
) -> String {
    if matches!(value.get_ref(), DeValue::Table(_)) {
        return format!("there is no table [{name}]; there is only [{RUN}]");
    }
    if keys(command).any(|key| key.name() == name) {
        return match table {
            Table::Global => format!("{name} belongs below [{RUN}]"),
            Table::Run => format!("{name} belongs above [{RUN}]: it is for every command"),
        };
    }
    let alike = keys(command)
        .map(|key| (strsim::damerau_levenshtein(key.name(), name), key))
        .filter(|(distance, key)| *distance <= key.name().len() / 3 + 1)
        .min_by_key(|(distance, key)| (*distance, key.table != table));
    let meant = match alike {
        Some((_, key)) if key.table == Table::Run && table == Table::Global => {
            format!("; did you mean {}, below [{RUN}]?", key.name())
        }
        Some((_, key)) => format!("; did you mean {}?", key.name()),
        None => "; `moonport config --default` shows all keys".into(),
    };
    format!("there is no key {name:?}{meant}")
}

impl Wrong {
    fn at(text: &str, span: Range<usize>, why: String) -> Self {
        let (line, column) = position(text, span.start);
        Self { line, column, why }
    }
}

/// Line and column of a byte, both from 1; columns are characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let mut before = text
        .get(..byte.min(text.len()))
        .unwrap_or(text)
        .rsplit('\n');
    let column = before.next().unwrap_or_default().chars().count() + 1;
    (before.count() + 1, column)
}

/// A text without colours.
fn plain(text: Option<&StyledStr>) -> String {
    text.map(StyledStr::to_string).unwrap_or_default()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => Ok(()),
            Self::Run => write!(f, "{RUN}."),
        }
    }
}

/// What takes settings of a table of its own.
const RUN: &str = "run";

/// The flag that is no key.
const CONFIG: &str = "config";

/// Instead of a file: none.
const NONE: &str = "none";

const VALUE: &str = "value";

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;
