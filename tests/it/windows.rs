//! What becomes of windows, as a script and an admin see it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, CLEO, EVE, Key};

/// Takes everybody who is proved, and prints what its windows do. `SETUP` is run at once, and
/// whatever a client says later.
const SCRIPT: &str = r#"
local function client(source, status)
    if status.kind == "registered" then
        message_target(source, "welcome")
    elseif status.kind == "message" then
        target_input(listener, status.message)
    end
end

local function listening(source, status)
    if status.kind == "window" then
        print("window", status.event, status.left)
    elseif status.kind == "failure" then
        print("failure", status.message)
    elseif status.kind == "segment_request" then
        print("new", status.a12_new)
        accept_target(client)
    end
end

SETUP
"#;

const LISTEN: &str = "listener = net_listen('lab', ADDRESS, PORT, listening)";

fn host(setup: &str) -> Host {
    Moonport::new()
        .script("lab", &SCRIPT.replace("SETUP", setup))
        .start()
}

#[track_caller]
fn is_let_in(host: &Host, who: Key, secret: &str) {
    host.client(who).secret(secret).connect().expect("welcome");
}

/// A first packet of noise; returns once the other side has closed.
fn guess(at: SocketAddr) {
    let mut stream = TcpStream::connect(at).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(&[0x5a; 153]).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty(), "noise was answered");
}

#[test]
fn a_script_hears_what_its_window_does() {
    let mut host = host(&format!("{LISTEN}\ntarget_input(listener, '2:sekrit')"));
    host.process.expect("window\topened\t2");
    is_let_in(&host, ANNA, "sekrit");
    host.process.expect("new\ttrue");
    host.process.expect("window\tenrolled\t1");
    is_let_in(&host, ANNA, "sekrit");
    host.process.expect("new\tfalse");
    is_let_in(&host, BERT, "sekrit");
    host.process.expect("window\tenrolled\t0");
    host.process.expect("window\tspent\t0");
    host.stop();
}

#[test]
fn a_later_secret_replaces_the_one_before_and_its_window() {
    let mut host = host(&format!("{LISTEN}\ntarget_input(listener, '2:first')"));
    host.process.expect("window\topened\t2");
    let mut anna = host.client(ANNA).secret("first").connect();
    anna.expect("welcome");
    anna.say("1:second");
    host.process.expect("window\tclosed\t0");
    host.process.expect("window\topened\t1");
    host.client(ANNA).secret("first").refused();
    host.client(EVE).secret("first").refused();
    is_let_in(&host, ANNA, "second");
    is_let_in(&host, BERT, "second");
    host.client(EVE).secret("second").refused();
}

#[test]
fn i2_the_same_secret_after_a_restart_goes_on_with_what_was_left() {
    let mut host = host(&format!("{LISTEN}\ntarget_input(listener, '2:sekrit')"));
    host.process.expect("window\topened\t2");
    is_let_in(&host, ANNA, "sekrit");
    let mut host = host.kill().start();
    host.process.expect("window\tresumed\t1");
    is_let_in(&host, BERT, "sekrit");
    host.client(EVE).secret("sekrit").refused();
    let mut host = host.kill().start();
    host.process.expect("window\tresumed\t0");
    host.client(EVE).secret("sekrit").refused();
    is_let_in(&host, ANNA, "sekrit");
}

#[test]
fn i2_a_window_ends_by_its_time() {
    let listen = "listener = moonport.listen({
        name = 'lab', interface = ADDRESS, port = PORT,
        secret = 'sekrit', window = { count = 5, for_s = 2 },
    }, listening)";
    let mut host = host(listen);
    host.process.expect("window\topened\t5");
    is_let_in(&host, ANNA, "sekrit");
    host.process.expect("window\texpired\t0");
    host.client(EVE).secret("sekrit").refused();
    // What is known stays known, without the secret; and with it, for a day.
    host.client(ANNA).connect().expect("welcome");
    is_let_in(&host, ANNA, "sekrit");
}

