//! `moonport connect zmtp://…`: a socket of ZeroMQ's that is connected to one server.

mod backoff;
mod keys;
mod parts;
mod talk;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use identity::{Name, PublicKey};
use tokio::time::sleep;

use super::random::Random;
use super::{identity, public, reach};
use crate::cli::address::{Address, Zmtp};
use crate::cli::args::Connect;
use crate::cli::exit::{Exit, Failure, OrExit};
use crate::cli::known::Known;
use crate::cli::link::Link;
use crate::cli::named;
use crate::cli::output::{Output, tell};
use crate::wire::crypto::SecretKey;
use crate::wire::zmtp::{Heartbeat, Initiator, InitiatorConfig, Socket, SocketType};
use backoff::Backoff;
use keys::Keys;
use parts::Input;
use talk::{Ended, Lost, Talk};

/// Connects, and connects again, until there is nothing more to say or it makes no sense any more.
pub(super) async fn connect(
    server: &Zmtp,
    args: &Connect,
    state: &Path,
    out: &Output,
) -> Result<Exit, Failure> {
    let plan = Plan::new(server, args, &Known::new(state))?;
    let mut client = Client {
        plan: &plan,
        args,
        out,
        input: Input::new(args.zmtp.parts),
        told: String::new(),
    };
    let mut backoff = Backoff::new();
    loop {
        let mut lost = None;
        for place in &plan.places {
            match client.talk(place).await? {
                Ended::Done => return Ok(Exit::Done),
                Ended::Lost(why) => {
                    let was_ready = why.was_ready;
                    lost = Some(why);
                    if was_ready {
                        backoff = Backoff::new();
                        break;
                    }
                }
            }
        }
        match lost {
            Some(lost) if args.zmtp.once => return Err(lost.failure),
            Some(lost) => client.tell_lost(&lost),
            None => {}
        }
        sleep(backoff.next(getrandom::u32().or_exit(Exit::Failed)?)).await;
    }
}

/// A client through all of its connections.
struct Client<'a> {
    plan: &'a Plan,
    args: &'a Connect,
    out: &'a Output,
    input: Input,
    /// What was told last of a connection that is lost, or was not made.
    told: String,
}

impl Client<'_> {
    /// One connection. Fails where another would be no better.
    async fn talk(&mut self, place: &Place) -> Result<Ended, Failure> {
        let patience = self.args.handshake_timeout;
        let stream = match reach(&place.address, patience, "is the port the right one?").await {
            Ok(stream) => stream,
            Err(failure) => {
                return Ok(Ended::Lost(Lost {
                    failure,
                    was_ready: false,
                }));
            }
        };
        let mut random = Random::new().or_exit(Exit::Failed)?;
        let config = InitiatorConfig {
            server: place.key,
            socket: Arc::clone(&self.plan.socket),
            handshake: patience,
        };
        let machine = Initiator::new(config, Instant::now(), &mut random);
        let keys = Keys {
            own: SecretKey::from_bytes(*self.plan.own.reveal()),
            server: place.key,
            random,
        };
        let link = Link::new(stream, machine, keys);
        let ended = Talk::new(link, self, place).run().await;
        if let Ok(Ended::Lost(Lost {
            was_ready: true, ..
        })) = ended
        {
            // What was told before is news again.
            self.told.clear();
        }
        ended
    }

    /// Says once why it tries again.
    fn tell_lost(&mut self, lost: &Lost) {
        let why = lost.failure.to_string();
        if why != self.told {
            tell(format_args!("moonport: {why}; trying again"));
            self.told = why;
        }
    }
}

/// Where to, and as what.
struct Plan {
    /// Tried in this order.
    places: Vec<Place>,
    own: SecretKey,
    known: Known,
    /// Under which tag to remember the server.
    tag: Option<Name>,
    socket: Arc<Socket>,
}

/// A place, and the key that the server there must have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    address: Address,
    key: PublicKey,
}

impl Plan {
    fn new(server: &Zmtp, args: &Connect, known: &Known) -> Result<Self, Failure> {
        fits(args)?;
        let socket = socket(args)?;
        let (places, tag) = places(server, args, known)?;
        let own = identity(args, tag.as_ref(), known)?;
        public(&own)?;
        Ok(Self {
            places,
            own,
            known: known.clone(),
            tag: args.tag.clone(),
            socket: Arc::new(socket),
        })
    }
}

