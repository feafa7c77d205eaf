//! This end of the data link to the script process.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;

use tokio::sync::Notify;

use crate::ipc::link::{self, FromScript, ToScript};
use crate::ipc::{AsyncSocket, Received, SendError, Socket};

/// While so many messages wait for the script, it is not listened to, and neither are clients
/// that have something for it.
pub(super) const PATIENCE: usize = 16 * 1024;

/// Which script process, counted from 1. What one was sent and what it said does not concern the
/// next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Epoch(u64);

/// What waits to go to the script.
///
/// It holds little: sessions put in no more events than they have credit for, and what costs no
/// credit stays with them while it is full.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: RefCell<VecDeque<ToScript>>,
    epoch: Cell<u64>,
    up: Cell<bool>,
    /// What clients do is kept from the script.
    held: Cell<bool>,
    /// The script has handed over all that it had, for the next one.
    complete: Cell<bool>,
    /// Since this epoch each script has had all that the one before it had not dealt with.
    chain: Cell<u64>,
    filled: Notify,
    drained: Notify,
    /// There is room for those who have found it full.
    relieved: Notify,
}

impl Outbox {
    /// The script process at the other end; `None` while there is none.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.up.get().then(|| Epoch(self.epoch.get()))
    }

    /// Sends this; into the void if there is no script.
    pub(super) fn push(&self, message: ToScript) {
        if self.up.get() {
            self.queue.borrow_mut().push_back(message);
            self.filled.notify_one();
        }
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// So much waits that nobody is to add to it who can wait.
    pub(super) fn is_full(&self) -> bool {
        self.len() >= PATIENCE
    }

    /// Waits until there is room again, for one who has just found it full. Where the script goes,
    /// its sessions are told otherwise.
    pub(super) async fn relieved(&self) {
        self.relieved.notified().await;
    }

    /// Some of it is out. Those who wait are let in once half of it is, or each would be let in
    /// for the next batch only.
    fn relieve(&self) {
        self.drained.notify_one();
        if self.len() < PATIENCE / 2 {
            self.relieved.notify_waiters();
        }
    }

    /// All that waits.
    pub(super) fn take(&self) -> Vec<ToScript> {
        self.queue.borrow_mut().drain(..).collect()
    }

    /// The script process wants to hear nothing more that clients do, and is told when that is so.
    pub(super) fn hold(&self) {
        self.held.set(true);
        self.push(ToScript::Held);
    }

    /// It wants to hear it after all.
    pub(super) fn release(&self) {
        self.held.set(false);
    }

    /// It has handed over all that it had.
    pub(super) fn complete(&self) {
        self.complete.set(self.held.get());
    }

    /// What clients do is kept from the script.
    pub(super) fn is_held(&self) -> bool {
        self.held.get()
    }

    /// The one that is to have all that the script process of this time had is not there yet.
    pub(super) fn is_between(&self) -> bool {
        self.complete.get()
    }

    /// The script process has all that the one of this time had not dealt with; there may have been
    /// others in between.
    pub(super) fn succeeds(&self, Epoch(old): Epoch) -> bool {
        self.up.get() && (self.chain.get()..self.epoch.get()).contains(&old)
    }

    /// Another script process has taken over.
    pub(super) fn begin(&self) {
        self.queue.borrow_mut().clear();
        self.held.set(false);
        self.epoch.set(self.epoch.get() + 1);
        if !self.complete.take() {
            self.chain.set(self.epoch.get());
        }
        self.up.set(true);
    }

    /// The script process is gone; what waited for it goes with it.
    pub(super) fn end(&self) {
        self.queue.borrow_mut().clear();
        self.up.set(false);
        // What was promised to the next one is kept for it.
        self.held.set(self.complete.get());
    }
}

/// The socket to the script, and the batch that is on its way.
#[derive(Debug, Default)]
pub(super) struct Link {
    socket: Option<Data>,
    batch: Vec<ToScript>,
    /// What the script has said and nobody has looked at.
    unread: Option<Vec<FromScript>>,
}

