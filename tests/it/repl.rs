//! Lua at a prompt, in a script that runs.

use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::host::{Host, Moonport, Place, moonport};
use crate::key::ANNA;
use crate::process::{Ended, PATIENCE, Process, Watched};

/// Answers its clients, and keeps the last one in a global.
const ECHO: &str = r#"
answer = 42
function client(source, status)
    if status.kind == "message" then
        message_target(source, "you said " .. status.message)
    end
end
function echo()
    net_listen("echo", ADDRESS, PORT, function(source, status)
        if status.kind == "segment_request" then
            last = accept_target(client)
        end
    end)
end
"#;

fn echo() -> Host {
    echo_with(&[])
}

fn echo_with(options: &[&str]) -> Host {
    let mut host = Moonport::new().script("echo", ECHO);
    for option in options {
        host = host.option(option);
    }
    let host = host.start();
    host.key_accept("echo", ANNA);
    host
}

/// A prompt whose input is a pipe.
fn repl(host: &Host, words: &[&str]) -> Process {
    let words = ["repl"].iter().chain(words);
    Process::start(&mut moonport(&host.place().state(), words))
}

/// All that comes of a text.
fn evaluated(host: &Host, text: &str) -> Ended {
    let mut repl = repl(host, &[]);
    repl.types(text);
    repl.wait()
}

/// What comes of a text that is in order.
#[track_caller]
fn lines(host: &Host, text: &str) -> Vec<String> {
    let ended = evaluated(host, text);
    assert_eq!(ended.code, 0, "{}", ended.text());
    ended.lines
}

#[test]
fn values_are_shown_and_what_is_printed_is_printed_there_and_here() {
    let mut host = echo();
    let text =
        "1 + 1\nanswer, 'a\\n', nil\nx = {1, 'b', k = {deep = {0}}}\nx\nprint('hello', answer)\n";
    let shown = lines(&host, text);
    assert_eq!(
        shown,
        [
            "2",
            "42",
            "\"a\\n\"",
            "nil",
            "{ 1, \"b\", k = { deep = {…} } }",
            "hello\t42"
        ]
    );
    host.process.expect("hello\t42");
    // Globals are the script's.
    assert_eq!(lines(&host, "answer = answer + 1"), [""; 0]);
    assert_eq!(lines(&host, "answer"), ["43"]);
    host.stop();
}

#[test]
fn a_chunk_has_as_many_lines_as_it_needs() {
    let host = echo();
    let text = "function double(x)\n  return 2 * x\nend\n\ndouble(\n  21\n)\n[[a\nb]]\n-- a word\n1 -- one\n";
    assert_eq!(lines(&host, text), ["42", "\"a\\nb\"", "1"]);
    let unfinished = evaluated(&host, "for i = 1, 2 do\n");
    assert_eq!(unfinished.code, 1);
    assert!(unfinished.text().contains("repl:"), "{}", unfinished.text());
    host.stop();
}

/// In classic mode an error in a callback ends the script, and misuse of the API cannot be caught.
#[test]
fn an_error_ends_what_was_typed_and_nothing_else_in_every_mode() {
    for mode in ["isolate", "classic", "strict"] {
        let host = echo_with(&[&format!("--errors={mode}")]);
        let mut anna = host.client(ANNA).connect();
        anna.say("hello");
        anna.expect("you said hello");
        let mut prompt = repl(&host, &[]);
        for (text, told) in [
            ("error('on purpose')", "repl:1: on purpose"),
            ("do local x\nx.y = 1 end", "repl:2: attempt to index"),
            ("x = = 1", "repl:1: unexpected symbol"),
            ("accept_target()", "repl:1: accept_target"),
            ("pcall(accept_target) error('still')", "repl:1:"),
            ("message_target(last, {})", "repl:1: message_target"),
            ("error({})", "an error that is a table"),
            (
                "moonport.segment(last):expect('message', -1)",
                "is not a time",
            ),
            ("nosuch()", "repl:1: attempt to call"),
        ] {
            prompt.say(text);
            prompt.expect(told);
        }
        // What follows is evaluated all the same.
        prompt.say("'well'");
        prompt.expect("\"well\"");
        prompt.close_input();
        assert_eq!(prompt.wait().code, 1, "{mode}");
        anna.say("still there?");
        anna.expect("you said still there?");
        host.stop();
    }
}

