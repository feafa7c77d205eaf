//! The keystore directory of Arcan's network tools.
//!
//! ```text
//! accepted/ANY    NAME[,NAME…] BASE64-PUBLIC      its first sound line only
//! hostkeys/TAG    HOST[:PORT] BASE64-PRIVATE      a line for each alternative
//! ```
//!
//! The name `outbound-TAG` says that it is a server's key. The tag `default` is what they listen
//! with. Their `state` and `signing` hold nothing that we could take.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use identity::{Name, PublicKey};
use zeroize::Zeroizing;

use super::folder::File;
use super::{
    A12_PORT, Error, Files, Flaw, Folder, Imported, ImportedScope, Inbound, Outbound, Private,
    SecretBytes, State, Take, Where, add, address, clean,
};

/// Reads a keystore directory.
pub(super) fn parse(folder: &Folder, take: Take) -> Result<Imported, Error> {
    let mut imported = Imported::default();
    if !folder.has_below("accepted") && !folder.has_below("hostkeys") {
        return Err(Error {
            at: folder.place(),
            flaw: Flaw::Form("no keystore of Arcan: there is neither accepted/ nor hostkeys/"),
        });
    }
    let mut servers = BTreeMap::new();
    for (name, file) in folder.below("accepted") {
        accepted(name, file, &mut imported, &mut servers)?;
    }
    for (tag, file) in folder.below("hostkeys") {
        host_key(tag, file, take, &mut imported, &mut servers)?;
    }
    for file in folder.files() {
        if !file.name.starts_with("accepted/") && !file.name.starts_with("hostkeys/") {
            imported.skip(file.at(None), "no part of a keystore");
        }
    }
    imported.outbound = servers.into_values().collect();
    Ok(imported)
}

fn accepted(
    name: &str,
    file: &File,
    imported: &mut Imported,
    servers: &mut BTreeMap<Name, Outbound>,
) -> Result<(), Error> {
    let mut unsound = None;
    let mut lines = file.lines()?;
    let found = lines.by_ref().find_map(|(number, line)| {
        let found = split(line).and_then(|(names, key)| Some((names, base64(key)?)));
        if found.is_none() && !line.trim().is_empty() {
            unsound.get_or_insert(number);
        }
        found.map(|(names, key)| (number, names, key))
    });
    let Some((number, names, key)) = found else {
        return match unsound {
            Some(number) => Err(file.flaw(
                number,
                Flaw::Form("a line is NAME[,NAME…], a blank, and 44 characters of base64"),
            )),
            None => {
                imported.skip(file.at(None), "empty");
                Ok(())
            }
        };
    };
    if let Some(number) = unsound {
        imported.skip(file.at(number), "no sound line; Arcan passes over it, too");
    }
    if let Some((number, _)) = lines.find(|(_, line)| !line.trim().is_empty()) {
        imported.skip(
            file.at(number),
            "behind the first sound line, where Arcan stops",
        );
    }
    let at = || file.at(number);
    let key = PublicKey::parse(&key).map_err(|error| file.flaw(number, Flaw::Key(error)))?;
    let mut inbound = Inbound::new(key, at());
    for text in names.split(',').filter(|text| !text.is_empty()) {
        if names == "*" {
            inbound.scopes.push(ImportedScope::Any);
        } else if text == OUTBOUND {
            let why = format!("{key} is trusted as a server without a tag; add it under one");
            imported.skip(at(), why);
        } else if let Some(tag) = text.strip_prefix("outbound-") {
            match Name::parse(tag) {
                Ok(tag) => add(&mut server(servers, tag, at()).keys, key),
                Err(error) => imported.skip(at(), format!("the tag of a server: {error}")),
            }
        } else {
            match Name::parse(text) {
                Ok(name) => add(&mut inbound.scopes, ImportedScope::Name(name)),
                Err(error) => imported.skip(at(), error.to_string()),
            }
        }
    }
    if !inbound.scopes.is_empty() {
        // A name that somebody has chosen says something.
        inbound.label = clean(name, super::MAX_LABEL).filter(|name| !is_made_up(name));
        imported.inbound.push(inbound);
    }
    Ok(())
}

fn host_key(
    tag: &str,
    file: &File,
    take: Take,
    imported: &mut Imported,
    servers: &mut BTreeMap<Name, Outbound>,
) -> Result<(), Error> {
    let tag = match Name::parse(tag) {
        Ok(tag) => tag,
        Err(error) => {
            imported.skip(file.at(None), format!("the tag of a server: {error}"));
            return Ok(());
        }
    };
    let mut first: Option<SecretBytes> = None;
    for (number, line) in file.lines()? {
        if line.trim().is_empty() {
            continue;
        }
        let flaw = |flaw| file.flaw(number, flaw);
        let (host, key) = split(line).ok_or_else(|| {
            flaw(Flaw::Form(
                "a line is HOST[:PORT], a blank, and 44 characters of base64",
            ))
        })?;
        let host = address(host, Some(A12_PORT))
            .ok_or_else(|| flaw(Flaw::Form("no address: HOST, HOST:PORT or [V6]:PORT")))?;
        let secret = SecretBytes::from_base64(key).ok_or_else(|| flaw(Flaw::Private))?;
        if first.as_ref().is_some_and(|first| *first != secret) {
            let why = "another private key than the first one of its tag; one for each is kept";
            imported.skip(file.at(number), why);
            continue;
        }
        if tag.as_str() != DEFAULT {
            add(
                &mut server(servers, tag.clone(), file.at(number)).addresses,
                host,
            );
        }
        first.get_or_insert(secret);
    }
    let Some(secret) = first else {
        imported.skip(file.at(None), "empty");
        return Ok(());
    };
    if !take.private {
        imported.skip(file.at(None), "a private key, which was not asked for");
    } else if tag.as_str() == DEFAULT {
        let from = file.at(None);
        let public = None;
        imported.private.push(Private {
            tag,
            secret,
            public,
            from,
        });
    } else {
        server(servers, tag, file.at(None)).identity = Some(secret);
    }
    Ok(())
}

