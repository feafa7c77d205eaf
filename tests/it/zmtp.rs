//! Messages between scripts and clients of ZeroMQ.

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::json;

use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, CLEO};
use crate::repository::root;
use crate::zmq::{Zmq, at, credentials, with_each_libzmq};

with_each_libzmq!(
    ten_megabytes_go_each_way,
    parts_of_every_size_come_back_as_they_were,
    a_message_larger_than_allowed_ends_its_client_only,
    empty_parts_stay_where_they_are,
    a_message_has_as_many_parts_as_allowed_and_no_more,
    a_hundred_thousand_messages_come_in_order,
    a_hundred_thousand_messages_go_out_in_order,
    i10_a_client_that_does_not_read_fills_its_own_queue_only,
    two_hundred_clients_come_and_go,
    clients_with_heartbeats_stay,
    a_client_whose_time_to_live_is_over_is_gone,
    a_client_that_is_stopped_is_given_up,
    i12_a_script_that_is_killed_comes_back_to_its_clients,
    a_request_that_dies_with_its_script_does_not_hold_up_the_next,
    what_a_client_says_before_it_leaves_arrives,
    what_a_script_says_before_it_hangs_up_arrives,
    a_large_message_that_dies_with_its_script_is_lost_alone,
    a_replier_that_answers_twice_hears_of_it,
    a_listener_that_is_deleted_leaves_its_clients,
    the_example_carries_reports_and_orders,
);

/// Takes everybody who is proved, and gives every message back.
const ECHO: &str = r#"
function client(source, status)
    if status.kind ~= "message" then
        print(status.kind, source)
    elseif status.parts[1] == "leave" then
        delete_image(source)
    elseif status.parts[1] == "close" then
        delete_image(listener)
    elseif not moonport.send(source, status.parts) then
        print("full")
    end
end

