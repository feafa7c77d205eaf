//! A host in memory: listeners, keys, windows, and who is let in. It stands in for the real one,
//! whose way it goes: claim, proof, `segment_request`, decision.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use identity::{Name, PublicKey, Secret};
use rand_core::{Rng, SeedableRng};

use crate::frameserver::{Memory, Said};
use crate::ipc::frameserver::{Candidate, Speaks};
use crate::ipc::script::{
    FromScript, Listen, Request, ToScript, Wanted, WindowEvent, WindowStatus,
};
use crate::ipc::{Carries, ConnectionId, ListenerId, Scheme, SessionId, link};
use crate::wire::a12::keyroom::{Claim, Pending};
use crate::wire::a12::{self, Role, SecretId, StageKeys};
use crate::wire::crypto::SecretKey;
use crate::wire::{Answer, Ask, Error, Refusal};

/// What time it is when a test begins, ms since 1970.
const BEGIN_MS: u64 = 1_750_000_000_000;

/// How long a handshake may take, and how long a window lasts if nothing is said.
const HANDSHAKE: Duration = Duration::from_secs(5);
const WINDOW: Duration = Duration::from_secs(600);

/// See the module.
pub(super) struct Host {
    key: SecretKey,
    random: ChaCha20Rng,
    began: Instant,
    accepted: Vec<(Name, PublicKey)>,
    listeners: BTreeMap<ListenerId, Listener>,
    sessions: BTreeMap<SessionId, ListenerId>,
    /// Those that the script has not decided on.
    undecided: BTreeSet<SessionId>,
    next_session: u64,
    next_window: u64,
    to_script: Vec<ToScript>,
    exit: bool,
}

struct Listener {
    name: Name,
    interface: String,
    port: u16,
    open: bool,
    /// `None`: of a protocol that is not spoken here.
    front: Option<Memory>,
    /// `None`: the protocol's own.
    required: Option<Secret>,
    windows: Vec<Window>,
    claims: BTreeMap<ConnectionId, Claimed>,
}

struct Window {
    status: WindowStatus,
    secret: Secret,
}

struct Claimed {
    key: PublicKey,
    secret: SecretId,
    pending: Pending,
}

/// What is for a client.
pub(super) enum ForClient {
    Bytes(Vec<u8>),
    Closed,
}

impl Host {
    /// One whose every choice follows from the seed.
    pub(super) fn new(seed: [u8; 32], now: Instant) -> Self {
        let mut random = ChaCha20Rng::from_seed(seed);
        Self {
            key: SecretKey::generate(&mut random),
            random,
            began: now,
            accepted: Vec::new(),
            listeners: BTreeMap::new(),
            sessions: BTreeMap::new(),
            undecided: BTreeSet::new(),
            next_session: 1,
            next_window: 1,
            to_script: Vec::new(),
            exit: false,
        }
    }

    /// A key is accepted for a name from here on.
    pub(super) fn accept(&mut self, name: Name, key: PublicKey) {
        if !accepts(&self.accepted, &name, &key) {
            self.accepted.push((name, key));
        }
    }

    /// The listener with this name that is open.
    pub(super) fn listener(&self, name: &str) -> Option<(ListenerId, &str, u16)> {
        let found = |listener: &&Listener| listener.open && listener.name.as_str() == name;
        let mut open = self.listeners.iter();
        let (&id, listener) = open.find(|(_, listener)| found(listener))?;
        Some((id, &listener.interface, listener.port))
    }

    /// The names that are listened on.
    pub(super) fn names(&self) -> Vec<&str> {
        let open = self.listeners.values().filter(|listener| listener.open);
        open.map(|listener| listener.name.as_str()).collect()
    }

    /// Somebody connects; `None`: not with a12.
    pub(super) fn connect(&mut self, now: Instant, listener: ListenerId) -> Option<ConnectionId> {
        let mut seed = [0; 32];
        self.random.fill_bytes(&mut seed);
        let listener = self.listeners.get_mut(&listener)?;
        listener.front.as_mut()?.connect(now, seed)
    }

    /// Bytes of a client; how many of them were taken.
    pub(super) fn bytes(
        &mut self,
        now: Instant,
        listener: ListenerId,
        connection: ConnectionId,
        bytes: &[u8],
    ) -> usize {
        self.front(listener)
            .map_or(0, |front| front.bytes(now, connection, bytes))
    }

    /// A client has closed its connection.
    pub(super) fn eof(&mut self, now: Instant, listener: ListenerId, connection: ConnectionId) {
        if let Some(front) = self.front(listener) {
            front.eof(now, connection);
        }
    }