fn server(servers: &mut BTreeMap<Name, Outbound>, tag: Name, from: Where) -> &mut Outbound {
    servers
        .entry(tag.clone())
        .or_insert_with(|| Outbound::new(tag, from))
}

/// The two words of a line.
fn split(line: &str) -> Option<(&str, &str)> {
    let (first, second) = line.split_once(|c: char| c.is_ascii_whitespace())?;
    let second = second.trim_end();
    (!first.is_empty() && !second.is_empty()).then_some((first, second))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (bytes.len() == 32).then_some(bytes)
}

/// Writes a keystore directory. What Arcan has no words for is left out: private keys come only
/// with what is given, and addresses only with them, since that is where they stand.
pub fn write(inbound: &[Inbound], outbound: &[Outbound], private: &[Private]) -> Files {
    let mut files = Files {
        folders: vec!["accepted", "hostkeys"],
        ..Files::default()
    };
    for entry in inbound {
        let key = entry.key;
        if entry.state != State::Accepted || entry.expires_ms.is_some() {
            let why = "an entry there is accepted, and for ever";
            files.left_out.push(format!("{key}: {why}"));
            continue;
        }
        let mut names = Vec::new();
        for scope in &entry.scopes {
            match scope {
                ImportedScope::Any => names.push("*"),
                ImportedScope::Name(name) if is_outbound(name) => {
                    let why = "there, the name would say that it is a server";
                    files.left_out.push(format!("{key} for {name}: {why}"));
                }
                ImportedScope::Name(name) => names.push(name.as_str()),
            }
        }
        if names.contains(&"*") {
            // In a longer list it would be a name like another.
            names = vec!["*"];
        }
        match names.is_empty() {
            true => files.left_out.push(format!("{key}: accepted for nothing")),
            false => accept(&mut files, &names.join(","), &key),
        }
    }
    for server in outbound {
        let tag = &server.tag;
        if tag.as_str() == DEFAULT {
            let why = "there, this tag is what they listen with";
            files.left_out.push(format!("@{tag}: {why}"));
            continue;
        }
        for key in &server.keys {
            accept(&mut files, &format!("outbound-{tag}"), key);
        }
        match &server.identity {
            Some(identity) if !server.addresses.is_empty() => {
                keep(&mut files, tag, &server.addresses, identity);
            }
            _ if server.addresses.is_empty() => {}
            _ => files.left_out.push(format!(
                "@{tag}: its addresses, which stand beside a private key"
            )),
        }
    }
    for key in private {
        match key.tag.as_str() {
            DEFAULT => keep(&mut files, &key.tag, &[LISTENING.into()], &key.secret),
            tag => {
                let why = "there, only the tag default is for listening";
                files.left_out.push(format!("host key {tag}: {why}"));
            }
        }
    }
    files
}

fn accept(files: &mut Files, names: &str, key: &PublicKey) {
    let name = format!("accepted/{}", made_up(files.files.len()));
    files.push(name, Zeroizing::new(format!("{names} {key}\n")), 0o600);
}

fn keep(files: &mut Files, tag: &Name, addresses: &[String], secret: &SecretBytes) {
    let key = Zeroizing::new(BASE64.encode(secret.reveal()));
    let line = |address: &String| address.len() + key.len() + 2;
    // It must not grow: what it grows out of is not wiped.
    let mut text = Zeroizing::new(String::with_capacity(addresses.iter().map(line).sum()));
    for address in addresses {
        for part in [address.as_str(), " ", &key, "\n"] {
            text.push_str(part);
        }
    }
    files.push(format!("hostkeys/{tag}"), text, 0o600);
}

fn is_outbound(name: &Name) -> bool {
    name.as_str() == OUTBOUND || name.as_str().starts_with("outbound-")
}

/// A name such as Arcan makes up: eight letters from a to u.
fn made_up(number: usize) -> String {
    let digit = |place: u32| (number / 21_usize.pow(place) % 21) as u8;
    (0..8)
        .rev()
        .map(|at| char::from(b'a' + digit(at)))
        .collect()
}

fn is_made_up(name: &str) -> bool {
    name.len() == 8 && name.bytes().all(|c| (b'a'..=b'u').contains(&c))
}

/// The name for servers.
const OUTBOUND: &str = "outbound";

/// The tag of what they listen with.
const DEFAULT: &str = "default";

/// The address that they give it.
const LISTENING: &str = "127.0.0.1:6680";

#[cfg(test)]
mod tests;
