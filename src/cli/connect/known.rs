//! What a client remembers: its own key, and the servers that have proved theirs.
//!
//! ```text
//! client/identity           our private key in base64, 0600
//! client/servers/TAG.toml   address and key of a server
//! ```
//!
//! They are plain files beside the keystore, so a client needs no lock and runs beside a host.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use identity::{Name, PublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::cli::address::Address;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::wire::crypto::SecretKey;

/// The client's folder in a state directory.
#[derive(Debug)]
pub(super) struct Known {
    folder: PathBuf,
}

/// A server that has proved its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) tag: Name,
    pub(super) address: Address,
    pub(super) key: PublicKey,
}

/// How a [`Server`] is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    address: String,
    key: String,
}

impl Known {
    pub(super) fn new(state: &Path) -> Self {
        Self {
            folder: state.join("client"),
        }
    }

    /// Our own key, made on first use. `file` is another place than the usual one.
    pub(super) fn identity(&self, file: Option<&Path>) -> Result<SecretKey, Failure> {
        let path = match file {
            Some(file) => file.to_owned(),
            None => {
                make_folder(&self.folder).or_exit_with(Exit::Keystore, || {
                    format!("cannot make {}", self.folder.display())
                })?;
                self.folder.join("identity")
            }
        };
        let place = || format!("our own key, {}", path.display());
        let text = match read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = make_identity(&path).or_exit_with(Exit::Keystore, place)?;
                tracing::info!("{} is new", path.display());
                made
            }
            found => found.or_exit_with(Exit::Keystore, place)?,
        };
        let key = BASE64.decode(text.trim_ascii()).map(Zeroizing::new).ok();
        let bytes = key.and_then(|key| {
            <[u8; 32]>::try_from(key.as_slice())
                .ok()
                .map(Zeroizing::new)
        });
        let bytes = bytes.ok_or_else(|| {
            Failure::because(
                Exit::Keystore,
                format_args!(
                    "{} holds no private key (44 characters of base64)",
                    path.display()
                ),
            )
        })?;
        Ok(SecretKey::from_bytes(*bytes))
    }

    /// The server that is remembered under a tag.
    pub(super) fn server(&self, tag: &Name) -> Result<Option<Server>, Failure> {
        let path = self.server_file(tag);
        let text = match read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.or_exit_with(Exit::Keystore, || path.display().to_string())?,
        };
        let text = String::from_utf8_lossy(&text);
        let damaged = || format!("{} is damaged: repair it, or remove it", path.display());
        let written: Written = toml::from_str(&text)
            // All of it is a picture of some lines.
            .map_err(|error| anyhow::Error::msg(error.message().to_owned()))
            .or_exit_with(Exit::Keystore, damaged)?;
        Ok(Some(Server {
            tag: tag.clone(),
            address: written
                .address
                .parse()
                .or_exit_with(Exit::Keystore, damaged)?,
            key: written.key.parse().or_exit_with(Exit::Keystore, damaged)?,
        }))
    }

    /// The servers that are remembered at an address.
    pub(super) fn at(&self, address: &Address) -> Result<Vec<Server>, Failure> {
        let folder = self.folder.join("servers");
        let place = || format!("cannot read {}", folder.display());
        let files = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.or_exit_with(Exit::Keystore, place)?,
        };
        let mut found = Vec::new();
        for file in files {
            let name = file.or_exit_with(Exit::Keystore, place)?.file_name();
            let tag = name.to_str().and_then(|name| name.strip_suffix(".toml"));
            let Some(tag) = tag.and_then(|tag| Name::parse(tag).ok()) else {
                continue;
            };
            found.extend(
                self.server(&tag)?
                    .filter(|server| server.address == *address),
            );
        }
        found.sort_by(|a, b| a.tag.cmp(&b.tag));
        Ok(found)
    }

    /// Remembers a server, durably.
    pub(super) fn remember(&self, server: &Server) -> Result<(), Failure> {
        let path = self.server_file(&server.tag);
        let written = Written {
            address: server.address.to_string(),
            key: server.key.to_string(),
        };
        let text = toml::to_string(&written).or_exit(Exit::Failed)?;
        make_folder(&self.folder)
            .and_then(|()| make_folder(&self.folder.join("servers")))
            .and_then(|()| write(&path, text.as_bytes(), true))
            .or_exit_with(Exit::Keystore, || {
                format!("cannot write {}", path.display())
            })
    }

    fn server_file(&self, tag: &Name) -> PathBuf {
        self.folder.join("servers").join(format!("{tag}.toml"))
    }
}

