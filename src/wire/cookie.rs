//! Cookies: what a server would have to remember of a client between the two halves of a handshake,
//! sealed and given to the client to carry.
//!
//! A peer that has proved nothing costs no state. The key is changed each minute and the previous one
//! stays good, so a cookie lives for one minute to two; what has been used is remembered for that
//! long, since a recorded handshake would give the same session keys again.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use identity::PublicKey;
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use super::Violation;
use super::crypto::SecretKey;
use super::nacl::BoxKey;

/// How many bytes a cookie has: a nonce of 16, then a box of both short-term keys.
pub const COOKIE: usize = 96;

/// How long one key seals.
const MINUTE: Duration = Duration::from_secs(60);

/// As many used cookies are remembered; while there are more, nobody else gets in.
const MOST_USED: usize = 1 << 16;

/// What is in a cookie.
#[derive(Debug)]
pub struct Content {
    /// The client's short-term key (C′).
    pub client: PublicKey,
    /// Our own short-term key (s′) for this client.
    pub server: SecretKey,
}

/// Seals cookies, opens them, and knows which have been used.
pub struct Jar {
    /// The first 8 bytes of the nonces, by protocol.
    prefix: [u8; 8],
    current: BoxKey,
    previous: Option<BoxKey>,
    since: Instant,
    /// The clients' short-term keys of used cookies, and when they can be forgotten.
    used: HashMap<[u8; 32], Instant>,
}

impl Jar {
    /// An empty jar with a fresh key.
    pub fn new<R: CryptoRng>(prefix: [u8; 8], now: Instant, rng: &mut R) -> Self {
        Self {
            prefix,
            current: fresh(rng),
            previous: None,
            since: now,
            used: HashMap::new(),
        }
    }

    /// Seals a cookie under this nonce, which must not come again while the key lives: 16 random
    /// bytes do.
    pub fn seal<R: CryptoRng>(
        &mut self,
        now: Instant,
        content: &Content,
        nonce: [u8; 16],
        rng: &mut R,
    ) -> [u8; COOKIE] {
        self.rotate(now, rng);
        let mut text = Zeroizing::new([0; 64]);
        let server = content.server.reveal();
        let keys = content.client.as_bytes().iter().chain(server.iter());
        for (to, from) in text.iter_mut().zip(keys) {
            *to = *from;
        }
        let mut boxed = Vec::with_capacity(COOKIE);
        boxed.extend_from_slice(&nonce);
        self.current
            .seal(&self.nonce(&nonce), text.as_ref(), &mut boxed);
        let mut cookie = [0; COOKIE];
        for (to, from) in cookie.iter_mut().zip(boxed) {
            *to = from;
        }
        cookie
    }

