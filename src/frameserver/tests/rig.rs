//! The processes around a frameserver, played in one thread: a host with the real key room, a
//! script, and clients over TCP.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use identity::Secret;
use rand_core::SeedableRng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinHandle, LocalSet};

use crate::frameserver::hub::{Gone, Hub};
use crate::ipc::frameserver::{
    Candidate, Ended, FromFrameserver, Listen, Speaks, Strangers, ToFrameserver,
};
use crate::ipc::link::{FromScript, ToScript};
use crate::ipc::{AsyncSocket, ConnectionId, Received, SegmentId, SessionId, Socket, Unproved};
use crate::wire::a12::event::{External, SegmentKind, Text};
use crate::wire::a12::keyroom::{self, Claim, Pending};
use crate::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, SecretId, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{self, Error, Input, Output, Protocol, Refusal};

/// Runs a test; twenty seconds are for ever.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new()
        .block_on(&runtime, async {
            tokio::time::timeout(Duration::from_secs(60), test).await
        })
        .expect("the test hangs");
}

/// How a frameserver is set up.
pub(super) struct Setup {
    pub(super) handshake: Duration,
    pub(super) unproved: u32,
    /// Bytes that the kernel keeps for a client.
    pub(super) send_buffer: Option<usize>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(30),
            unproved: 64,
            send_buffer: None,
        }
    }
}

/// A frameserver and what is around it.
pub(super) struct Rig {
    pub(super) host: Host,
    pub(super) script: Script,
    pub(super) address: SocketAddr,
    pub(super) served: JoinHandle<Result<(), Gone>>,
}

impl Rig {
    pub(super) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    pub(super) async fn with(setup: Setup) -> Self {
        let (host, control) = Socket::pair().unwrap();
        let (script, data) = Socket::pair().unwrap();
        let (socket, address) = listening_socket();
        if let Some(bytes) = setup.send_buffer {
            rustix::net::sockopt::set_socket_send_buffer_size(&socket, bytes).unwrap();
        }
        let listen = listen(&setup);
        let hub = Hub::new(listen, vec![data.into_fd(), socket]).unwrap();
        let control = AsyncSocket::new(control).unwrap();
        Self {
            host: Host::new(host),
            script: Script::new(script),
            address,
            served: tokio::task::spawn_local(async move { hub.serve(&control).await }),
        }
    }

    /// A client that has been proved, and its session.
    pub(super) async fn proved(&mut self, rounds: Rounds) -> (Client, SessionId) {
        let mut client = Client::connect(self.address, rounds).await;
        let session = self.prove(&mut client).await;
        (client, session)
    }

    pub(super) async fn prove(&mut self, client: &mut Client) -> SessionId {
        let admitted = self.host.admits();
        let (session, ()) = tokio::join!(admitted, async {
            client.establish().await;
            client.register(0, "title").await;
        });
        session
    }

    /// A client whose REGISTER has reached the script.
    pub(super) async fn accepted(&mut self) -> (Client, SegmentId) {
        let (client, session) = self.proved(Rounds::Two).await;
        let segment = self.accept(session).await;
        (client, segment)
    }

    pub(super) async fn accept(&mut self, session: SessionId) -> SegmentId {
        let accept = true;
        self.host
            .say(ToFrameserver::Decision { session, accept })
            .await;
        let segment = SegmentId {
            session,
            channel: 0,
        };
        let registered = self.script.hears().await;
        assert_eq!(registered, register(segment, "title"));
        let events = 1;
        self.script
            .says(FromScript::Credit { segment, events })
            .await;
        segment
    }
}

pub(super) fn listen(setup: &Setup) -> Listen {
    Listen {
        speaks: Speaks::A12 {
            role: Role::Sink,
            secrets: vec![candidate(SECRET)],
        },
        handshake: setup.handshake,
        unproved: Unproved::at_most(setup.unproved),
        penalties: true,
        require_sandbox: false,
    }
}

pub(super) fn candidate(secret: &str) -> Candidate {
    Candidate {
        id: SecretId(1),
        keys: initial(secret),
    }
}

fn initial(secret: &str) -> StageKeys {
    StageKeys::initial(&Secret::parse(secret.as_bytes()).unwrap())
}

pub(super) fn listening_socket() -> (OwnedFd, SocketAddr) {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket.into(), address)
}

pub(super) const SECRET: &str = "a secret of the rig";

pub(super) fn register(segment: SegmentId, title: &str) -> ToScript {
    ToScript::Event {
        segment,
        event: External::Register {
            title: title.to_owned(),
            kind: KIND,
            guid: [3, 4],
        },
    }
}

pub(super) const KIND: SegmentKind = SegmentKind(5);

