//! `moonport reload`: a new program takes a running one's place.

use std::path::Path;

use serde::Serialize;

use super::admin::Admin;
use super::args::Reload;
use super::exit::{Exit, Failure};
use super::output::{Output, count, printable, tell};
use crate::ipc::admin::Reloaded;

pub(super) async fn run(args: Reload, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Some(mut host) = Admin::host(state)? else {
        return Err(Failure::because(
            Exit::Failed,
            format_args!(
                "no host runs on {}; `moonport run SCRIPT` starts one",
                state.display()
            ),
        ));
    };
    let running = host.status().await?.scripts;
    let names: Vec<String> = match &args.script {
        None => running.into_iter().map(|script| script.name).collect(),
        Some(script) => {
            let name = called(script);
            if !running.iter().any(|script| script.name == name) {
                let names: Vec<_> = running.iter().map(|it| printable(&it.name)).collect();
                return Err(Failure::because(
                    Exit::Usage,
                    format_args!(
                        "no script {} runs, but {}",
                        printable(script),
                        names.join(", ")
                    ),
                ));
            }
            vec![name]
        }
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

/// What a script is called by, of its name or its file.
fn called(script: &str) -> String {
    let path = Path::new(script);
    let stem = match path.extension() {
        Some(extension) if extension == "lua" => path.file_stem(),
        _ => path.file_name(),
    };
    let stem = stem.unwrap_or_default().to_string_lossy();
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    stem.chars()
        .map(|c| if named(c) { c } else { '_' })
        .collect()
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
