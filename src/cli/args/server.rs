//! `moonport server`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use identity::{Name, NameError};

use super::Json;
use crate::cli::address::Address;
use crate::formats::{Format, NoFormat};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Servers {
    /// Print the servers that are known
    List(Json),
    /// Print what is known of a server, and the key that we prove to it
    Show {
        /// Its tag
        #[arg(value_parser = tag)]
        tag: Name,
        #[command(flatten)]
        json: Json,
    },
    /// Add a server, or addresses and keys to one that is known
    ///
    /// It may prove any of its keys, and its addresses are tried in order. A server that changes its
    /// key has both for a while; then, --replace with the new one drops the old.
    Add(Added),
    /// Forget a server, and the key of ours that was for it only
    Remove {
        /// Its tag
        #[arg(value_parser = tag)]
        tag: Name,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Give a server another tag
    Rename {
        /// The tag that it has
        #[arg(value_parser = tag)]
        old: Name,
        /// The tag that it is to have
        #[arg(value_parser = tag)]
        new: Name,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Take over servers from another program's files, or from lines of our own
    ///
    /// Servers are in Arcan's keystore (outbound-TAG), among WireGuard's peers (Endpoint and a name),
    /// and in lines of JSON from `moonport server export`.
    Import {
        /// A file or a directory
        #[arg(value_hint = clap::ValueHint::AnyPath)]
        path: PathBuf,
        /// What it is: arcan, wireguard or jsonl [default: what it looks like]
        #[arg(long, value_parser = format)]
        format: Option<Format>,
        /// Take over the private keys that are proved to servers, too
        #[arg(long)]
        private: bool,
        /// Take over servers whose tag is known already, too
        #[arg(long)]
        replace: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the servers that are known, for another program or another machine
    Export {
        /// Where to write it: for arcan a directory, which must not be there yet [default: standard
        /// output]
        #[arg(required_if_eq("format", "arcan"), value_hint = clap::ValueHint::AnyPath)]
        path: Option<PathBuf>,
        /// What to write
        #[arg(long, default_value = "jsonl")]
        format: ExportFormat,
        /// Write our own private keys, too, without which arcan is told no addresses
        #[arg(long)]
        private: bool,
    },
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Added {
    /// What to call it
    #[arg(value_parser = tag)]
    pub(in crate::cli) tag: Name,
    /// HOST, HOST:PORT or [V6]:PORT; several are tried in order
    #[arg(value_name = "ADDRESS", value_hint = clap::ValueHint::Hostname)]
    pub(in crate::cli) addresses: Vec<Address>,
    /// A key that it may prove: base64, hex, Z85, a file with it, or - for standard input; may be
    /// given several times
    #[arg(long = "key", value_name = "KEY", allow_hyphen_values = true)]
    pub(in crate::cli) keys: Vec<String>,
    /// What it is called elsewhere
    #[arg(long)]
    pub(in crate::cli) label: Option<String>,
    /// What else is to be remembered
    #[arg(long)]
    pub(in crate::cli) comment: Option<String>,
    /// Make a key of ours that is proved to this server only
    #[arg(long)]
    pub(in crate::cli) own_identity: bool,
    /// Forget what is known under this tag, but the key of ours for it
    #[arg(long)]
    pub(in crate::cli) replace: bool,
    /// Only say what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ExportFormat {
    /// Lines of JSON, for `moonport server import`
    Jsonl,
    /// Arcan's keystore directory
    Arcan,
}

/// A tag, as it is or as it is given to `connect`.
fn tag(text: &str) -> Result<Name, NameError> {
    text.strip_prefix('@').unwrap_or(text).parse()
}

fn format(text: &str) -> Result<Format, NoFormat> {
    text.parse()
}