#[test]
fn a_window_beside_the_required_secret_is_for_strangers_only() {
    let listen = "listener = moonport.listen({
        name = 'lab', interface = ADDRESS, port = PORT,
        secret = 'house', window = { count = 1, secret = 'guest' },
    }, listening)";
    let mut host = host(listen);
    host.process.expect("window\topened\t1");
    host.key_accept("lab", ANNA);
    is_let_in(&host, ANNA, "house");
    host.client(ANNA).refused();
    host.client(EVE).secret("house").refused();
    is_let_in(&host, BERT, "guest");
    host.client(EVE).secret("guest").refused();
    // Known now, it knows the house's secret or comes by the one that let it in.
    is_let_in(&host, BERT, "house");
    is_let_in(&host, BERT, "guest");
    // A spent window is for those that it let in.
    host.client(ANNA).secret("guest").refused();
}

#[test]
fn closing_a_window_closes_it_at_once() {
    let mut host = host(LISTEN);
    let secret = host.window_open("lab", 2);
    host.process.expect("window\topened\t2");
    is_let_in(&host, CLEO, &secret);
    let windows: serde_json::Value =
        serde_json::from_str(&host.admin(["window", "list", "--json"])).unwrap();
    let window = windows[0]["window"].as_str().unwrap();
    host.admin(["window", "close", window, "--yes"]);
    host.process.expect("window\tclosed\t0");
    host.client(EVE).secret(&secret).refused();
    host.client(CLEO).connect().expect("welcome");
}

#[test]
fn a_window_is_for_its_name_only() {
    let host = host(LISTEN);
    let secret = host.window_open("elsewhere", 2);
    host.client(EVE).secret(&secret).refused();
    host.key_accept("elsewhere", EVE);
    host.client(EVE).refused();
}

#[test]
fn too_many_guesses_shut_a_window_whose_secret_a_person_made_up() {
    let mut host = host(&format!("{LISTEN}\ntarget_input(listener, '5:hello')"));
    host.process.expect("window\topened\t5");
    is_let_in(&host, ANNA, "hello");
    let status = host.status();
    let at: SocketAddr = status["listeners"][0]["addresses"][0]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let crowd: Vec<_> = (0..20)
        .map(|_| std::thread::spawn(move || (0..10).for_each(|_| guess(at))))
        .collect();
    crowd
        .into_iter()
        .for_each(|guesser| guesser.join().unwrap());
    host.process.expect("window\tguessed\t0");
    host.client(EVE).secret("hello").refused();
    is_let_in(&host, ANNA, "hello");
}

#[test]
fn i10_a_script_that_opens_one_after_the_other_keeps_nobody_waiting() {
    let flood = "for i = 1, 3000 do target_input(listener, '1:secret' .. i) end";
    let last = "target_input(listener, '2:secret3001')";
    let mut host = host(&format!("{LISTEN}\n{flood}\n{last}"));
    host.process.expect("window\topened\t2");
    // The admin is answered, and the last one counts.
    let listed: serde_json::Value =
        serde_json::from_str(&host.admin(["window", "list", "--json"])).unwrap();
    assert!(listed.as_array().unwrap().len() < 40, "{listed}");
    is_let_in(&host, ANNA, "secret3001");
    host.client(EVE).secret("secret1").refused();
}

/// Opens windows, lists and closes them, as a client says.
const KEEPER: &str = r#"
local function client(source, status)
    if status.kind == "registered" then
        message_target(source, "welcome")
    elseif status.kind ~= "message" then
        return
    elseif status.message == "open" then
        last = moonport.window({ listener = listener, label = "guest", for_s = 600 })
        print("made", last.id, last.secret)
    elseif status.message == "list" then
        for _, it in ipairs(moonport.windows(listener)) do
            print("listed", it.label, it.open, it.left, it.enrolled, it.ends_in_s > 0, it.secret)
        end
    else
        moonport.close_window(listener, status.message == "close" and last.id or status.message)
    end
end

