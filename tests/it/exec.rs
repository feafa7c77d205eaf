//! Programs that scripts start for their clients: what they hear and say, what they are given, and
//! when they end.

use std::fs;
use std::process::Command;
use std::time::Duration;

use data_encoding::{BASE64, HEXLOWER};

use crate::host::{Host, Moonport, moonport};
use crate::key::{ANNA, BERT, Key};
use crate::process::{PATIENCE, Process, Watched};

const A12: &str = "a12";
const ZMTP: &str = "zmtp";
const CURVECP: &str = "curvecp";

/// Starts a program for everybody who is proved, and prints what it hears itself.
const SERVE: &str = r#"
function client(source, status)
    local more = status.message or status.data or status.code or status.signal
    print("client", status.kind, more, status.failed)
end
moonport.listen({ name = "box", interface = "SCHEME://" .. ADDRESS, port = PORT }, function(_, status)
    if status.kind == "segment_request" then
        local vid = accept_target(client)
        local done, what = pcall(moonport.exec, vid, { ARGV }OPTIONS)
        print("exec", done, what)
    end
end)
function box_adopt(vid)
    target_updatehandler(vid, client)
    print("adopted", pcall(moonport.exec, vid, { ARGV }))
    return true
end
"#;

fn script(scheme: &str, argv: &[&str]) -> String {
    let argv: Vec<_> = argv.iter().map(|word| format!("[==[{word}]==]")).collect();
    SERVE
        .replace("SCHEME", scheme)
        .replace("ARGV", &argv.join(", "))
        .replace("OPTIONS", "")
}

fn start(script: &str, program: &str) -> Host {
    let host = Moonport::new()
        .option(&format!("--allow-exec={program}"))
        .script("box", script)
        .start();
    host.key_accept("box", ANNA);
    host.key_accept("box", BERT);
    host
}

/// Everybody gets this program.
fn serving(scheme: &str, argv: &[&str]) -> Host {
    start(&script(scheme, argv), argv[0])
}

fn shell(scheme: &str, words: &str) -> Host {
    serving(scheme, &["/bin/sh", "-c", words])
}

pub(crate) fn connect(host: &Host, scheme: &str, who: Key) -> Process {
    if scheme == A12 {
        return host.client(who).connect();
    }
    let place = host.place();
    let key = BASE64.decode(place.host_key().as_bytes()).unwrap();
    let (key, at) = (HEXLOWER.encode(&key), place.at());
    let name = if scheme == CURVECP { "/box" } else { "" };
    let to = format!("{scheme}://{key}@{at}{name}");
    let own = place.file(&format!("{}.own", who.0), &BASE64.encode(&who.private()));
    let state = place.folder().join(format!("{}.state", who.0));
    Process::start(moonport(&state, ["connect", &to]).args(["--identity", &own]))
}

/// The process of the program that was started last.
fn program(host: &mut Host) -> u32 {
    let line = host.process.expect("is started");
    let line = line.replace(['\x1b', '[', 'm'], " ");
    let (_, pid) = line.split_once("pid").unwrap();
    let digits = pid.chars().skip_while(|c| !c.is_ascii_digit());
    // A terminal's colours may stand before it.
    let digits: String = digits.take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap()
}

#[test]
fn what_a_client_says_comes_back_by_way_of_cat() {
    for scheme in [A12, ZMTP, CURVECP] {
        let mut host = serving(scheme, &["/bin/cat"]);
        let mut anna = connect(&host, scheme, ANNA);
        host.process.expect("exec\ttrue\ttrue");
        for words in ["moon", &"ä".repeat(100), "last"] {
            anna.say(words);
            anna.expect(words);
        }
        if scheme == CURVECP {
            anna.close_input();
            assert_eq!(anna.wait().code, 0);
            host.process.expect("client\texited\t0\tfalse");
            host.process.expect("client\tterminated");
        }
        let said = host.process.terminate().text();
        assert!(!said.contains("client\tdata"), "{said}");
        assert!(!said.contains("client\tmessage"), "{said}");
    }
}

