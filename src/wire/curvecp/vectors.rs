//! The recordings of the reference programs, for tests. `tests/vectors/README.md` says what the
//! fields mean.
#![allow(dead_code, reason = "each test looks at what it is about")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::Path;

use identity::PublicKey;
use rand_core::{TryCryptoRng, TryRng};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::packet::Extension;
use crate::wire::crypto::SecretKey;

/// All recorded connections.
pub(crate) const CAPTURES: [&str; 7] = [
    "01-anon-echo",
    "02-keyed-echo",
    "03-download-20000",
    "04-upload-20000",
    "05-hello-retry",
    "07-idle-ping",
    "09-loss-echo",
];

/// One file of the set.
pub(crate) fn data<T: DeserializeOwned>(name: &str) -> T {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/curvecp");
    let path = folder.join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All recorded connections, read.
pub(crate) fn captures() -> impl Iterator<Item = Capture> {
    CAPTURES.into_iter().map(data)
}

/// Bytes in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Hex(pub(crate) Vec<u8>);

impl Hex {
    pub(crate) fn array<const N: usize>(&self) -> [u8; N] {
        self.0.as_slice().try_into().unwrap()
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::parse(&self.0).unwrap()
    }

    pub(crate) fn secret(&self) -> SecretKey {
        SecretKey::from_bytes(self.array())
    }

    pub(crate) fn extension(&self) -> Extension {
        Extension(self.array())
    }
}

impl TryFrom<String> for Hex {
    type Error = data_encoding::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).map(Self)
    }
}

/// One connection.
#[derive(Debug, Deserialize)]
pub(crate) struct Capture {
    pub(crate) server_name: String,
    pub(crate) server_extension: Hex,
    pub(crate) server_longterm_sk: Hex,
    pub(crate) server_longterm_pk: Hex,
    pub(crate) client_longterm_sk: Hex,
    pub(crate) client_longterm_pk: Hex,
    pub(crate) client_shortterm_sk: Hex,
    pub(crate) client_shortterm_pk: Hex,
    pub(crate) client_initial_nonce_before_increment: u64,
    pub(crate) packets: Vec<Packet>,
}

impl Capture {
    pub(crate) fn of(&self, kind: &str) -> impl Iterator<Item = &Packet> {
        self.packets
            .iter()
            .filter(move |packet| packet.kind == kind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dir {
    C2s,
    S2c,
}

/// One datagram.
#[derive(Debug, Deserialize)]
pub(crate) struct Packet {
    pub(crate) t: f64,
    pub(crate) dir: Dir,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) hex: Hex,
    pub(crate) nonce_u64: Option<u64>,
    #[serde(default)]
    pub(crate) box_plaintext: Hex,
    #[serde(default)]
    pub(crate) message_hex: Hex,
    #[serde(default)]
    pub(crate) dropped_by_network: bool,
    // Cookie.
    pub(crate) server_shortterm_pk: Option<Hex>,
    pub(crate) server_shortterm_sk: Option<Hex>,
    pub(crate) cookie: Option<Hex>,
    pub(crate) minute_key: Option<Hex>,
}

impl Packet {
    /// The message in it; empty if it carries none.
    pub(crate) fn message(&self) -> Vec<u8> {
        self.message_hex.0.clone()
    }
}

/// Random bytes that are known beforehand.
pub(crate) struct Script(VecDeque<u8>);

impl Script {
    pub(crate) fn new<'a>(parts: impl IntoIterator<Item = &'a Hex>) -> Self {
        Self(parts.into_iter().flat_map(|part| part.0.clone()).collect())
    }
}

impl TryRng for Script {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, to: &mut [u8]) -> Result<(), Infallible> {
        to.fill_with(|| self.0.pop_front().expect("no more random bytes"));
        Ok(())
    }
}

impl TryCryptoRng for Script {}
