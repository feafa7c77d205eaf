//! What `moonport key` takes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use identity::Name;
use keystore::{Scope, Standing};

use super::{Json, scope};
use crate::cli::duration;
use crate::cli::moment::Until;
use crate::formats::Format;

/// Which keys to print, and how.
#[derive(Debug, Args)]
pub(in crate::cli) struct ListKeys {
    /// Only those that are accepted for this name, or for * (all)
    #[arg(long, value_name = "NAME", value_parser = scope)]
    pub(in crate::cli) scope: Option<Scope>,
    /// Only those in this state
    #[arg(long)]
    pub(in crate::cli) state: Option<State>,
    /// Only those whose label has this in it
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) label: Option<String>,
    /// Only those whose time is over
    #[arg(long)]
    pub(in crate::cli) expired: bool,
    /// Only those that have not been here for so long
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(in crate::cli) unseen_for: Option<Duration>,
    /// What comes first
    #[arg(long, value_name = "WHAT", default_value = "added")]
    pub(in crate::cli) sort: Sort,
    /// The other way round
    #[arg(long)]
    pub(in crate::cli) reverse: bool,
    /// Print whole keys
    #[arg(long)]
    pub(in crate::cli) full: bool,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum State {
    /// Accepted where its names say, unless its time is over
    Accepted,
    /// Not accepted for the time being
    Disabled,
    /// Not accepted any more; a new window may let it in
    Revoked,
    /// Never let in
    Banned,
}

impl From<State> for Standing {
    fn from(state: State) -> Self {
        match state {
            State::Accepted => Self::Accepted,
            State::Disabled => Self::Disabled,
            State::Revoked => Self::Revoked,
            State::Banned => Self::Banned,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Sort {
    /// The key itself
    Key,
    /// The label; those without come last
    Label,
    /// Who was added first
    Added,
    /// Who was here longest ago; those who never were come first
    Seen,
    /// Who expires first; those who never do come last
    Expires,
}

/// A key that is known, and how to print.
#[derive(Debug, Args)]
pub(in crate::cli) struct OneKey {
    /// Its label, its beginning, or all of it
    pub(in crate::cli) key: String,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}

/// Any key, known or not, and how to print.
#[derive(Debug, Args)]
pub(in crate::cli) struct AnyKey {
    /// All of it, a file with it, - for standard input; or the label or the beginning of one that
    /// is known
    pub(in crate::cli) key: String,
    #[command(flatten)]
    pub(in crate::cli) shown: super::OurKey,
}

/// How a change is made and told.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Changing {
    /// Only say what would change, and which sessions would end
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// How a change that ends something is made and told.
#[derive(Debug, Clone, Copy, Args)]
pub(in crate::cli) struct Ending {
    /// Do not ask
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
    #[command(flatten)]
    pub(in crate::cli) how: Changing,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Accept {
    /// Base64, hex, a file with it, - for standard input; or the label or the beginning of one
    /// that is known
    pub(in crate::cli) key: String,
    /// The name, or * for all names; more than one with commas, or said again
    #[arg(long, value_name = "NAME", required = true, value_delimiter = ',', value_parser = scope)]
    pub(in crate::cli) scope: Vec<Scope>,
    /// What to call it
    #[arg(long)]
    pub(in crate::cli) label: Option<String>,
    /// What to say of it
    #[arg(long)]
    pub(in crate::cli) comment: Option<String>,
    /// Until when: 30d, 2027-01-31 (its beginning, UTC), or a time such as 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) expires: Option<Until>,
    #[command(flatten)]
    pub(in crate::cli) how: Changing,
}

/// A text to keep with a key.
#[derive(Debug, Args)]
pub(in crate::cli) struct Text {
    /// Its label, its beginning, or all of it
    pub(in crate::cli) key: String,
    /// The text
    #[arg(required_unless_present = "none", conflicts_with = "none")]
    pub(in crate::cli) text: Option<String>,
    /// Keep none
    #[arg(long)]
    pub(in crate::cli) none: bool,
    #[command(flatten)]
    pub(in crate::cli) how: Changing,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Scopes {
    /// Accept a known key for more names
    Add {
        /// Its label, its beginning, or all of it
        key: String,
        /// The names, or * for all
        #[arg(required = true, value_name = "NAME", value_parser = scope)]
        names: Vec<Scope>,
        #[command(flatten)]
        how: Changing,
    },
    /// Accept a key for these names no longer, and end its sessions there
    Remove {
        /// Its label, its beginning, or all of it
        key: String,
        /// The names, or * for what was accepted for all
        #[arg(required = true, value_name = "NAME", value_parser = scope)]
        names: Vec<Scope>,
        #[command(flatten)]
        ending: Ending,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Expire {
    /// Its label, its beginning, or all of it
    pub(in crate::cli) key: String,
    /// 30d, 2027-01-31 (its beginning, UTC), 2027-01-31T18:00:00Z, or never
    #[arg(value_name = "TIME")]
    pub(in crate::cli) until: Until,
    #[command(flatten)]
    pub(in crate::cli) how: Changing,
}

/// Several keys, all of which are changed or none.
#[derive(Debug, Args)]
pub(in crate::cli) struct Keys {
    /// Label, beginning, or all of each
    #[arg(required = true, value_name = "KEY")]
    pub(in crate::cli) keys: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) how: Changing,
}

/// Several keys, all of which are changed or none, and whose sessions end.
#[derive(Debug, Args)]
pub(in crate::cli) struct EndKeys {
    /// Label, beginning, or all of each
    #[arg(required = true, value_name = "KEY")]
    pub(in crate::cli) keys: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) ending: Ending,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Sessions {
    /// Only those of this key: its label, its beginning, or all of it
    pub(in crate::cli) key: Option<String>,
    /// Only those of this name
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<Name>,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}

/// Take over keys that may connect to us, from another program's files or from `key export`.
///
/// What was decided here comes first: a key that is banned or was revoked here is passed over. All
/// of it is tried before any of it is done.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyImport {
    /// A file or a directory
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub(in crate::cli) path: PathBuf,
    /// What it is: arcan, zeromq, curvecp, wireguard or jsonl [default: what it looks like]
    #[arg(long)]
    pub(in crate::cli) format: Option<Format>,
    /// The name, or * for all names, where the file does not say one; may be given several times
    #[arg(long, value_name = "NAME", value_parser = scope)]
    pub(in crate::cli) scope: Vec<Scope>,
    /// Only say what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    #[command(flatten)]
    pub(in crate::cli) json: Json,
}

/// Write keys that may connect to us, for another program or another host. Nothing in it is secret.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyExport {
    /// Which [default: all]
    #[arg(value_name = "KEY")]
    pub(in crate::cli) keys: Vec<String>,
    /// What to write
    #[arg(long, default_value = "jsonl")]
    pub(in crate::cli) format: KeyFormat,
    /// Where to write it; it must not be there yet [default: standard output]
    #[arg(long, short, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(in crate::cli) output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KeyFormat {
    /// Lines of JSON, for `moonport key import`
    Jsonl,
    /// Arcan's keystore directory
    Arcan,
    /// A directory of ZeroMQ's certificates
    Zeromq,
    /// A directory of CurveCP's key directories
    Curvecp,
}
