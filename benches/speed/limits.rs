//! What cannot be got around: the same cryptography, the same bytes through the kernel, the same
//! table in Lua, and nothing else.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use chacha20::ChaCha8;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::server::Work;

/// A packet of the handshake, and an event.
const CONTROL: usize = 153;
const EVENT: usize = 164;

/// One direction: a keystream and a running MAC.
pub(crate) struct Bare {
    cipher: ChaCha8,
    mac: blake3::Hasher,
}

impl Bare {
    pub(crate) fn new() -> Self {
        Self {
            cipher: ChaCha8::new(&[1; 32].into(), &[2; 12].into()),
            mac: blake3::Hasher::new_keyed(&[3; 32]),
        }
    }

    /// Takes a packet in place as its sender or its receiver does.
    pub(crate) fn packet(&mut self, bytes: &mut [u8]) -> [u8; 16] {
        self.cipher.apply_keystream(bytes);
        self.mac.update(bytes);
        let mut tag = [0; 16];
        self.mac.finalize_xof().fill(&mut tag);
        tag
    }
}

/// What a listener has to do for a client that comes in two rounds.
///
/// The first round and the ratchet after the proof each take a fresh key and an agreement; the key
/// room takes one, and the client's ratchet in return another.
fn admission(stream: &mut TcpStream) {
    let mut packet = [0; EVENT];
    let say = |stream: &mut TcpStream, size: usize| {
        Bare::new().packet(&mut [0; EVENT][..size]);
        stream.write_all(&[0; EVENT][..size]).unwrap();
    };
    let mut hear = |stream: &mut TcpStream, size: usize| {
        stream.read_exact(&mut packet[..size]).unwrap();
        Bare::new().packet(&mut packet[..size]);
    };
    let own = StaticSecret::from([9; 32]);
    let peer = PublicKey::from(&StaticSecret::from([8; 32]));
    let fresh = || {
        black_box(PublicKey::from(black_box(&own)));
    };
    let agree = || {
        black_box(black_box(&own).diffie_hellman(&peer));
    };
    hear(stream, CONTROL);
    fresh();
    agree();
    say(stream, CONTROL);
    hear(stream, CONTROL);
    agree();
    say(stream, CONTROL);
    hear(stream, EVENT);
    fresh();
    agree();
    say(stream, CONTROL);
    say(stream, EVENT);
    hear(stream, CONTROL);
    agree();
    let _ = stream.read(&mut [0; 64]);
}

/// A server of one thread that does only this, so often.
pub(crate) fn admissions(count: usize) -> (SocketAddr, JoinHandle<Work>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        let before = Work::here();
        for _ in 0..count {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            admission(&mut stream);
        }
        Work::here() - before
    });
    (at, server)
}

/// Its client.
pub(crate) fn be_admitted(at: SocketAddr) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut packet = [0; EVENT];
    for _ in 0..2 {
        stream.write_all(&packet[..CONTROL]).unwrap();
        stream.read_exact(&mut packet[..CONTROL]).unwrap();
    }
    stream.write_all(&packet).unwrap();
    stream.read_exact(&mut packet[..CONTROL]).unwrap();
    stream.read_exact(&mut packet).unwrap();
    stream.write_all(&packet[..CONTROL]).unwrap();
}

/// What it takes to receive so many bytes by TCP.
pub(crate) fn received(bytes: usize) -> Duration {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    let sender = thread::spawn(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(&vec![0; bytes]).unwrap();
    });
    let (mut stream, _) = listener.accept().unwrap();
    let mut space = vec![0; 64 * 1024];
    let before = Work::here();
    while stream.read(&mut space).unwrap() > 0 {}
    let work = (Work::here() - before).all;
    sender.join().unwrap();
    work
}

/// What a bare Lua takes for so many calls of a function with a table, as a script gets it of a
/// message; and with each call made from outside.
pub(crate) fn calls(count: usize) -> [Duration; 2] {
    // Without the compiler, as scripts run.
    let lua = mlua::Lua::new();
    lua.load("jit.off()").exec().unwrap();
    let call: mlua::Function = lua
        .load(
            "local came = 0
             local function handler(source, status)
                 if status.kind == 'message' then came = came + 1 end
             end
             local one = function(message)
                 handler(300, { kind = 'message', message = message, multipart = false, frame = 0 })
             end
             function many(count) for _ = 1, count do one('0123456789abcdef') end end
             return one",
        )
        .eval()
        .unwrap();
    let many: mlua::Function = lua.globals().get("many").unwrap();
    let inside = time(|| many.call::<()>(count).unwrap());
    let outside = time(|| {
        for _ in 0..count {
            call.call::<()>("0123456789abcdef").unwrap();
        }
    });
    [inside, outside]
}

/// How long the calling thread has a processor for this.
pub(crate) fn time(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    };
    let before = now();
    work();
    now() - before
}
