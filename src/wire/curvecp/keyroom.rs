//! The part of the handshake that uses long-term private keys: whole packets in, answers out, and no
//! raw X25519 result.

use std::fmt;
use std::time::Instant;

use identity::PublicKey;
use rand_core::CryptoRng;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::name::ServerName;
use super::packet::{Cookie, Extension, Hello, InitiateHead};
use crate::wire::cookie::{Content, Jar};
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;
use crate::wire::{Field, Violation, Whole};

/// What the nonces of cookies begin with, for the [`Jar`].
pub const COOKIES: [u8; 8] = *b"minute-k";

const VOUCH: &[u8; 8] = b"CurveCPV";

/// Server: answers a Hello with a Cookie, under the one of our long-term keys (the current one, and
/// during a rotation the previous one) that the client knows. Nothing is remembered.
pub fn cookie<R: CryptoRng>(
    hello: &Whole<{ Hello::SIZE }>,
    extension: Extension,
    hosts: &[&SecretKey],
    jar: &mut Jar,
    now: Instant,
    rng: &mut R,
) -> Result<Whole<{ Cookie::SIZE }>, Violation> {
    let mut nonce = [0; 16];
    rng.fill_bytes(&mut nonce);
    cookie_with(hello, extension, nonce, hosts, jar, now, rng)
}

/// The same under a nonce from elsewhere, which must not come again.
pub fn cookie_with<R: CryptoRng>(
    hello: &Whole<{ Hello::SIZE }>,
    extension: Extension,
    nonce: [u8; 16],
    hosts: &[&SecretKey],
    jar: &mut Jar,
    now: Instant,
    rng: &mut R,
) -> Result<Whole<{ Cookie::SIZE }>, Violation> {
    let hello = Hello::parse(&hello.0)
        .filter(|hello| hello.to == extension)
        .ok_or(Violation::Malformed(Field::Hello))?;
    let number = numbered(Hello::PREFIX, hello.nonce);
    let key = hosts
        .iter()
        .map(|host| BoxKey::between(host, &hello.client))
        .find(|key| key.open(&number, &hello.boxed).is_ok())
        .ok_or(Violation::Forged)?;
    let server = SecretKey::generate(rng);
    let public = server.public().ok_or(Violation::Key)?;
    let content = Content {
        client: hello.client,
        server,
    };
    let mut text = Zeroizing::new(public.as_bytes().to_vec());
    text.extend_from_slice(&jar.seal(now, &content, nonce, rng));
    let mut boxed = Vec::new();
    key.seal(&salted(Cookie::PREFIX, &nonce), &text, &mut boxed);
    let cookie = Cookie {
        to: hello.from,
        from: extension,
        nonce,
        boxed: boxed
            .try_into()
            .map_err(|_| Violation::Malformed(Field::Welcome))?,
    };
    Ok(Whole(cookie.encode()))
}

/// A client that has proved its long-term key, and that it has our cookie.
pub struct Proved {
    /// Its long-term key (C).
    pub key: PublicKey,
    /// Which of our long-term keys it knows, by its place among those that were tried.
    pub host: usize,
    /// Its short-term key (C′).
    pub client: PublicKey,
    /// The key of the connection's boxes (C′ and S′).
    pub session: BoxKey,
    /// The number in the nonce of its Initiate; later ones are greater.
    pub nonce: u64,
    /// Its first message.
    pub message: Vec<u8>,
}

/// Server: takes an Initiate of a client that has no connection. All of it is looked at before the
/// cookie is used up; then none of the same client's is taken again while its cookie could live.
pub fn initiate<R: CryptoRng>(
    packet: &[u8],
    hosts: &[&SecretKey],
    name: &ServerName,
    jar: &mut Jar,
    now: Instant,
    rng: &mut R,
) -> Result<Proved, Violation> {
    let malformed = Violation::Malformed(Field::Initiate);
    let head = InitiateHead::parse(packet).ok_or(malformed)?;
    let boxed = packet.get(InitiateHead::SIZE..).ok_or(malformed)?;
    let content = jar.open(now, &head.cookie, rng)?;
    if content.client != head.client {
        return Err(Violation::Forged);
    }
    let session = BoxKey::between(&content.server, &head.client);
    let opened = session
        .open(&numbered(InitiateHead::PREFIX, head.nonce), boxed)
        .map_err(|_| Violation::Forged)?;
    let inside = Inside::parse(&opened).ok_or(malformed)?;
    if inside.name != name.as_bytes() {
        return Err(Violation::Malformed(Field::Name));
    }
    let key = PublicKey::parse(inside.key).map_err(|_| Violation::Key)?;
    let (nonce, vouch) = inside.vouch.split_first_chunk().ok_or(malformed)?;
    let nonce = salted(VOUCH, nonce);
    let (host, vouched) = hosts
        .iter()
        .map(|host| BoxKey::between(host, &key).open(&nonce, vouch).ok())
        .enumerate()
        .find_map(|(host, vouched)| Some((host, vouched?)))
        .ok_or(Violation::Forged)?;
    if !bool::from(vouched.ct_eq(head.client.as_bytes().as_slice())) {
        return Err(Violation::Vouch);
    }
    jar.spend(now, &head.client)?;
    Ok(Proved {
        key,
        host,
        client: head.client,
        session,
        nonce: head.nonce,
        message: inside.message.to_vec(),
    })
}

/// Client: vouches that our short-term key (C′) is ours: a nonce, and in a box from C to S that key.
/// The nonce must not come again: 16 random bytes do.
pub fn vouch(
    own: &SecretKey,
    client: &PublicKey,
    server: &PublicKey,
    nonce: [u8; 16],
) -> Whole<64> {
    let mut whole = nonce.to_vec();
    BoxKey::between(own, server).seal(&salted(VOUCH, &nonce), client.as_bytes(), &mut whole);
    let mut vouch = [0; 64];
    for (to, from) in vouch.iter_mut().zip(whole) {
        *to = from;
    }
    Whole(vouch)
}

/// What is in the box of an Initiate.
pub(super) struct Inside<'a> {
    pub(super) key: &'a [u8; 32],
    pub(super) vouch: &'a [u8; 64],
    pub(super) name: &'a [u8; 256],
    pub(super) message: &'a [u8],
}

impl<'a> Inside<'a> {
    pub(super) fn parse(opened: &'a [u8]) -> Option<Self> {
        let (key, rest) = opened.split_first_chunk()?;
        let (vouch, rest) = rest.split_first_chunk()?;
        let (name, message) = rest.split_first_chunk()?;
        Some(Self {
            key,
            vouch,
            name,
            message,
        })
    }
}

/// A nonce of a prefix and a number.
pub(super) fn numbered(prefix: &[u8; 16], number: u64) -> [u8; 24] {
    joined(prefix.iter().chain(&number.to_le_bytes()))
}

/// A nonce of a prefix and random bytes.
pub(super) fn salted(prefix: &[u8; 8], random: &[u8; 16]) -> [u8; 24] {
    joined(prefix.iter().chain(random))
}

fn joined<'a>(parts: impl Iterator<Item = &'a u8>) -> [u8; 24] {
    let mut nonce = [0; 24];
    for (to, from) in nonce.iter_mut().zip(parts) {
        *to = *from;
    }
    nonce
}

impl fmt::Debug for Proved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proved")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
