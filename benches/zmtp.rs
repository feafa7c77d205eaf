//! Messages of ZeroMQ's CURVE, beside libzmq: `cargo bench --bench zmtp`, or with words (`small`,
//! `large`, `handshakes`, `idle`, `boxes`) only some of it. What its figures mean, and some of them,
//! stand in `docs/protocol/zmtp-speed.md`.
//!
//! Two servers, one after the other in each round: a script of ours with a callback that counts, and
//! a libzmq socket in a C program that counts. The clients of both are libzmq's. That program is
//! built by `cc` here and now; without libzmq's headers there is nothing to compare with.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect ends on the spot"
)]

use std::fs;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Lines, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use moonport::wire::crypto::SecretKey;
use moonport::wire::nacl::{BoxKey, OVERHEAD, PrefixedKey};

const ROUNDS: usize = 5;

/// Messages a round, and bytes of each.
const SMALL: (u64, usize) = (200_000, 64);
const LARGE: (u64, usize) = (5_000, 64 * 1024);

/// Handshakes a round.
const HANDSHAKES: u64 = 1000;

/// Connections that stay, of each of so many clients: a key may have 256 sessions.
const IDLE: u64 = 250;
const CLIENTS: u8 = 4;

const SCRIPT: &str = r#"
local came = 0
local function client(source, status)
    if status.kind == "message" then
        if #status.message == 1 then
            print(came)
            came = 0
        else
            came = came + 1
        end
    end
end
moonport.listen({
    name = "bench",
    interface = "zmtp://127.0.0.1",
    port = PORT,
    options = { socket_type = "pull" },
}, function(source, status)
    if status.kind == "registered" then
        print("ready")
    elseif status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |word: &str| {
        let mut words = words.iter().filter(|word| !word.starts_with('-'));
        words.clone().next().is_none() || words.any(|given| given == word)
    };
    if wanted("boxes") {
        boxes();
    }
    if !["small", "large", "handshakes", "idle"]
        .into_iter()
        .any(wanted)
    {
        return;
    }
    // The idle connections, and for each one on the clients' side a descriptor more.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let Some(libzmq) = build(folder.path()) else {
        println!("skipped: no `cc`, or no libzmq to build with (on Debian: libzmq3-dev)");
        return;
    };

    let mut ours = Server::ours(folder.path(), &libzmq);
    let mut theirs = Server::theirs(&libzmq);
    if wanted("small") {
        compare(
            "64 B",
            "messages/s",
            |ours| ours.rate(SMALL),
            &mut ours,
            &mut theirs,
        );
    }
    if wanted("large") {
        let megabytes = |server: &mut Server| {
            let (rate, cost) = server.rate(LARGE);
            (rate * LARGE.1 as f64 / 1e6, cost)
        };
        compare("64 KiB", "MB/s", megabytes, &mut ours, &mut theirs);
    }
    if wanted("handshakes") {
        let what = "handshakes per processor second";
        compare(
            "handshakes",
            what,
            Server::handshakes,
            &mut ours,
            &mut theirs,
        );
    }
    if wanted("idle") {
        // Once: what was held once may stay with the process.
        let [ours, theirs] = [&mut ours, &mut theirs].map(Server::idle);
        println!(
            "idle: {ours:.1} kB a connection, libzmq {theirs:.1} kB: x{:.2}",
            ours / theirs
        );
    }
}

/// Measures both in turn and prints the medians; `measure` gives a figure and what one of them costs
/// the server.
fn compare(
    name: &str,
    unit: &str,
    measure: impl Fn(&mut Server) -> (f64, Duration),
    ours: &mut Server,
    theirs: &mut Server,
) {
    let (mut us, mut them) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        us.push(measure(ours));
        them.push(measure(theirs));
    }
    let [us, them] = [us, them].map(|mut all| {
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all
    });
    let middle = ROUNDS / 2;
    for (who, all) in [("ours", &us), ("libzmq", &them)] {
        let [least, median, most] = [0, middle, ROUNDS - 1].map(|at| all[at].0);
        println!(
            "{name}: {who:<6} {median:.0} {unit} ({least:.0} to {most:.0}), {:.1?} of a processor each",
            all[middle].1
        );
    }
    println!("{name}: x{:.2}", us[middle].0 / them[middle].0);
}

/// What the cipher does by itself.
fn boxes() {
    let key = BoxKey::secret([1; 32]).prefixed(&[2; 16]);
    for (size, count) in [(SMALL.1, 100_000), (LARGE.1, 2000)] {
        let mut boxed = vec![0; OVERHEAD + size];
        key.seal_in_place([3; 8], &mut boxed);
        let whole = boxed.clone();
        let time = |work: fn(&PrefixedKey, &mut [u8])| {
            let mut boxed = boxed.clone();
            let begun = Instant::now();
            for _ in 0..count {
                boxed.copy_from_slice(&whole);
                work(&key, black_box(&mut boxed));
            }
            begun.elapsed() / count
        };
        let sealed = time(|key, boxed| key.seal_in_place([3; 8], boxed));
        let opened = time(|key, boxed| {
            key.open([3; 8], boxed).unwrap();
        });
        let speed = |each: Duration| size as f64 / 1e6 / each.as_secs_f64();
        println!(
            "boxes of {size} B: sealed in {sealed:.1?}, {:.0} MB/s; opened in {opened:.1?}, {:.0} MB/s",
            speed(sealed),
            speed(opened)
        );
    }
}

