//! The whole frameserver but for the lock-down, between a host, a script and clients.

mod fairness;
mod process;
mod rig;

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::hub::Gone;
use super::session::MAX_UNREAD;
use crate::ipc::frameserver::{Ended, FromFrameserver, Strangers, ToFrameserver};
use crate::ipc::link::{CREDIT, FromScript, ToScript};
use crate::ipc::{Carries, ConnectionId, SegmentId, Socket};
use crate::wire::a12::event::{External, SegmentKind, Target};
use crate::wire::a12::{Answer, Command, Event, Rounds};
use crate::wire::{Refusal, Violation};
use rig::{Client, KIND, Rig, SECRET, Script, Setup, candidate, register, run, text};

/// Reads to the end; how many bytes there were.
async fn drained(stream: &mut TcpStream) -> usize {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes).await;
    bytes.len()
}

fn message(segment: SegmentId, words: &str) -> FromScript {
    let event = Target::Message(text(words));
    FromScript::Target { segment, event }
}

fn told(segment: SegmentId, words: &str) -> ToScript {
    let event = External::Message(text(words));
    ToScript::Event { segment, event }
}

fn heard(words: &str) -> Event {
    let event = Target::Message(text(words));
    Event::Target { channel: 0, event }
}

fn terminated(segment: SegmentId, last_words: &str) -> ToScript {
    let last_words = last_words.to_owned();
    ToScript::Terminated {
        segment,
        last_words,
    }
}

/// The client's next event but for the one that says that the server has proved its key.
async fn next(client: &mut Client) -> Option<Event> {
    loop {
        match client.next().await {
            Some(Event::Proved) => {}
            other => return other,
        }
    }
}

#[test]
fn a_client_comes_in_by_one_round_or_two_and_messages_go_both_ways() {
    for rounds in [Rounds::One, Rounds::Two] {
        run(async {
            let mut rig = Rig::new().await;
            let (mut client, session) = rig.proved(rounds).await;
            let segment = rig.accept(session).await;
            client.message("from the client").await;
            assert_eq!(rig.script.hears().await, told(segment, "from the client"));
            rig.script.says(message(segment, "from the script")).await;
            assert_eq!(next(&mut client).await, Some(heard("from the script")));
            let credit = ToScript::Credit { segment, events: 1 };
            assert_eq!(rig.script.hears().await, credit);
        });
    }
}

#[test]
fn i1_nothing_of_a_client_reaches_the_script_before_it_has_decided() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, session) = rig.proved(Rounds::Two).await;
        client.message("early").await;
        // Another client goes all the way in the meantime.
        let (_other, segment) = rig.accepted().await;
        assert_ne!(segment.session, session);
        let accept = true;
        rig.host
            .say(ToFrameserver::Decision { session, accept })
            .await;
        let channel = 0;
        let segment = SegmentId { session, channel };
        assert_eq!(rig.script.hears().await, register(segment, "title"));
        assert_eq!(rig.script.hears().await, told(segment, "early"));
    });
}

#[test]
fn what_the_script_says_before_its_decision_has_arrived_is_kept() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, session) = rig.proved(Rounds::Two).await;
        let channel = 0;
        let segment = SegmentId { session, channel };
        rig.script.says(message(segment, "welcome")).await;
        rig.accept(session).await;
        assert_eq!(next(&mut client).await, Some(heard("welcome")));
    });
}

#[test]
fn a_client_that_is_turned_away_is_closed() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, session) = rig.proved(Rounds::Two).await;
        let accept = false;
        rig.host
            .say(ToFrameserver::Decision { session, accept })
            .await;
        let why = Ended::Refused(Refusal::TurnedAway);
        assert_eq!(rig.host.loses().await, (session, why));
        while let Some(event) = client.next().await {
            assert_eq!(event, Event::Proved);
        }
    });
}

#[test]
fn last_words_arrive_on_either_side() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, segment) = rig.accepted().await;
        let text = "so long".to_owned();
        client.says(Command::Shutdown { text }).await;
        drop(client);
        assert_eq!(rig.host.loses().await, (segment.session, Ended::Peer));
        assert_eq!(rig.script.hears().await, terminated(segment, "so long"));

        let (mut client, segment) = rig.accepted().await;
        let last_words = "go home".to_owned();
        rig.script
            .says(FromScript::Close {
                segment,
                last_words,
            })
            .await;
        let text = "go home".to_owned();
        let exit = Event::Target {
            channel: 0,
            event: Target::Exit,
        };
        assert_eq!(next(&mut client).await, Some(exit));
        assert_eq!(next(&mut client).await, Some(Event::Goodbye { text }));
        assert_eq!(client.next().await, None);
        drop(client);
        assert_eq!(rig.host.loses().await, (segment.session, Ended::Told));
        assert_eq!(rig.script.hears().await, terminated(segment, ""));
    });
}

