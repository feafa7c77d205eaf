//! A script process that lies: it may ask for anything that its socket can carry, whatever our own
//! API would have refused. It gets no program and no key that is not allowed, and ends.

use std::path::PathBuf;

use identity::{Name, PublicKey};
use keystore::{Actor, Change, Keystore, Memory, Scope};
use tokio::sync::{mpsc, oneshot};

use super::child::{Child, Did};
use super::roll::{Session, Stage};
use super::scripts::Script;
use super::{Clock, Event, FrontId, Host, Options, Program, ScriptId, played};
use crate::ipc::script::{FromScript, KeyWish, MOST_WISHES, Names, Permissions, ToScript};
use crate::ipc::{Exec, Framing, SessionId};

const LIAR: ScriptId = ScriptId(1);
const OTHER: ScriptId = ScriptId(2);
const OWN: SessionId = SessionId(1);
const THEIRS: SessionId = SessionId(2);

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn key(byte: u8) -> PublicKey {
    PublicKey::parse(&[byte; 32]).unwrap()
}

struct World {
    host: Host,
    events: mpsc::Receiver<Event>,
    told: mpsc::Receiver<(ToScript, Vec<std::os::fd::OwnedFd>)>,
    killed: oneshot::Receiver<()>,
}

impl World {
    fn new(state: &std::path::Path) -> Self {
        let mut store = Memory::new();
        let accept = |byte, scope: &str| Change::Accept {
            key: key(byte),
            scope: Scope::Name(name(scope)),
            label: None,
            imported: false,
        };
        let changes = [accept(7, "lab"), accept(9, "files")];
        store
            .apply(Clock::new().now(), &Actor::Host, &changes)
            .unwrap();
        let options = Options {
            permissions: Permissions {
                programs: vec!["/bin/true".into()],
                keys: Names {
                    all: false,
                    some: vec![name("lab")],
                },
            },
            ..played::options(state)
        };
        let (mut host, events) =
            Host::start(options, Box::new(store), played::keys(state)).unwrap();
        let (child, told, killed) = Child::played();
        let program = Program {
            file: PathBuf::new(),
            appl: "liar".into(),
            directory: false,
        };
        host.scripts.insert(LIAR, Script::played(program, child));
        for (id, script) in [(OWN, LIAR), (THEIRS, OTHER)] {
            let session = Session {
                front: FrontId(1),
                script,
                name: name("lab"),
                key: Some(key(7)),
                from: "127.0.0.1:1".parse().unwrap(),
                since_ms: 0,
                expires_ms: None,
                anonymous: false,
                stage: Stage::Taken,
            };
            host.sessions.enter(id, session);
        }
        Self {
            host,
            events,
            told,
            killed,
        }
    }

    fn says(&mut self, message: FromScript) {
        self.host.script_did(LIAR, 0, Did::Said(message));
    }

    fn is_killed(&mut self) -> bool {
        let alive = oneshot::error::TryRecvError::Empty;
        self.killed.try_recv() != Err(alive)
    }

    /// What becomes of a wish.
    async fn answer(&mut self) -> Result<usize, String> {
        loop {
            if let Ok((ToScript::Keys { answer, .. }, _)) = self.told.try_recv() {
                return answer.map(|keys| keys.len());
            }
            let event = self.events.recv().await.unwrap();
            self.host.hear(event);
        }
    }
}

fn with_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        test(World::new(folder.path())).await;
    });
}

fn exec(session: SessionId, argv: &[&str]) -> FromScript {
    FromScript::Exec(Exec {
        session,
        argv: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
        framing: Framing::Lines,
    })
}

fn wish(wish: KeyWish) -> FromScript {
    FromScript::Keys { call: 1, wish }
}

#[test]
fn what_a_script_may_not_ask_for_costs_it_its_life() {
    let lies = || {
        [
            exec(OWN, &["/bin/false"]),
            exec(OWN, &["/bin/../bin/true"]),
            exec(OWN, &["true"]),
            exec(OWN, &[]),
            exec(OWN, &["/bin/true", "a\0b"]),
            exec(THEIRS, &["/bin/true"]),
            FromScript::EndProgram(THEIRS),
            wish(KeyWish::List(name("files"))),
            wish(KeyWish::Accept {
                key: key(7),
                name: name("files"),
                label: None,
            }),
            wish(KeyWish::Revoke {
                key: key(9),
                name: Some(name("files")),
            }),
        ]
    };
    for number in 0..lies().len() {
        with_world(async |mut world| {
            let lie = lies().into_iter().nth(number).unwrap();
            let shown = format!("{lie:?}");
            world.says(lie);
            assert!(world.is_killed(), "{shown} is borne");
            assert!(world.host.programs.is_empty(), "{shown} has an effect");
        });
    }
}

#[test]
fn a_script_that_asks_for_more_at_once_than_it_may_ends() {
    with_world(async |mut world| {
        for _ in 0..MOST_WISHES {
            world.says(wish(KeyWish::List(name("lab"))));
        }
        assert!(!world.is_killed());
        world.says(wish(KeyWish::List(name("lab"))));
        assert!(world.is_killed());
    });
}

#[test]
fn a_client_that_has_left_gets_no_program_and_nobody_is_punished() {
    with_world(async |mut world| {
        world.says(exec(SessionId(77), &["/bin/true"]));
        assert!(!world.is_killed());
        assert!(world.host.programs.is_empty());
    });
}

#[test]
fn keys_of_other_names_are_as_they_were() {
    with_world(async |mut world| {
        let (theirs, unknown) = (key(9), key(11));
        for forbidden in [
            KeyWish::Ban { key: theirs },
            KeyWish::Ban { key: unknown },
            KeyWish::Revoke {
                key: theirs,
                name: None,
            },
            KeyWish::Revoke {
                key: theirs,
                name: Some(name("lab")),
            },
            KeyWish::Expire {
                key: theirs,
                at_ms: Some(1),
            },
            KeyWish::Label {
                key: theirs,
                label: Some("mine".into()),
            },
            KeyWish::Accept {
                key: theirs,
                name: name("lab"),
                label: Some("mine".into()),
            },
        ] {
            let shown = format!("{forbidden:?}");
            world.says(wish(forbidden));
            assert!(world.answer().await.is_err(), "{shown}");
        }
        assert!(!world.is_killed());
        world.says(wish(KeyWish::List(name("lab"))));
        assert_eq!(world.answer().await, Ok(1));
    });
}
