//! `moonport connect curvecp://…`: standard input to the server's stream, and its stream to standard
//! output.

use std::future::pending;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rand_core::Rng;
use socket2::{Domain, Socket, Type};
use tokio::net::{UdpSocket, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};

use super::super::args::Connect;
use super::super::connect::random::Random;
use super::super::exit::{Exit, Failure, OrExit};
use super::super::known::Known;
use super::args::Address;
use super::{DATAGRAM, SOCKET_BUFFER};
use crate::host::own_extension;
use crate::wire::Refusal;
use crate::wire::crypto::SecretKey;
use crate::wire::curvecp::{
    Answer, Ask, Client, ClientConfig, ClientError, ClientOutput, Closed, Connection, Event, IDLE,
    Output, Start, Tunnel, keyroom,
};

/// How much is read from standard input at once, in bytes.
const CHUNK: usize = 65_536;
/// As many bytes wait for standard output at most.
const CREDIT: usize = 131_072;
/// So long we stay, after all is done, for a server that has not heard it.
const LINGER: Duration = Duration::from_millis(500);

/// Connects, and passes on what comes from either side until both have ended.
pub(in super::super) async fn run(
    args: &Connect,
    to: &Address,
    state: &Path,
) -> Result<Exit, Failure> {
    let addresses = resolve(args, to).await?;
    let own = match args.curvecp.anonymous {
        true => SecretKey::generate(&mut Random::new().or_exit(Exit::Failed)?),
        false => Known::new(state).identity(args.identity.as_deref())?,
    };
    let name = args.curvecp.server_name.clone().or_else(|| to.name.clone());
    let config = ClientConfig {
        server: to.key,
        name: match name {
            Some(name) => name,
            None => "".parse().or_exit(Exit::Failed)?,
        },
        extension: args.curvecp.extension.unwrap_or_default(),
        own: own_extension(),
        addresses,
    };
    let socket = open(&config.addresses).or_exit(Exit::Network)?;
    let mut link = Link {
        socket,
        out: Vec::new(),
        buffer: vec![0; DATAGRAM],
    };
    let random = Random::new().or_exit(Exit::Failed)?;
    let tunnel = link.handshake(Client::new(config, Instant::now(), random), &own);
    let tunnel = tunnel
        .await?
        .map_err(|error| Failure::because(Exit::Network, format_args!("{}: {error}", to.at)))?;
    link.pass(tunnel, to).await
}

async fn resolve(args: &Connect, to: &Address) -> Result<Vec<SocketAddr>, Failure> {
    let failure = |why: &str| {
        Failure::because(
            Exit::Network,
            format_args!("cannot find {}: {why}", to.at.host),
        )
    };
    let found = timeout(
        args.handshake_timeout,
        lookup_host((to.at.host.as_str(), to.at.port)),
    );
    let mut addresses: Vec<_> = match found.await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(error)) => return Err(failure(&error.to_string())),
        Err(_) => return Err(failure("no answer in time")),
    };
    // One socket speaks one of both.
    let v4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    addresses.retain(|address| address.is_ipv4() == v4);
    match addresses.is_empty() {
        true => Err(failure("it has no address")),
        false => Ok(addresses),
    }
}

