use std::path::PathBuf;

use clap::{Args, Subcommand};
use identity::{Name, Reference};
use keystore::audit::Hash;

use crate::cli::args::Json;
use crate::cli::moment::When;

/// What happened: every change and who made it, who came and who was refused.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Print what happened, the oldest first
    Show {
        #[command(flatten)]
        wanted: Wanted,
        /// Only the last ones
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
        /// Print the records as they are, a line of JSON each
        #[arg(long)]
        json: bool,
    },
    /// Print what happens, until it is interrupted
    Follow {
        #[command(flatten)]
        wanted: Wanted,
        /// How many of those before to print first
        #[arg(long, value_name = "N", default_value = "10")]
        limit: usize,
        /// Print the records as they are, a line of JSON each
        #[arg(long)]
        json: bool,
    },
    /// Check that no record was changed or taken away; the exit code is 1 if one was
    ///
    /// The head that is printed stands for all records up to it. Note it where nobody who can write
    /// here can write, and give it with --head some other time.
    Verify {
        /// A head that was printed before: its record must still be there
        #[arg(long, value_name = "HASH")]
        head: Option<Hash>,
        #[command(flatten)]
        json: Json,
    },
    /// Print all records as they are, checked, a line of JSON each
    Export {
        /// Write them to a new file
        #[arg(long, short, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
}

/// Which records are meant; all of it has to fit.
#[derive(Debug, Args)]
pub(crate) struct Wanted {
    /// Not before: 2026-11-21, 2026-11-21T10:30Z (UTC), or so long ago: 90s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<When>,
    /// Before
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<When>,
    /// About this key: its label then, its beginning, or all of it
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    /// About this name
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<Name>,
    /// About this window: its number or the beginning of it
    #[arg(long, value_name = "WINDOW")]
    pub(super) window: Option<String>,
    /// Only this kind, such as refused, admitted, accept or window-open
    #[arg(long, value_name = "KIND")]
    pub(super) kind: Option<String>,
}

/// Say in plain words why somebody was refused
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// What the refused one was shown, such as MFRG-GZDF
    pub(super) reference: Reference,
    #[command(flatten)]
    pub(super) json: Json,
}
