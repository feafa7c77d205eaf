//! What is left to each kind of process.

use std::os::fd::RawFd;
use std::path::PathBuf;

use super::filter::Calls;

/// What is left to a process.
#[derive(Debug, Clone)]
pub struct Policy {
    pub(super) calls: Calls,
    /// Files and folders that may be read.
    pub(super) readable: Vec<PathBuf>,
    /// Folders in which files may be made, changed and removed.
    pub(super) writable: Vec<PathBuf>,
    /// The most descriptors that may be open.
    pub(super) descriptors: u64,
    /// The most bytes of memory, if somebody else does not bound it.
    pub(super) memory: Option<u64>,
}

impl Policy {
    /// A frameserver: the sockets it was given and those they bring; no file. `datagrams` is the one
    /// from which it sends to whom it will, if it does.
    pub fn frameserver(datagrams: Option<RawFd>) -> Self {
        Self {
            calls: Calls {
                free: &[COMMON, CONNECTIONS],
                own_signals: false,
                datagrams,
            },
            readable: Vec::new(),
            writable: Vec::new(),
            // One for each connection, and a few.
            descriptors: 65_536,
            memory: None,
        }
    }

    /// A script: the sockets it was given, what it may read, and its own folders. `memory` is in
    /// bytes, for the whole process.
    pub fn script(readable: PathBuf, writable: Vec<PathBuf>, memory: u64) -> Self {
        let time = TIME.iter().map(PathBuf::from);
        Self {
            calls: Calls {
                free: &[COMMON, FILES],
                own_signals: true,
                datagrams: None,
            },
            readable: time.chain([readable]).collect(),
            writable,
            descriptors: 1024,
            memory: Some(memory),
        }
    }
}

/// Reads of these are let through for the local time.
const TIME: [&str; 3] = ["/etc/localtime", "/usr/share/zoneinfo", "/etc/timezone"];

/// What every process of ours lives from.
const COMMON: &[libc::c_long] = &[
    // Bytes, and descriptors that come in; there is no `sendmsg`, so that none go out.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvmsg,
    libc::SYS_close,
    // Waiting.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_restart_syscall,
    // Time, where the kernel's page for it is missing.
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    // Memory that is not executable.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Seeds.
    libc::SYS_getrandom,
    // Who it is, for messages.
    libc::SYS_getpid,
    libc::SYS_gettid,
    // Signals that come in, and the end.
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Connections of the sockets that a frameserver was given.
const CONNECTIONS: &[libc::c_long] = &[
    libc::SYS_recvfrom,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_ctl,
];

/// Files, of which Landlock says which; and waiting for a few sockets.
const FILES: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_openat,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_getdents64,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
];
