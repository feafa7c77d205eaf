//! The lockdown: what a process holds when it is sealed is what it has, and nothing more.
//!
//! Three layers, each on its own enough for most of the list: resource limits, Landlock (no files
//! but those of the policy, no TCP but on the sockets it was given, no signals out), and a seccomp
//! allow-list of what the loop needs. A call that is not on it fails with EPERM rather than
//! killing, so that the C library's probing survives.

mod actions;
mod filter;
mod inherit;
mod policy;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::ipc::Denied;
use actions::ACTIONS;
use filter::Calls;
pub use inherit::{close_others, inherit, silence};
pub use policy::Policy;

/// A process that is being locked down, for ever.
#[derive(Debug)]
#[must_use = "it is not locked before it is sealed"]
pub struct Lockdown {
    policy: Policy,
    landlock: Option<ABI>,
}

impl Lockdown {
    /// Takes files and capabilities away: from this thread and from those that it starts from now
    /// on. No other thread may run yet.
    pub fn begin(policy: Policy) -> Self {
        let _ = rustix::thread::set_no_new_privs(true);
        let landlock = restrict(&policy);
        drop_capabilities();
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
        layers.report()
    }
}

/// What is in force.
struct Layers {
    /// Forking is limited.
    limits: bool,
    landlock: Option<ABI>,
    seccomp: Option<Calls>,
}

impl Layers {
    fn report(&self) -> Vec<Denied> {
        ACTIONS.iter().map(|action| action.denied(self)).collect()
    }
}

/// Root without capabilities is somebody who owns many files.
fn drop_capabilities() {
    let none = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: none,
        permitted: none,
        inheritable: none,
    };
    let _ = rustix::thread::set_capabilities(None, sets);
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

/// Limits and flags of the process. Whether forking is limited: root is exempt.
fn limit(policy: &Policy) -> bool {
    let _ = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = lower(Resource::Core, 0);
    let _ = lower(Resource::Nofile, policy.descriptors);
    // Standard error is a pipe of the host's: no last word dies of this.
    if policy.writable.is_empty() {
        let _ = lower(Resource::Fsize, 0);
    }
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

/// The version of the kernel's Landlock, tried out in a thread that ends with what it was denied.
pub fn landlock_version() -> Option<i32> {
    let attempt = std::thread::spawn(|| {
        let rules = Ruleset::default()
            .handle_access(AccessFs::from_all(ABI::V1))
            .ok()?;
        match rules.create().ok()?.restrict_self().ok()?.landlock {
            LandlockStatus::Available {
                effective_abi,
                kernel_abi,
            } => Some(kernel_abi.unwrap_or(effective_abi as i32)),
            _ => None,
        }
    });
    attempt.join().ok()?
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