#[test]
fn a_segment_is_opened_used_and_closed() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, parent) = rig.accepted().await;
        let (cookie, kind) = (77, SegmentKind(9));
        rig.script
            .says(FromScript::Open {
                parent,
                cookie,
                kind,
            })
            .await;
        let channel = 1;
        let segment = SegmentId { channel, ..parent };
        let opened = ToScript::Opened { segment, cookie };
        assert_eq!(rig.script.hears().await, opened);
        let new = Event::NewChannel {
            channel,
            kind,
            cookie,
        };
        assert_eq!(next(&mut client).await, Some(new));
        client.register(channel, "second").await;
        assert_eq!(rig.script.hears().await, register(segment, "second"));
        let last_words = String::new();
        rig.script
            .says(FromScript::Close {
                segment,
                last_words,
            })
            .await;
        assert_eq!(rig.script.hears().await, terminated(segment, ""));
        // The session goes on.
        client.message("still here").await;
        assert_eq!(rig.script.hears().await, told(parent, "still here"));
    });
}

#[test]
fn a_client_that_closes_takes_all_its_segments_with_it() {
    run(async {
        let mut rig = Rig::new().await;
        let (client, parent) = rig.accepted().await;
        let (cookie, kind) = (1, KIND);
        rig.script
            .says(FromScript::Open {
                parent,
                cookie,
                kind,
            })
            .await;
        let channel = 1;
        let segment = SegmentId { channel, ..parent };
        assert!(matches!(rig.script.hears().await, ToScript::Opened { .. }));
        drop(client);
        assert_eq!(rig.script.hears().await, terminated(segment, ""));
        assert_eq!(rig.script.hears().await, terminated(parent, ""));
    });
}

#[test]
fn i3_refusals_look_alike_from_outside() {
    run(async {
        let mut rig = Rig::new().await;
        rig.host.accepts = false;
        // A key that is not accepted.
        let mut unknown = Client::connect(rig.address, Rounds::One).await;
        let (event, why) = tokio::join!(unknown.next(), rig.host.closes());
        assert_eq!(event, None);
        assert_eq!(why, Ended::Refused(Refusal::NotAccepted));
        // A wrong secret.
        let stream = TcpStream::connect(rig.address).await.unwrap();
        let mut wrong = Client::over(stream, Rounds::One, "wrong");
        let (event, why) = tokio::join!(wrong.next(), rig.host.closes());
        assert_eq!(event, None);
        assert_eq!(why, Ended::Violation(Violation::FirstPacket));
        // Noise.
        let mut noise = TcpStream::connect(rig.address).await.unwrap();
        noise.write_all(&[0x55; 153]).await.unwrap();
        let (bytes, why) = tokio::join!(drained(&mut noise), rig.host.closes());
        assert_eq!(bytes, 0);
        assert_eq!(why, Ended::Violation(Violation::FirstPacket));
    });
}

#[test]
fn the_host_is_told_of_strangers_at_most_once_a_second() {
    run(async {
        let mut rig = Rig::with(Setup {
            unproved: 4,
            ..Setup::default()
        })
        .await;
        let began = std::time::Instant::now();
        let mut idlers = Vec::new();
        for _ in 0..9 {
            idlers.push(TcpStream::connect(rig.address).await.unwrap());
        }
        let mut messages = 0;
        let mut told = Strangers::default();
        let full = Strangers {
            unproved: 4,
            dropped: 5,
            ..told
        };
        while told != full {
            told = rig.host.counts().await;
            messages += 1;
        }
        drop(idlers);
        let gone = Strangers {
            unproved: 0,
            ..full
        };
        while told != gone {
            told = rig.host.counts().await;
            messages += 1;
        }
        assert!(messages <= began.elapsed().as_secs());
        // None while nothing is new.
        let more = tokio::time::timeout(Duration::from_millis(1500), rig.host.counts());
        assert!(more.await.is_err());
    });
}

