//! What goes wrong in one place stays there.

use crate::hello::HELLO;
use crate::host::Moonport;
use crate::key::{ANNA, BERT};

/// The greeting script, with something else that a client can ask for.
fn with_wish(wish: &str, what: &str) -> String {
    HELLO
        .replace("\"leave\"", &format!("'{wish}'"))
        .replace("delete_image(source)", what)
}

#[test]
fn i4_an_error_while_deciding_turns_that_client_away_and_nobody_else() {
    let script = r#"
local calls = 0
net_listen("hello", ADDRESS, PORT, function(source, status)
    if status.kind == "segment_request" then
        calls = calls + 1
        if calls == 2 then
            local nothing = nil
            nothing.field = 1
        end
        accept_target(function(source, status)
            if status.kind == "registered" then message_target(source, "welcome") end
            if status.kind == "message" then message_target(source, status.message) end
        end)
    end
end)
"#;
    let mut host = Moonport::new().script("faulty", script).start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.client(BERT).refused();
    host.process.expect("faulty.lua:8");
    host.client(BERT).connect().expect("welcome");
    anna.say("all well");
    anna.expect("all well");
    host.stop();
}

/// Anna and Bert are in; Bert makes the wish; Anna does not notice.
#[track_caller]
fn is_contained(script: &str, wish: &str, told: &str) {
    let mut host = Moonport::new().script("faulty", script).start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");
    bert.say(wish);
    host.process.expect(told);
    bert.wait();
    anna.say("moon");
    anna.expect("you said moon");
    host.client(BERT).connect().expect("welcome");
    host.stop();
}

#[test]
fn i4_an_error_in_a_clients_callback_ends_that_client_only() {
    is_contained(
        &with_wish("fail", "error('on purpose')"),
        "fail",
        "on purpose",
    );
}

#[test]
fn i12_a_callback_without_end_ends_that_client_only() {
    is_contained(
        &with_wish("spin", "while true do end"),
        "spin",
        "ran for more than",
    );
}

#[test]
fn i12_a_callback_that_eats_memory_ends_that_client_only() {
    let eats = "local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(100000) .. i end";
    is_contained(&with_wish("eat", eats), "eat", "not enough memory");
}

#[test]
fn i12_a_script_that_is_killed_comes_back_to_its_clients() {
    let adopts = "
function hello_adopt(vid, kind, title, parent, more)
    print('adopted')
    target_updatehandler(vid, client)
    return true
end
";
    let script = HELLO.replace("local function client", "function client") + adopts;
    let mut host = Moonport::new().script("hello", &script).start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.kill_child("moonport-script");
    host.process.expect("adopted");
    anna.say("moon");
    anna.expect("you said moon");
    host.await_listeners(1);
    host.client(BERT).connect().expect("welcome");
}

#[test]
fn a_client_that_is_not_for_adoption_ends_with_its_script() {
    let adopts = "
function hello_adopt(vid, kind, title, parent, more)
    print('adopted', more)
    target_updatehandler(vid, client)
    return true
end
";
    let blocks = "target_flags(source, TARGET_BLOCKADOPT) message_target(source, 'blocked')";
    let script = with_wish("block", blocks).replace("local function client", "function client");
    let mut host = Moonport::new().script("hello", &(script + adopts)).start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let [mut anna, mut bert] = [ANNA, BERT].map(|who| host.client(who).connect());
    anna.expect("welcome");
    bert.expect("welcome");
    bert.say("block");
    bert.expect("blocked");
    host.kill_child("moonport-script");
    bert.wait();
    host.process.expect("adopted\tfalse");
    anna.say("moon");
    anna.expect("you said moon");
}

#[test]
fn a_frameserver_that_dies_is_told_and_the_others_go_on() {
    let second = HELLO.replace("PORT,", "PORT + 1,");
    let moonport = Moonport::new()
        .script("first", HELLO)
        .script("second", &second);
    let mut host = moonport.start();
    host.key_accept("hello", ANNA);
    let mut first = host.client(ANNA).connect();
    first.expect("welcome");
    let mut second = host.client(ANNA).port(host.place().port + 1).connect();
    second.expect("welcome");
    host.kill_child("moonport-frameserver");
    host.process
        .expect("listener\tterminated\tframeserver died");
    // Which of the two it was is chance.
    let alive = [first, second].map(|mut client| usize::from(client.answers("luna")));
    assert_eq!(alive.iter().sum::<usize>(), 1);
    host.await_listeners(1);
}
