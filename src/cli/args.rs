//! The command line: each flag is defined once, and help, manual and completions follow from it.

mod hostkeys;
mod keys;
mod server;
mod windows;
mod zmtp;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use identity::{Name, NameError};
use keystore::Scope;

use super::address::Server;
use super::audit::{Audit, Explain};
use super::{curvecp, duration, exit::Exit};
use crate::host::Reach;
use crate::ipc::Unproved;
use crate::ipc::script::ErrorMode;
pub(super) use hostkeys::{HostKey, HostKeyCommand, HostKeyImport};
pub(super) use keys::{
    Accept, AnyKey, Changing, EndKeys, Ending, Expire, KeyExport, KeyFormat, KeyImport, Keys,
    ListKeys, OneKey, Scopes, Sessions, Sort, Text,
};
pub(super) use windows::{CloseWindow, InviteSource, ListWindows, Open, ShowWindow};

pub(super) use server::{Added, ExportFormat, Servers};
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
    #[arg(long, global = true, value_name = "FORMAT", default_value = "text")]
    pub(super) log_format: LogFormat,
    /// Whether to use colour; NO_COLOR in the environment means never, too
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(super) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// One line of text for each
    Text,
    /// One JSON object for each
    Json,
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
    /// Show in a few seconds what this does: a host, a window, clients, a refusal
    Demo,
    Connect(Box<Connect>),
    #[command(name = "curvecpserver")]
    CurveCpServer(Box<curvecp::Server>),
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
    /// Look whether this system is fit for a host, and say what to do where it is not; the exit
    /// code is 1 if something is a problem
    Doctor(Json),
    /// Print LuaLS definitions of everything a script can call
    Stubs,
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

