//! What the host counts, in the text format of Prometheus (version 0.0.4): names of listeners,
//! scripts, protocols and reasons, and numbers; no keys, no addresses of peers, nothing secret.

mod page;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::str::FromStr;

use identity::Name;
use keystore::{Reason, Window};
use thiserror::Error;

use super::Host;
use super::control::Reply;
use crate::ipc::Scheme;
use crate::ipc::admin::FromHost;
use crate::ipc::script::Severity;
pub(super) use page::serve;

/// An address of this machine that no other one reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loopback(SocketAddr);

/// Why a text is no [`Loopback`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoLoopback {
    /// It is no address with a port.
    #[error("an address and a port are wanted: 127.0.0.1:9464, [::1]:9464")]
    Address,
    /// Others would reach it.
    #[error(
        "{0} can be reached from elsewhere, and whoever asks is told; use 127.0.0.1 or [::1], and a \
         proxy that knows who asks"
    )]
    Elsewhere(SocketAddr),
}

impl FromStr for Loopback {
    type Err = NoLoopback;

    fn from_str(text: &str) -> Result<Self, NoLoopback> {
        let address: SocketAddr = text.parse().map_err(|_| NoLoopback::Address)?;
        match address.ip().is_loopback() {
            true => Ok(Self(address)),
            false => Err(NoLoopback::Elsewhere(address)),
        }
    }
}

impl std::fmt::Display for Loopback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// What has happened since the host was started, as far as nothing else knows it.
#[derive(Debug, Default)]
pub(super) struct Counts {
    claims: [u64; Scheme::ALL.len()],
    admissions: [u64; Scheme::ALL.len()],
    elsewhere: u64,
    refusals: [u64; REASONS.len()],
    ended: u64,
    writes: u64,
}

/// The same for one script, through all restarts of its process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ScriptCounts {
    restarts: u64,
    slow: u64,
    stopped: u64,
    warnings: u64,
    errors: u64,
}

impl Counts {
    /// Somebody says to have a key.
    pub(super) fn claim(&mut self, scheme: Scheme) {
        add(self.claims.get_mut(scheme as usize));
    }

    /// A session begins.
    pub(super) fn admission(&mut self, scheme: Scheme) {
        add(self.admissions.get_mut(scheme as usize));
    }

    /// A key comes in at a server of another program's.
    pub(super) fn elsewhere(&mut self) {
        add(Some(&mut self.elsewhere));
    }

    /// Somebody is not let in.
    pub(super) fn refusal(&mut self, reason: Reason) {
        let at = REASONS.iter().position(|(known, _)| *known == reason);
        add(at.and_then(|at| self.refusals.get_mut(at)));
    }

    /// A session ends.
    pub(super) fn end(&mut self) {
        add(Some(&mut self.ended));
    }

    /// Changes are durable that were made together.
    pub(super) fn write(&mut self) {
        add(Some(&mut self.writes));
    }
}

impl ScriptCounts {
    /// Its process is started again.
    pub(super) fn restart(&mut self) {
        add(Some(&mut self.restarts));
    }

    /// Its author is told something.
    pub(super) fn report(&mut self, severity: Severity) {
        add(Some(match severity {
            Severity::Slow => &mut self.slow,
            Severity::Stopped => &mut self.stopped,
            Severity::Warning => &mut self.warnings,
            Severity::Error => &mut self.errors,
        }));
    }
}

fn add(count: Option<&mut u64>) {
    if let Some(count) = count {
        *count = count.saturating_add(1);
    }
}

/// Why somebody is not let in, as the audit log calls it.
const REASONS: [(Reason, &str); 15] = [
    (Reason::WrongSecret, "wrong-secret"),
    (Reason::Protocol, "protocol"),
    (Reason::TooSlow, "too-slow"),
    (Reason::UnknownKey, "unknown-key"),
    (Reason::OutOfScope, "out-of-scope"),
    (Reason::Disabled, "disabled"),
    (Reason::Revoked, "revoked"),
    (Reason::Banned, "banned"),
    (Reason::Expired, "expired"),
    (Reason::WindowShut, "window-shut"),
    (Reason::NotProved, "not-proved"),
    (Reason::TooMany, "too-many"),
    (Reason::Closing, "closing"),
    (Reason::TurnedAway, "turned-away"),
    (Reason::Keystore, "keystore"),
];

