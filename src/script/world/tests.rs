//! Whatever frameservers say and scripts do, the promises hold.

use std::collections::{HashMap, HashSet};

use identity::{Name, PublicKey};
use proptest::prelude::*;

use super::*;
use crate::ipc::link::{Ends, credit};
use crate::ipc::script::{Peer, Request, ToScript};
use crate::ipc::{Carries, Options, Scheme};
use crate::script::picture::Limit;
use crate::script::status;
use crate::script::vids::{Flags, Say};
use crate::wire::a12::event::{External, SegmentRequest, Target, Text};

/// The credit of a fresh segment.
const FULL: u64 = credit(Carries::Events) as u64;

#[derive(Debug, Clone)]
enum Step {
    Request(u32, u64),
    Link(u32, link::ToScript),
    Closed(u32),
    Ended(u32),
    Tick,
    /// Say something to, delete, suspend or resume the n-th vid that was ever made.
    Say(usize),
    Send(usize, usize),
    Delete(usize),
    Suspend(usize),
    Resume(usize),
    Verbose(usize, bool),
    Limit(usize, u32),
    /// Tasks listen to the n-th vid, wait for it or do not, and let go of it.
    Attend(usize),
    Demand(usize, bool),
    Unattend(usize),
    /// Dispatch everything; callbacks accept requests, and fail, by these bits.
    Dispatch {
        accept: u64,
        fail: u64,
    },
}

fn segment() -> impl Strategy<Value = SegmentId> {
    (0_u64..6, 0_u8..3).prop_map(|(session, channel)| SegmentId {
        session: SessionId(session),
        channel,
    })
}

fn said() -> impl Strategy<Value = External> {
    prop_oneof![
        3 => (0_u32..5).prop_map(|kind| External::Register {
            title: String::new(),
            kind: SegmentKind(kind),
            guid: [0; 2],
        }),
        2 => Just(External::Message(Text { text: "x".into(), multipart: false })),
        2 => (0_u32..3).prop_map(|id| External::SegmentRequest(SegmentRequest {
            id,
            width: 1,
            height: 1,
            x: 0,
            y: 0,
            direction: 0,
            hints: 0,
            kind: SegmentKind(16),
        })),
        1 => Just(External::FlushAudio),
    ]
}

fn heard() -> impl Strategy<Value = link::ToScript> {
    use link::ToScript as From;
    prop_oneof![
        8 => (segment(), said()).prop_map(|(segment, event)| From::Event { segment, event }),
        2 => (segment(), 1_u16..4).prop_map(|(segment, width)| From::Resized {
            segment, width, height: 1, origin_ll: false, text: false,
        }),
        2 => segment().prop_map(|segment| From::Frame {
            segment, number: 1, at: [0, 0], region: [1, 1],
        }),
        2 => (segment(), 0_u32..3).prop_map(|(segment, cookie)| From::Opened { segment, cookie }),
        1 => (segment(), 0_u32..3).prop_map(|(parent, cookie)| From::OpenFailed { parent, cookie }),
        2 => (segment(), any::<u32>()).prop_map(|(segment, events)| From::Credit { segment, events }),
        1 => segment().prop_map(|segment| From::Terminated { segment, last_words: String::new() }),
        1 => segment().prop_map(|segment| From::Adopt {
            segment, kind: SegmentKind(10), title: String::new(), guid: [0; 2], carries: Carries::Events,
            registered: true, active: true,
        }),
        2 => segment().prop_map(|segment| From::Adopt {
            segment, kind: SegmentKind(0), title: String::new(), guid: [0; 2], carries: messages(),
            registered: true, active: true,
        }),
        6 => (segment(), 0_usize..2000, 0_u8..3).prop_map(|(segment, size, ends)| From::Piece {
            segment,
            bytes: vec![1; size],
            ends: match ends {
                0 => Ends::Nothing,
                1 => Ends::Part,
                _ => Ends::Message,
            },
        }),
    ]
}

