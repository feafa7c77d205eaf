//! What a change does. Pure: the state, the time and the change decide.

use identity::PublicKey;
use subtle::{Choice, ConstantTimeEq};

use crate::seal;
use crate::state::{KeyRow, Row, State};
use crate::{
    Actor, Added, ApplyError, Change, Denied, Entry, How, Now, OpenWindow, Scope, Standing, Window,
    WindowEnd, WindowId,
};

/// The rows that a change sets; none if it changes nothing.
///
/// The state must have been [`settle`]d at this time.
pub(crate) fn decide(
    state: &State,
    now: Now,
    by: &Actor,
    change: &Change,
) -> Result<Vec<Row>, ApplyError> {
    match change {
        Change::Accept {
            key,
            scope,
            label,
            imported,
        } => {
            let how = if *imported { How::Imported } else { How::Named };
            let added = Added {
                at_ms: now.wall_ms,
                how,
                by: by.clone(),
            };
            accept(state, key, scope, label.as_deref(), added)
        }
        Change::Unscope { key, scope } => unscope(state, key, scope),
        Change::Label { key, label } => {
            check(label.as_deref(), Entry::MAX_LABEL, ApplyError::Label)?;
            edit(state, key, |row| row.label.clone_from(label))
        }
        Change::Comment { key, comment } => {
            check(comment.as_deref(), Entry::MAX_COMMENT, ApplyError::Comment)?;
            edit(state, key, |row| row.comment.clone_from(comment))
        }
        Change::Expire { key, at_ms } => {
            match known(state, key)?.standing {
                Standing::Accepted | Standing::Disabled => {}
                other => return Err(ApplyError::Standing(other)),
            }
            edit(state, key, |row| row.expires_ms = *at_ms)
        }
        Change::Disable { key } => match known(state, key)?.standing {
            Standing::Accepted => edit(state, key, |row| row.standing = Standing::Disabled),
            Standing::Disabled => Ok(Vec::new()),
            other => Err(ApplyError::Standing(other)),
        },
        Change::Enable { key } => match known(state, key)?.standing {
            Standing::Disabled => edit(state, key, |row| row.standing = Standing::Accepted),
            Standing::Accepted => Ok(Vec::new()),
            other => Err(ApplyError::Standing(other)),
        },
        Change::Revoke { key } => match known(state, key)?.standing {
            Standing::Accepted | Standing::Disabled => end_trust(state, key, Standing::Revoked),
            Standing::Revoked => Ok(Vec::new()),
            Standing::Banned => Err(ApplyError::Standing(Standing::Banned)),
        },
        Change::Ban { key } => ban(state, now, by, key),
        Change::Unban { key } => match known(state, key)?.standing {
            Standing::Banned => edit(state, key, |row| row.standing = Standing::Revoked),
            other => Err(ApplyError::Standing(other)),
        },
        Change::Remove { key } => remove(state, key),
        Change::OpenWindow(open) => open_window(state, now, by, open),
        Change::Enrol { window, key } => enrol(state, now, *window, key),
        Change::CloseWindow { window, why } => {
            let window = state.window(*window).ok_or(ApplyError::NoSuchWindow)?;
            Ok(end(window, *why, now))
        }
        Change::Guesses { window, more } => guesses(state, now, *window, *more),
    }
}

/// What time alone has done: rows, and the change that they amount to. A window that is forgotten
/// is no change to anybody, it had ended a day ago.
pub(crate) fn settle(state: &State, now: Now) -> Vec<(Vec<Row>, Option<Change>)> {
    let highest = state.highest_wall_ms;
    let mut all = Vec::new();
    for window in state.all_windows() {
        let mut window_now = head(window);
        if window.ended.is_none() && window.is_over(now, highest) {
            let rows = end(window, WindowEnd::Expired, window.deadline());
            window_now.ended = Some((WindowEnd::Expired, window.deadline()));
            let why = WindowEnd::Expired;
            all.push((
                rows,
                Some(Change::CloseWindow {
                    window: window.id,
                    why,
                }),
            ));
        }
        if window_now.is_forgotten(now, highest) {
            all.push((forget(state, window), None));
        }
    }
    all
}

