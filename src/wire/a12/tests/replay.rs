//! Our ends in the place of each recorded one of the reference programs: the same bytes in, and the
//! same handshake out.
//!
//! Where section 19 of the protocol text advises to be stricter than the reference, we are. What of
//! it shows in the recordings:
//!
//! | recording | the reference | here |
//! | --- | --- | --- |
//! | `hello_variants`, `role_matrix` | answers | the refusals in [`STRICTER`] |
//! | `bad_packet_type_*` | lets the client in, then stops | no proof, so it is never let in |
//! | `handshake_client_rejects_key` | lets the client in | waits for a proof, and the stream ends cleanly |
//! | `events` | delivers an event on a channel that nobody opened | drops it |
//! | `tolerance` | delivers an event with a wrong checksum | drops it |
//! | all | delivers events of any kind | only those that go with our role |
//! | `video_*` | one PING for each packet of a compressed frame | one for each frame, when it is whole |
//! | `bstream_*` | takes transfers | declines them |

use std::collections::BTreeMap;
use std::time::Instant;

use super::pair::*;
use super::recorded::*;
use crate::wire::a12::control::{Control, Mode};
use crate::wire::a12::event::{self, Received, Record};
use crate::wire::a12::packet::{Direction, Opener, Packet, first_nonce};
use crate::wire::a12::vectors::{
    self, Dir, Exchanged, Hex, Origin, Recording, Side, Stage, Step, recordings,
};
use crate::wire::a12::{
    Ask, Command, Event, Initiator, InitiatorConfig, Listener, ListenerConfig, Ratchet, Role,
    Rounds, SecretId, StageKeys,
};
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Input, Refusal, Violation};

/// What the reference goes along with and we refuse.
const STRICTER: [(&str, Violation); 5] = [
    // Both directions have one MAC key; the number keeps a peer's own packets from being played
    // back to it. The first packet has number 0, always.
    ("sequence number 7", Violation::Sequence),
    // With these keys everybody knows the shared secret.
    ("all-zero public key", Violation::Key),
    ("low-order public key (1)", Violation::Key),
    ("two-round, all-zero public key", Violation::Key),
    // Linking directories is an option of the reference; we are no directory.
    (
        "directory to directory, linking allowed",
        Violation::Role(4),
    ),
];

fn stricter(what: &str) -> Option<Violation> {
    STRICTER
        .iter()
        .find(|(name, _)| *name == what)
        .map(|(_, violation)| *violation)
}

fn role(byte: u8) -> Role {
    match byte {
        1 => Role::Source,
        2 => Role::Sink,
        3 => Role::Probe,
        4 => Role::Directory,
        other => panic!("role {other}"),
    }
}

fn listener(own: Role, secret: &str, ratchet: Ratchet, rng: Seeded) -> Listener<Seeded> {
    let config = ListenerConfig {
        role: own,
        candidates: vec![(SecretId(0), initial(secret))],
        handshake: HANDSHAKE,
        ratchet,
    };
    Listener::new(config.into(), Instant::now(), rng)
}

const NEVER: Ratchet = Ratchet {
    at_once: false,
    every_bytes: 0,
};

#[test]
fn crafted_first_packets_are_answered_as_the_reference_answers_them() {
    let variants: vectors::HelloVariants = vectors::data("hello_variants");
    for row in variants.rows {
        let request: [u8; 153] = match row.request.0.first_chunk() {
            Some(request) => *request,
            None => continue,
        };
        // The nonce in the answer is chosen by the host.
        let nonce = (!row.reply.0.is_empty()).then(|| {
            let keys = initial("SETECASTRONOMY");
            let mut direction = Direction::server(&keys, first_nonce(&request), 0);
            let reply = direction.open_control(row.reply.array()).unwrap();
            Control::parse(&reply).0.entropy
        });
        let keys = row.server_ephemeral_priv.iter().map(Hex::array);
        let rng = Seeded::recorded(keys, nonce);
        let listener = listener(role(row.server_role), "SETECASTRONOMY", NEVER, rng);
        let host = SecretKey::from_bytes(variants.server_static_priv.array());
        let mut end = End::new(Box::new(listener), host, 1).nonces(Seeded::recorded([], nonce));
        end.feed(Instant::now(), &request, || 50);
        match stricter(&row.variant) {
            Some(violation) => {
                assert_eq!(
                    (end.sent.len(), end.error),
                    (0, proto(violation)),
                    "{}",
                    row.variant
                );
            }
            None => {
                assert_eq!(Hex(end.sent), row.reply, "{}", row.variant);
                assert_eq!(
                    end.error.is_some(),
                    row.reply.0.is_empty(),
                    "{}",
                    row.variant
                );
            }
        }
    }
}

