//! The store thread: the keystore's files are touched nowhere else, so nothing here waits for a
//! disk, and changes that come together are made durable together.
//!
//! Whoever changes the store, the host hears of it by one way, the store's watch, and before
//! whoever made the change hears that it is done.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use identity::PublicKey;
use keystore::{
    Actor, ApplyError, Change, Entry, Epoch, Group, Keystore, Note, Now, StoreError, Wake, Watch,
};

use super::clock::Clock;

/// What is done with a result, back on the host's thread.
pub(super) type Then<H> = Box<dyn FnOnce(&mut H) + Send>;

type Work<H> = Box<dyn FnOnce(&mut dyn Keystore, Now) -> Then<H> + Send>;
type Applied<H> = Box<dyn FnOnce(Result<Epoch, ApplyError>, &dyn Keystore, Now) -> Then<H> + Send>;

enum Job<H> {
    Work(Work<H>),
    Apply(Actor, Vec<Change>, Applied<H>),
    Note(Note),
    /// Somebody else may have changed the store.
    Look,
}

/// What has become different in the store.
#[derive(Debug)]
pub(super) enum News {
    /// These keys stand so now; `None`: forgotten.
    Changed {
        entries: Vec<(PublicKey, Option<Entry>)>,
        /// Something became of a window.
        windows: bool,
    },
    /// The store is heard of again; anything may have been changed meanwhile, so that everything
    /// has to be looked at.
    Unheard,
    /// For so long nothing can be heard of the store that what is known of it counts for nothing.
    Blind,
}

/// Work for the store thread. Results come back through the function given to [`Store::start`], in
/// the order in which the work was given. Dropping this waits until all work is done.
pub(super) struct Store<H> {
    /// `None` only while it is dropped.
    jobs: Option<Arc<mpsc::Sender<Job<H>>>>,
    thread: Option<JoinHandle<()>>,
}

impl<H: 'static> Store<H> {
    /// Starts the thread. It reads the clock itself, so that the store never sees an older time
    /// after a newer one. `hear` says what the host does with news.
    pub(super) fn start(
        keystore: Box<dyn Keystore>,
        clock: Clock,
        deliver: impl Fn(Then<H>) + Send + 'static,
        hear: impl Fn(News) -> Then<H> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = mpsc::channel();
        let jobs = Arc::new(jobs);
        let waker = Arc::downgrade(&jobs);
        let look = move || {
            let jobs = waker.upgrade();
            // The host is ending otherwise.
            jobs.is_some_and(|jobs| jobs.send(Job::Look).is_ok())
        };
        let thread = thread::Builder::new().name("store".into()).spawn(move || {
            let mut keeper = Keeper::new(keystore, clock, hear, look);
            loop {
                match queue.recv_timeout(SETTLE) {
                    Ok(first) => {
                        let more = queue.try_iter().take(MAX_BATCH);
                        let batch = std::iter::once(first).chain(more).collect();
                        deliver(all(keeper.work(batch)));
                    }
                    Err(mpsc::RecvTimeoutError::Timeout) => {
                        deliver(all(keeper.settle()));
                    }
                    Err(mpsc::RecvTimeoutError::Disconnected) => break,
                }
            }
            keeper.settle();
        })?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Looks something up; `read` runs on the store thread, what it returns on the host's.
    pub(super) fn read(&self, read: impl FnOnce(&dyn Keystore, Now) -> Then<H> + Send + 'static) {
        self.work(|keystore, now| read(keystore, now));
    }

    /// The same for what needs more of the store than to read it.
    pub(super) fn work(
        &self,
        work: impl FnOnce(&mut dyn Keystore, Now) -> Then<H> + Send + 'static,
    ) {
        self.give(Job::Work(Box::new(work)));
    }

    /// Makes changes, all of them or none, durable before `applied` is called on the store thread.
    pub(super) fn apply(
        &self,
        by: Actor,
        changes: Vec<Change>,
        applied: impl FnOnce(Result<Epoch, ApplyError>, &dyn Keystore, Now) -> Then<H> + Send + 'static,
    ) {
        self.give(Job::Apply(by, changes, Box::new(applied)));
    }

    /// Remembers something that nobody waits for.
    pub(super) fn note(&self, note: Note) {
        self.give(Job::Note(note));
    }

    fn give(&self, job: Job<H>) {
        // The thread ends only with this handle, or by a bug of ours; then nobody is let in.
        if self
            .jobs
            .as_ref()
            .is_none_or(|jobs| jobs.send(job).is_err())
        {
            tracing::error!("the store thread has ended; nothing can be looked up or changed");
        }
    }
}

impl<H> Drop for Store<H> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It cannot have panicked but by a bug, which has been reported then.
            drop(thread.join());
        }
    }
}

/// What the store thread holds.
struct Keeper<F, L> {
    keystore: Box<dyn Keystore>,
    clock: Clock,
    hear: F,
    look: L,
    watch: Watch,
    /// Since when nothing can be heard of the store.
    lost: Option<Instant>,
}

