//! Bytes, both ways.

use std::collections::VecDeque;

use super::{Unsent, World};
use crate::ipc::{Carries, ListenerId, SegmentId};
use crate::script::status::Status;
use crate::script::vids::{Address, Object, Queued, Vid};

/// What has come of a client's stream and waits to be read.
#[derive(Debug, Default)]
pub(in crate::script) struct Reader {
    bytes: VecDeque<u8>,
    /// So many of them have no end of a line.
    searched: usize,
    /// How many pieces are to be paid for when some of it is read.
    owing: u32,
    /// Nothing follows; and whether it has failed.
    ended: Option<bool>,
}

/// What is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::script) enum Want {
    /// So many bytes at most.
    Bytes(usize),
    /// A line.
    Line,
}

impl Reader {
    /// Takes a piece; whether it is to be paid for later.
    pub(super) fn take(&mut self, piece: Option<Vec<u8>>) -> bool {
        let full = self.bytes.len() >= KEPT;
        self.bytes.extend(piece.unwrap_or_default());
        self.owing += u32::from(full);
        full
    }

    /// Nothing more comes; there is nothing to be paid for.
    pub(super) fn end(&mut self, failed: bool) -> bool {
        self.ended = Some(failed);
        false
    }

    /// What nobody has read; and, if nothing follows, whether it has failed.
    pub(super) fn leave(self) -> (Vec<u8>, Option<bool>) {
        (self.bytes.into(), self.ended)
    }

    /// Another stream begins.
    pub(super) fn begin(&mut self) -> bool {
        *self = Self::default();
        false
    }

    fn read(&mut self, want: Want) -> Option<Vec<u8>> {
        let (count, skip) = match want {
            Want::Bytes(most) => (most.min(self.bytes.len()), 0),
            Want::Line => {
                let new = self.bytes.iter().skip(self.searched);
                let line = new.clone().position(|byte| *byte == b'\n');
                match line {
                    Some(at) => (self.searched + at, 1),
                    None => {
                        self.searched = self.bytes.len();
                        let whole = self.bytes.len() >= KEPT || self.ended.is_some();
                        if !whole || self.bytes.is_empty() {
                            return None;
                        }
                        (self.bytes.len(), 0)
                    }
                }
            }
        };
        if count == 0 && skip == 0 && self.ended.is_some() && self.bytes.is_empty() {
            return None;
        }
        let read = self.bytes.drain(..count).collect();
        self.bytes.drain(..skip);
        self.searched = match want {
            Want::Bytes(_) => self.searched.saturating_sub(count),
            Want::Line => 0,
        };
        if self.bytes.is_empty() {
            self.bytes.shrink_to(0);
        }
        Some(read)
    }
}

/// So many bytes are taken before somebody has to read; a line that is longer comes in pieces.
const KEPT: usize = 256 * 1024;

impl World {
    pub(super) fn data(&mut self, vid: Vid, bytes: Vec<u8>) {
        if let Some(segment) = self.segment_mut(vid) {
            segment.waiting += 1;
            self.queue.push_back(Queued {
                vid,
                status: Status::Data(Some(bytes)),
                cost: 1,
            });
        }
    }

    pub(super) fn finished(&mut self, link: ListenerId, id: SegmentId, failed: bool) {
        let Some(vid) = self.route(link, id) else {
            return;
        };
        let Some(segment) = self.segment_mut(vid) else {
            return;
        };
        // Once; a frameserver that says so again is not believed.
        if matches!(segment.carries, Carries::Stream { .. }) && !segment.finished {
            segment.finished = true;
            self.tell(vid, Status::Eof { failed });
        }
    }

    /// The other end has taken some.
    pub(super) fn drained(&mut self, vid: Vid) {
        if self
            .segment_mut(vid)
            .is_some_and(|segment| segment.out.drained())
        {
            self.tell(vid, Status::Drain);
        }
    }

    /// Writes to a client's stream; how many bytes were taken.
    pub(in crate::script) fn write(&mut self, vid: Vid, bytes: &[u8]) -> Result<usize, Unsent> {
        self.is_served_stream(vid)?;
        let (link, id, out) = self.stream_to(vid)?;
        let (taken, now) = out.write(bytes);
        let said = now.into_iter().map(|say| (link, say.to(id)));
        self.outbox.link.extend(said);
        Ok(taken)
    }

