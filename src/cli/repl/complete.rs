//! What a word at the prompt may become.

use crate::script::words::{self, Function};

/// Where the word before the cursor begins, as far as it is replaced, and what may stand there.
/// `ask` says which names are in a table of the script; of an empty path, its globals.
pub(super) fn complete(
    line: &str,
    cursor: usize,
    ask: impl FnOnce(&str) -> Vec<String>,
) -> (usize, Vec<String>) {
    let before = line.get(..cursor).unwrap_or(line);
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':');
    let word = before.rsplit(|c| !in_word(c)).next().unwrap_or_default();
    let (mut names, stem) = match word.rsplit_once(['.', ':']) {
        // Of whatever it is; the script would have to be run to know.
        Some((path, stem)) if word.get(path.len()..).is_some_and(|it| it.starts_with(':')) => {
            (methods(), stem)
        }
        Some((path, stem)) => {
            let mut names = members(path);
            names.extend(ask(path));
            (names, stem)
        }
        None => {
            let mut names = globals();
            names.extend(ask(""));
            (names, word)
        }
    };
    names.retain(|name| name.starts_with(stem));
    names.sort();
    names.dedup();
    (before.len() - stem.len(), names)
}

/// Words of the language, and what every script finds.
fn globals() -> Vec<String> {
    let functions = Function::all().map(Function::name);
    let roots = functions.filter_map(|name| {
        name.split(['.', ':'])
            .next()
            .filter(|_| !name.contains(':'))
    });
    let words = words::KEYWORDS.into_iter().chain(words::lua_globals());
    let all = words.chain(words::constants()).chain(roots);
    all.map(str::to_owned).collect()
}

/// What is in a table of Lua's or ours.
fn members(path: &str) -> Vec<String> {
    let ours = Function::all().map(Function::name).chain(words::values());
    let ours = ours.filter_map(|name| {
        let rest = name.strip_prefix(path)?.strip_prefix('.')?;
        rest.split('.').next()
    });
    let theirs = words::members(path).unwrap_or_default();
    ours.chain(theirs.iter().copied())
        .map(str::to_owned)
        .collect()
}

/// Methods of segments, timers and strings.
fn methods() -> Vec<String> {
    let ours = Function::all().filter_map(|function| function.name().split_once(':'));
    let ours = ours.map(|(_, method)| method);
    let strings = words::members("string").unwrap_or_default();
    ours.chain(strings.iter().copied())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(line: &str) -> (usize, Vec<String>) {
        complete(line, line.len(), |path| {
            let names: &[&str] = match path {
                "" => &["nets", "serve"],
                "serve" => &["stop", "status"],
                _ => &[],
            };
            names.iter().map(|name| (*name).to_owned()).collect()
        })
    }

    #[test]
    fn functions_constants_words_and_globals_are_found() {
        assert_eq!(completed("x = net_l"), (4, vec!["net_listen".to_owned()]));
        assert_eq!(completed("net").1, ["net_listen", "nets"]);
        assert_eq!(completed("if not (fu").1, ["function"]);
        assert_eq!(completed("BADI").1, ["BADID"]);
        assert_eq!(completed("moonp").1, ["moonport"]);
        assert_eq!(completed("no_such").1, Vec::<String>::new());
        assert!(completed("").1.len() > 100);
    }

    #[test]
    fn members_are_those_of_the_table() {
        assert_eq!(completed("moonport.sle"), (9, vec!["sleep".to_owned()]));
        assert_eq!(
            completed("moonport.json.").1,
            ["array", "decode", "encode", "null"]
        );
        assert_eq!(completed("f(moonport.js").1, ["json"]);
        assert_eq!(completed("serve.st").1, ["status", "stop"]);
        assert_eq!(completed("string.rep").1, ["rep"]);
        assert!(completed("util.").1.contains(&"hash".to_owned()));
        assert_eq!(completed("os.exec").1, Vec::<String>::new());
    }

    #[test]
    fn methods_follow_a_colon() {
        assert_eq!(
            completed("moonport.segment(x):exp"),
            (20, vec!["expect".to_owned()])
        );
        assert_eq!(completed("timer:can").1, ["cancel"]);
    }

    #[test]
    fn what_follows_the_cursor_is_left_alone() {
        let (start, names) = complete("net_l(1)", 5, |_| Vec::new());
        assert_eq!((start, names), (0, vec!["net_listen".to_owned()]));
    }
}
