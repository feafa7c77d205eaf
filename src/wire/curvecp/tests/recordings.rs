//! The recordings, replayed from their keys.

use std::time::{Duration, Instant};

use super::super::keyroom;
use super::super::vectors::{Capture, Dir, Hex, Packet, Script, captures};
use super::super::*;
use super::world::{CLIENT, SERVER, address};
use crate::wire::Whole;
use crate::wire::nacl::BoxKey;

fn vouch_nonce(capture: &Capture) -> [u8; 16] {
    let initiate = capture.of("Initiate").next().unwrap();
    initiate.box_plaintext.0[32..48].try_into().unwrap()
}

/// What a client of ours says that is given the recorded keys.
#[test]
fn a_client_says_what_was_recorded() {
    for capture in captures() {
        let first = capture.client_initial_nonce_before_increment << 16;
        let random = Script::new([
            &capture.client_shortterm_sk,
            &Hex(first.to_le_bytes().to_vec()),
            &Hex(vec![0; 64]),
        ]);
        let config = ClientConfig {
            addresses: vec![address(SERVER)],
            server: capture.server_longterm_pk.public(),
            name: capture.server_name.parse().unwrap(),
            extension: capture.server_extension.extension(),
            own: Extension::default(),
        };
        let mut now = Instant::now();
        let mut client = Client::new(config, now, random);
        let mut tunnel: Option<Tunnel> = None;
        for packet in &capture.packets {
            let mut bytes = packet.hex.0.clone();
            let mut out = Vec::new();
            match (packet.dir, tunnel.as_mut()) {
                (Dir::C2s, None) => {
                    while let ClientOutput::Idle(next) = client.poll(now, &mut out) {
                        now = next.unwrap();
                    }
                    assert_eq!(out, bytes);
                }
                (Dir::C2s, Some(tunnel)) => {
                    assert!(tunnel.seal(&packet.message(), &mut out));
                    assert_eq!(out, bytes);
                }
                (Dir::S2c, _) if packet.dropped_by_network => {}
                (Dir::S2c, None) => {
                    client.receive(address(CLIENT), &bytes);
                    assert!(matches!(client.poll(now, &mut out), ClientOutput::Idle(_)));
                    client.receive(address(SERVER), &bytes);
                    let asked = client.poll(now, &mut out);
                    let ClientOutput::Ask(Ask::Vouch {
                        client: key,
                        server,
                    }) = asked
                    else {
                        panic!("{asked:?}");
                    };
                    let own = capture.client_longterm_sk.secret();
                    let vouch = keyroom::vouch(&own, &key, &server, vouch_nonce(&capture));
                    client.answer(Answer::Vouch {
                        key: capture.client_longterm_pk.public(),
                        vouch: Box::new(vouch),
                    });
                    let ClientOutput::Connected(connected) = client.poll(now, &mut out) else {
                        panic!("not connected");
                    };
                    tunnel = Some(*connected);
                }
                (Dir::S2c, Some(tunnel)) => {
                    assert_eq!(tunnel.open(address(CLIENT), &mut bytes.clone()), None);
                    let message = tunnel.open(address(SERVER), &mut bytes).unwrap();
                    assert_eq!(message, packet.message());
                    assert_eq!(
                        tunnel.open(address(SERVER), &mut packet.hex.0.clone()),
                        None
                    );
                }
            }
        }
        assert!(tunnel.unwrap().is_confirmed());
    }
}

