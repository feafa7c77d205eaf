//! A client of ZeroMQ made by hand, which can do what libzmq would not: the handshake of CURVE
//! (ZeroMQ RFC 26) piece by piece.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};

use identity::PublicKey;
use moonport::wire::crypto::SecretKey;
use moonport::wire::nacl::BoxKey;
use rustix::net::{AddressFamily, SocketType};

use crate::host::Host;
use crate::key::Key;
use crate::process::PATIENCE;

/// The flags of frames that carry commands, and of the rest.
pub(crate) const COMMAND: u8 = 4;
pub(crate) const MESSAGE: u8 = 0;

/// What is said in the box of a MESSAGE.
pub(crate) const LAST: u8 = 0;
pub(crate) const INNER_COMMAND: u8 = 2;

/// What ends a handshake that is refused, whatever for.
pub(crate) const REFUSED: &[u8] = b"\x04\x0a\x05ERROR\x03400";

/// What a DEALER tells of itself.
pub(crate) const DEALER: &[u8] = b"\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0";

/// One connection.
pub(crate) struct Raw {
    stream: TcpStream,
    long: SecretKey,
    short: SecretKey,
    server: PublicKey,
    /// What it vouches for: C' and S. In a good vouch those that are used.
    pub(crate) vouches: (PublicKey, PublicKey),
    server_short: Option<PublicKey>,
    pub(crate) cookie: Vec<u8>,
}

impl Raw {
    /// Connects, each time from another address of this machine, as what one does is held against
    /// its address.
    pub(crate) fn connect(host: &Host, who: Key) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let from = Ipv4Addr::new(127, 0x40 | (std::process::id() as u8 & 0x3f), high, low);
        let place = host.place();
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
        let to = SocketAddrV4::new(place.address, place.port);
        rustix::net::connect(&socket, &to).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();

        let short = *blake3::hash(&number.to_be_bytes()).as_bytes();
        let short = SecretKey::from_bytes(short);
        let server = place.host_key().parse().unwrap();
        Self {
            stream,
            long: SecretKey::from_bytes(who.private()),
            vouches: (short.public().unwrap(), server),
            short,
            server,
            server_short: None,
            cookie: Vec::new(),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn command(&mut self, body: &[u8]) {
        self.send(&frame(COMMAND, body));
    }

    /// Greets as a peer of this minor version, and reads the other's greeting.
    #[track_caller]
    pub(crate) fn greet(&mut self, minor: u8) {
        self.send(&greeting(minor));
        self.greeted();
    }

    /// Reads the other's greeting.
    #[track_caller]
    pub(crate) fn greeted(&mut self) {
        let theirs = self.read(64);
        assert_eq!((theirs[0], theirs[9], theirs[10]), (0xff, 0x7f, 3));
        assert_eq!(&theirs[12..18], b"CURVE\0");
    }

    /// HELLO; it has to be sent still.
    pub(crate) fn hello(&self, number: u64) -> Vec<u8> {
        let mut body = b"\x05HELLO\x01\0".to_vec();
        body.extend_from_slice(&[0; 72]);
        body.extend_from_slice(self.short.public().unwrap().as_bytes());
        body.extend_from_slice(&number.to_be_bytes());
        let key = BoxKey::between(&self.short, &self.server);
        key.seal(&nonce(b"CurveZMQHELLO---", number), &[0; 64], &mut body);
        body
    }

    /// Goes as far as WELCOME.
    #[track_caller]
    pub(crate) fn begin(&mut self, minor: u8) {
        self.greet(minor);
        self.command(&self.hello(0));
        self.welcome();
    }

    #[track_caller]
    pub(crate) fn welcome(&mut self) {
        let (flags, body) = self.frame();
        assert_eq!((flags, body.len()), (COMMAND, 168));
        let (name, rest) = body.split_at(8);
        assert_eq!(name, b"\x07WELCOME");
        let (random, boxed) = rest.split_at(16);
        let nonce: Vec<u8> = [b"WELCOME-", random].concat();
        let key = BoxKey::between(&self.short, &self.server);
        let text = key.open(&nonce.try_into().unwrap(), boxed).unwrap();
        let (server_short, cookie) = text.split_at(32);
        self.server_short = Some(PublicKey::parse(server_short).unwrap());
        self.cookie = cookie.to_vec();
    }

    /// INITIATE; it has to be sent still.
    pub(crate) fn initiate(&self, number: u64, metadata: &[u8]) -> Vec<u8> {
        let server_short = self.server_short.unwrap();
        let vouched = [&self.vouches.0.as_bytes()[..], self.vouches.1.as_bytes()].concat();
        let mut vouch = Vec::new();
        let key = BoxKey::between(&self.long, &server_short);
        key.seal(b"VOUCH---sixteen random!!", &vouched, &mut vouch);
        let own = self.long.public().unwrap();
        let text = [own.as_bytes(), &b"sixteen random!!"[..], &vouch, metadata].concat();
        let number_bytes = number.to_be_bytes();
        let mut body = [&b"\x08INITIATE"[..], &self.cookie, &number_bytes].concat();
        let key = BoxKey::between(&self.short, &server_short);
        key.seal(&nonce(b"CurveZMQINITIATE", number), &text, &mut body);
        body
    }

    /// The whole handshake, as a DEALER; READY has been read.
    #[track_caller]
    pub(crate) fn join(&mut self) {
        self.begin(1);
        self.command(&self.initiate(1, DEALER));
        self.ready();
    }

    /// Reads READY, and gives what the listener tells of itself.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> Vec<u8> {
        let (flags, body) = self.frame();
        let (name, rest) = body.split_at(6);
        assert_eq!((flags, name), (COMMAND, &b"\x05READY"[..]));
        self.open(b"CurveZMQREADY---", rest)
    }

