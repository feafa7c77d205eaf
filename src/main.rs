//! The role switch: the command line, or one of the roles that the host starts.

use std::process::ExitCode;

use moonport::{cli, frameserver, host::launch, script};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// Keys and secrets may pass through any of these processes: nobody reads their memory, and none of
/// it is written to a core file. Where the system does not allow even that, there is no harm done.
fn harden() {
    let nothing = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = setrlimit(Resource::Core, nothing);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

fn main() -> ExitCode {
    harden();
    match std::env::args_os().next() {
        Some(role) if role == frameserver::ROLE => frameserver::main(),
        Some(role) if role == script::ROLE => script::main(),
        Some(role) if role == launch::ROLE => launch::main(),
        _ => cli::main(),
    }
}

#[cfg(fuzzing)]
compile_error!("a library for fuzzing does without sealing: there is no program with it");
