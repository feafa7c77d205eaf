//! An invitation: all that a new machine needs to be let in once, in one line.
//!
//! ```text
//! moonport://enrol?host=HOST[:PORT]&key=KEY&name=NAME#SECRET
//! ```
//!
//! Each part is percent-encoded. `key` is the host's, `name` what the window is for, and the tag
//! that the server is remembered by. There is a secret in it, where nothing that opens links sends
//! it on; it is never a word of a command line.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use identity::{KeyError, Name, NameError, PublicKey, Secret, SecretError};
use thiserror::Error;
use zeroize::Zeroizing;

use super::address::{Address, AddressError};
use super::args::InviteSource;
use super::exit::{Exit, Failure, OrExit};
use super::secret;

/// What lets a new machine in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invite {
    /// Where the host is reached.
    pub(super) address: Address,
    /// The key that it must have.
    pub(super) key: PublicKey,
    /// What the window is for.
    pub(super) name: Name,
    /// The window's secret.
    pub(super) secret: Secret,
}

/// Why a text is no [`Invite`]. It never says what the secret was.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum InviteError {
    #[error("an invitation begins with {START}; `moonport window open` prints one")]
    Start,
    #[error("the invitation is too long")]
    TooLong,
    #[error("the invitation is cut off: no {0} is in it")]
    Missing(&'static str),
    #[error("the invitation says twice, or says what this program does not know")]
    Unknown,
    #[error("the invitation has a % without two hex digits, or text that is no UTF-8")]
    Encoding,
    #[error("the invitation's host: {0}")]
    Address(#[from] AddressError),
    #[error("the invitation's key: {0}")]
    Key(#[from] KeyError),
    #[error("the invitation's name: {0}")]
    Name(#[from] NameError),
    #[error("the invitation's secret: {0}")]
    Secret(#[from] SecretError),
}

impl Invite {
    /// Takes it from a line.
    pub(super) fn parse(line: &[u8]) -> Result<Self, InviteError> {
        if line.len() > LONGEST {
            return Err(InviteError::TooLong);
        }
        let text = std::str::from_utf8(line).map_err(|_| InviteError::Encoding)?;
        let rest = text
            .trim_ascii()
            .strip_prefix(START)
            .ok_or(InviteError::Start)?;
        let (query, secret) = rest.split_once('#').ok_or(InviteError::Missing("secret"))?;
        let [mut host, mut key, mut name] = [None, None, None];
        for pair in query.split('&') {
            let (word, value) = pair.split_once('=').unwrap_or((pair, ""));
            let place = match word {
                "host" => &mut host,
                "key" => &mut key,
                "name" => &mut name,
                _ => return Err(InviteError::Unknown),
            };
            let value = decode(value)?;
            let value = std::str::from_utf8(&value).map_err(|_| InviteError::Encoding)?;
            if place.replace(value.to_owned()).is_some() {
                return Err(InviteError::Unknown);
            }
        }
        let host = host.ok_or(InviteError::Missing("host"))?;
        let key = key.ok_or(InviteError::Missing("key"))?;
        let name = name.ok_or(InviteError::Missing("name"))?;
        Ok(Self {
            address: host.parse()?,
            key: key.parse()?,
            name: name.parse()?,
            secret: Secret::parse(&decode(secret)?)?,
        })
    }

    /// The line, which is as secret as what is in it.
    pub(super) fn line(&self) -> Zeroizing<String> {
        let mut line = Zeroizing::new(String::with_capacity(LONGEST));
        line.push_str(START);
        line.push_str("host=");
        encode(&mut line, self.address.to_string().as_bytes());
        line.push_str("&key=");
        encode(&mut line, self.key.to_string().as_bytes());
        line.push_str("&name=");
        encode(&mut line, self.name.as_str().as_bytes());
        line.push('#');
        encode(&mut line, self.secret.reveal());
        line
    }
}

/// Takes the invitation from where the command line says; `None`: it does not say.
pub(super) async fn read(source: &InviteSource) -> Result<Option<Invite>, Failure> {
    let line = match source {
        InviteSource {
            invite_file: Some(path),
            ..
        } if path == Path::new("-") => first_line()?,
        InviteSource {
            invite_file: Some(path),
            ..
        } => from_file(path)?,
        InviteSource {
            invite_fd: Some(fd),
            ..
        } => from_file(&PathBuf::from(format!("/proc/self/fd/{fd}")))?,
        InviteSource {
            ask_invite: true, ..
        } => {
            let text = secret::typed("invitation", "--invite-file or --invite-fd").await?;
            Zeroizing::new(text.as_bytes().to_vec())
        }
        _ => return Ok(None),
    };
    Invite::parse(&line).map(Some).or_exit(Exit::Usage)
}

fn from_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    secret::line(path, LONGEST, secret::Care::Ours).or_exit_with(Exit::Usage, || {
        format!("cannot read an invitation from {}", path.display())
    })
}

/// The first line of standard input, and not a byte more: what follows is to be said.
fn first_line() -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let mut byte = [0];
    while line.len() <= LONGEST {
        match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(error).or_exit_with(
                    Exit::Usage,
                    || "cannot read an invitation from standard input",
                );
            }
        }
    }
    Ok(line)
}

