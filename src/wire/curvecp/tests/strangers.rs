//! What clients that have proved nothing can do to a server.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use super::super::packet::{Hello, InitiateHead};
use super::super::*;
use super::world::address;
use crate::wire::Refusal;
use crate::wire::crypto::SecretKey;

const REFUSED: Answer = Answer::Refused(Refusal::NotAccepted);

fn endpoint(connections: usize) -> Endpoint<ChaCha20Rng> {
    let config = EndpointConfig {
        connections,
        ..EndpointConfig::default()
    };
    Endpoint::new(config, ChaCha20Rng::seed_from_u64(7))
}

fn key(rng: &mut ChaCha20Rng) -> PublicKey {
    SecretKey::generate(rng).public().unwrap()
}

fn hello(client: PublicKey) -> Vec<u8> {
    let hello = Hello {
        to: Extension::default(),
        from: Extension::default(),
        client,
        nonce: 1,
        boxed: [0; 80],
    };
    hello.encode().to_vec()
}

fn initiate(client: PublicKey, nonce: u64) -> Vec<u8> {
    let head = InitiateHead {
        to: Extension::default(),
        from: Extension::default(),
        client,
        cookie: [9; 96],
        nonce,
    };
    let mut packet = head.encode().to_vec();
    packet.resize(560, 0);
    packet
}

#[test]
fn i7_a_flood_of_strangers_costs_a_fixed_number_of_places() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut endpoint = endpoint(1000);
    let mut asked = Vec::new();
    let keys: Vec<_> = (0..100).map(|_| key(&mut rng)).collect();
    for number in 0..100_000_u32 {
        let from = (rng.next_u32().to_be_bytes(), number as u16).into();
        let client = keys[number as usize % keys.len()];
        let packet = match number % 2 {
            0 => hello(client),
            _ => initiate(client, number.into()),
        };
        assert_eq!(endpoint.handle(from, &packet), None);
        asked.extend(endpoint.poll());
    }
    assert_eq!(asked.len(), 64, "32 of each kind are asked at once");
    // All of them are refused, and so is what has waited: not more than there are places.
    let mut more = 0;
    while let Some((question, _)) = asked.pop() {
        assert!(matches!(
            endpoint.answer(question, REFUSED),
            Outcome::Nothing
        ));
        asked.extend(endpoint.poll().inspect(|_| more += 1));
    }
    assert!((1..=512).contains(&more), "{more}");
    assert_eq!(endpoint.connections(), 0);
}

#[test]
fn i10_one_that_floods_does_not_take_the_turn_of_another() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut endpoint = endpoint(1000);
    let (attacker, client) = (key(&mut rng), key(&mut rng));
    let mut asked = Vec::new();
    let mut flood = |endpoint: &mut Endpoint<_>| {
        for _ in 0..1000 {
            let from = ([192, 0, 2, 66], rng.next_u32() as u16).into();
            endpoint.handle(from, &hello(attacker));
        }
    };
    flood(&mut endpoint);
    while let Some((question, _)) = endpoint.poll() {
        asked.push(question);
        flood(&mut endpoint);
    }
    endpoint.handle(address("198.51.100.7:4000"), &hello(client));
    flood(&mut endpoint);
    // The very next or the one after it.
    let turn = asked.into_iter().take(2).position(|question| {
        endpoint.answer(question, REFUSED);
        let (question, _) = endpoint.poll().unwrap();
        flood(&mut endpoint);
        question.client == client
    });
    assert!(turn.is_some());
}

#[test]
fn an_initiate_is_asked_about_once_at_a_time() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut endpoint = endpoint(10);
    let (client, from) = (key(&mut rng), address("198.51.100.7:4000"));
    endpoint.handle(from, &initiate(client, 1));
    let (question, _) = endpoint.poll().unwrap();
    for nonce in 1..100 {
        endpoint.handle(from, &initiate(client, nonce));
        endpoint.handle(address("198.51.100.8:4000"), &initiate(client, nonce));
        assert_eq!(endpoint.poll(), None);
    }
    // Refused, it may be tried again.
    endpoint.answer(question, REFUSED);
    assert_eq!(endpoint.poll(), None);
    endpoint.handle(from, &initiate(client, 1));
    assert!(endpoint.poll().is_some());
}

#[test]
fn a_full_server_still_gives_cookies() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut endpoint = endpoint(0);
    let (client, from) = (key(&mut rng), address("198.51.100.7:4000"));
    endpoint.handle(from, &initiate(client, 1));
    assert_eq!(endpoint.poll(), None);
    endpoint.handle(from, &hello(client));
    assert!(matches!(endpoint.poll(), Some((_, Ask::Hello(_)))));
}

#[test]
fn what_is_for_another_server_or_for_nobody_is_dropped() {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let mut endpoint = endpoint(10);
    let (client, from) = (key(&mut rng), address("198.51.100.7:4000"));
    let mut other = hello(client);
    other[8] = 1;
    let mut message = initiate(client, 1);
    message[7] = b'M';
    for packet in [other, message, Vec::new(), vec![0; 2000]] {
        assert_eq!(endpoint.handle(from, &packet), None);
        assert_eq!(endpoint.poll(), None);
    }
}
