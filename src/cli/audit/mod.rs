//! `moonport audit` and `moonport explain`: what happened. The files are read as they are, beside a
//! running host or without one.

mod args;
mod explain;
mod line;
mod verify;
mod wanted;

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use keystore::audit::{Fault, Line, Reader, Record, Verifier};

use super::exit::{Exit, Failure, OrExit};
use super::output::{Output, tell};
use super::users::Users;
pub(super) use args::{Audit, Explain};
pub(super) use explain::run as explain;
use wanted::Filter;

pub(super) async fn run(command: Audit, state: &Path, out: &Output) -> Result<Exit, Failure> {
    match command {
        Audit::Show {
            wanted,
            limit,
            json,
        } => {
            let printer = Printer::new(Filter::new(&wanted), json, out);
            show(&mut Log::open(state), &printer, limit)
        }
        Audit::Follow {
            wanted,
            limit,
            json,
        } => {
            let printer = Printer::new(Filter::new(&wanted), json, out);
            tokio::select! {
                failed = follow(state, &printer, limit) => failed,
                _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
            }
        }
        Audit::Verify { head, json } => verify::run(state, head, json.json, out).await,
        Audit::Export { output } => export(state, output.as_deref(), out),
    }
}

/// The log, line by line.
struct Log(Reader);

impl Log {
    fn open(state: &Path) -> Self {
        Self(Reader::new(state))
    }

    fn next(&mut self) -> Result<Option<Line>, Failure> {
        self.0
            .next_line()
            .or_exit_with(Exit::Keystore, || "cannot read the audit log")
    }
}

/// Where something is wrong.
struct Broken {
    line: Line,
    fault: Fault,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Line { file, number, .. } = &self.line;
        write!(f, "{}:{number}: {}", file.display(), self.fault)
    }
}

/// Prints the records that are meant.
struct Printer<'a> {
    filter: Filter<'a>,
    json: bool,
    users: Users,
    out: &'a Output,
}

impl<'a> Printer<'a> {
    fn new(filter: Filter<'a>, json: bool, out: &'a Output) -> Self {
        let users = Users::of_this_machine();
        Self {
            filter,
            json,
            users,
            out,
        }
    }

    /// The text of a record; `None`: it is not meant.
    fn text(&self, line: &Line) -> Result<Option<String>, Fault> {
        let record = Record::parse(&line.bytes)?;
        let fields = serde_json::from_slice(&line.bytes);
        let fields = fields.map_err(|error| Fault::Form(error.to_string()))?;
        Ok(self.filter.takes(&fields).then(|| match self.json {
            true => String::from_utf8_lossy(&line.bytes).into_owned(),
            false => line::line(&record, &self.users, self.out.color),
        }))
    }
}

/// Prints what there is: all, or the last ones.
fn show(log: &mut Log, printer: &Printer<'_>, limit: Option<usize>) -> Result<Exit, Failure> {
    let mut exit = Exit::Done;
    let mut last = VecDeque::new();
    while let Some(line) = log.next()? {
        match printer.text(&line) {
            Ok(None) => {}
            Ok(Some(text)) => match limit {
                None => printer.out.line(text)?,
                Some(limit) => {
                    last.push_back(text);
                    if last.len() > limit {
                        last.pop_front();
                    }
                }
            },
            Err(fault) => {
                tell(format_args!("moonport: {}", Broken { line, fault }));
                exit = Exit::Failed;
            }
        }
    }
    last.into_iter()
        .try_for_each(|text| printer.out.line(text))?;
    Ok(exit)
}

/// Prints the last ones, and then whatever comes.
async fn follow(state: &Path, printer: &Printer<'_>, limit: usize) -> Result<Exit, Failure> {
    let mut log = Log::open(state);
    show(&mut log, printer, Some(limit))?;
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        show(&mut log, printer, None)?;
    }
}

/// Prints all, as long as each follows the one before it.
fn export(state: &Path, output: Option<&Path>, out: &Output) -> Result<Exit, Failure> {
    let mut file = match output {
        None => None,
        Some(path) => {
            let mut options = std::fs::OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(path);
            let file =
                file.or_exit_with(Exit::Usage, || format!("cannot make {}", path.display()))?;
            Some((io::BufWriter::new(file), path))
        }
    };
    let mut log = Log::open(state);
    let mut verifier = Verifier::default();
    while let Some(mut line) = log.next()? {
        if let Err(fault) = verifier.check(&line.bytes) {
            let records = verifier.records();
            let broken = Broken { line, fault };
            return Err(Failure::because(
                Exit::Failed,
                format_args!("{broken}; the {records} records before it are written"),
            ));
        }
        line.bytes.push(b'\n');
        match &mut file {
            None => out.raw(&line.bytes)?,
            Some((file, path)) => file
                .write_all(&line.bytes)
                .or_exit_with(Exit::Failed, || format!("cannot write {}", path.display()))?,
        }
    }
    if let Some((mut file, path)) = file {
        file.flush()
            .and_then(|()| file.get_ref().sync_all())
            .or_exit_with(Exit::Failed, || format!("cannot write {}", path.display()))?;
        tell(format_args!(
            "moonport: {} records written to {}",
            verifier.records(),
            path.display()
        ));
    }
    Ok(Exit::Done)
}

/// How soon what is new is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
