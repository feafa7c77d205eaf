//! WireGuard's configuration: of `wg showconf` or for `wg-quick`. Its peers are read, nothing else.
//!
//! A remark right above a `[Peer]`, or in it, is what the peer is called: `# Name = anna`, or
//! `# anna`. Settings that are secret are not looked at, nor are remarks that may be such settings;
//! and since a line in disorder may be one, errors quote none.

use std::fmt::Write;

use data_encoding::BASE64;
use identity::{Name, PublicKey};

use super::folder::File;
use super::{
    Error, Flaw, Folder, Imported, Inbound, MAX_COMMENT, MAX_LABEL, Outbound, Take, Where, add,
    address, clean,
};

/// Reads a configuration, or those of a directory.
pub(super) fn parse(folder: &Folder, take: Take) -> Result<Imported, Error> {
    let mut imported = Imported::default();
    for file in folder.files() {
        if folder.single().is_none() && !file.name.ends_with(".conf") {
            imported.skip(
                file.at(None),
                "no configuration: its name does not end in .conf",
            );
            continue;
        }
        configuration(file, take, &mut imported)?;
    }
    Ok(imported)
}

/// Whether a line begins a section of a configuration.
pub(super) fn is_section(line: &str) -> bool {
    let line = without_remark(line).0;
    line.eq_ignore_ascii_case("[peer]") || line.eq_ignore_ascii_case("[interface]")
}

/// What stands in a section `[Peer]`.
struct Peer<'a> {
    line: usize,
    key: Option<(usize, PublicKey)>,
    name: Option<&'a str>,
    remark: Option<&'a str>,
    networks: Vec<&'a str>,
    endpoint: Option<String>,
}

enum Section<'a> {
    None,
    Interface,
    Peer(Peer<'a>),
}

impl<'a> Section<'a> {
    fn remark(&mut self, text: &'a str) {
        let Self::Peer(peer) = self else { return };
        match text.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("name") => {
                peer.name = peer.name.or_else(|| Some(value.trim()));
            }
            // A setting that was taken out, perhaps a secret one.
            Some(_) => {}
            None if text.split_whitespace().any(|word| word.len() >= KEY) => {}
            None => drop(peer.remark.get_or_insert(text)),
        }
    }
}

fn configuration(file: &File, take: Take, imported: &mut Imported) -> Result<(), Error> {
    let mut section = Section::None;
    // Remarks of which it is not known yet whether a peer follows.
    let mut above: Vec<&str> = Vec::new();
    for (number, whole) in file.lines()? {
        let flaw = |flaw| file.flaw(number, flaw);
        let (line, remark) = without_remark(whole);
        if line.is_empty() {
            match remark {
                Some(remark) => above.push(remark),
                None => above.drain(..).for_each(|text| section.remark(text)),
            }
            continue;
        }
        if line.starts_with('[') {
            let next = if line.eq_ignore_ascii_case("[peer]") {
                Section::Peer(Peer {
                    line: number,
                    key: None,
                    name: None,
                    remark: None,
                    networks: Vec::new(),
                    endpoint: None,
                })
            } else if line.eq_ignore_ascii_case("[interface]") {
                imported.skip(file.at(number), "our own end, of which nothing is read");
                Section::Interface
            } else {
                return Err(flaw(Flaw::Form("a section is [Interface] or [Peer]")));
            };
            finish(std::mem::replace(&mut section, next), file, take, imported)?;
        }
        above.drain(..).for_each(|text| section.remark(text));
        remark.into_iter().for_each(|text| section.remark(text));
        if line.starts_with('[') {
            continue;
        }
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| flaw(Flaw::Form("neither a section nor a setting nor a remark")))?;
        match &mut section {
            Section::None => return Err(flaw(Flaw::Form("a setting before any section"))),
            Section::Interface => {}
            Section::Peer(peer) => {
                setting(peer, name.trim(), value.trim(), number, file, imported)?
            }
        }
    }
    above.drain(..).for_each(|text| section.remark(text));
    finish(section, file, take, imported)
}

