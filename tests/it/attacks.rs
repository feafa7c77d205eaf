//! Peers that break the rules on purpose: nobody gets in, an honest client is served all the same,
//! and nothing is left behind.

use data_encoding::HEXLOWER;
use serde_json::Value;

use crate::a12peer::Peer;
use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, EVE, Key};

/// Accepted where a test says so, and the attacker's own; Anna's, which is accepted too, is known to
/// the attacker as far as it is public.
const MALLORY: Key = Key("mallory");

/// A host under attack.
struct Siege {
    host: Host,
    peer: Peer,
}

impl Siege {
    /// By somebody whom the host does not know.
    fn from_outside() -> Option<Self> {
        let peer = Peer::find()?;
        let host = Moonport::new().script("hello", HELLO).start();
        host.key_accept("hello", ANNA);
        Some(Self { host, peer })
    }

    /// By somebody whose key is accepted.
    fn from_inside() -> Option<Self> {
        let siege = Self::from_outside()?;
        siege.host.key_accept("hello", MALLORY);
        Some(siege)
    }

    #[track_caller]
    fn attack(&self, attack: &str, key: Key, arguments: &[&str]) -> Value {
        self.peer.attack(self.host.place(), attack, key, arguments)
    }

    /// Carries out an attack, which has to end with a closed connection.
    #[track_caller]
    fn is_shut_out(&self, attack: &str, key: Key, arguments: &[&str]) -> Value {
        let verdict = self.attack(attack, key, arguments);
        assert_eq!(
            verdict["verdict"], "closed",
            "{attack} {arguments:?}: {verdict}"
        );
        verdict
    }

    /// Afterwards: an honest client is served, nobody is known who was not before, all is well.
    /// Gives what was said.
    #[track_caller]
    fn stands(self) -> String {
        let honest = ["--register", "anna", "--wait-event", "ACTIVATE"];
        let report = self.peer.connect(self.host.place(), ANNA, &honest);
        assert_eq!(report.code, 0, "an honest client is not served: {report:?}");
        let known = [ANNA.public(), MALLORY.public()];
        let keys = self.host.keys();
        assert!(
            keys.iter().all(|key| known.contains(key)),
            "left behind: {keys:?}"
        );
        let ended = self.host.process.terminate();
        let said = ended.text();
        assert!(ended.code == 0 && !said.contains("panicked"), "{said}");
        said
    }

    /// Afterwards: as [`stands`](Self::stands), and nobody but the honest client has ever been put
    /// before the script.
    #[track_caller]
    fn stands_untouched(self) {
        let said = self.stands();
        assert_eq!(said.matches("segment_request").count(), 1, "{said}");
    }
}

/// What breaks the handshake, whoever does it.
const BROKEN_HANDSHAKES: [&str; 6] = [
    "mode0",
    "event-before-auth",
    "many-ephemeral-rounds",
    "zero-key",
    "low-order-key",
    "noncanonical-key",
];

#[test]
fn i1_a_key_that_is_only_claimed_is_not_let_in() {
    let Some(siege) = Siege::from_outside() else {
        return;
    };
    let anna = HEXLOWER.encode(ANNA.public().as_bytes());
    for rounds in ["1", "2"] {
        for then in ["random", "old"] {
            let claim = ["--claim-key", &anna, "--rounds", rounds, "--then", then];
            let verdict = siege.is_shut_out("claim", EVE, &claim);
            assert_eq!(verdict["bytes_before_proof"], 0, "{verdict}");
        }
        siege.is_shut_out("reflect", EVE, &["--claim-key", &anna, "--rounds", rounds]);
    }
    siege.is_shut_out("claim", EVE, &[]);
    siege.stands_untouched();
}

#[test]
fn a_stranger_is_closed_out_whatever_it_does() {
    let Some(siege) = Siege::from_outside() else {
        return;
    };
    for attack in BROKEN_HANDSHAKES {
        siege.is_shut_out(attack, EVE, &[]);
    }
    siege.stands_untouched();
}

#[test]
fn an_accepted_key_may_not_break_the_handshake_either() {
    let Some(siege) = Siege::from_inside() else {
        return;
    };
    for attack in BROKEN_HANDSHAKES {
        let verdict = siege.is_shut_out(attack, MALLORY, &[]);
        let rounds = verdict["rounds_answered"].as_u64();
        assert!(rounds <= Some(1), "{verdict}");
    }
    siege.stands_untouched();
}

#[test]
fn what_was_recorded_leads_nowhere() {
    let Some(siege) = Siege::from_inside() else {
        return;
    };
    for rounds in ["1", "2"] {
        siege.is_shut_out("replay-session", MALLORY, &["--rounds", rounds]);
        // The beginning of a handshake may be answered.
        let verdict = siege.attack("replay-first", MALLORY, &["--rounds", rounds]);
        assert_ne!(verdict["verdict"], "let-in", "{verdict}");
    }
    siege.stands();
}

#[test]
fn only_sources_go_with_a_sink() {
    let Some(siege) = Siege::from_inside() else {
        return;
    };
    let verdict = siege.attack("role-mismatch", MALLORY, &[]);
    assert_eq!(verdict["roles"]["1"], "let-in", "a source: {verdict}");
    // A peer that does not say what it is may be one; all others have nothing to show.
    for role in ["2", "3", "4", "5", "255"] {
        assert_eq!(verdict["roles"][role], "closed", "role {role}: {verdict}");
    }
    siege.stands();
}

#[test]
fn a_session_that_breaks_the_rules_is_ended() {
    let Some(siege) = Siege::from_inside() else {
        return;
    };
    for attack in ["seq-jump", "type0"] {
        siege.is_shut_out(attack, MALLORY, &[]);
    }
    siege.attack("wrong-checksum", MALLORY, &[]);
    siege.stands();
}

#[test]
fn i10_what_a_session_sends_does_not_fill_our_memory() {
    let Some(siege) = Siege::from_inside() else {
        return;
    };
    for attack in ["bad-region", "huge-length", "zstd-bomb", "many-channels"] {
        let verdict = siege.attack(attack, MALLORY, &[]);
        assert_ne!(verdict["verdict"], "refused", "{attack}: {verdict}");
    }
    for process in siege.host.processes() {
        let most = peak_megabytes(process);
        assert!(most < 128, "a process has used {most} MB");
    }
    siege.stands();
}

#[test]
fn i7_a_slow_handshake_ends_by_its_deadline() {
    let Some(siege) = Siege::from_outside() else {
        return;
    };
    let verdict = siege.is_shut_out("slow", EVE, &["--limit", "28"]);
    assert!(verdict["bytes_sent"].as_u64() < Some(153), "{verdict}");
    siege.stands_untouched();
}

#[test]
fn i10_a_flood_of_bad_beginnings_keeps_nobody_out() {
    let Some(siege) = Siege::from_outside() else {
        return;
    };
    let verdict = siege.attack("flood-first", ANNA, &["--rate", "200", "--seconds", "2"]);
    assert_eq!(verdict["honest_client_served"], true, "{verdict}");
    assert_eq!(verdict["answered"], 0, "{verdict}");
    siege.stands();
}

#[test]
fn i7_connections_that_say_nothing_keep_nobody_out() {
    let Some(siege) = Siege::from_outside() else {
        return;
    };
    for bytes in ["0", "24", "152"] {
        let verdict = siege.attack("half-open", ANNA, &["--count", "300", "--bytes", bytes]);
        assert_eq!(verdict["honest_client_served"], true, "{verdict}");
    }
    siege.stands();
}

/// The most memory that a process has had.
fn peak_megabytes(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
