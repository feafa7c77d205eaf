//! Whom to connect to, as it is written on the command line.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use identity::{Name, NameError, PublicKey};
use thiserror::Error;

use super::curvecp;
use super::invite::decode;

/// What `connect` is given: an address, or `@` and the tag of a server that is known. Other protocols
/// than a12 have a scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Server {
    Tag(Name),
    Address(Address),
    CurveCp(Box<curvecp::Address>),
    Zmtp(Zmtp),
}

/// A ZeroMQ server with CURVE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Zmtp {
    /// `zmtp://@TAG`: one that is known.
    Tag(Name),
    /// `zmtp://HOST:PORT`, which has to be known, or `zmtp://KEY@HOST:PORT`.
    Address {
        key: Option<PublicKey>,
        address: Address,
    },
}

/// A host and a port: `host`, `host:port`, `v6`, `[v6]`, `[v6]:port`, with or without `a12://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// A name or an address, without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// The port of a12.
    pub(super) const PORT: u16 = 6680;
}

/// Why a text is not a [`Server`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum AddressError {
    #[error("nothing to connect to: give HOST, HOST:PORT or @TAG")]
    Empty,
    #[error("after '@' comes the tag of a known server: {0}")]
    Tag(#[from] NameError),
    #[error("{0:?} is no port: it is a number from 1 to 65535")]
    Port(String),
    #[error("{0:?} is neither a name nor an address")]
    Host(String),
    #[error(
        "{0:?} is another protocol; there are a12:// and, for `connect`, zmtp:// and curvecp://"
    )]
    Scheme(String),
    #[error("zmtp:// is followed by KEY@HOST:PORT, HOST:PORT or @TAG; there is no usual port")]
    NoPort,
    #[error(
        "what stands before '@' is no key (40 characters of Z85, 44 of base64 or 64 of hex, \
         percent-encoded where need be)"
    )]
    Key,
    #[error("an address of CurveCP: {0}")]
    CurveCp(#[from] curvecp::AddressError),
}

impl FromStr for Server {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(rest) = text.strip_prefix("zmtp://") {
            return Ok(Self::Zmtp(rest.parse()?));
        }
        if let Some(address) = text.strip_prefix("curvecp://") {
            return curvecp::Address::parse(address, str::parse)
                .map(Box::new)
                .map(Self::CurveCp);
        }
        match text.strip_prefix('@') {
            Some(tag) => Ok(Self::Tag(tag.parse()?)),
            None => Ok(Self::Address(text.parse()?)),
        }
    }
}

/// Reads what follows `zmtp://`.
impl FromStr for Zmtp {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        // In a tag there is none, but in Z85 there may be an '@', too: the last one counts.
        let (key, place) = match text.rsplit_once('@') {
            Some(("", tag)) => return Ok(Self::Tag(tag.parse()?)),
            Some((key, place)) => (Some(read_key(key)?), place),
            None => (None, text),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let address: Address = place.parse()?;
        match address.to_string() == place {
            true => Ok(Self::Address { key, address }),
            false => Err(AddressError::NoPort),
        }
    }
}

/// Reads a key as it is, or percent-encoded. No text is both: what is as long as a key has, decoded,
/// the length of none.
fn read_key(text: &str) -> Result<PublicKey, AddressError> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let decoded = decode(text).map_err(|_| AddressError::Key)?;
    let decoded = std::str::from_utf8(&decoded).map_err(|_| AddressError::Key)?;
    decoded.parse().map_err(|_| AddressError::Key)
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = match text.split_once("://") {
            Some(("a12", rest)) => rest,
            Some((other, _)) => return Err(AddressError::Scheme(format!("{other}://"))),
            None => text,
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| AddressError::Host(text.into()))?;
                if !is_v6(host) {
                    return Err(AddressError::Host(host.into()));
                }
                match port.strip_prefix(':') {
                    Some(port) => (host, Some(port)),
                    None if port.is_empty() => (host, None),
                    None => return Err(AddressError::Host(text.into())),
                }
            }
            None if is_v6(text) => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        if host.is_empty() {
            return Err(AddressError::Empty);
        }
        if host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]/@".contains(c)) {
            return Err(AddressError::Host(host.into()));
        }
        let port = match port {
            None => Self::PORT,
            Some(digits) => match digits.parse() {
                Ok(port) if port != 0 => port,
                _ => return Err(AddressError::Port(digits.into())),
            },
        };
        Ok(Self {
            host: host.into(),
            port,
        })
    }
}

