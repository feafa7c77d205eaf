//! Which key somebody means: all of it, the beginning of it, its label, or where it stands.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use data_encoding::HEXLOWER;
use identity::PublicKey;
use keystore::Entry;

use super::exit::{Exit, Failure, OrExit};
use super::output::printable;

/// Finds the key that is meant: base64, hex, Z85, `-` for standard input, the label of a known key, a
/// file, or the beginning of a known key or label, if that means one only.
pub(super) fn key(text: &str, known: &[Entry]) -> Result<PublicKey, Failure> {
    if text.is_empty() {
        // It is the beginning of everything.
        return Err(Failure::because(
            Exit::Usage,
            "the key that is named is empty",
        ));
    }
    if text == "-" {
        return from(io::stdin().lock(), "standard input");
    }
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let label = |entry: &&Entry| entry.label.as_deref() == Some(text);
    if let Some(key) = only(known.iter().filter(label), text)? {
        return Ok(key);
    }
    if Path::new(text).is_file() {
        return file(Path::new(text));
    }
    let begins = |entry: &&Entry| {
        let label = entry.label.as_deref().unwrap_or_default();
        let spelled = [entry.key.to_string(), HEXLOWER.encode(entry.key.as_bytes())];
        let long_enough = text.len() >= SHORTEST;
        label.starts_with(text) || long_enough && spelled.iter().any(|key| key.starts_with(text))
    };
    only(known.iter().filter(begins), text)?.ok_or_else(|| {
        // A text as long as a key was meant as one.
        let why = match text.parse::<PublicKey>() {
            Err(error) if (40..=70).contains(&text.len()) => error.to_string(),
            _ => {
                "it is neither a key (44 characters of base64, 64 of hex, 40 of Z85) nor a file, and no \
                  known label or key begins so"
                    .into()
            }
        };
        Failure::because(
            Exit::Usage,
            format_args!("no key {:?}: {why}", printable(text)),
        )
    })
}

/// The key in a file: its first word.
pub(super) fn file(path: &Path) -> Result<PublicKey, Failure> {
    let place = path.display().to_string();
    let file = File::open(path).or_exit_with(Exit::Usage, || format!("cannot read {place}"))?;
    from(file, &place)
}

fn from(reader: impl Read, place: &str) -> Result<PublicKey, Failure> {
    let mut text = String::new();
    reader
        .take(LONGEST)
        .read_to_string(&mut text)
        .or_exit_with(Exit::Usage, || format!("cannot read a key from {place}"))?;
    // No spelling of a key begins with a '#': in Z85, too, that digit is too large for a first one.
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let word = lines
        .flat_map(str::split_whitespace)
        .next()
        .unwrap_or_default();
    word.parse::<PublicKey>()
        .or_exit_with(Exit::Usage, || format!("no key in {place}"))
}

fn only<'a>(
    found: impl Iterator<Item = &'a Entry>,
    text: &str,
) -> Result<Option<PublicKey>, Failure> {
    let found: Vec<_> = found.collect();
    match found.as_slice() {
        [] => Ok(None),
        [entry] => Ok(Some(entry.key)),
        several => {
            let keys: Vec<_> = several.iter().map(|entry| entry.key.to_string()).collect();
            Err(Failure::because(
                Exit::Usage,
                format_args!(
                    "{:?} may mean {} keys, say which: {}",
                    printable(text),
                    keys.len(),
                    keys.join(", ")
                ),
            ))
        }
    }
}

/// The shortest beginning of a key that is taken for one.
const SHORTEST: usize = 4;

/// The longest file that is taken for one with a key, in bytes.
const LONGEST: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use keystore::{Actor, Added, How, Standing};
    use std::collections::BTreeSet;

    fn entry(byte: u8, label: Option<&str>) -> Entry {
        Entry {
            key: PublicKey::parse(&[byte; 32]).unwrap(),
            scopes: BTreeSet::new(),
            label: label.map(Into::into),
            standing: Standing::Accepted,
            comment: None,
            added: Added {
                at_ms: 0,
                how: How::Named,
                by: Actor::User(1000),
            },
            expires_ms: None,
            seen: None,
        }
    }

    #[test]
    fn a_key_is_known_by_its_spellings_its_label_and_its_beginning() {
        let known = [
            entry(7, Some("laptop")),
            entry(8, Some("lab")),
            entry(9, None),
        ];
        let seven = known[0].key;
        for text in [
            seven.to_string(),
            HEXLOWER.encode(seven.as_bytes()),
            identity::z85::encode(seven.as_bytes()).to_string(),
            seven.to_string()[..6].to_owned(),
            HEXLOWER.encode(seven.as_bytes())[..4].to_owned(),
            "laptop".into(),
            "lap".into(),
        ] {
            assert_eq!(key(&text, &known).unwrap(), seven, "{text}");
        }
        assert_eq!(key("lab", &known).unwrap(), known[1].key);
    }

    #[test]
    fn what_may_mean_several_means_none() {
        let known = [entry(7, Some("laptop")), entry(8, Some("lab"))];
        let failure = key("la", &known).unwrap_err();
        assert!(failure.to_string().contains("2 keys"), "{failure}");
        assert!(failure.to_string().contains(&known[0].key.to_string()));
        assert_eq!(failure.exit, Exit::Usage);
        let twice = [entry(7, Some("x")), entry(8, Some("x"))];
        assert!(key("x", &twice).is_err());
    }

    #[test]
    fn nothing_names_no_key() {
        for known in [entry(7, Some("laptop")), entry(8, None)] {
            let failure = key("", &[known]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
        }
    }

    #[test]
    fn a_short_beginning_of_a_key_is_not_enough() {
        let known = [entry(7, None)];
        let short = &known[0].key.to_string()[..3];
        assert!(key(short, &known).is_err());
    }

    #[test]
    fn a_file_may_hold_a_key_and_remarks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let known = entry(7, None);
        std::fs::write(&path, format!("# of the laptop\n{} laptop\n", known.key)).unwrap();
        assert_eq!(key(path.to_str().unwrap(), &[]).unwrap(), known.key);
        std::fs::write(&path, "nothing\n").unwrap();
        let failure = key(path.to_str().unwrap(), &[]).unwrap_err();
        assert!(failure.to_string().contains("no key in"), "{failure}");
    }

    #[test]
    fn a_second_spelling_of_a_key_is_told_as_such() {
        let mut bytes = [0xff; 32];
        bytes[0] = 0xf6;
        let failure = key(&HEXLOWER.encode(&bytes), &[]).unwrap_err();
        assert!(failure.to_string().contains("second spelling"), "{failure}");
    }
}
