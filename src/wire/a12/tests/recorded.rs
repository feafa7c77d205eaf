//! Every packet of every recording of the reference programs, opened and sealed again by the packet
//! layer.

use std::collections::BTreeMap;

use identity::PublicKey;
use serde::Deserialize;

use super::pair::*;
use crate::wire::Violation;
use crate::wire::a12::control::{Control, Rekey};
use crate::wire::a12::packet::{Direction, Kind, Opener, Packet, first_nonce, first_tag};
use crate::wire::a12::vectors::{self, Dir, Exchanged, Hex, Side, recordings};
use crate::wire::a12::{RatchetKeys, StageKeys};
use crate::wire::crypto::SecretKey;

/// Both directions of a recorded connection, seen by somebody who knows private keys.
pub(super) struct Walk {
    privates: BTreeMap<[u8; 32], SecretKey>,
    /// The newest public key of each side.
    newest: BTreeMap<bool, [u8; 32]>,
    open: [Opener; 2],
    seal: [Direction; 2],
    first: Option<(StageKeys, Vec<u8>)>,
}

/// A packet, and what it looks like when it is sealed again.
pub(super) struct Walked {
    pub(super) kind: Kind,
    pub(super) body: Vec<u8>,
    again: Vec<u8>,
}

pub(super) const CLIENT: usize = 0;
pub(super) const SERVER: usize = 1;

impl Walk {
    pub(super) fn new(
        secret: &str,
        privates: impl IntoIterator<Item = [u8; 32]>,
        c2s: &[u8],
        s2c: &[u8],
    ) -> Self {
        let keys = initial(secret);
        let mut nonce = [0; 8];
        nonce.copy_from_slice(&c2s[8..16]);
        let privates = privates.into_iter().map(|private| {
            let private = SecretKey::from_bytes(private);
            (*private.public().unwrap().as_bytes(), private)
        });
        let (first, rest) = c2s.split_at(153);
        let mut open = [
            Opener::new(Direction::first(&keys, nonce)),
            Opener::new(Direction::server(&keys, nonce, 0)),
        ];
        open[CLIENT].push(rest);
        open[SERVER].push(s2c);
        Self {
            privates: privates.collect(),
            newest: BTreeMap::new(),
            open,
            seal: [
                Direction::first(&keys, nonce),
                Direction::server(&keys, nonce, 0),
            ],
            first: Some((keys, first.to_vec())),
        }
    }

    pub(super) fn step(&mut self, from: usize) -> Result<Option<Walked>, Violation> {
        let walked = match self.first.take() {
            Some((keys, packet)) => self.first_packet(&keys, &packet)?,
            None => {
                let (kind, body) = match self.open[from].next()? {
                    None => return Ok(None),
                    Some(Packet::Control(body)) => (Kind::Control, body.to_vec()),
                    Some(Packet::Event(body)) => (Kind::Event, body.to_vec()),
                    Some(Packet::Data(data)) => {
                        let length = u16::try_from(data.bytes.len()).unwrap();
                        let mut body = vec![data.channel];
                        body.extend(data.stream.to_le_bytes());
                        body.extend(length.to_le_bytes());
                        body.extend(data.bytes);
                        (data.kind, body)
                    }
                };
                let mut again = Vec::new();
                self.seal[from].seal(kind, &[&body], &mut again);
                Walked { kind, body, again }
            }
        };
        if walked.kind == Kind::Control {
            self.follow(from, walked.body[..].try_into().unwrap());
        }
        Ok(Some(walked))
    }

    fn first_packet(&mut self, keys: &StageKeys, packet: &[u8]) -> Result<Walked, Violation> {
        let packet: [u8; 153] = packet.try_into().unwrap();
        if !bool::from(first_tag(keys, &packet)) {
            return Err(Violation::FirstPacket);
        }
        let nonce = first_nonce(&packet);
        let mut direction = Direction::first(keys, nonce);
        let body = direction.open_first(packet)?;
        self.open[CLIENT].switch(direction);
        let mut again = Vec::new();
        self.seal[CLIENT].seal_first(nonce, &body, &mut again);
        Ok(Walked {
            kind: Kind::Control,
            body: body.to_vec(),
            again,
        })
    }

