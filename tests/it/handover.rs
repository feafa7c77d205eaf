//! A new program takes a running one's place while clients of all protocols talk, and while it is
//! long in loading. tests/it/reload.rs has the rest,
//! tests/it/handover_outbound.rs connections that scripts make.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::thread::JoinHandle;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::exec::connect;
use crate::host::{Host, Moonport, moonport};
use crate::key::{ANNA, BERT};
use crate::process::Process;
use crate::zmq::{Zmq, with_each_libzmq};

with_each_libzmq!(
    messages_of_parts_come_back_once_and_in_order_while_their_script_is_loaded_again,
    requests_are_answered_once_while_their_script_is_loaded_again,
    a_request_that_the_old_program_has_not_answered_is_asked_of_the_new_one,
);

/// A script in another version; `VERSION` in it is the number.
pub(crate) fn version(script: &str, number: u32) -> String {
    script.replace("VERSION", &number.to_string())
}

/// Writes a script in another version.
fn write(host: &Host, name: &str, script: &str, number: u32) {
    let folder = host.place().folder();
    let appl = folder.join(name);
    let within = if appl.is_dir() { &appl } else { folder };
    let path = within.join(format!("{name}.lua"));
    host.place().write(&path, &version(script, number));
}

/// Begins to load it again.
pub(crate) fn begin(host: &Host, name: &str, script: &str, number: u32) -> JoinHandle<Value> {
    write(host, name, script, number);
    let mut reload = moonport(&host.place().state(), ["reload", name, "--json"]);
    std::thread::spawn(move || {
        let done = reload.output().unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{errors}");
        serde_json::from_slice(&done.stdout).unwrap()
    })
}

/// How often something is done meanwhile, at most.
const MOST: u32 = 50;

/// Loads it again, and does something all the while.
fn meanwhile(host: &Host, name: &str, script: &str, number: u32, mut work: impl FnMut()) -> Value {
    let reload = begin(host, name, script, number);
    work();
    // However slow the machine is: not without end.
    for _ in 0..MOST {
        if reload.is_finished() {
            break;
        }
        work();
    }
    reload.join().unwrap()
}

/// Gives every message back.
const MESSAGES: &str = r#"
function client(source, status)
    if status.kind == "message" and not moonport.send(source, status.parts) then
        print("full")
    end
end
moonport.listen({
    name = "fleet", interface = "zmtp://" .. ADDRESS, port = PORT,
    options = { socket_type = "TYPE" },
}, function(_, status)
    if status.kind == "segment_request" then accept_target(client) end
end)
function fleet_adopt(vid)
    target_updatehandler(vid, client)
    return true
end
print("program VERSION")
"#;

fn fleet(script: &str) -> Host {
    let host = Moonport::new().script("fleet", &version(script, 1)).start();
    host.key_accept("fleet", ANNA);
    host
}

fn messages_of_parts_come_back_once_and_in_order_while_their_script_is_loaded_again(mut zmq: Zmq) {
    const BURST: u32 = 20;
    let script = MESSAGES.replace("TYPE", "router");
    let host = fleet(&script);
    // The last one's do not go in one piece.
    let clients = [("one", 0), ("two", 1000), ("three", 70_000)];
    for (name, _) in clients {
        zmq.connect(name, "dealer", ANNA, &host, json!({}));
        zmq.echo(name, json!(["in"]));
    }
    let (mut sent, mut back) = (0, 0);
    for number in 2..10 {
        let done = meanwhile(&host, "fleet", &script, number, || {
            let mut all = |action, first: u32| {
                for (name, size) in clients {
                    zmq.ask(json!({
                        "do": action, "name": name, "count": BURST, "first": first, "size": size,
                    }));
                }
            };
            all("flood", sent);
            // What comes back is always a burst behind.
            if back < sent {
                all("drain", back);
                back += BURST;
            }
            sent += BURST;
        });
        assert_eq!(done[0]["sessions"], 3, "{done}");
    }
    for (name, size) in clients {
        let left = sent - back;
        zmq.ask(json!({"do": "drain", "name": name, "count": left, "first": back, "size": size}));
        zmq.echo(name, json!(["out"]));
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("full"), "{said}");
}

