//! The pipes of a program that talks with a peer.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::net::unix::pipe::{Receiver, Sender};

use super::session::Program;

/// What it reads from and writes to; either is gone once nothing follows on it.
#[derive(Debug)]
pub(super) struct Pipes {
    input: Option<Sender>,
    output: Option<Receiver>,
}

/// As much is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// How long a program has for what its client has said last; the host does not give it as long.
const PATIENCE: Duration = Duration::from_secs(5);

impl Pipes {
    /// Takes both, which must not block: in the lock-down that cannot be looked at, nor changed.
    pub(super) fn new(input: OwnedFd, output: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            input: Some(Sender::from_owned_fd_unchecked(input)?),
            output: Some(Receiver::from_owned_fd_unchecked(output)?),
        })
    }

    /// Waits until [`pump`](Self::pump) has something to do. Cancel-safe.
    async fn ready(&self, program: &Program) {
        let writes = self.input.as_ref().filter(|_| !program.input().is_empty());
        let reads = self.output.as_ref().filter(|_| program.room() > 0);
        either(writes, reads).await;
    }

    /// Passes on what can be without waiting.
    pub(super) fn pump(&mut self, program: &mut Program) {
        self.write(program);
        self.read(program);
    }

    fn write(&mut self, program: &mut Program) {
        while let Some(input) = &self.input
            && !program.input().is_empty()
        {
            match input.try_write(program.input()) {
                Ok(written) => program.took(written),
                Err(error) if is_full(&error) => break,
                Err(_) => {
                    self.input = None;
                    program.is_deaf();
                }
            }
        }
        if program.is_told_all() {
            self.input = None;
        }
    }

    fn read(&mut self, program: &mut Program) {
        let mut chunk = [0; CHUNK];
        while let Some(output) = &self.output {
            let most = program.room().min(CHUNK);
            if most == 0 {
                return;
            }
            let room = chunk.get_mut(..most).unwrap_or_default();
            let read = match program.has_exited() {
                // All that there will be is there: nobody waits for it.
                true => rustix::io::read(output, room).map_err(io::Error::from),
                false => output.try_read(room),
            };
            match read {
                Ok(read @ 1..) => program.wrote(chunk.get(..read).unwrap_or_default()),
                Err(error) if is_full(&error) && !program.has_exited() => return,
                Ok(0) | Err(_) => {
                    self.output = None;
                    program.is_silent();
                }
            }
        }
    }

    /// The peer is gone: the program may read what is left, and says nothing that anybody hears. The
    /// host ends it if it takes too long.
    pub(super) async fn finish(self, program: Program) {
        // Something that it has left behind may keep them open.
        let _ = tokio::time::timeout(PATIENCE, self.drain(program)).await;
    }

    async fn drain(mut self, mut program: Program) {
        loop {
            self.write(&mut program);
            self.discard();
            let writes = self.input.as_ref().filter(|_| !program.input().is_empty());
            if writes.is_none() && self.output.is_none() {
                return;
            }
            either(writes, self.output.as_ref()).await;
        }
    }

    /// Reads what is there, for nobody. Not where anything is awaited: what is read into would be part
    /// of each peer's task.
    fn discard(&mut self) {
        let mut chunk = [0; CHUNK];
        while let Some(output) = &self.output {
            match output.try_read(&mut chunk) {
                Ok(1..) => {}
                Err(error) if is_full(&error) => return,
                Ok(0) | Err(_) => self.output = None,
            }
        }
    }
}

/// Waits until the pipes of a program, if there is one, have something to do. Cancel-safe.
pub(super) async fn ready(pipes: Option<&Pipes>, program: Option<&mut Program>) {
    match (pipes, program) {
        (Some(pipes), Some(program)) => pipes.ready(program).await,
        _ => std::future::pending().await,
    }
}

/// Passes on what can be; pipes of a program that is over go.
pub(super) fn pump(pipes: &mut Option<Pipes>, program: Option<&mut Program>) {
    match (pipes.as_mut(), program) {
        (Some(pipes), Some(program)) => pipes.pump(program),
        _ => *pipes = None,
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Waits until one can be written to, or the other be read from.
async fn either(input: Option<&Sender>, output: Option<&Receiver>) {
    let writes = async {
        match input {
            // What went wrong is seen when it is used.
            Some(input) => drop(input.writable().await),
            None => std::future::pending().await,
        }
    };
    let reads = async {
        match output {
            Some(output) => drop(output.readable().await),
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = writes => {}
        () = reads => {}
    }
}
