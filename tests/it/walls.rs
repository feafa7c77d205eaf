//! What a hostile script does stays with it.

use std::fs;
use std::time::{Duration, Instant};

use crate::hello::HELLO;
use crate::host::{Host, Moonport};
use crate::key::ANNA;
use crate::process::Process;
use crate::repository::files;

/// Has a script do its mischief once, by itself, and say that it lives on. A process that follows
/// does it again only if it is `always`.
const DRIVER: &str = r#"
local first = always or not get_key("mischief")
function hostile_clock_pulse()
    if first then
        first = false
        store_key("mischief", "done")
        print("begins")
        mischief()
        print("was not stopped")
    else
        print("goes on")
    end
end
"#;

/// How many times Anna is answered while there is mischief.
const ROUNDS: usize = 20;

/// How a script of the collection says that it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The callback is stopped, the script goes on.
    Handler,
    /// Its process dies, the next one goes on.
    Restart,
    /// One or the other, as it happens.
    Either,
    /// It is not run any more.
    Script,
}

impl End {
    fn of(path: &str, text: &str) -> Self {
        match text.lines().next() {
            Some("-- ends: handler error") => Self::Handler,
            Some("-- ends: restart") => Self::Restart,
            Some("-- ends: restart or handler error") => Self::Either,
            Some("-- ends: script") => Self::Script,
            other => panic!("{path} does not begin with how it ends but {other:?}"),
        }
    }
}

#[test]
fn i12_hostile_scripts_end_as_they_say_and_nobody_else_notices() {
    let all = files("lua/tests/hostile", &[".lua"]);
    assert!(all.len() >= 18, "the collection has {}", all.len());
    for file in all {
        let end = End::of(&file.path, &file.text);
        println!("{}", file.path);
        let begun = Instant::now();
        let pause = run(&file.text, end);
        println!(
            "{}: {end:?} after {:?}; Anna waited {pause:?} at most",
            file.path,
            begun.elapsed()
        );
    }
}

/// Runs one beside a script that has a client; gives the longest that the client has waited.
fn run(hostile: &str, end: End) -> Duration {
    let mut host = Moonport::new()
        .option("--handler-limit=1s")
        .option("--memory=64M")
        .script("echo", HELLO)
        .script("hostile", &format!("{hostile}{DRIVER}"))
        .start_with(1);
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    let pause = talk(&mut anna);
    await_end(&mut host, end);
    let pause = pause.max(talk(&mut anna));
    assert_eq!(host.sessions(), 1);
    let ended = host.process.terminate();
    assert_eq!(
        ended.code,
        i32::from(end == End::Script),
        "{}",
        ended.text()
    );
    let text = ended.text();
    assert!(!text.contains("was not stopped"), "{text}");
    // What it says cannot pass for a line of the host.
    assert!(!text.contains("\nby an admin"), "{text}");
    assert!(!text.contains("\n2026-01-01"), "{text}");
    let deaths = text.matches("its process died").count();
    match end {
        End::Handler => assert_eq!(deaths, 0, "{text}"),
        End::Restart => assert_eq!(deaths, 1, "{text}"),
        End::Either => assert!(deaths <= 1, "{text}"),
        End::Script => {}
    }
    pause
}

#[track_caller]
fn await_end(host: &mut Host, end: End) {
    match end {
        End::Handler => {
            host.process.expect("ERROR moonport::script: ");
            host.process.expect("goes on");
        }
        End::Either => drop(host.process.expect("goes on")),
        End::Restart => {
            host.process.expect("starting it again");
            host.process.expect("goes on");
        }
        End::Script => {
            let ends = ["it is not started again", "the script is ended"];
            let mut lines = (0..2000).map(|_| host.process.expect(" "));
            assert!(lines.any(|line| ends.iter().any(|end| line.contains(end))));
        }
    }
}

/// Anna says something and is answered, again and again; the longest that took.
#[track_caller]
fn talk(anna: &mut Process) -> Duration {
    let rounds = (0..ROUNDS).map(|round| {
        let begun = Instant::now();
        anna.say(&format!("round {round} here"));
        anna.expect(&format!("you said round {round} here"));
        begun.elapsed()
    });
    rounds.max().unwrap_or_default()
}

#[test]
fn a_script_that_must_be_locked_down_runs_or_says_why_not() {
    let script = "print('here it runs') shutdown()";
    let ended = Moonport::new()
        .option("--sandbox=require")
        .script("locked", script)
        .run();
    let text = ended.text();
    if ended.code == 0 {
        assert!(text.contains("here it runs"), "{text}");
        assert!(!text.contains("the sandbox does not deny"), "{text}");
    } else {
        // This kernel cannot.
        assert!(text.contains("nothing on this system denies"), "{text}");
        assert!(!text.contains("here it runs"), "{text}");
    }
}

#[test]
fn i4_a_script_process_is_locked_down_while_it_runs() {
    let host = Moonport::new().script("hello", HELLO).start();
    let status_of =
        |pid: u32| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let children = host.process.children();
    assert_eq!(children.len(), 2, "a script and a frameserver");
    for pid in children {
        let status = status_of(pid);
        let field = |name: &str| {
            let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
            lines
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value.to_owned())
        };
        assert_eq!(field("Seccomp").as_deref(), Some("2"), "{status}");
        assert_eq!(field("NoNewPrivs").as_deref(), Some("1"), "{status}");
        // A watchdog is a thread, and is bound, too.
        for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            assert!(status.contains("Seccomp:\t2"), "{status}");
        }
    }
    host.stop();
}

#[test]
fn reports_are_json_where_the_log_is() {
    let script = "warning('careful')\nfunction main() nothing() end";
    let ended = Moonport::new()
        .option("--log-format=json")
        .script("show", script)
        .run();
    let lines = ended.lines.iter().map(|line| {
        serde_json::from_str::<serde_json::Value>(line)
            .unwrap_or_else(|error| panic!("{error}: {line}"))
    });
    let lines: Vec<_> = lines.collect();
    let of = |message: &str| {
        let found = lines.iter().find(|line| {
            let told = line["fields"]["message"].as_str().unwrap_or_default();
            told.contains(message)
        });
        found.unwrap_or_else(|| panic!("no {message}: {lines:?}"))
    };
    let warning = of("careful");
    assert_eq!(warning["level"], "WARN");
    assert_eq!(warning["fields"]["script"], "show");
    let error = of("show.lua:2: ");
    assert_eq!(error["level"], "ERROR");
    assert_eq!(error["fields"]["in"], "main()");
    assert_eq!(error["fields"]["so"], "the script is ended");
    assert!(
        error["fields"]["hint"]
            .as_str()
            .unwrap()
            .contains("nothing")
    );
    assert!(error["fields"]["traceback"].is_string());
}
