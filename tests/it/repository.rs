//! The files of this checkout.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the checkout is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file, by its path from the root.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The files below a directory whose names end so, in a stable order.
pub(crate) fn files(below: &str, endings: &[&str]) -> Vec<File> {
    let mut paths = Vec::new();
    walk(&root().join(below), &mut paths);
    paths.sort();
    paths
        .into_iter()
        .filter(|path| {
            endings
                .iter()
                .any(|end| path.to_string_lossy().ends_with(end))
        })
        .map(|path| File {
            text: fs::read_to_string(&path).unwrap(),
            path: path.strip_prefix(root()).unwrap().display().to_string(),
        })
        .collect()
}

/// Leaves out what is hidden (but `.ci`) and what is built.
fn walk(directory: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let skipped = (name.starts_with('.') && name != ".ci") || name == "target";
        if entry.file_type().unwrap().is_dir() && !skipped {
            walk(&entry.path(), paths);
        } else if entry.file_type().unwrap().is_file() && !skipped {
            paths.push(entry.path());
        }
    }
}
