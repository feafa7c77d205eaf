//! `moonport doctor`: whether this system is fit for a host, and what to do where it is not.

use std::collections::BTreeMap;
use std::path::Path;

use keystore::{Directory, Keystore, OpenError, Sled};
use rustix::process::Resource;
use serde::Serialize;

use super::admin::Admin;
use super::exit::{Exit, Failure};
use super::output::{Output, printable};
use super::{rooms, status};
use crate::host;
use crate::ipc::{Denied, Unproved};
use crate::sandbox;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// As it should be.
    Ok,
    /// It works, but not as well as it could.
    Warning,
    /// It does not work, or is not safe.
    Problem,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    level: Level,
    found: String,
    /// What to do about it.
    advice: Option<String>,
}

fn ok(what: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        what,
        level: Level::Ok,
        found: found.into(),
        advice: None,
    }
}

fn bad(
    level: Level,
    what: &'static str,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> Finding {
    Finding {
        what,
        level,
        found: found.into(),
        advice: Some(advice.into()),
    }
}

pub(super) async fn run(json: bool, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let frameserver = host::probe_frameserver().await;
    let script = host::probe_script().await;
    let sandboxes = [("frameserver", &frameserver), ("script", &script)]
        .map(|(what, report)| (what, report.as_deref().unwrap_or_default()));
    let mut findings = vec![kernel(sandbox::landlock_version(), has_seccomp())];
    findings.push(match &frameserver {
        Ok(report) => walls("frameserver", report, &FRAMESERVER),
        Err(error) => bad(
            Level::Problem,
            "frameserver",
            error.to_string(),
            "no listener will work; run with --log debug to see more",
        ),
    });
    findings.push(match &script {
        Ok(report) => walls("script", report, &SCRIPT),
        Err(error) => bad(
            Level::Problem,
            "script",
            error.to_string(),
            "no script will run; run with --log debug to see more",
        ),
    });
    findings.extend(keystore(state).await);
    let most = rustix::process::getrlimit(Resource::Nofile).maximum;
    findings.push(descriptors(most));
    let worst = findings.iter().map(|finding| finding.level).max();
    match json {
        true => out.json(&serde_json::json!({
            "ok": worst < Some(Level::Problem),
            "findings": findings,
            "sandbox": BTreeMap::from(sandboxes),
        }))?,
        false => {
            for finding in &findings {
                show(finding, out)?;
            }
            for (what, report) in sandboxes {
                for (layer, denies) in status::layers(report) {
                    out.line(format_args!(
                        "         {layer} denies a {what}: {}",
                        denies.join(", ")
                    ))?;
                }
            }
        }
    }
    Ok(match worst {
        Some(Level::Problem) => Exit::Failed,
        _ => Exit::Done,
    })
}

fn show(finding: &Finding, out: &Output) -> Result<(), Failure> {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Problem => "problem",
    };
    let found = printable(&finding.found);
    out.line(format_args!("{level:<8} {}: {found}", finding.what))?;
    match &finding.advice {
        Some(advice) => out.line(format_args!("         {}", printable(advice))),
        None => Ok(()),
    }
}

/// What this kernel can do to lock a process down.
fn kernel(landlock: Option<i32>, seccomp: bool) -> Finding {
    let system = rustix::system::uname();
    let name = format!("Linux {}", system.release().to_string_lossy());
    match (landlock, seccomp) {
        (_, false) => bad(
            Level::Problem,
            "kernel",
            format!("{name} has no seccomp filters"),
            "frameservers are not locked down without; use a kernel with CONFIG_SECCOMP_FILTER",
        ),
        (None, true) => bad(
            Level::Warning,
            "kernel",
            format!("{name} has seccomp, but no Landlock"),
            "a script that breaks out of its VM then reads what you can; use a kernel from 5.13 on with landlock in its lsm= list",
        ),
        (Some(abi), true) if abi < FULL_LANDLOCK => ok(
            "kernel",
            format!(
                "{name} has seccomp, and Landlock {abi}, which leaves some of the list to seccomp"
            ),
        ),
        (Some(abi), true) => ok("kernel", format!("{name} has seccomp and Landlock {abi}")),
    }
}

/// The version of Landlock that knows all that is asked of it here: TCP from 4 on, signals from 6.
const FULL_LANDLOCK: i32 = 6;

fn has_seccomp() -> bool {
    let actions = std::fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail");
    actions.is_ok_and(|actions| actions.split_whitespace().any(|action| action == "errno"))
}

