//! How another process takes a script's place, while clients stay and listeners go on.
//!
//! ```text
//!      new process           host            old process          frameservers
//!   load, NAME() ─ Started ─►
//!                             ──── Yield ─────►  ─────── Hold ───────►
//!                             ◄── its state ──   ◄────── Held ────────
//!   NAME_reload  ◄─ state ───
//!                ── Ready ───►
//!                             ──── Leave ─────►  what it has not dispatched, Done ►
//!                             ◄──── Left ─────
//!                ◄─ Adopt, Begin ─           ──────────── Relink ────────────►
//! ```
//!
//! Until `Leave` the old process can go on as if nothing had been; what it is told meanwhile waits,
//! and so does what the new one has said. From there on there is one to go on in any case: the new
//! one, whether the old one has ended in good order or not; or a third one, if both are gone.

mod succession;

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::time::Instant;

use super::child::{Child, Did};
use super::control::Reply;
use super::fronts::Place;
use super::roll::Session;
use super::scripts::{Generation, Script};
use super::{FrontId, Host, ScriptId};
use crate::ipc::admin::FromHost;
use crate::ipc::script::{FromScript, Listen, Peer, ToScript};
use crate::ipc::{Denied, ListenerId, SessionId};

/// A process that is to take a script's place.
#[derive(Debug)]
pub(super) struct Reload {
    generation: Generation,
    child: Child<ToScript>,
    sandbox: Vec<Denied>,
    stage: Step,
    deadline: Instant,
    /// What the new process has said, to be done when its turn has come.
    said: Vec<FromScript>,
    /// Where it is going to listen.
    places: BTreeMap<ListenerId, Place>,
    /// What its author has been told so far.
    told: Vec<String>,
    state: Vec<Vec<u8>>,
    /// What the script is told meanwhile.
    held: Vec<(ToScript, Vec<OwnedFd>)>,
    /// What the old process has been told and has not dispatched.
    back: Vec<ToScript>,
    /// Sessions that have ended meanwhile, which no process knows yet.
    ended: Vec<(FrontId, Peer)>,
    /// The old process has said all it had to say.
    left: bool,
    /// Who waits for it.
    reply: Option<Reply>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The new process loads its program.
    Loading,
    /// The old one is to stop.
    Yielding,
    /// The new one takes the old one's state.
    TakingOver,
    /// The old one hands over what is left.
    Leaving,
}

impl Reload {
    /// Whether what the script is told has to wait.
    pub(super) fn holds(&self) -> bool {
        self.stage != Step::Loading
    }

    pub(super) fn hold(&mut self, message: ToScript, descriptors: Vec<OwnedFd>) {
        self.held.push((message, descriptors));
    }

    fn enters(&mut self, stage: Step, time: Duration) {
        self.stage = stage;
        self.deadline = Instant::now() + time;
    }

    fn listens(&self) -> impl Iterator<Item = &Listen> {
        self.said.iter().filter_map(|said| match said {
            FromScript::Listen(listen) => Some(listen),
            _ => None,
        })
    }
}

impl Script {
    /// Whether this process is about to take its place.
    pub(super) fn awaits(&self, generation: Generation) -> bool {
        let reload = self.reload.as_ref();
        reload.is_some_and(|reload| reload.generation == generation)
    }
}

impl Host {
    /// An admin wants a script loaded again.
    pub(super) fn reload_asked(&mut self, name: &str, reply: Reply) {
        match self.script_named(name) {
            Some(id) => self.reload(id, Some(reply)),
            None => reply.send(FromHost::Failed(format!("no script {name} runs"))),
        }
    }

    /// All scripts are to be loaded again.
    pub(super) fn reload_all(&mut self) {
        let ids: Vec<ScriptId> = self.scripts.keys().copied().collect();
        for id in ids {
            self.reload(id, None);
        }
    }