/// What our end has to draw to do as the recorded one did.
struct Script {
    rounds: Rounds,
    ephemeral: Option<[u8; 32]>,
    own: [u8; 32],
    ratchets: Vec<[u8; 32]>,
    entropy: Vec<[u8; 8]>,
    roles: [u8; 2],
}

/// Reads it from a recorded handshake.
fn script(side: Side, secret: &str, exchanged: &[Exchanged], streams: [&[u8]; 2]) -> Script {
    let all = privates(exchanged, &[Side::Client, Side::Server]);
    let mut walk = Walk::new(secret, all, streams[0], streams[1]);
    let own = match side {
        Side::Client => CLIENT,
        Side::Server => SERVER,
    };
    let mut script = Script {
        rounds: Rounds::One,
        ephemeral: None,
        own: [0; 32],
        ratchets: Vec::new(),
        entropy: Vec::new(),
        roles: [0; 2],
    };
    let mine: BTreeMap<[u8; 32], [u8; 32]> = exchanged
        .iter()
        .filter(|key| key.owner == side)
        .filter_map(|key| Some((key.public.array(), key.private.as_ref()?.array())))
        .collect();
    if own == CLIENT {
        script.entropy.push(streams[0][8..16].try_into().unwrap());
    }
    'hellos: for _ in 0..2 {
        for from in [CLIENT, SERVER] {
            let Ok(Some(walked)) = walk.step(from) else {
                break 'hellos;
            };
            let body = walked.body[..].try_into().unwrap();
            let (header, Control::Hello(hello)) = Control::parse(body) else {
                panic!("a handshake consists of HELLOs");
            };
            script.roles[from] = hello.role;
            if hello.mode == Mode::Ephemeral {
                script.rounds = Rounds::Two;
            }
            if from == own {
                script.entropy.push(header.entropy);
                match hello.mode {
                    Mode::Ephemeral => script.ephemeral = mine.get(&hello.key).copied(),
                    _ => script.own = mine.get(&hello.key).copied().unwrap_or_default(),
                }
            }
            if from == SERVER && hello.mode == Mode::Static {
                break 'hellos;
            }
        }
    }
    script.ratchets = exchanged
        .iter()
        .filter(|key| key.owner == side && key.purpose == vectors::Purpose::Rekey)
        .filter_map(|key| key.private.as_ref().map(Hex::array))
        .collect();
    script
}

impl Script {
    fn end(self, side: Side, own: Role, secret: &str) -> End {
        let keys = self.ephemeral.into_iter().chain(self.ratchets.clone());
        let host = SecretKey::from_bytes(self.own);
        match side {
            Side::Server => {
                // The host draws the nonce of the last HELLO.
                let mut drawn = self.entropy;
                let last = drawn.split_off(usize::from(self.ephemeral.is_some()));
                let rng = Seeded::recorded(keys, drawn);
                // As soon as it may, so that it never comes later than the recorded one.
                let ratchet = match self.ratchets.is_empty() {
                    true => NEVER,
                    false => Ratchet {
                        at_once: true,
                        every_bytes: 1,
                    },
                };
                let machine = listener(own, secret, ratchet, rng);
                End::new(Box::new(machine), host, 1).nonces(Seeded::recorded([], last))
            }
            Side::Client => {
                let config = InitiatorConfig {
                    role: own,
                    initial: initial(secret),
                    public: host.public().unwrap(),
                    rounds: self.rounds,
                    handshake: HANDSHAKE,
                };
                let rng = Seeded::recorded(keys, self.entropy);
                let machine = Initiator::new(config, Instant::now(), rng);
                End::new(Box::new(machine), host, 1)
            }
        }
    }
}

