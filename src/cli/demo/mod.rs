//! `moonport demo`: a real host and real clients, in a temporary directory, in a few seconds.

mod cast;

use std::fmt::Display;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use identity::{Name, PublicKey, Secret};
use keystore::{Change, Scope, WindowEnd};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::pipe::PipeFlags;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

use super::admin::Admin;
use super::exit::{Exit, Failure, OrExit};
use super::output::{Output, printable, tell};
use super::{connect, secret, window};
use cast::{Player, Stage};

/// Why a step failed: what was seen.
type Seen = String;

/// Plays the whole of it, and leaves nothing behind.
pub(super) async fn run(out: &Output) -> Result<Exit, Failure> {
    let began = Instant::now();
    out.line("Everything happens on this machine, in a temporary directory.")?;
    let mut terminate = signal(SignalKind::terminate()).or_exit(Exit::Failed)?;
    let mut hangup = signal(SignalKind::hangup()).or_exit(Exit::Failed)?;
    let stage = Stage::build().or_exit_with(Exit::Failed, || {
        format!(
            "cannot make a directory in {}",
            std::env::temp_dir().display()
        )
    })?;
    let mut show = Show {
        out,
        stage,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        step: "",
    };
    let played = tokio::select! {
        biased;
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
        _ = terminate.recv() => Ok(Exit::Interrupted),
        _ = hangup.recv() => Ok(Exit::Interrupted),
        played = show.play() => played.map(|()| Exit::Done),
    };
    let Show { stage, step, .. } = show;
    let result = match played {
        Ok(Exit::Done) => {
            let seconds = began.elapsed().as_secs_f32();
            out.line(format_args!(
                "Done in {seconds:.1} s; nothing is left behind."
            ))
            .map(|()| Exit::Done)
        }
        Ok(exit) => Ok(exit),
        Err(seen) => {
            let mark = if out.color {
                "\u{1b}[31m✗\u{1b}[0m"
            } else {
                "FAILED"
            };
            // If nobody reads what is seen, that is why the play was broken off.
            out.line(format_args!("{mark} {step}")).and_then(|()| {
                for line in stage.last_words() {
                    tell(format_args!("    {}", printable(&line)));
                }
                Err(Failure::because(
                    Exit::Failed,
                    format_args!("the demo failed where {step:?} was to be seen: {seen}"),
                ))
            })
        }
    };
    stage.strike().await;
    result
}

struct Show<'a> {
    out: &'a Output,
    stage: Stage,
    /// Where the host listens.
    address: SocketAddr,
    /// What is to be seen next.
    step: &'static str,
}

