//! One client in datagrams: its socket, its connection, and what the script has to say about it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, Receiver};

use super::curvecp::{Closed, Connection, Event, Output, Start};
use super::{Accepted, CREDIT, Channel, Datagram, Place, ROOM};
use crate::frameserver::driver::{Ticket, ToPeer, at, now};
use crate::frameserver::end::{self, End};
use crate::frameserver::hub::{PORTION, Shared};
use crate::frameserver::machine::{self, Command};
use crate::frameserver::pipes::{self, Pipes};
use crate::frameserver::session::{Next, Session};
use crate::ipc::frameserver::{Ended, FromFrameserver};
use crate::ipc::{Carries, SessionId};
use crate::wire::{Refusal, Violation};

/// While so many bytes wait for a client, nothing more is taken for it.
const MAX_OUT: usize = 64 * 1024;

/// So long a server is told that we are done, if it has not heard so.
const LAST_WORDS: Duration = Duration::from_millis(500);

const CARRIES: Carries = Carries::Stream { writable: true };

/// So long a client that the script has closed goes on to get what was written to it.
const GOODBYE: Duration = Duration::from_secs(10);

/// One that has been let in; or a server, whose client we are.
pub(super) struct Client {
    shared: Rc<Shared>,
    /// `None` where we are the client.
    place: Option<Place>,
    channel: Channel,
    /// What has come by the strangers' socket.
    datagrams: Receiver<Datagram>,
    connection: Connection,
    session: Session,
    /// Those of a program in its script's place.
    pipes: Option<Pipes>,
    /// The script has taken it; until then it is sent nothing.
    taken: bool,
    /// A server that has not taken us yet has to do so until then.
    knocking: Option<Instant>,
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

impl Client {
    /// One that has been let in.
    pub(super) fn accepted(
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
        let session = Session::new(session, CARRIES, &shared.script);
        let mut client = Self::new(shared, channel, datagrams, connection, session);
        client.place = Some(place);
        client
    }

    /// A server that has answered us, and has to take us until then.
    pub(super) fn dialled(
        shared: Rc<Shared>,
        channel: Channel,
        connection: Connection,
        session: SessionId,
        until: Instant,
    ) -> Self {
        let session = Session::dialled(session, CARRIES, &shared.script);
        // There are no strangers.
        let (_, datagrams) = mpsc::channel(1);
        let mut client = Self::new(shared, channel, datagrams, connection, session);
        client.taken = true;
        client.knocking = Some(until);
        client
    }

    fn new(
        shared: Rc<Shared>,
        channel: Channel,
        datagrams: Receiver<Datagram>,
        connection: Connection,
        session: Session,
    ) -> Self {
        Self {
            shared,
            place: None,
            channel,
            datagrams,
            connection,
            session,
            pipes: None,
            taken: false,
            knocking: None,
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
                () = end::at_once(&mut inbox) => {}
            }
        }
        ticket.tell(why);
        let is_complete = self.is_complete();
        let linger = Lingering {
            connection: self.connection,
            channel: self.channel,
            datagrams: self.datagrams,
            place: self.place,
        };
        let script = &self.shared.script;
        match linger.place.as_ref().map(Place::lingers) {
            Some(true) if is_complete => {
                tokio::task::spawn_local(linger.run());
            }
            None if is_complete => {
                // With this task the process may end.
                let linger = tokio::time::timeout(LAST_WORDS, linger.run());
                let hand_on = end::hand_on(self.session, self.pipes, &mut inbox, script);
                return drop(tokio::join!(linger, hand_on));
            }
            _ => drop(linger),
        }
        end::hand_on(self.session, self.pipes, &mut inbox, script).await;
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
            ToPeer::Linked(epoch) => self.session.linked(epoch),
            ToPeer::Answer(_) | ToPeer::Session(..) => {}
        }
        Ok(())
    }

    /// Does what can be done without waiting.
    fn turn(&mut self) -> Result<(), End> {
        if !self.taken {
            return Ok(());
        }
        self.knock()?;
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

    /// Looks whether the server has taken us.
    fn knock(&mut self) -> Result<(), End> {
        match self.knocking {
            Some(_) if self.connection.is_confirmed() => {
                self.knocking = None;
                self.shared
                    .host
                    .push(FromFrameserver::Up(self.session.id()));
                self.session.event(machine::Event::Up);
                Ok(())
            }
            Some(until) if now() >= until => Err(Ended::Violation(Violation::Deadline).into()),
            _ => Ok(()),
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
        let place = self.place.as_ref();
        let strangers = place.and_then(|place| place.gate.socket.borrow().clone());
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
                    self.deadline = deadline.into_iter().chain(self.knocking).min();
                    return None;
                }
            }
        }
        self.deadline = self.knocking;
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
struct Lingering {
    connection: Connection,
    channel: Channel,
    datagrams: Receiver<Datagram>,
    place: Option<Place>,
}

impl Lingering {
    async fn run(mut self) {
        let _counted = self.place.as_ref().map(Place::linger);
        loop {
            let mut packet = Vec::new();
            let deadline = loop {
                packet.clear();
                match self.connection.poll(now(), &mut packet) {
                    // It asks again if this is lost.
                    Output::Transmit(to) => {
                        let place = self.place.as_ref();
                        let strangers = place.and_then(|place| place.gate.socket.borrow().clone());
                        let _ = send(&self.channel, strangers.as_deref(), to, &packet);
                    }
                    Output::Event(_) => {}
                    Output::Idle(deadline) => break deadline,
                }
            };
            if deadline.is_none() {
                return;
            }
            tokio::select! {
                () = arrival(&self.channel, &mut self.datagrams, &mut self.connection) => {}
                () = at(deadline) => {}
            }
        }
    }
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
