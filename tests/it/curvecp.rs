//! Clients of CurveCP, as the real tools are: `curvecpclient` and `curvecpmessage`.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use data_encoding::{BASE64, HEXLOWER};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::host::{Host, Moonport};
use crate::key::{ANNA, BERT, EVE, Key};
use crate::process::{Ended, Process};

/// Sends back what comes; to who begins with `D` five million bytes, and to who begins with `U`
/// nothing.
const BOX: &str = r#"
local function client()
    local wanted, rest, ended, what = 0, "", false, nil
    local function push(source)
        while #rest > 0 or wanted > 0 do
            if rest == "" then
                rest = ("x"):rep(math.min(wanted, 60000))
                wanted = wanted - #rest
            end
            local taken = moonport.write(source, rest)
            if not taken then return end
            rest = rest:sub(taken + 1)
        end
        if ended then moonport.finish(source, ended == "failed") end
    end
    return function(source, status)
        if status.kind == "data" then
            if not what then
                what = status.data:sub(1, 1)
                wanted = what == "D" and 5000000 or 0
            end
            if what ~= "D" and what ~= "U" then
                rest = rest .. status.data
            end
            push(source)
        elseif status.kind == "drain" then
            push(source)
        elseif status.kind == "eof" then
            print("eof", status.failed)
            ended = status.failed and "failed" or "well"
            push(source)
        else
            print(status.kind, status.segkind or status.last_words)
        end
    end
end

listener = moonport.listen({
    name = "box", interface = "curvecp://" .. ADDRESS, port = PORT, OPTIONS
}, function(source, status)
    print("listener", status.kind, status.last_words or status.message or "", status.anonymous)
    if status.kind == "segment_request" then
        accept_target(client())
    end
end)

function box_adopt(vid, kind)
    print("adopted", kind)
    target_updatehandler(vid, client())
    return true
end
"#;

fn has_tools() -> bool {
    let found = Command::new("sh")
        .args([
            "-c",
            "command -v curvecpclient && command -v curvecpmessage",
        ])
        .output()
        .is_ok_and(|found| found.status.success());
    if !found {
        println!("skipped: there is no curvecpclient (apt install nacl-tools)");
    }
    found
}

/// With options of `moonport.listen`. Anna's key is accepted.
fn host(options: &str) -> Host {
    let script = BOX.replace("OPTIONS", options);
    let host = Moonport::new().script("box", &script).start();
    host.key_accept("box", ANNA);
    host
}

/// A client, as the tools have it.
struct Client {
    name: &'static str,
    key: String,
    keys: Option<PathBuf>,
    to: SocketAddr,
}

impl Client {
    fn new(host: &Host, who: Key) -> Self {
        let place = host.place();
        let key = BASE64.decode(place.host_key().as_bytes()).unwrap();
        Self {
            name: "box",
            key: HEXLOWER.encode(&key),
            keys: Some(folder(host, who)),
            to: (place.address, place.port).into(),
        }
    }

    /// Runs these words of a shell, which writes to 7 and reads from 6; it has so many seconds.
    fn run(&self, seconds: u32, words: &str) -> Process {
        let mut command = Command::new("timeout");
        command.arg(seconds.to_string()).arg("curvecpclient");
        if let Some(keys) = &self.keys {
            command.arg("-c").arg(keys);
        }
        let (address, port) = (self.to.ip().to_string(), self.to.port().to_string());
        let zeros = "0".repeat(32);
        command.args([self.name, &self.key, &address, &port, &zeros]);
        command.args(["curvecpmessage", "-c", "sh", "-c", words]);
        Process::start(&mut command)
    }

    fn echoes(&self) {
        let ended = self.run(30, "echo moon >&7; exec 7>&-; cat <&6").wait();
        assert!(well(&ended).contains("moon"), "{}", ended.text());
    }

    /// Is not answered.
    fn is_refused(&self) {
        let ended = self.run(3, "echo moon >&7; exec 7>&-; cat <&6").wait();
        assert!(!ended.text().contains("moon"), "{}", ended.text());
        assert_ne!(ended.code, 0);
    }
}

fn well(ended: &Ended) -> String {
    assert_eq!(ended.code, 0, "{}", ended.text());
    ended.text()
}

/// Somebody's key in a folder as the tools have it.
fn folder(host: &Host, who: Key) -> PathBuf {
    let folder = host.place().folder().join(format!("{}.curvecp", who.0));
    let secret = folder.join(".expertsonly");
    if fs::create_dir_all(&secret).is_ok() {
        fs::write(folder.join("publickey"), who.public().as_bytes()).unwrap();
        fs::write(secret.join("secretkey"), who.private()).unwrap();
        fs::write(secret.join("noncekey"), [7; 32]).unwrap();
        fs::write(secret.join("noncecounter"), [0; 8]).unwrap();
        fs::write(secret.join("lock"), [0]).unwrap();
    }
    folder
}

