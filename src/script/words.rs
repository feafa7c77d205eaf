//! What a script can name, for those who read scripts without running them.

use identity::Name;

use super::api::{self, Entry, Form, Ty};
use super::{status, text, vm};

/// A function of the API.
#[derive(Clone, Copy)]
pub struct Function(&'static Entry);

/// What can be seen of an argument without running the script.
#[derive(Debug, Clone, PartialEq)]
pub enum Seen {
    /// `nil`.
    Nil,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number(f64),
    /// Text.
    Text(String),
    /// A table.
    Table,
    /// A function.
    Function,
    /// Nothing: it may be anything.
    Unknown,
}

impl Function {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        api::entries().map(Self)
    }

    /// The one with this name: a global, or `table.name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|function| function.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// The ways to call it, for people.
    pub fn usage(self) -> String {
        api::usage(self.0)
    }

    /// What is wrong with a call with these arguments, whatever those are that cannot be seen.
    /// `open`: more may follow, as after `...`.
    pub fn misfit(self, args: &[Seen], open: bool) -> Option<String> {
        let forms = self.0.forms;
        if forms.iter().any(|form| fits(form, args, open)) {
            return literal(self.name(), args);
        }
        // The form that goes farthest says what is wrong.
        let (at, form) = forms
            .iter()
            .rev()
            .map(|form| (wrong(form, args, open).unwrap_or(args.len()), form))
            .max_by_key(|(at, form)| (*at, form.args.len() == args.len()))?;
        Some(match (form.args.get(at), args.get(at)) {
            (Some(arg), None) => format!("argument #{} ({}) is missing", at + 1, arg.name),
            (Some(arg), Some(got)) => format!(
                "argument #{} ({}) is a {}, not a {}",
                at + 1,
                arg.name,
                arg.ty.word(),
                got.word()
            ),
            (None, _) => format!(
                "there are {} arguments, and at most {} are taken",
                args.len(),
                forms.iter().map(|form| form.args.len()).max().unwrap_or(0)
            ),
        })
    }

    /// The options that it takes in a table, if it does.
    pub fn options(self) -> Option<impl Iterator<Item = &'static str>> {
        api::options(self.name()).map(|options| options.iter().map(|(name, ..)| *name))
    }
}

/// Whether some arguments of this kind go with the form.
fn fits(form: &Form, args: &[Seen], open: bool) -> bool {
    wrong(form, args, open).is_none()
}

/// The place of the first argument that does not go with the form.
fn wrong(form: &Form, args: &[Seen], open: bool) -> Option<usize> {
    let many = form.args.last().is_some_and(|last| last.name == "...");
    let wrong = form.args.iter().enumerate().find(|(at, arg)| {
        let optional = arg.default.is_some() || arg.name == "...";
        match args.get(*at) {
            None => !(optional || open),
            Some(Seen::Nil) => !optional && arg.ty != Ty::Any,
            Some(seen) => !seen.may_be(arg.ty),
        }
    });
    let extra = (args.len() > form.args.len() && !many).then_some(form.args.len());
    wrong.map(|(at, _)| at).or(extra)
}

/// What is wrong with an argument whose value can be seen.
fn literal(function: &str, args: &[Seen]) -> Option<String> {
    if function != "net_listen" {
        return None;
    }
    if let Some(Seen::Text(name)) = args.first()
        && let Err(error) = Name::parse(name)
    {
        return Some(error.to_string());
    }
    let port = |number: &f64| number.fract() == 0.0 && (0.0..=65535.0).contains(number);
    match args.get(2) {
        Some(Seen::Number(number)) if !port(number) => {
            Some(format!("{number} is not a port; those are 0..65535"))
        }
        _ => None,
    }
}

impl Seen {
    fn may_be(&self, ty: Ty) -> bool {
        match self {
            Self::Unknown => true,
            Self::Nil => ty == Ty::Any,
            Self::Boolean => matches!(ty, Ty::Flag | Ty::Any),
            Self::Number(_) => !matches!(ty, Ty::Table | Ty::Callback | Ty::Function),
            Self::Text(_) => matches!(ty, Ty::Text | Ty::Any),
            Self::Table => matches!(ty, Ty::Table | Ty::Any),
            Self::Function => matches!(ty, Ty::Callback | Ty::Function | Ty::Any),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Boolean => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::Table => "table",
            Self::Function => "function",
            Self::Unknown => "value",
        }
    }
}

/// The constants.
pub fn constants() -> impl Iterator<Item = &'static str> {
    let set_beside = ["APPLID", "CRASH_SOURCE"];
    let constants = api::CONSTANTS.iter().map(|constant| constant.name);
    constants.chain(set_beside)
}

/// What the field `kind` of a status can be.
pub fn kinds() -> impl Iterator<Item = &'static str> {
    status::KINDS.iter().map(|kind| kind.name)
}

/// The globals of Lua that scripts have.
pub fn lua_globals() -> impl Iterator<Item = &'static str> {
    vm::GLOBALS.iter().copied().chain(["debug", "require"])
}

/// The words of the language.
pub const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
    "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// What there is in our tables that is no function.