#[test]
fn what_waits_waits_like_a_task() {
    let mut host = echo();
    let mut anna = host.client(ANNA).connect();
    anna.say("first");
    anna.expect("you said first");
    assert_eq!(lines(&host, "moonport.sleep(1)\n'slept'"), ["\"slept\""]);
    let mut prompt = repl(&host, &[]);
    prompt.say("seg = moonport.segment(last)");
    prompt.say("print('listening') return seg:expect('message', 30000).message");
    prompt.expect("listening");
    host.process.expect("listening");
    anna.say("to the prompt");
    prompt.expect("\"to the prompt\"");
    // The callback has heard it, too.
    anna.expect("you said to the prompt");
    prompt.say("seg:send('hello from the prompt')");
    prompt.expect("true");
    anna.expect("hello from the prompt");
    prompt.say("select(2, seg:expect('message', 1))");
    prompt.expect("\"timeout\"");
    prompt.say("delete_image(last)");
    assert_eq!(anna.wait().code, 0);
    prompt.close_input();
    assert_eq!(prompt.wait().code, 0);
    host.stop();
}

#[test]
fn listeners_and_callbacks_of_the_prompt_are_the_scripts() {
    let host = echo();
    let address = host.place().address;
    let mut prompt = repl(&host, &[]);
    prompt.say(&format!(
        "net_listen('echo', '{address}', 0, function(source, status)
            if status.kind == 'registered' then
                print('it is up')
            elseif status.kind == 'segment_request' then
                accept_target(client)
            end
        end)"
    ));
    let mut host = host;
    host.process.expect("it is up");
    host.await_listeners(2);
    prompt.close_input();
    assert_eq!(prompt.wait().code, 0);
    // They stay when the prompt is gone.
    let status = host.status();
    let addresses = status["listeners"].as_array().unwrap().iter();
    let ports = addresses.map(|it| it["addresses"][0].as_str().unwrap().to_owned());
    let other = ports
        .into_iter()
        .find(|at| *at != host.place().at())
        .unwrap();
    let mut anna = host.client(ANNA).to(&other).connect();
    anna.say("over there");
    anna.expect("you said over there");
    host.stop();
}

#[test]
fn i12_an_endless_loop_at_the_prompt_is_stopped_and_the_script_goes_on() {
    let host = echo_with(&["--handler-limit=300ms"]);
    let mut anna = host.client(ANNA).connect();
    for text in [
        "while true do end",
        "while true do pcall(error) end",
        "(('x'):rep(1e5)):find(('x*'):rep(30) .. 'y')",
    ] {
        let ended = evaluated(&host, &format!("{text}\n"));
        assert_eq!(ended.code, 1, "{text}");
        assert!(
            ended.text().contains("ran for more than"),
            "{}",
            ended.text()
        );
    }
    anna.say("well?");
    anna.expect("you said well?");
    host.stop();
}

/// Those whose admin has gone do not take the place of others.
#[test]
fn what_nobody_waits_for_any_more_is_cancelled() {
    let mut host = echo();
    let begin = |number: usize| {
        let mut prompt = repl(&host, &[]);
        prompt.say(&format!(
            "print('begun {number}') moonport.sleep(3600000) print('late {number}')"
        ));
        prompt.expect(&format!("begun {number}"));
        prompt
    };
    let mut sleeping: Vec<_> = (1..=8).map(begin).collect();
    let full = evaluated(&host, "1\n");
    assert!(full.text().contains("8 evaluations"), "{}", full.text());
    drop(sleeping.pop());
    let deadline = Instant::now() + PATIENCE;
    while evaluated(&host, "1\n").code != 0 {
        assert!(Instant::now() < deadline, "it is not cancelled");
    }
    drop(sleeping);
    // A loop that never waits is cancelled, too: as soon as it is stopped.
    let mut prompt = repl(&host, &[]);
    prompt.say("print('loops') while true do end");
    prompt.expect("loops");
    host.process.expect("loops");
    drop(prompt);
    while evaluated(&host, "1\n").code != 0 {
        assert!(Instant::now() < deadline, "it is not cancelled");
    }
    host.stop();
}

#[test]
fn two_admins_are_attached_at_once() {
    let host = echo();
    let (mut one, mut two) = (repl(&host, &[]), repl(&host, &["echo"]));
    one.say("print('waiting') while not told do moonport.sleep(1) end return told");
    one.expect("waiting");
    two.say("told = 'by the other'");
    one.expect("\"by the other\"");
    two.say("told");
    two.expect("\"by the other\"");
    host.stop();
}

