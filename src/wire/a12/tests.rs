//! Both ends against each other, against the recordings, and against what nobody should send.

mod attacks;
mod handshake;
mod pair;
mod puppet;
mod ratchet;
mod recorded;
mod replay;
mod session;
