//! A window is opened, and the new machine's line written for it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use identity::{Name, PublicKey, Secret};
use keystore::{Change, OpenWindow, Origin, WindowId};
use serde::Serialize;

use super::shown::Shown;
use super::{UNCHANGED, called};
use crate::cli::address::Address;
use crate::cli::admin::Admin;
use crate::cli::args::Open;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::invite::Invite;
use crate::cli::output::{Output, count, printable, tell};
use crate::cli::{duration, qr, rooms, secret};

pub(super) async fn open(open: Open, state: &Path, out: &Output) -> Result<(), Failure> {
    let mut admin = Admin::open(state)?;
    if open.without_secret {
        return open_to_all(open, &mut admin, out).await;
    }
    let place = match open.host {
        Some(ref address) => Place::Known(address.clone()),
        None => guess(&mut admin, &open.name).await?,
    };
    if let (true, Place::Unknown(_)) = (open.qr, &place) {
        return Err(Failure::because(
            Exit::Usage,
            format_args!(
                "--qr shows where to connect, and that cannot be guessed; say --host HOST, as the \
                 new machine reaches this one"
            ),
        ));
    }
    let (secret, human) = match secret::read(&open.secret).await? {
        Some(secret) => (secret, true),
        None => (secret::generate()?, false),
    };
    if open.dry_run {
        return rehearse(admin, open, &place, secret, human, out).await;
    }
    if human {
        tell(
            "moonport: a secret that a person made up can be guessed by whoever records one \
             connection; say no secret to have one made up that cannot",
        );
    }
    let key = admin.host_key().await?;
    let wished = OpenWindow {
        label: open.label,
        ..wanted(open.name, secret.clone(), human, open.count, open.lasts)?
    };
    let window = admin.open_window(wished).await?;
    let invite = place.address().map(|address| Invite {
        address: address.clone(),
        key,
        name: window.name.clone(),
        secret: secret.clone(),
    });
    let line = line(&place, &key, &window.name);
    // A secret that somebody brought along is not repeated.
    let text = (!human).then(|| String::from_utf8_lossy(secret.reveal()));
    let shown = invite.as_ref().filter(|_| !human).map(Invite::line);
    if open.json {
        return out.json(&Opened {
            window: Shown::of(&window),
            secret: text.as_deref(),
            connect: &line,
            invite: shown.as_ref().map(|line| line.as_str()),
        });
    }
    out.line(format_args!(
        "{} is open for {} and {}",
        called(&window),
        count(window.count, "key"),
        duration::text(open.lasts)
    ))?;
    if let Some(text) = &text {
        out.line(format_args!("secret: {text}"))?;
    }
    out.line(format_args!("on the new machine: {line}"))?;
    if let Some(invite) = &shown {
        out.line("or, in one paste: moonport connect --ask-invite")?;
        out.line(invite.as_str())?;
    }
    place.explain(&window.name);
    match invite {
        Some(invite) if open.qr => {
            out.line("the line:")?;
            out.line(qr::code(line.as_bytes())?)?;
            out.line("the invitation, with the secret:")?;
            out.line(qr::code(invite.line().as_bytes())?)
        }
        _ => Ok(()),
    }
}

/// Does all of it but the opening. A secret that nobody has brought is made up when it is done, so none
/// is shown.
async fn rehearse(
    mut admin: Admin,
    open: Open,
    place: &Place,
    secret: Secret,
    human: bool,
    out: &Output,
) -> Result<(), Failure> {
    // It would be made on first use, which would be a change.
    let (keys, tag) = (admin.host_keys().await?, rooms::host_tag()?);
    let key = keys.iter().find(|keys| keys.tag == tag);
    let line = key.map(|keys| line(place, &keys.ring.current, &open.name));
    let would = Rehearsed {
        dry_run: true,
        name: open.name.to_string(),
        label: open.label.clone(),
        count: open.count,
        lasts_ms: u64::try_from(open.lasts.as_millis()).unwrap_or(u64::MAX),
        connect: line.as_deref(),
    };
    let wished = OpenWindow {
        label: open.label,
        ..wanted(open.name.clone(), secret, human, open.count, open.lasts)?
    };
    admin.apply(vec![Change::OpenWindow(wished)], true).await?;
    if open.json {
        return out.json(&would);
    }
    let label = match &would.label {
        Some(label) => format!(" ({})", printable(label)),
        None => String::new(),
    };
    out.line(format_args!(
        "a window{label} of {} would be open for {} and {}",
        open.name,
        count(open.count, "key"),
        duration::text(open.lasts)
    ))?;
    if let Some(line) = &line {
        out.line(format_args!("on the new machine: {line}"))?;
    }
    place.explain(&open.name);
    out.line(UNCHANGED)
}

/// A window that would be opened, for programs.
#[derive(Serialize)]
struct Rehearsed<'a> {
    dry_run: bool,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    count: u32,
    lasts_ms: u64,
    /// Without a host key there is none yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect: Option<&'a str>,
}

