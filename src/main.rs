//! The role switch: the command line, or one of the two roles that the host starts.

use std::process::ExitCode;

use moonport::{cli, frameserver, script};

fn main() -> ExitCode {
    match std::env::args_os().next() {
        Some(role) if role == frameserver::ROLE => frameserver::main(),
        Some(role) if role == script::ROLE => script::main(),
        _ => cli::main(),
    }
}
