//! One client in datagrams: its socket, its connection, and what the script has to say about it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use super::curvecp::{Closed, Connection, Event, Output, Start};
use super::{Accepted, CREDIT, Channel, Datagram, LINGERING, Place, ROOM};
use crate::frameserver::driver::{self, Ticket, ToPeer, at, now};
use crate::frameserver::hub::{PORTION, Shared};
use crate::frameserver::machine::{self, Command};
use crate::frameserver::pipes::{self, Pipes};
use crate::frameserver::session::{Next, Overrun, Session};
use crate::ipc::frameserver::Ended;
use crate::ipc::{Carries, SessionId};
use crate::wire::{Refusal, Violation};

/// While so many bytes wait for a client, nothing more is taken for it.
const MAX_OUT: usize = 64 * 1024;

/// So long a client that the script has closed goes on to get what was written to it.
const GOODBYE: Duration = Duration::from_secs(10);

/// One that has been let in.
pub(super) struct Client {
    shared: Rc<Shared>,
    place: Place,
    channel: Channel,
    /// What has come by the strangers' socket.
    datagrams: Receiver<Datagram>,
    connection: Connection,
    session: Session,
    /// Those of a program in its script's place.
    pipes: Option<Pipes>,
    /// The script has taken it; until then it is sent nothing.
    taken: bool,
    out: Written,
    /// How our stream is to end.
    finish: Option<Finish>,
    /// How many bytes the connection may still hand out.
    credit: usize,
    /// Its stream is complete, and ours.
    complete: [bool; 2],
    /// A packet for which the socket has no room.
    unsent: Option<(SocketAddr, Vec<u8>)>,
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// Once everything is written.
    Due {
        failed: bool,
    },
    Done,
}

/// How a client's service ends.
struct End {
    why: Ended,
    /// What has been said is to arrive.
    polite: bool,
}

impl From<Ended> for End {
    fn from(why: Ended) -> Self {
        Self { why, polite: false }
    }
}

impl From<Overrun> for End {
    fn from(Overrun: Overrun) -> Self {
        Ended::Told.into()
    }
}

impl Client {
    pub(super) fn new(
        peer: Accepted,
        channel: Channel,
        place: Place,
        datagrams: Receiver<Datagram>,
        session: SessionId,
    ) -> Self {
        let shared = Rc::clone(&place.gate.shared);
        let (now, idle) = (now(), place.gate.idle);
        let mut connection = Connection::new(peer.tunnel, Start::Silent, idle, now);
        for message in &peer.messages {
            connection.deliver(now, message);
        }
        let carries = Carries::Stream { writable: true };
        Self {
            session: Session::new(session, carries, &shared.script),
            shared,
            place,
            channel,
            datagrams,
            connection,
            pipes: None,
            taken: false,
            out: Written::default(),
            finish: None,
            credit: 0,
            complete: [false; 2],
            unsent: None,
            deadline: None,
        }
    }

    /// Serves it until it ends.
    pub(super) async fn drive(mut self, mut ticket: Ticket, mut inbox: Receiver<ToPeer>) {
        let End { why, polite } = self.serve(&mut inbox).await;
        if polite {
            tokio::select! {
                () = self.leave() => {}
                () = driver::ended(&mut inbox) => {}
            }
        }
        ticket.tell(why);
        let is_complete = self.is_complete();
        let left = self.session.leave_program().zip(self.pipes.take());
        let mut more = self.session.end(&self.shared.script);
        if is_complete {
            let gate = &self.place.gate;
            if gate.lingering.get() < LINGERING {
                tokio::task::spawn_local(linger(
                    self.connection,
                    self.channel,
                    self.datagrams,
                    self.place,
                ));
            }
        } else {
            drop((self.place, self.channel, self.datagrams));
        }
        if let Some((program, pipes)) = left {
            pipes.finish(program).await;
        }
        let (mut session, script) = (self.session, &self.shared.script);
        while more {
            tokio::select! {
                told = inbox.recv() => match told {
                    Some(ToPeer::Script(epoch, message)) => {
                        if session.said(epoch, *message).is_err() {
                            return;
                        }
                    }
                    Some(_) => {}
                    None => return,
                },
                () = script.relieved(), if session.is_held_up() => {}
            }
            more = session.linger(script);
        }
    }

    async fn serve(&mut self, inbox: &mut Receiver<ToPeer>) -> End {
        loop {
            let turn = match self.turn() {
                Ok(()) => self.step(inbox).await,
                Err(end) => Err(end),
            };
            if let Err(end) = turn {
                return end;
            }
        }
    }

