//! Streams that nobody reads, or that never end.

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
