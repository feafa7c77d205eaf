//! CurveCP's key directory, and public keys that stand alone.
//!
//! ```text
//! publickey                   32 bytes as they are
//! .expertsonly/secretkey      32 bytes as they are
//! .expertsonly/noncekey       32 random bytes; with noncecounter and lock, for fresh nonces
//! ```
//!
//! A public key alone is a file with those 32 bytes, or with 64 digits of hex, as it is printed.

use data_encoding::HEXLOWER_PERMISSIVE;
use identity::{Name, PublicKey};
use zeroize::Zeroizing;

use super::folder::File;
use super::{
    Error, Files, Flaw, Folder, Imported, Inbound, MAX_LABEL, Private, SecretBytes, Take, clean,
};

/// Reads a key directory or a public key.
pub(super) fn parse(folder: &Folder, take: Take) -> Result<Imported, Error> {
    let mut imported = Imported::default();
    if let Some(file) = folder.single() {
        imported
            .inbound
            .push(Inbound::new(public(file)?, file.at(None)));
        return Ok(imported);
    }
    let mut found = false;
    for file in folder.files() {
        match file.name.as_str() {
            "publickey" => {
                let label = clean(folder.last_name(), MAX_LABEL);
                let entry = Inbound::new(public(file)?, file.at(None));
                imported.inbound.push(Inbound { label, ..entry });
                found = true;
            }
            ".expertsonly/secretkey" => {
                let secret = SecretBytes::parse(&file.bytes)
                    .ok_or_else(|| file.flaw(None, Flaw::Private))?;
                found = true;
                match take.private {
                    true => imported.private.push(Private {
                        tag: tag(folder).ok_or_else(|| file.flaw(None, Flaw::Private))?,
                        secret,
                        public: None,
                        from: file.at(None),
                    }),
                    false => imported.skip(file.at(None), "a private key, which was not asked for"),
                }
            }
            name if NONCES.contains(&name) => {}
            _ => imported.skip(file.at(None), "no part of a key directory"),
        }
    }
    if !found {
        return Err(Error {
            at: folder.place(),
            flaw: Flaw::Form(
                "no key directory: there is neither publickey nor .expertsonly/secretkey",
            ),
        });
    }
    if let Some(private) = imported.private.first_mut() {
        // Then it is our own.
        private.public = imported.inbound.first().map(|own| own.key);
        imported.inbound.clear();
    }
    Ok(imported)
}

/// Whether it is a public key alone: sound or not.
pub(super) fn is_public_key(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let hex = text.len() == 64 && text.iter().all(u8::is_ascii_hexdigit);
    // 32 characters of text are rather something else.
    hex || bytes.len() == 32 && str::from_utf8(bytes).is_err()
}

fn public(file: &File) -> Result<PublicKey, Error> {
    let text = file.bytes.trim_ascii();
    let parsed = match HEXLOWER_PERMISSIVE.decode(text) {
        Ok(bytes) if text.len() == 64 => PublicKey::parse(&bytes),
        _ if file.bytes.len() == 32 => PublicKey::parse(&file.bytes),
        _ => {
            return Err(file.flaw(
                None,
                Flaw::Form("no public key: 32 bytes or 64 digits of hex"),
            ));
        }
    };
    parsed.map_err(|error| file.flaw(None, Flaw::Key(error)))
}

fn tag(folder: &Folder) -> Option<Name> {
    let names = [folder.last_name(), "default"];
    names.into_iter().find_map(|name| Name::parse(name).ok())
}

/// Writes a key directory. With a private key come 32 random bytes, the key for its nonces.
pub fn write(key: &PublicKey, private: Option<(&SecretBytes, &SecretBytes)>) -> Files {
    let mut files = Files::default();
    let mut push = |name: &str, bytes: &[u8], mode| {
        let bytes = Zeroizing::new(bytes.to_vec());
        files.files.push((name.to_owned(), bytes, mode));
    };
    push("publickey", key.as_bytes(), 0o644);
    if let Some((secret, nonces)) = private {
        push(".expertsonly/secretkey", secret.reveal(), 0o600);
        push(".expertsonly/noncekey", nonces.reveal(), 0o600);
        push(".expertsonly/noncecounter", &[0; 8], 0o600);
        push(".expertsonly/lock", &[0], 0o600);
        files.folders.push(".expertsonly");
    }
    files
}

/// What is only of use to the programs that wrote it.
const NONCES: [&str; 3] = [
    ".expertsonly/lock",
    ".expertsonly/noncecounter",
    ".expertsonly/noncekey",
];

#[cfg(test)]
mod tests;
