//! `moonport server`: the servers that `connect` knows.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use identity::{Name, PublicKey};
use serde::Serialize;

use super::args::{Added, ExportFormat, Json, Servers};
use super::exit::{Exit, Failure, OrExit};
use super::known::{Known, Server};
use super::output::{Output, count, printable, tell};
use super::{duration, key, named, rooms};
use crate::formats::{
    self, Folder, Format, MAX_COMMENT, MAX_LABEL, Outbound, Private, SecretBytes, Take, Where,
};
use crate::wire::crypto::SecretKey;

pub(super) async fn run(command: Servers, state: &Path, out: &Output) -> Result<Exit, Failure> {
    let known = Known::new(state);
    match command {
        Servers::List(json) => list(&known, &json, out)?,
        Servers::Show { tag, json } => show(&known, &tag, &json, out)?,
        Servers::Add(added) => add(&known, added, out)?,
        Servers::Remove { tag, yes, dry_run } => {
            let server = find(&known, &tag)?;
            let own = match known.identity_for(&tag)? {
                Some(_) => ", and our private key that is for it only",
                None => "",
            };
            let what = format!("remove {}{own}", describe(&server));
            if dry_run {
                return out.line(format_args!("would {what}")).map(|()| Exit::Done);
            }
            if !yes {
                key::agreed(&format!("{what}?")).await?;
            }
            known.forget(&tag)?;
            out.line(format_args!("@{tag} is removed"))?;
        }
        Servers::Rename { old, new, dry_run } => {
            let server = find(&known, &old)?;
            if dry_run {
                known.is_free(&new)?;
                let what = describe(&server);
                out.line(format_args!("would rename {what} to @{new}"))?;
            } else {
                known.rename(&old, &new)?;
                out.line(format_args!("@{old} is @{new} from now on"))?;
            }
        }
        Servers::Import {
            path,
            format,
            private,
            replace,
            dry_run,
        } => {
            let how = Import {
                format,
                private,
                replace,
                dry_run,
            };
            import(&known, &path, &how, out)?;
        }
        Servers::Export {
            path,
            format,
            private,
        } => match (format, path) {
            (ExportFormat::Arcan, Some(path)) => write_arcan(&known, &path, private, out)?,
            (ExportFormat::Arcan, None) => {
                return Err(usage("arcan is a directory: say where to make it"));
            }
            (ExportFormat::Jsonl, _) if private => {
                return Err(usage("jsonl has no place for private keys; arcan has"));
            }
            (ExportFormat::Jsonl, path) => write_lines(&known, path.as_deref(), out)?,
        },
    }
    Ok(Exit::Done)
}

fn find(known: &Known, tag: &Name) -> Result<Server, Failure> {
    known
        .server(tag)?
        .ok_or_else(|| usage(format_args!("no server is known as @{tag}")))
}

fn list(known: &Known, json: &Json, out: &Output) -> Result<(), Failure> {
    let servers = known.servers()?;
    if json.json {
        let shown: Result<Vec<_>, _> = servers.iter().map(|one| Shown::of(one, known)).collect();
        return out.json(&shown?);
    }
    if servers.is_empty() && out.terminal {
        return out
            .line("no servers are known; `moonport server add` and `connect --tag` add some");
    }
    let rows: Vec<_> = servers
        .iter()
        .map(|server| {
            [
                format!("@{}", server.tag),
                several(&server.addresses),
                several(&server.keys),
                printable(server.label.as_deref().unwrap_or_default()),
            ]
        })
        .collect();
    out.table(["TAG", "ADDRESS", "KEY", "LABEL"], &rows)
}

/// The first, and how many more there are.
fn several(all: &[impl ToString]) -> String {
    match all {
        [] => String::new(),
        [one] => one.to_string(),
        [first, more @ ..] => format!("{} +{}", first.to_string(), more.len()),
    }
}

fn show(known: &Known, tag: &Name, json: &Json, out: &Output) -> Result<(), Failure> {
    let server = find(known, tag)?;
    let shown = Shown::of(&server, known)?;
    if json.json {
        return out.json(&shown);
    }
    out.line(format_args!("@{tag}"))?;
    for address in &server.addresses {
        out.line(format_args!("address: {}", printable(&address.to_string())))?;
    }
    for key in &server.keys {
        out.line(format_args!("key: {key}"))?;
        out.line(format_args!("words: {}", key.fingerprint().words()))?;
    }
    for (what, text) in [("label", &server.label), ("comment", &server.comment)] {
        if let Some(text) = text {
            out.line(format_args!("{what}: {}", printable(text)))?;
        }
    }
    if let Some(added) = server.added_ms {
        let age = Duration::from_millis(rooms::now().wall_ms.saturating_sub(added));
        out.line(format_args!("added: {} ago", duration::text(age)))?;
    }
    match shown.own_key {
        Some(own) => out.line(format_args!("our key: {own}, for this server only")),
        None => out.line("our key: the usual one, that of `moonport key own`"),
    }
}