fn requests_are_answered_once_while_their_script_is_loaded_again(mut zmq: Zmq) {
    let script = MESSAGES.replace("TYPE", "rep");
    let host = fleet(&script);
    // One that waits for each answer, and one that would see a second one.
    zmq.connect("req", "req", ANNA, &host, json!({}));
    zmq.connect("dealer", "dealer", ANNA, &host, json!({}));
    let mut asked = 0;
    for number in 2..12 {
        meanwhile(&host, "fleet", &script, number, || {
            let question = asked.to_string();
            zmq.send("dealer", json!(["", question]));
            zmq.echo("req", json!([question]));
            assert_eq!(zmq.recv("dealer"), json!(["", question]));
            asked += 1;
        });
    }
    assert_eq!(zmq.ask(json!({"do": "has", "name": "dealer"})), false);
}

/// The first program answers nothing; the second one does, when it has heard all.
fn a_request_that_the_old_program_has_not_answered_is_asked_of_the_new_one(mut zmq: Zmq) {
    let waits = "
function client(source, status)
    if status.message then
        print('program VERSION hears', status.message)
        if VERSION == 2 then moonport.send(source, status.message .. ' by VERSION') end
    end
end
function unused(source, status)";
    let script = MESSAGES.replace("TYPE", "rep");
    let script = script.replace("function client(source, status)", waits);
    let mut host = fleet(&script);
    for name in ["anna", "other"] {
        zmq.connect(name, "dealer", ANNA, &host, json!({}));
        zmq.send(name, json!(["", format!("{name} asks")]));
        host.process.expect("program 1 hears");
    }
    // This one has to wait for its turn.
    zmq.send("anna", json!(["", "anna goes on"]));
    begin(&host, "fleet", &script, 2).join().unwrap();
    assert_eq!(zmq.recv("anna"), json!(["", "anna asks by 2"]));
    assert_eq!(zmq.recv("anna"), json!(["", "anna goes on by 2"]));
    assert_eq!(zmq.recv("other"), json!(["", "other asks by 2"]));
    for name in ["anna", "other"] {
        zmq.send(name, json!(["", "more"]));
        assert_eq!(zmq.recv(name), json!(["", "more by 2"]));
    }
    host.stop();
}

/// Counts and hashes what comes, and tells the client when that is all.
const UPLOAD: &str = r#"
local BLOCK = 65536
local state = moonport.state
state.rest, state.chain, state.total = state.rest or "", state.chain or "", state.total or 0
local function take(data)
    state.total = state.total + #data
    state.rest = state.rest .. data
    while #state.rest >= BLOCK do
        state.chain = moonport.sha256(state.chain .. state.rest:sub(1, BLOCK))
        state.rest = state.rest:sub(BLOCK + 1)
    end
end
HEAR
local function client(source, status)
    if status.kind == "data" or status.kind == "eof" then
        hear(source, status.data or "")
    end
    if status.kind == "eof" then
        print("program VERSION hears the end", status.failed)
        local hash = moonport.sha256(state.chain .. state.rest)
        moonport.write(source, ("%d %s\n"):format(state.total, hash))
        moonport.finish(source)
    end
end
net_listen("box", "curvecp://" .. ADDRESS, PORT, function(_, status)
    if status.kind == "segment_request" then begin(accept_target(client)) end
end)
function box_adopt(vid)
    target_updatehandler(vid, client)
    begin(vid)
    return true
end
"#;

/// As it comes.
const BYTES: &str = "
local function begin() end
local function hear(source, data) take(data) end";

/// From a stream object.
const LINES: &str = r#"
local function begin(vid) moonport.stream(vid) end
local function hear(source)
    for line in moonport.stream(source):lines() do take(line .. "\n") end
end"#;

fn hash(bytes: &[u8]) -> String {
    let mut chain = String::new();
    let (blocks, rest) = bytes.as_chunks::<65536>();
    let blocks = blocks.iter().map(|block| &block[..]).chain([rest]);
    for block in blocks {
        let digest = Sha256::new().chain_update(&chain).chain_update(block);
        chain = data_encoding::HEXLOWER.encode(&digest.finalize());
    }
    chain
}

