//! `moonport status`: what runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::admin::Admin;
use super::exit::{Exit, Failure};
use super::output::{Output, count, printable};
use crate::ipc::admin::{ListenerStatus, Status};
use crate::ipc::frameserver;

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
            out.table(
                ["LAYER", "LISTENERS", "DENIES"],
                &by_layer(&status.listeners),
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

/// Which layer denies what; listeners of which it is the same stand together.
fn by_layer(listeners: &[ListenerStatus]) -> Vec<[String; 3]> {
    let mut same: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    for listener in listeners {
        for (layer, denies) in layers(&listener.sandbox) {
            let listeners = same.entry((layer.into(), denies.join(" "))).or_default();
            listeners.push(listener.name.as_str());
        }
    }
    let row = |((layer, denies), listeners): ((String, String), Vec<&str>)| {
        [printable(&layer), listeners.join(" "), printable(&denies)]
    };
    same.into_iter().map(row).collect()
}

/// What each layer of a sandbox denies, as it reports itself.
pub(super) fn layers(report: &[frameserver::Denied]) -> BTreeMap<&str, Vec<&str>> {
    let mut layers: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for denied in report {
        for layer in denied.layer.iter().flat_map(|layers| layers.split(", ")) {
            layers.entry(layer).or_default().push(&denied.action);
        }
    }
    layers
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

    #[test]
    fn programs_see_listeners_and_sessions() {
        let status = Status {
            pid: 7,
            sessions: 3,
            highest_wall_ms: 0,
            listeners: vec![ListenerStatus {
                name: identity::Name::parse("hello").unwrap(),
                addresses: vec!["[::1]:6680".parse().unwrap()],
                ready: true,
                script: "hello.lua".into(),
                sandbox: [("open", Some("landlock")), ("ptrace", None)]
                    .map(|(action, layer)| frameserver::Denied {
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

    #[test]
    fn layers_are_told_once_for_all_listeners_that_have_them() {
        let listener = |name: &str, layer: &str| ListenerStatus {
            name: identity::Name::parse(name).unwrap(),
            addresses: Vec::new(),
            ready: true,
            script: String::new(),
            sandbox: [
                ("open", Some(layer)),
                ("fork", Some("seccomp")),
                ("x", None),
            ]
            .map(|(action, layer)| frameserver::Denied {
                action: action.into(),
                layer: layer.map(Into::into),
            })
            .into(),
            sessions: 0,
        };
        let both = "seccomp, landlock";
        let listeners = [
            listener("a", both),
            listener("b", both),
            listener("c", "landlock"),
        ];
        assert_eq!(
            by_layer(&listeners),
            [
                ["landlock", "a b c", "open"],
                ["seccomp", "c", "fork"],
                ["seccomp", "a b", "open fork"],
            ]
        );
    }
}
