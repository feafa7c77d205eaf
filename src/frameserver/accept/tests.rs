use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::sync::mpsc::{Receiver, channel};

use super::*;
use crate::ipc::frameserver::Ended;

/// Slots whose peers are asked to end by number.
struct Case {
    room: usize,
    good: Vec<IpAddr>,
    slots: Slots,
    inboxes: BTreeMap<u64, Receiver<ToPeer>>,
}

impl Case {
    fn new(room: usize) -> Self {
        Self {
            room,
            good: Vec::new(),
            slots: Slots::default(),
            inboxes: BTreeMap::new(),
        }
    }

    /// Takes a newcomer; who had to go.
    fn insert(&mut self, number: u64, source: IpAddr) -> Option<u64> {
        let (inbox, told) = channel(1);
        self.inboxes.insert(number, told);
        let room = if self.slots.len() < self.room {
            Room::Enough
        } else {
            Room::None
        };
        let crowded = self.make(room);
        let source = Network::of(source);
        self.slots.insert(ConnectionId(number), source, inbox);
        crowded
    }

    /// Makes room; who had to go.
    fn make(&mut self, room: Room) -> Option<u64> {
        let good: Vec<Network> = self.good.iter().copied().map(Network::of).collect();
        let crowded = self.slots.make(room, |network| good.contains(&network))?;
        crowded.try_send(ToPeer::End(Ended::Crowded)).unwrap();
        let told = |inbox: &mut Receiver<_>| inbox.try_recv().is_ok();
        self.inboxes
            .iter_mut()
            .find_map(|(&number, inbox)| told(inbox).then_some(number))
    }
}

fn v4(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

#[test]
fn the_oldest_of_the_earliest_makes_room() {
    let mut case = Case::new(3);
    assert_eq!(case.insert(0, v4(0)), None);
    assert_eq!(case.insert(1, v4(1)), None);
    assert_eq!(case.insert(2, v4(2)), None);
    case.slots.advance(ConnectionId(0), Standing::Claimed);
    assert_eq!(case.insert(3, v4(3)), Some(1));
    case.slots.advance(ConnectionId(3), Standing::Over);
    assert_eq!(case.insert(4, v4(4)), Some(3));
    assert_eq!(case.insert(5, v4(5)), Some(2));
}

#[test]
fn i10_a_crowd_from_one_network_pushes_out_its_own() {
    let mut case = Case::new(4);
    case.insert(0, v4(9));
    let crowd = |host| Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, host).into();
    case.insert(1, crowd(1));
    case.insert(2, crowd(2));
    case.insert(3, crowd(3));
    for number in 4..1000 {
        let host = u16::try_from(number).unwrap();
        assert_eq!(case.insert(number, crowd(host)), Some(number - 3));
    }
    assert!(case.slots.inbox(ConnectionId(0)).is_some());
}

#[test]
fn i7_there_are_never_more_than_the_slots() {
    let mut case = Case::new(1);
    for number in 0..100 {
        case.insert(number, v4(1));
        assert_eq!(case.slots.inboxes().count(), 1);
    }
    case.slots.remove(ConnectionId(99));
    assert_eq!(case.slots.inboxes().count(), 0);
}

#[test]
fn while_room_is_scarce_only_those_go_that_have_shown_nothing() {
    let mut case = Case::new(9);
    case.insert(0, v4(0));
    assert_eq!(case.make(Room::Scarce), Some(0));
    case.insert(1, v4(1));
    case.slots.advance(ConnectionId(1), Standing::Answered);
    assert_eq!(case.make(Room::Scarce), None);
    assert_eq!(case.make(Room::None), Some(1));
}

