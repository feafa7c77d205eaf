//! Invitations: one line that lets a new machine in.

use std::process::Stdio;

use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, REFUSED, moonport};
use crate::process::Process;
use crate::users::on_a_terminal;

fn host() -> Host {
    Moonport::new().script("hello", HELLO).start()
}

fn opened(host: &Host, words: &[&str]) -> Value {
    let all = ["window", "open", "hello", "--json"];
    host.json(all.into_iter().chain(words.iter().copied()))
}

/// A new machine, with the words after `connect`.
fn machine<'a>(host: &Host, name: &str, words: impl IntoIterator<Item = &'a str>) -> Process {
    let state = host.place().folder().join(name);
    Process::start(&mut moonport(&state, ["connect"].into_iter().chain(words)))
}

#[test]
fn one_paste_lets_a_new_machine_in_and_its_tag_lets_it_in_again() {
    let host = host();
    let window = opened(&host, &["--label", "laptop"]);
    let invite = window["invite"].as_str().unwrap();
    let at = host.place().at().replace(':', "%3A");
    assert!(
        invite.starts_with(&format!("moonport://enrol?host={at}&key=")),
        "{invite}"
    );

    // What follows the invitation is said.
    let mut new = machine(&host, "new", ["--invite-file", "-"]);
    new.say(invite);
    new.expect("welcome");
    new.say("moon");
    new.expect("you said moon");
    new.close_input();
    assert_eq!(new.wait().code, 0);
    let mut again = machine(&host, "new", ["@hello"]);
    again.expect("welcome");

    let shown = host.json(["window", "show", "laptop", "--json"]);
    assert_eq!(
        (&shown["state"], &shown["label"]),
        (&"spent".into(), &"laptop".into())
    );
    let keys = host.json(["key", "list", "--json"]);
    assert_eq!(shown["keys"][0]["key"], keys[0]["key"]);
    assert_eq!(shown["keys"][0]["at_ms"], keys[0]["added_ms"]);
    let key = host.json(["key", "show", keys[0]["key"].as_str().unwrap(), "--json"]);
    assert_eq!(key["window"], shown["window"]);
    assert_eq!(key["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn an_invitation_can_be_pasted_on_a_terminal() {
    let host = host();
    let window = opened(&host, &[]);
    let invite = window["invite"].as_str().unwrap();
    let state = host.place().folder().join("new");
    let Some(mut terminal) = on_a_terminal(&moonport(&state, ["connect", "--ask-invite"])) else {
        return;
    };
    terminal.say(invite);
    terminal.expect("welcome");
}

#[test]
fn an_invitation_in_a_file_is_good_once() {
    let host = host();
    let window = opened(&host, &[]);
    let invite = window["invite"].as_str().unwrap();
    let file = host.place().file("invite", &format!("{invite}\n"));
    machine(&host, "one", ["--invite-file", &file, "--tag", "there"]).expect("welcome");
    machine(&host, "one", ["@there"]).expect("welcome");
    let ended = machine(&host, "two", ["--invite-file", &file]).wait();
    assert_eq!(ended.code, REFUSED, "{}", ended.text());
}

#[test]
fn an_invitation_takes_no_other_servers_place() {
    let host = host();
    let window = opened(&host, &["--count", "2"]);
    let invite = window["invite"].as_str().unwrap().to_owned();
    let file = host.place().file("invite", &invite);
    machine(&host, "new", ["--invite-file", &file]).expect("welcome");
    let other = self::host();
    let window = opened(&other, &[]);
    let invite = window["invite"].as_str().unwrap();
    let file = host.place().file("other", invite);
    let ended = machine(&host, "new", ["--invite-file", &file]).wait();
    assert_eq!(ended.code, REFUSED);
    assert!(ended.text().contains("@hello"), "{}", ended.text());
    machine(&host, "new", ["--invite-file", &file, "--tag", "else"]).expect("welcome");
}

#[test]
fn the_line_that_is_printed_can_be_typed_as_it_is() {
    let host = host();
    let window = opened(&host, &[]);
    let line = window["connect"].as_str().unwrap();
    let words = line.strip_prefix("moonport connect ").unwrap();
    let words = words.replace("--ask-secret", "--secret-file secret");
    let secret = window["secret"].as_str().unwrap();
    assert!(!line.contains(secret), "i8: it would be seen");
    let secret = host.place().file("typed", secret);
    let words = words.replace("--secret-file secret", &format!("--secret-file {secret}"));
    machine(&host, "new", words.split(' ')).expect("welcome");
    machine(&host, "new", ["@hello"]).expect("welcome");
}

#[test]
fn where_a_host_is_reached_is_never_made_up() {
    let script = HELLO.replace("ADDRESS", "\"\"");
    let host = Moonport::new().script("hello", &script).start();
    let window = opened(&host, &[]);
    let line = window["connect"].as_str().unwrap();
    assert!(
        line.contains(&format!("HOST:{}", host.place().port)),
        "{line}"
    );
    assert!(window.get("invite").is_none(), "{window}");
    let failed = host.fails(["window", "open", "hello", "--qr"]);
    assert!(failed.contains("--host"), "{failed}");
    let window = opened(&host, &["--host", "example.org:7000"]);
    let line = window["connect"].as_str().unwrap();
    assert!(line.contains(" example.org:7000 "), "{line}");
    let invite = window["invite"].as_str().unwrap();
    assert!(invite.contains("host=example.org%3A7000&"), "{invite}");
}

#[test]
fn a_picture_of_the_line_and_one_of_the_invitation_are_shown() {
    let host = host();
    let text = host.admin(["window", "open", "hello", "--qr"]);
    let drawn = text.lines().filter(|line| line.contains('█')).count();
    assert!(drawn > 40, "{text}");
}

#[test]
fn i8_a_secret_that_somebody_brought_is_not_repeated() {
    let host = host();
    let secret = host.place().file("secret", "canary");
    for json in [&["--json"][..], &[]] {
        let words = [
            "window",
            "open",
            "hello",
            "--secret-file",
            &secret,
            "--count",
            "2",
        ];
        let place = words.into_iter().chain(json.iter().copied());
        let mut command = moonport(&host.place().state(), place);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("--ask-secret"), "{said}");
        assert!(!said.contains("canary"), "{said}");
        host.admin(["window", "close", "hello", "--yes"]);
    }
}

#[test]
fn a_window_is_watched_until_it_ends() {
    let host = host();
    let window = opened(&host, &["--label", "party"]);
    let mut watch = Process::start(&mut moonport(
        &host.place().state(),
        ["window", "show", "party", "--watch"],
    ));
    watch.expect("is open");
    let file = host
        .place()
        .file("invite", window["invite"].as_str().unwrap());
    machine(&host, "new", ["--invite-file", &file]).expect("welcome");
    watch.expect("let in: ");
    assert_eq!(watch.wait().code, 0);
    let open = host.json(["window", "list", "--json"]);
    assert_eq!(open.as_array().unwrap().len(), 0);
    let all = host.json(["window", "list", "--all", "--json"]);
    assert_eq!(all[0]["state"], "spent");
}
