//! One attempt at least for each of the first actions, as programs make them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType};

use super::Attempt;
use crate::ipc::{SendError, Socket};

/// One attempt for each action of the report, and for some that only seccomp can deny.
pub(super) fn attempts(address: SocketAddr) -> Vec<(&'static str, Attempt)> {
    let socket = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None);
    let (to_connect, to_bind) = (socket().unwrap(), socket().unwrap());
    let (to_open, to_linger) = (socket().unwrap(), socket().unwrap());
    let (ours, theirs) = Socket::<u8, u8>::pair().unwrap();
    let local = |kind| rustix::net::socket(AddressFamily::UNIX, kind, None).unwrap();
    let (calling, hearing) = (local(SocketType::STREAM), local(SocketType::STREAM));
    let (sending, receiving) = (local(SocketType::DGRAM), local(SocketType::DGRAM));
    let unbound = local(SocketType::STREAM);
    let abstract_name = |what: &str| {
        let name = format!("moonport {what} {}", std::process::id());
        SocketAddrUnix::new_abstract_name(name.as_bytes()).unwrap()
    };
    let [call, mail, own] = ["call", "mail", "own"].map(abstract_name);
    rustix::net::bind(&hearing, &call).unwrap();
    rustix::net::listen(&hearing, 1).unwrap();
    rustix::net::bind(&receiving, &mail).unwrap();
    let datagrams = rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    let to_own = socket().unwrap();
    let parent = rustix::process::getppid().unwrap();
    vec![
        (
            "open",
            Box::new(|| std::fs::File::open("/dev/null").map(drop)) as Attempt,
        ),
        ("socket", Box::new(move || Ok(socket().map(drop)?))),
        (
            "connect",
            Box::new(move || Ok(rustix::net::connect(&to_connect, &address)?)),
        ),
        (
            "fastopen",
            Box::new(move || {
                let fast = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
                Ok(rustix::net::sendto(&to_open, b"x", fast, &address).map(drop)?)
            }),
        ),
        (
            "blocking close",
            Box::new(move || {
                let wait = Some(Duration::from_secs(1));
                Ok(rustix::net::sockopt::set_socket_linger(&to_linger, wait)?)
            }),
        ),
        (
            "shared flags",
            Box::new(|| {
                let stderr = io::stderr();
                let flags = rustix::fs::fcntl_getfl(&stderr)?;
                rustix::fs::fcntl_setfl(&stderr, flags)?;
                Ok(rustix::io::ioctl_fionbio(&stderr, false)?)
            }),
        ),
        (
            "handing over",
            Box::new(move || match ours.send(&1, &[theirs.as_fd()]) {
                Err(SendError::Io(error)) => Err(error),
                Err(other) => Err(io::Error::other(other)),
                Ok(()) => Ok(()),
            }),
        ),
        (
            "connecting to an abstract socket",
            Box::new(move || {
                // Somebody listens, to the end of this.
                let _hearing = hearing;
                Ok(rustix::net::connect(&calling, &call)?)
            }),
        ),
        (
            "binding an abstract socket",
            Box::new(move || Ok(rustix::net::bind(&unbound, &own)?)),
        ),
        (
            "sending to an abstract socket",
            Box::new(move || {
                let _receiving = receiving;
                let sent = rustix::net::sendto(&sending, b"x", SendFlags::empty(), &mail);
                Ok(sent.map(drop)?)
            }),
        ),
        (
            "sending to an address",
            Box::new(move || {
                let sent = rustix::net::sendto(&datagrams, b"x", SendFlags::empty(), &address);
                Ok(sent.map(drop)?)
            }),
        ),
        (
            "signals of a socket",
            Box::new(move || own_signals(&to_own)),
        ),
        (
            "bind",
            Box::new(move || {
                let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
                Ok(rustix::net::bind(&to_bind, &any)?)
            }),
        ),
        (
            "execve",
            Box::new(|| {
                let done = ["-c", "echo execve: done"];
                Err(Command::new("/bin/sh").args(done).exec())
            }),
        ),
        ("fork", Box::new(fork)),
        ("ptrace", Box::new(move || ptrace(parent))),
        (
            "kill",
            Box::new(move || Ok(rustix::process::test_kill_process(parent)?)),
        ),
        ("process_vm_readv", Box::new(move || read_memory(parent))),
        ("mmap exec", Box::new(map_executable)),
    ]
}

pub(super) fn checked(result: i64) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[expect(unsafe_code, reason = "there is no safe form of it")]
fn own_signals(socket: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is open, and no memory is passed.
    checked(unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_SETOWN, libc::getpid()) }.into())
}

#[expect(unsafe_code, reason = "there is no safe fork to try")]
fn fork() -> io::Result<()> {
    // SAFETY: a child, if there is one against expectation, ends at once without running
    // anything of the parent's.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::_exit(0);
        }
        checked(child.into())
    }
}

#[expect(unsafe_code, reason = "there is no safe ptrace to try")]
fn ptrace(parent: rustix::process::Pid) -> io::Result<()> {
    let pid = parent.as_raw_nonzero().get();
    let nothing = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: no memory is passed, and the parent survives being traced by a child that exits.
    checked(unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) })
}

#[expect(unsafe_code, reason = "there is no safe process_vm_readv to try")]
fn read_memory(parent: rustix::process::Pid) -> io::Result<()> {
    let mut byte = 0_u8;
    let here = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    let there = here;
    // SAFETY: the local vector names one writable byte that outlives the call.
    let read = unsafe {
        let pid = parent.as_raw_nonzero().get();
        libc::process_vm_readv(pid, &raw const here, 1, &raw const there, 1, 0)
    };
    checked(read as i64)
}

#[expect(unsafe_code, reason = "there is no safe mmap to try")]
fn map_executable() -> io::Result<()> {
    let (access, kind) = (
        libc::PROT_READ | libc::PROT_EXEC,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: a new anonymous mapping at an address of the kernel's choice harms nothing.
    let mapped = unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0) };
    if mapped == libc::MAP_FAILED {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
