//! Connections that scripts make: dialled here, spoken by a frameserver of their own, and made again
//! when they break.
//!
//! A script may reach what `moonport run --allow-connect` names and nothing else. The connection
//! proves a key of its own, never a listener's.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::child::{Child, Did};
use super::fronts::words;
use super::interface;
use super::store::Then;
use super::{Event, FrontId, Host, ScriptId};
use crate::ipc::frameserver::{Ended, FromFrameserver, Listen, Speaks, ToFrameserver};
use crate::ipc::script::{Connect, ToScript};
use crate::ipc::{ConnectOptions, ConnectionId, ListenerId, SessionId, Socket, link};
use crate::wire::{Answer, Ask, Refusal, Violation, curvecp, zmtp};

/// What scripts may connect to, written `HOST[:PORT]`; `*` for HOST is any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    host: String,
    port: Option<u16>,
}

/// A text is no [`Reach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not HOST, HOST:PORT, * or *:PORT; an IPv6 address stands in brackets")]
pub struct NoReach;

impl Reach {
    fn covers(&self, host: &str, port: u16) -> bool {
        (self.host == "*" || self.host.eq_ignore_ascii_case(host))
            && self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for Reach {
    type Err = NoReach;

    fn from_str(text: &str) -> Result<Self, NoReach> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(NoReach)?;
                let port = match port {
                    "" => Some(""),
                    port => port.strip_prefix(':'),
                };
                (host, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, Some("")),
            },
        };
        let port = match port.ok_or(NoReach)? {
            "" if !text.ends_with(':') => None,
            port => Some(port.parse().map_err(|_| NoReach)?),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:%*".contains(c);
        if host.is_empty() || !host.chars().all(plain) {
            return Err(NoReach);
        }
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.contains(':'), self.port) {
            (true, None) => write!(f, "[{}]", self.host),
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (false, None) => f.write_str(&self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
        }
    }
}

/// A connection that a script wants, through all attempts.
#[derive(Debug)]
pub(super) struct Outbound {
    script: ScriptId,
    wanted: Connect,
    child: Child<ToFrameserver>,
    /// The script's end of the data link, until the frameserver is ready.
    link: Option<OwnedFd>,
    session: Option<SessionId>,
    /// Attempts that have asked for a vouch.
    vouched: BTreeSet<ConnectionId>,
    /// Attempts in a row that did not get as far as READY.
    failures: u32,
    /// It is not to be made again.
    over: bool,
}

