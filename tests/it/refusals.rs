//! Whoever is refused learns nothing of why: the same bytes, in the same order, then the end.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::{Name, PublicKey, Secret};
use keystore::{
    Actor, Change, Directory, Keystore, OpenWindow, Origin, Scope, Sled, WindowEnd, WindowId,
};
use moonport::host::Clock;
use moonport::wire::a12::event::{External, SegmentKind};
use moonport::wire::a12::keyroom::{self, Claim};
use moonport::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Error, Input, Output, Protocol};
use rand_core::SeedableRng;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, Place};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::process::PATIENCE;

/// What a client sees of one attempt.
#[derive(Debug, PartialEq, Eq)]
struct Attempt {
    /// The directions take turns: how many bytes each time.
    turns: Vec<Turn>,
    events: Vec<Told>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    Sent(usize),
    Received(usize),
}

#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// The server's key is there.
    Established,
    Other(String),
}

/// How the connection ended, and what the protocol makes of that.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed(Option<Error>),
    Reset,
}

/// Somebody who claims a key, with a private key that may be another one's.
#[derive(Clone, Copy)]
struct Claimant {
    claims: Key,
    holds: Key,
    secret: Option<&'static str>,
}

fn honest(key: Key) -> Claimant {
    Claimant {
        claims: key,
        holds: key,
        secret: None,
    }
}

const REVOKED: Key = Key("revoked");
const BANNED: Key = Key("banned");
const DISABLED: Key = Key("disabled");
const EXPIRED: Key = Key("expired");
const ELSEWHERE: Key = Key("elsewhere");

const SPENT: &str = "spent-window";
const CLOSED: &str = "closed-window";
const OPEN: &str = "open-window";

/// A host that has a reason of each kind to refuse somebody. Anna is accepted, Bert has come in by
/// the window that is spent.
fn host() -> Host {
    let moonport = Moonport::new().script("hello", HELLO);
    prepare(moonport.place());
    moonport.start()
}

fn prepare(place: &Place) {
    let directory = Directory::open(&place.state()).unwrap();
    let now = Clock::new().now();
    let mut store = Sled::open(&directory, now).unwrap();
    let hello = Name::parse("hello").unwrap();
    let accept = |key: Key, name: &str| Change::Accept {
        key: key.public(),
        scope: Scope::Name(Name::parse(name).unwrap()),
        label: None,
        imported: false,
    };
    let window = |id, secret: &str| {
        Change::OpenWindow(OpenWindow {
            id: WindowId(id),
            name: hello.clone(),
            secret: Secret::parse(secret.as_bytes()).unwrap(),
            human: false,
            count: 1,
            lasts_ms: 3_600_000,
            origin: Origin::Admin,
            label: None,
        })
    };
    let key = |key: Key| key.public();
    let changes = [
        accept(ANNA, "hello"),
        accept(ELSEWHERE, "other"),
        accept(REVOKED, "hello"),
        Change::Revoke { key: key(REVOKED) },
        accept(BANNED, "hello"),
        Change::Ban { key: key(BANNED) },
        accept(DISABLED, "hello"),
        Change::Disable { key: key(DISABLED) },
        accept(EXPIRED, "hello"),
        Change::Expire {
            key: key(EXPIRED),
            at_ms: Some(now.wall_ms - 1),
        },
        window(1, SPENT),
        Change::Enrol {
            window: WindowId(1),
            key: key(BERT),
        },
        window(2, CLOSED),
        Change::CloseWindow {
            window: WindowId(2),
            why: WindowEnd::Closed,
        },
        window(3, OPEN),
    ];
    store.apply(now, &Actor::Host, &changes).unwrap();
}

