//! `moonport repl`: Lua is evaluated in a script that runs.
//!
//! Each evaluation has a connection to the host of its own, and is cancelled by closing that. So there
//! is nothing to be kept in step with, and a host that comes back is there again.

mod complete;
mod prompt;
mod shown;

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use super::admin::Admin;
use super::args::Repl;
use super::exit::{Exit, Failure, OrExit};
use super::output::Output;
use super::{running, wait};
use crate::ipc::script::{Report, Severity};
use crate::ipc::{Asked, Chunk, MOST_CHUNK, Outcome, Said};
use crate::script::words;
use shown::Shown;

pub(super) fn run(args: &Repl, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let script = Script {
        state: state.to_owned(),
        name: wait(chosen(args.script.as_deref(), state))?,
    };
    let shown = Shown::new(out, args.json);
    if !args.eval.is_empty() {
        let texts = args.eval.iter().map(|text| Ok(text.clone()));
        return evaluate_all(&script, &shown, texts);
    }
    if io::stdin().is_terminal() && out.terminal && !args.json {
        return prompt::run(&script, &shown, out);
    }
    evaluate_all(&script, &shown, Chunks::of(io::stdin().lock()))
}

/// The script that is meant.
async fn chosen(script: Option<&str>, state: &Path) -> Result<String, Failure> {
    let (_, running) = running::host(state).await?;
    match (script, running.as_slice()) {
        (Some(script), running) => running::named(script, running),
        (None, [only]) => Ok(only.clone()),
        (None, []) => Err(Failure::because(Exit::Failed, "no script runs")),
        (None, several) => Err(Failure::because(
            Exit::Usage,
            format_args!("say which of the scripts: {}", running::list(several)),
        )),
    }
}

fn evaluate_all(
    script: &Script,
    shown: &Shown<'_>,
    texts: impl Iterator<Item = Result<String, Failure>>,
) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    for text in texts {
        let mut heard = shown.begin();
        let asked = Asked::Chunk(Chunk(text?));
        let outcome = wait(script.evaluate(asked, |said| heard.hear(said)))?;
        if outcome.is_err() {
            exit = Exit::Failed;
        }
        heard.end(outcome)?;
    }
    Ok(exit)
}

/// A script that runs.
struct Script {
    state: PathBuf,
    name: String,
}

impl Script {
    async fn evaluate(
        &self,
        asked: Asked,
        hear: impl FnMut(Said) -> Result<(), Failure>,
    ) -> Result<Outcome, Failure> {
        if asked.is_too_long() {
            return Ok(Err(Report::new(Severity::Error, TOO_LONG)));
        }
        let host = Admin::host(&self.state)?;
        let gone = || Failure::because(Exit::Failed, "the host does not run any more");
        let host = host.ok_or_else(gone)?;
        host.evaluate(&self.name, asked, hear).await
    }
}

const TOO_LONG: &str = "a chunk is longer than 32 KiB; what is long belongs into the script";

/// The chunks of a text: as many lines as each needs.
struct Chunks<R>(io::Lines<R>);

impl<R: BufRead> Chunks<R> {
    fn of(text: R) -> Self {
        Self(text.lines())
    }
}

impl<R: BufRead> Iterator for Chunks<R> {
    type Item = Result<String, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut chunk = String::new();
        for line in self.0.by_ref() {
            match line {
                Ok(line) => chunk.push_str(&line),
                Err(error) => {
                    return Some(
                        Err(error).or_exit_with(Exit::Failed, || "cannot read standard input"),
                    );
                }
            }
            if chunk.len() > MOST_CHUNK {
                // What is left of it means something else.
                return Some(Err(Failure::because(Exit::Failed, TOO_LONG)));
            } else if chunk.trim().is_empty() {
                chunk.clear();
            } else if words::is_unfinished(&chunk) {
                chunk.push('\n');
            } else {
                return Some(Ok(chunk));
            }
        }
        (!chunk.is_empty()).then_some(Ok(chunk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str) -> Vec<String> {
        let chunks = Chunks::of(text.as_bytes());
        chunks.map(|chunk| chunk.unwrap()).collect()
    }

    #[test]
    fn a_chunk_has_as_many_lines_as_it_needs() {
        assert_eq!(chunks("1 + 1\nx = 2\n"), ["1 + 1", "x = 2"]);
        let function = "function f(a)\n\n  return a\nend";
        assert_eq!(chunks(&format!("{function}\nf(1)")), [function, "f(1)"]);
        assert_eq!(chunks("1 +\n2"), ["1 +\n2"]);
        assert_eq!(chunks("t = {\n1,\n}\nt"), ["t = {\n1,\n}", "t"]);
        assert_eq!(chunks("s = [[\na\n]]"), ["s = [[\na\n]]"]);
        assert_eq!(chunks("\n  \n-- nothing\n"), ["-- nothing"]);
    }

    #[test]
    fn what_is_wrong_is_no_reason_to_wait() {
        assert_eq!(chunks("1 1\n2"), ["1 1", "2"]);
        assert_eq!(chunks("'open\n2"), ["'open", "2"]);
        assert_eq!(chunks("end\n2"), ["end", "2"]);
        // It ends too soon, and is told so by who evaluates it.
        assert_eq!(chunks("for i = 1, 2 do"), ["for i = 1, 2 do\n"]);
    }
}
