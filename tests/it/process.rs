//! A process that is watched: its lines as they come, its end, and its death with its owner.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

/// The longest that anything in a test is waited for. It is only used up by what fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A running program. It is killed when this is dropped.
pub(crate) struct Process {
    what: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// How much of what was seen has been looked at by `expect` and `says`.
    read: usize,
}

/// What a program that has ended left.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code, or the signal's number and 128, as a shell has it.
    pub(crate) code: i32,
    /// It left a core file, or would have, had there been a place for one.
    pub(crate) dumped: bool,
    /// All it has said from first to last, errors too.
    pub(crate) lines: Vec<String>,
}

impl Ended {
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

impl Process {
    /// Starts a program, with a pipe as its input, and the lines of both outputs as they come.
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::spawn(command, Stdio::piped())
    }

    /// Starts a program whose standard error is a pipe that nobody holds the other end of.
    pub(crate) fn start_unheard(command: &mut Command) -> Self {
        let (_, errors) = std::io::pipe().unwrap();
        Self::spawn(command, errors.into())
    }

    fn spawn(command: &mut Command, errors: Stdio) -> Self {
        let what = format!("{command:?}");
        let piped = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = piped
            .spawn()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        let (say, lines) = mpsc::channel();
        read(child.stdout.take().unwrap(), say.clone());
        if let Some(errors) = child.stderr.take() {
            read(errors, say);
        }
        Self {
            what,
            input: child.stdin.take(),
            child,
            lines,
            seen: Vec::new(),
            read: 0,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types a line.
    pub(crate) fn say(&mut self, line: &str) {
        self.types(&format!("{line}\n"));
    }

    /// Types these keys.
    pub(crate) fn types(&mut self, keys: &str) {
        let input = self.input.as_mut().expect("input was closed");
        input.write_all(keys.as_bytes()).unwrap();
    }

    /// Types a line that is answered with a line that has it in it, unless this has ended.
    #[track_caller]
    pub(crate) fn answers(&mut self, line: &str) -> bool {
        let input = self.input.as_mut().expect("input was closed");
        input.write_all(format!("{line}\n").as_bytes()).is_ok() && self.says(line)
    }

    /// Ends its input.
    pub(crate) fn close_input(&mut self) {
        self.input = None;
    }

    /// Waits for a line with this text; what came before it is not looked at again.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        match self.find(text) {
            Ok(line) => line,
            Err(why) => self.fail(&format!("no line with {text:?}: {why}")),
        }
    }

    /// Waits for a line with this text, or for the end of its output; tells which it was.
    #[track_caller]
    pub(crate) fn says(&mut self, text: &str) -> bool {
        match self.find(text) {
            Ok(_) => true,
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => self.fail("it goes on"),
        }
    }

    fn find(&mut self, text: &str) -> Result<String, RecvTimeoutError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            while let Some(line) = self.seen.get(self.read) {
                self.read += 1;
                if line.contains(text) {
                    return Ok(line.clone());
                }
            }
            self.await_line(deadline)?;
        }
    }

    /// Waits until it says anything, or gives up at this moment or at the end of its output.
    pub(crate) fn await_line(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.seen.push(self.lines.recv_timeout(left)?);
        Ok(())
    }

    /// Asks it to end, and waits until it has.
    #[track_caller]
    pub(crate) fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // It has not been waited for, so its number is its own.
        kill_process(pid(self.pid()), signal).unwrap();
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ended {
        self.input = None;
        if !Watched::new(self.pid()).is_gone_within(PATIENCE) {
            self.fail("it does not end");
        }
        let status = self.child.wait().unwrap();
        let code = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        // A child that inherited the pipe may hold it open for a moment longer.
        let deadline = Instant::now() + PATIENCE;
        while self.await_line(deadline).is_ok() {}
        Ended {
            code,
            dumped: status.core_dumped(),
            lines: std::mem::take(&mut self.seen),
        }
    }

    /// The processes that it has started and that still run.
    pub(crate) fn children(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = std::fs::read_to_string(path).unwrap_or_default();
        children
            .split_whitespace()
            .map(|pid| pid.parse().unwrap())
            .collect()
    }

    #[track_caller]
    pub(crate) fn fail(&self, why: &str) -> ! {
        panic!(
            "{why}\n{}\n  said:\n    {}",
            self.what,
            self.seen.join("\n    ")
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Somebody's process, to see its end.
pub(crate) struct Watched(Option<std::os::fd::OwnedFd>);

impl Watched {
    pub(crate) fn new(process: u32) -> Self {
        Self(pidfd_open(pid(process), PidfdFlags::empty()).ok())
    }

    pub(crate) fn is_gone_within(&self, patience: Duration) -> bool {
        let Some(process) = &self.0 else {
            return true;
        };
        let mut ended = [PollFd::new(process, PollFlags::IN)];
        let patience = rustix::time::Timespec::try_from(patience).unwrap();
        poll(&mut ended, Some(&patience)).unwrap() > 0
    }
}

fn pid(process: u32) -> Pid {
    Pid::from_raw(process.try_into().unwrap()).unwrap()
}

fn read(from: impl Read + AsFd + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n') {
            let Ok(line) = line else { return };
            if to
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
}

#[test]
fn a_program_that_ends_leaves_its_code_and_its_lines() {
    let mut cat = Process::start(Command::new("sh").args(["-c", "cat; echo end >&2; exit 3"]));
    cat.say("one");
    assert_eq!(cat.expect("one"), "one");
    cat.say("two");
    cat.close_input();
    let ended = cat.wait();
    assert_eq!(ended.code, 3);
    // Each output keeps its order; between the two there is none.
    let lines = ended.lines.iter().map(String::as_str);
    let (errors, lines): (Vec<_>, Vec<_>) = lines.partition(|line| *line == "end");
    assert_eq!((errors, lines), (vec!["end"], vec!["one", "two"]));
}

#[test]
fn a_program_is_killed_with_its_owner() {
    let cat = Process::start(&mut Command::new("cat"));
    let watched = Watched::new(cat.pid());
    drop(cat);
    assert!(watched.is_gone_within(PATIENCE));
}
