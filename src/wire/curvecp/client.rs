//! The client's handshake: Hello until there is a Cookie, and then a tunnel to the server.

use core::net::SocketAddr;
use std::fmt;
use std::time::{Duration, Instant};

use identity::PublicKey;
use rand_core::CryptoRng;

use super::keyroom::{numbered, salted};
use super::name::ServerName;
use super::packet::{Cookie, Extension, Hello};
use super::tunnel::{Introducing, Tunnel, first_number};
use super::{Answer, Ask};
use crate::wire::Refusal;
use crate::wire::cookie::COOKIE;
use crate::wire::crypto::SecretKey;
use crate::wire::nacl::BoxKey;

/// As many Hellos are sent; after the first is waited for a second or two, then half as long again
/// after each.
const HELLOS: u32 = 8;

/// Whom a client wants.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// Where the server may be; tried in random order.
    pub addresses: Vec<SocketAddr>,
    /// Its long-term key (S).
    pub server: PublicKey,
    /// The name by which it goes.
    pub name: ServerName,
    /// Its extension.
    pub extension: Extension,
    /// Our own.
    pub own: Extension,
}

/// What to do next.
#[derive(Debug)]
pub enum ClientOutput {
    /// A packet was appended: send it there.
    Transmit(SocketAddr),
    /// Hand this to the key room.
    Ask(Ask),
    /// The server has answered. Its first message makes sure that it lets us in.
    Connected(Box<Tunnel>),
    /// It is over.
    Failed(ClientError),
    /// Nothing more for now; come back then at the latest.
    Idle(Option<Instant>),
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Nobody has answered, at any of the addresses.
    #[error("no answer: is the server there, and are its key, extension, address and port right?")]
    NoAnswer,
    /// Our own key may not be used.
    #[error("the key room refuses: {0}")]
    Refused(Refusal),
}

/// A client that has no connection yet.
///
/// After every call of another method, call [`poll`](Self::poll) until it says
/// [`ClientOutput::Idle`].
pub struct Client<R> {
    config: ClientConfig,
    rng: R,
    /// Our short-term key (c′, C′).
    short: SecretKey,
    client: PublicKey,
    /// Of the boxes between C′ and S.
    key: BoxKey,
    /// The number of the last packet sent.
    sent: u64,
    state: State,
}

enum State {
    Greeting {
        /// How many Hellos have been sent, the last of them there.
        hellos: u32,
        to: Option<SocketAddr>,
        next: Instant,
    },
    /// A cookie has come, and what vouches for us is still to be asked for.
    Welcomed(Welcome),
    Vouching(Welcome),
    Connected(Box<Tunnel>),
    Failed(ClientError),
    Over,
}

/// What a server has said.
struct Welcome {
    from: SocketAddr,
    server: PublicKey,
    cookie: [u8; COOKIE],
}

impl<R: CryptoRng> Client<R> {
    /// Starts at once.
    pub fn new(mut config: ClientConfig, now: Instant, mut rng: R) -> Self {
        for at in (1..config.addresses.len()).rev() {
            let other = below(&mut rng, at as u64 + 1) as usize;
            config.addresses.swap(at, other);
        }
        let (short, client) = loop {
            let short = SecretKey::generate(&mut rng);
            if let Some(client) = short.public() {
                break (short, client);
            }
        };
        Self {
            key: BoxKey::between(&short, &config.server),
            sent: first_number(&mut rng),
            config,
            rng,
            short,
            client,
            state: State::Greeting {
                hellos: 0,
                to: None,
                next: now,
            },
        }
    }

    /// Takes a datagram; only the Cookie of the server that was asked last means anything.
    pub fn receive(&mut self, from: SocketAddr, datagram: &[u8]) {
        if let State::Greeting { to: Some(to), .. } = self.state
            && to == from
            && let Some(welcome) = self.welcome(from, datagram)
        {
            self.state = State::Welcomed(welcome);
        }
    }

    fn welcome(&self, from: SocketAddr, datagram: &[u8]) -> Option<Welcome> {
        let cookie = Cookie::parse(datagram.try_into().ok()?)?;
        if cookie.to != self.config.own || cookie.from != self.config.extension {
            return None;
        }
        let nonce = salted(Cookie::PREFIX, &cookie.nonce);
        let opened = self.key.open(&nonce, &cookie.boxed).ok()?;
        let (server, cookie) = opened.split_first_chunk::<32>()?;
        Some(Welcome {
            from,
            server: PublicKey::parse(server).ok()?,
            cookie: cookie.try_into().ok()?,
        })
    }

    /// Takes the answer to the question.
    pub fn answer(&mut self, answer: Answer) {
        let State::Vouching(welcome) = &self.state else {
            return;
        };
        self.state = match answer {
            Answer::Vouch { key, vouch } => {
                let session = BoxKey::between(&self.short, &welcome.server);
                State::Connected(Box::new(Tunnel::client(Introducing {
                    to: welcome.from,
                    own: self.config.own,
                    peer: self.config.extension,
                    sent: self.sent,
                    client: self.client,
                    session: &session,
                    cookie: welcome.cookie,
                    key,
                    vouch: &vouch,
                    name: &self.config.name,
                })))
            }
            Answer::Refused(refusal) => State::Failed(ClientError::Refused(refusal)),
            _ => State::Failed(ClientError::Refused(Refusal::NotAccepted)),
        };
    }

    /// Takes the next output; a packet to send is appended to `out`.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<u8>) -> ClientOutput {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Greeting { next, hellos, to } if now < next => {
                self.state = State::Greeting { next, hellos, to };
                ClientOutput::Idle(Some(next))
            }
            State::Greeting { hellos, .. } => {
                let addresses = &self.config.addresses;
                let to = addresses.get(hellos as usize % addresses.len().max(1));
                let Some(&to) = to.filter(|_| hellos < HELLOS) else {
                    return ClientOutput::Failed(ClientError::NoAnswer);
                };
                out.extend_from_slice(&self.hello());
                let wait = (1.5_f64.powi(hellos as i32) * 1e9) as u64;
                let more = below(&mut self.rng, wait);
                self.state = State::Greeting {
                    hellos: hellos + 1,
                    to: Some(to),
                    next: now + Duration::from_nanos(wait + more),
                };
                ClientOutput::Transmit(to)
            }
            State::Welcomed(welcome) => {
                self.state = State::Vouching(welcome);
                ClientOutput::Ask(Ask::Vouch {
                    client: self.client,
                    server: self.config.server,
                })
            }
            State::Connected(tunnel) => ClientOutput::Connected(tunnel),
            State::Failed(error) => ClientOutput::Failed(error),
            state @ (State::Vouching(_) | State::Over) => {
                self.state = state;
                ClientOutput::Idle(None)
            }
        }
    }

    fn hello(&mut self) -> [u8; Hello::SIZE] {
        self.sent += 1;
        let nonce = numbered(Hello::PREFIX, self.sent);
        let mut boxed = Vec::new();
        self.key.seal(&nonce, &[0; 64], &mut boxed);
        let hello = Hello {
            to: self.config.extension,
            from: self.config.own,
            client: self.client,
            nonce: self.sent,
            boxed: boxed.try_into().unwrap_or([0; 80]),
        };
        hello.encode()
    }
}

/// A random number below a limit, which is small against 2^64.
fn below<R: CryptoRng>(rng: &mut R, limit: u64) -> u64 {
    rng.next_u64() % limit.max(1)
}

impl<R> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
