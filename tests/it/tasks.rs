//! Scripts of tasks, with real clients.

use crate::examples::example;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, EVE};

/// Repeats what is said; a task for the listener, and one for each client.
const ECHO: &str = r#"
function serve(client)
    client:send("welcome")
    for status in client:events() do
        if status.text == "fail" then
            error("as asked")
        elseif status.text == "twice" then
            client:send("of what?")
            local answer = client:expect("message", 60000)
            client:send(answer.text .. answer.text)
        elseif status.text == "soon" then
            local _, why = client:expect("message", 1)
            client:send("it was a " .. why)
        elseif status.text == "leave" then
            client:close()
        elseif status.text then
            client:send("you said " .. status.text)
        end
    end
    print("served")
end

moonport.task(function()
    local door = moonport.segment(net_listen("echo", ADDRESS, PORT))
    while true do
        moonport.task(serve, (door:accept()))
    end
end)
"#;

fn echo() -> Host {
    let host = Moonport::new().script("echo", ECHO).start();
    host.key_accept("echo", ANNA);
    host.key_accept("echo", BERT);
    host
}

#[test]
fn an_echo_server_is_a_loop() {
    let mut host = echo();
    host.client(EVE).refused();
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");
    for word in ["moon", "sun"] {
        anna.say(word);
        bert.say(&format!("{word} of Bert"));
        anna.expect(&format!("you said {word}"));
        bert.expect(&format!("you said {word} of Bert"));
    }
    anna.say("leave");
    host.process.expect("served");
    assert_eq!(anna.wait().code, 0, "she was told");
    bert.close_input();
    host.process.expect("served");
    host.stop();
}

#[test]
fn a_long_text_arrives_and_returns_as_one() {
    let host = echo();
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let long = "€µ moon ".repeat(700);
    let long = long.trim();
    anna.say(long);
    anna.expect(&format!("you said {long}"));
}

#[test]
fn a_task_waits_for_an_answer_and_not_for_ever() {
    let host = echo();
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("twice");
    anna.expect("of what?");
    anna.say("moon");
    anna.expect("moonmoon");
    anna.say("soon");
    anna.expect("it was a timeout");
}

#[test]
fn i4_an_error_in_a_task_ends_that_client_only() {
    let mut host = echo();
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");
    anna.say("fail");
    host.process.expect("as asked");
    anna.wait();
    bert.say("moon");
    bert.expect("you said moon");
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn i4_an_error_in_a_task_before_it_waits_lets_nobody_in() {
    let script = ECHO.replace("\"welcome\"", "1 .. nil");
    let mut host = Moonport::new().script("echo", &script).start();
    host.key_accept("echo", ANNA);
    let ended = host.client(ANNA).connect().wait();
    assert!(!ended.text().contains("welcome"), "{}", ended.text());
    host.process.expect("this client is turned away");
    assert_eq!(host.sessions(), 0);
}

#[test]
fn a_job_is_given_to_one_worker_and_to_another_one_when_that_one_leaves() {
    let host = example("jobs").start();
    for who in [ANNA, BERT, EVE] {
        host.key_accept("jobs", who);
    }
    let mut anna = host.client(ANNA).connect();
    let mut bert = host.client(BERT).connect();
    anna.say("worker");
    let mut client = host.client(EVE).connect();
    client.say("hello");
    client.expect("say worker, or job TEXT");
    client.say("job dig");
    client.expect("queued 1");
    anna.expect("job 1 dig");
    client.say("job rest");
    client.expect("queued 2");
    // Anna leaves with the first one; Bert comes, and does both.
    anna.close_input();
    anna.wait();
    bert.say("worker");
    bert.expect("job 1 dig");
    bert.say("done deep");
    client.expect("done 1 deep");
    bert.expect("job 2 rest");
    bert.say("done");
    client.expect("done 2");
    host.stop();
}
