//! `curvecpclient`, `curvecpserver` and `connect` with the reference programs, in each direction.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::curveclient::{EXTENSION, NAME, reference};
use crate::curvecp::Lossy;
use crate::curvecpserver::Place;
use crate::host::Moonport;
use crate::process::{Ended, Process};

/// Ours with ours, and each with the reference's: client, server.
const PAIRS: [(bool, bool); 3] = [(true, true), (true, false), (false, true)];

const MESSAGES: [&str; 4] = ["curvecpmessage", "-c", "sh", "-c"];

/// A client with these words of a shell behind curvecpmessage: they write to 7 and read from 6.
fn shell(place: &Place, ours: bool, options: &[&str], to: SocketAddr, words: &str) -> Process {
    let mut command = place.client(ours, options, to);
    Process::start(command.args(MESSAGES).arg(words))
}

fn well(ended: &Ended) -> &Ended {
    assert_eq!(ended.code, 0, "{}", ended.text());
    ended
}

#[test]
fn programs_talk_and_the_exit_code_is_theirs() {
    if !reference() {
        return;
    }
    for (ours, server) in PAIRS {
        let place = Place::new();
        let (_server, at) = place.serve_by(server, &["curvecpmessage", "cat"]);
        let words = "echo hello >&7; exec 7>&-; cat <&6; exit 7";
        let ended = shell(&place, ours, &[], at, words).wait();
        assert_eq!((ended.code, ended.text().as_str()), (7, "hello"));
    }
}

#[test]
fn a_key_directory_is_proved_and_gives_one_nonce() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let script = r#"echo "$REMOTEPK""#;
    let (_server, at) = place.serve_by(true, &["curvecpmessage", "sh", "-c", script]);
    let words = "exec 7>&-; cat <&6";
    let known = shell(&place, true, &["-c", "key"], at, words).wait();
    let own = fs::read(place.path("key/publickey")).unwrap();
    let own = data_encoding::HEXLOWER.encode(&own);
    assert_eq!(well(&known).text(), own);
    let unknown = shell(&place, true, &[], at, words).wait();
    assert_ne!(well(&unknown).text(), own);
    assert_eq!(unknown.text().len(), 64);
    let counter = fs::read(place.path("key/.expertsonly/noncecounter")).unwrap();
    let counter = u64::from_le_bytes(counter.try_into().unwrap());
    // The server has taken 2^20, before or after.
    assert_eq!(counter, (1 << 20) + 1);
}

#[test]
fn megabytes_come_whole_by_each_pair_of_client_and_server() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(1_000_000);
    // All at once: their senders spend most of the time waiting.
    let mut running = Vec::new();
    for (index, (ours, server)) in PAIRS.into_iter().enumerate() {
        let (down, up, echo) = (
            format!("down{index}"),
            format!("up{index}"),
            format!("echo{index}"),
        );
        let serve = |program: &[&str]| place.serve_by(server, program);
        let (kept, at) = serve(&["curvecpmessage", "cat", "big"]);
        let words = format!("exec 7>&-; cat <&6 >{down}");
        running.push((kept, shell(&place, ours, &[], at, &words), down));
        let (kept, at) = serve(&["curvecpmessage", "sh", "-c", &format!("cat >{up}")]);
        let words = "cat big >&7; exec 7>&-; cat <&6";
        running.push((kept, shell(&place, ours, &[], at, words), up));
        let (kept, at) = serve(&["curvecpmessage", "cat"]);
        // Not more than fits on the way: see docs/protocol/curvecp-tools.md.
        let words = format!("head -c 100000 big >&7 & exec 7>&-; cat <&6 >{echo}");
        running.push((kept, shell(&place, ours, &[], at, &words), echo));
    }
    for (_kept, client, file) in running {
        well(&client.wait());
        let came = fs::read(place.path(&file)).unwrap();
        let echoed = file.starts_with("echo") && came == big[..100_000];
        assert!(echoed || came == big, "{file}: {}", came.len());
    }
}

#[test]
fn twenty_megabytes_are_sent_fast_to_who_reads_them() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(20_000_000);
    for server in [false, true] {
        let (_server, at) = place.serve_by(
            server,
            &["curvecpmessage", "sh", "-c", "cat >up; echo done"],
        );
        let input = fs::File::open(place.path("big")).unwrap();
        let up = place.connect(at).stdin(input).output().unwrap();
        assert!(up.status.success() && up.stdout == b"done\n", "{up:?}");
        assert!(fs::read(place.path("up")).unwrap() == big);
    }
}