listener = moonport.listen({
    name = "fleet",
    interface = "zmtp://" .. ADDRESS,
    port = PORT,
    options = { OPTIONS },
}, function(source, status)
    print("listener", status.kind, status.last_words or status.message or "")
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

pub(crate) fn echo(options: &str) -> String {
    ECHO.replace("OPTIONS", options)
}

/// A host that gives every message back, and knows Anna's key.
pub(crate) fn fleet(options: &str) -> Host {
    let host = Moonport::new().script("fleet", &echo(options)).start();
    host.key_accept("fleet", ANNA);
    host
}

fn ten_megabytes_go_each_way(mut zmq: Zmq) {
    let tells = "
function client(source, status)
    if status.kind == 'message' then print('got', #status.parts[2]) end";
    let script = echo("max_message = 20 * 1024 * 1024");
    let script = script.replace("function client(source, status)", tells);
    let mut host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    let part = json!({"size": 10_000_000, "byte": 0xa5});
    zmq.send("anna", json!(["first", part, "last"]));
    host.process.expect("got\t10000000");
    let back = zmq.recv("anna");
    assert_eq!((&back[0], &back[2]), (&json!("first"), &json!("last")));
    assert_eq!(back[1]["size"], 10_000_000);
    let digest = "57d38c811e66bad1a1310fff86a094c04f0b9472b5c6176549a29a32cd8c8a53";
    assert_eq!(back[1]["sha256"], digest);
}

fn parts_of_every_size_come_back_as_they_were(mut zmq: Zmq) {
    let host = fleet("");
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    // Around where frames, boxes, pieces and buffers get another shape; the last is all that is allowed.
    let edges = [0, 223, 255, 61_440, 65_536, 122_880, 262_144, 1_048_575];
    let sizes = edges.iter().flat_map(|&size| [size - 1, size, size + 1]);
    for size in sizes.filter(|&size: &i32| size >= 0) {
        zmq.ask(json!({"do": "echoed", "name": "anna", "sizes": [size], "seed": 1}));
    }
    for sizes in [vec![61_440; 3], vec![0, 61_441, 0, 1, 0], vec![16_384; 64]] {
        zmq.ask(json!({"do": "echoed", "name": "anna", "sizes": sizes, "seed": 2}));
    }
}

fn a_message_larger_than_allowed_ends_its_client_only(mut zmq: Zmq) {
    let host = fleet("max_message = 100000");
    host.key_accept("fleet", BERT);
    zmq.connect("bert", "dealer", BERT, &host, json!({}));
    zmq.echo("bert", json!(["moon"]));
    for parts in [
        json!([{"size": 100_001, "byte": 0}]),
        json!([{"size": 60_000, "byte": 0}, {"size": 40_001, "byte": 0}]),
    ] {
        zmq.monitored("anna", ANNA, &host);
        zmq.echo("anna", json!(["moon"]));
        zmq.send("anna", parts);
        zmq.ask(json!({"do": "events", "name": "anna", "until": "DISCONNECTED"}));
        zmq.close("anna");
    }
    zmq.send(
        "bert",
        json!([{"size": 60_000, "byte": 0}, {"size": 40_000, "byte": 0}]),
    );
    let back = zmq.recv("bert");
    assert_eq!(
        (&back[0]["size"], &back[1]["size"]),
        (&json!(60_000), &json!(40_000))
    );
}

fn empty_parts_stay_where_they_are(mut zmq: Zmq) {
    let host = fleet("");
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    for parts in [
        json!([""]),
        json!(["", ""]),
        json!(["", "one", "", "two", ""]),
        json!(["\u{0}\u{ff}\n\u{80}"]),
    ] {
        zmq.echo("anna", parts);
    }
}

fn a_message_has_as_many_parts_as_allowed_and_no_more(mut zmq: Zmq) {
    let mut host = fleet("max_parts = 1000");
    zmq.monitored("anna", ANNA, &host);
    let parts: Vec<_> = (0..1000).map(|number| number.to_string()).collect();
    zmq.echo("anna", json!(parts));
    zmq.send("anna", json!([parts, vec!["one more".to_owned()]].concat()));
    zmq.ask(json!({"do": "events", "name": "anna", "until": "DISCONNECTED"}));
    host.process.expect("terminated");
}

/// More than may wait anywhere between the two.
const MANY: u32 = 100_000;

fn a_hundred_thousand_messages_come_in_order(mut zmq: Zmq) {
    let count = "
local expected = 0
function client(source, status)
    if status.kind == 'message' then
        if status.message ~= tostring(expected) then
            print('wrong', status.message, expected)
        end
        expected = expected + 1
        if expected % 10000 == 0 then print('counted', expected) end
    end
end
local function never()";
    let script = echo("socket_type = 'pull'").replace("function client(source, status)", count);
    let mut host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "push", ANNA, &host, json!({}));
    for first in (0..MANY).step_by(10_000) {
        zmq.ask(json!({"do": "flood", "name": "anna", "count": 10_000, "first": first}));
    }
    for _ in 0..MANY / 10_000 {
        host.process.expect("counted");
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("wrong"), "{said}");
}

fn a_hundred_thousand_messages_go_out_in_order(mut zmq: Zmq) {
    let rows = "
local number = 0
function client(source, status)
    if status.kind == 'message' then
        for _ = 1, tonumber(status.message) do
            if not moonport.send(source, tostring(number)) then print('full') end
            number = number + 1
        end
    end
end
local function never()";
    let script = echo("").replace("function client(source, status)", rows);
    let host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    for first in (0..MANY).step_by(1000) {
        zmq.send("anna", json!(["1000"]));
        zmq.ask(json!({"do": "drain", "name": "anna", "count": 1000, "first": first}));
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("full"), "{said}");
}

fn i10_a_client_that_does_not_read_fills_its_own_queue_only(mut zmq: Zmq) {
    let fills = "
local sent, filling = 0, nil
function fleet_clock_pulse()
    -- Until nothing goes for a second: by then the network is full, too.
    if filling then
        local before = sent
        while moonport.send(filling, ('x'):rep(50000)) do sent = sent + 1 end
        quiet = before == sent and (quiet or 0) + 1 or 0
        if quiet == 25 then print('full after', sent) filling = nil end
    end
end
function client(source, status)
    if status.message == 'fill' then filling = source return end";
    let script = echo("high_water = 10").replace("function client(source, status)", fills);
    let mut host = Moonport::new().script("fleet", &script).start();
    for who in [ANNA, BERT] {
        host.key_accept("fleet", who);
    }
    zmq.connect("bert", "dealer", BERT, &host, json!({}));
    zmq.echo("bert", json!(["moon"]));
    let little = json!({"RCVHWM": 1, "RCVBUF": 4096});
    zmq.connect("anna", "dealer", ANNA, &host, json!({"options": little}));
    zmq.send("anna", json!(["fill"]));
    for number in 0..300 {
        zmq.echo("bert", json!([number.to_string()]));
    }
    let line = host.process.expect("full after");
    let sent: u32 = line.rsplit('\t').next().unwrap().parse().unwrap();
    zmq.echo("bert", json!(["moon"]));
    // What was taken is not lost.
    for _ in 0..sent {
        assert_eq!(zmq.recv("anna")[0]["size"], 50_000);
    }
    zmq.echo("anna", json!(["moon"]));
}

fn two_hundred_clients_come_and_go(mut zmq: Zmq) {
    let mut host = fleet("");
    host.key_accept("fleet", BERT);
    zmq.connect("bert", "dealer", BERT, &host, json!({}));
    let mut storm = credentials(ANNA, &host);
    storm["do"] = "storm".into();
    storm["type"] = "dealer".into();
    storm["to"] = at(&host, 0).into();
    storm["count"] = 200.into();
    let mut hasty = storm.clone();
    storm["at_once"] = 25.into();
    zmq.ask(storm);
    for _ in 0..200 {
        host.process.expect("terminated");
    }
    hasty["do"] = "hasty".into();
    zmq.ask(hasty);
    zmq.echo("bert", json!(["moon"]));
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    zmq.echo("anna", json!(["moon"]));
}

fn clients_with_heartbeats_stay(mut zmq: Zmq) {
    let ticks = "
local here
function fleet_clock_pulse()
    if here and CLOCK % 25 == 0 then moonport.send(here, 'tick') end
end
function client(source, status)
    if status.kind == 'registered' then here = source end";
    let options = "heartbeat_ms = 50, heartbeat_timeout_ms = 5000, heartbeat_ttl_ms = 5000";
    let script = echo(options).replace("function client(source, status)", ticks);
    let host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    let beats = json!({
        "HEARTBEAT_IVL": 50, "HEARTBEAT_TIMEOUT": 5000, "HEARTBEAT_TTL": 5000,
    });
    let how = json!({"options": beats, "monitor": true});
    zmq.connect("anna", "dealer", ANNA, &host, how);
    for _ in 0..3 {
        assert_eq!(zmq.recv("anna"), json!(["tick"]));
    }
    let seen = zmq.seen("anna");
    assert!(
        !seen.iter().any(|event| event == "DISCONNECTED"),
        "{seen:?}"
    );
}

fn a_client_whose_time_to_live_is_over_is_gone(mut zmq: Zmq) {
    let mut host = fleet("");
    let beats = json!({"HEARTBEAT_IVL": 5000, "HEARTBEAT_TIMEOUT": 60_000, "HEARTBEAT_TTL": 100});
    let how = json!({"options": beats, "monitor": true});
    zmq.connect("anna", "dealer", ANNA, &host, how);
    // It says that it can be taken for alive for less time than it is silent.
    zmq.ask(json!({"do": "events", "name": "anna", "until": "DISCONNECTED"}));
    host.process.expect("terminated");
}

fn a_client_that_is_stopped_is_given_up(mut zmq: Zmq) {
    let mut host = fleet("heartbeat_ms = 200, heartbeat_timeout_ms = 1000");
    zmq.monitored("anna", ANNA, &host);
    zmq.echo("anna", json!(["moon"]));
    zmq.process().signal(Signal::STOP);
    host.process.expect("terminated");
    zmq.process().signal(Signal::CONT);
    zmq.ask(json!({"do": "events", "name": "anna", "until": "DISCONNECTED"}));
    zmq.ask(json!({"do": "events", "name": "anna", "until": "HANDSHAKE_SUCCEEDED"}));
    zmq.echo("anna", json!(["moon"]));
}

/// Takes back what the script had that was before.
const ADOPTS: &str = "
function fleet_adopt(vid, kind, title, parent, more)
    print('adopted', vid, kind)
    target_updatehandler(vid, client)
    return true
end
";

fn i12_a_script_that_is_killed_comes_back_to_its_clients(mut zmq: Zmq) {
    let script = echo("") + ADOPTS;
    let mut host = Moonport::new().script("fleet", &script).start();
    for who in [ANNA, BERT] {
        host.key_accept("fleet", who);
    }
    zmq.monitored("anna", ANNA, &host);
    zmq.echo("anna", json!(["moon"]));
    zmq.monitored("bert", BERT, &host);
    zmq.echo("bert", json!(["moon"]));
    for _ in 0..2 {
        host.kill_child("moonport-script");
        host.process.expect("adopted");
        host.process.expect("adopted");
        for name in ["anna", "bert"] {
            zmq.echo(name, json!(["still", "here"]));
        }
    }
    for name in ["anna", "bert"] {
        let seen = zmq.seen(name);
        assert!(
            !seen.iter().any(|event| event == "DISCONNECTED"),
            "{seen:?}"
        );
    }
    host.await_listeners(1);
    zmq.connect("new", "req", ANNA, &host, json!({}));
    zmq.echo("new", json!(["moon"]));
}

/// A replier's script dies with a request that it has not answered.
fn a_request_that_dies_with_its_script_does_not_hold_up_the_next(mut zmq: Zmq) {
    let dies = "
function client(source, status)
    if status.message == 'die' then print('dying') while true do end end";
    let script =
        echo("socket_type = 'rep'").replace("function client(source, status)", dies) + ADOPTS;
    let mut host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    zmq.echo("anna", json!(["", "moon"]));
    zmq.send("anna", json!(["", "die"]));
    host.process.expect("dying");
    host.kill_child("moonport-script");
    host.process.expect("adopted");
    zmq.echo("anna", json!(["", "moon"]));
}

/// More than may be under way to a script, and less than may be under way from it.
const SOME: u32 = 5000;
const FEW: u32 = 100;

fn what_a_client_says_before_it_leaves_arrives(mut zmq: Zmq) {
    let count = "
local count = 0
function client(source, status)
    if status.kind == 'message' then count = count + 1 end
    if status.kind == 'terminated' then print('in all', count) end";
    let script = echo("socket_type = 'pull'").replace("function client(source, status)", count);
    let mut host = Moonport::new()
        .script(
            "fleet",
            &script.replace("elseif not moonport.send", "elseif not print"),
        )
        .start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "push", ANNA, &host, json!({}));
    zmq.ask(json!({"do": "flood", "name": "anna", "count": SOME}));
    zmq.ask(json!({"do": "close", "name": "anna", "linger": 30_000}));
    host.process.expect(&format!("in all\t{SOME}"));
}

