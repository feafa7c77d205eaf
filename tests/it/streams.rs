//! Streams that nobody reads, and scripts that wait or work for ever.

use std::fs::{self, OpenOptions};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::hello::HELLO;
use crate::host::Moonport;
use crate::key::ANNA;

#[test]
fn a_host_whose_errors_nobody_can_read_goes_on() {
    let mut host = Moonport::new().script("hello", HELLO).unheard().start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("moon");
    anna.expect("you said moon");
    host.process.expect("message");
    host.stop();
}

/// The greeting script, whose clients are adopted after a restart.
fn adopting() -> String {
    let adopts = "
function hello_adopt(vid, kind, title, parent, more)
    print('adopted')
    target_updatehandler(vid, client)
    return true
end
";
    HELLO.replace("local function client", "function client") + adopts
}

#[test]
fn i12_a_function_of_the_vm_without_end_costs_the_script_its_process_and_no_client() {
    // One instruction, of nearly half a second.
    let spins = "local s = ('x'):rep(4e8)";
    let script = adopting()
        .replace("\"leave\"", "'spin'")
        .replace("delete_image(source)", spins);
    let mut host = Moonport::new()
        .option("--handler-limit=100ms")
        .option("--memory=1G")
        .script("hello", &script)
        .start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("spin");
    let told = host.process.expect("cannot be stopped");
    assert!(told.contains("the callback of vid "), "{told}");
    host.process.expect("adopted");
    anna.say("moon");
    anna.expect("you said moon");
    host.stop();
}

#[test]
fn a_script_that_waits_for_ever_does_not_outlive_its_host() {
    let host = Moonport::new().script("hello", &adopting()).start();
    // The next process of the script finds a file that never ends in its place.
    let script = host.place().folder().join("hello.lua");
    fs::remove_file(&script).unwrap();
    mknodat(CWD, &script, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    host.kill_child("moonport-script");
    // This waits until it reads.
    let never = OpenOptions::new().write(true).open(&script).unwrap();
    host.kill();
    drop(never);
}
