//! A listener and its clients.

use crate::host::{Moonport, UNREACHABLE};
use crate::key::{ANNA, BERT, EVE};

/// Takes everybody who is proved, greets them, and does what they say.
pub(crate) const HELLO: &str = r#"
local function client(source, status)
    print(status.kind, source)
    if status.kind == "registered" then
        message_target(source, "welcome")
    elseif status.kind == "message" and status.message == "leave" then
        delete_image(source)
    elseif status.kind == "message" and status.message == "close" then
        delete_image(listener)
        message_target(source, "closed")
    elseif status.kind == "message" then
        message_target(source, "you said " .. status.message)
    end
end

listener = net_listen("hello", ADDRESS, PORT, function(source, status)
    print("listener", status.kind, status.last_words or status.message or "")
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

#[test]
fn a_client_is_greeted_and_answered() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("moon");
    anna.expect("you said moon");
    anna.close_input();
    assert_eq!(anna.wait().code, 0);
    host.stop();
}

#[test]
fn i1_a_stranger_gets_nowhere() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.client(EVE).refused();
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
    assert_eq!(host.keys().len(), 1);
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "Anna's: {said}");
}

#[test]
fn a_key_is_accepted_for_one_name_only() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("other", ANNA);
    host.client(ANNA).refused();
}

#[test]
fn an_appl_directory_begins_with_the_function_of_its_name() {
    let appl = format!("function demo(arguments) print('words', #arguments) {HELLO} end");
    let mut host = Moonport::new().appl("demo", &appl).start();
    host.process.expect("words\t0");
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn two_scripts_do_not_know_of_each_other() {
    let second = HELLO
        .replace("PORT,", "PORT + 1,")
        .replace("welcome", "the second");
    let host = Moonport::new()
        .script("hello", HELLO)
        .script("second", &second)
        .start();
    let scripts: Vec<_> = host.status()["listeners"]
        .as_array()
        .unwrap()
        .iter()
        .map(|listener| listener["script"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        scripts.iter().any(|script| script.contains("second")),
        "{scripts:?}"
    );
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
    host.client(ANNA)
        .port(host.place().port + 1)
        .connect()
        .expect("the second");
    host.stop();
}

#[test]
fn a_listener_that_is_deleted_leaves_its_clients() {
    let mut host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("close");
    anna.expect("closed");
    host.await_listeners(0);
    assert_eq!(host.client(BERT).connect().wait().code, UNREACHABLE);
    anna.say("still here");
    anna.expect("you said still here");
}

#[test]
fn a_client_that_is_deleted_is_gone_without_a_word() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("leave");
    assert_eq!(anna.wait().code, 0, "she was told");
    bert.say("moon");
    bert.expect("you said moon");
    assert_eq!(host.sessions(), 1);
    // Bert's may be told at the end; Anna's never.
    let said = host.process.terminate().text();
    assert!(said.matches("terminated").count() <= 1, "{said}");
}

#[test]
fn i5_a_removed_key_is_cut_and_stays_out() {
    let host = Moonport::new().script("hello", HELLO).start();
    for who in [ANNA, BERT] {
        host.key_accept("hello", who);
    }
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");
    host.key_remove(ANNA);
    assert_eq!(host.sessions(), 1);
    anna.wait();
    host.client(ANNA).refused();
    bert.say("moon");
    bert.expect("you said moon");
}