/// Connects, says something as soon as the server's key is there, and waits for the end, or for
/// the server to prove its key.
fn attempt(host: &Host, who: Claimant, rounds: Rounds) -> Attempt {
    let Place { address, port, .. } = host.place();
    let mut stream = TcpStream::connect(SocketAddr::from((*address, *port))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let initial = match who.secret {
        Some(secret) => StageKeys::initial(&Secret::parse(secret.as_bytes()).unwrap()),
        None => StageKeys::public(),
    };
    let config = InitiatorConfig {
        role: Role::Source,
        initial,
        public: who.claims.public(),
        rounds,
        handshake: Duration::from_secs(60),
    };
    let own = SecretKey::from_bytes(who.holds.private());
    let mut machine = Initiator::new(config, Instant::now(), ChaCha8Rng::from_seed([1; 32]));
    let mut seen = Attempt {
        turns: Vec::new(),
        events: Vec::new(),
        end: End::Reset,
    };
    let mut failed = None;
    loop {
        let mut out = Vec::new();
        let result = match machine.poll(&mut out) {
            Output::Transmit => {
                seen.turn(Turn::Sent(out.len()));
                // Whoever is refused may be too late.
                let _ = stream.write_all(&out);
                continue;
            }
            Output::Ask(ask) => machine.handle(Instant::now(), Input::Answer(answer(&own, &ask))),
            Output::Event(event) => {
                seen.events.push(match event {
                    Event::Established { .. } => Told::Established,
                    other => Told::Other(format!("{other:?}")),
                });
                match event_wants(seen.events.len()) {
                    Some(command) => machine.handle(Instant::now(), Input::Command(command)),
                    None => return seen,
                }
            }
            Output::Idle(_) => {
                if let Some(error) = failed {
                    seen.end = End::Closed(error);
                    return seen;
                }
                let mut bytes = vec![0; machine.room().min(4096)];
                match stream.read(&mut bytes) {
                    Ok(0) => {
                        let result = machine.handle(Instant::now(), Input::Eof);
                        failed = Some(result.err());
                        Ok(())
                    }
                    Ok(read) => {
                        seen.turn(Turn::Received(read));
                        machine.handle(Instant::now(), Input::Bytes(&bytes[..read]))
                    }
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return seen,
                    Err(error) => panic!("{error}: {seen:?}"),
                }
            }
        };
        if let Err(error) = result {
            failed = Some(Some(error));
        }
    }
}

/// After the first event, which is that the server's key is there, we say who we are. A second one
/// means that we are in.
fn event_wants(events: usize) -> Option<Command> {
    (events == 1).then(|| Command::External {
        channel: 0,
        event: External::Register {
            title: "somebody".to_owned(),
            kind: SegmentKind(1),
            guid: [0; 2],
        },
    })
}

fn answer(own: &SecretKey, ask: &Ask) -> Answer {
    match ask {
        Ask::Server(hello) => Answer::Session(Claim::parse(hello).unwrap().session(own)),
        Ask::Ratchet(rekey) => Answer::Ratchet(keyroom::ratchet(own, rekey).unwrap()),
        other => panic!("a client is asked {other:?}"),
    }
}

impl Attempt {
    fn turn(&mut self, turn: Turn) {
        match (self.turns.last_mut(), turn) {
            (Some(Turn::Sent(bytes)), Turn::Sent(more))
            | (Some(Turn::Received(bytes)), Turn::Received(more)) => *bytes += more,
            _ => self.turns.push(turn),
        }
    }
}

/// Those whose claim is refused, and why.
fn refused() -> [(&'static str, Claimant); 9] {
    [
        ("unknown", honest(EVE)),
        ("accepted for another name", honest(ELSEWHERE)),
        ("expired", honest(EXPIRED)),
        ("revoked", honest(REVOKED)),
        ("banned", honest(BANNED)),
        ("disabled", honest(DISABLED)),
        (
            "banned, by an open window",
            Claimant {
                secret: Some(OPEN),
                ..honest(BANNED)
            },
        ),
        (
            "unknown, by a window that is spent",
            Claimant {
                secret: Some(SPENT),
                ..honest(EVE)
            },
        ),
        (
            "unknown, by a window that was closed",
            Claimant {
                secret: Some(CLOSED),
                ..honest(EVE)
            },
        ),
    ]
}

#[test]
fn i3_every_refused_claim_gets_the_same_bytes_and_the_same_end() {
    let host = host();
    for (rounds, before) in [
        (Rounds::One, vec![Turn::Sent(153)]),
        (
            Rounds::Two,
            vec![Turn::Sent(153), Turn::Received(153), Turn::Sent(153)],
        ),
    ] {
        let mut first: Option<Attempt> = None;
        for (why, who) in refused() {
            let seen = attempt(&host, who, rounds);
            assert_eq!(seen.turns, before, "{why}");
            assert_eq!(seen.events, [], "{why}");
            assert!(matches!(seen.end, End::Closed(Some(_))), "{why}: {seen:?}");
            let first = first.get_or_insert_with(|| attempt(&host, honest(CLEO), rounds));
            assert_eq!(&seen, first, "{why}");
        }
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("segment_request"), "{said}");
}

#[test]
fn i3_a_wrong_secret_looks_like_a_refused_claim() {
    let host = host();
    let wrong = Claimant {
        secret: Some("wrong"),
        ..honest(ANNA)
    };
    let refused = attempt(&host, honest(EVE), Rounds::One);
    assert_eq!(attempt(&host, wrong, Rounds::One), refused);
}

#[test]
fn i3_who_cannot_prove_a_key_sees_the_same_whoever_is_claimed() {
    let host = host();
    for rounds in [Rounds::One, Rounds::Two] {
        // Accepted; let in by a window that has ended; not known yet, by one that is open.
        let claims = [(ANNA, None), (BERT, Some(SPENT)), (CLEO, Some(OPEN))];
        let seen = claims.map(|(claims, secret)| {
            let liar = Claimant {
                claims,
                holds: EVE,
                secret,
            };
            attempt(&host, liar, rounds)
        });
        assert_eq!(seen[0].events, [Told::Established], "{seen:?}");
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0], seen[2]);
    }
    // It was not for want of a right key.
    let anna = attempt(&host, honest(ANNA), Rounds::Two);
    assert_eq!(anna.events.len(), 2, "{anna:?}");
    let known: Vec<PublicKey> = host.keys();
    assert!(!known.contains(&CLEO.public()), "the window was spent");
}
