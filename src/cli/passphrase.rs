//! Where passphrases come from: files, descriptors, systemd, the terminal. Never arguments or the
//! environment.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use keystore::sealed::Passphrase;
use zeroize::Zeroizing;

use super::args::{NewPassphraseSource, PassphraseSource};
use super::exit::{Exit, Failure, OrExit};
use super::{secret, terminal};
use crate::ipc;

/// What the command line says of where a passphrase is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A file holds it.
    File(PathBuf),
    /// An open descriptor gives it.
    Descriptor(u32),
}

impl PassphraseSource {
    /// `None`: nothing is said.
    pub(super) fn place(&self) -> Option<Place> {
        place(self.passphrase_file.as_ref(), self.passphrase_fd)
    }
}

impl NewPassphraseSource {
    /// `None`: nothing is said.
    pub(super) fn place(&self) -> Option<Place> {
        place(self.new_passphrase_file.as_ref(), self.new_passphrase_fd)
    }
}

fn place(file: Option<&PathBuf>, descriptor: Option<u32>) -> Option<Place> {
    let file = file.cloned().map(Place::File);
    file.or_else(|| descriptor.map(Place::Descriptor))
}

/// The passphrase of something that is sealed: from the place that was said, else systemd's
/// credential, else asked for.
pub(super) async fn known(place: Option<&Place>) -> Result<Passphrase, Failure> {
    if let Some(place) = place {
        return read(place);
    }
    if let Some(passphrase) = credential()? {
        return Ok(passphrase);
    }
    let text = ask("passphrase: ", WAYS).await?;
    Passphrase::parse(text.as_bytes()).or_exit(Exit::Usage)
}

/// A passphrase to seal something by: from the place that was said, else asked for twice. `flags`:
/// how a place can be said.
pub(super) async fn new(place: Option<&Place>, flags: &str) -> Result<Passphrase, Failure> {
    if let Some(place) = place {
        return read(place);
    }
    let text = ask("new passphrase: ", flags).await?;
    let passphrase = Passphrase::parse(text.as_bytes()).or_exit(Exit::Usage)?;
    let again = ask("once more: ", flags).await?;
    if *again != *text {
        return Err(Failure::because(
            Exit::Usage,
            "the two differ; nothing was changed",
        ));
    }
    Ok(passphrase)
}

/// The passphrase that systemd hands to a service, if it does.
pub(super) fn credential() -> Result<Option<Passphrase>, Failure> {
    let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") else {
        return Ok(None);
    };
    let path = Path::new(&folder).join(CREDENTIAL);
    if !path.exists() {
        return Ok(None);
    }
    // Who may read it is for systemd to say.
    from(&path, secret::Care::Others).map(Some)
}

pub(super) fn read(place: &Place) -> Result<Passphrase, Failure> {
    match place {
        Place::File(path) => from(path, secret::Care::Ours),
        Place::Descriptor(number) => {
            let path = secret::descriptor(*number);
            let passphrase = from(&path, secret::Care::Ours)?;
            ipc::keep_from_children(*number)
                .or_exit_with(Exit::Usage, || format!("descriptor {number}"))?;
            Ok(passphrase)
        }
    }
}

fn from(path: &Path, care: secret::Care) -> Result<Passphrase, Failure> {
    let place = || format!("cannot read a passphrase from {}", path.display());
    let line = secret::line(path, Passphrase::MAX_LEN, care).or_exit_with(Exit::Usage, place)?;
    Passphrase::parse(&line).or_exit_with(Exit::Usage, place)
}

async fn ask(question: &'static str, ways: &str) -> Result<Zeroizing<String>, Failure> {
    terminal::hidden(question)
        .await
        .map_err(|error| match error.kind() {
            ErrorKind::Interrupted => Failure::silent(Exit::Interrupted),
            ErrorKind::UnexpectedEof => Failure::because(Exit::Usage, "no passphrase was given"),
            _ => Failure::because(
                Exit::Usage,
                format_args!(
                    "a passphrase is needed, and there is no terminal to ask on; use {ways}"
                ),
            ),
        })
}

/// What systemd calls it (`LoadCredential=moonport.passphrase:…`).
const CREDENTIAL: &str = "moonport.passphrase";

/// How else a passphrase can be given.
const WAYS: &str = "--passphrase-file, --passphrase-fd or systemd's credential moonport.passphrase";

/// The flags of [`PassphraseSource`].
pub(super) const FLAGS: &str = "--passphrase-file or --passphrase-fd";

/// The flags of [`NewPassphraseSource`].
pub(super) const NEW_FLAGS: &str = "--new-passphrase-file or --new-passphrase-fd";

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsRawFd;

    fn text(passphrase: &Passphrase) -> Vec<u8> {
        // Its length in front is one byte here.
        serde_json::from_str(&serde_json::to_string(passphrase).unwrap()).unwrap()
    }

    #[test]
    fn a_file_or_a_descriptor_holds_one_with_or_without_an_end_of_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        for written in ["one two", "one two\n", "one two\r\n"] {
            std::fs::write(&path, written).unwrap();
            let passphrase = read(&Place::File(path.clone())).unwrap();
            assert_eq!(text(&passphrase), b"one two");
        }
        let (there, mut here) = std::io::pipe().unwrap();
        here.write_all(b"one two\n").unwrap();
        drop(here);
        let number = there.as_raw_fd().unsigned_abs();
        let passphrase = read(&Place::Descriptor(number)).unwrap();
        assert_eq!(text(&passphrase), b"one two");
    }

    #[test]
    fn i8_what_is_wrong_with_a_passphrase_is_told_without_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("passphrase");
        for (written, wrong) in [("canary".repeat(200), "too long"), (String::new(), "empty")] {
            std::fs::write(&path, written).unwrap();
            let failure = read(&Place::File(path.clone())).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            let told = failure.to_string();
            assert!(told.contains(wrong) && !told.contains("canary"), "{told}");
        }
        std::fs::write(&path, "x".repeat(Passphrase::MAX_LEN) + "\n").unwrap();
        assert!(read(&Place::File(path)).is_ok());
    }
}
