//! The part of the handshake that uses a static private key: whole fixed-size messages in, answers
//! out, and no raw X25519 result but the one that the protocol makes a cipher key.

use std::fmt;

use identity::PublicKey;

use super::control::{Control, Mode, Rekey};
use super::handshake::public_key;
use super::packet::{Direction, EVENT_PACKET, Packet};
use super::{ControlBody, RatchetKeys, Rounds, StageKeys};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Field, Violation};

/// A peer's HELLO of mode 1, read: it claims a key.
#[derive(Debug, Clone)]
pub struct Claim {
    key: PublicKey,
    nonce: [u8; 8],
}

impl Claim {
    /// Reads a HELLO; a key that is no key is a violation.
    pub fn parse(hello: &ControlBody) -> Result<Self, Violation> {
        match Control::parse(&hello.0) {
            (header, Control::Hello(hello)) if hello.mode == Mode::Static => Ok(Self {
                key: public_key(&hello.key)?,
                nonce: header.entropy,
            }),
            (_, Control::Hello(hello)) => Err(Violation::Mode(hello.mode.into())),
            (_, other) => Err(Violation::Command(other.number())),
        }
    }

    /// The key that the peer claims. Nothing is proved yet.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Listener: computes the session's keys, which wait for the proof.
    pub fn challenge(self, host: &SecretKey, rounds: Rounds, nonce: [u8; 8]) -> Pending {
        Pending {
            keys: StageKeys::agreed(&host.agree(&self.key), nonce),
            nonce,
            rounds,
        }
    }

    /// Initiator: the session's keys, with the nonce that the server's HELLO carries.
    pub fn session(&self, own: &SecretKey) -> StageKeys {
        StageKeys::agreed(&own.agree(&self.key), self.nonce)
    }
}

/// A challenge that waits for its proof.
pub struct Pending {
    keys: StageKeys,
    nonce: [u8; 8],
    rounds: Rounds,
}

impl Pending {
    /// Gives the session's keys if the packet verifies under them, carries exactly the expected
    /// sequence number, and is of a permitted type. [`Error::Again`] asks for an event's length.
    pub fn prove(&self, packet: &[u8]) -> Result<StageKeys, Error> {
        if packet.len() > EVENT_PACKET {
            return Err(Error::Proto(Violation::Malformed(Field::Event)));
        }
        let mut copy = packet.to_vec();
        let mut direction = Direction::client(&self.keys, self.nonce, self.rounds.proof_sequence());
        match direction.open(&mut copy)? {
            Packet::Control(body) => match Control::parse(body) {
                (_, hello @ Control::Hello(_)) => {
                    Err(Error::Proto(Violation::Command(hello.number())))
                }
                _ => Ok(self.keys.clone()),
            },
            _ => Ok(self.keys.clone()),
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").finish_non_exhaustive()
    }
}

/// Initiator: the keys of the inbound direction after the server's first REKEY.
pub fn ratchet(own: &SecretKey, rekey: &ControlBody) -> Result<RatchetKeys, Violation> {
    match Control::parse(&rekey.0) {
        (_, Control::Rekey(Rekey::Ratchet { key })) => {
            Ok(RatchetKeys::agreed(&own.agree(&public_key(&key)?)))
        }
        (_, Control::Rekey(_)) => Err(Violation::Rekey),
        (_, other) => Err(Violation::Command(other.number())),
    }
}

#[cfg(test)]
mod tests;
