use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use proptest::prelude::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

/// A key that is one.
pub(super) fn key(byte: u8) -> PublicKey {
    PublicKey::parse(&[byte; 32]).unwrap()
}

pub(super) fn secret(byte: u8) -> SecretBytes {
    SecretBytes::parse(&[byte; 32]).unwrap()
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(super) fn nowhere() -> Where {
    Where {
        file: String::new(),
        line: None,
    }
}

/// The same without the places, which are not written.
pub(super) fn anywhere(mut imported: Imported) -> Imported {
    let inbound = imported.inbound.iter_mut().map(|entry| &mut entry.from);
    let outbound = imported.outbound.iter_mut().map(|entry| &mut entry.from);
    let private = imported.private.iter_mut().map(|entry| &mut entry.from);
    for from in inbound.chain(outbound).chain(private) {
        *from = nowhere();
    }
    imported.skipped.clear();
    imported
}

pub(super) const ALL: Take = Take {
    private: true,
    servers: true,
};

/// What is wrong with a file, in words.
#[track_caller]
pub(super) fn wrong(format: Format, folder: &Folder) -> String {
    parse(format, folder, ALL).unwrap_err().to_string()
}

pub(super) fn keys() -> impl Strategy<Value = PublicKey> {
    any::<[u8; 32]>().prop_filter_map("no key", |mut bytes| {
        bytes[31] &= 0x7f;
        PublicKey::parse(&bytes).ok()
    })
}

pub(super) fn names() -> impl Strategy<Value = Name> {
    "[A-Za-z0-9_-]{1,30}".prop_map(|text| name(&text))
}

pub(super) fn secrets() -> impl Strategy<Value = SecretBytes> {
    any::<[u8; 32]>().prop_map(|bytes| SecretBytes::parse(&bytes).unwrap())
}

pub(super) fn addresses() -> impl Strategy<Value = String> {
    let host = prop_oneof!["[a-z0-9.-]{1,20}", Just("[2001:db8::1]".to_owned())];
    (host, 1..=u16::MAX).prop_map(|(host, port)| format!("{host}:{port}"))
}

/// Labels and comments, without the mark that a format may have no spelling for.
pub(super) fn words() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[^\\pC\" ]([^\\pC\"]{0,20}[^\\pC\" ])?")
        .prop_map(|text| text.and_then(|text| clean(&text, MAX_LABEL)))
}

#[test]
fn formats_are_named_as_they_are_read() {
    for format in Format::all() {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert!(NoFormat.to_string().contains(format.name()));
        assert!(Flaw::Unrecognised.to_string().contains(format.name()));
    }
    assert_eq!("toml".parse::<Format>(), Err(NoFormat));
}

#[test]
fn a_format_is_recognised_by_what_is_there() {
    let file = |text: &str| guess(&Folder::file("x", text.as_bytes())).ok();
    assert_eq!(file("# of wg0\n[Interface]\n"), Some(Format::WireGuard));
    assert_eq!(file("\n{\"kind\":"), Some(Format::JsonLines));
    assert_eq!(file("metadata\ncurve\n    x"), Some(Format::ZeroMq));
    assert_eq!(file(&"ab".repeat(32)), Some(Format::CurveCp));
    assert_eq!(file("hello"), None);
    let raw = guess(&Folder::file("x", &[0xfe; 32])).ok();
    assert_eq!(raw, Some(Format::CurveCp));

    let directory =
        |name: &str, text: &str| guess(&Folder::directory("x", [(name, text.as_bytes())])).ok();
    assert_eq!(directory("accepted/a", ""), Some(Format::Arcan));
    assert_eq!(directory("hostkeys/a", ""), Some(Format::Arcan));
    assert_eq!(directory("publickey", ""), Some(Format::CurveCp));
    assert_eq!(directory(".expertsonly/lock", ""), Some(Format::CurveCp));
    assert_eq!(directory("a.key", "curve\n"), Some(Format::ZeroMq));
    assert_eq!(directory("a", "hello"), None);
    let error = guess(&Folder::file("some/where", b"hello")).unwrap_err();
    assert!(
        error.to_string().starts_with("some/where: no format"),
        "{error}"
    );
}

#[test]
fn an_address_has_one_spelling() {
    let of = |text| address(text, Some(A12_PORT));
    assert_eq!(of("host").as_deref(), Some("host:6680"));
    assert_eq!(of("host:7").as_deref(), Some("host:7"));
    assert_eq!(of("[::1]").as_deref(), Some("[::1]:6680"));
    assert_eq!(of("[fe80::1%eth0]:7").as_deref(), Some("[fe80::1%eth0]:7"));
    assert_eq!(address("host", None), None);
    for wrong in [
        "",
        ":7",
        "host:",
        "host:0",
        "host:+7",
        "host:65536",
        "::1",
        "[host]:7",
        "[::1",
        "[::1]7",
        "a b",
        "a/b",
        "@a",
    ] {
        assert_eq!(of(wrong), None, "{wrong}");
    }
    assert_eq!(of(&"x".repeat(254)), None);
}

#[test]
fn i8_a_private_key_is_not_in_its_debug_text() {
    let private = Private {
        tag: name("default"),
        secret: secret(0xab),
        public: None,
        from: nowhere(),
    };
    let text = format!("{private:?}");
    assert!(text.contains("***") && !text.contains("171"), "{text}");
}