impl Show<'_> {
    async fn play(&mut self) -> Result<(), Seen> {
        self.step = "a host runs hello.lua and listens";
        self.address.set_port(free_port()?);
        let mut host = self.host()?;
        host.hears("listening").await?;
        let state = self.stage.path("host");
        let status = admin(&state)?.status().await.map_err(seen)?;
        let listener = status.listeners.first().ok_or("the host has no listener")?;
        if !(listener.ready && listener.addresses.contains(&self.address)) {
            return Err(format!("the listener is at {:?}", listener.addresses));
        }
        self.done(format_args!("{} (process {})", self.address, status.pid))?;

        self.step = "a window is opened: one new key, for one minute, by a secret that was made up";
        let secret = secret::generate().map_err(seen)?;
        let name = Name::parse("hello").map_err(seen)?;
        let minute = Duration::from_secs(60);
        let window = admin(&state)?
            .open_window(window::wanted(name, secret.clone(), false, 1, minute).map_err(seen)?)
            .await
            .map_err(seen)?;
        self.done(format_args!("window {}", window.id))?;

        self.step = "a new client knows the secret, proves its key, and is let in";
        let key = admin(&state)?.host_key().await.map_err(seen)?;
        let mut client = self.newcomer(&key, &secret)?;
        let greeting = client.hears("hello, ").await?;
        self.done(format_args!("it is told {greeting:?}"))?;

        self.step = "what it says is answered";
        client.says("is there anybody?").await?;
        let answer = client.hears("you said: ").await?;
        self.done(format_args!("{answer:?}"))?;

        self.step = "its key is known from now on, and the window is spent";
        client.goes().await?;
        let keys = admin(&state)?.keys().await.map_err(seen)?;
        let windows = admin(&state)?.windows().await.map_err(seen)?;
        let spent = windows
            .iter()
            .any(|it| it.id == window.id && matches!(it.ended, Some((WindowEnd::Spent, _))));
        let [entry] = keys.as_slice() else {
            return Err(format!("{} keys are accepted", keys.len()));
        };
        if !spent {
            return Err("the window is still open".into());
        }
        self.done(entry.key)?;

        self.step = "the same key comes back without the secret";
        let mut client = self.connect("client", &["@demo"])?;
        let greeting = client.hears("hello, ").await?;
        self.done(format_args!("it is told {greeting:?}"))?;

        self.step = "a guest's key is accepted by hand; revoked, it is out at once";
        let guest_key = connect::own_key(&self.stage.path("guest"), None).map_err(seen)?;
        let accept = Change::Accept {
            key: guest_key,
            scope: Scope::Name(Name::parse("hello").map_err(seen)?),
            label: Some("guest".into()),
            imported: false,
        };
        let mut control = admin(&state)?;
        control.apply(vec![accept], false).await.map_err(seen)?;
        let mut guest = self.visitor("guest", &key)?;
        guest.hears("hello, ").await?;
        let revoke = Change::Revoke { key: guest_key };
        let ended = control.apply(vec![revoke], false).await.map_err(seen)?;
        let [session] = ended.as_slice() else {
            return Err(format!("{} sessions have ended by it", ended.len()));
        };
        guest.ends().await?;
        self.done(format_args!(
            "session {} from {} has ended",
            session.session, session.from
        ))?;

        self.step = "the guest comes back, and is refused";
        let mut guest = self.visitor("guest", &key)?;
        refused(&mut guest).await?;
        self.done("exit code 4")?;

        self.step = "a stranger is refused, and not told why";
        let mut stranger = self.visitor("stranger", &key)?;
        refused(&mut stranger).await?;
        self.done("exit code 4")?;

        self.step = "the script deletes its listener: nobody else can come";
        client.says("close the door").await?;
        client.hears("the door is closed").await?;
        self.gone().await?;
        self.done(format_args!("{} is closed", self.address))?;

        self.step = "the client that is inside stays, and is answered";
        let sessions = admin(&state)?.status().await.map_err(seen)?.sessions;
        if sessions != 1 {
            return Err(format!("{sessions} sessions are left"));
        }
        client.says("still here").await?;
        let answer = client.hears("you said: ").await?;
        self.done(format_args!("{answer:?}"))?;

        self.step = "all of them end when they are told to";
        client.goes().await?;
        host.stop().await;
        match host.ends().await? {
            0 => self.done("exit code 0"),
            code => Err(format!("the host ended with exit code {code}")),
        }
    }

    fn done(&self, seen_there: impl Display) -> Result<(), Seen> {
        let (mark, dim, plain) = match self.out.color {
            true => ("\u{1b}[32m✓\u{1b}[0m", "\u{1b}[2m", "\u{1b}[0m"),
            false => ("ok", "", ""),
        };
        let seen_there = printable(&seen_there.to_string());
        self.out
            .line(format_args!(
                "{mark} {} {dim}– {seen_there}{plain}",
                self.step
            ))
            .map_err(seen)
    }

    fn host(&mut self) -> Result<Player, Seen> {
        let scripts = self.stage.path("scripts");
        let script = scripts.join("hello.lua");
        std::fs::create_dir(&scripts)
            .and_then(|()| std::fs::write(&script, HELLO))
            .map_err(seen)?;
        let port = self.address.port().to_string();
        let script = script.to_string_lossy();
        self.stage
            .enter("host", &["--log=info", "run", &script, "--", &port])
    }

    /// A client of which the host knows nothing. The secret is handed over in a pipe.
    fn newcomer(&mut self, key: &PublicKey, secret: &Secret) -> Result<Player, Seen> {
        let pipe = filled(secret).map_err(seen)?;
        let number = std::os::fd::AsRawFd::as_raw_fd(&pipe).to_string();
        let (address, key) = (self.address.to_string(), key.to_string());
        self.connect(
            "client",
            &[
                &address,
                "--server-key",
                &key,
                "--tag=demo",
                "--secret-fd",
                &number,
            ],
        )
    }

    /// A client with a key of its own, and without a secret.
    fn visitor(&mut self, who: &'static str, key: &PublicKey) -> Result<Player, Seen> {
        let (address, key) = (self.address.to_string(), key.to_string());
        self.connect(who, &[&address, "--server-key", &key])
    }

    fn connect(&mut self, who: &'static str, words: &[&str]) -> Result<Player, Seen> {
        let mut all = vec!["connect", "--name=demo"];
        all.extend(words);
        self.stage.enter(who, &all)
    }

    /// Waits until nobody listens any more. The host tells no one when a listener goes, so this
    /// looks again and again.
    async fn gone(&self) -> Result<(), Seen> {
        let closed = async {
            while TcpStream::connect(self.address).await.is_ok() {
                sleep(LOOK_AGAIN).await;
            }
        };
        timeout(PATIENCE, closed)
            .await
            .map_err(|_| format!("{} is still open", self.address))
    }
}

/// Waits until somebody has been refused.
async fn refused(player: &mut Player) -> Result<(), Seen> {
    match player.ends().await? {
        code if code == i32::from(Exit::Refused.code()) => Ok(()),
        code => Err(format!("it ended with exit code {code}")),
    }
}

/// The host's control socket.
fn admin(state: &Path) -> Result<Admin, Seen> {
    Admin::host(state)
        .map_err(seen)?
        .ok_or_else(|| "the host has no control socket".into())
}

fn seen(error: impl Display) -> Seen {
    error.to_string()
}

/// A port that nobody uses at the moment.
fn free_port() -> Result<u16, Seen> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(seen)?;
    Ok(listener.local_addr().map_err(seen)?.port())
}

/// The reading end of a pipe that holds a secret, to be inherited.
fn filled(secret: &Secret) -> io::Result<OwnedFd> {
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::empty())?;
    fcntl_setfd(&writer, FdFlags::CLOEXEC)?;
    // So few bytes always fit into an empty pipe.
    rustix::io::write(&writer, secret.reveal())?;
    Ok(reader)
}

const HELLO: &str = include_str!("../../../examples/hello.lua");

/// How long anything may take to be seen.
const PATIENCE: Duration = Duration::from_secs(15);

const LOOK_AGAIN: Duration = Duration::from_millis(20);
