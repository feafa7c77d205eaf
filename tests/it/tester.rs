//! `moonport test`: tests of scripts from outside.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::repository::root;

/// Takes everybody, and does what they say.
const SCRIPT: &str = r#"
local function client(source, status)
    print(status.kind)
    if status.message == "fail" then
        error("oops")
    elseif status.message == "loop" then
        while true do end
    elseif status.kind == "message" then
        message_target(source, "you said " .. status.message)
    end
end
net_listen("door", "", 7000, function(_, status)
    if status.kind == "segment_request" then
        print(status.a12_new, status.a12_tags)
        accept_target(client)
    elseif status.kind == "window" then
        print(status.event, status.left)
    end
end)
function show_clock_pulse()
    ticks = (ticks or 0) + 1
    if ticks % 40 == 0 then
        print("second " .. ticks / 40)
    end
end
"#;

struct Ran {
    code: i32,
    text: String,
    errors: String,
}

fn run(folder: &Path, words: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
    let output = command
        .arg("test")
        .args(words)
        .current_dir(folder)
        .output()
        .unwrap();
    Ran {
        code: output.status.code().unwrap(),
        text: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs tests beside `show.lua`.
fn tests(tests: &str, words: &[&str]) -> Ran {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("show.lua"), SCRIPT).unwrap();
    std::fs::write(folder.path().join("tests.lua"), tests).unwrap();
    run(folder.path(), &[&["tests.lua"], words].concat())
}

#[track_caller]
fn pass(code: &str) {
    let ran = tests(code, &[]);
    assert_eq!(ran.code, 0, "{}{}", ran.text, ran.errors);
}

#[test]
fn the_examples_pass_their_tests() {
    let ran = run(root(), &["examples/tests"]);
    assert_eq!(ran.code, 0, "{}{}", ran.text, ran.errors);
    assert!(ran.text.starts_with("TAP version 14\n1.."), "{}", ran.text);
    assert!(
        ran.text.contains("\nok 1 - chat.lua: test_"),
        "{}",
        ran.text
    );
    assert!(ran.text.ends_with(" passed, 0 failed\n"), "{}", ran.text);
}

#[test]
fn a_client_talks_with_a_script_over_the_real_protocol() {
    pass(
        r#"
        function test_it()
            local app = load("show.lua")
            local anna = app:connect("door", { key = "anna" })
            eq(app:output(), { "false\tdoor", "registered", "preroll", "privdrop" })
            anna:expect("activate")
            anna:message("hi")
            eq(anna:expect("message", "hi$"), "you said hi")
            anna:heard_nothing()
            eq(anna:closed(), false)
            anna:close()
            eq(app:output(), { "message", "terminated" })
            ok(#anna:key() == 44)
            eq(app:connect("door", { key = "anna" }):key(), anna:key())
            ok(app:connect("door", { key = "bert" }):key() ~= anna:key())
            eq(app:exit(), nil)
        end
        "#,
    );
}

#[test]
fn i1_strangers_and_wrong_secrets_are_never_shown_to_the_script() {
    pass(
        r#"
        function test_it()
            local app = load("show.lua")
            ok(app:connect("door", { known = false }):closed())
            ok(app:connect("door", { secret = "wrong" }):closed())
            ok(app:connect("door", { secret = "wrong", known = true }):closed())
            eq(app:output(), {})
        end
        "#,
    );
}

#[test]
fn i2_a_window_lets_in_as_many_as_it_says_and_as_long() {
    let window = r#"
        local app, function_of
        local function start()
            app = load("window.lua")
            return app
        end
        function test_count()
            start()
            local anna = app:connect("door", { secret = "moon", key = "anna" })
            eq(anna:closed(), false)
            ok(app:connect("door", { secret = "moon", key = "bert" }):closed())
            -- Hers is known now, whatever becomes of the window.
            eq(app:connect("door", { key = "anna" }):closed(), false)
            eq(app:output(), { "opened 1", "enrolled 0", "spent 0", "new true", "new false" })
        end
        function test_time()
            start():advance(61000)
            ok(app:connect("door", { secret = "moon" }):closed())
            eq(app:output(), { "opened 1", "expired 1" })
        end
    "#;
    let script = r#"
        moonport.listen({ name = "door", secret = "moon", window = { count = 1, for_s = 60 } }, function(_, status)
            if status.kind == "window" then print(status.event .. " " .. status.left) end
            if status.kind == "segment_request" then
                print("new " .. tostring(status.a12_new))
                accept_target(function() end)
            end
        end)
    "#;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("window.lua"), script).unwrap();
    std::fs::write(folder.path().join("tests.lua"), window).unwrap();
    let ran = run(folder.path(), &["tests.lua"]);
    assert_eq!(ran.code, 0, "{}", ran.text);
}

#[test]
fn time_passes_when_a_test_says_so() {
    pass(
        r#"
        function test_it()
            local app = load("show.lua")
            app:advance(999)
            eq(app:output(), {})
            app:advance(2001)
            eq(app:output(), { "second 1", "second 2", "second 3" })
            raises(function() app:advance(-1) end, "milliseconds")
        end
        "#,
    );
}

#[test]
fn an_error_that_a_test_asks_for_is_no_failure_and_any_other_is() {
    let ran = tests(
        r#"
        function test_asked()
            local app = load("show.lua")
            local anna = app:connect("door")
            anna:message("fail")
            local errors = app:errors()
            eq(#errors, 1)
            ok(errors[1]:find("show.lua:5: oops", 1, true), errors[1])
            ok(anna:closed())
        end
        function test_not_asked()
            load("show.lua"):connect("door"):message("fail")
        end
        "#,
        &[],
    );
    assert_eq!(ran.code, 1);
    assert!(
        ran.text.contains("\nok 1 - tests.lua: test_asked\n"),
        "{}",
        ran.text
    );
    assert!(
        ran.text
            .contains("\nnot ok 2 - tests.lua: test_not_asked\n"),
        "{}",
        ran.text
    );
    assert!(ran.text.contains("show.lua:5: oops"), "{}", ran.text);
}

#[test]
fn a_failing_test_says_where_and_what() {
    let ran = tests(
        "-- first\nfunction test_a()\n  print('seen # here')\n  eq({ 1, x = 'a' }, { 2 })\nend\n\
         function test_b() end\nfunction test_c() load('none.lua') end\n",
        &[],
    );
    assert_eq!(ran.code, 1);
    let wanted = "TAP version 14\n1..3\n# seen # here\nnot ok 1 - tests.lua: test_a\n  ---\n  message: |-\n    \
                  got {1, x = \"a\"}\n    wanted {2}\n  at:\n    file: \"tests.lua\"\n    line: 4\n";
    assert!(ran.text.starts_with(wanted), "{}", ran.text);
    assert!(
        ran.text.contains("\n  ...\nok 2 - tests.lua: test_b\n"),
        "{}",
        ran.text
    );
    assert!(ran.text.contains("line: 7\n"), "{}", ran.text);
    assert!(ran.text.contains("none.lua: No such file"), "{}", ran.text);
    assert!(ran.text.ends_with("# 1 passed, 2 failed\n"), "{}", ran.text);
}

#[test]
fn expectations_that_fail_say_what_was_heard() {
    let ran = tests(
        "function test_a()\n local p = load('show.lua'):connect('door')\n p:message('x')\n p:expect('message', 'z')\nend\n\
         function test_b()\n load('show.lua'):connect('door'):expect('banana')\nend\n\
         function test_c() load('show.lua'):connect('other') end\n\
         function test_d() raises(function() end) end\n",
        &["--json"],
    );
    assert_eq!(ran.code, 1);
    let json: Value = serde_json::from_str(&ran.text).unwrap();
    let of = |at: usize| {
        let test = &json["tests"][at];
        (test["line"].as_u64(), test["message"].as_str().unwrap())
    };
    assert_eq!(
        of(0),
        (Some(4), "the message is \"you said x\"\nwanted \"z\"")
    );
    assert_eq!(of(1), (Some(7), "no banana has come, only activate"));
    assert_eq!(
        of(2),
        (Some(9), "no listener \"other\" is open; there is door")
    );
    assert_eq!(of(3), (Some(10), "nothing was raised"));
    assert_eq!(
        (json["passed"].as_u64(), json["failed"].as_u64()),
        (Some(0), Some(4))
    );
}

#[test]
fn i12_loops_in_tests_and_in_scripts_are_stopped() {
    let ran = tests(
        r#"
        function test_script()
            local app = load("show.lua")
            local anna, bert = app:connect("door"), app:connect("door")
            anna:message("loop")
            ok(app:errors()[1]:find("it ran for more than 100ms"))
            ok(anna:closed())
            bert:message("hi")
            bert:expect("message", "you said hi")
        end
        function test_loop() while true do pcall(error) end end
        function test_after() end
        "#,
        &["--handler-limit", "100ms"],
    );
    assert_eq!(ran.code, 1);
    assert!(ran.text.contains("\nok 1 - "), "{}", ran.text);
    assert!(
        ran.text.contains("\nnot ok 2 - tests.lua: test_loop\n"),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("it ran for more than 100ms"),
        "{}",
        ran.text
    );
    assert!(
        ran.text.contains("\nok 3 - tests.lua: test_after\n"),
        "{}",
        ran.text
    );
}

#[test]
fn tests_with_names_of_any_kind_can_be_chosen() {
    let code = "for i = 1, 3 do moonport.test('case #' .. i, function() eq(i, i) end) end\n\
                function test_other() end\n";
    let ran = tests(code, &["--filter", "case"]);
    assert_eq!(ran.code, 0);
    let wanted = "TAP version 14\n1..3\nok 1 - tests.lua: case \\#1\nok 2 - tests.lua: case \\#2\n";
    assert!(ran.text.starts_with(wanted), "{}", ran.text);
    assert_eq!(tests(code, &["--filter", "nothing"]).code, 2);
}

#[test]
fn what_cannot_be_loaded_fails_and_what_has_no_tests_is_a_wrong_command_line() {
    let ran = tests("function test_x( end\n", &[]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.text.contains("not ok 1 - tests.lua: can be loaded\n"),
        "{}",
        ran.text
    );
    assert!(ran.text.contains("line: 1\n"), "{}", ran.text);
    assert_eq!(tests("local x = 1\n", &[]).code, 2);
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(folder.path(), &["."]).code, 2);
    assert_eq!(run(folder.path(), &["nothing.lua"]).code, 2);
    assert_eq!(run(folder.path(), &[]).code, 2);
}

#[test]
fn nothing_is_left_on_the_disk() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
    let output = command
        .args(["test", "examples/tests"])
        .current_dir(root())
        .env("TMPDIR", temporary.path())
        .env("XDG_STATE_HOME", temporary.path().join("state"))
        .output()
        .unwrap();
    assert!(output.status.success());
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}

/// Those tests of the engine that can be said with clients of a12; the others are in `lua/tests`, run by
/// `src/script/tests.rs`.
#[test]
fn the_engine_passes_what_is_played() {
    let ran = run(root(), &["lua/tests/played"]);
    assert_eq!(ran.code, 0, "{}{}", ran.text, ran.errors);
}
