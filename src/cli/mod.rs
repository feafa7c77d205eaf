//! The command line: parse, then call the rooms below.
//!
//! Standard output carries what was asked for, standard error what people should know. Every
//! failure is one line there, `moonport: …`, with what to do; the exit codes are in one enum.

mod address;
mod admin;
mod args;
mod audit;
mod backup;
mod connect;
mod curvecp;
mod demo;
mod doctor;
mod duration;
mod exchange;
mod exit;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hostkeys;
mod invite;
mod key;
mod known;
mod link;
mod moment;
mod named;
mod output;
mod pages;
mod passphrase;
mod qr;
mod rooms;
mod secret;
mod server;
mod status;
mod terminal;
mod users;
mod window;
mod zap;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::debug_fn;

use crate::ipc::script::Limits;
use args::{Cli, Command, Global, LogFormat, Penalties, Run, Sandbox};
use exit::{Exit, Failure, OrExit};
use output::Output;

/// Runs the command line.
pub fn main() -> ExitCode {
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return curvecp::usage(error),
    };
    match run(command, &global) {
        Ok(code) => code.into(),
        Err(failure) => {
            if !failure.is_silent() {
                output::tell(format_args!("moonport: {failure}"));
            }
            failure.exit.code().into()
        }
    }
}

fn run(command: Command, global: &Global) -> Result<u8, Failure> {
    start_log(&command, global)?;
    let out = Output::new(global.color);
    let exit = match command {
        Command::Run(run) => return start_host(run, global),
        Command::CurveCpServer(server) => return Ok(curvecp::serve(*server)),
        Command::Demo => wait(demo::run(&out)),
        Command::Connect(connect) => wait(connect::run(*connect, &state_dir(global)?, &out)),
        Command::Key(key) => wait(key::run(key, &state_dir(global)?, &out)),
        Command::Server(server) => wait(server::run(server, &state_dir(global)?, &out)),
        Command::Window(window) => wait(window::run(window, &state_dir(global)?, &out)),
        Command::Zap(args) => wait(zap::run(args, &state_dir(global)?, &out)),
        Command::Audit(audit) => wait(audit::run(audit, &state_dir(global)?, &out)),
        Command::Explain(explain) => audit::explain(&explain, &state_dir(global)?, &out),
        Command::Backup(args) => wait(backup::backup(args, &state_dir(global)?, &out)),
        Command::Restore(args) => wait(backup::restore(args, &state_dir(global)?, &out)),
        Command::Status(json) => wait(status::run(json.json, &state_dir(global)?, &out)),
        Command::Doctor(json) => wait(doctor::run(json.json, &state_dir(global)?, &out)),
        Command::Stubs => out.raw(rooms::stubs().as_bytes()).map(|()| Exit::Done),
        Command::Reference { docs } => pages::reference(&docs, &out),
        Command::Completions { shell } => pages::completions(shell, &out),
        Command::Man { dir } => pages::manual(dir.as_deref(), &out),
    };
    exit.map(Exit::code)
}

fn start_host(run: Run, global: &Global) -> Result<u8, Failure> {
    let permissions = run.permissions();
    rooms::run(rooms::Run {
        scripts: run.scripts,
        arguments: run.arguments,
        state: state_dir(global)?,
        errors: run.errors.into(),
        limits: Limits {
            warn: run.handler_warn,
            stop: run.handler_limit,
            memory: run.memory,
        },
        handshake: run.handshake_timeout,
        unproved: run.unproved,
        penalties: run.penalties == Penalties::On,
        reach: run.allow_connect,
        permissions,
        require_sandbox: run.sandbox == Sandbox::Require,
        passphrase: run.passphrase.place(),
    })
}

/// Waits for a command that waits.
fn wait<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .or_exit(Exit::Failed)?;
    let done = runtime.block_on(command);
    // A thread may still look a name up.
    runtime.shutdown_background();
    done
}

fn start_log(command: &Command, global: &Global) -> Result<(), Failure> {
    let usual = match command {
        Command::Run(_) => "info",
        _ => "warn",
    };
    let filter = global.log.as_deref().unwrap_or(usual);
    let filter = EnvFilter::try_new(filter)
        .or_exit_with(Exit::Usage, || format!("{filter:?} is no filter for --log"))?;
    let color = output::wanted(global.color, io::IsTerminal::is_terminal(&io::stderr()));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| Unheard(io::stderr()))
        // It would report on standard error that standard error fails, and panic.
        .log_internal_errors(false)
        .with_ansi(color);
    match global.log_format {
        LogFormat::Text => log.fmt_fields(fields()).init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

/// Fields as people read them. What is said about an error in a script stands on lines of its own,
/// and what has several lines is indented: a line that begins at the margin is ours.
fn fields() -> impl for<'w> FormatFields<'w> {
    debug_fn(|writer, field, value| {
        let text = format!("{value:?}").replace('\n', "\n    ");
        match field.name() {
            "message" => write!(writer, "{text}"),
            name @ ("in" | "so" | "hint" | "traceback") => write!(writer, "\n  {name}: {text}"),
            name => write!(writer, " {name}={text}"),
        }
    })
}

/// Standard error, for words that are lost without harm where nobody can take them.
struct Unheard(io::Stderr);

impl io::Write for Unheard {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = self.0.flush();
        Ok(())
    }
}

fn state_dir(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(dir) = &global.state_dir {
        return Ok(dir.clone());
    }
    let folder = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("moonport")),
        None => Err(Failure::because(
            Exit::Usage,
            "neither HOME nor XDG_STATE_HOME says where to keep state; give --state-dir",
        )),
    }
}
