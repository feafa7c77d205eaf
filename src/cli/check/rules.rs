//! What is looked for in a script whose files have been read.

use std::collections::HashSet;

use super::arcan;
use super::finding::{Finding, Rule};
use super::source::Source;
use super::walk::{At, Called, Facts, Word};
use crate::script::words::{self, ENTRY_POINTS, Function, nearest};

/// What a file of tests finds beside Lua.
const TESTER: [&str; 5] = ["eq", "load", "moonport", "ok", "raises"];

/// What is in its table.
const TESTER_MEMBERS: [&str; 2] = ["moonport.script", "moonport.test"];

/// Entry points whose names nobody gives to anything else.
const TELLING: [&str; 3] = ["_clock_pulse", "_clock_pulse_batch", "_fatal_handover"];

/// What all files of a script know together.
pub(super) struct Known<'a> {
    /// What its entry points begin with.
    appl: &'a str,
    globals: HashSet<&'a str>,
    members: HashSet<&'a str>,
    kinds: HashSet<&'a str>,
}

impl<'a> Known<'a> {
    pub(super) fn new(appl: &'a str, sources: &'a [Source]) -> Self {
        let mut known = Self {
            appl,
            globals: words::lua_globals().chain(words::constants()).collect(),
            members: HashSet::from(["moonport.state"]),
            kinds: words::kinds().collect(),
        };
        for function in Function::all().map(Function::name) {
            let root = function.split('.').next().unwrap_or(function);
            known.globals.insert(root);
        }
        for source in sources {
            known
                .globals
                .extend(source.globals.iter().map(String::as_str));
            if let Ok(facts) = &source.facts {
                known
                    .globals
                    .extend(facts.writes.iter().map(|word| word.text.as_str()));
                known
                    .members
                    .extend(facts.set_members.iter().map(String::as_str));
                known
                    .kinds
                    .extend(facts.own_kinds.iter().map(String::as_str));
            }
        }
        known
    }
}

/// Everything that is found in a file.
pub(super) fn findings(source: &Source, known: &Known<'_>) -> Vec<Finding> {
    let facts = match &source.facts {
        Ok(facts) => facts,
        Err(syntax) => return vec![Finding::clone(syntax)],
    };
    let mut look = Look {
        source,
        known,
        tests: is_test(facts),
        found: Vec::new(),
        displays: HashSet::new(),
    };
    facts.reads.iter().for_each(|word| look.global(word));
    facts.members.iter().for_each(|word| look.member(word));
    facts.calls.iter().for_each(|called| look.call(called));
    facts.kinds.iter().for_each(|word| look.kind(word));
    for names in &facts.handlers {
        if names
            .iter()
            .any(|word| words::kinds().any(|kind| kind == word.text))
        {
            names.iter().for_each(|word| look.kind(word));
        }
    }
    facts
        .functions
        .iter()
        .for_each(|word| look.entry_point(word));
    look.found
        .retain(|finding| source.listens_to(finding.at.line));
    look.found
}

/// Whether it is for `moonport test`.
fn is_test(facts: &Facts) -> bool {
    let functions = facts.functions.iter();
    functions
        .map(|word| &word.text)
        .any(|name| name.starts_with("test_"))
        || facts
            .calls
            .iter()
            .any(|called| TESTER_MEMBERS.contains(&called.name.text.as_str()))
}

struct Look<'a> {
    source: &'a Source,
    known: &'a Known<'a>,
    tests: bool,
    found: Vec<Finding>,
    /// The functions that need a display and have been told.
    displays: HashSet<&'a str>,
}

impl<'a> Look<'a> {
    fn find(&mut self, at: At, rule: Rule, message: String, hint: Option<String>) {
        self.found.push(Finding {
            path: self.source.path.clone(),
            at,
            rule,
            message,
            hint,
        });
    }

    fn global(&mut self, word: &'a Word) {
        let name = word.text.as_str();
        let declared = self.known.globals.contains(name);
        if arcan::needs_display(name) && !self.source.globals.contains(name) {
            // One that the script has set itself is its own.
            let set = declared && Function::named(name).is_none();
            if !set && self.displays.insert(name) {
                let (does, hint) = match declared {
                    true => ("has no effect here", "there is no display"),
                    false => (
                        "is not there",
                        "call it under `if NAME then`, or not at all",
                    ),
                };
                self.find(
                    word.at,
                    Rule::NeedsDisplay,
                    format!("{name} needs a display: it {does}"),
                    Some(hint.replace("NAME", name)),
                );
            }
            return;
        }
        if declared || (self.tests && TESTER.contains(&name)) {
            return;
        }
        let constant = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if name.contains('_') && name.chars().all(constant) {
            let known: Vec<&str> = self
                .own()
                .chain(words::constants().map(|name| -> &str { name }))
                .collect();
            let hint = did_you_mean(name, known);
            let message = format!("there is no constant {name}");
            return self.find(word.at, Rule::UnknownConstant, message, hint);
        }
        let functions = Function::all().map(|function| -> &str { function.name() });
        let known: Vec<&str> = self.own().chain(functions).collect();
        let hint = match arcan::is_arcan(name) {
            true => Some("Arcan has it, this host has not".to_owned()),
            false => did_you_mean(name, known),
        };
        let message = format!("{name} is not defined anywhere");
        self.find(word.at, Rule::UndefinedGlobal, message, hint);
    }