fn add(known: &Known, added: Added, out: &Output) -> Result<(), Failure> {
    for (what, text, longest) in [
        ("label", &added.label, MAX_LABEL),
        ("comment", &added.comment, MAX_COMMENT),
    ] {
        let control = |text: &String| text.chars().any(char::is_control);
        if text
            .as_ref()
            .is_some_and(|text| text.len() > longest || control(text))
        {
            return Err(usage(format_args!(
                "a {what} has at most {longest} bytes and no control characters"
            )));
        }
    }
    let before = known.server(&added.tag)?;
    let kept = before.clone().filter(|_| !added.replace);
    let is_new = kept.is_none();
    let mut server = kept.unwrap_or_else(|| Server {
        tag: added.tag,
        addresses: Vec::new(),
        keys: Vec::new(),
        label: None,
        comment: None,
        added_ms: Some(rooms::now().wall_ms),
    });
    for text in &added.keys {
        push(&mut server.keys, named::key(text, &[])?);
    }
    for address in added.addresses {
        push(&mut server.addresses, address);
    }
    server.label = added.label.or(server.label);
    server.comment = added.comment.or(server.comment);
    check(&server)?;
    let what = describe(&server);
    if added.dry_run {
        return out.line(format_args!("would remember {what}"));
    }
    if added.own_identity {
        // First, so that it is never shown another one.
        known.make_identity_for(&server.tag)?;
    }
    if before.as_ref() != Some(&server) {
        known.remember(&server)?;
    }
    match is_new {
        true => out.line(format_args!("{what} is known from now on")),
        false => out.line(format_args!("{what} is known now")),
    }
}

/// Whether all of a server can be remembered.
fn check(server: &Server) -> Result<(), Failure> {
    let tag = &server.tag;
    if server.addresses.is_empty() {
        return Err(usage(format_args!(
            "@{tag} needs an address: HOST or HOST:PORT"
        )));
    }
    if server.keys.is_empty() {
        return Err(usage(format_args!(
            "@{tag} needs a key that it has to prove: --key KEY. If you do not know it, \
             `moonport connect HOST --tag {tag}` shows it to you"
        )));
    }
    if server.addresses.len() > Server::ADDRESSES || server.keys.len() > Server::KEYS {
        return Err(usage(format_args!(
            "@{tag} would have {} and {}; {} and {} are the most. --replace forgets the old ones",
            count_of(server.addresses.len(), "address"),
            count_of(server.keys.len(), "key"),
            Server::ADDRESSES,
            Server::KEYS,
        )));
    }
    Ok(())
}

fn describe(server: &Server) -> String {
    let label = match &server.label {
        Some(label) => format!(" ({})", printable(label)),
        None => String::new(),
    };
    let addresses: Vec<_> = server.addresses.iter().map(ToString::to_string).collect();
    format!(
        "@{}{label} at {} with {}",
        server.tag,
        printable(&addresses.join(", ")),
        count_of(server.keys.len(), "key"),
    )
}

fn count_of(number: usize, what: &str) -> String {
    let number = number.try_into().unwrap_or(u32::MAX);
    match (number, what) {
        (1, _) | (_, "key" | "server") => count(number, what),
        _ => format!("{number} {what}es"),
    }
}

fn push<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

fn usage(why: impl std::fmt::Display) -> Failure {
    Failure::because(Exit::Usage, why)
}

/// How servers are taken over.
struct Import {
    format: Option<Format>,
    private: bool,
    replace: bool,
    dry_run: bool,
}

fn import(known: &Known, path: &Path, how: &Import, out: &Output) -> Result<(), Failure> {
    let folder = Folder::read(path).or_exit(Exit::Usage)?;
    let format = match how.format {
        Some(format) => format,
        None => formats::guess(&folder).or_exit(Exit::Usage)?,
    };
    let take = Take {
        private: how.private,
        servers: true,
    };
    let found = formats::parse(format, &folder, take).or_exit(Exit::Usage)?;
    let pass = |at: &Where, why: &str| {
        let at = printable(&at.to_string());
        tell(format_args!(
            "moonport: passed over {at}: {}",
            printable(why)
        ));
    };
    for skipped in &found.skipped {
        pass(&skipped.at, &skipped.why);
    }
    for entry in &found.inbound {
        let why = "it may connect to us, so it is no server; `moonport key` is for it";
        pass(&entry.from, &format!("{}: {why}", entry.key));
    }
    for own in &found.private {
        pass(&own.from, "a key to listen with, which is for no server");
    }
    // All of it is looked at before any of it is remembered.
    let mut servers = Vec::new();
    for server in &found.outbound {
        match taken(known, server, how.replace)? {
            Ok(taken) => servers.push((taken, server.identity.as_ref())),
            Err(why) => pass(&server.from, &format!("@{}: {why}", server.tag)),
        }
    }
    let number = count_of(servers.len(), "server");
    for (server, identity) in servers {
        let what = describe(&server);
        if how.dry_run {
            out.line(format_args!("would remember {what}"))?;
            continue;
        }
        if let Some(identity) = identity {
            known.keep_identity_for(&server.tag, identity.reveal())?;
        }
        known.remember(&server)?;
        out.line(format_args!("{what} is known from now on"))?;
    }
    match how.dry_run {
        true => out.line(format_args!("{number} would be taken over, from {format}")),
        false => out.line(format_args!("{number} taken over, from {format}")),
    }
}

