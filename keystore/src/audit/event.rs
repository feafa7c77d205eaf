use core::net::SocketAddr;

use identity::{Name, PublicKey, Reference};
use serde::{Deserialize, Serialize};

use super::text;
use crate::state::State;
use crate::{
    Change, Farewell, HostKeyDeed, How, Note, OpenWindow, Origin, Reason, Scope, WindowEnd,
    WindowId,
};

/// What happened. `label` is what the key, or the window, was called then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the fields are those of Change and Note")]
pub enum Event {
    /// A key was accepted within a scope.
    Accept {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(with = "text")]
        scope: Scope,
        imported: bool,
    },
    /// A key is accepted within this scope no longer.
    Unscope {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(with = "text")]
        scope: Scope,
    },
    /// A key is called something else.
    Label {
        #[serde(with = "text")]
        key: PublicKey,
        label: Option<String>,
    },
    /// Something else is said of a key.
    Comment {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        comment: Option<String>,
    },
    /// A key is accepted until then.
    Expire {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        expires_ms: Option<u64>,
    },
    /// A key is accepted nowhere for the time being.
    Disable {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A disabled key is accepted again.
    Enable {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A key is accepted nowhere any more.
    Revoke {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A key is let in never again.
    Ban {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A ban was lifted.
    Unban {
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
    },
    /// A key was forgotten.
    Remove {
        #[serde(with = "text")]
        key: PublicKey,
    },
    /// A window was opened.
    WindowOpen {
        #[serde(with = "text")]
        window: WindowId,
        name: Name,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(with = "text")]
        origin: Origin,
        human: bool,
        count: u32,
        lasts_ms: u64,
    },
    /// A window has let a key in for good.
    Enrol {
        #[serde(with = "text")]
        window: WindowId,
        name: Name,
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        /// Who opened the window.
        opened_by: String,
    },
    /// A window has ended: spent, expired, closed, replaced or guessed.
    WindowEnd {
        #[serde(with = "text")]
        window: WindowId,
        name: Name,
        #[serde(with = "text")]
        why: WindowEnd,
    },
    /// Somebody guessed at the secrets of the windows of a name.
    Guesses {
        #[serde(with = "text")]
        window: WindowId,
        name: Name,
        more: u32,
        /// How many there were by then.
        guesses: u32,
    },
    /// A host has begun to work.
    Started { pid: u32, version: String },
    /// A backup was put in the place of what was there.
    Restored { made_ms: u64 },
    /// One of the host's own keys was changed.
    HostKey {
        tag: Name,
        change: HostKeyDeed,
        #[serde(with = "text")]
        key: PublicKey,
    },
    /// A key was let in.
    Admitted {
        name: Name,
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        source: SocketAddr,
        session: u64,
        /// The window that the key came in by, now or earlier.
        #[serde(with = "text::maybe", default, skip_serializing_if = "Option::is_none")]
        window: Option<WindowId>,
        /// Who opened that window.
        #[serde(skip_serializing_if = "Option::is_none")]
        opened_by: Option<String>,
        /// The window has let it in just now.
        enrolled: bool,
    },
    /// A session has ended.
    Left {
        name: Name,
        #[serde(with = "text")]
        key: PublicKey,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        session: u64,
        why: Farewell,
    },
    /// Somebody was refused.
    Refused {
        name: Name,
        #[serde(with = "text::maybe", default, skip_serializing_if = "Option::is_none")]
        key: Option<PublicKey>,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        source: SocketAddr,
        reason: Reason,
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<Reference>,
    },
    /// So many more were refused.
    RefusedMore { name: Name, count: u64 },
    /// An admin has said that the log goes on without the files that it had.
    BeganAnew,
    /// Something that only a later version of this program knows; never written.
    #[serde(other)]
    Unknown,
}

impl Event {
    /// What a change comes to that the state has just seen.
    pub(crate) fn of_change(change: &Change, state: &State) -> Vec<Self> {
        let named = |key: &PublicKey| (*key, label(state, key));
        vec![match change {
            Change::Accept {
                key,
                scope,
                imported,
                ..
            } => {
                let (key, label) = named(key);
                Self::Accept {
                    key,
                    label,
                    scope: scope.clone(),
                    imported: *imported,
                }
            }
            Change::Unscope { key, scope } => {
                let (key, label) = named(key);
                let scope = scope.clone();
                Self::Unscope { key, label, scope }
            }
            Change::Label { key, label } => Self::Label {
                key: *key,
                label: label.clone(),
            },
            Change::Comment { key, comment } => {
                let (key, label) = named(key);
                Self::Comment {
                    key,
                    label,
                    comment: comment.clone(),
                }
            }
            Change::Expire { key, at_ms } => {
                let (key, label) = named(key);
                Self::Expire {
                    key,
                    label,
                    expires_ms: *at_ms,
                }
            }
            Change::Disable { key } => {
                let (key, label) = named(key);
                Self::Disable { key, label }
            }
            Change::Enable { key } => {
                let (key, label) = named(key);
                Self::Enable { key, label }
            }
            Change::Revoke { key } => {
                let (key, label) = named(key);
                Self::Revoke { key, label }
            }
            Change::Ban { key } => {
                let (key, label) = named(key);
                Self::Ban { key, label }
            }
            Change::Unban { key } => {
                let (key, label) = named(key);
                Self::Unban { key, label }
            }
            Change::Remove { key } => Self::Remove { key: *key },
            Change::OpenWindow(open) => {
                let opened = Self::opened(open);
                return with_end(opened, open.id, state);
            }
            Change::Enrol { window: id, key } => {
                let Some(window) = state.window(*id) else {
                    return Vec::new();
                };
                let (key, label) = named(key);
                let enrolled = Self::Enrol {
                    window: *id,
                    name: window.name.clone(),
                    key,
                    label,
                    opened_by: window.by.to_string(),
                };
                return with_end(enrolled, *id, state);
            }
            Change::CloseWindow { window, .. } => {
                return ended(*window, state).into_iter().collect();
            }
            Change::Guesses { window: id, more } => {
                let Some(window) = state.window(*id) else {
                    return Vec::new();
                };
                let guessed = Self::Guesses {
                    window: *id,
                    name: window.name.clone(),
                    more: *more,
                    guesses: window.guesses,
                };
                return with_end(guessed, *id, state);
            }
        }]
    }

    /// The window without its secret.
    fn opened(open: &OpenWindow) -> Self {
        let OpenWindow {
            id,
            name,
            secret: _,
            human,
            count,
            lasts_ms,
            origin,
            label,
        } = open;
        Self::WindowOpen {
            window: *id,
            name: name.clone(),
            label: label.clone(),
            origin: *origin,
            human: *human,
            count: *count,
            lasts_ms: *lasts_ms,
        }
    }

    /// What a note says, with what the state knows of the key.
    pub(crate) fn of_note(note: Note, state: &State) -> Self {
        match note {
            Note::Started { pid, version } => Self::Started { pid, version },
            Note::Restored { made_ms, .. } => Self::Restored { made_ms },
            Note::HostKey {
                tag, change, key, ..
            } => Self::HostKey { tag, change, key },
            Note::Admitted {
                name,
                key,
                from,
                window,
                session,
            } => {
                let (by_window, opened_by) = match window {
                    Some(id) => (
                        Some(id),
                        state.window(id).map(|window| window.by.to_string()),
                    ),
                    None => came_by(state, &key).unzip(),
                };
                Self::Admitted {
                    name,
                    key,
                    label: label(state, &key),
                    source: from,
                    session,
                    window: by_window,
                    opened_by,
                    enrolled: window.is_some(),
                }
            }
            Note::Left {
                name,
                key,
                session,
                why,
            } => Self::Left {
                name,
                key,
                label: label(state, &key),
                session,
                why,
            },
            Note::Refused {
                name,
                key,
                from,
                reason,
                reference,
            } => Self::Refused {
                name,
                key,
                label: key.and_then(|key| label(state, &key)),
                source: from,
                reason,
                reference,
            },
            Note::RefusedMore { name, count } => Self::RefusedMore { name, count },
        }
    }
}

/// The window that a key came in by, and who opened it.
fn came_by(state: &State, key: &PublicKey) -> Option<(WindowId, String)> {
    let added = &state.key(key)?.added;
    match added.how {
        How::Window(id) => Some((id, added.by.to_string())),
        How::Named | How::Imported => None,
    }
}

fn label(state: &State, key: &PublicKey) -> Option<String> {
    state.key(key)?.label.clone()
}

/// The end of a window, if it has one.
fn ended(id: WindowId, state: &State) -> Option<Event> {
    let window = state.window(id)?;
    Some(Event::WindowEnd {
        window: id,
        name: window.name.clone(),
        why: window.ended?.0,
    })
}

/// What happened to a window that was open, and whether it has ended by that.
fn with_end(event: Event, id: WindowId, state: &State) -> Vec<Event> {
    [event].into_iter().chain(ended(id, state)).collect()
}
