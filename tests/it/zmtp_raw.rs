//! Clients of ZeroMQ that do what libzmq would not, against the whole program: each is cut, none is
//! told to the script before its proof, and the others are served.

use crate::curve::{COMMAND, DEALER, INNER_COMMAND, LAST, MESSAGE, REFUSED, Raw, frame, greeting};
use crate::host::{Moonport, moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::zmtp::{echo, fleet};

/// What a client does that has not proved its key.
type Attempt = (&'static str, fn(&mut Raw));

const ATTEMPTS: &[Attempt] = &[
    ("a peer of version 1.0 that does not wait", |raw| {
        raw.send(b"\x01\0");
        raw.send(b"\x08\0sneaky\0");
    }),
    ("something else than ZeroMQ", |raw| {
        raw.send(b"GET / HTTP/1.1\r\nHost: moon\r\n\r\n");
    }),
    ("another mechanism", |raw| {
        let mut other = greeting(1);
        other[12..18].copy_from_slice(b"CURVEX");
        raw.send(&other);
    }),
    ("a HELLO that is too short", |raw| {
        raw.greet(0);
        raw.command(b"\x05HELLO");
    }),
    ("a HELLO that is too long", |raw| {
        raw.greet(1);
        let hello = [&raw.hello(1)[..], b"x"].concat();
        raw.command(&hello);
    }),
    ("a HELLO of another name", |raw| {
        raw.greet(1);
        let mut hello = raw.hello(1);
        hello[5] = b'X';
        raw.command(&hello);
    }),
    ("a HELLO of another version", |raw| {
        raw.greet(1);
        let mut hello = raw.hello(1);
        hello[6] = 2;
        raw.command(&hello);
    }),
    ("a HELLO whose box does not open", |raw| {
        raw.greet(1);
        let mut hello = raw.hello(1);
        hello[199] ^= 1;
        raw.command(&hello);
    }),
    ("a frame that would never end", |raw| {
        raw.greet(1);
        raw.send(&[&[6][..], &u64::MAX.to_be_bytes()].concat());
    }),
    ("INITIATE without HELLO", |raw| {
        raw.greet(1);
        raw.command(&[&b"\x08INITIATE"[..], &[0; 300]].concat());
    }),
    ("READY of the mechanism NULL", |raw| {
        raw.greet(1);
        raw.command(&[&b"\x05READY"[..], DEALER].concat());
    }),
    ("an INITIATE that is too short", |raw| {
        raw.begin(1);
        raw.command(b"\x08INITIATE");
    }),
    ("an INITIATE of another name", |raw| {
        raw.begin(1);
        let mut initiate = raw.initiate(1, DEALER);
        initiate[5] = b'X';
        raw.command(&initiate);
    }),
    ("an INITIATE with another cookie", |raw| {
        raw.begin(1);
        let mut initiate = raw.initiate(1, DEALER);
        initiate[30] ^= 1;
        raw.command(&initiate);
    }),
    ("an INITIATE with a changed box", |raw| {
        raw.begin(1);
        let mut initiate = raw.initiate(1, DEALER);
        initiate[150] ^= 1;
        raw.command(&initiate);
    }),
    ("a second HELLO", |raw| {
        raw.begin(1);
        raw.command(&raw.hello(2));
    }),
    ("a message before INITIATE", |raw| {
        raw.begin(1);
        raw.send(&raw.message(1, LAST, b"sneaky"));
    }),
    ("a vouch for another short-term key", |raw| {
        raw.begin(1);
        raw.vouches.0 = BERT.public();
        raw.command(&raw.initiate(1, DEALER));
    }),
    ("a vouch for another server", |raw| {
        raw.begin(1);
        raw.vouches.1 = BERT.public();
        raw.command(&raw.initiate(1, DEALER));
    }),
    ("metadata that end in the middle", |raw| {
        raw.begin(1);
        raw.command(&raw.initiate(1, &DEALER[..20]));
    }),
    ("a socket type that does not go with ours", |raw| {
        raw.begin(1);
        raw.command(&raw.initiate(1, b"\x0bSocket-Type\0\0\0\x04PUSH"));
    }),
    ("a socket type that there is not", |raw| {
        raw.begin(1);
        raw.command(&raw.initiate(1, b"\x0bSocket-Type\0\0\0\x04MOON"));
    }),
];

#[test]
fn i1_no_broken_handshake_is_told_to_the_script_or_answered() {
    let host = fleet("");
    for (what, attempt) in ATTEMPTS {
        let mut raw = Raw::connect(&host, ANNA);
        attempt(&mut raw);
        let rest = raw.rest();
        // Who has not got as far as our greeting reads that.
        let rest = rest.strip_prefix(&first(&rest)[..]).unwrap();
        assert_eq!(rest, b"", "{what}");
    }
    let mut anna = Raw::connect(&host, ANNA);
    anna.join();
    anna.echo(2, b"moon");
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "Anna's: {said}");
    assert!(!said.contains("sneaky"), "{said}");
}

#[test]
fn a_handshake_that_does_not_hold_is_refused_once() {
    let host = fleet("");
    for (_, attempt) in ATTEMPTS {
        let mut raw = Raw::connect(&host, ANNA);
        attempt(&mut raw);
        raw.rest();
    }
    // With the end of the host, all that it has noted is written.
    let stopped = host.stop();
    let shown = moonport(
        &stopped.place().state(),
        ["audit", "show", "--kind", "refused", "--limit", "1000"],
    )
    .output()
    .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.lines().count(), ATTEMPTS.len(), "{shown}");
}

