//! A client against this program's own listening end, over real sockets.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::cli::args::{Cli, Color, Command as CliCommand};
use crate::wire::a12::event::{External, Target, Text};
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::a12::{Answer, Ask, Command, Event, Listener, ListenerConfig, Ratchet, SecretId};
use crate::wire::{Input, Output as Polled, Protocol, Refusal};

/// How a server deals with a client.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    /// Lets it in, says two things, and goodbye.
    Friendly,
    /// Does not accept its key.
    Closed,
    /// Takes its proof, and turns it away.
    Dismissive,
}

/// A host in miniature, with a key of its own.
struct Server {
    listener: TcpListener,
    key: SecretKey,
    manner: Manner,
    initial: StageKeys,
    /// The keys that clients have shown.
    clients: RefCell<Vec<PublicKey>>,
}

impl Server {
    async fn new(byte: u8, manner: Manner) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            key: SecretKey::from_bytes([byte; 32]),
            manner,
            initial: StageKeys::public(),
            clients: RefCell::default(),
        }
    }

    fn address(&self) -> String {
        self.listener.local_addr().unwrap().to_string()
    }

    /// Serves clients until the test is over; counts them.
    async fn serve(&self, served: &std::cell::Cell<u32>) {
        loop {
            let (stream, _) = self.listener.accept().await.unwrap();
            served.set(served.get() + 1);
            self.one(stream).await;
        }
    }

    async fn one(&self, mut stream: TcpStream) {
        let config = ListenerConfig {
            role: Role::Sink,
            candidates: vec![(SecretId(0), self.initial.clone())],
            handshake: Duration::from_secs(30),
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 0,
            },
        };
        let mut machine = Listener::new(Arc::new(config), Instant::now(), Random::new().unwrap());
        let mut pending: Option<Pending> = None;
        let mut out = Vec::new();
        let mut inputs = VecDeque::new();
        loop {
            match machine.poll(&mut out) {
                Polled::Transmit => {}
                Polled::Ask(ask) => {
                    let answer = self.answer(ask, &mut pending);
                    inputs.push_back(Input::Answer(answer));
                }
                Polled::Event(event) => match self.hear(&event) {
                    Some(commands) => inputs.extend(commands.into_iter().map(Input::Command)),
                    None => return,
                },
                Polled::Idle(_) => {
                    // A client that has gone away is gone.
                    let _ = stream.write_all(&out).await;
                    out.clear();
                    let mut bytes = vec![0; machine.room().max(1)];
                    let input = match inputs.pop_front() {
                        Some(input) => input,
                        None if machine.room() == 0 => return,
                        None => match stream.read(&mut bytes).await {
                            Ok(read) if read > 0 => Input::Bytes(&bytes[..read]),
                            _ => return,
                        },
                    };
                    if machine.handle(Instant::now(), input).is_err() {
                        return;
                    }
                }
            }
        }
    }

    fn answer(&self, ask: Ask, pending: &mut Option<Pending>) -> Answer {
        match ask {
            Ask::Claim { .. } if self.manner == Manner::Closed => {
                Answer::Refused(Refusal::NotAccepted)
            }
            Ask::Claim { rounds, hello, .. } => {
                let nonce = [9; 8];
                let claim = Claim::parse(&hello).unwrap();
                self.clients.borrow_mut().push(*claim.key());
                *pending = Some(claim.challenge(&self.key, rounds, nonce));
                let host = self.key.public().unwrap();
                Answer::Challenge { host, nonce }
            }
            Ask::Proof(packet) => match pending.as_ref().unwrap().prove(&packet) {
                Ok(keys) => Answer::Session(keys),
                Err(crate::wire::Error::Again { .. }) => Answer::More,
                Err(_) => Answer::Refused(Refusal::NotAccepted),
            },
            Ask::Server(_) | Ask::Ratchet(_) => panic!("a listener does not ask that"),
        }
    }

    /// `None`: closes the connection.
    fn hear(&self, event: &Event) -> Option<Vec<Command>> {
        let target = |event| Command::Target { channel: 0, event };
        let message = |text: &str, multipart| {
            let text = text.to_owned();
            target(Target::Message(Text { text, multipart }))
        };
        match event {
            Event::Admitted { .. } if self.manner == Manner::Dismissive => None,
            Event::Admitted { .. } => Some(vec![Command::Accept]),
            Event::External {
                event: External::Register { title, .. },
                ..
            } => Some(vec![
                message("hello, ", true),
                message(title, false),
                target(Target::Activate),
                target(Target::Exit),
            ]),
            _ => Some(Vec::new()),
        }
    }
}

/// Runs `moonport connect` with these words where nobody can be asked.
async fn connect(server: &Server, state: &Path, words: &[&str]) -> (Result<Exit, Failure>, u32) {
    connect_and_say(server, state, words, None).await
}

