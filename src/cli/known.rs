//! What a client remembers: its own keys, and the servers that it trusts.
//!
//! ```text
//! client/identity           our private key in base64, 0600
//! client/identities/TAG     another one, for this server only
//! client/servers/TAG.toml   addresses and keys of a server
//! ```
//!
//! They are plain files beside the keystore, so a client needs no lock and runs beside a host.

mod files;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use data_encoding::BASE64;
use identity::{Name, PublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::address::Address;
use super::exit::{Exit, Failure, OrExit};
use super::output::tell;
use crate::wire::crypto::SecretKey;

/// The client's folder in a state directory.
#[derive(Debug, Clone)]
pub(super) struct Known {
    folder: PathBuf,
}

/// A server that we trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) tag: Name,
    /// Tried in this order; at least one.
    pub(super) addresses: Vec<Address>,
    /// It may prove any of these; at least one, and two while it changes its key.
    pub(super) keys: Vec<PublicKey>,
    pub(super) label: Option<String>,
    pub(super) comment: Option<String>,
    /// Unknown of servers that were remembered before this was kept.
    pub(super) added_ms: Option<u64>,
}

impl Server {
    /// The most addresses of a server.
    pub(super) const ADDRESSES: usize = 16;

    /// The most keys of a server.
    pub(super) const KEYS: usize = 8;

    /// The same server after it has proved this key at this address. A key that is not one of its
    /// own was vouched for by somebody, and is the only one then.
    pub(super) fn proved(mut self, address: &Address, key: PublicKey) -> Self {
        if !self.addresses.contains(address) {
            self.addresses.insert(0, address.clone());
            self.addresses.truncate(Self::ADDRESSES);
        }
        if !self.keys.contains(&key) {
            self.keys = vec![key];
        }
        self
    }
}

/// How a [`Server`] is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// The only one, as it was written before there could be several.
    #[serde(default, skip_serializing)]
    address: Option<String>,
    /// The only one, likewise.
    #[serde(default, skip_serializing)]
    key: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    added_ms: Option<u64>,
}

impl Written {
    fn parse(self, tag: &Name) -> anyhow::Result<Server> {
        let addresses = self.address.into_iter().chain(self.addresses);
        let keys = self.key.into_iter().chain(self.keys);
        let server = Server {
            tag: tag.clone(),
            addresses: addresses
                .map(|text| text.parse())
                .collect::<Result<_, _>>()?,
            keys: keys.map(|text| text.parse()).collect::<Result<_, _>>()?,
            label: self.label,
            comment: self.comment,
            added_ms: self.added_ms,
        };
        anyhow::ensure!(!server.addresses.is_empty(), "it has no address");
        anyhow::ensure!(!server.keys.is_empty(), "it has no key");
        Ok(server)
    }
}