impl<F, L> Keeper<F, L>
where
    L: Fn() -> bool + Clone + Send + 'static,
{
    fn new(mut keystore: Box<dyn Keystore>, clock: Clock, hear: F, look: L) -> Self {
        let watch = keystore.watch(wake(&look));
        Self {
            keystore,
            clock,
            hear,
            look,
            watch,
            lost: None,
        }
    }

    /// Works through the jobs in order; neighbouring changes share one wait for the disk.
    fn work<H>(&mut self, jobs: Vec<Job<H>>) -> Vec<Then<H>>
    where
        F: Fn(News) -> Then<H>,
    {
        let mut done = Vec::with_capacity(jobs.len());
        let mut group = Vec::new();
        for job in jobs {
            match job {
                Job::Work(work) => {
                    self.commit(&mut group, &mut done);
                    done.push(work(self.keystore.as_mut(), self.clock.now()));
                }
                Job::Apply(by, changes, applied) => group.push((by, changes, applied)),
                Job::Note(note) => {
                    self.commit(&mut group, &mut done);
                    if let Err(error) = self.keystore.note(self.clock.now(), note) {
                        tracing::error!("cannot remember what happened: {error}");
                    }
                }
                Job::Look => {}
            }
        }
        self.commit(&mut group, &mut done);
        self.listen(&mut done);
        done
    }

    fn settle<H>(&mut self) -> Vec<Then<H>>
    where
        F: Fn(News) -> Then<H>,
    {
        if let Err(error) = self.keystore.settle(self.clock.now()) {
            tracing::error!("the keystore does not work any more: {error}");
        }
        let mut done = Vec::new();
        self.listen(&mut done);
        done
    }

    fn commit<H>(&mut self, group: &mut Vec<Waiting<H>>, done: &mut Vec<Then<H>>)
    where
        F: Fn(News) -> Then<H>,
    {
        if group.is_empty() {
            return;
        }
        let now = self.clock.now();
        let groups: Vec<Group<'_>> = group
            .iter()
            .map(|(by, changes, _)| Group { by, changes })
            .collect();
        let results = self.keystore.apply_each(now, &groups);
        // The host hears what has changed before anybody hears that it is done.
        self.listen(done);
        let keystore = self.keystore.as_ref();
        match results {
            Ok(results) => {
                for ((.., applied), result) in group.drain(..).zip(results) {
                    done.push(applied(result, keystore, now));
                }
            }
            Err(error) => {
                tracing::error!("nothing was changed: {error}");
                for (.., applied) in group.drain(..) {
                    done.push(applied(Err(again(&error).into()), keystore, now));
                }
            }
        }
    }

    /// Hears what has been changed, by whomever.
    fn listen<H>(&mut self, done: &mut Vec<Then<H>>)
    where
        F: Fn(News) -> Then<H>,
    {
        let mut keys = BTreeMap::new();
        let mut windows = false;
        loop {
            match self.watch.next() {
                Ok(None) => break,
                Ok(Some(told)) => match told.change.key() {
                    Some(key) => {
                        windows |= matches!(told.change, Change::Enrol { .. });
                        keys.insert(*key.as_bytes(), *key);
                    }
                    None => windows = true,
                },
                Err(lost) => {
                    tracing::error!("{lost}");
                    let since = *self.lost.get_or_insert_with(Instant::now);
                    self.watch = self.keystore.watch(wake(&self.look));
                    if since.elapsed() >= GRACE {
                        done.push((self.hear)(News::Blind));
                    }
                    return;
                }
            }
        }
        if self.lost.take().is_some() {
            done.push((self.hear)(News::Unheard));
        }
        if keys.is_empty() && !windows {
            return;
        }
        let mut entries = Vec::with_capacity(keys.len());
        for key in keys.into_values() {
            // What cannot be looked up is taken as forgotten.
            let entry = self.keystore.entry(&key).unwrap_or_else(|error| {
                tracing::error!("cannot look a key up: {error}");
                None
            });
            entries.push((key, entry));
        }
        done.push((self.hear)(News::Changed { entries, windows }));
    }
}

/// All results at once: the host hears nothing between a change and the word that it is done, such
/// as that a session has gone which the change has ended.
fn all<H: 'static>(results: Vec<Then<H>>) -> Then<H> {
    Box::new(move |host| {
        for then in results {
            then(host);
        }
    })
}

type Waiting<H> = (Actor, Vec<Change>, Applied<H>);

fn wake(look: &(impl Fn() -> bool + Clone + Send + 'static)) -> Wake {
    let look = look.clone();
    // The host is ending if nobody is there to be woken.
    Box::new(move || _ = look())
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

/// After so much quiet, what time alone has done is made durable.
const SETTLE: Duration = Duration::from_secs(10);

/// How many jobs are worked through before results are given back.
const MAX_BATCH: usize = 256;

/// How long the store may be unheard of before what is known of it counts for nothing.
const GRACE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod order {
    use super::*;
    use keystore::Memory;

    #[test]
    fn i5_nothing_is_heard_between_a_change_and_the_word_that_it_is_done() {
        let (deliver, delivered) = mpsc::channel();
        let deliver = move |then: Then<Vec<&'static str>>| drop(deliver.send(then));
        let hear = |_| -> Then<Vec<&'static str>> { Box::new(|heard| heard.push("changed")) };
        let store = Store::start(Box::new(Memory::new()), Clock::new(), deliver, hear).unwrap();
        let key = PublicKey::parse(&[7; 32]).unwrap();
        store.apply(Actor::Host, vec![Change::Ban { key }], |_, _, _| {
            Box::new(|heard| heard.push("done"))
        });
        let mut heard = Vec::new();
        delivered.recv().unwrap()(&mut heard);
        assert_eq!(heard, ["changed", "done"]);
    }
}
