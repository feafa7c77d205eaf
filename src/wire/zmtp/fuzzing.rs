//! What a fuzzer calls: any bytes in, and a panic if something does not hold.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fuzzer is told by a panic"
)]

use std::time::{Duration, Instant};

use super::command::Command as Wire;
use super::frame::{Frames, LONG};
use super::greeting::{Greeting, Inbox};
use super::handshake::{Initiate, Vouched, Welcome};
use super::rig::{Dice, End, RawClient, RawServer, SERVER, frame, frames, public, raw_greeting};
use super::{Command, Event, Heartbeat, ListenerConfig, Metadata, Socket, SocketType};
use crate::wire::Input;

/// A greeting: as one and byte by byte it is the same, and what was read is written so that it
/// reads the same.
pub(crate) fn greeting(data: &[u8]) {
    let mut whole = Inbox::new();
    let read = whole.take(&mut { data }).map(|()| whole.greeting());
    let mut parts = Inbox::new();
    let taken = data
        .iter()
        .try_for_each(|&byte| parts.take(&mut &[byte][..]));
    assert_eq!(read, taken.map(|()| parts.greeting()));
    if let Ok(Some(greeting)) = read {
        let ours = Greeting::write(greeting.mechanism, data.len());
        let mut again = Inbox::new();
        again.take(&mut &ours[..]).unwrap();
        assert_eq!(again.mechanism(), Some(greeting.mechanism));
    }
}

/// A stream of frames, and what may be in them. The first byte says how it is cut.
pub(crate) fn stream(data: &[u8]) {
    let Some((&portion, stream)) = data.split_first() else {
        return;
    };
    let cut = |portion: usize| {
        let (mut reader, mut seen) = (Frames::new(), Vec::new());
        for mut bytes in stream.chunks(portion.max(1)) {
            while !bytes.is_empty() {
                match reader.take(&mut bytes, 1000) {
                    Ok(frame) => seen.extend(frame),
                    Err(error) => return (seen, Some(error)),
                }
            }
        }
        (seen, None)
    };
    let (seen, error) = cut(usize::MAX);
    assert_eq!(cut(portion.into()), (seen.clone(), error));
    for whole in seen {
        let body = whole.body.as_slice();
        assert!(body.len() <= 1000);
        assert_eq!(frames(&frame(whole.flags, body))[0].body, body);
        if let Some(command) = Wire::parse(body) {
            let mut out = Vec::new();
            command.write(&mut out);
            assert_eq!(Wire::parse(&out), Some(command));
        }
        if let Ok(metadata) = Metadata::parse(body) {
            let mut out = Vec::new();
            metadata.write(&mut out);
            assert_eq!(Metadata::parse(&out), Ok(metadata));
        }
        drop((Initiate::parse(body), Welcome::parse(body)));
        assert_eq!(Vouched::parse(body).is_some(), body.len() >= 128);
        assert!(whole.flags & LONG != 0 || body.len() <= 255);
    }
}

/// A server that meets a client. Gives what happened.
pub(crate) fn server(now: Instant, data: &[u8]) -> Vec<Event> {
    let Some(plan) = Plan::parse(data) else {
        return Vec::new();
    };
    let stream = plan.client(now);
    plan.compare(&stream, &|| plan.listener(now))
}

/// A client that meets a server; as [`server`].
pub(crate) fn client(now: Instant, data: &[u8]) -> Vec<Event> {
    let Some(plan) = Plan::parse(data) else {
        return Vec::new();
    };
    let stream = plan.server(now);
    plan.compare(&stream, &|| plan.initiator(now))
}

/// How an end is set up, and what its peer says. Its key is known, so that boxes can be made: no
/// fuzzer guesses one.
struct Plan<'a> {
    peer: Peer,
    knows: bool,
    /// Whether there is an application that answers.
    answers: bool,
    heartbeat: bool,
    seed: u8,
    rest: &'a [u8],
}

enum Peer {
    Curve,
    Null,
    Plain,
    /// Its bytes are as they are.
    Raw,
}

/// What a peer says: how, and what.
type Chunk<'a> = (u8, &'a [u8]);

impl<'a> Plan<'a> {
    fn parse(data: &'a [u8]) -> Option<Self> {
        let [how, seed, rest @ ..] = data else {
            return None;
        };
        Some(Self {
            peer: match how & 3 {
                0 => Peer::Curve,
                1 => Peer::Null,
                2 => Peer::Plain,
                _ => Peer::Raw,
            },
            knows: how & 4 == 0,
            answers: how & 8 != 0,
            heartbeat: how & 16 != 0,
            seed: *seed,
            rest,
        })
    }

    fn socket(&self) -> Socket {
        let kind = SocketType::ALL[usize::from(self.seed) % SocketType::ALL.len()];
        let mut socket = Socket::new(kind);
        socket.max_message = 2000;
        socket.max_parts = 5;
        socket.topics.push(b"A".to_vec());
        socket.heartbeat = self.heartbeat.then_some(Heartbeat {
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(3),
            ttl: Duration::from_secs(5),
        });
        socket
    }

    fn listener(&self, now: Instant) -> End {
        let mut config = ListenerConfig::new(self.socket());
        config.keyless = !matches!(self.peer, Peer::Curve);
        let mut end = End::listener(config, now);
        end.room.knows = self.knows;
        end
    }

    fn initiator(&self, now: Instant) -> End {
        let mut random = Dice::new(&[0x1c; 32]);
        End::initiator(public(SERVER), self.socket(), now, &mut random)
    }

