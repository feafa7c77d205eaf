//! The host under measurement: a real process, with the frameserver and the script that it starts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use keystore::{Actor, Change, Directory, Keystore, Now, Scope, Sled};
use moonport::host::Clock;

use crate::client;

const SCRIPT: &str = r#"
local came = 0
local function client(source, status)
    if status.kind == "message" then
        if status.message == "how many" then
            print(came)
            came = 0
        else
            came = came + 1
        end
    end
end
net_listen("bench", "127.0.0.1", PORT, function(_, status)
    if status.kind == "registered" then
        print("listening")
    elseif status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

/// It ends with this.
pub(crate) struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) at: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// One that knows so many clients.
    pub(crate) fn start(clients: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        accept(&state, clients);
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = port.local_addr().unwrap();
        drop(port);
        let script = folder.path().join("bench.lua");
        fs::write(&script, SCRIPT.replace("PORT", &at.port().to_string())).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_moonport"))
            .args(["--log=error", "--state-dir"])
            .arg(&state)
            .arg("run")
            .arg(&script)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self {
            child,
            lines,
            at,
            _folder: folder,
        };
        while server.line() != "listening" {}
        server
    }

    /// The next line of the script.
    pub(crate) fn line(&mut self) -> String {
        self.lines.next().expect("the host has ended").unwrap()
    }

    /// Its processes, by what they are.
    fn processes(&self) -> BTreeMap<&'static str, u32> {
        let host = self.child.id();
        let children = fs::read_to_string(format!("/proc/{host}/task/{host}/children")).unwrap();
        let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        let role = |pid: u32| {
            let name = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            ["frameserver", "script"]
                .into_iter()
                .find(|role| name.starts_with(&format!("moonport-{role}")))
        };
        children
            .filter_map(|pid| Some((role(pid)?, pid)))
            .chain([("host", host)])
            .collect()
    }

    /// How long each of its processes has had a processor.
    pub(crate) fn work(&self) -> BTreeMap<&'static str, Work> {
        let processes = self.processes().into_iter();
        processes.map(|(role, pid)| (role, Work::of(pid))).collect()
    }

    /// Memory of all processes, in bytes: with a share of what they have in common, and without.
    pub(crate) fn memory(&self) -> [BTreeMap<&'static str, u64>; 2] {
        let figures = |wanted: fn(&str) -> bool| {
            let of = |(role, pid)| {
                let path = format!("/proc/{pid}/smaps_rollup");
                let text = fs::read_to_string(&path).unwrap_or_else(|error| {
                    panic!("{path}: {error}; only root sees the memory of a frameserver")
                });
                let kilobytes = text.lines().filter_map(|line| {
                    let (name, rest) = line.split_once(':')?;
                    let number = rest.trim().strip_suffix(" kB")?.trim();
                    wanted(name).then(|| number.parse::<u64>().unwrap())
                });
                (role, kilobytes.sum::<u64>() * 1024)
            };
            self.processes().into_iter().map(of).collect()
        };
        [
            figures(|name| name == "Pss"),
            figures(|name| name.starts_with("Private_")),
        ]
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the clients' keys known before a host starts.
fn accept(state: &Path, clients: usize) {
    let directory = Directory::open(state).unwrap();
    let now: Now = Clock::new().now();
    let mut store = Sled::open(&directory, now).unwrap();
    let accept = |number| Change::Accept {
        key: client::secret(number).public().unwrap(),
        scope: Scope::Any,
        label: None,
        imported: false,
    };
    let all: Vec<_> = (0..clients).map(accept).collect();
    store.apply(now, &Actor::Host, &all).unwrap();
}

/// Time on a processor.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Work {
    /// All of it, to the nanosecond.
    pub(crate) all: Duration,
    /// What of it was spent outside the kernel, as far as ticks of the clock tell.
    pub(crate) user: Duration,
}

impl Work {
    /// That of a process, with its threads.
    fn of(process: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        tasks
            .map(|task| Self::in_folder(&task.unwrap().path()))
            .fold(Self::default(), |a, b| a + b)
    }

    /// That of the calling thread.
    pub(crate) fn here() -> Self {
        Self::in_folder(Path::new("/proc/thread-self"))
    }

    fn in_folder(folder: &Path) -> Self {
        let read = |file| fs::read_to_string(folder.join(file)).unwrap_or_default();
        let (run, stat) = (read("schedstat"), read("stat"));
        let Some((run, (_, fields))) = run.split_whitespace().next().zip(stat.rsplit_once(')'))
        else {
            // A thread that has ended meanwhile.
            return Self::default();
        };
        let mut ticks = fields.split_whitespace().skip(11);
        let mut ticks = || ticks.next().unwrap().parse::<u32>().unwrap();
        let (user, system) = (ticks(), ticks());
        let all = Duration::from_nanos(run.parse().unwrap());
        let part = f64::from(user) / f64::from((user + system).max(1));
        Self {
            all,
            user: all.mul_f64(part),
        }
    }
}

impl std::ops::Add for Work {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            user: self.user + other.user,
        }
    }
}

impl std::ops::Sub for Work {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            all: self.all.saturating_sub(before.all),
            user: self.user.saturating_sub(before.user),
        }
    }
}