impl Host {
    /// A script wants a connection.
    pub(super) fn connect(&mut self, script: ScriptId, wanted: Connect) {
        let own = || self.outbound.values().filter(|it| it.script == script);
        let (host, port) = (&wanted.host, wanted.port);
        let allowed = self.options.reach.iter().any(|it| it.covers(host, port));
        let why = if !allowed {
            tracing::warn!(
                place = wanted.place,
                "a script may not connect to {host}:{port}; `moonport run --allow-connect {host}:{port}` lets it"
            );
            "not allowed to connect there"
        } else if own().filter(|it| !it.over).count() >= MOST || own().count() >= 2 * MOST {
            "too many connections"
        } else {
            match self.start_outbound(script, &wanted) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!("cannot connect: {error}");
                    "cannot start a frameserver"
                }
            }
        };
        self.tell_ended(script, wanted.connection, why);
    }

    fn start_outbound(&mut self, script: ScriptId, wanted: &Connect) -> io::Result<()> {
        let (theirs, scripts) = Socket::<Vec<link::ToScript>, Vec<link::FromScript>>::pair()?;
        self.next_front += 1;
        let id = FrontId(self.next_front);
        let mut child = self.spawn_front(id)?;
        child.tell_with(
            ToFrameserver::Listen(Listen {
                speaks: speaks(wanted),
                handshake: self.options.handshake,
                unproved: self.options.unproved,
                penalties: false,
                require_sandbox: self.options.require_sandbox,
            }),
            vec![theirs.into_fd()],
        );
        let outbound = Outbound {
            script,
            wanted: wanted.clone(),
            child,
            link: Some(scripts.into_fd()),
            session: None,
            vouched: BTreeSet::new(),
            failures: 0,
            over: false,
        };
        self.outbound.insert(id, outbound);
        Ok(())
    }

    /// A frameserver of an outbound connection did something.
    pub(super) fn outbound_did(&mut self, id: FrontId, did: Did<FromFrameserver>) {
        match did {
            Did::Said(message) => self.outbound_said(id, message),
            Did::Garbage => tracing::error!("a frameserver sent garbage"),
            Did::Exited(_) => {
                self.keyroom.forget(id);
                if let Some(outbound) = self.outbound.remove(&id)
                    && !outbound.over
                {
                    let connection = outbound.wanted.connection;
                    self.tell_ended(outbound.script, connection, "frameserver died");
                }
            }
        }
    }

    fn outbound_said(&mut self, id: FrontId, message: FromFrameserver) {
        let Some(outbound) = self.outbound.get_mut(&id) else {
            return;
        };
        match message {
            FromFrameserver::Ready(sandbox) => {
                let complete =
                    !sandbox.is_empty() && sandbox.iter().all(|denied| denied.layer.is_some());
                if self.options.require_sandbox && !complete {
                    return self.end_outbound(id, "sandbox not complete");
                }
                let Some(link) = outbound.link.take() else {
                    return self.end_outbound(id, "frameserver broke the rules");
                };
                let listener = outbound.wanted.connection;
                let (script, addresses) = (outbound.script, Vec::new());
                if let Some(script) = self.scripts.get_mut(&script) {
                    let up = ToScript::Listening {
                        listener,
                        addresses,
                    };
                    script.tell_with(up, vec![link]);
                }
                self.dial(id);
            }
            FromFrameserver::Failed(why) => self.end_outbound(id, &words(&why)),
            FromFrameserver::Ask {
                connection, ask, ..
            } if outbound.session == Some(SessionId(connection.0))
                && may_ask(&outbound.wanted.options, &ask)
                && outbound.vouched.insert(connection) =>
            {
                let host = outbound.wanted.server;
                let work = move |room: &mut super::keyroom::Room| -> Then<Self> {
                    let answer = match ask {
                        Ask::Zmtp(zmtp::Ask::Vouch { client, server }) => {
                            room.vouch(&client, &server, &host)
                        }
                        Ask::CurveCp(curvecp::Ask::Vouch { client, .. }) => {
                            room.vouch_curvecp(&client, &host)
                        }
                        _ => None,
                    };
                    Box::new(move |host: &mut Self| {
                        host.keyroom.done();
                        if let Some(outbound) = host.outbound.get_mut(&id) {
                            outbound.child.tell(ToFrameserver::Answer {
                                connection,
                                answer: answer.unwrap_or(Answer::Refused(Refusal::NotAccepted)),
                                session: None,
                            });
                        }
                    })
                };
                self.keyroom.submit(id, Box::new(work));
            }
            FromFrameserver::Up(session) if outbound.session == Some(session) => {
                outbound.failures = 0;
            }
            FromFrameserver::Gone { session, why } if outbound.session == Some(session) => {
                outbound.session = None;
                self.lost(id, &why);
            }
            FromFrameserver::Strangers(_) => {}
            FromFrameserver::Ask { .. }
            | FromFrameserver::Closed { .. }
            | FromFrameserver::Up(_)
            | FromFrameserver::Gone { .. } => self.end_outbound(id, "frameserver broke the rules"),
        }
    }

    /// Makes the connection, once.
    fn dial(&self, id: FrontId) {
        let Some(outbound) = self.outbound.get(&id) else {
            return;
        };
        let target = (outbound.wanted.host.clone(), outbound.wanted.port);
        let datagrams = matches!(outbound.wanted.options, ConnectOptions::CurveCp(_));
        let attempt = outbound.failures as usize;
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            let made = async {
                match datagrams {
                    true => associate(target, attempt).await,
                    false => stream(target).await,
                }
            };
            let made = tokio::time::timeout(DIAL, made).await;
            let made = made.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            // The host is gone if nobody hears this.
            drop(events.send(Event::Dialled(id, made)).await);
        });
    }

    /// An attempt has been made.
    pub(super) fn dialled(&mut self, id: FrontId, made: io::Result<OwnedFd>) {
        let Some(outbound) = self.outbound.get_mut(&id).filter(|it| !it.over) else {
            return;
        };
        match made {
            Ok(socket) => {
                self.next_session += 1;
                let session = SessionId(self.next_session);
                outbound.session = Some(session);
                outbound.vouched.clear();
                let connected = ToFrameserver::Connected(session);
                outbound.child.tell_with(connected, vec![socket]);
            }
            Err(error) => self.again(id, &error.to_string()),
        }
    }

    /// A connection is gone: it is made again, unless that is of no use.
    fn lost(&mut self, id: FrontId, why: &Ended) {
        if let Some(outbound) = self.outbound.get_mut(&id)
            && let (Ended::Peer, ConnectOptions::CurveCp(_)) = (why, &outbound.wanted.options)
        {
            // Both streams have ended. Its frameserver says so, behind what has come on them.
            outbound.over = true;
            return outbound.child.tell(ToFrameserver::StopListening);
        }
        match why {
            Ended::Refused(_) => self.end_outbound(id, "refused: key not accepted"),
            Ended::Violation(violation @ (Violation::Deadline | Violation::Silent)) => {
                self.again(id, &violation.to_string());
            }
            Ended::Violation(violation) => {
                tracing::warn!("a server broke the protocol: {violation}");
                self.end_outbound(id, "the server broke the protocol");
            }
            Ended::Peer | Ended::Broken | Ended::Crowded => self.again(id, "the server closed it"),
            Ended::Told => self.again(id, "closed"),
        }
    }

    /// Tries again after a while, longer each time.
    fn again(&mut self, id: FrontId, why: &str) {
        let Some(outbound) = self.outbound.get_mut(&id).filter(|it| !it.over) else {
            return;
        };
        let wait = pause(outbound.failures, getrandom::u32().unwrap_or_default());
        outbound.failures = outbound.failures.saturating_add(1);
        let told = ToScript::Disconnected {
            connection: outbound.wanted.connection,
            why: words(why),
            retry: wait,
        };
        if let Some(script) = self.scripts.get_mut(&outbound.script) {
            script.tell(told);
        }
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(wait).await;
            let dial = Box::new(move |host: &mut Self| host.dial(id));
            drop(events.send(Event::Then(dial)).await);
        });
    }

    /// It is not made again: its script is told why.
    fn end_outbound(&mut self, id: FrontId, why: &str) {
        if let Some(mut outbound) = self.outbound.remove(&id) {
            outbound.child.kill();
            if !outbound.over {
                self.tell_ended(outbound.script, outbound.wanted.connection, why);
            }
        }
    }

    /// The script does not want it any more; what it has said still goes out.
    pub(super) fn disconnect(&mut self, script: ScriptId, connection: ListenerId) {
        let found = self
            .outbound
            .values_mut()
            .find(|it| it.script == script && it.wanted.connection == connection);
        if let Some(outbound) = found {
            outbound.over = true;
            outbound.child.tell(ToFrameserver::StopListening);
        }
    }

    /// The script's process is gone, and so are its connections: at once, or, if it has closed those
    /// that it knew, when what it has said is out.
    pub(super) fn disconnect_all(&mut self, script: ScriptId, closed: bool) {
        let mut left = Vec::new();
        for (&id, outbound) in &mut self.outbound {
            if outbound.script == script && !outbound.over {
                outbound.over = true;
                outbound.child.tell(ToFrameserver::StopListening);
                left.push(id);
            }
        }
        if !closed || left.is_empty() {
            return self.drop_outbound(&left);
        }
        let events = self.events.clone();
        tokio::task::spawn_local(async move {
            tokio::time::sleep(FAREWELL).await;
            let then = Box::new(move |host: &mut Self| host.drop_outbound(&left));
            // The host is gone if nobody hears this.
            drop(events.send(Event::Then(then)).await);
        });
    }

    /// Whatever is left of these connections ends.
    fn drop_outbound(&mut self, ids: &[FrontId]) {
        for id in ids {
            if let Some(outbound) = self.outbound.get_mut(id)
                && let Some(session) = outbound.session
            {
                outbound.child.tell(ToFrameserver::Drop(session));
            }
        }
    }
}