#[test]
fn bytes_of_a_stream_come_once_and_in_order_while_its_script_is_loaded_again() {
    uploaded(BYTES);
}

#[test]
fn lines_of_a_stream_object_come_whole_while_its_script_is_loaded_again() {
    uploaded(LINES);
}

fn uploaded(hear: &str) {
    let script = UPLOAD.replace("HEAR", hear);
    let host = Moonport::new().script("box", &version(&script, 1)).start();
    host.key_accept("box", ANNA);
    let mut anna = connect(&host, "curvecp", ANNA);
    let (mut number, mut said) = (0, String::new());
    let mut say = |anna: &mut Process| {
        let words = (number..number + 100).map(|n| format!("{n:>80}\n"));
        let words: String = words.collect();
        number += 100;
        anna.types(&words);
        said += &words;
    };
    for number in 2..12 {
        meanwhile(&host, "box", &script, number, || say(&mut anna));
    }
    // Its end comes in the middle of a switch, too.
    let reload = begin(&host, "box", &script, 12);
    say(&mut anna);
    anna.close_input();
    reload.join().unwrap();
    let ended = anna.wait();
    assert_eq!(ended.code, 0, "{}", ended.text());
    let wanted = format!("{} {}", said.len(), hash(said.as_bytes()));
    assert_eq!(ended.lines, [wanted]);
    let said = host.process.terminate().text();
    assert_eq!(said.matches("hears the end\tfalse").count(), 1, "{said}");
}

/// Writes numbered lines until the client says that it has had enough.
const DOWNLOAD: &str = r#"
local state = moonport.state
state.next, state.rest = state.next or 0, state.rest or ""
local function push(source)
    while true do
        if state.rest == "" then
            if state.enough then
                if not state.over then moonport.finish(source) end
                state.over = true
                return
            end
            state.rest = ("%d %s by VERSION\n"):format(state.next, ("x"):rep(500))
            state.next = state.next + 1
        end
        local taken = moonport.write(source, state.rest)
        if not taken then return end
        state.rest = state.rest:sub(taken + 1)
    end
end
local function client(source, status)
    if status.kind == "data" then state.enough = status.data:find("enough") ~= nil end
    if status.kind == "data" or status.kind == "drain" then push(source) end
end
net_listen("box", "curvecp://" .. ADDRESS, PORT, function(_, status)
    if status.kind == "segment_request" then accept_target(client) end
end)
function box_adopt(vid)
    target_updatehandler(vid, client)
    push(vid)
    return true
end
"#;

#[test]
fn what_old_and_new_programs_write_to_a_stream_comes_once_and_in_order() {
    let host = Moonport::new().script("box", &version(DOWNLOAD, 1)).start();
    host.key_accept("box", ANNA);
    let mut anna = connect(&host, "curvecp", ANNA);
    anna.say("go");
    for number in 2..8 {
        anna.expect(&format!("by {}", number - 1));
        begin(&host, "box", DOWNLOAD, number).join().unwrap();
    }
    anna.expect("by 7");
    anna.say("enough");
    anna.close_input();
    let ended = anna.wait();
    assert_eq!(ended.code, 0, "{}", ended.text());
    let numbers = ended.lines.iter().map(|line| line.split(' ').next());
    let numbers: Vec<usize> = numbers.map(|n| n.unwrap().parse().unwrap()).collect();
    let whole = numbers.iter().copied().eq(0..numbers.len());
    assert!(whole, "{} lines", numbers.len());
    let programs = ended.lines.iter().map(|line| line.rsplit(' ').next());
    let programs: Vec<u32> = programs.map(|by| by.unwrap().parse().unwrap()).collect();
    assert!(programs.is_sorted());
    let said = host.process.terminate().text();
    assert!(!said.contains("error"), "{said}");
}

/// Programs that repeat lines, and end when they are told to.
const PROGRAMS: &str = r#"
local WORDS = 'while read line; do [ "$line" = end ] && exit 7; echo "$line"; done'
local function client(source, status)
    print("program VERSION", status.kind, status.code)
