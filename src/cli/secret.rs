//! Where secrets come from: files, descriptors, the terminal. Never arguments or the environment.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use identity::Secret;
use zeroize::{Zeroize, Zeroizing};

use super::args::SecretSource;
use super::exit::{Exit, Failure, OrExit};
use super::output::tell;
use super::terminal;

/// Takes the secret from where the command line says; `None`: it does not say.
pub(super) async fn read(source: &SecretSource) -> Result<Option<Secret>, Failure> {
    let secret = match source {
        SecretSource {
            secret_file: Some(path),
            ..
        } => from_file(path)?,
        SecretSource {
            secret_fd: Some(fd),
            ..
        } => from_file(&descriptor(*fd))?,
        SecretSource {
            ask_secret: true, ..
        } => {
            let text = typed("secret", "--secret-file or --secret-fd").await?;
            Secret::parse(text.as_bytes()).or_exit(Exit::Usage)?
        }
        _ => return Ok(None),
    };
    Ok(Some(secret))
}

/// Makes a secret up.
pub(super) fn generate() -> Result<Secret, Failure> {
    let mut random = Zeroizing::new([0; 17]);
    getrandom::fill(&mut *random).or_exit(Exit::Failed)?;
    let secret = Secret::generate(&random);
    random.zeroize();
    Ok(secret)
}

fn from_file(path: &Path) -> Result<Secret, Failure> {
    let place = || format!("cannot read a secret from {}", path.display());
    let line = line(path, Secret::MAX_LEN, Care::Ours).or_exit_with(Exit::Usage, place)?;
    Secret::parse(&line).or_exit_with(Exit::Usage, place)
}

/// An open descriptor as a file. Opening it anew needs no guess at who owns the number.
pub(super) fn descriptor(number: u32) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{number}"))
}

/// Who sees to it that nobody else can read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Whoever runs this, who is told where it is not so.
    Ours,
    /// Somebody who knows better.
    Others,
}

/// What a file has in it, without the end of its line. Something longer than `longest` bytes may
/// be cut, but stays too long.
pub(super) fn line(path: &Path, longest: usize, care: Care) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if care == Care::Ours && meta.is_file() && meta.mode() & 0o077 != 0 {
        tell(format_args!(
            "moonport: {} can be read by others: chmod 600 it",
            path.display()
        ));
    }
    // One buffer of the final size, so that no copy is left behind.
    let longest = longest + "\r\n".len() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(longest + 32));
    file.take(longest as u64).read_to_end(&mut bytes)?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let length = line.strip_suffix(b"\r").unwrap_or(line).len();
    bytes.truncate(length);
    Ok(bytes)
}

/// What somebody types on the terminal, unseen. `what` is asked for, and `instead` are the flags
/// for those who have no terminal.
pub(super) async fn typed(
    what: &'static str,
    instead: &'static str,
) -> Result<Zeroizing<String>, Failure> {
    terminal::hidden(format!("{what}: "))
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::Interrupted => Failure::silent(Exit::Interrupted),
            ErrorKind::UnexpectedEof => {
                Failure::because(Exit::Usage, format_args!("no {what} was given"))
            }
            _ => Failure::because(
                Exit::Usage,
                format_args!("no terminal to ask for the {what}; use {instead}"),
            ),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    fn source(secret_file: Option<PathBuf>, secret_fd: Option<u32>) -> SecretSource {
        SecretSource {
            secret_file,
            secret_fd,
            ask_secret: false,
        }
    }

    #[tokio::test]
    async fn a_file_holds_one_secret_with_or_without_an_end_of_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for text in ["sekrit", "sekrit\n", "sekrit\r\n"] {
            std::fs::write(&path, text).unwrap();
            let secret = read(&source(Some(path.clone()), None))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(secret.reveal(), b"sekrit");
        }
    }

    #[tokio::test]
    async fn a_descriptor_holds_one_too() {
        let (there, mut here) = io::pipe().unwrap();
        here.write_all(b"sekrit\n").unwrap();
        drop(here);
        let fd = there.as_raw_fd().unsigned_abs();
        let secret = read(&source(None, Some(fd))).await.unwrap().unwrap();
        assert_eq!(secret.reveal(), b"sekrit");
    }

    #[tokio::test]
    async fn i8_what_is_wrong_with_a_secret_is_told_without_the_secret() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "canary".repeat(20)).unwrap();
        let failure = read(&source(Some(path.clone()), None)).await.unwrap_err();
        assert!(failure.to_string().contains("too long"), "{failure}");
        assert!(!failure.to_string().contains("canary"));
        std::fs::write(&path, "").unwrap();
        let failure = read(&source(Some(path), None)).await.unwrap_err();
        assert!(failure.to_string().contains("empty"), "{failure}");
        assert!(read(&source(None, None)).await.unwrap().is_none());
    }

    #[test]
    fn secrets_that_are_made_up_differ() {
        assert_ne!(generate().unwrap(), generate().unwrap());
    }
}
