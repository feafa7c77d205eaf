//! Scripts are loaded again when their files change.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::time::Timespec;

use super::{Event, Host, HostError, Program};

impl Host {
    /// Has scripts loaded again, from now on, whenever a Lua file in their folders has changed. Each
    /// has a thread that does nothing but wait for that.
    pub(super) fn watch_programs(&self) -> Result<(), HostError> {
        let failed = |error| HostError::Io {
            what: "cannot watch the scripts' folders".into(),
            error,
        };
        for (&id, script) in &self.scripts {
            let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
                .map_err(|error| failed(error.into()))?;
            let program = script.program.clone();
            look(&watch, &program).map_err(|error| failed(error.into()))?;
            let events = self.events.clone();
            let wait = move || {
                while let Ok(true) = changed(&watch, &program, None) {
                    // Editors write a file in several steps, and people save several files.
                    while let Ok(true) = changed(&watch, &program, Some(QUIET)) {}
                    // There may be new folders.
                    let _ = look(&watch, &program);
                    let again = Box::new(move |host: &mut Self| host.reload(id, None));
                    if events.blocking_send(Event::Then(again)).is_err() {
                        return;
                    }
                }
                tracing::error!(script = program.appl, "its folder is not watched any more");
            };
            let thread = std::thread::Builder::new().name("watch".into());
            thread.spawn(wait).map_err(failed)?;
        }
        Ok(())
    }
}

/// Watches the folder of a program, and for an appl those in it.
fn look(watch: &OwnedFd, program: &Program) -> Result<(), Errno> {
    let mut left = vec![
        program
            .file
            .parent()
            .unwrap_or_else(|| Path::new("/"))
            .to_owned(),
    ];
    let mut folders = 0;
    while let Some(folder) = left.pop() {
        if folders >= MAX_FOLDERS {
            tracing::warn!("{}: more than {MAX_FOLDERS} folders", folder.display());
            return Ok(());
        }
        let mask = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::ONLYDIR;
        match inotify::add_watch(watch, &folder, mask) {
            Ok(_) => folders += 1,
            // A folder in it may be gone or not ours.
            Err(error) if folders == 0 => return Err(error),
            Err(_) => continue,
        }
        if !program.directory {
            continue;
        }
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| {
            let hidden = entry.file_name().as_bytes().starts_with(b".");
            !hidden && entry.file_type().is_ok_and(|kind| kind.is_dir())
        });
        left.extend(inner.map(|entry| entry.path()));
    }
    Ok(())
}

/// Waits until a Lua file, or a folder, has changed; `false`: nothing has in this time.
fn changed(watch: &OwnedFd, program: &Program, time: Option<Duration>) -> Result<bool, Errno> {
    let mut space = [MaybeUninit::uninit(); 4096];
    let time = time.and_then(|time| Timespec::try_from(time).ok());
    loop {
        let mut ready = [PollFd::new(watch, PollFlags::IN)];
        match poll(&mut ready, time.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        let mut reader = Reader::new(watch, &mut space);
        let mut found = false;
        loop {
            match reader.next() {
                Ok(event) => {
                    let flags = event.events();
                    let folder = flags.contains(ReadFlags::ISDIR);
                    let name = event.file_name().map(|name| name.to_bytes());
                    let name = Path::new(OsStr::from_bytes(name.unwrap_or_default()));
                    let lua = name.extension().is_some_and(|it| it == "lua");
                    // A file that has only been made is still empty.
                    let made = flags.contains(ReadFlags::CREATE) && !folder;
                    found |= flags.contains(ReadFlags::QUEUE_OVERFLOW)
                        || (program.directory && folder)
                        || (lua && !made);
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        if found {
            return Ok(true);
        }
    }
}

/// As long nothing may have changed before a script is loaded again.
const QUIET: Duration = Duration::from_millis(200);

/// As many folders of a program are watched.
const MAX_FOLDERS: usize = 256;