/// All places to try, and the tag of the server if it is known.
fn places(
    server: &Zmtp,
    args: &Connect,
    known: &Known,
) -> Result<(Vec<Place>, Option<Name>), Failure> {
    let usage = |why: String| Failure::because(Exit::Usage, why);
    let given = match &args.server_key {
        Some(text) => Some(named::key(text, &[])?),
        None => None,
    };
    let (addresses, keys, tag) = match server {
        Zmtp::Tag(tag) => {
            let server = known.server(tag)?.ok_or_else(|| {
                usage(format!(
                    "no server is remembered as @{tag}; connect to zmtp://KEY@HOST:PORT --tag {tag} first"
                ))
            })?;
            (server.addresses, server.keys, Some(server.tag))
        }
        Zmtp::Address { key: Some(_), .. } if given.is_some() => {
            let why = "the server's key is given twice: in zmtp:// and by --server-key";
            return Err(usage(why.to_owned()));
        }
        Zmtp::Address { key, address } => {
            let there = known.at(address)?;
            // A key that is given is the only one; who it is does not follow from the address.
            let (keys, tag) = match (key.or(given), there.as_slice()) {
                (Some(key), _) => {
                    let has = there.into_iter().find(|server| server.keys.contains(&key));
                    (vec![key], has.map(|server| server.tag))
                }
                (None, [only]) => (only.keys.clone(), Some(only.tag.clone())),
                (None, _) => (there.into_iter().flat_map(|it| it.keys).collect(), None),
            };
            (vec![address.clone()], keys, tag)
        }
    };
    let keys = given.map_or(keys, |key| vec![key]);
    let place = |address: &Address, key: &PublicKey| Place {
        address: address.clone(),
        key: *key,
    };
    let places: Vec<_> = addresses
        .iter()
        .flat_map(|address| keys.iter().map(move |key| place(address, key)))
        .collect();
    match (places.is_empty(), addresses.first()) {
        (true, Some(address)) => Err(usage(format!(
            "the server at {address} is not known, and a CURVE server cannot be asked for its key: say \
             zmtp://KEY@{address}, or `moonport server add TAG {address} --key KEY` once"
        ))),
        _ => Ok((places, tag)),
    }
}

/// Refuses what means nothing here.
fn fits(args: &Connect) -> Result<(), Failure> {
    let secret = &args.secret;
    let others = [
        (secret.secret_file.is_some(), "--secret-file"),
        (secret.secret_fd.is_some(), "--secret-fd"),
        (secret.ask_secret, "--ask-secret"),
        (args.one_round, "--one-round"),
        (args.probe, "--probe"),
    ];
    match others.into_iter().find(|(given, _)| *given) {
        None => Ok(()),
        Some((_, name)) => Err(Failure::because(
            Exit::Usage,
            format_args!("{name} is for a12, and means nothing with zmtp://"),
        )),
    }
}

/// Our socket.
fn socket(args: &Connect) -> Result<Socket, Failure> {
    let options = &args.zmtp;
    let kind = options.socket_type.unwrap_or(SocketType::Dealer);
    let subscribes = matches!(kind, SocketType::Sub | SocketType::Xsub);
    let wrong = match kind {
        _ if options.identity_name.is_some() && !kind.has_identity() => {
            Some("--identity-name is for req, dealer and router")
        }
        _ if !options.subscribe.is_empty() && !subscribes => {
            Some("--subscribe is for --socket-type sub and xsub")
        }
        SocketType::Sub if options.subscribe.is_empty() => {
            Some("sub hears nothing without --subscribe; --subscribe '' hears everything")
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        return Err(Failure::because(Exit::Usage, wrong));
    }
    let topics = options.subscribe.iter();
    Ok(Socket {
        identity: options.identity_name.clone().unwrap_or_default().into(),
        topics: topics.map(|topic| topic.clone().into_bytes()).collect(),
        heartbeat: options.heartbeat.map(|interval| Heartbeat {
            interval,
            timeout: interval,
            ttl: Duration::ZERO,
        }),
        max_message: parts::LONGEST,
        max_parts: parts::MOST,
        ..Socket::new(kind)
    })
}