/// Sends twenty million bytes to each who comes: numbers, a line each.
const NUMBERS: &str = r#"
moonport.listen({
    name = "numbers", interface = "curvecp://" .. ADDRESS, port = PORT, options = { anonymous = true },
}, function(listener, status)
    if status.kind ~= "segment_request" then return end
    local next, rest = 0, ""
    local function push(source)
        while next < 2500000 or rest ~= "" do
            if rest == "" then
                local lines = {}
                for i = 1, 5000 do lines[i] = ("%07d\n"):format(next + i - 1) end
                next, rest = next + 5000, table.concat(lines)
            end
            local taken = moonport.write(source, rest)
            if not taken then return end
            rest = rest:sub(taken + 1)
        end
        if next then moonport.finish(source) end
        next = nil
    end
    accept_target(function(source, status)
        if next and (status.kind == "eof" or status.kind == "drain") then
            push(source)
        end
    end)
end)
"#;

#[test]
fn twenty_megabytes_of_a_script_come_whole() {
    let host = Moonport::new().script("numbers", NUMBERS).start();
    let key = data_encoding::BASE64.decode(host.place().host_key().as_bytes());
    let key = data_encoding::HEXLOWER.encode(&key.unwrap());
    let mut connect = Command::new(env!("CARGO_BIN_EXE_moonport"));
    connect.args(["connect", "--anonymous"]);
    connect.arg(format!("curvecp://{key}@{}/numbers", host.place().at()));
    let down = connect.stdin(Stdio::null()).output().unwrap();
    assert!(down.status.success(), "{}", down.stdout.len());
    let numbers: String = (0..2_500_000).map(|i| format!("{i:07}\n")).collect();
    assert_eq!(down.stdout.len(), numbers.len());
    assert!(blake3::hash(&down.stdout) == blake3::hash(numbers.as_bytes()));
    host.stop();
}

#[test]
fn megabytes_of_the_references_sender_come_whole_from_either_server() {
    if !reference() {
        return;
    }
    let place = Place::new();
    // Its sender takes as long for them as it wants, on a busy machine ten seconds and more.
    let big = place.big(3_000_000);
    let mut running = Vec::new();
    for server in [false, true] {
        let (kept, at) = place.serve_by(server, &["curvecpmessage", "cat", "big"]);
        let output = fs::File::create(place.path(&format!("down{server}"))).unwrap();
        let mut connect = place.connect(at);
        let child = connect.stdin(Stdio::null()).stdout(output).spawn().unwrap();
        running.push((kept, child, server));
    }
    for (_kept, mut child, server) in running {
        assert!(child.wait().unwrap().success());
        let came = fs::read(place.path(&format!("down{server}"))).unwrap();
        assert!(blake3::hash(&came) == blake3::hash(&big), "{}", came.len());
    }
}

#[test]
fn bytes_come_whole_where_packets_are_lost_and_turned_around() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(300_000);
    let mut running = Vec::new();
    // A sender of the reference falls asleep on such a way, so it has little to say.
    for server in [false, true] {
        let file = format!("lossy{server}");
        let words = format!("cat >{file}; echo done");
        let (kept, at) = place.serve_by(server, &["curvecpmessage", "sh", "-c", &words]);
        let way = Lossy::to(at);
        let input = fs::File::open(place.path("big")).unwrap();
        let mut connect = place.connect(way.address);
        let child = connect.stdin(input).stdout(Stdio::piped()).spawn().unwrap();
        running.push((kept, way, child, file));
    }
    for (_kept, _way, child, file) in running {
        let ended = child.wait_with_output().unwrap();
        assert_eq!(ended.stdout, b"done\n", "{ended:?}");
        assert!(fs::read(place.path(&file)).unwrap() == big, "{file}");
    }
}

#[test]
fn the_end_of_a_stream_is_seen_at_the_other_side_however_it_ends() {
    if !reference() {
        return;
    }
    let place = Place::new();
    // The reference says nothing of a program's exit code; its stream ends well.
    let (_server, at) = place.serve_by(false, &["curvecpmessage", "sh", "-c", "echo x; exit 3"]);
    let mut connect = place.connect(at);
    let ended = connect.stdin(Stdio::null()).output().unwrap();
    assert!(
        ended.status.success() && ended.stdout == b"x\n",
        "{ended:?}"
    );
    // Whose input cannot be read says so to the program at the other end, as an end.
    let (_server, at) = place.serve_by(false, &["curvecpmessage", "sh", "-c", "cat >&2; echo y"]);
    let folder = fs::File::open(place.path("")).unwrap();
    let ended = place.connect(at).stdin(folder).output().unwrap();
    assert_eq!(ended.stdout, b"y\n", "{ended:?}");
}

