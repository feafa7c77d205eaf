//! What peers tell of themselves: properties, each a name (1 byte of length) and a value (4 bytes of
//! length). RFC 37, section "Connection Metadata".

use serde::{Deserialize, Serialize};

use super::socket::SocketType;
use crate::wire::{Field, Violation};

/// As many bytes of metadata are taken.
pub const METADATA: usize = 4096;

/// What a peer tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// `Socket-Type`; not everybody says.
    pub socket_type: Option<SocketType>,
    /// `Identity`; empty if there is none.
    pub identity: Vec<u8>,
    /// All the others, in their order.
    pub properties: Vec<(String, Vec<u8>)>,
}

impl Metadata {
    /// Reads properties. Names are compared with their case, as libzmq does. A list may end with the
    /// length of a value that is not there, which libzmq takes, too; that property is left out.
    pub fn parse(mut bytes: &[u8]) -> Result<Self, Violation> {
        let malformed = Violation::Malformed(Field::Metadata);
        if bytes.len() > METADATA {
            return Err(malformed);
        }
        let mut metadata = Self::default();
        while let Some((&length, rest)) = bytes.split_first() {
            let (name, rest) = rest.split_at_checked(length.into()).ok_or(malformed)?;
            let (length, rest) = rest.split_first_chunk().ok_or(malformed)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| malformed)?;
            if rest.is_empty() && length > 0 {
                break;
            }
            let (value, rest) = rest.split_at_checked(length).ok_or(malformed)?;
            bytes = rest;
            match name {
                SOCKET_TYPE => {
                    let kind = SocketType::from_wire(value).ok_or(Violation::SocketType)?;
                    metadata.socket_type = Some(kind);
                }
                IDENTITY => metadata.identity = value.to_vec(),
                _ => {
                    let name = String::from_utf8(name.to_vec()).map_err(|_| malformed)?;
                    metadata.properties.push((name, value.to_vec()));
                }
            }
        }
        Ok(metadata)
    }

    /// Appends them as the wire has them.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(kind) = self.socket_type {
            write_property(SOCKET_TYPE, kind.name().as_bytes(), out);
        }
        let told = self.socket_type.is_some_and(SocketType::has_identity);
        if told || !self.identity.is_empty() {
            write_property(IDENTITY, &self.identity, out);
        }
        for (name, value) in &self.properties {
            write_property(name.as_bytes(), value, out);
        }
    }
}

/// Appends one property, if its name and value have lengths that can be told.
pub(super) fn write_property(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let lengths = (u8::try_from(name.len()), u32::try_from(value.len()));
    if let (Ok(named), Ok(length)) = lengths {
        out.push(named);
        out.extend_from_slice(name);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(value);
    }
}

const SOCKET_TYPE: &[u8] = b"Socket-Type";
const IDENTITY: &[u8] = b"Identity";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MALFORMED: Result<Metadata, Violation> = Err(Violation::Malformed(Field::Metadata));

    #[test]
    fn an_identity_is_told_by_those_that_are_addressed() {
        for kind in SocketType::ALL {
            let metadata = Metadata {
                socket_type: Some(kind),
                ..Metadata::default()
            };
            let mut out = Vec::new();
            metadata.write(&mut out);
            let told = out.windows(8).any(|bytes| bytes == IDENTITY);
            assert_eq!(told, kind.has_identity(), "{kind}");
            assert_eq!(Metadata::parse(&out), Ok(metadata));
        }
    }

    #[test]
    fn a_list_may_end_with_the_length_of_a_value() {
        let list = b"\x01a\0\0\0\x01x\x01b\0\0\0\x05";
        let read = Metadata::parse(list).unwrap();
        assert_eq!(read.properties, [("a".to_owned(), b"x".to_vec())]);
    }

    #[test]
    fn a_list_that_is_cut_elsewhere_is_malformed() {
        let list = b"\x01a\0\0\0\x01x\x02bc\0\0\0\x05hello";
        assert!(Metadata::parse(list).is_ok());
        for end in 1..list.len() {
            let whole = [6, 7, 14].contains(&end);
            assert_eq!(Metadata::parse(&list[..end]).is_ok(), whole, "{end}");
        }
    }

    #[test]
    fn odd_names_and_identities_are_taken() {
        let long = [0; 256];
        let mut list = Vec::new();
        write_property(b"", b"x", &mut list);
        write_property(IDENTITY, &long, &mut list);
        write_property(b"socket-type", b"STREAM", &mut list);
        let read = Metadata::parse(&list).unwrap();
        assert_eq!(read.identity, long);
        assert_eq!(read.socket_type, None);
        assert_eq!(read.properties.len(), 2);
    }

    #[test]
    fn i7_long_lists_are_refused() {
        assert_eq!(Metadata::parse(&[0; METADATA + 1]), MALFORMED);
        assert_eq!(Metadata::parse(b"\x01a\xff\xff\xff\xff."), MALFORMED);
    }

    #[test]
    fn an_unknown_socket_type_is_refused() {
        let mut list = Vec::new();
        write_property(SOCKET_TYPE, b"STREAM", &mut list);
        assert_eq!(Metadata::parse(&list), Err(Violation::SocketType));
    }

    proptest! {
        #[test]
        fn metadata_read_as_they_were_written(
            kind in prop::option::of(prop::sample::select(&SocketType::ALL[..])),
            identity: [u8; 5],
            properties in prop::collection::vec(("X-[a-z]{0,20}", any::<[u8; 7]>()), 0..9),
        ) {
            let metadata = Metadata {
                socket_type: kind,
                identity: identity.to_vec(),
                properties: properties.into_iter().map(|(name, value)| (name, value.to_vec())).collect(),
            };
            let mut out = Vec::new();
            metadata.write(&mut out);
            prop_assert_eq!(Metadata::parse(&out), Ok(metadata));
        }

        #[test]
        fn i9_any_bytes_are_metadata_or_a_clean_error(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(metadata) = Metadata::parse(&bytes) {
                let mut out = Vec::new();
                metadata.write(&mut out);
                prop_assert_eq!(Metadata::parse(&out), Ok(metadata));
            }
        }
    }
}