#[test]
fn what_is_sent_comes_back_and_both_ends_see_the_end() {
    if !has_tools() {
        return;
    }
    let mut host = host("");
    let anna = Client::new(&host, ANNA);
    anna.echoes();
    host.process.expect("registered\tstream");
    host.process.expect("eof\tfalse");
    host.process.expect("terminated");
    // One after the other, and two at once.
    let words = "echo one >&7; echo two >&7; exec 7>&-; cat <&6";
    let both = [anna.run(30, words), anna.run(30, words)];
    for ended in both.map(Process::wait) {
        let text = well(&ended);
        assert!(text.contains("one") && text.contains("two"), "{text}");
    }
    host.stop();
}

#[test]
fn megabytes_come_through_whole_in_each_direction() {
    if !has_tools() {
        return;
    }
    let host = host("");
    let anna = Client::new(&host, ANNA);
    let down = anna
        .run(60, "echo D >&7; exec 7>&-; cat <&6 | wc -c")
        .wait();
    assert!(well(&down).contains("5000000"), "{}", down.text());
    let up = "{ echo U; head -c 1000000 /dev/zero; } >&7; exec 7>&-; cat <&6; echo done";
    assert!(well(&anna.run(60, up).wait()).contains("done"));
    let echo = "{ head -c 1000000 /dev/zero; } >&7 & exec 7>&-; cat <&6 | wc -c";
    let echo = anna.run(60, echo).wait();
    assert!(well(&echo).contains("1000000"), "{}", echo.text());
}

#[test]
fn i1_who_knows_another_key_or_name_or_is_not_known_gets_nowhere() {
    if !has_tools() {
        return;
    }
    let host = host("");
    let anna = || Client::new(&host, ANNA);
    let key = HEXLOWER.encode(BERT.public().as_bytes());
    Client { key, ..anna() }.is_refused();
    let name = "other";
    Client { name, ..anna() }.is_refused();
    Client::new(&host, EVE).is_refused();
    // One of its own for every run.
    let keys = None;
    Client { keys, ..anna() }.is_refused();
    anna().echoes();
    assert_eq!(host.keys().len(), 1);
    let said = host.process.terminate().text();
    assert_eq!(said.matches("segment_request").count(), 1, "{said}");
}

#[test]
fn a_server_may_have_another_name_than_its_listener() {
    if !has_tools() {
        return;
    }
    let host = host("options = { server_name = 'this.machine' }");
    let name = "this.machine";
    let anna = Client::new(&host, ANNA);
    Client { name, ..anna }.echoes();
}

#[test]
fn unknown_keys_come_in_where_a_listener_takes_them_and_are_not_enrolled() {
    if !has_tools() {
        return;
    }
    let mut host = host("options = { anonymous = true }");
    let keys = None;
    let anna = Client::new(&host, ANNA);
    Client { keys, ..anna }.echoes();
    host.process.expect("listener\tsegment_request\t\ttrue");
    Client::new(&host, ANNA).echoes();
    host.process.expect("listener\tsegment_request\t\tfalse");
    assert_eq!(host.keys().len(), 1);
    // Unknown is not unwanted.
    host.admin(["key", "ban", &EVE.public().to_string(), "--yes"]);
    Client::new(&host, EVE).is_refused();
}

#[test]
fn a_window_without_secret_enrols_the_next_key() {
    if !has_tools() {
        return;
    }
    let host = host("window = { count = 1, without_secret = true }");
    Client::new(&host, BERT).echoes();
    assert_eq!(host.keys().len(), 2);
    Client::new(&host, EVE).is_refused();
    Client::new(&host, BERT).echoes();
}

#[test]
fn i5_a_revoked_client_is_cut_and_nobody_else() {
    if !has_tools() {
        return;
    }
    let mut host = host("");
    host.key_accept("box", BERT);
    let words = "echo first >&7; read line <&6; echo $line; cat <&6; exec 7>&-";
    let mut anna = Client::new(&host, ANNA).run(20, words);
    anna.expect("first");
    let mut bert = Client::new(&host, BERT).run(20, words);
    bert.expect("first");
    host.admin(["key", "revoke", &ANNA.public().to_string(), "--yes"]);
    assert_eq!(host.sessions(), 1);
    host.process.expect("terminated");
    Client::new(&host, ANNA).is_refused();
    Client::new(&host, BERT).echoes();
}

