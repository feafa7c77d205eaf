use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use rand_core::SeedableRng;

use super::*;
use crate::wire::Field;
use crate::wire::zmtp::SocketType;
use crate::wire::zmtp::rig::{CLIENT, RawClient, SERVER, public, secret, told};

struct Setup {
    hosts: Vec<Host>,
    jar: Jar,
    now: Instant,
    rng: ChaCha8Rng,
}

impl Setup {
    fn new() -> Self {
        let now = Instant::now();
        let mut rng = ChaCha8Rng::from_seed([1; 32]);
        Self {
            hosts: vec![Host::new(secret(SERVER)).unwrap()],
            jar: Jar::new(*COOKIE_NONCE, now, &mut rng),
            now,
            rng,
        }
    }

    fn welcome(&mut self, hello: &[u8]) -> Result<Whole<168>, Violation> {
        let hello = Whole(hello.try_into().unwrap());
        welcome(&hello, &self.hosts, &mut self.jar, self.now, &mut self.rng)
    }

    fn initiate(&mut self, body: &[u8]) -> Result<Proved, Violation> {
        initiate(body, &self.hosts, &mut self.jar, self.now, &mut self.rng)
    }

    /// A client that has its WELCOME.
    fn welcomed(&mut self) -> RawClient {
        let mut client = RawClient::new();
        let body = self.welcome(&client.hello(1)).unwrap();
        client.welcome(&body.0);
        client
    }
}

#[test]
fn a_client_proves_its_key_and_tells_of_itself() {
    let mut setup = Setup::new();
    let client = setup.welcomed();
    let proved = setup.initiate(&client.initiate(2, &told(SocketType::Dealer)));
    let proved = proved.unwrap();
    assert_eq!(proved.key, public(CLIENT));
    assert_eq!(proved.metadata.socket_type, Some(SocketType::Dealer));
    // Both have the same session.
    let mut session = client.session(2);
    let body = session.message(0, b"hi");
    let number = nonce(session.own, &3u64.to_be_bytes());
    let text = proved.session.open(&number, &body[16..]).unwrap();
    assert_eq!(**text, *b"\0hi");
}

#[test]
fn during_a_rotation_both_keys_of_the_host_are_good() {
    let mut setup = Setup::new();
    let fresh = Host::new(secret(0x77)).unwrap();
    setup.hosts.insert(0, fresh);
    let client = setup.welcomed();
    assert!(setup.initiate(&client.initiate(2, &[])).is_ok());
    // And afterwards only the new one.
    setup.hosts.pop();
    let hello = RawClient::new().hello(1);
    assert_eq!(setup.welcome(&hello), Err(Violation::Forged));
}

#[test]
fn a_hello_for_another_server_is_refused() {
    let mut setup = Setup::new();
    let mut client = RawClient::new();
    client.server = public(9);
    assert_eq!(setup.welcome(&client.hello(1)), Err(Violation::Forged));
}

#[test]
fn numbers_and_padding_of_a_hello_are_anything() {
    let mut setup = Setup::new();
    for number in [0, 1, u64::MAX] {
        let mut hello = RawClient::new().hello(number);
        hello[8..80].fill(0xee);
        assert!(setup.welcome(&hello).is_ok());
    }
}

#[test]
fn a_hello_of_another_name_or_version_is_refused() {
    let mut setup = Setup::new();
    for (at, violation) in [
        (5, Violation::Unexpected),
        (6, Violation::Malformed(Field::Hello)),
        (7, Violation::Malformed(Field::Hello)),
        (150, Violation::Forged),
    ] {
        let mut hello = RawClient::new().hello(1);
        hello[at] ^= 2;
        assert_eq!(setup.welcome(&hello), Err(violation), "{at}");
    }
}

#[test]
fn keys_of_low_order_are_refused() {
    let mut setup = Setup::new();
    let mut hello = RawClient::new().hello(1);
    hello[80..112].fill(0);
    assert_eq!(setup.welcome(&hello), Err(Violation::Key));
}