/// What a frameserver has to know of a connection.
fn speaks(wanted: &Connect) -> Speaks {
    match &wanted.options {
        ConnectOptions::Zmtp(options) => Speaks::ZmtpClient {
            server: wanted.server,
            socket: Box::new(options.socket.clone()),
            high_water: options.high_water,
        },
        ConnectOptions::CurveCp(options) => Speaks::CurveCpClient {
            server: wanted.server,
            name: Box::new(options.server_name.clone()),
            extension: options.extension,
            own: options.own_extension.unwrap_or_else(own_extension),
            idle: options.idle,
        },
    }
}

/// Whether a frameserver that speaks this may ask this.
fn may_ask(options: &ConnectOptions, ask: &Ask) -> bool {
    match options {
        ConnectOptions::Zmtp(_) => matches!(ask, Ask::Zmtp(zmtp::Ask::Vouch { .. })),
        ConnectOptions::CurveCp(_) => matches!(ask, Ask::CurveCp(curvecp::Ask::Vouch { .. })),
    }
}

/// What tells programs of CurveCP apart behind this machine's address, if its administrator has said
/// so in `/etc/curvecpextension`.
pub fn own_extension() -> curvecp::Extension {
    let bytes = std::fs::read("/etc/curvecpextension").ok();
    let whole = bytes.and_then(|bytes| bytes.try_into().ok());
    whole.map(curvecp::Extension).unwrap_or_default()
}

