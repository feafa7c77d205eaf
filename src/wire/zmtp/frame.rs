//! Frames (RFC 37, section "Framing"): flags, a length of 1 or 8 bytes, a body.

/// More frames of the same message follow.
pub const MORE: u8 = 1;
/// The length has 8 bytes.
pub const LONG: u8 = 2;
/// The body is a command.
pub const COMMAND: u8 = 4;

/// A frame as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// [`MORE`], [`LONG`], [`COMMAND`]; the other bits mean nothing.
    pub flags: u8,
    /// What is in it.
    pub body: Vec<u8>,
}

/// A frame is announced that is longer than what is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Appends what stands before a body. The length is written as short as it can be.
pub fn write_header(flags: u8, length: usize, out: &mut Vec<u8>) {
    match u8::try_from(length) {
        Ok(length) => out.extend_from_slice(&[flags & !LONG, length]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Appends a command in a frame of its own.
pub fn write_command(name: &[u8], content: &[u8], out: &mut Vec<u8>) {
    write_header(COMMAND, name.len() + content.len(), out);
    out.extend_from_slice(name);
    out.extend_from_slice(content);
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
pub struct Frames {
    head: [u8; 9],
    /// How many bytes of the head are there.
    have: usize,
    /// The head is whole: flags and length.
    wanted: Option<(u8, usize)>,
    body: Vec<u8>,
}

impl Frames {
    /// Nothing is there yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the stream may end here.
    pub fn is_between(&self) -> bool {
        self.have == 0
    }

    /// How many bytes are missing to the frame's end, if it has `least` bytes with its head.
    pub fn missing(&self, least: usize) -> usize {
        match self.wanted {
            Some((_, length)) => length.saturating_sub(self.body.len()),
            None => least.saturating_sub(self.have).max(1),
        }
    }

    /// Takes bytes off the front of `input`, up to the end of a frame whose body has at most
    /// `most` bytes.
    pub fn take(&mut self, input: &mut &[u8], most: usize) -> Result<Option<Frame>, TooLong> {
        let (flags, length) = match self.wanted {
            Some(wanted) => wanted,
            None => match self.take_head(input) {
                Some((_, length)) if length > most as u64 => return Err(TooLong),
                Some((flags, length)) => {
                    let length = usize::try_from(length).map_err(|_| TooLong)?;
                    self.body = Vec::with_capacity(length.min(RESERVED));
                    *self.wanted.insert((flags, length))
                }
                None => return Ok(None),
            },
        };
        let missing = length.saturating_sub(self.body.len());
        let (bytes, rest) = input.split_at(missing.min(input.len()));
        self.body.extend_from_slice(bytes);
        *input = rest;
        if self.body.len() < length {
            return Ok(None);
        }
        self.have = 0;
        self.wanted = None;
        let body = std::mem::take(&mut self.body);
        Ok(Some(Frame { flags, body }))
    }

    fn take_head(&mut self, input: &mut &[u8]) -> Option<(u8, u64)> {
        loop {
            let (&byte, rest) = input.split_first()?;
            *input = rest;
            *self.head.get_mut(self.have)? = byte;
            self.have += 1;
            let [flags, short, ..] = self.head;
            let [_, long @ ..] = self.head;
            match (self.have, flags & LONG) {
                (2, 0) => return Some((flags, short.into())),
                (9, _) => return Some((flags, u64::from_be_bytes(long))),
                _ => {}
            }
        }
    }
}

/// So much is made ready before it is there.
const RESERVED: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_over_255_bytes_are_long() {
        let mut out = Vec::new();
        write_header(MORE, 255, &mut out);
        assert_eq!(out, [1, 255]);
        out.clear();
        write_header(COMMAND, 256, &mut out);
        assert_eq!(out, [6, 0, 0, 0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn a_long_form_with_a_small_length_and_reserved_bits_are_taken() {
        let mut input = &b"\xfa\0\0\0\0\0\0\0\x02hirest"[..];
        let frame = Frames::new().take(&mut input, 2).unwrap().unwrap();
        assert_eq!((frame.flags, &*frame.body), (0xfa, &b"hi"[..]));
        assert_eq!(input, b"rest");
    }

    #[test]
    fn i7_a_length_that_is_too_large_is_refused_with_its_last_byte() {
        for length in [201, 1 << 40, u64::MAX] {
            let mut head = vec![LONG];
            head.extend_from_slice(&length.to_be_bytes());
            let mut frames = Frames::new();
            assert_eq!(frames.take(&mut &head[..8], 200), Ok(None));
            assert_eq!(frames.take(&mut &head[8..], 200), Err(TooLong));
        }
        assert_eq!(Frames::new().take(&mut &[0, 201][..], 200), Err(TooLong));
    }

    proptest! {
        #[test]
        fn i9_frames_come_back_however_they_are_cut(
            frames in prop::collection::vec((0..8u8, prop::collection::vec(any::<u8>(), 0..400)), 0..8),
            portion in 1..500usize,
        ) {
            let mut stream = Vec::new();
            for (flags, body) in &frames {
                write_header(flags & !LONG, body.len(), &mut stream);
                stream.extend_from_slice(body);
            }
            let (mut reader, mut seen) = (Frames::new(), Vec::new());
            for mut bytes in stream.chunks(portion) {
                while !bytes.is_empty() {
                    seen.extend(reader.take(&mut bytes, 400).unwrap());
                }
            }
            prop_assert!(reader.is_between());
            let seen: Vec<_> = seen.into_iter().map(|f| (f.flags & !LONG, f.body)).collect();
            let sent: Vec<_> = frames.into_iter().map(|(flags, body)| (flags & !LONG, body)).collect();
            prop_assert_eq!(seen, sent);
        }
    }
}