#[test]
fn the_role_matrix_is_that_of_the_reference() {
    let matrix: vectors::RoleMatrix = vectors::data("role_matrix");
    assert_eq!(matrix.rows.len(), 17);
    for row in matrix.rows {
        let name = format!("{} to {}", row.client_role, row.server_role);
        let streams = [&row.c2s.0[..], &row.s2c.0[..]];
        let [mut client, mut server] = [Side::Client, Side::Server].map(|side| {
            let script = script(
                side,
                &row.secrets.server_preshared,
                &row.secrets.exchanged,
                streams,
            );
            let own = match side {
                Side::Client => row.client_role,
                Side::Server => row.server_role,
            };
            script.end(side, role(own), &row.secrets.server_preshared)
        });
        let now = Instant::now();
        client.give(now, Input::Timeout);
        let (mut c2s, mut s2c) = (0, 0);
        for _ in 0..4 {
            server.feed(now, &client.sent[c2s..], || 99);
            c2s = client.sent.len();
            client.feed(now, &server.sent[s2c..], || 99);
            s2c = server.sent.len();
        }
        let linking = stricter("directory to directory, linking allowed");
        match linking.filter(|_| row.directory_link_allowed) {
            Some(violation) => assert_eq!(server.error, proto(violation)),
            None => {
                assert_eq!(Hex(client.sent), row.c2s, "{name}");
                assert_eq!(Hex(server.sent), row.s2c, "{name}");
                let done = row.final_state.client.auth == 5;
                assert_eq!(client.events.len(), usize::from(done), "{name}");
                assert_eq!(server.error.is_none(), done, "{name}");
            }
        }
    }
}

/// How a recording ends for our end in the place of `side`, if not well.
fn outcome(recording: &str, side: Side) -> Option<Error> {
    match (recording, side) {
        ("handshake_bad_mac" | "handshake_wrong_secret", Side::Server) => {
            proto(Violation::FirstPacket)
        }
        ("handshake_server_rejects_key" | "handshake_server_rejects_key_1round", Side::Server)
        | ("handshake_client_rejects_key", Side::Client) => {
            Some(Error::Access(Refusal::NotAccepted))
        }
        // The server tells a client that it is refused by going away.
        (
            "handshake_bad_mac"
            | "handshake_wrong_secret"
            | "handshake_server_rejects_key"
            | "handshake_server_rejects_key_1round",
            Side::Client,
        ) => proto(Violation::Truncated),
        // It comes where the proof should.
        ("bad_packet_type_0" | "bad_packet_type_9", Side::Server) => {
            Some(Error::Access(Refusal::NotAccepted))
        }
        ("tolerance", Side::Server) => proto(Violation::Command(0)),
        _ => None,
    }
}

