//! Which frameservers run.

mod front;

use front::Failures;
pub(super) use front::Front;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use identity::Reference;
use keystore::Farewell;
use tokio::time::Instant;

use super::admit::Table;
use super::child::{Child, Did, how};
use super::interface::{self, BindFailure, Bound, Interface};
use super::refusals::Refusals;
use super::roll::{Session, Stage};
use super::strangers::Seen;
use super::windows::Required;
use super::{Event, FrontId, Host, ScriptId};
use crate::frameserver;
use crate::ipc::Denied;
use crate::ipc::frameserver::{Candidate, Ended, FromFrameserver, Listen, ToFrameserver};
use crate::ipc::script::{Peer, ToScript};
use crate::ipc::{ConnectionId, ListenerId, Options, Scheme, SessionId, Socket, link, script};
use crate::wire::a12::StageKeys;
use crate::wire::{Refusal, Violation};

/// Where a listener listens.
#[derive(Debug)]
pub(super) struct Place {
    scheme: Scheme,
    sockets: Vec<Bound>,
    handed: bool,
    addresses: Vec<SocketAddr>,
}

impl Host {
    /// A script wants a listener.
    pub(super) fn listen(&mut self, script: ScriptId, wanted: script::Listen) {
        let taken =
            |front: &Front| front.script == script && front.listener == Some(wanted.listener);
        if self.fronts.values().any(taken) {
            return self.kill_script(script, "it used a listener's number twice");
        }
        if self.fronts_of(script).len() >= MAX_LISTENERS {
            return self.tell_ended(script, wanted.listener, "too many listeners");
        }
        if self.ending.is_begun() {
            return self.tell_ended(script, wanted.listener, "the host is ending");
        }
        match self.bind(&wanted) {
            Ok(place) => self.listen_on(script, wanted, place),
            Err(why) => {
                tracing::warn!(name = %wanted.name, place = wanted.place, "cannot listen: {why}");
                self.tell_ended(script, wanted.listener, &why);
            }
        }
    }

    /// Makes the sockets of a listener.
    pub(super) fn bind(&self, wanted: &script::Listen) -> Result<Place, String> {
        let interface: Interface = wanted
            .interface
            .parse()
            .map_err(|error: interface::InterfaceError| error.to_string())?;
        let (scheme, sockets, handed) = self.sockets(&interface, wanted)?;
        let addresses: Vec<SocketAddr> = sockets.iter().filter_map(interface::address).collect();
        let keyless = matches!(&wanted.options, Options::Zmtp(options) if options.keyless);
        if keyless && !addresses.iter().all(|address| address.ip().is_loopback()) {
            return Err("keyless only on loopback".to_owned());
        }
        Ok(Place {
            scheme,
            sockets,
            handed,
            addresses,
        })
    }

    /// Begins to listen where the sockets are.
    pub(super) fn listen_on(&mut self, script: ScriptId, wanted: script::Listen, place: Place) {
        let Place {
            scheme,
            sockets,
            handed,
            addresses,
        } = place;
        self.next_front += 1;
        let id = FrontId(self.next_front);
        let candidate = Candidate {
            id: self.windows.new_secret(),
            keys: StageKeys::public(),
        };
        let front = Front {
            script,
            scheme,
            options: wanted.options,
            listener: Some(wanted.listener),
            name: wanted.name,
            asked_for: (wanted.interface, wanted.port),
            addresses,
            sandbox: Vec::new(),
            required: Some(Required {
                candidate,
                window: None,
            }),
            uses: BTreeMap::new(),
            named_required: false,
            named_window: false,
            wishing: false,
            wishes: [None, None],
            asked: 0,
            listed: Vec::new(),
            undecided: 0,
            sockets,
            handed,
            child: None,
            table: Table::new(scheme, self.options.unproved.full()),
            link: None,
            failures: Failures::default(),
            refusals: Refusals::default(),
            strangers: Seen::default(),
        };
        self.fronts.insert(id, front);
        // What the script says in the same breath, such as a secret, stands in the queue before
        // this comes back: the frameserver starts with it.
        let known = self.windows.known();
        self.store.read(move |keystore, now| {
            let readings = super::windows::read(keystore, now, &known);
            Box::new(move |host: &mut Self| match readings {
                Ok(readings) => {
                    host.see_windows(readings);
                    match host.fronts.get_mut(&id) {
                        // It listens once its secret is in force: whoever knows it may come at
                        // once.
                        Some(front) if front.wishing => {}
                        _ => host.start_front(id),
                    }
                }
                Err(error) => host.front_failed(id, &error.to_string()),
            })
        });
    }

