//! The seccomp allow-list: which calls, and with which arguments.

use std::collections::BTreeMap;
use std::os::fd::RawFd;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The calls that are allowed: those of `free` whatever their arguments, and some under conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    pub(super) free: &'static [&'static [c_long]],
    /// It may send signals to itself, as `abort` does.
    pub(super) own_signals: bool,
    /// From this socket it may send to any address.
    pub(super) datagrams: Option<RawFd>,
}

impl Calls {
    /// Whether this call is allowed whatever its arguments.
    pub(super) fn is_free(&self, call: c_long) -> bool {
        self.free.iter().any(|calls| calls.contains(&call))
    }

    /// Allows nothing else to this thread and all others of the process; whether that is in force.
    pub(super) fn enforce(&self) -> bool {
        let _ = rustix::thread::set_no_new_privs(true);
        self.program()
            .is_some_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
    }

    fn program(&self) -> Option<BpfProgram> {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = self
            .free
            .iter()
            .flat_map(|calls| calls.iter().map(|&call| (call, Vec::new())))
            .collect();
        for call in [libc::SYS_mmap, libc::SYS_mprotect] {
            rules.insert(call, vec![all([without(2, libc::PROT_EXEC)])?]);
        }
        let connected = all([without(3, libc::MSG_FASTOPEN), no_pointer(4)])?;
        let mut sends = vec![connected];
        if let Some(socket) = self.datagrams {
            sends.push(all([exactly(0, socket), without(3, libc::MSG_FASTOPEN)])?);
        }
        rules.insert(libc::SYS_sendto, sends);
        let commands = FCNTL.map(|command| all([exactly(1, command)]));
        let commands: Option<Vec<_>> = commands.into_iter().collect();
        rules.insert(libc::SYS_fcntl, commands?);
        if self.own_signals {
            let own = rustix::process::getpid().as_raw_nonzero().get();
            rules.insert(libc::SYS_tgkill, vec![all([exactly(0, own)])?]);
        }
        let denied = SeccompAction::Errno(libc::EPERM as u32);
        let target = std::env::consts::ARCH.try_into().ok()?;
        SeccompFilter::new(rules, denied, SeccompAction::Allow, target)
            .and_then(BpfProgram::try_from)
            .ok()
    }
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

/// What `fcntl` may be asked; not for signals on I/O, and not for flags of an open file, which
/// others may share: standard error is the host's too.
const FCNTL: [libc::c_int; 4] = [
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_DUPFD_CLOEXEC,
];