#[test]
fn an_application_that_fails_at_the_server_ends_its_stream_and_that_is_all_a_client_sees() {
    if !reference() {
        return;
    }
    let place = Place::new();
    for failure in ["echo x; exit 1", "echo x; kill -9 $$"] {
        for server in [true, false] {
            let program = ["curvecpmessage", "sh", "-c", failure];
            let (_server, at) = place.serve_by(server, &program);
            for ours in [true, false] {
                let ended = shell(&place, ours, &[], at, "exec 7>&-; cat <&6").wait();
                assert_eq!(well(&ended).text(), "x", "{failure} {server} {ours}");
            }
            let ended = place.connect(at).stdin(Stdio::null()).output().unwrap();
            assert!(ended.status.success(), "{failure} {server} {ended:?}");
            assert_eq!(ended.stdout, b"x\n");
        }
    }
}

#[test]
fn nobody_is_let_in_twice_over_and_who_waits_gets_the_place() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let (_server, at) = place.serve(&["-c1"], &["curvecpmessage", "cat"]);
    let words = "echo first >&7; read line <&6; echo $line; read go; exec 7>&-; cat <&6";
    let mut first = shell(&place, true, &[], at, words);
    first.expect("first");
    let words = "echo second >&7; exec 7>&-; cat <&6";
    let mut second = shell(&place, false, &[], at, words);
    first.say("go");
    assert_eq!(first.wait().code, 0);
    second.expect("second");
    assert_eq!(second.wait().code, 0);
}

#[test]
fn another_key_name_or_extension_gets_nowhere() {
    let place = Place::new();
    let (server, at) = place.serve(&[], &["sh", "-c", "exec sleep 1000"]);
    let key = data_encoding::HEXLOWER.encode(crate::curveclient::public().as_bytes());
    let (ip, port) = (at.ip().to_string(), at.port().to_string());
    let other = "4b".repeat(32);
    let zeros = "0".repeat(32);
    let right = [NAME, key.as_str(), ip.as_str(), port.as_str(), EXTENSION];
    let mut running: Vec<Process> = [(0, "other.name"), (1, other.as_str()), (4, zeros.as_str())]
        .into_iter()
        .map(|(at, word)| {
            let mut words = right;
            words[at] = word;
            let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
            command.current_dir(place.path("")).arg("curvecpclient");
            command.args(words);
            let program = r"echo started; printf '\001%16s' x >&9; exec sleep 1000";
            Process::start(command.args(["sh", "-c", program]))
        })
        .collect();
    // It has the right key: its program runs, and hears nothing.
    running[0].expect("started");
    for client in running {
        client.signal(rustix::process::Signal::TERM);
        let ended = client.wait();
        assert_eq!(ended.code, 143, "{}", ended.text());
    }
    assert!(!server.terminate().text().contains("let in"));
}

#[test]
fn wrong_command_lines_end_as_with_the_references_client() {
    let place = Place::new();
    let key = "4b".repeat(32);
    let long = "x".repeat(64);
    let right = [NAME, &key, "127.0.0.1", "9", EXTENSION, "true"];
    let with = |at: usize, word| {
        let mut words = right;
        words[at] = word;
        words.to_vec()
    };
    let lines = [
        (100, vec![]),
        (100, vec!["-x"]),
        (100, vec!["-c"]),
        (100, right[..5].to_vec()),
        (100, with(0, &long)),
        (100, with(1, &key[1..])),
        (100, with(1, "")),
        (100, with(2, "127.0.0")),
        (100, with(2, "0127.0.0.1")),
        (100, with(3, "")),
        (100, with(3, "123456")),
        (100, with(4, &EXTENSION[1..])),
        (111, [&["-c", "nowhere"], &right[..]].concat()),
    ];
    let reference = reference();
    for (code, words) in lines {
        let run = |program: &str, words: &[&str]| {
            let mut command = Command::new(program);
            let command = command.current_dir(place.path("")).args(words);
            let ended = command.stdin(Stdio::null()).output().unwrap();
            (ended.status.code(), ended.stderr.is_empty())
        };
        let ours = [&["curvecpclient"], &words[..]].concat();
        let ours = run(env!("CARGO_BIN_EXE_moonport"), &ours);
        assert_eq!(ours, (Some(code), false), "{words:?}");
        if reference {
            assert_eq!(run("curvecpclient", &words).0, Some(code), "{words:?}");
        }
    }
}
