//! What is said over a connection.

use std::future::pending;
use std::time::Duration;

use identity::{PublicKey, Reference};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::keys::Keys;
use super::text::{Joined, split};
use super::{Plan, lines};
use crate::cli::args::Connect;
use crate::cli::exit::{Exit, Failure};
use crate::cli::known::Known;
use crate::cli::link::{End, Link};
use crate::cli::output::{Output, printable, tell};
use crate::cli::rooms;
use crate::wire::a12::event::{External, SegmentKind, Target};
use crate::wire::a12::{Command, Event, Role};
use crate::wire::{Error, Violation};

/// How it ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// As it should.
    Done,
    /// The other side does not want us; its admin can look up why.
    Refused(&'static str, Reference),
    /// Something went wrong.
    Failed(Exit, String),
    /// It has not begun: nothing is known of the other side's key.
    Unknown(PublicKey),
}

/// How far it is. Each stage comes after those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// The server has not answered yet.
    Handshake,
    /// It has, so it does not mind our key; it has not proved its own.
    Established,
    /// It has proved its key.
    Proved,
    /// It has let us in.
    Active,
    /// It has said goodbye.
    Goodbye,
}

/// Standard input.
#[derive(Debug)]
enum Lines {
    /// Nobody has looked yet.
    Untouched,
    Open(mpsc::Receiver<String>),
    Over,
}

