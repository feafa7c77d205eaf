//! What a fuzzer calls: any bytes in, and a panic if something does not hold.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a fuzzer is told by a panic"
)]

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use chacha20::ChaCha8Rng;
use identity::PublicKey;
use rand_core::{Rng, SeedableRng};

use super::control::Control;
use super::event::{External, Packet as EventPacket, Received, Record, Target, checksum};
use super::keyroom::{self, Claim, Pending};
use super::null::without_sealing;
use super::packet::{Direction, Opener};
use super::{
    Answer, Ask, Command, Event, Initiator, InitiatorConfig, Listener, ListenerConfig, Ratchet,
    Role, Rounds, SecretId, StageKeys,
};
use crate::wire::Whole;
use crate::wire::crypto::SecretKey;
use crate::wire::{Error, Input, Output, Protocol, Refusal};

type Machine = dyn Protocol<Ask = Ask, Answer = Answer, Command = Command, Event = Event>;

/// A listener that meets these bytes without sealing. The first two bytes say how it is set up and
/// how the rest, the peer's stream, is cut. Gives what happened.
pub(crate) fn listener(now: Instant, data: &[u8]) -> Vec<Event> {
    let Some(plan) = Plan::parse(data) else {
        return Vec::new();
    };
    let machine = || -> Box<Machine> {
        let config = ListenerConfig {
            role: plan.role,
            candidates: vec![(SecretId(7), StageKeys::public())],
            handshake: HANDSHAKE,
            ratchet: Ratchet {
                at_once: plan.option,
                every_bytes: if plan.option { 500 } else { 0 },
            },
        };
        Box::new(Listener::new(Arc::new(config), now, plan.random()))
    };
    let [whole, ..] = without_sealing(|| plan.compare(&machine, now));
    let first = whole.events.first();
    let proved = matches!(first, None | Some(Event::Admitted { .. }));
    assert!(proved, "something happened before a proof: {first:?}");
    whole.events
}

/// An initiator that meets these bytes without sealing; as [`listener`].
pub(crate) fn initiator(now: Instant, data: &[u8]) -> Vec<Event> {
    let Some(plan) = Plan::parse(data) else {
        return Vec::new();
    };
    let machine = || -> Box<Machine> {
        let config = InitiatorConfig {
            role: plan.role,
            initial: StageKeys::public(),
            public: *OWN_PUBLIC,
            rounds: if plan.option {
                Rounds::Two
            } else {
                Rounds::One
            },
            handshake: HANDSHAKE,
        };
        Box::new(Initiator::new(config, now, plan.random()))
    };
    let [whole, ..] = without_sealing(|| plan.compare(&machine, now));
    whole.events
}

/// The body of a control packet.
pub(crate) fn control(data: &[u8]) {
    let body = padded::<{ Control::SIZE }>(data);
    let (header, control) = Control::parse(&body);
    let again = control.encode(&header);
    assert_eq!(Control::parse(&again), (header, control.clone()));
    let canonical = control.encode(&header);
    assert_eq!(again, canonical);
    // What is copied to a log or a status has the size of its field at most.
    if let Control::Shutdown { text } = &control {
        assert!(text.len() <= 108 && !text.contains('\0'));
    }
}

/// The body of an event packet: as a record, and at the borders of both roles.
pub(crate) fn event(data: &[u8]) {
    let mut body = padded::<{ 11 + Record::SIZE }>(data);
    let record: [u8; Record::SIZE] = body[11..].try_into().unwrap();
    let parsed = Record::parse(&record);
    if let Ok(event) = &parsed {
        let again = event.encode();
        assert_eq!(Record::parse(&again).as_ref(), Ok(event));
    }
    for right in [false, true] {
        if right {
            body[9..11].copy_from_slice(&checksum(&record).to_le_bytes());
        }
        for us in [Role::Sink, Role::Source, Role::Probe, Role::Directory] {
            let EventPacket {
                last_seen,
                channel,
                event,
            } = EventPacket::<Received>::parse(&body, us);
            let event = match event.clone() {
                Received::External(event) if us == Role::Sink => Record::External(event),
                Received::Target(event) if us == Role::Source => Record::Target(event),
                Received::Io(input) if us == Role::Source => Record::Io(input),
                Received::Dropped(_) => continue,
                other => panic!("{us:?} takes {other:?}"),
            };
            assert_eq!(parsed.as_ref(), Ok(&event));
            let again = EventPacket {
                last_seen,
                channel,
                event,
            };
            let reread = EventPacket::<Received>::parse(&again.encode(), us);
            assert_eq!((reread.last_seen, reread.channel), (last_seen, channel));
            assert!(!matches!(reread.event, Received::Dropped(_)));
        }
    }
}

