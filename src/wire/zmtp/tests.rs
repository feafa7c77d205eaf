//! Both ends, from outside.

mod heartbeats;
mod keyless;
mod recordings;
mod security;
mod sockets;
mod splits;
mod states;

use std::time::Instant;

use super::rig::{Dice, End, SERVER, public};
use super::{ListenerConfig, Socket, SocketType};

fn listener(config: ListenerConfig) -> End {
    End::listener(config, Instant::now())
}

/// A listener with a socket of this type.
fn server(kind: SocketType) -> End {
    listener(ListenerConfig::new(Socket::new(kind)))
}

fn initiator(socket: Socket) -> End {
    let mut random = Dice::new(&[0x1c; 32]);
    End::initiator(public(SERVER), socket, Instant::now(), &mut random)
}

/// An initiator with a socket of this type.
fn client(kind: SocketType) -> End {
    initiator(Socket::new(kind))
}
