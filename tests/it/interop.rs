//! Clients that somebody else wrote.

use crate::a12peer::Peer;
use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, EVE};

/// A source that is greeted, says something, and is answered.
const TALK: [&str; 8] = [
    "--register",
    "peer",
    "--wait-event",
    "MESSAGE",
    "--message",
    "moon",
    "--wait-event",
    "MESSAGE",
];

/// A host that knows Anna's key, unless there is no peer.
fn hello() -> Option<(Peer, Host)> {
    let peer = Peer::find()?;
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    Some((peer, host))
}

#[test]
fn a_source_is_activated_and_answered_after_one_round_and_after_two() {
    let Some((peer, host)) = hello() else { return };
    for rounds in ["1", "2"] {
        let report = peer.connect(
            host.place(),
            ANNA,
            &[&["--rounds", rounds], &TALK[..]].concat(),
        );
        assert_eq!(report.code, 0, "{report:?}");
        assert_eq!(report.messages(), ["welcome", "you said moon"]);
        let mut events = report.all("event");
        assert!(
            events.any(|event| event["name"] == "TARGET.ACTIVATE"),
            "{report:?}"
        );
        let mut events = report.all("event");
        assert!(
            events.all(|event| event["checksum_ok"] == true),
            "{report:?}"
        );
    }
    host.stop();
}

#[test]
fn what_a_source_shows_is_taken_and_acknowledged() {
    let Some(peer) = Peer::find() else { return };
    let size = "print(status.kind, status.width, status.height)";
    let script = HELLO.replace("print(status.kind, source)", size);
    let mut host = Moonport::new().script("hello", &script).start();
    host.key_accept("hello", ANNA);
    let show = [
        "--register",
        "peer",
        "--wait-event",
        "ACTIVATE",
        "--video",
        "64",
        "48",
        "dzstd",
        "3",
    ];
    let report = peer.connect(host.place(), ANNA, &show);
    assert_eq!(report.code, 0, "{report:?}");
    assert!(
        report
            .all("video-sent")
            .all(|sent| sent["acknowledged"] == 3),
        "{report:?}"
    );
    host.process.expect("resized\t64\t48");
}

#[test]
fn a_script_that_asks_hears_of_frames_and_not_of_larger_ones_than_it_wants() {
    let Some(peer) = Peer::find() else { return };
    let tell = "print(status.kind, status.number, status.width, status.height, status.message)
        if status.kind == 'preroll' then
            target_verbose(source)
            target_flags(source, TARGET_LIMITSIZE, 64, 64)
        end";
    let script = HELLO.replace("print(status.kind, source)", tell);
    let mut host = Moonport::new().script("hello", &script).start();
    host.key_accept("hello", ANNA);
    let show = [
        &["--register", "peer", "--wait-event", "ACTIVATE"],
        &["--video", "64", "48", "dzstd", "2"][..],
        &["--video", "65", "48", "rgba", "2"],
        &["--video", "8", "4", "rgb565", "1"],
    ]
    .concat();
    let report = peer.connect(host.place(), ANNA, &show);
    assert_eq!(report.code, 0, "{report:?}");
    host.process.expect("terminated");
    let said = host.process.terminate().text();
    let kinds = ["resized\t", "frame\t", "failure\t"];
    let picture: Vec<_> = said
        .lines()
        .filter(|line| kinds.iter().any(|kind| line.starts_with(kind)))
        .collect();
    assert_eq!(
        picture,
        [
            "resized\tnil\t64\t48\tnil",
            "frame\t1\t64\t48\tnil",
            "frame\t2\t64\t48\tnil",
            "failure\tnil\tnil\tnil\twithheld: 65 x 48 is larger than 64 x 64",
            "resized\tnil\t8\t4\tnil",
            "frame\t5\t8\t4\tnil",
        ],
        "{said}"
    );
}

#[test]
fn a_secret_of_its_own_is_needed_and_lets_in_as_many_as_the_window() {
    let Some(peer) = Peer::find() else { return };
    let lua = format!("{HELLO}\ntarget_input(listener, '1:sekrit')");
    let host = Moonport::new().script("hello", &lua).start();
    let secret = host.place().file("sekrit", "sekrit");
    let knows = [&["--secret-file", &secret], &TALK[..]].concat();
    assert_ne!(
        peer.connect(host.place(), ANNA, &TALK).code,
        0,
        "without the secret"
    );
    assert_eq!(peer.connect(host.place(), ANNA, &knows).code, 0, "with it");
    assert_ne!(
        peer.connect(host.place(), EVE, &knows).code,
        0,
        "the window is spent"
    );
    assert_eq!(host.keys(), [ANNA.public()]);
}

#[test]
fn the_listener_ratchets_at_once_and_the_client_may_ratchet_back() {
    let Some((peer, host)) = hello() else { return };
    let back = [
        "--register",
        "peer",
        "--rekey-back",
        "--message",
        "moon",
        "--wait-event",
        "MESSAGE",
        "--wait-event",
        "MESSAGE",
    ];
    for arguments in [&back[..], &[&["--auto-rekey"], &TALK[..]].concat()] {
        let report = peer.connect(host.place(), ANNA, arguments);
        assert_eq!(report.code, 0, "{report:?}");
        let first: Vec<_> = report
            .all("rekey")
            .take(2)
            .map(|rekey| &rekey["direction"])
            .collect();
        assert_eq!(first, ["inbound", "outbound"]);
        assert_eq!(report.messages(), ["welcome", "you said moon"]);
    }
}

#[test]
fn sinks_are_refused_and_probes_learn_the_role() {
    let Some((peer, host)) = hello() else { return };
    let report = peer.connect(host.place(), ANNA, &["--role", "sink"]);
    assert_eq!(report.code, 1, "{report:?}");
    for role in ["probe", "directory"] {
        let report = peer.connect(host.place(), ANNA, &["--role", role]);
        let mut roles = report.all("authenticated").map(|line| &line["peer_role"]);
        assert!(roles.any(|role| role == 2), "we are a sink: {report:?}");
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("segment_request"), "i1: {said}");
}

#[test]
fn i1_a_client_that_proves_nothing_spends_nothing() {
    let Some(peer) = Peer::find() else { return };
    let host = Moonport::new().script("hello", HELLO).start();
    let secret = host.window_open("hello", 1);
    let secret = host.place().file("sekrit", &secret);
    let silent = ["--secret-file", &secret, "--hold", "0.5"];
    assert_eq!(peer.connect(host.place(), ANNA, &silent).code, 0);
    assert!(host.keys().is_empty());
    let talks = [&["--secret-file", &secret], &TALK[..]].concat();
    assert_eq!(
        peer.connect(host.place(), ANNA, &talks).code,
        0,
        "the slot is still there"
    );
}
