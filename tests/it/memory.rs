//! What stands in the memory of each process, read by root from outside, and that it gets nowhere when
//! one of them crashes.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::Instant;

use chacha20::ChaCha8Rng;
use data_encoding::BASE64;
use identity::Secret;
use moonport::wire::a12::event::{External, SegmentKind, Target};
use moonport::wire::a12::keyroom::{Claim, ratchet};
use moonport::wire::a12::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Role, Rounds, StageKeys,
};
use moonport::wire::crypto::SecretKey;
use moonport::wire::{Input, Output, Protocol};
use rand_core::SeedableRng;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;

use crate::hello::HELLO;
use crate::host::{Host, Moonport, Place};
use crate::key::{ANNA, Key};
use crate::process::PATIENCE;
use crate::sandbox::{FRAMESERVER, SCRIPT};

/// The secret that the script names.
const NAMED: &str = "named-by-the-script-itself";

/// How much is read at once.
const PORTION: usize = 1 << 20;

/// How often each of these stands in a process's memory; `None`: nobody may look.
fn found(process: u32, wanted: &[&[u8]]) -> Option<Vec<usize>> {
    let memory = match File::open(format!("/proc/{process}/mem")) {
        Ok(memory) => memory,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return None,
        Err(error) => panic!("{error}"),
    };
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut found = vec![0; wanted.len()];
    let mut looked_at = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, access) = (words.next().unwrap(), words.next().unwrap());
        let file = words.nth(2).unwrap() != "0";
        // What is read from a file and cannot be written is the program.
        if !access.starts_with('r') || file && !access.contains('w') {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [mut at, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        // The end of a portion, for what stands on both sides of it.
        let mut kept = Vec::new();
        while at < to {
            let mut bytes = vec![0; PORTION.min((to - at).try_into().unwrap())];
            // Pages of the kernel cannot be read in this way.
            let Ok(read) = memory.read_at(&mut bytes, at) else {
                break;
            };
            looked_at += read;
            let tail = kept.len();
            kept.extend_from_slice(&bytes[..read]);
            for (count, wanted) in found.iter_mut().zip(wanted) {
                // What lies in the tail alone has been counted.
                let skipped = (tail + 1).saturating_sub(wanted.len());
                let places = kept[skipped..].windows(wanted.len());
                *count += places.filter(|place| place == wanted).count();
            }
            kept.drain(..kept.len().saturating_sub(64));
            at += read as u64;
        }
    }
    assert!(looked_at > 1 << 16, "hardly anything is looked at");
    Some(found)
}

/// A script that names a secret, and one that has nothing to do with it.
fn host() -> Host {
    let named = format!("{HELLO}\ntarget_input(listener, '0:{NAMED}')");
    Moonport::new()
        .script("named", &named)
        .script("idle", "local kept = ADDRESS")
        .start_with(1)
}

fn scripts(host: &Host) -> Vec<u32> {
    let role = |pid: &u32| {
        let name = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        name.starts_with(SCRIPT.as_bytes())
    };
    host.process.children().into_iter().filter(role).collect()
}

/// Somebody who is in, with the keys that the session began with.
struct Visitor {
    stream: TcpStream,
    client: Initiator<ChaCha8Rng>,
    own: SecretKey,
    keys: Option<StageKeys>,
}

