//! Where a listener listens: the interface as a script writes it, and the sockets made from it.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener};
use std::str::FromStr;

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
        let scheme = match scheme {
            Ok(scheme @ (Scheme::A12 | Scheme::Zmtp)) => scheme,
            Ok(other) => return Err(InterfaceError::Scheme(other.name().to_owned())),
            Err(name) => return Err(InterfaceError::Scheme(name.to_owned())),
        };
        Ok(Self {
            scheme,
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

    /// Makes the listening sockets. Port 0 is the protocol's own.
    pub(super) fn listen(&self, port: u16) -> io::Result<Vec<TcpListener>> {
        let port = match port {
            0 => self.scheme.port().unwrap_or(0),
            port => port,
        };
        let sockets = match &self.place {
            Place::Everywhere => everywhere(port, None)?,
            Place::Device(device) => everywhere(port, Some(device))?,
            Place::Address(IpAddr::V4(address), _) => {
                vec![bound(SocketAddr::from((*address, port)), None, false)?]
            }
            Place::Address(IpAddr::V6(address), scope) => {
                let address = SocketAddrV6::new(*address, port, 0, *scope);
                vec![bound(address.into(), None, false)?]
            }
        };
        Ok(sockets)
    }
}

/// One socket for both families, or one for IPv4 where the kernel has no IPv6.
fn everywhere(port: u16, device: Option<&str>) -> io::Result<Vec<TcpListener>> {
    match bound((Ipv6Addr::UNSPECIFIED, port).into(), device, true) {
        Ok(socket) => Ok(vec![socket]),
        Err(error) if is_no_ipv6(&error) => Ok(vec![bound(
            (Ipv4Addr::UNSPECIFIED, port).into(),
            device,
            false,
        )?]),
        Err(error) => Err(error),
    }
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

fn bound(address: SocketAddr, device: Option<&str>, dual: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking().cloexec(),
        Some(IpProtocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    // A listener that was closed a moment ago leaves connections behind that need not be waited for.
    socket.set_reuse_address(true)?;
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

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
            .listen(free.local_addr().unwrap().port())
            .unwrap_err();
        assert_eq!(BindFailure(&error).to_string(), "bind: address in use");
    }

    #[test]
    fn everywhere_takes_both_families() {
        let sockets = everywhere(0, None).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(std::net::TcpStream::connect(("::1", port)).is_ok());
    }
}
