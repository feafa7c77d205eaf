//! What a change comes to, in words: before it is made, after, and why it cannot be.

use identity::PublicKey;
use keystore::{Change, Entry, Scope, Standing};

use super::called;
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment;
use crate::cli::output::printable;

/// A change of a key, as it is told.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Words {
    /// Goes on after "is" or "would be".
    pub(super) becomes: String,
    /// It is so already.
    pub(super) already: bool,
}

/// The entry of a key that has to be known.
pub(super) fn entry<'a>(key: &PublicKey, known: &'a [Entry]) -> Result<&'a Entry, Failure> {
    known.iter().find(|entry| entry.key == *key).ok_or_else(|| {
        Failure::because(
            Exit::Usage,
            format_args!("{key} is not known; `moonport key accept` makes it so"),
        )
    })
}

/// That a key may get more names: it is known, and neither revoked nor banned.
pub(super) fn standing(key: &PublicKey, known: &[Entry]) -> Result<(), Failure> {
    let old = entry(key, known)?;
    match old.standing {
        Standing::Accepted | Standing::Disabled => Ok(()),
        Standing::Revoked => Err(stands(old, anew(key))),
        Standing::Banned => Err(stands(old, unban(key))),
    }
}

/// What a change of a key comes to. What the keystore would refuse is refused here, with what to do
/// instead; the keystore still has the last word.
pub(super) fn of(change: &Change, known: &[Entry]) -> Result<Words, Failure> {
    let some = |becomes: String, already| Ok(Words { becomes, already });
    let Some(key) = change.key() else {
        return some("changed".into(), false);
    };
    let old = known.iter().find(|entry| entry.key == *key);
    match (change, old) {
        (Change::Accept { scope, label, .. }, old) => {
            if let Some(old) = old.filter(|old| old.standing == Standing::Banned) {
                return Err(stands(old, unban(key)));
            }
            let same = |old: &Entry| {
                old.standing != Standing::Revoked
                    && old.scopes.contains(scope)
                    && (label.is_none() || *label == old.label)
            };
            let becomes = format!("accepted for {}", scope.as_str());
            some(becomes, old.is_some_and(same))
        }
        (Change::Ban { .. }, old) => some(
            "banned".into(),
            old.is_some_and(|old| old.standing == Standing::Banned),
        ),
        // One that is only about to be accepted.
        (Change::Comment { .. } | Change::Expire { .. }, None) => some(said(change), false),
        (_, None) => Err(entry(key, known)
            .err()
            .unwrap_or_else(|| Failure::because(Exit::Usage, format_args!("{key} is not known")))),
        (_, Some(old)) => known_one(change, old),
    }
}

fn known_one(change: &Change, old: &Entry) -> Result<Words, Failure> {
    let key = old.key;
    let already = match change {
        Change::Unscope { scope, .. } => {
            if !old.scopes.contains(scope) {
                return Err(not_scoped(scope, old));
            }
            false
        }
        Change::Label { label, .. } => *label == old.label,
        Change::Comment { comment, .. } => *comment == old.comment,
        Change::Expire { at_ms, .. } => match old.standing {
            Standing::Accepted | Standing::Disabled => *at_ms == old.expires_ms,
            // A change before this one in the same group may accept it.
            Standing::Revoked => false,
            Standing::Banned => return Err(stands(old, "it has no time that could end")),
        },
        Change::Disable { .. } => match old.standing {
            Standing::Accepted => false,
            Standing::Disabled => true,
            Standing::Revoked | Standing::Banned => {
                return Err(stands(old, "there is nothing to disable"));
            }
        },
        Change::Enable { .. } => match old.standing {
            Standing::Disabled => false,
            Standing::Accepted => true,
            Standing::Revoked => return Err(stands(old, anew(&key))),
            Standing::Banned => return Err(stands(old, unban(&key))),
        },
        Change::Revoke { .. } => match old.standing {
            Standing::Accepted | Standing::Disabled => false,
            Standing::Revoked => true,
            Standing::Banned => return Err(stands(old, "that says more than revoked")),
        },
        Change::Unban { .. } if old.standing != Standing::Banned => {
            return Err(stands(old, "there is no ban to lift"));
        }
        _ => false,
    };
    Ok(Words {
        becomes: said(change),
        already,
    })
}

/// What a key is after a change.
fn said(change: &Change) -> String {
    match change {
        Change::Accept { scope, .. } => format!("accepted for {}", scope.as_str()),
        Change::Unscope { scope, .. } => format!("not accepted for {} any more", scope.as_str()),
        Change::Label {
            label: Some(label), ..
        } => format!("labelled {:?}", printable(label)),
        Change::Label { label: None, .. } => "without a label".into(),
        Change::Comment {
            comment: Some(text),
            ..
        } => format!("commented {:?}", printable(text)),
        Change::Comment { comment: None, .. } => "without a comment".into(),
        Change::Expire {
            at_ms: Some(end), ..
        } => format!("good until {}", moment::text(*end)),
        Change::Expire { at_ms: None, .. } => "good for ever".into(),
        Change::Disable { .. } => "disabled".into(),
        Change::Enable { .. } => "enabled".into(),
        Change::Revoke { .. } => "revoked".into(),
        Change::Ban { .. } => "banned".into(),
        Change::Unban { .. } => "not banned any more, but revoked".into(),
        Change::Remove { .. } => "removed".into(),
        Change::Enrol { .. }
        | Change::OpenWindow(_)
        | Change::CloseWindow { .. }
        | Change::Guesses { .. } => "changed".into(),
    }
}

