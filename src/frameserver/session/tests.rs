use super::segment::Picture;
use super::*;
use crate::frameserver::link::PATIENCE;
use crate::wire::a12;
use crate::wire::a12::event::{External, Target, Text};

const ID: SessionId = SessionId(1);

/// How many events a client may have under way.
const FROM_CLIENT: u32 = link::credit(Carries::Events);

fn segment(channel: u8) -> SegmentId {
    SegmentId {
        session: ID,
        channel,
    }
}

fn accepted(script: &Outbox) -> Session {
    script.begin();
    let mut session = Session::new(ID, Carries::Events, script);
    session.accept(script);
    session
}

fn says(words: &str) -> a12::Event {
    a12::Event::External {
        channel: 0,
        event: External::Message(Text {
            text: words.to_owned(),
            multipart: false,
        }),
    }
}

fn frame(width: u16) -> a12::Event {
    a12::Event::Frame {
        channel: 0,
        width,
        height: 1,
        origin_ll: false,
        text: false,
        number: u32::from(width),
        at: [0, 0],
        region: [width, 1],
    }
}

/// What a verbose script hears of a [`frame`].
fn told(width: u16) -> ToScript {
    ToScript::Frame {
        segment: segment(0),
        number: u32::from(width),
        at: [0, 0],
        region: [width, 1],
    }
}

fn resized(width: u16) -> ToScript {
    let picture = Picture {
        width,
        height: 1,
        origin_ll: false,
        text: false,
    };
    picture.resized(segment(0))
}

fn flags(channel: u8, verbose: bool, block_adopt: bool) -> FromScript {
    FromScript::Flags {
        segment: segment(channel),
        verbose,
        block_adopt,
    }
}

fn activate(channel: u8) -> FromScript {
    FromScript::Target {
        segment: segment(channel),
        event: Target::Activate,
    }
}

fn credit(events: u32) -> FromScript {
    let segment = segment(0);
    FromScript::Credit { segment, events }
}

fn widths(sent: &[ToScript]) -> Vec<u16> {
    let width = |message: &ToScript| match message {
        ToScript::Resized { width, .. } => Some(*width),
        _ => None,
    };
    sent.iter().filter_map(width).collect()
}

#[test]
fn a_client_may_have_as_many_events_under_way_as_there_is_credit() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    for _ in 0..=FROM_CLIENT {
        session.event(says("x"));
    }
    session.forward(&script);
    assert_eq!(script.take().len(), FROM_CLIENT as usize);
    assert!(!session.is_caught_up(&script));
    let epoch = script.epoch().unwrap();
    session.said(epoch, credit(1)).unwrap();
    session.forward(&script);
    assert_eq!(script.take().len(), 1);
    assert!(session.is_caught_up(&script));
}

#[test]
fn i10_a_script_may_not_have_more_under_way_than_credit() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    for _ in 0..CREDIT {
        session.said(epoch, activate(0)).unwrap();
    }
    assert_eq!(session.said(epoch, activate(0)), Err(Overrun));
}

#[test]
fn credit_goes_back_once_the_bytes_are_out() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    for at in [100, 200, 300] {
        session.said(epoch, activate(0)).unwrap();
        assert!(matches!(
            session.next(&script).unwrap(),
            Some(Next::Event(0, _))
        ));
        session.mark(at, 0);
    }
    session.written(99, &script);
    assert_eq!(script.take(), []);
    session.written(250, &script);
    let (segment, events) = (segment(0), 2);
    assert_eq!(script.take(), [ToScript::Credit { segment, events }]);
}

#[test]
fn of_sizes_that_wait_the_last_one_counts_and_the_same_one_is_not_repeated() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    for width in [1, 2, 3, 3] {
        session.event(frame(width));
    }
    session.forward(&script);
    session.event(frame(3));
    session.forward(&script);
    assert_eq!(widths(&script.take()), [3]);
}

