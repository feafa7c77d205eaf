//! What went wrong in a script, told to the person who wrote it.

use std::fmt;

use mlua::Lua;

use super::status;
use super::text::nearest;
use super::vm::NO_MEMORY;

/// Misuse of the API, raised in the script as a Lua error.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// What lua-api.md calls fatal: not to be caught in classic mode.
    pub(super) fatal: bool,
    /// What was wrong; `file:line` and the function's name are put before it.
    pub(super) message: String,
    /// What to do.
    pub(super) hint: Option<String>,
    /// An error that Lua itself has raised on the way.
    inner: Option<Box<mlua::Error>>,
}

impl Fault {
    /// A bad argument or the like: every mode lets the script catch it.
    pub(super) fn plain(message: impl Into<String>) -> Self {
        Self {
            fatal: false,
            message: message.into(),
            hint: None,
            inner: None,
        }
    }

    /// A terminal state transition: in classic mode the script cannot catch it.
    pub(super) fn fatal(message: impl Into<String>) -> Self {
        Self {
            fatal: true,
            ..Self::plain(message)
        }
    }

    /// Adds what to do.
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    /// The Lua error to raise, with the place of the call in it.
    pub(super) fn raise(mut self, lua: &Lua, function: &str) -> mlua::Error {
        if let Some(inner) = self.inner {
            return *inner;
        }
        self.message = match place(lua) {
            Some(place) => format!("{place}: {function}: {}", self.message),
            None => format!("{function}: {}", self.message),
        };
        mlua::Error::external(self)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

impl From<mlua::Error> for Fault {
    fn from(inner: mlua::Error) -> Self {
        Self {
            inner: Some(Box::new(inner)),
            ..Self::plain("")
        }
    }
}

/// A task has waited for a vid that was deleted: it ends, and nobody is told.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended(pub(super) u32);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "vid {} was deleted, so there is nothing to wait for",
            self.0
        )
    }
}

impl std::error::Error for Ended {}

/// Whether an error is no more than the end of a task.
pub(super) fn is_end(error: &mlua::Error) -> bool {
    match error {
        mlua::Error::CallbackError { cause, .. } => is_end(cause),
        mlua::Error::ExternalError(cause) => cause.downcast_ref::<Ended>().is_some(),
        _ => false,
    }
}

/// Where in the script it runs: `file:line`.
pub(super) fn place(lua: &Lua) -> Option<String> {
    (0..8).find_map(|level| {
        lua.inspect_stack(level, |frame| {
            let line = frame.current_line()?;
            let source = frame.source();
            let file = source.short_src.as_deref()?;
            (!file.starts_with('[')).then(|| format!("{file}:{line}"))
        })
        .flatten()
    })
}

/// An error as reported: the text, the stack, and what to do.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// `file:line: what was wrong`.
    pub(super) message: String,
    /// The stack traceback, if there is one.
    pub(super) traceback: Option<String>,
    /// What to do.
    pub(super) hint: Option<String>,
    /// Misuse of the API.
    pub(super) fatal: bool,
    /// Memory is used up.
    pub(super) memory: bool,
}

