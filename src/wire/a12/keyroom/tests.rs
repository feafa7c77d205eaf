use super::*;
use crate::wire::Whole;
use crate::wire::a12::packet::Kind;

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes([byte; 32])
}

fn hello(mode: u8, key: &SecretKey) -> ControlBody {
    let mut body = [0; 128];
    body[20] = mode;
    body[21..53].copy_from_slice(key.public().unwrap().as_bytes());
    Whole(body)
}

fn pending() -> (Pending, Direction) {
    let (host, peer) = (secret(1), secret(2));
    let claim = Claim::parse(&hello(1, &peer)).unwrap();
    assert_eq!(claim.key(), &peer.public().unwrap());
    let nonce = [7; 8];
    let pending = claim.challenge(&host, Rounds::Two, nonce);

    let mut reply = hello(1, &host);
    reply.0[8..16].copy_from_slice(&nonce);
    let keys = Claim::parse(&reply).unwrap().session(&peer);
    (pending, Direction::client(&keys, nonce, 2))
}

#[test]
fn a_control_packet_proves_the_key() {
    let (pending, mut peer) = pending();
    let mut packet = Vec::new();
    let mut body = [0; 128];
    body[17] = 9;
    peer.seal(Kind::Control, &[&body], &mut packet);
    assert!(pending.prove(&packet).is_ok());
}

#[test]
fn an_event_packet_proves_the_key_once_it_is_whole() {
    let (pending, mut peer) = pending();
    let mut packet = Vec::new();
    peer.seal(Kind::Event, &[&[0; 139]], &mut packet);
    assert_eq!(
        pending.prove(&packet[..153]).unwrap_err(),
        Error::Again { need: 164 }
    );
    assert!(pending.prove(&packet).is_ok());
}

#[test]
fn a_proof_is_exactly_one_packet_with_the_next_number() {
    let (pending, mut peer) = pending();
    let mut packets = Vec::new();
    peer.seal(Kind::Control, &[&[1; 128]], &mut packets);
    let longer = [&packets[..], &[0]].concat();
    assert!(matches!(pending.prove(&longer), Err(Error::Proto(_))));

    let later = Direction::client(&pending.keys, pending.nonce, 3);
    let mut packet = Vec::new();
    { later }.seal(Kind::Control, &[&[1; 128]], &mut packet);
    assert_eq!(
        pending.prove(&packet).unwrap_err(),
        Error::Proto(Violation::Sequence)
    );
}

#[test]
fn a_hello_or_data_is_no_proof() {
    for (kind, body, violation) in [
        (Kind::Control, [0; 128], Violation::Command(0)),
        (Kind::Video, [0; 128], Violation::PacketType(4)),
    ] {
        let (pending, mut peer) = pending();
        let mut packet = Vec::new();
        peer.seal(kind, &[&body], &mut packet);
        assert_eq!(pending.prove(&packet).unwrap_err(), Error::Proto(violation));
    }
}

#[test]
fn a_flipped_bit_is_no_proof() {
    for at in [0, 15, 16, 25, 152] {
        let (pending, mut peer) = pending();
        let mut packet = Vec::new();
        peer.seal(Kind::Control, &[&[1; 128]], &mut packet);
        packet[at] ^= 4;
        assert_eq!(
            pending.prove(&packet).unwrap_err(),
            Error::Proto(Violation::Tag)
        );
    }
}

#[test]
fn a_claim_is_a_hello_with_a_real_key() {
    assert_eq!(
        Claim::parse(&hello(2, &secret(1))).unwrap_err(),
        Violation::Mode(2)
    );
    assert_eq!(
        Claim::parse(&hello(0, &secret(1))).unwrap_err(),
        Violation::Mode(0)
    );
    let mut low = hello(1, &secret(1));
    low.0[21..53].fill(0);
    assert_eq!(Claim::parse(&low).unwrap_err(), Violation::Key);
    let mut other = hello(1, &secret(1));
    other.0[17] = 7;
    assert_eq!(Claim::parse(&other).unwrap_err(), Violation::Command(7));
}

#[test]
fn only_a_ratchet_is_answered() {
    let mut rekey = [0; 128];
    rekey[17] = 8;
    rekey[19..51].copy_from_slice(secret(3).public().unwrap().as_bytes());
    let keys = ratchet(&secret(2), &Whole(rekey)).unwrap();
    let theirs = secret(3).agree(&secret(2).public().unwrap());
    assert_eq!(&keys.cipher, theirs.as_bytes());
    rekey[18] = 1;
    assert_eq!(
        ratchet(&secret(2), &Whole(rekey)).unwrap_err(),
        Violation::Rekey
    );
}
