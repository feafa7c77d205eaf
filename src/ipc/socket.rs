use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::{Errno, FdFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::io::unix::AsyncFd;
use zeroize::{Zeroize, Zeroizing};

/// The largest message, in bytes.
const MAX_MESSAGE: usize = 64 * 1024;

/// The most descriptors that go with one message.
const MAX_DESCRIPTORS: usize = 8;

thread_local! {
    /// Where messages are received: to make as much ready for each would cost more than the rest.
    static RECEIVED: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_MESSAGE].into());
}

/// One end of a connection between two of our processes: it sends `Out`, with descriptors, and
/// receives `In`.
///
/// A Unix socket of type SOCK_SEQPACKET, non-blocking: messages arrive whole, in order, or not at
/// all. Messages are encoded with postcard.
#[derive(Debug)]
pub struct Socket<Out, In> {
    fd: OwnedFd,
    messages: PhantomData<fn(Out) -> In>,
}

/// What [`Socket::recv`] has found.
#[derive(Debug)]
pub enum Received<In> {
    /// A message with its descriptors.
    Message(In, Vec<OwnedFd>),
    /// The other end is closed.
    Closed,
}

/// Why a message was not sent.
#[derive(Debug, Error)]
pub enum SendError {
    /// The other end does not keep up: try again when the socket is writable.
    #[error("the other end does not keep up")]
    Full,
    /// The other end is closed.
    #[error("the other end is closed")]
    Closed,
    /// More than a message can hold; a bug of ours.
    #[error("message too large")]
    TooLarge,
    /// Something else.
    #[error(transparent)]
    Io(io::Error),
}

/// Why no message was received.
#[derive(Debug, Error)]
pub enum RecvError {
    /// Nothing there: try again when the socket is readable.
    #[error("nothing there")]
    Empty,
    /// The other end has sent what its type cannot hold: it is broken or hostile.
    #[error("the other end sent garbage")]
    Garbage,
    /// Something else.
    #[error(transparent)]
    Io(io::Error),
}

impl<Out, In> Socket<Out, In> {
    /// Two connected ends.
    pub fn pair() -> io::Result<(Self, Socket<In, Out>)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        Ok((Self::from_fd(a), Socket::from_fd(b)))
    }

    /// Connects to the process that listens on this path. Nobody there:
    /// [`io::ErrorKind::NotFound`] or [`io::ErrorKind::ConnectionRefused`].
    pub fn connect(path: &Path) -> io::Result<Self> {
        let fd = unconnected()?;
        rustix::net::connect(&fd, &SocketAddrUnix::new(path)?)?;
        Ok(Self::from_fd(fd))
    }

    /// Takes a descriptor that another process has handed over.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self {
            fd,
            messages: PhantomData,
        }
    }

    /// Gives the descriptor away, to hand it to another process.
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl<Out: Serialize, In: DeserializeOwned> Socket<Out, In> {
    /// Sends one message, with descriptors, or nothing of it.
    pub fn send(&self, message: &Out, descriptors: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        let bytes = encode(message).ok_or(SendError::TooLarge)?;
        if descriptors.len() > MAX_DESCRIPTORS {
            return Err(SendError::TooLarge);
        }
        loop {
            // Without descriptors `sendmsg` is not needed, which a locked-down process may lack.
            let sent = if descriptors.is_empty() {
                rustix::net::send(&self.fd, &bytes, SendFlags::NOSIGNAL)
            } else {
                self.send_with(&bytes, descriptors)
            };
            return match sent {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Err(SendError::Full),
                Err(Errno::PIPE | Errno::CONNRESET) => Err(SendError::Closed),
                Err(Errno::MSGSIZE) => Err(SendError::TooLarge),
                Err(other) => Err(SendError::Io(other.into())),
            };
        }
    }

    fn send_with(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
            return Err(Errno::MSGSIZE);
        }
        let bytes = [IoSlice::new(bytes)];
        rustix::net::sendmsg(&self.fd, &bytes, &mut control, SendFlags::NOSIGNAL)
    }

    /// Takes the next message.
    pub fn recv(&self) -> Result<Received<In>, RecvError> {
        RECEIVED.with_borrow_mut(|bytes| self.recv_in(bytes))
    }

    fn recv_in(&self, bytes: &mut [u8]) -> Result<Received<In>, RecvError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = loop {
            let got = rustix::net::recvmsg(
                &self.fd,
                &mut [IoSliceMut::new(bytes)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            );
            match got {
                Ok(got) => break got,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(RecvError::Empty),
                Err(Errno::CONNRESET) => return Ok(Received::Closed),
                Err(other) => return Err(RecvError::Io(other.into())),
            }
        };
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        // Every message has at least one byte, so none means the end.
        if got.bytes == 0 {
            return Ok(Received::Closed);
        }
        if got
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(RecvError::Garbage);
        }
        let bytes = bytes.get_mut(..got.bytes).ok_or(RecvError::Garbage)?;
        let message = match decode(bytes) {
            Some(message) => Ok(Received::Message(message, descriptors)),
            None => Err(RecvError::Garbage),
        };
        // Only what came: wiping all of the buffer would cost more than the rest.
        bytes.zeroize();
        message
    }
}

impl<Out, In> AsFd for Socket<Out, In> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<Out, In> AsRawFd for Socket<Out, In> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The bytes of a message, if they are not too many. There may be secrets in them: the buffer has
/// its full size from the start, so that growing leaves no copy behind that is not wiped.
pub(super) fn encode(message: &impl Serialize) -> Option<Zeroizing<Vec<u8>>> {
    let size = postcard::experimental::serialized_size(message).ok()?;
    if size > MAX_MESSAGE {
        return None;
    }
    let mut bytes = Zeroizing::new(vec![0; size]);
    let used = postcard::to_slice(message, &mut bytes).ok()?.len();
    bytes.truncate(used);
    Some(bytes)
}