impl Link {
    /// Takes a new socket in place of the old one. It must be non-blocking already, as one end of
    /// [`Socket::pair`] is: in the lock-down that cannot be changed.
    pub(super) fn attach(&mut self, fd: OwnedFd, outbox: &Outbox) -> io::Result<()> {
        self.detach(outbox);
        if !rustix::fs::fcntl_getfl(&fd)?.contains(rustix::fs::OFlags::NONBLOCK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.socket = Some(AsyncSocket::new(Socket::from_fd(fd))?);
        outbox.begin();
        Ok(())
    }

    /// Closes the socket.
    pub(super) fn detach(&mut self, outbox: &Outbox) {
        self.socket = None;
        self.batch.clear();
        outbox.end();
    }

    /// Puts back what [`Link::run`] has given.
    pub(super) fn unread(&mut self, said: Vec<FromScript>) {
        self.unread = Some(said);
    }

    /// What the script has said already, if anything.
    pub(super) fn said(&mut self) -> Option<Vec<FromScript>> {
        if let Some(said) = self.unread.take() {
            return Some(said);
        }
        match self.socket.as_ref()?.try_recv() {
            Ok(Received::Message(said, _)) => Some(said),
            Ok(Received::Closed) | Err(_) => None,
        }
    }

    /// Sends what waits, and returns once it is out or nobody is there to get it.
    pub(super) async fn flush(&mut self, outbox: &Outbox) {
        if let Some(socket) = &self.socket {
            let _ = send(socket, &mut self.batch, outbox).await;
        }
    }

    /// Sends and receives until there is something from the script; `None`: it is gone.
    /// Cancel-safe.
    ///
    /// While more than `patience` messages wait for the script, it is not listened to.
    pub(super) async fn run(
        &mut self,
        outbox: &Outbox,
        patience: usize,
    ) -> Option<Vec<FromScript>> {
        let Some(socket) = &self.socket else {
            return std::future::pending().await;
        };
        let said = async {
            while outbox.len() > patience {
                outbox.drained.notified().await;
            }
            socket.recv().await
        };
        let said = tokio::select! {
            said = said => said,
            sent = keep_sending(socket, &mut self.batch, outbox) => match sent {
                // It hears nothing any more, but what it said before it went is still there.
                Err(SendError::Closed) => socket.recv().await,
                Err(_) => return None,
            },
        };
        match said {
            Ok(Received::Message(said, _)) => Some(said),
            Ok(Received::Closed) | Err(_) => None,
        }
    }
}

type Data = AsyncSocket<Vec<ToScript>, Vec<FromScript>>;

/// Sends batches until the script is gone. Cancel-safe.
async fn keep_sending(
    socket: &Data,
    batch: &mut Vec<ToScript>,
    outbox: &Outbox,
) -> Result<Infallible, SendError> {
    loop {
        send(socket, batch, outbox).await?;
        outbox.filled.notified().await;
    }
}

/// Sends what waits in batches. Cancel-safe: what is on its way stays in `batch`.
async fn send(socket: &Data, batch: &mut Vec<ToScript>, outbox: &Outbox) -> Result<(), SendError> {
    loop {
        if batch.is_empty() {
            let mut queue = outbox.queue.borrow_mut();
            let ready = link::batch(queue.iter()).min(queue.len());
            batch.extend(queue.drain(..ready));
        }
        if batch.is_empty() {
            return Ok(());
        }
        match socket.send(batch, &[]).await {
            Ok(()) => {
                batch.clear();
                outbox.relieve();
            }
            Err(SendError::TooLarge) => {
                // The second half goes later; what is too large alone cannot be said at all.
                let rest = batch.split_off(batch.len() / 2);
                if !batch.is_empty() {
                    let mut queue = outbox.queue.borrow_mut();
                    rest.into_iter()
                        .rev()
                        .for_each(|message| queue.push_front(message));
                }
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
