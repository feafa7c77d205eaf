//! What a fuzzer calls: any bytes as a configuration file.

use clap::CommandFactory;

use super::{Table, keys, parse};
use crate::cli::args::Cli;

thread_local! {
    static COMMAND: clap::Command = Cli::command();
}

/// A mistake is shown where it is; what was read is written so that it reads the same.
pub(crate) fn file(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    COMMAND.with(|command| match parse(text, command) {
        Ok(settings) => {
            let again = written(&settings, command);
            let read = parse(&again, command);
            let bare = |all: Vec<super::Setting>| {
                let all = all.into_iter();
                let mut all: Vec<_> = all.map(|it| (it.table, it.key, it.values)).collect();
                all.sort_by(|a, b| a.1.cmp(&b.1));
                all
            };
            assert_eq!(read.map(bare), Ok(bare(settings)), "{again}");
        }
        Err(wrong) => {
            let line = text.split('\n').nth(wrong.line - 1);
            let width = line.map(|line| line.chars().count());
            assert!(
                width.is_some_and(|width| wrong.column <= width + 1),
                "{wrong}"
            );
            assert!(
                !wrong.why.is_empty() && !wrong.why.contains('\n'),
                "{wrong}"
            );
        }
    });
}

/// Settings as a file has them.
fn written(settings: &[super::Setting], command: &clap::Command) -> String {
    let lines = |table| {
        let those = settings.iter().filter(move |it| it.table == table);
        let line = |it: &super::Setting| {
            let known = keys(command).find(|key| key.table == table && key.name() == it.key);
            let value = known.map(|key| key.value(&it.values)).unwrap_or_default();
            // JSON leaves one character as it is that TOML has to escape.
            let value = value.to_string().replace('\u{7f}', "\\u007f");
            format!("{} = {value}\n", it.key)
        };
        those.map(line).collect::<String>()
    };
    format!("{}[run]\n{}", lines(Table::Global), lines(Table::Run))
}
