//! `moonport curvecpserver`: one socket, and a handler for each client.
//!
//! The socket's reader tells packets apart, lets clients in, and passes what they say to their
//! handlers at once; what a handler says is passed on by a task of its own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::mem;
use std::net::{SocketAddr, SocketAddrV4};
use std::path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Context;
use identity::PublicKey;
use tokio::net::UdpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::{sleep_until, timeout};

use super::super::connect::random::Random;
use super::super::output::tell;
use super::args::Server;
use super::handler::{Closed, GRACE, Handler, Inlet, Program};
use super::keydir::{self, KeyDir};
use super::{DATAGRAM, FATAL, bind, unignore_children};
use crate::wire::Refusal;
use crate::wire::cookie::Jar;
use crate::wire::curvecp::keyroom;
use crate::wire::curvecp::{
    Accepted, Answer, Ask, Endpoint, EndpointConfig, Extension, Outcome, ServerName, Tunnel,
};

/// As many datagrams are read before the tasks get their turn.
const TURN: usize = 8;

/// Serves until it is told to end. Gives the exit code.
pub(in super::super) fn run(args: Server) -> u8 {
    let quiet = args.quiet;
    match start(args) {
        Ok(()) => 0,
        Err(error) => {
            if !quiet {
                tell(format_args!("moonport: {error:#}"));
            }
            FATAL
        }
    }
}

fn start(mut args: Server) -> anyhow::Result<()> {
    let program = Program::of_many(mem::take(&mut args.program));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(args, program))
}

async fn serve(args: Server, program: Program) -> anyhow::Result<()> {
    let keys = path::absolute(&args.keys)
        .map_err(anyhow::Error::from)
        .and_then(|folder| Ok(KeyDir::open(&folder, keydir::MANY)?))
        .context("cannot use the key directory")?;
    let at = SocketAddrV4::new(args.ip, args.port);
    let socket = bind(at.into()).with_context(|| format!("cannot listen on {at}"))?;
    let _children = unignore_children()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    if args.verbose {
        tell(format_args!(
            "moonport: serving on {}",
            socket.local_addr()?
        ));
    }
    let mut service = Service::new(args, program, keys, socket)?;
    loop {
        tokio::select! {
            biased;
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => break,
            // Places are given back before anybody asks for one.
            Some(client) = service.over.recv() => service.close(&client),
            Some(_) = service.tasks.join_next() => {}
            ready = service.socket.readable() => {
                ready?;
                if service.read()? {
                    yield_now().await;
                }
            }
        }
    }
    let Service {
        mut tasks,
        ending,
        clients,
        ..
    } = service;
    drop((ending, clients));
    tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => {}
        // Whoever asks twice does not wait.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// A client that has been let in.
struct Peer {
    tunnel: RefCell<Tunnel>,
    inlet: Rc<Inlet>,
    /// When something came from it last.
    heard: Cell<Instant>,
}

impl Peer {
    fn receive(&self, from: SocketAddr, datagram: &mut [u8]) {
        if let Some(message) = self.tunnel.borrow_mut().open(from, datagram) {
            self.heard.set(Instant::now());
            self.inlet.give(message);
        }
    }
}

struct Service {
    socket: Rc<UdpSocket>,
    endpoint: Endpoint<Random>,
    room: KeyRoom,
    program: Program,
    /// By their short-term keys (C′).
    clients: HashMap<PublicKey, Rc<Peer>>,
    tasks: JoinSet<()>,
    client: Client,
    /// Which connections are over.
    over: mpsc::UnboundedReceiver<PublicKey>,
    /// Once this is gone, all ends.
    ending: watch::Sender<()>,
    buffer: Vec<u8>,
}

/// Who answers questions, where everything is in one process.
struct KeyRoom {
    keys: KeyDir,
    jar: Jar,
    rng: Random,
    name: ServerName,
    extension: Extension,
}

impl KeyRoom {
    fn answer(&mut self, ask: &Ask) -> anyhow::Result<Answer> {
        let (now, rng) = (Instant::now(), &mut self.rng);
        let answer = match ask {
            Ask::Hello(hello) => {
                let nonce = self.keys.nonce(rng).context("no more nonces can be made")?;
                let (jar, hosts) = (&mut self.jar, [&self.keys.secret]);
                keyroom::cookie_with(hello, self.extension, nonce, &hosts, jar, now, rng)
                    .map(|cookie| Answer::Cookie(Box::new(cookie)))
            }
            Ask::Initiate(packet) => {
                let (jar, hosts) = (&mut self.jar, [&self.keys.secret]);
                keyroom::initiate(packet, &hosts, &self.name, jar, now, rng)
                    .map(|proved| Answer::Session(proved.session))
            }
            Ask::Vouch { .. } => return Ok(Answer::Refused(Refusal::NotAccepted)),
        };
        Ok(answer.unwrap_or(Answer::Refused(Refusal::NotAccepted)))
    }
}

impl Service {
    fn new(
        args: Server,
        program: Program,
        keys: KeyDir,
        socket: UdpSocket,
    ) -> anyhow::Result<Self> {
        let mut rng = Random::new()?;
        let config = EndpointConfig {
            extension: args.extension,
            connections: args.clients.into(),
            ..EndpointConfig::default()
        };
        let (tell_over, over) = mpsc::unbounded_channel();
        let (ending, told) = watch::channel(());
        let socket = Rc::new(socket);
        Ok(Self {
            endpoint: Endpoint::new(config, Random::new()?),
            room: KeyRoom {
                keys,
                jar: Jar::new(keyroom::COOKIES, Instant::now(), &mut rng),
                rng,
                name: args.name,
                extension: args.extension,
            },
            program,
            clients: HashMap::new(),
            tasks: JoinSet::new(),
            client: Client {
                socket: Rc::clone(&socket),
                idle: args.idle,
                leftovers: Rc::new(Semaphore::new(args.clients.into())),
                verbose: args.verbose,
                over: tell_over,
                ending: told,
            },
            socket,
            over,
            ending,
            buffer: vec![0; DATAGRAM],
        })
    }

    /// Reads what has come, as far as the others can wait for; says whether there may be more.
    fn read(&mut self) -> anyhow::Result<bool> {
        for _ in 0..TURN {
            // What is wrong with a datagram that was sent is told here, and is no harm.
            let Ok((length, from)) = self.socket.try_recv_from(&mut self.buffer) else {
                return Ok(false);
            };
            let datagram = self.buffer.get_mut(..length).unwrap_or_default();
            if let Some(client) = self.endpoint.handle(from, datagram) {
                if let Some(peer) = self.clients.get(&client) {
                    peer.receive(from, datagram);
                }
                continue;
            }
            while let Some((question, ask)) = self.endpoint.poll() {
                let answer = self.room.answer(&ask)?;
                match self.endpoint.answer(question, answer) {
                    Outcome::Nothing => {}
                    Outcome::Transmit(to, packet) => {
                        let _ = self.socket.try_send_to(&packet.0, to);
                    }
                    Outcome::Open(accepted) => self.open(*accepted),
                }
            }
        }
        Ok(true)
    }

    /// Starts the handler of a client that has been let in.
    fn open(&mut self, accepted: Accepted) {
        let client = *accepted.tunnel.short_term_key();
        let from = accepted.tunnel.to();
        let started = self.program.start(Some((&accepted.key, from.ip())));
        let (handler, inlet) = match started {
            Ok(started) => started,
            Err(error) => {
                tracing::error!("cannot start the program: {error}");
                return self.endpoint.close(&client);
            }
        };
        for message in &accepted.messages {
            inlet.give(message);
        }
        let peer = Rc::new(Peer {
            tunnel: RefCell::new(accepted.tunnel),
            inlet,
            heard: Cell::new(Instant::now()),
        });
        self.clients.insert(client, Rc::clone(&peer));
        let with = self.client.clone();
        self.tasks
            .spawn_local(with.serve(client, accepted.key, peer, handler));
    }

    fn close(&mut self, client: &PublicKey) {
        self.clients.remove(client);
        self.endpoint.close(client);
    }
}

/// What each client's task has.
#[derive(Clone)]
struct Client {
    socket: Rc<UdpSocket>,
    idle: Duration,
    /// As many handlers may go on, for a while, after their connection.
    leftovers: Rc<Semaphore>,
    verbose: bool,
    over: mpsc::UnboundedSender<PublicKey>,
    ending: watch::Receiver<()>,
}

/// Why a connection is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    Handler,
    Idle,
    Ending,
}

