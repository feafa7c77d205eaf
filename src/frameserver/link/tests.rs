use super::*;
use crate::ipc::{SegmentId, SessionId};

const SEGMENT: SegmentId = SegmentId {
    session: SessionId(1),
    channel: 0,
};

fn words(last_words: String) -> ToScript {
    let segment = SEGMENT;
    ToScript::Terminated {
        segment,
        last_words,
    }
}

type Script = AsyncSocket<Vec<FromScript>, Vec<ToScript>>;

fn attached(outbox: &Outbox) -> (Link, Script) {
    let (script, data) = Socket::pair().unwrap();
    let mut link = Link::default();
    link.attach(data.into_fd(), outbox).unwrap();
    (link, AsyncSocket::new(script).unwrap())
}

async fn hear(script: &Script, count: usize) -> Vec<ToScript> {
    let mut heard = Vec::new();
    while heard.len() < count {
        match script.recv().await.unwrap() {
            Received::Message(batch, _) => heard.extend(batch),
            Received::Closed => panic!("closed after {}", heard.len()),
        }
    }
    heard
}

#[tokio::test]
async fn what_does_not_fit_one_message_goes_in_several_and_in_order() {
    let outbox = Outbox::default();
    let (mut link, script) = attached(&outbox);
    let large = |number: usize| words(format!("{number} {}", "x".repeat(3000)));
    for number in 0..300 {
        outbox.push(large(number));
    }
    // Nobody can be told this.
    outbox.push(words("x".repeat(1 << 20)));
    outbox.push(words("end".to_owned()));
    let (heard, ()) = tokio::join!(hear(&script, 301), link.flush(&outbox));
    let expected = (0..300).map(large).chain([words("end".to_owned())]);
    assert!(heard.into_iter().eq(expected));
}

#[tokio::test]
async fn a_script_that_does_not_listen_is_not_listened_to() {
    let outbox = Outbox::default();
    let (mut link, script) = attached(&outbox);
    let credit = FromScript::Credit {
        segment: SEGMENT,
        events: 1,
    };
    script.send(&vec![credit.clone()], &[]).await.unwrap();
    for _ in 0..10_000 {
        outbox.push(words("x".repeat(31)));
    }
    tokio::select! {
        biased;
        said = link.run(&outbox, 100) => panic!("{said:?}"),
        () = tokio::task::yield_now() => {}
    }
    // Once it does, it is heard.
    let (said, _) = tokio::join!(link.run(&outbox, 100), hear(&script, 9_900));
    assert_eq!(said, Some(vec![credit]));
}

#[tokio::test]
async fn a_script_that_is_gone_or_talks_rubbish_is_gone() {
    let outbox = Outbox::default();
    let (mut link, script) = attached(&outbox);
    drop(script);
    assert_eq!(link.run(&outbox, 100).await, None);
    let (rubbish, data) = Socket::<Vec<u8>, ()>::pair().unwrap();
    link.attach(data.into_fd(), &outbox).unwrap();
    rubbish.send(&vec![0xff; 9], &[]).unwrap();
    assert_eq!(link.run(&outbox, 100).await, None);
    let before = outbox.epoch();
    link.detach(&outbox);
    assert_eq!(outbox.epoch(), None);
    let (_again, script) = attached(&outbox);
    assert_ne!(outbox.epoch(), before);
    drop(script);
}

#[tokio::test]
async fn who_has_found_it_full_is_let_in_once_half_is_out() {
    let outbox = Outbox::default();
    let (mut link, script) = attached(&outbox);
    while !outbox.is_full() {
        outbox.push(words(String::new()));
    }
    let half = async {
        outbox.relieved().await;
        outbox.len()
    };
    let (left, _, ()) = tokio::join!(half, hear(&script, PATIENCE), link.flush(&outbox));
    assert!(left < PATIENCE / 2, "{left}");
}

/// A script says goodbye for its clients and ends, while something is still to be said to it.
#[tokio::test]
async fn what_a_script_said_before_it_went_is_heard() {
    let segment = SEGMENT;
    // Which end of the socket is looked at first is chance.
    for _ in 0..50 {
        let outbox = Outbox::default();
        let (mut link, script) = attached(&outbox);
        let last_words = String::new();
        let close = vec![FromScript::Close {
            segment,
            last_words,
        }];
        script.send(&close, &[]).await.unwrap();
        drop(script);
        outbox.push(ToScript::Credit { segment, events: 1 });
        assert_eq!(link.run(&outbox, 16).await, Some(close));
        assert_eq!(link.run(&outbox, 16).await, None);
    }
}