/// Letters, digits and `-._~` stand for themselves, as in any URI.
fn encode(line: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'-' | b'.' | b'_' | b'~' => line.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => line.push(char::from(byte)),
            _ => {
                line.push('%');
                for half in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(half.into(), 16).unwrap_or('0');
                    line.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
}

pub(super) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, InviteError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    let half = |byte: Option<u8>| {
        let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
        digit.and_then(|digit| u8::try_from(digit).ok())
    };
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (half(rest.next()), half(rest.next()));
                let (high, low) = high.zip(low).ok_or(InviteError::Encoding)?;
                high << 4 | low
            }
            byte => byte,
        });
    }
    Ok(bytes)
}

const START: &str = "moonport://enrol?";

/// The longest invitation, in bytes: a name of the longest kind, and a secret in which everything
/// has to be encoded.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn invite(host: &str, secret: &[u8]) -> Invite {
        Invite {
            address: host.parse().unwrap(),
            key: PublicKey::parse(&[7; 32]).unwrap(),
            name: Name::parse("hello").unwrap(),
            secret: Secret::parse(secret).unwrap(),
        }
    }

    #[test]
    fn an_invitation_is_one_word_and_keeps_its_secret_behind_the_hash() {
        let line = invite("[2001:db8::1]:7000", b"a b#&%").line();
        assert_eq!(
            &*line,
            "moonport://enrol?host=%5B2001%3Adb8%3A%3A1%5D%3A7000\
             &key=BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc%3D&name=hello#a%20b%23%26%25"
        );
    }

    #[test]
    fn what_is_no_invitation_says_why_without_the_secret() {
        let line = invite("host", b"canary").line();
        let wrong = |from: &str, to: &str| {
            let error = Invite::parse(line.replace(from, to).as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("canary"), "i8: {error}");
            error
        };
        assert_eq!(wrong("moonport:", "https:"), InviteError::Start);
        assert_eq!(wrong("#canary", ""), InviteError::Missing("secret"));
        assert_eq!(wrong("host=host%3A6680&", ""), InviteError::Missing("host"));
        assert_eq!(wrong("&name", "&name=x&name"), InviteError::Unknown);
        assert_eq!(wrong("&name", "&exec=x&name"), InviteError::Unknown);
        assert_eq!(wrong("%3D", "%3"), InviteError::Encoding);
        assert_eq!(wrong("%3D", "%zz"), InviteError::Encoding);
        assert_eq!(
            wrong("=host%3A6680&", "=a12%3A%2F%2Fx%2F&"),
            wrong("=host%3A6680&", "=x%2F&")
        );
        assert!(matches!(wrong("#canary", "#"), InviteError::Secret(_)));
        assert!(matches!(
            wrong("name=hello", "name=a%3Ab"),
            InviteError::Name(_)
        ));
        assert!(matches!(wrong("BwcH", ""), InviteError::Key(_)));
        let long = format!("{START}{}", "x".repeat(LONGEST));
        assert_eq!(Invite::parse(long.as_bytes()), Err(InviteError::TooLong));
    }

    #[tokio::test]
    async fn a_descriptor_holds_one() {
        use std::io::Write;
        use std::os::fd::AsRawFd;
        let (there, mut here) = std::io::pipe().unwrap();
        let invite = invite("host", b"sekrit");
        here.write_all(invite.line().as_bytes()).unwrap();
        drop(here);
        let source = InviteSource {
            invite_file: None,
            invite_fd: Some(there.as_raw_fd().unsigned_abs()),
            ask_invite: false,
        };
        assert_eq!(read(&source).await.unwrap(), Some(invite));
    }

    proptest! {
        #[test]
        fn an_invitation_is_read_as_it_is_written(
            host in "[a-z]([a-z0-9.-]{0,60}[a-z0-9])?(:[1-9][0-9]{0,3})?",
            secret in prop::collection::vec(1_u8.., 1..=31),
        ) {
            let invite = invite(&host, &secret);
            let line = invite.line();
            prop_assert!(line.len() <= LONGEST && !line.contains(char::is_whitespace));
            prop_assert_eq!(Invite::parse(line.as_bytes()), Ok(invite));
        }

        #[test]
        fn i9_any_line_at_all_is_read_or_refused(line in ".{0,200}") {
            let _ = Invite::parse(line.as_bytes());
            let _ = Invite::parse(format!("{START}{line}").as_bytes());
        }
    }
}
