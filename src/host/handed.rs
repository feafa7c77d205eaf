//! Sockets that a service manager has bound and hands over (`sd_listen_fds(3)`): each is for the
//! listener whose name it has, if it is where the script wants to listen. It stays the manager's:
//! clients that come while nobody listens are kept by it.

use std::io;
use std::sync::Arc;

use identity::Name;
use listenfd::ListenFd;
use thiserror::Error;

use super::interface::{Bound, Interface, address};

/// All of them, with their names.
#[derive(Debug, Clone, Default)]
pub struct Handed(Arc<Vec<(String, Bound)>>);

/// Why what was handed over is not taken.
#[derive(Debug, Error)]
pub enum HandedError {
    /// It is something else.
    #[error("the socket {name:?} that was handed over does not take connections by TCP")]
    Kind {
        /// What it is called.
        name: String,
    },
    /// The system says no.
    #[error("the sockets that were handed over cannot be used: {0}")]
    Io(#[from] io::Error),
}

/// Why a listener does not get the socket that has its name.
#[derive(Debug, Error)]
pub(super) enum Elsewhere {
    /// Another address.
    #[error("handed another address")]
    Address,
    /// The system says no.
    #[error("handed over: {0}")]
    Io(#[from] io::Error),
}

impl Handed {
    /// Takes those that were handed to this process. From then on no process that it starts has
    /// them. To be called once.
    pub fn take() -> Result<Self, HandedError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut descriptors = ListenFd::from_env();
        let mut taken = Vec::new();
        for at in 0..descriptors.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let Ok(Some(socket)) = descriptors.take_tcp_listener(at) else {
                return Err(HandedError::Kind { name });
            };
            let socket = Bound::from(socket);
            if !socket.is_listener()? {
                return Err(HandedError::Kind { name });
            }
            socket.set_nonblocking(true)?;
            taken.push((name, socket));
        }
        Ok(Self(Arc::new(taken)))
    }

    /// What they are called.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The socket for a listener; `None`: none has its name.
    pub(super) fn socket(
        &self,
        name: &Name,
        interface: &Interface,
        port: u16,
    ) -> Option<Result<Bound, Elsewhere>> {
        let named = self.0.iter().filter(|(known, _)| known == name.as_str());
        let mut named = named.map(|(_, socket)| socket).peekable();
        named.peek()?;
        let addresses: Vec<_> = named.clone().filter_map(address).collect();
        match named.find(|socket| interface.fits(socket, port)) {
            Some(socket) => Some(socket.try_clone().map_err(Elsewhere::Io)),
            None => {
                tracing::warn!(%name, ?addresses, "the socket that was handed over is elsewhere");
                Some(Err(Elsewhere::Address))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handed(name: &str, at: &str) -> (Handed, u16) {
        let socket = std::net::TcpListener::bind(at).unwrap();
        let port = socket.local_addr().unwrap().port();
        let all = vec![(name.to_owned(), Bound::from(socket))];
        (Handed(Arc::new(all)), port)
    }

    #[test]
    fn a_socket_is_for_the_listener_of_its_name_at_its_address() {
        let (handed, port) = handed("hello", "127.0.0.1:0");
        let ask = |name: &str, interface: &str, port| {
            let interface = interface.parse().unwrap();
            let found = handed.socket(&name.parse().unwrap(), &interface, port);
            found.map(|found| found.map(|socket| address(&socket).unwrap().port()).ok())
        };
        assert_eq!(ask("hello", "127.0.0.1", port), Some(Some(port)));
        assert_eq!(ask("hello", "zmtp://127.0.0.1", port), Some(Some(port)));
        assert_eq!(ask("other", "127.0.0.1", port), None);
        for (interface, port) in [
            ("127.0.0.2", port),
            ("", port),
            ("lo", port),
            ("127.0.0.1", port ^ 1),
            ("127.0.0.1", 0),
            ("curvecp://127.0.0.1", port),
        ] {
            assert_eq!(
                ask("hello", interface, port),
                Some(None),
                "{interface} {port}"
            );
        }
    }

    #[test]
    fn everywhere_is_everywhere() {
        let (all, port) = handed("hello", "[::]:0");
        let name: Name = "hello".parse().unwrap();
        let fits = |interface: &str| {
            let found = all.socket(&name, &interface.parse().unwrap(), port);
            found.unwrap().is_ok()
        };
        assert!(fits(""));
        assert!(!fits("127.0.0.1") && !fits("::1"));
    }
}
