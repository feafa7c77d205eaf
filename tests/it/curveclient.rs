//! A client of CurveCP that goes step by step, and the key directory of its server.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use data_encoding::HEXLOWER;
use identity::PublicKey;
use moonport::wire::crypto::SecretKey;
use moonport::wire::curvecp::{
    Answer, Ask, Client, ClientConfig, ClientOutput, Extension, Tunnel, keyroom,
};
use rand_core::SeedableRng;

/// The longest that a packet is waited for. It is only used up by what fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const NAME: &str = "this.machine.name";
pub(crate) const EXTENSION: &str = "31415926535897932384626433832795";
const SECRET: [u8; 32] = [0x35; 32];

/// Its long-term key.
pub(crate) fn public() -> PublicKey {
    SecretKey::from_bytes(SECRET).public().unwrap()
}

/// Whether the reference programs are there.
pub(crate) fn reference() -> bool {
    let there = |name: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| folder.join(name).exists())
    };
    let all = ["curvecpserver", "curvecpclient", "curvecpmessage"];
    let found = all.into_iter().all(there);
    if !found {
        println!("skipped: there are no CurveCP programs: apt install nacl-tools");
    }
    found
}

/// Makes the server's key directory.
pub(crate) fn key_directory(folder: &Path) {
    let inside = folder.join(".expertsonly");
    fs::create_dir_all(&inside).unwrap();
    for (name, bytes) in [
        ("../publickey", public().as_bytes().as_slice()),
        ("secretkey", &SECRET),
        ("noncekey", &[9; 32]),
        ("noncecounter", &[0; 8]),
        ("lock", &[0]),
    ] {
        fs::write(inside.join(name), bytes).unwrap();
    }
    fs::set_permissions(&inside, fs::Permissions::from_mode(0o700)).unwrap();
}

/// A client that goes step by step.
pub(crate) struct Raw {
    pub(crate) socket: UdpSocket,
    pub(crate) own: SecretKey,
    server: SocketAddr,
}

impl Raw {
    pub(crate) fn new(server: SocketAddr, own: u8) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            own: SecretKey::from_bytes([own; 32]),
            server,
        }
    }

    /// Sends a Hello.
    pub(crate) fn hello(&self, key: PublicKey, name: &str, extension: &str) -> Client<ChaCha20Rng> {
        let config = ClientConfig {
            addresses: vec![self.server],
            server: key,
            name: name.parse().unwrap(),
            extension: self::extension(extension),
            own: Extension::default(),
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        let rng = ChaCha20Rng::from_seed(seed);
        let mut client = Client::new(config, Instant::now(), rng);
        let mut out = Vec::new();
        let sent = client.poll(Instant::now(), &mut out);
        assert!(matches!(sent, ClientOutput::Transmit(_)));
        self.socket.send_to(&out, self.server).unwrap();
        client
    }

    /// Waits for the next packet, which has to be the Cookie.
    #[track_caller]
    pub(crate) fn cookie(&self, client: &mut Client<ChaCha20Rng>) -> Tunnel {
        let mut packet = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut packet).unwrap();
        client.receive(from, &packet[..length]);
        loop {
            match client.poll(Instant::now(), &mut Vec::new()) {
                ClientOutput::Ask(Ask::Vouch { client: c, server }) => {
                    let vouch = keyroom::vouch(&self.own, &c, &server, [1; 16]);
                    client.answer(Answer::Vouch {
                        key: self.own.public().unwrap(),
                        vouch: Box::new(vouch),
                    });
                }
                ClientOutput::Connected(tunnel) => return *tunnel,
                other => panic!("no cookie: {other:?}"),
            }
        }
    }

    pub(crate) fn send(&self, tunnel: &mut Tunnel, message: &[u8]) -> Vec<u8> {
        let mut packet = Vec::new();
        assert!(tunnel.seal(message, &mut packet));
        self.socket.send_to(&packet, self.server).unwrap();
        packet
    }

    #[track_caller]
    pub(crate) fn receive(&self, tunnel: &mut Tunnel) -> Vec<u8> {
        let mut packet = [0; 2048];
        let (length, from) = self.socket.recv_from(&mut packet).unwrap();
        let opened = tunnel.open(from, &mut packet[..length]);
        opened.expect("a message").to_vec()
    }

    /// A connection with everything right, and the handler's first message.
    #[track_caller]
    pub(crate) fn enter(&self) -> (Tunnel, Vec<u8>) {
        let mut client = self.hello(public(), NAME, EXTENSION);
        let mut tunnel = self.cookie(&mut client);
        self.send(&mut tunnel, &[0; 16]);
        let answer = self.receive(&mut tunnel);
        (tunnel, answer)
    }
}

pub(crate) fn extension(text: &str) -> Extension {
    let bytes = HEXLOWER.decode(text.as_bytes()).unwrap();
    Extension(bytes.try_into().unwrap())
}
