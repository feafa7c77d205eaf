//! Keys that scripts look up and change.
//!
//! A script may administer the names that `moonport run --allow-keys` gives, and no others. What it does to
//! a key as a whole, such as a ban, it may do to keys that are accepted for such names alone. Each
//! wish is a [`Change`] by the script, checked and made in one step of the store thread.

use identity::{Name, PublicKey};
use keystore::{Actor, Change, Entry, Keystore, Now, Scope};

use super::control::Reply;
use super::{Event, Host, ScriptId};
use crate::ipc::script::{KeyStatus, KeyWish, Names, ToScript};

/// Who waits for an answer: a script by its process of the moment, as the next one knows nothing of
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Asker {
    script: ScriptId,
    pid: u32,
}

/// Wishes that have not been answered.
#[derive(Debug, Default)]
pub(super) struct Wishes(Vec<Asker>);

/// What became of a wish.
enum Done {
    Listed(Vec<KeyStatus>),
    /// The key stands so now.
    Changed(PublicKey, Option<Box<Entry>>),
}

impl Host {
    /// A script wants something of the keys.
    pub(super) fn script_wishes(&mut self, id: ScriptId, call: u32, wish: KeyWish) {
        let allowed = self.options.permissions.keys.clone();
        let within = match name_of(&wish) {
            Some(name) => allowed.have(name),
            None => allowed.all || !allowed.some.is_empty(),
        };
        if !within {
            return self.kill_script(id, "it wanted keys of names that it may not administer");
        }
        let Some(script) = self.scripts.get(&id) else {
            return;
        };
        let asker = Asker {
            script: id,
            pid: script.pid(),
        };
        if self.key_wishes.0.iter().filter(|it| **it == asker).count() >= MOST {
            return self.kill_script(id, "it asked for more of the keys than it may at once");
        }
        self.key_wishes.0.push(asker);
        let by = self.actor(id);
        self.store.work(move |keystore, now| {
            let done = fulfil(keystore, now, &by, &allowed, wish);
            Box::new(move |host: &mut Self| match done {
                Err(why) => {
                    let script = host.script_name(id);
                    tracing::warn!(script, "keys are not changed as a script wants: {why}");
                    host.answer_wish(asker, call, Err(why));
                }
                Ok(Done::Listed(keys)) => host.answer_wish(asker, call, Ok(keys)),
                Ok(Done::Changed(key, entry)) => {
                    // Those who have to go are on their way before it is waited for them.
                    host.judge(&[(key, entry.map(|entry| *entry))]);
                    host.answer_when_gone(asker, call, key);
                }
            })
        });
    }

    /// Answers once the sessions are gone that the change has ended.
    fn answer_when_gone(&mut self, asker: Asker, call: u32, key: PublicKey) {
        let (reply, mut gone) = Reply::new();
        self.acknowledge(&[key], reply);
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            gone.recv().await;
            let answer = move |host: &mut Self| host.answer_wish(asker, call, Ok(Vec::new()));
            // The host is gone if nobody hears this.
            drop(events.send(Event::Then(Box::new(answer))).await);
        });
    }

    fn answer_wish(&mut self, asker: Asker, call: u32, answer: Result<Vec<KeyStatus>, String>) {
        let waiting = &mut self.key_wishes.0;
        if let Some(at) = waiting.iter().position(|it| *it == asker) {
            waiting.swap_remove(at);
        }
        let script = self.scripts.get_mut(&asker.script);
        let Some(script) = script.filter(|script| script.pid() == asker.pid) else {
            return;
        };
        let keys = match answer {
            Ok(keys) => keys,
            Err(why) => {
                let (answer, more) = (Err(why), false);
                return script.tell(ToScript::Keys { call, answer, more });
            }
        };
        let mut parts = keys.chunks(PART).peekable();
        loop {
            let part = parts.next().unwrap_or_default();
            let more = parts.peek().is_some();
            let answer = Ok(part.to_vec());
            script.tell(ToScript::Keys { call, answer, more });
            if !more {
                return;
            }
        }
    }
}

fn name_of(wish: &KeyWish) -> Option<&Name> {
    match wish {
        KeyWish::List(name) | KeyWish::Accept { name, .. } => Some(name),
        KeyWish::Revoke { name, .. } => name.as_ref(),
        KeyWish::Ban { .. } | KeyWish::Expire { .. } | KeyWish::Label { .. } => None,
    }
}

