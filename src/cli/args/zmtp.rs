//! What `moonport connect zmtp://…` takes besides, and `moonport zap`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use identity::Name;

use crate::cli::duration;
use crate::wire::zmtp::SocketType;

#[derive(Debug, Args)]
#[command(next_help_heading = "Options for zmtp://")]
pub(in crate::cli) struct ZmtpOptions {
    /// What our socket is: req, rep, dealer, router, push, pull, pub, sub, xpub, xsub or pair
    /// [default: dealer]
    #[arg(long, value_name = "TYPE")]
    pub(in crate::cli) socket_type: Option<SocketType>,
    /// The identity by which a ROUTER over there addresses us; of req, dealer and router
    #[arg(long, value_name = "TEXT", value_parser = identity_name)]
    pub(in crate::cli) identity_name: Option<String>,
    /// Hear of what begins so, '' for everything; of sub and xsub, may be given several times
    #[arg(long, value_name = "TOPIC", allow_hyphen_values = true)]
    pub(in crate::cli) subscribe: Vec<String>,
    /// Ask so often whether the other side is there, and give it up if it does not answer as long
    /// [default if no time is said: 10s]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10s",
        value_parser = duration::brief
    )]
    pub(in crate::cli) heartbeat: Option<Duration>,
    /// Lines of standard input are JSON arrays, each a message: a part is a string, or
    /// {"hex": "00ff"}; --json prints messages so
    #[arg(long)]
    pub(in crate::cli) parts: bool,
    /// Do not connect again
    #[arg(long)]
    pub(in crate::cli) once: bool,
}

impl ZmtpOptions {
    /// The first of them that is given.
    pub(in crate::cli) fn given(&self) -> Option<&'static str> {
        [
            (self.socket_type.is_some(), "--socket-type"),
            (self.identity_name.is_some(), "--identity-name"),
            (!self.subscribe.is_empty(), "--subscribe"),
            (self.heartbeat.is_some(), "--heartbeat"),
            (self.parts, "--parts"),
            (self.once, "--once"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }
}

fn identity_name(text: &str) -> Result<String, &'static str> {
    match text.as_bytes() {
        [] | [0, ..] => Err("an identity is not empty and does not begin with a zero"),
        bytes if bytes.len() > 255 => Err("an identity has at most 255 bytes"),
        _ => Ok(text.to_owned()),
    }
}

/// Answer ZeroMQ's authentication protocol (ZAP 1.0) from the keystore, for servers of other
/// programs.
///
/// A server's ZAP handler passes on what it is asked to this socket; docs/zap.md has one in Python.
/// Keys are admitted as by a listener of this program: by their scopes, bans and ends, and by windows
/// that are open without a secret. It works beside a running host, and without one.
#[derive(Debug, Args)]
pub(in crate::cli) struct Zap {
    /// Where handlers connect: ipc://PATH, for this user alone, or tcp://127.0.0.1:PORT, for whoever
    /// is on this machine
    #[arg(long, value_name = "ENDPOINT")]
    pub(in crate::cli) bind: Endpoint,
    /// The name that keys have to be accepted for
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Name,
}

/// Where a ZAP handler is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Endpoint {
    /// A socket in the file system.
    Ipc(PathBuf),
    /// An address of this machine alone.
    Tcp(SocketAddr),
}

impl std::str::FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once("://") {
            Some(("ipc", path)) if !path.is_empty() && !path.starts_with('@') => {
                Ok(Self::Ipc(path.into()))
            }
            Some(("tcp", address)) => match address.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_loopback() => Ok(Self::Tcp(address)),
                Ok(_) => Err("only this machine may ask: a loopback address, such as 127.0.0.1"),
                Err(_) => Err("after tcp:// come an address and a port: tcp://127.0.0.1:PORT"),
            },
            _ => Err("give ipc://PATH or tcp://127.0.0.1:PORT"),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_ask() {
        let path = Endpoint::Ipc("/run/zap.sock".into());
        assert_eq!("ipc:///run/zap.sock".parse(), Ok(path));
        for good in ["tcp://127.0.0.1:0", "tcp://127.9.9.9:5", "tcp://[::1]:5"] {
            let endpoint: Endpoint = good.parse().unwrap();
            assert_eq!(endpoint.to_string(), good);
        }
        for bad in [
            "tcp://0.0.0.0:5",
            "tcp://192.0.2.1:5",
            "tcp://*:5",
            "tcp://localhost:5",
            "ipc://",
            "ipc://@abstract",
            "inproc://zeromq.zap.01",
            "/run/zap.sock",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