fn messages() -> Carries {
    Carries::Messages {
        socket: SocketType::Router,
        most: 3000,
        high_water: 3,
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u32..4, 0_u64..6).prop_map(|(l, s)| Step::Request(l, s)),
        10 => (1_u32..4, heard()).prop_map(|(l, m)| Step::Link(l, m)),
        1 => (1_u32..4).prop_map(Step::Closed),
        1 => (1_u32..4).prop_map(Step::Ended),
        1 => Just(Step::Tick),
        2 => (0_usize..20).prop_map(Step::Say),
        2 => (0_usize..20, 0_usize..4000).prop_map(|(at, size)| Step::Send(at, size)),
        1 => (0_usize..20).prop_map(Step::Delete),
        1 => (0_usize..20).prop_map(Step::Suspend),
        1 => (0_usize..20).prop_map(Step::Resume),
        2 => (0_usize..20, any::<bool>()).prop_map(|(at, on)| Step::Verbose(at, on)),
        2 => (0_usize..20, 0_u32..4).prop_map(|(at, width)| Step::Limit(at, width)),
        2 => (0_usize..20).prop_map(Step::Attend),
        3 => (0_usize..20, any::<bool>()).prop_map(|(at, wanted)| Step::Demand(at, wanted)),
        1 => (0_usize..20).prop_map(Step::Unattend),
        6 => (any::<u64>(), any::<u64>(), any::<u64>())
            .prop_map(|(accept, a, b)| Step::Dispatch { accept, fail: a & b }),
    ]
}

#[derive(Default)]
struct Watched {
    vids: Vec<Vid>,
    deleted: HashSet<Vid>,
    ended: HashSet<Vid>,
    asked: HashMap<SessionId, usize>,
    answered: HashMap<SessionId, usize>,
    /// What each segment may still be sent.
    credit: HashMap<SegmentId, u64>,
    /// Who wants frames, the widest picture that a script wants, and the width that it knows.
    verbose: HashMap<Vid, bool>,
    limit: HashMap<Vid, u32>,
    sized: HashMap<Vid, u32>,
}

impl Watched {
    fn dispatch(&mut self, world: &mut World, mut accept: u64, mut fail: u64) {
        for adoption in world.adoptions() {
            self.vids.push(adoption.vid);
            self.credit.insert(adoption.segment, FULL);
            world.adopt(adoption);
        }
        while let Some(entry) = world.next() {
            let vid = entry.vid;
            assert!(!self.deleted.contains(&vid), "a callback after delete");
            assert!(!self.ended.contains(&vid), "a callback after terminated");
            match &entry.status {
                Status::Resized(size) => {
                    self.sized.insert(vid, size.width.into());
                    self.assert_fits(vid);
                }
                Status::Frame(_) => {
                    assert_eq!(self.verbose.get(&vid), Some(&true), "nobody asked");
                    self.assert_fits(vid);
                }
                _ => {}
            }
            let request = entry.status.id() == status::Id::SegmentRequest;
            match world.ask(&entry) {
                Some(ask) => world.offer(vid, ask),
                None if request => continue,
                None => {}
            }
            if matches!(entry.status, Status::Terminated(_)) {
                world.bury(vid);
                self.ended.insert(vid);
            }
            let well = fail & 1 == 0;
            if request && accept & 1 == 1 {
                let taken = world.accept().unwrap();
                assert_eq!(world.accept().is_err(), taken.is_some());
                self.vids.extend(taken.map(|(vid, _)| vid));
            }
            (accept, fail) = (accept.rotate_right(1), fail.rotate_right(1));
            if !well {
                world.end(vid, "script error");
            }
            if request && let Some(denied) = world.settle(well) {
                self.deleted.insert(denied);
            }
            if matches!(entry.status, Status::Preroll(_)) {
                world.prerolled(vid);
            }
            assert_eq!(world.accept(), Err(NotNow::NoRequest));
        }
        world.pay();
    }

    /// The script knows the size, and wants so large a picture.
    fn assert_fits(&self, vid: Vid) {
        let limit = self.limit.get(&vid).copied().unwrap_or_default();
        let width = self.sized[&vid];
        assert!(limit == 0 || width <= limit, "{width} is above {limit}");
    }

    fn take(&mut self, world: &mut World) {
        let outbox = std::mem::take(&mut world.outbox);
        for message in outbox.host {
            if let FromScript::Decide { session, .. } = message {
                *self.answered.entry(session).or_default() += 1;
            }
        }
        for (_, message) in outbox.link {
            match message {
                link::FromScript::Target { segment, .. }
                | link::FromScript::Input { segment, .. }
                | link::FromScript::Piece { segment, .. } => {
                    let credit = self.credit.entry(segment).or_insert(FULL);
                    assert!(*credit > 0, "more than the credit for {segment:?}");
                    *credit -= 1;
                }
                link::FromScript::Close { segment, .. } => {
                    self.credit.remove(&segment);
                }
                link::FromScript::Open { .. }
                | link::FromScript::Finish { .. }
                | link::FromScript::Flags { .. }
                | link::FromScript::Credit { .. }
                | link::FromScript::Hold
                | link::FromScript::Resume
                | link::FromScript::Rest(_)
                | link::FromScript::Back(_)
                | link::FromScript::Done => {}
            }
        }
    }
}