#[test]
fn a_directory_is_read_without_following_or_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let outside = dir.path().join("outside");
    fs::write(&outside, format!("hello {}\n", key(9))).unwrap();
    for below in ["accepted", "state/abc", "signing"] {
        fs::create_dir_all(store.join(below)).unwrap();
    }
    fs::write(store.join("accepted/one"), format!("hello {}\n", key(7))).unwrap();
    symlink(&outside, store.join("accepted/link")).unwrap();
    fs::write(store.join("accepted/long"), vec![b' '; 65 * 1024]).unwrap();
    mknodat(
        CWD,
        store.join("accepted/pipe"),
        FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();

    let folder = Folder::read(&store).unwrap();
    let imported = parse(guess(&folder).unwrap(), &folder, ALL).unwrap();
    assert_eq!(imported.inbound.len(), 1);
    assert_eq!(imported.inbound[0].key, key(7));
    let skipped: Vec<_> = imported
        .skipped
        .iter()
        .map(|skipped| &*skipped.at.file)
        .collect();
    for name in [
        "accepted/link",
        "accepted/long",
        "accepted/pipe",
        "state",
        "signing",
    ] {
        let path = store.join(name).display().to_string();
        assert!(skipped.contains(&&*path), "{name}: {skipped:?}");
    }

    // Named itself, a pipe is an error, and is not waited for; a link is what somebody has named.
    let error = Folder::read(&store.join("accepted/pipe")).unwrap_err();
    assert!(error.to_string().contains("neither a file"), "{error}");
    assert!(Folder::read(&store.join("accepted/link")).is_ok());
    let error = Folder::read(&store.join("nothing")).unwrap_err();
    assert!(
        error.to_string().contains("nothing: No such file"),
        "{error}"
    );
}

#[test]
fn a_directory_without_end_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..4097 {
        fs::write(dir.path().join(number.to_string()), "").unwrap();
    }
    let error = Folder::read(dir.path()).unwrap_err();
    assert!(error.to_string().contains("4096 files"), "{error}");
}

#[test]
fn what_is_written_is_nobody_elses_and_replaces_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let private = Private {
        tag: name("default"),
        secret: secret(5),
        public: None,
        from: nowhere(),
    };
    let mut entry = Inbound::new(key(7), nowhere());
    entry.scopes = vec![ImportedScope::Any];
    let files = arcan::write(&[entry], &[], &[private]);
    files.write(&store).unwrap();
    let mode = |path: &str| fs::metadata(store.join(path)).unwrap().permissions().mode() & 0o777;
    for folder in ["", "accepted", "hostkeys"] {
        assert_eq!(mode(folder), 0o700, "{folder}");
    }
    assert_eq!(
        (mode("accepted/aaaaaaaa"), mode("hostkeys/default")),
        (0o600, 0o600)
    );
    let error = files.write(&store).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    let folder = Folder::read(&store).unwrap();
    assert_eq!(parse(Format::Arcan, &folder, ALL).unwrap().private.len(), 1);
}

#[test]
fn what_is_no_text_is_named_by_its_line() {
    for format in [Format::ZeroMq, Format::WireGuard, Format::JsonLines] {
        let folder = Folder::file("f", b"# fine\n\n\xff\n");
        // A certificate has to look like one before it is read, but a file named itself is.
        assert!(wrong(format, &folder).starts_with("f:"), "{format}");
    }
    let folder = Folder::directory("d", [("accepted/x", b"a\n\xff".as_slice())]);
    assert_eq!(
        wrong(Format::Arcan, &folder),
        "d/accepted/x:2: no text in UTF-8"
    );
}

proptest! {
    #[test]
    fn any_bytes_give_a_value_or_an_error(
        name in "(accepted/|hostkeys/|\\.expertsonly/)?(publickey|secretkey|default|[a-z]{0,8})(\\.conf)?",
        bytes: Vec<u8>,
    ) {
        let single = Folder::file("f", &bytes);
        let folder = Folder::directory("d", [(&*name, &*bytes)]);
        for format in Format::all() {
            let _ = parse(format, &single, ALL);
            let _ = parse(format, &folder, ALL);
        }
        let _ = (guess(&single), guess(&folder));
    }

    #[test]
    fn any_lines_that_look_right_give_a_value_or_an_error_with_a_place(
        lines in proptest::collection::vec(prop_oneof![
            "\\[(Peer|Interface)\\]( # \\PC{0,10})?",
            "(# )?(Name|PublicKey|AllowedIPs|Endpoint|PresharedKey) = \\PC{0,50}",
            "(curve|metadata)",
            " {0,4}(public-key|secret-key|name) = [\"']?\\PC{0,44}[\"']?",
            "[a-z,*-]{0,20} [A-Za-z0-9+/]{43}=",
            "\\{\"kind\":\"(accepted|server)\",\"v\":[0-9],\"key\":\"[A-Za-z0-9]{0,44}\"\\PC{0,30}\\}",
        ], 0..12),
    ) {
        let text = lines.join("\n");
        let files = [("accepted/x", text.as_bytes()), ("hostkeys/y", text.as_bytes())];
        let directory = Folder::directory("d", files);
        let single = Folder::file("d/f", text.as_bytes());
        for format in Format::all() {
            for folder in [&single, &directory] {
                if let Err(error) = parse(format, folder, ALL) {
                    prop_assert!(error.to_string().starts_with("d"), "{}", error);
                }
            }
        }
    }
}
