//! What is said on the command line, with the ways of reading numbers that the reference has.

use std::ffi::OsString;
use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory};
use data_encoding::HEXLOWER_PERMISSIVE;
use identity::PublicKey;
use thiserror::Error;

use super::super::args::Cli;
use super::super::{address, duration};
use super::USAGE;
use crate::wire::curvecp::{Extension, ServerName};

/// Serve CurveCP: a program for each client, in place of Debian's curvecpserver.
///
/// PROG gets messages from its client on descriptor 8 and writes its own to descriptor 9, each behind
/// a byte that says how many times 16 bytes it has. REMOTEPK in its environment is the client's
/// long-term key in hex, TCPREMOTEIP its address. The exit code is 100 for a wrong command line and
/// 111 if something else is wrong.
#[derive(Debug, Args)]
pub(in super::super) struct Server {
    /// Print no error messages
    #[arg(short, overrides_with_all = ["quiet", "loud", "verbose"])]
    pub(super) quiet: bool,
    /// Print error messages, which is usual
    #[arg(short = 'Q', overrides_with_all = ["quiet", "loud", "verbose"])]
    loud: bool,
    /// Print who comes and goes, too
    #[arg(short, overrides_with_all = ["quiet", "loud", "verbose"])]
    pub(super) verbose: bool,
    /// How many clients are served at once, 65535 at most
    #[arg(short = 'c', value_name = "N", default_value = "100", value_parser = clients, overrides_with = "clients")]
    pub(super) clients: u16,
    /// How long nothing may come from a client until it is taken for gone
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = duration::parse)]
    pub(super) idle: Duration,
    /// The server's name, by which clients must ask: labels as in the DNS
    #[arg(value_name = "SNAME", value_parser = ServerName::from_str)]
    pub(super) name: ServerName,
    /// A key directory, as curvecpmakekey makes it
    #[arg(value_name = "KEYDIR", value_hint = clap::ValueHint::DirPath)]
    pub(super) keys: PathBuf,
    /// The IPv4 address to listen on
    #[arg(value_parser = ip)]
    pub(super) ip: Ipv4Addr,
    /// The UDP port
    #[arg(value_parser = port)]
    pub(super) port: u16,
    /// The server's extension, 32 digits of hex, by which clients must ask
    #[arg(value_name = "EXT", value_parser = extension)]
    pub(super) extension: Extension,
    /// What is started for each client, found as a shell finds it, and its arguments
    #[arg(
        value_name = "PROG",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_hint = clap::ValueHint::CommandWithArguments
    )]
    pub(super) program: Vec<OsString>,
}

/// Connect a program to a CurveCP server, in place of Debian's curvecpclient.
///
/// PROG gets messages from the server on descriptor 8 and writes its own to descriptor 9, each behind
/// a byte that says how many times 16 bytes it has. It is started when the server has answered. The
/// exit code is PROG's, 100 for a wrong command line and 111 if something else is wrong.
#[derive(Debug, Args)]
pub(in super::super) struct Client {
    /// Print no error messages
    #[arg(short, overrides_with_all = ["quiet", "loud", "verbose"])]
    pub(super) quiet: bool,
    /// Print error messages, which is usual
    #[arg(short = 'Q', overrides_with_all = ["quiet", "loud", "verbose"])]
    loud: bool,
    /// Print where the connection goes, too
    #[arg(short, overrides_with_all = ["quiet", "loud", "verbose"])]
    pub(super) verbose: bool,
    /// A key directory, as curvecpmakekey makes it, whose key is proved [default: one made for this
    /// connection]
    #[arg(short = 'c', value_name = "KEYDIR", overrides_with = "keys", value_hint = clap::ValueHint::DirPath)]
    pub(super) keys: Option<PathBuf>,
    /// The name by which the server goes: labels as in the DNS
    #[arg(value_name = "SNAME", value_parser = ServerName::from_str)]
    pub(super) name: ServerName,
    /// The server's long-term key, 64 digits of hex, as curvecpprintkey prints it
    #[arg(value_name = "PK", value_parser = hex_key)]
    pub(super) server: PublicKey,
    /// The server's IPv4 addresses, with commas between them, tried in random order
    #[arg(value_name = "IP", value_parser = Addresses::from_str)]
    pub(super) ips: Addresses,
    /// Its UDP port
    #[arg(value_parser = port)]
    pub(super) port: u16,
    /// Its extension, 32 digits of hex
    #[arg(value_name = "EXT", value_parser = extension)]
    pub(super) extension: Extension,
    /// What is started, found as a shell finds it, and its arguments
    #[arg(
        value_name = "PROG",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_hint = clap::ValueHint::CommandWithArguments
    )]
    pub(super) program: Vec<OsString>,
}