#[test]
fn a_new_script_gets_what_lives_and_no_credit_that_is_not_its_own() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let old = script.epoch().unwrap();
    session.event(frame(640));
    session.event(says("heard"));
    session.forward(&script);
    session.said(old, activate(0)).unwrap();
    session.next(&script).unwrap();
    session.mark(10, 0);
    script.end();
    session.event(says("waits"));
    session.forward(&script);
    assert!(!session.is_caught_up(&script));
    script.begin();
    session.forward(&script);
    let sent = script.take();
    assert!(matches!(sent[0], ToScript::Adopt { .. }), "{sent:?}");
    assert_eq!(widths(&sent), [640]);
    assert_eq!(sent.len(), 3, "{sent:?}");
    session.written(10, &script);
    assert_eq!(script.take(), []);
    // The old script's credit changes nothing for the new one.
    for _ in 1..FROM_CLIENT {
        session.event(says("x"));
    }
    session.said(old, credit(100)).unwrap();
    session.event(says("too much"));
    session.forward(&script);
    assert!(!session.is_caught_up(&script));
}

#[test]
fn the_wishes_of_a_script_that_never_decided_die_with_it() {
    let script = Outbox::default();
    script.begin();
    let mut session = Session::new(ID, Carries::Events, &script);
    session.said(script.epoch().unwrap(), activate(0)).unwrap();
    assert_eq!(session.next(&script).unwrap(), None);
    script.begin();
    session.linked(script.epoch());
    session.accept(&script);
    assert_eq!(session.next(&script).unwrap(), None);
}

#[test]
fn a_closed_segment_is_terminated_and_says_nothing_more() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    let open = FromScript::Open {
        parent: segment(0),
        cookie: 5,
        kind: UNKNOWN,
    };
    session.said(epoch, open).unwrap();
    assert!(matches!(session.next(&script).unwrap(), Some(Next::Do(_))));
    session.event(a12::Event::Opened {
        channel: Some(3),
        cookie: 5,
    });
    session.forward(&script);
    script.take();
    let close = FromScript::Close {
        segment: segment(3),
        last_words: String::new(),
    };
    session.said(epoch, close).unwrap();
    session.said(epoch, activate(3)).unwrap();
    let channel = 3;
    let closes = Next::Do(Command::A12(a12::Command::Close { channel }));
    assert_eq!(session.next(&script).unwrap(), Some(closes));
    assert_eq!(session.next(&script).unwrap(), None);
    session.event(a12::Event::External {
        channel,
        event: External::Failure,
    });
    session.forward(&script);
    let sent = script.take();
    assert!(
        matches!(&sent[..], [ToScript::Terminated { segment, .. }] if segment.channel == 3),
        "{sent:?}"
    );
}

#[test]
fn what_a_client_said_before_it_went_still_arrives_as_credit_comes() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    for _ in 0..=FROM_CLIENT {
        session.event(says("x"));
    }
    session.forward(&script);
    script.take();
    assert!(session.end(&script));
    assert!(session.linger(&script));
    session.said(epoch, credit(1)).unwrap();
    assert!(!session.linger(&script));
    let sent = script.take();
    assert!(
        matches!(
            sent[..],
            [ToScript::Event { .. }, ToScript::Terminated { .. }]
        ),
        "{sent:?}"
    );
}

#[test]
fn a_script_that_closes_what_is_over_gets_only_the_end() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    for _ in 0..2 * FROM_CLIENT {
        session.event(says("x"));
    }
    session.forward(&script);
    script.take();
    assert!(session.end(&script));
    let close = FromScript::Close {
        segment: segment(0),
        last_words: String::new(),
    };
    session.said(epoch, close).unwrap();
    assert!(!session.linger(&script));
    assert!(matches!(script.take()[..], [ToScript::Terminated { .. }]));
}

#[test]
fn a_script_hears_that_no_channel_is_free() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let parent = segment(0);
    let cookie = 8;
    let open = FromScript::Open {
        parent,
        cookie,
        kind: UNKNOWN,
    };
    session.said(script.epoch().unwrap(), open).unwrap();
    session.next(&script).unwrap();
    let channel = None;
    session.event(a12::Event::Opened { channel, cookie });
    session.forward(&script);
    assert_eq!(script.take(), [ToScript::OpenFailed { parent, cookie }]);
}

