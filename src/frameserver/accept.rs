//! Who comes in: the listening sockets, and the slots for peers that have proved nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::task::Poll;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;
use tokio::time::Instant;

use super::door::{Network, Rests, Room};
use super::driver::ToPeer;
use crate::ipc::ConnectionId;

/// The listening sockets, taken in turns.
#[derive(Debug)]
pub(super) struct Acceptor {
    sockets: Vec<TcpListener>,
    turn: usize,
    resting: Option<Instant>,
    rests: Rests,
}

impl Acceptor {
    /// Takes sockets that are bound and listen. What they accept has their options, so that nothing
    /// has to be said of each connection: small packets go at once, and a peer that has vanished is
    /// noticed in some minutes.
    pub(super) fn new(sockets: Vec<OwnedFd>) -> io::Result<Self> {
        let sockets = sockets.into_iter().map(|fd| {
            let socket = std::net::TcpListener::from(fd);
            socket.set_nonblocking(true)?;
            sockopt::set_tcp_nodelay(&socket, true)?;
            sockopt::set_socket_keepalive(&socket, true)?;
            sockopt::set_tcp_keepidle(&socket, Duration::from_secs(60))?;
            sockopt::set_tcp_keepintvl(&socket, Duration::from_secs(15))?;
            sockopt::set_tcp_keepcnt(&socket, 4)?;
            TcpListener::from_std(socket)
        });
        Ok(Self {
            sockets: sockets.collect::<io::Result<_>>()?,
            turn: 0,
            resting: None,
            rests: Rests::default(),
        })
    }

    /// Waits for the next connection. Cancel-safe.
    ///
    /// `None`: the system has no descriptors or memory left. The connection stays in the kernel's
    /// queue, and the next attempt is made after a rest.
    pub(super) async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        loop {
            if let Some(until) = self.resting {
                tokio::time::sleep_until(until).await;
                self.resting = None;
            }
            match self.next().await {
                Ok((stream, from)) => {
                    self.rests.over();
                    return Some((stream, plain(from)));
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(_) => {
                    self.resting = Some(Instant::now() + self.rests.rest());
                    return None;
                }
            }
        }
    }

