//! `moonport reload`: a new program takes a running one's place.

use std::path::Path;

use serde::Serialize;

use super::args::Reload;
use super::exit::{Exit, Failure};
use super::output::{Output, count, printable, tell};
use super::running;
use crate::ipc::admin::Reloaded;

pub(super) async fn run(args: Reload, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let (mut host, running) = running::host(state).await?;
    let names = match &args.script {
        None => running,
        Some(script) => vec![running::named(script, &running)?],
    };
    let mut shown = Vec::new();
    for script in names {
        let done = match host.reload(script.clone()).await {
            Ok(done) => Ok(done),
            // The host has said why; what is not its word ends this.
            Err(failure) if failure.exit == Exit::Keystore => Err(failure.to_string()),
            Err(failure) => return Err(failure),
        };
        shown.push((script, done));
    }
    let well = |(_, done): &(String, Result<Reloaded, String>)| {
        done.as_ref().is_ok_and(|done| done.failures.is_empty())
    };
    let exit = match shown.iter().all(well) {
        true => Exit::Done,
        false => Exit::Failed,
    };
    if args.json.json {
        let rows: Vec<_> = shown.iter().map(Shown::of).collect();
        out.json(&rows)?;
        return Ok(exit);
    }
    for (script, done) in &shown {
        let script = printable(script);
        match done {
            Ok(done) => {
                out.line(format_args!(
                    "{script} loaded again: {} kept, {} opened, {} closed; {}",
                    count(done.kept, "listener"),
                    done.opened,
                    done.closed,
                    count(done.sessions, "session")
                ))?;
                for failure in &done.failures {
                    tell(format_args!("moonport: {script}: {}", printable(failure)));
                }
            }
            Err(why) => {
                for line in why.lines() {
                    tell(format_args!("moonport: {script}: {}", printable(line)));
                }
                tell(format_args!("moonport: {script}: the old program goes on"));
            }
        }
    }
    Ok(exit)
}

/// What became of one script.
#[derive(Serialize)]
struct Shown<'a> {
    script: &'a str,
    reloaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listeners: Option<Listeners>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<u32>,
    failures: &'a [String],
}

#[derive(Serialize)]
struct Listeners {
    kept: u32,
    opened: u32,
    closed: u32,
}

impl<'a> Shown<'a> {
    fn of((script, done): &'a (String, Result<Reloaded, String>)) -> Self {
        let (done, error) = match done {
            Ok(done) => (Some(done), None),
            Err(error) => (None, Some(error.as_str())),
        };
        Self {
            script,
            reloaded: done.is_some(),
            error,
            listeners: done.map(|done| Listeners {
                kept: done.kept,
                opened: done.opened,
                closed: done.closed,
            }),
            sessions: done.map(|done| done.sessions),
            failures: done.map_or(&[], |done| &done.failures),
        }
    }
}
