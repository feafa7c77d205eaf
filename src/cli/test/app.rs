//! A script under test: the engine that `moonport run` has, a host, clients and a clock, all in
//! memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use chacha20::ChaCha20Rng;
use data_encoding::HEXLOWER;
use identity::{Name, PublicKey, Secret};
use rand_core::{Rng, SeedableRng};

use super::client::Client;
use super::host::{ForClient, Host};
use crate::host::Program;
use crate::ipc::script::{ErrorMode, FromScript, Limits, Permissions, Run, Severity};
use crate::script::tester::Guest;
use crate::script::{Console, Engine};
use crate::wire::crypto::SecretKey;

/// So many turns without time passing are more than any script needs that comes to rest.
const TURNS: usize = 10_000;

/// What a script prints.
#[derive(Debug, Clone, Default)]
pub(super) struct Tape(Rc<RefCell<Vec<String>>>);

impl Console for Tape {
    fn print(&self, line: &[u8]) {
        let line = String::from_utf8_lossy(line).into_owned();
        self.0.borrow_mut().push(line);
    }
}

impl Tape {
    /// What was printed since the last time.
    pub(super) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// See the module.
pub(super) struct App {
    engine: Engine,
    host: Host,
    clients: BTreeMap<u32, Client>,
    now: Instant,
    tape: Tape,
    /// What was reported, and whether it was an error.
    reports: Vec<(Severity, String)>,
    random: ChaCha20Rng,
    _folder: Folder,
}

impl App {
    /// Loads a script and lets it come to rest.
    pub(super) fn load(path: &Path, words: Vec<String>, stop: Duration) -> Result<Self, String> {
        Self::start(path, words, stop, Folder::new()?)
    }

    /// The same for a script of this text, which is called `show.lua`.
    pub(super) fn of_text(
        source: &[u8],
        words: Vec<String>,
        stop: Duration,
    ) -> Result<Self, String> {
        let folder = Folder::new()?;
        let path = folder.0.join("script/show.lua");
        std::fs::write(&path, source).map_err(|error| error.to_string())?;
        Self::start(&path, words, stop, folder)
    }

    fn start(
        path: &Path,
        words: Vec<String>,
        stop: Duration,
        folder: Folder,
    ) -> Result<Self, String> {
        let program = Program::locate(path).map_err(|error| error.to_string())?;
        let run = Run {
            program: program.file,
            appl: program.appl,
            directory: program.directory,
            arguments: words,
            state: folder.0.join("state"),
            temporary: folder.0.join("temporary"),
            errors: ErrorMode::Isolate,
            limits: Limits {
                // A busy machine must not change what is reported.
                warn: Duration::from_secs(3600),
                stop,
                ..Limits::default()
            },
            require_sandbox: false,
            permissions: Permissions::default(),
        };
        let (now, tape) = (Instant::now(), Tape::default());
        let engine = Engine::new(run, Box::new(tape.clone()), repeatable, now)
            .map_err(|error| error.to_string())?;
        let mut random = ChaCha20Rng::from_seed([7; 32]);
        let mut app = Self {
            engine,
            host: Host::new(bytes(&mut random), now),
            clients: BTreeMap::new(),
            now,
            tape,
            reports: Vec::new(),
            random,
            _folder: folder,
        };
        app.engine.start();
        app.settle()?;
        Ok(app)
    }

    /// Lets time pass: every moment in which the script has something to do is one of its turns.
    pub(super) fn advance(&mut self, time: Duration) -> Result<(), String> {
        let until = self.now + time;
        while self.now < until && self.engine.exit().is_none() {
            self.now = self.engine.wake(self.now).clamp(self.now, until);
            self.host.tick(self.now);
            self.settle()?;
        }
        self.now = until;
        Ok(())
    }

    /// A client connects.
    pub(super) fn connect(&mut self, number: u32, name: &str, guest: Guest) -> Result<(), String> {
        let Some((listener, interface, _)) = self.host.listener(name) else {
            let names = self.host.names();
            let others = match names.as_slice() {
                [] => "there is none".to_owned(),
                names => format!("there is {}", names.join(", ")),
            };
            return Err(format!("no listener {name:?} is open; {others}"));
        };
        let interface = interface.to_owned();
        let secret = guest
            .secret
            .map(|secret| Secret::parse(&secret))
            .transpose();
        let secret = secret.map_err(|error| error.to_string())?;
        let label = guest.key.unwrap_or_else(|| format!("client {number}"));
        let key = key_of(&label).ok_or("such a key cannot be made")?;
        if guest.known
            && let Ok(name) = Name::parse(name)
        {
            self.host.accept(name, key.1);
        }
        let Some(connection) = self.host.connect(self.now, listener) else {
            return Err(format!(
                "clients in tests speak a12, and {interface} is another protocol"
            ));
        };
        let seed = bytes(&mut self.random);
        let place = (listener, connection);
        let client = Client::new(place, key, secret.as_ref(), guest.title, seed, self.now);
        self.clients.insert(number, client);
        self.settle()
    }