#[test]
fn the_end_of_a_program_is_told_after_all_that_it_said() {
    let words = "read line; echo bye $line; exit 3";
    for scheme in [A12, ZMTP, CURVECP] {
        let mut host = shell(scheme, words);
        let mut anna = connect(&host, scheme, ANNA);
        anna.say("moon");
        anna.expect("bye moon");
        host.process.expect("client\texited\t3\ttrue");
        if scheme == CURVECP {
            assert_ne!(anna.wait().code, 0);
        } else {
            // The client is the script's again.
            anna.say("still here");
            host.process.expect("client\tmessage\tstill here");
        }
        host.stop();
    }
    let mut host = shell(A12, "kill -9 $$");
    let _anna = connect(&host, A12, ANNA);
    host.process.expect("client\texited\t9\ttrue");
    host.stop();
}

#[test]
fn megabytes_go_through_whole() {
    let mut host = shell(
        CURVECP,
        "head -c 3000000 /dev/zero | tr '\\0' x; echo; wc -c",
    );
    let mut anna = connect(&host, CURVECP, ANNA);
    for _ in 0..100 {
        anna.types(&"y".repeat(9_999));
        anna.types("\n");
    }
    anna.close_input();
    let ended = anna.wait();
    assert_eq!(ended.code, 0);
    assert_eq!(ended.lines[0].len(), 3_000_000);
    assert_eq!(ended.lines[1].trim(), "1000000");
    host.process.expect("client\texited\t0\tfalse");
    host.stop();
}

#[test]
fn parts_with_lengths_come_back_as_they_went() {
    let script = SERVE
        .replace("SCHEME", ZMTP)
        .replace("ARGV", "'/bin/cat'")
        .replace("OPTIONS", ", { framing = 'length' }");
    let host = start(&script, "/bin/cat");
    let mut anna = connect(&host, ZMTP, ANNA);
    anna.say("moon");
    anna.expect("moon");
    host.stop();
}

#[test]
fn a_program_that_is_not_allowed_is_an_error_that_says_what_to_do() {
    let mut host = start(&script(A12, &["/bin/sh", "-c", "echo no"]), "/bin/cat");
    let mut anna = connect(&host, A12, ANNA);
    let told = host.process.expect("exec\tfalse");
    assert!(told.contains("/bin/sh may not be started"), "{told}");
    anna.say("moon");
    host.process.expect("client\tmessage\tmoon");
    // Nor is one by another spelling, or a link.
    for spelling in ["/bin/../bin/cat", "cat", "/usr/bin/../bin/cat"] {
        let mut host = start(&script(A12, &[spelling]), "/bin/cat");
        let _anna = connect(&host, A12, ANNA);
        host.process.expect("exec\tfalse");
    }
}

#[test]
fn what_is_no_program_is_told_at_the_start() {
    for wrong in ["cat", "/nowhere/cat", "/etc/passwd", "/etc"] {
        let ended = Moonport::new()
            .option(&format!("--allow-exec={wrong}"))
            .script("box", "")
            .run();
        assert_eq!(ended.code, 2, "{}", ended.text());
        assert!(ended.text().contains("--allow-exec"), "{}", ended.text());
    }
}

/// Signals 32 and 33 are the C library's own: they stay as the tests were started with them.
fn ignores_nothing(signals: &str) -> bool {
    u64::from_str_radix(signals, 16).unwrap() & !(3 << 31) == 0
}

