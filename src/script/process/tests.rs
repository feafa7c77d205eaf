use super::*;
use crate::ipc::script::{ErrorMode, Limits, Request};
use crate::ipc::{Carries, SegmentId, SessionId};
use crate::wire::a12::event::{External, SegmentKind, Target, Text};
use std::sync::mpsc;

/// Sends what is printed to the test.
struct Pipe(mpsc::Sender<String>);

impl Console for Pipe {
    fn print(&self, line: &[u8]) {
        let _ = self.0.send(String::from_utf8_lossy(line).into_owned());
    }
}

/// The next message, waiting for it.
fn next<Out: Serialize, In: DeserializeOwned>(
    socket: &Socket<Out, In>,
) -> Option<(In, Vec<OwnedFd>)> {
    loop {
        match socket.recv() {
            Ok(Received::Message(message, fds)) => return Some((message, fds)),
            Ok(Received::Closed) => return None,
            Err(RecvError::Empty) => {
                let mut fds = [PollFd::new(socket, PollFlags::IN)];
                rustix::event::poll(&mut fds, None).unwrap();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_script_hears_host_and_clients_until_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hello.lua");
    std::fs::write(
        &program,
        r#"
        net_listen("demo", function(source, status)
            if status.kind == "segment_request" then
                accept_target(function(source, status)
                    print(status.kind)
                    if status.kind == "message" then
                        message_target(source, "hello " .. status.message)
                        shutdown("done", 7)
                    end
                end)
            end
        end)
        "#,
    )
    .unwrap();
    let (ours, theirs) = Socket::<ToScript, FromScript>::pair().unwrap();
    let (console, printed) = mpsc::channel();
    let script =
        std::thread::spawn(move || serve(theirs, Box::new(Pipe(console)), |_| None).unwrap());
    let run = Run {
        program,
        appl: "hello".into(),
        directory: false,
        arguments: vec![],
        state: folder.path().into(),
        temporary: folder.path().into(),
        errors: ErrorMode::Isolate,
        limits: Limits::default(),
        require_sandbox: false,
        permissions: crate::ipc::script::Permissions::default(),
    };
    ours.send(&ToScript::Run(run), &[]).unwrap();
    assert!(matches!(next(&ours), Some((FromScript::Confined(_), _))));
    let Some((FromScript::Listen(listen), _)) = next(&ours) else {
        panic!("no listener");
    };
    assert!(matches!(next(&ours), Some((FromScript::Started, _))));

    let (link, far) = Socket::<Vec<link::ToScript>, Vec<link::FromScript>>::pair().unwrap();
    let listening = ToScript::Listening {
        listener: listen.listener,
        addresses: vec![],
    };
    ours.send(&listening, &[far.as_fd()]).unwrap();
    drop(far);
    let request = Request {
        listener: listen.listener,
        session: SessionId(3),
        key: identity::PublicKey::parse(&[9; 32]).ok(),
        tags: "demo".into(),
        endpoint: "192.0.2.1:9".parse().unwrap(),
        new: false,
        carries: Carries::Events,
        anonymous: false,
        scheme: crate::ipc::Scheme::A12,
        zmtp: None,
    };
    ours.send(&ToScript::Request(request), &[]).unwrap();
    let decided = next(&ours);
    assert!(matches!(
        decided,
        Some((
            FromScript::Decide {
                session: SessionId(3),
                accept: true
            },
            _
        ))
    ));

    let segment = SegmentId {
        session: SessionId(3),
        channel: 0,
    };
    let register = External::Register {
        title: "t".into(),
        kind: SegmentKind(10),
        guid: [0; 2],
    };
    let message = External::Message(Text {
        text: "you".into(),
        multipart: false,
    });
    let batch = [register, message]
        .map(|event| link::ToScript::Event { segment, event })
        .to_vec();
    link.send(&batch, &[]).unwrap();
    let mut heard = Vec::new();
    while let Some((batch, _)) = next(&link) {
        heard.extend(batch);
    }
    let said = |event| link::FromScript::Target { segment, event };
    let hello = Text {
        text: "hello you".into(),
        multipart: false,
    };
    assert_eq!(
        heard,
        [
            said(Target::Activate),
            said(Target::Message(hello)),
            link::FromScript::Credit { segment, events: 2 },
            link::FromScript::Close {
                segment,
                last_words: String::new(),
            },
        ]
    );
    let Some((FromScript::Exit { code, message, .. }, _)) = next(&ours) else {
        panic!("no exit");
    };
    assert_eq!((code, message.as_str()), (7, "done"));
    assert_eq!(script.join().unwrap(), 7);
    let printed: Vec<_> = printed.iter().collect();
    assert_eq!(printed, ["registered", "preroll", "privdrop", "message"]);
}

#[test]
fn without_a_host_a_script_process_ends() {
    let (ours, theirs) = Socket::<ToScript, FromScript>::pair().unwrap();
    drop(ours);
    let (console, _printed) = mpsc::channel();
    assert_eq!(serve(theirs, Box::new(Pipe(console)), |_| None).unwrap(), 1);
}

#[test]
fn a_host_that_has_gone_is_noticed_behind_what_it_has_said() {
    let (ours, theirs) = Socket::<ToScript, FromScript>::pair().unwrap();
    let theirs = theirs.into_fd();
    ours.send(&ToScript::Stop, &[]).unwrap();
    assert!(!is_closed(&theirs).unwrap());
    drop(ours);
    assert!(is_closed(&theirs).unwrap());
}
