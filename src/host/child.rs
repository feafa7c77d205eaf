//! The processes that the host starts: this same binary in another role, with a control socket as
//! standard input and nothing else: no arguments, no environment, no descriptor of ours.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::rc::Rc;
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};

use crate::ipc::{AsyncSocket, Received, SendError, Socket};

/// A running child that is told things.
#[derive(Debug)]
pub(super) struct Child<Out> {
    pid: u32,
    messages: mpsc::Sender<(Out, Vec<OwnedFd>)>,
    /// Dropping it kills.
    kill: Option<oneshot::Sender<()>>,
}

/// What a child has done.
#[derive(Debug)]
pub(super) enum Did<In> {
    /// It says something.
    Said(In),
    /// It broke the rules of its control socket, and has been killed.
    Garbage,
    /// It has ended; nothing follows.
    Exited(Option<ExitStatus>),
}

impl<Out: Serialize + 'static> Child<Out> {
    /// Starts this binary under another name. What it does is handed to `report`, which is waited
    /// for: a host that is busy makes its children wait.
    pub(super) fn spawn<In, F>(
        role: &str,
        report: impl Fn(Did<In>) -> F + 'static,
    ) -> io::Result<Self>
    where
        In: DeserializeOwned + 'static,
        F: Future<Output = ()>,
    {
        let (ours, theirs) = Socket::<Out, In>::pair()?;
        let mut process = Command::new("/proc/self/exe")
            .arg0(role)
            .env_clear()
            // What is typed at a terminal is for the host, which tells its children.
            .process_group(0)
            .stdin(Stdio::from(theirs.into_fd()))
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pid = process.id().unwrap_or_default();
        if let Some(errors) = process.stderr.take() {
            tokio::task::spawn_local(log_errors(errors, role.to_owned(), pid));
        }
        let socket = Rc::new(AsyncSocket::new(ours)?);
        let (messages, mut queue) = mpsc::channel::<(Out, Vec<OwnedFd>)>(QUEUE);
        let (kill, killed) = oneshot::channel();

        let sending = Rc::clone(&socket);
        let (failed, failure) = oneshot::channel();
        let sender = tokio::task::spawn_local(async move {
            while let Some((message, descriptors)) = queue.recv().await {
                let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
                match sending.send(&message, &descriptors).await {
                    Ok(()) => {}
                    // Its end is reported by whoever reads.
                    Err(SendError::Closed) => return,
                    Err(error) => return drop(failed.send(error)),
                }
            }
        });
        tokio::task::spawn_local(async move {
            let reading = async {
                loop {
                    match socket.recv().await {
                        Ok(Received::Message(message, _)) => report(Did::Said(message)).await,
                        Ok(Received::Closed) => break false,
                        Err(_) => break true,
                    }
                }
            };
            let garbage = tokio::select! {
                garbage = reading => garbage,
                _ = killed => {
                    drop(process.start_kill());
                    false
                }
                // A child that has missed a message must not go on as if it had not.
                Ok(error) = failure => {
                    tracing::error!(pid, "a child cannot be told something: {error}");
                    drop(process.start_kill());
                    false
                }
            };
            if garbage {
                drop(process.start_kill());
                report(Did::Garbage).await;
            }
            // A child that has closed its control socket has nothing left to do here.
            let status = match tokio::time::timeout(GRACE, process.wait()).await {
                Ok(status) => status.ok(),
                Err(_) => {
                    drop(process.start_kill());
                    process.wait().await.ok()
                }
            };
            sender.abort();
            report(Did::Exited(status)).await;
        });
        Ok(Self {
            pid,
            messages,
            kill: Some(kill),
        })
    }

    /// One that a test plays: what it is told, and its death.
    #[cfg(test)]
    #[expect(clippy::type_complexity, reason = "what a child has, and nothing else")]
    pub(super) fn played() -> (
        Self,
        mpsc::Receiver<(Out, Vec<OwnedFd>)>,
        oneshot::Receiver<()>,
    ) {
        let (messages, told) = mpsc::channel(QUEUE);
        let (kill, killed) = oneshot::channel();
        let child = Self {
            pid: 0,
            messages,
            kill: Some(kill),
        };
        (child, told, killed)
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Tells it something. A child that lets too much pile up is killed.
    pub(super) fn tell(&mut self, message: Out) {
        self.tell_with(message, Vec::new());
    }

    /// Tells it something, and hands descriptors over.
    pub(super) fn tell_with(&mut self, message: Out, descriptors: Vec<OwnedFd>) {
        match self.messages.try_send((message, descriptors)) {
            Ok(()) => {}
            // Its end is reported in its time.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::error!(pid = self.pid, "a child does not read its messages");
                self.kill();
            }
        }
    }

    /// Ends it now.
    pub(super) fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // It may have ended by itself.
            let _ = kill.send(());
        }
    }
}

