//! Which secrets verify, and what scripts hear of their windows.
//!
//! The store knows what is true of a window; here is only what was seen of it last, so that every
//! change, whoever made it, is noticed in one place: by comparing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use identity::{Name, Secret};
use keystore::{
    Actor, ApplyError, Change, Keystore, Now, OpenWindow, Origin, StoreError, Window, WindowEnd,
    WindowId,
};

use super::admit::NO_SECRET;
use super::way::Use;
use super::{FrontId, Host, ScriptId, doorman};
use crate::ipc::ListenerId;
use crate::ipc::frameserver::{Candidate, Listen, ToFrameserver};
use crate::ipc::script::{ToScript, Wanted, WindowEvent, WindowStatus};
use crate::wire::a12::{SecretId, StageKeys};

/// The windows as they were seen last.
#[derive(Default)]
pub(super) struct Windows {
    seen: BTreeMap<WindowId, Seen>,
    next_secret: u32,
    /// They have been looked at before.
    looked: bool,
    /// They are being looked at, and are to be looked at again afterwards.
    reading: bool,
    again: bool,
    /// Who waits until they have been looked at.
    waiting: Vec<Waiting>,
    /// Guesses that have not been written yet.
    guesses: BTreeMap<WindowId, u32>,
    /// Some are being written.
    counting: bool,
}

type Waiting = Box<dyn FnOnce(&mut Host) + Send>;

/// One window, and what its secret is good for.
#[derive(Debug)]
struct Seen {
    window: Window,
    left: u32,
    candidate: Option<Candidate>,
}

impl Windows {
    /// A number for a secret, never used twice.
    pub(super) fn new_secret(&mut self) -> SecretId {
        self.next_secret += 1;
        SecretId(self.next_secret)
    }

    /// Those whose keys need not be derived again.
    pub(super) fn known(&self) -> BTreeSet<WindowId> {
        let derived = |seen: &&Seen| seen.candidate.is_some();
        let known = self.seen.values().filter(derived);
        known.map(|seen| seen.window.id).collect()
    }

    /// The windows of a name, for its scripts, in the order in which they were opened.
    pub(super) fn list(&self, name: &Name) -> Vec<WindowStatus> {
        let of_name = |seen: &&Seen| seen.window.name == *name;
        let mut found: Vec<&Seen> = self.seen.values().filter(of_name).collect();
        found.sort_by_key(|seen| seen.window.opened.wall_ms);
        let status = |seen: &Seen| WindowStatus {
            window: seen.window.id.0,
            label: seen.window.label.clone(),
            left: seen.left,
            enrolled: u32::try_from(seen.window.enrolled.len()).unwrap_or(u32::MAX),
            open: seen.window.ended.is_none(),
            ends_ms: seen
                .window
                .opened
                .wall_ms
                .saturating_add(seen.window.lasts_ms),
        };
        found.into_iter().map(status).collect()
    }

    /// The window that lets in whoever comes by a protocol without secrets.
    fn without_secret(&self, name: &Name) -> Option<WindowId> {
        let seen = self.seen.values();
        doorman::without_secret(name, seen.map(|seen| (&seen.window, seen.left)))
    }

    /// The windows whose secrets verify beside a listener's required one; the youngest come first,
    /// open ones before those that have ended.
    fn candidates(&self, name: &Name) -> Vec<(&Candidate, WindowId)> {
        let mut found: Vec<&Seen> = self
            .seen
            .values()
            .filter(|seen| seen.window.name == *name && seen.window.origin == Origin::Admin)
            .collect();
        found.sort_by_key(|seen| {
            (
                seen.left == 0,
                std::cmp::Reverse(seen.window.opened.wall_ms),
            )
        });
        found
            .into_iter()
            .filter_map(|seen| Some((seen.candidate.as_ref()?, seen.window.id)))
            .take(Listen::MAX_SECRETS - 1)
            .collect()
    }
}

/// A window as the store thread has read it.
pub(super) struct Reading {
    window: Window,
    left: u32,
    keys: Option<StageKeys>,
}

/// Reads all windows, with the keys derived from the secrets of those that are not known.
pub(super) fn read(
    keystore: &dyn Keystore,
    now: Now,
    known: &BTreeSet<WindowId>,
) -> Result<Vec<Reading>, StoreError> {
    let mut readings = Vec::new();
    let highest = keystore.highest_wall_ms();
    for window in keystore.windows(now)? {
        // Keys that were derived before need not be derived again.
        let secret = match known.contains(&window.id) {
            true => None,
            false => keystore.window_secret(window.id)?,
        };
        readings.push(Reading {
            left: window.left(now, highest),
            keys: secret.as_ref().map(StageKeys::initial),
            window,
        });
    }
    Ok(readings)
}

