//! What a fuzzer calls: see `fuzz/` and `docs/fuzzing.md`. Each target takes any bytes, and panics
//! if something does not hold.
#![expect(clippy::unwrap_used, reason = "a fuzzer is told by a panic")]

use std::time::Instant;

use identity::{Name, PublicKey, Reference, Secret, z85};

use crate::wire::a12::fuzzing as a12;
use crate::wire::curvecp::fuzzing as curvecp;
use crate::wire::zmtp::fuzzing as zmtp;
use crate::{cli, formats as key_files, host, ipc as messages};

/// A target.
pub type Target = fn(&[u8]);

/// All of them, under the names of their folders in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 15] = [
    ("listener", listener),
    ("initiator", initiator),
    ("control", control),
    ("event", event),
    ("keyroom", keyroom),
    ("curvecp_packets", curvecp_packets),
    ("curvecp_stream", curvecp_stream),
    ("ipc", ipc),
    ("formats", formats),
    ("words", words),
    ("config", config),
    ("zmtp_greeting", zmtp_greeting),
    ("zmtp_frames", zmtp_frames),
    ("zmtp_server", zmtp_server),
    ("zmtp_client", zmtp_client),
];

/// The listening end of a12, without sealing.
pub fn listener(data: &[u8]) {
    drop(a12::listener(Instant::now(), data));
}

/// The connecting end of a12, without sealing.
pub fn initiator(data: &[u8]) {
    drop(a12::initiator(Instant::now(), data));
}

/// A control packet's body.
pub fn control(data: &[u8]) {
    a12::control(data);
}

/// An event packet's body.
pub fn event(data: &[u8]) {
    a12::event(data);
}

/// What the key room is handed by a frameserver.
pub fn keyroom(data: &[u8]) {
    a12::keyroom(data);
}

/// The greeting of a ZeroMQ peer.
pub fn zmtp_greeting(data: &[u8]) {
    zmtp::greeting(data);
}

/// A stream of ZMTP's frames.
pub fn zmtp_frames(data: &[u8]) {
    zmtp::stream(data);
}

/// The server's end of ZMTP, whose client's key is known.
pub fn zmtp_server(data: &[u8]) {
    drop(zmtp::server(Instant::now(), data));
}

/// The client's end of ZMTP, whose server's key is known.
pub fn zmtp_client(data: &[u8]) {
    drop(zmtp::client(Instant::now(), data));
}

/// A datagram of CurveCP: at both ends, and in the key room.
pub fn curvecp_packets(data: &[u8]) {
    curvecp::packets(Instant::now(), data);
}

/// What a peer of CurveCP says once it is let in.
pub fn curvecp_stream(data: &[u8]) {
    curvecp::stream(Instant::now(), data);
}

/// What our processes say to each other.
pub fn ipc(data: &[u8]) {
    messages::fuzzing::message(data);
}

/// Key files of other programs, and our lines of JSON.
pub fn formats(data: &[u8]) {
    key_files::fuzzing::files(data);
}

/// A configuration file.
pub fn config(data: &[u8]) {
    cli::fuzzing::config(data);
}

/// Words that people and scripts write: keys, names, secrets, references, scopes, durations,
/// addresses, interfaces.
pub fn words(data: &[u8]) {
    if let Ok(secret) = Secret::parse(data) {
        assert_eq!(secret.reveal(), data);
    }
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(z85::encode(key.as_bytes()).parse(), Ok(key));
        key.fingerprint().words();
    }
    if let Ok(name) = Name::parse(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(
            reference.to_string().parse::<Reference>().unwrap(),
            reference
        );
    }
    if let Some(bytes) = z85::decode(text) {
        assert_eq!(*z85::encode(&bytes), text);
    }
    if let Ok(scope) = key_files::ImportedScope::try_from(text.to_owned()) {
        assert_eq!(String::from(scope), text);
    }
    cli::fuzzing::word(text);
    host::fuzzing::interface(text);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Runs a target over its folder: what fuzzing began with, and what it has found.
    #[track_caller]
    fn holds(name: &str) {
        let (_, target) = TARGETS.iter().find(|(known, _)| *known == name).unwrap();
        corpus(name).for_each(|input| target(&input));
    }

    /// What is in its folder.
    fn corpus(name: &str) -> impl Iterator<Item = Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        let files = folder.join(name).read_dir().unwrap();
        files.map(|file| {
            let path = file.unwrap().path();
            // Shown if the test fails.
            println!("{}", path.display());
            std::fs::read(path).unwrap()
        })
    }

    #[test]
    fn sealing_is_no_obstacle_to_a_fuzzer() {
        let (mut listener, mut initiator) = (0, 0);
        for input in corpus("listener") {
            listener += a12::listener(Instant::now(), &input).len();
        }
        for input in corpus("initiator") {
            initiator += a12::initiator(Instant::now(), &input).len();
        }
        assert!(listener > 30 && initiator > 30, "{listener}, {initiator}");
    }

    #[test]
    fn i9_a_listener_meets_its_corpus() {
        holds("listener");
    }

    #[test]
    fn i9_an_initiator_meets_its_corpus() {
        holds("initiator");
    }

    #[test]
    fn i9_control_packets_meet_their_corpus() {
        holds("control");
    }

    #[test]
    fn i9_events_meet_their_corpus() {
        holds("event");
    }

    #[test]
    fn i9_the_key_room_meets_its_corpus() {
        holds("keyroom");
    }

    #[test]
    fn boxes_are_no_obstacle_to_a_fuzzer() {
        let (mut servers, mut clients) = (0, 0);
        for input in corpus("zmtp_server") {
            servers += zmtp::server(Instant::now(), &input).len();
        }
        for input in corpus("zmtp_client") {
            clients += zmtp::client(Instant::now(), &input).len();
        }
        assert!(servers > 20 && clients > 20, "{servers}, {clients}");
    }

    #[test]
    fn i9_greetings_meet_their_corpus() {
        holds("zmtp_greeting");
    }

    #[test]
    fn i9_frames_meet_their_corpus() {
        holds("zmtp_frames");
    }

    #[test]
    fn i9_a_server_of_zmtp_meets_its_corpus() {
        holds("zmtp_server");
    }

    #[test]
    fn i9_a_client_of_zmtp_meets_its_corpus() {
        holds("zmtp_client");
    }

    #[test]
    fn i9_datagrams_of_curvecp_meet_their_corpus() {
        holds("curvecp_packets");
    }

    #[test]
    fn i9_streams_of_curvecp_meet_their_corpus() {
        holds("curvecp_stream");
    }

    #[test]
    fn messages_meet_their_corpus() {
        holds("ipc");
    }

    #[test]
    fn key_files_meet_their_corpus() {
        holds("formats");
    }

    #[test]
    fn words_meet_their_corpus() {
        holds("words");
    }

    #[test]
    fn configurations_meet_their_corpus() {
        holds("config");
    }

    #[test]
    fn anything_short_is_met_by_every_target() {
        for (_, target) in TARGETS {
            target(b"");
            for first in 0..=u8::MAX {
                target(&[first]);
                target(&[first, 0]);
            }
        }
    }
}
