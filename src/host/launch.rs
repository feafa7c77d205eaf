//! What a process is before it is a program that a script has started: this same binary in another
//! role, which gives up what the host was started with, and becomes the program.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};
use tokio::signal::unix::{SignalKind, signal};

/// The `argv[0]` under which the host starts it. Its arguments: the host's process, and the
/// program's own.
pub const ROLE: &str = "moonport-program";

/// Becomes the program.
pub fn main() -> ExitCode {
    let error = become_program();
    // The log of the host.
    let _ = writeln!(io::stderr(), "cannot start it: {error}");
    // As a shell has it.
    match error.kind() {
        io::ErrorKind::NotFound => ExitCode::from(127),
        _ => ExitCode::from(126),
    }
}

fn become_program() -> io::Error {
    let mut words = std::env::args_os().skip(1);
    let (Some(host), Some(program)) = (words.next(), words.next()) else {
        return io::Error::other("`moonport run` starts this role");
    };
    let words: Vec<OsString> = words.collect();
    // It ends with the host, whatever ends that.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return error.into();
    }
    let parent = getppid().map(Pid::as_raw_nonzero);
    if parent.is_none_or(|parent| host != *parent.to_string()) {
        return io::Error::other("the host is gone");
    }
    // A session and a process group of its own, and no terminal.
    if let Err(error) = setsid() {
        return error.into();
    }
    crate::sandbox::close_others();
    let command = &mut Command::new(program);
    let command = command.args(words);
    match usual_signals() {
        Ok(_runtime) => command.exec(),
        Err(error) => error,
    }
}

/// Has every signal do what it usually does, even if the host was started so that it is ignored:
/// what is handled here is not handled any more in what this becomes.
fn usual_signals() -> io::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let inside = runtime.enter();
    for number in 1..=SIGNALS {
        // Some cannot be handled, nor ignored.
        drop(signal(SignalKind::from_raw(number)));
    }
    drop(inside);
    Ok(runtime)
}

/// All that there are; two of them are the C library's own, and nobody else's to set.
const SIGNALS: i32 = 64;
