use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The scope in which a key is accepted: `[A-Za-z0-9_-]{1,30}`. It is not an address.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// Why a text is not a [`Name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameError {
    /// Nothing at all.
    #[error("a name has at least one character")]
    Empty,
    /// More than 30 characters.
    #[error("a name has at most {} characters", Name::MAX_LEN)]
    TooLong,
    /// Something but a letter, a digit, `_` or `-`.
    #[error("a name is made of letters, digits, '_' and '-'; this one has {0:?}")]
    Character(char),
}

impl Name {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 30;

    /// Takes a text that is a name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        match text.chars().find(|c| !allowed(c)) {
            _ if text.is_empty() => Err(NameError::Empty),
            Some(other) => Err(NameError::Character(other)),
            None if text.len() > Self::MAX_LEN => Err(NameError::TooLong),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert!(Name::parse("default").is_ok());
        assert!(Name::parse("_a-Z09").is_ok());
        assert!(Name::parse(&"x".repeat(30)).is_ok());
        assert_eq!(Name::parse(""), Err(NameError::Empty));
        assert_eq!(Name::parse(&"x".repeat(31)), Err(NameError::TooLong));
        assert_eq!(Name::parse("a:b"), Err(NameError::Character(':')));
        assert_eq!(Name::parse("ä"), Err(NameError::Character('ä')));
        assert_eq!(Name::parse("*"), Err(NameError::Character('*')));
    }
}