#[test]
fn i8_a_program_has_its_own_environment_and_descriptors_and_nothing_of_the_hosts() {
    let host = Moonport::new()
        .option("--allow-exec=/usr/bin/env")
        .variable("CANARY", "yellow")
        .script("box", &script(CURVECP, &["/usr/bin/env"]))
        .start();
    host.key_accept("box", ANNA);
    let mut anna = connect(&host, CURVECP, ANNA);
    anna.close_input();
    let mut lines = anna.wait().lines;
    lines.retain(|line| !line.starts_with("MOONPORT_ADDRESS=127."));
    lines.sort();
    let key = ANNA.public();
    let wanted = [
        format!("MOONPORT_KEY={key}"),
        "MOONPORT_NAME=box".to_owned(),
        "MOONPORT_PROTOCOL=curvecp".to_owned(),
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        format!("REMOTEPK={}", HEXLOWER.encode(key.as_bytes())),
    ];
    lines.retain(|line| !line.starts_with("TCPREMOTEIP=127."));
    assert_eq!(lines, wanted);

    let host = serving(CURVECP, &["/bin/ls", "/proc/self/fd"]);
    let mut anna = connect(&host, CURVECP, ANNA);
    anna.close_input();
    // The last one is the folder itself.
    assert_eq!(anna.wait().lines, ["0", "1", "2", "3"]);

    // Even what the host was told to ignore is not ignored.
    let words = "exec cat /proc/self/status; pwd";
    let script = script(CURVECP, &["/bin/sh", "-c", words]);
    let moonport = Moonport::new()
        .option("--allow-exec=/bin/sh")
        .script("box", &script);
    let mut host = moonport.start();
    host.key_accept("box", ANNA);
    let mut anna = connect(&host, CURVECP, ANNA);
    let pid = program(&mut host);
    anna.close_input();
    let text = anna.wait().text();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().last().unwrap().to_owned()
    };
    assert_eq!(field("SigBlk"), "0000000000000000");
    assert!(ignores_nothing(&field("SigIgn")));
    let status = (field("Pid:"), field("NSpgid"), field("NSsid"));
    let pid = pid.to_string();
    assert_eq!(status, (pid.clone(), pid.clone(), pid));
}

/// Says which processes there are, and is deaf to requests to end.
const DEAF: &str = "trap '' TERM; sleep 1000 & echo pids $$ $!; wait; wait";

fn deaf(client: &mut Process) -> Vec<Watched> {
    let line = client.expect("pids");
    let words = line.split_whitespace();
    words
        .filter_map(|word| word.parse().ok())
        .map(Watched::new)
        .collect()
}

#[track_caller]
fn are_gone(programs: &[Watched]) {
    assert_eq!(programs.len(), 2);
    assert!(programs.iter().all(|it| it.is_gone_within(PATIENCE)));
}

#[test]
fn a_program_ends_with_its_client_however_that_ends() {
    // It goes, or is cut.
    for scheme in [A12, ZMTP, CURVECP] {
        let host = shell(scheme, DEAF);
        let mut anna = connect(&host, scheme, ANNA);
        let mut bert = connect(&host, scheme, BERT);
        let (annas, berts) = (deaf(&mut anna), deaf(&mut bert));
        host.admin(["key", "revoke", &ANNA.public().to_string(), "--yes"]);
        are_gone(&annas);
        assert!(!berts[0].is_gone_within(Duration::ZERO));
        bert.signal(rustix::process::Signal::TERM);
        if scheme != CURVECP {
            are_gone(&berts);
        }
        drop(anna);
        let ended = host.process.terminate();
        assert_eq!(ended.code, 0, "{}", ended.text());
        // The host waits for it, too.
        assert!(berts.iter().all(|it| it.is_gone_within(Duration::ZERO)));
    }
}

#[test]
fn a_program_ends_with_its_script_and_with_a_host_that_is_killed() {
    let script = script(A12, &["/bin/sh", "-c", DEAF]);
    let deletes = script
        + "
        function box_clock_pulse()
            local wanted = get_key('delete')
            if CLOCK > 80 and victim then delete_image(victim); victim = nil end
        end";
    let deletes = deletes.replace(
        "local vid = accept_target(client)",
        "local vid = accept_target(client) victim = vid",
    );
    let host = start(&deletes, "/bin/sh");
    let mut anna = connect(&host, A12, ANNA);
    are_gone(&deaf(&mut anna));
    host.stop();

    let host = shell(A12, DEAF);
    let mut anna = connect(&host, A12, ANNA);
    let programs = deaf(&mut anna);
    host.kill();
    assert!(programs[0].is_gone_within(PATIENCE));
}