listener = net_listen('lab', ADDRESS, PORT, function(source, status)
    if status.kind == "window" then
        print("window", status.event, status.label, last and status.id == last.id)
    elseif status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

#[test]
fn a_script_opens_lists_and_closes_windows_of_its_name() {
    let mut host = Moonport::new().script("lab", KEEPER).start();
    host.key_accept("lab", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("open");
    let made = host.process.expect("made\t");
    let secret = made.rsplit('\t').next().unwrap().to_owned();
    host.process.expect("window\topened\tguest\ttrue");
    anna.say("list");
    host.process.expect("listed\tguest\ttrue\t1\t0\ttrue\tnil");
    is_let_in(&host, BERT, &secret);
    host.process.expect("window\tspent\tguest\ttrue");
    let shown = host.json(["window", "show", "guest", "--json"]);
    assert_eq!(shown["opened_by"], "script lab");
    assert_eq!(shown["keys"][0]["key"], BERT.public().to_string());

    anna.say("open");
    let made = host.process.expect("made\t");
    let secret = made.rsplit('\t').next().unwrap().to_owned();
    host.process.expect("window\topened\tguest\ttrue");
    anna.say("close");
    host.process.expect("window\tclosed\tguest\ttrue");
    host.client(EVE).secret(&secret).refused();
    anna.say("list");
    host.process
        .expect("listed\tguest\tfalse\t0\t1\tfalse\tnil");
    host.process
        .expect("listed\tguest\tfalse\t0\t0\tfalse\tnil");
}

#[test]
fn a_script_touches_and_sees_no_windows_of_other_names() {
    let mut host = Moonport::new().script("lab", KEEPER).start();
    host.key_accept("lab", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let others = host.json(["window", "open", "elsewhere", "--json"]);
    let other = others["window"].as_str().unwrap();
    anna.say(other);
    host.process.expect("window\tfailed\tnil");
    let open = host.json(["window", "list", "--json"]);
    assert_eq!(open[0]["window"], other);
    // One that an admin has opened for its name it sees, and may close; the secret it does not see.
    let window = host.json(["window", "open", "lab", "--label", "admins", "--json"]);
    host.process.expect("window\topened\tadmins");
    anna.say("list");
    let listed = host.process.expect("listed\tadmins\ttrue\t1\t0\ttrue\t");
    assert!(listed.ends_with("\tnil"), "{listed}");
    anna.say(window["window"].as_str().unwrap());
    host.process.expect("window\tclosed\tadmins");
}

/// What a rehearsal says is what is done then, and nothing is done before.
#[test]
fn windows_are_rehearsed_like_changes_of_keys() {
    let host = host(LISTEN);
    let open = [
        "window", "open", "lab", "--count", "2", "--for", "1h", "--label", "party",
    ];
    let rehearsed = [&open[..], &["--dry-run"]].concat();
    let told = host.admin(rehearsed.iter().copied());
    assert!(told.contains("would be open for 2 keys"), "{told}");
    assert!(told.contains(&host.place().host_key()), "{told}");
    assert!(told.ends_with("nothing was changed: --dry-run\n"), "{told}");
    assert!(
        !told.contains("secret:") && !told.contains("enrol"),
        "{told}"
    );
    let told = host.json(rehearsed.iter().copied().chain(["--json"]));
    assert_eq!(
        (&told["dry_run"], &told["count"]),
        (&true.into(), &2.into())
    );
    assert_eq!(told["lasts_ms"], 3_600_000);
    assert!(told.get("secret").is_none() && told.get("invite").is_none());
    let windows = |host: &Host| {
        let all = host.json(["window", "list", "--all", "--json"]);
        all.as_array().unwrap().clone()
    };
    assert!(windows(&host).is_empty());
    // What could not be done is told in the same way.
    let over = ["window", "open", "*", "--dry-run"];
    let done = ["window", "open", "*"];
    assert_eq!(host.fails(over), host.fails(done));

    host.admin(open);
    let told = host.admin(["window", "close", "party", "--dry-run"]);
    assert!(
        told.contains("would be closed; it has let in 0 of 2"),
        "{told}"
    );
    assert_eq!(windows(&host)[0]["state"], "open");
    let told = host.json(["window", "close", "party", "--dry-run", "--json"]);
    assert_eq!(told["dry_run"], true);
    assert_eq!(windows(&host)[0]["state"], "open");
    let told = host.json(["window", "close", "party", "--yes", "--json"]);
    assert_eq!(told["dry_run"], false);
    assert_eq!(windows(&host)[0]["state"], "closed");
    host.stop();
}

#[test]
fn a_rehearsed_window_makes_no_host_key() {
    let place = crate::host::Place::new();
    let words = ["window", "open", "lab", "--dry-run"];
    let told = crate::host::moonport(&place.state(), words)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&told.stderr);
    assert!(told.status.success(), "{errors}");
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("would be open"), "{told}");
    assert!(!place.state().join("hostkeys/default").exists());
}
