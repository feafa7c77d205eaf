//! CurveCP without a host: `curvecpserver` with the command line, key directories and handlers of the
//! reference programs, and `connect curvecp://…`.

mod args;
pub(super) mod connect;
mod handler;
mod keydir;
mod server;

pub(super) use args::usage;
pub(super) use args::{Address, AddressError, Options, Server};
pub(super) use server::run as serve;

use crate::wire::curvecp::Extension;

/// The exit code where the command line of such a program is wrong, as the reference has it.
const USAGE: u8 = 100;
/// The exit code where it does not go on, as the reference has it.
const FATAL: u8 = 111;

/// As much is asked for to hold datagrams that have not been read, in bytes; the system gives less.
const SOCKET_BUFFER: usize = 4 << 20;
/// The longest packet is shorter.
const DATAGRAM: usize = 2048;

/// What tells programs apart behind this machine's address, if its administrator has said so.
fn own_extension() -> Extension {
    let bytes = std::fs::read("/etc/curvecpextension").ok();
    let whole = bytes.and_then(|bytes| bytes.try_into().ok());
    whole.map(Extension).unwrap_or_default()
}
