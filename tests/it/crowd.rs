//! Many clients in one process, honest and otherwise, each with an address of its own: all of 127/8
//! is this machine. For the flood test, and for the measurement in `benches/flood.rs`.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use moonport::wire::a12::event::{External, SegmentKind, Target, Text};
use moonport::wire::a12::keyroom::{self, Claim};
use moonport::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Input, Output, Protocol};
use rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{sleep, timeout};

/// What the attackers have done so far.
#[derive(Debug, Default)]
pub(crate) struct Score {
    /// Connections of those that send little and slowly.
    pub(crate) dripping: Cell<usize>,
    /// All that they have made so far.
    pub(crate) drips: Cell<u64>,
    /// First packets that verify under nothing.
    pub(crate) bad: Cell<u64>,
    /// Connections that were closed before they could send one.
    pub(crate) shut: Cell<u64>,
}

/// The honest clients' addresses, one for each.
pub(crate) fn honest_source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 64, 0, 1).to_bits() + number)
}

/// Addresses of those that keep connections half open.
pub(crate) fn dripping_source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 72, 0, 1).to_bits() + number)
}

/// Addresses from which bad first packets come.
pub(crate) fn flooding_source(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 96, 0, 1).to_bits() + number)
}

async fn connect(to: SocketAddrV4, from: Ipv4Addr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    let stream = socket.connect(to.into()).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Keeps a connection half open for ever: a byte of nothing now and then, and again after `pause`
/// when it is closed.
pub(crate) async fn drip(to: SocketAddrV4, from: Ipv4Addr, pause: Duration, score: Rc<Score>) {
    loop {
        if let Ok(mut stream) = connect(to, from).await {
            score.dripping.set(score.dripping.get() + 1);
            score.drips.set(score.drips.get() + 1);
            let mut byte = [0];
            while timeout(pause, stream.read(&mut byte)).await.is_err() {
                if stream.write_all(&[1]).await.is_err() {
                    break;
                }
            }
            score.dripping.set(score.dripping.get() - 1);
        }
        sleep(pause).await;
    }
}

/// Sends first packets that verify under nothing, one connection after the other.
pub(crate) async fn flood(to: SocketAddrV4, from: Ipv4Addr, pause: Duration, score: Rc<Score>) {
    loop {
        if let Ok(mut stream) = connect(to, from).await {
            let sent = stream.write_all(&[7; 153]).await;
            let before = Instant::now();
            let _ = stream.read(&mut [0]).await;
            // Who is refused is told by the next tick; who is shut out, at once.
            let count = match sent {
                Ok(()) if before.elapsed() > Duration::from_millis(2) => &score.bad,
                _ => &score.shut,
            };
            count.set(count.get() + 1);
        }
        sleep(pause).await;
    }
}

/// Somebody whose key is accepted comes, is greeted, says something and hears it again; how long
/// all of it took.
pub(crate) async fn visit(
    to: SocketAddrV4,
    from: Ipv4Addr,
    key: [u8; 32],
) -> Result<Duration, String> {
    let start = Instant::now();
    let visit = async {
        let stream = connect(to, from).await.map_err(|error| error.to_string())?;
        let mut client = Client::new(stream, key, from);
        client
            .until(|event| matches!(event, Event::Established { .. }))
            .await?;
        client
            .says(External::Register {
                title: "honest".into(),
                kind: SegmentKind(5),
                guid: [1, 2],
            })
            .await?;
        client.until(|event| says(event, "welcome")).await?;
        client
            .says(External::Message(Text {
                text: "moon".into(),
                multipart: false,
            }))
            .await?;
        client.until(|event| says(event, "you said moon")).await
    };
    match timeout(Duration::from_secs(15), visit).await {
        Ok(done) => done.map(|()| start.elapsed()),
        Err(_) => Err("no answer".into()),
    }
}

fn says(event: &Event, what: &str) -> bool {
    matches!(event, Event::Target { event: Target::Message(text), .. } if text.text == what)
}

struct Client {
    stream: TcpStream,
    machine: Initiator<ChaCha20Rng>,
    key: SecretKey,
    events: VecDeque<Event>,
}

impl Client {
    fn new(stream: TcpStream, key: [u8; 32], from: Ipv4Addr) -> Self {
        let key = SecretKey::from_bytes(key);
        let config = InitiatorConfig {
            role: Role::Source,
            initial: StageKeys::public(),
            public: key.public().unwrap(),
            rounds: Rounds::Two,
            handshake: Duration::from_secs(15),
        };
        // Each has a seed of its own; nothing here is secret.
        let seed = u64::from(from.to_bits());
        Self {
            stream,
            machine: Initiator::new(config, Instant::now(), ChaCha20Rng::seed_from_u64(seed)),
            key,
            events: VecDeque::new(),
        }
    }

    async fn says(&mut self, event: External) -> Result<(), String> {
        let command = Input::Command(Command::External { channel: 0, event });
        self.handle(command)?;
        self.flush().await
    }

    fn handle(&mut self, input: Input<'_, Answer, Command>) -> Result<(), String> {
        let done = self.machine.handle(Instant::now(), input);
        done.map_err(|error| error.to_string())
    }

    async fn until(&mut self, wanted: impl Fn(&Event) -> bool) -> Result<(), String> {
        let mut bytes = [0; 4096];
        loop {
            self.flush().await?;
            while let Some(event) = self.events.pop_front() {
                if wanted(&event) {
                    return Ok(());
                }
            }
            let room = self.machine.room().min(bytes.len());
            match self.stream.read(&mut bytes[..room]).await {
                Ok(0) => return Err("closed".into()),
                Ok(read) => self.handle(Input::Bytes(&bytes[..read]))?,
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn flush(&mut self) -> Result<(), String> {
        let mut out = Vec::new();
        loop {
            match self.machine.poll(&mut out) {
                Output::Transmit => {}
                Output::Ask(Ask::Server(hello)) => {
                    let server = Claim::parse(&hello).map_err(|error| error.to_string())?;
                    let keys = server.session(&self.key);
                    self.handle(Input::Answer(Answer::Session(keys)))?;
                }
                Output::Ask(Ask::Ratchet(rekey)) => {
                    let keys = keyroom::ratchet(&self.key, &rekey);
                    let keys = keys.map_err(|error| error.to_string())?;
                    self.handle(Input::Answer(Answer::Ratchet(keys)))?;
                }
                Output::Ask(_) => return Err("an initiator asked what a listener asks".into()),
                Output::Event(event) => self.events.push_back(event),
                Output::Idle(_) => break,
            }
        }
        let sent = self.stream.write_all(&out).await;
        sent.map_err(|error| error.to_string())
    }
}
