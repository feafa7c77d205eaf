//! The part of the handshake that uses a static private key: whole commands in, answers out, and no
//! raw X25519 result.

use std::fmt;
use std::time::Instant;

use identity::PublicKey;
use rand_core::CryptoRng;

use super::handshake::{
    HELLO_NONCE, Hello, INITIATE_NONCE, Initiate, VOUCH_NONCE, Vouched, WELCOME_NONCE, Welcome,
    nonce, public_key, sized,
};
use super::metadata::Metadata;
use crate::wire::cookie::{COOKIE, Content, Jar};
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;
use crate::wire::{Violation, Whole};

pub use super::handshake::COOKIE_NONCE;

/// One of the host's keys, with its public half (S).
pub struct Host {
    secret: SecretKey,
    public: PublicKey,
}

impl Host {
    /// Takes a key; `None` for the one in 2^250 whose public half is of low order.
    pub fn new(secret: SecretKey) -> Option<Self> {
        let public = secret.public()?;
        Some(Self { secret, public })
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.public).finish()
    }
}

/// Server: WELCOME for a HELLO, whose box has to open with one of the host's keys: the current one,
/// and during a rotation the previous one. What is in the box is not looked at, as in libzmq.
pub fn welcome<R: CryptoRng>(
    hello: &Whole<200>,
    hosts: &[Host],
    jar: &mut Jar,
    now: Instant,
    rng: &mut R,
) -> Result<Whole<168>, Violation> {
    let Hello {
        client,
        number,
        boxed,
    } = Hello::parse(hello)?;
    let hello_nonce = nonce(HELLO_NONCE, &number);
    let key = hosts
        .iter()
        .map(|host| BoxKey::between(&host.secret, &client))
        .find(|key| key.open(&hello_nonce, &boxed).is_ok())
        .ok_or(Violation::Forged)?;

    let server = SecretKey::generate(rng);
    let public = server.public().ok_or(Violation::Key)?;
    let cookie = jar.seal(now, &Content { client, server }, fresh(rng), rng);
    let mut text = [0; 128];
    for (to, from) in text.iter_mut().zip(public.as_bytes().iter().chain(&cookie)) {
        *to = *from;
    }
    let long = fresh(rng);
    let mut boxed = Vec::with_capacity(144);
    key.seal(&nonce(WELCOME_NONCE, &long), &text, &mut boxed);
    Ok(Welcome {
        nonce: long,
        boxed: sized(&boxed),
    }
    .write())
}

/// A client that has proved its key.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The key (C).
    pub key: PublicKey,
    /// The host's key that it was proved to (S).
    pub host: PublicKey,
    /// The key of the session's boxes (C′ and S′).
    pub session: BoxKey,
    /// What the client tells of itself.
    pub metadata: Metadata,
}

/// Server: what an INITIATE proves. Its cookie must be ours and unused, and the client must vouch
/// for its short-term key (C′) and for one of the host's keys (S); libzmq does not look at the
/// latter. Only then is the cookie used up.
pub fn initiate<R: CryptoRng>(
    body: &[u8],
    hosts: &[Host],
    jar: &mut Jar,
    now: Instant,
    rng: &mut R,
) -> Result<Proved, Violation> {
    let initiate = Initiate::parse(body)?;
    let Content {
        client: short,
        server,
    } = jar.open(now, initiate.cookie, rng)?;
    let session = BoxKey::between(&server, &short);
    let text = session
        .open(&nonce(INITIATE_NONCE, &initiate.number), initiate.boxed)
        .map_err(|_| Violation::Forged)?;
    let vouched = Vouched::parse(&text).ok_or(Violation::Forged)?;
    let key = public_key(vouched.client)?;
    let vouch = BoxKey::between(&server, &key)
        .open(&nonce(VOUCH_NONCE, vouched.nonce), vouched.vouch)
        .map_err(|_| Violation::Forged)?;
    let (for_client, for_server) = vouch.split_first_chunk::<32>().ok_or(Violation::Forged)?;
    let for_client = public_key(for_client).map_err(|_| Violation::Vouch)?;
    let for_server = PublicKey::parse(for_server).map_err(|_| Violation::Vouch)?;
    if for_client != short || !hosts.iter().any(|host| host.public == for_server) {
        return Err(Violation::Vouch);
    }
    let metadata = Metadata::parse(vouched.metadata)?;
    jar.spend(now, &short)?;
    Ok(Proved {
        key,
        host: for_server,
        session,
        metadata,
    })
}

/// Client: what stands in INITIATE for the client's short-term key (C′), towards the server's (S′),
/// whose long-term key is S: the nonce, which must not come again for these keys, and the box.
pub fn vouch(
    own: &SecretKey,
    client: &PublicKey,
    server_short: &PublicKey,
    server: &PublicKey,
    random: [u8; 16],
) -> Whole<96> {
    let mut text = [0; 64];
    let keys = client.as_bytes().iter().chain(server.as_bytes());
    for (to, from) in text.iter_mut().zip(keys) {
        *to = *from;
    }
    let mut vouch = Vec::with_capacity(96);
    vouch.extend_from_slice(&random);
    BoxKey::between(own, server_short).seal(&nonce(VOUCH_NONCE, &random), &text, &mut vouch);
    Whole(sized(&vouch))
}

fn fresh<R: CryptoRng>(rng: &mut R) -> [u8; 16] {
    let mut bytes = [0; 16];
    rng.fill_bytes(&mut bytes);
    bytes
}

const _: () = assert!(32 + COOKIE == 128);

#[cfg(test)]
mod tests;
