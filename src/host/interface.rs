//! Where a listener listens: the interface as a script writes it, and the sockets made from it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::str::FromStr;

pub(super) use socket2::Socket as Bound;
use socket2::{Domain, Protocol as IpProtocol, Socket, Type};
use thiserror::Error;

use crate::ipc::Scheme;

/// `[scheme://](v4 | v6 | [v6] | ifname | "")`, parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    scheme: Scheme,
    place: Place,
}

/// The part after the scheme.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// All interfaces, IPv6 and IPv4.
    Everywhere,
    /// One address; the number is the scope of a link-local one.
    Address(IpAddr, u32),
    /// All addresses of one device.
    Device(String),
}

/// Why a text is no interface.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum InterfaceError {
    /// A protocol that this program does not speak.
    #[error("unknown protocol: {0}")]
    Scheme(String),
    /// Neither an address nor a device of this machine.
    #[error("no such interface: {0}")]
    Place(String),
}

impl FromStr for Interface {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        let (scheme, place) = Scheme::of(text);
        Ok(Self {
            scheme: scheme.map_err(|name| InterfaceError::Scheme(name.to_owned()))?,
            place: place.parse()?,
        })
    }
}

impl FromStr for Place {
    type Err = InterfaceError;

    fn from_str(text: &str) -> Result<Self, InterfaceError> {
        if text.is_empty() {
            return Ok(Self::Everywhere);
        }
        let wrong = || InterfaceError::Place(text.to_owned());
        let bare = match text.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(wrong)?,
            None => text,
        };
        let (address, scope) = match bare.split_once('%') {
            Some((address, device)) => (address, device_index(device).ok_or_else(wrong)?),
            None => (bare, 0),
        };
        match address.parse() {
            Ok(IpAddr::V4(_)) if bare.len() != text.len() || scope != 0 => Err(wrong()),
            Ok(address) => Ok(Self::Address(address, scope)),
            Err(_) if device_index(text).is_some() => Ok(Self::Device(text.to_owned())),
            Err(_) => Err(wrong()),
        }
    }
}

/// The number of a network device of this machine.
fn device_index(name: &str) -> Option<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}

impl Interface {
    /// What is spoken there.
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Makes the sockets. Port 0 is the protocol's own. Where datagrams are spoken, `shares` says
    /// which addresses may be shared with sockets of ours.
    pub(super) fn listen(
        &self,
        port: u16,
        shares: impl Fn(SocketAddr) -> bool,
    ) -> io::Result<Vec<Bound>> {
        let port = match port {
            0 => self.scheme.port().unwrap_or(0),
            port => port,
        };
        let bind = |address: SocketAddr, device: Option<&str>, dual| match self.scheme {
            Scheme::A12 | Scheme::Zmtp => listening(address, device, dual),
            Scheme::CurveCp => datagrams(address, device, dual, shares(address)),
        };
        let everywhere = |device| match bind((Ipv6Addr::UNSPECIFIED, port).into(), device, true) {
            // The kernel has no IPv6.
            Err(error) if is_no_ipv6(&error) => {
                bind((Ipv4Addr::UNSPECIFIED, port).into(), device, false)
            }
            // One for both families.
            other => other,
        };
        let socket = match &self.place {
            Place::Everywhere => everywhere(None)?,
            Place::Device(device) => everywhere(Some(device))?,
            Place::Address(IpAddr::V4(address), _) => bind((*address, port).into(), None, false)?,
            Place::Address(IpAddr::V6(address), scope) => {
                let address = SocketAddrV6::new(*address, port, 0, *scope);
                bind(address.into(), None, false)?
            }
        };
        Ok(vec![socket])
    }
}