/// Addresses, written with commas between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Addresses(pub(super) Vec<Ipv4Addr>);

impl FromStr for Addresses {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        text.split(',').map(ip).collect::<Result<_, _>>().map(Self)
    }
}

/// What `connect` takes for curvecp:// alone.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options for curvecp://")]
pub(in super::super) struct Options {
    /// The name by which the server goes [default: what stands behind the port, else none]
    #[arg(long, value_name = "NAME", value_parser = ServerName::from_str)]
    pub(super) server_name: Option<ServerName>,
    /// The server's extension: 32 digits of hex [default: zeros]
    #[arg(long, value_name = "HEX", value_parser = extension)]
    pub(super) extension: Option<Extension>,
    /// Prove a key that is made for this connection alone
    #[arg(long, conflicts_with = "identity")]
    pub(super) anonymous: bool,
}

/// `curvecp://KEY@HOST:PORT[/SERVERNAME]`, as it is written without its beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Address {
    /// The server's long-term key.
    pub(super) key: PublicKey,
    pub(super) at: address::Address,
    pub(super) name: Option<ServerName>,
}

/// Why something is no [`Address`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(in super::super) enum AddressError {
    #[error("it is curvecp://KEY@HOST:PORT, with or without /SERVERNAME")]
    Form,
    #[error("{0:?} is no public key: {1}")]
    Key(String, identity::KeyError),
    #[error("{0:?}: {1}")]
    Name(String, crate::wire::curvecp::NameError),
}

impl Address {
    /// Reads what follows `curvecp://`; `at` reads the host and its port.
    pub(in super::super) fn parse<E: From<AddressError>>(
        text: &str,
        at: impl FnOnce(&str) -> Result<address::Address, E>,
    ) -> Result<Self, E> {
        // A key in Z85 may have both signs in it, a host has neither.
        let (key, place) = text.rsplit_once('@').ok_or(AddressError::Form)?;
        let (place, name) = match place.split_once('/') {
            Some((place, name)) => (place, Some(name)),
            None => (place, None),
        };
        let has_port = place.rsplit_once(':').is_some_and(|(host, port)| {
            let whole = !host.contains(':') || host.ends_with(']');
            whole && port.bytes().all(|digit| digit.is_ascii_digit())
        });
        if !has_port {
            return Err(AddressError::Form.into());
        }
        let name = name.filter(|name| !name.is_empty()).map(|name| {
            name.parse()
                .map_err(|why| AddressError::Name(name.into(), why))
        });
        Ok(Self {
            key: key
                .parse()
                .map_err(|why| AddressError::Key(key.into(), why))?,
            at: at(place)?,
            name: name.transpose()?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "curvecp://{}@{}", self.key, self.at)?;
        match &self.name {
            Some(name) => write!(f, "/{name}"),
            None => Ok(()),
        }
    }
}

/// Tells what is wrong with a command line; the exit code depends on whose it is.
pub(in super::super) fn usage(error: clap::Error) -> ExitCode {
    // Where that cannot be told, nobody listens.
    let _ = error.print();
    let lenient = Cli::command().ignore_errors(true).try_get_matches();
    let name = lenient
        .ok()
        .and_then(|found| Some(found.subcommand_name()?.to_owned()));
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ if matches!(name.as_deref(), Some("curvecpserver" | "curvecpclient")) => USAGE.into(),
        code => u8::try_from(code).unwrap_or(u8::MAX).into(),
    }
}

