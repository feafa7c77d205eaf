//! How strangers become known: windows, and the secrets that open them.

use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};

/// A script whose listener is told a secret directly after it was made.
fn with_secret(secret: &str) -> Moonport {
    let lua = format!("{HELLO}\ntarget_input(listener, '{secret}')");
    Moonport::new().script("hello", &lua)
}

#[track_caller]
fn is_let_in(host: &Host, who: Key, secret: &str) {
    host.client(who).secret(secret).connect().expect("welcome");
}

#[test]
fn a_window_lets_in_one_key_that_is_known_from_then_on() {
    let host = Moonport::new().script("hello", HELLO).start();
    let secret = host.window_open("hello", 1);
    assert_eq!(secret.len(), 26, "a generated secret");
    is_let_in(&host, ANNA, &secret);
    assert_eq!(host.keys(), [ANNA.public()]);
    host.client(ANNA).connect().expect("welcome");
    host.client(EVE).secret(&secret).refused();
    host.client(EVE).refused();
    // A lost reply costs nothing: the key that came in may use the spent secret again.
    is_let_in(&host, ANNA, &secret);
    assert_eq!(host.keys(), [ANNA.public()]);
    host.stop();
}

#[test]
fn a_known_key_needs_no_window_and_spends_none() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let secret = host.window_open("hello", 1);
    is_let_in(&host, ANNA, &secret);
    is_let_in(&host, BERT, &secret);
    host.client(EVE).secret(&secret).refused();
}

#[test]
fn i2_a_scripts_secret_lets_in_as_many_as_it_says() {
    let host = with_secret("2:sekrit").start();
    is_let_in(&host, ANNA, "sekrit");
    is_let_in(&host, BERT, "sekrit");
    host.client(EVE).secret("sekrit").refused();
    let keys = host.keys();
    assert_eq!(keys.len(), 2);
    assert!(
        keys.contains(&ANNA.public()) && keys.contains(&BERT.public()),
        "{keys:?}"
    );
    // It is required of everybody, those that are known included.
    host.client(ANNA).refused();
    is_let_in(&host, ANNA, "sekrit");
    host.stop();
}

#[test]
fn a_secret_may_have_colons_and_enrol_nobody() {
    let host = with_secret("0:a:b:c").start();
    host.client(EVE).secret("a:b:c").refused();
    host.key_accept("hello", ANNA);
    is_let_in(&host, ANNA, "a:b:c");
    host.client(ANNA).refused();
}

#[test]
fn i2_a_count_survives_the_death_of_the_host() {
    let host = with_secret("2:sekrit").start();
    is_let_in(&host, ANNA, "sekrit");
    let host = host.kill().start();
    assert_eq!(
        host.keys(),
        [ANNA.public()],
        "i6: what was acknowledged is kept"
    );
    is_let_in(&host, ANNA, "sekrit");
    is_let_in(&host, BERT, "sekrit");
    host.client(EVE).secret("sekrit").refused();
    let host = host.kill().start();
    host.client(EVE).secret("sekrit").refused();
    is_let_in(&host, BERT, "sekrit");
    host.stop();
}

#[test]
fn i2_a_race_for_the_last_slot_has_one_winner() {
    let host = with_secret("1:sekrit").start();
    let racers = [ANNA, BERT, CLEO, EVE];
    // All stay until the last one is through, so that none of them leaves early.
    let mut racers = racers.map(|who| host.client(who).secret("sekrit").connect());
    let winners = racers
        .iter_mut()
        .map(|racer| usize::from(racer.says("welcome")))
        .sum::<usize>();
    assert_eq!((winners, host.keys().len()), (1, 1));
}

#[test]
fn secrets_that_cannot_be_are_a_failure_and_open_nothing() {
    let over_long = format!("1:{}", "x".repeat(32));
    for wrong in ["x:canary", "1:", "canary", "-1:canary", &over_long] {
        let mut host = with_secret(wrong).start();
        let line = host.process.expect("failure");
        assert!(
            !line.contains("canary") && !line.contains("xxx"),
            "i8: {line}"
        );
        host.client(EVE).secret("canary").refused();
        assert!(host.keys().is_empty());
    }
}

#[test]
fn i8_a_secret_is_in_no_line_and_no_argument() {
    let host = with_secret("1:canary").start();
    is_let_in(&host, ANNA, "canary");
    host.client(EVE).secret("canary").refused();
    for process in host.processes() {
        for part in ["cmdline", "environ"] {
            let text = std::fs::read(format!("/proc/{process}/{part}")).unwrap_or_default();
            assert!(!String::from_utf8_lossy(&text).contains("canary"), "{part}");
        }
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("canary"), "{said}");
}
