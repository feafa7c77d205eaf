//! A listener under siege, measured: `cargo bench --bench flood`. What its figures mean, and some of
//! them, stand in `docs/hardening.md`.
//!
//! One host, five thousand strangers that keep connections half open, a flood of bad first packets
//! from other addresses, and two hundred honest clients one after the other, before and during it.
//! The attackers' thread has a lower priority: real ones bring a processor of their own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect ends on the spot"
)]

#[path = "../tests/it/crowd.rs"]
mod crowd;

use std::cell::Cell;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crowd::Score;
use moonport::wire::crypto::SecretKey;
use tokio::task::{JoinSet, LocalSet};

const DRIPPING: u32 = 5000;
/// How long a stranger that was pushed out waits before it comes again.
const DRIP_PAUSE: Duration = Duration::from_secs(2);
/// Addresses that bad first packets come from, each as often as this.
const FLOODING: u32 = 512;
const FLOOD_PAUSE: Duration = Duration::from_millis(200);
const HONEST: u32 = 200;
/// Between two honest clients.
const HONEST_PAUSE: Duration = Duration::from_millis(25);
/// What is usual for `--unproved`: FULL.
const FULL: u64 = 512;

const SCRIPT: &str = r#"
local function client(source, status)
    if status.kind == "registered" then
        message_target(source, "welcome")
    elseif status.kind == "message" then
        message_target(source, "you said " .. status.message)
    end
end
net_listen("hello", "127.1.2.3", PORT, function(source, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

const KEY: [u8; 32] = [7; 32];

struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let needed = u64::from(DRIPPING) + 1000;
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if files.current.is_some_and(|most| most < needed) {
        panic!("needs {needed} descriptors: ulimit -n {needed}");
    }
    let folder = tempfile::tempdir().unwrap();
    let port = TcpListener::bind("127.1.2.3:0").unwrap().local_addr();
    let to = SocketAddrV4::new(Ipv4Addr::new(127, 1, 2, 3), port.unwrap().port());
    let host = start(folder.path(), to.port());
    let front = front(host.0.id());
    let at_rest = memory(front, "VmRSS:");

    let here = Turns::here();
    let quiet = visits(to, 0);
    let at_peace = Turns::here().since(here);
    let (turns, work) = (Turns::of(front), processor_time(host.0.id()));
    let (stop, stopped) = mpsc::channel::<()>();
    let siege = thread::spawn(move || besiege(to, &stopped));
    // Until those that flood are shut out, and every place is taken.
    thread::sleep(Duration::from_secs(5));
    let (before, since) = (processor_time(front), Instant::now());
    let here = Turns::here();
    let loud = visits(to, HONEST);
    let at_war = Turns::here().since(here);
    let share = (processor_time(front) - before).as_secs_f64() / since.elapsed().as_secs_f64();
    drop(stop);
    let (score, connections, rig) = siege.join().unwrap();
    let (turns, work) = (
        Turns::of(front).since(turns),
        processor_time(host.0.id()) - work,
    );
    let most = memory(front, "VmHWM:");
    let allowed = at_rest + FULL * 16 + 4096;

    println!("quiet: {quiet}\nsiege: {loud}");
    println!(
        "siege: {score}; {:.0} % of a processor for all of it",
        share * 100.0
    );
    let each = |time: Duration| time.as_secs_f64() * 1e6 / connections as f64;
    println!(
        "for each connection: {:.0} µs of a processor in the frameserver, which waited {:.0} µs for \
         one, and {:.0} µs in the host",
        each(turns.run),
        each(turns.waited),
        each(work)
    );
    println!(
        "for each connection, the attackers: {:.0} µs of a processor, for which they waited {:.0} µs",
        each(rig.run),
        each(rig.waited)
    );
    for (when, turns) in [("before", at_peace), ("during", at_war)] {
        let [run, waited] = [turns.run, turns.waited].map(|time| time / HONEST);
        println!(
            "{when}, an honest client: {run:.1?} of a processor, for which it waited {waited:.1?}"
        );
    }
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "median x{:.2}, p99 x{:.2}",
        ratio(loud.at(50), quiet.at(50)),
        ratio(loud.at(99), quiet.at(99))
    );
    println!("memory: {at_rest} kB at rest, {most} kB at most, {allowed} kB allowed");
    assert!(
        loud.lost == 0 && quiet.lost == 0,
        "honest clients were kept out"
    );
    assert!(most <= allowed, "too much memory");
}

fn moonport(state: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
    command.args(words).arg("--state-dir").arg(state);
    command
}

