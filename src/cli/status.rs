//! `moonport status`: what runs.

use std::path::Path;

use serde::Serialize;

use super::admin::Admin;
use super::exit::{Exit, Failure};
use super::output::{Output, count, printable};
use crate::ipc::admin::{ListenerStatus, Status};

pub(super) async fn run(json: bool, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Some(mut host) = Admin::host(state)? else {
        return match json {
            true => out
                .json(&serde_json::json!({ "running": false }))
                .map(|()| Exit::Failed),
            false => Err(Failure::because(
                Exit::Failed,
                format_args!(
                    "no host runs on {}; `moonport run SCRIPT` starts one",
                    state.display()
                ),
            )),
        };
    };
    let status = host.status().await?;
    match json {
        true => out.json(&Shown::of(&status))?,
        false => {
            let sessions = count(status.sessions, "session");
            out.line(format_args!("host {}: {sessions}", status.pid))?;
            let rows: Vec<_> = status.listeners.iter().map(row).collect();
            out.table(
                [
                    "LISTENER", "ADDRESS", "STATE", "SESSIONS", "SCRIPT", "SANDBOX",
                ],
                &rows,
            )?;
        }
    }
    Ok(Exit::Done)
}

fn row(listener: &ListenerStatus) -> [String; 6] {
    let shown = Listener::of(listener);
    [
        shown.name.into(),
        shown.addresses.join(" "),
        if shown.ready { "ready" } else { "starting" }.into(),
        shown.sessions.to_string(),
        printable(shown.script),
        sandbox(listener),
    ]
}

/// How much is denied, and what is not.
fn sandbox(listener: &ListenerStatus) -> String {
    let all = listener.sandbox.len();
    let not: Vec<_> = listener
        .sandbox
        .iter()
        .filter(|denied| denied.layer.is_none())
        .map(|denied| denied.action.as_str())
        .collect();
    match not.as_slice() {
        [] if all == 0 => "-".into(),
        [] => format!("all {all} denied"),
        not => format!("NOT denied: {}", not.join(", ")),
    }
}

/// What runs, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    running: bool,
    pid: u32,
    sessions: u32,
    listeners: Vec<Listener<'a>>,
}

#[derive(Serialize)]
struct Listener<'a> {
    name: &'a str,
    addresses: Vec<String>,
    ready: bool,
    script: &'a str,
    sessions: u32,
    sandbox: Vec<Denied<'a>>,
}

/// An action that the sandbox should deny, and what denies it.
#[derive(Serialize)]
struct Denied<'a> {
    action: &'a str,
    layer: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(status: &'a Status) -> Self {
        Self {
            running: true,
            pid: status.pid,
            sessions: status.sessions,
            listeners: status.listeners.iter().map(Listener::of).collect(),
        }
    }
}

impl<'a> Listener<'a> {
    fn of(listener: &'a ListenerStatus) -> Self {
        Self {
            name: listener.name.as_str(),
            addresses: listener.addresses.iter().map(ToString::to_string).collect(),
            ready: listener.ready,
            script: &listener.script,
            sessions: listener.sessions,
            sandbox: listener
                .sandbox
                .iter()
                .map(|denied| Denied {
                    action: &denied.action,
                    layer: denied.layer.as_deref(),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc;

    #[test]
    fn programs_see_listeners_and_sessions() {
        let status = Status {
            pid: 7,
            sessions: 3,
            listeners: vec![ListenerStatus {
                name: identity::Name::parse("hello").unwrap(),
                addresses: vec!["[::1]:6680".parse().unwrap()],
                ready: true,
                script: "hello.lua".into(),
                sandbox: [("open", Some("landlock")), ("ptrace", None)]
                    .map(|(action, layer)| ipc::Denied {
                        action: action.into(),
                        layer: layer.map(Into::into),
                    })
                    .into(),
                sessions: 3,
            }],
        };
        let json = serde_json::to_value(Shown::of(&status)).unwrap();
        assert_eq!(json["running"], true);
        assert_eq!(json["listeners"][0]["addresses"][0], "[::1]:6680");
        assert_eq!(
            row(&status.listeners[0])[..4],
            ["hello", "[::1]:6680", "ready", "3"]
        );
        assert_eq!(row(&status.listeners[0])[5], "NOT denied: ptrace");
        assert_eq!(json["listeners"][0]["sandbox"][0]["layer"], "landlock");
    }
}