fn what_a_script_says_before_it_hangs_up_arrives(mut zmq: Zmq) {
    let leaves = format!(
        "
function client(source, status)
    if status.message == 'go' then
        for number = 0, {FEW} - 1 do moonport.send(source, tostring(number)) end
        delete_image(source)
        return
    end"
    );
    let script = echo("").replace("function client(source, status)", &leaves);
    let host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    zmq.send("anna", json!(["go"]));
    zmq.ask(json!({"do": "drain", "name": "anna", "count": FEW}));
}

fn a_large_message_that_dies_with_its_script_is_lost_alone(mut zmq: Zmq) {
    let dies = "
function client(source, status)
    if status.message == 'die' then print('dying') while true do end end";
    let script = echo("max_message = 4000000").replace("function client(source, status)", dies);
    let mut host = Moonport::new().script("fleet", &(script + ADOPTS)).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    zmq.send("anna", json!(["die"]));
    host.process.expect("dying");
    // Longer than what may be under way, so that it is cut wherever it is.
    for byte in 0..3 {
        let part = json!({"size": 3_900_000 + u32::from(byte == 1), "byte": byte});
        zmq.send("anna", json!([part]));
    }
    zmq.send("anna", json!(["last"]));
    host.kill_child("moonport-script");
    host.process.expect("adopted");
    let mut sizes = Vec::new();
    loop {
        let came = zmq.recv("anna");
        if came == json!(["last"]) {
            break;
        }
        sizes.push(came[0]["size"].clone());
    }
    let whole = [json!(3_900_000), json!(3_900_001), json!(3_900_000)];
    assert!(whole.ends_with(&sizes) && sizes.len() >= 2, "{sizes:?}");
}

