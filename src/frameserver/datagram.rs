//! Who comes in datagrams: one socket for all strangers, and one for each client.
//!
//! Sources are not punished here: an address in a datagram is worth nothing before somebody has
//! answered from it. What strangers cost is bounded by [`Endpoint`] instead, and its places are shared
//! out evenly.

mod client;
mod dialled;
#[cfg(test)]
mod tests;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use chacha20::ChaCha20Rng;
use identity::PublicKey;
use rand_core::SeedableRng;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Sender};

use self::client::Client;
pub(super) use self::dialled::Dialled;
use super::driver::Ticket;
use super::hub::{Gone, Shared};
use super::session;
use crate::ipc::frameserver::{Ended, FromFrameserver};
use crate::ipc::{ConnectionId, SessionId};
use crate::wire::curvecp::packet::PACKET;
use crate::wire::curvecp::{self, Accepted, Ask, Endpoint, EndpointConfig, Extension, Outcome};
use crate::wire::curvecp::{Answer, Question};
use crate::wire::{self, Refusal, Violation};

/// As many clients at most; the host sets a bound of its own.
const CLIENTS: usize = 32_768;

/// As many questions of either kind are with the host at once.
const QUESTIONS: usize = 32;

/// As many datagrams are taken from a socket before others have their turn.
const TURN: usize = 64;

/// As many datagrams of one client wait that have come by the strangers' socket.
const DETOURS: usize = 64;

/// As many clients that are done are still told so when they ask.
const LINGERING: usize = 1024;

/// Where strangers come, and how the datagrams of clients find their tasks.
pub(super) struct Gate {
    shared: Rc<Shared>,
    idle: Duration,
    /// `None`: it is closed.
    socket: RefCell<Option<Rc<Channel>>>,
    closed: Notify,
    endpoint: RefCell<Endpoint<ChaCha20Rng>>,
    asked: RefCell<HashMap<ConnectionId, (Question, bool)>>,
    clients: RefCell<HashMap<PublicKey, Sender<Datagram>>>,
    connections: Cell<u64>,
    lingering: Cell<usize>,
}

type Datagram = (SocketAddr, Vec<u8>);

impl Gate {
    /// Takes the socket of strangers. No more questions are with the host at once than `questions`.
    pub(super) fn new(
        shared: &Rc<Shared>,
        socket: OwnedFd,
        extension: Extension,
        idle: Duration,
        questions: u32,
    ) -> io::Result<Rc<Self>> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        let questions = usize::try_from(questions).unwrap_or(QUESTIONS);
        let config = EndpointConfig {
            extension,
            connections: CLIENTS,
            questions: questions.clamp(1, QUESTIONS),
        };
        Ok(Rc::new(Self {
            shared: Rc::clone(shared),
            idle,
            socket: RefCell::new(Some(Rc::new(Channel::new(socket)?))),
            closed: Notify::new(),
            endpoint: RefCell::new(Endpoint::new(config, ChaCha20Rng::from_seed(seed))),
            asked: RefCell::default(),
            clients: RefCell::default(),
            connections: Cell::new(0),
            lingering: Cell::new(0),
        }))
    }

    /// Whether it takes strangers.
    pub(super) fn is_open(&self) -> bool {
        self.socket.borrow().is_some()
    }

    /// The socket of strangers.
    pub(super) fn socket(&self) -> Option<RawFd> {
        let socket = self.socket.borrow();
        socket.as_ref().map(|channel| channel.socket.as_raw_fd())
    }

    /// Takes no strangers any more.
    pub(super) fn close(&self) {
        self.socket.borrow_mut().take();
        self.closed.notify_one();
    }

    /// Takes datagrams until it is closed.
    pub(super) async fn run(self: Rc<Self>) {
        let mut datagram = [0; ROOM];
        loop {
            let Some(channel) = self.socket.borrow().clone() else {
                return;
            };
            tokio::select! {
                _ = channel.socket.readable() => {}
                () = self.closed.notified() => return,
            }
            channel.drain(&mut datagram, |from, datagram| self.take(from, datagram));
            self.ask();
            tokio::task::yield_now().await;
        }
    }

    fn take(&self, from: SocketAddr, datagram: &mut [u8]) {
        let client = self.endpoint.borrow_mut().handle(from, datagram);
        let clients = self.clients.borrow();
        if let Some(client) = client.and_then(|client| clients.get(&client)) {
            // What there is no room for is lost, as it might have been on its way.
            let _ = client.try_send((from, datagram.to_vec()));
        }
    }

    /// Hands questions to the host.
    fn ask(&self) {
        while self.is_open() {
            let Some((question, ask)) = self.endpoint.borrow_mut().poll() else {
                return;
            };
            let connection = ConnectionId(self.connections.get());
            self.connections.set(connection.0 + 1);
            let source = question.from;
            let proves = matches!(ask, Ask::Initiate(_));
            self.asked
                .borrow_mut()
                .insert(connection, (question, proves));
            self.shared.host.push(FromFrameserver::Ask {
                connection,
                source,
                reference: None,
                ask: ask.into(),
            });
        }
    }

    /// The key room has answered; with a session comes its socket.
    pub(super) fn answered(
        self: &Rc<Self>,
        connection: ConnectionId,
        answer: wire::Answer,
        session: Option<SessionId>,
        sockets: Vec<OwnedFd>,
    ) -> Result<(), Gone> {
        if answer.admits() != session.is_some() {
            return Err(Gone::Rules);
        }
        let asked = self.asked.borrow_mut().remove(&connection);
        let Some((question, proves)) = asked else {
            return Err(Gone::Rules);
        };
        let source = question.from;
        let refusal = match answer {
            wire::Answer::Refused(refusal) => refusal,
            _ => Refusal::Broken(Violation::OutOfTurn),
        };
        let answer = Answer::try_from(answer).map_err(|_| Gone::Rules)?;
        let outcome = self.endpoint.borrow_mut().answer(question, answer);
        match (outcome, session) {
            (Outcome::Transmit(to, packet), _) => {
                if let Some(channel) = &*self.socket.borrow() {
                    // It asks again if this is lost.
                    let _ = channel.send(to, &packet.0);
                }
            }
            (Outcome::Open(accepted), Some(session)) => {
                let socket = sockets.into_iter().next().ok_or(Gone::Rules)?;
                let channel = Channel::new(socket)?;
                let shared = Rc::clone(&self.shared);
                let ticket = Ticket::admitted(shared, connection, source, session);
                self.open(*accepted, channel, session, ticket);
            }
            (_, Some(session)) => self.shared.host.push(FromFrameserver::Gone {
                session,
                why: Ended::Broken,
            }),
            (_, None) if proves => self.shared.host.push(FromFrameserver::Closed {
                connection,
                source,
                reference: None,
                why: Ended::Refused(refusal),
            }),
            (_, None) => {}
        }
        self.ask();
        Ok(())
    }

    fn open(self: &Rc<Self>, peer: Accepted, channel: Channel, session: SessionId, ticket: Ticket) {
        let (inbox, told) = mpsc::channel(session::MAX_UNREAD);
        let (detour, datagrams) = mpsc::channel(DETOURS);
        let key = *peer.tunnel.short_term_key();
        self.clients.borrow_mut().insert(key, detour);
        let place = Place {
            gate: Rc::clone(self),
            key,
        };
        self.shared
            .peers
            .borrow_mut()
            .sessions
            .insert(session, inbox);
        let client = Client::accepted(peer, channel, place, datagrams, session);
        tokio::task::spawn_local(client.drive(ticket, told));
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("endpoint", &self.endpoint.borrow())
            .finish_non_exhaustive()
    }
}

