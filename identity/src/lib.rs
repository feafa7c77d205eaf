//! The words for who somebody is.
//!
//! A peer *is* its X25519 public key ([`PublicKey`]); a key is accepted within the scope of a
//! [`Name`]; a [`Secret`] is what two strangers share before they know each other's keys; a
//! [`Reference`] is what both sides call an attempt that was refused.
//! Everything here is parsed once, at the border, and cannot be wrong afterwards.

mod key;
mod name;
mod reference;
mod secret;
pub mod z85;

pub use key::{Fingerprint, KeyError, PublicKey};
pub use name::{Name, NameError};
pub use reference::{Reference, ReferenceError};
pub use secret::{Secret, SecretError};
