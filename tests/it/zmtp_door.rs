//! Which clients of ZeroMQ are let in, and what those hear that are not.

use serde_json::{Value, json};

use crate::host::Moonport;
use crate::key::{ANNA, BERT, CLEO, EVE};
use crate::zmq::{Zmq, credentials, with_each_libzmq};
use crate::zmtp::{echo, fleet};

with_each_libzmq!(
    i1_a_stranger_is_told_400_once_and_does_not_come_again,
    a_key_for_another_name_is_refused,
    a_key_is_accepted_as_zeromq_writes_it,
    a_client_with_the_wrong_server_key_is_turned_away_and_told_nothing,
    keys_of_nothing_but_zeros_get_nowhere,
    clients_without_keys_are_turned_away,
    clients_without_keys_come_in_where_that_is_said,
    i5_a_revoked_client_is_cut_and_then_refused,
    i4_a_client_whose_script_does_not_take_it_is_refused,
    i2_a_window_without_a_secret_lets_its_count_in,
    what_a_client_tells_of_itself_is_shown,
    clients_hear_what_the_listener_tells_of_itself,
);

fn i1_a_stranger_is_told_400_once_and_does_not_come_again(mut zmq: Zmq) {
    let host = fleet("");
    zmq.monitored("eve", EVE, &host);
    zmq.refused("eve");
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    for number in 0..200 {
        zmq.echo("anna", json!([number.to_string()]));
    }
    // It would have come again within milliseconds.
    let since = zmq.seen("eve");
    for again in ["CONNECTED", "CONNECT_RETRIED", "HANDSHAKE_FAILED_AUTH"] {
        assert!(!since.iter().any(|event| event == again), "{since:?}");
    }
    assert_eq!(host.keys(), [ANNA.public()]);
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "Anna's: {said}");
}

fn a_key_for_another_name_is_refused(mut zmq: Zmq) {
    let host = fleet("");
    host.key_accept("other", BERT);
    zmq.monitored("bert", BERT, &host);
    zmq.refused("bert");
    let said = host.process.terminate().text();
    assert!(!said.contains("segment_request"), "{said}");
}

fn a_key_is_accepted_as_zeromq_writes_it(mut zmq: Zmq) {
    let host = fleet("");
    let keys = credentials(EVE, &host);
    let z85 = keys["public"].as_str().unwrap();
    host.admin(["key", "accept", z85, "--scope", "fleet"]);
    zmq.connect("eve", "dealer", EVE, &host, json!({}));
    zmq.echo("eve", json!(["moon"]));
}

fn a_client_with_the_wrong_server_key_is_turned_away_and_told_nothing(mut zmq: Zmq) {
    let host = fleet("");
    let server = identity::z85::encode(EVE.public().as_bytes()).to_string();
    let wrong = json!({"server": server, "monitor": true});
    zmq.connect("anna", "dealer", ANNA, &host, wrong);
    let end = zmq.turned_away("anna");
    assert_ne!(end[0], "HANDSHAKE_FAILED_AUTH", "{end}");
    zmq.close("anna");
    let said = host.process.terminate().text();
    assert!(!said.contains("segment_request"), "{said}");
}

fn keys_of_nothing_but_zeros_get_nowhere(mut zmq: Zmq) {
    let host = fleet("");
    let zeros = "0".repeat(40);
    for which in ["server", "public", "secret"] {
        let keys = json!({which: zeros, "monitor": true});
        zmq.connect(which, "dealer", ANNA, &host, keys);
        zmq.turned_away(which);
        zmq.close(which);
    }
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    zmq.echo("anna", json!(["moon"]));
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "{said}");
}

fn clients_without_keys_are_turned_away(mut zmq: Zmq) {
    let host = fleet("");
    for mechanism in ["null", "plain"] {
        let how = json!({"mechanism": mechanism, "monitor": true});
        zmq.connect(mechanism, "dealer", ANNA, &host, how);
        let end = zmq.turned_away(mechanism);
        assert_ne!(end[0], "HANDSHAKE_FAILED_AUTH", "{mechanism}: {end}");
        zmq.close(mechanism);
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("segment_request"), "{said}");
}

