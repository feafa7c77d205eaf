//! Where handlers connect: a socket in the file system that is its owner's alone, or a port of this
//! machine.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::cli::args::Endpoint;

/// Where handlers connect.
pub(super) enum Door {
    Ipc {
        listener: UnixListener,
        _file: Removed,
    },
    Tcp(TcpListener),
}

/// A file that goes with its owner.
pub(super) struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = fs::remove_file(&self.0);
    }
}

impl Door {
    /// Listens, and says where: a port 0 is replaced by one that is free.
    pub(super) async fn bind(endpoint: &Endpoint) -> io::Result<(Self, Endpoint)> {
        match endpoint {
            Endpoint::Ipc(path) => {
                let listener = bind(path)?;
                let door = Self::Ipc {
                    listener,
                    _file: Removed(path.clone()),
                };
                Ok((door, endpoint.clone()))
            }
            Endpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                Ok((Self::Tcp(listener), Endpoint::Tcp(address)))
            }
        }
    }

    /// The next handler: of our own user or of root, where that can be seen. Cancel-safe.
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Ipc { listener, .. } => loop {
                let (stream, _) = listener.accept().await?;
                let user = stream.peer_cred()?.uid();
                if user == rustix::process::geteuid().as_raw() || user == 0 {
                    return Ok(Stream::Ipc(stream));
                }
            },
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
        }
    }
}

/// Listens at a path with mode 0600 from the first moment. What a dead process has left there is
/// replaced.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let address = SocketAddrUnix::new(path)?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "something else is there",
            ));
        }
        Ok(_) => match StdStream::connect(path) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => fs::remove_file(path)?,
            Err(error) => return Err(error),
            Ok(_) => {
                return Err(io::Error::new(
                    ErrorKind::AddrInUse,
                    "another program listens there",
                ));
            }
        },
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file the mode that the socket has when it is bound.
    rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&fd, &address)?;
    rustix::net::listen(&fd, BACKLOG)?;
    UnixListener::from_std(fd.into())
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// A connection of either kind.
pub(super) enum Stream {
    Ipc(UnixStream),
    Tcp(TcpStream),
}

macro_rules! each {
    ($stream:ident, $it:ident => $do:expr) => {
        match $stream.get_mut() {
            Self::Ipc($it) => $do,
            Self::Tcp($it) => $do,
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self, it => Pin::new(it).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self, it => Pin::new(it).poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, it => Pin::new(it).poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, it => Pin::new(it).poll_shutdown(context))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ipc(path: &Path) -> Endpoint {
        Endpoint::Ipc(path.to_owned())
    }

    #[tokio::test]
    async fn a_socket_in_the_file_system_is_its_owners_alone_and_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zap.sock");
        let (door, _) = Door::bind(&ipc(&path)).await.unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let _here = UnixStream::connect(&path).await.unwrap();
        assert!(matches!(door.accept().await, Ok(Stream::Ipc(_))));
        drop(door);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn only_what_a_dead_process_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("zap.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_door, _) = Door::bind(&ipc(&path)).await.unwrap();
        let error = Door::bind(&ipc(&path)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = Door::bind(&ipc(&file)).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&file).unwrap(), b"x");
    }

    #[tokio::test]
    async fn a_free_port_is_told() {
        let any = Endpoint::Tcp("127.0.0.1:0".parse().unwrap());
        let (door, endpoint) = Door::bind(&any).await.unwrap();
        let Endpoint::Tcp(address) = endpoint else {
            panic!("{endpoint}");
        };
        let _here = TcpStream::connect(address).await.unwrap();
        assert!(matches!(door.accept().await, Ok(Stream::Tcp(_))));
    }
}
