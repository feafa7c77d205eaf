use std::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

use super::super::vectors::{Script, captures};
use super::*;

/// A server and what a client makes for it.
struct Scene {
    rng: ChaCha20Rng,
    now: Instant,
    jar: Jar,
    host: SecretKey,
    own: SecretKey,
    short: SecretKey,
}

const EXTENSION: Extension = Extension([7; 16]);

/// What an Initiate can say, for saying it wrong.
struct Claim {
    key: [u8; 32],
    vouch: Whole<64>,
    name: ServerName,
}

impl Scene {
    fn new() -> Self {
        let mut rng = ChaCha20Rng::from_seed([5; 32]);
        let now = Instant::now();
        Self {
            now,
            jar: Jar::new(COOKIES, now, &mut rng),
            host: SecretKey::generate(&mut rng),
            own: SecretKey::generate(&mut rng),
            short: SecretKey::generate(&mut rng),
            rng,
        }
    }

    fn hello(&self) -> Hello {
        let key = BoxKey::between(&self.short, &self.host.public().unwrap());
        let mut boxed = Vec::new();
        key.seal(&numbered(Hello::PREFIX, 9), &[0; 64], &mut boxed);
        Hello {
            to: EXTENSION,
            from: Extension([1; 16]),
            client: self.short.public().unwrap(),
            nonce: 9,
            boxed: boxed.try_into().unwrap(),
        }
    }

    fn cookie(&mut self, hello: &Hello) -> Result<Cookie, Violation> {
        let other = SecretKey::generate(&mut self.rng);
        let hosts = [&other, &self.host];
        let hello = Whole(hello.encode());
        let packet = cookie(
            &hello,
            EXTENSION,
            &hosts,
            &mut self.jar,
            self.now,
            &mut self.rng,
        )?;
        Ok(Cookie::parse(&packet.0).unwrap())
    }

    /// The server's short-term key, and the cookie.
    fn welcome(&mut self) -> (PublicKey, [u8; 96]) {
        let cookie = self.cookie(&self.hello()).unwrap();
        let key = BoxKey::between(&self.short, &self.host.public().unwrap());
        let opened = key
            .open(&salted(Cookie::PREFIX, &cookie.nonce), &cookie.boxed)
            .unwrap();
        let (server, cookie) = opened.split_first_chunk::<32>().unwrap();
        (
            PublicKey::parse(server).unwrap(),
            cookie.try_into().unwrap(),
        )
    }

    fn claim(&self) -> Claim {
        let client = self.short.public().unwrap();
        Claim {
            key: *self.own.public().unwrap().as_bytes(),
            vouch: vouch(&self.own, &client, &self.host.public().unwrap(), [3; 16]),
            name: name(),
        }
    }

    fn packet(&self, welcome: &(PublicKey, [u8; 96]), claim: &Claim) -> Vec<u8> {
        let head = InitiateHead {
            to: EXTENSION,
            from: Extension([1; 16]),
            client: self.short.public().unwrap(),
            cookie: welcome.1,
            nonce: 10,
        };
        let parts: [&[u8]; 4] = [
            &claim.key,
            &claim.vouch.0,
            claim.name.as_bytes(),
            &[b'm'; 32],
        ];
        let mut packet = head.encode().to_vec();
        BoxKey::between(&self.short, &welcome.0).seal(
            &numbered(InitiateHead::PREFIX, head.nonce),
            &parts.concat(),
            &mut packet,
        );
        packet
    }

    fn initiate(&mut self, packet: &[u8]) -> Result<Proved, Violation> {
        let hosts = [&self.host];
        initiate(
            packet,
            &hosts,
            &name(),
            &mut self.jar,
            self.now,
            &mut self.rng,
        )
    }
}

fn name() -> ServerName {
    "echo.example".parse().unwrap()
}

#[test]
fn a_client_proves_its_key() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    let packet = scene.packet(&welcome, &scene.claim());
    let proved = scene.initiate(&packet).unwrap();
    assert_eq!(proved.key, scene.own.public().unwrap());
    assert_eq!(proved.client, scene.short.public().unwrap());
    assert_eq!(proved.nonce, 10);
    assert_eq!(proved.message, [b'm'; 32]);
}

#[test]
fn a_replayed_initiate_is_refused_as_long_as_its_cookie_lives() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    let packet = scene.packet(&welcome, &scene.claim());
    scene.initiate(&packet).unwrap();
    for _ in 0..4 {
        assert_eq!(scene.initiate(&packet).unwrap_err(), Violation::Replayed);
        scene.now += Duration::from_secs(29);
    }
    for _ in 0..20 {
        assert!(scene.initiate(&packet).is_err());
        scene.now += Duration::from_secs(29);
    }
}

#[test]
fn what_fails_does_not_use_up_the_cookie() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    let good = scene.packet(&welcome, &scene.claim());
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    assert_eq!(scene.initiate(&bad).unwrap_err(), Violation::Forged);
    let mut claim = scene.claim();
    claim.name = "echo.Example".parse().unwrap();
    assert_eq!(
        scene.initiate(&scene.packet(&welcome, &claim)).unwrap_err(),
        Violation::Malformed(Field::Name)
    );
    assert!(scene.initiate(&good).is_ok());
}