impl Interface {
    /// Whether a socket that is bound already is where [`listen`](Self::listen) would make one.
    /// Clients of datagrams get sockets beside it, which only the user who has bound it can make.
    pub(super) fn fits(&self, socket: &Bound, port: u16) -> bool {
        let Some(bound) = address(socket) else {
            return false;
        };
        let port = match port {
            0 => self.scheme.port().unwrap_or_else(|| bound.port()),
            port => port,
        };
        let device = socket.device().ok().flatten();
        let place = match &self.place {
            Place::Everywhere => bound.ip().is_unspecified() && device.is_none(),
            Place::Device(name) => {
                bound.ip().is_unspecified() && device.as_deref() == Some(name.as_bytes())
            }
            Place::Address(ip, scope) => {
                let bound_scope = match bound {
                    SocketAddr::V6(bound) => bound.scope_id(),
                    SocketAddr::V4(_) => 0,
                };
                bound.ip() == *ip && bound_scope == *scope
            }
        };
        self.scheme != Scheme::CurveCp && bound.port() == port && place
    }
}

/// The address of a socket.
pub(super) fn address(socket: &Bound) -> Option<SocketAddr> {
    socket.local_addr().ok()?.as_socket()
}

fn is_no_ipv6(error: &io::Error) -> bool {
    let errno = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    matches!(
        errno,
        Some(rustix::io::Errno::AFNOSUPPORT | rustix::io::Errno::ADDRNOTAVAIL)
    )
}

fn unbound(
    address: SocketAddr,
    device: Option<&[u8]>,
    dual: bool,
    kind: Type,
) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        kind.nonblocking().cloexec(),
        Some(match kind {
            Type::STREAM => IpProtocol::TCP,
            _ => IpProtocol::UDP,
        }),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    if device.is_some() {
        socket.bind_device(device)?;
    }
    Ok(socket)
}

fn listening(address: SocketAddr, device: Option<&str>, dual: bool) -> io::Result<Bound> {
    let socket = unbound(address, device.map(str::as_bytes), dual, Type::STREAM)?;
    // A listener that was closed a moment ago leaves connections behind that need not be waited for.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// A socket for datagrams of whoever comes. Only sockets of this user can have its address, too, and
/// only once it is bound, so that an address that others use is not taken; where it `shares`, some
/// of ours have it already.
fn datagrams(
    address: SocketAddr,
    device: Option<&str>,
    dual: bool,
    shares: bool,
) -> io::Result<Bound> {
    let socket = unbound(address, device.map(str::as_bytes), dual, Type::DGRAM)?;
    socket.set_reuse_port(shares)?;
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    keep(&socket);
    Ok(socket)
}

/// A socket at the address of another one, for the datagrams of one client alone.
pub(super) fn connected(beside: &Bound, client: SocketAddr) -> io::Result<OwnedFd> {
    let address = beside.local_addr()?;
    let own = address.as_socket().ok_or(io::ErrorKind::InvalidInput)?;
    let dual = own.is_ipv6() && !beside.only_v6()?;
    let client = match client.ip() {
        IpAddr::V4(ip) if own.is_ipv6() => (ip.to_ipv6_mapped(), client.port()).into(),
        _ => client,
    };
    let device = beside.device()?;
    let socket = unbound(own, device.as_deref(), dual, Type::DGRAM)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address)?;
    socket.connect(&client.into())?;
    keep(&socket);
    Ok(socket.into())
}

/// A socket for the datagrams of a server, at an address that the system chooses.
pub(super) fn associated(server: SocketAddr) -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::for_address(server), Type::DGRAM.nonblocking(), None)?;
    socket.connect(&server.into())?;
    keep(&socket);
    Ok(socket.into())
}

/// Has the kernel keep many datagrams until they are read; it gives what it may.
fn keep(socket: &Socket) {
    let _ = socket.set_recv_buffer_size(DATAGRAMS);
}

/// Bytes, with what the kernel needs for itself.
const DATAGRAMS: usize = 1 << 20;

/// Connections that the kernel completes before they are accepted. Where a burst of them overflows
/// it, others lose packets and wait until they are sent again.
const BACKLOG: i32 = 4096;

