//! `moonport key host`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use identity::Name;

use super::{Changing, Json, NewPassphraseSource, OurKey, PassphraseSource, duration};
use crate::formats::Format;

/// The host's own keys; alone: print the public key that its clients are shown
///
/// A host proves the key of the tag `default`. It is made on first use.
#[derive(Debug, Args)]
pub(in crate::cli) struct HostKey {
    #[command(flatten)]
    pub(in crate::cli) shown: OurKey,
    #[command(subcommand)]
    pub(in crate::cli) command: Option<HostKeyCommand>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HostKeyCommand {
    /// Print the host's keys under all tags; no passphrase is needed
    List(Json),
    /// Make a key under a tag that has none
    New {
        /// The tag
        tag: Name,
        /// Seal it by a passphrase
        #[arg(long)]
        seal: bool,
        #[command(flatten)]
        passphrase: PassphraseSource,
        #[command(flatten)]
        how: Changing,
    },
    Import(HostKeyImport),
    /// Make another key the current one
    ///
    /// Who was accepted before is answered by the previous key until the overlap ends, everybody
    /// else by the new one. A running host does so at once.
    Rotate {
        /// The tag
        #[arg(default_value = "default")]
        tag: Name,
        /// How long the previous key goes on answering
        #[arg(long, value_name = "TIME", default_value = "30d", value_parser = duration::parse)]
        overlap: Duration,
        #[command(flatten)]
        passphrase: PassphraseSource,
        #[command(flatten)]
        how: Changing,
    },
    /// Forget the previous key now, before its overlap ends
    Retire {
        /// The tag
        #[arg(default_value = "default")]
        tag: Name,
        #[command(flatten)]
        passphrase: PassphraseSource,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        how: Changing,
    },
    /// Seal a key by a passphrase, which every start of the host needs from then on
    Seal {
        /// The tag
        #[arg(default_value = "default")]
        tag: Name,
        #[command(flatten)]
        passphrase: PassphraseSource,
        #[command(flatten)]
        how: Changing,
    },
    /// Keep a sealed key unsealed
    Unseal {
        /// The tag
        #[arg(default_value = "default")]
        tag: Name,
        #[command(flatten)]
        passphrase: PassphraseSource,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
        #[command(flatten)]
        how: Changing,
    },
    /// Change the passphrase of a sealed key
    Reseal {
        /// The tag
        #[arg(default_value = "default")]
        tag: Name,
        #[command(flatten)]
        passphrase: PassphraseSource,
        #[command(flatten)]
        new: NewPassphraseSource,
        #[command(flatten)]
        how: Changing,
    },
}

/// Take over private keys to listen with, from Arcan's keystore, ZeroMQ's or CurveCP's files.
#[derive(Debug, Args)]
pub(in crate::cli) struct HostKeyImport {
    /// A file or a directory
    #[arg(value_hint = clap::ValueHint::AnyPath)]
    pub(in crate::cli) path: PathBuf,
    /// Under which tag [default: its own, such as default in Arcan's keystore]
    pub(in crate::cli) tag: Option<Name>,
    /// What it is: arcan, zeromq or curvecp [default: what it looks like]
    #[arg(long)]
    pub(in crate::cli) format: Option<Format>,
    /// Seal them by a passphrase
    #[arg(long)]
    pub(in crate::cli) seal: bool,
    #[command(flatten)]
    pub(in crate::cli) passphrase: PassphraseSource,
    #[command(flatten)]
    pub(in crate::cli) how: Changing,
}
