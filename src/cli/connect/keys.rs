//! What the key room of a client of a12 says.

use identity::PublicKey;

use super::random::Random;
use crate::cli::link::{End, KeyRoom};
use crate::wire::a12::keyroom::{self, Claim};
use crate::wire::a12::{Answer, Ask, Initiator};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Violation};

/// Our private key, and what is expected of the server's.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) own: SecretKey,
    pub(super) expected: Expected,
    /// The key that the server claims, once it has.
    pub(super) server: Option<PublicKey>,
}

/// Which key a server may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// It does not matter.
    Anybody,
    /// Nothing is known: it is to be shown to somebody.
    Unknown,
    /// One of these.
    OneOf(Vec<PublicKey>),
}

impl KeyRoom for Keys {
    type Machine = Initiator<Random>;

    /// What the key room of a client says.
    fn answer(&mut self, ask: Ask) -> Result<Answer, End> {
        let violation = |violation| End::Broken(Error::Proto(violation));
        match ask {
            Ask::Server(hello) => {
                let claim = Claim::parse(&hello).map_err(violation)?;
                let key = *claim.key();
                match &self.expected {
                    Expected::Anybody => self.server = Some(key),
                    Expected::Unknown => return Err(End::Unknown(key)),
                    Expected::OneOf(keys) if !keys.contains(&key) => return Err(End::Other(key)),
                    Expected::OneOf(_) => self.server = Some(key),
                }
                Ok(Answer::Session(claim.session(&self.own)))
            }
            Ask::Ratchet(rekey) => keyroom::ratchet(&self.own, &rekey)
                .map(Answer::Ratchet)
                .map_err(violation),
            Ask::Claim { .. } | Ask::Proof(_) => Err(violation(Violation::OutOfTurn)),
        }
    }
}
