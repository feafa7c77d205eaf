//! Who faces the network.
//!
//! ```text
//!            listening sockets            host (standard input)      script (data link)
//!                   │                            ▲ │                        ▲ │
//!   accept, door: slots for unproved peers       │ ▼                        │ ▼
//!                   └───────────► hub: routes what the host and the script say
//!                                      │
//!                     driver: a task per peer, socket ↔ machine of `wire`
//!                     datagram: the same where there are no connections but datagrams
//!                                      │
//!                     session: segments, credit, what waits; or pipes of a program in the script's place
//! ```
//!
//! `memory` is the same without a process or sockets, for tests of scripts.
//!
//! One process per listener, with one thread. It is locked down before it accepts anybody; it
//! never has a static private key, and a session's keys only after the host has verified the
//! proof. What one peer can make it hold is bounded: before the proof by the machine's room and
//! the number of slots, afterwards by credit.

mod accept;
mod datagram;
mod door;
mod driver;
mod end;
mod hub;
mod link;
mod machine;
mod memory;
mod pipes;
mod session;
mod tally;

#[cfg(test)]
mod tests;

pub use memory::{Memory, Said, Unheard};

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use rustix::process::Signal;
use thiserror::Error;
use tokio::task::LocalSet;

use crate::ipc::frameserver::{FromFrameserver, Listen, ToFrameserver};
use crate::ipc::{AsyncSocket, Received, RecvError, Socket};
use crate::sandbox::{self, Lockdown, Policy};
use hub::{Control, Gone, Hub};

/// The `argv[0]` under which the host starts a frameserver, with its control socket as standard
/// input.
pub const ROLE: &str = "moonport-frameserver";

/// Runs a frameserver process until the host lets it go.
///
/// The control socket is standard input; the first message on it must be
/// [`ToFrameserver::Listen`].
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // Without its host it has nothing to do, and nothing has gone wrong here.
        Err(Failure::Gone(Gone::Host)) => ExitCode::SUCCESS,
        Err(failure) => {
            // Nobody may be listening.
            let _ = writeln!(io::stderr(), "{ROLE}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Why a frameserver does not serve.
#[derive(Debug, Error)]
enum Failure {
    #[error("standard input is not the host's socket ({0}); `moonport run` starts this role")]
    Inherit(io::Error),
    #[error("the runtime cannot be built: {0}")]
    Runtime(io::Error),
    #[error("{0}")]
    Sandbox(String),
    #[error(transparent)]
    Gone(#[from] Gone),
}

fn run() -> Result<(), Failure> {
    let control = sandbox::inherit().map_err(Failure::Inherit)?;
    sandbox::silence().map_err(Failure::Inherit)?;
    let control = Socket::from_fd(control);
    // One that hangs does not see its host go. This is bound to the host's thread that has started
    // us: its main thread, which lives as long as the host does. A host that has gone before that
    // has closed the control socket, as the first message will show.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::Inherit(error.into()))?;
    // What it waits with is made here, while it still can be.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    LocalSet::new().block_on(&runtime, async {
        let control = AsyncSocket::new(control).map_err(Failure::Inherit)?;
        let (listen, fds) = match control.recv().await {
            Ok(Received::Message(ToFrameserver::Listen(listen), fds)) => (listen, fds),
            Ok(Received::Message(..)) | Err(RecvError::Garbage | RecvError::Empty) => {
                return Err(Gone::Rules.into());
            }
            Ok(Received::Closed) => return Err(Gone::Host.into()),
            Err(RecvError::Io(error)) => return Err(Failure::Inherit(error)),
        };
        serve(control, listen, fds).await
    })
}

/// Takes what the host has sent, locks down, says so, and serves.
async fn serve(control: Control, listen: Listen, fds: Vec<OwnedFd>) -> Result<(), Failure> {
    let required = listen.require_sandbox;
    let prepared = Hub::new(listen, fds).map_err(Failure::from);
    let datagrams = prepared.as_ref().ok().and_then(Hub::datagrams);
    let report = Lockdown::begin(Policy::frameserver(datagrams)).seal();
    let ready = prepared.and_then(|hub| match sandbox::complaint(&report) {
        Some(complaint) if required => Err(Failure::Sandbox(complaint)),
        _ => Ok(hub),
    });
    let message = match &ready {
        Ok(_) => FromFrameserver::Ready(report),
        Err(failure) => FromFrameserver::Failed(failure.to_string()),
    };
    control.send(&message, &[]).await.map_err(|_| Gone::Host)?;
    Ok(ready?.serve(&control).await?)
}
