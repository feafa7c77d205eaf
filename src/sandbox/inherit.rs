//! What a process has from its start: the control socket, and nothing else that it could keep.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// Takes standard input as the control socket and leaves nothing in its place.
///
/// To be called before the process has opened anything. Standard error stays, for last words.
pub fn inherit() -> io::Result<OwnedFd> {
    rustix::io::ioctl_fionbio(rustix::stdio::stdin(), true)?;
    rustix::net::sockopt::socket_type(rustix::stdio::stdin())?;
    close_others();
    let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(nothing(OFlags::RDONLY)?)?;
    Ok(control)
}

/// Gives standard output up: it is what scripts print to.
pub fn silence() -> io::Result<()> {
    Ok(rustix::stdio::dup2_stdout(nothing(OFlags::WRONLY)?)?)
}

fn nothing(access: OFlags) -> io::Result<OwnedFd> {
    let flags = access | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/dev/null", flags, Mode::empty())?)
}

/// Closes what the host was started with and nobody has told it of: the host passes on what is not
/// marked otherwise. Kernels before 5.9 cannot do it at once, and keep it.
///
/// To be called before the process has opened anything.
pub fn close_others() {
    let (first, last, flags) = (3_u32, u32::MAX, 0_u32);
    // SAFETY: nothing in this process owns a descriptor above the standard three yet.
    #[expect(unsafe_code, reason = "descriptors are closed that nobody owns")]
    unsafe {
        libc::syscall(libc::SYS_close_range, first, last, flags);
    }
}
