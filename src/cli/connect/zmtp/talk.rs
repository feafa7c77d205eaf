//! What is said over one connection.

use std::future::pending;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::keys::Keys;
use super::{Client, Place, parts};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{End, Link};
use crate::cli::output::{printable, tell};
use crate::cli::rooms;
use crate::wire::zmtp::{Command, Event, Message, SocketType};
use crate::wire::{Error, Violation};

/// How a connection has ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nothing more is to be said.
    Done,
    /// It is lost, or was never made; another may be better.
    Lost(Lost),
}

/// What became of a connection, and what the program ends with if no other is made.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) failure: Failure,
    pub(super) was_ready: bool,
}

/// A connection's conversation.
pub(super) struct Talk<'a, 'c> {
    link: Link<Keys, TcpStream>,
    client: &'a mut Client<'c>,
    place: &'a Place,
    kind: SocketType,
    ready: bool,
    /// REQ: how many requests have no reply yet that was heard of.
    asked: u32,
    /// When to leave, once everything is said: the last words may be answered.
    quiet: Option<Instant>,
    /// When to stop waiting for the other side, once we are leaving.
    leaving: Option<Instant>,
    /// What to end with instead of well.
    failure: Option<Failure>,
}

impl<'a, 'c> Talk<'a, 'c> {
    pub(super) fn new(
        link: Link<Keys, TcpStream>,
        client: &'a mut Client<'c>,
        place: &'a Place,
    ) -> Self {
        Self {
            link,
            kind: client.plan.socket.kind,
            client,
            place,
            ready: false,
            asked: 0,
            quiet: None,
            leaving: None,
            failure: None,
        }
    }

    /// Talks until the connection ends. Fails where another would be no better.
    pub(super) async fn run(mut self) -> Result<Ended, Failure> {
        loop {
            self.look_for_the_end();
            self.speak();
            let reads = self.ready && self.leaving.is_none() && self.kind.sends();
            tokio::select! {
                event = self.link.step() => match event {
                    Ok(Some(event)) => self.hear(event)?,
                    Ok(None) => {}
                    Err(end) => return self.ended(end),
                },
                read = self.client.input.read(), if reads && self.client.input.wants() => {
                    self.failure = read.err();
                    if self.client.input.is_over() {
                        self.note("standard input has ended");
                    }
                }
                () = passed(self.quiet), if self.leaving.is_none() => self.leave(),
                () = passed(self.leaving) => return self.left(),
            }
        }
    }

    /// Lines are sent as fast as they can be, and not before somebody wants them.
    fn speak(&mut self) {
        let may =
            self.leaving.is_none() && self.link.machine().may_send() && self.link.waiting() < BUSY;
        if let Some(message) = self.client.input.take_if(may) {
            self.asked += u32::from(self.kind == SocketType::Req);
            self.link.command(Command::Send(message));
        }
    }

    /// Leaves when everything is said.
    fn look_for_the_end(&mut self) {
        if self.leaving.is_some() {
            return;
        }
        if self.failure.is_some() {
            return self.leave();
        }
        if !self.is_all_said() {
            return;
        }
        match self.kind {
            SocketType::Dealer | SocketType::Router | SocketType::Pair => {
                self.quiet.get_or_insert_with(|| Instant::now() + QUIET);
            }
            _ => self.leave(),
        }
    }

    /// Whether everything is said that was to be said; what only listens never is there.
    fn is_all_said(&self) -> bool {
        self.ready
            && self.client.input.is_over()
            && self.asked == 0
            && !self.client.args.stay
            && !matches!(
                self.kind,
                SocketType::Sub | SocketType::Xsub | SocketType::Pull
            )
    }

    /// Closes our end after everything that was said.
    fn leave(&mut self) {
        self.link.close();
        self.leaving = Some(Instant::now() + PATIENCE);
    }

    fn left(self) -> Result<Ended, Failure> {
        self.failure.map_or(Ok(Ended::Done), Err)
    }