/// Opens this channel for the script.
fn opens(session: &mut Session, script: &Outbox, channel: u8) {
    let cookie = u32::from(channel);
    let open = FromScript::Open {
        parent: segment(0),
        cookie,
        kind: UNKNOWN,
    };
    session.said(script.epoch().unwrap(), open).unwrap();
    assert!(matches!(session.next(script).unwrap(), Some(Next::Do(_))));
    let channel = Some(channel);
    session.event(a12::Event::Opened { channel, cookie });
    session.forward(script);
    script.take();
}

fn adopted(sent: &[ToScript]) -> Vec<u8> {
    let channel = |message: &ToScript| match message {
        ToScript::Adopt { segment, .. } => Some(segment.channel),
        _ => None,
    };
    sent.iter().filter_map(channel).collect()
}

#[test]
fn frames_are_told_to_a_script_that_asks_and_after_their_size() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    session.event(frame(5));
    session.said(epoch, flags(0, true, false)).unwrap();
    for width in [6, 6, 7] {
        session.event(frame(width));
    }
    session.said(epoch, flags(0, false, false)).unwrap();
    session.event(frame(7));
    session.forward(&script);
    let wanted = [resized(6), told(6), told(6), resized(7), told(7)];
    assert_eq!(script.take(), wanted);
}

#[test]
fn i10_frames_cost_credit_as_events_do() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    session.said(epoch, flags(0, true, false)).unwrap();
    for _ in 0..FROM_CLIENT {
        session.event(frame(1));
    }
    session.event(says("x"));
    session.event(frame(2));
    session.forward(&script);
    assert_eq!(script.take().len(), 1 + FROM_CLIENT as usize);
    assert!(!session.is_caught_up(&script));
    session.said(epoch, credit(2)).unwrap();
    session.forward(&script);
    assert_eq!(script.take()[1..], [resized(2), told(2)]);
}

#[test]
fn a_new_script_has_asked_for_nothing_yet() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let old = script.epoch().unwrap();
    session.said(old, flags(0, true, false)).unwrap();
    script.end();
    session.event(frame(1));
    script.begin();
    session.forward(&script);
    session.said(old, flags(0, true, false)).unwrap();
    session.event(frame(1));
    session.forward(&script);
    let sent = script.take();
    assert!(
        matches!(&sent[..], [ToScript::Adopt { .. }, size] if *size == resized(1)),
        "{sent:?}"
    );
}

#[test]
fn what_blocks_adoption_ends_with_its_script_and_is_not_announced() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    opens(&mut session, &script, 1);
    session.said(epoch, activate(0)).unwrap();
    session.said(epoch, flags(0, false, true)).unwrap();
    session.event(says("waits"));
    script.begin();
    session.forward(&script);
    assert_eq!(script.take(), []);
    assert!(session.is_leaving());
    assert!(matches!(
        session.next(&script).unwrap(),
        Some(Next::Last(_))
    ));
}

#[test]
fn a_request_dies_with_the_script_that_had_it_but_not_one_that_waits() {
    let carries = Carries::Messages {
        socket: zmtp::SocketType::Rep,
        most: 1000,
        high_water: 1,
    };
    for heard in [true, false] {
        let script = Outbox::default();
        script.begin();
        let mut session = Session::new(ID, carries, &script);
        session.accept(&script);
        session.event(Event::Zmtp(zmtp::Event::Message(vec![b"request".to_vec()])));
        if heard {
            session.forward(&script);
        }
        script.begin();
        session.forward(&script);
        let sent = script.take();
        assert!(matches!(&sent[0], ToScript::Adopt { .. }), "{sent:?}");
        assert_eq!(sent.len(), if heard { 1 } else { 2 }, "{sent:?}");
        let abandon = Next::Do(Command::Zmtp(zmtp::Command::Abandon));
        assert_eq!(session.next(&script).unwrap(), heard.then_some(abandon));
        assert_eq!(session.next(&script).unwrap(), None);
    }
}

