//! What a locked-down process must not be able to do, and what denies it.

use landlock::ABI;
use libc::c_long;

use super::Layers;
use crate::ipc::Denied;

/// What a lock-down must deny.
pub(super) struct Action {
    pub(super) name: &'static str,
    /// It needs one of these calls. One that is allowed under a condition is denied to it: the
    /// condition is there for this action.
    pub(super) calls: &'static [c_long],
    /// From this ABI on Landlock denies it.
    landlock: Option<ABI>,
    /// A resource limit denies it to all but root.
    limited: bool,
}

impl Action {
    /// What denies it where these layers are in force.
    pub(super) fn denied(&self, layers: &Layers) -> Denied {
        let filter = layers.seccomp;
        let filtered =
            filter.is_some_and(|calls| !self.calls.iter().any(|call| calls.is_free(*call)));
        let restricted =
            matches!((self.landlock, layers.landlock), (Some(from), Some(abi)) if abi >= from);
        let layers: Vec<&str> = [
            (filtered, "seccomp"),
            (restricted, "landlock"),
            (self.limited && layers.limits, "rlimit"),
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

/// The list; `moonport status` and `moonport doctor` show it. For a script `open` is of what is not
/// its own.
pub(super) static ACTIONS: [Action; 25] = [
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
