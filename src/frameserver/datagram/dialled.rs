//! A server in datagrams, whose client we are, until it has answered.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use tokio::sync::mpsc::Receiver;

use super::client::Client;
use super::curvecp::{
    self, Ask, ClientConfig, ClientError, ClientOutput, Connection, Start, Tunnel,
};
use super::{Channel, ROOM};
use crate::frameserver::driver::{Ticket, ToPeer, at, now};
use crate::frameserver::hub::{Gone, Shared};
use crate::frameserver::machine::Server;
use crate::ipc::frameserver::{Ended, FromFrameserver};
use crate::ipc::{ConnectionId, SessionId};
use crate::wire::Violation;

/// A server that is to be asked.
pub(in crate::frameserver) struct Dialled {
    shared: Rc<Shared>,
    server: Arc<Server>,
    channel: Channel,
    /// Where it is.
    at: SocketAddr,
    client: curvecp::Client<ChaCha20Rng>,
    /// Until then it has to take us.
    until: Instant,
}

impl Dialled {
    /// Takes a socket that is connected to the server, and non-blocking.
    pub(in crate::frameserver) fn new(
        shared: &Rc<Shared>,
        server: Arc<Server>,
        socket: OwnedFd,
    ) -> Result<Self, Gone> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| std::io::Error::other(error.to_string()))?;
        let channel = Channel::new(socket)?;
        let at = channel.peer.ok_or(Gone::Rules)?;
        let config = ClientConfig {
            addresses: vec![at],
            server: server.key,
            name: server.name.clone(),
            extension: server.extension,
            own: server.own,
        };
        let now = now();
        Ok(Self {
            shared: Rc::clone(shared),
            channel,
            at,
            client: curvecp::Client::new(config, now, ChaCha20Rng::from_seed(seed)),
            until: now + server.handshake,
            server,
        })
    }

    /// Where the server is.
    pub(in crate::frameserver) fn server(&self) -> SocketAddr {
        self.at
    }

    /// Serves it until it ends.
    pub(in crate::frameserver) async fn drive(
        mut self,
        session: SessionId,
        mut ticket: Ticket,
        mut inbox: Receiver<ToPeer>,
    ) {
        match self.greet(session, &mut inbox).await {
            Ok(tunnel) => {
                // The server speaks when it has heard us, and may have to be heard first.
                let start = Start::Within(Duration::ZERO);
                let connection = Connection::new(*tunnel, start, self.server.idle, now());
                let (shared, channel) = (self.shared, self.channel);
                let client = Client::dialled(shared, channel, connection, session, self.until);
                client.drive(ticket, inbox).await;
            }
            // The script has heard nothing of it.
            Err(why) => ticket.tell(why),
        }
    }

    /// Asks until there is an answer.
    async fn greet(
        &mut self,
        session: SessionId,
        inbox: &mut Receiver<ToPeer>,
    ) -> Result<Box<Tunnel>, Ended> {
        let mut packet = Vec::new();
        loop {
            if now() >= self.until {
                return Err(Ended::Violation(Violation::Deadline));
            }
            packet.clear();
            let deadline = match self.client.poll(now(), &mut packet) {
                ClientOutput::Transmit(to) => {
                    // It is sent again if it is lost.
                    let _ = self.channel.send(to, &packet);
                    continue;
                }
                ClientOutput::Ask(ask) => {
                    self.ask(session, ask);
                    continue;
                }
                ClientOutput::Connected(tunnel) => return Ok(tunnel),
                ClientOutput::Failed(ClientError::NoAnswer) => {
                    return Err(Ended::Violation(Violation::Silent));
                }
                ClientOutput::Failed(ClientError::Refused(refusal)) => {
                    return Err(Ended::Refused(refusal));
                }
                ClientOutput::Idle(deadline) => deadline,
            };
            let deadline = deadline.map_or(self.until, |deadline| deadline.min(self.until));
            tokio::select! {
                told = inbox.recv() => match told {
                    Some(ToPeer::Answer(answer)) => match curvecp::Answer::try_from(*answer) {
                        Ok(answer) => self.client.answer(answer),
                        Err(_) => return Err(Ended::Broken),
                    },
                    Some(ToPeer::End(why)) => return Err(why),
                    None => return Err(Ended::Told),
                    Some(_) => {}
                },
                _ = self.channel.socket.readable() => {
                    let client = &mut self.client;
                    let mut buffer = [0; ROOM];
                    self.channel.drain(&mut buffer, |from, datagram| client.receive(from, datagram));
                    tokio::task::yield_now().await;
                }
                () = at(Some(deadline)) => {}
            }
        }
    }

    fn ask(&self, session: SessionId, ask: Ask) {
        self.shared.host.push(FromFrameserver::Ask {
            connection: ConnectionId(session.0),
            source: self.at,
            reference: None,
            ask: ask.into(),
        });
    }
}