pub(super) fn text(text: &str) -> Text {
    Text {
        text: text.to_owned(),
        multipart: false,
    }
}

/// The host's end: a key room that accepts whom it is told to.
pub(super) struct Host {
    socket: AsyncSocket<ToFrameserver, FromFrameserver>,
    key: SecretKey,
    pub(super) accepts: bool,
    pending: HashMap<ConnectionId, Pending>,
    sessions: u64,
    /// What it has heard that no method has waited for.
    pub(super) heard: VecDeque<FromFrameserver>,
    /// What it was told last of strangers.
    pub(super) strangers: Strangers,
}

impl Host {
    pub(super) fn new(socket: Socket<ToFrameserver, FromFrameserver>) -> Self {
        Self {
            socket: AsyncSocket::new(socket).unwrap(),
            key: SecretKey::from_bytes([1; 32]),
            accepts: true,
            pending: HashMap::new(),
            sessions: 0,
            heard: VecDeque::new(),
            strangers: Strangers::default(),
        }
    }

    pub(super) async fn say(&self, message: ToFrameserver) {
        self.socket.send(&message, &[]).await.unwrap();
    }

    pub(super) async fn hand(&self, message: ToFrameserver, fds: &[OwnedFd]) {
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.socket.send(&message, &fds).await.unwrap();
    }

    /// The next message.
    pub(super) async fn hears(&mut self) -> FromFrameserver {
        if let Some(heard) = self.heard.pop_front() {
            return heard;
        }
        loop {
            match self.socket.recv().await.unwrap() {
                Received::Message(FromFrameserver::Strangers(told), _) => self.strangers = told,
                Received::Message(message, _) => return message,
                Received::Closed => panic!("the frameserver is gone"),
            }
        }
    }

    /// What it is told next of strangers; all else is for later.
    pub(super) async fn counts(&mut self) -> Strangers {
        loop {
            match self.socket.recv().await.unwrap() {
                Received::Message(FromFrameserver::Strangers(told), _) => {
                    self.strangers = told;
                    return told;
                }
                Received::Message(message, _) => self.heard.push_back(message),
                Received::Closed => panic!("the frameserver is gone"),
            }
        }
    }

    /// Answers questions until somebody has been admitted.
    pub(super) async fn admits(&mut self) -> SessionId {
        let mut aside = VecDeque::new();
        let admitted = loop {
            match self.hears().await {
                FromFrameserver::Ask {
                    connection, ask, ..
                } => {
                    let answer = self.answer(connection, &ask);
                    if let Some(session) = self.reply(connection, answer).await {
                        break session;
                    }
                }
                other => aside.push_back(other),
            }
        };
        self.heard.append(&mut aside);
        admitted
    }

    /// Answers questions until a connection that was no session has ended.
    pub(super) async fn closes(&mut self) -> Ended {
        loop {
            match self.hears().await {
                FromFrameserver::Ask {
                    connection, ask, ..
                } => {
                    let answer = self.answer(connection, &ask);
                    assert_eq!(self.reply(connection, answer).await, None);
                }
                FromFrameserver::Closed { why, .. } => return why,
                other => panic!("{other:?}"),
            }
        }
    }

    /// The end of a session.
    pub(super) async fn loses(&mut self) -> (SessionId, Ended) {
        match self.hears().await {
            FromFrameserver::Gone { session, why } => (session, why),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn reply(
        &mut self,
        connection: ConnectionId,
        answer: impl Into<wire::Answer>,
    ) -> Option<SessionId> {
        let answer = answer.into();
        let session = answer.admits().then(|| {
            self.sessions += 1;
            SessionId(self.sessions)
        });
        self.say(ToFrameserver::Answer {
            connection,
            answer,
            session,
        })
        .await;
        session
    }

    pub(super) fn answer(&mut self, connection: ConnectionId, ask: &wire::Ask) -> Answer {
        let wire::Ask::A12(ask) = ask else {
            panic!("asked for another protocol");
        };
        match ask {
            Ask::Claim { hello, rounds, .. } if self.accepts => {
                let claim = Claim::parse(hello).unwrap();
                let nonce = [7; 8];
                let pending = claim.challenge(&self.key, *rounds, nonce);
                self.pending.insert(connection, pending);
                let host = self.key.public().unwrap();
                Answer::Challenge { host, nonce }
            }
            Ask::Proof(packet) => match self.pending[&connection].prove(packet) {
                Ok(keys) => Answer::Session(keys),
                Err(Error::Again { .. }) => Answer::More,
                Err(_) => Answer::Refused(Refusal::NotAccepted),
            },
            _ => Answer::Refused(Refusal::NotAccepted),
        }
    }
}

/// The script's end of the data link.
pub(super) struct Script {
    socket: AsyncSocket<Vec<FromScript>, Vec<ToScript>>,
    heard: VecDeque<ToScript>,
}

impl Script {
    pub(super) fn new(socket: Socket<Vec<FromScript>, Vec<ToScript>>) -> Self {
        Self {
            socket: AsyncSocket::new(socket).unwrap(),
            heard: VecDeque::new(),
        }
    }

    pub(super) async fn says(&self, message: FromScript) {
        self.says_all(&vec![message]).await;
    }

    pub(super) async fn says_all(&self, messages: &Vec<FromScript>) {
        self.socket.send(messages, &[]).await.unwrap();
    }

    /// The next message.
    pub(super) async fn hears(&mut self) -> ToScript {
        loop {
            if let Some(heard) = self.heard.pop_front() {
                return heard;
            }
            match self.socket.recv().await.unwrap() {
                Received::Message(batch, _) => self.heard.extend(batch),
                Received::Closed => panic!("the frameserver is gone"),
            }
        }
    }
}

/// A client that answers its own questions.
pub(super) struct Client {
    stream: TcpStream,
    machine: Initiator<ChaCha20Rng>,
    key: SecretKey,
    events: VecDeque<Event>,
}

impl Client {
    pub(super) async fn connect(address: SocketAddr, rounds: Rounds) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap(), rounds, SECRET)
    }