    /// Waits for one thing and takes it.
    async fn step(&mut self, inbox: &mut Receiver<ToPeer>) -> Result<(), End> {
        let held_up = self.session.is_held_up();
        let pipes = self.pipes.as_ref().filter(|_| self.taken);
        tokio::select! {
            told = inbox.recv() => match told {
                Some(told) => self.told(told)?,
                None => return Err(Ended::Told.into()),
            },
            () = self.shared.script.relieved(), if held_up => {}
            () = pipes::ready(pipes, self.session.program()) => {}
            () = arrival(&self.channel, &mut self.datagrams, &mut self.connection) => {}
            () = departure(&self.channel, &mut self.unsent), if self.unsent.is_some() => {}
            () = at(self.deadline) => {}
        }
        // What else has been said is heard before anything is done about it.
        while let Ok(told) = inbox.try_recv() {
            self.told(told)?;
        }
        Ok(())
    }

    fn told(&mut self, message: ToPeer) -> Result<(), End> {
        match message {
            ToPeer::Decision(false) => return Err(Ended::Refused(Refusal::TurnedAway).into()),
            ToPeer::Decision(true) => {
                self.taken = true;
                self.session.accept(&self.shared.script);
            }
            ToPeer::Script(epoch, message) => self.session.said(epoch, *message)?,
            ToPeer::Program(framing, pipes) => {
                self.session.serve(framing);
                self.pipes = Some(*pipes);
            }
            ToPeer::ProgramEnded(exit) => self.session.exited(exit),
            ToPeer::End(why) => return Err(why.into()),
            ToPeer::Linked | ToPeer::Answer(_) | ToPeer::Session(..) => {}
        }
        Ok(())
    }

    /// Does what can be done without waiting.
    fn turn(&mut self) -> Result<(), End> {
        if !self.taken {
            return Ok(());
        }
        let mut spent = 0;
        loop {
            self.session.forward(&self.shared.script);
            pipes::pump(&mut self.pipes, self.session.program());
            self.obey()?;
            self.write();
            if self.credit == 0 && self.session.is_caught_up(&self.shared.script) {
                self.connection.credit(CREDIT);
                self.credit = CREDIT;
            }
            match self.poll(&mut spent) {
                Some(Event::Data(bytes)) => {
                    spent += bytes.len();
                    self.credit = self.credit.saturating_sub(bytes.len());
                    self.session.event(machine::Event::Data(bytes));
                }
                Some(Event::Eof) => self.peer_finished(false),
                Some(Event::Failed) => self.peer_finished(true),
                Some(Event::Sent) => self.complete[1] = true,
                Some(Event::Closed(why)) => return Err(ended(why).into()),
                None => break,
            }
        }
        self.session.forward(&self.shared.script);
        match self.is_complete() {
            true => Err(Ended::Peer.into()),
            false => Ok(()),
        }
    }

    fn peer_finished(&mut self, failed: bool) {
        self.complete[0] = true;
        self.session.event(machine::Event::Finished { failed });
    }

    /// Whether both streams have come to their end.
    fn is_complete(&self) -> bool {
        self.complete == [true; 2]
    }

    /// Takes what the script wants, while there is room for it.
    fn obey(&mut self) -> Result<(), End> {
        while self.out.waiting() < MAX_OUT || self.session.is_leaving() {
            let (command, channel) = match self.session.next(&self.shared.script)? {
                None => return Ok(()),
                Some(Next::Event(channel, command)) => (command, Some(channel)),
                Some(Next::Do(command)) => (command, None),
                Some(Next::Last(_)) => {
                    self.finish.get_or_insert(Finish::Due { failed: false });
                    return Err(End {
                        why: Ended::Told,
                        polite: true,
                    });
                }
            };
            match command {
                Command::Write(bytes) if self.finish.is_none() => self.out.push(&bytes),
                Command::Finish { failed } => {
                    self.finish.get_or_insert(Finish::Due { failed });
                }
                _ => {}
            }
            if let Some(channel) = channel {
                self.session.mark(self.out.queued(), channel);
            }
        }
        Ok(())
    }

    /// Gives the connection what it has room for.
    fn write(&mut self) {
        while self.out.waiting() > 0 {
            match self.connection.write(self.out.front()) {
                0 => break,
                taken => self.out.advance(taken),
            }
        }
        self.session.written(self.out.written, &self.shared.script);
        if let (0, Some(Finish::Due { failed })) = (self.out.waiting(), self.finish) {
            match failed {
                true => self.connection.fail(),
                false => self.connection.finish(),
            }
            self.finish = Some(Finish::Done);
        }
    }

