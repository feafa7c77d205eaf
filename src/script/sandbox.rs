//! What of the file system is a script's own.

use std::path::{Path, PathBuf};

use super::vm;
use crate::ipc::script::Run;
use crate::sandbox::Policy;

/// Memory of a script process beside that of its VM: for the key store, for messages, and for what
/// is copied out of the VM, which may be as large.
const BESIDE: u64 = 128 << 20;

/// What a script process is left with.
pub(super) fn policy(run: &Run) -> Policy {
    let memory = (run.limits.memory as u64).saturating_mul(2);
    Policy::script(
        readable(run),
        vec![run.state.clone(), run.temporary.clone()],
        memory.saturating_add(BESIDE),
    )
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::script::{ErrorMode, Limits};
    use std::fs;

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
            limits: Limits::default(),
            require_sandbox: false,
            permissions: crate::ipc::script::Permissions::default(),
        };
        assert_eq!(readable(&run("bots/bot.lua")), at("bots"));
        assert_eq!(readable(&run("bot.lua")), at("bot.lua"));
    }
}