/// The greeting, if that is what bytes begin with.
fn first(bytes: &[u8]) -> Vec<u8> {
    match bytes.first() {
        Some(0xff) => bytes.iter().take(64).copied().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn i1_a_handshake_that_was_overheard_is_of_no_use() {
    let mut host = fleet("");
    let mut anna = Raw::connect(&host, ANNA);
    anna.begin(1);
    let initiate = anna.initiate(1, DEALER);
    let hello = anna.hello(0);
    anna.command(&initiate);
    anna.ready();
    host.process.expect("segment_request");
    let mut again = Raw::connect(&host, EVE);
    again.greet(1);
    again.command(&hello);
    again.command(&initiate);
    assert!(!again.rest().ends_with(REFUSED), "as if it were hers");
    anna.echo(2, b"moon");
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "{said}");
}

#[test]
fn the_least_that_a_client_may_say_is_enough() {
    let host = fleet("");
    // As old clients do, with numbers from 0 and nothing about themselves.
    let mut raw = Raw::connect(&host, ANNA);
    raw.begin(0);
    let initiate = raw.initiate(1, b"");
    assert_eq!(initiate.len(), 257);
    raw.command(&initiate);
    let told = raw.ready();
    assert!(told.starts_with(b"\x0bSocket-Type\0\0\0\x06ROUTER"));
    raw.echo(2, b"moon");
    // Numbers may be left out, but not come again.
    raw.echo(1 << 63, b"moon");
}

#[test]
fn i9_a_handshake_may_come_byte_by_byte() {
    let host = fleet("");
    let mut raw = Raw::connect(&host, ANNA);
    for byte in greeting(1) {
        raw.send(&[byte]);
    }
    raw.greeted();
    for byte in frame(COMMAND, &raw.hello(1)) {
        raw.send(&[byte]);
    }
    raw.welcome();
    for byte in frame(COMMAND, &raw.initiate(2, DEALER)) {
        raw.send(&[byte]);
    }
    raw.ready();
    for byte in raw.message(3, LAST, b"moon") {
        raw.send(&[byte]);
    }
    assert_eq!(raw.receive(), (LAST, b"moon".to_vec()));
}

#[test]
fn i3_whoever_is_refused_hears_the_same_400_and_the_end() {
    const BANNED: Key = Key("banned");
    const REVOKED: Key = Key("revoked");
    const DISABLED: Key = Key("disabled");
    let rejects = echo("").replace("accept_target(client)", "");
    let host = Moonport::new().script("fleet", &rejects).start();
    host.key_accept("other", BERT);
    for (verb, who) in [("ban", BANNED), ("revoke", REVOKED), ("disable", DISABLED)] {
        host.key_accept("fleet", who);
        let key = who.public().to_string();
        let sure = (verb != "disable").then_some("--yes");
        host.admin(["key", verb, &key].into_iter().chain(sure));
    }
    host.key_accept("fleet", CLEO);
    for who in [EVE, BERT, BANNED, REVOKED, DISABLED, CLEO] {
        let mut raw = Raw::connect(&host, who);
        raw.begin(1);
        raw.command(&raw.initiate(1, DEALER));
        assert_eq!(raw.rest(), REFUSED, "{}", who.0);
    }
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "Cleo's: {said}");
}

/// What a client does that has been let in.
const OFFENCES: &[Attempt] = &[
    ("a number that came before", |raw| {
        raw.echo(5, b"moon");
        raw.send(&raw.message(5, LAST, b"sneaky"));
    }),
    ("the number of INITIATE", |raw| {
        raw.send(&raw.message(1, LAST, b"sneaky"));
    }),
    ("a box that does not open", |raw| {
        let mut message = raw.message(2, LAST, b"sneaky");
        *message.last_mut().unwrap() ^= 1;
        raw.send(&message);
    }),
    ("a message that is too short", |raw| {
        raw.send(&frame(MESSAGE, b"\x07MESSAGE\0\0\0\0\0\0\0\x02"));
    }),
    ("a message in clear", |raw| {
        raw.send(&frame(MESSAGE, b"sneaky"));
    }),
    ("ERROR", |raw| raw.command(b"\x05ERROR\x03400")),
    ("HELLO again", |raw| raw.command(&raw.hello(9))),
    ("a frame that would never end", |raw| {
        raw.send(&[&[2][..], &u64::MAX.to_be_bytes()].concat());
    }),
];

