//! `moonport check`: reads scripts without running them, and tells what looks wrong.

mod arcan;
mod finding;
mod rules;
mod source;
mod walk;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Json;
use super::exit::{Exit, Failure, OrExit};
use super::output::{Output, count, tell};
use crate::host::Program;
use crate::script::words::Seen;
use finding::{Finding, Rule};
use rules::Known;
use source::Source;
use walk::Facts;

/// Read scripts and tell what looks wrong in them; nothing of them is run
///
/// Errors of syntax, names that nobody has defined or that are misspelt, calls that cannot work. The
/// exit code is 1 if something is found. In a script, `-- moonport: ignore` at the end of a line, or
/// alone above it, silences that line, and `-- moonport: globals NAME…` says which globals are there.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Lua files, or appl directories (NAME with NAME.lua in it)
    #[arg(required = true, value_name = "SCRIPT", value_hint = clap::ValueHint::AnyPath)]
    scripts: Vec<PathBuf>,
    #[command(flatten)]
    json: Json,
}

/// The largest file that is read, as the VM takes it.
const MAX_SOURCE: u64 = 4 << 20;

/// How many files a script may consist of.
const MAX_FILES: usize = 1000;

pub(super) fn run(args: &Check, out: &Output) -> Result<Exit, Failure> {
    let mut found: BTreeMap<(PathBuf, usize, usize, Rule), (Finding, String)> = BTreeMap::new();
    let mut files = BTreeSet::new();
    for script in &args.scripts {
        let program = Program::locate(script).or_exit(Exit::Usage)?;
        let shown = match program.directory {
            true => script.join(format!("{}.lua", program.appl)),
            false => script.clone(),
        };
        let (sources, missing) = read_all(&shown)?;
        let known = Known::new(&program.appl, &sources);
        files.extend(sources.iter().map(|source| source.path.clone()));
        for source in &sources {
            let missing = missing.iter().filter(|finding| finding.path == source.path);
            let missing = missing.filter(|finding| source.listens_to(finding.at.line));
            let all = rules::findings(source, &known)
                .into_iter()
                .chain(missing.cloned());
            for finding in all {
                let number = finding.at.line.saturating_sub(1);
                let line = source.lines.get(number).cloned().unwrap_or_default();
                let place = (finding.path.clone(), finding.at.line, finding.at.column);
                found.insert((place.0, place.1, place.2, finding.rule), (finding, line));
            }
        }
    }
    if args.json.json {
        let values: Vec<_> = found.values().map(|(finding, _)| finding.value()).collect();
        out.json(&values)?;
    } else {
        for (finding, line) in found.values() {
            out.raw(finding.text(line, out.color).as_bytes())?;
        }
    }
    if found.is_empty() {
        return Ok(Exit::Done);
    }
    if !args.json.json {
        let number = |many: usize| u32::try_from(many).unwrap_or(u32::MAX);
        let (findings, files) = (number(found.len()), number(files.len()));
        tell(format_args!(
            "{} in {}",
            count(findings, "finding"),
            count(files, "file")
        ));
    }
    Ok(Exit::Failed)
}

/// A script's file and all that it requires, and the files that are not there.
fn read_all(program: &Path) -> Result<(Vec<Source>, Vec<Finding>), Failure> {
    let folder = program.parent().unwrap_or_else(|| Path::new("")).to_owned();
    let mut sources: Vec<Source> = vec![read(program)?];
    let mut missing = Vec::new();
    let mut at = 0;
    while let Some(source) = sources.get(at) {
        at += 1;
        let Ok(facts) = &source.facts else { continue };
        let mut more = Vec::new();
        for (name, place) in wanted(facts) {
            let path = folder.join(&name);
            if !path.is_file() {
                missing.push(Finding {
                    path: source.path.clone(),
                    at: place,
                    rule: Rule::MissingFile,
                    message: format!("{} is not there", path.display()),
                    hint: Some("files are looked for in the script's own folder".to_owned()),
                });
            } else if !sources.iter().any(|source| source.path == path) && !more.contains(&path) {
                more.push(path);
            }
        }
        for path in more {
            if sources.len() < MAX_FILES {
                sources.push(read(&path)?);
            }
        }
    }
    Ok((sources, missing))
}

/// The files that a file loads, as far as that can be seen, and where it says so.
fn wanted(facts: &Facts) -> impl Iterator<Item = (String, walk::At)> {
    facts.calls.iter().filter_map(|called| {
        let Some(Seen::Text(name)) = called.args.first() else {
            return None;
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || "_-./".contains(c);
        if !name.chars().all(allowed) || name.contains("..") || name.starts_with('/') {
            return None;
        }
        match called.name.text.as_str() {
            "require" => Some((format!("{}.lua", name.replace('.', "/")), called.name.at)),
            "system_load" => Some((name.clone(), called.name.at)),
            _ => None,
        }
    })
}

fn read(path: &Path) -> Result<Source, Failure> {
    let there = || path.display().to_string();
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).or_exit_with(Exit::Usage, there)?;
    file.take(MAX_SOURCE + 1)
        .read_to_end(&mut bytes)
        .or_exit_with(Exit::Usage, there)?;
    if bytes.len() as u64 > MAX_SOURCE {
        let size = format_args!("{} is larger than 4 MiB", path.display());
        return Err(Failure::because(Exit::Usage, size));
    }
    Ok(Source::new(path, &bytes))
}
