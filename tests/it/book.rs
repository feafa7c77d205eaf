//! The documents as a book: every page is in it, and it can be made.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use tempfile::TempDir;

use crate::docs::links;
use crate::repository::{files, root};

#[test]
fn every_page_is_in_the_summary_once_and_every_line_of_it_has_a_page() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut chapters = BTreeMap::new();
    for (number, target) in links(&summary) {
        *chapters.entry(format!("docs/{target}")).or_insert(0) += 1;
        let page = root().join("docs").join(target);
        assert!(page.is_file(), "docs/SUMMARY.md:{number}: no {target}");
    }
    for page in files("docs", &[".md"]) {
        if page.path != "docs/SUMMARY.md" {
            let times = chapters.get(&page.path).copied().unwrap_or(0);
            assert_eq!(
                times, 1,
                "{} is in docs/SUMMARY.md {times} times",
                page.path
            );
        }
    }
}

#[test]
fn every_page_begins_with_its_one_title() {
    for page in files("docs", &[".md"]) {
        if page.path == "docs/SUMMARY.md" {
            continue;
        }
        let mut fenced = false;
        let titles = page.text.lines().filter(|line| {
            fenced ^= line.trim_start().starts_with("```");
            !fenced && line.starts_with("# ")
        });
        assert_eq!(titles.count(), 1, "{}", page.path);
    }
}

#[test]
fn no_link_leads_out_of_the_book() {
    for page in files("docs", &[".md"]) {
        let within = page.path.matches('/').count() - 1;
        for (number, target) in links(&page.text) {
            let out = target.matches("../").count() > within;
            assert!(!out, "{}:{number}: {target}", page.path);
        }
    }
}

#[test]
fn mdbook_makes_the_book_where_it_is_installed() {
    let out = TempDir::new().unwrap();
    let mut mdbook = Command::new("mdbook");
    mdbook
        .arg("build")
        .arg(root())
        .arg("--dest-dir")
        .arg(out.path());
    let Ok(made) = mdbook.output() else {
        println!("skipped: there is no mdbook");
        return;
    };
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success() && !said.contains("WARN"), "{said}");
    assert!(out.path().join("index.html").is_file(), "{said}");
}
