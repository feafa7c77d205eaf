//! `moonport curvecpclient`: one connection, and a handler for it.

use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use anyhow::{Context, bail};
use rand_core::Rng;
use tokio::net::UdpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::LocalSet;

use super::super::connect::random::Random;
use super::super::output::tell;
use super::args;
use super::connect::passed;
use super::handler::{Closed, GRACE, Handler, Inlet, Program};
use super::keydir::KeyDir;
use super::{DATAGRAM, FATAL, bind, unignore_children};
use crate::host::own_extension;
use crate::wire::Refusal;
use crate::wire::crypto::SecretKey;
use crate::wire::curvecp::{Answer, Ask, Client, ClientConfig, ClientOutput, Tunnel, keyroom};

/// As many datagrams are read before the handler gets its turn.
const TURN: usize = 8;

/// Runs the program until it ends. Gives the exit code.
pub(in super::super) fn run(args: args::Client) -> u8 {
    let quiet = args.quiet;
    match start(args) {
        Ok(code) => code,
        Err(error) => {
            if !quiet {
                tell(format_args!("moonport: {error:#}"));
            }
            FATAL
        }
    }
}

fn start(args: args::Client) -> anyhow::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, connect(args))
}

async fn connect(args: args::Client) -> anyhow::Result<u8> {
    let mut rng = Random::new()?;
    let own = Own::new(&args, &mut rng).context("cannot use the key directory")?;
    let config = ClientConfig {
        addresses: args
            .ips
            .0
            .iter()
            .map(|&ip| (ip, args.port).into())
            .collect(),
        server: args.server,
        name: args.name,
        extension: args.extension,
        own: own_extension(),
    };
    let socket = bind((Ipv4Addr::UNSPECIFIED, 0).into()).context("cannot make a socket")?;
    let _children = unignore_children()?;
    let mut end = Signals::new()?;
    let mut link = Link {
        socket,
        out: Vec::new(),
        buffer: vec![0; DATAGRAM],
    };
    let client = Client::new(config, Instant::now(), Random::new()?);
    let mut tunnel = tokio::select! {
        tunnel = link.greet(client, own, &mut rng) => tunnel?,
        code = end.next() => return Ok(code),
    };
    if args.verbose {
        tell(format_args!("moonport: {} answers", tunnel.to()));
    }
    let started = Program::new(args.program).start(None);
    let (mut handler, inlet) = started.context("cannot start the program")?;
    tokio::select! {
        talked = link.talk(&mut tunnel, &mut handler, inlet) => talked?,
        code = end.next() => {
            handler.end(GRACE).await;
            return Ok(code);
        }
    }
    handler.close();
    tokio::select! {
        code = handler.wait() => Ok(code),
        code = end.next() => {
            handler.end(GRACE).await;
            Ok(code)
        }
    }
}

/// Our long-term key, and where nonces for its boxes come from.
enum Own {
    Kept(Box<KeyDir>),
    /// It is for this connection alone.
    Made(SecretKey),
}

impl Own {
    fn new(args: &args::Client, rng: &mut Random) -> anyhow::Result<Self> {
        Ok(match &args.keys {
            Some(folder) => Self::Kept(Box::new(KeyDir::open(folder, 1)?)),
            None => Self::Made(SecretKey::generate(rng)),
        })
    }

    fn answer(&mut self, ask: &Ask, rng: &mut Random) -> anyhow::Result<Answer> {
        let Ask::Vouch { client, server } = ask else {
            return Ok(Answer::Refused(Refusal::NotAccepted));
        };
        let nonce = match self {
            Self::Kept(keys) => keys.nonce(rng)?,
            Self::Made(_) => {
                let mut nonce = [0; 16];
                rng.fill_bytes(&mut nonce);
                nonce
            }
        };
        let secret = match self {
            Self::Kept(keys) => &keys.secret,
            Self::Made(secret) => secret,
        };
        let key = secret.public().context("our key is none")?;
        let vouch = Box::new(keyroom::vouch(secret, client, server, nonce));
        Ok(Answer::Vouch { key, vouch })
    }
}

/// What tells us to end.
struct Signals([(Signal, u8); 3]);

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let heard = |kind: SignalKind| {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
            anyhow::Ok((signal(kind)?, 128 + number))
        };
        Ok(Self([
            heard(SignalKind::terminate())?,
            heard(SignalKind::interrupt())?,
            heard(SignalKind::hangup())?,
        ]))
    }

    /// The exit code of the one that comes.
    async fn next(&mut self) -> u8 {
        let Self([(terminate, a), (interrupt, b), (hangup, c)]) = self;
        tokio::select! {
            _ = terminate.recv() => *a,
            _ = interrupt.recv() => *b,
            _ = hangup.recv() => *c,
        }
    }
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
        loop {
            match self.socket.try_recv_from(&mut self.buffer) {
                Ok((length, from)) => return Some((from, self.buffer.get_mut(..length)?)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
                // Such as that an earlier one has not arrived, as anybody might say.
                Err(_) => {}
            }
        }
    }

    async fn greet(
        &mut self,
        mut client: Client<Random>,
        mut own: Own,
        rng: &mut Random,
    ) -> anyhow::Result<Tunnel> {
        loop {
            match client.poll(Instant::now(), &mut self.out) {
                ClientOutput::Transmit(to) => self.send(to).await,
                ClientOutput::Ask(ask) => client.answer(own.answer(&ask, rng)?),
                ClientOutput::Connected(tunnel) => return Ok(*tunnel),
                ClientOutput::Failed(error) => bail!("{error}"),
                ClientOutput::Idle(until) => tokio::select! {
                    ready = self.socket.readable() => {
                        ready?;
                        if let Some((from, datagram)) = self.receive() {
                            client.receive(from, datagram);
                        }
                    }
                    () = passed(until) => {}
                },
            }
        }
    }

    /// Passes messages on until the handler wants no more.
    async fn talk(
        &mut self,
        tunnel: &mut Tunnel,
        handler: &mut Handler,
        inlet: Rc<Inlet>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                ready = self.socket.readable() => {
                    ready?;
                    let mut turn = TURN;
                    while turn > 0 && let Some((from, datagram)) = self.receive() {
                        turn -= 1;
                        if let Some(message) = tunnel.open(from, datagram) {
                            inlet.give(message);
                        }
                    }
                    if turn == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                ready = handler.ready() => {
                    if ready == Err(Closed) {
                        return Ok(());
                    }
                    loop {
                        let message = match handler.message() {
                            Ok(Some(message)) => message,
                            Ok(None) => break,
                            Err(Closed) => return Ok(()),
                        };
                        // Too long before the server has been heard.
                        if !tunnel.seal(message, &mut self.out) {
                            return Ok(());
                        }
                        self.send(tunnel.to()).await;
                    }
                }
            }
        }
    }
}
