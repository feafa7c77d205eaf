//! ZeroMQ's CURVE certificates, as czmq and pyzmq write them (ZPL, ZeroMQ RFC 4).
//!
//! ```text
//! metadata
//!     name = "anna"
//! curve
//!     public-key = "40 characters of Z85"
//!     secret-key = "only in a private certificate"
//! ```
//!
//! A certificate with a secret key is our own: its public key is nobody who connects to us.

use identity::{Name, PublicKey, z85};
use zeroize::Zeroizing;

use super::folder::File;
use super::{
    Error, Files, Flaw, Folder, Imported, Inbound, MAX_COMMENT, MAX_LABEL, Private, SecretBytes,
    Take, clean,
};

/// Reads a certificate, or those of a directory.
pub(super) fn parse(folder: &Folder, take: Take) -> Result<Imported, Error> {
    let mut imported = Imported::default();
    for file in folder.files() {
        if folder.single().is_none() && !is_certificate(file) {
            imported.skip(file.at(None), "no certificate: it has no line `curve`");
            continue;
        }
        certificate(folder, file, take, &mut imported)?;
    }
    Ok(imported)
}

/// Whether it has the section that all is about.
pub(super) fn is_certificate(file: &File) -> bool {
    let text = file.text().unwrap_or_default();
    text.lines().any(|line| line.trim_end() == "curve")
}

fn certificate(
    folder: &Folder,
    file: &File,
    take: Take,
    imported: &mut Imported,
) -> Result<(), Error> {
    let mut section = "";
    let mut public = None;
    let mut secret: Option<SecretBytes> = None;
    let mut label = None;
    let mut comments = Vec::new();
    for (number, line) in file.lines()? {
        let flaw = |flaw| file.flaw(number, flaw);
        let setting = line.trim();
        if setting.is_empty() || setting.starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            section = setting.split([' ', '=', '#']).next().unwrap_or_default();
            continue;
        }
        let Some((name, rest)) = setting.split_once('=') else {
            // A section in a section.
            continue;
        };
        let value = value(rest.trim())
            .ok_or_else(|| flaw(Flaw::Form("the text has no closing quotation mark")))?;
        match (section, name.trim()) {
            ("curve", "public-key") => {
                // The other spellings are not for this format.
                let bytes = z85::decode(value).ok_or_else(|| flaw(Flaw::Form(NO_Z85)))?;
                let key = PublicKey::parse(&*bytes).map_err(|error| flaw(Flaw::Key(error)))?;
                public = Some((number, key));
            }
            ("curve", "secret-key") => {
                let bytes = z85::decode(value).ok_or_else(|| flaw(Flaw::Private))?;
                secret = Some(bytes.into());
            }
            ("metadata", "name") => label = clean(value, MAX_LABEL),
            ("metadata", "comment") => comments.push(value.to_owned()),
            ("metadata", other) => comments.push(format!("{other}={value}")),
            _ => imported.skip(file.at(number), "a setting that says nothing about keys"),
        }
    }
    let Some((number, public)) = public else {
        return Err(file.flaw(
            None,
            Flaw::Form("no certificate: a section `curve` with a `public-key` is missing"),
        ));
    };
    match secret {
        None => imported.inbound.push(Inbound {
            label,
            comment: clean(&comments.join("; "), MAX_COMMENT),
            ..Inbound::new(public, file.at(number))
        }),
        Some(_) if !take.private => {
            let why =
                "a private certificate, which was not asked for; the public one is another file";
            imported.skip(file.at(None), why);
        }
        Some(secret) => imported.private.push(Private {
            tag: tag(folder, file, label.as_deref())
                .ok_or_else(|| file.flaw(None, Flaw::Form(NO_TAG)))?,
            secret,
            public: Some(public),
            from: file.at(number),
        }),
    }
    Ok(())
}

/// What a private key is called: as it says itself, or as its file is.
fn tag(folder: &Folder, file: &File, label: Option<&str>) -> Option<Name> {
    let named = match file.name.as_str() {
        "" => folder.last_name(),
        name => name,
    };
    let stem = ENDINGS.iter().find_map(|end| named.strip_suffix(end));
    let names = [label, stem, Some(named), Some("default")];
    names
        .into_iter()
        .flatten()
        .find_map(|name| Name::parse(name).ok())
}

/// A value: all of it, or what stands between its quotation marks.
fn value(text: &str) -> Option<&str> {
    for mark in ['"', '\''] {
        if let Some(rest) = text.strip_prefix(mark) {
            return rest.split_once(mark).map(|(value, _)| value);
        }
    }
    Some(text.split(" #").next().unwrap_or_default().trim_end())
}

/// Writes the certificate of a public key, for the other side's programs.
pub fn write_public(key: &PublicKey, label: Option<&str>, comment: Option<&str>) -> String {
    let mut text = String::from(
        "#   ZeroMQ CURVE public certificate\n\
         #   Whoever relies on it has to be sure where it comes from.\n\nmetadata\n",
    );
    for (name, value) in [("name", label), ("comment", comment)] {
        // There is no way to write both kinds of mark.
        let value = value.map(|value| value.replace('"', "'").replace(char::is_control, " "));
        text.extend(value.map(|value| format!("    {name} = \"{value}\"\n")));
    }
    text.push_str(&format!(
        "curve\n    public-key = \"{}\"\n",
        *z85::encode(key.as_bytes())
    ));
    text
}

/// Writes the two certificates of a pair of keys into a directory: `TAG.key`, `TAG.key_secret`.
pub fn write(public: &PublicKey, private: &Private) -> Files {
    let tag = &private.tag;
    let mut files = Files::default();
    let text = Zeroizing::new(write_public(public, Some(tag.as_str()), None));
    let secret = z85::encode(private.secret.reveal());
    let parts = [text.as_str(), "    secret-key = \"", &secret, "\"\n"];
    // It must not grow: what it grows out of is not wiped.
    let mut both = Zeroizing::new(String::with_capacity(parts.map(str::len).iter().sum()));
    for part in parts {
        both.push_str(part);
    }
    files.push(format!("{tag}.key_secret"), both, 0o600);
    files.push(format!("{tag}.key"), text, 0o644);
    files
}

const NO_Z85: &str = "no key in Z85 (40 characters)";
const NO_TAG: &str = "a private key without a name";

/// How names of private certificates end.
const ENDINGS: [&str; 3] = [".key_secret", "_secret", ".key"];

#[cfg(test)]
mod tests;