    /// Loads a script again, in a process of its own.
    pub(super) fn reload(&mut self, id: ScriptId, reply: Option<Reply>) {
        let stopping = self.ending.is_begun();
        let time = self.options.limits.stop * 2 + PATIENCE;
        let refuse = |reply: Option<Reply>, why: &str| {
            if let Some(reply) = reply {
                reply.send(FromHost::Failed(why.to_owned()));
            }
        };
        let Some(script) = self.scripts.get_mut(&id).filter(|_| !stopping) else {
            return refuse(reply, "the host is ending");
        };
        if script.reload.is_some() {
            // Its file may have changed again since it was read.
            script.again |= reply.is_none();
            return refuse(reply, "it is being loaded again already");
        }
        script.generations += 1;
        let (program, generation) = (script.program.clone(), script.generations);
        tracing::info!(script = program.appl, "loading it again");
        let child = match self.spawn_script(id, generation, &program, ToScript::Prepare) {
            Ok(child) => child,
            Err(error) => {
                tracing::error!("{error}");
                return refuse(reply, &error.to_string());
            }
        };
        if let Some(script) = self.scripts.get_mut(&id) {
            script.reload = Some(Box::new(Reload {
                generation,
                child,
                sandbox: Vec::new(),
                stage: Step::Loading,
                deadline: Instant::now() + time,
                said: Vec::new(),
                places: BTreeMap::new(),
                told: Vec::new(),
                state: Vec::new(),
                held: Vec::new(),
                back: Vec::new(),
                ended: Vec::new(),
                left: false,
                reply,
            }));
        }
    }

    /// The new process did something.
    pub(super) fn fresh_did(&mut self, id: ScriptId, did: Did<FromScript>) {
        match did {
            Did::Said(message) => self.fresh_said(id, message),
            Did::Garbage => tracing::error!(script = id.0, "a script process sent garbage"),
            Did::Exited(_) => match self.step(id) {
                Some(Step::Leaving) => {
                    // Neither can go on: the script is started again as after a crash.
                    let Some(script) = self.scripts.get_mut(&id) else {
                        return;
                    };
                    if let Some(reload) = script.reload.take() {
                        answer(*reload, "the new process died; the script is started again");
                    }
                    script.child.kill();
                }
                _ => self.reload_failed(id, "the new process ended"),
            },
        }
    }

    fn fresh_said(&mut self, id: ScriptId, message: FromScript) {
        let Some(reload) = self.reload_of(id) else {
            return;
        };
        match message {
            FromScript::Confined(sandbox) => reload.sandbox = sandbox,
            FromScript::Report(mut report) => {
                // It ends nothing but itself.
                report.follows = Some("the new program is not taken".to_owned())
                    .filter(|_| report.severity.is_error());
                if report.severity.is_error() && reload.told.len() < MAX_TOLD {
                    reload.told.push(report.message.clone());
                }
                self.script_reports(id, &report);
            }
            FromScript::Exit { message, .. } => {
                let why = format!("the new program ends while it is loaded. {message}");
                self.reload_failed(id, why.trim_end());
            }
            FromScript::Started if reload.stage == Step::Loading => self.loaded(id),
            FromScript::Ready if reload.stage == Step::TakingOver => {
                reload.enters(Step::Leaving, PATIENCE);
                if let Some(script) = self.scripts.get_mut(&id) {
                    script.child.tell(ToScript::Leave);
                }
            }
            FromScript::Listen(_)
            | FromScript::Connect(_)
            | FromScript::Secret(_)
            | FromScript::OpenWindow(_)
            | FromScript::CloseWindow { .. }
            | FromScript::Keys { .. }
            | FromScript::Unlisten(_)
                if reload.said.len() < MAX_SAID =>
            {
                reload.said.push(message);
            }
            _ => self.reload_failed(id, "the new process broke the rules"),
        }
    }

