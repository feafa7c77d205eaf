//! A backend as one for a remote store would be: a log that several hosts share, each with a copy of
//! the state that follows it. Nothing of the trait knows of it.

use std::io;
use std::sync::{Arc, Mutex, mpsc};

use super::*;
use crate::state::{Row, State};

/// The store that is elsewhere: a log, and who may reach it.
#[derive(Default)]
pub(crate) struct Remote {
    log: Mutex<Vec<Revision>>,
}

/// What was written at once.
#[derive(Clone)]
struct Revision {
    rows: Vec<Row>,
    told: Vec<Told>,
    epoch: u64,
    highest_wall_ms: u64,
}

impl Remote {
    /// Writes if nobody has written since.
    fn compare_and_append(&self, known: usize, revision: Option<Revision>) -> Result<(), Behind> {
        let mut log = self.log.lock().unwrap();
        if log.len() != known {
            return Err(Behind);
        }
        log.extend(revision);
        Ok(())
    }
}

struct Behind;

/// One host's end of it.
pub(crate) struct Replica {
    remote: Arc<Remote>,
    mirror: State,
    /// How much of the log the mirror has.
    known: usize,
    watchers: Vec<(mpsc::Sender<Told>, Wake)>,
    /// Whether the remote store can be reached.
    pub(crate) linked: bool,
}

impl Replica {
    pub(crate) fn open(remote: &Arc<Remote>) -> Self {
        let mut replica = Self {
            remote: Arc::clone(remote),
            mirror: State::default(),
            known: 0,
            watchers: Vec::new(),
            linked: true,
        };
        replica.hear(usize::MAX);
        replica
    }

    /// The next so many revisions arrive. Nothing arrives by itself, so that a test says how late it
    /// is.
    pub(crate) fn hear(&mut self, revisions: usize) {
        let log = self.remote.log.lock().unwrap();
        let new: Vec<_> = log
            .iter()
            .skip(self.known)
            .take(revisions)
            .cloned()
            .collect();
        drop(log);
        for revision in new {
            for row in revision.rows {
                self.mirror.set(row);
            }
            self.mirror.epoch = revision.epoch;
            self.mirror.highest_wall_ms = self.mirror.highest_wall_ms.max(revision.highest_wall_ms);
            self.known += 1;
            self.tell(&revision.told);
        }
    }

    /// The connection breaks: what is told from now on is not heard.
    pub(crate) fn lose(&mut self) {
        self.linked = false;
        for (told, wake) in self.watchers.drain(..) {
            drop(told);
            wake();
        }
    }

    fn tell(&mut self, all: &[Told]) {
        self.watchers.retain(|(told, wake)| {
            let sent = all.iter().try_for_each(|one| told.send(one.clone()));
            wake();
            sent.is_ok()
        });
    }

    fn reach(&self) -> Result<(), StoreError> {
        match self.linked {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::NotConnected).into()),
        }
    }
}

impl Keystore for Replica {
    fn lookup(
        &self,
        now: Now,
        name: &Name,
        key: &PublicKey,
    ) -> Result<Result<Entry, Denied>, StoreError> {
        Ok(self.mirror.lookup(now, name, key))
    }

    fn entry(&self, key: &PublicKey) -> Result<Option<Entry>, StoreError> {
        Ok(self.mirror.entry(key))
    }

    fn entries(&self) -> Result<Vec<Entry>, StoreError> {
        Ok(self.mirror.entries())
    }

    fn windows(&self, now: Now) -> Result<Vec<Window>, StoreError> {
        Ok(self.mirror.windows(now))
    }

    fn window_secret(&self, id: WindowId) -> Result<Option<Secret>, StoreError> {
        Ok(self.mirror.secret(id).cloned())
    }

    fn highest_wall_ms(&self) -> u64 {
        self.mirror.highest_wall_ms
    }

