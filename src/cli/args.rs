//! The command line: each flag is defined once, and help, manual and completions follow from it.

mod connect;
mod hostkeys;
mod keys;
mod operate;
mod run;
mod server;
mod windows;
mod zmtp;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use identity::NameError;
use keystore::Scope;

use super::audit::{Audit, Explain};
use super::{check::Check, curvecp, duration, exit::Exit, test::Test};
pub(super) use connect::Connect;
pub(super) use hostkeys::{HostKey, HostKeyCommand, HostKeyImport};
pub(super) use keys::{
    Accept, AnyKey, Changing, EndKeys, Ending, Expire, KeyExport, KeyFormat, KeyImport, Keys,
    ListKeys, OneKey, Scopes, Sessions, Sort, Text,
};
pub(super) use operate::{Config, Repl, Stop};
pub(super) use run::{Penalties, Run, Sandbox};
pub(super) use server::{Added, ExportFormat, Servers};
pub(super) use windows::{CloseWindow, InviteSource, ListWindows, Open, ShowWindow};
pub(super) use zmtp::{Endpoint, Zap, ZmtpOptions};

/// A Lua-scriptable network host: `net_listen`, with keys that are checked before anything is let in.
#[derive(Debug, Parser)]
#[command(name = "moonport", version, after_help = Exit::table(), max_term_width = 100)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Global {
    /// Where keys, windows and the scripts' state are kept [default: $XDG_STATE_HOME/moonport, or
    /// ~/.local/state/moonport]
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) state_dir: Option<PathBuf>,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as
    /// moonport::host=debug [default: info for `run`, else warn]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(super) log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_name = "FORMAT", default_value = "auto")]
    pub(super) log_format: LogFormat,
    /// Whether to use colour; NO_COLOR in the environment means never, too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
    /// The file with what is not said by flags, or `none` [default: $XDG_CONFIG_HOME/moonport/moonport.toml,
    /// or ~/.config/moonport/moonport.toml, or /etc/moonport/moonport.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) config: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// As for the journal where standard error goes there, else as text
    Auto,
    /// One line of text for each, with the time in UTC
    Text,
    /// One JSON object for each
    Json,
    /// Text with systemd's priorities before it, and no time, which the journal knows
    Journald,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Run(Run),
    Reload(Reload),
    Repl(Repl),
    /// Show in a few seconds what this does: a host, a window, clients, a refusal
    Demo,
    Connect(Box<Connect>),
    #[command(name = "curvecpserver")]
    CurveCpServer(Box<curvecp::Server>),
    #[command(name = "curvecpclient")]
    CurveCpClient(Box<curvecp::Client>),
    /// The keys that are accepted, and the host's own
    #[command(subcommand)]
    Key(Key),
    /// The servers that `connect` knows, each as @TAG
    #[command(subcommand)]
    Server(Servers),
    /// Windows: counted, timed permissions to learn unknown keys by a secret
    #[command(subcommand)]
    Window(Window),
    Zap(Zap),
    /// What happened: every change and who made it, who came and who was refused
    #[command(subcommand)]
    Audit(Audit),
    Explain(Explain),
    /// Write the whole keystore to one file that only a passphrase opens
    Backup(Backup),
    Restore(Restore),
    /// Show what runs; the exit code is 1 if no host does
    Status(Json),
    /// Print counts of what the host does, in the text format of Prometheus; the exit code is 1 if no
    /// host runs
    Metrics,
    Stop(Stop),
    /// Look whether this system is fit for a host, and say what to do where it is not; the exit
    /// code is 1 if something is a problem
    Doctor(Json),
    Check(Check),
    Test(Test),
    Config(Config),
    /// Print LuaLS definitions of everything a script can call
    Stubs,
    /// Write the reference of everything a script can call into the folder of the documents
    #[command(hide = true)]
    Reference {
        /// The folder, with `examples-of-api` in it
        docs: PathBuf,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, or write all pages into a directory
    Man {
        /// Where to write them; made if it is not there
        #[arg(value_hint = clap::ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Load scripts again while they run, and lose no client.
///
/// The new program is loaded beside the old one. Only if that works does it take its place:
/// listeners that it asks for in the same way go on, and its `NAME_adopt` is asked about each
/// client. If anything fails the old program goes on, and the exit code is 1.
#[derive(Debug, Args)]
pub(super) struct Reload {
    /// The script, as `moonport status` calls it, or its file [default: all that run]
    pub(super) script: Option<String>,
    #[command(flatten)]
    pub(super) json: Json,
}

impl Command {
    /// Whether what it does may depend on the configuration file. What only prints what is built in
    /// works where that is wrong, too; and `curvecpserver` does nothing that the program does not
    /// whose place it takes.
    pub(super) fn reads_config(&self) -> bool {
        match self {
            Self::Config(config) => !config.default,
            Self::CurveCpServer(_) | Self::Stubs | Self::Completions { .. } | Self::Man { .. } => {
                false
            }
            _ => true,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Write keys, host keys, the servers that `connect` knows, and the audit log to one file.
///
/// It works beside a running host. Windows are not in it, nor what scripts have stored.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The new file
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(super) file: PathBuf,
    /// Replace a file that is there
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) passphrase: PassphraseSource,
    #[command(flatten)]
    pub(super) json: Json,
}

/// Put a backup in the place of the keystore, while no host runs.
///
/// All of it is checked before anything is changed, and what was there is kept beside. Keys that
/// were revoked since are accepted again: they are shown first.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup
    #[arg(value_hint = clap::ValueHint::FilePath)]
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) passphrase: PassphraseSource,
    /// Only check it, and show what would become different
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub(super) yes: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

/// Where a secret comes from: never from the command line or the environment, which others can see.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct SecretSource {
    /// Read the secret from this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) secret_file: Option<PathBuf>,
    /// Read the secret from this open descriptor
    #[arg(long, value_name = "N")]
    pub(super) secret_fd: Option<u32>,
    /// Ask for the secret on the terminal
    #[arg(long)]
    pub(super) ask_secret: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Print the known keys
    List(ListKeys),
    /// Print all that is known of a key
    Show(OneKey),
    /// Accept a key for a name
    Accept(Accept),
    /// Call a key something
    Label(Text),
    /// Say something of a key
    Comment(Text),
    /// The names that a key is accepted for
    #[command(subcommand)]
    Scope(Scopes),
    /// Accept a key until then
    Expire(Expire),
    /// Accept keys nowhere for the time being, and end their sessions
    Disable(EndKeys),
    /// Accept disabled keys again, where they were accepted before
    Enable(Keys),
    /// Accept keys nowhere any more, and end their sessions
    Revoke(EndKeys),
    /// Never let keys in again, known or not, whatever secret they bring, and end their sessions
    Ban(EndKeys),
    /// Lift a ban; the keys are then revoked ones
    Unban(Keys),
    /// Forget keys, and end their sessions
    Remove(EndKeys),
    /// Print what people compare to be sure that a key is the same
    Fingerprint(AnyKey),
    /// Show a key as a QR code
    Qr {
        /// All of it, a file with it, - for standard input; or the label or the beginning of one
        /// that is known
        key: String,
    },
    /// Print who is in
    Sessions(Sessions),
    Import(KeyImport),
    Export(KeyExport),
    Host(HostKey),
    /// Print the public key that `moonport connect` proves here, for `key accept` over there
    Own {
        /// The file with the private key, made on first use [default: client/identity in the state
        /// directory]
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
        identity: Option<PathBuf>,
        #[command(flatten)]
        shown: OurKey,
    },
}

/// How a public key is shown.
#[derive(Debug, Args)]
pub(super) struct OurKey {
    /// Show it as a QR code, too
    #[arg(long, conflicts_with = "json")]
    pub(super) qr: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

/// Where a passphrase comes from: never from the command line or the environment, which others can
/// see. Without any of these, systemd's credential moonport.passphrase is used, or it is asked for.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct PassphraseSource {
    /// Read the passphrase from this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Read the passphrase from this open descriptor
    #[arg(long, value_name = "N")]
    pub(super) passphrase_fd: Option<u32>,
}

/// Where a passphrase comes from that takes the place of another one.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct NewPassphraseSource {
    /// Read the new passphrase from this file
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) new_passphrase_file: Option<PathBuf>,
    /// Read the new passphrase from this open descriptor
    #[arg(long, value_name = "N")]
    pub(super) new_passphrase_fd: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Window {
    /// Let unknown keys in that know a secret, so many and so long
    Open(Open),
    /// Print the open windows, and what they have let in
    List(ListWindows),
    /// Print all about a window
    Show(ShowWindow),
    /// Close a window
    Close(CloseWindow),
}

/// `*`, or a name.
fn scope(text: &str) -> Result<Scope, NameError> {
    match text {
        "*" => Ok(Scope::Any),
        name => Ok(Scope::Name(name.parse()?)),
    }
}

#[cfg(test)]
mod tests;
