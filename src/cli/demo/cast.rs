//! The processes of the demo, and the directory they play in.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{PATIENCE, Seen, seen};

/// A temporary directory, and who was let into it.
#[derive(Debug)]
pub(super) struct Stage {
    path: PathBuf,
    processes: Vec<Rc<Mutex<Child>>>,
}

impl Stage {
    pub(super) fn build() -> io::Result<Self> {
        let number = getrandom::u64().map_err(io::Error::other)?;
        let mut parent = std::env::temp_dir();
        // The path of a Unix socket has 107 bytes at most.
        if parent.as_os_str().len() > 50 {
            parent = PathBuf::from("/tmp");
        }
        let path = parent.join(format!("moonport-demo-{number:016x}"));
        DirBuilder::new().mode(0o700).create(&path)?;
        let processes = Vec::new();
        Ok(Self { path, processes })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Starts this program in a process of its own, with a state directory of its own.
    pub(super) fn enter(&mut self, who: &'static str, words: &[&str]) -> Result<Player, Seen> {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.log(who))
            .map_err(seen)?;
        let mut process = Command::new("/proc/self/exe")
            .arg0("moonport")
            .args(["--color=never", "--config=none"])
            .arg("--state-dir")
            .arg(self.path(who))
            .args(words)
            .current_dir(&self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // An interrupt at the terminal is for the demo, which then ends the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(seen)?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let process = Rc::new(Mutex::new(process));
        self.processes.push(Rc::clone(&process));
        let stdout = stdout.ok_or_else(|| format!("the {who} has no standard output"))?;
        Ok(Player {
            who,
            process,
            stdin,
            lines: BufReader::new(stdout).lines(),
        })
    }

    /// The last lines of what everybody had to say on standard error.
    pub(super) fn last_words(&self) -> Vec<String> {
        let mut all = Vec::new();
        for who in ["host", "client", "guest", "stranger"] {
            let text = fs::read_to_string(self.log(who)).unwrap_or_default();
            let lines: Vec<_> = text.lines().collect();
            let last = lines.iter().skip(lines.len().saturating_sub(LAST));
            all.extend(last.map(|line| format!("{who}: {line}")));
        }
        all
    }

    /// Ends whoever is still there, and removes the directory.
    pub(super) async fn strike(self) {
        for process in &self.processes {
            let mut process = process.lock().await;
            stop(&process);
            if timeout(GRACE, process.wait()).await.is_err() {
                // What it leaves behind ends by itself: its control socket is closed.
                let _ = process.kill().await;
            }
        }
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }

    fn log(&self, who: &str) -> PathBuf {
        self.path(&format!("{who}.log"))
    }
}

/// One process: a host or a client.
#[derive(Debug)]
pub(super) struct Player {
    who: &'static str,
    process: Rc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Player {
    /// Waits for a line with this text in it.
    pub(super) async fn hears(&mut self, text: &str) -> Result<String, Seen> {
        let mut other = String::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await.map_err(seen)? {
                if line.contains(text) {
                    return Ok(Some(line));
                }
                other = line;
            }
            Ok(None)
        };
        match timeout(PATIENCE, reading).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => {
                let code = self.ends().await?;
                Err(format!("the {} ended with exit code {code}", self.who))
            }
            Ok(Err(error)) => Err(error),
            Err(_) if other.is_empty() => Err(format!("the {} said nothing", self.who)),
            Err(_) => Err(format!("the {} said only {other:?}", self.who)),
        }
    }

    pub(super) async fn says(&mut self, line: &str) -> Result<(), Seen> {
        let stdin = self.stdin.as_mut().ok_or("nobody listens")?;
        stdin
            .write_all(format!("{line}\n").as_bytes())
            .await
            .map_err(seen)
    }

    /// Ends its standard input, and waits for it to end well.
    pub(super) async fn goes(&mut self) -> Result<(), Seen> {
        self.stdin = None;
        match self.ends().await? {
            0 => Ok(()),
            code => Err(format!("the {} ended with exit code {code}", self.who)),
        }
    }

    /// Tells it to end.
    pub(super) async fn stop(&self) {
        stop(&*self.process.lock().await);
    }

    /// Waits for it to end; returns its exit code.
    pub(super) async fn ends(&mut self) -> Result<i32, Seen> {
        let mut process = self.process.lock().await;
        let ended = timeout(PATIENCE, process.wait()).await;
        let status: ExitStatus = ended
            .map_err(|_| format!("the {} does not end", self.who))?
            .map_err(seen)?;
        status
            .code()
            .ok_or_else(|| format!("the {} was killed ({status})", self.who))
    }
}

/// Tells a process to end, unless it has.
fn stop(process: &Child) {
    // There is a number only until the end has been noticed, so it is nobody else's.
    let pid = process
        .id()
        .and_then(|pid| Pid::from_raw(pid.cast_signed()));
    if let Some(pid) = pid {
        let _ = kill_process(pid, Signal::TERM);
    }
}

/// How long a process has to end when it is told to.
const GRACE: Duration = Duration::from_secs(6);

/// How many lines of each log are shown on failure.
const LAST: usize = 5;
