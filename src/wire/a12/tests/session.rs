use std::time::Instant;

use super::pair::*;
use super::puppet::*;
use crate::wire::a12::control::{BinaryStream, Control, VideoFrame};
use crate::wire::a12::event::{DisplayHint, External, Io, IoData, Record, SegmentKind, Target};
use crate::wire::a12::packet::Kind;
use crate::wire::a12::{Command, Event, Ratchet, Role, Rounds};
use crate::wire::{Input, Violation};

/// A listener in this role with a puppet that has been let in; nothing is ratcheted.
fn session(own: Role, peer: Role) -> (End, Puppet, Instant) {
    let now = Instant::now();
    let setup = Setup {
        server: own,
        ratchet: Ratchet {
            at_once: false,
            every_bytes: 0,
        },
        ..Setup::default()
    };
    let listener = setup.listener(now, Seeded::new(1));
    let mut end = End::new(Box::new(listener), secret_key(SERVER_KEY), 2);
    let puppet = Puppet::client(&mut end, now, Rounds::Two, peer);
    end.events.clear();
    (end, puppet, now)
}

fn sink() -> (End, Puppet, Instant) {
    session(Role::Sink, Role::Source)
}

fn source() -> (End, Puppet, Instant) {
    session(Role::Source, Role::Sink)
}

impl End {
    /// One packet, as a whole.
    #[track_caller]
    fn take(&mut self, now: Instant, packet: &[u8]) {
        assert!(self.feed(now, packet, || 100_000).is_empty());
    }
}

/// A raw frame of the whole surface.
fn frame(stream: u32, width: u16, height: u16) -> VideoFrame {
    VideoFrame {
        stream,
        format: 0,
        surface: [width, height],
        at: [0, 0],
        region: [width, height],
        flags: 0,
        length: u32::from(width) * u32::from(height) * 4,
        expanded: u32::from(width) * u32::from(height) * 4,
        commit: true,
    }
}

/// The event of a [`frame`].
fn seen_frame(channel: u8, number: u32, width: u16, height: u16) -> Event {
    Event::Frame {
        channel,
        width,
        height,
        origin_ll: false,
        text: false,
        number,
        at: [0, 0],
        region: [width, height],
    }
}

fn alert() -> Record {
    Record::External(External::Failure)
}

#[test]
fn every_frame_is_acknowledged_in_order_once_it_is_complete() {
    let (mut end, mut puppet, now) = sink();
    for stream in 1..=20 {
        let announced = puppet.control(0, &Control::VideoFrame(frame(stream, 160, 100)));
        end.take(now, &announced);
        for (sent, chunk) in [32_760, 31_239, 1].into_iter().enumerate() {
            assert_eq!(puppet.controls(&end), [], "after {sent} of 3 packets");
            let data = puppet.data(Kind::Video, 0, &vec![3; chunk]);
            end.take(now, &data);
        }
        assert_eq!(puppet.controls(&end), [Control::Ping(stream)]);
        assert_eq!(end.events.pop(), Some(seen_frame(0, stream, 160, 100)));
    }
    assert_eq!(end.error, None);
}

#[test]
fn a_frame_is_acknowledged_on_its_channel_with_the_newest_number() {
    let (mut end, mut puppet, now) = sink();
    end.give(
        now,
        Input::Command(Command::Open {
            cookie: 9,
            kind: SegmentKind(3),
        }),
    );
    assert_eq!(
        end.events,
        [Event::Opened {
            channel: Some(1),
            cookie: 9
        }]
    );
    let announced = puppet.control(1, &Control::VideoFrame(frame(4, 2, 2)));
    let data = puppet.data(Kind::Video, 1, &[0; 16]);
    end.take(now, &[announced, data].concat());
    let seen = puppet.seen(&end);
    assert!(
        matches!(
            &seen[..],
            [
                Seen::Control(_, Control::NewChannel { channel: 1, direction: 0, cookie: 9, .. }),
                Seen::Control(header, Control::Ping(4))
            ] if header.channel == 1 && header.last_seen == 4
        ),
        "{seen:?}"
    );
}