    /// The new program is there: whether it can listen is found out before anything is changed.
    fn loaded(&mut self, id: ScriptId) {
        let Some(reload) = self.scripts.get(&id).and_then(|it| it.reload.as_ref()) else {
            return;
        };
        let kept = self.kept(id, reload);
        let mut places = BTreeMap::new();
        let mut failure = None;
        for listen in reload.listens() {
            if kept.contains_key(&listen.listener) {
                continue;
            }
            match self.bind(listen) {
                Ok(place) => {
                    places.insert(listen.listener, place);
                }
                // It is free once the old one is closed.
                Err(_) if self.makes_room(id, &kept, listen) => {}
                Err(why) => {
                    failure = Some(format!("{}: cannot listen: {why}", listen.place));
                    break;
                }
            }
        }
        if let Some(why) = failure {
            return self.reload_failed(id, &why);
        }
        let time = self.options.limits.stop * 2 + PATIENCE;
        let Some(script) = self.scripts.get_mut(&id) else {
            return;
        };
        if let Some(reload) = &mut script.reload {
            reload.places = places;
            reload.enters(Step::Yielding, time);
            script
                .child
                .tell(ToScript::Yield(number(reload.generation)));
        }
    }

    /// The listeners that go on, with what they are from now on.
    fn kept(&self, id: ScriptId, reload: &Reload) -> BTreeMap<ListenerId, FrontId> {
        let mut kept = BTreeMap::new();
        for listen in reload.listens() {
            let names_secret = reload.said.iter().any(|said| {
                matches!(said, FromScript::Secret(wanted)
                    if wanted.required && wanted.listener == listen.listener)
            });
            let found = self.fronts.iter().find(|(front, it)| {
                it.script == id
                    && it.listener.is_some()
                    && it.name == listen.name
                    && it.asked_for.0 == listen.interface
                    && it.asked_for.1 == listen.port
                    && it.options == listen.options
                    // A secret that is not wanted any more is not kept.
                    && (names_secret || !it.named_required)
                    && !kept.values().any(|taken| taken == *front)
            });
            if let Some((&front, _)) = found {
                kept.insert(listen.listener, front);
            }
        }
        kept
    }

    /// Whether a listener that is going to be closed may be in the way of this one.
    fn makes_room(
        &self,
        id: ScriptId,
        kept: &BTreeMap<ListenerId, FrontId>,
        listen: &Listen,
    ) -> bool {
        self.fronts.iter().any(|(front, it)| {
            it.script == id
                && it.listener.is_some()
                && !kept.values().any(|taken| taken == front)
                && (it.asked_for.1 == listen.port
                    || it
                        .addresses
                        .iter()
                        .any(|address| address.port() == listen.port))
        })
    }

    /// The old process tells of its state.
    pub(super) fn state_said(&mut self, id: ScriptId, piece: Vec<u8>) {
        if let Some(reload) = self.reload_of(id)
            && reload.stage == Step::Yielding
            && reload.state.len() < MAX_PIECES
        {
            reload.state.push(piece);
        }
    }

    /// The old process has stopped, or says why it cannot be replaced.
    pub(super) fn yielded(&mut self, id: ScriptId, which: u32, done: Result<(), String>) {
        let time = self.options.limits.stop * 2 + PATIENCE;
        let Some(reload) = self.reload_of(id) else {
            return;
        };
        if reload.stage != Step::Yielding || number(reload.generation) != which {
            return;
        }
        match done {
            Ok(()) => {
                for piece in std::mem::take(&mut reload.state) {
                    reload.child.tell(ToScript::State(piece));
                }
                reload.child.tell(ToScript::TakeOver);
                reload.enters(Step::TakingOver, time);
            }
            Err(why) => self.reload_failed(id, &super::fronts::words(&why)),
        }
    }

    /// The old process has not dispatched this.
    pub(super) fn given_back(&mut self, id: ScriptId, message: ToScript) {
        if let Some(reload) = self.reload_of(id)
            && reload.stage == Step::Leaving
            && reload.back.len() < MAX_SAID
        {
            reload.back.push(message);
        }
    }

    /// The old process has handed over all it had.
    pub(super) fn left(&mut self, id: ScriptId) {
        if let Some(reload) = self.reload_of(id)
            && reload.stage == Step::Leaving
        {
            reload.left = true;
            self.replace(id);
        }
    }