/// What a client has of its gate; dropping it gives it up.
struct Place {
    gate: Rc<Gate>,
    /// Its short-term key.
    key: PublicKey,
}

impl Place {
    /// Whether there is room for one more that lingers.
    fn lingers(&self) -> bool {
        self.gate.lingering.get() < LINGERING
    }

    /// Counts as one that lingers, until this is dropped.
    fn linger(&self) -> Lingers {
        let gate = Rc::clone(&self.gate);
        gate.lingering.set(gate.lingering.get() + 1);
        Lingers(gate)
    }
}

/// One that lingers.
struct Lingers(Rc<Gate>);

impl Drop for Lingers {
    fn drop(&mut self) {
        self.0.lingering.set(self.0.lingering.get() - 1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.clients.borrow_mut().remove(&self.key);
        self.gate.endpoint.borrow_mut().close(&self.key);
        // Somebody may have waited for the place.
        self.gate.ask();
    }
}

/// A socket for datagrams.
struct Channel {
    socket: UdpSocket,
    /// Who is at its other end, if it is one client's.
    peer: Option<SocketAddr>,
    v6: bool,
}

impl Channel {
    /// Takes a socket that is bound and non-blocking: in the lock-down that cannot be changed.
    fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = UdpSocket::from_std(socket.into())?;
        Ok(Self {
            peer: socket.peer_addr().ok().map(plain),
            v6: socket.local_addr()?.is_ipv6(),
            socket,
        })
    }

    /// Takes what has come, but not more than is one's turn.
    fn drain(&self, buffer: &mut [u8; ROOM], mut take: impl FnMut(SocketAddr, &mut [u8])) {
        for _ in 0..TURN {
            match self.socket.try_recv_from(buffer) {
                Ok((length, from)) => {
                    take(plain(from), buffer.get_mut(..length).unwrap_or_default());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Such as that an earlier one has not arrived, as anybody might say.
                Err(_) => {}
            }
        }
    }

    /// Sends a datagram; an error but [`io::ErrorKind::WouldBlock`] is as good as a loss.
    fn send(&self, to: SocketAddr, datagram: &[u8]) -> io::Result<()> {
        if self.peer == Some(to) {
            return self.socket.try_send(datagram).map(drop);
        }
        let to = match to.ip() {
            IpAddr::V4(ip) if self.v6 => (ip.to_ipv6_mapped(), to.port()).into(),
            _ => to,
        };
        self.socket.try_send_to(datagram, to).map(drop)
    }
}

/// An IPv4 peer of a dual-stack socket is shown as what it is.
fn plain(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip @ IpAddr::V4(_) => (ip, address.port()).into(),
        // With its scope.
        IpAddr::V6(_) => address,
    }
}

/// One byte more than a packet has, so that what is too long does not pass for one.
const ROOM: usize = PACKET + 1;

/// As much is handed to the script at once.
const CREDIT: usize = crate::ipc::link::PIECE;
