//! Whether what must take the same time does: `cargo bench --bench timing`.
//!
//! In the manner of dudect: two classes of inputs, drawn at random and interleaved; how long each
//! takes; Welch's t-test of the two, over all samples and over the quickest parts of them, since
//! interruptions make long ones. |t| above 4.5 is a difference that is there. What is not above it
//! has not been seen, which is all that can be said. `docs/fuzzing.md` says what to make of it.
//!
//! `TIMING_SAMPLES` is how many samples each comparison takes, `TIMING_SEED` draws their classes.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark that meets what it does not expect ends on the spot"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::{Name, PublicKey, Secret};
use keystore::{
    Actor, Change, Keystore, Memory, Now, OpenWindow, Origin, Scope, WindowEnd, WindowId,
};
use moonport::host;
use moonport::wire::a12::control::Control;
use moonport::wire::a12::keyroom::Claim;
use moonport::wire::a12::{
    Initiator, InitiatorConfig, Listener, ListenerConfig, Ratchet, Role, Rounds, SecretId,
    StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Input, Protocol, Whole};
use rand_core::{Rng, SeedableRng};

fn main() {
    let number = |name, usual| match std::env::var(name) {
        Ok(text) => text.parse().unwrap(),
        Err(_) => usual,
    };
    let mut bench = Bench {
        samples: number("TIMING_SAMPLES", 100_000) as usize,
        random: ChaCha8Rng::seed_from_u64(number("TIMING_SEED", 1)),
    };
    println!(
        "{} samples each; a difference is there from |t| = {THRESHOLD} on\n",
        bench.samples
    );
    println!("{:<58} {:>8} {:>10} {:>10}", "", "|t|", "median", "median");
    first_packet(&mut bench);
    proof(&mut bench);
    keys_and_secrets(&mut bench);
    refusals(&mut bench);
}

/// The first packet against the candidates.
fn first_packet(bench: &mut Bench) {
    println!("first packet");
    let now = Instant::now();
    let secret = |number: u8| StageKeys::initial(&Secret::parse(&[b'a' + number; 20]).unwrap());
    let listening = |candidates: u8| {
        Arc::new(ListenerConfig {
            role: Role::Sink,
            candidates: (0..candidates)
                .map(|number| (SecretId(number.into()), secret(number)))
                .collect(),
            handshake: Duration::from_secs(10),
            ratchet: Ratchet {
                at_once: true,
                every_bytes: 0,
            },
        })
    };
    let takes = |config: &Arc<ListenerConfig>, packet: &[u8]| {
        let random = ChaCha8Rng::from_seed([0; 32]);
        let mut listener = Listener::new(Arc::clone(config), now, random);
        listener.handle(now, Input::Bytes(packet)).is_ok()
    };
    let right = |number| {
        let config = InitiatorConfig {
            role: Role::Source,
            initial: secret(number),
            public: SecretKey::from_bytes([7; 32]).public().unwrap(),
            rounds: Rounds::One,
            handshake: Duration::from_secs(10),
        };
        let mut packet = Vec::new();
        Initiator::new(config, now, ChaCha8Rng::from_seed([1; 32])).poll(&mut packet);
        packet
    };
    let (one, eight) = (listening(1), listening(8));
    let wrong_at = |at: usize| {
        let mut packet = right(0);
        packet[at] ^= 0x80;
        packet
    };
    assert!(takes(&eight, &right(7)) && !takes(&eight, &wrong_at(0)));
    let mut compare = |what, config: &Arc<ListenerConfig>, packets: [Vec<u8>; 2]| {
        bench.compare(what, 4, &packets, |packet| takes(config, packet));
    };
    let noise = vec![0x5a; 153];
    compare(
        "the same wrong tag twice (control)",
        &one,
        [wrong_at(3), wrong_at(3)],
    );
    compare(
        "tag wrong in byte 0, in byte 7",
        &one,
        [wrong_at(0), wrong_at(7)],
    );
    compare(
        "the same, eight candidates",
        &eight,
        [wrong_at(0), wrong_at(7)],
    );
    compare(
        "tag wrong, body wrong",
        &eight,
        [wrong_at(0), wrong_at(152)],
    );
    compare("tag wrong, noise", &eight, [wrong_at(0), noise]);
    compare(
        "first of eight fits, last fits",
        &eight,
        [right(0), right(7)],
    );
    compare(
        "one fits, none does (visible anyway)",
        &eight,
        [right(0), wrong_at(0)],
    );
    let packet = wrong_at(0);
    bench.compare(
        "one candidate, eight (not hidden)",
        4,
        &[one, eight],
        |config| takes(config, &packet),
    );
}