/// Opens a window that asks for no secret: there is nothing to hand over, and something to warn of.
async fn open_to_all(open: Open, admin: &mut Admin, out: &Output) -> Result<(), Failure> {
    let (count_text, lasts) = (count(open.count, "key"), duration::text(open.lasts));
    // It has one all the same, which nobody is told.
    let secret = secret::generate()?;
    let wished = OpenWindow {
        origin: Origin::WithoutSecret,
        label: open.label,
        ..wanted(open.name, secret, false, open.count, open.lasts)?
    };
    if open.dry_run {
        let would = Rehearsed {
            dry_run: true,
            name: wished.name.to_string(),
            label: wished.label.clone(),
            count: wished.count,
            lasts_ms: wished.lasts_ms,
            connect: None,
        };
        let name = wished.name.clone();
        admin.apply(vec![Change::OpenWindow(wished)], true).await?;
        if open.json {
            return out.json(&would);
        }
        out.line(format_args!(
            "a window of {name} without a secret would be open for {count_text} and {lasts}"
        ))?;
        return out.line(UNCHANGED);
    }
    let window = admin.open_window(wished).await?;
    tell(format_args!(
        "moonport: whoever comes by zmtp or curvecp now gets in at {}, and is known from then on: the next {count_text}, \
         whoever's they are",
        window.name
    ));
    match open.json {
        true => out.json(&Shown::of(&window)),
        false => out.line(format_args!(
            "{} is open without a secret for {count_text} and {lasts}",
            called(&window)
        )),
    }
}

/// What is to be typed on the new machine. There is no secret in it.
fn line(place: &Place, key: &PublicKey, name: &Name) -> String {
    let at = match place {
        Place::Known(address) => address.to_string(),
        Place::Unknown(Some(port)) => format!("HOST:{port}"),
        Place::Unknown(None) => "HOST".into(),
    };
    format!("moonport connect {at} --server-key {key} --ask-secret --tag {name}")
}

/// Where the new machine reaches this one.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Known(Address),
    /// At a port of an address that this machine cannot know, if something listens at all.
    Unknown(Option<u16>),
}

impl Place {
    fn address(&self) -> Option<&Address> {
        match self {
            Self::Known(address) => Some(address),
            Self::Unknown(_) => None,
        }
    }

    /// The best of the addresses that are listened on: one that others reach, else one of this
    /// machine alone.
    fn of(addresses: &[SocketAddr]) -> Self {
        let wildcard = addresses.iter().find(|it| it.ip().is_unspecified());
        let local = |it: &&SocketAddr| it.ip().is_loopback();
        let best = addresses
            .iter()
            .filter(|it| !it.ip().is_unspecified())
            .min_by_key(|it| it.ip().is_loopback());
        match (best, wildcard) {
            (Some(best), None) => Self::known(best),
            // Everywhere is also elsewhere.
            (Some(best), Some(_)) if !local(&best) => Self::known(best),
            (_, wildcard) => Self::Unknown(wildcard.map(SocketAddr::port)),
        }
    }

    fn known(address: &SocketAddr) -> Self {
        Self::Known(Address {
            host: address.ip().to_string(),
            port: address.port(),
        })
    }

    /// Says what is missing.
    fn explain(&self, name: &Name) {
        match self {
            Self::Known(_) => {}
            Self::Unknown(Some(_)) => tell(format_args!(
                "moonport: {name} is listened on everywhere: HOST is this machine as the new one \
                 reaches it; --host HOST writes it there, and an invitation"
            )),
            Self::Unknown(None) => tell(format_args!(
                "moonport: nothing listens for {name} now; --host HOST writes where it will, and \
                 an invitation"
            )),
        }
    }
}

/// Where the name is listened on.
async fn guess(admin: &mut Admin, name: &Name) -> Result<Place, Failure> {
    let Admin::Host(_) = admin else {
        return Ok(Place::Unknown(None));
    };
    let listeners = admin.status().await?.listeners.into_iter();
    let of_name = listeners.filter(|listener| listener.name == *name);
    let addresses: Vec<_> = of_name.flat_map(|listener| listener.addresses).collect();
    Ok(Place::of(&addresses))
}

/// A window to be opened, with a random number.
pub(in crate::cli) fn wanted(
    name: Name,
    secret: Secret,
    human: bool,
    count: u32,
    lasts: Duration,
) -> Result<OpenWindow, Failure> {
    Ok(OpenWindow {
        id: WindowId(getrandom::u64().or_exit(Exit::Failed)?),
        name,
        secret,
        human,
        count,
        lasts_ms: u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX),
        origin: Origin::Admin,
        label: None,
    })
}

/// A window that has just been opened, for programs.
#[derive(Serialize)]
struct Opened<'a> {
    #[serde(flatten)]
    window: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    connect: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    invite: Option<&'a str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(addresses: &[&str]) -> Place {
        let addresses: Vec<_> = addresses.iter().map(|it| it.parse().unwrap()).collect();
        Place::of(&addresses)
    }

    #[test]
    fn an_address_that_means_everywhere_is_never_written_down() {
        assert_eq!(place(&["0.0.0.0:6680"]), Place::Unknown(Some(6680)));
        assert_eq!(place(&["[::]:7000"]), Place::Unknown(Some(7000)));
        assert_eq!(place(&["127.0.0.1:1", "[::]:2"]), Place::Unknown(Some(2)));
        assert_eq!(place(&[]), Place::Unknown(None));
        let known = |text: &str| Place::Known(text.parse().unwrap());
        assert_eq!(place(&["127.0.0.1:1"]), known("127.0.0.1:1"));
        let both = ["127.0.0.1:1", "192.0.2.1:1"];
        assert_eq!(place(&both), known("192.0.2.1:1"));
        assert_eq!(place(&["[2001:db8::1]:1"]), known("[2001:db8::1]:1"));
    }

    #[test]
    fn the_line_for_the_new_machine_says_everything_but_the_secret() {
        let key = PublicKey::parse(&[7; 32]).unwrap();
        let name = Name::parse("hello").unwrap();
        assert_eq!(
            line(&place(&["[::]:7000"]), &key, &name),
            format!("moonport connect HOST:7000 --server-key {key} --ask-secret --tag hello")
        );
    }
}
