//! What comes of an evaluation, for people and for programs.

use serde::Serialize;

use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::output::{Output, printable, tell};
use crate::ipc::script::{Report, Severity};
use crate::ipc::{Outcome, Said};

/// How it is shown.
pub(super) struct Shown<'a> {
    out: &'a Output,
    json: bool,
}

impl<'a> Shown<'a> {
    pub(super) fn new(out: &'a Output, json: bool) -> Self {
        Self { out, json }
    }

    /// Something is going to be evaluated.
    pub(super) fn begin(&self) -> Heard<'_> {
        Heard {
            shown: self,
            printed: String::new(),
            reports: Vec::new(),
        }
    }
}

/// What is said during an evaluation. People are shown it at once, programs at the end.
pub(super) struct Heard<'a> {
    shown: &'a Shown<'a>,
    printed: String,
    reports: Vec<Report>,
}

impl Heard<'_> {
    pub(super) fn hear(&mut self, said: Said) -> Result<(), Failure> {
        match said {
            Said::Printed(text) if self.shown.json => self.printed.push_str(&text),
            Said::Reported(report) if self.shown.json => self.reports.push(report),
            Said::Printed(text) => self.lines(&text)?,
            Said::Reported(report) => self.report(&report),
        }
        Ok(())
    }

    /// It has ended.
    pub(super) fn end(self, outcome: Outcome) -> Result<(), Failure> {
        if self.shown.json {
            let row = Row::new(&self.printed, &self.reports, &outcome);
            let row = serde_json::to_string(&row).or_exit(Exit::Failed)?;
            return self.shown.out.line(row);
        }
        match outcome {
            Ok(values) => values.iter().try_for_each(|value| self.lines(value)),
            Err(report) => {
                self.report(&report);
                Ok(())
            }
        }
    }

    /// It has been cancelled.
    pub(super) fn cancelled(&self) {
        // The terminal has shown a ^C.
        tell("\ncancelled");
    }

    /// What a script says may command no terminal.
    fn lines(&self, text: &str) -> Result<(), Failure> {
        let mut lines = text.lines();
        lines.try_for_each(|line| self.shown.out.line(printable(line)))
    }

    fn report(&self, report: &Report) {
        let color = match report.severity {
            _ if !self.shown.out.color => None,
            Severity::Error | Severity::Stopped => Some(31),
            Severity::Warning | Severity::Slow => Some(33),
        };
        let text = report.to_string();
        for (first, line) in std::iter::successors(Some(true), |_| Some(false)).zip(text.lines()) {
            let line = printable(line);
            match color.filter(|_| first) {
                Some(color) => tell(format_args!("\x1b[{color}m{line}\x1b[0m")),
                None => tell(line),
            }
        }
    }
}

/// For programs.
#[derive(Serialize)]
struct Row<'a> {
    values: &'a [String],
    printed: Vec<&'a str>,
    reports: Vec<Told<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Told<'a>>,
}

#[derive(Serialize)]
struct Told<'a> {
    severity: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceback: Option<&'a str>,
}

impl<'a> Row<'a> {
    fn new(printed: &'a str, reports: &'a [Report], outcome: &'a Outcome) -> Self {
        Self {
            values: outcome.as_deref().unwrap_or_default(),
            printed: printed.lines().collect(),
            reports: reports.iter().map(Told::of).collect(),
            error: outcome.as_ref().err().map(Told::of),
        }
    }
}

impl<'a> Told<'a> {
    fn of(report: &'a Report) -> Self {
        Self {
            severity: if report.severity.is_error() {
                "error"
            } else {
                "warning"
            },
            message: &report.message,
            hint: report.hint.as_deref(),
            traceback: report.traceback.as_deref(),
        }
    }
}
