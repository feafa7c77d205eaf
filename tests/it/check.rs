//! `moonport check`: what it finds, and where, and that it runs nothing.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::repository::{files, root};

/// What a command said.
struct Said {
    code: i32,
    text: String,
    errors: String,
}

fn check(folder: &Path, words: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moonport"));
    let output = command
        .arg("check")
        .args(words)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap(),
        text: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The findings of a script called `show.lua`, as `line:column rule: message`, then the hint.
fn findings(script: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("show.lua"), script).unwrap();
    of(folder.path(), "show.lua")
}

fn of(folder: &Path, script: &str) -> Vec<String> {
    let said = check(folder, &["--json", script]);
    let values: Vec<Value> = serde_json::from_str(&said.text).unwrap();
    assert_eq!(said.code, i32::from(!values.is_empty()), "{}", said.errors);
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let shown = values.iter().map(|value| {
        let [rule, message, hint] = ["rule", "message", "hint"].map(|key| text(value, key));
        format!(
            "{}:{} {rule}: {message}; {hint}",
            value["line"], value["column"]
        )
    });
    shown.collect()
}

#[track_caller]
fn finds(script: &str, wanted: &[&str]) {
    let found = findings(script);
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    for (found, wanted) in found.iter().zip(wanted) {
        assert!(found.starts_with(wanted), "{found:?} is not {wanted:?}");
    }
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn what_the_project_ships_is_clean() {
    let shipped = files("examples", &[".lua"]).into_iter();
    let shipped = shipped.chain(files("lua", &[".lua"]));
    let shipped: Vec<_> = shipped.map(|file| file.path).collect();
    assert!(shipped.len() > 10);
    let words: Vec<_> = shipped.iter().map(String::as_str).collect();
    let said = check(root(), &words);
    assert_eq!(said.code, 0, "{}{}", said.text, said.errors);
    assert_eq!(said.text, "");
}

#[test]
fn an_error_of_syntax_is_shown_with_its_line_and_a_caret() {
    let folder = folder(&[("show.lua", "local x = 1\nif x then\n  print(x))\nend\n")]);
    let said = check(folder.path(), &["show.lua"]);
    assert_eq!(said.code, 1);
    assert!(said.text.starts_with("show.lua:3:11: "), "{}", said.text);
    assert!(
        said.text.contains("[syntax]\n      print(x))\n"),
        "{}",
        said.text
    );
    let caret = said.text.lines().find(|line| line.contains('^')).unwrap();
    assert_eq!(caret.find('^'), Some(4 + 10), "{}", said.text);
    assert!(
        said.errors.contains("1 finding in 1 file"),
        "{}",
        said.errors
    );
}

#[test]
fn what_the_vm_refuses_is_found_whatever_the_parser_thinks() {
    finds("goto nowhere\n", &["1:"]);
    finds(&format!("x = {}1\n", "(".repeat(100_000)), &["1:"]);
    finds("break\n", &["1:"]);
    finds("local t = { ", &["1:"]);
}

#[test]
fn a_name_that_nobody_defines_is_found_with_the_nearest_one() {
    let script = "net_listen('a', function(source, status)\n\
                  \tif status.kind == 'segment_request' then acept_target() end\nend)\n\
                  print(undefined_thing)\n";
    finds(
        script,
        &[
            "2:43 undefined-global: acept_target is not defined anywhere; did you mean accept_target?",
            "4:7 undefined-global: undefined_thing",
        ],
    );
}

#[test]
fn names_of_the_script_are_known_wherever_they_are_set() {
    finds(
        "function show() later() local a, b = 1 for i, v in pairs({}) do print(i, v, a, b) end end\n\
         function later(x, ...) repeat local y = x until y return ... end\n\
         local function me() return me end\nlocal t = {} function t:go() return self, me end\n\
         set = 1 print(set, show)\n",
        &[],
    );
    finds(
        "do local a = 1 end print(a)\n",
        &["1:26 undefined-global: a "],
    );
    finds("local a = a\n", &["1:11 undefined-global: a "]);
}

#[test]
fn names_of_files_that_are_required_are_known() {
    let folder = folder(&[
        (
            "show.lua",
            "local m = require('inner.words')\nprint(shared, m)\n",
        ),
        ("inner/words.lua", "shared = 1\nprint(shard)\n"),
    ]);
    let found = of(folder.path(), "show.lua");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("2:7 undefined-global: shard "),
        "{found:?}"
    );
    assert!(found[0].ends_with("did you mean shared?"), "{found:?}");
    let said = check(folder.path(), &["show.lua"]);
    assert!(
        said.text.starts_with("inner/words.lua:2:7:"),
        "{}",
        said.text
    );
    std::fs::remove_file(folder.path().join("inner/words.lua")).unwrap();
    let found = of(folder.path(), "show.lua");
    assert!(
        found[0].contains("1:11 missing-file: inner/words.lua"),
        "{found:?}"
    );
}

