//! Both ends, from outside.

mod sockets;
mod states;

use std::time::Instant;

use super::rig::End;
use super::{ListenerConfig, Socket, SocketType};

fn listener(config: ListenerConfig) -> End {
    End::listener(config, Instant::now())
}

/// A listener with a socket of this type.
fn server(kind: SocketType) -> End {
    listener(ListenerConfig::new(Socket::new(kind)))
}

fn initiator(socket: Socket) -> End {
    End::initiator(socket, Instant::now(), 0x1c)
}

/// An initiator with a socket of this type.
fn client(kind: SocketType) -> End {
    initiator(Socket::new(kind))
}
