use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::{SocketAddrUnix, SocketFlags};
use tokio::io::unix::AsyncFd;

use super::Socket;
use super::socket::unconnected;

/// A place in the file system where other processes of the same user may connect.
#[derive(Debug)]
pub struct Listener {
    fd: AsyncFd<OwnedFd>,
    path: PathBuf,
}

impl Listener {
    /// Listens at a path, in the runtime that is entered, with mode 0600 from the first moment.
    ///
    /// What a dead process has left there is replaced, so the caller must hold the lock of its
    /// folder.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let address = SocketAddrUnix::new(path)?;
        match rustix::fs::unlink(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(other) => return Err(other.into()),
        }
        let fd = unconnected()?;
        // Linux gives the file the mode that the socket has when it is bound.
        rustix::fs::fchmod(&fd, Mode::RUSR | Mode::WUSR)?;
        rustix::net::bind(&fd, &address)?;
        rustix::net::listen(&fd, BACKLOG)?;
        // SAFETY: an `OwnedFd` always names the same open descriptor, and is never replaced inside
        // the `AsyncFd`, which deregisters it before dropping it.
        #[expect(unsafe_code, reason = "tokio asks us to vouch for the descriptor")]
        let fd = unsafe { AsyncFd::register(fd) }?;
        Ok(Self {
            fd,
            path: path.to_owned(),
        })
    }

    /// Takes the next connection of a process of our own user, or of root, and says of which; others
    /// are closed. Cancel-safe.
    pub async fn accept<Out, In>(&self) -> io::Result<(Socket<Out, In>, u32)> {
        loop {
            let mut guard = self.fd.readable().await?;
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(self.fd.get_ref(), flags) {
                Ok(fd) => {
                    let user = rustix::net::sockopt::socket_peercred(&fd)?.uid;
                    if user == rustix::process::geteuid() || user.is_root() {
                        return Ok((Socket::from_fd(fd), user.as_raw()));
                    }
                }
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Somebody may have removed it already.
        let _ = rustix::fs::unlink(&self.path);
    }
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::{AsyncSocket, Received};

    #[tokio::test]
    async fn a_listener_is_found_by_its_path_and_only_by_its_owner() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let nobody = Socket::<u32, String>::connect(&path).unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::NotFound);

        let listener = Listener::bind(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let here = AsyncSocket::new(Socket::<u32, String>::connect(&path).unwrap()).unwrap();
        let there = AsyncSocket::new(listener.accept::<String, u32>().await.unwrap().0).unwrap();
        here.send(&7, &[]).await.unwrap();
        assert!(matches!(there.recv().await, Ok(Received::Message(7, _))));
        there.send(&"seven".to_owned(), &[]).await.unwrap();
        assert!(matches!(here.recv().await, Ok(Received::Message(text, _)) if text == "seven"));

        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_dead_process_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let first = Listener::bind(&path).unwrap();
        let left = dir.path().join("left.sock");
        std::fs::rename(&path, &left).unwrap();
        drop(first);
        std::fs::rename(&left, &path).unwrap();
        let refused = Socket::<(), ()>::connect(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        let _second = Listener::bind(&path).unwrap();
        assert!(Socket::<(), ()>::connect(&path).is_ok());
    }
}