    async fn next(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        std::future::poll_fn(|cx| {
            for _ in 0..self.sockets.len() {
                self.turn = (self.turn + 1) % self.sockets.len();
                if let Some(socket) = self.sockets.get(self.turn)
                    && let Poll::Ready(accepted) = socket.poll_accept(cx)
                {
                    return Poll::Ready(accepted);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether only this connection has failed, so that the next one can be taken at once.
fn is_of_the_connection(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(
            Errno::CONNABORTED
                | Errno::INTR
                | Errno::PROTO
                | Errno::TIMEDOUT
                | Errno::NETDOWN
                | Errno::NETUNREACH
                | Errno::HOSTDOWN
                | Errno::HOSTUNREACH
        )
    )
}

/// An IPv4 peer of a dual-stack socket is shown as what it is.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// How far a peer has come that has proved nothing; the earlier, the sooner it makes room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Standing {
    /// It is refused and waits to be told.
    Over,
    /// It may be anybody.
    Silent,
    /// It knows a secret.
    Answered,
    /// It claims a key.
    Claimed,
    /// It claims one that is accepted, and has to prove it.
    Challenged,
    /// It has sent what should be a proof.
    Proving,
}

/// The slots for peers that have proved nothing.
///
/// A newcomer always gets one. Where somebody has to go for it, that is, from those in the earliest
/// standing, the oldest of the network that has the most slots. So whoever only keeps connections
/// open pushes out himself. Networks that are good are spared as long as there is anybody else.
#[derive(Debug, Default)]
pub(super) struct Slots {
    held: BTreeMap<ConnectionId, Held>,
    crowds: HashMap<Network, Crowd>,
    /// The oldest of each network in each standing, in the order in which they would go.
    order: BTreeSet<Turn>,
}

/// Whose turn it is to go: the earliest standing, the largest crowd, the oldest, since identities
/// grow.
type Turn = (Standing, Reverse<usize>, ConnectionId);

/// Those of one network.
#[derive(Debug, Default)]
struct Crowd(BTreeSet<(Standing, ConnectionId)>);

impl Crowd {
    /// The oldest in each standing.
    fn turns(&self) -> impl Iterator<Item = Turn> {
        let size = Reverse(self.0.len());
        let mut next = self.0.first();
        std::iter::from_fn(move || {
            let &(standing, oldest) = next?;
            let youngest = (standing, ConnectionId(u64::MAX));
            next = self
                .0
                .range((Bound::Excluded(youngest), Bound::Unbounded))
                .next();
            Some((standing, size, oldest))
        })
    }
}

#[derive(Debug)]
struct Held {
    source: Network,
    standing: Standing,
    inbox: Sender<ToPeer>,
}

impl Slots {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// Gives a newcomer a slot.
    pub(super) fn insert(
        &mut self,
        connection: ConnectionId,
        source: Network,
        inbox: Sender<ToPeer>,
    ) {
        let standing = Standing::Silent;
        self.change(source, |crowd| {
            crowd.0.insert((standing, connection));
        });
        let held = Held {
            source,
            standing,
            inbox,
        };
        self.held.insert(connection, held);
    }

    /// Changes a crowd, and with it whose turn it is.
    fn change(&mut self, source: Network, change: impl FnOnce(&mut Crowd)) {
        let crowd = self.crowds.entry(source).or_default();
        for turn in crowd.turns() {
            self.order.remove(&turn);
        }
        change(crowd);
        self.order.extend(crowd.turns());
        if crowd.0.is_empty() {
            self.crowds.remove(&source);
        }
    }

    /// Takes the slot of whoever has to go to make room, and gives it back. `is_good` says which
    /// networks are spared.
    pub(super) fn make(
        &mut self,
        room: Room,
        is_good: impl Fn(Network) -> bool,
    ) -> Option<Sender<ToPeer>> {
        let limit = match room {
            Room::Enough => return None,
            Room::Scarce => Standing::Silent,
            Room::None => Standing::Proving,
        };
        // One of many is of a crowd like another.
        let spared = |(_, Reverse(crowd), connection): &&Turn| {
            let held = self.held.get(connection);
            *crowd <= SPARED && held.is_some_and(|held| is_good(held.source))
        };
        let may = self.order.iter().take_while(|turn| turn.0 <= limit);
        let other = may.clone().find(|turn| !spared(turn));
        let first = match room {
            Room::None => other.or_else(|| self.order.first()),
            _ => other,
        };
        let &(.., connection) = first?;
        self.remove(connection)
    }

    /// It has come so far. Nobody falls back but by being refused, and that is final.
    pub(super) fn advance(&mut self, connection: ConnectionId, standing: Standing) {
        if let Some(held) = self.held.get_mut(&connection)
            && held.standing != Standing::Over
            && (standing > held.standing || standing == Standing::Over)
        {
            let before = std::mem::replace(&mut held.standing, standing);
            let source = held.source;
            self.change(source, |crowd| {
                crowd.0.remove(&(before, connection));
                crowd.0.insert((standing, connection));
            });
        }
    }

    /// Where a peer that can still be answered hears; `None` if it is gone or refused.
    pub(super) fn inbox(&self, connection: ConnectionId) -> Option<&Sender<ToPeer>> {
        self.held
            .get(&connection)
            .filter(|held| held.standing != Standing::Over)
            .map(|held| &held.inbox)
    }

    /// Its slot is free: it has ended, or is a session now.
    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Sender<ToPeer>> {
        let held = self.held.remove(&connection)?;
        self.change(held.source, |crowd| {
            crowd.0.remove(&(held.standing, connection));
        });
        Some(held.inbox)
    }

    /// Everybody who holds a slot.
    pub(super) fn inboxes(&self) -> impl Iterator<Item = &Sender<ToPeer>> {
        self.held.values().map(|held| &held.inbox)
    }
}

/// So many slots of a good network are spared.
const SPARED: usize = 8;

#[cfg(test)]
mod tests;