#[derive(Debug, Args)]
pub(super) struct Json {
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Run scripts, each in a process of its own, until all have ended.
///
/// An interrupt (Ctrl-C) or SIGTERM ends them in order, a second one at once. The exit code is the
/// highest that a script has ended with: `shutdown("", 7)` gives 7.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Lua files, or appl directories (NAME with NAME.lua in it)
    #[arg(required = true, value_name = "SCRIPT", value_hint = clap::ValueHint::AnyPath)]
    pub(super) scripts: Vec<PathBuf>,
    /// Words for the scripts
    #[arg(last = true)]
    pub(super) arguments: Vec<String>,
    /// Whether to run where something that the sandbox should deny is not denied
    #[arg(long, value_name = "HOW", default_value = "best-effort")]
    pub(super) sandbox: Sandbox,
    /// What an error that a script does not catch ends
    #[arg(long, value_name = "MODE", default_value = "isolate")]
    pub(super) errors: Errors,
    /// A callback that takes longer is reported
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration::brief)]
    pub(super) handler_warn: Duration,
    /// A callback that takes longer is stopped
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::brief)]
    pub(super) handler_limit: Duration,
    /// How much memory a script may use, with K, M or G for KiB, MiB or GiB
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = memory)]
    pub(super) memory: usize,
    /// How long a client may take from connecting to having proved its key
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    pub(super) handshake_timeout: Duration,
    /// How many connections of a listener may have proved no key yet: from START on a newcomer
    /// pushes one of them out with a chance of RATE per cent, growing to certainty at FULL
    #[arg(long, value_name = "START:RATE:FULL", default_value_t = Unproved::USUAL)]
    pub(super) unproved: Unproved,
    /// Whether a source address whose connections break the rules again and again is refused for a
    /// while, at most a minute
    #[arg(long, value_name = "WHEN", default_value = "on")]
    pub(super) penalties: Penalties,
    /// What scripts may connect to, as clients (moonport.connect); * for HOST is any. Servers know
    /// them by the host key with the tag `client`, which is made if it is not there
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(super) allow_connect: Vec<Reach>,
    #[command(flatten)]
    pub(super) passphrase: PassphraseSource,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Penalties {
    /// Unless a client from there has proved its key in the last hour
    On,
    /// Never
    Off,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Sandbox {
    /// Deny what this kernel can deny, and log the rest
    BestEffort,
    /// Refuse to run scripts and to listen unless everything is denied
    Require,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Errors {
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

/// Connect to a host: lines of standard input are sent, what it says is printed.
///
/// The first time, the server's key is shown and asked for; compare its words with those that
/// `moonport key host` prints over there. An invitation, which `moonport window open` prints over
/// there, has all of this in one line, and asks nothing. With --tag the server is remembered, once it has proved
/// that key, and is @TAG from then on.
///
/// A server of ZeroMQ's is named with zmtp://, and has to be CURVE's server. Its key is given, since
/// it cannot be asked for: as KEY (Z85, hex or base64), by --server-key, or by `moonport server add`.
/// Each line of standard input is a message then, and so is each line that is printed. When the
/// connection is lost, another is made; not after a refusal, and not with --once.
#[derive(Debug, Args)]
pub(super) struct Connect {
    /// HOST, HOST:PORT, [V6]:PORT or @TAG; zmtp://KEY@HOST:PORT, zmtp://HOST:PORT or zmtp://@TAG;
    /// curvecp://KEY@HOST:PORT[/NAME]
    #[arg(
        value_name = "SERVER",
        value_hint = clap::ValueHint::Hostname,
        required_unless_present = "InviteSource",
        conflicts_with = "InviteSource"
    )]
    pub(super) server: Option<Server>,
    /// The key that the server must have: base64, hex, Z85, a file with it, or - for standard input
    #[arg(long, value_name = "KEY", conflicts_with = "InviteSource")]
    pub(super) server_key: Option<String>,
    #[command(flatten)]
    pub(super) secret: SecretSource,
    #[command(flatten)]
    pub(super) invite: InviteSource,
    /// Remember the server under this tag once it has proved its key [default: what an invitation
    /// says, if there is one]
    #[arg(long, value_name = "NAME")]
    pub(super) tag: Option<Name>,
    /// The title to register with
    #[arg(long = "name", value_name = "TITLE", default_value = "moonport")]
    pub(super) title: String,
    /// Our own key: a file, made on first use [default: the one for this server, if there is one,
    /// else client/identity in the state directory]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(super) identity: Option<PathBuf>,
    /// Make one round: faster, but an eavesdropper who knows the secret sees our key
    #[arg(long)]
    pub(super) one_round: bool,
    /// Only ask what the other side is
    #[arg(long)]
    pub(super) probe: bool,
    /// Print JSON; for a12 only with --probe
    #[arg(long)]
    pub(super) json: bool,
    /// Stay connected when standard input ends
    #[arg(long, conflicts_with = "probe")]
    pub(super) stay: bool,
    /// How long connecting and the handshake may take, each
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(super) handshake_timeout: Duration,
    /// Say on standard error what else happens
    #[arg(short, long)]
    pub(super) verbose: bool,
    #[command(flatten)]
    pub(super) zmtp: ZmtpOptions,
    #[command(flatten)]
    pub(super) curvecp: curvecp::Options,
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

fn scope(text: &str) -> Result<Scope, NameError> {
    match text {
        "*" => Ok(Scope::Any),
        name => Ok(Scope::Name(name.parse()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    fn parse(line: &str) -> Result<Command, ErrorKind> {
        match Cli::try_parse_from(line.split_whitespace()) {
            Ok(cli) => Ok(cli.command),
            Err(error) => Err(error.kind()),
        }
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn scripts_and_their_words_are_told_apart() {
        let Ok(Command::Run(run)) = parse("moonport run a.lua b.lua -- 6680 --x") else {
            panic!("no run");
        };
        assert_eq!(run.scripts.len(), 2);
        assert_eq!(run.arguments, ["6680", "--x"]);
        assert_eq!(run.sandbox, Sandbox::BestEffort);
        assert_eq!(ErrorMode::from(run.errors), ErrorMode::Isolate);
        assert_eq!(run.handler_warn, Duration::from_millis(50));
        assert_eq!(run.handler_limit, Duration::from_secs(2));
        assert_eq!(run.memory, 256 << 20);
        assert!(parse("moonport run a.lua --memory 64M --handler-limit 500ms").is_ok());
        for wrong in [
            "--memory 64",
            "--memory 3M",
            "--memory 1T",
            "--handler-limit 0ms",
        ] {
            assert!(
                parse(&format!("moonport run a.lua {wrong}")).is_err(),
                "{wrong}"
            );
        }
        assert!(parse("moonport run").is_err());
        assert!(parse("moonport run a.lua --errors=loud").is_err());
    }

    #[test]
    fn a_secret_comes_from_one_place_and_never_from_the_command_line() {
        assert!(parse("moonport connect host --secret-fd 3").is_ok());
        assert_eq!(
            parse("moonport connect host --secret-fd 3 --ask-secret").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
        assert_eq!(
            parse("moonport connect host --secret sekrit").unwrap_err(),
            ErrorKind::UnknownArgument
        );
        assert_eq!(
            parse("moonport window open hello --generate --secret-file f").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn a_key_is_accepted_only_where_somebody_says() {
        assert_eq!(
            parse("moonport key accept KEY").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        let Ok(Command::Key(Key::Accept(accept))) =
            parse("moonport key accept KEY --scope a,b --scope *")
        else {
            panic!("no accept");
        };
        let names = accept.scope.iter().map(Scope::as_str);
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "*"]);
        assert!(parse("moonport key accept KEY --scope a:b").is_err());
    }

    #[test]
    fn a_label_is_given_or_taken_away() {
        assert!(parse("moonport key label KEY laptop").is_ok());
        assert!(parse("moonport key label KEY --none").is_ok());
        assert_eq!(
            parse("moonport key label KEY").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert_eq!(
            parse("moonport key label KEY laptop --none").unwrap_err(),
            ErrorKind::ArgumentConflict
        );
    }

    #[test]
    fn an_invitation_is_no_word_of_the_command_line_and_says_everything() {
        assert!(parse("moonport connect --ask-invite").is_ok());
        assert!(parse("moonport connect --invite-file - --tag home").is_ok());
        for line in [
            "moonport connect host --ask-invite",
            "moonport connect --ask-invite --ask-secret",
            "moonport connect --ask-invite --invite-fd 3",
            "moonport connect --ask-invite --server-key KEY",
        ] {
            assert_eq!(
                parse(line).unwrap_err(),
                ErrorKind::ArgumentConflict,
                "{line}"
            );
        }
        assert_eq!(
            parse("moonport connect").unwrap_err(),
            ErrorKind::MissingRequiredArgument
        );
        assert!(parse("moonport connect moonport://enrol?host=h#s").is_err());
    }

    #[test]
    fn windows_are_counted_and_timed() {
        let Ok(Command::Window(Window::Open(open))) = parse("moonport window open hello") else {
            panic!("no window");
        };
        assert_eq!((open.count, open.lasts), (1, Duration::from_secs(600)));
        assert!(parse("moonport window open hello --count 0").is_err());
        assert!(parse("moonport window open hello --for 0").is_err());
        assert!(parse("moonport window open hello --without-secret --json").is_ok());
        for secret in [
            "--generate",
            "--ask-secret",
            "--secret-fd 3",
            "--qr",
            "--host h",
        ] {
            let line = format!("moonport window open hello --without-secret {secret}");
            assert_eq!(parse(&line).unwrap_err(), ErrorKind::ArgumentConflict);
        }
        assert!(parse("moonport window open *").is_err());
    }

    #[test]
    fn a_host_key_is_shown_alone_or_changed() {
        for line in [
            "moonport key host",
            "moonport key host --json",
            "moonport --state-dir /x key host --qr",
            "moonport key host --state-dir /x list",
            "moonport key host list --json --state-dir /x",
            "moonport key host rotate other --overlap 1d --dry-run --passphrase-fd 3",
            "moonport key host new x --seal",
            "moonport key host reseal --passphrase-file a --new-passphrase-file b",
        ] {
            assert!(parse(line).is_ok(), "{line}: {:?}", parse(line));
        }
        for line in [
            "moonport key host --qr --json",
            "moonport key host new",
            "moonport key host seal --passphrase sekrit",
            "moonport key host seal --passphrase-fd 3 --passphrase-file x",
            "moonport run a.lua --passphrase sekrit",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn global_flags_go_anywhere() {
        let cli = |line: &str| Cli::try_parse_from(line.split_whitespace()).unwrap();
        let before = cli("moonport --state-dir /x status --json")
            .global
            .state_dir;
        let after = cli("moonport status --json --state-dir /x")
            .global
            .state_dir;
        assert_eq!(before, after);
    }
}
