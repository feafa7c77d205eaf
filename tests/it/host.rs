//! A host under test: its scripts, its clients, its admin. All that is known here of how the
//! command line is written stands in this file.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use data_encoding::BASE64;
use identity::PublicKey;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::key::Key;
use crate::process::{Ended, PATIENCE, Process, Watched};

/// A host that is to be started.
pub(crate) struct Moonport {
    place: Place,
    scripts: Vec<PathBuf>,
    options: Vec<String>,
    /// For the scripts.
    words: Vec<String>,
    /// Of its environment.
    variables: Vec<(String, String)>,
    /// Nobody reads its standard error.
    unheard: bool,
    /// How many descriptors each of its processes may have.
    descriptors: Option<u64>,
}

/// Where a host lives: its folder, and an address that no other test has.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) address: Ipv4Addr,
    pub(crate) port: u16,
}

/// A host that runs. It is killed when this is dropped.
pub(crate) struct Host {
    pub(crate) process: Process,
    from: Moonport,
}

impl Moonport {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::new(),
            scripts: Vec::new(),
            options: Vec::new(),
            words: Vec::new(),
            variables: Vec::new(),
            unheard: false,
            descriptors: None,
        }
    }

    /// Adds a script; `ADDRESS` and `PORT` are what it should listen on.
    pub(crate) fn script(mut self, name: &str, lua: &str) -> Self {
        let path = self.place.folder().join(format!("{name}.lua"));
        self.place.write(&path, lua);
        self.scripts.push(path);
        self
    }

    /// Writes a script that is not named on the command line.
    pub(crate) fn written(self, name: &str, lua: &str) -> Self {
        let path = self.place.folder().join(format!("{name}.lua"));
        self.place.write(&path, lua);
        self
    }

    /// Adds an appl directory.
    pub(crate) fn appl(mut self, name: &str, lua: &str) -> Self {
        let path = self.place.folder().join(name);
        fs::create_dir(&path).unwrap();
        self.place.write(&path.join(format!("{name}.lua")), lua);
        self.scripts.push(path);
        self
    }

    /// Adds a script that is there.
    pub(crate) fn file(mut self, path: PathBuf) -> Self {
        self.scripts.push(path);
        self
    }

    /// Adds a word for the scripts.
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.words.push(word.to_owned());
        self
    }

    pub(crate) fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    /// Sets a variable of its environment.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Closes the other end of its standard error.
    pub(crate) fn unheard(mut self) -> Self {
        self.unheard = true;
        self
    }

    /// Lets each of its processes have so many descriptors.
    pub(crate) fn descriptors(mut self, most: u64) -> Self {
        self.descriptors = Some(most);
        self
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Starts it and waits until each script has a listener.
    #[track_caller]
    pub(crate) fn start(self) -> Host {
        let listeners = self.scripts.len();
        self.start_with(listeners)
    }

    /// Starts it and waits until it has so many listeners.
    #[track_caller]
    pub(crate) fn start_with(self, listeners: usize) -> Host {
        let mut host = Host {
            process: self.launch(),
            from: self,
        };
        host.await_listeners(listeners);
        host
    }

    /// The command that starts it.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.place.moonport(["run"]);
        command
            .envs(self.variables.iter().cloned())
            .args(&self.options)
            .args(&self.scripts);
        if !self.scripts.is_empty() {
            command.arg("--").args(&self.words);
        }
        command
    }

    /// Starts it, however that goes.
    pub(crate) fn launch(&self) -> Process {
        let mut command = self.command();
        if let Some(most) = self.descriptors {
            let mut limited = Command::new("sh");
            let limit = format!("ulimit -n {most} && exec \"$@\"");
            limited
                .args(["-c", &limit, "sh"])
                .arg(command.get_program());
            command = {
                limited.args(command.get_args());
                limited
            };
        }
        if self.unheard {
            Process::start_unheard(&mut command)
        } else {
            Process::start(&mut command)
        }
    }

    /// Starts it and waits until it has ended by itself.
    #[track_caller]
    pub(crate) fn run(&self) -> Ended {
        self.launch().wait()
    }
}

impl Host {
    /// One that was started by its command; waits until each script has a listener.
    #[track_caller]
    pub(crate) fn of(process: Process, from: Moonport) -> Self {
        let listeners = from.scripts.len();
        let mut host = Self { process, from };
        host.await_listeners(listeners);
        host
    }