/// A client's conversation.
pub(super) struct Talk<'a> {
    link: Link<Keys, TcpStream>,
    args: &'a Connect,
    plan: &'a Plan,
    known: &'a Known,
    out: &'a Output,
    stage: Stage,
    joined: Joined,
    /// When to say goodbye, once there is nothing more to say: the last words may be answered.
    quiet: Option<Instant>,
    /// When to stop waiting for the other side, once we have said goodbye.
    leaving: Option<Instant>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        link: Link<Keys, TcpStream>,
        args: &'a Connect,
        plan: &'a Plan,
        known: &'a Known,
        out: &'a Output,
    ) -> Self {
        Self {
            link,
            args,
            plan,
            known,
            out,
            stage: Stage::Handshake,
            joined: Joined::default(),
            quiet: None,
            leaving: None,
        }
    }

    /// Talks until one side ends it.
    pub(super) async fn run(mut self) -> Result<Ended, Failure> {
        let mut lines = Lines::Untouched;
        loop {
            // Lines are taken as fast as they can be sent, and not before somebody hears them.
            let speak = self.stage == Stage::Active
                && self.leaving.is_none()
                && self.link.waiting() < BUSY
                && !matches!(lines, Lines::Over);
            tokio::select! {
                event = self.link.next() => match event {
                    Ok(event) => {
                        if let Some(ended) = self.hear(event)? {
                            return Ok(ended);
                        }
                    }
                    Err(end) => return Ok(self.ended(end)),
                },
                line = lines.next(), if speak => match line {
                    Some(line) => self.say(&line),
                    None if self.args.stay => self.note("standard input has ended; staying"),
                    None => self.quiet = Some(Instant::now() + QUIET),
                },
                () = passed(self.quiet), if self.leaving.is_none() => self.leave(),
                () = passed(self.leaving) => return Ok(Ended::Done),
            }
        }
    }

    fn say(&mut self, line: &str) {
        for text in split(line) {
            let event = External::Message(text);
            self.link.command(Command::External { channel: 0, event });
        }
    }

    /// Says goodbye after everything that was said before.
    fn leave(&mut self) {
        if self.leaving.is_none() {
            let text = String::new();
            self.link.command(Command::Shutdown { text });
            self.link.close();
            self.leaving = Some(Instant::now() + PATIENCE);
        }
    }

    fn hear(&mut self, event: Event) -> Result<Option<Ended>, Failure> {
        match event {
            Event::Established { role } => {
                self.stage = Stage::Established;
                if self.args.probe {
                    self.tell_role(role)?;
                    return Ok(Some(Ended::Done));
                }
                // This is also what proves our own key.
                let event = External::Register {
                    title: cut(&self.args.title, TITLE).to_owned(),
                    kind: SegmentKind::APPLICATION,
                    guid: [0; 2],
                };
                self.link.command(Command::External { channel: 0, event });
            }
            Event::Proved => {
                self.stage = self.stage.max(Stage::Proved);
                self.remember()?;
            }
            Event::Target {
                event: Target::Message(part),
                ..
            } => {
                self.stage = self.stage.max(Stage::Active);
                if let Some(message) = self.joined.push(&part) {
                    self.print(&message)?;
                }
                self.quiet = self.quiet.map(|_| Instant::now() + QUIET);
            }
            Event::Target {
                event: Target::Activate,
                ..
            } => self.stage = self.stage.max(Stage::Active),
            Event::Target {
                channel: 0,
                event: Target::Exit,
            } => {
                self.stage = Stage::Goodbye;
                self.leave();
            }
            Event::Goodbye { text } => {
                self.stage = Stage::Goodbye;
                if !text.is_empty() {
                    tell(format_args!(
                        "moonport: the other side says goodbye: {}",
                        printable(&text)
                    ));
                }
                self.leave();
            }
            other => self.note(cut(&format!("{other:?}"), NOTE)),
        }
        Ok(None)
    }

    /// What the other side says it is; a probe sees no proof.
    fn tell_role(&self, role: Option<Role>) -> Result<(), Failure> {
        let role = match role {
            Some(Role::Source) => "source",
            Some(Role::Sink) => "sink",
            Some(Role::Probe) => "probe",
            Some(Role::Directory) => "directory",
            None => "unknown",
        };
        let key = self.link.keys().server.map(|key| key.to_string());
        let address = self.plan.address.to_string();
        match self.args.json {
            true => self.out.json(&serde_json::json!({
                "address": address,
                "role": role,
                "claimed_key": key,
            })),
            false => self.out.line(format_args!(
                "{address} is a {role} and claims the key {}",
                key.unwrap_or_default()
            )),
        }
    }

    /// Remembers a server that has proved its key.
    fn remember(&self) -> Result<(), Failure> {
        let (Some(tag), Some(key)) = (&self.plan.tag, self.link.keys().server) else {
            return Ok(());
        };
        let now_ms = rooms::now().wall_ms;
        self.known.has_proved(tag, &self.plan.address, key, now_ms)
    }

    fn print(&self, message: &str) -> Result<(), Failure> {
        if !self.out.terminal {
            return self.out.line(message);
        }
        message
            .split('\n')
            .try_for_each(|line| self.out.line(printable(line)))
    }

    fn note(&self, what: &str) {
        if self.args.verbose {
            tell(format_args!("moonport: {}", printable(what)));
        }
    }

    /// What an end means at this stage.
    fn ended(&self, end: End) -> Ended {
        match (end, self.stage) {
            (End::Unknown(key), _) => Ended::Unknown(key),
            (End::Other(key), _) => Ended::Failed(
                Exit::Refused,
                format!(
                    "NOT the server that was expected: it claims the key {key}. Either somebody is in \
                     between, or it has a new key; nothing was sent but the handshake. If you know \
                     that the new key is right, give it with --server-key"
                ),
            ),
            (End::Closed, Stage::Handshake) => Ended::Refused(
                "closed by the other side before the handshake ended: not accepted there, or wrong secret",
                self.link.machine().reference(),
            ),
            (End::Closed, Stage::Established) => Ended::Refused(
                "closed by the other side before it let us in: not accepted there, or turned away",
                self.link.machine().reference(),
            ),
            (End::Closed, Stage::Proved) => Ended::Refused(
                "turned away by the other side",
                self.link.machine().reference(),
            ),
            (End::Closed, Stage::Active) if self.leaving.is_none() => Ended::Failed(
                Exit::Failed,
                "the other side has closed the connection".into(),
            ),
            (End::Closed, Stage::Active) => Ended::Done,
            (_, Stage::Goodbye) => {
                self.note("the other side has ended the session");
                Ended::Done
            }
            (End::Broken(Error::Proto(Violation::Deadline)), _) => Ended::Failed(
                Exit::Network,
                "no answer in time: is this an a12 host?".into(),
            ),
            (End::Broken(error), Stage::Handshake) => Ended::Failed(
                Exit::Refused,
                format!("{error}: the secrets differ, or this is no a12 host"),
            ),
            (End::Broken(error), _) => Ended::Failed(Exit::Failed, error.to_string()),
            (End::Io(error), _) => {
                Ended::Failed(Exit::Network, format!("the connection broke: {error}"))
            }
        }
    }
}

impl Lines {
    /// Cancel-safe.
    async fn next(&mut self) -> Option<String> {
        if let Self::Untouched = self {
            *self = Self::Open(lines::stdin());
        }
        let line = match self {
            Self::Open(lines) => lines.recv().await,
            Self::Untouched | Self::Over => None,
        };
        if line.is_none() {
            *self = Self::Over;
        }
        line
    }
}

async fn passed(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// At most so many bytes of a text, in whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes))
        .unwrap_or_default()
}

/// The longest title, in bytes.
const TITLE: usize = 63;

/// The longest note on an event, in bytes.
const NOTE: usize = 200;

/// So many bytes that wait to be sent are enough.
const BUSY: usize = 64 * 1024;

/// How long the other side may be silent, after the end of standard input, before we go.
const QUIET: Duration = Duration::from_millis(500);

/// How long the other side is listened to after we have said goodbye.
const PATIENCE: Duration = Duration::from_secs(2);