impl Host {
    /// Looks at all windows again; call it after every change that may have touched one.
    pub(super) fn read_windows(&mut self) {
        // Whatever is asked for while one look is under way is seen by the next one.
        if self.windows.reading {
            self.windows.again = true;
            return;
        }
        self.windows.reading = true;
        let known = self.windows.known();
        self.store.read(move |keystore, now| {
            let readings = read(keystore, now, &known);
            Box::new(move |host: &mut Self| {
                match readings {
                    Ok(readings) => host.see_windows(readings),
                    Err(error) => tracing::error!("cannot read the windows: {error}"),
                }
                host.windows.reading = false;
                if std::mem::take(&mut host.windows.again) {
                    return host.read_windows();
                }
                for run in std::mem::take(&mut host.windows.waiting) {
                    run(host);
                }
            })
        });
    }

    /// Runs something once the windows have been looked at again, and everybody told.
    pub(super) fn after_windows(&mut self, run: impl FnOnce(&mut Self) + Send + 'static) {
        self.windows.waiting.push(Box::new(run));
        self.read_windows();
    }

    /// Compares what is with what was, tells the scripts, and hands the frameservers their secrets.
    pub(super) fn see_windows(&mut self, readings: Vec<Reading>) {
        let mut before = std::mem::take(&mut self.windows.seen);
        let first = !std::mem::replace(&mut self.windows.looked, true);
        let mut news = Vec::new();
        for Reading { window, left, keys } in readings {
            let old = before.remove(&window.id);
            news.extend(
                changes(old.as_ref(), &window, left, first).map(|event| News {
                    event,
                    left,
                    window: window.id,
                    name: window.name.clone(),
                    label: window.label.clone(),
                }),
            );
            // A window keeps its number as long as it keeps its secret.
            let candidate = match (old.and_then(|old| old.candidate), keys) {
                (Some(candidate), _) => Some(candidate),
                (None, Some(keys)) => Some(Candidate {
                    id: self.windows.new_secret(),
                    keys,
                }),
                (None, None) => None,
            };
            let seen = Seen {
                window,
                left,
                candidate,
            };
            self.windows.seen.insert(seen.window.id, seen);
        }
        // One that takes another's place is told of after the other's end.
        news.sort_by_key(|news| news.event == WindowEvent::Opened);
        // Whoever hears of a secret may use it at once.
        self.update_secrets();
        self.tell_lists();
        for news in news {
            let News {
                name, event, left, ..
            } = &news;
            tracing::info!(%name, ?event, left, "window");
            self.tell_listeners(&news);
        }
    }

    fn tell_listeners(&mut self, news: &News) {
        for front in self.fronts.values().filter(|it| it.name == news.name) {
            let Some(listener) = front.listener else {
                continue;
            };
            if let Some(script) = self.scripts.get_mut(&front.script) {
                script.tell(news.told_to(listener));
            }
        }
    }

    /// Every secret that a listener takes now, and what it is good for.
    pub(super) fn secrets_of(&self, front: FrontId) -> (Vec<Candidate>, BTreeMap<SecretId, Use>) {
        let Some(front) = self.fronts.get(&front) else {
            return Default::default();
        };
        let mut candidates = Vec::new();
        let mut uses = BTreeMap::new();
        if !front.scheme.has_secrets() {
            let window = self.windows.without_secret(&front.name);
            uses.insert(NO_SECRET, Use::Required(window));
            return (candidates, uses);
        }
        if let Some(required) = &front.required {
            uses.insert(required.candidate.id, Use::Required(required.window));
            candidates.push(required.candidate.clone());
        }
        for (candidate, window) in self.windows.candidates(&front.name) {
            uses.insert(candidate.id, Use::Window(window));
            candidates.push(candidate.clone());
        }
        (candidates, uses)
    }

    /// Tells the frameservers whose secrets have changed.
    pub(super) fn update_secrets(&mut self) {
        let ids: Vec<FrontId> = self.fronts.keys().copied().collect();
        for id in ids {
            let (candidates, uses) = self.secrets_of(id);
            let Some(front) = self.fronts.get_mut(&id) else {
                continue;
            };
            if front.uses != uses {
                front.uses = uses;
                if front.scheme.has_secrets() {
                    front.tell(ToFrameserver::Secrets(candidates));
                }
            }
        }
    }