    fn apply_each(
        &mut self,
        now: Now,
        groups: &[Group<'_>],
    ) -> Result<Vec<Result<Epoch, ApplyError>>, StoreError> {
        loop {
            // Who cannot write must not decide either.
            self.reach()?;
            let seen = if groups.is_empty() {
                self.mirror.unwritten()
            } else {
                Vec::new()
            };
            let staged = self.mirror.stage(now, groups);
            let rows: Vec<Row> = seen
                .into_iter()
                .chain(staged.rows().iter().cloned())
                .collect();
            let told = staged.told();
            // What changes nothing is decided on what is there now, too.
            let revision = (!rows.is_empty()).then(|| Revision {
                rows,
                told: told.clone(),
                epoch: self.mirror.epoch,
                highest_wall_ms: self.mirror.highest_wall_ms,
            });
            let written = usize::from(revision.is_some());
            match self.remote.compare_and_append(self.known, revision) {
                Ok(()) => {
                    self.known += written;
                    if groups.is_empty() {
                        self.mirror.written();
                    }
                    self.tell(&told);
                    return Ok(staged.into_results());
                }
                Err(Behind) => {
                    self.mirror.take_back(staged);
                    self.hear(usize::MAX);
                }
            }
        }
    }

    fn settle(&mut self, now: Now) -> Result<Epoch, StoreError> {
        self.apply_each(now, &[])?;
        Ok(Epoch(self.mirror.epoch))
    }

    fn note(&mut self, now: Now, note: Note) -> Result<(), StoreError> {
        if let Note::Admitted { key, from, .. } = note {
            let at_ms = now.wall_ms;
            self.mirror.see(&key, crate::Seen { at_ms, from });
        }
        Ok(())
    }

    fn rehearse(
        &mut self,
        now: Now,
        by: &Actor,
        changes: &[Change],
    ) -> Result<Vec<(PublicKey, Option<Entry>)>, ApplyError> {
        self.mirror.rehearse(now, by, changes)
    }

    fn snapshot(&mut self, _: Now, _: &Path) -> Result<Epoch, StoreError> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    fn watch(&mut self, wake: Wake) -> Watch {
        let (sender, told) = mpsc::channel();
        if self.linked {
            // What was missed is read first; who watches looks at everything anew anyway.
            self.hear(usize::MAX);
            self.watchers.push((sender, wake));
        }
        Watch::new(told)
    }
}

fn two() -> (Replica, Replica) {
    let remote = Arc::default();
    (Replica::open(&remote), Replica::open(&remote))
}

#[test]
fn i2_hosts_that_share_a_store_admit_no_more_than_the_count() {
    let (mut here, mut there) = two();
    here.apply(at(0), &ADMIN, &[open(7, 2), enrol(7, 1)])
        .unwrap();
    there.hear(usize::MAX);
    assert_eq!(left(&there, at(0), 7), 1);
    here.apply(at(1), &ADMIN, &[enrol(7, 2)]).unwrap();
    // It has not heard of it yet.
    assert_eq!(left(&there, at(1), 7), 1);
    let late = there.apply(at(1), &ADMIN, &[enrol(7, 3)]);
    assert!(matches!(late, Err(ApplyError::WindowShut)));
    assert!(!is_known(&there, at(1), 3) && is_known(&there, at(1), 2));
    assert_eq!(seen(&there, at(1)), seen(&here, at(1)));
}

#[test]
fn i2_a_race_between_hosts_admits_no_more_than_the_count() {
    for round in 0..50 {
        let remote: Arc<Remote> = Arc::default();
        Replica::open(&remote)
            .apply(at(0), &ADMIN, &[open(7, 3)])
            .unwrap();
        let hosts: Vec<_> = (0..4).map(|_| Replica::open(&remote)).collect();
        let admitted: u32 = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..)
                .zip(hosts)
                .map(|(n, mut host)| {
                    scope.spawn(move || {
                        let tries =
                            (0..3).map(|i| host.apply(at(1), &ADMIN, &[enrol(7, 10 * n + i)]));
                        tries.filter(Result::is_ok).count() as u32
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(admitted, 3, "round {round}");
        let after = Replica::open(&remote);
        assert_eq!(find(&after, at(1), 7).unwrap().enrolled.len(), 3);
        assert_eq!(left(&after, at(1), 7), 0);
    }
}

#[test]
fn what_a_host_changes_the_others_are_told() {
    let (mut here, mut there) = two();
    let (woken, wakes) = mpsc::channel();
    let watch = there.watch(Box::new(move || woken.send(()).unwrap()));
    here.apply(at(0), &ADMIN, &[accept(1, "door")]).unwrap();
    here.apply(at(1), &ADMIN, &[remove(1)]).unwrap();
    assert_eq!(told(&watch), []);
    there.hear(1);
    wakes.try_recv().unwrap();
    let heard = told(&watch);
    assert_eq!(
        (heard[0].epoch, &heard[0].change),
        (Epoch(1), &accept(1, "door"))
    );
    assert!(is_known(&there, at(1), 1));
    // Its own change comes after what it had not heard.
    there.apply(at(2), &ADMIN, &[accept(2, "door")]).unwrap();
    let heard: Vec<_> = told(&watch)
        .into_iter()
        .map(|told| (told.epoch.0, told.change))
        .collect();
    assert_eq!(heard, [(2, remove(1)), (3, accept(2, "door"))]);
}

#[test]
fn a_lost_watch_is_noticed_and_another_one_starts_from_what_is_there() {
    let (mut here, mut there) = two();
    here.apply(at(0), &ADMIN, &[accept(1, "door")]).unwrap();
    let (woken, wakes) = mpsc::channel();
    let watch = there.watch(Box::new(move || woken.send(()).unwrap()));
    there.lose();
    wakes.try_recv().unwrap();
    assert_eq!(watch.next(), Err(WatchLost));
    here.apply(at(1), &ADMIN, &[remove(1)]).unwrap();
    // This is why a host must not go on for long without a watch.
    assert!(is_known(&there, at(1), 1));
    assert!(there.apply(at(1), &ADMIN, &[accept(2, "door")]).is_err());
    assert_eq!(there.watch(Box::new(|| ())).next(), Err(WatchLost));
    there.linked = true;
    let watch = there.watch(Box::new(|| ()));
    assert_eq!(watch.next(), Ok(None));
    assert!(!is_known(&there, at(1), 1));
    there.apply(at(1), &ADMIN, &[accept(2, "door")]).unwrap();
    assert_eq!(told(&watch).len(), 1);
}