#[test]
fn a_client_that_breaks_the_protocol_is_cut_and_no_other() {
    let mut host = fleet("");
    host.key_accept("fleet", BERT);
    let mut bert = Raw::connect(&host, BERT);
    bert.join();
    for (number, (what, offend)) in (2..).zip(OFFENCES) {
        let mut raw = Raw::connect(&host, ANNA);
        raw.join();
        offend(&mut raw);
        assert_eq!(raw.rest(), b"", "{what}");
        host.process.expect("terminated");
        bert.echo(number, b"moon");
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("sneaky"), "{said}");
}

#[test]
fn what_is_not_known_is_left_out() {
    let host = fleet("");
    let mut raw = Raw::connect(&host, ANNA);
    raw.join();
    raw.send(&raw.message(2, INNER_COMMAND, b"\x04MOONfull"));
    raw.send(&raw.message(3, INNER_COMMAND, b""));
    raw.send(&raw.message(4, INNER_COMMAND, b"\xffPING"));
    raw.echo(5, b"moon");
}

#[test]
fn a_ping_is_answered_with_its_context() {
    let host = fleet("");
    let mut raw = Raw::connect(&host, ANNA);
    raw.join();
    for (number, context) in (2..).zip([&b""[..], b"moon", b"sixteen bytes..."]) {
        let ping = [b"\x04PING\0\0", context].concat();
        raw.send(&raw.message(number, INNER_COMMAND, &ping));
        let pong = [b"\x04PONG", context].concat();
        assert_eq!(raw.receive(), (INNER_COMMAND, pong));
    }
}

#[test]
fn a_client_that_does_not_answer_pings_is_given_up() {
    let mut host = fleet("heartbeat_ms = 50, heartbeat_timeout_ms = 1000, heartbeat_ttl_ms = 3000");
    let mut raw = Raw::connect(&host, ANNA);
    raw.join();
    for number in 2..5 {
        let ping = (INNER_COMMAND, b"\x04PING\0\x1e".to_vec());
        assert_eq!(raw.receive(), ping, "a ttl of three seconds");
        raw.send(&raw.message(number, INNER_COMMAND, b"\x04PONG"));
    }
    raw.rest();
    host.process.expect("terminated");
}

/// As many connections may be half open without any of them having to go.
const AT_ONCE: usize = 40;

#[test]
fn i7_half_a_handshake_is_ended_by_its_deadline_and_others_are_served() {
    let moonport = Moonport::new().script("fleet", &echo(""));
    let host = moonport.option("--handshake-timeout=1s").start();
    host.key_accept("fleet", ANNA);
    let mut anna = Raw::connect(&host, ANNA);
    anna.join();
    let greetings = (0..=64).map(|cut| (Step::Greeting, cut));
    let hellos = (1..202).step_by(5).map(|cut| (Step::Hello, cut));
    let initiates = (0..300).step_by(7).map(|cut| (Step::Initiate, cut));
    let all: Vec<_> = greetings.chain(hellos).chain(initiates).collect();
    for (number, some) in (2..).step_by(2).zip(all.chunks(AT_ONCE)) {
        let halves: Vec<Raw> = some
            .iter()
            .map(|&(step, cut)| half(&host, step, cut))
            .collect();
        anna.echo(number, b"moon");
        let mut fresh = Raw::connect(&host, ANNA);
        fresh.join();
        fresh.echo(2, b"moon");
        for half in halves {
            assert!(!half.rest().ends_with(REFUSED));
        }
        anna.echo(number + 1, b"moon");
    }
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Greeting,
    Hello,
    Initiate,
}

/// A connection that has said this much of a step, and says no more.
fn half(host: &crate::host::Host, step: Step, cut: usize) -> Raw {
    let mut raw = Raw::connect(host, ANNA);
    let whole = match step {
        Step::Greeting => greeting(1).to_vec(),
        Step::Hello => {
            raw.greet(1);
            frame(COMMAND, &raw.hello(1))
        }
        Step::Initiate => {
            raw.begin(1);
            frame(COMMAND, &raw.initiate(2, DEALER))
        }
    };
    raw.send(&whole[..cut]);
    raw
}