#[test]
fn a_program_stays_with_its_client_while_the_script_starts_again() {
    for scheme in [A12, ZMTP, CURVECP] {
        let mut host = shell(
            scheme,
            "read a; echo first $a; read b; echo second $b; exit 5",
        );
        let mut anna = connect(&host, scheme, ANNA);
        anna.say("moon");
        anna.expect("first moon");
        host.kill_child("moonport-script");
        // The new one knows that a program talks with it.
        let told = host.process.expect("adopted\tfalse");
        assert!(told.contains("talks with this client already"), "{told}");
        anna.say("sun");
        anna.expect("second sun");
        host.process.expect("client\texited\t5\ttrue");
        host.stop();
    }
}

#[test]
fn i10_a_program_that_does_not_read_holds_up_its_client_only() {
    let script = script(CURVECP, &["/bin/sh", "-c", "WORDS"]).replace(
        "[==[WORDS]==]",
        "status.a12_pubk == KEY and 'sleep 1000' or 'exec cat'",
    );
    let key = ANNA.public();
    let script = format!("local KEY = '{key}'; {script}");
    let host = start(&script, "/bin/sh");
    let mut anna = connect(&host, CURVECP, ANNA);
    let mut input = Vec::new();
    for _ in 0..20 {
        input.push("x".repeat(1000));
        anna.say(&input.concat());
    }
    let mut bert = connect(&host, CURVECP, BERT);
    bert.say("moon");
    bert.expect("moon");
    drop(anna);
    bert.close_input();
    assert_eq!(bert.wait().code, 0);
    host.stop();
}

#[test]
fn errors_of_a_program_are_lines_of_the_log_and_not_too_many() {
    let words =
        "i=0; while [ $i -lt 20000 ]; do echo err\x1b[2J$i >&2; i=$((i+1)); done; echo done";
    let host = shell(A12, words);
    connect(&host, A12, ANNA).expect("done");
    let said = host.process.terminate().text();
    let lines = said
        .lines()
        .filter(|line| line.contains("/bin/sh") && line.contains("err"));
    let lines: Vec<_> = lines.collect();
    assert!((1..1000).contains(&lines.len()), "{}", lines.len());
    assert!(lines.iter().all(|line| !line.contains("\x1b[2J")));
}

#[test]
fn no_program_is_left_unreaped() {
    let mut host = shell(A12, "exit 0");
    for _ in 0..5 {
        let _anna = connect(&host, A12, ANNA);
        host.process.expect("client\texited\t0\tfalse");
    }
    let state = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:\tZ"))
    };
    assert!(!host.process.children().into_iter().any(state));
    host.stop();
}

#[test]
fn a_host_that_ignores_hangups_has_programs_that_do_not() {
    let place = Moonport::new();
    let script = place.place().folder().join("box.lua");
    let text = script_text(&place);
    fs::write(&script, text).unwrap();
    let own = moonport(&place.place().state(), ["run", "--allow-exec=/bin/cat"]);
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP INT USR1; exec \"$@\"", "sh"]);
    command
        .arg(own.get_program())
        .args(own.get_args())
        .arg(&script);
    let mut host = Process::start(&mut command);
    host.expect("listening");
    let key = ANNA.public().to_string();
    let mut admin = moonport(
        &place.place().state(),
        ["key", "accept", &key, "--scope", "box"],
    );
    assert!(admin.output().unwrap().status.success());
    let own = place
        .place()
        .file("anna.own", &BASE64.encode(&ANNA.private()));
    let (at, key) = (place.place().at(), place.place().host_key());
    let state = place.place().folder().join("anna");
    let mut anna = moonport(
        &state,
        ["connect", &at, "--identity", &own, "--server-key", &key],
    );
    let ended = Process::start(&mut anna).expect("SigIgn");
    let signals = ended.split_whitespace().last().unwrap();
    assert!(ignores_nothing(signals), "{ended}");
    host.terminate();
}

fn script_text(moonport: &Moonport) -> String {
    let place = moonport.place();
    let script = script(A12, &["/bin/cat", "/proc/self/status"]);
    let (address, port) = (place.address, place.port);
    format!("local ADDRESS, PORT = '{address}', {port}; {script}")
}