fn open(addresses: &[SocketAddr]) -> io::Result<UdpSocket> {
    let any: SocketAddr = match addresses.first() {
        Some(SocketAddr::V6(_)) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        _ => (Ipv4Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, None)?;
    // The system may give less.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    UdpSocket::from_std(socket.into())
}

struct Link {
    socket: UdpSocket,
    /// The packet to be sent.
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link {
    /// A packet that cannot be sent is lost.
    async fn send(&mut self, to: SocketAddr) {
        let _ = self.socket.send_to(&self.out, to).await;
        self.out.clear();
    }

    /// The next datagram, if one has come.
    fn receive(&mut self) -> Option<(SocketAddr, &mut [u8])> {
        let (length, from) = self.socket.try_recv_from(&mut self.buffer).ok()?;
        Some((from, self.buffer.get_mut(..length)?))
    }

    async fn handshake(
        &mut self,
        mut client: Client<Random>,
        own: &SecretKey,
    ) -> Result<Result<Tunnel, ClientError>, Failure> {
        let mut random = Random::new().or_exit(Exit::Failed)?;
        loop {
            match client.poll(Instant::now(), &mut self.out) {
                ClientOutput::Transmit(to) => self.send(to).await,
                ClientOutput::Ask(ask) => client.answer(vouch(&ask, own, &mut random)),
                ClientOutput::Connected(tunnel) => return Ok(Ok(*tunnel)),
                ClientOutput::Failed(error) => return Ok(Err(error)),
                ClientOutput::Idle(until) => tokio::select! {
                    ready = self.socket.readable() => {
                        ready.or_exit(Exit::Network)?;
                        if let Some((from, datagram)) = self.receive() {
                            client.receive(from, datagram);
                        }
                    }
                    () = passed(until) => {}
                },
            }
        }
    }

    async fn pass(&mut self, tunnel: Tunnel, to: &Address) -> Result<Exit, Failure> {
        let start = Start::Within(Duration::ZERO);
        let mut connection = Connection::new(tunnel, start, IDLE, Instant::now());
        connection.credit(CREDIT);
        let mut input = input();
        let (mut rest, mut read) = (Vec::new(), 0);
        let (output, mut written) = output();
        let mut output = Some(output);
        let mut ends = Ends::default();
        loop {
            let deadline = loop {
                match connection.poll(Instant::now(), &mut self.out) {
                    Output::Transmit(to) => self.send(to).await,
                    Output::Event(event) => match event {
                        Event::Data(bytes) => {
                            // It is read to its end even if nobody wants it any more.
                            if let Some(output) = &output {
                                let _ = output.send(bytes);
                            }
                        }
                        Event::Eof | Event::Failed => {
                            ends.failed = event == Event::Failed;
                            output = None;
                        }
                        Event::Sent => ends.sent = true,
                        Event::Closed(why) => return over(why, to),
                    },
                    Output::Idle(deadline) => break deadline,
                }
            };
            let staying = ends.staying(Instant::now());
            if staying.is_some_and(|until| until <= Instant::now()) {
                return match ends.failed {
                    false => Ok(Exit::Done),
                    true => Err(Failure::because(
                        Exit::Failed,
                        format_args!("{}: its stream broke off, by its own account", to.at),
                    )),
                };
            }
            let deadline = deadline.into_iter().chain(staying).min();
            let room = connection.room() > 0;
            tokio::select! {
                ready = self.socket.readable() => {
                    ready.or_exit(Exit::Network)?;
                    // Each is answered at once: a sender of the reference goes by when answers come.
                    if let Some((from, datagram)) = self.receive() {
                        connection.receive(Instant::now(), from, datagram);
                    }
                }
                chunk = input.recv(), if room && read == rest.len() && !ends.read => match chunk {
                    Some(Ok(chunk)) => (rest, read) = (chunk, 0),
                    Some(Err(error)) => {
                        tracing::error!("cannot read standard input: {error}");
                        ends.read = true;
                        connection.fail();
                    }
                    None => {
                        ends.read = true;
                        connection.finish();
                    }
                },
                done = written.recv(), if !ends.written => match done {
                    Some(Ok(bytes)) => connection.credit(bytes),
                    Some(Err(error)) if error.kind() == ErrorKind::BrokenPipe => {
                        return Ok(Exit::Done);
                    }
                    Some(Err(error)) => {
                        return Err(error)
                            .or_exit_with(Exit::Failed, || "cannot write to standard output");
                    }
                    None => ends.written = true,
                },
                () = passed(deadline) => {}
            }
            if read < rest.len() {
                read += connection.write(rest.get(read..).unwrap_or_default());
            }
        }
    }
}

/// What has come to its end.
#[derive(Debug, Default)]
struct Ends {
    /// Standard input.
    read: bool,
    /// What was read, sent.
    sent: bool,
    /// What came, written.
    written: bool,
    /// What came did not come whole.
    failed: bool,
    /// When we go.
    until: Option<Instant>,
}

impl Ends {
    fn staying(&mut self, now: Instant) -> Option<Instant> {
        let done = self.sent && self.written;
        done.then(|| *self.until.get_or_insert(now + LINGER))
    }
}

fn over(why: Closed, to: &Address) -> Result<Exit, Failure> {
    let (exit, text) = match why {
        Closed::Done => return Ok(Exit::Done),
        Closed::Idle => (Exit::Network, "nothing has come from there for too long"),
        Closed::Unanswered => (
            Exit::Refused,
            "it has the right key and lets us not in: is its name right, does it want another key \
             of ours, has it room?",
        ),
    };
    Err(Failure::because(exit, format_args!("{}: {text}", to.at)))
}

/// What the key room of a client says.
pub(super) fn vouch(ask: &Ask, own: &SecretKey, random: &mut Random) -> Answer {
    match (ask, own.public()) {
        (Ask::Vouch { client, server }, Some(key)) => {
            let mut nonce = [0; 16];
            random.fill_bytes(&mut nonce);
            let vouch = Box::new(keyroom::vouch(own, client, server, nonce));
            Answer::Vouch { key, vouch }
        }
        _ => Answer::Refused(Refusal::NotAccepted),
    }
}

/// Standard input, read by a thread of its own, no more than one piece ahead.
fn input() -> mpsc::Receiver<io::Result<Vec<u8>>> {
    let (pieces, there) = mpsc::channel(1);
    thread::spawn(move || {
        let mut input = io::stdin().lock();
        loop {
            let mut piece = vec![0; CHUNK];
            let read = match input.read(&mut piece) {
                Ok(0) => return,
                Ok(length) => {
                    piece.truncate(length);
                    Ok(piece)
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            if pieces.blocking_send(read).is_err() || failed {
                return;
            }
        }
    });
    there
}

type Written = io::Result<usize>;

/// Standard output, written by a thread of its own, which says how much it has written. It ends once
/// all is written.
fn output() -> (
    std::sync::mpsc::Sender<Vec<u8>>,
    mpsc::UnboundedReceiver<Written>,
) {
    let (pieces, inbox) = std::sync::mpsc::channel::<Vec<u8>>();
    let (done, written) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let mut output = io::stdout().lock();
        for piece in inbox {
            let result = output.write_all(&piece).and_then(|()| output.flush());
            let failed = result.is_err();
            if done.send(result.map(|()| piece.len())).is_err() || failed {
                return;
            }
        }
    });
    (pieces, written)
}

pub(super) async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