    /// The script says something over a data link.
    pub(super) fn link(&mut self, now: Instant, listener: ListenerId, said: link::FromScript) {
        if let Some(front) = self.front(listener) {
            front.script(now, said);
        }
    }

    /// The script says something.
    pub(super) fn hear(&mut self, now: Instant, said: FromScript) {
        match said {
            FromScript::Listen(listen) => self.listen(listen),
            FromScript::Secret(wanted) => self.secret(now, wanted),
            FromScript::OpenWindow(new) => {
                let Some(listener) = self.listeners.get_mut(&new.listener) else {
                    return;
                };
                let lasts = new.seconds.map_or(WINDOW, Duration::from_secs);
                listener.windows.push(Window {
                    status: WindowStatus {
                        window: new.window,
                        label: new.label,
                        left: new.count,
                        enrolled: 0,
                        open: true,
                        ends_ms: BEGIN_MS + millis(now + lasts - self.began),
                    },
                    secret: new.secret,
                });
                let last = listener.windows.len().saturating_sub(1);
                self.tell_window(new.listener, last, WindowEvent::Opened);
            }
            FromScript::CloseWindow { listener, window } => {
                let windows = self
                    .listeners
                    .get(&listener)
                    .map(|listener| &listener.windows);
                let is_it = |other: &Window| other.status.open && other.status.window == window;
                let found = windows.and_then(|windows| windows.iter().position(is_it));
                if let Some(at) = found {
                    self.end_window(listener, at, WindowEvent::Closed);
                }
            }
            FromScript::Decide { session, accept } => {
                self.undecided.remove(&session);
                let front = self.sessions.get(&session).copied();
                if let Some(front) = front.and_then(|listener| self.front(listener)) {
                    front.decide(now, session, accept);
                }
            }
            FromScript::Unlisten(id) => {
                let Some(listener) = self.listeners.get_mut(&id) else {
                    return;
                };
                listener.open = false;
                let Some(front) = &mut listener.front else {
                    return;
                };
                front.stop_listening();
                let sessions = &self.sessions;
                self.undecided.retain(|session| {
                    let of_it = sessions.get(session) == Some(&id);
                    if of_it {
                        front.decide(now, *session, false);
                    }
                    !of_it
                });
            }
            FromScript::Connect(connect) => self.to_script.push(ToScript::Disconnected {
                connection: connect.connection,
                why: "tests of scripts reach nobody".to_owned(),
                retry: Duration::from_secs(3600),
            }),
            FromScript::Keys { call, .. } => self.to_script.push(ToScript::Keys {
                call,
                answer: Err("tests of scripts have no keystore".to_owned()),
                more: false,
            }),
            FromScript::Exit { .. } => self.exit = true,
            // No script has the permission to ask for a program.
            FromScript::Exec(_)
            | FromScript::EndProgram(_)
            | FromScript::Confined(_)
            | FromScript::Report(_)
            | FromScript::Started
            // Nobody asks it to make room for another one.
            | FromScript::State(_)
            | FromScript::Yielded(..)
            | FromScript::Ready
            | FromScript::Back(_)
            | FromScript::Left
            // Nor to evaluate anything.
            | FromScript::Said(..)
            | FromScript::Evaluated(..) => {}
        }
    }

    /// Whether the script has said that it ends.
    pub(super) fn has_ended(&self) -> bool {
        self.exit
    }

    /// What there is for the script, and for the clients; whether there was anything.
    pub(super) fn work(
        &mut self,
        now: Instant,
        mut host: impl FnMut(ToScript),
        mut data: impl FnMut(ListenerId, link::ToScript),
        mut client: impl FnMut(ListenerId, ConnectionId, ForClient),
    ) -> bool {
        let mut busy = false;
        let ids: Vec<_> = self.listeners.keys().copied().collect();
        for id in ids {
            while let Some(said) = self.front(id).and_then(Memory::said) {
                busy = true;
                match said {
                    Said::Ask { connection, ask } => self.answer(now, id, connection, ask),
                    Said::Bytes { connection, bytes } => {
                        client(id, connection, ForClient::Bytes(bytes));
                    }
                    Said::Closed { connection, .. } => {
                        client(id, connection, ForClient::Closed);
                    }
                }
            }
        }
        for message in std::mem::take(&mut self.to_script) {
            busy = true;
            host(message);
        }
        for (&id, listener) in &mut self.listeners {
            for message in listener.front.iter_mut().flat_map(Memory::to_script) {
                busy = true;
                data(id, message);
            }
        }
        busy
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        let now_ms = BEGIN_MS + millis(now - self.began);
        let mut late = Vec::new();
        for (&id, listener) in &mut self.listeners {
            listener.front.iter_mut().for_each(|front| front.tick(now));
            let windows = listener.windows.iter().enumerate();
            let over = |window: &Window| window.status.open && window.status.ends_ms <= now_ms;
            late.extend(
                windows
                    .filter(|(_, window)| over(window))
                    .map(|(at, _)| (id, at)),
            );
        }
        for (listener, at) in late {
            self.end_window(listener, at, WindowEvent::Expired);
        }
    }

