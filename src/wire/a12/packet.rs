//! Packets: tag, encrypted header, body (section 3 of the protocol text).
//!
//! ```text
//! tag 16 │ sequence 8 │ type 1 │ body          the initiator's first: tag 8 │ nonce 8 │ …
//!        └────── encrypted, then MACed ──────┘
//! ```
//!
//! A tag covers all that was sent in its direction since the last change of keys. Nothing that
//! is wrong here can be got over: after an error the direction is not used again.

use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroize;

use super::cipher::Cipher;
use super::{RatchetKeys, StageKeys};
use crate::wire::{Error, Field, Violation};

/// What a packet carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Control = 1,
    Event = 2,
    Audio = 3,
    Video = 4,
    Binary = 5,
}

impl Kind {
    fn parse(byte: u8) -> Result<Self, Violation> {
        Ok(match byte {
            1 => Self::Control,
            2 => Self::Event,
            3 => Self::Audio,
            4 => Self::Video,
            5 => Self::Binary,
            _ => return Err(Violation::PacketType(byte)),
        })
    }

    /// How much must be there before the packet's length is known; `Err` is that length.
    fn length(self) -> Result<usize, usize> {
        match self {
            Self::Control => Ok(CONTROL_PACKET),
            Self::Event => Ok(EVENT_PACKET),
            Self::Audio | Self::Video | Self::Binary => Err(HEADER + DATA),
        }
    }
}

/// What both ends of one direction keep: a keystream, a running MAC, and the number of the next
/// packet, which outlives the keys.
pub(super) struct Direction {
    cipher: Cipher,
    mac: blake3::Hasher,
    sequence: u64,
}

impl Direction {
    fn new(cipher: &[u8; 32], mac: &[u8; 32], nonce: [u8; 8], sequence: u64) -> Self {
        Self {
            cipher: Cipher::new(cipher, nonce),
            mac: blake3::Hasher::new_keyed(mac),
            sequence,
        }
    }

    /// From the initiator to the listener.
    pub(super) fn client(keys: &StageKeys, nonce: [u8; 8], sequence: u64) -> Self {
        Self::new(&keys.client, &keys.mac, nonce, sequence)
    }

    /// From the listener to the initiator.
    pub(super) fn server(keys: &StageKeys, nonce: [u8; 8], sequence: u64) -> Self {
        Self::new(&keys.server, &keys.mac, nonce, sequence)
    }

    /// The initiator's very first, whose MAC also covers the nonce.
    pub(super) fn first(keys: &StageKeys, nonce: [u8; 8]) -> Self {
        let mut this = Self::client(keys, nonce, 0);
        this.mac.update(&nonce);
        this
    }

    /// Goes on under other keys.
    pub(super) fn ratchet(&mut self, keys: &RatchetKeys, nonce: [u8; 8]) {
        *self = Self::new(&keys.cipher, &keys.mac, nonce, self.sequence);
    }

    /// The number of the next packet.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The number of the newest packet; 0 if there was none.
    pub(super) fn last(&self) -> u64 {
        self.sequence.saturating_sub(1)
    }

    /// Appends one packet, its body given in parts.
    pub(super) fn seal(&mut self, kind: Kind, body: &[&[u8]], out: &mut Vec<u8>) {
        let begin = self.seal_after([0; TAG], kind as u8, body, out);
        let tag = self.tag();
        if let Some(place) = out.get_mut(begin..).and_then(<[u8]>::first_chunk_mut) {
            *place = tag;
        }
    }

    /// Appends the initiator's first packet.
    pub(super) fn seal_first(&mut self, nonce: [u8; 8], body: &[u8; CONTROL], out: &mut Vec<u8>) {
        let mut front = [0; TAG];
        front[FIRST_TAG..].copy_from_slice(&nonce);
        let begin = self.seal_after(front, Kind::Control as u8, &[body], out);
        let [a, b, c, d, e, f, g, h, ..] = self.tag();
        if let Some(place) = out.get_mut(begin..).and_then(<[u8]>::first_chunk_mut) {
            *place = [a, b, c, d, e, f, g, h];
        }
    }