fn setting<'a>(
    peer: &mut Peer<'a>,
    name: &str,
    value: &'a str,
    number: usize,
    file: &File,
    imported: &mut Imported,
) -> Result<(), Error> {
    let flaw = |flaw| file.flaw(number, flaw);
    match name.to_ascii_lowercase().as_str() {
        "publickey" => {
            let bytes = BASE64.decode(value.as_bytes());
            let bytes =
                bytes.map_err(|_| flaw(Flaw::Form("no public key: 44 characters of base64")))?;
            let key = PublicKey::parse(&bytes).map_err(|error| flaw(Flaw::Key(error)))?;
            if peer.key.replace((number, key)).is_some() {
                return Err(flaw(Flaw::Form("a second public key for one peer")));
            }
        }
        "allowedips" => peer.networks.extend(value.split(',').map(str::trim)),
        "endpoint" => {
            let endpoint = address(value, None);
            peer.endpoint = Some(
                endpoint.ok_or_else(|| flaw(Flaw::Form("no address: HOST:PORT or [V6]:PORT")))?,
            );
        }
        "presharedkey" => imported.skip(file.at(number), "a secret, which is not read"),
        "persistentkeepalive" => {}
        _ => imported.skip(file.at(number), "a setting that is not known here"),
    }
    Ok(())
}

fn finish(
    section: Section<'_>,
    file: &File,
    take: Take,
    imported: &mut Imported,
) -> Result<(), Error> {
    let Section::Peer(peer) = section else {
        return Ok(());
    };
    let (number, key) = peer
        .key
        .ok_or_else(|| file.flaw(peer.line, Flaw::Form("a peer without a public key")))?;
    let from = file.at(number);
    let label = peer.name.or(peer.remark);
    let label = label.and_then(|label| clean(label, MAX_LABEL));
    if let (true, Some(endpoint)) = (take.servers, &peer.endpoint) {
        return server(imported, label, endpoint, key, from);
    }
    let mut comment = String::new();
    if !peer.networks.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(comment, "AllowedIPs {}", peer.networks.join(", "));
    }
    if let Some(endpoint) = &peer.endpoint {
        let gap = if comment.is_empty() { "" } else { "; " };
        let _ = write!(comment, "{gap}Endpoint {endpoint}");
    }
    imported.inbound.push(Inbound {
        label,
        comment: clean(&comment, MAX_COMMENT),
        ..Inbound::new(key, from)
    });
    Ok(())
}

/// A peer with an address, as a server under its name.
fn server(
    imported: &mut Imported,
    label: Option<String>,
    endpoint: &str,
    key: PublicKey,
    from: Where,
) -> Result<(), Error> {
    let Some(label) = label else {
        imported.skip(
            from,
            "a server without a name; write `# Name = TAG` into its section",
        );
        return Ok(());
    };
    let tag = match Name::parse(&label) {
        Ok(tag) => tag,
        Err(error) => {
            imported.skip(from, format!("its name is no tag: {error}"));
            return Ok(());
        }
    };
    let known = imported
        .outbound
        .iter_mut()
        .find(|server| server.tag == tag);
    let server = match known {
        // Two peers of one name are not one server.
        Some(known) if !known.keys.contains(&key) => {
            let why = format!("another peer is called {tag}, too");
            imported.skip(from, why);
            return Ok(());
        }
        Some(known) => known,
        None => {
            imported.outbound.push(Outbound::new(tag, from));
            match imported.outbound.last_mut() {
                Some(server) => server,
                None => return Ok(()),
            }
        }
    };
    add(&mut server.keys, key);
    add(&mut server.addresses, endpoint.to_owned());
    Ok(())
}

/// A line, and what is remarked behind it.
fn without_remark(line: &str) -> (&str, Option<&str>) {
    match line.split_once('#') {
        Some((line, remark)) => (line.trim(), Some(remark.trim_matches(['#', ' ', '\t']))),
        None => (line.trim(), None),
    }
}

/// So long is a key without its padding.
const KEY: usize = 43;

#[cfg(test)]
mod tests;