    /// Opens a cookie of ours that has not been used. Nothing is used up by it.
    pub fn open<R: CryptoRng>(
        &mut self,
        now: Instant,
        cookie: &[u8; COOKIE],
        rng: &mut R,
    ) -> Result<Content, Violation> {
        self.rotate(now, rng);
        let (nonce, boxed) = cookie.split_first_chunk::<16>().ok_or(Violation::Forged)?;
        let nonce = self.nonce(nonce);
        let opened = [Some(&self.current), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .find_map(|key| key.open(&nonce, boxed).ok())
            .ok_or(Violation::Forged)?;
        let (client, server) = opened.split_first_chunk::<32>().ok_or(Violation::Forged)?;
        let server = Zeroizing::new(<[u8; 32]>::try_from(server).map_err(|_| Violation::Forged)?);
        if self.used.contains_key(client) {
            return Err(Violation::Replayed);
        }
        Ok(Content {
            client: PublicKey::parse(client).map_err(|_| Violation::Key)?,
            server: SecretKey::from_bytes(*server),
        })
    }

    /// The handshake that this key was used in is proved: it is not taken again.
    pub fn spend(&mut self, now: Instant, client: &PublicKey) -> Result<(), Violation> {
        if self.used.len() >= MOST_USED {
            self.used.retain(|_, until| *until > now);
        }
        if self.used.len() >= MOST_USED {
            return Err(Violation::Replayed);
        }
        match self.used.insert(*client.as_bytes(), now + 2 * MINUTE) {
            Some(until) if until > now => Err(Violation::Replayed),
            _ => Ok(()),
        }
    }

    /// Changes the key if its minute is over.
    fn rotate<R: CryptoRng>(&mut self, now: Instant, rng: &mut R) {
        let age = now.saturating_duration_since(self.since);
        if age < MINUTE {
            return;
        }
        let last = std::mem::replace(&mut self.current, fresh(rng));
        // Nobody has come for so long that the last key's cookies are too old, too.
        self.previous = (age < 2 * MINUTE).then_some(last);
        // Minutes are counted on, however late somebody comes: no cookie lives longer for it.
        self.since += Duration::from_secs(age.as_secs() / 60 * 60);
        self.used.retain(|_, until| *until > now);
    }

    fn nonce(&self, nonce: &[u8; 16]) -> [u8; 24] {
        let mut whole = [0; 24];
        for (to, from) in whole.iter_mut().zip(self.prefix.iter().chain(nonce)) {
            *to = *from;
        }
        whole
    }
}

fn fresh<R: CryptoRng>(rng: &mut R) -> BoxKey {
    let mut key = Zeroizing::new([0; 32]);
    rng.fill_bytes(key.as_mut());
    BoxKey::secret(*key)
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use rand_core::SeedableRng;

    use super::*;

    const PREFIX: [u8; 8] = *b"COOKIE--";

    fn content(rng: &mut ChaCha20Rng) -> Content {
        Content {
            client: SecretKey::generate(rng).public().unwrap(),
            server: SecretKey::generate(rng),
        }
    }

    fn setup() -> (Jar, Content, Instant, ChaCha20Rng) {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let now = Instant::now();
        let jar = Jar::new(PREFIX, now, &mut rng);
        let content = content(&mut rng);
        (jar, content, now, rng)
    }

    #[test]
    fn a_cookie_gives_back_what_was_put_in() {
        let (mut jar, content, now, mut rng) = setup();
        let cookie = jar.seal(now, &content, [1; 16], &mut rng);
        let back = jar.open(now, &cookie, &mut rng).unwrap();
        assert_eq!(back.client, content.client);
        assert_eq!(*back.server.reveal(), *content.server.reveal());

        for at in 0..COOKIE {
            let mut changed = cookie;
            changed[at] ^= 1;
            assert_eq!(
                jar.open(now, &changed, &mut rng).unwrap_err(),
                Violation::Forged
            );
        }
    }

    #[test]
    fn a_cookie_is_good_for_a_minute_at_least_and_two_at_most() {
        let (mut jar, content, start, mut rng) = setup();
        let at = |seconds| start + Duration::from_secs(seconds);
        let early = jar.seal(at(0), &content, [1; 16], &mut rng);
        let late = jar.seal(at(59), &content, [2; 16], &mut rng);
        for seconds in [60, 90, 119] {
            assert!(jar.open(at(seconds), &early, &mut rng).is_ok());
            assert!(jar.open(at(seconds), &late, &mut rng).is_ok());
        }
        assert!(jar.open(at(120), &early, &mut rng).is_err());
        assert!(jar.open(at(120), &late, &mut rng).is_err());
    }

    #[test]
    fn a_cookie_lives_no_longer_where_few_come() {
        let (mut jar, content, start, mut rng) = setup();
        let at = |seconds| start + Duration::from_secs(seconds);
        let cookie = jar.seal(at(0), &content, [1; 16], &mut rng);
        assert!(jar.open(at(119), &cookie, &mut rng).is_ok());
        assert!(jar.open(at(120), &cookie, &mut rng).is_err());
    }

    #[test]
    fn after_a_long_silence_no_old_cookie_is_good() {
        let (mut jar, content, start, mut rng) = setup();
        let cookie = jar.seal(start, &content, [1; 16], &mut rng);
        let later = start + Duration::from_secs(3600);
        assert!(jar.open(later, &cookie, &mut rng).is_err());
    }

    #[test]
    fn a_used_cookie_is_refused_as_long_as_it_lives() {
        let (mut jar, content, start, mut rng) = setup();
        let cookie = jar.seal(start, &content, [1; 16], &mut rng);
        assert!(jar.open(start, &cookie, &mut rng).is_ok());
        assert_eq!(jar.spend(start, &content.client), Ok(()));
        for seconds in [0, 59, 61, 119] {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(
                jar.open(now, &cookie, &mut rng).unwrap_err(),
                Violation::Replayed
            );
            assert_eq!(jar.spend(now, &content.client), Err(Violation::Replayed));
        }
    }

    #[test]
    fn i7_used_cookies_are_forgotten_and_never_too_many() {
        let (mut jar, _, start, mut rng) = setup();
        for _ in 0..100 {
            let key = SecretKey::generate(&mut rng).public().unwrap();
            jar.spend(start, &key).unwrap();
        }
        assert_eq!(jar.used.len(), 100);
        jar.rotate(start + Duration::from_secs(121), &mut rng);
        assert!(jar.used.is_empty());

        for number in 0..MOST_USED as u64 {
            let mut bytes = [9; 32];
            bytes[..8].copy_from_slice(&number.to_le_bytes());
            jar.used.insert(bytes, start + MINUTE);
        }
        let key = SecretKey::generate(&mut rng).public().unwrap();
        assert_eq!(jar.spend(start, &key), Err(Violation::Replayed));
        assert_eq!(jar.spend(start + MINUTE, &key), Ok(()));
    }
}