    /// Waits until it has so many listeners: it is asked again after each line it says.
    #[track_caller]
    pub(crate) fn await_listeners(&mut self, wanted: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.listeners() != Some(wanted) {
            if Instant::now() > deadline {
                self.process.fail(&format!(
                    "not {wanted} listeners but {:?}",
                    self.listeners()
                ));
            }
            let soon = Instant::now() + Duration::from_millis(100);
            if self.process.await_line(soon) == Err(RecvTimeoutError::Disconnected) {
                self.process.fail("it ended");
            }
        }
    }

    /// How many listeners are up; `None` as long as it does not answer.
    fn listeners(&self) -> Option<usize> {
        let status = self
            .from
            .place
            .moonport(["status", "--json"])
            .output()
            .unwrap();
        let status: Value = serde_json::from_slice(&status.stdout).ok()?;
        let listeners = status["listeners"].as_array()?;
        Some(
            listeners
                .iter()
                .filter(|listener| listener["ready"] == true)
                .count(),
        )
    }

    pub(crate) fn status(&self) -> Value {
        self.json(["status", "--json"])
    }

    /// How many sessions are up.
    pub(crate) fn sessions(&self) -> u64 {
        self.status()["sessions"].as_u64().unwrap()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.from.place
    }

    /// The keys that are accepted anywhere.
    pub(crate) fn keys(&self) -> Vec<PublicKey> {
        let keys = self.json(["key", "list", "--json"]);
        let key = |entry: &Value| entry["key"].as_str().unwrap().parse().unwrap();
        keys.as_array().unwrap().iter().map(key).collect()
    }

    pub(crate) fn key_accept(&self, name: &str, who: Key) {
        self.admin(["key", "accept", &who.public().to_string(), "--scope", name]);
    }

    pub(crate) fn key_remove(&self, who: Key) {
        self.admin(["key", "remove", &who.public().to_string(), "--yes"]);
    }

    /// Opens a window; the secret is one that is generated.
    pub(crate) fn window_open(&self, name: &str, count: u32) -> String {
        let count = count.to_string();
        let window = self.json(["window", "open", name, "--count", &count, "--json"]);
        window["secret"].as_str().unwrap().to_owned()
    }

    /// Runs an admin's command, which has to succeed; returns what it prints.
    #[track_caller]
    pub(crate) fn admin<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = self.from.place.moonport(words);
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs an admin's command, which has to fail; returns what it says.
    #[track_caller]
    pub(crate) fn fails<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let mut command = self.from.place.moonport(words);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success(), "{command:?} succeeds");
        String::from_utf8(output.stderr).unwrap()
    }

    #[track_caller]
    pub(crate) fn json<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> Value {
        serde_json::from_str(&self.admin(words)).unwrap()
    }

    /// Starts another host on the same state.
    pub(crate) fn again(&self) -> Process {
        self.from.launch()
    }

    /// Everything that runs for it, itself included.
    pub(crate) fn processes(&self) -> Vec<u32> {
        [vec![self.process.pid()], self.process.children()].concat()
    }

    /// One of its children by the name of its role.
    #[track_caller]
    pub(crate) fn child(&self, role: &str) -> u32 {
        let is_it = |pid: &u32| {
            let name = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name.starts_with(role.as_bytes())
        };
        let children = self.process.children();
        children.into_iter().find(is_it).unwrap()
    }

    /// All of its children of a role.
    pub(crate) fn children(&self, role: &str) -> Vec<u32> {
        let is_it = |pid: &u32| {
            let name = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            name.starts_with(role.as_bytes())
        };
        self.process.children().into_iter().filter(is_it).collect()
    }

    /// Kills one of its children by the name of its role.
    #[track_caller]
    pub(crate) fn kill_child(&self, role: &str) {
        let pid = self.child(role);
        let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
    }

    /// Somebody who may connect.
    pub(crate) fn client(&self, who: Key) -> Client<'_> {
        let place = &self.from.place;
        Client {
            place,
            who,
            port: place.port,
            secret: None,
            server_key: None,
            to: None,
            title: None,
        }
    }

    /// Asks it to end; it has to end well. Gives what is needed to start it again.
    #[track_caller]
    pub(crate) fn stop(self) -> Moonport {
        let ended = self.process.terminate();
        assert_eq!(ended.code, 0, "{}", ended.text());
        self.from
    }

    /// Kills it without a word, waits until its children have followed, and gives what is needed
    /// to start it again.
    #[track_caller]
    pub(crate) fn kill(self) -> Moonport {
        let children = self.process.children();
        assert!(!children.is_empty());
        let children: Vec<_> = children.into_iter().map(Watched::new).collect();
        self.process.signal(Signal::KILL);
        let gone = |child: &Watched| child.is_gone_within(PATIENCE);
        assert!(children.iter().all(gone), "a child outlives its host");
        self.process.wait();
        self.from
    }
}

