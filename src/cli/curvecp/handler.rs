//! The program behind a connection, and the messages that are passed to and from it.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use data_encoding::HEXLOWER;
use identity::PublicKey;
use rustix::io::{DupFlags, Errno, dup2, dup3, fcntl_dupfd_cloexec, retry_on_intr, writev};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::Notify;
use tokio::time::timeout;

/// Where a handler reads messages, and where it writes them.
const TO: i32 = 8;
const FROM: i32 = 9;

/// The longest message, in units of 16 bytes.
const LONGEST: u8 = 68;
/// As much waits for a handler that does not read, in bytes; what comes then is lost.
const QUEUE: usize = 131_072;
/// How much is read at once, in bytes.
const CHUNK: usize = 65_536;
/// How long a handler may take to end when it is asked to.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// What is started for each connection.
#[derive(Debug)]
pub(super) struct Program {
    words: Vec<OsString>,
    places: Option<Places>,
}

impl Program {
    /// A name, found as a shell finds it, and arguments.
    pub(super) fn new(words: Vec<OsString>) -> Self {
        Self {
            words,
            places: None,
        }
    }

    /// The same, of which many are started. For a process with one thread, where nobody else starts
    /// anything meanwhile, and before it has opened much: see [`Places`].
    pub(super) fn of_many(words: Vec<OsString>) -> Self {
        Self {
            words,
            places: Places::take(),
        }
    }

    /// Starts it, and gives the way to it, which is closed once nobody has it; `client` says who is on
    /// the other side.
    pub(super) fn start(
        &mut self,
        client: Option<(&PublicKey, IpAddr)>,
    ) -> io::Result<(Handler, Rc<Inlet>)> {
        let (program, arguments) = self
            .words
            .split_first()
            .ok_or_else(|| io::Error::other("nothing to start"))?;
        // Its ends do not block either.
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (inner_to, to) = pipe_with(flags)?;
        let (from, inner_from) = pipe_with(flags)?;
        let mut command = std::process::Command::new(program);
        command.args(arguments);
        if let Some((key, ip)) = client {
            command.env("REMOTEPK", HEXLOWER.encode(key.as_bytes()));
            command.env("TCPREMOTEIP", ip.to_canonical().to_string());
        }
        // Its ends are closed here once it has them.
        let child = match &mut self.places {
            Some(places) => places.spawn(command, [&inner_to, &inner_from])?,
            None => {
                let mapping = |child_fd, parent_fd| FdMapping {
                    parent_fd,
                    child_fd,
                };
                command
                    .fd_mappings(vec![mapping(TO, inner_to), mapping(FROM, inner_from)])
                    .map_err(io::Error::other)?;
                spawn(command)?
            }
        };
        let inlet = Rc::new(Inlet::new(to));
        let handler = Handler {
            child,
            ended: false,
            to: Some(Rc::clone(&inlet)),
            from: Some(pipe::Receiver::from_owned_fd_unchecked(from)?),
            records: Records::default(),
        };
        Ok((handler, inlet))
    }
}

fn spawn(command: std::process::Command) -> io::Result<Child> {
    Command::from(command).kill_on_drop(true).spawn()
}

/// Descriptors 8 and 9 of this process itself, which what is started finds as they are then. With
/// nothing to do between fork and exec, the library does not make the copy of our memory that a fork
/// would, nor do we fault on each page of it that is written to afterwards.
#[derive(Debug)]
struct Places {
    places: [OwnedFd; 2],
    /// What is there in between.
    nothing: OwnedFd,
}

impl Places {
    /// `None` if one of them is something else already.
    fn take() -> Option<Self> {
        let nothing = OwnedFd::from(File::open("/dev/null").ok()?);
        let place = |number| {
            let place = fcntl_dupfd_cloexec(&nothing, number).ok()?;
            (place.as_raw_fd() == number).then_some(place)
        };
        Some(Self {
            places: [place(TO)?, place(FROM)?],
            nothing,
        })
    }

    /// Starts what gets these.
    fn spawn(&mut self, command: std::process::Command, inner: [&OwnedFd; 2]) -> io::Result<Child> {
        let moved = self.fill(inner);
        let child = moved.and_then(|()| spawn(command));
        // Whatever has become of it, nobody else gets them.
        for place in &mut self.places {
            dup3(&self.nothing, place, DupFlags::CLOEXEC)?;
        }
        child
    }

    fn fill(&mut self, inner: [&OwnedFd; 2]) -> io::Result<()> {
        for (place, end) in self.places.iter_mut().zip(inner) {
            dup2(end, place)?;
        }
        Ok(())
    }
}

