use super::*;
use crate::wire::a12::event::{BinaryState, Content, LabelHint, SegmentRequest, Text, Viewport};
use mlua::{Lua, Table, Value};

/// The table that a handler gets for a status.
fn table(lua: &Lua, status: &Status) -> Table {
    let handlers = lua.create_table().unwrap();
    let got = lua.create_table().unwrap();
    let keep = got.clone();
    let handler = lua
        .create_function(move |_, (vid, status): (Value, Table)| {
            keep.raw_set("vid", vid)?;
            keep.raw_set("status", status)
        })
        .unwrap();
    handlers.raw_set(7, handler).unwrap();
    let nobody = lua.create_table().unwrap();
    let functions: Vec<mlua::Function> = lua.load(shim()).call((handlers, nobody)).unwrap();
    let (id, row) = status.row(lua, Value::Integer(7)).unwrap();
    let quads = KINDS[id as usize]
        .fields
        .iter()
        .filter(|f| is_quad(f))
        .count();
    assert_eq!(
        row.len(),
        1 + KINDS[id as usize].fields.len() + 3 * quads,
        "{status:?}"
    );
    assert_eq!(id, status.id());
    functions[id as usize]
        .call::<()>(mlua::MultiValue::from_iter(row))
        .unwrap();
    assert_eq!(got.raw_get::<i64>("vid").unwrap(), 7);
    got.raw_get("status").unwrap()
}

fn said(event: External) -> Status {
    Status::Said {
        event,
        cookie: 99,
        whole: Whole::Part,
    }
}

fn all() -> Vec<Status> {
    let text = || Text {
        text: "hi".into(),
        multipart: true,
    };
    vec![
        Status::Preroll(NETWORK_SERVER),
        Status::Registered {
            kind: SegmentKind(10),
            title: "t".into(),
            guid: [1, 2],
        },
        Status::Terminated("bye".into()),
        Status::Privdrop,
        Status::Peer {
            request: Box::new(Request {
                listener: crate::ipc::ListenerId(1),
                session: crate::ipc::SessionId(2),
                key: identity::PublicKey::parse(&[9; 32]).ok(),
                tags: "a,b".into(),
                endpoint: "192.0.2.1:5".parse().unwrap(),
                new: true,
                carries: Carries::Events,
                anonymous: false,
                scheme: crate::ipc::Scheme::A12,
                zmtp: None,
            }),
            id: 4,
            parent: 5,
        },
        Status::Failure("no".into()),
        Status::Connected,
        Status::Disconnected {
            why: "gone".into(),
            retry_ms: 100.0,
        },
        Status::Window {
            event: WindowEvent::Spent,
            left: 0,
            window: 255,
            label: None,
        },
        Status::Data(Some(b"x".to_vec())),
        Status::Data(None),
        Status::Eof { failed: true },
        Status::Drain,
        Status::Exited(Exit::Code(3)),
        Status::Keys(Err("why".into())),
        Status::Resized(Resized {
            width: 640,
            height: 480,
            origin_ll: true,
            text: false,
        }),
        Status::Frame(Frame {
            number: 3,
            at: [1, 2],
            region: [4, 5],
        }),
        said(External::Viewport(Viewport {
            x: -1,
            y: -2,
            width: 3,
            height: 4,
            parent: 5,
            border: [6, 7, 8, 9],
            edge: 1,
            order: -3,
            embedded: 3,
            invisible: false,
            focus: true,
            anchor_edge: false,
            anchor_pos: true,
            ext_id: 11,
            frame: 12,
        })),
        said(External::Content(Content {
            x_pos: 0.5,
            x_size: 0.25,
            y_pos: -1.0,
            y_size: 1.0,
            width: 2.0,
            height: 3.0,
            cell: [8, 16],
            min: [1, 2],
            max: [3, 4],
        })),
        said(External::CursorHint("zoom-in!".into())),
        said(External::Message(text())),
        said(External::Alert(text())),
        said(External::Ident("i".into())),
        said(External::CoreOption {
            index: 3,
            kind: 2,
            text: "v".into(),
        }),
        said(External::BinaryState(BinaryState {
            size: 5,
            input: true,
            hint: 0,
            stream: false,
            extensions: "png;JPg".into(),
            identifier: 0,
        })),
        said(External::StateSize { size: 1, kind: 2 }),
        said(External::StreamInfo {
            id: 1,
            kind: 9,
            language: "swe".into(),
        }),
        said(External::StreamStatus {
            time: "12:30:00".into(),
            limit: "x".into(),
            completion: 0.5,
            streaming: true,
            frame: 6,
            identifier: 0,
        }),
        said(External::LabelHint(LabelHint {
            label: "A b".into(),
            initial: 97,
            description: "d".into(),
            symbol: "x".into(),
            subv: 0,
            datatype: 2,
            modifiers: 1,
        })),
        said(External::InputMask {
            device: 1,
            types: 2,
        }),
        said(External::FlushAudio),
        said(External::SegmentRequest(SegmentRequest {
            id: 21,
            width: 1,
            height: 2,
            x: -3,
            y: 4,
            direction: 9,
            hints: 0,
            kind: SegmentKind(16),
        })),
    ]
}