#[test]
fn any_changed_bit_of_an_initiate_is_refused() {
    let mut setup = Setup::new();
    let client = setup.welcomed();
    let body = client.initiate(2, &told(SocketType::Req));
    for at in 0..body.len() {
        let mut changed = body.clone();
        changed[at] ^= 1;
        let violation = match at {
            0..9 => Violation::Unexpected,
            _ => Violation::Forged,
        };
        assert_eq!(setup.initiate(&changed).unwrap_err(), violation, "{at}");
    }
    assert!(setup.initiate(&body).is_ok());
}

#[test]
fn a_vouch_for_another_short_term_key_is_refused() {
    let mut setup = Setup::new();
    let mut client = setup.welcomed();
    client.vouched_short = public(0x99);
    let body = client.initiate(2, &[]);
    assert_eq!(setup.initiate(&body).unwrap_err(), Violation::Vouch);
}

#[test]
fn a_vouch_for_another_server_is_refused() {
    let mut setup = Setup::new();
    let mut client = setup.welcomed();
    client.vouched = public(0x99);
    let body = client.initiate(2, &[]);
    assert_eq!(setup.initiate(&body).unwrap_err(), Violation::Vouch);
}

#[test]
fn somebody_elses_vouch_is_refused() {
    let mut setup = Setup::new();
    let mut client = setup.welcomed();
    let theirs = client.initiate(2, &[]);
    client.long = secret(0x66);
    let ours = client.initiate(2, &[]);
    // Only the client's key says whose vouch it is, and it is sealed.
    assert_ne!(theirs[113..], ours[113..]);
    let proved = setup.initiate(&ours).unwrap();
    assert_eq!(proved.key, public(0x66));
}

#[test]
fn an_initiate_of_another_size_is_malformed() {
    let mut setup = Setup::new();
    let client = setup.welcomed();
    let mut body = client.initiate(2, &[]);
    assert_eq!(body.len(), 257);
    body.pop();
    let malformed = Violation::Malformed(Field::Initiate);
    assert_eq!(setup.initiate(&body).unwrap_err(), malformed);
    let long = client.initiate(2, &[0; 4097]);
    assert_eq!(setup.initiate(&long).unwrap_err(), malformed);
    // No metadata at all are fine.
    assert!(setup.initiate(&client.initiate(2, &[])).is_ok());
}

#[test]
fn a_recorded_initiate_is_not_taken_again() {
    let mut setup = Setup::new();
    let client = setup.welcomed();
    let body = client.initiate(2, &[]);
    assert!(setup.initiate(&body).is_ok());
    assert_eq!(setup.initiate(&body).unwrap_err(), Violation::Replayed);
    setup.now += Duration::from_secs(300);
    assert_eq!(setup.initiate(&body).unwrap_err(), Violation::Forged);
}

#[test]
fn what_is_not_proved_uses_up_no_cookie() {
    let mut setup = Setup::new();
    let mut client = setup.welcomed();
    client.vouched = public(0x99);
    assert!(setup.initiate(&client.initiate(2, &[])).is_err());
    client.vouched = public(SERVER);
    assert!(setup.initiate(&client.initiate(2, b"\x01")).is_err());
    assert!(setup.initiate(&client.initiate(2, &[])).is_ok());
}

#[test]
fn an_initiate_number_may_be_that_of_hello() {
    for number in [0, 1, u64::MAX] {
        let mut setup = Setup::new();
        let client = setup.welcomed();
        assert!(setup.initiate(&client.initiate(number, &[])).is_ok());
    }
}

#[test]
fn i8_no_private_key_is_in_a_debug_text() {
    let host = Host::new(secret(0xab)).unwrap();
    let text = format!("{host:?}");
    assert!(!text.contains("abab") && !text.contains("171"), "{text}");
}