impl Client {
    async fn serve(
        mut self,
        client: PublicKey,
        key: PublicKey,
        peer: Rc<Peer>,
        mut handler: Handler,
    ) {
        let from = peer.tunnel.borrow().to();
        if self.verbose {
            tell(format_args!("moonport: {from} {key}: let in"));
        }
        let over = self.talk(&peer, &mut handler).await;
        let _ = self.over.send(client);
        drop(peer);
        handler.close();
        if self.verbose {
            let why = match over {
                Over::Handler => "the program is done",
                Over::Idle => "nothing has come for too long",
                Over::Ending => "the server ends",
            };
            tell(format_args!("moonport: {from} {key}: over, {why}"));
        }
        if over == Over::Handler
            && let Ok(_place) = self.leftovers.try_acquire()
        {
            tokio::select! {
                _ = timeout(self.idle, handler.wait()) => {}
                _ = self.ending.changed() => {}
            }
        }
        handler.end(GRACE).await;
    }

    async fn talk(&mut self, peer: &Peer, handler: &mut Handler) -> Over {
        let silence = sleep_until((peer.heard.get() + self.idle).into());
        tokio::pin!(silence);
        let mut out = Vec::new();
        loop {
            tokio::select! {
                ready = handler.ready() => {
                    if ready == Err(Closed) {
                        return Over::Handler;
                    }
                    loop {
                        let message = match handler.message() {
                            Ok(Some(message)) => message,
                            Ok(None) => break,
                            Err(Closed) => return Over::Handler,
                        };
                        out.clear();
                        let to = {
                            let mut tunnel = peer.tunnel.borrow_mut();
                            tunnel.seal(message, &mut out).then(|| tunnel.to())
                        };
                        if let Some(to) = to {
                            // A packet that cannot be sent is lost.
                            let _ = self.socket.send_to(&out, to).await;
                        }
                    }
                }
                () = &mut silence => {
                    let until = peer.heard.get() + self.idle;
                    if until <= Instant::now() {
                        return Over::Idle;
                    }
                    silence.as_mut().reset(until.into());
                }
                _ = self.ending.changed() => return Over::Ending,
            }
        }
    }
}
