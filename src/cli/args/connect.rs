//! `moonport connect`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use identity::Name;

use super::{InviteSource, SecretSource, ZmtpOptions};
use crate::cli::address::Server;
use crate::cli::{curvecp, duration};

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
pub(in crate::cli) struct Connect {
    /// HOST, HOST:PORT, [V6]:PORT or @TAG; zmtp://KEY@HOST:PORT, zmtp://HOST:PORT or zmtp://@TAG;
    /// curvecp://KEY@HOST:PORT[/NAME]
    #[arg(
        value_name = "SERVER",
        value_hint = clap::ValueHint::Hostname,
        required_unless_present = "InviteSource",
        conflicts_with = "InviteSource"
    )]
    pub(in crate::cli) server: Option<Server>,
    /// The key that the server must have: base64, hex, Z85, a file with it, or - for standard input
    #[arg(long, value_name = "KEY", conflicts_with = "InviteSource")]
    pub(in crate::cli) server_key: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) secret: SecretSource,
    #[command(flatten)]
    pub(in crate::cli) invite: InviteSource,
    /// Remember the server under this tag once it has proved its key [default: what an invitation
    /// says, if there is one]
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) tag: Option<Name>,
    /// The title to register with
    #[arg(long = "name", value_name = "TITLE", default_value = "moonport")]
    pub(in crate::cli) title: String,
    /// Our own key: a file, made on first use [default: the one for this server, if there is one,
    /// else client/identity in the state directory]
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(in crate::cli) identity: Option<PathBuf>,
    /// Make one round: faster, but an eavesdropper who knows the secret sees our key
    #[arg(long)]
    pub(in crate::cli) one_round: bool,
    /// Only ask what the other side is
    #[arg(long)]
    pub(in crate::cli) probe: bool,
    /// Print JSON; for a12 only with --probe
    #[arg(long)]
    pub(in crate::cli) json: bool,
    /// Stay connected when standard input ends
    #[arg(long, conflicts_with = "probe")]
    pub(in crate::cli) stay: bool,
    /// How long connecting and the handshake may take, each
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(in crate::cli) handshake_timeout: Duration,
    /// Say on standard error what else happens
    #[arg(short, long)]
    pub(in crate::cli) verbose: bool,
    #[command(flatten)]
    pub(in crate::cli) zmtp: ZmtpOptions,
    #[command(flatten)]
    pub(in crate::cli) curvecp: curvecp::Options,
}