end
moonport.listen({ name = "box", interface = "SCHEME://" .. ADDRESS, port = PORT }, function(_, status)
    if status.kind == "segment_request" then
        moonport.exec(accept_target(client), { "/bin/sh", "-c", WORDS })
    end
end)
function box_adopt(vid)
    target_updatehandler(vid, client)
    return true
end
"#;

#[test]
fn programs_talk_on_and_their_end_is_heard_once_while_their_script_is_loaded_again() {
    const BURST: u32 = 20;
    for scheme in ["a12", "zmtp", "curvecp"] {
        let script = PROGRAMS.replace("SCHEME", scheme);
        let mut host = Moonport::new()
            .option("--allow-exec=/bin/sh")
            .script("box", &version(&script, 1))
            .start();
        host.key_accept("box", ANNA);
        host.key_accept("box", BERT);
        let mut anna = connect(&host, scheme, ANNA);
        let mut bert = connect(&host, scheme, BERT);
        bert.say("here");
        bert.expect("here");
        let mut number = 0_u32;
        for version in 2..8 {
            meanwhile(&host, "box", &script, version, || {
                let words = (number..number + BURST).map(|n| format!("line {n}\n"));
                anna.types(&words.collect::<String>());
                // What comes back is always a burst behind.
                if let Some(last) = number.checked_sub(1) {
                    anna.expect(&format!("line {last}"));
                }
                number += BURST;
            });
        }
        // The end of this one comes in the middle of a switch.
        let reload = begin(&host, "box", &script, 8);
        bert.say("end");
        reload.join().unwrap();
        let last = format!("line {number}");
        anna.say(&last);
        anna.expect(&last);
        anna.close_input();
        let ended = anna.wait();
        let wanted: Vec<_> = (0..=number).map(|n| format!("line {n}")).collect();
        assert_eq!(ended.lines, wanted, "{scheme}");
        if scheme == "curvecp" {
            assert_ne!(bert.wait().code, 0);
        }
        host.process.expect("exited\t7");
        let said = host.process.terminate().text();
        assert_eq!(said.matches("exited\t7").count(), 1, "{said}");
        assert!(!said.contains("\tmessage"), "{said}");
        assert!(!said.contains("\tdata"), "{said}");
    }
}

/// Answers each client; the new program is loaded once somebody opens the gate.
const ECHO: &str = r#"
GATE
local function client(source, status)
    if status.message == "last" then
        -- Until the client has room for it.
        local timer
        timer = moonport.every(20, function()
            if message_target(source, "last by VERSION") == 0 then timer:cancel() end
        end)
    elseif status.kind == "message" and message_target(source, status.message .. " by VERSION") ~= 0 then
        print("unsent", status.message)
    end
end
function echo()
    net_listen("echo", ADDRESS, PORT, function(_, status)
        if status.kind == "segment_request" then accept_target(client) end
    end)
end
function echo_adopt(vid)
    target_updatehandler(vid, client)
    return true
end
"#;

/// A file of the script that cannot be read before somebody writes it.
fn gate(host: &Host) -> PathBuf {
    let gate = host.place().folder().join("echo/gate.lua");
    mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    gate
}

