//! As much of Rust as is needed to see which paths a file uses.

use std::collections::HashMap;

/// A word or sign of a file, comments and literals left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A path as it is used somewhere, groups taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedPath {
    /// From the crate's root; otherwise from an outer crate or a name in scope.
    pub(crate) ours: bool,
    pub(crate) names: Vec<String>,
    pub(crate) line: usize,
}

impl UsedPath {
    pub(crate) fn text(&self) -> String {
        self.names.join("::")
    }
}

/// The tokens of a file, items for tests only left out.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    without_tests(all_tokens(text))
}

/// All paths in the tokens of the file that is this module: `super` and `self` resolved, and names
/// that were imported from this crate followed to where they are from.
pub(crate) fn paths(tokens: &[Token], module: &[String]) -> Vec<UsedPath> {
    let mut used = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let start = at;
        let follows = start > 0 && tokens[start - 1].text == "::";
        if !is_word(&tokens[start].text)
            || (follows && start > 1 && is_word(&tokens[start - 2].text))
        {
            at += 1;
            continue;
        }
        let mut found = Vec::new();
        tree(tokens, &mut at, Vec::new(), &mut found);
        used.extend(
            found
                .into_iter()
                .map(|names| resolve(names, module, tokens[start].line)),
        );
    }
    let imports: HashMap<String, Vec<String>> = used
        .iter()
        .filter(|path| path.ours)
        .filter_map(|path| Some((path.names.last()?.clone(), path.names.clone())))
        .collect();
    for path in used
        .iter_mut()
        .filter(|path| !path.ours && path.names.len() > 1)
    {
        if let Some(import) = imports.get(&path.names[0]) {
            path.names.splice(0..1, import.iter().cloned());
            path.ours = true;
        }
    }
    used
}

/// The module that a file is, from the crate's root.
pub(crate) fn module(path: &str) -> Vec<String> {
    let (_, inner) = path.rsplit_once("src/").unwrap_or(("", path));
    let mut names: Vec<_> = inner
        .trim_end_matches(".rs")
        .split('/')
        .map(String::from)
        .collect();
    if names
        .last()
        .is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str()))
    {
        names.pop();
    }
    names
}

fn resolve(mut names: Vec<String>, module: &[String], line: usize) -> UsedPath {
    let mut base = module.to_vec();
    let ours = ["crate", "super", "self"].contains(&names[0].as_str()) && names.len() > 1;
    if ours {
        if names[0] == "crate" {
            base.clear();
            names.remove(0);
        } else if names[0] == "self" {
            names.remove(0);
        }
        while names.first().is_some_and(|name| name == "super") {
            base.pop();
            names.remove(0);
        }
        base.append(&mut names);
        names = base;
    }
    UsedPath { ours, names, line }
}

/// Reads one path with its groups, from its first word on.
fn tree(tokens: &[Token], at: &mut usize, mut names: Vec<String>, found: &mut Vec<Vec<String>>) {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    loop {
        match text(*at) {
            "{" => {
                *at += 1;
                while !matches!(text(*at), "}" | "") {
                    let before = *at;
                    tree(tokens, at, names.clone(), found);
                    *at += usize::from(text(*at) == "," || *at == before);
                }
                *at += 1;
                return;
            }
            "self" if !names.is_empty() => *at += 1,
            word if is_word(word) || word == "*" => {
                names.push(word.to_owned());
                *at += 1;
            }
            _ => {}
        }
        let goes_on = text(*at + 1) == "{" || text(*at + 1) == "*" || is_word(text(*at + 1));
        if text(*at) != "::" || !goes_on {
            found.push(names);
            if text(*at) == "as" {
                *at += 2;
            }
            return;
        }
        *at += 1;
    }
}

fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The modules for tests only that a file declares, as paths without `.rs`.
pub(crate) fn test_modules(path: &str, text: &str) -> Vec<String> {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let folder = match name.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => folder.to_owned(),
        stem => format!("{folder}/{stem}"),
    };
    let tokens = all_tokens(text);
    let declares = |at: usize| {
        let mut words = tokens[at + ATTRIBUTE.len()..]
            .iter()
            .map(|token| token.text.as_str());
        let mut item = words
            .by_ref()
            .take_while(|word| !matches!(*word, ";" | "{"));
        item.find(|word| *word == "mod")?;
        let name = item.next()?;
        Some(format!("{folder}/{name}"))
    };
    (0..tokens.len())
        .filter(|&at| is_for_tests(&tokens[at..]))
        .filter_map(declares)
        .collect()
}

/// `#[cfg(test)]`.
const ATTRIBUTE: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];

fn is_for_tests(tokens: &[Token]) -> bool {
    tokens.len() > ATTRIBUTE.len()
        && tokens
            .iter()
            .zip(ATTRIBUTE)
            .all(|(token, text)| token.text == text)
}

fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut rest = tokens.as_slice();
    while let [token, after @ ..] = rest {
        if is_for_tests(rest) {
            rest = after_item(&rest[ATTRIBUTE.len()..]);
        } else {
            kept.push(token.clone());
            rest = after;
        }
    }
    kept
}

/// What comes after the next item: after its `;`, or after its outermost braces.
fn after_item(tokens: &[Token]) -> &[Token] {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && (token.text == ";" || token.text == "}") {
            return &tokens[at + 1..];
        }
    }
    &[]
}

fn all_tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(length) = literal(rest) {
            length
        } else if is_word(rest) {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        if is_word(token) && literal(rest).is_none()
            || (token == "::" || length == first.len_utf8()) && !first.is_whitespace()
        {
            tokens.push(Token {
                text: token.to_owned(),
                line,
            });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(pair) = text.as_bytes().get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of the string, character or lifetime that the text begins with.
fn literal(text: &str) -> Option<usize> {
    let quoted = |from: usize, quote: u8| {
        let bytes = text.as_bytes();
        let mut at = from;
        while at < bytes.len() && bytes[at] != quote {
            at += 1 + usize::from(bytes[at] == b'\\');
        }
        Some((at + 1).min(bytes.len()))
    };
    let unprefixed = text.trim_start_matches(['b', 'c', 'r']);
    let prefix = text.len() - unprefixed.len();
    let hashes = unprefixed.len() - unprefixed.trim_start_matches('#').len();
    if prefix <= 2 && text[..prefix].contains('r') && unprefixed[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let start = prefix + hashes + 1;
        return Some(
            text[start..]
                .find(&end)
                .map_or(text.len(), |at| start + at + end.len()),
        );
    }
    if prefix <= 1 && unprefixed.starts_with('"') {
        return quoted(prefix + 1, b'"');
    }
    if prefix <= 1 && unprefixed.starts_with('\'') {
        let mut inner = unprefixed[1..].chars();
        let (first, second) = (inner.next(), inner.next());
        if first == Some('\\') || second == Some('\'') {
            return quoted(prefix + 1, b'\'');
        }
        // A lifetime: only its tick, its name is a word of no interest.
        return (prefix == 0).then_some(1);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(text: &str, file: &str) -> Vec<String> {
        let tokens = tokens(text);
        let paths = paths(&tokens, &module(file));
        paths
            .into_iter()
            .filter(|path| path.ours)
            .map(|path| path.text())
            .collect()
    }

    #[test]
    fn groups_are_taken_apart() {
        let text = "use crate::{wire::a12::{self, Ask as A, event::*}, ipc};";
        let all = ["wire::a12", "wire::a12::Ask", "wire::a12::event::*", "ipc"];
        assert_eq!(used(text, "src/host/mod.rs"), all);
    }

    #[test]
    fn super_is_followed_to_the_room_it_means() {
        let text = "use super::Link;\nfn f() -> super::super::wire::Error { todo }";
        assert_eq!(used(text, "src/ipc/link.rs"), ["ipc::Link", "wire::Error"]);
        assert_eq!(used("use super::host::X;", "src/ipc/mod.rs"), ["host::X"]);
    }

    #[test]
    fn paths_in_expressions_count_and_texts_do_not() {
        let text = "// crate::a\nlet x: &'a str = \"crate::b\"; let y = '\"'; crate::c::d::<u8>(r#\"crate::e\"#);";
        assert_eq!(used(text, "src/x.rs"), ["c::d"]);
    }

    #[test]
    fn tests_do_not_count() {
        let text = "#[cfg(test)]\nmod tests { use crate::a::b; fn f() { {} } }\nuse crate::c::d;\n#[cfg(test)]\nmod more;";
        assert_eq!(used(text, "src/x.rs"), ["c::d"]);
    }

    #[test]
    fn modules_for_tests_are_found_where_they_are_declared() {
        let text = "mod a;\n#[cfg(test)]\npub(crate) mod b;\n#[cfg(test)]\nmod tests { }";
        assert_eq!(
            test_modules("src/x/mod.rs", text),
            ["src/x/b", "src/x/tests"]
        );
        assert_eq!(
            test_modules("src/x/y.rs", text),
            ["src/x/y/b", "src/x/y/tests"]
        );
        assert_eq!(test_modules("src/lib.rs", text), ["src/b", "src/tests"]);
    }

    #[test]
    fn imports_are_followed() {
        let text = "use crate::a::{b, c};\nfn f() { b::d(); c(); e::f(); }";
        assert_eq!(used(text, "src/x.rs"), ["a::b", "a::c", "a::b::d"]);
    }

    #[test]
    fn lines_are_counted_from_one() {
        let tokens = tokens("/* a\nb */\nuse crate::c;");
        assert_eq!(tokens[0].line, 3);
    }
}
