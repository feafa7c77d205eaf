use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::a12::vectors::{self, Hex};

/// Header and command from the fields that the recordings name; `None`: a command without a name.
fn fields(value: &Value) -> Option<(Header, Control)> {
    let n = |name: &str| value[name].as_u64().unwrap_or_else(|| panic!("{name}"));
    let byte = |name: &str| u8::try_from(n(name)).unwrap();
    let short = |name: &str| u16::try_from(n(name)).unwrap();
    let long = |name: &str| u32::try_from(n(name)).unwrap();
    let text = |name: &str| {
        value[name]
            .as_str()
            .unwrap_or_else(|| panic!("{name}"))
            .to_owned()
    };
    let key = |name: &str| hex(&value[name]).array::<32>();
    let header = Header {
        last_seen: n("last_seen"),
        entropy: hex(&value["entropy"]).array(),
        channel: byte("channel"),
    };
    let control = match byte("command") {
        0 => Control::Hello(Hello {
            mode: byte("mode").into(),
            key: key("kpub"),
            role: byte("role"),
            version: [byte("version_major"), byte("version_minor")],
        }),
        1 => Control::Shutdown {
            text: text("last_words"),
        },
        2 => Control::NewChannel {
            channel: byte("new_channel"),
            kind: SegmentKind(long("type")),
            direction: byte("direction"),
            cookie: long("cookie"),
        },
        3 => Control::CancelStream {
            stream: long("stream_id"),
            reason: byte("code"),
            kind: byte("stream_type"),
        },
        4 => Control::VideoFrame(VideoFrame {
            stream: long("stream_id"),
            format: byte("format"),
            surface: [short("surface_w"), short("surface_h")],
            at: [short("x"), short("y")],
            region: [short("w"), short("h")],
            flags: byte("dataflags"),
            length: long("length"),
            expanded: long("expanded"),
            commit: byte("commit") != 0,
        }),
        6 => Control::BinaryStream(BinaryStream {
            stream: long("stream_id"),
            size: n("total_size"),
            kind: byte("stream_type"),
            identifier: long("id_token"),
            hash: hex(&value["blake3_16"]).array(),
            compression: byte("compression"),
            name: text("extid"),
        }),
        7 => Control::Ping(long("stream_id")),
        8 => Control::Rekey(match byte("mode") {
            0 => Rekey::Ratchet { key: key("kpub") },
            1 => Rekey::Signing {
                key: key("kpub"),
                signature: hex(&value["signature"]).array(),
            },
            other => Rekey::Other(other),
        }),
        9 => Control::DirList {
            notify: byte("notify") != 0,
        },
        10 => Control::DirState(DirState {
            id: short("identifier"),
            categories: short("categories"),
            permissions: short("permissions"),
            hash: hex(&value["hash4"]).array(),
            size: n("size"),
            name: text("applname"),
            description: text("description"),
        }),
        11 => Control::DirDiscover {
            role: byte("role"),
            state: byte("state"),
            petname: text("petname"),
            key: key("kpub"),
        },
        12 => Control::DirOpen {
            mode: byte("mode"),
            key: key("kpub"),
            own: key("extra_kpub_52"),
        },
        13 => Control::DirOpened(DirOpened {
            status: byte("status"),
            host: text("host"),
            port: short("port"),
            secret: Secret::parse(text("secret").as_bytes()).ok(),
            key: key("kpub"),
        }),
        14 => Control::TunnelDrop {
            tunnel: byte("tunnel"),
        },
        _ => return None,
    };
    Some((header, control))
}