    /// A packet of any type.
    #[cfg(test)]
    pub(super) fn seal_raw(&mut self, kind: u8, body: &[u8], out: &mut Vec<u8>) {
        self.seal_after([0; TAG], kind, &[body], out);
        out[..TAG].copy_from_slice(&self.tag());
    }

    /// Leaves numbers out.
    #[cfg(test)]
    pub(super) fn skip(&mut self, numbers: u64) {
        self.sequence += numbers;
    }

    /// Appends what stands in the clear and the encrypted rest; gives where that begins.
    fn seal_after(
        &mut self,
        front: [u8; TAG],
        kind: u8,
        body: &[&[u8]],
        out: &mut Vec<u8>,
    ) -> usize {
        let begin = out.len();
        out.extend_from_slice(&front);
        out.extend_from_slice(&self.sequence.to_le_bytes());
        out.push(kind);
        for part in body {
            out.extend_from_slice(part);
        }
        if let Some(sealed) = out.get_mut(begin + TAG..) {
            self.cipher.apply(sealed);
            self.mac.update(sealed);
        }
        self.sequence = self.sequence.wrapping_add(1);
        begin
    }

    /// Opens in place one whole packet of a kind that has a fixed length. [`Error::Again`] tells
    /// that length if there is less; then it must be tried again from fresh keys.
    ///
    /// A type that has no place here is told only of a packet that verifies, and after as much work
    /// as a wrong tag.
    pub(super) fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<Packet<'a>, Error> {
        let have = packet.len();
        let again = Error::Again {
            need: CONTROL_PACKET,
        };
        let (tag, sealed) = packet.split_first_chunk_mut::<TAG>().ok_or(again)?;
        let (header, body) = sealed.split_first_chunk_mut::<SEALED>().ok_or(again)?;
        let (number, sequence) = self.open_header(header);
        let kind = Kind::parse(number);
        let need = kind.map_or(Err(0), Kind::length);
        let least = need.unwrap_or(CONTROL_PACKET);
        if have < least {
            return Err(Error::Again { need: least });
        }
        self.absorb(body);
        self.verify(tag, sequence).map_err(Error::Proto)?;
        match (kind, need) {
            (Ok(kind), Ok(_)) => Packet::new(kind, body).map_err(Error::Proto),
            _ => Err(Error::Proto(Violation::PacketType(number))),
        }
    }

    /// Opens a packet of the handshake, which can only be a control packet.
    pub(super) fn open_control(
        &mut self,
        mut packet: [u8; CONTROL_PACKET],
    ) -> Result<[u8; CONTROL], Violation> {
        match self.open(&mut packet) {
            Ok(Packet::Control(body)) => Ok(*body),
            Err(Error::Proto(violation)) => Err(violation),
            Ok(_) | Err(_) => Err(Violation::PacketType(Kind::Event as u8)),
        }
    }

    /// Opens the initiator's first packet, which [`first_tag`] has verified.
    pub(super) fn open_first(
        &mut self,
        mut packet: [u8; CONTROL_PACKET],
    ) -> Result<[u8; CONTROL], Violation> {
        let again = Violation::Truncated;
        let (_, sealed) = packet.split_first_chunk_mut::<TAG>().ok_or(again)?;
        let (header, body) = sealed.split_first_chunk_mut::<SEALED>().ok_or(again)?;
        let (kind, sequence) = self.open_header(header);
        let kind = Kind::parse(kind)?;
        self.absorb(body);
        self.number(sequence)?;
        match Packet::new(kind, body)? {
            Packet::Control(body) => Ok(*body),
            _ => Err(Violation::PacketType(kind as u8)),
        }
    }

    /// The type's number, and the packet's.
    fn open_header(&mut self, header: &mut [u8; SEALED]) -> (u8, u64) {
        self.absorb(header);
        let [sequence @ .., kind] = *header;
        (kind, u64::from_le_bytes(sequence))
    }

    /// Takes ciphertext into the MAC and decrypts it.
    fn absorb(&mut self, bytes: &mut [u8]) {
        self.mac.update(bytes);
        self.cipher.apply(bytes);
    }

    fn tag(&self) -> [u8; TAG] {
        let mut tag = [0; TAG];
        self.mac.finalize_xof().fill(&mut tag);
        tag
    }

    /// Nothing of a packet is used before this.
    fn verify(&mut self, tag: &[u8; TAG], sequence: u64) -> Result<(), Violation> {
        #[cfg(any(test, fuzzing))]
        if super::null::is_on() {
            return self.number(sequence);
        }
        if !bool::from(self.tag().ct_eq(tag)) {
            return Err(Violation::Tag);
        }
        self.number(sequence)
    }

    /// Both directions have one MAC key: without the exact number, a peer's own packets could be
    /// played back to it.
    fn number(&mut self, sequence: u64) -> Result<(), Violation> {
        if sequence != self.sequence {
            return Err(Violation::Sequence);
        }
        self.sequence = self.sequence.wrapping_add(1);
        Ok(())
    }
}