/// A packet that is to prove a key.
fn proof(bench: &mut Bench) {
    println!("proof");
    let (host, client) = (
        SecretKey::from_bytes([1; 32]),
        SecretKey::from_bytes([2; 32]),
    );
    let hello = hello(&client.public().unwrap());
    let claim = Claim::parse(&hello).unwrap();
    let pending = claim.clone().challenge(&host, Rounds::One, [3; 8]);
    let good = good_proof(&host, &client);
    assert!(pending.prove(&good).is_ok());
    let wrong_at = |at: usize| {
        let mut packet = good.clone();
        packet[at] ^= 0x80;
        packet
    };
    let mut compare = |what, packets: [Vec<u8>; 2]| {
        bench.compare(what, 4, &packets, |packet| pending.prove(packet).is_ok());
    };
    compare(
        "the same wrong tag twice (control)",
        [wrong_at(3), wrong_at(3)],
    );
    compare(
        "tag wrong in byte 0, in byte 15",
        [wrong_at(0), wrong_at(15)],
    );
    compare("tag wrong, body wrong", [wrong_at(0), wrong_at(152)]);
    compare("tag wrong, number wrong", [wrong_at(0), wrong_at(16)]);
    compare("tag wrong, type wrong", [wrong_at(0), wrong_at(24)]);
    compare(
        "right, tag wrong (visible anyway)",
        [good.clone(), wrong_at(0)],
    );
}

/// Comparisons by themselves.
fn keys_and_secrets(bench: &mut Bench) {
    println!("equality");
    let key = |at: usize| {
        let mut bytes = [7; 32];
        bytes[at] ^= 1;
        PublicKey::parse(&bytes).unwrap()
    };
    let own = PublicKey::parse(&[7; 32]).unwrap();
    let keys = |a, b| [a, b];
    bench.compare("key: byte 0, byte 31", 64, &keys(key(0), key(31)), |key| {
        *key == own
    });
    bench.compare("key: the same, byte 0", 64, &keys(own, key(0)), |key| {
        *key == own
    });
    let secret = |text: &str| Secret::parse(text.as_bytes()).unwrap();
    let own = secret("abcdefghijklmnopqrstuvwxyz");
    let mut compare = |what, texts: [&str; 2]| {
        let secrets = texts.map(secret);
        bench.compare(what, 64, &secrets, |secret| {
            keystore::same_secret(secret, &own)
        });
    };
    let first = "Abcdefghijklmnopqrstuvwxyz";
    compare(
        "secret: first letter, last",
        [first, "abcdefghijklmnopqrstuvwxyZ"],
    );
    compare(
        "secret: the same, first letter",
        ["abcdefghijklmnopqrstuvwxyz", first],
    );
    compare(
        "secret: one letter long, 31",
        ["a", "abcdefghijklmnopqrstuvwxyz01234"],
    );
}

/// What the host decides about a claim, without threads and sockets.
fn refusals(bench: &mut Bench) {
    println!("refusals, against an unknown key");
    let now = Now {
        wall_ms: 1_750_000_000_000,
        boot_ms: 1_000_000,
        boot: [1; 16],
    };
    let name = Name::parse("hello").unwrap();
    let store = store(now, &name);
    let key = |byte| PublicKey::parse(&[byte; 32]).unwrap();
    let refused = |key: &PublicKey, window: u64| {
        let window = (window > 0).then_some(WindowId(window));
        host::refusal(&store, now, &name, key, window).unwrap()
    };
    let unknown = (key(UNKNOWN), 0);
    let classes = [
        ("the same unknown one (control)", (key(UNKNOWN), 0)),
        ("another unknown one", (key(UNKNOWN + 1), 0)),
        ("accepted for other names", (key(ELSEWHERE), 0)),
        ("disabled", (key(DISABLED), 0)),
        ("revoked", (key(REVOKED), 0)),
        ("banned", (key(BANNED), 0)),
        ("expired", (key(EXPIRED), 0)),
        ("unknown, the window is shut", (key(UNKNOWN), SHUT)),
        ("unknown, the window is spent", (key(UNKNOWN), SPENT)),
        ("banned, the window is open", (key(BANNED), OPEN)),
    ];
    for (what, class) in classes {
        assert!(refused(&class.0, class.1).is_some(), "{what}");
        bench.compare(what, 8, &[unknown, class], |(key, window)| {
            refused(key, *window)
        });
    }
    let accepted = (key(ACCEPTED), 0);
    assert_eq!(refused(&accepted.0, accepted.1), None);
    let what = "accepted (visible anyway)";
    bench.compare(what, 8, &[unknown, accepted], |(key, window)| {
        refused(key, *window)
    });
}