#[test]
fn i10_a_good_source_is_spared_until_it_is_a_crowd() {
    let mut case = Case::new(2);
    case.good = vec![v4(1)];
    case.insert(0, v4(1));
    for number in 1..100 {
        let host = u8::try_from(number).unwrap() + 100;
        let gone = case.insert(number, v4(host));
        assert_eq!(gone, (number > 1).then(|| number - 1));
    }
    case.slots.remove(ConnectionId(99));
    let few = u64::try_from(SPARED).unwrap();
    case.room = SPARED;
    for number in 101..100 + few {
        assert_eq!(case.insert(number, v4(1)), None);
    }
    // Nobody else is there: then one of it goes.
    assert_eq!(case.insert(200, v4(1)), Some(0));
    case.room += 2;
    case.insert(201, v4(2));
    case.insert(202, v4(1));
    assert_eq!(case.insert(203, v4(3)), Some(101));
}

#[test]
fn who_is_refused_gets_no_answer() {
    let mut case = Case::new(1);
    case.insert(0, v4(1));
    assert!(case.slots.inbox(ConnectionId(0)).is_some());
    case.slots.advance(ConnectionId(0), Standing::Over);
    assert!(case.slots.inbox(ConnectionId(0)).is_none());
}

#[test]
fn i10_what_is_sent_to_a_peer_does_not_lower_its_standing() {
    let mut case = Case::new(2);
    case.insert(0, v4(1));
    case.insert(1, v4(2));
    case.slots.advance(ConnectionId(0), Standing::Challenged);
    case.slots.advance(ConnectionId(0), Standing::Answered);
    case.slots.advance(ConnectionId(1), Standing::Claimed);
    assert_eq!(case.insert(2, v4(3)), Some(1));
    // Only a refusal does, and for good.
    case.slots.advance(ConnectionId(0), Standing::Over);
    case.slots.advance(ConnectionId(0), Standing::Proving);
    assert!(case.slots.inbox(ConnectionId(0)).is_none());
    assert_eq!(case.insert(3, v4(4)), Some(0));
}

#[test]
fn a_mapped_address_is_shown_as_what_it_is() {
    let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().unwrap();
    assert_eq!(plain(mapped), "192.0.2.1:7".parse().unwrap());
    let own: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
    assert_eq!(plain(own), own);
}

/// Says to a child that it is to run out of descriptors.
const CHILD: &str = "MOONPORT_TEST_DESCRIPTORS";

#[test]
fn i10_without_descriptors_it_rests_and_then_goes_on() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "frameserver::accept::tests::child"])
        .args(["--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("accepted after a rest"), "{output:?}");
}

/// Not a test of its own: what the child does. The limit is its whole process's.
#[tokio::test]
async fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let mut acceptor = Acceptor::new(vec![socket.into()]).unwrap();
    let _client = TcpStream::connect(address).await.unwrap();
    let few = Some(64);
    rustix::process::setrlimit(
        rustix::process::Resource::Nofile,
        rustix::process::Rlimit {
            current: few,
            maximum: few,
        },
    )
    .unwrap();
    let fill = || std::fs::File::open("/dev/null");
    let full: Vec<_> = std::iter::from_fn(|| fill().ok()).collect();
    let soon = Duration::from_millis(10);
    assert!(acceptor.accept().await.is_none(), "there was one left");
    let nobody = tokio::time::timeout(soon, acceptor.accept()).await;
    assert!(nobody.is_err(), "it tries again at once");
    drop(full);
    assert!(acceptor.accept().await.is_some());
    println!("accepted after a rest");
}

#[tokio::test]
async fn what_is_accepted_has_the_options_of_its_listener() {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let mut acceptor = Acceptor::new(vec![socket.into()]).unwrap();
    let _client = TcpStream::connect(address).await.unwrap();
    let (stream, _) = acceptor.accept().await.unwrap();
    assert!(stream.nodelay().unwrap());
    assert!(sockopt::socket_keepalive(&stream).unwrap());
    let seconds = Duration::from_secs;
    assert_eq!(sockopt::tcp_keepidle(&stream), Ok(seconds(60)));
    assert_eq!(sockopt::tcp_keepintvl(&stream), Ok(seconds(15)));
    assert_eq!(sockopt::tcp_keepcnt(&stream), Ok(4));
}
