//! A new program takes a running one's place, and no client is lost.

use std::fs;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::host::{Host, Moonport, moonport};
use crate::key::{ANNA, BERT};
use crate::process::Process;

/// Answers with what it is, and takes over those that are there.
const ECHO: &str = r#"
VERSION = 1
local state = moonport.state
state.seen = state.seen or 0
function client(source, status)
    if status.kind == "message" then
        state.seen = state.seen + 1
        -- A client that does not keep up is not sent everything, as at any other time.
        if message_target(source, status.message .. " by " .. VERSION) ~= 0 then
            print("unsent", status.message)
        end
    end
end
function echo()
    net_listen("echo", ADDRESS, PORT, function(source, status)
        print("listener", status.kind, status.last_words or "")
        if status.kind == "segment_request" then
            accept_target(client)
        end
    end)
end
function echo_adopt(vid, kind, title, parent, more)
    target_updatehandler(vid, client)
    return true
end
"#;

/// The program in another version.
fn version(number: u32) -> String {
    ECHO.replace("VERSION = 1", &format!("VERSION = {number}"))
}

/// Writes another program in the place of one.
fn write(host: &Host, name: &str, lua: &str) {
    let path = host.place().folder().join(format!("{name}.lua"));
    host.place().write(&path, lua);
}

fn echo() -> Host {
    let host = Moonport::new().script("echo", ECHO).start();
    host.key_accept("echo", ANNA);
    host.key_accept("echo", BERT);
    host
}

#[track_caller]
fn says(client: &mut Process, words: &str, answer: &str) {
    client.say(words);
    client.expect(answer);
}

#[test]
fn a_new_program_takes_over_clients_listener_and_state() {
    let mut host = echo();
    let mut anna = host.client(ANNA).connect();
    says(&mut anna, "one", "one by 1");
    let shows = version(2) + "function echo_reload() print('reload', state.seen) end";
    let shows = shows.replace("local state", "state");
    write(&host, "echo", &shows);
    let done = host.json(["reload", "echo", "--json"]);
    let kept = serde_json::json!([{
        "script": "echo", "reloaded": true, "sessions": 1, "failures": [],
        "listeners": {"kept": 1, "opened": 0, "closed": 0},
    }]);
    assert_eq!(done, kept);
    host.process.expect("reload\t1");
    says(&mut anna, "two", "two by 2");
    let mut bert = host.client(BERT).connect();
    says(&mut bert, "new", "new by 2");
    anna.close_input();
    assert_eq!(anna.wait().code, 0);
    host.stop();
}