    /// A script wants a secret on its listener. One wish is seen to at a time; of those that come
    /// meanwhile, the last counts.
    pub(super) fn secret(&mut self, script: ScriptId, wanted: Wanted) {
        let found = self
            .fronts
            .iter_mut()
            .find(|(_, front)| front.script == script && front.listener == Some(wanted.listener));
        match found {
            Some((_, front)) if front.wishing => {
                let [beside, required] = &mut front.wishes;
                let place = if wanted.required { required } else { beside };
                *place = Some(wanted);
            }
            Some((&id, front)) => {
                front.wishing = true;
                self.see_to(id, wanted);
            }
            // The listener has ended; its script will hear of that.
            None => {}
        }
    }

    fn see_to(&mut self, id: FrontId, wanted: Wanted) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let named = if wanted.required {
            &mut front.named_required
        } else {
            &mut front.named_window
        };
        let first = !std::mem::replace(named, true);
        let old = if wanted.required {
            // Nobody gets in by the secret that was replaced, from this moment on.
            front.required.take().and_then(|required| required.window)
        } else {
            None
        };
        let name = front.name.clone();
        self.update_secrets();
        let origin = if wanted.required {
            Origin::Script
        } else {
            Origin::Admin
        };
        self.store.read(move |keystore, now| {
            let found = keystore
                .find_window(now, &name, &wanted.secret)
                .map(|found| {
                    found
                        .filter(|window| window.origin == origin)
                        .map(|window| (window.id, window.left(now, keystore.highest_wall_ms())))
                });
            Box::new(move |host: &mut Self| {
                let same = match found {
                    Ok(found) => found,
                    Err(error) => return host.window_failed(id, wanted, &error.to_string()),
                };
                match same {
                    Some((window, left)) if first => host.resume_window(id, wanted, window, left),
                    same => {
                        let ended = old.into_iter().chain(same.map(|(window, _)| window));
                        host.open_script_window(id, wanted, origin, ended.collect());
                    }
                }
            })
        });
    }

    /// The first secret after a start is one that has a window already: what was left of it goes on.
    fn resume_window(&mut self, front: FrontId, wanted: Wanted, window: WindowId, left: u32) {
        self.require(front, &wanted, Some(window));
        let Some(found) = self.fronts.get(&front) else {
            return;
        };
        let seen = self.windows.seen.get(&window);
        let news = News {
            event: WindowEvent::Resumed,
            left,
            window,
            name: found.name.clone(),
            label: seen.and_then(|seen| seen.window.label.clone()),
        };
        if let Some(script) = self.scripts.get_mut(&found.script) {
            script.tell(news.told_to(wanted.listener));
        }
    }

    fn open_script_window(
        &mut self,
        front: FrontId,
        wanted: Wanted,
        origin: Origin,
        replaced: Vec<WindowId>,
    ) {
        let Some((name, script)) = self
            .fronts
            .get(&front)
            .map(|front| (front.name.clone(), front.script))
        else {
            return;
        };
        let mut changes: Vec<Change> = replaced
            .into_iter()
            .map(|window| Change::CloseWindow {
                window,
                why: WindowEnd::Replaced,
            })
            .collect();
        let mut opened = None;
        if wanted.count > 0 {
            let lasts = wanted
                .seconds
                .map_or(self.options.window, Duration::from_secs);
            match self.new_window(
                name,
                wanted.secret.clone(),
                wanted.count,
                lasts,
                origin,
                true,
            ) {
                Ok(open) => {
                    opened = Some(open.id);
                    changes.push(Change::OpenWindow(open));
                }
                Err(error) => return self.window_failed(front, wanted, &error),
            }
        }
        if changes.is_empty() {
            return self.require(front, &wanted, None);
        }
        let by = self.actor(script);
        self.store.apply(by, changes, move |done, _, _| {
            let done = done.map_err(|error| error.to_string());
            Box::new(move |host: &mut Self| match done {
                Ok(_) => host.require(front, &wanted, opened),
                Err(error) => host.window_failed(front, wanted, &error),
            })
        });
    }

    /// A window to be opened, with a random number.
    pub(super) fn new_window(
        &self,
        name: Name,
        secret: Secret,
        count: u32,
        lasts: Duration,
        origin: Origin,
        human: bool,
    ) -> Result<OpenWindow, String> {
        let id = getrandom::u64().map_err(|error| format!("no random numbers: {error}"))?;
        Ok(OpenWindow {
            id: WindowId(id),
            name,
            secret,
            human,
            count,
            lasts_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
            origin,
            label: None,
        })
    }

    /// A script, as the one who makes changes.
    pub(super) fn actor(&self, script: ScriptId) -> Actor {
        match self.scripts.get(&script) {
            Some(script) => Actor::Script(script.name().to_owned()),
            None => Actor::Host,
        }
    }

    /// Puts a secret in force, with the window that it opens.
    fn require(&mut self, front: FrontId, wanted: &Wanted, window: Option<WindowId>) {
        if wanted.required {
            let candidate = Candidate {
                id: self.windows.new_secret(),
                keys: StageKeys::initial(&wanted.secret),
            };
            if let Some(front) = self.fronts.get_mut(&front) {
                front.required = Some(Required { candidate, window });
            }
        }
        self.read_windows();
        self.next_wish(front);
    }

    /// One wish of the script has been seen to.
    fn next_wish(&mut self, id: FrontId) {
        let Some(front) = self.fronts.get_mut(&id) else {
            return;
        };
        let next = front.wishes.iter_mut().find_map(Option::take);
        front.wishing = next.is_some();
        if let Some(next) = next {
            return self.see_to(id, next);
        }
        if !front.is_started() {
            self.after_windows(move |host| host.start_front(id));
        }
    }

    /// The window could not be opened. The secret is in force all the same: whoever asked for it
    /// must not end up with a listener that takes another.
    fn window_failed(&mut self, front: FrontId, wanted: Wanted, error: &str) {
        self.require(front, &wanted, None);
        self.tell_failure(front, format!("no window: {error}"));
    }

    /// Windows end by themselves, too: while one is open, they are looked at now and then.
    pub(super) fn watch_windows(&mut self) {
        if self.windows.seen.values().any(|seen| seen.left > 0) {
            self.read_windows();
        }
    }

    /// Somebody tried a first packet that verifies under no secret.
    pub(super) fn guessed(&mut self, front: FrontId) {
        let Some(name) = self.fronts.get(&front).map(|front| &front.name) else {
            return;
        };
        let Windows { seen, guesses, .. } = &mut self.windows;
        for seen in seen.values().filter(|seen| seen.window.name == *name) {
            if seen.window.human && seen.left > 0 {
                let count: &mut u32 = guesses.entry(seen.window.id).or_default();
                *count = count.saturating_add(1);
            }
        }
        self.count_guesses();
    }

    /// Has the guesses written, all that there are at once and one time after the other: a flood
    /// of them must not fill the store's queue.
    fn count_guesses(&mut self) {
        if self.windows.counting || self.windows.guesses.is_empty() {
            return;
        }
        self.windows.counting = true;
        let guesses = std::mem::take(&mut self.windows.guesses);
        let groups = guesses
            .into_iter()
            .map(|(window, more)| Change::Guesses { window, more });
        self.store
            .apply(Actor::Host, groups.collect(), |done, _, _| {
                Box::new(move |host: &mut Self| {
                    host.windows.counting = false;
                    match done {
                        Ok(_) => host.read_windows(),
                        // One of them ended meanwhile; the others' next guesses count again.
                        Err(ApplyError::WindowShut | ApplyError::NoSuchWindow) => {
                            host.read_windows()
                        }
                        Err(error) => tracing::error!("cannot count guesses: {error}"),
                    }
                    host.count_guesses();
                })
            });
    }
}

