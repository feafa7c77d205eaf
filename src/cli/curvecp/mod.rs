//! CurveCP without a host: `curvecpserver` and `curvecpclient` with the command lines, key directories
//! and handlers of the reference programs, and `connect curvecp://…`.

mod args;
mod client;
pub(super) mod connect;
mod handler;
mod keydir;
mod server;

pub(super) use args::usage;
pub(super) use args::{Address, AddressError, Client, Options, Server};
pub(super) use client::run as call;
pub(super) use server::run as serve;

use std::net::SocketAddr;
use std::{fs, io};

use socket2::{Domain, Socket, Type};
use tokio::net::UdpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code where the command line of such a program is wrong, as the reference has it.
const USAGE: u8 = 100;
/// The exit code where it does not go on, as the reference has it.
const FATAL: u8 = 111;

/// As much is asked for to hold datagrams that have not been read, in bytes; the system gives less.
const SOCKET_BUFFER: usize = 4 << 20;
/// The longest packet is shorter.
const DATAGRAM: usize = 2048;

/// A socket for datagrams.
fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    UdpSocket::from_std(socket.into())
}

/// Sees to it that programs find SIGCHLD as usual, though it may be ignored here: what is handled is not
/// handed on. Where it is not ignored, each end of a program would wake us for nothing.
fn unignore_children() -> io::Result<Option<Signal>> {
    let ignored = fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        });
    let child = SignalKind::child();
    let bit = 1 << (child.as_raw_value() - 1);
    match ignored {
        Some(ignored) if ignored & bit == 0 => Ok(None),
        _ => signal(child).map(Some),
    }
}