#[test]
fn events_say_what_has_been_received() {
    let (mut end, mut puppet, now) = sink();
    for number in 3..9 {
        let ident = puppet.event(0, Record::External(External::Ident("x".into())));
        end.take(now, &ident);
        let command = Command::Target {
            channel: 0,
            event: Target::Activate,
        };
        end.give(now, Input::Command(command));
        assert_eq!(
            puppet.seen(&end),
            [Seen::Event {
                last_seen: number,
                channel: 0,
                event: Record::Target(Target::Activate)
            }]
        );
    }
}

#[test]
fn formats_that_nobody_knows_are_acknowledged_and_not_shown() {
    let (mut end, mut puppet, now) = sink();
    let odd = VideoFrame {
        format: 3,
        length: 5,
        ..frame(1, 8, 8)
    };
    end.take(now, &puppet.control(0, &Control::VideoFrame(odd)));
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 5]));
    assert_eq!(puppet.controls(&end), [Control::Ping(1)]);
    assert_eq!(end.events, []);
}

#[test]
fn frames_whose_numbers_disagree_are_dropped_without_a_word() {
    let whole = frame(1, 8, 8);
    let compressed = VideoFrame {
        format: 9,
        length: 20,
        expanded: 192,
        ..whole
    };
    let rows = [
        VideoFrame {
            at: [8, 0],
            region: [0, 8],
            length: 0,
            ..whole
        },
        VideoFrame {
            at: [1, 0],
            ..whole
        },
        VideoFrame {
            at: [0, 1],
            ..whole
        },
        VideoFrame {
            at: [u16::MAX, u16::MAX],
            ..whole
        },
        VideoFrame {
            length: 255,
            ..whole
        },
        VideoFrame {
            length: u32::MAX,
            ..whole
        },
        VideoFrame { format: 1, ..whole },
        VideoFrame { format: 2, ..whole },
        VideoFrame {
            surface: [0, 0],
            ..whole
        },
        VideoFrame {
            expanded: 257,
            ..compressed
        },
        VideoFrame {
            length: 217,
            ..compressed
        },
        VideoFrame {
            format: 8,
            expanded: u32::MAX,
            length: u32::MAX,
            ..compressed
        },
        VideoFrame {
            format: 7,
            length: u32::MAX,
            ..compressed
        },
    ];
    for row in rows {
        let (mut end, mut puppet, now) = sink();
        end.take(now, &puppet.control(0, &Control::VideoFrame(row)));
        end.take(now, &puppet.data(Kind::Video, 0, &[0; 300]));
        assert_eq!(puppet.controls(&end), [], "{row:?}");
        assert_eq!((&end.events[..], end.error), (&[][..], None));

        end.take(now, &puppet.control(0, &Control::VideoFrame(compressed)));
        end.take(now, &puppet.data(Kind::Video, 0, &[0; 20]));
        assert_eq!(puppet.controls(&end), [Control::Ping(1)], "after {row:?}");
        assert_eq!(end.events, [seen_frame(0, 1, 8, 8)]);
    }
}

#[test]
fn the_largest_surface_costs_nothing() {
    let (mut end, mut puppet, now) = sink();
    let pixels = u32::from(u16::MAX) * u32::from(u16::MAX);
    let huge = VideoFrame {
        format: 2,
        region: [32_767, u16::MAX],
        length: 32_767 * u32::from(u16::MAX) * 2,
        expanded: pixels,
        ..frame(1, 8, 8)
    };
    let huge = VideoFrame {
        surface: [u16::MAX; 2],
        ..huge
    };
    end.take(now, &puppet.control(0, &Control::VideoFrame(huge)));
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 65_535]));
    assert_eq!((puppet.controls(&end), end.error), (vec![], None));
}

#[test]
fn a_new_frame_replaces_an_unfinished_one() {
    let (mut end, mut puppet, now) = sink();
    end.take(
        now,
        &puppet.control(0, &Control::VideoFrame(frame(1, 8, 8))),
    );
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 255]));
    end.take(
        now,
        &puppet.control(0, &Control::VideoFrame(frame(2, 1, 1))),
    );
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 4]));
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 1]));
    assert_eq!(puppet.controls(&end), [Control::Ping(2)]);
    assert_eq!(end.events, [seen_frame(0, 2, 1, 1)]);
}