fn clients_without_keys_come_in_where_that_is_said(mut zmq: Zmq) {
    let mut host = fleet("keyless = true");
    for mechanism in ["null", "plain", "curve"] {
        zmq.connect(
            mechanism,
            "dealer",
            ANNA,
            &host,
            json!({"mechanism": mechanism}),
        );
        zmq.echo(mechanism, json!([mechanism]));
    }
    let sessions = host.json(["key", "sessions", "--json"]);
    let keys: Vec<_> = sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["key"])
        .collect();
    let anna = json!(ANNA.public().to_string());
    assert_eq!(keys, [&Value::Null, &Value::Null, &anna]);
    // Revoking a key does not touch those that have none.
    host.admin(["key", "revoke", &ANNA.public().to_string(), "--yes"]);
    host.process.expect("terminated");
    zmq.echo("null", json!(["still"]));
    assert_eq!(host.keys(), [ANNA.public()]);
    let said = host.process.terminate().text();
    assert!(!said.contains("admin"), "a password is shown: {said}");
}

fn i5_a_revoked_client_is_cut_and_then_refused(mut zmq: Zmq) {
    let host = fleet("");
    host.key_accept("fleet", BERT);
    zmq.connect("bert", "dealer", BERT, &host, json!({}));
    zmq.echo("bert", json!(["moon"]));
    zmq.monitored("anna", ANNA, &host);
    zmq.echo("anna", json!(["moon"]));
    host.admin(["key", "revoke", &ANNA.public().to_string(), "--yes"]);
    assert_eq!(host.sessions(), 1);
    zmq.ask(json!({"do": "events", "name": "anna", "until": "DISCONNECTED"}));
    zmq.refused("anna");
    zmq.echo("bert", json!(["moon"]));
}

fn i4_a_client_whose_script_does_not_take_it_is_refused(mut zmq: Zmq) {
    for instead in ["", "error('no')"] {
        let script = echo("").replace("accept_target(client)", instead);
        let mut host = Moonport::new().script("fleet", &script).start();
        host.key_accept("fleet", ANNA);
        zmq.monitored("anna", ANNA, &host);
        host.process.expect("segment_request");
        zmq.refused("anna");
        zmq.close("anna");
        host.stop();
    }
}

fn i2_a_window_without_a_secret_lets_its_count_in(mut zmq: Zmq) {
    let window = "window = { count = 2, without_secret = true },";
    let script = echo("").replace("port = PORT,", &format!("port = PORT, {window}"));
    let host = Moonport::new().script("fleet", &script).start();
    for (name, who) in [("anna", ANNA), ("bert", BERT)] {
        zmq.connect(name, "dealer", who, &host, json!({}));
        zmq.echo(name, json!(["moon"]));
    }
    zmq.monitored("cleo", CLEO, &host);
    zmq.refused("cleo");
    // Known by now.
    zmq.close("anna");
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    zmq.echo("anna", json!(["moon"]));
    let mut keys = host.keys();
    keys.sort_by_key(|key| *key.as_bytes());
    let mut expected = [ANNA.public(), BERT.public()];
    expected.sort_by_key(|key| *key.as_bytes());
    assert_eq!(keys, expected);
}

fn what_a_client_tells_of_itself_is_shown(mut zmq: Zmq) {
    let script = echo("").replace(
        "accept_target(client)",
        r#"print("shown", status.protocol, status.zmtp_socket_type, status.zmtp_identity,
            status.properties["X-Rack"], status.a12_pubk, status.a12_tags, status.a12_new)
        accept_target(client)"#,
    );
    let mut host = Moonport::new().script("fleet", &script).start();
    host.key_accept("fleet", ANNA);
    let options = json!({"IDENTITY": "node 7", "METADATA": "X-Rack:north"});
    zmq.connect("anna", "dealer", ANNA, &host, json!({"options": options}));
    let key = ANNA.public();
    host.process.expect(&format!(
        "shown\tzmtp\tdealer\tnode 7\tnorth\t{key}\tfleet\tfalse"
    ));
    zmq.echo("anna", json!(["moon"]));
    let long = "n".repeat(255);
    let options = json!({"IDENTITY": long});
    zmq.connect("long", "req", ANNA, &host, json!({"options": options}));
    host.process.expect(&format!("\treq\t{long}\tnil\t"));
}

fn clients_hear_what_the_listener_tells_of_itself(mut zmq: Zmq) {
    let long = "m".repeat(254);
    let told = format!("identity = '{long}', properties = {{ ['X-Fleet'] = 'north' }}");
    let host = fleet(&told);
    zmq.connect("anna", "dealer", ANNA, &host, json!({}));
    let mut hears = |property: &str| -> Value {
        zmq.send("anna", json!(["moon"]));
        zmq.ask(json!({"do": "property", "name": "anna", "property": property}))
    };
    assert_eq!(hears("X-Fleet"), "north");
    assert_eq!(hears("Identity"), Value::String(long));
    assert_eq!(hears("Socket-Type"), "ROUTER");
}