/// A short reason, for `last_words`, of why a socket could not be made.
pub(super) struct BindFailure<'a>(pub(super) &'a io::Error);

impl fmt::Display for BindFailure<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bind: ")?;
        match self.0.kind() {
            io::ErrorKind::AddrInUse => f.write_str("address in use"),
            io::ErrorKind::AddrNotAvailable => f.write_str("no such address here"),
            io::ErrorKind::PermissionDenied => f.write_str("permission denied"),
            _ => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    fn datagrams(interface: &str, port: u16, shares: bool) -> io::Result<Bound> {
        let interface: Interface = format!("curvecp://{interface}").parse().unwrap();
        Ok(interface.listen(port, |_| shares)?.remove(0))
    }

    #[test]
    fn a_client_has_a_socket_of_its_own_that_outlives_the_listener() {
        for (interface, at) in [("", "127.0.0.1"), ("", "[::1]"), ("127.0.0.1", "127.0.0.1")] {
            let listener = datagrams(interface, 0, false).unwrap();
            let own = address(&listener).unwrap();
            let peers = ["one", "two"].map(|_| UdpSocket::bind(format!("{at}:0")).unwrap());
            let port = own.port();
            for peer in &peers {
                peer.connect(format!("{at}:{port}")).unwrap();
            }
            let client = connected(&listener, peers[0].local_addr().unwrap()).unwrap();
            let sockets = [UdpSocket::from(client), listener.into()];
            let hears = |sockets: &[UdpSocket; 2]| {
                for (peer, socket) in peers.iter().zip(sockets) {
                    peer.send(b"x").unwrap();
                    assert_eq!(socket.recv_from(&mut [0; 9]).unwrap().0, 1);
                }
            };
            hears(&sockets);
            let [client, listener] = sockets;
            // Another program does not get the address, the next listener does.
            drop(listener);
            assert!(datagrams(interface, port, false).is_err());
            let next = datagrams(interface, port, true).unwrap();
            hears(&[client, next.into()]);
        }
    }

    #[test]
    fn the_grammar() {
        let place = |text: &str| text.parse::<Interface>().map(|i| i.place);
        let v6 = |text: &str| IpAddr::V6(text.parse().unwrap());
        assert_eq!(place(""), Ok(Place::Everywhere));
        assert_eq!(place("a12://"), Ok(Place::Everywhere));
        assert_eq!(
            place("127.0.0.1"),
            Ok(Place::Address([127, 0, 0, 1].into(), 0))
        );
        assert_eq!(place("a12://127.0.0.1"), place("127.0.0.1"));
        assert_eq!(place("::1"), Ok(Place::Address(v6("::1"), 0)));
        assert_eq!(place("[::1]"), place("::1"));
        assert_eq!(place("lo"), Ok(Place::Device("lo".into())));
        assert_eq!(place("::1%lo"), Ok(Place::Address(v6("::1"), 1)));
        for wrong in [
            "[::1",
            "[127.0.0.1]",
            "300.1.1.1",
            "nosuchdevice",
            "::1%nosuch",
            "a b",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            "gopher://".parse::<Interface>(),
            Err(InterfaceError::Scheme("gopher".into()))
        );
    }

    #[test]
    fn a_busy_port_says_so_in_a_few_words() {
        let interface: Interface = "127.0.0.1".parse().unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = interface
            .listen(free.local_addr().unwrap().port(), |_| false)
            .unwrap_err();
        assert_eq!(BindFailure(&error).to_string(), "bind: address in use");
    }

    #[test]
    fn everywhere_takes_both_families() {
        let everywhere: Interface = "zmtp://".parse().unwrap();
        let sockets = everywhere.listen(0, |_| false).unwrap();
        let port = address(&sockets[0]).unwrap().port();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(std::net::TcpStream::connect(("::1", port)).is_ok());
    }
}
