//! Admissions for servers of other programs, which ask who may come in: the durable step of an
//! admission without the session after it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use identity::{Name, PublicKey};
use keystore::{
    Actor, ApplyError, Change, Entry, How, Keystore, Note, Now, Origin, Reason, StoreError, Window,
    WindowId,
};
use tokio::time::Instant;

use super::control::Reply;
use super::refusals::Refusals;
use super::way::{self, Use, Way};
use super::{Host, peers};
use crate::ipc::admin::FromHost;

/// A key that has been proved to somebody else's server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What the server is for.
    pub name: Name,
    /// The key.
    pub key: PublicKey,
    /// Where it comes from, as the server says.
    pub from: SocketAddr,
}

/// How a caller has come in.
#[derive(Debug)]
pub struct Admitted {
    /// What is known of its key.
    pub entry: Entry,
    /// The window that has let it in just now.
    pub window: Option<WindowId>,
}

/// Lets a key in that is accepted, or that a window lets in that is open without a secret. Its slot
/// is spent, durably, when this returns.
pub fn admit(
    keystore: &mut dyn Keystore,
    now: Now,
    name: &Name,
    key: &PublicKey,
) -> Result<Result<Admitted, Reason>, StoreError> {
    let highest = keystore.highest_wall_ms();
    let windows = keystore.windows(now)?;
    let open = windows
        .iter()
        .map(|window| (window, window.left(now, highest)));
    let window = without_secret(name, open);
    let way = way::find(keystore, now, name, key, Some(Use::Required(window)))?;
    if let Ok(Way::Window(window)) = way {
        let enrol = Change::Enrol { window, key: *key };
        match keystore.apply(now, &Actor::Host, &[enrol]) {
            Ok(_) => {}
            Err(ApplyError::Store(error)) => return Err(error),
            Err(error) => return Ok(Err(peers::not_enrolled(&error))),
        }
    }
    if let Err(reason) = way {
        return Ok(Err(reason));
    }
    let entry = keystore.lookup(now, name, key)?;
    let window = match way {
        Ok(Way::Window(window)) => Some(window),
        _ => None,
    };
    Ok(entry
        .map(|entry| Admitted {
            // A key that came in by this window before is not new.
            window: window.filter(|window| entry.added.how == How::Window(*window)),
            entry,
        })
        .map_err(Reason::from))
}

/// The window that lets in whoever comes by a protocol without secrets; the youngest that is open.
/// With each window, how many keys it may still let in.
pub(super) fn without_secret<'a>(
    name: &Name,
    windows: impl Iterator<Item = (&'a Window, u32)>,
) -> Option<WindowId> {
    windows
        .filter(|(window, left)| {
            window.name == *name && window.origin == Origin::WithoutSecret && *left > 0
        })
        .max_by_key(|(window, _)| window.opened.wall_ms)
        .map(|(window, _)| window.id)
}

/// What is remembered of callers.
#[derive(Debug, Default)]
pub struct Doorman {
    refusals: BTreeMap<Name, Refusals>,
}

impl Doorman {
    /// What is to be noted of a caller; refusals without end are only counted.
    pub fn note(&mut self, caller: Caller, came: &Result<Admitted, Reason>) -> Option<Note> {
        let Caller { name, key, from } = caller;
        match came {
            Ok(admitted) => Some(Note::Admitted {
                name,
                key,
                from,
                window: admitted.window,
                session: ELSEWHERE,
            }),
            Err(reason) => {
                let refusals = self.refusals.entry(name.clone()).or_default();
                refusals.take(Instant::now()).then_some(Note::Refused {
                    name,
                    key: Some(key),
                    from,
                    reason: *reason,
                    reference: None,
                })
            }
        }
    }

    /// What is to be noted of those refusals that were only counted.
    pub fn sums(&mut self) -> Vec<Note> {
        let now = Instant::now();
        let due = self.refusals.iter_mut();
        due.filter_map(|(name, refusals)| {
            let count = refusals.sum(now)?;
            Some(Note::RefusedMore {
                name: name.clone(),
                count,
            })
        })
        .collect()
    }
}

