//! Sockets of each type with each other: what goes together talks, what does not is refused.

use serde_json::{Value, json};

use crate::host::{Host, Moonport};
use crate::key::ANNA;
use crate::zmq::{Zmq, at, with_each_libzmq};

with_each_libzmq!(
    each_pair_that_goes_together_talks,
    what_does_not_go_together_is_turned_away_and_the_script_is_not_told,
);

const TYPES: [&str; 11] = [
    "rep", "req", "dealer", "router", "push", "pull", "pub", "xpub", "sub", "xsub", "pair",
];

/// A listener of each type, one port after the other.
const SOCKETS: &str = r#"
local TYPES = { "rep", "req", "dealer", "router", "push", "pull", "pub", "xpub", "sub", "xsub", "pair" }
local FIRST = { req = true, dealer = true, router = true, push = true, pair = true }
local publish_to = {}

local function client(ours, theirs, source, status)
    if status.kind == "registered" then
        if ours == "dealer" and theirs == "rep" then
            moonport.send(source, "", "from dealer")
        elseif FIRST[ours] and not (ours == "router" and theirs == "req") then
            moonport.send(source, "from " .. ours)
        elseif ours == "pub" then
            publish_to[source] = true
        end
    elseif status.kind == "message" then
        local parts = status.parts
        print("got " .. ours .. " " .. theirs .. " " .. table.concat(parts, "|"))
        if ours == "xpub" then
            moonport.send(source, "weather: fine")
            moonport.send(source, "news: moon")
        elseif ours == "rep" or ours == "router" or ours == "pair" or (ours == "dealer" and theirs ~= "rep") then
            parts[#parts] = "re " .. parts[#parts]
            moonport.send(source, parts)
        end
    elseif status.kind == "terminated" then
        publish_to[source] = nil
    end
end

for number, ours in ipairs(TYPES) do
    moonport.listen({
        name = "fleet",
        interface = "zmtp://" .. ADDRESS,
        port = PORT + number - 1,
        options = { socket_type = ours, identity = "moon", topics = { "news" } },
    }, function(_, status)
        if status.kind == "segment_request" then
            local theirs = status.zmtp_socket_type
            print("request " .. ours .. " " .. theirs)
            accept_target(function(source, said)
                client(ours, theirs, source, said)
            end)
        end
    end)
end

function fleet_clock_pulse()
    for source in pairs(publish_to) do
        moonport.send(source, "weather: fine")
        moonport.send(source, "news: moon")
    end
end
"#;

fn sockets() -> Host {
    let host = Moonport::new()
        .script("fleet", SOCKETS)
        .start_with(TYPES.len());
    host.key_accept("fleet", ANNA);
    host
}

/// A client of one type at our listener of another.
struct Pair<'a> {
    zmq: &'a mut Zmq,
    host: &'a mut Host,
    ours: &'a str,
    theirs: &'a str,
}