#[test]
fn secrets_are_replaced_for_those_who_come_later() {
    run(async {
        let mut rig = Rig::new().await;
        let secrets = vec![candidate("another"), candidate(SECRET)];
        rig.host.say(ToFrameserver::Secrets(secrets)).await;
        rig.accepted().await;
        let secrets = vec![candidate("another")];
        rig.host.say(ToFrameserver::Secrets(secrets)).await;
        let (mut client, _) = tokio::join!(Client::connect(rig.address, Rounds::Two), async {});
        let (event, _) = tokio::join!(client.next(), async {
            loop {
                if let FromFrameserver::Closed { why, .. } = rig.host.hears().await {
                    assert_eq!(why, Ended::Violation(Violation::FirstPacket));
                    return;
                }
            }
        });
        assert_eq!(event, None);
    });
}

#[test]
fn i7_an_unproved_peer_is_closed_at_its_deadline_whatever_it_does() {
    run(async {
        let mut rig = Rig::with(Setup {
            handshake: Duration::from_millis(200),
            ..Setup::default()
        })
        .await;
        let deadline = Ended::Violation(Violation::Deadline);
        // One says nothing at all.
        let mut silent = TcpStream::connect(rig.address).await.unwrap();
        assert_eq!(rig.host.closes().await, deadline);
        assert_eq!(drained(&mut silent).await, 0);
        // One dribbles.
        let mut slow = TcpStream::connect(rig.address).await.unwrap();
        let dribble = async {
            while slow.write_all(&[1]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let ((), why) = tokio::join!(dribble, rig.host.closes());
        assert_eq!(why, deadline);
        // One has been challenged and does not answer.
        let mut challenged = Client::connect(rig.address, Rounds::Two).await;
        let ((), why) = tokio::join!(challenged.establish(), rig.host.closes());
        assert_eq!(why, deadline);
    });
}

#[test]
fn i7_an_unproved_peer_makes_us_read_no_more_than_a_packet() {
    run(async {
        let mut rig = Rig::new().await;
        let mut client = Client::connect(rig.address, Rounds::One).await;
        // The host takes its time over the claim, and meanwhile the client floods.
        let (_, ask) = tokio::join!(
            tokio::time::timeout(Duration::from_millis(50), client.next()),
            rig.host.hears()
        );
        assert!(matches!(ask, FromFrameserver::Ask { .. }));
        let stream = client.into_stream();
        let mut taken = 0;
        while let Ok(bytes) = stream.try_write(&[0; 64 * 1024]) {
            taken += bytes;
            tokio::task::yield_now().await;
            assert!(taken < 64 << 20, "it reads and reads");
        }
    });
}

#[test]
fn stop_listening_keeps_sessions_and_ends_after_the_last() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, segment) = rig.accepted().await;
        let mut idler = TcpStream::connect(rig.address).await.unwrap();
        // So that it has been accepted.
        let (second, _) = rig.accepted().await;
        rig.host.say(ToFrameserver::StopListening).await;
        assert_eq!(rig.host.closes().await, Ended::Told);
        assert_eq!(drained(&mut idler).await, 0);
        assert!(TcpStream::connect(rig.address).await.is_err());
        client.message("still here").await;
        assert_eq!(rig.script.hears().await, told(segment, "still here"));
        drop((client, second));
        rig.host.loses().await;
        rig.host.loses().await;
        assert!(rig.served.await.unwrap().is_ok());
    });
}

#[test]
fn a_new_script_is_told_what_lives_and_gets_what_follows() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, segment) = rig.accepted().await;
        // The old script is gone; what the client says waits.
        let (script, data) = Socket::pair().unwrap();
        rig.script = Script::new(script);
        client.message("meanwhile").await;
        rig.host
            .hand(ToFrameserver::Relink, &[data.into_fd()])
            .await;
        let adopt = ToScript::Adopt {
            segment,
            kind: KIND,
            title: "title".to_owned(),
            guid: [3, 4],
            carries: Carries::Events,
            registered: true,
            active: false,
        };
        assert_eq!(rig.script.hears().await, adopt);
        assert_eq!(rig.script.hears().await, told(segment, "meanwhile"));
        rig.script.says(message(segment, "new")).await;
        assert_eq!(next(&mut client).await, Some(heard("new")));
    });
}

