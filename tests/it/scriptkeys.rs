//! Keys that scripts list and change, where whoever runs the host allows it.

use std::net::TcpListener;

use serde_json::Value;

use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};
use crate::process::Process;
use crate::repository::root;

/// Does what its first client says: a word, a key and one more word.
const KEYS: &str = r#"
local function client(source, status)
    if status.kind == "registered" then
        message_target(source, "welcome")
    elseif status.kind == "message" then
        local verb, what, more = status.message:match("^(%w+) (%S+) ?(%S*)$")
        local function told(answer)
            local keys = {}
            for _, key in ipairs(answer.keys or {}) do
                table.insert(keys, ("%s %s %s"):format(key.label, key.standing, tostring(key.elsewhere)))
            end
            table.sort(keys)
            print("told", verb, answer.ok, answer.message, table.concat(keys, "|"))
        end
        local words = { what }
        if more ~= "" then
            table.insert(words, verb == "expire" and tonumber(more) or more)
        end
        table.insert(words, told)
        print("asked", pcall(moonport.keys[verb], unpack(words)))
    end
end
net_listen("lab", ADDRESS, PORT, function(_, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

fn host(allowed: &[&str]) -> Host {
    let mut moonport = Moonport::new();
    for name in allowed {
        moonport = moonport.option(&format!("--allow-keys={name}"));
    }
    let host = moonport.script("keys", KEYS).start();
    host.key_accept("lab", ANNA);
    host
}

fn inside(host: &Host, who: Key) -> Process {
    let mut client = host.client(who).connect();
    client.expect("welcome");
    client
}

fn standing(host: &Host, who: Key) -> Value {
    let key = who.public().to_string();
    let keys = host.json(["key", "list", "--json"]);
    let mut keys = keys.as_array().unwrap().iter();
    keys.find(|it| it["key"] == *key)
        .cloned()
        .unwrap_or_default()
}

#[test]
fn i5_a_key_that_a_script_revokes_is_cut_before_the_script_hears_that_it_is_done() {
    for verb in ["revoke", "ban"] {
        let mut host = host(&["lab"]);
        let (bert, cleo) = (BERT.public(), CLEO.public());
        host.key_accept("lab", CLEO);
        let mut anna = inside(&host, ANNA);
        anna.say(&format!("accept {bert} Bert"));
        anna.say(&format!("accept {bert} lab"));
        host.process.expect("told\taccept\ttrue");
        let client = inside(&host, BERT);
        let mut stays = inside(&host, CLEO);
        anna.say(&format!("{verb} {bert}"));
        host.process.expect(&format!("told\t{verb}\ttrue"));
        assert_eq!(host.sessions(), 2);
        assert_ne!(client.wait().code, 0);
        host.client(BERT).refused();
        stays.say(&format!("label {cleo} Cleo"));
        host.process.expect("told\tlabel\ttrue");
        let log = host.admin(["audit", "show"]);
        assert!(log.contains("script keys"), "{log}");
        // It is no less durable than what an admin does.
        host.kill().start().client(BERT).refused();
    }
}

#[test]
fn a_script_sees_the_keys_of_its_names() {
    let mut host = host(&["lab"]);
    host.admin([
        "key",
        "accept",
        &BERT.public().to_string(),
        "--scope",
        "lab,files",
    ]);
    host.key_accept("files", CLEO);
    let mut anna = inside(&host, ANNA);
    let (a, b) = (ANNA.public(), BERT.public());
    anna.say(&format!("label {a} Anna"));
    host.process.expect("told\tlabel\ttrue");
    // It would be called so elsewhere, too.
    anna.say(&format!("label {b} Bert"));
    let told = host.process.expect("told\tlabel\tfalse");
    assert!(told.contains("accepted for other names, too"), "{told}");
    anna.say("list lab");
    let told = host.process.expect("told\tlist\ttrue");
    assert!(
        told.ends_with("Anna accepted false|nil accepted true"),
        "{told}"
    );
}

#[test]
fn a_script_changes_nothing_beyond_its_names() {
    let mut host = host(&["lab"]);
    let bert = BERT.public();
    host.admin(["key", "accept", &bert.to_string(), "--scope", "lab,files"]);
    host.admin(["key", "accept", &CLEO.public().to_string(), "--scope", "*"]);
    let mut anna = inside(&host, ANNA);
    for wish in ["ban", "revoke", "expire"] {
        anna.say(&format!("{wish} {bert}"));
        host.process.expect(&format!("told\t{wish}\tfalse"));
    }
    let (cleo, eve) = (CLEO.public(), EVE.public());
    anna.say(&format!("revoke {cleo} lab"));
    let told = host.process.expect("told\trevoke\tfalse");
    assert!(told.contains("for all names"), "{told}");
    anna.say(&format!("ban {eve}"));
    let told = host.process.expect("told\tban\tfalse");
    assert!(told.contains("nobody knows this key"), "{told}");
    // Another name is not even asked for.
    for wish in [format!("accept {eve} files"), "list files".to_owned()] {
        anna.say(&wish);
        let told = host.process.expect("asked\tfalse");
        assert!(told.contains("the keys of files are not"), "{told}");
    }
    // What is its own is taken away, and nothing else.
    anna.say(&format!("revoke {bert} lab"));
    host.process.expect("told\trevoke\ttrue");
    let left = standing(&host, BERT);
    assert_eq!(left["scopes"], serde_json::json!(["files"]), "{left}");
    host.client(BERT).refused();
    inside(&host, CLEO);
}

#[test]
fn without_permission_there_is_an_error_that_says_what_to_do() {
    let mut host = host(&[]);
    let mut anna = inside(&host, ANNA);
    anna.say(&format!("revoke {}", BERT.public()));
    host.process.expect("asked\tfalse");
    anna.say("list lab");
    host.process.expect("asked\tfalse");
    let script = "moonport.keys.list('lab', print)";
    let ended = Moonport::new().script("keys", script).run();
    assert_eq!(ended.code, 1);
    let text = ended.text();
    assert!(text.contains("moonport run --allow-keys lab"), "{text}");
}

#[test]
fn all_names_are_all_names() {
    let mut host = host(&["*"]);
    let mut anna = inside(&host, ANNA);
    anna.say(&format!("accept {} files", EVE.public()));
    host.process.expect("told\taccept\ttrue");
    anna.say(&format!("ban {}", EVE.public()));
    host.process.expect("told\tban\ttrue");
    anna.say(&format!("expire {} 1", ANNA.public()));
    host.process.expect("told\texpire\ttrue");
    assert_ne!(anna.wait().code, 0);
}

#[test]
fn the_example_has_moderators_who_revoke() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let mut host = Moonport::new()
        .option("--allow-keys=revoke")
        .file(root().join("examples/revoke.lua"))
        .word(&port.to_string())
        .start();
    host.key_accept("revoke", BERT);
    host.admin([
        "key",
        "accept",
        &ANNA.public().to_string(),
        "--scope",
        "revoke,moderators",
    ]);
    let to = format!("127.0.0.1:{port}");
    let connect = |who: Key| host.client(who).to(&to).connect();
    let name = |client: &mut Process| {
        let welcome = client.expect("welcome, ");
        let (_, name) = welcome.split_once("welcome, ").unwrap();
        name.trim().to_owned()
    };
    let (mut anna, mut bert) = (connect(ANNA), connect(BERT));
    let (annas, berts) = (name(&mut anna), name(&mut bert));
    bert.say(&format!("/revoke {annas}"));
    bert.expect("only moderators");
    anna.say("/revoke nobody-else");
    anna.expect("nobody here is called");
    anna.say(&format!("/revoke {berts}"));
    anna.expect(&format!("{berts} is revoked"));
    assert_ne!(bert.wait().code, 0);
    connect(BERT).wait();
    assert_eq!(standing(&host, BERT)["state"], "revoked");
    host.process.expect("listening");
}
