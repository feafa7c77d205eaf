//! `moonport zap`: answers ZeroMQ's authentication protocol from the keystore.
//!
//! Handlers are peers of a REP socket. Their questions are answered one after the other, by the host
//! where one runs, else on the keystore itself, which is held no longer than that takes.

mod door;
mod exchange;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use identity::Name;
use keystore::{Entry, Reason};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::admin::Admin;
use super::args::Zap;
use super::exit::{Exit, Failure, OrExit};
use super::link::{End, KeyRoom, Link};
use super::output::Output;
use super::rooms::{Caller, Doorman};
use crate::wire::zmtp::{
    Answer, Ask, Command, Event, Listener, ListenerConfig, Message, Socket, SocketType,
};
use crate::wire::{Error, Violation};
use door::Door;
use exchange::{Reply, Request};

/// Answers until it is told to end.
pub(super) async fn run(args: Zap, state: &Path, out: &Output) -> Result<Exit, Failure> {
    // What does not work now is told now.
    drop(Admin::open(state)?);
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Failed)?;
    let (door, endpoint) = Door::bind(&args.bind)
        .await
        .or_exit_with(Exit::Failed, || format!("cannot listen at {}", args.bind))?;
    out.line(format_args!("answering for {} at {endpoint}", args.name))?;
    let (questions, asked) = mpsc::channel(QUESTIONS);
    tokio::select! {
        done = receive(&door, &args.name, questions) => done,
        () = decide(state, asked) => Ok(Exit::Done),
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
        _ = terminate.recv() => Ok(Exit::Done),
    }
}

/// What a handler wants to know.
struct Question {
    caller: Caller,
    /// `None`: it cannot be known now.
    answer: oneshot::Sender<Option<Result<Entry, Reason>>>,
}

/// Lets handlers in, so many at a time.
async fn receive(
    door: &Door,
    name: &Name,
    questions: mpsc::Sender<Question>,
) -> Result<Exit, Failure> {
    let socket = Socket {
        max_message: 4096,
        max_parts: 32,
        ..Socket::new(SocketType::Rep)
    };
    let config = Arc::new(ListenerConfig {
        keyless: true,
        ..ListenerConfig::new(socket)
    });
    let mut handlers = JoinSet::new();
    loop {
        tokio::select! {
            stream = door.accept(), if handlers.len() < HANDLERS => match stream {
                Ok(stream) => {
                    let listener = Listener::new(Arc::clone(&config), Instant::now());
                    let link = Link::new(stream, listener, Nobody);
                    handlers.spawn(serve(link, name.clone(), questions.clone()));
                }
                Err(error) => {
                    tracing::warn!("cannot accept: {error}");
                    tokio::time::sleep(BACK_OFF).await;
                }
            },
            Some(_) = handlers.join_next() => {}
        }
    }
}

/// Who answers for a socket without a key.
struct Nobody;

impl KeyRoom for Nobody {
    type Machine = Listener;

    fn answer(&mut self, ask: Ask) -> Result<Answer, End> {
        match ask {
            Ask::Keyless(_) => Ok(Answer::Keyless),
            _ => Err(End::Broken(Error::Proto(Violation::Mechanism))),
        }
    }
}

/// One handler, until it leaves, or does not take its answers.
async fn serve<S: AsyncRead + AsyncWrite>(
    mut link: Link<Nobody, S>,
    name: Name,
    questions: mpsc::Sender<Question>,
) {
    while let Ok(event) = link.next().await {
        match event {
            Event::Ready(_) => link.command(Command::Accept),
            Event::Message(message) => {
                let reply = answer(&message, &name, &questions).await;
                link.command(Command::Send(reply));
            }
            _ => {}
        }
        if link.waiting() > BUSY {
            return;
        }
    }
}

async fn answer(message: &Message, name: &Name, questions: &mpsc::Sender<Question>) -> Message {
    let request = match Request::parse(message) {
        Ok(request) => request,
        Err(malformed) => return Reply::Malformed.write(malformed.id),
    };
    let Some(key) = request.key else {
        return Reply::Refused.write(request.id);
    };
    let (answer, decided) = oneshot::channel();
    let caller = Caller {
        name: name.clone(),
        key,
        from: request.from,
    };
    let asked = questions.send(Question { caller, answer }).await;
    let decided = match asked {
        Ok(()) => decided.await.ok().flatten(),
        Err(_) => None,
    };
    let reply = match &decided {
        Some(Ok(entry)) => Reply::Accepted(entry),
        None | Some(Err(Reason::Keystore)) => Reply::Later,
        Some(Err(_)) => Reply::Refused,
    };
    reply.write(request.id)
}

/// Decides one question after the other; those that have come meanwhile with one look at the store.
async fn decide(state: &Path, mut asked: mpsc::Receiver<Question>) {
    let mut doorman = Doorman::default();
    while let Some(first) = asked.recv().await {
        let mut admin = Admin::open(state).inspect_err(|failure| tracing::error!("{failure}"));
        let mut next = Some(first);
        let mut left = QUESTIONS;
        while let Some(Question { caller, answer }) = next.take() {
            let decided = match &mut admin {
                Ok(admin) => admin.admit(caller, &mut doorman).await,
                Err(_) => {
                    // Its answer is that there is none.
                    continue;
                }
            };
            let decided = decided.inspect_err(|failure| tracing::error!("{failure}"));
            // One who does not wait any more is told nothing.
            let _ = answer.send(decided.ok());
            left -= 1;
            // Others want the store, too.
            if left > 0 {
                next = asked.try_recv().ok();
            }
        }
    }
}

/// How many handlers there may be at once.
const HANDLERS: usize = 64;

/// How many questions may wait, and are answered with one look at the store.
const QUESTIONS: usize = 64;

/// A handler that leaves so many bytes of answers behind does not want them.
const BUSY: usize = 64 * 1024;

/// How long to wait when nobody can be let in.
const BACK_OFF: std::time::Duration = std::time::Duration::from_millis(100);
