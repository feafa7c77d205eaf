//! What becomes of sessions whose key is not accepted any more, as admins and clients see it.

use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::process::Process;

fn host(accepted: &[Key]) -> Host {
    let host = Moonport::new().script("hello", HELLO).start();
    for who in accepted {
        host.key_accept("hello", *who);
    }
    host
}

fn inside(host: &Host, who: Key) -> Process {
    let mut client = host.client(who).connect();
    client.expect("welcome");
    client
}

/// Waits until a client is cut, though it would have stayed.
#[track_caller]
fn is_cut(mut client: Process) {
    assert!(!client.says("you said"), "it goes on");
    let ended = client.wait();
    assert_eq!(ended.code, 1, "{}", ended.text());
}

/// A change that says what came of it; it has to end so many sessions, all of them hers.
#[track_caller]
fn ends(host: &Host, words: &[&str], who: Key, sessions: usize) {
    let words = words.iter().copied().chain(["--json"]);
    let made: Value = serde_json::from_str(&host.admin(words)).unwrap();
    let ended = made["sessions"].as_array().unwrap();
    assert_eq!(ended.len(), sessions, "{made}");
    let key = who.public().to_string();
    assert!(ended.iter().all(|it| it["key"] == *key), "{made}");
    assert!(ended.iter().all(|it| it["name"] == "hello"), "{made}");
}

/// Each way to end what a key may do.
fn ways(key: &str) -> [Vec<&str>; 5] {
    [
        vec!["key", "revoke", key, "--yes"],
        vec!["key", "disable", key, "--yes"],
        vec!["key", "ban", key, "--yes"],
        vec!["key", "scope", "remove", key, "hello", "--yes"],
        vec!["key", "remove", key, "--yes"],
    ]
}

#[test]
fn i5_whatever_ends_a_key_ends_its_sessions_and_nobody_elses() {
    let host = host(&[ANNA, BERT]);
    let mut bert = inside(&host, BERT);
    let key = ANNA.public().to_string();
    for way in ways(&key) {
        let (one, other) = (inside(&host, ANNA), inside(&host, ANNA));
        ends(&host, &way, ANNA, 2);
        // It is acknowledged once they are gone.
        assert_eq!(host.sessions(), 1, "{way:?}");
        is_cut(one);
        is_cut(other);
        host.client(ANNA).refused();
        bert.say(way[1]);
        bert.expect(&format!("you said {}", way[1]));
        match way[1] {
            "disable" => drop(host.admin(["key", "enable", &key])),
            "ban" => {
                host.admin(["key", "unban", &key]);
                host.key_accept("hello", ANNA);
            }
            _ => host.key_accept("hello", ANNA),
        }
    }
    inside(&host, ANNA);
    host.stop();
}

#[test]
fn i5_a_key_that_expires_ends_its_sessions_and_nobody_elses() {
    let host = host(&[ANNA, BERT]);
    let mut bert = inside(&host, BERT);
    let anna = inside(&host, ANNA);
    let key = ANNA.public().to_string();
    ends(&host, &["key", "expire", &key, "1s"], ANNA, 0);
    is_cut(anna);
    host.client(ANNA).refused();
    bert.say("moon");
    bert.expect("you said moon");
    host.admin(["key", "expire", &key, "never"]);
    inside(&host, ANNA);
}

#[test]
fn a_name_that_is_taken_away_ends_the_sessions_of_that_name_only() {
    let other = HELLO.replace("\"hello\"", "\"other\"");
    let other = other.replace("PORT,", "PORT + 1,");
    let host = Moonport::new()
        .script("hello", HELLO)
        .script("other", &other)
        .start();
    let key = ANNA.public().to_string();
    host.admin(["key", "accept", &key, "--scope", "hello,other"]);
    let here = inside(&host, ANNA);
    let port = host.place().port + 1;
    let mut there = host.client(ANNA).port(port).connect();
    there.expect("welcome");
    let words = ["key", "scope", "remove", &key, "hello", "--yes"];
    ends(&host, &words, ANNA, 1);
    is_cut(here);
    there.say("moon");
    there.expect("you said moon");
    host.admin(["key", "scope", "add", &key, "hello"]);
    inside(&host, ANNA);
}