/// What has become of a window.
pub(super) struct News {
    pub(super) event: WindowEvent,
    pub(super) left: u32,
    pub(super) window: WindowId,
    pub(super) name: Name,
    pub(super) label: Option<String>,
}

impl News {
    pub(super) fn told_to(&self, listener: ListenerId) -> ToScript {
        ToScript::Window {
            listener,
            event: self.event,
            left: self.left,
            window: self.window.0,
            label: self.label.clone(),
        }
    }
}

/// A secret that everybody has to know.
#[derive(Debug)]
pub(super) struct Required {
    pub(super) candidate: Candidate,
    /// The window that it opens for unknown keys.
    pub(super) window: Option<WindowId>,
}

/// What has become of a window since it was seen last.
fn changes(
    old: Option<&Seen>,
    window: &Window,
    left: u32,
    first: bool,
) -> impl Iterator<Item = WindowEvent> {
    // One that was there before this host is nothing new.
    let opened = (old.is_none() && left > 0 && !first).then_some(WindowEvent::Opened);
    let enrolled = old
        .is_some_and(|old| old.window.enrolled.len() < window.enrolled.len())
        .then_some(WindowEvent::Enrolled);
    let ended = match &window.ended {
        _ if old.is_none_or(|old| old.left == 0) || left > 0 => None,
        Some((WindowEnd::Spent, _)) => Some(WindowEvent::Spent),
        Some((WindowEnd::Closed | WindowEnd::Replaced, _)) => Some(WindowEvent::Closed),
        Some((WindowEnd::Guessed, _)) => Some(WindowEvent::Guessed),
        Some((WindowEnd::Expired, _)) | None => Some(WindowEvent::Expired),
    };
    opened.into_iter().chain(enrolled).chain(ended)
}
