//! `moonport connect`: a client, a source that says lines and prints what it is told.

mod keys;
mod lines;
pub(super) mod random;
mod talk;
pub(super) mod text;
mod zmtp;

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use identity::{Name, PublicKey};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::{Address, Server};
use super::args::Connect;
use super::exit::{Exit, Failure, OrExit};
use super::invite::{self, Invite};
use super::known::Known;
use super::link::Link;
use super::output::{Output, tell};
use super::{curvecp, named, secret, terminal};
use crate::wire::a12::{Initiator, InitiatorConfig, Role, Rounds, StageKeys};
use crate::wire::crypto::SecretKey;
use keys::{Expected, Keys};
use random::Random;
use talk::{Ended, Talk};

/// Connects, talks until one side ends it.
pub(super) async fn run(args: Connect, state: &Path, out: &Output) -> Result<Exit, Failure> {
    tokio::select! {
        done = dispatch(&args, state, out) => done,
        _ = tokio::signal::ctrl_c() => Ok(Exit::Interrupted),
    }
}

/// The protocol is seen from the address.
async fn dispatch(args: &Connect, state: &Path, out: &Output) -> Result<Exit, Failure> {
    match &args.server {
        Some(Server::CurveCp(to)) => curvecp::connect::run(args, to, state).await,
        Some(Server::Zmtp(server)) => zmtp::connect(server, args, state, out).await,
        _ => connect(args, state, out, terminal::yes).await,
    }
}

/// Our own public key; `file` is where the private one is, if not in the usual place.
pub(super) fn own_key(state: &Path, file: Option<&Path>) -> Result<PublicKey, Failure> {
    public(&Known::new(state).identity(file)?)
}

fn public(own: &SecretKey) -> Result<PublicKey, Failure> {
    own.public().ok_or_else(|| {
        Failure::because(
            Exit::Keystore,
            "our own key is of low order; remove it to have a new one made",
        )
    })
}

/// `ask` puts a question to the person at the terminal; `None`: there is nobody.
async fn connect(
    args: &Connect,
    state: &Path,
    out: &Output,
    ask: impl AsyncFn(&str) -> Option<bool>,
) -> Result<Exit, Failure> {
    fits(args)?;
    let known = Known::new(state);
    let (mut plan, secret) = match invite::read(&args.invite).await? {
        Some(invite) => {
            let plan = Plan::invited(&invite, args, &known)?;
            (plan, Some(invite.secret))
        }
        None => (Plan::new(args, &known)?, secret::read(&args.secret).await?),
    };
    let initial = secret.map_or_else(StageKeys::public, |secret| StageKeys::initial(&secret));
    let own = plan.identity(args, &known)?;
    loop {
        let link = plan.dial(args, &initial, &own).await?;
        let talk = Talk::new(link, args, &plan, &known, out);
        match talk.run().await? {
            Ended::Done => return Ok(Exit::Done),
            Ended::Refused(why, reference) => {
                let own = own.public().map(|key| key.to_string()).unwrap_or_default();
                return Err(Failure::because(
                    Exit::Refused,
                    format_args!(
                        "{}: {why} (our key: {own}; reference {reference}: the admin over there can \
                         ask `moonport explain {reference}`)",
                        plan.address
                    ),
                ));
            }
            Ended::Failed(exit, why) => {
                return Err(Failure::because(
                    exit,
                    format_args!("{}: {why}", plan.address),
                ));
            }
            // The connection is gone: people take longer to compare words than a handshake may
            // last. The key is then required of the next one.
            Ended::Unknown(key) => {
                ask_about(&key, &plan, &ask).await?;
                plan.expected = Expected::OneOf(vec![key]);
            }
        }
    }
}

/// Refuses what means nothing in a12.
fn fits(args: &Connect) -> Result<(), Failure> {
    let wrong = match args.zmtp.given() {
        Some(given) => format!("{given} is for zmtp:// only"),
        None if args.json && !args.probe => "--json goes with --probe, or zmtp://".to_owned(),
        None => return Ok(()),
    };
    Err(Failure::because(Exit::Usage, wrong))
}

/// Where to, whom to expect there, and what to remember.
#[derive(Debug)]
struct Plan {
    /// Where it is tried, or has been reached.
    address: Address,
    /// Where else, in this order.
    others: VecDeque<Address>,
    expected: Expected,
    /// The server that it is, if that is known: it may be shown a key of its own.
    known: Option<Name>,
    /// Under which tag to remember it.
    tag: Option<Name>,
}

impl Plan {
    /// All of it stands in the invitation but what somebody wants to call the server.
    fn invited(invite: &Invite, args: &Connect, known: &Known) -> Result<Self, Failure> {
        let tag = args.tag.as_ref().unwrap_or(&invite.name);
        // A line that somebody has sent must not take the place of a server that is known.
        let other = known.server(tag)?;
        if other.is_some_and(|server| !server.keys.contains(&invite.key)) {
            return Err(Failure::because(
                Exit::Refused,
                format_args!(
                    "another server is remembered as @{tag}: call this one something else with --tag"
                ),
            ));
        }
        Ok(Self {
            address: invite.address.clone(),
            others: VecDeque::new(),
            expected: Expected::OneOf(vec![invite.key]),
            known: None,
            tag: Some(tag.clone()),
        })
    }