    /// What a listener listens on: handed over under its name, or made.
    fn sockets(
        &self,
        interface: &Interface,
        wanted: &script::Listen,
    ) -> Result<(Scheme, Vec<Bound>, bool), String> {
        let scheme = interface.scheme();
        let handed = &self.options.handed;
        match handed.socket(&wanted.name, interface, wanted.port) {
            Some(Ok(socket)) => Ok((scheme, vec![socket], true)),
            Some(Err(error)) => Err(error.to_string()),
            None => interface
                .listen(wanted.port, |address| self.is_left(address))
                .map(|sockets| (scheme, sockets, false))
                .map_err(|error| BindFailure(&error).to_string()),
        }
    }

    /// Whether clients of a listener that is gone still use this address for datagrams.
    fn is_left(&self, address: SocketAddr) -> bool {
        let datagrams = self
            .fronts
            .values()
            .filter(|front| front.scheme == Scheme::CurveCp && front.addresses.contains(&address));
        let mut listens = datagrams.map(|front| front.listener.is_some()).peekable();
        listens.peek().is_some() && listens.all(|listens| !listens)
    }

    pub(super) fn start_front(&mut self, id: FrontId) {
        // It may have been let go meanwhile; then there is nothing to start a process for.
        let Some(front) = self.fronts.get(&id).filter(|front| front.child.is_none()) else {
            return;
        };
        let sockets: Result<Vec<_>, _> = front.sockets.iter().map(Bound::try_clone).collect();
        let (secrets, uses) = self.secrets_of(id);
        let started = Socket::<Vec<link::ToScript>, Vec<link::FromScript>>::pair()
            .and_then(|ends| Ok((ends, sockets?, self.spawn_front(id)?)));
        let ((theirs, scripts), sockets, mut child) = match started {
            Ok(started) => started,
            Err(error) => return self.front_failed(id, &error.to_string()),
        };
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let mut descriptors = vec![theirs.into_fd()];
        descriptors.extend(sockets.into_iter().map(OwnedFd::from));
        child.tell_with(
            ToFrameserver::Listen(Listen {
                speaks: front.speaks(secrets),
                handshake: self.options.handshake,
                unproved: self.options.unproved,
                penalties: self.options.penalties,
                require_sandbox: self.options.require_sandbox,
            }),
            descriptors,
        );
        front.uses = uses;
        front.child = Some(child);
        front.link = Some(scripts.into_fd());
    }

    pub(super) fn spawn_front(&self, id: FrontId) -> std::io::Result<Child<ToFrameserver>> {
        let events = self.events.clone();
        Child::spawn(frameserver::ROLE, move |did| {
            let events = events.clone();
            // The host is gone if nobody hears this.
            async move { drop(events.send(Event::Front(id, did)).await) }
        })
    }

    /// A listener that could not be made after all.
    fn front_failed(&mut self, id: FrontId, why: &str) {
        let Some(mut front) = self.fronts.remove(&id) else {
            return;
        };
        tracing::error!(name = %front.name, "cannot listen: {why}");
        if let Some(listener) = front.listener.take() {
            self.tell_ended(front.script, listener, why);
        }
    }

    /// The script does not want the listener any more; the clients it brought stay.
    pub(super) fn unlisten(&mut self, script: ScriptId, listener: ListenerId) {
        let found = self
            .fronts
            .iter()
            .find(|(_, front)| front.script == script && front.listener == Some(listener));
        match found {
            Some((&id, _)) => self.stop_listening(id),
            None => self.disconnect(script, listener),
        }
    }

