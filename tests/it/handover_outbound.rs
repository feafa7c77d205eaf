//! A new program takes a running one's place: connections that the old one has made.

use serde_json::json;

use crate::handover::{begin, version};
use crate::host::Moonport;
use crate::key::CLEO;
use crate::zmq::{Zmq, with_each_libzmq};

with_each_libzmq!(what_a_script_says_on_its_connections_arrives_once_though_they_are_made_anew,);

/// Sends numbers to a server, a few at a time, and goes on where the old
/// program was.
const NUMBERS: &str = r#"
local state = moonport.state
state.next = state.next or 0
local up = false
local vid = moonport.connect({ address = "zmtp://" .. appl_arguments()[1], key = appl_arguments()[2],
    options = { socket_type = "push" } }, function(source, status)
    if status.kind == "connected" then
        up = true
        print("program VERSION connected")
    end
end)
function numbers_clock_pulse_batch()
    for _ = 1, up and 10 or 0 do
        if moonport.send(vid, state.next .. (" "):rep(2000)) then state.next = state.next + 1 end
    end
end
"#;

fn what_a_script_says_on_its_connections_arrives_once_though_they_are_made_anew(mut zmq: Zmq) {
    let z85 = |key: &[u8]| identity::z85::encode(key.try_into().unwrap()).to_string();
    let server = zmq.ask(json!({
        "do": "bind", "name": "server", "type": "pull", "endless": true,
        "public": z85(CLEO.public().as_bytes()), "secret": z85(&CLEO.private()),
    }));
    let server = server.as_str().unwrap().replace("tcp://", "");
    let host = Moonport::new().script("numbers", &version(NUMBERS, 1));
    let host = host.option("--allow-connect").option("*").word(&server);
    let mut host = host.word(&CLEO.public().to_string()).start_with(0);
    let mut hear = || -> Vec<usize> {
        let came = zmq.ask(json!({"do": "collect", "name": "server"}));
        serde_json::from_value(came).unwrap()
    };
    let mut heard = Vec::new();
    for number in 1..8 {
        host.process.expect(&format!("program {number} connected"));
        let before = heard.len();
        while heard.len() < before + 200 {
            heard.extend(hear());
        }
        begin(&host, "numbers", NUMBERS, number + 1).join().unwrap();
    }
    host.process.expect("program 8 connected");
    let ended = host.process.terminate();
    assert_eq!(ended.code, 0, "{}", ended.text());
    // What is missing may be on its way by another connection.
    loop {
        heard.sort_unstable();
        let twice = heard.windows(2).find(|pair| pair[0] == pair[1]);
        assert_eq!(twice, None);
        if heard.iter().copied().eq(0..heard.len()) {
            break;
        }
        heard.extend(hear());
    }
}

/// Writes to a server, and counts what it has written.
const SOURCE: &str = r#"
local state = moonport.state
local up = false
local vid = moonport.connect({ address = appl_arguments()[1] }, function(source, status)
    up = status.kind == "connected"
end)
function source_clock_pulse_batch()
    if up then
        state.written = (state.written or 0) + (moonport.write(vid, ("x"):rep(5000)) or 0)
        print("program VERSION writes")
    end
end
function source_reload()
    print("written", state.written)
    state.written = 0
end
"#;

/// Counts what comes from each client.
const SINK: &str = r#"
moonport.listen({
    name = "sink", interface = "curvecp://" .. ADDRESS, port = PORT, options = { anonymous = true },
}, function(_, status)
    if status.kind ~= "segment_request" then return end
    local count = 0
    accept_target(function(source, status)
        if status.kind == "data" then count = count + #status.data end
        if status.kind == "eof" then moonport.finish(source) end
        if status.kind == "terminated" then print("arrived", count) end
    end)
end)
"#;

#[test]
fn what_a_script_writes_to_a_server_arrives_though_the_connection_is_made_anew() {
    let host = Moonport::new()
        .script("sink", SINK)
        .script("source", &version(SOURCE, 1))
        .option("--allow-connect=*");
    let key = data_encoding::BASE64.decode(host.place().host_key().as_bytes());
    let key = data_encoding::HEXLOWER.encode(&key.unwrap());
    let address = format!("curvecp://{key}@{}/sink", host.place().at());
    let mut host = host.word(&address).start_with(1);
    for number in 1..4 {
        host.process.expect(&format!("program {number} writes"));
        begin(&host, "source", SOURCE, number + 1).join().unwrap();
        let written = host.process.expect("written\t");
        let arrived = host.process.expect("arrived\t");
        let count = |line: &str| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap();
        assert_eq!(count(&arrived), count(&written));
    }
    host.stop();
}