pub fn values() -> impl Iterator<Item = &'static str> {
    api::VALUES.iter().map(|(name, ..)| *name)
}

/// What is left of a library of Lua that scripts have only a part of.
pub fn members(library: &str) -> Option<&'static [&'static str]> {
    if library == "debug" {
        return Some(&["traceback"]);
    }
    let found = vm::MEMBERS.iter().find(|(name, _)| *name == library);
    found.map(|(_, members)| *members)
}

/// The candidate that a word was probably meant to be.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    text::nearest(word, candidates)
}

/// What follows the appl's name in the names of entry points.
pub const ENTRY_POINTS: [&str; 13] = [
    "_adopt",
    "_clock_pulse",
    "_clock_pulse_batch",
    "_display_state",
    "_fatal",
    "_fatal_handover",
    "_input",
    "_input_end",
    "_input_raw",
    "_postframe_pulse",
    "_preframe_pulse",
    "_reload",
    "_shutdown",
];

/// Where a text is no Lua, as the VM sees it: the line, and what is wrong there. Nothing is run.
pub fn syntax(source: &[u8]) -> Result<(), (usize, String)> {
    let source = vm::without_first_line(source);
    let error = match vm::bare().and_then(|lua| lua.load(source).set_name("@").into_function()) {
        Ok(_) => return Ok(()),
        Err(mlua::Error::SyntaxError { message, .. }) => message,
        Err(error) => error.to_string(),
    };
    let told = error.trim_start_matches(':').split_once(": ");
    match told.map(|(line, what)| (line.parse(), what)) {
        Some((Ok(line), what)) => Err((line, what.to_owned())),
        _ => Err((1, error)),
    }
}

/// Whether a text may become an expression or a chunk when more lines follow.
pub fn is_unfinished(source: &str) -> bool {
    let Ok(lua) = vm::bare() else {
        return false;
    };
    let wrong = |text: &str| match lua.load(text).set_name("=").into_function() {
        Err(mlua::Error::SyntaxError { message, .. }) => Some(message),
        _ => None,
    };
    // A string ends with its line, unless it says otherwise.
    match (
        wrong(&format!("return {source}\n")),
        wrong(&format!("{source}\n")),
    ) {
        (Some(expression), Some(chunk)) => [expression, chunk]
            .iter()
            .any(|it| it.ends_with("near '<eof>'")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misfit(name: &str, args: &[Seen], open: bool) -> Option<String> {
        Function::named(name).unwrap().misfit(args, open)
    }

    #[test]
    fn what_the_functions_take_is_what_the_check_takes() {
        let text = |text: &str| Seen::Text(text.to_owned());
        let good: [(&str, &[Seen]); 9] = [
            ("moonport.task", &[Seen::Function]),
            ("net_listen", &[Seen::Function]),
            (
                "net_listen",
                &[Seen::Unknown, Seen::Nil, Seen::Nil, Seen::Unknown],
            ),
            (
                "net_listen",
                &[text("a"), text(""), Seen::Number(0.0), Seen::Function],
            ),
            ("accept_target", &[]),
            (
                "accept_target",
                &[Seen::Number(32.0), Seen::Number(32.0), Seen::Function],
            ),
            ("message_target", &[Seen::Unknown, Seen::Number(1.0)]),
            (
                "moonport.send",
                &[
                    Seen::Unknown,
                    text("a"),
                    text("b"),
                    text("c"),
                    Seen::Unknown,
                ],
            ),
            ("moonport.listen", &[Seen::Table]),
        ];
        for (name, args) in good {
            assert_eq!(misfit(name, args, false), None, "{name} {args:?}");
        }
        let bad: [(&str, &[Seen]); 4] = [
            ("net_listen", &[text("a b"), Seen::Function]),
            ("net_listen", &[Seen::Table, Seen::Function]),
            ("delete_image", &[Seen::Nil]),
            (
                "delete_image",
                &[Seen::Unknown, Seen::Unknown, Seen::Unknown, Seen::Unknown],
            ),
        ];
        for (name, args) in bad {
            assert!(misfit(name, args, false).is_some(), "{name} {args:?}");
        }
        assert_eq!(misfit("delete_image", &[], true), None);
    }

    #[test]
    fn the_vm_says_in_which_line_a_text_is_no_lua() {
        assert_eq!(syntax(b"#!/bin/moonport\nreturn 1"), Ok(()));
        let (line, message) = syntax(b"local x\nx = = 1\n").unwrap_err();
        assert_eq!(line, 2);
        assert!(message.contains("near '='"), "{message}");
        assert_eq!(syntax(b"x = [[").unwrap_err().0, 1);
    }

    #[test]
    fn the_entry_points_are_those_that_the_engine_looks_for() {
        let engine = concat!(
            include_str!("engine.rs"),
            include_str!("engine/errors.rs"),
            include_str!("process.rs")
        );
        let called = [
            "_adopt",
            "_clock_pulse",
            "_clock_pulse_batch",
            "_fatal",
            "_shutdown",
        ];
        for suffix in called {
            assert!(engine.contains(&format!("{suffix:?}")) && ENTRY_POINTS.contains(&suffix));
        }
    }
}