    /// The process of a script has ended by itself. Whether another one takes its place at once.
    pub(super) fn succeeds_dead(&mut self, id: ScriptId) -> bool {
        match self.step(id) {
            Some(Step::Leaving) => {
                self.replace(id);
                true
            }
            Some(_) => {
                if let Some(reload) = self.scripts.get_mut(&id).and_then(|it| it.reload.take()) {
                    answer(*reload, "the old process ended meanwhile");
                }
                false
            }
            None => false,
        }
    }

    /// A session that the script knows has ended.
    pub(super) fn left_meanwhile(&mut self, id: SessionId, session: &Session) {
        if let Some(reload) = self.reload_of(session.script)
            && reload.holds()
        {
            reload.ended.push((session.front, session.peer(id)));
        }
    }

    /// The old program goes on.
    fn reload_failed(&mut self, id: ScriptId, why: &str) {
        let Some(script) = self.scripts.get_mut(&id) else {
            return;
        };
        let Some(mut reload) = script.reload.take() else {
            return;
        };
        if reload.holds() {
            script.child.tell(ToScript::Resume);
        }
        for (message, descriptors) in std::mem::take(&mut reload.held) {
            script.child.tell_with(message, descriptors);
        }
        let name = script.name().to_owned();
        let why = answer(*reload, why);
        tracing::error!(
            script = name,
            "not loaded again: {why}; the old program goes on"
        );
        self.once_more(id);
    }

    /// What was asked for while there was no time for it.
    fn once_more(&mut self, id: ScriptId) {
        let again = |script: &mut Script| std::mem::take(&mut script.again);
        if self.scripts.get_mut(&id).is_some_and(again) {
            self.reload(id, None);
        }
    }

    /// Ends what takes too long.
    pub(super) fn overdue_reloads(&mut self) {
        let now = Instant::now();
        let overdue: Vec<(ScriptId, Step)> = self
            .scripts
            .iter()
            .filter_map(|(id, script)| Some((*id, script.reload.as_ref()?)))
            .filter(|(_, reload)| reload.deadline <= now)
            .map(|(id, reload)| (id, reload.stage))
            .collect();
        for (id, stage) in overdue {
            match stage {
                Step::Loading => self.reload_failed(id, "loading takes too long"),
                Step::Yielding => self.reload_failed(id, "the old program does not stop"),
                Step::TakingOver => self.reload_failed(id, "taking over takes too long"),
                Step::Leaving => self.replace(id),
            }
        }
    }

    /// The host is ending: what runs now is told.
    pub(super) fn stop_reloads(&mut self) {
        let ids: Vec<ScriptId> = self.scripts.keys().copied().collect();
        for id in ids {
            if let Some(script) = self.scripts.get_mut(&id) {
                script.again = false;
            }
            match self.step(id) {
                None => {}
                Some(Step::Leaving) => self.replace(id),
                Some(_) => self.reload_failed(id, "the host is ending"),
            }
        }
    }

    fn step(&self, id: ScriptId) -> Option<Step> {
        let reload = self.scripts.get(&id)?.reload.as_ref()?;
        Some(reload.stage)
    }

    fn reload_of(&mut self, id: ScriptId) -> Option<&mut Reload> {
        self.scripts.get_mut(&id)?.reload.as_deref_mut()
    }
}

/// Tells whoever waits why a script was not loaded again.
fn answer(mut reload: Reload, why: &str) -> String {
    let mut lines = std::mem::take(&mut reload.told);
    // What the script's own error says is more than that it ended.
    if lines.is_empty() {
        lines.push(why.to_owned());
    }
    let why = lines.join("\n");
    if let Some(reply) = reload.reply.take() {
        reply.send(FromHost::Failed(why.clone()));
    }
    why
}

/// What the old process calls this.
fn number(generation: Generation) -> u32 {
    // They are told apart for as long as an answer may take.
    (generation & u64::from(u32::MAX)).try_into().unwrap_or(0)
}

/// How long each step may take beside what runs of the script.
const PATIENCE: Duration = Duration::from_secs(10);

/// So much may be said before it is done.
const MAX_SAID: usize = 20_000;

/// As many errors are told to who has asked.
const MAX_TOLD: usize = 20;

/// As many pieces of a state are taken.
const MAX_PIECES: usize = 64;