    /// Changes keys where this packet does.
    fn follow(&mut self, from: usize, body: &[u8; 128]) {
        match Control::parse(body) {
            (header, Control::Hello(hello)) => {
                self.newest.insert(from == SERVER, hello.key);
                if from == SERVER {
                    let keys = self.agree(|shared| StageKeys::agreed(shared, header.entropy));
                    for directions in [CLIENT, SERVER] {
                        let number = self.seal[directions].sequence();
                        let direction = || match directions {
                            CLIENT => Direction::client(&keys, header.entropy, number),
                            _ => Direction::server(&keys, header.entropy, number),
                        };
                        self.seal[directions] = direction();
                        self.open[directions].switch(direction());
                    }
                }
            }
            (header, Control::Rekey(Rekey::Ratchet { key })) => {
                self.newest.insert(from == SERVER, key);
                let keys = self.agree(RatchetKeys::agreed);
                self.seal[from].ratchet(&keys, header.entropy);
                self.open[from].ratchet(&keys, header.entropy);
            }
            _ => {}
        }
    }

    fn agree<T>(&self, derive: impl Fn(&crate::wire::crypto::SharedSecret) -> T) -> T {
        let (one, other) = (self.newest[&false], self.newest[&true]);
        let (private, public) = match self.privates.get(&one) {
            Some(private) => (private, other),
            None => (&self.privates[&other], one),
        };
        derive(&private.agree(&PublicKey::parse(&public).unwrap()))
    }
}

pub(super) fn privates(exchanged: &[Exchanged], sides: &[Side]) -> Vec<[u8; 32]> {
    exchanged
        .iter()
        .filter(|key| sides.contains(&key.owner))
        .filter_map(|key| key.private.as_ref().map(Hex::array))
        .collect()
}

pub(super) fn direction(dir: Dir) -> usize {
    match dir {
        Dir::C2s => CLIENT,
        Dir::S2c => SERVER,
    }
}

#[test]
fn every_recorded_packet_opens_and_is_sealed_to_the_same_bytes() {
    let mut packets = 0;
    for recording in recordings() {
        for side in [Side::Client, Side::Server] {
            let exchanged = &recording.secrets.exchanged;
            let whole = exchanged
                .iter()
                .all(|key| key.owner != side || key.private.is_some());
            if !whole {
                continue;
            }
            let mut walk = Walk::new(
                &recording.secrets.server_preshared,
                privates(exchanged, &[side]),
                &recording.c2s.0,
                &recording.s2c.0,
            );
            for packet in &recording.packets {
                let name = format!("{} {}", recording.name, packet.n);
                let from = direction(packet.dir);
                let walked = match walk.step(from) {
                    Ok(Some(walked)) => walked,
                    refused => {
                        let known = packet.kind == 0
                            || packet.kind > 5
                            || !packet.mac_ok
                            || recording.name == "handshake_wrong_secret";
                        assert!(known && refused.is_err(), "{name}");
                        break;
                    }
                };
                assert_eq!(walked.kind as u8, packet.kind, "{name}");
                assert_eq!(walked.body, packet.body(), "{name}");
                let sent = &recording.stream(packet.dir)[packet.offset..][..packet.size];
                assert_eq!(Hex(walked.again), Hex(sent.to_vec()), "{name}");
                packets += 1;
            }
        }
    }
    assert!(packets > 500, "{packets}");
}

#[derive(Deserialize)]
struct Scenarios {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    secret: String,
    client_private: Hex,
    server_private: Hex,
    other_keypairs: Vec<vectors::KeyPair>,
    packets: Vec<ScenarioPacket>,
}

#[derive(Deserialize)]
struct ScenarioPacket {
    dir: String,
    #[serde(default)]
    wire: Option<String>,
    plaintext: String,
}

#[test]
fn the_published_scenarios_open_and_are_sealed_to_the_same_bytes() {
    let Scenarios { scenarios } = vectors::data("a12-vectors");
    assert_eq!(scenarios.len(), 7);
    let decode = |text: &str| data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    for scenario in scenarios {
        let others = scenario.other_keypairs.iter();
        let privates = others
            .filter_map(|pair| pair.private.as_ref().map(Hex::array))
            .chain([
                scenario.client_private.array(),
                scenario.server_private.array(),
            ]);
        let mut streams = [Vec::new(), Vec::new()];
        let mut expected = Vec::new();
        let mut cut = [false; 2];
        for packet in &scenario.packets {
            let from = usize::from(packet.dir.starts_with("server"));
            // Some large ones have been left out; their direction cannot be followed after that.
            match packet.wire.as_deref().and_then(decode) {
                Some(wire) if !cut[from] => {
                    streams[from].extend_from_slice(&wire);
                    expected.push((from, wire, decode(&packet.plaintext).unwrap()));
                }
                _ => cut[from] = true,
            }
        }
        let mut walk = Walk::new(&scenario.secret, privates, &streams[0], &streams[1]);
        for (from, wire, plaintext) in expected {
            let walked = walk.step(from).unwrap().unwrap();
            assert_eq!(walked.body, plaintext[9..], "{}", scenario.name);
            assert_eq!(Hex(walked.again), Hex(wire), "{}", scenario.name);
        }
    }
}
