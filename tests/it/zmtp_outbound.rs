//! Scripts as clients of libzmq's servers.

use serde_json::{Value, json};

use crate::host::{Host, Moonport};
use crate::key::{CLEO, EVE};
use crate::zmq::{Zmq, with_each_libzmq};

with_each_libzmq!(
    a_script_talks_to_a_server_and_finds_it_again_when_it_comes_back,
    a_server_that_refuses_ends_the_connection,
    a_server_of_another_key_is_not_talked_to,
    a_script_reaches_nothing_that_is_not_allowed,
);

const CLIENT: &str = r#"
local server, key = appl_arguments()[1], appl_arguments()[2]
local hears = function(source, status)
    print("server", status.kind, status.message or status.last_words or "")
    if status.kind == "message" and status.message == "end" then
        delete_image(source)
        shutdown("done")
    end
end
vid = moonport.connect({ address = "zmtp://" .. server, key = key }, hears)
print("sent", moonport.send(vid, "early", "bird"))
"#;

/// A server with Cleo's key; says where, without the scheme.
fn serve(zmq: &mut Zmq, more: Value) -> String {
    let z85 = |key: &[u8]| identity::z85::encode(key.try_into().unwrap()).to_string();
    let mut command = json!({
        "do": "bind", "name": "server", "type": "router",
        "public": z85(CLEO.public().as_bytes()),
        "secret": z85(&CLEO.private()),
    });
    for (key, value) in more.as_object().unwrap() {
        command[key] = value.clone();
    }
    let endpoint = zmq.ask(command);
    endpoint.as_str().unwrap().replace("tcp://", "")
}

fn client(server: &str, key: &str, allowed: &str) -> Host {
    let host = Moonport::new().script("client", CLIENT);
    let host = host.option("--allow-connect").option(allowed);
    host.word(server).word(key).start_with(0)
}

fn a_script_talks_to_a_server_and_finds_it_again_when_it_comes_back(mut zmq: Zmq) {
    let server = serve(&mut zmq, json!({}));
    let mut host = client(&server, &CLEO.public().to_string(), &server);
    let first = zmq.recv("server");
    assert_eq!((&first[1], &first[2]), (&json!("early"), &json!("bird")));
    host.process.expect("server\tconnected");
    zmq.send("server", json!([first[0], "hello"]));
    host.process.expect("server\tmessage\thello");

    zmq.close("server");
    host.process.expect("server\tdisconnected");
    serve(&mut zmq, json!({"to": format!("tcp://{server}")}));
    host.process.expect("server\tconnected");
    let status = host.status();
    assert_eq!(status["sessions"], 0, "it is nobody's client: {status}");
    host.stop();
}

fn a_server_that_refuses_ends_the_connection(mut zmq: Zmq) {
    let server = serve(&mut zmq, json!({"refuses": true}));
    let mut host = client(&server, &CLEO.public().to_string(), "*");
    host.process.expect("server\tterminated\trefused");
    host.stop();
}

fn a_server_of_another_key_is_not_talked_to(mut zmq: Zmq) {
    let server = serve(&mut zmq, json!({}));
    let mut host = client(&server, &EVE.public().to_string(), "*");
    // libzmq hangs up on who wants another server, so it might be back any time.
    host.process.expect("server\tdisconnected");
    assert_eq!(zmq.ask(json!({"do": "has", "name": "server"})), false);
    host.stop();
}

fn a_script_reaches_nothing_that_is_not_allowed(mut zmq: Zmq) {
    let server = serve(&mut zmq, json!({}));
    let key = CLEO.public().to_string();
    let mut host = client(&server, &key, "127.0.0.1:1");
    let told = host.process.expect("may not connect to");
    assert!(
        told.contains(&format!("--allow-connect {server}")),
        "{told}"
    );
    host.process.expect("server\tterminated\tnot allowed");
    host.stop();
}
