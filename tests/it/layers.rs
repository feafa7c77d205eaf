//! Who may know whom: the table of `ARCHITECTURE.md`, held to the sources.

use crate::repository::{File, files};
use crate::source::{UsedPath, module, paths, test_modules, tokens};

/// A room, and what it may use.
struct Room {
    directory: &'static str,
    /// Paths of its own crate; each covers what is below it.
    may: &'static [&'static str],
    /// What of other crates it must not use.
    never: &'static [&'static str],
}

const ROOMS: [Room; 11] = [
    Room {
        directory: "identity/src",
        may: EVERYTHING,
        never: &["keystore", "moonport", "tokio", "std::net", "std::fs"],
    },
    Room {
        directory: "keystore/src",
        may: EVERYTHING,
        never: &["moonport", "tokio", "std::net"],
    },
    Room {
        directory: "nacl/src",
        may: EVERYTHING,
        never: &[
            "identity", "keystore", "moonport", "tokio", "std::net", "std::fs",
        ],
    },
    Room {
        directory: "src/wire",
        may: &["wire"],
        never: &[
            "keystore",
            "tokio",
            "rustix",
            "getrandom",
            "std::fs",
            "std::net",
            "Instant::now",
            "SystemTime::now",
        ],
    },
    Room {
        directory: "src/formats",
        may: &["formats"],
        never: &[
            "keystore",
            "tokio",
            "getrandom",
            "std::net::TcpStream",
            "std::net::UdpSocket",
            "Instant::now",
            "SystemTime::now",
        ],
    },
    Room {
        directory: "src/ipc",
        may: &["ipc", PLAIN],
        never: &["std::fs"],
    },
    Room {
        directory: "src/sandbox",
        may: &["sandbox", "ipc::Denied"],
        never: &["keystore", "tokio", "std::net", "std::fs"],
    },
    Room {
        directory: "src/frameserver",
        may: &["frameserver", "ipc", "wire", "sandbox"],
        never: &["keystore"],
    },
    Room {
        directory: "src/script",
        may: &[
            "script",
            "ipc",
            "wire::a12::event",
            "wire::curvecp::Extension",
            "wire::curvecp::IDLE",
            "wire::curvecp::ServerName",
            "wire::zmtp::Heartbeat",
            "wire::zmtp::Metadata",
            "wire::zmtp::NoSocketType",
            "wire::zmtp::SocketType",
            "sandbox",
        ],
        never: &["keystore"],
    },
    Room {
        directory: "src/host",
        may: &[
            "host",
            "ipc",
            PLAIN,
            "wire::crypto",
            "wire::cookie",
            "wire::a12::keyroom",
            "wire::curvecp::keyroom",
            "wire::zmtp::keyroom",
            "frameserver::ROLE",
            "script::ROLE",
            "sandbox::close_others",
        ],
        never: &[],
    },
    Room {
        directory: "src/cli",
        may: &[
            "cli",
            "formats",
            "host",
            "ipc",
            "wire",
            "script::Page",
            "script::reference",
            // Tests of scripts have a host in memory, around the real engine and machines.
            "frameserver::Memory",
            "frameserver::Said",
            "script::Console",
            "script::Engine",
            "script::tester",
            "script::stubs",
            // What a script can name, for `check`.
            "script::words",
            "sandbox::landlock_version",
        ],
        never: &[],
    },
];

const EVERYTHING: &[&str] = &[""];

/// Stands for [`PLAIN_TYPES`].
const PLAIN: &str = "plain types of the wire";

/// What the wire says without a state machine.
const PLAIN_TYPES: [&str; 27] = [
    "wire::Answer",
    "wire::Ask",
    "wire::Error",
    "wire::Field",
    "wire::Refusal",
    "wire::Violation",
    "wire::a12::Answer",
    "wire::a12::Ask",
    "wire::a12::ControlBody",
    "wire::a12::RatchetKeys",
    "wire::a12::Role",
    "wire::a12::Rounds",
    "wire::a12::SecretId",
    "wire::a12::StageKeys",
    "wire::a12::event",
    "wire::curvecp::Answer",
    "wire::curvecp::Ask",
    "wire::curvecp::Extension",
    "wire::curvecp::IDLE",
    "wire::curvecp::ServerName",
    "wire::zmtp::Answer",
    "wire::zmtp::Ask",
    "wire::zmtp::Heartbeat",
    "wire::zmtp::Metadata",
    "wire::zmtp::NoSocketType",
    "wire::zmtp::Socket",
    "wire::zmtp::SocketType",
];

/// Rooms within the wire.
const PROTOCOLS: [&str; 3] = ["wire::a12", "wire::curvecp", "wire::zmtp"];

