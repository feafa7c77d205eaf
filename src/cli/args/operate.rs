//! `moonport stop`, `moonport repl` and `moonport config`.

use std::time::Duration;

use clap::Args;

use super::Json;
use crate::cli::duration;

/// End the host that runs, in order, and wait until it has ended.
///
/// It takes nobody in from then on. Without a flag it ends as SIGTERM ends it.
#[derive(Debug, Args)]
pub(in crate::cli) struct Stop {
    /// How long sessions have to end by themselves, before scripts are ended [default: what
    /// `moonport run --drain` said]
    #[arg(long, value_name = "TIME", value_parser = duration::or_none, conflicts_with = "now")]
    pub(in crate::cli) drain: Option<Duration>,
    /// End at once: scripts and clients are not told
    #[arg(long)]
    pub(in crate::cli) now: bool,
}

/// Evaluate Lua in a script that runs.
///
/// What is typed at the prompt is run between the script's callbacks, with its globals and all of the API; it may wait
/// as a task does. An error ends what was typed, and never the script. At a terminal there are completion, by Tab, and a
/// history; Ctrl-C cancels what runs, and Ctrl-D leaves. Otherwise standard input is evaluated, one chunk after the other.
/// The exit code is 1 if something failed.
#[derive(Debug, Args)]
pub(in crate::cli) struct Repl {
    /// The script, as `moonport status` calls it, or its file [default: the only one that runs]
    pub(in crate::cli) script: Option<String>,
    /// Evaluate this instead, and end; can be given more than once. Others on this machine can see it: what is
    /// secret goes to standard input
    #[arg(long, short, value_name = "LUA")]
    pub(in crate::cli) eval: Vec<String>,
    /// Print JSON: a line for each chunk
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Show what flags and the configuration file say, and where each value comes from.
///
/// It is what `moonport run` would do with the same file. A file that is wrong is refused with the
/// place of the mistake.
#[derive(Debug, Args)]
pub(in crate::cli) struct Config {
    /// Print a configuration file with every key there is, its default and what it is for
    #[arg(long, conflicts_with = "json")]
    pub(in crate::cli) default: bool,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}