impl Drop for Direction {
    fn drop(&mut self) {
        self.mac.zeroize();
    }
}

/// Whether these keys sealed this first packet.
pub(super) fn first_tag(keys: &StageKeys, packet: &[u8; CONTROL_PACKET]) -> Choice {
    let (tag, covered) = packet.split_at(FIRST_TAG);
    let mut mac = blake3::Hasher::new_keyed(&keys.mac);
    let mut expected = [0; FIRST_TAG];
    mac.update(covered).finalize_xof().fill(&mut expected);
    mac.zeroize();
    #[cfg(any(test, fuzzing))]
    if super::null::is_on() {
        return Choice::from(1);
    }
    expected.ct_eq(tag)
}

/// The nonce in the initiator's first packet.
pub(super) fn first_nonce(packet: &[u8; CONTROL_PACKET]) -> [u8; 8] {
    let mut nonce = [0; 8];
    nonce.copy_from_slice(&packet[FIRST_TAG..TAG]);
    nonce
}

/// A verified packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Control(&'a [u8; CONTROL]),
    Event(&'a [u8; EVENT]),
    Data(Data<'a>),
}

/// A piece of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data<'a> {
    pub(super) kind: Kind,
    pub(super) channel: u8,
    pub(super) stream: u32,
    pub(super) bytes: &'a [u8],
}

impl<'a> Packet<'a> {
    fn new(kind: Kind, body: &'a [u8]) -> Result<Self, Violation> {
        match kind {
            Kind::Control => body
                .try_into()
                .map(Self::Control)
                .map_err(|_| Violation::Malformed(Field::Control)),
            Kind::Event => body
                .try_into()
                .map(Self::Event)
                .map_err(|_| Violation::Malformed(Field::Event)),
            Kind::Audio | Kind::Video | Kind::Binary => match body {
                [channel, a, b, c, d, _, _, bytes @ ..] => Ok(Self::Data(Data {
                    kind,
                    channel: *channel,
                    stream: u32::from_le_bytes([*a, *b, *c, *d]),
                    bytes,
                })),
                _ => Err(Violation::Malformed(Field::Data)),
            },
        }
    }
}

/// The receiving end in a session: bytes in any portions, packets out.
pub(super) struct Opener {
    direction: Direction,
    /// What has come and has not been dealt with; the current packet begins at `begin`.
    buffer: Vec<u8>,
    begin: usize,
    /// Up to where, from `begin`, the current packet has been decrypted.
    opened: usize,
    /// What its header said.
    header: Option<(Kind, u64)>,
}

impl Opener {
    pub(super) fn new(direction: Direction) -> Self {
        Self {
            direction,
            buffer: Vec::new(),
            begin: 0,
            opened: TAG,
            header: None,
        }
    }