/// A server as it will be remembered, or why it will not.
fn taken(
    known: &Known,
    found: &Outbound,
    replace: bool,
) -> Result<Result<Server, &'static str>, Failure> {
    let mut server = Server {
        tag: found.tag.clone(),
        addresses: Vec::new(),
        keys: found.keys.clone(),
        label: found.label.clone(),
        comment: found.comment.clone(),
        added_ms: Some(found.added_ms.unwrap_or_else(|| rooms::now().wall_ms)),
    };
    for text in &found.addresses {
        let address = text
            .parse()
            .or_exit_with(Exit::Usage, || found.from.clone())?;
        push(&mut server.addresses, address);
    }
    Ok(match (&*server.keys, &*server.addresses) {
        ([], _) => Err("no key is there, so anybody could be it"),
        (_, []) => Err("no address is there; `moonport server add` takes both"),
        _ if !replace && known.server(&found.tag)?.is_some() => {
            Err("this tag is known already; --replace takes it over all the same")
        }
        _ => check(&server)
            .map(|()| server)
            .map_err(|_| "it has more than 16 addresses or 8 keys"),
    })
}

fn outbound(server: &Server) -> Outbound {
    Outbound {
        keys: server.keys.clone(),
        addresses: server.addresses.iter().map(ToString::to_string).collect(),
        label: server.label.clone(),
        comment: server.comment.clone(),
        added_ms: server.added_ms,
        ..Outbound::new(server.tag.clone(), here())
    }
}

fn here() -> Where {
    Where {
        file: String::new(),
        line: None,
    }
}

fn write_lines(known: &Known, path: Option<&Path>, out: &Output) -> Result<(), Failure> {
    let servers: Vec<_> = known.servers()?.iter().map(outbound).collect();
    let text = formats::jsonl::write(&[], &servers);
    let Some(path) = path else {
        return out.raw(text.as_bytes());
    };
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .or_exit_with(Exit::Failed, || format!("cannot write {}", path.display()))
}

fn write_arcan(known: &Known, path: &Path, private: bool, out: &Output) -> Result<(), Failure> {
    let usual = match private {
        true => known.usual_identity()?,
        false => None,
    };
    let mut servers = Vec::new();
    for server in known.servers()? {
        let mut server = outbound(&server);
        if private {
            let own = known.identity_for(&server.tag)?;
            server.identity = own.as_ref().or(usual.as_ref()).map(bytes);
        }
        servers.push(server);
    }
    // What Arcan shows to a server without a tag.
    let default = Name::parse("default").or_exit(Exit::Failed)?;
    let keys = usual.as_ref().map(|key| Private {
        tag: default,
        secret: bytes(key),
        public: None,
        from: here(),
    });
    let files = formats::arcan::write(&[], &servers, keys.as_slice());
    files.write(path).or_exit(Exit::Failed)?;
    for what in &files.left_out {
        tell(format_args!("moonport: left out: {what}"));
    }
    if !private && !servers.is_empty() {
        tell("moonport: Arcan keeps addresses beside private keys; --private writes both");
    }
    let number = count_of(servers.len(), "server");
    out.line(format_args!("{number} written to {}", path.display()))
}

fn bytes(key: &SecretKey) -> SecretBytes {
    key.reveal().into()
}

/// A server, for programs.
#[derive(Serialize)]
struct Shown<'a> {
    tag: &'a Name,
    addresses: Vec<String>,
    keys: Vec<String>,
    label: Option<&'a str>,
    comment: Option<&'a str>,
    added_ms: Option<u64>,
    /// Our public key that is for this server only.
    own_key: Option<String>,
}

impl<'a> Shown<'a> {
    fn of(server: &'a Server, known: &Known) -> Result<Self, Failure> {
        let own = known.identity_for(&server.tag)?;
        let own = own.and_then(|own| own.public());
        Ok(Self {
            tag: &server.tag,
            addresses: server.addresses.iter().map(ToString::to_string).collect(),
            keys: server.keys.iter().map(PublicKey::to_string).collect(),
            label: server.label.as_deref(),
            comment: server.comment.as_deref(),
            added_ms: server.added_ms,
            own_key: own.map(|own| own.to_string()),
        })
    }
}
