//! The command line: parse, then call the rooms below.
//!
//! Standard output carries what was asked for, standard error what people should know. Every
//! failure is one line there, `moonport: …`, with what to do; the exit codes are in one enum.

mod address;
mod admin;
mod args;
mod audit;
mod backup;
mod check;
mod config;
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
mod log;
mod metrics;
mod moment;
mod named;
mod output;
mod pages;
mod passphrase;
mod qr;
mod reload;
mod repl;
mod rooms;
mod running;
mod secret;
mod server;
mod status;
mod stop;
mod terminal;
mod test;
mod users;
mod window;
mod zap;

use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::ipc::script::Limits;
use args::{Cli, Command, Global, Penalties, Run, Sandbox};
use config::{Line, Said};
use exit::{Exit, Failure, OrExit};
use output::Output;

/// Runs the command line.
pub fn main() -> ExitCode {
    let words = std::env::args_os().collect();
    let done = match config::command_line(words) {
        Ok(Line { cli, said }) => run(cli, &said),
        Err(config::Stop::Line(error)) => return curvecp::usage(error),
        Err(config::Stop::File(failure)) => Err(failure),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            if !failure.is_silent() {
                output::tell(format_args!("moonport: {failure}"));
            }
            failure.exit.code().into()
        }
    }
}

fn run(cli: Cli, said: &Said) -> Result<u8, Failure> {
    let Cli { global, command } = cli;
    let global = &global;
    log::start(&command, global)?;
    let out = Output::new(global.color);
    let exit = match command {
        Command::Run(run) => return start_host(run, global),
        Command::CurveCpServer(server) => return Ok(curvecp::serve(*server)),
        Command::Reload(args) => wait(reload::run(args, &state_dir(global)?, &out)),
        Command::Repl(args) => repl::run(&args, &state_dir(global)?, &out),
        Command::CurveCpClient(client) => return Ok(curvecp::call(*client)),
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
        Command::Metrics => wait(metrics::run(&state_dir(global)?, &out)),
        Command::Stop(args) => wait(stop::run(args, &state_dir(global)?, &out)),
        Command::Config(config) => config::run(&config, said, &out),
        Command::Doctor(json) => wait(doctor::run(json.json, &state_dir(global)?, &out)),
        Command::Check(args) => check::run(&args, &out),
        Command::Test(args) => test::run(args, &out),
        Command::Stubs => out.raw(rooms::stubs().as_bytes()).map(|()| Exit::Done),
        Command::Reference { docs } => pages::reference(&docs, &out),
        Command::Completions { shell } => pages::completions(shell, &out),
        Command::Man { dir } => pages::manual(dir.as_deref(), &out),
    };
    exit.map(Exit::code)
}

fn start_host(run: Run, global: &Global) -> Result<u8, Failure> {
    if run.scripts.is_empty() {
        return Err(Failure::because(
            Exit::Usage,
            "nothing to run: `moonport run SCRIPT`, or `scripts` below [run] in the configuration file",
        ));
    }
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
        watch: run.watch,
        penalties: run.penalties == Penalties::On,
        reach: run.allow_connect,
        permissions,
        require_sandbox: run.sandbox == Sandbox::Require,
        drain: run.drain,
        metrics: run.metrics,
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

fn state_dir(global: &Global) -> Result<PathBuf, Failure> {
    if let Some(dir) = &global.state_dir {
        return Ok(dir.clone());
    }
    own_state().ok_or_else(|| {
        Failure::because(
            Exit::Usage,
            "neither HOME nor XDG_STATE_HOME says where to keep state; give --state-dir",
        )
    })
}

/// Where state of this user's is kept, if anything says where.
fn own_state() -> Option<PathBuf> {
    let folder = |name: &str| {
        let path = PathBuf::from(std::env::var_os(name)?);
        path.is_absolute().then_some(path)
    };
    let state = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    Some(state?.join("moonport"))
}