    /// How many bytes can be taken.
    pub(super) fn room(&self) -> usize {
        ROOM.saturating_sub(self.buffer.len() - self.begin)
    }

    /// Whether the stream may end here.
    pub(super) fn is_between_packets(&self) -> bool {
        self.buffer.len() == self.begin
    }

    /// The number of the newest packet that was verified.
    pub(super) fn last_seen(&self) -> u64 {
        self.direction.last()
    }

    /// Takes bytes, at most [`Self::room`].
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// Goes on under other keys; the packet before must have been the last under the old ones.
    pub(super) fn ratchet(&mut self, keys: &RatchetKeys, nonce: [u8; 8]) {
        self.direction.ratchet(keys, nonce);
    }

    /// Goes on as another direction.
    #[cfg(test)]
    pub(super) fn switch(&mut self, direction: Direction) {
        self.direction = direction;
    }

    /// The next packet, verified, if it is there as a whole.
    pub(super) fn next(&mut self) -> Result<Option<Packet<'_>>, Violation> {
        let Some((kind, sequence)) = self.header()? else {
            return Ok(None);
        };
        let Some(length) = self.length(kind) else {
            return Ok(None);
        };
        if !self.open_to(length) {
            return Ok(None);
        }
        let begin = self.begin;
        self.begin += length;
        self.opened = TAG;
        self.header = None;
        let packet = self.buffer.get(begin..self.begin).unwrap_or_default();
        let Some((tag, sealed)) = packet.split_first_chunk() else {
            return Ok(None);
        };
        self.direction.verify(tag, sequence)?;
        Packet::new(kind, sealed.get(SEALED..).unwrap_or_default()).map(Some)
    }

    fn header(&mut self) -> Result<Option<(Kind, u64)>, Violation> {
        if self.is_between_packets() {
            self.begin = 0;
            self.buffer.clear();
            // Most peers are idle most of the time, and there may be many.
            self.buffer.shrink_to(IDLE);
        }
        if self.header.is_none() {
            let packet = self.buffer.get_mut(self.begin + TAG..);
            let Some(header) = packet.and_then(<[u8]>::first_chunk_mut) else {
                return Ok(None);
            };
            let (kind, sequence) = self.direction.open_header(header);
            self.header = Some((Kind::parse(kind)?, sequence));
            self.opened = HEADER;
        }
        Ok(self.header)
    }

    fn length(&mut self, kind: Kind) -> Option<usize> {
        match kind.length() {
            Ok(length) => Some(length),
            Err(prefix) => {
                if self.opened < prefix && !self.open_to(prefix) {
                    return None;
                }
                match self.buffer.get(self.begin + prefix - 2..)? {
                    [low, high, ..] => {
                        Some(prefix + usize::from(u16::from_le_bytes([*low, *high])))
                    }
                    _ => None,
                }
            }
        }
    }

    /// Decrypts up to there, if it has come.
    fn open_to(&mut self, end: usize) -> bool {
        let range = self.begin + self.opened..self.begin + end;
        let Some(sealed) = self.buffer.get_mut(range) else {
            return false;
        };
        self.direction.absorb(sealed);
        self.opened = end;
        true
    }
}

/// A whole control packet; so long is every packet of the handshake.
pub(super) const CONTROL_PACKET: usize = HEADER + CONTROL;
/// A whole event packet.
pub(super) const EVENT_PACKET: usize = HEADER + EVENT;
/// A control body.
pub(super) const CONTROL: usize = 128;
/// An event body.
pub(super) const EVENT: usize = 139;

const TAG: usize = 16;
const FIRST_TAG: usize = 8;
/// Sequence number and type.
const SEALED: usize = 9;
const HEADER: usize = TAG + SEALED;
/// What stands before the bytes of a data packet: channel, stream, length.
const DATA: usize = 7;
/// How many bytes of memory an idle peer keeps.
const IDLE: usize = 1024;
/// A good read and the longest packet.
const ROOM: usize = 64 * 1024 + HEADER + DATA + u16::MAX as usize;

#[cfg(test)]
mod tests;