fn hex(value: &Value) -> Hex {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn recorded_commands_read_as_their_fields_say_and_come_back() {
    let mut seen = 0;
    for recording in vectors::recordings() {
        for packet in recording.packets.iter().filter(|packet| packet.kind == 1) {
            let at = format!("{} {}", recording.name, packet.n);
            // An authentic packet of an unknown type is no control packet, whatever its length.
            let body: &[u8; Control::SIZE] = packet.body().try_into().unwrap();
            let parsed = Control::parse(body);
            match fields(packet.control.as_ref().unwrap()) {
                Some(expected) => {
                    assert_eq!(parsed, expected, "{at}");
                    let (header, control) = parsed;
                    assert_eq!(
                        Hex(control.encode(&header).to_vec()),
                        Hex(body.to_vec()),
                        "{at}"
                    );
                    seen += 1;
                }
                None => assert_eq!(parsed.1, Control::Unknown(body[17]), "{at}"),
            }
        }
    }
    assert!(seen > 100, "only {seen} commands");
}

#[test]
fn specified_commands_come_back() {
    let specified: vectors::Specified = vectors::data("a12-vectors");
    let mut seen = [0; 16];
    for packet in specified.packets().filter(|packet| packet.kind == 1) {
        let plaintext = packet.plaintext().unwrap();
        let body: &[u8; Control::SIZE] = plaintext.0.last_chunk().unwrap();
        let (header, control) = Control::parse(body);
        assert_eq!(Hex(control.encode(&header).to_vec()), Hex(body.to_vec()));
        seen[usize::from(control.number())] += 1;
    }
    assert!(seen[0] > 0 && seen[6] > 0 && seen[8] > 0 && seen[10] > 0);
}

#[test]
fn a_hello_keeps_what_nobody_supports() {
    let hello = Control::Hello(Hello {
        mode: Mode::Other(77),
        key: [0xff; 32],
        role: 200,
        version: [255, 255],
    });
    let header = Header {
        last_seen: 99,
        entropy: *b"entropy!",
        channel: 3,
    };
    let body = hello.encode(&header);
    assert_eq!(body[16..18], [3, 0]);
    assert_eq!(body[18..21], [255, 255, 77]);
    assert_eq!((body[52], body[53], body[54]), (0xff, 0, 200));
    assert_eq!(Control::parse(&body), (header, hello));
}

#[test]
fn an_unknown_command_is_its_number() {
    for command in 15..=255 {
        let mut body = [0xaa; Control::SIZE];
        body[17] = command;
        assert_eq!(Control::parse(&body).1, Control::Unknown(command));
    }
}

#[test]
fn an_audio_frame_has_the_layout_it_was_meant_to_have() {
    let frame = Control::AudioFrame(AudioFrame {
        stream: 1,
        channels: 2,
        encoding: 3,
        samples: 0x0504,
        rate: 0x0908_0706,
    });
    let body = frame.encode(&Header::default());
    assert_eq!(body[17..30], [5, 1, 0, 0, 0, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(Control::parse(&body).1, frame);
}

#[test]
fn i8_the_secret_of_a_tunnel_is_not_in_the_debug_text() {
    let opened = Control::DirOpened(DirOpened {
        status: 4,
        host: "1".into(),
        port: 0,
        secret: Secret::parse(b"canary").ok(),
        key: [0; 32],
    });
    assert!(!format!("{opened:?}").contains("canary"));
}

/// Bodies of all commands, of noise or of letters.
fn bodies() -> impl Strategy<Value = [u8; Control::SIZE]> {
    let byte = prop_oneof![
        Just(any::<u8>().boxed()),
        Just(prop_oneof![9 => 0x20..0x7f_u8, 1 => Just(0)].boxed()),
    ];
    let body = byte.prop_flat_map(|byte| prop::collection::vec(byte, Control::SIZE));
    (body, 0..16_u8, 0..3_u8).prop_map(|(body, command, mode)| {
        let mut body: [u8; Control::SIZE] = body.try_into().unwrap();
        body[17] = command;
        if command == REKEY {
            body[18] = mode;
        }
        body
    })
}

proptest! {
    #[test]
    fn i9_any_bytes_are_a_command_that_is_written_so_that_it_reads_the_same(body in bodies()) {
        let (header, control) = Control::parse(&body);
        prop_assert_eq!(control.number(), body[17]);
        let again = control.encode(&header);
        prop_assert_eq!(Control::parse(&again), (header, control));
    }
}
