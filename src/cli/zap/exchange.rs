//! Requests and replies of ZAP 1.0 (ZeroMQ RFC 27, sections "Request and Reply Messages" and "The
//! CURVE Mechanism"), without the empty part before them, which is the socket's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use identity::PublicKey;
use keystore::{Entry, Scope};

use crate::wire::zmtp::{Message, Metadata};

const VERSION: &[u8] = b"1.0";

/// What a handler asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    /// What the reply has to repeat.
    pub(super) id: &'a [u8],
    /// Where the client comes from; the port is not told.
    pub(super) from: SocketAddr,
    /// What the client has proved; `None`: another mechanism than CURVE, or what is no key, so that
    /// nobody can be accepted.
    pub(super) key: Option<PublicKey>,
}

/// What is no request.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed<'a> {
    /// What the reply repeats all the same.
    pub(super) id: &'a [u8],
}

impl<'a> Request<'a> {
    pub(super) fn parse(message: &'a Message) -> Result<Self, Malformed<'a>> {
        let id = message.get(1).map_or(&[][..], Vec::as_slice);
        let [
            version,
            _,
            _domain,
            address,
            _identity,
            mechanism,
            credentials @ ..,
        ] = message.as_slice()
        else {
            return Err(Malformed { id });
        };
        let key = match (version.as_slice(), mechanism.as_slice(), credentials) {
            (VERSION, b"CURVE", [key]) if key.len() == 32 => PublicKey::parse(key).ok(),
            (VERSION, b"NULL", []) | (VERSION, b"PLAIN", [_, _]) | (VERSION, b"GSSAPI", [_]) => {
                None
            }
            _ => return Err(Malformed { id }),
        };
        let from = source(address);
        Ok(Self { id, from, key })
    }
}

/// An address as libzmq writes it; what is none, as that of a Unix socket, is 0.0.0.0.
fn source(address: &[u8]) -> SocketAddr {
    let text = std::str::from_utf8(address).unwrap_or_default();
    let text = text.split('%').next().unwrap_or_default();
    let ip: Option<IpAddr> = text.parse().ok();
    let ip = ip.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.to_canonical());
    SocketAddr::new(ip, 0)
}

/// What a handler is told.
#[derive(Debug)]
pub(super) enum Reply<'a> {
    /// 200, with what is known of the key.
    Accepted(&'a Entry),
    /// 300: it cannot be known now.
    Later,
    /// 400. Why is in the audit log.
    Refused,
    /// 500.
    Malformed,
}

impl Reply<'_> {
    pub(super) fn write(&self, id: &[u8]) -> Message {
        let (status, text) = match self {
            Self::Accepted(_) => ("200", "OK"),
            Self::Later => ("300", "the keystore cannot be asked now"),
            Self::Refused => ("400", "not accepted"),
            Self::Malformed => ("500", "no request of ZAP 1.0"),
        };
        let (user, metadata) = match self {
            Self::Accepted(entry) => (user(entry), metadata(entry)),
            _ => Default::default(),
        };
        vec![
            VERSION.to_vec(),
            id.to_vec(),
            status.into(),
            text.into(),
            user.into_bytes(),
            metadata,
        ]
    }
}

/// What the key is called, else the key.
fn user(entry: &Entry) -> String {
    let label = entry.label.clone();
    label.unwrap_or_else(|| entry.key.to_string())
}

