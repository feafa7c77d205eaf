//! The engine of a script by itself: no sockets, and a frameserver that is played.

use std::time::{Duration, Instant};

use moonport::ipc::script::{ErrorMode, Limits, Permissions, Request, Run, ToScript};
use moonport::ipc::{Carries, ListenerId, Scheme, SegmentId, SessionId, link};
use moonport::script::{Console, Engine};
use moonport::wire::a12::event::{External, SegmentKind, Text};

use crate::{client, limits};

const SCRIPT: &str = r#"
came = 0
local function client(source, status)
    if status.kind == "message" then
        came = came + 1
        if came % 100000 == 0 then print(came) end
    end
end
net_listen("bench", "", 6680, function(_, status)
    if status.kind == "segment_request" then
        accept_target(client)
    end
end)
"#;

struct Silence;

impl Console for Silence {
    fn print(&self, _: &[u8]) {}
}

/// What it takes to tell a script so many messages.
pub(crate) fn messages(count: usize) -> Duration {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("bench.lua");
    std::fs::write(&program, SCRIPT).unwrap();
    let run = Run {
        program,
        appl: "bench".into(),
        directory: false,
        arguments: Vec::new(),
        state: folder.path().into(),
        temporary: folder.path().into(),
        errors: ErrorMode::Isolate,
        limits: Limits::default(),
        require_sandbox: false,
        permissions: Permissions::default(),
    };
    let random = |bytes: &mut [u8]| bytes.fill(1);
    let mut engine = Engine::new(run, Box::new(Silence), random, Instant::now()).unwrap();
    engine.start();
    let listener = ListenerId(1);
    let session = SessionId(1);
    let segment = SegmentId {
        session,
        channel: 0,
    };
    engine.host(ToScript::Listening {
        listener,
        addresses: Vec::new(),
    });
    engine.host(ToScript::Request(Request {
        listener,
        session,
        key: client::secret(0).public(),
        tags: "bench".into(),
        endpoint: ([127, 0, 0, 1], 1).into(),
        new: false,
        carries: Carries::Events,
        anonymous: false,
        scheme: Scheme::A12,
        zmtp: None,
    }));
    engine.turn(Instant::now());
    let say = |engine: &mut Engine, event| {
        engine.link(listener, link::ToScript::Event { segment, event });
    };
    let register = External::Register {
        title: "bench".into(),
        kind: SegmentKind::APPLICATION,
        guid: [0; 2],
    };
    say(&mut engine, register);
    engine.turn(Instant::now());
    engine.take_outbox();
    // As many as there is credit for, again and again.
    let rounds = count / AT_ONCE;
    let mut handed_back = 0;
    let took = limits::time(|| {
        for _ in 0..rounds {
            for _ in 0..AT_ONCE {
                let message = External::Message(Text {
                    text: "0123456789abcdef".into(),
                    multipart: false,
                });
                say(&mut engine, message);
            }
            // A turn takes a part of what waits.
            let wanted = handed_back + AT_ONCE;
            while handed_back < wanted {
                engine.turn(Instant::now());
                for (_, said) in engine.take_outbox().link {
                    if let link::FromScript::Credit { events, .. } = said {
                        handed_back += events as usize;
                    }
                }
            }
        }
    });
    assert_eq!(handed_back, rounds * AT_ONCE, "the script was not told all");
    took
}

const AT_ONCE: usize = 100;