#[test]
fn a_subsegment_that_blocks_adoption_is_closed_alone() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    for channel in [1, 2] {
        opens(&mut session, &script, channel);
    }
    let epoch = script.epoch().unwrap();
    session.said(epoch, flags(1, false, true)).unwrap();
    // The last word counts.
    session.said(epoch, flags(2, false, true)).unwrap();
    session.said(epoch, flags(2, false, false)).unwrap();
    script.begin();
    session.forward(&script);
    assert_eq!(adopted(&script.take()), [0, 2]);
    let channel = 1;
    let closes = Next::Do(Command::A12(a12::Command::Close { channel }));
    assert_eq!(session.next(&script).unwrap(), Some(closes));
    assert_eq!(session.next(&script).unwrap(), None);
    // It was a wish of the old script.
    script.begin();
    session.forward(&script);
    assert_eq!(adopted(&script.take()), [0, 2]);
}

#[test]
fn i10_what_costs_no_credit_waits_while_the_outbox_is_full() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let mut width = 0;
    while session.is_caught_up(&script) {
        width += 1;
        session.event(frame(width));
        session.forward(&script);
        assert!(script.len() <= PATIENCE);
    }
    assert!(session.is_held_up());
    // However many more there are, the last one is what waits.
    session.event(frame(width + 1));
    session.event(frame(width + 2));
    session.forward(&script);
    assert_eq!(script.take().len(), PATIENCE);
    session.forward(&script);
    assert_eq!(script.take(), [resized(width + 2)]);
    assert!(session.is_caught_up(&script) && !session.is_held_up());
}

#[test]
fn i10_messages_cost_credit_by_their_size_and_go_whole() {
    let carries = Carries::Messages {
        socket: zmtp::SocketType::Pull,
        most: 1 << 20,
        high_water: 1,
    };
    let sent = |size: usize| {
        let script = Outbox::default();
        script.begin();
        let mut session = Session::new(ID, carries, &script);
        session.accept(&script);
        for _ in 0..2000 {
            let message = zmtp::Event::Message(vec![vec![0; size]]);
            session.event(Event::Zmtp(message));
        }
        session.forward(&script);
        let sent = script.take();
        let ends = |message: &ToScript| match message {
            ToScript::Piece { ends, .. } => *ends == Ends::Message,
            _ => false,
        };
        assert!(sent.last().is_some_and(ends));
        let messages = sent.into_iter().filter(ends).count();
        // What it cost comes back, and as much can follow.
        let epoch = script.epoch().unwrap();
        let due = link::cost(size + link::PART) * u32::try_from(messages).unwrap();
        session.said(epoch, credit(due)).unwrap();
        session.forward(&script);
        assert_eq!(
            script.take().iter().filter(|said| ends(said)).count(),
            messages.min(2000 - messages)
        );
        messages
    };
    assert_eq!(sent(64), 1024);
    assert_eq!(sent(100_000), 41);
}

/// A session whose script hands over, after the client has said these; what that one has had is
/// given back.
fn handed_over(script: &Outbox, words: &[&str]) -> Session {
    let mut session = accepted(script);
    for word in words {
        session.event(says(word));
    }
    session.forward(script);
    let sent = script.take();
    let epoch = script.epoch().unwrap();
    script.hold();
    assert_eq!(script.take(), [ToScript::Held]);
    for message in sent {
        let back = FromScript::Back(Box::new(message));
        session.said(epoch, back).unwrap();
    }
    script.complete();
    session
}

fn words(sent: &[ToScript]) -> Vec<String> {
    let word = |message: &ToScript| match message {
        ToScript::Event {
            event: External::Message(text),
            ..
        } => Some(text.text.clone()),
        _ => None,
    };
    sent.iter().filter_map(word).collect()
}

