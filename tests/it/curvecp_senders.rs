//! Streams of the reference's sender, and of ours, through either program: many bytes, and bad ways.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::curveclient::reference;
use crate::curvecp::Lossy;
use crate::curvecpserver::Place;
use crate::host::Moonport;
use crate::process::{Process, Watched};

/// Nobody is waited for longer than this. A sender of the reference that has doubled its pace often is
/// awake once a minute.
const MOST: Duration = Duration::from_secs(240);

/// A client with the reference's sender or receiver: it leaves what comes in that file, or sends `big`.
fn client(place: &Place, ours: bool, to: SocketAddr, file: Option<&str>) -> Process {
    let words = match file {
        Some(file) => format!("exec 7>&-; exec cat <&6 >{file}"),
        None => "cat big >&7; exec 7>&-; cat <&6".to_owned(),
    };
    let mut command = place.client(ours, &[], to);
    Process::start(
        command
            .args(["curvecpmessage", "-c", "sh", "-c"])
            .arg(words),
    )
}

/// `connect`, whose output is that file.
fn connect(place: &Place, to: SocketAddr, file: &str) -> Process {
    let connect = place.connect(to);
    let mut command = Command::new("sh");
    command.current_dir(place.path(""));
    command.args(["-c", &format!(r#"exec "$0" "$@" </dev/null >{file}"#)]);
    Process::start(command.arg(connect.get_program()).args(connect.get_args()))
}

/// Streams that run, the reference's own first, and where their bytes go.
struct Race {
    place: Place,
    since: Instant,
    running: Vec<(Process, Process, String)>,
}

impl Race {
    fn new(place: Place) -> Self {
        let since = Instant::now();
        let running = Vec::new();
        Self {
            place,
            since,
            running,
        }
    }

    fn add(&mut self, server: Process, client: Process, file: String) {
        self.running.push((server, client, file));
    }

    /// Ours have four times as long as the reference's own, and a while for who has bad luck: such a
    /// sender halves its speed whenever something was late, and doubles it once in five seconds.
    fn ends(self, big: &[u8]) {
        let mut most = MOST;
        for (_server, client, file) in self.running {
            let left = most.saturating_sub(self.since.elapsed());
            let gone = Watched::new(client.pid()).is_gone_within(left);
            if !gone && most == MOST {
                println!("skipped: the reference's own programs stand still");
                return;
            }
            assert!(gone, "{file}: not within {most:?}");
            if most == MOST {
                most = self.since.elapsed() * 4 + Duration::from_secs(45);
            }
            let ended = client.wait();
            assert_eq!(ended.code, 0, "{}", ended.text());
            let came = fs::read(self.place.path(&file)).unwrap();
            assert!(
                blake3::hash(&came) == blake3::hash(big),
                "{file}: {}",
                came.len()
            );
        }
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
fn twenty_megabytes_come_down_from_the_references_sender_as_through_its_own_programs() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(20_000_000);
    let mut race = Race::new(place);
    let program = ["curvecpmessage", "cat", "big"];
    for (ours, server) in [(false, false), (false, true), (true, false)] {
        let (kept, at) = race.place.serve_by(server, &program);
        let file = format!("down{ours}{server}");
        let client = client(&race.place, ours, at, Some(&file));
        race.add(kept, client, file);
    }
    let (kept, at) = race.place.serve_by(false, &program);
    let client = connect(&race.place, at, "connect");
    race.add(kept, client, "connect".to_owned());
    race.ends(&big);
}

#[test]
fn twenty_megabytes_come_up_from_the_references_sender_as_through_its_own_programs() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(20_000_000);
    let mut race = Race::new(place);
    for (ours, server) in [(false, false), (false, true), (true, false)] {
        let file = format!("up{ours}{server}");
        let program = ["curvecpmessage", "sh", "-c", &format!("cat >{file}")];
        let (kept, at) = race.place.serve_by(server, &program);
        let client = client(&race.place, ours, at, None);
        race.add(kept, client, file);
    }
    race.ends(&big);
}

#[test]
fn bytes_of_our_sender_come_whole_where_packets_are_lost_and_overtaken() {
    if !reference() {
        return;
    }
    let place = Place::new();
    let big = place.big(300_000);
    let mut running = Vec::new();
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
fn bytes_of_the_references_sender_come_whole_where_packets_are_lost_and_overtaken() {
    if !reference() {
        return;
    }
    let place = Place::new();
    // It halves its speed with each loss, so it has little to say.
    let big = place.big(20_000);
    let mut running = Vec::new();
    for (ours, server) in [(false, true), (true, false), (true, true)] {
        let (down, up) = (format!("down{ours}{server}"), format!("up{ours}{server}"));
        let (kept, at) = place.serve_by(server, &["curvecpmessage", "cat", "big"]);
        let way = Lossy::to(at);
        let process = client(&place, ours, way.address, Some(&down));
        running.push((kept, way, process, down));
        let program = ["curvecpmessage", "sh", "-c", &format!("cat >{up}")];
        let (kept, at) = place.serve_by(server, &program);
        let way = Lossy::to(at);
        let process = client(&place, ours, way.address, None);
        running.push((kept, way, process, up));
    }
    let (kept, at) = place.serve_by(false, &["curvecpmessage", "cat", "big"]);
    let way = Lossy::to(at);
    let process = connect(&place, way.address, "connect");
    running.push((kept, way, process, "connect".to_owned()));
    let since = Instant::now();
    for (_kept, _way, client, file) in running {
        let left = MOST.saturating_sub(since.elapsed());
        let gone = Watched::new(client.pid()).is_gone_within(left);
        assert!(gone, "{file}: not within {MOST:?}");
        assert_eq!(client.wait().code, 0);
        assert!(fs::read(place.path(&file)).unwrap() == big, "{file}");
    }
}
