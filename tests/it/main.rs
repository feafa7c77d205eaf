//! The real program from outside, the rules of the house, and its documents.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that meets what it does not expect fails on the spot"
)]

mod a12peer;
mod attacks;
mod docs;
mod enrol;
mod faults;
mod fuzz;
mod hello;
mod host;
mod hostkeys;
mod interop;
mod key;
mod layers;
mod life;
mod listen;
mod process;
mod refusals;
mod repository;
mod servers;
mod source;
mod streams;
mod users;
mod windows;
