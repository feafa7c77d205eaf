//! `moonport status`: what runs.

use std::collections::BTreeMap;
use std::path::Path;

use keystore::Window;
use serde::Serialize;

use super::admin::Admin;
use super::exit::{Exit, Failure};
use super::output::{Output, count, printable};
use super::window;
use crate::ipc;
use crate::ipc::admin::{ListenerStatus, ScriptStatus, Status};

pub(super) async fn run(json: bool, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Some(mut host) = Admin::host(state)? else {
        return match json {
            true => out
                .json(&serde_json::json!({ "running": false }))
                .map(|()| Exit::Failed),
            false => Err(no_host(state)),
        };
    };
    let status = host.status().await?;
    let mut windows = host.windows().await?;
    windows.retain(|window| window.ended.is_none());
    match json {
        true => out.json(&Shown::of(&status, &windows))?,
        false => {
            let sessions = count(status.sessions, "session");
            let ending = if status.ending { ", ending" } else { "" };
            out.line(format_args!("host {}: {sessions}{ending}", status.pid))?;
            let rows: Vec<_> = status.listeners.iter().map(row).collect();
            out.table(
                [
                    "LISTENER", "ADDRESS", "STATE", "SESSIONS", "SCRIPT", "SANDBOX",
                ],
                &rows,
            )?;
            let rows: Vec<_> = status.listeners.iter().map(strangers).collect();
            out.table(
                ["LISTENER", "UNPROVED", "DROPPED", "SHUT OUT", "REFUSED"],
                &rows,
            )?;
            if !windows.is_empty() {
                window::list(&windows, false, out)?;
            }
            let scripts = status.scripts.iter();
            let rows: Vec<_> = scripts
                .map(|script| [printable(&script.name), sandbox(&script.sandbox)])
                .collect();
            out.table(["SCRIPT", "SANDBOX"], &rows)?;
            out.table(["LAYER", "OF", "DENIES"], &by_layer(&status))?;
        }
    }
    Ok(Exit::Done)
}

/// What to do without one.
pub(super) fn no_host(state: &Path) -> Failure {
    Failure::because(
        Exit::Failed,
        format_args!(
            "no host runs on {}; `moonport run SCRIPT` starts one",
            state.display()
        ),
    )
}

fn row(listener: &ListenerStatus) -> [String; 6] {
    let shown = Listener::of(listener);
    [
        shown.name.into(),
        shown.addresses.join(" "),
        if shown.ready { "ready" } else { "starting" }.into(),
        shown.sessions.to_string(),
        printable(shown.script),
        sandbox(&listener.sandbox),
    ]
}

/// What has become of those at the door of a listener.
fn strangers(listener: &ListenerStatus) -> [String; 5] {
    let seen = &listener.strangers;
    [
        listener.name.to_string(),
        format!("{} of {}", seen.unproved, listener.unproved_limit),
        seen.dropped.to_string(),
        count(seen.shut_out, "source"),
        seen.refused.to_string(),
    ]
}

/// How much is denied, and what is not.
fn sandbox(report: &[ipc::Denied]) -> String {
    let all = report.len();
    let not: Vec<_> = report
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

/// Which layer denies what; those of which it is the same stand together.
fn by_layer(status: &Status) -> Vec<[String; 3]> {
    let listeners = status.listeners.iter();
    let listeners = listeners.map(|listener| (listener.name.to_string(), &listener.sandbox));
    let scripts = status.scripts.iter();
    let scripts = scripts.map(|script| (format!("script {}", script.name), &script.sandbox));
    let mut same: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (whose, report) in listeners.chain(scripts) {
        for (layer, denies) in layers(report) {
            let all = same.entry((layer.into(), denies.join(", "))).or_default();
            all.push(whose.clone());
        }
    }
    let row = |((layer, denies), whose): ((String, String), Vec<String>)| {
        [
            printable(&layer),
            printable(&whose.join(", ")),
            printable(&denies),
        ]
    };
    same.into_iter().map(row).collect()
}

/// What each layer of a sandbox denies, as it reports itself.
pub(super) fn layers(report: &[ipc::Denied]) -> BTreeMap<&str, Vec<&str>> {
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
    ending: bool,
    sessions: u32,
    listeners: Vec<Listener<'a>>,
    windows: Vec<window::Shown<'a>>,
    scripts: Vec<Script<'a>>,
}

#[derive(Serialize)]
struct Script<'a> {
    name: &'a str,
    sandbox: Vec<Denied<'a>>,
}

#[derive(Serialize)]
struct Listener<'a> {
    name: &'a str,
    addresses: Vec<String>,
    ready: bool,
    script: &'a str,
    sessions: u32,
    strangers: Strangers,
    sandbox: Vec<Denied<'a>>,
}

