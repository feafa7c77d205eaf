//! The shell around the engine: sockets, clock, standard streams.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal;
use rustix::time::Timespec;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::core::Console;
use super::engine::Engine;
use super::sandbox;
use super::watchdog;
use crate::ipc::script::{FromScript, Report, Run, Severity, ToScript};
use crate::ipc::{ListenerId, Received, RecvError, SendError, Socket, link};
use crate::sandbox::{self as walls, Lockdown};

/// How many messages are taken from one socket per turn, so that none keeps the others waiting.
const PER_TURN: usize = 64;

/// How many messages may wait for a frameserver that does not read before its link is closed.
const MAX_UNREAD: usize = 1024;

/// With so many messages waiting for the host, the script waits too.
const MAX_UNHEARD: usize = 1024;

/// As much of the state goes into one message.
const STATE_PIECE: usize = 32 * 1024;

/// How long the last words are waited for to be taken.
const GOODBYE: Duration = Duration::from_secs(2);

/// The data link of a listener, in batches.
type Link = Peer<Vec<link::FromScript>, Vec<link::ToScript>>;

/// Runs a script process until the script or the host ends it.
pub(super) fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{}: {error}", super::ROLE);
            ExitCode::FAILURE
        }
    }
}

fn run() -> io::Result<u8> {
    let control = walls::inherit()?;
    // A script that hangs does not see its host go. This is bound to the host's thread that has
    // started us: its main thread, which lives as long as the host does.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if is_closed(&control)? {
        // It went before that.
        return Ok(1);
    }
    let sandboxed = |run: &Run| Some(Lockdown::begin(sandbox::policy(run)));
    serve(Socket::from_fd(control), Box::new(Stdio), sandboxed)
}

/// Runs what the host says over the control socket, after `lock` has begun to shut the doors.
fn serve(
    control: Socket<FromScript, ToScript>,
    console: Box<dyn Console>,
    lock: impl FnOnce(&Run) -> Option<Lockdown>,
) -> io::Result<u8> {
    let mut host = Peer::new(control);
    let Some((run, phase)) = host.first()? else {
        // The host has gone before it said what to run.
        return Ok(1);
    };
    let lockdown = lock(&run);
    let (appl, required, stop) = (run.appl.clone(), run.require_sandbox, run.limits.stop);
    let engine = Engine::new(run, console, random, Instant::now())
        .map_err(|error| io::Error::other(error.to_string()))?;
    // The doors bind a thread that is there when they shut, and there is none afterwards.
    watchdog::start(engine.running(), stop, &appl)?;
    let report = lockdown.map(Lockdown::seal).unwrap_or_default();
    let complaint = walls::complaint(&report).filter(|_| required);
    host.queue.push_back(FromScript::Confined(report));
    let process = Process {
        engine,
        host,
        links: BTreeMap::new(),
        phase,
        state: Vec::new(),
    };
    match complaint {
        Some(complaint) => process.refuse(&complaint),
        None => process.run(),
    }
}

/// Whether the other end of a socket is closed, whatever is left to be read.
fn is_closed(socket: &OwnedFd) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::empty())];
    poll(&mut fds, Duration::ZERO)?;
    Ok(fds.iter().any(|fd| fd.revents().contains(PollFlags::HUP)))
}

/// Random bytes; without them nothing is safe, so there is no going on.
fn random(bytes: &mut [u8]) {
    if getrandom::fill(bytes).is_err() {
        std::process::abort();
    }
}

/// Standard output.
struct Stdio;

impl Console for Stdio {
    fn print(&self, line: &[u8]) {
        let mut out = io::stdout().lock();
        // Nobody may be reading; that is no error of the script.
        let _ = out.write_all(line).and_then(|()| out.write_all(b"\n"));
        let _ = out.flush();
    }
}

struct Process {
    engine: Engine,
    host: Peer<FromScript, ToScript>,
    links: BTreeMap<ListenerId, Link>,
    phase: Phase,
    /// What the process before this one has told of its state.
    state: Vec<u8>,
}

/// Whose turn it is, where one process takes another one's place.
#[derive(Debug)]
enum Phase {
    /// This one's.
    Running,
    /// Another one's; this one waits.
    Prepared,
    /// This one is to stop. Frameservers have yet to say that nothing more comes from them.
    Yielding {
        number: u32,
        awaited: BTreeSet<ListenerId>,
    },
    /// It has stopped.
    Yielded,
    /// It has handed over all there was. Frameservers have yet to say that they have read it: what is
    /// unread when it ends may be lost.
    Leaving { awaited: BTreeSet<ListenerId> },
}

impl Process {
    /// Ends without having run anything.
    fn refuse(mut self, complaint: &str) -> io::Result<u8> {
        self.host.queue.extend([
            FromScript::Report(Report::new(Severity::Error, complaint)),
            FromScript::Exit {
                code: 1,
                silent: false,
                message: String::new(),
            },
        ]);
        self.goodbye();
        Ok(1)
    }

