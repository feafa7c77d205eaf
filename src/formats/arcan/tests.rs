use proptest::prelude::*;

use super::super::tests::{
    ALL, addresses, anywhere, key, keys, name, names, nowhere, secret, secrets, wrong,
};
use super::super::{Format, parse};
use super::*;

fn store(files: &[(&str, String)]) -> Folder {
    let files = files.iter().map(|(name, text)| (*name, text.as_bytes()));
    Folder::directory("a12", files)
}

fn private(byte: u8) -> String {
    BASE64.encode(&[byte; 32])
}

#[track_caller]
fn read(files: &[(&str, String)], take: Take) -> Imported {
    parse(Format::Arcan, &store(files), take).unwrap()
}

#[test]
fn keys_are_accepted_for_their_names_and_servers_are_told_apart() {
    let imported = read(
        &[
            ("accepted/aabbccdd", format!("default,hello {}\n", key(1))),
            ("accepted/laptop", format!("* {}", key(2))),
            ("accepted/abcdefgh", format!("outbound-home {}\n", key(3))),
            ("accepted/ponmlkji", format!("outbound-home,x {}\n", key(4))),
            (
                "hostkeys/home",
                format!("home.example {0}\n[::1]:7 {0}\n", private(8)),
            ),
            (
                "hostkeys/default",
                format!("127.0.0.1:6680 {}\n", private(9)),
            ),
        ],
        ALL,
    );
    let scopes: Vec<_> = imported
        .inbound
        .iter()
        .map(|entry| entry.scopes.clone())
        .collect();
    let scope = |text: &str| ImportedScope::Name(name(text));
    assert_eq!(
        scopes,
        [
            vec![scope("default"), scope("hello")],
            vec![ImportedScope::Any],
            vec![scope("x")]
        ]
    );
    let labels: Vec<_> = imported
        .inbound
        .iter()
        .map(|entry| entry.label.as_deref())
        .collect();
    assert_eq!(labels, [None, Some("laptop"), None]);
    assert_eq!(
        imported.inbound[0].from.to_string(),
        "a12/accepted/aabbccdd:1"
    );

    let [home] = imported.outbound.as_slice() else {
        panic!("{:?}", imported.outbound);
    };
    assert_eq!(home.tag, name("home"));
    assert_eq!(home.keys, [key(3), key(4)]);
    assert_eq!(home.addresses, ["home.example:6680", "[::1]:7"]);
    assert_eq!(home.identity, Some(secret(8)));
    assert_eq!(imported.private.len(), 1);
    assert_eq!(imported.private[0].secret, secret(9));
    assert_eq!(imported.skipped, []);
}

#[test]
fn private_keys_are_taken_only_where_they_are_asked_for() {
    let files = [
        ("hostkeys/home", format!("host {}\n", private(8))),
        ("hostkeys/default", format!("host {}\n", private(9))),
    ];
    let imported = read(&files, Take::default());
    assert!(imported.private.is_empty());
    assert_eq!(imported.outbound[0].identity, None);
    assert_eq!(imported.outbound[0].addresses, ["host:6680"]);
    assert_eq!(imported.skipped.len(), 2);
}

#[test]
fn what_is_not_taken_is_listed() {
    let imported = read(
        &[
            ("accepted/a", format!("x,*,a.b {}\nbehind it\n", key(1))),
            ("accepted/b", format!("no sound line\nhello {}\n", key(2))),
            ("accepted/c", format!("outbound {}\n", key(3))),
            ("accepted/d", "\n".into()),
            ("hostkeys/a.b", "anything".into()),
            (
                "hostkeys/home",
                format!("one {}\ntwo {}\n", private(1), private(2)),
            ),
            ("readme", String::new()),
        ],
        ALL,
    );
    let told: Vec<_> = imported
        .skipped
        .iter()
        .map(|skipped| (skipped.at.to_string(), &*skipped.why))
        .collect();
    let places: Vec<_> = told.iter().map(|(place, _)| &**place).collect();
    assert_eq!(
        places,
        [
            "a12/accepted/a:2",
            "a12/accepted/a:1",
            "a12/accepted/a:1",
            "a12/accepted/b:1",
            "a12/accepted/c:1",
            "a12/accepted/d",
            "a12/hostkeys/a.b",
            "a12/hostkeys/home:2",
            "a12/readme",
        ],
        "{told:?}"
    );
    assert!(told[4].1.contains(&key(3).to_string()));
    assert_eq!(imported.outbound[0].addresses, ["one:6680"]);
}

