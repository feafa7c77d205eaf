//! Which way a key may come in: what the keystore, its windows and the secret that a peer knows come
//! to.

use identity::{Name, PublicKey};
use keystore::{Denied, Keystore, Now, Reason, StoreError, WindowId};

/// How a key may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It is accepted for the name.
    Known {
        /// Since when, ms since 1970.
        added_ms: u64,
    },
    /// By this window, which spends a slot.
    Window(WindowId),
    /// It is not known, and stays so: the listener takes such.
    Anonymous,
}

/// What a secret is good for that a peer's first packet verified under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// Everybody has to know it; this window, if any, is open to unknown keys that do.
    Required(Option<WindowId>),
    /// It is for keys that this window may let in, and for those that it has.
    Window(WindowId),
}

/// Which way a key may come in for a name, with what the store holds now; or why not. Whoever is
/// refused, and whatever for, the same is looked up before.
pub(super) fn find(
    keystore: &dyn Keystore,
    now: Now,
    name: &Name,
    key: &PublicKey,
    secret: Option<Use>,
) -> Result<Result<Way, Reason>, StoreError> {
    let known = keystore.lookup(now, name, key)?.map(|entry| Way::Known {
        added_ms: entry.added.at_ms,
    });
    // Being let in is seen anyway.
    if known.is_ok() && matches!(secret, Some(Use::Required(_))) {
        return Ok(known.map_err(Reason::from));
    }
    let windows = keystore.windows(now)?;
    let named = match secret {
        Some(Use::Required(window)) => window,
        Some(Use::Window(window)) => Some(window),
        None => None,
    };
    let window = windows.iter().find(|window| Some(window.id) == named);
    let open = window.is_some_and(|window| window.left(now, keystore.highest_wall_ms()) > 0);
    let own = window.is_some_and(|window| window.enrolled.contains(key.as_bytes()));
    if secret.is_none() {
        // It has been replaced meanwhile.
        return Ok(Err(Reason::WrongSecret));
    }
    Ok(match (known, window) {
        (Ok(known), _) if open || own => Ok(known),
        // No window outweighs what an admin has said of this very key.
        (Err(denied @ (Denied::Disabled | Denied::Banned | Denied::Expired)), _) => {
            Err(denied.into())
        }
        (Err(_), Some(window)) if open => Ok(Way::Window(window.id)),
        (Err(denied), None) => Err(denied.into()),
        (Ok(_) | Err(_), _) => Err(Reason::WindowShut),
    })
}

/// As [`find`], where the listener may also take keys that are not known. One that an admin has
/// said no to is known.
pub(super) fn or_anonymous(
    keystore: &dyn Keystore,
    now: Now,
    name: &Name,
    key: &PublicKey,
    secret: Option<Use>,
    anonymous: bool,
) -> Result<Result<Way, Reason>, StoreError> {
    let way = find(keystore, now, name, key, secret)?;
    if !anonymous || secret.is_none() {
        return Ok(way);
    }
    let unknown = matches!(
        keystore.lookup(now, name, key)?,
        Err(Denied::Unknown | Denied::OutOfScope)
    );
    Ok(match way {
        Err(_) if unknown => Ok(Way::Anonymous),
        way => way,
    })
}
