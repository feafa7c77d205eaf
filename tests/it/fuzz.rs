//! What is fuzzed, and that no release does without sealing.

use std::collections::BTreeSet;
use std::fs;

use crate::repository::{files, root};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The targets that a crate lists.
fn listed(path: &str) -> BTreeSet<String> {
    let text = read(path);
    let (_, list) = text.split_once("pub const TARGETS").unwrap();
    let (list, _) = list.split_once("];").unwrap();
    let names = list.split('"').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

#[test]
fn every_target_has_a_program_a_corpus_and_a_place_in_the_document() {
    let crates = [
        ("moonport", listed("src/fuzzing.rs")),
        ("keystore", listed("keystore/src/fuzzing.rs")),
    ];
    let manifest = read("fuzz/Cargo.toml");
    let document = read("docs/fuzzing.md");
    let mut programs = 0;
    for (owner, names) in crates {
        for name in names {
            let program = read(&format!("fuzz/fuzz_targets/{name}.rs"));
            assert!(program.contains(&format!("{owner}::fuzzing::{name}(data)")));
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            assert!(document.contains(&format!("`{name}`")), "{name}");
            let corpus = root().join("fuzz/corpus").join(&name);
            let sizes = corpus.read_dir().unwrap().map(|file| {
                let size = file.unwrap().metadata().unwrap().len();
                assert!(size <= 4096, "{name}: too large for a checkout");
                size
            });
            let sizes: Vec<_> = sizes.collect();
            assert!((1..=60).contains(&sizes.len()), "{name}: {}", sizes.len());
            programs += 1;
        }
    }
    assert_eq!(files("fuzz/fuzz_targets", &[".rs"]).len(), programs);
    assert_eq!(manifest.matches("[[bin]]").count(), programs);
}

#[test]
fn no_release_does_without_sealing() {
    let guards = [
        (
            "src/lib.rs",
            "#[cfg(all(fuzzing, not(debug_assertions)))]\ncompile_error!",
        ),
        ("src/main.rs", "#[cfg(fuzzing)]\ncompile_error!"),
    ];
    for (path, guard) in guards {
        assert!(read(path).contains(guard), "{path}");
    }
    // Nobody's features turn it on.
    for manifest in ["Cargo.toml", "identity/Cargo.toml", "keystore/Cargo.toml"] {
        let text = read(manifest);
        assert!(
            !text.contains("[features]"),
            "{manifest}: does it concern fuzzing?"
        );
    }
    let mut asked = 0;
    for file in files("src", &[".rs"]) {
        let lines: Vec<_> = file.text.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let uses = line.contains("null::") && !line.starts_with("//");
            let declares = ["mod null;", "mod fuzzing;"]
                .iter()
                .any(|end| line.ends_with(end));
            if !uses && !declares || file.path.ends_with("a12/fuzzing.rs") {
                continue;
            }
            asked += usize::from(uses);
            let above = &lines[at.saturating_sub(2)..at];
            let kept = above.contains(&"#[cfg(any(test, fuzzing))]");
            assert!(kept, "{}:{}: {line}", file.path, at + 1);
        }
    }
    assert_eq!(asked, 3, "src/wire/a12/null.rs says where");
}
