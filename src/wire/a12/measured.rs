//! Packets without a connection, for who measures what they cost.

use super::StageKeys;
use super::packet::{Direction, Kind, Opener};
use crate::wire::Violation;

/// One end that seals, and the other, which opens.
pub fn pair() -> (Sealer, Unsealer) {
    let keys = StageKeys::public();
    let direction = || Direction::client(&keys, [0; 8], 0);
    (Sealer(direction()), Unsealer(Opener::new(direction())))
}

/// The sending end.
pub struct Sealer(Direction);

impl Sealer {
    /// Appends a packet of a stream, with at most 65,535 bytes.
    pub fn data(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let [low, high] = length.to_le_bytes();
        let front = [0, 0, 0, 0, 0, low, high];
        self.0.seal(Kind::Binary, &[&front, bytes], out);
    }

    /// Appends an event.
    pub fn event(&mut self, body: &[u8; 139], out: &mut Vec<u8>) {
        self.0.seal(Kind::Event, &[body], out);
    }
}

/// The receiving end.
pub struct Unsealer(Opener);

impl Unsealer {
    /// Opens packets; how many.
    pub fn open(&mut self, mut bytes: &[u8]) -> Result<usize, Violation> {
        let mut packets = 0;
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(self.0.room()));
            self.0.push(now);
            while self.0.next()?.is_some() {
                packets += 1;
            }
            bytes = rest;
        }
        Ok(packets)
    }
}
