//! The files around a script, its own and others'.

use std::io;

use rustix::net::SendFlags;
use rustix::process::DumpableBehavior;

use super::{Attempt, Policy};

/// Where a script lives, and what lies beside it.
pub(super) struct House {
    folder: tempfile::TempDir,
    control: std::os::unix::net::UnixListener,
}

impl House {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for own in ["program", "state", "temporary", "other"] {
            let own = folder.path().join(own);
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("file"), "words").unwrap();
        }
        std::fs::write(folder.path().join("keystore"), "keys").unwrap();
        let control = std::os::unix::net::UnixListener::bind(folder.path().join("control.sock"));
        Self {
            folder,
            control: control.unwrap(),
        }
    }

    pub(super) fn policy(&self) -> Policy {
        let at = |path: &str| self.folder.path().join(path);
        Policy::script(at("program"), vec![at("state"), at("temporary")], 1 << 30)
    }

    /// What a script may do, and what somebody would try who has broken out of its VM.
    pub(super) fn attempts(self) -> Vec<(&'static str, Attempt)> {
        use std::fs;
        use std::os::unix::net::{UnixListener, UnixStream};
        let root = self.folder.path().to_owned();
        let at = move |path: &str| root.join(path);
        let control = at("control.sock");
        // As if one had been left open, not connected to anything.
        let (spare, other) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let to = rustix::net::SocketAddrUnix::new(&control).unwrap();
        let group = rustix::process::getpgrp();
        let paths = [
            "program/file",
            "state/file",
            "state/new",
            "state",
            "other/file",
            "keystore",
            "state/link",
            "state/socket",
        ];
        let [program, file, new, state, others, keystore, link, socket] = paths.map(at);
        let writing = (file.clone(), program.clone());
        let renaming = (file, new);
        vec![
            (
                "reading the program",
                Box::new(move || fs::read(program).map(drop)) as Attempt,
            ),
            ("writing state", Box::new(move || fs::write(writing.0, "x"))),
            (
                "writing the program",
                Box::new(move || fs::write(writing.1, "x")),
            ),
            (
                "renaming state",
                Box::new(move || fs::rename(renaming.0, renaming.1)),
            ),
            (
                "listing state",
                Box::new(move || fs::read_dir(state).map(Iterator::count).map(drop)),
            ),
            (
                "the local time",
                Box::new(|| match fs::read("/etc/localtime") {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                    _ => Ok(()),
                }),
            ),
            (
                "reading another script's files",
                Box::new(move || fs::read(others).map(drop)),
            ),
            (
                "reading the keystore",
                Box::new(move || fs::read(keystore).map(drop)),
            ),
            (
                "reading /etc/passwd",
                Box::new(|| fs::read("/etc/passwd").map(drop)),
            ),
            (
                "reading its own memory",
                Box::new(|| fs::File::open("/proc/self/mem").map(drop)),
            ),
            (
                "a link in state",
                Box::new(move || std::os::unix::fs::symlink("/etc/passwd", link)),
            ),
            (
                "a socket in state",
                Box::new(move || UnixListener::bind(socket).map(drop)),
            ),
            ("a local socket", Box::new(|| UnixStream::pair().map(drop))),
            (
                "the host's control socket",
                Box::new(move || {
                    // It is there, and somebody listens, to the end of this.
                    let _listening = (&self.control, &self.folder);
                    UnixStream::connect(control).map(drop)
                }),
            ),
            (
                "a control socket it holds already",
                Box::new(move || {
                    let _open = other;
                    let sent = rustix::net::sendto(&spare, b"x", SendFlags::empty(), &to);
                    match (sent, rustix::net::connect(&spare, &to)) {
                        (Err(error), Err(_)) => Err(error.into()),
                        _ => Ok(()),
                    }
                }),
            ),
            (
                "a thread",
                Box::new(|| std::thread::Builder::new().spawn(|| ()).map(drop)),
            ),
            (
                "a signal to its group",
                Box::new(move || Ok(rustix::process::test_kill_process_group(group)?)),
            ),
            (
                "being traceable again",
                Box::new(|| {
                    let yes = DumpableBehavior::Dumpable;
                    Ok(rustix::process::set_dumpable_behavior(yes)?)
                }),
            ),
        ]
    }
}