    fn front(&mut self, listener: ListenerId) -> Option<&mut Memory> {
        self.listeners.get_mut(&listener)?.front.as_mut()
    }

    fn listen(&mut self, listen: Listen) {
        let (scheme, _) = Scheme::of(&listen.interface);
        let Ok(scheme) = scheme else {
            let last_words = "no such protocol".to_owned();
            return self.to_script.push(ToScript::Ended {
                listener: listen.listener,
                last_words,
            });
        };
        let port = match listen.port {
            0 => scheme.port().unwrap_or_default(),
            port => port,
        };
        let speaks = Speaks::A12 {
            role: Role::Sink,
            secrets: vec![candidate(0, None)],
        };
        let front = (scheme == Scheme::A12).then(|| Memory::new(speaks, HANDSHAKE));
        self.listeners.insert(
            listen.listener,
            Listener {
                name: listen.name,
                interface: listen.interface,
                port,
                open: true,
                front: front.and_then(Result::ok),
                required: None,
                windows: Vec::new(),
                claims: BTreeMap::new(),
            },
        );
        self.to_script.push(ToScript::Listening {
            listener: listen.listener,
            addresses: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)],
        });
    }

    fn secret(&mut self, now: Instant, wanted: Wanted) {
        let Some(listener) = self.listeners.get_mut(&wanted.listener) else {
            return;
        };
        if wanted.required {
            listener.required = Some(wanted.secret.clone());
        }
        if wanted.count == 0 {
            return listener.see_secrets();
        }
        let lasts = wanted.seconds.map_or(WINDOW, Duration::from_secs);
        let number = self.next_window;
        self.next_window += 1;
        listener.windows.push(Window {
            status: WindowStatus {
                window: number,
                label: None,
                left: wanted.count,
                enrolled: 0,
                open: true,
                ends_ms: BEGIN_MS + millis(now + lasts - self.began),
            },
            secret: wanted.secret,
        });
        let last = listener.windows.len().saturating_sub(1);
        self.tell_window(wanted.listener, last, WindowEvent::Opened);
    }

    fn end_window(&mut self, id: ListenerId, at: usize, event: WindowEvent) {
        let listener = self.listeners.get_mut(&id);
        if let Some(window) = listener.and_then(|listener| listener.windows.get_mut(at)) {
            window.status.open = false;
        }
        self.tell_window(id, at, event);
    }

    fn tell_window(&mut self, id: ListenerId, at: usize, event: WindowEvent) {
        let Some(listener) = self.listeners.get_mut(&id) else {
            return;
        };
        listener.see_secrets();
        let windows: Vec<_> = listener
            .windows
            .iter()
            .map(|window| window.status.clone())
            .collect();
        let Some(WindowStatus {
            window,
            label,
            left,
            ..
        }) = windows.get(at).cloned()
        else {
            return;
        };
        self.to_script.push(ToScript::Windows {
            listener: id,
            windows,
        });
        self.to_script.push(ToScript::Window {
            listener: id,
            event,
            left,
            window,
            label,
        });
    }

    /// What the key room and the store would say.
    fn answer(&mut self, now: Instant, id: ListenerId, connection: ConnectionId, ask: Ask) {
        let (answer, session) = match ask {
            Ask::A12(a12::Ask::Claim {
                secret,
                rounds,
                hello,
            }) => (self.claim(id, connection, secret, rounds, &hello), None),
            Ask::A12(a12::Ask::Proof(packet)) => self.prove(id, connection, &packet),
            _ => (Answer::Refused(Refusal::NotAccepted), None),
        };
        if let Some(front) = self.front(id) {
            front.answer(now, connection, answer, session);
        }
    }

    fn claim(
        &mut self,
        id: ListenerId,
        connection: ConnectionId,
        secret: SecretId,
        rounds: a12::Rounds,
        hello: &a12::ControlBody,
    ) -> Answer {
        let refused = Answer::Refused(Refusal::NotAccepted);
        let mut nonce = [0; 8];
        self.random.fill_bytes(&mut nonce);
        let (Ok(claim), Some(host), Some(listener)) = (
            Claim::parse(hello),
            self.key.public(),
            self.listeners.get_mut(&id),
        ) else {
            return refused;
        };
        let key = *claim.key();
        let known = accepts(&self.accepted, &listener.name, &key);
        if !known && listener.window(secret).is_none() {
            return refused;
        }
        let pending = claim.challenge(&self.key, rounds, nonce);
        let claimed = Claimed {
            key,
            secret,
            pending,
        };
        listener.claims.insert(connection, claimed);
        a12::Answer::Challenge { host, nonce }.into()
    }

    fn prove(
        &mut self,
        id: ListenerId,
        connection: ConnectionId,
        packet: &[u8],
    ) -> (Answer, Option<SessionId>) {
        let refused = (Answer::Refused(Refusal::NotAccepted), None);
        let Some(listener) = self.listeners.get_mut(&id) else {
            return refused;
        };
        let Some(claimed) = listener.claims.get(&connection) else {
            return refused;
        };
        let keys = match claimed.pending.prove(packet) {
            Ok(keys) => keys,
            Err(Error::Again { .. }) => return (a12::Answer::More.into(), None),
            Err(_) => return refused,
        };
        let (key, secret) = (claimed.key, claimed.secret);
        listener.claims.remove(&connection);
        let new = !accepts(&self.accepted, &listener.name, &key);
        let mut spent = None;
        if new {
            let Some(at) = listener.window(secret) else {
                return refused;
            };
            if let Some(window) = listener.windows.get_mut(at) {
                window.status.left = window.status.left.saturating_sub(1);
                window.status.enrolled += 1;
                spent = Some((at, window.status.left == 0));
            }
            self.accepted.push((listener.name.clone(), key));
        }
        let of_key = self.accepted.iter().filter(|(_, other)| *other == key);
        let tags: Vec<_> = of_key.map(|(name, _)| name.as_str()).collect();
        let tags = tags.join(",");
        let session = SessionId(self.next_session);
        self.next_session += 1;
        self.sessions.insert(session, id);
        self.undecided.insert(session);
        if let Some((at, all)) = spent {
            self.tell_window(id, at, WindowEvent::Enrolled);
            if all {
                self.end_window(id, at, WindowEvent::Spent);
            }
        }
        let host = u8::try_from(session.0).unwrap_or(u8::MAX);
        self.to_script.push(ToScript::Request(Request {
            listener: id,
            session,
            key: Some(key),
            tags,
            endpoint: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 4000),
            new,
            carries: Carries::Events,
            anonymous: false,
            scheme: Scheme::A12,
            zmtp: None,
        }));
        (a12::Answer::Session(keys).into(), Some(session))
    }
}

