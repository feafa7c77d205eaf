//! CurveCP beside the reference programs, measured: `cargo bench --bench curvecp`. What its figures
//! mean, and some of them, stand in `docs/protocol/curvecp-tools.md`.
//!
//! Set-ups per second of a processor in the server; streams in both directions between every pair of
//! ours and the reference's programs, and between ends that are ours alone; a thousand clients at once.
//! Whatever is compared is measured in turns. A word behind `--` names one part: `setups`, `streams` or
//! `crowd`.

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
use data_encoding::{BASE64, HEXLOWER};

const SETUPS: u8 = 250;
const BYTES: usize = 20_000_000;
const ROUNDS: usize = 3;
/// A stream that has not come through by then is given up.
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

/// Set-ups for each second of a processor in the server: ours, and the reference's.
fn setups(folder: &Path) -> [f64; 2] {
    let servers = Whose::BOTH.map(|whose| server(whose, folder, 1000, &["sh", "-c", GREET]));
    let mut rates = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((server, at), rates) in servers.iter().zip(&mut rates) {
            let before = processor(server);
            for own in 1..=SETUPS {
                Raw::new(*at, own).enter();
            }
            rates.push(f64::from(SETUPS) / (processor(server) - before).as_secs_f64());
        }
    }
    rates.map(median)
}

/// What stands at the ends of a stream.
#[derive(Clone, Copy)]
enum Ends {
    /// `curvecpclient` and `curvecpserver`, both with the reference's `curvecpmessage`.
    Programs { client: Whose, server: Whose },
    /// `moonport connect` and a `curvecpserver` with `curvecpmessage`.
    Connect { server: Whose },
    /// The reference's client and `curvecpmessage`, and a listener.
    Listener,
    /// `moonport connect` and a listener: no `curvecpmessage`.
    Own,
}

impl Ends {
    const REFERENCE: Self = Self::Programs {
        client: Whose::Real,
        server: Whose::Real,
    };

    const ALL: [Self; 8] = [
        Self::REFERENCE,
        Self::Programs {
            client: Whose::Real,
            server: Whose::Ours,
        },
        Self::Programs {
            client: Whose::Ours,
            server: Whose::Real,
        },
        Self::Programs {
            client: Whose::Ours,
            server: Whose::Ours,
        },
        Self::Connect {
            server: Whose::Real,
        },
        Self::Connect {
            server: Whose::Ours,
        },
        Self::Listener,
        Self::Own,
    ];

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Programs { client, server } => (client.name(), server.name()),
            Self::Connect { server } => ("connect", server.name()),
            Self::Listener => (Whose::Real.name(), "listener"),
            Self::Own => ("connect", "listener"),
        }
    }
}

/// Sends [`BYTES`] to who comes, or takes what comes and says so.
const LISTENERS: &str = r#"
local function listen(name, port, client)
    moonport.listen({
        name = name, interface = "curvecp://127.0.0.1", port = port, options = { anonymous = true },
    }, function(listener, status)
        if status.kind == "segment_request" then accept_target(client()) end
    end)
end

listen("down", DOWN, function()
    local left, piece = BYTES, ("x"):rep(60000)
    return function(source, status)
        if left and (status.kind == "eof" or status.kind == "drain") then
            while left > 0 do
                local taken = moonport.write(source, piece:sub(1, left))
                if not taken then return end
                left = left - taken
            end
            moonport.finish(source)
            left = nil
        end
    end
end)

listen("up", UP, function()
    return function(source, status)
        if status.kind == "eof" then
            moonport.write(source, "done\n")
            moonport.finish(source)
        end
    end
end)
"#;

/// A host with [`LISTENERS`]; its key, and where they are.
fn host(folder: &Path) -> (Running, String, [SocketAddr; 2]) {
    let at = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let at = at.map(|socket| socket.local_addr().unwrap());
    let script = [
        ("DOWN", at[0].port().to_string()),
        ("UP", at[1].port().to_string()),
    ]
    .into_iter()
    .chain([("BYTES", BYTES.to_string())])
    .fold(LISTENERS.to_owned(), |script, (word, value)| {
        script.replace(word, &value)
    });
    fs::write(folder.join("listeners.lua"), script).unwrap();
    let moonport = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
        command.current_dir(folder).env("XDG_CONFIG_HOME", folder);
        command.args(words).args(["--state-dir", "host"]);
        command
    };
    let run = moonport(&["run", "--log", "error", "listeners.lua"]).spawn();
    let host = Running(run.unwrap());
    while at.iter().any(|at| UdpSocket::bind(at).is_ok()) {
        thread::sleep(Duration::from_millis(20));
    }
    let shown = moonport(&["key", "host", "--json"]).output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
    let key = BASE64.decode(shown["key"].as_str().unwrap().as_bytes());
    (host, HEXLOWER.encode(&key.unwrap()), at)
}

