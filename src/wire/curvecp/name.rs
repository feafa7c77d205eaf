//! The name by which a client asks for a server: labels as in the DNS, in 256 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How many bytes a name has in a packet.
pub const NAME: usize = 256;

/// The longest label, in bytes.
const LABEL: usize = 63;

/// A server's name: labels, each behind its length, then zeros. Upper and lower case differ.
///
/// As text it is dotted; empty labels are skipped, so that `a..b.` is `a.b`. The empty name is one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServerName([u8; NAME]);

/// Why something is no server name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// A label is too long.
    #[error("a part of a server name has at most 63 bytes between two dots")]
    Label,
    /// All labels together are too long.
    #[error("a server name has at most 255 bytes, one more than its text for each part")]
    Long,
    /// The bytes are not labels of text.
    #[error("not the bytes of a server name")]
    Bytes,
}

impl ServerName {
    /// As it stands in a packet.
    pub fn as_bytes(&self) -> &[u8; NAME] {
        &self.0
    }

    fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (&length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(length.into())?;
            rest = after;
            (length > 0).then_some(label)
        })
    }
}

impl FromStr for ServerName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.contains('\0') {
            return Err(NameError::Bytes);
        }
        let mut bytes = Vec::with_capacity(NAME);
        for label in text.split('.').filter(|label| !label.is_empty()) {
            let length = u8::try_from(label.len()).map_err(|_| NameError::Label)?;
            if label.len() > LABEL {
                return Err(NameError::Label);
            }
            bytes.push(length);
            bytes.extend_from_slice(label.as_bytes());
        }
        // The last byte is a zero, too.
        if bytes.len() >= NAME {
            return Err(NameError::Long);
        }
        bytes.resize(NAME, 0);
        bytes.try_into().map(Self).map_err(|_| NameError::Long)
    }
}

impl TryFrom<[u8; NAME]> for ServerName {
    type Error = NameError;

    fn try_from(bytes: [u8; NAME]) -> Result<Self, NameError> {
        // Whatever is none gives another name than it is.
        let text = Self(bytes).to_string();
        match text.parse::<Self>() {
            Ok(name) if name.0 == bytes => Ok(name),
            _ => Err(NameError::Bytes),
        }
    }
}

impl TryFrom<String> for ServerName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ServerName> for String {
    fn from(name: ServerName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, label) in self.labels().enumerate() {
            let dot = if at > 0 { "." } else { "" };
            write!(f, "{dot}{}", String::from_utf8_lossy(label))?;
        }
        Ok(())
    }
}

impl fmt::Debug for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerName({self})")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_stand_behind_their_lengths() {
        let name: ServerName = "this.Machine".parse().unwrap();
        assert_eq!(name.as_bytes()[..14], *b"\x04this\x07Machine\0");
        assert!(name.as_bytes()[14..].iter().all(|&byte| byte == 0));
        assert_eq!(name.to_string(), "this.Machine");
    }

    #[test]
    fn empty_labels_are_skipped() {
        let name = |text: &str| text.parse::<ServerName>().unwrap();
        assert_eq!(name("a..b."), name("a.b"));
        assert_eq!(name("..."), name(""));
        assert_ne!(name("a.b"), name("A.b"));
        assert_ne!(name("a.b"), name("ab"));
    }

    #[test]
    fn a_name_fits_or_is_refused() {
        let label = "x".repeat(63);
        assert!(label.parse::<ServerName>().is_ok());
        assert_eq!(
            format!("{label}x").parse::<ServerName>(),
            Err(NameError::Label)
        );
        let longest = [&*label, &*label, &*label, &label[1..]].join(".");
        assert_eq!(longest.parse::<ServerName>().unwrap().as_bytes()[254], b'x');
        assert_eq!(
            format!("{longest}x").parse::<ServerName>(),
            Err(NameError::Long)
        );
    }

    proptest! {
        #[test]
        fn what_is_a_name_comes_back(text in "[a-z.å]{0,80}") {
            if let Ok(name) = text.parse::<ServerName>() {
                let again: ServerName = name.to_string().parse().unwrap();
                prop_assert_eq!(&again, &name);
                prop_assert_eq!(ServerName::try_from(*name.as_bytes()), Ok(name));
            }
        }

        #[test]
        fn any_bytes_are_a_name_or_none(
            front in prop::collection::vec(any::<u8>(), 0..20),
            fill in prop_oneof![Just(0_u8), any::<u8>()],
        ) {
            let mut bytes = [fill; NAME];
            bytes[..front.len()].copy_from_slice(&front);
            if let Ok(name) = ServerName::try_from(bytes) {
                prop_assert_eq!(name.as_bytes(), &bytes);
            }
        }
    }
}
