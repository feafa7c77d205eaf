//! What is done to the host's keys while it runs: on a thread of its own, since a passphrase takes
//! long to try, and neither clients nor the store should wait for it.

use std::sync::mpsc;
use std::thread;

use identity::{Name, PublicKey};
use keystore::{Actor, HostKeyChange, HostKeys, Note};

use super::Host;
use super::clock::Clock;
use super::control::{Reply, answer};
use super::store::Then;
use crate::ipc::admin::FromHost;

type Job<H> = Box<dyn FnOnce(&HostKeys, Clock) -> Then<H> + Send>;

/// The way to the thread that reads and writes the files of the host's keys. It does one thing
/// after the other.
pub(super) struct Keeper<H> {
    /// Under which tag those keys are that answer.
    tag: Name,
    /// How many rotations of those are under way.
    rotations: u32,
    jobs: mpsc::Sender<Job<H>>,
}

impl<H: 'static> Keeper<H> {
    /// Starts the thread; it ends when this handle is dropped and all work is done.
    pub(super) fn start(
        kept: HostKeys,
        tag: Name,
        clock: Clock,
        deliver: impl Fn(Then<H>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job<H>>();
        thread::Builder::new()
            .name("host keys".into())
            .spawn(move || {
                while let Ok(job) = queue.recv() {
                    deliver(job(&kept, clock));
                }
            })?;
        Ok(Self {
            tag,
            rotations: 0,
            jobs,
        })
    }

    fn give(&self, job: impl FnOnce(&HostKeys, Clock) -> Then<H> + Send + 'static) {
        // The thread ends only with this handle, or by a bug of ours.
        if self.jobs.send(Box::new(job)).is_err() {
            tracing::error!("the thread for host keys has ended; they cannot be changed");
        }
    }
}

impl Host {
    pub(super) fn list_host_keys(&self, reply: Reply) {
        self.hostkeys.give(|kept, _| {
            let listed = kept.list().map_err(|error| error.to_string());
            Box::new(move |_| reply.send(answer(listed, FromHost::HostKeys)))
        });
    }

    /// Whether who is told this key now is answered by it later, too: it is the current one, and
    /// not about to be another.
    pub(super) fn is_to_last(&self, host: PublicKey) -> bool {
        self.hostkeys.rotations == 0 && host == self.keyroom.current()
    }

    /// Makes a change, and answers when it is durable and in effect.
    ///
    /// Who was enrolled before a rotation knows the key of before. So from here on nobody is
    /// enrolled until it is over, and the time that tells before from after is read when the store
    /// has finished with those who came earlier.
    pub(super) fn change_host_key(
        &mut self,
        by: Actor,
        tag: Name,
        change: HostKeyChange,
        rehearsal: bool,
        reply: Reply,
    ) {
        let deed = change.deed();
        let ours = !rehearsal && tag == self.hostkeys.tag;
        let rotation = u32::from(ours && matches!(change, HostKeyChange::Rotate { .. }));
        self.hostkeys.rotations += rotation;
        let work = move |kept: &HostKeys, clock: Clock| -> Then<Self> {
            let changed = kept.change(&tag, clock.now().wall_ms, change, rehearsal);
            let changed = changed.map_err(|error| error.to_string());
            Box::new(move |host: &mut Self| {
                host.hostkeys.rotations -= rotation;
                let listed = changed.map(|(listed, ring)| {
                    if !rehearsal {
                        let key = listed.ring.current;
                        tracing::info!(%tag, %key, "host key {} by an admin", deed.describe());
                        host.store.note(Note::HostKey {
                            by,
                            tag,
                            change: deed,
                            key,
                        });
                    }
                    if ours {
                        host.keyroom.replace(ring);
                    }
                    listed
                });
                reply.send(answer(listed, FromHost::HostKeyChanged));
            })
        };
        self.store
            .read(move |_, _| Box::new(move |host: &mut Self| host.hostkeys.give(work)));
    }
}
