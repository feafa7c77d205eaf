//! How fast the way of a client is: `cargo bench --bench speed`, or with words (`handshake`,
//! `small_messages`, `lua_dispatch`, `seal_64k`, `idle_memory`) only some of it. One table, each line beside
//! a limit or an aim of the same run. What its figures mean, and some of them, stand in
//! `docs/speed.md`.
//!
//! Rates swing with what else a machine does. Processor time does much less, so that is what is
//! compared: medians of rounds in which ours and the limit take turns.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that meets what it does not expect ends on the spot"
)]

mod client;
mod dispatch;
mod limits;
mod server;

use std::collections::BTreeMap;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use client::Client;
use moonport::wire::a12::measured;
use server::{Server, Work};

const ROUNDS: usize = 5;

/// Handshakes a round.
const HANDSHAKES: usize = 400;

/// Clients that come at once.
const CROWD: usize = 16;

/// Messages a round, and what they say.
const MESSAGES: usize = 200_000;
const TEXT: &str = "0123456789abcdef";

/// Clients that stay.
const FEW: usize = 100;
const MANY: usize = 1100;

/// The largest body of a packet.
const LARGE: usize = 65_535;

/// Until what was begun is done.
const SETTLE: Duration = Duration::from_millis(500);

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let wanted = |word: &str| {
        let mut words = words.iter().filter(|word| !word.starts_with('-'));
        words.clone().next().is_none() || words.any(|given| given == word)
    };
    // The idle clients, for each of which the host has another descriptor.
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit {
        current: files.maximum,
        maximum: files.maximum,
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).unwrap();
    let figures: [(&str, Measure); 5] = [
        ("handshake", handshake),
        ("small_messages", small_messages),
        ("lua_dispatch", lua_dispatch),
        ("seal_64k", seal_64k),
        ("idle_memory", idle_memory),
    ];
    println!("| figure | ours | limit | ratio | aim |\n| --- | --- | --- | --- | --- |");
    for (name, measure) in figures {
        if wanted(name) {
            for row in measure() {
                row.print(name);
            }
        }
    }
}

/// Gives lines of the table.
type Measure = fn() -> Vec<Row>;

/// A line of the table.
struct Row {
    what: String,
    ours: String,
    limit: String,
    ratio: f64,
    aim: &'static str,
}

impl Row {
    /// Times of which less is better: a ratio of 1 would be the limit itself.
    fn times(what: impl Into<String>, ours: Duration, limit: Duration, aim: &'static str) -> Self {
        Self {
            what: what.into(),
            ours: format!("{ours:.2?}"),
            limit: format!("{limit:.2?}"),
            ratio: limit.as_secs_f64() / ours.as_secs_f64(),
            aim,
        }
    }

    fn print(&self, name: &str) {
        let Self {
            what,
            ours,
            limit,
            ratio,
            aim,
        } = self;
        println!("| {name}: {what} | {ours} | {limit} | {ratio:.2} | {aim} |");
    }
}

fn median<T: Copy + PartialOrd>(mut all: Vec<T>) -> T {
    all.sort_by(|a, b| a.partial_cmp(b).unwrap());
    all[all.len() / 2]
}

/// What each process has done, by rounds, for each of so many.
fn parts(rounds: &[BTreeMap<&'static str, Work>], count: usize) -> String {
    let part = |role: &&'static str| {
        let each = rounds.iter().map(|work| work[*role].all / count as u32);
        format!("{role} {:.2?}", median(each.collect()))
    };
    let roles = rounds[0].keys();
    roles.map(part).collect::<Vec<_>>().join(", ")
}

fn since(
    now: BTreeMap<&'static str, Work>,
    before: &BTreeMap<&'static str, Work>,
) -> BTreeMap<&'static str, Work> {
    let work = now.into_iter();
    work.map(|(role, work)| (role, work - before[role]))
        .collect()
}

fn sum(work: &BTreeMap<&'static str, Work>) -> Work {
    work.values().copied().fold(Work::default(), |a, b| a + b)
}

/// Clients come, are accepted by the script, and go: one after the other, and several at once.
fn handshake() -> Vec<Row> {
    let server = Server::start(HANDSHAKES);
    let mut rows = Vec::new();
    for at_once in [1, CROWD] {
        let come = || {
            shared(HANDSHAKES, at_once, |number| {
                Client::enter(server.at, number);
            });
            thread::sleep(SETTLE);
        };
        come();
        let (mut ours, mut bare, mut rates) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let before = server.work();
            let begun = Instant::now();
            come();
            rates.push(HANDSHAKES as f64 / (begun.elapsed() - SETTLE).as_secs_f64());
            ours.push(since(server.work(), &before));
            let (at, limit) = limits::admissions(HANDSHAKES);
            shared(HANDSHAKES, at_once, |_| limits::be_admitted(at));
            bare.push(limit.join().unwrap());
        }
        let each = |time: Duration| time / HANDSHAKES as u32;
        let ours_of = |figure: fn(Work) -> Duration| {
            median(ours.iter().map(|work| each(figure(sum(work)))).collect())
        };
        let bare_of = |figure: fn(Work) -> Duration| {
            median(bare.iter().map(|work| each(figure(*work))).collect())
        };
        let rate = median(rates);
        let parts = parts(&ours, HANDSHAKES);
        rows.push(Row::times(
            format!("{at_once} at once, outside the kernel"),
            ours_of(|w| w.user),
            bare_of(|w| w.user),
            "0.8",
        ));
        rows.push(Row::times(
            format!("{at_once} at once, processor ({parts}; {rate:.0}/s here)"),
            ours_of(|w| w.all),
            bare_of(|w| w.all),
            "0.5",
        ));
    }
    rows
}

