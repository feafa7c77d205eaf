//! What a change does. Pure: the state, the time and the change decide.

use identity::PublicKey;
use subtle::{Choice, ConstantTimeEq};

use crate::seal;
use crate::state::{KeyRow, Row, State};
use crate::{ApplyError, Change, Entry, Now, OpenWindow, Scope, Window, WindowEnd, WindowId};

/// The rows that a change sets; none if it changes nothing.
///
/// The state must have been [`settle`]d at this time.
pub(crate) fn decide(state: &State, now: Now, change: &Change) -> Result<Vec<Row>, ApplyError> {
    match change {
        Change::Accept { key, scope, label } => {
            accept(state, now, key, scope, label.as_deref(), None)
        }
        Change::Remove { key } => remove(state, key),
        Change::OpenWindow(open) => open_window(state, now, open),
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
    now: Now,
    key: &PublicKey,
    scope: &Scope,
    label: Option<&str>,
    window: Option<WindowId>,
) -> Result<Vec<Row>, ApplyError> {
    if label.is_some_and(|l| l.len() > Entry::MAX_LABEL || l.chars().any(char::is_control)) {
        return Err(ApplyError::Label);
    }
    let label = label.map(str::to_owned);
    let mut rows = Vec::new();
    match state.key(key) {
        None => {
            rows.push(Row::Key(
                *key,
                Some(KeyRow {
                    label,
                    added_ms: now.wall_ms,
                    window,
                }),
            ));
        }
        Some(known) if label.is_some() && known.label != label => {
            rows.push(Row::Key(
                *key,
                Some(KeyRow {
                    label,
                    ..known.clone()
                }),
            ));
        }
        Some(_) => {}
    }
    if !state.scopes(key).any(|known| known == scope) {
        rows.push(Row::Scope(*key, scope.clone(), true));
    }
    for window in state
        .all_windows()
        .filter(|window| state.is_barred(window.id, key))
    {
        rows.push(Row::Barred(window.id, *key, false));
    }
    Ok(rows)
}

fn remove(state: &State, key: &PublicKey) -> Result<Vec<Row>, ApplyError> {
    if state.key(key).is_none() {
        return Err(ApplyError::NoSuchKey);
    }
    let scopes = state
        .scopes(key)
        .map(|scope| Row::Scope(*key, scope.clone(), false));
    let mut rows: Vec<_> = scopes.collect();
    rows.push(Row::Key(*key, None));
    let open = state.all_windows().filter(|window| window.ended.is_none());
    rows.extend(open.map(|window| Row::Barred(window.id, *key, true)));
    Ok(rows)
}

fn open_window(state: &State, now: Now, open: &OpenWindow) -> Result<Vec<Row>, ApplyError> {
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
    } = *open;
    let mut rows: Vec<Row> = forgotten.collect();
    if let Some(old) = state.window(id) {
        rows.extend(empty(state, old));
    }
    let window = Window {
        id,
        name: name.clone(),
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
    if state.accepts(&window.name, key) {
        return Ok(Vec::new());
    }
    let left = window.left(now, state.highest_wall_ms);
    // A key that it has let in before and that is not accepted any more has been removed.
    let removed = window.enrolled.contains(key.as_bytes()) || state.is_barred(id, key);
    if left == 0 || removed {
        return Err(ApplyError::WindowShut);
    }
    let scope = Scope::Name(window.name.clone());
    let mut rows = accept(state, now, key, &scope, None, Some(id))?;
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
