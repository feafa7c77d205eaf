//! The store thread: the keystore's files are touched nowhere else, so nothing here waits for a
//! disk, and changes that come together are made durable together.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use keystore::{ApplyError, Change, Epoch, Keystore, Now, StoreError};

use super::clock::Clock;

/// What is done with a result, back on the host's thread.
pub(super) type Then<H> = Box<dyn FnOnce(&mut H) + Send>;

type Read<H> = Box<dyn FnOnce(&dyn Keystore, Now) -> Then<H> + Send>;
type Applied<H> = Box<dyn FnOnce(Result<Epoch, ApplyError>, &dyn Keystore, Now) -> Then<H> + Send>;

enum Job<H> {
    Read(Read<H>),
    Apply(Vec<Change>, Applied<H>),
}

/// Work for the store thread. Results come back through the function given to [`Store::start`], in
/// the order in which the work was given.
pub(super) struct Store<H> {
    jobs: mpsc::Sender<Job<H>>,
}

impl<H: 'static> Store<H> {
    /// Starts the thread; it ends when this handle is dropped and all work is done. It reads the
    /// clock itself, so that the store never sees an older time after a newer one.
    pub(super) fn start(
        mut keystore: Box<dyn Keystore>,
        clock: Clock,
        deliver: impl Fn(Then<H>) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        thread::Builder::new().name("store".into()).spawn(move || {
            loop {
                match queue.recv_timeout(SETTLE) {
                    Ok(first) => {
                        let batch = std::iter::once(first).chain(queue.try_iter().take(MAX_BATCH));
                        for then in work(keystore.as_mut(), clock, batch.collect()) {
                            deliver(then);
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        if let Err(error) = keystore.settle(clock.now()) {
                            tracing::error!("the keystore does not work any more: {error}");
                        }
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
        })?;
        Ok(Self { jobs })
    }

    /// Looks something up; `read` runs on the store thread, what it returns on the host's.
    pub(super) fn read(&self, read: impl FnOnce(&dyn Keystore, Now) -> Then<H> + Send + 'static) {
        self.give(Job::Read(Box::new(read)));
    }

    /// Makes changes, all of them or none, durable before `applied` is called on the store thread.
    pub(super) fn apply(
        &self,
        changes: Vec<Change>,
        applied: impl FnOnce(Result<Epoch, ApplyError>, &dyn Keystore, Now) -> Then<H> + Send + 'static,
    ) {
        self.give(Job::Apply(changes, Box::new(applied)));
    }

    fn give(&self, job: Job<H>) {
        // The thread ends only with this handle, or by a bug of ours; then nobody is let in.
        if self.jobs.send(job).is_err() {
            tracing::error!("the store thread has ended; nothing can be looked up or changed");
        }
    }
}

/// Works through the jobs in order; neighbouring changes share one wait for the disk.
fn work<H>(keystore: &mut dyn Keystore, clock: Clock, jobs: Vec<Job<H>>) -> Vec<Then<H>> {
    let mut done = Vec::with_capacity(jobs.len());
    let mut group = Vec::new();
    for job in jobs {
        match job {
            Job::Read(read) => {
                commit(keystore, clock, &mut group, &mut done);
                done.push(read(keystore, clock.now()));
            }
            Job::Apply(changes, applied) => group.push((changes, applied)),
        }
    }
    commit(keystore, clock, &mut group, &mut done);
    done
}

fn commit<H>(
    keystore: &mut dyn Keystore,
    clock: Clock,
    group: &mut Vec<(Vec<Change>, Applied<H>)>,
    done: &mut Vec<Then<H>>,
) {
    if group.is_empty() {
        return;
    }
    let now = clock.now();
    let changes: Vec<&[Change]> = group
        .iter()
        .map(|(changes, _)| changes.as_slice())
        .collect();
    match keystore.apply_each(now, &changes) {
        Ok(results) => {
            for ((_, applied), result) in group.drain(..).zip(results) {
                done.push(applied(result, keystore, now));
            }
        }
        Err(error) => {
            tracing::error!("nothing was changed: {error}");
            for (_, applied) in group.drain(..) {
                done.push(applied(Err(again(&error).into()), keystore, now));
            }
        }
    }
}

/// The same error once more, for each of those who wait.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Io(error) => {
            StoreError::Io(std::io::Error::new(error.kind(), error.to_string()))
        }
        StoreError::Damaged(what) => StoreError::Damaged(what.clone()),
        StoreError::Format { found, known } => StoreError::Format {
            found: *found,
            known: *known,
        },
        StoreError::Shut(why) => StoreError::Shut(why.clone()),
    }
}

/// After so much quiet, what time alone has done to the windows is made durable.
const SETTLE: Duration = Duration::from_secs(10);

/// How many jobs are worked through before results are given back.
const MAX_BATCH: usize = 256;