#[test]
fn a_program_that_cannot_take_over_leaves_the_old_one_alone() {
    let host = echo();
    let mut anna = host.client(ANNA).connect();
    says(&mut anna, "one", "one by 1");
    let taken = std::net::TcpListener::bind((host.place().address, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let loops = version(2).replace("function echo()", "function echo() while true do end");
    let fails = version(2).replace("function echo()", "function echo() error('on purpose')");
    let hook = version(2) + "function echo_reload() error('no thanks') end";
    let ends = version(2).replace("function echo()", "function echo() shutdown('enough', 3)");
    let second = format!("function echo() net_listen('x', ADDRESS, {port}, function() end)");
    let elsewhere = version(2).replace("function echo()", &second);
    for (program, told) in [
        ("local x = = 1", "echo.lua:1: unexpected symbol"),
        (&fails[..], "echo.lua:14: on purpose"),
        (&loops[..], "ran for more than"),
        (&hook[..], "no thanks"),
        (&ends[..], "ends while it is loaded"),
        (&elsewhere[..], "in use"),
    ] {
        write(&host, "echo", program);
        let said = host.fails(["reload"]);
        assert!(said.contains(told), "{told}: {said}");
        assert!(said.contains("the old program goes on"), "{said}");
        says(&mut anna, "still", "still by 1");
    }
    host.client(BERT).connect();
    write(&host, "echo", &version(3));
    host.admin(["reload"]);
    says(&mut anna, "at last", "at last by 3");
    host.stop();
}

#[test]
fn state_that_cannot_be_handed_over_is_told_and_nothing_changes() {
    let host = Moonport::new()
        .script(
            "echo",
            &(version(1) + "moonport.state.inner = { f = print }"),
        )
        .start();
    host.key_accept("echo", ANNA);
    let mut anna = host.client(ANNA).connect();
    says(&mut anna, "one", "one by 1");
    let said = host.fails(["reload", "echo.lua"]);
    assert!(
        said.contains("moonport.state.inner.f is a function"),
        "{said}"
    );
    says(&mut anna, "two", "two by 1");
    assert!(
        host.fails(["reload", "other"])
            .contains("no script other runs")
    );
}

#[test]
fn a_listener_that_is_asked_for_in_another_way_is_opened_anew() {
    let host = echo();
    let mut anna = host.client(ANNA).connect();
    says(&mut anna, "one", "one by 1");
    let other = version(2).replace("net_listen(\"echo\"", "net_listen(\"other\"");
    write(&host, "echo", &other);
    let done = host.json(["reload", "--json"]);
    let listeners = serde_json::json!({"kept": 0, "opened": 1, "closed": 1});
    assert_eq!(done[0]["listeners"], listeners);
    says(&mut anna, "two", "two by 2");
    host.client(BERT).refused();
    host.key_accept("other", BERT);
    let mut bert = host.client(BERT).connect();
    says(&mut bert, "new", "new by 2");
    host.stop();
}

#[test]
fn one_of_two_scripts_is_loaded_again_and_the_other_does_not_notice() {
    let second = ECHO.replace("PORT,", "PORT + 1,").replace("echo", "second");
    let mut host = Moonport::new()
        .script("echo", ECHO)
        .script("second", &second)
        .start();
    for name in ["echo", "second"] {
        host.key_accept(name, ANNA);
    }
    let port = host.place().port + 1;
    let mut anna = host.client(ANNA).port(port).connect();
    says(&mut anna, "one", "one by 1");
    write(&host, "echo", &version(2));
    host.admin(["reload", "echo"]);
    says(&mut anna, "two", "two by 1");
    // All of them.
    let next = second.replace("VERSION = 1", "VERSION = 3");
    let path = host.place().folder().join("second.lua");
    host.place().write(&path, &next);
    host.process.signal(Signal::HUP);
    host.process.expect("loaded again");
    host.process.expect("loaded again");
    host.process.expect("loaded again");
    says(&mut anna, "three", "three by 3");
    host.stop();
}

#[test]
fn a_script_that_is_watched_is_loaded_again_when_it_has_changed() {
    let mut host = Moonport::new()
        .script("echo", ECHO)
        .option("--watch")
        .start();
    host.key_accept("echo", ANNA);
    let mut anna = host.client(ANNA).connect();
    says(&mut anna, "one", "one by 1");
    write(&host, "echo", "x = = 1");
    host.process.expect("the old program goes on");
    says(&mut anna, "two", "two by 1");
    // As editors do it.
    let beside = host.place().folder().join("echo.new");
    host.place().write(&beside, &version(2));
    fs::rename(beside, host.place().folder().join("echo.lua")).unwrap();
    host.process.expect("loaded again");
    says(&mut anna, "three", "three by 2");
    host.stop();
}

#[test]
fn a_required_secret_and_its_window_live_on() {
    let secret = "listener = net_listen(\"echo\"";
    let names = "end)\n    target_input(listener, '2:open sesame')\nend\nfunction echo_adopt";
    let with_secret = |number| {
        version(number)
            .replace("net_listen(\"echo\"", secret)
            .replace("end)\nend\nfunction echo_adopt", names)
    };
    let host = Moonport::new().script("echo", &with_secret(1)).start();
    let mut anna = host.client(ANNA).secret("open sesame").connect();
    says(&mut anna, "one", "one by 1");
    write(&host, "echo", &with_secret(2));
    let done = host.json(["reload", "--json"]);
    assert_eq!(done[0]["listeners"]["kept"], 1);
    says(&mut anna, "two", "two by 2");
    let mut bert = host.client(BERT).secret("open sesame").connect();
    says(&mut bert, "new", "new by 2");
    // Two have come in, as many as may.
    host.client(crate::key::EVE).secret("open sesame").refused();
    // Without the secret it is another listener.
    write(&host, "echo", &version(3));
    let done = host.json(["reload", "--json"]);
    assert_eq!(done[0]["listeners"]["opened"], 1);
    says(&mut host.client(ANNA).connect(), "open", "open by 3");
}

/// The same by tasks, one for each client.
fn with_tasks() -> String {
    let tasks = "
function serve(segment)
    for status in segment:events() do
        client(segment.vid, status)
    end
end
function echo()
    moonport.task(function()
        local door = moonport.segment(net_listen('echo', ADDRESS, PORT))
        while true do
            moonport.task(serve, (door:accept()))
        end
    end)
end
function echo_adopt(vid, kind, title, parent, more)
    moonport.task(serve, moonport.segment(vid))
    return true
end
";
    let (client, _) = ECHO.split_once("function echo()").unwrap();
    client.to_owned() + tasks
}

/// Says numbered words in bursts to all while it is loaded again so many times: each is dispatched
/// once, in order.
fn under_load(script: &str, clients: usize, reloads: u32) {
    const BURST: u32 = 20;
    let host = Moonport::new().script("echo", script).start();
    host.key_accept("echo", ANNA);
    let connect = |_| {
        let mut client = host.client(ANNA).connect();
        says(&mut client, "in", "in by 1");
        client
    };
    let mut clients: Vec<Process> = (0..clients).map(connect).collect();
    let state = host.place().state();
    let mut said = 0;
    for round in 1..=reloads {
        let next = script.replace("VERSION = 1", &format!("VERSION = {}", round + 1));
        write(&host, "echo", &next);
        let mut reload = moonport(&state, ["reload", "--json"]);
        let reload = std::thread::spawn(move || reload.output().unwrap());
        for client in &mut clients {
            let words: String = (said..said + BURST).map(|n| format!("{n}\n")).collect();
            client.types(&words);
        }
        said += BURST;
        let done = reload.join().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.success(), "{text}");
        let done: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(done[0]["sessions"], clients.len(), "{done}");
    }
    let (count, mut heard) = (clients.len(), 0);
    for mut client in clients {
        says(&mut client, "out", "out by");
        client.close_input();
        let ended = client.wait();
        assert_eq!(ended.code, 0, "{}", ended.text());
        let answers = ended
            .lines
            .iter()
            .filter_map(|line| line.split_once(" by "));
        let answers: Vec<(String, u32)> = answers
            .map(|(n, by)| (n.trim().to_owned(), by.trim().parse().unwrap()))
            .collect();
        let numbers: Vec<u32> = answers.iter().filter_map(|(n, _)| n.parse().ok()).collect();
        heard += numbers.len();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        assert!(answers.is_sorted_by_key(|(_, by)| *by), "{answers:?}");
    }
    let ended = host.process.terminate();
    assert_eq!(ended.code, 0, "{}", ended.text());
    let unsent = ended.lines.iter().filter(|line| line.contains("unsent"));
    // Each was heard by one program, once.
    assert_eq!(heard + unsent.count(), count * said as usize);
}

#[test]
fn nobody_is_lost_and_nothing_is_said_twice_under_load() {
    under_load(ECHO, 10, 40);
}

#[test]
fn nobody_is_lost_and_nothing_is_said_twice_by_tasks_under_load() {
    under_load(&with_tasks(), 3, 20);
}

/// The same, as much as was asked for; it takes a while.
#[test]
#[ignore = "takes minutes: run it by its name"]
fn nobody_is_lost_and_nothing_is_said_twice_in_200_reloads_with_50_clients() {
    under_load(ECHO, 50, 200);
}

/// Three times for each host: so many deaths in ten seconds are borne.
#[test]
fn whichever_process_is_killed_something_goes_on_running() {
    let mut random = 0x9e37_79b9_u32;
    for _ in 0..4 {
        let mut host = Moonport::new().script("echo", ECHO).start();
        host.key_accept("echo", ANNA);
        let mut anna = host.client(ANNA).connect();
        says(&mut anna, "in", "in by 1");
        for round in 2..5 {
            write(&host, "echo", &version(round));
            let old = host.child("moonport-script");
            let mut reload: Command = moonport(&host.place().state(), ["reload"]);
            let reload = std::thread::spawn(move || reload.output().unwrap());
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let soon = u64::from(random >> 16) % 60_000;
            std::thread::sleep(Duration::from_micros(soon));
            let wanted = |pid: &u32| (*pid == old) == (random >> 8).is_multiple_of(2);
            if let Some(pid) = host.children("moonport-script").into_iter().find(wanted) {
                let pid = Pid::from_raw(pid.try_into().unwrap()).unwrap();
                // It may have ended by itself.
                let _ = kill_process(pid, Signal::KILL);
            }
            drop(reload.join().unwrap());
            host.await_listeners(1);
            says(&mut anna, "still", "still by");
        }
        host.stop();
    }
}
