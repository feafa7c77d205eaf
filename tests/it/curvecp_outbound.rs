//! Scripts as clients of CurveCP's servers: the reference's, and our own listeners.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use data_encoding::{BASE64, HEXLOWER};

use crate::curveclient::{EXTENSION, NAME, key_directory, public, reference};
use crate::host::{Host, Moonport};
use crate::process::Process;

/// Sends what it is told to, and ends its stream; tells what it hears.
const CLIENT: &str = r#"
local address, text, extension = unpack(appl_arguments())
local come = 0
vid = moonport.connect({ address = address, options = { extension = extension, idle_s = 2 } },
    function(source, status)
        if status.kind == "data" then
            come = come + #status.data
            if come < 100 or come % 1000000 == 0 then print("server data", come, status.data:sub(1, 50)) end
        else
            print("server " .. status.kind, status.message or status.last_words or status.failed)
        end
        if status.kind == "connected" then
            come = 0
            assert(moonport.write(source, text) == #text)
            if text ~= "stay" then moonport.finish(source) end
        end
    end)
print("early", moonport.write(vid, "nobody hears this"))
"#;

/// Sends back what comes, and ends when it ends.
const ECHO: &str = r#"
net_listen("echo", "curvecp://" .. ADDRESS, PORT, function(listener, status)
    if status.kind ~= "segment_request" then return end
    print("listener", status.kind, status.anonymous)
    accept_target(function(source, status)
        if status.kind == "data" then
            moonport.write(source, status.data)
        elseif status.kind == "eof" then
            moonport.finish(source)
        end
    end)
end)
"#;

/// A port of this machine that nobody has.
fn free() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap().port()
}

/// The reference's server, with a key directory in this folder.
fn serve(folder: &Path, port: u16, program: &[&str]) -> Process {
    key_directory(&folder.join("key"));
    let mut command = Command::new("curvecpserver");
    command.current_dir(folder).arg("-Q");
    command.args([NAME, "key", "127.0.0.1", &port.to_string(), EXTENSION]);
    Process::start(command.args(program))
}

fn client(address: &str, text: &str, extension: &str) -> Host {
    let host = Moonport::new().script("client", CLIENT);
    let host = host.option("--allow-connect").option("*");
    let host = host.option("--handshake-timeout=2s");
    host.word(address).word(text).word(extension).start_with(0)
}

fn address(port: u16, name: &str) -> String {
    let key = HEXLOWER.encode(public().as_bytes());
    format!("curvecp://{key}@127.0.0.1:{port}/{name}")
}

#[test]
fn a_script_talks_to_the_references_server_until_both_streams_have_ended() {
    if !reference() {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free());
    let _server = serve(folder.path(), port, &["curvecpmessage", "cat"]);
    let mut host = client(&address(port, NAME), "moon", EXTENSION);
    host.process.expect("early\tfalse");
    host.process.expect("server connected");
    host.process.expect("server data\t4\tmoon");
    host.process.expect("server eof\tfalse");
    host.process.expect("server terminated");
    let status = host.status();
    assert_eq!(status["sessions"], 0, "it is nobody's client: {status}");
    host.stop();
}

#[test]
fn megabytes_from_the_references_server_come_whole() {
    if !reference() {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free());
    let program = ["curvecpmessage", "head", "-c", "1000000", "/dev/zero"];
    let _server = serve(folder.path(), port, &program);
    let mut host = client(&address(port, NAME), "go", EXTENSION);
    host.process.expect("server data\t1000000");
    host.process.expect("server eof\tfalse");
    host.stop();
}

#[test]
fn a_server_that_goes_silent_is_missed_and_found_again_with_a_new_stream() {
    if !reference() {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free());
    let program = ["curvecpmessage", "cat"];
    let server = serve(folder.path(), port, &program);
    let mut host = client(&address(port, NAME), "stay", EXTENSION);
    host.process.expect("server connected");
    host.process.expect("server data\t4\tstay");
    drop(server);
    host.process.expect("server disconnected");
    let _server = serve(folder.path(), port, &program);
    host.process.expect("server connected");
    host.process.expect("server data\t4\tstay");
    host.stop();
}

#[test]
fn a_server_of_another_name_key_or_extension_does_not_take_us() {
    if !reference() {
        return;
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free());
    let _server = serve(folder.path(), port, &["curvecpmessage", "cat"]);
    let right = address(port, NAME);
    let key = HEXLOWER.encode(public().as_bytes());
    let other_key = right.replace(&key, &"4b".repeat(32));
    let zeros = "0".repeat(32);
    for (address, extension) in [
        (address(port, "other.name"), EXTENSION),
        (other_key, EXTENSION),
        (right, zeros.as_str()),
    ] {
        let mut host = client(&address, "moon", extension);
        host.process.expect("server disconnected");
        let text = host.process.terminate().text();
        assert!(!text.contains("server connected"), "{text}");
    }
}

#[test]
fn a_script_talks_to_a_listener_of_another_host_by_the_key_with_the_tag_client() {
    let mut echo = Moonport::new().script("echo", ECHO).start();
    let place = echo.place();
    let key = BASE64.decode(place.host_key().as_bytes()).unwrap();
    let key = HEXLOWER.encode(&key);
    let address = format!("curvecp://{key}@{}/echo", place.at());
    let zeros = "0".repeat(32);
    let mut host = client(&address, "moon", &zeros);
    // It is not known, and is not told so.
    host.process.expect("server disconnected");
    let keys = host.json(["key", "host", "list", "--json"]);
    let keys = keys.as_array().unwrap().iter();
    let own = keys.clone().find(|key| key["tag"] == "client");
    let own = own.unwrap()["key"].as_str().unwrap().to_owned();
    echo.admin(["key", "accept", &own, "--scope", "echo"]);
    host.process.expect("server connected");
    echo.process.expect("listener\tsegment_request\tfalse");
    host.process.expect("server data\t4\tmoon");
    host.process.expect("server eof\tfalse");
    host.process.expect("server terminated");
    host.stop();
    echo.stop();
}

#[test]
fn a_script_reaches_no_server_that_is_not_allowed() {
    let address = address(1, NAME);
    let host = Moonport::new().script("client", CLIENT);
    let host = host.word(&address).word("x").word(EXTENSION);
    let mut host = host.start_with(0);
    host.process.expect("server terminated\tnot allowed");
    // By its other output, so before or after that.
    let said = host.process.terminate().text();
    assert!(said.contains("may not connect to 127.0.0.1:1"), "{said}");
}
