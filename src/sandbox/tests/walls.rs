//! What a process that was taken over would try, each as bare as it goes. A call that gets through
//! harms nothing: it is given arguments that end it, or acts on this test alone.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use libc::{c_long, c_void};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Attempt;
use super::attempts::checked;
use crate::sandbox::actions::{ACTIONS, Action};

/// Attempts at actions of the report, by its names; some actions have more than one.
pub(super) fn attempts(parent: Pid) -> Vec<(&'static str, Attempt)> {
    let pid = c_long::from(parent.as_raw_nonzero().get());
    let pidfd = pidfd_open(parent, PidfdFlags::empty()).unwrap();
    let page = Page::new();
    let memfd = rustix::fs::memfd_create("before", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&memfd, 4096).unwrap();
    let memory = format!("/proc/{pid}/mem");
    let environment = format!("/proc/{pid}/environ");
    let mut attempts: Vec<(&'static str, Attempt)> = vec![
        ("open", openat2()),
        ("socket", call(libc::SYS_socketpair, [1, 1, 0])),
        ("socket", call(libc::SYS_socket, [1, 2, 0])),
        ("socket", call(libc::SYS_socket, [16, 3, 0])),
        ("fork", call(libc::SYS_clone3, [0; 3])),
        ("fork", Box::new(clone)),
        ("ptrace", call(libc::SYS_pidfd_getfd, [-1, 0, 0])),
        ("kill", call(libc::SYS_tgkill, [pid, pid, 0])),
        ("kill", call(libc::SYS_tkill, [pid, 0, 0])),
        (
            "kill",
            Box::new(move || {
                let descriptor = c_long::from(pidfd.as_raw_fd());
                call(libc::SYS_pidfd_send_signal, [descriptor, 0, 0])()
            }),
        ),
        ("read /proc", read("/proc/self/status".into())),
        ("read /proc", read(memory)),
        ("read /proc", read(environment)),
        ("mmap exec", page.protect(libc::SYS_mprotect)),
        ("mmap exec", page.protect(libc::SYS_pkey_mprotect)),
        ("mmap exec", Box::new(move || map(&memfd))),
        ("memfd", memfd_create(c"after")),
        ("io_uring", call(libc::SYS_io_uring_setup, [0; 3])),
        ("io_uring", call(libc::SYS_io_uring_enter, [-1, 0, 0])),
        ("userfaultfd", call(libc::SYS_userfaultfd, [-1, 0, 0])),
        ("bpf", call(libc::SYS_bpf, [-1, 0, 0])),
        ("perf_event_open", call(libc::SYS_perf_event_open, [0; 3])),
        // The number of the session's keyring.
        ("keyctl", call(libc::SYS_keyctl, [0, -3, 0])),
        ("keyctl", call(libc::SYS_add_key, [0; 3])),
        ("keyctl", call(libc::SYS_request_key, [0; 3])),
        ("namespaces", call(libc::SYS_unshare, [0; 3])),
        ("namespaces", call(libc::SYS_setns, [-1, 0, 0])),
        ("mount", call(libc::SYS_mount, [1, 1, 1])),
        ("mount", call(libc::SYS_umount2, [0; 3])),
        ("mount", call(libc::SYS_pivot_root, [0; 3])),
        ("mount", call(libc::SYS_chroot, [0; 3])),
        ("mount", call(libc::SYS_fsopen, [0; 3])),
        ("module", call(libc::SYS_init_module, [0; 3])),
        ("module", call(libc::SYS_finit_module, [-1, 0, 0])),
        ("module", call(libc::SYS_delete_module, [0; 3])),
        (
            "personality",
            call(libc::SYS_personality, [0xffff_ffff, 0, 0]),
        ),
        // Whether it can be dumped.
        ("prctl", call(libc::SYS_prctl, [3, 0, 0])),
        ("prlimit", call(libc::SYS_prlimit64, [0, 0, 0])),
        // The size of a terminal.
        ("ioctl", call(libc::SYS_ioctl, [-1, 0x5413, 0])),
    ];
    #[cfg(target_arch = "x86_64")]
    attempts.push(("open", call(libc::SYS_open, [0; 3])));
    attempts
}

/// Every call of the report's list, with numbers that lead nowhere, so that one which is added to it
/// is tried, too. Those that are allowed with other arguments, and those that begin a process
/// whatever their arguments, are tried for themselves.
pub(super) fn bare() -> Vec<(&'static str, Attempt)> {
    let apart = [
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_sendto,
        libc::SYS_tgkill,
        libc::SYS_clone,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_fork,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_vfork,
    ];
    let calls = |action: &'static Action| {
        let calls = action
            .calls
            .iter()
            .filter(move |call| !apart.contains(call));
        calls.map(|&number| (action.name, call(number, [-1; 3])))
    };
    ACTIONS.iter().flat_map(calls).collect()
}

/// A call with numbers that do nothing.
fn call(number: c_long, [a, b, c]: [c_long; 3]) -> Attempt {
    Box::new(move || {
        #[expect(unsafe_code, reason = "these calls have no safe form")]
        // SAFETY: each is given above with arguments that name no memory that it could change.
        checked(unsafe { libc::syscall(number, a, b, c, 0, 0) })
    })
}

fn read(path: String) -> Attempt {
    Box::new(move || std::fs::File::open(path).map(drop))
}

fn openat2() -> Attempt {
    Box::new(|| {
        let (flags, mode) = (rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        let resolve = rustix::fs::ResolveFlags::empty();
        Ok(rustix::fs::openat2(rustix::fs::CWD, "/", flags, mode, resolve).map(drop)?)
    })
}

fn memfd_create(name: &'static CStr) -> Attempt {
    Box::new(move || {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        Ok(rustix::fs::memfd_create(name, flags).map(drop)?)
    })
}

#[expect(unsafe_code, reason = "there is no safe clone to try")]
fn clone() -> io::Result<()> {
    // SAFETY: without CLONE_VM it is a fork, and the child, if there is one against expectation,
    // ends at once without running anything of the parent's.
    unsafe {
        let flags = c_long::from(libc::CLONE_VFORK | libc::SIGCHLD);
        let child = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
        if child == 0 {
            libc::_exit(0);
        }
        checked(child)
    }
}

/// A page of memory that is to become executable.
struct Page(usize);

const SIZE: usize = 4096;

impl Page {
    #[expect(unsafe_code, reason = "memory that belongs to nothing else")]
    fn new() -> Self {
        let (access, kind) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: a new anonymous mapping at an address of the kernel's choice harms nothing.
        let mapped = unsafe { libc::mmap(ptr::null_mut(), SIZE, access, kind, -1, 0) };
        assert_ne!(mapped, libc::MAP_FAILED);
        Self(mapped.addr())
    }

    #[expect(unsafe_code, reason = "there is no safe mprotect to try")]
    fn protect(&self, number: c_long) -> Attempt {
        let at = self.0;
        Box::new(move || {
            let access = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
            // SAFETY: nothing else is in that page. No key is -1.
            checked(unsafe { libc::syscall(number, at, SIZE, access, -1_i64) })
        })
    }
}

#[expect(unsafe_code, reason = "there is no safe mmap to try")]
fn map(memory: &OwnedFd) -> io::Result<()> {
    let access = libc::PROT_READ | libc::PROT_EXEC;
    let descriptor = memory.as_raw_fd();
    // SAFETY: a new mapping at an address of the kernel's choice harms nothing.
    let mapped: *mut c_void = unsafe {
        libc::mmap(
            ptr::null_mut(),
            SIZE,
            access,
            libc::MAP_SHARED,
            descriptor,
            0,
        )
    };
    if mapped == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
