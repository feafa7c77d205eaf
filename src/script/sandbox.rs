//! What a script process gives up before it runs a script.
//!
//! The VM is the wall; this is the moat. Each measure is taken as far as the kernel has it.

use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Reads of these are let through for the local time.
const TIME: [&str; 3] = ["/etc/localtime", "/usr/share/zoneinfo", "/etc/timezone"];

/// Leaves only `program` (to read) and `writable` of the file system; no core dumps, no tracing by
/// others, no new privileges. Says what could not be had.
pub(super) fn enter(program: &Path, writable: &[&Path]) -> Vec<String> {
    let mut missing = Vec::new();
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    if rustix::process::setrlimit(Resource::Core, none).is_err() {
        missing.push("no core dumps".to_owned());
    }
    if rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        missing.push("not traceable".to_owned());
    }
    if rustix::thread::set_no_new_privs(true).is_err() {
        missing.push("no new privileges".to_owned());
    }
    match restrict(program, writable) {
        Ok(RulesetStatus::NotEnforced) => {
            missing.push("own folders only (this kernel has no Landlock)".to_owned());
        }
        Ok(_) => {}
        Err(error) => missing.push(format!("own folders only ({error})")),
    }
    missing
}

fn restrict(program: &Path, writable: &[&Path]) -> Result<RulesetStatus, RulesetError> {
    let all = AccessFs::from_all(ABI::V6);
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let readable = TIME.iter().map(Path::new).chain([program]);
    let rule = |path: &Path, access| {
        let path = PathFd::new(path).ok()?;
        Some(PathBeneath::new(path, access))
    };
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    for path in readable {
        if let Some(rule) = rule(path, read) {
            ruleset = ruleset.add_rule(rule)?;
        }
    }
    for path in writable {
        if let Some(rule) = rule(path, all ^ AccessFs::Execute) {
            ruleset = ruleset.add_rule(rule)?;
        }
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_the_own_folders_are_left() {
        let folder = tempfile::tempdir().unwrap();
        let [program, state, other] = ["program", "state", "other"].map(|name| {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("file"), name).unwrap();
            path
        });
        // Landlock binds the thread that asks for it.
        let bound = std::thread::spawn(move || {
            let status = restrict(&program, &[&state]).unwrap();
            if status == RulesetStatus::NotEnforced {
                return;
            }
            assert_eq!(fs::read_to_string(program.join("file")).unwrap(), "program");
            assert!(fs::write(program.join("file"), "x").is_err());
            fs::write(state.join("new"), "x").unwrap();
            fs::rename(state.join("new"), state.join("file")).unwrap();
            assert!(fs::read_to_string(other.join("file")).is_err());
            assert!(fs::read_to_string("/etc/passwd").is_err());
            assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
        });
        bound.join().unwrap();
    }
}