    pub(super) fn stop_listening(&mut self, id: FrontId) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        front.listener = None;
        front.undecided = 0;
        for socket in std::mem::take(&mut front.sockets) {
            if !front.handed {
                // It may not be listening yet; then closing it is enough.
                let _ = socket.shutdown(std::net::Shutdown::Both);
            }
        }
        match &mut front.child {
            Some(child) => child.tell(ToFrameserver::StopListening),
            // It was not even started.
            None => drop(self.fronts.remove(&id)),
        }
        self.end_sessions(Farewell::Script, |session| {
            session.front == id && session.stage == Stage::Undecided
        });
    }

    /// The process of a script is a new one: its listeners are gone with the old one, its sessions
    /// are not.
    pub(super) fn relink_fronts(&mut self, script: ScriptId) {
        self.disconnect_all(script, false);
        for (id, number) in self.fronts_of(script).into_iter().zip((0..=u32::MAX).rev()) {
            let listener = ListenerId(number);
            self.stop_listening(id);
            let taken = |session: &Session| session.front == id && session.stage == Stage::Taken;
            let survivors: Vec<Peer> = self
                .sessions
                .iter()
                .filter(|(_, session)| taken(session))
                .map(|(id, session)| session.peer(id))
                .collect();
            if !survivors.is_empty() {
                self.relink(id, script, listener, survivors);
            }
        }
    }

    /// Gives a frameserver and the new process of its script a link between them, on which these
    /// sessions are.
    pub(super) fn relink(
        &mut self,
        id: FrontId,
        script: ScriptId,
        listener: ListenerId,
        survivors: Vec<Peer>,
    ) {
        match Socket::<Vec<link::ToScript>, Vec<link::FromScript>>::pair() {
            Ok((theirs, scripts)) => {
                if let Some(front) = self.fronts.get_mut(&id) {
                    front.tell_with(ToFrameserver::Relink, vec![theirs.into_fd()]);
                }
                if let Some(script) = self.scripts.get_mut(&script) {
                    let adopt = ToScript::Adopt {
                        listener,
                        survivors,
                    };
                    script.tell_with(adopt, vec![scripts.into_fd()]);
                }
            }
            Err(error) => {
                tracing::error!("cannot link sessions to their script again: {error}");
                self.end_sessions(Farewell::Script, |session| {
                    session.front == id && session.stage == Stage::Taken
                });
            }
        }
    }

    /// The script is gone for good: nobody new is taken for it.
    pub(super) fn stop_fronts_of(&mut self, script: ScriptId) {
        self.disconnect_all(script, false);
        for id in self.fronts_of(script) {
            self.stop_listening(id);
        }
    }

    /// Nobody new is taken by anybody.
    pub(super) fn stop_all_listening(&mut self) {
        let listening = self
            .fronts
            .iter()
            .filter(|(_, front)| front.listener.is_some());
        let listening: Vec<FrontId> = listening.map(|(id, _)| *id).collect();
        for id in listening {
            self.stop_listening(id);
        }
    }

    pub(super) fn fronts_of(&self, script: ScriptId) -> Vec<FrontId> {
        let own = self
            .fronts
            .iter()
            .filter(|(_, front)| front.script == script);
        own.map(|(id, _)| *id).collect()
    }

    /// Ends a frameserver that broke the rules.
    pub(super) fn kill_front(&mut self, id: FrontId, why: &str) {
        if let Some(front) = self.fronts.get_mut(&id) {
            tracing::error!(name = %front.name, "a frameserver is ended: {why}");
            if let Some(child) = &mut front.child {
                child.kill();
            }
        }
    }

    pub(super) fn front_did(&mut self, id: FrontId, did: Did<FromFrameserver>) {
        match did {
            Did::Said(message) => self.front_said(id, message),
            Did::Garbage => {
                if let Some(front) = self.fronts.get(&id) {
                    tracing::error!(name = %front.name, "a frameserver sent garbage");
                }
            }
            Did::Exited(status) => self.front_exited(id, status),
        }
    }

    fn front_exited(&mut self, id: FrontId, status: Option<std::process::ExitStatus>) {
        self.keyroom.forget(id);
        let Some(front) = self.fronts.remove(&id) else {
            return;
        };
        let how = how(status);
        tracing::debug!(name = %front.name, how, "frameserver ended");
        if let Some(listener) = front.listener {
            tracing::error!(name = %front.name, how, "a frameserver died");
            self.tell_ended(front.script, listener, "frameserver died");
        }
        let lost: BTreeSet<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.front == id)
            .map(|(id, _)| id)
            .collect();
        for session in lost {
            self.forget_session(session, Farewell::Frameserver);
        }
    }

    fn front_said(&mut self, id: FrontId, message: FromFrameserver) {
        match message {
            FromFrameserver::Ready(sandbox) => self.front_ready(id, sandbox),
            FromFrameserver::Failed(why) => {
                let why = words(&why);
                tracing::error!("a frameserver cannot work: {why}");
                let ended = self
                    .fronts
                    .get_mut(&id)
                    .and_then(|front| Some((front.script, front.listener.take()?)));
                if let Some((script, listener)) = ended {
                    self.tell_ended(script, listener, &why);
                }
            }
            FromFrameserver::Ask {
                connection,
                source,
                reference,
                ask,
            } => {
                if let Some(front) = self.fronts.get_mut(&id) {
                    let effect = front.table.ask(connection, source, reference, ask);
                    self.perform(id, connection, effect);
                }
            }
            FromFrameserver::Closed {
                connection,
                source,
                reference,
                why,
            } => self.connection_closed(id, connection, source, reference, why),
            FromFrameserver::Strangers(told) => self.strangers(id, told),
            FromFrameserver::Up(_) => self.kill_front(id, "it dials nobody"),
            FromFrameserver::Gone { session, why } => {
                tracing::debug!(session = session.0, ?why, "session gone");
                self.session_gone(id, session, &why);
            }
        }
    }

    fn front_ready(&mut self, id: FrontId, sandbox: Vec<Denied>) {
        let complete = !sandbox.is_empty() && sandbox.iter().all(|denied| denied.layer.is_some());
        if self.options.require_sandbox && !complete {
            return self.kill_front(id, "the sandbox is required, and something is not denied");
        }
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let Some(scripts) = front.link.take() else {
            return self.kill_front(id, "it was ready twice");
        };
        for denied in sandbox.iter().filter(|denied| denied.layer.is_none()) {
            tracing::warn!(name = %front.name, "the sandbox does not deny {}", denied.action);
        }
        front.sandbox = sandbox;
        for address in &front.addresses {
            tracing::info!(name = %front.name, %address, "listening");
        }
        if let Some(listener) = front.listener
            && let Some(script) = self.scripts.get_mut(&front.script)
        {
            let addresses = front.addresses.clone();
            script.tell_with(
                ToScript::Listening {
                    listener,
                    addresses,
                },
                vec![scripts],
            );
        }
    }

    fn connection_closed(
        &mut self,
        id: FrontId,
        connection: ConnectionId,
        source: SocketAddr,
        reference: Option<Reference>,
        why: Ended,
    ) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let (key, refused) = front.table.closed(connection);
        tracing::debug!(name = %front.name, %source, ?why, "not let in");
        if !refused {
            self.note_end(id, key, source, reference, &why);
        }
        let message = match why {
            Ended::Violation(Violation::FirstPacket) => {
                self.guessed(id);
                "wrong secret".to_owned()
            }
            Ended::Violation(violation) => violation.to_string(),
            Ended::Refused(Refusal::NotAccepted) => "key not accepted".to_owned(),
            Ended::Refused(refusal @ Refusal::Broken(_)) => refusal.to_string(),
            // Probes and clients that do not know our key leave by themselves.
            Ended::Refused(Refusal::TurnedAway)
            | Ended::Peer
            | Ended::Told
            | Ended::Broken
            | Ended::Crowded => return,
        };
        self.tell_failure(id, format!("{source}: {message}"));
    }

    /// Tells the script of a failure that does not end its listener; not more often than it can
    /// bear.
    pub(super) fn tell_failure(&mut self, id: FrontId, mut message: String) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let now = Instant::now();
        let failures = &mut front.failures;
        if failures
            .last
            .is_some_and(|last| now.duration_since(last) < FAILURE_SPAN)
        {
            failures.suppressed = failures.suppressed.saturating_add(1);
            return;
        }
        failures.last = Some(now);
        let suppressed = std::mem::take(&mut failures.suppressed);
        if suppressed > 0 {
            message = format!("{message} (and {suppressed} more)");
        }
        if let Some(listener) = front.listener
            && let Some(script) = self.scripts.get_mut(&front.script)
        {
            script.tell(ToScript::Failure { listener, message });
        }
    }
}

/// What a child says, so that it is not taken for a line of ours.
pub(super) fn words(said: &str) -> String {
    said.chars()
        .filter(|c| !c.is_control())
        .take(MAX_WORDS)
        .collect()
}

/// How much of it is told.
const MAX_WORDS: usize = 500;

/// As many frameservers one script may have, with those that only serve old clients.
const MAX_LISTENERS: usize = 64;

/// Failures are told to a script at most once in this time.
const FAILURE_SPAN: Duration = Duration::from_secs(1);
