//! What is made from the definitions of the flags, manual pages and completions, and from the API
//! table, the reference.

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::args::Cli;
use super::exit::{Exit, Failure, OrExit};
use super::output::Output;

/// Prints completions for a shell.
pub(super) fn completions(shell: Shell, out: &Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "moonport", &mut script);
    out.raw(&script)?;
    Ok(Exit::Done)
}

/// Prints the manual page, or writes all of them.
pub(super) fn manual(dir: Option<&Path>, out: &Output) -> Result<Exit, Failure> {
    match dir {
        None => {
            let mut page = Vec::new();
            render(Cli::command(), &mut page).or_exit(Exit::Failed)?;
            out.raw(&page)?;
        }
        Some(dir) => {
            let written = std::fs::create_dir_all(dir).and_then(|()| write_all(dir));
            let pages = written.or_exit_with(Exit::Failed, || {
                format!("cannot write into {}", dir.display())
            })?;
            out.line(format_args!("{pages} pages written to {}", dir.display()))?;
        }
    }
    Ok(Exit::Done)
}

/// Writes the pages of the reference, with the examples that lie beside them.
pub(super) fn reference(docs: &Path, out: &Output) -> Result<Exit, Failure> {
    let examples = docs.join("examples-of-api");
    let example = |name: &str| std::fs::read_to_string(examples.join(format!("{name}.lua"))).ok();
    let folder = docs.join("reference");
    for page in super::rooms::reference(example) {
        let path = folder.join(page.file).with_extension("md");
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&path, page.text))
            .or_exit_with(Exit::Failed, || format!("cannot write {}", path.display()))?;
        out.line(format_args!("{}", path.display()))?;
    }
    Ok(Exit::Done)
}

fn render(command: clap::Command, page: &mut dyn Write) -> std::io::Result<()> {
    clap_mangen::Man::new(command)
        .manual("Moonport")
        .render(page)
}

/// A page for each command, `moonport-key-list.1` and so on; returns how many.
fn write_all(dir: &Path) -> std::io::Result<usize> {
    fn below(command: &clap::Command, dir: &Path) -> std::io::Result<usize> {
        // Each page says how the program ends, unless it has its own word on that.
        let page = match command.get_after_help() {
            Some(_) => command.clone(),
            None => command.clone().after_help(Exit::table()),
        };
        let man = clap_mangen::Man::new(page).manual("Moonport");
        let mut file = std::fs::File::create(dir.join(man.get_filename()))?;
        man.render(&mut file)?;
        let mut pages = 1;
        for command in command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
        {
            pages += below(command, dir)?;
        }
        Ok(pages)
    }
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    below(&command, dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_tells_every_command_and_the_exit_codes() {
        let mut page = Vec::new();
        render(Cli::command(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for word in [
            "run", "demo", "key", "status", "metrics", "stop", "config", "130",
        ] {
            assert!(page.contains(word), "{word} is missing");
        }
    }

    #[test]
    fn there_is_a_page_for_each_command() {
        let dir = tempfile::tempdir().unwrap();
        let pages = write_all(dir.path()).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), pages);
        for name in [
            "moonport.1",
            "moonport-run.1",
            "moonport-key-accept.1",
            "moonport-window-open.1",
        ] {
            assert!(dir.path().join(name).is_file(), "{name} is missing");
        }
        let page = std::fs::read_to_string(dir.path().join("moonport-connect.1")).unwrap();
        assert!(page.contains("server\\-key") && page.contains("secret\\-fd"));
        let page = std::fs::read_to_string(dir.path().join("moonport-run.1")).unwrap();
        for word in ["metrics", "drain", "config", "Exit codes", "130"] {
            assert!(page.contains(word), "{word} is missing");
        }
    }

    #[test]
    fn completions_know_the_flags() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "moonport", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("secret-file"), "{shell}");
        }
    }
}