    /// Each has one byte that says how, and two of length.
    fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> {
        let mut rest = self.rest;
        std::iter::from_fn(move || {
            let ([how, high, low], later) = rest.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let (chunk, later) = later.split_at(length.min(later.len()));
            rest = later;
            Some((*how, chunk))
        })
    }

    /// The stream of a client; its first chunk is its metadata.
    fn client(&self, now: Instant) -> Vec<u8> {
        let mut chunks = self.chunks();
        let mut first = || chunks.next().map_or(&[][..], |(_, chunk)| chunk);
        let mut stream = match self.peer {
            Peer::Raw => return self.rest.to_vec(),
            Peer::Curve => {
                let (mut end, mut peer) = (self.listener(now), RawClient::new());
                let mut stream = raw_greeting(b"CURVE").to_vec();
                stream[11] = self.seed >> 7;
                stream.extend(frame(4, &peer.hello(0)));
                end.read(&stream);
                let said = end.said();
                peer.welcome(&said[66..]);
                stream.extend(frame(4, &peer.initiate(1, first())));
                let mut session = peer.session(1);
                for chunk in chunks {
                    stream.extend(sealed(&mut session, chunk));
                }
                return stream;
            }
            Peer::Null => {
                let ready = [b"\x05READY", first()].concat();
                [&raw_greeting(b"NULL")[..], &frame(4, &ready)].concat()
            }
            Peer::Plain => {
                let hello = frame(4, b"\x05HELLO\x04user\x08password");
                let initiate = frame(4, &[b"\x08INITIATE", first()].concat());
                [&raw_greeting(b"PLAIN")[..], &hello, &initiate].concat()
            }
        };
        for (flags, chunk) in chunks {
            stream.extend(frame(flags & !LONG, chunk));
        }
        stream
    }

    /// The stream of a server; its first chunk is its metadata.
    fn server(&self, now: Instant) -> Vec<u8> {
        if !matches!(self.peer, Peer::Curve) {
            return self.rest.to_vec();
        }
        let mut chunks = self.chunks();
        let (mut end, mut peer) = (self.initiator(now), RawServer::new());
        let mut stream = raw_greeting(b"CURVE").to_vec();
        stream[11] = self.seed >> 7;
        end.read(&stream);
        let said = end.said();
        stream.extend(frame(4, &peer.welcome(&said[66..])));
        let metadata = chunks.next().map_or(&[][..], |(_, chunk)| chunk);
        stream.extend(frame(4, &peer.ready(1, metadata)));
        let mut session = peer.session(1);
        for chunk in chunks {
            stream.extend(sealed(&mut session, chunk));
        }
        stream
    }

    /// Feeds the stream as one and in portions: both see the same. Then once more with somebody who
    /// answers, and time that passes. Gives what was seen.
    fn compare(&self, stream: &[u8], setup: &dyn Fn() -> End) -> Vec<Event> {
        let mut whole = setup();
        whole.read(stream);
        let mut parts = setup();
        let mut step = usize::from(self.seed);
        parts.read_by(stream, &mut || {
            step = (step * 7 + 3) % 97;
            1 + step
        });
        assert_eq!(whole.events, parts.events);
        assert_eq!(whole.asked, parts.asked);
        assert_eq!(whole.error, parts.error);
        let both = whole.sent.len().min(parts.sent.len());
        assert_eq!(whole.sent[..both], parts.sent[..both]);
        if whole.error.is_none() {
            assert_eq!(whole.sent.len(), parts.sent.len());
        }
        assert!(
            whole.events.is_empty() || whole.is_ready(),
            "something happened before a proof"
        );
        self.assert_bounded(&whole, stream.len());
        if self.answers {
            let mut end = setup();
            end.read_by(stream, &mut || 100);
            for message in std::mem::take(&mut end.events) {
                if let Event::Message(message) = message
                    && end.error.is_none()
                {
                    end.command(Command::Send(message));
                }
            }
            for _ in 0..8 {
                if end.error.is_none() && end.deadline.is_some() {
                    end.wait();
                }
            }
            end.give(Input::Eof);
            assert_eq!(end.machine.room(), 0, "it goes on after the end");
        }
        if let Some(error) = whole.error {
            assert_eq!(whole.machine.room(), 0, "it goes on after an error");
            let again = whole.machine.handle(whole.now, Input::Bytes(b"x"));
            assert_eq!(again, Err(error), "an error does not stay");
        }
        whole.events
    }

    /// What is said is in proportion to what was heard, and itself well formed.
    fn assert_bounded(&self, end: &End, heard: usize) {
        assert!(end.sent.len() <= 2 * heard + 1024, "{}", end.sent.len());
        assert!(end.events.len() <= 1 + heard);
        // A greeting, or the part of one that does not wait for the peer's.
        assert!(end.sent.len() == 12 || end.sent.len() >= 64);
        drop(frames(end.sent.get(64..).unwrap_or_default()));
    }
}

/// A chunk as a MESSAGE, whose number may jump, or as it is in a frame.
fn sealed(session: &mut super::rig::Sealed, (how, chunk): Chunk<'_>) -> Vec<u8> {
    if how & 0x80 != 0 {
        return frame(how & 5, chunk);
    }
    if how & 0x40 != 0 {
        session.number = session.number.wrapping_add(1 << 62);
    }
    let number = session.number.wrapping_add(1);
    frame(0, &session.message_at(number, how & 0x3f, chunk))
}
