//! How words are written in a record: as people write them, and flat.

use data_encoding::HEXLOWER;
use identity::{Name, PublicKey};
use serde::{Deserialize, Deserializer, Serializer, de};

use crate::{Actor, Origin, Scope, WindowEnd, WindowId};

/// Something that is one word.
pub(super) trait Text: Sized {
    fn to_text(&self) -> String;
    fn from_text(text: &str) -> Option<Self>;
}

pub(super) fn serialize<T: Text, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&value.to_text())
}

pub(super) fn deserialize<'de, T: Text, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    let text = String::deserialize(from)?;
    T::from_text(&text).ok_or_else(|| unfit(&text))
}

fn unfit<E: de::Error>(text: &str) -> E {
    E::custom(format_args!("{text:?} does not belong there"))
}

/// The same for what may be missing.
pub(super) mod maybe {
    use super::*;

    pub(crate) fn serialize<T: Text, S: Serializer>(
        value: &Option<T>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => to.serialize_str(&value.to_text()),
            None => to.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, T: Text, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| T::from_text(&text).ok_or_else(|| unfit(&text)))
            .transpose()
    }
}

/// Base64.
impl Text for PublicKey {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Sixteen hex digits.
impl Text for WindowId {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        let bytes = HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(u64::from_be_bytes(bytes.try_into().ok()?)))
    }
}

/// `user 1000`, `script chat`, `host`.
impl Text for Actor {
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn from_text(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None if text == "host" => Some(Self::Host),
            Some(("user", number)) => Some(Self::User(number.parse().ok()?)),
            Some(("script", name)) => Some(Self::Script(name.to_owned())),
            _ => None,
        }
    }
}

/// `*`, or the name.
impl Text for Scope {
    fn to_text(&self) -> String {
        self.as_str().to_owned()
    }
    fn from_text(text: &str) -> Option<Self> {
        match text {
            "*" => Some(Self::Any),
            name => Some(Self::Name(Name::parse(name).ok()?)),
        }
    }
}

impl Text for Origin {
    fn to_text(&self) -> String {
        match self {
            Self::Script => "script",
            Self::Admin => "admin",
            Self::WithoutSecret => "without secret",
        }
        .to_owned()
    }
    fn from_text(text: &str) -> Option<Self> {
        [Self::Script, Self::Admin, Self::WithoutSecret]
            .into_iter()
            .find(|origin| origin.to_text() == text)
    }
}

impl Text for WindowEnd {
    fn to_text(&self) -> String {
        match self {
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Closed => "closed",
            Self::Replaced => "replaced",
            Self::Guessed => "guessed",
        }
        .to_owned()
    }
    fn from_text(text: &str) -> Option<Self> {
        let all = [
            Self::Spent,
            Self::Expired,
            Self::Closed,
            Self::Replaced,
            Self::Guessed,
        ];
        all.into_iter().find(|end| end.to_text() == text)
    }
}
