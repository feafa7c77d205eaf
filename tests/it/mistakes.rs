//! The mistakes that authors of scripts make, and what they are told: the file and the line, what
//! ran, what follows, and what to do.

use crate::hello::HELLO;
use crate::host::Moonport;
use crate::key::ANNA;

#[test]
fn a_mistake_in_a_running_script_is_told_in_the_log_with_all_that_is_known() {
    let script = HELLO.replace("\"leave\"", "'slip'").replace(
        "delete_image(source)",
        "delete_image(source) message_taget(source, 'x')",
    );
    let mut host = Moonport::new().script("slips", &script).start();
    host.key_accept("hello", ANNA);
    let mut anna = host.client(ANNA).connect();
    anna.expect("welcome");
    anna.say("slip");
    let line = host.process.expect("ERROR moonport::script: slips.lua:7: ");
    assert!(line.contains("script=\"slips\""), "{line}");
    host.process.expect("  in: the callback of ");
    host.process.expect("  so: the script goes on");
    host.process
        .expect("  hint: there is no function message_taget; is it message_target");
    host.process.expect("  traceback: ");
    host.stop();
}