impl Listener {
    /// The open window that a key comes in by that is not known, and this secret.
    fn window(&self, secret: SecretId) -> Option<usize> {
        let open = |window: &Window| window.status.open && window.status.left > 0;
        match usize::try_from(secret.0).ok()?.checked_sub(1) {
            Some(at) => self
                .windows
                .get(at)
                .filter(|window| open(window))
                .map(|_| at),
            // A window may share the required secret.
            None => {
                let required = self.required.as_ref()?.reveal();
                let same = |window: &Window| open(window) && window.secret.reveal() == required;
                self.windows.iter().position(same)
            }
        }
    }

    /// The secrets are other ones now.
    fn see_secrets(&mut self) {
        let open = self.windows.iter().zip(1..);
        let open = open.filter(|(window, _)| window.status.open);
        let windows = open.map(|(window, number)| candidate(number, Some(&window.secret)));
        let required = candidate(0, self.required.as_ref());
        let all = std::iter::once(required)
            .chain(windows)
            .take(MOST)
            .collect();
        if let Some(front) = &mut self.front {
            // It is of a12, and they are few.
            let _ = front.secrets(all);
        }
    }
}

/// How many secrets a first packet is tried against.
const MOST: usize = crate::ipc::frameserver::Listen::MAX_SECRETS;

/// Whether a key is accepted for a name.
fn accepts(accepted: &[(Name, PublicKey)], name: &Name, key: &PublicKey) -> bool {
    accepted
        .iter()
        .any(|(of, other)| of == name && other == key)
}

fn candidate(number: u32, secret: Option<&Secret>) -> Candidate {
    Candidate {
        id: SecretId(number),
        keys: secret.map_or_else(StageKeys::public, StageKeys::initial),
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