    fn run(mut self) -> io::Result<u8> {
        self.engine.start();
        if matches!(self.phase, Phase::Prepared) && self.engine.is_ending() {
            // There is nothing to take over for.
            self.phase = Phase::Running;
        }
        loop {
            match &self.phase {
                Phase::Running if self.host.queue.len() < MAX_UNHEARD => {
                    self.engine.turn(Instant::now());
                }
                Phase::Yielding { number, awaited } if awaited.is_empty() => {
                    let number = *number;
                    self.yields(number);
                }
                Phase::Leaving { awaited } if awaited.is_empty() => {
                    self.phase = Phase::Yielded;
                    self.host.queue.push_back(FromScript::Left);
                }
                _ => {}
            }
            self.send()?;
            if let Some(code) = self.engine.exit() {
                self.goodbye();
                return Ok(code);
            }
            self.wait()?;
            self.receive()?;
            if self.host.closed {
                // Without a host there are no clients either.
                return Ok(1);
            }
        }
    }

    /// Queues what the engine says and sends what can be sent.
    fn send(&mut self) -> io::Result<()> {
        self.queue_outbox();
        self.host.flush()?;
        let leaving = matches!(self.phase, Phase::Leaving { .. });
        for link in self.links.values_mut() {
            if link.flush().is_err() || (link.queue.len() > MAX_UNREAD && !leaving) {
                link.closed = true;
            }
        }
        Ok(())
    }

    fn queue_outbox(&mut self) {
        let outbox = self.engine.take_outbox();
        self.host.queue.extend(outbox.host);
        let mut batches: BTreeMap<ListenerId, Vec<link::FromScript>> = BTreeMap::new();
        for (listener, message) in outbox.link {
            batches.entry(listener).or_default().push(message);
        }
        for (listener, batch) in batches {
            if let Some(link) = self.links.get_mut(&listener) {
                let mut rest = batch;
                while !rest.is_empty() {
                    let tail = rest.split_off(link::batch(&rest).min(rest.len()));
                    link.queue.push_back(rest);
                    rest = tail;
                }
            }
        }
    }

    /// Waits for a message, room to send, or the next tick.
    fn wait(&self) -> io::Result<()> {
        let now = Instant::now();
        let wake = self.engine.wake(now);
        let at_once = match &self.phase {
            Phase::Yielding { awaited, .. } | Phase::Leaving { awaited } => awaited.is_empty(),
            _ => self.links.values().any(|link| link.closed),
        };
        let wait = if at_once {
            Duration::ZERO
        } else if !matches!(self.phase, Phase::Running) {
            Duration::from_secs(60)
        } else if self.host.queue.len() >= MAX_UNHEARD {
            Duration::from_secs(1)
        } else {
            wake.saturating_duration_since(now)
        };
        let mut fds = vec![self.host.interest()];
        fds.extend(self.links.values().map(Peer::interest));
        poll(&mut fds, wait)
    }

    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..PER_TURN {
            let Some((message, mut descriptors)) = self.host.recv()? else {
                break;
            };
            if let ToScript::Listening { listener, .. } | ToScript::Adopt { listener, .. } =
                &message
                && let Some(fd) = descriptors.pop()
            {
                let link = Peer::new(Socket::from_fd(fd));
                if self.links.insert(*listener, link).is_some() {
                    // Its frameserver is another one now.
                    self.engine.link_closed(*listener);
                }
            }
            match self.phase_said(message) {
                Some(message) => self.engine.host(message),
                None => continue,
            }
        }
        let mut closed = Vec::new();
        for (listener, link) in &mut self.links {
            for _ in 0..PER_TURN {
                match link.recv() {
                    Ok(Some((batch, _))) => {
                        for message in batch {
                            match (&message, &mut self.phase) {
                                (
                                    link::ToScript::Held,
                                    Phase::Yielding { awaited, .. } | Phase::Leaving { awaited },
                                ) => {
                                    awaited.remove(listener);
                                }
                                _ => self.engine.link(*listener, message),
                            }
                        }
                    }
                    Ok(None) => break,
                    // It faces the network: what is broken here ends itself, not us.
                    Err(_) => link.closed = true,
                }
            }
            if link.closed {
                closed.push(*listener);
            }
        }
        for listener in closed {
            self.links.remove(&listener);
            self.engine.link_closed(listener);
            if let Phase::Yielding { awaited, .. } | Phase::Leaving { awaited } = &mut self.phase {
                awaited.remove(&listener);
            }
        }
        Ok(())
    }

    /// Does what the host says of who is the one; the rest is for the engine.
    fn phase_said(&mut self, message: ToScript) -> Option<ToScript> {
        match message {
            ToScript::Yield(number) => {
                for link in self.links.values_mut() {
                    link.queue.push_back(vec![link::FromScript::Hold]);
                }
                let awaited = self.links.keys().copied().collect();
                self.phase = Phase::Yielding { number, awaited };
            }
            ToScript::Resume => self.resume(),
            ToScript::State(piece) => self.state.extend(piece),
            ToScript::TakeOver => {
                let state = std::mem::take(&mut self.state);
                self.engine.take_over(&state);
            }
            ToScript::Begin => {
                self.engine.begin(Instant::now());
                self.phase = Phase::Running;
            }
            ToScript::Leave => self.leave(),
            other => return Some(other),
        }
        None
    }

    /// Stops, and tells the host what there is for the next process.
    fn yields(&mut self, number: u32) {
        let told = match self.engine.settle() {
            Ok(state) => {
                let pieces = state.chunks(STATE_PIECE);
                let pieces = pieces.map(|piece| FromScript::State(piece.to_vec()));
                self.queue_outbox();
                self.host.queue.extend(pieces);
                self.phase = Phase::Yielded;
                Ok(())
            }
            Err(why) => {
                self.resume();
                Err(why)
            }
        };
        self.queue_outbox();
        self.host.queue.push_back(FromScript::Yielded(number, told));
    }

    fn resume(&mut self) {
        if !matches!(self.phase, Phase::Running) {
            for link in self.links.values_mut() {
                link.queue.push_back(vec![link::FromScript::Resume]);
            }
            self.phase = Phase::Running;
        }
    }

    /// Hands everything over to the next process, and waits for the end.
    fn leave(&mut self) {
        self.engine.leave_behind();
        self.queue_outbox();
        for link in self.links.values_mut() {
            link.queue.push_back(vec![link::FromScript::Done]);
        }
        let awaited = self.links.keys().copied().collect();
        self.phase = Phase::Leaving { awaited };
    }

    /// Sends the last words, for a while.
    fn goodbye(mut self) {
        self.flush_for(GOODBYE);
    }

    /// Sends all there is, for a while.
    fn flush_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.flush_all() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let host = (!self.host.queue.is_empty()).then_some(self.host.socket.as_fd());
            let links = self.links.values().filter(|link| !link.queue.is_empty());
            let mut fds: Vec<_> = host
                .into_iter()
                .chain(links.map(|link| link.socket.as_fd()))
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT))
                .collect();
            if poll(&mut fds, left).is_err() {
                return;
            }
        }
    }

    /// Sends what can be sent; whether something is left.
    fn flush_all(&mut self) -> bool {
        let mut left = self.host.flush().is_ok() && !self.host.queue.is_empty();
        for link in self.links.values_mut() {
            left |= link.flush().is_ok() && !link.queue.is_empty();
        }
        left
    }
}

