//! The lockdown: after [`enter`] this process has what it holds, and nothing more.
//!
//! Three layers, each on its own enough for most of the list: resource limits, Landlock (no
//! files, no TCP but on the sockets it was given, no signals out), and a seccomp allow-list of
//! what the loop needs. A call that is not on it fails with EPERM rather than killing, so that
//! the C library's probing survives.

use std::collections::BTreeMap;

use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, Ruleset, RulesetAttr, RulesetError,
    RulesetStatus, Scope,
};
use libc::c_long;
use rustix::fs::FileType;
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::ipc::frameserver::Denied;

/// The most descriptors that a frameserver may have open: one for each connection, and a few.
const MAX_DESCRIPTORS: u64 = 65_536;

/// Locks this thread down for ever, as far as the system can, and says what denies each action.
///
/// It must be the process's only thread.
pub(super) fn enter() -> Vec<Denied> {
    let limited = limit();
    let landlock = restrict();
    let seccomp = filter();
    ACTIONS
        .iter()
        .map(|action| action.denied(limited, landlock, seccomp))
        .collect()
}

/// The actions of a report that nothing denies, as a complaint.
pub(super) fn complaint(report: &[Denied]) -> Option<String> {
    let open: Vec<&str> = report
        .iter()
        .filter(|denied| denied.layer.is_none())
        .map(|denied| denied.action.as_str())
        .collect();
    (!open.is_empty()).then(|| {
        format!(
            "the sandbox is required, but nothing on this system denies: {}; \
             seccomp or a newer kernel with Landlock is needed, or best effort has to do",
            open.join(", ")
        )
    })
}

/// What a lock-down must deny.
struct Action {
    name: &'static str,
    /// It needs one of these calls. One that is allowed under a condition is denied to it: the
    /// condition is there for this action.
    calls: &'static [c_long],
    /// From this ABI on Landlock denies it.
    landlock: Option<ABI>,
    /// A resource limit denies it to all but root.
    limited: bool,
}

impl Action {
    fn denied(&self, limited: bool, landlock: Option<ABI>, seccomp: bool) -> Denied {
        let filtered = seccomp && !self.calls.iter().any(|call| FREE.contains(call));
        let restricted =
            matches!((self.landlock, landlock), (Some(from), Some(abi)) if abi >= from);
        let layers: Vec<&str> = [
            (filtered, "seccomp"),
            (restricted, "landlock"),
            (self.limited && limited, "rlimit"),
        ]
        .into_iter()
        .filter_map(|(denies, layer)| denies.then_some(layer))
        .collect();
        Denied {
            action: self.name.to_owned(),
            layer: (!layers.is_empty()).then(|| layers.join(", ")),
        }
    }
}

const fn action(
    name: &'static str,
    calls: &'static [c_long],
    landlock: Option<ABI>,
    limited: bool,
) -> Action {
    Action {
        name,
        calls,
        landlock,
        limited,
    }
}

/// The list; `docs` and the host's status show it.
const ACTIONS: [Action; 25] = [
    action(
        "open",
        &[
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_openat2,
        ],
        Some(ABI::V1),
        false,
    ),
    action(
        "socket",
        &[libc::SYS_socket, libc::SYS_socketpair],
        None,
        false,
    ),
    action("connect", &[libc::SYS_connect], Some(ABI::V4), false),
    // What connects without `connect`.
    action(
        "fastopen",
        &[libc::SYS_sendto, libc::SYS_sendmsg, libc::SYS_sendmmsg],
        None,
        false,
    ),
    action("bind", &[libc::SYS_bind], Some(ABI::V4), false),
    action(
        "execve",
        &[libc::SYS_execve, libc::SYS_execveat],
        Some(ABI::V1),
        false,
    ),
    action(
        "fork",
        &[
            #[cfg(target_arch = "x86_64")]
            libc::SYS_fork,
            #[cfg(target_arch = "x86_64")]
            libc::SYS_vfork,
            libc::SYS_clone,
            libc::SYS_clone3,
        ],
        None,
        true,
    ),
    action(
        "ptrace",
        &[libc::SYS_ptrace, libc::SYS_pidfd_getfd, libc::SYS_kcmp],
        Some(ABI::V1),
        false,
    ),
    action(
        "kill",
        &[
            libc::SYS_kill,
            libc::SYS_tkill,
            libc::SYS_tgkill,
            libc::SYS_pidfd_open,
            libc::SYS_pidfd_send_signal,
            libc::SYS_rt_sigqueueinfo,
            libc::SYS_rt_tgsigqueueinfo,
        ],
        Some(ABI::V6),
        false,
    ),
    action(
        "process_vm_readv",
        &[libc::SYS_process_vm_readv, libc::SYS_process_vm_writev],
        Some(ABI::V1),
        false,
    ),
    action(
        "mmap exec",
        &[
            libc::SYS_mmap,
            libc::SYS_mprotect,
            libc::SYS_pkey_mprotect,
            libc::SYS_shmat,
            libc::SYS_remap_file_pages,
        ],
        None,
        false,
    ),
    // Others' memory, environment and descriptors, as files.
    action(
        "read /proc",
        &[
            #[cfg(target_arch = "x86_64")]
            libc::SYS_open,
            libc::SYS_openat,
            libc::SYS_openat2,
        ],
        Some(ABI::V1),
        false,
    ),
    action(
        "memfd",
        &[libc::SYS_memfd_create, libc::SYS_memfd_secret],
        None,
        false,
    ),
    action(
        "io_uring",
        &[
            libc::SYS_io_uring_setup,
            libc::SYS_io_uring_enter,
            libc::SYS_io_uring_register,
        ],
        None,
        false,
    ),
    action("userfaultfd", &[libc::SYS_userfaultfd], None, false),
    action("bpf", &[libc::SYS_bpf], None, false),
    action("perf_event_open", &[libc::SYS_perf_event_open], None, false),
    action(
        "keyctl",
        &[libc::SYS_keyctl, libc::SYS_add_key, libc::SYS_request_key],
        None,
        false,
    ),
    action(
        "namespaces",
        &[libc::SYS_unshare, libc::SYS_setns],
        None,
        false,
    ),
    action(
        "mount",
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_chroot,
            libc::SYS_fsopen,
            libc::SYS_open_tree,
            libc::SYS_move_mount,
            libc::SYS_mount_setattr,
        ],
        None,
        false,
    ),
    action(
        "module",
        &[
            libc::SYS_init_module,
            libc::SYS_finit_module,
            libc::SYS_delete_module,
            libc::SYS_kexec_load,
        ],
        None,
        false,
    ),
    action("personality", &[libc::SYS_personality], None, false),
    action("prctl", &[libc::SYS_prctl], None, false),
    action("prlimit", &[libc::SYS_prlimit64], None, false),
    action("ioctl", &[libc::SYS_ioctl], None, false),
];

