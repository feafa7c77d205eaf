//! `moonport curvecpserver`: one socket, and a handler for each client.
//!
//! The socket's reader tells packets apart and lets clients in; each client has a task of its own,
//! which holds its tunnel and its handler. What a task does not take in time is lost, as on the
//! network.

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
use tokio::time::{sleep, timeout};

use super::super::connect::random::Random;
use super::super::output::tell;
use super::args::Server;
use super::handler::{Closed, GRACE, Handler, Program};
use super::keydir::{self, KeyDir};
use super::{DATAGRAM, FATAL, bind};
use crate::wire::Refusal;
use crate::wire::cookie::Jar;
use crate::wire::curvecp::keyroom;
use crate::wire::curvecp::{
    Accepted, Answer, Ask, Endpoint, EndpointConfig, Extension, Outcome, ServerName, Tunnel,
};

/// As many datagrams wait for a client's task.
const WAITING: usize = 128;
/// As many are read before the tasks get their turn.
const TURN: usize = 64;

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
    // What is handled here is as usual in what is started, even if it was ignored.
    let _children = signal(SignalKind::child())?;
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
                service.read()?;
                yield_now().await;
            }
        }
    }
    let Service {
        mut tasks, ending, ..
    } = service;
    drop(ending);
    tokio::select! {
        () = async { while tasks.join_next().await.is_some() {} } => {}
        // Whoever asks twice does not wait.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

type Datagram = (SocketAddr, Vec<u8>);

struct Service {
    socket: Rc<UdpSocket>,
    endpoint: Endpoint<Random>,
    room: KeyRoom,
    program: Program,
    /// Where the packets of each client (C′) go.
    clients: HashMap<PublicKey, mpsc::Sender<Datagram>>,
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

    /// Reads what has come, as far as the others can wait for.
    fn read(&mut self) -> anyhow::Result<()> {
        for _ in 0..TURN {
            // What is wrong with a datagram that was sent is told here, and is no harm.
            let Ok((length, from)) = self.socket.try_recv_from(&mut self.buffer) else {
                return Ok(());
            };
            let datagram = self.buffer.get(..length).unwrap_or_default();
            if let Some(client) = self.endpoint.handle(from, datagram) {
                if let Some(packets) = self.clients.get(&client) {
                    let _ = packets.try_send((from, datagram.to_vec()));
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
        Ok(())
    }

    /// Starts the handler of a client that has been let in.
    fn open(&mut self, accepted: Accepted) {
        let client = *accepted.tunnel.short_term_key();
        let from = accepted.tunnel.to();
        let mut handler = match self.program.start(Some((&accepted.key, from.ip()))) {
            Ok(handler) => handler,
            Err(error) => {
                tracing::error!("cannot start the program: {error}");
                return self.endpoint.close(&client);
            }
        };
        for message in &accepted.messages {
            handler.give(message);
        }
        handler.flush();
        let (packets, inbox) = mpsc::channel(WAITING);
        self.clients.insert(client, packets);
        let with = self.client.clone();
        let task = with.serve(accepted.key, accepted.tunnel, handler, inbox);
        self.tasks.spawn_local(task);
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
        key: PublicKey,
        mut tunnel: Tunnel,
        mut handler: Handler,
        mut inbox: mpsc::Receiver<Datagram>,
    ) {
        let from = tunnel.to();
        if self.verbose {
            tell(format_args!("moonport: {from} {key}: let in"));
        }
        let over = self.talk(&mut tunnel, &mut handler, &mut inbox).await;
        let _ = self.over.send(*tunnel.short_term_key());
        drop(inbox);
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

    async fn talk(
        &mut self,
        tunnel: &mut Tunnel,
        handler: &mut Handler,
        inbox: &mut mpsc::Receiver<Datagram>,
    ) -> Over {
        let mut heard = tokio::time::Instant::now();
        let silence = sleep(self.idle);
        tokio::pin!(silence);
        let (mut packets, mut out) = (Vec::new(), Vec::new());
        loop {
            tokio::select! {
                count = inbox.recv_many(&mut packets, TURN) => {
                    if count == 0 {
                        return Over::Ending;
                    }
                    for (from, mut packet) in packets.drain(..) {
                        if let Some(message) = tunnel.open(from, &mut packet) {
                            heard = tokio::time::Instant::now();
                            handler.give(message);
                        }
                    }
                    handler.flush();
                }
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
                        if tunnel.seal(message, &mut out) {
                            // A packet that cannot be sent is lost.
                            let _ = self.socket.send_to(&out, tunnel.to()).await;
                        }
                    }
                }
                () = &mut silence => {
                    let until = heard + self.idle;
                    if until <= tokio::time::Instant::now() {
                        return Over::Idle;
                    }
                    silence.set(sleep(until - tokio::time::Instant::now()));
                }
                _ = self.ending.changed() => return Over::Ending,
            }
        }
    }
}