/// Runs `moonport connect` with these words and this answer to what it asks; returns also how many
/// connections it took.
async fn connect_and_say(
    server: &Server,
    state: &Path,
    words: &[&str],
    answer: Option<bool>,
) -> (Result<Exit, Failure>, u32) {
    let mut all = vec!["moonport", "connect"];
    all.extend(words);
    let CliCommand::Connect(args) = Cli::parse_from(all).command else {
        panic!("no connect");
    };
    let out = Output::new(Color::Never);
    let served = std::cell::Cell::new(0);
    let done = tokio::select! {
        done = super::connect(&args, state, &out, async |_| answer) => done,
        () = server.serve(&served) => panic!("the server does not end"),
    };
    (done, served.get())
}

fn key(server: &Server) -> String {
    server.key.public().unwrap().to_string()
}

#[tokio::test]
async fn a_server_is_remembered_once_it_has_proved_its_key() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let (address, key) = (server.address(), key(&server));
    let words = [&*address, "--server-key", &key, "--tag", "home"];
    let (done, _) = connect(&server, state.path(), &words).await;
    assert_eq!(done.unwrap(), Exit::Done);
    let (done, _) = connect(&server, state.path(), &["@home"]).await;
    assert_eq!(done.unwrap(), Exit::Done);
    let (done, _) = connect(&server, state.path(), &["@home", "--one-round"]).await;
    assert_eq!(done.unwrap(), Exit::Done);
    // Now it is known at its address, too.
    let (done, _) = connect(&server, state.path(), &[&address]).await;
    assert_eq!(done.unwrap(), Exit::Done);
}

#[tokio::test]
async fn a_server_with_another_key_is_refused_loudly() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let (address, right) = (server.address(), key(&server));
    let words = [&*address, "--server-key", &right, "--tag", "home"];
    connect(&server, state.path(), &words).await.0.unwrap();

    let other = Server {
        key: SecretKey::from_bytes([4; 32]),
        ..server
    };
    for words in [&["@home"][..], &[&address], &["@home", "--probe"]] {
        let failure = connect(&other, state.path(), words).await.0.unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(
            failure
                .to_string()
                .contains("NOT the server that was expected"),
            "{failure}"
        );
    }
    // Somebody who knows better says so, and then it is the other one.
    let words = [&*address, "--server-key", &key(&other), "--tag", "home"];
    connect(&other, state.path(), &words).await.0.unwrap();
    connect(&other, state.path(), &["@home"]).await.0.unwrap();
}

#[tokio::test]
async fn an_unknown_server_is_not_trusted_where_nobody_can_be_asked() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let words = [&*server.address(), "--tag", "home"];
    let (done, connections) = connect(&server, state.path(), &words).await;
    let failure = done.unwrap_err();
    assert_eq!((failure.exit, connections), (Exit::Refused, 1));
    assert!(failure.to_string().contains("--server-key"), "{failure}");
    assert!(!state.path().join("client/servers").exists());
    let failure = connect(&server, state.path(), &["@home"])
        .await
        .0
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
}

#[tokio::test]
async fn an_unknown_server_is_asked_about_between_two_connections() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let words = [&*server.address(), "--tag", "home"];
    let (done, connections) = connect_and_say(&server, state.path(), &words, Some(false)).await;
    assert_eq!((done.unwrap_err().exit, connections), (Exit::Refused, 1));
    assert!(!state.path().join("client/servers").exists());
    let (done, connections) = connect_and_say(&server, state.path(), &words, Some(true)).await;
    assert_eq!((done.unwrap(), connections), (Exit::Done, 2));
    let (done, connections) = connect(&server, state.path(), &["@home"]).await;
    assert_eq!((done.unwrap(), connections), (Exit::Done, 1));
}

#[tokio::test]
async fn a_client_that_is_refused_says_what_it_can_know() {
    let state = tempfile::tempdir().unwrap();
    for manner in [Manner::Closed, Manner::Dismissive] {
        let server = Server::new(3, manner).await;
        let (address, key) = (server.address(), key(&server));
        let words = [&*address, "--server-key", &key];
        let failure = connect(&server, state.path(), &words).await.0.unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(
            failure.to_string().contains("not accepted there"),
            "{failure}"
        );
        assert!(failure.to_string().contains("our key: "), "{failure}");
        let (_, reference) = failure
            .to_string()
            .split_once("moonport explain ")
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        assert!(
            reference[..9].parse::<identity::Reference>().is_ok(),
            "{failure}"
        );
    }
}