#[test]
fn a_new_script_does_not_get_what_the_old_one_kept_from_it() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut kept, stays) = rig.accepted().await;
        let (mut blocked, segment) = rig.accepted().await;
        let flags = FromScript::Flags {
            segment,
            verbose: false,
            block_adopt: true,
        };
        rig.script.says(flags).await;
        // A fence.
        rig.script.says(message(segment, "ping")).await;
        assert_eq!(next(&mut blocked).await, Some(heard("ping")));
        let (script, data) = Socket::pair().unwrap();
        rig.script = Script::new(script);
        rig.host
            .hand(ToFrameserver::Relink, &[data.into_fd()])
            .await;
        let exit = Event::Target {
            channel: 0,
            event: Target::Exit,
        };
        assert_eq!(next(&mut blocked).await, Some(exit));
        drop(blocked);
        assert_eq!(rig.host.loses().await, (segment.session, Ended::Told));
        kept.message("still here").await;
        let adopted = loop {
            match rig.script.hears().await {
                ToScript::Adopt { segment, .. } => break segment,
                ToScript::Terminated { .. } => {}
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(adopted, stays);
        let words = loop {
            let said = rig.script.hears().await;
            if !matches!(said, ToScript::Terminated { .. }) {
                break said;
            }
        };
        assert_eq!(words, told(stays, "still here"));
    });
}

#[test]
fn i5_a_session_that_the_host_drops_is_cut_and_confirmed_and_no_other() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut client, segment) = rig.accepted().await;
        let (mut other, stays) = rig.accepted().await;
        rig.host.say(ToFrameserver::Drop(segment.session)).await;
        assert_eq!(rig.host.loses().await, (segment.session, Ended::Told));
        while let Some(event) = client.next().await {
            assert_eq!(event, Event::Proved);
        }
        assert_eq!(rig.script.hears().await, terminated(segment, ""));
        other.message("still here").await;
        assert_eq!(rig.script.hears().await, told(stays, "still here"));
    });
}

#[test]
fn a_session_for_a_connection_that_has_ended_is_given_back() {
    run(async {
        let mut rig = Rig::with(Setup {
            handshake: Duration::from_millis(300),
            ..Setup::default()
        })
        .await;
        let mut client = Client::connect(rig.address, Rounds::One).await;
        let speaks = async {
            client.establish().await;
            client.register(0, "title").await;
        };
        let asks = async {
            let mut late = None;
            while late.is_none() {
                if let FromFrameserver::Ask {
                    connection, ask, ..
                } = rig.host.hears().await
                {
                    let answer = rig.host.answer(connection, &ask);
                    if matches!(answer, Answer::Session(_)) {
                        late = Some((connection, answer));
                    } else {
                        rig.host.reply(connection, answer).await;
                    }
                }
            }
            late.unwrap()
        };
        let ((), (connection, answer)) = tokio::join!(speaks, asks);
        let why = Ended::Violation(Violation::Deadline);
        assert_eq!(rig.host.closes().await, why);
        let session = rig.host.reply(connection, answer).await.unwrap();
        assert_eq!(rig.host.loses().await, (session, Ended::Broken));
    });
}

#[test]
fn a_probe_that_asks_and_leaves_is_no_error() {
    run(async {
        let mut rig = Rig::new().await;
        let mut probe = Client::connect(rig.address, Rounds::Two).await;
        let closes = rig.host.closes();
        let ((), why) = tokio::join!(
            async {
                probe.establish().await;
                drop(probe);
            },
            closes
        );
        assert_eq!(why, Ended::Peer);
    });
}

#[test]
fn i9_hostile_bytes_after_the_proof_end_that_session_only() {
    run(async {
        let mut rig = Rig::new().await;
        let (client, segment) = rig.accepted().await;
        let (mut other, stays) = rig.accepted().await;
        let mut stream = client.into_stream();
        stream.write_all(&[0xaa; 4096]).await.unwrap();
        let (session, why) = rig.host.loses().await;
        assert_eq!(session, segment.session);
        assert!(matches!(why, Ended::Violation(_)), "{why:?}");
        assert_eq!(rig.script.hears().await, terminated(segment, ""));
        other.message("still here").await;
        assert_eq!(rig.script.hears().await, told(stays, "still here"));
    });
}

#[test]
fn without_its_host_a_frameserver_ends_at_once() {
    run(async {
        let mut rig = Rig::new().await;
        let (_client, _) = rig.accepted().await;
        drop(rig.host);
        let ended = rig.served.await.unwrap();
        assert!(matches!(ended, Err(Gone::Host)), "{ended:?}");
    });
}