/// What a frameserver, which may be hostile, hands to the key room: a HELLO, then a proof.
pub(crate) fn keyroom(data: &[u8]) {
    let (hello, proof) = data.split_at(data.len().min(Control::SIZE));
    let hello = Whole(padded(hello));
    let host = own_key();
    let rekeyed = keyroom::ratchet(&host, &hello);
    let Ok(claim) = Claim::parse(&hello) else {
        return;
    };
    assert!(rekeyed.is_err(), "a HELLO is no REKEY");
    assert_eq!(claim.key().as_bytes(), &hello.0[21..53]);
    claim.session(&host);
    for rounds in [Rounds::One, Rounds::Two] {
        let pending = claim.clone().challenge(&host, rounds, [3; 8]);
        let forged = pending.prove(proof);
        assert!(forged.is_err(), "a proof without the key");
        without_sealing(|| {
            let pending = claim.clone().challenge(&host, rounds, [3; 8]);
            match (pending.prove(proof), pending.prove(proof)) {
                (Ok(_), Ok(_)) => assert!([153, 164].contains(&proof.len())),
                (Err(Error::Again { need }), Err(_)) => {
                    assert!(need > proof.len() && [153, 164].contains(&need));
                }
                (Err(one), Err(other)) => assert_eq!(one, other),
                _ => panic!("the same proof is good and bad"),
            }
        });
    }
}

/// How a machine is set up and fed.
struct Plan {
    role: Role,
    option: bool,
    accepts: bool,
    seed: u8,
    stream: Vec<u8>,
}

impl Plan {
    fn parse(data: &[u8]) -> Option<Self> {
        let [how, seed, stream @ ..] = data else {
            return None;
        };
        let role = [Role::Sink, Role::Source, Role::Directory, Role::Probe];
        Some(Self {
            role: role[usize::from(how & 3)],
            option: how & 4 != 0,
            accepts: how & 8 == 0,
            seed: *seed,
            // Half of all inputs are counted and summed as they should be: else hardly any packet
            // that the fuzzer moves or changes would be looked at.
            stream: match how & 16 {
                0 => repaired(stream),
                _ => stream.to_vec(),
            },
        })
    }

    fn random(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed([self.seed; 32])
    }

    /// Feeds the stream as one, in random portions and, if it is short, byte by byte: all see the
    /// same. Then once more with somebody who answers. Gives what was seen each time.
    fn compare(&self, machine: &dyn Fn() -> Box<Machine>, now: Instant) -> [Seen; 3] {
        let mut random = self.random();
        let whole = self.feed(machine(), now, &mut || usize::MAX, false);
        let mut portion = || match random.next_u32() % 4 {
            0 => 1,
            1 => 1 + random.next_u32() as usize % 24,
            _ => 1 + random.next_u32() as usize % 300,
        };
        let parts = self.feed(machine(), now, &mut portion, false);
        whole.assert_same(&parts);
        let answered = self.feed(machine(), now, &mut portion, true);
        [whole, parts, answered]
    }

    fn feed(
        &self,
        mut machine: Box<Machine>,
        now: Instant,
        portion: &mut dyn FnMut() -> usize,
        answers: bool,
    ) -> Seen {
        let mut seen = Seen::new(self, answers);
        let mut rest = self.stream.as_slice();
        seen.give(&mut *machine, now, Input::Timeout);
        while seen.error.is_none() && machine.room() > 0 && !rest.is_empty() {
            let portion = portion().min(machine.room()).min(rest.len());
            let (bytes, later) = rest.split_at(portion);
            seen.give(&mut *machine, now, Input::Bytes(bytes));
            rest = later;
        }
        seen.give(&mut *machine, now, Input::Eof);
        if let Some(error) = seen.error {
            assert_eq!(machine.room(), 0, "it goes on after an error");
            let again = machine.handle(now, Input::Bytes(b"x"));
            assert_eq!(again, Err(error), "an error does not stay");
        }
        seen.assert_bounded(self.stream.len());
        seen
    }
}

/// Everything that a machine has said, and who it talks to.
struct Seen {
    role: Role,
    accepts: bool,
    answers: bool,
    pending: Option<Pending>,
    asked: Vec<Ask>,
    events: Vec<Event>,
    sent: Vec<u8>,
    error: Option<Error>,
}

impl Seen {
    fn new(plan: &Plan, answers: bool) -> Self {
        Self {
            role: plan.role,
            accepts: plan.accepts,
            answers,
            pending: None,
            asked: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
            error: None,
        }
    }

    /// Gives one input, and answers what comes of it.
    fn give(&mut self, machine: &mut Machine, now: Instant, input: Input<'_, Answer, Command>) {
        let mut result = machine.handle(now, input);
        loop {
            if let Err(error) = result {
                assert!(!matches!(error, Error::Again { .. }), "to be kept inside");
                self.error.get_or_insert(error);
            }
            result = match machine.poll(&mut self.sent) {
                Output::Transmit => continue,
                Output::Ask(ask) => {
                    assert_eq!(machine.room(), 0, "it asks, and does not wait");
                    let answer = self.answer(&ask);
                    self.asked.push(ask);
                    machine.handle(now, Input::Answer(answer))
                }
                Output::Event(event) => {
                    let commands = self.commands(&event);
                    self.events.push(event);
                    let mut given = commands.into_iter();
                    given.try_for_each(|command| machine.handle(now, Input::Command(command)))
                }
                Output::Idle(_) => return,
            };
        }
    }