/// A thousand keys and a few windows.
fn store(now: Now, name: &Name) -> Memory {
    let mut store = Memory::new();
    let mut apply = |changes: &[Change]| store.apply(now, &Actor::Host, changes).unwrap();
    let accept = |key, name: &Name| Change::Accept {
        key,
        scope: Scope::Name(name.clone()),
        label: Some("somebody".to_owned()),
        imported: false,
    };
    let key = |byte| PublicKey::parse(&[byte; 32]).unwrap();
    let many = (0..1000_u64).map(|number| {
        let mut bytes = *blake3::hash(&number.to_le_bytes()).as_bytes();
        bytes[31] &= 0x7f;
        accept(PublicKey::parse(&bytes).unwrap(), name)
    });
    apply(&many.collect::<Vec<_>>());
    let other = Name::parse("other").unwrap();
    apply(&[accept(key(ELSEWHERE), &other)]);
    for byte in [ACCEPTED, DISABLED, REVOKED, BANNED, EXPIRED] {
        apply(&[accept(key(byte), name)]);
    }
    apply(&[
        Change::Disable { key: key(DISABLED) },
        Change::Revoke { key: key(REVOKED) },
        Change::Ban { key: key(BANNED) },
        Change::Expire {
            key: key(EXPIRED),
            at_ms: Some(now.wall_ms - 1),
        },
    ]);
    for id in [SHUT, SPENT, OPEN] {
        apply(&[Change::OpenWindow(OpenWindow {
            id: WindowId(id),
            name: name.clone(),
            secret: Secret::parse(format!("window {id}").as_bytes()).unwrap(),
            human: false,
            count: 1,
            lasts_ms: 600_000,
            origin: Origin::Script,
            label: None,
        })]);
    }
    apply(&[
        Change::CloseWindow {
            window: WindowId(SHUT),
            why: WindowEnd::Closed,
        },
        Change::Enrol {
            window: WindowId(SPENT),
            key: key(ENROLLED),
        },
    ]);
    store
}

const ACCEPTED: u8 = 0x20;
const ELSEWHERE: u8 = 0x21;
const DISABLED: u8 = 0x22;
const REVOKED: u8 = 0x23;
const BANNED: u8 = 0x24;
const EXPIRED: u8 = 0x25;
const ENROLLED: u8 = 0x26;
const UNKNOWN: u8 = 0x27;

const SHUT: u64 = 1;
const SPENT: u64 = 2;
const OPEN: u64 = 3;

/// A HELLO that claims a key.
fn hello(key: &PublicKey) -> Whole<128> {
    use moonport::wire::a12::control::{Header, Hello, Mode};
    let hello = Control::Hello(Hello {
        mode: Mode::Static,
        key: *key.as_bytes(),
        role: 1,
        version: Hello::VERSION,
    });
    Whole(hello.encode(&Header::default()))
}

