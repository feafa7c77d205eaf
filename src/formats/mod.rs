//! Key files of other programs, and a plain one of our own: read into values, written from values.
//!
//! | format | what it is | read | written |
//! | --- | --- | --- | --- |
//! | [`Arcan`](Format::Arcan) | the keystore directory of Arcan's network tools | yes | yes |
//! | [`ZeroMq`](Format::ZeroMq) | CURVE certificates, one or a directory of them | yes | yes |
//! | [`CurveCp`](Format::CurveCp) | a key directory, or a public key alone | yes | yes |
//! | [`WireGuard`](Format::WireGuard) | a configuration with peers | yes | no |
//! | [`JsonLines`](Format::JsonLines) | ours: one object per line, nothing secret | yes | yes |
//!
//! Bytes in, values out: no keystore, no clock. Files are touched in [`folder`] alone. What is
//! malformed is an [`Error`] with file and line; what is sound but of no use here is listed in
//! [`Imported::skipped`]. Neither ever quotes what may be secret.

pub mod arcan;
pub mod curvecp;
pub mod folder;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod jsonl;
mod wireguard;
pub mod zeromq;

use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::str::FromStr;

use data_encoding::BASE64;
use identity::{KeyError, Name, PublicKey};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use thiserror::Error as ThisError;
use zeroize::Zeroizing;

pub use folder::{Files, Folder};

/// What there is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Arcan's keystore directory.
    Arcan,
    /// ZeroMQ's CURVE certificates.
    ZeroMq,
    /// CurveCP's key directory.
    CurveCp,
    /// WireGuard's configuration.
    WireGuard,
    /// Our own lines of JSON.
    JsonLines,
}