    pub(super) fn listener(&self, name: &str) -> Option<(String, u16)> {
        let (_, interface, port) = self.host.listener(name)?;
        Some((interface.to_owned(), port))
    }

    /// What it has printed since the last time.
    pub(super) fn output(&self) -> Vec<String> {
        self.tape.take()
    }

    /// What was reported since the last time.
    pub(super) fn reports(&mut self) -> Vec<(Severity, String)> {
        std::mem::take(&mut self.reports)
    }

    pub(super) fn exit(&self) -> Option<u8> {
        self.engine.exit()
    }

    pub(super) fn client(&mut self, number: u32) -> Option<&mut Client> {
        self.clients.get_mut(&number)
    }

    pub(super) fn say(&mut self, number: u32, kind: &str, text: &str) -> Result<(), String> {
        let now = self.now;
        let client = self
            .clients
            .get_mut(&number)
            .ok_or("there is no such client")?;
        client.say(now, kind, text)?;
        self.settle()
    }

    pub(super) fn hang_up(&mut self, number: u32) -> Result<(), String> {
        if let Some(client) = self.clients.get_mut(&number) {
            client.end("closed by the client");
            let (listener, connection) = (client.listener, client.connection);
            self.host.eof(self.now, listener, connection);
        }
        self.settle()
    }

    /// Carries everything to and fro until nobody has anything to say.
    fn settle(&mut self) -> Result<(), String> {
        let now = self.now;
        for _ in 0..TURNS {
            self.engine.turn(now);
            let outbox = self.engine.take_outbox();
            let mut busy = !outbox.host.is_empty() || !outbox.link.is_empty();
            for message in outbox.host {
                if let FromScript::Report(report) = &message {
                    self.reports.push((report.severity, report.to_string()));
                }
                self.host.hear(now, message);
            }
            for (listener, message) in outbox.link {
                self.host.link(now, listener, message);
            }
            for client in self.clients.values_mut() {
                let (listener, connection) = (client.listener, client.connection);
                let taken = self.host.bytes(now, listener, connection, &client.out);
                client.out.drain(..taken);
                busy |= taken > 0;
            }
            busy |= self.carry();
            if self.engine.exit().is_some() && self.host.has_ended() && !busy {
                for client in self.clients.values_mut() {
                    client.end("the script has ended");
                }
                return Ok(());
            }
            if !busy && (self.engine.exit().is_some() || self.engine.wake(now) > now) {
                return Ok(());
            }
        }
        Err("the script does not come to rest: it goes on without time passing".to_owned())
    }

    fn carry(&mut self) -> bool {
        let engine = RefCell::new(&mut self.engine);
        let (clients, now) = (&mut self.clients, self.now);
        self.host.work(
            now,
            |message| engine.borrow_mut().host(message),
            |listener, message| engine.borrow_mut().link(listener, message),
            |listener, connection, news| {
                let mut all = clients.values_mut();
                let found = all
                    .find(|client| (client.listener, client.connection) == (listener, connection));
                match (found, news) {
                    (Some(client), ForClient::Bytes(bytes)) => client.bytes(now, &bytes),
                    (Some(client), ForClient::Closed) => client.end("closed by the server"),
                    (None, _) => {}
                }
            },
        )
    }
}

/// The key that is called so.
fn key_of(label: &str) -> Option<(SecretKey, PublicKey)> {
    let bytes = blake3::derive_key(
        "moonport 2026 key of a client in tests of scripts",
        label.as_bytes(),
    );
    let key = SecretKey::from_bytes(bytes);
    let public = key.public()?;
    Some((key, public))
}

fn bytes(random: &mut ChaCha20Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    random.fill_bytes(&mut bytes);
    bytes
}

/// What scripts under test get as random: the same in every run.
fn repeatable(to: &mut [u8]) {
    thread_local! {
        static RANDOM: RefCell<ChaCha20Rng> = RefCell::new(ChaCha20Rng::from_seed([1; 32]));
    }
    RANDOM.with_borrow_mut(|random| random.fill_bytes(to));
}

/// Where a script keeps what it stores; gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, String> {
        Self::make().map_err(|error| format!("no temporary folder: {error}"))
    }

    fn make() -> std::io::Result<Self> {
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| std::io::Error::other(error.to_string()))?;
        let name = format!("moonport-test-{}", HEXLOWER.encode(&random));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path)?;
        let folder = Self(path);
        for inner in ["script", "state", "temporary"] {
            std::fs::create_dir(folder.0.join(inner))?;
        }
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in a folder for what is temporary.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
