//! What a script argument names: a Lua file, or an Arcan appl directory.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// A script that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The file that is loaded.
    pub file: PathBuf,
    /// The appl's name, the prefix of its entry points.
    pub appl: String,
    /// Whether it is an appl directory, whose entry point must exist.
    pub directory: bool,
}

/// Why a path is no script.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// Nothing there, or it may not be read.
    #[error("{}: {error}", path.display())]
    Unreadable {
        /// What was named.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A directory without the file that an appl has.
    #[error("{}: an appl directory has a file {expected}, and this one has not", path.display())]
    NoAppl {
        /// What was named.
        path: PathBuf,
        /// The file that is missing.
        expected: String,
    },
    /// Its name cannot prefix the names of functions.
    #[error("{}: an appl's name is made of letters, digits and '_'", path.display())]
    Name {
        /// What was named.
        path: PathBuf,
    },
}

impl Program {
    /// Finds the script that a path names: the file itself, or `NAME/NAME.lua` of a directory.
    pub fn locate(path: &Path) -> Result<Self, ProgramError> {
        let unreadable = |error| ProgramError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let full = path.canonicalize().map_err(unreadable)?;
        let directory = full.is_dir();
        let stem = if directory {
            full.file_name()
        } else {
            full.file_stem()
        };
        let appl = stem.unwrap_or_default().to_string_lossy().into_owned();
        let file = if directory {
            let expected = format!("{appl}.lua");
            let file = full.join(&expected);
            if !file.is_file() {
                return Err(ProgramError::NoAppl {
                    path: path.to_owned(),
                    expected,
                });
            }
            file
        } else {
            full
        };
        std::fs::File::open(&file).map_err(unreadable)?;
        let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
        // Arcan refuses such appls; a plain file goes without entry points of its own name.
        if directory && (appl.is_empty() || !appl.chars().all(named)) {
            return Err(ProgramError::Name {
                path: path.to_owned(),
            });
        }
        let appl = appl
            .chars()
            .map(|c| if named(c) { c } else { '_' })
            .collect();
        Ok(Self {
            file,
            appl,
            directory,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_a_directory_and_neither() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("my-chat.lua");
        std::fs::write(&file, "").unwrap();
        let program = Program::locate(&file).unwrap();
        assert_eq!(
            (program.appl.as_str(), program.directory),
            ("my_chat", false)
        );

        let appl = dir.path().join("demo");
        std::fs::create_dir(&appl).unwrap();
        assert!(matches!(
            Program::locate(&appl),
            Err(ProgramError::NoAppl { .. })
        ));
        std::fs::write(appl.join("demo.lua"), "").unwrap();
        let program = Program::locate(&appl).unwrap();
        assert_eq!((program.appl.as_str(), program.directory), ("demo", true));

        let missing = dir.path().join("nothing.lua");
        let error = Program::locate(&missing).unwrap_err().to_string();
        assert!(error.contains("nothing.lua: No such file"), "{error}");
    }
}