    /// What the script has itself.
    fn own(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.known.globals.iter().copied()
    }

    fn member(&mut self, word: &Word) {
        let name = word.text.as_str();
        let Some((table, member)) = name.rsplit_once('.') else {
            return;
        };
        if self.known.members.contains(name) || (self.tests && TESTER_MEMBERS.contains(&name)) {
            return;
        }
        // Of `moonport.keys.list` in `moonport` there is `keys`.
        let within = |name: &'static str| {
            let rest = name.strip_prefix(table)?.strip_prefix('.')?;
            rest.split('.').next()
        };
        let names = Function::all().map(Function::name).chain(words::values());
        let mut ours: Vec<_> = names.filter_map(within).collect();
        ours.dedup();
        let (there, all) = match words::members(table) {
            Some(members) => (members.contains(&member), members.to_vec()),
            None if ours.is_empty() => return,
            None => (ours.contains(&member), ours),
        };
        if !there {
            let hint = did_you_mean(member, all.iter().copied());
            let hint = hint.or_else(|| Some(format!("{table} has {}", all.join(", "))));
            self.find(
                word.at,
                Rule::UnknownMember,
                format!("there is no {name}"),
                hint,
            );
        }
    }

    fn call(&mut self, called: &Called) {
        let name = called.name.text.as_str();
        let Some(function) = Function::named(name) else {
            return;
        };
        // One that the script has replaced takes what it likes.
        let replaced = |facts: &Facts| {
            let mut writes = facts.writes.iter();
            writes.any(|word| word.text == name) || facts.set_members.contains(name)
        };
        if self.source.facts.as_ref().is_ok_and(replaced) {
            return;
        }
        if let Some(wrong) = function.misfit(&called.args, called.open) {
            let usage = format!("it is called {}", function.usage());
            let message = format!("{name}: {wrong}");
            self.find(called.name.at, Rule::BadCall, message, Some(usage));
        }
        let Some(options) = function.options() else {
            return;
        };
        let options: Vec<_> = options.collect();
        for field in &called.fields {
            if !options.contains(&field.text.as_str()) {
                let message = format!("{name} has no option {}", field.text);
                let hint = did_you_mean(&field.text, options.iter().copied());
                let hint = hint.or_else(|| Some(format!("it has {}", options.join(", "))));
                self.find(field.at, Rule::UnknownOption, message, hint);
            }
        }
    }

    /// Other programs have kinds, too: only what is almost one of ours is told.
    fn kind(&mut self, word: &Word) {
        let name = word.text.as_str();
        if self.known.kinds.contains(name) {
            return;
        }
        if let Some(hint) = did_you_mean(name, words::kinds()) {
            let message = format!("there is no kind {name:?}");
            self.find(word.at, Rule::UnknownKind, message, Some(hint));
        }
    }

    fn entry_point(&mut self, word: &Word) {
        let (name, appl) = (word.text.as_str(), self.known.appl);
        if let Some(suffix) = name.strip_prefix(appl).filter(|rest| rest.starts_with('_')) {
            if !ENTRY_POINTS.contains(&suffix)
                && let Some(near) = nearest(suffix, ENTRY_POINTS)
            {
                let message = format!("{name} is no entry point, so nobody calls it");
                let hint = Some(format!("did you mean {appl}{near}?"));
                self.find(word.at, Rule::EntryPoint, message, hint);
            }
            return;
        }
        if let Some(suffix) = TELLING.into_iter().find(|suffix| name.ends_with(suffix)) {
            let message = format!("{name} is no entry point of {appl}, so nobody calls it");
            let hint = Some(format!("did you mean {appl}{suffix}?"));
            self.find(word.at, Rule::EntryPoint, message, hint);
        }
    }
}

fn did_you_mean<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = nearest(name, known.into_iter().filter(|other| *other != name))?;
    Some(format!("did you mean {near}?"))
}
