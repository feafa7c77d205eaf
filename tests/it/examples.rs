//! The examples, with the clients that they are for.

use std::fs;

use crate::a12peer::Peer;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, CLEO, EVE};
use crate::process::Process;
use crate::repository::{File, files, root};

/// A host that is to run an example, at an address that nobody else has. The port is its first word.
pub(crate) fn example(name: &str) -> Moonport {
    let text = fs::read_to_string(root().join(format!("examples/{name}.lua"))).unwrap();
    let moonport = Moonport::new();
    let (address, port) = (moonport.place().address, moonport.place().port.to_string());
    let text = text.replace("\"127.0.0.1", &format!("\"{address}"));
    let text = text.replace("://127.0.0.1", &format!("://{address}"));
    moonport.script(name, &text).word(&port)
}

/// How many listeners an example has.
fn listeners(name: &str) -> usize {
    if name == "two_doors" { 2 } else { 1 }
}

/// The examples themselves, and not what lies in folders beside them.
fn examples() -> Vec<(String, String)> {
    let name = |file: File| {
        let name = file.path.strip_prefix("examples/")?.strip_suffix(".lua")?;
        (!name.contains('/')).then(|| (name.to_owned(), file.text))
    };
    let all = files("examples", &[".lua"]);
    all.into_iter().filter_map(name).collect()
}

#[test]
fn examples_come_up_and_end_in_order() {
    for (name, _) in &examples() {
        example(name).start_with(listeners(name)).stop();
    }
}

#[test]
fn every_example_says_how_to_run_it_and_is_in_the_index() {
    let index = fs::read_to_string(root().join("examples/README.md")).unwrap();
    for (name, text) in examples() {
        let head: Vec<_> = text.lines().take_while(|l| l.starts_with("--")).collect();
        let head = head.join("\n");
        assert!(head.starts_with(&format!("-- {name}.lua: ")), "{name}");
        let run =
            |line: &str| line.contains("moonport run") && line.contains(&format!("{name}.lua"));
        assert!(head.lines().any(run), "{name}");
        assert!(index.contains(&format!("]({name}.lua)")), "{name}");
    }
}

#[test]
fn hello_greets_and_repeats() {
    let host = example("hello").start();
    host.client(EVE).refused();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).named("anna").connect();
    anna.expect("hello, anna");
    anna.say("moon");
    anna.expect("you said: moon");
    // Longer than one message of the protocol.
    let long = "moon ".repeat(60);
    anna.say(long.trim_end());
    anna.expect(&format!("you said: {}", long.trim_end()));
    anna.say("close the door");
    anna.expect("the door is closed");
    anna.close_input();
    assert_eq!(anna.wait().code, 0);
}

#[test]
fn hello_greets_a_client_that_is_not_ours() {
    let Some(peer) = Peer::find() else { return };
    let host = example("hello").start();
    host.key_accept("hello", ANNA);
    let arguments = "--register anna --kind 10 --wait-event MESSAGE --timeout 10 --close";
    let arguments: Vec<_> = arguments.split(' ').collect();
    let report = peer.connect(host.place(), ANNA, &arguments);
    assert_eq!(report.code, 0, "{report:?}");
    let said = report.lines.iter().map(ToString::to_string);
    assert!(
        said.into_iter().any(|line| line.contains("hello, anna")),
        "{report:?}"
    );
}

#[test]
fn in_the_chat_everybody_hears_everybody() {
    let host = example("chat").start();
    for who in [ANNA, BERT, CLEO] {
        host.key_accept("chat", who);
    }
    let enter = |who, name, here: &str| {
        let mut person = host.client(who).named(name).connect();
        person.expect(here);
        person
    };
    let mut anna = enter(ANNA, "anna", "welcome, anna; here: anna");
    let mut bert = enter(BERT, "bert", "welcome, bert; here: anna, bert");
    // A name that is taken is not had twice.
    let mut cleo = enter(CLEO, "bert", "welcome, bert 2; here: anna, bert, bert 2");
    anna.expect("bert has come");
    anna.expect("bert 2 has come");
    anna.say("good evening");
    bert.expect("anna: good evening");
    cleo.expect("anna: good evening");
    cleo.say("/leave");
    anna.expect("bert 2 has left");
    bert.say("/who");
    bert.expect("here: anna, bert");
}

#[test]
fn enrol_lets_its_count_in() {
    let mut host = example("enrol").word("1").word("300").start();
    let secret = host.process.expect("the secret: ");
    let (_, secret) = secret.split_once("the secret: ").unwrap();
    host.process.expect("the window: opened");
    host.process.expect(" s left for 1 more");
    host.client(ANNA).secret(secret).connect().expect("welcome");
    host.process
        .expect(&format!("a new machine: {}", ANNA.public()));
    host.process.expect("the window: spent");
    host.client(BERT).secret(secret).refused();
}

#[test]
fn an_admin_opens_a_window_of_enrol_and_sees_it_run_out() {
    let host = example("enrol").start();
    host.key_accept("enrol", BERT);
    host.key_accept("enrol", ANNA);
    host.key_accept("admins", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome, admin");
    let mut bert = host.client(BERT).connect();
    bert.expect("welcome");

    // Only admins are heard.
    bert.say("open 1 60");
    let open = |anna: &mut Process, what: &str| {
        anna.say(what);
        let secret = anna.expect("the secret: ");
        anna.expect("the window: opened");
        let (_, secret) = secret.split_once("the secret: ").unwrap();
        secret.to_owned()
    };
    let secret = open(&mut anna, "open 2 300");
    anna.expect(" s left for 2 more");
    host.client(CLEO)
        .secret(&secret)
        .connect()
        .expect("welcome");
    anna.expect(&format!("a new machine: {}", CLEO.public()));
    anna.say("close");
    anna.expect("the window: closed");
    host.client(EVE).secret(&secret).refused();

    let secret = open(&mut anna, "open 1 4");
    for _ in 0..2 {
        anna.expect(" s left for 1 more");
    }
    anna.expect("the window: expired");
    host.client(EVE).secret(&secret).refused();
    assert_eq!(host.keys().len(), 3);
}

/// Each is let in at the door that its key is accepted for, and at no other.
#[test]
fn two_doors_are_two_scopes() {
    let host = example("two_doors").start_with(2);
    let admins = host.place().port + 1;
    host.key_accept("users", BERT);
    host.key_accept("admins", ANNA);
    host.client(BERT).port(admins).refused();
    host.client(ANNA).refused();

    let admin = |host: &Host| -> Process {
        let mut admin = host.client(ANNA).port(admins).connect();
        admin.expect("welcome, admin");
        admin
    };
    let mut anna = admin(&host);
    let mut bert = host.client(BERT).named("bert").connect();
    bert.expect("welcome");
    anna.expect("bert has come");
    bert.say("is anybody there?");
    anna.expect("bert: is anybody there?");
    anna.say("yes");
    bert.expect("yes");
    anna.say("/who");
    anna.expect("users: bert");
    anna.say("/out bert");
    anna.expect("bert is out");
    bert.wait();
}
