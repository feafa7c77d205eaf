//! CurveCP beside the reference programs, measured: `cargo bench --bench curvecp`. What its figures
//! mean, and some of them, stand in `docs/protocol/curvecp-tools.md`.
//!
//! Set-ups per second of a processor in the server; streams in both directions between every pair of
//! ours and the reference's programs; a thousand clients at once. A word behind `--` names one part:
//! `setups`, `streams` or `crowd`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect ends on the spot"
)]

#[path = "../tests/it/curveclient.rs"]
mod curveclient;

use std::fs::{self, File};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use curveclient::{EXTENSION, NAME, Raw, key_directory, public, reference};
use data_encoding::HEXLOWER;

const SETUPS: u8 = 250;
const BYTES: usize = 10_000_000;
const ROUNDS: usize = 3;
const LIMIT: Duration = Duration::from_secs(60);
const CLIENTS: usize = 1000;

/// Says something, and ends; or lives on.
const GREET: &str = r"printf '\001ready-0123456789' >&9";

#[derive(Clone, Copy)]
enum Whose {
    Ours,
    Real,
}

impl Whose {
    const BOTH: [Self; 2] = [Self::Ours, Self::Real];

    fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Real => "real",
        }
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Its programs end with it only if it is asked.
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

fn server(whose: Whose, folder: &Path, clients: usize, program: &[&str]) -> (Running, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap();
    drop(socket);
    let mut command = match whose {
        Whose::Ours => Command::new(env!("CARGO_BIN_EXE_moonport")),
        Whose::Real => Command::new("curvecpserver"),
    };
    if let Whose::Ours = whose {
        command.arg("curvecpserver");
    }
    command
        .current_dir(folder)
        .args(["-c", &clients.to_string()]);
    command.args([NAME, "key", "127.0.0.1", &at.port().to_string(), EXTENSION]);
    let server = Running(command.args(program).stdin(Stdio::null()).spawn().unwrap());
    while UdpSocket::bind(at).is_ok() {
        thread::sleep(Duration::from_millis(5));
    }
    (server, at)
}

/// How long it has had a processor.
fn processor(server: &Running) -> Duration {
    let text = fs::read_to_string(format!("/proc/{}/schedstat", server.0.id())).unwrap();
    let first = text.split_whitespace().next().unwrap();
    Duration::from_nanos(first.parse().unwrap())
}

fn memory(server: &Running) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Set-ups for each second of a processor in the server.
fn setups(whose: Whose, folder: &Path) -> f64 {
    let (server, at) = server(whose, folder, 1000, &["sh", "-c", GREET]);
    let values = (0..ROUNDS).map(|_| {
        let before = processor(&server);
        for own in 1..=SETUPS {
            Raw::new(at, own).enter();
        }
        f64::from(SETUPS) / (processor(&server) - before).as_secs_f64()
    });
    median(values.collect())
}

/// Megabytes a second of a stream; `None`: it took too long.
fn stream(client: Whose, server_is: Whose, down: bool, folder: &Path) -> Option<f64> {
    let program: &[&str] = match down {
        true => &["curvecpmessage", "cat", "big"],
        false => &["curvecpmessage", "sh", "-c", "cat >/dev/null; echo done"],
    };
    let (_server, at) = server(server_is, folder, 10, program);
    let key = HEXLOWER.encode(public().as_bytes());
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let mut command = match client {
            Whose::Ours => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
                command.args(["connect", "--anonymous", "--extension", EXTENSION]);
                command.arg(format!("curvecp://{key}@{at}/{NAME}"));
                match down {
                    true => command.stdin(Stdio::null()),
                    false => command.stdin(File::open(folder.join("big")).unwrap()),
                };
                command
            }
            Whose::Real => {
                let script = match down {
                    true => "exec 7>&-; exec cat <&6",
                    false => "cat big >&7; exec 7>&-; cat <&6",
                };
                let mut command = Command::new("curvecpclient");
                command.args([NAME, &key, "127.0.0.1", &at.port().to_string(), EXTENSION]);
                command.args(["curvecpmessage", "-c", "sh", "-c", script]);
                command
            }
        };
        let out = File::create(folder.join("out")).unwrap();
        let length = if down { BYTES as u64 } else { 5 };
        let since = Instant::now();
        let mut running = Running(command.current_dir(folder).stdout(out).spawn().unwrap());
        let took = loop {
            // Who ends some time after the last byte is not slower for it.
            if fs::metadata(folder.join("out")).unwrap().len() == length {
                break since.elapsed();
            }
            if since.elapsed() > LIMIT {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert!(running.0.wait().unwrap().success());
        rounds.push(BYTES as f64 / 1e6 / took.as_secs_f64());
    }
    Some(median(rounds))
}

/// A thousand clients that stay.
fn crowd(whose: Whose, folder: &Path) {
    let (server, at) = server(
        whose,
        folder,
        CLIENTS,
        &["sh", "-c", &format!("{GREET}; exec sleep 60")],
    );
    let (rest, before, since) = (memory(&server), processor(&server), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let raw = Raw::new(at, (number % 250) as u8 + 1);
            let (tunnel, _) = raw.enter();
            (raw, tunnel)
        })
        .collect();
    let (took, work) = (since.elapsed(), processor(&server) - before);
    println!(
        "{CLIENTS} clients, {}: {:.1} s, {:.2} s of a processor, {} kB before and {} kB with them",
        whose.name(),
        took.as_secs_f64(),
        work.as_secs_f64(),
        rest,
        memory(&server),
    );
    drop(clients);
}

fn main() {
    if !reference() {
        return;
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if files.current.is_some_and(|most| most < 4096) {
        panic!("needs 4096 descriptors: ulimit -n 4096");
    }
    let folder = tempfile::tempdir().unwrap();
    key_directory(&folder.path().join("key"));
    let mut bytes = vec![0; BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    fs::write(folder.path().join("big"), &bytes).unwrap();

    let parts: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |part: &str| parts.iter().any(|word| word == part);
    let all = !["setups", "streams", "crowd"].into_iter().any(wanted);
    if all || wanted("setups") {
        let [ours, real] = Whose::BOTH.map(|whose| setups(whose, folder.path()));
        println!(
            "set-ups per processor second: ours {ours:.0}, real {real:.0}, x{:.2}",
            ours / real
        );
    }
    for down in [true, false]
        .into_iter()
        .filter(|_| all || wanted("streams"))
    {
        for client in Whose::BOTH {
            for server in Whose::BOTH {
                let (way, c, s) = (
                    if down { "down" } else { "up" },
                    client.name(),
                    server.name(),
                );
                match stream(client, server, down, folder.path()) {
                    Some(rate) => println!("{way}: client {c}, server {s}: {rate:.2} MB/s"),
                    None => println!("{way}: client {c}, server {s}: not within {LIMIT:?}"),
                }
            }
        }
    }
    for whose in Whose::BOTH.into_iter().filter(|_| all || wanted("crowd")) {
        crowd(whose, folder.path());
    }
}
