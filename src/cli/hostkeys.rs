//! `moonport key host`: the host's own keys.

use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use identity::{Name, PublicKey};
use keystore::{HostKeyChange, Listed};
use serde::Serialize;

use super::admin::Admin;
use super::args::{Changing, HostKey, HostKeyCommand, PassphraseSource};
use super::exit::{Exit, Failure};
use super::key::{agreed, in_base64, in_z85, show};
use super::output::Output;
use super::passphrase::{self, FLAGS, NEW_FLAGS};
use super::{duration, exchange, rooms};

pub(super) async fn run(args: HostKey, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let Some(command) = args.command else {
        let key = Admin::open(state)?.host_key().await?;
        return show(key, &args.shown, out);
    };
    if args.shown.qr || args.shown.json.json {
        return Err(Failure::because(
            Exit::Usage,
            "--qr and --json stand behind the whole command: `key host --qr`, `key host list --json`",
        ));
    }
    match command {
        HostKeyCommand::Import(args) => return exchange::import_host(args, state, out).await,
        HostKeyCommand::List(json) => {
            let listed = Admin::open(state)?.host_keys().await?;
            list(&listed, json.json, out)?;
        }
        HostKeyCommand::New {
            tag,
            seal,
            passphrase: source,
            how,
        } => {
            let place = source.place();
            let seal = match seal || place.is_some() {
                true => Some(passphrase::new(place.as_ref(), FLAGS).await?),
                false => None,
            };
            let change = HostKeyChange::New {
                seal,
                private: None,
            };
            let listed = changed(state, &tag, change, &how).await?;
            tell(&listed, &how, out, format_args!("host key {tag} is made"))?;
        }
        HostKeyCommand::Rotate {
            tag,
            overlap,
            passphrase: source,
            how,
        } => {
            let change = HostKeyChange::Rotate {
                overlap_ms: u64::try_from(overlap.as_millis()).unwrap_or(u64::MAX),
                passphrase: if_sealed(state, &tag, &source).await?,
            };
            let listed = changed(state, &tag, change, &how).await?;
            let overlap = duration::text(overlap);
            let done = format_args!(
                "host key {tag} is rotated; who was accepted before is answered by the previous \
                 key for {overlap}"
            );
            tell(&listed, &how, out, done)?;
        }
        HostKeyCommand::Retire {
            tag,
            passphrase: source,
            yes,
            how,
        } => {
            let passphrase = if_sealed(state, &tag, &source).await?;
            if !(yes || how.dry_run) {
                let question = format!(
                    "retire the previous key of {tag}, so that clients who know no other do not \
                     know this host any more?"
                );
                agreed(&question).await?;
            }
            let change = HostKeyChange::Retire { passphrase };
            let listed = changed(state, &tag, change, &how).await?;
            let done = format_args!("the previous key of {tag} is retired");
            tell(&listed, &how, out, done)?;
        }
        HostKeyCommand::Seal {
            tag,
            passphrase: source,
            how,
        } => {
            let passphrase = passphrase::new(source.place().as_ref(), FLAGS).await?;
            let change = HostKeyChange::Seal { passphrase };
            let listed = changed(state, &tag, change, &how).await?;
            tell(&listed, &how, out, format_args!("host key {tag} is sealed"))?;
        }
        HostKeyCommand::Unseal {
            tag,
            passphrase: source,
            yes,
            how,
        } => {
            let passphrase = passphrase::known(source.place().as_ref()).await?;
            if !(yes || how.dry_run) {
                let question =
                    format!("keep host key {tag} unsealed, for whoever can read its file?");
                agreed(&question).await?;
            }
            let change = HostKeyChange::Unseal { passphrase };
            let listed = changed(state, &tag, change, &how).await?;
            let done = format_args!("host key {tag} is not sealed any more");
            tell(&listed, &how, out, done)?;
        }
        HostKeyCommand::Reseal {
            tag,
            passphrase: source,
            new,
            how,
        } => {
            let passphrase = passphrase::known(source.place().as_ref()).await?;
            let new = passphrase::new(new.place().as_ref(), NEW_FLAGS).await?;
            let change = HostKeyChange::Reseal { passphrase, new };
            let listed = changed(state, &tag, change, &how).await?;
            let done = format_args!("host key {tag} is sealed by the new passphrase");
            tell(&listed, &how, out, done)?;
        }
    }
    Ok(Exit::Done)
}

async fn changed(
    state: &Path,
    tag: &Name,
    change: HostKeyChange,
    how: &Changing,
) -> Result<Listed, Failure> {
    let mut admin = Admin::open(state)?;
    admin
        .change_host_key(tag.clone(), change, how.dry_run)
        .await
}

/// The passphrase of a tag, where it needs one, or where somebody says one. Nothing is held while
/// a person is asked.
async fn if_sealed(
    state: &Path,
    tag: &Name,
    source: &PassphraseSource,
) -> Result<Option<keystore::sealed::Passphrase>, Failure> {
    let place = source.place();
    let listed = Admin::open(state)?.host_keys().await?;
    let sealed = listed
        .iter()
        .any(|listed| listed.tag == *tag && listed.sealed);
    match sealed || place.is_some() {
        true => passphrase::known(place.as_ref()).await.map(Some),
        false => Ok(None),
    }
}