fn poll(fds: &mut [PollFd<'_>], wait: Duration) -> io::Result<()> {
    let wait = Timespec::try_from(wait).ok();
    match rustix::event::poll(fds, wait.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// One of our sockets, with what waits to be sent over it.
struct Peer<Out, In> {
    socket: Socket<Out, In>,
    queue: VecDeque<Out>,
    closed: bool,
}

impl<Out, In> Peer<Out, In> {
    fn new(socket: Socket<Out, In>) -> Self {
        Self {
            socket,
            queue: VecDeque::new(),
            closed: false,
        }
    }

    /// What to wait for.
    fn interest(&self) -> PollFd<'_> {
        let fd: BorrowedFd<'_> = self.socket.as_fd();
        let mut events = PollFlags::IN;
        if !self.queue.is_empty() {
            events |= PollFlags::OUT;
        }
        PollFd::from_borrowed_fd(fd, events)
    }
}

impl<Out: Serialize, In: DeserializeOwned> Peer<Out, In> {
    fn flush(&mut self) -> io::Result<()> {
        while let Some(message) = self.queue.front() {
            match self.socket.send(message, &[]) {
                Ok(()) => {
                    self.queue.pop_front();
                }
                Err(SendError::Full) => return Ok(()),
                // Reading will tell.
                Err(SendError::Closed) => {
                    self.queue.clear();
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
        Ok(())
    }

    /// The next message, if there is one.
    fn recv(&mut self) -> io::Result<Option<(In, Vec<OwnedFd>)>> {
        if self.closed {
            return Ok(None);
        }
        match self.socket.recv() {
            Ok(Received::Message(message, descriptors)) => Ok(Some((message, descriptors))),
            Ok(Received::Closed) => {
                self.closed = true;
                Ok(None)
            }
            Err(RecvError::Empty) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Peer<FromScript, ToScript> {
    /// Waits for what to run.
    fn first(&mut self) -> io::Result<Option<(Run, Phase)>> {
        loop {
            match self.recv()? {
                Some((ToScript::Run(run), _)) => return Ok(Some((run, Phase::Running))),
                Some((ToScript::Prepare(run), _)) => return Ok(Some((run, Phase::Prepared))),
                Some((ToScript::Stop, _)) => return Ok(None),
                Some(_) => return Err(io::Error::other("the first message is not what to run")),
                None if self.closed => return Ok(None),
                None => poll(&mut [self.interest()], Duration::from_secs(3600))?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