/// Whether this is a v6 address, perhaps with the interface of a link-local one.
fn is_v6(text: &str) -> bool {
    let address = text.split_once('%').map_or(text, |(address, _)| address);
    address.parse::<Ipv6Addr>().is_ok()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn address(text: &str, host: &str, port: u16) {
        let expected = Address {
            host: host.into(),
            port,
        };
        assert_eq!(text.parse::<Server>(), Ok(Server::Address(expected)));
    }

    #[test]
    fn all_forms_of_an_address() {
        address("example.org", "example.org", 6680);
        address("example.org:7000", "example.org", 7000);
        address("192.0.2.1", "192.0.2.1", 6680);
        address("192.0.2.1:1", "192.0.2.1", 1);
        address("[2001:db8::1]:7000", "2001:db8::1", 7000);
        address("[2001:db8::1]", "2001:db8::1", 6680);
        address("2001:db8::1", "2001:db8::1", 6680);
        address("::1", "::1", 6680);
        address("fe80::1%eth0", "fe80::1%eth0", 6680);
        address("a12://example.org:7000", "example.org", 7000);
        let tag = Server::Tag(Name::parse("home").unwrap());
        assert_eq!("@home".parse::<Server>(), Ok(tag));
    }

    #[test]
    fn a_zeromq_server_is_named_by_key_and_place() {
        let key = PublicKey::parse(&[7; 32]).unwrap();
        let expected = Server::Zmtp(Zmtp::Address {
            key: Some(key),
            address: "example.org:5555".parse().unwrap(),
        });
        let z85 = identity::z85::encode(key.as_bytes());
        let encoded: String = z85.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let hex = data_encoding::HEXLOWER.encode(key.as_bytes());
        for key in [z85.to_string(), encoded, hex, key.to_string()] {
            for end in ["", "/"] {
                let text = format!("zmtp://{key}@example.org:5555{end}");
                assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            }
        }
        let tag = Zmtp::Tag(Name::parse("home").unwrap());
        assert_eq!("zmtp://@home".parse(), Ok(Server::Zmtp(tag)));
        let known = Zmtp::Address {
            key: None,
            address: "[::1]:7000".parse().unwrap(),
        };
        assert_eq!("zmtp://[::1]:7000".parse(), Ok(Server::Zmtp(known)));
    }

    #[test]
    fn what_names_no_zeromq_server_says_why() {
        let error = |text: &str| text.parse::<Server>().unwrap_err();
        assert_eq!(error("zmtp://host"), AddressError::NoPort);
        assert_eq!(error("zmtp://::1"), AddressError::NoPort);
        assert_eq!(error("zmtp://short@host:1"), AddressError::Key);
        assert_eq!(error("zmtp://%4@host:1"), AddressError::Key);
        assert!(error("zmtp://").to_string().contains("nothing to connect"));
    }

    #[test]
    fn what_is_no_address_says_why() {
        let error = |text: &str| text.parse::<Server>().unwrap_err().to_string();
        assert!(error("").contains("HOST, HOST:PORT or @TAG"));
        assert!(error(":80").contains("HOST, HOST:PORT or @TAG"));
        assert!(error("host:0").contains("1 to 65535"));
        assert!(error("host:65536").contains("1 to 65535"));
        assert!(error("host:").contains("1 to 65535"));
        assert!(error("[::1").contains("neither a name nor an address"));
        assert!(error("[::1]x").contains("neither a name nor an address"));
        assert!(error("[host]:80").contains("neither a name nor an address"));
        assert!(error("a b").contains("neither a name nor an address"));
        assert!(error("http://host").contains("a12://"));
        assert!(error("@").contains("tag"));
        assert!(error("@a:b").contains("':'"));
    }

    proptest! {
        #[test]
        fn an_address_is_written_as_it_is_read(text in "[a-z0-9.:%@\\[\\]-]{0,24}") {
            if let Ok(Server::Address(address)) = text.parse() {
                prop_assert_eq!(address.to_string().parse::<Address>(), Ok(address));
            }
        }
    }
}