/// What a change does, for questions and programs.
pub(super) fn verb(change: &Change) -> &'static str {
    match change {
        Change::Accept { .. } => "accept",
        Change::Unscope { .. } => "unscope",
        Change::Label { .. } => "label",
        Change::Comment { .. } => "comment",
        Change::Expire { .. } => "expire",
        Change::Disable { .. } => "disable",
        Change::Enable { .. } => "enable",
        Change::Revoke { .. } => "revoke",
        Change::Ban { .. } => "ban",
        Change::Unban { .. } => "unban",
        Change::Remove { .. } => "remove",
        Change::Enrol { .. } => "enrol",
        Change::OpenWindow(_) => "open",
        Change::CloseWindow { .. } => "close",
        Change::Guesses { .. } => "count",
    }
}

fn anew(key: &PublicKey) -> String {
    format!("`moonport key accept {key} --scope NAME` accepts it anew")
}

fn unban(key: &PublicKey) -> String {
    format!("`moonport key unban {key}` lifts that first")
}

fn stands(old: &Entry, instead: impl std::fmt::Display) -> Failure {
    Failure::because(
        Exit::Keystore,
        format_args!("{} is {}; {instead}", called(old), old.standing.describe()),
    )
}

fn not_scoped(scope: &Scope, old: &Entry) -> Failure {
    let who = called(old);
    let name = scope.as_str();
    if old.scopes.contains(&Scope::Any) {
        let key = old.key;
        return Failure::because(
            Exit::Keystore,
            format_args!(
                "{who} is accepted for {name} only because it is for *, that is for all names; \
                 add those that it should keep (`moonport key scope add {key} NAME`), then take * \
                 away (`moonport key scope remove {key} '*'`)"
            ),
        );
    }
    let names = scopes(old);
    let names = if names.is_empty() { "no name" } else { &names };
    Failure::because(
        Exit::Keystore,
        format_args!("{who} is not accepted for {name}, but for {names}"),
    )
}

/// The names that a key is accepted for.
pub(super) fn scopes(entry: &Entry) -> String {
    let scopes: Vec<_> = entry.scopes.iter().map(Scope::as_str).collect();
    scopes.join(",")
}

#[cfg(test)]
mod tests {
    use super::super::example;
    use super::*;
    use identity::Name;

    fn name(text: &str) -> Scope {
        Scope::Name(Name::parse(text).unwrap())
    }

    fn accept(key: PublicKey) -> Change {
        Change::Accept {
            key,
            scope: name("hello"),
            label: None,
            imported: false,
        }
    }

    #[test]
    fn a_banned_key_is_not_accepted_and_the_way_out_is_named() {
        let entry = example(7, &[], Standing::Banned);
        let failure = of(&accept(entry.key), &[entry]).unwrap_err();
        let text = failure.to_string();
        assert!(text.contains("is banned"), "{text}");
        assert!(text.contains("moonport key unban"), "{text}");
        assert_eq!(failure.exit, Exit::Keystore);
    }

    #[test]
    fn a_name_that_only_the_star_covers_is_told_as_such() {
        let entry = example(7, &["*"], Standing::Accepted);
        let change = Change::Unscope {
            key: entry.key,
            scope: name("hello"),
        };
        let text = of(&change, &[entry]).unwrap_err().to_string();
        assert!(text.contains("only because it is for *"), "{text}");
        let entry = example(7, &["chat"], Standing::Accepted);
        let text = of(&change, &[entry]).unwrap_err().to_string();
        assert!(text.contains("but for chat"), "{text}");
    }

    #[test]
    fn what_is_so_already_is_told_as_such() {
        let entry = example(7, &["hello"], Standing::Disabled);
        let key = entry.key;
        let already = |change| of(&change, std::slice::from_ref(&entry)).unwrap().already;
        assert!(already(Change::Disable { key }));
        assert!(!already(Change::Enable { key }));
        assert!(already(accept(key)));
        assert!(!already(Change::Revoke { key }));
        assert!(already(Change::Expire { key, at_ms: None }));
    }

    #[test]
    fn an_unknown_key_can_be_accepted_and_banned_and_nothing_else() {
        let key = example(7, &[], Standing::Accepted).key;
        assert!(of(&accept(key), &[]).is_ok());
        assert!(of(&Change::Ban { key }, &[]).is_ok());
        for change in [
            Change::Disable { key },
            Change::Revoke { key },
            Change::Remove { key },
            Change::Unban { key },
        ] {
            let failure = of(&change, &[]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
        }
    }
}