    /// Sends what there is to send, until something happens; `None`: nothing for now.
    fn poll(&mut self, spent: &mut usize) -> Option<Event> {
        let strangers = self.place.gate.socket.borrow().clone();
        let mut packet = Vec::with_capacity(ROOM);
        while self.unsent.is_none() {
            if *spent >= PORTION {
                // The others have their turn.
                self.deadline = Some(now());
                return None;
            }
            packet.clear();
            match self.connection.poll(now(), &mut packet) {
                Output::Event(event) => return Some(event),
                Output::Transmit(to) => {
                    *spent += packet.len();
                    self.unsent = send(&self.channel, strangers.as_deref(), to, &packet);
                }
                Output::Idle(deadline) => {
                    self.deadline = deadline;
                    return None;
                }
            }
        }
        self.deadline = None;
        None
    }

    /// The script has closed it: what was written is still sent, and what comes is not looked at.
    async fn leave(&mut self) {
        let until = now() + GOODBYE;
        self.taken = true;
        self.connection.credit(usize::MAX);
        loop {
            let mut spent = 0;
            loop {
                self.write();
                match self.poll(&mut spent) {
                    Some(Event::Eof | Event::Failed) => self.complete[0] = true,
                    Some(Event::Sent) => self.complete[1] = true,
                    Some(Event::Closed(_)) => return,
                    Some(Event::Data(_)) => {}
                    None => break,
                }
            }
            if self.is_complete() || now() >= until {
                return;
            }
            let deadline = self.deadline.map_or(until, |deadline| deadline.min(until));
            tokio::select! {
                () = arrival(&self.channel, &mut self.datagrams, &mut self.connection) => {}
                () = departure(&self.channel, &mut self.unsent), if self.unsent.is_some() => {}
                () = at(Some(deadline)) => {}
            }
        }
    }
}

/// A connection that is over: who has not heard so asks again, and is told.
async fn linger(
    mut connection: Connection,
    channel: Channel,
    mut datagrams: Receiver<Datagram>,
    place: Place,
) {
    let lingering = &place.gate.lingering;
    lingering.set(lingering.get() + 1);
    loop {
        let mut packet = Vec::new();
        let deadline = loop {
            packet.clear();
            match connection.poll(now(), &mut packet) {
                // It asks again if this is lost.
                Output::Transmit(to) => {
                    let strangers = place.gate.socket.borrow();
                    let _ = send(&channel, strangers.as_deref(), to, &packet);
                }
                Output::Event(_) => {}
                Output::Idle(deadline) => break deadline,
            }
        };
        if deadline.is_none() {
            break;
        }
        tokio::select! {
            () = arrival(&channel, &mut datagrams, &mut connection) => {}
            () = at(deadline) => {}
        }
    }
    lingering.set(lingering.get() - 1);
}

/// Waits for datagrams and gives them to the connection.
async fn arrival(
    channel: &Channel,
    datagrams: &mut Receiver<Datagram>,
    connection: &mut Connection,
) {
    let mut receive = |from, datagram: &mut [u8]| connection.receive(now(), from, datagram);
    tokio::select! {
        _ = channel.socket.readable() => {
            let mut buffer = [0; ROOM];
            channel.drain(&mut buffer, receive);
            // A peer that never stops is not all that there is.
            tokio::task::yield_now().await;
        }
        Some((from, mut datagram)) = datagrams.recv() => receive(from, &mut datagram),
    }
}

/// Waits for room in the socket, and tries again.
async fn departure(channel: &Channel, unsent: &mut Option<(SocketAddr, Vec<u8>)>) {
    let _ = channel.socket.writable().await;
    if let Some((to, packet)) = unsent.take() {
        *unsent = send(channel, None, to, &packet);
    }
}

/// Sends a packet; gives it back if there is no room. A client that has moved is reached by the
/// strangers' socket alone.
fn send(
    own: &Channel,
    strangers: Option<&Channel>,
    to: SocketAddr,
    packet: &[u8],
) -> Option<(SocketAddr, Vec<u8>)> {
    if own.peer != Some(to) {
        let _ = strangers?.send(to, packet);
        return None;
    }
    match own.send(to, packet) {
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Some((to, packet.to_vec())),
        _ => None,
    }
}

fn ended(why: Closed) -> Ended {
    match why {
        Closed::Done => Ended::Peer,
        Closed::Idle | Closed::Unanswered => Ended::Violation(Violation::Silent),
    }
}

/// What waits to be written to the connection.
#[derive(Default)]
struct Written {
    bytes: Vec<u8>,
    /// How many of them are written.
    done: usize,
    /// How many bytes were written since the beginning.
    written: u64,
}

impl Written {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn front(&self) -> &[u8] {
        self.bytes.get(self.done..).unwrap_or_default()
    }

    fn waiting(&self) -> usize {
        self.front().len()
    }

    /// Where the stream will stand once all is written.
    fn queued(&self) -> u64 {
        self.written + self.waiting() as u64
    }

    fn advance(&mut self, bytes: usize) {
        self.done += bytes;
        self.written += bytes as u64;
        if self.waiting() == 0 {
            self.done = 0;
            self.bytes = Vec::new();
        }
    }
}