fn accept(
    state: &State,
    key: &PublicKey,
    scope: &Scope,
    label: Option<&str>,
    added: Added,
) -> Result<Vec<Row>, ApplyError> {
    check(label, Entry::MAX_LABEL, ApplyError::Label)?;
    let old = state.key(key);
    let mut row = match old {
        Some(row) if row.standing == Standing::Banned => {
            return Err(ApplyError::Standing(Standing::Banned));
        }
        // Whoever trusts it again does not take over what was true before.
        Some(row) if row.standing == Standing::Revoked => KeyRow {
            label: row.label.clone(),
            comment: row.comment.clone(),
            seen: row.seen,
            ..KeyRow::new(added)
        },
        Some(row) => row.clone(),
        None => KeyRow::new(added),
    };
    if let Some(label) = label {
        row.label = Some(label.to_owned());
    }
    row.scopes.insert(scope.clone());
    if row.scopes.len() > Entry::MAX_SCOPES {
        return Err(ApplyError::TooManyScopes);
    }
    let mut rows = Vec::new();
    if old != Some(&row) {
        rows.push(Row::Key(*key, Some(row)));
    }
    let barred = |window: &&Window| state.is_barred(window.id, key);
    for window in state.all_windows().filter(barred) {
        rows.push(Row::Barred(window.id, *key, false));
    }
    Ok(rows)
}

fn unscope(state: &State, key: &PublicKey, scope: &Scope) -> Result<Vec<Row>, ApplyError> {
    let mut row = known(state, key)?.clone();
    if !row.scopes.remove(scope) {
        return Err(ApplyError::NotScoped);
    }
    let mut rows = vec![Row::Key(*key, Some(row))];
    rows.extend(bars(state, key, |window| scope.covers(&window.name)));
    Ok(rows)
}

/// Changes what is known of a key and says nothing of windows.
fn edit(
    state: &State,
    key: &PublicKey,
    edit: impl FnOnce(&mut KeyRow),
) -> Result<Vec<Row>, ApplyError> {
    let old = known(state, key)?;
    let mut row = old.clone();
    edit(&mut row);
    Ok(match row == *old {
        true => Vec::new(),
        false => vec![Row::Key(*key, Some(row))],
    })
}

fn end_trust(state: &State, key: &PublicKey, standing: Standing) -> Result<Vec<Row>, ApplyError> {
    let row = KeyRow {
        standing,
        scopes: Default::default(),
        expires_ms: None,
        ..known(state, key)?.clone()
    };
    let mut rows = vec![Row::Key(*key, Some(row))];
    rows.extend(bars(state, key, |_| true));
    Ok(rows)
}

fn ban(state: &State, now: Now, by: &Actor, key: &PublicKey) -> Result<Vec<Row>, ApplyError> {
    match state.key(key) {
        Some(row) if row.standing == Standing::Banned => Ok(Vec::new()),
        Some(_) => end_trust(state, key, Standing::Banned),
        None => {
            let row = KeyRow {
                standing: Standing::Banned,
                ..KeyRow::new(Added {
                    at_ms: now.wall_ms,
                    how: How::Named,
                    by: by.clone(),
                })
            };
            let mut rows = vec![Row::Key(*key, Some(row))];
            rows.extend(bars(state, key, |_| true));
            Ok(rows)
        }
    }
}

fn remove(state: &State, key: &PublicKey) -> Result<Vec<Row>, ApplyError> {
    known(state, key)?;
    let mut rows = vec![Row::Key(*key, None)];
    rows.extend(bars(state, key, |_| true));
    Ok(rows)
}

/// Bars a key from the windows that are open now and meant.
fn bars(state: &State, key: &PublicKey, meant: impl Fn(&Window) -> bool) -> Vec<Row> {
    let open = state.all_windows().filter(|window| window.ended.is_none());
    open.filter(|window| meant(window) && !state.is_barred(window.id, key))
        .map(|window| Row::Barred(window.id, *key, true))
        .collect()
}

fn known<'a>(state: &'a State, key: &PublicKey) -> Result<&'a KeyRow, ApplyError> {
    state.key(key).ok_or(ApplyError::NoSuchKey)
}

/// Text that people see: short, and without commands to their terminals.
fn check(text: Option<&str>, longest: usize, error: ApplyError) -> Result<(), ApplyError> {
    match text {
        Some(text) if text.len() > longest || text.chars().any(char::is_control) => Err(error),
        _ => Ok(()),
    }
}