/// Crates that are for one place only.
const KEPT: [(&str, &str); 9] = [
    ("rustyline", "src/cli/repl/prompt.rs"),
    ("full_moon", "src/cli/check/"),
    ("mlua", "src/script/"),
    ("sled", "keystore/src/log.rs"),
    ("clap", "src/cli/"),
    ("listenfd", "src/host/handed.rs"),
    ("sd_notify", "src/host/notify.rs"),
    ("landlock", "src/sandbox/"),
    ("seccompiler", "src/sandbox/"),
];

/// Where a descriptor is vouched for, or closed that nobody owns.
const UNSAFE: [&str; 3] = [
    "src/ipc/listener.rs",
    "src/ipc/socket.rs",
    "src/sandbox/inherit.rs",
];

#[test]
fn rooms_use_only_what_is_below_them() {
    let broken = ROOMS.iter().flat_map(|room| {
        let files = sources_below(room.directory);
        assert!(!files.is_empty(), "no room at {}", room.directory);
        files.into_iter().flat_map(|file| {
            let used = used(&file).into_iter().filter(|path| !room.allows(path));
            used.map(|path| {
                let text = path.text();
                format!("{}:{}: `{text}`: {}", file.path, path.line, room.rule())
            })
            .collect::<Vec<_>>()
        })
    });
    report(broken.collect());
}

#[test]
fn some_crates_are_for_one_place() {
    let mut broken = Vec::new();
    for file in sources() {
        for path in used(&file).iter().filter(|path| !path.ours) {
            for (name, place) in KEPT {
                if path.names[0] == name && path.names.len() > 1 && !file.path.starts_with(place) {
                    let text = path.text();
                    broken.push(format!(
                        "{}:{}: `{text}`: {name} is for {place}",
                        file.path, path.line
                    ));
                }
            }
        }
    }
    report(broken);
}

#[test]
fn unsafe_is_where_it_is_expected() {
    let broken = sources()
        .into_iter()
        .filter(|file| !UNSAFE.contains(&file.path.as_str()));
    let broken = broken.filter_map(|file| {
        let tokens = tokens(&file.text);
        let first = tokens.iter().find(|token| token.text == "unsafe")?;
        let rule = "`unsafe` in a file that tests/it/layers.rs does not list";
        Some(format!("{}:{}: {rule}", file.path, first.line))
    });
    report(broken.collect());
}

impl Room {
    fn allows(&self, path: &UsedPath) -> bool {
        let is_protocol = PROTOCOLS.contains(&path.text().as_str());
        if path.ours && (path.names.len() < 2 || is_protocol) {
            // A name alone; what is taken from it is a path of its own.
            true
        } else if path.ours {
            let plain = self.may.contains(&PLAIN).then_some(PLAIN_TYPES);
            let mut may = self.may.iter().chain(plain.iter().flatten());
            // So is a module's on the way to what is allowed.
            let towards = format!("{}::", path.text());
            may.any(|below| covers(below, path) || below.starts_with(&towards))
        } else {
            !self.never.iter().any(|never| mentions(path, never))
        }
    }

    fn rule(&self) -> String {
        let mut rule = format!(
            "{} may use of this crate {}",
            self.directory,
            self.may.join(", ")
        );
        if !self.never.is_empty() {
            rule += &format!("; of others not {}", self.never.join(", "));
        }
        rule
    }
}

/// Whether the path is this one or something below it.
fn covers(below: &str, path: &UsedPath) -> bool {
    let text = path.text();
    below.is_empty()
        || text == below
        || text
            .strip_prefix(below)
            .is_some_and(|rest| rest.starts_with("::"))
}

/// Whether the path goes into this crate, or through these names.
fn mentions(path: &UsedPath, never: &str) -> bool {
    let never: Vec<_> = never.split("::").collect();
    match *never {
        [name] => path.names.len() > 1 && path.names[0] == name,
        _ => path
            .names
            .windows(never.len())
            .any(|names| names == never.as_slice()),
    }
}

fn used(file: &File) -> Vec<UsedPath> {
    paths(&tokens(&file.text), &module(&file.path))
}

fn sources() -> Vec<File> {
    ["src", "keystore/src", "identity/src", "nacl/src"]
        .into_iter()
        .flat_map(sources_below)
        .collect()
}

/// The files below a directory, those for tests only left out.
fn sources_below(directory: &str) -> Vec<File> {
    let mut files = files(directory, &[".rs"]);
    let tests: Vec<_> = files
        .iter()
        .flat_map(|file| test_modules(&file.path, &file.text))
        .collect();
    files.retain(|file| {
        let below = |module: &String| file.path.strip_prefix(module.as_str());
        !tests
            .iter()
            .filter_map(below)
            .any(|rest| rest == ".rs" || rest.starts_with('/'))
    });
    files
}

#[track_caller]
fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}