#[test]
fn i10_while_a_new_program_is_long_in_loading_the_old_one_serves_everybody() {
    let limit = "--handler-limit=60s";
    let first = version(ECHO, 1).replace("GATE", "");
    let mut host = Moonport::new().option(limit).appl("echo", &first).start();
    host.key_accept("echo", ANNA);
    host.key_accept("echo", BERT);
    let mut anna = host.client(ANNA).connect();
    let mut bert = host.client(BERT).connect();
    let gate = gate(&host);
    // It is busy at first, and then waits.
    let slow = r#"
        local until_then = benchmark_timestamp() + 1500
        print("loading")
        while benchmark_timestamp() < until_then do end
        require("gate")"#;
    let reload = begin(&host, "echo", &ECHO.replace("GATE", slow), 2);
    host.process.expect("loading");
    let mut number = 0;
    let mut flood = |anna: &mut Process| {
        let words: String = (number..number + 200).map(|n| format!("{n}\n")).collect();
        number += 200;
        anna.types(&words);
    };
    for word in 0..20 {
        flood(&mut anna);
        bert.say(&format!("still {word}"));
        bert.expect(&format!("still {word} by 1"));
    }
    assert!(!reload.is_finished());
    OpenOptions::new()
        .write(true)
        .open(gate)
        .unwrap()
        .write_all(b"print('the gate is open')")
        .unwrap();
    while !reload.is_finished() {
        flood(&mut anna);
        bert.say("there");
        bert.expect("there by");
    }
    let done = reload.join().unwrap();
    assert_eq!(done[0]["sessions"], 2, "{done}");
    bert.say("then");
    bert.expect("then by 2");
    anna.say("last");
    anna.expect("last by 2");
    anna.close_input();
    let answers = anna.wait().lines;
    let heard = answers.iter().filter_map(|line| line.split_once(" by "));
    let heard: Vec<u32> = heard.filter_map(|(n, _)| n.parse().ok()).collect();
    assert!(heard.is_sorted_by(|a, b| a < b), "{heard:?}");
    let said = host.process.terminate().text();
    assert_eq!(heard.len() + said.matches("unsent").count(), number);
}

#[test]
fn i12_a_new_program_that_hangs_in_loading_is_given_up_and_the_old_one_goes_on() {
    let first = version(ECHO, 1).replace("GATE", "");
    let host = Moonport::new()
        .option("--handler-limit=100ms")
        .option("--memory=1G")
        .appl("echo", &first)
        .start();
    host.key_accept("echo", ANNA);
    let mut anna = host.client(ANNA).connect();
    for (hangs, why) in [
        ("while true do end", "ran for more than"),
        // One instruction, of nearly half a second.
        ("local s = ('x'):rep(4e8)", "the new process ended"),
    ] {
        write(&host, "echo", &ECHO.replace("GATE", hangs), 2);
        let told = host.fails(["reload"]);
        assert!(told.contains(why), "{told}");
        assert!(told.contains("the old program goes on"), "{told}");
        anna.say("moon");
        anna.expect("moon by 1");
    }
    write(&host, "echo", &ECHO.replace("GATE", ""), 3);
    host.admin(["reload"]);
    anna.say("sun");
    anna.expect("sun by 3");
    host.stop();
}

/// It takes the ten seconds that a program may wait for what never comes.
#[test]
fn i12_a_new_program_that_waits_for_ever_in_loading_is_given_up_and_the_old_one_goes_on() {
    let first = version(ECHO, 1).replace("GATE", "print('loading')");
    let host = Moonport::new().option("--handler-limit=100ms");
    let mut host = host.appl("echo", &first).start();
    host.key_accept("echo", ANNA);
    let mut anna = host.client(ANNA).connect();
    gate(&host);
    let waits = "print('loading again') require('gate')";
    write(&host, "echo", &ECHO.replace("GATE", waits), 2);
    let mut reload = Process::start(&mut moonport(&host.place().state(), ["reload"]));
    host.process.expect("loading again");
    anna.say("moon");
    anna.expect("moon by 1");
    reload.expect("loading takes too long");
    reload.expect("the old program goes on");
    assert_ne!(reload.wait().code, 0);
    anna.say("sun");
    anna.expect("sun by 1");
    assert_eq!(host.children("moonport-script").len(), 1);
    host.stop();
}

/// Asks for something and answers nobody, at its very beginning.
#[test]
fn what_a_program_asks_for_while_it_is_loaded_it_is_told_when_it_runs() {
    let asks = r#"
        moonport.keys.list("echo", function(status) print("program VERSION knows", #status.keys) end)"#;
    let script = ECHO.replace("GATE", asks);
    let mut host = Moonport::new()
        .option("--allow-keys=echo")
        .script("echo", &version(&script, 1))
        .start();
    host.process.expect("program 1 knows\t0");
    host.key_accept("echo", ANNA);
    begin(&host, "echo", &script, 2).join().unwrap();
    host.process.expect("program 2 knows\t1");
    host.stop();
}