    /// Nothing more is written to a client's stream.
    pub(in crate::script) fn finish(&mut self, vid: Vid, failed: bool) -> Result<(), Unsent> {
        self.is_served_stream(vid)?;
        let (link, id, out) = self.stream_to(vid)?;
        let now = out.finish(failed);
        let said = now.into_iter().map(|say| (link, say.to(id)));
        self.outbox.link.extend(said);
        if let Some(segment) = self.segment_mut(vid) {
            segment.carries = Carries::Stream { writable: false };
        }
        Ok(())
    }

    fn stream_to(
        &mut self,
        vid: Vid,
    ) -> Result<(ListenerId, SegmentId, &mut crate::script::vids::Outgoing), Unsent> {
        let Some(Object::Segment(segment)) = self.objects.get_mut(&vid) else {
            return Err(Unsent::Gone);
        };
        match (segment.carries, segment.address) {
            (Carries::Stream { writable: true }, Address::Open(id)) => {
                Ok((segment.link, id, &mut segment.out))
            }
            (Carries::Stream { writable: false }, _) => Err(Unsent::Finished),
            (Carries::Stream { .. }, _) => Err(Unsent::Gone),
            _ => Err(Unsent::NoMessages),
        }
    }

    /// From now on what comes of a client's stream is kept until it is read. Whether it has one.
    pub(in crate::script) fn keep(&mut self, vid: Vid) -> bool {
        match self.segment_mut(vid) {
            Some(segment) if matches!(segment.carries, Carries::Stream { .. }) => {
                segment.reader.get_or_insert_default();
                true
            }
            _ => false,
        }
    }

    /// Reads what has come and was kept. `None`: no such line yet, or nothing follows.
    pub(in crate::script) fn read(&mut self, vid: Vid, want: Want) -> Option<Vec<u8>> {
        let segment = self.segment_mut(vid)?;
        let reader = segment.reader.as_mut()?;
        let read = reader.read(want);
        if reader.bytes.len() < KEPT {
            let owing = std::mem::take(&mut reader.owing);
            if owing > 0
                && let Some(id) = segment.address.segment()
            {
                let link = segment.link;
                self.owe(id, link, owing);
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_were_cut(
            lines in prop::collection::vec("[a-z]{0,9}", 0..20),
            cuts in prop::collection::vec(1..7usize, 1..9),
        ) {
            let text: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
            let mut reader = Reader::default();
            let mut read = Vec::new();
            let (mut rest, mut cuts) = (&text[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                prop_assert!(!reader.take(Some(now.to_vec())));
                read.extend(std::iter::from_fn(|| reader.read(Want::Line)));
                rest = later;
            }
            let wanted: Vec<_> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(read, wanted);
        }
    }

    #[test]
    fn the_rest_is_the_last_line_and_then_there_is_nothing() {
        let mut reader = Reader::default();
        reader.take(Some(b"a\nb".to_vec()));
        assert_eq!(reader.read(Want::Line), Some(b"a".to_vec()));
        assert_eq!(reader.read(Want::Line), None);
        assert_eq!(reader.read(Want::Bytes(0)), Some(Vec::new()));
        reader.end(false);
        assert_eq!(reader.read(Want::Line), Some(b"b".to_vec()));
        assert_eq!(reader.read(Want::Line), None);
        assert_eq!(reader.read(Want::Bytes(9)), None);
    }

    #[test]
    fn i7_what_nobody_reads_is_not_paid_for_and_a_line_without_end_comes_in_pieces() {
        let mut reader = Reader::default();
        let piece = || Some(vec![b'x'; 1000]);
        let paid = (0..1000).take_while(|_| !reader.take(piece())).count();
        assert_eq!(paid, KEPT.div_ceil(1000));
        assert_eq!(reader.read(Want::Line).unwrap().len(), (paid + 1) * 1000);
        assert_eq!(reader.read(Want::Line), None);
    }
}
