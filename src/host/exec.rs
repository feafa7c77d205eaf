//! Programs that scripts start for their clients.
//!
//! A script may have started what `moonport run --allow-exec` names, and nothing else. The host starts
//! it, hands the other ends of its pipes to the client's frameserver, which passes the bytes, and ends
//! it with the client, however that ends. A program belongs to the client, not to the script's process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use data_encoding::HEXLOWER;
use keystore::Farewell;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::child::log_errors;
use super::launch::ROLE;
use super::roll::{Session, Stage};
use super::{Event, FrontId, Host, ScriptId};
use crate::ipc::frameserver::ToFrameserver;
use crate::ipc::{Exec, Exit, Scheme, SessionId};

/// Those that run, and those that are to.
#[derive(Debug, Default)]
pub(super) struct Programs {
    running: BTreeMap<SessionId, Running>,
    /// For clients that the script takes in the same breath.
    wanted: BTreeMap<SessionId, Exec>,
}

#[derive(Debug)]
struct Running {
    script: ScriptId,
    /// Ends it after so long; dropping it ends it at once.
    end: Option<oneshot::Sender<Duration>>,
}

impl Programs {
    /// Whether none is left.
    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Ends all of them now.
    pub(super) fn clear(&mut self) {
        self.running.clear();
    }

    /// The client is gone, and so is what talks with it: after a while in which it may read what has
    /// been said last, if the client went by itself.
    pub(super) fn client_gone(&mut self, id: SessionId, why: Farewell) {
        self.wanted.remove(&id);
        if let Some(running) = self.running.get_mut(&id)
            && let Some(end) = running.end.take()
        {
            let grace = match why {
                Farewell::Peer => LAST_WORDS,
                _ => Duration::ZERO,
            };
            // It may have ended by itself.
            let _ = end.send(grace);
        }
    }
}

impl Host {
    /// A script wants a program started.
    pub(super) fn exec(&mut self, script: ScriptId, wanted: Exec) {
        let id = wanted.session;
        let allowed = &self.options.permissions.programs;
        let program = wanted.argv.first().cloned().map(OsString::from_vec);
        if !program.is_some_and(|it| allowed.iter().any(|own| *own.as_os_str() == *it)) {
            return self.kill_script(script, "it wanted a program that is not allowed");
        }
        if wanted.argv.iter().any(|word| word.contains(&0)) {
            return self.kill_script(script, "it wanted a program with words that cannot be");
        }
        // The client may have left meanwhile; the script hears of that.
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        if session.script != script {
            return self.kill_script(script, "it wanted a program for what is not its client");
        }
        match session.stage {
            Stage::Undecided => drop(self.programs.wanted.insert(id, wanted)),
            Stage::Taken => self.start_program(wanted),
            Stage::Ending(_) => {}
        }
    }

    /// A script lets a client go: what talks with it ends at once, though the client may still be
    /// given what was written.
    pub(super) fn end_program(&mut self, script: ScriptId, id: SessionId) {
        match self.sessions.get(id) {
            Some(session) if session.script == script => {
                self.programs.client_gone(id, Farewell::Script);
            }
            Some(_) => self.kill_script(script, "it wanted a program ended that is not its own"),
            None => {}
        }
    }

    /// The script has decided on a client for which it may want a program: that is there before the
    /// first word of the client is.
    pub(super) fn exec_decided(&mut self, id: SessionId, accept: bool) {
        if let Some(wanted) = self.programs.wanted.remove(&id)
            && accept
        {
            self.start_program(wanted);
        }
    }

    fn start_program(&mut self, wanted: Exec) {
        let id = wanted.session;
        let Some(session) = self.sessions.get(id) else {
            return;
        };
        let (script, front) = (session.script, session.front);
        let script_name = self.script_name(script).to_owned();
        let Some(scheme) = self.fronts.get(&front).map(|front| front.scheme) else {
            return;
        };
        let running = &self.programs.running;
        let own = |running: &&Running| running.script == script;
        let started = if running.contains_key(&id) {
            Err("another program talks with this client".to_owned())
        } else if running.values().filter(own).count() >= MOST {
            Err("too many programs run for the script".to_owned())
        } else {
            Program::start(&wanted, environment(session, scheme)).map_err(|it| it.to_string())
        };
        let name = program_name(&wanted);
        let (program, pipes) = match started {
            Ok(started) => started,
            Err(why) => {
                tracing::error!(script = script_name, "{name} is not started: {why}");
                return self.tell_exit(front, id, Exit::NotStarted);
            }
        };
        let pid = program.group.0.as_raw_nonzero().get();
        tracing::info!(
            script = script_name,
            session = id.0,
            pid,
            "{name} is started"
        );
        if let Some(front) = self.fronts.get_mut(&front) {
            let framing = wanted.framing;
            let session = id;
            front.tell_with(ToFrameserver::Program { session, framing }, pipes);
        }
        let (end, told) = oneshot::channel();
        let end = Some(end);
        self.programs.running.insert(id, Running { script, end });
        tokio::task::spawn_local(program.watch(name, told, self.events.clone(), (front, id)));
    }

    fn program_ended(&mut self, front: FrontId, id: SessionId, exit: Exit) {
        tracing::info!(session = id.0, ?exit, "program ended");
        self.programs.running.remove(&id);
        self.tell_exit(front, id, exit);
    }