    fn answer(&mut self, ask: &Ask) -> Answer {
        let refused = Answer::Refused(Refusal::NotAccepted);
        let key = own_key();
        match ask {
            _ if !self.accepts => refused,
            Ask::Claim { rounds, hello, .. } => match Claim::parse(hello) {
                Ok(claim) => {
                    let nonce = [5; 8];
                    self.pending = Some(claim.challenge(&key, *rounds, nonce));
                    let host = *OWN_PUBLIC;
                    Answer::Challenge { host, nonce }
                }
                Err(_) => refused,
            },
            Ask::Proof(packet) => match self.pending.as_ref().unwrap().prove(packet) {
                Ok(keys) => Answer::Session(keys),
                Err(Error::Again { .. }) => Answer::More,
                Err(_) => refused,
            },
            Ask::Server(hello) => {
                Claim::parse(hello).map_or(refused, |claim| Answer::Session(claim.session(&key)))
            }
            Ask::Ratchet(rekey) => keyroom::ratchet(&key, rekey).map_or(refused, Answer::Ratchet),
        }
    }

    /// What a script, or a program, may well say to this.
    fn commands(&self, event: &Event) -> Vec<Command> {
        match (self.role, event) {
            (_, Event::Admitted { .. }) => vec![Command::Accept],
            _ if !self.answers => Vec::new(),
            (Role::Sink, Event::External { channel, event }) => match event {
                External::SegmentRequest(request) => vec![Command::Open {
                    cookie: request.id,
                    kind: request.kind,
                }],
                External::Failure => vec![Command::Close { channel: *channel }],
                External::Ident(text) => vec![Command::Shutdown { text: text.clone() }],
                _ => vec![Command::Target {
                    channel: *channel,
                    event: Target::Activate,
                }],
            },
            (Role::Source, Event::Target { channel, .. } | Event::Input { channel, .. }) => {
                vec![Command::External {
                    channel: *channel,
                    event: External::FlushAudio,
                }]
            }
            _ => Vec::new(),
        }
    }

    /// Both have met the same bytes, cut differently. After an error, what was made and not yet
    /// taken is not sent.
    fn assert_same(&self, other: &Self) {
        assert_eq!(self.asked, other.asked);
        assert_eq!(self.events, other.events);
        assert_eq!(self.error, other.error);
        let both = self.sent.len().min(other.sent.len());
        assert_eq!(self.sent[..both], other.sent[..both]);
        if self.error.is_none() {
            assert_eq!(self.sent.len(), other.sent.len());
        }
    }

    /// What is said is in proportion to what was heard, and itself well formed.
    fn assert_bounded(&self, heard: usize) {
        // For a packet of 153 bytes: two answers and a ratchet.
        assert!(self.sent.len() <= 4 * heard + 1024, "{}", self.sent.len());
        assert!(self.events.len() <= 2 + heard / 32);
        let mut opener = Opener::new(Direction::server(&StageKeys::public(), [0; 8], 0));
        opener.push(&self.sent);
        while opener.next().unwrap().is_some() {}
        assert!(opener.is_between_packets(), "half a packet is sent");
    }
}

/// The same stream with right sequence numbers and checksums.
fn repaired(stream: &[u8]) -> Vec<u8> {
    let mut stream = stream.to_vec();
    let mut rest = stream.as_mut_slice();
    for number in 0_u64.. {
        let Some(header) = rest.get_mut(16..25) else {
            break;
        };
        header[..8].copy_from_slice(&number.to_le_bytes());
        let length = match header[8] {
            1 => 153,
            2 => 164,
            _ => match rest.get(30..32) {
                Some(length) => 32 + usize::from(u16::from_le_bytes([length[0], length[1]])),
                None => break,
            },
        };
        let Some((packet, later)) = rest.split_at_mut_checked(length) else {
            break;
        };
        if length == 164 {
            let sum = checksum(packet[36..].try_into().unwrap());
            packet[34..36].copy_from_slice(&sum.to_le_bytes());
        }
        rest = later;
    }
    stream
}

/// The first bytes, filled up with zeros.
fn padded<const N: usize>(data: &[u8]) -> [u8; N] {
    let mut all = [0; N];
    for (to, from) in all.iter_mut().zip(data) {
        *to = *from;
    }
    all
}

fn own_key() -> SecretKey {
    SecretKey::from_bytes([0x22; 32])
}

/// Made once: it takes as long as all the rest.
static OWN_PUBLIC: LazyLock<PublicKey> = LazyLock::new(|| own_key().public().unwrap());

const HANDSHAKE: Duration = Duration::from_secs(10);