/// The way to a handler. Messages are passed on one by one, as they come: a sender of the reference is
/// quick only if what it waits for comes as evenly as it was sent.
#[derive(Debug)]
pub(super) struct Inlet {
    /// It does not block.
    pipe: OwnedFd,
    /// The same, once it has been waited for: most are never full.
    watched: OnceCell<pipe::Sender>,
    /// Whole messages for which the pipe has had no room.
    queue: RefCell<VecDeque<Vec<u8>>>,
    /// Something waits there again.
    waits: Notify,
    /// It does not want to hear anything, and may have something to say.
    deaf: Cell<bool>,
}

impl Inlet {
    fn new(pipe: OwnedFd) -> Self {
        Self {
            pipe,
            watched: OnceCell::new(),
            queue: RefCell::default(),
            waits: Notify::new(),
            deaf: Cell::new(false),
        }
    }

    /// Gives the handler a message, of 16 to 1088 bytes in steps of 16. It is lost if the handler does
    /// not keep up, as on the network.
    pub(super) fn give(&self, message: &[u8]) {
        let units = message.len() / 16;
        let Ok(length @ 1..=LONGEST) = u8::try_from(units) else {
            return;
        };
        let mut queue = self.queue.borrow_mut();
        if self.deaf.get() || (queue.is_empty() && self.write(&[length], message)) {
            return;
        }
        if queue.len() < QUEUE / 1089 {
            queue.push_back([&[length], message].concat());
            self.waits.notify_one();
        }
    }

    /// Says whether it is done with it. So little (`PIPE_BUF`) a pipe takes whole or not at all.
    fn write(&self, length: &[u8], message: &[u8]) -> bool {
        let record = [length, message].map(IoSlice::new);
        match retry_on_intr(|| writev(&self.pipe, &record)) {
            Ok(_) => true,
            Err(Errno::AGAIN) => false,
            Err(_) => {
                self.deaf.set(true);
                true
            }
        }
    }

    /// Passes on what waits whenever there is room. Cancel-safe.
    async fn pass_on(&self) -> io::Result<Infallible> {
        loop {
            while self.is_empty() {
                self.waits.notified().await;
            }
            let pipe = match self.watched.get() {
                Some(pipe) => pipe,
                None => {
                    let pipe = pipe::Sender::from_owned_fd_unchecked(self.pipe.try_clone()?)?;
                    self.watched.get_or_init(|| pipe)
                }
            };
            pipe.writable().await?;
            self.flush(pipe);
        }
    }

    fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    fn flush(&self, pipe: &pipe::Sender) {
        let mut queue = self.queue.borrow_mut();
        while let Some(record) = queue.front() {
            match pipe.try_write(record) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.deaf.set(true),
                Ok(_) => {}
            }
            queue.pop_front();
        }
    }
}

/// A handler that runs.
#[derive(Debug)]
pub(super) struct Handler {
    child: Child,
    /// Whether it has been reaped.
    ended: bool,
    to: Option<Rc<Inlet>>,
    from: Option<pipe::Receiver>,
    records: Records,
}

/// The handler wants nothing more, or has broken the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Closed;