#[test]
fn misspelt_constants_and_kinds_are_found() {
    finds(
        "target_flags(1, TARGET_VERBOS)\n",
        &[
            "1:17 unknown-constant: there is no constant TARGET_VERBOS; did you mean TARGET_VERBOSE?",
        ],
    );
    finds(
        "local function f(s, status)\n\tif status.kind == \"segment_requst\" then return end\n\
         \tif 'terminatd' ~= status.kind then return f end\nend\nprint(f)\n",
        &[
            "2:20 unknown-kind: there is no kind \"segment_requst\"; did you mean segment_request?",
            "3:5 unknown-kind: there is no kind \"terminatd\"; did you mean terminated?",
        ],
    );
    finds(
        "local h = { registered = function() end, mesage = function() end }\nprint(h)\n",
        &["1:42 unknown-kind: there is no kind \"mesage\"; did you mean message?"],
    );
    // Kinds of something else are none of ours.
    finds(
        "local e = ... if e.kind == 'banana' then print(e) end\n",
        &[],
    );
    finds(
        "local e = { kind = 'massage' } print(e.kind == 'massage')\n",
        &[],
    );
}

#[test]
fn members_that_are_not_there_are_found() {
    finds(
        "moonport.listn({}, print)\nos.execute('x')\nprint(string.format('x'), math.floor(1))\n",
        &[
            "1:10 unknown-member: there is no moonport.listn; did you mean listen?",
            "2:4 unknown-member: there is no os.execute",
        ],
    );
    finds("io.write('x')\n", &["1:1 undefined-global: io "]);
}

#[test]
fn a_function_that_needs_a_display_is_told_once() {
    finds(
        "show_image(1)\nshow_image(2)\nmove_image(1, 2, 3)\n",
        &[
            "1:1 needs-display: show_image",
            "3:1 needs-display: move_image",
        ],
    );
}

#[test]
fn calls_that_cannot_work_are_found() {
    finds(
        "net_listen('bad name', function() end)\nnet_listen('x', '', 70000, function() end)\n\
         delete_image()\ndelete_image('seven')\nmoonport.listen({ inteface = 'x' }, print)\n",
        &[
            "1:1 bad-call: net_listen: ",
            "2:1 bad-call: net_listen: 70000 is not a port",
            "3:1 bad-call: delete_image: argument #1",
            "4:1 bad-call: delete_image: argument #1",
            "5:19 unknown-option: moonport.listen has no option inteface; did you mean interface?",
        ],
    );
    // What cannot be seen is not judged.
    finds(
        "local f, name = ...\nnet_listen(name, f)\ndelete_image(f())\nnet_listen(f())\n",
        &[],
    );
}

#[test]
fn misspelt_entry_points_are_found() {
    finds(
        "function show_clock_puls() end\nfunction shw_clock_pulse() end\nfunction show_clock_pulse() end\n",
        &[
            "1:10 entry-point: show_clock_puls is no entry point, so nobody calls it; did you mean show_clock_pulse?",
            "2:10 entry-point: shw_clock_pulse",
        ],
    );
}

#[test]
fn a_comment_silences_a_line_or_names_globals() {
    finds(
        "print(a) -- moonport: ignore\n-- moonport: ignore\nprint(b)\n-- moonport: globals c, d\nprint(c, d)\nprint(e)\n",
        &["6:7 undefined-global: e "],
    );
}

#[test]
fn nothing_of_a_script_is_run() {
    let folder = folder(&[("show.lua", "while true do end\nerror('run')\n")]);
    let said = check(folder.path(), &["show.lua"]);
    assert_eq!((said.code, said.text.as_str()), (0, ""));
}

#[test]
fn what_is_not_there_is_a_wrong_command_line() {
    let folder = folder(&[("empty/x.lua", "")]);
    for words in [&["nothing.lua"][..], &["empty"], &[]] {
        assert_eq!(check(folder.path(), words).code, 2, "{words:?}");
    }
}

#[test]
fn an_appl_directory_is_checked_as_it_is_run() {
    let folder = folder(&[("demo/demo.lua", "function demo() nothing_here() end\n")]);
    let said = check(folder.path(), &["demo"]);
    assert_eq!(said.code, 1);
    assert!(
        said.text.starts_with("demo/demo.lua:1:17: "),
        "{}",
        said.text
    );
}
