//! What the frameserver's peers have in common, and the loop between them, the host and the
//! script.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{OwnedFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Sender};

use super::accept::{Acceptor, Slots};
use super::datagram::{Dialled, Gate};
use super::door::{Door, Network, Room};
use super::driver::{self, Ticket, ToPeer};
use super::link::{Link, Outbox, PATIENCE};
use super::machine::{Config, Rules};
use super::pipes::Pipes;
use super::session;
use super::tally::Tally;
use crate::ipc::frameserver::{Ended, FromFrameserver, Listen, ToFrameserver};
use crate::ipc::link::{FromScript, ToScript};
use crate::ipc::{AsyncSocket, ConnectionId, Received, RecvError, SessionId};
use crate::wire::Answer;

/// The largest portion that is read from a peer at once, and about what one peer may do before the
/// others have their turn, in bytes.
pub(super) const PORTION: usize = 64 * 1024;

/// While so many messages wait for the host, nobody is accepted.
const HOST_PATIENCE: usize = 1024;

/// How long the script has to take the last messages when everything has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The control socket to the host.
pub(super) type Control = AsyncSocket<FromFrameserver, ToFrameserver>;

/// What all peers share. One thread, and nothing borrowed across an await.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) host: Questions,
    pub(super) script: Outbox,
    pub(super) peers: RefCell<Peers>,
    pub(super) door: RefCell<Door>,
    pub(super) config: RefCell<Config>,
    /// Where bytes of peers are read to; nobody needs it for longer than one step.
    pub(super) scratch: RefCell<Vec<u8>>,
    /// A peer has ended.
    pub(super) ended: Notify,
}

/// What waits to go to the host.
#[derive(Debug, Default)]
pub(super) struct Questions {
    queue: RefCell<VecDeque<FromFrameserver>>,
    filled: Notify,
}

impl Questions {
    pub(super) fn push(&self, message: FromFrameserver) {
        self.queue.borrow_mut().push_back(message);
        self.filled.notify_one();
    }

    pub(super) fn pop(&self) -> Option<FromFrameserver> {
        self.queue.borrow_mut().pop_front()
    }

    fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Waits until there is something, and sends until there is nothing. Cancel-safe: what is on
    /// its way stays in `sending`.
    async fn send(
        &self,
        control: &Control,
        sending: &mut Option<FromFrameserver>,
    ) -> Result<(), Gone> {
        loop {
            if sending.is_none() {
                *sending = self.pop();
            }
            match sending.as_ref() {
                None => self.filled.notified().await,
                Some(message) => {
                    let sent = control.send(message, &[]).await;
                    sent.map_err(|_| Gone::Host)?;
                    *sending = None;
                    if self.len() == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Where peers hear.
#[derive(Debug)]
pub(super) struct Peers {
    pub(super) unproved: Slots,
    pub(super) sessions: HashMap<SessionId, Sender<ToPeer>>,
    /// How many there are, with those that only have things left to say to the script.
    pub(super) live: usize,
}

/// Why the frameserver ends before its work is done.
#[derive(Debug, Error)]
pub(super) enum Gone {
    /// The control socket is closed; nobody decides any more.
    #[error("the host is gone")]
    Host,
    /// The host has broken the rules of the control socket.
    #[error("the host has said what it must not say here")]
    Rules,
    /// A descriptor that the host has handed over is of no use.
    #[error("a descriptor from the host cannot be used")]
    Descriptor(#[from] io::Error),
}

impl From<Rules> for Gone {
    fn from(Rules: Rules) -> Self {
        Self::Rules
    }
}

/// The listening sockets and the link, and what goes between them and the host.
#[derive(Debug)]
pub(super) struct Hub {
    shared: Rc<Shared>,
    sending: Option<FromFrameserver>,
    link: Link,
    /// `None` after [`ToFrameserver::StopListening`], or where datagrams are spoken.
    acceptor: Option<Acceptor>,
    /// Where datagrams are spoken.
    gate: Option<Rc<Gate>>,
    connections: Cell<u64>,
    tally: Tally,
}

impl Hub {
    /// Takes over what came with the host's first message.
    pub(super) fn new(listen: Listen, fds: Vec<OwnedFd>) -> Result<Self, Gone> {
        let mut fds = fds.into_iter();
        let data = fds.next().ok_or(Gone::Rules)?;
        let config = Config::new(listen.speaks, listen.handshake)?;
        let endpoint = match config {
            Config::CurveCp { extension, idle } => Some((extension, idle)),
            Config::A12(_)
            | Config::Zmtp { .. }
            | Config::ZmtpClient { .. }
            | Config::CurveCpClient(_) => None,
        };
        let shared = Rc::new(Shared {
            host: Questions::default(),
            script: Outbox::default(),
            peers: RefCell::new(Peers {
                unproved: Slots::default(),
                sessions: HashMap::new(),
                live: 0,
            }),
            door: RefCell::new(Door::new(listen.unproved, listen.penalties)),
            config: RefCell::new(config),
            scratch: RefCell::new(vec![0; PORTION]),
            ended: Notify::new(),
        });
        let mut link = Link::default();
        link.attach(data, &shared.script)?;
        let (acceptor, gate) = match endpoint {
            None => (Some(Acceptor::new(fds.collect())?), None),
            Some((extension, idle)) => {
                let (Some(socket), None) = (fds.next(), fds.next()) else {
                    return Err(Gone::Rules);
                };
                let questions = listen.unproved.full();
                let gate = Gate::new(&shared, socket, extension, idle, questions)?;
                (None, Some(gate))
            }
        };
        Ok(Self {
            sending: None,
            link,
            acceptor,
            gate,
            connections: Cell::new(0),
            tally: Tally::default(),
            shared,
        })
    }

    /// The socket from which datagrams go to anybody.
    pub(super) fn datagrams(&self) -> Option<RawFd> {
        self.gate.as_ref().and_then(|gate| gate.socket())
    }

    /// Serves until the host has had it stop listening and the last session has ended.
    ///
    /// To be run inside a [`tokio::task::LocalSet`].
    pub(super) async fn serve(mut self, control: &Control) -> Result<(), Gone> {
        if let Some(gate) = &self.gate {
            tokio::task::spawn_local(Rc::clone(gate).run());
        }
        while !self.is_done() {
            let shared = Rc::clone(&self.shared);
            let accepts = shared.host.len() < HOST_PATIENCE;
            self.tally.look(&shared);
            tokio::select! {
                sent = shared.host.send(control, &mut self.sending) => sent?,
                received = control.recv() => match received {
                    Ok(Received::Message(message, fds)) => self.host_says(message, fds)?,
                    Ok(Received::Closed) => return Err(Gone::Host),
                    Err(_) => return Err(Gone::Rules),
                },
                said = self.link.run(&shared.script, PATIENCE) => match said {
                    Some(said) => {
                        // The host speaks of a session before the script can, but on another socket.
                        if said.iter().all(|message| self.knows(message)) {
                            self.script_says(said);
                        } else {
                            self.link.unread(said);
                            self.catch_up(control)?;
                            self.script_said();
                        }
                    }
                    None => {
                        self.link.detach(&shared.script);
                        self.linked();
                    }
                },
                accepted = next(&mut self.acceptor), if accepts => match accepted {
                    Some((_, source)) if self.is_shut(source) => {}
                    Some((stream, source)) => {
                        // Secrets that the host has told before it came are for it.
                        self.catch_up(control)?;
                        if self.acceptor.is_some() {
                            self.welcome(stream, source);
                        }
                        // It is heard before the next one comes: in a rush, whoever has sent
                        // something already is not pushed out as one who has nothing to say.
                        tokio::task::yield_now().await;
                    }
                    // A stranger's descriptor is what can be given back.
                    None => self.make(Room::None),
                },
                () = shared.ended.notified() => {}
                () = self.tally.due() => self.tally.tell(&shared),
            }
        }
        // What is left to say, to a script that may not listen.
        let _ = tokio::time::timeout(LAST_WORDS, self.link.flush(&self.shared.script)).await;
        while let Some(message) = self.sending.take().or_else(|| self.shared.host.pop()) {
            control.send(&message, &[]).await.map_err(|_| Gone::Host)?;
        }
        Ok(())
    }

    fn is_done(&self) -> bool {
        let open = self.gate.as_ref().is_some_and(|gate| gate.is_open());
        self.acceptor.is_none() && !open && self.shared.peers.borrow().live == 0
    }

    /// Whether nobody is taken in from there now: such a connection is closed at once, without
    /// another thought.
    fn is_shut(&self, source: SocketAddr) -> bool {
        let door = self.shared.door.borrow();
        let shut = door.is_shut(driver::now(), Network::of(source.ip()));
        if shut {
            self.tally.refused();
        }
        shut
    }

    /// A connection has been accepted.
    fn welcome(&self, stream: TcpStream, source: SocketAddr) {
        let held = self.shared.peers.borrow().unproved.len();
        // Without dice everybody is unlucky.
        let dice = getrandom::u32().unwrap_or(0);
        let room = self.shared.door.borrow().room(held, dice);
        self.make(room);
        let connection = ConnectionId(self.connections.get());
        self.connections.set(connection.0 + 1);
        let (inbox, told) = mpsc::channel(session::MAX_UNREAD);
        let ticket = Ticket::new(Rc::clone(&self.shared), connection, source);
        let mut peers = self.shared.peers.borrow_mut();
        peers
            .unproved
            .insert(connection, Network::of(source.ip()), inbox);
        drop(peers);
        tokio::task::spawn_local(driver::drive(stream, ticket, told));
    }

    /// A connection that comes from us: a session from the start.
    fn connected(&self, session: SessionId, stream: OwnedFd) -> Result<(), Gone> {
        if !self.shared.config.borrow().is_client() {
            return Err(Gone::Rules);
        }
        let (inbox, told) = mpsc::channel(session::MAX_UNREAD);
        let ticket = |server| {
            let shared = Rc::clone(&self.shared);
            Ticket::admitted(shared, ConnectionId(session.0), server, session)
        };
        match &*self.shared.config.borrow() {
            Config::CurveCpClient(server) => {
                let dialled = Dialled::new(&self.shared, Arc::clone(server), stream)?;
                let ticket = ticket(dialled.server());
                tokio::task::spawn_local(dialled.drive(session, ticket, told));
            }
            _ => {
                let stream = std::net::TcpStream::from(stream);
                let ticket = ticket(stream.peer_addr()?);
                let stream = TcpStream::from_std(stream)?;
                tokio::task::spawn_local(driver::drive(stream, ticket, told));
            }
        }
        let mut peers = self.shared.peers.borrow_mut();
        peers.sessions.insert(session, inbox);
        Ok(())
    }

    /// Has a stranger make room, where that is needed.
    fn make(&self, room: Room) {
        let (door, now) = (self.shared.door.borrow(), driver::now());
        let mut peers = self.shared.peers.borrow_mut();
        if let Some(crowded) = peers
            .unproved
            .make(room, |source| door.is_good(now, source))
        {
            self.tally.dropped();
            let _ = crowded.try_send(ToPeer::End(Ended::Crowded));
        }
    }

    fn host_says(&mut self, message: ToFrameserver, fds: Vec<OwnedFd>) -> Result<(), Gone> {
        match message {
            ToFrameserver::Listen(_) => return Err(Gone::Rules),
            ToFrameserver::Secrets(secrets) => {
                self.shared.config.borrow_mut().replace_secrets(secrets)?;
            }
            ToFrameserver::Answer {
                connection,
                answer,
                session,
            } => match &self.gate {
                Some(gate) => gate.answered(connection, answer, session, fds)?,
                None => self.answered(connection, answer, session)?,
            },
            ToFrameserver::Decision { session, accept } => {
                self.tell(session, ToPeer::Decision(accept));
            }
            ToFrameserver::Drop(session) => self.tell(session, ToPeer::End(Ended::Told)),
            ToFrameserver::Connected(session) => {
                let stream = fds.into_iter().next().ok_or(Gone::Rules)?;
                self.connected(session, stream)?;
            }
            ToFrameserver::StopListening => {
                self.acceptor = None;
                if let Some(gate) = &self.gate {
                    gate.close();
                }
                for unproved in self.shared.peers.borrow().unproved.inboxes() {
                    let _ = unproved.try_send(ToPeer::End(Ended::Told));
                }
            }
            ToFrameserver::Program { session, framing } => {
                let mut fds = fds.into_iter();
                let (Some(input), Some(output)) = (fds.next(), fds.next()) else {
                    return Err(Gone::Rules);
                };
                let pipes = Box::new(Pipes::new(input, output)?);
                self.tell(session, ToPeer::Program(framing, pipes));
            }
            ToFrameserver::ProgramEnded { session, exit } => {
                self.tell(session, ToPeer::ProgramEnded(exit));
            }
            ToFrameserver::Relink => {
                let data = fds.into_iter().next().ok_or(Gone::Rules)?;
                // What the old one has said counts.
                self.script_said();
                self.link.attach(data, &self.shared.script)?;
                self.linked();
            }
        }
        Ok(())
    }

    /// The key room has answered; with a session's keys the connection becomes that session.
    fn answered(
        &self,
        connection: ConnectionId,
        answer: Answer,
        session: Option<SessionId>,
    ) -> Result<(), Gone> {
        if answer.admits() != session.is_some() {
            return Err(Gone::Rules);
        }
        let mut peers = self.shared.peers.borrow_mut();
        let inbox = match self.shared.config.borrow().is_client() {
            true => peers.sessions.get(&SessionId(connection.0)).cloned(),
            false => peers.unproved.inbox(connection).cloned(),
        };
        match (inbox, session) {
            (Some(inbox), None) => {
                let _ = inbox.try_send(ToPeer::Answer(Box::new(answer)));
            }
            (Some(inbox), Some(session)) => {
                peers.unproved.remove(connection);
                let _ = inbox.try_send(ToPeer::Session(session, Box::new(answer)));
                peers.sessions.insert(session, inbox);
            }
            // It did not wait for it: the host has to forget the session that it has made.
            (None, Some(session)) => self.shared.host.push(FromFrameserver::Gone {
                session,
                why: Ended::Broken,
            }),
            (None, None) => {}
        }
        Ok(())
    }

    /// Every session has to look at the link.
    fn linked(&self) {
        let epoch = self.shared.script.epoch();
        let mut peers = self.shared.peers.borrow_mut();
        peers
            .sessions
            .retain(|_, inbox| heard(inbox, ToPeer::Linked(epoch)));
    }

    /// Tells a session something. One whose inbox is full loses it, and ends once it has read what
    /// is there: the script has said more to it than is any use.
    fn tell(&self, session: SessionId, message: ToPeer) {
        let mut peers = self.shared.peers.borrow_mut();
        if let Some(inbox) = peers.sessions.get(&session)
            && !heard(inbox, message)
        {
            peers.sessions.remove(&session);
        }
    }

    /// Hands on what the script has said already.
    fn script_said(&mut self) {
        while let Some(said) = self.link.said() {
            self.script_says(said);
        }
    }

    /// Hands the script's messages to the sessions that they are for.
    fn script_says(&self, said: Vec<FromScript>) {
        let script = &self.shared.script;
        let Some(epoch) = script.epoch() else {
            return;
        };
        for message in said {
            match message {
                FromScript::Hold => script.hold(),
                FromScript::Resume => {
                    script.release();
                    self.linked();
                }
                FromScript::Done => {
                    script.complete();
                    // It may go now: nothing of it is unread.
                    script.push(ToScript::Held);
                }
                message => {
                    if let Some(about) = session::about(&message) {
                        self.tell(about.session, ToPeer::Script(epoch, Box::new(message)));
                    }
                }
            }
        }
    }

    /// Hears all that the host has said so far.
    fn catch_up(&mut self, control: &Control) -> Result<(), Gone> {
        loop {
            match control.try_recv() {
                Ok(Received::Message(message, fds)) => self.host_says(message, fds)?,
                Ok(Received::Closed) => return Err(Gone::Host),
                Err(RecvError::Empty) => return Ok(()),
                Err(_) => return Err(Gone::Rules),
            }
        }
    }

    fn knows(&self, message: &FromScript) -> bool {
        session::about(message).is_none_or(|about| {
            self.shared
                .peers
                .borrow()
                .sessions
                .contains_key(&about.session)
        })
    }
}

/// Puts this into an inbox; whether there was room.
fn heard(inbox: &Sender<ToPeer>, message: ToPeer) -> bool {
    !matches!(inbox.try_send(message), Err(TrySendError::Full(_)))
}

/// The next connection; never, where nobody listens.
async fn next(acceptor: &mut Option<Acceptor>) -> Option<(TcpStream, SocketAddr)> {
    match acceptor {
        Some(acceptor) => acceptor.accept().await,
        None => std::future::pending().await,
    }
}
