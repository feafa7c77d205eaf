//! What a script process gives up before it runs a script.
//!
//! The VM is the wall; this is the moat. Each measure is taken as far as the kernel has it.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use super::vm;
use crate::ipc::script::Run;

/// Reads of these are let through for the local time.
const TIME: [&str; 3] = ["/etc/localtime", "/usr/share/zoneinfo", "/etc/timezone"];

/// What a script may read besides its own folders: the folder it is in, for `require`.
///
/// Landlock grants whole folders and takes nothing back. If the host's state, with its keys and
/// the other scripts', lies below that folder, only the file itself is left.
pub(super) fn readable(run: &Run) -> PathBuf {
    let folder = vm::folder(&run.program);
    if holds(&folder, &run.state) || holds(&folder, &run.temporary) {
        run.program.clone()
    } else {
        folder
    }
}

/// Whether a folder has `inner` in it. What cannot be told is taken to be so.
fn holds(folder: &Path, inner: &Path) -> bool {
    match (folder.canonicalize(), inner.canonicalize()) {
        (Ok(folder), Ok(inner)) => inner.starts_with(folder),
        _ => true,
    }
}

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
    use crate::ipc::script::ErrorMode;
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

    #[test]
    fn the_hosts_state_is_not_read_by_a_script_in_a_folder_around_it() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        for own in ["state/appl/bot", "state/temporary/bot", "bots"] {
            fs::create_dir_all(at(own)).unwrap();
        }
        for file in ["bot.lua", "bots/bot.lua", "state/key"] {
            fs::write(at(file), file).unwrap();
        }
        let run = |program: &str| Run {
            program: at(program),
            appl: "bot".into(),
            directory: false,
            arguments: vec![],
            state: at("state/appl/bot"),
            temporary: at("state/temporary/bot"),
            errors: ErrorMode::Isolate,
        };
        assert_eq!(readable(&run("bots/bot.lua")), at("bots"));
        let run = run("bot.lua");
        let readable = readable(&run);
        assert_eq!(readable, run.program);
        let (key, other) = (at("state/key"), at("bots/bot.lua"));
        let bound = std::thread::spawn(move || {
            let status = restrict(&readable, &[&run.state, &run.temporary]).unwrap();
            if status == RulesetStatus::NotEnforced {
                return;
            }
            assert_eq!(fs::read_to_string(&run.program).unwrap(), "bot.lua");
            fs::write(run.state.join("new"), "x").unwrap();
            assert!(fs::read_to_string(key).is_err());
            assert!(fs::read_to_string(other).is_err());
        });
        bound.join().unwrap();
    }
}