    /// A frame with a MESSAGE; it has to be sent still. The number of the first is 2.
    pub(crate) fn message(&self, number: u64, flags: u8, part: &[u8]) -> Vec<u8> {
        let mut body = b"\x07MESSAGE".to_vec();
        body.extend_from_slice(&number.to_be_bytes());
        let key = BoxKey::between(&self.short, &self.server_short.unwrap());
        let text = [&[flags], part].concat();
        key.seal(&nonce(b"CurveZMQMESSAGEC", number), &text, &mut body);
        frame(MESSAGE, &body)
    }

    /// Reads a MESSAGE: its flags, and what is in it.
    #[track_caller]
    pub(crate) fn receive(&mut self) -> (u8, Vec<u8>) {
        let (flags, body) = self.frame();
        let (name, rest) = body.split_at(8);
        assert_eq!((flags, name), (MESSAGE, &b"\x07MESSAGE"[..]));
        let text = self.open(b"CurveZMQMESSAGES", rest);
        (text[0], text[1..].to_vec())
    }

    /// Sends a message to a script that answers with the same.
    #[track_caller]
    pub(crate) fn echo(&mut self, number: u64, part: &[u8]) {
        self.send(&self.message(number, LAST, part));
        assert_eq!(self.receive(), (LAST, part.to_vec()));
    }

    fn open(&self, prefix: &[u8; 16], body: &[u8]) -> Vec<u8> {
        let (number, boxed) = body.split_first_chunk().unwrap();
        let key = BoxKey::between(&self.short, &self.server_short.unwrap());
        let nonce = nonce(prefix, u64::from_be_bytes(*number));
        key.open(&nonce, boxed).unwrap().to_vec()
    }

    #[track_caller]
    fn frame(&mut self) -> (u8, Vec<u8>) {
        let head = self.read(2);
        assert_eq!(head[0] & 2, 0, "a long frame");
        (head[0], self.read(head[1].into()))
    }

    #[track_caller]
    fn read(&mut self, bytes: usize) -> Vec<u8> {
        let mut read = vec![0; bytes];
        self.stream.read_exact(&mut read).unwrap();
        read
    }

    /// What still comes until the other side hangs up.
    #[track_caller]
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("it does not hang up: {error}"),
        }
        rest
    }
}

/// A greeting of version 3.
pub(crate) fn greeting(minor: u8) -> [u8; 64] {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9..12].copy_from_slice(&[0x7f, 3, minor]);
    greeting[12..17].copy_from_slice(b"CURVE");
    greeting
}

pub(crate) fn frame(flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = match u8::try_from(body.len()) {
        Ok(length) => vec![flags, length],
        Err(_) => {
            let length = (body.len() as u64).to_be_bytes();
            [&[flags | 2][..], &length].concat()
        }
    };
    frame.extend_from_slice(body);
    frame
}

fn nonce(prefix: &[u8; 16], number: u64) -> [u8; 24] {
    let mut nonce = [0; 24];
    nonce[..16].copy_from_slice(prefix);
    nonce[16..].copy_from_slice(&number.to_be_bytes());
    nonce
}