#[test]
fn a_vouch_for_another_key_is_refused() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    let other = SecretKey::generate(&mut scene.rng).public().unwrap();
    let mut claim = scene.claim();
    claim.vouch = vouch(&scene.own, &other, &scene.host.public().unwrap(), [3; 16]);
    let packet = scene.packet(&welcome, &claim);
    assert_eq!(scene.initiate(&packet).unwrap_err(), Violation::Vouch);
}

#[test]
fn a_vouch_for_another_server_or_of_another_client_is_refused() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    let client = scene.short.public().unwrap();
    let other = SecretKey::generate(&mut scene.rng);
    for vouch in [
        vouch(&scene.own, &client, &other.public().unwrap(), [3; 16]),
        vouch(&other, &client, &scene.host.public().unwrap(), [3; 16]),
    ] {
        let claim = Claim {
            vouch,
            ..scene.claim()
        };
        let packet = scene.packet(&welcome, &claim);
        assert_eq!(scene.initiate(&packet).unwrap_err(), Violation::Forged);
    }
}

#[test]
fn keys_of_low_order_are_refused() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    for first in [0, 1] {
        let mut key = [0; 32];
        key[0] = first;
        let claim = Claim {
            key,
            ..scene.claim()
        };
        let packet = scene.packet(&welcome, &claim);
        assert_eq!(scene.initiate(&packet).unwrap_err(), Violation::Key);
    }
    let mut hello = scene.hello().encode();
    hello[40..72].fill(0);
    let hosts = [&scene.host];
    let result = cookie(
        &Whole(hello),
        EXTENSION,
        &hosts,
        &mut scene.jar,
        scene.now,
        &mut scene.rng,
    );
    assert_eq!(result, Err(Violation::Malformed(Field::Hello)));
}

#[test]
fn a_cookie_of_another_client_is_refused() {
    let mut scene = Scene::new();
    let welcome = scene.welcome();
    scene.short = SecretKey::generate(&mut scene.rng);
    let packet = scene.packet(&welcome, &scene.claim());
    assert_eq!(scene.initiate(&packet).unwrap_err(), Violation::Forged);
}

#[test]
fn a_hello_for_another_key_or_extension_is_refused() {
    let mut scene = Scene::new();
    let mut hello = scene.hello();
    hello.to = Extension([8; 16]);
    assert_eq!(
        scene.cookie(&hello).unwrap_err(),
        Violation::Malformed(Field::Hello)
    );
    let hello = scene.hello();
    scene.host = SecretKey::generate(&mut scene.rng);
    assert_eq!(scene.cookie(&hello).unwrap_err(), Violation::Forged);
}

#[test]
fn every_recorded_cookie_is_made_again() {
    let now = Instant::now();
    let mut made = 0;
    for capture in captures() {
        let hellos: Vec<_> = capture.of("Hello").collect();
        for recorded in capture.of("Cookie") {
            let minute = recorded.minute_key.as_ref().unwrap();
            let secret = recorded.server_shortterm_sk.as_ref().unwrap();
            let mut random = Script::new([minute, secret]);
            let mut jar = Jar::new(COOKIES, now, &mut random);
            let host = capture.server_longterm_sk.secret();
            let again = cookie_with(
                &Whole(hellos[0].hex.array()),
                capture.server_extension.extension(),
                recorded.hex.0[40..56].try_into().unwrap(),
                &[&host],
                &mut jar,
                now,
                &mut random,
            );
            assert_eq!(again, Ok(Whole(recorded.hex.array())));
            made += 1;
        }
    }
    assert!(made >= 7);
}

#[test]
fn every_recorded_initiate_proves_its_client() {
    let now = Instant::now();
    for capture in captures() {
        let minute = capture
            .of("Cookie")
            .find_map(|packet| packet.minute_key.clone())
            .unwrap();
        let mut random = Script::new([&minute]);
        let mut jar = Jar::new(COOKIES, now, &mut random);
        let host = capture.server_longterm_sk.secret();
        let name = capture.server_name.parse().unwrap();
        let mut proved = 0;
        for recorded in capture.of("Initiate") {
            let result = initiate(&recorded.hex.0, &[&host], &name, &mut jar, now, &mut random);
            if proved > 0 {
                assert_eq!(result.unwrap_err(), Violation::Replayed);
                continue;
            }
            let client = result.unwrap();
            assert_eq!(client.key, capture.client_longterm_pk.public());
            assert_eq!(client.client, capture.client_shortterm_pk.public());
            assert_eq!(Some(client.nonce), recorded.nonce_u64);
            assert!(recorded.box_plaintext.0.ends_with(&client.message));
            proved += 1;
        }
        assert_eq!(proved, 1);
    }
}

#[test]
fn every_recorded_vouch_is_made_again() {
    for capture in captures() {
        for recorded in capture.of("Initiate") {
            let inside = Inside::parse(&recorded.box_plaintext.0).unwrap();
            let again = vouch(
                &capture.client_longterm_sk.secret(),
                &capture.client_shortterm_pk.public(),
                &capture.server_longterm_pk.public(),
                inside.vouch[..16].try_into().unwrap(),
            );
            assert_eq!(again.0, *inside.vouch);
        }
    }
}