/// How bad a gap in a sandbox is, and what to do.
type Gap = (Level, &'static str);

const FRAMESERVER: Gap = (
    Level::Problem,
    "use a kernel with seccomp; `moonport run --sandbox require` refuses to listen here",
);

const SCRIPT: Gap = (
    Level::Warning,
    "use a kernel with seccomp and Landlock; `moonport run --sandbox require` runs no script here",
);

/// What the sandbox of such a process denies.
fn walls(what: &'static str, report: &[Denied], &(level, advice): &Gap) -> Finding {
    let open: Vec<&str> = report
        .iter()
        .filter(|denied| denied.layer.is_none())
        .map(|denied| denied.action.as_str())
        .collect();
    if report.is_empty() {
        bad(
            Level::Problem,
            what,
            "it reports nothing",
            "the program is damaged; install it again",
        )
    } else if open.is_empty() {
        ok(
            what,
            format!("all {} actions are denied to it", report.len()),
        )
    } else {
        let found = format!("nothing denies it {}", open.join(", "));
        bad(level, what, found, advice)
    }
}

/// The state directory, what is in it, and the clock.
async fn keystore(state: &Path) -> Vec<Finding> {
    let shown = state.display();
    if !state.exists() {
        return vec![ok(
            "state directory",
            format!("{shown} is not there yet; `moonport run` makes it"),
        )];
    }
    let directory = match Directory::open(state) {
        Ok(directory) => directory,
        Err(OpenError::Held { pid, .. }) => return held(state, pid).await,
        Err(error) => {
            return vec![bad(
                Level::Problem,
                "state directory",
                error.to_string(),
                "no host can use it as it is",
            )];
        }
    };
    let mut findings = vec![ok(
        "state directory",
        format!("{shown} is for its owner only"),
    )];
    let now = rooms::now();
    match Sled::open(&directory, now).and_then(|store| Ok((store.entries()?.len(), store))) {
        Ok((keys, store)) => {
            findings.push(ok("keystore", format!("it opens, and holds {keys} keys")));
            findings.push(clock(now.wall_ms, store.highest_wall_ms()));
        }
        Err(error) => findings.push(bad(
            Level::Problem,
            "keystore",
            error.to_string(),
            "nobody can be let in; restore the state directory from a backup",
        )),
    }
    findings
}

/// Where another process works in the directory, it is asked.
async fn held(state: &Path, pid: Option<u32>) -> Vec<Finding> {
    let mut findings = vec![ok(
        "state directory",
        format!("{} is for its owner only", state.display()),
    )];
    let holder = pid.map_or_else(
        || "another process".to_owned(),
        |pid| format!("process {pid}"),
    );
    let status = match Admin::host(state) {
        Ok(Some(mut host)) => host.status().await.ok(),
        _ => None,
    };
    match status {
        Some(status) => {
            findings.push(ok("keystore", format!("{holder} has it, and answers")));
            findings.push(clock(rooms::now().wall_ms, status.highest_wall_ms));
        }
        None => findings.push(bad(
            Level::Warning,
            "keystore",
            format!("{holder} has it, and does not answer"),
            "another command may be at work: try again; a host that hangs has to be ended",
        )),
    }
    findings
}

/// Both in milliseconds since 1970.
fn clock(now: u64, highest: u64) -> Finding {
    let behind = highest.saturating_sub(now);
    if behind <= SLACK_MS {
        return ok("clock", "it goes forward");
    }
    let seconds = behind.div_ceil(1000);
    bad(
        Level::Problem,
        "clock",
        format!("it is {seconds} s behind a time that the keystore has seen: windows are shut"),
        "set the clock; or wait until it has caught up",
    )
}

/// The clocks of two processes are not read at once.
const SLACK_MS: u64 = 2_000;

/// The most descriptors that a process may have; `None`: no limit.
fn descriptors(most: Option<u64>) -> Finding {
    let needed = u64::from(Unproved::USUAL.full()) + rooms::SESSIONS as u64 + OTHERS;
    match most {
        Some(most) if most < needed => bad(
            Level::Warning,
            "open files",
            format!("at most {most}: a listener cannot hold as many clients as it may"),
            format!("allow {needed}: `ulimit -Hn`, or LimitNOFILE= in a systemd unit"),
        ),
        Some(most) => ok("open files", format!("at most {most}; {needed} are needed")),
        None => ok("open files", "no limit"),
    }
}

/// What a frameserver has open besides its peers, generously.
const OTHERS: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_is_a_problem_that_says_so() {
        assert_eq!(clock(10_000, 10_000).level, Level::Ok);
        assert_eq!(clock(10_000, 9_000).level, Level::Ok);
        assert_eq!(clock(10_000, 11_000).level, Level::Ok);
        let behind = clock(10_000, 70_500);
        assert_eq!(behind.level, Level::Problem);
        assert!(behind.found.contains("61 s behind"), "{behind:?}");
        assert!(behind.found.contains("windows are shut"), "{behind:?}");
        assert!(behind.advice.is_some());
    }

    #[test]
    fn what_nothing_denies_is_a_problem_by_its_name() {
        let denied = |action: &str, layer: Option<&str>| Denied {
            action: action.into(),
            layer: layer.map(Into::into),
        };
        let whole = [denied("open", Some("seccomp, landlock"))];
        let walls = |report: &[Denied]| walls("frameserver", report, &FRAMESERVER);
        assert_eq!(walls(&whole).level, Level::Ok);
        assert_eq!(walls(&[]).level, Level::Problem);
        let open = walls(&[denied("open", Some("landlock")), denied("bpf", None)]);
        assert_eq!(open.level, Level::Problem);
        assert!(open.found.ends_with("denies it bpf"), "{open:?}");
    }

    #[test]
    fn what_the_kernel_lacks_is_told() {
        assert_eq!(kernel(Some(7), true).level, Level::Ok);
        assert_eq!(kernel(Some(3), true).level, Level::Ok);
        assert_eq!(kernel(None, true).level, Level::Warning);
        assert_eq!(kernel(Some(7), false).level, Level::Problem);
    }

    #[test]
    fn too_few_descriptors_are_a_warning() {
        assert_eq!(descriptors(None).level, Level::Ok);
        assert_eq!(descriptors(Some(1 << 20)).level, Level::Ok);
        assert_eq!(descriptors(Some(1024)).level, Level::Warning);
    }
}