/// Does it for each number below `count`, on so many threads.
fn shared(count: usize, threads: usize, work: impl Fn(usize) + Sync) {
    thread::scope(|scope| {
        for first in 0..threads {
            let work = &work;
            scope.spawn(move || (first..count).step_by(threads).for_each(work));
        }
    });
}

/// One client says as much as it can, and a callback counts.
fn small_messages() -> Vec<Row> {
    let mut server = Server::start(1);
    let mut client = Client::enter(server.at, 0);
    let (mut rates, mut ours, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        // They wait sealed: what a client costs is not looked at.
        let packets = client.seal(TEXT, MESSAGES);
        let last = client.seal("how many", 1);
        let (begun, before) = (Instant::now(), server.work());
        client.send(&packets);
        client.send(&last);
        assert_eq!(server.line(), MESSAGES.to_string(), "messages were lost");
        let (took, work) = (begun.elapsed(), server.work());
        if round > 0 {
            rates.push(MESSAGES as f64 / took.as_secs_f64());
            ours.push(since(work, &before));
            let mut packets = vec![0; packets.len()];
            let opened = limits::time(|| {
                let mut direction = limits::Bare::new();
                for packet in packets.chunks_mut(164) {
                    black_box(direction.packet(&mut packet[16..]));
                }
            });
            bare.push(opened + limits::received(packets.len()) + limits::calls(MESSAGES)[0]);
        }
    }
    let each = |time: Duration| time / MESSAGES as u32;
    let rate = median(rates);
    let slowest = |work: &BTreeMap<_, Work>| work.values().map(|work| work.all).max().unwrap();
    let pace = 1.0 / each(median(ours.iter().map(slowest).collect())).as_secs_f64();
    let what = format!("processor ({})", parts(&ours, MESSAGES));
    let all = each(median(ours.iter().map(|work| sum(work).all).collect()));
    let against_aim = |what: &str, rate: f64| Row {
        what: what.into(),
        ours: format!("{rate:.0}/s"),
        limit: "500000/s".into(),
        ratio: rate / 500_000.0,
        aim: "1",
    };
    vec![
        against_aim("as it ran here", rate),
        against_aim("by the busiest process", pace),
        Row::times(what, all, each(median(bare)), "–"),
    ]
}

/// A status table into a callback.
fn lua_dispatch() -> Vec<Row> {
    let each = |time: Duration| time / MESSAGES as u32;
    let (mut ours, mut inside, mut outside) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(each(dispatch::messages(MESSAGES)));
        let [loops, calls] = limits::calls(MESSAGES).map(each);
        inside.push(loops);
        outside.push(calls);
    }
    let ours = median(ours);
    vec![
        Row::times("beside a loop in Lua", ours, median(inside), "–"),
        Row::times("beside bare calls into Lua", ours, median(outside), "–"),
    ]
}

/// Packets of 64 KiB.
fn seal_64k() -> Vec<Row> {
    const COUNT: usize = 2000;
    let bytes = vec![7; LARGE];
    let (mut sealed, mut opened, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (mut sealer, mut unsealer) = measured::pair();
        let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
        let mut packet = Vec::new();
        for _ in 0..COUNT {
            packet.clear();
            sealing += limits::time(|| sealer.data(&bytes, &mut packet));
            opening += limits::time(|| assert_eq!(unsealer.open(&packet).unwrap(), 1));
        }
        let mut direction = limits::Bare::new();
        let mut raw = bytes.clone();
        let limit = limits::time(|| {
            for _ in 0..COUNT {
                black_box(direction.packet(&mut raw));
            }
        });
        let each = |time: Duration| time / COUNT as u32;
        sealed.push(each(sealing));
        opened.push(each(opening));
        bare.push(each(limit));
    }
    let limit = median(bare);
    vec![
        Row::times("seal", median(sealed), limit, "–"),
        Row::times("open", median(opened), limit, "–"),
    ]
}

/// Clients that came in, were accepted, and say nothing.
fn idle_memory() -> Vec<Row> {
    let server = Server::start(MANY);
    let total = |figures: &BTreeMap<_, u64>| figures.values().sum::<u64>();
    let rest = server.memory();
    let mut clients = Vec::new();
    let mut row = |up_to: usize| {
        let had = clients.len();
        clients.extend((had..up_to).map(|number| Client::enter(server.at, number)));
        thread::sleep(SETTLE * 2);
        let now = server.memory();
        let each = |at: usize| (total(&now[at]) as f64 - total(&rest[at]) as f64) / up_to as f64;
        let parts: Vec<_> = now[0]
            .iter()
            .map(|(role, &bytes)| {
                let more = (bytes as f64 - rest[0][role] as f64) / up_to as f64;
                format!("{role} {:.1}", more / 1024.0)
            })
            .collect();
        Row {
            what: format!("{up_to} clients, KiB each ({})", parts.join(", ")),
            ours: format!("{:.1}, private {:.1}", each(0) / 1024.0, each(1) / 1024.0),
            limit: "16".into(),
            ratio: 16.0 * 1024.0 / each(0),
            aim: "1",
        }
    };
    vec![row(FEW), row(MANY)]
}
