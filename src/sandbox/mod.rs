//! The lockdown: what a process holds when it is sealed is what it has, and nothing more.
//!
//! Three layers, each on its own enough for most of the list: resource limits, Landlock (no files
//! but those of the policy, no TCP but on the sockets it was given, no signals out), and a seccomp
//! allow-list of what the loop needs. A call that is not on it fails with EPERM rather than
//! killing, so that the C library's probing survives.

mod filter;
mod policy;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use libc::c_long;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::ipc::Denied;
use filter::Calls;
pub use policy::Policy;

/// A process that is being locked down, for ever.
#[derive(Debug)]
#[must_use = "it is not locked before it is sealed"]
pub struct Lockdown {
    policy: Policy,
    landlock: Option<ABI>,
}

impl Lockdown {
    /// Takes the files away: from this thread and from those that it starts from now on. No other
    /// thread may run yet.
    pub fn begin(policy: Policy) -> Self {
        let _ = rustix::thread::set_no_new_privs(true);
        let landlock = restrict(&policy);
        Self { policy, landlock }
    }

    /// Takes away the rest, from all threads; there will be no more of them. Says what denies each
    /// action.
    pub fn seal(self) -> Vec<Denied> {
        let limits = limit(&self.policy);
        let calls = self.policy.calls;
        let layers = Layers {
            limits,
            landlock: self.landlock,
            seccomp: calls.enforce().then_some(calls),
        };
        ACTIONS
            .iter()
            .map(|action| action.denied(&layers))
            .collect()
    }
}

/// What is in force.
struct Layers {
    /// Forking is limited.
    limits: bool,
    landlock: Option<ABI>,
    seccomp: Option<Calls>,
}

/// The actions of a report that nothing denies, as a complaint.
pub fn complaint(report: &[Denied]) -> Option<String> {
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
    fn denied(&self, layers: &Layers) -> Denied {
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

/// The list; the host's status shows it. For a script `open` is of what is not its own.
const ACTIONS: [Action; 11] = [
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
    action("ptrace", &[libc::SYS_ptrace], Some(ABI::V1), false),
    action(
        "kill",
        &[libc::SYS_kill, libc::SYS_tkill, libc::SYS_tgkill],
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
        &[libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_pkey_mprotect],
        None,
        false,
    ),
];

/// Limits and flags of the process. Whether forking is limited: root is exempt.
///
/// The size of files is not limited: standard error may be one, where the limit would turn a
/// message into a death without a word.
fn limit(policy: &Policy) -> bool {
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = lower(Resource::Core, 0);
    let _ = lower(Resource::Nofile, policy.descriptors);
    if let Some(bytes) = policy.memory {
        let _ = lower(Resource::Data, bytes);
    }
    let no_children = lower(Resource::Nproc, 0);
    no_children && !rustix::process::getuid().is_root() && !rustix::process::geteuid().is_root()
}

/// Lowers a limit to this, if it is not lower; whether that went well.
fn lower(resource: Resource, most: u64) -> bool {
    let most = rustix::process::getrlimit(resource)
        .maximum
        .map_or(most, |maximum| maximum.min(most));
    let limit = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    rustix::process::setrlimit(resource, limit).is_ok()
}

/// Landlock, with what the policy allows; the ABI that is in force.
fn restrict(policy: &Policy) -> Option<ABI> {
    let all = AccessFs::from_all(ABI::V6);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let readable = policy.readable.iter().map(|path| (path, read));
    let writable = policy.writable.iter().map(|path| (path, all & !never()));
    let restricted = || -> Result<_, RulesetError> {
        let mut ruleset = Ruleset::default()
            .handle_access(all)?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::from_all(ABI::V6))?
            .create()?;
        for (path, access) in readable.chain(writable) {
            // What is not there needs no rule.
            if let Ok(path) = PathFd::new(path) {
                ruleset = ruleset.add_rule(PathBeneath::new(path, access))?;
            }
        }
        ruleset.restrict_self()
    };
    match restricted().ok()? {
        status if status.ruleset == RulesetStatus::NotEnforced => None,
        status => match status.landlock {
            LandlockStatus::Available { effective_abi, .. } => Some(effective_abi),
            _ => None,
        },
    }
}

/// What nobody may do in a folder of its own: it is for files. Devices and links would reach
/// beyond it, or have somebody else reach there.
fn never() -> BitFlags<AccessFs> {
    AccessFs::Execute
        | AccessFs::MakeChar
        | AccessFs::MakeBlock
        | AccessFs::MakeSock
        | AccessFs::MakeSym
        | AccessFs::IoctlDev
}

#[cfg(test)]
mod tests;