impl Host {
    /// Somebody else's server asks whether a key may come in.
    pub(super) fn admit_caller(&mut self, caller: Caller, reply: Reply) {
        if self.blind {
            return reply.send(FromHost::Admission(Err(Reason::Keystore)));
        }
        self.store.work(move |keystore, now| {
            let came = admit(keystore, now, &caller.name, &caller.key);
            let came = came.unwrap_or_else(|error| Err(peers::not_looked_up(&error)));
            Box::new(move |host: &mut Self| {
                let Caller { name, key, from } = &caller;
                match &came {
                    Ok(Admitted { window, .. }) => {
                        host.counts.elsewhere();
                        let new = window.is_some();
                        tracing::info!(%name, %key, source = %from, new, "admitted elsewhere");
                    }
                    Err(reason) => {
                        host.counts.refusal(*reason);
                        tracing::debug!(%name, %key, %from, ?reason, "refused elsewhere")
                    }
                }
                if let Some(note) = host.doorman.note(caller, &came) {
                    host.store.note(note);
                }
                let answer = came.map(|admitted| admitted.entry);
                reply.send(FromHost::Admission(answer));
            })
        });
    }
}

/// Stands for the number of a session that is none of this host's.
const ELSEWHERE: u64 = 0;

#[cfg(test)]
mod tests {
    use identity::Secret;
    use keystore::{Denied, Memory, OpenWindow, Scope};

    use super::*;

    const NOW: Now = Now {
        wall_ms: 1_000_000,
        boot_ms: 1000,
        boot: [1; 16],
    };

    fn key(byte: u8) -> PublicKey {
        PublicKey::parse(&[byte; 32]).unwrap()
    }

    fn lab() -> Name {
        Name::parse("lab").unwrap()
    }

    fn store(changes: &[Change]) -> Memory {
        let mut store = Memory::new();
        store.apply(NOW, &Actor::Host, changes).unwrap();
        store
    }

    fn window(id: u64, origin: Origin) -> Change {
        Change::OpenWindow(OpenWindow {
            id: WindowId(id),
            name: lab(),
            secret: Secret::parse(format!("0123456789abcdef{id}").as_bytes()).unwrap(),
            human: false,
            count: 1,
            lasts_ms: 60_000,
            origin,
            label: None,
        })
    }

    fn accept(byte: u8, name: &str) -> Change {
        Change::Accept {
            key: key(byte),
            scope: Scope::Name(name.parse().unwrap()),
            label: None,
            imported: false,
        }
    }

    /// The window that let it in, if it came in.
    fn comes(store: &mut Memory, byte: u8) -> Result<Option<WindowId>, Reason> {
        let came = admit(store, NOW, &lab(), &key(byte)).unwrap();
        came.map(|admitted| admitted.window)
    }

    #[test]
    fn an_accepted_key_comes_in_and_others_do_not() {
        let mut store = store(&[accept(7, "lab"), accept(8, "chat")]);
        assert_eq!(comes(&mut store, 7), Ok(None));
        assert_eq!(comes(&mut store, 8), Err(Denied::OutOfScope.into()));
        assert_eq!(comes(&mut store, 9), Err(Reason::UnknownKey));
    }

    #[test]
    fn only_a_window_without_a_secret_lets_a_stranger_in_and_only_so_many() {
        let mut store = store(&[window(1, Origin::Admin)]);
        assert_eq!(comes(&mut store, 7), Err(Reason::UnknownKey));
        let open = window(2, Origin::WithoutSecret);
        store.apply(NOW, &Actor::Host, &[open]).unwrap();
        assert_eq!(comes(&mut store, 7), Ok(Some(WindowId(2))));
        assert_eq!(comes(&mut store, 8), Err(Reason::UnknownKey));
        // It is known now.
        assert_eq!(comes(&mut store, 7), Ok(None));
    }

    #[test]
    fn no_window_lets_a_banned_key_in() {
        let ban = Change::Ban { key: key(7) };
        let mut store = store(&[ban, window(1, Origin::WithoutSecret)]);
        assert_eq!(comes(&mut store, 7), Err(Reason::Banned));
        assert_eq!(comes(&mut store, 8), Ok(Some(WindowId(1))));
    }

    #[test]
    fn i7_refusals_without_end_are_counted_and_not_written_one_by_one() {
        let mut doorman = Doorman::default();
        let mut noted = 0;
        for _ in 0..1000 {
            let caller = Caller {
                name: lab(),
                key: key(7),
                from: "192.0.2.1:0".parse().unwrap(),
            };
            let refused = Err(Reason::UnknownKey);
            noted += u32::from(doorman.note(caller, &refused).is_some());
        }
        assert!((1..=100).contains(&noted), "{noted}");
    }
}