/// Limits and flags of the process. Whether forking is limited: root is exempt.
///
/// The size of files is limited only where standard error is none: there, the limit would turn a
/// message into a death without a word.
fn limit() -> bool {
    let only = |maximum| Rlimit {
        current: Some(maximum),
        maximum: Some(maximum),
    };
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = rustix::process::setrlimit(Resource::Core, only(0));
    let most = rustix::process::getrlimit(Resource::Nofile)
        .maximum
        .map_or(MAX_DESCRIPTORS, |most| most.min(MAX_DESCRIPTORS));
    let _ = rustix::process::setrlimit(Resource::Nofile, only(most));
    let stderr = rustix::fs::fstat(rustix::stdio::stderr());
    if stderr.is_ok_and(|stat| !FileType::from_raw_mode(stat.st_mode).is_file()) {
        let _ = rustix::process::setrlimit(Resource::Fsize, only(0));
    }
    // Root without capabilities is somebody who owns many files.
    let none = CapabilitySet::empty();
    let _ = rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        },
    );
    let no_children = rustix::process::setrlimit(Resource::Nproc, only(0)).is_ok();
    no_children && !rustix::process::getuid().is_root() && !rustix::process::geteuid().is_root()
}

/// Landlock, with nothing allowed; the ABI that is in force.
fn restrict() -> Option<ABI> {
    let restricted = || -> Result<_, RulesetError> {
        Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?
            .restrict_self()
    };
    match restricted().ok()? {
        status if status.ruleset == RulesetStatus::NotEnforced => None,
        status => match status.landlock {
            LandlockStatus::Available { effective_abi, .. } => Some(effective_abi),
            _ => None,
        },
    }
}

/// The seccomp allow-list; whether it is in force.
fn filter() -> bool {
    let _ = rustix::thread::set_no_new_privs(true);
    program().is_some_and(|program| seccompiler::apply_filter(&program).is_ok())
}

fn program() -> Option<BpfProgram> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        FREE.iter().map(|&call| (call, Vec::new())).collect();
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![all([without(2, libc::PROT_EXEC)])?]);
    }
    let connected = all([without(3, libc::MSG_FASTOPEN), no_pointer(4)])?;
    rules.insert(libc::SYS_sendto, vec![connected]);
    let options = OPTIONS.map(|(level, name)| all([exactly(1, level), exactly(2, name)]));
    let options: Option<Vec<_>> = options.into_iter().collect();
    rules.insert(libc::SYS_setsockopt, options?);
    let commands = FCNTL.map(|command| all([exactly(1, command)]));
    let commands: Option<Vec<_>> = commands.into_iter().collect();
    rules.insert(libc::SYS_fcntl, commands?);
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let target = std::env::consts::ARCH.try_into().ok()?;
    SeccompFilter::new(rules, denied, SeccompAction::Allow, target)
        .and_then(BpfProgram::try_from)
        .ok()
}

/// What must hold of one argument; `None`: it cannot be said.
type Condition = Option<SeccompCondition>;

/// All of these must hold.
fn all<const N: usize>(conditions: [Condition; N]) -> Option<SeccompRule> {
    let conditions: Option<Vec<_>> = conditions.into_iter().collect();
    SeccompRule::new(conditions?).ok()
}

/// This argument, an `int`, has none of these bits.
fn without(argument: u8, bits: libc::c_int) -> Condition {
    let masked = SeccompCmpOp::MaskedEq(bits as u64);
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, masked, 0).ok()
}

/// This argument, an `int`, is this.
fn exactly(argument: u8, value: libc::c_int) -> Condition {
    let equal = SeccompCmpOp::Eq;
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, equal, value as u64).ok()
}

/// This argument is a null pointer.
fn no_pointer(argument: u8) -> Condition {
    SeccompCondition::new(argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0).ok()
}

/// The options that may be set, by level and name: those of accepted connections, and none that
/// could make the end of a socket wait.
const OPTIONS: [(libc::c_int, libc::c_int); 5] = [
    (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
    (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
    (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
];

/// What `fcntl` may be asked; not for signals on I/O, and not for flags of an open file, which
/// others may share: standard error is the host's too.
const FCNTL: [libc::c_int; 4] = [
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_DUPFD_CLOEXEC,
];

/// The calls that are allowed whatever their arguments.
const FREE: &[c_long] = &[
    // Bytes, and descriptors that come in; there is no `sendmsg`, so that none go out.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_close,
    // Connections of the sockets it was given.
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    // Waiting.
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_epoll_ctl,
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

#[cfg(test)]
mod tests;