fn a_replier_that_answers_twice_hears_of_it(mut zmq: Zmq) {
    let twice = "
function client(source, status)
    if status.kind == 'failure' then print('failure', status.message) end
    if status.message == 'twice' then moonport.send(source, 'one') end";
    let script = echo("socket_type = 'rep'").replace("function client(source, status)", twice);
    let mut host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    zmq.connect("anna", "req", ANNA, &host, json!({}));
    zmq.send("anna", json!(["twice"]));
    assert_eq!(zmq.recv("anna"), json!(["one"]));
    host.process.expect("it is not this socket's turn");
    zmq.echo("anna", json!(["moon"]));
}

fn a_listener_that_is_deleted_leaves_its_clients(mut zmq: Zmq) {
    let mut host = fleet("");
    zmq.monitored("anna", ANNA, &host);
    zmq.echo("anna", json!(["moon"]));
    zmq.send("anna", json!(["close"]));
    host.await_listeners(0);
    zmq.echo("anna", json!(["still here"]));
    zmq.send("anna", json!(["leave"]));
    zmq.ask(json!({"do": "events", "name": "anna", "until": "DISCONNECTED"}));
}

fn the_example_carries_reports_and_orders(mut zmq: Zmq) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let example = root().join("examples/fleet.lua");
    let moonport = Moonport::new().file(example).word(&port.to_string());
    let host = moonport.start();
    host.key_accept("fleet,operators", ANNA);
    host.key_accept("fleet", BERT);
    host.key_accept("fleet", CLEO);
    let to = format!("tcp://127.0.0.1:{port}");
    zmq.connect("anna", "dealer", ANNA, &host, json!({"to": to}));
    zmq.send("anna", json!(["who"]));
    assert_eq!(zmq.recv("anna"), json!(["who"]));
    // Cleo calls himself by a name that is taken.
    let pump = json!({"to": to, "options": {"IDENTITY": "pump"}});
    zmq.connect("bert", "dealer", BERT, &host, pump.clone());
    zmq.send("bert", json!(["report", "dry"]));
    assert_eq!(zmq.recv("anna"), json!(["report", "pump", "dry"]));
    zmq.connect("cleo", "dealer", CLEO, &host, pump);
    zmq.send("cleo", json!(["report", "wet"]));
    let cleo = &CLEO.public().to_string()[..8];
    assert_eq!(zmq.recv("anna"), json!(["report", cleo, "wet"]));
    let mut names = ["pump", cleo];
    names.sort();
    zmq.send("anna", json!(["who"]));
    assert_eq!(zmq.recv("anna"), json!(["who", names[0], names[1]]));
    zmq.send("anna", json!(["order", "pump", "", "stop"]));
    assert_eq!(zmq.recv("bert"), json!(["order", "", "stop"]));
    assert_eq!(zmq.recv("anna"), json!(["sent", "pump"]));
    // A machine gives no orders.
    zmq.send("bert", json!(["order", cleo, "stop"]));
    zmq.send("anna", json!(["order", "valve", "stop"]));
    assert_eq!(zmq.recv("anna"), json!(["failed", "valve"]));
    assert_eq!(zmq.ask(json!({"do": "has", "name": "cleo"})), false);
    zmq.close("bert");
    host.stop();
}
