use proptest::prelude::*;

use super::super::tests::{ALL, addresses, anywhere, key, keys, names, nowhere, words, wrong};
use super::super::{Format, parse};
use super::*;

fn file(text: &str) -> Folder {
    Folder::file("keys", text.as_bytes())
}

#[test]
fn a_line_is_an_accepted_key_or_a_server() {
    let text = format!(
        "{{\"kind\":\"accepted\",\"v\":1,\"key\":\"{0}\",\"scopes\":[\"*\",\"hello\"],\"state\":\"banned\"}}\n\n\
         {{\"kind\":\"server\",\"v\":1,\"tag\":\"home\",\"keys\":[\"{0}\"],\"addresses\":[\"host\"]}}\n",
        key(7)
    );
    let imported = parse(Format::JsonLines, &file(&text), ALL).unwrap();
    assert_eq!(imported.inbound[0].state, State::Banned);
    assert_eq!(imported.inbound[0].scopes.len(), 2);
    assert_eq!(imported.outbound[0].addresses, ["host:6680"]);
    assert_eq!(imported.outbound[0].from.to_string(), "keys:3");
}

#[test]
fn what_is_malformed_is_named_by_its_line() {
    let line = |fields: &str| format!("\n{{\"kind\":\"accepted\",\"v\":1,{fields}}}\n");
    let of = |text: &str| wrong(Format::JsonLines, &file(text));
    let whole = format!(
        "\"key\":\"{}\",\"scopes\":[],\"state\":\"accepted\"",
        key(7)
    );
    assert!(parse(Format::JsonLines, &file(&line(&whole)), ALL).is_ok());
    for (fields, why) in [
        (whole.clone() + ",\"more\":1", "unknown field `more`"),
        (
            whole.replace(",\"state\":\"accepted\"", ""),
            "missing field `state`",
        ),
        (whole.replace("[]", "[\"a:b\"]"), "a name is made of"),
        (whole.replace("[]", "1"), "invalid type"),
        (
            whole.replace("\"state\":\"accepted\"", "\"state\":\"x\""),
            "unknown variant",
        ),
        (
            whole.replace(&key(7).to_string(), "x"),
            "a public key is 32 bytes",
        ),
        (
            whole.clone() + ",\"label\":\"\\u001b[2J\"",
            "control characters",
        ),
        (whole.clone() + ",\"label\":\"\"", "empty"),
    ] {
        let told = of(&line(&fields));
        assert!(told.starts_with("keys:2: ") && told.contains(why), "{told}");
    }
    assert!(of("{\"v\":2,\"new\":1}").starts_with("keys:1: of another version"));
    assert!(of("{").starts_with("keys:1: EOF while parsing"));
    let long = format!("{{\"v\":1,\"x\":\"{}\"}}", "x".repeat(LINE));
    assert!(of(&long).starts_with("keys:1: too large"));
    let server = "{\"kind\":\"server\",\"v\":1,\"tag\":\"home\",\"keys\":[],\"addresses\":[]}\n";
    assert!(of(&server.repeat(2)).starts_with("keys:2: a second server"));
    let folder = Folder::directory("d", [("x", b"".as_slice())]);
    assert!(wrong(Format::JsonLines, &folder).starts_with("d: a file with lines"));
}

fn scopes() -> impl Strategy<Value = Vec<ImportedScope>> {
    let scope = prop_oneof![
        Just(ImportedScope::Any),
        names().prop_map(ImportedScope::Name)
    ];
    proptest::collection::vec(scope, 0..4)
}

fn states() -> impl Strategy<Value = State> {
    proptest::sample::select(vec![
        State::Accepted,
        State::Disabled,
        State::Revoked,
        State::Banned,
    ])
}

fn inbound() -> impl Strategy<Value = Inbound> {
    let texts = (words(), words(), words());
    (
        keys(),
        scopes(),
        states(),
        texts,
        any::<(Option<u64>, Option<u64>)>(),
    )
        .prop_map(
            |(key, scopes, state, (label, comment, how), (added_ms, expires_ms))| Inbound {
                scopes,
                state,
                label,
                comment,
                how,
                added_ms,
                expires_ms,
                ..Inbound::new(key, nowhere())
            },
        )
}

fn outbound() -> impl Strategy<Value = Outbound> {
    let known = (
        proptest::collection::vec(keys(), 0..3),
        proptest::collection::btree_set(addresses(), 0..3),
    );
    (names(), known, words(), words(), any::<Option<u64>>()).prop_map(
        |(tag, (keys, addresses), label, comment, added_ms)| Outbound {
            keys,
            addresses: addresses.into_iter().collect(),
            label,
            comment,
            added_ms,
            ..Outbound::new(tag, nowhere())
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        inbound in proptest::collection::vec(inbound(), 0..4),
        outbound in proptest::collection::vec(outbound(), 0..4),
    ) {
        let mut outbound = outbound;
        outbound.sort_by(|a, b| a.tag.cmp(&b.tag));
        outbound.dedup_by(|a, b| a.tag == b.tag);
        let text = write(&inbound, &outbound);
        let read = anywhere(parse(Format::JsonLines, &file(&text), ALL).unwrap());
        prop_assert_eq!(read, Imported { inbound, outbound, ..Imported::default() });
    }
}
