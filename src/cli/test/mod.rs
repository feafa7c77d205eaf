//! `moonport test`: scripts that test scripts.
//!
//! ```text
//!   tester (script)   the VM of a file of tests, and its words
//!        │ Stage
//!   world ── app      a script under test: engine, clock
//!             ├─ host      listeners, keys, windows; frameserver::Memory
//!             └─ client    a12 as bytes
//! ```

mod app;
mod client;
mod host;
mod tap;
mod world;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;

use super::args::Json;
use super::duration;
use super::exit::{Exit, Failure, OrExit};
use super::output::Output;
use crate::ipc::script::{Limits, Report, Severity};
use crate::script::tester::Tester;
use app::Tape;
use tap::{Outcome, Style};
use world::World;

/// Run tests of scripts: Lua files with functions test_…, which load scripts and play their clients
///
/// Nothing outside is touched: host, network, keys and the time are in memory. What a test prints and
/// what fails is told in the Test Anything Protocol. The exit code is 1 if a test fails.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// Files of tests, or folders: each *.lua in them that has tests
    #[arg(required = true, value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
    paths: Vec<PathBuf>,
    /// Only tests whose name has this in it
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// A callback of a script, or a test without what its scripts do, that takes longer is stopped
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration::brief)]
    handler_limit: Duration,
    #[command(flatten)]
    json: Json,
}

/// A file of tests that is loaded, or not.
struct File {
    name: String,
    world: Rc<RefCell<World>>,
    tape: Tape,
    tester: Result<Tester, Box<Report>>,
    /// Those that are wanted: place and name.
    tests: Vec<(usize, String)>,
}

pub(super) fn run(args: Test, out: &Output) -> Result<Exit, Failure> {
    let mut files = Vec::new();
    for path in &args.paths {
        let named = !path.is_dir();
        for path in lua_files(path)? {
            let mut file = File::load(&path, args.handler_limit);
            if let Some(filter) = &args.filter {
                file.tests
                    .retain(|(_, name)| name.contains(filter.as_str()));
            }
            if named && args.filter.is_none() && file.tests.is_empty() && file.tester.is_ok() {
                return Err(Failure::because(
                    Exit::Usage,
                    format_args!(
                        "{}: no function test_… and no moonport.test in it",
                        path.display()
                    ),
                ));
            }
            files.push(file);
        }
    }
    let total = files.iter().map(File::count).sum();
    if total == 0 {
        let none = match &args.filter {
            Some(filter) => format!("no test has {filter:?} in its name"),
            None => "there are no tests: no function test_… in any *.lua there".to_owned(),
        };
        return Err(Failure::because(Exit::Usage, none));
    }
    let style = if args.json.json {
        Style::Json
    } else {
        Style::Tap
    };
    let mut writer = tap::Writer::begin(style, total, out)?;
    for file in &files {
        file.run(&mut writer)?;
    }
    match writer.end()? {
        0 => Ok(Exit::Done),
        _ => Ok(Exit::Failed),
    }
}

/// The file itself, or those of a folder, by name.
fn lua_files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let there = || path.display().to_string();
    if !path.is_dir() {
        std::fs::File::open(path).or_exit_with(Exit::Usage, there)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).or_exit_with(Exit::Usage, there)? {
        let path = entry.or_exit_with(Exit::Usage, there)?.path();
        if path.extension().is_some_and(|ending| ending == "lua") && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

impl File {
    fn load(path: &Path, stop: Duration) -> Self {
        let world = Rc::new(RefCell::new(World::new(path, stop)));
        let tape = Tape::default();
        let limits = Limits {
            warn: Duration::MAX,
            stop,
            ..Limits::default()
        };
        let stage = Rc::clone(&world);
        let tester = Tester::new(path, limits, Box::new(tape.clone()), stage);
        let names = tester
            .as_ref()
            .map(|tester| tester.names().map(str::to_owned).collect());
        let names: Vec<String> = names.unwrap_or_default();
        Self {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into(),
            world,
            tape,
            tester,
            tests: names.into_iter().enumerate().collect(),
        }
    }

    /// How many results it has: one that cannot be loaded is a failure.
    fn count(&self) -> usize {
        match self.tester {
            Ok(_) => self.tests.len(),
            Err(_) => 1,
        }
    }

    fn run(&self, writer: &mut tap::Writer<'_>) -> Result<(), Failure> {
        let tester = match &self.tester {
            Ok(tester) => tester,
            Err(report) => {
                return writer.tell(Outcome {
                    file: &self.name,
                    name: "can be loaded",
                    printed: self.tape.take(),
                    failed: Some(report),
                });
            }
        };
        for (at, name) in &self.tests {
            let done = tester.run(*at);
            let left = self.world.borrow_mut().clear();
            let failed = match (done, left.as_slice()) {
                (Err(report), _) => Some(report),
                (Ok(()), []) => None,
                (Ok(()), left) => Some(untold(left)),
            };
            writer.tell(Outcome {
                file: &self.name,
                name,
                printed: self.tape.take(),
                failed: failed.as_deref(),
            })?;
        }
        Ok(())
    }
}

/// A script under test had errors that the test did not ask for.
fn untold(left: &[String]) -> Box<Report> {
    Box::new(Report {
        hint: Some("a test that means them to happen takes them with app:errors()".to_owned()),
        ..Report::new(
            Severity::Error,
            format!("the script had errors:\n{}", left.join("\n")),
        )
    })
}
