//! `moonport explain`: why somebody was refused, in plain words.

use std::path::Path;

use identity::{Name, PublicKey};
use keystore::Reason;
use keystore::audit::{Event, Line, Record};
use serde_json::{Value, json};

use super::{Explain, Log, line};
use crate::cli::exit::{Exit, Failure};
use crate::cli::moment;
use crate::cli::output::{Output, printable};

/// A refusal, and what to say of it.
struct Refusal {
    /// The record as it stands in its line.
    record: Value,
    /// To whom, when, where.
    what: String,
    why: String,
}

pub(in crate::cli) fn run(explain: &Explain, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Explain { reference, json } = explain;
    let mut log = Log::open(state);
    let mut found = Vec::new();
    while let Some(line) = log.next()? {
        // What is not a record is for `verify` to tell.
        found.extend(Refusal::of(&line, explain));
    }
    if found.is_empty() {
        return Err(Failure::because(
            Exit::Usage,
            format_args!(
                "no refusal with the reference {reference} is recorded in {}: it may have been \
                 another host, or one of many at once, of which only the number is recorded \
                 (`moonport audit show --kind refused-more`)",
                state.display()
            ),
        ));
    }
    if json.json {
        let shown = |it: &Refusal| json!({ "record": it.record, "explanation": it.why });
        return out
            .json(&found.iter().map(shown).collect::<Vec<_>>())
            .map(|()| Exit::Done);
    }
    if found.len() > 1 {
        out.line(format_args!(
            "{} refusals have the reference {reference}: the same first packet came again, sent by \
             whoever recorded it, or so it happened by chance\n",
            found.len()
        ))?;
    }
    for refusal in found {
        out.line(printable(&refusal.what))?;
        out.line(refusal.why)?;
    }
    Ok(Exit::Done)
}

impl Refusal {
    fn of(line: &Line, explain: &Explain) -> Option<Self> {
        let record = Record::parse(&line.bytes).ok()?;
        let Event::Refused {
            name,
            key,
            label,
            source,
            reason,
            reference,
        } = &record.event
        else {
            return None;
        };
        if *reference != Some(explain.reference) {
            return None;
        }
        let who = match key {
            Some(key) => format!("the key {}", line::named(key, label)),
            None => "somebody who got as far as claiming no key".to_owned(),
        };
        let when = moment::text(record.at_ms);
        let short = line::short(*reason);
        let what = format!("{when}: {name} refused {who}, from {source}: {short}.");
        let why = paragraph(*reason, name, key.as_ref());
        let record = serde_json::from_slice(&line.bytes).ok()?;
        Some(Self { record, what, why })
    }
}

/// What it means and what an admin can do.
fn paragraph(reason: Reason, name: &Name, key: Option<&PublicKey>) -> String {
    let key = key.map_or_else(|| "KEY".to_owned(), ToString::to_string);
    match reason {
        Reason::WrongSecret => format!(
            "The first packet verifies under no secret that was in force for {name} at that time. \
             Either the secret was mistyped, or none was given where one is required, or its window \
             had been forgotten by then, a day after its end. `moonport window list` shows the \
             windows there are; `moonport window open {name}` opens a new one."
        ),
        Reason::Protocol => "What came is not what the protocol says: the other program is not an \
             a12 client, is of another version, or means no good. Nothing here can be set to let it \
             in."
            .to_owned(),
        Reason::TooSlow => "The time for proving a key had passed before one was proved: a slow or \
             broken connection, or somebody who only wanted to hold a place. If the way is that \
             long, `moonport run --handshake-timeout` gives more time."
            .to_owned(),
        Reason::UnknownKey => format!(
            "Nobody has accepted this key, and the secret, if there was one, belongs to no window. \
             If you know whose key it is, `moonport key accept {key} --scope {name}` accepts it; or \
             open a window with `moonport window open {name}` and tell its secret to the other side."
        ),
        Reason::OutOfScope => format!(
            "This key is accepted for other names, but not for {name}. `moonport key accept {key} \
             --scope {name}` accepts it for this one, too."
        ),
        Reason::Disabled => format!(
            "An admin has disabled this key for the time being; no window lets it in either. \
             `moonport key enable {key}` accepts it again where it was accepted before."
        ),
        Reason::Revoked => format!(
            "An admin has revoked this key. If that is to be undone, `moonport key accept {key} \
             --scope {name}` trusts it anew, or a window that is opened from now on lets it in. \
             `moonport audit show --key {key}` says who revoked it, and when."
        ),
        Reason::Banned => format!(
            "An admin has banned this key: no window lets it in, and it cannot be accepted. \
             `moonport key unban {key}` lifts the ban; the key then has to be accepted anew. \
             `moonport audit show --key {key}` says who banned it, and when."
        ),
        Reason::Expired => format!(
            "The time for which this key was accepted is over. An admin can give it more with \
             `moonport key expire {key}`."
        ),
        Reason::WindowShut => format!(
            "The secret is that of a window that does not let this key in: it has let in as many \
             as it may, its time is over, it was closed, or an admin removed this key while it was \
             open. `moonport audit show --name {name} --kind window-end` says which; `moonport \
             window open {name}` opens a new one."
        ),
        Reason::NotProved => "The key was claimed, and then not proved: the other side does not hold \
             its private key. Whoever knows a public key and the secret can claim it. If this comes \
             often, somebody tries to pass for its owner, and cannot."
            .to_owned(),
        Reason::TooMany => format!(
            "There was no room: this key, or all clients of {name} together, had as many sessions \
             or connections as they may. Later there may be. `moonport status` shows how many there \
             are now."
        ),
        Reason::Closing => format!(
            "The host was ending, or the script of {name} was closing this listener, when the key \
             had been proved: nobody new is let in then. Once the host listens for {name} again, it \
             can be tried again; `moonport status` shows for which names it listens."
        ),
        Reason::TurnedAway => format!(
            "The key is accepted and was proved, but the script of {name} did not take it, or took \
             too long to say so. Only the script's author can say why; its output may."
        ),
        Reason::Keystore => "The keystore did not work at that time, so nobody was let in. The \
             host's log says why; start the host again once the cause is gone."
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_explained_in_words_of_its_own() {
        let name = Name::parse("hello").unwrap();
        let all = [
            Reason::WrongSecret,
            Reason::Protocol,
            Reason::TooSlow,
            Reason::UnknownKey,
            Reason::OutOfScope,
            Reason::Disabled,
            Reason::Revoked,
            Reason::Banned,
            Reason::Expired,
            Reason::WindowShut,
            Reason::NotProved,
            Reason::TooMany,
            Reason::Closing,
            Reason::TurnedAway,
            Reason::Keystore,
        ];
        let texts: std::collections::BTreeSet<_> = all
            .iter()
            .map(|reason| paragraph(*reason, &name, None))
            .collect();
        assert_eq!(texts.len(), all.len());
        assert!(
            texts
                .iter()
                .all(|text| text.len() > 100 && !text.contains("  "))
        );
    }
}