fn replay(recording: &Recording, side: Side) {
    let name = format!("{} {side:?}", recording.name);
    let streams = [&recording.c2s.0[..], &recording.s2c.0[..]];
    let secret = match side {
        Side::Client => &recording.secrets.client_preshared,
        Side::Server => &recording.secrets.server_preshared,
    };
    let script = script(
        side,
        &recording.secrets.client_preshared,
        &recording.secrets.exchanged,
        streams,
    );
    let (own_dir, at) = match side {
        Side::Client => (Dir::C2s, CLIENT),
        Side::Server => (Dir::S2c, SERVER),
    };
    // A server that says nothing is the other half of its client.
    let own = match script.roles[at] {
        0 => Role::Sink,
        byte => role(byte),
    };
    let ratchets = !script.ratchets.is_empty();
    let hellos = script.entropy.len() - usize::from(side == Side::Client);
    let mut end = script.end(side, own, secret);
    let refusals = match side {
        Side::Client => ["handshake_client_rejects_key", ""],
        Side::Server => [
            "handshake_server_rejects_key",
            "handshake_server_rejects_key_1round",
        ],
    };
    end.accepts = !refusals.contains(&recording.name.as_str());

    let now = Instant::now();
    end.give(now, Input::Timeout);
    let mut cuts = Seeded::new(5);
    for step in &recording.timeline {
        let open = end
            .events
            .iter()
            .any(|event| matches!(event, Event::Admitted { .. } | Event::Established { .. }));
        match step {
            Step::Tx {
                dir,
                offset,
                length,
                packets,
            } if *dir == own_dir => {
                let _ = (offset, length);
                for packet in packets {
                    let body = recording.packets[*packet].body();
                    let Ok(body) = <&[u8; 128]>::try_from(body) else {
                        continue;
                    };
                    if let (_, Control::NewChannel { kind, cookie, .. }) = Control::parse(body)
                        && own == Role::Sink
                        && open
                    {
                        end.give(now, Input::Command(Command::Open { cookie, kind }));
                    }
                }
            }
            Step::Tx {
                dir,
                offset,
                length,
                ..
            } => {
                let bytes = &recording.stream(*dir)[*offset..][..*length];
                end.feed(now, bytes, || 1 + cuts.below(3000));
            }
            Step::Enqueue { side: by, raw } if *by == side && open => {
                let channel = 0;
                let command = match (own, Record::parse(&raw.array())) {
                    (Role::Source, Ok(Record::External(event))) => {
                        Command::External { channel, event }
                    }
                    (Role::Sink, Ok(Record::Target(event))) => Command::Target { channel, event },
                    (Role::Sink, Ok(Record::Io(input))) => Command::Input { channel, input },
                    _ => continue,
                };
                end.give(now, Input::Command(command));
            }
            _ => {}
        }
    }
    if end.error.is_none() {
        end.give(now, Input::Eof);
    }
    assert_eq!(end.error, outcome(&recording.name, side), "{name}");

    // The same handshake.
    let hellos = hellos * 153;
    assert_eq!(
        Hex(end.sent[..hellos].to_vec()),
        Hex(recording.stream(own_dir)[..hellos].to_vec()),
        "{name}"
    );

    // The same events, as far as they cross the border and their channel is open. The reference
    // delivers those on channels that it does not know, too.
    let mut channels = vec![0];
    channels.extend(
        controls(recording, |_| true).filter_map(|control| match control {
            Control::NewChannel { channel, .. } => Some(channel),
            _ => None,
        }),
    );
    let heard: Vec<_> = end
        .events
        .iter()
        .filter_map(|event| match event.clone() {
            Event::External { channel, event } => Some((channel, Received::External(event))),
            Event::Target { channel, event } => Some((channel, Received::Target(event))),
            Event::Input { channel, input } => Some((channel, Received::Io(input))),
            _ => None,
        })
        .collect();
    let said: Vec<_> = recording
        .packets
        .iter()
        .filter(|packet| packet.dir != own_dir && packet.kind == 2)
        .filter_map(|packet| {
            let body = packet.body().try_into().unwrap();
            let packet = event::Packet::<Received>::parse(body, own);
            (channels.contains(&packet.channel) && !matches!(packet.event, Received::Dropped(_)))
                .then_some((packet.channel, packet.event))
        })
        .collect();
    let accepted = end
        .events
        .iter()
        .any(|event| matches!(event, Event::Admitted { .. } | Event::Established { .. }));
    if accepted {
        assert_eq!(heard, said, "{name}");
    } else {
        assert_eq!(heard, [], "{name}");
    }

    // The same acknowledgements.
    if !ratchets && accepted {
        let ours = pings(&end.sent[hellos..], recording, side);
        let theirs = recorded_pings(recording, own_dir);
        match recording.origin {
            Origin::Library => assert_eq!(ours, theirs, "{name}"),
            // A display was still showing the last ones when the connection ended.
            Origin::Programs => assert!(ours.starts_with(&theirs), "{name}"),
        }
    }
}