/// The message of bytes, all of them.
pub(super) fn decode<In: DeserializeOwned>(bytes: &[u8]) -> Option<In> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

/// A socket that is neither bound nor connected yet.
pub(super) fn unconnected() -> io::Result<OwnedFd> {
    Ok(rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?)
}

/// A [`Socket`] that waits in a tokio runtime.
#[derive(Debug)]
pub struct AsyncSocket<Out, In>(AsyncFd<Socket<Out, In>>);

impl<Out: Serialize, In: DeserializeOwned> AsyncSocket<Out, In> {
    /// Registers the socket with the runtime that is entered.
    pub fn new(socket: Socket<Out, In>) -> io::Result<Self> {
        // SAFETY: a `Socket` owns its descriptor, always names the same one, and is never replaced
        // inside the `AsyncFd`, which deregisters it before dropping it.
        #[expect(unsafe_code, reason = "tokio asks us to vouch for the descriptor")]
        let registered = unsafe { AsyncFd::register(socket) };
        Ok(Self(registered?))
    }

    /// Sends one message if there is room, else [`SendError::Full`].
    pub fn try_send(&self, message: &Out, fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        self.0.get_ref().send(message, fds)
    }

    /// Sends one message, waiting until there is room. Cancel-safe: it is sent whole or not.
    pub async fn send(&self, message: &Out, fds: &[BorrowedFd<'_>]) -> Result<(), SendError> {
        loop {
            match self.0.get_ref().send(message, fds) {
                Err(SendError::Full) => {}
                done => return done,
            }
            let mut guard = self.0.writable().await.map_err(SendError::Io)?;
            match self.0.get_ref().send(message, fds) {
                Err(SendError::Full) => guard.clear_ready(),
                done => return done,
            }
        }
    }

    /// Takes the next message if there is one, else [`RecvError::Empty`].
    pub fn try_recv(&self) -> Result<Received<In>, RecvError> {
        self.0.get_ref().recv()
    }

    /// Takes the next message, waiting for it. Cancel-safe.
    pub async fn recv(&self) -> Result<Received<In>, RecvError> {
        loop {
            let mut guard = self.0.readable().await.map_err(RecvError::Io)?;
            match self.0.get_ref().recv() {
                Err(RecvError::Empty) => guard.clear_ready(),
                done => return done,
            }
        }
    }
}

/// Closes a descriptor that was inherited by number in whatever is started from now on.
pub fn keep_from_children(number: u32) -> io::Result<()> {
    let number = RawFd::try_from(number).map_err(|_| Errno::BADF)?;
    // SAFETY: it is borrowed for this one call, which neither closes, reads nor writes it, and
    // fails where nothing is open under the number.
    #[expect(unsafe_code, reason = "nobody but a number names what was inherited")]
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_whole_with_their_descriptors() {
        let (a, b) = Socket::<String, u32>::pair().unwrap();
        let (pipe, _write) = rustix::pipe::pipe().unwrap();
        a.send(&"hello".to_owned(), &[pipe.as_fd()]).unwrap();
        a.send(&"again".to_owned(), &[]).unwrap();
        let Received::Message(text, fds) = b.recv().unwrap() else {
            panic!("closed");
        };
        assert_eq!((text.as_str(), fds.len()), ("hello", 1));
        let Received::Message(text, fds) = b.recv().unwrap() else {
            panic!("closed");
        };
        assert_eq!((text.as_str(), fds.len()), ("again", 0));
        assert!(matches!(b.recv(), Err(RecvError::Empty)));
        b.send(&7, &[]).unwrap();
        drop(b);
        assert!(matches!(a.recv(), Ok(Received::Message(7, _))));
        assert!(matches!(a.recv(), Ok(Received::Closed)));
        assert!(matches!(
            a.send(&String::new(), &[]),
            Err(SendError::Closed)
        ));
    }

    #[test]
    fn garbage_is_an_error_and_nothing_worse() {
        let (a, b) = Socket::<Vec<u8>, ()>::pair().unwrap();
        let b: Socket<(), Option<String>> = Socket::from_fd(b.into_fd());
        a.send(&vec![0xff; 40], &[]).unwrap();
        assert!(matches!(b.recv(), Err(RecvError::Garbage)));
        let (a, b) = Socket::<String, ()>::pair().unwrap();
        assert!(matches!(
            a.send(&"x".repeat(MAX_MESSAGE), &[]),
            Err(SendError::TooLarge)
        ));
        drop(b);
    }

    #[test]
    fn a_message_is_encoded_into_one_buffer_of_its_size() {
        let message = (vec![7_u32; 3000], Some("secret"), u64::MAX);
        let bytes = encode(&message).unwrap();
        assert_eq!(*bytes, postcard::to_allocvec(&message).unwrap());
        assert_eq!(bytes.capacity(), bytes.len());
        // A string's length takes three bytes here.
        assert!(encode(&"x".repeat(MAX_MESSAGE - 3)).is_some());
        assert!(encode(&"x".repeat(MAX_MESSAGE - 2)).is_none());
    }

    #[test]
    fn a_full_socket_says_so() {
        let (a, _b) = Socket::<Vec<u8>, ()>::pair().unwrap();
        let message = vec![1; 1000];
        let full = (0..10_000).find_map(|_| a.send(&message, &[]).err());
        assert!(matches!(full, Some(SendError::Full)));
    }
}