/// Who serves one way of a stream: `curvecpserver`s of both kinds, and a listener.
struct Servers {
    programs: [(Running, SocketAddr); 2],
    listener: (String, SocketAddr),
}

/// Seconds for one stream; `None`: it took too long.
fn stream(ends: Ends, down: bool, servers: &Servers, folder: &Path) -> Option<f64> {
    let at = |whose: Whose| servers.programs[usize::from(matches!(whose, Whose::Real))].1;
    let key = HEXLOWER.encode(public().as_bytes());
    let name = if down { "down" } else { "up" };
    let connect = |key: &str, at: SocketAddr, name: &str, extension: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
        command.args(["connect", "--anonymous", "--extension", extension]);
        command.arg(format!("curvecp://{key}@{at}/{name}"));
        match down {
            true => command.stdin(Stdio::null()),
            false => command.stdin(File::open(folder.join("big")).unwrap()),
        };
        command
    };
    let programs = |client: Whose, key: &str, at: SocketAddr, name: &str, extension: &str| {
        let script = match down {
            true => "exec 7>&-; exec cat <&6",
            false => "cat big >&7; exec 7>&-; cat <&6",
        };
        let mut command = match client {
            Whose::Ours => Command::new(env!("CARGO_BIN_EXE_moonport")),
            Whose::Real => Command::new("curvecpclient"),
        };
        if let Whose::Ours = client {
            command.arg("curvecpclient");
        }
        command.args([name, key, "127.0.0.1", &at.port().to_string(), extension]);
        command.args(["curvecpmessage", "-c", "sh", "-c", script]);
        command
    };
    let (own, listener) = &servers.listener;
    let zeros = "0".repeat(32);
    let mut command = match ends {
        Ends::Programs { client, server } => programs(client, &key, at(server), NAME, EXTENSION),
        Ends::Connect { server } => connect(&key, at(server), NAME, EXTENSION),
        Ends::Listener => programs(Whose::Real, own, *listener, name, &zeros),
        Ends::Own => connect(own, *listener, name, &zeros),
    };
    let out = File::create(folder.join("out")).unwrap();
    let length = if down { BYTES as u64 } else { 5 };
    let since = Instant::now();
    let mut running = Running(command.current_dir(folder).stdout(out).spawn().unwrap());
    let mut took = None;
    while since.elapsed() < LIMIT {
        // Who ends some time after the last byte is not slower for it.
        if took.is_none() && fs::metadata(folder.join("out")).unwrap().len() == length {
            took = Some(since.elapsed().as_secs_f64());
        }
        if running.0.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(2));
    }
    took
}

fn streams(folder: &Path) {
    let (_host, key, at) = host(folder);
    for down in [true, false] {
        let program: &[&str] = match down {
            true => &["curvecpmessage", "cat", "big"],
            false => &["curvecpmessage", "sh", "-c", "cat >/dev/null; echo done"],
        };
        let servers = Servers {
            programs: Whose::BOTH.map(|whose| server(whose, folder, 10, program)),
            listener: (key.clone(), at[usize::from(!down)]),
        };
        let mut times = Ends::ALL.map(|_| Vec::new());
        for _ in 0..ROUNDS {
            for (ends, times) in Ends::ALL.into_iter().zip(&mut times) {
                times.push(stream(ends, down, &servers, folder).unwrap_or(f64::INFINITY));
            }
        }
        let reference = median(times[0].clone());
        for (ends, times) in Ends::ALL.into_iter().zip(times) {
            let (client, server) = ends.names();
            let all: Vec<_> = times.iter().map(|time| format!("{time:.1}")).collect();
            println!(
                "{}: client {client}, server {server}: {} s, x{:.2}",
                if down { "down" } else { "up" },
                all.join(" "),
                reference / median(times),
            );
        }
    }
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
        let [ours, real] = setups(folder.path());
        println!(
            "set-ups per processor second: ours {ours:.0}, real {real:.0}, x{:.2}",
            ours / real
        );
    }
    if all || wanted("streams") {
        streams(folder.path());
    }
    for whose in Whose::BOTH.into_iter().filter(|_| all || wanted("crowd")) {
        crowd(whose, folder.path());
    }
}