/// The packet behind the handshake, as an initiator seals it.
fn good_proof(host: &SecretKey, client: &SecretKey) -> Vec<u8> {
    use moonport::wire::Output;
    use moonport::wire::a12::{Answer, Ask, Command};
    let now = Instant::now();
    let public = client.public().unwrap();
    let config = InitiatorConfig {
        role: Role::Source,
        initial: StageKeys::public(),
        public,
        rounds: Rounds::One,
        handshake: Duration::from_secs(10),
    };
    let mut initiator = Initiator::new(config, now, ChaCha8Rng::from_seed([1; 32]));
    let listening = ListenerConfig {
        role: Role::Sink,
        candidates: vec![(SecretId(0), StageKeys::public())],
        handshake: Duration::from_secs(10),
        ratchet: Ratchet {
            at_once: true,
            every_bytes: 0,
        },
    };
    let random = ChaCha8Rng::from_seed([2; 32]);
    let mut listener = Listener::new(Arc::new(listening), now, random);
    let mut bytes = Vec::new();
    initiator.poll(&mut bytes);
    listener.handle(now, Input::Bytes(&bytes)).unwrap();
    bytes.clear();
    let challenge = Answer::Challenge {
        host: host.public().unwrap(),
        nonce: [3; 8],
    };
    listener.poll(&mut bytes);
    listener.handle(now, Input::Answer(challenge)).unwrap();
    listener.poll(&mut bytes);
    initiator.handle(now, Input::Bytes(&bytes)).unwrap();
    let Output::Ask(Ask::Server(hello)) = initiator.poll(&mut bytes) else {
        unreachable!("it asks about the server's key");
    };
    let keys = Claim::parse(&hello).unwrap().session(client);
    initiator
        .handle(now, Input::Answer(Answer::Session(keys)))
        .unwrap();
    let goodbye = Command::Shutdown {
        text: String::new(),
    };
    initiator.handle(now, Input::Command(goodbye)).unwrap();
    bytes.clear();
    initiator.poll(&mut bytes);
    bytes
}

struct Bench {
    samples: usize,
    random: ChaCha8Rng,
}

impl Bench {
    /// Times a function on inputs of two classes; each sample is of so many calls.
    fn compare<I: Clone, O>(
        &mut self,
        what: &str,
        calls: u32,
        inputs: &[I; 2],
        f: impl Fn(&I) -> O,
    ) {
        let classes: Vec<_> = (0..self.samples)
            .map(|_| (self.random.next_u32() & 1) as usize)
            .collect();
        for class in classes.iter().take(self.samples / 20) {
            black_box(f(black_box(&inputs[*class])));
        }
        let mut times = Vec::with_capacity(self.samples);
        // One place for both: where something lies has an influence, too.
        let mut input = inputs[0].clone();
        for class in classes {
            input.clone_from(&inputs[black_box(class)]);
            let begin = Instant::now();
            for _ in 0..calls {
                black_box(f(black_box(&input)));
            }
            times.push((class, begin.elapsed().as_nanos() as f64));
        }
        let mut sorted: Vec<_> = times.iter().map(|(_, time)| *time).collect();
        sorted.sort_by(f64::total_cmp);
        let t = CROPS.map(|part| {
            let limit = sorted[((sorted.len() - 1) as f64 * part) as usize];
            welch(times.iter().filter(|(_, time)| *time <= limit))
        });
        let largest = t.into_iter().fold(0.0, f64::max);
        let [a, b] = [0, 1].map(|class| median(&times, class) / f64::from(calls));
        let mark = if largest > THRESHOLD { "  <" } else { "" };
        println!("  {what:<56} {largest:>8.1} {a:>7.1} ns {b:>7.1} ns{mark}");
    }
}

/// |t| of two samples of unequal variance.
fn welch<'a>(times: impl Iterator<Item = &'a (usize, f64)>) -> f64 {
    // Welford's: number, mean, sum of squared distances.
    let mut sums = [(0.0, 0.0, 0.0); 2];
    for (class, time) in times {
        let (number, mean, squares) = &mut sums[*class];
        *number += 1.0;
        let distance = time - *mean;
        *mean += distance / *number;
        *squares += distance * (time - *mean);
    }
    let [(n, mean, squares), (m, other, more)] = sums;
    let error = squares / (n - 1.0) / n + more / (m - 1.0) / m;
    match error > 0.0 {
        true => (mean - other).abs() / error.sqrt(),
        false => 0.0,
    }
}

fn median(times: &[(usize, f64)], class: usize) -> f64 {
    let own = times.iter().filter(|(own, _)| *own == class);
    let mut own: Vec<_> = own.map(|(_, time)| *time).collect();
    own.sort_by(f64::total_cmp);
    own[own.len() / 2]
}

/// From here on a difference is there, as dudect has it.
const THRESHOLD: f64 = 4.5;

/// Which part of all samples is looked at, the quickest first.
const CROPS: [f64; 8] = [1.0, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5];