    /// By way of the frameserver, so that the script hears of the end after all that was said.
    fn tell_exit(&mut self, front: FrontId, session: SessionId, exit: Exit) {
        if let Some(front) = self.fronts.get_mut(&front) {
            front.tell(ToFrameserver::ProgramEnded { session, exit });
        }
    }
}

/// One that runs. Dropping it kills it.
#[derive(Debug)]
struct Program {
    /// The first to go.
    group: Group,
    process: Child,
    /// Some process of ours has ended.
    ends: tokio::signal::unix::Signal,
}

impl Program {
    /// Starts it, with the ends of its pipes that are for the frameserver: where it reads, and where
    /// it writes.
    fn start(
        wanted: &Exec,
        environment: Vec<(&'static str, String)>,
    ) -> io::Result<(Self, Vec<OwnedFd>)> {
        let (input, to) = pipe_with(PipeFlags::CLOEXEC)?;
        let (from, output) = pipe_with(PipeFlags::CLOEXEC)?;
        for end in [&to, &from] {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        let ends = signal(SignalKind::child())?;
        let process = Command::new("/proc/self/exe")
            .arg0(ROLE)
            .arg(std::process::id().to_string())
            .args(wanted.argv.iter().cloned().map(OsString::from_vec))
            .env_clear()
            .envs(environment)
            .current_dir("/")
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let leader = process.id().and_then(|id| id.try_into().ok());
        let leader = leader.and_then(Pid::from_raw);
        let group = Group(leader.ok_or_else(|| io::Error::other("it has no process"))?);
        let program = Self {
            group,
            process,
            ends,
        };
        Ok((program, vec![to, from]))
    }

    /// Logs what it says of itself, ends it when that is due, and tells the host of its end.
    async fn watch(
        mut self,
        name: String,
        told: oneshot::Receiver<Duration>,
        events: mpsc::Sender<Event>,
        (front, id): (FrontId, SessionId),
    ) {
        let pid = self.process.id().unwrap_or_default();
        let errors = self.process.stderr.take();
        let log = errors.map(|errors| tokio::task::spawn_local(log_errors(errors, name, pid)));
        let exit = self.run(told).await;
        let ended = Box::new(move |host: &mut Host| host.program_ended(front, id, exit));
        // The host is gone if nobody hears this.
        drop(events.send(Event::Then(ended)).await);
        if let Some(mut log) = log
            && timeout(LAST_WORDS, &mut log).await.is_err()
        {
            // Something else still has it.
            log.abort();
        }
    }

    async fn run(mut self, told: oneshot::Receiver<Duration>) -> Exit {
        tokio::select! {
            () = self.has_ended() => {}
            grace = told => {
                let grace = grace.unwrap_or_default();
                if timeout(grace, self.has_ended()).await.is_err() {
                    self.group.signal(Signal::TERM);
                    // One that is deaf to that is killed below.
                    let _ = timeout(DEAF, self.has_ended()).await;
                }
            }
        }
        // So is what it has left behind, while its number is still its own.
        drop(self.group);
        match self.process.wait().await {
            Ok(status) => exit_of(status),
            Err(_) => Exit::Signal(0),
        }
    }

    /// Waits until it has ended, and leaves its number taken. Cancel-safe.
    async fn has_ended(&mut self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        while let Ok(None) = waitid(WaitId::Pid(self.group.0), options) {
            self.ends.recv().await;
        }
    }
}

/// A program and what it has started, by the number of the first; that is not waited for yet.
/// Dropping it kills all of them.
#[derive(Debug)]
struct Group(Pid);

impl Group {
    fn signal(&self, signal: Signal) {
        // At its very beginning there is only itself; at its end there may be nobody.
        if kill_process_group(self.0, signal).is_err() {
            let _ = kill_process(self.0, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// All of the environment that a program has.
fn environment(session: &Session, scheme: Scheme) -> Vec<(&'static str, String)> {
    let mut variables = vec![
        ("PATH", PATH.to_owned()),
        ("MOONPORT_NAME", session.name.to_string()),
        ("MOONPORT_PROTOCOL", scheme.name().to_owned()),
        ("MOONPORT_ADDRESS", session.from.to_string()),
    ];
    if let Some(key) = session.key {
        variables.push(("MOONPORT_KEY", key.to_string()));
        if scheme == Scheme::CurveCp {
            // As some servers of CurveCP tell them.
            variables.push(("REMOTEPK", HEXLOWER.encode(key.as_bytes())));
            let ip = session.from.ip().to_canonical();
            variables.push(("TCPREMOTEIP", ip.to_string()));
        }
    }
    variables
}

fn program_name(wanted: &Exec) -> String {
    let name = wanted.argv.first().map(Vec::as_slice).unwrap_or_default();
    super::fronts::words(&String::from_utf8_lossy(name))
}

fn exit_of(status: ExitStatus) -> Exit {
    let byte = |number: i32| u8::try_from(number).unwrap_or(u8::MAX);
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(byte(code)),
        (None, signal) => Exit::Signal(byte(signal.unwrap_or_default())),
    }
}

/// Where programs find others.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// As many run for one script at most, with those that are being ended.
const MOST: usize = crate::ipc::MOST_PROGRAMS + 64;

/// How long a program has for what its client has said last.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long it may take to end when it is asked to.
const DEAF: Duration = Duration::from_secs(2);