async fn stream(target: (String, u16)) -> io::Result<OwnedFd> {
    let stream = tokio::net::TcpStream::connect(target).await?.into_std()?;
    // Small messages go at once.
    let _ = stream.set_nodelay(true);
    Ok(stream.into())
}

/// A socket for the datagrams of one server, at another of its addresses with each attempt.
async fn associate(target: (String, u16), attempt: usize) -> io::Result<OwnedFd> {
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host(target).await?.collect();
    let server = addresses
        .iter()
        .cycle()
        .nth(attempt % addresses.len().max(1));
    interface::associated(*server.ok_or(io::ErrorKind::AddrNotAvailable)?)
}

/// How long to wait after so many failures in a row: twice as long each time, and up to half as long
/// again by chance, so that many do not come at once.
fn pause(failures: u32, random: u32) -> Duration {
    let base = FIRST.saturating_mul(1 << failures.min(16)).min(LONGEST);
    let share = f64::from(random) / f64::from(u32::MAX);
    base + base.mul_f64(share / 2.0)
}

/// How many connections a script may have, and as many more that are ending.
const MOST: usize = 64;

/// How long what a script has said last has to go out.
const FAREWELL: Duration = Duration::from_secs(1);

/// How long one attempt may take.
const DIAL: Duration = Duration::from_secs(10);

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_reached_reads_as_it_is_written() {
        for text in [
            "a.example",
            "a.example:5",
            "*",
            "*:80",
            "[::1]",
            "[::1]:9",
            "192.0.2.1:1",
        ] {
            assert_eq!(text.parse::<Reach>().unwrap().to_string(), text);
        }
        for wrong in [
            "", ":5", "a:", "a:b", "a:70000", "[::1", "[::1]5", "a b", "::1", "[]:",
        ] {
            assert_eq!(wrong.parse::<Reach>(), Err(NoReach), "{wrong}");
        }
    }

    #[test]
    fn a_script_reaches_what_is_named_and_nothing_else() {
        let reach = |text: &str| text.parse::<Reach>().unwrap();
        assert!(reach("a.example").covers("A.example", 5));
        assert!(reach("a.example:5").covers("a.example", 5));
        assert!(!reach("a.example:5").covers("a.example", 6));
        assert!(!reach("a.example").covers("b.a.example", 5));
        assert!(reach("*").covers("anything", 1));
        assert!(!reach("*:1").covers("anything", 2));
    }

    #[test]
    fn attempts_come_more_and_more_seldom_and_never_all_at_once() {
        let mut last = Duration::ZERO;
        for failures in 0..40 {
            let (least, most) = (pause(failures, 0), pause(failures, u32::MAX));
            assert!(least >= last && most <= LONGEST * 3 / 2);
            assert_eq!(most, least * 3 / 2);
            last = least;
        }
        assert_eq!(pause(0, 0), FIRST);
        assert_eq!(last, LONGEST);
    }
}