#[test]
fn every_kind_makes_the_fields_that_are_documented() {
    let lua = Lua::new();
    let mut seen = std::collections::HashSet::new();
    for status in all() {
        let table = table(&lua, &status);
        let kind = &KINDS[status.id() as usize];
        seen.insert(kind.name);
        assert_eq!(table.raw_get::<String>("kind").unwrap(), kind.name);
        let mut names = vec!["kind"];
        for field in kind.fields {
            for name in std::iter::once(field.name).chain(field.also) {
                names.push(name);
                let value: Value = table.raw_get(name).unwrap();
                let base = field.ty.trim_end_matches('?');
                let expected = if is_quad(field) { "table" } else { base };
                let absent = field.ty.ends_with('?') && value.is_nil();
                let ty = match value.type_name() {
                    "integer" => "number",
                    other => other,
                };
                assert!(absent || ty == expected, "{}.{name}: {ty}", kind.name);
            }
        }
        for pair in table.pairs::<String, Value>() {
            let (name, _) = pair.unwrap();
            assert!(names.contains(&name.as_str()), "{}.{name}", kind.name);
        }
    }
    assert_eq!(seen.len(), KINDS.len());
}

#[test]
fn fields_follow_the_code_where_it_and_its_documentation_differ() {
    let lua = Lua::new();
    let check = |code: &str| {
        let statuses = lua.create_table().unwrap();
        for status in all() {
            let table = table(&lua, &status);
            let kind: String = table.raw_get("kind").unwrap();
            let key = match status {
                Status::Peer { .. } => "peer".to_owned(),
                _ => kind,
            };
            statuses.raw_set(key, table).unwrap();
        }
        lua.globals().raw_set("s", statuses).unwrap();
        assert!(lua.load(code).eval::<bool>().unwrap(), "{code}");
    };
    check(
        "return s.viewport.anchor_w == 3 and s.viewport.anch_w == 3 and s.viewport.hintfwd and not s.viewport.scaled",
    );
    check(
        "return s.viewport.border[1] == 6 and s.viewport.border[4] == 9 and s.viewport.frame == 12",
    );
    check(
        "return s.frame.pts == 0 and s.frame.number == 3 and s.frame.y == 2 and s.frame.width == 4",
    );
    check("return s.cursorhint.cursor == 'zoom-in?'");
    check("return s.bchunkstate.hint == true and s.bchunkstate.extensions == 'png;g'");
    check(
        "return s.streamstatus.ctime == '12:30:00' and s.streamstatus.streaming == 1 and s.streaminfo.type == 'broken'",
    );
    check(
        "return s.peer.segkind == 'handover' and s.peer.width == 0 and #s.peer.a12_pubk == 44 and s.peer.a12_new == true and s.peer.split == nil",
    );
    check(
        "return s.segment_request.position == 'tab' and s.segment_request.parent == 99 and s.segment_request.a12_pubk == nil",
    );
    check("return #s.registered.guid == 24 and s.privdrop.networked and s.resized.mirrored");
    check(
        "return s.input_label.labelhint == 'A?b' and s.input_label.datatype == 'digital' and s.coreopt.argument == 'v'",
    );
    check(
        "return s.window.event == 'spent' and s.window.left == 0 and s.window.id == '00000000000000ff' and s.window.label == nil and s.failure.message ~= nil",
    );
}
