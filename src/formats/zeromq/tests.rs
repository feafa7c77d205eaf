use proptest::prelude::*;

use super::super::tests::{
    ALL, anywhere, key, keys, names, nowhere, secret, secrets, words, wrong,
};
use super::super::{Format, parse};
use super::*;

fn z85(byte: u8) -> String {
    z85::encode(&[byte; 32]).to_string()
}

#[test]
fn a_public_certificate_is_somebody() {
    let text = format!(
        "#  of anna\nmetadata\n    name = \"anna\"  # hers\n    email = 'a@example'\ncurve\n    public-key = \"{}\"\n",
        z85(7)
    );
    let folder = Folder::file("anna.key", text.as_bytes());
    let imported = parse(Format::ZeroMq, &folder, Take::default()).unwrap();
    let [anna] = imported.inbound.as_slice() else {
        panic!("{imported:?}");
    };
    assert_eq!((anna.key, anna.label.as_deref()), (key(7), Some("anna")));
    assert_eq!(anna.comment.as_deref(), Some("email=a@example"));
    assert_eq!(anna.from.to_string(), "anna.key:6");
}

#[test]
fn a_private_certificate_is_ours_and_nobody_who_connects() {
    let secret_text = format!(
        "curve\n    public-key = \"{}\"\n    secret-key = \"{}\"\n",
        z85(7),
        z85(8)
    );
    let public_text = format!("curve\n    public-key = \"{}\"\n", z85(9));
    let files = [
        ("anna.key", public_text.as_bytes()),
        ("host.key_secret", secret_text.as_bytes()),
        ("readme", b"hello"),
    ];
    let folder = Folder::directory("keys", files);
    let imported = parse(Format::ZeroMq, &folder, Take::default()).unwrap();
    assert_eq!(imported.inbound.len(), 1);
    assert!(imported.private.is_empty());
    assert_eq!(imported.skipped.len(), 2);
    let imported = parse(Format::ZeroMq, &folder, ALL).unwrap();
    assert_eq!(imported.inbound.len(), 1);
    assert_eq!(imported.private[0].secret, secret(8));
    assert_eq!(imported.private[0].tag.as_str(), "host");
}

#[test]
fn what_is_malformed_is_named_by_file_and_line() {
    let of = |text: &str| wrong(Format::ZeroMq, &Folder::file("c", text.as_bytes()));
    assert!(of("").starts_with("c: no certificate"));
    assert!(of("curve\n    public-key = \"short\"\n").starts_with("c:2: no key in Z85"));
    let low = of(&format!("curve\n    public-key = \"{}\"\n", z85(0)));
    assert!(
        low.starts_with("c:2: this public key is of low order"),
        "{low}"
    );
    let open = of(&format!("curve\n    public-key = \"{}\n", z85(7)));
    assert!(open.starts_with("c:2: the text has no closing"), "{open}");
    let bad = of("curve\n    secret-key = \"canary\"\n");
    assert_eq!(bad, "c:2: no private key of 32 bytes");
}

proptest! {
    #[test]
    fn what_is_written_is_read(key in keys(), label in words(), comment in words()) {
        let text = write_public(&key, label.as_deref(), comment.as_deref());
        let folder = Folder::file("c", text.as_bytes());
        let read = anywhere(parse(Format::ZeroMq, &folder, ALL).unwrap());
        let entry = Inbound { label, comment, ..Inbound::new(key, nowhere()) };
        prop_assert_eq!(read, Imported { inbound: vec![entry], ..Imported::default() });
    }

    #[test]
    fn a_pair_that_is_written_is_read(key in keys(), secret in secrets(), tag in names()) {
        let private = Private { tag: tag.clone(), secret, public: Some(key), from: nowhere() };
        let files = write(&key, &private);
        let read = anywhere(parse(Format::ZeroMq, &files.folder("d"), ALL).unwrap());
        let label = Some(tag.to_string());
        let inbound = vec![Inbound { label, ..Inbound::new(key, nowhere()) }];
        prop_assert_eq!(read, Imported { inbound, private: vec![private], ..Imported::default() });
    }
}