/// The program of libzmq's side.
fn build(folder: &Path) -> Option<PathBuf> {
    let program = folder.join("libzmq");
    let built = Command::new("cc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/zmtp.c"))
        .arg("-lzmq")
        .output();
    match built {
        Ok(built) if built.status.success() => Some(program),
        Ok(built) => {
            eprint!("{}", String::from_utf8_lossy(&built.stderr));
            None
        }
        Err(_) => None,
    }
}

/// A process that says lines; it ends with this.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, lines };
        assert_eq!(process.line(), "ready");
        process
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn say(&mut self, number: u64) {
        writeln!(self.child.stdin.as_ref().unwrap(), "{number}").unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Server {
    process: Process,
    libzmq: PathBuf,
    port: u16,
    /// Its public key, in hexadecimal.
    key: String,
}

impl Server {
    fn ours(folder: &Path, libzmq: &Path) -> Self {
        let (state, script) = (folder.join("state"), folder.join("bench.lua"));
        let port = free_port();
        fs::write(&script, SCRIPT.replace("PORT", &port.to_string())).unwrap();
        let moonport = |words: &[&str]| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
            command.args(words).arg("--state-dir").arg(&state);
            command
        };
        for number in 0..CLIENTS {
            let client = client(number).public().unwrap().to_string();
            let accept = ["key", "accept", &client, "--scope", "bench"];
            let done = moonport(&accept).stdout(Stdio::null()).status();
            assert!(done.unwrap().success());
        }
        let shown = moonport(&["key", "host"]).output().unwrap().stdout;
        let key = shown.split(|&byte| byte == b'\n').next().unwrap();
        let key = BASE64.decode(key).unwrap();
        let run = ["run", "--log", "error", script.to_str().unwrap()];
        Self {
            process: Process::start(&mut moonport(&run)),
            libzmq: libzmq.into(),
            port,
            key: HEXLOWER.encode(&key),
        }
    }

    fn theirs(libzmq: &Path) -> Self {
        let port = free_port();
        let secret = SecretKey::from_bytes(SERVER);
        let mut command = Command::new(libzmq);
        command.args(["pull", &port.to_string(), &HEXLOWER.encode(&SERVER)]);
        Self {
            process: Process::start(&mut command),
            libzmq: libzmq.into(),
            port,
            key: HEXLOWER.encode(secret.public().unwrap().as_bytes()),
        }
    }

    /// A client of this server, the one of this number.
    fn client(&self, number: u8, role: &str, size: usize) -> Process {
        let secret = client(number);
        let public = HEXLOWER.encode(secret.public().unwrap().as_bytes());
        let mut command = Command::new(&self.libzmq);
        command
            .args([role, &self.port.to_string(), &self.key])
            .args([public, HEXLOWER.encode(&*secret.reveal())])
            .args((size > 0).then(|| size.to_string()));
        Process::start(&mut command)
    }

    /// Has so many messages sent, and waits until they have come.
    fn take(&mut self, client: &mut Process, count: u64) {
        client.say(count);
        assert_eq!(self.process.line(), count.to_string());
    }

    /// Messages a second, and what one costs.
    fn rate(&mut self, (count, size): (u64, usize)) -> (f64, Duration) {
        let mut client = self.client(0, "push", size);
        self.take(&mut client, count / 20);
        let (begun, before) = (Instant::now(), processor_time(self.process.child.id()));
        self.take(&mut client, count);
        let took = begun.elapsed();
        let cost = processor_time(self.process.child.id()) - before;
        (count as f64 / took.as_secs_f64(), cost / count as u32)
    }

    /// How many handshakes a second of a processor is worth, and what one costs.
    fn handshakes(&mut self) -> (f64, Duration) {
        let mut clients = self.client(0, "come", 0);
        clients.say(20);
        clients.line();
        let before = processor_time(self.process.child.id());
        clients.say(HANDSHAKES);
        clients.line();
        thread::sleep(SETTLE);
        let cost = processor_time(self.process.child.id()) - before;
        (
            HANDSHAKES as f64 / cost.as_secs_f64(),
            cost / HANDSHAKES as u32,
        )
    }

    /// How much memory a connection takes that has sent one message, kB.
    fn idle(&mut self) -> f64 {
        let before = memory(self.process.child.id());
        let start = |number| {
            let mut client = self.client(number, "stay", 0);
            client.say(IDLE);
            client.line();
            client
        };
        let clients: Vec<_> = (0..CLIENTS).map(start).collect();
        thread::sleep(SETTLE);
        let after = memory(self.process.child.id());
        (after as f64 - before as f64) / (clients.len() as u64 * IDLE) as f64
    }
}

/// Until what was begun is done.
const SETTLE: Duration = Duration::from_millis(500);

const SERVER: [u8; 32] = [8; 32];

fn client(number: u8) -> SecretKey {
    SecretKey::from_bytes([number + 16; 32])
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A process and all that it has started.
fn family(process: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    let mut all = vec![process];
    for child in children.unwrap().split_whitespace() {
        all.extend(family(child.parse().unwrap()));
    }
    all
}

fn processor_time(process: u32) -> Duration {
    let time = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let ticks = fields.split_whitespace().skip(11).take(2);
        Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    };
    family(process).into_iter().map(time).sum()
}

/// What is resident, kB.
fn memory(process: u32) -> u64 {
    let resident = |process: u32| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let number = line.unwrap().split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap_or_else(|_| panic!("{number}"))
    };
    family(process).into_iter().map(resident).sum()
}