/// A file that nobody else can read.
fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(io::Error::other(
            "others may read or write it: check it, then chmod 600 it",
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
    file.take(LONGEST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a key; if another process is first, takes that one's.
fn make_identity(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).map_err(io::Error::other)?;
    let mut text = Zeroizing::new(BASE64.encode(&*bytes));
    text.push('\n');
    match write(path, text.as_bytes(), false) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => read(path),
    }
}

/// Makes a file appear whole and durable, or not at all.
fn write(path: &Path, bytes: &[u8], replace: bool) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(format!(
        ".{:08x}",
        getrandom::u32().map_err(io::Error::other)?
    ));
    let new = PathBuf::from(new);
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        match replace {
            true => fs::rename(&new, path),
            // A link, unlike a rename, fails if the name is taken.
            false => fs::hard_link(&new, path),
        }
    })();
    if written.is_err() || !replace {
        // What matters is told already.
        let _ = fs::remove_file(&new);
    }
    written?;
    match path.parent() {
        Some(parent) if parent != Path::new("") => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The longest of these files, in bytes.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn server(tag: &str, address: &str, byte: u8) -> Server {
        Server {
            tag: Name::parse(tag).unwrap(),
            address: address.parse().unwrap(),
            key: PublicKey::parse(&[byte; 32]).unwrap(),
        }
    }

    #[test]
    fn an_identity_is_made_once_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::new(dir.path());
        let first = known.identity(None).unwrap().public();
        assert_eq!(known.identity(None).unwrap().public(), first);
        let path = dir.path().join("client/identity");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("client")), 0o700);
        assert_eq!(fs::read_dir(dir.path().join("client")).unwrap().count(), 1);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let failure = known.identity(None).unwrap_err();
        assert!(failure.to_string().contains("chmod 600"), "{failure}");
    }

    #[test]
    fn an_identity_may_be_elsewhere() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::new(dir.path());
        let file = dir.path().join("other");
        let other = known.identity(Some(&file)).unwrap().public();
        assert_eq!(known.identity(Some(&file)).unwrap().public(), other);
        assert_ne!(known.identity(None).unwrap().public(), other);
    }

    #[test]
    fn i8_a_damaged_identity_is_told_without_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("identity");
        write(&file, b"canarycanary", true).unwrap();
        let failure = Known::new(dir.path()).identity(Some(&file)).unwrap_err();
        assert_eq!(failure.exit, Exit::Keystore);
        assert!(!failure.to_string().contains("canary"), "{failure}");
    }

    #[test]
    fn servers_are_found_by_tag_and_by_address() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::new(dir.path());
        let home = server("home", "[::1]:6680", 7);
        assert!(known.at(&home.address).unwrap().is_empty());
        assert_eq!(known.server(&home.tag).unwrap(), None);
        known.remember(&home).unwrap();
        known.remember(&server("work", "work.example", 8)).unwrap();
        assert_eq!(known.server(&home.tag).unwrap(), Some(home.clone()));
        assert_eq!(
            known.at(&home.address).unwrap(),
            std::slice::from_ref(&home)
        );

        let moved = server("home", "home.example:7000", 7);
        known.remember(&moved).unwrap();
        assert!(known.at(&home.address).unwrap().is_empty());
        assert_eq!(known.server(&home.tag).unwrap(), Some(moved));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let known = Known::new(dir.path());
        let home = server("home", "host", 7);
        known.remember(&home).unwrap();
        write(&known.server_file(&home.tag), b"address = 1", true).unwrap();
        let failure = known.server(&home.tag).unwrap_err();
        assert!(
            failure.to_string().contains("home.toml is damaged"),
            "{failure}"
        );
    }
}
