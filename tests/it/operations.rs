//! A host as its operators see it: the log, the numbers, the service manager, the end.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT};
use crate::process::{PATIENCE, Process};

/// Where a service manager listens, and what it has heard.
struct Manager {
    socket: UnixDatagram,
    path: String,
    heard: Vec<String>,
}

impl Manager {
    fn new(place: &std::path::Path) -> Self {
        let path = place.join("notify.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            path: path.display().to_string(),
            heard: Vec::new(),
        }
    }

    /// Waits for a line that begins so.
    #[track_caller]
    fn expect(&mut self, wanted: &str) -> String {
        loop {
            let mut bytes = [0; 4096];
            let length = self.socket.recv(&mut bytes);
            let length =
                length.unwrap_or_else(|error| panic!("{wanted}: {error}: {:?}", self.heard));
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            let found = lines.iter().find(|line| line.starts_with(wanted)).cloned();
            self.heard.extend(lines);
            if let Some(found) = found {
                return found;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_when_it_is_up_how_it_is_and_that_it_ends() {
    let moonport = Moonport::new().script("hello", HELLO);
    let mut manager = Manager::new(moonport.place().folder());
    let path = manager.path.clone();
    let host = moonport
        .variable("NOTIFY_SOCKET", &path)
        .variable("WATCHDOG_USEC", "400000")
        .start();
    manager.expect("READY=1");
    // Whoever has waited for that looks at once.
    let line = manager.expect("STATUS=");
    assert_eq!(line, "STATUS=scripts: 1, listeners: 1, sessions: 0");
    manager.expect("WATCHDOG=1");
    manager.expect("WATCHDOG=1");
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    manager.expect("STATUS=scripts: 1, listeners: 1, sessions: 1");
    host.stop();
    manager.expect("STOPPING=1");
    let ready = manager.heard.iter().filter(|line| *line == "READY=1");
    assert_eq!(ready.count(), 1);
}

#[test]
fn a_service_manager_hears_of_scripts_that_are_loaded_again() {
    let moonport = Moonport::new().script("hello", HELLO);
    let mut manager = Manager::new(moonport.place().folder());
    let path = manager.path.clone();
    let host = moonport.variable("NOTIFY_SOCKET", &path).start();
    manager.expect("READY=1");
    host.process.signal(Signal::HUP);
    manager.expect("RELOADING=1");
    manager.expect("READY=1");
    let first = |line: &&String| line.starts_with("MONOTONIC_USEC=");
    assert!(manager.heard.iter().any(|line| first(&line)));
    host.stop();
}

#[test]
fn what_never_comes_up_is_never_ready() {
    let moonport = Moonport::new().script("broken", "error('no')");
    let manager = Manager::new(moonport.place().folder());
    let ended = moonport.variable("NOTIFY_SOCKET", &manager.path).run();
    assert_eq!(ended.code, 1, "{}", ended.text());
    manager.socket.set_nonblocking(true).unwrap();
    let mut bytes = [0; 4096];
    while let Ok(length) = manager.socket.recv(&mut bytes) {
        assert!(!bytes[..length].starts_with(b"READY"), "{}", ended.text());
    }
}

/// Starts a host that is handed a socket under this name, as a service manager does it.
fn handed(moonport: &Moonport, socket: &TcpListener, name: &str) -> Process {
    let shell =
        "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=$1; exec 3<&\"$2\"; shift 2; exec \"$@\"";
    // What is inherited is not closed by the next program.
    let inherited = socket.try_clone().unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let number = inherited.as_raw_fd().to_string();
    let command = moonport.command();
    let mut within = Command::new("bash");
    within.args(["-c", shell, "bash", name, &number]);
    within.arg(command.get_program()).args(command.get_args());
    Process::start(&mut within)
}

fn own_socket(moonport: &Moonport) -> TcpListener {
    TcpListener::bind((moonport.place().address, moonport.place().port)).unwrap()
}

#[test]
fn a_socket_that_is_handed_over_outlives_the_host() {
    let moonport = Moonport::new().script("hello", HELLO);
    let socket = own_socket(&moonport);
    let host = handed(&moonport, &socket, "hello");
    let host = Host::of(host, moonport);
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
    for child in host.process.children() {
        // Only root may look.
        if let Ok(environment) = std::fs::read(format!("/proc/{child}/environ")) {
            assert!(environment.is_empty(), "a child has an environment");
        }
    }
    let moonport = host.stop();
    // It listens still: who comes now waits.
    let waiting = TcpStream::connect((moonport.place().address, moonport.place().port));
    assert!(waiting.is_ok(), "the manager's socket is shut down");
    let host = Host::of(handed(&moonport, &socket, "hello"), moonport);
    host.client(ANNA).connect().expect("welcome");
    host.stop();
}

#[test]
fn a_socket_elsewhere_is_not_listened_on() {
    let moonport = Moonport::new().script("hello", HELLO);
    let socket = TcpListener::bind((moonport.place().address, 0)).unwrap();
    let mut process = handed(&moonport, &socket, "hello");
    process.expect("the socket that was handed over is elsewhere");
    process.expect("handed another address");
}

#[test]
fn a_socket_that_nobody_wants_is_told() {
    let moonport = Moonport::new().script("hello", HELLO);
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut process = handed(&moonport, &socket, "moonport.socket");
    let line = process.expect("a socket was handed over that no script listens on");
    assert!(line.contains("moonport.socket"), "{line}");
    assert_eq!(process.terminate().code, 0);
}

#[test]
fn a_host_drains_before_it_ends() {
    let moonport = Moonport::new().script("hello", HELLO);
    let mut host = moonport.option("--drain").option("10m").start();
    host.key_accept("hello", ANNA);
    host.key_accept("hello", BERT);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.process.signal(Signal::TERM);
    host.process.expect("nobody new is let in");
    let status = host.status();
    assert_eq!(
        (&status["ending"], &status["sessions"]),
        (&true.into(), &1.into())
    );
    let late = host.client(BERT).connect().wait();
    assert_eq!(late.code, crate::host::UNREACHABLE, "{}", late.text());
    // Who is in goes on, and ends it by leaving.
    anna.say("still there");
    anna.expect("still there");
    anna.close_input();
    assert_eq!(anna.wait().code, 0);
    let ended = host.process.wait();
    assert_eq!(ended.code, 0, "{}", ended.text());
    assert!(
        ended.text().contains("all sessions have ended"),
        "{}",
        ended.text()
    );
}

#[test]
fn a_second_signal_does_not_wait_for_sessions() {
    let moonport = Moonport::new().script("hello", HELLO);
    let mut host = moonport.option("--drain").option("10m").start();
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.process.signal(Signal::TERM);
    host.process.expect("nobody new is let in");
    host.process.signal(Signal::TERM);
    host.process.expect("ending at once");
    host.process.wait();
}

#[test]
fn a_drain_has_an_end() {
    let moonport = Moonport::new().script("hello", HELLO);
    let mut host = moonport.option("--drain").option("200ms").start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.process.signal(Signal::TERM);
    host.process.expect("have not ended by themselves");
    assert_eq!(host.process.wait().code, 0);
}

#[test]
fn stop_waits_until_the_host_is_gone() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.admin(["stop"]);
    assert!(host.fails(["status"]).contains("no host runs"));
    let ended = host.process.wait();
    assert_eq!(ended.code, 0, "{}", ended.text());
    assert_eq!(anna.wait().code, 0, "the client was not told");
}

#[test]
fn stop_now_asks_nobody() {
    let script = format!("{HELLO}\nfunction hello_shutdown() print('shutting down') end");
    let host = Moonport::new().script("hello", &script).start();
    host.admin(["stop", "--now"]);
    let ended = host.process.wait();
    assert!(!ended.text().contains("shutting down"), "{}", ended.text());
}

/// The samples of a page, by name and labels.
fn samples(text: &str) -> std::collections::BTreeMap<String, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        (name.to_owned(), value.parse().unwrap())
    };
    lines.map(sample).collect()
}

#[test]
fn numbers_tell_what_has_happened_and_no_keys() {
    let slow = "function hello_clock_pulse() if not done then done = true \
                local t = 0 while t < 30000000 do t = t + 1 end end end";
    let script = format!("{HELLO}\n{slow}");
    let moonport = Moonport::new().script("hello", &script);
    let at = format!("{}:0", moonport.place().address);
    let options = [
        "--metrics",
        &at,
        "--handler-limit",
        "1ms",
        "--handler-warn",
        "1ms",
    ];
    let moonport = options.iter().fold(moonport, |all, it| all.option(it));
    let mut host = moonport.start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    host.client(BERT).refused();
    let text = host.admin(["metrics"]);
    let all = samples(&text);
    for (name, value) in [
        ("moonport_listeners", 1),
        ("moonport_scripts", 1),
        ("moonport_ending", 0),
        ("moonport_sessions{listener=\"hello\"}", 1),
        ("moonport_claims_total{protocol=\"a12\"}", 2),
        ("moonport_admissions_total{protocol=\"a12\"}", 1),
        ("moonport_refusals_total{reason=\"unknown-key\"}", 1),
        ("moonport_refusals_total{reason=\"banned\"}", 0),
        ("moonport_script_restarts_total{script=\"hello\"}", 0),
        ("moonport_handler_stops_total{script=\"hello\"}", 1),
    ] {
        assert_eq!(all.get(name), Some(&value), "{name}\n{text}");
    }
    assert!(all["moonport_keystore_writes_total"] >= 1, "{text}");
    assert!(all["moonport_audit_records_total"] >= 4, "{text}");
    for key in [ANNA.public(), BERT.public()] {
        assert!(!text.contains(&key.to_string()), "a key is told");
    }

    let line = host.process.expect("telling numbers");
    let port = line
        .split("address=")
        .nth(1)
        .unwrap()
        .rsplit(':')
        .next()
        .unwrap();
    let page = (host.place().address, port.trim().parse::<u16>().unwrap());
    let ask = |request: &str| {
        let mut stream = TcpStream::connect(page).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let answer = ask(&format!(
        "GET /metrics HTTP/1.1\r\nHost: {}\r\n\r\n",
        page.0
    ));
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(
        head.contains(&format!("Content-Length: {}", body.len())),
        "{head}"
    );
    let names = |text: &str| samples(text).into_keys().collect::<Vec<_>>();
    assert_eq!(names(body), names(&text));
    assert!(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(
        ask("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n").starts_with("HTTP/1.1 421 ")
    );
    // One who says nothing is sent away, and others do not wait for him.
    let mut idle = TcpStream::connect(page).unwrap();
    assert!(ask("GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 "));
    idle.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(idle.read(&mut [0; 9]).unwrap(), 0);
    host.stop();
}

#[test]
fn a_page_that_cannot_be_made_is_told_at_once() {
    let moonport = Moonport::new().script("hello", HELLO);
    let socket = own_socket(&moonport);
    let at = socket.local_addr().unwrap().to_string();
    let ended = moonport.option("--metrics").option(&at).run();
    assert_eq!(ended.code, 2, "{}", ended.text());
    assert!(
        ended
            .text()
            .contains(&format!("cannot tell numbers at {at}")),
        "{}",
        ended.text()
    );
}

#[test]
fn many_listeners_are_shown_whole() {
    let lua = "for i = 1, 60 do net_listen('listener_with_a_long_name_' .. i, ADDRESS, PORT + i, function() end) end";
    let one = Moonport::new().script("one", lua);
    let two = lua.replace("PORT + i", "PORT + 100 + i");
    let one = one.script("two", &two);
    let host = one.start_with(120);
    assert_eq!(host.status()["listeners"].as_array().unwrap().len(), 120);
    assert_eq!(host.status()["scripts"].as_array().unwrap().len(), 2);
    host.stop();
}

#[test]
fn status_shows_open_windows() {
    let host = Moonport::new().script("hello", HELLO).start();
    host.window_open("hello", 3);
    let status = host.status();
    assert_eq!(status["windows"][0]["name"], "hello");
    assert_eq!(status["windows"][0]["left"], 3);
    assert!(host.admin(["status"]).contains("0 of 3"));
    host.stop();
}

#[test]
fn the_journal_gets_priorities_and_no_times() {
    let moonport = Moonport::new().script("hello", HELLO);
    let mut host = moonport.option("--log-format").option("journald").start();
    let line = host.process.expect("running");
    assert!(
        line.starts_with("<6>moonport::host::scripts: running script="),
        "{line}"
    );
    host.stop();

    let broken = Moonport::new().script("broken", "local function f() error('no') end f()");
    let ended = broken.option("--log-format").option("journald").run();
    let lines = ended
        .lines
        .iter()
        .filter(|line| !line.starts_with("moonport:"));
    assert!(lines.clone().count() > 1);
    for line in lines {
        assert!(line.starts_with('<'), "{line}");
    }
}

#[test]
fn the_journal_is_known_by_its_stream() {
    let folder = tempfile::TempDir::new().unwrap();
    let [stream, script, state] = ["stream", "x.lua", "state"].map(|it| folder.path().join(it));
    std::fs::write(&script, "shutdown()").unwrap();
    for (known, begins) in [(true, '<'), (false, '2')] {
        let file = File::create(&stream).unwrap();
        let about = file.metadata().unwrap();
        let inode = about.ino() + u64::from(!known);
        let words = ["run", script.to_str().unwrap()];
        let mut command = crate::host::moonport(&state, words);
        command
            .env("JOURNAL_STREAM", format!("{}:{inode}", about.dev()))
            .stderr(file);
        assert!(command.status().unwrap().success());
        let text = std::fs::read_to_string(&stream).unwrap();
        assert!(text.starts_with(begins), "{text}");
    }
}

#[test]
fn times_are_in_utc() {
    let moonport = Moonport::new().script("hello", HELLO);
    let moonport = moonport.option("--log-format").option("json");
    let mut host = moonport.variable("TZ", "Asia/Tokyo").start();
    let line = host.process.expect("running");
    let json: Value = serde_json::from_str(&line).unwrap();
    let time = json["timestamp"].as_str().unwrap();
    assert!(time.ends_with('Z') && time.contains('T'), "{time}");
    let hour = |time: &str| {
        time.split(['T', ':'])
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let here = now.as_secs() / 3600 % 24;
    let apart = Duration::from_secs(here.abs_diff(hour(time)));
    assert!([0, 1, 23].contains(&apart.as_secs()), "{time}");
    host.stop();
}

#[test]
fn the_units_of_systemd_are_sound() {
    let units = ["moonport.service", "moonport.socket"];
    let units = units.map(|unit| crate::repository::root().join("contrib/systemd").join(unit));
    let texts = units
        .each_ref()
        .map(|unit| std::fs::read_to_string(unit).unwrap());
    for line in ["Type=notify", "KillMode=mixed", "WatchdogSec="] {
        assert!(texts[0].contains(line), "{line}");
    }
    assert!(texts[1].contains("FileDescriptorName=hello"));
    // Its words are those of this program.
    for command in ["ExecStart", "ExecReload"] {
        let begins = format!("{command}=/usr/bin/moonport ");
        let line = texts[0].lines().find_map(|line| line.strip_prefix(&begins));
        let mut words: Vec<_> = line.unwrap().split(' ').collect();
        words.push("--help");
        let helped = Command::new(env!("CARGO_BIN_EXE_moonport"))
            .args(words)
            .output();
        assert!(helped.unwrap().status.success(), "{command}");
    }
}