fn counter(bytes: &mut [u8]) {
    bytes.fill(7);
}

fn survivor(session: u64) -> Peer {
    Peer {
        session: SessionId(session),
        name: Name::parse("a").unwrap(),
        key: None,
        endpoint: ([127, 0, 0, 1], 1).into(),
    }
}

proptest! {
    #[test]
    fn i9_any_messages_and_any_script_keep_the_promises(steps in prop::collection::vec(step(), 0..120)) {
        let mut world = World::new(counter);
        world.host(ToScript::Adopt {
            listener: ListenerId(1),
            survivors: (0..6).map(survivor).collect(),
        });
        let mut watched = Watched::default();
        for name in ["a", "b", "c"] {
            let name = Name::parse(name).unwrap();
            watched.vids.extend(world.listen(
                name,
                String::new(),
                0,
                Options::Usual,
                "x.lua:1".into(),
            ));
        }
        for step in steps {
            match step {
                Step::Request(listener, session) => {
                    let session = SessionId(session);
                    *watched.asked.entry(session).or_default() += 1;
                    world.host(ToScript::Request(Request {
                        listener: ListenerId(listener),
                        session,
                        key: PublicKey::parse(&[9; 32]).ok(),
                        tags: String::new(),
                        endpoint: "192.0.2.1:1".parse().unwrap(),
                        new: false,
                        carries: match session.0 % 3 {
                            0 => Carries::Events,
                            1 => Carries::Stream { writable: true },
                            _ => messages(),
                        },
                        anonymous: false,
                        scheme: Scheme::A12,
                        zmtp: None,
                    }));
                }
                Step::Link(link, message) => {
                    if let link::ToScript::Credit { segment, events } = &message {
                        let credit = watched.credit.entry(*segment).or_insert(FULL);
                        *credit += u64::from(*events);
                    }
                    world.link(ListenerId(link), message);
                }
                Step::Ended(listener) => world.host(ToScript::Ended {
                    listener: ListenerId(listener),
                    last_words: String::new(),
                }),
                Step::Closed(link) => world.link_closed(ListenerId(link)),
                Step::Tick => world.tick(),
                Step::Say(at) => if let Some(&vid) = watched.vids.get(at) {
                    let _ = world.say(vid, Say::Target(Target::Pause));
                },
                Step::Send(at, size) => if let Some(&vid) = watched.vids.get(at) {
                    let _ = world.send(vid, vec![Vec::new(), vec![2; size]]);
                    let _ = world.write(vid, &vec![3; size]);
                    if size % 50 == 0 {
                        let _ = world.finish(vid, false);
                    }
                },
                Step::Delete(at) => if let Some(&vid) = watched.vids.get(at) {
                    let had = world.object(vid).is_some();
                    prop_assert_eq!(world.delete(vid).is_ok(), had);
                    watched.deleted.insert(vid);
                },
                Step::Suspend(at) => if let Some(&vid) = watched.vids.get(at) {
                    world.suspend(vid, false);
                },
                Step::Resume(at) => if let Some(&vid) = watched.vids.get(at) {
                    world.resume(vid, false);
                },
                Step::Verbose(at, verbose) => if let Some(&vid) = watched.vids.get(at) {
                    world.set_flags(vid, Flags { verbose, ..Flags::default() });
                    watched.verbose.insert(vid, verbose);
                },
                Step::Limit(at, width) => if let Some(&vid) = watched.vids.get(at) {
                    world.limit(vid, Limit { width, height: 0 });
                    watched.limit.insert(vid, width);
                },
                Step::Attend(at) => if let Some(&vid) = watched.vids.get(at) {
                    world.attend(vid);
                },
                Step::Demand(at, wanted) => if let Some(&vid) = watched.vids.get(at) {
                    if wanted {
                        world.demand(vid);
                    } else {
                        world.undemand(vid);
                    }
                },
                Step::Unattend(at) => if let Some(&vid) = watched.vids.get(at) {
                    world.unattend(vid);
                },
                Step::Dispatch { accept, fail } => watched.dispatch(&mut world, accept, fail),
            }
            watched.take(&mut world);
        }
        for vid in &watched.vids {
            world.unattend(*vid);
        }
        watched.dispatch(&mut world, 0, 0);
        watched.take(&mut world);
        prop_assert_eq!(watched.asked, watched.answered);
        for segment in world.objects.values() {
            if let Object::Segment(segment) = segment {
                prop_assert!(u64::from(segment.waiting) <= FULL);
            }
        }
    }
}
