//! What the key room of a client of ZeroMQ's says.

use identity::PublicKey;
use rand_core::Rng;

use crate::cli::connect::random::Random;
use crate::cli::link::{End, KeyRoom};
use crate::wire::crypto::SecretKey;
use crate::wire::zmtp::{Answer, Ask, Initiator, keyroom};
use crate::wire::{Error, Violation};

/// Our private key, and the server's.
pub(super) struct Keys {
    pub(super) own: SecretKey,
    pub(super) server: PublicKey,
    pub(super) random: Random,
}

impl KeyRoom for Keys {
    type Machine = Initiator;

    fn answer(&mut self, ask: Ask) -> Result<Answer, End> {
        let (Ask::Vouch { client, server }, Some(key)) = (ask, self.own.public()) else {
            return Err(End::Broken(Error::Proto(Violation::OutOfTurn)));
        };
        let mut nonce = [0; 16];
        self.random.fill_bytes(&mut nonce);
        let vouch = keyroom::vouch(&self.own, &client, &server, &self.server, nonce);
        Ok(Answer::Vouch {
            key,
            vouch: Box::new(vouch),
        })
    }
}
