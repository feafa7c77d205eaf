//! How long a session outlives the word that ends it.
//!
//! A real host with a thousand sessions, each of a key of its own. One key after the other is revoked
//! or disabled over the control socket, and measured is the time from before the request is sent
//! until the client sees the end of its stream, and until the admin is told.
//!
//! ```sh
//! cargo bench --bench revoke
//! ```

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect fails on the spot"
)]

use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::PublicKey;
use keystore::{Actor, Change, Directory, Keystore, Now, Scope, Sled};
use moonport::host::Clock;
use moonport::ipc::admin::{FromHost, ToHost};
use moonport::ipc::{AsyncSocket, Received, Socket};
use moonport::wire::a12::event::{External, SegmentKind, Target};
use moonport::wire::a12::keyroom::{self, Claim};
use moonport::wire::a12::{
    Answer, Ask, Command as Say, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Input, Output, Protocol};
use rand_core::{TryCryptoRng, TryRng};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

/// How many sessions there are.
const SESSIONS: usize = 1000;

/// How many of them are made at once; each waits for the script's word meanwhile.
const AT_ONCE: usize = 16;

/// What it should be at most.
const GOAL: Duration = Duration::from_millis(50);

const SCRIPT: &str = r#"
function revoke(words)
    net_listen("bench", "127.0.0.1", tonumber(words[1]), function(_, status)
        if status.kind == "registered" then
            print("listening")
        elseif status.kind == "segment_request" then
            accept_target(function() end)
        end
    end)
end
"#;

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    accept_all(&state);
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let at = port.local_addr().unwrap();
    drop(port);
    // A thousand connections need more descriptors than most shells allow; the host inherits it.
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let script = folder.path().join("revoke.lua");
    std::fs::write(&script, SCRIPT).unwrap();
    let host = Host::start(&state, &script, at);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, measure(at, &state));
    drop(host);
}

/// Makes every client's key known before the host starts.
fn accept_all(state: &Path) {
    let directory = Directory::open(state).unwrap();
    let now: Now = Clock::new().now();
    let mut store = Sled::open(&directory, now).unwrap();
    let accept = |number| Change::Accept {
        key: public(number),
        scope: Scope::Any,
        label: None,
        imported: false,
    };
    let all: Vec<_> = (0..SESSIONS).map(accept).collect();
    store.apply(now, &Actor::Host, &all).unwrap();
}

async fn measure(at: SocketAddr, state: &Path) {
    let began = Instant::now();
    let (inside, mut entered) = mpsc::unbounded_channel();
    let (gone, mut ended) = mpsc::unbounded_channel();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    for number in 0..SESSIONS {
        let (inside, gone, turns) = (inside.clone(), gone.clone(), Arc::clone(&turns));
        tokio::task::spawn_local(async move {
            let turn = turns.acquire().await.unwrap();
            let mut stream = enter(at, number).await;
            drop(turn);
            inside.send(number).unwrap();
            let mut bytes = [0; 4096];
            while matches!(stream.read(&mut bytes).await, Ok(1..)) {}
            gone.send((number, Instant::now())).unwrap();
        });
    }
    for _ in 0..SESSIONS {
        entered.recv().await.unwrap();
    }
    println!("{SESSIONS} sessions are up after {:.1?}", began.elapsed());

    let admin = Socket::<ToHost, FromHost>::connect(&moonport::host::control::socket_path(state));
    let admin = AsyncSocket::new(admin.unwrap()).unwrap();
    let mut revoked = Times::default();
    let mut disabled = Times::default();
    for number in 0..SESSIONS {
        let key = public(number);
        let (change, times) = match number % 2 {
            0 => (Change::Revoke { key }, &mut revoked),
            _ => (Change::Disable { key }, &mut disabled),
        };
        let request = ToHost::Apply {
            changes: vec![change],
            rehearse: false,
        };
        let asked = Instant::now();
        admin.send(&request, &[]).await.unwrap();
        let (end, told) = tokio::join!(ended.recv(), acknowledged(&admin));
        let (who, end) = end.unwrap();
        assert_eq!(who, number, "another session has ended");
        assert_eq!(told, 1, "sessions that ended by it");
        times.end.push(end.duration_since(asked));
        times.told.push(asked.elapsed());
    }
    revoked.print("revoked");
    disabled.print("disabled");
}

