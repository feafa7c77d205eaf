//! The process itself, locked down: this test program runs itself again as one.

use std::process::{Command, Stdio};

use super::rig::{Client, Host, Rig, Script, Setup, listen, listening_socket, run};
use crate::ipc::Socket;
use crate::ipc::frameserver::{Ended, FromFrameserver, Listen, ToFrameserver};
use crate::wire::a12::Rounds;

/// Says to a child that it is to be a frameserver.
const CHILD: &str = "MOONPORT_TEST_FRAMESERVER";

#[test]
fn a_locked_down_process_serves_until_its_last_session_has_ended() {
    run(async {
        let (host, control) = Socket::pair().unwrap();
        let (script, data) = Socket::pair().unwrap();
        let (socket, address) = listening_socket();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "frameserver::tests::process::child"])
            .args(["--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .stdin(Stdio::from(control.into_fd()))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut host = Host::new(host);
        let listen = Listen {
            require_sandbox: true,
            ..listen(&Setup::default())
        };
        host.hand(ToFrameserver::Listen(listen), &[data.into_fd(), socket])
            .await;
        match host.hears().await {
            FromFrameserver::Ready(report) => {
                assert!(report.iter().all(|denied| denied.layer.is_some()));
            }
            other => panic!("{other:?}"),
        }
        let served = tokio::task::spawn_local(async { Ok(()) });
        let mut rig = Rig {
            host,
            script: Script::new(script),
            address,
            served,
        };
        let (client, segment) = rig.accepted().await;
        // A second link comes in as a descriptor, with the door closed.
        let (script, data) = Socket::pair().unwrap();
        rig.host
            .hand(ToFrameserver::Relink, &[data.into_fd()])
            .await;
        rig.script = Script::new(script);
        rig.script.hears().await;
        let mut refused = Client::connect(address, Rounds::One).await;
        rig.host.accepts = false;
        let (event, why) = tokio::join!(refused.next(), rig.host.closes());
        assert_eq!(event, None);
        assert!(matches!(why, Ended::Refused(_)), "{why:?}");
        rig.host.say(ToFrameserver::StopListening).await;
        drop(client);
        assert_eq!(rig.host.loses().await, (segment.session, Ended::Peer));
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn standard_input_that_is_no_socket_is_an_error_that_says_so() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "frameserver::tests::process::child"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`moonport run` starts this role"), "{said}");
}

/// Not a test of its own: what the child does.
#[test]
fn child() {
    if std::env::var_os(CHILD).is_some() {
        assert_eq!(crate::frameserver::main(), std::process::ExitCode::SUCCESS);
    }
}