fn start(folder: &Path, port: u16) -> Host {
    let (state, script) = (folder.join("state"), folder.join("flooded.lua"));
    fs::write(&script, SCRIPT.replace("PORT", &port.to_string())).unwrap();
    let key = SecretKey::from_bytes(KEY).public().unwrap().to_string();
    let accept = ["key", "accept", &key, "--scope", "hello"];
    let done = moonport(&state, &accept).stdout(Stdio::null()).status();
    assert!(done.unwrap().success());
    let run = ["run", "--log", "error", script.to_str().unwrap()];
    let host = Host(moonport(&state, &run).spawn().unwrap());
    while std::net::TcpStream::connect(("127.1.2.3", port)).is_err() {
        thread::sleep(Duration::from_millis(20));
    }
    host
}

/// The host's frameserver; the socket is there a little earlier.
fn front(host: u32) -> u32 {
    let path = format!("/proc/{host}/task/{host}/children");
    let name = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    loop {
        let children = fs::read_to_string(&path).unwrap();
        let mut children = children.split_whitespace().map(|pid| pid.parse().unwrap());
        if let Some(front) = children.find(|pid| name(pid).starts_with("moonport-frameserver")) {
            return front;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    LocalSet::new().block_on(&runtime, work)
}

/// Attacks until nobody holds the other end any more; how, how many connections that were, and what it
/// took here.
fn besiege(to: SocketAddrV4, stopped: &mpsc::Receiver<()>) -> (String, u64, Turns) {
    // Of this thread only, as Linux has it. Attackers have machines of their own: what they do here
    // is not to be taken for what the listener does.
    rustix::process::setpriority_process(None, 19).unwrap();
    let (score, start) = (Rc::new(Score::default()), Instant::now());
    block_on(async {
        let mut attackers = JoinSet::new();
        for number in 0..DRIPPING {
            let from = crowd::dripping_source(number);
            attackers.spawn_local(crowd::drip(to, from, DRIP_PAUSE, Rc::clone(&score)));
            // Spread evenly, and so they stay.
            if number % 25 == 0 {
                tokio::time::sleep(DRIP_PAUSE * 25 / DRIPPING).await;
            }
        }
        for number in 0..FLOODING {
            let from = crowd::flooding_source(number);
            attackers.spawn_local(crowd::flood(to, from, FLOOD_PAUSE, Rc::clone(&score)));
        }
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let all = [&score.drips, &score.bad, &score.shut].map(Cell::get);
    let [drips, bad, shut] = all.map(|count| count as f64 / start.elapsed().as_secs_f64());
    let text = format!(
        "{drips:.0} half-open connections, {bad:.0} bad first packets and {shut:.0} shut out a second"
    );
    (text, all.iter().sum(), Turns::here())
}

/// How long a thread has had a processor, and has waited for one.
#[derive(Debug, Clone, Copy)]
struct Turns {
    run: Duration,
    waited: Duration,
}

impl Turns {
    fn of(process: u32) -> Self {
        Self::at(&format!("/proc/{process}"))
    }

    /// Those of the calling thread.
    fn here() -> Self {
        Self::at("/proc/thread-self")
    }

    fn at(folder: &str) -> Self {
        let stat = fs::read_to_string(format!("{folder}/schedstat")).unwrap();
        let mut times = stat.split_whitespace().map(|ns| ns.parse().unwrap());
        let mut time = || Duration::from_nanos(times.next().unwrap());
        Self {
            run: time(),
            waited: time(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            run: self.run - before.run,
            waited: self.waited - before.waited,
        }
    }
}

/// How the honest ones fared.
struct Visits {
    took: Vec<Duration>,
    lost: u32,
}

impl Visits {
    /// So many per cent took no longer.
    fn at(&self, percent: usize) -> Duration {
        self.took[(self.took.len() * percent / 100).min(self.took.len() - 1)]
    }
}

impl std::fmt::Display for Visits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (median, most) = (self.at(50), self.at(99));
        let (came, lost) = (self.took.len(), self.lost);
        write!(
            f,
            "{came} came in, {lost} did not; median {median:.1?}, p99 {most:.1?}"
        )
    }
}

fn visits(to: SocketAddrV4, first: u32) -> Visits {
    block_on(async {
        let mut under_way = JoinSet::new();
        for number in first..first + HONEST {
            under_way.spawn_local(crowd::visit(to, crowd::honest_source(number), KEY));
            tokio::time::sleep(HONEST_PAUSE).await;
        }
        let all = under_way.join_all().await;
        for failure in all.iter().filter_map(|visit| visit.as_ref().err()) {
            println!("kept out: {failure}");
        }
        let mut took: Vec<_> = all.into_iter().flatten().collect();
        took.sort();
        let lost = HONEST - u32::try_from(took.len()).unwrap();
        Visits { took, lost }
    })
}

/// A figure of a process's memory, kB.
fn memory(process: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn processor_time(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
}