#[test]
fn a_frame_says_its_number_and_which_region_has_changed() {
    let (mut end, mut puppet, now) = sink();
    let part = VideoFrame {
        at: [3, 5],
        region: [2, 1],
        flags: 1,
        length: 8,
        ..frame(40, 8, 6)
    };
    end.take(now, &puppet.control(0, &Control::VideoFrame(part)));
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 8]));
    let seen = Event::Frame {
        channel: 0,
        width: 8,
        height: 6,
        origin_ll: true,
        text: false,
        number: 40,
        at: [3, 5],
        region: [2, 1],
    };
    assert_eq!(end.events, [seen]);
}

#[test]
fn what_a_closed_channel_still_says_is_not_taken_for_the_next_ones() {
    let (mut end, mut puppet, now) = sink();
    let kind = SegmentKind(16);
    for cookie in [1, 2] {
        end.give(now, Input::Command(Command::Open { cookie, kind }));
        let channel = Some(cookie as u8);
        assert_eq!(end.events.pop(), Some(Event::Opened { channel, cookie }));
        end.give(now, Input::Command(Command::Close { channel: 1 }));
    }
    end.take(now, &puppet.event(1, alert()));
    assert_eq!(end.events, []);
    end.take(now, &puppet.event(2, alert()));
    assert_eq!(end.events.len(), 1);
}

#[test]
fn frames_on_different_channels_interleave() {
    let (mut end, mut puppet, now) = sink();
    let open = Command::Open {
        cookie: 0,
        kind: SegmentKind(0),
    };
    end.give(now, Input::Command(open));
    end.events.clear();
    puppet.controls(&end);
    end.take(
        now,
        &puppet.control(0, &Control::VideoFrame(frame(1, 1, 2))),
    );
    end.take(
        now,
        &puppet.control(1, &Control::VideoFrame(frame(2, 2, 1))),
    );
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 4]));
    end.take(now, &puppet.data(Kind::Video, 1, &[0; 8]));
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 4]));
    assert_eq!(puppet.controls(&end), [Control::Ping(2), Control::Ping(1)]);
    assert_eq!(end.events, [seen_frame(1, 2, 2, 1), seen_frame(0, 1, 1, 2)]);
}

#[test]
fn h264_is_declined_once_and_acknowledged_always() {
    let (mut end, mut puppet, now) = sink();
    for stream in 1..4 {
        let h264 = VideoFrame {
            format: 5,
            length: 30,
            ..frame(stream, 64, 48)
        };
        end.take(now, &puppet.control(0, &Control::VideoFrame(h264)));
        end.take(now, &puppet.data(Kind::Video, 0, &[0; 30]));
    }
    assert_eq!(
        puppet.controls(&end),
        [
            // So a stock source goes on with zstd, for good.
            Control::CancelStream {
                stream: 1,
                reason: 1,
                kind: 0
            },
            Control::Ping(1),
            Control::Ping(2),
            Control::Ping(3),
        ]
    );
}

#[test]
fn transfers_are_declined_and_what_is_under_way_is_dropped() {
    let (mut end, mut puppet, now) = sink();
    let transfer = BinaryStream {
        stream: 77,
        size: 1 << 40,
        kind: 3,
        identifier: 77,
        hash: [0; 16],
        compression: 1,
        name: String::new(),
    };
    end.take(now, &puppet.control(0, &Control::BinaryStream(transfer)));
    for _ in 0..50 {
        end.take(now, &puppet.data(Kind::Binary, 0, &[1; 65_535]));
    }
    end.take(now, &puppet.data(Kind::Binary, 200, b""));
    end.take(now, &puppet.data(Kind::Audio, 0, &[1; 100]));
    assert_eq!(
        puppet.controls(&end),
        [Control::CancelStream {
            stream: 77,
            reason: 0,
            kind: 2
        }]
    );
    assert_eq!((&end.events[..], end.error), (&[][..], None));
}

#[test]
fn what_this_side_does_not_know_is_passed_over() {
    let (mut end, mut puppet, now) = sink();
    for control in [
        Control::Unknown(99),
        Control::Unknown(200),
        Control::Ping(5),
        Control::CancelStream {
            stream: 1,
            reason: 1,
            kind: 0,
        },
        Control::DirList { notify: true },
        Control::TunnelDrop { tunnel: 3 },
        Control::NewChannel {
            channel: 4,
            kind: SegmentKind(3),
            direction: 0,
            cookie: 1,
        },
    ] {
        end.take(now, &puppet.control(0, &control));
    }
    end.take(
        now,
        &puppet.control(9, &Control::VideoFrame(frame(1, 1, 1))),
    );
    end.take(now, &puppet.data(Kind::Video, 9, &[0; 4]));
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 4]));
    end.take(now, &puppet.event(9, alert()));
    end.take(now, &puppet.event(0, Record::Target(Target::Activate)));
    assert_eq!(puppet.controls(&end), []);
    assert_eq!((&end.events[..], end.error), (&[][..], None));
    end.take(now, &puppet.event(0, alert()));
    assert_eq!(end.events.len(), 1);
}