fn open_window(
    state: &State,
    now: Now,
    by: &Actor,
    open: &OpenWindow,
) -> Result<Vec<Row>, ApplyError> {
    check(open.label.as_deref(), Entry::MAX_LABEL, ApplyError::Label)?;
    let behind_ms = state.highest_wall_ms.saturating_sub(now.wall_ms);
    if behind_ms > 0 {
        return Err(ApplyError::ClockSetBack { behind_ms });
    }
    let mut taken = Choice::from(0);
    let open_of_name =
        |other: &&Window| other.name == open.name && other.id != open.id && other.ended.is_none();
    for other in state.all_windows().filter(open_of_name) {
        if let Some(secret) = state.secret(other.id) {
            taken |= seal::padded(secret).ct_eq(&*seal::padded(&open.secret));
        }
    }
    if taken.into() {
        return Err(ApplyError::SecretTaken);
    }
    let (open_ones, mut ended): (Vec<_>, Vec<_>) = state
        .all_windows()
        .filter(|other| other.name == open.name && other.id != open.id)
        .partition(|other| other.ended.is_none());
    if open_ones.len() >= Window::MAX_OPEN {
        return Err(ApplyError::TooMany);
    }
    // Whoever opens one after the other must not fill the store with those that have ended.
    ended.sort_by_key(|other| std::cmp::Reverse(other.ended.map(|(_, when)| when.wall_ms)));
    let forgotten = ended.into_iter().skip(Window::MAX_ENDED);
    let forgotten = forgotten.flat_map(|other| forget(state, other));
    let OpenWindow {
        id,
        ref name,
        ref secret,
        human,
        count,
        lasts_ms,
        origin,
        ref label,
    } = *open;
    let mut rows: Vec<Row> = forgotten.collect();
    if let Some(old) = state.window(id) {
        rows.extend(empty(state, old));
    }
    let window = Window {
        id,
        name: name.clone(),
        label: label.clone(),
        by: by.clone(),
        origin,
        human,
        count,
        enrolled: Default::default(),
        guesses: 0,
        opened: now,
        lasts_ms,
        ended: (count == 0).then_some((WindowEnd::Spent, now)),
    };
    rows.extend([
        Row::Window(id, Some(window)),
        Row::Secret(id, Some(secret.clone())),
    ]);
    Ok(rows)
}

fn enrol(state: &State, now: Now, id: WindowId, key: &PublicKey) -> Result<Vec<Row>, ApplyError> {
    let window = state.window(id).ok_or(ApplyError::NoSuchWindow)?;
    match state.allows(now, &window.name, key) {
        Ok(()) => return Ok(Vec::new()),
        Err(Denied::Unknown | Denied::OutOfScope | Denied::Revoked) => {}
        // What an admin has said of this very key outweighs a secret that anybody may know.
        Err(denied @ (Denied::Disabled | Denied::Banned | Denied::Expired)) => {
            return Err(ApplyError::NotWelcome(denied));
        }
    }
    let left = window.left(now, state.highest_wall_ms);
    // A key that it has let in before and that is not accepted any more has been removed.
    let removed = window.enrolled.contains(key.as_bytes()) || state.is_barred(id, key);
    if left == 0 || removed {
        return Err(ApplyError::WindowShut);
    }
    let scope = Scope::Name(window.name.clone());
    let added = Added {
        at_ms: now.wall_ms,
        how: How::Window(id),
        by: window.by.clone(),
    };
    let mut rows = accept(state, key, &scope, None, added)?;
    rows.push(Row::Enrolled(id, *key, true));
    if left == 1 {
        rows.extend(end(window, WindowEnd::Spent, now));
    }
    Ok(rows)
}

fn guesses(state: &State, now: Now, id: WindowId, more: u32) -> Result<Vec<Row>, ApplyError> {
    let window = state.window(id).ok_or(ApplyError::NoSuchWindow)?;
    if window.ended.is_some() || more == 0 {
        return Ok(Vec::new());
    }
    let mut window = head(window);
    window.guesses = window.guesses.saturating_add(more);
    if window.human && window.guesses >= Window::MAX_GUESSES {
        window.ended = Some((WindowEnd::Guessed, now));
    }
    Ok(vec![Row::Window(id, Some(window))])
}

fn end(window: &Window, why: WindowEnd, when: Now) -> Vec<Row> {
    if window.ended.is_some() {
        return Vec::new();
    }
    let ended = Window {
        ended: Some((why, when)),
        ..head(window)
    };
    vec![Row::Window(window.id, Some(ended))]
}

/// Forgets all of a window.
pub(crate) fn forget(state: &State, window: &Window) -> Vec<Row> {
    let mut rows = empty(state, window);
    rows.extend([Row::Secret(window.id, None), Row::Window(window.id, None)]);
    rows
}

/// Forgets who has come in by a window, and who may not.
fn empty(state: &State, window: &Window) -> Vec<Row> {
    // Only keys come in, so all of them parse.
    let keys = |bytes: &[u8; 32]| PublicKey::parse(bytes).ok();
    let enrolled = window.enrolled.iter().filter_map(keys);
    let barred = state.barred(window.id).filter_map(keys);
    enrolled
        .map(|key| Row::Enrolled(window.id, key, false))
        .chain(barred.map(|key| Row::Barred(window.id, key, false)))
        .collect()
}

/// The window without the keys it has let in.
fn head(window: &Window) -> Window {
    Window {
        id: window.id,
        name: window.name.clone(),
        label: window.label.clone(),
        by: window.by.clone(),
        origin: window.origin,
        human: window.human,
        count: window.count,
        enrolled: Default::default(),
        guesses: window.guesses,
        opened: window.opened,
        lasts_ms: window.lasts_ms,
        ended: window.ended,
    }
}