#[tokio::test]
async fn a_wrong_secret_looks_like_any_refusal() {
    let state = tempfile::tempdir().unwrap();
    let mut server = Server::new(3, Manner::Friendly).await;
    server.initial = StageKeys::initial(&identity::Secret::parse(b"another").unwrap());
    let (address, key) = (server.address(), key(&server));
    let words = [&*address, "--server-key", &key];
    let failure = connect(&server, state.path(), &words).await.0.unwrap_err();
    assert_eq!(failure.exit, Exit::Refused);
    assert!(failure.to_string().contains("wrong secret"), "{failure}");
    assert!(!failure.to_string().contains("SETEC"), "{failure}");

    let file = state.path().join("secret");
    std::fs::write(&file, "another\n").unwrap();
    let file = file.to_string_lossy();
    let words = [&*address, "--server-key", &key, "--secret-file", &file];
    assert_eq!(
        connect(&server, state.path(), &words).await.0.unwrap(),
        Exit::Done
    );
}

#[tokio::test]
async fn a_probe_needs_no_knowledge_and_leaves_none() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let words = [&*server.address(), "--probe", "--tag", "home"];
    assert_eq!(
        connect(&server, state.path(), &words).await.0.unwrap(),
        Exit::Done
    );
    assert!(!state.path().join("client/servers").exists());
}

#[tokio::test]
async fn where_nobody_listens_is_told() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let failure = connect(&server, state.path(), &[&address])
        .await
        .0
        .unwrap_err();
    assert_eq!(failure.exit, Exit::Network);
    assert!(
        failure.to_string().contains("nothing listens there"),
        "{failure}"
    );
}

/// A server as somebody has written it down.
fn remember(server: &Server, state: &Path, addresses: &[&str], keys: &[PublicKey]) -> Known {
    let known = Known::new(state);
    let mut addresses: Vec<Address> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    addresses.push(server.address().parse().unwrap());
    let written = crate::cli::known::Server {
        tag: Name::parse("home").unwrap(),
        addresses,
        keys: keys.to_vec(),
        label: None,
        comment: Some("kept".into()),
        added_ms: Some(1),
    };
    known.remember(&written).unwrap();
    known
}

#[tokio::test]
async fn a_server_is_looked_for_at_all_its_addresses() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = free.local_addr().unwrap().to_string();
    drop(free);
    let keys = [server.key.public().unwrap()];
    let known = remember(&server, state.path(), &[&dead], &keys);
    let (done, connections) = connect(&server, state.path(), &["@home"]).await;
    assert_eq!((done.unwrap(), connections), (Exit::Done, 1));
    // A server that has proved its key where it is known stays as it was written down.
    let before = known.servers().unwrap();
    let words = [&*server.address(), "--tag", "home"];
    connect(&server, state.path(), &words).await.0.unwrap();
    assert_eq!(known.servers().unwrap(), before);
}

#[tokio::test]
async fn a_server_that_changes_its_key_may_prove_the_old_and_the_new() {
    let state = tempfile::tempdir().unwrap();
    let [old, new] = [3, 4].map(|byte| SecretKey::from_bytes([byte; 32]).public().unwrap());
    for (byte, exit) in [(3, None), (4, None), (5, Some(Exit::Refused))] {
        let server = Server::new(byte, Manner::Friendly).await;
        remember(&server, state.path(), &[], &[old, new]);
        let (done, _) = connect(&server, state.path(), &["@home"]).await;
        assert_eq!(done.err().map(|failure| failure.exit), exit);
    }
}

#[tokio::test]
async fn a_wrong_key_at_one_address_is_not_made_good_by_another() {
    let state = tempfile::tempdir().unwrap();
    let eve = Server::new(5, Manner::Friendly).await;
    let server = Server::new(3, Manner::Friendly).await;
    let key = server.key.public().unwrap();
    remember(&server, state.path(), &[&eve.address()], &[key]);
    let (done, connections) = connect(&eve, state.path(), &["@home"]).await;
    assert_eq!((done.unwrap_err().exit, connections), (Exit::Refused, 1));
}

#[tokio::test]
async fn a_key_of_ours_for_one_server_is_shown_to_no_other() {
    let state = tempfile::tempdir().unwrap();
    let server = Server::new(3, Manner::Friendly).await;
    let key = server.key.public().unwrap();
    let known = remember(&server, state.path(), &[], &[key]);
    let home = Name::parse("home").unwrap();
    let own = known.make_identity_for(&home).unwrap().public().unwrap();
    let usual = known.identity(None).unwrap().public().unwrap();
    let (address, key) = (server.address(), key.to_string());
    connect(&server, state.path(), &["@home"]).await.0.unwrap();
    let words = [&*address, "--server-key", &key, "--tag", "work"];
    connect(&server, state.path(), &words).await.0.unwrap();
    assert_eq!(*server.clients.borrow(), [own, usual]);
}