/// What has become of those at the door; the totals are since the listener was made.
#[derive(Serialize)]
struct Strangers {
    unproved: u32,
    limit: u32,
    dropped: u64,
    shut_out: u32,
    refused: u64,
}

/// An action that the sandbox should deny, and what denies it.
#[derive(Serialize)]
struct Denied<'a> {
    action: &'a str,
    layer: Option<&'a str>,
}

impl<'a> Shown<'a> {
    fn of(status: &'a Status, windows: &'a [Window]) -> Self {
        Self {
            running: true,
            pid: status.pid,
            ending: status.ending,
            windows: windows.iter().map(window::Shown::of).collect(),
            sessions: status.sessions,
            listeners: status.listeners.iter().map(Listener::of).collect(),
            scripts: status.scripts.iter().map(Script::of).collect(),
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
            strangers: Strangers::of(listener),
            sandbox: Denied::all(&listener.sandbox),
        }
    }
}

impl Strangers {
    fn of(listener: &ListenerStatus) -> Self {
        let ipc::frameserver::Strangers {
            unproved,
            dropped,
            shut_out,
            refused,
        } = listener.strangers;
        Self {
            unproved,
            limit: listener.unproved_limit,
            dropped,
            shut_out,
            refused,
        }
    }
}

impl<'a> Script<'a> {
    fn of(script: &'a ScriptStatus) -> Self {
        Self {
            name: &script.name,
            sandbox: Denied::all(&script.sandbox),
        }
    }
}

impl<'a> Denied<'a> {
    fn all(report: &'a [ipc::Denied]) -> Vec<Self> {
        let denied = |denied: &'a ipc::Denied| Self {
            action: &denied.action,
            layer: denied.layer.as_deref(),
        };
        report.iter().map(denied).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_see_listeners_and_sessions() {
        let status = Status {
            pid: 7,
            ending: false,
            sessions: 3,
            highest_wall_ms: 0,
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
                strangers: ipc::frameserver::Strangers {
                    unproved: 7,
                    dropped: 1,
                    shut_out: 2,
                    refused: 40,
                },
                unproved_limit: 512,
            }],
            scripts: vec![ScriptStatus {
                name: "hello".into(),
                sandbox: vec![ipc::Denied {
                    action: "fork".into(),
                    layer: Some("rlimit".into()),
                }],
            }],
        };
        let json = serde_json::to_value(Shown::of(&status, &[])).unwrap();
        assert_eq!(json["running"], true);
        assert_eq!(json["listeners"][0]["addresses"][0], "[::1]:6680");
        assert_eq!(
            row(&status.listeners[0])[..4],
            ["hello", "[::1]:6680", "ready", "3"]
        );
        assert_eq!(row(&status.listeners[0])[5], "NOT denied: ptrace");
        assert_eq!(json["listeners"][0]["sandbox"][0]["layer"], "landlock");
        assert_eq!(
            json["listeners"][0]["strangers"],
            serde_json::json!({
                "unproved": 7, "limit": 512, "dropped": 1, "shut_out": 2, "refused": 40
            })
        );
        assert_eq!(
            strangers(&status.listeners[0]),
            ["hello", "7 of 512", "1", "2 sources", "40"]
        );
        assert_eq!(json["scripts"][0]["name"], "hello");
        assert_eq!(json["scripts"][0]["sandbox"][0]["action"], "fork");
    }

    #[test]
    fn layers_are_told_once_for_all_that_have_them() {
        let report = |layer: &str| {
            let report = [
                ("open", Some(layer)),
                ("fork", Some("seccomp")),
                ("x", None),
            ];
            let denied = |(action, layer): (&str, Option<&str>)| ipc::Denied {
                action: action.into(),
                layer: layer.map(Into::into),
            };
            report.map(denied).to_vec()
        };
        let listener = |name: &str, layer: &str| ListenerStatus {
            name: identity::Name::parse(name).unwrap(),
            addresses: Vec::new(),
            ready: true,
            script: String::new(),
            sandbox: report(layer),
            sessions: 0,
            strangers: Default::default(),
            unproved_limit: 512,
        };
        let both = "seccomp, landlock";
        let status = Status {
            pid: 7,
            ending: false,
            sessions: 0,
            highest_wall_ms: 0,
            listeners: vec![
                listener("a", both),
                listener("b", both),
                listener("c", "landlock"),
            ],
            scripts: vec![ScriptStatus {
                name: "a".into(),
                sandbox: report("landlock"),
            }],
        };
        assert_eq!(
            by_layer(&status),
            [
                ["landlock", "a, b, c, script a", "open"],
                ["seccomp", "c, script a", "fork"],
                ["seccomp", "a, b", "open, fork"],
            ]
        );
    }
}