    /// One whose kernel takes few bytes for it.
    pub(super) async fn narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(address).await.unwrap(), Rounds::One, SECRET)
    }

    pub(super) fn over(stream: TcpStream, rounds: Rounds, secret: &str) -> Self {
        let key = SecretKey::from_bytes([2; 32]);
        Self {
            stream,
            machine: Self::machine(&key, rounds, secret),
            key,
            events: VecDeque::new(),
        }
    }

    fn machine(key: &SecretKey, rounds: Rounds, secret: &str) -> Initiator<ChaCha20Rng> {
        let config = InitiatorConfig {
            role: Role::Source,
            initial: initial(secret),
            public: key.public().unwrap(),
            rounds,
            handshake: Duration::from_secs(30),
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).unwrap();
        Initiator::new(config, Instant::now(), ChaCha20Rng::from_seed(seed))
    }

    /// What a client sends first.
    pub(super) fn first_packet() -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut machine = Self::machine(&SecretKey::from_bytes([2; 32]), Rounds::One, SECRET);
        while !matches!(machine.poll(&mut bytes), Output::Idle(_)) {}
        bytes
    }

    /// The bare connection.
    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends what the machine has to send, and answers what it asks.
    async fn flush(&mut self) {
        let mut out = Vec::new();
        loop {
            match self.machine.poll(&mut out) {
                Output::Transmit => {}
                Output::Ask(ask) => {
                    let answer = match ask {
                        Ask::Server(hello) => {
                            let server = Claim::parse(&hello).unwrap();
                            Answer::Session(server.session(&self.key))
                        }
                        Ask::Ratchet(rekey) => {
                            Answer::Ratchet(keyroom::ratchet(&self.key, &rekey).unwrap())
                        }
                        other => panic!("{other:?}"),
                    };
                    let answer = Input::Answer(answer);
                    self.machine.handle(Instant::now(), answer).unwrap();
                }
                Output::Event(event) => self.events.push_back(event),
                Output::Idle(_) => break,
            }
        }
        // A server that has closed is noticed when reading.
        let _ = self.stream.write_all(&out).await;
    }

    /// The next event; `None`: the server has closed.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let mut bytes = [0; 4096];
        loop {
            self.flush().await;
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let room = self.machine.room().min(bytes.len());
            let read = self.stream.read(&mut bytes[..room]).await.unwrap_or(0);
            if read == 0 {
                return None;
            }
            let input = Input::Bytes(&bytes[..read]);
            self.machine.handle(Instant::now(), input).unwrap();
        }
    }

    pub(super) async fn establish(&mut self) {
        match self.next().await {
            Some(Event::Established { role }) => assert_eq!(role, Some(Role::Sink)),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn says(&mut self, command: Command) {
        let command = Input::Command(command);
        self.machine.handle(Instant::now(), command).unwrap();
        self.flush().await;
    }

    pub(super) async fn register(&mut self, channel: u8, title: &str) {
        let event = External::Register {
            title: title.to_owned(),
            kind: KIND,
            guid: [3, 4],
        };
        self.says(Command::External { channel, event }).await;
    }

    pub(super) async fn message(&mut self, words: &str) {
        let event = External::Message(text(words));
        self.says(Command::External { channel: 0, event }).await;
    }
}
