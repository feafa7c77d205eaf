use super::*;
use std::os::unix::fs::PermissionsExt;

fn server(tag: &str, address: &str, byte: u8) -> Server {
    Server {
        tag: Name::parse(tag).unwrap(),
        addresses: vec![address.parse().unwrap()],
        keys: vec![PublicKey::parse(&[byte; 32]).unwrap()],
        label: None,
        comment: None,
        added_ms: Some(12),
    }
}

#[test]
fn an_identity_is_made_once_and_is_nobody_elses() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let first = known.identity(None).unwrap().public();
    assert_eq!(known.identity(None).unwrap().public(), first);
    let path = dir.path().join("client/identity");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&dir.path().join("client")), 0o700);
    assert_eq!(fs::read_dir(dir.path().join("client")).unwrap().count(), 1);

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let failure = known.identity(None).unwrap_err();
    assert!(failure.to_string().contains("chmod 600"), "{failure}");
}

#[test]
fn an_identity_may_be_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let file = dir.path().join("other");
    let other = known.identity(Some(&file)).unwrap().public();
    assert_eq!(known.identity(Some(&file)).unwrap().public(), other);
    assert_ne!(known.identity(None).unwrap().public(), other);
}

#[test]
fn i8_a_damaged_identity_is_told_without_what_is_in_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("identity");
    files::write(&file, b"canarycanary", true).unwrap();
    let failure = Known::new(dir.path()).identity(Some(&file)).unwrap_err();
    assert_eq!(failure.exit, Exit::Keystore);
    assert!(!failure.to_string().contains("canary"), "{failure}");
}

#[test]
fn servers_are_found_by_tag_and_by_address() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let home = server("home", "[::1]:6680", 7);
    assert!(known.at(&home.addresses[0]).unwrap().is_empty());
    assert_eq!(known.server(&home.tag).unwrap(), None);
    known.remember(&home).unwrap();
    known.remember(&server("work", "work.example", 8)).unwrap();
    assert_eq!(known.server(&home.tag).unwrap(), Some(home.clone()));
    assert_eq!(
        known.at(&home.addresses[0]).unwrap(),
        std::slice::from_ref(&home)
    );

    let moved = server("home", "home.example:7000", 7);
    known.remember(&moved).unwrap();
    assert!(known.at(&home.addresses[0]).unwrap().is_empty());
    assert_eq!(known.server(&home.tag).unwrap(), Some(moved));
}

#[test]
fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let home = server("home", "host", 7);
    known.remember(&home).unwrap();
    files::write(&known.server_file(&home.tag), b"address = 1", true).unwrap();
    let failure = known.server(&home.tag).unwrap_err();
    assert!(
        failure.to_string().contains("home.toml is damaged"),
        "{failure}"
    );
}

#[test]
fn a_server_that_was_remembered_before_there_could_be_several_keys_is_still_known() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let home = server("home", "host", 7);
    known.remember(&home).unwrap();
    let old = format!("address = \"host:6680\"\nkey = \"{}\"\n", home.keys[0]);
    files::write(&known.server_file(&home.tag), old.as_bytes(), true).unwrap();
    let home = Server {
        added_ms: None,
        ..home
    };
    assert_eq!(known.server(&home.tag).unwrap(), Some(home));
}

#[test]
fn a_server_keeps_all_that_is_known_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let mut home = server("home", "host", 7);
    home.addresses.push("[::1]:7".parse().unwrap());
    home.keys.push(PublicKey::parse(&[8; 32]).unwrap());
    home.label = Some("the \"home\"".into());
    home.comment = Some("ü = 1".into());
    known.remember(&home).unwrap();
    assert_eq!(known.server(&home.tag).unwrap(), Some(home.clone()));
    for address in &home.addresses {
        assert_eq!(known.at(address).unwrap().len(), 1);
    }
}

#[test]
fn the_largest_server_fits_into_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let mut home = server("home", "host", 7);
    home.addresses = (0..Server::ADDRESSES)
        .map(|port| format!("{}:{}", "x".repeat(253), 60000 + port))
        .map(|text| text.parse().unwrap())
        .collect();
    home.keys = vec![home.keys[0]; Server::KEYS];
    home.comment = Some("\"".repeat(512));
    known.remember(&home).unwrap();
    assert_eq!(known.server(&home.tag).unwrap(), Some(home));
}

#[test]
fn a_server_that_has_moved_is_found_in_both_places_and_a_new_key_is_the_only_one() {
    let home = server("home", "old", 7);
    let new: Address = "new".parse().unwrap();
    let two = PublicKey::parse(&[8; 32]).unwrap();
    let moved = home.clone().proved(&new, home.keys[0]);
    assert_eq!(moved.addresses, [new.clone(), home.addresses[0].clone()]);
    let rotating = Server {
        keys: vec![home.keys[0], two],
        ..home.clone()
    };
    assert_eq!(rotating.clone().proved(&home.addresses[0], two), rotating);
    assert_eq!(home.proved(&new, two).keys, [two]);
}

#[test]
fn a_server_may_have_a_key_of_ours_that_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let known = Known::new(dir.path());
    let home = server("home", "host", 7);
    let work = Name::parse("work").unwrap();
    known.remember(&home).unwrap();
    assert!(known.identity_for(&home.tag).unwrap().is_none());
    let own = known.make_identity_for(&home.tag).unwrap().public();
    assert_ne!(known.identity(None).unwrap().public(), own);
    let path = dir.path().join("client/identities/home");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    known.rename(&home.tag, &work).unwrap();
    assert!(!path.exists());
    assert_eq!(known.server(&home.tag).unwrap(), None);
    assert_eq!(known.identity_for(&work).unwrap().unwrap().public(), own);
    known.remember(&home).unwrap();
    assert!(known.rename(&home.tag, &work).is_err());
    known.forget(&work).unwrap();
    assert_eq!(known.server(&work).unwrap(), None);
    assert!(known.identity_for(&work).unwrap().is_none());
}