impl Pair<'_> {
    fn name(&self) -> String {
        format!("{} at {}", self.theirs, self.ours)
    }

    fn sends(&mut self, parts: Value) {
        self.zmq.send(&self.name(), parts);
    }

    #[track_caller]
    fn receives(&mut self, parts: Value) {
        assert_eq!(self.zmq.recv(&self.name()), parts, "{}", self.name());
    }

    #[track_caller]
    fn script_gets(&mut self, text: &str) {
        let line = format!("got {} {} {text}", self.ours, self.theirs);
        self.host.process.expect(&line);
    }

    fn talk(&mut self) {
        match (self.ours, self.theirs) {
            ("rep", "req") | ("router", "req") => {
                for question in ["one", "two"] {
                    self.sends(json!([question]));
                    self.receives(json!([format!("re {question}")]));
                }
            }
            ("rep", _) => {
                self.sends(json!(["", "one"]));
                self.sends(json!(["here", "there", "", "two", "three"]));
                self.receives(json!(["", "re one"]));
                self.receives(json!(["here", "there", "", "two", "re three"]));
            }
            ("req", "rep") => {
                self.receives(json!(["from req"]));
                self.sends(json!(["answer"]));
                self.script_gets("answer");
            }
            ("req", _) => {
                self.receives(json!(["moon", "", "from req"]));
                self.sends(json!(["moon", "", "answer"]));
                self.script_gets("answer");
            }
            ("dealer", "rep") => {
                self.receives(json!(["from dealer"]));
                self.sends(json!(["answer"]));
                self.script_gets("|answer");
            }
            (_, "router") => {
                self.receives(json!(["moon", format!("from {}", self.ours)]));
                self.sends(json!(["moon", "one"]));
                self.receives(json!(["moon", "re one"]));
            }
            ("dealer" | "router" | "pair", _) => {
                self.receives(json!([format!("from {}", self.ours)]));
                self.sends(json!(["one"]));
                self.receives(json!(["re one"]));
            }
            ("push", _) => self.receives(json!(["from push"])),
            ("pull", _) => {
                self.sends(json!(["one", "two"]));
                self.script_gets("one|two");
            }
            ("pub", _) => {
                for _ in 0..3 {
                    self.receives(json!(["news: moon"]));
                }
            }
            ("xpub", _) => {
                self.script_gets("\u{1}news");
                self.receives(json!(["news: moon"]));
                if self.theirs == "xsub" {
                    self.sends(json!(["\u{0}news"]));
                    self.script_gets("\u{0}news");
                }
            }
            (_, "pub") => {
                // A publisher is not told when somebody has subscribed.
                let news = json!([["weather: fine"], ["news: moon"]]);
                let name = self.name();
                self.zmq
                    .ask(json!({"do": "repeat", "name": name, "messages": news}));
                self.script_gets("news: moon");
                self.zmq.ask(json!({"do": "stop", "name": name}));
            }
            (_, "xpub") => {
                self.receives(json!(["\u{1}news"]));
                self.sends(json!(["weather: fine"]));
                self.sends(json!(["news: moon"]));
                self.script_gets("news: moon");
            }
            pair => panic!("{pair:?} do not go together"),
        }
    }
}

fn each_pair_that_goes_together_talks(mut zmq: Zmq) {
    let mut host = sockets();
    for (listener, ours) in (0..).zip(TYPES) {
        for theirs in partners(ours) {
            let name = format!("{theirs} at {ours}");
            let mut more = json!({"to": at(&host, listener)});
            if matches!(*theirs, "sub" | "xsub") {
                more["subscribe"] = json!(["news"]);
            }
            zmq.connect(&name, theirs, ANNA, &host, more);
            Pair {
                zmq: &mut zmq,
                host: &mut host,
                ours,
                theirs,
            }
            .talk();
            zmq.close(&name);
        }
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("weather: fine"), "{said}");
}

fn what_does_not_go_together_is_turned_away_and_the_script_is_not_told(mut zmq: Zmq) {
    let host = sockets();
    for (listener, ours) in (0..).zip(TYPES) {
        for theirs in TYPES {
            if partners(ours).contains(&theirs) {
                continue;
            }
            let name = format!("{theirs} at {ours}");
            let more = json!({"to": at(&host, listener), "monitor": true});
            zmq.connect(&name, theirs, ANNA, &host, more);
            let end = zmq.turned_away(&name);
            assert_ne!(end[0], "HANDSHAKE_FAILED_AUTH", "{name}");
            zmq.close(&name);
        }
    }
    let said = host.process.terminate().text();
    assert!(!said.contains("request"), "{said}");
}

/// What goes together with a socket of ours.
fn partners(ours: &str) -> &'static [&'static str] {
    match ours {
        "req" => &["rep", "router"],
        "rep" => &["req", "dealer"],
        "dealer" => &["rep", "dealer", "router"],
        "router" => &["req", "dealer", "router"],
        "push" => &["pull"],
        "pull" => &["push"],
        "pub" | "xpub" => &["sub", "xsub"],
        "sub" | "xsub" => &["pub", "xpub"],
        _ => &["pair"],
    }
}
