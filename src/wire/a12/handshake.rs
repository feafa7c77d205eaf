//! What both ends of a handshake have in common: sections 4.3 and 4.6 of the protocol text.

use identity::PublicKey;
use rand_core::CryptoRng;

use super::Role;
use super::control::{Control, Header, Hello, Mode};
use super::packet::{CONTROL, CONTROL_PACKET, EVENT_PACKET};
use crate::wire::Violation;
use crate::wire::crypto::SecretKey;

/// The peer's next packet as it comes, in a place of fixed size.
pub(super) struct Inbox {
    bytes: [u8; EVENT_PACKET],
    have: usize,
    want: usize,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: [0; EVENT_PACKET],
            have: 0,
            want: CONTROL_PACKET,
        }
    }

    /// A control packet's length was not enough: it is an event.
    pub(super) fn want_event(&mut self) {
        self.want = EVENT_PACKET;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.have == 0
    }

    /// What is missing.
    pub(super) fn room(&self) -> usize {
        self.want - self.have
    }

    /// Takes bytes, at most [`Self::room`]; says whether the packet is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Violation> {
        let place = self.bytes.get_mut(self.have..self.want).unwrap_or_default();
        let place = place.get_mut(..bytes.len()).ok_or(Violation::OutOfTurn)?;
        place.copy_from_slice(bytes);
        self.have += bytes.len();
        Ok(self.have == self.want)
    }

    /// What has come.
    pub(super) fn packet(&self) -> &[u8] {
        self.bytes.get(..self.have).unwrap_or_default()
    }

    /// The complete control packet.
    pub(super) fn control(&self) -> [u8; CONTROL_PACKET] {
        *self.bytes.first_chunk().unwrap_or(&[0; CONTROL_PACKET])
    }
}

/// Reads a control body that must be a HELLO, and checks the role in it against ours.
pub(super) fn hello(
    body: &[u8; CONTROL],
    own: Role,
) -> Result<(Header, Hello, Option<Role>), Violation> {
    match Control::parse(body) {
        (header, Control::Hello(hello)) => {
            let peer = check_role(own, hello.role)?;
            Ok((header, hello, peer))
        }
        (_, other) => Err(Violation::Command(other.number())),
    }
}

/// Whether the two go together; gives the peer's role, if it told one.
fn check_role(own: Role, peer: u8) -> Result<Option<Role>, Violation> {
    let role = match peer {
        1 => Some(Role::Source),
        2 => Some(Role::Sink),
        3 => Some(Role::Probe),
        4 => Some(Role::Directory),
        _ => None,
    };
    match (own, peer) {
        (_, 0) | (Role::Probe, _) => Ok(role),
        (Role::Source, 2..=4) | (Role::Sink, 1 | 3 | 4) | (Role::Directory, 1..=3) => Ok(role),
        _ => Err(Violation::Role(peer)),
    }
}

/// The body of our HELLO.
pub(super) fn hello_body(
    mode: Mode,
    key: &PublicKey,
    role: Role,
    last_seen: u64,
    entropy: [u8; 8],
) -> [u8; CONTROL] {
    let hello = Hello {
        mode,
        key: *key.as_bytes(),
        role: role as u8,
        version: Hello::VERSION,
    };
    Control::Hello(hello).encode(&Header {
        last_seen,
        entropy,
        channel: 0,
    })
}

/// A key pair for this connection only.
pub(super) fn fresh_key<R: CryptoRng>(rng: &mut R) -> Result<(SecretKey, PublicKey), Violation> {
    let secret = SecretKey::generate(rng);
    let public = secret.public().ok_or(Violation::Key)?;
    Ok((secret, public))
}

/// Eight random bytes.
pub(super) fn fresh_nonce<R: CryptoRng>(rng: &mut R) -> [u8; 8] {
    let mut nonce = [0; 8];
    rng.fill_bytes(&mut nonce);
    nonce
}

/// A peer's key as it stands in a packet.
pub(super) fn public_key(bytes: &[u8; 32]) -> Result<PublicKey, Violation> {
    PublicKey::parse(bytes).map_err(|_| Violation::Key)
}
