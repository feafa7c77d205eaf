//! The prompt at a terminal.

use std::fs::{DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

use super::shown::Shown;
use super::{Script, complete};
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::output::{Output, printable, tell};
use crate::cli::{own_state, wait};
use crate::ipc::{Asked, Chunk, Outcome};
use crate::script::words;

/// What there is beside Lua; no chunk begins with a dot.
const HELP: &str = "\
Lua is evaluated in the script, between its callbacks: an expression shows its values.
  Tab     completes names: of the API, of Lua, and the script's own
  Ctrl-C  clears the line, or cancels what runs
  Ctrl-D  leaves
A chunk goes on over lines until it is complete. Locals end with it; globals are the
script's. What it leaves behind, such as callbacks, timers and tasks, is the script's.
A line that begins with a space is not kept in the history.";

pub(super) fn run(script: &Script, shown: &Shown<'_>, out: &Output) -> Result<Exit, Failure> {
    let name = printable(&script.name);
    out.line(format_args!(
        "{name} in {}: Lua is evaluated between its callbacks. .help tells more, Ctrl-D leaves.",
        script.state.display()
    ))?;
    let mut editor = editor(script)?;
    let history = history();
    if let Some(history) = &history {
        // There is none at first.
        let _ = editor.load_history(history);
    }
    let prompt = format!("{name}> ");
    loop {
        let text = match editor.readline(&prompt) {
            Ok(text) => text,
            Err(ReadlineError::Interrupted) => continue,
            Err(ReadlineError::Eof) => return Ok(Exit::Done),
            Err(error) => return Err(Failure::new(Exit::Failed, error)),
        };
        if text.trim().is_empty() {
            continue;
        }
        // What cannot be kept is lost without harm.
        let kept = editor.add_history_entry(&text).unwrap_or_default();
        if let Some(history) = history.as_ref().filter(|_| kept) {
            let _ = editor.append_history(history);
        }
        match text.trim() {
            ".help" => out.line(HELP)?,
            word if word.starts_with('.') => {
                tell("there is nothing of that name; .help tells more")
            }
            _ => evaluate(script, shown, text)?,
        }
    }
}

/// Evaluates a chunk, unless Ctrl-C cancels it.
fn evaluate(script: &Script, shown: &Shown<'_>, text: String) -> Result<(), Failure> {
    let mut heard = shown.begin();
    let outcome = wait(async {
        let mut interrupt = signal(SignalKind::interrupt()).or_exit(Exit::Failed)?;
        let asked = Asked::Chunk(Chunk(text));
        tokio::select! {
            outcome = script.evaluate(asked, |said| heard.hear(said)) => outcome.map(Some),
            _ = interrupt.recv() => Ok(None),
        }
    });
    match outcome {
        Ok(Some(outcome)) => heard.end(outcome),
        Ok(None) => {
            heard.cancelled();
            Ok(())
        }
        Err(failure) if failure.is_silent() => Err(failure),
        // A host may come back.
        Err(failure) => {
            tell(format_args!("moonport: {failure}"));
            Ok(())
        }
    }
}

fn editor(script: &Script) -> Result<Editor<Words<'_>, FileHistory>, Failure> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .history_ignore_space(true)
        .max_history_size(HISTORY)
        .or_exit(Exit::Failed)?
        .build();
    let mut editor = Editor::with_config(config).or_exit(Exit::Failed)?;
    editor.set_helper(Some(Words { script }));
    Ok(editor)
}

/// The file with what was typed, for nobody else to read.
fn history() -> Option<PathBuf> {
    let folder = own_state()?;
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(&folder).ok()?;
    let file = folder.join("repl_history");
    if file.exists() {
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).ok()?;
    }
    Some(file)
}

/// What the editor knows of Lua and of the script.
struct Words<'a> {
    script: &'a Script,
}

impl Words<'_> {
    /// The names in a table of the script; none if it does not answer soon.
    fn ask(&self, path: &str) -> Vec<String> {
        let asked = Asked::Names(path.to_owned());
        let asked = async {
            let asked = self.script.evaluate(asked, |_| Ok(()));
            Ok(timeout(SOON, asked).await.ok())
        };
        let answer: Option<Result<Outcome, Failure>> = wait(asked).ok().flatten();
        let names = answer.and_then(Result::ok).and_then(Result::ok);
        let mut names = names.unwrap_or_default();
        // Nothing else may command the terminal.
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        names.retain(|name| name.chars().all(is_name));
        names
    }
}

impl Completer for Words<'_> {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete::complete(line, cursor, |path| self.ask(path)))
    }
}

impl Validator for Words<'_> {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(match words::is_unfinished(context.input()) {
            true => ValidationResult::Incomplete,
            false => ValidationResult::Valid(None),
        })
    }
}

impl Hinter for Words<'_> {
    type Hint = String;
}

impl Highlighter for Words<'_> {}

impl Helper for Words<'_> {}

/// As many chunks are kept.
const HISTORY: usize = 1000;

/// How long somebody who presses Tab waits for a script that is busy.
const SOON: Duration = Duration::from_secs(1);