/// Logs what a child writes to standard error, as its own: few lines, none long. All of it is read,
/// so that a child never waits for that.
pub(super) async fn log_errors(mut errors: impl AsyncRead + Unpin, role: String, pid: u32) {
    let mut bytes = [0; 4096];
    let mut line = Vec::new();
    let (mut left, mut since) = (MAX_LINES, Instant::now());
    loop {
        let read = errors.read(&mut bytes).await.unwrap_or_default();
        let ends = read == 0;
        for &byte in bytes
            .get(..read)
            .unwrap_or_default()
            .iter()
            .chain(ends.then_some(&b'\n'))
        {
            if byte != b'\n' {
                if line.len() < MAX_LINE {
                    line.push(byte);
                }
                continue;
            }
            let told = std::mem::take(&mut line);
            if since.elapsed() >= LINES_SPAN {
                (left, since) = (MAX_LINES, Instant::now());
            }
            if told.is_empty() || left == 0 {
                continue;
            }
            left -= 1;
            let text = String::from_utf8_lossy(&told);
            let text: String = text.chars().filter(|c| !c.is_control()).collect();
            tracing::error!(target: "moonport::child", role, pid, "{text}");
        }
        if ends {
            return;
        }
        // Others have a turn, however much it writes.
        tokio::task::yield_now().await;
    }
}

/// How a child has ended, in words.
pub(super) fn how(status: Option<ExitStatus>) -> String {
    status.map_or_else(
        || "nobody knows how".to_owned(),
        |status| status.to_string(),
    )
}

/// The most bytes of a line of a child's standard error.
const MAX_LINE: usize = 1024;

/// As many lines of it are logged within this span; the others are lost.
const MAX_LINES: usize = 20;
const LINES_SPAN: std::time::Duration = std::time::Duration::from_secs(1);

/// Messages that may pile up for one child.
const QUEUE: usize = 4096;

/// How long a child may live after it has closed its control socket.
const GRACE: std::time::Duration = std::time::Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is logged while this is done.
    fn logged(errors: &'static [u8]) -> String {
        use std::io::{Read, Seek};
        let mut file = tempfile::tempfile().unwrap();
        let writer = file.try_clone().unwrap();
        let log = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(std::sync::Mutex::new(writer))
            .finish();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        tracing::subscriber::with_default(log, || {
            runtime.block_on(log_errors(errors, "role".into(), 7));
        });
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn what_a_child_writes_is_logged_as_its_own() {
        let text = logged(b"one\n2026-01-01 INFO host: \x1b[2Jforged\r\nlast");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        for (line, told) in lines.iter().zip(["one", "[2Jforged", "last"]) {
            assert!(line.contains("ERROR moonport::child: "), "{line}");
            assert!(line.contains(told) && line.contains("pid=7"), "{line}");
            assert!(!line.contains('\x1b'), "{line}");
        }
    }

    #[test]
    fn a_child_that_writes_much_is_read_and_little_of_it_is_logged() {
        let line = [b"x".repeat(100_000), b"\n".to_vec()].concat();
        let text = logged(Vec::leak(line.repeat(100)));
        assert!((MAX_LINES..3 * MAX_LINES).contains(&text.lines().count()));
        assert!(text.lines().all(|line| line.len() < 2 * MAX_LINE), "{text}");
    }
}
