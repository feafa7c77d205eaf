use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use super::*;

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn text(error: &OpenError) -> String {
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[test]
fn a_directory_is_made_for_its_owner_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("deep/er/state");
    let directory = Directory::open(&path).unwrap();
    assert_eq!(directory.path(), path);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&dir.path().join("deep")), 0o700);
    assert_eq!(mode(&path.join("lock")), 0o600);
    Sled::open(&directory, at(0))
        .unwrap()
        .apply(at(0), &ADMIN, &[open(7, 1)])
        .unwrap();
    let key_file = fs::read_dir(path.join("windowkeys"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(mode(&key_file.path()), 0o600);
    for folder in ["store", "windowkeys"] {
        assert_eq!(mode(&path.join(folder)), 0o700);
    }
}

#[test]
fn a_directory_that_others_can_open_is_refused() {
    let dir = TempDir::new().unwrap();
    for bits in [0o755, 0o710, 0o702] {
        set_mode(dir.path(), bits);
        let error = Directory::open(dir.path()).unwrap_err();
        assert!(matches!(error, OpenError::Exposed { mode, .. } if mode == bits));
        assert!(text(&error).contains("chmod 700"));
    }
    set_mode(dir.path(), 0o700);
    Directory::open(dir.path()).unwrap();
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let dir = TempDir::new().unwrap();
    set_mode(dir.path(), 0o700);
    std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
    let error = Directory::open(dir.path()).unwrap_err();
    assert!(matches!(
        error,
        OpenError::Foreign {
            owner: 65534,
            me: 0,
            ..
        }
    ));
    assert!(text(&error).contains("chown"));
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = Directory::open(&path).unwrap_err();
        assert!(matches!(error, OpenError::Io { .. }));
        assert!(text(&error).contains("file"));
    }
}

#[test]
fn a_second_host_is_told_the_pid_of_the_first() {
    let dir = TempDir::new().unwrap();
    let first = state_directory(&dir);
    let path = first.path().to_path_buf();
    let store = Sled::open(&first, at(0)).unwrap();
    let me = std::process::id();
    let held = || match Directory::open(&path).unwrap_err() {
        error @ OpenError::Held { pid: Some(pid), .. } if pid == me => text(&error),
        other => panic!("{other}"),
    };
    assert!(held().contains(&format!("(pid {me})")));
    // The store works in it as long as it lives.
    drop(first);
    held();
    drop(store);
    open_directory(&path);
}