/// Says what was done, or would be.
fn tell(listed: &Listed, how: &Changing, out: &Output, done: impl Display) -> Result<(), Failure> {
    if how.json {
        return out.json(&Shown {
            dry_run: Some(how.dry_run),
            ..Shown::of(listed)
        });
    }
    if how.dry_run {
        return out.line(format_args!("nothing is changed; else: {done}"));
    }
    out.line(done)?;
    let key = listed.ring.current;
    out.line(format_args!("key: {key}"))?;
    out.line(format_args!("fingerprint: {}", key.fingerprint()))?;
    out.line(format_args!("words: {}", key.fingerprint().words()))
}

fn list(listed: &[Listed], json: bool, out: &Output) -> Result<(), Failure> {
    if json {
        return out.json(&listed.iter().map(Shown::of).collect::<Vec<_>>());
    }
    if listed.is_empty() && out.terminal {
        return out.line("there are no host keys; the first run makes one");
    }
    let now = rooms::now().wall_ms;
    let rows: Vec<_> = listed.iter().flat_map(|listed| rows(listed, now)).collect();
    out.table(
        [
            "TAG",
            "STATE",
            "SEALED",
            "SINCE",
            "ANSWERS",
            "KEY",
            "FINGERPRINT",
            "Z85",
        ],
        &rows,
    )
}

/// The current key of a tag, and the previous one if there is one.
fn rows(listed: &Listed, now: u64) -> Vec<[String; 8]> {
    let row = |state: &str, key: PublicKey, since: Option<u64>, answers: String| {
        let ago = |since: u64| {
            let age = Duration::from_millis(now.saturating_sub(since));
            format!("{} ago", duration::text(age))
        };
        [
            listed.tag.to_string(),
            state.into(),
            if listed.sealed { "yes" } else { "no" }.into(),
            since.map_or_else(|| "-".into(), ago),
            answers,
            key.to_string(),
            key.fingerprint().to_string(),
            in_z85(key),
        ]
    };
    let ring = &listed.ring;
    let mut rows = vec![row("current", ring.current, ring.since_ms, "yes".into())];
    if let Some(previous) = &ring.previous {
        let left = Duration::from_millis(previous.until_ms.saturating_sub(now));
        let answers = match left.is_zero() {
            true => "no more".into(),
            false => format!("for {}", duration::text(left)),
        };
        rows.push(row("previous", previous.key, None, answers));
    }
    rows
}

/// The keys of a tag, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    tag: &'a str,
    #[serde(serialize_with = "in_base64")]
    key: PublicKey,
    z85: String,
    fingerprint: String,
    sealed: bool,
    since_ms: Option<u64>,
    previous: Option<ShownPrevious>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dry_run: Option<bool>,
}

#[derive(Serialize)]
struct ShownPrevious {
    #[serde(serialize_with = "in_base64")]
    key: PublicKey,
    z85: String,
    fingerprint: String,
    rotated_ms: u64,
    answers_until_ms: u64,
}

impl<'a> Shown<'a> {
    fn of(listed: &'a Listed) -> Self {
        let ring = &listed.ring;
        Self {
            tag: listed.tag.as_str(),
            key: ring.current,
            z85: in_z85(ring.current),
            fingerprint: ring.current.fingerprint().to_string(),
            sealed: listed.sealed,
            since_ms: ring.since_ms,
            previous: ring.previous.as_ref().map(|previous| ShownPrevious {
                key: previous.key,
                z85: in_z85(previous.key),
                fingerprint: previous.key.fingerprint().to_string(),
                rotated_ms: previous.rotated_ms,
                answers_until_ms: previous.until_ms,
            }),
            dry_run: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keystore::{Previous, Ring};

    fn listed() -> Listed {
        let key = |byte| PublicKey::parse(&[byte; 32]).unwrap();
        Listed {
            tag: Name::parse("default").unwrap(),
            ring: Ring {
                current: key(7),
                since_ms: Some(1_000),
                previous: Some(Previous {
                    key: key(8),
                    rotated_ms: 1_000,
                    until_ms: 101_000,
                }),
            },
            sealed: true,
        }
    }

    #[test]
    fn both_keys_of_a_rotation_are_listed() {
        let [current, previous] = rows(&listed(), 61_000).try_into().unwrap();
        assert_eq!(
            current[..5],
            ["default", "current", "yes", "1 min ago", "yes"]
        );
        assert_eq!(
            previous[..5],
            ["default", "previous", "yes", "-", "for 40 s"]
        );
        let [_, previous] = rows(&listed(), 101_000).try_into().unwrap();
        assert_eq!(previous[4], "no more");
    }

    #[test]
    fn programs_are_told_until_when_the_previous_key_answers() {
        let json = serde_json::to_value(Shown::of(&listed())).unwrap();
        assert_eq!(json["previous"]["answers_until_ms"], 101_000);
        assert_eq!(json["sealed"], true);
        assert_eq!(json["z85"], in_z85(listed().ring.current));
        assert!(json.get("dry_run").is_none());
    }
}
