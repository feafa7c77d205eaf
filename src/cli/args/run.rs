//! `moonport run`.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use identity::Name;
use keystore::Scope;

use super::PassphraseSource;
use crate::cli::duration;
use crate::host::{Loopback, Reach};
use crate::ipc::Unproved;
use crate::ipc::script::{ErrorMode, Names, Permissions};

/// Run scripts, each in a process of its own, until all have ended.
///
/// An interrupt (Ctrl-C) or SIGTERM ends them in order, a second one at once. The exit code is the
/// highest that a script has ended with: `shutdown("", 7)` gives 7. What is not said here comes from
/// the configuration file: `moonport config`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Run {
    /// Lua files, or appl directories (NAME with NAME.lua in it)
    #[arg(value_name = "SCRIPT", value_hint = clap::ValueHint::AnyPath)]
    pub(in crate::cli) scripts: Vec<PathBuf>,
    /// Words for the scripts
    #[arg(last = true, value_name = "WORD")]
    pub(in crate::cli) arguments: Vec<String>,
    /// Load a script again whenever a Lua file in its folder has changed
    #[arg(long)]
    pub(in crate::cli) watch: bool,
    /// Whether to run where something that the sandbox should deny is not denied
    #[arg(long, value_name = "HOW", default_value = "best-effort")]
    pub(in crate::cli) sandbox: Sandbox,
    /// What an error that a script does not catch ends
    #[arg(long, value_name = "MODE", default_value = "isolate")]
    pub(in crate::cli) errors: Errors,
    /// A callback that takes longer is reported
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration::brief)]
    pub(in crate::cli) handler_warn: Duration,
    /// A callback that takes longer is stopped
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::brief)]
    pub(in crate::cli) handler_limit: Duration,
    /// How much memory a script may use, with K, M or G for KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = memory)]
    pub(in crate::cli) memory: usize,
    /// How long a client may take from connecting to having proved its key
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub(in crate::cli) handshake_timeout: Duration,
    /// How many connections of a listener may have proved no key yet: from START on a newcomer
    /// pushes one of them out with a chance of RATE per cent, growing to certainty at FULL
    #[arg(long, value_name = "START:RATE:FULL", default_value_t = Unproved::USUAL)]
    pub(in crate::cli) unproved: Unproved,
    /// Whether a source address whose connections break the rules again and again is refused for a
    /// while, at most a minute
    #[arg(long, value_name = "WHEN", default_value = "on")]
    pub(in crate::cli) penalties: Penalties,
    /// What scripts may connect to, as clients (moonport.connect); * for HOST is any. Servers know
    /// them by the host key with the tag `client`, which is made if it is not there
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) allow_connect: Vec<Reach>,
    /// A program that scripts may start for their clients (moonport.exec), by its absolute path. It
    /// runs as whoever runs this, outside of the scripts' sandbox
    #[arg(long, value_name = "PROGRAM", value_parser = program, value_hint = clap::ValueHint::ExecutablePath)]
    pub(in crate::cli) allow_exec: Vec<PathBuf>,
    /// A name whose keys scripts may list, accept, revoke and ban (moonport.keys); * is all names
    #[arg(long, value_name = "NAME", value_parser = scope)]
    pub(in crate::cli) allow_keys: Vec<Scope>,
    /// When told to end: how long sessions have to end by themselves, while nobody new is let in;
    /// then scripts are told, and have 5 s more
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::or_none)]
    pub(in crate::cli) drain: Duration,
    /// Answer GET /metrics there, in the text format of Prometheus; only on this machine, to
    /// anybody on it
    #[arg(long, value_name = "ADDR:PORT")]
    pub(in crate::cli) metrics: Option<Loopback>,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Penalties {
    /// Unless a client from there has proved its key in the last hour
    On,
    /// Never
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Sandbox {
    /// Deny what this kernel can deny, and log the rest
    BestEffort,
    /// Refuse to run scripts and to listen unless everything is denied
    Require,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Errors {
    /// What it happened in: that client, that request
    Isolate,
    /// The script, as in Arcan
    Classic,
    /// The script; so does an unknown upper-case global
    Strict,
}

impl From<Errors> for ErrorMode {
    fn from(errors: Errors) -> Self {
        match errors {
            Errors::Isolate => Self::Isolate,
            Errors::Classic => Self::Classic,
            Errors::Strict => Self::Strict,
        }
    }
}

impl Run {
    /// What scripts may ask for.
    pub(in crate::cli) fn permissions(&self) -> Permissions {
        let names = self.allow_keys.iter().filter_map(|scope| match scope {
            Scope::Any => None,
            Scope::Name(name) => Some(name.clone()),
        });
        Permissions {
            programs: self.allow_exec.clone(),
            keys: Names {
                all: self.allow_keys.contains(&Scope::Any),
                some: names.collect(),
            },
        }
    }
}

/// Reads a program, which has to be there.
fn program(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        return Err("a program is given by its absolute path: /usr/bin/cat".to_owned());
    }
    let found = path.metadata().map_err(|error| error.to_string())?;
    match found.is_file() && found.permissions().mode() & 0o111 != 0 {
        true => Ok(path),
        false => Err("this is no program".to_owned()),
    }
}

/// Reads a name, or `*`.
fn scope(text: &str) -> Result<Scope, String> {
    match text {
        "*" => Ok(Scope::Any),
        name => Name::parse(name)
            .map(Scope::Name)
            .map_err(|error| error.to_string()),
    }
}

/// Reads an amount of memory, in bytes.
fn memory(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..) {
        Some("K") => 10,
        Some("M") => 20,
        Some("G") => 30,
        _ => return Err("a size is a number with K, M or G: 64M, 1G".to_owned()),
    };
    let number: Option<usize> = digits.parse().ok();
    number
        .and_then(|number| number.checked_mul(1 << shift))
        .filter(|bytes| MEMORY.contains(bytes))
        .ok_or_else(|| "a script needs 4M at least, and can use 64G at most".to_owned())
}

/// What a VM can live with, and what it can address.
const MEMORY: std::ops::RangeInclusive<usize> = 4 << 20..=64 << 30;
