//! What users write against: one Lua script in a process of its own.
//!
//! ```text
//!            process      sockets, standard streams, the moat (sandbox)
//!               │ messages and time in, messages out
//!            engine       ticks, adoption, dispatch, what an error does
//!            │    │
//!         world   vm      vids, requests, credit │ Lua, its limits, `require`
//!            │    │
//!            └─ api ──    the table of functions; stubs and reference come from it
//! ```
//!
//! Beside them, [`words`] is what a script can name, and [`tester`] runs scripts that test others.
//!
//! [`Engine`] knows no sockets and takes the time as an argument, so a test can play host,
//! frameserver and clock.

mod api;
mod core;
mod engine;
mod errors;
mod heard;
mod keys;
mod pattern;
mod picture;
mod process;
mod sandbox;
mod shown;
mod state;
mod status;
mod tasks;
pub mod tester;
mod text;
mod vids;
mod vm;
mod watchdog;
pub mod words;
mod world;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

pub use api::{Page, reference, stubs};
pub use core::Console;
pub use engine::Engine;
pub use world::Outbox;

/// The `argv[0]` under which the host starts a script process, with its control socket as standard
/// input.
pub const ROLE: &str = "moonport-script";

/// Runs a script process until the script or the host ends it.
pub fn main() -> ExitCode {
    process::main()
}
