//! I10: what one client or script does, the others do not feel.

use std::io::Write;

use super::*;

/// How many events a client may have under way.
const FROM_CLIENT: u32 = crate::ipc::link::credit(Carries::Events);

#[test]
fn i10_idlers_push_out_each_other_and_no_honest_client() {
    run(async {
        let mut rig = Rig::with(Setup {
            unproved: 4,
            ..Setup::default()
        })
        .await;
        let mut idlers = Vec::new();
        for _ in 0..20 {
            idlers.push(TcpStream::connect(rig.address).await.unwrap());
        }
        let (_client, _) = rig.accepted().await;
        for _ in 0..17 {
            match rig.host.hears().await {
                FromFrameserver::Closed { why, .. } => assert_eq!(why, Ended::Crowded),
                other => panic!("{other:?}"),
            }
        }
        // The oldest have gone, the newest are still there.
        assert_eq!(drained(&mut idlers[0]).await, 0);
        let newest = idlers.last().unwrap();
        let gone = newest.try_read(&mut [0]);
        assert!(gone.is_err(), "{gone:?}");
    });
}

#[test]
fn i10_a_rush_does_not_push_out_who_has_sent_something() {
    run(async {
        let mut rig = Rig::with(Setup {
            unproved: 16,
            ..Setup::default()
        })
        .await;
        // All are there before the first is accepted: nothing here waits.
        let mut honest = std::net::TcpStream::connect(rig.address).unwrap();
        honest.write_all(&Client::first_packet()).unwrap();
        let connect = || std::net::TcpStream::connect(rig.address).unwrap();
        let _rush: Vec<_> = (0..100).map(|_| connect()).collect();
        loop {
            match rig.host.hears().await {
                FromFrameserver::Ask { connection, .. } => {
                    assert_eq!(connection, ConnectionId(0));
                    return;
                }
                FromFrameserver::Closed { connection, .. } => {
                    assert_ne!(connection, ConnectionId(0), "pushed out unheard");
                }
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn i10_a_challenged_client_is_not_pushed_out_by_claims() {
    run(async {
        let mut rig = Rig::with(Setup {
            unproved: 2,
            ..Setup::default()
        })
        .await;
        // It has its challenge and takes its time.
        let mut slow = Client::connect(rig.address, Rounds::Two).await;
        let challenged = async {
            while let FromFrameserver::Ask {
                connection, ask, ..
            } = rig.host.hears().await
            {
                let answer = rig.host.answer(connection, &ask);
                let last = matches!(answer, Answer::Challenge { .. });
                rig.host.reply(connection, answer).await;
                if last {
                    break;
                }
            }
        };
        tokio::join!(slow.establish(), challenged);
        // Others claim a key and hear nothing yet.
        let mut claims = Vec::new();
        for _ in 0..3 {
            let mut claim = Client::connect(rig.address, Rounds::One).await;
            let asked = async {
                let mut crowded = None;
                loop {
                    match rig.host.hears().await {
                        FromFrameserver::Ask { .. } => return crowded,
                        FromFrameserver::Closed { connection, .. } => crowded = Some(connection),
                        other => panic!("{other:?}"),
                    }
                }
            };
            let crowded = tokio::select! {
                event = claim.next() => panic!("{event:?}"),
                crowded = asked => crowded,
            };
            assert_ne!(crowded, Some(ConnectionId(0)));
            claims.push(claim);
        }
    });
}

#[test]
fn i10_a_script_that_does_not_keep_up_with_one_client_hears_the_others() {
    run(async {
        let mut rig = Rig::new().await;
        let (mut loud, segment) = rig.accepted().await;
        for number in 0..2 * FROM_CLIENT {
            loud.message(&number.to_string()).await;
        }
        for number in 0..FROM_CLIENT {
            let expected = told(segment, &number.to_string());
            assert_eq!(rig.script.hears().await, expected);
        }
        // No more without credit; another client is heard.
        let (mut other, quiet) = rig.accepted().await;
        other.message("me too").await;
        assert_eq!(rig.script.hears().await, told(quiet, "me too"));
        let events = FROM_CLIENT;
        rig.script
            .says(FromScript::Credit { segment, events })
            .await;
        for number in FROM_CLIENT..2 * FROM_CLIENT {
            let expected = told(segment, &number.to_string());
            assert_eq!(rig.script.hears().await, expected);
        }
    });
}

/// Sends messages until the script has no credit left for the stuck segment; how many.
async fn exhaust(rig: &mut Rig, stuck: SegmentId, quick: &mut Client, segment: SegmentId) -> u32 {
    // What the script has sent and not got back stays there.
    let mut under_way = 0;
    let mut sent = 0;
    while under_way < CREDIT {
        rig.script.says(message(stuck, &sent.to_string())).await;
        under_way += 1;
        sent += 1;
        // An answer of the quick client is a fence: what was due before it has arrived.
        rig.script.says(message(segment, "ping")).await;
        assert_eq!(next(quick).await, Some(heard("ping")));
        quick.message("pong").await;
        loop {
            match rig.script.hears().await {
                ToScript::Credit { segment, events } if segment == stuck => under_way -= events,
                ToScript::Credit { .. } => {}
                ToScript::Event { segment, .. } => {
                    let events = 1;
                    rig.script
                        .says(FromScript::Credit { segment, events })
                        .await;
                    break;
                }
                other => panic!("{other:?}"),
            }
        }
    }
    sent
}

#[test]
fn i10_a_client_that_does_not_read_can_be_ended() {
    run(async {
        let mut rig = Rig::with(Setup {
            send_buffer: Some(4096),
            ..Setup::default()
        })
        .await;
        let mut slow = Client::narrow(rig.address).await;
        let session = rig.prove(&mut slow).await;
        let parent = rig.accept(session).await;
        let (mut quick, segment) = rig.accepted().await;
        // With so many segments there is more for it than is held for one client.
        for channel in 1..=4 {
            let (cookie, kind) = (channel.into(), KIND);
            let open = FromScript::Open {
                parent,
                cookie,
                kind,
            };
            rig.script.says(open).await;
            let segment = SegmentId { channel, ..parent };
            let opened = ToScript::Opened { segment, cookie };
            assert_eq!(rig.script.hears().await, opened);
        }
        for channel in 0..=4 {
            let stuck = SegmentId { channel, ..parent };
            exhaust(&mut rig, stuck, &mut quick, segment).await;
        }
        let close = FromScript::Close {
            segment: parent,
            last_words: String::new(),
        };
        rig.script.says(close).await;
        assert_eq!(rig.host.loses().await, (session, Ended::Told));
        drop(slow);
    });
}

#[test]
fn i10_a_client_that_does_not_read_costs_its_own_credit_only() {
    run(async {
        let mut rig = Rig::with(Setup {
            send_buffer: Some(4096),
            ..Setup::default()
        })
        .await;
        let mut slow = Client::narrow(rig.address).await;
        let session = rig.prove(&mut slow).await;
        let stuck = rig.accept(session).await;
        let (mut quick, segment) = rig.accepted().await;
        let sent = exhaust(&mut rig, stuck, &mut quick, segment).await;
        // Once it reads, all of it arrives in order.
        for number in 0..sent {
            assert_eq!(next(&mut slow).await, Some(heard(&number.to_string())));
        }
    });
}

#[test]
fn a_script_that_overruns_its_credit_loses_the_session() {
    run(async {
        let mut rig = Rig::with(Setup {
            send_buffer: Some(4096),
            ..Setup::default()
        })
        .await;
        let mut slow = Client::narrow(rig.address).await;
        let session = rig.prove(&mut slow).await;
        let segment = rig.accept(session).await;
        let flood = async {
            loop {
                rig.script.says(message(segment, "flood")).await;
            }
        };
        let gone = tokio::select! {
            gone = rig.host.loses() => gone,
            () = flood => unreachable!(),
        };
        assert_eq!(gone, (session, Ended::Told));
    });
}

#[test]
fn i10_a_script_that_says_more_than_is_read_loses_the_session() {
    run(async {
        let mut rig = Rig::new().await;
        let (_client, segment) = rig.accepted().await;
        let (mut other, stays) = rig.accepted().await;
        // It costs the script nothing.
        let events = 0;
        let batch = vec![FromScript::Credit { segment, events }; 10_000];
        for _ in 0..2 * MAX_UNREAD / batch.len() {
            rig.script.says_all(&batch).await;
        }
        assert_eq!(rig.host.loses().await, (segment.session, Ended::Told));
        assert_eq!(rig.script.hears().await, terminated(segment, ""));
        other.message("still here").await;
        assert_eq!(rig.script.hears().await, told(stays, "still here"));
    });
}