#[test]
fn a_window_lets_in_neither_disabled_nor_banned_keys() {
    let host = host(&[ANNA, CLEO]);
    let (anna, eve) = (ANNA.public().to_string(), EVE.public().to_string());
    host.admin(["key", "disable", &anna]);
    // Banned before anybody knew her.
    host.admin(["key", "ban", &eve, "--yes"]);
    let secret = host.window_open("hello", 4);
    host.client(ANNA).secret(&secret).refused();
    host.client(EVE).secret(&secret).refused();
    let windows: Value = serde_json::from_str(&host.admin(["window", "list", "--json"])).unwrap();
    assert_eq!(windows[0]["left"], 4, "no slot is spent");
    host.admin(["key", "enable", &anna]);
    inside(&host, ANNA);
    // Lifted, the ban leaves a revoked key, which a window opened later lets in.
    host.admin(["key", "unban", &eve]);
    host.client(EVE).refused();
    let secret = host.window_open("hello", 1);
    host.client(EVE).secret(&secret).connect().expect("welcome");
}

#[test]
fn i5_a_revoked_key_does_not_come_back_by_a_window_that_was_open() {
    let host = host(&[ANNA]);
    let secret = host.window_open("hello", 4);
    host.admin(["key", "revoke", &ANNA.public().to_string(), "--yes"]);
    host.client(ANNA).secret(&secret).refused();
    host.client(BERT)
        .secret(&secret)
        .connect()
        .expect("welcome");
}

#[test]
fn a_rehearsal_says_what_would_end_and_ends_nothing() {
    let host = host(&[ANNA, BERT]);
    let mut anna = inside(&host, ANNA);
    let key = ANNA.public().to_string();
    for mut way in ways(&key) {
        way.retain(|word| *word != "--yes");
        way.push("--dry-run");
        let text = host.admin(way.iter().copied());
        assert!(text.contains("would be"), "{text}");
        assert!(text.contains("would end"), "{text}");
        ends(&host, &way, ANNA, 1);
    }
    anna.say("moon");
    anna.expect("you said moon");
    let text = host.admin(["key", "revoke", &key, "--yes"]);
    assert!(text.contains(&format!("{key} is revoked")), "{text}");
    assert!(text.contains("of hello from 127."), "{text}");
    assert!(text.contains("has ended"), "{text}");
}

#[test]
fn several_keys_are_revoked_together_or_not_at_all() {
    let host = host(&[ANNA, BERT]);
    let (anna, bert) = (inside(&host, ANNA), inside(&host, BERT));
    let [one, other, third] = [ANNA, BERT, CLEO].map(|who| who.public().to_string());
    let failed = host.fails(["key", "revoke", &one, &third, "--yes"]);
    assert!(failed.contains("is not known"), "{failed}");
    assert_eq!(host.sessions(), 2, "nothing has happened");
    host.admin(["key", "label", &other, "bert's laptop"]);
    let text = host.admin(["key", "revoke", &one, "bert's lap", "--yes"]);
    assert_eq!(text.matches("has ended").count(), 2, "{text}");
    is_cut(anna);
    is_cut(bert);
    assert_eq!(host.sessions(), 0);
}

#[test]
fn what_ends_sessions_is_asked_about() {
    let host = host(&[ANNA]);
    let key = ANNA.public().to_string();
    let anna = inside(&host, ANNA);
    for mut way in ways(&key) {
        way.retain(|word| *word != "--yes");
        let failed = host.fails(way.iter().copied());
        assert!(failed.contains("say --yes"), "{failed}");
        assert!(failed.contains("end 1 session"), "{failed}");
    }
    drop(anna);
}