impl From<&Server> for Written {
    fn from(server: &Server) -> Self {
        Self {
            address: None,
            key: None,
            addresses: server.addresses.iter().map(Address::to_string).collect(),
            keys: server.keys.iter().map(PublicKey::to_string).collect(),
            label: server.label.clone(),
            comment: server.comment.clone(),
            added_ms: server.added_ms,
        }
    }
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
                files::make_folder(&self.folder).or_exit_with(Exit::Keystore, || {
                    format!("cannot make {}", self.folder.display())
                })?;
                self.folder.join("identity")
            }
        };
        if let Some(key) = read_identity(&path)? {
            return Ok(key);
        }
        let made = files::make_identity(&path).or_exit_with(Exit::Keystore, || place(&path))?;
        tracing::info!("{} is new", path.display());
        parse_identity(&path, &made)
    }

    /// Our own key, if it has been made.
    pub(super) fn usual_identity(&self) -> Result<Option<SecretKey>, Failure> {
        read_identity(&self.folder.join("identity"))
    }

    /// The key that we prove to this server only, if it has one.
    pub(super) fn identity_for(&self, tag: &Name) -> Result<Option<SecretKey>, Failure> {
        read_identity(&self.identity_file(tag))
    }

    /// Makes a key for this server only, if it has none.
    pub(super) fn make_identity_for(&self, tag: &Name) -> Result<SecretKey, Failure> {
        let path = self.identity_file(tag);
        let made = self.make_folder("identities");
        made.or_exit_with(Exit::Keystore, || place(&path))?;
        self.identity(Some(&path))
    }

    /// Keeps a key for this server only.
    pub(super) fn keep_identity_for(&self, tag: &Name, bytes: &[u8; 32]) -> Result<(), Failure> {
        let path = self.identity_file(tag);
        self.make_folder("identities")
            .and_then(|()| files::write_identity(&path, bytes, true))
            .or_exit_with(Exit::Keystore, || {
                format!("cannot write {}", path.display())
            })
    }

    /// The server that is remembered under a tag.
    pub(super) fn server(&self, tag: &Name) -> Result<Option<Server>, Failure> {
        let path = self.server_file(tag);
        let text = match files::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            found => found.or_exit_with(Exit::Keystore, || path.display().to_string())?,
        };
        let text = String::from_utf8_lossy(&text);
        let damaged = || format!("{} is damaged: repair it, or remove it", path.display());
        let written: Written = toml::from_str(&text)
            // All of it is a picture of some lines.
            .map_err(|error| anyhow::Error::msg(error.message().to_owned()))
            .or_exit_with(Exit::Keystore, damaged)?;
        let server = written.parse(tag).or_exit_with(Exit::Keystore, damaged)?;
        Ok(Some(server))
    }

    /// The servers that are remembered, by their tags.
    pub(super) fn servers(&self) -> Result<Vec<Server>, Failure> {
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
            found.extend(self.server(&tag)?);
        }
        found.sort_by(|a, b| a.tag.cmp(&b.tag));
        Ok(found)
    }

    /// The servers that are remembered at an address.
    pub(super) fn at(&self, address: &Address) -> Result<Vec<Server>, Failure> {
        let mut found = self.servers()?;
        found.retain(|server| server.addresses.contains(address));
        Ok(found)
    }

    /// Remembers a server, durably; in the place of one with this tag.
    pub(super) fn remember(&self, server: &Server) -> Result<(), Failure> {
        let path = self.server_file(&server.tag);
        let text = toml::to_string(&Written::from(server)).or_exit(Exit::Failed)?;
        self.make_folder("servers")
            .and_then(|()| files::write(&path, text.as_bytes(), true))
            .or_exit_with(Exit::Keystore, || {
                format!("cannot write {}", path.display())
            })
    }

    /// Remembers, durably, that a server has proved this key at this address, and says so if it is news.
    pub(super) fn has_proved(
        &self,
        tag: &Name,
        address: &Address,
        key: PublicKey,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let known = self.server(tag)?;
        let server = match &known {
            Some(known) => known.clone().proved(address, key),
            None => Server {
                tag: tag.clone(),
                addresses: vec![address.clone()],
                keys: vec![key],
                label: None,
                comment: None,
                added_ms: Some(now_ms),
            },
        };
        if known.as_ref() != Some(&server) {
            self.remember(&server)?;
            tell(format_args!(
                "moonport: {address} has proved its key and is @{tag} from now on"
            ));
        }
        Ok(())
    }

    /// Forgets a server, durably, and the key that was for it only.
    pub(super) fn forget(&self, tag: &Name) -> Result<(), Failure> {
        for path in [self.server_file(tag), self.identity_file(tag)] {
            match files::remove(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                removed => removed.or_exit_with(Exit::Keystore, || {
                    format!("cannot remove {}", path.display())
                })?,
            }
        }
        Ok(())
    }

    /// Fails where a tag is taken.
    pub(super) fn is_free(&self, tag: &Name) -> Result<(), Failure> {
        match self.server(tag)? {
            None => Ok(()),
            Some(_) => Err(Failure::because(
                Exit::Usage,
                format_args!("@{tag} is another server; remove it first"),
            )),
        }
    }

    /// Gives a server another tag, which must be free.
    pub(super) fn rename(&self, old: &Name, new: &Name) -> Result<(), Failure> {
        self.is_free(new)?;
        // The key first: without it, the server would be shown another one.
        for (from, to) in [
            (self.identity_file(old), self.identity_file(new)),
            (self.server_file(old), self.server_file(new)),
        ] {
            match files::rename(&from, &to) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                renamed => renamed.or_exit_with(Exit::Keystore, || {
                    format!("cannot rename {} to {}", from.display(), to.display())
                })?,
            }
        }
        Ok(())
    }

    fn make_folder(&self, below: &str) -> io::Result<()> {
        files::make_folder(&self.folder)?;
        files::make_folder(&self.folder.join(below))
    }

    fn server_file(&self, tag: &Name) -> PathBuf {
        self.folder.join("servers").join(format!("{tag}.toml"))
    }

    fn identity_file(&self, tag: &Name) -> PathBuf {
        self.folder.join("identities").join(tag.as_str())
    }
}

fn place(path: &Path) -> String {
    format!("our own key, {}", path.display())
}

fn read_identity(path: &Path) -> Result<Option<SecretKey>, Failure> {
    match files::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        found => {
            let text = found.or_exit_with(Exit::Keystore, || place(path))?;
            parse_identity(path, &text).map(Some)
        }
    }
}

fn parse_identity(path: &Path, text: &[u8]) -> Result<SecretKey, Failure> {
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

#[cfg(test)]
mod tests;