impl Told {
    /// Takes an error apart. `names` are the globals that exist.
    pub(super) fn new<'a>(error: &mlua::Error, names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(error, names).placed()
    }

    fn of<'a>(error: &mlua::Error, names: impl IntoIterator<Item = &'a str>) -> Self {
        match error {
            mlua::Error::CallbackError { traceback, cause } => {
                let mut told = Self::of(cause, names);
                let own = traceback.trim();
                if told.traceback.is_none() && !own.is_empty() {
                    told.traceback = Some(own.to_owned());
                }
                told
            }
            mlua::Error::ExternalError(cause) => match cause.downcast_ref::<Fault>() {
                Some(fault) => Self {
                    hint: fault.hint.clone(),
                    fatal: fault.fatal,
                    ..Self::text(&fault.message)
                },
                None => Self::text(&cause.to_string()),
            },
            mlua::Error::SyntaxError { message, .. } => Self {
                hint: Some("the script does not parse; nothing of it was run".to_owned()),
                ..Self::text(message)
            },
            mlua::Error::MemoryError(_) => Self::memory(NO_MEMORY),
            mlua::Error::RuntimeError(message) if message.ends_with(NO_MEMORY) => {
                Self::memory(message)
            }
            mlua::Error::RuntimeError(message) => {
                let mut told = Self::text(message);
                told.hint = generic_hint(&told.message, names);
                told
            }
            other => Self::text(&other.to_string()),
        }
    }

    fn memory(text: &str) -> Self {
        Self {
            memory: true,
            hint: Some(
                "the script's memory is used up (--memory); drop references it no longer needs"
                    .to_owned(),
            ),
            ..Self::text(text)
        }
    }

    fn text(text: &str) -> Self {
        let (message, traceback) = match text.split_once("\nstack traceback:") {
            Some((message, stack)) => (message, Some(format!("stack traceback:{stack}"))),
            None => (text, None),
        };
        let message = match unspoken(message) {
            Some(kind) => format!("an error that is {kind}"),
            None => message.to_owned(),
        };
        Self {
            message,
            traceback,
            hint: None,
            fatal: false,
            memory: false,
        }
    }

    /// Puts the innermost place of the script before a message that has none.
    fn placed(mut self) -> Self {
        let at = |line: &str| {
            let place = line.trim().split(": in ").next()?;
            let (file, line) = place.rsplit_once(':')?;
            let ours = file.starts_with('[') || line.parse::<u32>().is_err();
            (!ours).then(|| place.to_owned())
        };
        let has_place = self.message.split(':').nth(1);
        let has_place = has_place.is_some_and(|line| line.parse::<u32>().is_ok());
        if !has_place
            && let Some(place) = self
                .traceback
                .as_deref()
                .and_then(|t| t.lines().find_map(at))
        {
            self.message = format!("{place}: {}", self.message);
        }
        self
    }
}

/// What was thrown, if it was not text: as the VM shows such a value.
fn unspoken(message: &str) -> Option<&'static str> {
    if message == "nil" {
        return Some("nil");
    }
    [
        ("table: 0x", "a table"),
        ("function: 0x", "a function"),
        ("thread: 0x", "a coroutine"),
    ]
    .into_iter()
    .find_map(|(shown, kind)| message.starts_with(shown).then_some(kind))
}

/// What to do about an error of Lua's own. `names` are the globals that exist.
fn generic_hint<'a>(message: &str, names: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let has = |part: &str| message.contains(part);
    if let Some((_, rest)) = message.split_once("attempt to call global '") {
        let name = rest.split('\'').next()?;
        return Some(match nearest(name, names) {
            Some(near) if near != name => {
                format!("there is no function {name}; is it {near} that is meant?")
            }
            _ => format!(
                "there is no function {name} here; this host has no display, so what draws is absent"
            ),
        });
    }
    let field = message.split_once("attempt to index field '");
    if let Some((_, rest)) = field
        && let Some(name) = rest.split('\'').next()
        && let Some(near) = nearest(name, status::fields())
        && near != name
    {
        return Some(format!(
            "no field {name} is set; is it {near} that is meant?"
        ));
    }
    let hint = if has("stack overflow") {
        "a function calls itself without end; such an error ends the callback, caught or not"
    } else if has("an error that is ") {
        "give error(...) a text, so that Lua can say where"
    } else if has("attempt to call") {
        "what is called here must be a function; is it set, and spelt like that?"
    } else if has("attempt to concatenate") {
        "put tostring(...) around what may not be text"
    } else if has("attempt to perform arithmetic") {
        "make a number of it with tonumber(...), or set it earlier"
    } else if has("attempt to compare") {
        "compare numbers with numbers and texts with texts: tonumber(...), tostring(...)"
    } else if has("nil value)") || has("a nil value") || has("got nil)") || has("got no value)") {
        "it is nil here: check it with `if` first, or set it earlier"
    } else {
        return None;
    };
    Some(hint.to_owned())
}