#[test]
fn without_a_host_or_a_choice_it_says_so() {
    let place = Place::new();
    let mut nobody = moonport(&place.state(), ["repl", "-e", "1"]);
    let output = nobody.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no host runs on"));

    let other = ECHO
        .replace("PORT", "0")
        .replace("function echo", "function other");
    let host = Moonport::new()
        .script("echo", ECHO)
        .script("other", &other)
        .start();
    let which = repl(&host, &["-e", "1"]).wait();
    assert_eq!(which.code, 2);
    assert!(which.text().contains("echo, other"), "{}", which.text());
    for name in ["other", "other.lua", "/somewhere/other.lua"] {
        let named = repl(&host, &[name, "-e", "APPLID"]).wait();
        assert_eq!((named.code, named.text()), (0, "\"other\"".to_owned()));
    }
    let unknown = repl(&host, &["another", "-e", "1"]).wait();
    assert_eq!(unknown.code, 2);
    assert!(
        unknown
            .text()
            .contains("no script another runs, but echo, other")
    );
    host.stop();
}

#[test]
fn programs_get_a_line_of_json_for_each_chunk() {
    let host = echo();
    let words = [
        "repl",
        "--json",
        "-e",
        "1, 'x'",
        "-e",
        "print('a') print('b')",
        "-e",
        "warning('careful')",
        "-e",
        "\nerror('no')",
    ];
    let output = moonport(&host.place().state(), words).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let rows = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Value> = rows
        .lines()
        .map(|row| serde_json::from_str(row).unwrap())
        .collect();
    assert_eq!(
        rows[0],
        json!({"values": ["1", "\"x\""], "printed": [], "reports": []})
    );
    assert_eq!(
        rows[1],
        json!({"values": [], "printed": ["a", "b"], "reports": []})
    );
    let report = &rows[2]["reports"][0];
    assert_eq!(report["severity"], "warning");
    assert!(report["message"].as_str().unwrap().contains("careful"));
    let error = &rows[3]["error"];
    assert_eq!(
        (&error["severity"], &error["message"]),
        (&json!("error"), &json!("repl:2: no"))
    );
    assert_eq!(rows.len(), 4);
    host.stop();
}

#[test]
fn what_is_too_much_is_cut_and_the_rest_goes_on() {
    let host = echo();
    let text = "for i = 1, 20000 do print(('x'):rep(100)) end return 'done'\n";
    let shown = lines(&host, text);
    assert_eq!(shown.last().unwrap(), "\"done\"");
    assert!(shown.iter().any(|line| line.contains("is not shown")));
    assert!(shown.len() < 10_000);
    let long = evaluated(&host, &format!("'{}'\n", "x".repeat(40_000)));
    assert!(long.text().contains("longer than"), "{}", long.text());
    assert_eq!(long.code, 1);
    assert_eq!(lines(&host, "1"), ["1"]);
    host.stop();
}

#[test]
fn a_script_that_is_loaded_again_dies_or_ends_meanwhile_leaves_nobody_waiting() {
    let host = echo();
    let sleep = "print('begun') moonport.sleep(3600000)";
    let mut prompt = repl(&host, &[]);
    prompt.say(sleep);
    prompt.expect("begun");
    host.admin(["reload"]);
    prompt.expect("loaded again before it was done");
    prompt.say("answer");
    prompt.expect("42");

    prompt.say(sleep);
    prompt.expect("begun");
    host.kill_child("moonport-script");
    prompt.expect("process has ended");
    prompt.say("answer");
    prompt.expect("42");

    // A program that cannot take over leaves the old one, and what is evaluated in it.
    prompt.say("print('begun') moonport.sleep(1000) return 'not disturbed'");
    prompt.expect("begun");
    let path = host.place().folder().join("echo.lua");
    host.place().write(&path, "error('no')");
    host.fails(["reload"]);
    prompt.expect("\"not disturbed\"");

    prompt.say(&format!("shutdown('bye', 3) {sleep}"));
    // The host may be gone, too, before it can say that.
    prompt.expect("ended before");
    prompt.close_input();
    assert_eq!(prompt.wait().code, 1);
    assert_eq!(host.process.wait().code, 3);
}