#[test]
fn what_is_given_back_reaches_the_next_script_once_and_before_what_has_come_since() {
    let script = Outbox::default();
    let mut session = handed_over(&script, &["one", "two"]);
    session.event(says("three"));
    session.forward(&script);
    assert_eq!(script.take(), []);
    script.begin();
    // Its last words may still be on their way to here.
    session.forward(&script);
    assert_eq!(script.take(), []);
    session.linked(script.epoch());
    session.forward(&script);
    let sent = script.take();
    assert!(matches!(sent[0], ToScript::Adopt { .. }), "{sent:?}");
    assert_eq!(words(&sent), ["one", "two", "three"]);
    session.forward(&script);
    assert_eq!(script.take(), []);
}

#[test]
fn a_client_that_leaves_between_two_scripts_is_heard_to_the_end() {
    let script = Outbox::default();
    let mut session = handed_over(&script, &["one"]);
    session.event(says("two"));
    assert!(session.end(&script));
    script.end();
    assert!(session.linger(&script));
    script.begin();
    assert!(session.linger(&script));
    session.linked(script.epoch());
    assert!(!session.linger(&script));
    let sent = script.take();
    assert_eq!(words(&sent), ["one", "two"]);
    assert!(matches!(sent.last(), Some(ToScript::Terminated { .. })));
}

#[test]
fn what_a_script_has_said_before_it_handed_over_goes_out_before_what_the_next_one_says() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let old = script.epoch().unwrap();
    for _ in 0..CREDIT {
        session.said(old, activate(0)).unwrap();
    }
    script.hold();
    let rest = FromScript::Rest(Box::new(activate(0)));
    session.said(old, rest).unwrap();
    script.complete();
    script.begin();
    session.linked(script.epoch());
    session.forward(&script);
    let new = script.epoch().unwrap();
    session.said(new, activate(0)).unwrap();
    let mut out = 0;
    while session.next(&script).unwrap().is_some() {
        out += 1;
    }
    assert_eq!(out, CREDIT + 2);
}

#[test]
fn i7_what_a_script_gives_back_is_bounded() {
    let script = Outbox::default();
    let mut session = accepted(&script);
    let epoch = script.epoch().unwrap();
    let back = || {
        FromScript::Back(Box::new(ToScript::Piece {
            segment: segment(0),
            bytes: vec![0; 60_000],
            ends: Ends::Nothing,
        }))
    };
    let taken = (0..10_000).take_while(|_| session.said(epoch, back()).is_ok());
    assert!(taken.count() < 1000);
}

#[test]
fn a_script_that_hands_over_before_a_session_has_seen_it_does_not_break_the_chain() {
    let script = Outbox::default();
    let mut session = handed_over(&script, &["one"]);
    script.begin();
    session.linked(script.epoch());
    script.hold();
    script.complete();
    script.begin();
    session.linked(script.epoch());
    session.event(says("two"));
    session.forward(&script);
    assert_eq!(words(&script.take()), ["one", "two"]);
}

#[test]
fn the_end_of_a_stream_is_told_again_unless_ours_is_finished_too() {
    for finishes in [true, false] {
        let script = Outbox::default();
        script.begin();
        let writable = |writable| Carries::Stream { writable };
        let mut session = Session::new(ID, writable(true), &script);
        session.accept(&script);
        session.event(Event::Finished { failed: false });
        session.forward(&script);
        let segment = segment(0);
        let failed = false;
        let end = ToScript::Finished { segment, failed };
        assert_eq!(script.take(), std::slice::from_ref(&end));
        let old = script.epoch().unwrap();
        if finishes {
            // The client has not read what stands before it.
            session
                .said(old, FromScript::Finish { segment, failed })
                .unwrap();
        }
        script.begin();
        session.linked(script.epoch());
        session.forward(&script);
        let sent = script.take();
        let ToScript::Adopt { carries, .. } = &sent[0] else {
            panic!("{sent:?}");
        };
        assert_eq!(*carries, writable(!finishes));
        assert_eq!(sent.contains(&end), !finishes, "{sent:?}");
    }
}