/// Somebody who connects with `moonport connect`.
pub(crate) struct Client<'a> {
    place: &'a Place,
    who: Key,
    port: u16,
    secret: Option<String>,
    /// The host's key that it knows; else it is told the current one.
    server_key: Option<String>,
    /// Somewhere else than where the first script should listen.
    to: Option<String>,
    title: Option<String>,
}

impl Client<'_> {
    pub(crate) fn secret(mut self, secret: &str) -> Self {
        self.secret = Some(secret.to_owned());
        self
    }

    pub(crate) fn server_key(mut self, key: &str) -> Self {
        self.server_key = Some(key.to_owned());
        self
    }

    /// What it calls itself.
    pub(crate) fn named(mut self, title: &str) -> Self {
        self.title = Some(title.to_owned());
        self
    }

    /// Another port than the first script's.
    pub(crate) fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Another address, with its port.
    pub(crate) fn to(mut self, to: &str) -> Self {
        self.to = Some(to.to_owned());
        self
    }

    pub(crate) fn connect(self) -> Process {
        let Place { address, .. } = self.place;
        let name = self.who.0;
        let own = BASE64.encode(&self.who.private());
        let own = self.place.file(&format!("{name}.identity"), &own);
        let to = self
            .to
            .unwrap_or_else(|| format!("{address}:{}", self.port));
        // Where it remembers servers; a client has no keystore.
        let state = self.place.folder.path().join(name);
        let mut command = moonport(&state, ["connect", &to, "--identity", &own]);
        let server_key = self.server_key.unwrap_or_else(|| self.place.host_key());
        command.args(["--server-key", &server_key]);
        if let Some(secret) = &self.secret {
            let file = self.place.file(&format!("{name}.secret"), secret);
            command.args(["--secret-file", &file]);
        }
        if let Some(title) = &self.title {
            command.args(["--name", title]);
        }
        Process::start(&mut command)
    }

    /// Connects, and has to be turned away.
    #[track_caller]
    pub(crate) fn refused(self) {
        let ended = self.connect().wait();
        assert_eq!(ended.code, REFUSED, "{}", ended.text());
    }
}

/// The exit codes of `connect`.
pub(crate) const REFUSED: i32 = 4;
pub(crate) const UNREACHABLE: i32 = 5;

impl Place {
    pub(crate) fn new() -> Self {
        let address = own_address();
        // Nobody else has the address, so the port stays free.
        let port = TcpListener::bind((address, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        Self {
            folder: TempDir::new().unwrap(),
            address,
            port,
        }
    }

    pub(crate) fn write(&self, path: &Path, lua: &str) {
        let Self { address, port, .. } = self;
        // On the first line, so that the others keep their numbers.
        let script = format!("local ADDRESS, PORT = '{address}', {port}; {lua}");
        fs::write(path, script).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A file beside the host's, for nobody else to read; returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// The host's public key, which a client has to be told.
    pub(crate) fn host_key(&self) -> String {
        let output = self.moonport(["key", "host", "--json"]).output().unwrap();
        let key: Value = serde_json::from_slice(&output.stdout).unwrap();
        key["key"].as_str().unwrap().to_owned()
    }

    /// Where the first script should listen, for `connect`.
    pub(crate) fn at(&self) -> String {
        format!("{}:{}", self.address, self.port)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn moonport<'w>(&self, words: impl IntoIterator<Item = &'w str>) -> Command {
        moonport(&self.state(), words)
    }
}

/// The program that is tested, with a state folder of its own.
pub(crate) fn moonport<W: AsRef<OsStr>>(
    state: &Path,
    words: impl IntoIterator<Item = W>,
) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
    command.args(words).arg("--state-dir").arg(state);
    command.env_remove("RUST_LOG").env_remove("MOONPORT_LOG");
    // Nobody's file says what is tested.
    command.env("XDG_CONFIG_HOME", state);
    command
}

/// A loopback address for one host of this process: all of 127/8 is this machine.
fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    // 127.0/16 is what people and other programs use.
    Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed))
}