#[test]
fn what_is_malformed_is_named_by_file_and_line() {
    let of = |name: &str, text: &str| wrong(Format::Arcan, &store(&[(name, text.into())]));
    let zero = BASE64.encode(&[0; 32]);
    for text in ["hello", "hello short", "\nhello  two blanks"] {
        assert!(of("accepted/x", text).contains("a12/accepted/x:"), "{text}");
    }
    let low = of("accepted/x", &format!("\nhello {zero}\n"));
    assert!(
        low.starts_with("a12/accepted/x:2: this public key is of low order"),
        "{low}"
    );
    let bad = of(
        "hostkeys/x",
        &format!("host {}\nhost:0 {}\n", private(1), private(1)),
    );
    assert!(bad.starts_with("a12/hostkeys/x:2: no address"), "{bad}");
    let nothing = wrong(Format::Arcan, &store(&[("readme", String::new())]));
    assert!(nothing.starts_with("a12: no keystore"), "{nothing}");
}

#[test]
fn i8_a_damaged_private_key_is_told_without_what_is_in_it() {
    let told = wrong(
        Format::Arcan,
        &store(&[("hostkeys/x", "host canarycanary\n".into())]),
    );
    assert_eq!(told, "a12/hostkeys/x:1: no private key of 32 bytes");
    let told = wrong(
        Format::Arcan,
        &store(&[("hostkeys/x", "canarycanary\n".into())]),
    );
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn what_would_mean_something_else_there_is_left_out() {
    let entry = |scope: &str| Inbound {
        scopes: vec![ImportedScope::Name(name(scope))],
        ..Inbound::new(key(1), nowhere())
    };
    let inbound = [
        entry("outbound"),
        entry("outbound-home"),
        Inbound {
            state: State::Banned,
            ..entry("hello")
        },
        Inbound {
            state: State::Revoked,
            ..entry("hello")
        },
        Inbound {
            state: State::Disabled,
            ..entry("hello")
        },
        Inbound {
            expires_ms: Some(1),
            ..entry("hello")
        },
        Inbound::new(key(1), nowhere()),
    ];
    let mut home = Outbound::new(name("home"), nowhere());
    home.addresses.push("host:1".into());
    let default = Outbound::new(name("default"), nowhere());
    let other = Private {
        tag: name("other"),
        secret: secret(1),
        public: None,
        from: nowhere(),
    };
    let files = write(&inbound, &[home, default], &[other]);
    assert!(files.files.is_empty(), "{:?}", files.files.len());
    // Two of them are told both of the name and of having no other.
    assert_eq!(files.left_out.len(), 12, "{:?}", files.left_out);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        inbound in proptest::collection::vec((keys(), proptest::collection::btree_set(names(), 0..4)), 0..5),
        outbound in proptest::collection::btree_map(
            names(),
            (
                proptest::collection::vec(keys(), 1..3),
                proptest::option::of((proptest::collection::btree_set(addresses(), 1..4), secrets())),
            ),
            0..4,
        ),
        listening in proptest::option::of(secrets()),
    ) {
        let inbound: Vec<_> = inbound.into_iter().map(|(key, names)| {
            let mut entry = Inbound::new(key, nowhere());
            let names = names.into_iter().filter(|name| !is_outbound(name));
            entry.scopes = names.map(ImportedScope::Name).collect();
            if entry.scopes.is_empty() {
                entry.scopes.push(ImportedScope::Any);
            }
            entry
        }).collect();
        let outbound = outbound.into_iter().filter(|(tag, _)| tag.as_str() != DEFAULT);
        let outbound: Vec<_> = outbound.map(|(tag, (keys, kept))| {
            let mut server = Outbound::new(tag, nowhere());
            keys.into_iter().for_each(|key| add(&mut server.keys, key));
            if let Some((addresses, identity)) = kept {
                server.addresses = addresses.into_iter().collect();
                server.identity = Some(identity);
            }
            server
        }).collect();
        let private: Vec<_> = listening.into_iter().map(|secret| Private {
            tag: name(DEFAULT),
            secret,
            public: None,
            from: nowhere(),
        }).collect();
        let files = write(&inbound, &outbound, &private);
        prop_assert!(files.left_out.is_empty(), "{:?}", files.left_out);
        let read = anywhere(parse(Format::Arcan, &files.folder("a12"), ALL).unwrap());
        let skipped = Vec::new();
        prop_assert_eq!(read, Imported { inbound, outbound, private, skipped });
    }
}