#[test]
fn a_source_takes_no_frames() {
    let (mut end, mut puppet, now) = source();
    end.take(
        now,
        &puppet.control(0, &Control::VideoFrame(frame(1, 1, 1))),
    );
    end.take(now, &puppet.data(Kind::Video, 0, &[0; 4]));
    assert_eq!((puppet.controls(&end), end.error), (vec![], None));
}

#[test]
fn a_sink_opens_unused_channels_and_then_the_one_closed_longest_ago() {
    let (mut end, mut puppet, now) = sink();
    let open = |end: &mut End, cookie| {
        let kind = SegmentKind(16);
        end.give(now, Input::Command(Command::Open { cookie, kind }));
        match end.events.pop() {
            Some(Event::Opened {
                channel,
                cookie: told,
            }) if told == cookie => channel,
            other => panic!("{other:?}"),
        }
    };
    for channel in 1..=255 {
        assert_eq!(open(&mut end, 1000 + u32::from(channel)), Some(channel));
        if channel == 9 {
            end.give(now, Input::Command(Command::Close { channel }));
        }
    }
    assert_eq!(open(&mut end, 4), Some(9), "all others are open");
    assert_eq!(open(&mut end, 5), None);
    for channel in [0, 30, 7, 30] {
        end.give(now, Input::Command(Command::Close { channel }));
    }
    puppet.seen(&end);
    assert_eq!(open(&mut end, 6), Some(30));
    assert_eq!(open(&mut end, 7), Some(7));
    assert_eq!(
        open(&mut end, 8),
        None,
        "the first channel cannot be closed"
    );
    assert_eq!(
        puppet.controls(&end),
        [(30, 6), (7, 7)].map(|(channel, cookie)| Control::NewChannel {
            channel,
            kind: SegmentKind(16),
            direction: 0,
            cookie
        })
    );
}

#[test]
fn a_closed_channel_neither_hears_nor_speaks() {
    let (mut end, mut puppet, now) = sink();
    let open = Command::Open {
        cookie: 0,
        kind: SegmentKind(0),
    };
    end.give(now, Input::Command(open));
    end.take(
        now,
        &puppet.control(1, &Control::VideoFrame(frame(1, 1, 1))),
    );
    end.give(now, Input::Command(Command::Close { channel: 1 }));
    end.events.clear();
    puppet.seen(&end);
    end.take(now, &puppet.data(Kind::Video, 1, &[0; 4]));
    end.take(now, &puppet.event(1, alert()));
    let event = Target::Activate;
    end.give(now, Input::Command(Command::Target { channel: 1, event }));
    assert_eq!((&end.events[..], puppet.seen(&end)), (&[][..], vec![]));
    assert_eq!(end.error, None);
}

#[test]
fn a_source_hears_of_new_channels_and_uses_them() {
    let (mut end, mut puppet, now) = source();
    let told = |channel, cookie| Control::NewChannel {
        channel,
        kind: SegmentKind(17),
        direction: 0,
        cookie,
    };
    let event = || External::Ident("hello".into());
    end.give(
        now,
        Input::Command(Command::External {
            channel: 1,
            event: event(),
        }),
    );
    assert_eq!(puppet.seen(&end), [], "it is not open");
    end.take(now, &puppet.control(0, &told(1, 42)));
    // Sinks use numbers again.
    end.take(now, &puppet.control(0, &told(1, 43)));
    end.take(now, &puppet.control(0, &told(0, 44)));
    assert_eq!(
        end.events,
        [42, 43].map(|cookie| Event::NewChannel {
            channel: 1,
            kind: SegmentKind(17),
            cookie
        })
    );
    end.give(
        now,
        Input::Command(Command::External {
            channel: 1,
            event: event(),
        }),
    );
    assert!(matches!(
        puppet.seen(&end)[..],
        [Seen::Event { channel: 1, .. }]
    ));
}

