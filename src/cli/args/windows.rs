//! What `moonport window` takes.

use std::time::Duration;

use clap::Args;
use identity::Name;

use super::SecretSource;
use crate::cli::address::Address;
use crate::cli::duration;

#[derive(Debug, Args)]
pub(in crate::cli) struct Open {
    /// The name that the keys will be accepted for
    pub(in crate::cli) name: Name,
    /// How many keys
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    pub(in crate::cli) count: u32,
    /// How long
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = duration::parse)]
    pub(in crate::cli) lasts: Duration,
    /// What to call the window
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) label: Option<String>,
    /// Where the new machine reaches this one [default: where the name is listened on]
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(in crate::cli) host: Option<Address>,
    /// Make up a secret that nobody can guess; the default
    #[arg(long, conflicts_with = "SecretSource")]
    pub(in crate::cli) generate: bool,
    /// Let in whoever comes by a protocol whose clients have no field for a secret, those of
    /// ZeroMQ and CurveCP, and nobody by others
    #[arg(long, conflicts_with_all = ["SecretSource", "generate", "host", "qr"])]
    pub(in crate::cli) without_secret: bool,
    #[command(flatten)]
    pub(in crate::cli) secret: SecretSource,
    /// Show the line for the new machine and the invitation as QR codes, too
    #[arg(long, conflicts_with_all = ["json", "dry_run"])]
    pub(in crate::cli) qr: bool,
    /// Only say what would be opened
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ListWindows {
    /// Those that have ended within a day, too
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ShowWindow {
    /// Its number or the beginning of it, its label, or a name that has only one
    pub(in crate::cli) window: String,
    /// Print JSON
    #[arg(long, conflicts_with = "watch")]
    pub(in crate::cli) json: bool,
    /// Go on showing it until it ends
    #[arg(long)]
    pub(in crate::cli) watch: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct CloseWindow {
    /// Its number or the beginning of it, its label, or a name that has only one
    pub(in crate::cli) window: String,
    /// Do not ask
    #[arg(long, short)]
    pub(in crate::cli) yes: bool,
    /// Only say what would be closed
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub(in crate::cli) json: bool,
}

/// Where an invitation comes from. There is a secret in it: it is no word of the command line.
#[derive(Debug, Args)]
#[group(multiple = false, conflicts_with = "SecretSource")]
pub(in crate::cli) struct InviteSource {
    /// Read an invitation (moonport://enrol?…) from this file, or - for the first line of standard
    /// input
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(in crate::cli) invite_file: Option<std::path::PathBuf>,
    /// Read an invitation from this open descriptor
    #[arg(long, value_name = "N")]
    pub(in crate::cli) invite_fd: Option<u32>,
    /// Ask for an invitation on the terminal
    #[arg(long)]
    pub(in crate::cli) ask_invite: bool,
}
