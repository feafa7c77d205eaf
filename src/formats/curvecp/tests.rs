use proptest::prelude::*;

use super::super::tests::{ALL, anywhere, key, keys, nowhere, secrets, wrong};
use super::super::{Format, parse};
use super::*;

#[test]
fn a_public_key_alone_is_somebody() {
    let hex = data_encoding::HEXUPPER.encode(key(7).as_bytes()) + "\n";
    for bytes in [key(7).as_bytes().as_slice(), hex.as_bytes()] {
        let folder = Folder::file("anna", bytes);
        let imported = parse(Format::CurveCp, &folder, Take::default()).unwrap();
        assert_eq!(imported.inbound.len(), 1);
        assert_eq!(imported.inbound[0].key, key(7));
    }
}

#[test]
fn a_key_directory_gives_its_private_key_only_if_asked() {
    let public = key(7);
    let files = [
        ("publickey", public.as_bytes().as_slice()),
        (".expertsonly/secretkey", &[8; 32]),
        (".expertsonly/lock", &[0]),
        ("notes", b"hello"),
    ];
    let folder = Folder::directory("keys/anna", files);
    let imported = parse(Format::CurveCp, &folder, Take::default()).unwrap();
    assert_eq!(imported.inbound[0].label.as_deref(), Some("anna"));
    assert!(imported.private.is_empty());
    assert_eq!(imported.skipped.len(), 2);
    let imported = parse(Format::CurveCp, &folder, ALL).unwrap();
    assert!(imported.inbound.is_empty());
    assert_eq!(imported.private[0].tag.as_str(), "anna");
}

#[test]
fn what_is_malformed_is_named() {
    let of = |name, bytes| wrong(Format::CurveCp, &Folder::directory("d", [(name, bytes)]));
    assert!(of("publickey", b"short".as_slice()).starts_with("d/publickey: no public key"));
    assert!(of("publickey", &[0; 32]).starts_with("d/publickey: this public key is of low"));
    let told = of(".expertsonly/secretkey", b"canary");
    assert_eq!(told, "d/.expertsonly/secretkey: no private key of 32 bytes");
    assert!(of("x", b"").starts_with("d: no key directory"));
}

proptest! {
    #[test]
    fn what_is_written_is_read(key in keys(), secret in proptest::option::of((secrets(), secrets()))) {
        let files = write(&key, secret.as_ref().map(|(secret, nonces)| (secret, nonces)));
        let mut read = anywhere(parse(Format::CurveCp, &files.folder("d"), ALL).unwrap());
        match secret {
            None => prop_assert_eq!(read.inbound.pop().unwrap().key, key),
            Some((secret, _)) => {
                let tag = Name::parse("d").unwrap();
                prop_assert_eq!(read.private, vec![Private { tag, secret, public: Some(key), from: nowhere() }]);
            }
        }
    }
}