    fn new(args: &Connect, known: &Known) -> Result<Self, Failure> {
        let given = match &args.server_key {
            Some(text) => Some(vec![named::key(text, &[])?]),
            None => None,
        };
        let server = args.server.as_ref().ok_or_else(|| {
            Failure::because(
                Exit::Usage,
                "nothing to connect to: give HOST, HOST:PORT or @TAG",
            )
        })?;
        let (addresses, keys, name) = match server {
            Server::CurveCp(_) => {
                return Err(Failure::because(Exit::Usage, "this address is not of a12"));
            }
            Server::Tag(tag) => {
                let server = known.server(tag)?.ok_or_else(|| {
                    Failure::because(
                        Exit::Usage,
                        format_args!(
                            "no server is remembered as @{tag}; connect to HOST --tag {tag} first"
                        ),
                    )
                })?;
                (server.addresses, server.keys, Some(server.tag))
            }
            Server::Address(address) => {
                let same_tag = match &args.tag {
                    Some(tag) => known.server(tag)?,
                    None => None,
                };
                let (keys, name) = match same_tag {
                    Some(server) => (server.keys, Some(server.tag)),
                    None => {
                        let there = known.at(address)?.into_iter();
                        (there.flat_map(|server| server.keys).collect(), None)
                    }
                };
                (vec![address.clone()], keys, name)
            }
            Server::Zmtp(_) => {
                return Err(Failure::because(Exit::Usage, "zmtp:// is another protocol"));
            }
        };
        let expected = match given.unwrap_or(keys) {
            keys if !keys.is_empty() => Expected::OneOf(keys),
            // Nothing is entrusted to the other side of a probe.
            _ if args.probe => Expected::Anybody,
            _ => Expected::Unknown,
        };
        let mut others = VecDeque::from(addresses);
        let address = others.pop_front().ok_or_else(|| {
            Failure::because(Exit::Keystore, "no address is known of this server")
        })?;
        Ok(Self {
            address,
            others,
            expected,
            known: name,
            tag: args.tag.clone(),
        })
    }

    /// The key that we prove: the one that was named, the server's own, or the usual one.
    fn identity(&self, args: &Connect, known: &Known) -> Result<SecretKey, Failure> {
        identity(args, self.known.as_ref(), known)
    }

    /// Connects to the first address that can be reached.
    async fn dial(
        &mut self,
        args: &Connect,
        initial: &StageKeys,
        own: &SecretKey,
    ) -> Result<Link<Keys, TcpStream>, Failure> {
        loop {
            let failure = match dial(args, self, initial, own).await {
                Err(failure) if failure.exit == Exit::Network => failure,
                done => return done,
            };
            let Some(next) = self.others.pop_front() else {
                return Err(failure);
            };
            tell(format_args!("moonport: {failure}; trying {next}"));
            self.address = next;
        }
    }
}

/// The key that we prove: the one that was named, the one for the server of this tag, or the usual
/// one.
fn identity(args: &Connect, server: Option<&Name>, known: &Known) -> Result<SecretKey, Failure> {
    if let (None, Some(tag)) = (&args.identity, server)
        && let Some(own) = known.identity_for(tag)?
    {
        return Ok(own);
    }
    known.identity(args.identity.as_deref())
}

/// Makes a connection. `hint` is for where nothing listens.
async fn reach(address: &Address, patience: Duration, hint: &str) -> Result<TcpStream, Failure> {
    let Address { host, port } = address;
    let unreachable = |why: &str| {
        Failure::because(
            Exit::Network,
            format_args!("cannot connect to {address}: {why}"),
        )
    };
    let connecting = TcpStream::connect((host.as_str(), *port));
    let stream = match timeout(patience, connecting).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
            return Err(unreachable(&format!("nothing listens there; {hint}")));
        }
        Ok(Err(error)) => return Err(unreachable(&error.to_string())),
        Err(_) => return Err(unreachable("no answer in time")),
    };
    stream.set_nodelay(true).or_exit(Exit::Network)?;
    Ok(stream)
}

async fn dial(
    args: &Connect,
    plan: &Plan,
    initial: &StageKeys,
    own: &SecretKey,
) -> Result<Link<Keys, TcpStream>, Failure> {
    let hint = "does `moonport run` run on that machine?";
    let stream = reach(&plan.address, args.handshake_timeout, hint).await?;
    let config = InitiatorConfig {
        role: if args.probe {
            Role::Probe
        } else {
            Role::Source
        },
        initial: initial.clone(),
        public: public(own)?,
        rounds: if args.one_round {
            Rounds::One
        } else {
            Rounds::Two
        },
        handshake: args.handshake_timeout,
    };
    let random = Random::new().or_exit(Exit::Failed)?;
    let keys = Keys {
        own: SecretKey::from_bytes(*own.reveal()),
        expected: plan.expected.clone(),
        server: None,
    };
    let machine = Initiator::new(config, Instant::now(), random);
    Ok(Link::new(stream, machine, keys))
}

/// Shows a key that is not known, and asks whether it is the right one.
async fn ask_about(
    key: &PublicKey,
    plan: &Plan,
    ask: impl AsyncFn(&str) -> Option<bool>,
) -> Result<(), Failure> {
    let address = &plan.address;
    let fingerprint = key.fingerprint();
    tell(format_args!(
        "The server at {address} is not known. Its key is\n\n    {key}\n    {fingerprint}\n    {}\n\n\
         `moonport key host` prints the same words over there, if nobody is in between.",
        fingerprint.words()
    ));
    match ask("Is it the right one?").await {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::because(
            Exit::Refused,
            format_args!("{address} is not trusted; nothing was sent but the handshake"),
        )),
        None => Err(Failure::because(
            Exit::Refused,
            format_args!(
                "{address} is not known, and there is no terminal to ask on; give its key with --server-key"
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
