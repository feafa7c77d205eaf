//! The key/value store of an appl: one file, sorted text, replaced whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The most bytes of keys and values; the store is held in memory outside the script's limit.
const MAX_BYTES: usize = 16 << 20;

/// The keys of one appl.
#[derive(Debug)]
pub(super) struct Keys {
    path: PathBuf,
    values: BTreeMap<String, Vec<u8>>,
}

impl Keys {
    /// Whether a text can be a key: `[A-Za-z0-9_+/=]+`.
    pub(super) fn allows(key: &str) -> bool {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'/' | b'=');
        !key.is_empty() && key.bytes().all(allowed)
    }

    /// Reads the store of an appl; a missing file is an empty store.
    pub(super) fn open(folder: &Path, appl: &str) -> io::Result<Self> {
        let path = folder.join(format!("{appl}.keys"));
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(file) => {
                file.take(4 * MAX_BYTES as u64).read_to_end(&mut text)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let values = text.split(|&b| b == b'\n').filter_map(parse).collect();
        Ok(Self { path, values })
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.values.get(key).map(Vec::as_slice)
    }

    /// All pairs whose key matches the SQL `LIKE` pattern.
    pub(super) fn like(&self, pattern: &str) -> impl Iterator<Item = (&str, &[u8])> {
        self.values
            .iter()
            .filter(|(key, _)| like(pattern.as_bytes(), key.as_bytes()))
            .map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Sets keys; on return they are on the disk, or nothing has changed.
    pub(super) fn set(
        &mut self,
        pairs: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) -> io::Result<()> {
        let mut values = self.values.clone();
        values.extend(pairs);
        let bytes: usize = values.iter().map(|(k, v)| k.len() + v.len()).sum();
        if bytes > MAX_BYTES {
            return Err(io::Error::other("the key store of this appl is full"));
        }
        self.write(&values)?;
        self.values = values;
        Ok(())
    }

    fn write(&self, values: &BTreeMap<String, Vec<u8>>) -> io::Result<()> {
        let mut text = Vec::new();
        for (key, value) in values {
            text.extend_from_slice(key.as_bytes());
            text.push(b' ');
            for &byte in value {
                match byte {
                    b'\\' => text.extend_from_slice(b"\\\\"),
                    b'\n' => text.extend_from_slice(b"\\n"),
                    other => text.push(other),
                }
            }
            text.push(b'\n');
        }
        let new = self.path.with_extension("keys.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }
}

/// One line: key, blank, value with `\\` and `\n` written out.
fn parse(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let blank = line.iter().position(|&b| b == b' ')?;
    let key = std::str::from_utf8(line.get(..blank)?).ok()?;
    let mut value = Vec::new();
    let mut bytes = line.get(blank + 1..)?.iter();
    while let Some(&byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                &other => other,
            },
            other => other,
        });
    }
    Keys::allows(key).then(|| (key.to_owned(), value))
}

/// SQL `LIKE`: `%` is any text, `_` any one character; ASCII letters match in either case.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'%') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(b'_') => (p, t) = (p + 1, t + 1),
            Some(want) if want.eq_ignore_ascii_case(byte) => (p, t) = (p + 1, t + 1),
            _ => match retry {
                // Give the last % one more byte.
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    (p, t) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .is_none_or(|rest| rest.iter().all(|&b| b == b'%'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn like_patterns() {
        assert!(like(b"a%", b"abc"));
        assert!(like(b"A%c", b"abc"));
        assert!(like(b"%", b""));
        assert!(like(b"_b_", b"abc"));
        assert!(like(b"%b%d", b"abcbd"));
        assert!(!like(b"a_", b"abc"));
        assert!(!like(b"b%", b"abc"));
        assert!(!like(b"", b"a"));
    }

    #[test]
    fn keys_survive() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = Keys::open(folder.path(), "chat").unwrap();
        keys.set([("a".into(), b"1\n\\n".to_vec()), ("b=/".into(), vec![])])
            .unwrap();
        keys.set([("a2".into(), b"x y".to_vec())]).unwrap();
        let keys = Keys::open(folder.path(), "chat").unwrap();
        assert_eq!(keys.get("a"), Some(&b"1\n\\n"[..]));
        assert_eq!(keys.get("b=/"), Some(&b""[..]));
        let found: Vec<_> = keys.like("a%").collect();
        assert_eq!(found, [("a", &b"1\n\\n"[..]), ("a2", &b"x y"[..])]);
        assert!(
            Keys::open(folder.path(), "other")
                .unwrap()
                .get("a")
                .is_none()
        );
    }

    proptest! {
        #[test]
        fn any_file_gives_a_store(bytes: Vec<u8>) {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("x.keys"), bytes).unwrap();
            prop_assert!(Keys::open(folder.path(), "x").is_ok());
        }
    }
}