/// What every message of the client has as properties.
fn metadata(entry: &Entry) -> Vec<u8> {
    let tags: Vec<&str> = entry.scopes.iter().map(Scope::as_str).collect();
    let properties = vec![
        ("X-Key".to_owned(), entry.key.to_string().into_bytes()),
        ("X-Tags".to_owned(), tags.join(",").into_bytes()),
    ];
    let mut out = Vec::new();
    Metadata {
        properties,
        ..Metadata::default()
    }
    .write(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use keystore::{Actor, Added, How, Standing};
    use proptest::prelude::*;

    use super::*;

    fn request(parts: &[&[u8]]) -> Message {
        parts.iter().map(|part| part.to_vec()).collect()
    }

    const KEY: &[u8] = &[7; 32];

    #[test]
    fn a_request_tells_the_key_and_where_it_comes_from() {
        let message = request(&[b"1.0", b"1", b"lab", b"192.0.2.1", b"id", b"CURVE", KEY]);
        let expected = Request {
            id: b"1",
            from: "192.0.2.1:0".parse().unwrap(),
            key: Some(PublicKey::parse(KEY).unwrap()),
        };
        assert_eq!(Request::parse(&message), Ok(expected));
    }

    #[test]
    fn an_address_is_taken_as_it_comes() {
        for (text, from) in [
            ("::ffff:192.0.2.1", "192.0.2.1:0"),
            ("2001:db8::1", "[2001:db8::1]:0"),
            ("fe80::1%eth0", "[fe80::1]:0"),
            ("", "0.0.0.0:0"),
            ("somewhere", "0.0.0.0:0"),
        ] {
            assert_eq!(source(text.as_bytes()), from.parse().unwrap(), "{text}");
        }
    }

    #[test]
    fn nobody_is_accepted_by_another_mechanism_or_without_a_key() {
        let head: [&[u8]; 5] = [b"1.0", b"9", b"", b"", b""];
        for tail in [
            &[&b"NULL"[..]][..],
            &[b"PLAIN", b"anna", b"sekrit"],
            &[b"CURVE", &[0; 32]],
            &[b"CURVE", &[0xff; 32]],
        ] {
            let message = request(&[&head[..], tail].concat());
            let request = Request::parse(&message).unwrap();
            assert_eq!((request.id, request.key), (&b"9"[..], None));
        }
    }

    #[test]
    fn what_is_no_request_is_malformed_and_keeps_its_number() {
        for (parts, id) in [
            (&[][..], &b""[..]),
            (&[&b"1.0"[..]], b""),
            (&[b"1.0", b"7"], b"7"),
            (&[b"2.0", b"7", b"", b"", b"", b"CURVE", KEY], b"7"),
            (&[b"1.0", b"7", b"", b"", b"", b"CURVE"], b"7"),
            (&[b"1.0", b"7", b"", b"", b"", b"CURVE", b"short"], b"7"),
            (&[b"1.0", b"7", b"", b"", b"", b"CURVE", KEY, KEY], b"7"),
            (&[b"1.0", b"7", b"", b"", b"", b"curve", KEY], b"7"),
        ] {
            let message = request(parts);
            assert_eq!(Request::parse(&message), Err(Malformed { id }), "{parts:?}");
        }
    }

    #[test]
    fn an_accepted_key_is_called_by_its_label_or_by_itself() {
        let mut entry = Entry {
            key: PublicKey::parse(KEY).unwrap(),
            scopes: [Scope::Any, Scope::Name("lab".parse().unwrap())].into(),
            label: Some("laptop".into()),
            standing: Standing::Accepted,
            comment: None,
            added: Added {
                at_ms: 0,
                how: How::Named,
                by: Actor::User(1000),
            },
            expires_ms: None,
            seen: None,
        };
        let reply = Reply::Accepted(&entry).write(b"1");
        let [version, id, status, _, user, metadata] = reply.as_slice() else {
            panic!("{} parts", reply.len());
        };
        assert_eq!(
            [version, id, status, user].map(Vec::as_slice),
            [&b"1.0"[..], b"1", b"200", b"laptop"]
        );
        let metadata = Metadata::parse(metadata).unwrap();
        let key = entry.key.to_string();
        let tags = entry.scopes.iter().map(Scope::as_str).collect::<Vec<_>>();
        assert_eq!(
            metadata.properties,
            [
                ("X-Key".to_owned(), key.clone().into_bytes()),
                ("X-Tags".to_owned(), tags.join(",").into_bytes())
            ]
        );
        entry.label = None;
        assert_eq!(Reply::Accepted(&entry).write(b"1")[4], key.as_bytes());
    }

    #[test]
    fn a_refusal_says_nothing_of_anybody() {
        for (reply, status) in [
            (Reply::Later, "300"),
            (Reply::Refused, "400"),
            (Reply::Malformed, "500"),
        ] {
            let reply = reply.write(b"5");
            assert_eq!(reply.len(), 6);
            assert_eq!((&*reply[1], &*reply[2]), (&b"5"[..], status.as_bytes()));
            assert!(reply[4].is_empty() && reply[5].is_empty());
        }
    }

    proptest! {
        #[test]
        fn any_parts_are_a_request_or_malformed(
            message in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9),
        ) {
            let id = message.get(1).cloned().unwrap_or_default();
            let told = Request::parse(&message).map_or_else(|other| other.id, |request| request.id);
            prop_assert_eq!(told, id.as_slice());
        }
    }
}