/// What frameservers say, summed over those of one name.
#[derive(Debug, Default)]
struct Listener {
    sessions: u64,
    ready: u64,
    unproved: u64,
    dropped: u64,
    shut_out: u64,
    refused: u64,
}

impl Host {
    /// Tells an admin, or whoever reads the page.
    pub(super) fn tell_metrics(&self, reply: Reply) {
        self.store.read(move |keystore, now| {
            let windows = keystore.windows(now).map_err(|error| error.to_string());
            let records = keystore.audit_head().map(|head| head.seq);
            Box::new(move |host: &mut Self| {
                let answer = match windows {
                    Ok(windows) => FromHost::Metrics(host.metrics(&windows, records)),
                    Err(error) => FromHost::Failed(error),
                };
                reply.send(answer);
            })
        });
    }

    /// All of it, line by line.
    pub(super) fn metrics(&self, windows: &[Window], records: Option<u64>) -> Vec<String> {
        let mut page = Page::default();
        let version = env!("CARGO_PKG_VERSION");
        page.family("info", GAUGE, "Which version runs.");
        page.sample("info", &[("version", version)], 1);
        let draining = u64::from(self.ending.is_begun());
        page.one(
            "ending",
            GAUGE,
            "Whether the host has been told to end.",
            draining,
        );

        let listeners = self.listeners_by_name();
        let all = |of: fn(&Listener) -> u64| {
            let listeners = listeners.iter();
            listeners
                .map(|(name, it)| (name.as_str().to_owned(), of(it)))
                .collect::<Vec<_>>()
        };
        page.one(
            "listeners",
            GAUGE,
            "Listeners that accept connections.",
            listeners.values().map(|it| it.ready).sum(),
        );
        page.each(
            "sessions",
            GAUGE,
            "Sessions that are up.",
            "listener",
            all(|it| it.sessions),
        );
        page.each(
            "unproved_connections",
            GAUGE,
            "Connections that have proved no key yet.",
            "listener",
            all(|it| it.unproved),
        );
        page.each(
            "unproved_dropped_total",
            COUNTER,
            "Connections without a proof that were dropped to make room.",
            "listener",
            all(|it| it.dropped),
        );
        page.each(
            "penalized_sources",
            GAUGE,
            "Sources that are refused for a while.",
            "listener",
            all(|it| it.shut_out),
        );
        page.each(
            "penalty_refusals_total",
            COUNTER,
            "Connections of such sources.",
            "listener",
            all(|it| it.refused),
        );
        let mut open: BTreeMap<&str, u64> = BTreeMap::new();
        for window in windows.iter().filter(|window| window.ended.is_none()) {
            *open.entry(window.name.as_str()).or_default() += 1;
        }
        let open = open
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count));
        page.each(
            "windows_open",
            GAUGE,
            "Open windows.",
            "listener",
            open.collect(),
        );
        page.one(
            "outbound_connections",
            GAUGE,
            "Connections that scripts have made.",
            number(self.outbound.len()),
        );

        let counts = &self.counts;
        let schemes = |counts: [u64; Scheme::ALL.len()]| {
            let each = Scheme::ALL.into_iter().zip(counts);
            each.map(|(scheme, count)| (scheme.name().to_owned(), count))
                .collect()
        };
        page.each(
            "claims_total",
            COUNTER,
            "Peers that have claimed or proved a key.",
            "protocol",
            schemes(counts.claims),
        );
        page.each(
            "admissions_total",
            COUNTER,
            "Peers that were let in.",
            "protocol",
            schemes(counts.admissions),
        );
        page.one(
            "admissions_elsewhere_total",
            COUNTER,
            "Keys that were let in at servers of other programs.",
            counts.elsewhere,
        );
        let refusals = REASONS.iter().zip(counts.refusals);
        let refusals = refusals.map(|((_, name), count)| ((*name).to_owned(), count));
        page.each(
            "refusals_total",
            COUNTER,
            "Peers that were not let in.",
            "reason",
            refusals.collect(),
        );
        page.one(
            "sessions_ended_total",
            COUNTER,
            "Sessions that have ended.",
            counts.ended,
        );

        let scripts = |of: fn(&ScriptCounts) -> u64| {
            let scripts = self.scripts.values();
            scripts
                .map(|script| (script.name().to_owned(), of(&script.counts)))
                .collect::<Vec<_>>()
        };
        page.one(
            "scripts",
            GAUGE,
            "Scripts that run.",
            number(self.scripts.len()),
        );
        for (name, help, of) in SCRIPTS {
            page.each(name, COUNTER, help, "script", scripts(of));
        }
        page.one(
            "keystore_writes_total",
            COUNTER,
            "Times that changes were made durable.",
            counts.writes,
        );
        if let Some(records) = records {
            let help = "Records of the audit log, from its beginning.";
            page.one("audit_records_total", COUNTER, help, records);
        }
        page.lines
    }

    fn listeners_by_name(&self) -> BTreeMap<Name, Listener> {
        let mut all: BTreeMap<Name, Listener> = BTreeMap::new();
        let listens = |front: &&super::Front| front.listener.is_some();
        for front in self.fronts.values().filter(listens) {
            let one = all.entry(front.name.clone()).or_default();
            let told = front.strangers.told();
            one.ready += u64::from(front.is_ready());
            one.unproved += u64::from(told.unproved);
            one.dropped = one.dropped.saturating_add(told.dropped);
            one.shut_out += u64::from(told.shut_out);
            one.refused = one.refused.saturating_add(told.refused);
        }
        for (_, session) in self.sessions.iter() {
            all.entry(session.name.clone()).or_default().sessions += 1;
        }
        all
    }
}