#[test]
fn clients_outlive_their_script_and_its_listener_comes_back() {
    if !has_tools() {
        return;
    }
    let mut host = host("");
    let words =
        "echo one >&7; read line <&6; echo got $line; read go; echo two >&7; exec 7>&-; cat <&6";
    let anna = Client::new(&host, ANNA);
    let mut first = anna.run(60, words);
    first.expect("got one");
    host.kill_child("moonport-script");
    host.process.expect("adopted\tstream");
    host.process.expect("listener\tregistered");
    first.say("go");
    first.expect("two");
    assert_eq!(first.wait().code, 0);
    anna.echoes();
}

#[test]
fn a_stream_that_breaks_off_is_told_apart_from_one_that_ends() {
    let mut host = host("options = { anonymous = true }");
    let place = host.place();
    let key = BASE64.decode(place.host_key().as_bytes()).unwrap();
    let mut connect = Command::new(env!("CARGO_BIN_EXE_moonport"));
    connect.args(["connect", "--anonymous"]);
    connect.arg(format!(
        "curvecp://{}@{}/box",
        HEXLOWER.encode(&key),
        place.at()
    ));
    // A folder cannot be read.
    let folder = fs::File::open(place.folder()).unwrap();
    let ended = connect.stdin(folder).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr);
    // The script has ended its stream in the same way.
    host.process.expect("eof\ttrue");
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("broke off"), "{said}");
}

/// Passes datagrams on, each at once; loses one of twenty, and lets as many be overtaken.
pub(crate) struct Lossy {
    pub(crate) address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lossy {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let front = UdpSocket::bind("127.0.0.1:0").unwrap();
        let back = UdpSocket::bind("127.0.0.1:0").unwrap();
        back.connect(server).unwrap();
        let address = front.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        for socket in [&front, &back] {
            socket.set_nonblocking(true).unwrap();
        }
        let thread = std::thread::spawn(move || {
            let mut way = Way {
                sockets: [front, back],
                client: None,
                sides: [1, 2].map(|dice| Side { dice, late: None }),
            };
            while !ended.load(Ordering::Relaxed) {
                way.turn();
            }
        });
        Self {
            address,
            over,
            thread: Some(thread),
        }
    }
}

struct Way {
    /// Towards the client, and towards the server.
    sockets: [UdpSocket; 2],
    client: Option<SocketAddr>,
    /// What comes by either.
    sides: [Side; 2],
}

struct Side {
    dice: u32,
    /// To be overtaken by the next one; it goes on by itself if there is none.
    late: Option<(Instant, Vec<u8>)>,
}

impl Side {
    const LATE: Duration = Duration::from_millis(5);

    fn roll(&mut self) -> u32 {
        self.dice = self
            .dice
            .wrapping_mul(1_664_525)
            .wrapping_add(1_013_904_223);
        (self.dice >> 16) % 20
    }
}

impl Way {
    /// Waits for something, and takes one datagram from either side.
    fn turn(&mut self) {
        let waits = self.sides.iter().any(|side| side.late.is_some());
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: if waits { 1_000_000 } else { 20_000_000 },
        };
        let mut sockets =
            [&self.sockets[0], &self.sockets[1]].map(|socket| PollFd::new(socket, PollFlags::IN));
        poll(&mut sockets, Some(&patience)).unwrap();
        for from in [0, 1] {
            self.take(from);
            let late = &mut self.sides[from].late;
            if let Some((_, late)) = late.take_if(|(since, _)| since.elapsed() > Side::LATE) {
                self.send(from, &late);
            }
        }
    }

    fn take(&mut self, from: usize) {
        let mut buffer = [0; 2048];
        let Ok((length, sender)) = self.sockets[from].recv_from(&mut buffer) else {
            return;
        };
        if from == 0 {
            self.client = Some(sender);
        }
        let datagram = &buffer[..length];
        let side = &mut self.sides[from];
        match side.roll() {
            0 => {}
            1 if side.late.is_none() => side.late = Some((Instant::now(), datagram.to_vec())),
            _ => {
                let late = side.late.take();
                self.send(from, datagram);
                late.iter().for_each(|(_, late)| self.send(from, late));
            }
        }
    }

    fn send(&self, from: usize, datagram: &[u8]) {
        let _ = match (from, self.client) {
            (0, _) => self.sockets[1].send(datagram),
            (_, Some(client)) => self.sockets[0].send_to(datagram, client),
            _ => return,
        };
    }
}

impl Drop for Lossy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

#[test]
fn bytes_come_through_where_packets_are_lost_and_turned_around() {
    if !has_tools() {
        return;
    }
    let host = host("");
    let mut anna = Client::new(&host, ANNA);
    let way = Lossy::to(anna.to);
    anna.to = way.address;
    let words = "{ head -c 100000 /dev/zero; } >&7 & exec 7>&-; cat <&6 | wc -c";
    let ended = anna.run(120, words).wait();
    assert!(ended.text().contains("100000"), "{}", ended.text());
}
