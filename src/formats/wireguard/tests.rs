use super::super::tests::{key, name, wrong};
use super::super::{Format, parse};
use super::*;

#[track_caller]
fn read(text: &str, servers: bool) -> Imported {
    let take = Take {
        private: true,
        servers,
    };
    parse(
        Format::WireGuard,
        &Folder::file("wg0.conf", text.as_bytes()),
        take,
    )
    .unwrap()
}

fn config() -> String {
    let psk = BASE64.encode(&[0x55; 32]);
    format!(
        "# wg0\n[Interface]\nPrivateKey = {psk}\nListenPort = 51820\n\n\
         # Anna's laptop\n[Peer]\nPublicKey = {}\nPresharedKey = {psk}\nAllowedIPs = 10.0.0.2/32, fd00::2/128\n\n\
         [peer] # bert\npublickey={}\n#PresharedKey = {psk}\n# Name = work\nEndpoint = work.example:51820\n\n\
         [Peer]\n# {psk}\nPublicKey = {} # cleo\nEndpoint = [2001:db8::1]:51820\nPersistentKeepalive = 25\n",
        key(1),
        key(2),
        key(3)
    )
}

#[test]
fn peers_are_read_with_what_they_are_called() {
    let imported = read(&config(), false);
    let peers: Vec<_> = imported
        .inbound
        .iter()
        .map(|entry| (entry.key, entry.label.as_deref(), entry.comment.as_deref()))
        .collect();
    assert_eq!(
        peers,
        [
            (
                key(1),
                Some("Anna's laptop"),
                Some("AllowedIPs 10.0.0.2/32, fd00::2/128")
            ),
            (key(2), Some("work"), Some("Endpoint work.example:51820")),
            (key(3), Some("cleo"), Some("Endpoint [2001:db8::1]:51820")),
        ]
    );
    assert!(imported.outbound.is_empty());
    let places: Vec<_> = imported
        .skipped
        .iter()
        .map(|skipped| skipped.at.line)
        .collect();
    assert_eq!(places, [Some(2), Some(9)]);
    assert_eq!(imported.inbound[0].from.to_string(), "wg0.conf:8");
}

#[test]
fn peers_with_an_address_are_servers_if_somebody_asks() {
    let text = config().replace("# cleo", "# Name = home");
    let imported = read(&text, true);
    assert_eq!(imported.inbound.len(), 1);
    let servers: Vec<_> = imported
        .outbound
        .iter()
        .map(|server| (server.tag.clone(), server.addresses.clone()))
        .collect();
    assert_eq!(
        servers,
        [
            (name("work"), vec!["work.example:51820".to_owned()]),
            (name("home"), vec!["[2001:db8::1]:51820".to_owned()]),
        ]
    );
    let imported = read(&text.replace("Name = home", "the home"), true);
    assert_eq!(imported.outbound.len(), 1);
    assert!(
        imported
            .skipped
            .iter()
            .any(|skipped| skipped.why.contains("no tag"))
    );
    let imported = read(&text.replace("Name = home", "Name = work"), true);
    assert_eq!(imported.outbound[0].keys, [key(2)]);
}

#[test]
fn what_is_malformed_is_named_by_file_and_line() {
    let of = |text: &str| wrong(Format::WireGuard, &Folder::file("c", text.as_bytes()));
    assert!(of("[Peer]\nAllowedIPs = ::/0\n").starts_with("c:1: a peer without"));
    assert!(of("[Peer]\n\nPublicKey = x\n").starts_with("c:3: no public key"));
    assert!(of("PublicKey = x\n").starts_with("c:1: a setting before any section"));
    assert!(of("[Pear]\n").starts_with("c:1: a section is"));
    let twice = of(&format!("[Peer]\nPublicKey={0}\nPublicKey={0}\n", key(1)));
    assert!(twice.starts_with("c:3: a second public key"), "{twice}");
    let endpoint = of("[Peer]\nEndpoint = host\n");
    assert!(endpoint.starts_with("c:2: no address"), "{endpoint}");
}

#[test]
fn i8_no_secret_of_a_configuration_is_kept_or_told() {
    let canary = "canary".repeat(7) + "==";
    let text = format!(
        "[Interface]\nPrivateKey = {canary}\n# PrivateKey = {canary}\n[Peer]\n# {canary}\n#PresharedKey={canary}\n\
         PresharedKey = {canary}\nPublicKey = {}\n",
        key(1)
    );
    let kept = format!("{:?}", read(&text, true));
    assert!(!kept.contains("canary"), "{kept}");
    for line in [
        &*canary,
        &format!("[{canary}"),
        &format!("PublicKey = {canary}"),
    ] {
        let told = wrong(
            Format::WireGuard,
            &Folder::file("c", format!("[Peer]\n{line}\n").as_bytes()),
        );
        assert!(!told.contains("canary"), "{told}");
    }
}