/// Waits until the host has acknowledged; gives the sessions that ended by it.
async fn acknowledged(admin: &AsyncSocket<ToHost, FromHost>) -> usize {
    let mut ended = 0;
    loop {
        match admin.recv().await.unwrap() {
            Received::Message(FromHost::Applied(part), _) if part.is_empty() => return ended,
            Received::Message(FromHost::Applied(part), _) => ended += part.len(),
            _ => panic!("not acknowledged"),
        }
    }
}

/// Connects, proves a key, and waits until the script has taken it.
async fn enter(at: SocketAddr, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let own = secret(number);
    let config = InitiatorConfig {
        role: Role::Source,
        initial: StageKeys::public(),
        public: public(number),
        rounds: Rounds::One,
        handshake: Duration::from_secs(60),
    };
    let mut machine = Initiator::new(config, Instant::now(), Numbers::of(number));
    let mut out = Vec::new();
    let mut bytes = vec![0; 4096];
    loop {
        let input = match machine.poll(&mut out) {
            Output::Transmit => continue,
            Output::Ask(Ask::Server(hello)) => {
                let claim = Claim::parse(&hello).unwrap();
                Input::Answer(Answer::Session(claim.session(&own)))
            }
            Output::Ask(Ask::Ratchet(rekey)) => {
                Input::Answer(Answer::Ratchet(keyroom::ratchet(&own, &rekey).unwrap()))
            }
            Output::Ask(_) => panic!("a client was asked what a host is asked"),
            Output::Event(Event::Established { .. }) => Input::Command(Say::External {
                channel: 0,
                event: External::Register {
                    title: "bench".into(),
                    kind: SegmentKind::APPLICATION,
                    guid: [0; 2],
                },
            }),
            Output::Event(Event::Target {
                event: Target::Activate,
                ..
            }) => return stream,
            Output::Event(_) => continue,
            Output::Idle(_) => {
                stream.write_all(&out).await.unwrap();
                out.clear();
                let room = machine.room().min(bytes.len());
                let read = stream.read(&mut bytes[..room]).await.unwrap();
                assert_ne!(read, 0, "client {number} was refused");
                Input::Bytes(&bytes[..read])
            }
        };
        machine.handle(Instant::now(), input).unwrap();
    }
}

fn secret(number: usize) -> SecretKey {
    let name = format!("client {number}");
    SecretKey::from_bytes(*blake3::hash(name.as_bytes()).as_bytes())
}

fn public(number: usize) -> PublicKey {
    secret(number).public().unwrap()
}

/// From a change to its effects.
#[derive(Default)]
struct Times {
    /// The client sees the end of its stream.
    end: Vec<Duration>,
    /// The admin is told.
    told: Vec<Duration>,
}

impl Times {
    fn print(mut self, what: &str) {
        for (until, times) in [("end of stream", &mut self.end), ("answer", &mut self.told)] {
            times.sort();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            let (middle, most, all) = (at(50), at(99), at(100));
            let goal = if most <= GOAL { "within" } else { "OVER" };
            println!(
                "{what:<9} {until:<14} p50 {middle:>8.2?}  p99 {most:>8.2?}  max {all:>8.2?}  \
                 (p99 {goal} the goal of {GOAL:?})"
            );
        }
    }
}

/// The host's process; it ends with this.
struct Host(Child);

impl Host {
    fn start(state: &Path, script: &Path, at: SocketAddr) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_moonport"))
            .args(["--log=warn", "--state-dir"])
            .arg(state)
            .arg("run")
            .arg(script)
            .args(["--", &at.port().to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let host = Self(child);
        let mut lines = said.lines().map(Result::unwrap);
        assert!(
            lines.any(|line| line.contains("listening")),
            "the host ended"
        );
        host
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The same for each client in each run.
struct Numbers(blake3::OutputReader);

impl Numbers {
    fn of(number: usize) -> Self {
        let mut seed = blake3::Hasher::new();
        seed.update(b"numbers of a client");
        seed.update(&number.to_le_bytes());
        Self(seed.finalize_xof())
    }
}

impl TryRng for Numbers {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(bytes);
        Ok(())
    }
}

impl TryCryptoRng for Numbers {}
