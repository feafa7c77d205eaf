//! Our direction of a session, and the ratchet that goes over both (section 4.8 of the protocol
//! text).

use identity::PublicKey;
use rand_core::CryptoRng;

use super::RatchetKeys;
use super::control::{Control, Header, Rekey};
use super::event::{self, Record};
use super::handshake::{fresh_key, fresh_nonce};
use super::packet::{Direction, Kind};
use crate::wire::Violation;
use crate::wire::crypto::SecretKey;

/// When the holder of the token uses it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    /// The initiator gives it back at once.
    Return,
    /// The listener ratchets after so many body bytes; 0: never.
    Every(u64),
}

/// Our private key as the peer knows it.
enum Own {
    /// The static one, which is in the key room.
    Static,
    /// That of our newest REKEY.
    Fresh(SecretKey),
}

/// The sending end of a session.
pub(super) struct Line {
    direction: Direction,
    /// The number of the newest packet that has come in.
    pub(super) last_seen: u64,
    /// Body bytes since the keys were changed.
    sent: u64,
    turn: Turn,
    /// Whether it is for us to ratchet.
    token: bool,
    own: Own,
    peer: PublicKey,
}

impl Line {
    pub(super) fn new(direction: Direction, last_seen: u64, turn: Turn, peer: PublicKey) -> Self {
        Self {
            direction,
            last_seen,
            sent: 0,
            turn,
            token: matches!(turn, Turn::Every(_)),
            own: Own::Static,
            peer,
        }
    }

    /// Sends a control packet.
    pub(super) fn control<R: CryptoRng>(
        &mut self,
        channel: u8,
        control: &Control,
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let body = control.encode(&Header {
            last_seen: self.last_seen,
            entropy: fresh_nonce(rng),
            channel,
        });
        self.send(Kind::Control, &body, rng, out)
    }

    /// Sends an event.
    pub(super) fn event<R: CryptoRng>(
        &mut self,
        channel: u8,
        event: Record,
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let packet = event::Packet {
            last_seen: self.last_seen,
            channel,
            event,
        };
        self.send(Kind::Event, &packet.encode(), rng, out)
    }

    fn send<R: CryptoRng>(
        &mut self,
        kind: Kind,
        body: &[u8],
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        self.direction.seal(kind, &[body], out);
        self.sent = self.sent.saturating_add(body.len() as u64);
        self.ratchet_if_due(rng, out)
    }

    /// Whether the peer may ratchet now, and what its keys are, if they can be computed here.
    pub(super) fn peer_ratchets(&self, key: &PublicKey) -> Result<Option<RatchetKeys>, Violation> {
        match &self.own {
            _ if self.token => Err(Violation::Rekey),
            Own::Static => Ok(None),
            Own::Fresh(own) => Ok(Some(RatchetKeys::agreed(&own.agree(key)))),
        }
    }

    /// The peer has ratcheted to this key: it is our turn.
    pub(super) fn take_token<R: CryptoRng>(
        &mut self,
        peer: PublicKey,
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        self.peer = peer;
        self.token = true;
        self.ratchet_if_due(rng, out)
    }

    fn ratchet_if_due<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let due = match self.turn {
            Turn::Return => true,
            Turn::Every(0) => false,
            Turn::Every(bytes) => self.sent >= bytes,
        };
        if due && self.token {
            self.ratchet(rng, out)?;
        }
        Ok(())
    }

    /// Changes the keys of our direction. The token must be ours.
    pub(super) fn ratchet<R: CryptoRng>(
        &mut self,
        rng: &mut R,
        out: &mut Vec<u8>,
    ) -> Result<(), Violation> {
        let (own, public) = fresh_key(rng)?;
        let nonce = fresh_nonce(rng);
        let rekey = Control::Rekey(Rekey::Ratchet {
            key: *public.as_bytes(),
        });
        let body = rekey.encode(&Header {
            last_seen: self.last_seen,
            entropy: nonce,
            channel: 0,
        });
        self.direction.seal(Kind::Control, &[&body], out);
        let keys = RatchetKeys::agreed(&own.agree(&self.peer));
        self.direction.ratchet(&keys, nonce);
        self.own = Own::Fresh(own);
        self.sent = 0;
        self.token = false;
        Ok(())
    }
}