impl Visitor {
    /// Comes in and is greeted.
    fn come(place: &Place, who: Key, secret: &str) -> Self {
        let stream = TcpStream::connect((place.address, place.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let config = InitiatorConfig {
            role: Role::Source,
            initial: StageKeys::initial(&Secret::parse(secret.as_bytes()).unwrap()),
            public: who.public(),
            rounds: Rounds::One,
            handshake: PATIENCE,
        };
        let mut visitor = Self {
            stream,
            client: Initiator::new(config, Instant::now(), ChaCha8Rng::seed_from_u64(7)),
            own: SecretKey::from_bytes(who.private()),
            keys: None,
        };
        visitor.until_greeted();
        visitor
    }

    fn until_greeted(&mut self) {
        let now = Instant::now();
        loop {
            let (mut out, mut greeted) = (Vec::new(), false);
            loop {
                let input = match self.client.poll(&mut out) {
                    Output::Transmit => continue,
                    Output::Idle(_) => break,
                    Output::Ask(Ask::Server(hello)) => {
                        let keys = Claim::parse(&hello).unwrap().session(&self.own);
                        self.keys = Some(keys.clone());
                        Input::Answer(Answer::Session(keys))
                    }
                    Output::Ask(Ask::Ratchet(rekey)) => {
                        Input::Answer(Answer::Ratchet(ratchet(&self.own, &rekey).unwrap()))
                    }
                    Output::Ask(other) => panic!("{other:?}"),
                    Output::Event(Event::Established { .. }) => Input::Command(Command::External {
                        channel: 0,
                        event: External::Register {
                            title: "visitor".into(),
                            kind: SegmentKind(10),
                            guid: [0; 2],
                        },
                    }),
                    Output::Event(Event::Target {
                        event: Target::Message(text),
                        ..
                    }) if text.text == "welcome" => {
                        greeted = true;
                        continue;
                    }
                    Output::Event(_) => continue,
                };
                self.client.handle(now, input).unwrap();
            }
            self.stream.write_all(&out).unwrap();
            if greeted {
                return;
            }
            let mut bytes = vec![0; self.client.room().min(4096)];
            let read = self.stream.read(&mut bytes).unwrap();
            assert_ne!(read, 0, "it was turned away");
            self.client
                .handle(now, Input::Bytes(&bytes[..read]))
                .unwrap();
        }
    }
}

/// The host's private key, as bytes and as it stands in its file.
fn private_key(place: &Place) -> (Vec<u8>, String) {
    let file = fs::read_to_string(place.state().join("hostkeys/default")).unwrap();
    let text = file
        .lines()
        .find_map(|line| line.strip_prefix("unsealed "))
        .unwrap();
    (
        BASE64.decode(text.as_bytes()).unwrap(),
        text[..40].to_owned(),
    )
}

/// The three keys of a stage.
fn stage(keys: &StageKeys) -> Vec<Vec<u8>> {
    let keys: Value = serde_json::to_value(keys).unwrap();
    let bytes = |key: &Value| {
        let bytes = key.as_array().unwrap().iter();
        bytes
            .map(|byte| byte.as_u64().unwrap().try_into().unwrap())
            .collect()
    };
    let keys = keys.as_object().unwrap();
    assert_eq!(keys.len(), 3);
    keys.values().map(bytes).collect()
}

#[test]
fn i8_each_process_holds_the_secrets_that_it_needs_and_no_others() {
    let host = host();
    host.key_accept("hello", ANNA);
    let opened = host.window_open("hello", 1);
    let visitor = Visitor::come(host.place(), ANNA, NAMED);
    let (private, private_text) = private_key(host.place());
    let session = stage(visitor.keys.as_ref().unwrap());
    let first = StageKeys::initial(&Secret::parse(NAMED.as_bytes()).unwrap());
    let first = stage(&first);

    let mut wanted: Vec<&[u8]> = vec![
        &private,
        private_text.as_bytes(),
        opened.as_bytes(),
        NAMED.as_bytes(),
    ];
    wanted.extend(session.iter().chain(&first).map(Vec::as_slice));
    let look = |process| found(process, &wanted);
    let Some(front) = look(host.child(FRAMESERVER)) else {
        // Nobody but root may look; that is the same wall from another side.
        assert!(!geteuid().is_root() || !may_trace());
        host.stop();
        return;
    };
    let (front_keys, front) = (front[4..].to_vec(), &front[..4]);
    assert_eq!(front, [0; 4], "a frameserver has what is the host's");
    // It serves with these; else nothing would be found anywhere, and this say nothing.
    let [mac, client] = [front_keys[0], front_keys[1]];
    assert!(mac + client > 0, "not even the session's keys are found");
    assert!(front_keys[3..].iter().sum::<usize>() > 0, "{front_keys:?}");

    let scripts = scripts(&host);
    assert_eq!(scripts.len(), 2);
    let mut knows = 0;
    for script in scripts {
        let script = look(script).unwrap();
        assert_eq!(script[..3], [0; 3], "a script has what is the host's");
        assert_eq!(script[4..], [0; 6], "a script has keys");
        knows += usize::from(script[3] > 0);
    }
    assert_eq!(knows, 1, "the one that has named it knows it");
    drop(visitor);
    host.stop();
}

/// Whether this process may look into others, as root usually may.
fn may_trace() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let capabilities = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap();
    let capabilities = u64::from_str_radix(capabilities.trim(), 16).unwrap();
    // CAP_SYS_PTRACE.
    capabilities >> 19 & 1 == 1
}

/// The soft and the hard limit of core files.
fn core_limits(process: u32) -> Vec<String> {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max core file size"))
        .unwrap();
    let limits = line.split_whitespace().take(2);
    limits.map(str::to_owned).collect()
}

/// Where a process would leave a core file by the usual names.
fn cores(process: u32) -> [PathBuf; 2] {
    let folder = fs::read_link(format!("/proc/{process}/cwd"));
    // Without the right to look, it is where the host is.
    let folder = folder.unwrap_or_else(|_| std::env::current_dir().unwrap());
    [folder.join("core"), folder.join(format!("core.{process}"))]
}

#[test]
fn i8_a_process_that_crashes_leaves_no_core_file() {
    let mut host = Moonport::new().script("hello", HELLO).start();
    let processes = host.processes();
    assert_eq!(processes.len(), 3);
    for process in &processes {
        assert_eq!(core_limits(*process), ["0", "0"]);
        // What is closed to others belongs to root, whoever runs it.
        let owner = fs::metadata(format!("/proc/{process}/maps")).unwrap().uid();
        assert_eq!(owner, 0, "its memory is open to whoever runs it");
    }
    let all: Vec<_> = processes
        .iter()
        .flat_map(|process| cores(*process))
        .collect();
    let before: Vec<_> = all.iter().map(|path| path.exists()).collect();
    for (role, signal, said) in [
        (FRAMESERVER, Signal::ILL, "a frameserver died"),
        (SCRIPT, Signal::ABORT, "its process died"),
    ] {
        let child = host.child(role);
        kill_process(Pid::from_raw(child.try_into().unwrap()).unwrap(), signal).unwrap();
        let line = host.process.expect(said);
        // As the status of a process is told that has left one.
        assert!(!line.contains("core dumped"), "{line}");
    }
    host.process.signal(Signal::ABORT);
    let ended = host.process.wait();
    assert_eq!(ended.code, 128 + 6, "{}", ended.text());
    assert!(!ended.dumped && !ended.text().contains("core dumped"));
    let after: Vec<_> = all.iter().map(|path| path.exists()).collect();
    assert_eq!(before, after, "{all:?}");
}