fn fulfil(
    keystore: &mut dyn Keystore,
    now: Now,
    by: &Actor,
    allowed: &Names,
    wish: KeyWish,
) -> Result<Done, String> {
    let failed = |error: keystore::StoreError| error.to_string();
    if let KeyWish::List(name) = &wish {
        let entries = keystore.entries().map_err(failed)?;
        let shown = entries.into_iter().filter_map(|entry| shown(entry, name));
        return Ok(Done::Listed(shown.collect()));
    }
    let change = change(keystore, allowed, wish)?;
    let done = keystore.apply(now, by, std::slice::from_ref(&change));
    done.map_err(|error| error.to_string())?;
    let key = *change.key().ok_or("it is of no key")?;
    // What cannot be looked up is taken as forgotten.
    let entry = keystore.entry(&key).unwrap_or_default();
    Ok(Done::Changed(key, entry.map(Box::new)))
}

fn shown(entry: Entry, name: &Name) -> Option<KeyStatus> {
    let elsewhere = |scope: &Scope| *scope != Scope::Name(name.clone());
    let covered = entry.scopes.iter().any(|scope| scope.covers(name));
    covered.then(|| KeyStatus {
        key: entry.key,
        standing: entry.standing.describe().to_owned(),
        expires_ms: entry.expires_ms,
        elsewhere: entry.scopes.iter().any(elsewhere),
        label: entry.label,
    })
}

/// The change that a wish comes to, if the script may make it.
fn change(keystore: &dyn Keystore, allowed: &Names, wish: KeyWish) -> Result<Change, String> {
    let entry = |key: &PublicKey| keystore.entry(key).map_err(|error| error.to_string());
    // Whether all that it is accepted for is the script's to administer.
    let is_own = |entry: &Entry| {
        let within = |scope: &Scope| match scope {
            Scope::Any => allowed.all,
            Scope::Name(name) => allowed.have(name),
        };
        allowed.all || !entry.scopes.is_empty() && entry.scopes.iter().all(within)
    };
    let own = |key: &PublicKey| match entry(key)? {
        Some(entry) if is_own(&entry) => Ok(()),
        None if allowed.all => Ok(()),
        Some(entry) if entry.scopes.is_empty() => {
            let standing = entry.standing.describe();
            Err(format!("the key is {standing}, and accepted for no name"))
        }
        Some(_) => Err("the key is accepted for other names, too: this is for an admin".into()),
        None => Err("nobody knows this key".to_owned()),
    };
    match wish {
        KeyWish::List(_) => Err("a list is no change".to_owned()),
        KeyWish::Accept { key, name, label } => {
            if label.is_some() && entry(&key)?.is_some_and(|it| !it.scopes.is_empty()) {
                own(&key)?;
            }
            Ok(Change::Accept {
                key,
                scope: Scope::Name(name),
                label,
                imported: false,
            })
        }
        KeyWish::Revoke { key, name: None } => own(&key).map(|()| Change::Revoke { key }),
        KeyWish::Revoke {
            key,
            name: Some(name),
        } => {
            let known = entry(&key)?.ok_or("nobody knows this key")?;
            let scope = Scope::Name(name);
            if known.scopes.contains(&Scope::Any) && !allowed.all {
                Err("the key is accepted for all names: this is for an admin".to_owned())
            } else if !known.scopes.contains(&scope) {
                Err(format!("the key is not accepted for {}", scope.as_str()))
            } else if known.scopes.len() == 1 {
                Ok(Change::Revoke { key })
            } else {
                Ok(Change::Unscope { key, scope })
            }
        }
        KeyWish::Ban { key } => own(&key).map(|()| Change::Ban { key }),
        KeyWish::Expire { key, at_ms } => own(&key).map(|()| Change::Expire { key, at_ms }),
        KeyWish::Label { key, label } => own(&key).map(|()| Change::Label { key, label }),
    }
}

/// How many wishes of a script may wait for their answers.
const MOST: usize = crate::ipc::script::MOST_WISHES;

/// How many keys go into one message: well below what it holds.
const PART: usize = 128;
