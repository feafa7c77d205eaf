//! Where a listener may be, and what is said when it cannot be there.

use std::net::TcpListener;

use crate::hello::HELLO;
use crate::host::Moonport;
use crate::key::ANNA;

#[test]
fn a_busy_port_is_told_after_preroll() {
    let moonport = Moonport::new().script("hello", HELLO);
    let place = moonport.place();
    let _busy = TcpListener::bind((place.address, place.port)).unwrap();
    let mut host = moonport.start_with(0);
    host.process.expect("listener\tpreroll");
    host.process
        .expect("listener\tterminated\tbind: address in use");
    host.stop();
}

#[test]
fn an_interface_that_does_not_exist_ends_the_listener() {
    for wrong in ["nosuchdevice", "300.1.1.1", "[::1"] {
        let script = HELLO.replace("ADDRESS", &format!("'{wrong}'"));
        let mut host = Moonport::new().script("hello", &script).start_with(0);
        host.process
            .expect("listener\tterminated\tno such interface");
    }
}

#[test]
fn a_protocol_that_is_not_spoken_ends_the_listener() {
    let script = HELLO.replace("ADDRESS", "'gopher://' .. ADDRESS");
    let mut host = Moonport::new().script("hello", &script).start_with(0);
    host.process
        .expect("listener\tterminated\tunknown protocol");
}

#[test]
fn the_scheme_may_be_said() {
    let script = HELLO.replace("ADDRESS", "'a12://' .. ADDRESS");
    let host = Moonport::new().script("hello", &script).start();
    host.key_accept("hello", ANNA);
    host.client(ANNA).connect().expect("welcome");
}

#[test]
fn every_documented_form_gives_a_vid() {
    let script = "
local function nothing() end
local forms = {
    net_listen(nothing),
    net_listen('two', nothing),
    net_listen('three', ADDRESS, nothing),
    net_listen('four', ADDRESS, PORT, nothing),
    net_listen('five', nil, nil, nothing),
}
for number = 1, 5 do
    print('form', number, valid_vid(forms[number], TYPE_FRAMESERVER))
end
";
    let moonport = Moonport::new().script("forms", script);
    let mut host = moonport.launch();
    for number in 1..=5 {
        host.expect(&format!("form\t{number}\ttrue"));
    }
}

#[test]
fn a_name_that_is_none_is_an_error_with_its_line() {
    for wrong in ["", "a:b", "a b", "*", "näme", &"x".repeat(31)] {
        let script = format!(
            "\nlocal ok, why = pcall(net_listen, '{wrong}', ADDRESS, PORT, print)\nprint(ok, why)\nnet_listen('{wrong}', ADDRESS, PORT, print)"
        );
        let moonport = Moonport::new().script("names", &script);
        let ended = moonport.run();
        assert_eq!(ended.code, 1, "{wrong:?}");
        let said = ended.text();
        assert!(
            said.contains("false\tnames.lua:2"),
            "what is caught: {said}"
        );
        assert!(said.contains("names.lua:4"), "what is not: {said}");
    }
}

#[test]
fn a_port_out_of_range_is_an_error() {
    for wrong in ["-1", "65536", "1.5"] {
        let script = HELLO.replace("PORT, function", &format!("{wrong}, function"));
        let ended = Moonport::new().script("ports", &script).run();
        assert_eq!(ended.code, 1, "{wrong}");
        assert!(ended.text().contains("ports.lua"), "{}", ended.text());
    }
}