fn digits(text: &str, most: usize) -> Option<u32> {
    let all = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|_| all && text.len() <= most)
}

/// How many clients.
fn clients(text: &str) -> Result<u16, &'static str> {
    digits(text, 9)
        .and_then(|number| number.try_into().ok())
        .filter(|number| *number > 0)
        .ok_or("a number from 1 to 65535")
}

/// Four numbers of up to three digits, of which the last eight bits count.
fn ip(text: &str) -> Result<Ipv4Addr, &'static str> {
    let octets = text.split('.').map(|octet| Some(digits(octet, 3)? as u8));
    octets
        .collect::<Option<Vec<_>>>()
        .and_then(|octets| <[u8; 4]>::try_from(octets).ok())
        .map(Ipv4Addr::from)
        .ok_or("an IPv4 address: four numbers with dots between them")
}

/// Up to five digits, of which the last sixteen bits count.
fn port(text: &str) -> Result<u16, &'static str> {
    let number = digits(text, 5).ok_or("a port is a number of up to five digits")?;
    Ok(number as u16)
}

fn hex_key(text: &str) -> Result<PublicKey, String> {
    let bytes: Option<[u8; 32]> = HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.ok_or("a server's key is 64 digits of hex")?;
    PublicKey::parse(&bytes).map_err(|error| error.to_string())
}

fn extension(text: &str) -> Result<Extension, &'static str> {
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(Extension)
        .ok_or("an extension is 32 digits of hex")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_the_reference_reads_them() {
        assert_eq!(ip("383.256.0.257"), Ok(Ipv4Addr::new(127, 0, 0, 1)));
        for wrong in [
            "",
            "127.0.0",
            "127.0.0.1.2",
            "0127.0.0.1",
            "1.2.3.",
            "a.b.c.d",
        ] {
            assert!(ip(wrong).is_err(), "{wrong}");
        }
        assert_eq!((port("0"), port("70000")), (Ok(0), Ok(4464)));
        for wrong in ["", "123456", "-1", "+1", "0x"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
        assert_eq!((clients("005"), clients("65535")), (Ok(5), Ok(65535)));
        for wrong in ["", "0", "65536", "65537", "5x", "+5"] {
            assert!(clients(wrong).is_err(), "{wrong}");
        }
        assert!(extension(&"aF".repeat(16)).is_ok());
        for wrong in ["", &"a".repeat(31), &"a".repeat(34), &"g".repeat(32)] {
            assert!(extension(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_address_has_a_key_a_port_and_perhaps_a_name() {
        let key = "4b".repeat(32);
        let parse = |text: String| match text.parse::<address::Server>() {
            Ok(address::Server::CurveCp(address)) => Ok(*address),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        };
        let full = parse(format!("curvecp://{key}@example.org:10000/this.name")).unwrap();
        assert_eq!(full.at.to_string(), "example.org:10000");
        assert_eq!(full.name.as_ref().unwrap().to_string(), "this.name");
        assert_eq!(parse(full.to_string()), Ok(full));
        let short = parse(format!("curvecp://{key}@[::1]:1/")).unwrap();
        assert_eq!((short.at.host.as_str(), short.name), ("::1", None));
        for (wrong, why) in [
            (format!("curvecp://{key}"), "KEY@HOST:PORT"),
            (format!("curvecp://{key}@host"), "KEY@HOST:PORT"),
            (format!("curvecp://{key}@::1"), "KEY@HOST:PORT"),
            (format!("curvecp://{key}@host:0"), "1 to 65535"),
            ("curvecp://me@host:1".to_owned(), "no public key"),
            (
                format!("curvecp://{key}@host:1/{}", "x".repeat(64)),
                "63 bytes",
            ),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