/// Name, help, and where it is counted.
type Count = (&'static str, &'static str, fn(&ScriptCounts) -> u64);

/// What is told of each script.
const SCRIPTS: [Count; 5] = [
    (
        "script_restarts_total",
        "Times that its process was started again.",
        |it| it.restarts,
    ),
    (
        "handler_warnings_total",
        "Callbacks that took longer than --handler-warn.",
        |it| it.slow,
    ),
    (
        "handler_stops_total",
        "Callbacks that were stopped by --handler-limit.",
        |it| it.stopped,
    ),
    (
        "script_warnings_total",
        "Other warnings to its author.",
        |it| it.warnings,
    ),
    (
        "script_errors_total",
        "Other errors that it did not catch.",
        |it| it.errors,
    ),
];

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

const GAUGE: &str = "gauge";
const COUNTER: &str = "counter";

/// The text as it grows.
#[derive(Debug, Default)]
struct Page {
    lines: Vec<String>,
}

impl Page {
    /// The head of the samples of one name.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.lines.push(format!("# HELP moonport_{name} {help}"));
        self.lines.push(format!("# TYPE moonport_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let mut line = format!("moonport_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            // Writing to a string cannot fail.
            let _ = write!(line, "{before}{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            line.push('}');
        }
        let _ = write!(line, " {value}");
        self.lines.push(line);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: u64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn each(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: Vec<(String, u64)>,
    ) {
        if values.is_empty() {
            return;
        }
        self.family(name, kind, help);
        for (text, value) in values {
            self.sample(name, &[(label, &text)], value);
        }
    }
}

/// The value of a label between its quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_told() {
        for good in ["127.0.0.1:9464", "[::1]:0", "127.9.9.9:1"] {
            assert_eq!(good.parse::<Loopback>().unwrap().to_string(), good);
        }
        for (wrong, why) in [
            ("0.0.0.0:9464", "127.0.0.1"),
            ("[::]:9464", "proxy"),
            ("192.0.2.1:9464", "elsewhere"),
            ("9464", "port"),
            ("localhost:9464", "127.0.0.1:9464"),
            ("127.0.0.1", "port"),
        ] {
            let error = wrong.parse::<Loopback>().unwrap_err().to_string();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn every_reason_is_called_as_in_the_audit_log() {
        for (reason, name) in REASONS {
            assert_eq!(serde_json::to_value(reason).unwrap(), name);
        }
        let mut counts = Counts::default();
        for (reason, _) in REASONS {
            counts.refusal(reason);
        }
        assert_eq!(counts.refusals, [1; REASONS.len()]);
    }

    #[test]
    fn a_label_stays_between_its_quotes() {
        let mut page = Page::default();
        let scripts = vec![("a\"} 9\nx\\".to_owned(), 7)];
        page.each("x_total", COUNTER, "What.", "script", scripts);
        page.each("none", COUNTER, "Nothing.", "script", Vec::new());
        assert_eq!(
            page.lines,
            [
                "# HELP moonport_x_total What.",
                "# TYPE moonport_x_total counter",
                r#"moonport_x_total{script="a\"} 9\nx\\"} 7"#,
            ]
        );
    }
}