#[test]
fn the_log_says_who_evaluates_and_never_what() {
    let host = echo_with(&["--log=trace"]);
    evaluated(&host, "canary = 'secret canary'\nerror('canary')\n");
    let mut host = host;
    let line = host.process.expect("evaluates in it");
    let user = rustix::process::geteuid().as_raw();
    assert!(line.contains(&format!("by=user {user}")), "{line}");
    assert!(
        line.contains("script=\"echo\"") || line.contains("script=echo"),
        "{line}"
    );
    let ended = host.process.terminate();
    assert!(!ended.text().contains("canary"), "{}", ended.text());
}

/// A prompt at a terminal of its own.
struct Terminal {
    child: std::process::Child,
    keys: std::process::ChildStdin,
    seen: std::sync::mpsc::Receiver<Vec<u8>>,
    text: String,
    read: usize,
}

impl Terminal {
    fn open(host: &Host, home: &std::path::Path) -> Self {
        let program = env!("CARGO_BIN_EXE_moonport");
        let state = host.place().state();
        let command = format!("exec '{program}' repl --state-dir '{}'", state.display());
        let mut script = Command::new("script");
        script.args(["-qefc", &command, "/dev/null"]);
        script.env("XDG_STATE_HOME", home).env("TERM", "xterm");
        script.env("XDG_CONFIG_HOME", home).env("NO_COLOR", "1");
        let piped = script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        let keys = child.stdin.take().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let (say, seen) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                if say.send(bytes[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            keys,
            seen,
            text: String::new(),
            read: 0,
        }
    }

    fn types(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until this is on the screen, after what was waited for before.
    #[track_caller]
    fn expect(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.text[self.read..].find(text) {
                self.read += at + text.len();
                return;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.seen.recv_timeout(left) {
                Ok(bytes) => self.text += &String::from_utf8_lossy(&bytes),
                Err(error) => panic!("no {text:?}: {error}: {:?}", &self.text[self.read..]),
            }
        }
    }

    /// Its exit code.
    #[track_caller]
    fn wait(mut self) -> i32 {
        let ended = Watched::new(self.child.id()).is_gone_within(PATIENCE);
        assert!(ended, "it does not end: {:?}", &self.text[self.read..]);
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only where it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_a_terminal_there_are_completion_history_and_cancelling() {
    use std::os::unix::fs::PermissionsExt;
    if Command::new("script").arg("--version").output().is_err() {
        return eprintln!("skipped: no script(1) here");
    }
    let host = echo();
    let home = tempfile::tempdir().unwrap();
    let mut prompt = Terminal::open(&host, home.path());
    prompt.expect("Ctrl-D leaves");
    prompt.expect("echo> ");
    prompt.types("net_l\t");
    prompt.expect("net_listen");
    // Ctrl-C clears the line.
    prompt.types("\x03");
    prompt.expect("echo> ");
    // The script's own names, and those in its tables.
    prompt.types("answ\t + 1\r");
    prompt.expect("43");
    prompt.types("moonport.sle\t(1)\r");
    prompt.expect("moonport.sleep");
    // More lines follow until it is complete.
    prompt.types("function six()\rreturn 6\rend\r");
    prompt.types("six() * 7\r");
    prompt.expect("42");
    prompt.types(" hidden = 'not kept'\r");
    prompt.types("hidden\r");
    prompt.expect("\"not kept\"");
    // Ctrl-C cancels what runs, and ends nothing.
    prompt.types("print('begun') moonport.sleep(3600000)\r");
    prompt.expect("begun\r\n");
    prompt.types("\x03");
    prompt.expect("cancelled");
    prompt.types("'and on'\r");
    prompt.expect("\"and on\"");
    prompt.types("nosuch()\r");
    prompt.expect("error: repl:1: attempt to call");
    prompt.types(".help\r");
    prompt.expect("cancels what runs");
    // Before the prompt is there it would be no key, but the end of what the terminal sends.
    prompt.expect("echo> ");
    prompt.types("\x04");
    assert_eq!(prompt.wait(), 0);

    let file = home.path().join("moonport/repl_history");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept.contains("six() * 7") && !kept.contains("not kept"),
        "{kept}"
    );
    // It is there the next time: up.
    let mut again = Terminal::open(&host, home.path());
    again.expect("echo> ");
    again.types("\x1b[A\x1b[A\x1b[A\r");
    again.expect("\"and on\"\r\n");
    again.expect("echo> ");
    again.types("\x04");
    assert_eq!(again.wait(), 0);
    host.stop();
}