impl Format {
    /// All of them, in the order of the documents.
    pub fn all() -> [Self; 5] {
        [
            Self::Arcan,
            Self::ZeroMq,
            Self::CurveCp,
            Self::WireGuard,
            Self::JsonLines,
        ]
    }

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arcan => "arcan",
            Self::ZeroMq => "zeromq",
            Self::CurveCp => "curvecp",
            Self::WireGuard => "wireguard",
            Self::JsonLines => "jsonl",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a text is no [`Format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
#[error("the formats are arcan, zeromq, curvecp, wireguard and jsonl")]
pub struct NoFormat;

impl FromStr for Format {
    type Err = NoFormat;

    fn from_str(text: &str) -> Result<Self, NoFormat> {
        let mut all = Self::all().into_iter();
        all.find(|format| format.name() == text).ok_or(NoFormat)
    }
}

/// What is wanted beyond public keys of those who may connect to us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Take {
    /// Private keys, too.
    pub private: bool,
    /// Peers with an address are servers to connect to, where a format does not tell.
    pub servers: bool,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Where {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; `None` is all of the file.
    pub line: Option<u32>,
}

impl fmt::Display for Where {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}", self.file),
            None => f.write_str(&self.file),
        }
    }
}

/// Something that cannot be read, and where it stands.
#[derive(Debug, ThisError)]
#[error("{at}: {flaw}")]
pub struct Error {
    /// Where.
    pub at: Where,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What is wrong. It never quotes what may be secret.
#[derive(Debug, ThisError)]
pub enum Flaw {
    /// The system says so.
    #[error("{0}")]
    Io(io::Error),
    /// A pipe, a socket or a device.
    #[error("neither a file nor a directory")]
    NoFile,
    /// Too large to be what it should be.
    #[error("too large: no more than {0} are read")]
    TooLarge(&'static str),
    /// Not UTF-8.
    #[error("no text in UTF-8")]
    NoText,
    /// A key that is none.
    #[error("{0}")]
    Key(KeyError),
    /// A private key that is none.
    #[error("no private key of 32 bytes")]
    Private,
    /// Not as the format has it.
    #[error("{0}")]
    Form(&'static str),
    /// No JSON, or not what is written in ours.
    #[error("{0}")]
    Json(String),
    /// Of no format that is known.
    #[error(
        "no format is recognised here; if it is one of arcan, zeromq, curvecp, wireguard or jsonl, say which"
    )]
    Unrecognised,
}

/// For whom a key is accepted: all, or one name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ImportedScope {
    /// `*`.
    Any,
    /// A name.
    Name(Name),
}

impl TryFrom<String> for ImportedScope {
    type Error = identity::NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match &*text {
            "*" => Ok(Self::Any),
            name => Name::parse(name).map(Self::Name),
        }
    }
}

impl From<ImportedScope> for String {
    fn from(scope: ImportedScope) -> Self {
        match scope {
            ImportedScope::Any => "*".into(),
            ImportedScope::Name(name) => name.into(),
        }
    }
}

/// Whether a key is let in. Only our own format can say anything but `Accepted`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is.
    #[default]
    Accepted,
    /// For the time being it is not.
    Disabled,
    /// It was, and is not any more.
    Revoked,
    /// It must never be.
    Banned,
}

/// Somebody who may connect to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Who it is.
    pub key: PublicKey,
    /// Where it is accepted, in order; empty if the format does not say.
    pub scopes: Vec<ImportedScope>,
    /// Whether it is let in. Whoever takes an entry over has to look at this.
    pub state: State,
    /// What it is called: at most [`MAX_LABEL`] bytes, no control characters.
    pub label: Option<String>,
    /// What else is known: at most [`MAX_COMMENT`] bytes, no control characters.
    pub comment: Option<String>,
    /// Since when it is known, in milliseconds since 1970.
    pub added_ms: Option<u64>,
    /// Until when it is accepted, in milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// How it came to be accepted, in one word.
    pub how: Option<String>,
    /// Where it stands.
    pub from: Where,
}

impl Inbound {
    /// A key of which nothing else is known.
    pub fn new(key: PublicKey, from: Where) -> Self {
        Self {
            key,
            scopes: Vec::new(),
            state: State::Accepted,
            label: None,
            comment: None,
            added_ms: None,
            expires_ms: None,
            how: None,
            from,
        }
    }
}

/// A server that we know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    /// What it is called here.
    pub tag: Name,
    /// Any of these it may prove; none if the format does not say.
    pub keys: Vec<PublicKey>,
    /// `host:port` or `[v6]:port`, to be tried in this order.
    pub addresses: Vec<String>,
    /// The private key that we prove to it, if it is one of its own.
    pub identity: Option<SecretBytes>,
    /// What it is called elsewhere; as in [`Inbound`].
    pub label: Option<String>,
    /// What else is known; as in [`Inbound`].
    pub comment: Option<String>,
    /// Since when it is known, in milliseconds since 1970.
    pub added_ms: Option<u64>,
    /// Where it stands.
    pub from: Where,
}

impl Outbound {
    /// A server of which nothing is known but its tag.
    pub fn new(tag: Name, from: Where) -> Self {
        Self {
            tag,
            keys: Vec::new(),
            addresses: Vec::new(),
            identity: None,
            label: None,
            comment: None,
            added_ms: None,
            from,
        }
    }
}

/// A private key of ours that we listen with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Private {
    /// What it is called.
    pub tag: Name,
    /// The key.
    pub secret: SecretBytes,
    /// Its public key, where the file says one: whether they belong together is not known here.
    pub public: Option<PublicKey>,
    /// Where it stands.
    pub from: Where,
}

/// The 32 bytes of a private key: wiped when dropped, compared in constant time, never printed.
#[derive(Clone)]
pub struct SecretBytes(Zeroizing<[u8; 32]>);

impl SecretBytes {
    /// Takes them; `None` if there are not 32.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        (bytes.len() == secret.len()).then(|| secret.copy_from_slice(bytes))?;
        Some(Self(secret))
    }

    /// Takes them from base64, with its padding.
    fn from_base64(text: &str) -> Option<Self> {
        Self::parse(&Zeroizing::new(BASE64.decode(text.as_bytes()).ok()?))
    }

    /// The bytes, for storing them.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Zeroizing<[u8; 32]>> for SecretBytes {
    fn from(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(***)")
    }
}

/// What was sound, and yet not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Where it stands.
    pub at: Where,
    /// Why not.
    pub why: String,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Those who may connect to us, in the order of the files.
    pub inbound: Vec<Inbound>,
    /// The servers that we know; each tag once.
    pub outbound: Vec<Outbound>,
    /// Our own keys, if they were asked for.
    pub private: Vec<Private>,
    /// What was not taken.
    pub skipped: Vec<Skipped>,
}

impl Imported {
    fn skip(&mut self, at: Where, why: impl Into<String>) {
        let why = why.into();
        self.skipped.push(Skipped { at, why });
    }
}

/// Reads what is in a folder.
pub fn parse(format: Format, folder: &Folder, take: Take) -> Result<Imported, Error> {
    let mut imported = match format {
        Format::Arcan => arcan::parse(folder, take),
        Format::ZeroMq => zeromq::parse(folder, take),
        Format::CurveCp => curvecp::parse(folder, take),
        Format::WireGuard => wireguard::parse(folder, take),
        Format::JsonLines => jsonl::parse(folder),
    }?;
    imported.skipped.extend_from_slice(folder.skipped());
    Ok(imported)
}

/// What a folder seems to be.
pub fn guess(folder: &Folder) -> Result<Format, Error> {
    let has = |name: &str| folder.files().iter().any(|file| file.name == name);
    let below = |place: &str| folder.has_below(place);
    let text = |file: &folder::File| file.text().map(str::to_owned).unwrap_or_default();
    let line = |text: &str, wanted: fn(&str) -> bool| text.lines().any(wanted);
    match folder.single() {
        None if below("accepted") || below("hostkeys") => Ok(Format::Arcan),
        None if has("publickey") || below(".expertsonly") => Ok(Format::CurveCp),
        None if folder.files().iter().any(zeromq::is_certificate) => Ok(Format::ZeroMq),
        Some(file) if curvecp::is_public_key(&file.bytes) => Ok(Format::CurveCp),
        Some(file) if text(file).trim_start().starts_with('{') => Ok(Format::JsonLines),
        Some(file) if line(&text(file), wireguard::is_section) => Ok(Format::WireGuard),
        Some(file) if zeromq::is_certificate(file) => Ok(Format::ZeroMq),
        _ => Err(Error {
            at: folder.place(),
            flaw: Flaw::Unrecognised,
        }),
    }
}

/// The longest label, in bytes: that of the keystore.
pub const MAX_LABEL: usize = 128;

/// The longest comment, in bytes.
pub const MAX_COMMENT: usize = 512;

/// Somebody else's text as one of ours: no control characters, not too long; `None` if empty.
fn clean(text: &str, longest: usize) -> Option<String> {
    let mut text = text.trim().replace(char::is_control, " ");
    text.truncate(text.floor_char_boundary(longest));
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Whether a text is as [`clean`] leaves it.
fn is_clean(text: &str, longest: usize) -> bool {
    clean(text, longest).as_deref() == Some(text)
}

/// The one spelling of an address: `host:port` or `[v6]:port`. `port` is for one that has none.
fn address(text: &str, port: Option<u16>) -> Option<String> {
    let (host, given) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']')?;
            let plain = host.split_once('%').map_or(host, |(plain, _)| plain);
            plain.parse::<Ipv6Addr>().ok()?;
            match after {
                "" => (host, None),
                after => (host, Some(after.strip_prefix(':')?)),
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || "[]/@".contains(c);
    if host.is_empty() || host.len() > MAX_HOST || host.contains(odd) {
        return None;
    }
    let port = match given {
        None => port?,
        Some(digits) if digits.bytes().all(|c| c.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    match (port, host.contains(':')) {
        (0, _) => None,
        (port, true) => Some(format!("[{host}]:{port}")),
        (port, false) => Some(format!("{host}:{port}")),
    }
}

/// The longest name of a host, in bytes.
const MAX_HOST: usize = 253;

/// The port of a12.
const A12_PORT: u16 = 6680;

/// Adds what is not there yet.
fn add<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

#[cfg(test)]
mod tests;