/// What a server of ours says that is given the recorded keys.
#[test]
fn a_server_says_what_was_recorded() {
    for capture in captures() {
        let random = Script::new([&Hex(vec![0; 40])]);
        let config = EndpointConfig {
            extension: capture.server_extension.extension(),
            ..EndpointConfig::default()
        };
        let mut endpoint = Endpoint::new(config, random);
        let mut accepted: Option<Accepted> = None;
        let cookies = capture.of("Cookie");
        let mut cookies = cookies.map(|packet| Whole(packet.hex.array::<200>()));
        let from = address(CLIENT);
        for packet in &capture.packets {
            let mut bytes = packet.hex.0.clone();
            match packet.dir {
                Dir::C2s if packet.dropped_by_network => {}
                Dir::C2s => {
                    if endpoint.handle(from, &bytes).is_some() {
                        let tunnel = &mut accepted.as_mut().unwrap().tunnel;
                        let message = tunnel.open(from, &mut bytes).unwrap();
                        assert_eq!(message, packet.message());
                        continue;
                    }
                    let (question, ask) = endpoint.poll().unwrap();
                    let answer = match &ask {
                        Ask::Hello(hello) => {
                            assert_eq!(hello.0.as_slice(), bytes);
                            let Some(cookie) = cookies.next() else {
                                continue;
                            };
                            Answer::Cookie(Box::new(cookie))
                        }
                        Ask::Initiate(initiate) => {
                            assert_eq!(*initiate, bytes);
                            let cookie = capture.of("Cookie").last().unwrap();
                            let own = cookie.server_shortterm_sk.as_ref().unwrap().secret();
                            Answer::Session(BoxKey::between(&own, &question.client))
                        }
                        Ask::Vouch { .. } => panic!("a server does not vouch"),
                    };
                    match endpoint.answer(question, answer) {
                        Outcome::Open(open) => {
                            assert_eq!(open.key, capture.client_longterm_pk.public());
                            assert_eq!(open.messages, [packet.message()]);
                            accepted = Some(*open);
                        }
                        Outcome::Transmit(to, _) => assert_eq!(to, from),
                        Outcome::Nothing => panic!("nothing comes of it"),
                    }
                }
                Dir::S2c if packet.kind == "Cookie" => {}
                Dir::S2c => {
                    let tunnel = &mut accepted.as_mut().unwrap().tunnel;
                    tunnel.number(packet.nonce_u64.unwrap() - 1);
                    let mut out = Vec::new();
                    assert!(tunnel.seal(&packet.message(), &mut out));
                    assert_eq!(out, bytes);
                }
            }
        }
        assert_eq!(endpoint.connections(), 1);
    }
}

/// Each recorded block gets the acknowledgement that the reference gave, and the streams come out.
#[test]
fn acknowledgements_are_those_of_the_reference() {
    let now = Instant::now();
    for capture in captures() {
        for (dir, other) in [(Dir::C2s, Dir::S2c), (Dir::S2c, Dir::C2s)] {
            let is_message = |packet: &&Packet| !packet.message().is_empty();
            let mut stream = Stream::new(Start::Silent, now);
            let mut ours = Vec::new();
            let (mut read, mut end) = (Vec::new(), None);
            for packet in capture.packets.iter().filter(is_message) {
                if packet.dir != dir || packet.dropped_by_network {
                    continue;
                }
                stream.receive(now, &packet.message());
                loop {
                    let mut out = Vec::new();
                    match stream.read(usize::MAX) {
                        Some(Read::Data(bytes)) => read.extend(bytes),
                        Some(Read::End(how)) => end = Some(how),
                        None if stream.transmit(now, 1088, &mut out) => ours.push(out),
                        None => break,
                    }
                }
            }
            let theirs = capture.packets.iter().filter(is_message);
            let theirs = theirs.filter(|packet| packet.dir == other);
            let theirs: Vec<_> = theirs
                .map(Packet::message)
                .filter(|message| message[..4] == [0; 4])
                .collect();
            assert_eq!(ours, theirs);
            assert_eq!(end, Some(End::Success));
            assert!([0, 6, 3000, 20_000].contains(&read.len()), "{}", read.len());
            if read.len() == 20_000 {
                assert_eq!(read, super::world::bytes(20_000));
            }
        }
    }
}

#[test]
fn a_client_waits_longer_after_each_hello() {
    let capture = captures().next().unwrap();
    let random = Script::new([
        &capture.client_shortterm_sk,
        &Hex(vec![1; 8]),
        &Hex(vec![0; 64]),
    ]);
    let config = ClientConfig {
        addresses: vec![address(SERVER)],
        server: capture.server_longterm_pk.public(),
        name: capture.server_name.parse().unwrap(),
        extension: Extension::default(),
        own: Extension::default(),
    };
    let start = Instant::now();
    let mut client = Client::new(config, start, random);
    let (mut now, mut waits) = (start, Vec::new());
    let error = loop {
        match client.poll(now, &mut Vec::new()) {
            ClientOutput::Idle(next) => {
                waits.push((next.unwrap() - now).as_secs_f64());
                now = next.unwrap();
            }
            ClientOutput::Transmit(to) => assert_eq!(to, address(SERVER)),
            ClientOutput::Failed(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(error, ClientError::NoAnswer);
    let expected = [
        1.0, 1.5, 2.25, 3.375, 5.0625, 7.59375, 11.390625, 17.0859375,
    ];
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((wait - expected).abs() < 1e-6, "{wait}");
    }
    assert_eq!(waits.len(), 8);
    assert!(now - start < Duration::from_secs(50));
}