    fn hear(&mut self, event: Event) -> Result<(), Failure> {
        match event {
            Event::Ready(metadata) => {
                self.ready = true;
                let plan = self.client.plan;
                self.note(&format!("ready: {metadata:?}"));
                if let Some(tag) = &plan.tag {
                    let (address, key) = (&self.place.address, self.place.key);
                    let now_ms = rooms::now().wall_ms;
                    plan.known.has_proved(tag, address, key, now_ms)?;
                }
                Ok(())
            }
            Event::Message(message) => {
                self.asked = self.asked.saturating_sub(1);
                self.quiet = self.quiet.map(|_| Instant::now() + QUIET);
                self.print(message)
            }
            // As an XPUB of libzmq tells them.
            Event::Subscribed { topic, first: true } => self.print_subscription(1, topic),
            Event::Cancelled { topic, last: true } => self.print_subscription(0, topic),
            Event::Subscribed { .. } | Event::Cancelled { .. } => Ok(()),
            Event::Unsent(_) => {
                tell("moonport: a message was not sent: it was not our turn");
                Ok(())
            }
        }
    }

    fn print_subscription(&self, first: u8, mut topic: Vec<u8>) -> Result<(), Failure> {
        topic.insert(0, first);
        self.print(vec![topic])
    }

    fn print(&self, message: Message) -> Result<(), Failure> {
        let line = parts::line(message, self.client.args.json)?;
        self.client.out.line(line)
    }

    fn note(&self, what: &str) {
        if self.client.args.verbose {
            let address = &self.place.address;
            tell(format_args!("moonport: {address}: {}", printable(what)));
        }
    }

    /// What an end means at this stage.
    fn ended(self, end: End) -> Result<Ended, Failure> {
        if self.leaving.is_some() || self.is_all_said() && self.link.waiting() == 0 {
            return self.left();
        }
        let Place { address, key } = self.place;
        let because = |exit, why: String| Failure::because(exit, format_args!("{address}: {why}"));
        let lost = |exit, why: &str| {
            Ok(Ended::Lost(Lost {
                failure: because(exit, why.to_owned()),
                was_ready: self.ready,
            }))
        };
        if self.asked > 0 {
            // Nobody knows what became of it, so it is not sent again.
            tell(format_args!("moonport: {address}: a request is lost"));
        }
        match end {
            _ if self.asked > 0 && self.client.input.is_over() => Err(because(
                Exit::Failed,
                "the connection ended before the reply came".to_owned(),
            )),
            End::Closed if self.ready => {
                lost(Exit::Failed, "the other side has closed the connection")
            }
            End::Closed => lost(
                Exit::Refused,
                &format!(
                    "closed by the other side before we were let in: it has another key than {key}, its \
                     socket does not go with ours, a {}, or it does not speak CURVE",
                    self.kind
                ),
            ),
            End::Io(error) => lost(Exit::Network, &format!("the connection broke: {error}")),
            End::Broken(Error::Proto(Violation::Deadline)) => lost(
                Exit::Network,
                "no answer in time: is this a CURVE server of ZeroMQ's?",
            ),
            End::Broken(Error::Proto(Violation::Silent)) => {
                lost(Exit::Network, "the other side has gone silent")
            }
            End::Broken(Error::Access(_)) => Err(because(Exit::Refused, self.refused())),
            End::Broken(Error::Proto(Violation::Forged)) if !self.ready => Err(because(
                Exit::Refused,
                format!("NOT the server that was expected: it does not hold the key {key}"),
            )),
            End::Broken(Error::Proto(violation)) => {
                let hint = match violation {
                    Violation::Mechanism => "; it has to be a CURVE server",
                    Violation::SocketType => "; --socket-type says what ours is",
                    _ if !self.ready => "; is this a CURVE server of ZeroMQ's?",
                    _ => "",
                };
                Err(because(Exit::Failed, format!("{violation}{hint}")))
            }
            End::Broken(error) => Err(because(Exit::Failed, error.to_string())),
            End::Unknown(_) | End::Other(_) => Err(because(
                Exit::Refused,
                "NOT the server that was expected".to_owned(),
            )),
        }
    }

    /// Which key the other side would have to accept.
    fn refused(&self) -> String {
        let own = self.client.plan.own.public();
        let (text, z85) = own.map_or_else(Default::default, |key| {
            let z85 = identity::z85::encode(key.as_bytes());
            (key.to_string(), z85.to_string())
        });
        format!(
            "refused by the other side: have our key accepted there, {text} (in Z85: {z85}), or prove \
             another one by --identity"
        )
    }
}

async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// So many bytes that wait to be sent are enough.
const BUSY: usize = 64 * 1024;

/// How long the other side may be silent, after the end of standard input, before we go.
const QUIET: Duration = Duration::from_millis(500);

/// How long is waited for the other side to close, after we have.
const PATIENCE: Duration = Duration::from_secs(2);