impl Handler {
    /// Waits until there may be a [`message`](Self::message). Cancel-safe.
    pub(super) async fn ready(&mut self) -> Result<(), Closed> {
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            return Err(Closed);
        };
        loop {
            tokio::select! {
                ready = from.readable() => {
                    ready.map_err(|_| Closed)?;
                    return self.read();
                }
                never = to.pass_on() => match never.map_err(|_| Closed)? {},
                _ = self.child.wait(), if !self.ended => self.ended = true,
            }
        }
    }

    fn read(&mut self) -> Result<(), Closed> {
        let from = self.from.as_ref().ok_or(Closed)?;
        let bytes = &mut self.records.bytes;
        bytes.reserve(CHUNK);
        match from.try_read_buf(bytes) {
            Ok(0) => Err(Closed),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(_) => Err(Closed),
        }
    }

    /// The next message from it, if there is a whole one.
    pub(super) fn message(&mut self) -> Result<Option<&[u8]>, Closed> {
        self.records.next()
    }

    /// The connection is over: closes the pipes.
    pub(super) fn close(&mut self) {
        (self.to, self.from) = (None, None);
        self.records = Records::default();
    }

    /// Waits until it has ended. Cancel-safe.
    pub(super) async fn wait(&mut self) -> u8 {
        let status = self.child.wait().await;
        self.ended = true;
        let code = status.ok().and_then(|status| status.code());
        code.and_then(|code| code.try_into().ok())
            .unwrap_or(super::FATAL)
    }

    /// Asks it to end, and ends it if it takes too long.
    pub(super) async fn end(&mut self, grace: Duration) {
        self.close();
        // There is none any more once it has been waited for.
        let pid = self.child.id().and_then(|id| id.try_into().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else {
            return;
        };
        let _ = kill_process(pid, Signal::TERM);
        if timeout(grace, self.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

/// What a handler has written: messages, each behind its length, in pieces of any size.
#[derive(Debug, Default)]
struct Records {
    bytes: Vec<u8>,
    /// Where the next one begins.
    at: usize,
}

impl Records {
    fn next(&mut self) -> Result<Option<&[u8]>, Closed> {
        let length = match self.bytes.get(self.at) {
            Some(&length @ 1..=LONGEST) => usize::from(length) * 16,
            Some(_) => return Err(Closed),
            None => 0,
        };
        let begin = self.at + 1;
        let end = begin + length;
        if length == 0 || self.bytes.len() < end {
            self.bytes.drain(..self.at);
            self.at = 0;
            return Ok(None);
        }
        self.at = end;
        Ok(self.bytes.get(begin..end))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, bool) {
        let (mut records, mut messages) = (Records::default(), Vec::new());
        for piece in pieces {
            records.bytes.extend_from_slice(piece);
            loop {
                match records.next() {
                    Ok(Some(message)) => messages.push(message.to_vec()),
                    Ok(None) => break,
                    Err(Closed) => return (messages, false),
                }
            }
        }
        (messages, true)
    }

    #[test]
    fn no_length_but_1_to_68_is_one() {
        for wrong in [0, 69, 0x81, 255] {
            let bytes = [&[1][..], &[7; 16], &[wrong], &[0; 2000]].concat();
            assert_eq!(all(&[&bytes]), (vec![vec![7; 16]], false));
        }
    }

    proptest! {
        #[test]
        fn i9_records_are_the_same_however_they_are_split(
            lengths in prop::collection::vec(1..=LONGEST, 0..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            broken: bool,
        ) {
            let message = |length: u8| vec![length; usize::from(length) * 16];
            let record = |length: &u8| [vec![*length], message(*length)].concat();
            let mut bytes: Vec<u8> = lengths.iter().flat_map(record).collect();
            if broken {
                bytes.push(0);
            }
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.push(bytes.len());
            cuts.sort_unstable();
            let mut last = 0;
            let pieces: Vec<_> = cuts
                .iter()
                .map(|&cut| &bytes[std::mem::replace(&mut last, cut)..cut])
                .collect();
            let messages = lengths.iter().copied().map(message).collect();
            prop_assert_eq!(all(&pieces), (messages, !broken));
        }
    }

    fn program(script: &str) -> Program {
        Program::new(["sh", "-c", script].map(OsString::from).to_vec())
    }

    #[tokio::test]
    async fn messages_go_to_8_and_come_from_9() {
        let echo = "head -c 34 <&8 | tr a b >&9";
        // A shell's tools want pipes that block.
        let block = "perl -e 'for (8, 9) { open F, \"+<&=$_\"; fcntl F, 4, 0 }' || exit 1;";
        let started = program(&format!("{block} {echo}")).start(None);
        let (mut handler, inlet) = started.unwrap();
        inlet.give(&[b'a'; 16]);
        inlet.give(&[b'x'; 16]);
        let mut messages = Vec::new();
        while handler.ready().await.is_ok() {
            while let Some(message) = handler.message().unwrap() {
                messages.push(message.to_vec());
            }
        }
        assert_eq!(messages, [[b'b'; 16], [b'x'; 16]]);
        assert_eq!(handler.wait().await, 0);
    }

    #[tokio::test]
    async fn it_knows_who_the_client_is() {
        let key = PublicKey::parse(&[0x4b; 32]).unwrap();
        let ip = "127.1.2.3".parse().unwrap();
        let script = format!(
            "test $REMOTEPK = {} && test $TCPREMOTEIP = 127.1.2.3",
            "4b".repeat(32)
        );
        let (mut handler, _inlet) = program(&script).start(Some((&key, ip))).unwrap();
        assert_eq!(handler.ready().await, Err(Closed));
        assert_eq!(handler.wait().await, 0);
    }

    #[tokio::test]
    async fn one_that_is_deaf_to_requests_is_ended_all_the_same() {
        let deaf = "trap '' TERM; printf '\\001%16s' x >&9; exec sleep 1000";
        let (mut handler, _inlet) = program(deaf).start(None).unwrap();
        handler.ready().await.unwrap();
        handler.end(Duration::from_millis(10)).await;
        assert!(handler.child.id().is_none());
    }

    #[tokio::test]
    async fn one_that_does_not_read_costs_no_more_than_its_queue() {
        let (mut handler, inlet) = program("exec sleep 1000").start(None).unwrap();
        for _ in 0..10_000 {
            inlet.give(&[0; 1088]);
        }
        let waiting: usize = inlet.queue.borrow().iter().map(Vec::len).sum();
        assert!((1..=QUEUE).contains(&waiting));
        handler.end(GRACE).await;
    }
}