/// Which frames our end acknowledged.
fn pings(sent: &[u8], recording: &Recording, side: Side) -> Vec<u32> {
    let keys = recording.keys.iter().find_map(|stage| match stage {
        Stage::Session(keys) => Some(keys),
        _ => None,
    });
    let Some(recorded) = keys else {
        return Vec::new();
    };
    let keys = StageKeys {
        mac: recorded.mac_key.array(),
        client: recorded.client_cipher_key.array(),
        server: recorded.server_cipher_key.array(),
    };
    let nonce = recorded.nonce.array();
    let rounds = recording.keys.len() as u64 - 1;
    let mut opener = Opener::new(match side {
        Side::Client => Direction::client(&keys, nonce, rounds),
        Side::Server => Direction::server(&keys, nonce, rounds),
    });
    opener.push(sent);
    let mut pings = Vec::new();
    while let Some(packet) = opener.next().unwrap() {
        if let Packet::Control(body) = packet
            && let (_, Control::Ping(stream)) = Control::parse(body)
        {
            pings.push(stream);
        }
    }
    pings
}

/// The reference acknowledges some frames once for each data packet, and transfers that it takes.
fn recorded_pings(recording: &Recording, own: Dir) -> Vec<u32> {
    let frames: Vec<u32> = controls(recording, |dir| dir != own)
        .filter_map(|control| match control {
            Control::VideoFrame(frame) => Some(frame.stream),
            _ => None,
        })
        .collect();
    let mut pings: Vec<u32> = controls(recording, |dir| dir == own)
        .filter_map(|control| match control {
            Control::Ping(stream) if frames.contains(&stream) => Some(stream),
            _ => None,
        })
        .collect();
    pings.dedup();
    pings
}

fn controls(recording: &Recording, wanted: impl Fn(Dir) -> bool) -> impl Iterator<Item = Control> {
    recording
        .packets
        .iter()
        .filter(move |packet| wanted(packet.dir) && packet.kind == 1)
        .filter_map(|packet| packet.body().try_into().ok())
        .map(|body| Control::parse(body).1)
}

#[test]
fn in_the_place_of_the_reference_we_do_as_it_did() {
    let mut replayed = Vec::new();
    for recording in recordings() {
        // Directories are not spoken here, and their workers' keys are not recorded.
        if recording.name.contains("directory") || has_directory(&recording) {
            continue;
        }
        for side in [Side::Client, Side::Server] {
            replay(&recording, side);
            replayed.push(recording.name.clone());
        }
    }
    for name in [
        "handshake_1round",
        "handshake_2round_secret",
        "control",
        "events",
        "rekey",
        "segments",
        "tolerance",
        "real_push_actions",
        "real_push_counter",
    ] {
        assert!(replayed.iter().any(|done| done == name), "{name}");
    }
}

fn has_directory(recording: &Recording) -> bool {
    let hello = |from| {
        controls(recording, move |dir| dir == from)
            .find_map(|control| match control {
                Control::Hello(hello) => Some(hello.role),
                _ => None,
            })
            .unwrap_or(0)
    };
    [hello(Dir::C2s), hello(Dir::S2c)].contains(&4)
}

#[test]
fn an_initiator_keeps_its_static_key_out_of_later_ratchets() {
    let Some(recording) = vectors::recording("rekey") else {
        return;
    };
    let streams = [&recording.c2s.0[..], &recording.s2c.0[..]];
    let exchanged = &recording.secrets.exchanged;
    let secret = &recording.secrets.client_preshared;
    let script = script(Side::Client, secret, exchanged, streams);
    let own = role(script.roles[CLIENT]);
    let mut end = script.end(Side::Client, own, secret);
    let now = Instant::now();
    end.give(now, Input::Timeout);
    end.feed(now, &recording.s2c.0, || 1000);
    let asked = |wanted: fn(&Ask) -> bool| end.asked.iter().filter(|ask| wanted(ask)).count();
    assert_eq!(asked(|ask| matches!(ask, Ask::Ratchet(_))), 1);
    assert_eq!(asked(|ask| matches!(ask, Ask::Server(_))), 1);
    assert_eq!(end.error, None);
}
