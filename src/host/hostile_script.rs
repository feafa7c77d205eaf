//! A script process that lies: it may ask for anything that its socket can carry, whatever our own
//! API would have refused. It gets no program and no key that is not allowed, and ends.

use std::path::PathBuf;

use identity::{Name, PublicKey};
use keystore::{Actor, Change, Keystore, Memory, Scope};
use proptest::prelude::*;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};

use super::child::{Child, Did};
use super::control::Reply;
use super::roll::{Session, Stage};
use super::scripts::Script;
use super::{Clock, Event, FrontId, Host, Options, Program, ScriptId, played};
use crate::ipc::admin::{FromHost, ToHost};
use crate::ipc::script::{FromScript, KeyWish, MOST_WISHES, Names, Permissions, ToScript};
use crate::ipc::{
    Asked, Chunk, EvaluationId, Exec, Framing, MOST_CHUNK, MOST_EVALUATIONS, MOST_SAID, Said,
    SessionId,
};

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

/// Has a script evaluate something, as an admin.
fn evaluate(world: &mut World, script: &str) -> mpsc::UnboundedReceiver<FromHost> {
    let (reply, answers) = Reply::new();
    let request = ToHost::Evaluate {
        script: script.into(),
        asked: Asked::Chunk(Chunk("1".into())),
    };
    world.host.admin(Actor::User(7), request, reply);
    answers
}

fn said(text: &str) -> Said {
    Said::Printed(text.into())
}

#[test]
fn what_nobody_has_asked_to_evaluate_costs_a_script_its_life() {
    let lies = || {
        [
            FromScript::Evaluated(EvaluationId(0), Ok(Vec::new())),
            FromScript::Evaluated(EvaluationId(2), Ok(Vec::new())),
            FromScript::Evaluated(EvaluationId(u64::MAX), Ok(Vec::new())),
            FromScript::Said(EvaluationId(2), said("x")),
            FromScript::Said(EvaluationId(1), said(&"x".repeat(MOST_SAID))),
        ]
    };
    for number in 0..lies().len() {
        with_world(async |mut world| {
            let mut answers = evaluate(&mut world, "liar");
            let lie = lies().into_iter().nth(number).unwrap();
            let shown = format!("{lie:?}");
            world.says(lie);
            assert!(world.is_killed(), "{}", shown.get(..80).unwrap_or(&shown));
            // Whoever has asked is told once it is gone.
            assert!(answers.try_recv().is_err());
            world.host.end_evaluations(LIAR, "it is gone");
            assert!(matches!(answers.try_recv(), Ok(FromHost::Failed(_))));
        });
    }
}

#[test]
fn the_evaluation_of_another_script_is_not_its_to_answer() {
    with_world(async |mut world| {
        let (other, _told, _killed) = Child::played();
        let program = Program {
            file: PathBuf::new(),
            appl: "other".into(),
            directory: false,
        };
        world
            .host
            .scripts
            .insert(OTHER, Script::played(program, other));
        let mut answers = evaluate(&mut world, "other");
        world.says(FromScript::Evaluated(
            EvaluationId(1),
            Ok(vec!["forged".into()]),
        ));
        assert!(world.is_killed());
        assert!(answers.try_recv().is_err());
    });
}

#[test]
fn what_cannot_be_evaluated_is_answered_at_once() {
    with_world(async |mut world| {
        let mut nobody = evaluate(&mut world, "nobody");
        assert!(matches!(nobody.try_recv(), Ok(FromHost::Failed(why)) if why.contains("nobody")));
        let (reply, mut answers) = Reply::new();
        let long = Asked::Chunk(Chunk("x".repeat(MOST_CHUNK + 1)));
        world.host.evaluate(&Actor::User(7), "liar", long, reply);
        assert!(matches!(answers.try_recv(), Ok(FromHost::Failed(why)) if why.contains("longer")));
        assert!(world.told.try_recv().is_err());
    });
}

/// What may happen around evaluations of one script.
#[derive(Debug, Clone)]
enum Step {
    Ask,
    /// The admin of this one goes away.
    Leave(usize),
    /// The host looks who has left.
    Tick,
    Say(u64),
    Answer(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Ask),
        1 => (0_usize..12).prop_map(Step::Leave),
        1 => Just(Step::Tick),
        2 => (1_u64..12).prop_map(Step::Say),
        2 => (1_u64..12).prop_map(Step::Answer),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// It is killed at the first word on an evaluation that is not open, and for nothing else; every admin
    /// who waits is answered once; one who left is told nothing, and the script is told of that once.
    #[test]
    fn evaluations_are_answered_once_and_lies_end_the_script(steps in steps()) {
        with_world(async |mut world| {
            // By number; whether it is open, and the admin, if he has not left.
            let mut all: Vec<(bool, Option<mpsc::UnboundedReceiver<FromHost>>)> = vec![];
            for step in steps {
                let open = |all: &[(bool, _)], number: u64| {
                    all.get(number as usize - 1).is_some_and(|(open, _)| *open)
                };
                match step {
                    Step::Ask => {
                        let full = all.iter().filter(|(open, _)| *open).count() == MOST_EVALUATIONS;
                        let mut answers = evaluate(&mut world, "liar");
                        if full {
                            assert!(matches!(answers.try_recv(), Ok(FromHost::Failed(_))));
                        } else {
                            all.push((true, Some(answers)));
                        }
                    }
                    Step::Leave(which) => {
                        if let Some((_, admin)) = all.get_mut(which) {
                            *admin = None;
                        }
                    }
                    Step::Tick => world.host.cancel_unheard(),
                    Step::Say(number) => {
                        let expected = open(&all, number);
                        world.says(FromScript::Said(EvaluationId(number), said("word")));
                        assert_eq!(world.is_killed(), !expected);
                        if !expected {
                            break;
                        }
                        if let Some((_, Some(admin))) = all.get_mut(number as usize - 1) {
                            assert!(matches!(admin.try_recv(), Ok(FromHost::Said(_))));
                        }
                    }
                    Step::Answer(number) => {
                        let expected = open(&all, number);
                        world.says(FromScript::Evaluated(EvaluationId(number), Ok(vec![])));
                        assert_eq!(world.is_killed(), !expected);
                        if !expected {
                            break;
                        }
                        let (open, admin) = &mut all[number as usize - 1];
                        *open = false;
                        if let Some(admin) = admin {
                            assert!(matches!(admin.try_recv(), Ok(FromHost::Evaluated(_))));
                            assert!(matches!(admin.try_recv(), Err(TryRecvError::Disconnected)));
                        }
                    }
                }
            }
            let mut cancelled = Vec::new();
            while let Ok((message, _)) = world.told.try_recv() {
                if let ToScript::Cancel(which) = message {
                    assert!(!cancelled.contains(&which), "told twice");
                    assert!(all[which.0 as usize - 1].1.is_none(), "somebody waits");
                    cancelled.push(which);
                }
            }
            world.host.end_evaluations(LIAR, "it is gone");
            for (open, admin) in &mut all {
                if let (true, Some(admin)) = (&open, admin) {
                    assert!(matches!(admin.try_recv(), Ok(FromHost::Failed(_))));
                }
            }
        });
    }
}