#[test]
fn input_and_orders_reach_a_source() {
    let mut pair = Setup {
        ratchet: Ratchet {
            at_once: true,
            every_bytes: 300,
        },
        ..Setup::default()
    }
    .pair();
    pair.drive();
    let register = External::Register {
        title: "t".into(),
        kind: SegmentKind(1),
        guid: [1, 2],
    };
    pair.client_says(Command::External {
        channel: 0,
        event: register,
    });
    pair.drive();
    let hint = Target::DisplayHint(DisplayHint {
        width: 640,
        height: 480,
        flags: 0,
        subpixel: 0,
        density: 38.5,
        cell: [8, 16],
        token: 0,
    });
    let input = Io {
        kind: 0,
        device_kind: 2,
        label: String::new(),
        flags: 0,
        device: 1,
        sub: 3,
        destination: 0,
        pts: 12,
        data: IoData::Digital { active: true },
    };
    pair.server_says(Command::Target {
        channel: 0,
        event: hint.clone(),
    });
    pair.server_says(Command::Input {
        channel: 0,
        input: input.clone(),
    });
    pair.drive();
    pair.assert_well();
    let events = &pair.client.events;
    assert_eq!(
        events[events.len() - 2..],
        [
            Event::Target {
                channel: 0,
                event: hint
            },
            Event::Input { channel: 0, input }
        ]
    );
}

#[test]
fn goodbyes_go_both_ways() {
    let (mut end, mut puppet, now) = sink();
    let text = || "so long".to_owned();
    end.take(now, &puppet.control(0, &Control::Shutdown { text: text() }));
    assert_eq!(end.events, [Event::Goodbye { text: text() }]);
    // The peer goes on until it closes.
    end.take(now, &puppet.event(0, alert()));
    assert_eq!(end.events.len(), 2);

    end.give(now, Input::Command(Command::Shutdown { text: text() }));
    assert_eq!(puppet.controls(&end), [Control::Shutdown { text: text() }]);
    assert_eq!(end.machine.room(), 0);
    let event = Target::Activate;
    end.give(now, Input::Command(Command::Target { channel: 0, event }));
    end.give(now, Input::Eof);
    assert_eq!((puppet.controls(&end), end.error), (vec![], None));
}

#[test]
fn a_client_can_be_turned_away_in_silence() {
    let now = Instant::now();
    let listener = Setup::default().listener(now, Seeded::new(1));
    let mut end = End::new(Box::new(listener), secret_key(SERVER_KEY), 2);
    end.takes = false;
    let mut puppet = Puppet::challenged(&mut end, now, Rounds::Two, 1);
    end.take(now, &puppet.event(0, alert()));
    assert_eq!(end.events, [Event::Admitted { role: Role::Source }]);
    end.give(now, Input::Eof);
    assert_eq!((end.error, end.machine.room()), (None, 0));
}

#[test]
fn a_hello_in_a_session_ends_it() {
    let (mut end, mut puppet, now) = sink();
    let hello = puppet.seal(Kind::Control, &client_hello(1, 1));
    end.feed(now, &hello, || 999);
    assert_eq!(end.error, proto(Violation::Command(0)));
}

#[test]
fn commands_of_the_other_role_are_bugs_of_ours() {
    let (mut end, mut puppet, now) = sink();
    let event = External::Failure;
    end.give(now, Input::Command(Command::External { channel: 0, event }));
    assert_eq!(end.error, proto(Violation::OutOfTurn));
    assert_eq!(puppet.seen(&end), []);
}

#[test]
fn what_is_held_of_a_peer_is_bounded() {
    let (mut end, mut puppet, now) = sink();
    let whole = end.machine.room();
    assert!(whole <= 64 * 1024 + 65_567);
    let mut stream = Vec::new();
    while stream.len() < 3 * whole {
        stream.extend(puppet.data(Kind::Binary, 5, &[1; 65_535]));
    }
    for bytes in stream.chunks(1000) {
        assert!(end.machine.room() >= bytes.len());
        end.give(now, Input::Bytes(bytes));
        assert!(end.machine.room() > 64 * 1024);
    }
    assert_eq!(end.error, None);
    let room = end.machine.room();
    end.give(now, Input::Bytes(&vec![0; room + 1]));
    assert_eq!(end.error, proto(Violation::OutOfTurn));
}
