//! `moonport audit verify`.

use std::path::Path;

use keystore::audit::{Hash, Head, Verifier};
use serde::Serialize;

use super::{Broken, Log};
use crate::cli::admin::Admin;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, count};

/// What the log is compared with.
struct Known {
    /// `host`, `store`.
    by: &'static str,
    head: Head,
}

/// What was found.
#[derive(Default)]
struct Seen {
    verifier: Verifier,
    files: u32,
    /// The record whose hash somebody noted.
    noted: Option<u64>,
    /// The host's, or the store's, last record is there.
    known: bool,
    torn: bool,
    broken: Option<Broken>,
}

/// For programs.
#[derive(Serialize)]
struct Shown<'a> {
    ok: bool,
    records: u64,
    files: u32,
    first: Option<u64>,
    head: Option<Head>,
    compared_with: Option<&'a str>,
    noted: Option<u64>,
    broken: Option<Place>,
    why: Option<&'a str>,
}

#[derive(Serialize)]
struct Place {
    file: String,
    line: u64,
}

pub(super) async fn run(
    state: &Path,
    noted: Option<Hash>,
    json: bool,
    out: &Output,
) -> Result<Exit, Failure> {
    // Before the files are read: they may grow meanwhile. What the store has to say of them when it
    // does not open is told after what they say themselves.
    let known = known(state).await;
    let known_head = known.as_ref().ok().and_then(|known| known.as_ref());
    let mut seen = Seen::default();
    seen.read(state, noted, known_head.map(|known| known.head))?;
    let uncompared = |failure: &Failure| {
        let records = counted(&seen.verifier);
        format!("the chain of {records} is whole, but does not go with the keystore: {failure}")
    };
    let wrong = seen.wrong(noted, known_head);
    let wrong = wrong.or_else(|| known.as_ref().err().map(uncompared));
    let verifier = &seen.verifier;
    if json {
        let shown = Shown {
            ok: wrong.is_none(),
            records: verifier.records(),
            files: seen.files,
            first: verifier.base().map(|base| base.seq + 1),
            head: verifier.head(),
            compared_with: known_head.map(|known| known.by),
            noted: seen.noted,
            broken: seen.broken.as_ref().map(|broken| Place {
                file: broken.line.file.display().to_string(),
                line: broken.line.number,
            }),
            why: wrong.as_deref(),
        };
        out.json(&shown)?;
    }
    if let Some(wrong) = wrong {
        return Err(match json {
            true => Failure::silent(Exit::Failed),
            false => Failure::because(Exit::Failed, wrong),
        });
    }
    if !json {
        seen.tell(known_head, out)?;
    }
    Ok(Exit::Done)
}

/// The last record that the host, or else the store, knows of.
async fn known(state: &Path) -> Result<Option<Known>, Failure> {
    let host = Admin::host(state)?;
    let by = if host.is_some() { "host" } else { "store" };
    let mut admin = match host {
        Some(host) => host,
        // There is nothing to compare with, and nothing is to be made.
        None if !state.join("store").exists() => return Ok(None),
        None => Admin::open(state)?,
    };
    let head = admin.audit_head().await?;
    Ok(head.map(|head| Known { by, head }))
}

/// `1 record`, `2 records`.
fn counted(verifier: &Verifier) -> String {
    count(
        u32::try_from(verifier.records()).unwrap_or(u32::MAX),
        "record",
    )
}

impl Seen {
    fn read(
        &mut self,
        state: &Path,
        noted: Option<Hash>,
        known: Option<Head>,
    ) -> Result<(), Failure> {
        let mut log = Log::open(state);
        let mut file = None;
        self.known = known == Some(Head::START);
        while let Some(line) = log.next()? {
            if file.as_ref() != Some(&line.file) {
                file = Some(line.file.clone());
                self.files += 1;
            }
            match self.verifier.check(&line.bytes) {
                Ok(record) => {
                    self.known |= known == Some(record.head());
                    if noted == Some(record.hash) {
                        self.noted = Some(record.seq);
                    }
                }
                Err(fault) => {
                    self.broken = Some(Broken { line, fault });
                    return Ok(());
                }
            }
        }
        self.torn = log.0.is_torn();
        Ok(())
    }

    /// What is wrong first.
    fn wrong(&self, noted: Option<Hash>, known: Option<&Known>) -> Option<String> {
        let records = self.verifier.records();
        if let Some(broken) = &self.broken {
            return Some(format!(
                "{broken}; the {records} records before it are whole"
            ));
        }
        let last = self.verifier.head().map_or(0, |head| head.seq);
        if let Some(Known { by, head }) = known
            && !self.known
        {
            let what = match head.seq > last {
                true => format!("the last record is {last}, so what came after it is missing"),
                false => format!("record {} is another one", head.seq),
            };
            return Some(format!(
                "the {by} has written {} records, but {what}",
                head.seq
            ));
        }
        if noted.is_some() && self.noted.is_none() {
            return Some(format!(
                "none of the {records} records has the hash that was noted: it was taken away, or \
                 the records were written anew"
            ));
        }
        (self.torn && known.is_none()).then(|| "the last line is not whole".to_owned())
    }

    fn tell(&self, known: Option<&Known>, out: &Output) -> Result<(), Failure> {
        let (Some(head), Some(base)) = (self.verifier.head(), self.verifier.base()) else {
            return out.line("there are no records yet");
        };
        let records = counted(&self.verifier);
        let with = match known {
            Some(Known { by, .. }) => format!(", and goes with the {by}"),
            None => String::new(),
        };
        out.line(format_args!("the chain of {records} is whole{with}"))?;
        if base.seq > 0 {
            out.line(format_args!(
                "it begins with record {}; those before are not here",
                base.seq + 1
            ))?;
        }
        if let Some(noted) = self.noted {
            out.line(format_args!("the head that was noted is record {noted}"))?;
        }
        out.line(format_args!("head: {} (record {})", head.hash, head.seq))
    }
}
